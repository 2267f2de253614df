//! Why a connection or an HTTP exchange failed.

use std::time::Duration;
use std::{fmt, io};

use tokio_rustls::rustls;
use tokio_tungstenite::tungstenite::http::StatusCode;

/// What was tried, and how it failed.
#[derive(Debug)]
pub(crate) enum TransportError {
    /// No TCP connection could be opened.
    Tcp { host: String, port: u16, cause: Cause },
    /// TLS cannot be used at all.
    Tls(TlsError),
    /// TCP was accepted, but the TLS handshake failed.
    TlsHandshake(Cause),
    /// The dialect produces an invalid URL.
    Url { url: String, why: String },
    /// The stream is open, but the WebSocket handshake on it failed.
    Upgrade { tls: bool, answer: UpgradeAnswer },
    /// An HTTP exchange failed.
    Http(HttpError),
    /// The request for an event stream got another response.
    NoEventStream { status: u16, content_type: String },
    /// The request for an event stream got no response.
    SilentEventStream,
    /// The user's adapter did not connect.
    Adapter(AdapterError),
    /// The task that was to open the connection ended.
    TaskEnded,
}

/// Why TLS cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsError {
    /// This system has no root certificates.
    NoRoots,
    /// The host in the URL is not a valid name for a certificate.
    Name(String),
    /// The TLS library rejected its settings.
    Library(String),
}

/// Why a step failed.
#[derive(Debug)]
pub(crate) enum Cause {
    Io(io::Error),
    /// Nothing arrived within this time.
    Silence(Duration),
}

/// What arrived instead of a WebSocket handshake.
#[derive(Debug)]
pub(crate) enum UpgradeAnswer {
    /// A status other than 101.
    Http(u16),
    /// The connection ended.
    Closed,
    Io(io::Error),
    /// Bytes that are not an HTTP response, or a response that breaks RFC 6455.
    Other(String),
    Silence(Duration),
}

/// Why an HTTP exchange failed.
#[derive(Debug)]
pub(crate) enum HttpError {
    Io(io::Error),
    /// The connection ended within the response.
    Truncated,
    NotHttp,
    EndlessHead,
    EndlessBody,
    /// The response was not complete in time.
    Late,
}

/// Why an adapter did not connect.
#[derive(Debug)]
pub(crate) enum AdapterError {
    /// The dialect names no adapter.
    Missing,
    Spawn {
        command: String,
        error: io::Error,
    },
    /// It ended without an answer.
    Ended,
    Silence(Duration),
    /// The reason that the adapter gave.
    Refused(String),
}

/// An I/O error in plain words.
struct Words<'a>(&'a io::Error);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.kind() {
            io::ErrorKind::ConnectionRefused => f.write_str("connection refused"),
            io::ErrorKind::ConnectionReset => f.write_str("connection reset"),
            _ => self.0.fmt(f),
        }
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, cause: Cause::Io(error) } => {
                write!(f, "TCP to {host} port {port}: {}", Words(error))
            }
            Self::Tcp { host, port, cause: Cause::Silence(patience) } => {
                write!(f, "TCP to {host} port {port}: no answer within {} s", patience.as_secs())
            }
            Self::Tls(error) => error.fmt(f),
            Self::TlsHandshake(Cause::Io(error)) => {
                let certificate = error.to_string().contains("certificate");
                let hint = if certificate { "; --insecure accepts any certificate" } else { "" };
                write!(f, "TCP is accepted; the TLS handshake fails: {}{hint}", Words(error))
            }
            Self::TlsHandshake(Cause::Silence(patience)) => {
                write!(f, "TCP is accepted; no answer to the TLS handshake within {} s", patience.as_secs())
            }
            Self::Url { url, why } => write!(f, "`{url}` is not a valid URL: {why}"),
            Self::Upgrade { tls, answer } => {
                let below = if *tls { "TLS" } else { "TCP" };
                write!(f, "{below} is accepted; to the WebSocket upgrade the server answers {answer}")
            }
            Self::Http(error) => error.fmt(f),
            Self::NoEventStream { status, content_type } => {
                write!(
                    f,
                    "GET is answered with HTTP {status} and the content type `{content_type}`, expected text/event-stream"
                )
            }
            Self::SilentEventStream => f.write_str("GET: no answer in time"),
            Self::Adapter(error) => error.fmt(f),
            Self::TaskEnded => f.write_str("the connection's task ended"),
        }
    }
}

impl fmt::Display for UpgradeAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(status) => match StatusCode::from_u16(*status) {
                Ok(status) => write!(f, "HTTP {status}"),
                Err(_) => write!(f, "HTTP {status}"),
            },
            Self::Closed => f.write_str("nothing and closes the connection"),
            Self::Io(error) => write!(f, "nothing: {}", Words(error)),
            Self::Other(error) => write!(f, "something else than a WebSocket handshake: {error}"),
            Self::Silence(patience) => write!(f, "nothing within {} s", patience.as_secs()),
        }
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => Words(error).fmt(f),
            Self::Truncated => f.write_str("the connection ended in the middle of the answer"),
            Self::NotHttp => f.write_str("the answer is not HTTP"),
            Self::EndlessHead => f.write_str("the head of the answer has no end"),
            Self::EndlessBody => f.write_str("the answer has no end"),
            Self::Late => f.write_str("no complete answer in time"),
        }
    }
}

impl fmt::Display for AdapterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("the dialect names no adapter"),
            Self::Spawn { command, error } => write!(f, "the adapter `{command}` does not start: {error}"),
            Self::Ended => f.write_str("the adapter ended; its standard error may give the reason"),
            Self::Silence(patience) => {
                write!(f, "the adapter did not report `connected` within {} s", patience.as_secs())
            }
            Self::Refused(why) => f.write_str(why),
        }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoots => f.write_str("TLS: this system has no root certificates; --insecure does not need any"),
            Self::Name(host) => write!(f, "TLS: `{host}` is not a server name"),
            Self::Library(why) => write!(f, "TLS: {why}"),
        }
    }
}

impl std::error::Error for TlsError {}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self::Library(error.to_string())
    }
}

impl From<HttpError> for TransportError {
    fn from(error: HttpError) -> Self {
        Self::Http(error)
    }
}

/// Why the response to a WebSocket handshake could not be read.
impl From<HttpError> for UpgradeAnswer {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Io(error) => Self::Io(error),
            HttpError::Truncated => Self::Closed,
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<AdapterError> for TransportError {
    fn from(error: AdapterError) -> Self {
        Self::Adapter(error)
    }
}

impl From<TlsError> for TransportError {
    fn from(error: TlsError) -> Self {
        Self::Tls(error)
    }
}
