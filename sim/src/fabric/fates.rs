//! The fates of single packets: which packet is which, what the scenario has decided about it, and what chance did to it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use scenarios::{Fate, PacketKind};

use crate::event::{Drop, NodeId, PacketId};
use crate::fabric::fault::{Passage, Stop};
use crate::fabric::packet::{Body, Packet};

/// The delay of a TCP segment that is lost: one retransmission, as on a link that loses packets.
const RETRANSMISSION: Duration = Duration::from_millis(200);

/// The name of a packet, as [`scenarios::PacketName`], with nodes of the record in place of machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) kind: PacketKind,
    pub(crate) number: u32,
}

/// A packet of a run, and what chance did to it.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) name: Name,
    pub(crate) at: Duration,
    pub(crate) chance: Chance,
}

/// What chance did to a packet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Chance {
    /// By how much it is later than without chance, where it arrives.
    late: Duration,
    /// How many copies were added, and how many were lost.
    added: u32,
    lost: u32,
    /// Whether it was lost on the link of its sender, before any NAT.
    at_sender: bool,
}

impl Chance {
    /// The fates that do the same to a packet without chance.
    pub(crate) fn fates(self) -> Vec<Fate> {
        if self.lost > self.added {
            return vec![if self.at_sender { Fate::LostAtSender } else { Fate::Lost }];
        }
        let twice = (self.added > self.lost).then_some(Fate::Twice);
        let ms = self.late.as_micros().div_ceil(1000);
        let late = (ms > 0).then(|| Fate::Late(Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX))));
        late.into_iter().chain(twice).collect()
    }
}

/// Where on its way a packet is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leg {
    /// Whether it has just left its sender.
    pub(crate) first: bool,
    /// Whether the next hop is its receiver.
    pub(crate) last: bool,
}

/// The fates of a run. They are kept only if the scenario has some, or if somebody asks what chance does.
#[derive(Debug, Default)]
pub(crate) struct Fates {
    /// How many packets of each kind each machine has sent to each other.
    counts: BTreeMap<(NodeId, NodeId, PacketKind), u32>,
    decided: BTreeMap<Name, Vec<Fate>>,
    /// The decided fates of packets that are on their way.
    pending: BTreeMap<PacketId, Vec<Fate>>,
    /// All packets, if somebody asked for them, by their number.
    sent: Option<BTreeMap<PacketId, Sent>>,
}

impl Fates {
    /// Keeps all packets from now on.
    pub(crate) fn keep_all(&mut self) {
        self.sent = Some(BTreeMap::new());
    }

    /// Decides the fate of a packet.
    pub(crate) fn decide(&mut self, name: Name, fate: Fate) {
        self.decided.entry(name).or_default().push(fate);
    }

    /// All packets that were kept, in the order in which they were sent.
    pub(crate) fn take_sent(&mut self) -> Vec<Sent> {
        self.sent.take().unwrap_or_default().into_values().collect()
    }

    /// How many packets of this kind one machine has sent to another so far.
    pub(crate) fn count(&self, from: NodeId, to: NodeId, kind: PacketKind) -> u32 {
        self.counts.get(&(from, to, kind)).copied().unwrap_or_default()
    }

    /// Names a packet that is sent now.
    pub(crate) fn name(&mut self, packet: &Packet, to: NodeId, now: Duration) {
        let Some(kind) = kind(packet) else { return };
        let count = self.counts.entry((packet.origin, to, kind)).or_default();
        *count += 1;
        let name = Name { from: packet.origin, to, kind, number: *count };
        if let Some(fates) = self.decided.get(&name) {
            self.pending.insert(packet.id, fates.clone());
        }
        if let Some(sent) = &mut self.sent {
            sent.insert(packet.id, Sent { name, at: now, chance: Chance::default() });
        }
    }

    /// Applies what is decided about a packet on this leg of its way.
    pub(crate) fn apply(&mut self, packet: &Packet, leg: Leg, passage: &mut Passage) -> ControlFlow<Stop> {
        let Some(fates) = self.pending.get_mut(&packet.id) else { return ControlFlow::Continue(()) };
        let is_here = |fate: &Fate| if *fate == Fate::LostAtSender { leg.first } else { leg.last };
        let here: Vec<Fate> = fates.extract_if(.., |fate| is_here(fate)).collect();
        if fates.is_empty() {
            self.pending.remove(&packet.id);
        }
        let is_tcp = matches!(packet.body, Body::Tcp(_));
        for fate in here {
            match fate {
                Fate::Lost | Fate::LostAtSender if is_tcp => passage.delay += RETRANSMISSION,
                Fate::Lost | Fate::LostAtSender => return ControlFlow::Break(Stop::Drop(Drop::Loss)),
                Fate::Late(by) => {
                    passage.delay += by;
                    passage.reordered |= !is_tcp;
                }
                Fate::Twice => passage.duplicated |= !is_tcp,
            }
        }
        ControlFlow::Continue(())
    }

    /// Notes that chance lost a packet on this leg.
    pub(crate) fn lost(&mut self, packet: &Packet, leg: Leg) {
        if let Some(chance) = self.chance(packet) {
            chance.lost += 1;
            chance.at_sender = leg.first && !leg.last;
        }
    }

    /// Notes that a packet passed a leg: by how much later than without chance, and whether chance added a copy.
    pub(crate) fn passed(&mut self, packet: &Packet, late: Duration, duplicated: bool) {
        if let Some(chance) = self.chance(packet) {
            // The copies of a packet are late each for itself; one time must do for all.
            if chance.added == 0 {
                chance.late += late;
            }
            chance.added += u32::from(duplicated);
        }
    }

    fn chance(&mut self, packet: &Packet) -> Option<&mut Chance> {
        self.sent.as_mut()?.get_mut(&packet.id).map(|sent| &mut sent.chance)
    }
}

/// What is in a packet; `None` for a TCP segment without data that nobody would retransmit.
fn kind(packet: &Packet) -> Option<PacketKind> {
    /// Size of a STUN header, bytes, and the magic cookie in it: RFC 8489 §5.
    const STUN_HEADER: usize = 20;
    const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
    let payload = match &packet.body {
        Body::Tcp(_) => return packet.is_retransmitted().then_some(PacketKind::TcpSegment),
        Body::Udp(payload) => payload,
    };
    Some(match payload.first() {
        Some(0..=3) if payload.len() >= STUN_HEADER && payload[4..8] == MAGIC_COOKIE => {
            // The class is in two bits of the message's type.
            match (payload[0] & 0x01, payload[1] & 0x10) {
                (0, 0) => PacketKind::StunRequest,
                (0, _) => PacketKind::StunIndication,
                _ => PacketKind::StunResponse,
            }
        }
        Some(64..=79) => PacketKind::ChannelData,
        // The content types of RFC 6347 §4.1: change_cipher_spec, alert, handshake; application_data.
        Some(20..=22) => PacketKind::DtlsHandshake,
        Some(23) => PacketKind::DtlsData,
        _ => PacketKind::Datagram,
    })
}
