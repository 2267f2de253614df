//! How to write an oracle outside of Glare: `cargo run -p sim --example own_oracle`.
//!
//! The example runs a shipped scenario in which the server crashes, and judges the run by Glare's oracles and its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sim::event::{Event, NodeId, Signaling, What};
use sim::oracle::{AnyOracle, Judges, Oracle, OracleCx, judge_with, oracles};

/// The longest time for which a client may be without a signaling connection.
const OUTAGE_MAX: Duration = Duration::from_secs(5);

/// An oracle stores what it needs from earlier events: here, since when each client has had no signaling connection.
#[derive(Default)]
struct ShortOutages(BTreeMap<NodeId, Duration>);

impl Oracle for ShortOutages {
    const SLUG: &'static str = "short-outages";
    const PROMISE: &'static str = "No client is without signaling for more than 5 s.";

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        match &event.what {
            What::Signaling(Signaling::Closed { .. }) => {
                self.0.entry(event.node).or_insert(event.at);
            }
            What::Signaling(Signaling::Connected) => {
                let Some(since) = self.0.remove(&event.node) else { return };
                let outage = event.at - since;
                if outage > OUTAGE_MAX {
                    let message = format!("{} was without signaling for {outage:?}", cx.name(event.node));
                    cx.violated(&[event.node], message);
                }
            }
            _ => {}
        }
    }

    /// Judges the clients that are still without a signaling connection at the end.
    fn settle(&mut self, cx: &mut OracleCx<'_>) {
        for (node, since) in &self.0 {
            if *since + OUTAGE_MAX < cx.time() {
                let message = format!("{} has had no signaling since {since:?}", cx.name(*node));
                cx.violated(&[*node], message);
            }
        }
    }
}

fn main() {
    let shipped = scenarios::shipped().find(|shipped| shipped.name == "server-crash-restart").expect("it is shipped");
    let scenario = Arc::new(scenarios::parse(&shipped.path(), shipped.text).expect("shipped scenarios are valid"));
    let record = sim::run::record(&scenario, 1).expect("no panic");

    let mut all = oracles(Judges::Simulations);
    all.push(AnyOracle::new(ShortOutages::default()));
    let (violations, _probes) = judge_with(all, &scenario, &record);
    for violation in &violations {
        println!("{:>9.3} s  {}: {}", violation.at.as_secs_f64(), violation.oracle, violation.message);
    }
    println!("{} violations", violations.len());
}
