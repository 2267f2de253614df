//! What many cases check at their end: who is concerned receives each signal once, and who is not receives nothing.

use super::call::is_of_a_call;
use crate::client::Peer;
use crate::cx::Cx;
use crate::dialect::file::Addressing;
use crate::dialect::{Event, EventName, Feature};
use crate::stop::Stop;

/// Two clients that signal to each other and to nobody else: in a room of their own, or in a call. Nothing that a case
/// does elsewhere may reach them.
pub(super) struct Bystanders(Option<[(Peer, usize); 2]>);

impl Bystanders {
    /// Brings them together. There are none where every client receives everything.
    pub(super) async fn gather(cx: &Cx) -> Result<Self, Stop> {
        let targeted = cx.file().signals.addressing == Addressing::Targeted && cx.env.dialect.knows_ids();
        if !cx.has(Feature::Rooms) && !targeted {
            return Ok(Self(None));
        }
        let members = cx.members(&cx.room(), ["gil", "hal"]).await?;
        // Where joins are not answered, a signal to a client that is not there yet may be answered with an error.
        Ok(Self(Some(members.map(|member| {
            let received = member.received.len();
            (member, received)
        }))))
    }

    /// Checks that they can still signal to each other, and that they have received nothing but their own signals.
    /// Call it when those that the case is about have received what they should.
    pub(super) async fn received_nothing(self, cx: &Cx) -> Result<(), Stop> {
        let Some([(mut gil, of_gil), (mut hal, of_hal)]) = self.0 else { return Ok(()) };
        let apart = |stop: Stop| stop.reworded(|why| format!("two clients that have nothing to do with it: {why}"));
        cx.fence(&mut gil, &mut [&mut hal]).await.map_err(apart)?;
        cx.fence(&mut hal, &mut [&mut gil]).await.map_err(apart)?;
        let ids = [&gil.id, &hal.id];
        let theirs = |event: &Event| event.id.as_ref().is_none_or(|id| ids.contains(&id));
        let unwanted = |event: &Event| match () {
            // They may still receive the words with which they settled, and their own sentinels.
            () if event.is_signal() => {
                !has_settling_word(event) || event.from.as_ref().is_some_and(|from| !ids.contains(&from))
            }
            // Where there are no rooms, everybody may learn of every client.
            () if event.is(EventName::MemberLeft) => cx.has(Feature::Rooms) && !cx.file().roster.of_server,
            () if event.is(EventName::MemberJoined) => {
                cx.has(Feature::Rooms) && !cx.file().roster.of_server && !theirs(event)
            }
            () => event.is_error() || is_of_a_call(event),
        };
        for (bystander, mark) in [(&gil, of_gil), (&hal, of_hal)] {
            let why = "received a message about clients that have nothing to do with it";
            bystander.never_received_since(mark, why, unwanted)?;
        }
        Ok(())
    }
}

/// Whether it is one of the signals that clients send to settle, or as a sentinel.
fn has_settling_word(event: &Event) -> bool {
    let ours = ["\"sentinel-", "\"settling-", "\"here-"];
    event.data.as_ref().is_some_and(|data| ours.iter().any(|ours| data.contains(ours)))
}

/// Checks that two members signal to each other, and that each signal arrives exactly once.
pub(super) async fn signal_once(cx: &Cx, a: &mut Peer, b: &mut Peer) -> Result<(), Stop> {
    let (to_b, to_a) = (cx.word("once"), cx.word("once"));
    a.send_word(b, &to_b);
    b.send_word(a, &to_a);
    cx.fence(a, &mut [b]).await?;
    cx.fence(b, &mut [a]).await?;
    b.received_once(&format!("{}'s signal", a.name), |event| event.has_word(&to_b))?;
    a.received_once(&format!("{}'s signal", b.name), |event| event.has_word(&to_a))
}
