//! The extension permessage-deflate of WebSocket (RFC 7692), which the WebSocket library does not have.
//!
//! It stands between the library and the stream. What arrives compressed is handed to the library as if it had arrived
//! uncompressed. What leaves is compressed before, into a frame that the library writes as it is. So the library's limits
//! hold for decompressed messages, and without the extension nothing is different.

mod codecs;
mod incoming;
mod offer;

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

pub(crate) use codecs::Codecs;
use codecs::History;
pub(crate) use incoming::Broken;
use incoming::Incoming;
pub(crate) use offer::{Agreed, agree};

use super::meter::Metered;

/// A shorter message does not get shorter.
const COMPRESSED_BYTES_MIN: usize = 64;
/// How much is read from the stream at once.
const CHUNK_BYTES: usize = 4 * 1024;

/// How messages are compressed for a client that offers it (RFC 7692).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deflate {
    /// Each message by itself, so that nothing is kept for a connection between two messages.
    NoTakeover,
    /// A message may refer to those before it, in both directions: a connection keeps the last 4 KiB of each. A client
    /// that does not let the server limit its window compresses each message by itself.
    Takeover,
}

/// What a connection needs to compress and decompress as agreed.
struct Extension {
    incoming: Incoming,
    outgoing: History,
    codecs: Arc<Codecs>,
}

/// A client's stream, on which the extension may be in use.
pub(crate) struct Deflated<S> {
    pub(crate) metered: Metered<S>,
    /// Boxed: most connections do not need the memory.
    extension: Option<Box<Extension>>,
}

impl<S> Deflated<S> {
    /// Of `read_ahead`, the bytes that were read from the stream before, this takes those that may need decompression.
    pub(crate) fn new(
        stream: S,
        read_ahead: &mut Vec<u8>,
        deflate: Option<(Agreed, &Arc<Codecs>)>,
        frame_bytes_max: usize,
    ) -> Self {
        let metered = Metered::new(stream, read_ahead);
        let extension = deflate.map(|(agreed, codecs)| {
            let mut incoming = Incoming::new(agreed.incoming(), frame_bytes_max);
            incoming.read(&std::mem::take(read_ahead), codecs);
            Box::new(Extension { incoming, outgoing: agreed.outgoing(), codecs: Arc::clone(codecs) })
        });
        Self { metered, extension }
    }

    /// The message as it is to be written: compressed, if that was agreed and makes it shorter.
    pub(crate) fn outgoing(&mut self, message: Message) -> Message {
        let Some(extension) = &mut self.extension else { return message };
        let (bytes, kind) = match &message {
            Message::Text(text) => (text.as_bytes(), Data::Text),
            Message::Binary(data) => (&data[..], Data::Binary),
            _ => return message,
        };
        if bytes.len() < COMPRESSED_BYTES_MIN {
            return message;
        }
        let Some(compressed) = extension.codecs.deflate(bytes, &mut extension.outgoing) else { return message };
        let mut frame = Frame::message(Bytes::from(compressed), OpCode::Data(kind), true);
        frame.header_mut().rsv1 = true;
        Message::Frame(frame)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Deflated<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let Some(extension) = &mut this.extension else { return Pin::new(&mut this.metered).poll_read(cx, buffer) };
        loop {
            if extension.incoming.hand_out(buffer)? {
                return Poll::Ready(Ok(()));
            }
            let mut chunk = [MaybeUninit::uninit(); CHUNK_BYTES];
            let mut chunk = ReadBuf::uninit(&mut chunk);
            ready!(Pin::new(&mut this.metered).poll_read(cx, &mut chunk))?;
            if chunk.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            extension.incoming.read(chunk.filled(), &extension.codecs);
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Deflated<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.metered).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.metered).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.metered.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.metered).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.metered).poll_shutdown(cx)
    }
}
