//! RFC 5780: what a server reports to clients that discover the behaviour of their NAT.

use std::net::SocketAddr;

use crate::case::Case;
use crate::case::Level::{May, Must};
use crate::cases::stun::{BINDING, lists};
use crate::stop::Stop;
use crate::stun::client::{Answer, UdpClient, shown};
use crate::stun::cx::StunCx;
use crate::stun::names::attr;
use crate::stun::wire::Message;

/// The flags of CHANGE-REQUEST.
const CHANGE_IP: u8 = 4;
const CHANGE_PORT: u8 = 2;

pub(crate) const CASES: &[&Case] = &[
    &Case::network("nat-behaviour/both-mapped", Must, "Answers contain the client's address twice: XORed and plain.", |cx| {
        Box::pin(both_mapped(cx))
    })
    .needs(BINDING)
    .cites(&[rfc!("5780", "6.1", "The server MUST include both MAPPED-ADDRESS and XOR-MAPPED-ADDRESS in its Response.")]),
    &Case::network("nat-behaviour/response-origin", Must, "RESPONSE-ORIGIN is the address that the answer comes from.", |cx| {
        Box::pin(response_origin(cx))
    })
    .needs(BINDING)
    .cites(&[rfc!("5780", "6.1", "The server MUST add a RESPONSE-ORIGIN attribute to the Binding Response, containing the source address and port used to send the Binding Response.")]),
    &Case::network("nat-behaviour/other-address", Must, "OTHER-ADDRESS has another IP address and another port; the server answers there too and names the first.", |cx| {
        Box::pin(other_address(cx))
    })
    .needs(BINDING)
    .cites(&[
        rfc!("5780", "6.1", "If the server supports an alternate address and port, the server MUST add an OTHER-ADDRESS attribute to the Binding Response."),
        rfc!("5780", "7.4", "OTHER-ADDRESS MUST NOT be inserted into a Binding Response unless the server has a second IP address."),
    ]),
    &Case::network("nat-behaviour/change-matrix", Must, "CHANGE-REQUEST selects which of the four addresses answers, whichever received the request.", |cx| {
        Box::pin(change_matrix(cx))
    })
    .needs(BINDING)
    .cites(&[
        rfc!("5780", "6.1", "If the \"change port\" flag was set in the CHANGE-REQUEST attribute of the Binding Request, and the \"change IP\" flag was not set, the source IP address of the Binding Response MUST be Da and the source port of the Binding Response MUST be Cp."),
        rfc!("5780", "6.1", "When both flags are set, the source IP address of the Binding Response MUST be Ca and the source port of the Binding Response MUST be Cp."),
        rfc!("5780", "6.1", "As summarized in Table 1, these are Ca and Cp, respectively, regardless of the value of the CHANGE-REQUEST flags."),
    ]),
    &Case::network("nat-behaviour/single-ip", Must, "A server with one address refuses CHANGE-REQUEST with 420 and sends no OTHER-ADDRESS.", |cx| {
        Box::pin(single_ip(cx))
    })
    .needs(BINDING)
    .cites(&[
        rfc!("5780", "6.1", "If the Request contains the CHANGE-REQUEST attribute and the server does not have an alternate address and port as described above, the server MUST generate an error response of type 420."),
        rfc!("5780", "6", "If a server cannot allocate the same ports on two different IP address, then it MUST NOT include an OTHER-ADDRESS attribute in any Response and MUST respond with a 420 (Unknown Attribute) to any Request with a CHANGE-REQUEST attribute."),
    ]),
    &Case::network("nat-behaviour/response-port", May, "RESPONSE-PORT sends the answer to another port of the client.", |cx| {
        Box::pin(response_port(cx))
    })
    .needs(BINDING)
    .cites(&[
        rfc!("5780", "7.5", "For servers which support the RESPONSE-PORT attribute, the Binding Response MUST be transmitted to the source IP address of the Binding Request and the port contained in RESPONSE-PORT."),
        rfc!("5780", "7.5", "Server support for RESPONSE-PORT is optional."),
    ]),
    &Case::network("nat-behaviour/padding", May, "PADDING is answered with PADDING.", |cx| Box::pin(padding(cx)))
        .needs(BINDING)
        .cites(&[rfc!("5780", "6.1", "If the Request contained a PADDING attribute, PADDING MUST be included in the Binding Response.")]),
    &Case::network("nat-behaviour/padding-port", Must, "PADDING together with RESPONSE-PORT is answered with 400.", |cx| {
        Box::pin(padding_port(cx))
    })
    .needs(BINDING)
    .cites(&[
        rfc!("5780", "6.1", "If the Request also contains the RESPONSE-PORT attribute the server MUST return an error response of type 400."),
        rfc!("5780", "7.5", "The server MUST NOT process a request containing a RESPONSE-PORT and a PADDING attribute."),
    ]),
];

