//! The capture as Wireshark reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use sim::capture::Capture;
use sim::event::{PacketEvent, What};
use sim::run::Outcome;

use crate::tools;

#[test]
fn a_run_is_the_same_whether_its_packets_are_kept_or_not() {
    let (outcome, capture) = captured("same-lan");
    assert_eq!(outcome.hash, sim::run::run(&outcome.scenario, outcome.seed).expect("no crash").hash);
    let sent: BTreeSet<_> = outcome
        .record
        .events
        .iter()
        .filter_map(|event| match &event.what {
            What::Packet(PacketEvent::Sent(view)) => Some((view.packet, view.src, view.dst, event.at)),
            _ => None,
        })
        .collect();
    let seen: BTreeSet<_> = capture.sightings.iter().map(|seen| (seen.packet, seen.src, seen.dst, seen.at)).collect();
    assert!(!sent.is_empty());
    assert!(sent.is_subset(&seen), "every packet that was sent was on a wire");
}

#[test]
fn wireshark_decodes_all_layers_and_finds_no_wrong_checksum() {
    let Some(tshark) = tools::program("tshark", "tshark") else { return };
    let (outcome, capture) = captured("mesh-6");
    let file = written("mesh-6.pcapng", &outcome, &capture);
    let fields = [
        "frame.interface_name",
        "frame.protocols",
        "ip.checksum.status",
        "tcp.checksum.status",
        "udp.checksum.status",
        "frame.comment",
        "_ws.malformed",
        "ip.src",
    ];
    let rows = read(&tshark, &file, &fields);
    assert_eq!(rows.len(), capture.sightings.len());
    let mut protocols: BTreeMap<String, usize> = BTreeMap::new();
    for (row, seen) in rows.iter().zip(&capture.sightings) {
        let [interface, layers, ip, tcp, udp, comment, malformed, src] = &row[..] else { panic!("{row:?}") };
        assert_eq!(*interface, capture.realms[seen.realm.0]);
        assert_eq!((ip.as_str(), tcp.as_str() == "1" || udp.as_str() == "1"), ("1", true), "checksums of {row:?}");
        assert_eq!(malformed, "", "{row:?}");
        assert_eq!(*comment, format!("packet {}, from {}", seen.packet.0, outcome.record.name(seen.origin)));
        assert_eq!(*src, seen.src.ip().to_string());
        for layer in layers.split(':') {
            *protocols.entry(layer.to_owned()).or_default() += 1;
        }
    }
    for layer in ["ip", "tcp", "udp", "http", "websocket", "stun", "dtls"] {
        assert!(protocols.get(layer).is_some_and(|count| *count > 10), "{layer} in {protocols:?}");
    }
}

#[test]
fn a_nat_is_seen_at_work_between_two_interfaces() {
    let Some(tshark) = tools::program("tshark", "tshark") else { return };
    let (outcome, capture) = captured("mesh-3");
    let file = written("mesh-3.pcapng", &outcome, &capture);
    // A STUN request of one machine, inside and outside of its home.
    let rows = read(&tshark, &file, &["frame.interface_name", "ip.src", "stun.id", "stun.type"]);
    let request = rows.iter().find(|row| row[3] == "0x0001" && row[0] != "internet").expect("somebody asks");
    let outside = rows.iter().find(|row| row[2] == request[2] && row[0] == "internet").expect("it leaves the home");
    assert!(request[1].starts_with("192.168.") && !outside[1].starts_with("192.168."), "{request:?} {outside:?}");
}

pub(crate) fn captured(scenario: &str) -> (Outcome, Capture) {
    let scenario = Arc::new(scenarios::load(scenario).expect("it is shipped"));
    sim::run::run_captured(&scenario, 1).expect("no crash")
}

pub(crate) fn written(name: &str, outcome: &Outcome, capture: &Capture) -> PathBuf {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut out = std::io::BufWriter::new(std::fs::File::create(&file).expect("a scratch file"));
    reports::write_pcap(&mut out, capture, &outcome.record).expect("a scratch file");
    file
}

/// The fields of each frame, checksums being looked at.
pub(crate) fn read(tshark: &str, file: &Path, fields: &[&str]) -> Vec<Vec<String>> {
    let checks = ["ip.check_checksum:TRUE", "tcp.check_checksum:TRUE", "udp.check_checksum:TRUE"];
    let output = Command::new(tshark)
        .args(["-T", "fields", "-E", "occurrence=f", "-E", "separator=|", "-r"])
        .arg(file)
        .args(checks.iter().flat_map(|check| ["-o", check]))
        .args(fields.iter().flat_map(|field| ["-e", field]))
        .output()
        .expect("tshark starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    text.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect()
}
