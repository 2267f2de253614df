//! What is read from the text of a session description (RFC 8866, RFC 8839).

/// A media section, as a candidate names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Section {
    /// The value of `a=mid`.
    pub(crate) id: String,
    /// Its place in the description, from 0.
    pub(crate) index: u16,
}

/// The text of a session description.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sdp<'a>(pub(crate) &'a str);

impl<'a> Sdp<'a> {
    /// The ICE username fragment: the value of `a=ice-ufrag`. All sections in use share one, because there is one
    /// transport.
    pub(crate) fn ufrag(self) -> Option<&'a str> {
        self.attribute("ice-ufrag")
    }

    /// The fingerprint of the certificate: the value of `a=fingerprint`.
    pub(crate) fn fingerprint(self) -> Option<&'a str> {
        self.attribute("fingerprint")
    }

    /// The role in the DTLS association that a side takes or offers: the value of `a=setup`. RFC 8842 §5.
    pub(crate) fn setup(self) -> Option<&'a str> {
        self.attribute("setup")
    }

    /// The session id of the `o=` line, which all descriptions of one connection share (RFC 9429 §5.2.2).
    pub(crate) fn session_id(self) -> Option<&'a str> {
        self.0.lines().find_map(|line| line.strip_prefix("o="))?.split(' ').nth(1)
    }

    /// The first section in use: candidates name it, because it has the transport.
    pub(crate) fn section(self) -> Section {
        let index = self.sections().position(is_in_use).unwrap_or_default();
        let id = self.sections().nth(index).and_then(|section| values(section, "mid").next()).unwrap_or_default();
        Section { id: id.to_owned(), index: index as u16 }
    }

    /// The values of all `a=candidate` lines outside of rejected sections.
    pub(crate) fn candidates(self) -> impl Iterator<Item = &'a str> {
        let in_use = self.sections().filter(|section| is_in_use(section));
        std::iter::once(self.session()).chain(in_use).flat_map(|part| values(part, "candidate"))
    }

    /// The value of an attribute of the transport: that of the session, or of the first section in use. What a rejected
    /// section says is out of date: browsers repeat there what held when it was rejected. If no section is in use, the
    /// first that has the attribute counts.
    fn attribute(self, name: &str) -> Option<&'a str> {
        let first = |part| values(part, name).next();
        let in_use = || self.sections().filter(|section| is_in_use(section)).find_map(first);
        first(self.session()).or_else(in_use).or_else(|| self.sections().find_map(first))
    }

    /// The text before the first section.
    fn session(self) -> &'a str {
        self.0.split("\nm=").next().unwrap_or_default()
    }

    /// The text of each media section, without its `m=`.
    fn sections(self) -> impl Iterator<Item = &'a str> {
        self.0.split("\nm=").skip(1)
    }
}

/// Whether a section is not rejected. A rejected one has port 0; so has one that can only share the transport of another.
//= https://www.rfc-editor.org/rfc/rfc9143#section-6
//# 'bundle-only' attribute
fn is_in_use(section: &str) -> bool {
    section.split(' ').nth(1) != Some("0") || section.lines().any(|line| line.trim_end() == "a=bundle-only")
}

/// The values of an attribute in a part of a description.
fn values<'a>(part: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    part.lines()
        .filter_map(move |line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a browser answers when audio and video had been rejected, and ICE restarts: the rejected sections keep
    /// the credentials and the role of the time before.
    const RESTARTED: &str = "v=0\r\no=- 26 3 IN IP4 127.0.0.1\r\na=group:BUNDLE 2\r\n\
        m=audio 0 UDP/TLS/RTP/SAVPF 0\r\na=ice-ufrag:old\r\na=fingerprint:sha-256 00\r\na=setup:active\r\na=mid:0\r\n\
        a=candidate:9 1 udp 1 192.0.2.9 9 typ host\r\n\
        m=video 0 UDP/TLS/RTP/SAVPF 0\r\na=ice-ufrag:old\r\na=setup:active\r\na=mid:1\r\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=ice-ufrag:new\r\na=fingerprint:sha-256 AA\r\n\
        a=setup:passive\r\na=mid:2\r\na=candidate:1 1 udp 1 192.0.2.1 2 typ host\r\n";

    #[test]
    fn rejected_sections_say_nothing() {
        let restarted = Sdp(RESTARTED);
        assert_eq!(restarted.ufrag(), Some("new"));
        assert_eq!(restarted.fingerprint(), Some("sha-256 AA"));
        assert_eq!(restarted.setup(), Some("passive"));
        assert_eq!(restarted.section(), Section { id: "2".to_owned(), index: 2 });
        assert_eq!(restarted.session_id(), Some("26"));
        assert_eq!(restarted.candidates().collect::<Vec<_>>(), ["1 1 udp 1 192.0.2.1 2 typ host"]);
    }

    #[test]
    fn sections_that_share_a_transport_are_in_use() {
        let sdp = RESTARTED.replace("a=mid:0\r\n", "a=mid:0\r\na=bundle-only\r\n");
        assert_eq!(Sdp(&sdp).ufrag(), Some("old"));
        assert_eq!(Sdp(&sdp).section(), Section { id: "0".to_owned(), index: 0 });
    }

    #[test]
    fn the_session_speaks_for_its_sections() {
        let sdp = RESTARTED.replace("a=group", "a=setup:actpass\r\na=group");
        assert_eq!(Sdp(&sdp).setup(), Some("actpass"));
    }

    #[test]
    fn where_all_is_rejected_the_first_section_counts() {
        let sdp = RESTARTED.replace("m=application 9", "m=application 0");
        assert_eq!(Sdp(&sdp).ufrag(), Some("old"));
        assert_eq!(Sdp("v=0\r\n").ufrag(), None);
    }
}
