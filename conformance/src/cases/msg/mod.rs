//! Messages that are malformed, unusual or large.

mod browser;
mod json;
mod malformed;
mod no_effect;
mod size;
mod surrogates;

use crate::case::Case;
use crate::client::Peer;
use crate::cx::Cx;
use crate::dialect::Event;
use crate::dialect::file::Addressing;
use crate::stop::Stop;

pub(super) const CASES: [&[&Case]; 5] = [malformed::CASES, json::CASES, browser::CASES, surrogates::CASES, size::CASES];

/// Adds to a failure after which message it came.
fn after(what: &str, stop: Stop) -> Stop {
    stop.reworded(|why| format!("after ana's message ({what}): {why}"))
}

/// If no client can join any more, the last message has ended the server.
fn stopped(what: &str, stop: Stop) -> Stop {
    match stop {
        Stop::Setup(why) | Stop::Fail { why, .. } => {
            Stop::fail(format!("the server stopped answering after ana's message ({what}): {why}"))
        }
        other => other,
    }
}

/// Whether it is one of the valid signals that [`no_effect`] sends.
fn is_ours(event: &Event) -> bool {
    let ours = ["\"next-", "\"sentinel-", "\"settling-", "\"here-"];
    event.data.as_ref().is_some_and(|data| ours.iter().any(|ours| data.starts_with(ours)))
}

/// A valid signal from ana.
fn good(cx: &Cx, ana: &Peer, ben: &Peer) -> Result<String, Stop> {
    let to = (cx.file().signals.addressing == Addressing::Targeted).then_some(&ben.id);
    ana.signal_message(ana.plain_kind(), "1", to, &ana.room)
}
