//! Engine.IO 4: the packets below Socket.IO, parsed and serialized without IO.
//!
//! Over WebSocket a packet is a text message, and binary data is a binary message. Over long-polling, the packets of a
//! payload are separated by [`SEPARATOR`], and binary data is `b` followed by base64.
//! <https://socket.io/docs/v4/engine-io-protocol>

use std::borrow::Cow;
use std::fmt;

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

/// Separates the packets of a polling payload: the ASCII record separator.
pub const SEPARATOR: char = '\u{1e}';

/// The data of a client's ping over a new WebSocket before it upgrades to it.
pub const PROBE: &str = "probe";

/// A packet. Its [`Display`](fmt::Display) is its text on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// `0`, server to client: the [`Handshake`], as JSON.
    Open(&'a str),
    /// `1`: the session is closed.
    Close,
    /// `2`, server to client; a client sends it only as a [`PROBE`].
    Ping(&'a str),
    /// `3`: the answer to a ping, with its data.
    Pong(&'a str),
    /// `4`: a [packet of Socket.IO](super::packet::Packet).
    Message(&'a str),
    /// `5`, client to server: this WebSocket becomes the session's transport.
    Upgrade,
    /// `6`, server to client: no content, to end a waiting poll.
    Noop,
    /// `b`: binary data as base64.
    Binary(Cow<'a, [u8]>),
}

/// Why a text is not a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The packet is empty.
    Empty,
    /// No packet type begins with this character.
    UnknownType(char),
    /// The text after `b` is not base64 with padding.
    NotBase64,
}

/// The server's first message, in [`Packet::Open`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Handshake {
    /// The session's id, which every later request contains.
    pub sid: String,
    /// Transports to which the client may upgrade.
    pub upgrades: Vec<String>,
    /// Time between a pong and the next ping, in milliseconds.
    pub ping_interval: u64,
    /// Time limit for a client's pong, in milliseconds.
    pub ping_timeout: u64,
    /// Maximum length of a payload or WebSocket message that the server reads, in bytes.
    pub max_payload: usize,
}

impl<'a> Packet<'a> {
    /// Reads a WebSocket text message, or one packet of a payload. Text after a type without data is ignored.
    ///
    /// # Errors
    /// The text is not a packet.
    pub fn parse(text: &'a str) -> Result<Self, DecodeError> {
        let kind = text.chars().next().ok_or(DecodeError::Empty)?;
        let data = &text[kind.len_utf8()..];
        Ok(match kind {
            '0' => Self::Open(data),
            '1' => Self::Close,
            '2' => Self::Ping(data),
            '3' => Self::Pong(data),
            '4' => Self::Message(data),
            '5' => Self::Upgrade,
            '6' => Self::Noop,
            'b' => Self::Binary(BASE64.decode(data.as_bytes()).map_err(|_| DecodeError::NotBase64)?.into()),
            other => return Err(DecodeError::UnknownType(other)),
        })
    }
}

impl fmt::Display for Packet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(data) => write!(f, "0{data}"),
            Self::Close => f.write_str("1"),
            Self::Ping(data) => write!(f, "2{data}"),
            Self::Pong(data) => write!(f, "3{data}"),
            Self::Message(data) => write!(f, "4{data}"),
            Self::Upgrade => f.write_str("5"),
            Self::Noop => f.write_str("6"),
            Self::Binary(data) => write!(f, "b{}", BASE64.encode_display(data)),
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a packet without a type"),
            Self::UnknownType(kind) => write!(f, "no packet has the type {kind:?}"),
            Self::NotBase64 => f.write_str("binary data that is not base64"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// The packets of a polling payload. An empty payload is one empty packet, and thus an error.
pub fn packets(payload: &str) -> impl Iterator<Item = Result<Packet<'_>, DecodeError>> {
    payload.split(SEPARATOR).map(Packet::parse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_split_and_every_packet_is_written_as_it_was_read() {
        let payload = "0{}\u{1e}1\u{1e}2probe\u{1e}3\u{1e}42[\"é\"]\u{1e}5\u{1e}6\u{1e}b/+8B";
        let packets: Vec<_> = packets(payload).map(Result::unwrap).collect();
        assert_eq!(
            packets,
            [
                Packet::Open("{}"),
                Packet::Close,
                Packet::Ping(PROBE),
                Packet::Pong(""),
                Packet::Message("2[\"é\"]"),
                Packet::Upgrade,
                Packet::Noop,
                Packet::Binary(Cow::Borrowed(&[0xff, 0xef, 0x01])),
            ]
        );
        let texts: Vec<_> = packets.iter().map(ToString::to_string).collect();
        assert_eq!(texts.join("\u{1e}"), payload);
    }

    #[test]
    fn texts_that_are_not_packets_are_errors() {
        for (text, error) in [
            ("", DecodeError::Empty),
            ("7", DecodeError::UnknownType('7')),
            ("é", DecodeError::UnknownType('é')),
            ("{}", DecodeError::UnknownType('{')),
            ("b/+8", DecodeError::NotBase64),
            ("b_-8B", DecodeError::NotBase64),
        ] {
            assert_eq!(Packet::parse(text), Err(error), "{text:?}");
        }
    }
}
