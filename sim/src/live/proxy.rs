//! What a simulated network does between a client and the server, done to real connections: a TCP proxy of the client's own.
//!
//! It takes time for each way, holds bytes back, and plays dead when its client's machine loses power: then the server hears nothing, not even
//! a FIN, until the machine is back and answers with RST what it knows nothing of (RFC 9293 §3.5.1). Each piece of bytes that it passes
//! on goes into the record as a packet, so that oracles know what is under way.

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

use super::network::Loopback;
use super::upstream::Upstream;
use crate::event::{Drop, NodeId, PacketEvent, PacketId, PacketView, Protocol, Recorder, What};
use crate::hash::digest;

/// Bytes that are passed on in one piece.
const PIECE_BYTES: usize = 16 * 1024;
/// Pieces that wait for their time; who sends more waits too.
const PIECES_MAX: usize = 256;
/// TCP's control bits. RFC 9293 §3.1.
const SYN: u8 = 2;
const FIN_ACK: u8 = 17;
const PSH_ACK: u8 = 24;

/// A way through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    ToServer,
    ToClient,
}

/// The proxy of one client. Its connections end with the runtime.
pub(super) struct Proxy {
    /// Where the client dials.
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
    /// The state has changed.
    changed: Notify,
}

struct State {
    link: Link,
    rng: ChaCha8Rng,
    held: [bool; 2],
    /// The how-manieth life of the client's machine this is, and whether it has power.
    life: u32,
    has_power: bool,
}

/// How a connection stands to the client's machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    Alive,
    /// The machine is without power.
    Dead,
    /// The machine is back, and knows nothing of it.
    Forgotten,
}

/// What goes one way.
struct Piece {
    what: Content,
    due: Instant,
    view: PacketView,
}

enum Content {
    Some(Vec<u8>),
    End,
}

/// A connection is to be reset on both sides.
struct Reset;

impl Proxy {
    /// Stands before a server for one client. `packets` numbers what passes, over all proxies of a run.
    pub(super) async fn start(
        recorder: Recorder,
        [client, server]: [NodeId; 2],
        upstream: Upstream,
        link: Link,
        seed: u64,
        packets: Arc<AtomicU32>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddrV4::new(Loopback::ADDRESS, 0)).await?;
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

    /// The client's machine has power, and knows nothing of the connections of before.
    pub(super) fn power_on(&self) {
        self.shared.change(|state| (state.life, state.has_power) = (state.life + 1, true));
    }

    /// The client's machine loses power. To be called before its sockets close.
    pub(super) fn power_off(&self) {
        self.shared.change(|state| state.has_power = false);
    }

    /// Holds back what goes a way, or lets it pass again.
    pub(super) fn hold(&self, way: Way, held: bool) {
        self.shared.change(|state| state.held[way as usize] = held);
    }

    /// Changes the time that each way takes.
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

    /// Carries one connection to its end.
    async fn carry(self: Arc<Self>, mut client: TcpStream, from: SocketAddrV4) {
        let life = self.state().life;
        let _ = client.set_nodelay(true);
        let syn = self.sent(Way::ToServer, from, SYN, &[]);
        self.pass(Way::ToServer, self.due(Instant::now())).await;
        let mut server = match self.upstream.connect().await {
            Ok(server) => server,
            Err(_) => {
                self.dropped(Way::ToServer, syn);
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

    /// Reads on one side and writes, when it is time, on the other, until the end of what comes is passed on.
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
                    // A machine without power says nothing: these are its sockets that close.
                    return std::future::pending().await;
                }
                let bytes = &buffer[..*read.as_ref().map_err(|_| Reset)?];
                due = due.max(self.due(Instant::now()));
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

    /// When what sets out now arrives.
    fn due(&self, now: Instant) -> Instant {
        let mut state = self.state();
        let jitter_ms = state.link.jitter.as_millis() as u64 + 1;
        let drawn = state.rng.next_u64() % jitter_ms;
        now + state.link.latency + Duration::from_millis(drawn)
    }

    /// Waits until it is time, and until the way is open.
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

    /// At which end it happens: the one where a packet sets out, or the other.
    fn write(&self, way: Way, sets_out: bool, event: PacketEvent) {
        let node = if (way == Way::ToServer) == sets_out { self.client } else { self.server };
        self.recorder.write(node, What::Packet(event));
    }
}
