//! TURN (RFC 8656) over UDP: relays datagrams for clients that cannot be reached directly.
//!
//! It shares STUN's UDP socket. One task reads that socket; each allocation has a socket on a port of its own and a task that
//! reads it. Data takes the short way in [`relay`]: one table look-up and one send for each datagram, copied nowhere.
//!
//! Left out, and answered as the RFC tells servers without them: TCP and (D)TLS from clients, DONT-FRAGMENT (420), two
//! families in one allocation (ADDRESS-ERROR-CODE 440), ICMP errors to clients (§11.5), MESSAGE-INTEGRITY-SHA256
//! (the nonce tells so), mobility.

mod allocation;
mod counters;
pub(crate) mod credentials;
mod nonce;
mod peers;
mod ports;
mod refusal;
mod relay;
mod requests;
mod settings;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard};

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use counters::Counters;
pub use counters::TurnCounters;
use credentials::Credentials;
use nonce::Nonces;
use ports::Ports;
pub use settings::{RelayAddress, TurnSettings};

use crate::net::Network;
use crate::stop::Stop;
pub(crate) use relay::DATAGRAM_BYTES_MAX;

/// Streams of the seed's generator, one a use; the dialects' are below them.
const STREAM: u64 = 0x7475_726e;

/// The TURN service.
pub(crate) struct Turn<N: Network> {
    net: N,
    settings: TurnSettings,
    credentials: Arc<Credentials>,
    nonces: Nonces,
    ports: Ports<N>,
    /// STUN's sockets; clients are served on the first.
    sockets: Arc<[N::Udp]>,
    table: Mutex<Table<N>>,
    counters: Counters,
    stop: Arc<Stop>,
}

/// What TURN needs of the server that it is a part of.
pub(crate) struct Host<N: Network> {
    pub(crate) net: N,
    /// STUN's, the first of them bound to `address`.
    pub(crate) sockets: Arc<[N::Udp]>,
    pub(crate) address: SocketAddr,
    pub(crate) seed: u64,
    pub(crate) unix_time: fn() -> u64,
    pub(crate) stop: Arc<Stop>,
}

/// The allocations at this moment.
struct Table<N: Network> {
    /// By the client's address: all else of the 5-tuple is the same for all.
    by_client: HashMap<SocketAddr, Arc<Allocation<N>>>,
    /// How many a user holds; nobody with none.
    by_user: BTreeMap<Arc<str>, usize>,
}

/// An allocation (RFC 8656 §6).
struct Allocation<N: Network> {
    client: SocketAddr,
    user: Arc<str>,
    socket: N::Udp,
    /// The relayed transport address, as the client was told it.
    relayed: SocketAddr,
    /// The request that made it and the answer, for when the request comes again.
    transaction_id: [u8; 12],
    response: Vec<u8>,
    state: Mutex<allocation::State>,
    /// Woken when the client gives it up.
    given_up: Notify,
    /// Whether the socket has sent: until then it may only seem full.
    has_sent: AtomicBool,
}

impl<N: Network> Allocation<N> {
    fn state(&self) -> MutexGuard<'_, allocation::State> {
        self.state.lock().expect("nothing panics while it holds an allocation")
    }

    /// Returns when its time is up, however often it is refreshed meanwhile.
    async fn expired(&self) {
        loop {
            let expires = self.state().expires;
            if expires <= Instant::now() {
                return;
            }
            sleep_until(expires).await;
        }
    }
}

impl<N: Network> Turn<N> {
    /// # Errors
    /// A setting is wrong; the message says which.
    pub(crate) fn new(settings: TurnSettings, host: Host<N>) -> Result<Self, String> {
        let Host { net, sockets, address, seed, unix_time, stop } = host;
        let settings = settings.checked(address)?;
        let stream = |number| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(STREAM + number);
            rng
        };
        Ok(Self {
            credentials: Arc::new(Credentials::new(&settings, stream(0), unix_time)),
            nonces: Nonces::new(&mut stream(1), settings.nonce_lifetime),
            ports: Ports::new(net.clone(), settings.relay_ports.clone(), stream(2)),
            net,
            settings,
            sockets,
            table: Mutex::new(Table { by_client: HashMap::new(), by_user: BTreeMap::new() }),
            counters: Counters::default(),
            stop,
        })
    }

    pub(crate) fn credentials(&self) -> Arc<Credentials> {
        Arc::clone(&self.credentials)
    }

    pub(crate) fn counters(&self) -> TurnCounters {
        let table = self.table();
        self.counters.snapshot(table.by_client.len(), table.by_user.len())
    }

    fn table(&self) -> MutexGuard<'_, Table<N>> {
        self.table.lock().expect("nothing panics while it holds the allocations")
    }

    /// A client's allocation.
    fn allocation(&self, client: SocketAddr) -> Option<Arc<Allocation<N>>> {
        self.table().by_client.get(&client).cloned()
    }

    fn enter(&self, allocation: Arc<Allocation<N>>) {
        let mut table = self.table();
        *table.by_user.entry(Arc::clone(&allocation.user)).or_default() += 1;
        table.by_client.insert(allocation.client, allocation);
    }

    /// Takes an allocation from the table, unless it was before.
    fn remove(&self, allocation: &Arc<Allocation<N>>) {
        let mut table = self.table();
        if !table.by_client.get(&allocation.client).is_some_and(|entered| Arc::ptr_eq(entered, allocation)) {
            return;
        }
        table.by_client.remove(&allocation.client);
        let held = table.by_user.get_mut(&allocation.user).expect("its user holds at least it");
        *held -= 1;
        if *held == 0 {
            table.by_user.remove(&allocation.user);
        }
    }
}
