//! What a server announces in its first packet: the longest payload, and when it drops a silent client.

use serde_json::Value;
use tokio::time::sleep;

use super::polling::Session;
use super::{OPEN, announced, closes, connected, opened, poll, raw_poll};
use crate::case::Case;
use crate::case::Level::{Declared, Must};
use crate::cases::QUICK;
use crate::cx::Cx;
use crate::dialect::Feature;
use crate::framing::error::{HttpError, TransportError};
use crate::framing::link::{Command, End};
use crate::stop::Stop;
use crate::words::human;

/// The longest payload that the suite sends.
const PAYLOAD_BYTES_MAX: usize = 16 * 1024 * 1024;

pub(super) const CASES: &[&Case] = &[
    &Case::new("sio/max-payload", Must, "A packet over `maxPayload` closes the session.", run!(max_payload))
        .needs(OPEN)
        .requires(&[Feature::SocketIo])
        .alone(),
    &Case::new(
        "sio/payload-edge",
        Declared,
        "A payload of exactly `maxPayload` bytes is accepted over either transport; one more byte is refused: with 1009, or HTTP 413.",
        run!(edge),
    )
    .needs(&["sio/max-payload", "sio/polling"])
    .requires(&[Feature::SocketIo])
    .alone(),
    &Case::new(
        "sio/half-open",
        Must,
        "A client that neither reads nor polls any more is dropped within the time announced in the first packet, if that is at most 5 s.",
        run!(half_open),
    )
    .needs(OPEN)
    .requires(&[Feature::SocketIo]),
];

/// The announced limit, if the suite can reach it.
fn max(open: &Value) -> Result<usize, Stop> {
    let max = open["maxPayload"].as_u64().unwrap_or(1_000_000) as usize;
    if max > PAYLOAD_BYTES_MAX {
        return Err(Stop::Unsupported(format!("maxPayload is {max}, more than the suite sends")));
    }
    Ok(max)
}

/// The announced limit, with the time that so long a payload needs.
async fn limit(cx: &mut Cx) -> Result<usize, Stop> {
    let (ana, open) = opened(cx, "ana").await?;
    ana.close().await;
    let max = max(&open)?;
    cx.allow_time_for(max);
    Ok(max)
}

async fn max_payload(cx: &mut Cx) -> Result<(), Stop> {
    let max = limit(cx).await?;
    let (mut ana, _) = opened(cx, "ana").await?;
    ana.send("40");
    let name = cx.event_names().into_iter().next().unwrap_or_else(|| "event".to_owned());
    ana.command(Command::Text(format!(r#"42["{name}","{}"]"#, "x".repeat(max + 1))));
    closes(&mut ana, &format!("a packet of more than {max} bytes")).await
}

/// An event of exactly this length. Its name is unknown, so that nobody receives it.
fn event(bytes: usize) -> String {
    let envelope = r#"42["glare-unknown",""]"#.len();
    format!(r#"42["glare-unknown","{}"]"#, "x".repeat(bytes.saturating_sub(envelope)))
}

async fn edge(cx: &mut Cx) -> Result<(), Stop> {
    let max = limit(cx).await?;
    let (mut ana, _) = opened(cx, "ana").await?;
    ana.send("40");
    ana.until_received("the answer to CONNECT", |received| received.text.starts_with("40")).await?;
    ana.send(event(max));
    ana.send("40/glare-nowhere,");
    ana.until_received("an answer after a packet of exactly `maxPayload` bytes", |received| {
        received.text.starts_with("44")
    })
    .await?;
    let ben = Session::connect(cx, "ben").await?;
    let accepted = poll(cx, "ben", "POST", &ben.query, Some(&event(max))).await?;
    if accepted.status != 200 {
        let status = accepted.status;
        return Err(Stop::fail(format!("a POST of exactly {max} bytes is answered with HTTP {status}, expected 200")));
    }
    let what = format!("a POST of {} bytes", max + 1);
    match raw_poll(cx, "ben", "POST", &ben.query, Some(&event(max + 1))).await {
        Ok(refused) if refused.status != 413 => {
            return Err(Stop::fail(format!("{what} is answered with HTTP {}, expected 413", refused.status)));
        }
        // The server may end the connection before it has read everything.
        Ok(_) | Err(TransportError::Http(HttpError::Io(_) | HttpError::Truncated)) => {}
        Err(error) => return Err(Stop::fail(format!("{what}: {error}"))),
    }
    let mut cleo = connected(cx, "cleo").await?;
    cleo.send(event(max + 1));
    match cleo.ended_in_time().await {
        Some(End::Closed(Some(1009))) => {}
        Some(_) => return Err(cleo.stop(format!("a packet of {} bytes does not close with 1009", max + 1))),
        None => return Err(Stop::fail(format!("a packet of {} bytes does not close the session", max + 1))),
    }
    ana.send("40/glare-neither,");
    ana.until_received("an answer after others sent too much", |received| received.text.starts_with("44/glare-neither"))
        .await
        .map(drop)
}

async fn half_open(cx: &mut Cx) -> Result<(), Stop> {
    let (mut ana, open) = opened(cx, "ana").await?;
    let announced = announced(&open);
    if announced > QUICK {
        return Err(Stop::Unsupported(format!(
            "the server announces that it drops a silent client after {}: use --slow, which runs sio/ping-timeout",
            human(announced)
        )));
    }
    ana.send("40");
    ana.until_received("the answer to CONNECT", |received| received.text.starts_with("40")).await?;
    let ben = Session::connect(cx, "ben").await?;
    // TCP stays up, as it does after the client's machine has disappeared.
    ana.command(Command::Deaf(true));
    sleep(announced + cx.env.net.patience / 2).await;
    ana.command(Command::Deaf(false));
    if ana.ended_in_time().await.is_none() {
        let announced = human(announced);
        return Err(Stop::fail(format!("a client that stopped reading is not disconnected within {announced}")));
    }
    let answer = poll(cx, "ben", "GET", &ben.query, None).await?;
    if answer.status < 400 {
        let why = format!("a client that stopped polling still has its session after {}", human(announced));
        return Err(Stop::fail(format!("{why}: it received {}", answer.body)));
    }
    Ok(())
}
