//! What MESSAGE-INTEGRITY and FINGERPRINT protect, and which requests need a valid nonce and the right user.

use super::DATA;
use super::credential::{STALE, challenges};
use crate::case::Case;
use crate::case::Level::{Must, Should};
use crate::stop::Stop;
use crate::stun::client::Answer;
use crate::stun::cx::StunCx;
use crate::stun::names::{attr, method, method_name};
use crate::stun::turn::{Allocation, DEFAULT_LIFETIME, Extend};
use crate::stun::wire::Draft;

/// What cases need that look for data without a permission.
const PERMISSION: &[&str] = &["turn/allocate", "turn/data-both-ways", "turn/no-permission"];

pub(super) const CASES: &[&Case] = &[
    &Case::network("turn/behind-integrity", Must, "Attributes after MESSAGE-INTEGRITY are ignored in every request: they are not authenticated.", |cx| {
        Box::pin(behind_integrity(cx))
    })
    .needs(PERMISSION)
    .cites(&[
        rfc!("8489", "14.5", "With the exception of the MESSAGE-INTEGRITY-SHA256 and FINGERPRINT attributes, which appear after MESSAGE-INTEGRITY, agents MUST ignore all other attributes that follow MESSAGE-INTEGRITY."),
    ]),
    &Case::network("turn/fingerprint", Must, "Messages with a correct FINGERPRINT are handled like those without; one in an answer is correct and last.", |cx| {
        Box::pin(fingerprint(cx))
    })
    .needs(DATA)
    .cites(&[
        rfc!("8656", "5", "The client and the server MAY include the FINGERPRINT attribute in any STUN-formatted messages defined in this document."),
        rfc!("8489", "14.7", "When present, the FINGERPRINT attribute MUST be the last attribute in the message and thus will appear after MESSAGE-INTEGRITY and MESSAGE-INTEGRITY-SHA256."),
    ]),
    &Case::network("turn/fingerprint-wrong", Should, "A request or a Send with a wrong FINGERPRINT is silently discarded.", |cx| {
        Box::pin(fingerprint_wrong(cx))
    })
    .needs(DATA)
    .cites(&[
        rfc!("8489", "6.3", "If the FINGERPRINT extension is being used, the agent checks that the FINGERPRINT attribute is present and contains the correct value."),
        rfc!("8489", "6.3", "If any errors are detected, the message is silently discarded."),
    ]),
    &Case::network("turn/438-requests", Must, "Refresh, CreatePermission and ChannelBind with a nonce that is not the server's are answered with 438, and change nothing.", |cx| {
        Box::pin(stale_nonce(cx))
    })
    .needs(&["turn/438", "turn/data-both-ways", "turn/no-permission"])
    .cites(&[rfc!("8489", "9.2.4", "If the NONCE is no longer valid, the server MUST generate an error response with an error code of 438 (Stale Nonce). This response MUST include NONCE, REALM, and PASSWORD-ALGORITHMS attributes and SHOULD NOT include the USERNAME and USERHASH attributes. The NONCE attribute value MUST be valid.")]),
    &Case::network("turn/441-channel", Must, "Another user's valid credentials cannot bind a channel: 441, and the channel stays free.", |cx| {
        Box::pin(wrong_user(cx))
    })
    .needs(DATA)
    .cites(&[rfc!("8656", "5", "then the request MUST be rejected with a 441 (Wrong Credentials) error.")]),
];

/// The words for a request in a failure.
fn behind(what: &str) -> String {
    format!("{what} after MESSAGE-INTEGRITY")
}

