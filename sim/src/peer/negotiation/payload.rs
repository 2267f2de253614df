//! The contents of the opaque payload of a signal.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Any payload: `{"session":…, …}`. The session is the ICE username fragment of the offer that opened the connection.
/// It marks what belongs to an older connection between the same two clients. Programs of others send none: then it is
/// empty, and [`Negotiation`](super::Negotiation) finds out which connection is meant. The body is a
/// [`Description`](crate::peer::stack::Description), a [`Trickled`](crate::peer::stack::Trickled) candidate, or
/// [`Nothing`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Payload<B> {
    #[serde(default)]
    pub(crate) session: Arc<str>,
    #[serde(flatten)]
    pub(crate) body: B,
}

/// The empty body of a hangup.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Nothing {}

impl<B: Serialize> Payload<B> {
    pub(crate) fn to_json(&self) -> Arc<str> {
        serde_json::to_string(self).expect("strings and numbers have a JSON form").into()
    }
}

impl<B: DeserializeOwned> Payload<B> {
    pub(crate) fn from_json(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::sdp::Section;
    use crate::peer::stack::{Description, DescriptionKind, Trickled};

    #[test]
    fn payloads_have_the_form_that_browsers_give_their_descriptions_and_candidates() {
        let offer = Description { kind: DescriptionKind::Offer, sdp: "v=0\r\n".to_owned() };
        let offer = Payload { session: "s1".into(), body: offer };
        assert_eq!(&*offer.to_json(), r#"{"session":"s1","type":"offer","sdp":"v=0\r\n"}"#);
        let candidate =
            Trickled::new("candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host".to_owned(), &Section::default(), "u1");
        let candidate = Payload { session: "s1".into(), body: candidate };
        let json = r#"{"session":"s1","candidate":"candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host","sdpMid":"","sdpMLineIndex":0,"usernameFragment":"u1"}"#;
        assert_eq!(&*candidate.to_json(), json);
        assert_eq!(Payload::<Trickled>::from_json(json).expect("a candidate").body, candidate.body);
        assert_eq!(&*Payload { session: "s1".into(), body: Nothing {} }.to_json(), r#"{"session":"s1"}"#);
    }
}
