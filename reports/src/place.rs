//! Finds the line of a scenario file that a violation refers to.

use std::time::Duration;

use scenarios::{Action, ActorIndex, Command, Machine, NetworkIndex, Scenario, WorldAction};
use sim::event::{Fault, NodeId, NodeKind, Record, What};
use sim::oracle::Violation;

/// The line that a violation refers to, from 1: the step that had no effect, if it is about one; the scenario's
/// expectation if that is not met; otherwise the last earlier step that affects the parties concerned; otherwise the
/// definition of the first of them.
pub(crate) fn line_of(scenario: &Scenario, record: &Record, violation: &Violation) -> usize {
    let event = violation.event.and_then(|event| record.events.get(event));
    if let Some(What::Fault(Fault::NoEffect { line, .. } | Fault::NoPacket { line, .. })) =
        event.map(|event| &event.what)
        && line.0 > 0
    {
        return line.0;
    }
    let actors: Vec<ActorIndex> = violation.nodes.iter().filter_map(|node| actor(record, *node)).collect();
    let step = || before(scenario, violation.at).find(|step| affects(scenario, &step.action, &actors));
    let described = || actors.first().map(|actor| scenario.actors[*actor].line);
    if violation.oracle == "connected-as-expected"
        && let Some(line) = expectation(scenario, &actors)
    {
        return line;
    }
    if is_expected(scenario, violation, &actors) {
        return scenario.expect.line;
    }
    let any = || before(scenario, violation.at).next();
    step().map(|step| step.line).or_else(described).or_else(|| any().map(|step| step.line)).unwrap_or(1)
}

fn actor(record: &Record, node: NodeId) -> Option<ActorIndex> {
    match record.nodes.get(usize::from(node.0))?.kind {
        NodeKind::Machine(Machine::Actor(actor)) => Some(actor),
        _ => None,
    }
}

/// Steps up to a time, the last one first.
fn before(scenario: &Scenario, at: Duration) -> impl Iterator<Item = &scenarios::Step> {
    scenario.steps.iter().rev().filter(move |step| step.at <= at)
}

/// The line on which the scenario expects these two actors to be connected.
fn expectation(scenario: &Scenario, actors: &[ActorIndex]) -> Option<usize> {
    let both = |(a, b): (ActorIndex, ActorIndex)| actors.contains(&a) && actors.contains(&b);
    scenario.expect.connected.iter().find(|expected| both(expected.pair)).map(|expected| expected.line)
}

/// Whether the violation is an unmet expectation of the scenario.
fn is_expected(scenario: &Scenario, violation: &Violation, actors: &[ActorIndex]) -> bool {
    let listed = |(a, b): &(ActorIndex, ActorIndex)| actors.contains(a) && actors.contains(b);
    scenario.expect.line > 0
        && match violation.oracle {
            "expected-probes" | "relayed-as-expected" => true,
            "everyone-connected" => scenario.expect.unconnected.iter().any(listed),
            _ => false,
        }
}

/// Whether a step affects one of these actors, or all.
fn affects(scenario: &Scenario, action: &Action, actors: &[ActorIndex]) -> bool {
    let one = |actor: &ActorIndex| actors.contains(actor);
    let machine = |machine: &Machine| match machine {
        Machine::Server | Machine::IceServer(_) => true,
        Machine::Actor(actor) => one(actor),
    };
    let behind = |network: &NetworkIndex| {
        actors.iter().any(|actor| {
            let outer = |inner: &NetworkIndex| scenario.networks[*inner].behind;
            std::iter::successors(scenario.actors[*actor].network, outer).any(|inside| inside == *network)
        })
    };
    match action {
        Action::Join(actor) => one(actor),
        Action::Actor(
            actor,
            Command::Hangup(other) | Command::IceRestart(other) | Command::Offer(other) | Command::Call(other),
        ) => one(actor) || one(other),
        Action::Actor(actor, _) => one(actor),
        Action::Machine(which, _) => machine(which),
        Action::Network(network, _) => behind(network),
        Action::World(WorldAction::Shutdown | WorldAction::Heal) => true,
        Action::World(WorldAction::Partition { from, to, .. }) => from.iter().chain(to).any(machine),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const SCENARIO: &str = r#"name = "story"
about = "who is concerned by which line"
duration = "10s"
[[actor]]
name = "ana"
nat = "full-cone"
[[actor]]
name = "ben"
nat = "full-cone"
[[step]]
at = "2s"
do = "say"
actor = "ana"
text = "hi"
[[step]]
at = "4s"
do = "nat-reboot"
network = "ben"
[expect]
probes = ["glare"]
"#;

    #[test]
    fn a_violation_refers_to_the_last_step_that_affects_the_parties_concerned() {
        let scenario = Arc::new(scenarios::parse("story.toml", SCENARIO).expect("a valid scenario"));
        let record = sim::run::record(&scenario, 1).expect("no crash");
        let node = |name: &str| {
            let is_it = |node: &sim::event::Node| &*node.name == name && matches!(node.kind, NodeKind::Machine(_));
            NodeId(record.nodes.iter().position(is_it).expect("somebody") as u16)
        };
        let line = |oracle, who: &[&str], seconds| {
            let (nodes, at) = (who.iter().map(|name| node(name)).collect(), Duration::from_secs(seconds));
            line_of(&scenario, &record, &Violation { oracle, message: String::new(), event: None, at, nodes })
        };
        let heading = |nth: usize, what: &str| {
            let lines = SCENARIO.lines().enumerate().filter(|(_, line)| *line == what);
            lines.map(|(index, _)| index + 1).nth(nth).expect("it is there")
        };
        let name = |who: &str| heading(0, &format!("name = \"{who}\""));
        assert_eq!(line("at-most-once", &["ana"], 3), heading(0, "[[step]]"));
        assert_eq!(
            line("at-most-once", &["ana"], 9),
            heading(0, "[[step]]"),
            "a step on another's NAT does not affect her"
        );
        assert_eq!(line("at-most-once", &["ben"], 9), heading(1, "[[step]]"));
        assert_eq!(line("at-most-once", &["ben"], 3), name("ben"), "no step affects him yet");
        assert_eq!(line("expected-probes", &[], 10), heading(0, "[expect]"));
        assert_eq!(line("nothing-leaked", &["server"], 9), heading(1, "[[step]]"), "the last step");
        assert_eq!(line("nothing-leaked", &[], 1), 1);
    }
}
