//! The client behind a proxy, from the `X-Forwarded-For` or `Forwarded` headers of the listed proxies only.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use hyper::header::{self, HeaderMap, HeaderName};

/// A network of IP addresses, such as `10.0.0.0/8`, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    /// How many bits count.
    bits: u8,
}

impl Cidr {
    /// Whether the address is one of them. An IPv4-mapped IPv6 address counts as the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && first(address, self.bits) == self.address
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| CidrError::Address)?;
        let max = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits.map(str::parse) {
            None => max,
            Some(Ok(bits)) if bits <= max => bits,
            Some(_) => return Err(CidrError::Length { max }),
        };
        let network = Self { address: first(address, bits), bits };
        if network.address != address {
            return Err(CidrError::NotTheFirst { network, address });
        }
        Ok(network)
    }
}

/// Why a text is not a [`Cidr`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CidrError {
    /// It does not begin with an IP address.
    Address,
    /// The length is not a number from 0 to this.
    Length {
        /// 32 or 128, by the address.
        max: u8,
    },
    /// The address is not the first one of the network.
    NotTheFirst {
        /// The network that contains the address.
        network: Cidr,
        /// The address.
        address: IpAddr,
    },
}

impl fmt::Display for CidrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let right = "write it like `10.0.0.0/8`, `2001:db8::/32` or `192.0.2.7`";
        match self {
            Self::Address => write!(f, "not an IP address or a network: {right}"),
            Self::Length { max } => write!(f, "the length of the network is not a number from 0 to {max}: {right}"),
            Self::NotTheFirst { network, address } => {
                write!(f, "the network of that length is {network}: write that, or {address} alone")
            }
        }
    }
}

impl std::error::Error for CidrError {}

/// The first address with the same `bits`.
fn first(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client whose request came from `peer`: `peer` itself unless it is one of the `proxies` and names another.
///
/// A proxy adds the address of its peer at the end of one header, and may forward the other one as the client sent it.
/// So if the two headers disagree, neither counts, and the request counts as the proxy's own.
pub(crate) fn client(proxies: &[Cidr], peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let is_proxy = |address| proxies.iter().any(|proxy| proxy.contains(address));
    if !is_proxy(peer) {
        return peer;
    }
    let values = |name: HeaderName| {
        let values = headers.get_all(name).iter().rev();
        values.flat_map(|value| value.to_str().unwrap_or_default().rsplit(',')).map(str::trim)
    };
    let by_x_forwarded_for = nearest(values(X_FORWARDED_FOR).map(node), is_proxy);
    let by_forwarded = nearest(values(header::FORWARDED).map(forwarded_for), is_proxy);
    match (by_x_forwarded_for, by_forwarded) {
        (Some(client), None) | (None, Some(client)) => client,
        (Some(client), Some(same)) if client == same => client,
        (None, None) => peer,
        (Some(_), Some(_)) => {
            tracing::debug!(%peer, "X-Forwarded-For and Forwarded of a request disagree");
            peer
        }
    }
}

/// The nearest address that is not a proxy's. `nodes` begins with the one that the last proxy added. Everything beyond
/// a node that is not an address is ignored, because the client may have written it.
fn nearest(nodes: impl Iterator<Item = Option<IpAddr>>, is_proxy: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let mut nearest = None;
    for node in nodes {
        let Some(address) = node else { break };
        nearest = Some(address);
        if !is_proxy(address) {
            break;
        }
    }
    nearest
}

/// The address in an element of `X-Forwarded-For`, without the port that some proxies add.
fn node(text: &str) -> Option<IpAddr> {
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address: Option<IpAddr> = text.parse().ok();
    let address = address.or_else(|| text.parse().map(|address: SocketAddr| address.ip()).ok()).or_else(bare);
    address.map(|address| address.to_canonical())
}

//= https://www.rfc-editor.org/rfc/rfc7239#section-4
//# forwarded-element =
//#     [ forwarded-pair ] *( ";" [ forwarded-pair ] )
/// The address in the `for` of an element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.eq_ignore_ascii_case("for"))?;
    node(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().expect(text)
    }

    #[test]
    fn a_network_has_the_addresses_that_begin_like_it() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::10.1.2.3"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.6/31", "192.0.2.7", "192.0.2.8"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::/0", "2001:db8::1", "10.0.0.1"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
        ] {
            assert!(cidr(network).contains(inside.parse().expect(inside)), "{network} {inside}");
            assert!(!cidr(network).contains(outside.parse().expect(outside)), "{network} {outside}");
        }
    }

    #[test]
    fn errors_say_what_would_be_right() {
        for (wrong, right) in [
            ("", "not an IP address or a network: write it like `10.0.0.0/8`"),
            ("proxy.test", "not an IP address or a network"),
            ("10.0.0.0/", "the length of the network is not a number from 0 to 32"),
            ("10.0.0.0/33", "the length of the network is not a number from 0 to 32"),
            ("::/129", "the length of the network is not a number from 0 to 128"),
            ("10.1.2.3/8", "the network of that length is 10.0.0.0/8: write that, or 10.1.2.3 alone"),
        ] {
            let why = wrong.parse::<Cidr>().expect_err(wrong).to_string();
            assert!(why.starts_with(right), "{wrong}: {why}");
        }
    }

    #[test]
    fn only_what_listed_proxies_have_added_counts() {
        let proxies = [cidr("10.0.0.0/8"), cidr("2001:db8::/64")];
        for (peer, lines, expected) in [
            ("192.0.2.1", &["x-forwarded-for: 198.51.100.1"][..], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["x-forwarded-for: 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["x-forwarded-for: 198.51.100.1:4711"], "198.51.100.1"),
            ("::ffff:10.0.0.1", &["x-forwarded-for: ::ffff:198.51.100.1"], "198.51.100.1"),
            // The client wrote the first, the proxy the second.
            ("10.0.0.1", &["x-forwarded-for: 192.0.2.9, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["x-forwarded-for: 192.0.2.9", "x-forwarded-for: 198.51.100.1"], "198.51.100.1"),
            // Through two proxies.
            ("10.0.0.1", &["x-forwarded-for: 192.0.2.9, 198.51.100.1 ,10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1", &["x-forwarded-for: 10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["x-forwarded-for: 192.0.2.9, unknown, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["x-forwarded-for: 192.0.2.9, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["x-forwarded-for: "], "10.0.0.1"),
            ("10.0.0.1", &["forwarded: for=198.51.100.1;proto=https;by=10.0.0.1"], "198.51.100.1"),
            ("10.0.0.1", &["forwarded: for=192.0.2.9, proto=https; For=\"198.51.100.1:80\""], "198.51.100.1"),
            ("2001:db8::5", &["forwarded: for=\"[2001:db8:1::7]:4711\""], "2001:db8:1::7"),
            ("2001:db8::5", &["x-forwarded-for: [2001:db8:1::7]"], "2001:db8:1::7"),
            ("10.0.0.1", &["forwarded: for=\"a, for=198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["forwarded: for=192.0.2.9, for=_hidden"], "10.0.0.1"),
            ("10.0.0.1", &["forwarded: for=198.51.100.1", "x-forwarded-for: 198.51.100.1"], "198.51.100.1"),
            // The client has sent one of them.
            ("10.0.0.1", &["forwarded: for=192.0.2.9", "x-forwarded-for: 198.51.100.1"], "10.0.0.1"),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                let (name, value) = line.split_once(": ").expect("a header");
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            let client = client(&proxies, peer.parse().expect(peer), &headers);
            assert_eq!(client, expected.parse::<IpAddr>().expect(expected), "{peer} {lines:?}");
        }
    }
}
