//! A signaling server of the protocol `mesh` on tokio with one worker, as `mesh.mjs` and `mesh.py` are on Node and asyncio.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::{Duration, Instant, interval_at};
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

/// How often a client is pinged; one that has not answered by the next ping is disconnected.
const PING_EVERY: Duration = Duration::from_secs(20);

struct Client {
    out: UnboundedSender<String>,
    room: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Request<'a> {
    action: String,
    room_id: String,
    to: Option<String>,
    r#type: String,
    // As it is: a parsed object would be written with its keys in another order.
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Signal<'a> {
    action: &'a str,
    room_id: &'a str,
    from: String,
    r#type: &'a str,
    data: Option<&'a RawValue>,
}

/// The clients by number. The order of a map's keys does not depend on a seed of its own.
type Clients = Arc<Mutex<BTreeMap<u32, Client>>>;

/// An id that no client of an earlier life of the server has had.
fn id(number: u32) -> String {
    #[allow(clippy::disallowed_methods)] // this program is a guest of the simulation
    static BEGAN: LazyLock<Duration> =
        LazyLock::new(|| SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is right"));
    format!("{:x}-{number}", BEGAN.as_millis())
}

/// The numbers of those in a room, without one of them.
fn others(clients: &BTreeMap<u32, Client>, room: &str, than: u32) -> Vec<u32> {
    let is_other = |(number, client): &(&u32, &Client)| **number != than && client.room.as_deref() == Some(room);
    clients.iter().filter(is_other).map(|(number, _)| *number).collect()
}

fn say(clients: &BTreeMap<u32, Client>, to: &[u32], message: &impl Serialize) {
    let text = serde_json::to_string(message).expect("its keys are strings");
    for client in to.iter().filter_map(|number| clients.get(number)) {
        // A client whose connection ends meanwhile receives nothing more.
        let _ = client.out.send(text.clone());
    }
}

fn leave(clients: &mut BTreeMap<u32, Client>, me: u32) {
    let Some(room) = clients.get_mut(&me).and_then(|client| client.room.take()) else { return };
    let left = others(clients, &room, me);
    say(clients, &left, &json!({ "action": "peer-left", "roomId": room, "clientId": id(me) }));
}

fn handle(clients: &mut BTreeMap<u32, Client>, me: u32, request: &Request<'_>) {
    let room = request.room_id.as_str();
    let error = |clients: &BTreeMap<u32, Client>, why: String| {
        say(clients, &[me], &json!({ "action": "error", "message": why }))
    };
    let joined = clients[&me].room.as_deref() == Some(room);
    match request.action.as_str() {
        "join" => {
            if !joined {
                leave(clients, me);
            }
            let members = others(clients, room, me);
            let peers: Vec<_> = members.iter().map(|other| json!({ "clientId": id(*other) })).collect();
            say(clients, &[me], &json!({ "action": "joined", "roomId": room, "clientId": id(me), "peers": peers }));
            if !joined {
                let peer = json!({ "action": "peer-joined", "roomId": room, "peer": { "clientId": id(me) } });
                say(clients, &members, &peer);
            }
            clients.get_mut(&me).expect("it is connected").room = Some(room.to_owned());
        }
        _ if !joined => error(clients, "Not in this room".to_owned()),
        "leave" => leave(clients, me),
        "signal" => {
            let mut targets = others(clients, room, me);
            if let Some(to) = &request.to {
                targets.retain(|other| id(*other) == *to);
                if targets.is_empty() {
                    return error(clients, format!("Target client {to} not found or not in room"));
                }
            }
            let (kind, data) = (request.r#type.as_str(), request.data);
            say(clients, &targets, &Signal { action: "signal", room_id: room, from: id(me), r#type: kind, data });
        }
        other => error(clients, format!("Unknown action {other}")),
    }
}

async fn serve(stream: TcpStream, clients: Clients, me: u32) {
    let _ = stream.set_nodelay(true);
    let Ok(mut socket) = accept_async(stream).await else { return };
    let (out, mut outbox) = unbounded_channel();
    clients.lock().expect("no panic").insert(me, Client { out, room: None });
    let mut pings = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    let mut answered = true;
    loop {
        let sent = tokio::select! { biased;
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    let request = serde_json::from_str(&text).unwrap_or_default();
                    handle(&mut clients.lock().expect("no panic"), me, &request);
                    Ok(())
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                Some(Ok(other)) => {
                    answered |= other.is_pong();
                    Ok(())
                }
            },
            Some(text) = outbox.recv() => socket.send(Message::text(text)).await,
            _ = pings.tick() => {
                if !std::mem::take(&mut answered) {
                    break;
                }
                socket.send(Message::Ping(Default::default())).await
            }
        };
        if sent.is_err() {
            break;
        }
    }
    let clients = &mut *clients.lock().expect("no panic");
    leave(clients, me);
    clients.remove(&me);
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(8787_u16);
    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
    println!("listening on {port}");
    let clients = Clients::default();
    for me in 1.. {
        let (stream, from) = listener.accept().await?;
        println!("{} connects from {}", id(me), from.ip());
        tokio::spawn(serve(stream, Arc::clone(&clients), me));
    }
    Ok(())
}
