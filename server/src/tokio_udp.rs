//! tokio's UDP socket. Bound to a wildcard address, it can answer from the address to which a datagram was sent. On Linux
//! it receives and sends several datagrams with one system call.

use std::io;
use std::net::{IpAddr, SocketAddr};
#[cfg(target_os = "linux")]
use std::sync::OnceLock;
#[cfg(target_os = "linux")]
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use socket2::{Domain, SockRef, Socket, Type};
#[cfg(target_os = "linux")]
use tokio::io::Interest;
use tokio::net::UdpSocket;
#[cfg(target_os = "linux")]
use tokio::task::coop::consume_budget;

#[cfg(target_os = "linux")]
use crate::datagrams::{Borrowed, Buffers, RECEIVED_MAX};
use crate::datagrams::{Outgoing, Sent};
use crate::net::Udp;
#[cfg(target_os = "linux")]
use crate::udp_calls;

/// Size of a UDP socket's receive buffer, for datagrams that arrive while its task is busy. Linux's default of 208 KiB
/// holds only 92 datagrams of 1,000 bytes, because overhead counts. The system may grant less (`net.core.rmem_max`).
const RECEIVE_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// How many arrivals one call takes at least.
#[cfg(target_os = "linux")]
const RECEIVED_MIN: usize = 4;

/// A UDP socket of this host.
pub struct TokioUdp {
    socket: UdpSocket,
    /// Whether the network can split a message into several datagrams.
    #[cfg(target_os = "linux")]
    can_split: AtomicBool,
    /// How many arrivals the last call took: the next one prepares for twice as many. 0 before the first one.
    #[cfg(target_os = "linux")]
    recent: AtomicUsize,
}

impl From<UdpSocket> for TokioUdp {
    fn from(socket: UdpSocket) -> Self {
        if let Err(error) = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER_BYTES) {
            tracing::debug!(%error, "failed to enlarge a UDP socket's receive buffer");
        }
        #[cfg(target_os = "linux")]
        {
            // Only for wildcard addresses, because it takes more time per datagram. On other systems the host chooses the
            // source address of an answer.
            if let Some(wildcard) = socket.local_addr().ok().filter(|address| address.ip().is_unspecified())
                && let Err(error) = udp_calls::request_destinations(&socket, wildcard.is_ipv4())
            {
                tracing::warn!(%wildcard, %error, "failed to request the destination addresses of datagrams");
            }
            static CAN_SPLIT: OnceLock<bool> = OnceLock::new();
            let can_split = *CAN_SPLIT.get_or_init(|| udp_calls::can_split(&socket));
            Self { socket, can_split: AtomicBool::new(can_split), recent: AtomicUsize::new(0) }
        }
        #[cfg(not(target_os = "linux"))]
        Self { socket }
    }
}

impl TokioUdp {
    /// Binds several sockets to one address, among which the host distributes the datagrams by their source.
    pub(crate) fn bind_several(address: SocketAddr, count: usize) -> io::Result<Vec<Self>> {
        let mut sockets: Vec<Self> = Vec::new();
        for _ in 0..count {
            let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
            #[cfg(unix)]
            socket.set_reuse_port(true)?;
            socket.set_nonblocking(true)?;
            // Port 0: the others get the one that the first has got.
            let address = sockets.first().map_or(Ok(address), Udp::local_addr)?;
            socket.bind(&address.into())?;
            sockets.push(UdpSocket::from_std(socket.into())?.into());
        }
        Ok(sockets)
    }
}

impl Udp for TokioUdp {
    const CAN_FORBID_FRAGMENTS: bool = cfg!(target_os = "linux");

    async fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.socket.send_to(datagram, to).await
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.recv_from(buffer).await
    }

    #[cfg(target_os = "linux")]
    async fn receive<'b>(&self, buffers: &'b Buffers) -> io::Result<Borrowed<'b>> {
        if self.recent.load(Relaxed) == 0
            && let Err(error) = udp_calls::allow_joining(&self.socket)
        {
            tracing::debug!(%error, "failed to let the network join datagrams");
        }
        loop {
            self.socket.readable().await?;
            let mut batch = buffers.take();
            let room = (self.recent.load(Relaxed) * 2).clamp(RECEIVED_MIN, RECEIVED_MAX);
            let tried = self.socket.try_io(Interest::READABLE, || {
                let count = udp_calls::receive(&self.socket, room, &mut batch.received)?;
                self.recent.store(count, Relaxed);
                // Fewer than there was room for: the socket is empty, which the next call need not find out again.
                if count < room { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            if !batch.received.is_empty() {
                // As much of the task's share as one by one, so that other tasks wait no longer.
                for _ in 0..batch.received.datagrams().count() {
                    consume_budget().await;
                }
                return Ok(batch);
            }
            match tried {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
    }

    #[cfg(target_os = "linux")]
    fn send_all(&self, outgoing: &Outgoing) -> Sent {
        udp_calls::send(&self.socket, outgoing, &self.can_split)
    }

    #[cfg(not(target_os = "linux"))]
    fn send_all(&self, outgoing: &Outgoing) -> Sent {
        // Not by tokio, which does not know a new socket as writable yet.
        let socket = SockRef::from(&self.socket);
        outgoing.send_each(|data, _, to| socket.send_to(data, &to.into()))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// The IP addresses of this host, by which it can be reached; none where they cannot be found out.
#[must_use]
pub fn host_addresses() -> Vec<IpAddr> {
    #[cfg(target_os = "linux")]
    let addresses = udp_calls::interface_addresses();
    #[cfg(not(target_os = "linux"))]
    let addresses = Vec::new();
    addresses
}
