//! The certificate of a client, and the public key in the certificate of another.

use dimpl::CryptoError;
use dimpl::crypto::NamedGroup;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use str0m::config::DtlsCert;

/// The DER tags that lead to the public key.
const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
const OBJECT_IDENTIFIER: u8 = 0x06;
/// The tag of a certificate's version, which is optional.
const VERSION: u8 = 0xa0;
/// The number of fields of a certificate between its version and its public key: serial number, signature algorithm,
/// issuer, validity, subject. RFC 5280 §4.1.
const FIELDS_BEFORE_KEY: usize = 5;

/// `id-ecPublicKey`, 1.2.840.10045.2.1. RFC 5480 §2.1.1.
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// `secp256r1`, 1.2.840.10045.3.1.7. RFC 5480 §2.1.1.1.
const SECP256R1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// `secp384r1`, 1.3.132.0.34.
const SECP384R1: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];

/// A certificate that carries `name`, with a new key.
pub(super) fn generate(name: &str) -> Result<DtlsCert, rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = CertificateParams::new(vec![name.to_owned()])?.self_signed(&key)?;
    Ok(DtlsCert { certificate: certificate.der().to_vec(), private_key: key.serialize_der() })
}

/// The curve and the point of the public key of a certificate.
pub(super) fn public_key(certificate: &[u8]) -> Result<(NamedGroup, &[u8]), CryptoError> {
    let (algorithm, key) = fields(certificate).ok_or(CryptoError::CertificateParseFailed)?;
    let (kind, curve) = read(algorithm, OBJECT_IDENTIFIER).ok_or(CryptoError::CertificateParseFailed)?;
    if kind != EC_PUBLIC_KEY {
        return Err(CryptoError::UnsupportedPublicKeyAlgorithm);
    }
    let group = match read(curve, OBJECT_IDENTIFIER) {
        Some((SECP256R1, _)) => NamedGroup::Secp256r1,
        Some((SECP384R1, _)) => NamedGroup::Secp384r1,
        Some(_) => return Err(CryptoError::UnsupportedEcCurve),
        None => return Err(CryptoError::MissingEcCurveParameter),
    };
    // The first byte counts the unused bits of the last one.
    let point = key.strip_prefix(&[0]).ok_or(CryptoError::InvalidSubjectPublicKey)?;
    Ok((group, point))
}

/// The algorithm and the bits of a certificate's public key.
fn fields(certificate: &[u8]) -> Option<(&[u8], &[u8])> {
    let (certificate, _) = read(certificate, SEQUENCE)?;
    let (mut rest, _) = read(certificate, SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        (_, rest) = read(rest, VERSION)?;
    }
    for _ in 0..FIELDS_BEFORE_KEY {
        (_, rest) = read(rest, *rest.first()?)?;
    }
    let (info, _) = read(rest, SEQUENCE)?;
    let (algorithm, rest) = read(info, SEQUENCE)?;
    let (key, _) = read(rest, BIT_STRING)?;
    Some((algorithm, key))
}

/// Reads a value with this tag: its content, and what follows. X.690 §8.1.
fn read(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = der.strip_prefix(&[tag])?.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_certificate_is_found_and_no_other_certificate_is_accepted() {
        let DtlsCert { certificate, private_key } = generate("ana").expect("a certificate");
        let key = KeyPair::try_from(private_key.as_slice()).expect("it is PKCS #8");
        let (group, point) = public_key(&certificate).expect("it is an EC key");
        assert_eq!((group, point), (NamedGroup::Secp256r1, key.public_key_raw()));
        for length in 0..certificate.len() {
            assert!(public_key(&certificate[..length]).is_err(), "cut off after {length} bytes");
        }
        let at = certificate.windows(SECP256R1.len()).position(|part| part == SECP256R1).expect("it names its curve");
        let mut other = certificate;
        other[at + SECP256R1.len() - 1] = 1;
        assert_eq!(public_key(&other).unwrap_err(), CryptoError::UnsupportedEcCurve);
    }
}
