//! A scenario can list the pairs that need a relay. The list must agree with what follows from the NATs
//! ([`crate::reachability`]): a listed pair is connected through a TURN server, every other pair is not.

use crate::event::{Candidate, CandidateKind};
use crate::oracle::cx::{Judges, Oracle, OracleCx};
use crate::oracle::everyone_connected::{pairs, sides};
use crate::oracle::history::Stay;
use crate::reachability::{Place, Verdict, can_connect};

#[derive(Default)]
pub(crate) struct RelayedAsExpected;

impl Oracle for RelayedAsExpected {
    const SLUG: &'static str = "relayed-as-expected";
    const PROMISE: &'static str =
        "If the scenario lists the pairs that are relayed, those are connected through a TURN server and no others.";
    const JUDGES: Judges = Judges::Simulations;

    fn settle(&mut self, cx: &mut OracleCx<'_>) {
        let Some(listed) = &cx.scenario.expect.relayed else { return };
        let mut found = Vec::new();
        for (a, b) in pairs(cx) {
            let (Some(one), Some(other)) = (cx.actor(a.node), cx.actor(b.node)) else { continue };
            if [a, b].iter().any(|stay| cx.model.unconfigured.contains(&stay.node)) {
                continue;
            }
            let is_listed = listed.iter().any(|&pair| pair == (one, other) || pair == (other, one));
            let places = [one, other].map(|actor| Place::of(cx.scenario, actor));
            let direct = can_connect(&places[0].without_turn(), &places[1].without_turn());
            let connects = matches!(can_connect(&places[0], &places[1]), Verdict::Connects(_));
            if let Some(message) = judge(a, b, is_listed, direct, connects, cx) {
                found.push(([a.node, b.node], message));
            }
        }
        for (nodes, message) in found {
            cx.violated(&nodes, message);
        }
    }
}

/// What is wrong with a pair. `direct` is whether it connects without a TURN server, `connects` whether it certainly
/// does with one.
fn judge(a: &Stay, b: &Stay, is_listed: bool, direct: Verdict, connects: bool, cx: &OracleCx<'_>) -> Option<String> {
    let (one, other) = (cx.name(a.node), cx.name(b.node));
    match (is_listed, direct) {
        (true, Verdict::Connects(_)) => {
            return Some(format!("`expect.relayed` lists {one} and {other}, but they connect without a relay"));
        }
        (false, Verdict::NeedsRelay(why)) if connects => {
            return Some(format!(
                "`expect.relayed` does not list {one} and {other}, but they connect only through a relay: {why}"
            ));
        }
        // Either is right where it depends on chance.
        (_, Verdict::Chance(_)) => return None,
        _ => {}
    }
    let calls = sides(a, b, cx).into_iter().flatten().filter(|call| call.is_open());
    let selected: Vec<_> = calls.filter_map(|call| call.selected).collect();
    let is_relay = |candidate: &Candidate| candidate.kind == CandidateKind::Relay;
    let is_relayed = selected.iter().any(|(local, remote, _)| is_relay(local) || is_relay(remote));
    match (is_listed, is_relayed) {
        (true, false) if !selected.is_empty() => {
            Some(format!("{one} and {other} are connected without a relay, but `expect.relayed` lists them"))
        }
        (false, true) => {
            Some(format!("{one} and {other} are connected through a relay, but `expect.relayed` does not list them"))
        }
        _ => None,
    }
}
