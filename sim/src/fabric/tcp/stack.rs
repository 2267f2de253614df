//! The TCP of one machine during one life: its listeners, its connections, and the ports they use.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::IpAddr;
use std::task::{Context, Poll, Waker};

use super::connection::{Change, Connection, Remainder, State, wait, wake};
use super::{ConnectionId, Outgoing, Service};
use crate::event::TransportAddress;
use crate::fabric::index::HostIndex;
use crate::fabric::packet::{Body, Packet, Segment};

/// The first of the ports for connections to others (RFC 6335 §6). They end at the last port there is.
const EPHEMERAL: u16 = 49_152;
/// How many connections may wait until the program accepts them, or until they are established.
const BACKLOG: usize = 4_096;
/// What the first connection begins to count from, and how far apart the numbers of two connections are. Real stacks
/// draw them; these are easy to read in a capture.
const INITIAL_SEQUENCE: u32 = 0x0100_0000;
const SEQUENCE_STEP: u32 = 0x1_0000;

#[derive(Debug, Default)]
struct Listener {
    /// Established connections that the program has not accepted.
    ready: VecDeque<ConnectionId>,
    /// The number of connections that are not established.
    opening: usize,
    waiter: Option<Waker>,
}

#[derive(Debug)]
pub(super) struct Stack {
    host: HostIndex,
    listeners: BTreeMap<Service, Listener>,
    connections: BTreeMap<ConnectionId, Connection>,
    by_ends: BTreeMap<(TransportAddress, TransportAddress), ConnectionId>,
    /// The ports of connections that the programs of this machine have opened.
    dialled_from: BTreeSet<u16>,
    next_port: u16,
    next_sequence: u32,
    /// What must be sent before the segments of `unsent`, in order.
    outgoing: VecDeque<Outgoing>,
    /// Connections that may have something to send, or may be over.
    unsent: BTreeSet<ConnectionId>,
}

impl Stack {
    /// A stack whose first connection is opened from the ephemeral port with this number.
    pub(super) fn new(host: HostIndex, first_port: u16) -> Self {
        Self {
            host,
            listeners: BTreeMap::new(),
            connections: BTreeMap::new(),
            by_ends: BTreeMap::new(),
            dialled_from: BTreeSet::new(),
            next_port: EPHEMERAL + first_port,
            next_sequence: INITIAL_SEQUENCE,
            outgoing: VecDeque::new(),
            unsent: BTreeSet::new(),
        }
    }

    // ---- what programs do

    /// Listens at a port of one family; 0 picks one. Returns the port.
    pub(super) fn listen(&mut self, service: Service) -> io::Result<u16> {
        let port = if service.port == 0 { self.free_port()? } else { service.port };
        let service = Service { port, ..service };
        if self.dialled_from.contains(&port) || self.listeners.contains_key(&service) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        self.listeners.insert(service, Listener::default());
        Ok(port)
    }

    pub(super) fn poll_accept(
        &mut self,
        service: Service,
        cx: &mut Context<'_>,
    ) -> Poll<(ConnectionId, TransportAddress)> {
        let Some(listener) = self.listeners.get_mut(&service) else { return Poll::Pending };
        match listener.ready.pop_front() {
            Some(id) => Poll::Ready((id, self.connections[&id].remote)),
            None => wait(&mut listener.waiter, cx),
        }
    }

    /// Stops listening. Whoever was not accepted is told.
    pub(super) fn stop_listening(&mut self, service: Service) {
        let Some(listener) = self.listeners.remove(&service) else { return };
        let is_opening = |connection: &Connection| {
            Service::at(connection.local) == service && connection.state() == State::SynReceived
        };
        let opening = self.connections.iter().filter(|(_, connection)| is_opening(connection));
        let refused: Vec<_> = listener.ready.into_iter().chain(opening.map(|(id, _)| *id)).collect();
        for id in refused {
            if let Some(connection) = self.remove(id) {
                self.emit(&connection, connection.abortion());
            }
        }
    }

    /// Opens a connection under a number that no other connection has.
    pub(super) fn connect(&mut self, id: ConnectionId, from: IpAddr, remote: TransportAddress) -> io::Result<()> {
        let port = self.free_port()?;
        let local = TransportAddress::new(from, port);
        let (connection, syn) = Connection::open(local, remote, self.initial_sequence());
        self.dialled_from.insert(port);
        self.emit(&connection, syn);
        self.insert(id, connection);
        Ok(())
    }

    /// The local and the remote end of a connection.
    pub(super) fn ends(&self, id: ConnectionId) -> Option<(TransportAddress, TransportAddress)> {
        self.connections.get(&id).map(|connection| (connection.local, connection.remote))
    }

    /// Applies an operation of a program to a connection, which may send afterwards.
    pub(super) fn with<T>(
        &mut self,
        id: ConnectionId,
        operation: impl FnOnce(&mut Connection, &mut dyn FnMut(Segment)) -> T,
    ) -> Option<T> {
        let connection = self.connections.get_mut(&id)?;
        let (local, remote, host) = (connection.local, connection.remote, self.host);
        let result = operation(connection, &mut |segment| {
            self.outgoing.push_back(Outgoing { host, src: local, dst: remote, segment });
        });
        self.unsent.insert(id);
        Some(result)
    }

