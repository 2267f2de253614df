//! Fates of single packets: each does what it says, a name stands for the same packet whatever chance does, and what chance
//! did can be played again without chance.

use std::sync::Arc;
use std::time::Duration;

use scenarios::{Fate, Machine, PacketFate, PacketKind, PacketName, Scenario};
use sim::event::{Drop, PacketEvent, What};
use sim::run::{Outcome, SentPacket, run, run_with_packets};

/// Two peers behind NATs, on links that do what `link` says.
fn call(link: &str, more: &str) -> Scenario {
    let text = format!(
        "name = 'call'\nduration = '15s'\n[link]\n{link}
[[actor]]\nname = 'ana'\nnat = 'home-linux'\n[[actor]]\nname = 'ben'\nnat = 'home-median'\njoins = '100ms'\n{more}"
    );
    scenarios::parse("call.toml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn played(scenario: &Scenario, seed: u64) -> (Outcome, Vec<SentPacket>) {
    run_with_packets(&Arc::new(scenario.clone()), seed).unwrap_or_else(|crash| panic!("{crash:?}"))
}

fn with(scenario: &Scenario, packet: PacketName, fate: Fate) -> Scenario {
    let mut with = scenario.clone();
    with.packets.push(PacketFate { packet, fate, line: 0 });
    with
}

/// The name of a packet from one actor to the other.
fn name(from: usize, to: usize, kind: PacketKind, number: u32) -> PacketName {
    let machine = |actor| Machine::Actor(scenarios::ActorIndex(actor));
    PacketName { from: machine(from), to: machine(to), kind, number }
}

/// Packet events of a run that are not sent or delivered: what was lost, duplicated or reordered.
fn marks(outcome: &Outcome) -> [usize; 3] {
    let count = |is: fn(&PacketEvent) -> bool| {
        let marked = |what: &What| matches!(what, What::Packet(packet) if is(packet));
        outcome.record.events.iter().filter(|event| marked(&event.what)).count()
    };
    [
        count(|packet| matches!(packet, PacketEvent::Dropped { why: Drop::Loss, .. })),
        count(|packet| matches!(packet, PacketEvent::Duplicated { .. })),
        count(|packet| matches!(packet, PacketEvent::Reordered { .. })),
    ]
}

/// How many packets arrived before the end.
fn deliveries(outcome: &Outcome) -> usize {
    let before_end = outcome.record.events.iter().take_while(|event| event.what != What::TearDown);
    before_end.filter(|event| matches!(event.what, What::Packet(PacketEvent::Delivered(_)))).count()
}

#[test]
fn naming_packets_does_not_change_a_run() {
    let scenario = call("loss = '3%'\njitter = '5ms'", "");
    assert_eq!(run(&Arc::new(scenario.clone()), 3).expect("no crash").hash, played(&scenario, 3).0.hash);
}

/// With any seed, and with jitter, the same name stands for a packet of the same kind between the same machines.
#[test]
fn each_fate_does_what_it_says_under_every_seed() {
    let base = call("", "");
    for seed in [1, 2, 77] {
        for kind in [PacketKind::StunRequest, PacketKind::DtlsHandshake, PacketKind::DtlsData] {
            let first = name(0, 1, kind, 2);
            let marks_of = |fate| marks(&played(&with(&base, first, fate), seed).0);
            assert_eq!(marks_of(Fate::Lost), [1, 0, 0], "{kind:?}");
            assert_eq!(marks_of(Fate::LostAtSender), [1, 0, 0], "{kind:?}");
            assert_eq!(marks_of(Fate::Twice), [0, 1, 0], "{kind:?}");
            assert_eq!(marks_of(Fate::Late(Duration::from_millis(40))), [0, 0, 1], "{kind:?}");
        }
    }
}

/// A packet that is lost at its sender opens no mapping of the sender's NAT; one that is lost later does.
#[test]
fn where_a_packet_is_lost_makes_a_difference_to_nats() {
    let scenario = call("", "");
    let request = PacketName {
        from: Machine::Actor(scenarios::ActorIndex(0)),
        to: Machine::Server,
        kind: PacketKind::StunRequest,
        number: 1,
    };
    let mapping = |scenario: &Scenario| {
        let (outcome, _) = played(scenario, 1);
        let is_created = |what: &What| matches!(what, What::Nat(sim::event::NatEvent::Created(mapping)) if mapping.protocol == sim::event::Protocol::Udp);
        outcome.record.events.iter().find(|event| is_created(&event.what)).map(|event| event.at).expect("a mapping")
    };
    let [normal, early, late] =
        [scenario.clone(), with(&scenario, request, Fate::LostAtSender), with(&scenario, request, Fate::Lost)]
            .map(|scenario| mapping(&scenario));
    assert_eq!(normal, late);
    assert!(early > normal, "{early:?} {normal:?}");
}

#[test]
fn a_lost_tcp_segment_arrives_after_a_retransmission() {
    let scenario = call("", "");
    let segment = |number| PacketName {
        from: Machine::Actor(scenarios::ActorIndex(0)),
        to: Machine::Server,
        kind: PacketKind::TcpSegment,
        number,
    };
    let joined = |scenario: &Scenario| {
        let (outcome, _) = played(scenario, 1);
        let is_joined = |what: &What| {
            matches!(what, What::Signaling(sim::event::Signaling::Received(sim::event::Message::Joined { .. })))
        };
        let is_ana = |node: sim::event::NodeId| &**outcome.record.name(node) == "ana";
        let joined = outcome.record.events.iter().find(|event| is_ana(event.node) && is_joined(&event.what));
        joined.expect("it joined").at
    };
    let normal = joined(&scenario);
    assert_eq!(joined(&with(&scenario, segment(1), Fate::Lost)), normal + Duration::from_millis(200));
    assert_eq!(
        joined(&with(&scenario, segment(1), Fate::Late(Duration::from_millis(30)))),
        normal + Duration::from_millis(30)
    );
}

/// What chance did, written down as fates, gives the same packets at the same times without chance. The NATs of the scenario
/// draw nothing, and each packet crosses the links that lose once.
#[test]
fn what_chance_did_plays_the_same_without_chance() {
    for seed in 1..6 {
        let scenario = call("loss = '4%'\nduplicate = '3%'\nreorder = '3%'\njitter = '9ms'", "");
        let (outcome, sent) = played(&scenario, seed);
        let mut certain = call("", "");
        for packet in &sent {
            for fate in &packet.chance {
                certain.packets.push(PacketFate { packet: packet.name, fate: *fate, line: 0 });
            }
        }
        assert!(certain.packets.len() > 50, "{}", certain.packets.len());
        // Through the file, as a user gets it.
        let certain =
            scenarios::parse("certain.toml", &scenarios::write(&certain)).unwrap_or_else(|error| panic!("{error}"));
        let (again, sent_again) = played(&certain, seed);
        assert_eq!(again.violations, [], "seed {seed}");
        let named = |sent: &[SentPacket]| sent.iter().map(|packet| (packet.name, packet.at)).collect::<Vec<_>>();
        let (was, is) = (named(&sent), named(&sent_again));
        let differing = was.iter().zip(&is).position(|(was, is)| was != is);
        assert_eq!(
            differing.map(|at| (at, was[at], is[at])),
            None,
            "seed {seed}: {} and {} packets",
            was.len(),
            is.len()
        );
        let decided = |is: fn(&PacketFate) -> bool| certain.packets.iter().filter(|fate| is(fate)).count();
        let lost = decided(|fate| fate.fate == Fate::Lost || fate.fate == Fate::LostAtSender);
        let twice = decided(|fate| fate.fate == Fate::Twice);
        assert!(lost > 0 && twice > 0, "seed {seed}");
        // What was lost between two NATs may be refused by the second one instead.
        let [lost_again, twice_again, _] = marks(&again);
        assert!((1..=lost).contains(&lost_again) && (1..=twice).contains(&twice_again), "seed {seed}");
        assert_eq!(deliveries(&again), deliveries(&outcome), "seed {seed}");
        assert!(sent_again.iter().all(|packet| packet.chance.is_empty()));
    }
}

#[test]
fn a_fate_without_a_packet_is_a_violation_with_its_line() {
    let more = "[[packet]]\nfrom = 'ana'\nto = 'ben'\nkind = 'channel-data'\nnumber = 1\nfate = 'lost'\n
[[packet]]\nfrom = 'ana'\nto = 'server'\nkind = 'stun-request'\nnumber = 1\nfate = 'twice'\n
[[packet]]\nfrom = 'server'\nto = 'ana'\nkind = 'stun-response'\nnumber = 1000\nfate = 'late'\nby = '5ms'\n";
    let scenario = call("", more);
    let (outcome, _) = played(&scenario, 1);
    let told: Vec<_> =
        outcome.violations.iter().map(|violation| (violation.oracle, violation.message.as_str())).collect();
    let [first, third] = [scenario.packets[0].line, scenario.packets[2].line];
    let [("steps-take-effect", one), ("steps-take-effect", other)] = told[..] else { panic!("{told:?}") };
    assert_eq!(
        one,
        format!("the packet on line {first} has no effect: ana sent no packet of the kind `channel-data` to ben")
    );
    assert!(other.starts_with(&format!("the packet on line {third} has no effect: server sent only ")), "{other}");
    let mut idle = scenario;
    idle.idle_steps = true;
    assert_eq!(played(&idle, 1).0.violations, []);
}
