//! Who may use TURN: users with a password, and clients with a credential derived from the shared secret.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use hmac::{Hmac, Mac};
use md5::{Digest, Md5};
use rand_core::RngCore;
use sha1::Sha1;
use sha2::Sha256;
use unicode_normalization::UnicodeNormalization;

use super::settings::TurnSettings;
use crate::lock::Lock;
use crate::random::Random;

/// How the key is made of username, realm and password (RFC 8489 §18.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Md5,
    Sha256,
}

/// The key of MESSAGE-INTEGRITY: a hash of `username ":" realm ":" password` (RFC 8489 §9.2.2).
#[derive(Clone, Copy)]
pub(crate) enum Key {
    Md5([u8; 16]),
    Sha256([u8; 32]),
}

impl Key {
    /// Keys with which nobody signs, to take as long as for a user.
    pub(crate) fn of_nobody() -> Vec<Self> {
        vec![Self::Md5([0; 16]), Self::Sha256([0; 32])]
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        match self {
            Self::Md5(_) => Algorithm::Md5,
            Self::Sha256(_) => Algorithm::Sha256,
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Md5(bytes) => bytes,
            Self::Sha256(bytes) => bytes,
        }
    }
}

/// Accepts credentials, and issues ephemeral ones.
pub(crate) struct Credentials {
    realm: String,
    known: Lock<Arc<Known>>,
    lifetime: Duration,
    unix_time: fn() -> u64,
    /// For the names in ephemeral usernames, which distinguish the allocations of clients.
    rng: Lock<Random>,
}

/// Whose credentials are accepted, replaced as a whole.
struct Known {
    //= https://www.rfc-editor.org/rfc/rfc8656#section-6-4
    //# For security reasons, the server MUST NOT store the
    //# password explicitly and MUST store the key value
    users: BTreeMap<Box<str>, Vec<Key>>,
    /// The names of these users by their USERHASH, if clients may send it.
    hashed: BTreeMap<[u8; 32], Box<str>>,
    secret: Option<String>,
    has_sha256: bool,
}

/// An ephemeral credential.
pub(crate) struct EphemeralCredential {
    pub(crate) username: String,
    pub(crate) password: String,
}

/// How a client says who it is.
#[derive(Clone, Copy)]
pub(crate) enum Username<'a> {
    /// The value of USERNAME.
    Plain(&'a [u8]),
    /// The value of USERHASH.
    Hashed(&'a [u8]),
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
        let realm = opaque_string(&settings.realm);
        let known = Lock::new(Arc::new(Known::new(settings, &realm)));
        Self { realm, known, lifetime: settings.credential_lifetime, unix_time, rng: Lock::new(rng) }
    }

    /// Accepts the users and the secret of these settings from here on, and no others.
    pub(crate) fn reload(&self, settings: &TurnSettings) {
        *self.known.lock() = Arc::new(Known::new(settings, &self.realm));
    }

    pub(crate) fn realm(&self) -> &str {
        &self.realm
    }

    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.lock())
    }

    /// The credential of a user; `None` for an unknown one.
    pub(crate) fn of(&self, username: Username<'_>) -> Option<Credential> {
        let known = self.known();
        let (username, user) = match username {
            Username::Plain(bytes) => {
                let username = str::from_utf8(bytes).ok()?;
                (username, opaque_string(username))
            }
            Username::Hashed(hash) => ("", known.hashed.get(hash)?.clone().into()),
        };
        if let Some(keys) = known.users.get(&*user) {
            return Some(Credential { user, keys: keys.clone(), is_expired: false });
        }
        let secret = known.secret.as_deref()?;
        let expiry = username.split_once(':').map_or(username, |(expiry, _)| expiry);
        let expiry: u64 = expiry.parse().ok()?;
        // Its password depends on the bytes of the username, so it has one spelling.
        let keys = keys(username, &self.realm, &ephemeral_password(secret, username), known.has_sha256);
        Some(Credential { user: username.to_owned(), keys, is_expired: expiry <= (self.unix_time)() })
    }

    /// Issues a credential that is valid for the configured lifetime from now; `None` without a shared secret.
    pub(crate) fn issue(&self) -> Option<EphemeralCredential> {
        let known = self.known();
        let secret = known.secret.as_deref()?;
        let expiry = (self.unix_time)() + self.lifetime.as_secs();
        let name = self.rng.lock().next_u64();
        let username = format!("{expiry}:{name:016x}");
        let password = ephemeral_password(secret, &username);
        Some(EphemeralCredential { username, password })
    }
}

impl Known {
    fn new(settings: &TurnSettings, realm: &str) -> Self {
        let users = settings.users.iter().map(|(name, password)| {
            let passwords = spellings(password);
            let keys = spellings(name).into_iter().flat_map(|name| {
                passwords.iter().flat_map(|password| keys(&name, realm, password, settings.sha256)).collect::<Vec<_>>()
            });
            (opaque_string(name).into(), keys.collect())
        });
        let hashed = settings.users.iter().filter(|_| settings.userhash).flat_map(|(name, _)| {
            spellings(name).into_iter().map(|spelling| (userhash(&spelling, realm), opaque_string(name).into()))
        });
        Self {
            users: users.collect(),
            hashed: hashed.collect(),
            secret: settings.secret.clone(),
            has_sha256: settings.sha256,
        }
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

//= https://www.rfc-editor.org/rfc/rfc8489#section-14.4
//# userhash = SHA-256(OpaqueString(username) ":" OpaqueString(realm))
fn userhash(username: &str, realm: &str) -> [u8; 32] {
    Sha256::digest([username, ":", realm].concat()).into()
}

/// One for each algorithm.
fn keys(username: &str, realm: &str, password: &str, has_sha256: bool) -> Vec<Key> {
    let text = [username, ":", realm, ":", password].concat();
    let sha256 = has_sha256.then(|| Key::Sha256(Sha256::digest(&text).into()));
    std::iter::once(Key::Md5(Md5::digest(&text).into())).chain(sha256).collect()
}

/// The password of an ephemeral credential: the base64 of the HMAC-SHA1 of its username with the
/// [shared secret](TurnSettings::secret).
pub fn ephemeral_password(secret: &str, username: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(username.as_bytes());
    BASE64.encode(&mac.finalize().into_bytes())
}
