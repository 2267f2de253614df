//! A program's WebRTC connections, as its signals and its datagrams show them. Encryption hides only what data channels
//! carry; a program may report that itself ([`report`](super::report)).

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use super::description::{Description, candidate_in};
use super::packet::{Class, Dtls, Packet, Stun};
use crate::event::TransportAddress;
use crate::event::{
    Candidate, CandidateKind, Closed, DtlsState, IceState, NodeId, PeerChange, PeerEvent, PeerName, Recorder,
    SignalKind, What,
};
use crate::peer::client::observed::Signal;

/// Without an answer for this long, the other side's consent to receive is over (RFC 7675 §5.1).
const CONSENT: Duration = Duration::from_secs(30);
/// Checks and requests whose answers are awaited. Older ones are forgotten.
const AWAITED_MAX: usize = 4096;

/// A local port and a remote address: the way of a datagram.
type Path = (u16, TransportAddress);

/// All connections of a program.
pub(super) struct Media {
    recorder: Recorder,
    node: NodeId,
    address: Ipv4Addr,
    /// The STUN server.
    stun: TransportAddress,
    connections: Vec<Connection>,
    attempts: BTreeMap<PeerName, u16>,
    /// The requests that were sent: the number of their connection, their way, and whether they nominate.
    awaited: BTreeMap<[u8; 12], (Option<usize>, Path, bool)>,
    /// The connection of each way that a check has taken.
    paths: BTreeMap<Path, usize>,
}

/// One connection, from its first description on.
struct Connection {
    peer: PeerName,
    attempt: u16,
    open: bool,
    ours: Side,
    theirs: Side,
    /// Candidates of the other side.
    remote: Vec<Candidate>,
    ice: IceState,
    dtls: DtlsState,
    /// Ways on which a check was answered.
    answered: BTreeSet<Path>,
    /// Ways that the other side has nominated.
    nominated: BTreeSet<Path>,
    selected: Option<Path>,
    /// When the other side was last heard on any way.
    heard: Duration,
    /// Whether this side, and the other, has finished the handshake.
    finished: [bool; 2],
    /// Whether data has flowed: sent, received.
    flows: [bool; 2],
}

/// What one side's descriptions say.
#[derive(Default)]
struct Side {
    ufrags: Vec<Arc<str>>,
    fingerprint: Option<String>,
    session: Option<String>,
}

impl Side {
    /// Whether a description comes from the same connection object as the ones before. A restart of ICE keeps the
    /// certificate, but so does a new connection of a stack that has one certificate for all.
    fn is_same(&self, description: &Description) -> bool {
        self.ufrags.is_empty()
            || self.ufrags.contains(&description.ufrag)
            || (self.fingerprint == description.fingerprint && self.session == description.session)
    }

    fn take(&mut self, description: &Description) {
        if !self.ufrags.contains(&description.ufrag) {
            self.ufrags.push(description.ufrag.clone());
        }
        self.fingerprint.clone_from(&description.fingerprint);
        self.session.clone_from(&description.session);
    }
}

impl Media {
    pub(super) fn new(recorder: Recorder, node: NodeId, address: Ipv4Addr, stun: TransportAddress) -> Self {
        let (connections, attempts) = (Vec::new(), BTreeMap::new());
        let (awaited, paths) = (BTreeMap::new(), BTreeMap::new());
        Self { recorder, node, address, stun, connections, attempts, awaited, paths }
    }

    fn note(&self, number: usize, change: PeerChange) {
        let Connection { peer, attempt, .. } = &self.connections[number];
        let event = PeerEvent { peer: peer.clone(), attempt: *attempt, change };
        self.recorder.write(self.node, What::Peer(event));
    }

    // ---- signals

    /// The open connection to a peer.
    fn with(&self, peer: &PeerName) -> Option<usize> {
        self.connections.iter().rposition(|connection| connection.open && connection.peer == *peer)
    }

