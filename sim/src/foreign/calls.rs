//! What the program's processes ask the world: processes, sockets, names.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::channel::{self, Received};
use super::machine::{Machine, Port};
use super::socket::{Kind, Sharing, Socket, SocketId, State, unspecified, words};
use super::stream::{Dial, Far};
use super::trouble::Trouble;
use crate::event::{ProgramEvent, What};
use crate::socket::{SimListener, SimStream, SimUdp};

/// The name by which programs know the server's machine.
pub(crate) const SERVER_NAME: &str = "server";
/// Bytes between two sockets of the same machine.
const OWN_BYTES: usize = 64 * 1024;

/// The answer to a call: words, or the error's number.
type Answer = Result<String, i32>;

impl Machine {
    /// A process has called.
    pub(super) fn called(&mut self, index: u32) -> Result<(), Trouble> {
        // What it said before it called comes first.
        while self.told(index)? {}
        let Some(process) = self.processes.iter_mut().find(|process| process.index == index) else { return Ok(()) };
        let Some(calls) = &process.calls else { return Ok(()) };
        let (text, fd) = match channel::receive(calls, false) {
            Received::Message(text, fd) => (text, fd),
            Received::Nothing => return Ok(()),
            Received::End => {
                process.calls = None;
                return Ok(());
            }
        };
        let pid = process.pid;
        let words: Vec<_> = text.split(' ').collect();
        let answer = match words[..] {
            ["spin"] => {
                // Answered when time has passed.
                self.spinning.push_back(index);
                return Ok(());
            }
            ["spawn"] => {
                self.expect(index, pid);
                Ok(String::new())
            }
            ["pid", index] => {
                let found = self.processes.iter().find(|process| index.parse() == Ok(process.index));
                found.map(|process| process.pid.to_string()).ok_or(libc::ESRCH)
            }
            ["interfaces"] => Ok(format!("lo 1 127.0.0.1 8 eth0 2 {} 24", self.host.address())),
            ["resolve", name] => self.resolve(name),
            ["socket", id, kind, family] => self.call_socket(index, id, kind, family, fd),
            [call, id, ..] => match id.parse() {
                Ok(id) => self.call_of_socket(index, call, id, &words[2..]),
                Err(()) => return Err(Trouble::NotUnderstood(text)),
            },
            _ => return Err(Trouble::NotUnderstood(text)),
        };
        self.answer_call(index, answer);
        Ok(())
    }

    pub(super) fn answer_call(&mut self, index: u32, answer: Answer) {
        let text = match answer {
            Ok(words) => format!("ok {words}"),
            Err(errno) => format!("error {errno}"),
        };
        let calls = self.processes.iter().find(|process| process.index == index).and_then(|it| it.calls.as_ref());
        if let Some(calls) = calls {
            // If it is gone, its connection says so.
            let _ = channel::send(calls, text.trim_end().as_bytes(), None);
        }
    }

    /// The address of a name: the machine's own, or the server's.
    fn resolve(&self, name: &str) -> Answer {
        if *name == *self.recorder.name(self.node) {
            return Ok(self.host.address().to_string());
        }
        let server = self.client.as_ref().filter(|_| name == SERVER_NAME).map(|client| client.server().ip());
        server.map(|ip| ip.to_string()).ok_or_else(|| {
            self.status.seeks(format!("the address of `{name}`"));
            libc::ENOENT
        })
    }

    fn call_socket(&mut self, owner: u32, id: &str, kind: &str, family: &str, fd: Option<OwnedFd>) -> Answer {
        let (Ok(id), Some(end)) = (id.parse(), fd) else { return Err(libc::EINVAL) };
        let kind = if kind == "tcp" { Kind::Tcp } else { Kind::Udp };
        let is_v6 = family == "6";
        let (local, sharing, state) = (unspecified(is_v6), Sharing::default(), State::Fresh);
        self.sockets.insert(id, Socket { kind, is_v6, owner, end, local, peer: None, sharing, state });
        Ok(String::new())
    }

