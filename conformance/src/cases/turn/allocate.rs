//! Allocate: what is granted, and what is refused.

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::ALLOCATE;
use crate::case::Case;
use crate::case::Level::{May, Must, Should};
use crate::cases::stun::lists;
use crate::stop::Stop;
use crate::stun::client::Answer;
use crate::stun::cx::StunCx;
use crate::stun::names::{attr, method};
use crate::stun::turn::{Allocation, DEFAULT_LIFETIME, IPV4, UDP};
use crate::stun::wire::Draft;

/// The most allocations of one user made in search of a quota.
const ALLOCATIONS_MAX: usize = 120;
/// How many of them are requested in parallel: in sequence they would take as many round trips.
const AT_ONCE: usize = 16;

pub(super) const CASES: &[&Case] = &[
    &Case::network("turn/437", Must, "Requests without an allocation are answered with 437, and so is a second Allocate.", |cx| {
        Box::pin(mismatch(cx))
    })
    .needs(ALLOCATE)
    .cites(&[
        rfc!("8656", "5", "For all TURN messages (including ChannelData) EXCEPT an Allocate request, if the 5-tuple does not identify an existing allocation, then the message MUST either be rejected with a 437 Allocation Mismatch error (if it is a request) or be silently ignored (if it is an indication or a ChannelData message)."),
        rfc!("8656", "7.2", "If yes, the server rejects the request with a 437 (Allocation Mismatch) error."),
    ]),
    &Case::network("turn/allocate-retransmit", Must, "A retransmitted Allocate is answered with the same relayed address.", |cx| {
        Box::pin(retransmit(cx))
    })
    .needs(ALLOCATE)
    .cites(&[rfc!("8656", "7.2", "NOTE: When the Allocate request is sent over UDP, [RFC8489] requires that the server handle the possible retransmissions of the request so that retransmissions do not cause multiple allocations to be created.")]),
    &Case::network("turn/no-transport", Must, "An Allocate without REQUESTED-TRANSPORT, or with a short one, is answered with 400.", |cx| {
        Box::pin(no_transport(cx))
    })
    .needs(ALLOCATE)
    .cites(&[rfc!("8656", "7.2", "If the REQUESTED-TRANSPORT attribute is not included or is malformed, the server rejects the request with a 400 (Bad Request) error.")]),
    &Case::network("turn/442", Must, "An Allocate for an unknown transport is answered with 442.", |cx| Box::pin(transport(cx)))
        .needs(ALLOCATE)
        .cites(&[rfc!("8656", "7.2", "Otherwise, if the attribute is included but specifies a protocol that is not supported by the server, the server rejects the request with a 442 (Unsupported Transport Protocol) error.")]),
    &Case::network("turn/420", Must, "An unknown comprehension-required attribute is answered with 420 and the list of such attributes.", |cx| {
        Box::pin(unknown(cx))
    })
    .needs(ALLOCATE)
    .cites(&[rfc!("8489", "6.3.1.1", "For example, for an error code of 420 (Unknown Attribute), the server MUST include an UNKNOWN-ATTRIBUTES attribute.")]),
    &Case::network("turn/440", Must, "An address family that the server does not support is answered with 440; one that it supports gets such an address.", |cx| {
        Box::pin(family(cx))
    })
    .needs(ALLOCATE)
    .cites(&[rfc!("8656", "7.2", "If the server does not support the address family requested by the client in REQUESTED-ADDRESS-FAMILY, or if the allocation of the requested address family is disabled by local policy, it MUST generate an Allocate error response, and it MUST include an ERROR-CODE attribute with the 440 (Address Family not Supported) response code.")]),
    &Case::network("turn/default-family", Must, "An Allocate without REQUESTED-ADDRESS-FAMILY gets an IPv4 address, or 440 if the server has none.", |cx| {
        Box::pin(default_family(cx))
    })
    .needs(ALLOCATE)
    .cites(&[
        rfc!("8656", "7.2", "If the REQUESTED-ADDRESS-FAMILY attribute is absent and the server supports the IPv4 address family, the server MUST allocate an IPv4 relayed transport address for the TURN client."),
        rfc!("8656", "7.2", "If the REQUESTED-ADDRESS-FAMILY attribute is absent and the server does not support the IPv4 address family, the server MUST include an ERROR-CODE attribute with the 440 (Address Family not Supported) response code."),
    ]),
    &Case::network("turn/lifetime", Must, "The lifetime is 600 s, also for a client that requests less; it may be longer for a client that requests more.", |cx| {
        Box::pin(lifetime(cx))
    })
    .needs(ALLOCATE)
    .cites(&[
        rfc!("8656", "7.2", "If this computed value is greater than the default lifetime, then the server uses the computed lifetime as the initial value of the time-to-expiry field. Otherwise, the server uses the default lifetime."),
        rfc!("8656", "6", "By default, each Allocate or Refresh transaction resets this timer to the default lifetime value of 600 seconds (10 minutes), but the client can request a different value in the Allocate and Refresh request."),
    ]),
    &Case::network("turn/unique-address", Must, "No two allocations have the same relayed address.", |cx| Box::pin(unique(cx)))
        .needs(ALLOCATE)
        .cites(&[rfc!("8656", "6", "The relayed transport address MUST be unique across all allocations so it can be used to uniquely identify the allocation, and an allocation in this context can be either a single or dual allocation.")]),
    &Case::network("turn/even-port", May, "EVEN-PORT is answered with an even port.", |cx| Box::pin(even_port(cx)))
        .needs(ALLOCATE)
        .cites(&[rfc!("8656", "7.2", "If the request contains an EVEN-PORT attribute with the R bit set to 0, then the server allocates a relayed transport address with an even port number.")]),
    &Case::network("turn/reservation-token", May, "EVEN-PORT with R is answered with a token that gets the next port, once; any other token is answered with 508.", |cx| {
        Box::pin(reservation(cx))
    })
    .needs(&["turn/allocate", "turn/even-port"])
    .cites(&[
        rfc!("8656", "7.2", "Port N is used in the current allocation, while the relayed transport address with port N+1 is assigned a token and reserved for a future allocation."),
        rfc!("8656", "7.2", "If the token is not valid for some reason, the server rejects the request with a 508 (Insufficient Capacity) error."),
    ]),
    &Case::network("turn/reservation-exclusive", Must, "RESERVATION-TOKEN together with EVEN-PORT is answered with 400.", |cx| {
        Box::pin(reservation_exclusive(cx))
    })
    .needs(ALLOCATE)
    .cites(&[rfc!("8656", "7.2", "If yes, and the request also contains an EVEN-PORT or REQUESTED-ADDRESS-FAMILY or ADDITIONAL-ADDRESS-FAMILY attribute, the server rejects the request with a 400 (Bad Request) error.")]),
    &Case::network("turn/dont-fragment", Must, "DONT-FRAGMENT is granted, or refused with a 420 that lists it.", |cx| {
        Box::pin(dont_fragment(cx))
    })
    .needs(ALLOCATE)
    .cites(&[rfc!("8656", "7.2", "If it does, but the server does not support sending UDP datagrams with the DF bit set to 1 (see Sections 14 and 15), then the server treats the DONT-FRAGMENT attribute in the Allocate request as an unknown comprehension-required attribute.")]),
    &Case::network("turn/486", Must, "When a user's quota is used up, the answer is 486; after an allocation is deleted, another is possible.", |cx| {
        Box::pin(quota(cx))
    })
    .needs(ALLOCATE)
    .cites(&[rfc!("8656", "5", "The server should reject new allocations that would exceed the limit on the allowed number of allocations active at one time with a 486 (Allocation Quota Exceeded) (see Section 7.2), and since UDP does not include a congestion control mechanism, it should discard application data traffic that exceeds the bandwidth quota.")])
    .alone(),
    &Case::network("turn/486-per-user", Should, "When one user's quota is used up, another user still gets an allocation.", |cx| {
        Box::pin(quota_per_user(cx))
    })
    .needs(ALLOCATE)
    .cites(&[rfc!("8656", "7.2", "The server is free to define this allocation quota any way it wishes, but it SHOULD define it based on the username used to authenticate the request and not on the client's transport address.")])
    .alone(),
];

