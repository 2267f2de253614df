//! What a client sends, with messages in place of their compressed data.

use std::error::Error;
use std::{fmt, io};

use tokio::io::ReadBuf;

use super::codecs::{Codecs, History};
use crate::session::close::Close;
use crate::session::frame::Header;

/// The bits of a frame's first byte: RFC 6455 §5.2, RFC 7692 §6.
const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;

/// What is wrong with what a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// A message begins within a compressed one, or its next fragment is not one.
    Fragments,
    /// The data is not what DEFLATE makes of a message.
    Data,
    /// The message or its data is longer than the limit.
    TooLarge,
}

impl Broken {
    /// How the connection ends.
    pub(crate) fn close(self) -> Close {
        match self {
            Self::Fragments => Close::Protocol,
            Self::Data => Close::NotDeflate,
            Self::TooLarge => Close::TooLarge,
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fragments => "a compressed message is interrupted",
            Self::Data => "a compressed message cannot be decompressed",
            Self::TooLarge => "a compressed message is too long",
        })
    }
}

impl Error for Broken {}

/// Follows the frames of a client. All bytes pass, except compressed messages: each is replaced by one frame once it is
/// complete.
pub(super) struct Incoming {
    header: Header,
    /// Bytes of payload that the current frame still lacks.
    missing: u64,
    /// The compressed message that has begun: the first byte of its frame, and its data.
    message: Option<(u8, Vec<u8>)>,
    history: History,
    bytes_max: usize,
    /// What can be handed out, from `begin`.
    ready: Vec<u8>,
    begin: usize,
    end: Option<Broken>,
}

impl Incoming {
    pub(super) fn new(history: History, bytes_max: usize) -> Self {
        Self {
            header: Header::default(),
            missing: 0,
            message: None,
            history,
            bytes_max,
            ready: Vec::new(),
            begin: 0,
            end: None,
        }
    }

    /// Fills a buffer. `false`: nothing is ready.
    ///
    /// # Errors
    /// The client has sent something invalid, and all that came before was handed out.
    pub(super) fn hand_out(&mut self, buffer: &mut ReadBuf<'_>) -> io::Result<bool> {
        let ready = &self.ready[self.begin..];
        if !ready.is_empty() {
            let now = ready.len().min(buffer.remaining());
            buffer.put_slice(&ready[..now]);
            self.begin += now;
            if self.begin == self.ready.len() {
                // Idle connections keep nothing.
                (self.ready, self.begin) = (Vec::new(), 0);
            }
            return Ok(true);
        }
        match self.end {
            Some(broken) => Err(io::Error::new(io::ErrorKind::InvalidData, broken)),
            None => Ok(false),
        }
    }

    /// Takes what has arrived.
    pub(super) fn read(&mut self, bytes: &[u8], codecs: &Codecs) {
        if let Err(broken) = self.try_read(bytes, codecs) {
            self.end = Some(broken);
        }
    }

    fn try_read(&mut self, mut bytes: &[u8], codecs: &Codecs) -> Result<(), Broken> {
        while let Some(first) = bytes.first() {
            if self.missing > 0 {
                let count = usize::try_from(self.missing).map_or(bytes.len(), |missing| missing.min(bytes.len()));
                let (payload, rest) = bytes.split_at(count);
                self.payload(payload);
                self.missing -= count as u64;
                bytes = rest;
            } else {
                bytes = &bytes[1..];
                let Some(payload_bytes) = self.header.push(*first) else { continue };
                self.missing = payload_bytes;
                self.begin_frame()?;
            }
            if self.missing == 0 {
                self.end_frame(codecs)?;
            }
        }
        Ok(())
    }

    /// Whether the current frame is a part of a compressed message.
    fn is_part(&self) -> bool {
        self.message.is_some() && !self.header.is_control()
    }

    fn begin_frame(&mut self) -> Result<(), Broken> {
        let (first, is_masked) = (self.header.first(), self.header.second() & MASKED != 0);
        if self.is_part() {
            if first & (RESERVED | OPCODE) != 0 || !is_masked {
                return Err(Broken::Fragments);
            }
        } else if first & RESERVED == RSV1 && matches!(first & OPCODE, 1 | 2) && is_masked {
            self.message = Some((first, Vec::new()));
        }
        if !self.is_part() {
            // What is invalid here, too: the library says so.
            self.ready.extend_from_slice(self.header.bytes());
            return Ok(());
        }
        let held = self.message.as_ref().map_or(0, |(_, data)| data.len());
        if self.missing > (self.bytes_max - held) as u64 {
            return Err(Broken::TooLarge);
        }
        Ok(())
    }

