//! The sockets of a simulated machine, which implement [`Network`] for it.
//!
//! TCP comes from turmoil-net. A thread-local selects the kernel that a call is for, so every call, including those of
//! destructors, first enters the machine. Kernels send only when the world's loop collects their packets, so every call
//! that may send wakes the loop.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use server::net::{Listener, Network, Udp};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil_net::shim::tokio::net as kernel;

use crate::host::Host;

/// Number of bytes that each read requests from the kernel. The kernel reopens the window only after half its buffer
/// was read at once: with small reads the window would stay at zero for ever.
const READ_BYTES: usize = 64 * 1024;
/// The largest datagram payload that fits into an Ethernet frame. There is no fragmentation.
const DATAGRAM_BYTES_MAX: usize = 1500 - 20 - 8;

impl Network for Host {
    type Stream = SimStream;
    type Listener = SimListener;
    type Udp = SimUdp;

    async fn listen(&self, address: SocketAddr) -> io::Result<SimListener> {
        SimListener::bind(self.clone(), address).await
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
    /// `None` only during the drop.
    stream: Option<kernel::TcpStream>,
    /// Bytes read from the kernel. `unread` is the part that the program has not read yet.
    buffer: Box<[u8]>,
    unread: Range<usize>,
}

impl SimStream {
    fn new(host: Host, stream: kernel::TcpStream) -> Self {
        host.inner().world.streams.fetch_add(1, Relaxed);
        Self { host, stream: Some(stream), buffer: Box::default(), unread: 0..0 }
    }

    pub(crate) async fn connect(host: Host, address: SocketAddr) -> io::Result<Self> {
        let entered = Entered { host: host.clone(), future: Some(Box::pin(kernel::TcpStream::connect(address))) };
        Ok(Self::new(host, entered.await?))
    }

    /// Ends the connection at once with an RST.
    pub(crate) fn abort(self) {
        let inner = self.host.inner();
        self.host.enter();
        let ends = self.stream.as_ref().map(|stream| (stream.local_addr(), stream.peer_addr()));
        if let Some((Ok(SocketAddr::V4(local)), Ok(SocketAddr::V4(remote)))) = ends {
            inner.world.fabric().abort(inner.machine.host, inner.kernel.address, local.port(), remote);
        }
    }

    /// Runs an operation on the kernel's stream. On a machine without power it never completes.
    fn with_kernel<T>(&mut self, operation: impl FnOnce(Pin<&mut kernel::TcpStream>) -> Poll<T>) -> Poll<T> {
        if self.host.is_dead() {
            return Poll::Pending;
        }
        self.host.enter();
        let result = operation(Pin::new(self.stream.as_mut().expect("taken only by drop")));
        if result.is_ready() {
            self.host.inner().world.touch_tcp();
        }
        result
    }
}

impl AsyncRead for SimStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.unread.is_empty() {
            if this.buffer.is_empty() {
                this.buffer = vec![0; READ_BYTES].into();
            }
            let mut buffer = std::mem::take(&mut this.buffer);
            let mut chunk = ReadBuf::new(&mut buffer);
            let result = this.with_kernel(|stream| stream.poll_read(cx, &mut chunk));
            this.unread = 0..chunk.filled().len();
            this.buffer = buffer;
            ready!(result)?;
        }
        let n = this.unread.len().min(out.remaining());
        out.put_slice(&this.buffer[this.unread.start..this.unread.start + n]);
        this.unread.start += n;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.with_kernel(|stream| stream.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with_kernel(|stream| stream.poll_shutdown(cx))
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        let inner = self.host.inner();
        inner.world.streams.fetch_sub(1, Relaxed);
        self.host.enter();
        let Some(stream) = self.stream.take() else { return };
        let ends = (stream.local_addr(), stream.peer_addr());
        drop(stream);
        if let (Ok(SocketAddr::V4(local)), Ok(SocketAddr::V4(remote))) = ends {
            inner.world.fabric().closed(inner.kernel.address, local.port(), remote);
        }
        inner.world.touch_tcp();
    }
}

/// A future of turmoil-net that may send: it is polled and dropped with its machine entered.
struct Entered<F> {
    host: Host,
    future: Option<Pin<Box<F>>>,
}

