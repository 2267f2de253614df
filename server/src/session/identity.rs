//! Client ids: ten characters of base 36, each id only once.

use std::fmt;

use rand_core::RngCore;

use crate::random::{Entropy, Random};

/// Length of an id in characters.
const LENGTH: usize = 10;
/// Number of different ids: 36¹⁰ ≈ 3.7 × 10¹⁵, a little less than 2⁵².
const SPACE: u64 = 36_u64.pow(LENGTH as u32);
/// Half of the 52 bits that hold an id.
const HALF_BITS: u32 = 26;
const HALF_MASK: u64 = (1 << HALF_BITS) - 1;

/// A client's id on the wire, issued by the server.
#[derive(Clone, Copy, Eq, PartialOrd, Ord)]
pub(crate) struct ClientId([u8; LENGTH]);

impl ClientId {
    fn from_number(mut number: u64) -> Self {
        let mut text = [b'0'; LENGTH];
        for character in text.iter_mut().rev() {
            *character = b"0123456789abcdefghijklmnopqrstuvwxyz"[(number % 36) as usize];
            number /= 36;
        }
        Self(text)
    }

    /// Reads an id from the wire; `None` if the text cannot be an id.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        text.as_bytes().try_into().ok().map(Self)
    }

    pub(crate) fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("an id is made of text")
    }
}

/// Compares two numbers instead of ten bytes, which is much faster. Searching a large room consists of these
/// comparisons.
impl PartialEq for ClientId {
    fn eq(&self, other: &Self) -> bool {
        let numbers = |id: &Self| {
            let [a, b, c, d, e, f, g, h, i, j] = id.0;
            (u64::from_ne_bytes([a, b, c, d, e, f, g, h]), u16::from_ne_bytes([i, j]))
        };
        numbers(self) == numbers(other)
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Issues ids. In a simulation, the *n*-th id is the *n*-th value of a keyed permutation of all 36¹⁰ ids. So no id
/// repeats, no list of used ids is needed, and ids do not look like a counter. Otherwise the operating system draws each
/// id, so that known ids tell nothing about others; among a million ids, two are the same once in 7,000 runs.
#[derive(Debug)]
pub(crate) struct ClientIds {
    issued: u64,
    round_keys: [u64; 4],
    random: Random,
}

impl ClientIds {
    pub(crate) fn new(entropy: impl Into<Entropy>) -> Self {
        let mut random = entropy.into().stream(0);
        Self { issued: 0, round_keys: std::array::from_fn(|_| random.next_u64()), random }
    }

    pub(crate) fn issue(&mut self) -> ClientId {
        let mut number = match &mut self.random {
            Random::Seeded(_) => self.permute(self.issued),
            system @ Random::System => system.next_u64() >> (64 - 2 * HALF_BITS),
        };
        // Cycle walking: a permutation of 52 bits becomes one of the smaller space.
        while number >= SPACE {
            number = self.permute(number);
        }
        self.issued = (self.issued + 1) % SPACE;
        ClientId::from_number(number)
    }

    /// A balanced Feistel network over 52 bits: whatever the round function, it is a permutation.
    fn permute(&self, number: u64) -> u64 {
        let (mut left, mut right) = (number >> HALF_BITS, number & HALF_MASK);
        for key in self.round_keys {
            let mixed = (right ^ key).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - HALF_BITS);
            (left, right) = (right, left ^ mixed);
        }
        left << HALF_BITS | right
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_of_the_system_differ_from_run_to_run() {
        let ids = || {
            let mut ids = ClientIds::new(Entropy::System);
            (0..1000).map(|_| ids.issue()).collect::<BTreeSet<_>>()
        };
        let (some, others) = (ids(), ids());
        assert_eq!((some.len(), others.len(), some.intersection(&others).count()), (1000, 1000, 0));
    }

    #[test]
    fn ids_are_base_36_differ_and_follow_the_seed() {
        let ids = |seed: u64| {
            let mut ids = ClientIds::new(seed);
            (0..100_000).map(|_| ids.issue()).collect::<Vec<_>>()
        };
        let some = ids(7);
        assert!(some.iter().all(|id| id.as_str().bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())));
        assert_eq!(some.iter().collect::<BTreeSet<_>>().len(), some.len());
        assert_eq!(some, ids(7));
        assert_ne!(some, ids(8));
        let first_characters: BTreeSet<u8> = some[..1000].iter().map(|id| id.0[0]).collect();
        assert!(first_characters.len() > 30, "they look like a counter: {:?}", &some[..5]);
    }
}
