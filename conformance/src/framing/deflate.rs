//! DEFLATE (RFC 1951) as messages of permessage-deflate use it (RFC 7692 §7.2): a message ends with an empty stored
//! block, whose last four bytes are not sent.
//!
//! The suite must notice a reference beyond the window that was agreed. Libraries accept one that stays within what they
//! decompress in one call, so this is code of its own.
//!
//! The compressor is simple: one block per message, with the fixed code. It never refers farther back than the agreed
//! window. The decompressor reads every kind of block, and reports a reference beyond what was agreed.

use std::fmt;

/// The largest window: 2^15 bytes.
pub(crate) const WINDOW_BITS_MAX: u8 = 15;
/// What a message ends with; it is not sent.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// The least length and the number of extra bits for each length code, from 257.
const LENGTHS: [(usize, u8); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];
/// The least distance and the number of extra bits for each distance code.
const DISTANCES: [(usize, u8); 30] = [
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 0),
    (5, 1),
    (7, 1),
    (9, 2),
    (13, 2),
    (17, 3),
    (25, 3),
    (33, 4),
    (49, 4),
    (65, 5),
    (97, 5),
    (129, 6),
    (193, 6),
    (257, 7),
    (385, 7),
    (513, 8),
    (769, 8),
    (1025, 9),
    (1537, 9),
    (2049, 10),
    (3073, 10),
    (4097, 11),
    (6145, 11),
    (8193, 12),
    (12289, 12),
    (16385, 13),
    (24577, 13),
];
const LENGTH_MIN: usize = 3;
const LENGTH_MAX: usize = 258;
/// The symbol that ends a block.
const END: usize = 256;
/// The order in which a block lists the code lengths of its code length code: RFC 1951 §3.2.7.
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
const HASH_BITS: u32 = 13;

/// Compresses the messages of one direction.
#[derive(Debug)]
pub(crate) struct Deflater {
    window_bytes: usize,
    /// Whether a message may refer to earlier ones.
    takeover: bool,
    /// The end of the messages so far, at most one window.
    history: Vec<u8>,
}

impl Deflater {
    pub(crate) fn new(window_bits: u8, takeover: bool) -> Self {
        Self { window_bytes: 1 << window_bits, takeover, history: Vec::new() }
    }

    /// The payload of the next message.
    pub(crate) fn message(&mut self, message: &[u8]) -> Vec<u8> {
        let mut text = std::mem::take(&mut self.history);
        let begin = text.len();
        text.extend(message);
        // Where the three bytes with a hash were last seen, plus one.
        let mut seen = vec![0_usize; 1 << HASH_BITS];
        let hash = |at: usize| {
            let bytes = text.get(at..at + LENGTH_MIN)?;
            let number = u32::from(bytes[0]) << 16 | u32::from(bytes[1]) << 8 | u32::from(bytes[2]);
            Some((number.wrapping_mul(0x9e37_79b1) >> (32 - HASH_BITS)) as usize)
        };
        let enter = |seen: &mut Vec<usize>, from: usize, to: usize| {
            for at in from..to {
                if let Some(hash) = hash(at) {
                    seen[hash] = at + 1;
                }
            }
        };
        enter(&mut seen, 0, begin);
        let mut out = BitWriter::default();
        // Not the last block, fixed code.
        out.put(0b010, 3);
        let mut at = begin;
        while at < text.len() {
            let before = hash(at).and_then(|hash| seen[hash].checked_sub(1));
            let before = before.filter(|before| at - before <= self.window_bytes);
            let length = before.map_or(0, |before| {
                let same = text[at..].iter().zip(&text[before..]).take(LENGTH_MAX);
                same.take_while(|(a, b)| a == b).count()
            });
            match before {
                Some(before) if length >= LENGTH_MIN => out.reference(length, at - before),
                _ => out.symbol(usize::from(text[at])),
            }
            let next = at + if length >= LENGTH_MIN { length } else { 1 };
            enter(&mut seen, at, next);
            at = next;
        }
        out.symbol(END);
        // The empty stored block: not the last one, and padding. The rest is the tail.
        out.put(0, 3);
        if self.takeover {
            self.history = text.split_off(text.len().saturating_sub(self.window_bytes));
        }
        out.bytes
    }
}

#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    /// How many bits of the last byte are used; 0 if all are.
    used: u8,
}

impl BitWriter {
    /// Appends a number, the lowest bit first.
    fn put(&mut self, number: usize, bits: u8) {
        for bit in 0..bits {
            if self.used == 0 {
                self.bytes.push(0);
            }
            let last = self.bytes.last_mut().expect("one was pushed");
            *last |= ((number >> bit & 1) as u8) << self.used;
            self.used = (self.used + 1) % 8;
        }
    }

