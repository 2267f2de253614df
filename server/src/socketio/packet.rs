//! Socket.IO 5: the packets inside Engine.IO messages, parsed and serialized without IO.
//!
//! JSON is validated but not converted, so a relayed payload keeps its bytes.
//! <https://socket.io/docs/v4/socket-io-protocol>

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::engine;

/// The namespace of packets that name none.
pub const MAIN_NAMESPACE: &str = "/";

/// Maximum number of attachments of a packet, as in the JavaScript implementation.
pub const ATTACHMENTS_MAX: usize = 10;

/// Event names that the protocol reserves.
const RESERVED_EVENTS: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// The kind of a packet. [`Packet::attachments`] tells whether it has attachments (types 5 and 6 on the wire).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `0`: joins a namespace; the server's answer has the same type.
    Connect,
    /// `1`: leaves a namespace.
    Disconnect,
    /// `2` or `5`: an [`Event`].
    Event,
    /// `3` or `6`: the acknowledgement of an event with an id.
    Ack,
    /// `4`, server to client: the namespace cannot be joined.
    ConnectError,
}

/// A packet. Its [`Display`](fmt::Display) is its text on the wire, without Engine.IO's `4` before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Its kind.
    pub kind: Kind,
    /// Number of binary messages that follow it, at most [`ATTACHMENTS_MAX`]. Only events and acknowledgements have
    /// any.
    pub attachments: usize,
    /// Its namespace, which begins with a slash and contains no comma.
    pub namespace: &'a str,
    /// Requests an acknowledgement; in an acknowledgement, the id of its event.
    pub id: Option<u64>,
    /// Its unparsed JSON, or nothing.
    pub data: &'a str,
}

/// An event: the data of a packet, `["name",argument,…]`.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// The name. A number, or a string that is not Unicode, is kept unparsed.
    pub name: Cow<'a, str>,
    /// The unparsed text between the name and the closing bracket: nothing, or a comma and the arguments.
    pub arguments: &'a str,
    /// The first argument, unparsed.
    pub argument: Option<&'a RawValue>,
}

/// Why a text is not a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// It does not begin with a digit from 0 to 6.
    UnknownType,
    /// A binary packet has no valid number of attachments, from 1 to [`ATTACHMENTS_MAX`].
    Attachments,
    /// The id of an acknowledgement has more than 64 bits.
    Id,
    /// The data is not JSON, or not valid for the packet's type.
    Data,
}

impl<'a> Packet<'a> {
    /// A packet of the main namespace.
    pub fn new(kind: Kind, data: &'a str) -> Self {
        Self { kind, attachments: 0, namespace: MAIN_NAMESPACE, id: None, data }
    }

    /// Reads the data of an Engine.IO message.
    ///
    /// # Errors
    /// A part of it is invalid.
    pub fn parse(text: &'a str) -> Result<Self, DecodeError> {
        let (kind, is_binary) = match text.as_bytes().first() {
            Some(b'0') => (Kind::Connect, false),
            Some(b'1') => (Kind::Disconnect, false),
            Some(b'2') => (Kind::Event, false),
            Some(b'3') => (Kind::Ack, false),
            Some(b'4') => (Kind::ConnectError, false),
            Some(b'5') => (Kind::Event, true),
            Some(b'6') => (Kind::Ack, true),
            _ => return Err(DecodeError::UnknownType),
        };
        let mut rest = &text[1..];
        let mut attachments = 0;
        if is_binary {
            let (number, behind) = digits(rest);
            rest = behind.strip_prefix('-').ok_or(DecodeError::Attachments)?;
            attachments = number.parse().map_err(|_| DecodeError::Attachments)?;
            if !(1..=ATTACHMENTS_MAX).contains(&attachments) {
                return Err(DecodeError::Attachments);
            }
        }
        let mut namespace = MAIN_NAMESPACE;
        if rest.starts_with('/') {
            (namespace, rest) = rest.split_once(',').unwrap_or((rest, ""));
        }
        let (id, data) = digits(rest);
        let id = if id.is_empty() { None } else { Some(id.parse().map_err(|_| DecodeError::Id)?) };
        let is_valid = match kind {
            Kind::Connect => data.is_empty() || begins_json(data, "{"),
            Kind::Disconnect => data.is_empty(),
            Kind::Event => Event::parse(data).is_ok_and(|event| !RESERVED_EVENTS.contains(&&*event.name)),
            Kind::Ack => begins_json(data, "["),
            Kind::ConnectError => begins_json(data, "{\""),
        };
        if is_valid { Ok(Self { kind, attachments, namespace, id, data }) } else { Err(DecodeError::Data) }
    }
}

