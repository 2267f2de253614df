//! The STUN messages of a probe (RFC 8489, RFC 5780): Binding requests, and what matters of the answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const HEADER_BYTES: usize = 20;
const MAGIC_COOKIE: [u8; 4] = 0x2112_a442_u32.to_be_bytes();
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;
const CHANGE_REQUEST: u16 = 0x0003;
const ERROR_CODE: u16 = 0x0009;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const RESPONSE_PORT: u16 = 0x0027;
const OTHER_ADDRESS: u16 = 0x802c;

/// The bytes that tell answers apart.
pub(super) type TransactionId = [u8; 12];

/// What a request asks for besides the mapped address.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wish {
    /// An answer from the server's other IP address.
    pub(super) change_ip: bool,
    /// An answer from the server's other port.
    pub(super) change_port: bool,
    /// An answer to this port of the IP address from which the request comes.
    pub(super) response_port: Option<u16>,
}

/// An answer to a Binding request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Success {
        mapped: SocketAddr,
        /// The server's address with another IP address and another port.
        other: Option<SocketAddr>,
    },
    /// The code of an error response, such as 420.
    Error(u16),
}

/// A Binding request.
pub(super) fn request(id: TransactionId, wish: Wish) -> Vec<u8> {
    let mut attributes = Vec::new();
    let mut attribute = |kind: u16, value: [u8; 4]| {
        attributes.extend(kind.to_be_bytes());
        attributes.extend(4_u16.to_be_bytes());
        attributes.extend(value);
    };
    if wish.change_ip || wish.change_port {
        attribute(CHANGE_REQUEST, [0, 0, 0, u8::from(wish.change_ip) << 2 | u8::from(wish.change_port) << 1]);
    }
    if let Some(port) = wish.response_port {
        let [high, low] = port.to_be_bytes();
        attribute(RESPONSE_PORT, [high, low, 0, 0]);
    }
    let mut message = Vec::with_capacity(HEADER_BYTES + attributes.len());
    message.extend(BINDING_REQUEST.to_be_bytes());
    message.extend((attributes.len() as u16).to_be_bytes());
    message.extend(MAGIC_COOKIE);
    message.extend(id);
    message.extend(attributes);
    message
}

/// The transaction of a message, if it is a Binding request or an answer to one.
pub(super) fn transaction(datagram: &[u8]) -> Option<TransactionId> {
    let header = datagram.get(..HEADER_BYTES)?;
    let kind = u16::from_be_bytes([header[0], header[1]]);
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let is_ours = [BINDING_REQUEST, BINDING_SUCCESS, BINDING_ERROR].contains(&kind)
        && header[4..8] == MAGIC_COOKIE
        && datagram.len() == HEADER_BYTES + length;
    is_ours.then(|| header[8..].try_into().expect("a transaction id is twelve bytes"))
}

/// Reads the answer to a request. `None` if it is none, or if it has no mapped address.
pub(super) fn answer(datagram: &[u8], id: TransactionId) -> Option<Answer> {
    if transaction(datagram)? != id {
        return None;
    }
    let (mut mapped, mut other, mut error) = (None, None, None);
    let mut rest = &datagram[HEADER_BYTES..];
    while let Some((head, after)) = rest.split_first_chunk::<4>() {
        let kind = u16::from_be_bytes([head[0], head[1]]);
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let value = after.get(..length)?;
        match kind {
            XOR_MAPPED_ADDRESS => mapped = mapped.or(address(value, true, id)),
            OTHER_ADDRESS => other = other.or(address(value, false, id)),
            ERROR_CODE => error = value.get(2..4).map(|code| u16::from(code[0] & 7) * 100 + u16::from(code[1])),
            _ => {}
        }
        rest = after.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    match u16::from_be_bytes([datagram[0], datagram[1]]) {
        BINDING_SUCCESS => mapped.map(|mapped| Answer::Success { mapped, other }),
        BINDING_ERROR => error.map(Answer::Error),
        _ => None,
    }
}

/// The value of an address attribute (RFC 8489 §14.1, §14.2).
fn address(value: &[u8], is_xored: bool, id: TransactionId) -> Option<SocketAddr> {
    let mut mask = [0; 16];
    if is_xored {
        mask[..4].copy_from_slice(&MAGIC_COOKIE);
        mask[4..].copy_from_slice(&id);
    }
    let (head, ip) = value.split_first_chunk::<4>()?;
    let port = u16::from_be_bytes([head[2] ^ mask[0], head[3] ^ mask[1]]);
    let ip = match (head[1], ip.len()) {
        (1, 4) => IpAddr::V4(Ipv4Addr::from(std::array::from_fn(|byte| ip[byte] ^ mask[byte]))),
        (2, 16) => IpAddr::V6(Ipv6Addr::from(std::array::from_fn::<u8, 16, _>(|byte| ip[byte] ^ mask[byte]))),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sample of RFC 5769 §2.2 has the mapped address 192.0.2.1:32853; here are its header and that attribute.
    #[test]
    fn the_mapped_address_of_an_answer_is_read() {
        let id = [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];
        let mut datagram = vec![0x01, 0x01, 0x00, 0x0c, 0x21, 0x12, 0xa4, 0x42];
        datagram.extend(id);
        datagram.extend([0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]);
        let mapped = SocketAddr::from(([192, 0, 2, 1], 32_853));
        assert_eq!(answer(&datagram, id), Some(Answer::Success { mapped, other: None }));
        assert_eq!(answer(&datagram, [0; 12]), None, "of another transaction");
        for length in 0..datagram.len() {
            assert_eq!(answer(&datagram[..length], id), None, "cut to {length} bytes");
        }
    }

    #[test]
    fn a_request_says_what_it_wants() {
        let wish = Wish { change_ip: true, change_port: true, response_port: Some(0x1234) };
        let message = request([9; 12], wish);
        assert_eq!(message[..8], [0, 1, 0, 16, 0x21, 0x12, 0xa4, 0x42]);
        assert_eq!(message[20..], [0, 3, 0, 4, 0, 0, 0, 6, 0, 0x27, 0, 4, 0x12, 0x34, 0, 0]);
        assert_eq!(transaction(&message), Some([9; 12]));
    }
}
