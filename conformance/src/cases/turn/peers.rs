//! Peers: several in one message, one that is refused among others, and addresses that hide another address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::ALLOCATE;
use super::permission::{comes_behind, other_family};
use crate::case::Case;
use crate::case::Level::{May, Must, Should};
use crate::stop::Stop;
use crate::stun::client::UdpClient;
use crate::stun::cx::StunCx;
use crate::stun::names::{attr, method};
use crate::stun::turn::{Allocation, DEFAULT_LIFETIME, Extend, IPV4, IPV6};
use crate::stun::wire::{Class, Draft};

/// What cases need that ask for relayed addresses of one family.
const FAMILY: &[&str] = &["turn/allocate", "turn/440"];

pub(super) const CASES: &[&Case] = &[
    &Case::network("turn/first-counts", Should, "Of an attribute that occurs twice in a Send, ChannelBind or Refresh, the first counts.", |cx| {
        Box::pin(first_counts(cx))
    })
    .needs(&["turn/allocate", "turn/data-both-ways", "turn/channel-data"])
    .cites(&[rfc!("8489", "14", "Unless specified otherwise, the order of appearance is significant: only the first occurrence needs to be processed by a receiver, and any duplicates MAY be ignored by a receiver.")]),
    &Case::network("turn/permission-all-or-none", Must, "A CreatePermission with one peer that is refused installs no permission, whichever peer comes first.", |cx| {
        Box::pin(all_or_none(cx))
    })
    .needs(&["turn/allocate", "turn/data-both-ways", "turn/no-permission", "turn/443"])
    .cites(&[
        rfc!("8656", "10.2", "If no such attribute exists, or if any of these attributes are invalid, then a 400 (Bad Request) error is returned."),
        rfc!("8656", "10.2", "If the message is valid and the server is capable of carrying out the request, then the server installs or refreshes a permission for the IP address contained in each XOR-PEER-ADDRESS attribute as described in Section 9."),
    ]),
    &Case::network("turn/443-mapped", Must, "For an IPv4 allocation, a peer with an IPv4-mapped IPv6 address is of the other family.", |cx| {
        Box::pin(mapped(cx))
    })
    .needs(ALLOCATE)
    .cites(&[rfc!("8656", "10.2", "If an XOR-PEER-ADDRESS attribute contains an address of an address family that is not the same as that of a relayed transport address for the allocation, the server MUST generate an error response with the 443 (Peer Address Family Mismatch) response code.")]),
    &Case::network("turn/peer-tunneled", Must, "A channel to a Teredo or 6to4 address is refused: data could circulate between the relay and a tunnel.", |cx| {
        Box::pin(tunneled(cx))
    })
    .needs(FAMILY)
    .cites(&[rfc!("8656", "21.4", "It is RECOMMENDED that TURN servers not accept allocation or channel-binding requests from addresses known to be tunneled, and that they not forward data to such addresses. In particular, a TURN server MUST NOT accept Teredo or 6to4 addresses in these requests.")]),
    &Case::network("turn/peer-spellings", May, "If the server's own machine is refused as a peer, no other address leads there.", |cx| {
        Box::pin(spellings(cx))
    })
    .needs(FAMILY)
    .cites(&[rfc!("8656", "10.2", "The server MAY impose restrictions on the IP address allowed in the XOR-PEER-ADDRESS attribute; if a value is not allowed, the server rejects the request with a 403 (Forbidden) error.")])
    .alone(),
];

/// Sends a word to the first peer of a message that may be for the first, and checks who receives it.
async fn only_first(
    cx: &StunCx,
    ana: &Allocation,
    [first, second]: [&mut UdpClient; 2],
    word: &str,
    what: &str,
) -> Result<(), Stop> {
    for peer in [&mut *first, &mut *second] {
        let there = cx.word("sentinel");
        ana.send_data(cx, peer.local, there.as_bytes());
        peer.receive_relayed(there.as_bytes()).await?;
    }
    let count = |who: &UdpClient| who.received.iter().filter(|received| received.bytes == word.as_bytes()).count();
    if let Some(received) = second.received.iter().find(|received| received.bytes == word.as_bytes()) {
        return Err(Stop::at(format!("data goes to the second peer of {what}, expected the first"), received.line));
    }
    match count(first) {
        0 => cx.acceptable(format!("{what} is discarded")),
        1 => {}
        times => return Err(Stop::fail(format!("the first peer of {what} receives the data {times} times"))),
    }
    Ok(())
}