    fn call_of_socket(&mut self, caller: u32, call: &str, id: SocketId, words: &[&str]) -> Answer {
        match (call, words) {
            ("bind", [ip, port, flags]) => self.call_bind(caller, id, address(ip, port)?, flags),
            ("listen", [_]) => self.call_listen(caller, id),
            ("connect", ["-", ..]) => {
                self.sockets.get_mut(&id).ok_or(libc::EBADF)?.peer = None;
                Ok(String::new())
            }
            ("connect", [ip, port, filler]) => {
                self.call_connect(caller, id, address(ip, port)?, filler.parse().map_err(|_| libc::EINVAL)?)
            }
            ("name", []) => {
                let socket = self.sockets.get(&id).ok_or(libc::ENOTCONN)?;
                let family = if socket.is_v6 { 6 } else { 4 };
                let peer = socket.peer.map_or_else(|| "- 0".to_owned(), self::words);
                Ok(format!("{} {family} {} {peer}", socket.state.name(), self::words(socket.local)))
            }
            ("abort", []) => {
                self.abort(id);
                Ok(String::new())
            }
            ("flush", []) => {
                self.send_datagrams(id);
                Ok(String::new())
            }
            _ => Err(libc::ENOSYS),
        }
    }

    /// Whether another socket of the program holds the port.
    fn is_taken(&mut self, id: SocketId, local: SocketAddr, sharing: Sharing) -> bool {
        self.forget_closed();
        let Some(kind) = self.sockets.get(&id).map(|socket| socket.kind) else { return true };
        let mut others = self.sockets.iter().filter(|(other, socket)| **other != id && socket.kind == kind);
        others.any(|(_, socket)| socket.excludes(local, sharing))
    }

    fn free_port(&mut self, id: SocketId, ip: IpAddr, sharing: Sharing) -> u16 {
        loop {
            let port = self.next_port;
            self.next_port = self.next_port.checked_add(1).unwrap_or(40_000);
            if !self.is_taken(id, SocketAddr::new(ip, port), sharing) {
                return port;
            }
        }
    }

    fn call_bind(&mut self, caller: u32, id: SocketId, mut local: SocketAddr, flags: &str) -> Answer {
        let ours = self.host.address();
        let ip = local.ip();
        if !ip.is_unspecified() && !ip.is_loopback() && ip != ours {
            return Err(libc::EADDRNOTAVAIL);
        }
        let has = |flag| flags.contains(flag);
        let is_chosen = local.port() != 0;
        let sharing = Sharing { address: has('a'), port: has('p'), only_v6: has('6') };
        if local.port() == 0 {
            local.set_port(self.free_port(id, ip, sharing));
        } else if self.is_taken(id, local, sharing) {
            return Err(libc::EADDRINUSE);
        }
        let is_udp = self.sockets.get(&id).ok_or(libc::EBADF)?.kind == Kind::Udp;
        let udp = if is_udp { self.bind_udp(local)? } else { None };
        let socket = self.sockets.get_mut(&id).ok_or(libc::EBADF)?;
        (socket.owner, socket.local, socket.sharing) = (caller, local, sharing);
        socket.state = match socket.kind {
            Kind::Tcp => State::Bound,
            Kind::Udp => State::Datagrams(udp),
        };
        // What a client binds is not waited for.
        if socket.kind == Kind::Udp && is_chosen && !ip.is_loopback() && self.client.is_none() {
            self.status.change(|seen| seen.udp_ports.push(local.port()));
        }
        Ok(words(local))
    }

