//! TURN messages as bytes. RFC 8656.
//!
//! Requests and responses are written and read by `stun-rs`; the messages that carry data are written and read here,
//! without copies of the data.

use std::net::{IpAddr, SocketAddr};

use bytes::{BufMut, BytesMut};
use stun_rs::attributes::stun::{ErrorCode, MessageIntegrity, Nonce, Realm, UserName};
use stun_rs::attributes::turn::{
    ChannelNumber, LifeTime, RequestedAddressFamily, RequestedTrasport, XorPeerAddress, XorRelayedAddress,
};
use stun_rs::methods::{ALLOCATE, CHANNEL_BIND, CREATE_PERMMISSION, REFRESH};
use stun_rs::protocols::UDP;
use stun_rs::{
    AddressFamily, Algorithm, AlgorithmId, DecoderContextBuilder, HMACKey, MessageClass, MessageDecoderBuilder,
    MessageEncoderBuilder, StunMessage, StunMessageBuilder, TransactionId,
};

use super::{Credential, Request};

/// Size of the largest request, bytes: its longest attributes are a realm and a nonce of 763 bytes each.
const REQUEST_BYTES_MAX: usize = 2048;
const HEADER_BYTES: usize = 20;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const SEND_INDICATION: [u8; 2] = [0x00, 0x16];
const DATA_INDICATION: [u8; 2] = [0x00, 0x17];
const XOR_PEER_ADDRESS: u16 = 0x0012;
const DATA: u16 = 0x0013;
const CHANNEL_HEADER_BYTES: usize = 4;

/// What a server requires of requests: the long-term credential mechanism. RFC 8489 §9.2.
pub(super) struct Challenge {
    username: String,
    realm: String,
    nonce: String,
    key: HMACKey,
}

impl Challenge {
    /// The challenge in an error response; `None` if it is incomplete.
    fn of(response: &StunMessage, credential: &Credential) -> Option<Self> {
        let realm = response.get::<Realm>()?.as_realm().ok()?.as_str().to_owned();
        let nonce = response.get::<Nonce>()?.as_nonce().ok()?.as_str().to_owned();
        let Credential { username, password } = credential;
        let key = HMACKey::new_long_term(username, &realm, password, Algorithm::from(AlgorithmId::MD5)).ok()?;
        Some(Self { username: username.clone(), realm, nonce, key })
    }
}

/// A response of the server.
pub(super) struct Response {
    pub(super) id: [u8; 12],
    pub(super) answer: Answer,
}

/// What a response says.
pub(super) enum Answer {
    Success {
        /// Lifetime of the allocation, seconds.
        lifetime: Option<u32>,
        relayed: Option<SocketAddr>,
    },
    Error {
        code: u16,
        reason: String,
        challenge: Option<Challenge>,
    },
}

/// Writes a request, signed if the server's challenge is known.
pub(super) fn request(request: &Request, id: [u8; 12], challenge: Option<&Challenge>) -> Vec<u8> {
    let method = match request {
        Request::Allocate { .. } => ALLOCATE,
        Request::Refresh { .. } => REFRESH,
        Request::Permit(_) => CREATE_PERMMISSION,
        Request::Bind { .. } => CHANNEL_BIND,
    };
    let mut message =
        StunMessageBuilder::new(method, MessageClass::Request).with_transaction_id(TransactionId::from(id));
    message = match request {
        Request::Allocate { ipv6: false } => message.with_attribute(RequestedTrasport::new(UDP)),
        Request::Allocate { ipv6: true } => message
            .with_attribute(RequestedTrasport::new(UDP))
            .with_attribute(RequestedAddressFamily::new(AddressFamily::IPv6)),
        Request::Refresh { release: true } => message.with_attribute(LifeTime::from(0)),
        Request::Refresh { release: false } => message,
        Request::Permit(peer) => message.with_attribute(XorPeerAddress::from(SocketAddr::new(*peer, 0))),
        Request::Bind { number, peer } => {
            message.with_attribute(ChannelNumber::new(*number)).with_attribute(XorPeerAddress::from(*peer))
        }
    };
    if let Some(Challenge { username, realm, nonce, key }) = challenge {
        message = message
            .with_attribute(UserName::new(username).expect("the scenario's names are valid"))
            .with_attribute(Realm::new(realm).expect("it was read from a message"))
            .with_attribute(Nonce::new(nonce).expect("it was read from a message"))
            .with_attribute(MessageIntegrity::new(key.clone()));
    }
    let mut bytes = vec![0; REQUEST_BYTES_MAX];
    let encoder = MessageEncoderBuilder::default().build();
    let length = encoder.encode(&mut bytes, &message.build()).expect("a request is shorter than the buffer");
    bytes.truncate(length);
    bytes
}

