//! This machine's sockets, as every client has them that plays here.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use server::net::{Network, Tokio};

/// The machine that all clients share, by the address they share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loopback;

impl Loopback {
    pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::LOCALHOST;
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
        Tokio.spawn(task);
    }
}

/// A client that has a machine to itself binds any address, and tells others the one that it gets: a candidate.
fn own(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Loopback::ADDRESS));
    }
    address
}
