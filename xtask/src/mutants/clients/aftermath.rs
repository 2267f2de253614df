//! What a run came to for its clients, and how that differs from another run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use scenarios::Machine;
use sim::event::{NodeId, NodeKind, PeerChange, PeerEvent, ProgramEvent, Signaling, What};
use sim::pairs::pairs;
use sim::run::Outcome;

/// A connection that comes so much later than with the right server is worth a word.
const LATER: Duration = Duration::from_secs(1);

/// What a run came to for its clients.
#[derive(Debug, Default)]
pub(super) struct Aftermath {
    /// The pairs that are connected at the end, by the names of their actors, and since when.
    connected: BTreeMap<String, Duration>,
    /// How often each pair was connected.
    connections: BTreeMap<String, usize>,
    /// How often each actor has received each text on its data channels.
    texts: BTreeMap<String, BTreeMap<String, usize>>,
    /// How often each actor has connected to the server.
    joins: BTreeMap<String, usize>,
    /// What the programs of actors have printed.
    printed: Vec<(String, String)>,
    /// Programs of actors that did not stay up, in words.
    pub(super) ended: Vec<String>,
}

/// How the clients fared worse than in another run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::mutants) struct Differences {
    /// What is not right at the end.
    pub(super) harm: Vec<String>,
    /// What went differently on the way there.
    pub(super) trouble: Vec<String>,
    /// What a program of an actor printed that it did not print in the other run.
    pub(super) printed: Option<String>,
}

impl Aftermath {
    pub(super) fn of(outcome: &Outcome) -> Self {
        let record = &outcome.record;
        let is_actor =
            |node: NodeId| matches!(record.nodes[usize::from(node.0)].kind, NodeKind::Machine(Machine::Actor(_)));
        let name = |node: NodeId| record.name(node).to_string();
        let mut all = Self::default();
        for pair in pairs(record) {
            let names = format!("{} and {}", name(pair.a), name(pair.b));
            all.connections.insert(names.clone(), pair.spans.len());
            if let Some(connection) = pair.connection {
                all.connected.insert(names, connection.since);
            }
        }
        for event in record.events.iter().take_while(|event| event.what != What::TearDown) {
            match &event.what {
                What::Peer(PeerEvent { change: PeerChange::ChannelReceived { text }, .. }) => {
                    *all.texts.entry(name(event.node)).or_default().entry(text.to_string()).or_default() += 1;
                }
                What::Signaling(Signaling::Connected) => *all.joins.entry(name(event.node)).or_default() += 1,
                What::Program(ProgramEvent::Printed { text }) if is_actor(event.node) => {
                    all.printed.push((name(event.node), text.to_string()));
                }
                _ => {}
            }
        }
        let of_programs = outcome.violations.iter().filter(|violation| violation.oracle == "client-stays-up");
        all.ended = of_programs.map(|violation| violation.message.clone()).collect();
        all
    }

    /// How this run differs from the one with the right server.
    pub(super) fn worse_than(&self, right: &Self) -> Differences {
        let mut found = Differences::default();
        for pair in right.connected.keys().filter(|pair| !self.connected.contains_key(*pair)) {
            found.harm.push(format!("{pair} are not connected at the end"));
        }
        for pair in self.connected.keys().filter(|pair| !right.connected.contains_key(*pair)) {
            found.harm.push(format!("{pair} are connected at the end, and should not be"));
        }
        let nothing = BTreeMap::new();
        let actors: BTreeSet<_> = right.texts.keys().chain(self.texts.keys()).collect();
        for actor in actors {
            let [ours, theirs] = [self, right].map(|run| run.texts.get(actor).unwrap_or(&nothing));
            let texts: BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
            for text in texts {
                let [ours, theirs] = [ours, theirs].map(|texts| texts.get(text).copied().unwrap_or_default());
                if ours != theirs {
                    found.harm.push(format!("{actor} receives “{text}” {}", instead(ours, theirs)));
                }
            }
        }
        for (actor, theirs) in &right.joins {
            let ours = self.joins.get(actor).copied().unwrap_or_default();
            if ours != *theirs {
                found.trouble.push(format!("{actor} connects to the server {}", instead(ours, *theirs)));
            }
        }
        for (pair, since) in &self.connected {
            let Some(before) = right.connected.get(pair) else { continue };
            let [ours, theirs] = [self, right].map(|run| run.connections.get(pair).copied().unwrap_or_default());
            if ours != theirs {
                found.trouble.push(format!("{pair} connect {}", instead(ours, theirs)));
            } else if *since > *before + LATER {
                let seconds = (*since - *before).as_secs_f64();
                found.trouble.push(format!("{pair} are connected {seconds:.1} s later"));
            }
        }
        let before: BTreeSet<_> = right.printed.iter().collect();
        let new = self.printed.iter().find(|line| !before.contains(line));
        found.printed = new.map(|(actor, line)| format!("{actor} prints: {line}"));
        found
    }
}

/// `2 times instead of once`
fn instead(ours: usize, theirs: usize) -> String {
    let times = |count| match count {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        count => format!("{count} times"),
    };
    format!("{} instead of {}", times(ours), times(theirs))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(connected: &[(&str, u64)], texts: &[(&str, &str, usize)], joins: &[(&str, usize)]) -> Aftermath {
        let mut all = Aftermath::default();
        for (pair, since) in connected {
            all.connected.insert((*pair).to_owned(), Duration::from_secs(*since));
            all.connections.insert((*pair).to_owned(), 1);
        }
        for (actor, text, count) in texts {
            all.texts.entry((*actor).to_owned()).or_default().insert((*text).to_owned(), *count);
        }
        all.joins = joins.iter().map(|(actor, count)| ((*actor).to_owned(), *count)).collect();
        all
    }

    #[test]
    fn what_is_worse_is_said_in_words() {
        let right = run(&[("ana and ben", 1)], &[("ana", "hello", 1)], &[("ana", 1)]);
        assert_eq!(right.worse_than(&right), Differences::default());
        let found = run(&[("ana and cam", 1)], &[("ana", "hello", 2), ("ben", "hi", 1)], &[("ana", 3)]);
        let found = found.worse_than(&right);
        assert_eq!(
            found.harm,
            [
                "ana and ben are not connected at the end",
                "ana and cam are connected at the end, and should not be",
                "ana receives “hello” 2 times instead of once",
                "ben receives “hi” once instead of never",
            ]
        );
        assert_eq!(found.trouble, ["ana connects to the server 3 times instead of once"]);
        let late = run(&[("ana and ben", 9)], &[("ana", "hello", 1)], &[("ana", 1)]);
        assert_eq!(late.worse_than(&right).trouble, ["ana and ben are connected 8.0 s later"]);
    }
}
