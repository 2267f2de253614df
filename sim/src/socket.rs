//! The sockets of a simulated machine, which implement [`Network`] for it.
//!
//! What a program writes to a connection is sent when the world's loop collects it, so every call that may send wakes the
//! loop.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use server::net::{Listener, Network, Udp};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::event::TransportAddress;
use crate::fabric::{ConnectionId, Life, Service, Tcp};
use crate::host::Host;

/// The largest datagram payload that fits into an Ethernet frame, with IPv4 and with IPv6. There is no fragmentation.
const DATAGRAM_BYTES_MAX: [usize; 2] = [1500 - 20 - 8, 1500 - 40 - 8];

impl Network for Host {
    type Stream = SimStream;
    type Listener = SimListener;
    type Udp = SimUdp;

    async fn listen(&self, address: SocketAddr) -> io::Result<SimListener> {
        SimListener::bind(self.clone(), address)
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<SimStream> {
        SimStream::connect(self.clone(), address).await
    }

    async fn bind_udp(&self, address: SocketAddr) -> io::Result<SimUdp> {
        SimUdp::bind(self.clone(), address)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.run_task(task);
    }
}

/// A TCP connection.
pub struct SimStream {
    host: Host,
    connection: ConnectionId,
    /// What was taken from the connection and the program has not read yet.
    unread: BytesMut,
}

impl SimStream {
    fn new(host: Host, connection: ConnectionId) -> Self {
        host.inner().world.streams.fetch_add(1, Relaxed);
        Self { host, connection, unread: BytesMut::new() }
    }

    pub(crate) async fn connect(host: Host, address: SocketAddr) -> io::Result<Self> {
        let dial = Dial::begin(host.clone(), address.into()).await?;
        poll_fn(|cx| dial.poll(cx)).await?;
        Ok(Self::new(host, dial.into_connection()))
    }

    /// Ends the connection at once with an RST.
    pub(crate) fn abort(self) {
        let inner = self.host.inner();
        inner.world.fabric().abort(inner.machine.host, inner.life, self.connection);
    }

    /// Runs an operation on the connection. On a machine without power it never completes.
    fn with_tcp<T>(&mut self, operation: impl FnOnce(&mut Tcp, Life, ConnectionId) -> Poll<T>) -> Poll<T> {
        if self.host.is_dead() {
            return Poll::Pending;
        }
        let inner = self.host.inner();
        let result = operation(inner.world.fabric().tcp(), inner.life, self.connection);
        if result.is_ready() {
            inner.world.wake.notify_one();
        }
        result
    }
}

impl AsyncRead for SimStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            self.unread = ready!(self.with_tcp(|tcp, life, connection| tcp.poll_read(life, connection, cx)))?;
        }
        let length = self.unread.len().min(out.remaining());
        out.put_slice(&self.unread.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.with_tcp(|tcp, life, connection| tcp.poll_write(life, connection, cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with_tcp(Tcp::shut_down)
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        let inner = self.host.inner();
        inner.world.streams.fetch_sub(1, Relaxed);
        inner.world.fabric().close_tcp(inner.life, self.connection);
        inner.world.wake.notify_one();
    }
}

/// A connection that is not established yet. If it is dropped, the connection is forgotten.
struct Dial {
    host: Host,
    connection: Option<ConnectionId>,
}

impl Dial {
    /// Begins to open a connection. On a machine without power it never does.
    async fn begin(host: Host, remote: TransportAddress) -> io::Result<Self> {
        if host.is_dead() {
            return std::future::pending().await;
        }
        let inner = host.inner();
        let from = host.addresses().to_reach(remote.ip()).ok_or(io::ErrorKind::NetworkUnreachable)?;
        let connection = Some(inner.world.fabric().tcp().connect(inner.life, from, remote)?);
        inner.world.wake.notify_one();
        Ok(Self { host, connection })
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (inner, connection) = (self.host.inner(), self.connection.expect("taken only at the end"));
        let result = inner.world.fabric().tcp().poll_established(inner.life, connection, cx);
        inner.world.wake.notify_one();
        result
    }

    fn into_connection(mut self) -> ConnectionId {
        self.connection.take().expect("taken only here")
    }
}

impl Drop for Dial {
    fn drop(&mut self) {
        let inner = self.host.inner();
        if let Some(connection) = self.connection {
            inner.world.fabric().close_tcp(inner.life, connection);
        }
        inner.world.wake.notify_one();
    }
}

/// A listening TCP socket.
pub struct SimListener {
    host: Host,
    local: TransportAddress,
}

impl SimListener {
    /// Listens at an address, which never waits.
    pub(crate) fn bind(host: Host, address: SocketAddr) -> io::Result<Self> {
        let ip = own_address(&host, address)?;
        let inner = host.inner();
        let service = Service::at(address.into());
        let port = inner.world.fabric().tcp().listen(inner.life, service)?;
        Ok(Self { host, local: TransportAddress::new(ip, port) })
    }

    pub(crate) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(SimStream, SocketAddr)>> {
        if self.host.is_dead() {
            return Poll::Pending;
        }
        let inner = self.host.inner();
        let accepted = inner.world.fabric().tcp().poll_accept(inner.life, Service::at(self.local), cx);
        let (connection, from) = ready!(accepted);
        Poll::Ready(Ok((SimStream::new(self.host.clone(), connection), from.into())))
    }
}

impl Listener for SimListener {
    type Stream = SimStream;

    async fn accept(&self) -> io::Result<(SimStream, SocketAddr)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local.into())
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        let inner = self.host.inner();
        inner.world.fabric().tcp().stop_listening(inner.life, Service::at(self.local));
        inner.world.wake.notify_one();
    }
}

