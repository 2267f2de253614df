//! Bytes, datagrams and connections between the program's sockets and the simulated network.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustix::event::PollFlags;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, recv, send, socketpair,
};

use super::channel;
use super::datagram::{self, RECORD_BYTES_MAX};
use super::descriptors::Handling;
use super::machine::Machine;
use super::process::Answer;
use super::socket::{Kind, Sharing, Socket, SocketId, State, look};
use super::stream::{Dial, End, Far, Stream};
use crate::hash::digest;
use crate::socket::SimUdp;

/// Size of the record that brings a connection to a listening socket.
const ACCEPT_BYTES: usize = 192;
/// What the program's socket takes before the program reads.
const BUFFER_BYTES: usize = 64 * 1024;
/// Where programs ask for the addresses of names, if they do not leave that to the C library.
const DNS_PORT: u16 = 53;

impl Machine {
    /// Moves everything that can be moved between the program and the network, and notes for which process something
    /// has arrived.
    pub(super) fn exchange(&mut self, cx: &mut Context<'_>) {
        let _handling = Handling::start();
        let ids: Vec<_> = self.sockets.keys().copied().collect();
        let events = look(self.sockets.values().map(|socket| &socket.end));
        for (id, events) in ids.into_iter().zip(events) {
            let has_closed = events.contains(PollFlags::HUP);
            let Some(socket) = self.sockets.get_mut(&id) else { continue };
            match &mut socket.state {
                State::Fresh | State::Bound | State::Listening if has_closed => self.close(id),
                State::Fresh | State::Bound | State::Listening => {}
                State::Connecting(_) if has_closed => self.close(id),
                State::Connecting(dial) => {
                    if let Poll::Ready(connected) = dial.connected.as_mut().poll(cx) {
                        self.connected(id, connected);
                        self.exchange_stream(id, has_closed, cx);
                    }
                }
                State::Connected(_) => self.exchange_stream(id, has_closed, cx),
                State::Datagrams(_) => {
                    self.send_datagrams(id);
                    self.receive_datagrams(id, cx);
                    if has_closed {
                        self.close(id);
                    }
                }
            }
        }
        self.accept(cx);
    }

    fn touch(&mut self, owner: u32) {
        self.touched.get_or_insert(owner);
    }

    /// Removes sockets that the program has closed, so that their ports are free.
    pub(super) fn forget_closed(&mut self) {
        let ids: Vec<_> = self.sockets.keys().copied().collect();
        let events = look(self.sockets.values().map(|socket| &socket.end));
        for (id, _) in ids.into_iter().zip(events).filter(|(_, events)| events.contains(PollFlags::HUP)) {
            let state = self.sockets.get(&id).map(|socket| &socket.state);
            if !matches!(state, Some(State::Connected(_) | State::Connecting(_))) {
                self.send_datagrams(id);
                self.close(id);
            }
        }
    }

    fn close(&mut self, id: SocketId) {
        self.ended(id, "the program has closed it");
        let Some(socket) = self.sockets.remove(&id) else { return };
        if matches!(socket.state, State::Listening) {
            let port = socket.local.port();
            let is_listener = |socket: &Socket| is_listener(socket, port);
            if !self.sockets.values().any(is_listener) {
                self.ports.remove(&port);
            }
        }
    }

    // ---- TCP

    fn accept(&mut self, cx: &mut Context<'_>) {
        let ports: Vec<_> = self.ports.keys().copied().collect();
        for port in ports {
            while let Some(Poll::Ready(Ok((stream, from)))) =
                self.ports.get(&port).map(|port| port.listener.poll_accept(cx))
            {
                let to = SocketAddr::new(self.host.address(), port);
                let id = SocketId(0, self.made + 1);
                if self.accepted(port, Far::Net(stream), from, to) {
                    // What it has sent already goes along.
                    self.exchange_stream(id, false, cx);
                }
            }
        }
    }

