//! Attributes: known, unknown, padded, protected by MESSAGE-INTEGRITY.

use crate::stop::Stop;
use crate::stun::client::Answer;
use crate::stun::cx::StunCx;
use crate::stun::names::{attr, attribute_name, method};
use crate::stun::vectors;
use crate::stun::wire::{Class, Draft};

/// Checks that the answer is a well-formed 420 that lists exactly these attributes.
pub(crate) fn lists(answer: Answer, unknown: &[u16]) -> Result<(), Stop> {
    let answer = answer.error(420, "an unknown attribute")?;
    if let Some(fault) = answer.message.faults().first() {
        return Err(answer.stop(fault.clone()));
    }
    let Some(mut listed) = answer.message.numbers(attr::UNKNOWN_ATTRIBUTES) else {
        return Err(answer.stop("the 420 has no UNKNOWN-ATTRIBUTES"));
    };
    if !answer.message.get(attr::UNKNOWN_ATTRIBUTES).is_some_and(|list| list.len().is_multiple_of(2)) {
        return Err(answer.stop("the length of UNKNOWN-ATTRIBUTES is not a multiple of two"));
    }
    listed.sort_unstable();
    let repeated = listed.windows(2).any(|pair| pair[0] == pair[1]);
    listed.dedup();
    if let Some(missing) = unknown.iter().find(|kind| !listed.contains(kind)) {
        return Err(answer.stop(format!("UNKNOWN-ATTRIBUTES does not list {}", attribute_name(*missing))));
    }
    if let Some(wrong) = listed.iter().find(|kind| !unknown.contains(kind)) {
        return Err(answer.stop(format!(
            "UNKNOWN-ATTRIBUTES lists {}, which is not one of the unknown attributes in the request",
            attribute_name(*wrong)
        )));
    }
    if repeated && unknown.len().is_multiple_of(2) {
        return Err(answer.stop("UNKNOWN-ATTRIBUTES lists an attribute twice"));
    }
    Ok(())
}

pub(super) async fn unknown_required(cx: &mut StunCx) -> Result<(), Stop> {
    let [a, b] = attr::UNKNOWN_REQUIRED;
    let mut ana = cx.client("ana").await?;
    let one = ana.send_request(&cx.binding().with(a, [1, 2, 3, 4])).await?;
    lists(one, &[a])?;
    let mixed = cx.binding().with(attr::UNKNOWN_OPTIONAL, "x").with(a, []).with(b, "abc");
    let two = ana.send_request(&mixed).await?;
    lists(two, &[a, b])
}

pub(super) async fn unknown_optional(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    let request = cx.binding().with(attr::UNKNOWN_OPTIONAL, [7; 40]).with(0xffff, []);
    let answer = ana.send_request(&request).await?.success("an unknown comprehension-optional attribute")?;
    cx.check_mapped(&ana, &answer, attr::XOR_MAPPED_ADDRESS)
}

pub(super) async fn padding(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    for value in ["a", "ab", "abc"] {
        let request = cx.binding().with_padding(attr::SOFTWARE, value, 0xff);
        ana.send_request(&request).await?.success("padding of one bits")?;
    }
    Ok(())
}

pub(super) async fn behind_integrity(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    // No server knows this key; a server that does not authenticate accepts the message anyway.
    let request = cx.binding().with(attr::USERNAME, "a:b").sealed(b"key").with(attr::UNKNOWN_REQUIRED[0], [0; 4]);
    let answer = ana.send_request(&request).await?;
    match answer.code()? {
        None => Ok(()),
        Some(420) => {
            let listed = answer.message.numbers(attr::UNKNOWN_ATTRIBUTES).unwrap_or_default();
            if listed.contains(&attr::UNKNOWN_REQUIRED[0]) {
                return Err(answer.stop("an attribute after MESSAGE-INTEGRITY is not ignored"));
            }
            cx.acceptable("the server does not know USERNAME or MESSAGE-INTEGRITY");
            Ok(())
        }
        Some(400 | 401) => {
            cx.acceptable(format!("the server requires credentials: {}", answer.in_words()));
            Ok(())
        }
        Some(_) => Err(answer.success("an authenticated request").expect_err("it is an error")),
    }
}

/// PRIORITY and USE-CANDIDATE belong to ICE: a server without ICE does not know them.
pub(super) async fn vectors_5769(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.client("ana").await?;
    let request = Draft { bytes: vectors::bytes(vectors::REQUEST) };
    let answer = ana.send_request(&request).await.map_err(|stop| {
        stop.reworded(|why| {
            format!("RFC 5769 §2.1: {why}; its FINGERPRINT is correct, and its padding consists of spaces")
        })
    })?;
    match answer.code()? {
        None | Some(400 | 401) => {}
        Some(420) => lists(answer, &[attr::PRIORITY])?,
        Some(_) => return Err(answer.success("the request of RFC 5769 §2.1").expect_err("it is an error")),
    }
    let long_term = Draft { bytes: vectors::bytes(vectors::LONG_TERM_REQUEST) };
    let answer = ana.send_request(&long_term).await?;
    if !matches!(answer.code()?, None | Some(400 | 401 | 438)) {
        return Err(answer.success("the request of RFC 5769 §2.4").expect_err("it is an error"));
    }
    let mut flipped = Draft::new(method::BINDING, Class::Request, cx.env.id()).with_fingerprint();
    *flipped.bytes.last_mut().expect("it has a FINGERPRINT") ^= 1;
    ana.is_silent_on("a FINGERPRINT with one flipped bit", &flipped.bytes).await
}
