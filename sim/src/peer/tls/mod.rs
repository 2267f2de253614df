//! TLS between simulated clients and TURN servers: a real handshake of rustls on both sides.
//!
//! All TURN servers have one certificate, which every client trusts. It and its key are part of the program, so that no run
//! depends on when they were made. Whoever can read this program can read the key: it is for simulations only.
//! Everything else that a handshake draws comes from the thread's entropy, which the seed determines, and the validity of
//! the certificate is checked at the simulation's time.

use std::sync::Arc;

use server::Tls;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

const CERTIFICATE: &[u8] = include_bytes!("certificate.pem");
const KEY: &[u8] = include_bytes!("key.pem");
/// The host of the `turns:` URL by which clients know every TURN server.
const HOST: &str = "turn.example";

/// The certificate and the key of a TURN server.
pub(crate) fn of_server() -> Tls {
    Tls::of(CERTIFICATE, KEY).expect("they belong together, as a test checks")
}

/// What opens TLS connections to TURN servers.
#[derive(Clone)]
pub(crate) struct Connector(TlsConnector);

impl Connector {
    pub(crate) fn new() -> Self {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(CERTIFICATE).expect("it is PEM");
        roots.add(certificate).expect("it is a certificate");
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the cipher suites of TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        //= https://www.rfc-editor.org/rfc/rfc7443#section-3
        //# TURN: "stun.turn"
        config.alpn_protocols = vec![b"stun.turn".to_vec()];
        // A client has one connection to a server, and opens it again only after that has failed.
        config.resumption = Resumption::disabled();
        Self(Arc::new(config).into())
    }

    /// Does the TLS handshake on a new connection.
    ///
    /// # Errors
    /// The connection ended, or the server has another certificate.
    pub(crate) async fn handshake<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> std::io::Result<tokio_rustls::client::TlsStream<S>> {
        let host = ServerName::try_from(HOST).expect("it is a name");
        self.0.connect(host, stream).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_and_the_key_belong_together() {
        of_server();
        Connector::new();
    }
}
