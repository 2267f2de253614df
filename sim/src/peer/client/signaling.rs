//! A client's signaling connection, which is dialled again whenever it breaks: a WebSocket, or a stream of events with
//! messages that are posted.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Sink, Stream};
use server::net::Network;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, ClientRequestBuilder, Message};

use super::backoff::Backoff;
use super::carried::Carried;
use super::events;
use crate::event::{Frame, NodeId, Recorder, Signaling, What};

/// How long a connection attempt may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// tungstenite fills its read buffer with zeros at every poll. Its default size of 128 KiB costs more time than
/// everything else.
const READ_BUFFER_BYTES: usize = 4096;
/// Number of unanswered pings after which the connection is considered dead.
const MISSED_PONGS_MAX: u32 = 2;
/// How long a client waits before it sends its own ping, as a multiple of the server's heartbeat. While the server
/// sends pings, the client need not.
const PATIENCE: f64 = 1.5;

/// How long a stream of events may be silent. Nothing asks the server for a sign of life there.
const FOR_EVER: Duration = Duration::from_secs(30 * 24 * 3600);

type Dialing<S> = Pin<Box<dyn Future<Output = Result<Carried<S>, tungstenite::Error>> + Send>>;

/// What carries the messages of a signaling connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Text frames of a WebSocket.
    Text,
    /// Binary frames of a WebSocket.
    Binary,
    /// A stream of events, and HTTP requests with this path and query.
    Events { post: String },
}

/// An event of a signaling connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SignalingEvent {
    /// The connection is open.
    Connected,
    /// A text frame arrived.
    Text(Arc<str>),
    /// The connection is closed. The client dials again by itself, unless it has stopped dialling.
    Lost,
}

enum State<S> {
    Waiting(Instant),
    Dialing(Dialing<S>),
    Open(Box<Open<S>>),
    /// The client closes the connection and waits for the server's close frame.
    Closing(Box<Open<S>>),
    /// The client has stopped dialling, or has closed the connection.
    Ended,
}

struct Open<S> {
    socket: Carried<S>,
    outbox: VecDeque<Message>,
    /// How long the connection may be silent before a ping is sent.
    silence_max: Duration,
    /// When the last frame arrived or the last ping was sent.
    last_sign: Instant,
    /// A timer that never fires before the silence has lasted too long, but possibly later: it is not reset for every
    /// frame.
    silence: Pin<Box<Sleep>>,
    missed_pongs: u32,
}

/// An event of an open connection.
enum SocketEvent {
    Message(Message),
    /// No frame arrived for too long.
    Silence,
    Broken(tungstenite::Error),
}

/// A signaling connection that reconnects by itself.
pub(crate) struct SignalingClient<N: Network> {
    net: N,
    server: SocketAddr,
    request: ClientRequestBuilder,
    way: Way,
    heartbeat: Duration,
    recorder: Recorder,
    node: NodeId,
    backoff: Backoff,
    state: State<N::Stream>,
}

