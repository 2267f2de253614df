//! Events and the frames that they are, as tshark sees the capture.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use reports::Frames;
use sim::event::{DtlsState, Frame, PacketEvent, PeerChange, Protocol, Record, Signaling, What};

use crate::pcap::{captured, written};
use crate::tools;

/// What tshark says of a frame.
struct Seen {
    interface: String,
    at: f64,
    src: String,
    dst: String,
    protocols: String,
    stun: String,
    mapped: String,
    /// WebSocket messages.
    messages: String,
    /// What was decrypted, in hexadecimal.
    data: String,
}

/// Scenarios of each dialect and framing, one with loss and reordering, one whose NAT reboots.
const SCENARIOS: [&str; 6] =
    ["mesh-6", "mesh-6-churn", "nat-reboot-mid-call", "sender-viewer", "call-across-framings", "relay-two"];

#[test]
fn a_frame_is_what_its_event_says() {
    let Some(tshark) = tools::program("tshark", "tshark") else { return };
    for scenario in SCENARIOS {
        let (outcome, capture) = captured(scenario);
        let record = &outcome.record;
        let frames = Frames::of(record, &capture);
        let seen = read(&tshark, &written(&format!("frames-{scenario}.pcapng"), &outcome, &capture));
        assert_eq!(seen.len(), capture.sightings.len());
        let mut found: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, event) in record.events.iter().enumerate() {
            let kind = kind(&event.what);
            let Some(frame) = frames.get(index) else {
                assert!(!MUST.contains(&kind), "{scenario}: event {index} has no frame: {}", record.json_line(event));
                continue;
            };
            let seen = &seen[frame.number - 1];
            let told = || format!("{scenario}: #{} is {}", frame.number, record.json_line(event));
            assert_eq!(seen.interface, frame.interface, "{}", told());
            // What is said is on the wire later, what is heard was there before.
            let later = seen.at - event.at.as_secs_f64();
            let is_said = ["frame-sent", "sent", "described", "candidate"].contains(&kind);
            assert!(
                if is_said { (-1e-6..=5.0).contains(&later) } else { later <= 1e-6 },
                "{later} s later: {}",
                told()
            );
            assert_is(seen, record, index, scenario == "nat-reboot-mid-call", &told());
            *found.entry(kind).or_default() += 1;
        }
        println!("{scenario}: {found:?}");
        for kind in MUST {
            let is_there = record.events.iter().any(|event| self::kind(&event.what) == kind);
            assert_eq!(found.contains_key(kind), is_there, "{scenario}: {kind} in {found:?}");
        }
    }
}

/// Events that are always a frame.
const MUST: [&str; 4] = ["packet", "frame-received", "received", "mapped"];

fn kind(what: &What) -> &'static str {
    match what {
        What::Packet(PacketEvent::Sent(_) | PacketEvent::Delivered(_)) => "packet",
        What::Signaling(signaling) => match signaling {
            Signaling::FrameSent(_) => "frame-sent",
            Signaling::FrameReceived(_) => "frame-received",
            Signaling::Sent(_) => "sent",
            Signaling::Received(_) => "received",
            _ => "signaling",
        },
        What::Peer(peer) => match &peer.change {
            PeerChange::Described { local: true, .. } => "described",
            PeerChange::Candidate { local: true, .. } => "candidate",
            PeerChange::Mapped { .. } => "mapped",
            PeerChange::Selected { .. } => "selected",
            PeerChange::Dtls { state: DtlsState::Connected } => "dtls-connected",
            PeerChange::ChannelOpen => "channel-open",
            PeerChange::ChannelReceived { .. } => "channel-received",
            _ => "peer",
        },
        _ => "other",
    }
}

