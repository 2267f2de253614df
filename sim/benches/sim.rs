//! Measures the simulator's speed. `cargo bench -p sim`

#![allow(missing_docs)] // criterion's macros write undocumented items

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use scenarios::{Link, OneWay, Scenario};
use server::net::{Network, Udp};
use sim::event::NodeKind;
use sim::world::{NetworkConfig, World};

/// Datagrams per measurement.
const DATAGRAMS: u64 = 100_000;
/// Datagrams sent at one instant.
const BURST: u64 = 100;

fn fabric(c: &mut Criterion) {
    let mut group = c.benchmark_group("fabric");
    group.throughput(Throughput::Elements(DATAGRAMS)).sample_size(10);
    group.bench_function("datagrams through a NAT pair", |bench| {
        bench.iter(|| World::run(1, Duration::from_secs(3600), through_a_nat_pair).expect("no panic"));
    });
    group.finish();
}

/// Two hosts, each behind its own NAT, open their NATs for each other; then one sends to the other.
async fn through_a_nat_pair(world: World) {
    let home = scenarios::profile("home-linux").and_then(|profile| profile.behavior).expect("a shipped profile");
    let link = Link::both(OneWay::with_latency(Duration::from_millis(5)));
    let host = |name: &str, external: Ipv4Addr| {
        let realm = world.add_network(NetworkConfig {
            name,
            kind: NodeKind::World,
            behind: None,
            external: &[external],
            inside: Ipv4Addr::new(192, 168, 1, 1),
            nat: Some(home.clone()),
            link,
        });
        world.boot(world.add_machine(name, NodeKind::World, Some(realm), Ipv4Addr::new(192, 168, 1, 10), link))
    };
    let (a, b) = (Ipv4Addr::new(198, 51, 100, 1), Ipv4Addr::new(198, 51, 100, 2));
    let bind: SocketAddr = "0.0.0.0:5000".parse().expect("an address");
    let ours = host("a", a).bind_udp(bind).await.expect("a free port");
    let theirs = host("b", b).bind_udp(bind).await.expect("a free port");
    // Both NATs preserve ports, so each host knows the other's external endpoint.
    let (to_a, to_b) = (SocketAddr::new(a.into(), 5000), SocketAddr::new(b.into(), 5000));
    let mut buffer = [0; 1500];
    theirs.send_to(b"open", to_a).await.expect("sent");
    ours.send_to(b"open", to_b).await.expect("sent");
    theirs.recv_from(&mut buffer).await.expect("open");
    for _ in 0..DATAGRAMS / BURST {
        for _ in 0..BURST {
            ours.send_to(&[7; 200], to_b).await.expect("sent");
        }
        for _ in 0..BURST {
            theirs.recv_from(&mut buffer).await.expect("received");
        }
    }
}

fn scenario(c: &mut Criterion, name: &str, scenario: Scenario) {
    let scenario = Arc::new(scenario);
    let mut group = c.benchmark_group("scenario");
    group.sample_size(20);
    group.bench_function(name, |bench| bench.iter(|| sim::run::record(&scenario, 1).expect("no crash")));
    group.finish();
}

fn load(name: &str) -> Scenario {
    scenarios::load(name).expect("a shipped scenario")
}

/// A scenario with the same actors but without WebRTC, over `seconds`.
fn signaling_only(seconds: u64) -> Scenario {
    let mut scenario = load("mesh-6");
    scenario.duration = Duration::from_secs(seconds);
    scenario.actors.iter_mut().for_each(|actor| actor.webrtc = false);
    scenario
}

/// `count` actors on the internet without WebRTC, which join 50 ms apart.
fn crowd(count: usize) -> Scenario {
    let text = format!(
        "name = \"crowd\"\nabout = \"a crowd\"\nduration = \"60s\"\n[[actor]]\nname = \"p\"\ncount = {count}\nevery = \"50ms\"\nwebrtc = false\n"
    );
    scenarios::parse("crowd.toml", &text).expect("a valid scenario")
}

fn scenarios_(c: &mut Criterion) {
    scenario(c, "mesh-6, 60 s", load("mesh-6"));
    scenario(c, "signaling of 6, 60 s", signaling_only(60));
    scenario(c, "signaling of 6, 600 s mostly idle", signaling_only(600));
    let long = Scenario { duration: Duration::from_secs(600), ..load("mesh-6") };
    scenario(c, "mesh-6, 600 s mostly idle", long);
    scenario(c, "signaling of 200, 60 s", crowd(200));
}

criterion_group!(benches, fabric, scenarios_);
criterion_main!(benches);
