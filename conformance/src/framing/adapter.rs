//! A program supplied by the user, for protocols that a dialect file cannot describe. It reads operations from its
//! standard input and writes events to its standard output, one JSON object per line. One process serves all clients of
//! a run.
//!
//! ```text
//! > {"client":3,"op":"connect","url":"ws://…","room":"r"}
//! < {"client":3,"event":"connected"}            or {"client":3,"event":"closed","reason":"…"}
//! > {"client":3,"op":"join","room":"r"}         as the dialect file says
//! < {"client":3,"event":"joined","id":"x"}      as the dialect file says
//! > {"client":3,"op":"close"}                   closes cleanly; "abort" lets the connection just end
//! < {"client":3,"event":"closed","code":1000}
//! ```
//!
//! If it is `raw`, it also writes bytes past its WebSocket layer, and reports pongs:
//!
//! ```text
//! > {"client":3,"op":"raw","bytes":"89800000000000"}    hexadecimal: frames, or what is none
//! < {"client":3,"event":"raw-pong","text":""}
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command as Program;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::error::{AdapterError, TransportError};
use super::link::{Command, Commands, End, Link, LinkEvent, Reporter, link};
use super::net::Net;
use super::websocket::frame;
use crate::dial::DynDial;
use crate::entry::{Did, Octets};
use crate::transcript::Log;

/// Starts the user's program when the first client connects.
#[derive(Default)]
pub(crate) struct Adapter {
    /// The program and its arguments.
    command: Vec<String>,
    /// The folder it is started in; an empty path is the current folder.
    folder: PathBuf,
    /// Whether it can write bytes past its WebSocket layer.
    raw: bool,
    running: Mutex<Option<Running>>,
}

#[derive(Clone)]
struct Running {
    lines: UnboundedSender<String>,
    clients: Arc<Mutex<Clients>>,
}

/// The clients of a process; numbers are never reused.
#[derive(Default)]
struct Clients {
    next: u64,
    known: BTreeMap<u64, Client>,
}

struct Client {
    reporter: Reporter,
    connected: Option<oneshot::Sender<Result<(), AdapterError>>>,
}

impl Adapter {
    pub(crate) fn new(command: Vec<String>, folder: PathBuf, raw: bool) -> Self {
        Self { command, folder, raw, running: Mutex::default() }
    }

