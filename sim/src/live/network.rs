//! This machine's sockets, as every client has them that plays here.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use server::net::{Network, Tokio};
use tokio::task::JoinHandle;

/// The part of this machine that stands for the machine of one actor: its tasks. All actors share one address.
#[derive(Clone, Debug, Default)]
pub(super) struct Loopback(Arc<Mutex<Vec<JoinHandle<()>>>>);

impl Loopback {
    pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::LOCALHOST;

    /// Ends all tasks at once, and returns when their sockets are closed.
    pub(super) async fn abort(&self) {
        let tasks = std::mem::take(&mut *self.0.lock().expect("no panic while held"));
        for task in tasks {
            task.abort();
            // It is gone, in whatever way: that is all that matters.
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

/// A client that has a machine to itself binds any address, and tells others the one that it gets: a candidate.
fn own(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Loopback::ADDRESS));
    }
    address
}
