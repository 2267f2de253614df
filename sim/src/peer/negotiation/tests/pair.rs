//! Two negotiations, connected by a network in memory, in virtual time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use scenarios::Stack;

use crate::entropy;
use crate::event::{CandidateKind, PeerChange, PeerEvent, PeerName, SignalKind};
use crate::peer::gather::Gathered;
use crate::peer::negotiation::{Negotiation, OutgoingSignal, Output};
use crate::peer::path::{Path, Transmit};
use crate::peer::stack::{self, LocalCandidate, MediaSections};

/// How long each signal and datagram takes.
const LATENCY: Duration = Duration::from_millis(20);
/// How long [`Pair::drive`] waits for a connection.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Ana,
    Ben,
}
pub(super) use Who::{Ana, Ben};

impl Who {
    fn other(self) -> Self {
        if self == Ana { Ben } else { Ana }
    }

    fn name(self) -> &'static str {
        if self == Ana { "ana" } else { "ben" }
    }

    fn peer(self) -> PeerName {
        PeerName::Client(self.name().into())
    }

    fn address(self) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1 + self as u8], 5000))
    }
}

/// A signal or datagram in flight, with its receiver.
enum Flight {
    Signal(Who, OutgoingSignal),
    Datagram(Who, Path, Vec<u8>),
}

/// Decides what happens to a signal: `None` loses it, otherwise it takes that much longer than normal.
type SignalFate = Box<dyn FnMut(Who, SignalKind) -> Option<Duration>>;

/// Two clients, Ana and Ben, and the network between them.
pub(super) struct Pair {
    sides: [Side; 2],
    start: Instant,
    now: Instant,
    /// Items in flight, by arrival time, then by the order of sending.
    flights: BTreeMap<(Instant, usize), Flight>,
    departures: usize,
    signal_fate: SignalFate,
    /// Whether datagrams arrive.
    pub(super) datagrams_arrive: bool,
}

struct Side {
    negotiation: Negotiation,
    events: Vec<(Duration, PeerEvent)>,
    signals: Vec<OutgoingSignal>,
    is_connected: bool,
}

/// Runs a test on a thread with seeded randomness, with each stack, and with one of each.
pub(super) fn with_pair(test: fn(&mut Pair)) {
    let [rtc, str0m] = [Stack::Rtc, Stack::Str0m];
    let all = [[rtc, rtc], [str0m, str0m], [rtc, str0m], [str0m, rtc]];
    let stacks = if cfg!(feature = "str0m") { &all[..] } else { &all[..1] };
    for stacks in stacks.iter().copied() {
        if let Err(panic) = entropy::sealed(1, move || test(&mut Pair::new(stacks))) {
            eprintln!("with the stacks {stacks:?}");
            std::panic::resume_unwind(panic);
        }
    }
}

impl Pair {
    fn new(stacks: [Stack; 2]) -> Self {
        #[allow(clippy::disallowed_methods)] // only differences count
        let start = Instant::now();
        let side = |who: Who| {
            let (timing, policy) = (scenarios::Timing::default(), scenarios::IceTransportPolicy::All);
            let (stack, sections) = (stacks[who as usize], MediaSections::default());
            let stacks = stack::factory(stack, who.name(), None, timing, policy, sections).expect("a certificate");
            let mut negotiation = Negotiation::new(who.name().into(), stacks, start);
            negotiation.set_signaling(true);
            negotiation.on_gathered(candidate(CandidateKind::Host, who.address(), who), start);
            Side { negotiation, events: Vec::new(), signals: Vec::new(), is_connected: false }
        };
        Self {
            sides: [side(Ana), side(Ben)],
            start,
            now: start,
            flights: BTreeMap::new(),
            departures: 0,
            signal_fate: Box::new(|_, _| Some(Duration::ZERO)),
            datagrams_arrive: true,
        }
    }

    // ---- what happens

    /// Sets what happens to signals from now on, by their sender and kind.
    pub(super) fn signals(&mut self, fate: impl FnMut(Who, SignalKind) -> Option<Duration> + 'static) {
        self.signal_fate = Box::new(fate);
    }

    /// Makes one side offer a connection.
    pub(super) fn offer(&mut self, who: Who) {
        self.act(who, |negotiation, peer, now| negotiation.offer(peer, now));
    }

