//! Permissions: which peers may send to which clients, and receive from them.

use std::net::SocketAddr;

use tokio::time::sleep;

use super::{ALLOCATE, DATA, PERMISSION_CHECK};
use crate::case::Case;
use crate::case::Level::{May, Must};
use crate::stop::Stop;
use crate::stun::client::UdpClient;
use crate::stun::cx::StunCx;
use crate::stun::names::method;
use crate::stun::turn::Allocation;

pub(super) const CASES: &[&Case] = &[
    &Case::network("turn/create-permission", Must, "A CreatePermission is answered with an authenticated success response.", |cx| {
        Box::pin(create(cx))
    })
    .needs(ALLOCATE)
    .cites(&[rfc!("8656", "10.2", "The server then responds with a CreatePermission success response.")]),
    &Case::network("turn/no-permission", Must, "Without a permission, nothing is relayed from or to a peer.", |cx| {
        Box::pin(no_permission(cx))
    })
    .needs(DATA)
    .cites(&[
        PERMISSION_CHECK,
        rfc!("8656", "11.2", "The server also checks that there is a permission installed for the IP address contained in the XOR-PEER-ADDRESS attribute. If no such permission exists, the message is discarded."),
    ]),
    &Case::network("turn/permission-any-port", Must, "A permission is for an IP address: another port of it may send too.", |cx| {
        Box::pin(any_port(cx))
    })
    .needs(DATA)
    .cites(&[rfc!("8656", "9", "Note that only addresses are compared and port numbers are not considered.")]),
    &Case::network("turn/permission-many", Must, "One CreatePermission may name several peers; each may send.", |cx| {
        Box::pin(many(cx))
    })
    .needs(DATA)
    .cites(&[rfc!("8656", "10.2", "The CreatePermission request MUST contain at least one XOR-PEER-ADDRESS attribute and MAY contain multiple such attributes.")]),
    &Case::network("turn/permission-own", Must, "A permission of one allocation is not valid for another.", |cx| Box::pin(own(cx)))
        .needs(DATA)
        .cites(&[rfc!("8656", "9", "The permissions for one allocation are totally unrelated to the permissions for a different allocation.")]),
    &Case::network("turn/permission-missing-peer", Must, "A CreatePermission without XOR-PEER-ADDRESS is answered with 400.", |cx| {
        Box::pin(missing_peer(cx))
    })
    .needs(ALLOCATE)
    .cites(&[rfc!("8656", "10.2", "If no such attribute exists, or if any of these attributes are invalid, then a 400 (Bad Request) error is returned.")]),
    &Case::network("turn/443", Must, "A peer of the other address family is answered with 443, for permissions and for channels.", |cx| {
        Box::pin(family(cx))
    })
    .needs(ALLOCATE)
    .cites(&[
        rfc!("8656", "10.2", "If an XOR-PEER-ADDRESS attribute contains an address of an address family that is not the same as that of a relayed transport address for the allocation, the server MUST generate an error response with the 443 (Peer Address Family Mismatch) response code."),
        rfc!("8656", "12.2", "If the XOR-PEER-ADDRESS attribute contains an address of an address family that is not the same as that of a relayed transport address for the allocation, the server MUST generate an error response with the 443 (Peer Address Family Mismatch) response code."),
    ]),
    &Case::network("turn/peer-loopback", May, "A peer that is the server's own machine, or an unspecified, multicast or broadcast address, is answered with 403.", |cx| {
        Box::pin(peer_loopback(cx))
    })
    .needs(ALLOCATE)
    .cites(&[rfc!("8656", "10.2", "The server MAY impose restrictions on the IP address allowed in the XOR-PEER-ADDRESS attribute; if a value is not allowed, the server rejects the request with a 403 (Forbidden) error.")]),
];

async fn create(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    let peer = (cx.peer_ip()?, 9).into();
    let answer = ana.create_permission(cx, &[peer]).await?.success("CreatePermission")?;
    if !ana.auth.has_sealed(&answer.message) {
        return Err(answer.stop("the answer to CreatePermission has no valid MESSAGE-INTEGRITY"));
    }
    Ok(())
}

/// `from` has sent to `to` without a permission. Waits until whatever the server let through has arrived: a later
/// datagram of `from`, sent with a permission, arrives after it.
pub(super) async fn comes_behind(cx: &StunCx, to: &mut Allocation, from: &mut UdpClient) -> Result<(), Stop> {
    // The datagrams go through two sockets of the server, which may handle one before the other. Hence several fences
    // with pauses.
    for _ in 0..4 {
        to.fence().await?;
        sleep(cx.env.rto / 4).await;
    }
    to.permit(cx, from).await?;
    let sentinel = cx.word("sentinel");
    from.send_to(sentinel.as_bytes(), to.relayed);
    to.receive_data(sentinel.as_bytes()).await.map(drop)
}

