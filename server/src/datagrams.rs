//! Datagrams in batches: what one system call receives, and what one sends.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::{Deref, DerefMut};

use crate::lock::Lock;

/// Maximum number of datagrams that are received with one system call, unless the network has joined some of them.
pub(crate) const RECEIVED_MAX: usize = 32;
/// Space for what is received at once: a datagram, or several of one flow that the network has joined (UDP GRO). Not a
/// multiple of a page, so that the beginnings of all spaces do not compete for the same few lines of the cache.
const SPACE_BYTES: usize = 64 * 1024 + 320;
/// Space that a network without batches needs: one datagram of the maximum length, and a byte to detect longer ones.
const SMALL_SPACE_BYTES: usize = crate::turn::DATAGRAM_BYTES_MAX + 1;
/// How many batches are kept for the next use. More exist only while more tasks handle one at the same moment.
const KEPT_MAX: usize = 8;

/// Memory for batches, which all sockets share: a socket that waits needs none.
#[derive(Default)]
pub struct Buffers(Lock<Vec<Batch>>);

/// Datagrams that were received together, and room to collect those that are sent because of them.
#[derive(Default)]
pub struct Batch {
    /// What was received.
    pub received: Received,
    /// What is to be sent: empty when the batch is received.
    pub outgoing: Outgoing,
}

/// A [`Batch`] that returns to its [`Buffers`] when it is dropped.
pub struct Borrowed<'b> {
    batch: Option<Batch>,
    buffers: &'b Buffers,
}

/// Datagrams that were received together, in the order of their arrival.
#[derive(Default)]
pub struct Received {
    bytes: Vec<u8>,
    arrivals: Vec<Arrival>,
}

/// One of [`Received`].
struct Arrival {
    at: usize,
    length: usize,
    from: SocketAddr,
    destination: Option<IpAddr>,
}

/// A datagram that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Its data. If it is longer than the 9,216 bytes that the server handles, perhaps only more than those.
    pub data: &'a [u8],
    /// Its source.
    pub from: SocketAddr,
    /// The address to which it was sent: `None` if the socket is bound to a single one, or if the host does not report it.
    pub destination: Option<IpAddr>,
}

/// Datagrams that one socket sends together.
#[derive(Default)]
pub struct Outgoing {
    bytes: Vec<u8>,
    departures: Vec<Departure>,
}

/// One of [`Outgoing`].
pub(crate) struct Departure {
    pub(crate) at: usize,
    pub(crate) length: usize,
    /// How much of it counts as application data.
    payload: usize,
    pub(crate) source: Option<IpAddr>,
    pub(crate) to: SocketAddr,
    /// Whether it must arrive whole or not at all.
    pub(crate) is_whole: bool,
}

/// What became of [`Outgoing`] datagrams.
#[derive(Debug, Default)]
pub struct Sent {
    /// How many were sent.
    pub datagrams: usize,
    /// Their application data, in bytes.
    pub payload: usize,
    /// How many were not.
    pub failed: usize,
    /// Why the last one of them was not.
    pub error: Option<io::Error>,
}

impl Buffers {
    /// An empty batch.
    pub fn take(&self) -> Borrowed<'_> {
        let batch = self.0.lock().pop().unwrap_or_default();
        Borrowed { batch: Some(batch), buffers: self }
    }
}

impl fmt::Debug for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Buffers")
    }
}

impl Deref for Borrowed<'_> {
    type Target = Batch;

    fn deref(&self) -> &Batch {
        self.batch.as_ref().expect("it is there until it is dropped")
    }
}

impl DerefMut for Borrowed<'_> {
    fn deref_mut(&mut self) -> &mut Batch {
        self.batch.as_mut().expect("it is there until it is dropped")
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        let Some(mut batch) = self.batch.take() else { return };
        batch.received.arrivals.clear();
        batch.outgoing.clear();
        let mut kept = self.buffers.0.lock();
        if kept.len() < KEPT_MAX {
            kept.push(batch);
        }
    }
}

