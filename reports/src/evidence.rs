//! Which part of a run's story shows a violation, and what the scenario had done to the nodes concerned before it.

use std::time::Duration;

use scenarios::{Machine, NetworkIndex, Scenario};
use sim::event::{Fault, NodeId, NodeKind, ProgramEvent, Record, What};
use sim::oracle::Violation;
use sim::pairs::{Pair, pairs};
use sim::timeline::{Line, Timeline, Tone};

use crate::model::{Case, Finding, Step};

/// Numbers of lines shown up to a violation, and after it.
const LINES_BEFORE: usize = 5;
const LINES_AFTER: usize = 2;
/// The promises about connections.
const OF_CONNECTIONS: [&str; 5] =
    ["everyone-connected", "connected-as-expected", "connection-kept", "tracks-arrive", "media-flows"];
/// Number of things shown that were done to the nodes before. Older ones explain less.
const CAUSES_MAX: usize = 2;
/// Number of losses and retries shown that followed them.
const EFFECTS_MAX: usize = 6;

/// Finds the evidence of the violations of one run.
pub(crate) struct Evidences<'a> {
    scenario: &'a Scenario,
    record: &'a Record,
    timeline: &'a Timeline,
    pairs: Vec<Pair>,
}

/// The lines of a timeline that show a violation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Evidence {
    /// All of them, in order.
    pub(crate) lines: Vec<usize>,
    /// The line at which it shows, one of them.
    pub(crate) wrong: Option<usize>,
    /// What was done to the nodes last before it: the first of them.
    pub(crate) causes: Vec<usize>,
}

impl<'a> Evidences<'a> {
    pub(crate) fn new(scenario: &'a Scenario, record: &'a Record, timeline: &'a Timeline) -> Self {
        Self { scenario, record, timeline, pairs: pairs(record) }
    }

    pub(crate) fn of(&self, violation: &Violation) -> Evidence {
        let all = &self.timeline.lines;
        let concerned: Vec<usize> = (0..all.len()).filter(|&line| concerns(&all[line], &violation.nodes)).collect();
        let here = concerned.partition_point(|&line| match violation.event {
            Some(event) => all[line].event <= event,
            None => all[line].at <= violation.at,
        });
        let lost = self.lost(violation);
        let causes = self.causes(violation, lost);
        let effects = self.effects(violation, &causes);
        let wrong = match lost {
            // What is seen at the end began when the connection was lost.
            Some((_, until)) => effects.iter().rev().find(|&&line| all[line].at <= until).copied(),
            None => violation.event.and_then(|_| concerned.get(here.checked_sub(1)?).copied()),
        };
        let around = here.saturating_sub(LINES_BEFORE)..(here + LINES_AFTER).min(concerned.len());
        let effects = effects.into_iter().take(EFFECTS_MAX);
        let mut lines: Vec<usize> =
            causes.iter().copied().chain(effects).chain(wrong).chain(concerned[around].iter().copied()).collect();
        if let Some(first) = causes.first() {
            lines.retain(|line| line >= first);
        }
        lines.sort_unstable();
        lines.dedup();
        Evidence { lines, wrong, causes }
    }

    /// When the last connection that a violation is about began and ended, if one was lost before the violation was
    /// seen.
    fn lost(&self, violation: &Violation) -> Option<(Duration, Duration)> {
        let [a, b] = violation.nodes[..] else { return None };
        if !OF_CONNECTIONS.contains(&violation.oracle) {
            return None;
        }
        let pair = self.pairs.iter().find(|pair| [(a, b), (b, a)].contains(&(pair.a, pair.b)))?;
        let mut ended = pair.spans.iter().filter_map(|&(since, until)| Some((since, until?)));
        ended.rfind(|(_, until)| *until <= violation.at)
    }

    /// What was done to the nodes of a violation last: steps of the scenario, and programs that ended. If a connection was
    /// lost, only what was done while it lasted.
    fn causes(&self, violation: &Violation, lost: Option<(Duration, Duration)>) -> Vec<usize> {
        let (from, to) = lost.unwrap_or((Duration::ZERO, violation.at));
        let all = self.timeline.lines.iter().enumerate().rev();
        let before = all.filter(|(_, line)| match violation.event {
            Some(event) => line.event <= event,
            None => line.at <= to && line.at >= from,
        });
        let done = before.filter(|(_, line)| self.is_done_to(line, &violation.nodes));
        let mut causes: Vec<usize> = done.take(CAUSES_MAX).map(|(line, _)| line).collect();
        causes.reverse();
        causes
    }

