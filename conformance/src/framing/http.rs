//! Our own HTTP/1.1 client: one request per connection, under full control of the bytes, with a lenient reader for the
//! response.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::cookies::Jar;
use super::error::{HttpError, TransportError};
use super::net::Net;
use super::stream;
use crate::dial::Stream;
use crate::target::Target;

/// More than any correct server sends.
const RESPONSE_BYTES_MAX: usize = 1024 * 1024;

/// A response.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Response {
    /// The values of a header, one for each line.
    pub(crate) fn lines<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Whether a header is a list that contains this word, in any case and on any of its lines.
    pub(crate) fn lists(&self, name: &str, word: &str) -> bool {
        self.lines(name).flat_map(|line| line.split(',')).any(|token| token.trim().eq_ignore_ascii_case(word))
    }

    /// Whether the body is declared to be JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.header("content-type").is_some_and(|kind| kind.to_ascii_lowercase().starts_with("application/json"))
    }

    /// All values of a header, joined as HTTP allows.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let values: Vec<&str> = self.lines(name).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }
}

/// A request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'a str, String)>,
    pub(crate) body: Option<&'a str>,
}

/// Sends a client's request and reads the response: completely, or only the head if it is an upgrade.
pub(crate) async fn fetch(net: &Net, cookies: &Jar, request: &Request<'_>) -> Result<Response, TransportError> {
    let mut stream = stream::open(net).await?;
    let exchange = async {
        send(&mut *stream, &net.target, cookies, request, true).await?;
        let mut bytes = Vec::new();
        let response = read_head(&mut *stream, &mut bytes).await?;
        cookies.store(&net.target, &request.path, &response);
        read_body(&mut *stream, response, bytes).await
    };
    Ok(timeout(net.patience, exchange).await.unwrap_or(Err(HttpError::Late))?)
}

pub(crate) async fn send(
    stream: &mut dyn Stream,
    target: &Target,
    cookies: &Jar,
    request: &Request<'_>,
    close: bool,
) -> Result<(), HttpError> {
    let mut head = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", request.method, request.path, target.authority());
    let own = |name: &str| request.headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
    let users = target.headers().iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let headers = request.headers.iter().map(|(name, value)| (*name, value.as_str()));
    let mut cookies = cookies.header(target, &request.path);
    for (name, value) in users.filter(|(name, _)| !own(name)).chain(headers) {
        // A request has one `Cookie` header: the user's cookies come first.
        let more = cookies.take_if(|_| name.eq_ignore_ascii_case("cookie")).map(|more| format!("; {more}"));
        head.push_str(&format!("{name}: {value}{}\r\n", more.unwrap_or_default()));
    }
    if let Some(cookies) = cookies {
        head.push_str(&format!("Cookie: {cookies}\r\n"));
    }
    if close && !own("connection") {
        head.push_str("Connection: close\r\n");
    }
    if let Some(body) = request.body {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    head.push_str(request.body.unwrap_or_default());
    stream.write_all(head.as_bytes()).await.map_err(HttpError::Io)?;
    stream.flush().await.map_err(HttpError::Io)
}

/// Reads up to the empty line. Bytes after it stay in `bytes`.
pub(crate) async fn read_head(stream: &mut dyn Stream, bytes: &mut Vec<u8>) -> Result<Response, HttpError> {
    let mut seen: usize = 0;
    loop {
        // What has been searched is not searched again, except for a beginning of the empty line.
        let from = seen.saturating_sub(3);
        if let Some(end) = bytes[from..].windows(4).position(|window| window == b"\r\n\r\n").map(|end| from + end) {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            bytes.drain(..end + 4);
            return parse_head(&head).ok_or(HttpError::NotHttp);
        }
        if bytes.len() > RESPONSE_BYTES_MAX {
            return Err(HttpError::EndlessHead);
        }
        seen = bytes.len();
        more(stream, bytes).await?;
    }
}

fn parse_head(head: &str) -> Option<Response> {
    let mut lines = head.split("\r\n");
    let mut status = lines.next()?.split(' ');
    let version = status.next()?;
    if !version.starts_with("HTTP/1.") {
        return None;
    }
    let status = status.next()?.parse().ok()?;
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect();
    Some(Response { status, headers, body: String::new() })
}

async fn more(stream: &mut dyn Stream, bytes: &mut Vec<u8>) -> Result<(), HttpError> {
    let mut chunk = [0; 4096];
    match stream.read(&mut chunk).await {
        Ok(0) => Err(HttpError::Truncated),
        Ok(read) => {
            bytes.extend(&chunk[..read]);
            Ok(())
        }
        Err(error) => Err(HttpError::Io(error)),
    }
}

async fn read_body(stream: &mut dyn Stream, mut response: Response, mut bytes: Vec<u8>) -> Result<Response, HttpError> {
    let length = response.header("content-length").and_then(|length| length.parse::<usize>().ok());
    let chunked = response.header("transfer-encoding").is_some_and(|coding| coding.to_lowercase().contains("chunked"));
    if matches!(response.status, 101 | 204 | 304) {
        return Ok(response);
    }
    loop {
        let whole = match length {
            _ if chunked => dechunked(&bytes),
            Some(length) => (bytes.len() >= length).then(|| bytes[..length].to_vec()),
            None => None,
        };
        if let Some(body) = whole {
            response.body = String::from_utf8_lossy(&body).into_owned();
            return Ok(response);
        }
        if bytes.len() > RESPONSE_BYTES_MAX {
            return Err(HttpError::EndlessBody);
        }
        match more(stream, &mut bytes).await {
            Ok(()) => {}
            // Without a length, the end of the connection marks the end of the body.
            Err(_) if length.is_none() && !chunked => {
                response.body = String::from_utf8_lossy(&bytes).into_owned();
                return Ok(response);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Joins the chunks of a body; `None` if they are not complete.
fn dechunked(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|window| window == b"\r\n")?;
        let size = str::from_utf8(&bytes[..end]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        bytes = &bytes[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend(bytes.get(..size)?);
        bytes = bytes.get(size + 2..)?;
    }
}
