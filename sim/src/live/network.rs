//! This machine's sockets, for the clients that run on it.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use server::net::{Network, Tokio};
use tokio::task::JoinHandle;

/// The tasks of one actor, which stand for its machine. All actors share this machine's address.
#[derive(Clone, Debug, Default)]
pub(super) struct Loopback(Arc<Mutex<Vec<JoinHandle<()>>>>);

impl Loopback {
    pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::LOCALHOST;

    /// Ends all tasks at once, and returns when their sockets are closed.
    pub(super) async fn abort(&self) {
        let tasks = std::mem::take(&mut *self.0.lock().expect("no panic while held"));
        for task in tasks {
            task.abort();
            // The task is gone; it does not matter how it ended.
            let _ = task.await;
        }
    }
}

impl Network for Loopback {
    type Stream = <Tokio as Network>::Stream;
    type Listener = <Tokio as Network>::Listener;
    type Udp = <Tokio as Network>::Udp;

    async fn listen(&self, address: SocketAddr) -> io::Result<Self::Listener> {
        Tokio.listen(own(address)).await
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<Self::Stream> {
        Tokio.connect(address).await
    }

    async fn bind_udp(&self, address: SocketAddr) -> io::Result<Self::Udp> {
        Tokio.bind_udp(own(address)).await
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.0.lock().expect("no panic while held");
        tasks.retain(|task| !task.is_finished());
        tasks.push(tokio::spawn(task));
    }
}

/// The address to bind. On its own machine, a client binds the unspecified address; here it must bind the one that
/// becomes its candidate.
fn own(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Loopback::ADDRESS));
    }
    address
}
