//! Perfect negotiation makes one side polite: it rolls back its own offer and accepts the other's. A client that hangs
//! up, leaves or loses its signaling connection before that need not answer. A later offer that is answered also
//! settles the matter.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::event::{ClientId, Event, Message, NodeId, SignalKind, Signaling, What};
use crate::oracle::cx::{Oracle, OracleCx, seconds};
use crate::oracle::history::At;
use crate::oracle::model::SLACK;
use crate::oracle::signals::{Origin, Sent};

/// All numbers are indices into `signals.sent`.
#[derive(Default)]
pub(crate) struct SingleGlareWinner {
    /// The newest offer that a client has received, by its sender's id; `None` if the dialect has no ids.
    newest: BTreeMap<(NodeId, Option<ClientId>), usize>,
    answered: BTreeSet<usize>,
    /// Pairs of offers that crossed, and when the second of the two arrived.
    crossed: VecDeque<(At, usize, usize)>,
}

impl Oracle for SingleGlareWinner {
    const SLUG: &'static str = "single-glare-winner";
    const PROMISE: &'static str = "Of two offers that cross, exactly one is answered.";

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        while let Some((since, ..)) = self.crossed.front()
            && since.time + SLACK < event.at
        {
            let Some((_, a, b)) = self.crossed.pop_front() else { break };
            if let Some(message) = self.unanswered(a, b, cx) {
                let signals = &cx.model.signals;
                cx.violated(&[signals.sent[a].node, signals.sent[b].node], message);
            }
        }
        if let Some(arrival) = cx.arrival(event)
            && let (SignalKind::Offer, Origin::Sent(offer)) = (arrival.kind, arrival.origin)
            && cx.model.signals.sent[offer].node != event.node
        {
            self.newest.insert((event.node, arrival.from.cloned()), offer);
            // A crossing is found when the second of the two arrives.
            let has_come = |other: &usize| cx.model.signals.sent[*other].arrived.is_some_and(|at| at < cx.now());
            // Which offer wins is agreed between Glare's clients only.
            let is_ours = |other: &usize| {
                let sent = &cx.model.signals.sent;
                !cx.is_program(sent[*other].node) && !cx.is_program(sent[offer].node)
            };
            let crossing = cx.model.signals.crossing(offer).filter(has_come).filter(is_ours);
            self.crossed.extend(crossing.map(|other| (cx.now(), other, offer)));
        }
        if let What::Signaling(Signaling::Sent(Message::Signal { peer: to, kind, .. })) = &event.what
            && *kind == SignalKind::Answer
            && let Some(offer) = self.newest.get(&(event.node, to.clone())).copied()
            && self.answered.insert(offer)
            && let Some((nodes, message)) = self.both_answered(offer, cx)
            && !nodes.iter().any(|node| cx.is_program(*node))
        {
            cx.violated(&nodes, message);
        }
    }
}

impl SingleGlareWinner {
    /// Reports an answer to an offer that crossed another which is answered as well.
    fn both_answered(&self, offer: usize, cx: &OracleCx<'_>) -> Option<([NodeId; 2], String)> {
        let signals = &cx.model.signals;
        let is_wrong = |theirs: &usize| self.answered.contains(theirs) && !is_void(cx, offer, *theirs);
        let theirs = signals.crossing(offer).find(is_wrong)?;
        let message = format!("{}, and both offers were answered", at_once(cx, offer, theirs));
        Some(([signals.sent[offer].node, signals.sent[theirs].node], message))
    }

    /// Reports two offers that crossed some time ago, if neither has been answered.
    fn unanswered(&self, a: usize, b: usize, cx: &OracleCx<'_>) -> Option<String> {
        let (one, other) = (&cx.model.signals.sent[a], &cx.model.signals.sent[b]);
        let is_between = |number: &usize| {
            let sent = &cx.model.signals.sent[*number];
            is_to(sent, one, other) || is_to(sent, other, one)
        };
        let is_settled = self.answered.range(a.min(b)..).any(is_between);
        let are_there = [one, other].iter().all(|sent| cx.stay_at(sent.node).is_some_and(|stay| stay.id == sent.from));
        let is_wrong = are_there && !is_settled && !is_void(cx, a, b);
        is_wrong.then(|| format!("{}, and neither offer was answered", at_once(cx, a, b)))
    }
}

/// Whether a signal was sent by `one` to `other`.
fn is_to(sent: &Sent, one: &Sent, other: &Sent) -> bool {
    sent.from == one.from && sent.to.as_ref().is_none_or(|to| *to == other.from)
}

fn at_once(cx: &OracleCx<'_>, a: usize, b: usize) -> String {
    let (one, other) = (&cx.model.signals.sent[a], &cx.model.signals.sent[b]);
    let (a, b) = (cx.who(&one.from), cx.who(&other.from));
    format!("{a} and {b} sent offers that crossed, at {} and {}", seconds(one.at.time), seconds(other.at.time))
}

/// Whether either side has hung up on the other since the first of two offers was sent.
fn is_void(cx: &OracleCx<'_>, a: usize, b: usize) -> bool {
    let sent = &cx.model.signals.sent;
    let (one, other) = (&sent[a], &sent[b]);
    let since = sent[a.min(b)..].iter().take_while(|sent| sent.at < cx.now());
    let mut hangups = since.filter(|sent| sent.kind == SignalKind::Hangup);
    hangups.any(|sent| is_to(sent, one, other) || is_to(sent, other, one))
}
