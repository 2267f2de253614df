//! Correct servers of protocols that are not shipped, or with habits of their own: no case may fail on them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use conformance::{Dialect, Report, Verdict};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::small::{self, Clients, Did};
use crate::{ask_as, dialect, reference, text};

pub(crate) fn parse(text: &str) -> Arc<Dialect> {
    Arc::new(Dialect::parse("mine.toml", text).unwrap_or_else(|error| panic!("{error}")))
}

/// No case fails on the server, and at least this many were tested.
async fn passes<F>(dialect: &Arc<Dialect>, cases: &[&str], at_least: usize, handle: F) -> Report
where
    F: Fn(&mut Clients, usize, Did) + Send + Sync + 'static,
{
    let address = small::start(handle).await;
    let report = ask_as(dialect, &format!("ws://{address}/"), cases).await.expect("it is there");
    assert!(report.passed(), "{}", text(&report));
    let tested = report.cases.iter().filter(|case| !matches!(case.verdict, Verdict::Unsupported { .. })).count();
    assert!(tested >= at_least, "{tested} cases tested\n{}", text(&report));
    report
}

fn is_unsupported(report: &Report, slug: &str, says: &str) {
    let verdict = &report.case(slug).expect("it is listed").verdict;
    assert!(matches!(verdict, Verdict::Unsupported { why } if why.contains(says)), "{slug}: {verdict:?}");
}