async fn binding_answer(cx: &StunCx, client: &mut UdpClient) -> Result<Answer, Stop> {
    client.send_request(&cx.binding()).await?.success("a Binding request")
}

/// The answer of a server that supports NAT behaviour discovery; otherwise the case does not apply.
async fn discovery(cx: &StunCx, client: &mut UdpClient) -> Result<Answer, Stop> {
    let answer = binding_answer(cx, client).await?;
    if !answer.message.has(attr::RESPONSE_ORIGIN) && !answer.message.has(attr::OTHER_ADDRESS) {
        let why = "the server does not support RFC 5780: no RESPONSE-ORIGIN, no OTHER-ADDRESS";
        return Err(Stop::Unsupported(why.to_owned()));
    }
    Ok(answer)
}

async fn both_mapped(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    let answer = discovery(cx, &mut ana).await?;
    let (plain, xored) = (answer.address(attr::MAPPED_ADDRESS)?, answer.xor_address(attr::XOR_MAPPED_ADDRESS)?);
    if plain == xored {
        return Ok(());
    }
    if cx.is_near() {
        return Err(answer.stop(format!("MAPPED-ADDRESS is {plain}, but XOR-MAPPED-ADDRESS is {xored}")));
    }
    cx.remark(format!(
        "MAPPED-ADDRESS is {plain}, but XOR-MAPPED-ADDRESS is {xored}: a NAT on the way rewrites addresses"
    ));
    Ok(())
}

async fn response_origin(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    let answer = discovery(cx, &mut ana).await?;
    let origin = answer.address(attr::RESPONSE_ORIGIN)?;
    if origin == answer.from {
        return Ok(());
    }
    if cx.is_near() || origin.port() == 0 || origin.ip().is_unspecified() {
        return Err(answer.stop(format!("RESPONSE-ORIGIN is {origin}, but the answer comes from {}", answer.from)));
    }
    cx.remark(format!(
        "RESPONSE-ORIGIN is {origin}, but the answer comes from {}: is the server behind a NAT?",
        answer.from
    ));
    Ok(())
}

/// The answer and its alternate address; if the server has none, the case does not apply.
async fn alternate(cx: &StunCx, client: &mut UdpClient) -> Result<(Answer, SocketAddr), Stop> {
    let answer = discovery(cx, client).await?;
    match answer.message.has(attr::OTHER_ADDRESS) {
        true => answer.address(attr::OTHER_ADDRESS).map(|other| (answer.clone(), other)),
        false => Err(Stop::Unsupported("the server has one address: no OTHER-ADDRESS".to_owned())),
    }
}

async fn other_address(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    let (answer, other) = alternate(cx, &mut ana).await?;
    let destination = ana.server;
    if other.ip() == destination.ip() {
        return Err(answer.stop(format!(
            "OTHER-ADDRESS is {other}: the IP address of the request's destination, expected another one"
        )));
    }
    if other.port() == destination.port() {
        return Err(answer
            .stop(format!("OTHER-ADDRESS is {other}: the port of the request's destination, expected another one")));
    }
    if other.ip().is_unspecified() || other.is_ipv4() != destination.is_ipv4() {
        return Err(answer.stop(format!("OTHER-ADDRESS is {other} for a request to {destination}")));
    }
    ana.server = other;
    let there = ana
        .send_request(&cx.binding())
        .await
        .map_err(|stop| stop.reworded(|why| format!("OTHER-ADDRESS is {other}, but it does not answer: {why}")))?;
    let back = there.success("a Binding request at OTHER-ADDRESS")?.address(attr::OTHER_ADDRESS)?;
    if back != destination {
        return Err(Stop::fail(format!("{other} reports the OTHER-ADDRESS {back}, expected {destination}")));
    }
    Ok(())
}

