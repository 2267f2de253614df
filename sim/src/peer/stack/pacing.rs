//! When ICE checks are sent: the stack checks every pair whenever it is called, and this decides when to call it and
//! which of its checks to send.
//!
//! The stack by itself acts on a fixed interval, so that a pair which answered waits for the next one until it is
//! nominated. Here it is called when something has happened. The checks that it then repeats too early are dropped; it
//! takes them for lost.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use scenarios::Timing;

use crate::peer::path::Path;

/// The interval at which the stack may be called during checks: as small as the clock's.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_millis(1);
/// How often the stack may check a pair before it gives the pair up, counting the checks that are dropped here: after 4 s
/// if it is called for every new pair, after 20 s if nothing happens.
pub(super) const CHECKS_MAX: u16 = 100;
/// The number of pairs of one base that are checked, far more than the candidates of a client. RFC 8445 §6.1.2.5 asks for a
/// limit. Without one, two NATs that map by port and filter nothing would make new pairs without end. It is counted by base, so
/// that those of relays, of which a client has three at each server over UDP, TCP and TLS, do not use up that of its socket.
const PAIRS_MAX: usize = 20;
/// The interval between the first checks of two pairs: Ta. RFC 8445 §14.2.
const TA: Duration = Duration::from_millis(50);
/// The time after which a check without a response is sent again. RFC 8445 §14.3 sets this minimum.
const RTO: Duration = Duration::from_millis(500);
/// The same without pacing: the interval of the stack itself.
const RTO_FAST: Duration = Duration::from_millis(200);

/// How long checks from a relayed candidate wait. If one came before the candidate's signal, the other side would take the
/// relay for a peer-reflexive candidate, and prefer it to direct ones.
const RELAY_LAG: Duration = Duration::from_millis(500);

/// How often a check is sent: Rc of RFC 8489 §6.2.1.
const TRANSMISSIONS_MAX: u32 = 7;

/// The base and the remote of a check, and whether it nominates the pair.
type Check = (SocketAddr, SocketAddr, bool);

/// What has been sent of a check.
struct Sent {
    transmissions: u32,
    /// When it may be sent again; `None` means at once.
    due: Option<Instant>,
    is_answered: bool,
}

/// The checks of one connection, until ICE is connected.
pub(super) struct Pacing {
    ta: Duration,
    rto: Duration,
    sent: BTreeMap<Check, Sent>,
    /// When checks from each relayed candidate may begin.
    relays: BTreeMap<SocketAddr, Instant>,
    /// When the next pair may be checked for the first time.
    slot: Option<Instant>,
    /// Whether a pair waits for that time.
    is_waiting: bool,
    /// Whether something has happened since the stack was called last.
    has_happened: bool,
    called: Option<Instant>,
}

impl Pacing {
    /// The pacing of a timing; `None` if the stack decides by itself.
    pub(super) fn new(timing: Timing) -> Option<Self> {
        let (ta, rto) = match timing {
            Timing::Browser => (TA, RTO),
            Timing::Fast => (Duration::ZERO, RTO_FAST),
            Timing::Rtc => return None,
        };
        let (sent, is_waiting, has_happened) = (BTreeMap::new(), false, false);
        Some(Self { ta, rto, sent, relays: BTreeMap::new(), slot: None, is_waiting, has_happened, called: None })
    }

    /// Notes that a relayed candidate is signaled now.
    pub(super) fn relay(&mut self, base: SocketAddr, now: Instant) {
        self.relays.insert(base, now + RELAY_LAG);
    }

    /// Notes that something has happened after which the stack may have something to do at once.
    pub(super) fn happened(&mut self) {
        self.has_happened = true;
    }

