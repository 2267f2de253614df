//! The peers to which the server relays. Without restrictions, anyone with a credential could reach the network behind
//! a firewall through this host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether a peer may have this address.
//= https://www.rfc-editor.org/rfc/rfc8656#section-10.2
//# The server MAY impose restrictions on the IP address allowed in the
//# XOR-PEER-ADDRESS attribute; if a value is not allowed, the server
//# rejects the request with a 403 (Forbidden) error.
pub(crate) fn is_allowed(peer: IpAddr, allow_private: bool) -> bool {
    match peer {
        IpAddr::V4(ip) => is_allowed_v4(ip, allow_private),
        IpAddr::V6(ip) => match embedded(ip) {
            Some(ip) => is_allowed_v4(ip, allow_private),
            None => is_allowed_v6(ip, allow_private),
        },
    }
}

fn is_allowed_v4(ip: Ipv4Addr, allow_private: bool) -> bool {
    let [first, second, ..] = ip.octets();
    let is_never = first == 0 || ip.is_multicast() || ip.is_broadcast();
    let is_shared = first == 100 && second & 0xc0 == 64;
    let is_private = ip.is_loopback() || ip.is_private() || ip.is_link_local() || is_shared;
    !is_never && (allow_private || !is_private)
}

fn is_allowed_v6(ip: Ipv6Addr, allow_private: bool) -> bool {
    let first = ip.segments()[0];
    let is_site_local = first & 0xffc0 == 0xfec0;
    let is_private = ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local() || is_site_local;
    !ip.is_unspecified() && !ip.is_multicast() && (allow_private || !is_private)
}

/// The IPv4 address in an IPv6 address: mapped, compatible, NAT64 (RFC 6052) or 6to4 (RFC 3056).
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let octets = ip.octets();
    let v4_at = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&octets[at..at + 4]).expect("four octets"));
    match ip.segments() {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(v4_at(12)),
        [0, 0, 0, 0, 0, 0, ..] if !ip.is_unspecified() && !ip.is_loopback() => Some(v4_at(12)),
        [0x2002, ..] => Some(v4_at(2)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_peers_unless_private_ones_are_allowed() {
        let public =
            ["8.8.8.8", "203.0.113.7", "100.128.0.1", "172.32.0.1", "2001:db8::1", "2606:4700::1", "::ffff:8.8.8.8"];
        let private = [
            "127.0.0.1",
            "127.255.255.254",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "::1",
            "fe80::1",
            "febf::1",
            "fc00::1",
            "fdff::1",
            "fec0::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::192.168.0.1",
            "2002:7f00:1::",
            "2002:c0a8:1::1",
        ];
        let never = [
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "::",
            "ff02::1",
            "::ffff:0.0.0.0",
            "::ffff:224.0.0.1",
            "::ffff:255.255.255.255",
            "64:ff9b::224.0.0.1",
        ];
        let allowed = |ip: &str, private| is_allowed(ip.parse().expect("an address"), private);
        for ip in public {
            assert!(allowed(ip, false) && allowed(ip, true), "{ip}");
        }
        for ip in private {
            assert!(!allowed(ip, false) && allowed(ip, true), "{ip}");
        }
        for ip in never {
            assert!(!allowed(ip, false) && !allowed(ip, true), "{ip}");
        }
    }
}