async fn change_matrix(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    let (_, other) = alternate(cx, &mut ana).await?;
    let first = ana.server;
    for destination in
        [first, SocketAddr::new(first.ip(), other.port()), SocketAddr::new(other.ip(), first.port()), other]
    {
        let changed = SocketAddr::new(
            if destination.ip() == first.ip() { other.ip() } else { first.ip() },
            if destination.port() == first.port() { other.port() } else { first.port() },
        );
        for flags in [0, CHANGE_IP, CHANGE_PORT, CHANGE_IP | CHANGE_PORT] {
            let wanted = SocketAddr::new(
                if flags & CHANGE_IP == 0 { destination.ip() } else { changed.ip() },
                if flags & CHANGE_PORT == 0 { destination.port() } else { changed.port() },
            );
            ana.server = destination;
            let what = format!("CHANGE-REQUEST {flags:#x} to {destination}");
            let answer = ana.send_request(&cx.binding().with(attr::CHANGE_REQUEST, [0, 0, 0, flags])).await;
            let answer = answer.map_err(|stop| {
                let nat = if cx.is_near() { "" } else { "; a NAT that filters by address blocks such an answer" };
                stop.reworded(|why| format!("{what}: {why}{nat}"))
            })?;
            let answer = answer.success(&what)?;
            if answer.from != wanted {
                return Err(answer.stop(format!("{what} is answered from {}, expected {wanted}", answer.from)));
            }
            let origin = answer.address(attr::RESPONSE_ORIGIN)?;
            if origin != wanted {
                return Err(answer.stop(format!("{what}: RESPONSE-ORIGIN is {origin}, expected {wanted}")));
            }
            let reported = answer.address(attr::OTHER_ADDRESS)?;
            // OTHER-ADDRESS from the other three is tested by `nat-behaviour/other-address`.
            if destination == first && reported != changed {
                return Err(answer.stop(format!("{what}: OTHER-ADDRESS is {reported}, expected {changed}")));
            }
        }
    }
    Ok(())
}

async fn single_ip(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    let plain = binding_answer(cx, &mut ana).await?;
    if let Ok(Some(other)) = plain.message.address(attr::OTHER_ADDRESS) {
        if other.ip() != ana.server.ip() {
            return Err(Stop::Unsupported(format!("the server has a second address: {other}")));
        }
        return Err(plain.stop(format!("OTHER-ADDRESS is {other}, but the server has no second IP address")));
    }
    for flags in [CHANGE_IP, CHANGE_PORT, CHANGE_IP | CHANGE_PORT] {
        let answer = ana.send_request(&cx.binding().with(attr::CHANGE_REQUEST, [0, 0, 0, flags])).await?;
        lists(answer, &[attr::CHANGE_REQUEST])?;
    }
    Ok(())
}

/// Whether the message is a 420 that lists this attribute.
fn is_unknown(message: &Message, kind: u16) -> bool {
    matches!(message.error(), Ok(Some((420, _))))
        && message.numbers(attr::UNKNOWN_ATTRIBUTES).is_some_and(|list| list.contains(&kind))
}

fn not_known(kind: u16) -> Stop {
    Stop::Unsupported(format!("the server does not know {}: 420", crate::stun::names::attribute_name(kind)))
}

async fn response_port(cx: &mut StunCx) -> Result<(), Stop> {
    let [mut ana, mut ben] = [cx.client("ana").await?, cx.client("ben").await?];
    discovery(cx, &mut ana).await?;
    // Behind a NAT, this is the port that the NAT assigned to ben.
    let port = binding_answer(cx, &mut ben).await?.xor_address(attr::XOR_MAPPED_ADDRESS)?.port();
    let request = cx.binding().with(attr::RESPONSE_PORT, [&port.to_be_bytes()[..], &[0, 0]].concat());
    let answers = ana.answers_to(&request.bytes).await?;
    if let Some(received) = answers.first() {
        if received.message().is_ok_and(|message| is_unknown(&message, attr::RESPONSE_PORT)) {
            return Err(not_known(attr::RESPONSE_PORT));
        }
        let why =
            format!("the answer goes to the port of the request, not to RESPONSE-PORT: `{}`", shown(&received.bytes));
        return Err(Stop::at(why, received.line));
    }
    ben.receive("the answer at RESPONSE-PORT", |received| received.is_of(request.id())).await.map(drop)
}

async fn padding(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    discovery(cx, &mut ana).await?;
    let answer = ana.send_request(&cx.binding().with(attr::PADDING, [0; 64])).await?;
    if is_unknown(&answer.message, attr::PADDING) {
        return Err(not_known(attr::PADDING));
    }
    let answer = answer.success("PADDING")?;
    match answer.message.get(attr::PADDING) {
        Some(padding) => cx.remark(format!("the answer's PADDING has {} bytes", padding.len())),
        None => return Err(answer.stop("a request with PADDING is answered without PADDING")),
    }
    Ok(())
}

async fn padding_port(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    discovery(cx, &mut ana).await?;
    let port = ana.local.port().to_be_bytes();
    let request = cx.binding().with(attr::PADDING, [0; 64]).with(attr::RESPONSE_PORT, [port[0], port[1], 0, 0]);
    let answer = ana.send_request(&request).await?;
    for kind in [attr::PADDING, attr::RESPONSE_PORT] {
        if is_unknown(&answer.message, kind) {
            return Err(not_known(kind));
        }
    }
    answer.error(400, "PADDING with RESPONSE-PORT").map(drop)
}
