//! DTLS for `str0m`: its own implementation `dimpl`, with the cryptography of `ring`.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use dimpl::crypto::{
    Aad, ActiveKeyExchange, Buf, Cipher, CryptoProvider, Dtls12CipherSuite, Dtls13CipherSuite, HashAlgorithm,
    HashContext, HashProvider, HmacProvider, KeyProvider, NamedGroup, Nonce, SecureRandom, SignatureAlgorithm,
    SignatureVerifier, SigningKey, SupportedDtls12CipherSuite, SupportedDtls13CipherSuite, SupportedKxGroup, TmpBuf,
    check_verify_scheme,
};
use dimpl::{Config, CryptoError, CryptoOperation};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{self, EcdsaKeyPair, UnparsedPublicKey};
use ring::{aead, agreement, digest, hmac};
use str0m::crypto::CryptoError as ProviderError;
use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, ProtocolVersion,
};

use super::certificate::public_key;
use super::crypto::{Gcm, aes_128_block};
use crate::peer::stack::KeyLog;

thread_local! {
    /// The log for the secrets of this thread's sessions. The library's providers are statics, and a simulation has a
    /// thread of its own.
    static KEYS: RefCell<Option<KeyLog>> = const { RefCell::new(None) };
    /// The configuration for datagrams of a size. It is made once for each thread: the library checks a provider, which
    /// costs more than a handshake.
    static CONFIG: RefCell<Option<(Option<usize>, Arc<Config>)>> = const { RefCell::new(None) };
}

/// Sets the log for the secrets of this thread's sessions.
pub(super) fn log_keys(keys: Option<KeyLog>) {
    KEYS.set(keys);
}

/// Creates DTLS associations.
#[derive(Debug)]
pub(super) struct Dtls;

impl DtlsProvider for Dtls {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        None
    }

    fn new_dtls(
        &self,
        certificate: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, ProviderError> {
        if version != DtlsVersion::Dtls12 {
            return Err(ProviderError::Other(format!("{version} is not offered")));
        }
        let known = CONFIG.with_borrow(|known| known.as_ref().filter(|(of, _)| *of == mtu).map(|(_, it)| it.clone()));
        let config = match known {
            Some(config) => config,
            None => {
                let config = Arc::new(config(mtu).map_err(ProviderError::DtlsImpl)?);
                CONFIG.set(Some((mtu, config.clone())));
                config
            }
        };
        Ok(Box::new(Instance(dimpl::Dtls::new_12(config, certificate.clone(), now))))
    }
}

fn config(mtu: Option<usize>) -> Result<Config, DtlsImplError> {
    // ICE has verified that the other side can be reached, which is what a cookie is for.
    let builder = Config::builder().with_crypto_provider(provider()).use_server_cookie(false);
    match mtu {
        Some(mtu) => builder.mtu(mtu).build(),
        None => builder.build(),
    }
}

#[derive(Debug)]
struct Instance(dimpl::Dtls);

impl DtlsInstance for Instance {
    fn set_active(&mut self, active: bool) {
        self.0.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.0.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buf: &'a mut [u8]) -> DtlsOutput<'a> {
        self.0.poll_output(buf)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.0.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.0.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.0.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.0.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.0.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.0.close()
    }
}

/// The provider of `dimpl`. It has the suite that both stacks and all browsers have. The one for DTLS 1.3 is not offered;
/// the library demands one.
fn provider() -> CryptoProvider {
    CryptoProvider {
        kx_groups: &[&Group::X25519, &Group::P256],
        signature_verification: &Ring,
        key_provider: &Ring,
        secure_random: &Ring,
        hash_provider: &Ring,
        hmac_provider: &Ring,
        cipher_suites: &[&Ring],
        dtls13_cipher_suites: &[&Ring],
    }
}

#[derive(Debug)]
struct Ring;

fn failed(operation: CryptoOperation) -> CryptoError {
    CryptoError::OperationFailed(operation)
}

impl SecureRandom for Ring {
    fn fill(&self, buf: &mut [u8]) -> Result<(), CryptoError> {
        SystemRandom::new().fill(buf).map_err(|_| failed(CryptoOperation::FillRandom))
    }
}

// ---- hashes

impl HashProvider for Ring {
    fn create_hash(&self, algorithm: HashAlgorithm) -> Box<dyn HashContext> {
        assert_eq!(algorithm, HashAlgorithm::SHA256, "the hash of the only suite");
        Box::new(Sha256(digest::Context::new(&digest::SHA256)))
    }
}

struct Sha256(digest::Context);

impl std::fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sha256(…)")
    }
}

