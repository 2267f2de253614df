//! A capture that Wireshark opens: pcapng with one interface per realm, the packets with their IP and UDP or TCP
//! headers, and the secrets that decrypt DTLS.
//!
//! Blocks follow draft-ietf-opsawg-pcapng, little-endian. Times are microseconds since 1970 on the simulation's clock.
//! Each frame's comment contains the number that its packet has in the record, so that both can be compared.

use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use etherparse::{
    IpFragOffset, IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header, Ipv6Extensions, Ipv6Header, TcpHeader, UdpHeader,
};
use sim::capture::{Capture, Content, Sighting};
use sim::event::Record;

/// Raw IP, no link layer. <https://www.tcpdump.org/linktypes.html>
const LINKTYPE_RAW: u16 = 101;
/// No limit on the captured bytes of a frame.
const SNAP_LENGTH: u32 = 0;

const SECTION_HEADER: u32 = 0x0A0D_0D0A;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const DECRYPTION_SECRETS: u32 = 10;
/// TLS and DTLS secrets in key log format: `TLSK`.
const TLS_KEY_LOG: u32 = 0x544C_534B;

const OPTION_END: u16 = 0;
const OPTION_COMMENT: u16 = 1;
const OPTION_APPLICATION: u16 = 4;
const OPTION_INTERFACE_NAME: u16 = 2;
const OPTION_TIME_RESOLUTION: u16 = 9;

/// Writes all packets of a run.
///
/// # Errors
/// It cannot be written.
pub fn write_pcap(out: &mut impl Write, capture: &Capture, record: &Record) -> io::Result<()> {
    let mut header = Vec::new();
    header.extend(0x1A2B_3C4D_u32.to_le_bytes());
    header.extend(1_u16.to_le_bytes());
    header.extend(0_u16.to_le_bytes());
    header.extend((-1_i64).to_le_bytes());
    option(&mut header, OPTION_APPLICATION, concat!("glare ", env!("CARGO_PKG_VERSION")).as_bytes());
    block(out, SECTION_HEADER, header)?;
    for realm in &capture.realms {
        let mut interface = Vec::new();
        interface.extend(LINKTYPE_RAW.to_le_bytes());
        interface.extend(0_u16.to_le_bytes());
        interface.extend(SNAP_LENGTH.to_le_bytes());
        option(&mut interface, OPTION_INTERFACE_NAME, realm.as_bytes());
        // 10^-6 s.
        option(&mut interface, OPTION_TIME_RESOLUTION, &[6]);
        block(out, INTERFACE_DESCRIPTION, interface)?;
    }
    // Before the first packet, so that a reader already has them when it needs them.
    let keys = capture.keys.text();
    if !keys.is_empty() {
        let mut secrets = Vec::with_capacity(keys.len() + 16);
        secrets.extend(TLS_KEY_LOG.to_le_bytes());
        secrets.extend(u32::try_from(keys.len()).map_err(io::Error::other)?.to_le_bytes());
        secrets.extend(keys.as_bytes());
        pad(&mut secrets);
        block(out, DECRYPTION_SECRETS, secrets)?;
    }
    for seen in &capture.sightings {
        let frame = frame(seen)?;
        let at = micros(sim::entropy::EPOCH + seen.at);
        let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
        let mut packet = Vec::with_capacity(frame.len() + 64);
        packet.extend(u32::try_from(seen.realm.0).map_err(io::Error::other)?.to_le_bytes());
        packet.extend(((at >> 32) as u32).to_le_bytes());
        packet.extend((at as u32).to_le_bytes());
        packet.extend(length.to_le_bytes());
        packet.extend(length.to_le_bytes());
        packet.extend(&frame);
        pad(&mut packet);
        let comment = format!("packet {}, from {}", seen.packet.0, record.name(seen.origin));
        option(&mut packet, OPTION_COMMENT, comment.as_bytes());
        block(out, ENHANCED_PACKET, packet)?;
    }
    Ok(())
}

/// A packet with its headers and their checksums. RFC 791, RFC 768, RFC 9293.
fn frame(seen: &Sighting) -> io::Result<Vec<u8>> {
    let too_long = |_| io::Error::new(io::ErrorKind::InvalidData, "a packet is too long");
    let (protocol, payload, transport) = match &seen.content {
        Content::Udp(payload) => (IpNumber::UDP, payload, 8),
        Content::Tcp { payload, .. } => (IpNumber::TCP, payload, 20),
    };
    let length = u16::try_from(payload.len() + transport).map_err(|_| too_long(()))?;
    let mut frame = Vec::with_capacity(40 + usize::from(length));
    let ip = match (seen.src.ip(), seen.dst.ip()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let ip = Ipv4Header::new(length, seen.ttl, protocol, src.octets(), dst.octets());
            let mut ip = ip.map_err(|_| too_long(()))?;
            ip.dont_fragment = true;
            ip.fragment_offset = IpFragOffset::ZERO;
            IpHeaders::Ipv4(ip, Ipv4Extensions::default())
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let ip = Ipv6Header {
                payload_length: length,
                next_header: protocol,
                hop_limit: seen.ttl,
                source: src.octets(),
                destination: dst.octets(),
                ..Ipv6Header::default()
            };
            IpHeaders::Ipv6(ip, Ipv6Extensions::default())
        }
        _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "a packet goes from one family to another")),
    };
    ip.write(&mut frame).map_err(io::Error::other)?;
    let (src, dst) = (seen.src.port(), seen.dst.port());
    match &seen.content {
        Content::Udp(payload) => {
            let udp = match &ip {
                IpHeaders::Ipv4(ip, _) => UdpHeader::with_ipv4_checksum(src, dst, ip, payload),
                IpHeaders::Ipv6(ip, _) => UdpHeader::with_ipv6_checksum(src, dst, ip, payload),
            };
            udp.map_err(|_| too_long(()))?.write(&mut frame)?;
        }
        Content::Tcp { seq, ack, flags, window, payload } => {
            let mut tcp = TcpHeader::new(src, dst, *seq, *window);
            tcp.acknowledgment_number = *ack;
            let bit = |bit: u8| flags & 1 << bit != 0;
            (tcp.fin, tcp.syn, tcp.rst, tcp.psh, tcp.ack, tcp.urg) = (bit(0), bit(1), bit(2), bit(3), bit(4), bit(5));
            let checksum = match &ip {
                IpHeaders::Ipv4(ip, _) => tcp.calc_checksum_ipv4(ip, payload),
                IpHeaders::Ipv6(ip, _) => tcp.calc_checksum_ipv6(ip, payload),
            };
            tcp.checksum = checksum.map_err(|_| too_long(()))?;
            tcp.write(&mut frame)?;
        }
    }
    frame.extend_from_slice(payload);
    Ok(frame)
}

/// Writes a block: ends its options, and adds its length before and after it.
fn block(out: &mut impl Write, kind: u32, mut body: Vec<u8>) -> io::Result<()> {
    option(&mut body, OPTION_END, &[]);
    let length = u32::try_from(body.len() + 12).map_err(io::Error::other)?.to_le_bytes();
    out.write_all(&kind.to_le_bytes())?;
    out.write_all(&length)?;
    out.write_all(&body)?;
    out.write_all(&length)
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    // Names are short. A value that is too long for an option is left out.
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    body.extend(value);
    pad(body);
}

/// Pads to the next multiple of four.
fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
