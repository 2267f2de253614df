//! Bad messages that must have no effect: what a case sends, and what ana and ben do around it.

use std::time::Duration;

use tokio::time::timeout;

use super::{after, is_ours, stopped};
use crate::client::{Peer, Received};
use crate::cx::Cx;
use crate::dialect::file::{Framing, Reaction, Situation};
use crate::dialect::{Event, EventName};
use crate::framing::link::{Command, End};
use crate::stop::Stop;

/// A bad message that ana sends.
pub(super) struct Bad {
    /// What is wrong with it, in words.
    pub(super) what: String,
    pub(super) order: Command,
    /// The reason of the error that the dialect promises for this message.
    pub(super) reason: Option<String>,
}

impl Bad {
    pub(super) fn new(what: impl Into<String>, order: Command) -> Self {
        Self { what: what.into(), order, reason: None }
    }
}

/// The bad messages that ana sends once she and ben are members.
pub(super) type BadMessages<'a> = dyn Fn(&Peer, &Peer) -> Result<Vec<Bad>, Stop> + Send + Sync + 'a;

/// Ana sends bad messages, one at a time, in a room with ben. The server may answer with an error, ignore the message,
/// or close her connection. It must not pass anything on to ben. As long as ana's connection stays open, her signals
/// must reach ben, and his must reach her.
pub(super) async fn has_no_effect(cx: &Cx, bad: &BadMessages<'_>, situation: Situation) -> Result<(), Stop> {
    let may_relay = may_relay(cx, &[cx.file().declares.reaction(situation)]);
    has_no_effect_unless_relayed(cx, bad, Some(situation), may_relay).await
}

/// Whether the server may pass on a message that it need not understand: if it adds nothing to messages, and the
/// dialect declares nothing else.
pub(super) fn may_relay(cx: &Cx, declared: &[Reaction]) -> bool {
    declared.contains(&Reaction::Obeyed)
        || (cx.env.dialect.relays_as_sent() && declared.iter().all(|declared| *declared == Reaction::Any))
}