    /// Calls `act` with one side's negotiation, the other side's id and the current time.
    pub(super) fn act<T>(&mut self, who: Who, act: impl FnOnce(&mut Negotiation, &PeerName, Instant) -> T) {
        let now = self.now;
        let _ = act(&mut self.sides[who as usize].negotiation, &who.other().peer(), now);
        self.collect(who);
    }

    /// Delivers one side's first signal of a kind, even if it has arrived before.
    pub(super) fn repeat(&mut self, from: Who, kind: SignalKind) {
        let sent = self.sides[from as usize].signals.iter().find(|signal| signal.kind == kind);
        let sent = sent.expect("such a signal was sent").clone();
        self.arrive(Flight::Signal(from.other(), sent));
    }

    /// Delivers a signal that its sender never sent.
    pub(super) fn forge(&mut self, from: Who, kind: SignalKind, payload: &str) {
        let signal = OutgoingSignal { to: from.other().peer(), kind, payload: payload.into() };
        self.arrive(Flight::Signal(from.other(), signal));
    }

    /// Gives one side a server-reflexive candidate, which is valid for five seconds.
    pub(super) fn gather(&mut self, who: Who, address: &str) {
        let until = Some(self.now + Duration::from_secs(5));
        let gathered = candidate(CandidateKind::Srflx, address.parse().expect("an address"), who);
        self.act(who, |negotiation, _, now| negotiation.on_gathered(Gathered { until, ..gathered }, now));
    }

    // ---- time

    /// Advances to the next arrival or deadline, and handles everything that is due then. Returns false if there is
    /// none.
    pub(super) fn step(&mut self) -> bool {
        let Some(next) = self.next() else { return false };
        self.now = self.now.max(next);
        while let Some(entry) = self.flights.first_entry()
            && entry.key().0 <= self.now
        {
            let flight = entry.remove();
            self.arrive(flight);
        }
        for who in [Ana, Ben] {
            if self.sides[who as usize].negotiation.deadline().is_some_and(|deadline| deadline <= self.now) {
                self.act(who, |negotiation, _, now| negotiation.on_time(now));
            }
        }
        true
    }

    /// Runs until both are connected and no signal is in flight.
    pub(super) fn drive(&mut self) {
        let end = self.now + PATIENCE;
        while !self.is_settled() {
            assert!(self.step() && self.now < end, "ana: {:#?}\nben: {:#?}", self.story(Ana), self.story(Ben));
        }
    }

