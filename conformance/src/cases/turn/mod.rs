//! RFC 8656: allocations, permissions, channels, and whom a TURN server serves.

use crate::case::Case;
use crate::case::Citation;

mod allocate;
mod channel;
mod credential;
mod expiry;
mod permission;
mod refresh;
mod relay;
mod tcp;

/// What nearly every other case needs: an allocation can be had.
const ALLOCATE: &[&str] = &["turn/allocate"];
/// And data passes through it.
const DATA: &[&str] = &["turn/allocate", "turn/data-both-ways"];

/// Every case, in the order of the catalogue.
pub(crate) fn all() -> Vec<&'static Case> {
    [
        credential::CASES,
        allocate::CASES,
        refresh::CASES,
        permission::CASES,
        relay::CASES,
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
