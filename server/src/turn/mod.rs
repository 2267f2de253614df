//! TURN (RFC 8656) over UDP, TCP and TLS: relays datagrams for clients that cannot be reached directly.
//!
//! It shares STUN's UDP socket, which one task reads, and STUN's TCP connections. Each allocation has its own socket on its own port, and a task
//! that reads it. Data takes the short path in [`relay`]:
//! one table lookup and one send for what has arrived together of one flow.
//!
//! Not supported, and answered as the RFC requires in that case: DTLS from clients, ICMP errors to clients (§11.5), TCP to
//! peers, mobility.

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
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
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
use refusal::Refusal;
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
    is_draining: AtomicBool,
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
    by_five_tuple: HashMap<FiveTuple, Entry<N>>,
    /// By the relayed transport address.
    by_relayed: BTreeMap<SocketAddr, Arc<Allocation<N>>>,
    /// The requests whose allocations have ended.
    spent: Spent,
}

/// What a client has been allocated: one relayed transport address, or one of each family (RFC 8656 §7.2).
struct Entry<N: Network> {
    first: Arc<Allocation<N>>,
    additional: Option<Arc<Allocation<N>>>,
}

impl<N: Network> Entry<N> {
    fn allocations(&self) -> impl Iterator<Item = &Arc<Allocation<N>>> {
        std::iter::once(&self.first).chain(&self.additional)
    }
}

/// How a client reaches the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Transport {
    Udp,
    Tcp,
    /// TLS over TCP, at a port of its own.
    Tls,
}

/// The two addresses between which a client and the server exchange messages, and the protocol (RFC 8656 §2), which tells
/// the server's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FiveTuple {
    pub(crate) client: SocketAddr,
    /// The server's IP address, if its socket receives at several.
    pub(crate) server: Option<IpAddr>,
    pub(crate) transport: Transport,
}

/// An allocation (RFC 8656 §6), or the part of one that has a relayed transport address of one family.
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
    granted: Arc<Granted>,
    state: Lock<allocation::State>,
    /// Notified when the client deletes it.
    given_up: Notify,
}

/// What the answer to an Allocate request contains.
struct Granted {
    relayed: SocketAddr,
    /// The relayed transport address of the other family, if it was requested.
    additional: Option<SocketAddr>,
    /// The family that was requested but refused, while the other one was allocated.
    refused: Option<(u8, Refusal)>,
    /// The token of the next port, if it was reserved.
    reservation: Option<u64>,
}

impl<N: Network> Allocation<N> {
    fn state(&self) -> MutexGuard<'_, allocation::State> {
        self.state.lock()
    }

    /// The family of its relayed transport address, as attributes write it.
    fn family(&self) -> u8 {
        if self.relayed.is_ipv4() { requests::IPV4 } else { requests::IPV6 }
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
            nonces: Nonces::new(&mut stream(1), &settings),
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
            is_draining: AtomicBool::new(false),
            stop,
        })
    }

    pub(crate) fn credentials(&self) -> Arc<Credentials> {
        Arc::clone(&self.credentials)
    }

    /// Takes users, the secret and the maximum numbers of allocations from these settings.
    pub(crate) fn reload(&self, settings: &TurnSettings) {
        // Clients have been told which hashes they may use.
        let TurnSettings { sha256, userhash, .. } = self.settings;
        self.credentials.reload(&TurnSettings { sha256, userhash, ..settings.clone() });
        self.quotas.set_maxima(settings);
    }

    /// Makes no more allocations.
    pub(crate) fn drain(&self) {
        self.is_draining.store(true, Relaxed);
    }

    pub(crate) fn counters(&self) -> TurnCounters {
        let table = self.table();
        self.counters.snapshot(table.by_five_tuple.len(), self.quotas.users())
    }

    fn table(&self) -> MutexGuard<'_, Table<N>> {
        self.table.lock()
    }

    /// The first allocation of a client.
    fn allocation(&self, five_tuple: FiveTuple) -> Option<Arc<Allocation<N>>> {
        self.table().by_five_tuple.get(&five_tuple).map(|entry| Arc::clone(&entry.first))
    }

    /// The allocation of a client, or those of both families; none if there is none.
    fn allocations(&self, five_tuple: FiveTuple) -> Vec<Arc<Allocation<N>>> {
        let table = self.table();
        table.by_five_tuple.get(&five_tuple).map_or(Vec::new(), |entry| entry.allocations().cloned().collect())
    }

    fn enter(&self, first: Arc<Allocation<N>>, additional: Option<Arc<Allocation<N>>>) {
        let mut table = self.table();
        let (five_tuple, entry) = (first.five_tuple, Entry { first, additional });
        for allocation in entry.allocations() {
            table.by_relayed.insert(allocation.relayed, Arc::clone(allocation));
        }
        table.by_five_tuple.insert(five_tuple, entry);
    }

    /// Removes an allocation from the table, if it is still there.
    fn remove(&self, allocation: &Arc<Allocation<N>>) {
        let mut table = self.table();
        let Some(entry) = table.by_five_tuple.get_mut(&allocation.five_tuple) else { return };
        if !entry.allocations().any(|entered| Arc::ptr_eq(entered, allocation)) {
            return;
        }
        // What is left of two families.
        let left = entry.allocations().find(|entered| !Arc::ptr_eq(entered, allocation)).cloned();
        let has_ended = left.is_none();
        match left {
            Some(left) => *entry = Entry { first: left, additional: None },
            None => drop(table.by_five_tuple.remove(&allocation.five_tuple)),
        }
        if table.by_relayed.get(&allocation.relayed).is_some_and(|entered| Arc::ptr_eq(entered, allocation)) {
            table.by_relayed.remove(&allocation.relayed);
        }
        let Allocation { nonce_expiry, five_tuple: FiveTuple { client, .. }, transaction_id, .. } = **allocation;
        if !has_ended {
            return;
        }
        table.spent.add(nonce_expiry, client, transaction_id, self.nonces.now());
    }
}
