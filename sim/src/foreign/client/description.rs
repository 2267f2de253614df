//! What a signal's payload says about a connection, whatever its shape: the text of a session description or of a
//! candidate may lie anywhere in it.

use std::sync::Arc;

use serde_json::Value;

use crate::event::Candidate;
use crate::peer::sdp::Sdp;
use crate::peer::stack::parse_candidate;

/// A session description (RFC 8866, RFC 8839).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Description {
    /// The username fragment.
    pub(super) ufrag: Arc<str>,
    /// The fingerprint of the certificate.
    pub(super) fingerprint: Option<String>,
    /// The session id of the `o=` line: the same in all descriptions of one connection (RFC 9429 §5.2.2).
    pub(super) session: Option<String>,
    /// The candidates in it.
    pub(super) candidates: Vec<Candidate>,
}

impl Description {
    /// Reads the description in a payload.
    pub(super) fn find(payload: &str) -> Option<Self> {
        let sdp = text_that(&serde_json::from_str(payload).ok()?, &|text| text.starts_with("v=0"))?;
        let sdp = Sdp(&sdp);
        Some(Self {
            ufrag: sdp.ufrag()?.into(),
            fingerprint: sdp.fingerprint().map(str::to_lowercase),
            session: sdp.session_id().map(str::to_owned),
            candidates: sdp.candidates().filter_map(candidate).collect(),
        })
    }
}

/// Reads the candidate in a payload.
pub(super) fn candidate_in(payload: &str) -> Option<Candidate> {
    let value = |text: &str| text.trim_start_matches("a=").strip_prefix("candidate:").map(str::to_owned);
    let text = text_that(&serde_json::from_str(payload).ok()?, &|text| value(text).is_some())?;
    candidate(&value(&text)?)
}

/// The first text in a value for which this holds.
fn text_that(value: &Value, is_it: &dyn Fn(&str) -> bool) -> Option<String> {
    match value {
        // Some clients put JSON into a string.
        Value::String(text) if text.starts_with('{') => text_that(&serde_json::from_str(text).ok()?, is_it),
        Value::String(text) => is_it(text).then(|| text.clone()),
        Value::Array(values) => values.iter().find_map(|value| text_that(value, is_it)),
        Value::Object(values) => values.values().find_map(|value| text_that(value, is_it)),
        _ => None,
    }
}

/// Reads the value of an attribute `candidate`: `FOUNDATION COMPONENT PROTOCOL PRIORITY ADDRESS PORT typ TYPE …`, RFC
/// 8839 §5.1. Only those for UDP count.
fn candidate(value: &str) -> Option<Candidate> {
    let protocol = value.split_ascii_whitespace().nth(2)?;
    protocol.eq_ignore_ascii_case("udp").then(|| parse_candidate(value))?
}

#[cfg(test)]
mod tests {
    use crate::event::CandidateKind;

    use super::*;

    const SDP: &str = "v=0\\r\\na=ice-ufrag:ab+c\\r\\na=fingerprint:sha-256 AA:BB\\r\\na=candidate:1 1 UDP 2130706431 192.0.2.1 5000 typ host\\r\\na=candidate:2 1 tcp 1 192.0.2.1 9 typ host\\r\\n";

    #[test]
    fn a_description_is_found_in_every_shape() {
        let plain = format!(r#"{{"type":"offer","sdp":"{SDP}"}}"#);
        let nested = format!(r#"{{"note":1,"description":{{"sdp":{{"type":"offer","sdp":"{SDP}"}}}}}}"#);
        let text = serde_json::to_string(&plain).expect("JSON");
        for payload in [plain, nested, text, format!("\"{SDP}\"")] {
            let found = Description::find(&payload).expect("a description");
            assert_eq!((&*found.ufrag, found.fingerprint.as_deref()), ("ab+c", Some("sha-256 aa:bb")), "{payload}");
            let address = "192.0.2.1:5000".parse().expect("an address");
            assert_eq!(found.candidates, [Candidate { kind: CandidateKind::Host, address }]);
        }
        assert_eq!(Description::find(r#"{"candidate":"candidate:1"}"#), None);
    }

    #[test]
    fn candidates_without_an_address_or_of_tcp_do_not_count() {
        let found = |text: &str| candidate_in(&format!(r#"{{"candidate":"{text}","sdpMid":"0"}}"#));
        let srflx = "candidate:1 1 udp 1694498815 198.51.100.7 40000 typ srflx raddr 192.168.1.2 rport 5000";
        assert_eq!(found(srflx).map(|found| found.kind), Some(CandidateKind::Srflx));
        let ipv6 = found("candidate:1 1 udp 1 2001:db8::1 40000 typ host").expect("a simulated host may have one");
        assert_eq!(ipv6.address, "[2001:db8::1]:40000".parse().expect("an address"));
        assert_eq!(found("candidate:1 1 tcp 1 192.0.2.1 9 typ host tcptype active"), None);
        assert_eq!(found("candidate:1 1 udp 1 abc.local 40000 typ host"), None);
        assert_eq!(found(""), None);
    }
}
