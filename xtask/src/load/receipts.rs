//! Checks that a client receives each signal of another one once, in the order sent.

use std::collections::BTreeSet;

/// Maximum number of missing signals that are remembered; a late arrival beyond them counts as a duplicate.
const MISSING_MAX: usize = 65_536;

/// Tracks the sequence numbers of a sender's signals, which start at 0.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    next: u64,
    missing: BTreeSet<u64>,
    /// Distinct signals received.
    pub(super) received: u64,
}

/// How an arrival fits into the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receipt {
    InOrder,
    /// A later signal arrived before it.
    OutOfOrder,
    Twice,
}

impl Receipts {
    /// Records an arrival.
    pub(super) fn record(&mut self, number: u64) -> Receipt {
        if number < self.next {
            if !self.missing.remove(&number) {
                return Receipt::Twice;
            }
            self.received += 1;
            return Receipt::OutOfOrder;
        }
        let room = MISSING_MAX.saturating_sub(self.missing.len());
        self.missing.extend((self.next..number).take(room));
        self.next = number + 1;
        self.received += 1;
        Receipt::InOrder
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Receipt::{InOrder, OutOfOrder, Twice};

    #[test]
    fn each_arrival_is_told_apart() {
        let mut receipts = Receipts::default();
        let arrivals =
            [(0, InOrder), (1, InOrder), (1, Twice), (4, InOrder), (3, OutOfOrder), (3, Twice), (5, InOrder)];
        for (number, receipt) in arrivals {
            assert_eq!(receipts.record(number), receipt, "{number}");
        }
        assert_eq!(receipts.received, 5, "0, 1, 3, 4, 5: 2 is lost");
    }

    #[test]
    fn a_gap_costs_bounded_memory() {
        let mut receipts = Receipts::default();
        receipts.record((1 << 48) - 1);
        assert_eq!((receipts.missing.len(), receipts.received), (MISSING_MAX, 1));
    }
}
