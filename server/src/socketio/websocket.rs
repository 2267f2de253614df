//! A WebSocket as Engine.IO's transport: a session's first one, or the one to which it is upgraded.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::engine::{PROBE, Packet};
use super::session::{Probe, Session};
use super::sessions::SocketIo;
use crate::access::Grant;
use crate::limits::Limits;
use crate::session::close::Close;
use crate::session::connection;
use crate::session::dialect;
use crate::session::queue::Queue;

/// A WebSocket that a request opens.
pub(crate) struct Opening {
    pub(crate) endpoint: Arc<SocketIo>,
    /// For a session that has been polling.
    pub(crate) probe: Option<Probe>,
    /// What a new session may join.
    pub(crate) grant: Grant,
}

impl Opening {
    /// Serves the WebSocket to its end. `queue` is the TCP connection's; it may request to close before there is a
    /// session.
    pub(crate) async fn serve<S>(self, stream: S, read_ahead: Vec<u8>, queue: &Queue)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let engine = self.endpoint.engine();
        let payload_bytes_max = engine.settings.payload_bytes_max;
        let limits = Limits { message_bytes_max: payload_bytes_max, ..engine.limits.clone() };
        let mut socket = connection::open(stream, read_ahead, payload_bytes_max).await;
        let session = match self.probe {
            None => self.endpoint.open(true, self.grant),
            Some(probe) => {
                let upgraded = tokio::select! {
                    biased;
                    () = queue.closed() => None,
                    upgraded = timeout(engine.settings.upgrade_timeout, changed_over(&mut socket, probe)) => {
                        upgraded.ok().flatten()
                    }
                };
                let Some(session) = upgraded else {
                    let farewell = async {
                        let _ = socket.close(Some(Close::Packet.frame())).await;
                        connection::shut_down_tcp(socket.get_mut()).await;
                    };
                    let _ = timeout(limits.close_timeout, farewell).await;
                    return;
                };
                session
            }
        };
        if engine.registry.connections() > limits.connections_max {
            session.queue.close(Close::OverCapacity);
        }
        let queue = Arc::clone(&session.queue);
        connection::run(socket, Box::new(SessionOnWebSocket(session)), queue, &limits, None, &engine.registry.metrics)
            .await;
    }
}

/// Awaits the probe, answers it, and awaits the upgrade packet. `None` if another packet arrives.
async fn changed_over<S>(socket: &mut WebSocketStream<S>, probe: Probe) -> Option<Arc<Session>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if next(socket).await? != Packet::Ping(PROBE).to_string() {
        return None;
    }
    socket.send(Message::text(Packet::Pong(PROBE).to_string())).await.ok()?;
    probe.release();
    match Packet::parse(&next(socket).await?) {
        Ok(Packet::Upgrade) => probe.upgrade().ok(),
        _ => None,
    }
}

/// The next text; `None` if something else arrives.
async fn next<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) -> Option<String> {
    loop {
        match socket.next().await? {
            Ok(Message::Text(text)) => return Some(text.to_string()),
            Ok(Message::Ping(_) | Message::Pong(_)) => {}
            _ => return None,
        }
    }
}

/// A session on its WebSocket. Both end together.
struct SessionOnWebSocket(Arc<Session>);

impl dialect::Session for SessionOnWebSocket {
    fn text(&mut self, text: &str) {
        self.0.receive(Packet::parse(text));
    }

    fn binary(&mut self, data: Bytes) -> Result<(), Close> {
        self.0.receive_binary(data);
        Ok(())
    }

    /// The keeper checks the join timeout.
    fn has_joined(&self) -> bool {
        true
    }
}

impl Drop for SessionOnWebSocket {
    fn drop(&mut self) {
        self.0.end();
    }
}
