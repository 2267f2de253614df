//! What a NAT does, found out by datagrams from both of its sides. The same probe runs in the simulated world and on a
//! kernel.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use scenarios::{ActorIndex, Machine, NatBehavior, Scenario};
use server::net::{Network, Udp};
use sim::event::NodeKind;
use sim::live::netns::Script;
use sim::world::{NetworkConfig, World};
use tokio::time::{sleep, timeout};

use crate::played::scenario;

/// The port that the inside binds.
const INSIDE: u16 = 45_000;
/// Two ports of the outside.
const OUTSIDE: [u16; 2] = [46_000, 46_001];
/// After this time a datagram counts as lost. All latencies together are far shorter.
const PATIENCE: Duration = Duration::from_millis(700);

/// The machines that a probe uses: two inside the NAT, and two on the internet.
pub(crate) struct Ends<N> {
    pub(crate) inside: [N; 2],
    pub(crate) outside: [N; 2],
    pub(crate) addresses: [Ipv4Addr; 2],
}

/// What the external port of a mapping is, compared with the internal port and with the port of another mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    /// The internal port.
    Internal,
    /// That of the socket's first mapping.
    First,
    /// Another one.
    Other,
    /// No datagram arrived.
    None,
}

/// What a probe finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Findings {
    /// The external ports of one socket, towards an address and port, another port there, and another address.
    pub(crate) ports: [Port; 3],
    /// Whether that socket, which has sent to the first address and port alone, hears them, another port there, and
    /// another address.
    pub(crate) hears: [bool; 3],
    /// The external port of another host's socket with the same internal port: towards the same address and port, and
    /// towards another address. Here [`Port::First`] is that of its own first mapping.
    pub(crate) second: [Port; 2],
    /// The port towards a peer whose datagram came first, before the inside sent to it.
    pub(crate) called_first: Port,
    /// Whether the inside hears the outside this many milliseconds after a question and its answer.
    pub(crate) after_answer: Vec<(u64, bool)>,
    /// The same after questions and answers for three seconds.
    pub(crate) after_stream: Vec<(u64, bool)>,
    /// The same after a question without an answer.
    pub(crate) after_question: Vec<(u64, bool)>,
}

/// The times after which the lifetimes are probed.
#[derive(Clone, Debug)]
pub(crate) struct Times {
    pub(crate) new: Vec<u64>,
    pub(crate) stream: Vec<u64>,
}

impl<N: Network> Ends<N> {
    /// Probes the NAT. Takes some seconds, virtual or real.
    pub(crate) async fn probe(&self, times: &Times) -> Findings {
        let [first, second] = self.addresses;
        let to = |address: Ipv4Addr, port: u16| SocketAddr::from((address, port));
        let listeners = [
            self.outside[0].bind_udp(any(OUTSIDE[0])).await.expect("a free port"),
            self.outside[0].bind_udp(any(OUTSIDE[1])).await.expect("a free port"),
            self.outside[1].bind_udp(any(OUTSIDE[0])).await.expect("a free port"),
        ];
        let targets = [to(first, OUTSIDE[0]), to(first, OUTSIDE[1]), to(second, OUTSIDE[0])];
        let socket = self.inside[0].bind_udp(any(INSIDE)).await.expect("a free port");

        // Filtering first, while the socket has sent to one target only.
        let mapped = send(&socket, &listeners[0], targets[0]).await;
        let mut hears = [false; 3];
        for (listener, hears) in listeners.iter().zip(&mut hears) {
            let Some(mapped) = mapped else { continue };
            *hears = arrives(listener, &socket, mapped).await;
        }
        let named = |mapped: Option<SocketAddr>, first: Option<SocketAddr>, internal: u16| match mapped {
            None => Port::None,
            Some(it) if it.port() == internal => Port::Internal,
            Some(it) if first.is_some_and(|first| first.port() == it.port()) => Port::First,
            Some(_) => Port::Other,
        };
        let mut ports = [named(mapped, None, INSIDE), Port::None, Port::None];
        for other in [1, 2] {
            ports[other] = named(send(&socket, &listeners[other], targets[other]).await, mapped, INSIDE);
        }
        let neighbour = self.inside[1].bind_udp(any(INSIDE)).await.expect("a free port");
        let far = self.outside[1].bind_udp(any(OUTSIDE[1])).await.expect("a free port");
        let mapped = send(&neighbour, &listeners[0], targets[0]).await;
        let far_mapped = send(&neighbour, &far, to(second, OUTSIDE[1])).await;
        let second = [named(mapped, None, INSIDE), named(far_mapped, mapped, INSIDE)];

        Findings {
            ports,
            hears,
            second,
            called_first: self.called_first().await,
            after_answer: self.lifetimes(&times.new, 47_000, Talk::Answer).await,
            after_stream: self.lifetimes(&times.stream, 48_000, Talk::Stream).await,
            after_question: self.lifetimes(&times.new, 49_000, Talk::Question).await,
        }
    }

