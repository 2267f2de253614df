//! Our own WebSocket client: a task per connection that writes what it is told, breaks the rules when it is told to,
//! answers pings and notes all that arrives at the moment it arrives.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncWrite;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, ClientRequestBuilder, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::socketio::Told;
use super::stream::{self, io_words};
use super::{BYTES_MAX, Beat, Codec, End, MESSAGES_MAX, News, Order, http};
use crate::dial::{DynDial, Stream};
use crate::recording::{Did, Octets};
use crate::target::Target;
use crate::transcript::{Log, What};

/// What is asked for.
pub(crate) struct Request<'a> {
    pub(crate) url: &'a str,
    pub(crate) subprotocol: Option<&'a str>,
}

/// Opens a WebSocket.
///
/// # Errors
/// What was tried and what came of it, in words.
pub(crate) async fn open(
    dial: &dyn DynDial,
    target: &Target,
    request: Request<'_>,
    patience: Duration,
) -> Result<WebSocketStream<Box<dyn Stream>>, String> {
    let stream = stream::open(dial, target, patience).await?;
    let config = WebSocketConfig::default().read_buffer_size(8 * 1024).max_message_size(Some(BYTES_MAX));
    let url = target.websocket_url(request.url);
    let uri = url.parse().map_err(|error| format!("`{url}` is no URL: {error}"))?;
    let mut builder = ClientRequestBuilder::new(uri);
    for (name, value) in target.headers() {
        builder = builder.with_header(name, value);
    }
    if let Some(subprotocol) = request.subprotocol {
        builder = builder.with_sub_protocol(subprotocol);
    }
    let handshake = client_async_with_config(builder, stream, Some(config));
    let upgrade =
        format!("{} is accepted; to the WebSocket upgrade the server", if target.is_tls() { "TLS" } else { "TCP" });
    match timeout(patience, handshake).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(Error::Http(response))) => Err(format!("{upgrade} answers HTTP {}", response.status())),
        // No browser connects to such a server; the suite does, so that `ws/accept-key` tells why.
        Ok(Err(Error::Protocol(ProtocolError::SecWebSocketAcceptKeyMismatch))) => {
            let opening = open_unverified(dial, target, &request, config, patience);
            timeout(patience, opening).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
        }
        Ok(Err(Error::Protocol(ProtocolError::HandshakeIncomplete))) => {
            Err(format!("{upgrade} answers nothing and closes the connection"))
        }
        Ok(Err(Error::Io(error))) => Err(format!("{upgrade} answers nothing: {}", io_words(&error))),
        Ok(Err(error)) => Err(format!("{upgrade} answers something else than a WebSocket handshake: {error}")),
        Err(_) => Err(format!("{upgrade} answers nothing within {} s", patience.as_secs())),
    }
}

/// Opens a WebSocket whatever the server makes of the key.
async fn open_unverified(
    dial: &dyn DynDial,
    target: &Target,
    request: &Request<'_>,
    config: WebSocketConfig,
    patience: Duration,
) -> Result<WebSocketStream<Box<dyn Stream>>, String> {
    let mut stream = stream::open(dial, target, patience).await?;
    let mut headers = vec![
        ("Connection", "Upgrade".to_owned()),
        ("Upgrade", "websocket".to_owned()),
        ("Sec-WebSocket-Key", tungstenite::handshake::client::generate_key()),
        ("Sec-WebSocket-Version", "13".to_owned()),
    ];
    headers.extend(request.subprotocol.map(|name| ("Sec-WebSocket-Protocol", name.to_owned())));
    let handshake = http::Request { method: "GET", path: Target::path_of(request.url), headers, body: None };
    http::send(&mut *stream, target, &handshake, false).await?;
    let mut behind = Vec::new();
    let response = http::read_head(&mut *stream, &mut behind).await?;
    if response.status != 101 {
        return Err(format!("a second WebSocket upgrade is answered HTTP {}", response.status));
    }
    Ok(WebSocketStream::from_partially_read(stream, behind, Role::Client, Some(config)).await)
}

/// What carries messages, how they stand in it, and what keeps it alive.
pub(crate) struct Socket {
    pub(crate) stream: WebSocketStream<Box<dyn Stream>>,
    pub(crate) codec: Codec,
    pub(crate) beat: Option<(Interval, String)>,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a WebSocket of {:?}", self.codec)
    }
}

/// One connection's task.
pub(crate) struct Connection {
    socket: WebSocketStream<Box<dyn Stream>>,
    codec: Codec,
    beat: Option<(Interval, String)>,
    orders: UnboundedReceiver<Order>,
    news: UnboundedSender<(usize, News)>,
    log: Log,
    client: usize,
    /// To be written past the WebSocket layer.
    raw: Bytes,
    unflushed: bool,
    deaf: bool,
    taker: Option<oneshot::Sender<Socket>>,
}

