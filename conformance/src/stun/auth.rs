//! Long-term credentials (RFC 8489 §9.2) as a client keeps them.

use super::client::{Answer, UdpClient};
use super::crypto::{PasswordAlgorithm, long_term_key, userhash};
use super::names::attr;
use super::target::Credential;
use super::wire::{Draft, Message};
use crate::stop::Stop;

/// How often a request is sent with another nonce. A server that accepts no nonce at all is not asked for ever.
const NONCES_MAX: usize = 3;

/// What a server sends with a 401 or 438.
#[derive(Clone)]
pub(crate) struct Challenge {
    pub(crate) realm: String,
    pub(crate) nonce: Vec<u8>,
    /// The value of PASSWORD-ALGORITHMS, as the server sent it.
    pub(crate) offered: Option<Vec<u8>>,
}

/// What a client adds to its requests after the server's challenge.
#[derive(Clone)]
pub(crate) struct Auth {
    pub(crate) user: String,
    password: String,
    pub(crate) challenge: Challenge,
    /// Whether the challenge was sent to another client.
    is_borrowed: bool,
    pub(crate) algorithm: PasswordAlgorithm,
    /// Whether requests have USERHASH in place of USERNAME.
    pub(crate) hides_user: bool,
}

/// A bit of the security features that a nonce announces (RFC 8489 §18.1), as a bit of the first character.
#[derive(Clone, Copy)]
pub(crate) enum SecurityFeature {
    PasswordAlgorithms = 0x20,
    UsernameAnonymity = 0x10,
}

impl Challenge {
    /// Whether the nonce announces a feature: `obMatJos2`, then the features in base64 (RFC 8489 §9.2).
    pub(crate) fn announces(&self, feature: SecurityFeature) -> bool {
        const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let first = self.nonce.strip_prefix(b"obMatJos2").and_then(|features| features.first());
        let digit = first.and_then(|first| DIGITS.iter().position(|digit| digit == first));
        digit.is_some_and(|digit| digit & feature as usize != 0)
    }

    /// The challenge in a 401 or 438.
    pub(crate) fn of(answer: &Answer) -> Result<Self, Stop> {
        let message = &answer.message;
        let realm = message.text(attr::REALM).ok_or_else(|| answer.stop("the challenge has no REALM"))?;
        let nonce = message.get(attr::NONCE).ok_or_else(|| answer.stop("the challenge has no NONCE"))?.to_vec();
        Ok(Self { realm, nonce, offered: message.get(attr::PASSWORD_ALGORITHMS).map(<[u8]>::to_vec) })
    }
}

impl Auth {
    /// Credentials for a challenge. They use MD5 and SHA-1, which every server must still accept.
    pub(crate) fn new(credential: &Credential, challenge: Challenge) -> Self {
        let Credential { user, password } = credential.clone();
        Self { user, password, challenge, is_borrowed: false, algorithm: PasswordAlgorithm::Md5, hides_user: false }
    }

    /// Like [`new`](Self::new), with the challenge to another client. The server may accept its nonce. Otherwise it
    /// answers with 438 and a nonce for this client.
    pub(crate) fn borrowing(credential: &Credential, challenge: Challenge) -> Self {
        Self { is_borrowed: true, ..Self::new(credential, challenge) }
    }

    /// Takes the newer nonce of a 438.
    pub(crate) fn renew(&mut self, answer: &Answer) -> Result<(), Stop> {
        let nonce = answer.message.get(attr::NONCE);
        self.challenge.nonce = nonce.ok_or_else(|| answer.stop("the 438 has no NONCE"))?.to_vec();
        self.is_borrowed = false;
        Ok(())
    }

    /// Sends a request with these credentials, and again with a new nonce while the server answers with 438: some
    /// servers accept a nonce only once. Returns the last request with its answer.
    //= https://www.rfc-editor.org/rfc/rfc8489#section-9.2.5
    //# If the response is an error response with an error code of 438 (Stale
    //# Nonce), the client MUST retry the request, using the new NONCE
    //# attribute supplied in the 438 (Stale Nonce) response.
    pub(crate) async fn send(
        &mut self,
        client: &mut UdpClient,
        draft: impl Fn() -> Draft,
    ) -> Result<(Draft, Answer), Stop> {
        self.send_changed(client, draft, |sealed| sealed).await
    }

    /// Like [`send`](Self::send), with a change to the request after its MESSAGE-INTEGRITY was computed.
    pub(crate) async fn send_changed(
        &mut self,
        client: &mut UdpClient,
        draft: impl Fn() -> Draft,
        change: impl Fn(Draft) -> Draft,
    ) -> Result<(Draft, Answer), Stop> {
        let mut nonces = 0;
        loop {
            let (request, server) = (change(self.seal(draft())), client.server);
            let answer = client.send_request(&request).await?;
            nonces += 1;
            if !self.follows(&answer, client.server != server)? || nonces >= NONCES_MAX {
                return Ok((request, answer));
            }
        }
    }

    /// Takes the challenge of an answer if the request must be repeated with it.
    pub(crate) fn follows(&mut self, answer: &Answer, is_redirected: bool) -> Result<bool, Stop> {
        match answer.code()? {
            Some(438) => self.renew(answer)?,
            // The challenge was not for this client, or not from the server that it was redirected to.
            Some(401) if self.is_borrowed || is_redirected => {
                self.challenge = Challenge::of(answer)?;
                self.is_borrowed = false;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Another user with the same challenge.
    pub(crate) fn as_user(&self, credential: &Credential) -> Self {
        Self { user: credential.user.clone(), password: credential.password.clone(), ..self.clone() }
    }

    pub(crate) fn with_password(mut self, password: &str) -> Self {
        self.password = password.to_owned();
        self
    }

    pub(crate) fn key(&self) -> Vec<u8> {
        long_term_key(self.algorithm, &self.user, &self.challenge.realm, &self.password)
    }

    /// Appends the credentials and MESSAGE-INTEGRITY to a request, after all other attributes.
    pub(crate) fn seal(&self, draft: Draft) -> Draft {
        let Challenge { realm, nonce, offered } = &self.challenge;
        let draft = match self.hides_user {
            true => draft.with(attr::USERHASH, userhash(&self.user, realm)),
            false => draft.with(attr::USERNAME, &self.user),
        };
        let draft = draft.with(attr::REALM, realm).with(attr::NONCE, nonce);
        match (self.algorithm, offered) {
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
