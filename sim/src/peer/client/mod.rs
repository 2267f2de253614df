//! The loop of a client: signaling, socket, clock and the scenario's commands, joined.
//!
//! What to make of what comes is a [`Dialect`]'s: one file each, sans-IO, over a [`Desk`].

mod broadcast;
mod call;
mod desk;
mod mesh;
mod relay;
mod sender_viewer;
mod socketio;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use scenarios::{Framing, MediaKind, Role};
use server::net::{Network, Udp};
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use crate::event::{Closed, NodeId, Recorder, Signaling, What};
use crate::peer::endpoint::Endpoint;
use crate::peer::keys::KeyLog;
use crate::peer::negotiation::{Negotiation, Outgoing};
use crate::peer::now;
use crate::peer::signaling::{SignalingClient, Told};
use crate::peer::stun::BindingClient;
use desk::Desk;

/// Bytes of the largest datagram that is read.
const DATAGRAM_BYTES_MAX: usize = 2048;
/// How long a client that was refused waits before it asks again. The documents leave it open; a person would press the button again.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Who a client is and whom it talks to.
#[derive(Clone, Debug)]
pub struct Config {
    /// What it calls itself.
    pub name: Arc<str>,
    /// What it is to the signaling server.
    pub plays: Role,
    /// What its messages go in.
    pub over: Framing,
    /// The room it joins.
    pub room: Arc<str>,
    /// The signaling server, where it speaks the dialect of the role.
    pub server: SocketAddr,
    /// What its requests name, where that is not `server` with the dialect's own path.
    pub endpoint: Option<Arc<Endpoint>>,
    /// The STUN server; without one there are host candidates only.
    pub stun: Option<SocketAddr>,
    /// Time between WebSocket pings.
    pub heartbeat: Duration,
    /// Whether it makes WebRTC connections, or only plays their signaling.
    pub webrtc: bool,
    /// Where the secrets of its DTLS sessions are noted, if they are.
    pub keys: Option<KeyLog>,
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
    /// Offer to somebody, by name: a connection, or a change of it.
    Offer(Arc<str>),
    /// Call somebody, by name.
    Call(Arc<str>),
    /// Take the call that rings.
    Accept,
    /// Reject the call that rings.
    Reject,
    /// Turn the camera or the microphone on or off.
    Media(MediaKind, bool),
}

/// A dialect on a client's side: what it makes of what comes, and what it says.
trait Dialect: Send {
    /// The endpoint's path and query.
    fn path(&self, room: &str) -> String;

    /// The signaling is open.
    fn on_connected(&mut self, desk: &mut Desk);

    /// The signaling is lost; with `is_over` it will not be dialled again.
    fn on_lost(&mut self, is_over: bool, desk: &mut Desk);

    /// A text came.
    fn on_text(&mut self, text: &str, desk: &mut Desk);

    /// Puts a signal of the WebRTC connections, or of their script, on the wire.
    fn send_signal(&mut self, signal: Outgoing, desk: &mut Desk);

    fn send_signals(&mut self, signals: Vec<Outgoing>, desk: &mut Desk) {
        for signal in signals {
            self.send_signal(signal, desk);
        }
    }

    /// What the negotiation calls somebody with that name: one who vanished and came back may have two ids.
    fn known_as(&self, name: &str) -> Vec<Arc<str>>;

    /// What the scenario tells and not every dialect can do.
    fn on_command(&mut self, command: &Command, desk: &mut Desk) {
        if let (Command::Offer(name), Some(media)) = (command, &mut desk.media) {
            for id in self.known_as(name) {
                media.renegotiate(&id, now());
            }
        }
    }

    /// When to call [`on_time`](Self::on_time) next.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Time has passed.
    fn on_time(&mut self, _desk: &mut Desk) {}

    /// Its last words, before the signaling is closed.
    fn leave(&mut self, _desk: &mut Desk) {}
}