    fn call_listen(&mut self, caller: u32, id: SocketId) -> Answer {
        let socket = self.sockets.get(&id).ok_or(libc::EBADF)?;
        let (mut local, sharing) = (socket.local, socket.sharing);
        if matches!(socket.state, State::Fresh) {
            local.set_port(self.free_port(id, local.ip(), sharing));
        }
        let port = local.port();
        let is_new = !self.ports.contains_key(&port);
        if is_new {
            let at = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
            let listener = SimListener::bind(self.host.clone(), at).map_err(|_| libc::EADDRINUSE)?;
            self.ports.insert(port, Port { listener, accepted: 0 });
        }
        let socket = self.sockets.get_mut(&id).ok_or(libc::EBADF)?;
        (socket.owner, socket.local, socket.state) = (caller, local, State::Listening);
        if is_new {
            // What was printed before belongs before it.
            self.output.read();
            self.record_output();
            self.recorder.write(self.node, What::Program(ProgramEvent::Listens { port }));
            self.status.change(|seen| seen.ports.push(port));
        }
        Ok(words(local))
    }

    fn call_connect(&mut self, caller: u32, id: SocketId, to: SocketAddr, filler: usize) -> Answer {
        let ours = self.host.address();
        if to.is_ipv6() && !to.ip().is_loopback() {
            return Err(libc::ENETUNREACH);
        }
        let socket = self.sockets.get(&id).ok_or(libc::EBADF)?;
        let (mut local, kind, sharing) = (socket.local, socket.kind, socket.sharing);
        let is_bound = matches!(socket.state, State::Datagrams(_));
        if local.ip().is_unspecified() {
            local.set_ip(if to.ip().is_loopback() { to.ip() } else { ours });
        }
        if local.port() == 0 {
            local.set_port(self.free_port(id, local.ip(), sharing));
        }
        let state = match kind {
            Kind::Udp if is_bound => None,
            Kind::Udp => Some(State::Datagrams(self.bind_udp(local)?)),
            Kind::Tcp if to.ip().is_loopback() || to.ip() == ours => {
                let far = self.connect_own(local, to).map(Far::Own);
                if far.is_none() {
                    self.status.seeks(format!("{to} over TCP, where nobody listens"));
                }
                let refused = || std::io::Error::from_raw_os_error(libc::ECONNREFUSED);
                let connected = std::future::ready(far.ok_or_else(refused));
                Some(State::Connecting(Dial { filler, connected: Box::pin(connected) }))
            }
            Kind::Tcp => {
                self.status.seeks(format!("{to} over TCP"));
                let dial = SimStream::connect(self.host.clone(), to);
                let connected = Box::pin(async move { dial.await.map(Far::Net) });
                Some(State::Connecting(Dial { filler, connected }))
            }
        };
        if kind == Kind::Tcp
            && let Some(client) = &mut self.client
        {
            client.dials(id, to);
        }
        let socket = self.sockets.get_mut(&id).ok_or(libc::EBADF)?;
        (socket.owner, socket.local, socket.peer) = (caller, local, Some(to));
        if let Some(state) = state {
            socket.state = state;
        }
        Ok(words(local))
    }

    /// The socket of the network for one of the program, which may share its port with others; `None` at the machine's own
    /// loopback address.
    fn bind_udp(&self, local: SocketAddr) -> Result<Option<Arc<SimUdp>>, i32> {
        if local.ip().is_loopback() {
            return Ok(None);
        }
        let shared = self.sockets.values().find_map(|socket| match &socket.state {
            State::Datagrams(Some(udp)) if socket.local.port() == local.port() => Some(udp.clone()),
            _ => None,
        });
        if shared.is_some() {
            return Ok(shared);
        }
        let at = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), local.port());
        SimUdp::bind(self.host.clone(), at).map(|udp| Some(Arc::new(udp))).map_err(|_| libc::EADDRINUSE)
    }

    /// Connects two sockets of this machine; `None` if nobody listens there.
    fn connect_own(&mut self, from: SocketAddr, to: SocketAddr) -> Option<tokio::io::DuplexStream> {
        let (here, there) = tokio::io::duplex(OWN_BYTES);
        self.accepted(to.port(), Far::Own(there), from, to).then_some(here)
    }
}

fn address(ip: &str, port: &str) -> Result<SocketAddr, i32> {
    let ip = ip.parse().map_err(|_| libc::EINVAL)?;
    Ok(SocketAddr::new(ip, port.parse().map_err(|_| libc::EINVAL)?))
}
