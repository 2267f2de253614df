//! The timeline of a run in readable form: signaling and ICE, without the packets.

use std::fmt;
use std::time::Duration;

use scenarios::TURN_TLS_PORT;
use serde::Serialize;

use crate::event::TransportAddress;
use crate::event::{
    CallStep, ClientState, Closed, DtlsState, Event, Fault, IceState, MachineEvent, Message, NatEvent, NodeId,
    PeerChange, PeerEvent, ProgramEvent, Record, SignalKind, Signaling, TrackKind, TurnChange, What,
};
use crate::identities::Identities;

/// Maximum time between two equal happenings at different nodes that share a line.
const TOGETHER: Duration = Duration::from_millis(100);
/// Number of lines that are searched backwards for such a happening.
const TOGETHER_LINES: usize = 12;

/// A line of the timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Time since the start of the run.
    pub at: Duration,
    /// The nodes to which it happens.
    pub who: Vec<NodeId>,
    /// The node at which an action is directed, if there is one.
    pub whom: Option<NodeId>,
    /// What happens, in words.
    pub what: String,
    /// How a display should present it.
    pub tone: Tone,
    /// The first event that the line covers, an index into [`Record::events`].
    pub event: usize,
}

/// How a line should be presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tone {
    /// An ordinary step.
    Plain,
    /// A success.
    Good,
    /// A loss or a retry.
    Bad,
    /// A fault that the scenario injected.
    Fault,
}

/// The timeline of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Timeline {
    /// The lines, in order of time.
    pub lines: Vec<Line>,
    /// The names of all nodes, by [`NodeId`].
    names: Vec<String>,
}

impl Timeline {
    /// Builds the timeline of a record, up to the end of the scenario.
    pub fn of(record: &Record) -> Self {
        let identities = Identities::of(record);
        let mut builder = Builder { record, identities: &identities, lines: Vec::new() };
        for (index, event) in record.events.iter().enumerate() {
            if event.what == What::TearDown {
                break;
            }
            builder.add(index, event);
        }
        let lines = builder.lines;
        Self { lines, names: record.nodes.iter().map(|node| node.name.to_string()).collect() }
    }

    /// The nodes of a line: `ana → ben`, or `ana, ben`.
    pub fn who(&self, line: &Line) -> String {
        let name = |node: &NodeId| self.names[usize::from(node.0)].as_str();
        let who: Vec<_> = line.who.iter().map(name).collect();
        match &line.whom {
            Some(whom) => format!("{} → {}", who.join(", "), name(whom)),
            None => who.join(", "),
        }
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "{:>9.3} s  {:<16} {}", line.at.as_secs_f64(), self.who(line), line.what)?;
        }
        Ok(())
    }
}

struct Builder<'a> {
    record: &'a Record,
    identities: &'a Identities,
    lines: Vec<Line>,
}

