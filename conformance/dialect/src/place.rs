//! Finds the line of a dialect file that a failure is about: where a reader should look first.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use crate::file::EventName;
use crate::{Dialect, Feature, Meaning};

/// The lines of all tables and keys of a file, by path, such as `signals` or `signals.bytes-max`.
#[derive(Debug, Default)]
pub(crate) struct Places(BTreeMap<String, usize>);

impl Places {
    pub(crate) fn of(text: &str) -> Self {
        let mut places = BTreeMap::new();
        let Ok(file) = DeTable::parse(text) else { return Self::default() };
        let line = |at: usize| 1 + text.get(..at).unwrap_or_default().matches('\n').count();
        for (key, value) in file.get_ref() {
            let table = key.get_ref();
            places.insert(table.to_string(), line(key.span().start));
            if let DeValue::Table(inner) = value.get_ref() {
                places.extend(inner.keys().map(|key| (format!("{table}.{}", key.get_ref()), line(key.span().start))));
            }
        }
        Self(places)
    }

    fn first(&self, paths: &[&str]) -> Option<usize> {
        paths.iter().find_map(|path| self.0.get(*path).copied())
    }
}

impl Dialect {
    /// The line of the dialect file that a failure is about. `topic` is the slug of the case, `requires` its features,
    /// and `received` the server's message that shows the failure, if there is one. Tried in this order: a `declares`
    /// key of the case's name, the pattern of the message, a feature, the table for the group.
    pub fn line_about(&self, topic: &str, requires: &[Feature], received: Option<&str>) -> usize {
        let (group, name) = topic.split_once('/').unwrap_or((topic, ""));
        let event = received.and_then(|message| match self.read(message).what {
            Meaning::Is(event) | Meaning::Broken(event, _) => self.line_of_event(event),
            Meaning::Other => None,
        });
        let needed = || requires.iter().find_map(|feature| self.line_of_feature(*feature));
        let of_group = || {
            self.places.first(match group {
                "role" => &["roles"],
                "call" => &["send.call", "calls"],
                "http" => &["http"],
                "ws" | "sio" | "load" => &["connection.framing", "connection"],
                "sec" => &["identity.assigned-by"],
                "msg" | "mesh" => &["send.signal", "send"],
                _ => &["send.join", "join"],
            })
        };
        let declared = self.places.first(&[&format!("declares.{name}")]);
        declared.or(event).or_else(needed).or_else(of_group).or(self.places.first(&["name"])).unwrap_or(1)
    }

    fn line_of_event(&self, event: EventName) -> Option<usize> {
        self.patterns().iter().find(|pattern| pattern.event == event).map(|pattern| pattern.line)
    }

    fn line_of_feature(&self, feature: Feature) -> Option<usize> {
        let event = match feature {
            Feature::Roster => self.line_of_event(EventName::Roster).or(self.line_of_event(EventName::Joined)),
            Feature::JoinNotice => self.line_of_event(EventName::MemberJoined),
            Feature::LeaveNotice => self.line_of_event(EventName::MemberLeft),
            _ => None,
        };
        event.or_else(|| self.places.first(keys(feature)))
    }
}

/// The keys that decide whether a dialect has a feature, the most specific first.
fn keys(feature: Feature) -> &'static [&'static str] {
    match feature {
        Feature::Rooms => &["room.in", "room"],
        Feature::RoomNames => &["room.form", "room.in", "room"],
        Feature::SeveralRooms => &["room.several", "room"],
        Feature::ExactRooms => &["room.exact", "room.in", "room"],
        Feature::MembersMax => &["room.members-max"],
        Feature::RoomLimit => &["room.code-points-max"],
        Feature::JoinMessage | Feature::Moving => &["send.join", "join"],
        Feature::JoinLimit => &["join.within-s", "join"],
        Feature::OtherPath => &["connection.other-path", "connection"],
        Feature::JoinAnswer => &["join.answer", "send.join", "join"],
        Feature::Ids | Feature::GivenIds | Feature::ChosenIds => &["identity.assigned-by", "identity"],
        Feature::IdNames => &["identity.form", "identity.assigned-by", "identity"],
        Feature::Roster | Feature::JoinNotice | Feature::LeaveNotice => &["roster"],
        Feature::ContactNotice => &["roster.notified", "roster"],
        Feature::OfferInJoin => &["send.join"],
        Feature::Leave | Feature::LeaveOfRoom => &["send.leave"],
        Feature::LeaveByMessageNotice => &["roster.of-server", "roster"],
        Feature::ForeignSignals => &["send.signal", "room.in"],
        Feature::Targeted | Feature::Broadcast => &["signals.addressing"],
        Feature::Sender => &["signals.sender"],
        Feature::SizeLimit => &["signals.bytes-max"],
        Feature::DropsUnknownFields => &["signals.drops-unknown-fields", "signals"],
        Feature::Verbatim => &["signals.verbatim", "signals"],
        Feature::DataOptional => &["signals.data-optional", "signals"],
        Feature::Offers => &["signals.offers"],
        Feature::Candidates => &["send.candidate", "kinds.candidate"],
        Feature::Roles => &["roles"],
        Feature::Ready => &["roles.ready"],
        Feature::Calls => &["send.call", "calls"],
        Feature::Busy => &["calls.busy"],
        Feature::CallBack => &["calls.call-back-accepts", "calls"],
        Feature::CallerIds => &["calls.session-of-connection", "calls"],
        Feature::Media => &["send.media"],
        Feature::ByName => &["send.offer-by-name", "send.answer-by-name"],
        Feature::Renames => &["identity.renames", "identity"],
        Feature::NameLimit => &["identity.code-points-max", "identity"],
        Feature::ExactNames => &["identity.exact", "identity"],
        Feature::Acknowledgements => &["connection.acknowledges", "connection"],
        Feature::Arguments => &["signals.all-arguments", "signals"],
        Feature::SocketIo | Feature::EventNames => &["connection.framing"],
        Feature::IceEndpoint => &["http.ice"],
        Feature::HealthEndpoint => &["http.health"],
        Feature::StatusEndpoint => &["http.status"],
        Feature::KickEndpoint => &["http.kick"],
        Feature::Cors => &["http.cors"],
        Feature::Auth => &["auth.required"],
        Feature::DeadAfter => &["heartbeat.dead-after-s"],
        // These depend on how the suite tests, not on a key of the dialect.
        Feature::Crowd
        | Feature::Names
        | Feature::Messages
        | Feature::Texts
        | Feature::Frames
        | Feature::RawFrames
        | Feature::WebSocket
        | Feature::Upgrade => &[],
    }
}