    /// Appends a symbol in the fixed code, the highest bit first: RFC 1951 §3.2.6.
    fn symbol(&mut self, symbol: usize) {
        let (code, bits) = match symbol {
            0..144 => (0x30 + symbol, 8),
            144..256 => (0x190 + symbol - 144, 9),
            256..280 => (symbol - 256, 7),
            _ => (0xc0 + symbol - 280, 8),
        };
        self.code(code, bits);
    }

    fn code(&mut self, code: usize, bits: u8) {
        (0..bits).rev().for_each(|bit| self.put(code >> bit & 1, 1));
    }

    fn reference(&mut self, length: usize, distance: usize) {
        let index = |table: &[(usize, u8)], value: usize| {
            table.iter().rposition(|(least, _)| *least <= value).expect("no value is below the first")
        };
        let code = index(&LENGTHS, length);
        self.symbol(END + 1 + code);
        self.put(length - LENGTHS[code].0, LENGTHS[code].1);
        let code = index(&DISTANCES, distance);
        self.code(code, 5);
        self.put(distance - DISTANCES[code].0, DISTANCES[code].1);
    }
}

/// What is wrong with a compressed message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// It ends within a block.
    Truncated,
    /// A block has the reserved type.
    BlockType,
    /// The length of a stored block and its complement do not match.
    StoredLength,
    /// The code lengths of a block are no code.
    CodeLengths,
    /// Bits that are no symbol.
    Symbol,
    /// A reference goes back farther than the window that was agreed.
    BeyondWindow { distance: usize, window_bytes: usize },
    /// A reference goes back beyond the first byte, or beyond the message if there is no context takeover.
    BeyondBeginning { distance: usize, available: usize },
    /// It is longer than any correct server's.
    TooLong,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a compressed message ")?;
        match self {
            Self::Truncated => f.write_str("ends within a block"),
            Self::BlockType => f.write_str("has a block of the reserved type"),
            Self::StoredLength => f.write_str("has a stored block whose length does not match its complement"),
            Self::CodeLengths => f.write_str("has a block whose code lengths are no code"),
            Self::Symbol => f.write_str("has bits that are no symbol"),
            Self::BeyondWindow { distance, window_bytes } => {
                write!(f, "refers {distance} bytes back, and the window has {window_bytes} bytes")
            }
            Self::BeyondBeginning { distance, available } => {
                write!(f, "refers {distance} bytes back, where {available} bytes are known")
            }
            Self::TooLong => f.write_str("is longer than a client accepts"),
        }
    }
}

impl std::error::Error for Malformed {}

/// Decompresses the messages of one direction.
#[derive(Debug)]
pub(crate) struct Inflater {
    window_bytes: usize,
    /// Whether a message may refer to earlier ones.
    takeover: bool,
    history: Vec<u8>,
}

impl Inflater {
    pub(crate) fn new(window_bits: u8, takeover: bool) -> Self {
        Self { window_bytes: 1 << window_bits, takeover, history: Vec::new() }
    }

    /// The message with this payload.
    ///
    /// # Errors
    /// The payload is not what DEFLATE makes of a message of at most `bytes_max` bytes.
    pub(crate) fn message(&mut self, payload: &[u8], bytes_max: usize) -> Result<Vec<u8>, Malformed> {
        let mut bytes = BitReader { bytes: [payload, &TAIL].concat(), at: 0 };
        let mut out = std::mem::take(&mut self.history);
        let begin = out.len();
        let limit = begin + bytes_max;
        while !bytes.is_over() {
            let is_last = bytes.take(1)? == 1;
            match bytes.take(2)? {
                0 => {
                    bytes.align();
                    let (length, complement) = (bytes.take(16)?, bytes.take(16)?);
                    if length != complement ^ 0xffff {
                        return Err(Malformed::StoredLength);
                    }
                    for _ in 0..length {
                        out.push(bytes.take(8)? as u8);
                    }
                }
                1 => {
                    let mut lengths = [8_u8; 288];
                    lengths[144..256].fill(9);
                    lengths[256..280].fill(7);
                    self.block(&mut bytes, &mut out, &Code::new(&lengths)?, &Code::new(&[5; 30])?, limit)?;
                }
                2 => {
                    let (symbols, distances) = codes(&mut bytes)?;
                    self.block(&mut bytes, &mut out, &symbols, &distances, limit)?;
                }
                _ => return Err(Malformed::BlockType),
            }
            // RFC 7692 §7.2.3.4: a message may consist of last blocks; the next one begins with the next byte.
            if is_last {
                bytes.align();
            }
            if out.len() > limit {
                return Err(Malformed::TooLong);
            }
        }
        let message = out[begin..].to_vec();
        if self.takeover {
            self.history = out.split_off(out.len().saturating_sub(self.window_bytes));
        }
        Ok(message)
    }

