//! Single packets whose fate a scenario decides, so that it does not depend on chance: types, keys and names.

use std::time::Duration;

use serde::Serialize;
use toml::Spanned;
use toml::de::DeValue;

use crate::error::Problems;
use crate::file::File;
use crate::scenario::Machine;
use crate::steps::LookUp;
use crate::table::{Lined, Read, Table};
use crate::value::{Word, show, word};

/// The fate of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PacketFate {
    /// The packet.
    pub packet: PacketName,
    /// What happens to it.
    pub fate: Fate,
    /// The line of the scenario file, counted from 1; 0 if the scenario was not read from a file.
    pub line: usize,
}

/// The name of a packet: the second STUN request from ana's machine to ben's, for example.
///
/// Names do not change with addresses, ports, times or random numbers. If a scenario changes, a name stands for a similar
/// packet in the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct PacketName {
    /// The machine that sends it.
    pub from: Machine,
    /// The machine to which it leads when it is sent, through all NATs whose mappings lead there.
    pub to: Machine,
    /// What is in it.
    pub kind: PacketKind,
    /// Its number among the packets of this kind from this machine to that one, counted from 1 since the start of the run,
    /// in the order in which they are sent.
    pub number: u32,
}

/// What is in a packet, as its first bytes show (RFC 7983).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PacketKind {
    /// A TCP segment that takes sequence numbers, so that its sender would retransmit it: data, a SYN or a FIN.
    TcpSegment,
    /// A STUN or TURN request (RFC 8489), such as an ICE connectivity check.
    StunRequest,
    /// A success or error response of STUN or TURN.
    StunResponse,
    /// A STUN or TURN indication, such as data to or from a TURN server.
    StunIndication,
    /// A ChannelData message of TURN (RFC 8656).
    ChannelData,
    /// A datagram that begins with a DTLS record of a handshake or an alert.
    DtlsHandshake,
    /// A datagram that begins with a DTLS record of application data, such as messages of a data channel.
    DtlsData,
    /// Any other datagram.
    Datagram,
}

/// What happens to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It is lost on the last link before its receiver. A TCP segment arrives after one retransmission, 200 ms later.
    Lost,
    /// It is lost on the link of its sender, before any NAT. A TCP segment arrives after one retransmission, 200 ms later.
    LostAtSender,
    /// It arrives twice. Not for TCP segments.
    Twice,
    /// It arrives later by this time, in whole milliseconds. Datagrams that are sent after it may overtake it; TCP segments
    /// of its flow wait behind it.
    Late(Duration),
}

impl PacketKind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::TcpSegment,
        Self::StunRequest,
        Self::StunResponse,
        Self::StunIndication,
        Self::ChannelData,
        Self::DtlsHandshake,
        Self::DtlsData,
        Self::Datagram,
    ];

    /// Its name in scenario files.
    pub fn name(self) -> &'static str {
        word(self)
    }
}

impl Word for PacketKind {
    const WHAT: &'static str = "kind of packet";
    const RIGHT: &'static str = "a kind of packet such as \"stun-request\"";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("tcp-segment", Self::TcpSegment),
        ("stun-request", Self::StunRequest),
        ("stun-response", Self::StunResponse),
        ("stun-indication", Self::StunIndication),
        ("channel-data", Self::ChannelData),
        ("dtls-handshake", Self::DtlsHandshake),
        ("dtls-data", Self::DtlsData),
        ("datagram", Self::Datagram),
    ];
}

/// The word for a fate in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FateWord {
    Lost,
    LostAtSender,
    Twice,
    Late,
}

impl Word for FateWord {
    const WHAT: &'static str = "fate";
    const RIGHT: &'static str = "\"lost\", \"lost-at-sender\", \"twice\" or \"late\"";
    const WORDS: &'static [(&'static str, Self)] =
        &[("lost", Self::Lost), ("lost-at-sender", Self::LostAtSender), ("twice", Self::Twice), ("late", Self::Late)];
}

impl Fate {
    /// The word for it, and the value of `by`.
    fn words(self) -> (FateWord, Option<Duration>) {
        match self {
            Self::Lost => (FateWord::Lost, None),
            Self::LostAtSender => (FateWord::LostAtSender, None),
            Self::Twice => (FateWord::Twice, None),
            Self::Late(by) => (FateWord::Late, Some(by)),
        }
    }

