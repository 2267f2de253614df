//! CORS: which pages may read an answer.

use super::refusals::every_answer;
use super::{endpoints, send};
use crate::case::Level::{Declared, Must};
use crate::case::{Case, Citation};
use crate::cx::Cx;
use crate::dialect::Feature;
use crate::framing::http::Response;
use crate::stop::Stop;

/// The origin of the page that asks, and another one.
pub(in crate::cases) const ORIGIN: &str = "https://page.example";
pub(in crate::cases) const OTHER_ORIGIN: &str = "https://other.example";

pub(in crate::cases) const CREDENTIALS: Citation = Citation {
    section: "Fetch §3.3.5",
    url: "https://fetch.spec.whatwg.org/#cors-protocol-and-credentials",
    quote: "If credentials mode is \"include\", then `Access-Control-Allow-Origin` cannot be `*`.",
};

const CACHES: Citation = Citation {
    section: "Fetch §3.3.6",
    url: "https://fetch.spec.whatwg.org/#cors-protocol-and-http-caches",
    quote: "If CORS protocol requirements are more complicated than setting `Access-Control-Allow-Origin` to `*` or a static origin, `Vary` is to be used.",
};

pub(super) const CASES: &[&Case] = &[
    &Case::new("http/cors", Declared, "A page of any origin may read the ICE servers.", run!(cors))
        .requires(&[Feature::IceEndpoint, Feature::Cors]),
    &Case::new(
        "http/cors-everywhere",
        Declared,
        "A page of any origin may read the answers of every endpoint, also why a request is refused.",
        run!(everywhere),
    )
    .needs(&["http/cors"])
    .requires(&[Feature::IceEndpoint, Feature::Cors]),
    &Case::new(
        "http/preflight",
        Declared,
        "A preflight request for each endpoint is answered with 204, and permits the headers that a page needs.",
        run!(preflight),
    )
    .needs(&["http/cors"])
    .requires(&[Feature::IceEndpoint, Feature::Cors]),
    &Case::new(
        "http/cors-credentials",
        Must,
        "Where pages may send credentials, the answer names their origin, and caches keep the answers for different origins apart.",
        run!(credentials),
    )
    .cites(&[CREDENTIALS, CACHES])
    .requires(&[Feature::IceEndpoint]),
];

/// The header that a browser adds to the request of a page.
pub(in crate::cases) fn origin(origin: &str) -> (&'static str, String) {
    ("Origin", origin.to_owned())
}

/// Checks that a page of [`ORIGIN`] may read an answer.
pub(in crate::cases) fn may_read(what: &str, answer: &Response) -> Result<(), Stop> {
    let status = answer.status;
    match answer.header("access-control-allow-origin").as_deref() {
        Some("*" | ORIGIN) => Ok(()),
        Some(other) => {
            Err(Stop::fail(format!("{what} is answered with HTTP {status}, and only pages of {other} may read that")))
        }
        None => Err(Stop::fail(format!(
            "{what} is answered with HTTP {status} without Access-Control-Allow-Origin: no page can read that"
        ))),
    }
}

async fn cors(cx: &mut Cx) -> Result<(), Stop> {
    let path = endpoints(cx).ice.clone().expect("the case requires it");
    may_read(&format!("GET {path}"), &send(cx, "GET", &path, vec![origin(ORIGIN)], None).await?)?;
    let ask = vec![origin(ORIGIN), ("Access-Control-Request-Method", "GET".to_owned())];
    let preflight = send(cx, "OPTIONS", &path, ask, None).await?;
    if !(200..300).contains(&preflight.status) {
        return Err(Stop::fail(format!(
            "a preflight request is answered with HTTP {}, expected 2xx",
            preflight.status
        )));
    }
    may_read("a preflight request", &preflight)
}

async fn everywhere(cx: &mut Cx) -> Result<(), Stop> {
    for (what, answer) in every_answer(cx, &[origin(ORIGIN)]).await? {
        may_read(&what, &answer)?;
    }
    Ok(())
}

