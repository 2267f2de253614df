//! Where ids, nonces and tokens come from: a seed in a simulation, the operating system on a real network.

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use ring::rand::{SecureRandom, SystemRandom};

/// The source of all randomness of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Randomness {
    /// Everything follows from [`Config::seed`](crate::Config::seed), so that a run repeats exactly. Whoever knows or
    /// guesses the seed knows every id.
    #[default]
    Seed,
    /// The operating system, for every id, nonce and token.
    System,
}

/// The same with the seed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entropy {
    Seed(u64),
    System,
}

/// One independent stream of random numbers.
#[derive(Debug)]
pub(crate) enum Random {
    /// Boxed, because it is large and the other one is nothing.
    Seeded(Box<ChaCha8Rng>),
    System,
}

impl From<u64> for Entropy {
    fn from(seed: u64) -> Self {
        Self::Seed(seed)
    }
}

impl Entropy {
    /// Another seed, for ids that must differ from those of this one.
    pub(crate) fn differing_by(self, difference: u64) -> Self {
        match self {
            Self::Seed(seed) => Self::Seed(seed ^ difference),
            Self::System => Self::System,
        }
    }

    /// The stream with this number.
    pub(crate) fn stream(self, number: u64) -> Random {
        match self {
            Self::Seed(seed) => {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                rng.set_stream(number);
                Random::Seeded(Box::new(rng))
            }
            Self::System => Random::System,
        }
    }
}

impl RngCore for Random {
    fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }

    fn next_u64(&mut self) -> u64 {
        match self {
            Self::Seeded(rng) => rng.next_u64(),
            Self::System => {
                let mut bytes = [0; 8];
                self.fill_bytes(&mut bytes);
                u64::from_le_bytes(bytes)
            }
        }
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        match self {
            Self::Seeded(rng) => rng.fill_bytes(bytes),
            Self::System => SystemRandom::new().fill(bytes).expect("the system has randomness once it has started"),
        }
    }
}