async fn behind_integrity(cx: &mut StunCx) -> Result<(), Stop> {
    let plain = cx.allocation("ana").await?;
    let [unknown, _] = attr::UNKNOWN_REQUIRED;
    let change = |sealed: Draft| sealed.with(attr::LIFETIME, 3000_u32.to_be_bytes()).with(unknown, [0; 4]);
    let mut ana = cx.allocation_changed("ana", |draft| draft, change).await.map_err(|stop| {
        stop.reworded(|why| format!("with LIFETIME and an unknown attribute after MESSAGE-INTEGRITY, {why}"))
    })?;
    // A server may tell the time that is left, in whole seconds.
    if ana.lifetime > plain.lifetime + 5 {
        let why = format!("a LIFETIME of 3000 after MESSAGE-INTEGRITY is granted: {} s", ana.lifetime);
        return Err(ana.granted.stop(why));
    }
    drop(plain);

    let delete = |sealed: Draft| sealed.with(attr::LIFETIME, [0; 4]);
    let answer = ana.request_changed(cx, method::REFRESH, |draft| draft, delete).await?;
    let answer = answer.success(&behind("a Refresh with LIFETIME 0"))?;
    let still = ana.refresh(cx, Some(DEFAULT_LIFETIME)).await?;
    if answer.message.number(attr::LIFETIME) == Some(0) || still.code()? == Some(437) {
        return Err(answer.stop("a LIFETIME of 0 after MESSAGE-INTEGRITY deletes the allocation"));
    }
    still.success("a plain Refresh afterwards")?;

    let mut ben = cx.peer("ben").await?;
    let peer = |draft: Draft| draft.with_xor_address(attr::XOR_PEER_ADDRESS, ben.local);
    let answer = ana.request_changed(cx, method::CREATE_PERMISSION, |draft| draft, peer).await?;
    answer.error(400, &behind("a CreatePermission whose only XOR-PEER-ADDRESS is"))?;
    let number = |draft: Draft| draft.with(attr::CHANNEL_NUMBER, [0x40, 0, 0, 0]);
    let answer = ana.request_changed(cx, method::CHANNEL_BIND, peer, number).await?;
    answer.error(400, &behind("a ChannelBind whose CHANNEL-NUMBER is"))?;
    // Now nobody has a permission, so whatever arrives was let through by what is behind MESSAGE-INTEGRITY.
    let Some(cleo) = cx.stranger("cleo").await? else { return Ok(()) };
    let other = |draft: Draft| draft.with_xor_address(attr::XOR_PEER_ADDRESS, cleo.local);
    let answer = ana.request_changed(cx, method::CREATE_PERMISSION, peer, other).await?;
    answer.success(&behind("a CreatePermission with a second XOR-PEER-ADDRESS"))?;
    let (word, sentinel) = (cx.word("not-permitted"), cx.word("sentinel"));
    cleo.send_to(word.as_bytes(), ana.relayed);
    ben.send_to(sentinel.as_bytes(), ana.relayed);
    ana.receive_data(sentinel.as_bytes()).await?;
    let there = cx.word("sentinel");
    ana.send_data(cx, ben.local, there.as_bytes());
    ben.receive_relayed(there.as_bytes()).await?;
    match ana.received_data(word.as_bytes()) {
        Some(received) => Err(Stop::at("an XOR-PEER-ADDRESS after MESSAGE-INTEGRITY is permitted", received.line)),
        None => Ok(()),
    }
}

/// Checks an answer to a request with FINGERPRINT.
fn is_sound(ana: &Allocation, answer: &Answer) -> Result<(), Stop> {
    if let Some(fault) = answer.message.faults().iter().find(|fault| fault.contains("FINGERPRINT")) {
        return Err(answer.stop(format!("in the answer to a request with FINGERPRINT, {fault}")));
    }
    if !ana.auth.has_sealed(&answer.message) {
        return Err(answer.stop("the answer to a request with FINGERPRINT has no valid MESSAGE-INTEGRITY"));
    }
    Ok(())
}