    /// The keys that say it in a file, each with its value.
    pub(crate) fn keys(self) -> Vec<(&'static str, String)> {
        let (fate, by) = self.words();
        let by = by.map(|by| ("by", show(by)));
        [("fate", word(fate).to_owned())].into_iter().chain(by).collect()
    }

    /// Whether a packet can have both fates.
    pub fn goes_with(self, other: Self) -> bool {
        matches!((self, other), (Self::Late(_), Self::Twice) | (Self::Twice, Self::Late(_)))
    }
}

/// `[[packet]]`
#[derive(Debug)]
pub(crate) struct PacketEntry {
    from: Lined<String>,
    to: Lined<String>,
    kind: Lined<PacketKind>,
    number: Lined<u32>,
    fate: Lined<Fate>,
}

/// The longest time by which a packet may be late: longer than any protocol here waits for one.
const LATEST: Duration = Duration::from_secs(60);

impl Read for PacketEntry {
    const RIGHT: &'static str = "a table";

    fn read(value: &Spanned<DeValue<'_>>, _: &str, problems: &Problems) -> Option<Self> {
        let mut table = Table::of::<Self>(value, "packet", problems)?;
        table.rename("[[packet]]".to_owned());
        let (from, to) = (table.required("from"), table.required("to"));
        let (kind, number) = (table.required::<PacketKind>("kind"), table.required("number"));
        let word = table.required::<FateWord>("fate");
        let by = table.optional::<Duration>("by");
        let fate = word.as_ref().and_then(|word| fate(&table, word, by.as_ref()));
        table.finish();
        if let (Some(Lined { value: PacketKind::TcpSegment, .. }), Some(Lined { line, value: Fate::Twice })) =
            (&kind, &fate)
        {
            problems.report(*line, "`fate`: a TCP segment cannot arrive twice: use \"lost\" or \"late\"");
        }
        Some(Self { from: from?, to: to?, kind: kind?, number: number?, fate: fate? })
    }
}

/// The fate that a word and the value of `by` say.
fn fate(table: &Table<'_>, word: &Lined<FateWord>, by: Option<&Lined<Duration>>) -> Option<Lined<Fate>> {
    let value = match (word.value, by) {
        (FateWord::Late, Some(by)) if by.value.is_zero() || by.value > LATEST => {
            table.report(by.line, "`by` must be from 1ms to 60s");
            return None;
        }
        (FateWord::Late, Some(by)) => Fate::Late(by.value),
        (FateWord::Late, None) => {
            table.report(word.line, "a packet that is \"late\" needs `by`: a time such as \"40ms\"");
            return None;
        }
        (_, Some(by)) => {
            table.report(by.line, "`by` is for the fate \"late\": remove it");
            return None;
        }
        (FateWord::Lost, None) => Fate::Lost,
        (FateWord::LostAtSender, None) => Fate::LostAtSender,
        (FateWord::Twice, None) => Fate::Twice,
    };
    Some(Lined { line: word.line, value })
}

/// The fates of packets. Reports names of no machine, and packets with two fates that exclude each other.
pub(crate) fn resolve(file: &File, look_up: &LookUp<'_>, problems: &Problems) -> Vec<PacketFate> {
    let mut fates: Vec<PacketFate> = Vec::new();
    for Lined { line, value: entry } in &file.packets {
        let (Some(from), Some(to)) = (look_up.machine(&entry.from), look_up.machine(&entry.to)) else { continue };
        if from == to {
            let message = format!("`to`: what `{}` sends to itself crosses no network: name another", entry.to.value);
            problems.report(entry.to.line, message);
        }
        let packet = PacketName { from, to, kind: entry.kind.value, number: entry.number.value };
        let fate = entry.fate.value;
        let other = fates.iter().find(|other| other.packet == packet && !other.fate.goes_with(fate));
        if let Some(other) = other {
            problems.report(*line, format!("this packet has a fate already, on line {}: remove one", other.line));
        }
        fates.push(PacketFate { packet, fate, line: *line });
    }
    fates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_listed_and_has_a_word() {
        assert_eq!(PacketKind::WORDS.iter().map(|(_, kind)| *kind).collect::<Vec<_>>(), PacketKind::ALL);
        assert_eq!(PacketKind::DtlsData.name(), "dtls-data");
    }
}