async fn no_permission(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    let mut ben = cx.peer("ben").await?;
    let (inward, outward) = (cx.word("inward"), cx.word("outward"));
    let mut mallory = match cx.stranger("mallory").await? {
        // Both go through the same socket as permitted data, so they arrive in order.
        Some(mut mallory) => {
            ana.permit(cx, &ben).await?;
            mallory.send_to(inward.as_bytes(), ana.relayed);
            ana.send_data(cx, mallory.local, outward.as_bytes());
            let there = cx.word("sentinel");
            ana.send_data(cx, ben.local, there.as_bytes());
            ben.receive_relayed(there.as_bytes()).await?;
            let back = cx.word("sentinel");
            ben.send_to(back.as_bytes(), ana.relayed);
            ana.receive_data(back.as_bytes()).await?;
            mallory.fence().await?;
            mallory
        }
        None => {
            ben.send_to(inward.as_bytes(), ana.relayed);
            ana.send_data(cx, ben.local, outward.as_bytes());
            comes_behind(cx, &mut ana, &mut ben).await?;
            let there = cx.word("sentinel");
            ana.send_data(cx, ben.local, there.as_bytes());
            ben.receive_relayed(there.as_bytes()).await?;
            ben
        }
    };
    ana.fence().await?;
    if let Some(received) = ana.received_data(inward.as_bytes()) {
        return Err(Stop::at("data of a peer without a permission reached the client", received.line));
    }
    if let Some(received) = mallory.received.iter_mut().find(|received| received.bytes == outward.as_bytes()) {
        return Err(Stop::at("data of the client reached a peer without a permission", received.line));
    }
    Ok(())
}

async fn any_port(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    let [ben, cleo] = [cx.peer("ben").await?, cx.peer("cleo").await?];
    ana.permit(cx, &ben).await?;
    let word = cx.word("another-port");
    cleo.send_to(word.as_bytes(), ana.relayed);
    let (received, from) = ana.receive_data(word.as_bytes()).await?;
    if from != cleo.local {
        return Err(Stop::at(format!("{} sent the data, but XOR-PEER-ADDRESS is {from}", cleo.local), received.line));
    }
    Ok(())
}

async fn many(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    let ben = cx.peer("ben").await?;
    let Some(cleo) = cx.stranger("cleo").await? else {
        return Err(Stop::Unsupported("this machine has only one address that the server relays to".to_owned()));
    };
    ana.create_permission(cx, &[ben.local, cleo.local]).await?.success("a CreatePermission with two peers")?;
    for peer in [&ben, &cleo] {
        let word = cx.word("permitted");
        peer.send_to(word.as_bytes(), ana.relayed);
        ana.receive_data(word.as_bytes()).await?;
    }
    Ok(())
}

async fn own(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    let mut cleo = cx.allocation("cleo").await?;
    let mut ben = cx.peer("ben").await?;
    ana.permit(cx, &ben).await?;
    let word = cx.word("to-another");
    match cx.stranger("dora").await? {
        // It goes through the same socket as permitted data, so it arrives in order.
        Some(dora) => {
            cleo.permit(cx, &dora).await?;
            let sentinel = cx.word("sentinel");
            ben.send_to(word.as_bytes(), cleo.relayed);
            dora.send_to(sentinel.as_bytes(), cleo.relayed);
            cleo.receive_data(sentinel.as_bytes()).await?;
        }
        None => {
            ben.send_to(word.as_bytes(), cleo.relayed);
            comes_behind(cx, &mut cleo, &mut ben).await?;
        }
    }
    match cleo.received_data(word.as_bytes()) {
        Some(received) => Err(Stop::at("a permission of another allocation lets a peer's data through", received.line)),
        None => Ok(()),
    }
}

async fn missing_peer(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    let answer = ana.request(cx, method::CREATE_PERMISSION, |draft| draft).await?;
    answer.error(400, "a CreatePermission without XOR-PEER-ADDRESS").map(drop)
}

async fn family(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    let peer = other_family(ana.relayed);
    ana.create_permission(cx, &[peer]).await?.error(443, "a permission for the other address family")?;
    ana.bind(cx, 0x4000, peer).await?.error(443, "a channel for the other address family").map(drop)
}

/// A documentation address of the other family (RFC 3849, RFC 5737).
pub(super) fn other_family(relayed: SocketAddr) -> SocketAddr {
    let peer = if relayed.is_ipv4() { "[2001:db8::1]:9" } else { "192.0.2.1:9" };
    peer.parse().expect("it is an address")
}

async fn peer_loopback(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    if !ana.relayed.is_ipv4() {
        return Err(Stop::Unsupported("the relayed address is not an IPv4 address".to_owned()));
    }
    let peers = [
        ("127.0.0.1", "the server's own machine: any user of the relay can reach its private services"),
        ("0.0.0.0", "the unspecified address, which many systems treat as their own machine"),
        ("224.0.0.1", "a multicast group"),
        ("255.255.255.255", "all machines on the network"),
    ];
    for (address, what) in peers {
        let peer = format!("{address}:9").parse().expect("it is an address");
        let answer = ana.create_permission(cx, &[peer]).await?;
        match answer.code()? {
            Some(403) => {}
            Some(400) => cx.remark(format!("a permission for {address} is answered with 400")),
            None => cx.acceptable(format!("a permission for {address} is granted: {what}")),
            Some(_) => {
                return Err(answer.error(403, &format!("a permission for {address}")).expect_err("it is another"));
            }
        }
    }
    Ok(())
}
