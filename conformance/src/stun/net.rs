//! UDP as the suite sees it: sockets on fresh ports, on the real network or for a host in a simulation.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use tokio::net::UdpSocket;

use crate::dial::{Dial, Tokio};

/// A network that also has UDP.
pub trait Datagrams: Dial {
    /// A UDP socket.
    type Socket: Datagram;

    /// The addresses of a host, given as a name or an address without brackets.
    ///
    /// # Errors
    /// The name does not resolve.
    fn resolve(&self, host: &str, port: u16) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;

    /// The address of this machine that packets to `to` would come from. Nothing is sent.
    ///
    /// # Errors
    /// There is no route to it.
    fn source(&self, to: SocketAddr) -> impl Future<Output = io::Result<IpAddr>> + Send;

    /// Binds a socket to this address; port 0 means any free port.
    ///
    /// # Errors
    /// The address is not one of this machine's, or the port is taken.
    fn bind(&self, local: SocketAddr) -> impl Future<Output = io::Result<Self::Socket>> + Send;

    /// Another address of this machine, if one is known: the loopback network has many.
    fn another(&self, than: IpAddr) -> Option<IpAddr> {
        match than {
            IpAddr::V4(ip) if ip.is_loopback() => {
                Some(Ipv4Addr::new(127, 0, 0, if ip.octets()[3] == 3 { 4 } else { 3 }).into())
            }
            _ => None,
        }
    }
}

/// An unconnected UDP socket: it receives datagrams from any sender.
pub trait Datagram: Send + Sync + 'static {
    /// The local address it is bound to.
    ///
    /// # Errors
    /// The socket does not work.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Sends one datagram, or drops it if no buffer is free: cases retransmit.
    ///
    /// # Errors
    /// It cannot be sent at all, for example because there is no route or it is too long.
    fn send(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()>;

    /// Receives one datagram, truncated to the buffer.
    ///
    /// # Errors
    /// An error concerns the destination of an earlier datagram, not the socket.
    fn receive(&self, buffer: &mut [u8]) -> impl Future<Output = io::Result<(usize, SocketAddr)>> + Send;
}

impl Datagrams for Tokio {
    type Socket = UdpSocket;

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }

    async fn source(&self, to: SocketAddr) -> io::Result<IpAddr> {
        let socket = UdpSocket::bind(any(to)).await?;
        socket.connect(to).await?;
        Ok(socket.local_addr()?.ip())
    }

    async fn bind(&self, local: SocketAddr) -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind(local).await?;
        // The reactor has to see a new socket once before it counts as writable.
        socket.writable().await?;
        Ok(socket)
    }
}

impl Datagram for UdpSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    fn send(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        match self.try_send_to(bytes, to) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.recv_from(buffer).await
    }
}

fn any(like: SocketAddr) -> SocketAddr {
    let ip: IpAddr = if like.is_ipv4() { [0, 0, 0, 0].into() } else { [0; 16].into() };
    (ip, 0).into()
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// A type-erased [`Datagrams`].
pub(crate) trait DynDatagrams: Send + Sync {
    fn resolve_boxed<'a>(&'a self, host: &'a str, port: u16) -> Boxed<'a, Vec<SocketAddr>>;
    fn source_boxed(&self, to: SocketAddr) -> Boxed<'_, IpAddr>;
    fn bind_boxed(&self, local: SocketAddr) -> Boxed<'_, Arc<dyn DynDatagram>>;
    fn another(&self, than: IpAddr) -> Option<IpAddr>;
}

impl<N: Datagrams> DynDatagrams for N {
    fn resolve_boxed<'a>(&'a self, host: &'a str, port: u16) -> Boxed<'a, Vec<SocketAddr>> {
        Box::pin(self.resolve(host, port))
    }

    fn source_boxed(&self, to: SocketAddr) -> Boxed<'_, IpAddr> {
        Box::pin(self.source(to))
    }

    fn bind_boxed(&self, local: SocketAddr) -> Boxed<'_, Arc<dyn DynDatagram>> {
        Box::pin(async move { Ok(Arc::new(self.bind(local).await?) as Arc<dyn DynDatagram>) })
    }

    fn another(&self, than: IpAddr) -> Option<IpAddr> {
        Datagrams::another(self, than)
    }
}

/// A type-erased [`Datagram`].
pub(crate) trait DynDatagram: Send + Sync {
    fn local(&self) -> io::Result<SocketAddr>;
    fn send_now(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()>;
    fn receive_boxed<'a>(&'a self, buffer: &'a mut [u8]) -> Boxed<'a, (usize, SocketAddr)>;
}

impl<S: Datagram> DynDatagram for S {
    fn local(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }

    fn send_now(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        self.send(bytes, to)
    }

    fn receive_boxed<'a>(&'a self, buffer: &'a mut [u8]) -> Boxed<'a, (usize, SocketAddr)> {
        Box::pin(self.receive(buffer))
    }
}
