//! The loop of a client: signaling, socket, clock and the scenario's commands, joined.

mod mesh;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use server::net::{Network, Udp};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::event::{Closed, Member, Message, NodeId, Recorder, Signaling, What};
use crate::peer::negotiation::{Negotiation, Outgoing};
use crate::peer::signaling::{SignalingClient, Told};
use crate::peer::stun::BindingClient;
use crate::peer::{now, scripted};

/// Bytes of the largest datagram that is read.
const DATAGRAM_BYTES_MAX: usize = 2048;

/// Who a client is and whom it talks to.
#[derive(Clone, Debug)]
pub struct Config {
    /// What it calls itself.
    pub name: Arc<str>,
    /// The room it joins.
    pub room: Arc<str>,
    /// The signaling server.
    pub server: SocketAddr,
    /// The STUN server.
    pub stun: SocketAddr,
    /// Time between WebSocket pings.
    pub heartbeat: Duration,
    /// Whether it makes WebRTC connections, or only plays their signaling.
    pub webrtc: bool,
    /// Decides STUN transaction ids.
    pub seed: u64,
}

/// What a client can be told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Leave the room, close everything, end.
    Leave,
    /// Lose the signaling connection.
    Drop,
    /// Say something to all.
    Say(Arc<str>),
    /// Hang up on somebody, by name.
    Hangup(Arc<str>),
    /// Restart ICE with somebody, by name.
    IceRestart(Arc<str>),
}

/// Runs a `mesh` client until it is told to leave, or everybody who could tell it is gone.
///
/// # Errors
/// The UDP socket cannot be bound, or no certificate can be made.
pub async fn run<N: Network>(
    net: N,
    config: Config,
    recorder: Recorder,
    node: NodeId,
    mut commands: mpsc::UnboundedReceiver<Command>,
) -> io::Result<()> {
    let udp = net.bind_udp("0.0.0.0:0".parse().expect("an address")).await?;
    let media = if config.webrtc {
        let SocketAddr::V4(local) = udp.local_addr()? else { return Err(io::ErrorKind::Unsupported.into()) };
        let stun = BindingClient::new(config.stun, config.seed);
        let negotiation = Negotiation::new(config.name.clone(), node, recorder.clone(), local, stun);
        Some(negotiation.map_err(io::Error::other)?)
    } else {
        None
    };
    let signaling = SignalingClient::new(net, config.server, mesh::PATH, config.heartbeat, recorder.clone(), node);
    let mut client = Client { config, recorder, node, signaling, media, id: None, names: BTreeMap::new() };
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    let mut timer = pin!(sleep_until(Instant::now()));
    loop {
        client.flush(&udp).await;
        let deadline = client.media.as_ref().and_then(Negotiation::deadline).map(Instant::from_std);
        if let Some(deadline) = deadline
            && deadline != timer.deadline()
        {
            timer.as_mut().reset(deadline);
        }
        tokio::select! { biased;
            command = commands.recv() => match command {
                Some(Command::Leave) | None => break,
                Some(command) => client.on_command(&command),
            },
            received = udp.recv_from(&mut datagram) => if let (Ok((length, from)), Some(media)) = (received, &mut client.media) {
                media.on_datagram(&datagram[..length], from, now());
            },
            told = client.signaling.next() => client.on_told(told),
            () = &mut timer, if deadline.is_some() => if let Some(media) = &mut client.media {
                media.on_time(now());
            },
        }
    }
    client.leave(&udp).await;
    Ok(())
}

struct Client<N: Network> {
    config: Config,
    recorder: Recorder,
    node: NodeId,
    signaling: SignalingClient<N>,
    media: Option<Negotiation>,
    /// Its own id, while it is in the room.
    id: Option<Arc<str>>,
    /// Who is who, by id.
    names: BTreeMap<Arc<str>, Arc<str>>,
}

