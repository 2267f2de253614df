//! The `call` dialect on a client's side: a user with a name who calls others, is called, and talks.
//!
//! The caller offers when its call is taken. What the documents leave open: a user whose name is taken (by its own ghost, say) asks for it
//! again; a call ends with the signaling, for the server ends it too.

mod wire;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use crate::event::{CallStep, ClientState, Closed, Member, Message, SignalKind};
use crate::peer::client::desk::Desk;
use crate::peer::client::{ASK_AGAIN, Command, Dialect};
use crate::peer::negotiation::Outgoing;
use crate::peer::now;
use wire::Came;

/// What the telephone does, and with whom.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    Idle,
    /// It has called.
    Calling(Arc<str>),
    /// It was called; with the caller's connection.
    Ringing(Arc<str>, Arc<str>),
    InCall(Arc<str>),
}

impl Line {
    fn peer(&self) -> Option<&Arc<str>> {
        match self {
            Self::Idle => None,
            Self::Calling(peer) | Self::Ringing(peer, _) | Self::InCall(peer) => Some(peer),
        }
    }
}

/// A user.
pub(super) struct User {
    line: Line,
    /// Whether both called at once, so that this user's own call took the other's.
    was_glare: bool,
    /// The other users, once it has joined.
    others: Option<BTreeSet<Arc<str>>>,
    /// When to ask to join again, after a refusal.
    ask_again: Option<Instant>,
    /// Whether the next offer, or answer, goes by name: `video-offer`, `video-answer`.
    offers_video: bool,
    answers_video: bool,
}

impl User {
    pub(super) fn new() -> Self {
        Self {
            line: Line::Idle,
            was_glare: false,
            others: None,
            ask_again: None,
            offers_video: false,
            answers_video: false,
        }
    }

    fn join(&self, desk: &mut Desk) {
        desk.say(wire::join(&desk.config.name), Message::Join { room: desk.room() });
    }

    fn set(&mut self, line: Line, desk: &mut Desk) {
        desk.enter(match &line {
            Line::Idle => ClientState::Idle,
            Line::Calling(_) => ClientState::Calling,
            Line::Ringing(..) => ClientState::Ringing,
            Line::InCall(_) => ClientState::InCall,
        });
        (self.line, self.was_glare) = (line, false);
    }

    fn step(desk: &mut Desk, peer: &Arc<str>, step: CallStep, text: String) {
        desk.say(text, Message::Call { peer: peer.clone(), step });
    }

    /// The call is over, whoever ended it.
    fn end(&mut self, why: Closed, desk: &mut Desk) {
        if let (Some(peer), Some(media)) = (self.line.peer(), &mut desk.media) {
            media.end(peer, why, now());
        }
        (self.offers_video, self.answers_video) = (false, false);
        self.set(Line::Idle, desk);
    }

    fn hang_up(&mut self, desk: &mut Desk) {
        if let Some(peer) = self.line.peer().cloned() {
            Self::step(desk, &peer, CallStep::End, wire::end_call(&peer));
            self.end(Closed::Hangup, desk);
        }
    }

    fn accept(&mut self, desk: &mut Desk) {
        if let Line::Ringing(caller, id) = self.line.clone() {
            Self::step(desk, &caller, CallStep::Accept, wire::call_response(true, &caller, &id));
            self.set(Line::InCall(caller), desk);
        }
    }

    /// The list of users: the first is the answer to the own join, later ones tell who came and who went.
    fn on_list(&mut self, names: Vec<Arc<str>>, desk: &mut Desk) {
        let own = desk.config.name.clone();
        let is_listed = names.contains(&own);
        let now_there: BTreeSet<_> = names.into_iter().filter(|name| *name != own).collect();
        let member = |name: &Arc<str>| Member { id: name.clone(), name: Some(name.clone()) };
        match self.others.take() {
            None if is_listed => {
                let roster = now_there.iter().map(member).collect();
                desk.received(&Message::Joined { room: desk.room(), id: own, roster });
                self.ask_again = None;
                if let Some(media) = &mut desk.media {
                    media.set_signaling(true);
                }
                self.others = Some(now_there);
            }
            // Who has not joined may be told too.
            None => desk.received(&Message::Unknown),
            Some(before) => {
                for gone in before.difference(&now_there) {
                    desk.received(&Message::PeerLeft { room: desk.room(), id: gone.clone() });
                }
                for new in now_there.difference(&before) {
                    desk.received(&Message::PeerJoined { room: desk.room(), member: member(new) });
                }
                self.others = Some(now_there);
            }
        }
    }

