//! Allocations with an address of each family (RFC 8656 §7.2), and datagrams that must not be fragmented (§11.2).

use std::net::SocketAddr;

use server::net::{Network, Tokio, Udp};

use crate::client::Running;
use crate::turn::{turn, turn_with};
use crate::turn_client::{ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, REFRESH, TurnClient, UDP, channel_data, receive};
use crate::wire::{Response, message_with_id, xor_address};

const IPV6_TOO: (u16, &[u8]) = (0x8000, &[2, 0, 0, 0]);
const V4: (u16, &[u8]) = (0x0017, &[1, 0, 0, 0]);
const V6: (u16, &[u8]) = (0x0017, &[2, 0, 0, 0]);

/// TURN with a relay address of each family; `None` where the host has no IPv6.
async fn both() -> Option<Running> {
    Tokio.bind_udp("[::1]:0".parse().expect("an address")).await.ok()?;
    let addresses = ["127.0.0.1", "::1"].map(|address| address.parse::<std::net::IpAddr>().expect("an address").into());
    Some(turn_with(|settings| settings.relay_addresses = addresses.to_vec()).await)
}

async fn peer(address: &str) -> (<Tokio as Network>::Udp, SocketAddr) {
    let peer = Tokio.bind_udp(address.parse().expect("an address")).await.expect("port 0 is free");
    let address = peer.local_addr().expect("it is bound");
    (peer, address)
}

/// A client with both, and its relayed transport addresses.
async fn with_both(server: &Running) -> (TurnClient, [SocketAddr; 2]) {
    let mut client = TurnClient::new(server.stun).await;
    let response = client.request(ALLOCATE, &[UDP, IPV6_TOO]).await;
    assert_eq!((response.code(), response.get(0x8001)), (0, None), "{response:?}");
    let relayed: Vec<_> = response.attributes.iter().filter(|(kind, _)| *kind == 0x0016).cloned().collect();
    let [first, second] = <[_; 2]>::try_from(relayed).expect("two addresses");
    let address = |attribute: (u16, Vec<u8>)| {
        let one = message_with_id(0x0103, response.id, &[(attribute.0, &attribute.1)]);
        Response::read(&one).address(0x0016)
    };
    let relayed = [address(first), address(second)];
    assert!(relayed[0].is_ipv4() && relayed[1].is_ipv6(), "{relayed:?}");
    (client, relayed)
}

#[tokio::test]
async fn data_takes_the_relay_of_its_family() {
    let Some(server) = both().await else { return };
    let (mut client, relayed) = with_both(&server).await;
    let peers = [peer("127.0.0.1:0").await, peer("[::1]:0").await];
    let addresses = [peers[0].1, peers[1].1];
    // One permission for each, in one request.
    let id = [9; 12];
    let attributes = addresses.map(|address| xor_address(address, id));
    let request = client.signed(CREATE_PERMISSION, id, &[(0x0012, &attributes[0]), (0x0012, &attributes[1])]);
    assert_eq!(client.ask(&request).await.code(), 0);
    for ((peer, address), relayed) in peers.iter().zip(relayed) {
        client.send(*address, b"there").await;
        assert_eq!(receive(peer).await, Some((b"there".to_vec(), relayed)));
        peer.send_to(b"back", relayed).await.expect("loopback");
        let indication = Response::read(&client.next().await);
        assert_eq!((indication.address(0x0012), indication.get(0x0013)), (*address, Some(&b"back"[..])));
    }
    // Channels as well, and a number belongs to one of them.
    assert_eq!(client.bind(0x4000, addresses[0]).await, 0);
    assert_eq!(client.bind(0x4000, addresses[1]).await, 400);
    assert_eq!(client.bind(0x4001, addresses[1]).await, 0);
    for (channel, ((peer, _), relayed)) in (0x4000..).zip(peers.iter().zip(relayed)) {
        client.send_on(channel, b"channel").await;
        assert_eq!(receive(peer).await, Some((b"channel".to_vec(), relayed)));
        peer.send_to(b"answer", relayed).await.expect("loopback");
        assert_eq!(client.next().await, channel_data(channel, b"answer"));
    }
    assert_eq!(server.handle.turn().expect("it is on").allocations, 1);
}