enum Event {
    /// Nobody wants this connection any more.
    Dropped,
    /// Somebody wants the socket, and all is written.
    Taken(oneshot::Sender<Socket>),
    Read(Option<Result<Message, Error>>),
}

impl Connection {
    pub(crate) fn new(
        socket: WebSocketStream<Box<dyn Stream>>,
        codec: Codec,
        beat: Beat,
        (orders, news): (UnboundedReceiver<Order>, UnboundedSender<(usize, News)>),
        log: Log,
        client: usize,
    ) -> Self {
        let beat = beat.map(|(every, ping)| {
            let mut interval = interval(every);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            // The first beat of an interval comes at once.
            interval.reset();
            (interval, ping)
        });
        let raw = Bytes::new();
        Self { socket, codec, beat, orders, news, log, client, raw, unflushed: false, deaf: false, taker: None }
    }

    /// Runs until the connection ends, or its owner drops the sender of orders: then TCP ends without a close frame.
    pub(crate) async fn run(mut self) {
        let (mut messages, mut bytes) = (0, 0);
        let mut close = None;
        loop {
            let read = match poll_fn(|cx| self.poll(cx)).await {
                Event::Dropped => {
                    self.log.keep(self.client, || Did::HangsUp);
                    return;
                }
                Event::Taken(taker) => {
                    let _ = taker.send(Socket { stream: self.socket, codec: self.codec, beat: self.beat });
                    return;
                }
                Event::Read(read) => read,
            };
            let end = match read {
                Some(Ok(message)) => {
                    messages += 1;
                    bytes += message.len();
                    if let Message::Close(frame) = &message {
                        close = Some(frame.as_ref().map(|frame| u16::from(frame.code)));
                    }
                    self.tell(message);
                    if messages <= MESSAGES_MAX && bytes <= BYTES_MAX {
                        continue;
                    }
                    End::Flood
                }
                _ if close.is_some() => End::Closed(close.flatten()),
                None | Some(Err(Error::Io(_) | Error::ConnectionClosed | Error::AlreadyClosed)) => End::Lost,
                Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => End::Lost,
                Some(Err(error)) => End::Broken(words_for(&error)),
            };
            let words = match &end {
                End::Closed(_) => "TCP ends".to_owned(),
                End::Lost => "TCP ends without a close frame".to_owned(),
                End::Broken(why) => format!("the server breaks the framing rules: {why}"),
                End::Flood => format!("the server floods: {messages} messages, {bytes} bytes; hung up"),
            };
            let line = self.log.push(self.client, What::Note, &words);
            self.log.keep(self.client, || end.kept());
            let _ = self.news.send((line, News::End(end)));
            return;
        }
    }

