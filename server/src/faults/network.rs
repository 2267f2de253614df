//! A network whose server sockets suffer faults.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use tokio::io::DuplexStream;

use super::datagrams::FaultyUdp;
use super::stream::{self, BUFFER_BYTES};
use super::{Faults, Service};
use crate::net::{Listener, Network, Udp};

/// A network with faults on what clients exchange with the server.
#[derive(Clone)]
pub struct FaultyNetwork<N> {
    net: N,
    faults: Faults,
    /// The address of STUN and TURN, as it is configured.
    stun: Option<SocketAddr>,
    /// The same with the port that the host chose.
    opened: Arc<OnceLock<SocketAddr>>,
}

impl<N: Network> FaultyNetwork<N> {
    /// `stun` is the address of STUN and TURN in the server's [`Config`](crate::Config).
    pub fn new(net: N, faults: Faults, stun: Option<SocketAddr>) -> Self {
        Self { net, faults, stun, opened: Arc::default() }
    }
}

impl<N: Network> Network for FaultyNetwork<N> {
    type Stream = DuplexStream;
    type Listener = FaultyListener<N>;
    type Udp = FaultyUdp<N::Udp>;

    async fn listen(&self, address: SocketAddr) -> io::Result<Self::Listener> {
        let listener = self.net.listen(address).await?;
        let is_turn = self.opened.get() == Some(&address);
        let service = if is_turn { Service::Turn } else { Service::Signaling };
        Ok(FaultyListener { net: self.net.clone(), listener, service, faults: self.faults.clone() })
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<Self::Stream> {
        let stream = self.net.connect(address).await?;
        let (ours, theirs) = tokio::io::duplex(BUFFER_BYTES);
        self.net.spawn(stream::pass(stream, theirs));
        Ok(ours)
    }

    async fn bind_udp(&self, address: SocketAddr) -> io::Result<Self::Udp> {
        let socket = self.net.bind_udp(address).await?;
        // All other sockets are those of relays.
        let is_turn = self.stun == Some(address);
        if is_turn && let Ok(opened) = socket.local_addr() {
            // A second attempt on another port may follow: the first listener is then closed again.
            let _ = self.opened.set(opened);
        }
        Ok(FaultyUdp::new(&self.net, socket, is_turn.then(|| self.faults.clone())))
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.net.spawn(task);
    }
}

/// A listening socket whose connections suffer faults.
pub struct FaultyListener<N: Network> {
    net: N,
    listener: N::Listener,
    service: Service,
    faults: Faults,
}

impl<N: Network> Listener for FaultyListener<N> {
    type Stream = DuplexStream;

    async fn accept(&self) -> io::Result<(DuplexStream, SocketAddr)> {
        let (stream, from) = self.listener.accept().await?;
        let (ours, theirs) = tokio::io::duplex(BUFFER_BYTES);
        self.net.spawn(stream::carry(stream, theirs, self.faults.clone(), self.service, from));
        Ok((ours, from))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
