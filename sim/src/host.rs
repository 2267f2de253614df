//! A machine that has power: it runs tasks and has sockets until it loses power.

use std::future::Future;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use scenarios::Addresses;
use tokio::task::AbortHandle;

use crate::event::{MachineEvent, NodeId, What};
use crate::fabric::{HostIndex, Life};
use crate::shared::Shared;

/// Number of task handles at which the handles of finished tasks are first removed.
const HANDLES_KEPT: usize = 64;

/// A machine's place in the network, with or without power.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    pub(crate) host: HostIndex,
    pub(crate) node: NodeId,
}

/// A machine during one life: from a boot to the next loss of power. All clones are the same machine.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) world: Arc<Shared>,
    pub(crate) machine: Machine,
    pub(crate) life: Life,
    dead: AtomicBool,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl Host {
    /// Powers a machine on. It has no state from an earlier life.
    pub(crate) fn boot(world: Arc<Shared>, machine: Machine) -> Self {
        let life = world.fabric().power_on(machine.host);
        world.recorder.write(machine.node, What::Machine(MachineEvent::Booted));
        let (dead, tasks) = (AtomicBool::new(false), Mutex::default());
        Self(Arc::new(Inner { world, machine, life, dead, tasks }))
    }

    /// Its node in the record.
    pub fn node(&self) -> NodeId {
        self.0.machine.node
    }

    /// Its address in its network: that of IPv4 if it has one.
    pub fn address(&self) -> IpAddr {
        self.addresses().all().next().expect("a machine has an address")
    }

    /// Its addresses in its network, which change when it moves.
    pub fn addresses(&self) -> Addresses {
        self.0.world.fabric().addresses(self.0.machine.host)
    }

    /// Cuts the power: all tasks end at once, and the machine sends nothing more, not even a FIN.
    pub fn lose_power(&self) {
        if !self.is_dead() {
            self.0.world.recorder.write(self.node(), What::Machine(MachineEvent::PowerLost));
            self.switch_off();
        }
    }

    /// Does what [`Host::lose_power`] does, without an event in the record: the machine's program had already ended.
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

    pub(crate) fn is_dead(&self) -> bool {
        self.0.dead.load(Relaxed)
    }

    /// Runs a task until it ends or the machine loses power.
    pub(crate) fn run_task(&self, task: impl Future<Output = ()> + Send + 'static) {
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

/// A task that is included in the world's count of tasks while it exists.
struct Counted<F> {
    world: Arc<Shared>,
    task: Pin<Box<F>>,
}

impl<F: Future<Output = ()>> Future for Counted<F> {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.world.count_poll();
        // The runtime would catch a panic and report it to nobody.
        let polled = catch_unwind(AssertUnwindSafe(|| self.task.as_mut().poll(cx)));
        polled.unwrap_or_else(|panic| {
            self.world.panicked(&*panic);
            Poll::Ready(())
        })
    }
}

impl<F> Drop for Counted<F> {
    fn drop(&mut self) {
        self.world.tasks.fetch_sub(1, Relaxed);
    }
}
