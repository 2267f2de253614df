//! Reads the WebSocket messages of a TCP connection as they pass, in both directions (RFC 6455). It changes nothing, and
//! reads on however the bytes are cut.

use std::mem;

use crate::event::Frame;

/// The longest head of a request or a response that is read.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The longest message that is read. Of a longer one only the length is recorded.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// What has passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// The server has accepted the WebSocket.
    Opened,
    /// The server has answered the request with another status.
    Refused(u16),
    /// A frame, or a message of several.
    Frame {
        out: bool,
        frame: Frame,
        /// Of a close frame: its reason.
        reason: String,
    },
    /// The messages cannot be read: they are compressed, or not a WebSocket's.
    Unreadable(&'static str),
}

/// A TCP connection.
#[derive(Default)]
pub(super) struct WebSocket {
    out: Direction,
    inward: Direction,
    opened: bool,
    /// Whether it is not a WebSocket, or cannot be read.
    ignored: bool,
}

/// One direction of it.
#[derive(Default)]
struct Direction {
    bytes: Vec<u8>,
    /// Whether the head has passed.
    begun: bool,
    /// The beginning of a message that consists of several frames: its opcode and its payload.
    partial: Option<(u8, Vec<u8>)>,
}

impl WebSocket {
    /// Takes bytes that have passed.
    pub(super) fn pass(&mut self, out: bool, bytes: &[u8], found: &mut Vec<Passed>) {
        if self.ignored {
            return;
        }
        self.direction(out).bytes.extend_from_slice(bytes);
        if out || self.opened {
            self.read(out, found);
            return;
        }
        let Some(head) = take_head(&mut self.inward) else {
            self.ignored = self.inward.bytes.len() > HEAD_BYTES_MAX;
            return;
        };
        match status(&head) {
            Some(101) => {
                self.opened = true;
                found.push(Passed::Opened);
                if has_extension(&head) {
                    self.ignored = true;
                    return found.push(Passed::Unreadable("they are compressed (permessage-deflate)"));
                }
                self.read(false, found);
                // What the program has already sent.
                self.read(true, found);
            }
            Some(other) => {
                self.ignored = true;
                found.push(Passed::Refused(other));
            }
            None => self.ignored = true,
        }
    }

    /// Whether the server has answered the request.
    pub(super) fn is_answered(&self) -> bool {
        self.opened || self.ignored
    }

    fn direction(&mut self, out: bool) -> &mut Direction {
        if out { &mut self.out } else { &mut self.inward }
    }

    fn read(&mut self, out: bool, found: &mut Vec<Passed>) {
        if out && !self.out.begun && take_head(&mut self.out).is_none() {
            self.ignored = self.out.bytes.len() > HEAD_BYTES_MAX;
            return;
        }
        if !self.opened {
            return;
        }
        match self.direction(out).frames(out, found) {
            Ok(()) => {}
            Err(why) => {
                self.ignored = true;
                found.push(Passed::Unreadable(why));
            }
        }
    }
}

impl Direction {
    /// Takes the frames that are complete.
    fn frames(&mut self, out: bool, found: &mut Vec<Passed>) -> Result<(), &'static str> {
        let bytes = mem::take(&mut self.bytes);
        let mut rest = &bytes[..];
        while let Some((head, payload, after)) = split_frame(rest)? {
            rest = after;
            self.frame(out, head, payload, found)?;
        }
        self.bytes = rest.to_vec();
        Ok(())
    }

    fn frame(&mut self, out: bool, head: u8, payload: Vec<u8>, found: &mut Vec<Passed>) -> Result<(), &'static str> {
        const CONTINUATION: u8 = 0;
        let (is_last, opcode) = (head & 0x80 != 0, head & 0x0f);
        let (opcode, payload) = match (opcode, self.partial.take()) {
            (CONTINUATION, None) => return Err("a continuation frame continues nothing"),
            (CONTINUATION, Some((opcode, mut before))) => {
                before.extend_from_slice(&payload);
                (opcode, before)
            }
            (8.., partial) => {
                // A control frame may come between the frames of a message.
                self.partial = partial;
                (opcode, payload)
            }
            (_, Some(_)) => return Err("a message begins before the last one has ended"),
            (_, None) => (opcode, payload),
        };
        if !is_last {
            self.partial = Some((opcode, payload));
            return Ok(());
        }
        let mut reason = String::new();
        let frame = match opcode {
            1 => Frame::Text(String::from_utf8_lossy(&payload).into()),
            2 => Frame::Binary(payload.len()),
            8 => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default()).into_owned();
                Frame::Close(code)
            }
            9 => Frame::Ping,
            10 => Frame::Pong,
            _ => return Err("a frame has an unknown opcode"),
        };
        found.push(Passed::Frame { out, frame, reason });
        Ok(())
    }
}