impl<N: Network> SignalingClient<N> {
    /// A client that dials as soon as [`next`](Self::next) is polled. `heartbeat` is the interval between the server's
    /// pings.
    pub(crate) fn new(
        net: N,
        server: SocketAddr,
        request: ClientRequestBuilder,
        way: Way,
        heartbeat: Duration,
        recorder: Recorder,
        node: NodeId,
    ) -> Self {
        let (backoff, state) = (Backoff::default(), State::Waiting(Instant::now()));
        Self { net, server, request, way, heartbeat, recorder, node, backoff, state }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Whether it will not dial again.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Queues a message, which is sent while [`next`](Self::next) is polled. It is dropped if the connection is
    /// not open.
    pub(crate) fn send(&mut self, text: &str) {
        if let State::Open(open) = &mut self.state {
            let (message, frame) = match self.way {
                Way::Binary => (Message::binary(text.as_bytes().to_vec()), Frame::Binary(text.len())),
                Way::Text | Way::Events { .. } => (Message::text(text), Frame::Text(text.into())),
            };
            open.outbox.push_back(message);
            self.record(Signaling::FrameSent(frame));
        }
    }

    /// Closes with code 1000 and does not dial again. [`closed`](Self::closed) sends what is queued.
    pub(crate) fn close(&mut self) {
        if let State::Open(mut open) = std::mem::replace(&mut self.state, State::Ended) {
            let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
            open.outbox.push_back(Message::Close(Some(frame)));
            self.record(Signaling::FrameSent(Frame::Close(Some(1000))));
            self.state = State::Closing(open);
        }
    }

    /// Completes when the connection that the client closes is closed.
    pub(crate) async fn closed(&mut self) {
        if let State::Closing(mut open) = std::mem::replace(&mut self.state, State::Ended) {
            let closing = poll_fn(|cx| {
                while let Poll::Ready(polled) = open.poll_socket(cx) {
                    if polled.is_err() {
                        return Poll::Ready(());
                    }
                }
                Poll::Pending
            });
            let _ = timeout(DIAL_TIMEOUT, closing).await;
            self.record(Signaling::Closed { code: Some(1000), reason: "left".into() });
        }
    }

    /// Cuts the connection without a close frame, like a network failure. The client dials again after a delay.
    pub(crate) fn tear(&mut self) -> bool {
        let was_open = self.is_open();
        if was_open {
            self.lost(None, "torn by the scenario");
        }
        was_open
    }

    /// Notes that the machine has other addresses: an open connection is given up without a frame, as the old address is
    /// gone, and the next attempt dials `server`. Returns whether a connection was open.
    pub(crate) fn moved(&mut self, server: SocketAddr) -> bool {
        self.server = server;
        let was_open = self.is_open();
        if was_open {
            self.lost(None, "the network changed");
        }
        was_open
    }

    /// Dials, sends, receives and pings. It may be dropped at any point and called again.
    pub(crate) async fn next(&mut self) -> SignalingEvent {
        loop {
            match &mut self.state {
                State::Waiting(until) => {
                    sleep_until(*until).await;
                    self.record(Signaling::Connecting { attempt: self.backoff.failed() });
                    let dialing = dial(self.net.clone(), self.server, self.request.clone(), self.way.clone());
                    self.state = State::Dialing(Box::pin(dialing));
                }
                State::Dialing(dialing) => match dialing.await {
                    Ok(socket) => {
                        self.backoff.reset();
                        self.record(Signaling::Connected);
                        let silence_max = match self.way {
                            Way::Events { .. } => FOR_EVER,
                            Way::Text | Way::Binary => self.heartbeat.mul_f64(PATIENCE),
                        };
                        let (last_sign, silence) = (Instant::now(), Box::pin(sleep(silence_max)));
                        let (outbox, missed_pongs) = (VecDeque::new(), 0);
                        let open = Open { socket, outbox, silence_max, last_sign, silence, missed_pongs };
                        self.state = State::Open(Box::new(open));
                        return SignalingEvent::Connected;
                    }
                    Err(error) => {
                        self.lost(None, &error.to_string());
                        return SignalingEvent::Lost;
                    }
                },
                State::Open(open) => match poll_fn(|cx| open.poll(cx)).await {
                    SocketEvent::Message(Message::Text(text)) => {
                        let text: Arc<str> = text.as_str().into();
                        self.record(Signaling::FrameReceived(Frame::Text(text.clone())));
                        return SignalingEvent::Text(text);
                    }
                    SocketEvent::Message(Message::Binary(bytes)) if self.way == Way::Binary => {
                        self.record(Signaling::FrameReceived(Frame::Binary(bytes.len())));
                        // What is not text is no message of any dialect.
                        return SignalingEvent::Text(String::from_utf8_lossy(&bytes).as_ref().into());
                    }
                    SocketEvent::Message(Message::Close(frame)) => {
                        let (code, reason) = frame.map_or((None, String::new()), |frame| {
                            (Some(u16::from(frame.code)), frame.reason.to_string())
                        });
                        self.record(Signaling::FrameReceived(Frame::Close(code)));
                        self.lost(code, &reason);
                        return SignalingEvent::Lost;
                    }
                    SocketEvent::Message(message) => self.record(Signaling::FrameReceived(frame(&message))),
                    SocketEvent::Silence if open.missed_pongs == MISSED_PONGS_MAX => {
                        self.lost(None, "no pong");
                        return SignalingEvent::Lost;
                    }
                    SocketEvent::Silence => {
                        open.missed_pongs += 1;
                        open.outbox.push_back(Message::Ping(bytes::Bytes::new()));
                        self.record(Signaling::FrameSent(Frame::Ping));
                    }
                    SocketEvent::Broken(error) => {
                        self.lost(None, &error.to_string());
                        return SignalingEvent::Lost;
                    }
                },
                State::Closing(_) | State::Ended => std::future::pending().await,
            }
        }
    }

    /// Handles the end of a connection or of an attempt: decides whether and when to dial again.
    fn lost(&mut self, code: Option<u16>, reason: &str) {
        self.record(Signaling::Closed { code, reason: reason.into() });
        self.state = match self.backoff.next() {
            Some(pause) => State::Waiting(Instant::now() + pause),
            None => {
                self.record(Signaling::GaveUp { attempts: self.backoff.failed() });
                State::Ended
            }
        };
    }

    fn record(&self, event: Signaling) {
        self.recorder.write(self.node, What::Signaling(event));
    }
}

impl<S> Open<S>
where
    Carried<S>: Sink<Message, Error = tungstenite::Error> + Stream<Item = Result<Message, tungstenite::Error>> + Unpin,
{
    /// Sends as much of the queue as the socket accepts, and returns the next event.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<SocketEvent> {
        match self.poll_socket(cx) {
            Poll::Ready(Ok(message)) => {
                // Any frame shows that the connection is alive.
                (self.missed_pongs, self.last_sign) = (0, Instant::now());
                return Poll::Ready(SocketEvent::Message(message));
            }
            Poll::Ready(Err(error)) => return Poll::Ready(SocketEvent::Broken(error)),
            Poll::Pending => {}
        }
        while self.silence.as_mut().poll(cx).is_ready() {
            let due = self.last_sign + self.silence_max;
            let silent = due <= self.silence.deadline();
            self.last_sign = if silent { due } else { self.last_sign };
            self.silence.as_mut().reset(self.last_sign + self.silence_max);
            if silent {
                return Poll::Ready(SocketEvent::Silence);
            }
        }
        Poll::Pending
    }