impl HashContext for Sha256 {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn clone_and_finalize(&self, out: &mut Buf) {
        out.clear();
        out.extend_from_slice(self.0.clone().finish().as_ref());
    }
}

impl HmacProvider for Ring {
    /// All keys of a session are derived by HMAC from the master secret, so a key log overhears it here.
    fn hmac(&self, hash: HashAlgorithm, key: &[u8], data: &[u8], out: &mut [u8]) -> Result<usize, CryptoError> {
        if hash != HashAlgorithm::SHA256 {
            return Err(CryptoError::UnsupportedHmacHash(hash));
        }
        KEYS.with_borrow(|keys| keys.iter().for_each(|log| log.overhear_hmac(key, data)));
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data);
        out[..mac.as_ref().len()].copy_from_slice(mac.as_ref());
        Ok(mac.as_ref().len())
    }
}

// ---- records: TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 (RFC 5289)

impl SupportedDtls12CipherSuite for Ring {
    fn suite(&self) -> Dtls12CipherSuite {
        Dtls12CipherSuite::ECDHE_ECDSA_AES128_GCM_SHA256
    }

    fn hash_algorithm(&self) -> HashAlgorithm {
        HashAlgorithm::SHA256
    }

    /// No MAC key, 16 bytes of key, 4 bytes of fixed nonce.
    fn key_lengths(&self) -> (usize, usize, usize) {
        (0, 16, 4)
    }

    fn explicit_nonce_len(&self) -> usize {
        8
    }

    fn tag_len(&self) -> usize {
        16
    }

    fn create_cipher(&self, key: &[u8]) -> Result<Box<dyn Cipher>, CryptoError> {
        Ok(Box::new(Gcm::new(&aead::AES_128_GCM, key)))
    }
}

impl SupportedDtls13CipherSuite for Ring {
    fn suite(&self) -> Dtls13CipherSuite {
        Dtls13CipherSuite::AES_128_GCM_SHA256
    }

    fn hash_algorithm(&self) -> HashAlgorithm {
        HashAlgorithm::SHA256
    }

    fn key_len(&self) -> usize {
        16
    }

    fn iv_len(&self) -> usize {
        12
    }

    fn tag_len(&self) -> usize {
        16
    }

    fn create_cipher(&self, key: &[u8]) -> Result<Box<dyn Cipher>, CryptoError> {
        Ok(Box::new(Gcm::new(&aead::AES_128_GCM, key)))
    }

    fn encrypt_sn(&self, key: &[u8], sample: &[u8; 16]) -> [u8; 16] {
        aes_128_block(key, sample)
    }
}

impl Cipher for Gcm {
    fn encrypt(&mut self, data: &mut Buf, aad: Aad, nonce: Nonce) -> Result<(), CryptoError> {
        let tag = self.seal(nonce.0, &aad, data).ok_or(failed(CryptoOperation::Encrypt))?;
        data.extend_from_slice(tag.as_ref());
        Ok(())
    }

    fn decrypt(&mut self, data: &mut TmpBuf<'_>, aad: Aad, nonce: Nonce) -> Result<(), CryptoError> {
        let length = self.open(nonce.0, &aad, data.as_mut()).ok_or(failed(CryptoOperation::Decrypt))?;
        data.truncate(length);
        Ok(())
    }
}

// ---- key exchange

#[derive(Clone, Copy, Debug)]
enum Group {
    X25519,
    P256,
}

