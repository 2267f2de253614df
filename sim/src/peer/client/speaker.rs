//! What the clients of all dialects do alike: they keep their connection alive, ask again after a refusal, and put
//! signals into messages.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dialect::Operation;

use super::bundles::{Bundle, Bundles};
use super::codec::{Args, Codec};
use super::cx::ClientCx;
use crate::event::{Message, PeerName, SignalKind};
use crate::peer::negotiation::OutgoingSignal;
use crate::rewritten::is_same;

/// How long a client that was refused waits before it asks to join again. The protocols' documents leave this open.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// A client's side of a dialect, whichever clients speak it.
pub(super) struct Speaker {
    pub(super) codec: Codec,
    ask_again: Option<Instant>,
    /// When to send the next heartbeat.
    ping_at: Option<Instant>,
    /// Descriptions that wait for their candidates; `None` if the dialect has a message for candidates.
    bundles: Option<Bundles>,
    /// Payloads that it has sent and not yet received back; `None` if the dialect does not echo.
    echoes: Option<VecDeque<Arc<str>>>,
}

impl Speaker {
    pub(super) fn new(codec: Codec) -> Self {
        let trickles = codec.spoken().file.signal_operation(dialect::Kind::Candidate).is_some();
        let echoes = codec.spoken().descriptor.echoes.then(VecDeque::new);
        let bundles = (!trickles).then(Bundles::default);
        Self { codec, ask_again: None, ping_at: None, bundles, echoes }
    }

    /// The connection is open.
    pub(super) fn connected(&mut self, cx: &ClientCx) {
        self.ping_at = self.ping_interval().map(|interval| cx.now() + interval);
    }

    /// The connection is closed.
    pub(super) fn lost(&mut self) {
        (self.ask_again, self.ping_at) = (None, None);
        self.bundles.iter_mut().for_each(Bundles::clear);
        self.echoes.iter_mut().for_each(VecDeque::clear);
    }

    fn ping_interval(&self) -> Option<Duration> {
        let seconds = self.codec.file().heartbeat.as_ref()?.every_s?;
        Some(Duration::from_secs(seconds.into()))
    }

    // ---- time

    /// Makes it ask to join again, after a pause.
    pub(super) fn ask_again(&mut self, cx: &ClientCx) {
        self.ask_again = Some(cx.now() + ASK_AGAIN);
    }

    /// Its join was answered.
    pub(super) fn stop_asking(&mut self) {
        self.ask_again = None;
    }

    /// When to call [`on_time`](Self::on_time) next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let bundle = self.bundles.as_ref().and_then(Bundles::deadline);
        [self.ask_again, self.ping_at, bundle].into_iter().flatten().min()
    }

    /// Handles the deadlines that have passed. Returns whether to ask to join again.
    pub(super) fn on_time(&mut self, cx: &mut ClientCx) -> bool {
        let now = cx.now();
        if self.ping_at.is_some_and(|at| at <= now) {
            self.ping_at = self.ping_interval().map(|interval| now + interval);
            self.send_plain(Operation::Ping, cx);
        }
        while let Some(bundle) = self.bundles.as_mut().and_then(|bundles| bundles.take_due(now)) {
            self.send_bundle(bundle, cx);
        }
        let is_due = self.ask_again.is_some_and(|at| at <= now);
        if is_due {
            self.ask_again = None;
        }
        is_due
    }

    // ---- what it sends

    /// Performs an operation, which is recorded as `message`. Returns whether the dialect has it.
    pub(super) fn send(&mut self, operation: Operation, args: &Args<'_>, message: Message, cx: &mut ClientCx) -> bool {
        let text = self.codec.write(operation, args);
        let has_it = text.is_some();
        if let Some(text) = text {
            cx.send(text, message);
        }
        has_it
    }

    /// Performs an operation without meaning for the scenario, such as a heartbeat.
    pub(super) fn send_plain(&mut self, operation: Operation, cx: &mut ClientCx) {
        if let Some(text) = self.codec.write(operation, &Args::default()) {
            cx.send_framing(text);
        }
    }

    /// Sends a signal, if the dialect has a message for it. Without one for candidates, a description carries them, and
    /// waits for them.
    pub(super) fn signal(&mut self, signal: OutgoingSignal, cx: &mut ClientCx) {
        let Some(bundles) = &mut self.bundles else { return self.send_signal(signal, cx) };
        match signal.kind {
            SignalKind::Offer | SignalKind::Answer => {
                if let Some(earlier) = bundles.hold(signal, cx.now()) {
                    self.send_bundle(earlier, cx);
                }
            }
            SignalKind::IceCandidate => bundles.add(&signal),
            SignalKind::Hangup => self.send_signal(signal, cx),
        }
    }

    fn send_bundle(&mut self, bundle: Bundle, cx: &mut ClientCx) {
        self.send_signal(bundle.into_signal(), cx);
    }

    fn send_signal(&mut self, signal: OutgoingSignal, cx: &mut ClientCx) {
        let OutgoingSignal { to, kind, payload } = signal;
        // Without a message for hangups, the other side times out by itself.
        let Some(text) = self.codec.signal(to.id(), kind, &payload) else { return };
        if let Some(echoes) = &mut self.echoes {
            echoes.push_back(payload.clone());
        }
        cx.send(text, Message::Signal { room: cx.room(), peer: to.id().cloned(), kind, payload });
    }

    // ---- what arrives

    /// Whether a payload is one that it has sent itself. Each comes back once.
    pub(super) fn is_echo(&mut self, payload: &str) -> bool {
        let rewrites = self.codec.spoken().descriptor.rewrites;
        let Some(echoes) = &mut self.echoes else { return false };
        let is_own = |echo: &Arc<str>| **echo == *payload || rewrites && is_same(echo, payload);
        let Some(own) = echoes.iter().position(is_own) else { return false };
        echoes.remove(own);
        true
    }

    /// Passes a signal to the connections.
    pub(super) fn take_signal(&self, from: &PeerName, kind: SignalKind, payload: &str, cx: &mut ClientCx) {
        match kind {
            SignalKind::Offer | SignalKind::Answer if self.bundles.is_some() => {
                let Some((description, candidates)) = Bundle::read(payload) else { return };
                cx.on_signal(from, kind, description);
                for candidate in candidates {
                    cx.on_signal(from, SignalKind::IceCandidate, candidate);
                }
            }
            _ => cx.on_signal(from, kind, payload),
        }
    }
}