impl<N: Network> Client<N> {
    /// Sends what the connections have to say.
    async fn flush(&mut self, udp: &N::Udp) {
        let Some(media) = &mut self.media else { return };
        for (datagram, to) in media.datagrams.drain(..) {
            // A full or unreachable network loses datagrams; that is what the stack is made for.
            let _ = udp.send_to(&datagram, to).await;
        }
        let signals = std::mem::take(&mut media.signals);
        self.send_signals(signals);
    }

    fn send_signals(&mut self, signals: impl IntoIterator<Item = Outgoing>) {
        for Outgoing { to, kind, payload } in signals {
            let text = mesh::signal(&self.config.room, &to, kind, &payload);
            let room = self.config.room.clone();
            self.send(&text, Message::Signal { room, peer: Some(to), kind, payload });
        }
    }

    fn send(&mut self, text: &str, message: Message) {
        if self.signaling.is_open() {
            self.recorder.write(self.node, What::Signaling(Signaling::Sent(message)));
            self.signaling.send(text);
        }
    }

    fn on_told(&mut self, told: Told) {
        match told {
            Told::Connected => {
                let text = mesh::join(&self.config.room, &self.config.name);
                self.send(&text, Message::Join { room: self.config.room.clone() });
            }
            Told::Lost => {
                self.id = None;
                if let Some(media) = &mut self.media {
                    media.set_signaling(false);
                }
            }
            Told::Text(text) => {
                let message = mesh::read(&text, &self.config.room);
                self.recorder.write(self.node, What::Signaling(Signaling::Received(message.clone())));
                self.on_message(message);
            }
        }
    }

    fn on_message(&mut self, message: Message) {
        match message {
            Message::Joined { id, roster, .. } => {
                self.id = Some(id);
                self.names.clear();
                roster.into_iter().for_each(|member| self.learn(member));
                if let Some(media) = &mut self.media {
                    // With a new id this is somebody new to all others: what was before is over.
                    media.close_all(Closed::Replaced, now());
                    media.set_signaling(true);
                }
            }
            Message::PeerJoined { member, .. } => {
                let id = member.id.clone();
                self.learn(member);
                match &mut self.media {
                    Some(media) => media.offer(&id, now()),
                    None => self.send_signals(scripted::offer(&id)),
                }
            }
            Message::PeerLeft { id, .. } => {
                self.names.remove(&id);
                if let Some(media) = &mut self.media {
                    media.peer_left(&id, now());
                }
            }
            Message::Signal { peer: Some(from), kind, payload, .. } => match &mut self.media {
                Some(media) => media.on_signal(&from, kind, &payload, now()),
                None => self.send_signals(scripted::answer(&from, kind)),
            },
            _ => {}
        }
    }

    fn on_command(&mut self, command: &Command) {
        match (command, &mut self.media) {
            (Command::Drop, _) => {
                if self.signaling.tear() {
                    self.on_told(Told::Lost);
                }
            }
            (Command::Say(text), Some(media)) => media.say(text, now()),
            (Command::Hangup(name), Some(media)) => {
                for id in ids(&self.names, name) {
                    media.hangup(&id, now());
                }
            }
            (Command::IceRestart(name), Some(media)) => {
                for id in ids(&self.names, name) {
                    media.restart_ice(&id, now());
                }
            }
            (Command::Leave | Command::Say(_) | Command::Hangup(_) | Command::IceRestart(_), _) => {}
        }
    }

    fn learn(&mut self, member: Member) {
        if let Some(name) = member.name {
            self.names.insert(member.id, name);
        }
    }

    async fn leave(&mut self, udp: &N::Udp) {
        if let Some(media) = &mut self.media {
            media.close_all(Closed::Leaving, now());
        }
        self.flush(udp).await;
        if self.id.take().is_some() {
            let text = mesh::leave(&self.config.room);
            self.send(&text, Message::Leave { room: self.config.room.clone() });
        }
        self.signaling.close().await;
    }
}

/// All ids under which a name is known: a ghost has one too.
fn ids(names: &BTreeMap<Arc<str>, Arc<str>>, name: &str) -> Vec<Arc<str>> {
    names.iter().filter(|(_, known)| &***known == name).map(|(id, _)| id.clone()).collect()
}