async fn fingerprint(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation_changed("ana", |draft| draft, Draft::with_fingerprint).await?;
    is_sound(&ana, &ana.granted)?;
    let mut ben = cx.peer("ben").await?;
    let peer = |draft: Draft| draft.with_xor_address(attr::XOR_PEER_ADDRESS, ben.local);
    let channel = |draft: Draft| peer(draft.with(attr::CHANNEL_NUMBER, [0x40, 0, 0, 0]));
    let requests: [(u16, Extend<'_>); 3] =
        [(method::REFRESH, &|draft| draft), (method::CREATE_PERMISSION, &peer), (method::CHANNEL_BIND, &channel)];
    for (method, extend) in requests {
        let answer = ana.request_changed(cx, method, extend, Draft::with_fingerprint).await?;
        let answer = answer.success(&format!("a {} with FINGERPRINT", method_name(method)))?;
        is_sound(&ana, &answer)?;
    }
    let word = cx.word("with-fingerprint");
    let send = peer(cx.indication(method::SEND)).with(attr::DATA, &word).with_fingerprint();
    ana.send(&send.bytes);
    ben.receive_relayed(word.as_bytes()).await.map(drop)
}

/// Appends a FINGERPRINT with one flipped bit.
fn with_wrong_fingerprint(draft: Draft) -> Draft {
    let mut draft = draft.with_fingerprint();
    *draft.bytes.last_mut().expect("it has a FINGERPRINT") ^= 1;
    draft
}

async fn fingerprint_wrong(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    let mut ben = cx.peer("ben").await?;
    ana.permit(cx, &ben).await?;
    let delete = ana.auth.seal(cx.request(method::REFRESH).with(attr::LIFETIME, [0; 4]));
    ana.is_silent_on("a Refresh with a wrong FINGERPRINT", &with_wrong_fingerprint(delete).bytes).await?;
    let (word, there) = (cx.word("damaged"), cx.word("sentinel"));
    let send = cx.indication(method::SEND).with_xor_address(attr::XOR_PEER_ADDRESS, ben.local).with(attr::DATA, &word);
    ana.send(&with_wrong_fingerprint(send).bytes);
    ana.send_data(cx, ben.local, there.as_bytes());
    ben.receive_relayed(there.as_bytes()).await?;
    match ben.received.iter().find(|received| received.bytes == word.as_bytes()) {
        Some(received) => Err(Stop::at("the data of a Send with a wrong FINGERPRINT is relayed", received.line)),
        None => Ok(()),
    }
}

async fn stale_nonce(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    let mut ben = cx.peer("ben").await?;
    let peer = |draft: Draft| draft.with_xor_address(attr::XOR_PEER_ADDRESS, ben.local);
    let channel = |draft: Draft| peer(draft.with(attr::CHANNEL_NUMBER, [0x40, 0, 0, 0]));
    let requests: [(u16, Extend<'_>); 3] = [
        (method::REFRESH, &|draft| draft.with(attr::LIFETIME, [0; 4])),
        (method::CREATE_PERMISSION, &peer),
        (method::CHANNEL_BIND, &channel),
    ];
    for (method, extend) in requests {
        let mut stale = ana.auth.clone();
        stale.challenge.nonce = STALE.to_vec();
        let answer = ana.send_request(&stale.seal(extend(cx.request(method)))).await?;
        let answer = answer.error(438, &format!("a {} with a nonce that is not the server's", method_name(method)))?;
        challenges(&answer)?;
        ana.auth.renew(&answer)?;
    }
    let word = cx.word("not-permitted");
    ben.send_to(word.as_bytes(), ana.relayed);
    // The allocation still exists, too.
    super::permission::comes_behind(cx, &mut ana, &mut ben)
        .await
        .map_err(|stop| stop.reworded(|why| format!("after requests that were answered with 438, {why}")))?;
    match ana.received_data(word.as_bytes()) {
        Some(received) => Err(Stop::at("a request that is answered with 438 installs a permission", received.line)),
        None => Ok(()),
    }
}

async fn wrong_user(cx: &mut StunCx) -> Result<(), Stop> {
    let Some(other) = cx.env.credentials.get(1).cloned() else {
        return Err(Stop::Unsupported("needs a second user: give --user and --credential twice".to_owned()));
    };
    let mut ana = cx.allocation("ana").await?;
    let [ben, cleo] = [cx.peer("ben").await?, cx.peer("cleo").await?];
    let owner = ana.auth.clone();
    // From ana's own socket: the 5-tuple is hers, but the user is another.
    ana.auth = owner.as_user(&other);
    let refused = ana.bind(cx, 0x4000, ben.local).await;
    ana.auth = owner;
    refused?.error(441, "another user's ChannelBind")?;
    let owners = ana.bind(cx, 0x4000, cleo.local).await?;
    owners.success("the owner's ChannelBind of the same channel for another peer").map(drop)
}
