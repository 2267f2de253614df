//! Small worlds, completely: how many there are, which fail, and that a server crash between any two messages is survived.

use std::collections::BTreeSet;
use std::time::Duration;

use scenarios::{PacketKind, Scenario};
use sim::campaign::exhaustive::{Explored, Kind, NotExplored, Plan, plan};
use sim::run::run_with_packets;

/// Two members of a room without WebRTC, of whom one leaves: a few dozen messages.
const SMALL: &str = "name = 'small'\nduration = '8s'\n[server]\nheartbeat = '3s'
[[actor]]\nname = 'ana'\nwebrtc = false\n[[actor]]\nname = 'ben'\nwebrtc = false\njoins = '500ms'
[[step]]\nat = '5s'\ndo = 'leave'\nactor = 'ben'\n";

fn parsed(text: &str) -> Scenario {
    scenarios::parse("x.toml", text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn explored(plan: &Plan) -> Explored {
    let mut all = Explored::default();
    for unit in &plan.units {
        let Explored { worlds, failed } = plan.explore(unit, &|| false).expect("nobody ends it");
        all.worlds += worlds;
        all.failed.extend(failed);
    }
    all
}

fn planned(scenario: &Scenario, kinds: &[Kind]) -> Plan {
    plan(scenario, 1, kinds).unwrap_or_else(|why| panic!("{}: {why}", scenario.name))
}

#[test]
fn a_room_survives_every_loss_of_two_packets_and_every_crash() {
    let scenario = parsed(SMALL);
    let (_, sent) = run_with_packets(&scenario.clone().into(), 1).expect("no crash");
    let kinds = |kinds: &[Kind]| explored(&planned(&scenario, kinds));
    for kind in [Kind::Loss, Kind::TwoLosses, Kind::Crash] {
        let Explored { worlds, failed } = kinds(&[kind]);
        assert!(
            failed.is_empty(),
            "{kind:?}: {:?}",
            failed.iter().map(|world| (&world.what, &world.message)).collect::<Vec<_>>()
        );
        match kind {
            Kind::Loss => assert_eq!(worlds, sent.len()),
            // A segment that is lost is late, so others may follow in one segment with it, or a heartbeat more or less.
            Kind::TwoLosses => assert!(worlds.abs_diff(sent.len() * (sent.len() - 1) / 2) < sent.len() * 3, "{worlds}"),
            _ => assert!(worlds > 10, "{worlds}"),
        }
    }
    assert_eq!(kinds(&[Kind::Twice, Kind::Swap]).worlds, 0, "there are no datagrams");
}

/// All that can happen to one packet of a call. The names of units are different, so that a search can be continued.
#[test]
fn a_call_survives_whatever_happens_to_one_packet() {
    let scenario = scenarios::load("two-peers").expect("a shipped scenario");
    let plan = planned(&scenario, &[Kind::Loss, Kind::Twice, Kind::Swap]);
    let names: BTreeSet<_> = plan.units.iter().map(|unit| &unit.name).collect();
    assert_eq!(names.len(), plan.units.len());
    let Explored { worlds, failed } = explored(&plan);
    assert_eq!(worlds, plan.units.len());
    assert!(worlds > 150, "{worlds}");
    assert!(failed.is_empty(), "{:?}", failed.iter().map(|world| (&world.what, &world.message)).collect::<Vec<_>>());
}

/// All that can happen to two packets of a call. The only pairs that are not connected within ten seconds are those whose
/// handshake hangs twice: `known_defects.rs` has the defect of `rtc-dtls`.
#[test]
#[ignore = "plays some thousand worlds"]
fn a_call_survives_the_loss_of_any_two_packets_but_for_handshakes_that_hang_twice() {
    let scenario = scenarios::load("two-peers").expect("a shipped scenario");
    let Explored { worlds, failed } = explored(&planned(&scenario, &[Kind::TwoLosses]));
    assert!(worlds > 2000, "{worlds}");
    for world in &failed {
        let lost: Vec<_> = world.scenario.packets.iter().map(|fate| fate.packet.kind).collect();
        assert_eq!(lost, [PacketKind::DtlsHandshake; 2], "{}: {}", world.what, world.message);
        let outcome = sim::run::run(&world.scenario.clone().into(), 1).expect("no crash");
        assert!(outcome.probes.contains_key("dtls-hung"), "{}: {}", world.what, world.message);
    }
    assert!(failed.len() <= 4, "{:?}", failed.iter().map(|world| &world.what).collect::<Vec<_>>());
}

/// An expectation that holds only if nothing is lost fails in the worlds in which something is.
#[test]
fn worlds_that_fail_are_found() {
    let mut scenario = scenarios::load("two-peers").expect("a shipped scenario");
    scenario.expect.connected[0].from = Duration::from_millis(1500);
    let explored = explored(&planned(&scenario, &[Kind::Loss]));
    assert!(
        !explored.failed.is_empty() && explored.failed.len() < explored.worlds,
        "{} of {}",
        explored.failed.len(),
        explored.worlds
    );
    for world in &explored.failed {
        assert_eq!(world.oracle, "connected-as-expected", "{}: {}", world.what, world.message);
        let outcome = sim::run::run(&world.scenario.clone().into(), 1).expect("no crash");
        assert_eq!(outcome.violations.first().map(|violation| &violation.message), Some(&world.message));
    }
    scenario.expect.connected[0].from = Duration::from_millis(10);
    assert!(matches!(plan(&scenario, 1, &[Kind::Loss]), Err(NotExplored::Fails("connected-as-expected", _))));
}
