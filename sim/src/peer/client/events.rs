//! A stream of server-sent events with messages that are posted, as a connection of the same kind as a WebSocket: each
//! event is a text that arrives, and each text that is sent is the body of an HTTP request of its own.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{Sink, Stream};
use server::net::Network;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::http::Request;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::codec::quoted;

/// How long a posted message may wait for its response.
const POST_TIMEOUT: Duration = Duration::from_secs(10);

/// An open stream of events.
pub(super) struct Events {
    /// What has arrived; `None` when the stream has ended.
    arrived: mpsc::UnboundedReceiver<Option<String>>,
    /// The texts to post; `None` once the client closes the connection.
    posts: Option<mpsc::UnboundedSender<String>>,
}

/// Opens a stream of events at the path of a WebSocket's request, whose other headers go along. Texts are posted to
/// `post`.
pub(super) async fn open<N: Network>(
    net: N,
    server: SocketAddr,
    request: Request<()>,
    post: String,
) -> Result<Events, Error> {
    let head = Head::of(&request);
    let mut stream = net.connect(server).await?;
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let get = format!("GET {path} HTTP/1.1\r\n{}Accept: text/event-stream\r\nCache-Control: no-cache\r\n\r\n", head.0);
    stream.write_all(get.as_bytes()).await?;
    let mut bytes = Vec::new();
    let (status, chunked) = read_head(&mut stream, &mut bytes).await?;
    if status != 200 {
        return Err(io::Error::other(format!("the stream of events is refused: HTTP {status}")).into());
    }
    let (arrives, arrived) = mpsc::unbounded_channel();
    let (posts, texts) = mpsc::unbounded_channel();
    let (done, is_done) = oneshot::channel::<()>();
    let reader = Reader { bytes, chunked, lines: String::new(), data: None, arrives: arrives.clone() };
    net.spawn(reader.run(stream, is_done));
    let poster = net.clone();
    net.spawn(async move {
        post_all(poster, server, &head, &post, texts, &arrives).await;
        drop(done);
    });
    Ok(Events { arrived, posts: Some(posts) })
}

/// The headers that all requests of a client have.
struct Head(String);

impl Head {
    fn of(request: &Request<()>) -> Self {
        let is_of_upgrade = |name: &str| matches!(name, "connection" | "upgrade") || name.starts_with("sec-websocket-");
        let headers = request.headers().iter().filter(|(name, _)| !is_of_upgrade(name.as_str()));
        let line = |(name, value): (&_, &tokio_tungstenite::tungstenite::http::HeaderValue)| {
            let name: &tokio_tungstenite::tungstenite::http::HeaderName = name;
            format!("{name}: {}\r\n", value.to_str().unwrap_or_default())
        };
        Self(headers.map(line).collect())
    }
}