/// The answer to an Allocate with credentials, whatever it is. If an allocation was granted, dropping it deletes it.
async fn answer(
    cx: &StunCx,
    name: &str,
    extend: impl Fn(Draft) -> Draft,
) -> Result<(Answer, Option<Allocation>), Stop> {
    answer_to(cx, name, || cx.of_family(extend(cx.request(method::ALLOCATE)))).await
}

/// Like [`answer`], for this very request, even if the server grants nothing without REQUESTED-ADDRESS-FAMILY.
async fn answer_to(cx: &StunCx, name: &str, draft: impl Fn() -> Draft) -> Result<(Answer, Option<Allocation>), Stop> {
    let (mut client, mut auth, mut request, mut answer);
    let (start, mut tries) = (Instant::now(), 1);
    loop {
        client = cx.client(name).await?;
        auth = cx.auth(&mut client).await?;
        (request, answer) = auth.send(&mut client, &draft).await?;
        match answer.code()? {
            // Three attempts, as in `allocation_with`: the port may still have an earlier client's allocation.
            Some(437) if tries < 3 => tries += 1,
            // Other clients of this run, or of the run before, have used up the quota.
            Some(486) if start.elapsed() < cx.env.patience => sleep(cx.env.rto).await,
            _ => break,
        }
    }
    let granted = if answer.code()?.is_none() { cx.granted(client, auth, request, answer.clone()).ok() } else { None };
    Ok((answer, granted))
}

