//! A transcript as a text sequence diagram: one column for the server and one for each client that takes part, one
//! arrow per message.
//!
//! ```text
//!              server                  ana                    ben
//!      0.9 ms     │◀──────── join ──────│                      │
//!      1.4 ms     │─────── joined ─────▶│                      │
//! ```

use std::ops::Range;

use crate::transcript::{Line, LineKind, Transcript};
use crate::words::cut;

/// Width of the column with the times.
const TIMES: usize = 13;
/// The distance between two lifelines, at least and at most.
const GAP_MIN: usize = 18;
const GAP_MAX: usize = 30;
/// Space for words to the right of the last lifeline.
const TAIL: usize = 12;
/// Longer labels are cut.
const LABEL_CHARS_MAX: usize = 36;
/// Keys under which protocols give a message's type.
const TYPE_KEYS: [&str; 6] = ["action", "type", "event", "kind", "op", "method"];
/// Keys under which protocols give the reason of an error.
const REASONS: [&str; 4] = ["message", "reason", "code", "error"];
/// The column of the server.
const SERVER: usize = 0;

/// Draws a range of lines. Each line of the diagram comes with whether it shows the failure. `None` if there is no room
/// for so many clients.
pub(crate) fn diagram(
    transcript: &Transcript,
    range: Range<usize>,
    shows: Option<usize>,
    columns: usize,
) -> Option<Vec<(bool, String)>> {
    let lines = transcript.lines.get(range.clone())?;
    let mut clients: Vec<usize> = lines.iter().map(|line| line.client).collect();
    clients.sort_unstable();
    clients.dedup();
    let room = columns.checked_sub(TIMES + 3 + TAIL)?;
    let gap = room.checked_div(clients.len())?.min(GAP_MAX);
    if gap < GAP_MIN {
        return None;
    }
    let sheet = Sheet { gap, lifelines: clients.len() + 1, columns };
    let names = clients.iter().map(|client| transcript.clients.get(*client).map_or("?", String::as_str));
    let names: Vec<&str> = std::iter::once("server").chain(names).collect();
    let mut out = vec![(false, sheet.heading(&names))];
    for (index, line) in range.zip(lines) {
        let place = 1 + clients.binary_search(&line.client).unwrap_or_default();
        out.push((shows == Some(index), sheet.line(line, place)));
    }
    Some(out)
}

struct Sheet {
    gap: usize,
    lifelines: usize,
    columns: usize,
}

impl Sheet {
    /// The column of a lifeline.
    fn at(&self, place: usize) -> usize {
        TIMES + 3 + place * self.gap
    }

    fn heading(&self, names: &[&str]) -> String {
        let mut row = Row(Vec::new());
        for (place, name) in names.iter().enumerate() {
            let name: Vec<char> = name.chars().take(self.gap - 2).collect();
            row.put(self.at(place).saturating_sub(name.len() / 2), &name);
        }
        row.text()
    }

    fn line(&self, line: &Line, place: usize) -> String {
        let mut row = Row(Vec::new());
        let time = format!("{:>9.1} ms", line.at.as_secs_f64() * 1e3);
        row.put(0, &time.chars().collect::<Vec<_>>());
        (0..self.lifelines).for_each(|place| row.put(self.at(place), &['│']));
        let (from, to) = (self.at(SERVER) + 1, self.at(place));
        if line.kind == LineKind::Note {
            let room = self.columns.saturating_sub(to);
            let words: Vec<char> = format!("· {}", line.text).chars().collect();
            if words.len() <= room || words.len() > to - TIMES {
                row.put(to, &words[..words.len().min(room)]);
            } else {
                let words: Vec<char> = format!("{} ·", line.text).chars().collect();
                row.put(to + 1 - words.len(), &words);
            }
            return row.text();
        }
        let sends = line.kind == LineKind::Sends;
        for at in from..to {
            let crosses = (at - from + 1).is_multiple_of(self.gap);
            row.put(at, &[if crosses { '┼' } else { '─' }]);
        }
        if sends {
            row.put(from, &['◀'])
        } else {
            row.put(to - 1, &['▶'])
        }
        let room = (to - from - 4).min(LABEL_CHARS_MAX);
        let label: Vec<char> = format!(" {} ", fitting(&label(&line.text), room.saturating_sub(2))).chars().collect();
        // The label stands next to the client that sent or received the message.
        let begin = to - self.gap + 2 + (self.gap.saturating_sub(4).saturating_sub(label.len())) / 2;
        let begin = begin.min((to - 2).saturating_sub(label.len())).max(from + 1);
        row.put(begin, &label);
        row.text()
    }
}

fn fitting(text: &str, room: usize) -> String {
    if text.chars().count() <= room { text.to_owned() } else { format!("{}…", cut(text, room.saturating_sub(1))) }
}

/// A row of characters, by column.
struct Row(Vec<char>);

