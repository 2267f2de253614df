//! The scenario lists pairs that must be connected at certain times. Nothing else is judged here: whether the clients
//! that belong together are connected at the end is the promise of [`super::everyone_connected`].

use std::time::Duration;

use scenarios::{ActorIndex, ExpectedConnection, Machine};

use crate::event::{NodeId, NodeKind};
use crate::oracle::cx::{Oracle, OracleCx, seconds};
use crate::pairs::{Pair, pairs};

#[derive(Default)]
pub(crate) struct ConnectedAsExpected;

impl Oracle for ConnectedAsExpected {
    const SLUG: &'static str = "connected-as-expected";
    const PROMISE: &'static str =
        "Every pair that the scenario expects to be connected is connected at all times for which it expects that.";

    fn settle(&mut self, cx: &mut OracleCx<'_>) {
        let expected = &cx.scenario.expect.connected;
        if expected.is_empty() {
            return;
        }
        let pairs = pairs(cx.record);
        for expected in expected {
            let nodes = [expected.pair.0, expected.pair.1].map(|actor| node_of(actor, cx));
            let [Some(a), Some(b)] = nodes else { continue };
            let spans = spans(&pairs, a, b);
            if let Some(message) = judge(expected, spans, cx.scenario.duration) {
                cx.violated(&[a, b], format!("{} and {} {message}", cx.name(a), cx.name(b)));
            }
        }
    }
}

fn node_of(actor: ActorIndex, cx: &OracleCx<'_>) -> Option<NodeId> {
    let is_its = |kind: NodeKind| kind == NodeKind::Machine(Machine::Actor(actor));
    cx.record.nodes.iter().position(|node| is_its(node.kind)).map(|node| NodeId(node as u16))
}

fn spans(pairs: &[Pair], a: NodeId, b: NodeId) -> &[(Duration, Option<Duration>)] {
    let pair = pairs.iter().find(|pair| [(a, b), (b, a)].contains(&(pair.a, pair.b)));
    pair.map_or(&[], |pair| &pair.spans)
}

/// What is wrong, to follow the names of the two.
fn judge(expected: &ExpectedConnection, spans: &[(Duration, Option<Duration>)], end: Duration) -> Option<String> {
    let ExpectedConnection { from, until, .. } = *expected;
    let mut gaps = Vec::new();
    let mut connected_until = from;
    for &(since, to) in spans {
        if since > connected_until && connected_until <= until {
            gaps.push((connected_until, since.min(until)));
        }
        connected_until = connected_until.max(to.unwrap_or(Duration::MAX));
    }
    // A connection that ends exactly when the expectation does has lasted long enough, unless it is expected at that
    // one time only.
    if connected_until < until || connected_until == from && from == until {
        gaps.push((connected_until, until));
    }
    let name = |time: Duration| if time == end { "the end".to_owned() } else { seconds(time) };
    let (start, stop) = gaps.first()?;
    let when =
        if from == until { format!("at {}", name(until)) } else { format!("from {} to {}", name(*start), name(*stop)) };
    let more = match gaps.len() {
        1 => String::new(),
        2 => ", and at another time".to_owned(),
        more => format!(", and at {} other times", more - 1),
    };
    let asked = match from == until {
        true => "then".to_owned(),
        false => format!("from {} to {}", name(from), name(until)),
    };
    Some(format!("are not connected {when}{more}; the scenario expects them to be connected {asked}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(from: u64, until: u64, spans: &[(u64, Option<u64>)]) -> Option<String> {
        let time = Duration::from_secs;
        let pair = (ActorIndex(0), ActorIndex(1));
        let expected = ExpectedConnection { pair, from: time(from), until: time(until), line: 1 };
        let spans: Vec<_> = spans.iter().map(|(since, until)| (time(*since), until.map(time))).collect();
        judge(&expected, &spans, time(60))
    }

    #[test]
    fn every_gap_in_the_expected_time_counts_and_no_other() {
        assert_eq!(judged(8, 25, &[(5, Some(25))]), None);
        assert_eq!(judged(8, 60, &[(5, None)]), None);
        assert_eq!(judged(60, 60, &[(5, None)]), None);
        assert_eq!(judged(20, 20, &[(5, Some(21))]), None);
        assert_eq!(judged(8, 25, &[(1, Some(2)), (5, Some(30)), (40, Some(50))]), None);
        let wrong = |from, until, spans: &[(u64, Option<u64>)]| judged(from, until, spans).expect("a gap");
        assert_eq!(
            wrong(8, 60, &[(5, Some(24))]),
            "are not connected from 24.000 s to the end; the scenario expects them to be connected from 8.000 s to the end"
        );
        assert!(wrong(8, 25, &[(9, None)]).starts_with("are not connected from 8.000 s to 9.000 s;"));
        assert!(wrong(8, 25, &[]).starts_with("are not connected from 8.000 s to 25.000 s;"));
        let several = wrong(8, 60, &[(5, Some(10)), (12, Some(20)), (30, Some(40))]);
        assert!(several.starts_with("are not connected from 10.000 s to 12.000 s, and at 2 other times;"), "{several}");
        assert_eq!(
            wrong(60, 60, &[(5, Some(24))]),
            "are not connected at the end; the scenario expects them to be connected then"
        );
        assert!(wrong(20, 20, &[(5, Some(20))]).starts_with("are not connected at 20.000 s;"));
    }
}
