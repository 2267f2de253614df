//! Finds out what a NAT does, with a STUN server on its other side: NAT behavior discovery (RFC 5780).
//!
//! The probe is generic over [`Network`], so the same code runs on this machine's sockets and on a simulated host.

mod exchange;
mod lifetimes;
mod wire;
mod words;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use scenarios::{Dependence, Hairpinning};
use server::net::{Network, Udp};

use exchange::Prober;
pub use lifetimes::{Lifetime, Lifetimes};
use wire::{Answer, Wish};

/// Number of sockets whose external ports are compared.
const SOCKETS: usize = 4;

/// What to find out.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The STUN server.
    pub server: SocketAddr,
    /// The address of this machine towards the server.
    pub local: IpAddr,
    /// The longest lifetime of a mapping that is looked for; `None` looks for none. The probe takes this long, and some
    /// seconds.
    pub lifetime: Option<Duration>,
    /// The seed of the transaction ids.
    pub seed: u64,
}

/// Why something is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The server has no OTHER-ADDRESS: it has one address only.
    NoOtherAddress,
    /// The server's other address does not answer.
    OtherAddressSilent,
    /// The server answers CHANGE-REQUEST with this error.
    ChangeRefused(u16),
    /// The server answers RESPONSE-PORT with this error.
    ResponsePortRefused(u16),
    /// The server does not act on RESPONSE-PORT, or the answer does not come through.
    NoResponsePort,
    /// There is no NAT.
    NoNat,
}

/// How the external ports of a NAT follow from those of the sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Each is the socket's own.
    Preserved,
    /// Each is the next one.
    Sequential,
    /// Neither.
    Other,
}

/// What a probe finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// The address of the first socket.
    pub local: SocketAddr,
    /// The address under which the server sees it.
    pub mapped: SocketAddr,
    /// The IP addresses under which the server sees this machine.
    pub externals: Vec<IpAddr>,
    /// The external ports.
    pub ports: Ports,
    /// When datagrams to other destinations have the same mapping.
    pub mapping: Result<Dependence, Unknown>,
    /// Whose datagrams come in. Also known without a NAT: firewalls filter too.
    pub filtering: Result<Dependence, Unknown>,
    /// Whether a datagram to an external address of this machine comes back to it.
    pub hairpinning: Result<Hairpinning, Unknown>,
    /// How long mappings live, if that was to be found out.
    pub lifetimes: Option<Result<Lifetimes, Unknown>>,
}

impl Findings {
    /// Whether the server sees another address than the machine has.
    pub fn has_nat(&self) -> bool {
        self.local != self.mapped
    }
}

/// Probes the NATs between this machine and a STUN server. Takes some seconds, and longer for lifetimes.
///
/// # Errors
/// A socket cannot be opened. `Ok(None)`: the server does not answer.
pub async fn probe<N: Network>(net: &N, plan: Plan) -> io::Result<Option<Findings>> {
    let prober = Prober::new(net.clone(), plan);
    let mut sockets = Vec::new();
    for _ in 0..SOCKETS {
        sockets.push(prober.socket().await?);
    }
    let [first, second, third, fourth] = sockets.as_slice() else { unreachable!("there are four") };
    let Some((Answer::Success { mapped, other }, _)) = prober.ask(first, plan.server, Wish::default()).await else {
        return Ok(None);
    };
    let local = SocketAddr::new(plan.local, first.local_addr()?.port());
    let mut seen = vec![(local, mapped)];
    for socket in [second, third, fourth] {
        if let Some(mapped) = prober.mapped(socket).await {
            seen.push((SocketAddr::new(plan.local, socket.local_addr()?.port()), mapped));
        }
    }
    let mut externals: Vec<IpAddr> = seen.iter().map(|(_, mapped)| mapped.ip()).collect();
    externals.sort_unstable();
    externals.dedup();
    let has_nat = local != mapped;
    // The second socket has sent to the server's first address only, so it is asked before anything else.
    let filtering = prober.filtering(second, other).await;
    let mapping = if has_nat { prober.mapping(first, mapped, other).await } else { Err(Unknown::NoNat) };
    let hairpinning = match seen.get(2..4) {
        Some(&[(third_local, third_mapped), (fourth_local, fourth_mapped)]) if has_nat => {
            let ends = [(third, third_local, third_mapped), (fourth, fourth_local, fourth_mapped)];
            Ok(prober.hairpinning(ends).await)
        }
        _ => Err(Unknown::NoNat),
    };
    let lifetimes = match plan.lifetime {
        Some(longest) if has_nat => Some(lifetimes::probe(&prober, longest, externals.len() > 1).await?),
        Some(_) => Some(Err(Unknown::NoNat)),
        None => None,
    };
    Ok(Some(Findings { local, mapped, externals, ports: ports(&seen), mapping, filtering, hairpinning, lifetimes }))
}

fn ports(seen: &[(SocketAddr, SocketAddr)]) -> Ports {
    if seen.iter().all(|(local, mapped)| local.port() == mapped.port()) {
        return Ports::Preserved;
    }
    let next = |pair: &[(SocketAddr, SocketAddr)]| pair[0].1.port().checked_add(1) == Some(pair[1].1.port());
    if seen.windows(2).all(next) { Ports::Sequential } else { Ports::Other }
}
