//! TURN: ports, bandwidth, peers, and recorded requests.

use server::net::{Network, Tokio};
use server::{Cidr, RelayAddress, TurnSettings};

use super::ATTACKER;
use crate::api::get;
use crate::client::{Running, start_with};
use crate::clock::hold;
use crate::turn::{settings, turn_with};
use crate::turn_client::{ALLOCATE, TurnClient, UDP};

const EVEN_AND_NEXT: (u16, &[u8]) = (0x0018, &[0x80]);

/// A client with the credential of a user, at another address of the loopback.
async fn client_at(server: &Running, address: &str, user: &str, password: &str) -> TurnClient {
    let at = format!("{address}:0").parse().expect("an address");
    let mut client = TurnClient::on(Tokio.bind_udp(at).await.expect("port 0 is free"), server.stun);
    (client.user, client.password) = (user.to_owned(), password.to_owned());
    client
}

fn allocations(server: &Running) -> u64 {
    server.handle.turn().expect("it is on").allocations
}

#[tokio::test]
async fn reserved_ports_count_until_they_are_free_again() {
    let server = turn_with(|settings| settings.allocations_per_user_max = 8).await;
    let mut attacker = client_at(&server, ATTACKER, "u", "p").await;
    let mut codes = Vec::new();
    for _ in 0..20 {
        let code = attacker.request(ALLOCATE, &[UDP, EVEN_AND_NEXT]).await.code();
        codes.push(code);
        if code == 0 {
            assert_eq!(attacker.refresh(0).await.code(), 0);
        }
    }
    // Seven reserved ports and one allocation with its own: then there is no place for two more.
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 7, "{codes:?}");
    assert!(codes[7..].iter().all(|code| *code == 486), "{codes:?}");
    assert_eq!(client_at(&server, "127.0.0.1", "v", "q").await.request(ALLOCATE, &[UDP]).await.code(), 0);
}

#[tokio::test]
async fn many_credentials_of_one_address_do_not_get_all_ports() {
    let server = turn_with(|settings| {
        settings.allocations_per_user_max = 2;
        settings.allocations_per_address_max = 16;
    })
    .await;
    let mut codes = Vec::new();
    for _ in 0..10 {
        let config: serde_json::Value = serde_json::from_str(&get(&server, "/api/config").await.body).expect("JSON");
        let turn = &config["iceServers"][1];
        let [user, password] = ["username", "credential"].map(|key| turn[key].as_str().expect("a string"));
        for _ in 0..2 {
            let mut client = client_at(&server, ATTACKER, user, password).await;
            codes.push(client.request(ALLOCATE, &[UDP]).await.code());
        }
    }
    assert_eq!(codes, [vec![0; 16], vec![486; 4]].concat());
    assert_eq!(client_at(&server, "127.0.0.1", "u", "p").await.request(ALLOCATE, &[UDP]).await.code(), 0);
    assert_eq!(allocations(&server), 17);
}

/// Whoever has recorded the request, and can send from the same address, gets nothing with it.
#[tokio::test]
async fn a_recorded_allocate_makes_no_allocation_after_its_end() {
    let server = turn_with(|_| {}).await;
    let mut client = TurnClient::new(server.stun).await;
    client.allocate().await;
    client.refresh(0).await;
    let id = client.next_id();
    let recorded = client.signed(ALLOCATE, id, &[UDP]);
    assert_eq!(client.ask(&recorded).await.code(), 0);
    assert_eq!(client.ask(&recorded).await.code(), 0, "while it lives, the answer is repeated");
    assert_eq!(client.refresh(0).await.code(), 0);
    assert_eq!(client.ask(&recorded).await.code(), 438);
    assert_eq!(allocations(&server), 0);
    // The client itself goes on, with the same nonce.
    assert_eq!(client.request(ALLOCATE, &[UDP]).await.code(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_user_does_not_take_the_bandwidth_of_another() {
    let _clock = hold();
    let server = turn_with(|settings| {
        settings.user_bandwidth_max = Some(10_000);
        settings.bandwidth_max = Some(100_000);
    })
    .await;
    let peer = Tokio.bind_udp(([127, 0, 0, 1], 0).into()).await.expect("port 0 is free");
    let address = server::net::Udp::local_addr(&peer).expect("it is bound");
    let mut attacker = client_at(&server, ATTACKER, "u", "p").await;
    let mut honest = client_at(&server, "127.0.0.1", "v", "q").await;
    for client in [&mut attacker, &mut honest] {
        client.allocate().await;
        assert_eq!(client.bind(0x4000, address).await, 0);
    }
    for _ in 0..50 {
        attacker.send_on(0x4000, &[7; 1000]).await;
    }
    attacker.drain().await;
    for _ in 0..5 {
        honest.send_on(0x4000, &[8; 1000]).await;
    }
    honest.drain().await;
    let counters = server.handle.turn().expect("it is on");
    // A second's worth at once, and the one that begins within it.
    assert_eq!((counters.packets_to_peers, counters.packets_throttled), (11 + 5, 39));
}

fn networks(texts: &[&str]) -> Vec<Cidr> {
    texts.iter().map(|text| text.parse().expect("a network")).collect()
}

#[tokio::test]
async fn peers_are_denied_by_default_by_list_and_allowed_by_list() {
    let settings = TurnSettings {
        allow_private_peers: false,
        denied_peers: networks(&["203.0.113.0/24", "10.1.0.0/16"]),
        allowed_peers: networks(&["10.0.0.0/8", "127.0.0.1"]),
        host_addresses: vec!["198.51.100.9".parse().expect("an address")],
        ..settings()
    };
    let server = start_with(|config| config.turn = Some(settings)).await;
    let (mut client, _) = TurnClient::allocated(server.stun).await;
    for (peer, code) in [
        ("8.8.8.8", 0),
        ("203.0.113.7", 403),
        ("10.2.3.4", 0),
        ("10.1.3.4", 403),
        ("127.0.0.1", 0),
        ("127.0.0.2", 403),
        ("192.168.0.1", 403),
        ("198.51.100.9", 403),
        ("198.51.100.8", 0),
        ("192.0.0.9", 403),
        ("198.18.0.1", 403),
        ("240.0.0.1", 403),
        ("224.0.0.1", 403),
    ] {
        let peer = format!("{peer}:9").parse().expect("an address");
        assert_eq!(client.permit(peer).await, code, "{peer}");
    }
}

/// The relays' address is also that of this host's other services, such as STUN itself.
#[tokio::test]
async fn a_relay_reaches_other_relays_and_nothing_else_of_its_host() {
    let [bind, advertised] = ["127.0.0.1", "203.0.113.5"].map(|ip| ip.parse().expect("an address"));
    let server = turn_with(|settings| {
        settings.allow_private_peers = false;
        settings.relay_addresses = vec![RelayAddress { bind, advertised }];
    })
    .await;
    let (mut client, own) = TurnClient::allocated(server.stun).await;
    let (mut other, relayed) = TurnClient::allocated(server.stun).await;
    assert_eq!(other.permit(own).await, 0);
    for (channel, peer) in [(0x4000, relayed), (0x4001, (advertised, server.stun.port()).into())] {
        assert_eq!(client.bind(channel, peer).await, 0);
        client.send_on(channel, b"hello").await;
    }
    client.drain().await;
    assert!(other.next().await.ends_with(b"hello\0\0\0"));
    let counters = server.handle.turn().expect("it is on");
    assert_eq!((counters.packets_to_peers, counters.packets_forbidden), (1, 1));
}
