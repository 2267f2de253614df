//! The TCP of all machines.
//!
//! Each life of a machine has a [`Stack`] of its own, so a machine that boots again knows nothing of its earlier life.
//! Only stacks and connections that have something to do are touched: a machine with 10,000 idle connections costs
//! nothing.
//!
//! | module | contents |
//! |---|---|
//! | `connection` | one end of a connection, as a state machine |
//! | `stack` | the listeners, connections and ports of a machine |

mod connection;
mod stack;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::IpAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;

use crate::event::TransportAddress;
use crate::fabric::index::HostIndex;
use crate::fabric::packet::{Packet, Segment};
use stack::Stack;

/// How long a connection may last after its program has closed the socket: Linux' `tcp_fin_timeout`.
const ORPHAN_LIFETIME: Duration = Duration::from_secs(60);

/// A life of a machine: from a boot to the next loss of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Life(u32);

/// A connection of a machine. No two connections of a simulation have the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConnectionId(u64);

/// Where a program listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Service {
    /// Whether it is of IPv6.
    pub(crate) is_ipv6: bool,
    pub(crate) port: u16,
}

impl Service {
    /// The service at an address of the machine.
    pub(crate) fn at(address: TransportAddress) -> Self {
        Self { is_ipv6: address.is_ipv6(), port: address.port() }
    }
}

/// A segment to send.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) host: HostIndex,
    pub(crate) src: TransportAddress,
    pub(crate) dst: TransportAddress,
    pub(crate) segment: Segment,
}

/// The TCP of all machines. What it is told about a life that is over has no effect, and what is asked never comes.
#[derive(Debug, Default)]
pub(crate) struct Tcp {
    lives: u32,
    connections: u64,
    stacks: BTreeMap<Life, Stack>,
    /// The lives whose stacks may have something to send, in the order of their boots.
    busy: BTreeSet<Life>,
    /// The connections whose programs have closed the socket, and until when they may last. The earliest is first.
    orphans: VecDeque<(Duration, Life, ConnectionId)>,
}

impl Tcp {
    /// Begins a life of a machine. If each began with the same port, a machine that lost power would dial from a port
    /// on which the other side still holds a connection; so the caller draws `first_port`, a small number.
    pub(crate) fn start(&mut self, host: HostIndex, first_port: u16) -> Life {
        let life = Life(self.lives);
        self.lives += 1;
        self.stacks.insert(life, Stack::new(host, first_port));
        life
    }

    /// Ends a life: nothing of it is sent any more.
    pub(crate) fn stop(&mut self, life: Life) {
        self.stacks.remove(&life);
        self.busy.remove(&life);
    }

    // ---- what programs do

    /// Listens at a port of one family; 0 picks one. Returns the port.
    ///
    /// # Errors
    /// The port is in use.
    pub(crate) fn listen(&mut self, life: Life, service: Service) -> io::Result<u16> {
        self.stacks.get_mut(&life).ok_or(io::ErrorKind::NetworkDown)?.listen(service)
    }

    pub(crate) fn poll_accept(
        &mut self,
        life: Life,
        service: Service,
        cx: &mut Context<'_>,
    ) -> Poll<(ConnectionId, TransportAddress)> {
        self.stacks.get_mut(&life).map_or(Poll::Pending, |stack| stack.poll_accept(service, cx))
    }

    pub(crate) fn stop_listening(&mut self, life: Life, service: Service) {
        if let Some(stack) = self.touch(life) {
            stack.stop_listening(service);
        }
    }

    /// Begins to open a connection from an address of the machine.
    ///
    /// # Errors
    /// All ports are in use.
    pub(crate) fn connect(&mut self, life: Life, from: IpAddr, remote: TransportAddress) -> io::Result<ConnectionId> {
        let id = self.fresh();
        self.touch(life).ok_or(io::ErrorKind::NetworkDown)?.connect(id, from, remote)?;
        Ok(id)
    }

    pub(crate) fn poll_established(
        &mut self,
        life: Life,
        id: ConnectionId,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.touch(life)
            .and_then(|stack| stack.with(id, |connection, _| connection.poll_established(cx)))
            .unwrap_or(Poll::Pending)
    }

    /// Takes all that has arrived; nothing if the other side has closed its side.
    pub(crate) fn poll_read(
        &mut self,
        life: Life,
        id: ConnectionId,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<BytesMut>> {
        self.touch(life)
            .and_then(|stack| stack.with(id, |connection, out| connection.poll_read(cx, out)))
            .unwrap_or(Poll::Pending)
    }

    pub(crate) fn poll_write(
        &mut self,
        life: Life,
        id: ConnectionId,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.touch(life)
            .and_then(|stack| stack.with(id, |connection, _| connection.poll_write(cx, bytes)))
            .unwrap_or(Poll::Pending)
    }

    /// Closes the program's side of a connection.
    pub(crate) fn shut_down(&mut self, life: Life, id: ConnectionId) -> Poll<io::Result<()>> {
        self.touch(life)
            .and_then(|stack| stack.with(id, |connection, _| Poll::Ready(connection.shut_down())))
            .unwrap_or(Poll::Pending)
    }

    /// Closes the socket of a connection.
    pub(crate) fn close(&mut self, life: Life, id: ConnectionId, now: Duration) {
        if let Some(stack) = self.touch(life)
            && stack.close(id)
        {
            self.orphans.push_back((now + ORPHAN_LIFETIME, life, id));
        }
    }

    /// Forgets a connection, and tells the program. Returns its local and its remote end: the caller tells the
    /// other side.
    pub(crate) fn abort(&mut self, life: Life, id: ConnectionId) -> Option<(TransportAddress, TransportAddress)> {
        let stack = self.touch(life)?;
        stack.with(id, |connection, _| connection.reset())?;
        stack.ends(id)
    }

    // ---- what the network does

    /// Takes a segment that has arrived at a machine.
    pub(crate) fn deliver(&mut self, life: Life, packet: &Packet, segment: &Segment) {
        let fresh = ConnectionId(self.connections);
        if self.touch(life).is_some_and(|stack| stack.deliver(packet, segment, fresh)) {
            self.connections += 1;
        }
    }

    /// All that can be sent now, in the order of sending.
    pub(crate) fn take_outgoing(&mut self) -> VecDeque<Outgoing> {
        let mut out = VecDeque::new();
        while let Some(life) = self.busy.pop_first() {
            if let Some(stack) = self.stacks.get_mut(&life) {
                stack.flush(&mut out);
            }
        }
        out
    }

    /// Whether there may be something to send.
    pub(crate) fn is_busy(&self) -> bool {
        !self.busy.is_empty()
    }

    /// Forgets closed connections whose time is over.
    pub(crate) fn forget_overdue(&mut self, now: Duration) {
        while self.next_overdue().is_some_and(|at| at <= now)
            && let Some((_, life, id)) = self.orphans.pop_front()
        {
            if let Some(stack) = self.stacks.get_mut(&life) {
                stack.forget_orphan(id);
            }
        }
    }

    /// When [`Tcp::forget_overdue`] is to be called next.
    pub(crate) fn next_overdue(&self) -> Option<Duration> {
        self.orphans.front().map(|(at, ..)| *at)
    }

    fn fresh(&mut self) -> ConnectionId {
        let id = ConnectionId(self.connections);
        self.connections += 1;
        id
    }

    /// The stack of a life, which may have something to send afterwards.
    fn touch(&mut self, life: Life) -> Option<&mut Stack> {
        let stack = self.stacks.get_mut(&life)?;
        self.busy.insert(life);
        Some(stack)
    }
}
