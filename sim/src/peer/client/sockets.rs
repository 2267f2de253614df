//! The UDP sockets of a client: one for each family of addresses that its machine has.

use std::io;
use std::net::SocketAddr;

use server::net::{Network, Udp};

use crate::peer::path::{Path, Transmit};

/// Size of the largest datagram that is read, bytes.
const DATAGRAM_BYTES_MAX: usize = 2048;

/// Which families of addresses a machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Families {
    /// IPv4.
    pub ipv4: bool,
    /// IPv6.
    pub ipv6: bool,
}

impl Families {
    /// IPv4 alone.
    pub const IPV4: Self = Self { ipv4: true, ipv6: false };
}

/// The sockets, each with its local address, which is a host candidate.
pub(super) struct Sockets<N: Network> {
    ipv4: Option<Socket<N>>,
    ipv6: Option<Socket<N>>,
}

struct Socket<N: Network> {
    udp: N::Udp,
    base: SocketAddr,
    buffer: Vec<u8>,
}

impl<N: Network> Sockets<N> {
    /// Binds the sockets.
    ///
    /// # Errors
    /// One cannot be bound.
    pub(super) async fn bind(net: &N, families: Families) -> io::Result<Self> {
        let ipv4 = if families.ipv4 { Some(Socket::bind(net, "0.0.0.0:0").await?) } else { None };
        let ipv6 = if families.ipv6 { Some(Socket::bind(net, "[::]:0").await?) } else { None };
        Ok(Self { ipv4, ipv6 })
    }

    /// Their local addresses. That of IPv6 comes first: a stack checks pairs in the order in which it learns of candidates.
    pub(super) fn bases(&self) -> Vec<SocketAddr> {
        self.ipv6.iter().chain(&self.ipv4).map(|socket| socket.base).collect()
    }

    /// Sends a datagram from the socket that is its base. One of a socket that was closed is dropped.
    pub(super) async fn send(&self, transmit: &Transmit) {
        let Transmit { path: Path { remote, base }, bytes } = transmit;
        if let Some(socket) = self.ipv4.iter().chain(&self.ipv6).find(|socket| socket.base == *base) {
            // A full or unreachable network loses datagrams. The stack is designed for that, so errors are ignored.
            let _ = socket.udp.send_to(bytes, *remote).await;
        }
    }

    /// Waits for a datagram.
    pub(super) async fn receive(&mut self) -> (Path, &[u8]) {
        let Self { ipv4, ipv6 } = self;
        tokio::select! { biased;
            received = Socket::receive(ipv4) => received,
            received = Socket::receive(ipv6) => received,
        }
    }
}

impl<N: Network> Socket<N> {
    async fn bind(net: &N, at: &str) -> io::Result<Self> {
        let udp = net.bind_udp(at.parse().expect("an address")).await?;
        Ok(Self { base: udp.local_addr()?, udp, buffer: vec![0; DATAGRAM_BYTES_MAX] })
    }

    /// Waits for a datagram; for ever if there is no socket.
    async fn receive(this: &mut Option<Self>) -> (Path, &[u8]) {
        let Some(Self { udp, base, buffer }) = this else { return std::future::pending().await };
        loop {
            if let Ok((length, remote)) = udp.recv_from(buffer).await {
                return (Path { remote, base: *base }, &buffer[..length]);
            }
        }
    }
}
