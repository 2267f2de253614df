//! What is changed in the descriptions of the library.

/// A description with this session id and version in its `o=` line, which the library draws anew each time, and without
/// candidates, which are told one by one.
//= https://www.rfc-editor.org/rfc/rfc9429#section-5.2.2
//# the o= line MUST be identical to that in the current local description
pub(super) fn with_origin(sdp: &str, id: u64, version: u64) -> String {
    let kept = |line: &&str| !line.starts_with("a=candidate:") && *line != "a=end-of-candidates";
    let lines = sdp.lines().filter(kept).map(|line| match line.starts_with("o=") {
        true => format!("o=- {id} {version} IN IP4 0.0.0.0\r\n"),
        false => format!("{line}\r\n"),
    });
    lines.collect()
}

/// A description as an offer, which leaves the DTLS roles to the answer (RFC 8842 §5.2).
pub(super) fn as_offer(described: &str) -> String {
    described.replace("a=setup:active", "a=setup:actpass").replace("a=setup:passive", "a=setup:actpass")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_keeps_its_session_id_and_has_no_candidates() {
        let sdp = "v=0\r\no=str0m 7 2 IN IP4 0.0.0.0\r\na=setup:passive\r\na=candidate:1 1 udp 1 192.0.2.1 5 typ host\r\n\
                   a=end-of-candidates\r\n";
        let described = with_origin(sdp, 9, 3);
        assert_eq!(described, "v=0\r\no=- 9 3 IN IP4 0.0.0.0\r\na=setup:passive\r\n");
        assert_eq!(as_offer(&described), "v=0\r\no=- 9 3 IN IP4 0.0.0.0\r\na=setup:actpass\r\n");
    }
}