    /// Connects a client through the process, and starts that for the first client. `values` describe the client, as
    /// JSON.
    pub(crate) async fn connect(
        &self,
        net: &Net,
        log: &Log,
        client: usize,
        url: &str,
        values: &[(String, String)],
    ) -> Result<Link, TransportError> {
        let running = self.running(&*net.dial)?;
        let (link, commands, reporter) = link(log, client);
        let (connected, is_connected) = oneshot::channel();
        let number = {
            let mut clients = running.clients.lock().expect("nothing panics while it holds them");
            clients.next += 1;
            let number = clients.next;
            clients.known.insert(number, Client { reporter: reporter.clone(), connected: Some(connected) });
            number
        };
        let values: String = values.iter().map(|(name, value)| format!(r#","{name}":{value}"#)).collect();
        let headers: BTreeMap<&str, &str> =
            net.target.headers().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let connect = format!(
            r#"{{"client":{number},"op":"connect","url":{},"insecure":{},"headers":{}{values}}}"#,
            serde_json::Value::from(url),
            net.target.is_insecure(),
            serde_json::to_string(&headers).expect("strings"),
        );
        let _ = running.lines.send(connect);
        match timeout(net.patience, is_connected).await {
            Ok(Ok(connected)) => connected?,
            Ok(Err(_)) => return Err(AdapterError::Ended.into()),
            Err(_) => return Err(AdapterError::Silence(net.patience).into()),
        }
        net.dial.spawn_boxed(Box::pin(pass_on(number, running.lines, commands, reporter, self.raw)));
        Ok(link)
    }

    fn running(&self, dial: &dyn DynDial) -> Result<Running, AdapterError> {
        let mut running = self.running.lock().expect("nothing panics while it holds it");
        if let Some(running) = &*running {
            return Ok(running.clone());
        }
        let [program, arguments @ ..] = &self.command[..] else { return Err(AdapterError::Missing) };
        let mut process = Program::new(program);
        process.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        if !self.folder.as_os_str().is_empty() {
            process.current_dir(&self.folder);
        }
        let not_started = |error| AdapterError::Spawn { command: self.command.join(" "), error };
        let mut child = process.spawn().map_err(not_started)?;
        let (mut stdin, stdout) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let (lines, mut to_write) = unbounded_channel::<String>();
        let clients: Arc<Mutex<Clients>> = Arc::default();
        let known = Arc::clone(&clients);
        dial.spawn_boxed(Box::pin(async move {
            let mut received = BufReader::new(stdout).lines();
            loop {
                tokio::select! { biased;
                    line = to_write.recv() => {
                        let Some(line) = line else { break };
                        if stdin.write_all(format!("{line}\n").as_bytes()).await.is_err() { break }
                    }
                    line = received.next_line() => match line {
                        Ok(Some(line)) => take_in(&known, &line),
                        _ => break,
                    },
                }
            }
            let mut clients = known.lock().expect("nothing panics while it holds them");
            for client in std::mem::take(&mut clients.known).into_values() {
                client.reporter.ended(End::Lost, "the adapter ends");
            }
            let _ = child.start_kill();
        }));
        Ok(running.insert(Running { lines, clients }).clone())
    }
}

/// Passes a line from the adapter to the client that it names.
fn take_in(clients: &Mutex<Clients>, line: &str) {
    #[derive(serde::Deserialize)]
    struct Head {
        client: u64,
        #[serde(default)]
        event: String,
        code: Option<u16>,
        reason: Option<String>,
        text: Option<String>,
    }
    let Ok(head) = serde_json::from_str::<Head>(line) else { return };
    let clients = &mut clients.lock().expect("nothing panics while it holds them").known;
    let Some(client) = clients.get_mut(&head.client) else { return };
    match head.event.as_str() {
        "connected" => {
            if let Some(connected) = client.connected.take() {
                let _ = connected.send(Ok(()));
            }
        }
        "closed" => {
            let why = head.reason.unwrap_or_else(|| "closed".to_owned());
            if let Some(connected) = client.connected.take() {
                let _ = connected.send(Err(AdapterError::Refused(why)));
            } else {
                let end = head.code.map_or(End::Lost, |code| End::Closed(Some(code)));
                client.reporter.ended(end, &format!("is closed: {why}"));
            }
            clients.remove(&head.client);
        }
        "raw-pong" => {
            let text = head.text.unwrap_or_default();
            let line = client.reporter.note(&format!("is sent a pong: {text}"));
            client.reporter.keep(|| Did::Pong(text.clone()));
            client.reporter.report(line, LinkEvent::Pong(text.into()));
        }
        _ => client.reporter.received(line.to_owned()),
    }
}

/// Whether a text is for the adapter itself, and not a message for the server.
fn is_operation(text: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Operation {
        #[serde(rename = "op")]
        _op: String,
    }
    serde_json::from_str::<Operation>(text).is_ok()
}

/// Passes a client's commands to the adapter, each with the client's number.
async fn pass_on(number: u64, lines: UnboundedSender<String>, mut commands: Commands, reporter: Reporter, raw: bool) {
    let mut closed = false;
    let write = |bytes: &[u8], words: &str| {
        reporter.note(&format!("sends {words}"));
        reporter.keep(|| Did::SendsBytes(Octets::new(bytes, words)));
        let bytes: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let _ = lines.send(format!(r#"{{"client":{number},"op":"raw","bytes":"{bytes}"}}"#));
    };
    while let Some(command) = commands.recv().await {
        for command in command.apart() {
            match command {
                Command::Text(text) if raw && !is_operation(&text) => {
                    write(&frame(0x81, text.as_bytes()), &format!("a text frame: {text}"));
                }
                Command::Binary(bytes) if raw => write(&frame(0x82, &bytes), "a binary frame"),
                Command::Ping(payload) if raw => write(&frame(0x89, payload), "a ping"),
                Command::Raw(bytes, words) if raw => write(&bytes, words),
                Command::Text(text) => {
                    reporter.sent(&text);
                    let rest = text.trim_start_matches('{');
                    let gap = if rest.starts_with('}') { "" } else { "," };
                    let _ = lines.send(format!(r#"{{"client":{number}{gap}{rest}"#));
                }
                Command::Close(code) => {
                    closed = true;
                    reporter.keep(|| Did::Closes(code));
                    let _ = lines.send(format!(r#"{{"client":{number},"op":"close","code":{code}}}"#));
                }
                _ => {}
            }
        }
    }
    if !closed {
        reporter.keep(|| Did::HangsUp);
        let _ = lines.send(format!(r#"{{"client":{number},"op":"abort"}}"#));
    }
}
