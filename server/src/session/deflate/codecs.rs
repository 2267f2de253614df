//! Compressing and decompressing messages: RFC 7692 §7.2.
//!
//! A compressor takes up to 310 KiB, so connections do not have their own. What a connection keeps of earlier messages is
//! their end, which a compressor or decompressor is given before the next message.

use std::fmt;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::Broken;
use crate::lock::Lock;

/// The smallest window of the compressor, as the base-2 logarithm of its bytes.
pub(super) const WINDOW_BITS_MIN: u8 = 9;
/// The largest window of DEFLATE.
pub(super) const WINDOW_BITS_MAX: u8 = 15;
const WINDOWS: usize = (WINDOW_BITS_MAX - WINDOW_BITS_MIN + 1) as usize;

/// What ends the data of a message, and is not sent: the end of an empty block.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// How many blocks of a message may be the last one of their stream (RFC 7692 §7.2.3.4). After each of them the decompressor
/// starts anew, which costs more than the two bytes that the block may have.
const LAST_BLOCKS_MAX: usize = 8;
/// An SDP becomes a third shorter than with the fastest, in less than three times the time. The best takes twice as long
/// again, for 3 %.
const LEVEL: u32 = 3;

/// The compressors and decompressors of a server: as many as it has had threads that use one.
#[derive(Default)]
pub(crate) struct Codecs {
    /// For each window, from the smallest.
    deflaters: [Lock<Vec<Compress>>; WINDOWS],
    inflaters: Lock<Vec<Decompress>>,
}

/// The end of a direction's messages so far, to which the next one may refer.
#[derive(Debug)]
pub(super) struct History {
    window_bits: u8,
    /// `None`: each message stands alone.
    bytes: Option<Vec<u8>>,
}

impl History {
    pub(super) fn new(window_bits: u8, takeover: bool) -> Self {
        Self { window_bits, bytes: takeover.then(Vec::new) }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or_default()
    }

    fn append(&mut self, message: &[u8]) {
        let Some(bytes) = &mut self.bytes else { return };
        let window_bytes = 1 << self.window_bits;
        let message = &message[message.len().saturating_sub(window_bytes)..];
        bytes.drain(..(bytes.len() + message.len()).saturating_sub(window_bytes));
        // No more than that, and there are many connections.
        bytes.reserve_exact(message.len());
        bytes.extend_from_slice(message);
    }
}

impl Codecs {
    /// The data of a message; `None` if the message is not longer.
    pub(super) fn deflate(&self, message: &[u8], history: &mut History) -> Option<Vec<u8>> {
        let window_bits = history.window_bits;
        let spare = &self.deflaters[usize::from(window_bits - WINDOW_BITS_MIN)];
        let taken = spare.lock().pop();
        let mut deflater =
            taken.unwrap_or_else(|| Compress::new_with_window_bits(Compression::new(LEVEL), false, window_bits));
        let data = deflated(&mut deflater, message, history.bytes());
        deflater.reset();
        spare.lock().push(deflater);
        let data = data.filter(|data| data.len() < message.len())?;
        history.append(message);
        Some(data)
    }

    /// The message with this data.
    ///
    /// # Errors
    /// The data is invalid, or the message longer than `bytes_max`. No more of it is decompressed then.
    pub(super) fn inflate(
        &self,
        mut data: Vec<u8>,
        history: &mut History,
        bytes_max: usize,
    ) -> Result<Vec<u8>, Broken> {
        let taken = self.inflaters.lock().pop();
        let mut inflater = taken.unwrap_or_else(|| Decompress::new(false));
        data.extend(TAIL);
        let message = inflated(&mut inflater, &data, history.bytes(), bytes_max);
        inflater.reset(false);
        self.inflaters.lock().push(inflater);
        let message = message?;
        history.append(&message);
        Ok(message)
    }
}

impl fmt::Debug for Codecs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Codecs")
    }
}

fn deflated(deflater: &mut Compress, message: &[u8], before: &[u8]) -> Option<Vec<u8>> {
    if !before.is_empty() {
        deflater.set_dictionary(before).ok()?;
    }
    let mut data = Vec::with_capacity(message.len() + TAIL.len());
    // What does not fit into as many bytes as the message has is of no use.
    let status = deflater.compress_vec(message, &mut data, FlushCompress::Sync).ok()?;
    let is_complete = status == Status::Ok && deflater.total_in() == message.len() as u64;
    let end = data.strip_suffix(&TAIL).filter(|_| is_complete)?.len();
    data.truncate(end);
    data.shrink_to_fit();
    Some(data)
}

