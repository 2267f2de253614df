//! Nonces that need no memory: each contains its expiry and a MAC with a key of this server run.
//!
//! Anyone could fill a table of nonces with requests from spoofed addresses.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use hmac::{Hmac, Mac};
use rand_core::RngCore;
use sha1::Sha1;
use tokio::time::Instant;

use super::settings::TurnSettings;

//= https://www.rfc-editor.org/rfc/rfc8489#section-9.2
//# To indicate that it supports this specification, a server MUST prepend
//# the NONCE attribute value with the character string composed of
//# "obMatJos2" concatenated with the (4-character) base64 encoding
//# of the 24-bit STUN Security Features
const COOKIE: &str = "obMatJos2";
/// Bit 0, the leftmost one of the security features (RFC 8489 §18.1): password algorithms.
const PASSWORD_ALGORITHMS: u8 = 0x80;
/// Bit 1: username anonymity.
const USERNAME_ANONYMITY: u8 = 0x40;
/// Bytes of the expiry: 34 years of milliseconds.
const EXPIRY_BYTES: usize = 5;
/// Bytes of the MAC: enough against guessing, one request per guess. Together with the expiry these fill 19 characters,
/// so that a nonce has 32. It is short because anyone can make the server send it, to any address.
const MAC_BYTES: usize = 9;

/// Issues and checks nonces.
pub(crate) struct Nonces {
    key: [u8; 20],
    start: Instant,
    lifetime: Duration,
    /// What each nonce begins with.
    cookie: String,
}

impl Nonces {
    /// With the lifetime and the security features of these settings.
    pub(crate) fn new(rng: &mut impl RngCore, settings: &TurnSettings) -> Self {
        let algorithms = if settings.sha256 { PASSWORD_ALGORITHMS } else { 0 };
        let anonymity = if settings.userhash { USERNAME_ANONYMITY } else { 0 };
        let cookie = COOKIE.to_owned() + &BASE64.encode(&[algorithms | anonymity, 0, 0]);
        let mut key = [0; 20];
        rng.fill_bytes(&mut key);
        Self { key, start: Instant::now(), lifetime: settings.nonce_lifetime, cookie }
    }

    /// A nonce for one client: the cookie, then in base64 the expiry in milliseconds since the server's start and the
    /// MAC.
    pub(crate) fn issue(&self, client: SocketAddr) -> String {
        let expiry = self.now() + self.lifetime.as_millis() as u64;
        let mac = self.mac(expiry, client).finalize().into_bytes();
        let bytes = [&expiry.to_be_bytes()[8 - EXPIRY_BYTES..], &mac[..MAC_BYTES]].concat();
        format!("{}{}", self.cookie, BASE64URL_NOPAD.encode(&bytes))
    }

    /// Milliseconds since the server's start, which is the scale of expiries.
    pub(crate) fn now(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    /// The expiry of a nonce, if this server issued it to this client and it has not expired.
    pub(crate) fn valid_until(&self, nonce: &[u8], client: SocketAddr) -> Option<u64> {
        let encoded = nonce.strip_prefix(self.cookie.as_bytes())?;
        let bytes = BASE64URL_NOPAD.decode(encoded).ok()?;
        let (expiry, mac) = bytes.split_at_checked(EXPIRY_BYTES).filter(|(_, mac)| mac.len() == MAC_BYTES)?;
        let expiry = expiry.iter().fold(0, |expiry, byte| expiry << 8 | u64::from(*byte));
        let is_valid = self.mac(expiry, client).verify_truncated_left(mac).is_ok() && self.now() < expiry;
        is_valid.then_some(expiry)
    }

    fn mac(&self, expiry: u64, client: SocketAddr) -> Hmac<Sha1> {
        let mut mac = Hmac::<Sha1>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(&expiry.to_be_bytes());
        match client.ip() {
            IpAddr::V4(ip) => mac.update(&ip.octets()),
            IpAddr::V6(ip) => mac.update(&ip.octets()),
        }
        mac.update(&client.port().to_be_bytes());
        mac
    }
}