impl Builder<'_> {
    fn add(&mut self, index: usize, event: &Event) {
        let has_said_how = self.has_said_how(index, event.node);
        let mut push = |whom: Option<NodeId>, tone: Tone, what: String| {
            self.lines.push(Line { at: event.at, who: vec![event.node], whom, what, tone, event: index });
        };
        match &event.what {
            // A program of others has just said how it ended.
            What::Machine(MachineEvent::Ended) if has_said_how => {}
            What::Machine(MachineEvent::Ended) => push(None, Tone::Plain, "program ends".to_owned()),
            What::Program(program) => {
                let (tone, what) = of_program(program);
                push(None, tone, what);
            }
            What::Machine(_) | What::Packet(_) | What::Census(_) | What::TearDown => {}
            What::Nat(NatEvent::Rebooted { lost }) => push(None, Tone::Bad, format!("loses {lost} mappings")),
            What::Nat(_) => {}
            What::Fault(fault) => {
                let tone = if matches!(fault, Fault::NoEffect { .. } | Fault::NoPacket { .. }) {
                    Tone::Bad
                } else {
                    Tone::Fault
                };
                let what = self.fault(fault);
                self.lines.push(Line { at: event.at, who: vec![event.node], whom: None, what, tone, event: index });
            }
            What::Signaling(signaling) => self.add_signaling(index, event, signaling),
            What::Peer(peer) => self.add_peer(index, event, peer),
        }
    }

    fn has_said_how(&self, index: usize, node: NodeId) -> bool {
        let before = index.checked_sub(1).map(|before| &self.record.events[before]);
        before
            .is_some_and(|event| event.node == node && matches!(event.what, What::Program(ProgramEvent::Ended { .. })))
    }

    fn add_signaling(&mut self, index: usize, event: &Event, signaling: &Signaling) {
        let (whom, tone, what) = match signaling {
            Signaling::Connecting { attempt } if *attempt > 0 => {
                (None, Tone::Plain, format!("dials again, attempt {attempt}"))
            }
            Signaling::Closed { code, reason } => {
                let code = code.map(|code| format!(" {code}")).unwrap_or_default();
                let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                let tone = if code == " 1000" { Tone::Plain } else { Tone::Bad };
                (None, tone, format!("signaling closed{code}{reason}"))
            }
            Signaling::GaveUp { attempts } => (None, Tone::Bad, format!("gives up after {attempts} attempts")),
            Signaling::Sent(Message::Leave { room }) => (None, Tone::Plain, format!("leaves {room}")),
            Signaling::Sent(Message::Signal { peer, kind, .. })
                if matches!(kind, SignalKind::Offer | SignalKind::Answer) =>
            {
                let whom = peer.as_deref().and_then(|id| self.identities.owner(id));
                let is_whom = |line: &Line| line.whom == whom || peer.is_none();
                let is_same = |line: &Line| (line.at, &line.who[..]) == (event.at, &[event.node]) && is_whom(line);
                if self
                    .lines
                    .iter()
                    .rev()
                    .take(TOGETHER_LINES)
                    .any(|line| is_same(line) && line.what.starts_with(word(*kind)))
                {
                    return;
                }
                (whom, Tone::Plain, word(*kind).to_owned())
            }
            Signaling::State { state } => {
                let (tone, what) = match state {
                    ClientState::Init => (Tone::Plain, "INIT"),
                    ClientState::Waiting => (Tone::Plain, "WAITING"),
                    ClientState::Active => (Tone::Good, "ACTIVE"),
                    ClientState::Error => (Tone::Bad, "ERROR"),
                    // The messages of the call already show these states.
                    ClientState::Idle | ClientState::Calling | ClientState::Ringing | ClientState::InCall => return,
                };
                (None, tone, what.to_owned())
            }
            // The end of the connection already shows it, if there was a connection.
            Signaling::Sent(Message::Call { peer, step: CallStep::End })
                if self.has_line(event, self.identities.owner(peer), &call_word(CallStep::End)) =>
            {
                return;
            }
            Signaling::Sent(Message::Call { peer, step }) => {
                (self.identities.owner(peer), Tone::Plain, call_word(*step))
            }
            Signaling::Received(message) => match message {
                Message::Admitted { room, .. } => (None, Tone::Good, format!("joined {room}")),
                Message::Joined { room, roster, .. } => {
                    let others: Vec<_> =
                        roster.iter().map(|member| self.identities.name(self.record, &member.id)).collect();
                    let others = if others.is_empty() { "nobody".to_owned() } else { others.join(", ") };
                    (None, Tone::Good, format!("joined {room}, finds {others}"))
                }
                Message::PeerLeft { id, .. } => {
                    let gone = self.identities.name(self.record, id);
                    return self.together(index, event, format!("notified that {gone} left"));
                }
                Message::PartnerReady { .. } => (None, Tone::Plain, "notified that the other side is ready".to_owned()),
                Message::PartnerLeft { .. } => (None, Tone::Plain, "notified that the other side left".to_owned()),
                Message::Call { peer, step } => {
                    let who = self.identities.name(self.record, peer);
                    (None, Tone::Plain, format!("notified that {who} {}", call_word(*step)))
                }
                Message::Error { text } | Message::Refused { text, .. } => {
                    (None, Tone::Bad, format!("error from the server: {text}"))
                }
                Message::Unknown => (None, Tone::Bad, "a message that the dialect does not define".to_owned()),
                _ => return,
            },
            _ => return,
        };
        self.lines.push(Line { at: event.at, who: vec![event.node], whom, what, tone, event: index });
    }

    fn add_peer(&mut self, index: usize, event: &Event, peer: &PeerEvent) {
        let whom = self.identities.partner(index, event.node, &peer.peer);
        let (tone, what) = match &peer.change {
            PeerChange::Opened { .. } if peer.attempt > 1 => {
                (Tone::Plain, format!("connection {} begins", peer.attempt))
            }
            PeerChange::Described { local: true, kind, .. } => (Tone::Plain, word(*kind).to_owned()),
            PeerChange::Mapped { base, mapped } => (Tone::Plain, format!("STUN: {base} is seen as {mapped}")),
            PeerChange::Candidate { local: true, candidate, .. } => {
                let what = format!("{} {}", lower(candidate.kind), candidate.address);
                // Candidates that follow a description at once are added to its line.
                if let Some(last) = self.lines.last_mut()
                    && (last.at, &last.who[..], last.whom) == (event.at, &[event.node], whom)
                {
                    last.what = format!("{}, {what}", last.what);
                    return;
                }
                (Tone::Plain, format!("candidate {what}"))
            }
            PeerChange::CandidateQueued => (Tone::Plain, "queues a candidate that arrived early".to_owned()),
            PeerChange::Stale { kind } => (Tone::Plain, format!("ignores a stale {}", word(*kind))),
            PeerChange::Ice { state: IceState::Disconnected } => (Tone::Bad, "ICE disconnected".to_owned()),
            PeerChange::Ice { state: IceState::Failed } => (Tone::Bad, "ICE failed".to_owned()),
            PeerChange::RolledBack => (Tone::Plain, "rolls back its own offer".to_owned()),
            PeerChange::IceRestart => (Tone::Plain, "restarts ICE".to_owned()),
            PeerChange::ConsentExpired => (Tone::Bad, "has no consent to send to it any more".to_owned()),
            PeerChange::Selected { local, remote } => {
                let (from, to) = (lower(local.kind), lower(remote.kind));
                (Tone::Good, format!("ICE connected: {from} {} ↔ {to} {}", local.address, remote.address))
            }
            PeerChange::Dtls { state: DtlsState::Connected } => (Tone::Good, "DTLS connected".to_owned()),
            PeerChange::Dtls { state: DtlsState::Failed } => (Tone::Bad, "DTLS failed".to_owned()),
            PeerChange::ChannelOpen => (Tone::Good, "data channel open".to_owned()),
            PeerChange::ChannelReceived { text } => (Tone::Good, format!("receives “{text}”")),
            PeerChange::Flows { sent } => {
                (Tone::Good, format!("first data {}", if *sent { "sent" } else { "received" }))
            }
            PeerChange::Plays { kind } => (Tone::Good, format!("first {} received", word_of(*kind))),
            PeerChange::Sends { kind, on: true } => (Tone::Plain, format!("sends {}", word_of(*kind))),
            PeerChange::Sends { kind, on: false } => (Tone::Plain, format!("sends no {} any more", word_of(*kind))),
            PeerChange::Silent { kind } => (Tone::Bad, format!("receives no {}", word_of(*kind))),
            PeerChange::Heard { kind, gap_ms } => {
                let gap = *gap_ms as f64 / 1000.0;
                (Tone::Good, format!("receives {} again, after {gap:.3} s", word_of(*kind)))
            }
            PeerChange::IceServers { servers, relays } => {
                let servers = if *servers == 1 { "1 ICE server".to_owned() } else { format!("{servers} ICE servers") };
                (Tone::Plain, format!("gets {servers} from /api/config, {relays} of them with TURN"))
            }
            PeerChange::NoIceServers { why } => (Tone::Bad, format!("gets no ICE servers from /api/config: {why}")),
            PeerChange::Turn { server, tcp, change } => of_turn(*server, *tcp, change),
            PeerChange::Error { text } => (Tone::Bad, format!("error: {text}")),
            PeerChange::Closed { why } => match why {
                Closed::PeerLeft | Closed::Leaving | Closed::Replaced | Closed::SignalingLost => return,
                Closed::RemoteHangup => (Tone::Plain, "receives a hangup".to_owned()),
                Closed::Hangup => (Tone::Plain, "hangs up".to_owned()),
                Closed::Timeout => (Tone::Bad, "not connected in time, hangs up".to_owned()),
                Closed::Failed => (Tone::Bad, "failed, hangs up".to_owned()),
            },
            _ => return,
        };
        self.lines.push(Line { at: event.at, who: vec![event.node], whom, what, tone, event: index });
    }

    /// Whether there is already such a line about this node at the same instant.
    fn has_line(&self, event: &Event, whom: Option<NodeId>, what: &str) -> bool {
        let is_it = |line: &Line| (line.at, &line.who[..], line.whom) == (event.at, &[event.node], whom);
        self.lines.iter().rev().take(TOGETHER_LINES).any(|line| is_it(line) && line.what == what)
    }

    /// Adds a line, or adds the node to a line with the same words about other nodes at about the same time.
    fn together(&mut self, index: usize, event: &Event, what: String) {
        let recent = self.lines.iter_mut().rev().take(TOGETHER_LINES);
        for line in recent {
            if line.what == what && event.at - line.at <= TOGETHER && !line.who.contains(&event.node) {
                line.who.push(event.node);
                return;
            }
        }
        let (at, who, tone) = (event.at, vec![event.node], Tone::Plain);
        self.lines.push(Line { at, who, whom: None, what, tone, event: index });
    }

    fn fault(&self, fault: &Fault) -> String {
        let names =
            |nodes: &[NodeId]| nodes.iter().map(|node| &**self.record.name(*node)).collect::<Vec<_>>().join(", ");
        match fault {
            Fault::SignalingDropped => "loses the signaling connection".to_owned(),
            Fault::PowerLoss => "loses power".to_owned(),
            Fault::Boot => "boots".to_owned(),
            Fault::Shutdown => "is ordered to shut down".to_owned(),
            Fault::NatReboot => "NAT reboots".to_owned(),
            Fault::Partition { from, to, one_way } => {
                let arrow = if *one_way { "↛" } else { "⇎" };
                format!("partition: {} {arrow} {}", names(from), names(to))
            }
            Fault::Heal => "partitions heal".to_owned(),
            Fault::Link => "link changes".to_owned(),
            Fault::Told { what } => format!("is ordered to {what}"),
            Fault::NoEffect { why, .. } | Fault::NoPacket { why, .. } => format!("no effect: {why}"),
            Fault::Stall { ms } => format!("stands still for {}", scenarios::show_time(Duration::from_millis(*ms))),
            Fault::Move { to } => format!("moves to {to}"),
            Fault::Suspend => "is suspended".to_owned(),
            Fault::Resume => "is resumed".to_owned(),
            Fault::NewSecret => "TURN server takes another secret".to_owned(),
            Fault::ClockJump { ms } => {
                let (by, way) = (scenarios::show_time(Duration::from_millis(ms.unsigned_abs())), *ms < 0);
                format!("its clock jumps {} by {by}", if way { "back" } else { "forward" })
            }
        }
    }
}

