//! Our own WebSocket client: one task per connection. It writes what its commands say, breaks the rules when they say
//! so, answers pings, and logs each arrival at once.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncWrite;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};

use super::browser::Opening;
use super::cookies::Jar;
use super::error::{TransportError, UpgradeAnswer};
use super::extension::Agreed;
use super::inflating::Inflating;
use super::link::{BYTES_MAX, Command, Commands, End, LinkEvent, MESSAGES_MAX, Reporter};
use super::net::Net;
use super::socket::{Beat, Codec, Socket};
use super::socketio::SocketIoEvent;
use super::{extension, http, inflating, stream};
use crate::dial::Stream;
use crate::entry::{Did, Octets};
use crate::target::Target;
use crate::transcript::LineKind;
use crate::words::cut;

/// The payload of the ping between the frames of a message.
pub(crate) const BETWEEN: &[u8] = b"between";

/// What an opening handshake asks for.
#[derive(Clone, Copy)]
pub(crate) struct Handshake<'a> {
    pub(crate) url: &'a str,
    pub(crate) cookies: &'a Jar,
    pub(crate) subprotocol: Option<&'a str>,
    pub(crate) opening: &'a Opening,
}

/// Opens a WebSocket. Also returns what the server agreed to, if the client offered to compress messages.
pub(crate) async fn open(
    net: &Net,
    request: Handshake<'_>,
) -> Result<(WebSocketStream<Box<dyn Stream>>, Option<Agreed>), TransportError> {
    let mut stream = stream::open(net).await?;
    let config = WebSocketConfig::default().read_buffer_size(8 * 1024).max_message_size(Some(BYTES_MAX));
    let websocket_url = net.target.websocket_url(request.url);
    if let Err(error) = websocket_url.parse::<Uri>() {
        return Err(TransportError::Url { url: websocket_url, why: error.to_string() });
    }
    let answer = timeout(net.patience, handshake(&mut *stream, net, request)).await;
    let answer = answer.unwrap_or(Err(UpgradeAnswer::Silence(net.patience)));
    let (mut behind, agreed) = answer.map_err(|answer| TransportError::Upgrade { tls: net.target.is_tls(), answer })?;
    if let Some(agreed) = agreed {
        stream = Box::new(Inflating::new(stream, agreed.inflater(), std::mem::take(&mut behind)));
    }
    Ok((WebSocketStream::from_partially_read(stream, behind, Role::Client, Some(config)).await, agreed))
}

/// The opening handshake of RFC 6455 §4.1; returns what has arrived after it, and what the server agreed to. The accept
/// key is not checked: browsers reject a wrong one, but the suite connects anyway, so that the case `ws/accept-key` can
/// report it. So it is with an extension if the client offers none: `ws/extension-subset` reports it.
async fn handshake(
    stream: &mut dyn Stream,
    net: &Net,
    request: Handshake<'_>,
) -> Result<(Vec<u8>, Option<Agreed>), UpgradeAnswer> {
    let Handshake { url, cookies, subprotocol, opening } = request;
    let path = Target::path_of(url);
    let headers = opening.headers(&net.target, tungstenite::handshake::client::generate_key(), subprotocol);
    let request = http::Request { method: "GET", path, headers, body: None };
    http::send(stream, &net.target, cookies, &request, false).await?;
    let mut behind = Vec::new();
    let response = http::read_head(stream, &mut behind).await?;
    cookies.store(&net.target, &request.path, &response);
    let wrong = |name: &str, expected: &str| {
        let sent = response.header(name).map_or("no".to_owned(), |value| format!("{:?} as", cut(&value, 80)));
        Err(UpgradeAnswer::Other(format!("{sent} header `{name}`, expected {expected}")))
    };
    match response.header("sec-websocket-protocol") {
        _ if response.status != 101 => Err(UpgradeAnswer::Http(response.status)),
        // Both are lists of tokens or names in any case, on one line or several.
        _ if !response.lists("Upgrade", "websocket") => wrong("Upgrade", "`websocket`"),
        _ if !response.lists("Connection", "Upgrade") => wrong("Connection", "a list with `Upgrade`"),
        chosen if subprotocol.is_some() && chosen.as_deref() != subprotocol => {
            wrong("Sec-WebSocket-Protocol", &format!("`{}`", subprotocol.unwrap_or_default()))
        }
        Some(_) if subprotocol.is_none() => wrong("Sec-WebSocket-Protocol", "none"),
        _ if opening.extensions().is_empty() => Ok((behind, None)),
        _ => match extension::agreed(opening.extensions(), response.lines("Sec-WebSocket-Extensions")) {
            Ok(agreed) => Ok((behind, agreed)),
            Err(why) => Err(UpgradeAnswer::Other(why)),
        },
    }
}

