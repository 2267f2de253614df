//! A byte stream to the server: TCP, or TLS upon it.

use std::io;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::dial::{DynDial, Stream};
use crate::target::Target;

/// Opens a stream.
///
/// # Errors
/// What was tried and what came of it, in words.
pub(crate) async fn open(dial: &dyn DynDial, target: &Target, patience: Duration) -> Result<Box<dyn Stream>, String> {
    let (host, port) = (target.host(), target.port());
    let stream = match timeout(patience, dial.dial_boxed(host, port)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(format!("TCP to {host} port {port}: {}", io_words(&error))),
        Err(_) => return Err(format!("TCP to {host} port {port}: no answer within {} s", patience.as_secs())),
    };
    if !target.is_tls() {
        return Ok(stream);
    }
    let config = config(target)?;
    let name = ServerName::try_from(host.to_owned()).map_err(|_| format!("TLS: `{host}` is no name of a server"))?;
    match timeout(patience, TlsConnector::from(config).connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => {
            let hint =
                if error.to_string().contains("certificate") { "; --insecure takes any certificate" } else { "" };
            Err(format!("TCP is accepted; the TLS handshake fails: {}{hint}", io_words(&error)))
        }
        Err(_) => Err(format!("TCP is accepted; to the TLS handshake no answer within {} s", patience.as_secs())),
    }
}

/// Which certificates of a server will do.
pub(crate) fn config(target: &Target) -> Config {
    let config = if target.is_insecure() { &*ANY_CERTIFICATE } else { &*TRUSTED };
    config.clone()
}

pub(crate) fn io_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        _ => error.to_string(),
    }
}

pub(crate) type Config = Result<Arc<ClientConfig>, String>;

/// Trusts what the system trusts.
static TRUSTED: LazyLock<Config> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("TLS: this system has no root certificates; --insecure does without".to_owned());
    }
    Ok(Arc::new(builder()?.with_root_certificates(roots).with_no_client_auth()))
});

static ANY_CERTIFICATE: LazyLock<Config> = LazyLock::new(|| {
    let any = Arc::new(AnyCertificate(Arc::new(ring::default_provider())));
    Ok(Arc::new(builder()?.dangerous().with_custom_certificate_verifier(any).with_no_client_auth()))
});

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, String> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS: {error}"))
}

/// Asks only that the server holds the key of its certificate, whoever signed that.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
