//! One simulation: a thread, a paused runtime, a network, and the loop that advances time to the next event.
//!
//! What every simulation guarantees:
//!
//! - **One seed, one run.** The same seed and the same program give the same events, in every process, thread and build
//!   profile.
//! - **Time jumps.** The clock is virtual. It stands still while any task can run, then jumps to the next arrival or
//!   timer.
//! - **Whole milliseconds.** Every packet arrives at a whole millisecond, because tokio's timers have no finer
//!   resolution.
//! - **Ties are broken by age.** If two packets are due at the same instant, the one that was sent first arrives first.
//! - **TCP segments are never lost, duplicated or reordered.** A loss becomes the delay of a retransmission, a
//!   partition holds segments until their sender retransmits after it heals, and a NAT that has lost a mapping drops
//!   segments silently, answers with RST, or lets the connection go on when the inside sends. Datagrams have no such
//!   protection.
//! - **Power loss is total.** All tasks of the machine end at once, and it sends nothing more, not even a FIN.

use std::future::{Future, poll_fn};
use std::net::Ipv4Addr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use scenarios::{Addresses, Fate, Link, NatBehavior, NatReboot, Network, NetworkIndex, PacketKind};
use tokio::time::{Instant, sleep, sleep_until};

use crate::capture::{Capture, KeyLog};
use crate::entropy;
use crate::event::{NodeId, NodeKind, Recorder};
use crate::fabric::fates::{Name, Sent};
use crate::fabric::fault::{Fault, partition::Partition};
use crate::fabric::{Fabric, RealmIndex, RouterIndex, Tap};
use crate::host::Host;
pub use crate::host::Machine;
use crate::shared::{POLLS_AT_ONE_INSTANT_MAX, Shared};

/// The network of a simulation and the machines in it.
#[derive(Clone)]
pub struct World(Arc<Shared>);

/// A private network behind a router.
#[derive(Clone, Copy, Debug)]
pub struct Realm {
    realm: RealmIndex,
    router: RouterIndex,
}

/// What [`World::add_network`] adds: a private network behind a router.
#[derive(Clone, Debug)]
pub struct NetworkConfig<'a> {
    /// The router's name in the record.
    pub name: &'a str,
    /// What kind of node the router is in the record.
    pub kind: NodeKind,
    /// The network that the router is attached to; `None` means the internet.
    pub behind: Option<Realm>,
    /// The router's external addresses.
    pub external: &'a [Ipv4Addr],
    /// Its address inside, which hairpinning may show ([`scenarios::Hairpinning::RouterSource`]).
    pub inside: Ipv4Addr,
    /// Its NAT; `None` means that the router does not translate.
    pub nat: Option<NatBehavior>,
    /// Its link to the outer network.
    pub link: Link,
}

impl<'a> NetworkConfig<'a> {
    /// A network of a scenario, the one with this number. `behind` is as in [`NetworkConfig::behind`].
    #[must_use]
    pub fn of(network: &'a Network, number: usize, behind: Option<Realm>) -> Self {
        Self {
            name: &network.name,
            kind: NodeKind::Nat(NetworkIndex(number)),
            behind,
            external: &network.external,
            inside: network.gateway,
            nat: network.nat.clone(),
            link: network.link,
        }
    }
}

