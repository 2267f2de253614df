//! A TURN client: one allocation at one server, over UDP or TCP. RFC 8656.
//!
//! Sans-IO: the inputs are data for peers, datagrams of the server and the time. A peer is sent to by Send indications
//! until a channel is bound, which happens when more than connectivity checks is sent to it: then it is a peer of the
//! pair in use.

#[cfg(test)]
mod tests;
mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use crate::event::TurnChange;
use crate::peer::path::is_stun;
pub(crate) use wire::message_length;
use wire::{Answer, Challenge, Relayed, Response};

/// First retransmission timeout, doubled after each retransmission. RFC 8489 §6.2.1.
const RTO: Duration = Duration::from_millis(500);
/// Maximum number of requests in a transaction: `Rc` of RFC 8489 §6.2.1.
const REQUESTS_MAX: u32 = 7;
/// How long a request over TCP may remain unanswered, in units of RTO: `Ti` of RFC 8489 §6.2.2 is 39.5 s.
const TCP_WAIT: u32 = 79;
/// How long the last request may remain unanswered, in units of RTO: `Rm` of RFC 8489 §6.2.1.
const LAST_WAIT: u32 = 16;
/// How often a request is repeated at most because the server demands a credential or a fresh nonce.
const CHALLENGES_MAX: u32 = 3;
/// How long an allocation is considered to exist without asking. It is asked for before a new ICE generation uses it.
const FRESH: Duration = Duration::from_secs(5);
/// How long before the end of a lifetime it is refreshed.
const MARGIN: Duration = Duration::from_secs(60);
//= https://www.rfc-editor.org/rfc/rfc8656#section-9
//# The Permission Lifetime MUST be 300 seconds (= 5 minutes).
const PERMISSION_LIFETIME: Duration = Duration::from_secs(300);
//= https://www.rfc-editor.org/rfc/rfc8656#section-12
//# Channel bindings last for 10 minutes unless refreshed.
const CHANNEL_LIFETIME: Duration = Duration::from_secs(600);
/// The channel numbers. RFC 8656 §12.
const CHANNELS: std::ops::RangeInclusive<u16> = 0x4000..=0x4fff;
/// Number of datagrams that are kept for a peer until there is a permission for it.
const HELD_MAX: usize = 8;

/// A long-term credential. RFC 8489 §9.2.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credential {
    pub(crate) username: String,
    pub(crate) password: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("username", &self.username).finish_non_exhaustive()
    }
}

/// What the client sends or reports.
#[derive(Debug)]
pub(crate) enum Output {
    /// A datagram for the server.
    Send(BytesMut),
    /// The server confirmed that the allocation has this relayed transport address. It need not be asked again before
    /// `until`.
    Confirmed {
        relayed: SocketAddr,
        until: Instant,
    },
    Change(TurnChange),
}

/// A request to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    Allocate {
        /// Whether the relayed transport address is to be of IPv6.
        ipv6: bool,
    },
    /// With `release`, a lifetime of zero.
    Refresh {
        release: bool,
    },
    Permit(IpAddr),
    Bind {
        number: u16,
        peer: SocketAddr,
    },
}

struct Transaction {
    id: [u8; 12],
    request: Request,
    message: Vec<u8>,
    is_signed: bool,
    /// How often the server has demanded something.
    challenges: u32,
    sent: u32,
    /// When to send again, or to end the transaction.
    next: Instant,
}

struct Allocation {
    relayed: SocketAddr,
    confirmed: Instant,
    expires: Instant,
    /// When to refresh it; `None` while that is being done, or if it was refused.
    refresh: Option<Instant>,
    permissions: BTreeMap<IpAddr, Permission>,
    channels: BTreeMap<SocketAddr, Channel>,
    next_channel: u16,
}

enum Permission {
    /// Requested. Data waits for it.
    Pending(Vec<(SocketAddr, Vec<u8>)>),
    Granted {
        refresh: Instant,
        /// Whether something was sent since it was granted or refreshed.
        is_used: bool,
    },
    /// The server does not relay to this peer.
    Refused,
}

struct Channel {
    number: u16,
    is_bound: bool,
    refresh: Instant,
    is_used: bool,
}

/// A client of one server, for one socket.
pub(crate) struct TurnClient {
    credential: Credential,
    /// Whether its messages go over TCP.
    is_tcp: bool,
    /// Whether it asks for a relayed transport address of IPv6.
    relays_ipv6: bool,
    rng: ChaCha8Rng,
    challenge: Option<Challenge>,
    allocation: Option<Allocation>,
    /// Whether a new ICE generation waits for the relayed transport address.
    is_wanted: bool,
    transactions: Vec<Transaction>,
    outputs: VecDeque<Output>,
}