/// Checks that an allocation was not refused because other clients of this run hold too many.
fn has_capacity(answer: &Answer) -> Result<(), Stop> {
    match answer.code()? {
        Some(code @ (486 | 508)) => Err(Stop::Setup(format!("the server has no capacity left: {code}"))),
        _ => Ok(()),
    }
}

async fn mismatch(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    let again = ana.allocate_again(cx).await?;
    again.error(437, "a second Allocate on the same 5-tuple")?;
    let peer = (cx.env.peers.unwrap_or(cx.env.source), 9).into();
    // The same user on another port: a different 5-tuple.
    let mut ben = ana.as_if_allocated(cx, "ben").await?;
    ben.refresh(cx, None).await?.error(437, "a Refresh without an allocation")?;
    ben.create_permission(cx, &[peer]).await?.error(437, "a CreatePermission without an allocation")?;
    ben.bind(cx, 0x4000, peer).await?.error(437, "a ChannelBind without an allocation")?;
    ana.refresh(cx, None).await?.success("the Refresh of the client with the allocation").map(drop)
}

async fn retransmit(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    let request = ana.request.clone();
    let again = ana.send_request(&request).await?;
    if again.code()? == Some(438) {
        cx.acceptable(
            "a retransmitted Allocate is answered with 438, because its nonce has been used: if the first answer is lost, \
             the client cannot learn its relayed address",
        );
        return Ok(());
    }
    let again = again.success("a retransmitted Allocate")?;
    let relayed = again.xor_address(attr::XOR_RELAYED_ADDRESS)?;
    if relayed != ana.relayed {
        return Err(
            again.stop(format!("a retransmitted Allocate is answered with {relayed}, expected {}", ana.relayed))
        );
    }
    Ok(())
}

async fn no_transport(cx: &mut StunCx) -> Result<(), Stop> {
    let (missing, _given_back) = answer(cx, "ana", |draft| draft).await?;
    missing.error(400, "an Allocate without REQUESTED-TRANSPORT")?;
    let (short, _given_back) = answer(cx, "ben", |draft| draft.with(attr::REQUESTED_TRANSPORT, [17])).await?;
    short.error(400, "a REQUESTED-TRANSPORT of one byte").map(drop)
}

async fn transport(cx: &mut StunCx) -> Result<(), Stop> {
    // Protocol 253 is for experiments (RFC 3692): no server relays it.
    let (refused, _given_back) =
        answer(cx, "ana", |draft| draft.with(attr::REQUESTED_TRANSPORT, [253, 0, 0, 0])).await?;
    refused.error(442, "the transport protocol 253").map(drop)
}

async fn unknown(cx: &mut StunCx) -> Result<(), Stop> {
    let [kind, _] = attr::UNKNOWN_REQUIRED;
    let (refused, _given_back) =
        answer(cx, "ana", |draft| draft.with(attr::REQUESTED_TRANSPORT, UDP).with(kind, [0; 4])).await?;
    lists(refused, &[kind])
}

