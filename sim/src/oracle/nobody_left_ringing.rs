//! **Nobody rings whom nobody calls, and nobody calls whose telephone does not ring.**
//!
//! In the end: a call that is over before it is taken is over on both sides, whatever ended it.

use crate::event::{Event, NodeId};
use crate::oracle::model::{SLACK, Stay};
use crate::oracle::telephones::Line;
use crate::oracle::{Court, Oracle, seconds};

pub(crate) struct NobodyLeftRinging;

impl Oracle for NobodyLeftRinging {
    fn slug(&self) -> &'static str {
        "nobody-left-ringing"
    }

    fn observe(&mut self, _event: &Event, _court: &mut Court<'_>) {}

    fn settle(&mut self, court: &mut Court<'_>) {
        for (nodes, message) in left(court, |line| matches!(line, Line::Calling(_) | Line::Ringing(_))) {
            court.violated(&nodes, message);
        }
    }
}

/// Users whose telephone does what `is_judged`, while the other side's does not match. Both must have had time to hear of it.
pub(crate) fn left(court: &Court<'_>, is_judged: fn(&Line) -> bool) -> Vec<(Vec<NodeId>, String)> {
    let now = court.now();
    let is_settled = |node| court.model.telephones.line(node).1.is_none_or(|since| since.time + 2 * SLACK < now.time);
    let mut found = Vec::new();
    for stay in court.stays() {
        let (line, since) = court.model.telephones.line(stay.node);
        let (Some(since), Some(peer)) = (since, line.peer()) else { continue };
        if !is_judged(&line) || !is_settled(stay.node) || !court.model.is_surely_there(stay, now) {
            continue;
        }
        let wrong = match court.stay_of(peer) {
            Some(other) if court.model.is_surely_there(other, now) => {
                let (theirs, _) = court.model.telephones.line(other.node);
                if theirs == line.counterpart(&stay.id) || !is_settled(other.node) {
                    continue;
                }
                format!("{} {}", court.name(other.node), doing(&theirs))
            }
            Some(other) if is_struck_off(other, court) => format!("{} is gone", court.name(other.node)),
            _ => continue,
        };
        let nodes = court.with_owner(stay.node, peer);
        found.push((
            nodes,
            format!("{} {} since {}, but {wrong}", court.name(stay.node), doing(&line), seconds(since.time)),
        ));
    }
    found
}

/// Whether a server must have noticed by now that somebody is gone.
fn is_struck_off(stay: &Stay, court: &Court<'_>) -> bool {
    court.model.noticed_by(stay, court.now()).is_some_and(|by| by + SLACK < court.now().time)
}

fn doing(line: &Line) -> String {
    match line {
        Line::Idle => "is free".to_owned(),
        Line::Calling(peer) => format!("calls {peer}"),
        Line::Ringing(peer) => format!("rings with a call of {peer}"),
        Line::InCall(peer) => format!("is in a call with {peer}"),
    }
}
