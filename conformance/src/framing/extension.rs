//! The extension permessage-deflate (RFC 7692): what a client offers, and what a server's response agrees to.

use super::deflate::{Deflater, Inflater, WINDOW_BITS_MAX};
use crate::words::quote;

/// The name of the extension.
pub(crate) const DEFLATE: &str = "permessage-deflate";
/// The smallest window: 2^8 bytes.
const WINDOW_BITS_MIN: u8 = 8;

/// What a server agreed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Agreed {
    server_takeover: bool,
    client_takeover: bool,
    server_window_bits: u8,
    client_window_bits: u8,
}

impl Agreed {
    /// What compresses the client's messages.
    pub(crate) fn deflater(self) -> Deflater {
        Deflater::new(self.client_window_bits, self.client_takeover)
    }

    /// What decompresses the server's messages.
    pub(crate) fn inflater(self) -> Inflater {
        Inflater::new(self.server_window_bits, self.server_takeover)
    }
}

/// A parameter of an extension, with its value if it has one.
type Parameter<'a> = (&'a str, Option<&'a str>);

/// What the lines of a response's `Sec-WebSocket-Extensions` agree to. `offer` is the value of that header in the
/// request; empty: there was none. `None`: the server declined.
///
/// # Errors
/// The response agrees to something that was not offered, or to something that no response may contain.
pub(crate) fn agreed<'a>(offer: &str, lines: impl Iterator<Item = &'a str>) -> Result<Option<Agreed>, String> {
    let offers = extensions(offer);
    let mut found = None;
    for (name, parameters) in lines.flat_map(extensions) {
        if !offers.iter().any(|(offered, _)| *offered == name) {
            return Err(format!("it agrees to the extension {}, which was not offered", quote(name)));
        }
        if name != DEFLATE {
            return Err(format!("it agrees to the extension {}, which does not exist", quote(name)));
        }
        if found.is_some() {
            return Err(format!("it agrees to `{DEFLATE}` twice"));
        }
        // The response need not say which of several offers it accepts: it must fit one of them.
        let answers = offers.iter().filter(|(name, _)| *name == DEFLATE);
        let mut answers: Vec<_> = answers.map(|(_, offered)| accepted(offered, &parameters)).collect();
        let best = answers.iter().position(Result::is_ok).unwrap_or_default();
        found = Some(answers.swap_remove(best)?);
    }
    Ok(found)
}

/// The extensions of a header's line, each with its parameters: RFC 6455 §9.1.
fn extensions(line: &str) -> Vec<(&str, Vec<Parameter<'_>>)> {
    let listed = line.split(',').map(|extension| {
        let mut parts = extension.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let parameters = parts.map(|part| match part.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
            None => (part, None),
        });
        (name, parameters.collect())
    });
    listed.filter(|(name, _)| !name.is_empty()).collect()
}

/// What a response with these parameters agrees to, as the answer to an offer with those: RFC 7692 §7.1.
fn accepted(offered: &[Parameter<'_>], parameters: &[Parameter<'_>]) -> Result<Agreed, String> {
    let offer = |name: &str| offered.iter().find(|(offered, _)| *offered == name).map(|(_, value)| *value);
    // Whatever the response says, the client keeps to the value in its offer: RFC 7692 §7.1.2.2.
    let hint = offer("client_max_window_bits").flatten().and_then(window_bits).unwrap_or(WINDOW_BITS_MAX);
    let mut agreed = Agreed {
        server_takeover: true,
        client_takeover: true,
        server_window_bits: WINDOW_BITS_MAX,
        client_window_bits: hint,
    };
    for (index, (name, value)) in parameters.iter().enumerate() {
        let shown = value.map_or_else(|| quote(name), |value| quote(&format!("{name}={value}")));
        if parameters[..index].iter().any(|(other, _)| other == name) {
            return Err(format!("its answer to `{DEFLATE}` has the parameter {} twice", quote(name)));
        }
        match (*name, *value, value.and_then(window_bits)) {
            ("server_no_context_takeover", None, _) => agreed.server_takeover = false,
            ("client_no_context_takeover", None, _) => agreed.client_takeover = false,
            ("server_max_window_bits", _, Some(bits)) => agreed.server_window_bits = bits,
            ("client_max_window_bits", _, Some(bits)) => {
                if offer(name).is_none() {
                    return Err(format!("its answer to `{DEFLATE}` has the parameter {shown}, which was not offered"));
                }
                agreed.client_window_bits = bits.min(hint);
            }
            _ => return Err(format!("its answer to `{DEFLATE}` has the parameter {shown}, which no answer may have")),
        }
    }
    let asked = offer("server_max_window_bits").flatten().and_then(window_bits);
    if asked.is_some_and(|bits| agreed.server_window_bits > bits) {
        return Err(format!("its answer to `{DEFLATE}` allows itself a larger window than the offer"));
    }
    if offer("server_no_context_takeover").is_some() && agreed.server_takeover {
        return Err(format!("its answer to `{DEFLATE}` lacks `server_no_context_takeover`, which the offer requires"));
    }
    Ok(agreed)
}

