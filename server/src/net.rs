//! The network as the server and the peers see it: listen, connect, UDP, and a place to run tasks.
//!
//! Everything that touches a socket is generic over [`Network`], so the same code runs on tokio's sockets, under
//! classic `turmoil`, and on a simulated host. [`net_impl!`](crate::net_impl) writes the adapter for any module that mirrors
//! `tokio::net`.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};

/// One host's view of a network.
pub trait Network: Clone + Send + Sync + 'static {
    /// A TCP connection.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;
    /// A listening TCP socket.
    type Listener: Listener<Stream = Self::Stream>;
    /// A UDP socket.
    type Udp: Udp;

    /// Listens for TCP connections. Port 0 lets the host choose.
    ///
    /// # Errors
    /// The address is taken, or not this host's.
    fn listen(&self, address: SocketAddr) -> impl Future<Output = io::Result<Self::Listener>> + Send;

    /// Opens a TCP connection, without Nagle's delay.
    ///
    /// # Errors
    /// The other side refused or reset it. A host that is silent leaves this pending: set a deadline.
    fn connect(&self, address: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Binds a UDP socket. Port 0 lets the host choose.
    ///
    /// # Errors
    /// The address is taken, or not this host's.
    fn bind_udp(&self, address: SocketAddr) -> impl Future<Output = io::Result<Self::Udp>> + Send;

    /// Runs a task on this host; it dies with the host.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);
}

/// A listening TCP socket.
pub trait Listener: Send + Sync + 'static {
    /// What [`accept`](Self::accept) yields.
    type Stream;

    /// The next connection, without Nagle's delay, and the address it came from.
    ///
    /// # Errors
    /// As the operating system reports them; some concern one connection only, so go on accepting.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;

    /// Where it listens, with the port that was chosen.
    ///
    /// # Errors
    /// As the operating system reports them.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// A UDP socket.
pub trait Udp: Send + Sync + 'static {
    /// Sends one datagram.
    ///
    /// # Errors
    /// It is larger than the link carries, or as the operating system reports them.
    fn send_to(&self, datagram: &[u8], to: SocketAddr) -> impl Future<Output = io::Result<usize>> + Send;

    /// The next datagram's length, cut to the buffer's, and its source.
    ///
    /// # Errors
    /// As the operating system reports them; none of them ends the socket.
    fn recv_from(&self, buffer: &mut [u8]) -> impl Future<Output = io::Result<(usize, SocketAddr)>> + Send;

    /// Where it is bound, with the port that was chosen.
    ///
    /// # Errors
    /// As the operating system reports them.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// Writes a [`Network`] named `$name` over `$net`, a module with the types of `tokio::net`.
///
/// ```
/// server::net_impl!(Tokio, tokio::net);
/// ```
#[macro_export]
macro_rules! net_impl {
    ($name:ident, $($net:ident)::+) => {
        $crate::net_impl!($name, $($net)::+, |_| ());
    };
    // `$prepare` is called with each UDP socket that was bound.
    ($name:ident, $($net:ident)::+, $prepare:expr) => {
        #[doc = concat!("The network of `", stringify!($($net)::+), "`.")]
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $name;

        const _: () = {
            use std::{future::Future, io, net::SocketAddr};
            use $($net)::+ as imp;

            impl $crate::net::Network for $name {
                type Stream = imp::TcpStream;
                type Listener = Listener;
                type Udp = Udp;

                async fn listen(&self, address: SocketAddr) -> io::Result<Listener> {
                    imp::TcpListener::bind(address).await.map(Listener)
                }
                async fn connect(&self, address: SocketAddr) -> io::Result<imp::TcpStream> {
                    let stream = imp::TcpStream::connect(address).await?;
                    stream.set_nodelay(true)?;
                    Ok(stream)
                }
                async fn bind_udp(&self, address: SocketAddr) -> io::Result<Udp> {
                    let socket = imp::UdpSocket::bind(address).await?;
                    ($prepare)(&socket);
                    Ok(Udp(socket))
                }
                fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
                    tokio::spawn(task);
                }
            }

            pub struct Listener(imp::TcpListener);

            impl $crate::net::Listener for Listener {
                type Stream = imp::TcpStream;

                async fn accept(&self) -> io::Result<(imp::TcpStream, SocketAddr)> {
                    let (stream, from) = self.0.accept().await?;
                    stream.set_nodelay(true)?;
                    Ok((stream, from))
                }
                fn local_addr(&self) -> io::Result<SocketAddr> {
                    self.0.local_addr()
                }
            }

            pub struct Udp(imp::UdpSocket);

            impl $crate::net::Udp for Udp {
                async fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
                    self.0.send_to(datagram, to).await
                }
                async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
                    self.0.recv_from(buffer).await
                }
                fn local_addr(&self) -> io::Result<SocketAddr> {
                    self.0.local_addr()
                }
            }
        };
    };
}

net_impl!(Tokio, tokio::net, widen);

/// Room for what comes while a UDP socket's task is busy: Linux gives 208 KiB, which 92 datagrams of 1,000 bytes fill, as each
/// counts with its overhead. What the system allows of this is taken (`net.core.rmem_max`).
const RECEIVE_BUFFER_BYTES: usize = 4 * 1024 * 1024;

fn widen(socket: &tokio::net::UdpSocket) {
    if let Err(error) = socket2::SockRef::from(socket).set_recv_buffer_size(RECEIVE_BUFFER_BYTES) {
        tracing::debug!(%error, "failed to widen a UDP socket's buffer");
    }
}
