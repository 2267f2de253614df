//! The network interface of the server and the peers: TCP, UDP, and spawning tasks.
//!
//! Everything that touches a socket is generic over [`Network`], so the same code runs on tokio's sockets, under
//! classic `turmoil`, and on a simulated host. [`net_impl!`](crate::net_impl) generates the adapter for any module that
//! mirrors `tokio::net`.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncRead, AsyncWrite};

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

    /// Like [`recv_from`](Self::recv_from), and also returns the destination address of the datagram: `None` if the
    /// socket is bound to a single address, or if the host does not report it.
    ///
    /// # Errors
    /// As for [`recv_from`](Self::recv_from).
    fn recv_with_destination(
        &self,
        buffer: &mut [u8],
    ) -> impl Future<Output = io::Result<(usize, SocketAddr, Option<IpAddr>)>> + Send {
        async { self.recv_from(buffer).await.map(|(length, from)| (length, from, None)) }
    }

    /// Sends one datagram from an address that [`recv_with_destination`](Self::recv_with_destination) returned.
    ///
    /// # Errors
    /// As for [`send_to`](Self::send_to), or the address is no longer this host's.
    fn send_from(
        &self,
        datagram: &[u8],
        source: Option<IpAddr>,
        to: SocketAddr,
    ) -> impl Future<Output = io::Result<usize>> + Send {
        debug_assert_eq!(source, None, "this socket returns no destination");
        self.send_to(datagram, to)
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
    // `$udp` is the type of UDP sockets, made from that of `$net`, and `$own` declares it.
    ($name:ident, $($net:ident)::+, $udp:ty $(; $($own:item)*)?) => {
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

            $($($own)*)?
        };
    };
}

net_impl!(Tokio, tokio::net, TokioUdp);
