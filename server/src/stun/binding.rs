//! Answers to STUN Binding requests (RFC 8489), including NAT behavior discovery (RFC 5780).

use std::net::SocketAddr;

use super::message::{Class, ErrorCode, Message, Writer, attribute, method, u16_at};

/// The largest PADDING that is sent: the size of an Ethernet frame, which makes the answer two fragments.
const PADDING_BYTES_MAX: usize = 1500;
const CHANGE_IP: u8 = 0x04;
const CHANGE_PORT: u8 = 0x02;
const BAD_REQUEST: ErrorCode = ErrorCode(400, "Bad Request");

/// The server's own addresses, and the one at which a request arrived.
///
/// With four (RFC 5780: two addresses × two ports), bit 0 of the index is the port, bit 1 the IP address.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// One address, or four: `[A1:P1, A1:P2, A2:P1, A2:P2]`.
    pub addresses: &'a [SocketAddr],
    /// The index of the address at which the request arrived.
    pub index: usize,
}

/// The source and destination of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The index of its source address.
    pub from: usize,
    /// Its destination.
    pub to: SocketAddr,
}

/// Answers one message from `from` to `origin`. Writes the answer to `out` and returns its route. Returns `None` if RFC
/// 8489 requires no answer: for anything but a well-formed Binding request.
#[must_use]
pub fn answer(datagram: &[u8], from: SocketAddr, origin: Origin<'_>, out: &mut Vec<u8>) -> Option<Route> {
    match Message::parse(datagram) {
        Some(request) => respond(&request, from, origin, out),
        None => respond_classic(datagram, from, origin, out),
    }
}

/// Answers a client of RFC 3489, which also uses CHANGE-REQUEST, if this server supports NAT discovery. Otherwise it
/// does not answer, as RFC 8489 requires for a wrong magic cookie.
//= https://www.rfc-editor.org/rfc/rfc5389#section-12.2
//# When the server detects an RFC 3489 client, it
//# SHOULD copy the value seen in the magic cookie field in the Binding
//# request to the magic cookie field in the Binding response message,
//# and insert a MAPPED-ADDRESS attribute instead of an
//# XOR-MAPPED-ADDRESS attribute.
pub(crate) fn respond_classic(
    datagram: &[u8],
    from: SocketAddr,
    origin: Origin<'_>,
    out: &mut Vec<u8>,
) -> Option<Route> {
    if origin.addresses.len() != 4 {
        return None;
    }
    let request = Message::parse_classic(datagram)?;
    if (request.class, request.method) != (Class::Request, method::BINDING) {
        return None;
    }
    let unknown = request.unknown(|kind| is_known(kind) || kind == attribute::CHANGE_REQUEST);
    if !unknown.as_slice().is_empty() {
        Writer::answer(out, Class::Error, &request).unknown_attributes(&unknown);
        return Some(Route { from: origin.index, to: from });
    }
    let route = Route { from: origin.index ^ DiscoveryRequest::of(&request).ok()?.flip, to: from };
    Writer::answer(out, Class::Success, &request)
        .address(attribute::MAPPED_ADDRESS, SocketAddr::new(from.ip().to_canonical(), from.port()))
        .address(attribute::SOURCE_ADDRESS, origin.addresses[route.from])
        .address(attribute::CHANGED_ADDRESS, origin.addresses[origin.index ^ 3]);
    Some(route)
}

