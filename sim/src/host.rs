//! A machine with power: it runs tasks and has sockets, until its power is lost.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use server::net::Network;
use tokio::task::AbortHandle;
use turmoil_net::HostId;

use crate::event::{MachineEvent, NodeId, What};
use crate::socket::{self, SimListener, SimStream, SimUdp};
use crate::world::{Machine, Shared, panic_message};

/// Finished tasks are forgotten when this many have gathered.
const HANDLES_KEPT: usize = 64;

/// Ephemeral ports with which a machine's TCP may begin. A kernel that always began with the same one would, after a loss of power, dial
/// from a port that the other side still holds a connection with.
const FIRST_PORTS: u32 = 256;

/// A machine from one boot to the next loss of power; clones are the same machine.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) world: Arc<Shared>,
    pub(crate) machine: Machine,
    kernel: HostId,
    /// The address by which the kernel knows itself.
    pub(crate) kernel_address: Ipv4Addr,
    pub(crate) address: Ipv4Addr,
    dead: AtomicBool,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl Host {
    pub(crate) fn new(world: Arc<Shared>, machine: Machine, kernel: HostId, kernel_address: Ipv4Addr) -> Self {
        let address = world.fabric().address(machine.host);
        let (dead, tasks) = (AtomicBool::new(false), Mutex::default());
        let first_port = world.fabric().draw(FIRST_PORTS);
        let host = Self(Arc::new(Inner { world, machine, kernel, kernel_address, address, dead, tasks }));
        socket::skip_ports(&host, first_port);
        host
    }

    /// The node whose events this machine's are.
    pub fn node(&self) -> NodeId {
        self.0.machine.node
    }

    /// Its address in its network.
    pub fn address(&self) -> Ipv4Addr {
        self.0.address
    }

    /// Loses power: all tasks end, and nothing leaves any more, not even a FIN.
    pub fn lose_power(&self) {
        if !self.is_dead() {
            self.0.world.recorder.write(self.node(), What::Machine(MachineEvent::PowerLost));
            self.switch_off();
        }
    }

    /// As a loss of power, but nobody takes note: the machine's program has ended before.
    pub(crate) fn switch_off(&self) {
        if self.0.dead.swap(true, Relaxed) {
            return;
        }
        self.0.world.fabric().power_off(self.0.machine.host);
        for task in self.0.tasks.lock().expect("no panic while held").drain(..) {
            task.abort();
        }
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    /// Makes this machine's kernel the one that turmoil-net's next call is for.
    pub(crate) fn enter(&self) {
        turmoil_net::set_current(self.0.kernel);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.0.dead.load(Relaxed)
    }
}

impl Network for Host {
    type Stream = SimStream;
    type Listener = SimListener;
    type Udp = SimUdp;

    async fn listen(&self, address: SocketAddr) -> io::Result<SimListener> {
        SimListener::bind(self.clone(), address).await
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<SimStream> {
        SimStream::connect(self.clone(), address).await
    }

    async fn bind_udp(&self, address: SocketAddr) -> io::Result<SimUdp> {
        SimUdp::bind(self.clone(), address)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if self.is_dead() {
            return;
        }
        self.0.world.tasks.fetch_add(1, Relaxed);
        let counted = Counted { world: self.0.world.clone(), task: Box::pin(task) };
        let handle = tokio::spawn(counted).abort_handle();
        let mut tasks = self.0.tasks.lock().expect("no panic while held");
        if tasks.len() >= HANDLES_KEPT && tasks.len().is_power_of_two() {
            tasks.retain(|task| !task.is_finished());
        }
        tasks.push(handle);
    }
}

/// A task that is counted while it lives.
struct Counted<F> {
    world: Arc<Shared>,
    task: Pin<Box<F>>,
}

impl<F: Future<Output = ()>> Future for Counted<F> {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.world.count_poll();
        // The runtime would keep a panic to itself.
        let polled = catch_unwind(AssertUnwindSafe(|| self.task.as_mut().poll(cx)));
        polled.unwrap_or_else(|panic| {
            self.world.panicked(panic_message(&*panic));
            Poll::Ready(())
        })
    }
}

impl<F> Drop for Counted<F> {
    fn drop(&mut self) {
        self.world.tasks.fetch_sub(1, Relaxed);
    }
}
