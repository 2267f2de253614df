//! Does to real connections what a simulated network does between a client and the server: a TCP proxy for each client.
//!
//! A proxy delays bytes in each direction and can hold them back. When its client's machine loses power, the server
//! receives nothing more, not even a FIN. When the machine is back, it answers with RST whatever belongs to a
//! connection that it does not know (RFC 9293 §3.5.1). Each piece of bytes that the proxy passes on is recorded as a
//! packet, so that oracles know what is in flight.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use scenarios::Link;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::network::Place;
use super::upstream::Upstream;
use crate::event::{Drop, NodeId, PacketEvent, PacketId, PacketView, Protocol, Recorder, What};
use crate::hash::digest;

/// Maximum size of a piece, bytes.
const PIECE_BYTES: usize = 16 * 1024;
/// Maximum number of pieces that wait for their time. While so many wait, the proxy does not read from the sender.
const PIECES_MAX: usize = 256;
/// TCP's control bits. RFC 9293 §3.1.
const SYN: u8 = 2;
const FIN_ACK: u8 = 17;
const PSH_ACK: u8 = 24;

/// A direction through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    ToServer,
    ToClient,
}

/// The proxy of one client. Its connections end when the runtime does.
pub(super) struct Proxy {
    /// The address that the client dials.
    pub(super) address: SocketAddrV4,
    shared: Arc<Shared>,
}

struct Shared {
    recorder: Recorder,
    client: NodeId,
    server: NodeId,
    address: SocketAddrV4,
    upstream: Upstream,
    packets: Arc<AtomicU32>,
    state: Mutex<State>,
    /// Notified when the state changes.
    changed: Notify,
}

struct State {
    link: Link,
    rng: ChaCha8Rng,
    held: [bool; 2],
    /// Number of the current life of the client's machine; below, whether it has power.
    life: u32,
    has_power: bool,
}

/// The state of a connection as seen from the client's machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    Alive,
    /// The machine has no power.
    Dead,
    /// The machine has rebooted and does not know the connection.
    Forgotten,
}

/// A piece of bytes in one direction, or the end of the stream.
struct Piece {
    what: Content,
    due: Instant,
    view: PacketView,
}

enum Content {
    Some(Vec<u8>),
    End,
}

/// The error that makes both sides of a connection be reset.
struct Reset;

