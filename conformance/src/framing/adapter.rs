//! A program of the user's that speaks a protocol which no dialect file can describe: one JSON object a line, operations on
//! its standard input, events on its standard output. One process serves all clients of a run.
//!
//! ```text
//! > {"client":3,"op":"connect","url":"ws://…","room":"r"}
//! < {"client":3,"event":"connected"}            or {"client":3,"event":"closed","reason":"…"}
//! > {"client":3,"op":"join","room":"r"}         as the dialect file says
//! < {"client":3,"event":"joined","id":"x"}      as the dialect file says
//! > {"client":3,"op":"close"}                   closes cleanly; "abort" lets the connection just end
//! < {"client":3,"event":"closed","code":1000}
//! ```

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use super::{End, Ends, News, Order};
use crate::case::Env;
use crate::dialect::shape::Values;
use crate::recording::Did;
use crate::transcript::{Log, What};

/// The process, once it is needed.
#[derive(Default)]
pub(crate) struct Adapter {
    running: Mutex<Option<Running>>,
}

#[derive(Clone)]
struct Running {
    lines: UnboundedSender<String>,
    clients: Arc<Mutex<BTreeMap<u64, Client>>>,
}

struct Client {
    news: UnboundedSender<(usize, News)>,
    log: Log,
    client: usize,
    connected: Option<tokio::sync::oneshot::Sender<Result<(), String>>>,
}

impl Adapter {
    /// Connects a client through the process, which is started for the first.
    pub(crate) async fn connect(
        &self,
        env: &Arc<Env>,
        log: &Log,
        client: usize,
        url: &str,
        values: &Values,
    ) -> Result<Ends, String> {
        let running = self.running(env)?;
        let number = {
            use std::sync::atomic::Ordering::Relaxed;
            env.fresh.fetch_add(1, Relaxed) as u64
        };
        let (their_news, news) = unbounded_channel();
        let (connected, is_connected) = tokio::sync::oneshot::channel();
        let entry = Client { news: their_news, log: log.clone(), client, connected: Some(connected) };
        running.clients.lock().expect("no panic").insert(number, entry);
        let value = |name: &str| values.get(name).map(|value| format!(r#","{name}":{value}"#)).unwrap_or_default();
        let headers: BTreeMap<&str, &str> =
            env.target.headers().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let connect = format!(
            r#"{{"client":{number},"op":"connect","url":{},"insecure":{},"headers":{}{}{}{}}}"#,
            serde_json::Value::from(url),
            env.target.is_insecure(),
            serde_json::to_string(&headers).expect("strings"),
            value("room"),
            value("self"),
            value("role")
        );
        let _ = running.lines.send(connect);
        match timeout(env.patience, is_connected).await {
            Ok(Ok(connected)) => connected?,
            Ok(Err(_)) => return Err("the adapter ended; what it says is on its standard error".to_owned()),
            Err(_) => return Err(format!("the adapter does not say `connected` within {} s", env.patience.as_secs())),
        }
        let (orders, their_orders) = unbounded_channel();
        let (log, lines) = (log.clone(), running.lines.clone());
        env.dial.spawn_boxed(Box::pin(obey(number, lines, their_orders, log, client)));
        Ok((orders, news))
    }

    fn running(&self, env: &Env) -> Result<Running, String> {
        let mut running = self.running.lock().expect("no panic");
        if let Some(running) = &*running {
            return Ok(running.clone());
        }
        let command = env.dialect.file.connection.command.as_deref().unwrap_or_default();
        let [program, arguments @ ..] = command else { return Err("the dialect names no adapter".to_owned()) };
        let mut process = Command::new(program);
        process.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        if !env.dialect.folder.as_os_str().is_empty() {
            process.current_dir(&env.dialect.folder);
        }
        let mut child =
            process.spawn().map_err(|error| format!("the adapter `{}` does not start: {error}", command.join(" ")))?;
        let (mut stdin, stdout) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let (lines, mut to_write) = unbounded_channel::<String>();
        let clients: Arc<Mutex<BTreeMap<u64, Client>>> = Arc::default();
        let known = Arc::clone(&clients);
        env.dial.spawn_boxed(Box::pin(async move {
            let mut heard = BufReader::new(stdout).lines();
            loop {
                tokio::select! { biased;
                    line = to_write.recv() => {
                        let Some(line) = line else { break };
                        if stdin.write_all(format!("{line}\n").as_bytes()).await.is_err() { break }
                    }
                    line = heard.next_line() => match line {
                        Ok(Some(line)) => take_in(&known, &line),
                        _ => break,
                    },
                }
            }
            let mut known = known.lock().expect("no panic");
            for client in std::mem::take(&mut *known).into_values() {
                let line = client.log.push(client.client, What::Note, "the adapter ends");
                client.log.keep(client.client, || End::Lost.kept());
                let _ = client.news.send((line, News::End(End::Lost)));
            }
            let _ = child.start_kill();
        }));
        Ok(running.insert(Running { lines, clients }).clone())
    }
}

/// Hands a line of the adapter to the client that it is for.
fn take_in(clients: &Mutex<BTreeMap<u64, Client>>, line: &str) {
    #[derive(serde::Deserialize)]
    struct Head {
        client: u64,
        #[serde(default)]
        event: String,
        code: Option<u16>,
        reason: Option<String>,
    }
    let Ok(head) = serde_json::from_str::<Head>(line) else { return };
    let mut clients = clients.lock().expect("no panic");
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
                let _ = connected.send(Err(why));
            } else {
                let line = client.log.push(client.client, What::Note, &format!("is closed: {why}"));
                let end = head.code.map_or(End::Lost, |code| End::Closed(Some(code)));
                client.log.keep(client.client, || end.kept());
                let _ = client.news.send((line, News::End(end)));
            }
            clients.remove(&head.client);
        }
        _ => {
            let shown = client.log.push(client.client, What::Hears, line);
            client.log.keep(client.client, || Did::Hears(line.to_owned()));
            let _ = client.news.send((shown, News::Text(line.to_owned())));
        }
    }
}

/// Passes a client's orders on, each with its number.
async fn obey(
    number: u64,
    lines: UnboundedSender<String>,
    mut orders: UnboundedReceiver<Order>,
    log: Log,
    client: usize,
) {
    let mut closed = false;
    while let Some(order) = orders.recv().await {
        match order {
            Order::Text(text) => {
                log.push(client, What::Sends, &text);
                log.keep(client, || Did::Sends(text.clone()));
                let rest = text.trim_start_matches('{');
                let gap = if rest.starts_with('}') { "" } else { "," };
                let _ = lines.send(format!(r#"{{"client":{number}{gap}{rest}"#));
            }
            Order::Close(code) => {
                closed = true;
                log.keep(client, || Did::Closes(code));
                let _ = lines.send(format!(r#"{{"client":{number},"op":"close","code":{code}}}"#));
            }
            _ => {}
        }
    }
    if !closed {
        log.keep(client, || Did::HangsUp);
        let _ = lines.send(format!(r#"{{"client":{number},"op":"abort"}}"#));
    }
}
