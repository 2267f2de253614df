//! The endpoint that closes a client's connection.

use serde_json::Value;

use super::cors::{ORIGIN, may_read, origin};
use super::{endpoints, has_body, json_body, send};
use crate::case::Case;
use crate::case::Level::{Declared, Must};
use crate::cases::bystander::Bystanders;
use crate::client::quoted;
use crate::cx::Cx;
use crate::dialect::file::Kick;
use crate::dialect::{Event, EventName, Feature, Id};
use crate::framing::http::Response;
use crate::framing::link::End;
use crate::stop::Stop;

pub(super) const CASES: &[&Case] = &[
    &Case::new("http/kick", Declared, "A kicked client is disconnected; kicking nobody, or an unreadable request, is refused.", run!(kick))
        .needs(&["room/join-ack"])
        .requires(&[Feature::KickEndpoint, Feature::Ids]),
    &Case::new(
        "http/kick-once",
        Declared,
        "A kick is announced exactly once, affects nobody else and frees the place of the client, who cannot be kicked again.",
        run!(once),
    )
    .needs(&["http/kick", "mesh/delivery"])
    .requires(&[Feature::KickEndpoint, Feature::Ids, Feature::LeaveNotice]),
    &Case::new(
        "http/kick-malformed",
        Declared,
        "A kick whose body names no client is refused, and nobody is disconnected.",
        run!(malformed),
    )
    .needs(&["http/kick", "mesh/delivery"])
    .requires(&[Feature::KickEndpoint, Feature::Ids]),
    &Case::new("http/kick-auth", Must, "A kick without the required credentials is answered with 401 and has no effect.", run!(auth))
        .cites(&[rfc!(
            9110,
            "15.5.2",
            "The server generating a 401 response MUST send a WWW-Authenticate header field (Section 11.6.1) containing at least one challenge applicable to the target resource."
        )])
        .needs(&["http/kick", "mesh/delivery"])
        .requires(&[Feature::KickEndpoint, Feature::Ids]),
];

/// What the dialect says about kicks.
fn kicks(cx: &Cx) -> &Kick {
    endpoints(cx).kick.as_ref().expect("the case requires it")
}

/// The body of a kick; `id` is JSON.
fn body(cx: &Cx, id: &str) -> String {
    format!("{{{}:{id}}}", Value::from(&*kicks(cx).field))
}

async fn post(cx: &Cx, body: &str) -> Result<Response, Stop> {
    send(cx, "POST", &kicks(cx).path, json_body(), Some(body)).await
}

/// Kicks a client that is connected.
async fn kicks_client(cx: &Cx, name: &str, id: &Id) -> Result<(), Stop> {
    let kicked = post(cx, &body(cx, &id.0)).await?;
    if !(200..300).contains(&kicked.status) {
        let (status, body) = (kicked.status, kicked.body);
        return Err(Stop::fail(format!("kicking {name} is answered with HTTP {status}, expected 2xx: {body}")));
    }
    match &kicks(cx).answer {
        Some(answer) => has_body(&format!("kicking {name}"), &kicked, answer),
        None => Ok(()),
    }
}

/// Checks that a kick is refused: with the declared status if there is one.
fn is_refused(what: &str, response: &Response, declared: Option<u16>) -> Result<(), Stop> {
    let status = response.status;
    match declared {
        Some(declared) if status != declared => {
            Err(Stop::fail(format!("{what} is answered with HTTP {status}, expected {declared}")))
        }
        None if !(400..500).contains(&status) => {
            Err(Stop::fail(format!("{what} is answered with HTTP {status}, expected 4xx")))
        }
        _ => Ok(()),
    }
}

async fn kick(cx: &mut Cx) -> Result<(), Stop> {
    let Kick { path, unknown, malformed, code, reason, .. } = kicks(cx).clone();
    let room = cx.room();
    let [mut ana, _ben] = cx.members(&room, ["ana", "ben"]).await?;
    let nobody = post(cx, &body(cx, "\"glare-nobody\"")).await?;
    match nobody.status {
        401 => return Err(Stop::Unsupported(format!("{path} requires a token: use --bearer"))),
        403 if unknown != Some(403) => {
            return Err(Stop::Unsupported(format!("{path} is closed to this client: HTTP 403")));
        }
        _ => {}
    }
    is_refused("kicking a client that does not exist", &nobody, unknown)?;
    is_refused("a kick whose body is not JSON", &post(cx, "{").await?, malformed)?;
    kicks_client(cx, "ana", &ana.id).await?;
    let end = ana.ended_in_time().await;
    let end = end.ok_or_else(|| Stop::fail("the connection of the kicked client is not closed"))?;
    if let Some(code) = code.filter(|code| end != End::Closed(Some(*code))) {
        return Err(ana.stop(format!("the connection of the kicked client is not closed with {code}")));
    }
    match reason {
        Some(reason) if ana.close_reason() != Some(&*reason) => {
            Err(ana.stop(format!("the connection of the kicked client is not closed with the reason {reason:?}")))
        }
        _ => Ok(()),
    }
}

