//! Who may use TURN: users with a password, and clients with a credential derived from the shared secret.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use data_encoding::BASE64;
use hmac::{Hmac, Mac};
use md5::{Digest, Md5};
use rand_chacha::ChaCha8Rng;
use rand_core::RngCore;
use sha1::Sha1;

use super::settings::TurnSettings;

/// The key of MESSAGE-INTEGRITY: MD5(username ":" realm ":" password) (RFC 8489 §9.2.2).
pub(crate) type Key = [u8; 16];

/// Accepts credentials, and issues ephemeral ones.
pub(crate) struct Credentials {
    realm: String,
    //= https://www.rfc-editor.org/rfc/rfc8656#section-6-4
    //# For security reasons, the server MUST NOT store the
    //# password explicitly and MUST store the key value
    users: BTreeMap<Box<str>, Key>,
    secret: Option<String>,
    lifetime: Duration,
    unix_time: fn() -> u64,
    /// For the names in ephemeral usernames, which distinguish the allocations of clients.
    rng: Mutex<ChaCha8Rng>,
}

/// An ephemeral credential.
pub(crate) struct EphemeralCredential {
    pub(crate) username: String,
    pub(crate) password: String,
}

impl Credentials {
    pub(crate) fn new(settings: &TurnSettings, rng: ChaCha8Rng, unix_time: fn() -> u64) -> Self {
        let TurnSettings { realm, secret, credential_lifetime, .. } = settings.clone();
        let users = settings.users.iter().map(|(name, password)| {
            let key = key(name, &realm, password);
            (name.as_str().into(), key)
        });
        let users = users.collect();
        Self { realm, users, secret, lifetime: credential_lifetime, unix_time, rng: Mutex::new(rng) }
    }

    pub(crate) fn realm(&self) -> &str {
        &self.realm
    }

    /// The key of a username; `None` for an unknown user and for an expired ephemeral credential.
    pub(crate) fn key_of(&self, username: &str) -> Option<Key> {
        if let Some(key) = self.users.get(username) {
            return Some(*key);
        }
        let secret = self.secret.as_deref()?;
        let expiry = username.split_once(':').map_or(username, |(expiry, _)| expiry);
        let expiry: u64 = expiry.parse().ok()?;
        ((self.unix_time)() < expiry).then(|| key(username, &self.realm, &password(secret, username)))
    }

    /// Issues a credential that is valid for the configured lifetime from now; `None` without a shared secret.
    pub(crate) fn issue(&self) -> Option<EphemeralCredential> {
        let secret = self.secret.as_deref()?;
        let expiry = (self.unix_time)() + self.lifetime.as_secs();
        let name = self.rng.lock().expect("nothing panics while it holds the generator").next_u64();
        let username = format!("{expiry}:{name:016x}");
        let password = password(secret, &username);
        Some(EphemeralCredential { username, password })
    }
}

fn key(username: &str, realm: &str, password: &str) -> Key {
    Md5::digest([username, ":", realm, ":", password].concat()).into()
}

fn password(secret: &str, username: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(username.as_bytes());
    BASE64.encode(&mac.finalize().into_bytes())
}
