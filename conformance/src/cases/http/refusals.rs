//! Requests that are refused, and the form of all answers.

use super::{declared, endpoints, json, json_body, send};
use crate::case::Level::{Declared, Must};
use crate::case::{Case, Citation};
use crate::cx::Cx;
use crate::dialect::Feature;
use crate::framing::http::Response;
use crate::stop::Stop;

pub(super) const CASES: &[&Case] = &[
    &Case::new("http/not-found", Declared, "An unknown path is not answered with success.", run!(not_found))
        .requires(&[Feature::IceEndpoint]),
    &Case::new("http/method", Must, "A method that is not allowed is answered with a 405 that lists the allowed methods.", run!(method))
        .cites(&[Citation {
            section: "RFC 9110 §15.5.6",
            url: "https://www.rfc-editor.org/rfc/rfc9110#section-15.5.6",
            quote: "The origin server MUST generate an Allow header field in a 405 response containing a list of the target resource's currently supported methods.",
        }])
        .requires(&[Feature::IceEndpoint]),
    &Case::new(
        "http/json",
        Declared,
        "Every answer of an endpoint is JSON and has the content type of JSON, also when it refuses a request.",
        run!(form),
    )
    .requires(&[Feature::IceEndpoint]),
];

async fn not_found(cx: &mut Cx) -> Result<(), Stop> {
    let path = endpoints(cx).ice.clone().expect("the case requires it");
    let path = format!("{path}-glare-nowhere");
    let answer = send(cx, "GET", &path, Vec::new(), None).await?;
    if !(200..300).contains(&answer.status) {
        return Ok(());
    }
    if answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html")) {
        cx.acceptable("an unknown path is answered with an HTML page");
        return Ok(());
    }
    Err(Stop::fail(format!("{path} is answered with HTTP {}, expected an error", answer.status)))
}

async fn method(cx: &mut Cx) -> Result<(), Stop> {
    let path = endpoints(cx).ice.clone().expect("the case requires it");
    let answer = send(cx, "DELETE", &path, Vec::new(), None).await?;
    match answer.status {
        405 if answer.header("allow").is_some() => Ok(()),
        405 => Err(Stop::fail("the 405 response has no Allow header")),
        status @ 400..600 => {
            cx.acceptable(format!("DELETE is answered with HTTP {status}, not 405"));
            Ok(())
        }
        status => Err(Stop::fail(format!("DELETE of the ICE servers is answered with HTTP {status}, expected 405"))),
    }
}

/// The answers of all endpoints, and those to requests that are refused; each with the request in words.
pub(super) async fn every_answer(cx: &Cx, headers: &[(&'static str, String)]) -> Result<Vec<(String, Response)>, Stop> {
    let http = endpoints(cx);
    let paths = [&http.ice, &http.health, &http.status].map(Clone::clone);
    let kick = http.kick.clone();
    let mut answers = Vec::new();
    for path in paths.into_iter().flatten() {
        for method in ["GET", "DELETE"] {
            let answer = send(cx, method, &path, headers.to_vec(), None).await?;
            answers.push((format!("{method} {path}"), answer));
        }
    }
    if let Some(kick) = kick {
        for (what, body) in [
            ("a kick of a client that does not exist", format!(r#"{{"{}":"glare-nobody"}}"#, kick.field)),
            ("a kick without a client", "{}".to_owned()),
            ("a kick that is not JSON", "{".to_owned()),
        ] {
            let headers = [headers, &json_body()].concat();
            answers.push((what.to_owned(), send(cx, "POST", &kick.path, headers, Some(&body)).await?));
        }
    }
    Ok(answers)
}

async fn form(cx: &mut Cx) -> Result<(), Stop> {
    declared(endpoints(cx).json.then_some(&()), "that every answer is JSON")?;
    for (what, answer) in every_answer(cx, &[]).await? {
        json(&what, &answer)?;
        match answer.header("content-type") {
            _ if answer.is_json() => {}
            kind => {
                let kind = kind.unwrap_or_else(|| "none".to_owned());
                let status = answer.status;
                return Err(Stop::fail(format!(
                    "{what} is answered with HTTP {status} and the content type {kind}, expected application/json"
                )));
            }
        }
    }
    Ok(())
}
