//! Real sockets, for the programs that run on this machine: on its loopback interface, or in a network namespace.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex};

use server::net::{Network, Tokio};
use tokio::task::JoinHandle;

use super::netns::Namespace;

/// The network as one machine of a scenario sees it, and the machine's tasks.
#[derive(Clone, Debug)]
pub struct Place {
    address: Ipv4Addr,
    /// Where its sockets are; `None` is the network of this process.
    namespace: Option<Namespace>,
    tasks: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Place {
    /// The address of all machines on the loopback interface.
    pub(super) const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

    /// A machine on the loopback interface.
    pub(super) fn loopback() -> Self {
        Self { address: Self::LOOPBACK, namespace: None, tasks: Arc::default() }
    }

    /// A machine that has a network namespace with this address.
    pub(super) fn within(namespace: Namespace, address: Ipv4Addr) -> Self {
        Self { address, namespace: Some(namespace), tasks: Arc::default() }
    }

    /// Ends all tasks at once, and returns when their sockets are closed.
    pub(super) async fn abort(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock().expect("no panic while held"));
        for task in tasks {
            task.abort();
            // The task is gone; it does not matter how it ended.
            let _ = task.await;
        }
    }

    /// The address to bind. On its own machine, a client binds the unspecified address; here it must bind the one that
    /// becomes its candidate.
    fn own(&self, mut address: SocketAddr) -> SocketAddr {
        if address.ip().is_unspecified() {
            address.set_ip(IpAddr::V4(self.address));
        }
        address
    }

    /// Runs what makes a socket in the namespace. The socket stays there.
    async fn make<T>(&self, future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let mut future = pin!(future);
        poll_fn(|cx| match &self.namespace {
            Some(namespace) => namespace.enter(|| future.as_mut().poll(cx))?,
            None => future.as_mut().poll(cx),
        })
        .await
    }
}

impl Network for Place {
    type Stream = <Tokio as Network>::Stream;
    type Listener = <Tokio as Network>::Listener;
    type Udp = <Tokio as Network>::Udp;

    async fn listen(&self, address: SocketAddr) -> io::Result<Self::Listener> {
        self.make(Tokio.listen(self.own(address))).await
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<Self::Stream> {
        self.make(Tokio.connect(address)).await
    }

    async fn bind_udp(&self, address: SocketAddr) -> io::Result<Self::Udp> {
        self.make(Tokio.bind_udp(self.own(address))).await
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().expect("no panic while held");
        tasks.retain(|task| !task.is_finished());
        tasks.push(tokio::spawn(task));
    }
}
