//! Finds out what the cases need to know about a TURN server: its challenge, the family of its relayed addresses, and
//! an address of this machine for peers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::auth::{Auth, Challenge};
use super::client::UdpClient;
use super::cx::StunCx;
use super::env::StunEnv;
use super::names::attr;
use super::turn::{Allocation, IPV6};
use crate::stop::Stop;
use crate::transcript::Log;

/// Addresses that have a route but no host (RFC 5737, RFC 3849). Nothing is sent to them.
const FAR_AWAY: [&str; 2] = ["198.51.100.1:9", "[2001:db8::1]:9"];

/// What the cases need to know about a TURN server.
#[derive(Default)]
pub(super) struct Explored {
    pub(super) challenge: Option<Challenge>,
    pub(super) family: Option<u8>,
    pub(super) peers: Option<IpAddr>,
}

/// Explores a TURN server. It reports no errors: the cases do.
pub(super) async fn explore(env: &Arc<StunEnv>) -> Explored {
    let cx = StunCx { env: Arc::clone(env), log: Log::new() };
    let mut explored = Explored::default();
    // What was found before an error is still useful.
    let _ = find(&cx, &mut explored).await;
    explored
}

async fn find(cx: &StunCx, explored: &mut Explored) -> Result<(), Stop> {
    let mut probe = cx.client("probe").await?;
    let auth = cx.challenge(&mut probe, cx.credential()?).await?;
    explored.challenge = Some(auth.challenge.clone());
    let mut ana = allocate(cx, probe, auth, explored).await?;
    for candidate in candidates(cx, ana.relayed.is_ipv4()).await {
        let answer = ana.create_permission(cx, &[(candidate, 9).into()]).await;
        if answer.is_ok_and(|answer| answer.code().is_ok_and(|code| code.is_none())) {
            explored.peers = Some(candidate);
            return Ok(());
        }
    }
    Ok(())
}

/// An allocation of any family. A server without relayed addresses of IPv4 refuses a request without
/// REQUESTED-ADDRESS-FAMILY with 440 (RFC 8656 §7.2).
async fn allocate(cx: &StunCx, client: UdpClient, auth: Auth, explored: &mut Explored) -> Result<Allocation, Stop> {
    let refused = match cx.try_allocate(client, auth, &|draft| draft, &|sealed| sealed).await? {
        Ok(ana) => return Ok(ana),
        Err(answer) => answer,
    };
    if refused.code()? == Some(437) {
        return cx.allocation("probe").await;
    }
    if refused.code()? != Some(440) {
        return Err(refused.refused());
    }
    let ana = cx.allocation_with("probe", |draft| draft.with(attr::REQUESTED_ADDRESS_FAMILY, [IPV6, 0, 0, 0])).await?;
    explored.family = Some(IPV6);
    Ok(ana)
}

/// The addresses of this machine to try as peers, of the family of the relayed address.
async fn candidates(cx: &StunCx, is_v4: bool) -> Vec<IpAddr> {
    let env = &cx.env;
    let loopback: IpAddr = if is_v4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    let mut candidates = Vec::new();
    if env.source.is_ipv4() == is_v4 {
        candidates.push(env.source);
    } else if env.is_near() {
        candidates.push(loopback);
    }
    let far_away: SocketAddr = FAR_AWAY[usize::from(!is_v4)].parse().expect("it is an address");
    if let Ok(outward) = env.net.source_boxed(far_away).await
        && outward.is_ipv4() == is_v4
        && !candidates.contains(&outward)
    {
        candidates.push(outward);
    }
    candidates
}
