//! STUN Binding over TCP: consecutive messages in the stream, each with its length in the header.
//!
//! TURN is supported only over UDP. Here, its requests are not answered, like all except Binding.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::binding::{Origin, answer};
use super::message::{HEADER_BYTES, MAGIC_COOKIE, u16_at};
use crate::net::{Listener, Network};
use crate::{ACCEPT_RETRY, Shared};

/// Maximum length of a message. A longer one ends the connection.
const MESSAGE_BYTES_MAX: usize = 2048;
/// Time limit between two complete messages. Clients keep connections open only while they set up a call.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Accepts connections until the server stops, and spawns a task for each.
pub(crate) async fn serve<N: Network>(net: N, listener: N::Listener, shared: Arc<Shared>) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.stop.stopped() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                let registration = shared.registry.open(&shared.config.limits);
                let source = shared.guard.enter(from.ip());
                if shared.registry.connections() > shared.config.limits.connections_max || source.request().is_err() {
                    continue;
                }
                let Ok(own) = listener.local_addr() else { continue };
                let shared = Arc::clone(&shared);
                net.spawn(async move {
                    tokio::select! {
                        biased;
                        () = shared.stop.stopped() => {}
                        ended = serve_connection(stream, from, own, shared.config.limits.write_timeout) => {
                            tracing::trace!(%from, ?ended, "STUN connection ended");
                        }
                    }
                    drop((registration, source));
                });
            }
            Err(error) => {
                tracing::debug!(site = "stun", %error, "failed to accept");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Answers the messages of one connection until it ends, is idle, or is not STUN.
async fn serve_connection<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    from: SocketAddr,
    own: SocketAddr,
    write_timeout: Duration,
) -> io::Result<()> {
    let (mut received, mut filled) = ([0; MESSAGE_BYTES_MAX], 0);
    let (mut answers, mut one) = (Vec::new(), Vec::new());
    let origin = Origin { addresses: &[own], index: 0 };
    loop {
        match timeout(IDLE_TIMEOUT, read_message(&mut stream, &mut received, &mut filled)).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) | Err(_) => break,
            Ok(Err(error)) => return Err(error),
        }
        // Requests from one segment are answered in one segment.
        let mut at = 0;
        let unframed = loop {
            let length = match framed(&received[at..filled]) {
                Ok(Some(length)) => length,
                Ok(None) => break None,
                Err(error) => break Some(error),
            };
            if answer(&received[at..at + length], from, origin, &mut one).is_some() {
                answers.extend_from_slice(&one);
            }
            at += length;
        };
        received.copy_within(at..filled, 0);
        filled -= at;
        if !answers.is_empty() {
            timeout(write_timeout, stream.write_all(&answers)).await??;
            answers.clear();
        }
        if let Some(error) = unframed {
            return Err(error);
        }
    }
    timeout(write_timeout, stream.shutdown()).await?
}

/// Reads until there is a complete message; false at the end of the stream.
async fn read_message<S: AsyncRead + Unpin>(
    stream: &mut S,
    received: &mut [u8],
    filled: &mut usize,
) -> io::Result<bool> {
    while framed(&received[..*filled])?.is_none() {
        let read = stream.read(&mut received[*filled..]).await?;
        if read == 0 {
            return Ok(false);
        }
        *filled += read;
    }
    Ok(true)
}

/// The length of the first message in `bytes`, once it is complete.
///
/// # Errors
/// It cannot become a valid message. The next message cannot be found, so the connection must end.
fn framed(bytes: &[u8]) -> io::Result<Option<usize>> {
    let no_stun = || io::Error::new(io::ErrorKind::InvalidData, "not STUN");
    if bytes.first().is_some_and(|first| first & 0xc0 != 0) {
        return Err(no_stun());
    }
    if bytes.get(4..8).is_some_and(|cookie| cookie != MAGIC_COOKIE) {
        return Err(no_stun());
    }
    let Some(length) = u16_at(bytes, 2) else { return Ok(None) };
    let length = HEADER_BYTES + usize::from(length);
    if length > MESSAGE_BYTES_MAX || !length.is_multiple_of(4) {
        return Err(no_stun());
    }
    Ok((bytes.len() >= length).then_some(length))
}
