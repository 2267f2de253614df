//! Hosts that move, pages that are suspended, and the consent to send.

use std::sync::Arc;
use std::time::Duration;

use scenarios::{ActorIndex, Machine, Scenario};
use sim::event::{MachineEvent, NodeKind, PacketEvent, PeerChange, PeerEvent, Protocol, Signaling, What};

use crate::played::Played;

const MOVE: Duration = Duration::from_secs(10);

/// Two members of a mesh, of whom ana is at home, beside a mobile network; with these steps.
fn story(seconds: u32, steps: &str) -> Arc<Scenario> {
    let text = format!(
        "name = \"built\"\nduration = \"{seconds}s\"\n[server]\nheartbeat = \"5s\"\n\
         [[network]]\nname = \"home\"\nnat = \"home-linux\"\n\
         [[network]]\nname = \"mobile\"\nnat = \"cgn-cellular\"\nipv6 = true\n\
         [[actor]]\nname = \"ana\"\nnetwork = \"home\"\n\
         [[actor]]\nname = \"ben\"\nnat = \"home-median\"\njoins = \"50ms\"\n{steps}"
    );
    Arc::new(scenarios::parse("built.toml", &text).unwrap_or_else(|wrong| panic!("{wrong:?}\n{text}")))
}

fn step(at: &str, verb: &str, rest: &str) -> String {
    format!("[[step]]\nat = \"{at}\"\ndo = \"{verb}\"\nactor = \"ana\"\n{rest}\n")
}

fn play(scenario: &Arc<Scenario>) -> Played {
    let record = sim::run::record(scenario, 1).unwrap_or_else(|crash| panic!("{crash:?}"));
    Played::read(scenario.clone(), record)
}

fn is_ana(played: &Played, event: &sim::event::Event) -> bool {
    played.record.nodes[usize::from(event.node.0)].kind == NodeKind::Machine(Machine::Actor(ActorIndex(0)))
}

/// How many greetings arrived on data channels after a time.
fn greeted_after(played: &Played, at: Duration) -> usize {
    let is_greeting = |event: &&sim::event::Event| {
        event.at > at && matches!(&event.what, What::Peer(PeerEvent { change: PeerChange::ChannelReceived { .. }, .. }))
    };
    played.record.events.iter().filter(is_greeting).count()
}

#[test]
fn who_moves_sends_nothing_from_the_old_address_and_comes_back_by_itself() {
    let played = play(&story(40, &step("10s", "move", "network = \"mobile\"")));
    let old = played.scenario.actors[0].address;
    let from_old = |at: &mut dyn Iterator<Item = &sim::event::Event>| {
        at.filter(|event| {
            let sent = matches!(event.what, What::Packet(PacketEvent::Sent(view)) if view.src.ip() == old);
            sent && is_ana(&played, event)
        })
        .count()
    };
    let split = played.record.events.partition_point(|event| event.at <= MOVE);
    let (before, after) = played.record.events.split_at(split);
    assert!(from_old(&mut before.iter()) > 0);
    assert_eq!(from_old(&mut after.iter()), 0, "not even a FIN");
    assert_eq!(greeted_after(&played, MOVE), 2, "{}", played.story());
    let (violations, _) = sim::oracle::judge(&played.scenario, &played.record);
    assert!(violations.is_empty(), "{violations:#?}");
}

#[test]
fn where_it_moves_to_decides_about_its_addresses() {
    let scenario = story(
        40,
        &format!("{}{}", step("10s", "move", "network = \"mobile\""), step("20s", "move", "network = \"home\"")),
    );
    let at = |seconds| scenario.place_at(ActorIndex(0), Duration::from_secs(seconds)).1;
    assert_eq!(at(0), at(20), "who comes back has the same address");
    assert!(at(0).ipv6.is_none() && at(10).ipv6.is_some());
    assert_ne!(at(0).ipv4, at(10).ipv4);
    let written = scenarios::write(&scenario);
    let again = scenarios::parse("written.toml", &written).unwrap_or_else(|wrong| panic!("{wrong}\n{written}"));
    assert_eq!(
        again.place_at(ActorIndex(0), Duration::from_secs(15)),
        scenario.place_at(ActorIndex(0), Duration::from_secs(15))
    );
}

