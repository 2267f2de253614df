//! HTTP endpoints beside the signaling.

use serde_json::Value;

use crate::case::Case;
use crate::cx::Cx;
use crate::dialect::file::Http;
use crate::framing::http::{Request, Response};
use crate::stop::Stop;

pub(super) mod cors;
mod ice;
mod kick;
mod refusals;
mod status;

/// All cases of the group, in the order of the catalogue.
pub(super) fn all() -> Vec<&'static Case> {
    [ice::CASES, status::CASES, kick::CASES, refusals::CASES, cors::CASES].concat()
}

/// What the dialect says about its endpoints.
fn endpoints(cx: &Cx) -> &Http {
    cx.file().http.as_ref().expect("the case requires an endpoint")
}

/// A value that the dialect may declare; a case about one that it does not declare is unsupported.
fn declared<'a, T>(value: Option<&'a T>, what: &str) -> Result<&'a T, Stop> {
    value.ok_or_else(|| Stop::Unsupported(format!("the dialect does not declare {what}")))
}

/// Sends a request and reads the response; no response is a failure.
pub(super) async fn send(
    cx: &Cx,
    method: &str,
    path: &str,
    headers: Vec<(&str, String)>,
    body: Option<&str>,
) -> Result<Response, Stop> {
    let request = Request { method, path: path.to_owned(), headers, body };
    let response = cx.fetch("ana", &request).await;
    response.map_err(|why| Stop::fail(format!("{method} {}: {why}", request.path)))
}

/// The header of a request whose body is JSON.
fn json_body() -> Vec<(&'static str, String)> {
    vec![("Content-Type", "application/json".to_owned())]
}

/// The JSON in a response.
fn json(what: &str, response: &Response) -> Result<Value, Stop> {
    serde_json::from_str(&response.body)
        .map_err(|_| Stop::fail(format!("{what} is answered with a body that is not JSON: {}", response.body)))
}

/// Checks that the body of a response contains what the dialect declares, and perhaps more.
fn has_body(what: &str, response: &Response, declared: &str) -> Result<(), Stop> {
    let expected: Value = serde_json::from_str(declared)
        .map_err(|_| Stop::Unsupported(format!("the dialect declares a body that is not JSON: {declared}")))?;
    if contains(&json(what, response)?, &expected) {
        return Ok(());
    }
    Err(Stop::fail(format!("{what} is answered with {}, expected {declared}", response.body)))
}

/// Whether a value is this one; an object may have further fields.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(key, part)| whole.get(key).is_some_and(|whole| contains(whole, part)))
        }
        (whole, part) => whole == part,
    }
}
