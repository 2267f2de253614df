//! The probe of `glare nat-probe`, on a simulated host behind each shipped NAT.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use scenarios::{ActorIndex, Dependence, Machine, PortAllocation, Profile};
use server::net::{Network, Udp};
use server::stun::{Origin, answer};
use sim::event::NodeKind;
use sim::host::Host;
use sim::nat_probe::{Findings, Lifetime, Plan, Ports, Unknown, probe};
use sim::world::{NetworkConfig, World};

use crate::faults::{LONG, at};
use crate::played::LINK;

const STUN_PORTS: [u16; 2] = [3478, 3479];

/// Which of RFC 5780 the STUN server can do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Can {
    All,
    /// It has one address.
    Bind,
}

/// Answers on two machines with two ports each, as one server with two IP addresses does.
async fn serve(machines: [Host; 2], can: Can) {
    let mut sockets = Vec::new();
    for machine in &machines {
        for port in STUN_PORTS {
            sockets.push(machine.bind_udp(at(machine, port)).await.expect("a free port"));
        }
    }
    if can == Can::Bind {
        sockets.truncate(1);
    }
    let addresses: Arc<[SocketAddr]> = sockets.iter().map(|socket| socket.local_addr().expect("bound")).collect();
    let sockets = Arc::new(sockets);
    for index in 0..sockets.len() {
        let (sockets, addresses) = (sockets.clone(), addresses.clone());
        machines[0].spawn(async move {
            let (mut buffer, mut out) = ([0; 1500], Vec::new());
            loop {
                let (length, from) = sockets[index].recv_from(&mut buffer).await.expect("receiving never fails");
                let origin = Origin { addresses: &addresses, index };
                if let Some(route) = answer(&buffer[..length], from, origin, &mut out) {
                    sockets[route.from].send_to(&out, route.to).await.expect("it fits");
                }
            }
        });
    }
}

/// Probes a NAT from its inside.
fn probed(profile: &str, can: Can, lifetime: Option<Duration>) -> Option<Findings> {
    probed_with(&format!("nat = '{profile}'"), can, lifetime)
}

/// Probes the NAT that an actor with these keys has, from its inside.
fn probed_with(keys: &str, can: Can, lifetime: Option<Duration>) -> Option<Findings> {
    let text = format!("name = 'x'\nduration = '1s'\n[[actor]]\nname = 'ana'\n{keys}\n");
    let scenario = scenarios::parse("x.toml", &text).unwrap_or_else(|error| panic!("{error}"));
    let found = World::run(1, 10 * LONG, move |world| async move {
        let network = scenario.networks.first();
        let realm = network.map(|network| world.add_network(NetworkConfig::of(network, 0, None)));
        let machine = |index: usize, realm, address| {
            let kind = NodeKind::Machine(Machine::Actor(ActorIndex(index)));
            world.boot(world.add_machine(&format!("m{index}"), kind, realm, address, LINK))
        };
        let ana = machine(0, realm, scenario.actors[0].address);
        let stun = [1, 2].map(|last: u8| machine(usize::from(last), None, [203, 0, 113, last].into()));
        let server = at(&stun[0], STUN_PORTS[0]);
        serve(stun, can).await;
        let plan = Plan { server, local: scenario.actors[0].address.into(), lifetime, seed: 1 };
        probe(&ana, plan).await.expect("sockets can be opened")
    });
    found.unwrap_or_else(|_| panic!("{keys}: the run panicked"))
}

