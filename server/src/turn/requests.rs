//! The four requests: Allocate, Refresh, CreatePermission, ChannelBind (RFC 8656 §7 to §10, §12).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::allocation::{CHANNELS, CHANNELS_RFC_5766, State};
use super::credentials::{Algorithm, Credential, Key, Username};
use super::ports::{Opened, PortRequest, RESERVATION_LIFETIME};
use super::refusal::Refusal;
use super::{Allocation, FiveTuple, Granted, Hold, RelayAddress, Relaying, Turn};
use crate::lock::Lock;
use crate::net::{Network, Udp as _};
use crate::shown::Shown;
use crate::stun::message::{Class, Message, Writer, attribute, method, u16_at};

/// PASSWORD-ALGORITHMS: SHA-256, then MD5, both without parameters (RFC 8489 §14.11).
const ALGORITHMS: [u8; 8] = [0, 2, 0, 0, 0, 1, 0, 0];
/// REQUESTED-TRANSPORT's only value (RFC 8656 §18.7).
const UDP: u8 = 17;
pub(super) const IPV4: u8 = 1;
pub(super) const IPV6: u8 = 2;

/// A request that has passed authentication.
struct Authentic<'a> {
    request: Message<'a>,
    five_tuple: FiveTuple,
    user: String,
    signature: Signature,
    nonce_expiry: u64,
}

/// With what an answer is signed: what signed the request.
#[derive(Clone, Copy)]
pub(super) struct Signature {
    key: Key,
    is_sha256: bool,
}

impl Authentic<'_> {
    /// # Errors
    /// There are attributes that are neither in `known` nor part of authentication.
    fn knows(&self, known: &[u16]) -> Result<(), Refusal> {
        let of_authentication = [
            attribute::USERNAME,
            attribute::USERHASH,
            attribute::REALM,
            attribute::NONCE,
            attribute::PASSWORD_ALGORITHM,
        ];
        let unknown = self.request.unknown(|kind| of_authentication.contains(&kind) || known.contains(&kind));
        if unknown.as_slice().is_empty() { Ok(()) } else { Err(Refusal::UnknownAttributes(unknown)) }
    }

    fn success<'o>(&self, out: &'o mut Vec<u8>) -> Writer<'o> {
        Writer::answer(out, Class::Success, &self.request)
    }

    fn lifetime(&self) -> Result<Option<u32>, Refusal> {
        let Some(value) = self.request.attribute(attribute::LIFETIME) else { return Ok(None) };
        Ok(Some(u32::from_be_bytes(value.try_into().map_err(|_| Refusal::BadRequest)?)))
    }
}

/// An open relay socket, its share, and the token of the next port, if it was reserved.
type Relay<N> = (Opened<N>, Hold, Option<u64>);

/// The contents of an Allocate request.
struct Wanted<'a> {
    is_ipv4: bool,
    /// Whether it requests an additional IPv6 address.
    both_families: bool,
    port_request: PortRequest,
    /// The token of a port reserved before.
    token: Option<&'a [u8]>,
}

impl<'a> Wanted<'a> {
    /// Checks that the attributes of the request fit together, in the order of RFC 8656 §7.2.
    fn read(authentic: &Authentic<'a>, can_forbid_fragments: bool) -> Result<Self, Refusal> {
        let request = &authentic.request;
        let transport = request.attribute(attribute::REQUESTED_TRANSPORT).ok_or(Refusal::BadRequest)?;
        let &[transport, _, _, _] = transport else { return Err(Refusal::BadRequest) };
        if transport != UDP {
            return Err(Refusal::UnsupportedTransport);
        }
        authentic.knows(&[
            attribute::REQUESTED_TRANSPORT,
            attribute::LIFETIME,
            attribute::REQUESTED_ADDRESS_FAMILY,
            attribute::EVEN_PORT,
            attribute::RESERVATION_TOKEN,
            if can_forbid_fragments { attribute::DONT_FRAGMENT } else { attribute::LIFETIME },
        ])?;
        let requested = request.attribute(attribute::REQUESTED_ADDRESS_FAMILY);
        let additional = request.attribute(attribute::ADDITIONAL_ADDRESS_FAMILY);
        let even_port = request.attribute(attribute::EVEN_PORT);
        let token = request.attribute(attribute::RESERVATION_TOKEN);
        if token.is_some() && (even_port.is_some() || requested.is_some() || additional.is_some())
            || requested.is_some() && additional.is_some()
        {
            return Err(Refusal::BadRequest);
        }
        let is_ipv4 = match requested {
            None => true,
            Some(value) => family(value)?.ok_or(Refusal::AddressFamilyNotSupported)? == IPV4,
        };
        let port_request = match even_port {
            None => PortRequest::Any,
            Some(&[0x00..=0x7f]) => PortRequest::Even,
            Some(&[_]) if additional.is_none() => PortRequest::EvenAndNext,
            Some(_) => return Err(Refusal::BadRequest),
        };
        if let Some(additional) = additional
            && family(additional)? != Some(IPV6)
        {
            return Err(Refusal::BadRequest);
        }
        Ok(Self { is_ipv4, both_families: additional.is_some(), port_request, token })
    }
}

