//! A WebSocket as Engine.IO's transport: a session's first one, or the one to which it is upgraded.

use std::pin::pin;
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
use crate::access::addresses::SessionSource;
use crate::limits::Limits;
use crate::session::close::Close;
use crate::session::connection;
use crate::session::deflate::{Agreed, Codecs, Deflated};
use crate::session::dialect;
use crate::session::queue::Queue;

/// A WebSocket that a request opens.
pub(crate) struct Opening {
    pub(crate) endpoint: Arc<SocketIo>,
    /// For a session that has been polling.
    pub(crate) probe: Option<Probe>,
    /// For a new session: its address, and what it may join.
    pub(crate) entering: Option<(SessionSource, Grant)>,
}

impl Opening {
    /// Serves the WebSocket to its end. `queue` is the TCP connection's; it may request to close before there is a
    /// session. `deflate`: how messages are compressed.
    pub(crate) async fn serve<S>(
        self,
        stream: S,
        read_ahead: Vec<u8>,
        queue: &Queue,
        deflate: Option<(Agreed, &Arc<Codecs>)>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let engine = self.endpoint.engine();
        let payload_bytes_max = engine.settings.payload_bytes_max;
        let limits = Limits { message_bytes_max: payload_bytes_max, ..(*engine.registry.limits()).clone() };
        let mut socket = connection::open(stream, read_ahead, payload_bytes_max, deflate).await;
        let opened = match (self.probe, self.entering) {
            (Some(probe), _) => {
                let upgraded = tokio::select! {
                    biased;
                    () = queue.closed() => None,
                    upgraded = timeout(engine.settings.upgrade_timeout, changed_over(&mut socket, probe)) => {
                        upgraded.ok().flatten()
                    }
                };
                upgraded.ok_or(Close::Packet)
            }
            (None, Some((source, grant))) => self.endpoint.open(true, grant, source).ok_or(Close::OverCapacity),
            (None, None) => unreachable!("a WebSocket opens a session or upgrades one"),
        };
        let session = match opened {
            Ok(session) => session,
            Err(close) => {
                let farewell = async {
                    let _ = socket.close(Some(close.frame())).await;
                    connection::shut_down_tcp(&mut socket.get_mut().metered).await;
                };
                let _ = timeout(limits.close_timeout, farewell).await;
                return;
            }
        };
        if engine.registry.is_over_capacity() {
            session.queue.close(Close::OverCapacity);
        }
        let (output, metrics) = (Arc::clone(&session.queue), &engine.registry.metrics);
        let kept = Arc::clone(&session);
        let session = Box::new(SessionOnWebSocket(session));
        let mut running = pin!(connection::run(socket, session, output, queue, &limits, None, metrics));
        tokio::select! {
            biased;
            _ = &mut running => return,
            // Another connection needs the place of this one.
            () = queue.displaced() => kept.close(Close::Displaced),
        }
        running.await;
    }
}

/// Awaits the probe, answers it, and awaits the upgrade packet. `None` if another packet arrives.
async fn changed_over<S>(socket: &mut WebSocketStream<Deflated<S>>, probe: Probe) -> Option<Arc<Session>>
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
async fn next<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<Deflated<S>>) -> Option<String> {
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

    fn has_joined(&self) -> bool {
        self.0.has_joined()
    }
}

impl Drop for SessionOnWebSocket {
    fn drop(&mut self) {
        self.0.end();
    }
}