async fn family(cx: &mut StunCx) -> Result<(), Stop> {
    let with = |family: u8| {
        move |draft: Draft| {
            draft.with(attr::REQUESTED_TRANSPORT, UDP).with(attr::REQUESTED_ADDRESS_FAMILY, [family, 0, 0, 0])
        }
    };
    for (family, is_v4) in [(1, true), (2, false)] {
        let (answer, granted) = answer(cx, "ana", with(family)).await?;
        match granted {
            Some(granted) if granted.relayed.is_ipv4() == is_v4 => {}
            Some(granted) => {
                return Err(answer
                    .stop(format!("family {family} was requested, but the relayed address is {}", granted.relayed)));
            }
            None => {
                has_capacity(&answer)?;
                answer.error(440, &format!("REQUESTED-ADDRESS-FAMILY {family}"))?;
                cx.remark(format!("the server has no relayed addresses of IPv{}", if is_v4 { 4 } else { 6 }));
            }
        }
    }
    let (answer, _given_back) = answer(cx, "ben", with(9)).await?;
    match answer.code()? {
        Some(440) => Ok(()),
        Some(400) => {
            cx.acceptable("a family that does not exist is answered with 400, not 440");
            Ok(())
        }
        _ => {
            Err(answer
                .stop(format!("a family that does not exist is answered with {}, expected 440", answer.in_words())))
        }
    }
}

async fn lifetime(cx: &mut StunCx) -> Result<(), Stop> {
    for (requested, name) in [(None, "ana"), (Some(1_u32), "ben"), (Some(3600), "cleo")] {
        let extend = |draft: Draft| match requested {
            Some(requested) => draft.with(attr::LIFETIME, requested.to_be_bytes()),
            None => draft,
        };
        let granted = cx.allocation_with(name, extend).await?;
        let what = requested.map_or("no LIFETIME".to_owned(), |requested| format!("LIFETIME {requested}"));
        let lifetime = granted.lifetime;
        // A retransmitted Allocate is answered with the remaining time.
        let most = requested.unwrap_or(0).max(DEFAULT_LIFETIME);
        if lifetime > most {
            return Err(granted
                .granted
                .stop(format!("{what} is answered with {lifetime} s, expected at most {most} s")));
        }
        if lifetime + 5 < DEFAULT_LIFETIME {
            return Err(granted
                .granted
                .stop(format!("{what} is answered with {lifetime} s, expected at least {DEFAULT_LIFETIME} s")));
        }
        if requested == Some(3600) {
            cx.remark(format!("LIFETIME 3600 is answered with {lifetime} s"));
        }
    }
    Ok(())
}

async fn unique(cx: &mut StunCx) -> Result<(), Stop> {
    let mut all: Vec<Allocation> = Vec::new();
    for name in ["ana", "ben", "cleo", "dora"] {
        let next = cx.allocation(name).await?;
        if all.iter().any(|other| other.relayed == next.relayed) {
            return Err(next.granted.stop(format!("two allocations have the relayed address {}", next.relayed)));
        }
        all.push(next);
    }
    Ok(())
}

/// The reason to end the case as unsupported, if the server refuses with a 420 for this attribute or with a 508.
fn unsupported(answer: &Answer, kind: u16) -> Result<Option<Stop>, Stop> {
    Ok(match answer.code()? {
        Some(420) if answer.message.numbers(attr::UNKNOWN_ATTRIBUTES).is_some_and(|list| list.contains(&kind)) => {
            let name = crate::stun::names::attribute_name(kind);
            Some(Stop::Unsupported(format!("the server does not know {name}: 420")))
        }
        Some(508) => Some(Stop::Unsupported("the server has no such port: 508".to_owned())),
        _ => None,
    })
}

async fn even_port(cx: &mut StunCx) -> Result<(), Stop> {
    // Four attempts, because a server that ignores EVEN-PORT picks an even port half of the time.
    for name in ["ana", "ben", "cleo", "dora"] {
        let extend = |draft: Draft| draft.with(attr::REQUESTED_TRANSPORT, UDP).with(attr::EVEN_PORT, [0]);
        let (answer, granted) = answer(cx, name, extend).await?;
        if let Some(stop) = unsupported(&answer, attr::EVEN_PORT)? {
            return Err(stop);
        }
        let answer = answer.success("EVEN-PORT")?;
        let granted = granted.ok_or_else(|| answer.stop("the answer to EVEN-PORT lacks a required attribute"))?;
        if !granted.relayed.port().is_multiple_of(2) {
            return Err(answer.stop(format!("EVEN-PORT was requested, but the port is {}", granted.relayed.port())));
        }
    }
    Ok(())
}

