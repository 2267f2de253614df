//! TURN on real sockets: every rule of RFC 8656 that the server claims to keep, asked with bytes of our own.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use data_encoding::BASE64;
use hmac::{Hmac, Mac};
use server::net::{Network, Tokio, Udp};
use server::{Config, Rate, RelayAddress, Server, TurnSettings};
use sha1::Sha1;
use tokio::time::{advance, sleep};

use crate::client::{PATIENCE, Running, start_with};
use crate::clock::{hold, passing};
use crate::turn_client::{
    ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, REFRESH, TurnClient, UDP, channel_data, is_silent, receive,
};
use crate::wire::{Response, key, message_with_id, with_fingerprint, with_integrity, xor_address};

/// TURN on loopback with the users `u` and `v` and a shared secret.
pub(crate) async fn turn() -> Running {
    turn_with(|_| {}).await
}

pub(crate) async fn turn_with(change: impl FnOnce(&mut TurnSettings)) -> Running {
    let mut settings = settings();
    change(&mut settings);
    start_with(|config| config.turn = Some(settings)).await
}

pub(crate) fn settings() -> TurnSettings {
    TurnSettings {
        realm: "glare.test".to_owned(),
        users: vec![("u".to_owned(), "p".to_owned()), ("v".to_owned(), "q".to_owned())],
        secret: Some("shared".to_owned()),
        allow_private_peers: true,
        ..TurnSettings::default()
    }
}

type Peer = <Tokio as Network>::Udp;

async fn peer() -> (Peer, SocketAddr) {
    let peer = Tokio.bind_udp(([127, 0, 0, 1], 0).into()).await.expect("port 0 is free");
    let address = peer.local_addr().expect("it is bound");
    (peer, address)
}

const PUBLIC: &str = "203.0.113.7:9";

fn public() -> SocketAddr {
    PUBLIC.parse().expect("an address")
}

//= https://www.rfc-editor.org/rfc/rfc8489#section-9.2.4
#[tokio::test]
async fn a_request_must_carry_a_valid_credential() {
    let server = turn().await;
    let mut client = TurnClient::new(server.stun).await;
    // No MESSAGE-INTEGRITY: 401 with a realm and a nonce that tells RFC 8489, unsigned.
    for method in [ALLOCATE, REFRESH, CREATE_PERMISSION, CHANNEL_BIND] {
        let id = client.next_id();
        let response = client.ask(&message_with_id(method, id, &[UDP])).await;
        assert_eq!((response.kind, response.code()), (method | 0x0110, 401));
        assert_eq!((response.text(0x0014).as_str(), &response.text(0x0015)[..13]), ("glare.test", "obMatJos2AAAA"));
        assert_eq!((response.get(0x0008), response.get(0x0006)), (None, None));
        client.nonce = response.text(0x0015);
    }
    client.realm = "glare.test".to_owned();
    // MESSAGE-INTEGRITY without what it needs: 400, without realm and nonce.
    let (user, realm, nonce) = (b"u".as_slice(), b"glare.test".as_slice(), client.nonce.clone());
    let all = [(0x0006, user), (0x0014, realm), (0x0015, nonce.as_bytes())];
    for missing in 0..3 {
        let mut attributes = vec![UDP];
        attributes.extend(all.iter().enumerate().filter(|(n, _)| *n != missing).map(|(_, attribute)| *attribute));
        let request =
            with_integrity(message_with_id(ALLOCATE, [missing as u8; 12], &attributes), &key("u", "glare.test", "p"));
        let response = client.ask(&request).await;
        assert_eq!((response.code(), response.get(0x0014), response.get(0x0015)), (400, None, None));
    }
    // A wrong password, a stranger, a changed message: 401.
    client.password = "wrong".to_owned();
    assert_eq!(client.request(ALLOCATE, &[UDP]).await.code(), 401);
    (client.user, client.password) = ("stranger".to_owned(), "p".to_owned());
    assert_eq!(client.request(ALLOCATE, &[UDP]).await.code(), 401);
    client.user = "u".to_owned();
    let mut changed = client.signed(ALLOCATE, [9; 12], &[UDP, (0x000d, &600_u32.to_be_bytes())]);
    changed[35] ^= 1;
    assert_eq!(client.ask(&changed).await.code(), 401);
    // A nonce of nobody's, another client's, a changed one: 438 with a new one, with which it goes on.
    let other = TurnClient::allocated(server.stun).await.0.nonce;
    let mut later = nonce.clone().into_bytes();
    later[13..19].copy_from_slice(b"______");
    for stale in ["", "nonsense", &other, str::from_utf8(&later).expect("ASCII")] {
        client.nonce = stale.to_owned();
        let response = match stale {
            "" => client.ask(&client.signed(ALLOCATE, [8; 12], &[UDP])).await,
            _ => client.request(ALLOCATE, &[UDP]).await,
        };
        assert_eq!((response.code(), response.text(0x0014).as_str()), (438, "glare.test"), "{stale}");
        client.nonce = response.text(0x0015);
    }
    let relayed = client.allocate().await;
    assert_eq!(relayed.ip(), server.stun.ip());
    assert!(TurnSettings::default().relay_ports.contains(&relayed.port()));
    let counters = server.handle.turn().expect("it is on");
    assert_eq!((counters.allocations, counters.allocations_made), (2, 2));
    // The helper's other client asked without a credential first.
    assert_eq!(counters.refusals, [(400, 3), (401, 8), (438, 4)]);
}

