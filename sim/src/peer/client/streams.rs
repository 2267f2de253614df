//! The TCP and TLS connections of a client to TURN servers. RFC 8656 §2.1.
//!
//! Each has a task of its own, which dials when the first message is to be sent, and ends with the connection.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use server::net::Network;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::peer::tls::Connector;
use crate::peer::turn::message_length;

/// How long a connection attempt may take, and then its TLS handshake.
const DIAL: Duration = Duration::from_secs(10);

/// What comes from a connection.
#[derive(Debug)]
pub(super) enum FromServer {
    Message(BytesMut),
    /// The connection could not be opened, or has ended.
    Ended,
}

/// The connections of a client, by the server.
pub(super) struct Streams<N: Network> {
    net: N,
    /// Made for the first connection over TLS.
    tls: Option<Connector>,
    open: BTreeMap<SocketAddr, mpsc::UnboundedSender<BytesMut>>,
    sender: mpsc::UnboundedSender<(SocketAddr, FromServer)>,
    receiver: mpsc::UnboundedReceiver<(SocketAddr, FromServer)>,
}

impl<N: Network> Streams<N> {
    pub(super) fn new(net: N) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self { net, tls: None, open: BTreeMap::new(), sender, receiver }
    }

    /// Sends a message to a server. Dials it if there is no connection.
    pub(super) fn send(&mut self, server: SocketAddr, tls: bool, message: BytesMut) {
        let message = match self.open.get(&server).map(|open| open.send(message.clone())) {
            Some(Ok(())) => return,
            Some(Err(_)) | None => message,
        };
        let (sender, outgoing) = mpsc::unbounded_channel();
        // The receiver is the task that starts here.
        let _ = sender.send(message);
        self.open.insert(server, sender);
        let (net, events) = (self.net.clone(), self.sender.clone());
        let tls = tls.then(|| self.tls.get_or_insert_with(Connector::new).clone());
        self.net.spawn(async move {
            // The reason does not matter: the client learns that the connection has ended, and the record has the packets.
            let _ = serve(&net, server, tls, outgoing, &events).await;
            let _ = events.send((server, FromServer::Ended));
        });
    }

    /// The next message or end of a connection.
    pub(super) async fn next(&mut self) -> (SocketAddr, FromServer) {
        let next = self.receiver.recv().await.expect("it has a sender itself");
        if let (server, FromServer::Ended) = &next {
            self.open.remove(server);
        }
        next
    }
}

/// Dials a server, and carries messages both ways until one side ends the connection.
async fn serve<N: Network>(
    net: &N,
    server: SocketAddr,
    tls: Option<Connector>,
    outgoing: mpsc::UnboundedReceiver<BytesMut>,
    events: &mpsc::UnboundedSender<(SocketAddr, FromServer)>,
) -> io::Result<()> {
    let stream = timeout(DIAL, net.connect(server)).await??;
    match tls {
        None => carry(stream, server, outgoing, events).await,
        Some(tls) => {
            let stream = timeout(DIAL, tls.handshake(stream)).await??;
            carry(stream, server, outgoing, events).await
        }
    }
}

/// Carries messages both ways until one side ends the connection.
async fn carry<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    server: SocketAddr,
    mut outgoing: mpsc::UnboundedReceiver<BytesMut>,
    events: &mpsc::UnboundedSender<(SocketAddr, FromServer)>,
) -> io::Result<()> {
    let mut received = BytesMut::with_capacity(4096);
    loop {
        tokio::select! { biased;
            message = outgoing.recv() => match message {
                Some(message) => {
                    stream.write_all(&message).await?;
                    // TLS keeps what it could not send.
                    stream.flush().await?;
                }
                // The client has left.
                None => return stream.shutdown().await,
            },
            read = stream.read_buf(&mut received) => {
                if read? == 0 {
                    return Ok(());
                }
                while let Some(length) = message_length(&received).filter(|length| *length <= received.len()) {
                    let _ = events.send((server, FromServer::Message(received.split_to(length))));
                }
            }
        }
    }
}
