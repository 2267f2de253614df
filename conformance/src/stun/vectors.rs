//! Test vectors: RFC 5769 §2 and RFC 8489 appendix B.1.

/// RFC 5769 §2.1: an ICE request with SOFTWARE, PRIORITY, ICE-CONTROLLED, USERNAME, MESSAGE-INTEGRITY, FINGERPRINT.
pub(crate) const REQUEST: &str = "000100582112a442b7e7a701bc34d686fa87dfae\
    802200105354554e207465737420636c69656e74 002400046e0001ff 80290008932ff9b151263b36\
    000600096576746a3a68367659202020 000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2 80280004e57a3bcf";

/// RFC 5769 §2.4: a request with a long-term credential.
pub(crate) const LONG_TERM_REQUEST: &str = "000100602112a44278ad3433c6ad72c029da412e\
    00060012e3839ee38388e383aae38383e382afe382b90000\
    0015001c662f2f3439396b39353464364f4c33346f4c39465354767936347341\
    0014000b6578616d706c652e6f726700 00080014f67024656dd64a3e02b8e0712e85c9a28ca89666";

/// Decodes hexadecimal digits with spaces between them.
pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().filter(|digit| !digit.is_whitespace()).collect();
    let byte = |pair: &[char]| pair.iter().fold(0, |byte, digit| byte << 4 | digit.to_digit(16).expect("hexadecimal"));
    digits.chunks(2).map(|pair| byte(pair) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::super::crypto::{PasswordAlgorithm, long_term_key};
    use super::super::names::{attr, method};
    use super::super::wire::{Class, Draft, Message};
    use super::*;

    const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";
    const RESPONSE_V4: &str = "0101003c2112a442b7e7a701bc34d686fa87dfae\
        8022000b7465737420766563746f7220 002000080001a147e112a643\
        000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7 80280004c07d4c96";
    const RESPONSE_V6: &str = "010100482112a442b7e7a701bc34d686fa87dfae\
        8022000b7465737420766563746f7220 002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9\
        00080014a382954e4be67bf11784c97c8292c275bfe3ed41 80280004c8fb0b4c";
    const SHA256_REQUEST: &str = "000100902112a44278ad3433c6ad72c029da412e\
        001e00204a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704\
        001500296f624d61744a6f733241414143662f2f3439396b39353464364f4c33346f4c39465354767936347341000000\
        0014000b6578616d706c652e6f726700 001d000400020000\
        001c0020b5c7bf005b6c52a21c51c5e892f81924136296cb927c43149309278cc6518e65";
    const USER: &str = "マトリックス";

    fn parse(hex: &str) -> Message {
        Message::parse(&bytes(hex)).expect("a good message")
    }

    #[test]
    fn the_sample_request_is_read_and_its_seals_hold() {
        let message = parse(REQUEST);
        assert_eq!((message.class, message.method), (Class::Request, method::BINDING));
        assert_eq!(message.text(attr::SOFTWARE).as_deref(), Some("STUN test client"));
        assert_eq!(message.text(attr::USERNAME).as_deref(), Some("evtj:h6vY"));
        assert!(message.is_sealed(PASSWORD));
        assert!(!message.is_sealed(b"another"));
        // RFC 5769 pads with spaces: "the padding bits are not checked".
        assert_eq!(message.faults(), ["the padding of USERNAME is not zero"]);
    }

    #[test]
    fn the_sample_responses_are_read() {
        for (hex, address) in
            [(RESPONSE_V4, "192.0.2.1:32853"), (RESPONSE_V6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853")]
        {
            let message = parse(hex);
            assert_eq!((message.class, message.method), (Class::Success, method::BINDING));
            let mapped = message.xor_address(attr::XOR_MAPPED_ADDRESS).expect("an address").expect("it is there");
            assert_eq!(mapped.to_string(), address);
            assert!(message.is_sealed(PASSWORD));
            assert_eq!(message.faults(), ["the padding of SOFTWARE is not zero"]);
        }
    }

    #[test]
    fn the_same_request_is_written() {
        let id = parse(REQUEST).id;
        let draft = Draft::new(method::BINDING, Class::Request, id)
            .with(attr::SOFTWARE, "STUN test client")
            .with(attr::PRIORITY, [0x6e, 0, 1, 0xff])
            .with(0x8029, 0x932f_f9b1_5126_3b36_u64.to_be_bytes())
            .with_padding(attr::USERNAME, "evtj:h6vY", b' ')
            .sealed(PASSWORD)
            .with_fingerprint();
        assert_eq!(draft.bytes, bytes(REQUEST));
    }

    #[test]
    fn the_same_response_is_written() {
        let (message, mapped) = (parse(RESPONSE_V6), "[2001:db8:1234:5678:11:2233:4455:6677]:32853");
        let draft = Draft::new(method::BINDING, Class::Success, message.id)
            .with_padding(attr::SOFTWARE, "test vector", b' ')
            .with_xor_address(attr::XOR_MAPPED_ADDRESS, mapped.parse().expect("an address"))
            .sealed(PASSWORD)
            .with_fingerprint();
        assert_eq!(draft.bytes, bytes(RESPONSE_V6));
    }

    #[test]
    fn a_long_term_credential_is_checked_and_written() {
        let message = parse(LONG_TERM_REQUEST);
        let key = long_term_key(PasswordAlgorithm::Md5, USER, "example.org", "TheMatrIX");
        assert!(message.is_sealed(&key));
        let draft = Draft::new(method::BINDING, Class::Request, message.id)
            .with(attr::USERNAME, USER)
            .with(attr::NONCE, "f//499k954d6OL34oL9FSTvy64sA")
            .with(attr::REALM, "example.org")
            .sealed(&key);
        assert_eq!(draft.bytes, bytes(LONG_TERM_REQUEST));
    }

    #[test]
    fn a_sha256_credential_is_checked_and_written() {
        let message = parse(SHA256_REQUEST);
        let key = long_term_key(PasswordAlgorithm::Sha256, USER, "example.org", "TheMatrIX");
        assert!(message.is_sealed_sha256(&key));
        let draft = Draft::new(method::BINDING, Class::Request, message.id)
            .with(0x001e, message.get(0x001e).expect("USERHASH"))
            .with(attr::NONCE, "obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA")
            .with(attr::REALM, "example.org")
            .with(attr::PASSWORD_ALGORITHM, [0, 2, 0, 0])
            .sealed_sha256(&key);
        assert_eq!(draft.bytes, bytes(SHA256_REQUEST));
    }

    #[test]
    fn any_flipped_bit_of_a_sealed_message_shows() {
        let good = bytes(RESPONSE_V4);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let shows = Message::parse(&bad).map_or(true, |message| {
                message.faults().iter().any(|fault| fault.contains("FINGERPRINT")) || !message.has(attr::FINGERPRINT)
            });
            assert!(shows, "bit {bit}");
        }
    }

    #[test]
    fn no_prefix_and_no_garbage_panics() {
        let good = bytes(REQUEST);
        assert!((0..good.len()).all(|length| Message::parse(&good[..length]).is_err()));
        let mut state = 1_u64;
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..3 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = (state >> 33) as usize % bytes.len();
                bytes[at] = (state >> 25) as u8;
            }
            if let Ok(message) = Message::parse(&bytes) {
                let _ = (message.to_string(), message.faults(), message.error(), message.is_sealed(PASSWORD));
                let _ = message.xor_address(attr::XOR_MAPPED_ADDRESS);
            }
        }
    }
}
