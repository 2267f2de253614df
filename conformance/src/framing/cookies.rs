//! The cookies of one client: RFC 6265, for a client that speaks to one host. A balancer may set one to send all
//! requests of a client to the same server.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::http::Response;
use crate::target::Target;

/// Browsers ignore a longer cookie.
const COOKIE_BYTES_MAX: usize = 4096;
/// A longer lifetime has no meaning for a run.
const LIFETIME_MAX: Duration = Duration::from_secs(400 * 24 * 60 * 60);
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// The cookies that a client has received; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Jar(Arc<Mutex<Vec<Cookie>>>);

#[derive(Clone, Debug)]
struct Cookie {
    name: String,
    value: String,
    path: String,
    secure: bool,
    /// When it expires, if it does.
    until: Option<Instant>,
}

/// A point in time of a header: year, month, day, hour, minute, second.
type Date = (u32, u32, u32, u32, u32, u32);

impl Jar {
    /// The value of the `Cookie` header for a request of this path and query, if any cookie is for it.
    pub(crate) fn header(&self, target: &Target, request: &str) -> Option<String> {
        let path = request.split('?').next().unwrap_or(request);
        let now = Instant::now();
        let mut cookies = self.0.lock().expect("nothing panics while it holds the cookies");
        cookies.retain(|cookie| cookie.until.is_none_or(|until| until > now));
        let mut sent: Vec<&Cookie> = cookies
            .iter()
            .filter(|cookie| path_matches(path, &cookie.path) && (target.is_tls() || !cookie.secure))
            .collect();
        // RFC 6265 §5.4: longer paths first; among equal lengths, the order in which they were set.
        sent.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let pairs: Vec<_> = sent.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// Takes in the cookies that the response to a request of this path and query sets.
    pub(crate) fn store(&self, target: &Target, request: &str, response: &Response) {
        let date = response.header("date").and_then(|date| parse_date(&date));
        for line in response.lines("set-cookie") {
            self.set(target, request, line, date);
        }
    }

    /// RFC 6265 §5.2 and §5.3. A line that is not a cookie, or not for this host, has no effect.
    fn set(&self, target: &Target, request: &str, line: &str, date: Option<Date>) {
        let is_control = |c: char| c.is_ascii_control() && c != '\t';
        if line.contains(is_control) || line.len() > COOKIE_BYTES_MAX {
            return;
        }
        let mut parts = line.split(';');
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { return };
        let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
        if name.is_empty() {
            return;
        }
        let (mut path, mut secure, mut expires, mut max_age) = (None, false, None, None);
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let value = value.trim();
            match key.trim().to_ascii_lowercase().as_str() {
                "path" => path = Some(value).filter(|path| path.starts_with('/')).map(str::to_owned),
                "secure" => secure = true,
                "domain" if !is_for(target.host(), value) => return,
                "expires" => expires = parse_date(value).or(expires),
                "max-age" => max_age = value.parse::<i64>().ok().or(max_age),
                _ => {}
            }
        }
        let path = path.unwrap_or_else(|| default_path(request));
        // Without a clock on the wall, the server's own date decides whether another of its dates has passed.
        let passed = |expires: Date| expires <= date.unwrap_or((2000, 1, 1, 0, 0, 0));
        let gone = max_age.map_or_else(|| expires.is_some_and(passed), |seconds| seconds <= 0);
        let lifetime = max_age.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
        let until = lifetime.map(|lifetime| Instant::now() + lifetime.min(LIFETIME_MAX));
        let mut cookies = self.0.lock().expect("nothing panics while it holds the cookies");
        let same = |cookie: &Cookie| cookie.name == name && cookie.path == path;
        let known = cookies.iter().position(same);
        match (known, gone) {
            (Some(at), true) => drop(cookies.remove(at)),
            (None, true) => {}
            (Some(at), false) => cookies[at] = Cookie { name, value, path, secure, until },
            (None, false) => cookies.push(Cookie { name, value, path, secure, until }),
        }
    }
}

/// Whether a cookie of this domain is for the host: RFC 6265 §5.1.3. An empty domain is ignored.
fn is_for(host: &str, domain: &str) -> bool {
    let (host, domain) = (host.to_ascii_lowercase(), domain.trim_start_matches('.').to_ascii_lowercase());
    let is_address = host.parse::<std::net::IpAddr>().is_ok();
    let parent = || host.strip_suffix(&domain).is_some_and(|rest| rest.ends_with('.')) && domain.contains('.');
    domain.is_empty() || host == domain || (!is_address && parent())
}

/// The path of a cookie that names none: RFC 6265 §5.1.4.
fn default_path(request: &str) -> String {
    let path = request.split('?').next().unwrap_or(request);
    match path.rfind('/') {
        Some(end) if end > 0 => path[..end].to_owned(),
        _ => "/".to_owned(),
    }
}

fn path_matches(path: &str, cookie: &str) -> bool {
    path.strip_prefix(cookie).is_some_and(|rest| rest.is_empty() || cookie.ends_with('/') || rest.starts_with('/'))
}

