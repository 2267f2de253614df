//! The settings of TURN.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::access::Cidr;
use crate::rate::Rate;

/// How the TURN service behaves; it shares the UDP socket of STUN ([`Config::stun`](crate::Config::stun)).
///
/// Anyone with a credential can send through this host. Without [`users`](Self::users) and [`secret`](Self::secret)
/// there are no credentials. Peers that only this host can reach are refused, see
/// [`allow_private_peers`](Self::allow_private_peers).
#[derive(Clone, PartialEq, Eq)]
pub struct TurnSettings {
    /// The realm, which tells clients whose credential is required. Default: `glare`; preferably your domain.
    pub realm: String,
    /// Users with long-term credentials (RFC 8489 §9.2): name and password. Both, and the realm, may be composed or
    /// decomposed Unicode: they are prepared with OpaqueString (RFC 8265 §4.2).
    pub users: Vec<(String, String)>,
    /// The shared secret of ephemeral credentials, if any: the username is `expiry` or `expiry:name` with the expiry in
    /// UNIX seconds, the password the base64 of the HMAC-SHA1 of the username with this secret. `/api/config` issues
    /// such credentials, and so can any program that knows the secret (coturn's `static-auth-secret`).
    pub secret: Option<String>,
    /// Lifetime of a credential from `/api/config`. Default: 24 h. See [`strict_expiry`](Self::strict_expiry).
    pub credential_lifetime: Duration,
    /// Whether an ephemeral credential is useless after its expiry. Default: no, it creates no allocation, but one that
    /// was created with it can be refreshed and used, so that a call does not end with the credential. If set, the
    /// lifetime of a credential must be longer than a call.
    pub strict_expiry: bool,
    /// Whether clients may use SHA-256 in place of MD5 and SHA-1 (RFC 8489 §9.2): PASSWORD-ALGORITHMS and
    /// MESSAGE-INTEGRITY-SHA256. Default: no, because no browser does, and the answer that offers it is longer, to an address
    /// that anyone can forge.
    pub sha256: bool,
    /// Whether clients may send a hash of their username in its place, so that others on the way do not see it: USERHASH
    /// (RFC 8489 §9.2). Default: no, because no browser does. It does not go together with [`secret`](Self::secret): the
    /// server cannot find the username of an ephemeral credential by its hash.
    pub userhash: bool,
    /// Lifetime of a nonce. Default: 1 h, the maximum that RFC 8656 §5 recommends. Then clients get 438 and continue
    /// with a new one.
    pub nonce_lifetime: Duration,
    /// Lifetime of an allocation whose client requests none or less. Default: 600 s (RFC 8656 §6).
    pub allocation_lifetime: Duration,
    /// Maximum lifetime of an allocation. Default: 3,600 s (RFC 8656 §7.2).
    pub allocation_lifetime_max: Duration,
    /// Maximum rate of answers to requests without a valid credential and nonce, per IPv4 address or IPv6 /64 network; further
    /// requests get no answer. Default: none. Such answers go to the source address of a request, which anyone can
    /// forge, and with the default realm they are up to five times as long. Every client needs one or two of them to
    /// begin.
    pub unauthenticated_rate: Option<Rate>,
    /// Maximum number of allocations and reserved ports per username. Default: 128. One more: 486.
    pub allocations_per_user_max: usize,
    /// Maximum number of allocations and reserved ports per IPv4 address or IPv6 /64 network. Default: 256. One more:
    /// 486. With a shared secret, a client can have many usernames.
    pub allocations_per_address_max: usize,
    /// Maximum bytes of data per second that are relayed for a user, in both directions together. Default: no limit. What is more
    /// is dropped.
    pub user_bandwidth_max: Option<u64>,
    /// The same for all users together. Default: no limit.
    pub bandwidth_max: Option<u64>,
    /// Maximum number of permissions per allocation. Default: 1,024. One more: 508.
    pub permissions_max: usize,
    /// Maximum number of channels per allocation. Default: 1,024. One more: 508.
    pub channels_max: usize,
    /// Maximum number of allocations, including reserved ports. Default: 4,096. Each needs a UDP socket and a port. One
    /// more: 508.
    pub allocations_max: usize,
    /// Addresses for relaying, at most one for IPv4 and one for IPv6. If empty, the IP address of STUN is used, which
    /// must then not be a wildcard.
    pub relay_addresses: Vec<RelayAddress>,
    /// The ports of relayed transport addresses. Default: 49,152 to 65,535 (RFC 8656 §7.2). Open them for UDP in the
    /// firewall.
    pub relay_ports: RangeInclusive<u16>,
    /// Whether peers may have loopback, private, shared (100.64.0.0/10), link-local, unique-local, local NAT64
    /// (64:ff9b:1::/48) and reserved (192.0.0.0/24, 198.18.0.0/15, 240.0.0.0/4) addresses, and those of this host.
    /// Default: no. If allowed, clients can reach everything that this host can reach, so use it only in closed networks
    /// and tests. Multicast, broadcast, unspecified, Teredo and 6to4 addresses are always refused.
    pub allow_private_peers: bool,
    /// Networks of peers that are refused with 403. Default: none but those above.
    pub denied_peers: Vec<Cidr>,
    /// Networks of peers that are allowed although they are refused by default. Default: none.
    pub allowed_peers: Vec<Cidr>,
    /// The addresses of this host, as peers see them: they are refused by default. On a relay address, clients reach the
    /// relayed transport addresses of others, and nothing else. Default: none but the relay addresses.
    pub host_addresses: Vec<IpAddr>,
    /// Whether channel numbers may be 0x5000 to 0x7fff, as in RFC 5766. Default: no, they get 400. Some clients, such
    /// as coturn's `turnutils_uclient`, still use that range; browsers begin at 0x4000.
    pub allow_rfc5766_channels: bool,
}

