//! SHA-256 and hashed usernames for TURN's credentials (RFC 8489 §9.2): what the first answer offers, and what a request must contain then.

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use crate::turn::{turn, turn_with};
use crate::turn_client::{ALLOCATE, TurnClient, UDP};
use crate::wire::{Response, key, message_with_id, with_integrity};

const ALGORITHMS: (u16, &[u8]) = (0x8002, &[0, 2, 0, 0, 0, 1, 0, 0]);
const SHA_256: (u16, &[u8]) = (0x001d, &[0, 2, 0, 0]);
const MD5: (u16, &[u8]) = (0x001d, &[0, 1, 0, 0]);

fn key_256() -> Vec<u8> {
    Sha256::digest("u:glare.test:p").to_vec()
}

/// Appends a MESSAGE-INTEGRITY-SHA256.
fn with_integrity_256(mut message: Vec<u8>, key: &[u8]) -> Vec<u8> {
    let length = (message.len() - 20 + 36) as u16;
    message[2..4].copy_from_slice(&length.to_be_bytes());
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("any length").chain_update(&message).finalize();
    message.extend([0x00, 0x1c, 0x00, 0x20]);
    message.extend(mac.into_bytes());
    message
}

/// Whether MESSAGE-INTEGRITY-SHA256 is there and right, and MESSAGE-INTEGRITY is not there.
fn is_signed_256(response: &Response, key: &[u8]) -> bool {
    let kind = response.kind;
    let without: Vec<(u16, &[u8])> = response
        .attributes
        .iter()
        .filter(|(kind, _)| *kind != 0x001c)
        .map(|(kind, value)| (*kind, &value[..]))
        .collect();
    let signed = with_integrity_256(message_with_id(kind, response.id, &without), key);
    response.get(0x0008).is_none() && Response::read(&signed) == *response
}

/// A client that has asked once, and the attributes of its credential.
async fn challenged(server: std::net::SocketAddr) -> (TurnClient, Response) {
    let mut client = TurnClient::new(server).await;
    let id = client.next_id();
    let response = client.ask(&message_with_id(ALLOCATE, id, &[UDP])).await;
    assert_eq!(response.code(), 401);
    (client.realm, client.nonce) = (response.text(0x0014), response.text(0x0015));
    (client, response)
}

fn request(client: &mut TurnClient, more: &[(u16, &[u8])]) -> Vec<u8> {
    request_of((0x0006, b"u"), client, more)
}

fn request_of(user: (u16, &[u8]), client: &mut TurnClient, more: &[(u16, &[u8])]) -> Vec<u8> {
    let id = client.next_id();
    let credential = [user, (0x0014, client.realm.as_bytes()), (0x0015, client.nonce.as_bytes())];
    message_with_id(ALLOCATE, id, &[&[UDP][..], more, &credential].concat())
}

//= https://www.rfc-editor.org/rfc/rfc8489#section-9.2.4
#[tokio::test]
async fn a_client_may_use_what_is_offered_or_what_everyone_knows() {
    let server = turn_with(|settings| settings.sha256 = true).await;
    let (mut client, challenge) = challenged(server.stun).await;
    assert_eq!(challenge.get(0x8002), Some(ALGORITHMS.1));
    assert!(client.nonce.starts_with("obMatJos2gAAA"), "{}", client.nonce);
    // SHA-256 for both.
    let draft = request(&mut client, &[ALGORITHMS, SHA_256]);
    let response = client.ask(&with_integrity_256(draft, &key_256())).await;
    assert_eq!(response.code(), 0, "{response:?}");
    assert!(is_signed_256(&response, &key_256()), "{response:?}");
    // Of the key alone, of the integrity alone, and of neither, as a client of RFC 5389.
    for (more, is_256, key) in [
        (&[ALGORITHMS, SHA_256][..], false, key_256()),
        (&[ALGORITHMS, MD5], true, key("u", "glare.test", "p").to_vec()),
        (&[ALGORITHMS, MD5], false, key("u", "glare.test", "p").to_vec()),
        (&[], true, key("u", "glare.test", "p").to_vec()),
        (&[], false, key("u", "glare.test", "p").to_vec()),
    ] {
        let (mut client, _) = challenged(server.stun).await;
        let draft = request(&mut client, more);
        let signed = if is_256 { with_integrity_256(draft, &key) } else { with_integrity(draft, &key) };
        let response = client.ask(&signed).await;
        assert_eq!(response.code(), 0, "{more:x?} {is_256}: {response:?}");
        assert_eq!(is_signed_256(&response, &key), is_256);
        assert_eq!(response.is_signed_with(&key), !is_256);
    }
}