    fn payload(&mut self, payload: &[u8]) {
        if !self.is_part() {
            return self.ready.extend_from_slice(payload);
        }
        let begin = (self.header.payload_bytes() - self.missing) as usize;
        let mask = self.header.mask().into_iter().cycle().skip(begin % 4);
        let (_, data) = self.message.as_mut().expect("the frame is a part of one");
        data.extend(payload.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
    }

    fn end_frame(&mut self, codecs: &Codecs) -> Result<(), Broken> {
        let (is_part, is_final) = (self.is_part(), self.header.is_final());
        self.header = Header::default();
        if !is_part || !is_final {
            return Ok(());
        }
        let (first, data) = self.message.take().expect("the frame is a part of one");
        let message = codecs.inflate(data, &mut self.history, self.bytes_max)?;
        // All zeros is a mask as well, which changes nothing.
        self.ready.extend(Header::masked(FIN | first & OPCODE, message.len(), [0; 4]).bytes());
        self.ready.extend(message);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1000;

    /// A masked frame.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0x12, 0xf4, 0x56, 0x78];
        let masked = payload.iter().zip(mask.into_iter().cycle()).map(|(byte, mask)| byte ^ mask);
        [Header::masked(first, payload.len(), mask).bytes(), &masked.collect::<Vec<_>>()].concat()
    }

    /// A frame that takes the place of a compressed message.
    fn plain(first: u8, payload: &[u8]) -> Vec<u8> {
        [Header::masked(first, payload.len(), [0; 4]).bytes(), payload].concat()
    }

    /// What comes out if the bytes arrive in parts of this length, and what is wrong at the end.
    fn read(bytes: &[u8], step: usize) -> (Vec<u8>, Option<Broken>) {
        let codecs = Codecs::default();
        let mut incoming = Incoming::new(History::new(12, true), LIMIT);
        let mut out = Vec::new();
        for part in bytes.chunks(step) {
            incoming.read(part, &codecs);
            loop {
                let mut buffer = [0; 7];
                let mut buffer = ReadBuf::new(&mut buffer);
                match incoming.hand_out(&mut buffer) {
                    Ok(true) => out.extend(buffer.filled()),
                    Ok(false) => break,
                    Err(error) => {
                        let broken = error.get_ref().and_then(|error| error.downcast_ref()).copied();
                        assert!(broken.is_some());
                        return (out, broken);
                    }
                }
            }
        }
        (out, None)
    }

    /// The data of a client's messages.
    fn data(messages: &[&[u8]]) -> Vec<Vec<u8>> {
        let (codecs, mut history) = (Codecs::default(), History::new(12, true));
        messages.iter().map(|message| codecs.deflate(message, &mut history).expect("it gets shorter")).collect()
    }

    #[test]
    fn compressed_messages_are_replaced_and_everything_else_passes() {
        let (one, two) = (b"a message, a message, a message".repeat(20), b"another message, a message".repeat(3));
        let data = data(&[&one, &two]);
        let (begin, end) = data[1].split_at(3);
        let (between, ping) = (frame(0x81, b"between"), frame(0x89, b"ping"));
        let pass: &[&[u8]] =
            &[&frame(0xa1, b"RSV2"), b"\xc1\x03abc", &frame(0x80, b"continued"), &frame(0xc9, b"ping")];
        let sent =
            [
                &[
                    &frame(0xc1, &data[0])[..],
                    &between,
                    &frame(0x42, begin),
                    &ping,
                    &frame(0x00, b""),
                    &frame(0x80, end),
                ][..],
                &[&frame(0xc1, &[0])],
                pass,
            ]
            .concat()
            .concat();
        let expected = [&[&plain(0x81, &one)[..], &between, &ping, &plain(0x82, &two), &plain(0x81, b"")], pass];
        let expected = expected.concat().concat();
        for step in [1, 2, 3, 5, 100, 10_000] {
            assert_eq!(read(&sent, step), (expected.clone(), None), "{step}");
        }
    }

    #[test]
    fn what_breaks_the_rules_is_reported_behind_what_came_before() {
        let good = frame(0x81, b"good");
        let long = data(&[&[b'x'; LIMIT + 1]]).remove(0);
        let unmasked = b"\x80\x01a".to_vec();
        for (frames, broken) in [
            (vec![frame(0xc1, b"not deflate")], Broken::Data),
            (vec![frame(0x41, b"x"), frame(0x81, b"y")], Broken::Fragments),
            (vec![frame(0x41, b"x"), frame(0xc1, b"y")], Broken::Fragments),
            (vec![frame(0x41, b"x"), frame(0xc0, b"y")], Broken::Fragments),
            (vec![frame(0x41, b"x"), unmasked], Broken::Fragments),
            (vec![frame(0xc1, &long)], Broken::TooLarge),
            (vec![frame(0x41, &[0; LIMIT]), frame(0x80, b"x")], Broken::TooLarge),
            // Before any of it has arrived.
            (vec![frame(0x42, &vec![0; 70_000])[..14].to_vec()], Broken::TooLarge),
        ] {
            let sent = [good.clone(), frames.concat()].concat();
            for step in [1, 10_000] {
                assert_eq!(read(&sent, step), (good.clone(), Some(broken)), "{frames:x?}");
            }
        }
    }
}