/// Reads a response. `None` if it is none, or if it is not signed with the key of `challenge` although it must be.
//= https://www.rfc-editor.org/rfc/rfc8489#section-9.2.5
//# If the value does not match or if the MESSAGE-
//# INTEGRITY is absent, then the response MUST be discarded
pub(super) fn response(bytes: &[u8], credential: &Credential, challenge: Option<&Challenge>) -> Option<Response> {
    let plain = MessageDecoderBuilder::default().build();
    let (message, _) = plain.decode(bytes).ok()?;
    let id = *message.transaction_id().as_bytes();
    let is_signed = || {
        let context = DecoderContextBuilder::default().with_key(challenge?.key.clone()).with_validation().build();
        let (valid, _) = MessageDecoderBuilder::default().with_context(context).build().decode(bytes).ok()?;
        valid.get::<MessageIntegrity>().map(|_| ())
    };
    let answer = match message.class() {
        MessageClass::SuccessResponse => {
            is_signed()?;
            let lifetime = message.get::<LifeTime>().and_then(|it| it.as_life_time().ok()).map(|it| it.as_u32());
            let relayed = message.get::<XorRelayedAddress>().and_then(|it| it.as_xor_relayed_address().ok());
            Answer::Success { lifetime, relayed: relayed.map(|it| *it.socket_address()) }
        }
        MessageClass::ErrorResponse => {
            let error = message.get::<ErrorCode>()?.as_error_code().ok()?.error_code().clone();
            let challenge = Challenge::of(&message, credential);
            // A server cannot sign if it refuses the credential or the nonce.
            if !matches!(error.error_code(), 400 | 401 | 438) {
                is_signed()?;
            }
            Answer::Error { code: error.error_code(), reason: error.reason().to_owned(), challenge }
        }
        _ => return None,
    };
    Some(Response { id, answer })
}

/// A ChannelData message. RFC 8656 §12.4.
pub(super) fn channel_data(number: u16, data: &[u8]) -> BytesMut {
    let mut bytes = BytesMut::with_capacity(CHANNEL_HEADER_BYTES + data.len());
    bytes.put_u16(number);
    bytes.put_u16(u16::try_from(data.len()).expect("a datagram is shorter than 64 KiB"));
    bytes.put_slice(data);
    bytes
}

/// A Send indication. RFC 8656 §11.1.
pub(super) fn send_indication(id: [u8; 12], peer: SocketAddr, data: &[u8]) -> BytesMut {
    let padded = data.len().next_multiple_of(4);
    let address = xored(peer, &id);
    let length = 4 + address.len() + 4 + padded;
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES + length);
    bytes.put_slice(&SEND_INDICATION);
    bytes.put_u16(u16::try_from(length).expect("a datagram is shorter than 64 KiB"));
    bytes.put_slice(&MAGIC_COOKIE);
    bytes.put_slice(&id);
    bytes.put_u16(XOR_PEER_ADDRESS);
    bytes.put_u16(u16::try_from(address.len()).expect("an address is short"));
    bytes.put_slice(&address);
    bytes.put_u16(DATA);
    bytes.put_u16(u16::try_from(data.len()).expect("a datagram is shorter than 64 KiB"));
    bytes.put_slice(data);
    bytes.put_bytes(0, padded - data.len());
    bytes
}