    fn poll_socket(&mut self, cx: &mut Context<'_>) -> Poll<Result<Message, tungstenite::Error>> {
        let mut socket = Pin::new(&mut self.socket);
        while !self.outbox.is_empty() && socket.as_mut().poll_ready(cx)?.is_ready() {
            if let Some(message) = self.outbox.pop_front() {
                socket.as_mut().start_send(message)?;
            }
        }
        // A full socket wakes this task when it has room again. Reading continues in the meantime.
        let _ = socket.as_mut().poll_flush(cx)?;
        socket.poll_next(cx).map(|message| message.unwrap_or(Err(tungstenite::Error::ConnectionClosed)))
    }
}

async fn dial<N: Network>(
    net: N,
    server: SocketAddr,
    request: ClientRequestBuilder,
    way: Way,
) -> Result<Carried<N::Stream>, tungstenite::Error> {
    let dialing = async {
        if let Way::Events { post } = way {
            let events = events::open(net, server, request.into_client_request()?, post).await?;
            return Ok(Carried::Events(events));
        }
        let stream = net.connect(server).await?;
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
        let (socket, _) = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await?;
        Ok(Carried::WebSocket(Box::new(socket)))
    };
    timeout(DIAL_TIMEOUT, dialing)
        .await
        .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
}

fn frame(message: &Message) -> Frame {
    match message {
        Message::Ping(_) => Frame::Ping,
        Message::Pong(_) => Frame::Pong,
        Message::Close(frame) => Frame::Close(frame.as_ref().map(|frame| frame.code.into())),
        Message::Text(text) => Frame::Text(text.as_str().into()),
        other => Frame::Binary(other.len()),
    }
}
