//! Parses the values of scenario files: times, shares, bandwidths, addresses, words.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::error::{instead, quote, unknown};
use crate::nat::{Dependence, FilterState, Hairpinning, Pooling, PortAllocation, Unsolicited};
use crate::scenario::Timing;

/// A text that is not a valid value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadValue {
    /// The text as it was written.
    pub text: String,
    why: Why,
}

/// Why a text is not a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// What is wrong: a fragment that follows the text.
    Is(&'static str),
    /// The valid texts: a fragment that follows "must be".
    MustBe(&'static str),
    /// It is not the first address of this subnet.
    Misaligned(Subnet),
    /// Not one of the words that are valid for this kind of value.
    NoWord(&'static str, Vec<&'static str>),
    /// Not one of the names that exist for this kind of thing.
    Unknown(&'static str, Vec<&'static str>),
    /// A NAT's mapping must live for some time.
    NoLifetime,
}

impl BadValue {
    /// `why` is a fragment that follows the text.
    fn is(text: &str, why: &'static str) -> Self {
        Self::new(text, Why::Is(why))
    }

    pub(crate) fn new(text: &str, why: Why) -> Self {
        Self { text: text.to_owned(), why }
    }
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = quote(&self.text);
        match &self.why {
            Why::Is(why) => write!(f, "{text} {why}"),
            Why::MustBe(right) => write!(f, "{text} must be {right}"),
            Why::Misaligned(subnet) => {
                write!(f, "{text} begins in the middle of a subnet; did you mean `{subnet}`?")
            }
            Why::NoWord(what, words) => {
                write!(f, "{text} is not a valid {what}{}", instead(&self.text, "words", words.iter().copied()))
            }
            Why::Unknown(what, known) => f.write_str(&unknown(what, &self.text, known.iter().copied())),
            Why::NoLifetime => f.write_str("a mapping must live longer than 0s"),
        }
    }
}

impl std::error::Error for BadValue {}

/// A value that is written as a string.
pub(crate) trait Parse: Sized {
    /// A description of valid values, which completes "must be".
    const RIGHT: &'static str;

    /// Parses a text.
    ///
    /// # Errors
    /// What is wrong with the text, and how to correct it.
    fn parse(text: &str) -> Result<Self, BadValue>;
}

impl Parse for String {
    const RIGHT: &'static str = "a string";

    fn parse(text: &str) -> Result<Self, BadValue> {
        Ok(text.to_owned())
    }
}

/// The name of a scenario, a network or an actor. An actor's host has the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(pub(crate) String);

impl Parse for Name {
    const RIGHT: &'static str = "a name such as \"ana\"";

