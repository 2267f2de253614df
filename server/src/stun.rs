//! STUN Binding over UDP: tells a client which address its datagrams come from.
//!
//! Checks what stun-rs' decoder lets pass (trailing bytes, a wrong FINGERPRINT, unknown attributes) on the bytes
//! themselves, so that garbage costs no allocation; stun-rs writes the answers.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, LazyLock};

use stun_rs::attributes::stun::{ErrorCode, Fingerprint, Software, UnknownAttributes, XorMappedAddress};
use stun_rs::methods::BINDING;
use stun_rs::{MessageClass, MessageEncoderBuilder, StunMessageBuilder, TransactionId};

use crate::net::Udp;
use crate::session::registry::Registry;
use crate::stop::Stop;

/// Room for any answer: header 20, ERROR-CODE 24, UNKNOWN-ATTRIBUTES 4 + 2 × [`UNKNOWN_MAX`], SOFTWARE 12, FINGERPRINT 8.
pub const ANSWER_BYTES_MAX: usize = 256;
/// The longest request that is read; a longer datagram is cut, does not match its length field any more, and is dropped.
const REQUEST_BYTES_MAX: usize = 2048;
/// How many unknown attributes are named; a 420 has no use for more.
const UNKNOWN_MAX: usize = 32;

const HEADER_BYTES: usize = 20;
const MAGIC_COOKIE: [u8; 4] = 0x2112_a442_u32.to_be_bytes();
const BINDING_REQUEST: u16 = 0x0001;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;
const FINGERPRINT: u16 = 0x8028;
const SOFTWARE_NAME: &str = "glare";

/// What a valid Binding request asks for.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    transaction_id: [u8; 12],
    /// Comprehension-required attributes that are not in RFC 8489.
    unknown: Vec<u16>,
    has_fingerprint: bool,
}

/// Answers one datagram that came from `from`. Writes at most [`ANSWER_BYTES_MAX`] bytes to `out` and returns how many,
/// or `None` where RFC 8489 wants silence: for anything but a well-formed Binding request. A smaller `out` may also
/// end in silence.
#[must_use]
pub fn answer(datagram: &[u8], from: SocketAddr, out: &mut [u8]) -> Option<usize> {
    static SOFTWARE: LazyLock<Software> =
        LazyLock::new(|| Software::new(SOFTWARE_NAME).expect("it is short and printable"));

    let request = Request::parse(datagram)?;
    let class = if request.unknown.is_empty() { MessageClass::SuccessResponse } else { MessageClass::ErrorResponse };
    let mut answer =
        StunMessageBuilder::new(BINDING, class).with_transaction_id(TransactionId::from(request.transaction_id));
    if request.unknown.is_empty() {
        // A dual-stack socket shows IPv4 sources as ::ffff:a.b.c.d; the client wants to know its IPv4 address.
        let mapped = SocketAddr::new(from.ip().to_canonical(), from.port());
        answer = answer.with_attribute(XorMappedAddress::from(mapped));
    } else {
        //= https://www.rfc-editor.org/rfc/rfc8489#section-6.3.1
        //# If the request contains one or more unknown comprehension-required
        //# attributes, the server replies with an error response with an error
        //# code of 420 (Unknown Attribute) and includes an UNKNOWN-ATTRIBUTES
        //# attribute in the response that lists the unknown comprehension-required attributes.
        let error = stun_rs::ErrorCode::new(420, "Unknown Attribute").expect("420 is an error code");
        answer = answer
            .with_attribute(ErrorCode::new(error))
            .with_attribute(UnknownAttributes::from(request.unknown.as_slice()));
    }
    answer = answer.with_attribute(SOFTWARE.clone());
    if request.has_fingerprint {
        answer = answer.with_attribute(Fingerprint::default());
    }
    MessageEncoderBuilder::default().build().encode(out, &answer.build()).ok()
}

impl Request {
    //= https://www.rfc-editor.org/rfc/rfc8489#section-6.3
    //# If any errors are detected, the message is silently discarded.
    fn parse(datagram: &[u8]) -> Option<Self> {
        let (header, attributes) = datagram.split_at_checked(HEADER_BYTES)?;
        let length = usize::from(u16_at(header, 2)?);
        // The type covers the first two bits (0), the class and the method.
        if u16_at(header, 0)? != BINDING_REQUEST || header[4..8] != MAGIC_COOKIE {
            return None;
        }
        if length != attributes.len() || !length.is_multiple_of(4) {
            return None;
        }
        let mut request =
            Self { transaction_id: header[8..20].try_into().ok()?, unknown: Vec::new(), has_fingerprint: false };
        let mut is_sealed = false;
        let mut at = 0;
        while at < attributes.len() {
            let (kind, length) = (u16_at(attributes, at)?, usize::from(u16_at(attributes, at + 2)?));
            let value = attributes.get(at + 4..at + 4 + length)?;
            let next = at + 4 + length.next_multiple_of(4);
            match kind {
                FINGERPRINT => {
                    //= https://www.rfc-editor.org/rfc/rfc8489#section-14.7
                    //# When present, the FINGERPRINT attribute MUST be the last attribute in
                    //# the message and thus will appear after MESSAGE-INTEGRITY and
                    //# MESSAGE-INTEGRITY-SHA256.
                    let fingerprint: [u8; 4] = value.try_into().ok()?;
                    let covered = &datagram[..HEADER_BYTES + at];
                    if next != attributes.len() || !Fingerprint::from(fingerprint).validate(covered) {
                        return None;
                    }
                    request.has_fingerprint = true;
                }
                //= https://www.rfc-editor.org/rfc/rfc8489#section-14.5
                //# With the exception of the MESSAGE-INTEGRITY-SHA256 and FINGERPRINT
                //# attributes, which appear after MESSAGE-INTEGRITY, agents MUST ignore
                //# all other attributes that follow MESSAGE-INTEGRITY.
                MESSAGE_INTEGRITY | MESSAGE_INTEGRITY_SHA256 => is_sealed = true,
                _ if is_sealed || is_known(kind) => {}
                _ if request.unknown.len() < UNKNOWN_MAX && !request.unknown.contains(&kind) => {
                    request.unknown.push(kind);
                }
                _ => {}
            }
            at = next;
        }
        Some(request)
    }
}

/// Whether an attribute may be left alone: comprehension-optional (RFC 8489 §14), or one of RFC 8489's own, which carry
/// no meaning in a Binding request without authentication.
fn is_known(kind: u16) -> bool {
    kind >= 0x8000
        || matches!(kind, 0x0001 | 0x0006 | 0x0008..=0x000a | 0x0014 | 0x0015 | 0x001c | 0x001d | 0x001e | 0x0020)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// Answers datagrams until `stop` says true.
pub(crate) async fn serve<U: Udp>(socket: U, stop: Arc<Stop>, registry: Arc<Registry>) {
    let (mut datagram, mut out) = ([0; REQUEST_BYTES_MAX], [0; ANSWER_BYTES_MAX]);
    loop {
        let received = tokio::select! {
            biased;
            () = stop.heard() => return,
            received = socket.recv_from(&mut datagram) => received,
        };
        // An error here concerns an earlier datagram's destination; it does not end the socket.
        let Ok((length, from)) = received else { continue };
        registry.metrics.stun_received.fetch_add(1, Relaxed);
        let Some(length) = answer(&datagram[..length], from, &mut out) else { continue };
        registry.metrics.stun_answered.fetch_add(1, Relaxed);
        if let Err(error) = socket.send_to(&out[..length], from).await {
            tracing::debug!(%from, %error, "failed to answer a Binding request");
        }
    }
}