#[tokio::test(start_paused = true)]
async fn a_nonce_expires() {
    let _clock = hold();
    let server = turn_with(|settings| settings.nonce_lifetime = Duration::from_millis(50)).await;
    let (mut client, _) = TurnClient::allocated(server.stun).await;
    advance(Duration::from_millis(60)).await;
    let response = client.refresh(600).await;
    assert_eq!(response.code(), 438);
    client.nonce = response.text(0x0015);
    assert_eq!(client.refresh(600).await.code(), 0);
}

#[tokio::test]
async fn an_allocation_tells_its_addresses_and_lifetime() {
    let server = turn().await;
    let mut client = TurnClient::new(server.stun).await;
    let own = client.socket.local_addr().expect("it is bound");
    for (asked, granted) in [(None, 600), (Some(0_u32), 600), (Some(10), 600), (Some(1000), 1000), (Some(99_999), 3600)]
    {
        let lifetime = asked.map(u32::to_be_bytes);
        let mut attributes = vec![UDP];
        attributes.extend(lifetime.as_ref().map(|lifetime| (0x000d, &lifetime[..])));
        let response = client.request(ALLOCATE, &attributes).await;
        assert_eq!((response.lifetime(), response.address(0x0020)), (granted, own), "{asked:?}");
        assert_eq!(response.get(0x8022), Some(&b"glare"[..]));
        assert_eq!(client.refresh(asked.unwrap_or(600).max(1)).await.lifetime(), granted);
        assert_eq!(client.refresh(0).await.lifetime(), 0);
        assert_eq!(client.refresh(0).await.code(), 437, "it is gone");
    }
    let counters = server.handle.turn().expect("it is on");
    assert_eq!((counters.allocations, counters.users), (0, 0));
}

#[tokio::test]
async fn an_allocate_that_comes_again_is_answered_again_and_another_is_a_mismatch() {
    let server = turn().await;
    let (mut client, relayed) = TurnClient::allocated(server.stun).await;
    let id = client.next_id();
    let again = client.signed(ALLOCATE, id, &[UDP]);
    assert_eq!(client.ask(&again).await.code(), 437);
    client.refresh(0).await;
    let first = client.ask(&again).await;
    assert_eq!((client.ask(&again).await, first.code()), (first.clone(), 0));
    assert_ne!(first.address(0x0016), relayed);
    assert_eq!(server.handle.turn().expect("it is on").allocations_made, 2);
    // The same datagram with a fingerprint at its end is answered with one.
    let (mut other, id) = (TurnClient::new(server.stun).await, [5; 12]);
    (other.realm, other.nonce) = (client.realm.clone(), client.nonce.clone());
    let fingerprinted = with_fingerprint(other.signed(ALLOCATE, id, &[UDP]));
    let response = other.ask(&fingerprinted).await;
    assert_eq!((response.code(), response.attributes.last().map(|(kind, _)| *kind)), (438, Some(0x8028)));
    other.nonce = response.text(0x0015);
    let response = other.ask(&with_fingerprint(other.signed(ALLOCATE, [6; 12], &[UDP]))).await;
    assert_eq!((response.code(), response.attributes.last().map(|(kind, _)| *kind)), (0, Some(0x8028)));
}

