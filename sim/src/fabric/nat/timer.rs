//! How long a mapping or a filter entry lives: RFC 4787 §4.3 for UDP, RFC 5382 §5 and RFC 7857 §2 for TCP.

use std::time::Duration;

use super::Signal;

/// The lifetimes of one protocol: how long a mapping or a filter entry lives without traffic.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lifetimes {
    Udp {
        unanswered: Duration,
        answered: Duration,
        /// The age from which traffic both ways counts as answered.
        stream_after: Duration,
        inbound_refresh: bool,
    },
    Tcp {
        opening: Duration,
        established: Duration,
        closing: Duration,
        reset: Duration,
    },
}

/// The time at which a mapping or a filter entry ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timer {
    begun: Duration,
    last: Duration,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// UDP, with packets from the inside only.
    Unanswered,
    /// UDP, with packets both ways, but too young to count as a stream.
    Answered,
    /// UDP, with packets both ways.
    Stream,
    /// TCP, until both sides have taken part in the handshake and one has gone on.
    Opening { outward: bool, inward: bool },
    /// TCP, in the middle of a connection.
    Established,
    /// TCP, after a FIN.
    Closing,
    /// TCP, after an RST.
    Reset,
}

impl Timer {
    /// The timer of an entry that a packet creates. A TCP segment from the inside that opens no connection is of one
    /// that the NAT does not know, and picks up.
    pub(super) fn new(now: Duration, outward: bool, signal: Signal, lifetimes: &Lifetimes) -> Self {
        let phase = match lifetimes {
            Lifetimes::Udp { .. } => Phase::Unanswered,
            Lifetimes::Tcp { .. } if outward && signal == Signal::Data => Phase::Established,
            Lifetimes::Tcp { .. } => Phase::Opening { outward: false, inward: false },
        };
        let mut timer = Self { begun: now, last: now, phase };
        if matches!(lifetimes, Lifetimes::Tcp { .. }) {
            timer.passed(now, outward, signal, lifetimes);
        }
        timer
    }

    /// Notes that a packet has passed, to the outside if `outward`.
    pub(super) fn passed(&mut self, now: Duration, outward: bool, signal: Signal, lifetimes: &Lifetimes) {
        match *lifetimes {
            Lifetimes::Udp { stream_after, inbound_refresh, .. } => {
                let is_old = now.saturating_sub(self.begun) > stream_after;
                self.phase = match self.phase {
                    Phase::Unanswered if !outward && stream_after.is_zero() => Phase::Stream,
                    Phase::Unanswered if !outward => Phase::Answered,
                    Phase::Answered if is_old => Phase::Stream,
                    phase => phase,
                };
                //= https://www.rfc-editor.org/rfc/rfc4787#section-4.3
                //# REQ-6:  The NAT mapping Refresh Direction MUST have a "NAT Outbound
                //# refresh behavior" of "True".
                if outward || inbound_refresh {
                    self.last = now;
                }
            }
            Lifetimes::Tcp { .. } => {
                self.last = now;
                self.phase = self.phase.after(outward, signal);
            }
        }
    }

    /// The first instant at which the entry no longer exists. For UDP, it only ever moves later.
    pub(super) fn end(&self, lifetimes: &Lifetimes) -> Duration {
        let lifetime = match (lifetimes, self.phase) {
            (Lifetimes::Udp { answered, .. }, Phase::Stream) => answered,
            (Lifetimes::Udp { unanswered, .. }, _) => unanswered,
            (Lifetimes::Tcp { closing, .. }, Phase::Closing) => closing,
            (Lifetimes::Tcp { reset, .. }, Phase::Reset) => reset,
            (Lifetimes::Tcp { established, .. }, Phase::Established) => established,
            (Lifetimes::Tcp { opening, .. }, _) => opening,
        };
        self.last.saturating_add(*lifetime)
    }
}

impl Phase {
    /// The phase of a TCP connection after a segment.
    fn after(self, outward: bool, signal: Signal) -> Self {
        match (signal, self) {
            // A new connection between the same endpoints.
            (Signal::Open, Self::Closing | Self::Reset) if outward => Self::Opening { outward: true, inward: false },
            (Signal::Reset, _) => Self::Reset,
            (_, Self::Reset) => Self::Reset,
            (Signal::Close, _) => Self::Closing,
            (Signal::Data, Self::Opening { outward: true, inward: true }) => Self::Established,
            (_, Self::Opening { outward: out, inward }) => {
                Self::Opening { outward: out || outward, inward: inward || !outward }
            }
            (_, phase) => phase,
        }
    }
}
