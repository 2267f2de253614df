//! TCP flows that do not get through for a while, because of a partition, because nothing passes a link, or because a NAT
//! has lost their mapping.
//!
//! A real sender has a retransmission timer, which it backs off. So a flow does not go on at the moment when the way is
//! open again, but with the next retransmission (RFC 6298 §5). The machines here do not retransmit; instead the
//! first segment that was stopped is tried again at the times at which its sender would send it again. What the flow
//! sends meanwhile waits behind it, so that nothing is lost or overtaken.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::event::TransportAddress;
use crate::fabric::index::{HostIndex, RealmIndex, RouterIndex};
use crate::fabric::packet::Packet;
use crate::fabric::topology::Attachment;

/// What Linux adds to the round-trip time for the retransmission timeout of a steady connection: `TCP_RTO_MIN`.
const RTO_MIN: Duration = Duration::from_millis(200);
/// The retransmission timeout of a SYN, when the round-trip time is not known: `TCP_TIMEOUT_INIT`, RFC 6298 §2.
const RTO_INITIAL: Duration = Duration::from_secs(1);
/// The longest retransmission timeout: `TCP_RTO_MAX`.
const RTO_MAX: Duration = Duration::from_secs(120);
/// How often a segment is sent again before its sender gives the connection up: `net.ipv4.tcp_retries2`.
const RETRIES_MAX: u32 = 15;

/// Where a flow is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// Where it enters a realm: over the link of a host or a router, or, if `None`, from the realm's own router.
    Entry(RealmIndex, Option<Attachment>),
    /// At its receiver.
    Host(HostIndex),
    /// At the outside of a router.
    Router(RouterIndex),
}

/// A flow that is stopped at a place, by its endpoints as seen there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StalledFlow {
    pub(crate) place: Place,
    src: TransportAddress,
    dst: TransportAddress,
}

impl StalledFlow {
    pub(crate) fn of(place: Place, packet: &Packet) -> Self {
        Self { place, src: packet.src, dst: packet.dst }
    }
}

#[derive(Debug)]
struct Stall {
    /// When its first segment is tried again.
    due: Duration,
    rto: Duration,
    retries: u32,
    /// What waits, in order.
    waiting: VecDeque<Packet>,
}

/// All stalled flows.
#[derive(Debug, Default)]
pub(crate) struct Stalls(BTreeMap<StalledFlow, Stall>);

impl Stalls {
    /// Lets a segment wait if its flow is stalled at this place. Otherwise returns it.
    pub(crate) fn wait_behind(&mut self, place: Place, packet: Packet) -> Option<Packet> {
        if self.0.is_empty() {
            return Some(packet);
        }
        match self.0.get_mut(&StalledFlow::of(place, &packet)) {
            Some(stall) => stall.waiting.push_back(packet),
            None => return Some(packet),
        }
        None
    }

    /// Stalls the flow of a segment that was stopped at `now`. Returns the flow, and when to call
    /// [`retry`](Self::retry).
    pub(crate) fn stop(&mut self, place: Place, packet: Packet, now: Duration) -> (StalledFlow, Duration) {
        let flow = StalledFlow::of(place, &packet);
        // The way back takes about as long as the way here.
        let round_trip = 2 * now.saturating_sub(packet.sent);
        let rto = if packet.opens() { RTO_INITIAL } else { RTO_MIN + round_trip };
        let due = now + rto;
        self.0.insert(flow, Stall { due, rto, retries: 1, waiting: VecDeque::from([packet]) });
        (flow, due)
    }

    /// Takes what waits in a flow whose retry is due at `now`, for another try.
    pub(crate) fn retry(&mut self, flow: StalledFlow, now: Duration) -> Option<Retry> {
        if self.0.get(&flow)?.due > now {
            return None;
        }
        self.0.remove(&flow).map(|stall| Retry { flow, stall })
    }

    /// Puts back what does not get through this time either: `packet`, and behind it what is left of the retry. Returns
    /// when to try again, or, if the sender gives up, all segments.
    pub(crate) fn put_back(&mut self, retry: Retry, packet: Packet) -> Result<Duration, VecDeque<Packet>> {
        let Retry { flow, mut stall } = retry;
        stall.waiting.push_front(packet);
        if stall.retries > RETRIES_MAX {
            return Err(stall.waiting);
        }
        stall.retries += 1;
        stall.rto = (2 * stall.rto).min(RTO_MAX);
        stall.due += stall.rto;
        let due = stall.due;
        self.0.insert(flow, stall);
        Ok(due)
    }

    /// Makes all flows due at `now`, and returns them.
    pub(crate) fn hurry(&mut self, now: Duration) -> Vec<StalledFlow> {
        self.0.values_mut().for_each(|stall| stall.due = now);
        self.0.keys().copied().collect()
    }
}

/// A flow that is being tried again.
pub(crate) struct Retry {
    pub(crate) flow: StalledFlow,
    stall: Stall,
}

impl Retry {
    /// The next segment to try.
    pub(crate) fn next(&mut self) -> Option<Packet> {
        self.stall.waiting.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::event::{NodeId, PacketId};
    use crate::fabric::packet::{Body, Segment};

    fn packet(number: u32, sent: u64) -> Packet {
        let any = TransportAddress::new(Ipv4Addr::UNSPECIFIED, 0);
        let (body, sent) = (Body::Tcp(Segment::reset()), Duration::from_millis(sent));
        Packet::new(PacketId(number), NodeId(0), sent, any, any, body)
    }

    const PLACE: Place = Place::Host(HostIndex(0));

    //= https://www.rfc-editor.org/rfc/rfc6298#section-5
    //# (5.5) The host MUST set RTO <- RTO * 2 ("back off the timer").
    #[test]
    fn each_pause_is_twice_the_one_before_up_to_a_limit() {
        let mut stalls = Stalls::default();
        let (flow, mut due) = stalls.stop(PLACE, packet(1, 1000), Duration::from_millis(1005));
        let mut pauses = vec![due.as_millis() - 1005];
        let given_up = loop {
            assert!(stalls.retry(flow, due - Duration::from_millis(1)).is_none(), "not before it is due");
            let mut retry = stalls.retry(flow, due).expect("it is due");
            let first = retry.next().expect("the segment waits");
            match stalls.put_back(retry, first) {
                Ok(next) => {
                    pauses.push((next - due).as_millis());
                    due = next;
                }
                Err(given_up) => break given_up,
            }
        };
        let expected = [210, 420, 840, 1680, 3360, 6720, 13_440, 26_880, 53_760, 107_520];
        assert_eq!(pauses[..10], expected);
        assert!(pauses[10..].iter().all(|pause| *pause == 120_000) && pauses.len() == 16, "{pauses:?}");
        assert_eq!(given_up.len(), 1);
    }

    #[test]
    fn what_comes_later_waits_in_order() {
        let mut stalls = Stalls::default();
        assert!(stalls.wait_behind(PLACE, packet(1, 0)).is_some(), "nothing is stalled");
        let (flow, due) = stalls.stop(PLACE, packet(1, 0), Duration::ZERO);
        assert!(stalls.wait_behind(PLACE, packet(2, 0)).is_none());
        assert!(stalls.wait_behind(Place::Host(HostIndex(1)), packet(9, 0)).is_some(), "another flow");
        let mut retry = stalls.retry(flow, due).expect("it is due");
        let ids = std::iter::from_fn(|| retry.next()).map(|packet| packet.id.0);
        assert_eq!(ids.collect::<Vec<_>>(), [1, 2]);
        assert!(stalls.wait_behind(PLACE, packet(3, 0)).is_some(), "the flow goes on");
    }
}
