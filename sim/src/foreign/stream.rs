//! A TCP connection of the program: bytes between its socket and the simulated network, in both directions.

use std::future::Future;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use crate::socket::SimStream;

/// Bytes that are under way in one direction outside of all sockets.
const CHUNK_BYTES: usize = 16 * 1024;

/// The other side of a connection.
pub(super) enum Far {
    /// A machine in the simulated network.
    Net(SimStream),
    /// Another socket of the same machine.
    Own(DuplexStream),
}

/// A connection that the program opens.
pub(super) struct Dial {
    /// Bytes with which the library has filled the socket's buffer, so that it is not writable yet.
    pub(super) filler: usize,
    pub(super) connected: Pin<Box<dyn Future<Output = io::Result<Far>> + Send>>,
}

/// A connection.
pub(super) struct Stream {
    far: Far,
    inward: Chunk,
    outward: Chunk,
    /// Whether the other side sends nothing more, and the program knows.
    inward_ended: bool,
    /// What has passed, and whether it was sent, if somebody wants to see it.
    seen: Option<Vec<(bool, Vec<u8>)>>,
    /// How far the program's own end is.
    outward_end: OutwardEnd,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OutwardEnd {
    Open,
    /// The program sends nothing more; the other side does not know yet.
    Read,
    Sent,
}

/// Bytes between two sockets.
#[derive(Default)]
struct Chunk {
    bytes: Vec<u8>,
    left: Range<usize>,
}

impl Chunk {
    fn left(&self) -> &[u8] {
        &self.bytes[self.left.clone()]
    }

    fn room(&mut self) -> &mut [u8] {
        self.bytes.resize(CHUNK_BYTES, 0);
        &mut self.bytes
    }

    fn is_empty(&self) -> bool {
        self.left.is_empty()
    }
}

/// What an exchange of bytes has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    /// The program has something to read.
    pub(super) gave: bool,
    /// The program's buffer has room again.
    pub(super) took: bool,
    /// What became of the connection.
    pub(super) end: End,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum End {
    #[default]
    Open,
    /// The program has closed it, and everything is delivered.
    Closed,
    /// The program has aborted it.
    Aborted,
    /// The other side has reset it.
    Reset,
}

impl Stream {
    pub(super) fn new(far: Far) -> Self {
        let (inward, outward) = (Chunk::default(), Chunk::default());
        Self { far, inward, outward, inward_ended: false, seen: None, outward_end: OutwardEnd::Open }
    }

    /// Keeps what passes, to be [taken](Self::take_seen).
    pub(super) fn watch(&mut self) {
        self.seen = Some(Vec::new());
    }

    /// What has passed since the last time, and whether it was sent.
    pub(super) fn take_seen(&mut self) -> Vec<(bool, Vec<u8>)> {
        self.seen.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Moves bytes in both directions as far as both sides take them. `has_closed`: the program has closed its socket.
    pub(super) fn exchange(&mut self, end: &OwnedFd, has_closed: bool, cx: &mut Context<'_>) -> Moved {
        let mut moved = Moved::default();
        match self.send(end, &mut moved.took, cx) {
            Ok(()) => {}
            Err(Stop::Aborted) => return Moved { end: End::Aborted, ..moved },
            Err(Stop::Reset) => return Moved { end: End::Reset, ..moved },
        }
        if has_closed {
            if self.outward_end == OutwardEnd::Sent {
                moved.end = End::Closed;
            }
            return moved;
        }
        if let Err(Stop::Reset) = self.receive(end, &mut moved.gave, cx) {
            moved.end = End::Reset;
        }
        moved
    }

    /// From the program to the other side.
    fn send(&mut self, end: &OwnedFd, took: &mut bool, cx: &mut Context<'_>) -> Result<(), Stop> {
        loop {
            while !self.outward.is_empty() {
                match self.far.poll_write(cx, self.outward.left()) {
                    Poll::Ready(Ok(n)) => self.outward.left.start += n,
                    Poll::Ready(Err(_)) => return Err(Stop::Reset),
                    Poll::Pending => return Ok(()),
                }
            }
            match self.outward_end {
                OutwardEnd::Open => match recv(end, self.outward.room(), RecvFlags::DONTWAIT) {
                    Ok((0, _)) => self.outward_end = OutwardEnd::Read,
                    Ok((n, _)) => {
                        self.outward.left = 0..n;
                        let sent = self.outward.left();
                        self.seen.iter_mut().for_each(|seen| seen.push((true, sent.to_vec())));
                        *took = true;
                    }
                    Err(Errno::INTR) => {}
                    Err(Errno::CONNRESET) => return Err(Stop::Aborted),
                    Err(_) => return Ok(()),
                },
                OutwardEnd::Read => match self.far.poll_shutdown(cx) {
                    Poll::Ready(Ok(())) => self.outward_end = OutwardEnd::Sent,
                    Poll::Ready(Err(_)) => return Err(Stop::Reset),
                    Poll::Pending => return Ok(()),
                },
                OutwardEnd::Sent => return Ok(()),
            }
        }
    }

    /// From the other side to the program.
    fn receive(&mut self, end: &OwnedFd, gave: &mut bool, cx: &mut Context<'_>) -> Result<(), Stop> {
        loop {
            while !self.inward.is_empty() {
                match send(end, self.inward.left(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                    Ok(n) => {
                        self.inward.left.start += n;
                        *gave = true;
                    }
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => return Ok(()),
                    // The program reads no more: what arrives is dropped.
                    Err(_) => self.inward.left = 0..0,
                }
            }
            if self.inward_ended {
                return Ok(());
            }
            let mut buffer = ReadBuf::new(self.inward.room());
            match self.far.poll_read(cx, &mut buffer) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(_)) => return Err(Stop::Reset),
                Poll::Ready(Ok(())) => {
                    let n = buffer.filled().len();
                    self.inward.left = 0..n;
                    let received = self.inward.left();
                    self.seen.iter_mut().for_each(|seen| seen.push((false, received.to_vec())));
                    if n == 0 {
                        self.inward_ended = true;
                        // The program may have closed the socket meanwhile.
                        let _ = shutdown(end, Shutdown::Write);
                        *gave = true;
                    }
                }
            }
        }
    }

    /// Ends the connection at once.
    pub(super) fn abort(self) {
        if let Far::Net(stream) = self.far {
            stream.abort();
        }
    }
}

/// Why bytes cannot be moved any more.
enum Stop {
    /// The program has closed the socket without reading everything, or with `SO_LINGER` 0.
    Aborted,
    Reset,
}

impl Far {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Net(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Own(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Net(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Own(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Net(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Own(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
