//! Long-term credentials (RFC 8489 §9.2) as a client keeps them.

use super::client::Answer;
use super::crypto::{PasswordAlgorithm, long_term_key};
use super::names::attr;
use super::target::Credential;
use super::wire::{Draft, Message};
use crate::stop::Stop;

/// What a client adds to its requests after the server's challenge.
#[derive(Clone)]
pub(crate) struct Auth {
    pub(crate) user: String,
    password: String,
    pub(crate) realm: String,
    pub(crate) nonce: Vec<u8>,
    /// The value of PASSWORD-ALGORITHMS, as the server sent it.
    pub(crate) offered: Option<Vec<u8>>,
    pub(crate) algorithm: PasswordAlgorithm,
}

impl Auth {
    /// Credentials for the challenge in a 401 or 438. They use MD5 and SHA-1, which every server must still accept.
    pub(crate) fn challenged(credential: &Credential, answer: &Answer) -> Result<Self, Stop> {
        let message = &answer.message;
        let realm = message.text(attr::REALM).ok_or_else(|| answer.stop("the challenge has no REALM"))?;
        let nonce = message.get(attr::NONCE).ok_or_else(|| answer.stop("the challenge has no NONCE"))?.to_vec();
        Ok(Self {
            user: credential.user.clone(),
            password: credential.password.clone(),
            realm,
            nonce,
            offered: message.get(attr::PASSWORD_ALGORITHMS).map(<[u8]>::to_vec),
            algorithm: PasswordAlgorithm::Md5,
        })
    }

    /// The same credentials with the newer nonce of a 438.
    pub(crate) fn renewed(mut self, answer: &Answer) -> Result<Self, Stop> {
        let nonce = answer.message.get(attr::NONCE);
        self.nonce = nonce.ok_or_else(|| answer.stop("the 438 has no NONCE"))?.to_vec();
        Ok(self)
    }

    pub(crate) fn with_password(mut self, password: &str) -> Self {
        self.password = password.to_owned();
        self
    }

    fn key(&self) -> Vec<u8> {
        long_term_key(self.algorithm, &self.user, &self.realm, &self.password)
    }

    /// Appends the credentials and MESSAGE-INTEGRITY to a request, after all other attributes.
    pub(crate) fn seal(&self, draft: Draft) -> Draft {
        let draft =
            draft.with(attr::USERNAME, &self.user).with(attr::REALM, &self.realm).with(attr::NONCE, &self.nonce);
        match (self.algorithm, &self.offered) {
            (PasswordAlgorithm::Sha256, Some(offered)) => draft
                .with(attr::PASSWORD_ALGORITHMS, offered)
                .with(attr::PASSWORD_ALGORITHM, [0, PasswordAlgorithm::Sha256 as u8, 0, 0])
                .sealed_sha256(&self.key()),
            _ => draft.sealed(&self.key()),
        }
    }

    /// Whether a message has a valid MESSAGE-INTEGRITY for the same key.
    pub(crate) fn has_sealed(&self, message: &Message) -> bool {
        match self.algorithm {
            PasswordAlgorithm::Md5 => message.is_sealed(&self.key()),
            PasswordAlgorithm::Sha256 => message.is_sealed_sha256(&self.key()),
        }
    }
}