    fn open(&mut self, peer: &PeerName, offerer: bool) -> usize {
        if let Some(before) = self.with(peer) {
            self.close(before, Closed::Replaced);
        }
        let attempts = self.attempts.entry(peer.clone()).or_default();
        *attempts += 1;
        self.connections.push(Connection {
            peer: peer.clone(),
            attempt: *attempts,
            open: true,
            ours: Side::default(),
            theirs: Side::default(),
            remote: Vec::new(),
            ice: IceState::New,
            dtls: DtlsState::New,
            answered: BTreeSet::new(),
            nominated: BTreeSet::new(),
            selected: None,
            heard: Duration::ZERO,
            finished: [false; 2],
            flows: [false; 2],
        });
        let number = self.connections.len() - 1;
        self.note(number, PeerChange::Opened { offerer });
        number
    }

    fn close(&mut self, number: usize, why: Closed) {
        self.connections[number].open = false;
        self.note(number, PeerChange::Closed { why });
    }

    /// The program has sent a signal, or has received one.
    pub(super) fn signal(&mut self, out: bool, signal: &Signal) {
        let Signal { peer, kind, payload } = signal;
        match kind {
            SignalKind::Offer | SignalKind::Answer => {
                if let Some(description) = Description::find(payload) {
                    self.describe(out, peer, *kind, description);
                }
            }
            SignalKind::IceCandidate => {
                if let (Some(number), Some(candidate)) = (self.with(peer), candidate_in(payload)) {
                    self.candidate(number, out, candidate);
                }
            }
            SignalKind::Hangup => {
                if let Some(number) = self.with(peer) {
                    self.close(number, if out { Closed::Hangup } else { Closed::RemoteHangup });
                }
            }
        }
    }

    fn describe(&mut self, out: bool, peer: &PeerName, kind: SignalKind, description: Description) {
        let known = self.with(peer).filter(|number| {
            let connection = &self.connections[*number];
            let side = if out { &connection.ours } else { &connection.theirs };
            side.is_same(&description)
        });
        let number = match (known, kind) {
            (Some(number), _) => number,
            // An answer opens nothing. One to an offer that is not known belongs to a connection that is over.
            (None, SignalKind::Answer) => match self.with(peer) {
                Some(number) => number,
                None => return,
            },
            (None, _) => self.open(peer, out),
        };
        let connection = &mut self.connections[number];
        let side = if out { &mut connection.ours } else { &mut connection.theirs };
        side.take(&description);
        let ufrag = description.ufrag;
        self.note(number, PeerChange::Described { local: out, kind, ufrag });
        for candidate in description.candidates {
            self.candidate(number, out, candidate);
        }
    }

    fn candidate(&mut self, number: usize, out: bool, candidate: Candidate) {
        let connection = &mut self.connections[number];
        let side = if out { &connection.ours } else { &connection.theirs };
        let Some(ufrag) = side.ufrags.last().cloned() else { return };
        if !out && !connection.remote.contains(&candidate) {
            connection.remote.push(candidate);
        }
        self.note(number, PeerChange::Candidate { local: out, candidate, ufrag });
    }

    // ---- datagrams

    /// The program has sent a datagram, or one has arrived for it.
    pub(super) fn datagram(&mut self, out: bool, port: u16, remote: TransportAddress, bytes: &[u8]) {
        let path = (port, remote);
        match Packet::parse(bytes) {
            Some(Packet::Stun(stun)) => self.stun(out, path, &stun),
            Some(Packet::Dtls(dtls)) => self.dtls(out, path, dtls),
            Some(Packet::Media) => {
                if let Some(number) = self.heard(out, path) {
                    self.flows(number, out);
                }
            }
            None => {}
        }
    }

