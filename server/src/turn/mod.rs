//! TURN (RFC 8656) over UDP and TCP: relays datagrams for clients that cannot be reached directly.
//!
//! It shares STUN's UDP socket, which one task reads, and STUN's TCP connections. Each allocation has its own socket on its own port, and a task
//! that reads it. Data takes the short path in [`relay`]:
//! one table lookup and one send for what has arrived together of one flow.
//!
//! Not supported, and answered as the RFC requires in that case: (D)TLS from clients, DONT-FRAGMENT (420), two
//! families in one allocation (ADDRESS-ERROR-CODE 440), ICMP errors to clients (§11.5), MESSAGE-INTEGRITY-SHA256
//! (as the nonce indicates), mobility.

mod allocation;
mod counters;
pub(crate) mod credentials;
mod nonce;
mod peers;
mod ports;
mod quotas;
mod refusal;
mod relay;
mod requests;
mod settings;
mod spent;
mod stream;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, MutexGuard};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use counters::Counters;
pub use counters::TurnCounters;
use credentials::Credentials;
pub use credentials::ephemeral_password;
use nonce::Nonces;
use peers::Peers;
use ports::Ports;
use quotas::{Hold, Quotas};
use settings::TurnSettingsError;
pub use settings::{RelayAddress, TurnSettings};
use spent::Spent;
use stream::Streams;

use crate::access::addresses::Addresses;
use crate::lock::Lock;
use crate::net::{Buffers, Network};
use crate::random::Entropy;
use crate::stop::Stop;
pub(crate) use relay::{CHANNEL_HEADER_BYTES, DATAGRAM_BYTES_MAX, Relaying};

/// First random stream of TURN, one stream per use; those of the dialects are below.
const STREAM: u64 = 0x7475_726e;

/// The TURN service.
pub(crate) struct Turn<N: Network> {
    net: N,
    settings: TurnSettings,
    credentials: Arc<Credentials>,
    nonces: Nonces,
    /// Limits the answers to requests without a valid credential.
    challenges: Arc<Addresses>,
    ports: Ports<N>,
    peers: Peers,
    quotas: Arc<Quotas>,
    /// STUN's sockets; clients are served on the first one.
    sockets: Arc<[N::Udp]>,
    buffers: Arc<Buffers>,
    table: Lock<Table<N>>,
    streams: Lock<Streams>,
    counters: Counters,
    stop: Arc<Stop>,
}

/// What TURN needs from its server.
pub(crate) struct Host<N: Network> {
    pub(crate) net: N,
    /// STUN's sockets, of which the first is bound to `address`.
    pub(crate) sockets: Arc<[N::Udp]>,
    pub(crate) buffers: Arc<Buffers>,
    pub(crate) address: SocketAddr,
    pub(crate) entropy: Entropy,
    pub(crate) unix_time: fn() -> u64,
    pub(crate) stop: Arc<Stop>,
}

/// The current allocations.
struct Table<N: Network> {
    by_five_tuple: HashMap<FiveTuple, Arc<Allocation<N>>>,
    /// By the relayed transport address.
    by_relayed: BTreeMap<SocketAddr, Arc<Allocation<N>>>,
    /// The requests whose allocations have ended.
    spent: Spent,
}

/// The two addresses between which a client and the server exchange messages, and the protocol (RFC 8656 §2). The
/// server's port is always the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FiveTuple {
    pub(crate) client: SocketAddr,
    /// The server's IP address, if its socket receives at several.
    pub(crate) server: Option<IpAddr>,
    pub(crate) is_tcp: bool,
}

/// An allocation (RFC 8656 §6).
struct Allocation<N: Network> {
    five_tuple: FiveTuple,
    /// The share of its user and its address.
    hold: Hold,
    socket: N::Udp,
    /// The relayed transport address, as sent to the client.
    relayed: SocketAddr,
    /// The request that created it, and what it got, for retransmissions.
    transaction_id: [u8; 12],
    nonce_expiry: u64,
    granted: Granted,
    state: Lock<allocation::State>,
    /// Notified when the client deletes it.
    given_up: Notify,
}

/// What the answer to an Allocate request contains.
struct Granted {
    relayed: SocketAddr,
    /// Whether an additional IPv6 address was requested, which is refused.
    both_families: bool,
    /// The token of the next port, if it was reserved.
    reservation: Option<u64>,
}

impl<N: Network> Allocation<N> {
    fn state(&self) -> MutexGuard<'_, allocation::State> {
        self.state.lock()
    }

    /// Returns when it has expired, including all refreshes.
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
    /// A setting is invalid.
    pub(crate) fn new(settings: TurnSettings, host: Host<N>) -> Result<Self, TurnSettingsError> {
        let Host { net, sockets, buffers, address, entropy, unix_time, stop } = host;
        let settings = settings.checked(address)?;
        let stream = |number| entropy.stream(STREAM + number);
        Ok(Self {
            credentials: Arc::new(Credentials::new(&settings, stream(0), unix_time)),
            nonces: Nonces::new(&mut stream(1), settings.nonce_lifetime),
            challenges: Arc::new(Addresses::new(None, settings.unauthenticated_rate)),
            ports: Ports::new(net.clone(), settings.relay_ports.clone(), stream(2)),
            peers: Peers::new(&settings),
            quotas: Quotas::new(&settings),
            net,
            settings,
            sockets,
            buffers,
            table: Lock::new(Table {
                by_five_tuple: HashMap::new(),
                by_relayed: BTreeMap::new(),
                spent: Spent::default(),
            }),
            streams: Lock::default(),
            counters: Counters::default(),
            stop,
        })
    }

    pub(crate) fn credentials(&self) -> Arc<Credentials> {
        Arc::clone(&self.credentials)
    }

    pub(crate) fn counters(&self) -> TurnCounters {
        let table = self.table();
        self.counters.snapshot(table.by_five_tuple.len(), self.quotas.users())
    }

    fn table(&self) -> MutexGuard<'_, Table<N>> {
        self.table.lock()
    }

    fn allocation(&self, five_tuple: FiveTuple) -> Option<Arc<Allocation<N>>> {
        self.table().by_five_tuple.get(&five_tuple).cloned()
    }

    fn enter(&self, allocation: Arc<Allocation<N>>) {
        let mut table = self.table();
        table.by_relayed.insert(allocation.relayed, Arc::clone(&allocation));
        table.by_five_tuple.insert(allocation.five_tuple, allocation);
    }

    /// Removes an allocation from the table, if it is still there.
    fn remove(&self, allocation: &Arc<Allocation<N>>) {
        let mut table = self.table();
        if !table.by_five_tuple.get(&allocation.five_tuple).is_some_and(|entered| Arc::ptr_eq(entered, allocation)) {
            return;
        }
        table.by_five_tuple.remove(&allocation.five_tuple);
        if table.by_relayed.get(&allocation.relayed).is_some_and(|entered| Arc::ptr_eq(entered, allocation)) {
            table.by_relayed.remove(&allocation.relayed);
        }
        let Allocation { nonce_expiry, five_tuple: FiveTuple { client, .. }, transaction_id, .. } = **allocation;
        table.spent.add(nonce_expiry, client, transaction_id, self.nonces.now());
    }
}