//= https://www.rfc-editor.org/rfc/rfc8489#section-9.2.4
#[tokio::test]
async fn whoever_leaves_out_what_was_offered_is_refused() {
    let server = turn_with(|settings| settings.sha256 = true).await;
    let (mut client, _) = challenged(server.stun).await;
    for more in [
        // Someone on the way has removed SHA-256, or one of the two.
        &[(0x8002, &[0, 1, 0, 0][..]), MD5][..],
        &[ALGORITHMS],
        &[MD5],
        &[SHA_256],
        &[ALGORITHMS, (0x001d, &[0, 3, 0, 0])],
        &[ALGORITHMS, (0x001d, &[0, 2])],
    ] {
        for signed in [
            with_integrity_256(request(&mut client, more), &key_256()),
            with_integrity(request(&mut client, more), &key_256()),
        ] {
            let response = client.ask(&signed).await;
            assert_eq!((response.code(), response.get(0x0015)), (400, None), "{more:x?}");
        }
    }
    // The wrong key, the key of the other algorithm, a short MAC.
    let md5 = key("u", "glare.test", "p");
    for (more, key) in
        [(&[ALGORITHMS, SHA_256][..], &[0; 32][..]), (&[ALGORITHMS, SHA_256], &md5), (&[ALGORITHMS, MD5], &key_256())]
    {
        let draft = request(&mut client, more);
        assert_eq!(client.ask(&with_integrity_256(draft, key)).await.code(), 401);
    }
    let whole = with_integrity_256(request(&mut client, &[ALGORITHMS, SHA_256]), &key_256());
    let mut short = whole[..whole.len() - 16].to_vec();
    let (length, at) = ((short.len() - 20) as u16, short.len() - 18);
    short[2..4].copy_from_slice(&length.to_be_bytes());
    short[at..at + 2].copy_from_slice(&16_u16.to_be_bytes());
    assert_eq!(client.ask(&short).await.code(), 401);
    assert_eq!(server.handle.turn().expect("it is on").allocations, 0);
}

#[tokio::test]
async fn by_default_it_is_not_offered_and_not_understood() {
    let server = turn().await;
    let (mut client, challenge) = challenged(server.stun).await;
    assert_eq!(challenge.get(0x8002), None);
    let draft = request(&mut client, &[ALGORITHMS, SHA_256]);
    assert_eq!(client.ask(&with_integrity_256(draft, &key_256())).await.code(), 401);
    assert_eq!(client.allocate().await.ip(), server.stun.ip());
}

//= https://www.rfc-editor.org/rfc/rfc8489#section-14.4
#[tokio::test]
async fn a_client_may_hide_its_username_where_that_is_announced() {
    let server = turn_with(|settings| (settings.sha256, settings.userhash, settings.secret) = (true, true, None)).await;
    let hash = |user: &str| Sha256::digest(format!("{user}:glare.test"));
    let (mut client, challenge) = challenged(server.stun).await;
    assert!(client.nonce.starts_with("obMatJos2wAAA"), "{}", client.nonce);
    assert_eq!(challenge.get(0x8002), Some(ALGORITHMS.1));
    // Nobody's hash, another user's hash, one that is too short, and that of an unhashed name.
    for user in [&hash("w")[..], &hash("v"), &hash("u")[..31], b"u"] {
        let draft = request_of((0x001e, user), &mut client, &[]);
        let response = client.ask(&with_integrity(draft, &key("u", "glare.test", "p"))).await;
        assert_eq!((response.code(), response.get(0x001e)), (401, None));
    }
    let draft = request_of((0x001e, &hash("u")), &mut client, &[ALGORITHMS, SHA_256]);
    let response = client.ask(&with_integrity_256(draft, &key_256())).await;
    assert_eq!(response.code(), 0, "{response:?}");
    assert!(is_signed_256(&response, &key_256()), "{response:?}");
    // It is the same user by both names, whose shares are counted together.
    let draft = request(&mut client, &[ALGORITHMS, SHA_256]);
    assert_eq!(client.ask(&with_integrity_256(draft, &key_256())).await.code(), 437);
    let turn = server.handle.turn().expect("it is on");
    assert_eq!((turn.allocations, turn.users), (1, 1));
}

#[tokio::test]
async fn a_hashed_username_is_nobody_by_default_and_ephemeral_ones_cannot_be_hashed() {
    let server = turn().await;
    let (mut client, _) = challenged(server.stun).await;
    assert!(client.nonce.starts_with("obMatJos2AAAA"), "{}", client.nonce);
    let draft = request_of((0x001e, &Sha256::digest("u:glare.test")), &mut client, &[]);
    assert_eq!(client.ask(&with_integrity(draft, &key("u", "glare.test", "p"))).await.code(), 400);
    let mut config =
        server::Config { listen: Vec::new(), stun: Some(([127, 0, 0, 1], 0).into()), ..Default::default() };
    let (secret, userhash) = (Some("a secret".to_owned()), true);
    config.turn = Some(server::TurnSettings { secret, userhash, ..Default::default() });
    let error = server::Server::bind(server::net::Tokio, config).await.err().expect("not both");
    assert!(error.to_string().contains("usernames can be hashed or ephemeral, but not both"), "{error}");
}
