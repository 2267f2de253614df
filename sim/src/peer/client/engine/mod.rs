//! The clients of a dialect, sans-IO with a [`ClientCx`]: members of a room, the two roles of a pair, users who call
//! each other, and clients without names. The dialect's file says which of them it needs.

mod callers;
mod group;
mod members;
mod pair;
mod swarm;
#[cfg(test)]
mod tests;

use std::time::Instant;

use dialect::json::Json;
use dialect::{EventName, Operation, Reading};

use super::codec::Codec;
use super::cx::ClientCx;
use super::meeting::Meeting;
use super::speaker::Speaker;
use super::step::NoEffect;
use super::{Command, Config, any};
use crate::dialects::Pairing;
use crate::event::{Message, PeerName};
use crate::peer::negotiation::OutgoingSignal;

/// A client of a dialect.
pub(super) trait Engine: Send {
    fn speaker(&self) -> &Speaker;

    fn speaker_mut(&mut self) -> &mut Speaker;

    /// Becomes a member: the connection is open, or it is time to ask again.
    fn join(&mut self, cx: &mut ClientCx);

    /// Handles the loss of the signaling connection. If `is_over`, the client will not dial again.
    fn on_lost(&mut self, is_over: bool, cx: &mut ClientCx);

    /// Handles a message of the dialect.
    fn on_message(&mut self, reading: &Reading<'_, '_>, cx: &mut ClientCx);

    /// Sends a signal of the WebRTC connections, or of the script that stands in for them.
    fn send_signal(&mut self, signal: OutgoingSignal, cx: &mut ClientCx) {
        self.speaker_mut().signal(signal, cx);
    }

    /// The ids of the peers with this name. A peer that vanished and came back may have two.
    fn known_as(&self, name: &str, cx: &ClientCx) -> Vec<PeerName>;

    /// Handles a command that not every client supports.
    ///
    /// # Errors
    /// The reason why the command has no effect.
    fn on_command(&mut self, command: &Command, cx: &mut ClientCx) -> Result<(), NoEffect> {
        match command {
            Command::Offer(name) => any(self.known_as(name, cx), |id| cx.renegotiate(id)),
            _ => Err("its role cannot do that"),
        }
    }

    /// When to call [`on_own_time`](Self::on_own_time) next.
    fn own_deadline(&self) -> Option<Instant> {
        None
    }

    /// Handles the deadlines of the engine itself that have passed.
    fn on_own_time(&mut self, _cx: &mut ClientCx) {}

    /// Sends the last messages before the client leaves and the signaling connection is closed.
    fn leave(&mut self, _cx: &mut ClientCx) {}
}

/// The client that a dialect needs. `life` differs between the lives of one client.
pub(super) fn engine(config: &Config, life: u64) -> Box<dyn Engine> {
    let codec = Codec::new(config.spoken.clone(), &config.name, config.plays, &config.room, life);
    let speaker = Speaker::new(codec);
    match config.spoken.descriptor.pairing {
        Pairing::Everybody if Meeting::of(&config.spoken.file) == Some(Meeting::Offered) => {
            Box::new(swarm::Member::new(speaker, life))
        }
        Pairing::Everybody => Box::new(members::Member::new(speaker)),
        Pairing::Roles => Box::new(pair::Pair::new(speaker, config.plays)),
        Pairing::Calls => Box::new(callers::User::new(speaker)),
        Pairing::Offers => Box::new(group::Client::new(speaker)),
    }
}

impl dyn Engine {
    /// The connection can carry messages.
    pub(super) fn on_connected(&mut self, cx: &mut ClientCx) {
        self.speaker_mut().connected(cx);
        if !self.speaker().codec.hears(EventName::Greeting) {
            self.join(cx);
        }
    }

    /// Handles a text that arrived. If the layer below `reports` it, the dialect need not describe it.
    pub(super) fn on_text(&mut self, text: &str, reports: bool, cx: &mut ClientCx) {
        let spoken = self.speaker().codec.spoken().clone();
        let text = spoken.file.with_named_ack(text);
        let json = Json::parse(&text);
        let Some(reading) = json.as_ref().and_then(|json| spoken.file.find(json).ok()) else {
            if !reports {
                cx.received(&Message::Unknown);
            }
            return;
        };
        self.speaker_mut().codec.learn(&reading);
        if let Some(reply) = reading.reply() {
            cx.send_framing(reply);
        }
        match reading.event() {
            EventName::Greeting => self.join(cx),
            EventName::Ping => self.speaker_mut().send_plain(Operation::Pong, cx),
            EventName::Ignored => {}
            _ => self.on_message(&reading, cx),
        }
    }

    /// When to call [`on_time`](Self::on_time) next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.speaker().deadline().into_iter().chain(self.own_deadline()).min()
    }

    /// Handles the deadlines that have passed.
    pub(super) fn on_time(&mut self, cx: &mut ClientCx) {
        if self.speaker_mut().on_time(cx) {
            self.join(cx);
        }
        self.on_own_time(cx);
    }
}