impl TurnClient {
    /// A client without an allocation. `seed` determines the transaction ids.
    pub(crate) fn new(credential: Credential, is_tcp: bool, seed: u64) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let (transactions, outputs) = (Vec::new(), VecDeque::new());
        Self {
            credential,
            is_tcp,
            relays_ipv6: false,
            rng,
            challenge: None,
            allocation: None,
            is_wanted: false,
            transactions,
            outputs,
        }
    }

    /// Makes it ask for a relayed transport address of IPv6, not of IPv4. RFC 8656 §7.1.
    pub(crate) fn relaying_ipv6(self, relays_ipv6: bool) -> Self {
        Self { relays_ipv6, ..self }
    }

    /// The relayed transport address, if there is an allocation.
    pub(crate) fn relayed(&self) -> Option<SocketAddr> {
        self.allocation.as_ref().map(|allocation| allocation.relayed)
    }

    /// Asks for an allocation, or whether the one that was made some time ago still exists.
    pub(crate) fn start(&mut self, now: Instant) {
        if self.allocation.as_ref().is_some_and(|allocation| now < allocation.confirmed + FRESH) {
            return;
        }
        self.is_wanted = true;
        let is_asking = |open: &Transaction| matches!(open.request, Request::Allocate { .. } | Request::Refresh { .. });
        if self.transactions.iter().any(is_asking) {
            return;
        }
        match &self.allocation {
            None => self.begin(Request::Allocate { ipv6: self.relays_ipv6 }, 0, now),
            Some(_) => self.refresh(now),
        }
    }

    /// Deletes the allocation. The request is sent once: nobody waits for the response.
    pub(crate) fn release(&mut self, now: Instant) {
        if self.allocation.take().is_some() {
            self.transactions.clear();
            self.begin(Request::Refresh { release: true }, 0, now);
            self.send_due(now);
            self.outputs.push_back(Output::Change(TurnChange::Released));
        }
        self.transactions.clear();
    }

    /// Sends data to a peer through the relay.
    pub(crate) fn send(&mut self, peer: SocketAddr, data: &[u8], now: Instant) {
        let Some(allocation) = &mut self.allocation else { return };
        match allocation.permissions.get_mut(&peer.ip()) {
            None => {
                let held = vec![(peer, data.to_vec())];
                allocation.permissions.insert(peer.ip(), Permission::Pending(held));
                self.begin(Request::Permit(peer.ip()), 0, now);
            }
            Some(Permission::Pending(held)) if held.len() < HELD_MAX => held.push((peer, data.to_vec())),
            Some(Permission::Pending(_) | Permission::Refused) => {}
            Some(Permission::Granted { is_used, .. }) => {
                *is_used = true;
                self.relay(peer, data, now);
            }
        }
    }

    /// Sends data to a peer for which there is a permission.
    fn relay(&mut self, peer: SocketAddr, data: &[u8], now: Instant) {
        let Some(allocation) = &mut self.allocation else { return };
        let message = match allocation.channels.get_mut(&peer) {
            Some(channel) if channel.is_bound => {
                channel.is_used = true;
                let mut message = wire::channel_data(channel.number, data);
                if self.is_tcp {
                    message.resize(message.len().next_multiple_of(4), 0);
                }
                message
            }
            channel => {
                let wants_channel = channel.is_none() && !is_stun(data) && CHANNELS.contains(&allocation.next_channel);
                if wants_channel {
                    let number = allocation.next_channel;
                    allocation.next_channel += 1;
                    let channel = Channel { number, is_bound: false, refresh: now + CHANNEL_LIFETIME, is_used: true };
                    allocation.channels.insert(peer, channel);
                    self.begin(Request::Bind { number, peer }, 0, now);
                }
                wire::send_indication(self.transaction_id(), peer, data)
            }
        };
        self.outputs.push_back(Output::Send(message));
    }

    /// Whether a datagram of the server carries data of peers.
    pub(crate) fn carries_data(datagram: &[u8]) -> bool {
        wire::carries_data(datagram)
    }

    /// The data in a datagram of the server, and its peer.
    pub(crate) fn data<'d>(&self, datagram: &'d [u8]) -> Option<(SocketAddr, &'d [u8])> {
        let allocation = self.allocation.as_ref()?;
        match wire::relayed(datagram)? {
            Relayed::Peer(peer, data) => Some((peer, data)),
            Relayed::Channel(number, data) => {
                let (peer, _) = allocation.channels.iter().find(|(_, channel)| channel.number == number)?;
                Some((*peer, data))
            }
        }
    }

    /// Handles a response of the server.
    pub(crate) fn on_response(&mut self, datagram: &[u8], now: Instant) {
        let Some(Response { id, answer }) = wire::response(datagram, &self.credential, self.challenge.as_ref()) else {
            return;
        };
        let Some(open) = self.transactions.iter().position(|open| open.id == id) else { return };
        let transaction = self.transactions.remove(open);
        match answer {
            Answer::Success { lifetime, relayed } => self.succeeded(transaction.request, lifetime, relayed, now),
            Answer::Error { code, reason, challenge } => {
                //= https://www.rfc-editor.org/rfc/rfc8489#section-9.2.5
                //# If the response is an error response with an error code of 438 (Stale
                //# Nonce), the client MUST retry the request, using the new NONCE
                let is_demand = code == 438 || code == 401 && !transaction.is_signed;
                if let Some(challenge) = challenge.filter(|_| is_demand && transaction.challenges < CHALLENGES_MAX) {
                    self.challenge = Some(challenge);
                    return self.begin(transaction.request, transaction.challenges + 1, now);
                }
                self.refused(transaction.request, code, &reason, now);
            }
        }
    }

    fn succeeded(&mut self, request: Request, lifetime: Option<u32>, relayed: Option<SocketAddr>, now: Instant) {
        let until = |lifetime: Option<u32>| {
            let lifetime = Duration::from_secs(lifetime.unwrap_or_default().into());
            (now + lifetime, now + lifetime.saturating_sub(MARGIN).max(lifetime / 2))
        };
        match request {
            Request::Allocate { .. } => {
                let Some(relayed) = relayed else { return };
                let (expires, refresh) = until(lifetime);
                self.allocation = Some(Allocation {
                    relayed,
                    confirmed: now,
                    expires,
                    refresh: Some(refresh),
                    permissions: BTreeMap::new(),
                    channels: BTreeMap::new(),
                    next_channel: *CHANNELS.start(),
                });
                self.outputs.push_back(Output::Change(TurnChange::Allocated { relayed: relayed.into() }));
                self.confirmed(now);
            }
            Request::Refresh { .. } => {
                let (expires, refresh) = until(lifetime);
                if let Some(allocation) = &mut self.allocation {
                    (allocation.expires, allocation.refresh) = (expires, Some(refresh));
                    allocation.confirmed = now;
                    self.confirmed(now);
                }
            }
            Request::Permit(peer) => self.permitted(peer, now),
            Request::Bind { peer, .. } => {
                let channel = self.allocation.as_mut().and_then(|allocation| allocation.channels.get_mut(&peer));
                if let Some(channel) = channel {
                    (channel.is_bound, channel.refresh) = (true, now + CHANNEL_LIFETIME - MARGIN);
                    channel.is_used = false;
                }
            }
        }
    }

    fn confirmed(&mut self, now: Instant) {
        self.is_wanted = false;
        if let Some(relayed) = self.relayed() {
            self.outputs.push_back(Output::Confirmed { relayed, until: now + FRESH });
        }
    }

    /// Notes a permission, and sends what has waited for it.
    fn permitted(&mut self, peer: IpAddr, now: Instant) {
        let Some(allocation) = &mut self.allocation else { return };
        let granted = Permission::Granted { refresh: now + PERMISSION_LIFETIME - MARGIN, is_used: false };
        if let Some(Permission::Pending(held)) = allocation.permissions.insert(peer, granted) {
            for (peer, data) in held {
                self.send(peer, &data, now);
            }
        }
    }

    fn refused(&mut self, request: Request, code: u16, reason: &str, now: Instant) {
        const ALLOCATION_MISMATCH: u16 = 437;
        const FORBIDDEN: u16 = 403;
        if code == ALLOCATION_MISMATCH && !matches!(request, Request::Allocate { .. }) {
            return self.lost(now);
        }
        let allocation = self.allocation.as_mut();
        match (request, allocation) {
            (Request::Permit(peer), Some(allocation)) => {
                allocation.permissions.insert(peer, Permission::Refused);
            }
            (Request::Bind { peer, .. }, Some(allocation)) => {
                allocation.channels.remove(&peer);
            }
            _ => {}
        }
        // The server never relays to private addresses, which most clients' own addresses are.
        if code != FORBIDDEN {
            let reason = reason.into();
            self.outputs.push_back(Output::Change(TurnChange::Refused { code, reason }));
        }
    }

    /// Notes that the server has no allocation any more.
    fn lost(&mut self, now: Instant) {
        if self.allocation.take().is_none() {
            return;
        }
        self.transactions.clear();
        self.outputs.push_back(Output::Change(TurnChange::Lost));
        if self.is_wanted {
            self.begin(Request::Allocate { ipv6: self.relays_ipv6 }, 0, now);
        }
    }

    /// Starts a transaction.
    fn begin(&mut self, request: Request, challenges: u32, now: Instant) {
        let id = self.transaction_id();
        let message = wire::request(&request, id, self.challenge.as_ref());
        let is_signed = self.challenge.is_some();
        self.transactions.push(Transaction { id, request, message, is_signed, challenges, sent: 0, next: now });
    }

    fn transaction_id(&mut self) -> [u8; 12] {
        let mut id = [0; 12];
        self.rng.fill_bytes(&mut id);
        id
    }

    fn refresh(&mut self, now: Instant) {
        if let Some(allocation) = &mut self.allocation {
            allocation.refresh = None;
            self.begin(Request::Refresh { release: false }, 0, now);
        }
    }

    /// When to call [`on_time`](Self::on_time) next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let open = self.transactions.iter().map(|open| open.next);
        let allocation = self.allocation.iter().flat_map(|allocation| {
            let permissions = allocation.permissions.values().filter_map(|permission| match permission {
                Permission::Granted { refresh, .. } => Some(*refresh),
                Permission::Pending(_) | Permission::Refused => None,
            });
            let channels = allocation.channels.values().map(|channel| channel.refresh);
            permissions.chain(channels).chain(allocation.refresh).chain([allocation.expires])
        });
        open.chain(allocation).min()
    }

    /// Sends what is due: requests, repeated or new, and refreshes of what was used.
    pub(crate) fn on_time(&mut self, now: Instant) {
        if self.allocation.as_ref().is_some_and(|allocation| allocation.expires <= now) {
            self.lost(now);
        }
        if self.allocation.as_ref().and_then(|allocation| allocation.refresh).is_some_and(|at| at <= now) {
            self.refresh(now);
        }
        let due = self.allocation.as_mut().map(|allocation| allocation.due(now)).unwrap_or_default();
        for request in due {
            self.begin(request, 0, now);
        }
        self.send_due(now);
    }

    fn send_due(&mut self, now: Instant) {
        let mut unanswered = Vec::new();
        //= https://www.rfc-editor.org/rfc/rfc8489#section-6.2.2
        //# the client MUST NOT retransmit
        let (requests_max, last_wait) = if self.is_tcp { (1, TCP_WAIT) } else { (REQUESTS_MAX, LAST_WAIT) };
        self.transactions.retain_mut(|open| {
            if open.next > now {
                return true;
            }
            if open.sent == requests_max {
                unanswered.push(open.request);
                return false;
            }
            open.sent += 1;
            let rtos = if open.sent == requests_max { last_wait } else { 1 << (open.sent - 1) };
            open.next = now + RTO * rtos;
            self.outputs.push_back(Output::Send(open.message.as_slice().into()));
            true
        });
        for request in unanswered {
            self.unanswered(request);
        }
    }

    fn unanswered(&mut self, request: Request) {
        if let Some(allocation) = &mut self.allocation {
            match request {
                Request::Permit(peer) => _ = allocation.permissions.remove(&peer),
                Request::Bind { peer, .. } => _ = allocation.channels.remove(&peer),
                Request::Allocate { .. } | Request::Refresh { .. } => {}
            }
        }
        if matches!(request, Request::Allocate { .. } | Request::Refresh { .. }) {
            self.outputs.push_back(Output::Change(TurnChange::Unanswered));
        }
    }

    /// Notes that the TCP connection to the server has ended, and with it the allocation. A new one is asked for at the next
    /// [`start`](Self::start).
    pub(crate) fn disconnected(&mut self) {
        let was_asking = self.transactions.iter().any(|open| matches!(open.request, Request::Allocate { .. }));
        self.transactions.clear();
        self.is_wanted = false;
        if self.allocation.take().is_some() {
            self.outputs.push_back(Output::Change(TurnChange::Lost));
        } else if was_asking {
            self.outputs.push_back(Output::Change(TurnChange::Unanswered));
        }
    }

    /// The next output of the inputs so far. Call it after each input until it returns `None`.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }
}

impl Allocation {
    /// The permissions and channels to refresh now. Forgets those that were not used.
    fn due(&mut self, now: Instant) -> Vec<Request> {
        let mut due = Vec::new();
        self.permissions.retain(|peer, permission| match permission {
            Permission::Granted { refresh, is_used } if *refresh <= now => {
                if *is_used {
                    due.push(Request::Permit(*peer));
                    // Until it is answered, the old one is in force.
                    (*refresh, *is_used) = (*refresh + MARGIN, false);
                    return true;
                }
                false
            }
            _ => true,
        });
        self.channels.retain(|peer, channel| {
            if channel.refresh > now {
                return true;
            }
            if channel.is_bound && channel.is_used {
                due.push(Request::Bind { number: channel.number, peer: *peer });
                (channel.refresh, channel.is_used) = (channel.refresh + MARGIN, false);
                return true;
            }
            false
        });
        due
    }
}