impl<F: Future> Future for Entered<F> {
    type Output = F::Output;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if self.host.is_dead() {
            return Poll::Pending;
        }
        self.host.enter();
        let result = self.future.as_mut().expect("taken only by drop").as_mut().poll(cx);
        self.host.inner().world.touch_tcp();
        result
    }
}

impl<F> Drop for Entered<F> {
    fn drop(&mut self) {
        self.host.enter();
        self.future = None;
        self.host.inner().world.touch_tcp();
    }
}

/// A listening TCP socket.
pub struct SimListener {
    host: Host,
    listener: Option<kernel::TcpListener>,
}

impl SimListener {
    pub(crate) async fn bind(host: Host, address: SocketAddr) -> io::Result<Self> {
        host.enter();
        check_is_ours(&host, address)?;
        // The kernel knows its machine by a different address, so the listener binds to all addresses.
        let all = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
        let listener = kernel::TcpListener::bind(all).await?;
        Ok(Self { host, listener: Some(listener) })
    }
}

impl SimListener {
    pub(crate) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(SimStream, SocketAddr)>> {
        if self.host.is_dead() {
            return Poll::Pending;
        }
        self.host.enter();
        let (stream, from) = ready!(self.listener.as_ref().expect("taken only by drop").poll_accept(cx))?;
        Poll::Ready(Ok((SimStream::new(self.host.clone(), stream), from)))
    }

    /// What [`SimListener::bind`] does, which never waits.
    pub(crate) fn open(host: &Host, address: SocketAddr) -> io::Result<Self> {
        match pin!(Self::bind(host.clone(), address)).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(listener) => listener,
            Poll::Pending => unreachable!("a simulated bind is immediate"),
        }
    }
}

impl Listener for SimListener {
    type Stream = SimStream;

    async fn accept(&self) -> io::Result<(SimStream, SocketAddr)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.host.enter();
        let port = self.listener.as_ref().expect("taken only by drop").local_addr()?.port();
        Ok(SocketAddr::new(self.host.address().into(), port))
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        self.host.enter();
        self.listener = None;
        self.host.inner().world.touch_tcp();
    }
}

/// A UDP socket.
pub struct SimUdp {
    host: Host,
    port: u16,
}

impl SimUdp {
    pub(crate) fn bind(host: Host, address: SocketAddr) -> io::Result<Self> {
        check_is_ours(&host, address)?;
        let inner = host.inner();
        let mut fabric = inner.world.fabric();
        let mut port = address.port();
        loop {
            let candidate = if address.port() == 0 { fabric.ephemeral_port() } else { port };
            if fabric.udp(inner.machine.host).bind(candidate) {
                port = candidate;
                break;
            }
            if address.port() != 0 {
                return Err(io::ErrorKind::AddrInUse.into());
            }
        }
        drop(fabric);
        Ok(Self { host, port })
    }
}

impl SimUdp {
    /// Sends a datagram, which never waits.
    pub(crate) fn send(&self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        let SocketAddr::V4(to) = to else { return Err(io::ErrorKind::Unsupported.into()) };
        if datagram.len() > DATAGRAM_BYTES_MAX {
            return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
        }
        if !self.host.is_dead() {
            let inner = self.host.inner();
            inner.world.fabric().send_udp(inner.machine.host, self.port, to, datagram);
            inner.world.wake.notify_one();
        }
        Ok(datagram.len())
    }

    pub(crate) fn poll_receive(&self, cx: &mut Context<'_>) -> Poll<(SocketAddrV4, Bytes)> {
        if self.host.is_dead() {
            return Poll::Pending;
        }
        let inner = self.host.inner();
        inner.world.fabric().receive_udp(inner.machine.host, self.port, cx)
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
        Ok(SocketAddrV4::new(self.host.address(), self.port).into())
    }
}

impl Drop for SimUdp {
    fn drop(&mut self) {
        // After a loss of power the port may already belong to the machine's next life.
        if !self.host.is_dead() {
            let inner = self.host.inner();
            inner.world.fabric().udp(inner.machine.host).close(self.port);
        }
    }
}

/// Checks that the address to bind is the machine's own, or unspecified.
fn check_is_ours(host: &Host, address: SocketAddr) -> io::Result<()> {
    let ours = address.ip().is_unspecified() || address.ip() == IpAddr::V4(host.address());
    if ours { Ok(()) } else { Err(io::ErrorKind::AddrNotAvailable.into()) }
}
