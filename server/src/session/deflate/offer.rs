//! What a client offers, and what the server agrees to: RFC 7692 §5 and §7.1.

use super::Deflate;
use super::codecs::{History, WINDOW_BITS_MAX, WINDOW_BITS_MIN};

/// The name of the extension.
const NAME: &str = "permessage-deflate";
/// The largest window of messages that refer to earlier ones: 4 KiB, some of a call's messages.
const TAKEOVER_WINDOW_BITS_MAX: u8 = 12;

/// What was agreed with a client. A window is the base-2 logarithm of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Agreed {
    server_takeover: bool,
    client_takeover: bool,
    /// What the client's decompressor can do.
    server_window_bits: u8,
    /// `None`: the client did not allow a limit.
    client_window_bits: Option<u8>,
    /// Whether the client asked for a limit of the server's window, so that the answer must name it.
    names_server_window: bool,
}

impl Agreed {
    /// The value of the response's `Sec-WebSocket-Extensions`.
    pub(crate) fn answer(self) -> String {
        let mut answer = NAME.to_owned();
        if !self.server_takeover {
            answer += "; server_no_context_takeover";
        }
        if !self.client_takeover {
            answer += "; client_no_context_takeover";
        }
        if self.names_server_window {
            answer += &format!("; server_max_window_bits={}", self.server_window_bits);
        }
        if let Some(bits) = self.client_window_bits {
            answer += &format!("; client_max_window_bits={bits}");
        }
        answer
    }

    /// What must be known of the client's earlier messages.
    pub(super) fn incoming(self) -> History {
        History::new(self.client_window_bits.unwrap_or(WINDOW_BITS_MAX), self.client_takeover)
    }

    /// What the server's messages may refer to.
    pub(super) fn outgoing(self) -> History {
        History::new(self.server_window_bits, self.server_takeover)
    }
}

/// What the server agrees to: the first offer that it can accept. `lines` are those of the request's
/// `Sec-WebSocket-Extensions`.
pub(crate) fn agree<'a>(deflate: Deflate, lines: impl Iterator<Item = &'a str>) -> Option<Agreed> {
    lines.flat_map(|line| line.split(',')).find_map(|offer| accept(deflate, offer))
}

/// What answers one offer. `None` declines it: it is another extension's, is invalid, or asks for what the server
/// cannot do.
fn accept(deflate: Deflate, offer: &str) -> Option<Agreed> {
    let mut parts = offer.split(';').map(str::trim);
    if parts.next() != Some(NAME) {
        return None;
    }
    let takeover = deflate == Deflate::Takeover;
    // What the offer has of each parameter.
    let (mut server_forgets, mut client_forgets, mut server_bits, mut client_bits) = (false, false, None, None);
    for part in parts {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(window_bits(unquoted(value.trim_start()))?)),
            None => (part, None),
        };
        let is_first = match (name, value) {
            ("server_no_context_takeover", None) => !std::mem::replace(&mut server_forgets, true),
            ("client_no_context_takeover", None) => !std::mem::replace(&mut client_forgets, true),
            ("server_max_window_bits", Some(bits)) => server_bits.replace(bits).is_none(),
            // Without a value: any limit is fine.
            ("client_max_window_bits", bits) => client_bits.replace(bits.unwrap_or(WINDOW_BITS_MAX)).is_none(),
            _ => false,
        };
        if !is_first {
            return None;
        }
    }
    // The compressor has no smaller window.
    if server_bits.is_some_and(|bits| bits < WINDOW_BITS_MIN) {
        return None;
    }
    let window_bits_max = if takeover { TAKEOVER_WINDOW_BITS_MAX } else { WINDOW_BITS_MAX };
    let server_takeover = takeover && !server_forgets;
    Some(Agreed {
        server_takeover,
        // Without a limit of its window, a client's messages could refer to 32 KiB, which nobody may make the server keep.
        client_takeover: takeover && !client_forgets && client_bits.is_some(),
        server_window_bits: server_bits.unwrap_or(WINDOW_BITS_MAX).min(window_bits_max),
        client_window_bits: client_bits.filter(|_| takeover).map(|bits| bits.min(window_bits_max)),
        names_server_window: server_bits.is_some() || server_takeover,
    })
}

/// A value without the quotes that it may have: RFC 6455 §9.1.
fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

/// A number from 8 to 15, written without leading zeros.
fn window_bits(value: &str) -> Option<u8> {
    let bits = value.parse::<u8>().ok().filter(|bits| bits.to_string() == value)?;
    (8..=WINDOW_BITS_MAX).contains(&bits).then_some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(deflate: Deflate, lines: &[&str]) -> Option<String> {
        agree(deflate, lines.iter().copied()).map(Agreed::answer)
    }

    #[test]
    fn each_offer_gets_an_answer_that_fits_it() {
        const NEITHER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        const FORGETS: &str = "permessage-deflate; client_no_context_takeover; server_max_window_bits=12";
        for (offer, no_takeover, takeover) in [
            ("permessage-deflate", NEITHER, FORGETS),
            (
                "permessage-deflate; client_max_window_bits",
                NEITHER,
                "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
            ),
            (
                "permessage-deflate;client_max_window_bits = \"10\"",
                NEITHER,
                "permessage-deflate; server_max_window_bits=12; client_max_window_bits=10",
            ),
            (
                "permessage-deflate; server_max_window_bits=15; client_max_window_bits=8",
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15",
                "permessage-deflate; server_max_window_bits=12; client_max_window_bits=8",
            ),
            (
                "permessage-deflate; server_no_context_takeover; client_max_window_bits",
                NEITHER,
                "permessage-deflate; server_no_context_takeover; client_max_window_bits=12",
            ),
            ("permessage-deflate; client_no_context_takeover", NEITHER, FORGETS),
        ] {
            let answers = [Deflate::NoTakeover, Deflate::Takeover].map(|deflate| answer(deflate, &[offer]));
            assert_eq!(answers, [no_takeover, takeover].map(|answer| Some(answer.to_owned())), "{offer}");
        }
    }

    #[test]
    fn of_several_offers_the_first_acceptable_one_is_answered() {
        let lines =
            ["x-webkit-deflate-frame, permessage-deflate; unknown", "permessage-deflate; server_max_window_bits=9"];
        let expected =
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9";
        assert_eq!(answer(Deflate::NoTakeover, &lines).as_deref(), Some(expected));
    }

    #[test]
    fn what_is_not_a_valid_offer_is_declined() {
        for offer in [
            "",
            ",;=",
            "permessage-deflates",
            "permessage-deflate; ",
            "permessage-deflate; unknown",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=8",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=09",
            "permessage-deflate; server_max_window_bits=\"9",
            "permessage-deflate; client_max_window_bits=",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; server_no_context_takeover=9",
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
            "permessage-deflate; client_max_window_bits=10; client_max_window_bits",
        ] {
            assert_eq!(answer(Deflate::Takeover, &[offer]), None, "{offer}");
        }
    }
}
