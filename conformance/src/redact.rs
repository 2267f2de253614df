//! Keeps secrets out of everything that is shown or recorded: the user's headers, the values in the URL's query, and
//! JSON strings under keys such as `token` and `password`.

/// What replaces a secret.
pub(crate) const SECRET: &str = "…";
/// JSON keys whose values are secret, in lower case and without `-` and `_`.
const SECRET_KEYS: [&str; 9] =
    ["accesstoken", "apikey", "authorization", "bearer", "credential", "jwt", "password", "secret", "token"];
/// A shorter text does not count as a secret: it would be found everywhere.
const CHARS_MIN: usize = 4;

/// The texts that must not be shown.
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    /// The secrets that the user gave for a server: the values of headers and of the URL's query.
    pub(crate) fn new<'a>(headers: impl Iterator<Item = &'a str>, url: &str) -> Self {
        let headers = headers.flat_map(|value| {
            // In `Bearer TOKEN`, the token by itself is secret too.
            let last = value.rsplit(' ').next().unwrap_or_default();
            [value.to_owned(), last.to_owned()]
        });
        let query = query(url).into_iter().flat_map(|(_, value)| [decoded(value), value.to_owned()]);
        let mut secrets: Vec<String> =
            headers.chain(query).filter(|secret| secret.chars().count() >= CHARS_MIN).collect();
        // The longest first, because one secret may be part of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Self(secrets)
    }

    /// A text with its secrets replaced.
    pub(crate) fn hide(&self, text: &str) -> String {
        let hidden = self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret, SECRET));
        hide_secret_values(&hidden)
    }
}

/// A URL with the values in its query replaced.
pub(crate) fn without_values(url: &str) -> String {
    let Some((base, _)) = url.split_once('?') else { return url.to_owned() };
    let pairs: Vec<_> = query(url).into_iter().map(|(key, _)| format!("{key}={SECRET}")).collect();
    format!("{base}?{}", pairs.join("&"))
}

/// A recorded path, with the missing values of its query taken from `url`. A key without a value there is dropped.
pub(crate) fn with_values(path: &str, url: &str) -> String {
    let Some((base, _)) = path.split_once('?') else { return path.to_owned() };
    let known = query(url);
    let own = query(path).into_iter().filter_map(|(key, value)| {
        let value = if value == SECRET { known.iter().find(|(other, _)| *other == key)?.1 } else { value };
        Some(format!("{key}={value}"))
    });
    let pairs: Vec<_> = own.collect();
    if pairs.is_empty() { base.to_owned() } else { format!("{base}?{}", pairs.join("&")) }
}

/// Keys and values in a URL's query.
pub(crate) fn query(url: &str) -> Vec<(&str, &str)> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect()
}

/// A text with its percent-encoding decoded.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A text, JSON or with JSON in it, in which the strings under secret keys are replaced.
fn hide_secret_values(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('"') {
        let Some(length) = string_end(&rest[open + 1..]) else { break };
        let (key, after) = (&rest[open + 1..open + 1 + length], &rest[open + 2 + length..]);
        let colon = after.trim_start().strip_prefix(':').map(str::trim_start);
        let value = colon.and_then(|value| value.strip_prefix('"')).filter(|_| is_secret_key(key));
        match value.and_then(|value| Some((value, string_end(value)?))) {
            Some((value, length)) => {
                out.push_str(&rest[..rest.len() - value.len()]);
                out.push_str(SECRET);
                rest = &value[length..];
                out.push('"');
                rest = &rest[1..];
            }
            None => {
                out.push_str(&rest[..rest.len() - after.len()]);
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

fn is_secret_key(key: &str) -> bool {
    let plain: String = key.chars().filter(|c| !matches!(c, '-' | '_')).collect::<String>().to_lowercase();
    SECRET_KEYS.contains(&plain.as_str())
}

/// The position of the closing quote of a JSON string. `text` starts after the opening quote.
fn string_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> Secrets {
        Secrets::new(["Bearer let-me-in"].into_iter(), "ws://h/p?token=s%C3%A9same&v=1")
    }

    #[test]
    fn what_the_user_gave_along_is_hidden_wherever_it_stands() {
        let secrets = secrets();
        assert_eq!(secrets.hide("Bearer let-me-in, or let-me-in"), "…, or …");
        assert_eq!(secrets.hide("GET /p?token=s%C3%A9same&v=1 and sésame"), "GET /p?token=…&v=1 and …");
    }

    #[test]
    fn the_value_of_a_secret_key_is_hidden_and_nothing_else() {
        let hidden = hide_secret_values(
            r#"200: {"urls":"turn:h","credential":"a\"b","Access-Token" : "x","n":{"password":"y"}}"#,
        );
        assert_eq!(hidden, r#"200: {"urls":"turn:h","credential":"…","Access-Token" : "…","n":{"password":"…"}}"#);
        for same in [r#"{"token":5,"data":"password"}"#, r#"{"token"}"#, "\"", r#"{"password":"open"#, "é\""] {
            assert_eq!(hide_secret_values(same), same);
        }
    }

    #[test]
    fn a_url_keeps_the_keys_of_its_query() {
        assert_eq!(without_values("ws://h/p?token=secret&v=1"), "ws://h/p?token=…&v=…");
        assert_eq!(without_values("ws://h/p"), "ws://h/p");
        assert_eq!(with_values("/p?room=r&token=…&gone=…", "ws://h/q?token=mine"), "/p?room=r&token=mine");
        assert_eq!(with_values("/p?token=…", "ws://h/q"), "/p");
    }
}