/// What a track carries, in a word.
fn word_of(kind: TrackKind) -> &'static str {
    match kind {
        TrackKind::Audio => "sound",
        TrackKind::Video => "picture",
    }
}

fn of_turn(server: TransportAddress, tcp: bool, change: &TurnChange) -> (Tone, String) {
    let turn = match (tcp, server.port()) {
        (false, _) => "TURN",
        (true, TURN_TLS_PORT) => "TURN over TLS",
        (true, _) => "TURN over TCP",
    };
    match change {
        TurnChange::Allocated { relayed } => (Tone::Plain, format!("{turn}: has {relayed} at {}", server.ip())),
        TurnChange::Refused { code, reason } => {
            (Tone::Bad, format!("{turn}: {} refuses a request: {code} {reason}", server.ip()))
        }
        TurnChange::Unanswered => (Tone::Bad, format!("{turn}: {} does not answer", server.ip())),
        TurnChange::Lost => (Tone::Bad, format!("{turn}: {} no longer relays for it", server.ip())),
        TurnChange::Released => (Tone::Plain, format!("{turn}: gives back its address at {}", server.ip())),
    }
}

fn of_program(program: &ProgramEvent) -> (Tone, String) {
    match program {
        ProgramEvent::Listens { port } => (Tone::Good, format!("listens on port {port}")),
        ProgramEvent::Printed { text } => (Tone::Plain, format!("prints: {text}")),
        ProgramEvent::Ended { how } => (Tone::Bad, format!("program ends {how}")),
        ProgramEvent::Overdue => (Tone::Bad, "is killed: it did not shut down in time".to_owned()),
        ProgramEvent::Lost { why } => (Tone::Bad, format!("cannot be simulated any further: {why}")),
    }
}

fn word(kind: SignalKind) -> &'static str {
    match kind {
        SignalKind::Offer => "offer",
        SignalKind::Answer => "answer",
        SignalKind::IceCandidate => "candidate",
        SignalKind::Hangup => "hangup",
    }
}

fn call_word(step: CallStep) -> String {
    match step {
        CallStep::Ring => "calls".to_owned(),
        CallStep::Accept => "accepts the call".to_owned(),
        CallStep::Reject => "rejects the call".to_owned(),
        CallStep::Busy => "is busy".to_owned(),
        CallStep::End => "hangs up".to_owned(),
        CallStep::Media { kind, enabled } => {
            format!("turns {} {}", kind.name(), if enabled { "on" } else { "off" })
        }
    }
}

fn lower(kind: crate::event::CandidateKind) -> String {
    format!("{kind:?}").to_lowercase()
}