impl<N: Network> Turn<N> {
    /// Handles a message from a client. Returns true if there is an answer in `out`.
    pub(crate) async fn on_message(
        self: &Arc<Self>,
        message: &Message<'_>,
        five_tuple: FiveTuple,
        relaying: &mut Relaying<N>,
        out: &mut Vec<u8>,
    ) -> bool {
        match (message.class, message.method) {
            (Class::Indication, method::SEND) => {
                self.on_send(message, five_tuple, relaying);
                false
            }
            (Class::Request, method::ALLOCATE | method::REFRESH | method::CREATE_PERMISSION | method::CHANNEL_BIND) => {
                self.on_request(message, five_tuple, relaying, out).await
            }
            _ => false,
        }
    }

    async fn on_request(
        self: &Arc<Self>,
        message: &Message<'_>,
        five_tuple: FiveTuple,
        relaying: &mut Relaying<N>,
        out: &mut Vec<u8>,
    ) -> bool {
        // What arrived before the request leaves before it takes effect.
        self.relay(relaying);
        let client = five_tuple.client;
        let authentic = match self.authenticate(message, five_tuple) {
            Ok(authentic) => authentic,
            Err(refusal) => return self.challenge(message, client, refusal, out),
        };
        let done = match message.method {
            method::ALLOCATE => self.allocate(&authentic, out).await,
            method::REFRESH => self.refresh(&authentic, out),
            method::CREATE_PERMISSION => self.create_permission(&authentic, out),
            _ => self.channel_bind(&authentic, out),
        };
        let Err(refusal) = done else { return true };
        self.counters.refuse(refusal);
        tracing::debug!(%client, user = %Shown(&authentic.user), code = refusal.code(), "refused a TURN request");
        let answer = Writer::answer(out, Class::Error, message);
        let answer = match refusal {
            Refusal::UnknownAttributes(unknown) => answer.unknown_attributes(&unknown),
            _ => answer.error(refusal.error()),
        };
        seal(answer, message, authentic.signature);
        true
    }

