use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::{Event, Fault, MachineEvent, NodeId, Signaling, What};
use crate::oracle::cx::{Judges, Oracle, OracleCx, seconds};

/// Maximum number of attempts after a lost connection.
const ATTEMPTS_MAX: u32 = 5;
/// How late a client may dial.
const TOLERANCE: Duration = Duration::from_millis(100);

/// The state of a client's dialling.
#[derive(Clone, Copy, Default)]
struct Dialer {
    /// Number of connections and attempts that have ended since the last success, including the end of that successful
    /// connection.
    ends: u32,
    /// When the last one ended; `None` while a connection is open or being established.
    ended: Option<Duration>,
    /// Whether the client has stopped dialling or left.
    is_over: bool,
    /// Whether it stands still, so that it cannot dial in time.
    is_suspended: bool,
    /// Whether it has stood still since the last end.
    was_suspended: bool,
}

#[derive(Default)]
pub(crate) struct BackoffAsSpecified(BTreeMap<NodeId, Dialer>);

impl Oracle for BackoffAsSpecified {
    const SLUG: &'static str = "backoff-as-specified";
    const PROMISE: &'static str = "A client that lost its signaling connection dials again after 1, 2, 3, 4 and 5 s, then gives up; a success resets the count.";
    const JUDGES: Judges = Judges::Simulations;

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        if let What::Machine(MachineEvent::PowerLost | MachineEvent::Ended) = event.what {
            self.0.remove(&event.node);
        }
        match event.what {
            What::Fault(Fault::Suspend) => {
                let dialer = self.0.entry(event.node).or_default();
                (dialer.is_suspended, dialer.was_suspended) = (true, true);
            }
            What::Fault(Fault::Resume) => self.0.entry(event.node).or_default().is_suspended = false,
            _ => {}
        }
        let What::Signaling(signaling) = &event.what else { return };
        // A program may dial as it likes.
        if cx.is_program(event.node) {
            return;
        }
        let dialer = self.0.entry(event.node).or_default();
        let name = cx.name(event.node);
        let wrong = match signaling {
            Signaling::Connecting { attempt } => dialer.dials(*attempt, event.at),
            Signaling::Connected => {
                *dialer = Dialer::default();
                None
            }
            Signaling::Closed { code, reason } => {
                let is_over = *code == Some(1000) && &**reason == "left";
                *dialer = Dialer { ends: dialer.ends + 1, ended: Some(event.at), is_over, ..Dialer::default() };
                None
            }
            Signaling::GaveUp { attempts } => {
                dialer.is_over = true;
                let is_early = dialer.ends != ATTEMPTS_MAX + 1 || *attempts != ATTEMPTS_MAX;
                is_early.then(|| format!("gave up after {} attempts", dialer.ends.saturating_sub(1)))
            }
            _ => None,
        };
        if let Some(wrong) = wrong {
            let message = format!("{name} {wrong}");
            cx.violated(&[event.node], message);
        }
    }

    fn settle(&mut self, cx: &mut OracleCx<'_>) {
        let now = cx.now().time;
        for (node, dialer) in &self.0 {
            let Some(ended) = dialer.ended.filter(|_| !dialer.is_over && !dialer.is_suspended) else { continue };
            let wrong = if dialer.ends > ATTEMPTS_MAX {
                "neither dials again nor gives up"
            } else if ended + dialer.pause() + TOLERANCE < now {
                "has not dialled again"
            } else {
                continue;
            };
            let message = format!("{} lost its signaling connection at {} and {wrong}", cx.name(*node), seconds(ended));
            cx.violated(&[*node], message);
        }
    }
}

impl Dialer {
    fn pause(&self) -> Duration {
        Duration::from_secs(self.ends.into())
    }

    /// Returns what is wrong if a client dials at `now`, or `None`.
    fn dials(&mut self, attempt: u32, now: Duration) -> Option<String> {
        let ended = self.ended.take();
        let waited = ended.map_or(Duration::ZERO, |ended| now - ended);
        if self.is_over {
            Some("dialled again after it had given up or left".to_owned())
        } else if self.ends > ATTEMPTS_MAX {
            Some(format!("dialled again after {ATTEMPTS_MAX} attempts had failed"))
        } else if attempt != self.ends {
            Some(format!("reported attempt {attempt}, but this was attempt {}", self.ends))
        } else if waited < self.pause() || waited > self.pause() + TOLERANCE && !self.was_suspended {
            let (waited, pause) = (seconds(waited), self.pause().as_secs());
            Some(format!("dialled attempt {attempt} after {waited} instead of {pause} s"))
        } else {
            None
        }
    }
}
