//! TLS for every HTTP-speaking address: rustls, with ring as its only crypto.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// A certificate chain and its key, ready to serve TLS 1.2 and 1.3 with ALPN `http/1.1`.
#[derive(Clone)]
pub struct Tls(pub(crate) TlsAcceptor);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Reads a chain of certificates, the server's own first, and the private key of the first, both PEM.
    ///
    /// # Errors
    /// A sentence that names the file and what would be right.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, String> {
        let (certificate_pem, key_pem) = (read(certificate)?, read(key)?);
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certificate_pem).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| {
            format!(
                "{} holds no certificate: PEM text with `-----BEGIN CERTIFICATE-----` is right",
                certificate.display()
            )
        })?;
        let private = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|_| {
            format!("{} holds no private key: PEM text with `-----BEGIN PRIVATE KEY-----` is right", key.display())
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
                    format!("the key in {key} is not that of the first certificate in {certificate}: name a pair")
                }
                why => format!("{certificate} and {key} are no certificate and key that rustls can serve: {why}"),
            }
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|why| format!("{} cannot be read: {why}", path.display()))
}