async fn first_counts(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    let [mut ben, mut cleo] = [cx.peer("ben").await?, cx.peer("cleo").await?];
    ana.create_permission(cx, &[ben.local, cleo.local]).await?.success("CreatePermission")?;
    let two = |draft: Draft, first: SocketAddr, second: SocketAddr| {
        draft.with_xor_address(attr::XOR_PEER_ADDRESS, first).with_xor_address(attr::XOR_PEER_ADDRESS, second)
    };
    // In both orders: a server that prefers one address would pass in one of them.
    for turn in 0..2 {
        let [first, second] = if turn == 0 { [&mut ben, &mut cleo] } else { [&mut cleo, &mut ben] };
        let word = cx.word("for-the-first");
        let send = two(cx.indication(method::SEND), first.local, second.local).with(attr::DATA, &word);
        ana.send(&send.bytes);
        only_first(cx, &ana, [first, second], &word, "a Send with two XOR-PEER-ADDRESS").await?;
    }

    let bind = |draft: Draft| two(draft.with(attr::CHANNEL_NUMBER, [0x40, 1, 0, 0]), ben.local, cleo.local);
    let bound = ana.request(cx, method::CHANNEL_BIND, bind).await?;
    if bound.message.class == Class::Success {
        let word = cx.word("for-the-first");
        ana.send_on_channel(0x4001, word.as_bytes());
        only_first(cx, &ana, [&mut ben, &mut cleo], &word, "a ChannelBind with two XOR-PEER-ADDRESS").await?;
    } else {
        bound.error(400, "a ChannelBind with two XOR-PEER-ADDRESS")?;
        cx.acceptable("a ChannelBind with two XOR-PEER-ADDRESS is answered with 400");
    }

    let lifetimes = |draft: Draft| draft.with(attr::LIFETIME, 600_u32.to_be_bytes()).with(attr::LIFETIME, [0; 4]);
    let answer = ana.request(cx, method::REFRESH, lifetimes).await?;
    match answer.code()? {
        Some(400) => cx.acceptable("a Refresh with two LIFETIME is answered with 400"),
        _ => drop(answer.clone().success("a Refresh with LIFETIME 600 and then LIFETIME 0")?),
    }
    let still = ana.refresh(cx, Some(DEFAULT_LIFETIME)).await?;
    if answer.message.number(attr::LIFETIME) == Some(0) || still.code()? == Some(437) {
        return Err(answer.stop("a Refresh with LIFETIME 600 and then LIFETIME 0 deletes the allocation"));
    }
    still.success("a plain Refresh afterwards").map(drop)
}

/// The value of an XOR-PEER-ADDRESS of a family that does not exist.
const BAD_PEER: [u8; 8] = [0, 9, 0, 0, 0, 0, 0, 0];