impl fmt::Display for Packet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match (self.kind, self.attachments) {
            (Kind::Connect, _) => '0',
            (Kind::Disconnect, _) => '1',
            (Kind::Event, 0) => '2',
            (Kind::Ack, 0) => '3',
            (Kind::ConnectError, _) => '4',
            (Kind::Event, _) => '5',
            (Kind::Ack, _) => '6',
        };
        write!(f, "{kind}")?;
        if self.attachments > 0 {
            write!(f, "{}-", self.attachments)?;
        }
        if self.namespace != MAIN_NAMESPACE {
            write!(f, "{},", self.namespace)?;
        }
        if let Some(id) = self.id {
            write!(f, "{id}")?;
        }
        f.write_str(self.data)
    }
}

impl<'a> Event<'a> {
    /// Reads the data of a packet.
    ///
    /// # Errors
    /// It is not a JSON array that begins with a string or a number.
    pub fn parse(data: &'a str) -> Result<Self, DecodeError> {
        let Head { name, argument } = serde_json::from_str(data).map_err(|_| DecodeError::Data)?;
        let name_end = name.get().as_ptr().addr() - data.as_ptr().addr() + name.get().len();
        let array_end = data.rfind(']').ok_or(DecodeError::Data)?;
        let name = match name.get().as_bytes()[0] {
            b'"' => serde_json::from_str::<Name<'_>>(name.get()).map_or(Cow::Borrowed(name.get()), |name| name.0),
            b'-' | b'0'..=b'9' => Cow::Borrowed(name.get()),
            _ => return Err(DecodeError::Data),
        };
        Ok(Self { name, arguments: data[name_end..array_end].trim_ascii_start(), argument })
    }
}

impl fmt::Display for Event<'_> {
    /// The data of a packet.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = serde_json::to_string(&self.name).expect("a text can be written");
        write!(f, "[{name}{}]", self.arguments)
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownType => "no packet has this type",
            Self::Attachments => "not a number of attachments from 1 to 10",
            Self::Id => "an id of more than 64 bits",
            Self::Data => "the data is not valid for this type of packet",
        })
    }
}

impl std::error::Error for DecodeError {}

/// A packet in an Engine.IO message, ready for a WebSocket.
pub fn message(packet: &Packet<'_>) -> Utf8Bytes {
    engine::Packet::Message(&packet.to_string()).to_string().into()
}

/// The decimal digits at the beginning, and the rest.
fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// Whether it is JSON and begins with one of these characters.
fn begins_json(text: &str, first: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok_and(|value| value.get().starts_with(|c| first.contains(c)))
}

/// The first two elements of an array.
struct Head<'a> {
    name: &'a RawValue,
    argument: Option<&'a RawValue>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Head<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeadVisitor;
        impl<'de> Visitor<'de> for HeadVisitor {
            type Value = Head<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array with an event's name")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
                let name = array.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
                let argument = array.next_element()?;
                while array.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Head { name, argument })
            }
        }
        deserializer.deserialize_seq(HeadVisitor)
    }
}

