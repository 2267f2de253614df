//! The four requests: Allocate, Refresh, CreatePermission, ChannelBind (RFC 8656 §7 to §10, §12).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::allocation::{CHANNELS, CHANNELS_RFC_5766, State};
use super::credentials::{Credential, Key};
use super::ports::{Opened, PortRequest, RESERVATION_LIFETIME};
use super::refusal::Refusal;
use super::{Allocation, FiveTuple, Granted, Hold, RelayAddress, Relaying, Turn};
use crate::lock::Lock;
use crate::net::Network;
use crate::shown::Shown;
use crate::stun::message::{Class, Message, Writer, attribute, method, u16_at};

/// REQUESTED-TRANSPORT's only value (RFC 8656 §18.7).
const UDP: u8 = 17;
const IPV4: u8 = 1;
const IPV6: u8 = 2;

/// A request that has passed authentication.
struct Authentic<'a> {
    request: Message<'a>,
    five_tuple: FiveTuple,
    user: String,
    key: Key,
    nonce_expiry: u64,
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
    fn read(authentic: &Authentic<'a>) -> Result<Self, Refusal> {
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
        seal(answer, message, &authentic.key);
        true
    }

    /// The long-term credential mechanism (RFC 8489 §9.2.4).
    fn authenticate<'a>(&self, request: &Message<'a>, five_tuple: FiveTuple) -> Result<Authentic<'a>, Refusal> {
        //= https://www.rfc-editor.org/rfc/rfc8489#section-9.2.4
        //# If the message does not contain a MESSAGE-INTEGRITY attribute, the
        //# server MUST generate an error response with an error code of 401
        if !request.has_integrity() {
            return Err(Refusal::Unauthorized);
        }
        let text = |kind| request.attribute(kind);
        let (Some(user), Some(_), Some(nonce)) =
            (text(attribute::USERNAME), text(attribute::REALM), text(attribute::NONCE))
        else {
            return Err(Refusal::BadRequest);
        };
        let client = five_tuple.client;
        let nonce_expiry = self.nonces.valid_until(nonce, client).ok_or(Refusal::StaleNonce)?;
        // Who has seen the request of an allocation that has ended could otherwise make it again.
        if request.method == method::ALLOCATE
            && self.table().spent.contains(nonce_expiry, client, request.transaction_id())
        {
            return Err(Refusal::StaleNonce);
        }
        let user = str::from_utf8(user).map_err(|_| Refusal::Unauthorized)?;
        let credential = self.credentials.of(user);
        // An unknown user takes as long as a wrong password of a user whose name and password are ASCII: others have more
        // spellings.
        let keys = credential.as_ref().map_or(vec![Key::default()], |credential| credential.keys.clone());
        let key = keys.into_iter().find(|key| request.is_signed_with(key));
        match (credential, key) {
            (Some(credential), Some(key)) if self.is_in_force(&credential, five_tuple) => {
                Ok(Authentic { request: *request, five_tuple, user: credential.user, key, nonce_expiry })
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
        let wanted = Wanted::read(authentic)?;
        let mut addresses = self.settings.relay_addresses.iter();
        let address = addresses.find(|address| address.bind.is_ipv4() == wanted.is_ipv4);
        let address = address.ok_or(Refusal::AddressFamilyNotSupported)?;
        let lifetime = self.granted(authentic.lifetime()?);
        let (opened, hold, reservation) = self.open_relay(authentic, address, &wanted).await?;
        let granted = Granted { relayed: opened.advertised, both_families: wanted.both_families, reservation };
        answer_allocate(authentic, &granted, lifetime, out);
        if let Some(token) = reservation {
            self.end_reservation(token);
        }
        let allocation = Arc::new(Allocation {
            five_tuple: *five_tuple,
            hold,
            socket: opened.socket,
            relayed: opened.advertised,
            transaction_id: request.transaction_id(),
            nonce_expiry: *nonce_expiry,
            granted,
            state: Lock::new(State::new(Instant::now() + lifetime, &self.settings)),
            given_up: Notify::new(),
        });
        tracing::debug!(client = %five_tuple.client, user = %Shown(user), relayed = %allocation.relayed, "allocation created");
        self.counters.allocations_made.fetch_add(1, Relaxed);
        self.enter(Arc::clone(&allocation));
        let seed = self.ports.random();
        self.net.spawn(Arc::clone(self).serve_allocation(allocation, seed));
        Ok(())
    }

    /// The socket of a reservation token, or a new one, with the token of the next port if it was reserved. Each port
    /// takes a share of its user and its address.
    async fn open_relay(
        &self,
        authentic: &Authentic<'_>,
        address: &RelayAddress,
        wanted: &Wanted<'_>,
    ) -> Result<(Opened<N>, Hold, Option<u64>), Refusal> {
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
        let allocation = self.allocation_of(authentic)?;
        authentic.knows(&[attribute::LIFETIME, attribute::REQUESTED_ADDRESS_FAMILY])?;
        if let Some(requested) = authentic.request.attribute(attribute::REQUESTED_ADDRESS_FAMILY)
            && family(requested)? != Some(if allocation.relayed.is_ipv4() { IPV4 } else { IPV6 })
        {
            return Err(Refusal::PeerAddressFamilyMismatch);
        }
        let lifetime = match authentic.lifetime()? {
            Some(0) => Duration::ZERO,
            requested => self.granted(requested),
        };
        if lifetime.is_zero() {
            self.remove(&allocation);
            allocation.given_up.notify_one();
        } else {
            allocation.state().expires = Instant::now() + lifetime;
        }
        let answer = authentic.success(out).attribute(attribute::LIFETIME, &(lifetime.as_secs() as u32).to_be_bytes());
        seal(answer, &authentic.request, &authentic.key);
        Ok(())
    }

    /// RFC 8656 §10.2.
    fn create_permission(&self, authentic: &Authentic<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let allocation = self.allocation_of(authentic)?;
        authentic.knows(&[attribute::XOR_PEER_ADDRESS])?;
        let mut peers = Vec::new();
        for (kind, value) in authentic.request.attributes() {
            if kind == attribute::XOR_PEER_ADDRESS {
                peers.push(self.peer(&authentic.request, value, &allocation)?.ip());
            }
        }
        if peers.is_empty() {
            return Err(Refusal::BadRequest);
        }
        allocation.state().permit(&peers, Instant::now())?;
        seal(authentic.success(out), &authentic.request, &authentic.key);
        Ok(())
    }

    /// RFC 8656 §12.2.
    fn channel_bind(&self, authentic: &Authentic<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let allocation = self.allocation_of(authentic)?;
        authentic.knows(&[attribute::CHANNEL_NUMBER, attribute::XOR_PEER_ADDRESS])?;
        let channels = if self.settings.allow_rfc5766_channels { CHANNELS_RFC_5766 } else { CHANNELS };
        let number = authentic.request.attribute(attribute::CHANNEL_NUMBER).filter(|value| value.len() == 4);
        let number = number.and_then(|value| u16_at(value, 0)).filter(|number| channels.contains(number));
        let peer = authentic.request.attribute(attribute::XOR_PEER_ADDRESS);
        let (Some(number), Some(peer)) = (number, peer) else { return Err(Refusal::BadRequest) };
        let peer = self.peer(&authentic.request, peer, &allocation)?;
        allocation.state().bind(number, peer, Instant::now())?;
        seal(authentic.success(out), &authentic.request, &authentic.key);
        Ok(())
    }

    /// The allocation of the 5-tuple, if it belongs to the user.
    fn allocation_of(&self, authentic: &Authentic<'_>) -> Result<Arc<Allocation<N>>, Refusal> {
        let allocation = self.allocation(authentic.five_tuple).ok_or(Refusal::AllocationMismatch)?;
        //= https://www.rfc-editor.org/rfc/rfc8656#section-5-8
        //# then the request MUST be rejected with a 441 (Wrong Credentials) error.
        if *allocation.hold.user != *authentic.user {
            return Err(Refusal::WrongCredentials);
        }
        Ok(allocation)
    }

    /// The peer in an XOR-PEER-ADDRESS, if the allocation may use it.
    fn peer(&self, request: &Message<'_>, value: &[u8], allocation: &Allocation<N>) -> Result<SocketAddr, Refusal> {
        let peer = request.xor_address(value).ok_or(Refusal::BadRequest)?;
        if !self.peers.allows(peer.ip()) {
            return Err(Refusal::Forbidden);
        }
        // An IPv4-mapped address denotes an IPv4 peer.
        let is_mapped = matches!(peer.ip(), IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some());
        if peer.is_ipv4() != allocation.relayed.is_ipv4() || is_mapped {
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
    let Authentic { request, five_tuple: FiveTuple { client, .. }, key, .. } = authentic;
    let mapped = SocketAddr::new(client.ip().to_canonical(), client.port());
    let mut answer = authentic
        .success(out)
        .xor_address(attribute::XOR_RELAYED_ADDRESS, granted.relayed)
        .attribute(attribute::LIFETIME, &(lifetime.as_secs() as u32).to_be_bytes())
        .xor_address(attribute::XOR_MAPPED_ADDRESS, mapped);
    if granted.both_families {
        let error = Refusal::AddressFamilyNotSupported.error();
        let value = [&[IPV6, 0, (error.0 / 100) as u8, (error.0 % 100) as u8], error.1.as_bytes()].concat();
        answer = answer.attribute(attribute::ADDRESS_ERROR_CODE, &value);
    }
    if let Some(token) = granted.reservation {
        answer = answer.attribute(attribute::RESERVATION_TOKEN, &token.to_be_bytes());
    }
    seal(answer, request, key);
}

/// Completes an answer to an authenticated request.
fn seal(answer: Writer<'_>, request: &Message<'_>, key: &Key) {
    let answer = answer.software().integrity(key);
    if request.has_fingerprint {
        answer.fingerprint();
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