    fn parse(text: &str) -> Result<Self, BadValue> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty() || text.len() > 50 || text.starts_with('-') || !text.chars().all(fits) {
            return Err(BadValue::is(text, "is not a valid name: use up to 50 of a–z, 0–9 and `-`"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// The longest time that files may give: far longer than any timer of a protocol, and far from any overflow.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

impl Parse for Duration {
    const RIGHT: &'static str = "a time such as \"250ms\", \"1.5s\" or \"2m\"";

    fn parse(text: &str) -> Result<Self, BadValue> {
        let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
        let why = match amount(text, &units) {
            Ok(millis) if millis <= LONGEST.as_millis() => {
                return Ok(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)));
            }
            Ok(_) | Err(Malformed::TooLong) => "is too long: at most 720h",
            Err(Malformed::Negative) => "is negative: a time is at least 0s",
            Err(Malformed::TooFine) => "is too fine: times are whole milliseconds",
            Err(Malformed::Other) => "is not a time: write a number and ms, s, m or h, such as \"250ms\" or \"1.5s\"",
        };
        Err(BadValue::is(text, why))
    }
}

/// Parses a time as written in files, such as `250ms`, `1.5s` or `2m`: whole milliseconds, at most 720 h.
///
/// # Errors
/// What is wrong with the text, and how to correct it.
pub fn time(text: &str) -> Result<Duration, BadValue> {
    Duration::parse(text)
}

/// Parses a share as written in files, such as `2%` or `0.5%`, and returns parts per million.
///
/// # Errors
/// What is wrong with the text, and how to correct it.
pub fn share(text: &str) -> Result<u32, BadValue> {
    Ppm::parse(text).map(|Ppm(ppm)| ppm)
}

/// A time as written in files.
pub fn show(time: Duration) -> String {
    let millis = time.as_millis();
    match millis {
        0 => "0s".to_owned(),
        _ if millis.is_multiple_of(1000) => format!("{}s", millis / 1000),
        1..1000 => format!("{millis}ms"),
        _ => format!("{}s", format!("{}.{:03}", millis / 1000, millis % 1000).trim_end_matches('0')),
    }
}

/// A share, in parts per million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ppm(pub(crate) u32);

impl Parse for Ppm {
    const RIGHT: &'static str = "a share such as \"2%\"";

    fn parse(text: &str) -> Result<Self, BadValue> {
        let why = match amount(text, &[("%", 10_000), ("ppm", 1)]) {
            Ok(ppm) if ppm <= 1_000_000 => return Ok(Self(u32::try_from(ppm).unwrap_or(u32::MAX))),
            Ok(_) | Err(Malformed::TooLong) => "is over 100%",
            Err(Malformed::Negative) => "is negative: a share is at least 0%",
            Err(Malformed::TooFine) => "is too fine: the smallest share is \"0.0001%\"",
            Err(Malformed::Other) => "is not a share: write a number and %, such as \"2%\" or \"0.5%\"",
        };
        Err(BadValue::is(text, why))
    }
}

/// Bits per second; `None` means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bandwidth(pub(crate) Option<u64>);

impl Parse for Bandwidth {
    const RIGHT: &'static str = "a bandwidth such as \"5Mbit\", or \"unlimited\"";

    fn parse(text: &str) -> Result<Self, BadValue> {
        if text == "unlimited" {
            return Ok(Self(None));
        }
        let why = match amount(text, &[("kbit", 1000), ("Mbit", 1_000_000), ("Gbit", 1_000_000_000), ("bit", 1)]) {
            Ok(0) => "carries nothing: use the verb `partition` for that",
            Ok(bits) if bits <= 1_000_000_000_000 => return Ok(Self(u64::try_from(bits).ok())),
            Ok(_) | Err(Malformed::TooLong) => "is too much: at most \"1000Gbit\"",
            Err(Malformed::Negative) => "is negative",
            Err(Malformed::TooFine) => "is too fine: bandwidths are whole bits",
            Err(Malformed::Other) => {
                "is not a bandwidth: write a number and bit, kbit, Mbit or Gbit, such as \"5Mbit\""
            }
        };
        Err(BadValue::is(text, why))
    }
}

/// A size, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl Parse for Size {
    const RIGHT: &'static str = "a size such as \"64kB\"";

    fn parse(text: &str) -> Result<Self, BadValue> {
        let why = match amount(text, &[("kB", 1000), ("MB", 1_000_000), ("B", 1)]) {
            Ok(bytes) if bytes <= 1_000_000_000_000 => return Ok(Self(u64::try_from(bytes).unwrap_or(u64::MAX))),
            Ok(_) | Err(Malformed::TooLong) => "is too much",
            Err(Malformed::Negative) => "is negative",
            Err(Malformed::TooFine) => "is too fine: sizes are whole bytes",
            Err(Malformed::Other) => "is not a size: write a number and B, kB or MB, such as \"64kB\"",
        };
        Err(BadValue::is(text, why))
    }
}

impl Parse for Ipv4Addr {
    const RIGHT: &'static str = "an IPv4 address such as \"198.51.100.7\"";

    fn parse(text: &str) -> Result<Self, BadValue> {
        text.parse()
            .map_err(|_| BadValue::is(text, "is not an IPv4 address: write four numbers, such as \"198.51.100.7\""))
    }
}

/// A range of addresses with a common prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subnet {
    base: u32,
    prefix: u32,
}

impl Subnet {
    pub(crate) const fn new(base: Ipv4Addr, prefix: u32) -> Self {
        Self { base: base.to_bits(), prefix }
    }

    /// The number of addresses in it, including those that no host can have.
    pub(crate) fn size(self) -> u32 {
        1 << (32 - self.prefix)
    }

    /// The address with this number, counted from 0.
    pub(crate) fn address(self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base.saturating_add(number))
    }

    /// The number of an address in the subnet; `None` if the subnet does not contain it.
    pub(crate) fn number(self, address: Ipv4Addr) -> Option<u32> {
        address.to_bits().checked_sub(self.base).filter(|number| *number < self.size())
    }

    pub(crate) fn contains(self, address: Ipv4Addr) -> bool {
        self.number(address).is_some()
    }

    pub(crate) fn overlaps(self, other: Self) -> bool {
        self.contains(other.address(0)) || other.contains(self.address(0))
    }

    pub(crate) fn within(self, other: Self) -> bool {
        self.prefix >= other.prefix && other.contains(self.address(0))
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address(0), self.prefix)
    }
}

impl Parse for Subnet {
    const RIGHT: &'static str = "a subnet such as \"192.168.1.0/24\"";

