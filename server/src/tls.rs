//! TLS for all HTTP addresses: rustls with ring.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// A certificate chain and its key, for TLS 1.2 and 1.3 with ALPN `http/1.1`.
#[derive(Clone)]
pub struct Tls(pub(crate) TlsAcceptor);

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
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, String> {
        let (certificate_pem, key_pem) = (read(certificate)?, read(key)?);
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certificate_pem).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| {
            format!(
                "{} contains no certificate: it must be PEM text with `-----BEGIN CERTIFICATE-----`",
                certificate.display()
            )
        })?;
        let private = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|_| {
            format!("{} contains no private key: it must be PEM text with `-----BEGIN PRIVATE KEY-----`", key.display())
        })?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the cipher suites of TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(chain, private);
        let mut config = config.map_err(|why| {
            let (certificate, key) = (certificate.display(), key.display());
            match why {
                rustls::Error::InconsistentKeys(_) => {
                    format!(
                        "the key in {key} does not match the first certificate in {certificate}: give a matching pair"
                    )
                }
                why => format!("rustls cannot use the certificate in {certificate} with the key in {key}: {why}"),
            }
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|why| format!("{} cannot be read: {why}", path.display()))
}