    /// The connection that a way belongs to. If something arrives on it, the other side is alive.
    fn heard(&mut self, out: bool, path: Path) -> Option<usize> {
        let number = *self.paths.get(&path)?;
        let now = self.recorder.now();
        let connection = &mut self.connections[number];
        let is_up = matches!(connection.ice, IceState::Connected | IceState::Disconnected);
        if !out {
            connection.heard = now;
            if connection.ice == IceState::Disconnected {
                self.ice(number, IceState::Connected);
            }
        } else if is_up && connection.ice == IceState::Connected && connection.heard + CONSENT < now {
            self.ice(number, IceState::Disconnected);
        }
        Some(number)
    }

    fn ice(&mut self, number: usize, state: IceState) {
        let connection = &mut self.connections[number];
        if connection.open && connection.ice != state {
            connection.ice = state;
            self.note(number, PeerChange::Ice { state });
        }
    }

    fn stun(&mut self, out: bool, path: Path, stun: &Stun) {
        match stun.class {
            Class::Request => self.request(out, path, stun),
            Class::Success if !out => self.answer(path, stun),
            _ => {
                self.heard(out, path);
            }
        }
    }

    fn request(&mut self, out: bool, path: Path, stun: &Stun) {
        let number = stun.username.as_ref().and_then(|(to, from)| {
            let (theirs, ours) = if out { (to, from) } else { (from, to) };
            let has = |side: &Side, ufrag: &String| side.ufrags.iter().any(|known| **known == **ufrag);
            // Of a check that overtakes the other side's description, only the own name is known.
            self.connections.iter().rposition(|connection| {
                has(&connection.ours, ours) && (connection.theirs.ufrags.is_empty() || has(&connection.theirs, theirs))
            })
        });
        if out {
            if self.awaited.len() >= AWAITED_MAX {
                self.awaited.clear();
            }
            self.awaited.insert(stun.transaction, (number, path, stun.nominates));
        }
        let Some(number) = number else { return };
        self.paths.insert(path, number);
        self.heard(out, path);
        if self.connections[number].ice == IceState::New {
            self.ice(number, IceState::Checking);
        }
        if !out && stun.nominates {
            self.connections[number].nominated.insert(path);
            if self.connections[number].answered.contains(&path) {
                self.select(number, path);
            }
        }
    }

    fn answer(&mut self, path: Path, stun: &Stun) {
        let Some((number, asked, nominates)) = self.awaited.remove(&stun.transaction) else { return };
        // RFC 8445 §7.2.5.2.1: the answer must come from where the request went.
        if asked != path {
            return;
        }
        let base = TransportAddress::new(self.address, path.0);
        match (number, stun.mapped) {
            (None, Some(mapped)) if path.1 == self.stun => {
                let change = PeerChange::Mapped { base, mapped };
                let event = PeerEvent { peer: PeerName::None, attempt: 0, change };
                self.recorder.write(self.node, What::Peer(event));
            }
            (Some(number), _) => {
                self.heard(false, path);
                let connection = &mut self.connections[number];
                connection.answered.insert(path);
                if nominates || connection.nominated.contains(&path) {
                    self.select(number, path);
                }
            }
            _ => {}
        }
    }

    fn select(&mut self, number: usize, path: Path) {
        let address = self.address;
        let connection = &mut self.connections[number];
        if !connection.open {
            return;
        }
        if connection.selected.replace(path) != Some(path) {
            let known = connection.remote.iter().find(|candidate| candidate.address == path.1).copied();
            let remote = known.unwrap_or(Candidate { kind: CandidateKind::Prflx, address: path.1 });
            let local = Candidate { kind: CandidateKind::Host, address: TransportAddress::new(address, path.0) };
            self.note(number, PeerChange::Selected { local, remote });
        }
        self.ice(number, IceState::Connected);
    }

