//! A client's connection for a load test: polled for messages in both directions, as they are on the wire. Nothing is
//! kept.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::link::{Command, End, Link, LinkEvent, Logged};
use super::socket::{Codec, Socket};
use super::socketio::{self, SocketIoEvent};
use crate::dialect::{Act, Dialect, EventName, Operation};

/// The connection of a client that has joined and may signal. Nothing happens on it unless it is polled: without calls
/// to [`poll_next`](Self::poll_next) the client does not read.
pub struct Wire {
    carrier: Carrier,
    dialect: Arc<Dialect>,
    unflushed: bool,
}

enum Carrier {
    Socket(Box<Socket>),
    /// Framings other than WebSocket keep a task of their own.
    Task(Link),
}

/// What arrives on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// A message as on the wire, including its framing.
    Message(Bytes),
    /// The connection has ended, with the reason in words; nothing follows.
    End(String),
}

impl Wire {
    pub(crate) fn of_socket(socket: Socket, dialect: &Arc<Dialect>) -> Self {
        Self { carrier: Carrier::Socket(Box::new(socket)), dialect: Arc::clone(dialect), unflushed: false }
    }

    pub(crate) fn of_task(link: Link, dialect: &Arc<Dialect>) -> Self {
        Self { carrier: Carrier::Task(link), dialect: Arc::clone(dialect), unflushed: false }
    }

    /// A message of the dialect as it goes over the wire.
    pub(crate) fn framed(&self, message: String) -> String {
        match &self.carrier {
            Carrier::Socket(socket) => match &socket.codec {
                Codec::SocketIo(_) => socketio::packet(&message),
                Codec::Text | Codec::Binary => message,
            },
            Carrier::Task(_) => message,
        }
    }

    /// Ready when a message can be accepted: not while the server does not read. Also ready when the connection has
    /// ended.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.carrier {
            Carrier::Socket(socket) => socket.stream.poll_ready_unpin(cx).map(drop),
            Carrier::Task(_) => Poll::Ready(()),
        }
    }

    /// Accepts a message as on the wire; [`poll_flush`](Self::poll_flush) sends it. If the connection has ended, the
    /// message is lost.
    pub fn send(&mut self, frame: String) {
        match &mut self.carrier {
            Carrier::Socket(socket) => {
                let message = match socket.codec {
                    Codec::Binary => Message::Binary(frame.into_bytes().into()),
                    Codec::Text | Codec::SocketIo(_) => Message::text(frame),
                };
                // The reading side reports why sending failed.
                self.unflushed |= socket.stream.start_send_unpin(message).is_ok();
            }
            Carrier::Task(link) => {
                let _ = link.commands.send(Command::Text(frame));
            }
        }
    }

    /// Sends the accepted messages. Also ready when the connection has ended.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Carrier::Socket(socket) = &mut self.carrier else { return Poll::Ready(()) };
        if self.unflushed && socket.stream.poll_flush_unpin(cx).is_pending() {
            return Poll::Pending;
        }
        self.unflushed = false;
        Poll::Ready(())
    }

    /// The next arrival. Also sends the heartbeat of the dialect.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        loop {
            let message = match &mut self.carrier {
                Carrier::Task(link) => match std::task::ready!(link.events.poll_recv(cx)) {
                    Some(Logged { event: LinkEvent::Text(text), .. }) => {
                        return Poll::Ready(Arrival::Message(text.into()));
                    }
                    Some(Logged { event: LinkEvent::End(end), .. }) => return Poll::Ready(Arrival::End(words(&end))),
                    Some(_) => continue,
                    None => return Poll::Ready(Arrival::End(words(&End::Lost))),
                },
                Carrier::Socket(socket) => {
                    if let Some((interval, ping)) = &mut socket.beat
                        && interval.poll_tick(cx).is_ready()
                    {
                        let ping = ping.clone();
                        self.send_text(ping);
                        continue;
                    }
                    let message = socket.stream.poll_next_unpin(cx);
                    // Reading also writes pongs; nothing else is to be done for them.
                    std::task::ready!(message)
                }
            };
            return Poll::Ready(match message {
                Some(Ok(Message::Text(text))) => Arrival::Message(text.into()),
                Some(Ok(Message::Binary(bytes))) => Arrival::Message(bytes),
                Some(Ok(Message::Close(frame))) => {
                    let code = frame.as_ref().map(|frame| u16::from(frame.code));
                    let reason = frame.map(|frame| frame.reason.to_string()).filter(|reason| !reason.is_empty());
                    let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
                    Arrival::End(words(&End::Closed(code)) + &reason)
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {
                    self.unflushed = true;
                    continue;
                }
                Some(Err(_)) | None => Arrival::End(words(&End::Lost)),
            });
        }
    }

    /// Handles a message that is not one of the caller's own signals: answers it if the dialect requires that. Returns its
    /// text if it is an error.
    pub fn take_in(&mut self, message: &[u8]) -> Option<String> {
        let text = str::from_utf8(message).ok()?;
        let message = match &mut self.carrier {
            Carrier::Socket(socket) => match &mut socket.codec {
                Codec::SocketIo(codec) => match codec.decode(text) {
                    SocketIoEvent::Message(text) => Some(text),
                    SocketIoEvent::Reply(reply) => {
                        self.send(reply);
                        return None;
                    }
                    SocketIoEvent::Nothing => return None,
                },
                Codec::Text | Codec::Binary => None,
            },
            Carrier::Task(_) => None,
        };
        let text = message.as_deref().unwrap_or(text);
        let event = self.dialect.read(text);
        if event.is(EventName::Ping)
            && let Ok(pong) = self.dialect.render(Operation::Pong, &Act::default(), &Default::default())
        {
            self.send_text(pong);
        }
        let error = event.is_error().then(|| text.to_owned());
        if let Some(reply) = event.reply {
            self.send_text(reply);
        }
        error
    }

    /// Closes the connection cleanly, within a time limit.
    pub async fn close(self, patience: Duration) {
        match self.carrier {
            Carrier::Socket(mut socket) => {
                let frame = CloseFrame { code: 1000.into(), reason: Utf8Bytes::from_static("") };
                let closing = async {
                    if socket.stream.close(Some(frame)).await.is_ok() {
                        while let Some(Ok(_)) = socket.stream.next().await {}
                    }
                };
                let _ = timeout(patience, closing).await;
            }
            Carrier::Task(mut link) => {
                let _ = link.commands.send(Command::Close(1000));
                let is_end = |logged: &Logged| matches!(logged.event, LinkEvent::End(_));
                let ended = async { while link.events.recv().await.is_some_and(|logged| !is_end(&logged)) {} };
                let _ = timeout(patience, ended).await;
            }
        }
    }

    fn send_text(&mut self, message: String) {
        let frame = self.framed(message);
        self.send(frame);
    }
}

fn words(end: &End) -> String {
    match end {
        End::Closed(Some(code)) => format!("closed with {code}"),
        End::Closed(None) => "closed without a code".to_owned(),
        End::Lost => "lost".to_owned(),
        End::Broken(why) => format!("broken: {why}"),
        End::Flood => "ended for a flood".to_owned(),
    }
}
