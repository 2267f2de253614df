//! TLS in front of every site: a real handshake, and what happens to those who make none.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use server::Tls;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::{Client, PATIENCE, Running, start_with};
use crate::clock::{hold, passing};

/// A certificate of its own for each test, in a folder that goes away with it.
pub(crate) struct Files {
    folder: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    trust: RootCertStore,
}

impl Files {
    pub(crate) fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("glare-tls-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        let mut files = Self { folder, certificate, key, trust: RootCertStore::empty() };
        files.renew();
        files
    }

    /// Writes a new certificate and its key, and trusts no other.
    pub(crate) fn renew(&mut self) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["glare.test".to_owned()]).expect("a certificate");
        std::fs::write(&self.certificate, cert.pem()).expect("written");
        std::fs::write(&self.key, signing_key.serialize_pem()).expect("written");
        self.trust = RootCertStore::empty();
        self.trust.add(cert.der().clone()).expect("a certificate");
    }

    async fn serve(&self, timeout: Duration) -> Running {
        let tls = Tls::load(&self.certificate, &self.key).expect("a pair");
        start_with(|config| {
            config.tls = Some(tls);
            config.limits.handshake_timeout = timeout;
        })
        .await
    }

    pub(crate) async fn connect(
        &self,
        to: std::net::SocketAddr,
        alpn: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has them")
            .with_root_certificates(self.trust.clone());
        let mut config = config.with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from("glare.test").expect("a name");
        let stream = TcpStream::connect(to).await.expect("it listens");
        timeout(PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, stream)).await.expect("it answers")
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test]
async fn a_websocket_and_the_api_work_over_tls() {
    let files = Files::new("works");
    let server = files.serve(PATIENCE).await;
    let stream = files.connect(server.mesh, &["h2", "http/1.1"]).await.expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let mut a = Client::over(stream).await;
    a.joins("r").await;
    let mut b = Client::over(files.connect(server.mesh, &[]).await.expect("without ALPN too")).await;
    b.joins("r").await;
    a.next().await;
    b.send(r#"{"action":"signal","roomId":"r","type":"offer"}"#).await;
    assert!(a.next().await.contains("offer"));

    let mut http = files.connect(server.http, &["http/1.1"]).await.expect("a handshake");
    http.write_all(b"GET /api/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.expect("sent");
    let mut answer = String::new();
    timeout(PATIENCE, http.read_to_string(&mut answer)).await.expect("it ends").expect("with close_notify");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with(r#"{"status":"ok"}"#), "{answer}");
    drop(http);

    server.handle.shutdown();
    tokio::join!(a.is_closed(1001), b.is_closed(1001));
    timeout(PATIENCE, server.task).await.expect("it ends").expect("without a panic");
}

#[tokio::test(start_paused = true)]
async fn those_who_speak_no_tls_or_nothing_are_dropped_and_disturb_nobody() {
    let _clock = hold();
    let files = Files::new("refuses");
    let server = files.serve(Duration::from_millis(300)).await;
    let mut client = Client::over(files.connect(server.mesh, &[]).await.expect("a handshake")).await;
    client.joins("r").await;
    // Plain HTTP, garbage, half a hello, and silence.
    for bytes in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0xff; 64], &[0x16, 3, 1, 2, 0, 1], &[]] {
        let mut stream = TcpStream::connect(server.mesh).await.expect("it listens");
        stream.write_all(bytes).await.expect("it is connected");
        let mut rest = Vec::new();
        let (ended, _) = passing(timeout(PATIENCE, stream.read_to_end(&mut rest))).await;
        let _ = ended.expect("it ends");
        assert!(!rest.starts_with(b"HTTP"), "{rest:?}");
    }
    // A protocol that is not there is refused in the handshake.
    assert!(files.connect(server.mesh, &["h2"]).await.is_err());
    // Neither is a shutdown held up by a handshake.
    let _silent = TcpStream::connect(server.mesh).await.expect("it listens");
    server.census(|census| census.connections == 2).await;
    client.hears_nothing().await;
    let mut http = files.connect(server.http, &[]).await.expect("a handshake");
    http.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.expect("sent");
    let mut page = String::new();
    timeout(PATIENCE, http.read_to_string(&mut page)).await.expect("it ends").expect("with close_notify");
    drop(http);
    assert!(page.contains("glare_requests_refused_total{reason=\"tls-handshake\"} 3\n"), "{page}");
    let silent_ones = |page: &str| page.contains("glare_requests_refused_total{reason=\"tls-timeout\"} 2\n");
    assert!(silent_ones(&page), "{page}");
    server.handle.shutdown();
    client.is_closed(1001).await;
    timeout(PATIENCE, server.task).await.expect("it ends").expect("without a panic");
}

#[tokio::test]
async fn a_renewed_certificate_is_served_without_a_restart_and_a_broken_one_is_not() {
    let mut files = Files::new("renewed");
    let tls = Tls::load(&files.certificate, &files.key).expect("a pair");
    let server = start_with(|config| config.tls = Some(tls.clone())).await;
    let mut early = Client::over(files.connect(server.mesh, &[]).await.expect("a handshake")).await;
    early.joins("r").await;

    let old = files.trust.clone();
    files.renew();
    files.connect(server.mesh, &[]).await.expect_err("the files alone change nothing");
    tls.reload().expect("a pair");
    let mut late = Client::over(files.connect(server.mesh, &[]).await.expect("the new certificate")).await;
    late.joins("r").await;
    assert!(early.next().await.contains("peer-joined"), "what is open stays open");
    let new = std::mem::replace(&mut files.trust, old);
    files.connect(server.mesh, &[]).await.expect_err("the old certificate is gone");

    files.trust = new;
    let certificate = std::fs::read(&files.certificate).expect("written");
    for broken in ["", "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n"] {
        std::fs::write(&files.certificate, broken).expect("written");
        let why = tls.reload().expect_err("it is broken").to_string();
        assert!(why.contains("cert.pem contains no certificate: it must be PEM text"), "{why}");
        files.connect(server.mesh, &[]).await.expect("the last good one stays");
    }
    // Between the two writes of a renewal the files are not a pair.
    std::fs::write(&files.certificate, certificate).expect("written");
    std::fs::write(&files.key, std::fs::read(&Files::new("another").key).expect("written")).expect("written");
    let why = tls.reload().expect_err("no pair").to_string();
    assert!(why.contains("does not match the first certificate"), "{why}");
    files.connect(server.mesh, &[]).await.expect("the last good one stays");
    late.hears_nothing().await;
}

#[test]
fn bad_files_are_named_with_what_would_be_right() {
    let (files, other) = (Files::new("bad"), Files::new("other"));
    let (nowhere, empty) = (files.folder.join("nowhere.pem"), files.folder.join("empty.pem"));
    std::fs::write(&empty, "").expect("written");
    let broken = files.folder.join("broken.pem");
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n").expect("written");
    for (certificate, key, named, right) in [
        (&nowhere, &files.key, &nowhere, "cannot be read: No such file"),
        (&files.certificate, &nowhere, &nowhere, "cannot be read: No such file"),
        (&files.folder, &files.key, &files.folder, "cannot be read: Is a directory"),
        (&empty, &files.key, &empty, "contains no certificate: it must be PEM text with `-----BEGIN CERTIFICATE-----`"),
        (&broken, &files.key, &broken, "contains no certificate: it must be PEM text"),
        (&files.key, &files.key, &files.key, "contains no certificate: it must be PEM text"),
        (
            &files.certificate,
            &empty,
            &empty,
            "contains no private key: it must be PEM text with `-----BEGIN PRIVATE KEY-----`",
        ),
        (&files.certificate, &files.certificate, &files.certificate, "contains no private key: it must be PEM text"),
        (&files.certificate, &other.key, &other.key, "does not match the first certificate in"),
    ] {
        let error = Tls::load(certificate, key).expect_err("it is wrong").to_string();
        assert!(error.contains(&*named.to_string_lossy()) && error.contains(right), "{error}");
    }
}
