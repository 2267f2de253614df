//! Finds an address of this machine for the peers of a TURN server: servers forbid some addresses.

use std::net::IpAddr;
use std::sync::Arc;

use super::cx::StunCx;
use super::env::StunEnv;
use crate::transcript::Log;

/// An address that has a route but no host (RFC 5737). Nothing is sent to it.
const FAR_AWAY: &str = "198.51.100.1:9";

/// Finds an address of this machine for which the server installs permissions. It reports no errors: the cases do.
pub(super) async fn find_peers(env: &Arc<StunEnv>) -> Option<IpAddr> {
    let mut candidates = vec![env.source];
    if let Ok(outward) = env.net.source_boxed(FAR_AWAY.parse().expect("it is an address")).await
        && outward != env.source
        && outward.is_ipv4() == env.source.is_ipv4()
    {
        candidates.push(outward);
    }
    let cx = StunCx { env: Arc::clone(env), log: Log::new() };
    let mut ana = cx.allocation("probe").await.ok()?;
    for candidate in candidates {
        let answer = ana.create_permission(&cx, &[(candidate, 9).into()]).await;
        if answer.is_ok_and(|answer| answer.code().is_ok_and(|code| code.is_none())) {
            return Some(candidate);
        }
    }
    None
}
