//! The connection itself: a WebSocket or a stream of events, which both pass on messages.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::{Sink, Stream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::events::Events;

/// An open signaling connection.
pub(super) enum Carried<S> {
    WebSocket(Box<WebSocketStream<S>>),
    Events(Events),
}

impl<S> Stream for Carried<S>
where
    WebSocketStream<S>: Stream<Item = Result<Message, Error>> + Unpin,
{
    type Item = Result<Message, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.get_mut() {
            Self::WebSocket(socket) => Pin::new(&mut **socket).poll_next(cx),
            Self::Events(events) => Pin::new(events).poll_next(cx),
        }
    }
}

impl<S> Sink<Message> for Carried<S>
where
    WebSocketStream<S>: Sink<Message, Error = Error> + Unpin,
{
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self.get_mut() {
            Self::WebSocket(socket) => Pin::new(&mut **socket).poll_ready(cx),
            Self::Events(events) => Pin::new(events).poll_ready(cx),
        }
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        match self.get_mut() {
            Self::WebSocket(socket) => Pin::new(&mut **socket).start_send(message),
            Self::Events(events) => Pin::new(events).start_send(message),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self.get_mut() {
            Self::WebSocket(socket) => Pin::new(&mut **socket).poll_flush(cx),
            Self::Events(events) => Pin::new(events).poll_flush(cx),
        }
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self.get_mut() {
            Self::WebSocket(socket) => Pin::new(&mut **socket).poll_close(cx),
            Self::Events(events) => Pin::new(events).poll_close(cx),
        }
    }
}
