//! Candidates, as the library knows them and as they are signaled.

use str0m::net::Protocol;

use crate::event::CandidateKind;
use crate::peer::stack::{LocalCandidate, StackError};

/// A candidate as the library knows it.
pub(super) fn of_library(candidate: &LocalCandidate) -> Result<str0m::Candidate, StackError> {
    let LocalCandidate { kind, address, base, .. } = *candidate;
    Ok(match kind {
        CandidateKind::Host => str0m::Candidate::host(address, Protocol::Udp)?,
        CandidateKind::Srflx => str0m::Candidate::server_reflexive(address, base, Protocol::Udp)?,
        CandidateKind::Relay => str0m::Candidate::relayed(address, base, Protocol::Udp)?,
        CandidateKind::Prflx => return Err("a peer-reflexive candidate is not gathered".to_owned().into()),
    })
}

/// The `candidate` attribute. The library adds the credentials of before a restart.
pub(super) fn attribute(candidate: &str0m::Candidate) -> String {
    let attribute = candidate.to_sdp_string();
    attribute.split_once(" ufrag ").map_or(attribute.clone(), |(attribute, _)| attribute.to_owned())
}