//= https://www.rfc-editor.org/rfc/rfc8656#section-7.2-10.2
//# A LIFETIME attribute containing the current value of the
//# time-to-expiry timer.
#[tokio::test(start_paused = true)]
async fn an_allocate_that_comes_again_later_is_answered_with_the_time_that_is_left() {
    let _clock = hold();
    let server = turn().await;
    let mut client = TurnClient::new(server.stun).await;
    assert_eq!(client.request(REFRESH, &[]).await.code(), 437);
    let id = client.next_id();
    let request = client.signed(ALLOCATE, id, &[UDP, (0x0018, &[0x80])]);
    let first = client.ask(&request).await;
    assert_eq!(first.lifetime(), 600);
    advance(Duration::from_secs(100)).await;
    let again = client.ask(&request).await;
    assert_eq!(again.lifetime(), 500);
    for kind in [0x0016, 0x0020, 0x0022] {
        assert!(first.get(kind).is_some() && again.get(kind) == first.get(kind), "{kind:#x}");
    }
    let key = key(&client.user, &client.realm, &client.password);
    assert!(again.is_signed_with(&key));
}

/// A router with a 1:1 NAT usually does not send a packet for the external address back inside.
#[tokio::test]
async fn relays_behind_an_external_address_reach_each_other() {
    let external = [203, 0, 113, 5].into();
    let server = turn_with(|settings| {
        settings.relay_addresses = vec![RelayAddress { bind: [127, 0, 0, 1].into(), advertised: external }];
        settings.allow_private_peers = false;
    })
    .await;
    let (mut a, a_relayed) = TurnClient::allocated(server.stun).await;
    let (mut b, b_relayed) = TurnClient::allocated(server.stun).await;
    assert_eq!((a_relayed.ip(), b_relayed.ip()), (external, external));
    assert_eq!(a.permit(b_relayed).await, 0);
    a.send(b_relayed, b"not permitted there").await;
    a.drain().await;
    b.hears_nothing().await;
    assert_eq!(server.handle.turn().expect("it is on").packets_forbidden, 1);
    assert_eq!(b.permit(a_relayed).await, 0);
    for data in [&b""[..], b"x", b"four", b"odd length"] {
        a.send(b_relayed, data).await;
        let indication = Response::read(&b.next().await);
        assert_eq!((indication.kind, indication.address(0x0012)), (0x0017, a_relayed));
        assert_eq!(indication.get(0x0013), Some(data));
    }
    assert_eq!((a.bind(0x4000, b_relayed).await, b.bind(0x4001, a_relayed).await), (0, 0));
    a.send_on(0x4000, b"to b").await;
    assert_eq!(b.next().await, channel_data(0x4001, b"to b"));
    b.send_on(0x4001, b"to a").await;
    assert_eq!(a.next().await, channel_data(0x4000, b"to a"));
    let counters = server.handle.turn().expect("it is on");
    assert_eq!((counters.packets_to_peers, counters.packets_to_clients, counters.packets_dropped), (7, 6, 0));
    // Only allocations are reached this way, not this host's other sockets.
    let (peer, address) = peer().await;
    let outside = SocketAddr::new(external, address.port());
    assert_eq!(a.permit(outside).await, 0);
    a.send(outside, b"to a service of this host").await;
    a.drain().await;
    assert!(is_silent(&peer, Duration::from_millis(20)).await);
    // An allocation that has ended is gone here too.
    assert_eq!(b.refresh(0).await.lifetime(), 0);
    a.send(b_relayed, b"too late").await;
    a.drain().await;
    b.hears_nothing().await;
}

/// The username, the realm and the password are prepared with OpaqueString (RFC 8265 §4.2), but not by all clients.
//= https://www.rfc-editor.org/rfc/rfc8489#section-9.2.2
#[tokio::test]
async fn a_credential_works_composed_and_decomposed() {
    // U+00E9, or `e` and U+0301; U+3000 is a space.
    let (composed, decomposed) = ("Ren\u{e9}", "Rene\u{301}");
    for configured in [composed, decomposed] {
        let server = turn_with(|settings| {
            settings.realm = format!("caf\u{e9} of {configured}");
            settings.users = vec![(configured.to_owned(), format!("{configured}\u{3000}1"))];
            settings.allocations_per_user_max = 5;
        })
        .await;
        let mut clients = Vec::new();
        for (name, password) in [
            (composed, format!("{composed} 1")),
            (composed, format!("{decomposed} 1")),
            (decomposed, format!("{decomposed} 1")),
            (decomposed, format!("{composed} 1")),
            (configured, format!("{configured}\u{3000}1")),
        ] {
            let mut client = TurnClient::new(server.stun).await;
            (client.user, client.password) = (name.to_owned(), password);
            client.allocate().await;
            assert_eq!(client.realm, format!("caf\u{e9} of {composed}"));
            clients.push(client);
        }
        assert_eq!(server.handle.turn().expect("it is on").users, 1);
        // Both spellings are one user, for its allocations and for the quota.
        clients[0].user = decomposed.to_owned();
        assert_eq!(clients[0].refresh(600).await.code(), 0);
        let mut another = TurnClient::new(server.stun).await;
        (another.user, another.password) = (composed.to_owned(), format!("{composed} 1"));
        assert_eq!(another.request(ALLOCATE, &[UDP]).await.code(), 486);
        another.password = "Rene 1".to_owned();
        assert_eq!(another.request(ALLOCATE, &[UDP]).await.code(), 401);
    }
}

