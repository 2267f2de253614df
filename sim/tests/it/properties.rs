//! Whatever happens for a while, all is well a while after.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;
use scenarios::Dependence::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
use scenarios::FilterState::{PerEndpoint, PerMapping};
use scenarios::{
    Action, ActorIndex, Command, Framing, Hairpinning, Link, Machine, MachineAction, MediaKind, NatBehavior, NatReboot,
    NetworkAction, NetworkIndex, PortAllocation, Role, Scenario, Step, WorldAction,
};
use sim::hash::first_difference;
use sim::reachability::{Place, Verdict, can_connect};

use crate::build::scenario;
use crate::nat::behavior;

/// Trouble begins at most this long after the start, milliseconds.
const TROUBLE_MS: u64 = 35_000;
/// When the last trouble is over: what was cut heals, what was down may be up.
const CALM: Duration = Duration::from_secs(45);
/// When it is judged.
const END_SECONDS: u64 = 110;
const HEARTBEAT: Duration = Duration::from_secs(3);

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn webrtc_peers_settle_after_any_trouble(story in any_call()) {
        settles(&story)?;
    }
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn signaling_settles_after_any_trouble(story in any_crowd()) {
        settles(&story)?;
    }
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn every_role_settles_after_any_trouble(story in any_company()) {
        settles(&story)?;
    }
}

fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    // The same stories in every run, so that a change is judged by them alone; who hunts for others gives PROPTEST_RNG_SEED.
    let rng_seed = if default.rng_seed == RngSeed::Random { RngSeed::Fixed(1) } else { default.rng_seed };
    // A run that fails is shown small rather than smallest.
    ProptestConfig { cases, rng_seed, failure_persistence: None, max_shrink_iters: 400, ..default }
}

/// Plays it twice: nothing crashes, nothing is wrong, nothing differs.
fn settles(story: &Story) -> Result<(), TestCaseError> {
    let scenario = story.scenario();
    let play = || sim::run::run(&scenario, story.seed).map_err(|crash| TestCaseError::fail(format!("{crash:?}")));
    let (once, again) = (play()?, play()?);
    let wrong: Vec<_> = once.violations.iter().map(|violation| format!("{violation:?}")).collect();
    prop_assert!(wrong.is_empty(), "seed {}:\n{}", story.seed, wrong.join("\n"));
    if once.hash != again.hash {
        let (place, one, other) = first_difference(&once.record, &again.record).expect("the hashes differ");
        let line = |event: Option<&_>| event.map_or("no more".to_owned(), |event| once.record.json_line(event));
        let (one, other) = (line(one), line(other));
        return Err(TestCaseError::fail(format!("not deterministic: event {place} is {one} and then {other}")));
    }
    Ok(())
}

/// What a scenario is made of.
#[derive(Clone)]
struct Story {
    seed: u64,
    webrtc: bool,
    /// NATs; the second may be behind the first.
    nats: Vec<NatBehavior>,
    cascade: bool,
    peers: Vec<Peer>,
    troubles: Vec<(u64, Trouble)>,
}

#[derive(Clone, Debug)]
struct Peer {
    /// Which NAT they are behind; beyond the last is none.
    nat: usize,
    link: Link,
    room: u8,
    joins_ms: u64,
    role: Role,
    /// Of a user.
    over: Framing,
}

/// Something that goes wrong, and how long for: whatever can be mended is.
#[derive(Clone, Debug)]
enum Trouble {
    Away { who: usize, ms: u64 },
    Gone { who: usize },
    Torn { who: usize },
    Power { who: usize, ms: u64 },
    Dead { who: usize },
    NatReboot { nat: usize, resets_tcp: bool, new_address: bool },
    Cut { from: Vec<usize>, to: Vec<usize>, server: bool, one_way: bool, ms: u64 },
    IceRestart { who: usize, with: usize },
    Hangup { who: usize, with: usize },
    Say { who: usize },
    Call { who: usize, with: usize },
    Accept { who: usize },
    Reject { who: usize },
    Mute { who: usize },
    ServerPower { ms: u64 },
    ServerShutdown { ms: u64 },
}

