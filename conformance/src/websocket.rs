//! Our own WebSocket client: a task per connection that writes what it is told, breaks the rules when it is told to,
//! answers pings and notes all that arrives at the moment it arrives.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncWrite;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::dial::{DynDial, Stream};
use crate::target::Target;
use crate::transcript::{Log, What};

/// More than any correct server sends a client in a case.
const MESSAGES_MAX: usize = 20_000;
/// The same in bytes.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// What a connection is told to do.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    Text(String),
    Binary(Bytes),
    Ping(&'static [u8]),
    Close(u16),
    /// Bytes past the WebSocket layer, with the words for them.
    Raw(Bytes, &'static str),
}

/// What a connection tells, with the line of the log that shows it.
#[derive(Debug)]
pub(crate) enum News {
    Text(String),
    Binary,
    Pong(Bytes),
    /// It is over; nothing follows.
    End(End),
}

/// How a connection came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A close frame came, perhaps with a code, and then the end of TCP.
    Closed(Option<u16>),
    /// TCP ended or broke without one.
    Lost,
    /// The server broke the framing rules.
    Broken(String),
    /// More came than we want to keep.
    Flood,
}

/// Opens a WebSocket.
///
/// # Errors
/// What went wrong, in words that fit behind "tried to: ".
pub(crate) async fn open(
    dial: &dyn DynDial,
    target: &Target,
    patience: Duration,
) -> Result<WebSocketStream<Box<dyn Stream>>, String> {
    let (host, port) = (target.host(), target.port());
    let stream = match timeout(patience, dial.dial_boxed(host, port)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(format!("TCP to {host} port {port}: {}", io_words(&error))),
        Err(_) => return Err(format!("TCP to {host} port {port}: no answer within {} s", patience.as_secs())),
    };
    let config = WebSocketConfig::default().read_buffer_size(8 * 1024);
    let handshake = client_async_with_config(target.url(), stream, Some(config));
    let upgrade = "TCP is accepted; to the WebSocket upgrade the server";
    match timeout(patience, handshake).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(Error::Http(response))) => Err(format!("{upgrade} answers HTTP {}", response.status())),
        Ok(Err(Error::Protocol(ProtocolError::HandshakeIncomplete))) => {
            Err(format!("{upgrade} answers nothing and closes the connection"))
        }
        Ok(Err(Error::Io(error))) => Err(format!("{upgrade} answers nothing: {}", io_words(&error))),
        Ok(Err(error)) => Err(format!("{upgrade} answers something else than a WebSocket handshake: {error}")),
        Err(_) => Err(format!("{upgrade} answers nothing within {} s", patience.as_secs())),
    }
}

fn io_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        _ => error.to_string(),
    }
}

/// One connection's task.
pub(crate) struct Connection {
    pub(crate) socket: WebSocketStream<Box<dyn Stream>>,
    pub(crate) orders: UnboundedReceiver<Order>,
    pub(crate) news: UnboundedSender<(usize, News)>,
    pub(crate) log: Log,
    pub(crate) client: usize,
    /// To be written past the WebSocket layer.
    pub(crate) raw: Bytes,
    pub(crate) unflushed: bool,
}

enum Event {
    /// Nobody wants this connection any more.
    Dropped,
    Read(Option<Result<Message, Error>>),
}

impl Connection {
    /// Runs until the connection ends, or its owner drops the sender of orders: then TCP ends without a close frame.
    pub(crate) async fn run(mut self) {
        let (mut messages, mut bytes) = (0, 0);
        let mut close = None;
        loop {
            let read = match poll_fn(|cx| self.poll(cx)).await {
                Event::Dropped => return,
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
            match self.orders.poll_recv(cx) {
                Poll::Ready(Some(order)) => self.obey(order),
                Poll::Ready(None) => return Poll::Ready(Event::Dropped),
                Poll::Pending => break,
            }
        }
        self.socket.poll_next_unpin(cx).map(Event::Read)
    }

    fn obey(&mut self, order: Order) {
        let note = |text: &str| self.log.push(self.client, What::Note, text);
        let message = match order {
            Order::Text(text) => {
                self.log.push(self.client, What::Sends, &text);
                Message::text(text)
            }
            Order::Binary(bytes) => {
                note(&format!("sends a binary frame: {}", String::from_utf8_lossy(&bytes)));
                Message::Binary(bytes)
            }
            Order::Ping(payload) => {
                note(&format!("pings: {}", String::from_utf8_lossy(payload)));
                Message::Ping(Bytes::from_static(payload))
            }
            Order::Close(code) => {
                note(&format!("closes with {code}"));
                Message::Close(Some(CloseFrame { code: code.into(), reason: Utf8Bytes::from_static("") }))
            }
            Order::Raw(bytes, words) => {
                note(&format!("sends {words}"));
                self.raw = bytes;
                return;
            }
        };
        // A connection that is closing takes nothing more; the reading side tells.
        if self.socket.start_send_unpin(message).is_ok() {
            self.unflushed = true;
        }
    }

    fn tell(&mut self, message: Message) {
        let (line, news) = match message {
            Message::Text(text) => (self.log.push(self.client, What::Hears, &text), News::Text(text.to_string())),
            Message::Binary(bytes) => {
                (self.note(&format!("is sent a binary frame of {} bytes", bytes.len())), News::Binary)
            }
            Message::Pong(bytes) => {
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