/// A number of bits, written without leading zeros.
fn window_bits(value: &str) -> Option<u8> {
    let bits = value.parse::<u8>().ok().filter(|bits| bits.to_string() == value)?;
    (WINDOW_BITS_MIN..=WINDOW_BITS_MAX).contains(&bits).then_some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHROMIUM: &str = "permessage-deflate; client_max_window_bits";
    const FIREFOX: &str = "permessage-deflate";

    fn answer(offer: &str, lines: &[&str]) -> Result<Option<(bool, bool, u8, u8)>, String> {
        let agreed = agreed(offer, lines.iter().copied())?;
        Ok(agreed.map(|agreed| {
            let Agreed { server_takeover, client_takeover, server_window_bits, client_window_bits } = agreed;
            (server_takeover, client_takeover, server_window_bits, client_window_bits)
        }))
    }

    #[test]
    fn what_a_server_may_agree_to() {
        for (offer, lines, expected) in [
            (FIREFOX, &[][..], None),
            (FIREFOX, &[""], None),
            ("", &[], None),
            (FIREFOX, &["permessage-deflate"], Some((true, true, 15, 15))),
            (CHROMIUM, &["permessage-deflate"], Some((true, true, 15, 15))),
            (CHROMIUM, &["permessage-deflate;client_max_window_bits=10"], Some((true, true, 15, 10))),
            (CHROMIUM, &["permessage-deflate; client_max_window_bits=\"9\""], Some((true, true, 15, 9))),
            ("permessage-deflate; client_max_window_bits=9", &["permessage-deflate"], Some((true, true, 15, 9))),
            (
                "permessage-deflate; client_max_window_bits=9",
                &["permessage-deflate; client_max_window_bits=10"],
                Some((true, true, 15, 9)),
            ),
            // A server may limit itself, and ask the client to forget, without being asked to.
            (
                FIREFOX,
                &[
                    "permessage-deflate; server_max_window_bits=8; client_no_context_takeover ; server_no_context_takeover",
                ],
                Some((false, false, 8, 15)),
            ),
            (
                "permessage-deflate; server_max_window_bits=10, permessage-deflate",
                &["permessage-deflate"],
                Some((true, true, 15, 15)),
            ),
        ] {
            assert_eq!(answer(offer, lines), Ok(expected), "{offer} -> {lines:?}");
        }
    }

    #[test]
    fn what_a_server_may_not_agree_to() {
        for (offer, lines, says) in [
            ("", &["permessage-deflate"][..], "the extension `permessage-deflate`, which was not offered"),
            (FIREFOX, &["x-webkit-deflate-frame"], "`x-webkit-deflate-frame`, which was not offered"),
            ("unknown", &["unknown"], "`unknown`, which does not exist"),
            (FIREFOX, &["permessage-deflate", "permessage-deflate"], "twice"),
            (FIREFOX, &["permessage-deflate; client_max_window_bits=15"], "which was not offered"),
            (CHROMIUM, &["permessage-deflate; client_max_window_bits"], "which no answer may have"),
            (CHROMIUM, &["permessage-deflate; client_max_window_bits=16"], "which no answer may have"),
            (CHROMIUM, &["permessage-deflate; client_max_window_bits=09"], "which no answer may have"),
            (CHROMIUM, &["permessage-deflate; server_max_window_bits"], "which no answer may have"),
            (CHROMIUM, &["permessage-deflate; server_no_context_takeover=1"], "which no answer may have"),
            (CHROMIUM, &["permessage-deflate; unknown=1"], "which no answer may have"),
            (FIREFOX, &["permessage-deflate; server_max_window_bits=9; server_max_window_bits=9"], "twice"),
            ("permessage-deflate; server_max_window_bits=9", &["permessage-deflate"], "a larger window than the offer"),
            ("permessage-deflate; server_no_context_takeover", &["permessage-deflate"], "which the offer requires"),
        ] {
            let why = answer(offer, lines).expect_err(says);
            assert!(why.contains(says), "{offer} -> {lines:?}: {why}");
        }
    }
}