async fn once(cx: &mut Cx) -> Result<(), Stop> {
    let room = cx.room();
    let [mut ana, mut ben] = cx.members(&room, ["ana", "ben"]).await?;
    let bystanders = Bystanders::gather(cx).await?;
    let gone = ben.who();
    kicks_client(cx, "ben", &ben.id).await?;
    if ben.ended_in_time().await.is_none() {
        return Err(Stop::fail("the connection of the kicked client is not closed"));
    }
    ana.until("the leave notice for ben, who was kicked", |event| event.is_left(&gone)).await?;
    is_refused("kicking a client again", &post(cx, &body(cx, &gone.id.0)).await?, kicks(cx).unknown)?;
    let role = cx.file().roles.as_ref().map(|roles| roles.answers.clone());
    let mut fred = cx.connect_as("fred", &room, role.as_deref()).await?;
    fred.join(&room, None).await.map_err(|stop| {
        stop.reworded(|why| format!("ben was kicked, and ana was notified; but fred cannot take his place: {why}"))
    })?;
    cx.settle(&mut ana, &mut fred).await.map_err(Stop::into_setup)?;
    cx.fence(&mut fred, &mut [&mut ana]).await?;
    cx.fence(&mut ana, &mut [&mut fred]).await?;
    ana.received_once("the leave notice for ben, who was kicked,", |event| event.is_left(&gone))?;
    fred.never_received("received a leave notice, although ben was kicked before fred joined", |event| {
        event.is(EventName::MemberLeft)
    })?;
    ben.never_received("received an error when he was kicked", Event::is_error)?;
    bystanders.received_nothing(cx).await
}

async fn malformed(cx: &mut Cx) -> Result<(), Stop> {
    let [mut ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    let Kick { path, unknown, malformed, .. } = kicks(cx).clone();
    let id = &ana.id.0;
    let bodies = [
        ("without a body", String::new()),
        ("whose body is `null`", "null".to_owned()),
        ("whose body is a number", "5".to_owned()),
        ("whose body is only the id", id.clone()),
        ("whose body is a list", format!("[{}]", body(cx, id))),
        ("whose body is an empty object", "{}".to_owned()),
        ("whose body is cut off", format!("{{{}:{id}", Value::from(&*kicks(cx).field))),
        ("whose body is followed by more text", format!("{} x", body(cx, id))),
        ("of `null`", body(cx, "null")),
        ("of a list", body(cx, &format!("[{id}]"))),
        ("of an object", body(cx, &body(cx, id))),
    ];
    let text = serde_json::from_str::<Value>(id).ok().and_then(|id| id.as_str().map(str::to_owned));
    // Where ids are numbers, this may be somebody's.
    let number = text.as_ref().map(|_| ("of a number", body(cx, "7")));
    for (what, body) in bodies.into_iter().chain(number) {
        let response = post(cx, &body).await?;
        if response.status == 401 {
            return Err(Stop::Unsupported(format!("{path} requires a token: use --bearer")));
        }
        is_refused(&format!("a kick {what}"), &response, malformed)?;
    }
    // An id is compared exactly. An empty one may be called malformed.
    is_refused("a kick of an empty id", &post(cx, &body(cx, "\"\"")).await?, None)?;
    if let Some(text) = text {
        let length = text.chars().count();
        // Half of a short id may be the id of another client.
        let half = (length >= 8).then(|| text.chars().take(length / 2).collect());
        for other in half.into_iter().chain([format!("{text}x")]) {
            let response = post(cx, &body(cx, &quoted(&other))).await?;
            is_refused(&format!("a kick of {other}, which is no client's id,"), &response, unknown)?;
        }
    }
    let got = send(cx, "GET", &path, Vec::new(), None).await?;
    if (200..300).contains(&got.status) {
        return Err(Stop::fail(format!("GET {path} is answered with HTTP {}, expected an error", got.status)));
    }
    let stays = async {
        cx.fence(&mut ana, &mut [&mut ben]).await?;
        cx.fence(&mut ben, &mut [&mut ana]).await
    };
    stays.await.map_err(|stop| stop.reworded(|why| format!("after kicks that name no client: {why}")))
}

async fn auth(cx: &mut Cx) -> Result<(), Stop> {
    let Kick { path, bearer, .. } = kicks(cx).clone();
    if !bearer {
        return Err(Stop::Unsupported("the dialect does not declare that a kick needs credentials".to_owned()));
    }
    let given = cx.env.net.target.headers().iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    let given = given.map(|(_, value)| value.clone());
    let given = given.ok_or_else(|| {
        Stop::Unsupported("there are no credentials that the suite could leave out: use --bearer".to_owned())
    })?;
    let token = given.split_once(' ').map_or(given.as_str(), |(_, token)| token);
    let cut = token.char_indices().next_back().map_or("", |(last, _)| &token[..last]);
    let [mut ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    let stranger = Cx::new(cx.without_credentials(), cx.log.clone());
    let wrong = [
        ("without credentials", None),
        ("with another token", Some("Bearer glare-wrong".to_owned())),
        ("with the beginning of the token", Some(format!("Bearer {cut}"))),
        ("with an empty token", Some("Bearer ".to_owned())),
        ("with the token in another scheme", Some(format!("Basic {token}"))),
    ];
    for (what, credentials) in wrong {
        let mut headers = json_body();
        headers.extend(credentials.map(|credentials| ("Authorization", credentials)));
        headers.push(origin(ORIGIN));
        let response = send(&stranger, "POST", &path, headers, Some(&body(cx, &ana.id.0))).await?;
        if response.status != 401 {
            let status = response.status;
            return Err(Stop::fail(format!("a kick {what} is answered with HTTP {status}, expected 401")));
        }
        if response.header("www-authenticate").is_none() {
            return Err(Stop::fail(format!("a kick {what} is answered with a 401 without WWW-Authenticate")));
        }
        if cx.has(Feature::Cors) {
            may_read(&format!("a kick {what}"), &response)?;
        }
    }
    let stays = async {
        cx.fence(&mut ana, &mut [&mut ben]).await?;
        cx.fence(&mut ben, &mut [&mut ana]).await
    };
    stays.await.map_err(|stop| stop.reworded(|why| format!("after kicks without credentials: {why}")))?;
    kicks_client(cx, "ana", &ana.id).await
}