impl Row {
    fn put(&mut self, at: usize, what: &[char]) {
        if self.0.len() < at + what.len() {
            self.0.resize(at + what.len(), ' ');
        }
        self.0[at..at + what.len()].copy_from_slice(what);
    }

    fn text(self) -> String {
        self.0.into_iter().collect::<String>().trim_end().to_owned()
    }
}

/// A label of a word or two for a message of any protocol. The text may be cut, so it need not be complete JSON.
fn label(text: &str) -> String {
    let plain = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let strings = strings(plain);
    let of = |keys: &[&str]| {
        let values = strings.iter().filter(|(key, _)| key.is_some_and(|key| keys.contains(&key)));
        values.map(|(_, value)| *value).collect::<Vec<_>>()
    };
    // Only the first two: a payload may have a type of its own.
    let types: Vec<&str> = of(&TYPE_KEYS).into_iter().take(2).collect();
    let named = match types[..] {
        // For Socket.IO, the name of the event.
        _ if plain.starts_with('[') => strings.first().map(|(_, value)| (*value).to_owned()),
        [] => None,
        _ => Some(types.join(" ")),
    };
    let Some(named) = named else { return text.split_whitespace().collect::<Vec<_>>().join(" ") };
    match of(&REASONS).first() {
        Some(reason) if named.contains("error") => format!("{named}: {reason}"),
        _ => named,
    }
}

/// The strings that are values in a JSON text, in order, each with its key.
fn strings(text: &str) -> Vec<(Option<&str>, &str)> {
    let mut found = Vec::new();
    let (mut rest, mut key) = (text, None);
    while let Some(open) = rest.find('"') {
        let before = rest[..open].trim_end();
        let after = &rest[open + 1..];
        let mut escaped = false;
        let close = after.bytes().position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        });
        let Some(close) = close else { break };
        let string = &after[..close];
        rest = &after[close + 1..];
        if rest.trim_start().starts_with(':') {
            key = Some(string);
        } else {
            found.push((key.take().filter(|_| before.ends_with(':')), string));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn transcript() -> Transcript {
        let line = |ms: f64, client, kind, text: &str| Line {
            at: Duration::from_secs_f64(ms / 1e3),
            client,
            kind,
            text: text.to_owned(),
            bytes: text.len(),
        };
        Transcript {
            clients: vec!["ana".to_owned(), "cleo".to_owned(), "ben".to_owned()],
            lines: vec![
                line(0.2, 0, LineKind::Note, "is connected"),
                line(0.9, 0, LineKind::Sends, r#"{"action":"join","roomId":"r"}"#),
                line(1.4, 0, LineKind::Hears, r#"{"action":"joined","clientId":"x","peers":[{"name":"type"}]}"#),
                line(3.0, 2, LineKind::Sends, r#"{"action":"signal","type":"offer","data":{"type":"offer","sdp":"v=0"#),
                line(3.5, 2, LineKind::Hears, r#"{"action":"error","message":"Not in this room, and never was"}"#),
                line(12.0, 2, LineKind::Note, "is sent close 1008"),
            ],
            ..Transcript::default()
        }
    }

    #[test]
    fn a_column_for_the_server_and_each_client_that_takes_part() {
        let lines = diagram(&transcript(), 0..6, Some(4), 80).expect("there is room");
        let text: Vec<_> = lines.iter().map(|(_, line)| line.as_str()).collect();
        assert_eq!(
            text,
            [
                "             server                      ana                       ben",
                "      0.2 ms    │                         · is connected            │",
                "      0.9 ms    │◀──────── join ──────────│                         │",
                "      1.4 ms    │──────── joined ────────▶│                         │",
                "      3.0 ms    │◀────────────────────────┼───── signal offer ──────│",
                "      3.5 ms    │───────────── error: Not in this room, and neve… ─▶│",
                "     12.0 ms    │                         │      is sent close 1008 ·",
            ]
        );
        assert_eq!(lines.iter().position(|(shows, _)| *shows), Some(5));
    }

    #[test]
    fn without_room_there_is_none() {
        assert!(diagram(&transcript(), 0..6, None, 60).is_none());
        assert!(diagram(&transcript(), 0..3, None, 60).is_some());
        assert!(diagram(&Transcript::default(), 0..0, None, 200).is_none());
        assert!(diagram(&transcript(), 0..6, None, 3).is_none());
    }

    #[test]
    fn labels() {
        for (text, says) in [
            (r#"42["send-offer",{"type":"offer"}]"#, "send-offer"),
            (r#"{"type":"offer","data":{"target":"ben"}}"#, "offer"),
            (r#"{"type":"OPEN"}"#, "OPEN"),
            (r#"{"data":{"code":"user-not-found"},"type":"error"}"#, "error: user-not-found"),
            (r#"{"Signal":{"receiver":"x"}}"#, r#"{"Signal":{"receiver":"x"}}"#),
            ("Binding  request 5f", "Binding request 5f"),
            ("2", "2"),
            ("", ""),
        ] {
            assert_eq!(label(text), says);
        }
    }
}
