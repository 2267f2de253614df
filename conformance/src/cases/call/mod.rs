//! Calls between named users: how they ring, what passes in them, how they end, and under which names.

mod by_name;
mod ending;
mod in_call;
mod names;
mod ringing;

use super::DELIVERY;
use crate::case::Case;
use crate::client::{Peer, Received};
use crate::cx::Cx;
use crate::dialect::{Act, Event, EventName, Id, Operation};
use crate::stop::Stop;

pub(super) const CASES: [&[&Case]; 5] = [ringing::CASES, in_call::CASES, ending::CASES, names::CASES, by_name::CASES];

fn act(peer: &Peer, operation: Operation, to: &Peer) -> Result<(), Stop> {
    peer.act(operation, &Act { to: Some(&to.id), ..Act::default() })
}

/// Whether the event has this name and, if it names a user, comes from this one.
fn of(event: &Event, name: EventName, from: &Id) -> bool {
    event.is(name) && event.from.as_ref().is_none_or(|other| other == from)
}

/// Whether it is part of a call, or would be: everything but lists, errors and greetings.
pub(super) fn is_of_a_call(event: &Event) -> bool {
    use EventName::{Answered, Description, Ended, Media, Ringing, Signal};
    [Ringing, Answered, Ended, Media, Signal, Description].into_iter().any(|name| event.is(name))
}

async fn users<const N: usize>(cx: &Cx, names: [&str; N]) -> Result<[Peer; N], Stop> {
    let mut peers = Vec::new();
    for name in names {
        peers.push(cx.join(name, &cx.room()).await?);
    }
    let Ok(peers) = <[Peer; N]>::try_from(peers) else { unreachable!("there is one for each name") };
    Ok(peers)
}

/// Checks that ana and ben are free: they can start a new call, and signal in it.
async fn are_free(cx: &Cx, ana: &mut Peer, ben: &mut Peer, after: &str) -> Result<(), Stop> {
    ana.calls(ben).await.map_err(|stop| stop.reworded(|why| format!("{after}; in a new call, {why}")))?;
    cx.fence(ana, &mut [ben]).await?;
    cx.fence(ben, &mut [ana]).await
}

/// Waits until the server has handled everything that a user without a call sent, and until everything sent to it has
/// arrived: it calls a newcomer, who rejects. So the user must be free, which this checks too.
async fn settled(cx: &Cx, user: &mut Peer) -> Result<(), Stop> {
    let hal = cx.join("hal", &cx.room()).await?;
    settled_by(user, hal).await.map_err(|stop| {
        let name = user.name.clone();
        stop.reworded(|why| format!("{name} should be free and call hal: {why}"))
    })
}

async fn settled_by(user: &mut Peer, mut hal: Peer) -> Result<(), Stop> {
    act(user, Operation::Call, &hal)?;
    hal.until(&format!("{}'s call", user.name), |event| of(event, EventName::Ringing, &user.id)).await?;
    act(&hal, Operation::Reject, user)?;
    let rejected = |event: &Event| of(event, EventName::Answered, &hal.id) && event.accepted == Some(false);
    let rejection = user.until("hal's rejection", rejected).await?;
    // It is not part of what the case is about.
    user.received.retain(|received| received.line != rejection.line);
    Ok(())
}

/// Two users in a call: waits until the server has handled everything that they sent, and until everything sent to them
/// has arrived.
async fn settled_in_call(cx: &Cx, ana: &mut Peer, ben: &mut Peer) -> Result<(), Stop> {
    cx.fence(ana, &mut [ben]).await?;
    cx.fence(ben, &mut [ana]).await?;
    cx.fence(ana, &mut [ben]).await
}

/// Checks that the last `times` messages of a user were refused with the error that the dialect promises, if it promises
/// one. `mark` is the number of messages that it had received before. Call it when the user is settled.
fn refused(user: &Peer, mark: usize, times: usize, what: &str, reason: Option<&String>) -> Result<(), Stop> {
    refused_as(user, mark, times, what, reason.as_slice())
}

/// Like [`refused`], for messages that end a call which does not exist. A server may also ignore them: what their sender
/// wants is the case already.
fn refused_or_ignored(
    cx: &Cx,
    user: &Peer,
    mark: usize,
    times: usize,
    what: &str,
    reason: Option<&String>,
) -> Result<(), Stop> {
    if user.received[mark..].iter().any(|received| received.event.is_error()) {
        return refused(user, mark, times, what, reason);
    }
    if reason.is_some() {
        cx.acceptable(format!("a user {what}, and that is ignored without an error"));
    }
    Ok(())
}

/// Like [`refused`]. The first reason is the one that is promised, and the others are right too.
fn refused_as(user: &Peer, mark: usize, times: usize, what: &str, reasons: &[&String]) -> Result<(), Stop> {
    let Some(reason) = reasons.first() else { return Ok(()) };
    let name = &user.name;
    let errors: Vec<_> = user.received[mark..].iter().filter(|received| received.event.is_error()).collect();
    let is_other =
        |received: &&&Received| !received.event.reason.as_ref().is_some_and(|reason| reasons.contains(&reason));
    if let Some(other) = errors.iter().find(is_other) {
        return Err(Stop::at(format!("{name} {what} and received another error than `{reason}`"), other.line));
    }
    match errors.len() {
        found if found == times => Ok(()),
        0 => Err(Stop::fail(format!("{name} {what} and received no error; the dialect promises `{reason}`"))),
        found => Err(Stop::fail(format!("{name} {what}: expected {times} errors `{reason}`, received {found}"))),
    }
}
