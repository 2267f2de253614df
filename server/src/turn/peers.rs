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
            Some(ips) => ips.into_iter().all(|ip| is_allowed_v4(ip, allow_private)),
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
    let [first, second, third, ..] = ip.segments();
    let is_site_local = first & 0xffc0 == 0xfec0;
    // NAT64 inside one network (RFC 8215). Where the IPv4 address is depends on the length of the prefix, which only
    // that network knows.
    let is_local_nat64 = [first, second, third] == [0x64, 0xff9b, 1];
    let is_private =
        ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local() || is_site_local || is_local_nat64;
    !ip.is_unspecified() && !ip.is_multicast() && (allow_private || !is_private)
}

/// The IPv4 addresses in an IPv6 address, to which a tunnel or a translator may send: mapped and compatible (RFC 4291
/// §2.5.5), translated (RFC 2765), NAT64 (RFC 6052), 6to4 (RFC 3056), and Teredo (RFC 4380 §4), which has two: that of
/// the server, and that of the client with all bits inverted.
fn embedded(ip: Ipv6Addr) -> Option<[Ipv4Addr; 2]> {
    let octets = ip.octets();
    let v4_at = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&octets[at..at + 4]).expect("four octets"));
    match ip.segments() {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => {
            Some([v4_at(12); 2])
        }
        [0, 0, 0, 0, 0, 0, ..] if !ip.is_unspecified() && !ip.is_loopback() => Some([v4_at(12); 2]),
        [0x2002, ..] => Some([v4_at(2); 2]),
        [0x2001, 0, ..] => Some([v4_at(4), !v4_at(12)]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_peers_unless_private_ones_are_allowed() {
        let public = [
            "8.8.8.8",
            "203.0.113.7",
            "100.128.0.1",
            "172.32.0.1",
            "2001:db8::1",
            "2606:4700::1",
            "::ffff:8.8.8.8",
            "::ffff:0:8.8.8.8",
            "::8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
            // Teredo: server 203.0.113.7, client 8.8.8.8.
            "2001:0:cb00:7107:8000:63bf:f7f7:f7f7",
        ];
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
            "::ffff:0:127.0.0.1",
            "::ffff:0:192.168.0.1",
            "64:ff9b:1::10.0.0.1",
            "64:ff9b:1:a00:0:100::",
            "64:ff9b:1:ffff::8.8.8.8",
            // Teredo: client 127.0.0.1, client 192.168.0.1, server 10.0.0.1.
            "2001:0:cb00:7107:8000:63bf:80ff:fffe",
            "2001:0:cb00:7107:8000:63bf:3f57:fffe",
            "2001:0:a00:1:8000:63bf:f7f7:f7f7",
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
