//! Where peers of a TURN server can be on this machine: servers forbid some addresses.

use std::net::IpAddr;
use std::sync::Arc;

use super::cx::StunCx;
use super::env::StunEnv;
use crate::transcript::Log;

/// An address that routes lead to and nobody has (RFC 5737): nothing is sent there.
const FAR_AWAY: &str = "198.51.100.1:9";

/// Finds an address of this machine that the server gives permissions for. Whatever goes wrong here, the cases report.
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
