//! What a case about STUN or TURN has to work with.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::client::{Answer, Client};
use super::names::{attr, method};
use super::net::{DynDatagram, DynDatagrams};
use super::wire::{Class, Draft, TransactionId};
use crate::case::Stop;
use crate::dial::DynDial;
use crate::transcript::Log;

/// Sockets that are opened at most for one whose port is new.
const PORTS_TRIED_MAX: usize = 64;

/// A user of a TURN server and the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The user's name.
    pub user: String,
    /// The password; never shown.
    pub password: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential({})", self.user)
    }
}

/// What all cases of a run share.
pub(crate) struct Env {
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
    /// Whether what goes over the wire is kept.
    pub(crate) keep: bool,
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

impl Env {
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

/// What one case has to work with: it makes clients, and keeps the log.
pub(crate) struct Cx {
    pub(crate) env: Arc<Env>,
    pub(crate) log: Log,
}

impl Cx {
    /// A client on a fresh port.
    pub(crate) async fn client(&self, name: &str) -> Result<Client, Stop> {
        Client::open(&self.env, &self.log, name, (self.env.source, 0).into()).await
    }

    /// A request with a fresh id.
    pub(crate) fn request(&self, method: u16) -> Draft {
        Draft::new(method, Class::Request, self.env.id())
    }

    pub(crate) fn binding(&self) -> Draft {
        self.request(method::BINDING)
    }

    pub(crate) fn indication(&self, method: u16) -> Draft {
        Draft::new(method, Class::Indication, self.env.id())
    }

    /// A word that nobody else sends.
    pub(crate) fn word(&self, about: &str) -> String {
        format!("{about}-{}", self.env.fresh.fetch_add(1, Relaxed))
    }

    /// Something worth telling that is no failure.
    pub(crate) fn remark(&self, remark: impl Into<String>) {
        self.log.remark(remark.into());
    }

    /// The server does another thing than is asked, which is allowed.
    pub(crate) fn acceptable(&self, choice: impl Into<String>) {
        self.log.choice(choice.into());
    }

    /// Whether server and cases are on the same machine, so that no NAT can be between them.
    pub(crate) fn is_near(&self) -> bool {
        self.env.source == self.env.server.ip() || self.env.server.ip().is_loopback()
    }

    /// Compares the address that an answer tells with the client's own.
    pub(crate) fn check_mapped(&self, client: &Client, answer: &Answer, kind: u16) -> Result<(), Stop> {
        let mapped = answer.xor_address(kind)?;
        let name = super::names::attribute_name(kind);
        if mapped == client.local {
            return Ok(());
        }
        let local = client.local;
        if answer.message.address(kind) == Ok(Some(local)) {
            return Err(answer.stop(format!("{name} is {local} as it is: not XORed")));
        }
        let old = answer.message.address(attr::MAPPED_ADDRESS);
        if self.is_near() || mapped.is_ipv4() != local.is_ipv4() {
            return Err(answer.stop(format!("{name} says {mapped}; {} sends from {local}", client.name)));
        }
        if let Ok(Some(old)) = old
            && old != mapped
        {
            return Err(answer.stop(format!("{name} says {mapped} and MAPPED-ADDRESS {old}")));
        }
        self.remark(format!("a NAT lies between, so {name} cannot be checked in full: {mapped} for {local}"));
        Ok(())
    }

    /// A peer of TURN clients, on an address to which the server relays.
    pub(crate) async fn peer(&self, name: &str) -> Result<Client, Stop> {
        Client::open(&self.env, &self.log, name, (self.peer_ip()?, 0).into()).await
    }

    pub(crate) fn peer_ip(&self) -> Result<IpAddr, Stop> {
        self.env.peers.ok_or_else(|| {
            Stop::Setup(format!(
                "the server relays to no address of this machine ({}): allow such peers for the test",
                self.env.source
            ))
        })
    }

    /// A peer on another address than [`peer`](Self::peer), if this machine has one.
    pub(crate) async fn stranger(&self, name: &str) -> Result<Option<Client>, Stop> {
        match self.env.net.another(self.peer_ip()?) {
            Some(other) => Ok(Client::open(&self.env, &self.log, name, (other, 0).into()).await.ok()),
            None => Ok(None),
        }
    }
}