fn inflated(inflater: &mut Decompress, data: &[u8], before: &[u8], bytes_max: usize) -> Result<Vec<u8>, Broken> {
    let remember = |inflater: &mut Decompress, bytes: &[u8]| match bytes {
        [] => Ok(()),
        bytes => inflater.set_dictionary(bytes).map(|_| ()).map_err(|_| Broken::Data),
    };
    remember(inflater, before)?;
    let mut message = Vec::new();
    let (mut read, mut last_blocks) = (0, 0);
    loop {
        // One byte beyond the limit shows that there is more.
        let room = (4 * data.len()).max(message.len()).min(bytes_max + 1 - message.len());
        message.reserve_exact(room);
        let (total_in, length) = (inflater.total_in(), message.len());
        let status = inflater.decompress_vec(&data[read..], &mut message, FlushDecompress::Sync);
        let status = status.map_err(|_| Broken::Data)?;
        read += (inflater.total_in() - total_in) as usize;
        if message.len() > bytes_max {
            return Err(Broken::TooLarge);
        }
        let has_room = message.len() < message.capacity();
        match status {
            Status::StreamEnd if last_blocks == LAST_BLOCKS_MAX => return Err(Broken::Data),
            Status::StreamEnd => {
                last_blocks += 1;
                inflater.reset(false);
                let window_bytes = 1 << WINDOW_BITS_MAX;
                let known = [before, &message].concat();
                remember(inflater, &known[known.len().saturating_sub(window_bytes)..])?;
            }
            // All that was there is written.
            Status::Ok | Status::BufError if read == data.len() && has_room => return Ok(message),
            Status::Ok | Status::BufError if length == message.len() && total_in == inflater.total_in() && has_room => {
                return Err(Broken::Data);
            }
            Status::Ok | Status::BufError => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Letters in which nothing repeats.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let letters = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b'a' + (state >> 24) as u8 % 26
        });
        letters.take(length).collect()
    }

    #[test]
    fn messages_come_back_with_every_window_and_what_repeats_in_it_costs_little() {
        let codecs = Codecs::default();
        let (short, long) = (noise(200), noise(40_000));
        for window_bits in WINDOW_BITS_MIN..=WINDOW_BITS_MAX {
            for takeover in [false, true] {
                let [mut there, mut here] = [(); 2].map(|()| History::new(window_bits, takeover));
                let mut again = Vec::new();
                for message in [&short, &short, &long, &long, &short, &b"x".repeat(100_000)] {
                    let data = codecs.deflate(message, &mut there).expect("26 letters do not need 8 bits each");
                    again.push(data.len());
                    let message_again = codecs.inflate(data, &mut here, message.len());
                    assert_eq!(message_again.as_ref(), Ok(message), "{window_bits} {takeover}");
                    assert!(here.bytes().len() <= 1 << window_bits && here.bytes() == there.bytes());
                }
                assert_eq!(again[1] < again[0] / 4, takeover, "{again:?}");
                assert!(again[5] < 1000, "{again:?}");
            }
        }
        let kept: usize = codecs.deflaters.iter().map(|spare| spare.lock().len()).sum();
        assert_eq!((kept, codecs.inflaters.lock().len()), (WINDOWS, 1), "all use the same ones");
    }

    #[test]
    fn what_does_not_get_shorter_is_not_compressed_and_not_referred_to() {
        let codecs = Codecs::default();
        let mut history = History::new(12, true);
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(codecs.deflate(&bytes, &mut history), None);
        assert_eq!(history.bytes(), b"");
        assert!(codecs.deflate(&noise(200), &mut history).is_some(), "the compressor is as new");
    }

    #[test]
    fn a_message_longer_than_the_limit_is_not_decompressed() {
        let codecs = Codecs::default();
        let [mut there, mut here] = [(); 2].map(|()| History::new(15, false));
        let data = codecs.deflate(&vec![0; 10_000_000], &mut there).expect("it repeats");
        assert!(data.len() < 50_000);
        for (limit, expected) in
            [(10_000_000, Ok(10_000_000)), (9_999_999, Err(Broken::TooLarge)), (0, Err(Broken::TooLarge))]
        {
            assert_eq!(codecs.inflate(data.clone(), &mut here, limit).map(|message| message.len()), expected);
        }
    }

    #[test]
    fn other_blocks_are_read_and_anything_else_is_refused() {
        // RFC 7692 §7.2.3: a stored block, a last block, two blocks, and an empty message.
        let hello: [&[u8]; 4] = [
            &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
            &[0x00],
        ];
        let codecs = Codecs::default();
        let inflate = |data: &[u8]| codecs.inflate(data.to_vec(), &mut History::new(15, false), 100);
        for (data, message) in hello.into_iter().zip([&b"Hello"[..], b"Hello", b"Hello", b""]) {
            assert_eq!(inflate(data).as_deref(), Ok(message), "{data:x?}");
        }
        // The block type 3, a stored block whose length is wrong, a reference to before the beginning, and bytes that lead nowhere.
        for data in [&[0x07][..], &[0x00, 0x05, 0x00, 0x00, 0x00], &[0x02, 0x03], &[0xff; 40]] {
            assert_eq!(inflate(data), Err(Broken::Data), "{data:x?}");
        }
        assert_eq!(inflate(&[0x03, 0x00].repeat(LAST_BLOCKS_MAX)).as_deref(), Ok(&b""[..]));
        assert_eq!(inflate(&[0x03, 0x00].repeat(LAST_BLOCKS_MAX + 1)), Err(Broken::Data));
    }
}
