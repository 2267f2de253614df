//! Server-sent events in and POST out, with a small server and a dialect for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use conformance::{Dialect, Verdict};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::{ask_as, text};

const DIALECT: &str = r#"
name = "events"
about = "Server-sent events in, POST out."
example = "http://127.0.0.1:8000/"

[connection]
framing = "sse"
url = "$url/events?room=$room&id=$self"
post = "$url/send?room=$room&id=$self"

[identity]
assigned-by = "client"

[room]
in = "query"

[join]
by = "connecting"

[kinds]
offer = "offer"
answer = "answer"
candidate = "candidate"

[signals]
addressing = "both"

[send]
signal = '{"kind": $kind, "to"?: $to, "data": $data}'

[[match]]
event = "joined"
message = '{"is": "hello"}'

[[match]]
event = "member-left"
message = '{"is": "left", "id": $id}'

[[match]]
event = "signal"
message = '{"is": "signal", "from": $from, "message": {"kind": $kind, "data": $data}}'
"#;

type Rooms = Arc<Mutex<BTreeMap<String, BTreeMap<String, UnboundedSender<String>>>>>;

async fn serve(stream: TcpStream, rooms: Rooms) -> Option<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).await.ok()?;
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let path = lines.first()?.split(' ').nth(1)?.to_owned();
    let query = |name: &str| {
        let pairs = path.split_once('?')?.1.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
        pairs.map(str::to_owned)
    };
    let (room, id) = (query("room")?, query("id")?);
    if path.starts_with("/events") {
        let (out, mut outbox) = unbounded_channel();
        let _ = out.send(r#"{"is":"hello"}"#.to_owned());
        if rooms.lock().ok()?.entry(room.clone()).or_default().contains_key(&id) {
            writer.write_all(b"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n").await.ok()?;
            return None;
        }
        rooms.lock().ok()?.entry(room.clone()).or_default().insert(id.clone(), out);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        writer.write_all(head.as_bytes()).await.ok()?;
        let mut end = [0];
        loop {
            let message = tokio::select! { biased;
                message = outbox.recv() => message?,
                _ = reader.read(&mut end) => break,
            };
            let event = format!(": a comment\nevent: message\ndata: {message}\n\n");
            if writer.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await.is_err() {
                break;
            }
        }
        let mut rooms = rooms.lock().ok()?;
        let members = rooms.get_mut(&room)?;
        members.remove(&id);
        members.values().for_each(|out| drop(out.send(format!(r#"{{"is":"left","id":"{id}"}}"#))));
        return Some(());
    }
    let length = lines.iter().find_map(|line| line.strip_prefix("Content-Length: "))?.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await.ok()?;
    let body = String::from_utf8(body).ok()?;
    if let Ok(message) = serde_json::from_str::<BTreeMap<String, serde_json::Value>>(&body)
        && message.get("kind").is_some_and(|kind| ["offer", "answer", "candidate"].iter().any(|known| kind == known))
    {
        let rooms = rooms.lock().ok()?;
        let to = message.get("to").filter(|to| !to.is_null()).map(|to| to.as_str().unwrap_or_default());
        let others = rooms.get(&room)?.iter().filter(|(other, _)| to.map_or(**other != id, |to| to == *other));
        others.for_each(|(_, out)| drop(out.send(format!(r#"{{"is":"signal","from":"{id}","message":{body}}}"#))));
    }
    writer.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_events_and_posts_passes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port 0 is free");
    let address = listener.local_addr().expect("it listens");
    let rooms = Rooms::default();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&rooms)));
        }
    });
    let dialect = Arc::new(Dialect::parse("events.toml", DIALECT).unwrap_or_else(|error| panic!("{error}")));
    let report = ask_as(&dialect, &format!("http://{address}"), &[]).await.expect("it is there");
    assert!(report.passed(), "{}", text(&report));
    let asked = report.cases.iter().filter(|case| !matches!(case.verdict, Verdict::Unsupported { .. })).count();
    assert!(asked >= 20, "{asked}\n{}", text(&report));
}
