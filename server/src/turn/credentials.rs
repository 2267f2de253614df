//! Who may use TURN: users with a password, and clients with a credential derived from the shared secret.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use data_encoding::BASE64;
use hmac::{Hmac, Mac};
use md5::{Digest, Md5};
use rand_core::RngCore;
use sha1::Sha1;
use unicode_normalization::UnicodeNormalization;

use super::settings::TurnSettings;
use crate::lock::Lock;
use crate::random::Random;

/// The key of MESSAGE-INTEGRITY: MD5(username ":" realm ":" password) (RFC 8489 §9.2.2).
pub(crate) type Key = [u8; 16];

/// Accepts credentials, and issues ephemeral ones.
pub(crate) struct Credentials {
    realm: String,
    //= https://www.rfc-editor.org/rfc/rfc8656#section-6-4
    //# For security reasons, the server MUST NOT store the
    //# password explicitly and MUST store the key value
    users: BTreeMap<Box<str>, Vec<Key>>,
    secret: Option<String>,
    lifetime: Duration,
    unix_time: fn() -> u64,
    /// For the names in ephemeral usernames, which distinguish the allocations of clients.
    rng: Lock<Random>,
}

/// An ephemeral credential.
pub(crate) struct EphemeralCredential {
    pub(crate) username: String,
    pub(crate) password: String,
}

/// What a client that presents a username must know.
pub(crate) struct Credential {
    /// The user's name, the same for all spellings.
    pub(crate) user: String,
    /// Any of these keys proves it.
    pub(crate) keys: Vec<Key>,
    pub(crate) is_expired: bool,
}

impl Credentials {
    pub(crate) fn new(settings: &TurnSettings, rng: Random, unix_time: fn() -> u64) -> Self {
        let TurnSettings { realm, secret, credential_lifetime, .. } = settings.clone();
        let realm = opaque_string(&realm);
        let users = settings.users.iter().map(|(name, password)| {
            let passwords = spellings(password);
            let keys = spellings(name).into_iter().flat_map(|name| {
                let key = |password| key(&name, &realm, password);
                passwords.iter().map(|password| key(password)).collect::<Vec<_>>()
            });
            (opaque_string(name).into(), keys.collect())
        });
        let users = users.collect();
        Self { realm, users, secret, lifetime: credential_lifetime, unix_time, rng: Lock::new(rng) }
    }

    pub(crate) fn realm(&self) -> &str {
        &self.realm
    }

    /// The credential of a username; `None` for an unknown user.
    pub(crate) fn of(&self, username: &str) -> Option<Credential> {
        let user = opaque_string(username);
        if let Some(keys) = self.users.get(&*user) {
            return Some(Credential { user, keys: keys.clone(), is_expired: false });
        }
        let secret = self.secret.as_deref()?;
        let expiry = username.split_once(':').map_or(username, |(expiry, _)| expiry);
        let expiry: u64 = expiry.parse().ok()?;
        // Its password depends on the bytes of the username, so it has one spelling.
        let keys = vec![key(username, &self.realm, &ephemeral_password(secret, username))];
        Some(Credential { user: username.to_owned(), keys, is_expired: expiry <= (self.unix_time)() })
    }

    /// Issues a credential that is valid for the configured lifetime from now; `None` without a shared secret.
    pub(crate) fn issue(&self) -> Option<EphemeralCredential> {
        let secret = self.secret.as_deref()?;
        let expiry = (self.unix_time)() + self.lifetime.as_secs();
        let name = self.rng.lock().next_u64();
        let username = format!("{expiry}:{name:016x}");
        let password = ephemeral_password(secret, &username);
        Some(EphemeralCredential { username, password })
    }
}

/// Prepares a text with the profile OpaqueString (RFC 8265 §4.2.2). Code points that it forbids, such as control
/// characters, are kept.
//= https://www.rfc-editor.org/rfc/rfc8489#section-9.2.2
//# key = MD5(username ":" OpaqueString(realm)
//# ":" OpaqueString(password))
fn opaque_string(text: &str) -> String {
    // The non-ASCII code points of the category Zs.
    let is_space =
        |c| matches!(c, '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}');
    text.chars().map(|c| if is_space(c) { ' ' } else { c }).nfc().collect()
}

/// The spellings of a text that clients may use: prepared as the RFC requires, and, because not every client prepares
/// it, as it was configured and decomposed.
fn spellings(text: &str) -> BTreeSet<String> {
    let prepared = opaque_string(text);
    let decomposed = prepared.nfd().collect();
    [prepared, decomposed, text.to_owned()].into()
}

fn key(username: &str, realm: &str, password: &str) -> Key {
    Md5::digest([username, ":", realm, ":", password].concat()).into()
}

/// The password of an ephemeral credential: the base64 of the HMAC-SHA1 of its username with the
/// [shared secret](TurnSettings::secret).
pub fn ephemeral_password(secret: &str, username: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(username.as_bytes());
    BASE64.encode(&mac.finalize().into_bytes())
}