impl World {
    /// Runs one simulation on its own thread and returns the result of `play`.
    ///
    /// `limit` is a virtual time that `play` reaches only if it hangs.
    ///
    /// # Errors
    /// The payload of a panic: in `play`, in a task, or in the loop if the simulation hangs.
    pub fn run<T, F>(
        seed: u64,
        limit: Duration,
        play: impl FnOnce(World) -> F + Send + 'static,
    ) -> std::thread::Result<T>
    where
        T: Send + 'static,
        F: Future<Output = T>,
    {
        entropy::sealed(seed, move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .expect("a runtime without I/O needs nothing from the system");
            // The world outlives the runtime, because the destructors of sockets use it.
            let (result, world) = runtime.block_on(async move {
                let recorder = Recorder::new(Instant::now());
                let fabric = Fabric::new(seed, recorder.clone());
                let world = World(Arc::new(Shared::new(fabric, recorder)));
                (world.drive(limit, play(world.clone())).await, world)
            });
            drop(runtime);
            drop(world);
            result
        })
    }

    /// Polls `play`, and moves packets whenever no task is ready to run.
    async fn drive<T>(&self, limit: Duration, play: impl Future<Output = T>) -> T {
        let start = Instant::now();
        // A set with one future, so that `play` is polled only when it was woken, not whenever a packet moves.
        let mut play = FuturesUnordered::from_iter([play]);
        let mut hang = pin!(sleep(limit));
        let mut timer = pin!(sleep(limit));
        let mut last = start;
        loop {
            let now = Instant::now();
            if now != last {
                self.0.time_moved();
                last = now;
            }
            assert!(!self.0.hangs(), "the simulation hangs at {:?}", now - start);
            if let Some(message) = self.0.take_panic() {
                panic!("a task panicked at {:?}: {message}", now - start);
            }
            entropy::set_wall_clock(now - start);
            let next = self.0.fabric().step(now - start).map(|at| start + at);
            if let Some(next) = next
                && timer.deadline() != next
            {
                timer.as_mut().reset(next);
            }
            // Counts polls, not turns of this loop, because a `play` that keeps waking itself never completes a turn.
            let spinning = poll_fn(|_| match self.0.count_poll() {
                ..POLLS_AT_ONE_INSTANT_MAX => Poll::Pending,
                _ => Poll::Ready(()),
            });
            tokio::select! { biased;
                () = spinning => {}
                Some(result) = play.next() => return result,
                () = &mut hang => panic!("the simulation did not end within {limit:?} of virtual time"),
                () = self.0.wake.notified() => {}
                () = &mut timer, if next.is_some() => {}
            }
        }
    }

    /// The recorder that all events of this simulation go to.
    pub fn recorder(&self) -> &Recorder {
        &self.0.recorder
    }

    /// Starts to keep every packet, and the secrets of DTLS sessions.
    pub fn capture(&self) {
        self.0.fabric().open_tap();
        self.0.keep_keys();
    }

    /// What was kept since [`World::capture`]. The caller must add the names of the realms.
    pub(crate) fn captured(&self) -> Capture {
        let Tap { sightings, taken } = self.0.fabric().close_tap();
        Capture { realms: Vec::new(), sightings, taken, keys: self.key_log().unwrap_or_default() }
    }

    /// The log for the secrets of DTLS sessions, if they are kept.
    pub(crate) fn key_log(&self) -> Option<KeyLog> {
        self.0.key_log()
    }

    /// Decides the fate of a packet.
    pub(crate) fn decide(&self, packet: Name, fate: Fate) {
        self.0.fabric().fates().decide(packet, fate);
    }

    /// How many packets of a kind one machine has sent to another, if there are packets with a decided fate.
    pub(crate) fn packets_sent(&self, from: NodeId, to: NodeId, kind: PacketKind) -> u32 {
        self.0.fabric().fates().count(from, to, kind)
    }

    /// Names and keeps all packets from now on, with what chance does to them.
    pub(crate) fn keep_packets(&self) {
        self.0.fabric().fates().keep_all();
    }

    /// The packets that were kept.
    pub(crate) fn kept_packets(&self) -> Vec<Sent> {
        self.0.fabric().fates().take_sent()
    }

    /// Adds a private network behind a router.
    pub fn add_network(&self, network: NetworkConfig<'_>) -> Realm {
        let NetworkConfig { name, kind, behind, external, inside, nat, link } = network;
        let node = self.0.recorder.node(name, kind);
        let mut fabric = self.0.fabric();
        let (realm, router) = fabric.add_router(node, realm_of(behind), external, nat, link);
        fabric.set_inside(router, inside);
        Realm { realm, router }
    }

    /// Adds a machine, powered off, to a network; `None` means the internet.
    pub fn add_machine(
        &self,
        name: &str,
        kind: NodeKind,
        network: Option<Realm>,
        addresses: impl Into<Addresses>,
        link: Link,
    ) -> Machine {
        let node = self.0.recorder.node(name, kind);
        let mut fabric = self.0.fabric();
        if matches!(kind, NodeKind::Machine(scenarios::Machine::Server | scenarios::Machine::IceServer(_))) {
            fabric.watch(node);
        }
        let host = fabric.add_host(node, realm_of(network), addresses.into(), link);
        Machine { host, node }
    }

    /// Gives a network's router a firewall for IPv6, or takes it away.
    pub fn set_firewall(&self, network: Realm, behavior: Option<NatBehavior>) {
        self.0.fabric().set_firewall(network.router, behavior);
    }

    /// Moves a machine to another network, where it has other addresses and another link. What its sockets were bound at
    /// is gone: nothing is sent from there, and nobody is told.
    pub fn move_machine(&self, machine: Machine, network: Option<Realm>, addresses: Addresses, link: Link) {
        self.0.fabric().move_host(machine.host, realm_of(network), addresses, link);
    }

    /// The addresses of a machine where it is now.
    pub fn addresses(&self, machine: Machine) -> Addresses {
        self.0.fabric().addresses(machine.host)
    }

    /// Powers a machine on.
    pub fn boot(&self, machine: Machine) -> Host {
        Host::boot(self.0.clone(), machine)
    }

    /// Reboots a NAT, which loses its mappings. Returns the number of these mappings.
    pub fn reboot_nat(&self, network: Realm, reboot: NatReboot) -> usize {
        self.0.fabric().reboot_nat(network.router, reboot)
    }

    /// The node of a network's router.
    pub fn router_node(&self, network: Realm) -> NodeId {
        self.0.fabric().router_node(network.router)
    }

    /// Blocks all packets from one set of machines to another. Datagrams are dropped, TCP segments are held until their
    /// sender retransmits after [`World::heal`].
    pub fn partition(&self, from: Vec<NodeId>, to: Vec<NodeId>) {
        self.inject(Partition { from, to });
    }

    /// Applies a fault to every packet that reaches its receiver, until [`World::heal`]. Such a fault may only hold or
    /// drop packets.
    pub fn inject(&self, fault: impl Fault + 'static) {
        self.0.fabric().inject(Box::new(fault));
    }

    /// Ends all partitions and other injected faults. Datagrams that they held arrive now, TCP segments when their
    /// sender retransmits them: the pauses between retransmissions double, from 200 ms and a round trip on.
    pub fn heal(&self) {
        self.0.fabric().heal();
        self.0.wake.notify_one();
    }

    /// Makes every sender whose TCP segments are held retransmit at once.
    pub(crate) fn retransmit_now(&self) {
        self.0.fabric().retransmit_now();
        self.0.wake.notify_one();
    }

    /// Changes a machine's link.
    pub fn set_machine_link(&self, machine: Machine, link: Link) {
        self.0.fabric().set_host_link(machine.host, link);
    }

    /// Changes the link of a network's router.
    pub fn set_network_link(&self, network: Realm, link: Link) {
        self.0.fabric().set_router_link(network.router, link);
    }

    /// Number of running tasks, on all machines.
    pub fn tasks(&self) -> usize {
        self.0.tasks.load(Relaxed)
    }

    /// Number of open sockets, on all machines.
    pub fn sockets(&self) -> usize {
        self.0.streams.load(Relaxed) + self.0.fabric().udp_sockets()
    }

    /// Number of packets in flight.
    pub fn packets_in_flight(&self) -> usize {
        self.0.fabric().packets_in_flight()
    }

    /// Waits until the virtual time `at`, counted from the start.
    pub async fn until(&self, at: Duration) {
        let now = self.0.recorder.now();
        sleep_until(Instant::now() + at.saturating_sub(now)).await;
    }
}

fn realm_of(network: Option<Realm>) -> RealmIndex {
    network.map_or(RealmIndex::INTERNET, |network| network.realm)
}
