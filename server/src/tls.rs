//! TLS for all HTTP addresses, and for STUN and TURN: rustls with ring.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, fs, io};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ServerSessionMemoryCache;
use tokio_rustls::TlsAcceptor;

use crate::lock::Lock;

/// A certificate chain and its key, for TLS 1.2 and 1.3 with ALPN `http/1.1`, or `stun.turn` (RFC 7443).
///
/// Clones share them, so [`reload`](Self::reload) on a clone renews the certificate of a running server.
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

struct Shared {
    /// The files of the certificate and the key; `None` if they came from elsewhere.
    files: Option<(PathBuf, PathBuf)>,
    /// For new connections. It is replaced as a whole, so that no TLS session of an old certificate is resumed.
    current: Lock<Acceptors>,
}

#[derive(Clone)]
struct Acceptors {
    http: TlsAcceptor,
    stun: TlsAcceptor,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Reads a certificate chain, with the server's own certificate first, and its private key, both PEM.
    ///
    /// # Errors
    /// A file cannot be used. The message names it and says what would be right.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let current = Lock::new(read_pair(certificate, key)?);
        Ok(Self(Arc::new(Shared { files: Some((certificate.to_owned(), key.to_owned())), current })))
    }

    /// The same from PEM text that is not in files.
    ///
    /// # Errors
    /// They cannot be used.
    pub fn of(certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let names = (Path::new("the given certificate"), Path::new("the given key"));
        let current = Lock::new(acceptors((certificate, names.0), (key, names.1))?);
        Ok(Self(Arc::new(Shared { files: None, current })))
    }

    /// Reads both files again, for new connections. Open connections do not change. Without files, nothing changes.
    ///
    /// # Errors
    /// A file cannot be used, as for [`load`](Self::load). New connections then get the same certificate as before.
    pub fn reload(&self) -> Result<(), TlsError> {
        let Shared { files, current } = &*self.0;
        let Some((certificate, key)) = files else { return Ok(()) };
        let renewed = read_pair(certificate, key)?;
        *current.lock() = renewed;
        Ok(())
    }

    /// Takes the certificate and the key that another has read, for new connections.
    pub(crate) fn renew(&self, other: &Self) {
        let renewed = other.0.current.lock().clone();
        *self.0.current.lock() = renewed;
    }

    /// Does the TLS handshake of a new connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.0.current.lock().http.clone()
    }

    /// The same for STUN and TURN.
    pub(crate) fn stun_acceptor(&self) -> TlsAcceptor {
        self.0.current.lock().stun.clone()
    }
}

fn read_pair(certificate: &Path, key: &Path) -> Result<Acceptors, TlsError> {
    let (certificate_pem, key_pem) = (read(certificate)?, read(key)?);
    acceptors((&certificate_pem, certificate), (&key_pem, key))
}

/// Takes the PEM text of a certificate chain and its key, each with its name for errors.
fn acceptors(
    (certificate_pem, certificate): (&[u8], &Path),
    (key_pem, key): (&[u8], &Path),
) -> Result<Acceptors, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate_pem).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or_else(|| TlsError::NoCertificate(certificate.to_owned()))?;
    let private = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| TlsError::NoKey(key.to_owned()))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has the cipher suites of TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(chain, private);
    let unusable = |error| TlsError::Unusable(certificate.to_owned(), key.to_owned(), error);
    let mut http = config.map_err(unusable)?;
    let mut stun = http.clone();
    http.alpn_protocols = vec![b"http/1.1".to_vec()];
    //= https://www.rfc-editor.org/rfc/rfc7443#section-3
    //# TURN: "stun.turn"
    //# NAT discovery usage of STUN: "stun.nat-discovery"
    stun.alpn_protocols = vec![b"stun.turn".to_vec(), b"stun.nat-discovery".to_vec()];
    // Its own, or a session of one could be resumed as the other.
    stun.session_storage = ServerSessionMemoryCache::new(256);
    Ok(Acceptors { http: Arc::new(http).into(), stun: Arc::new(stun).into() })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| TlsError::Read(path.to_owned(), error))
}

/// Why a certificate and a key cannot be used.
#[derive(Debug)]
pub enum TlsError {
    /// This file cannot be read.
    Read(PathBuf, io::Error),
    /// This file contains no certificate in PEM.
    NoCertificate(PathBuf),
    /// This file contains no private key in PEM.
    NoKey(PathBuf),
    /// TLS cannot serve the certificates and the key in these files.
    Unusable(PathBuf, PathBuf, rustls::Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => write!(f, "{} cannot be read: {error}", path.display()),
            Self::NoCertificate(path) => write!(
                f,
                "{} contains no certificate: it must be PEM text with `-----BEGIN CERTIFICATE-----`",
                path.display()
            ),
            Self::NoKey(path) => write!(
                f,
                "{} contains no private key: it must be PEM text with `-----BEGIN PRIVATE KEY-----`",
                path.display()
            ),
            Self::Unusable(certificate, key, rustls::Error::InconsistentKeys(_)) => {
                let (certificate, key) = (certificate.display(), key.display());
                write!(
                    f,
                    "the key in {key} does not match the first certificate in {certificate}: give a matching pair"
                )
            }
            Self::Unusable(certificate, key, error) => {
                let (certificate, key) = (certificate.display(), key.display());
                write!(f, "rustls cannot use the certificate in {certificate} with the key in {key}: {error}")
            }
        }
    }
}

impl std::error::Error for TlsError {}
