//! One end of a TCP connection, as a state machine in the terms of RFC 9293.
//!
//! The network below never loses, duplicates or reorders a segment (`stalls` says what it does instead), so there is no
//! retransmission, no reassembly, no congestion control and no TIME-WAIT. What programs notice is here: the handshake,
//! windows and full buffers, half-closed connections, FIN and RST.

use std::io;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};

use crate::event::TransportAddress;
use crate::fabric::packet::{Flags, Segment};

/// Bytes that each end buffers in each direction: what it has received and not read, and what it has to send or has
/// sent without an acknowledgment.
const BUFFER_BYTES: usize = 64 * 1024;
/// The largest window that a segment can announce without the window scale option.
const WINDOW_MAX: u16 = u16::MAX;
/// The largest payload of a segment in an Ethernet frame.
const SEGMENT_BYTES_MAX: usize = 1500 - 20 - 20;

/// The states of RFC 9293 §3.3.2 in which there is a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    SynSent,
    SynReceived,
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    Closed,
}

/// What a segment did to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing that others must know.
    None,
    /// A connection that the other side opened is established.
    Accepted,
    /// The other side ended a connection that was not established yet.
    Refused,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) local: TransportAddress,
    pub(super) remote: TransportAddress,
    state: State,
    /// The oldest sequence number that is not acknowledged: SND.UNA.
    unacknowledged: u32,
    /// The next sequence number to send: SND.NXT.
    next: u32,
    /// The window that the other side announced last: SND.WND.
    window: u16,
    /// The next sequence number that is expected: RCV.NXT.
    expected: u32,
    /// What the program has written and was not sent yet.
    unsent: BytesMut,
    /// What has arrived and the program has not read yet.
    unread: BytesMut,
    /// The sequence number of its own FIN, once the program has closed its side.
    fin: Option<u32>,
    /// Whether the other side's FIN has arrived.
    ended: bool,
    /// Whether an RST ended the connection.
    was_reset: bool,
    /// Whether the program has closed the socket. What is left to send is still sent.
    is_orphan: bool,
    /// Who waits for data.
    reader: Option<Waker>,
    /// Who waits for room, or for the connection to be established.
    writer: Option<Waker>,
}

impl Connection {
    /// A connection to open, and its first segment.
    pub(super) fn open(local: TransportAddress, remote: TransportAddress, initial: u32) -> (Self, Segment) {
        let connection = Self::new(local, remote, State::SynSent, initial);
        let flags = Flags { syn: true, ..Flags::default() };
        (connection, Segment { seq: initial, ack: 0, flags, window: WINDOW_MAX, payload: Bytes::new() })
    }

    /// A connection that a SYN of the other side opens, and the segment that answers it.
    pub(super) fn answer(
        local: TransportAddress,
        remote: TransportAddress,
        initial: u32,
        syn: &Segment,
    ) -> (Self, Segment) {
        let mut connection = Self::new(local, remote, State::SynReceived, initial);
        connection.window = syn.window;
        connection.expected = syn.seq.wrapping_add(1);
        let flags = Flags { syn: true, ack: true, ..Flags::default() };
        let ack = connection.expected;
        (connection, Segment { seq: initial, ack, flags, window: WINDOW_MAX, payload: Bytes::new() })
    }

