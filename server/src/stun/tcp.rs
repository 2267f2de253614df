//! STUN Binding and TURN over TCP and TLS: consecutive messages in the stream. The length of a STUN message is in its header, and
//! so is that of TURN's ChannelData, without its padding.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

use super::binding::{self, Origin, answer};
use super::message::{HEADER_BYTES, MAGIC_COOKIE, Message, u16_at};
use crate::access::addresses::Source;
use crate::net::{Listener, Network};
use crate::session::queue::Queue;
use crate::session::registry::Registration;
use crate::tls::Tls;
use crate::turn::{CHANNEL_HEADER_BYTES, DATAGRAM_BYTES_MAX, FiveTuple, Relaying, Transport, Turn};
use crate::{ACCEPT_RETRY, AcceptFailures, Shared, proxied};

/// Maximum length of a message without TURN. A longer one ends the connection.
const MESSAGE_BYTES_MAX: usize = 2048;
/// Maximum length of a message with TURN: a datagram in a Send indication, with some other attributes.
const TURN_MESSAGE_BYTES_MAX: usize = DATAGRAM_BYTES_MAX + 512;
/// Time limit between two complete messages, unless the client has an allocation. Others keep connections open only while
/// they set up a call.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Accepts connections until the server stops, and spawns a task for each: over TLS, or over TCP alone.
pub(crate) async fn serve<N: Network>(
    net: N,
    listener: N::Listener,
    tls: Option<Tls>,
    turn: Option<Arc<Turn<N>>>,
    shared: Arc<Shared>,
) {
    let mut failures = AcceptFailures::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.stop.stopped() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                let Some(registration) = shared.registry.open(from.ip()) else { continue };
                let Ok(own) = listener.local_addr() else { continue };
                let accepted = Accepted { own, registration, tls: tls.as_ref().map(Tls::stun_acceptor) };
                let (shared, turn) = (Arc::clone(&shared), turn.clone());
                if shared.guard.begins_with_header(from.ip()) {
                    net.spawn(async move {
                        let mut stream = stream;
                        let Some(client) = proxied(&mut stream, from, &accepted.registration, &shared).await else {
                            return;
                        };
                        let source = shared.guard.enter(client.ip());
                        if shared.registry.is_over_capacity() || source.request().is_err() {
                            return;
                        }
                        accepted.serve(stream, client, source, turn, &shared).await;
                    });
                    continue;
                }
                let source = shared.guard.enter(from.ip());
                if shared.registry.is_over_capacity() || source.request().is_err() {
                    continue;
                }
                net.spawn(async move { accepted.serve(stream, from, source, turn, &shared).await });
            }
            Err(error) => {
                failures.warn("stun", &error);
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// A connection that was accepted.
struct Accepted {
    own: SocketAddr,
    registration: Registration,
    tls: Option<TlsAcceptor>,
}

impl Accepted {
    /// Serves it until it ends, the server stops, or another connection needs its place.
    async fn serve<N: Network>(
        self,
        stream: N::Stream,
        from: SocketAddr,
        source: Source,
        turn: Option<Arc<Turn<N>>>,
        shared: &Shared,
    ) {
        let Self { own, registration, tls } = self;
        let (limits, queue) = (shared.registry.limits(), &registration.queue);
        let ended = async {
            let Some(tls) = tls else {
                return serve_connection(stream, from, Transport::Tcp, own, turn.as_ref(), queue, limits.write_timeout)
                    .await;
            };
            match timeout(limits.handshake_timeout, tls.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let transport = Transport::Tls;
                    serve_connection(stream, from, transport, own, turn.as_ref(), queue, limits.write_timeout).await
                }
                Ok(Err(error)) => {
                    shared.registry.metrics.refused.count("tls-handshake");
                    Err(error)
                }
                Err(_) => {
                    shared.registry.metrics.refused.count("tls-timeout");
                    Err(io::ErrorKind::TimedOut.into())
                }
            }
        };
        tokio::select! {
            biased;
            () = shared.stop.stopped() => {}
            // Another connection needs the place.
            () = queue.closed() => {}
            ended = ended => tracing::trace!(%from, ?ended, "STUN connection ended"),
        }
        drop((registration, source));
    }
}

/// Serves one connection until it ends, is idle, or is not STUN.
async fn serve_connection<N: Network, S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    from: SocketAddr,
    transport: Transport,
    own: SocketAddr,
    turn: Option<&Arc<Turn<N>>>,
    queue: &Queue,
    write_timeout: Duration,
) -> io::Result<()> {
    let five_tuple = FiveTuple { client: from, server: None, transport };
    let Some(turn) = turn else {
        let (_keep, outgoing) = mpsc::channel(1);
        return Connection::<N, S> { stream, five_tuple, own, turn: None, queue, outgoing, write_timeout }
            .serve()
            .await;
    };
    /// Ends what the client has, also if the server stops first.
    struct Entered<'t, N: Network>(&'t Turn<N>, FiveTuple);
    impl<N: Network> Drop for Entered<'_, N> {
        fn drop(&mut self) {
            self.0.disconnected(self.1);
        }
    }
    let outgoing = turn.connected(five_tuple);
    let _entered = Entered(turn, five_tuple);
    Connection { stream, five_tuple, own, turn: Some(turn), queue, outgoing, write_timeout }.serve().await
}

/// A connection of a client.
struct Connection<'t, N: Network, S> {
    stream: S,
    five_tuple: FiveTuple,
    own: SocketAddr,
    turn: Option<&'t Arc<Turn<N>>>,
    /// Holds the connection's place in the registry.
    queue: &'t Queue,
    /// What peers send to the client.
    outgoing: mpsc::Receiver<Vec<u8>>,
    write_timeout: Duration,
}