/// A line for each NAT, peer and trouble: what a failing test shows.
impl fmt::Debug for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, webrtc {}, second NAT behind the first {}", self.seed, self.webrtc, self.cascade)?;
        for (index, nat) in self.nats.iter().enumerate() {
            writeln!(f, "nat {index}: {nat:?}")?;
        }
        for (index, Peer { nat, link, room, joins_ms, role, over }) in self.peers.iter().enumerate() {
            let Link { latency, jitter, loss_ppm, duplicate_ppm, reorder_ppm, .. } = link;
            write!(f, "peer {index}, {role:?} over {over:?}, joins room {room} at {joins_ms} ms, behind nat {nat}, ")?;
            write!(f, "link {latency:?} + {jitter:?}, ppm lost {loss_ppm}, ")?;
            writeln!(f, "duplicated {duplicate_ppm}, re-ordered {reorder_ppm}")?;
        }
        self.troubles.iter().try_for_each(|(at, trouble)| writeln!(f, "at {at} ms: {trouble:?}"))
    }
}

impl Story {
    fn scenario(&self) -> Arc<Scenario> {
        let mut build = scenario(END_SECONDS);
        for (index, nat) in self.nats.iter().enumerate() {
            build = build.network((index == 1 && self.cascade).then_some(0), nat.clone());
        }
        for peer in &self.peers {
            build = build.peer((peer.nat < self.nats.len()).then_some(peer.nat));
            let actor = build.0.actors.last_mut().expect("just added");
            actor.link = peer.link;
            actor.room = format!("room-{}", peer.room);
            actor.joins = Some(Duration::from_millis(peer.joins_ms));
            actor.webrtc = self.webrtc;
            actor.plays = peer.role;
            actor.over = if peer.role == Role::User { peer.over } else { peer.role.framing() };
            if matches!(peer.role, Role::User | Role::Broadcast) {
                actor.room = format!("{:?}", peer.role);
            }
        }
        let mut scenario = build.0;
        scenario.server.heartbeat = HEARTBEAT;
        for (at, trouble) in &self.troubles {
            self.add(trouble, *at, &mut scenario.steps);
        }
        scenario.steps.push(step(CALM.as_millis() as u64, Action::World(WorldAction::Heal)));
        scenario.steps.sort_by_key(|step| step.at);
        if self.webrtc {
            let places: Vec<_> = (0..self.peers.len()).map(|actor| Place::of(&scenario, ActorIndex(actor))).collect();
            let apart =
                |&(a, b): &(usize, usize)| matches!(can_connect(&places[a], &places[b]), Verdict::NeedsRelay(_));
            let pairs = (0..places.len()).flat_map(|b| (0..b).map(move |a| (a, b)));
            scenario.expect.unconnected = pairs.filter(apart).map(|(a, b)| (ActorIndex(a), ActorIndex(b))).collect();
        }
        Arc::new(scenario)
    }

