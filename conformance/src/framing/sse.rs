//! Server-sent events in, HTTP POST out: one task per client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::cookies::Jar;
use super::error::TransportError;
use super::http::{Request, read_head, send};
use super::link::{BYTES_MAX, Command, Commands, End, Link, MESSAGES_MAX, Reporter, link};
use super::net::Net;
use super::post::Poster;
use super::stream;
use crate::dial::Stream;
use crate::entry::Did;
use crate::target::Target;
use crate::transcript::Log;

/// Opens the event stream.
pub(crate) async fn connect(
    net: &Net,
    log: &Log,
    client: usize,
    url: &str,
    post: &str,
) -> Result<Link, TransportError> {
    let mut stream = stream::open(net).await?;
    let headers = vec![("Accept", "text/event-stream".to_owned())];
    let request = Request { method: "GET", path: Target::path_of(url), headers, body: None };
    let (mut bytes, cookies) = (Vec::new(), Jar::default());
    let opening = async {
        send(&mut *stream, &net.target, &cookies, &request, false).await?;
        read_head(&mut *stream, &mut bytes).await
    };
    let response = timeout(net.patience, opening).await.map_err(|_| TransportError::SilentEventStream)??;
    cookies.store(&net.target, &Target::path_of(url), &response);
    let content_type = response.header("content-type").unwrap_or_default();
    if response.status != 200 || !content_type.starts_with("text/event-stream") {
        return Err(TransportError::NoEventStream { status: response.status, content_type });
    }
    let (link, commands, reporter) = link(log, client);
    let chunked = response.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked"));
    let measured = Arc::new(AtomicBool::new(false));
    let poster = Poster::new(net, cookies, post, reporter.clone());
    let poster_measured = Arc::clone(&measured);
    let events = Events { reporter, bytes, chunked, lines: String::new(), data: None, measured };
    net.dial.spawn_boxed(Box::pin(async move {
        tokio::select! { biased;
            () = posts(poster, commands, &poster_measured) => {}
            () = events.run(stream) => {}
        }
    }));
    Ok(link)
}

/// Posts one message at a time, which keeps their order, until the client closes.
async fn posts(mut poster: Poster, mut commands: Commands, measured: &AtomicBool) {
    while let Some(command) = commands.recv().await {
        for command in command.apart() {
            match command {
                Command::Text(text) => poster.post(&text).await,
                Command::PostTo(path) => poster.to(path),
                Command::Close(code) => {
                    poster.reporter.keep(|| Did::Closes(code));
                    return;
                }
                Command::HandOver(_) => measured.store(true, Relaxed),
                _ => {}
            }
        }
    }
}

struct Events {
    reporter: Reporter,
    bytes: Vec<u8>,
    chunked: bool,
    lines: String,
    data: Option<String>,
    /// Set when the client is handed over to a load test: it keeps nothing, so arrivals need no limit.
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
        self.reporter.ended(end, "the stream of events ends");
    }

    /// Moves complete text from `bytes` to `lines`.
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
            let Some(chunk) = self.bytes.get(end + 2..).and_then(|rest| rest.get(..size)) else { return };
            self.lines.push_str(&String::from_utf8_lossy(chunk));
            let whole = (end + 4 + size).min(self.bytes.len());
            self.bytes.drain(..whole);
        }
    }

    /// Handles a line; returns whether it completes an event.
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
        self.reporter.received(text);
        true
    }
}