    /// Runs for some time.
    pub(super) fn drive_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.next().is_some_and(|next| next <= end) {
            self.step();
        }
        self.now = end;
    }

    // ---- results

    /// Whether both have an open data channel.
    pub(super) fn is_connected(&self) -> bool {
        self.sides.iter().all(|side| side.is_connected)
    }

    /// What happened to one side's connections, in words, without candidates and states of ICE and DTLS.
    pub(super) fn story(&self, who: Who) -> Vec<String> {
        self.sides[who as usize].events.iter().filter_map(|(_, event)| word(&event.change)).collect()
    }

    /// Clears the recorded events.
    pub(super) fn clear(&mut self) {
        self.sides.iter_mut().for_each(|side| side.events.clear());
    }

    /// What [`story`](Self::story) returns, with the time of each event in seconds.
    pub(super) fn timeline(&self, who: Who) -> Vec<String> {
        let events = self.sides[who as usize].events.iter();
        events.filter_map(|(at, event)| Some(format!("{} {}", at.as_secs(), word(&event.change)?))).collect()
    }

    /// How often one side had an event that fulfils `is`.
    pub(super) fn count(&self, who: Who, is: impl Fn(&PeerChange) -> bool) -> usize {
        self.sides[who as usize].events.iter().filter(|(_, event)| is(&event.change)).count()
    }

    /// The session of one side's newest signal.
    pub(super) fn session(&self, who: Who) -> String {
        let signal = self.sides[who as usize].signals.last().expect("a signal was sent");
        let payload: serde_json::Value = serde_json::from_str(&signal.payload).expect("a payload");
        payload["session"].as_str().expect("a session").to_owned()
    }

    // ---- helpers

    fn next(&self) -> Option<Instant> {
        let deadlines = self.sides.iter().filter_map(|side| side.negotiation.deadline());
        deadlines.chain(self.flights.keys().next().map(|(at, _)| *at)).min()
    }

    fn is_settled(&self) -> bool {
        self.is_connected() && !self.flights.values().any(|flight| matches!(flight, Flight::Signal(..)))
    }

    fn arrive(&mut self, flight: Flight) {
        match flight {
            Flight::Signal(to, OutgoingSignal { kind, payload, .. }) => {
                self.act(to, |negotiation, from, now| negotiation.on_signal(from, kind, &payload, now));
            }
            Flight::Datagram(to, path, bytes) => {
                self.act(to, |negotiation, _, now| negotiation.on_datagram(path, &bytes, now));
            }
        }
    }

    /// Collects the outputs of an input, and puts them in flight.
    fn collect(&mut self, who: Who) {
        while let Some(output) = self.sides[who as usize].negotiation.poll_output() {
            match output {
                Output::Stream { .. } => unreachable!("it comes from the gatherer"),
                Output::Event(event) => {
                    let side = &mut self.sides[who as usize];
                    match event.change {
                        PeerChange::ChannelOpen => side.is_connected = true,
                        PeerChange::Closed { .. } => side.is_connected = false,
                        _ => {}
                    }
                    side.events.push((self.now - self.start, event));
                }
                Output::Signal(signal) => {
                    assert_eq!(signal.to, who.other().peer());
                    self.sides[who as usize].signals.push(signal.clone());
                    if let Some(delay) = (self.signal_fate)(who, signal.kind) {
                        self.depart(LATENCY + delay, Flight::Signal(who.other(), signal));
                    }
                }
                Output::Transmit(Transmit { path, bytes }) => {
                    assert_eq!(path.base, who.address());
                    if self.datagrams_arrive && path.remote == who.other().address() {
                        let path = Path { remote: path.base, base: path.remote };
                        self.depart(LATENCY, Flight::Datagram(who.other(), path, bytes.to_vec()));
                    }
                }
            }
        }
    }

    fn depart(&mut self, time: Duration, flight: Flight) {
        self.flights.insert((self.now + time, self.departures), flight);
        self.departures += 1;
    }
}

fn candidate(kind: CandidateKind, address: SocketAddr, of: Who) -> Gathered {
    Gathered { candidate: LocalCandidate { kind, address, base: of.address(), preference: u16::MAX }, until: None }
}

fn word(change: &PeerChange) -> Option<String> {
    let kind_word = |kind: &SignalKind| format!("{kind:?}").to_lowercase();
    Some(match change {
        PeerChange::Opened { offerer } => if *offerer { "opens to offer" } else { "opens to answer" }.to_owned(),
        PeerChange::Described { local, kind, .. } => {
            format!("{} {}", if *local { "local" } else { "remote" }, kind_word(kind))
        }
        PeerChange::CandidateQueued => "candidate queued".to_owned(),
        PeerChange::Stale { kind } => format!("stale {}", kind_word(kind)),
        PeerChange::IceRestart => "ICE restart".to_owned(),
        PeerChange::ConsentExpired => "consent expired".to_owned(),
        PeerChange::ChannelOpen => "connected".to_owned(),
        PeerChange::Error { text } => format!("error: {text}"),
        PeerChange::Closed { why } => format!("closed: {why:?}"),
        PeerChange::RolledBack => "rolled back".to_owned(),
        PeerChange::Mapped { .. }
        | PeerChange::Candidate { .. }
        | PeerChange::Ice { .. }
        | PeerChange::Selected { .. }
        | PeerChange::Dtls { .. }
        | PeerChange::Flows { .. }
        | PeerChange::Turn { .. }
        | PeerChange::Track { .. }
        | PeerChange::Plays { .. }
        | PeerChange::Sends { .. }
        | PeerChange::Silent { .. }
        | PeerChange::Heard { .. }
        | PeerChange::MediaSent { .. }
        | PeerChange::MediaReceived { .. }
        | PeerChange::IceServers { .. }
        | PeerChange::NoIceServers { .. }
        | PeerChange::ChannelSent { .. }
        | PeerChange::ChannelReceived { .. } => return None,
    })
}
