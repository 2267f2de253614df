//! The server behind a proxy, over TCP or TLS.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, io};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::tungstenite;

/// The address of a server, and whether to connect over TLS.
#[derive(Clone)]
pub struct Upstream {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Upstream {
    /// A server over plain TCP. `host` is a name, or an address without brackets.
    pub fn new(host: &str, port: u16) -> Self {
        Self { host: host.to_owned(), port, tls: None }
    }

    /// Uses TLS instead; `config` determines which certificates are accepted.
    ///
    /// # Errors
    /// The host is not a valid name for a certificate.
    pub fn with_tls(mut self, config: Arc<ClientConfig>) -> Result<Self, ConnectError> {
        let name = ServerName::try_from(self.host.clone());
        let name = name.map_err(|_| ConnectError::Name(self.host.clone()))?;
        self.tls = Some((TlsConnector::from(config), name));
        Ok(self)
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// What was tried and how it failed.
    pub(super) async fn connect(&self) -> Result<Stream, ConnectError> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await;
        let tcp = tcp.map_err(|error| ConnectError::Tcp(self.host.clone(), self.port, error))?;
        // If this fails, the server only receives a client's messages later.
        let _ = tcp.set_nodelay(true);
        let Some((connector, name)) = &self.tls else { return Ok(Stream::Plain(tcp)) };
        let tls = connector.connect(name.clone(), tcp).await.map_err(ConnectError::TlsHandshake)?;
        Ok(Stream::Tls(Box::new(tls)))
    }
}

/// Why no connection to a server could be opened.
#[derive(Debug)]
pub enum ConnectError {
    /// This machine has no more threads or sockets.
    Machine(io::Error),
    /// The host is not a valid name for a certificate.
    Name(String),
    /// No TCP connection to this host and port could be opened.
    Tcp(String, u16, io::Error),
    /// TCP was accepted, but the TLS handshake failed.
    TlsHandshake(io::Error),
    /// The stream is open, but the WebSocket handshake on it failed.
    Upgrade(Box<tungstenite::Error>),
    /// Nothing arrived within this time.
    Silence(Duration),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine(error) => error.fmt(f),
            Self::Name(host) => write!(f, "TLS: `{host}` is not a valid server name"),
            Self::Tcp(host, port, error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                write!(f, "TCP to {host} port {port}: connection refused")
            }
            Self::Tcp(host, port, error) => write!(f, "TCP to {host} port {port}: {error}"),
            Self::TlsHandshake(error) => {
                let certificate = error.to_string().contains("certificate");
                let hint = if certificate { "; --insecure takes any certificate" } else { "" };
                write!(f, "TCP is accepted; the TLS handshake fails: {error}{hint}")
            }
            Self::Upgrade(error) => write!(f, "TCP is accepted; the WebSocket handshake fails: {error}"),
            Self::Silence(patience) => write!(f, "no response within {} s", patience.as_secs()),
        }
    }
}

impl std::error::Error for ConnectError {}

/// A connection to a server.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// The underlying TCP connection.
    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, out),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, out),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
