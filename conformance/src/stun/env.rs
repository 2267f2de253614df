//! What all cases of a run against a STUN or TURN server share.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::auth::Challenge;
use super::names::{attr, method};
use super::net::{DynDatagram, DynDatagrams};
use super::target::Credential;
use super::wire::{Class, Draft, TransactionId};
use crate::dial::DynDial;

/// The most sockets opened in search of a port that this run has not used.
const PORTS_TRIED_MAX: usize = 64;

/// A STUN or TURN server and how to talk to it.
pub(crate) struct StunEnv {
    pub(crate) net: Arc<dyn DynDatagrams>,
    pub(crate) dial: Arc<dyn DynDial>,
    /// The server address that clients send to.
    pub(crate) server: SocketAddr,
    /// All addresses that the host's name resolves to.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The address of this machine that clients send from.
    pub(crate) source: IpAddr,
    /// The first is the user that cases authenticate as; the second, if given, is another user.
    pub(crate) credentials: Vec<Credential>,
    /// A request that the server answers at once, whatever was sent before.
    pub(crate) sentinel: Sentinel,
    /// The address for peers, if the server relays to an address of this machine.
    pub(crate) peers: Option<IpAddr>,
    /// The family that clients request, as the value of REQUESTED-ADDRESS-FAMILY, if the server refuses to allocate
    /// without one: it has no relayed addresses of IPv4.
    pub(crate) family: Option<u8>,
    /// The challenge to an earlier client, with which others begin.
    pub(crate) challenge: Option<Challenge>,
    /// Held while a request waits for its 401: a server may limit those.
    pub(crate) unauthenticated: tokio::sync::Mutex<()>,
    /// The interval before the first retransmission of a request.
    pub(crate) rto: Duration,
    /// How long to wait for an answer.
    pub(crate) patience: Duration,
    pub(crate) seed: u64,
    pub(crate) fresh: AtomicU64,
    /// The local addresses of all sockets of this run, including closed ones.
    pub(crate) taken: Mutex<BTreeSet<SocketAddr>>,
}

/// The request that proves that the server is alive and has handled what was sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sentinel {
    Binding,
    /// For a TURN server that does not answer Binding requests: an Allocate without credentials, which is refused at
    /// once.
    Allocate,
}

impl StunEnv {
    /// Binds a socket to an address that no other socket of this run has had: the server may still have an allocation
    /// of an earlier client there.
    pub(crate) async fn bind(&self, local: SocketAddr) -> io::Result<Arc<dyn DynDatagram>> {
        // These stay open meanwhile, so that the system assigns another port.
        let mut remembered = Vec::new();
        loop {
            let socket = self.net.bind_boxed(local).await?;
            let is_new = self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(socket.local()?);
            if is_new || local.port() != 0 || remembered.len() >= PORTS_TRIED_MAX {
                return Ok(socket);
            }
            remembered.push(socket);
        }
    }

    /// A transaction id that is unique in this run, and very likely across runs.
    pub(crate) fn id(&self) -> TransactionId {
        let count = self.fresh.fetch_add(1, Relaxed);
        let (high, low) = (mix(self.seed ^ count), mix(count.wrapping_add(self.seed.rotate_left(32))));
        let bytes = [high.to_be_bytes(), low.to_be_bytes()].concat();
        bytes[..12].try_into().expect("there are sixteen")
    }

    /// Whether server and cases run on the same machine, so that there can be no NAT between them.
    pub(crate) fn is_near(&self) -> bool {
        self.is_near_to(self.server)
    }

    /// Whether this server, to which a client may have been redirected, runs on the same machine.
    pub(crate) fn is_near_to(&self, server: SocketAddr) -> bool {
        self.source == server.ip() || server.ip().is_loopback()
    }

    pub(crate) fn sentinel(&self) -> Draft {
        let method = match self.sentinel {
            Sentinel::Binding => method::BINDING,
            Sentinel::Allocate => method::ALLOCATE,
        };
        let draft = Draft::new(method, Class::Request, self.id());
        if self.sentinel == Sentinel::Binding { draft } else { draft.with(attr::REQUESTED_TRANSPORT, [17, 0, 0, 0]) }
    }
}

/// splitmix64: turns neighbouring numbers into unrelated ones.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