/// A UDP socket. It keeps the address that it was bound at: if its machine moves, it sends and receives nothing more.
pub struct SimUdp {
    host: Host,
    local: TransportAddress,
}

impl SimUdp {
    pub(crate) fn bind(host: Host, address: SocketAddr) -> io::Result<Self> {
        let ip = own_address(&host, address)?;
        let inner = host.inner();
        let mut fabric = inner.world.fabric();
        let local = loop {
            let port = if address.port() == 0 { fabric.ephemeral_port() } else { address.port() };
            let candidate = TransportAddress::new(ip, port);
            if fabric.udp(inner.machine.host).bind(candidate) {
                break candidate;
            }
            if address.port() != 0 {
                return Err(io::ErrorKind::AddrInUse.into());
            }
        };
        drop(fabric);
        Ok(Self { host, local })
    }
}

impl SimUdp {
    /// Sends a datagram, which never waits.
    pub(crate) fn send(&self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        if to.is_ipv6() != self.local.is_ipv6() {
            return Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT));
        }
        if datagram.len() > DATAGRAM_BYTES_MAX[usize::from(to.is_ipv6())] {
            return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
        }
        if !self.host.is_dead() {
            let inner = self.host.inner();
            inner.world.fabric().send_udp(inner.machine.host, self.local, to.into(), datagram);
            inner.world.wake.notify_one();
        }
        Ok(datagram.len())
    }

    pub(crate) fn poll_receive(&self, cx: &mut Context<'_>) -> Poll<(TransportAddress, Bytes)> {
        if self.host.is_dead() {
            return Poll::Pending;
        }
        let inner = self.host.inner();
        inner.world.fabric().receive_udp(inner.machine.host, self.local, cx)
    }
}

impl Udp for SimUdp {
    async fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.send(datagram, to)
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (from, datagram) = poll_fn(|cx| self.poll_receive(cx)).await;
        let n = datagram.len().min(buffer.len());
        buffer[..n].copy_from_slice(&datagram[..n]);
        Ok((n, from.into()))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local.into())
    }
}

impl Drop for SimUdp {
    fn drop(&mut self) {
        // After a loss of power the port may already belong to the machine's next life.
        if !self.host.is_dead() {
            let inner = self.host.inner();
            inner.world.fabric().udp(inner.machine.host).close(self.local);
        }
    }
}

/// The address of the machine to which a socket is bound. The unspecified address stands for that of its family: a
/// socket has one family, as with `IPV6_V6ONLY`.
fn own_address(host: &Host, address: SocketAddr) -> io::Result<IpAddr> {
    let addresses = host.addresses();
    let own = addresses.to_reach(address.ip()).filter(|own| address.ip().is_unspecified() || *own == address.ip());
    own.ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}
