//! Judged at the end, and not of programs of others, which do not say when they end a connection.

use crate::event::{NodeId, PeerName};
use crate::oracle::cx::{Oracle, OracleCx, seconds};
use crate::oracle::history::Stay;
use crate::oracle::model::SLACK;

#[derive(Default)]
pub(crate) struct ConnectionEnded;

impl Oracle for ConnectionEnded {
    const SLUG: &'static str = "connection-ended";
    const PROMISE: &'static str = "A client that was notified that another left ends its WebRTC connection with it.";

    fn settle(&mut self, cx: &mut OracleCx<'_>) {
        let found: Vec<_> = cx.stays().into_iter().flat_map(|stay| kept(stay, cx)).collect();
        for (nodes, message) in found {
            cx.violated(&nodes, message);
        }
    }
}

/// The connections that a client has to others of whose leaving it was notified.
fn kept(stay: &Stay, cx: &OracleCx<'_>) -> Vec<(Vec<NodeId>, String)> {
    // A client that was notified wrongly, or too often, need not believe it.
    if cx.is_program(stay.node) || cx.has_reported_about("one-leave-notice", stay.node) {
        return Vec::new();
    }
    let view = cx.model.views.get(&stay.node).into_iter().flatten();
    let gone = view.filter_map(|(id, notices)| Some((id, notices.gone?)));
    let kept = gone.filter_map(|(id, gone)| {
        let connection = cx.model.peer_connections.get(stay.node, &PeerName::Client(id.clone()))?;
        if gone.time + SLACK >= cx.now().time || connection.opened >= gone.time {
            return None;
        }
        let (name, who, at) = (cx.name(stay.node), cx.who(id), seconds(gone.time));
        let message = format!("{name} still has a connection to {who}, but was notified at {at} that this client left");
        Some((cx.with_owner(stay.node, id), message))
    });
    kept.collect()
}