/// Reads a date as browsers do: RFC 6265 §5.1.1.
fn parse_date(text: &str) -> Option<Date> {
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    for token in text.split(|c: char| !(c.is_ascii_alphanumeric() || c == ':')).filter(|token| !token.is_empty()) {
        let number = token.parse::<u32>().ok();
        let as_time = || {
            let parts: Vec<u32> = token.split(':').map(str::parse).collect::<Result<_, _>>().ok()?;
            <[u32; 3]>::try_from(parts).ok()
        };
        let as_month = || MONTHS.iter().position(|name| token.to_ascii_lowercase().starts_with(name));
        match (as_time(), number) {
            (Some(found), _) if time.is_none() => time = Some(found),
            (_, Some(number)) if day.is_none() && token.len() <= 2 => day = Some(number),
            (_, Some(number)) if year.is_none() && matches!(token.len(), 2 | 4) => {
                year = Some(match number {
                    70..=99 => number + 1900,
                    0..=69 => number + 2000,
                    _ => number,
                });
            }
            _ if month.is_none() => month = as_month(),
            _ => {}
        }
    }
    let ([hour, minute, second], month) = (time?, u32::try_from(month?).ok()? + 1);
    let valid = (1..=31).contains(&day?) && year? >= 1601 && hour <= 23 && minute <= 59 && second <= 59;
    valid.then_some((year?, month, day?, hour, minute, second))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Sat, 28 Nov 2026 12:00:00 GMT";

    /// The cookies sent to `path` after these lines have arrived for `/socket.io/?EIO=4`.
    fn after(url: &str, lines: &[&str], path: &str) -> String {
        let (target, jar): (Target, _) = (url.parse().expect("a URL"), Jar::default());
        for line in lines {
            jar.set(&target, "/socket.io/?EIO=4", line, parse_date(DATE));
        }
        jar.header(&target, path).unwrap_or_default()
    }

    fn of(lines: &[&str]) -> String {
        after("http://host.example:80", lines, "/socket.io/?EIO=4&sid=a")
    }

    #[test]
    fn a_cookie_is_sent_back_and_replaced_by_its_name_and_path() {
        assert_eq!(of(&["SRV=a"]), "SRV=a");
        assert_eq!(of(&["SRV=a; HttpOnly; SameSite=Lax", " b = c=d "]), "SRV=a; b=c=d");
        assert_eq!(of(&["SRV=a", "SRV=b"]), "SRV=b");
        assert_eq!(of(&["SRV=a; Path=/", "SRV=b"]), "SRV=b; SRV=a");
    }

    #[test]
    fn the_path_decides() {
        assert_eq!(after("http://h:1", &["a=1; Path=/"], "/"), "a=1");
        assert_eq!(after("http://h:1", &["a=1"], "/socket.io/?x"), "a=1");
        assert_eq!(after("http://h:1", &["a=1"], "/socket.iox"), "");
        assert_eq!(after("http://h:1", &["a=1; Path=/other"], "/socket.io/"), "");
        assert_eq!(after("http://h:1", &["a=1; Path=relative"], "/socket.io/"), "a=1");
    }

    #[test]
    fn a_date_that_has_passed_or_no_age_deletes() {
        assert_eq!(of(&["a=1", "a=; Max-Age=0"]), "");
        assert_eq!(of(&["a=1", "a=; Max-Age=-5"]), "");
        assert_eq!(of(&["a=1", "a=; Expires=Thu, 01 Jan 1970 00:00:00 GMT"]), "");
        assert_eq!(of(&["a=1; Expires=Sat, 28-Nov-26 11:59:59 GMT"]), "");
        assert_eq!(of(&["a=1; Expires=Sat, 28 Nov 2026 12:00:01 GMT"]), "a=1");
        assert_eq!(of(&["a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=60"]), "a=1");
        assert_eq!(of(&["a=1; Expires=soon"]), "a=1");
    }

    #[test]
    fn a_cookie_for_tls_or_for_another_host_is_not_sent() {
        assert_eq!(of(&["a=1; Secure"]), "");
        assert_eq!(after("https://host.example", &["a=1; Secure"], "/socket.io/"), "a=1");
        assert_eq!(of(&["a=1; Domain=other.example"]), "");
        assert_eq!(of(&["a=1; Domain=example"]), "");
        assert_eq!(after("http://a.host.example", &["a=1; Domain=.host.example"], "/socket.io/"), "a=1");
        assert_eq!(of(&["a=1; Domain=HOST.example"]), "a=1");
        assert_eq!(after("http://127.0.0.1:1", &["a=1; Domain=0.0.1"], "/socket.io/"), "");
    }

    #[test]
    fn what_is_not_a_cookie_has_no_effect() {
        assert_eq!(of(&["", "novalue", "=b", "a\u{1}=b", &format!("a={}", "x".repeat(5000))]), "");
    }
}
