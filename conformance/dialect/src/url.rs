//! The URL that a client connects to: the user's URL with the client's room, id and other values in it.

use crate::shape::{Values, plain};

/// A URL with variables: `$url/$room?token=$token`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url(String);

/// The variables allowed in a URL.
pub(crate) const VARIABLES: [&str; 6] = ["url", "room", "self", "token", "role", "name"];

/// The variables allowed in the URL that messages are posted to. The server's greeting may give some of them.
pub(crate) const POST_VARIABLES: [&str; 7] = ["url", "room", "self", "token", "role", "name", "nonce"];

impl Url {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The variables that occur, each with its byte position.
    pub(crate) fn variables(&self) -> Vec<(usize, &str)> {
        let name = |(at, _): (usize, &str)| {
            let rest = &self.0[at + 1..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            (at, &rest[..end])
        };
        self.0.match_indices('$').map(name).collect()
    }

    pub(crate) fn has(&self, variable: &str) -> bool {
        self.variables().iter().any(|(_, name)| *name == variable)
    }

    /// The URL for these values, which are percent-encoded. The base's own query is kept.
    pub(crate) fn render(&self, base: &str, values: &Values) -> String {
        let (base, base_query) = base.split_once('?').map_or((base, None), |(base, query)| (base, Some(query)));
        let mut url = String::new();
        let mut at = 0;
        for (begin, name) in self.variables() {
            url.push_str(&self.0[at..begin]);
            at = begin + 1 + name.len();
            match values.get(name) {
                _ if name == "url" && self.0[at..].starts_with('/') => url.push_str(base.trim_end_matches('/')),
                _ if name == "url" => url.push_str(base),
                Some(value) => encode(&plain(value), &mut url),
                None => {}
            }
        }
        url.push_str(&self.0[at..]);
        if let Some(query) = base_query {
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(query);
        }
        url
    }
}

fn encode(text: &str, url: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => url.push(char::from(byte)),
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_encoded_and_the_users_query_stays() {
        let values = Values::from([("room".to_owned(), "\"a b/é\"".to_owned())]);
        let render = |shape: &str, base| Url::new(shape).render(base, &values);
        assert_eq!(render("$url?room=$room", "ws://h:1/relay?key=k"), "ws://h:1/relay?room=a%20b%2F%C3%A9&key=k");
        assert_eq!(render("$url/$room", "ws://h:1/"), "ws://h:1/a%20b%2F%C3%A9");
        assert_eq!(render("$url", "ws://h:1/"), "ws://h:1/");
    }
}
