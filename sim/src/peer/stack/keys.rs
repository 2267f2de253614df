//! The secrets of DTLS sessions, for anyone who wants to decrypt the captured traffic.
//!
//! The stack has no key log, but its cryptography can be replaced. All keys of a DTLS 1.2 session are derived by one
//! function from the master secret and the two random values (RFC 5246 §6.3), so that call receives everything that a
//! key log contains.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use rtc::crypto::{
    ActiveKeyExchange, AeadAlgorithm, AeadCipher, BlockCipherAlgorithm, CbcAlgorithm, CbcCipher, CryptoAlgorithm,
    CryptoError, HashAlgorithm, HmacAlgorithm, KeyExchangeAlgorithm, Mac, PublicKey, RTCCrypto, RTCCryptoProvider,
    RTCRandom, SignatureScheme, SigningKey, StreamCipher, StreamCipherAlgorithm,
};

/// Size of a master secret, bytes. RFC 5246 §8.1.
const MASTER_SECRET_BYTES: usize = 48;
/// Size of a random value, bytes. RFC 5246 §7.4.1.2.
const RANDOM_BYTES: usize = 32;
/// The label under which the keys of a session are derived; the server's and the client's random values follow it. RFC
/// 5246 §6.3.
const LABEL: &[u8] = b"key expansion";

/// Master secrets, by the client's random value. All clones are the same log.
#[derive(Clone, Debug, Default)]
pub struct KeyLog(Arc<Mutex<BTreeMap<Vec<u8>, Vec<u8>>>>);

impl KeyLog {
    /// All secrets in the format that Wireshark and others read, one per line: `CLIENT_RANDOM`, the random value, the
    /// secret. RFC 9850 §2.2.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for (random, secret) in &*self.0.lock().expect("no panic while held") {
            let _ = writeln!(out, "CLIENT_RANDOM {} {}", hex(random), hex(secret));
        }
        out
    }

    /// Wraps a provider of cryptography so that each session's secret is written to this log.
    pub(super) fn overhear(&self, provider: Arc<dyn RTCCryptoProvider>) -> Arc<dyn RTCCryptoProvider> {
        Arc::new(Overheard { provider, log: self.clone() })
    }

    /// Writes the secret of a session to this log if this computation of an HMAC shows it.
    #[cfg(feature = "str0m")]
    pub(super) fn overhear_hmac(&self, key: &[u8], input: &[u8]) {
        if key.len() == MASTER_SECRET_BYTES {
            self.note(key, &[input]);
        }
    }

    /// Keeps `key` if `input` shows that it is a master secret from which the keys of a session are derived.
    fn note(&self, key: &[u8], input: &[&[u8]]) {
        let Some(randoms) = input.last().and_then(|seed| seed.strip_prefix(LABEL)) else { return };
        if randoms.len() == 2 * RANDOM_BYTES {
            let client_random = randoms[RANDOM_BYTES..].to_vec();
            self.0.lock().expect("no panic while held").insert(client_random, key.to_vec());
        }
    }
}

struct Overheard {
    provider: Arc<dyn RTCCryptoProvider>,
    log: KeyLog,
}

impl RTCCryptoProvider for Overheard {
    fn name(&self) -> &'static str {
        self.provider.name()
    }

    fn crypto(&self) -> &dyn RTCCrypto {
        self
    }

    fn random(&self) -> &dyn RTCRandom {
        self.provider.random()
    }
}

impl RTCCrypto for Overheard {
    fn new_hmac(&self, algorithm: HmacAlgorithm, key: &[u8]) -> Result<Box<dyn Mac>, CryptoError> {
        let mac = self.provider.crypto().new_hmac(algorithm, key)?;
        if key.len() != MASTER_SECRET_BYTES {
            return Ok(mac);
        }
        Ok(Box::new(OverheardMac { mac, key: key.to_vec(), log: self.log.clone() }))
    }

    fn supports(&self, algorithm: CryptoAlgorithm) -> bool {
        self.provider.crypto().supports(algorithm)
    }

    fn hash(&self, algorithm: HashAlgorithm, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.provider.crypto().hash(algorithm, data)
    }

    fn block_encrypt(&self, algorithm: BlockCipherAlgorithm, key: &[u8], block: &mut [u8]) -> Result<(), CryptoError> {
        self.provider.crypto().block_encrypt(algorithm, key, block)
    }

    fn new_stream_cipher(
        &self,
        algorithm: StreamCipherAlgorithm,
        key: &[u8],
    ) -> Result<Box<dyn StreamCipher>, CryptoError> {
        self.provider.crypto().new_stream_cipher(algorithm, key)
    }

    fn new_aead(&self, algorithm: AeadAlgorithm, key: &[u8]) -> Result<Box<dyn AeadCipher>, CryptoError> {
        self.provider.crypto().new_aead(algorithm, key)
    }

    fn new_cbc(&self, algorithm: CbcAlgorithm, key: &[u8]) -> Result<Box<dyn CbcCipher>, CryptoError> {
        self.provider.crypto().new_cbc(algorithm, key)
    }

    fn start_key_exchange(&self, algorithm: KeyExchangeAlgorithm) -> Result<Box<dyn ActiveKeyExchange>, CryptoError> {
        self.provider.crypto().start_key_exchange(algorithm)
    }

    fn generate_signing_key(&self, scheme: SignatureScheme) -> Result<Arc<dyn SigningKey>, CryptoError> {
        self.provider.crypto().generate_signing_key(scheme)
    }

    fn import_signing_key(&self, scheme: SignatureScheme, pkcs8: &[u8]) -> Result<Arc<dyn SigningKey>, CryptoError> {
        self.provider.crypto().import_signing_key(scheme, pkcs8)
    }

    fn verify_signature(
        &self,
        scheme: SignatureScheme,
        public_key: PublicKey<'_>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        self.provider.crypto().verify_signature(scheme, public_key, message, signature)
    }
}

/// A MAC whose key may be a master secret.
struct OverheardMac {
    mac: Box<dyn Mac>,
    key: Vec<u8>,
    log: KeyLog,
}

impl Mac for OverheardMac {
    fn output_len(&self) -> usize {
        self.mac.output_len()
    }

    fn sign(&mut self, input: &[&[u8]], output: &mut [u8]) -> Result<(), CryptoError> {
        self.log.note(&self.key, input);
        self.mac.sign(input, output)
    }

    fn verify(&mut self, input: &[&[u8]], expected: &[u8]) -> Result<(), CryptoError> {
        self.mac.verify(input, expected)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}