/// Sends a preflight request and checks that it permits a request with this method and these headers.
pub(in crate::cases) async fn permits(cx: &Cx, path: &str, method: &str, headers: &str) -> Result<(), Stop> {
    let mut ask = vec![origin(ORIGIN), ("Access-Control-Request-Method", method.to_owned())];
    if !headers.is_empty() {
        ask.push(("Access-Control-Request-Headers", headers.to_owned()));
    }
    let answer = send(cx, "OPTIONS", path, ask, None).await?;
    let what = format!("a preflight request for {method} {path}");
    match answer.status {
        204 => {}
        200..300 => cx.acceptable(format!("{what} is answered with HTTP {}, not 204", answer.status)),
        status => return Err(Stop::fail(format!("{what} is answered with HTTP {status}, expected 204"))),
    }
    may_read(&what, &answer)?;
    for header in headers.split(',').filter(|header| !header.is_empty()) {
        // A `*` stands for all headers but this one.
        let by_wildcard = answer.lists("access-control-allow-headers", "*") && header != "authorization";
        if !answer.lists("access-control-allow-headers", header) && !by_wildcard {
            return Err(Stop::fail(format!("{what} does not permit the header `{header}`, which pages need")));
        }
    }
    Ok(())
}

async fn preflight(cx: &mut Cx) -> Result<(), Stop> {
    let http = endpoints(cx);
    let (paths, kick) = ([&http.ice, &http.health, &http.status].map(Clone::clone), http.kick.clone());
    for path in paths.into_iter().flatten() {
        permits(cx, &path, "GET", "").await?;
    }
    let Some(kick) = kick else { return Ok(()) };
    // A body with the type of JSON is what makes browsers ask first.
    permits(cx, &kick.path, "POST", if kick.bearer { "authorization,content-type" } else { "content-type" }).await
}

/// Checks that the answers to pages of two origins follow the rules about credentials and caches.
pub(in crate::cases) fn follows_the_rules(what: &str, one: &Response, other: &Response) -> Result<(), Stop> {
    for (answer, asked) in [(one, ORIGIN), (other, OTHER_ORIGIN)] {
        let Some(allowed) = answer.header("access-control-allow-origin") else { continue };
        if allowed.contains([',', ' ']) {
            return Err(Stop::fail(format!("{what} allows several origins, {allowed}, and browsers accept only one")));
        }
        match answer.header("access-control-allow-credentials").as_deref() {
            None => {}
            Some("true") if allowed == "*" => {
                let why = "allows credentials from pages of any origin (`*`), which browsers refuse";
                return Err(Stop::fail(format!("{what} {why}")));
            }
            Some("true") => {}
            Some(value) => {
                let why = format!("has Access-Control-Allow-Credentials: {value}, but only `true` has a meaning");
                return Err(Stop::fail(format!("{what} {why}")));
            }
        }
        if allowed == asked && !answer.lists("vary", "origin") && !answer.lists("vary", "*") {
            // An origin that is always the same one needs no `Vary`.
            let fixed = [one, other]
                .iter()
                .all(|answer| answer.header("access-control-allow-origin").as_deref() == Some(asked));
            if !fixed {
                return Err(Stop::fail(format!(
                    "{what} names the origin of the page, {asked}, without `Vary: Origin`: a cache would give that to other pages"
                )));
            }
        }
    }
    Ok(())
}

async fn credentials(cx: &mut Cx) -> Result<(), Stop> {
    let http = endpoints(cx);
    let paths = [&http.ice, &http.health, &http.status].map(Clone::clone);
    let mut allows = false;
    for path in paths.into_iter().flatten() {
        let one = send(cx, "GET", &path, vec![origin(ORIGIN)], None).await?;
        let other = send(cx, "GET", &path, vec![origin(OTHER_ORIGIN)], None).await?;
        follows_the_rules(&format!("GET {path}"), &one, &other)?;
        allows |= [&one, &other].iter().any(|answer| answer.header("access-control-allow-origin").is_some());
        let echoed = |answer: &Response, asked: &str| {
            answer.header("access-control-allow-origin").as_deref() == Some(asked)
                && answer.header("access-control-allow-credentials").as_deref() == Some("true")
        };
        if echoed(&one, ORIGIN) && echoed(&other, OTHER_ORIGIN) {
            cx.quality(format!("GET {path}: any page may send its user's credentials and read the answer"));
        }
    }
    if allows { Ok(()) } else { Err(Stop::Unsupported("no page of another origin may read an answer".to_owned())) }
}