/// Anyone can make the server send this to any address.
#[tokio::test]
async fn an_answer_without_a_credential_is_short() {
    let server = turn_with(|settings| settings.realm = "glare".to_owned()).await;
    let client = TurnClient::new(server.stun).await;
    let request = message_with_id(ALLOCATE, [1; 12], &[]);
    client.socket.send_to(&request, server.stun).await.expect("loopback takes it");
    let (answer, _) = receive(&client.socket).await.expect("it answers");
    assert_eq!((request.len(), answer.len()), (20, 92));
}

#[tokio::test(start_paused = true)]
async fn answers_without_a_credential_have_a_rate_where_one_is_set() {
    let _clock = hold();
    let two = NonZeroU32::new(2).expect("not 0");
    let rate = Rate { per_second: two, burst: two };
    let server = turn_with(|settings| settings.unauthenticated_rate = Some(rate)).await;
    // It takes one of the two answers.
    let (mut client, _) = TurnClient::allocated(server.stun).await;
    let stranger = TurnClient::new(server.stun).await;
    for (millis, answers) in [(0, 1), (500, 1), (1000, 2)] {
        advance(Duration::from_millis(millis)).await;
        for n in 0..4 {
            let request = message_with_id(ALLOCATE, [n; 12], &[UDP]);
            stranger.socket.send_to(&request, server.stun).await.expect("loopback takes it");
        }
        for n in 0..answers {
            let (answer, _) = receive(&stranger.socket).await.expect("it answers");
            assert_eq!(answer[8..20], [n; 12]);
        }
        // A request with a credential is not limited.
        assert_eq!(client.refresh(600).await.code(), 0);
        assert!(passing(is_silent(&stranger.socket, Duration::from_millis(2))).await.0);
    }
}

//= https://www.rfc-editor.org/rfc/rfc8656#section-7.2
#[tokio::test]
async fn what_an_allocate_may_not_ask_for() {
    let server = turn().await;
    let mut client = TurnClient::new(server.stun).await;
    let v4 = (0x0017, &[1, 0, 0, 0][..]);
    let v6 = (0x0017, &[2, 0, 0, 0][..]);
    let token = (0x0022, &[0; 8][..]);
    for (code, attributes) in [
        (400, &[][..]),
        (400, &[(0x0019, &[17][..])]),
        (442, &[(0x0019, &[6, 0, 0, 0])]),
        (420, &[UDP, (0x7abc, b"?")]),
        (400, &[UDP, (0x000d, b"?")]),
        (400, &[UDP, token, v4]),
        (400, &[UDP, token, (0x0018, &[0])]),
        (400, &[UDP, token, (0x8000, &[2, 0, 0, 0])]),
        (508, &[UDP, token]),
        (400, &[UDP, (0x0022, &[0; 7])]),
        (400, &[UDP, v4, (0x8000, &[2, 0, 0, 0])]),
        (440, &[UDP, v6]),
        (440, &[UDP, (0x0017, &[9, 0, 0, 0])]),
        (400, &[UDP, (0x0017, &[1])]),
        (400, &[UDP, (0x0018, &[0x80]), (0x8000, &[2, 0, 0, 0])]),
        (400, &[UDP, (0x8000, &[1, 0, 0, 0])]),
    ] {
        let response = client.request(ALLOCATE, attributes).await;
        assert_eq!(response.code(), code, "{attributes:x?}");
        if code == 420 {
            assert_eq!(response.get(0x000a), Some(&attributes[1].0.to_be_bytes()[..]));
        }
    }
    // Half of what was asked for, and why.
    let response = client.request(ALLOCATE, &[UDP, (0x8000, &[2, 0, 0, 0])]).await;
    assert_eq!((response.code(), &response.get(0x8001).expect("ADDRESS-ERROR-CODE")[..4]), (0, &[2, 0, 4, 40][..]));
    assert_eq!(client.request(REFRESH, &[v6]).await.code(), 443);
    assert_eq!(client.request(REFRESH, &[v4]).await.code(), 0);
    assert_eq!(client.request(REFRESH, &[(0x7abc, b"")]).await.code(), 420);
}