/// Named users call each other. Everybody who is connected receives the list, joined or not.
fn call(clients: &mut Clients, me: usize, did: Did) {
    let list = |clients: &Clients| {
        let names: Vec<_> = clients.connected.values().filter_map(|client| client.name.clone()).collect();
        let list = json!({ "type": "userList", "data": names }).to_string();
        clients.connected.keys().for_each(|client| clients.send(*client, list.clone()));
    };
    let text = match did {
        Did::Connects(_) | Did::Leaves(_) => return list(clients),
        Did::Sends(message) => message.into_text().map(|text| text.to_string()).unwrap_or_default(),
    };
    let message: Value = serde_json::from_str(&text).unwrap_or_default();
    let (kind, data) = (message["type"].as_str().unwrap_or_default(), &message["data"]);
    let error = |clients: &Clients, code: &str| {
        clients.send(me, json!({ "type": "error", "data": { "code": code } }).to_string())
    };
    if kind == "join" {
        let name = data["username"].as_str().unwrap_or_default();
        if clients.named(name).is_some() {
            error(clients, "username-taken");
        } else {
            clients.connected.get_mut(&me).expect("connected").name = Some(name.to_owned());
        }
        return list(clients);
    }
    let Some(mine) = clients.connected[&me].name.clone() else { return error(clients, "not-joined") };
    let target = data["target"].as_str().or(data["caller"].as_str()).and_then(|name| clients.named(name));
    let Some(target) = target else { return error(clients, "user-not-found") };
    let (kind, data) = match kind {
        "call" => ("incomingCall", json!({ "caller": mine, "callerId": "c" })),
        "callResponse" => ("callAnswered", json!({ "accepted": data["accepted"], "target": mine })),
        "offer" => ("offer", json!({ "offer": data["offer"], "caller": mine })),
        _ => return error(clients, "invalid-message"),
    };
    clients.send(target, json!({ "type": kind, "data": data }).to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_with_the_id_is_not_a_join() {
    let report = passes(&dialect("call"), &["sec/id-takeover"], 3, call).await;
    assert_eq!(report.case("sec/id-takeover").expect("it ran").verdict, Verdict::Pass);
}

/// Clients name themselves in the URL; nothing confirms that they are connected.
const SILENT: &str = r#"
name = "silent"
about = "Clients choose their ids; nothing answers a join."
example = "ws://127.0.0.1:1/"

[connection]
url = "$url?id=$self"

[identity]
assigned-by = "client"

[room]
in = "none"

[join]
by = "connecting"
answer = "none"

[signals]
addressing = "targeted"
payload = "json"

[kinds]
offer = "offer"

[send]
signal = '{"to": $to, "type": $kind, "data": $data}'

[[match]]
event = "signal"
message = '{"from": $from, "type": $kind, "data": $data}'
"#;

/// A client that asks for an id in use is not admitted: what it sends is ignored, and it receives nothing.
fn silent(clients: &mut Clients, me: usize, did: Did) {
    match did {
        Did::Connects(path) => {
            let id = path.split_once("id=").map(|(_, id)| id.to_owned()).filter(|id| clients.named(id).is_none());
            clients.connected.get_mut(&me).expect("connected").name = id;
        }
        Did::Sends(Message::Text(text)) => {
            let message: Value = serde_json::from_str(&text).unwrap_or_default();
            let Some(mine) = &clients.connected[&me].name else { return };
            let target = message["to"].as_str().and_then(|to| clients.named(to));
            if let Some(target) = target.filter(|_| message["type"] == "offer" && message.get("data").is_some()) {
                let signal = json!({ "from": mine, "type": "offer", "data": message["data"] });
                clients.send(target, signal.to_string());
            }
        }
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_that_nothing_answers_is_not_an_admission() {
    let report = passes(&parse(SILENT), &["sec/id-takeover", "sec/proto-key", "mesh/*", "msg/*"], 8, silent).await;
    assert_eq!(report.case("sec/id-takeover").expect("it ran").verdict, Verdict::Pass);
}

/// A server that passes on any frame as it is, to all others in the room of the URL.
fn pipe(clients: &mut Clients, me: usize, did: Did) {
    let Did::Sends(message) = did else { return };
    let path = &clients.connected[&me].path;
    let text = Message::text(String::from_utf8_lossy(&message.into_data()).into_owned());
    clients.others(me, |other| other.path == *path).into_iter().for_each(|other| clients.message(other, text.clone()));
}

/// The dialect `relay`, but nothing is declared.
pub(crate) fn undeclared() -> String {
    let relay = include_str!("../../dialects/relay.toml");
    let relay = relay.split("[declares]").next().expect("it begins").replace("code-points-max = 64\n", "");
    let relay = relay.replace("verbatim = true\n", "");
    relay.replace("default = \"default\"\n", "")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipe_may_pass_on_any_text() {
    let report = passes(&parse(&undeclared()), &["msg/*", "sec/*", "room/*"], 12, pipe).await;
    let verdict = &report.case("msg/not-json").expect("it ran").verdict;
    assert!(matches!(verdict, Verdict::Acceptable { why } if why.contains("passed on unchanged")), "{verdict:?}");
    // No message names a room or a client.
    is_unsupported(&report, "sec/cross-room-send", "no signal that names another room");
    // A dialect that declares it needs no choice.
    let declares = ["not-json", "null", "unknown-type", "missing-field", "wrong-type", "binary"];
    let declares: String = declares.iter().map(|key| format!("{key} = \"obeyed\"\n")).collect();
    let declared = parse(&format!("{}[declares]\n{declares}", undeclared()));
    let report = passes(&declared, &["msg/*"], 8, pipe).await;
    assert_eq!(report.case("msg/not-json").expect("it ran").verdict, Verdict::Pass);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipe_fails_where_the_dialect_declares_an_error() {
    let address = small::start(pipe).await;
    let url = format!("ws://{address}/");
    let relay = include_str!("../../dialects/relay.toml");
    let (before, after) = relay.split_once("binding = [").expect("it promises something");
    let unbound = format!("{before}{}", after.split_once("]\n").expect("the list ends").1);
    for (dialect, says) in [(parse(relay), "the dialect promises an error"), (parse(&unbound), "declare \"obeyed\"")] {
        let report = ask_as(&dialect, &url, &["msg/not-json"]).await.expect("it is there");
        let verdict = &report.case("msg/not-json").expect("it ran").verdict;
        assert!(matches!(verdict, Verdict::Fail { .. }), "{verdict:?}");
        assert!(text(&report).contains(says), "{}", text(&report));
    }
}

/// Rooms that one joins and leaves by messages; signals name their receiver, and no room. To leave names no room
/// either.
const ROOMS: &str = r#"
name = "rooms"
about = "Rooms, and signals by id."
example = "ws://127.0.0.1:1/"

[connection]
url = "$url?id=$self"

[identity]
assigned-by = "client"

[room]
in = "message"
members-max = 8

[join]
by = "message"

[signals]
addressing = "targeted"
payload = "json"
bytes-max = 40_000

[kinds]
offer = "offer"

[send]
join = '{"do": "join", "room": $room}'
leave = '{"do": "leave"}'
signal = '{"do": "signal", "to": $to, "type": $kind, "data": $data}'

[[match]]
event = "joined"
message = '{"is": "joined", "room": $room}'

[[match]]
event = "member-left"
message = '{"is": "left", "id": $id}'

[[match]]
event = "signal"
message = '{"is": "signal", "from": $from, "type": $kind, "data": $data}'

[[match]]
event = "error"
message = '{"is": "error"}'
"#;

fn rooms(clients: &mut Clients, me: usize, did: Did) {
    let leave = |clients: &mut Clients, room: Option<String>, name: &str| {
        let others = clients.others(me, |other| room.is_some() && other.room == room);
        others.into_iter().for_each(|other| clients.send(other, json!({ "is": "left", "id": name }).to_string()));
    };
    match did {
        Did::Connects(path) => {
            let id = path.split_once("id=").map(|(_, id)| id.to_owned()).unwrap_or_default();
            if clients.named(&id).is_some() {
                return clients.close(me, 4000);
            }
            clients.connected.get_mut(&me).expect("connected").name = Some(id);
        }
        Did::Sends(message) => {
            let text = match message {
                // Longer ones are refused, as the dialect says.
                Message::Text(text) if text.len() <= 40_000 => text,
                _ => return clients.send(me, r#"{"is":"error"}"#),
            };
            let message: Value = serde_json::from_str(&text).unwrap_or_default();
            let (mine, room) = (clients.connected[&me].name.clone(), clients.connected[&me].room.clone());
            let Some(mine) = mine else { return };
            match message["do"].as_str() {
                Some("join") if message["room"].is_string() => {
                    let new = message["room"].as_str().map(str::to_owned);
                    if clients.others(me, |other| other.room == new).len() >= 8 {
                        return clients.send(me, r#"{"is":"error"}"#);
                    }
                    if room != new {
                        leave(clients, room, &mine);
                    }
                    clients.connected.get_mut(&me).expect("connected").room.clone_from(&new);
                    clients.send(me, json!({ "is": "joined", "room": new }).to_string());
                }
                Some("leave") => {
                    leave(clients, room, &mine);
                    clients.connected.get_mut(&me).expect("connected").room = None;
                }
                Some("signal") if message["type"] == "offer" && message.get("data").is_some() => {
                    let to = message["to"].as_str().and_then(|to| clients.named(to));
                    let to = to.filter(|to| room.is_some() && clients.connected[to].room == room);
                    match to.filter(|to| *to != me) {
                        Some(to) => {
                            let signal =
                                json!({ "is": "signal", "from": mine, "type": "offer", "data": message["data"] });
                            clients.send(to, signal.to_string());
                        }
                        None => clients.send(me, r#"{"is":"error"}"#),
                    }
                }
                _ => clients.send(me, r#"{"is":"error"}"#),
            }
        }
        Did::Leaves(gone) => leave(clients, gone.room, &gone.name.unwrap_or_default()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_by_id_and_a_leave_without_a_room() {
    let report = passes(&parse(ROOMS), &[], 40, rooms).await;
    // It used to panic.
    assert!(matches!(report.case("room/double-join").expect("it ran").verdict, Verdict::Pass), "{}", text(&report));
    is_unsupported(&report, "room/leave-foreign-room", "no message to leave that names the room");
    // It sent 120 KiB to a server that refuses more than 40,000 bytes.
    let slow = &report.case("load/slow-consumer").expect("it ran").verdict;
    assert!(matches!(slow, Verdict::Pass | Verdict::Acceptable { .. }), "{slow:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_of_null_is_not_everyone_unless_declared() {
    // This server refuses a receiver of null.
    let dialect = ROOMS.replace("\"to\": $to", "\"to\"?: $to").replace("\"targeted\"", "\"both\"");
    let both = |clients: &mut Clients, me: usize, did: Did| {
        if let Did::Sends(Message::Text(text)) = &did {
            let message: Value = serde_json::from_str(text).unwrap_or_default();
            let (name, room) = (clients.connected[&me].name.clone(), clients.connected[&me].room.clone());
            if message["do"] == "signal" && message.get("to").is_none() {
                let signal = json!({ "is": "signal", "from": name, "type": "offer", "data": message["data"] });
                let others = clients.others(me, |other| room.is_some() && other.room == room);
                return others.into_iter().for_each(|other| clients.send(other, signal.to_string()));
            }
        }
        rooms(clients, me, did);
    };
    let report = passes(&parse(&dialect), &["mesh/broadcast-minus-self"], 3, both).await;
    assert_eq!(report.case("mesh/broadcast-minus-self").expect("it ran").verdict, Verdict::Pass);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_limit_makes_a_longer_message() {
    // A server may relay what is at most twice as long as its limit.
    let limited = |bytes: &str| parse(&undeclared().replace("bytes-max = 262_144", &format!("bytes-max = {bytes}")));
    let relays = |clients: &mut Clients, me: usize, did: Did| match did {
        Did::Sends(message) if message.len() > 3_000_000 => clients.close(me, 1009),
        did => pipe(clients, me, did),
    };
    let report = passes(&limited("1_500_000"), &["ws/oversize"], 2, relays).await;
    assert_eq!(report.case("ws/oversize").expect("it ran").verdict, Verdict::Pass, "{}", text(&report));
    let report = passes(&limited("200_000_000"), &["ws/oversize"], 1, relays).await;
    is_unsupported(&report, "ws/oversize", "longer than the suite sends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_in_the_order_of_javascript_are_acceptable() {
    let reorders = |clients: &mut Clients, me: usize, did: Did| match did {
        Did::Sends(message) => {
            let text = String::from_utf8_lossy(&message.into_data())
                .replace(r#""z":1,"a":2,"10":3,"9":4"#, r#""9":4,"10":3,"z":1,"a":2"#);
            pipe(clients, me, Did::Sends(Message::text(text)));
        }
        did => pipe(clients, me, did),
    };
    let report = passes(&parse(&undeclared()), &["msg/payload-byte-exact"], 2, reorders).await;
    let verdict = &report.case("msg/payload-byte-exact").expect("it ran").verdict;
    assert!(matches!(verdict, Verdict::Acceptable { why } if why.contains("JavaScript orders")), "{verdict:?}");
}

/// A server that closes a room with its first member, and a connection that sends what is not JSON or too long.
fn hosts(clients: &mut Clients, me: usize, did: Did) {
    match did {
        Did::Sends(Message::Text(text)) if text.len() > 262_144 => clients.close(me, 1009),
        Did::Sends(Message::Text(text)) if serde_json::from_str::<Value>(&text).is_err() => clients.close(me, 4000),
        Did::Leaves(gone) => {
            let others = clients.others(me, |other| other.path == gone.path);
            if others.iter().all(|other| *other > me) {
                others.into_iter().for_each(|other| clients.close(other, 4001));
            }
        }
        did => pipe(clients, me, did),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_may_end_with_its_first_member() {
    let report = passes(&parse(&undeclared()), &["ws/oversize", "msg/not-json", "msg/null"], 4, hosts).await;
    assert_eq!(report.case("ws/oversize").expect("it ran").verdict, Verdict::Pass, "{}", text(&report));
}

/// Nothing tells a client when the server counts it. In two of three rooms of this one, the later of two is the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_counted_first_in_a_room_may_differ_from_who_connected_first() {
    // One case at a time, so that the rooms of a case follow one another.
    for case in ["ws/oversize", "msg/not-json", "msg/null"] {
        let rooms = Mutex::new(BTreeMap::<String, (usize, bool)>::new());
        let late_hosts = move |clients: &mut Clients, me: usize, did: Did| {
            let mut rooms = rooms.lock().expect("no panic");
            match did {
                Did::Connects(path) => {
                    let is_late = !rooms.len().is_multiple_of(3);
                    let (host, is_late) = rooms.entry(path).or_insert((me, is_late));
                    if *host != me && std::mem::take(is_late) {
                        *host = me;
                    }
                }
                Did::Leaves(gone) if rooms[&gone.path].0 == me => {
                    let others = clients.others(me, |other| other.path == gone.path);
                    others.into_iter().for_each(|other| clients.close(other, 4001));
                }
                Did::Leaves(_) => {}
                did => hosts(clients, me, did),
            }
        };
        let report = passes(&parse(&undeclared()), &[case], 2, late_hosts).await;
        assert!(report.case(case).is_some(), "{}", text(&report));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_in_binary_frames_are_told_as_that_and_not_as_a_dead_server() {
    let binary = |clients: &mut Clients, me: usize, did: Did| {
        let Did::Sends(message) = did else { return };
        let path = &clients.connected[&me].path;
        let frame = Message::Binary(message.into_data());
        clients.others(me, |other| other.path == *path).into_iter().for_each(|to| clients.message(to, frame.clone()));
    };
    let address = small::start(binary).await;
    let report = ask_as(&parse(&undeclared()), &format!("ws://{address}/"), &[]).await.expect("it is there");
    let delivery = &report.case("mesh/delivery").expect("it ran").verdict;
    assert!(matches!(delivery, Verdict::Fail { why, .. } if why.contains("received a binary frame")), "{delivery:?}");
    let text = text(&report);
    assert!(!text.contains("has not answered") && !text.contains("does not serve a new client"), "{text}");
    assert_eq!(report.case("ws/accept-key").expect("it ran").verdict, Verdict::Pass);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_whose_values_are_not_known_has_a_name() {
    let broadcast = include_str!("../../dialects/broadcast.toml").split("[[wrong]]").next().expect("it begins");
    let broadcast = broadcast
        .replace("assigned-by = \"nobody\"", "assigned-by = \"client\"")
        .replace("sender = \"absent\"", "sender = \"claimed\"")
        .replace("\"send-offer\", $data", "\"send-offer\", {\"id\": $self, \"data\": $data}")
        .replace("\"send-answer\", $data", "\"send-answer\", {\"id\": $self, \"data\": $data}")
        .replace("\"receive-offer\", $data", "\"receive-offer\", {\"id\": $from, \"data\": $data}")
        .replace("\"receive-answer\", $data", "\"receive-answer\", {\"id\": $from, \"data\": $data}");
    let server = reference::server().await;
    let url = server.url("broadcast").expect("asked for");
    tokio::spawn(server.run());
    let report = ask_as(&parse(&broadcast), &url, &["sio/*", "mesh/*"]).await.expect("it is there");
    assert!(report.passed(), "{}", text(&report));
    for slug in ["sio/event-before-connect", "sio/binary-ack", "sio/disconnect"] {
        assert_eq!(report.case(slug).expect("it ran").verdict, Verdict::Pass, "{slug}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_the_whole_server_says_nothing_about_rooms() {
    // Everybody receives a list of all who are connected, whatever room they are in.
    let dialect = ROOMS
        .replace(
            "event = \"member-left\"\nmessage = '{\"is\": \"left\", \"id\": $id}'",
            "event = \"roster\"\nmessage = '{\"is\": \"list\", \"all\": $members[$id]}'",
        )
        .replace("[kinds]", "[roster]\ndifferences = true\nof-server = true\n\n[kinds]");
    let lists = |clients: &mut Clients, me: usize, did: Did| {
        let changes = !matches!(did, Did::Sends(_));
        rooms(clients, me, did);
        if changes {
            let names: Vec<_> = clients.connected.values().filter_map(|client| client.name.clone()).collect();
            let list = json!({ "is": "list", "all": names }).to_string();
            clients.connected.keys().for_each(|client| clients.send(*client, list.clone()));
        }
    };
    let report = passes(&parse(&dialect), &["room/leave-once", "room/double-join"], 4, lists).await;
    assert_eq!(report.case("room/leave-once").expect("it ran").verdict, Verdict::Pass);
}