    fn parse(text: &str) -> Result<Self, BadValue> {
        let malformed =
            || BadValue::is(text, "is not a subnet: write an address and a prefix, such as \"192.168.1.0/24\"");
        let (address, prefix) = text.split_once('/').ok_or_else(malformed)?;
        let address: Ipv4Addr = address.parse().map_err(|_| malformed())?;
        let prefix: u32 = prefix.parse().map_err(|_| malformed())?;
        if !(8..=30).contains(&prefix) {
            return Err(BadValue::is(text, "is not a valid size for a network: the prefix must be from 8 to 30"));
        }
        let subnet = Self::new(Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << (32 - prefix))), prefix);
        if subnet.address(0) != address {
            return Err(BadValue::new(text, Why::Misaligned(subnet)));
        }
        Ok(subnet)
    }
}

/// A value that is written as one of a few words.
pub(crate) trait Word: Copy + 'static {
    /// What the words stand for, which completes "is not a valid".
    const WHAT: &'static str;
    /// A description of valid values, which completes "must be".
    const RIGHT: &'static str;
    const WORDS: &'static [(&'static str, Self)];
}

impl<T: Word> Parse for T {
    const RIGHT: &'static str = <T as Word>::RIGHT;

    fn parse(text: &str) -> Result<Self, BadValue> {
        let words = || Self::WORDS.iter().map(|(word, _)| *word);
        Self::WORDS
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, meaning)| *meaning)
            .ok_or_else(|| BadValue::new(text, Why::NoWord(Self::WHAT, words().collect())))
    }
}

impl Word for Dependence {
    const WHAT: &'static str = "dependence";
    const RIGHT: &'static str = "a dependence such as \"endpoint-independent\"";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("endpoint-independent", Self::EndpointIndependent),
        ("address-dependent", Self::AddressDependent),
        ("address-and-port-dependent", Self::AddressAndPortDependent),
    ];
}

impl Word for FilterState {
    const WHAT: &'static str = "filter state";
    const RIGHT: &'static str = "\"per-mapping\" or \"per-endpoint\"";
    const WORDS: &'static [(&'static str, Self)] =
        &[("per-mapping", Self::PerMapping), ("per-endpoint", Self::PerEndpoint)];
}

impl Word for PortAllocation {
    const WHAT: &'static str = "port allocation";
    const RIGHT: &'static str = "a port allocation such as \"preserve\"";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("preserve", Self::Preserve),
        ("preserve-overloading", Self::PreserveOverloading),
        ("sequential", Self::Sequential),
        ("random", Self::Random),
        ("block", Self::Block),
    ];
}

impl Word for Hairpinning {
    const WHAT: &'static str = "kind of hairpinning";
    const RIGHT: &'static str = "a kind of hairpinning such as \"external-source\"";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("off", Self::Off),
        ("internal-source", Self::InternalSource),
        ("external-source", Self::ExternalSource),
        ("router-source", Self::RouterSource),
    ];
}

impl Word for Pooling {
    const WHAT: &'static str = "pooling";
    const RIGHT: &'static str = "\"paired\" or \"arbitrary\"";
    const WORDS: &'static [(&'static str, Self)] = &[("paired", Self::Paired), ("arbitrary", Self::Arbitrary)];
}

impl Word for Unsolicited {
    const WHAT: &'static str = "way with unsolicited packets";
    const RIGHT: &'static str = "\"drop\", \"reject\" or \"accept\"";
    const WORDS: &'static [(&'static str, Self)] =
        &[("drop", Self::Drop), ("reject", Self::Reject), ("accept", Self::Accept)];
}

impl Word for Timing {
    const WHAT: &'static str = "timing";
    const RIGHT: &'static str = "\"browser\", \"rtc\" or \"fast\"";
    const WORDS: &'static [(&'static str, Self)] =
        &[("browser", Self::Browser), ("rtc", Self::Rtc), ("fast", Self::Fast)];
}

/// The word for a value.
pub(crate) fn word<T: Word + PartialEq>(value: T) -> &'static str {
    T::WORDS.iter().find(|(_, meaning)| *meaning == value).expect("every meaning has a word").0
}

/// Why a text is not an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Malformed {
    Negative,
    /// Not a whole number of the smallest unit.
    TooFine,
    /// More digits than an amount can need.
    TooLong,
    Other,
}

