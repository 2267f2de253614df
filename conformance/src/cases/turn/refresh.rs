//! Refresh: extending an allocation and deleting it.

use super::{ALLOCATE, DATA};
use crate::case::Case;
use crate::case::Level::Must;
use crate::stop::Stop;
use crate::stun::cx::StunCx;
use crate::stun::names::{attr, method};
use crate::stun::turn::DEFAULT_LIFETIME;

pub(super) const CASES: &[&Case] = &[
    &Case::network("turn/refresh", Must, "A Refresh is answered with the new lifetime, in an authenticated answer.", |cx| Box::pin(refresh(cx)))
        .needs(ALLOCATE)
        .cites(&[rfc!("8656", "8.2", "A LIFETIME attribute containing the current value of the time-to-expiry timer.")]),
    &Case::network("turn/refresh-0", Must, "A Refresh with LIFETIME 0 deletes the allocation: later requests are answered with 437, and the client can allocate again.", |cx| {
        Box::pin(refresh_0(cx))
    })
    .needs(ALLOCATE)
    .cites(&[rfc!("8656", "8.2", "If the \"desired lifetime\" is zero, then the request succeeds and the allocation is deleted.")]),
    &Case::network("turn/refresh-0-data", Must, "After a Refresh with LIFETIME 0, nothing is relayed in either direction.", |cx| {
        Box::pin(refresh_0_data(cx))
    })
    .needs(DATA)
    .cites(&[rfc!("8656", "9", "If an allocation expires, all its permissions expire with it.")]),
    &Case::network("turn/refresh-family", Must, "A Refresh for the other address family is answered with 443.", |cx| {
        Box::pin(refresh_family(cx))
    })
    .needs(ALLOCATE)
    .cites(&[rfc!("8656", "8.2", "If the server receives a Refresh Request with a REQUESTED-ADDRESS-FAMILY attribute and the attribute value does not match the address family of the allocation, the server MUST reply with a 443 (Peer Address Family Mismatch) Refresh error response.")]),
];

async fn refresh(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    for requested in [None, Some(1), Some(900)] {
        let answer = ana.refresh(cx, requested).await?.success("a Refresh")?;
        if !ana.auth.has_sealed(&answer.message) {
            return Err(answer.stop("the answer to Refresh has no valid MESSAGE-INTEGRITY"));
        }
        let Some(lifetime) = answer.message.number(attr::LIFETIME) else {
            return Err(answer.stop("the answer to Refresh has no LIFETIME of 4 bytes"));
        };
        let most = requested.unwrap_or(0).max(DEFAULT_LIFETIME);
        if lifetime > most || lifetime + 5 < DEFAULT_LIFETIME {
            let requested = requested.map_or("no LIFETIME".to_owned(), |requested| format!("LIFETIME {requested}"));
            let why = format!(
                "a Refresh with {requested} is answered with {lifetime} s, expected {DEFAULT_LIFETIME} to {most} s"
            );
            return Err(answer.stop(why));
        }
    }
    Ok(())
}

async fn refresh_0(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    let answer = ana.refresh(cx, Some(0)).await?;
    // Only a retransmission may get a 437: the first transmission has deleted the allocation.
    if !(answer.sent > 1 && answer.code()? == Some(437)) {
        let answer = answer.success("a Refresh with LIFETIME 0")?;
        match answer.message.number(attr::LIFETIME) {
            Some(0) => {}
            Some(other) => return Err(answer.stop(format!("LIFETIME 0 is answered with {other}, expected 0"))),
            None => return Err(answer.stop("the answer to LIFETIME 0 has no LIFETIME of 4 bytes")),
        }
    }
    ana.refresh(cx, None).await?.error(437, "a Refresh of a deleted allocation")?;
    let again = ana.allocate_again(cx).await?;
    again.success("an Allocate on the port whose allocation was deleted").map(drop)
}

async fn refresh_0_data(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    let mut ben = cx.peer("ben").await?;
    ana.permit(cx, &ben).await?;
    let there = cx.word("there");
    ana.send_data(cx, ben.local, there.as_bytes());
    ben.receive_relayed(there.as_bytes()).await?;
    ana.refresh(cx, Some(0)).await?;
    let (late, late_back) = (cx.word("late"), cx.word("late-back"));
    ana.send_data(cx, ben.local, late.as_bytes());
    ben.send_to(late_back.as_bytes(), ana.relayed);
    ana.fence().await?;
    ben.fence().await?;
    if let Some(received) = ben.received.iter().find(|received| received.bytes == late.as_bytes()) {
        return Err(Stop::at("a deleted allocation still relays to its peer", received.line));
    }
    if let Some(received) = ana.received_data(late_back.as_bytes()) {
        return Err(Stop::at("a deleted allocation still relays to its client", received.line));
    }
    Ok(())
}

async fn refresh_family(cx: &mut StunCx) -> Result<(), Stop> {
    let mut ana = cx.allocation("ana").await?;
    let other = if ana.relayed.is_ipv4() { 2 } else { 1 };
    let with = |draft: crate::stun::wire::Draft| draft.with(attr::REQUESTED_ADDRESS_FAMILY, [other, 0, 0, 0]);
    ana.request(cx, method::REFRESH, with).await?.error(443, "a Refresh for the other address family")?;
    ana.refresh(cx, None).await?.success("a plain Refresh afterwards").map(drop)
}
