//! How the members of a room learn of each other, and so who offers to whom.

use dialect::file::{Addressing, AssignedBy, Offers};
use dialect::shape::OFFERS;
use dialect::{Dialect, EventName, Operation};

/// Who offers a connection when a client joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meeting {
    /// The members that the server notifies of the newcomer.
    Noticed,
    /// The newcomer, to the members that the server lists.
    Listed,
    /// The members to which the newcomer announces itself.
    Announced,
    /// The newcomer, to all whose ids it knows because clients choose their ids. Those that are not there ignore it,
    /// and offer when they come.
    Known,
    /// A newcomer hands offers to the server with its join, and the server gives each to a member of its choice.
    Offered,
}

impl Meeting {
    /// How members meet in a dialect; `None` if they cannot.
    pub(crate) fn of(dialect: &Dialect) -> Option<Self> {
        let file = &dialect.file;
        let patterns = || dialect.patterns().iter();
        let lists = patterns().any(|pattern| {
            matches!(pattern.event, EventName::Joined | EventName::Roster) && pattern.shape.has("members")
        });
        let by_differences = file.roster.differences && dialect.has_event(EventName::Roster);
        let has_notice = patterns().any(|pattern| pattern.event == EventName::MemberJoined && pattern.shape.has("id"));
        let chosen = matches!(file.identity.assigned_by, AssignedBy::Client | AssignedBy::UserName);
        if dialect.shape(Operation::Join).is_some_and(|join| join.has(OFFERS)) {
            Some(Self::Offered)
        } else if dialect.shape(Operation::Announce).is_some() {
            Some(Self::Announced)
        } else if lists && file.signals.offers == Offers::Newcomer {
            Some(Self::Listed)
        } else if has_notice || by_differences {
            Some(Self::Noticed)
        } else if lists {
            Some(Self::Listed)
        } else {
            (chosen && file.signals.addressing != Addressing::Broadcast).then_some(Self::Known)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_meet_as_their_dialect_makes_it_possible() {
        for (name, meeting) in [
            ("mesh", Some(Meeting::Noticed)),
            ("matchbox", Some(Meeting::Noticed)),
            ("rxdb", Some(Meeting::Noticed)),
            ("webrtc-star", Some(Meeting::Noticed)),
            ("y-webrtc", Some(Meeting::Announced)),
            ("signalhub", Some(Meeting::Announced)),
            ("peerjs", Some(Meeting::Known)),
            ("rtcmulticonnection", Some(Meeting::Known)),
            ("bittorrent-tracker", Some(Meeting::Offered)),
            ("protoo", Some(Meeting::Noticed)),
            ("simple-signal", None),
        ] {
            let dialect = Dialect::load(name).expect("it is shipped");
            assert_eq!(Meeting::of(&dialect), meeting, "{name}");
        }
    }
}