/// [`answer`] for a parsed message.
pub(crate) fn respond(request: &Message<'_>, from: SocketAddr, origin: Origin<'_>, out: &mut Vec<u8>) -> Option<Route> {
    if request.class != Class::Request || !is_binding(request) {
        return None;
    }
    // A dual-stack socket shows IPv4 sources as ::ffff:a.b.c.d; the client needs its IPv4 address.
    let mapped = SocketAddr::new(from.ip().to_canonical(), from.port());
    let mut route = Route { from: origin.index, to: from };
    //= https://www.rfc-editor.org/rfc/rfc5780#section-6
    //# If a server cannot allocate the same ports on two
    //# different IP address, then it MUST NOT include an OTHER-ADDRESS
    //# attribute in any Response and MUST respond with a 420 (Unknown
    //# Attribute) to any Request with a CHANGE-REQUEST attribute.
    let discovers = origin.addresses.len() == 4;
    let unknown = request.unknown(|kind| is_known(kind) || discovers && is_discovery(kind));
    let mut answer = if !unknown.as_slice().is_empty() {
        Writer::answer(out, Class::Error, request).unknown_attributes(&unknown)
    } else if !discovers {
        Writer::answer(out, Class::Success, request).xor_address(attribute::XOR_MAPPED_ADDRESS, mapped)
    } else if let Ok(discovery) = DiscoveryRequest::of(request) {
        route.from ^= discovery.flip;
        route.to.set_port(discovery.port.unwrap_or(from.port()));
        //= https://www.rfc-editor.org/rfc/rfc5780#section-6.1
        //# The server MUST include both MAPPED-ADDRESS and XOR-MAPPED-ADDRESS in
        //# its Response.
        let answer = Writer::answer(out, Class::Success, request)
            .address(attribute::MAPPED_ADDRESS, mapped)
            .xor_address(attribute::XOR_MAPPED_ADDRESS, mapped)
            .address(attribute::RESPONSE_ORIGIN, origin.addresses[route.from])
            .address(attribute::OTHER_ADDRESS, origin.addresses[origin.index ^ 3]);
        match discovery.padding {
            // The RFC asks for the MTU's length whatever the request's. It is at most as long as the request's here, so
            // that the server cannot be used to amplify traffic to a victim.
            Some(length) => answer.attribute(attribute::PADDING, &[0; PADDING_BYTES_MAX][..length]),
            None => answer,
        }
    } else {
        Writer::answer(out, Class::Error, request).error(BAD_REQUEST)
    };
    answer = answer.software();
    if request.has_fingerprint {
        answer.fingerprint();
    }
    Some(route)
}

/// Whether a message has STUN's own method.
pub(crate) fn is_binding(message: &Message<'_>) -> bool {
    message.method == method::BINDING
}

/// What a client may request with RFC 5780.
struct DiscoveryRequest {
    /// The bits of the index to change.
    flip: usize,
    port: Option<u16>,
    padding: Option<usize>,
}

impl DiscoveryRequest {
    fn of(request: &Message<'_>) -> Result<Self, ErrorCode> {
        let flags = match request.attribute(attribute::CHANGE_REQUEST) {
            None => 0,
            Some(&[_, _, _, flags]) => flags,
            Some(_) => return Err(BAD_REQUEST),
        };
        let flip = usize::from(flags & CHANGE_PORT != 0) | usize::from(flags & CHANGE_IP != 0) << 1;
        let port = match request.attribute(attribute::RESPONSE_PORT) {
            None => None,
            Some(value) if matches!(value.len(), 2 | 4) => u16_at(value, 0),
            Some(_) => return Err(BAD_REQUEST),
        };
        let padding = request.attribute(attribute::PADDING).map(|padding| padding.len().min(PADDING_BYTES_MAX));
        //= https://www.rfc-editor.org/rfc/rfc5780#section-6.1
        //# If the Request also contains the
        //# RESPONSE-PORT attribute the server MUST return an error response of
        //# type 400.
        if padding.is_some() && port.is_some() {
            return Err(BAD_REQUEST);
        }
        Ok(Self { flip, port, padding })
    }
}

/// Whether an attribute can be ignored: one of RFC 8489's own, which have no meaning in a Binding request without
/// authentication.
fn is_known(kind: u16) -> bool {
    matches!(kind, 0x0001 | 0x0006 | 0x0008..=0x000a | 0x0014 | 0x0015 | 0x001c | 0x001d | 0x001e | 0x0020)
}

fn is_discovery(kind: u16) -> bool {
    matches!(kind, attribute::CHANGE_REQUEST | attribute::PADDING | attribute::RESPONSE_PORT)
}
