//! One simulation: a thread, a paused runtime, a network, and the loop that moves time to the next event.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::net::Ipv4Addr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use scenarios::{Link, NatBehavior, NatReboot};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use turmoil_net::{KernelConfig, Net};

use crate::capture::KeyLog;
use crate::entropy;
use crate::event::{NodeId, NodeKind, Recorder};
use crate::fabric::{Fabric, HostIndex, RealmIndex, RouterIndex, Tap};
use crate::host::Host;

/// First address of the kernels. They never show: a packet bears its machine's address as soon as it leaves the kernel.
const KERNELS: u32 = u32::from_be_bytes([240, 0, 0, 1]);
/// Polls of the loop and of all tasks at one instant beyond which the simulation counts as hung.
const POLLS_AT_ONE_INSTANT_MAX: u32 = 1_000_000;

/// What all hosts of a simulation share.
pub(crate) struct Shared {
    fabric: Mutex<Fabric>,
    pub(crate) recorder: Recorder,
    /// Wakes the loop when something was sent.
    pub(crate) wake: Notify,
    /// Whether a kernel may have something to send.
    pub(crate) tcp_touched: AtomicBool,
    /// The message of a task's panic.
    panic: Mutex<Option<String>>,
    /// Polls of the loop and of all tasks since the loop last saw time move.
    polls: AtomicU32,
    pub(crate) tasks: AtomicUsize,
    pub(crate) streams: AtomicUsize,
}

impl Shared {
    pub(crate) fn fabric(&self) -> MutexGuard<'_, Fabric> {
        self.fabric.lock().expect("nobody panics while holding the fabric")
    }

    /// Counts a poll; tasks that wake each other for ever are seen by the loop, which they never let run.
    pub(crate) fn count_poll(&self) -> u32 {
        let polls = self.polls.fetch_add(1, Relaxed) + 1;
        if polls.is_multiple_of(POLLS_AT_ONE_INSTANT_MAX) {
            self.wake.notify_one();
        }
        polls
    }

    /// A task has panicked: the simulation ends.
    pub(crate) fn panicked(&self, message: String) {
        self.panic.lock().expect("no panic while held").get_or_insert(message);
        self.wake.notify_one();
    }

    /// Says that a kernel may have something to send.
    pub(crate) fn touch_tcp(&self) {
        self.tcp_touched.store(true, Relaxed);
        self.wake.notify_one();
    }
}

/// The network of a simulation and the machines in it.
#[derive(Clone)]
pub struct World(pub(crate) Arc<Shared>);

/// A private network behind a router.
#[derive(Clone, Copy, Debug)]
pub struct Realm {
    pub(crate) realm: RealmIndex,
    pub(crate) router: RouterIndex,
}

/// A machine: its place in the network, with or without power.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    pub(crate) host: HostIndex,
    pub(crate) node: NodeId,
}

impl World {
    /// Runs one simulation on a thread of its own and returns what `play` returns.
    ///
    /// `boots` is how many times a machine is given power, over all machines; `limit` is a virtual time that `play` does not reach
    /// unless it hangs.
    ///
    /// # Errors
    /// The panic of `play`, of a library, or of the loop when the simulation hangs.
    pub fn run<T, F>(
        seed: u64,
        boots: usize,
        limit: Duration,
        play: impl FnOnce(World) -> F + Send + 'static,
    ) -> std::thread::Result<T>
    where
        T: Send + 'static,
        F: Future<Output = T>,
    {
        entropy::sealed(seed, move || {
            // The kernels count passes, not time, until they retransmit: we keep every segment in order and lose none instead.
            let mut net = Net::with_config(KernelConfig::default().retx_threshold(u32::MAX).default_backlog(4096));
            let kernels =
                (0..boots as u32).map(|n| Ipv4Addr::from(KERNELS + n)).map(|a| (net.add_host(a), a)).collect();
            let guard = net.enter();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .expect("a runtime without I/O needs nothing from the system");
            // The kernels go with the fabric, which the world holds; sockets need them in their destructors.
            let (result, world) = runtime.block_on(async move {
                let recorder = Recorder::new(Instant::now());
                let world = World(Arc::new(Shared {
                    fabric: Mutex::new(Fabric::new(seed, recorder.clone(), guard, kernels)),
                    recorder,
                    wake: Notify::new(),
                    tcp_touched: AtomicBool::new(false),
                    panic: Mutex::default(),
                    polls: AtomicU32::new(0),
                    tasks: AtomicUsize::new(0),
                    streams: AtomicUsize::new(0),
                }));
                (world.drive(limit, play(world.clone())).await, world)
            });
            drop(runtime);
            drop(world);
            result
        })
    }

