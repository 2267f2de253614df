//! Keys, HMACs and the CRC of RFC 8489 §9.2.2, §14.5–14.7, §18.5.1.

use hmac::{Hmac, Mac};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// How a key is derived from a password (RFC 8489 §18.5.1). The value is the algorithm's number in PASSWORD-ALGORITHM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PasswordAlgorithm {
    Md5 = 1,
    Sha256 = 2,
}

/// The key of a long-term credential. User, realm and password are used unchanged: OpaqueString does not alter ASCII,
/// and other text has to be in normalisation form C already.
pub(crate) fn long_term_key(algorithm: PasswordAlgorithm, user: &str, realm: &str, password: &str) -> Vec<u8> {
    let text = format!("{user}:{realm}:{password}");
    match algorithm {
        PasswordAlgorithm::Md5 => Md5::digest(text).to_vec(),
        PasswordAlgorithm::Sha256 => Sha256::digest(text).to_vec(),
    }
}

/// The value of USERHASH (RFC 8489 §14.4), of names that OpaqueString does not alter.
pub(crate) fn userhash(user: &str, realm: &str) -> Vec<u8> {
    Sha256::digest(format!("{user}:{realm}")).to_vec()
}

pub(crate) fn hmac_sha1(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

pub(crate) fn hmac_sha256(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// The value of FINGERPRINT. The message's length field must already count that attribute.
pub(crate) fn fingerprint(covered: &[u8]) -> u32 {
    crc32(covered) ^ 0x5354_554e
}

/// The CRC of ITU V.42, bit by bit: messages are short, so a table would not pay.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// That of the test vector in RFC 8489 §B.1.
    #[test]
    fn the_userhash_is_that_of_the_specification() {
        let hash = userhash("\u{30de}\u{30c8}\u{30ea}\u{30c3}\u{30af}\u{30b9}", "example.org");
        assert_eq!(hash[..16], 0x4a3c_f38f_ef69_92bd_a952_c678_0417_da0f_u128.to_be_bytes());
        assert_eq!(hash[16..], 0x2481_9415_569e_60b2_05c4_6e41_407f_1704_u128.to_be_bytes());
    }

    #[test]
    fn the_crc_is_that_of_v42() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926, "the check value of CRC-32");
    }

    //= https://www.rfc-editor.org/rfc/rfc8489#section-9.2.2
    //# For example, if the username is 'user', the realm is 'realm', and the password is 'pass', then the 16-byte HMAC key
    //# would be the result of performing an MD5 hash on the string 'user:realm:pass', the resulting hash being
    //# 0x8493fbc53ba582fb4c044c456bdc40eb.
    #[test]
    fn the_key_is_that_of_the_specification() {
        let key = long_term_key(PasswordAlgorithm::Md5, "user", "realm", "pass");
        assert_eq!(key, 0x8493_fbc5_3ba5_82fb_4c04_4c45_6bdc_40eb_u128.to_be_bytes());
    }
}
