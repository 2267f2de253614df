//! How often a peer guesses the external port of a mapping, beside the formulas for that. Whoever guesses it gets through to a NAT
//! that maps by destination and that nobody reaches otherwise.

use std::net::Ipv4Addr;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use scenarios::{NatBehavior, PortAllocation};
use sim::event::{Protocol, TransportAddress};
use sim::fabric::nat::{FiveTuple, Nat, NatCx, Signal};

/// Ports from 1024 to 65535, of which a random one is.
const PORTS: u32 = 64_512;
const EXTERNAL: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

/// In which order a peer tries the ports.
#[derive(Clone, Copy, Debug)]
enum Order {
    Random,
    Ascending,
    Descending,
}

/// Of 256 sockets that send to one peer, each has a random port, and the peer tries one port after another: the birthday paradox.
/// In which order makes no difference, if the NAT prefers no port. D. Anderson, How NAT traversal works, Tailscale 2020, gives 98 %
/// with 1024 tries and 99.9 % with 2048.
#[test]
fn random_ports_are_found_as_often_as_the_birthday_paradox_says() {
    const SOCKETS: u16 = 256;
    const RUNS: u32 = 400;
    let taken = f64::from(SOCKETS);
    let chance = |tries: u32| 1.0 - (0..tries).map(|tried| 1.0 - taken / f64::from(PORTS - tried)).product::<f64>();
    let published = [(1024, 0.98), (2048, 0.999)];
    assert!(published.iter().all(|(tries, chance_there)| (chance(*tries) - chance_there).abs() < 0.005));

    for order in [Order::Random, Order::Ascending, Order::Descending] {
        let found: Vec<u32> = (0..RUNS)
            .map(|run| {
                let mut nat = Bench::new(PortAllocation::Random, run);
                let peer = endpoint(Ipv4Addr::new(198, 51, 100, 7), 5000);
                for socket in 0..SOCKETS {
                    nat.send(10_000 + socket, peer);
                }
                let mut untried: Vec<u16> = (1024..=u16::MAX).collect();
                if matches!(order, Order::Ascending) {
                    untried.reverse();
                }
                let hit = |_: &u32| {
                    let at = match order {
                        Order::Random => nat.rng.next_u32() as usize % untried.len(),
                        Order::Ascending | Order::Descending => untried.len() - 1,
                    };
                    let port = untried.swap_remove(at);
                    nat.lets_in(port, peer)
                };
                (1..=PORTS).find(hit).expect("some port is right")
            })
            .collect();
        for tries in [32, 64, 174, 256, 512, 1024] {
            let hits = found.iter().filter(|found| **found <= tries).count() as u32;
            agrees(hits, RUNS, chance(tries), &format!("{order:?}, {tries} tries"));
        }
    }
}

/// A NAT that gives the next port: a peer that knows the last one tries those after it. Other mappings that are made in the meantime
/// take some of them; if they come as a Poisson process, the chance is that of fewer arrivals than tries. Y. Takeda, Symmetric NAT
/// Traversal using STUN, 2003; D. Klinec, V. Matyáš, Traversing symmetric NAT with predictable port allocation function, 2014.
#[test]
fn the_next_port_is_found_as_often_as_few_others_come_in_between() {
    const RUNS: u32 = 1000;
    for mean in [0.0, 0.5, 2.0] {
        let ahead: Vec<u16> = (0..RUNS)
            .map(|run| {
                let mut nat = Bench::new(PortAllocation::Sequential, run);
                let stun = endpoint(Ipv4Addr::new(192, 0, 2, 1), 3478);
                let peer = endpoint(Ipv4Addr::new(198, 51, 100, 7), 5000);
                let seen = nat.send(10_000, stun);
                let others = poisson(mean, &mut nat.rng);
                for other in 0..others {
                    nat.send(20_000 + other, stun);
                }
                let port = nat.send(10_000, peer);
                assert!(nat.lets_in(port, peer));
                port - seen
            })
            .collect();
        for tries in 1..=4_u16 {
            let hits = ahead.iter().filter(|ahead| **ahead <= tries).count() as u32;
            let fewer: f64 = (0..tries).map(|others| (-mean).exp() * power(mean, others) / factorial(others)).sum();
            agrees(hits, RUNS, fewer, &format!("{mean} others on average, {tries} tries"));
        }
    }
}

/// A NAT that gives each host a block of ports: others take none of them.
#[test]
fn in_a_block_of_ports_the_next_one_is_certain() {
    let mut nat = Bench::new(PortAllocation::Block, 1);
    let stun = endpoint(Ipv4Addr::new(192, 0, 2, 1), 3478);
    let seen = nat.send(10_000, stun);
    for host in 3..40 {
        nat.send_from(endpoint(Ipv4Addr::new(10, 0, 0, host), 1), stun);
    }
    assert_eq!(nat.send(10_000, endpoint(Ipv4Addr::new(198, 51, 100, 7), 5000)), seen + 1);
}

/// Within four standard errors.
fn agrees(hits: u32, runs: u32, chance: f64, what: &str) {
    let found = ratio(hits, runs);
    let error = (chance * (1.0 - chance) / f64::from(runs)).sqrt();
    assert!((found - chance).abs() <= 4.0 * error, "{what}: {found}, and not {chance} ± {error}");
}

fn ratio(part: u32, whole: u32) -> f64 {
    f64::from(part) / f64::from(whole)
}

fn power(base: f64, exponent: u16) -> f64 {
    base.powi(exponent.into())
}

fn factorial(number: u16) -> f64 {
    (1..=number).map(f64::from).product()
}

/// How many arrivals there are, if there are `mean` on average: the gaps between them are exponential.
fn poisson(mean: f64, rng: &mut ChaCha8Rng) -> u16 {
    let mut gap = || -(1.0 - f64::from(rng.next_u32()) / (f64::from(u32::MAX) + 1.0)).ln();
    let mut at = gap();
    let mut arrivals = 0;
    while at < mean {
        arrivals += 1;
        at += gap();
    }
    arrivals
}

fn endpoint(address: Ipv4Addr, port: u16) -> TransportAddress {
    TransportAddress::new(address, port)
}

/// A symmetric NAT.
struct Bench {
    nat: Nat,
    rng: ChaCha8Rng,
}

impl Bench {
    fn new(port_allocation: PortAllocation, seed: u32) -> Self {
        let symmetric = scenarios::profile("symmetric").and_then(|profile| profile.behavior).expect("it is shipped");
        let nat = Nat::new(NatBehavior { port_allocation, ..symmetric }, &[EXTERNAL]);
        Self { nat, rng: ChaCha8Rng::seed_from_u64(seed.into()) }
    }

    /// Sends from a port of a host inside. Returns the external port.
    fn send(&mut self, port: u16, remote: TransportAddress) -> u16 {
        self.send_from(endpoint(Ipv4Addr::new(10, 0, 0, 2), port), remote)
    }

    fn send_from(&mut self, internal: TransportAddress, remote: TransportAddress) -> u16 {
        let packet = FiveTuple { protocol: Protocol::Udp, internal, remote };
        let mut cx = NatCx { now: Duration::ZERO, rng: &mut self.rng };
        self.nat.outbound(packet, Signal::Data, &mut cx).expect("it is not full").port()
    }

    fn lets_in(&mut self, port: u16, remote: TransportAddress) -> bool {
        self.nat.inbound(Duration::ZERO, Protocol::Udp, endpoint(EXTERNAL, port), remote, Signal::Data).is_ok()
    }
}