    /// The long-term credential mechanism (RFC 8489 §9.2.4).
    fn authenticate<'a>(&self, request: &Message<'a>, five_tuple: FiveTuple) -> Result<Authentic<'a>, Refusal> {
        //= https://www.rfc-editor.org/rfc/rfc8489#section-9.2.4
        //# If the message does not contain a MESSAGE-INTEGRITY attribute, the
        //# server MUST generate an error response with an error code of 401
        let is_sha256 = self.settings.sha256 && request.has_integrity_sha256();
        if !request.has_integrity() && !is_sha256 {
            return Err(Refusal::Unauthorized);
        }
        let text = |kind| request.attribute(kind);
        let hashed = || text(attribute::USERHASH).filter(|_| self.settings.userhash).map(Username::Hashed);
        let username = text(attribute::USERNAME).map(Username::Plain).or_else(hashed);
        let (Some(username), Some(_), Some(nonce)) = (username, text(attribute::REALM), text(attribute::NONCE)) else {
            return Err(Refusal::BadRequest);
        };
        let algorithm = if self.settings.sha256 { algorithm(request)? } else { Algorithm::Md5 };
        let client = five_tuple.client;
        let nonce_expiry = self.nonces.valid_until(nonce, client).ok_or(Refusal::StaleNonce)?;
        // Who has seen the request of an allocation that has ended could otherwise make it again.
        if request.method == method::ALLOCATE
            && self.table().spent.contains(nonce_expiry, client, request.transaction_id())
        {
            return Err(Refusal::StaleNonce);
        }
        let credential = self.credentials.of(username);
        // An unknown user takes as long as a wrong password of a user whose name and password are ASCII: others have more
        // spellings.
        let keys = credential.as_ref().map_or(Key::of_nobody(), |credential| credential.keys.clone());
        let is_signed_with = |key: &Key| {
            let key = key.bytes();
            if is_sha256 { request.is_signed_sha256_with(key) } else { request.is_signed_with(key) }
        };
        let key = keys.into_iter().filter(|key| key.algorithm() == algorithm).find(is_signed_with);
        match (credential, key) {
            (Some(credential), Some(key)) if self.is_in_force(&credential, five_tuple) => {
                let signature = Signature { key, is_sha256 };
                Ok(Authentic { request: *request, five_tuple, user: credential.user, signature, nonce_expiry })
            }
            _ => Err(Refusal::Unauthorized),
        }
    }

    /// Whether a credential is still valid. After its expiry it serves only an allocation that was made with it: a call
    /// may last longer, and the client has no way to change the credential of an allocation.
    fn is_in_force(&self, credential: &Credential, five_tuple: FiveTuple) -> bool {
        let has_made_allocation =
            || self.allocation(five_tuple).is_some_and(|allocation| *allocation.hold.user == *credential.user);
        !credential.is_expired || !self.settings.strict_expiry && has_made_allocation()
    }

    /// Refuses a request without a valid credential. The answer has no MESSAGE-INTEGRITY, because there is no shared
    /// key, and no SOFTWARE, because anyone can make the server send it to any address: RFC 8489 requires only the
    /// error code, the realm and the nonce. Returns false if the source has had too many such answers.
    fn challenge(&self, request: &Message<'_>, client: SocketAddr, refusal: Refusal, out: &mut Vec<u8>) -> bool {
        self.counters.refuse(refusal);
        if self.challenges.enter(client.ip()).request().is_err() {
            return false;
        }
        let mut answer = Writer::answer(out, Class::Error, request).error(refusal.error());
        if !matches!(refusal, Refusal::BadRequest) {
            answer = answer
                .attribute(attribute::REALM, self.credentials.realm().as_bytes())
                .attribute(attribute::NONCE, self.nonces.issue(client).as_bytes());
            if self.settings.sha256 {
                answer = answer.attribute(attribute::PASSWORD_ALGORITHMS, &ALGORITHMS);
            }
        }
        if request.has_fingerprint {
            answer.fingerprint();
        }
        true
    }

    /// RFC 8656 §7.2, in its order.
    async fn allocate(self: &Arc<Self>, authentic: &Authentic<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let Authentic { request, five_tuple, user, nonce_expiry, .. } = authentic;
        if let Some(existing) = self.allocation(*five_tuple) {
            //= https://www.rfc-editor.org/rfc/rfc8656#section-5-15
            //# STUN requires that the server recognize this case and
            //# treat the request as idempotent
            let is_repeated = existing.transaction_id == request.transaction_id() && *existing.hold.user == **user;
            if is_repeated {
                //= https://www.rfc-editor.org/rfc/rfc8656#section-7.2-10.2
                //# A LIFETIME attribute containing the current value of the
                //# time-to-expiry timer.
                // Rounded up, so that an immediate repetition gets the same answer.
                let left = existing.state().expires.saturating_duration_since(Instant::now());
                let left = Duration::from_secs(left.as_millis().div_ceil(1000) as u64);
                answer_allocate(authentic, &existing.granted, left, out);
                return Ok(());
            }
            return Err(Refusal::AllocationMismatch);
        }
        if self.is_draining.load(Relaxed) {
            return Err(Refusal::InsufficientCapacity);
        }
        let wanted = Wanted::read(authentic, N::Udp::CAN_FORBID_FRAGMENTS)?;
        let lifetime = self.granted(authentic.lifetime()?);
        let (first, additional, refused) = self.open_relays(authentic, &wanted).await?;
        let (opened, hold, reservation) = first;
        let other = additional.as_ref().map(|(opened, ..)| opened.advertised);
        let granted = Granted { relayed: opened.advertised, additional: other, refused, reservation };
        answer_allocate(authentic, &granted, lifetime, out);
        if let Some(token) = reservation {
            self.end_reservation(token);
        }
        let granted = Arc::new(granted);
        let allocation = |opened: Opened<N>, hold| {
            Arc::new(Allocation {
                five_tuple: *five_tuple,
                hold,
                socket: opened.socket,
                relayed: opened.advertised,
                transaction_id: request.transaction_id(),
                nonce_expiry: *nonce_expiry,
                granted: Arc::clone(&granted),
                state: Lock::new(State::new(Instant::now() + lifetime, &self.settings)),
                given_up: Notify::new(),
            })
        };
        let first = allocation(opened, hold);
        let additional = additional.map(|(opened, hold, _)| allocation(opened, hold));
        tracing::debug!(client = %five_tuple.client, user = %Shown(user), relayed = %first.relayed, additional = ?other, "allocation created");
        self.counters.allocations_made.fetch_add(1, Relaxed);
        self.enter(Arc::clone(&first), additional.clone());
        for allocation in std::iter::once(first).chain(additional) {
            let seed = self.ports.random();
            self.net.spawn(Arc::clone(self).serve_allocation(allocation, seed));
        }
        Ok(())
    }

    /// The relay of the requested family; with both families, that of IPv4, the additional one of IPv6, and which of them is
    /// refused, as long as there is one.
    //= https://www.rfc-editor.org/rfc/rfc8656#section-7.2
    //# If the server could not allocate the requested
    //# relayed transport address for one of the address families
    async fn open_relays(
        &self,
        authentic: &Authentic<'_>,
        wanted: &Wanted<'_>,
    ) -> Result<(Relay<N>, Option<Relay<N>>, Option<(u8, Refusal)>), Refusal> {
        let open = async |is_ipv4| {
            let mut addresses = self.settings.relay_addresses.iter();
            let address = addresses.find(|address| address.bind.is_ipv4() == is_ipv4);
            let address = address.ok_or(Refusal::AddressFamilyNotSupported)?;
            self.open_relay(authentic, address, wanted).await
        };
        let first = open(wanted.is_ipv4).await;
        if !wanted.both_families {
            return Ok((first?, None, None));
        }
        match (first, open(false).await) {
            (Ok(first), Ok(additional)) => Ok((first, Some(additional), None)),
            (Ok(first), Err(refusal)) => Ok((first, None, Some((IPV6, refusal)))),
            (Err(refusal), Ok(additional)) => Ok((additional, None, Some((IPV4, refusal)))),
            (Err(refusal), Err(_)) => Err(refusal),
        }
    }

    /// The socket of a reservation token, or a new one, with the token of the next port if it was reserved. Each port
    /// takes a share of its user and its address.
    async fn open_relay(
        &self,
        authentic: &Authentic<'_>,
        address: &RelayAddress,
        wanted: &Wanted<'_>,
    ) -> Result<Relay<N>, Refusal> {
        let (user, client) = (authentic.user.as_str(), authentic.five_tuple.client.ip());
        if let Some(token) = wanted.token {
            let token = u64::from_be_bytes(token.try_into().map_err(|_| Refusal::BadRequest)?);
            let (opened, reserved) = self.ports.take(token).ok_or(Refusal::InsufficientCapacity)?;
            let hold = if reserved.is_of(user, client) { reserved } else { self.quotas.take(user, client)? };
            return Ok((opened, hold, None));
        }
        let hold = self.quotas.take(user, client)?;
        let next = match wanted.port_request {
            PortRequest::EvenAndNext => Some(self.quotas.take(user, client)?),
            PortRequest::Any | PortRequest::Even => None,
        };
        let RelayAddress { bind, advertised } = *address;
        let opened = self.ports.open(bind, advertised, wanted.port_request, next).await.map_err(|error| {
            tracing::warn!(%bind, %error, "failed to open a relay socket");
            Refusal::InsufficientCapacity
        });
        opened.map(|(opened, token)| (opened, hold, token))
    }

    /// RFC 8656 §8.2.
    fn refresh(&self, authentic: &Authentic<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let mut allocations = self.allocations_of(authentic)?;
        authentic.knows(&[attribute::LIFETIME, attribute::REQUESTED_ADDRESS_FAMILY])?;
        if let Some(requested) = authentic.request.attribute(attribute::REQUESTED_ADDRESS_FAMILY) {
            let family = family(requested)?;
            allocations.retain(|allocation| Some(allocation.family()) == family);
        }
        if allocations.is_empty() {
            return Err(Refusal::PeerAddressFamilyMismatch);
        }
        let lifetime = match authentic.lifetime()? {
            Some(0) => Duration::ZERO,
            requested => self.granted(requested),
        };
        for allocation in &allocations {
            if lifetime.is_zero() {
                self.remove(allocation);
                allocation.given_up.notify_one();
            } else {
                allocation.state().expires = Instant::now() + lifetime;
            }
        }
        let answer = authentic.success(out).attribute(attribute::LIFETIME, &(lifetime.as_secs() as u32).to_be_bytes());
        seal(answer, &authentic.request, authentic.signature);
        Ok(())
    }

    /// RFC 8656 §10.2.
    fn create_permission(&self, authentic: &Authentic<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let allocations = self.allocations_of(authentic)?;
        authentic.knows(&[attribute::XOR_PEER_ADDRESS])?;
        let mut peers = Vec::new();
        for (kind, value) in authentic.request.attributes() {
            if kind == attribute::XOR_PEER_ADDRESS {
                peers.push(self.peer(&authentic.request, value, &allocations)?.ip());
            }
        }
        if peers.is_empty() {
            return Err(Refusal::BadRequest);
        }
        for allocation in &allocations {
            let of_family: Vec<IpAddr> =
                peers.iter().copied().filter(|peer| peer.is_ipv4() == allocation.relayed.is_ipv4()).collect();
            allocation.state().permit(&of_family, Instant::now())?;
        }
        seal(authentic.success(out), &authentic.request, authentic.signature);
        Ok(())
    }

    /// RFC 8656 §12.2.
    fn channel_bind(&self, authentic: &Authentic<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let allocations = self.allocations_of(authentic)?;
        authentic.knows(&[attribute::CHANNEL_NUMBER, attribute::XOR_PEER_ADDRESS])?;
        let channels = if self.settings.allow_rfc5766_channels { CHANNELS_RFC_5766 } else { CHANNELS };
        let number = authentic.request.attribute(attribute::CHANNEL_NUMBER).filter(|value| value.len() == 4);
        let number = number.and_then(|value| u16_at(value, 0)).filter(|number| channels.contains(number));
        let peer = authentic.request.attribute(attribute::XOR_PEER_ADDRESS);
        let (Some(number), Some(peer)) = (number, peer) else { return Err(Refusal::BadRequest) };
        let peer = self.peer(&authentic.request, peer, &allocations)?;
        let (now, is_ipv4) = (Instant::now(), peer.is_ipv4());
        let of_family = |allocation: &&Arc<Allocation<N>>| allocation.relayed.is_ipv4() == is_ipv4;
        // A number is one channel of the client, whatever the family of its peer.
        if allocations.iter().any(|other| !of_family(&other) && other.state().is_bound(number, now)) {
            return Err(Refusal::BadRequest);
        }
        let allocation = allocations.iter().find(of_family).unwrap_or(&allocations[0]);
        allocation.state().bind(number, peer, now)?;
        seal(authentic.success(out), &authentic.request, authentic.signature);
        Ok(())
    }

    /// The allocation of the 5-tuple, or those of both families, if they belong to the user. At least one.
    fn allocations_of(&self, authentic: &Authentic<'_>) -> Result<Vec<Arc<Allocation<N>>>, Refusal> {
        let allocations = self.allocations(authentic.five_tuple);
        let allocation = allocations.first().ok_or(Refusal::AllocationMismatch)?;
        //= https://www.rfc-editor.org/rfc/rfc8656#section-5-8
        //# then the request MUST be rejected with a 441 (Wrong Credentials) error.
        if *allocation.hold.user != *authentic.user {
            return Err(Refusal::WrongCredentials);
        }
        Ok(allocations)
    }

    /// The peer in an XOR-PEER-ADDRESS, if one of the allocations may use it.
    fn peer(
        &self,
        request: &Message<'_>,
        value: &[u8],
        allocations: &[Arc<Allocation<N>>],
    ) -> Result<SocketAddr, Refusal> {
        let peer = request.xor_address(value).ok_or(Refusal::BadRequest)?;
        if !self.peers.allows(peer.ip()) {
            return Err(Refusal::Forbidden);
        }
        // An IPv4-mapped address denotes an IPv4 peer.
        let is_mapped = matches!(peer.ip(), IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some());
        if allocations.iter().all(|allocation| peer.is_ipv4() != allocation.relayed.is_ipv4()) || is_mapped {
            return Err(Refusal::PeerAddressFamilyMismatch);
        }
        Ok(peer)
    }

    /// RFC 8656 §7.2: at most the maximum, at least the default.
    fn granted(&self, requested: Option<u32>) -> Duration {
        let requested = Duration::from_secs(requested.unwrap_or(0).into());
        requested.min(self.settings.allocation_lifetime_max).max(self.settings.allocation_lifetime)
    }

    /// Frees a reserved port that no client has requested.
    fn end_reservation(self: &Arc<Self>, token: u64) {
        let turn = Arc::clone(self);
        self.net.spawn(async move {
            tokio::select! {
                biased;
                () = turn.stop.stopped() => {}
                () = sleep(RESERVATION_LIFETIME) => {}
            }
            drop(turn.ports.take(token));
        });
    }
}

