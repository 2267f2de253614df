//! A response that belongs to no request of its receiver is at best lost. At worst it is taken for the answer to another
//! one. RFC 8489 §6.3.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::event::datagrams::{Class, StunMessage};
use crate::event::{NodeId, TransportAddress};
use crate::oracle::cx::{Judges, Oracle, OracleCx, seconds};

/// How often a host sent a request to a server: the server, the host, the request's id and its method. A response may leave
/// from another address of the server or go to another port, if the request asks for that (RFC 5780 §7).
type Requests = BTreeMap<(NodeId, IpAddr, [u8; 12], u16), usize>;

#[derive(Default)]
pub(crate) struct TransactionIdEchoed;

impl Oracle for TransactionIdEchoed {
    const SLUG: &'static str = "transaction-id-echoed";
    const PROMISE: &'static str = "Every response of a STUN or TURN server has the transaction id and the method of a request, and each request gets at most one.";
    const JUDGES: Judges = Judges::Simulations;

    fn settle(&mut self, cx: &mut OracleCx<'_>) {
        let mut requests = Requests::new();
        let mut wrong: BTreeMap<(NodeId, TransportAddress), String> = BTreeMap::new();
        let end = cx.now().index;
        for datagram in cx.record.server_datagrams.iter().take_while(|datagram| datagram.event < end) {
            let is_about = |message: &StunMessage| (datagram.node, datagram.remote.ip(), message.id, message.method);
            if datagram.is_sent {
                let response = datagram.message(Class::Success).or_else(|| datagram.message(Class::Error));
                let Some(key) = response.map(is_about) else { continue };
                match requests.get_mut(&key) {
                    Some(unanswered) if *unanswered > 0 => *unanswered -= 1,
                    known => {
                        let what = match known {
                            Some(_) => "once more to a request that it has answered",
                            None => "with a transaction id and a method that no request from there had",
                        };
                        let (server, to) = (cx.name(datagram.node), datagram.remote);
                        let message = format!("{server} responded to {to} at {} {what}", seconds(datagram.at));
                        wrong.entry((datagram.node, datagram.remote)).or_insert(message);
                    }
                }
            } else if let Some(request) = datagram.message(Class::Request) {
                *requests.entry(is_about(request)).or_default() += 1;
            }
        }
        for ((server, _), message) in wrong {
            cx.violated(&[server], message);
        }
    }
}
