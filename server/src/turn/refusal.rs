//! Why a TURN request is refused.

use super::allocation::Conflict;
use crate::stun::message::{ErrorCode, UNKNOWN_ATTRIBUTE, Unknown};

/// The reason of an error response (RFC 8489 §14.8, RFC 8656 §19).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Refusal {
    BadRequest,
    Unauthorized,
    Forbidden,
    UnknownAttributes(Unknown),
    AllocationMismatch,
    StaleNonce,
    AddressFamilyNotSupported,
    WrongCredentials,
    UnsupportedTransport,
    PeerAddressFamilyMismatch,
    AllocationQuotaReached,
    InsufficientCapacity,
}

impl Refusal {
    /// One of each, by code.
    pub(crate) const ALL: [Self; 12] = [
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::UnknownAttributes(Unknown::NONE),
        Self::AllocationMismatch,
        Self::StaleNonce,
        Self::AddressFamilyNotSupported,
        Self::WrongCredentials,
        Self::UnsupportedTransport,
        Self::PeerAddressFamilyMismatch,
        Self::AllocationQuotaReached,
        Self::InsufficientCapacity,
    ];

    pub(crate) const fn error(self) -> ErrorCode {
        match self {
            Self::BadRequest => ErrorCode(400, "Bad Request"),
            Self::Unauthorized => ErrorCode(401, "Unauthenticated"),
            Self::Forbidden => ErrorCode(403, "Forbidden"),
            Self::UnknownAttributes(_) => UNKNOWN_ATTRIBUTE,
            Self::AllocationMismatch => ErrorCode(437, "Allocation Mismatch"),
            Self::StaleNonce => ErrorCode(438, "Stale Nonce"),
            Self::AddressFamilyNotSupported => ErrorCode(440, "Address Family not Supported"),
            Self::WrongCredentials => ErrorCode(441, "Wrong Credentials"),
            Self::UnsupportedTransport => ErrorCode(442, "Unsupported Transport Protocol"),
            Self::PeerAddressFamilyMismatch => ErrorCode(443, "Peer Address Family Mismatch"),
            Self::AllocationQuotaReached => ErrorCode(486, "Allocation Quota Reached"),
            Self::InsufficientCapacity => ErrorCode(508, "Insufficient Capacity"),
        }
    }

    pub(crate) const fn code(self) -> u16 {
        self.error().0
    }
}

impl From<Conflict> for Refusal {
    fn from(conflict: Conflict) -> Self {
        match conflict {
            Conflict::Bound => Self::BadRequest,
            Conflict::Full => Self::InsufficientCapacity,
        }
    }
}
