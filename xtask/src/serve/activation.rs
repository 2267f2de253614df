//! Sockets that systemd has opened and passes on (`LISTEN_FDS`). The server takes one wherever its settings name the
//! address of one, and opens the others itself.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use listenfd::ListenFd;
use server::net::{Network, Tokio};
use tokio::net::TcpStream;

/// The network of this host, with the sockets of systemd.
#[derive(Clone, Default)]
pub(super) struct Activated(Arc<Mutex<Passed>>);

/// The sockets that the server has not taken yet.
#[derive(Default)]
struct Passed {
    tcp: Vec<(SocketAddr, TcpListener)>,
    udp: Vec<(SocketAddr, UdpSocket)>,
}

impl Activated {
    /// # Errors
    /// One of the sockets is neither a listening TCP nor a UDP socket.
    pub(super) fn from_systemd() -> anyhow::Result<Self> {
        let mut given = ListenFd::from_env();
        let mut passed = Passed::default();
        for index in 0..given.len() {
            // Each of them refuses a socket of another kind, and leaves it there.
            if let Ok(Some(listener)) = given.take_tcp_listener(index) {
                listener.set_nonblocking(true)?;
                passed.tcp.push((listener.local_addr()?, listener));
            } else if let Ok(Some(socket)) = given.take_udp_socket(index) {
                socket.set_nonblocking(true)?;
                passed.udp.push((socket.local_addr()?, socket));
            } else {
                bail!(
                    "socket {} from systemd is neither TCP nor UDP: write ListenStream= or ListenDatagram= with an IP address and a port",
                    index + 1
                );
            }
        }
        Ok(Self(Arc::new(Mutex::new(passed))))
    }

    /// # Errors
    /// A socket was passed for an address that no setting names: nobody would ever answer there.
    pub(super) fn check_that_all_are_used(&self) -> anyhow::Result<()> {
        let passed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tcp = passed.tcp.first().map(|(address, _)| format!("TCP {address}"));
        let left = tcp.or_else(|| passed.udp.first().map(|(address, _)| format!("UDP {address}")));
        left.map_or(Ok(()), |left| {
            Err(anyhow::anyhow!("no setting listens on {left}")).context(
                "a socket from systemd is not used: name its address in the settings, such as --host and --http-port, or remove it from the .socket unit",
            )
        })
    }
}

/// Takes the socket of an address.
fn take<S>(sockets: &mut Vec<(SocketAddr, S)>, address: SocketAddr) -> Option<S> {
    let at = sockets.iter().position(|(bound, _)| *bound == address)?;
    Some(sockets.remove(at).1)
}

impl Network for Activated {
    type Stream = TcpStream;
    type Listener = <Tokio as Network>::Listener;
    type Udp = <Tokio as Network>::Udp;

    async fn listen(&self, address: SocketAddr) -> io::Result<Self::Listener> {
        let passed = take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).tcp, address);
        match passed {
            Some(listener) => Ok(tokio::net::TcpListener::from_std(listener)?.into()),
            None => Tokio.listen(address).await,
        }
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        Tokio.connect(address).await
    }

    async fn bind_udp(&self, address: SocketAddr) -> io::Result<Self::Udp> {
        let passed = take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).udp, address);
        match passed {
            Some(socket) => Ok(tokio::net::UdpSocket::from_std(socket)?.into()),
            None => Tokio.bind_udp(address).await,
        }
    }

    async fn bind_udp_several(&self, address: SocketAddr, count: usize) -> io::Result<Vec<Self::Udp>> {
        // A socket of systemd is one reader, because it was opened without SO_REUSEPORT.
        let is_passed =
            self.0.lock().unwrap_or_else(PoisonError::into_inner).udp.iter().any(|(bound, _)| *bound == address);
        if is_passed { Ok(vec![self.bind_udp(address).await?]) } else { Tokio.bind_udp_several(address, count).await }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        Tokio.spawn(task);
    }
}