/// Writes the success response to an Allocate request, the first or a repeated one.
fn answer_allocate(authentic: &Authentic<'_>, granted: &Granted, lifetime: Duration, out: &mut Vec<u8>) {
    let Authentic { request, five_tuple: FiveTuple { client, .. }, signature, .. } = authentic;
    let mapped = SocketAddr::new(client.ip().to_canonical(), client.port());
    let mut answer = authentic
        .success(out)
        .xor_address(attribute::XOR_RELAYED_ADDRESS, granted.relayed)
        .attribute(attribute::LIFETIME, &(lifetime.as_secs() as u32).to_be_bytes())
        .xor_address(attribute::XOR_MAPPED_ADDRESS, mapped);
    if let Some(additional) = granted.additional {
        answer = answer.xor_address(attribute::XOR_RELAYED_ADDRESS, additional);
    }
    if let Some((family, refusal)) = granted.refused {
        let error = refusal.error();
        let value = [&[family, 0, (error.0 / 100) as u8, (error.0 % 100) as u8], error.1.as_bytes()].concat();
        answer = answer.attribute(attribute::ADDRESS_ERROR_CODE, &value);
    }
    if let Some(token) = granted.reservation {
        answer = answer.attribute(attribute::RESERVATION_TOKEN, &token.to_be_bytes());
    }
    seal(answer, request, *signature);
}