    fn dtls(&mut self, out: bool, path: Path, dtls: Dtls) {
        let Some(number) = self.heard(out, path) else { return };
        let side = usize::from(!out);
        if dtls.finished || dtls.data {
            self.connections[number].finished[side] = true;
        }
        let finished = self.connections[number].finished == [true; 2];
        let state = self.connections[number].dtls;
        let next = match state {
            DtlsState::New | DtlsState::Connecting if finished => DtlsState::Connected,
            DtlsState::New | DtlsState::Connecting if dtls.failed => DtlsState::Failed,
            DtlsState::New => DtlsState::Connecting,
            DtlsState::Connected if dtls.closes => DtlsState::Closed,
            other => other,
        };
        if next != state && self.connections[number].open {
            self.connections[number].dtls = next;
            self.note(number, PeerChange::Dtls { state: next });
        }
        if dtls.data && finished {
            self.flows(number, out);
        }
    }

    /// Data flows in one direction. The first time is recorded.
    fn flows(&mut self, number: usize, out: bool) {
        let connection = &mut self.connections[number];
        let side = usize::from(!out);
        if connection.open && !std::mem::replace(&mut connection.flows[side], true) {
            self.note(number, PeerChange::Flows { sent: out });
        }
    }

    // ---- reports

    /// The program reports a change of its connection to a peer. Returns false if it never had one.
    pub(super) fn reported(&mut self, peer: &PeerName, change: PeerChange) -> bool {
        let Some(number) = self.with(peer) else {
            return self.connections.iter().any(|connection| connection.peer == *peer);
        };
        match change {
            PeerChange::Ice { state } => self.ice(number, state),
            // Until the program has described its side, the report is about the connection that this one replaces.
            PeerChange::Closed { .. } if self.connections[number].ours.ufrags.is_empty() => {}
            PeerChange::Closed { why } => self.close(number, why),
            change => self.note(number, change),
        }
        true
    }