    fn add(&self, trouble: &Trouble, at: u64, steps: &mut Vec<Step>) {
        let who = |who: &usize| ActorIndex(who % self.peers.len());
        let machine = |a: &usize| Machine::Actor(who(a));
        let mut then = |ms: u64, action| steps.push(step(at + ms, action));
        match trouble {
            Trouble::Away { who: a, ms } => {
                then(0, Action::Actor(who(a), Command::Leave));
                then(*ms, Action::Join(who(a)));
            }
            Trouble::Gone { who: a } => then(0, Action::Actor(who(a), Command::Leave)),
            Trouble::Torn { who: a } => then(0, Action::Actor(who(a), Command::Drop)),
            Trouble::Power { who: a, ms } => {
                then(0, Action::Machine(machine(a), MachineAction::PowerLoss));
                then(*ms, Action::Machine(machine(a), MachineAction::Boot));
            }
            Trouble::Dead { who: a } => then(0, Action::Machine(machine(a), MachineAction::PowerLoss)),
            Trouble::NatReboot { nat, resets_tcp, new_address } => {
                let Some(nat) = nat.checked_rem(self.nats.len()) else { return };
                // What is behind a NAT has its old address in the carrier's network.
                let public = !(nat == 1 && self.cascade);
                let new_address =
                    (*new_address && public).then(|| Ipv4Addr::new(198, 51, 101 + nat as u8, (at % 250) as u8));
                let reboot = NatReboot { resets_tcp: *resets_tcp, new_address };
                then(0, Action::Network(NetworkIndex(nat), NetworkAction::Reboot(reboot)));
            }
            Trouble::Cut { from, to, server, one_way, ms } => {
                let mut sides = [from, to].map(|side| side.iter().map(machine).collect::<Vec<_>>());
                if *server {
                    sides[1].push(Machine::Server);
                }
                let [from, to] = sides;
                then(0, Action::World(WorldAction::Partition { from, to, one_way: *one_way }));
                then(*ms, Action::World(WorldAction::Heal));
            }
            Trouble::IceRestart { who: a, with } if who(a) != who(with) => {
                then(0, Action::Actor(who(a), Command::IceRestart(who(with))))
            }
            Trouble::Hangup { who: a, with } if who(a) != who(with) => {
                then(0, Action::Actor(who(a), Command::Hangup(who(with))))
            }
            Trouble::IceRestart { .. } | Trouble::Hangup { .. } => {}
            Trouble::Call { who: a, with } if who(a) != who(with) => {
                then(0, Action::Actor(who(a), Command::Call(who(with))))
            }
            Trouble::Call { .. } => {}
            Trouble::Accept { who: a } => then(0, Action::Actor(who(a), Command::Accept)),
            Trouble::Reject { who: a } => then(0, Action::Actor(who(a), Command::Reject)),
            Trouble::Mute { who: a } => then(0, Action::Actor(who(a), Command::Media(MediaKind::Audio, false))),
            Trouble::Say { who: a } => then(0, Action::Actor(who(a), Command::Say(format!("said at {at} ms")))),
            Trouble::ServerPower { ms } => {
                then(0, Action::Machine(Machine::Server, MachineAction::PowerLoss));
                then(*ms, Action::Machine(Machine::Server, MachineAction::Boot));
            }
            Trouble::ServerShutdown { ms } => {
                then(0, Action::World(WorldAction::Shutdown));
                then(*ms, Action::Machine(Machine::Server, MachineAction::Boot));
            }
        }
    }
}

fn step(at_ms: u64, action: Action) -> Step {
    Step { at: Duration::from_millis(at_ms), action, line: 1 }
}

/// Two to four real peers behind any NATs, over any links.
fn any_call() -> impl Strategy<Value = Story> {
    let troubles = prop::collection::vec((0..TROUBLE_MS, any_trouble(4, 8_000)), 0..6);
    let nats = prop::collection::vec(any_nat(), 0..4);
    let peers = prop::collection::vec(any_peer(any_link(), 1), 2..=4);
    (any::<u64>(), nats, any::<bool>(), peers, troubles).prop_map(|(seed, nats, cascade, peers, troubles)| Story {
        seed,
        webrtc: true,
        cascade: cascade && nats.len() > 1,
        nats,
        peers,
        troubles,
    })
}

/// Two to twelve peers that only signal, in up to three rooms, and a server that comes and goes.
fn any_crowd() -> impl Strategy<Value = Story> {
    let server = prop_oneof![
        (500..9_000u64).prop_map(|ms| Trouble::ServerPower { ms }),
        (500..9_000u64).prop_map(|ms| Trouble::ServerShutdown { ms }),
    ];
    let trouble = prop_oneof![6 => any_trouble(12, 9_000), 1 => server];
    let troubles = prop::collection::vec((0..TROUBLE_MS, trouble), 0..24);
    let nats = prop::collection::vec(any_nat(), 0..2);
    let peers = prop::collection::vec(any_peer(any_link(), 3), 2..=12);
    (any::<u64>(), nats, peers, troubles).prop_map(|(seed, nats, peers, troubles)| Story {
        seed,
        webrtc: false,
        cascade: false,
        nats,
        peers,
        troubles,
    })
}

/// Two to ten of any role that only signal, in up to two rooms, and a server that comes and goes. Users call a lot.
fn any_company() -> impl Strategy<Value = Story> {
    let who = || 0..10usize;
    let calling = prop_oneof![
        4 => (who(), who()).prop_map(|(who, with)| Trouble::Call { who, with }),
        2 => who().prop_map(|who| Trouble::Accept { who }),
        1 => who().prop_map(|who| Trouble::Reject { who }),
        1 => who().prop_map(|who| Trouble::Mute { who }),
        1 => (who(), who()).prop_map(|(who, with)| Trouble::Hangup { who, with }),
    ];
    let server = prop_oneof![
        (500..9_000u64).prop_map(|ms| Trouble::ServerPower { ms }),
        (500..9_000u64).prop_map(|ms| Trouble::ServerShutdown { ms }),
    ];
    let trouble = prop_oneof![8 => calling, 6 => any_trouble(10, 9_000), 1 => server];
    let troubles = prop::collection::vec((0..TROUBLE_MS, trouble), 0..40);
    let nats = prop::collection::vec(any_nat(), 0..2);
    let role =
        select(&[Role::Mesh, Role::Sender, Role::Viewer, Role::User, Role::User, Role::Relay, Role::Broadcast][..]);
    let over = select(&[Framing::WebSocket, Framing::SocketIo][..]);
    let peer = (any_peer(any_link(), 2), role, over).prop_map(|(peer, role, over)| Peer { role, over, ..peer });
    let peers = prop::collection::vec(peer, 2..=10);
    (any::<u64>(), nats, peers, troubles).prop_map(|(seed, nats, peers, troubles)| Story {
        seed,
        webrtc: false,
        cascade: false,
        nats,
        peers,
        troubles,
    })
}