impl Group {
    fn algorithm(self) -> &'static agreement::Algorithm {
        match self {
            Self::X25519 => &agreement::X25519,
            Self::P256 => &agreement::ECDH_P256,
        }
    }
}

impl SupportedKxGroup for Group {
    fn name(&self) -> NamedGroup {
        match self {
            Self::X25519 => NamedGroup::X25519,
            Self::P256 => NamedGroup::Secp256r1,
        }
    }

    fn start_exchange(&self, mut public: Buf) -> Result<Box<dyn ActiveKeyExchange>, CryptoError> {
        let start = || {
            let private = agreement::EphemeralPrivateKey::generate(self.algorithm(), &SystemRandom::new())?;
            let key = private.compute_public_key()?;
            Ok((private, key))
        };
        let (private, key) =
            start().map_err(|_: ring::error::Unspecified| failed(CryptoOperation::StartKeyExchange))?;
        public.clear();
        public.extend_from_slice(key.as_ref());
        Ok(Box::new(Exchange { group: *self, private, public }))
    }
}

#[derive(Debug)]
struct Exchange {
    group: Group,
    private: agreement::EphemeralPrivateKey,
    public: Buf,
}

impl ActiveKeyExchange for Exchange {
    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn complete(self: Box<Self>, peer: &[u8], out: &mut Buf) -> Result<(), CryptoError> {
        let peer = agreement::UnparsedPublicKey::new(self.group.algorithm(), peer);
        let keep = |secret: &[u8]| {
            out.clear();
            out.extend_from_slice(secret);
        };
        agreement::agree_ephemeral(self.private, &peer, keep)
            .map_err(|_| CryptoError::InvalidPublicKey(self.group.name()))
    }

    fn group(&self) -> NamedGroup {
        self.group.name()
    }
}

// ---- signatures

impl KeyProvider for Ring {
    fn load_private_key(&self, pkcs8: &[u8]) -> Result<Box<dyn SigningKey>, CryptoError> {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8, &random);
        Ok(Box::new(P256Key(key.map_err(|_| CryptoError::InvalidPrivateKey)?)))
    }
}

#[derive(Debug)]
struct P256Key(EcdsaKeyPair);

impl SigningKey for P256Key {
    fn sign(&mut self, data: &[u8], hash: HashAlgorithm, out: &mut Buf) -> Result<(), CryptoError> {
        if hash != HashAlgorithm::SHA256 {
            return Err(CryptoError::SigningKeyUnsupportedHash { group: NamedGroup::Secp256r1, hash });
        }
        let signature = self.0.sign(&SystemRandom::new(), data).map_err(|_| failed(CryptoOperation::Sign))?;
        out.clear();
        out.extend_from_slice(signature.as_ref());
        Ok(())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }

    fn hash_algorithm(&self) -> HashAlgorithm {
        HashAlgorithm::SHA256
    }

    fn supported_hash_algorithms(&self) -> &[HashAlgorithm] {
        &[HashAlgorithm::SHA256]
    }
}

impl SignatureVerifier for Ring {
    fn verify_signature(
        &self,
        certificate: &[u8],
        data: &[u8],
        signature: &[u8],
        hash: HashAlgorithm,
        algorithm: SignatureAlgorithm,
    ) -> Result<(), CryptoError> {
        let (group, point) = public_key(certificate)?;
        check_verify_scheme(algorithm, hash, group)?;
        let scheme: &'static dyn signature::VerificationAlgorithm = match (group, hash) {
            (NamedGroup::Secp256r1, HashAlgorithm::SHA256) => &signature::ECDSA_P256_SHA256_ASN1,
            (NamedGroup::Secp256r1, _) => &signature::ECDSA_P256_SHA384_ASN1,
            (_, HashAlgorithm::SHA256) => &signature::ECDSA_P384_SHA256_ASN1,
            _ => &signature::ECDSA_P384_SHA384_ASN1,
        };
        UnparsedPublicKey::new(scheme, point)
            .verify(data, signature)
            .map_err(|_| CryptoError::SignatureVerificationFailed { signature: algorithm, hash, group })
    }
}
