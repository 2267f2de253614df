//! tokio's UDP socket. Bound to a wildcard address, it can answer from the address to which a datagram was sent.

use std::io;
use std::net::{IpAddr, SocketAddr};

#[cfg(target_os = "linux")]
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::net::Udp;
#[cfg(target_os = "linux")]
use crate::packet_info;

/// Size of a UDP socket's receive buffer, for datagrams that arrive while its task is busy. Linux's default of 208 KiB
/// holds only 92 datagrams of 1,000 bytes, because overhead counts. The system may grant less (`net.core.rmem_max`).
const RECEIVE_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// A UDP socket of this host.
pub struct TokioUdp {
    socket: UdpSocket,
    /// Whether the host reports the destination address of each datagram. Only for wildcard addresses, because it takes
    /// more time per datagram, and only on Linux: elsewhere the host chooses the source address of an answer.
    #[cfg(target_os = "linux")]
    has_destinations: bool,
}

impl From<UdpSocket> for TokioUdp {
    fn from(socket: UdpSocket) -> Self {
        if let Err(error) = socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER_BYTES) {
            tracing::debug!(%error, "failed to enlarge a UDP socket's receive buffer");
        }
        Self {
            #[cfg(target_os = "linux")]
            has_destinations: requests_destinations(&socket),
            socket,
        }
    }
}

#[cfg(target_os = "linux")]
fn requests_destinations(socket: &UdpSocket) -> bool {
    let Some(wildcard) = socket.local_addr().ok().filter(|address| address.ip().is_unspecified()) else { return false };
    let requested = packet_info::request(socket, wildcard.is_ipv4());
    if let Err(error) = &requested {
        tracing::warn!(%wildcard, %error, "failed to request the destination addresses of datagrams");
    }
    requested.is_ok()
}

impl Udp for TokioUdp {
    async fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.socket.send_to(datagram, to).await
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.recv_from(buffer).await
    }

    #[cfg(target_os = "linux")]
    async fn recv_with_destination(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr, Option<IpAddr>)> {
        if self.has_destinations {
            self.socket.async_io(Interest::READABLE, || packet_info::receive(&self.socket, buffer)).await
        } else {
            self.recv_from(buffer).await.map(|(length, from)| (length, from, None))
        }
    }

    #[cfg(target_os = "linux")]
    async fn send_from(&self, datagram: &[u8], source: Option<IpAddr>, to: SocketAddr) -> io::Result<usize> {
        match source {
            Some(source) => {
                self.socket.async_io(Interest::WRITABLE, || packet_info::send(&self.socket, datagram, source, to)).await
            }
            None => self.send_to(datagram, to).await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// The IP addresses of this host, by which it can be reached; none where they cannot be found out.
#[must_use]
pub fn host_addresses() -> Vec<IpAddr> {
    #[cfg(target_os = "linux")]
    let addresses = packet_info::interface_addresses();
    #[cfg(not(target_os = "linux"))]
    let addresses = Vec::new();
    addresses
}