    fn block(
        &self,
        bytes: &mut BitReader,
        out: &mut Vec<u8>,
        symbols: &Code,
        distances: &Code,
        limit: usize,
    ) -> Result<(), Malformed> {
        loop {
            let symbol = symbols.read(bytes)?;
            match symbol {
                0..END => out.push(symbol as u8),
                END => return Ok(()),
                _ => {
                    let (least, extra) = *LENGTHS.get(symbol - END - 1).ok_or(Malformed::Symbol)?;
                    let length = least + bytes.take(extra)?;
                    let (least, extra) = *DISTANCES.get(distances.read(bytes)?).ok_or(Malformed::Symbol)?;
                    let distance = least + bytes.take(extra)?;
                    let (window_bytes, available) = (self.window_bytes, out.len());
                    if distance > window_bytes {
                        return Err(Malformed::BeyondWindow { distance, window_bytes });
                    }
                    if distance > available {
                        return Err(Malformed::BeyondBeginning { distance, available });
                    }
                    (0..length).for_each(|_| out.push(out[out.len() - distance]));
                }
            }
            if out.len() > limit {
                return Err(Malformed::TooLong);
            }
        }
    }
}

/// The two codes at the beginning of a block: RFC 1951 §3.2.7.
fn codes(bytes: &mut BitReader) -> Result<(Code, Code), Malformed> {
    let (symbols, distances) = (bytes.take(5)? + 257, bytes.take(5)? + 1);
    let mut lengths = [0_u8; 19];
    for index in &ORDER[..bytes.take(4)? + 4] {
        lengths[*index] = bytes.take(3)? as u8;
    }
    let code = Code::new(&lengths)?;
    let mut lengths = Vec::with_capacity(symbols + distances);
    while lengths.len() < symbols + distances {
        let (length, times) = match code.read(bytes)? {
            16 => (*lengths.last().ok_or(Malformed::CodeLengths)?, 3 + bytes.take(2)?),
            17 => (0, 3 + bytes.take(3)?),
            18 => (0, 11 + bytes.take(7)?),
            length => (length as u8, 1),
        };
        lengths.extend(std::iter::repeat_n(length, times));
    }
    if lengths.len() > symbols + distances {
        return Err(Malformed::CodeLengths);
    }
    Ok((Code::new(&lengths[..symbols])?, Code::new(&lengths[symbols..])?))
}

/// A canonical Huffman code: RFC 1951 §3.2.2.
struct Code {
    /// How many symbols have each length.
    counts: [usize; 16],
    /// The symbols, ordered by their codes.
    symbols: Vec<usize>,
}

impl Code {
    fn new(lengths: &[u8]) -> Result<Self, Malformed> {
        let mut counts = [0; 16];
        lengths.iter().filter(|length| **length > 0).for_each(|length| counts[usize::from(*length)] += 1);
        let mut left = 1_i32;
        for count in &counts[1..] {
            left = left * 2 - *count as i32;
            if left < 0 {
                return Err(Malformed::CodeLengths);
            }
        }
        let mut symbols: Vec<usize> = (0..lengths.len()).filter(|symbol| lengths[*symbol] > 0).collect();
        symbols.sort_by_key(|symbol| lengths[*symbol]);
        Ok(Self { counts, symbols })
    }

    fn read(&self, bytes: &mut BitReader) -> Result<usize, Malformed> {
        // Among the codes of each length, the first one and the index of its symbol.
        let (mut code, mut first, mut index) = (0, 0, 0);
        for count in &self.counts[1..] {
            code = code * 2 + bytes.take(1)?;
            first *= 2;
            if code < first + count {
                return Ok(self.symbols[index + code - first]);
            }
            first += count;
            index += count;
        }
        Err(Malformed::Symbol)
    }
}

struct BitReader {
    bytes: Vec<u8>,
    /// The next bit.
    at: usize,
}

impl BitReader {
    /// A number, the lowest bit first.
    fn take(&mut self, bits: u8) -> Result<usize, Malformed> {
        let mut number = 0;
        for bit in 0..bits {
            let byte = self.bytes.get(self.at / 8).ok_or(Malformed::Truncated)?;
            number |= usize::from(byte >> (self.at % 8) & 1) << bit;
            self.at += 1;
        }
        Ok(number)
    }

    /// Skips the rest of a byte that was begun.
    fn align(&mut self) {
        self.at = self.at.next_multiple_of(8);
    }