    /// Gives a connection to one of the sockets that listen on its port; returns false if there is none.
    pub(super) fn accepted(&mut self, port: u16, far: Far, from: SocketAddr, to: SocketAddr) -> bool {
        let listeners = self.sockets.iter().filter(|(_, socket)| is_listener(socket, port));
        let listeners: Vec<_> = listeners.map(|(id, _)| *id).collect();
        let (Some(entry), false) = (self.ports.get_mut(&port), listeners.is_empty()) else { return false };
        let chosen = listeners[entry.accepted % listeners.len()];
        entry.accepted += 1;
        let listener = &self.sockets[&chosen];
        let flags = SocketFlags::CLOEXEC;
        let Ok((ours, theirs)) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None) else { return false };
        self.made += 1;
        let id = SocketId(0, self.made);
        let name = SocketAddrUnix::new_abstract_name(format!("{}/{id}", self.name).as_bytes());
        if name.and_then(|name| bind(&ours, &name)).is_err() {
            return false;
        }
        // Where this is not allowed, the default size does as well.
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(&ours, BUFFER_BYTES);
        let mut record = format!("{id} {} {} {} {}", from.ip(), from.port(), to.ip(), to.port()).into_bytes();
        record.resize(ACCEPT_BYTES, 0);
        if channel::send(&listener.end, &record, Some(theirs.as_fd())).is_err() {
            // The program accepts nothing, and its queue is full.
            return false;
        }
        let (owner, is_v6) = (listener.owner, listener.is_v6);
        let state = State::Connected(Box::new(Stream::new(far)));
        let sharing = Sharing::default();
        let socket = Socket { kind: Kind::Tcp, is_v6, owner, end: ours, local: to, peer: Some(from), sharing, state };
        self.sockets.insert(id, socket);
        self.touch(owner);
        true
    }

    /// A connection that the program opens stands, or has failed.
    fn connected(&mut self, id: SocketId, connected: std::io::Result<Far>) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let owner = socket.owner;
        match connected {
            Ok(far) => {
                let State::Connecting(Dial { mut filler, .. }) =
                    std::mem::replace(&mut socket.state, State::Connected(Box::new(Stream::new(far))))
                else {
                    unreachable!("only a socket that connects is connected")
                };
                if self.client.as_ref().is_some_and(|client| client.watches(id))
                    && let State::Connected(stream) = &mut socket.state
                {
                    stream.watch();
                }
                let mut bytes = [0; 4096];
                while filler > 0 {
                    let wanted = filler.min(bytes.len());
                    match recv(&socket.end, &mut bytes[..wanted], RecvFlags::DONTWAIT) {
                        Ok((n, _)) if n > 0 => filler -= n,
                        _ => break,
                    }
                }
            }
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(match error.kind() {
                    std::io::ErrorKind::TimedOut => libc::ETIMEDOUT,
                    std::io::ErrorKind::ConnectionReset => libc::ECONNRESET,
                    _ => libc::ECONNREFUSED,
                });
                if let Some(process) = self.processes.iter().find(|process| process.index == owner) {
                    process.fail(id, errno);
                }
                self.sockets.remove(&id);
                self.ended(id, &format!("it could not be opened: {error}"));
            }
        }
        self.touch(owner);
    }

    fn exchange_stream(&mut self, id: SocketId, has_closed: bool, cx: &mut Context<'_>) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let State::Connected(stream) = &mut socket.state else { return };
        let moved = stream.exchange(&socket.end, has_closed, cx);
        let owner = socket.owner;
        if let Some(client) = &mut self.client {
            stream.take_seen().iter().for_each(|(out, bytes)| client.passed(id, *out, bytes));
        }
        let waits_for_room =
            |owner: u32| self.processes.iter().any(|process| process.index == owner && process.fills_buffers);
        if moved.gave || (moved.took && waits_for_room(owner)) {
            self.touch(owner);
        }
        match moved.end {
            End::Open => {}
            End::Closed => {
                self.sockets.remove(&id);
                self.ended(id, "the program has closed it");
            }
            End::Aborted => self.abort_socket(id),
            End::Reset => {
                self.reset(id);
                self.touch(owner);
            }
        }
    }

    fn abort_socket(&mut self, id: SocketId) {
        self.ended(id, "the program has aborted it");
        if let Some(Socket { state: State::Connected(stream), .. }) = self.sockets.remove(&id) {
            stream.abort();
        }
    }

    /// The program aborts a connection. What it has written before is sent first.
    pub(super) fn abort(&mut self, id: SocketId) {
        self.exchange_stream(id, true, &mut Context::from_waker(std::task::Waker::noop()));
        self.abort_socket(id);
    }

    /// The other side has reset a connection. A socket that is closed while a byte that the program wrote is unread
    /// looks reset to the program, so the library first writes one.
    fn reset(&mut self, id: SocketId) {
        self.ended(id, "it was reset");
        let resting = self.processes.iter().filter(|process| process.rest.is_some());
        for index in resting.map(|process| process.index).collect::<Vec<_>>() {
            // A process that does not answer is found out when it is to go on.
            if let Ok(Some(Answer::Poisoned)) = self.ask(index, &format!("reset {id}")) {
                break;
            }
        }
        self.sockets.remove(&id);
    }

    /// A connection has ended. A client's signaling is recorded.
    fn ended(&mut self, id: SocketId, how: &str) {
        if let Some(client) = &mut self.client {
            client.ended(id, how);
        }
    }

    /// Breaks the signaling connection of a client, on both sides. Returns whether there is one.
    pub(super) fn cut_signaling(&mut self) -> bool {
        let _handling = Handling::start();
        let Some(id) = self.client.as_ref().and_then(|client| client.signaling()) else { return false };
        self.ended(id, "torn by the scenario");
        let stream = self.sockets.get_mut(&id).map(|socket| std::mem::replace(&mut socket.state, State::Bound));
        if let Some(State::Connected(stream)) = stream {
            stream.abort();
        }
        self.reset(id);
        true
    }

    // ---- UDP

    pub(super) fn send_datagrams(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get(&id) else { return };
        let State::Datagrams(udp) = &socket.state else { return };
        let mut record = vec![0; RECORD_BYTES_MAX];
        let mut own = Vec::new();
        while let Ok((n, _)) = recv(&socket.end, &mut record[..], RecvFlags::DONTWAIT) {
            if n == 0 {
                break;
            }
            let Some((to, payload)) = datagram::parse(&record[..n.min(RECORD_BYTES_MAX)]) else { continue };
            let port = socket.local.port();
            if let Some(client) = &mut self.client {
                client.datagram(true, port, to, payload);
            }
            if to.ip().is_loopback() || to.ip() == self.host.address() {
                own.push((SocketAddr::new(to.ip(), port), to, payload.to_vec()));
                continue;
            }
            if to.port() == DNS_PORT && self.client.is_none() {
                self.status.seeks(format!("the DNS server {to}"));
            }
            // A datagram that cannot be sent is lost.
            let _ = udp.as_ref().map(|udp| udp.send(payload, to));
        }
        for (from, to, payload) in own {
            self.deliver_own(id, from, to, &payload);
        }
    }

    /// Delivers a datagram to a socket of the same machine. If there is none, the sender learns it if it has connected its
    /// socket, as from an ICMP message.
    fn deliver_own(&mut self, id: SocketId, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        let is_receiver = |socket: &Socket| {
            let ip = socket.local.ip();
            let takes = ip == to.ip() || ip.is_unspecified() || ip.is_ipv6();
            matches!(socket.state, State::Datagrams(_)) && socket.local.port() == to.port() && takes
        };
        let is_from = |socket: &Socket| socket.peer.is_none_or(|peer| peer == from);
        let receiver = self.sockets.values().find(|socket| is_receiver(socket) && is_from(socket));
        let (record, socket) = match receiver {
            Some(receiver) => (datagram::record(from, to, payload), receiver),
            None => match self.sockets.get(&id).filter(|sender| sender.peer == Some(to)) {
                Some(sender) => (datagram::error(to, libc::ECONNREFUSED), sender),
                None => return,
            },
        };
        // What a full buffer does not take is lost.
        let is_taken = send(&socket.end, &record, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).is_ok();
        let owner = socket.owner;
        if is_taken {
            self.touch(owner);
        }
    }

    fn receive_datagrams(&mut self, id: SocketId, cx: &mut Context<'_>) {
        let Some(socket) = self.sockets.get(&id) else { return };
        let State::Datagrams(Some(udp)) = &socket.state else { return };
        let (udp, to) = (udp.clone(), SocketAddr::new(self.host.address(), socket.local.port()));
        while let Poll::Ready((from, payload)) = udp.poll_receive(cx) {
            let Some(receiver) = self.receiver(&udp, from.into(), to) else { continue };
            if let Some(client) = &mut self.client {
                client.datagram(false, to.port(), from.into(), &payload);
            }
            let record = datagram::record(from.into(), to, &payload);
            let Socket { end, owner, .. } = &self.sockets[&receiver];
            let owner = *owner;
            // What a full buffer does not take is lost.
            if send(end, &record, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).is_ok() {
                self.touch(owner);
            }
        }
    }

    /// Which of the sockets that share a port receives a datagram. As in Linux: one that is connected to its sender; else, of
    /// those with `SO_REUSEPORT`, one that follows from the addresses; else the last.
    fn receiver(&self, udp: &Arc<SimUdp>, from: SocketAddr, to: SocketAddr) -> Option<SocketId> {
        let is_one = |socket: &Socket| matches!(&socket.state, State::Datagrams(Some(own)) if Arc::ptr_eq(own, udp));
        let mut sharing = self.sockets.iter().filter(|(_, socket)| is_one(socket));
        if let Some((id, _)) = sharing.clone().find(|(_, socket)| socket.peer == Some(from)) {
            return Some(*id);
        }
        let open: Vec<_> = sharing.clone().filter(|(_, socket)| socket.peer.is_none()).map(|(id, _)| *id).collect();
        if open.len() > 1 && sharing.all(|(_, socket)| socket.sharing.port) {
            let hash = digest(format!("{from} {to}").as_bytes());
            return open.get((hash % open.len() as u64) as usize).copied();
        }
        open.last().copied()
    }
}

fn is_listener(socket: &Socket, port: u16) -> bool {
    socket.kind == Kind::Tcp && socket.local.port() == port && matches!(socket.state, State::Listening)
}