/// Posts one text at a time, which keeps their order, until the client closes. A response that is not a success, or has
/// a body, arrives as a message: `["posted", 400, …]`.
async fn post_all<N: Network>(
    net: N,
    server: SocketAddr,
    head: &Head,
    path: &str,
    mut texts: mpsc::UnboundedReceiver<String>,
    arrives: &mpsc::UnboundedSender<Option<String>>,
) {
    while let Some(text) = texts.recv().await {
        let posting = async {
            let mut stream = net.connect(server).await?;
            let length = text.len();
            let request = format!(
                "POST {path} HTTP/1.1\r\n{}Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}",
                head.0
            );
            stream.write_all(request.as_bytes()).await?;
            let mut bytes = Vec::new();
            let (status, chunked) = read_head(&mut stream, &mut bytes).await?;
            stream.read_to_end(&mut bytes).await?;
            let body = if chunked { unchunked(&mut bytes) } else { String::from_utf8_lossy(&bytes).into_owned() };
            io::Result::Ok((status, body))
        };
        // A text that cannot be posted is lost, as it is for a page that does not look at the outcome.
        let Ok(Ok((status, body))) = timeout(POST_TIMEOUT, posting).await else { continue };
        let body = body.trim();
        if status < 300 && body.is_empty() {
            continue;
        }
        let is_json = serde_json::from_str::<&serde_json::value::RawValue>(body).is_ok();
        let body = if is_json { body.to_owned() } else { quoted(body) };
        let _ = arrives.send(Some(format!(r#"["posted",{status},{body}]"#)));
    }
}

/// Reads the head of a response. Returns its status, and whether its body comes in chunks; what has arrived of the body
/// stays in `bytes`.
pub(super) async fn read_head(stream: &mut (impl AsyncRead + Unpin), bytes: &mut Vec<u8>) -> io::Result<(u16, bool)> {
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            bytes.drain(..end + 4);
            let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
            let status = status.ok_or_else(|| io::Error::other("the answer is not HTTP"))?;
            let chunked = head.lines().any(|line| line.starts_with("transfer-encoding:") && line.contains("chunked"));
            return Ok((status, chunked));
        }
        if stream.read_buf(bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Takes the complete chunks out of a body.
pub(super) fn unchunked(bytes: &mut Vec<u8>) -> String {
    let mut text = String::new();
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let size = str::from_utf8(&bytes[..end]).ok().and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
        let Some(size) = size else { break };
        let Some(chunk) = bytes.get(end + 2..).and_then(|rest| rest.get(..size)) else { break };
        text.push_str(&String::from_utf8_lossy(chunk));
        let whole = (end + 4 + size).min(bytes.len());
        bytes.drain(..whole);
    }
    text
}

/// Reads the events of a stream.
struct Reader {
    bytes: Vec<u8>,
    chunked: bool,
    lines: String,
    data: Option<String>,
    arrives: mpsc::UnboundedSender<Option<String>>,
}

impl Reader {
    /// Reads until the stream ends, or until the client has closed and everything is posted.
    async fn run(mut self, mut stream: impl AsyncRead + Unpin, mut is_done: oneshot::Receiver<()>) {
        loop {
            self.take();
            let goes_on = tokio::select! { biased;
                read = stream.read_buf(&mut self.bytes) => read.is_ok_and(|read| read > 0),
                _ = &mut is_done => false,
            };
            if !goes_on {
                let _ = self.arrives.send(None);
                return;
            }
        }
    }

    /// Passes on the events that are complete.
    fn take(&mut self) {
        if self.chunked {
            self.lines.push_str(&unchunked(&mut self.bytes));
        } else {
            self.lines.push_str(&String::from_utf8_lossy(&self.bytes));
            self.bytes.clear();
        }
        while let Some(end) = self.lines.find('\n') {
            let line: String = self.lines.drain(..=end).collect();
            let line = line.trim_end_matches(['\r', '\n']);
            if let Some(data) = line.strip_prefix("data:") {
                let data = data.strip_prefix(' ').unwrap_or(data);
                match &mut self.data {
                    Some(before) => *before = format!("{before}\n{data}"),
                    None => self.data = Some(data.to_owned()),
                }
            } else if line.is_empty()
                && let Some(text) = self.data.take()
            {
                let _ = self.arrives.send(Some(text));
            }
        }
    }
}

impl Stream for Events {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let text = ready!(self.arrived.poll_recv(cx)).flatten();
        Poll::Ready(text.map(|text| Ok(Message::text(text))))
    }
}

impl Sink<Message> for Events {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        match (message, &self.posts) {
            (Message::Text(text), Some(posts)) => {
                let _ = posts.send(text.as_str().to_owned());
            }
            (Message::Close(_), _) => self.posts = None,
            _ => {}
        }
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.posts = None;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(chunked: bool, parts: &[&str]) -> Vec<String> {
        let (arrives, mut arrived) = mpsc::unbounded_channel();
        let mut reader = Reader { bytes: Vec::new(), chunked, lines: String::new(), data: None, arrives };
        for part in parts {
            reader.bytes.extend(part.as_bytes());
            reader.take();
        }
        std::iter::from_fn(|| arrived.try_recv().ok().flatten()).collect()
    }

    #[test]
    fn events_are_found_wherever_the_bytes_are_cut() {
        assert_eq!(events(false, &[":ok\n\ndata: {\"a\":", "1}\n", "\ndata:x\r\n\r\n"]), [r#"{"a":1}"#, "x"]);
        assert_eq!(events(false, &["data: a\ndata: b\n\n"]), ["a\nb"]);
        assert_eq!(events(true, &["5\r\n:ok\n\n\r\n9\r\nda", "ta: a\n\n\r\n", "5\r\ndata:"]), ["a"]);
    }

    #[test]
    fn only_headers_of_any_request_go_along() {
        let request = Request::builder().uri("ws://h/x").header("Host", "h").header("Upgrade", "websocket");
        let request = request.header("Sec-WebSocket-Key", "k").header("Authorization", "b").body(()).expect("good");
        assert_eq!(Head::of(&request).0, "host: h\r\nauthorization: b\r\n");
    }
}
