//! Room tokens: who may join which room until when, signed with a secret that the server shares with the application.
//!
//! `BASE64URL(claims) "." BASE64URL(HMAC-SHA256(secret, BASE64URL(claims)))`, without padding. The claims are a JSON
//! object with `exp`, Unix time in seconds, and optionally `room` and `user`. It is a JWS (RFC 7515 §3.1) without the
//! header: there is only one algorithm, so a client cannot request another.

use data_encoding::BASE64URL_NOPAD;
use ring::hmac;
use serde::Deserialize;

/// Maximum length of a token, in bytes: twice what the longest names need.
const TOKEN_BYTES_MAX: usize = 2048;

/// The claims of a token.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claims {
    /// The only room that may be joined; any room if absent.
    #[serde(default)]
    pub(crate) room: Option<String>,
    /// The only name that may be used; any name if absent.
    #[serde(default)]
    pub(crate) user: Option<String>,
    /// Unix time at which it expires.
    pub(crate) exp: u64,
}

/// Reads a token that was signed with `key`; `None` if it is invalid. Does not check the expiry.
pub(crate) fn verify(key: &hmac::Key, token: &str) -> Option<Claims> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let (claims, signature) = token.split_once('.')?;
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).ok()?;
    // In constant time.
    hmac::verify(key, claims.as_bytes(), &signature).ok()?;
    serde_json::from_slice(&BASE64URL_NOPAD.decode(claims.as_bytes()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, b"secret")
    }

    fn signed(claims: &str) -> String {
        let claims = BASE64URL_NOPAD.encode(claims.as_bytes());
        let signature = hmac::sign(&key(), claims.as_bytes());
        format!("{claims}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
    }

    #[test]
    fn what_was_signed_is_read() {
        let claims =
            verify(&key(), &signed(r#"{"room":"r \"1\"","user":"ana","exp":1900000000}"#)).expect("it is right");
        let expected = Claims { room: Some("r \"1\"".to_owned()), user: Some("ana".to_owned()), exp: 1_900_000_000 };
        assert_eq!(claims, expected);
        assert_eq!(verify(&key(), &signed(r#"{"exp":5}"#)), Some(Claims { room: None, user: None, exp: 5 }));
    }

    #[test]
    fn anything_else_is_not() {
        let good = signed(r#"{"room":"r","exp":5}"#);
        let (claims, signature) = good.split_once('.').expect("two parts");
        let other = BASE64URL_NOPAD.encode(br#"{"room":"s","exp":5}"#);
        for token in [
            String::new(),
            ".".to_owned(),
            claims.to_owned(),
            format!("{claims}."),
            format!(".{signature}"),
            format!("{other}.{signature}"),
            format!("{claims}.{}", &signature[1..]),
            format!("{good}="),
            format!("{good}.x"),
            format!(" {good}"),
            // Unknown claims may be meant as restrictions, so such tokens are rejected.
            signed(r#"{"room":"r","exp":5,"nbf":9}"#),
            signed(r#"{"room":"r"}"#),
            signed(r#"{"room":5,"exp":5}"#),
            signed(r#"{"exp":-5}"#),
            signed(r#"{"exp":5,"exp":6}"#),
            signed("[]"),
            signed(&format!(r#"{{"room":"{}","exp":5}}"#, "x".repeat(2000))),
        ] {
            assert_eq!(verify(&key(), &token), None, "{token}");
        }
        for at in 0..good.len() {
            let mut bytes = good.clone().into_bytes();
            bytes[at] ^= 1;
            let bent = String::from_utf8(bytes).expect("ASCII");
            assert_eq!(verify(&key(), &bent), None, "{bent}");
        }
    }
}
