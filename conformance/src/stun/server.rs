//! A STUN or TURN server as the subject of a run.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::client::UdpClient;
use super::cx::StunCx;
use super::env::{Sentinel, StunEnv};
use super::explore::{Explored, explore};
use super::net::{Datagrams, DynDatagrams};
use super::target::{Service, ServiceTarget};
use crate::case::{Body, Case};
use crate::dial::DynDial;
use crate::runner::{self, FIRST_PATIENCE, Facts, Options, Subject};
use crate::stop::{Running, Stop};
use crate::target::Unreachable;
use crate::transcript::{Log, Transcript};
use crate::verdict::Report;

/// The first retransmission comes after this many round trips …
const RTO_ROUND_TRIPS: u32 = 4;
/// … but not before this time: a late answer from a busy machine is not lost.
const RTO_MIN: Duration = Duration::from_millis(300);
/// The round trip assumed if the first answer is not valid.
const UNKNOWN_ROUND_TRIP: Duration = Duration::from_millis(50);
/// How often a failing case runs where datagrams may be lost.
const ATTEMPTS: usize = 4;

/// Runs cases against a STUN or TURN server. The list should include every case that they need, as from
/// [`select_from`](crate::select_from()). Must be called inside a tokio runtime with time and I/O.
///
/// # Errors
/// Nothing answers at the address.
pub async fn run(
    net: impl Datagrams,
    target: &ServiceTarget,
    cases: &[&'static Case],
    options: &Options,
) -> Result<Report, Unreachable> {
    let net = Arc::new(net);
    let address = ServiceAddress { dial: net.clone(), net, target: target.clone() };
    runner::run::<ServiceServer>(address, cases, options).await
}

/// Where a STUN or TURN server is, and the network to reach it.
struct ServiceAddress {
    net: Arc<dyn DynDatagrams>,
    dial: Arc<dyn DynDial>,
    target: ServiceTarget,
}

/// A STUN or TURN server that was reached.
struct ServiceServer {
    env: Arc<StunEnv>,
    target: ServiceTarget,
    round_trip: Duration,
}

impl Subject for ServiceServer {
    type Address = ServiceAddress;
    const RESTART: Duration = Duration::ZERO;
    const SLOW_TOGETHER: bool = true;
    const JOINS: bool = false;

    /// Finds an address at which the server answers, and measures the round trip.
    async fn reach(address: ServiceAddress, options: &Options) -> Result<Self, Unreachable> {
        let ServiceAddress { net, dial, target } = address;
        let ServiceTarget { host, port, service, credentials } = &target;
        let unreachable = |tried| Unreachable { url: target.to_string(), tried };
        let resolving = timeout(FIRST_PATIENCE, net.resolve_boxed(host, *port)).await;
        let addresses = match resolving {
            Ok(Ok(addresses)) if !addresses.is_empty() => addresses,
            Ok(Ok(_)) => return Err(unreachable(vec![format!("{host} has no address")])),
            Ok(Err(error)) => return Err(unreachable(vec![format!("resolve {host}: {error}")])),
            Err(_) => return Err(unreachable(vec![format!("resolve {host}: no answer")])),
        };
        let mut tried = Vec::new();
        for server in &addresses {
            let source = match net.source_boxed(*server).await {
                Ok(source) => source,
                Err(error) => {
                    tried.push(format!("UDP to {server}: {error}"));
                    continue;
                }
            };
            let sentinels = match service {
                Service::Stun => &[Sentinel::Binding][..],
                Service::Turn => &[Sentinel::Binding, Sentinel::Allocate],
            };
            for sentinel in sentinels {
                let env = StunEnv {
                    net: Arc::clone(&net),
                    dial: Arc::clone(&dial),
                    server: *server,
                    addresses: addresses.clone(),
                    source,
                    credentials: credentials.clone(),
                    sentinel: *sentinel,
                    peers: None,
                    family: None,
                    challenge: None,
                    unauthenticated: tokio::sync::Mutex::default(),
                    rto: RTO_MIN,
                    patience: FIRST_PATIENCE / 2,
                    seed: options.seed,
                    fresh: AtomicU64::new(0),
                    taken: Mutex::default(),
                };
                let env = Arc::new(env);
                match first_answer(&env).await {
                    Ok(round_trip) => {
                        let mut env = unshared(env);
                        env.rto = (round_trip * RTO_ROUND_TRIPS).max(RTO_MIN);
                        env.patience = runner::patience(round_trip);
                        let mut env = Arc::new(env);
                        if *service == Service::Turn {
                            let Explored { challenge, family, peers } = explore(&env).await;
                            env = Arc::new(StunEnv { challenge, family, peers, ..unshared(env) });
                        }
                        return Ok(Self { env, target, round_trip });
                    }
                    Err(stop) => tried.push(format!("UDP to {server}: {}", stop.into_why())),
                }
            }
        }
        Err(unreachable(tried))
    }

    fn facts(&self) -> Facts {
        Facts {
            url: self.target.to_string(),
            protocol: self.target.service.name().to_owned(),
            round_trip: self.round_trip,
            patience: self.env.patience,
        }
    }

    fn lacks(&self, _: &Case) -> Option<String> {
        None
    }

    fn jobs(&self, options: &Options) -> usize {
        options.jobs
    }

    /// Between machines, a datagram that is never retransmitted may be lost.
    fn attempts(&self, case: &Case) -> usize {
        if self.env.is_near() || case.slow { 1 } else { ATTEMPTS }
    }

    fn run(&self, case: &'static Case, log: &Log) -> Running<'static> {
        let Body::Network(run) = case.body else { unreachable!("{} is for another suite", case.slug) };
        let mut cx = StunCx { env: Arc::clone(&self.env), log: log.clone() };
        Box::pin(async move { run(&mut cx).await })
    }

    /// The server answers a new client, correctly or not: correctness is for the cases to test.
    async fn alive(&self, log: &Log) -> Result<(), Stop> {
        let mut client = UdpClient::open(&self.env, log, "probe", (self.env.source, 0).into()).await?;
        match client.send_request(&self.env.sentinel()).await {
            Err(stop) if !client.received_anything() => Err(stop),
            _ => Ok(()),
        }
    }

    fn redact(&self, _: &mut Transcript) {}
}

fn unshared(env: Arc<StunEnv>) -> StunEnv {
    Arc::try_unwrap(env).unwrap_or_else(|_| unreachable!("the probe has dropped its share"))
}

/// The round-trip time: the shortest of three, so that a busy moment does not count.
async fn first_answer(env: &Arc<StunEnv>) -> Result<Duration, Stop> {
    let log = Log::new();
    let mut client = UdpClient::open(env, &log, "probe", (env.source, 0).into()).await?;
    let mut least = Duration::MAX;
    for _ in 0..3 {
        let start = Instant::now();
        match client.send_request(&env.sentinel()).await {
            Ok(_) => least = least.min(start.elapsed()),
            // Whether the answer is correct is for the cases to test.
            Err(_) if client.received_anything() => return Ok(UNKNOWN_ROUND_TRIP),
            Err(stop) => return Err(stop),
        }
    }
    Ok(least)
}
