//! A population: a mix of NATs, from which the NATs of many actors are drawn.
//!
//! The shares are exact: of 1,000 actors, a profile with 12.5 % gets 125. Which actor gets which is drawn once and for all, so
//! that a file always means the same scenario; what differs with the seed of a run is what happens.

use serde::Serialize;
use toml::Spanned;
use toml::de::DeValue;

use crate::error::{Problems, instead, quote};
use crate::expand::ACTORS_MAX;
use crate::file::{ActorEntry, File};
use crate::shipped::profile_names;
use crate::table::{Lined, Read, Table, mistyped};
use crate::value::Ppm;

/// The value of `nat` that draws from the population.
pub(crate) const POPULATION: &str = "population";
/// All shares together, in parts per million.
const WHOLE: u32 = 1_000_000;

/// A mix of NATs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Population {
    /// Where the shares come from.
    pub source: String,
    /// The profiles and their shares, in parts per million.
    pub shares: Vec<(String, u32)>,
}

/// `[population]`
#[derive(Debug)]
pub(crate) struct PopulationEntry {
    source: String,
    shares: Vec<Lined<(String, u32)>>,
    line: usize,
}

impl Read for PopulationEntry {
    const RIGHT: &'static str = "a table";

    fn read(value: &Spanned<DeValue<'_>>, _: &str, problems: &Problems) -> Option<Self> {
        let mut table = Table::of::<Self>(value, "population", problems)?;
        table.rename("[population]".to_owned());
        let line = table.line();
        let source = table.required::<String>("source");
        let shares = table.required::<Shares>("shares");
        table.finish();
        Some(Self { source: source?.value, shares: shares?.value.0, line })
    }
}

/// The key `shares`.
struct Shares(Vec<Lined<(String, u32)>>);

impl Read for Shares {
    const RIGHT: &'static str = "a table such as { home-linux = \"80%\", symmetric = \"20%\" }";

    fn read(value: &Spanned<DeValue<'_>>, name: &str, problems: &Problems) -> Option<Self> {
        let DeValue::Table(entries) = value.get_ref() else { return mistyped(value, name, problems) };
        let mut shares = Vec::new();
        for (profile, share) in entries.iter() {
            let line = problems.line(&profile.span());
            let Ppm(ppm) = Ppm::read(share, profile.get_ref(), problems)?;
            shares.push(Lined { line, value: (profile.get_ref().to_string(), ppm) });
        }
        let sum: u64 = shares.iter().map(|share| u64::from(share.value.1)).sum();
        if sum != u64::from(WHOLE) {
            let line = problems.line(&value.span());
            problems.report(line, format!("`{name}`: together they are {} %, not 100 %", sum as f64 / 10_000.0));
            return None;
        }
        // A table has no order of its own.
        shares.sort_by(|one, other| one.value.0.cmp(&other.value.0));
        Some(Self(shares))
    }
}

/// The profiles that are drawn for the actors of a file.
pub(crate) struct Drawn<'a> {
    profiles: Vec<&'a str>,
    /// For each entry of the file, the number of its first actor among those that draw.
    first: Vec<usize>,
}

impl<'a> Drawn<'a> {
    /// Draws the NATs of all actors that have `nat = "population"`. Reports profiles that do not exist.
    pub(crate) fn of(file: &'a File, problems: &Problems) -> Self {
        let mut first = Vec::new();
        let mut number = 0;
        for Lined { value: entry, .. } in &file.actors {
            first.push(number);
            if let Some(nat) = draws(entry) {
                number += entry.count.as_ref().map_or(1, |count| count.value as usize);
                if file.population.is_none() {
                    let message = "`nat`: there is no [population] to draw from: add one, or name a profile";
                    problems.report(nat.line, message);
                }
                if let Some(overrides) = &entry.overrides {
                    let message = "`override`: the NATs of a population differ: remove it, or name a profile in `nat`";
                    problems.report(overrides.line, message);
                }
            }
        }
        let Some(Lined { value: entry, .. }) = &file.population else { return Self { profiles: Vec::new(), first } };
        for Lined { line, value: (profile, _) } in &entry.shares {
            if !profile_names().any(|known| known == profile) {
                let instead = instead(profile, "profiles", profile_names());
                problems.report(*line, format!("unknown NAT profile {}{instead}", quote(profile)));
            }
        }
        if entry.source.is_empty() {
            problems.report(entry.line, "`source` must say where the shares come from");
        }
        // More are refused elsewhere.
        let mut profiles = apportioned(&entry.shares, number.min(ACTORS_MAX));
        shuffle(&mut profiles);
        Self { profiles, first }
    }

