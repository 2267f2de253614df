//! Server-sent events in, HTTP POST out: a task a client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::http::{Request, fetch, read_head, send};
use super::{BYTES_MAX, End, Ends, MESSAGES_MAX, News, Order, stream};
use crate::case::Env;
use crate::dial::Stream;
use crate::recording::Did;
use crate::target::Target;
use crate::transcript::{Log, What};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

/// Opens the stream of events.
pub(crate) async fn connect(env: &Arc<Env>, log: &Log, client: usize, url: &str, post: &str) -> Result<Ends, String> {
    let mut stream = stream::open(&*env.dial, &env.target, env.patience).await?;
    let headers = vec![("Accept", "text/event-stream".to_owned())];
    let request = Request { method: "GET", path: Target::path_of(url), headers, body: None };
    let mut bytes = Vec::new();
    let opening = async {
        send(&mut *stream, &env.target, &request, false).await?;
        read_head(&mut *stream, &mut bytes).await
    };
    let response = timeout(env.patience, opening).await.map_err(|_| "GET: no answer in time".to_owned())??;
    let kind = response.header("content-type").unwrap_or_default();
    if response.status != 200 || !kind.starts_with("text/event-stream") {
        return Err(format!(
            "GET answers HTTP {} with the content type `{kind}`, no text/event-stream",
            response.status
        ));
    }
    let (orders, their_orders) = unbounded_channel();
    let (their_news, news) = unbounded_channel();
    let chunked = response.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked"));
    let (env, log, post) = (Arc::clone(env), log.clone(), Target::path_of(post));
    let measured = Arc::new(AtomicBool::new(false));
    let task = Events {
        measured: Arc::clone(&measured),
        log: log.clone(),
        client,
        news: their_news,
        bytes,
        chunked,
        lines: String::new(),
        data: None,
    };
    let poster = Arc::clone(&env);
    env.dial.spawn_boxed(Box::pin(async move {
        tokio::select! { biased;
            () = posts(poster, log, client, post, their_orders, measured) => {}
            () = task.run(stream) => {}
        }
    }));
    Ok((orders, news))
}

/// Posts one message after the other, so that their order is kept.
async fn posts(
    env: Arc<Env>,
    log: Log,
    client: usize,
    path: String,
    mut orders: UnboundedReceiver<Order>,
    measured: Arc<AtomicBool>,
) {
    while let Some(order) = orders.recv().await {
        match order {
            Order::Text(text) => {
                log.push(client, What::Sends, &text);
                log.keep(client, || Did::Sends(text.clone()));
                let headers = vec![("Content-Type", "application/json".to_owned())];
                let request = Request { method: "POST", path: path.clone(), headers, body: Some(&text) };
                match fetch(&*env.dial, &env.target, &request, env.patience).await {
                    Ok(response) if response.status < 300 => {}
                    Ok(response) => {
                        log.push(client, What::Note, &format!("is answered HTTP {}", response.status));
                    }
                    Err(why) => {
                        log.push(client, What::Note, &format!("cannot post: {why}"));
                    }
                }
            }
            Order::Close(code) => {
                log.keep(client, || Did::Closes(code));
                return;
            }
            Order::HandOver(_) => measured.store(true, Relaxed),
            _ => {}
        }
    }
}

struct Events {
    log: Log,
    client: usize,
    news: UnboundedSender<(usize, News)>,
    bytes: Vec<u8>,
    chunked: bool,
    lines: String,
    data: Option<String>,
    /// Somebody measures, who keeps nothing: what comes need not be bounded.
    measured: Arc<AtomicBool>,
}

impl Events {
    async fn run(mut self, mut stream: Box<dyn Stream>) {
        let (mut messages, mut total) = (0, 0);
        let end = loop {
            self.unpack();
            while let Some(end) = self.lines.find('\n') {
                let line: String = self.lines.drain(..=end).collect();
                messages += usize::from(self.line(line.trim_end_matches(['\r', '\n'])));
            }
            if (messages > MESSAGES_MAX || total > BYTES_MAX) && !self.measured.load(Relaxed) {
                break End::Flood;
            }
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk).await {
                Ok(read) if read > 0 => {
                    total += read;
                    self.bytes.extend(&chunk[..read]);
                }
                _ => break End::Lost,
            }
        };
        let line = self.log.push(self.client, What::Note, "the stream of events ends");
        self.log.keep(self.client, || end.kept());
        let _ = self.news.send((line, News::End(end)));
    }

    /// Moves what is complete from the bytes to the lines.
    fn unpack(&mut self) {
        if !self.chunked {
            self.lines.push_str(&String::from_utf8_lossy(&self.bytes));
            self.bytes.clear();
            return;
        }
        while let Some(end) = self.bytes.windows(2).position(|window| window == b"\r\n") {
            let size =
                str::from_utf8(&self.bytes[..end]).ok().and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
            let Some(size) = size else { return };
            let Some(chunk) = self.bytes.get(end + 2..end + 2 + size) else { return };
            self.lines.push_str(&String::from_utf8_lossy(chunk));
            let whole = (end + 4 + size).min(self.bytes.len());
            self.bytes.drain(..whole);
        }
    }

    /// Takes in a line; whether an event is complete.
    fn line(&mut self, line: &str) -> bool {
        if let Some(data) = line.strip_prefix("data:") {
            let data = data.strip_prefix(' ').unwrap_or(data);
            match &mut self.data {
                Some(before) => {
                    before.push('\n');
                    before.push_str(data);
                }
                None => self.data = Some(data.to_owned()),
            }
            return false;
        }
        let complete = if line.is_empty() { self.data.take() } else { None };
        let Some(text) = complete else { return false };
        let line = self.log.push(self.client, What::Hears, &text);
        self.log.keep(self.client, || Did::Hears(text.clone()));
        let _ = self.news.send((line, News::Text(text)));
        true
    }
}