    fn new(local: TransportAddress, remote: TransportAddress, state: State, initial: u32) -> Self {
        // A SYN takes a sequence number.
        let next = initial.wrapping_add(1);
        Self {
            local,
            remote,
            state,
            unacknowledged: next,
            next,
            window: WINDOW_MAX,
            expected: 0,
            unsent: BytesMut::new(),
            unread: BytesMut::new(),
            fin: None,
            ended: false,
            was_reset: false,
            is_orphan: false,
            reader: None,
            writer: None,
        }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// Whether an RST has ended it.
    pub(super) fn was_reset(&self) -> bool {
        self.was_reset
    }

    /// Whether the program has closed the socket.
    pub(super) fn is_orphan(&self) -> bool {
        self.is_orphan
    }

    /// Whether neither the program nor the other side needs it any more.
    pub(super) fn is_over(&self) -> bool {
        self.is_orphan && self.state == State::Closed
    }

    // ---- segments

    /// Takes a segment of the other side. Adds what answers it to `out`.
    pub(super) fn take(&mut self, segment: &Segment, out: &mut dyn FnMut(Segment)) -> Change {
        if segment.flags.rst {
            let refused = self.state == State::SynReceived;
            self.reset();
            return if refused { Change::Refused } else { Change::None };
        }
        match self.state {
            State::SynSent => {
                if segment.flags.syn && segment.flags.ack {
                    self.state = State::Established;
                    self.expected = segment.seq.wrapping_add(1);
                    self.window = segment.window;
                    wake(&mut self.writer);
                    out(self.acknowledgment());
                }
                Change::None
            }
            State::SynReceived => {
                if segment.flags.syn || !segment.flags.ack || segment.ack != self.next {
                    return Change::None;
                }
                self.state = State::Established;
                self.window = segment.window;
                Change::Accepted
            }
            State::Closed => Change::None,
            _ => {
                self.take_in_order(segment, out);
                Change::None
            }
        }
    }

    fn take_in_order(&mut self, segment: &Segment, out: &mut dyn FnMut(Segment)) {
        if segment.flags.ack {
            self.take_acknowledgment(segment);
        }
        let mut news = false;
        if !segment.payload.is_empty() && segment.seq == self.expected && !self.ended {
            let length = segment.payload.len().min(BUFFER_BYTES - self.unread.len());
            self.unread.extend_from_slice(&segment.payload[..length]);
            self.expected = self.expected.wrapping_add(length as u32);
            news = length > 0;
        }
        let end = segment.seq.wrapping_add(segment.payload.len() as u32);
        if segment.flags.fin && !self.ended && end == self.expected {
            self.ended = true;
            self.expected = self.expected.wrapping_add(1);
            self.state = match self.state {
                State::Established => State::CloseWait,
                State::FinWait1 => State::Closing,
                State::FinWait2 => State::Closed,
                other => other,
            };
            news = true;
        }
        if segment.flags.ack {
            wake(&mut self.writer);
        }
        if news {
            wake(&mut self.reader);
            out(self.acknowledgment());
        }
    }

    fn take_acknowledgment(&mut self, segment: &Segment) {
        self.window = segment.window;
        let acknowledged = segment.ack.wrapping_sub(self.unacknowledged);
        if acknowledged == 0 || acknowledged > self.in_flight() {
            return;
        }
        self.unacknowledged = segment.ack;
        if self.fin.is_some_and(|fin| segment.ack == fin.wrapping_add(1)) {
            self.state = match self.state {
                State::FinWait1 => State::FinWait2,
                State::Closing | State::LastAck => State::Closed,
                other => other,
            };
        }
    }

    /// Adds the segments that the window of the other side allows to `out`.
    pub(super) fn send(&mut self, out: &mut dyn FnMut(Segment)) {
        let may_send = matches!(
            self.state,
            State::Established | State::CloseWait | State::FinWait1 | State::Closing | State::LastAck
        );
        if !may_send {
            return;
        }
        loop {
            let room = usize::from(self.window).saturating_sub(self.in_flight() as usize);
            let flags = Flags { ack: true, ..Flags::default() };
            let mut segment = Segment { flags, seq: self.next, ..self.acknowledgment() };
            if room == 0 {
                return;
            } else if !self.unsent.is_empty() {
                let length = self.unsent.len().min(SEGMENT_BYTES_MAX).min(room);
                segment.payload = self.unsent.split_to(length).freeze();
                segment.flags.psh = true;
                self.next = self.next.wrapping_add(length as u32);
            } else if self.fin == Some(self.next) {
                segment.flags.fin = true;
                self.next = self.next.wrapping_add(1);
            } else {
                return;
            }
            out(segment);
        }
    }

    /// The RST that ends the connection for the other side.
    pub(super) fn abortion(&self) -> Segment {
        let flags = Flags { rst: true, ack: true, ..Flags::default() };
        Segment { seq: self.next, ack: self.expected, flags, window: 0, payload: Bytes::new() }
    }

    fn acknowledgment(&self) -> Segment {
        let window = (BUFFER_BYTES - self.unread.len()).min(usize::from(WINDOW_MAX)) as u16;
        let flags = Flags { ack: true, ..Flags::default() };
        Segment { seq: self.next, ack: self.expected, flags, window, payload: Bytes::new() }
    }

    /// The sequence numbers that are sent and not acknowledged.
    fn in_flight(&self) -> u32 {
        self.next.wrapping_sub(self.unacknowledged)
    }

    /// Ends the connection as an RST does: what was not read is lost, and whoever waits is told.
    pub(super) fn reset(&mut self) {
        self.state = State::Closed;
        self.was_reset = true;
        self.unsent.clear();
        self.unread.clear();
        wake(&mut self.writer);
        wake(&mut self.reader);
    }

    // ---- what programs do

    pub(super) fn poll_established(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.state {
            State::Established | State::CloseWait => Poll::Ready(Ok(())),
            State::SynSent => wait(&mut self.writer, cx),
            _ => Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into())),
        }
    }

    /// Takes all that has arrived; nothing if the other side has closed its side. Adds a segment to `out` if the window
    /// was nearly closed and is open again.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut dyn FnMut(Segment),
    ) -> Poll<io::Result<BytesMut>> {
        self.check()?;
        if self.unread.is_empty() {
            return match self.state {
                _ if self.ended => Poll::Ready(Ok(BytesMut::new())),
                State::Established | State::FinWait1 | State::FinWait2 => wait(&mut self.reader, cx),
                _ => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
            };
        }
        let read = self.unread.split();
        if read.len() >= BUFFER_BYTES / 2 {
            out(self.acknowledgment());
        }
        Poll::Ready(Ok(read))
    }

    /// Takes as much as there is room for; returns the number of bytes.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        if self.fin.is_some() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if !matches!(self.state, State::Established | State::CloseWait) {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        }
        let room = BUFFER_BYTES.saturating_sub(self.in_flight() as usize + self.unsent.len());
        if room == 0 {
            return wait(&mut self.writer, cx);
        }
        let length = bytes.len().min(room);
        self.unsent.extend_from_slice(&bytes[..length]);
        Poll::Ready(Ok(length))
    }

    /// Closes the program's side: a FIN follows what is still to be sent.
    pub(super) fn shut_down(&mut self) -> io::Result<()> {
        self.check()?;
        if self.fin.is_none() {
            self.fin = Some(self.next.wrapping_add(self.unsent.len() as u32));
            self.state = match self.state {
                State::Established => State::FinWait1,
                State::CloseWait => State::LastAck,
                other => other,
            };
        }
        Ok(())
    }

    /// Closes the socket. Returns what is left of the connection.
    pub(super) fn close(&mut self) -> Remainder {
        let was_open = !matches!(self.state, State::Closed | State::SynSent | State::SynReceived);
        if !was_open {
            Remainder::Nothing
        } else if self.unread.is_empty() {
            self.is_orphan = true;
            // It was not reset, so this cannot fail.
            let _ = self.shut_down();
            Remainder::Orphan
        } else {
            Remainder::Reset(self.abortion())
        }
    }

    fn check(&self) -> io::Result<()> {
        if self.was_reset { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

/// What is left of a connection whose socket was closed.
#[derive(Debug)]
pub(super) enum Remainder {
    Nothing,
    /// What was written is still sent, then a FIN.
    Orphan,
    /// The program did not read all that had arrived. The other side is told (RFC 2525 §2.17).
    Reset(Segment),
}

pub(super) fn wake(waiting: &mut Option<Waker>) {
    if let Some(waker) = waiting.take() {
        waker.wake();
    }
}

pub(super) fn wait<T>(waiting: &mut Option<Waker>, cx: &Context<'_>) -> Poll<T> {
    if !waiting.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
        *waiting = Some(cx.waker().clone());
    }
    Poll::Pending
}
