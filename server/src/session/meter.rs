//! What arrives on a WebSocket before it is a message: unfinished messages, and frames without content.
//!
//! The WebSocket library shows only complete messages. So this follows the frames' headers (RFC 6455 §5.2) in the bytes
//! that it reads. Invalid frames need no care: the library ends the connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frame::Header;

/// Follows the frames of a client.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    header: Header,
    /// Bytes of payload that the current frame still lacks.
    missing: u64,
    /// Whether the current message continues in another frame.
    has_more: bool,
    unfinished: usize,
    empty_fragments: u32,
}

impl Meter {
    /// Bytes of the unfinished message that have arrived.
    pub(crate) fn unfinished_bytes(&self) -> usize {
        self.unfinished
    }

    /// Whether a message or a frame has begun and is not complete.
    pub(crate) fn is_within_message(&self) -> bool {
        self.header.is_begun() || self.has_more
    }

    /// The number of fragments without payload since the last call, each of which costs work but is no message.
    pub(crate) fn take_empty_fragments(&mut self) -> u32 {
        std::mem::take(&mut self.empty_fragments)
    }

    pub(crate) fn read(&mut self, mut bytes: &[u8]) {
        while let Some(first) = bytes.first() {
            if self.missing > 0 {
                let count = usize::try_from(self.missing).map_or(bytes.len(), |missing| missing.min(bytes.len()));
                self.missing -= count as u64;
                if !self.header.is_control() {
                    self.unfinished += count;
                }
                bytes = &bytes[count..];
            } else {
                bytes = &bytes[1..];
                let Some(payload_bytes) = self.header.push(*first) else { continue };
                self.missing = payload_bytes;
                let is_fragment = !self.header.is_final() && !self.header.is_control();
                self.empty_fragments += u32::from(is_fragment && payload_bytes == 0);
            }
            if self.missing == 0 {
                let header = std::mem::take(&mut self.header);
                if !header.is_control() {
                    self.has_more = !header.is_final();
                    if !self.has_more {
                        self.unfinished = 0;
                    }
                }
            }
        }
    }
}

/// A stream whose incoming frames are followed.
pub(crate) struct Metered<S> {
    stream: S,
    pub(crate) meter: Meter,
}

impl<S> Metered<S> {
    /// `read_ahead` contains the bytes that were read from it before.
    pub(crate) fn new(stream: S, read_ahead: &[u8]) -> Self {
        let mut meter = Meter::default();
        meter.read(read_ahead);
        Self { stream, meter }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.meter.read(&buffer.filled()[before..]);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A masked frame.
    fn frame(first: u8, payload: usize) -> Vec<u8> {
        let mut frame = vec![first];
        match payload {
            0..126 => frame.push(0x80 | payload as u8),
            126..0x1_0000 => {
                frame.push(0xfe);
                frame.extend((payload as u16).to_be_bytes());
            }
            _ => {
                frame.push(0xff);
                frame.extend((payload as u64).to_be_bytes());
            }
        }
        frame.extend(vec![7; 4 + payload]);
        frame
    }

    #[test]
    fn it_knows_what_is_unfinished_however_the_bytes_are_cut() {
        let pong = frame(0x8a, 5);
        let bytes =
            [frame(0x81, 3), pong.clone(), frame(0x01, 300), pong, frame(0x00, 0), frame(0x00, 70_000)].concat();
        for step in [1, 2, 3, 7, 1000, 100_000] {
            let mut meter = Meter::default();
            for part in bytes.chunks(step) {
                meter.read(part);
            }
            let seen = (meter.unfinished_bytes(), meter.is_within_message(), meter.take_empty_fragments());
            assert_eq!(seen, (70_300, true, 1), "{step}");
            meter.read(&frame(0x80, 10));
            assert_eq!((meter.unfinished_bytes(), meter.is_within_message()), (0, false), "{step}");
            meter.read(&frame(0x82, 10)[..7]);
            assert_eq!((meter.unfinished_bytes(), meter.is_within_message()), (1, true), "{step}");
        }
    }
}