/// What a connection waits for.
enum Next {
    Messages,
    Outgoing(Vec<u8>),
    End,
}

impl<N: Network, S: AsyncRead + AsyncWrite + Unpin> Connection<'_, N, S> {
    async fn serve(mut self) -> io::Result<()> {
        let has_turn = self.turn.is_some();
        let bytes_max = if has_turn { TURN_MESSAGE_BYTES_MAX } else { MESSAGE_BYTES_MAX };
        let (mut received, mut filled) = (vec![0; bytes_max], 0);
        let mut answers = Vec::new();
        let mut idle = Instant::now() + IDLE_TIMEOUT;
        let mut keeps_its_place = false;
        loop {
            let next = tokio::select! {
                biased;
                Some(message) = self.outgoing.recv() => Next::Outgoing(message),
                read = timeout_at(idle, read_message(&mut self.stream, &mut received, &mut filled, has_turn)) => match read {
                    Ok(read) => if read? { Next::Messages } else { Next::End },
                    Err(_) if self.has_allocation() => {
                        idle = Instant::now() + IDLE_TIMEOUT;
                        continue;
                    }
                    Err(_) => Next::End,
                },
            };
            match next {
                Next::Messages => {
                    idle = Instant::now() + IDLE_TIMEOUT;
                    let unframed = self.answer_all(&mut received, &mut filled, &mut answers).await;
                    self.write(&answers).await?;
                    answers.clear();
                    unframed?;
                    // Others need its place no more than that of a client that has joined.
                    if !keeps_its_place && self.has_allocation() {
                        keeps_its_place = true;
                        self.queue.joined();
                    }
                }
                Next::Outgoing(message) => self.write(&message).await?,
                Next::End => break,
            }
        }
        timeout_at(Instant::now() + self.write_timeout, self.stream.shutdown()).await?
    }

    fn has_allocation(&self) -> bool {
        self.turn.is_some_and(|turn| turn.has_allocation(self.five_tuple))
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let writing = async {
            self.stream.write_all(bytes).await?;
            // TLS keeps what it could not send.
            self.stream.flush().await
        };
        timeout_at(Instant::now() + self.write_timeout, writing).await?
    }

    /// Handles all messages that are complete. Requests from one segment are answered in one segment.
    ///
    /// # Errors
    /// What follows is no message.
    async fn answer_all(&mut self, received: &mut [u8], filled: &mut usize, answers: &mut Vec<u8>) -> io::Result<()> {
        let (mut at, mut one) = (0, Vec::new());
        let mut relaying = Relaying::default();
        let ended = loop {
            match framed(&received[at..*filled], self.turn.is_some()) {
                Ok(Some(length)) => {
                    if self.answer(&received[at..at + length], &mut relaying, &mut one).await {
                        answers.extend_from_slice(&one);
                    }
                    at += length;
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if let Some(turn) = self.turn {
            turn.relay(&mut relaying);
        }
        received.copy_within(at..*filled, 0);
        *filled -= at;
        ended
    }

    /// Handles a message. Returns whether `out` is an answer to it.
    async fn answer(&mut self, bytes: &[u8], relaying: &mut Relaying<N>, out: &mut Vec<u8>) -> bool {
        let origin = Origin { addresses: &[self.own], index: 0 };
        let Some(turn) = self.turn else { return answer(bytes, self.five_tuple.client, origin, out).is_some() };
        if is_channel_data(bytes) {
            turn.on_channel_data(bytes, self.five_tuple, relaying);
            return false;
        }
        match Message::parse(bytes) {
            Some(message) if !binding::is_binding(&message) => {
                turn.on_message(&message, self.five_tuple, relaying, out).await
            }
            _ => answer(bytes, self.five_tuple.client, origin, out).is_some(),
        }
    }
}

/// Reads until there is a complete message; false at the end of the stream.
async fn read_message<S: AsyncRead + Unpin>(
    stream: &mut S,
    received: &mut [u8],
    filled: &mut usize,
    has_turn: bool,
) -> io::Result<bool> {
    while framed(&received[..*filled], has_turn)?.is_none() {
        let read = stream.read(&mut received[*filled..]).await?;
        if read == 0 {
            return Ok(false);
        }
        *filled += read;
    }
    Ok(true)
}

/// Whether a message is ChannelData of TURN, by its first byte (RFC 8656 §12).
fn is_channel_data(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(0x40..=0x7f))
}

/// The length of the first message in `bytes` with its padding, once it is complete.
///
/// # Errors
/// It cannot become a valid message. The next message cannot be found, so the connection must end.
fn framed(bytes: &[u8], has_turn: bool) -> io::Result<Option<usize>> {
    let no_stun = || io::Error::new(io::ErrorKind::InvalidData, "not STUN");
    let is_data = has_turn && is_channel_data(bytes);
    if !is_data && bytes.first().is_some_and(|first| first & 0xc0 != 0) {
        return Err(no_stun());
    }
    if !is_data && bytes.get(4..8).is_some_and(|cookie| cookie != MAGIC_COOKIE) {
        return Err(no_stun());
    }
    let Some(length) = u16_at(bytes, 2).map(usize::from) else { return Ok(None) };
    //= https://www.rfc-editor.org/rfc/rfc8656#section-12.5
    //# the actual size of a
    //# ChannelData message (including padding) is (4 + Length) rounded up to
    //# the nearest multiple of 4
    let length = if is_data { CHANNEL_HEADER_BYTES + length.next_multiple_of(4) } else { HEADER_BYTES + length };
    let bytes_max = if has_turn { TURN_MESSAGE_BYTES_MAX } else { MESSAGE_BYTES_MAX };
    if length > bytes_max || !length.is_multiple_of(4) {
        return Err(no_stun());
    }
    Ok((bytes.len() >= length).then_some(length))
}
