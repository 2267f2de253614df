//! A remote candidate belongs to the current remote description, by its username fragment (RFC 8838 §4). A description
//! must not return to credentials that were replaced, or to those of an earlier connection with the same peer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::event::{Event, NodeId, PeerChange, PeerEvent, PeerName, What};
use crate::oracle::cx::{Oracle, OracleCx};

/// The username fragments of a peer's earlier connections, and those of the current one.
#[derive(Default)]
struct Fragments {
    earlier: BTreeSet<Arc<str>>,
    current: Vec<Arc<str>>,
}

#[derive(Default)]
pub(crate) struct NoStaleGeneration(BTreeMap<(NodeId, PeerName), Fragments>);

impl Oracle for NoStaleGeneration {
    const SLUG: &'static str = "no-stale-generation";
    const PROMISE: &'static str = "Nothing of an older ICE generation is accepted.";

    fn observe(&mut self, event: &Event, cx: &mut OracleCx<'_>) {
        let What::Peer(PeerEvent { peer, change, attempt }) = &event.what else { return };
        // Of a program only the signals are known, not whether it accepts what they carry.
        if cx.is_program(event.node) {
            return;
        }
        let fragments = self.0.entry((event.node, peer.clone())).or_default();
        let wrong = match change {
            PeerChange::Opened { .. } => {
                fragments.earlier.extend(fragments.current.drain(..));
                return;
            }
            PeerChange::Described { local: false, ufrag, .. } => {
                let is_new = !fragments.current.contains(ufrag);
                let is_back = fragments.current.last() != Some(ufrag) && !is_new;
                let is_earlier = fragments.earlier.contains(ufrag);
                if is_new {
                    fragments.current.push(ufrag.clone());
                }
                if is_earlier {
                    format!("a description with ICE generation `{ufrag}`, which belongs to an earlier connection")
                } else if is_back {
                    format!("a description with ICE generation `{ufrag}`, which has been replaced")
                } else {
                    return;
                }
            }
            PeerChange::Candidate { local: false, ufrag, candidate } if fragments.current.last() != Some(ufrag) => {
                let address = candidate.address;
                match fragments.current.last() {
                    Some(current) => {
                        format!("the candidate {address} of ICE generation `{ufrag}` while `{current}` is current")
                    }
                    None => format!("the candidate {address} of ICE generation `{ufrag}` without a description"),
                }
            }
            _ => return,
        };
        let (name, who) = (cx.name(event.node), cx.who(peer));
        let message = format!("{name} accepted {wrong} (connection {attempt} with {who})");
        cx.violated(&cx.with_owner(event.node, peer), message);
    }
}
