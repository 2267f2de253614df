//! A stream whose reader receives frames without compression: it replaces each compressed message that arrives by the
//! same message in one frame. What is written passes unchanged.
//!
//! Everything else passes as it arrived, so that the WebSocket above reports what breaks RFC 6455.

use std::fmt;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::deflate::{Inflater, Malformed};
use super::link::BYTES_MAX;
use crate::dial::Stream;

const FIN: u8 = 0x80;
/// Set in the first frame of a compressed message: RFC 7692 §6.
const RSV1: u8 = 0x40;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const CONTROL: u8 = 0x08;

/// The stream.
pub(crate) struct Inflating {
    stream: Box<dyn Stream>,
    inflater: Inflater,
    /// What has arrived of a frame that is not complete.
    arrived: Vec<u8>,
    /// What the reader gets next.
    ready: BytesMut,
    /// The opcode and the payload so far of a compressed message in fragments.
    message: Option<(u8, Vec<u8>)>,
    broken: Option<Broken>,
    /// Whether everything passes: a frame is longer than any that is read.
    gave_up: bool,
    ended: bool,
}

/// What breaks RFC 7692.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Broken {
    Message(Malformed),
    /// A message begins within another one.
    Within,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(malformed) => malformed.fmt(f),
            Self::Within => f.write_str("a message begins within a compressed one"),
        }
    }
}

impl std::error::Error for Broken {}

/// Whether an error of the stream is that the server broke RFC 7692.
pub(crate) fn is_broken(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|error| error.is::<Broken>())
}

impl Inflating {
    /// The stream behind a handshake that agreed to compression; `arrived` has arrived after it.
    pub(crate) fn new(stream: Box<dyn Stream>, inflater: Inflater, arrived: Vec<u8>) -> Self {
        let mut inflating = Self {
            stream,
            inflater,
            arrived,
            ready: BytesMut::new(),
            message: None,
            broken: None,
            gave_up: false,
            ended: false,
        };
        inflating.translate();
        inflating
    }

    /// Passes on all complete frames that have arrived.
    fn translate(&mut self) {
        while self.broken.is_none() && !self.gave_up {
            let Some(Head { first, masked, payload }) = Head::of(&self.arrived) else { return };
            if payload.len() > BYTES_MAX {
                self.gave_up = true;
                break;
            }
            if self.arrived.len() < payload.end {
                return;
            }
            let frame: Vec<u8> = self.arrived.drain(..payload.end).collect();
            if let Err(broken) = self.frame(first, masked, &frame, payload) {
                self.broken = Some(broken);
            }
        }
        if self.gave_up {
            self.ready.extend_from_slice(&std::mem::take(&mut self.arrived));
        }
    }

    fn frame(&mut self, first: u8, masked: bool, frame: &[u8], payload: Range<usize>) -> Result<(), Broken> {
        let opcode = first & OPCODE;
        let begins = first & RESERVED == RSV1 && matches!(opcode, 1 | 2) && !masked;
        let continues = first & RESERVED == 0 && opcode == 0 && !masked;
        match &mut self.message {
            Some(_) if matches!(opcode, 1..CONTROL) => return Err(Broken::Within),
            Some((_, message)) if continues => {
                message.extend(&frame[payload]);
                if message.len() > BYTES_MAX {
                    return Err(Broken::Message(Malformed::TooLong));
                }
            }
            None if begins => self.message = Some((opcode, frame[payload].to_vec())),
            _ => {
                self.ready.extend_from_slice(frame);
                return Ok(());
            }
        }
        if first & FIN != 0
            && let Some((opcode, message)) = self.message.take()
        {
            let message = self.inflater.message(&message, BYTES_MAX).map_err(Broken::Message)?;
            self.ready.put_u8(FIN | opcode);
            match message.len() {
                length @ 0..126 => self.ready.put_u8(length as u8),
                length @ 126..0x1_0000 => {
                    self.ready.put_u8(126);
                    self.ready.put_u16(length as u16);
                }
                length => {
                    self.ready.put_u8(127);
                    self.ready.put_u64(length as u64);
                }
            }
            self.ready.extend_from_slice(&message);
        }
        Ok(())
    }
}

