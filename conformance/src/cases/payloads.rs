//! Payloads as browsers and people produce them.

use crate::client::quoted;

/// The size of a session description in a conference with many participants.
pub(super) const DESCRIPTION_BYTES: usize = 72 * 1024;

/// A session description as `RTCPeerConnection` gives it, of the given type, as JSON of at most `bytes_max` bytes, with
/// as many sections as fit. `word` is its stream. `None` if not even one section fits.
pub(super) fn description(kind: &str, word: &str, bytes_max: usize) -> Option<String> {
    let json = |sdp: &str| format!(r#"{{"type":{},"sdp":{}}}"#, quoted(kind), quoted(sdp));
    let mut sdp = format!(
        "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=extmap-allow-mixed\r\n\
         a=msid-semantic: WMS {word}\r\n"
    );
    let mut found = None;
    for number in 0.. {
        sdp.push_str(&if number == 0 { audio(word) } else { video(number, word) });
        let whole = json(&sdp);
        if whole.len() > bytes_max {
            break;
        }
        found = Some(whole);
    }
    found
}

/// What all sections of a description have.
fn transport(number: usize) -> String {
    let candidates = [
        format!(
            "candidate:1467250027 1 udp 2122260223 192.168.0.196 {} typ host generation 0 network-id 1",
            46_243 + number % 1000
        ),
        format!(
            "candidate:435653019 1 tcp 1845501695 192.168.0.196 9 typ host tcptype active generation 0 network-id {number}"
        ),
        format!(
            "candidate:1853887674 1 udp 1686052607 203.0.113.77 {} typ srflx raddr 192.168.0.196 rport 46243 generation 0",
            36_768 + number % 1000
        ),
    ];
    let candidates: String = candidates.iter().map(|candidate| format!("a={candidate}\r\n")).collect();
    format!(
        "c=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n{candidates}a=ice-ufrag:8hhY\r\na=ice-pwd:asd88fgpdd777uzjYhagZg+/\r\n\
         a=ice-options:trickle\r\na=fingerprint:sha-256 D2:FA:0E:C3:22:59:5E:14:95:69:92:3D:13:B4:84:24:2C:C2:A2:C0:3E:FD:34:8E:5E:EA:6F:AF:52:CE:E6:0F\r\n\
         a=setup:actpass\r\na=mid:{number}\r\n"
    )
}

fn audio(word: &str) -> String {
    format!(
        "m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126\r\n{}\
         a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n\
         a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
         a=sendrecv\r\na=msid:{word} audio\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 transport-cc\r\n\
         a=fmtp:111 minptime=10;useinbandfec=1\r\na=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n\
         a=rtpmap:9 G722/8000\r\na=ssrc:2436128312 cname:4TOk42mSjXCkVIa6\r\n",
        transport(0)
    )
}

/// A section with simulcast.
fn video(number: usize, word: &str) -> String {
    let codecs: String = [(96, "VP8"), (98, "VP9"), (102, "H264"), (45, "AV1")]
        .map(|(payload, codec)| {
            format!(
                "a=rtpmap:{payload} {codec}/90000\r\na=rtcp-fb:{payload} goog-remb\r\na=rtcp-fb:{payload} transport-cc\r\n\
                 a=rtcp-fb:{payload} ccm fir\r\na=rtcp-fb:{payload} nack\r\na=rtcp-fb:{payload} nack pli\r\n\
                 a=rtpmap:{} rtx/90000\r\na=fmtp:{} apt={payload}\r\n",
                payload + 1,
                payload + 1
            )
        })
        .concat();
    format!(
        "m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 99 102 103 45 46\r\n{}\
         a=extmap:14 urn:ietf:params:rtp-hdrext:toffset\r\n\
         a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n\
         a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
         a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n\
         a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\r\n\
         a=sendonly\r\na=msid:{word} video-{number}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n{codecs}\
         a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f\r\n\
         a=rid:q send\r\na=rid:h send\r\na=rid:f send\r\na=simulcast:send q;h;f\r\n",
        transport(number)
    )
}

/// Texts of people and pages that a server or a client may change on the way, each as a JSON string.
pub(super) const TEXTS: [(&str, &str); 10] = [
    ("markup", r#""<b>a</b> & <script>alert('x')</script> <!-- --> ]]>""#),
    ("HTML entities", r#""&amp; &lt; &#39; &quot; %3C %26 + %2B""#),
    ("line separators", "\"a\u{2028}b\u{2029}c\""),
    ("escaped line separators", r#""a\u2028b\u2029c\u0085d""#),
    ("line breaks of all kinds", r#""a\r\nb\rc\nd\te""#),
    ("control characters", r#""\u0000\u0001\u001b\u007f""#),
    ("a byte order mark", "\"\u{feff}a\u{feff}\""),
    ("combining characters", "\"e\u{301} \u{e9} A\u{30a} \u{212b} \u{1e69}\""),
    ("code points above U+FFFF", "\"\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} \u{10ffff} \\ud83d\\ude00\""),
    ("noncharacters and other directions", "\"\u{ffff} \u{fffd} \u{202e}abc\u{202c} \u{5d0}\u{5d1}\""),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_as_long_as_allowed() {
        let long = description("offer", "word", DESCRIPTION_BYTES).expect("it fits");
        assert!((64 * 1024..=DESCRIPTION_BYTES).contains(&long.len()), "{}", long.len());
        let parsed: serde_json::Value = serde_json::from_str(&long).expect("JSON");
        let sdp = parsed["sdp"].as_str().expect("a string");
        assert!(sdp.ends_with("\r\n") && sdp.lines().all(|line| line.as_bytes().get(1) == Some(&b'=')), "{sdp}");
        assert!(sdp.contains("a=simulcast:") && sdp.contains("a=extmap:"));
        assert!(description("offer", "word", 8_000).is_some_and(|short| short.len() <= 8_000));
        assert_eq!(description("offer", "word", 100), None);
    }
}
