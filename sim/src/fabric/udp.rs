//! The UDP ports of a host. They drop datagrams that do not fit into the buffer.

use std::collections::{BTreeMap, VecDeque};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::event::TransportAddress;
use crate::event::{Drop, PacketId};

/// Bytes of payload that a socket buffers until they are read: Linux' `net.core.rmem_default`.
const RECEIVE_BUFFER_BYTES: usize = 212_992;
/// Bytes that a datagram occupies in the buffer in addition to its payload.
const DATAGRAM_OVERHEAD: usize = 256;

/// A datagram in a socket's buffer.
#[derive(Debug)]
pub(crate) struct Datagram {
    pub(crate) packet: PacketId,
    pub(crate) from: TransportAddress,
    pub(crate) payload: Bytes,
}

#[derive(Debug, Default)]
struct Port {
    queue: VecDeque<Datagram>,
    queued_bytes: usize,
    reader: Option<Waker>,
}

/// The bound ports of a host, by the address at which they are bound.
#[derive(Debug, Default)]
pub(crate) struct UdpPorts(BTreeMap<TransportAddress, Port>);

impl UdpPorts {
    /// Binds a port; returns false if it is in use.
    pub(crate) fn bind(&mut self, at: TransportAddress) -> bool {
        let free = !self.0.contains_key(&at);
        if free {
            self.0.insert(at, Port::default());
        }
        free
    }

    pub(crate) fn close(&mut self, at: TransportAddress) {
        self.0.remove(&at);
    }

    /// Unbinds every port, as a loss of power does.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn deliver(&mut self, at: TransportAddress, datagram: Datagram) -> Result<(), Drop> {
        let port = self.0.get_mut(&at).ok_or(Drop::PortUnreachable)?;
        let cost = datagram.payload.len() + DATAGRAM_OVERHEAD;
        if port.queued_bytes + cost > RECEIVE_BUFFER_BYTES {
            return Err(Drop::ReceiveBufferFull);
        }
        port.queued_bytes += cost;
        port.queue.push_back(datagram);
        if let Some(reader) = port.reader.take() {
            reader.wake();
        }
        Ok(())
    }

    pub(crate) fn poll_receive(&mut self, at: TransportAddress, cx: &mut Context<'_>) -> Poll<Datagram> {
        let Some(port) = self.0.get_mut(&at) else { return Poll::Pending };
        match port.queue.pop_front() {
            Some(datagram) => {
                port.queued_bytes -= datagram.payload.len() + DATAGRAM_OVERHEAD;
                Poll::Ready(datagram)
            }
            None => {
                if !port.reader.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                    port.reader = Some(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}