    /// Notes that a datagram has arrived. A success response from where a check was sent may lead to a nomination, a
    /// request from an unknown remote to a new pair.
    //= https://www.rfc-editor.org/rfc/rfc8445#section-7.3.1.4
    //# If the state of that pair is In-Progress, the agent cancels the
    //# In-Progress transaction.
    pub(super) fn received(&mut self, path: Path, bytes: &[u8]) {
        // The stack of the other side may refuse a nomination until its own check is answered, of which this request may
        // be a part.
        if let ([0, 1, ..], Some(nomination)) = (bytes, self.sent.get_mut(&(path.base, path.remote, true))) {
            nomination.due = None;
            self.has_happened = true;
        }
        let sent = self.sent.get_mut(&(path.base, path.remote, false));
        match (bytes, sent) {
            // The other side's request shows that the way is open, so the own check, which may have been stopped by the
            // other side's NAT, is sent again at once.
            ([0, 1, ..], Some(sent)) if !sent.is_answered => {
                sent.due = None;
                self.has_happened = true;
            }
            ([0, 1, ..], Some(_)) => {}
            ([0, 1, ..], None) => self.is_waiting = true,
            ([1, 1, ..], Some(sent)) => {
                sent.is_answered = true;
                self.has_happened = true;
            }
            ([1, 1, ..], None) => {}
            _ => self.has_happened = true,
        }
    }

    /// Notes that the stack was called.
    pub(super) fn called(&mut self, now: Instant) {
        (self.called, self.has_happened, self.is_waiting) = (Some(now), false, false);
    }

    /// When to call the stack, which asks to be called at `asked`.
    pub(super) fn deadline(&self, asked: Instant) -> Instant {
        let Some(called) = self.called.filter(|_| !self.has_happened) else { return asked };
        // A check that was due at the last call and was not repeated then has been answered.
        let may_repeat = |sent: &&Sent| !sent.is_answered && sent.transmissions < TRANSMISSIONS_MAX;
        let again = self.sent.values().filter(may_repeat).filter_map(|sent| sent.due).filter(|due| *due > called);
        let slot = self.is_waiting.then(|| self.slot.unwrap_or(asked));
        // After a restart of ICE, other parts of the connection have deadlines too, which the one of ICE hides.
        let relays = self.relays.values().copied().filter(|begin| *begin > called);
        again.chain(slot).chain(relays).chain([called + RTO_FAST]).min().map_or(asked, |at| at.max(asked))
    }

    /// Whether to send a datagram of the stack: everything but checks that come too early.
    pub(super) fn admits(&mut self, path: Path, bytes: &[u8], now: Instant) -> bool {
        let Some(nominates) = check(bytes) else { return true };
        let check = (path.base, path.remote, nominates);
        match self.sent.get_mut(&check) {
            Some(sent) if sent.due.is_some_and(|due| due > now) || sent.transmissions == TRANSMISSIONS_MAX => {
                return false;
            }
            Some(sent) => {
                sent.transmissions += 1;
                sent.due = Some(now + self.rto);
            }
            None => {
                if !nominates {
                    if self.relays.get(&path.base).is_some_and(|begin| *begin > now) {
                        return false;
                    }
                    if self.sent.keys().filter(|(base, ..)| *base == check.0).count() >= PAIRS_MAX {
                        return false;
                    }
                    if self.slot.is_some_and(|slot| slot > now) {
                        self.is_waiting = true;
                        return false;
                    }
                    self.slot = Some(now + self.ta);
                }
                let due = Some(now + self.rto);
                self.sent.insert(check, Sent { transmissions: 1, due, is_answered: false });
            }
        }
        true
    }

    /// Forgets all checks: ICE is connected, or restarts.
    pub(super) fn clear(&mut self) {
        self.sent.clear();
        (self.slot, self.is_waiting, self.has_happened, self.called) = (None, false, false, None);
    }
}

