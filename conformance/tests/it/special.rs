//! What only some protocols have: for each a correct server, which passes, and servers with one defect, which do not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use conformance::{Dialect, Report, Verdict};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

use crate::innocent::parse;
use crate::small::{self, Clients, Did};
use crate::{ask_as, text};

/// No case fails on the server, and these pass.
async fn passes<F>(dialect: &Arc<Dialect>, cases: &[&str], pass: &[&str], handle: F)
where
    F: Fn(&mut Clients, usize, Did) + Send + Sync + 'static,
{
    let address = small::start(handle).await;
    passes_at(dialect, &format!("ws://{address}/"), cases, pass).await;
}

async fn passes_at(dialect: &Arc<Dialect>, url: &str, cases: &[&str], pass: &[&str]) {
    let report = ask_as(dialect, url, cases).await.expect("it is there");
    assert!(report.passed(), "{}", text(&report));
    for slug in pass {
        assert_eq!(report.case(slug).expect("it ran").verdict, Verdict::Pass, "{slug}\n{}", text(&report));
    }
}

/// The case fails on the server, and says this.
async fn fails<F>(dialect: &Arc<Dialect>, slug: &str, says: &str, handle: F)
where
    F: Fn(&mut Clients, usize, Did) + Send + Sync + 'static,
{
    let address = small::start(handle).await;
    let report = ask_as(dialect, &format!("ws://{address}/"), &[slug]).await.expect("it is there");
    failed(&report, slug, says);
}

fn failed(report: &Report, slug: &str, says: &str) {
    let verdict = &report.case(slug).expect("it is listed").verdict;
    assert!(
        matches!(verdict, Verdict::Fail { why, .. } if why.contains(says)),
        "{says}: {verdict:?}\n{}",
        text(report)
    );
}

/// What a client sent as text, as JSON; null if it is none.
fn read(message: &Message) -> Value {
    match message {
        Message::Text(text) => serde_json::from_str(text).unwrap_or_default(),
        _ => Value::Null,
    }
}