/// Takes the head of a request or a response, if it is complete.
fn take_head(direction: &mut Direction) -> Option<String> {
    let end = direction.bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    direction.begun = true;
    Some(String::from_utf8_lossy(&direction.bytes.drain(..end).collect::<Vec<_>>()).into_owned())
}

fn status(head: &str) -> Option<u16> {
    head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()
}

fn has_extension(head: &str) -> bool {
    head.lines().any(|line| {
        let (name, value) = line.split_once(':').unwrap_or_default();
        name.eq_ignore_ascii_case("sec-websocket-extensions") && value.contains("deflate")
    })
}

type Split<'a> = Option<(u8, Vec<u8>, &'a [u8])>;

/// Splits the first frame off, if it is complete: its first byte, its payload without the mask, and what follows.
fn split_frame(bytes: &[u8]) -> Result<Split<'_>, &'static str> {
    let [head, second, rest @ ..] = bytes else { return Ok(None) };
    if head & 0x70 != 0 {
        return Err("a frame has reserved bits");
    }
    let (length, rest) = match second & 0x7f {
        126 => match rest.split_first_chunk() {
            Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk() {
            Some((length, rest)) => (u64::from_be_bytes(*length), rest),
            None => return Ok(None),
        },
        length => (u64::from(length), rest),
    };
    let length = usize::try_from(length).ok().filter(|length| *length <= MESSAGE_BYTES_MAX);
    let length = length.ok_or("a frame is longer than 16 MiB")?;
    let (mask, rest) = match second & 0x80 {
        0 => ([0; 4], rest),
        _ => match rest.split_first_chunk() {
            Some((mask, rest)) => (*mask, rest),
            None => return Ok(None),
        },
    };
    let Some((payload, rest)) = rest.split_at_checked(length) else { return Ok(None) };
    let payload = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    Ok(Some((*head, payload, rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
    const ACCEPTED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";

    fn text(out: bool, text: &str) -> Passed {
        Passed::Frame { out, frame: Frame::Text(text.into()), reason: String::new() }
    }

    /// What is found when the bytes pass in pieces of this size.
    fn found(passing: &[(bool, &[u8])], size: usize) -> Vec<Passed> {
        let (mut socket, mut found) = (WebSocket::default(), Vec::new());
        for (out, bytes) in passing {
            bytes.chunks(size).for_each(|piece| socket.pass(*out, piece, &mut found));
        }
        found
    }

    #[test]
    fn frames_are_read_however_the_bytes_are_cut() {
        // "Hello" masked and unmasked, from RFC 6455 §5.7; "Hel" and "lo" with a ping in between.
        let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        let pieces = [&[0x01, 0x03][..], b"Hel", &[0x89, 0x00], &[0x80, 0x02], b"lo"].concat();
        let long = [&[0x82, 126, 1, 0][..], &[7; 256]].concat();
        let close = [0x88, 0x05, 0x03, 0xe9, b'b', b'y', b'e'];
        let passing = [
            (true, REQUEST),
            (false, ACCEPTED),
            (true, &masked[..]),
            (false, &pieces[..]),
            (false, &long[..]),
            (false, &close[..]),
        ];
        let frame = |frame| Passed::Frame { out: false, frame, reason: String::new() };
        let right = [
            Passed::Opened,
            text(true, "Hello"),
            frame(Frame::Ping),
            text(false, "Hello"),
            frame(Frame::Binary(256)),
            Passed::Frame { out: false, frame: Frame::Close(Some(1001)), reason: "bye".to_owned() },
        ];
        for size in [1, 2, 3, 7, 1000] {
            assert_eq!(found(&passing, size), right, "{size}");
        }
    }

    #[test]
    fn what_is_no_websocket_is_ignored() {
        let refused = b"HTTP/1.1 403 Forbidden\r\n\r\n{}";
        assert_eq!(found(&[(true, REQUEST), (false, refused)], 5), [Passed::Refused(403)]);
        assert_eq!(found(&[(true, b"ping\n"), (false, b"pong\r\n\r\n")], 3), []);
        let compressed =
            b"HTTP/1.1 101 Yes\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n\r\n";
        let found = found(&[(true, REQUEST), (false, compressed), (false, &[0xc1, 0x02, 0, 0])], 1000);
        assert_eq!(found[0], Passed::Opened);
        assert!(matches!(found[..], [_, Passed::Unreadable(why)] if why.contains("compressed")), "{found:?}");
    }
}
