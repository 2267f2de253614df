//! While the connection of two clients is up on both sides, what one sends arrives at the other. Only Glare's own clients
//! say what they send.
//!
//! Much explains a gap: a fault of the scenario, a poor link, a way that ICE has not given up yet. So a track is judged
//! only after everything that could explain its silence is so long past that ICE would have noticed a dead way.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::{Event, MachineEvent, NodeId, PeerChange, PeerEvent, PeerName, TrackKind, What};
use crate::oracle::connection_kept::has_poor_link;
use crate::oracle::cx::{Judges, Oracle, OracleCx, seconds};
use crate::oracle::everyone_connected::{pairs, sides};
use crate::oracle::faults::Faults;
use crate::oracle::history::Stay;

/// A silence that is judged. ICE notices a dead way after 7 s: it hears from the other side every 2 s, and is disconnected
/// after 5 s.
const GAP: Duration = Duration::from_secs(15);
/// How long a track is silent when the client says so.
const SILENCE: Duration = Duration::from_secs(2);

/// One side of a connection.
#[derive(Default)]
struct Side {
    /// When anything about the connection changed last.
    changed: Duration,
    /// Whether it ever lost the consent to send.
    has_lost_consent: bool,
    /// Since when this side sends each track.
    sends: BTreeMap<TrackKind, Duration>,
    /// Since when each track of the other side is silent; `None` if it is not.
    silent: BTreeMap<TrackKind, Option<Duration>>,
}

#[derive(Default)]
pub(crate) struct MediaFlows {
    sides: BTreeMap<(NodeId, PeerName), Side>,
    faults: Faults,
}

impl Oracle for MediaFlows {
    const SLUG: &'static str = "media-flows";
    const PROMISE: &'static str =
        "What a client sends of audio and video arrives, while its connection is up and nothing disturbs it.";
    const JUDGES: Judges = Judges::Simulations;

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        self.faults.observe(event);
        match &event.what {
            What::Machine(MachineEvent::PowerLost | MachineEvent::Ended) => {
                self.sides.retain(|(node, _), _| *node != event.node);
            }
            What::Peer(PeerEvent { peer, change, .. }) => self.peer(event, peer, change, cx),
            _ => {}
        }
    }

    fn settle(&mut self, cx: &mut OracleCx<'_>) {
        let now = cx.time();
        let found: Vec<_> = pairs(cx)
            .into_iter()
            .flat_map(|(a, b)| [(a, b), (b, a)])
            .flat_map(|(from, to)| self.silences(from, to, now, cx))
            .collect();
        for (nodes, message) in found {
            cx.violated(&nodes, message);
        }
    }
}

impl MediaFlows {
    fn peer(&mut self, event: &Event, peer: &PeerName, change: &PeerChange, cx: &mut OracleCx<'_>) {
        let key = (event.node, peer.clone());
        if let PeerChange::Heard { kind, gap_ms } = change {
            self.judge_gap(event, peer, *kind, Duration::from_millis(*gap_ms), cx);
        }
        let side = self.sides.entry(key).or_default();
        match change {
            PeerChange::Opened { .. } => *side = Side { changed: event.at, ..Side::default() },
            PeerChange::Ice { .. }
            | PeerChange::Dtls { .. }
            | PeerChange::Selected { .. }
            | PeerChange::Described { .. }
            | PeerChange::IceRestart
            | PeerChange::Track { .. } => side.changed = event.at,
            PeerChange::ConsentExpired => side.has_lost_consent = true,
            PeerChange::Sends { kind, on: true } => {
                side.sends.insert(*kind, event.at);
            }
            PeerChange::Sends { kind, on: false } => {
                side.sends.remove(kind);
            }
            PeerChange::Plays { kind } | PeerChange::Heard { kind, .. } => {
                side.silent.insert(*kind, None);
            }
            PeerChange::Silent { kind } => {
                side.silent.insert(*kind, Some(event.at.saturating_sub(SILENCE)));
            }
            _ => {}
        }
    }

    /// Judges a gap that has just ended.
    fn judge_gap(&self, event: &Event, peer: &PeerName, kind: TrackKind, gap: Duration, cx: &mut OracleCx<'_>) {
        if gap < GAP {
            return;
        }
        let both = pairs(cx).into_iter().flat_map(|(a, b)| [(a, b), (b, a)]);
        let found =
            both.filter(|(from, to)| to.node == event.node && to.calls(from) == *peer).find_map(|(from, to)| {
                let since = self.undisturbed_since(from, to, kind, cx)?;
                (since + gap <= event.at).then(|| {
                    let message = format!(
                        "{} sent {} to {} all the time, but none arrived for {}",
                        cx.name(from.node),
                        words(kind),
                        cx.name(to.node),
                        seconds(gap)
                    );
                    (vec![from.node, to.node], message)
                })
            });
        if let Some((nodes, message)) = found {
            cx.violated(&nodes, message);
        }
    }

    /// The tracks that one client sends and the other does not receive at `now`.
    fn silences(&self, from: &Stay, to: &Stay, now: Duration, cx: &OracleCx<'_>) -> Vec<(Vec<NodeId>, String)> {
        let Some(sender) = self.sides.get(&(from.node, from.calls(to))) else { return Vec::new() };
        let heard = self.sides.get(&(to.node, to.calls(from))).map(|side| &side.silent);
        let judged = sender.sends.keys().filter_map(|kind| {
            let undisturbed = self.undisturbed_since(from, to, *kind, cx)?;
            let silence = heard.and_then(|heard| heard.get(kind).copied());
            let (since, what) = match silence {
                None => (undisturbed, "nothing of it has ever arrived".to_owned()),
                Some(None) => return None,
                Some(Some(silent)) => {
                    (silent.max(undisturbed), format!("nothing has arrived since {}", seconds(silent)))
                }
            };
            let (from, to) = ((from.node, cx.name(from.node)), (to.node, cx.name(to.node)));
            let message = || format!("{} sends {} to {}, but {what}", from.1, words(*kind), to.1);
            (since + GAP <= now).then(|| (vec![from.0, to.0], message()))
        });
        judged.collect()
    }

    /// Since when nothing has happened that could keep a track from arriving; `None` if something keeps it from it.
    fn undisturbed_since(&self, from: &Stay, to: &Stay, kind: TrackKind, cx: &OracleCx<'_>) -> Option<Duration> {
        let [ours, theirs] = sides(from, to, cx);
        let (ours, theirs) = ours.zip(theirs)?;
        let knows = |here: &[_], there: &std::collections::BTreeSet<_>| here.iter().any(|ufrag| there.contains(ufrag));
        let are_one = knows(&ours.theirs, &theirs.ours) && knows(&theirs.theirs, &ours.ours);
        let actors = [cx.actor(from.node)?, cx.actor(to.node)?];
        if !ours.is_open() || !theirs.is_open() || !are_one || self.faults.is_parted || has_poor_link(&actors, cx) {
            return None;
        }
        let one = self.sides.get(&(from.node, from.calls(to)))?;
        let other = self.sides.get(&(to.node, to.calls(from)))?;
        if one.has_lost_consent || other.has_lost_consent {
            return None;
        }
        let sends = *one.sends.get(&kind)?;
        Some(sends.max(one.changed).max(other.changed).max(self.faults.last.unwrap_or_default()))
    }
}

/// What a track carries, in words.
fn words(kind: TrackKind) -> &'static str {
    match kind {
        TrackKind::Audio => "sound",
        TrackKind::Video => "picture",
    }
}
