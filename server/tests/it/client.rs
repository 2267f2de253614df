//! What makes a test five lines: a server on port 0, and a WebSocket client that knows the mesh dialect's shapes.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use server::net::{Network, Tokio};
use server::{Census, Config, DIALECTS, Handle, Listen, Server};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Longer than anything here takes, on the slowest machine: whoever waits this long hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A server with all its services on ports of the host's choice.
pub(crate) struct Running {
    pub(crate) http: SocketAddr,
    pub(crate) mesh: SocketAddr,
    pub(crate) call: SocketAddr,
    pub(crate) call_socketio: SocketAddr,
    pub(crate) broadcast: SocketAddr,
    pub(crate) stun: SocketAddr,
    pub(crate) handle: Handle,
    pub(crate) task: JoinHandle<()>,
}

pub(crate) async fn start() -> Running {
    start_with(|_| {}).await
}

pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Running {
    start_on(Tokio, change).await
}

pub(crate) async fn start_on(net: impl Network, change: impl FnOnce(&mut Config)) -> Running {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let names = DIALECTS.iter().map(|entry| entry.name).filter(|name| *name != "echo");
    let mut config = Config { listen: Listen::each(names, |_| any_port), stun: Some(any_port), ..Config::default() };
    change(&mut config);
    let server = Server::bind(net, config).await.expect("port 0 is free");
    let [http, mesh, call, call_socketio, broadcast, stun] =
        ["api", "mesh", "call", "call-socketio", "broadcast", "stun"]
            .map(|name| server.address(name).expect("asked for"));
    let (handle, task) = (server.handle(), tokio::spawn(server.run()));
    Running { http, mesh, call, call_socketio, broadcast, stun, handle, task }
}

impl Running {
    /// Waits until the census is as wanted.
    pub(crate) async fn census(&self, wanted: impl Fn(&Census) -> bool) {
        #[allow(clippy::disallowed_methods)] // tokio's clock may stand still
        let start = std::time::Instant::now();
        while !wanted(&self.handle.census()) {
            assert!(start.elapsed() < PATIENCE, "it stays at {:?}", self.handle.census());
            tokio::task::yield_now().await;
        }
    }

    /// Waits until nothing is left of any client.
    pub(crate) async fn empty(&self) {
        self.census(|census| {
            let Census { connections, sessions, rooms, members, queued_messages, queued_bytes, .. } = *census;
            connections + sessions + rooms + members + queued_messages + queued_bytes == 0
        })
        .await;
    }
}

/// A WebSocket client; `id` is empty before it has joined.
pub(crate) struct Client<S = TcpStream> {
    pub(crate) socket: WebSocketStream<S>,
    pub(crate) id: String,
}

impl Client {
    pub(crate) async fn connect(server: &Running) -> Self {
        Self::open(server.mesh, "/").await
    }

    /// Connects to another endpoint than the mesh's.
    pub(crate) async fn open(address: SocketAddr, target: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("it listens");
        stream.set_nodelay(true).expect("it is connected");
        Self::upgrade(stream, target).await
    }

    /// Connects and joins.
    pub(crate) async fn join(server: &Running, room: &str) -> Self {
        let mut client = Self::connect(server).await;
        client.joins(room).await;
        client
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) async fn over(stream: S) -> Self {
        Self::upgrade(stream, "/").await
    }

    pub(crate) async fn upgrade(stream: S, target: &str) -> Self {
        let handshake = tokio_tungstenite::client_async(format!("ws://glare.test{target}"), stream);
        let (socket, _) = timeout(PATIENCE, handshake).await.expect("it answers").expect("it upgrades");
        Self { socket, id: String::new() }
    }

    /// Joins a room, takes the id from the answer and returns the answer.
    pub(crate) async fn joins(&mut self, room: &str) -> String {
        self.send(&format!(r#"{{"action":"join","roomId":"{room}"}}"#)).await;
        let joined = self.next().await;
        let json: serde_json::Value = serde_json::from_str(&joined).expect("JSON");
        assert_eq!(json["action"], "joined", "{joined}");
        self.id = json["clientId"].as_str().expect("a string").to_owned();
        joined
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.expect("it is connected");
    }

    /// Writes bytes past the WebSocket layer.
    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        self.socket.get_mut().write_all(bytes).await.expect("it is connected");
    }

    /// The next text message.
    pub(crate) async fn next(&mut self) -> String {
        let text = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Text(text))) => return text.to_string(),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    other => panic!("not a text message: {other:?}"),
                }
            }
        };
        timeout(PATIENCE, text).await.expect("a message comes")
    }

    /// The next text message is exactly this.
    pub(crate) async fn hears(&mut self, text: &str) {
        assert_eq!(self.next().await, text);
    }

    /// It sends a message, and the next that comes is exactly this: nothing else was on its way.
    pub(crate) async fn is_told(&mut self, message: &str, answer: &str) {
        self.send(message).await;
        self.hears(answer).await;
    }

    pub(crate) async fn hears_error(&mut self, message: &str) {
        self.hears(&format!(r#"{{"action":"error","message":"{message}"}}"#)).await;
    }

    /// Nothing is on its way to this client, and all that it sent is dealt with: the answer to a sentinel comes next.
    pub(crate) async fn hears_nothing(&mut self) {
        self.send(r#"{"action":"sentinel"}"#).await;
        self.hears_error("Unknown action: sentinel").await;
    }

    /// The server closes with this code, then ends TCP. Other messages before are skipped.
    pub(crate) async fn is_closed(&mut self, code: u16) {
        let close = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Close(frame))) => return frame.map(|frame| u16::from(frame.code)),
                    Some(Ok(_)) => {}
                    other => panic!("ended without a close frame: {other:?}"),
                }
            }
        };
        assert_eq!(timeout(PATIENCE, close).await.expect("it is closed"), Some(code));
        let rest = timeout(PATIENCE, self.socket.next()).await.expect("TCP ends");
        assert!(rest.is_none(), "after the close frame: {rest:?}");
    }
}

/// A frame of a client, masked with a key of zeros. `first` holds FIN, the reserved bits and the opcode.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}