/// An IP address of this host for relaying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayAddress {
    /// The address to which sockets are bound.
    pub bind: IpAddr,
    /// The address sent to clients. It differs from `bind` if this host is behind a 1:1 NAT, as in most clouds.
    pub advertised: IpAddr,
}

impl From<IpAddr> for RelayAddress {
    fn from(address: IpAddr) -> Self {
        Self { bind: address, advertised: address }
    }
}

impl Default for TurnSettings {
    fn default() -> Self {
        Self {
            realm: "glare".to_owned(),
            users: Vec::new(),
            secret: None,
            credential_lifetime: Duration::from_secs(24 * 3600),
            strict_expiry: false,
            sha256: false,
            userhash: false,
            nonce_lifetime: Duration::from_secs(3600),
            allocation_lifetime: Duration::from_secs(600),
            allocation_lifetime_max: Duration::from_secs(3600),
            unauthenticated_rate: None,
            allocations_per_user_max: 128,
            allocations_per_address_max: 256,
            user_bandwidth_max: None,
            bandwidth_max: None,
            permissions_max: 1024,
            channels_max: 1024,
            allocations_max: 4096,
            relay_addresses: Vec::new(),
            relay_ports: 49_152..=65_535,
            allow_private_peers: false,
            denied_peers: Vec::new(),
            allowed_peers: Vec::new(),
            host_addresses: Vec::new(),
            allow_rfc5766_channels: false,
        }
    }
}

impl fmt::Debug for TurnSettings {
    /// Shows the names of users, not the credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let users: Vec<&str> = self.users.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("TurnSettings")
            .field("realm", &self.realm)
            .field("users", &users)
            .field("secret", &self.secret.as_ref().map(|_| "…"))
            .field("credential_lifetime", &self.credential_lifetime)
            .field("strict_expiry", &self.strict_expiry)
            .field("sha256", &self.sha256)
            .field("userhash", &self.userhash)
            .field("nonce_lifetime", &self.nonce_lifetime)
            .field("allocation_lifetime", &self.allocation_lifetime)
            .field("allocation_lifetime_max", &self.allocation_lifetime_max)
            .field("unauthenticated_rate", &self.unauthenticated_rate)
            .field("allocations_per_user_max", &self.allocations_per_user_max)
            .field("allocations_per_address_max", &self.allocations_per_address_max)
            .field("user_bandwidth_max", &self.user_bandwidth_max)
            .field("bandwidth_max", &self.bandwidth_max)
            .field("permissions_max", &self.permissions_max)
            .field("channels_max", &self.channels_max)
            .field("allocations_max", &self.allocations_max)
            .field("relay_addresses", &self.relay_addresses)
            .field("relay_ports", &self.relay_ports)
            .field("allow_private_peers", &self.allow_private_peers)
            .field("denied_peers", &self.denied_peers)
            .field("allowed_peers", &self.allowed_peers)
            .field("host_addresses", &self.host_addresses)
            .field("allow_rfc5766_channels", &self.allow_rfc5766_channels)
            .finish_non_exhaustive()
    }
}