async fn reservation(cx: &mut StunCx) -> Result<(), Stop> {
    let extend = |draft: Draft| draft.with(attr::REQUESTED_TRANSPORT, UDP).with(attr::EVEN_PORT, [0x80]);
    let (reserved, ana) = answer(cx, "ana", extend).await?;
    if let Some(stop) = unsupported(&reserved, attr::EVEN_PORT)? {
        return Err(stop);
    }
    let reserved = reserved.success("EVEN-PORT with R")?;
    let ana = ana.ok_or_else(|| reserved.stop("the answer to EVEN-PORT lacks a required attribute"))?;
    let Some(token) = reserved.message.get(attr::RESERVATION_TOKEN).map(<[u8]>::to_vec) else {
        return Err(reserved.stop("EVEN-PORT with R is granted without a RESERVATION-TOKEN"));
    };
    if token.len() != 8 {
        return Err(reserved.stop(format!("the RESERVATION-TOKEN has {} bytes, expected 8", token.len())));
    }
    let with = |token: Vec<u8>| {
        move |draft: Draft| draft.with(attr::REQUESTED_TRANSPORT, UDP).with(attr::RESERVATION_TOKEN, &token)
    };
    let (redeemed, ben) = answer(cx, "ben", with(token.clone())).await?;
    if cx.env.family.is_some() && redeemed.code()? == Some(440) {
        return Err(Stop::Unsupported(
            "the server has no relayed addresses of IPv4, and a request with a token cannot ask for another family: 440"
                .to_owned(),
        ));
    }
    let redeemed = redeemed.success("the RESERVATION-TOKEN")?;
    let ben = ben.ok_or_else(|| redeemed.stop("the answer to the token lacks a required attribute"))?;
    let next = (ana.relayed.ip(), ana.relayed.port() + 1).into();
    if ana.relayed.port().is_multiple_of(2) && ben.relayed == next {
        let (twice, _given_back) = answer(cx, "cleo", with(token)).await?;
        twice.error(508, "a token that was already used")?;
        let (wrong, _given_back) = answer(cx, "dora", with(vec![0x5a; 8])).await?;
        return wrong.error(508, "a token that the server did not issue").map(drop);
    }
    Err(redeemed
        .stop(format!("expected {} for the token (reserved with {}), received {}", next, ana.relayed, ben.relayed)))
}

async fn reservation_exclusive(cx: &mut StunCx) -> Result<(), Stop> {
    let extend = |draft: Draft| draft.with(attr::REQUESTED_TRANSPORT, UDP).with(attr::EVEN_PORT, [0x80]);
    let (reserved, _ana) = answer(cx, "ana", extend).await?;
    if let Some(stop) = unsupported(&reserved, attr::EVEN_PORT)? {
        return Err(stop);
    }
    let reserved = reserved.success("EVEN-PORT with R")?;
    // The token must be valid: a server that checks only the token could refuse an invalid one for that reason.
    let Some(token) = reserved.message.get(attr::RESERVATION_TOKEN).map(<[u8]>::to_vec) else {
        return Err(reserved.stop("EVEN-PORT with R is granted without a RESERVATION-TOKEN"));
    };
    let extend = |draft: Draft| {
        draft.with(attr::REQUESTED_TRANSPORT, UDP).with(attr::EVEN_PORT, [0]).with(attr::RESERVATION_TOKEN, &token)
    };
    let (both, _given_back) = answer(cx, "ben", extend).await?;
    both.error(400, "RESERVATION-TOKEN with EVEN-PORT").map(drop)
}

async fn dont_fragment(cx: &mut StunCx) -> Result<(), Stop> {
    let extend = |draft: Draft| draft.with(attr::REQUESTED_TRANSPORT, UDP).with(attr::DONT_FRAGMENT, []);
    let (answer, _given_back) = answer(cx, "ana", extend).await?;
    if answer.code()?.is_none() {
        return Ok(());
    }
    lists(answer, &[attr::DONT_FRAGMENT])?;
    cx.acceptable("the server does not set the DF bit and refuses DONT-FRAGMENT with 420");
    Ok(())
}

fn with_udp(draft: Draft) -> Draft {
    draft.with(attr::REQUESTED_TRANSPORT, UDP)
}

