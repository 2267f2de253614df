//! How long a connection takes from its offer on, by the timing of its clients.

use std::sync::Arc;
use std::time::Duration;

use scenarios::{ActorIndex, Machine};
use sim::event::TransportAddress;
use sim::event::{Message, NodeKind, PacketEvent, PeerChange, Protocol, Record, SignalKind, Signaling, What};

/// 44 ms there and back between the homes, as between two homes of one country.
const LINKS: &str = "[link]\nlatency = \"10ms\"\n[lan]\nlatency = \"1ms\"\n";

/// With the library's own timing, most of the time is waiting: for the next 200 ms, and for better pairs.
#[test]
fn a_browser_connects_in_a_few_round_trips() {
    let took = |timing| from_offer_to_channel(&record(timing, LINKS, 1));
    let (browser, fast, rtc) = (took("browser"), took("fast"), took("rtc"));
    // Signaling takes two trips to the server and back, STUN and ICE two round trips more, DTLS two, SCTP two and the
    // channel one: ten round trips of 44 ms.
    assert!(browser < Duration::from_millis(500), "{browser:?}");
    assert!(fast <= browser, "{fast:?} and {browser:?}");
    assert!(rtc > 2 * browser, "{rtc:?} and {browser:?}");
}

//= https://www.rfc-editor.org/rfc/rfc8445#section-14.2
//# ICE agents SHOULD use a default Ta value, 50 ms
#[test]
fn a_browser_paces_its_first_checks() {
    for seed in 1..5 {
        let record = record("browser", LINKS, seed);
        let mut seen = Vec::new();
        for (at, from, to) in checks(&record) {
            if from == Some(ActorIndex(0)) && !seen.iter().any(|(_, known)| *known == to) {
                seen.push((at, to));
            }
        }
        assert!(seen.len() >= 2, "several pairs: {seen:?}");
        assert!(seen.windows(2).all(|pair| pair[1].0 - pair[0].0 >= Duration::from_millis(50)), "{seen:?}");
    }
}

/// Nothing is lost. Only what comes too early is sent again: ben's check before ana has his answer, and her nomination
/// before his check is answered.
#[test]
fn where_nothing_is_filtered_few_checks_are_sent() {
    let links = "[link]\nlatency = \"10ms\"\n";
    let record = play("browser", links, "open", "open", 1);
    let connected = record.events.iter().rfind(|event| is_connected(&event.what)).expect("they connect").at;
    let checks: Vec<_> = checks(&record).into_iter().filter(|(at, ..)| *at < connected).collect();
    assert!((3..=7).contains(&checks.len()), "{checks:?}");
    assert!(connected - checks[0].0 < Duration::from_millis(200), "five trips of 20 ms: {checks:?}");
}

#[test]
fn a_path_of_three_seconds_there_and_back_still_connects() {
    let record = record("browser", "[link]\nlatency = \"700ms\"\n", 1);
    assert!(
        record
            .events
            .iter()
            .any(|event| matches!(&event.what, What::Peer(peer) if peer.change == PeerChange::ChannelOpen))
    );
}

/// Requests between the peers: when, from whom and to where. They are longer than responses, and than anything that the
/// peers send before DTLS.
fn checks(record: &Record) -> Vec<(Duration, Option<ActorIndex>, TransportAddress)> {
    let mut checks = Vec::new();
    for event in &record.events {
        let What::Packet(PacketEvent::Sent(view)) = &event.what else { continue };
        let is_between = ![view.src.port(), view.dst.port()].contains(&3478);
        if view.protocol == Protocol::Udp && is_between && (80..=130).contains(&view.bytes) {
            let from = match record.nodes[usize::from(event.node.0)].kind {
                NodeKind::Machine(Machine::Actor(actor)) => Some(actor),
                _ => None,
            };
            checks.push((event.at, from, view.dst));
        }
    }
    checks
}

fn is_connected(what: &What) -> bool {
    matches!(what, What::Peer(peer) if matches!(peer.change, PeerChange::Ice { state: sim::event::IceState::Connected }))
}

fn from_offer_to_channel(record: &Record) -> Duration {
    let offer = record.events.iter().find(|event| {
        matches!(&event.what, What::Signaling(Signaling::Sent(Message::Signal { kind: SignalKind::Offer, .. })))
    });
    let is_open = |what: &What| matches!(what, What::Peer(peer) if peer.change == PeerChange::ChannelOpen);
    let open = record.events.iter().rfind(|event| is_open(&event.what));
    open.expect("a channel opens").at - offer.expect("an offer is sent").at
}

fn record(timing: &str, links: &str, seed: u64) -> Record {
    play(timing, links, "full-cone", "home-linux", seed)
}

fn play(timing: &str, links: &str, a: &str, b: &str, seed: u64) -> Record {
    let text = format!(
        "name = \"timing\"\nduration = \"90s\"\ntiming = \"{timing}\"\n{links}\
         [[actor]]\nname = \"ana\"\nnat = \"{a}\"\n[[actor]]\nname = \"ben\"\nnat = \"{b}\"\njoins = \"1s\"\n"
    );
    let scenario = Arc::new(scenarios::parse("timing.toml", &text).unwrap_or_else(|error| panic!("{error}")));
    let outcome = sim::run::run(&scenario, seed).expect("no crash");
    assert_eq!(outcome.violations, [], "{timing}, seed {seed}");
    outcome.record
}
