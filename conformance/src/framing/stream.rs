//! A byte stream to the server: TCP, or TLS over TCP.

use std::sync::{Arc, LazyLock};

use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::error::{Cause, TlsError, TransportError};
use super::net::Net;
use crate::dial::Stream;
use crate::target::Target;

/// Opens a stream to the server.
pub(crate) async fn open(net: &Net) -> Result<Box<dyn Stream>, TransportError> {
    let Net { dial, target, patience, .. } = net;
    let (host, port) = (target.host(), target.port());
    let no_tcp = |cause| TransportError::Tcp { host: host.to_owned(), port, cause };
    let stream = match timeout(*patience, dial.dial_boxed(host, port)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(no_tcp(Cause::Io(error))),
        Err(_) => return Err(no_tcp(Cause::Silence(*patience))),
    };
    let Some(config) = tls_config(target)? else { return Ok(stream) };
    let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Name(host.to_owned()))?;
    match timeout(*patience, TlsConnector::from(config).connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => Err(TransportError::TlsHandshake(Cause::Io(error))),
        Err(_) => Err(TransportError::TlsHandshake(Cause::Silence(*patience))),
    }
}

/// The TLS settings for this target, for code that opens its own connections; `None` if the target does not use TLS.
///
/// # Errors
/// This system has no root certificates, or the TLS library rejects its settings.
pub fn tls_config(target: &Target) -> Result<Option<Arc<ClientConfig>>, TlsError> {
    let config = if target.is_insecure() { &ANY_CERTIFICATE } else { &TRUSTED };
    target.is_tls().then(|| (**config).clone()).transpose()
}

type Config = Result<Arc<ClientConfig>, TlsError>;

/// Trusts the system's root certificates.
static TRUSTED: LazyLock<Config> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TlsError::NoRoots);
    }
    Ok(Arc::new(builder()?.with_root_certificates(roots).with_no_client_auth()))
});

static ANY_CERTIFICATE: LazyLock<Config> = LazyLock::new(|| {
    let any = Arc::new(AnyCertificate(Arc::new(ring::default_provider())));
    Ok(Arc::new(builder()?.dangerous().with_custom_certificate_verifier(any).with_no_client_auth()))
});

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, TlsError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    Ok(builder.with_safe_default_protocol_versions()?)
}

/// Accepts any certificate, whoever signed it, but checks that the server holds its key.
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