impl Received {
    /// The datagrams, in the order of their arrival.
    pub fn datagrams(&self) -> impl Iterator<Item = Datagram<'_>> {
        self.arrivals.iter().map(|&Arrival { at, length, from, destination }| Datagram {
            data: &self.bytes[at..at + length],
            from,
            destination,
        })
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.arrivals.is_empty()
    }

    /// Room for one datagram, for a network that receives them one by one.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.spaces(SMALL_SPACE_BYTES)[..SMALL_SPACE_BYTES]
    }

    /// Adds the datagram that is at the start of [`room`](Self::room).
    pub fn arrived(&mut self, length: usize, from: SocketAddr, destination: Option<IpAddr>) {
        self.arrivals.push(Arrival { at: 0, length, from, destination });
    }

    /// Room for `count` arrivals, each of which may be several joined datagrams.
    #[cfg(target_os = "linux")]
    pub(crate) fn rooms(&mut self, count: usize) -> impl Iterator<Item = &mut [u8]> {
        self.spaces(RECEIVED_MAX * SPACE_BYTES).chunks_exact_mut(SPACE_BYTES).take(count)
    }

    /// Adds what is in one of the [`rooms`](Self::rooms). If it was joined from several datagrams, each but the last one has `segment` bytes.
    #[cfg(target_os = "linux")]
    pub(crate) fn arrived_in(
        &mut self,
        room: usize,
        length: usize,
        segment: Option<usize>,
        from: SocketAddr,
        destination: Option<IpAddr>,
    ) {
        let (start, end) = (room * SPACE_BYTES, room * SPACE_BYTES + length);
        let step = segment.filter(|segment| *segment > 0).unwrap_or(length.max(1));
        // An empty datagram is one as well.
        for at in (start..end.max(start + 1)).step_by(step) {
            self.arrivals.push(Arrival { at, length: step.min(end - at), from, destination });
        }
    }

    fn spaces(&mut self, bytes: usize) -> &mut [u8] {
        if self.bytes.len() < bytes {
            // Not `resize`, which would touch every page.
            self.bytes = vec![0; bytes];
        }
        &mut self.bytes
    }
}

impl Outgoing {
    /// Adds a datagram of several parts, in which `payload` bytes are application data. `source` is the
    /// destination of a datagram that the socket has received.
    pub fn push(&mut self, parts: &[&[u8]], payload: usize, source: Option<IpAddr>, to: SocketAddr) {
        let at = self.bytes.len();
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.departures.push(Departure { at, length: self.bytes.len() - at, payload, source, to, is_whole: false });
    }

    /// Forbids routers to fragment the last datagram, where the network [can](crate::net::Udp::CAN_FORBID_FRAGMENTS).
    pub fn keep_last_whole(&mut self) {
        if let Some(last) = self.departures.last_mut() {
            last.is_whole = true;
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.departures.is_empty()
    }

    /// Removes all.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.departures.clear();
    }

    /// Sends one after the other, with `send` for each.
    pub fn send_each(&self, mut send: impl FnMut(&[u8], Option<IpAddr>, SocketAddr) -> io::Result<usize>) -> Sent {
        let mut sent = Sent::default();
        for departure in &self.departures {
            let &Departure { source, to, .. } = departure;
            sent.count(std::slice::from_ref(departure), send(self.data(departure), source, to).map(drop));
        }
        sent
    }

    /// A copy of the datagrams for which `is_wanted` says so.
    pub(crate) fn filtered(&self, mut is_wanted: impl FnMut(&[u8], Option<IpAddr>, SocketAddr) -> bool) -> Self {
        let mut wanted = Self::default();
        for departure in &self.departures {
            let &Departure { payload, source, to, is_whole, .. } = departure;
            if is_wanted(self.data(departure), source, to) {
                wanted.push(&[self.data(departure)], payload, source, to);
                if is_whole {
                    wanted.keep_last_whole();
                }
            }
        }
        wanted
    }

    pub(crate) fn data(&self, departure: &Departure) -> &[u8] {
        &self.bytes[departure.at..departure.at + departure.length]
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn departures(&self) -> &[Departure] {
        &self.departures
    }
}

impl Sent {
    /// Counts datagrams that had the same result.
    pub(crate) fn count(&mut self, departures: &[Departure], result: io::Result<()>) {
        match result {
            Ok(()) => {
                self.datagrams += departures.len();
                self.payload += departures.iter().map(|departure| departure.payload).sum::<usize>();
            }
            Err(error) => {
                self.failed += departures.len();
                self.error = Some(error);
            }
        }
    }
}
