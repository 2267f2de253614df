//! Tokens make a signal recognizable wherever it arrives: a text of fixed length in its payload, found by byte search.

use memchr::memmem::Finder;

/// Length in bytes of a token.
const LENGTH: usize = MARKER + 16 + 8 + 6 + 12 + 1;
/// `~`, the run in hexadecimal, `~`.
const MARKER: usize = 10;
/// The shortest payload: a token as a JSON string.
pub(super) const PAYLOAD_MIN: usize = LENGTH + 2;

/// The sender of a signal, and when it was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Token {
    /// When it was sent, or due: nanoseconds since the run began.
    pub(super) at_ns: u64,
    pub(super) room: u32,
    /// The sender's place in the room: at most 24 bits.
    pub(super) place: u32,
    /// Counts the sender's signals to the same audience: at most 48 bits.
    pub(super) number: u64,
}

/// Writes and finds the tokens of a run.
pub(super) struct Tokens {
    marker: String,
    finder: Finder<'static>,
}

/// A signal into which a token is inserted.
pub(super) struct Template {
    before: String,
    after: String,
}

impl Tokens {
    /// The tokens of one run. Tokens of other runs on the same server are not found.
    pub(super) fn new(seed: u64) -> Self {
        let marker = format!("~{:08x}~", seed as u32);
        let finder = Finder::new(marker.as_bytes()).into_owned();
        Self { marker, finder }
    }

    /// A JSON string of this length in bytes with a token in it.
    pub(super) fn payload(&self, bytes: usize) -> String {
        let mut payload = String::with_capacity(bytes);
        payload.push('"');
        self.write(Token::default(), &mut payload);
        payload.extend(std::iter::repeat_n('x', bytes.saturating_sub(PAYLOAD_MIN)));
        payload.push('"');
        payload
    }

    /// The template of a signal that contains such a payload, if it contains one.
    pub(super) fn template(&self, frame: &str) -> Option<Template> {
        let at = frame.find(&self.marker)?;
        let after = frame.get(at + LENGTH..)?;
        Some(Template { before: frame[..at].to_owned(), after: after.to_owned() })
    }

    /// The signal with a token in it.
    pub(super) fn frame(&self, template: &Template, token: Token) -> String {
        let mut frame = String::with_capacity(template.before.len() + LENGTH + template.after.len());
        frame.push_str(&template.before);
        self.write(token, &mut frame);
        frame.push_str(&template.after);
        frame
    }

    /// The token in a message. `hint` is the position of the last one, which is usually the same.
    pub(super) fn find(&self, message: &[u8], hint: &mut usize) -> Option<Token> {
        let is_there = |at: usize| message.get(at..at + MARKER) == Some(self.marker.as_bytes());
        if !is_there(*hint) {
            *hint = self.finder.find(message)?;
        }
        let mut rest = message.get(*hint + MARKER..*hint + LENGTH)?;
        let mut number = |digits: usize| {
            let (number, more) = rest.split_at(digits);
            rest = more;
            number.iter().try_fold(0u64, |number, digit| Some(number << 4 | u64::from((*digit as char).to_digit(16)?)))
        };
        let token =
            Token { at_ns: number(16)?, room: number(8)? as u32, place: number(6)? as u32, number: number(12)? };
        (rest == b"~").then_some(token)
    }

    fn write(&self, token: Token, out: &mut String) {
        out.push_str(&self.marker);
        let mut number = |number: u64, digits: usize| {
            for digit in (0..digits).rev() {
                out.push(char::from(b"0123456789abcdef"[(number >> (4 * digit)) as usize & 15]));
            }
        };
        number(token.at_ns, 16);
        number(token.room.into(), 8);
        number(token.place.into(), 6);
        number(token.number, 12);
        out.push('~');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_at_any_position() {
        let tokens = Tokens::new(0xabc);
        let payload = tokens.payload(100);
        assert_eq!(payload.len(), 100);
        let template = tokens.template(&format!(r#"{{"type":"offer","sdp":{payload}}}"#)).expect("it is there");
        let token = Token { at_ns: u64::MAX - 1, room: 7, place: 0xff_ffff, number: (1 << 48) - 1 };
        let frame = tokens.frame(&template, token);
        assert_eq!(frame.len(), 100 + r#"{"type":"offer","sdp":}"#.len());
        let mut hint = 0;
        assert_eq!(tokens.find(frame.as_bytes(), &mut hint), Some(token));
        let moved = format!("  {frame}");
        for message in [&moved, &moved, &frame] {
            assert_eq!(tokens.find(message.as_bytes(), &mut hint), Some(token));
        }
    }

    #[test]
    fn invalid_tokens_and_those_of_other_runs_are_not_found() {
        let tokens = Tokens::new(1);
        let payload = tokens.payload(PAYLOAD_MIN);
        let mut hint = 0;
        assert_eq!(tokens.find(payload.as_bytes(), &mut hint), Some(Token::default()));
        for message in [payload[..40].to_owned(), payload.replace("0~\"", "0\"\""), payload.replace("0000~", "000g~")] {
            assert_eq!(tokens.find(message.as_bytes(), &mut hint), None, "{message}");
        }
        assert_eq!(Tokens::new(2).find(payload.as_bytes(), &mut hint), None);
    }
}