    /// Closes the socket of a connection. Returns whether the connection goes on without it.
    pub(super) fn close(&mut self, id: ConnectionId) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else { return false };
        match connection.close() {
            Remainder::Orphan => {
                self.unsent.insert(id);
                return true;
            }
            Remainder::Reset(segment) => {
                if let Some(connection) = self.remove(id) {
                    self.emit(&connection, segment);
                }
            }
            Remainder::Nothing => drop(self.remove(id)),
        }
        false
    }

    /// Forgets a connection whose program has closed the socket.
    pub(super) fn forget_orphan(&mut self, id: ConnectionId) {
        if self.connections.get(&id).is_some_and(Connection::is_orphan) {
            self.remove(id);
        }
    }

    // ---- segments

    /// Takes a segment that has arrived. New connections get the number `fresh`; returns whether one did.
    pub(super) fn deliver(&mut self, packet: &Packet, segment: &Segment, fresh: ConnectionId) -> bool {
        let ends = (packet.dst, packet.src);
        if let Some(&id) = self.by_ends.get(&ends) {
            self.take(id, packet, segment);
            return false;
        }
        let opens = segment.flags.syn && !segment.flags.ack;
        match self.listeners.get_mut(&Service::at(packet.dst)) {
            Some(listener) if opens => {
                let has_room = listener.opening + listener.ready.len() < BACKLOG;
                if has_room {
                    listener.opening += 1;
                    let (connection, answer) = Connection::answer(ends.0, ends.1, self.initial_sequence(), segment);
                    self.emit(&connection, answer);
                    self.insert(fresh, connection);
                }
                has_room
            }
            _ => {
                self.refuse(packet);
                false
            }
        }
    }

    fn take(&mut self, id: ConnectionId, packet: &Packet, segment: &Segment) {
        if self.connections[&id].was_reset() {
            // The program may not have noticed, but there is no connection (RFC 9293 §3.10.7.1).
            return self.refuse(packet);
        }
        if self.connections[&id].is_orphan() && !segment.payload.is_empty() && !segment.flags.rst {
            // Nobody will read it (RFC 9293 §3.6.1).
            self.remove(id);
            return self.refuse(packet);
        }
        let change = self.with(id, |connection, out| connection.take(segment, out));
        let Some(listener) = self.listeners.get_mut(&Service::at(packet.dst)) else { return };
        match change {
            Some(Change::Accepted) => {
                listener.opening -= 1;
                listener.ready.push_back(id);
                wake(&mut listener.waiter);
            }
            Some(Change::Refused) => {
                listener.opening -= 1;
                self.remove(id);
            }
            Some(Change::None) | None => {}
        }
    }

    /// Answers a segment of no connection with an RST.
    fn refuse(&mut self, packet: &Packet) {
        if let Some(Packet { src, dst, body: Body::Tcp(segment), .. }) = packet.reset() {
            self.outgoing.push_back(Outgoing { host: self.host, src, dst, segment });
        }
    }

    /// Moves all that can be sent now to `out`, and forgets connections that are over.
    pub(super) fn flush(&mut self, out: &mut VecDeque<Outgoing>) {
        out.append(&mut self.outgoing);
        for id in std::mem::take(&mut self.unsent) {
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            let (host, src, dst) = (self.host, connection.local, connection.remote);
            connection.send(&mut |segment| out.push_back(Outgoing { host, src, dst, segment }));
            if connection.is_over() {
                self.remove(id);
            }
        }
    }

    // ---- tables

    fn insert(&mut self, id: ConnectionId, connection: Connection) {
        self.by_ends.insert((connection.local, connection.remote), id);
        self.connections.insert(id, connection);
    }

    fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        let connection = self.connections.remove(&id)?;
        self.by_ends.remove(&(connection.local, connection.remote));
        self.dialled_from.remove(&connection.local.port());
        self.unsent.remove(&id);
        Some(connection)
    }

    fn emit(&mut self, from: &Connection, segment: Segment) {
        let (host, src, dst) = (self.host, from.local, from.remote);
        self.outgoing.push_back(Outgoing { host, src, dst, segment });
    }

    fn is_taken(&self, port: u16) -> bool {
        let is_served = |is_ipv6| self.listeners.contains_key(&Service { is_ipv6, port });
        self.dialled_from.contains(&port) || is_served(false) || is_served(true)
    }

    /// The next free ephemeral port.
    fn free_port(&mut self) -> io::Result<u16> {
        for _ in EPHEMERAL..=u16::MAX {
            let port = self.next_port;
            self.next_port = port.checked_add(1).unwrap_or(EPHEMERAL);
            if !self.is_taken(port) {
                return Ok(port);
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    fn initial_sequence(&mut self) -> u32 {
        let sequence = self.next_sequence;
        self.next_sequence = sequence.wrapping_add(SEQUENCE_STEP);
        sequence
    }
}
