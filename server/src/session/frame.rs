//! The header of a client's frame: RFC 6455 §5.2.

/// Bytes of a masked frame's header with the longest length.
const BYTES_MAX: usize = 14;

/// A header, as far as it has arrived.
#[derive(Clone, Debug, Default)]
pub(super) struct Header {
    bytes: [u8; BYTES_MAX],
    count: usize,
}

impl Header {
    /// The header of a complete frame.
    pub(super) fn masked(first: u8, payload_bytes: usize, mask: [u8; 4]) -> Self {
        let mut header = Self::default();
        let mut add = |bytes: &[u8]| {
            header.bytes[header.count..][..bytes.len()].copy_from_slice(bytes);
            header.count += bytes.len();
        };
        add(&[first]);
        match payload_bytes {
            0..126 => add(&[0x80 | payload_bytes as u8]),
            126..0x1_0000 => {
                add(&[0x80 | 126]);
                add(&(payload_bytes as u16).to_be_bytes());
            }
            _ => {
                add(&[0x80 | 127]);
                add(&(payload_bytes as u64).to_be_bytes());
            }
        }
        add(&mask);
        header
    }

    /// Takes its next byte. Returns the length of the payload if this was the last one.
    pub(super) fn push(&mut self, byte: u8) -> Option<u64> {
        self.bytes[self.count] = byte;
        self.count += 1;
        self.is_complete().then(|| self.payload_bytes())
    }

    pub(super) fn is_begun(&self) -> bool {
        self.count > 0
    }

    /// The byte with the opcode; 0 if nothing has arrived.
    pub(super) fn first(&self) -> u8 {
        self.bytes[0]
    }

    /// The byte with the length or its kind; 0 if it has not arrived.
    pub(super) fn second(&self) -> u8 {
        self.bytes[1]
    }

    pub(super) fn is_final(&self) -> bool {
        self.first() & 0x80 != 0
    }

    pub(super) fn is_control(&self) -> bool {
        self.first() & 0x08 != 0
    }

    /// What has arrived of it.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.count]
    }

    /// The length of the payload. The header must be complete.
    pub(super) fn payload_bytes(&self) -> u64 {
        match self.length_bytes() {
            0 => u64::from(self.second() & 0x7f),
            count => self.bytes[2..2 + count].iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
        }
    }

    /// The mask of a complete header; zeros if there is none.
    pub(super) fn mask(&self) -> [u8; 4] {
        let at = 2 + self.length_bytes();
        self.bytes[at..at + 4].try_into().expect("these are four bytes")
    }

    fn is_complete(&self) -> bool {
        let mask_bytes = usize::from(self.second() >> 7) * 4;
        self.count >= 2 && self.count == 2 + self.length_bytes() + mask_bytes
    }

    /// Bytes of the length behind the second byte.
    fn length_bytes(&self) -> usize {
        match self.second() & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        }
    }
}