async fn all_or_none(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    let mut ben = cx.peer("ben").await?;
    let good = |draft: Draft| draft.with_xor_address(attr::XOR_PEER_ADDRESS, ben.local);
    let other = other_family(ana.relayed);
    let foreign = |draft: Draft| draft.with_xor_address(attr::XOR_PEER_ADDRESS, other);
    let invalid = |draft: Draft| draft.with(attr::XOR_PEER_ADDRESS, BAD_PEER);
    let requests: [(&str, &[u16], Extend<'_>); 4] = [
        ("a good peer and one of the other family", &[443, 400], &|draft| foreign(good(draft))),
        ("a peer of the other family and a good one", &[443, 400], &|draft| good(foreign(draft))),
        ("a good peer and an invalid one", &[400, 443], &|draft| invalid(good(draft))),
        ("an invalid peer and a good one", &[400, 443], &|draft| good(invalid(draft))),
    ];
    for (what, codes, extend) in requests {
        let answer = ana.request(cx, method::CREATE_PERMISSION, extend).await?;
        if !answer.code()?.is_some_and(|code| codes.contains(&code)) {
            return Err(answer.error(codes[0], &format!("a CreatePermission with {what}")).expect_err("it is another"));
        }
    }
    // Nobody has been permitted.
    let (inward, outward) = (cx.word("inward"), cx.word("outward"));
    ben.send_to(inward.as_bytes(), ana.relayed);
    ana.send_data(cx, ben.local, outward.as_bytes());
    ben.fence().await?;
    comes_behind(cx, &mut ana, &mut ben).await?;
    let there = cx.word("sentinel");
    ana.send_data(cx, ben.local, there.as_bytes());
    ben.receive_relayed(there.as_bytes()).await?;
    let let_in = ana.received_data(inward.as_bytes());
    let let_out = ben.received.iter().find(|received| received.bytes == outward.as_bytes());
    match let_in.or(let_out) {
        Some(received) => Err(Stop::at("a CreatePermission that was refused permits one of its peers", received.line)),
        None => Ok(()),
    }
}

async fn mapped(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    let IpAddr::V4(ip) = cx.env.peers.unwrap_or(Ipv4Addr::new(192, 0, 2, 1).into()) else {
        return Err(Stop::Unsupported("the server has no relayed addresses of IPv4".to_owned()));
    };
    if !ana.relayed.is_ipv4() {
        return Err(Stop::Unsupported("the server has no relayed addresses of IPv4".to_owned()));
    }
    let peer = SocketAddr::from((ip.to_ipv6_mapped(), 9));
    for what in ["a permission", "a channel"] {
        let answer = match what {
            "a permission" => ana.create_permission(cx, &[peer]).await?,
            _ => ana.bind(cx, 0x4000, peer).await?,
        };
        match answer.code()? {
            Some(443) => {}
            // The address may be refused for another reason first.
            Some(400 | 403) => {
                cx.acceptable(format!("{what} for {} is answered with {}", peer.ip(), answer.in_words()))
            }
            _ => return answer.error(443, &format!("{what} for {}", peer.ip())).map(drop),
        }
    }
    Ok(())
}

/// An allocation of this family, or the reason why the case does not apply.
async fn allocation_of(cx: &StunCx, name: &str, family: u8) -> Result<Option<Allocation>, Stop> {
    let request = |draft: Draft| draft.with(attr::REQUESTED_ADDRESS_FAMILY, [family, 0, 0, 0]);
    match cx.allocation_or_refusal(name, request, |sealed| sealed).await? {
        // A server that ignores the attribute is tested by `turn/440`.
        Ok(ana) => Ok(Some(ana).filter(|ana| ana.relayed.is_ipv4() == (family == IPV4))),
        Err(_) => Ok(None),
    }
}

async fn tunneled(cx: &mut StunCx) -> Result<(), Stop> {
    let Some(mut ana) = allocation_of(cx, "ana", IPV6).await? else {
        return Err(Stop::Unsupported("the server has no relayed addresses of IPv6".to_owned()));
    };
    // A refusal proves something only if another address is accepted.
    let native = "[2001:db8::1]:9".parse().expect("it is an address");
    if ana.bind(cx, 0x4000, native).await?.code()?.is_some() {
        return Err(Stop::Unsupported(format!("the server accepts no channel to {native} either")));
    }
    for (channel, what, peer) in
        [(0x4001, "Teredo", "[2001:0:c000:201:0:f227:3fff:fdfd]:9"), (0x4002, "6to4", "[2002:c000:201::1]:9")]
    {
        let answer = ana.bind(cx, channel, peer.parse().expect("it is an address")).await?;
        if answer.code()?.is_none() {
            return Err(answer.stop(format!("a channel to the {what} address {peer} is granted, expected 403")));
        }
    }
    Ok(())
}

/// Addresses that lead, or may lead, to the machine itself.
const OWN_MACHINE: [(u8, &str); 12] = [
    (IPV4, "0.0.0.0"),
    (IPV4, "127.255.255.254"),
    (IPV6, "::1"),
    (IPV6, "::"),
    (IPV6, "::ffff:127.0.0.1"),
    (IPV6, "::ffff:0.0.0.0"),
    (IPV6, "::127.0.0.1"),
    (IPV6, "::ffff:0:127.0.0.1"),
    (IPV6, "64:ff9b::127.0.0.1"),
    (IPV6, "64:ff9b:1::127.0.0.1"),
    (IPV6, "2002:7f00:1::1"),
    (IPV6, "2001:0:7f00:1:0:fff6:80ff:fffe"),
];

async fn spellings(cx: &mut StunCx) -> Result<(), Stop> {
    let mut allocations = [allocation_of(cx, "ana", IPV4).await?, allocation_of(cx, "ben", IPV6).await?];
    let plain: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    for (ana, plain) in allocations.iter_mut().zip(plain) {
        let Some(ana) = ana else { continue };
        if ana.create_permission(cx, &[(plain, 9).into()]).await?.code()?.is_none() {
            return Err(Stop::Unsupported(format!("the server relays to {plain}, its own machine")));
        }
    }
    // Only on the server's own machine can the case see whether data arrives there.
    let mut listeners = Vec::new();
    if cx.is_near() {
        for ip in plain {
            listeners.extend(UdpClient::open(&cx.env, &cx.log, &format!("own machine {ip}"), (ip, 0).into()).await);
        }
    }
    for (family, address) in OWN_MACHINE {
        let Some(ana) = &mut allocations[usize::from(family == IPV6)] else { continue };
        let ip: IpAddr = address.parse().expect("it is an address");
        if ana.create_permission(cx, &[(ip, 9).into()]).await?.code()?.is_some() {
            continue;
        }
        let word = cx.word("own-machine");
        for listener in &mut listeners {
            ana.send_data(cx, (ip, listener.local.port()).into(), word.as_bytes());
        }
        ana.fence().await?;
        for listener in &mut listeners {
            // Proves that what was sent before has arrived: the listener's own datagram to itself comes after it.
            let sentinel = cx.word("sentinel");
            listener.send_to(sentinel.as_bytes(), listener.local);
            listener.receive_relayed(sentinel.as_bytes()).await.map_err(Stop::into_setup)?;
            if let Some(received) = listener.received.iter().find(|received| received.bytes == word.as_bytes()) {
                let own = listener.local.ip();
                let why = format!("a permission for {own} is refused, but data for {address} is relayed there");
                return Err(Stop::at(why, received.line));
            }
        }
        cx.acceptable(format!(
            "a permission for {address} is granted, an address that may lead to the server's machine"
        ));
    }
    Ok(())
}
