//! Changes the bytes of a story a little, so that it becomes another story that is similar.

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// The most bytes of a story.
const BYTES_MAX: usize = 4096;
/// The most changes at a time.
const CHANGES_MAX: u64 = 4;
/// The longest run of bytes that is put in, taken out or copied.
const RUN_MAX: u64 = 32;

/// The bytes of a similar story. `other` is another story, of which it may take a part. The result depends only on the
/// arguments.
pub fn vary(bytes: &[u8], other: &[u8], seed: u64) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut below = |limit: usize| (rng.next_u64() % limit.max(1) as u64) as usize;
    let mut varied = bytes.to_vec();
    for _ in 0..1 + below(CHANGES_MAX as usize) {
        let at = below(varied.len() + 1);
        let run = 1 + below(RUN_MAX as usize);
        let until = (at + run).min(varied.len());
        match below(6) {
            0 => varied[at..until].iter_mut().for_each(|byte| *byte = below(256) as u8),
            1 => varied[at..until].iter_mut().take(1).for_each(|byte| *byte ^= 1 << below(8)),
            2 => {
                varied.splice(at..at, (0..run).map(|_| below(256) as u8));
            }
            3 => drop(varied.drain(at..until)),
            4 => {
                let from = below(varied.len() + 1);
                let copied = varied[from..(from + run).min(varied.len())].to_vec();
                varied.splice(at..at, copied);
            }
            _ => {
                varied.truncate(at);
                varied.extend(&other[at.min(other.len())..]);
            }
        }
    }
    varied.truncate(BYTES_MAX);
    varied
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn stories_are_varied_the_same_way_each_time_and_each_seed_in_another() {
        let (bytes, other) = (vec![7; 300], vec![9; 100]);
        let all: BTreeSet<_> = (0..200).map(|seed| vary(&bytes, &other, seed)).collect();
        assert!(all.len() > 190 && all.iter().all(|varied| varied.len() <= BYTES_MAX), "{}", all.len());
        assert_eq!(vary(&bytes, &other, 3), vary(&bytes, &other, 3));
        for seed in 0..50 {
            vary(&[], &[], seed);
        }
    }
}