#[tokio::test]
async fn an_even_port_and_the_next_one_kept_for_later() {
    let server = turn().await;
    for _ in 0..8 {
        let response = TurnClient::new(server.stun).await.request(ALLOCATE, &[UDP, (0x0018, &[0])]).await;
        assert_eq!((response.address(0x0016).port() % 2, response.get(0x0022)), (0, None));
    }
    let mut second = TurnClient::new(server.stun).await;
    let response = second.request(ALLOCATE, &[UDP, (0x0018, &[0x80])]).await;
    let (even, token) = (response.address(0x0016), response.get(0x0022).expect("RESERVATION-TOKEN").to_vec());
    let mut third = TurnClient::new(server.stun).await;
    let response = third.request(ALLOCATE, &[UDP, (0x0022, &token)]).await;
    assert_eq!((even.port() % 2, response.address(0x0016)), (0, SocketAddr::new(even.ip(), even.port() + 1)));
    // Once is all.
    assert_eq!(TurnClient::new(server.stun).await.request(ALLOCATE, &[UDP, (0x0022, &token)]).await.code(), 508);
}

#[tokio::test]
async fn quotas_hold_by_user_and_in_total_and_ports_run_out() {
    let server = turn_with(|settings| {
        (settings.allocations_per_user_max, settings.allocations_max) = (2, 3);
    })
    .await;
    let (mut a, _) = TurnClient::allocated(server.stun).await;
    let (_b, _) = TurnClient::allocated(server.stun).await;
    let mut c = TurnClient::new(server.stun).await;
    assert_eq!(c.request(ALLOCATE, &[UDP]).await.code(), 486);
    let mut d = TurnClient::new(server.stun).await;
    (d.user, d.password) = ("v".to_owned(), "q".to_owned());
    d.allocate().await;
    let mut e = TurnClient::new(server.stun).await;
    (e.user, e.password) = ("v".to_owned(), "q".to_owned());
    assert_eq!(e.request(ALLOCATE, &[UDP]).await.code(), 508);
    a.refresh(0).await;
    assert_eq!(e.request(ALLOCATE, &[UDP]).await.code(), 0);
    assert_eq!(c.request(ALLOCATE, &[UDP]).await.code(), 508);
    assert_eq!(server.handle.turn().expect("it is on").refusals.iter().find(|(code, _)| *code == 508), Some(&(508, 2)));

    // Two ports that were free a moment ago; a neighbouring test may take one.
    let free = peer().await.1.port() & !1;
    let server = turn_with(|settings| settings.relay_ports = free..=free + 1).await;
    let mut codes = Vec::new();
    for _ in 0..3 {
        let mut client = TurnClient::new(server.stun).await;
        let response = client.request(ALLOCATE, &[UDP]).await;
        if response.code() == 0 {
            assert_eq!(response.address(0x0016).port() & !1, free);
        }
        codes.push(response.code());
    }
    assert_eq!(codes[2], 508, "{codes:?}");
}

#[tokio::test]
async fn an_allocation_obeys_its_own_user_alone() {
    let server = turn().await;
    let (mut client, _) = TurnClient::allocated(server.stun).await;
    (client.user, client.password) = ("v".to_owned(), "q".to_owned());
    assert_eq!(client.refresh(0).await.code(), 441);
    assert_eq!(client.permit(public()).await, 441);
    assert_eq!(client.bind(0x4000, public()).await, 441);
    (client.user, client.password) = ("u".to_owned(), "p".to_owned());
    assert_eq!(client.refresh(0).await.code(), 0);
    assert_eq!((client.permit(public()).await, client.bind(0x4000, public()).await), (437, 437));
}

