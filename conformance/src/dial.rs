//! The network as the suite sees it: something that connects to a host and port.

use std::future::Future;
use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Opens connections, on the real network or for a host in a simulation.
pub trait Dial: Clone + Send + Sync + 'static {
    /// A TCP connection.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Connects to `host`, a name or an address without brackets. Nagle's algorithm is off.
    ///
    /// # Errors
    /// The name does not resolve, or none of its addresses accepts. If the host is silent this stays pending: the suite
    /// sets the deadlines.
    fn dial(&self, host: &str, port: u16) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Runs a connection's task to its end, wherever this network's streams work.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }
}

/// The real network, through tokio.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tokio;

impl Dial for Tokio {
    type Stream = TcpStream;

    async fn dial(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// A type-erased stream, so that cases need not be generic.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The future that [`DynDial::dial_boxed`] returns.
pub(crate) type Dialing<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send + 'a>>;

/// A type-erased [`Dial`].
pub(crate) trait DynDial: Send + Sync {
    fn dial_boxed<'a>(&'a self, host: &'a str, port: u16) -> Dialing<'a>;
    fn spawn_boxed(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>);
}

impl<D: Dial> DynDial for D {
    fn dial_boxed<'a>(&'a self, host: &'a str, port: u16) -> Dialing<'a> {
        Box::pin(async move { Ok(Box::new(self.dial(host, port).await?) as Box<dyn Stream>) })
    }

    fn spawn_boxed(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.spawn(task);
    }
}
