//! The network interface of the server and the peers: TCP, UDP, and spawning tasks.
//!
//! Everything that touches a socket is generic over [`Network`], so the same code runs on tokio's sockets, under
//! classic `turmoil`, and on a simulated host. [`net_impl!`](crate::net_impl) generates the adapter for any module that
//! mirrors `tokio::net`.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;

use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::unconstrained;

pub use crate::datagrams::{Batch, Borrowed, Buffers, Datagram, Outgoing, Received, Sent};
use crate::tokio_udp::TokioUdp;

/// One host's view of a network.
pub trait Network: Clone + Send + Sync + 'static {
    /// A TCP connection.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;
    /// A listening TCP socket.
    type Listener: Listener<Stream = Self::Stream>;
    /// A UDP socket.
    type Udp: Udp;

    /// Listens for TCP connections. With port 0 the host chooses a port.
    ///
    /// # Errors
    /// The address is taken, or not this host's.
    fn listen(&self, address: SocketAddr) -> impl Future<Output = io::Result<Self::Listener>> + Send;

    /// Opens a TCP connection, without Nagle's delay.
    ///
    /// # Errors
    /// The other side refused or reset it. If a host does not answer, this stays pending: use a timeout.
    fn connect(&self, address: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Binds a UDP socket. With port 0 the host chooses a port.
    ///
    /// # Errors
    /// The address is taken, or not this host's.
    fn bind_udp(&self, address: SocketAddr) -> impl Future<Output = io::Result<Self::Udp>> + Send;

    /// Binds UDP sockets to one address, among which the host distributes the datagrams by their source: `count` of them, or
    /// one where it cannot.
    ///
    /// # Errors
    /// As for [`bind_udp`](Self::bind_udp).
    fn bind_udp_several(
        &self,
        address: SocketAddr,
        count: usize,
    ) -> impl Future<Output = io::Result<Vec<Self::Udp>>> + Send {
        let _ = count;
        async move { Ok(vec![self.bind_udp(address).await?]) }
    }

    /// Runs a task on this host. It ends with the host.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);
}

/// A listening TCP socket.
pub trait Listener: Send + Sync + 'static {
    /// The type that [`accept`](Self::accept) returns.
    type Stream;

    /// The next connection, without Nagle's delay, and its remote address.
    ///
    /// # Errors
    /// As the operating system reports them. Some concern only one connection, so continue to accept.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;

    /// Its address, with the chosen port.
    ///
    /// # Errors
    /// As the operating system reports them.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// A UDP socket.
pub trait Udp: Send + Sync + 'static {
    /// Whether [`send_all`](Self::send_all) can forbid routers to fragment a datagram.
    const CAN_FORBID_FRAGMENTS: bool = false;

    /// Sends one datagram.
    ///
    /// # Errors
    /// The datagram is too large for the link, or as the operating system reports them.
    fn send_to(&self, datagram: &[u8], to: SocketAddr) -> impl Future<Output = io::Result<usize>> + Send;

    /// Receives a datagram, truncated to the buffer. Returns its length in the buffer and its source.
    ///
    /// # Errors
    /// As the operating system reports them. The socket stays usable.
    fn recv_from(&self, buffer: &mut [u8]) -> impl Future<Output = io::Result<(usize, SocketAddr)>> + Send;

    /// Receives what has arrived, at least one datagram, with its destination where the host reports it. A socket is read
    /// either by this or by [`recv_from`](Self::recv_from), not by both.
    ///
    /// # Errors
    /// As for [`recv_from`](Self::recv_from).
    fn receive<'b>(&self, buffers: &'b Buffers) -> impl Future<Output = io::Result<Borrowed<'b>>> + Send {
        async {
            let mut batch = buffers.take();
            let (length, from) = self.recv_from(batch.received.room()).await?;
            batch.received.arrived(length, from, None);
            Ok(batch)
        }
    }

    /// Sends several datagrams, in order, each from its source: an address at which this socket has received, or `None` if
    /// the host did not report one. Never waits: what the host does not take at once is not sent.
    fn send_all(&self, outgoing: &Outgoing) -> Sent {
        outgoing.send_each(|datagram, source, to| {
            debug_assert_eq!(source, None, "this socket reports no destination");
            // `unconstrained`, because a used-up task budget would look like a full socket.
            let sending = pin!(unconstrained(self.send_to(datagram, to)));
            sending.now_or_never().unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))
        })
    }

    /// Its address, with the chosen port.
    ///
    /// # Errors
    /// As the operating system reports them.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// Generates a [`Network`] named `$name` for `$net`, a module with the types of `tokio::net`.
///
/// ```
/// server::net_impl!(Tokio, tokio::net);
/// ```
#[macro_export]
macro_rules! net_impl {
    ($name:ident, $($net:ident)::+) => {
        $crate::net_impl!($name, $($net)::+, Udp;
            pub struct Udp(imp::UdpSocket);

            impl From<imp::UdpSocket> for Udp {
                fn from(socket: imp::UdpSocket) -> Self {
                    Self(socket)
                }
            }

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
        );
    };
    // `$udp` is the type of UDP sockets, made from that of `$net`, and `$own` declares it. `$more` replaces default methods.
    ($name:ident, $($net:ident)::+, $udp:ty $([$($more:tt)*])? $(; $($own:item)*)?) => {
        #[doc = concat!("The network of `", stringify!($($net)::+), "`.")]
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $name;

        const _: () = {
            use std::{future::Future, io, net::SocketAddr};
            use $($net)::+ as imp;

            impl $crate::net::Network for $name {
                type Stream = imp::TcpStream;
                type Listener = Listener;
                type Udp = $udp;

                async fn listen(&self, address: SocketAddr) -> io::Result<Listener> {
                    imp::TcpListener::bind(address).await.map(Listener)
                }
                async fn connect(&self, address: SocketAddr) -> io::Result<imp::TcpStream> {
                    let stream = imp::TcpStream::connect(address).await?;
                    stream.set_nodelay(true)?;
                    Ok(stream)
                }
                async fn bind_udp(&self, address: SocketAddr) -> io::Result<$udp> {
                    imp::UdpSocket::bind(address).await.map(<$udp>::from)
                }
                fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
                    tokio::spawn(task);
                }
                $($($more)*)?
            }

            pub struct Listener(imp::TcpListener);

            impl From<imp::TcpListener> for Listener {
                fn from(listener: imp::TcpListener) -> Self {
                    Self(listener)
                }
            }

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

            $($($own)*)?
        };
    };
}

net_impl!(Tokio, tokio::net, TokioUdp [
    async fn bind_udp_several(&self, address: SocketAddr, count: usize) -> io::Result<Vec<TokioUdp>> {
        if count == 1 { Ok(vec![self.bind_udp(address).await?]) } else { TokioUdp::bind_several(address, count) }
    }
]);
