//! A client program of others as an actor: what makes it more than a program.
//!
//! It joins the signaling server by itself, over the simulated network. What it does is read from its connections, as
//! they pass: its signaling messages, and the STUN, DTLS and SRTP in its datagrams. The record gets the same events as
//! from Glare's own clients, so the same oracles judge it. What only the program knows, it may report on its standard
//! output; orders of the scenario arrive on its standard input.
//!
//! | file | what it does |
//! |---|---|
//! | `websocket` | the messages in the bytes of a TCP connection |
//! | `description`, `packet` | what a signal's payload and a datagram say |
//! | `media` | the program's WebRTC connections |
//! | `orders` | the lines by which the scenario orders |
//! | `report` | the lines by which the program reports |

mod description;
mod media;
mod orders;
mod packet;
mod report;
mod websocket;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;

use super::socket::SocketId;
use crate::event::TransportAddress;
use crate::event::{Frame, NodeId, ProgramEvent, Recorder, Signaling, What};
use crate::peer::client::StepCommand;
use crate::peer::client::observed::Observed;
use media::Media;
use websocket::{Passed, WebSocket};

/// What an actor's program is started with.
pub(crate) struct Setup {
    pub(crate) observed: Observed,
    /// The signaling server.
    pub(crate) server: SocketAddr,
    /// The STUN server.
    pub(crate) stun: TransportAddress,
}

/// What the world sees of a client program.
pub(super) struct Client {
    observed: Observed,
    media: Media,
    recorder: Recorder,
    node: NodeId,
    server: SocketAddr,
    /// The other end of its standard input.
    stdin: Option<OwnedFd>,
    /// Its TCP connections to the server.
    sockets: BTreeMap<SocketId, WebSocket>,
    /// The WebSocket of its signaling, and whether it was closed.
    signaling: Option<SocketId>,
    /// Whether the program has sent a close frame.
    says_bye: bool,
    /// Connections that failed since the last success.
    failed: u32,
}

impl Client {
    pub(super) fn new(setup: Setup, stdin: OwnedFd, recorder: Recorder, node: NodeId, address: Ipv4Addr) -> Self {
        let Setup { observed, server, stun } = setup;
        let media = Media::new(recorder.clone(), node, address, stun);
        Self {
            observed,
            media,
            recorder,
            node,
            server,
            stdin: Some(stdin),
            sockets: BTreeMap::new(),
            signaling: None,
            says_bye: false,
            failed: 0,
        }
    }

    fn record(&self, event: Signaling) {
        self.recorder.write(self.node, What::Signaling(event));
    }

    /// Passes a command on: as a line on the program's standard input, one for each id of the peer that it is about.
    pub(super) fn obey(&mut self, command: StepCommand) {
        let lines = match orders::lines(command.command(), |name| self.known_as(name)) {
            Ok(lines) => lines,
            Err(why) => return command.done(Err(why)),
        };
        for line in lines {
            let Some(stdin) = &self.stdin else {
                return command.done(Err("its program has closed its standard input"));
            };
            match rustix::io::write(stdin, line.as_bytes()) {
                Ok(_) => {}
                Err(Errno::AGAIN) => return command.done(Err("its program does not read its standard input")),
                Err(_) => self.stdin = None,
            }
        }
        command.done(Ok(()));
    }

    /// Reads a line that the program has printed. Returns whether it was a report.
    pub(super) fn printed(&mut self, line: &str) -> bool {
        let Some((peer, change)) = report::parse(line) else { return false };
        let peer = crate::event::PeerName::Client(peer.as_str().into());
        match change {
            Some(change) => self.media.reported(&peer, change),
            None => true,
        }
    }

    /// The ids of the peers with this name.
    fn known_as(&self, name: &str) -> Vec<String> {
        self.observed.known_as(name).iter().map(|peer| peer.to_string()).collect()
    }

    // ---- signaling

    /// The program opens a connection.
    pub(super) fn dials(&mut self, id: SocketId, to: SocketAddr) {
        if to == self.server {
            self.record(Signaling::Connecting { attempt: self.failed });
            self.sockets.insert(id, WebSocket::default());
        }
    }

    /// The signaling server.
    pub(super) fn server(&self) -> SocketAddr {
        self.server
    }

    /// Whether a connection leads to the signaling server.
    pub(super) fn watches(&self, id: SocketId) -> bool {
        self.sockets.contains_key(&id)
    }

    /// The connection that carries its signaling.
    pub(super) fn signaling(&self) -> Option<SocketId> {
        self.signaling
    }

    /// Bytes have passed on a connection.
    pub(super) fn passed(&mut self, id: SocketId, out: bool, bytes: &[u8]) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let mut found = Vec::new();
        socket.pass(out, bytes, &mut found);
        for passed in found {
            match passed {
                Passed::Opened => {
                    if self.signaling.is_some() {
                        self.lost(None, "another connection replaces it");
                    }
                    (self.signaling, self.says_bye, self.failed) = (Some(id), false, 0);
                    self.record(Signaling::Connected);
                    self.observed.opened();
                }
                Passed::Refused(status) => {
                    self.failed += 1;
                    let reason = format!("the server answered the request with status {status}").into();
                    self.record(Signaling::Closed { code: None, reason });
                }
                Passed::Unreadable(why) => {
                    let text = format!("(its signaling messages cannot be read: {why})").into();
                    self.recorder.write(self.node, What::Program(ProgramEvent::Printed { text }));
                }
                Passed::Frame { out, frame, reason } if self.signaling == Some(id) => self.frame(out, frame, &reason),
                Passed::Frame { .. } => {}
            }
        }
    }

    fn frame(&mut self, out: bool, frame: Frame, reason: &str) {
        if out {
            if let Frame::Text(text) = &frame
                && let Some((message, signal)) = self.observed.sent(text)
            {
                if let Some(signal) = signal {
                    self.media.signal(true, &signal);
                }
                self.record(Signaling::Sent(message));
            }
            self.says_bye |= matches!(frame, Frame::Close(_));
            self.record(Signaling::FrameSent(frame));
            return;
        }
        self.record(Signaling::FrameReceived(frame.clone()));
        match frame {
            Frame::Text(text) => {
                if let Some(signal) = self.observed.received(&text) {
                    self.media.signal(false, &signal);
                }
                for gone in self.observed.left() {
                    self.media.left(&gone);
                }
            }
            Frame::Close(code) => {
                let reason = if self.says_bye { "left" } else { reason };
                self.lost(code, reason);
            }
            _ => {}
        }
    }

    /// A connection has ended, or could not be opened.
    pub(super) fn ended(&mut self, id: SocketId, how: &str) {
        let Some(socket) = self.sockets.remove(&id) else { return };
        if self.signaling == Some(id) {
            self.lost(None, if self.says_bye { "left" } else { how });
        } else if !socket.is_answered() {
            self.failed += 1;
            self.record(Signaling::Closed { code: None, reason: how.into() });
        }
    }

    fn lost(&mut self, code: Option<u16>, reason: &str) {
        self.signaling = None;
        self.record(Signaling::Closed { code, reason: reason.into() });
        self.observed.lost();
    }

    // ---- media

    /// The program has sent a datagram, or one has arrived for it.
    pub(super) fn datagram(&mut self, out: bool, port: u16, remote: SocketAddr, bytes: &[u8]) {
        self.media.datagram(out, port, remote.into(), bytes);
    }
}