/// The event, word for word, in what tshark decodes of the frame.
fn assert_is(seen: &Seen, record: &Record, index: usize, again: bool, told: &str) {
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    match &record.events[index].what {
        What::Packet(PacketEvent::Sent(view) | PacketEvent::Delivered(view)) => {
            assert_eq!((&seen.src, &seen.dst), (&view.src.to_string(), &view.dst.to_string()), "{told}");
            let protocol = if view.protocol == Protocol::Udp { "udp" } else { "tcp" };
            assert!(seen.protocols.split(':').any(|layer| layer == protocol), "{told}: {}", seen.protocols);
        }
        What::Signaling(Signaling::FrameSent(Frame::Text(text)) | Signaling::FrameReceived(Frame::Text(text))) => {
            assert!(seen.protocols.contains("websocket"), "{told}: {}", seen.protocols);
            assert!(seen.messages.contains(&**text), "{told}: {}", seen.messages);
        }
        What::Signaling(_) => assert!(seen.protocols.contains("websocket"), "{told}: {}", seen.protocols),
        What::Peer(peer) => match &peer.change {
            PeerChange::Mapped { mapped, .. } => {
                assert_eq!((&*seen.stun, &seen.mapped), ("0x0101", &mapped.to_string()), "{told}");
            }
            PeerChange::Selected { remote, .. } => {
                assert!(seen.stun == "0x0101" || seen.stun == "0x0001", "{told}: {}", seen.stun);
                assert_eq!(seen.src, remote.address.to_string(), "{told}");
            }
            PeerChange::Dtls { .. } => assert!(seen.protocols.contains("dtls"), "{told}: {}", seen.protocols),
            // Wireshark 4.0 has no eyes for the keys of a second handshake between the same sockets.
            PeerChange::ChannelOpen | PeerChange::ChannelReceived { .. } if again && seen.data.is_empty() => {
                assert!(seen.protocols.ends_with("dtls"), "{told}: {}", seen.protocols);
            }
            // Only the keys of the session show what is in it: a DATA chunk with an open or an acknowledgment of RFC 8832.
            PeerChange::ChannelOpen => assert!(seen.data.contains("00000032"), "{told}: {}", seen.data),
            PeerChange::ChannelReceived { text } => assert!(seen.data.contains(&hex(text)), "{told}: {}", seen.data),
            PeerChange::Described { ufrag, .. } | PeerChange::Candidate { ufrag, .. } => {
                assert!(seen.messages.contains(&**ufrag), "{told}: {}", seen.messages);
            }
            _ => {}
        },
        _ => {}
    }
}

fn read(tshark: &str, file: &Path) -> Vec<Seen> {
    let fields = [
        "frame.interface_name",
        "frame.time_epoch",
        "ip.src",
        "ip.dst",
        "udp.srcport",
        "udp.dstport",
        "tcp.srcport",
        "tcp.dstport",
        "frame.protocols",
        "stun.type",
        "stun.att.ipv4",
        "stun.att.port",
        "websocket.payload.text",
        "data.data",
    ];
    let output = Command::new(tshark)
        // A NAT may choose a port that some other protocol is known by.
        .args(["-o", "udp.try_heuristic_first:TRUE"])
        .args(["-T", "fields", "-E", "separator=/t", "-E", "aggregator=/s", "-r"])
        .arg(file)
        .args(fields.iter().flat_map(|field| ["-e", field]))
        .output()
        .expect("tshark starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let seen = |line: &str| {
        let cells: Vec<_> = line.split('\t').collect();
        let [interface, at, src, dst, udp_src, udp_dst, tcp_src, tcp_dst, protocols, stun, ip, port, messages, data] =
            cells[..]
        else {
            panic!("{line}")
        };
        let first = |cell: &str| cell.split(' ').next().unwrap_or_default().to_owned();
        Seen {
            interface: interface.to_owned(),
            at: at.parse::<f64>().expect("seconds") - sim::entropy::EPOCH.as_secs_f64(),
            src: format!("{src}:{udp_src}{tcp_src}"),
            dst: format!("{dst}:{udp_dst}{tcp_dst}"),
            protocols: protocols.to_owned(),
            stun: stun.to_owned(),
            mapped: format!("{}:{}", first(ip), first(port)),
            messages: messages.to_owned(),
            data: data.to_owned(),
        }
    };
    text.lines().map(seen).collect()
}