impl Proxy {
    /// Starts a proxy in front of a server for one client. `packets` numbers the pieces, over all proxies of a run.
    pub(super) async fn start(
        recorder: Recorder,
        [client, server]: [NodeId; 2],
        upstream: Upstream,
        link: Link,
        seed: u64,
        packets: Arc<AtomicU32>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddrV4::new(Place::LOOPBACK, 0)).await?;
        let SocketAddr::V4(address) = listener.local_addr()? else { return Err(io::ErrorKind::Unsupported.into()) };
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let state = Mutex::new(State { link, rng, held: [false; 2], life: 0, has_power: false });
        let changed = Notify::new();
        let shared = Arc::new(Shared { recorder, client, server, address, upstream, packets, state, changed });
        let accepting = shared.clone();
        tokio::spawn(async move {
            while let Ok((stream, SocketAddr::V4(from))) = listener.accept().await {
                tokio::spawn(accepting.clone().carry(stream, from));
            }
        });
        Ok(Self { address, shared })
    }

    /// Powers the client's machine on. It does not know any earlier connection.
    pub(super) fn power_on(&self) {
        self.shared.change(|state| (state.life, state.has_power) = (state.life + 1, true));
    }

    /// Cuts the power of the client's machine. Must be called before its sockets close.
    pub(super) fn power_off(&self) {
        self.shared.change(|state| state.has_power = false);
    }

    /// Holds back the bytes in one direction, or lets them pass again.
    pub(super) fn hold(&self, way: Way, held: bool) {
        self.shared.change(|state| state.held[way as usize] = held);
    }

    /// Changes the delay of each direction.
    pub(super) fn set_link(&self, link: Link) {
        self.shared.change(|state| state.link = link);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding the state")
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_waiters();
    }

    fn stand(&self, life: u32) -> Stand {
        let state = self.state();
        match (state.life == life, state.has_power) {
            (true, true) => Stand::Alive,
            (false, true) => Stand::Forgotten,
            (_, false) => Stand::Dead,
        }
    }

    /// Carries one connection until it ends.
    async fn carry(self: Arc<Self>, mut client: TcpStream, from: SocketAddrV4) {
        let life = self.state().life;
        let _ = client.set_nodelay(true);
        let syn = self.sent(Way::ToServer, from, SYN, &[]);
        self.pass(Way::ToServer, self.due(Way::ToServer, Instant::now())).await;
        let mut server = match self.upstream.connect().await {
            Ok(server) => server,
            Err(_) => {
                self.dropped(Way::ToServer, syn);
                // With zero linger, the close sends an RST.
                let _ = client.set_zero_linger();
                return;
            }
        };
        self.delivered(Way::ToServer, syn);
        let ended = {
            let (mut from_client, mut to_client) = client.split();
            let (mut from_server, mut to_server) = tokio::io::split(&mut server);
            tokio::try_join!(
                self.carry_one_way(Way::ToServer, from, life, &mut from_client, &mut to_server),
                self.carry_one_way(Way::ToClient, from, life, &mut from_server, &mut to_client),
            )
        };
        if let Err(Reset) = ended {
            let _ = client.set_zero_linger();
            let _ = server.tcp().set_zero_linger();
        }
    }

    /// Reads on one side and writes on the other when each piece is due, until the end of the stream has been passed
    /// on.
    async fn carry_one_way(
        &self,
        way: Way,
        client: SocketAddrV4,
        life: u32,
        source: &mut (impl AsyncRead + Unpin),
        target: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), Reset> {
        let pieces: Mutex<VecDeque<Piece>> = Mutex::default();
        let lock = || pieces.lock().expect("nobody panics while holding the pieces");
        let (more, room) = (Notify::new(), Notify::new());
        let reading = async {
            let mut buffer = vec![0; PIECE_BYTES];
            let mut due = Instant::now();
            loop {
                while lock().len() >= PIECES_MAX {
                    room.notified().await;
                }
                let read = source.read(&mut buffer).await;
                if way == Way::ToServer && self.stand(life) != Stand::Alive {
                    // A machine without power sends nothing: this is only the close of its sockets.
                    return std::future::pending().await;
                }
                let bytes = &buffer[..*read.as_ref().map_err(|_| Reset)?];
                due = due.max(self.due(way, Instant::now()));
                let flags = if bytes.is_empty() { FIN_ACK } else { PSH_ACK };
                let view = self.sent(way, client, flags, bytes);
                let what = if bytes.is_empty() { Content::End } else { Content::Some(bytes.to_vec()) };
                let is_end = bytes.is_empty();
                lock().push_back(Piece { what, due, view });
                more.notify_one();
                if is_end {
                    return Ok::<(), Reset>(());
                }
            }
        };
        let writing = async {
            loop {
                let Some(Piece { what, due, view }) = lock().pop_front() else {
                    more.notified().await;
                    continue;
                };
                room.notify_one();
                self.pass(way, due).await;
                let stand = if way == Way::ToClient { self.stand(life) } else { Stand::Alive };
                match (stand, what) {
                    (Stand::Alive, Content::Some(bytes)) => {
                        if target.write_all(&bytes).await.is_err() || target.flush().await.is_err() {
                            self.dropped(way, view);
                            return Err(Reset);
                        }
                        self.delivered(way, view);
                    }
                    (Stand::Alive, Content::End) => {
                        let _ = target.shutdown().await;
                        self.delivered(way, view);
                        return Ok(());
                    }
                    (Stand::Dead, Content::Some(_)) => self.dropped(way, view),
                    (Stand::Forgotten, _) | (Stand::Dead, Content::End) => {
                        self.dropped(way, view);
                        return Err(Reset);
                    }
                }
            }
        };
        tokio::try_join!(reading, writing).map(|_| ())
    }

    /// The arrival time of what is sent now.
    fn due(&self, way: Way, now: Instant) -> Instant {
        let mut state = self.state();
        let settings = match way {
            Way::ToServer => state.link.up,
            Way::ToClient => state.link.down,
        };
        // Other distributions are refused before the run.
        let jitter_ms = settings.jitter.usual_max().as_millis() as u64 + 1;
        let drawn = state.rng.next_u64() % jitter_ms;
        now + settings.latency + Duration::from_millis(drawn)
    }

    /// Waits until a piece is due and its direction is not held back.
    async fn pass(&self, way: Way, due: Instant) {
        sleep_until(due).await;
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if !self.state().held[way as usize] {
                return;
            }
            changed.await;
        }
    }

    // ---- the record

    fn sent(&self, way: Way, client: SocketAddrV4, flags: u8, bytes: &[u8]) -> PacketView {
        let (src, dst) = match way {
            Way::ToServer => (client, self.address),
            Way::ToClient => (self.address, client),
        };
        let packet = PacketId(self.packets.fetch_add(1, Relaxed));
        let (src, dst) = (SocketAddr::V4(src).into(), SocketAddr::V4(dst).into());
        let length = u16::try_from(bytes.len()).expect("a piece is smaller than that");
        let view =
            PacketView { packet, protocol: Protocol::Tcp, flags, src, dst, bytes: length, digest: digest(bytes) };
        self.write(way, true, PacketEvent::Sent(view));
        view
    }

    fn delivered(&self, way: Way, view: PacketView) {
        self.write(way, false, PacketEvent::Delivered(view));
    }

    fn dropped(&self, way: Way, view: PacketView) {
        self.write(way, false, PacketEvent::Dropped { packet: view.packet, why: Drop::HostDown });
    }

    /// Records an event at one end: where a piece is sent if `sets_out`, otherwise where it arrives.
    fn write(&self, way: Way, sets_out: bool, event: PacketEvent) {
        let node = if (way == Way::ToServer) == sets_out { self.client } else { self.server };
        self.recorder.write(node, What::Packet(event));
    }
}