    /// Losses and retries of the nodes that followed.
    fn effects(&self, violation: &Violation, causes: &[usize]) -> Vec<usize> {
        let Some(&first) = causes.first() else { return Vec::new() };
        let nats: Vec<NodeId> = self.nats(&violation.nodes);
        let is_effect = |line: &Line| {
            let is_among = |node: &NodeId| violation.nodes.contains(node);
            let is_with_another = line.whom.is_some_and(|whom| !is_among(&whom));
            let is_its = line.who.iter().any(|node| is_among(node) || nats.contains(node));
            line.tone == Tone::Bad && line.at <= violation.at && is_its && !is_with_another
        };
        let later = self.timeline.lines.iter().enumerate().skip(first + 1);
        later.filter(|(_, line)| is_effect(line)).map(|(line, _)| line).collect()
    }

    /// Whether a line is something that was done to these nodes, to their NATs, or to the server or all nodes.
    fn is_done_to(&self, line: &Line, nodes: &[NodeId]) -> bool {
        let event = &self.record.events[line.event];
        let is_concerned = |node: &NodeId| {
            nodes.is_empty() || nodes.contains(node) || self.is_shared(*node) || self.nats(nodes).contains(node)
        };
        match &event.what {
            What::Fault(Fault::Partition { from, to, .. }) => from.iter().chain(to).any(is_concerned),
            // A text on a data channel breaks nothing, and what had no effect did nothing.
            What::Fault(Fault::Told { what }) => !what.starts_with("say ") && is_concerned(&event.node),
            What::Fault(Fault::NoEffect { .. } | Fault::NoPacket { .. }) => false,
            What::Fault(_) | What::Program(ProgramEvent::Ended { .. } | ProgramEvent::Lost { .. }) => {
                is_concerned(&event.node)
            }
            _ => false,
        }
    }

    /// Whether all clients depend on a node.
    fn is_shared(&self, node: NodeId) -> bool {
        let kind = self.record.nodes[usize::from(node.0)].kind;
        matches!(kind, NodeKind::Machine(Machine::Server | Machine::IceServer(_)) | NodeKind::World)
    }

    /// The NATs between clients and the internet.
    fn nats(&self, nodes: &[NodeId]) -> Vec<NodeId> {
        let is_in_front = |network: NetworkIndex| {
            let actors = nodes.iter().filter_map(|node| match self.record.nodes[usize::from(node.0)].kind {
                NodeKind::Machine(Machine::Actor(actor)) => Some(actor),
                _ => None,
            });
            let outer = |inner: &NetworkIndex| self.scenario.networks[*inner].behind;
            actors.into_iter().any(|actor| {
                std::iter::successors(self.scenario.actors[actor].network, outer).any(|inside| inside == network)
            })
        };
        let nodes = self.record.nodes.iter().enumerate();
        let nats = nodes.filter(|(_, node)| matches!(node.kind, NodeKind::Nat(network) if is_in_front(network)));
        nats.map(|(index, _)| NodeId(index as u16)).collect()
    }
}

/// Whether a line is about the nodes of a violation. One that concerns two nodes is about lines between them; one that
/// concerns a single node, about all its lines.
fn concerns(line: &Line, nodes: &[NodeId]) -> bool {
    let acts = line.who.iter().any(|node| nodes.contains(node));
    let with = line.whom.map(|whom| nodes.contains(&whom));
    nodes.is_empty() || if nodes.len() > 1 { acts && with.unwrap_or(true) } else { acts || with == Some(true) }
}

/// What was done to the parties of a finding before it, a sentence each.
pub(crate) fn causes(case: &Case, finding: &Finding) -> Vec<String> {
    let steps = finding.causes.iter().filter_map(|&index| case.story.get(index));
    steps.map(|step| of_step(case, step)).collect()
}

/// A step as a sentence.
pub(crate) fn of_step(case: &Case, step: &Step) -> String {
    let name = |party: &usize| case.parties.get(*party).map_or("?", |party| party.name.as_str());
    sentence(step.at, &step.who.iter().map(name).collect::<Vec<_>>().join(", "), &step.text)
}

/// `20.000 s, ana’s NAT reboots`: a line with the names of its nodes.
pub(crate) fn sentence(at: f64, who: &str, what: &str) -> String {
    // The subject says already that it is a NAT.
    let what = what.strip_prefix("NAT ").filter(|_| who.ends_with("NAT")).unwrap_or(what);
    format!("{at:.3} s, {who} {what}")
}
