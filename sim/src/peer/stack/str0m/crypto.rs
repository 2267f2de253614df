//! The cryptography of `str0m`: hashes, and the ciphers of SRTP. All of it is `ring`, and what `ring` does not have comes
//! from the provider of `rtc`, so that both stacks draw their randomness through the entropy shim.

use ring::{aead, digest};
use rtc::crypto::providers::RingCrypto;
use rtc::crypto::{BlockCipherAlgorithm, HmacAlgorithm, RTCCrypto, StreamCipherAlgorithm};
use sha1::{Digest, Sha1};
use str0m::crypto::{
    AeadAes128GcmCipher, AeadAes256GcmCipher, Aes128CmSha1_80Cipher, CryptoError, CryptoProvider, Sha1HmacProvider,
    Sha1Provider, Sha256Provider, SrtpProvider, SupportedAeadAes128Gcm, SupportedAeadAes256Gcm,
    SupportedAes128CmSha1_80,
};

use super::dtls::Dtls;

/// Size of an AES block, bytes.
const BLOCK: usize = 16;

/// The provider of all connections.
pub(super) fn provider() -> CryptoProvider {
    CryptoProvider {
        srtp_provider: &Ring,
        sha1_hmac_provider: &Ring,
        sha1_provider: &Ring,
        sha256_provider: &Ring,
        dtls_provider: &Dtls,
    }
}

#[derive(Debug)]
struct Ring;

impl Sha1HmacProvider for Ring {
    fn sha1_hmac(&self, key: &[u8], payloads: &[&[u8]]) -> [u8; 20] {
        let mut mac = [0; 20];
        let hmac = RingCrypto.new_hmac(HmacAlgorithm::Sha1, key);
        hmac.and_then(|mut hmac| hmac.sign(payloads, &mut mac)).expect("HMAC-SHA1 takes any key and any input");
        mac
    }
}

impl Sha1Provider for Ring {
    fn sha1(&self, data: &[u8]) -> [u8; 20] {
        Sha1::digest(data).into()
    }
}

impl Sha256Provider for Ring {
    fn sha256(&self, data: &[u8]) -> [u8; 32] {
        digest::digest(&digest::SHA256, data).as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}

impl SrtpProvider for Ring {
    fn aes_128_cm_sha1_80(&self) -> &'static dyn SupportedAes128CmSha1_80 {
        &Ring
    }

    fn aead_aes_128_gcm(&self) -> &'static dyn SupportedAeadAes128Gcm {
        &Ring
    }

    fn aead_aes_256_gcm(&self) -> &'static dyn SupportedAeadAes256Gcm {
        &Ring
    }

    fn srtp_aes_128_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        ecb(BlockCipherAlgorithm::Aes128, key, input, output);
    }

    fn srtp_aes_256_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        ecb(BlockCipherAlgorithm::Aes256, key, input, output);
    }
}

/// Encrypts one block. The library reads the first block of `output`; in its other providers a block of padding follows.
fn ecb(algorithm: BlockCipherAlgorithm, key: &[u8], input: &[u8], output: &mut [u8]) {
    output[..BLOCK].copy_from_slice(&input[..BLOCK]);
    RingCrypto.block_encrypt(algorithm, key, &mut output[..BLOCK]).expect("the library passes a key of the right size");
}

/// One block of AES-128.
pub(super) fn aes_128_block(key: &[u8], block: &[u8; BLOCK]) -> [u8; BLOCK] {
    let mut out = *block;
    RingCrypto.block_encrypt(BlockCipherAlgorithm::Aes128, key, &mut out).expect("the key has 16 bytes");
    out
}

impl SupportedAes128CmSha1_80 for Ring {
    fn create_cipher(&self, key: [u8; 16], _encrypt: bool) -> Box<dyn Aes128CmSha1_80Cipher> {
        Box::new(Aes128Cm(key))
    }
}

impl SupportedAeadAes128Gcm for Ring {
    fn create_cipher(&self, key: [u8; 16], _encrypt: bool) -> Box<dyn AeadAes128GcmCipher> {
        Box::new(Gcm::new(&aead::AES_128_GCM, &key))
    }
}