    fn on_step(&mut self, peer: Arc<str>, step: CallStep, caller_id: Arc<str>, desk: &mut Desk) {
        match (step, self.line.clone()) {
            (CallStep::Ring, Line::Idle) => self.set(Line::Ringing(peer, caller_id), desk),
            // Call glare: the server takes the later call as the answer to the earlier, and tells only the first caller.
            (CallStep::Ring, Line::Calling(called)) if called == peer => {
                self.set(Line::InCall(peer), desk);
                self.was_glare = true;
            }
            // No server should let it ring where somebody talks.
            (CallStep::Ring, _) => {
                Self::step(desk, &peer, CallStep::Reject, wire::call_response(false, &peer, &caller_id));
            }
            (CallStep::Accept, Line::Calling(called)) if called == peer => {
                self.set(Line::InCall(peer.clone()), desk);
                match &mut desk.media {
                    Some(media) => media.offer(&peer, now()),
                    None => self.send_signals(desk.script.offer(&peer), desk),
                }
            }
            (CallStep::Reject | CallStep::Busy, Line::Calling(called)) if called == peer => {
                self.end(Closed::RemoteHangup, desk);
            }
            (CallStep::End, line) if line.peer() == Some(&peer) => {
                if self.was_glare {
                    // The other may have hung up before the own call came, which then rings there still.
                    Self::step(desk, &peer, CallStep::End, wire::end_call(&peer));
                }
                self.end(Closed::RemoteHangup, desk);
            }
            _ => {}
        }
    }

    fn on_signal(&mut self, from: &Arc<str>, kind: SignalKind, payload: &str, is_video: bool, desk: &mut Desk) {
        if self.line != Line::InCall(from.clone()) {
            // Of a call that is over on this side.
            return;
        }
        if kind == SignalKind::Offer {
            self.answers_video = is_video;
        }
        match &mut desk.media {
            Some(media) => media.on_signal(from, kind, payload, now()),
            None => self.send_signals(desk.script.answer(from, kind), desk),
        }
    }
}

impl Dialect for User {
    fn path(&self, _room: &str) -> String {
        "/".to_owned()
    }

    fn on_connected(&mut self, desk: &mut Desk) {
        self.join(desk);
    }

    fn on_lost(&mut self, _is_over: bool, desk: &mut Desk) {
        (self.others, self.ask_again) = (None, None);
        self.end(Closed::SignalingLost, desk);
    }

    fn on_text(&mut self, text: &str, desk: &mut Desk) {
        match wire::read(text, &desk.room()) {
            Came::List(names) => self.on_list(names, desk),
            Came::Step { peer, step, caller_id } => {
                desk.received(&Message::Call { peer: peer.clone(), step });
                self.on_step(peer, step, caller_id, desk);
            }
            Came::Signal { message, is_video } => {
                desk.received(&message);
                if let Message::Signal { peer: Some(from), kind, payload, .. } = message {
                    self.on_signal(&from, kind, &payload, is_video, desk);
                }
            }
            Came::Other(message) => {
                desk.received(&message);
                match &message {
                    Message::Error { text } if &**text == "username-taken" => {
                        self.ask_again = Some(now() + ASK_AGAIN);
                    }
                    Message::Error { text } if &**text == "user-not-found" => {
                        if let Line::Calling(_) = self.line {
                            self.end(Closed::RemoteHangup, desk);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    fn send_signal(&mut self, Outgoing { to, kind, payload }: Outgoing, desk: &mut Desk) {
        if self.line != Line::InCall(to.clone()) {
            return;
        }
        let is_video = match kind {
            SignalKind::Offer => std::mem::take(&mut self.offers_video),
            SignalKind::Answer => std::mem::take(&mut self.answers_video),
            SignalKind::IceCandidate => false,
            // `endCall` would end the call: a connection that fails is only offered anew.
            SignalKind::Hangup => return,
        };
        let text = match is_video {
            true => wire::description(kind, &desk.config.name, &to, &payload),
            false => wire::signal(kind, &to, &payload),
        };
        desk.say(text, Message::Signal { room: desk.room(), peer: Some(to), kind, payload });
    }

    fn known_as(&self, name: &str) -> Vec<Arc<str>> {
        self.line.peer().filter(|peer| &***peer == name).cloned().into_iter().collect()
    }

    fn on_command(&mut self, command: &Command, desk: &mut Desk) {
        match command {
            Command::Call(name) => match &self.line {
                // Nobody is known to be there before the own join is answered.
                Line::Idle if self.others.is_none() => {}
                Line::Idle => {
                    Self::step(desk, name, CallStep::Ring, wire::call(name));
                    self.set(Line::Calling(name.clone()), desk);
                }
                // Who calls whoever calls them accepts.
                Line::Ringing(caller, _) if caller == name => self.accept(desk),
                _ => {}
            },
            Command::Accept => self.accept(desk),
            Command::Reject => {
                if let Line::Ringing(caller, id) = self.line.clone() {
                    Self::step(desk, &caller, CallStep::Reject, wire::call_response(false, &caller, &id));
                    self.set(Line::Idle, desk);
                }
            }
            Command::Hangup(name) if self.line.peer() == Some(name) => self.hang_up(desk),
            Command::Media(kind, enabled) => {
                if let Some(peer) = self.line.peer() {
                    let text = wire::media_state_change(peer, *kind, *enabled);
                    Self::step(desk, peer, CallStep::Media { kind: *kind, enabled: *enabled }, text);
                }
            }
            Command::Offer(name) if self.line == Line::InCall(name.clone()) => {
                if let Some(media) = &mut desk.media {
                    self.offers_video = true;
                    media.renegotiate(name, now());
                }
            }
            _ => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.ask_again
    }

    fn on_time(&mut self, desk: &mut Desk) {
        self.ask_again = None;
        self.join(desk);
    }

    fn leave(&mut self, desk: &mut Desk) {
        self.hang_up(desk);
    }
}