    /// A peer sends to a mapping before the inside sends to the peer.
    async fn called_first(&self) -> Port {
        let port = INSIDE + 7;
        let socket = self.inside[0].bind_udp(any(port)).await.expect("a free port");
        let stun = self.outside[0].bind_udp(any(port)).await.expect("a free port");
        let peer = self.outside[1].bind_udp(any(port)).await.expect("a free port");
        let [first, second] = self.addresses.map(|address| SocketAddr::from((address, port)));
        let Some(mapped) = send(&socket, &stun, first).await else { return Port::None };
        let _ = arrives(&peer, &socket, mapped).await;
        match send(&socket, &peer, second).await {
            None => Port::None,
            Some(it) if it.port() == port => Port::Internal,
            Some(it) if it == mapped => Port::First,
            Some(_) => Port::Other,
        }
    }

    /// Whether a mapping still lets its remote in after each of these times, each asked of a new mapping.
    async fn lifetimes(&self, times: &[u64], port: u16, talk: Talk) -> Vec<(u64, bool)> {
        let mut mappings = Vec::new();
        for (index, time) in times.iter().enumerate() {
            let port = port + index as u16;
            let socket = self.inside[0].bind_udp(any(port)).await.expect("a free port");
            let remote = self.outside[0].bind_udp(any(port)).await.expect("a free port");
            let to = SocketAddr::from((self.addresses[0], port));
            mappings.push((*time, socket, remote, to));
        }
        let all = mappings.iter().map(|(time, socket, remote, to)| async move {
            let mut mapped = send(socket, remote, *to).await?;
            if talk != Talk::Question {
                assert!(arrives(remote, socket, mapped).await, "the answer to a question arrives");
            }
            let rounds = if talk == Talk::Stream { 6 } else { 0 };
            for _ in 0..rounds {
                sleep(Duration::from_millis(500)).await;
                mapped = send(socket, remote, *to).await?;
                assert!(arrives(remote, socket, mapped).await, "the answer to a question arrives");
            }
            sleep(Duration::from_millis(*time)).await;
            Some((*time, arrives(remote, socket, mapped).await))
        });
        futures_util::future::join_all(all).await.into_iter().flatten().collect()
    }
}

/// What is said before the silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Talk {
    Question,
    Answer,
    Stream,
}

fn any(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))
}

/// Sends a datagram from the inside. Returns the source that the outside sees.
async fn send<U: Udp>(from: &U, at: &U, to: SocketAddr) -> Option<SocketAddr> {
    // A network without a route is like one that loses everything.
    let _ = from.send_to(b"question", to).await;
    let mut buffer = [0; 64];
    let received = timeout(PATIENCE, at.recv_from(&mut buffer)).await.ok()?;
    Some(received.expect("the socket is open").1)
}

/// Whether a datagram from the outside to an external endpoint arrives at a socket inside.
async fn arrives<U: Udp>(from: &U, at: &U, to: SocketAddr) -> bool {
    let _ = from.send_to(b"answer", to).await;
    let mut buffer = [0; 64];
    timeout(PATIENCE, at.recv_from(&mut buffer)).await.is_ok()
}

fn home(nat: NatBehavior) -> Scenario {
    // Nobody joins: the probe uses the machines.
    scenario(60).home(nat).peer(0).peer(0).peer(None).peer(None).build()
}

/// Probes a NAT on this machine's kernel.
pub(crate) fn kernel(nat: NatBehavior, times: &Times) -> Findings {
    let scenario = Arc::new(home(nat));
    let machines = Script::of(&scenario).unwrap_or_else(|why| panic!("{why}")).machines().expect("namespaces");
    let place = |actor| machines.place(Machine::Actor(ActorIndex(actor)));
    let ends = Ends {
        inside: [place(0), place(1)],
        outside: [place(2), place(3)],
        addresses: [2, 3].map(|actor: usize| scenario.actors[actor].address),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(ends.probe(times))
}

/// Probes a simulated NAT.
pub(crate) fn simulated(nat: NatBehavior, times: &Times) -> Findings {
    let (scenario, times) = (home(nat), times.clone());
    let found = World::run(1, Duration::from_secs(600), move |world| async move {
        let realm = world.add_network(NetworkConfig::of(&scenario.networks[0], 0, None));
        let hosts = scenario.actors.iter().enumerate().map(|(index, actor)| {
            let kind = NodeKind::Machine(Machine::Actor(ActorIndex(index)));
            let inside = actor.network.map(|_| realm);
            world.boot(world.add_machine(&actor.name, kind, inside, actor.address, actor.link))
        });
        let [a, b, c, d] = hosts.collect::<Vec<_>>().try_into().ok().expect("four actors");
        let addresses = [2, 3].map(|actor: usize| scenario.actors[actor].address);
        Ends { inside: [a, b], outside: [c, d], addresses }.probe(&times).await
    });
    found.expect("no panic")
}