    /// Polls `play`, and moves packets whenever nobody else has anything to do.
    async fn drive<T>(&self, limit: Duration, play: impl Future<Output = T>) -> T {
        let start = Instant::now();
        // A set of one: it polls `play` when something has woken that, and not whenever a packet moves.
        let mut play = FuturesUnordered::from_iter([play]);
        let mut hang = pin!(sleep(limit));
        let mut timer = pin!(sleep(limit));
        let mut last = start;
        loop {
            let now = Instant::now();
            if now != last {
                self.0.polls.store(0, Relaxed);
                last = now;
            }
            assert!(self.0.polls.load(Relaxed) < POLLS_AT_ONE_INSTANT_MAX, "the simulation hangs at {:?}", now - start);
            if let Some(message) = self.0.panic.lock().expect("no panic while held").take() {
                panic!("a task panicked at {:?}: {message}", now - start);
            }
            entropy::set_wall_clock(now - start);
            let tcp_touched = self.0.tcp_touched.swap(false, Relaxed);
            let next = self.0.fabric().step(now - start, tcp_touched).map(|at| start + at);
            if let Some(next) = next
                && timer.deadline() != next
            {
                timer.as_mut().reset(next);
            }
            // It counts polls rather than turns, for a `play` that wakes itself makes no turn.
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

    /// The record of what happens.
    pub fn recorder(&self) -> &Recorder {
        &self.0.recorder
    }

    /// Keeps every packet from now on, for `captured`.
    pub fn capture(&self) {
        self.0.fabric().open_tap();
    }

    /// What was kept.
    pub(crate) fn captured(&self) -> Tap {
        self.0.fabric().close_tap()
    }

    /// Where secrets are noted, while packets are kept.
    pub(crate) fn key_log(&self) -> Option<KeyLog> {
        self.0.fabric().key_log()
    }

    /// Adds a private network behind a router with the given external addresses; with `nat` absent the router translates nothing.
    pub fn add_network(
        &self,
        name: &str,
        kind: NodeKind,
        behind: Option<Realm>,
        external: &[Ipv4Addr],
        nat: Option<NatBehavior>,
        link: Link,
    ) -> Realm {
        let node = self.0.recorder.node(name, kind);
        let (realm, router) = self.0.fabric().add_router(node, behind.map(|outer| outer.realm), external, nat, link);
        Realm { realm, router }
    }

    /// Adds a machine, without power, to a network; `None` is the internet.
    pub fn add_machine(
        &self,
        name: &str,
        kind: NodeKind,
        network: Option<Realm>,
        address: Ipv4Addr,
        link: Link,
    ) -> Machine {
        let node = self.0.recorder.node(name, kind);
        let host = self.0.fabric().add_host(node, network.map(|inner| inner.realm), address, link);
        Machine { host, node }
    }

    /// Gives a machine power.
    ///
    /// # Panics
    /// If machines boot more often than [`World::run`] was told.
    pub fn boot(&self, machine: Machine) -> Host {
        let (kernel, kernel_address) = self.0.fabric().power_on(machine.host);
        Host::new(self.0.clone(), machine, kernel, kernel_address)
    }

    /// Loses a NAT's mappings.
    pub fn reboot_nat(&self, network: Realm, reboot: NatReboot) {
        self.0.fabric().reboot_nat(network.router, reboot);
    }

    /// The node of a network's router.
    pub fn router_node(&self, network: Realm) -> NodeId {
        self.0.fabric().router_node(network.router)
    }

    /// Lets nothing pass from one set of machines to another. Datagrams are dropped, TCP segments held until [`World::heal`].
    pub fn partition(&self, from: Vec<NodeId>, to: Vec<NodeId>) {
        self.0.fabric().partition(from, to);
    }

    /// Ends all partitions.
    pub fn heal(&self) {
        self.0.fabric().heal();
        self.0.touch_tcp();
    }

    /// Changes a machine's link.
    pub fn set_machine_link(&self, machine: Machine, link: Link) {
        self.0.fabric().set_host_link(machine.host, link);
    }

    /// Changes the link of a network's router.
    pub fn set_network_link(&self, network: Realm, link: Link) {
        self.0.fabric().set_router_link(network.router, link);
    }

    /// Tasks that run, on all machines.
    pub fn tasks(&self) -> usize {
        self.0.tasks.load(Relaxed)
    }

    /// Sockets that are open, on all machines.
    pub fn sockets(&self) -> usize {
        self.0.streams.load(Relaxed) + self.0.fabric().udp_sockets()
    }

    /// Packets under way.
    pub fn packets_in_flight(&self) -> usize {
        self.0.fabric().packets_in_flight()
    }

    /// Waits, in virtual time, until `at` after the start.
    pub async fn until(&self, at: Duration) {
        let now = self.0.recorder.now();
        sleep_until(Instant::now() + at.saturating_sub(now)).await;
    }
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".to_owned())
}
