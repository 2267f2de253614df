//! A server of the dialect `broadcast` over WebSockets, written by hand from the protocol's description. It is right
//! unless it is given a flaw.

use std::net::SocketAddr;

use conformance::Verdict;
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use crate::small::{self, Clients, Did};
use crate::{ask_as, dialect, each_is_found, text};

/// Starts a server with one of the flaws in [`FLAWS`], or with none: the empty string.
async fn start(flaw: &'static str) -> SocketAddr {
    small::start(move |clients, me, did| handle(flaw, clients, me, did)).await
}

fn handle(flaw: &str, clients: &mut Clients, me: usize, did: Did) {
    let is = |name: &str| flaw == name;
    let packet = match did {
        Did::Connects(_) => {
            let open = r#"0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
            return clients.send(me, open);
        }
        Did::Sends(Message::Text(text)) => text.to_string(),
        Did::Sends(_) | Did::Leaves(_) => return,
    };
    if packet == "40" {
        clients.connected.get_mut(&me).expect("connected").name = Some(me.to_string());
        return clients.send(me, format!(r#"40{{"sid":"{me}"}}"#));
    }
    if packet.starts_with("40/") {
        return clients.send(me, r#"44/glare-nowhere,{"message":"Invalid namespace"}"#);
    }
    let Some(rest) = packet.strip_prefix("42") else { return };
    let id: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let data = &rest[id.len()..];
    let Ok(items) = serde_json::from_str::<Vec<Value>>(data) else {
        if !is("bad-packets-ignored") {
            clients.close(me, 1008);
        }
        return;
    };
    let Some(name) = items.first().and_then(Value::as_str) else { return clients.close(me, 1008) };
    let received = match name {
        "send-offer" => "receive-offer",
        "send-answer" if is("answers-are-offers") => "receive-offer",
        "send-answer" => "receive-answer",
        "receive-offer" if is("any-event") => "receive-offer",
        _ if is("unknown-closes") => return clients.close(me, 1008),
        _ => return,
    };
    let mut event = vec![Value::from(received)];
    let arguments = if is("one-argument") { 1 } else { usize::MAX };
    event.extend(items[1..].iter().take(arguments).cloned());
    if is("arguments-in-a-list") && event.len() > 2 {
        event = vec![Value::from(received), Value::from(event.split_off(1))];
    }
    let ack = if is("ack-id-forwarded") { id.as_str() } else { "" };
    let text = format!("42{ack}{}", Value::from(event));
    let mut everybody = clients.others(usize::MAX, |client| client.name.is_some());
    let answer = received == "receive-answer";
    match flaw {
        "answers-not-echoed" if answer => everybody.retain(|to| *to != me),
        "answers-twice" if answer => everybody.extend(everybody.clone()),
        "answers-to-the-newest" if answer => everybody = everybody.split_off(everybody.len() - 1),
        "answers-for-two-at-most" if answer => everybody.truncate(2),
        "oldest-twice" => everybody.extend(everybody.clone().into_iter().take(2)),
        "not-to-late-clients" => everybody.retain(|to| *to <= me + 2),
        _ => {}
    }
    // A flaw that lets offers overtake answers: an answer waits until the next event.
    let waits = is("answers-late") && answer;
    let held = clients.connected.get_mut(&me).expect("connected").room.take();
    if waits && held.is_none() {
        clients.connected.get_mut(&me).expect("connected").room = Some(text);
    } else {
        everybody.iter().for_each(|to| clients.send(*to, text.clone()));
    }
    if let Some(held) = held {
        everybody.iter().for_each(|to| clients.send(*to, held.clone()));
    }
    if !id.is_empty() && !is("no-ack") {
        let ack = if is("ack-with-data") { "[true]" } else { "[]" };
        clients.send(me, format!("43{id}{ack}"));
        if is("ack-twice") {
            clients.send(me, format!("43{id}{ack}"));
        }
        if is("ack-to-all") {
            everybody.iter().filter(|to| **to != me).for_each(|to| clients.send(*to, format!("43{id}{ack}")));
        }
    }
}

/// Each flaw, and the case that finds it. Other cases may find it as well.
const FLAWS: &[(&str, &str)] = &[
    ("answers-not-echoed", "bcast/everyone"),
    ("answers-twice", "bcast/everyone"),
    ("answers-to-the-newest", "bcast/everyone"),
    ("answers-are-offers", "bcast/everyone"),
    ("answers-for-two-at-most", "bcast/everyone"),
    ("oldest-twice", "bcast/everyone"),
    ("not-to-late-clients", "bcast/everyone"),
    ("answers-late", "bcast/order"),
    ("one-argument", "bcast/arguments"),
    ("arguments-in-a-list", "bcast/arguments"),
    ("no-ack", "bcast/acknowledgement"),
    ("ack-with-data", "bcast/acknowledgement"),
    ("ack-twice", "bcast/acknowledgement"),
    ("ack-to-all", "bcast/acknowledgement"),
    ("ack-id-forwarded", "bcast/acknowledgement"),
    ("unknown-closes", "msg/unknown-type"),
    ("any-event", "msg/unknown-type"),
    ("bad-packets-ignored", "msg/not-json"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_server_has_no_failure() {
    let address = start("").await;
    let url = format!("http://{address}/socket.io/");
    // The cases of `sio` need HTTP polling too.
    let cases = ["room/*", "mesh/*", "bcast/*", "msg/*", "sec/*"];
    let report = ask_as(&dialect("broadcast"), &url, &cases).await.expect("it is there");
    assert!(report.passed(), "{}", text(&report));
    let asked = report.cases.iter().filter(|case| !matches!(case.verdict, Verdict::Unsupported { .. })).count();
    assert!(asked >= 16, "{asked} cases asked\n{}", text(&report));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_flaw_is_found() {
    each_is_found(&dialect("broadcast"), FLAWS, async |flaw| format!("http://{}/socket.io/", start(flaw).await)).await;
}