/// Allocates until the server refuses; returns the allocations and the code of the refusal, 486 or 508.
async fn use_up(cx: &StunCx) -> Result<(Vec<Allocation>, u16), Stop> {
    let mut all = Vec::new();
    let mut refused = None;
    while refused.is_none() {
        if all.len() >= ALLOCATIONS_MAX {
            return Err(Stop::Unsupported(format!("one user has {ALLOCATIONS_MAX} allocations and may have more")));
        }
        let names: Vec<_> = (0..AT_ONCE).map(|number| format!("client {}", all.len() + number)).collect();
        let requests = names.iter().map(|name| answer(cx, name, with_udp));
        for outcome in join_all(requests).await {
            let (answer, granted) = outcome?;
            match (answer.code()?, granted) {
                (None, Some(granted)) => all.push(granted),
                (None, None) => return Err(answer.stop("the answer to an Allocate lacks a required attribute")),
                (Some(code @ (486 | 508)), _) => refused = Some(code),
                (Some(_), _) => {
                    return Err(answer.error(486, "one allocation too many").expect_err("it is another code"));
                }
            }
        }
    }
    Ok((all, refused.expect("the loop ends with a refusal")))
}

async fn quota_per_user(cx: &mut StunCx) -> Result<(), Stop> {
    let Some(other) = cx.env.credentials.get(1).cloned() else {
        return Err(Stop::Unsupported("needs a second user: give --user and --credential twice".to_owned()));
    };
    let (all, refused) = use_up(cx).await?;
    if refused == 508 {
        return Err(Stop::Unsupported(
            "the server has no quota that a user reaches before it has no port left: 508".to_owned(),
        ));
    }
    let mut ben = cx.client("ben").await?;
    let mut auth = cx.auth(&mut ben).await?.as_user(&other);
    let (request, answer) = auth.send(&mut ben, || cx.allocate_request()).await?;
    match answer.code()? {
        None => drop(cx.granted(ben, auth, request, answer)?),
        Some(486) => {
            let why = format!("{} allocations of one user use up the quota of another user too: 486", all.len());
            return Err(answer.stop(why));
        }
        Some(508) => cx.acceptable("while one user has used up its quota, another gets no allocation: 508"),
        Some(_) => return Err(answer.refused()),
    }
    Ok(())
}

async fn default_family(cx: &mut StunCx) -> Result<(), Stop> {
    let plain = || with_udp(cx.request(method::ALLOCATE));
    let (plain, granted) = answer_to(cx, "ana", plain).await?;
    match granted {
        Some(granted) if granted.relayed.is_ipv4() => Ok(()),
        Some(granted) => {
            let relayed = granted.relayed;
            Err(plain
                .stop(format!("no family was requested, but the relayed address is {relayed}, expected IPv4 or 440")))
        }
        None => {
            has_capacity(&plain)?;
            plain.error(440, "an Allocate without REQUESTED-ADDRESS-FAMILY")?;
            let v4 = |draft: Draft| with_udp(draft).with(attr::REQUESTED_ADDRESS_FAMILY, [IPV4, 0, 0, 0]);
            let (explicit, granted) = answer(cx, "ben", v4).await?;
            if granted.is_some() {
                let why = "the server has relayed addresses of IPv4, but answers a request without a family with 440";
                return Err(explicit.stop(why));
            }
            cx.remark("the server has no relayed addresses of IPv4");
            Ok(())
        }
    }
}

async fn quota(cx: &mut StunCx) -> Result<(), Stop> {
    let (mut all, refused) = use_up(cx).await?;
    if refused == 508 {
        cx.acceptable(format!("after {} allocations of one user, no port is left: 508", all.len()));
        return Ok(());
    }
    cx.remark(format!("a user may have {} allocations", all.len()));
    let Some(mut last) = all.pop() else {
        return Err(Stop::Setup("the user may have no allocation: other clients have used up the quota".to_owned()));
    };
    last.refresh(cx, Some(0)).await?.success("a Refresh with LIFETIME 0")?;
    // Immediate reuse is tested by `turn/refresh-0`; here it may take a moment.
    let (again, granted) = answer(cx, "again", with_udp).await?;
    match granted {
        Some(_) => Ok(()),
        None => again.success("an Allocate after another allocation was deleted").map(drop),
    }
}