/// Whether a text is this prefix and eight hexadecimal digits.
fn is_of_form(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|rest| {
        rest.len() == 8 && rest.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}

/// Clients of several rooms at once. Ids and rooms have one form.
const SWARMS: &str = r#"
name = "swarms"
about = "Clients of several rooms at once."
example = "ws://127.0.0.1:1/"

[identity]
assigned-by = "client"
form = "peer-########"

[room]
in = "message"
form = "swarm-########"
several = true

[signals]
addressing = "broadcast"
payload = "json"

[kinds]
offer = "offer"

[send]
join = '{"do": "join", "room": $room, "id": $self}'
leave = '{"do": "leave", "room": $room}'
signal = '{"do": "signal", "room": $room, "type": $kind, "data": $data}'

[[match]]
event = "joined"
message = '{"is": "joined", "room": $room}'

[[match]]
event = "member-left"
message = '{"is": "left", "room": $room, "id": $id}'

[[match]]
event = "signal"
message = '{"is": "signal", "room": $room, "from": $from, "type": $kind, "data": $data}'

[[match]]
event = "error"
message = '{"is": "error"}'
"#;

#[derive(Clone, Copy, PartialEq)]
enum OfSwarms {
    Correct,
    /// A join leaves all other rooms.
    JoinLeaves,
    /// A signal goes to all rooms of its sender.
    SignalsToAllRooms,
    /// A leave leaves all rooms.
    LeavesAll,
}

/// The members of each room, with their ids.
type Rooms = BTreeMap<String, BTreeMap<usize, String>>;

fn swarms(is: OfSwarms) -> impl Fn(&mut Clients, usize, Did) + Send + Sync + 'static {
    let rooms = Mutex::new(Rooms::new());
    move |clients, me, did| {
        let rooms = &mut *rooms.lock().expect("no panic");
        let leave = |clients: &Clients, rooms: &mut Rooms, room: &str| {
            let Some(members) = rooms.get_mut(room) else { return };
            let Some(id) = members.remove(&me) else { return };
            let notice = json!({ "is": "left", "room": room, "id": id }).to_string();
            members.keys().for_each(|member| clients.send(*member, notice.clone()));
        };
        let leave_all = |clients: &Clients, rooms: &mut Rooms| {
            let names: Vec<_> = rooms.keys().cloned().collect();
            names.iter().for_each(|name| leave(clients, rooms, name));
        };
        let message = match did {
            Did::Connects(_) => return,
            Did::Leaves(_) => return leave_all(clients, rooms),
            Did::Sends(message) => read(&message),
        };
        let room = message["room"].as_str().unwrap_or_default();
        let id = message["id"].as_str().unwrap_or_default();
        let mine = rooms.values().find_map(|members| members.get(&me)).cloned();
        match message["do"].as_str() {
            Some("join") if is_of_form(id, "peer-") && is_of_form(room, "swarm-") => {
                let used = rooms.values().flatten().any(|(other, used)| *other != me && used == id);
                if used || mine.is_some_and(|mine| mine != id) {
                    return clients.send(me, r#"{"is":"error"}"#);
                }
                if is == OfSwarms::JoinLeaves && !rooms.get(room).is_some_and(|members| members.contains_key(&me)) {
                    leave_all(clients, rooms);
                }
                rooms.entry(room.to_owned()).or_default().insert(me, id.to_owned());
                clients.send(me, json!({ "is": "joined", "room": room }).to_string());
            }
            Some("leave") if is == OfSwarms::LeavesAll => leave_all(clients, rooms),
            Some("leave") => leave(clients, rooms, room),
            Some("signal") if message["type"] == "offer" && message.get("data").is_some() => {
                if !rooms.get(room).is_some_and(|members| members.contains_key(&me)) {
                    return clients.send(me, r#"{"is":"error"}"#);
                }
                for (name, members) in rooms.iter().filter(|(_, members)| members.contains_key(&me)) {
                    if name != room && is != OfSwarms::SignalsToAllRooms {
                        continue;
                    }
                    let data = &message["data"];
                    let signal = json!({ "is": "signal", "room": name, "from": mine, "type": "offer", "data": data });
                    let others = members.keys().filter(|member| **member != me);
                    others.for_each(|member| clients.send(*member, signal.to_string()));
                }
            }
            _ => clients.send(me, r#"{"is":"error"}"#),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_rooms_at_once_with_names_of_one_form() {
    let dialect = parse(SWARMS);
    let pass = ["room/several-rooms", "room/join-ack", "room/abrupt-leave", "sec/id-takeover", "mesh/delivery"];
    passes(&dialect, &[], &pass, swarms(OfSwarms::Correct)).await;
    for (is, says) in [
        (OfSwarms::JoinLeaves, "did not receive"),
        (OfSwarms::SignalsToAllRooms, "received ana's signal for another room"),
        (OfSwarms::LeavesAll, "after ana left the first of her two rooms: "),
    ] {
        fails(&dialect, "room/several-rooms", says, swarms(is)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_form_no_name_is_accepted() {
    for (form, without) in [
        ("form = \"peer-########\"\n", "ana's join is refused"),
        ("form = \"swarm-########\"\n", "ana's join is refused"),
    ] {
        let dialect = parse(&SWARMS.replace(form, ""));
        fails(&dialect, "room/join-ack", without, swarms(OfSwarms::Correct)).await;
    }
}

/// The server greets a client with its id and a value that the join must contain.
const GREETED: &str = r#"
name = "greeted"
about = "The server's first message has what the join must contain."
example = "ws://127.0.0.1:1/"

[identity]
assigned-by = "server"

[room]
in = "message"

[signals]
addressing = "targeted"
payload = "json"

[kinds]
offer = "offer"

[send]
join = '{"do": "join", "room": $room, "nonce": $nonce}'
signal = '{"do": "signal", "to": $to, "type": $kind, "data": $data}'

[[match]]
event = "greeting"
message = '{"is": "welcome", "id": $id, "nonce": $nonce}'

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
message = '{"is": "error", "why"?: $reason}'
"#;

#[derive(Clone, Copy, PartialEq)]
enum OfGreeted {
    Correct,
    /// An id is assigned again as soon as it is free.
    IdsAgain,
    /// A client that writes an id into its join gets that.
    IdBelieved,
    /// The first message has no value.
    NoNonce,
}

/// What the server does with a message. The error is for its sender.
fn obey(clients: &mut Clients, me: usize, message: &Value, is: OfGreeted) -> Result<(), &'static str> {
    let (room, name) = (clients.connected[&me].room.clone(), clients.connected[&me].name.clone());
    match message["do"].as_str() {
        Some("join") => {
            let new = message["room"].as_str().ok_or("a join without a room")?;
            if message["nonce"] != nonce(me) {
                return Err("another nonce");
            }
            if room.as_deref().is_some_and(|room| room != new) {
                leave(clients, me, room, name);
            }
            let client = clients.connected.get_mut(&me).expect("connected");
            client.room = Some(new.to_owned());
            if let (OfGreeted::IdBelieved, Some(id)) = (is, message["id"].as_str()) {
                client.name = Some(id.to_owned());
            }
            clients.send(me, json!({ "is": "joined", "room": new }).to_string());
            Ok(())
        }
        Some("signal") if message["type"] == "offer" && message.get("data").is_some() => {
            let to = message["to"].as_str().and_then(|to| clients.named(to));
            let to = to.filter(|to| *to != me && room.is_some() && clients.connected[to].room == room);
            let signal = json!({ "is": "signal", "from": name, "type": "offer", "data": message["data"] });
            clients.send(to.ok_or("no such member")?, signal.to_string());
            Ok(())
        }
        _ => Err("not a message"),
    }
}

fn nonce(client: usize) -> String {
    format!("nonce-{}", client * 7919)
}

fn leave(clients: &Clients, me: usize, room: Option<String>, name: Option<String>) {
    let others = clients.others(me, |other| room.is_some() && other.room == room);
    others.into_iter().for_each(|other| clients.send(other, json!({ "is": "left", "id": name }).to_string()));
}

fn greet(clients: &mut Clients, me: usize, is: OfGreeted) {
    let ids = (1..).map(|number: usize| format!("id-{number}"));
    let free = ids.into_iter().find(|id| clients.named(id).is_none()).expect("there are enough");
    let id = if is == OfGreeted::IdsAgain { free } else { format!("id-{me}") };
    clients.connected.get_mut(&me).expect("connected").name = Some(id.clone());
    let welcome = match is {
        OfGreeted::NoNonce => json!({ "is": "welcome", "id": id }),
        _ => json!({ "is": "welcome", "id": id, "nonce": nonce(me) }),
    };
    clients.send(me, welcome.to_string());
}

fn greeted(is: OfGreeted) -> impl Fn(&mut Clients, usize, Did) + Send + Sync + 'static {
    move |clients, me, did| match did {
        Did::Connects(_) => greet(clients, me, is),
        Did::Leaves(gone) => leave(clients, me, gone.room, gone.name),
        Did::Sends(message) => {
            if let Err(why) = obey(clients, me, &read(&message), is) {
                clients.send(me, json!({ "is": "error", "why": why }).to_string());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_of_a_greeting_are_in_the_join() {
    let dialect = parse(GREETED);
    let pass = ["room/join-ack", "room/abrupt-leave", "sec/id-reuse", "sec/id-chosen", "mesh/delivery", "mesh/unicast"];
    passes(&dialect, &[], &pass, greeted(OfGreeted::Correct)).await;
    for (is, slug, says) in [
        (OfGreeted::IdsAgain, "sec/id-reuse", "was assigned again"),
        (OfGreeted::IdBelieved, "sec/id-chosen", "ben received eve's signal with the sender"),
        (OfGreeted::NoNonce, "room/join-ack", "ana did not receive a greeting within"),
    ] {
        fails(&dialect, slug, says, greeted(is)).await;
    }
}

/// Messages are posted; the server only writes to its WebSockets.
fn posted() -> String {
    GREETED
        .replace("[identity]", "[connection]\npost = \"$url/send?nonce=$nonce\"\n\n[identity]")
        .replace(r#"'{"is": "error", "why"?: $reason}'"#, r#"'["posted", 400, {"error": $reason}]'"#)
        + r#"
[declares]
not-json = "error"
null = "error"
unknown-type = "error"
missing-field = "error"
wrong-type = "error"
absent-target = "error"
binding = ["not-json", "null", "unknown-type", "missing-field", "wrong-type", "absent-target"]
"#
}

#[derive(Clone, Copy, PartialEq)]
enum OfPosted {
    Correct,
    /// Whatever is posted is answered 204.
    AlwaysFine,
    /// Whatever is posted is handled twice.
    Twice,
}

/// Answers a POST; the nonce in its path says whose it is.
async fn answer_post(stream: TcpStream, clients: Arc<Mutex<Clients>>, is: OfPosted) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let (mut path, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        match line.trim_end() {
            "" => break,
            line if path.is_empty() => line.split(' ').nth(1)?.clone_into(&mut path),
            line => {
                let header = line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
                length = header.map_or(Ok(length), |(_, value)| value.parse()).ok()?;
            }
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let handled = {
        let clients = &mut *clients.lock().expect("no panic");
        let me = clients.connected.keys().copied().find(|client| path.ends_with(&format!("nonce={}", nonce(*client))));
        let message = serde_json::from_slice(&body).unwrap_or_default();
        let handled = me.ok_or("no such client").and_then(|me| obey(clients, me, &message, OfGreeted::Correct));
        if let (OfPosted::Twice, Some(me)) = (is, me) {
            let _ = obey(clients, me, &message, OfGreeted::Correct);
        }
        handled
    };
    let answer = match handled {
        Err(why) if is != OfPosted::AlwaysFine => {
            let body = json!({ "error": why }).to_string();
            format!("HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
        }
        _ => "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".to_owned(),
    };
    stream.write_all(answer.as_bytes()).await.ok()
}

async fn server_of_posts(is: OfPosted) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port 0 is free");
    let address = listener.local_addr().expect("it listens");
    let handle = Arc::new(|clients: &mut Clients, me: usize, did: Did| match did {
        Did::Connects(_) => greet(clients, me, OfGreeted::Correct),
        Did::Leaves(gone) => leave(clients, me, gone.room, gone.name),
        // It reads nothing from its WebSockets.
        Did::Sends(_) => {}
    });
    tokio::spawn(async move {
        let clients = Arc::new(Mutex::new(Clients::default()));
        while let Ok((stream, _)) = listener.accept().await {
            let (clients, handle) = (Arc::clone(&clients), Arc::clone(&handle));
            tokio::spawn(async move {
                let mut first = [0; 5];
                while stream.peek(&mut first).await.is_ok_and(|read| (1..5).contains(&read)) {
                    tokio::task::yield_now().await;
                }
                if first == *b"POST " {
                    answer_post(stream, clients, is).await;
                } else {
                    small::serve(stream, clients, handle).await;
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_posted_beside_a_websocket() {
    let dialect = parse(&posted());
    let url = |address| format!("ws://{address}");
    let pass = ["room/join-ack", "room/abrupt-leave", "mesh/unicast", "mesh/fifo", "msg/not-json", "msg/wrong-type"];
    passes_at(&dialect, &url(server_of_posts(OfPosted::Correct).await), &[], &pass).await;
    for (is, slug, says) in [
        (OfPosted::AlwaysFine, "msg/not-json", "is ignored without an error"),
        (OfPosted::Twice, "mesh/unicast", "2 times"),
    ] {
        let report = ask_as(&dialect, &url(server_of_posts(is).await), &[slug]).await.expect("it is there");
        failed(&report, slug, says);
    }
}

/// Socket.IO, in which an acknowledgement answers a join; a client opens the room that is not there yet.
const ACKS: &str = r#"
name = "acks"
about = "Acknowledgements of Socket.IO answer joins."
example = "http://127.0.0.1:1/socket.io/"

[connection]
framing = "socketio"
with-ack = ["join", "open"]

[identity]
assigned-by = "client"

[room]
in = "message"
members-max = 3

[signals]
addressing = "targeted"
payload = "json"

[kinds]
offer = "offer"

[send]
join = '["join", {"room": $room, "id": $self}]'
open = '["open", {"room": $room, "id": $self}]'
signal = '["signal", {"to": $to, "type": $kind, "data": $data}]'

[[match]]
event = "joined"
message = '["ack", $_, [true, {"members": $members[$id]}]]'

[[match]]
event = "error"
message = '["ack", $_, [false, $reason]]'

[[match]]
event = "signal"
message = '["signal", {"from": $from, "type": $kind, "data": $data}]'
"#;

#[derive(Clone, Copy, PartialEq)]
enum OfAcks {
    Correct,
    /// A join is done, but not acknowledged.
    Unacknowledged,
    /// The list of members is empty.
    NoList,
    /// A full room is joined all the same.
    NeverFull,
}

/// Engine.IO and Socket.IO as far as these clients use them.
fn acks(is: OfAcks) -> impl Fn(&mut Clients, usize, Did) + Send + Sync + 'static {
    move |clients, me, did| {
        let packet = match did {
            Did::Connects(_) => {
                let open =
                    r#"0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
                return clients.send(me, open);
            }
            Did::Sends(Message::Text(packet)) => packet,
            _ => return,
        };
        if packet.starts_with("40") {
            return clients.send(me, r#"40{"sid":"t"}"#);
        }
        let Some(event) = packet.strip_prefix("42") else { return };
        let digits = event.find('[').unwrap_or_default();
        let (number, event) = event.split_at(digits);
        let event: Value = serde_json::from_str(event).unwrap_or_default();
        let acknowledge = |clients: &Clients, arguments: Value| {
            if !number.is_empty() && is != OfAcks::Unacknowledged {
                clients.send(me, format!("43{number}{arguments}"));
            }
        };
        let text = |key: &str| event[1][key].as_str().map(str::to_owned);
        match event[0].as_str() {
            Some(what @ ("join" | "open")) => {
                let (room, id) = (text("room"), text("id"));
                let others = clients.others(me, |other| room.is_some() && other.room == room);
                let is_full = others.len() >= 3 && is != OfAcks::NeverFull;
                let taken = id.as_deref().and_then(|id| clients.named(id)).is_some_and(|holder| holder != me);
                if is_full || taken || id.is_none() || (what == "join") == others.is_empty() {
                    return acknowledge(clients, json!([false, "refused"]));
                }
                let members: Vec<_> = others.iter().map(|other| clients.connected[other].name.clone()).collect();
                let members = if is == OfAcks::NoList { Vec::new() } else { members };
                let client = clients.connected.get_mut(&me).expect("connected");
                (client.room, client.name) = (room, id);
                acknowledge(clients, json!([true, { "members": members }]));
            }
            Some("signal") if event[1]["type"] == "offer" && event[1].get("data").is_some() => {
                let room = clients.connected[&me].room.clone();
                let to = text("to").and_then(|to| clients.named(&to));
                let to = to.filter(|to| *to != me && room.is_some() && clients.connected[to].room == room);
                if let Some(to) = to {
                    let name = clients.connected[&me].name.clone();
                    let signal = json!(["signal", { "from": name, "type": "offer", "data": event[1]["data"] }]);
                    clients.send(to, format!("42{signal}"));
                }
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledgements_answer_joins_and_a_refused_join_opens_the_room() {
    let dialect = parse(ACKS);
    let cases = ["room/*", "mesh/*", "sec/*"];
    let pass = ["room/join-ack", "room/capacity-race", "mesh/unicast", "sec/id-takeover"];
    passes(&dialect, &cases, &pass, acks(OfAcks::Correct)).await;
    for (is, slug, says) in [
        (OfAcks::Unacknowledged, "room/join-ack", "did not receive an answer to its join"),
        (OfAcks::NoList, "room/roster-exact", "received the members: "),
        (OfAcks::NeverFull, "room/capacity-race", ""),
    ] {
        fails(&dialect, slug, says, acks(is)).await;
    }
}

/// Rooms whose members learn only of the end of clients with whom they have exchanged a signal.
const CONTACTS: &str = r#"
name = "contacts"
about = "A leave is announced to contacts only."
example = "ws://127.0.0.1:1/"

[connection]
url = "$url?id=$self"

[identity]
assigned-by = "client"

[room]
in = "message"

[roster]
notified = "contacts"

[signals]
addressing = "targeted"
payload = "json"

[kinds]
offer = "offer"

[send]
join = '{"do": "join", "room": $room}'
signal = '{"do": "signal", "to": $to, "type": $kind, "data": $data}'

[[match]]
event = "joined"
message = '{"is": "joined"}'

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

#[derive(Clone, Copy, PartialEq)]
enum OfContacts {
    Correct,
    ToAll,
    ToNobody,
    Twice,
    /// Only those to whom the client has sent are its contacts.
    OneWay,
}

fn contacts(is: OfContacts) -> impl Fn(&mut Clients, usize, Did) + Send + Sync + 'static {
    let known = Mutex::new(BTreeSet::<(usize, usize)>::new());
    move |clients, me, did| {
        let known = &mut *known.lock().expect("no panic");
        let message = match did {
            Did::Connects(path) => {
                let id = path.split_once("id=").map(|(_, id)| id.to_owned()).unwrap_or_default();
                if clients.named(&id).is_some() {
                    return clients.close(me, 4000);
                }
                clients.connected.get_mut(&me).expect("connected").name = Some(id);
                return;
            }
            Did::Leaves(gone) => {
                let is_contact = |other: usize| match is {
                    OfContacts::ToAll => clients.connected[&other].room == gone.room,
                    OfContacts::ToNobody => false,
                    OfContacts::OneWay => known.contains(&(me, other)),
                    _ => known.contains(&(me, other)) || known.contains(&(other, me)),
                };
                let notice = json!({ "is": "left", "id": gone.name }).to_string();
                for other in clients.connected.keys().filter(|other| is_contact(**other)) {
                    let times = if is == OfContacts::Twice { 2 } else { 1 };
                    (0..times).for_each(|_| clients.send(*other, notice.clone()));
                }
                return;
            }
            Did::Sends(message) => read(&message),
        };
        let (room, name) = (clients.connected[&me].room.clone(), clients.connected[&me].name.clone());
        match message["do"].as_str() {
            Some("join") if message["room"].is_string() => {
                clients.connected.get_mut(&me).expect("connected").room = message["room"].as_str().map(str::to_owned);
                clients.send(me, r#"{"is":"joined"}"#);
            }
            Some("signal") if message["type"] == "offer" && message.get("data").is_some() => {
                let to = message["to"].as_str().and_then(|to| clients.named(to));
                let to = to.filter(|to| *to != me && room.is_some() && clients.connected[to].room == room);
                let Some(to) = to else { return clients.send(me, r#"{"is":"error"}"#) };
                known.insert((me, to));
                let signal = json!({ "is": "signal", "from": name, "type": "offer", "data": message["data"] });
                clients.send(to, signal.to_string());
            }
            _ => clients.send(me, r#"{"is":"error"}"#),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leave_is_announced_to_contacts_only() {
    let dialect = parse(CONTACTS);
    passes(&dialect, &[], &["room/leave-notifies-contacts", "mesh/unicast"], contacts(OfContacts::Correct)).await;
    for (is, says) in [
        (OfContacts::ToAll, "with whom it exchanged no signal"),
        (OfContacts::ToNobody, "did not receive the leave notice for ben"),
        (OfContacts::Twice, "2 times"),
        (OfContacts::OneWay, "cleo did not receive the leave notice for ben"),
    ] {
        fails(&dialect, "room/leave-notifies-contacts", says, contacts(is)).await;
    }
}

/// A join can carry an offer, which goes to one member; the answer comes by id.
const TRACKED: &str = r#"
name = "tracked"
about = "A join carries an offer."
example = "ws://127.0.0.1:1/"

[identity]
assigned-by = "client"

[room]
in = "message"

[signals]
addressing = "targeted"
sender = "claimed"
payload = "json"
sessions = true
session = "$self/########"

[send]
join = '{"do": "join", "room": $room, "id": $self, "offers"?: [{"data": $data, "session": $session}]}'
answer = '{"do": "answer", "room": $room, "id": $self, "to": $to, "session": $session, "data": $data}'

[[match]]
event = "joined"
message = '{"is": "joined", "room": $room}'

[[match]]
event = "signal"
kind = "offer"
message = '{"is": "offer", "from": $from, "session": $session, "data": $data}'

[[match]]
event = "signal"
kind = "answer"
message = '{"is": "answer", "from": $from, "session": $session, "data": $data}'

[[match]]
event = "error"
message = '{"is": "error"}'
"#;

#[derive(Clone, Copy, PartialEq)]
enum OfTracked {
    Correct,
    OfferToAll,
    OfferToNobody,
    /// The offer goes to a member of another room as well.
    OfferElsewhere,
    /// The answer goes to everybody in the room.
    AnswerToAll,
    /// An offer says that it is from its receiver.
    WrongSender,
}

fn tracked(is: OfTracked) -> impl Fn(&mut Clients, usize, Did) + Send + Sync + 'static {
    move |clients, me, did| {
        let Did::Sends(message) = did else { return };
        let message = read(&message);
        let (room, id) = (message["room"].as_str().map(str::to_owned), message["id"].as_str().map(str::to_owned));
        let holder = id.as_deref().and_then(|id| clients.named(id));
        if room.is_none() || id.is_none() || holder.is_some_and(|holder| holder != me) {
            return clients.send(me, r#"{"is":"error"}"#);
        }
        let others = clients.others(me, |other| other.room == room);
        match message["do"].as_str() {
            Some("join") => {
                let client = clients.connected.get_mut(&me).expect("connected");
                (client.room, client.name) = (room.clone(), id.clone());
                clients.send(me, json!({ "is": "joined", "room": room }).to_string());
                let Some(offer) = message["offers"].get(0) else { return };
                let mut chosen: Vec<_> = match is {
                    OfTracked::OfferToAll => others,
                    OfTracked::OfferToNobody => Vec::new(),
                    _ => others.into_iter().take(1).collect(),
                };
                if is == OfTracked::OfferElsewhere {
                    chosen.extend(clients.others(me, |other| other.room.is_some() && other.room != room));
                }
                for other in chosen {
                    let from =
                        if is == OfTracked::WrongSender { clients.connected[&other].name.clone() } else { id.clone() };
                    let (session, data) = (&offer["session"], &offer["data"]);
                    let signal = json!({ "is": "offer", "from": from, "session": session, "data": data });
                    clients.send(other, signal.to_string());
                }
            }
            Some("answer") if clients.connected[&me].room != room => clients.send(me, r#"{"is":"error"}"#),
            Some("answer") if message.get("data").is_some() && message["session"].is_string() => {
                let to = message["to"].as_str().and_then(|to| clients.named(to)).filter(|to| others.contains(to));
                let to = if is == OfTracked::AnswerToAll { others } else { to.into_iter().collect() };
                let (session, data) = (&message["session"], &message["data"]);
                let signal = json!({ "is": "answer", "from": id, "session": session, "data": data });
                to.into_iter().for_each(|to| clients.send(to, signal.to_string()));
            }
            _ => clients.send(me, r#"{"is":"error"}"#),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_carries_an_offer() {
    let dialect = parse(TRACKED);
    passes(&dialect, &[], &["mesh/offer-in-join", "mesh/delivery", "mesh/unicast"], tracked(OfTracked::Correct)).await;
    for (is, says) in [
        (OfTracked::OfferToAll, "the 2 members received 2 in all"),
        (OfTracked::OfferToNobody, "the 2 members received 0 in all"),
        (OfTracked::OfferElsewhere, "received a signal of a room that it is not in"),
        (OfTracked::AnswerToAll, "received an answer that was not for it"),
        (OfTracked::WrongSender, "does not arrive as an offer of the client that joined"),
    ] {
        fails(&dialect, "mesh/offer-in-join", says, tracked(is)).await;
    }
}