/// Whether a STUN Binding request nominates; `None` for everything else. RFC 8489 §5 and §14.
fn check(bytes: &[u8]) -> Option<bool> {
    const BINDING_REQUEST: [u8; 2] = [0, 1];
    const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
    const USE_CANDIDATE: u16 = 0x25;
    let (header, mut attributes) = bytes.split_at_checked(20)?;
    if header[..2] != BINDING_REQUEST || header[4..8] != MAGIC_COOKIE {
        return None;
    }
    while let [kind_high, kind_low, length_high, length_low, rest @ ..] = attributes {
        if u16::from_be_bytes([*kind_high, *kind_low]) == USE_CANDIDATE {
            return Some(true);
        }
        let length = usize::from(u16::from_be_bytes([*length_high, *length_low])).next_multiple_of(4);
        attributes = rest.get(length..)?;
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(port: u16) -> Path {
        Path { remote: SocketAddr::from(([192, 0, 2, 1], port)), base: SocketAddr::from(([10, 0, 0, 2], 5000)) }
    }

    fn request(nominates: bool) -> Vec<u8> {
        let mut bytes = vec![0, 1, 0, 12, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        bytes.extend([0, 6, 0, 3, b'a', b':', b'b', 0]);
        if nominates {
            bytes.extend([0, 0x25, 0, 0]);
        }
        bytes
    }

    //= https://www.rfc-editor.org/rfc/rfc8445#section-14.2
    //# ICE agents SHOULD use a default Ta value, 50 ms, but MAY use another
    //# value based on the characteristics of the associated data.
    #[test]
    fn a_browser_checks_one_new_pair_every_50_ms_and_each_again_after_500() {
        let start = tokio::time::Instant::now().into_std();
        let at = |ms| start + Duration::from_millis(ms);
        let mut pacing = Pacing::new(Timing::Browser).expect("it paces");
        let mut sent = Vec::new();
        let mut now = start;
        while now <= at(10_000) {
            pacing.called(now);
            for port in [1, 2, 3] {
                if pacing.admits(path(port), &request(false), now) {
                    sent.push((port, (now - start).as_millis()));
                }
            }
            now = pacing.deadline(now + CHECK_INTERVAL);
        }
        assert_eq!(sent[..8], [(1, 0), (2, 50), (3, 100), (1, 500), (2, 550), (3, 600), (1, 1000), (2, 1050)]);
        assert_eq!((sent.len(), sent.last()), (3 * 7, Some(&(3, 3100))), "each seven times");
    }

    #[test]
    fn what_happened_is_handled_at_once_and_a_nomination_does_not_wait() {
        let start = tokio::time::Instant::now().into_std();
        let mut pacing = Pacing::new(Timing::Browser).expect("it paces");
        pacing.called(start);
        assert!(pacing.admits(path(1), &request(false), start));
        pacing.happened();
        let asked = start + CHECK_INTERVAL;
        assert_eq!(pacing.deadline(asked), asked);
        pacing.called(asked);
        assert!(!pacing.admits(path(1), &request(false), asked), "it was sent a moment ago");
        assert!(pacing.admits(path(1), &request(true), asked));
        assert!(!pacing.admits(path(1), &request(true), asked + CHECK_INTERVAL));
        assert!(pacing.admits(path(1), b"anything else", asked));
    }

    #[test]
    fn a_request_of_the_other_side_repeats_the_own_check_at_once_unless_it_was_answered() {
        let start = tokio::time::Instant::now().into_std();
        let mut pacing = Pacing::new(Timing::Browser).expect("it paces");
        pacing.called(start);
        assert!(pacing.admits(path(1), &request(false), start));
        let later = start + Duration::from_millis(20);
        pacing.received(path(1), &request(false));
        assert_eq!(pacing.deadline(later), later);
        assert!(pacing.admits(path(1), &request(false), later));
        assert!(!pacing.admits(path(1), &request(false), later), "once for each request");
        pacing.received(path(1), &[1, 1]);
        pacing.called(later);
        pacing.received(path(1), &request(false));
        assert!(!pacing.admits(path(1), &request(false), later), "it was answered");
    }

    #[test]
    fn checks_from_a_relayed_candidate_wait_until_the_candidate_is_known() {
        let start = tokio::time::Instant::now().into_std();
        let mut pacing = Pacing::new(Timing::Fast).expect("it drives the stack");
        pacing.relay(path(1).base, start);
        pacing.called(start);
        assert!(!pacing.admits(path(1), &request(false), start));
        let mut now = start;
        while !pacing.admits(path(1), &request(false), now) {
            pacing.called(now);
            now = pacing.deadline(now + CHECK_INTERVAL);
        }
        assert_eq!(now, start + RELAY_LAG);
        assert!(pacing.admits(path(1), b"data", start), "only checks wait");
    }

    #[test]
    fn without_pacing_all_pairs_are_checked_at_once() {
        let start = tokio::time::Instant::now().into_std();
        let mut pacing = Pacing::new(Timing::Fast).expect("it drives the stack");
        assert!((1..=20).all(|port| pacing.admits(path(port), &request(false), start)));
        assert!(!pacing.admits(path(21), &request(false), start), "up to a limit");
        assert!(Pacing::new(Timing::Rtc).is_none());
    }
}