/// The head of a frame.
struct Head {
    first: u8,
    masked: bool,
    /// Where its payload is.
    payload: Range<usize>,
}

impl Head {
    /// The first frame's; `None` if not all of it has arrived.
    fn of(bytes: &[u8]) -> Option<Self> {
        let (first, second) = (*bytes.first()?, *bytes.get(1)?);
        let (length, mut begin) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)), 4),
            127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?), 10),
            length => (u64::from(length), 2),
        };
        let masked = second & 0x80 != 0;
        begin += if masked { 4 } else { 0 };
        // A longer one is not read anyway.
        let length = length.min(BYTES_MAX as u64 + 1) as usize;
        Some(Self { first, masked, payload: begin..begin + length })
    }
}

impl AsyncRead for Inflating {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if !this.ready.is_empty() {
                let now = this.ready.len().min(buffer.remaining());
                buffer.put_slice(&this.ready.split_to(now));
                return Poll::Ready(Ok(()));
            }
            if let Some(broken) = this.broken.clone() {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, broken)));
            }
            if this.ended {
                return Poll::Ready(Ok(()));
            }
            let mut chunk = [0; 8 * 1024];
            let mut read = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                this.ended = true;
                this.ready.extend_from_slice(&std::mem::take(&mut this.arrived));
            } else {
                this.arrived.extend(read.filled());
                this.translate();
            }
        }
    }
}

impl AsyncWrite for Inflating {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
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
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::framing::deflate::Deflater;

    /// A frame of a server.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        assert!(payload.len() < 126);
        [&[first, payload.len() as u8], payload].concat()
    }

    /// What a reader gets if these bytes arrive, `after` of them with the handshake, and the error at the end.
    async fn read(bytes: &[u8], after: usize) -> (Vec<u8>, Option<String>) {
        let (early, late) = bytes.split_at(after);
        let (mut server, client) = tokio::io::duplex(7);
        let mut inflating = Inflating::new(Box::new(client), Inflater::new(15, true), early.to_vec());
        let write = async move {
            tokio::io::AsyncWriteExt::write_all(&mut server, late).await.expect("it is read");
        };
        let mut out = Vec::new();
        let (_, read) = futures_util::future::join(write, inflating.read_to_end(&mut out)).await;
        let error = read.err();
        assert!(error.as_ref().is_none_or(is_broken));
        (out, error.map(|error| error.to_string()))
    }

    #[tokio::test]
    async fn compressed_messages_are_replaced_and_everything_else_passes() {
        let mut deflater = Deflater::new(15, true);
        let (one, two, empty) =
            (deflater.message(b"first message"), deflater.message(b"second message"), deflater.message(b""));
        let (begin, end) = two.split_at(3);
        let sent = [
            frame(0xc1, &one),
            frame(0x81, b"plain"),
            frame(0x41, begin),
            frame(0x89, b"ping"),
            frame(0x00, b""),
            frame(0x80, end),
            frame(0xc2, &empty),
            frame(0xa1, b"RSV2"),
            b"\xc1\x83maskabc\x81".to_vec(),
        ]
        .concat();
        let expected = [
            frame(0x81, b"first message"),
            frame(0x81, b"plain"),
            frame(0x89, b"ping"),
            frame(0x81, b"second message"),
            frame(0x82, b""),
            frame(0xa1, b"RSV2"),
            b"\xc1\x83maskabc\x81".to_vec(),
        ]
        .concat();
        for after in [0, 1, 20, sent.len()] {
            assert_eq!(read(&sent, after).await, (expected.clone(), None), "{after}");
        }
    }

    #[tokio::test]
    async fn what_breaks_the_rules_is_an_error_behind_what_came_before() {
        let good = frame(0x81, b"good");
        let mut deflater = Deflater::new(15, true);
        for (frames, says) in [
            (frame(0xc1, b"not deflate"), "a compressed message has a block of the reserved type"),
            ([frame(0x41, &deflater.message(b"x")), frame(0x81, b"y")].concat(), "begins within a compressed one"),
        ] {
            let (out, error) = read(&[good.clone(), frames].concat(), 0).await;
            assert_eq!(out, good);
            assert!(error.as_ref().is_some_and(|error| error.contains(says)), "{error:?}");
        }
    }
}
