//! Random and mutated input for Engine.IO and Socket.IO: no panic, nobody else disturbed, nothing left behind.
//!
//! The codecs are asked alone, a few thousand inputs each; then real sessions are fed, over both transports.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use server::socketio::{engine, packet};
use tokio_tungstenite::tungstenite::Message;

use futures_util::SinkExt;

use crate::client::{Client, start};
use crate::socketio_client::{POLLING, Poller, WEBSOCKET, request};

/// What a client might say, and what is nearly that.
const SEEDS: [&str; 24] = [
    "40",
    "40{\"token\":1}",
    "40/admin,{}",
    "41",
    "41/admin,",
    "42[\"send-offer\",{\"type\":\"offer\",\"sdp\":\"v=0\\r\\n\"}]",
    "42[\"send-answer\",[1,2.5e3,\"\\ud800\"],null]",
    "4217[\"send-offer\"]",
    "42/admin,5[\"send-offer\"]",
    "43",
    "4312[{}]",
    "44{\"message\":\"no\"}",
    "451-[\"send-offer\",{\"_placeholder\":true,\"num\":0}]",
    "452-9[\"send-answer\",{\"_placeholder\":true,\"num\":1}]",
    "461-3[{\"_placeholder\":true,\"num\":0}]",
    "bAAEC/w==",
    "b",
    "0{\"sid\":\"x\",\"upgrades\":[],\"pingInterval\":1,\"pingTimeout\":1,\"maxPayload\":1}",
    "1",
    "2probe",
    "3probe",
    "5",
    "6",
    "\u{1e}",
];

/// A text made of seeds, with some characters replaced, left out or put in.
fn text() -> impl Strategy<Value = String> {
    let spice = select("0123456789b-/,[]{}\":\\\u{1e}\0né😀 \u{7f}".chars().collect::<Vec<_>>());
    let edits = vec((any::<prop::sample::Index>(), 0..3, spice), 0..4);
    (vec(select(&SEEDS[..]), 1..4), select(&["", "\u{1e}"][..]), edits).prop_map(|(seeds, joint, edits)| {
        let mut text: Vec<char> = seeds.join(joint).chars().collect();
        for (at, edit, spice) in edits {
            let at = at.index(text.len() + 1);
            match edit {
                0 if at < text.len() => text[at] = spice,
                1 if at < text.len() => drop(text.remove(at)),
                _ => text.insert(at, spice),
            }
        }
        text.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_the_codecs_read_they_write_so_that_it_reads_the_same(text in prop_oneof![text(), any::<String>()]) {
        for engine_packet in engine::packets(&text).flatten() {
            let written = engine_packet.to_string();
            prop_assert_eq!(engine::Packet::parse(&written), Ok(engine_packet.clone()), "{}", written);
            let engine::Packet::Message(text) = engine_packet else { continue };
            let Ok(packet) = packet::Packet::parse(text) else { continue };
            let written = packet.to_string();
            prop_assert_eq!(packet::Packet::parse(&written), Ok(packet), "{}", written);
            if packet.kind == packet::Kind::Event {
                let event = packet::Event::parse(packet.data).expect("the packet was checked");
                prop_assert!(packet.data.contains(event.arguments));
                let written = event.to_string();
                let again = packet::Event::parse(&written).expect(&written);
                prop_assert_eq!((&again.name, again.arguments.trim_end()), (&event.name, event.arguments.trim_end()));
            }
        }
    }
}

/// Draws inputs that are the same in every run.
fn draws<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>, count: usize) -> Vec<T> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| strategy.new_tree(&mut runner).expect("it can be drawn").current()).collect()
}

#[tokio::test]
async fn no_input_disturbs_another_session_or_is_left_behind() {
    let server = start().await;
    let mut witness = Client::socketio(server.call_socketio).await;
    let inputs = draws((text(), vec(text(), 0..4), vec(any::<u8>(), 0..8), any::<bool>()), 400);
    for (n, (first, more, bytes, connect)) in inputs.into_iter().enumerate() {
        // Half of it in each dialect, a third over each way in.
        let address = if n % 2 == 0 { server.broadcast } else { server.call_socketio };
        match n % 3 {
            0 => {
                let mut client = Client::open(address, WEBSOCKET).await;
                if connect {
                    client.connects().await;
                }
                let _ = client.socket.feed(Message::text(first)).await;
                let _ = client.socket.feed(Message::binary(bytes)).await;
                for text in more {
                    let _ = client.socket.feed(Message::text(text)).await;
                }
                let _ = client.socket.flush().await;
            }
            1 => {
                let client = if connect { Poller::connect(address).await } else { Poller::open(address).await };
                let target = client.target();
                for payload in [first.as_bytes(), &bytes].into_iter().chain(more.iter().map(String::as_bytes)) {
                    let answer = request(address, "POST", &target, payload).await;
                    assert!(matches!(answer.status, 200 | 400), "{payload:?}: {answer:?}");
                }
                let answer = request(address, "POST", &target, b"1").await;
                assert!(matches!(answer.status, 200 | 400), "{answer:?}");
            }
            _ => {
                // A query, whatever it says.
                let query: String = first.chars().filter(|c| c.is_ascii_graphic() && *c != '#').collect();
                for target in [format!("/socket.io/?{query}"), format!("{POLLING}&sid={query}&{query}")] {
                    let answer = request(address, "POST", &target, &bytes).await;
                    assert_eq!(answer.status, 400, "{target}: {answer:?}");
                }
            }
        }
        if n % 20 == 0 {
            let n = n + 1;
            witness.send(&format!("42{n}[\"sentinel\",{{}}]")).await;
            assert!(witness.next().await.contains("invalid-message"));
            witness.hears(&format!("43{n}[]")).await;
        }
    }
    drop(witness);
    server.empty().await;
}