/// Every shipped NAT is found to be what its profile says, with its lifetimes to five seconds.
#[test]
fn a_probe_recovers_every_profile() {
    const LONGEST: Duration = Duration::from_secs(200);
    let (mut mappings, mut lifetimes) = (0, 0);
    for Profile { name, behavior, .. } in scenarios::profiles() {
        let found = probed(&name, Can::All, Some(LONGEST));
        let Some(nat) = behavior else {
            let found = found.expect("a server on the internet answers");
            assert!(!found.has_nat(), "{name}: {found:?}");
            assert_eq!((found.mapping, found.filtering), (Err(Unknown::NoNat), Ok(Dependence::EndpointIndependent)));
            assert_eq!(found.lifetimes, Some(Err(Unknown::NoNat)));
            continue;
        };
        if nat.udp_blocked {
            assert_eq!(found, None, "{name}");
            continue;
        }
        let found = found.unwrap_or_else(|| panic!("{name}: the server does not answer"));
        assert!(found.has_nat(), "{name}: {found:?}");
        assert_eq!(found.mapping, Ok(nat.seen_mapping()), "{name}");
        assert_eq!(found.filtering, Ok(nat.filtering), "{name}");
        assert_eq!(found.hairpinning, Ok(nat.hairpinning), "{name}");
        let ports = match nat.port_allocation {
            PortAllocation::Preserve | PortAllocation::PreserveOverloading => Ports::Preserved,
            PortAllocation::Sequential | PortAllocation::Block => Ports::Sequential,
            PortAllocation::Random => Ports::Other,
        };
        assert_eq!(found.ports, ports, "{name}");
        assert_eq!(found.externals.len() > 1, name == "cgn-cellular-symmetric", "{name}: {found:?}");
        let Some(Ok(lived)) = found.lifetimes else { panic!("{name}: {found:?}") };
        let after_answer = if nat.udp_stream_after.is_zero() { nat.udp_lifetime } else { nat.udp_lifetime_new };
        for (what, lived, lifetime) in [
            ("question", lived.question, nat.udp_lifetime_new),
            ("answer", lived.answer, after_answer),
            ("stream", lived.stream, nat.udp_lifetime),
        ] {
            let Lifetime { lives, gone: Some(gone) } = lived else { panic!("{name}, {what}: {lived:?}") };
            assert!(lives <= lifetime && lifetime <= gone, "{name}, {what}: {lived:?}, but it is {lifetime:?}");
            assert!(gone - lives <= Duration::from_secs(5), "{name}, {what}: {lived:?}");
            lifetimes += 1;
        }
        mappings += 1;
    }
    assert_eq!((mappings, lifetimes), (13, 39));
}

#[test]
fn each_kind_of_hairpinning_is_found() {
    use scenarios::Hairpinning::{ExternalSource, InternalSource, Off, RouterSource};
    for kind in [Off, InternalSource, ExternalSource, RouterSource] {
        let word = serde_json::to_string(&kind).expect("a word");
        let keys = format!("nat = 'home-median'\noverride = {{ hairpinning = {word} }}");
        let found = probed_with(&keys, Can::All, None).expect("the server answers");
        assert_eq!(found.hairpinning, Ok(kind));
    }
}

#[test]
fn what_a_server_with_one_address_cannot_tell_is_told() {
    let found = probed("home-median", Can::Bind, Some(Duration::from_secs(10))).expect("it answers");
    assert!(found.has_nat());
    assert_eq!((found.mapping, found.filtering), (Err(Unknown::NoOtherAddress), Err(Unknown::NoOtherAddress)));
    assert_eq!(found.lifetimes, Some(Err(Unknown::ResponsePortRefused(420))));
    let words: String = found.words().iter().map(|(subject, words)| format!("{subject}: {words}\n")).collect();
    for expected in [
        "mapping: not known: the server has one address only: it sends no OTHER-ADDRESS",
        "lifetime: not known: the server does not answer to other ports (error 420)",
        "a call: not known, because the mapping or the filtering is not",
    ] {
        assert!(words.contains(expected), "{words}");
    }
}

/// The last sentence says with whom a call needs a relay.
#[test]
fn what_a_nat_means_for_a_call_is_said() {
    let call = |profile| {
        let found = probed(profile, Can::All, None).expect("it answers");
        assert_eq!(found.lifetimes, None);
        found.words().pop().map(|(subject, words)| format!("{subject}: {words}")).unwrap_or_default()
    };
    let [internet, home, dependent] = [
        "on the internet",
        "behind a usual router at home (endpoint-independent mapping, filtering by port)",
        "behind a NAT with a port for each destination (address-and-port-dependent mapping)",
    ];
    assert_eq!(call("full-cone"), format!("a call: direct with a peer {internet}, {home}, {dependent}"));
    assert_eq!(
        call("home-linux"),
        format!("a call: direct with a peer {internet}, {home}; needs a TURN server with a peer {dependent}")
    );
    assert_eq!(
        call("symmetric"),
        format!("a call: direct with a peer {internet}; needs a TURN server with a peer {home}, {dependent}")
    );
}
