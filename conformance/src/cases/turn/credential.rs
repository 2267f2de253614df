//! The long-term credential mechanism (RFC 8489 §9.2): 401, 438, 441, SHA-256, USERHASH.

use super::ALLOCATE;
use crate::case::Case;
use crate::case::Level::{May, Must};
use crate::stop::Stop;
use crate::stun::auth::{Challenge, SecurityFeature};
use crate::stun::client::{Answer, UdpClient};
use crate::stun::crypto::PasswordAlgorithm;
use crate::stun::cx::StunCx;
use crate::stun::names::{attr, attribute_name, method};
use crate::stun::turn::UDP;
use crate::stun::wire::Draft;

const CHALLENGE: &[&str] = &["turn/401"];
/// A nonce that no server has sent.
pub(super) const STALE: &[u8] = b"0123456789abcdef";

pub(super) const CASES: &[&Case] = &[
    &Case::network("turn/401", Must, "An Allocate without credentials is answered with 401, a realm and a nonce.", |cx| {
        Box::pin(unauthenticated(cx))
    })
    .cites(&[rfc!("8489", "9.2.4", "If the message does not contain a MESSAGE-INTEGRITY or MESSAGE-INTEGRITY-SHA256 attribute, the server MUST generate an error response with an error code of 401 (Unauthenticated). This response MUST include a REALM value. The response MUST include a NONCE, selected by the server.")]),
    &Case::network("turn/nonce-per-client", Must, "Two clients do not receive the same nonce.", |cx| {
        Box::pin(nonce_per_client(cx))
    })
    .needs(CHALLENGE)
    .cites(&[rfc!("8489", "9.2.4", "The server MUST NOT choose the same NONCE for two requests unless they have the same source IP address and port.")]),
    &Case::network("turn/allocate", Must, "Correct credentials get an allocation: an authenticated answer with a relayed address, the client's address and a lifetime.", |cx| {
        Box::pin(allocate(cx))
    })
    .needs(CHALLENGE)
    .cites(&[
        rfc!("8656", "7.2", "An XOR-RELAYED-ADDRESS attribute containing the relayed transport address or two XOR-RELAYED-ADDRESS attributes containing the relayed transport addresses."),
        rfc!("8656", "7.2", "An XOR-MAPPED-ADDRESS attribute containing the client's IP address and port (from the 5-tuple)."),
        rfc!("8489", "9.2.4", "In that case, the MESSAGE-INTEGRITY attribute MUST be used instead of the MESSAGE-INTEGRITY-SHA256 attribute, and the REALM, NONCE, USERNAME, and USERHASH attributes SHOULD NOT be included."),
    ]),
    &Case::network("turn/wrong-password", Must, "A wrong password is answered with 401.", |cx| Box::pin(wrong_password(cx)))
        .needs(ALLOCATE)
        .cites(&[rfc!("8489", "9.2.4", "This response MUST use an error code of 401 (Unauthenticated). It MUST include the REALM and NONCE attributes and SHOULD NOT include the USERNAME, USERHASH, MESSAGE-INTEGRITY, or MESSAGE-INTEGRITY-SHA256 attribute.")]),
    &Case::network("turn/unknown-user", Must, "An unknown user is answered with 401.", |cx| Box::pin(unknown_user(cx)))
        .needs(ALLOCATE)
        .cites(&[rfc!("8489", "9.2.4", "If the value of the USERNAME or USERHASH attribute is not valid, the server MUST generate an error response with an error code of 401 (Unauthenticated).")]),
    &Case::network("turn/tampered", Must, "A request that was changed after it was authenticated is answered with 401.", |cx| Box::pin(tampered(cx)))
        .needs(ALLOCATE)
        .cites(&[rfc!("8489", "9.2.4", "If the resulting value does not match the contents of the MESSAGE-INTEGRITY attribute or the MESSAGE-INTEGRITY-SHA256 attribute, the server MUST reject the request with an error response.")]),
    &Case::network("turn/incomplete-credentials", Must, "An authenticated request without USERNAME, REALM or NONCE is answered with 400.", |cx| {
        Box::pin(incomplete(cx))
    })
    .needs(ALLOCATE)
    .cites(&[rfc!("8489", "9.2.4", "If the message contains a MESSAGE-INTEGRITY or a MESSAGE-INTEGRITY-SHA256 attribute, but is missing either the USERNAME or USERHASH, REALM, or NONCE attribute, the server MUST generate an error response with an error code of 400 (Bad Request).")])
    .alone(),
    &Case::network("turn/438", Must, "A nonce that is not the server's is answered with 438 and a new nonce, which is valid.", |cx| {
        Box::pin(stale_nonce(cx))
    })
    .needs(ALLOCATE)
    .cites(&[rfc!("8489", "9.2.4", "If the NONCE is no longer valid, the server MUST generate an error response with an error code of 438 (Stale Nonce). This response MUST include NONCE, REALM, and PASSWORD-ALGORITHMS attributes and SHOULD NOT include the USERNAME and USERHASH attributes. The NONCE attribute value MUST be valid.")]),
    &Case::network("turn/441", Must, "Another user's valid credentials cannot control an allocation: 441.", |cx| {
        Box::pin(wrong_credentials(cx))
    })
    .needs(ALLOCATE)
    .cites(&[rfc!("8656", "5", "then the request MUST be rejected with a 441 (Wrong Credentials) error.")]),
    &Case::network("turn/sha256", May, "Where SHA-256 is offered, a request that uses it is answered with it, and a bid-down is detected.", |cx| {
        Box::pin(sha256(cx))
    })
    .needs(ALLOCATE)
    .cites(&[
        rfc!("8489", "9.2.4", "Any response generated by the server MUST include the MESSAGE-INTEGRITY-SHA256 attribute, computed using the username and password utilized to authenticate the request, unless the request was processed as though PASSWORD-ALGORITHM was MD5 (because the request contained neither PASSWORD-ALGORITHMS nor PASSWORD-ALGORITHM)."),
        rfc!("8489", "9.2.4", "If the server adds a PASSWORD-ALGORITHMS attribute, it MUST set the STUN Security Feature \"Password algorithms\" bit to 1."),
    ]),
    &Case::network("turn/userhash", May, "Where username anonymity is announced, a request may have USERHASH in place of USERNAME, and one of nobody is answered with 401.", |cx| {
        Box::pin(userhash(cx))
    })
    .needs(ALLOCATE)
    .cites(&[
        rfc!("8489", "14.4", "userhash = SHA-256(OpaqueString(username) \":\" OpaqueString(realm))"),
        rfc!("8489", "9.2.4", "If the value of the USERNAME or USERHASH attribute is not valid, the server MUST generate an error response with an error code of 401 (Unauthenticated)."),
    ]),
    &Case::network("turn/amplification-401", May, "How many bytes an Allocate without credentials can trigger.", |cx| {
        Box::pin(amplification(cx))
    })
    .needs(CHALLENGE),
];

