//! TURN over TCP and TLS between client and server (RFC 8656 §2.1). Data still reaches peers over UDP.

use std::collections::HashMap;
use std::io;
use std::sync::MutexGuard;

use tokio::sync::mpsc;

use super::{FiveTuple, Turn};
use crate::net::Network;

/// Number of messages that wait to be written to a connection. More are dropped, as a full socket drops datagrams.
const QUEUED_MAX: usize = 128;

/// What is to be written to each connection of a client.
pub(super) type Streams = HashMap<FiveTuple, mpsc::Sender<Vec<u8>>>;

impl<N: Network> Turn<N> {
    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock()
    }

    /// Enters a connection. Returns the messages to write to it.
    pub(crate) fn connected(&self, five_tuple: FiveTuple) -> mpsc::Receiver<Vec<u8>> {
        let (sender, receiver) = mpsc::channel(QUEUED_MAX);
        self.streams().insert(five_tuple, sender);
        receiver
    }

    /// Removes a connection that has ended, and its allocation: no other connection has its 5-tuple.
    pub(crate) fn disconnected(&self, five_tuple: FiveTuple) {
        self.streams().remove(&five_tuple);
        for allocation in self.allocations(five_tuple) {
            self.remove(&allocation);
            allocation.given_up.notify_one();
        }
    }

    /// Whether a connection has an allocation, so that it may be silent for a long time.
    pub(crate) fn has_allocation(&self, five_tuple: FiveTuple) -> bool {
        self.allocation(five_tuple).is_some()
    }

    /// Queues a message for a connection, never waiting.
    //= https://www.rfc-editor.org/rfc/rfc8656#section-12.5
    //# Over TCP and TLS-over-TCP, the ChannelData message MUST be padded to
    //# a multiple of four bytes in order to ensure the alignment of
    //# subsequent messages.
    pub(super) fn send_on_stream(&self, five_tuple: FiveTuple, message: &[u8]) -> io::Result<usize> {
        let mut padded = message.to_vec();
        padded.resize(message.len().next_multiple_of(4), 0);
        let streams = self.streams();
        let stream = streams.get(&five_tuple).ok_or(io::ErrorKind::NotConnected)?;
        stream.try_send(padded).map_err(|_| io::ErrorKind::WouldBlock)?;
        Ok(message.len())
    }
}
