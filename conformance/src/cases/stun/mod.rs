//! RFC 8489: what a STUN server must answer, and what it must not.

use crate::case::Case;
use crate::case::Level::{May, Must, Should};

mod answers;
mod framing;
mod silence;
mod tcp;

pub(crate) use framing::lists;

/// What every other case needs: a Binding request is answered.
pub(crate) const BINDING: &[&str] = &["stun/binding"];

pub(crate) const CASES: &[&Case] = &[
    &Case::network("stun/binding", Must, "A Binding request is answered with a success response with the same transaction id.", |cx| {
        Box::pin(answers::binding(cx))
    })
    .cites(&[
        rfc!("8489", "6.3.1", "If all the checks succeed, the server formulates a success response as described below."),
        rfc!("8489", "6.3.1.1", "The method of the response is the same as that of the request, and the message class is either \"Success Response\" or \"Error Response\"."),
    ]),
    &Case::network("stun/xor-v4", Must, "XOR-MAPPED-ADDRESS is the IPv4 address that the request came from.", |cx| {
        Box::pin(answers::xor_v4(cx))
    })
    .needs(BINDING)
    .cites(&[XOR_MAPPED]),
    &Case::network("stun/xor-v6", Must, "XOR-MAPPED-ADDRESS is the IPv6 address that the request came from.", |cx| {
        Box::pin(answers::xor_v6(cx))
    })
    .needs(BINDING)
    .cites(&[
        XOR_MAPPED,
        rfc!("8489", "14.2", "If the IP address family is IPv6, X-Address is computed by XOR'ing the mapped IP address with the concatenation of the magic cookie and the 96-bit transaction ID."),
    ]),
    &Case::network("stun/no-mixup", Must, "Each of thirty-two simultaneous clients receives its own address, once.", |cx| {
        Box::pin(answers::no_mixup(cx))
    })
    .needs(BINDING)
    .cites(&[XOR_MAPPED]),
    &Case::network("stun/transaction-id", Must, "Any transaction id is returned unchanged, including all zeros and all ones.", |cx| {
        Box::pin(answers::transaction_id(cx))
    })
    .needs(BINDING)
    .cites(&[rfc!("8489", "5", "Success and error responses MUST carry the same transaction ID as their corresponding request.")]),
    &Case::network("stun/retransmit", Must, "A retransmitted request is answered again, with the same address.", |cx| {
        Box::pin(answers::retransmit(cx))
    })
    .needs(BINDING)
    .cites(&[rfc!("8489", "6.3.1", "The server MUST respond to retransmissions such that the following property is preserved: if the client receives the response to the retransmission and not the response that was sent to the original request, the overall state on the client and server is identical to the case where only the response to the original retransmission is received or where both responses are received (in which case the client will use the first).")]),
    &Case::network("stun/source-address", Must, "The answer comes from the address that the request was sent to.", |cx| {
        Box::pin(answers::source_address(cx))
    })
    .needs(BINDING)
    .cites(&[rfc!("8489", "6.3.1.2", "If the request was received over UDP or DTLS-over-UDP, the destination IP address and port of the response are the source IP address and port of the received request message, and the source IP address and port of the response are equal to the destination IP address and port of the received request message.")]),
    &Case::network("stun/every-address", Must, "At each address of the server, a request is answered from that address.", |cx| {
        Box::pin(answers::every_address(cx))
    })
    .needs(BINDING)
    .cites(&[rfc!("8489", "6.3.1.2", "If the request was received over UDP or DTLS-over-UDP, the destination IP address and port of the response are the source IP address and port of the received request message, and the source IP address and port of the response are equal to the destination IP address and port of the received request message.")]),
    &Case::network("stun/well-formed", Must, "Answers are well-formed: zero padding, a correct FINGERPRINT in the last place, and no unknown comprehension-required attribute.", |cx| {
        Box::pin(answers::well_formed(cx))
    })
    .needs(BINDING)
    .cites(&[
        rfc!("8489", "14", "The padding bits MUST be set to zero on sending and MUST be ignored by the receiver."),
        rfc!("8489", "14.7", "When present, the FINGERPRINT attribute MUST be the last attribute in the message and thus will appear after MESSAGE-INTEGRITY and MESSAGE-INTEGRITY-SHA256."),
    ]),
    &Case::network("stun/software", Should, "Answers name the software.", |cx| Box::pin(answers::software(cx)))
        .needs(BINDING)
        .cites(&[rfc!("8489", "6.3.1.1", "In addition, the server SHOULD add a SOFTWARE attribute to the message.")]),
    &Case::network("stun/fingerprint", Should, "A request with a correct FINGERPRINT is answered with a correct FINGERPRINT.", |cx| {
        Box::pin(answers::fingerprint(cx))
    })
    .needs(BINDING)
    .cites(&[rfc!("8489", "7", "When the FINGERPRINT extension is used, an agent includes the FINGERPRINT attribute in messages it sends to another agent.")]),
    &Case::network("stun/amplification", May, "How many bytes a request can trigger: an answer should not be much longer than the request.", |cx| {
        Box::pin(answers::amplification(cx))
    })
    .needs(BINDING),
    &Case::network("stun/unknown-required", Must, "An unknown comprehension-required attribute is answered with 420 and the list of such attributes.", |cx| {
        Box::pin(framing::unknown_required(cx))
    })
    .needs(BINDING)
    .cites(&[
        rfc!("8489", "6.3.1", "If the request contains one or more unknown comprehension-required attributes, the server replies with an error response with an error code of 420 (Unknown Attribute) and includes an UNKNOWN-ATTRIBUTES attribute in the response that lists the unknown comprehension-required attributes."),
        rfc!("8489", "14.8", "The server MUST put this unknown attribute in the UNKNOWN-ATTRIBUTE attribute of its error response."),
    ]),
    &Case::network("stun/unknown-optional", Must, "An unknown comprehension-optional attribute is ignored.", |cx| {
        Box::pin(framing::unknown_optional(cx))
    })
    .needs(BINDING)
    .cites(&[rfc!("8489", "6.3", "Unknown comprehension-optional attributes MUST be ignored by the agent.")]),
    &Case::network("stun/padding", Must, "Padding of any value is ignored.", |cx| Box::pin(framing::padding(cx)))
        .needs(BINDING)
        .cites(&[rfc!("8489", "14", "The padding bits MUST be set to zero on sending and MUST be ignored by the receiver.")]),
    &Case::network("stun/behind-integrity", Must, "Attributes after MESSAGE-INTEGRITY are ignored, even comprehension-required ones.", |cx| {
        Box::pin(framing::behind_integrity(cx))
    })
    .needs(BINDING)
    .cites(&[rfc!("8489", "9", "Note that agents MUST ignore all attributes that follow MESSAGE-INTEGRITY, with the exception of the MESSAGE-INTEGRITY-SHA256 and FINGERPRINT attributes.")]),
    &Case::network("stun/vectors-5769", Must, "The requests of RFC 5769 are accepted, and one flipped bit in the first is detected.", |cx| {
        Box::pin(framing::vectors_5769(cx))
    })
    .needs(BINDING)
    .cites(&[SILENT]),
    &Case::network("stun/bad-cookie", Must, "A request without the magic cookie is ignored, or answered as RFC 3489 defines.", |cx| {
        Box::pin(silence::bad_cookie(cx))
    })
    .needs(BINDING)
    .cites(&[CHECKS, SILENT]),
    &Case::network("stun/first-bits", Must, "A datagram whose first two bits are not zero is ignored.", |cx| {
        Box::pin(silence::first_bits(cx))
    })
    .needs(BINDING)
    .cites(&[CHECKS, SILENT])
    .alone(),
    &Case::network("stun/bad-length", Must, "A request with a wrong length field is ignored.", |cx| {
        Box::pin(silence::bad_length(cx))
    })
    .needs(BINDING)
    .cites(&[CHECKS, SILENT, rfc!("8489", "5", "The message length MUST contain the size of the message in bytes, not including the 20-byte STUN header.")])
    .alone(),
    &Case::network("stun/short", Must, "A datagram shorter than a header is ignored: zero, one and nineteen bytes.", |cx| {
        Box::pin(silence::short(cx))
    })
    .needs(BINDING)
    .cites(&[CHECKS, SILENT])
    .alone(),
    &Case::network("stun/long", Must, "Datagrams of up to 60,000 bytes do not stop the server: what is not STUN is ignored.", |cx| {
        Box::pin(silence::long(cx))
    })
    .needs(BINDING)
    .cites(&[CHECKS, SILENT])
    .alone(),
    &Case::network("stun/attribute-overrun", Should, "An attribute that extends beyond its message is ignored or answered with 400, not with success.", |cx| {
        Box::pin(silence::attribute_overrun(cx))
    })
    .needs(BINDING)
    .cites(&[rfc!("8489", "14", "The value in the Length field MUST contain the length of the Value part of the attribute, prior to padding, measured in bytes.")])
    .alone(),
    &Case::network("stun/unknown-method", Must, "A request of an unknown method is ignored.", |cx| {
        Box::pin(silence::unknown_method(cx))
    })
    .needs(BINDING)
    .cites(&[CHECKS, SILENT]),
    &Case::network("stun/response-ignored", Must, "An unexpected response is ignored: otherwise two servers could answer each other forever.", |cx| {
        Box::pin(silence::response_ignored(cx))
    })
    .needs(BINDING)
    .cites(&[
        rfc!("8489", "6.3", "If the message class is \"Success Response\" or \"Error Response\", the agent checks that the transaction ID matches a transaction that is still in progress."),
        SILENT,
    ]),
    &Case::network("stun/indication", Must, "A Binding indication is not answered, whatever it contains.", |cx| {
        Box::pin(silence::indication(cx))
    })
    .needs(BINDING)
    .cites(&[
        rfc!("8489", "6.3.2", "No response is generated for an indication."),
        rfc!("8489", "6.3.2", "If the indication contains unknown comprehension-required attributes, the indication is discarded and processing ceases."),
    ]),
    &Case::network("stun/tcp", Must, "Over TCP, a request is answered with the connection's address, and the connection stays open.", |cx| {
        Box::pin(tcp::answers(cx))
    })
    .needs(BINDING)
    .cites(&[
        rfc!("8489", "6.3.1.1", "For TCP and TLS-over-TCP, this is the source IP address and source TCP port of the TCP connection as seen by the server."),
        rfc!("8489", "6.2.2", "At the server end, the server SHOULD keep the connection open and let the client close it, unless the server has determined that the connection has timed out (for example, due to the client disconnecting from the network)."),
    ]),
    &Case::network("stun/tcp-split", Must, "Over TCP, a request that arrives byte by byte is answered, and so are two that arrive together.", |cx| {
        Box::pin(tcp::split(cx))
    })
    .needs(&["stun/tcp"])
    .cites(&[
        rfc!("8489", "6.2.2", "In this case, it can be sent without the aid of any additional framing or demultiplexing."),
        rfc!("8489", "6.2.2", "The client MAY send multiple transactions over a single TCP (or TLS-over-TCP) connection, and it MAY send another request before receiving a response to the previous request."),
    ]),
];

const XOR_MAPPED: crate::case::Citation = rfc!(
    "8489",
    "6.3.1.1",
    "When forming the success response, the server adds an XOR-MAPPED-ADDRESS attribute to the response; this attribute contains the source transport address of the request message."
);
const CHECKS: crate::case::Citation = rfc!(
    "8489",
    "6.3",
    "It checks that the first two bits are 0, that the Magic Cookie field has the correct value, that the message length is sensible, and that the method value is a supported method."
);
const SILENT: crate::case::Citation =
    rfc!("8489", "6.3", "If any errors are detected, the message is silently discarded.");
