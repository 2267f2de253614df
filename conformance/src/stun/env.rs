//! What all cases of a run against a STUN or TURN server share.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::names::{attr, method};
use super::net::{DynDatagram, DynDatagrams};
use super::target::Credential;
use super::wire::{Class, Draft, TransactionId};
use crate::dial::DynDial;

/// Sockets that are opened at most for one whose port is new.
const PORTS_TRIED_MAX: usize = 64;

/// A STUN or TURN server, and how it is spoken to.
pub(crate) struct StunEnv {
    pub(crate) net: Arc<dyn DynDatagrams>,
    pub(crate) dial: Arc<dyn DynDial>,
    /// Where it is asked.
    pub(crate) server: SocketAddr,
    /// All that the host's name means.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The address of this machine that the server is asked from.
    pub(crate) source: IpAddr,
    /// The first is whom cases are; the second, if there is one, is somebody else.
    pub(crate) credentials: Vec<Credential>,
    /// A request that is answered at once, whatever came before.
    pub(crate) sentinel: Sentinel,
    /// Where peers are, if the server relays to some address of this machine.
    pub(crate) peers: Option<IpAddr>,
    /// The first interval after which a request is sent again.
    pub(crate) rto: Duration,
    /// How long an answer is waited for.
    pub(crate) patience: Duration,
    pub(crate) seed: u64,
    pub(crate) fresh: AtomicU64,
    /// The local addresses of this run's sockets, the closed ones' too.
    pub(crate) taken: Mutex<BTreeSet<SocketAddr>>,
}

/// The request that proves that a server is there and has dealt with what came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sentinel {
    Binding,
    /// Of a TURN server that does not answer Binding requests: an Allocate without credentials is refused at once.
    Allocate,
}

impl StunEnv {
    /// A socket on an address that no other of this run had: the server may remember an allocation of who was there before.
    pub(crate) async fn bind(&self, local: SocketAddr) -> io::Result<Arc<dyn DynDatagram>> {
        // Kept open meanwhile, so that the system gives another port.
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

    /// An id that no other request of this run has, and hardly one of another run.
    pub(crate) fn id(&self) -> TransactionId {
        let count = self.fresh.fetch_add(1, Relaxed);
        let (high, low) = (mix(self.seed ^ count), mix(count.wrapping_add(self.seed.rotate_left(32))));
        let bytes = [high.to_be_bytes(), low.to_be_bytes()].concat();
        bytes[..12].try_into().expect("there are sixteen")
    }

    /// Whether server and cases are on the same machine, so that no NAT can be between them.
    pub(crate) fn is_near(&self) -> bool {
        self.source == self.server.ip() || self.server.ip().is_loopback()
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

/// splitmix64: neighbouring numbers become unlike each other.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
