//! Clients for Socket.IO: one that polls, and what a WebSocket needs on top of [`Client`].

use std::net::SocketAddr;

use server::socketio::engine::{Handshake, SEPARATOR};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::client::{Client, PATIENCE};

/// The beginning of every request's target.
pub(crate) const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
pub(crate) const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The head, in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn is(&self, status: u16, body: &str) {
        assert_eq!((self.status, self.body.as_str()), (status, body), "{}", self.head);
    }

    /// Engine.IO refuses the request.
    #[track_caller]
    pub(crate) fn is_refused(&self, code: u8) {
        let message = [
            "Transport unknown",
            "Session ID unknown",
            "Bad handshake method",
            "Bad request",
            "",
            "Unsupported protocol version",
        ];
        self.is(400, &format!(r#"{{"code":{code},"message":"{}"}}"#, message[usize::from(code)]));
        assert!(self.head.contains("content-type: application/json\r\n"), "{}", self.head);
    }
}

/// One request on a connection that is kept alive.
pub(crate) async fn exchange<S>(stream: &mut S, method: &str, target: &str, body: &[u8]) -> Answer
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let head = format!("{method} {target} HTTP/1.1\r\nHost: glare.test\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat()).await.expect("it is connected");
    timeout(PATIENCE, answer(stream)).await.expect("it answers")
}

/// The answer to a request that was sent.
pub(crate) async fn answer<S: AsyncRead + Unpin>(stream: &mut S) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a whole head"));
    }
    let head = String::from_utf8(head).expect("ASCII").to_ascii_lowercase();
    let status = head["http/1.1 ".len()..][..3].parse().expect("a status");
    let length = head.split("\r\n").find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a number"))];
    stream.read_exact(&mut body).await.expect("a whole body");
    Answer { status, head, body: String::from_utf8(body).expect("UTF-8") }
}

/// One request on a connection of its own.
pub(crate) async fn request(address: SocketAddr, method: &str, target: &str, body: &[u8]) -> Answer {
    exchange(&mut TcpStream::connect(address).await.expect("it listens"), method, target, body).await
}

/// A client that polls, on one connection.
pub(crate) struct Poller<S = TcpStream> {
    stream: S,
    pub(crate) sid: String,
    /// Packets of the last payload that were not asked for yet.
    packets: Vec<String>,
}

impl Poller {
    /// Opens a session.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.expect("it listens")).await
    }

    /// Opens a session and connects to the main namespace.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let mut client = Self::open(address).await;
        client.say("40").await;
        let connected = client.hear().await;
        assert!(connected.starts_with(r#"40{"sid":""#), "{connected}");
        client
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Poller<S> {
    pub(crate) async fn over(mut stream: S) -> Self {
        let opened = exchange(&mut stream, "GET", POLLING, b"").await;
        let handshake: Handshake =
            serde_json::from_str(opened.body.strip_prefix('0').expect(&opened.body)).expect("a handshake");
        Self { stream, sid: handshake.sid, packets: Vec::new() }
    }

    pub(crate) fn target(&self) -> String {
        format!("{POLLING}&sid={}", self.sid)
    }

    /// Posts a payload.
    pub(crate) async fn say(&mut self, payload: &str) {
        self.post(payload.as_bytes()).await.is(200, "ok");
    }

    pub(crate) async fn post(&mut self, payload: &[u8]) -> Answer {
        let target = self.target();
        exchange(&mut self.stream, "POST", &target, payload).await
    }

    pub(crate) async fn poll(&mut self) -> Answer {
        let target = self.target();
        exchange(&mut self.stream, "GET", &target, b"").await
    }

    /// The next packet.
    pub(crate) async fn hear(&mut self) -> String {
        if self.packets.is_empty() {
            let answer = self.poll().await;
            assert_eq!(answer.status, 200, "{answer:?}");
            self.packets = answer.body.split(SEPARATOR).rev().map(str::to_owned).collect();
        }
        self.packets.pop().expect("a payload has a packet")
    }

    /// The next packet is exactly this.
    pub(crate) async fn hears(&mut self, packet: &str) {
        assert_eq!(self.hear().await, packet);
    }
}

impl Client {
    /// Opens a session over WebSocket and connects to the main namespace; takes the id from the answer.
    pub(crate) async fn socketio(address: SocketAddr) -> Self {
        let mut client = Self::open(address, WEBSOCKET).await;
        client.connects().await;
        client
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) async fn connects(&mut self) {
        let opened = self.next().await;
        assert!(opened.starts_with(r#"0{"sid":""#), "{opened}");
        self.send("40").await;
        let connected = self.next().await;
        let id = connected.strip_prefix(r#"40{"sid":""#).and_then(|rest| rest.strip_suffix(r#""}"#));
        self.id = id.expect(&connected).to_owned();
    }

    /// The next message is binary, and exactly this.
    pub(crate) async fn hears_binary(&mut self, data: &'static [u8]) {
        use futures_util::StreamExt;
        let message = timeout(PATIENCE, self.socket.next()).await.expect("a message comes");
        assert_eq!(message.expect("it is open").expect("it is whole"), Message::Binary(Bytes::from_static(data)));
    }
}