#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_read_and_written_the_same() {
        let main = |kind, data| Packet::new(kind, data);
        for (text, packet) in [
            ("0", main(Kind::Connect, "")),
            ("0{\"token\": 1}", main(Kind::Connect, "{\"token\": 1}")),
            ("0/admin,{}", Packet { namespace: "/admin", ..main(Kind::Connect, "{}") }),
            ("1", main(Kind::Disconnect, "")),
            ("1/a,", Packet { namespace: "/a", ..main(Kind::Disconnect, "") }),
            ("2[\"a\"]", main(Kind::Event, "[\"a\"]")),
            ("2/a,12[\"a\", 1]", Packet { namespace: "/a", id: Some(12), ..main(Kind::Event, "[\"a\", 1]") }),
            ("30[]", Packet { id: Some(0), ..main(Kind::Ack, "[]") }),
            ("4{\"message\":\"\"}", main(Kind::ConnectError, "{\"message\":\"\"}")),
            ("4/a,\"no\"", Packet { namespace: "/a", ..main(Kind::ConnectError, "\"no\"") }),
            ("51-7[5,{}]", Packet { attachments: 1, id: Some(7), ..main(Kind::Event, "[5,{}]") }),
            ("610-1[ ]", Packet { attachments: 10, id: Some(1), ..main(Kind::Ack, "[ ]") }),
        ] {
            assert_eq!(Packet::parse(text), Ok(packet), "{text:?}");
            assert_eq!(packet.to_string(), text);
        }
        let nameless = Packet { namespace: "/a", ..main(Kind::Connect, "") };
        assert_eq!(Packet::parse("0/a"), Ok(nameless));
    }

    #[test]
    fn errors_name_the_part_of_a_packet_that_is_wrong() {
        let deep = format!("2{}", "[".repeat(100_000));
        let long_id = format!("2{}[\"a\"]", u128::MAX);
        for (texts, error) in [
            (&["", "7", "a", "é", "-2[]", " 2[\"a\"]"][..], DecodeError::UnknownType),
            (
                &["5", "5[\"a\"]", "5-[\"a\"]", "50-[\"a\"]", "511-[\"a\"]", "5x-", "5+1-[\"a\"]", "6-1[]"],
                DecodeError::Attachments,
            ),
            (&[long_id.as_str(), "399999999999999999999[]"], DecodeError::Id),
            (
                &[
                    "0[]",
                    "0null",
                    "0{",
                    "1{}",
                    "2",
                    "2/",
                    "2{}",
                    "2[",
                    "2[]",
                    "2[null]",
                    "2[[]]",
                    "2[{}]",
                    "2[\"a\"]]",
                    "2[\"a\",]",
                    "2[\"connect\"]",
                    "2[\"\\u0063onnect\"]",
                    "2[\"disconnect\",1]",
                    "2/a",
                    "2/a[\"a\"]",
                    "3",
                    "3{}",
                    "4",
                    "4[]",
                    deep.as_str(),
                ],
                DecodeError::Data,
            ),
        ] {
            for text in texts {
                assert_eq!(Packet::parse(text), Err(error), "{text:?}");
            }
        }
    }

    #[test]
    fn an_events_arguments_keep_their_bytes() {
        let event =
            |data| Event::parse(data).map(|e| (e.name.into_owned(), e.arguments, e.argument.map(RawValue::get)));
        for (data, name, arguments, argument) in [
            ("[\"a\"]", "a", "", None),
            ("[ \"a\" ] ", "a", "", None),
            (
                "[\"\\u0061\",{ \"z\":1,\"a\":1.0e+400 },[]]",
                "a",
                ",{ \"z\":1,\"a\":1.0e+400 },[]",
                Some("{ \"z\":1,\"a\":1.0e+400 }"),
            ),
            ("[\"é\" , \"]\\ud800\"]", "é", ", \"]\\ud800\"", Some("\"]\\ud800\"")),
            ("[\"\\ud800\"]", "\"\\ud800\"", "", None),
            ("[-5,null]", "-5", ",null", Some("null")),
        ] {
            assert_eq!(event(data), Ok((name.to_owned(), arguments, argument)), "{data}");
        }
        let written = Event { name: "a\"".into(), arguments: ",[1]", argument: None }.to_string();
        assert_eq!(written, r#"["a\"",[1]]"#);
    }
}
