//! RFC 8656: allocations, permissions, channels, and which requests a TURN server must refuse.

use crate::case::Case;
use crate::case::Citation;

mod allocate;
mod channel;
mod credential;
mod expiry;
mod long;
mod peers;
mod permission;
mod protected;
mod refresh;
mod relay;
mod source;
mod tcp;

/// What nearly every other case needs: the server grants an allocation.
const ALLOCATE: &[&str] = &["turn/allocate"];
/// What cases about data need: the server grants an allocation, and data passes through it.
const DATA: &[&str] = &["turn/allocate", "turn/data-both-ways"];

/// All cases, in the order of the catalogue.
pub(crate) fn all() -> Vec<&'static Case> {
    [
        credential::CASES,
        protected::CASES,
        allocate::CASES,
        refresh::CASES,
        permission::CASES,
        peers::CASES,
        relay::CASES,
        source::CASES,
        long::CASES,
        channel::CASES,
        tcp::CASES,
        expiry::CASES,
    ]
    .concat()
}

const PERMISSION_CHECK: Citation = rfc!(
    "8656",
    "9",
    "If no match is found, relaying is not permitted and the server silently discards the UDP datagram."
);