fn any_peer(link: impl Strategy<Value = Link>, rooms: u8) -> impl Strategy<Value = Peer> {
    let (role, over) = (Role::Mesh, Framing::WebSocket);
    (0..4usize, link, 0..rooms, 0..20_000u64).prop_map(move |(nat, link, room, joins_ms)| Peer {
        nat,
        link,
        room,
        joins_ms,
        role,
        over,
    })
}

fn any_link() -> impl Strategy<Value = Link> {
    let bad = || prop_oneof![Just(0u32), 0..30_000u32];
    (1..80u64, prop_oneof![Just(0), 0..20u64], bad(), bad(), bad()).prop_map(
        |(latency, jitter, loss_ppm, duplicate_ppm, reorder_ppm)| Link {
            latency: Duration::from_millis(latency),
            jitter: Duration::from_millis(jitter),
            loss_ppm,
            duplicate_ppm,
            reorder_ppm,
            bandwidth_bps: None,
        },
    )
}

/// Any behaviour that keeps a mapping for as long as ICE's keep-alives, and lets UDP through or does not.
fn any_nat() -> impl Strategy<Value = NatBehavior> {
    let dependence = || select(&[EndpointIndependent, AddressDependent, AddressAndPortDependent][..]);
    let ports = select(
        &[PortAllocation::Preserve, PortAllocation::Sequential, PortAllocation::Random, PortAllocation::Block][..],
    );
    let hairpinning = select(&[Hairpinning::Off, Hairpinning::InternalSource, Hairpinning::ExternalSource][..]);
    let state = select(&[PerMapping, PerEndpoint][..]);
    (dependence(), dependence(), state, ports, hairpinning, 30..180u64, any::<bool>(), prop::bool::weighted(0.1))
        .prop_map(|(mapping, filtering, state, port_allocation, hairpinning, lifetime, inbound, udp_blocked)| {
            NatBehavior {
                port_allocation,
                hairpinning,
                udp_lifetime_new: Duration::from_secs(30),
                udp_lifetime: Duration::from_secs(lifetime),
                udp_inbound_refresh: inbound,
                udp_blocked,
                ..behavior(mapping, filtering, state)
            }
        })
}

fn any_trouble(peers: usize, longest_ms: u64) -> impl Strategy<Value = Trouble> {
    let who = move || 0..peers;
    let ms = move || 100..longest_ms;
    let some = move || prop::collection::vec(0..peers, 1..3);
    prop_oneof![
        (who(), ms()).prop_map(|(who, ms)| Trouble::Away { who, ms }),
        who().prop_map(|who| Trouble::Gone { who }),
        who().prop_map(|who| Trouble::Torn { who }),
        (who(), ms()).prop_map(|(who, ms)| Trouble::Power { who, ms }),
        who().prop_map(|who| Trouble::Dead { who }),
        (0..4usize, any::<bool>(), any::<bool>()).prop_map(|(nat, resets_tcp, new_address)| Trouble::NatReboot {
            nat,
            resets_tcp,
            new_address
        }),
        (some(), some(), any::<bool>(), any::<bool>(), ms()).prop_map(|(from, to, server, one_way, ms)| Trouble::Cut {
            from,
            to,
            server,
            one_way,
            ms
        }),
        (who(), who()).prop_map(|(who, with)| Trouble::IceRestart { who, with }),
        (who(), who()).prop_map(|(who, with)| Trouble::Hangup { who, with }),
        who().prop_map(|who| Trouble::Say { who }),
    ]
}