impl SupportedAeadAes256Gcm for Ring {
    fn create_cipher(&self, key: [u8; 32], _encrypt: bool) -> Box<dyn AeadAes256GcmCipher> {
        Box::new(Gcm::new(&aead::AES_256_GCM, &key))
    }
}

#[derive(Debug)]
struct Aes128Cm([u8; 16]);

impl Aes128CmSha1_80Cipher for Aes128Cm {
    fn encrypt(&mut self, iv: &[u8; 16], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        let output = &mut output[..input.len()];
        output.copy_from_slice(input);
        let cipher = RingCrypto.new_stream_cipher(StreamCipherAlgorithm::Aes128Ctr, &self.0);
        cipher.and_then(|mut cipher| cipher.apply_keystream(iv, output)).map_err(|error| other(&error))
    }

    fn decrypt(&mut self, iv: &[u8; 16], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        self.encrypt(iv, input, output)
    }
}

/// AES-GCM with 16 bytes of tag behind the ciphertext.
pub(super) struct Gcm(aead::LessSafeKey);

impl std::fmt::Debug for Gcm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gcm(…)")
    }
}

impl Gcm {
    /// # Panics
    /// The key has not the size that the algorithm demands.
    pub(super) fn new(algorithm: &'static aead::Algorithm, key: &[u8]) -> Self {
        Self(aead::LessSafeKey::new(aead::UnboundKey::new(algorithm, key).expect("the key has the algorithm's size")))
    }

    /// Encrypts in place, and returns the tag.
    pub(super) fn seal(&self, nonce: [u8; 12], aad: &[u8], data: &mut [u8]) -> Option<aead::Tag> {
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        self.0.seal_in_place_separate_tag(nonce, aead::Aad::from(aad), data).ok()
    }

    /// Decrypts in place, and returns the length of the plaintext, which is at the start of `data`.
    pub(super) fn open(&self, nonce: [u8; 12], aad: &[u8], data: &mut [u8]) -> Option<usize> {
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        self.0.open_in_place(nonce, aead::Aad::from(aad), data).ok().map(|plain| plain.len())
    }

    fn encrypt_to(&self, iv: [u8; 12], aad: &[u8], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        let (text, tag) = output.split_at_mut(input.len());
        text.copy_from_slice(input);
        let sealed = self.seal(iv, aad, text).ok_or_else(|| other(&"encryption failed"))?;
        tag[..sealed.as_ref().len()].copy_from_slice(sealed.as_ref());
        Ok(())
    }

    fn decrypt_to(&self, iv: [u8; 12], aads: &[&[u8]], input: &[u8], output: &mut [u8]) -> Result<usize, CryptoError> {
        let mut data = input.to_vec();
        let length = self.open(iv, &aads.concat(), &mut data).ok_or_else(|| other(&"decryption failed"))?;
        output[..length].copy_from_slice(&data[..length]);
        Ok(length)
    }
}

impl AeadAes128GcmCipher for Gcm {
    fn encrypt(&mut self, iv: &[u8; 12], aad: &[u8], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        self.encrypt_to(*iv, aad, input, output)
    }

    fn decrypt(&mut self, iv: &[u8; 12], aads: &[&[u8]], input: &[u8], out: &mut [u8]) -> Result<usize, CryptoError> {
        self.decrypt_to(*iv, aads, input, out)
    }
}

impl AeadAes256GcmCipher for Gcm {
    fn encrypt(&mut self, iv: &[u8; 12], aad: &[u8], input: &[u8], output: &mut [u8]) -> Result<(), CryptoError> {
        self.encrypt_to(*iv, aad, input, output)
    }

    fn decrypt(&mut self, iv: &[u8; 12], aads: &[&[u8]], input: &[u8], out: &mut [u8]) -> Result<usize, CryptoError> {
        self.decrypt_to(*iv, aads, input, out)
    }
}

fn other(error: &dyn std::fmt::Display) -> CryptoError {
    CryptoError::Other(error.to_string())
}
