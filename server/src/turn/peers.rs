//! The peers to which the server relays. Without restrictions, anyone with a credential could reach the network behind
//! a firewall through this host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::settings::TurnSettings;
use crate::access::Cidr;

/// Which peers clients may have.
#[derive(Debug)]
pub(crate) struct Peers {
    allowed: Vec<Cidr>,
    denied: Vec<Cidr>,
    allow_private: bool,
    /// The addresses of this host. Unless private peers are allowed, clients reach only relays there.
    host: Vec<IpAddr>,
    /// Those of them that are advertised as relayed transport addresses.
    relays: Vec<IpAddr>,
}

impl Peers {
    pub(crate) fn new(settings: &TurnSettings) -> Self {
        let TurnSettings { allowed_peers, denied_peers, allow_private_peers, host_addresses, .. } = settings.clone();
        let addresses = &settings.relay_addresses;
        let own = addresses.iter().flat_map(|address| [address.bind, address.advertised]).chain(host_addresses);
        Self {
            allowed: allowed_peers,
            denied: denied_peers,
            allow_private: allow_private_peers,
            host: own.collect(),
            relays: addresses.iter().map(|address| address.advertised).collect(),
        }
    }

    /// Whether a peer may have this address. A denied network counts before an allowed one, and that before what is
    /// refused by default.
    pub(crate) fn allows(&self, peer: IpAddr) -> bool {
        let is_in = |networks: &[Cidr]| {
            let mut forms = [Some(peer), embedded_in(peer)].into_iter().flatten();
            forms.any(|form| networks.iter().any(|network| network.contains(form)))
        };
        if !is_allowed(peer, true) || is_in(&self.denied) {
            return false;
        }
        if is_in(&self.allowed) || self.allow_private {
            return true;
        }
        is_allowed(peer, false) && (!self.host.contains(&peer) || self.relays.contains(&peer))
    }

    /// Whether data to this address may go only to relayed transport addresses.
    pub(crate) fn is_relay(&self, peer: IpAddr) -> bool {
        !self.allow_private && self.relays.contains(&peer) && !self.allowed.iter().any(|network| network.contains(peer))
    }
}

fn embedded_in(peer: IpAddr) -> Option<IpAddr> {
    match peer {
        IpAddr::V4(_) => None,
        IpAddr::V6(ip) => embedded(ip).map(IpAddr::V4),
    }
}

/// Whether a peer may have this address by default.
//= https://www.rfc-editor.org/rfc/rfc8656#section-10.2
//# The server MAY impose restrictions on the IP address allowed in the
//# XOR-PEER-ADDRESS attribute; if a value is not allowed, the server
//# rejects the request with a 403 (Forbidden) error.
fn is_allowed(peer: IpAddr, allow_private: bool) -> bool {
    match peer {
        IpAddr::V4(ip) => is_allowed_v4(ip, allow_private),
        IpAddr::V6(ip) if is_tunneled(ip) => false,
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
    // RFC 6890: protocol assignments, benchmarks, and what is reserved for the future.
    let is_reserved = matches!(ip.octets(), [192, 0, 0, _] | [198, 18..=19, ..] | [240..=255, ..]);
    let is_private = ip.is_loopback() || ip.is_private() || ip.is_link_local() || is_shared || is_reserved;
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

/// Whether it is an address of Teredo (RFC 4380 §2.6) or 6to4 (RFC 3056 §2): data could circulate between the relay and
/// the tunnel.
//= https://www.rfc-editor.org/rfc/rfc8656#section-21.4
//# In particular, a TURN server MUST NOT accept Teredo or 6to4 addresses
//# in these requests.
fn is_tunneled(ip: Ipv6Addr) -> bool {
    matches!(ip.segments(), [0x2001, 0, ..] | [0x2002, ..])
}

/// The IPv4 address at the end of an IPv6 address to which a translator may send: mapped and compatible (RFC 4291
/// §2.5.5), translated (RFC 2765), NAT64 (RFC 6052).
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., high, low] = ip.segments();
    let last = Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match ip.segments() {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(last),
        [0, 0, 0, 0, 0, 0, ..] if !ip.is_unspecified() && !ip.is_loopback() => Some(last),
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
            "192.0.0.9",
            "198.18.0.1",
            "198.19.255.255",
            "240.0.0.1",
            "255.255.255.254",
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
            "::ffff:0:127.0.0.1",
            "::ffff:0:192.168.0.1",
            "64:ff9b:1::10.0.0.1",
            "64:ff9b:1:a00:0:100::",
            "64:ff9b:1:ffff::8.8.8.8",
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
            "2002:808:808::1",
            "2002:7f00:1::",
            // Teredo: server 203.0.113.7, client 8.8.8.8.
            "2001:0:cb00:7107:8000:63bf:f7f7:f7f7",
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
