//! A TCP connection with faults: each piece passes when it is due, and none while the connection is cut.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional, split};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::{Faults, Name, Service, Traffic, Way};

/// Size of the buffer between the server and a connection, in each direction.
pub(super) const BUFFER_BYTES: usize = 64 * 1024;
/// Maximum size of a piece, bytes.
const PIECE_BYTES: usize = 16 * 1024;
/// How many pieces wait at most for their time. Then the sender waits.
const PIECES_MAX: usize = 64;

/// Carries a connection without faults.
pub(super) async fn pass(
    mut real: impl AsyncRead + AsyncWrite + Unpin,
    mut inner: impl AsyncRead + AsyncWrite + Unpin,
) {
    // A broken connection ends both sides.
    let _ = copy_bidirectional(&mut real, &mut inner).await;
}

/// Carries the connection of a client to its end.
pub(super) async fn carry(
    real: impl AsyncRead + AsyncWrite + Unpin,
    inner: impl AsyncRead + AsyncWrite + Unpin,
    faults: Faults,
    service: Service,
    client: SocketAddr,
) {
    let ((from_client, to_client), (from_server, to_server)) = (split(real), split(inner));
    let way = |way| Traffic { service, client, way, bytes: 0 };
    // An error of one side ends both, and whatever waits with them.
    let _ = tokio::try_join!(
        one_way(from_client, to_server, &faults, way(Way::FromClient)),
        one_way(from_server, to_client, &faults, way(Way::ToClient)),
    );
    faults.forget(service, client);
}

async fn one_way(
    mut source: impl AsyncRead + Unpin,
    mut target: impl AsyncWrite + Unpin,
    faults: &Faults,
    traffic: Traffic,
) -> std::io::Result<()> {
    let (sender, mut pieces) = mpsc::channel::<(Vec<u8>, Instant)>(PIECES_MAX);
    let reading = async move {
        let mut is_first = traffic.way == Way::FromClient && traffic.service == Service::Signaling;
        let mut due = Instant::now();
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            let length = source.read(&mut buffer).await?;
            let piece = &buffer[..length];
            if std::mem::take(&mut is_first)
                && let Some(target) = target_of(piece)
            {
                faults.name(traffic.service, traffic.client, Name::Request(target));
            }
            // Bytes do not overtake each other.
            due = due.max(faults.piece(Traffic { bytes: length, ..traffic }));
            if sender.send((piece.to_vec(), due)).await.is_err() || length == 0 {
                return Ok(());
            }
        }
    };
    let writing = async {
        while let Some((piece, due)) = pieces.recv().await {
            sleep_until(due).await;
            faults.passable(traffic).await;
            if piece.is_empty() {
                return target.shutdown().await;
            }
            target.write_all(&piece).await?;
            target.flush().await?;
        }
        Ok(())
    };
    tokio::try_join!(reading, writing).map(|_| ())
}

/// The target of the request that a connection begins with: path and query.
fn target_of(bytes: &[u8]) -> Option<String> {
    let line = bytes.split(|byte| *byte == b'\r').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let (_method, target, version) = (words.next()?, words.next()?, words.next()?);
    version.starts_with("HTTP/").then(|| target.to_owned())
}