#[test]
fn who_is_suspended_says_nothing_while_its_machine_goes_on() {
    let steps = format!("{}{}", step("10s", "suspend", ""), step("45s", "resume", ""));
    let played = play(&story(80, &steps));
    let (from, until) = (Duration::from_secs(10), Duration::from_secs(45));
    let mut during = played.record.events.iter().filter(|event| event.at > from && event.at < until);
    let is_active = |event: &&sim::event::Event| match event.what {
        What::Packet(PacketEvent::Sent(view)) => view.protocol == Protocol::Udp,
        What::Peer(_) | What::Signaling(Signaling::Sent(_) | Signaling::FrameReceived(_)) => true,
        _ => false,
    };
    assert_eq!(during.find(|event| is_ana(&played, event) && is_active(event)), None);
    let is_received = |event: &sim::event::Event| matches!(event.what, What::Packet(PacketEvent::Delivered(view)) if view.protocol == Protocol::Udp);
    let received = played.record.events.iter().filter(|event| event.at > from && event.at < until);
    assert!(received.filter(|event| is_ana(&played, event) && is_received(event)).count() > 0, "its machine goes on");
    let booted = |event: &&sim::event::Event| matches!(event.what, What::Machine(MachineEvent::Booted));
    assert_eq!(played.record.events.iter().filter(|event| is_ana(&played, event)).filter(booted).count(), 1);
    assert_eq!(greeted_after(&played, until), 2, "{}", played.story());
    let (violations, _) = sim::oracle::judge(&played.scenario, &played.record);
    assert!(violations.is_empty(), "{violations:#?}");
}

/// ana hears from ben all the time, so that her ICE agent stays connected. But he does not hear her, so her checks have no
/// answers: after 30 s she has no consent.
#[test]
fn consent_expires_thirty_seconds_after_the_last_answer() {
    // Nobody can signal any more, or ben would hang up on her.
    let cut = "[[step]]\nat = \"2s\"\ndo = \"partition\"\nfrom = [\"ana\", \"ben\"]\nto = \"server\"\n\
               [[step]]\nat = \"40s\"\ndo = \"partition\"\nfrom = \"ana\"\nto = \"ben\"\none-way = true\n";
    let played = play(&story(90, cut));
    let expired = played.record.events.iter().find(|event| {
        matches!(&event.what, What::Peer(PeerEvent { change: PeerChange::ConsentExpired, .. }))
            && is_ana(&played, event)
    });
    let at = expired.unwrap_or_else(|| panic!("{}", played.story())).at;
    // Checks are sent every 2 s.
    assert!((67.9..70.2).contains(&at.as_secs_f64()), "{at:?}");
    let calm = play(&story(60, ""));
    let expired = |event: &sim::event::Event| {
        matches!(&event.what, What::Peer(PeerEvent { change: PeerChange::ConsentExpired, .. }))
    };
    assert!(!calm.record.events.iter().any(expired), "it is refreshed every 2 s");
}

#[test]
fn a_suspended_client_takes_no_orders() {
    let text = |steps: &str| {
        let of_ana = "name = \"x\"\nduration = \"60s\"\n[[actor]]\nname = \"ana\"\n[[actor]]\nname = \"ben\"\n";
        scenarios::parse("x.toml", &format!("{of_ana}{steps}")).map(|_| ()).map_err(|wrong| wrong.to_string())
    };
    let said = text(&format!("{}{}", step("5s", "suspend", ""), step("6s", "say", "text = \"hi\"")));
    assert!(said.is_err_and(|wrong| wrong.contains("`ana` cannot say anything: it is suspended at 6s")));
    let twice = text(&format!("{}{}", step("5s", "suspend", ""), step("6s", "suspend", "")));
    assert!(twice.is_err_and(|wrong| wrong.contains("`ana` cannot be suspended: it is suspended")));
    assert!(text(&step("5s", "resume", "")).is_err_and(|wrong| wrong.contains("cannot resume: it is not suspended")));
    let nowhere = text(&step("5s", "move", "network = \"cafe\""));
    assert!(nowhere.is_err_and(|wrong| wrong.contains("unknown network `cafe`")));
}