    fn is_over(&self) -> bool {
        self.at.div_ceil(8) >= self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: usize = 1 << 20;

    fn inflated(payloads: &[&[u8]]) -> Result<Vec<String>, Malformed> {
        let mut inflater = Inflater::new(WINDOW_BITS_MAX, true);
        let text = |payload: &&[u8]| Ok(String::from_utf8(inflater.message(payload, ANY)?).expect("UTF-8"));
        payloads.iter().map(text).collect()
    }

    /// The examples of RFC 7692 §7.2.3.
    #[test]
    fn the_examples_of_the_specification_are_read() {
        let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(inflated(&[&hello, &hello]).expect("right"), ["Hello", "Hello"]);
        assert_eq!(inflated(&[&hello, &[0xf2, 0x00, 0x11, 0x00, 0x00]]).expect("right"), ["Hello", "Hello"]);
        let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
        assert_eq!(inflated(&[&stored]).expect("right"), ["Hello"]);
        let last = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
        assert_eq!(inflated(&[&last, &last]).expect("right"), ["Hello", "Hello"]);
        let two_blocks = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(inflated(&[&two_blocks]).expect("right"), ["Hello"]);
        assert_eq!(inflated(&[&[0x00], &hello, &[0x00], &hello]).expect("right"), ["", "Hello", "", "Hello"]);
    }

    #[test]
    fn hello_is_written_as_in_the_specification() {
        let mut deflater = Deflater::new(WINDOW_BITS_MAX, true);
        assert_eq!(deflater.message(b"Hello"), [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
        // The second one is a reference to the first.
        assert!(deflater.message(b"Hello").len() < 6);
    }

    /// What zlib makes of the message below at level 9 with a raw window of 2^15: a block with codes of its own.
    const OF_ZLIB: &[u8] = include_bytes!("deflate.of-zlib.bin");

    #[test]
    fn a_block_with_codes_of_its_own_is_read() {
        let text: String =
            (0..200).map(|n| format!("a=candidate:{n} 1 udp {} 10.0.0.{n} typ host\r\n", n * n)).collect();
        assert_eq!(inflated(&[OF_ZLIB]).expect("right"), [text]);
    }

    /// Texts that repeat themselves near and far, and some that do not.
    fn texts() -> Vec<Vec<u8>> {
        let mut state = 1_u32;
        let mut random = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 24
        };
        let noise: Vec<u8> = (0..40_000).map(|_| random() as u8).collect();
        vec![
            Vec::new(),
            b"a".to_vec(),
            b"abcabcabcabcabcabc".to_vec(),
            vec![b'x'; 100_000],
            noise.clone(),
            [&noise[..900], b"between", &noise[..900]].concat(),
            (0..=255).collect(),
        ]
    }

    #[test]
    fn what_is_compressed_can_be_read_within_the_agreed_window() {
        for (bits, takeover) in [(15, true), (15, false), (8, true), (9, false), (12, true)] {
            let (mut deflater, mut inflater) = (Deflater::new(bits, takeover), Inflater::new(bits, takeover));
            for text in texts().into_iter().chain(texts()) {
                assert_eq!(inflater.message(&deflater.message(&text), ANY), Ok(text), "{bits} bits, {takeover}");
            }
        }
    }

    #[test]
    fn a_reference_beyond_what_was_agreed_is_told() {
        let text: Vec<u8> = texts().swap_remove(4)[..2000].to_vec();
        let mut deflater = Deflater::new(15, true);
        let (first, second) = (deflater.message(&text), deflater.message(&text));
        let mut small = Inflater::new(10, true);
        assert_eq!(small.message(&first, ANY).as_ref(), Ok(&text));
        let beyond = Err(Malformed::BeyondWindow { distance: 2000, window_bytes: 1024 });
        assert_eq!(small.message(&second, ANY), beyond);
        let mut alone = Inflater::new(15, false);
        assert_eq!(alone.message(&first, ANY).as_ref(), Ok(&text));
        assert_eq!(alone.message(&second, ANY), Err(Malformed::BeyondBeginning { distance: 2000, available: 0 }));
        let both = Deflater::new(15, true).message(&[&text[..], &text].concat());
        assert_eq!(Inflater::new(10, true).message(&both, ANY), beyond);
    }

    #[test]
    fn what_is_not_deflate_is_told() {
        let inflater = |payload: &[u8]| Inflater::new(15, true).message(payload, ANY).expect_err("it is wrong");
        assert_eq!(inflater(b"\x07"), Malformed::BlockType);
        assert_eq!(inflater(b"\x00\x01\x00\x00\x00"), Malformed::StoredLength);
        // The tail was sent too, or nothing at all.
        assert_eq!(inflater(&[0x00, 0x00, 0xff, 0xff]), Malformed::Truncated);
        assert_eq!(inflater(b""), Malformed::Truncated);
        assert_eq!(inflater(b"\xf2\x48"), Malformed::Truncated);
        assert_eq!(inflater(b"plain text"), Malformed::StoredLength);
        let long = Deflater::new(15, true).message(&vec![b'x'; 5000]);
        assert_eq!(Inflater::new(15, true).message(&long, 4999), Err(Malformed::TooLong));
    }
}