    /// The peers that have left are gone.
    pub(super) fn left(&mut self, peer: &PeerName) {
        if let Some(number) = self.with(peer) {
            self.close(number, Closed::PeerLeft);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{NodeKind, Record};

    const OFFER: &str = r#"{"type":"offer","sdp":"v=0\r\na=ice-ufrag:ours\r\na=fingerprint:sha-256 AA\r\n"}"#;
    const ANSWER: &str = r#"{"type":"answer","sdp":"v=0\r\na=ice-ufrag:them\r\na=fingerprint:sha-256 BB\r\na=candidate:1 1 udp 1 203.0.113.5 7000 typ host\r\n"}"#;

    struct Bench {
        media: Media,
        recorder: Recorder,
        peer: PeerName,
    }

    impl Bench {
        fn new() -> Self {
            let recorder = Recorder::new(tokio::time::Instant::now());
            let node = recorder.node("ana", NodeKind::World);
            let stun = "203.0.113.1:3478".parse().expect("an address");
            let media = Media::new(recorder.clone(), node, Ipv4Addr::new(192, 168, 1, 10), stun);
            Self { media, recorder, peer: PeerName::Client("ben".into()) }
        }

        fn signal(&mut self, out: bool, kind: SignalKind, payload: &str) {
            let signal = Signal { peer: self.peer.clone(), kind, payload: payload.to_owned() };
            self.media.signal(out, &signal);
        }

        fn check(&mut self, out: bool, remote: &str, transaction: u8, nominates: bool) {
            let username = Some(if out { ("them", "ours") } else { ("ours", "them") });
            let username = username.map(|(to, from)| (to.to_owned(), from.to_owned()));
            let transaction = [transaction; 12];
            let stun = Stun { class: Class::Request, transaction, username, nominates, mapped: None };
            self.media.stun(out, (5000, remote.parse().expect("an address")), &stun);
        }

        fn answer(&mut self, remote: &str, transaction: u8) {
            let stun = Stun { class: Class::Success, transaction: [transaction; 12], ..Stun::default() };
            self.media.stun(false, (5000, remote.parse().expect("an address")), &stun);
        }

        fn changes(&self) -> Vec<String> {
            let Record { events, .. } = self.recorder.take();
            let change = |event: crate::event::Event| match event.what {
                What::Peer(PeerEvent { change, attempt, .. }) => {
                    let text = serde_json::to_value(&change).expect("JSON");
                    let state = text.get("state").and_then(|state| state.as_str()).unwrap_or_default();
                    format!("{attempt} {} {state}", text["event"].as_str().unwrap_or_default()).trim_end().to_owned()
                }
                other => panic!("{other:?}"),
            };
            events.into_iter().map(change).collect()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_up_when_a_nominated_check_was_answered_and_both_sides_have_finished() {
        let mut bench = Bench::new();
        bench.signal(true, SignalKind::Offer, OFFER);
        bench.signal(false, SignalKind::Answer, ANSWER);
        assert_eq!(bench.changes(), ["1 opened", "1 described", "1 described", "1 candidate"]);
        let remote = "203.0.113.5:7000";
        bench.check(true, remote, 1, false);
        bench.answer("203.0.113.6:7000", 1);
        bench.check(true, remote, 2, false);
        bench.answer(remote, 2);
        assert_eq!(bench.changes(), ["1 ice checking"], "answered, but not nominated");
        bench.check(true, remote, 3, true);
        bench.answer(remote, 3);
        assert_eq!(bench.changes(), ["1 selected", "1 ice connected"]);
        let path = (5000, remote.parse().expect("an address"));
        let none = Dtls::default();
        bench.media.dtls(true, path, Dtls { handshake: true, ..none });
        bench.media.dtls(false, path, Dtls { finished: true, ..none });
        assert_eq!(bench.changes(), ["1 dtls connecting"]);
        bench.media.dtls(true, path, Dtls { finished: true, ..none });
        bench.media.dtls(true, path, Dtls { data: true, ..none });
        bench.media.dtls(true, path, Dtls { data: true, ..none });
        bench.media.dtls(false, path, Dtls { data: true, ..none });
        assert_eq!(bench.changes(), ["1 dtls connected", "1 flows", "1 flows"]);
        tokio::time::advance(CONSENT + Duration::from_secs(1)).await;
        bench.check(true, remote, 4, false);
        bench.answer(remote, 4);
        assert_eq!(bench.changes(), ["1 ice disconnected", "1 ice connected"]);
        bench.media.dtls(false, path, Dtls { closes: true, ..none });
        bench.signal(false, SignalKind::Hangup, "{}");
        assert_eq!(bench.changes(), ["1 dtls closed", "1 closed"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_controlled_side_waits_for_the_nomination_and_its_own_check() {
        let mut bench = Bench::new();
        bench.signal(false, SignalKind::Offer, ANSWER);
        bench.signal(true, SignalKind::Answer, OFFER);
        assert_eq!(bench.changes().len(), 4);
        let remote = "203.0.113.9:1";
        bench.check(false, remote, 1, true);
        bench.check(true, remote, 2, false);
        assert_eq!(bench.changes(), ["1 ice checking"]);
        bench.answer(remote, 2);
        assert_eq!(bench.changes(), ["1 selected", "1 ice connected"]);
    }

    #[tokio::test(start_paused = true)]
    async fn new_credentials_restart_ice_and_a_new_certificate_replaces_the_connection() {
        let mut bench = Bench::new();
        bench.signal(true, SignalKind::Offer, OFFER);
        bench.signal(true, SignalKind::Offer, &OFFER.replace("ours", "next"));
        assert_eq!(bench.changes(), ["1 opened", "1 described", "1 described"]);
        bench.signal(true, SignalKind::Offer, &OFFER.replace("ours", "last").replace("AA", "CC"));
        assert_eq!(bench.changes(), ["1 closed", "2 opened", "2 described"]);
        bench.signal(false, SignalKind::Answer, ANSWER);
        assert_eq!(bench.changes(), ["2 described", "2 candidate"]);
    }
}