/// Runs a client until it is told to leave, or everybody who could tell it is gone.
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
        let stun = config.stun.map(|server| BindingClient::new(server, config.seed));
        let keys = config.keys.as_ref();
        let negotiation = Negotiation::new(config.name.clone(), node, recorder.clone(), local, stun, keys);
        Some(negotiation.map_err(io::Error::other)?)
    } else {
        None
    };
    let dialect = dialect(config.plays, config.over);
    let path = dialect.path(&config.room);
    let endpoint = config.endpoint.clone().unwrap_or_else(|| Endpoint::at(config.server, &path).into());
    let request = endpoint.request(&path);
    let signaling = SignalingClient::new(net, config.server, request, config.heartbeat, recorder.clone(), node);
    let mut client = Client { signaling, dialect, desk: Desk::new(config, recorder, node, media) };
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    let mut timer = pin!(sleep_until(tokio::time::Instant::now()));
    loop {
        client.flush(&udp).await;
        let deadline = client.deadline().map(tokio::time::Instant::from_std);
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
            received = udp.recv_from(&mut datagram) => if let (Ok((length, from)), Some(media)) = (received, &mut client.desk.media) {
                media.on_datagram(&datagram[..length], from, now());
            },
            told = client.signaling.next() => client.on_told(told),
            () = &mut timer, if deadline.is_some() => client.on_time(),
        }
        client.say();
    }
    client.leave(&udp).await;
    Ok(())
}

/// What a role says in a framing.
fn dialect(plays: Role, over: Framing) -> Box<dyn Dialect> {
    let dialect: Box<dyn Dialect> = match plays {
        Role::Mesh => Box::new(mesh::Mesh::default()),
        Role::Sender | Role::Viewer => Box::new(sender_viewer::SenderViewer::new(plays)),
        Role::User => Box::new(call::User::new()),
        Role::Relay => Box::new(relay::Relay::default()),
        Role::Broadcast => Box::new(broadcast::Broadcast::default()),
    };
    match over {
        Framing::WebSocket => dialect,
        Framing::SocketIo => Box::new(socketio::SocketIo::new(dialect)),
    }
}

/// The path and query by which a role enters a room, as the dialect's documents have it.
pub(crate) fn path(plays: Role, over: Framing, room: &str) -> String {
    dialect(plays, over).path(room)
}

struct Client<N: Network> {
    signaling: SignalingClient<N>,
    dialect: Box<dyn Dialect>,
    desk: Desk,
}

impl<N: Network> Client<N> {
    /// Sends what the connections have to say.
    async fn flush(&mut self, udp: &N::Udp) {
        let Some(media) = &mut self.desk.media else { return };
        for (datagram, to) in media.datagrams.drain(..) {
            // A full or unreachable network loses datagrams; that is what the stack is made for.
            let _ = udp.send_to(&datagram, to).await;
        }
        for signal in std::mem::take(&mut media.signals) {
            self.dialect.send_signal(signal, &mut self.desk);
        }
        self.say();
    }

    /// Sends what the dialect has to say.
    fn say(&mut self) {
        for (text, message) in self.desk.outbox.drain(..) {
            if self.signaling.is_open() {
                if let Some(message) = message {
                    self.desk.recorder.write(self.desk.node, What::Signaling(Signaling::Sent(message)));
                }
                self.signaling.send(&text);
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let media = self.desk.media.as_ref().and_then(Negotiation::deadline);
        media.into_iter().chain(self.dialect.deadline()).min()
    }

    fn on_time(&mut self) {
        if let Some(media) = &mut self.desk.media {
            media.on_time(now());
        }
        if self.dialect.deadline().is_some_and(|deadline| deadline <= now()) {
            self.dialect.on_time(&mut self.desk);
        }
    }

    fn on_told(&mut self, told: Told) {
        match told {
            Told::Connected => self.dialect.on_connected(&mut self.desk),
            Told::Lost => self.on_lost(),
            Told::Text(text) => self.dialect.on_text(&text, &mut self.desk),
        }
    }

    fn on_lost(&mut self) {
        if let Some(media) = &mut self.desk.media {
            media.set_signaling(false);
        }
        self.dialect.on_lost(self.signaling.is_over(), &mut self.desk);
    }

    fn on_command(&mut self, command: &Command) {
        match (command, &mut self.desk.media) {
            (Command::Drop, _) => {
                if self.signaling.tear() {
                    self.on_lost();
                }
            }
            (Command::Say(text), Some(media)) => media.say(text, now()),
            (Command::IceRestart(name), Some(media)) => {
                for id in self.dialect.known_as(name) {
                    media.restart_ice(&id, now());
                }
            }
            _ => self.dialect.on_command(command, &mut self.desk),
        }
    }

    async fn leave(&mut self, udp: &N::Udp) {
        if let Some(media) = &mut self.desk.media {
            media.close_all(Closed::Leaving, now());
        }
        self.flush(udp).await;
        self.dialect.leave(&mut self.desk);
        self.say();
        self.signaling.close().await;
    }
}