impl TurnSettings {
    /// Maximum length of the realm and of a username (RFC 8489 §14.3, §14.9), in bytes.
    const NAME_BYTES_MAX: usize = 508;

    /// Fills in the relay addresses from STUN's and checks all settings. The error says which one is invalid.
    pub(crate) fn checked(mut self, stun: SocketAddr) -> Result<Self, TurnSettingsError> {
        if self.realm.is_empty() || self.realm.len() > Self::NAME_BYTES_MAX {
            return Err(TurnSettingsError::Realm);
        }
        // By number: what was taken for a name may be part of a password.
        for (number, (name, password)) in (1..).zip(&self.users) {
            if name.is_empty() || name.len() > Self::NAME_BYTES_MAX || password.is_empty() {
                return Err(TurnSettingsError::User(number));
            }
            if name.contains(':') {
                return Err(TurnSettingsError::ColonInName(number));
            }
        }
        if self.secret.as_deref() == Some("") {
            return Err(TurnSettingsError::EmptySecret);
        }
        if self.userhash && self.secret.is_some() {
            return Err(TurnSettingsError::UserhashOfEphemeral);
        }
        if self.relay_ports.is_empty() || *self.relay_ports.start() == 0 {
            return Err(TurnSettingsError::RelayPorts(self.relay_ports));
        }
        if self.relay_addresses.is_empty() {
            self.relay_addresses.push(stun.ip().into());
        }
        for (index, address) in self.relay_addresses.iter().enumerate() {
            if address.advertised.is_unspecified() {
                return Err(TurnSettingsError::Wildcard(address.advertised));
            }
            if address.bind.is_ipv4() != address.advertised.is_ipv4() {
                return Err(TurnSettingsError::Families(*address));
            }
            if self.relay_addresses[..index].iter().any(|other| other.bind.is_ipv4() == address.bind.is_ipv4()) {
                return Err(TurnSettingsError::SecondOfFamily(address.bind));
            }
        }
        Ok(self)
    }
}

/// Which setting is wrong.
#[derive(Debug)]
pub(crate) enum TurnSettingsError {
    /// The realm is empty or too long.
    Realm,
    /// The user with this number, counted from 1, has no name, too long a name, or no password.
    User(usize),
    ColonInName(usize),
    EmptySecret,
    UserhashOfEphemeral,
    RelayPorts(RangeInclusive<u16>),
    /// A wildcard address would be advertised.
    Wildcard(IpAddr),
    /// The advertised address is of another family than the bound one.
    Families(RelayAddress),
    SecondOfFamily(IpAddr),
}

impl fmt::Display for TurnSettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Realm => write!(f, "the realm must have 1 to {} bytes", TurnSettings::NAME_BYTES_MAX),
            Self::User(number) => {
                let max = TurnSettings::NAME_BYTES_MAX;
                write!(f, "TURN user {number} must have a name of 1 to {max} bytes and a password")
            }
            Self::ColonInName(number) => {
                write!(f, "the name of TURN user {number} must not contain `:`, which separates it from the realm")
            }
            Self::EmptySecret => f.write_str("the shared secret must not be empty"),
            Self::UserhashOfEphemeral => f.write_str(
                "usernames can be hashed or ephemeral, but not both: leave out the shared secret or the hashes (USERHASH)",
            ),
            Self::RelayPorts(ports) => {
                write!(f, "the relay ports {}-{} must be a range from 1 or more upwards", ports.start(), ports.end())
            }
            Self::Wildcard(address) => {
                write!(f, "set a relay address: the wildcard {address} cannot be sent to clients")
            }
            Self::Families(RelayAddress { bind, advertised }) => {
                write!(f, "{advertised} cannot be advertised for {bind}")
            }
            Self::SecondOfFamily(bind) => write!(f, "{bind} is the second relay address of its family"),
        }
    }
}
