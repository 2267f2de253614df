//! Clients for load tests: each is brought to the point where it may signal, and then handed over.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::client::Peer;
use crate::cx::Cx;
use crate::dial::Dial;
use crate::dialect::file::{Addressing, JoinBy};
use crate::dialect::{Act, Dialect, Operation};
use crate::env::Env;
use crate::framing::browser::Opening;
use crate::framing::net::Net;
use crate::framing::wire::Wire;
use crate::stop::Stop;
use crate::target::{Target, Unreachable};
use crate::transcript::{Log, Transcript};

/// Makes clients of one dialect on one server.
pub struct Crowd {
    env: Arc<Env>,
}

/// A room whose members can signal to each other.
pub struct Room {
    /// Its name in the dialect.
    pub name: String,
    /// Its members, in the order they joined.
    pub members: Vec<Member>,
}

/// A member of a room.
pub struct Member {
    /// Its connection.
    pub wire: Wire,
    /// The signals that it can send, one per other member in their order; a single one if signals go to everyone.
    pub signals: Vec<Signal>,
}

/// A signal that is ready to be sent any number of times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// The receiver, as an index into [`Room::members`]. `None`: everyone in the room.
    pub to: Option<usize>,
    /// The message as on the wire, for [`Wire::send`].
    pub frame: String,
}

/// Why a client could not be brought to the point where it may signal.
#[derive(Clone, Debug)]
pub struct CrowdError {
    /// What went wrong, in one sentence.
    pub why: String,
    /// What the clients did and received before the failure.
    pub transcript: Transcript,
}

impl CrowdError {
    fn of(stop: Stop, cx: &Cx) -> Self {
        Self { why: stop.into_why(), transcript: cx.log.snapshot().0 }
    }
}

impl fmt::Display for CrowdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for CrowdError {}

impl Crowd {
    /// Prepares to make clients of a dialect for a server. `seed` makes names and rooms differ between runs; `patience`
    /// is how long to wait for each answer. Must be called, and used, inside a tokio runtime with time and I/O.
    pub fn new(dial: impl Dial, target: &Target, dialect: &Arc<Dialect>, seed: u64, patience: Duration) -> Self {
        let net = Net { dial: Arc::new(dial), target: target.clone(), patience, opening: Opening::default() };
        Self { env: Arc::new(Env::new(net, dialect, Duration::from_millis(5), seed)) }
    }

    /// A room name that no other room has.
    pub fn room_name(&self) -> String {
        self.cx().room()
    }

    /// Checks that the server is there: one client joins and leaves.
    ///
    /// # Errors
    /// No connection of the dialect's kind can be opened, or the join is not answered as the dialect says.
    pub async fn reach(&self) -> Result<(), Unreachable> {
        let joined = self.join(&self.room_name(), 0).await;
        let wire = joined.map_err(|error| Unreachable { url: self.env.net.target.shown(), tried: vec![error.why] })?;
        wire.close(self.env.net.patience).await;
        Ok(())
    }

    /// Fills a room with members that can signal to each other, whatever the dialect requires for that. `payload` is
    /// JSON and goes into their signals unchanged.
    ///
    /// # Errors
    /// A client cannot connect, or its join is not answered as the dialect says.
    pub async fn room(&self, name: &str, members: usize, payload: &str) -> Result<Room, CrowdError> {
        let cx = self.cx();
        let names: Vec<String> = (0..members).map(|number| format!("m{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let peers = cx.gather(name, &names).await.map_err(|stop| CrowdError::of(stop, &cx))?;
        let targeted = self.env.dialect.file.signals.addressing == Addressing::Targeted;
        let mut signals = Vec::with_capacity(members);
        for (me, peer) in peers.iter().enumerate() {
            let to: Vec<Option<usize>> =
                if targeted { (0..members).filter(|other| *other != me).map(Some).collect() } else { vec![None] };
            let signal = |to: Option<usize>| {
                let id = to.map(|to| &peers[to].id);
                let frame = peer
                    .signal_message(peer.plain_kind(), payload, id, name)
                    .map_err(|stop| CrowdError::of(stop, &cx))?;
                Ok(Signal { to, frame })
            };
            signals.push(to.into_iter().map(signal).collect::<Result<Vec<_>, CrowdError>>()?);
        }
        let mut room = Room { name: name.to_owned(), members: Vec::with_capacity(members) };
        for (peer, mut signals) in peers.into_iter().zip(signals) {
            let wire = peer.hand_over().await;
            signals.iter_mut().for_each(|signal| signal.frame = wire.framed(std::mem::take(&mut signal.frame)));
            room.members.push(Member { wire, signals });
        }
        Ok(room)
    }

    /// A client joins a room as the member at index `place`. Does not wait until its signals reach others.
    ///
    /// # Errors
    /// A client cannot connect, or its join is not answered as the dialect says.
    pub async fn join(&self, room: &str, place: usize) -> Result<Wire, CrowdError> {
        Ok(self.joined(room, place).await?.hand_over().await)
    }

    /// A client joins a room, leaves it if the dialect has a message for that, and closes its connection. Returns the
    /// time from the start until the join was answered.
    ///
    /// # Errors
    /// A client cannot connect, or its join is not answered as the dialect says.
    pub async fn visit(&self, room: &str, place: usize) -> Result<Duration, CrowdError> {
        let start = tokio::time::Instant::now();
        let peer = self.joined(room, place).await?;
        let took = start.elapsed();
        if self.env.dialect.shape(Operation::Leave).is_some() && self.env.dialect.file.join.by == JoinBy::Message {
            let _ = peer.act(Operation::Leave, &Act { room, ..Act::default() });
        }
        peer.close().await;
        Ok(took)
    }

    async fn joined(&self, room: &str, place: usize) -> Result<Peer, CrowdError> {
        let cx = self.cx();
        let role = self.env.dialect.file.roles.as_ref();
        let role = role.map(|roles| if place == 0 { roles.offers.as_str() } else { roles.answers.as_str() });
        cx.join_as(&format!("m{place}"), room, role).await.map_err(|stop| CrowdError::of(stop, &cx))
    }

    /// A new context for each room, so that its transcript is dropped when the members are handed over.
    fn cx(&self) -> Cx {
        Cx::new(Arc::clone(&self.env), Log::new())
    }
}
