//! One direction of a WebSocket, reassembled from TCP segments.

use std::io::Cursor;

use sim::event::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// The bytes of one direction.
#[derive(Default)]
pub(super) struct Direction {
    /// The next sequence number, once the connection has begun. RFC 9293 §3.4.
    next: Option<u32>,
    /// Bytes not read yet.
    bytes: Vec<u8>,
    /// Whether the HTTP handshake is over.
    upgraded: bool,
    /// The message of which more fragments follow.
    message: Option<(Data, Vec<u8>)>,
}

impl Direction {
    /// Starts at a SYN, with its sequence number.
    pub(super) fn begin(seq: u32) -> Self {
        Self { next: Some(seq.wrapping_add(1)), ..Self::default() }
    }

    /// Adds a segment. Returns the messages that end in it. Nothing is read beyond a gap.
    pub(super) fn take(&mut self, seq: u32, payload: &[u8]) -> Vec<Frame> {
        let Some(next) = self.next else { return Vec::new() };
        let known = next.wrapping_sub(seq) as usize;
        let Some(fresh) = payload.get(known..).filter(|fresh| !fresh.is_empty()) else { return Vec::new() };
        self.next = Some(next.wrapping_add(fresh.len() as u32));
        self.bytes.extend_from_slice(fresh);
        if !self.upgraded {
            let Some(end) = self.bytes.windows(4).position(|end| end == b"\r\n\r\n") else { return Vec::new() };
            self.bytes.drain(..end + 4);
            self.upgraded = true;
        }
        let mut ended = Vec::new();
        while let Some((header, payload)) = self.frame() {
            ended.extend(self.message(&header, payload));
        }
        ended
    }

    /// The next complete frame, unmasked. RFC 6455 §5.2.
    fn frame(&mut self) -> Option<(FrameHeader, Vec<u8>)> {
        let mut cursor = Cursor::new(&self.bytes);
        let (header, length) = FrameHeader::parse(&mut cursor).ok()??;
        let from = usize::try_from(cursor.position()).ok()?;
        let to = from.checked_add(usize::try_from(length).ok()?)?;
        let mut payload = self.bytes.get(from..to)?.to_vec();
        if let Some(mask) = header.mask {
            payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        }
        self.bytes.drain(..to);
        Some((header, payload))
    }

    fn message(&mut self, header: &FrameHeader, mut payload: Vec<u8>) -> Option<Frame> {
        let kind = match header.opcode {
            OpCode::Control(Control::Ping) => return Some(Frame::Ping),
            OpCode::Control(Control::Pong) => return Some(Frame::Pong),
            OpCode::Control(_) => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                return Some(Frame::Close(code));
            }
            OpCode::Data(Data::Continue) => {
                let (kind, mut begun) = self.message.take()?;
                begun.append(&mut payload);
                payload = begun;
                kind
            }
            OpCode::Data(kind) => kind,
        };
        if !header.is_final {
            self.message = Some((kind, payload));
            return None;
        }
        match kind {
            Data::Text => Some(Frame::Text(String::from_utf8_lossy(&payload).into())),
            _ => Some(Frame::Binary(payload.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANDSHAKE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    /// `Hello`, masked, and `Hello` in two frames with a ping between: the examples of RFC 6455 §5.7.
    const HELLOS: [&[u8]; 4] = [
        &[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58],
        &[0x01, 0x03, 0x48, 0x65, 0x6c],
        &[0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f],
        &[0x80, 0x02, 0x6c, 0x6f],
    ];

    #[test]
    fn messages_end_in_the_segment_of_their_last_byte_in_any_segmentation() {
        let stream = [HANDSHAKE, &HELLOS.concat()].concat();
        let ends = [HANDSHAKE.len() + 11, HANDSHAKE.len() + 23, stream.len()];
        for size in 1..stream.len() {
            let mut direction = Direction::begin(u32::MAX - 9);
            let mut found = Vec::new();
            for (number, segment) in stream.chunks(size).enumerate() {
                let seq = (u32::MAX - 8).wrapping_add((number * size) as u32);
                found.extend(direction.take(seq, segment).into_iter().map(|frame| (number, frame)));
                assert!(direction.take(seq, segment).is_empty(), "a duplicate adds nothing");
            }
            let at = |end: usize| (end - 1) / size;
            let hello = || Frame::Text("Hello".into());
            assert_eq!(found, [(at(ends[0]), hello()), (at(ends[1]), Frame::Ping), (at(ends[2]), hello())]);
        }
    }

    #[test]
    fn nothing_is_read_beyond_a_gap_or_before_the_beginning() {
        let stream = [HANDSHAKE, HELLOS[0]].concat();
        let mut direction = Direction::begin(0);
        assert!(direction.take(1, HANDSHAKE).is_empty());
        assert!(direction.take(HANDSHAKE.len() as u32 + 2, HELLOS[0]).is_empty(), "a byte is missing");
        assert!(Direction::default().take(1, &stream).is_empty());
        assert_eq!(Direction::begin(0).take(1, &stream), [Frame::Text("Hello".into())]);
    }
}
