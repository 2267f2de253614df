//! A server of the dialect `relay`, written by hand from the protocol's description. It is right unless it is given a
//! flaw. Rooms are compared as their URLs spell them.

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
    let sent = match did {
        Did::Connects(_) => return,
        Did::Leaves(gone) => {
            if is("leaves-told") {
                let others = clients.others(me, |other| other.path == gone.path);
                others.into_iter().for_each(|other| clients.send(other, r#"{"type":"left"}"#));
            }
            return;
        }
        Did::Sends(Message::Text(sent)) => sent.to_string(),
        Did::Sends(_) => return clients.close(me, 1003),
    };
    if sent.len() > 262_144 && !is("long-relayed") {
        if !is("long-dropped") {
            clients.close(me, 1009);
        }
        return;
    }
    let message: Value = serde_json::from_str(&sent).unwrap_or_default();
    if !message["type"].as_str().is_some_and(|kind| ["offer", "answer", "candidate"].contains(&kind)) {
        if !is("errors-unsent") {
            clients.send(me, r#"{"message":"what?","type":"error"}"#);
        }
        if is("errors-close") {
            clients.close(me, 1008);
        }
        return;
    }
    let relayed = match flaw {
        "white-space-trimmed" => sent.trim().to_owned(),
        "unknown-fields-dropped" => sent.replace(r#","glare":"of no meaning""#, ""),
        _ => sent,
    };
    let room = clients.connected[&me].path.clone();
    let mut others = clients.others(me, |other| other.path == room);
    if is("third-told-twice") && others.len() > 1 {
        others.extend(others.last().copied());
    }
    others.into_iter().for_each(|other| clients.send(other, relayed.clone()));
}

/// Each flaw, and the case that finds it. Other cases may find it as well.
const FLAWS: &[(&str, &str)] = &[
    ("white-space-trimmed", "mesh/verbatim"),
    ("unknown-fields-dropped", "mesh/verbatim"),
    ("leaves-told", "mesh/verbatim"),
    ("third-told-twice", "bcast/everyone"),
    ("errors-unsent", "msg/not-json"),
    ("errors-close", "msg/not-json"),
    ("long-relayed", "msg/over-limit"),
    ("long-dropped", "msg/over-limit"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_server_has_no_failure() {
    let url = format!("ws://{}/relay", start("").await);
    let cases = ["mesh/*", "bcast/*", "msg/*", "sec/cross-room-leak"];
    let report = ask_as(&dialect("relay"), &url, &cases).await.expect("it is there");
    assert!(report.passed(), "{}", text(&report));
    for slug in ["mesh/verbatim", "msg/over-limit", "msg/not-json", "bcast/everyone"] {
        assert_eq!(report.case(slug).expect("it ran").verdict, Verdict::Pass, "{slug}\n{}", text(&report));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_flaw_is_found() {
    each_is_found(&dialect("relay"), FLAWS, async |flaw| format!("ws://{}/relay", start(flaw).await)).await;
}