/// On real sockets too a server may close the connection of a client that answers no pings.
#[test]
fn a_server_may_drop_who_is_suspended() {
    let scenario = Arc::new(scenarios::load("page-suspended").expect("it is shipped"));
    let outcome = sim::run::run(&scenario, 1).expect("no crash");
    let is_close =
        |event: &&sim::event::Event| matches!(&event.what, What::Signaling(Signaling::Closed { code: Some(1008), .. }));
    assert_eq!(outcome.record.events.iter().filter(is_close).count(), 1, "the server closes it");
    let (violations, _) = sim::oracle::judge_live(&scenario, &outcome.record);
    let accused: Vec<_> = violations.iter().filter(|found| found.oracle == "signaling-kept").collect();
    assert!(accused.is_empty(), "{accused:?}");
}

/// Half a minute after the last answer, the driver of a stack that goes on is told by an oracle.
#[test]
fn consent_honoured_sees_data_after_the_last_answer_and_a_client_that_does_not_say_so() {
    let cut = "[[step]]\nat = \"2s\"\ndo = \"partition\"\nfrom = [\"ana\", \"ben\"]\nto = \"server\"\n\
               [[step]]\nat = \"40s\"\ndo = \"partition\"\nfrom = \"ana\"\nto = \"ben\"\none-way = true\n";
    let played = play(&story(90, cut));
    let judged = |record: &sim::event::Record| {
        let (violations, _) = sim::oracle::judge(&played.scenario, record);
        let of_consent = violations.into_iter().filter(|found| found.oracle == "consent-honoured");
        of_consent.map(|found| found.message).collect::<Vec<_>>()
    };
    assert_eq!(judged(&played.record), Vec::<String>::new());

    // She says nothing.
    let mut record = played.record.clone();
    let is_said = |what: &What| matches!(what, What::Peer(PeerEvent { change: PeerChange::ConsentExpired, .. }));
    record.events.retain(|event| !is_said(&event.what));
    let found = judged(&record);
    assert!(found.iter().any(|message| message.starts_with("ana has not said that it has no consent")), "{found:?}");

    // A check of hers, after the end of her consent, was data instead.
    let mut record = played.record.clone();
    let said = record.events.iter().position(|event| is_said(&event.what)).expect("she says so");
    let data_of =
        |kept: &sim::event::datagrams::PeerDatagram| kept.kind == sim::event::datagrams::PeerDatagramKind::Data;
    let to_ben = record.events.iter().rev().find_map(|event| match event.what {
        What::Packet(PacketEvent::Sent(view)) if is_ana(&played, event) => {
            record.peer_datagrams.iter().any(|kept| data_of(kept) && kept.packet == view.packet).then_some(view.dst)
        }
        _ => None,
    });
    let late = record.events[said..].iter().find_map(|event| match event.what {
        What::Packet(PacketEvent::Sent(view)) if is_ana(&played, event) && Some(view.dst) == to_ben => {
            Some(view.packet)
        }
        _ => None,
    });
    let late = late.expect("she goes on to check");
    let kept =
        sim::event::datagrams::PeerDatagram { packet: late, kind: sim::event::datagrams::PeerDatagramKind::Data };
    // They are in the order of the events.
    let position = |record: &sim::event::Record, packet| {
        record.events.iter().position(|event| {
            matches!(event.what, What::Packet(PacketEvent::Sent(view) | PacketEvent::Delivered(view)) if view.packet == packet)
        })
    };
    let at = position(&record, late);
    let place = record.peer_datagrams.partition_point(|kept| position(&played.record, kept.packet) < at);
    record.peer_datagrams.insert(place, kept);
    let found = judged(&record);
    assert!(found.iter().any(|message| message.starts_with("ana sent data to")), "{found:?}");
}