//= https://www.rfc-editor.org/rfc/rfc8656#section-8.2
#[tokio::test]
async fn each_family_is_refreshed_and_ended_by_itself() {
    let Some(server) = both().await else { return };
    let (mut client, relayed) = with_both(&server).await;
    let (v4, v6) = (peer("127.0.0.1:0").await, peer("[::1]:0").await);
    assert_eq!((client.permit(v4.1).await, client.permit(v6.1).await), (0, 0));
    let zero = (0x000d, &[0; 4][..]);
    assert_eq!(client.request(REFRESH, &[V4, zero]).await.code(), 0);
    assert_eq!(client.request(REFRESH, &[V4]).await.code(), 443);
    assert_eq!(client.permit(v4.1).await, 443);
    assert_eq!(client.with_peer(CHANNEL_BIND, v4.1, &[(0x000c, &[0x40, 0, 0, 0])]).await, 443);
    client.send(v6.1, b"still").await;
    assert_eq!(receive(&v6.0).await, Some((b"still".to_vec(), relayed[1])));
    // The socket of the other family is closed as soon as its task has seen it.
    let mut tries = 0;
    while Tokio.bind_udp(relayed[0]).await.is_err() {
        tries += 1;
        assert!(tries < 1000, "its port stays taken");
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert_eq!(client.request(REFRESH, &[V6, zero]).await.code(), 0);
    assert_eq!(client.request(REFRESH, &[]).await.code(), 437);
    let counters = server.handle.turn().expect("it is on");
    assert_eq!((counters.allocations, counters.users), (0, 0));
}

#[tokio::test]
async fn a_family_without_a_port_is_told_and_the_other_one_is_allocated() {
    let Some(server) = both().await else { return };
    let addresses = ["127.0.0.1", "::1"].map(|address| address.parse::<std::net::IpAddr>().expect("an address").into());
    let small = turn_with(|settings| {
        settings.relay_addresses = addresses.to_vec();
        settings.allocations_per_user_max = 1;
    })
    .await;
    let mut client = TurnClient::new(small.stun).await;
    let response = client.request(ALLOCATE, &[UDP, IPV6_TOO]).await;
    assert_eq!((response.code(), &response.get(0x8001).expect("ADDRESS-ERROR-CODE")[..4]), (0, &[2, 0, 4, 86][..]));
    assert!(response.address(0x0016).is_ipv4());
    // A retransmission gets the same answer.
    let (mut client, _) = with_both(&server).await;
    let id = client.next_id();
    let request = client.signed(ALLOCATE, id, &[UDP, IPV6_TOO]);
    assert_eq!(client.ask(&request).await.code(), 437, "another request");
}

#[tokio::test]
async fn a_datagram_that_must_not_be_fragmented_is_relayed_whole_or_dropped() {
    let server = turn().await;
    let mut client = TurnClient::new(server.stun).await;
    let response = client.request(ALLOCATE, &[UDP, (0x001a, b"")]).await;
    assert_eq!(response.code(), 0, "{response:?}");
    let relayed = response.address(0x0016);
    let (peer, address) = peer("127.0.0.1:0").await;
    assert_eq!(client.permit(address).await, 0);
    for (n, whole) in [(1, false), (2, true), (3, false)] {
        let id = client.next_id();
        let (to, data) = (xor_address(address, id), [n; 600]);
        let attributes = [(0x0012, &to[..]), (0x0013, &data), (0x001a, &[])];
        client.raw(&message_with_id(0x0016, id, &attributes[..2 + usize::from(whole)])).await;
        assert_eq!(receive(&peer).await, Some((data.to_vec(), relayed)));
    }
}
