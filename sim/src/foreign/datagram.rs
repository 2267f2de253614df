//! Datagrams of the program: each is one record behind a header that says between whom it travels.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Size of the header.
const HEADER_BYTES: usize = 40;
const HAS_LOCAL: u8 = 1;
const IS_ERROR: u8 = 2;
const HOP_LIMIT: u8 = 64;

/// The longest record: a header and the largest datagram.
pub(super) const RECORD_BYTES_MAX: usize = HEADER_BYTES + 65_535;

/// The receiver and the payload of a record that the program has sent; `None` if it is not one, or not for IPv4.
pub(super) fn parse(record: &[u8]) -> Option<(SocketAddr, &[u8])> {
    let (header, payload) = record.split_at_checked(HEADER_BYTES)?;
    let port = u16::from_be_bytes([header[2], header[3]]);
    let ip = <[u8; 4]>::try_from(&header[4..8]).ok().filter(|_| header[0] == 4)?;
    Some((SocketAddr::new(Ipv4Addr::from(ip).into(), port), payload))
}

/// The record of a datagram that arrives for the program.
pub(super) fn record(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEADER_BYTES + payload.len());
    record.push(if from.is_ipv4() { 4 } else { 6 });
    record.push(HAS_LOCAL);
    record.extend(from.port().to_be_bytes());
    record.extend(padded(from.ip()));
    record.extend(to.port().to_be_bytes());
    record.extend([0, HOP_LIMIT]);
    record.extend(padded(to.ip()));
    record.extend(payload);
    record
}

/// The record of an error that a datagram to `to` has caused.
pub(super) fn error(to: SocketAddr, errno: i32) -> Vec<u8> {
    const AT_FLAGS: usize = 1;
    const AT_ERRNO: usize = 22;
    let mut record = record(to, to, &[]);
    record[AT_FLAGS] = IS_ERROR;
    record[AT_ERRNO] = u8::try_from(errno).expect("errors of sockets are small numbers");
    record
}

fn padded(ip: IpAddr) -> [u8; 16] {
    let mut bytes = [0; 16];
    match ip {
        IpAddr::V4(ip) => bytes[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => bytes = ip.octets(),
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_names_both_sides() {
        let (from, to) = ("192.0.2.1:7000".parse().expect("v4"), "198.51.100.7:3478".parse().expect("v4"));
        let record = record(from, to, b"hello");
        assert_eq!(record.len(), HEADER_BYTES + 5);
        assert_eq!(parse(&record), Some((from, &b"hello"[..])), "the header's first address is the other side's");
        assert_eq!(parse(&record[..39]), None);
    }
}