#[tokio::test]
async fn data_needs_a_permission_both_ways() {
    let server = turn().await;
    let (mut client, relayed) = TurnClient::allocated(server.stun).await;
    let ((peer, address), (stranger, _)) = (peer().await, peer().await);
    client.send(address, b"too early").await;
    peer.send_to(b"too early", relayed).await.expect("loopback takes it");
    client.hears_nothing().await;
    assert_eq!(client.permit(SocketAddr::new(address.ip(), 1)).await, 0, "ports do not count");
    for length in [0, 1, 2, 3, 4, 1200, 9000] {
        let data = vec![0xa5; length];
        client.send(address, &data).await;
        assert_eq!(receive(&peer).await, Some((data.clone(), relayed)));
        peer.send_to(&data, relayed).await.expect("loopback takes it");
        let indication = Response::read(&client.next().await);
        assert_eq!((indication.kind, indication.address(0x0012)), (0x0017, address));
        assert_eq!(indication.get(0x0013), Some(&data[..]));
    }
    // The same host, another port.
    stranger.send_to(b"me too", relayed).await.expect("loopback takes it");
    assert_eq!(Response::read(&client.next().await).get(0x0013), Some(&b"me too"[..]));
    // Another host.
    let elsewhere = Tokio.bind_udp(([127, 0, 0, 2], 0).into()).await.expect("port 0 is free");
    elsewhere.send_to(b"not me", relayed).await.expect("loopback takes it");
    client.send(elsewhere.local_addr().expect("bound"), b"nor to it").await;
    client.hears_nothing().await;
    assert!(is_silent(&elsewhere, Duration::from_millis(20)).await);
    // Too long for the client: dropped, not cut.
    peer.send_to(&[1; 10_000], relayed).await.expect("loopback takes it");
    client.hears_nothing().await;
    let page = crate::api::get(&server, "/metrics").await.body;
    for line in ["glare_turn_packets_total{to=\"client\"} 8\n", "glare_turn_refusals_total{code=\"401\"} 1\n"] {
        assert!(page.contains(line), "no {line}in {page}");
    }
    let counters = server.handle.turn().expect("it is on");
    assert_eq!((counters.packets_to_peers, counters.packets_to_clients), (7, 8));
    assert_eq!((counters.bytes_to_peers, counters.bytes_to_clients), (10_210, 10_216));
    assert_eq!((counters.packets_forbidden, counters.packets_dropped), (4, 1));
}

#[tokio::test]
async fn a_channel_carries_data_both_ways() {
    let server = turn().await;
    let (mut client, relayed) = TurnClient::allocated(server.stun).await;
    let (peer, address) = peer().await;
    client.send_on(0x4000, b"too early").await;
    assert_eq!(client.bind(0x4000, address).await, 0);
    for length in [0, 1, 3, 4, 200, 9000] {
        let data = vec![0x5a; length];
        client.send_on(0x4000, &data).await;
        assert_eq!(receive(&peer).await, Some((data.clone(), relayed)));
        peer.send_to(&data, relayed).await.expect("loopback takes it");
        assert_eq!(client.next().await, channel_data(0x4000, &data));
    }
    // Padding is not data; a length beyond the datagram is an error; so is another channel.
    client.raw(&[&channel_data(0x4000, b"abc")[..], &[0]].concat()).await;
    assert_eq!(receive(&peer).await, Some((b"abc".to_vec(), relayed)));
    for datagram in
        [&[0x40, 0][..], &[0x40, 0, 0, 4, 1, 2, 3], &channel_data(0x4001, b"x"), &channel_data(0x5000, b"x")]
    {
        client.raw(datagram).await;
    }
    client.send(address, b"sent beside it").await;
    assert_eq!(receive(&peer).await.map(|(data, _)| data), Some(b"sent beside it".to_vec()));
    assert_eq!(server.handle.turn().expect("it is on").packets_forbidden, 3, "those on a channel that is not bound");
}

//= https://www.rfc-editor.org/rfc/rfc8656#section-12.2
#[tokio::test]
async fn a_channel_has_one_number_in_range_and_one_peer() {
    let server = turn().await;
    let (mut client, _) = TurnClient::allocated(server.stun).await;
    let (one, two): (SocketAddr, SocketAddr) = (public(), "203.0.113.8:9".parse().expect("an address"));
    for (code, channel, peer) in [
        (400, 0x3fff, one),
        (400, 0x5000, one),
        (400, 0x7fff, one),
        (400, 0xffff, one),
        (0, 0x4000, one),
        (0, 0x4000, one),
        (400, 0x4000, two),
        (400, 0x4001, one),
        (400, 0x4000, SocketAddr::new(one.ip(), 10)),
        (0, 0x4fff, two),
    ] {
        assert_eq!(client.bind(channel, peer).await, code, "{channel:#x} {peer}");
    }
    assert_eq!(client.with_peer(CHANNEL_BIND, one, &[]).await, 400);
    assert_eq!(client.with_peer(CHANNEL_BIND, one, &[(0x000c, &[0x40, 0])]).await, 400);
    assert_eq!(client.request(CHANNEL_BIND, &[(0x000c, &[0x40, 2, 0, 0])]).await.code(), 400);
    assert_eq!(client.with_peer(CHANNEL_BIND, one, &[(0x000c, &[0x40, 0, 0, 0]), (0x7abc, b"")]).await, 420);
    assert_eq!(client.request(CREATE_PERMISSION, &[]).await.code(), 400);
    assert_eq!(client.request(CREATE_PERMISSION, &[(0x0012, b"?")]).await.code(), 400);
    assert_eq!(client.with_peer(CREATE_PERMISSION, one, &[(0x7abc, b"")]).await, 420);
    let v6: SocketAddr = "[2001:db8::1]:9".parse().expect("an address");
    assert_eq!((client.permit(v6).await, client.bind(0x4002, v6).await), (443, 443));
}