    /// The name of the profile of an actor's own NAT: of the `number`th actor of the `index`th entry, both counted from 0.
    pub(crate) fn profile(&self, index: usize, entry: &'a ActorEntry, number: usize) -> Option<&'a str> {
        match draws(entry) {
            Some(_) => self.profiles.get(self.first[index] + number).copied(),
            None => entry.nat.as_ref().map(|nat| nat.value.as_str()),
        }
    }
}

/// The key `nat` of an entry that draws from the population.
fn draws(entry: &ActorEntry) -> Option<&Lined<String>> {
    entry.nat.as_ref().filter(|nat| nat.value == POPULATION)
}

/// Each profile as often as its share says, by the method of the largest remainder.
fn apportioned(shares: &[Lined<(String, u32)>], count: usize) -> Vec<&str> {
    let whole = u64::from(WHOLE);
    let exact = |ppm: u32| u64::from(ppm) * count as u64;
    let mut counts: Vec<u64> = shares.iter().map(|share| exact(share.value.1) / whole).collect();
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(exact(shares[*index].value.1) % whole));
    let missing = count as u64 - counts.iter().sum::<u64>().min(count as u64);
    for index in order.into_iter().take(missing as usize) {
        counts[index] += 1;
    }
    let all = shares.iter().zip(counts);
    all.flat_map(|(share, count)| std::iter::repeat_n(share.value.0.as_str(), count as usize)).collect()
}

/// Puts a list in an order that is arbitrary, but always the same (Fisher–Yates, with the numbers of SplitMix64).
fn shuffle(list: &mut [&str]) {
    let mut state: u64 = 0;
    let mut random = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    for last in (1..list.len()).rev() {
        list.swap(last, (random() % (last as u64 + 1)) as usize);
    }
}

impl PopulationEntry {
    /// The names of its profiles.
    pub(crate) fn profiles(&self) -> impl Iterator<Item = &str> {
        self.shares.iter().map(|share| share.value.0.as_str())
    }

    pub(crate) fn population(&self) -> Population {
        let shares = self.shares.iter().map(|share| share.value.clone()).collect();
        Population { source: self.source.clone(), shares }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact_and_the_largest_remainders_get_the_rest() {
        let shares = [("a", 505_000), ("b", 330_000), ("c", 165_000)];
        let shares = shares.map(|(name, ppm)| Lined { line: 0, value: (name.to_owned(), ppm) });
        let count = |of: usize| {
            let drawn = apportioned(&shares, of);
            ["a", "b", "c"].map(|name| drawn.iter().filter(|drawn| **drawn == name).count())
        };
        assert_eq!(count(1000), [505, 330, 165]);
        assert_eq!(count(10), [5, 3, 2]);
        assert_eq!(count(1), [1, 0, 0]);
        assert_eq!(count(0), [0, 0, 0]);
    }

    #[test]
    fn the_order_is_arbitrary_and_always_the_same() {
        let mut list: Vec<&str> = "a b c d e f g h".split(' ').collect();
        shuffle(&mut list);
        assert_ne!(list, "a b c d e f g h".split(' ').collect::<Vec<_>>());
        let mut again: Vec<&str> = "a b c d e f g h".split(' ').collect();
        shuffle(&mut again);
        assert_eq!(list, again);
    }
}