/// The length of the first message in a stream, with its padding; `None` as long as it is not known. RFC 8656 §12.5.
pub(crate) fn message_length(stream: &[u8]) -> Option<usize> {
    let &[first, _, l0, l1] = stream.first_chunk::<4>()?;
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    let is_channel_data = (0x40..=0x4f).contains(&first);
    Some(if is_channel_data { CHANNEL_HEADER_BYTES + length.next_multiple_of(4) } else { HEADER_BYTES + length })
}

/// Data that the server relays.
pub(super) enum Relayed<'d> {
    /// In a ChannelData message.
    Channel(u16, &'d [u8]),
    /// In a Data indication.
    Peer(SocketAddr, &'d [u8]),
}

/// Whether a datagram of the server carries data: ChannelData, or a Data indication.
pub(super) fn carries_data(bytes: &[u8]) -> bool {
    //= https://www.rfc-editor.org/rfc/rfc8656#section-12-5
    //# ChannelData messages can be distinguished from other multiplexed
    //# protocols by examining the first byte of the message
    bytes.first().is_some_and(|first| (0x40..=0x4f).contains(first)) || bytes.starts_with(&DATA_INDICATION)
}

/// The data in a datagram of the server; `None` if it is malformed.
pub(super) fn relayed(bytes: &[u8]) -> Option<Relayed<'_>> {
    if !bytes.starts_with(&DATA_INDICATION) {
        let (&[n0, n1, l0, l1], data) = bytes.split_first_chunk::<CHANNEL_HEADER_BYTES>()?;
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        return Some(Relayed::Channel(u16::from_be_bytes([n0, n1]), data.get(..length)?));
    }
    let (mut peer, mut data) = (None, None);
    let mut rest = bytes.get(HEADER_BYTES..)?;
    while let [t0, t1, l0, l1, value @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        let attribute = value.get(..length)?;
        match u16::from_be_bytes([*t0, *t1]) {
            XOR_PEER_ADDRESS => peer = xor_address(attribute, bytes.get(8..HEADER_BYTES)?),
            DATA => data = Some(attribute),
            _ => {}
        }
        rest = value.get(length.next_multiple_of(4)..)?;
    }
    Some(Relayed::Peer(peer?, data?))
}

/// The value of an XOR-…-ADDRESS attribute in a message with this transaction id. RFC 8489 §14.2.
fn xored(address: SocketAddr, id: &[u8]) -> Vec<u8> {
    let (family, ip) = match address.ip() {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    let mask = || MAGIC_COOKIE.iter().chain(id);
    let port = address.port().to_be_bytes();
    let (port, ip) = (port.iter().zip(mask()), ip.iter().zip(mask()));
    [0, family].into_iter().chain(port.chain(ip).map(|(byte, mask)| byte ^ mask)).collect()
}

/// The address in an XOR-…-ADDRESS attribute of a message with this transaction id.
fn xor_address(value: &[u8], id: &[u8]) -> Option<SocketAddr> {
    let [_, family, port @ ..] = value else { return None };
    let (port, ip) = port.split_first_chunk::<2>()?;
    let mask = || MAGIC_COOKIE.iter().chain(id);
    let ip: Vec<u8> = ip.iter().zip(mask()).map(|(byte, mask)| byte ^ mask).collect();
    let ip: IpAddr = match family {
        1 => <[u8; 4]>::try_from(ip).ok()?.into(),
        2 => <[u8; 16]>::try_from(ip).ok()?.into(),
        _ => return None,
    };
    let port = u16::from_be_bytes(*port) ^ u16::from_be_bytes([MAGIC_COOKIE[0], MAGIC_COOKIE[1]]);
    Some(SocketAddr::new(ip, port))
}