#[tokio::test]
async fn private_peers_are_refused_unless_allowed() {
    let closed = turn_with(|settings| settings.allow_private_peers = false).await;
    let (mut client, _) = TurnClient::allocated(closed.stun).await;
    for peer in [
        "127.0.0.1",
        "10.0.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:0:127.0.0.1",
        "::127.0.0.1",
        "2001:0:cb00:7107:8000:63bf:80ff:fffe",
        "2002:7f00:1::1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::10.0.0.1",
        "fe80::1",
        "fd00::1",
    ] {
        let peer = SocketAddr::new(peer.parse().expect("an address"), 9);
        assert_eq!((client.permit(peer).await, client.bind(0x4000, peer).await), (403, 403), "{peer}");
        client.send(peer, b"past the request").await;
    }
    // One bad address spoils the request: none of it is done.
    let id = client.next_id();
    let (good, bad) = (xor_address(public(), id), xor_address(([10, 0, 0, 1], 9).into(), id));
    let request = client.signed(CREATE_PERMISSION, id, &[(0x0012, &good), (0x0012, &bad)]);
    assert_eq!(client.ask(&request).await.code(), 403);
    client.send(public(), b"so this is forbidden").await;
    client.hears_nothing().await;
    assert_eq!(closed.handle.turn().expect("it is on").packets_forbidden, 19);
    assert_eq!(client.permit(public()).await, 0);

    let open = turn().await;
    let (mut client, _) = TurnClient::allocated(open.stun).await;
    for (peer, code) in
        [("127.0.0.1", 0), ("10.0.0.1", 0), ("224.0.0.1", 403), ("0.0.0.0", 403), ("::ffff:127.0.0.1", 443)]
    {
        assert_eq!(client.permit(SocketAddr::new(peer.parse().expect("an address"), 9)).await, code, "{peer}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_allocation_ends_with_its_lifetime() {
    let _clock = hold();
    let server = turn_with(|settings| {
        settings.allocation_lifetime = Duration::from_secs(1);
        settings.allocation_lifetime_max = Duration::from_secs(1);
    })
    .await;
    let (mut client, relayed) = TurnClient::allocated(server.stun).await;
    let (peer, address) = peer().await;
    assert_eq!(client.bind(0x4000, address).await, 0);
    advance(Duration::from_millis(600)).await;
    assert_eq!(client.refresh(3600).await.lifetime(), 1);
    advance(Duration::from_millis(600)).await;
    client.send_on(0x4000, b"still there").await;
    assert!(receive(&peer).await.is_some());
    advance(Duration::from_millis(600)).await;
    peer.send_to(b"too late", relayed).await.expect("loopback takes it");
    client.send_on(0x4000, b"too late").await;
    client.hears_nothing().await;
    assert!(passing(is_silent(&peer, Duration::from_millis(20))).await.0);
    assert_eq!((client.refresh(600).await.code(), client.permit(address).await), (437, 437));
    assert_eq!(server.handle.turn().expect("it is on").allocations, 0);
    // Its port is free again.
    Tokio.bind_udp(relayed).await.expect("nobody has it");
}

#[tokio::test]
async fn an_ephemeral_credential_is_valid_until_its_expiry() {
    let server = turn().await;
    let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    let password = |username: &str, secret: &str| {
        let mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("any").chain_update(username).finalize();
        BASE64.encode(&mac.into_bytes())
    };
    for (username, secret, code) in [
        (format!("{}:alice", now + 60), "shared", 0),
        (format!("{}", now + 60), "shared", 0),
        (format!("{}:alice", now - 1), "shared", 401),
        (format!("{}:alice", now + 60), "guessed", 401),
        ("alice".to_owned(), "shared", 401),
        (format!("alice:{}", now + 60), "shared", 401),
    ] {
        let mut client = TurnClient::new(server.stun).await;
        (client.user, client.password) = (username.clone(), password(&username, secret));
        assert_eq!(client.request(ALLOCATE, &[UDP]).await.code(), code, "{username}");
    }
}

#[tokio::test]
async fn config_hands_out_a_credential_that_works() {
    let server = turn().await;
    let config = async || {
        let body = crate::api::get(&server, "/api/config").await.body;
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        body["iceServers"].as_array().expect("an array").clone()
    };
    let (first, second) = (config().await, config().await);
    let port = server.stun.port();
    assert_eq!(first[0].as_object().expect("an object").len(), 1, "STUN needs no credential");
    assert_eq!(first[1]["urls"], format!("turn:glare.test:{port}?transport=udp"));
    assert_ne!(first[1]["username"], second[1]["username"]);
    for servers in [first, second] {
        let mut client = TurnClient::new(server.stun).await;
        let text = |field: &str| servers[1][field].as_str().expect("a string").to_owned();
        (client.user, client.password) = (text("username"), text("credential"));
        client.allocate().await;
    }
    // Without a secret there is nothing to hand out, and no user's password is told.
    let server = turn_with(|settings| settings.secret = None).await;
    let body = crate::api::get(&server, "/api/config").await.body;
    assert!(!body.contains("turn:") && !body.contains("credential"), "{body}");
}

#[tokio::test]
async fn ipv6_is_relayed_where_there_is_an_address_for_it() {
    if Tokio.bind_udp("[::1]:0".parse().expect("an address")).await.is_err() {
        return eprintln!("SKIPPED: this host has no IPv6");
    }
    let ips = ["127.0.0.1", "::1"].map(|ip| ip.parse::<std::net::IpAddr>().expect("an address").into());
    let server = turn_with(|settings| settings.relay_addresses = ips.to_vec()).await;
    let mut client = TurnClient::new(server.stun).await;
    let response = client.request(ALLOCATE, &[UDP, (0x0017, &[2, 0, 0, 0])]).await;
    let relayed = response.address(0x0016);
    assert!(relayed.is_ipv6());
    let peer = Tokio.bind_udp("[::1]:0".parse().expect("an address")).await.expect("port 0 is free");
    let address = peer.local_addr().expect("it is bound");
    assert_eq!((client.permit(public()).await, client.permit(address).await), (443, 0));
    client.send(address, b"six").await;
    assert_eq!(receive(&peer).await, Some((b"six".to_vec(), relayed)));
    peer.send_to(b"sixes", relayed).await.expect("loopback takes it");
    let indication = Response::read(&client.next().await);
    assert_eq!((indication.address(0x0012), indication.get(0x0013)), (address, Some(&b"sixes"[..])));
}

#[tokio::test]
async fn shutdown_ends_allocations() {
    let server = turn().await;
    let (_client, relayed) = TurnClient::allocated(server.stun).await;
    server.handle.shutdown();
    tokio::time::timeout(PATIENCE, server.task).await.expect("it ends").expect("without a panic");
    let freed = async {
        while Tokio.bind_udp(relayed).await.is_err() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, freed).await.expect("its port is free again");
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_by_name() {
    type Change = fn(&mut TurnSettings);
    let bad: [(Change, &str); 6] = [
        (|settings| settings.realm.clear(), "the realm must have"),
        (
            |settings| settings.users.push(("a:b".to_owned(), "p".to_owned())),
            "the name of TURN user 3 must not contain `:`",
        ),
        (
            |settings| settings.users.push(("a".to_owned(), String::new())),
            "TURN user 3 must have a name of 1 to 508 bytes and a password",
        ),
        (|settings| settings.secret = Some(String::new()), "secret must not be empty"),
        (|settings| settings.relay_ports = 0..=9, "the relay ports 0-9 must be"),
        (
            |settings| settings.relay_addresses = vec![std::net::IpAddr::from([0, 0, 0, 0]).into()],
            "set a relay address",
        ),
    ];
    for (change, why) in bad {
        let mut settings = settings();
        change(&mut settings);
        let stun = Some(([127, 0, 0, 1], 0).into());
        let config = Config { listen: Vec::new(), stun, turn: Some(settings), ..Config::default() };
        let error = Server::bind(Tokio, config).await.err().expect("it cannot work").to_string();
        assert!(error.starts_with("serve turn on ") && error.contains(why), "{error}");
    }
    assert!(!format!("{:?}", settings()).contains("shared"), "secrets stay out of logs");
}