    /// Writes what is to be written, then reads: a server that does not read cannot keep us from hearing it.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        loop {
            if self.raw.has_remaining() {
                match Pin::new(self.socket.get_mut()).poll_write(cx, &self.raw) {
                    Poll::Ready(Ok(written)) if written > 0 => self.raw.advance(written),
                    // The reading side learns why.
                    Poll::Ready(_) => self.raw.clear(),
                    Poll::Pending => break,
                }
                continue;
            }
            if self.unflushed {
                match self.socket.poll_flush_unpin(cx) {
                    Poll::Ready(_) => self.unflushed = false,
                    Poll::Pending => break,
                }
            }
            if let Some(taker) = self.taker.take() {
                return Poll::Ready(Event::Taken(taker));
            }
            match self.orders.poll_recv(cx) {
                Poll::Ready(Some(order)) => {
                    self.obey(order);
                    continue;
                }
                Poll::Ready(None) => return Poll::Ready(Event::Dropped),
                Poll::Pending => {}
            }
            let Some((interval, ping)) = &mut self.beat else { break };
            if interval.poll_tick(cx).is_pending() {
                break;
            }
            let ping = ping.clone();
            self.obey(Order::Text(ping));
        }
        if self.deaf {
            return Poll::Pending;
        }
        self.socket.poll_next_unpin(cx).map(Event::Read)
    }

    fn obey(&mut self, order: Order) {
        let note = |text: &str| self.log.push(self.client, What::Note, text);
        let keep = |did: &dyn Fn() -> Did| self.log.keep(self.client, did);
        let message = match order {
            Order::Text(text) => {
                keep(&|| Did::Sends(text.clone()));
                let message = match &mut self.codec {
                    Codec::Text => Message::text(text),
                    Codec::Binary => Message::Binary(text.into_bytes().into()),
                    Codec::SocketIo(socketio) => match socketio.encode(&text) {
                        Some(packet) => Message::text(packet),
                        None => return,
                    },
                };
                self.log.push(self.client, What::Sends, message.to_text().unwrap_or("(binary)"));
                message
            }
            Order::Deaf(deaf) => {
                note(if deaf { "stops reading" } else { "reads again" });
                keep(&|| Did::Deaf(deaf));
                self.deaf = deaf;
                return;
            }
            // Nothing is obeyed before what came before is flushed.
            Order::Written(teller) => {
                let _ = teller.send(());
                return;
            }
            Order::HandOver(taker) => {
                self.taker = Some(taker);
                return;
            }
            Order::Binary(bytes) => {
                note(&format!("sends a binary frame: {}", String::from_utf8_lossy(&bytes)));
                keep(&|| Did::SendsBytes(Octets::new(&frame(0x82, &bytes), "a binary frame")));
                Message::Binary(bytes)
            }
            Order::Ping(payload) => {
                note(&format!("pings: {}", String::from_utf8_lossy(payload)));
                keep(&|| Did::Pings(String::from_utf8_lossy(payload).into_owned()));
                Message::Ping(Bytes::from_static(payload))
            }
            Order::Close(code) => {
                note(&format!("closes with {code}"));
                keep(&|| Did::Closes(code));
                Message::Close(Some(CloseFrame { code: code.into(), reason: Utf8Bytes::from_static("") }))
            }
            Order::Raw(bytes, words) => {
                note(&format!("sends {words}"));
                keep(&|| Did::SendsBytes(Octets::new(&bytes, words)));
                self.raw = bytes;
                return;
            }
        };
        self.write(message);
    }

    fn write(&mut self, message: Message) {
        // A connection that is closing takes nothing more; the reading side tells.
        if self.socket.start_send_unpin(message).is_ok() {
            self.unflushed = true;
        }
    }

    fn tell(&mut self, message: Message) {
        let (line, news) = match message {
            Message::Text(text) => {
                let line = self.log.push(self.client, What::Hears, &text);
                let Codec::SocketIo(socketio) = &mut self.codec else {
                    self.log.keep(self.client, || Did::Hears(text.to_string()));
                    let _ = self.news.send((line, News::Text(text.to_string())));
                    return;
                };
                let told = socketio.decode(&text);
                for packet in socketio.released() {
                    self.log.push(self.client, What::Sends, &packet);
                    self.write(Message::text(packet));
                }
                match told {
                    Told::Message(text) => {
                        self.log.keep(self.client, || Did::Hears(text.clone()));
                        (line, News::Text(text))
                    }
                    Told::Reply(reply) => {
                        self.log.keep(self.client, || Did::Note(format!("{text} is answered {reply}")));
                        return self.write(Message::text(reply));
                    }
                    Told::Nothing => return,
                }
            }
            Message::Binary(bytes) if matches!(self.codec, Codec::Binary) => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                self.log.keep(self.client, || Did::Hears(text.clone()));
                (self.log.push(self.client, What::Hears, &text), News::Text(text))
            }
            Message::Binary(bytes) => {
                self.log.keep(self.client, || Did::HearsBytes(Octets::new(&bytes, "a binary frame")));
                (self.note(&format!("is sent a binary frame of {} bytes", bytes.len())), News::Binary)
            }
            Message::Pong(bytes) => {
                self.log.keep(self.client, || Did::Pong(String::from_utf8_lossy(&bytes).into_owned()));
                (self.note(&format!("is sent a pong: {}", String::from_utf8_lossy(&bytes))), News::Pong(bytes))
            }
            Message::Close(frame) => {
                let words = match frame {
                    Some(frame) if frame.reason.is_empty() => format!("is sent close {}", u16::from(frame.code)),
                    Some(frame) => format!("is sent close {} {:?}", u16::from(frame.code), frame.reason.as_str()),
                    None => "is sent close without a code".to_owned(),
                };
                self.note(&words);
                return;
            }
            // tungstenite answers a ping with the next flush.
            Message::Ping(_) | Message::Frame(_) => {
                self.unflushed = true;
                self.note("is sent a ping");
                return;
            }
        };
        let _ = self.news.send((line, news));
    }

    fn note(&self, text: &str) -> usize {
        self.log.push(self.client, What::Note, text)
    }
}

fn words_for(error: &tungstenite::Error) -> String {
    match error {
        Error::Protocol(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// A client's frame, masked with a key of zeros. `first` holds FIN, the reserved bits and the opcode.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Bytes {
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
    frame.into()
}
