//! Sound and picture: which tracks an actor sends, and how files say it.

use std::time::Duration;

use serde::Serialize;
use toml::Spanned;
use toml::de::DeValue;

use crate::error::Problems;
use crate::scenario::MediaKind;
use crate::table::{Lined, Read, Table, mistyped};
use crate::value::{Size, show};
use crate::write::{quoted, table};

/// The longest time between two packets of a track. A receiver that has heard nothing for longer than two such times
/// says that the track has fallen silent.
const INTERVAL_MAX: Duration = Duration::from_secs(1);
/// The shortest time between two packets: what a picture of some Mbit/s needs.
const INTERVAL_MIN: Duration = Duration::from_millis(2);
/// The largest payload, bytes. With all headers, such a packet fits into every usual path.
const BYTES_MAX: u64 = 1200;

/// The tracks that an actor sends. One packet of each goes to every peer at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tracks {
    /// What they carry, sound first.
    pub kinds: Vec<MediaKind>,
    /// The time between two packets of a track.
    pub interval: Duration,
    /// The length of a packet's payload, bytes.
    pub bytes: u16,
}

impl Default for Tracks {
    /// No tracks. If there are any, they are light: what codecs send is five or more times as often.
    fn default() -> Self {
        Self { kinds: Vec::new(), interval: Duration::from_millis(100), bytes: 160 }
    }
}

impl Tracks {
    /// Whether one of them carries this.
    pub fn has(&self, kind: MediaKind) -> bool {
        self.kinds.contains(&kind)
    }

    /// The value of the key `media`, as TOML.
    pub(crate) fn written(&self) -> String {
        let kinds: Vec<String> = self.kinds.iter().map(|kind| quoted(kind.name())).collect();
        let kinds = format!("[{}]", kinds.join(", "));
        let default = Self::default();
        let interval = (self.interval != default.interval).then(|| ("interval", quoted(&show(self.interval))));
        let size = (self.bytes != default.bytes).then(|| ("size", quoted(&format!("{}B", self.bytes))));
        match (&interval, &size) {
            (None, None) => kinds,
            _ => table(&[("tracks", kinds)].into_iter().chain(interval).chain(size).collect::<Vec<_>>()),
        }
    }
}

impl Read for Tracks {
    const RIGHT: &'static str =
        "a list such as [\"audio\", \"video\"], or a table such as { tracks = [\"audio\"], interval = \"20ms\" }";

    fn read(value: &Spanned<DeValue<'_>>, name: &str, problems: &Problems) -> Option<Self> {
        match value.get_ref() {
            DeValue::Array(_) => {
                let kinds = kinds(&Vec::read(value, name, problems)?, name, problems.line(&value.span()), problems)?;
                Some(Self { kinds, ..Self::default() })
            }
            DeValue::Table(_) => {
                let mut table = Table::of::<Self>(value, name, problems)?;
                let tracks = table.required::<Vec<Lined<MediaKind>>>("tracks");
                let interval = table.optional::<Duration>("interval");
                let size = table.optional::<Size>("size");
                table.finish();
                let default = Self::default();
                let interval = match interval {
                    Some(Lined { line, value }) if !(INTERVAL_MIN..=INTERVAL_MAX).contains(&value) => {
                        let (least, most) = (show(INTERVAL_MIN), show(INTERVAL_MAX));
                        problems.report(line, format!("`interval`: {} must be from {least} to {most}", show(value)));
                        return None;
                    }
                    other => other.map_or(default.interval, |interval| interval.value),
                };
                let bytes = match size {
                    Some(Lined { line, value: Size(bytes) }) if !(1..=BYTES_MAX).contains(&bytes) => {
                        problems.report(line, format!("`size`: {bytes}B must be from 1B to {BYTES_MAX}B"));
                        return None;
                    }
                    other => other.map_or(default.bytes, |size| u16::try_from(size.value.0).unwrap_or(u16::MAX)),
                };
                let tracks = tracks?;
                Some(Self { kinds: kinds(&tracks.value, "tracks", tracks.line, problems)?, interval, bytes })
            }
            _ => mistyped(value, name, problems),
        }
    }
}

/// The listed kinds, sound first. Reports an empty list, and a kind that is listed twice.
fn kinds(listed: &[Lined<MediaKind>], name: &str, line: usize, problems: &Problems) -> Option<Vec<MediaKind>> {
    if listed.is_empty() {
        problems.report(line, format!("`{name}` is empty: name \"audio\" or \"video\", or remove the key"));
        return None;
    }
    for (number, kind) in listed.iter().enumerate() {
        if listed[..number].iter().any(|before| before.value == kind.value) {
            problems.report(kind.line, format!("`{name}`: `{}` is listed twice", kind.value.name()));
            return None;
        }
    }
    let is_listed = |kind: &MediaKind| listed.iter().any(|listed| listed.value == *kind);
    Some([MediaKind::Audio, MediaKind::Video].into_iter().filter(is_listed).collect())
}