/// The task of one connection.
pub(crate) struct Task {
    socket: Socket,
    commands: Commands,
    reporter: Reporter,
    /// Bytes to write past the WebSocket layer.
    raw: Bytes,
    unflushed: bool,
    deaf: bool,
    taker: Option<oneshot::Sender<Socket>>,
}

enum Next {
    /// The client dropped its end.
    Dropped,
    /// The client takes the socket; everything is written.
    Taken(oneshot::Sender<Socket>),
    Read(Option<Result<Message, Error>>),
}

impl Task {
    pub(crate) fn new(
        stream: WebSocketStream<Box<dyn Stream>>,
        agreed: Option<Agreed>,
        codec: Codec,
        beat: Option<Beat>,
        commands: Commands,
        reporter: Reporter,
    ) -> Self {
        let beat = beat.map(|Beat { every, ping }| {
            let mut interval = interval(every);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            // The first tick of a tokio interval comes at once.
            interval.reset();
            (interval, ping)
        });
        let socket = Socket { stream, codec, deflater: agreed.map(Agreed::deflater), beat };
        Self { socket, commands, reporter, raw: Bytes::new(), unflushed: false, deaf: false, taker: None }
    }

    /// Runs until the connection ends or the client drops its end. In that case TCP ends without a close frame.
    pub(crate) async fn run(mut self) {
        let (mut messages, mut bytes) = (0, 0);
        let mut close = None;
        loop {
            let read = match poll_fn(|cx| self.poll(cx)).await {
                Next::Dropped => {
                    self.reporter.keep(|| Did::HangsUp);
                    return;
                }
                Next::Taken(taker) => {
                    let _ = taker.send(self.socket);
                    return;
                }
                Next::Read(read) => read,
            };
            let end = match read {
                Some(Ok(message)) => {
                    messages += 1;
                    bytes += message.len();
                    if let Message::Close(frame) = &message {
                        close = Some(frame.as_ref().map(|frame| u16::from(frame.code)));
                    }
                    self.take_in(message);
                    if messages <= MESSAGES_MAX && bytes <= BYTES_MAX {
                        continue;
                    }
                    End::Flood
                }
                _ if close.is_some() => End::Closed(close.flatten()),
                Some(Err(Error::Io(error))) if inflating::is_broken(&error) => End::Broken(error.to_string()),
                None | Some(Err(Error::Io(_) | Error::ConnectionClosed | Error::AlreadyClosed)) => End::Lost,
                Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => End::Lost,
                Some(Err(error)) => End::Broken(words_for(error)),
            };
            let words = match &end {
                End::Closed(_) => "TCP ends".to_owned(),
                End::Lost => "TCP ends without a close frame".to_owned(),
                End::Broken(why) => format!("the server breaks the framing rules: {why}"),
                End::Flood => format!("the server floods: {messages} messages, {bytes} bytes; hung up"),
            };
            self.reporter.ended(end, &words);
            return;
        }
    }

