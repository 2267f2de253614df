//! The network as the suite sees it: something that connects to a host and a port.

use std::future::Future;
use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Opens connections: on the real network, or for a host of a simulation.
pub trait Dial: Clone + Send + Sync + 'static {
    /// A TCP connection.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Connects to `host`, a name or an address without brackets, without Nagle's delay.
    ///
    /// # Errors
    /// The name does not resolve, or no address of it accepts. A silent host leaves this pending: the suite sets deadlines.
    fn dial(&self, host: &str, port: u16) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Runs a connection's task until it ends, where this network's streams work.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }
}

/// The real network, by tokio.
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

/// A stream whose type is forgotten, so that cases need not be generic.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// What [`DynDial::dial_boxed`] promises.
pub(crate) type Dialing<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send + 'a>>;

/// [`Dial`] whose type is forgotten.
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