/// Completes an answer to an authenticated request.
fn seal(answer: Writer<'_>, request: &Message<'_>, Signature { key, is_sha256 }: Signature) {
    let answer = answer.software();
    let answer = if is_sha256 { answer.integrity_sha256(key.bytes()) } else { answer.integrity(key.bytes()) };
    if request.has_fingerprint {
        answer.fingerprint();
    }
}

/// The password algorithm of a request, by the rules for a nonce that offers them.
//= https://www.rfc-editor.org/rfc/rfc8489#section-9.2.4
//# If the request contains neither the PASSWORD-ALGORITHMS nor the
//# PASSWORD-ALGORITHM algorithm, then the request is processed as
//# though PASSWORD-ALGORITHM were MD5.
fn algorithm(request: &Message<'_>) -> Result<Algorithm, Refusal> {
    let (all, one) =
        (request.attribute(attribute::PASSWORD_ALGORITHMS), request.attribute(attribute::PASSWORD_ALGORITHM));
    match (all, one) {
        (None, None) => Ok(Algorithm::Md5),
        (Some(all), Some([0, 2, 0, 0])) if all == ALGORITHMS => Ok(Algorithm::Sha256),
        (Some(all), Some([0, 1, 0, 0])) if all == ALGORITHMS => Ok(Algorithm::Md5),
        // Someone on the way may have removed the better one.
        _ => Err(Refusal::BadRequest),
    }
}

/// The family in REQUESTED- or ADDITIONAL-ADDRESS-FAMILY; `None` if it does not exist.
fn family(value: &[u8]) -> Result<Option<u8>, Refusal> {
    match value {
        [family @ (IPV4 | IPV6), _, _, _] => Ok(Some(*family)),
        [_, _, _, _] => Ok(None),
        _ => Err(Refusal::BadRequest),
    }
}
