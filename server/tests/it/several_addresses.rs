//! A server on a wildcard address answers each client from the address that the client asked.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use server::RelayAddress;
use server::net::{Network, Tokio, Udp};

use crate::client::{Running, start_with};
use crate::turn;
use crate::turn_client::{ALLOCATE, TurnClient, UDP, channel_data};
use crate::wire::{Response, message_with_id};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

async fn on(wildcard: &str, advertised: IpAddr) -> Running {
    let any_port = SocketAddr::new(wildcard.parse().expect("an address"), 0);
    let mut turn = turn::settings();
    turn.relay_addresses = vec![RelayAddress { bind: LOCALHOST, advertised }];
    start_with(|config| (config.stun, config.turn) = (Some(any_port), Some(turn))).await
}

/// A client at `own`, which must get everything from `asked`.
async fn client(server: &Running, own: IpAddr, asked: IpAddr) -> TurnClient {
    let socket = Tokio.bind_udp((own, 0).into()).await.expect("port 0 is free");
    TurnClient::on(socket, (asked, server.stun.port()).into())
}

/// Asks for everything that a server sends to a client. The client checks from which address it comes.
async fn everything_comes_from(server: &Running, own: IpAddr, asked: IpAddr) {
    let mut client = client(server, own, asked).await;
    let address = client.socket.local_addr().expect("it is bound");
    let binding = client.ask(&message_with_id(0x0001, [1; 12], &[])).await;
    assert_eq!(binding.address(0x0020), address);
    let relayed = client.allocate().await;
    assert_eq!(client.request(ALLOCATE, &[UDP]).await.code(), 437);
    let peer = Tokio.bind_udp((LOCALHOST, 0).into()).await.expect("port 0 is free");
    let peer_address = peer.local_addr().expect("it is bound");
    assert_eq!(client.permit(peer_address).await, 0);
    peer.send_to(b"from the peer", relayed).await.expect("loopback takes it");
    let indication = Response::read(&client.next().await);
    assert_eq!((indication.kind, indication.get(0x0013)), (0x0017, Some(&b"from the peer"[..])));
    assert_eq!(client.bind(0x4000, peer_address).await, 0);
    peer.send_to(b"on the channel", relayed).await.expect("loopback takes it");
    assert_eq!(client.next().await, channel_data(0x4000, b"on the channel"));
    let large = [7; 9000];
    peer.send_to(&large, relayed).await.expect("loopback takes it");
    assert_eq!(client.next().await, channel_data(0x4000, &large));
    assert_eq!(client.refresh(0).await.lifetime(), 0);
}

//= https://www.rfc-editor.org/rfc/rfc8489#section-6.3.1.2
#[tokio::test]
async fn an_answer_leaves_from_the_ipv4_address_that_was_asked() {
    let mut wildcards = vec!["0.0.0.0"];
    if Tokio.bind_udp((Ipv6Addr::UNSPECIFIED, 0).into()).await.is_ok() {
        // It also receives IPv4.
        wildcards.push("::");
    } else {
        eprintln!("SKIPPED for the wildcard ::: this host has no IPv6");
    }
    for wildcard in wildcards {
        let server = on(wildcard, LOCALHOST).await;
        for asked in [[127, 0, 0, 1], [127, 0, 0, 2], [127, 255, 0, 3]] {
            everything_comes_from(&server, LOCALHOST, asked.into()).await;
        }
    }
}

#[tokio::test]
async fn an_answer_leaves_from_the_ipv6_address_that_was_asked() {
    let Some(second) = second_ipv6_address() else {
        eprintln!("SKIPPED: this host has no IPv6 address beside ::1");
        return;
    };
    let server = on("::", LOCALHOST).await;
    let localhost = IpAddr::V6(Ipv6Addr::LOCALHOST);
    for (own, asked) in [(localhost, localhost), (localhost, second), (second, localhost), (second, second)] {
        everything_comes_from(&server, own, asked).await;
    }
}

/// A 5-tuple contains the server's address, so a client has another allocation at another address of the server.
#[tokio::test]
async fn allocations_at_two_addresses_are_independent() {
    let server = on("0.0.0.0", LOCALHOST).await;
    let mut client = client(&server, LOCALHOST, [127, 0, 0, 2].into()).await;
    let [two, three] = [2, 3].map(|n| SocketAddr::from(([127, 0, 0, n], server.stun.port())));
    let at_two = client.allocate().await;
    client.server = three;
    assert_eq!(client.refresh(600).await.code(), 437);
    let at_three = client.allocate().await;
    assert_ne!(at_two, at_three);
    assert_eq!(client.refresh(0).await.lifetime(), 0);
    client.server = two;
    assert_eq!(client.refresh(600).await.lifetime(), 600);
    assert_eq!(server.handle.turn().expect("it is on").allocations, 1);
}

/// What one client sends to another inside the server also leaves from the address that the other one asked.
#[tokio::test]
async fn data_behind_an_external_address_leaves_from_the_address_that_was_asked() {
    let server = on("0.0.0.0", [203, 0, 113, 5].into()).await;
    let mut a = client(&server, LOCALHOST, [127, 0, 0, 2].into()).await;
    let mut b = client(&server, LOCALHOST, [127, 0, 0, 3].into()).await;
    let (a_relayed, b_relayed) = (a.allocate().await, b.allocate().await);
    assert_eq!((a.permit(b_relayed).await, b.permit(a_relayed).await), (0, 0));
    a.send(b_relayed, b"from a").await;
    assert_eq!(Response::read(&b.next().await).get(0x0013), Some(&b"from a"[..]));
    b.send(a_relayed, b"from b").await;
    assert_eq!(Response::read(&a.next().await).get(0x0013), Some(&b"from b"[..]));
}

/// A global address of this host that can be used: neither tentative nor a duplicate.
fn second_ipv6_address() -> Option<IpAddr> {
    const UNUSABLE: u8 = 0x48;
    let table = std::fs::read_to_string("/proc/net/if_inet6").ok()?;
    table.lines().find_map(|line| {
        let [address, _, _, scope, flags, _] = line.split_whitespace().collect::<Vec<_>>()[..] else { return None };
        let address = Ipv6Addr::from(u128::from_str_radix(address, 16).ok()?);
        let flags = u8::from_str_radix(flags, 16).ok()?;
        (scope == "00" && !address.is_loopback() && flags & UNUSABLE == 0).then_some(address.into())
    })
}