/// Parses a decimal number with a unit, and returns it in the smallest unit. Exact: it uses no floating point, so there
/// is no NaN and no infinity.
fn amount(text: &str, units: &[(&str, u128)]) -> Result<u128, Malformed> {
    // 15 digits before and after the point, times the largest unit, stay far below u128::MAX.
    const DIGITS: usize = 15;
    let (text, negative) = match text.strip_prefix('-') {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (_, scale) = units.iter().find(|(name, _)| *name == unit).ok_or(Malformed::Other)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
        return Err(Malformed::Other);
    }
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    if negative {
        return Err(Malformed::Negative);
    }
    if whole.len() > DIGITS {
        return Err(Malformed::TooLong);
    }
    if fraction.len() > DIGITS {
        return Err(Malformed::TooFine);
    }
    let digits = |text: &str| text.bytes().fold(0, |sum, digit| sum * 10 + u128::from(digit - b'0'));
    let divisor = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| Malformed::TooFine)?);
    let parts = digits(fraction) * scale;
    if !parts.is_multiple_of(divisor) {
        return Err(Malformed::TooFine);
    }
    Ok(digits(whole) * scale + parts / divisor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_exact() {
        let millis = |text| Duration::parse(text).map(|time| time.as_millis());
        assert_eq!(millis("250ms"), Ok(250));
        assert_eq!(millis("1.5s"), Ok(1500));
        assert_eq!(millis("0.001s"), Ok(1));
        assert_eq!(millis("2m"), Ok(120_000));
        assert_eq!(millis("720h"), Ok(LONGEST.as_millis()));
        assert_eq!(millis("000s"), Ok(0));
    }

    #[test]
    fn malformed_times_say_what_would_be_right() {
        let wrong = |text| Duration::parse(text).expect_err(text).to_string();
        assert_eq!(wrong("-5s"), "`-5s` is negative: a time is at least 0s");
        assert_eq!(wrong("0.5ms"), "`0.5ms` is too fine: times are whole milliseconds");
        assert_eq!(wrong("721h"), "`721h` is too long: at most 720h");
        assert_eq!(wrong("99999999999999999999999s"), "`99999999999999999999999s` is too long: at most 720h");
        for text in ["", "s", "5", "5 s", "nans", "NaN", "infs", "1e9s", "1.s", ".5s", "1.2.3s", "5sec", "+5s", "٣s"] {
            assert!(wrong(text).contains("is not a time: write a number and ms, s, m or h"), "{text}");
        }
    }

    #[test]
    fn shares_end_at_100_percent() {
        assert_eq!(Ppm::parse("2%"), Ok(Ppm(20_000)));
        assert_eq!(Ppm::parse("0.0001%"), Ok(Ppm(1)));
        assert_eq!(Ppm::parse("100%"), Ok(Ppm(1_000_000)));
        let wrong = |text| Ppm::parse(text).expect_err(text).to_string();
        assert_eq!(wrong("100.1%"), "`100.1%` is over 100%");
        assert_eq!(wrong("-1%"), "`-1%` is negative: a share is at least 0%");
    }

    #[test]
    fn bandwidths_have_units() {
        assert_eq!(Bandwidth::parse("5Mbit"), Ok(Bandwidth(Some(5_000_000))));
        assert_eq!(Bandwidth::parse("0.5kbit"), Ok(Bandwidth(Some(500))));
        assert_eq!(Bandwidth::parse("unlimited"), Ok(Bandwidth(None)));
        assert!(Bandwidth::parse("0bit").is_err());
        assert!(Bandwidth::parse("5MB").is_err());
    }

    #[test]
    fn subnets_begin_where_they_should() {
        assert_eq!(Subnet::parse("192.168.1.0/24").map(|subnet| subnet.to_string()), Ok("192.168.1.0/24".to_owned()));
        assert_eq!(
            Subnet::parse("192.168.1.7/24").expect_err("misaligned").to_string(),
            "`192.168.1.7/24` begins in the middle of a subnet; did you mean `192.168.1.0/24`?"
        );
        assert!(Subnet::parse("10.0.0.0/7").is_err());
        assert!(Subnet::parse("10.0.0.0").is_err());
    }

    #[test]
    fn times_are_shown_as_they_are_written() {
        for text in ["0s", "1ms", "999ms", "1s", "1.5s", "61.001s", "120s"] {
            assert_eq!(Duration::parse(text).map(show), Ok(text.to_owned()));
        }
    }

    /// The words are the same as in the types' serde forms.
    #[test]
    fn words_agree_with_serde() {
        fn check<T: Word + serde::Serialize + for<'de> serde::Deserialize<'de> + PartialEq + std::fmt::Debug>() {
            for (word, meaning) in T::WORDS {
                assert_eq!(toml::Value::try_from(meaning), Ok(toml::Value::String((*word).to_owned())));
            }
        }
        check::<Dependence>();
        check::<FilterState>();
        check::<PortAllocation>();
        check::<Hairpinning>();
        check::<Pooling>();
    }
}