/// Like [`has_no_effect`]. `may_relay`: the server may also pass the message on. Without a situation, the dialect
/// declares nothing.
pub(super) async fn has_no_effect_unless_relayed(
    cx: &Cx,
    bad: &BadMessages<'_>,
    situation: Option<Situation>,
    may_relay: bool,
) -> Result<(), Stop> {
    let declared = situation.map_or(Reaction::Any, |situation| cx.file().declares.reaction(situation));
    let promised = situation.filter(|situation| cx.file().declares.binds(*situation));
    let [mut ana, mut ben] = cx.members(&cx.room(), ["ana", "ben"]).await?;
    let (mut errors, mut ignored, mut closed, mut relayed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let number = bad(&ana, &ben)?.len();
    if number == 0 {
        let why = "the dialect has no message that the suite could change in this way";
        return Err(Stop::Unsupported(why.to_owned()));
    }
    for index in 0..number {
        let Bad { what, order, reason } = bad(&ana, &ben)?.swap_remove(index);
        let (at_ana, at_ben) = (ana.received.len(), ben.received.len());
        let sent = match &order {
            Command::Text(text) => text.clone(),
            Command::Binary(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        };
        let mut ended = goes_on(cx, &mut ana, &mut ben, order, &what).await?;
        // Before it closes the connection, a server may still handle what has arrived already.
        if ended.is_none() && promised.is_some() && declared == Reaction::Closed {
            ended = ana.ended_in_time().await;
        }
        let acted_on = |event: &Event| {
            let notice =
                [EventName::Ringing, EventName::Media, EventName::Description].iter().any(|name| event.is(*name));
            (event.is_signal() && !is_ours(event)) || notice
        };
        let same = |received: &&Received| !sent.is_empty() && received.text == sent;
        match &ended {
            None if ana.received[at_ana..].iter().any(|received| received.event.is_error()) => {
                errors.push(what.clone())
            }
            None if ben.received[at_ben..].iter().any(|received| same(&received)) => relayed.push(what.clone()),
            None => ignored.push(what.clone()),
            Some(End::Closed(Some(code))) => closed.push(format!("{what} ({code})")),
            Some(_) => closed.push(format!("{what} (without a close code)")),
        }
        if let Some(situation) = promised.filter(|_| is_judged(cx, declared, &sent)) {
            let notified = ana.received[at_ana..].iter().any(|received| received.event.is_error());
            cx.reaction(&what, situation, notified, ended.as_ref())?;
            ana.errors_give(at_ana, &what, reason.as_deref().or_else(|| cx.file().refusals.of(situation)))?;
        }
        ben.catch_up();
        let acted_on = |event: &Event| !may_relay && acted_on(event);
        ben.never_received_since(at_ben, &format!("received a signal that ana's message caused: {what}"), acted_on)?;
        // While ana's connection is being closed, an error may be the answer to ben's own signal to her.
        if ended.is_none() {
            ben.never_received_since(at_ben, &format!("received an error for ana's message: {what}"), Event::is_error)?;
        }
        if let Some(received) = ben.received[at_ben..].iter().find(same).filter(|_| !may_relay) {
            if cx.env.dialect.relays_as_sent() {
                cx.remark("if the server is meant to pass on any text, declare \"obeyed\" for such messages");
            }
            return Err(Stop::at(format!("ben received ana's message unchanged: {what}"), received.line));
        }
        if ended.is_some() {
            // A new room, because a call or a role ends with its holder's connection.
            [ana, ben] = cx.members(&cx.room(), ["ana", "ben"]).await.map_err(|stop| stopped(&what, stop))?;
        }
    }
    for (reaction, list, words) in [
        (Reaction::Error, errors, "answered with an error"),
        (Reaction::Ignored, ignored, "ignored without an error"),
        (Reaction::Closed, closed, "closes the connection"),
        (Reaction::Obeyed, relayed, "passed on unchanged, so that every client must cope with it"),
    ] {
        if list.is_empty() || reaction == declared || declared == Reaction::Obeyed {
            continue;
        }
        let words = format!("{words}: {}", list.join(", "));
        if declared == Reaction::Any && reaction != Reaction::Obeyed { cx.remark(words) } else { cx.acceptable(words) }
    }
    Ok(())
}

/// Whether the reaction to this message is judged. Over Socket.IO, a packet may have no data at all, and one whose data
/// is not a list with a name first is malformed itself, so that the connection may be closed.
fn is_judged(cx: &Cx, declared: Reaction, sent: &str) -> bool {
    if cx.file().connection.framing != Framing::SocketIo {
        return true;
    }
    let is_event = serde_json::from_str::<Vec<serde_json::Value>>(sent)
        .is_ok_and(|items| items.first().is_some_and(serde_json::Value::is_string));
    is_event || (declared == Reaction::Closed && !sent.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Ana sends a message, and afterwards she and ben signal to each other. Returns how her connection has ended, if it
/// has: then ben is still connected, or was disconnected with her.
pub(super) async fn goes_on(
    cx: &Cx,
    ana: &mut Peer,
    ben: &mut Peer,
    order: Command,
    what: &str,
) -> Result<Option<End>, Stop> {
    let word = cx.word("next");
    ana.command(order);
    ana.send_word(ben, &word);
    let received = tokio::select! { biased;
        received = ben.until("ana's next signal", |event| event.has_word(&word)) => received.map(|_| None),
        end = ana.ended() => Ok(Some(end)),
    };
    let ended = match received {
        // Ben's connection may end because ana's does, in a server that closes a room with its first member.
        Err(stop) if ben.end.is_some() => match ana.ended_in_time().await {
            Some(end) if cx.first_member_takes_the_room_along().await? => return Ok(Some(end)),
            _ => return Err(after(what, stop)),
        },
        received => received.map_err(|stop| after(what, stop))?,
    };
    if ended.is_none() {
        let answered = cx.fence(ben, &mut [&mut *ana]).await;
        // The server may still pass on a signal of hers while it closes her connection.
        match answered {
            Err(stop) if ana.end.is_none() => return Err(after(what, stop)),
            _ if ana.end.is_none() => return Ok(None),
            _ => {}
        }
    }
    // Whoever else is disconnected by the message is so at about the same time.
    let soon = (cx.env.round_trip * 10).clamp(Duration::from_millis(50), cx.env.net.patience);
    if timeout(soon, ben.ended()).await.is_ok() && !cx.first_member_takes_the_room_along().await? {
        let stop = ben.stop("ben's connection ended too".to_owned());
        return Err(after(what, stop));
    }
    Ok(ana.end.clone())
}