/// Checks that a refusal has the REALM and NONCE that a client needs for its next attempt, and that they are valid.
pub(super) fn challenges(answer: &Answer) -> Result<(), Stop> {
    for kind in [attr::REALM, attr::NONCE] {
        let text = answer.message.text(kind);
        let name = attribute_name(kind);
        match text {
            None => return Err(answer.stop(format!("the error response has no {name} in UTF-8"))),
            Some(text) if text.is_empty() || text.chars().count() > 127 => {
                return Err(answer.stop(format!("{name} has {} characters, expected 1 to 127", text.chars().count())));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

async fn unauthenticated(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    let answer = cx.unauthenticated(&mut ana, &cx.allocate_request()).await?;
    let answer = answer.error(401, "an Allocate without credentials")?;
    challenges(&answer)?;
    for kind in [attr::USERNAME, attr::MESSAGE_INTEGRITY, attr::MESSAGE_INTEGRITY_SHA256] {
        if answer.message.has(kind) {
            cx.acceptable(format!("the 401 has a {}", attribute_name(kind)));
        }
    }
    Ok(())
}

async fn nonce_per_client(cx: &mut StunCx) -> Result<(), Stop> {
    let mut nonces = Vec::new();
    for name in ["ana", "ben"] {
        let mut client = cx.client(name).await?;
        let answer = cx.unauthenticated(&mut client, &cx.allocate_request()).await?;
        let answer = answer.error(401, "an Allocate without credentials")?;
        let nonce = answer.message.get(attr::NONCE).map(<[u8]>::to_vec);
        if nonces.contains(&nonce) {
            return Err(answer.stop("two clients on different ports received the same NONCE"));
        }
        nonces.push(nonce);
    }
    Ok(())
}

async fn allocate(cx: &mut StunCx) -> Result<(), Stop> {
    let mut client = cx.client("ana").await?;
    // Not with the challenge to another client: this is what every client does first.
    let auth = cx.challenge(&mut client, cx.credential()?).await?;
    let ana = match cx.try_allocate(client, auth, &|draft| draft, &|sealed| sealed).await? {
        Ok(ana) => ana,
        // The port may still have the allocation of an earlier client.
        Err(answer) if answer.code()? == Some(437) => cx.allocation_with("ana", |draft| draft).await?,
        Err(answer) => return Err(answer.refused()),
    };
    let granted = &ana.granted;
    if !ana.auth.has_sealed(&granted.message) {
        return Err(granted.stop("the success response has no valid MESSAGE-INTEGRITY with the user's key"));
    }
    if ana.relayed.port() == 0 || ana.relayed.ip().is_unspecified() {
        return Err(granted.stop(format!("{} is not an address that peers could send to", ana.relayed)));
    }
    if ana.relayed.port() < 1024 {
        return Err(granted.stop(format!("the relayed port {} is a well-known port", ana.relayed.port())));
    }
    if ana.relayed.port() < 49152 {
        cx.remark(format!("the relayed port {} is below 49152, the range for this purpose", ana.relayed.port()));
    }
    if ana.lifetime == 0 {
        return Err(granted.stop("the allocation's lifetime is 0"));
    }
    cx.check_mapped(&ana, granted, attr::XOR_MAPPED_ADDRESS)
}

async fn wrong_password(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    let mut auth = cx.challenge(&mut ana, cx.credential()?).await?.with_password("not the password");
    let _turn = cx.env.unauthenticated.lock().await;
    let (_, answer) = auth.send(&mut ana, || cx.allocate_request()).await?;
    challenges(&answer.error(401, "a wrong password")?)
}

async fn unknown_user(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    let mut auth = cx.challenge(&mut ana, cx.credential()?).await?;
    auth.user = "nobody-of-this-name".to_owned();
    let _turn = cx.env.unauthenticated.lock().await;
    let (_, answer) = auth.send(&mut ana, || cx.allocate_request()).await?;
    challenges(&answer.error(401, "an unknown user")?)
}

async fn tampered(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    let mut auth = cx.challenge(&mut ana, cx.credential()?).await?;
    let draft = || {
        let draft = cx.request(method::ALLOCATE).with(attr::LIFETIME, 700_u32.to_be_bytes());
        cx.of_family(draft.with(attr::REQUESTED_TRANSPORT, UDP))
    };
    let tampered = |mut sealed: Draft| {
        // The last byte of LIFETIME, after the header (20 bytes), type and length (4).
        sealed.bytes[27] ^= 1;
        sealed
    };
    let _turn = cx.env.unauthenticated.lock().await;
    let (_, answer) = auth.send_changed(&mut ana, draft, tampered).await?;
    answer.error(401, "a request that was changed after it was authenticated").map(drop)
}

async fn incomplete(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    let auth = cx.challenge(&mut ana, cx.credential()?).await?;
    for without in [attr::USERNAME, attr::REALM, attr::NONCE] {
        let mut draft = cx.allocate_request();
        let Challenge { realm, nonce, .. } = &auth.challenge;
        let parts = [(attr::USERNAME, auth.user.as_bytes()), (attr::REALM, realm.as_bytes()), (attr::NONCE, nonce)];
        for (kind, value) in parts.into_iter().filter(|(kind, _)| *kind != without) {
            draft = draft.with(kind, value);
        }
        let answer = ana.send_request(&draft.sealed(b"whatever")).await?;
        answer.error(400, &format!("an authenticated request without {}", attribute_name(without)))?;
    }
    Ok(())
}

async fn stale_nonce(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    let mut auth = cx.challenge(&mut ana, cx.credential()?).await?;
    auth.challenge.nonce = STALE.to_vec();
    let answer =
        ana.send_request(&auth.seal(cx.allocate_request())).await?.error(438, "a nonce that is not the server's")?;
    challenges(&answer)?;
    auth.renew(&answer)?;
    let ana = cx.allocate(ana, auth).await;
    ana.map(drop).map_err(|stop| stop.reworded(|why| format!("with the nonce of the 438: {why}")))
}

async fn wrong_credentials(cx: &mut StunCx) -> Result<(), Stop> {
    let Some(other) = cx.env.credentials.get(1).cloned() else {
        return Err(Stop::Unsupported("needs a second user: give --user and --credential twice".to_owned()));
    };
    let mut ana = cx.allocation("ana").await?;
    let owner = ana.auth.clone();
    // From ana's own socket: the 5-tuple is hers, but the user is another.
    ana.auth = owner.as_user(&other);
    let refused = async {
        let answer = ana.refresh(cx, Some(0)).await?;
        answer.error(441, "another user's Refresh")?;
        let peer = (cx.env.peers.unwrap_or(cx.env.source), 9).into();
        ana.create_permission(cx, &[peer]).await?.error(441, "another user's CreatePermission")
    }
    .await;
    ana.auth = owner;
    refused?;
    ana.refresh(cx, None).await?.success("the owner's Refresh afterwards").map(drop)
}

async fn sha256(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    let mut auth = cx.challenge(&mut ana, cx.credential()?).await?;
    let Some(offered) = auth.challenge.offered.clone() else {
        return Err(Stop::Unsupported("the server offers no PASSWORD-ALGORITHMS".to_owned()));
    };
    if !auth.challenge.announces(SecurityFeature::PasswordAlgorithms) {
        return Err(Stop::fail("the server offers PASSWORD-ALGORITHMS, but its nonce cookie does not announce them"));
    }
    if !offered.chunks(4).any(|algorithm| algorithm.starts_with(&[0, 2])) {
        return Err(Stop::Unsupported("the server does not offer SHA-256".to_owned()));
    }
    let mut down = auth.clone();
    auth.algorithm = PasswordAlgorithm::Sha256;
    let mut ana = cx.allocate(ana, auth).await?;
    if !ana.auth.has_sealed(&ana.granted.message) {
        return Err(ana.granted.stop("the success response has no valid MESSAGE-INTEGRITY-SHA256 with the user's key"));
    }
    ana.refresh(cx, None).await?.success("a Refresh authenticated with SHA-256")?;
    // As if an attacker in between had removed SHA-256 from the offer.
    let mut ben: UdpClient = cx.client("ben").await?;
    let fresh = cx.challenge(&mut ben, cx.credential()?).await?;
    down.challenge = Challenge { offered: Some(vec![0, 1, 0, 0]), ..fresh.challenge };
    down.algorithm = PasswordAlgorithm::Sha256;
    let answer = ben.send_request(&down.seal(cx.allocate_request())).await?;
    answer.error(400, "PASSWORD-ALGORITHMS that differ from those of the server").map(drop)
}

async fn userhash(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    let mut auth = cx.challenge(&mut ana, cx.credential()?).await?;
    if !auth.challenge.announces(SecurityFeature::UsernameAnonymity) {
        return Err(Stop::Unsupported("the server's nonce does not announce username anonymity".to_owned()));
    }
    auth.hides_user = true;
    let mut ana = cx.allocate(ana, auth).await?;
    if !ana.auth.has_sealed(&ana.granted.message) {
        return Err(ana.granted.stop("the success response has no valid MESSAGE-INTEGRITY with the user's key"));
    }
    for kind in [attr::USERNAME, attr::USERHASH] {
        if ana.granted.message.has(kind) {
            cx.acceptable(format!("the success response has a {}", attribute_name(kind)));
        }
    }
    ana.refresh(cx, None).await?.success("a Refresh with USERHASH")?;
    // The hash of nobody, with the key of a user.
    let mut ben = cx.client("ben").await?;
    let auth = cx.challenge(&mut ben, cx.credential()?).await?;
    let Challenge { realm, nonce, .. } = &auth.challenge;
    let draft = cx.allocate_request().with(attr::USERHASH, [7; 32]);
    let draft = draft.with(attr::REALM, realm).with(attr::NONCE, nonce).sealed(&auth.key());
    let _turn = cx.env.unauthenticated.lock().await;
    challenges(&ben.send_request(&draft).await?.error(401, "a USERHASH of nobody")?)
}

async fn amplification(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    let request = cx.request(method::ALLOCATE).with(attr::REQUESTED_TRANSPORT, UDP);
    let answer = cx.unauthenticated(&mut ana, &request).await?;
    let factor = answer.message.bytes.len() as f64 / answer.request_bytes as f64;
    cx.remark(format!(
        "an Allocate of {} bytes without credentials is answered with {factor:.1} times as many bytes",
        answer.request_bytes
    ));
    if factor > 10.0 {
        cx.acceptable(format!("an answer has {factor:.1} times the bytes of the request"));
    }
    Ok(())
}