    /// Writes what is pending, then reads. A server that does not read cannot keep us from receiving.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        loop {
            if self.raw.has_remaining() {
                match Pin::new(self.socket.stream.get_mut()).poll_write(cx, &self.raw) {
                    Poll::Ready(Ok(written)) if written > 0 => self.raw.advance(written),
                    // The reading side reports why writing failed.
                    Poll::Ready(_) => self.raw.clear(),
                    Poll::Pending => break,
                }
                continue;
            }
            if self.unflushed {
                match self.socket.stream.poll_flush_unpin(cx) {
                    Poll::Ready(_) => self.unflushed = false,
                    Poll::Pending => break,
                }
            }
            if let Some(taker) = self.taker.take() {
                return Poll::Ready(Next::Taken(taker));
            }
            match self.commands.poll_recv(cx) {
                Poll::Ready(Some(command)) => {
                    self.handle(command);
                    continue;
                }
                Poll::Ready(None) => return Poll::Ready(Next::Dropped),
                Poll::Pending => {}
            }
            let Some((interval, ping)) = &mut self.socket.beat else { break };
            if interval.poll_tick(cx).is_pending() {
                break;
            }
            let ping = ping.clone();
            self.handle(Command::Text(ping));
        }
        if self.deaf {
            return Poll::Pending;
        }
        self.socket.stream.poll_next_unpin(cx).map(Next::Read)
    }

    fn handle(&mut self, command: Command) {
        let note = |text: &str| self.reporter.note(text);
        let keep = |did: &dyn Fn() -> Did| self.reporter.keep(did);
        let message = match command {
            Command::Text(text) => {
                keep(&|| Did::Sends(text.clone()));
                let Some(message) = self.encode(text) else { return };
                message
            }
            // Only `poll` flushes, and a close frame flushes what is before it too.
            Command::Together(commands) => return commands.into_iter().for_each(|command| self.handle(command)),
            Command::Fragments(text) => {
                note("sends in four frames, with a ping between them:");
                keep(&|| Did::Sends(text.clone()));
                keep(&|| Did::Pings(String::from_utf8_lossy(BETWEEN).into_owned()));
                let Some(message) = self.encode(text) else { return };
                return self.write_in_fragments(message);
            }
            Command::Deaf(deaf) => {
                note(if deaf { "stops reading" } else { "reads again" });
                keep(&|| Did::Deaf(deaf));
                self.deaf = deaf;
                return;
            }
            // Whoever posts the messages has handled it.
            Command::PostTo(_) => return,
            // A command is handled only after everything from earlier ones is flushed.
            Command::Written(sender) => {
                let _ = sender.send(());
                return;
            }
            Command::HandOver(taker) => {
                self.taker = Some(taker);
                return;
            }
            Command::Binary(bytes) => {
                note(&format!("sends a binary frame: {}", String::from_utf8_lossy(&bytes)));
                keep(&|| Did::SendsBytes(Octets::new(&frame(0x82, &bytes), "a binary frame")));
                Message::Binary(bytes)
            }
            Command::Ping(payload) => {
                note(&format!("pings: {}", String::from_utf8_lossy(payload)));
                keep(&|| Did::Pings(String::from_utf8_lossy(payload).into_owned()));
                Message::Ping(Bytes::from_static(payload))
            }
            Command::Close(code) => {
                note(&format!("closes with {code}"));
                keep(&|| Did::Closes(code));
                Message::Close(Some(CloseFrame { code: code.into(), reason: Utf8Bytes::from_static("") }))
            }
            Command::Raw(bytes, words) => {
                note(&format!("sends {words}"));
                keep(&|| Did::SendsBytes(Octets::new(&bytes, words)));
                self.raw = bytes;
                return;
            }
        };
        self.write(message);
    }

    /// A message of the dialect as the codec frames it; the transcript shows it.
    fn encode(&mut self, text: String) -> Option<Message> {
        let message = match &mut self.socket.codec {
            Codec::Text => Message::text(text),
            Codec::Binary => Message::Binary(text.into_bytes().into()),
            Codec::SocketIo(socketio) => Message::text(socketio.encode(&text)?),
        };
        self.reporter.line(LineKind::Sends, message.to_text().unwrap_or("(binary)"));
        Some(message)
    }

    fn write(&mut self, message: Message) {
        let compressed = self.socket.deflater.is_some() && (message.is_text() || message.is_binary());
        let message = if compressed { Message::Frame(self.frame(message)) } else { message };
        // A closing connection accepts no more messages; the reading side reports the end.
        if self.socket.stream.start_send_unpin(message).is_ok() {
            self.unflushed = true;
        }
    }

    /// A text or binary message in one frame, compressed if that is agreed.
    fn frame(&mut self, message: Message) -> Frame {
        let data = if message.is_text() { Data::Text } else { Data::Binary };
        let Some(deflater) = &mut self.socket.deflater else {
            return Frame::message(message.into_data(), OpCode::Data(data), true);
        };
        let payload = deflater.message(&message.into_data());
        let mut frame = Frame::message(payload, OpCode::Data(data), true);
        frame.header_mut().rsv1 = true;
        frame
    }

    fn write_in_fragments(&mut self, message: Message) {
        let frame = self.frame(message);
        let (header, payload) = (frame.header().clone(), Bytes::copy_from_slice(frame.payload()));
        let (begin, end) = (payload.len() / 3, payload.len() / 3 * 2);
        let parts = [0..begin, begin..begin, begin..end, end..payload.len()];
        for (index, part) in parts.into_iter().enumerate() {
            let opcode = if index == 0 { header.opcode } else { OpCode::Data(Data::Continue) };
            let mut frame = Frame::message(payload.slice(part), opcode, index == 3);
            frame.header_mut().rsv1 = header.rsv1 && index == 0;
            self.write(Message::Frame(frame));
            if index == 1 {
                self.write(Message::Ping(Bytes::from_static(BETWEEN)));
            }
        }
    }

    fn take_in(&mut self, message: Message) {
        let (line, event) = match message {
            Message::Text(text) => {
                let Codec::SocketIo(socketio) = &mut self.socket.codec else {
                    return self.reporter.received(text.to_string());
                };
                let line = self.reporter.line(LineKind::Hears, &text);
                let event = socketio.decode(&text);
                for packet in socketio.released() {
                    self.reporter.line(LineKind::Sends, &packet);
                    self.write(Message::text(packet));
                }
                match event {
                    SocketIoEvent::Message(text) => {
                        self.reporter.keep(|| Did::Hears(text.clone()));
                        (line, LinkEvent::Text(text))
                    }
                    SocketIoEvent::Reply(reply) => {
                        self.reporter.keep(|| Did::Note(format!("{text} is answered {reply}")));
                        return self.write(Message::text(reply));
                    }
                    SocketIoEvent::Nothing => return,
                }
            }
            Message::Binary(bytes) if matches!(self.socket.codec, Codec::Binary) => {
                return self.reporter.received(String::from_utf8_lossy(&bytes).into_owned());
            }
            Message::Binary(bytes) => {
                self.reporter.keep(|| Did::HearsBytes(Octets::new(&bytes, "a binary frame")));
                let line = self.reporter.note(&format!("is sent a binary frame of {} bytes", bytes.len()));
                (line, LinkEvent::Binary)
            }
            Message::Pong(bytes) => {
                let payload = String::from_utf8_lossy(&bytes).into_owned();
                let line = self.reporter.note(&format!("is sent a pong: {payload}"));
                self.reporter.keep(|| Did::Pong(payload));
                (line, LinkEvent::Pong(bytes))
            }
            Message::Close(frame) => {
                let words = match &frame {
                    Some(frame) if frame.reason.is_empty() => format!("is sent close {}", u16::from(frame.code)),
                    Some(frame) => format!("is sent close {} {:?}", u16::from(frame.code), frame.reason.as_str()),
                    None => "is sent close without a code".to_owned(),
                };
                self.reporter.note(&words);
                self.reporter.closes_with(frame.as_ref().map_or("", |frame| frame.reason.as_str()));
                return;
            }
            // tungstenite answers a ping on the next flush.
            Message::Ping(_) | Message::Frame(_) => {
                self.unflushed = true;
                self.reporter.note("is sent a ping");
                return;
            }
        };
        self.reporter.report(line, event);
    }
}

/// The broken rule, without the library's words around it.
fn words_for(error: Error) -> String {
    match error {
        Error::Protocol(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// A client's frame, masked with a zero key. `first` holds FIN, the reserved bits and the opcode.
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
