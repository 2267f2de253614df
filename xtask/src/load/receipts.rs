//! What one client heard of another: each signal once, in the order it was sent.

use std::collections::BTreeSet;

/// Signals that may be missing at a time and still be told apart when they come; more than that are lost for good.
const MISSING_MAX: usize = 65_536;

/// Keeps the numbers that a sender gave its signals, from 0.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    next: u64,
    missing: BTreeSet<u64>,
    /// Different signals that came.
    pub(super) came: u64,
}

/// What an arrival is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receipt {
    InOrder,
    /// A later one came before it.
    OutOfOrder,
    Twice,
}

impl Receipts {
    /// Enters an arrival.
    pub(super) fn enter(&mut self, number: u64) -> Receipt {
        if number < self.next {
            if !self.missing.remove(&number) {
                return Receipt::Twice;
            }
            self.came += 1;
            return Receipt::OutOfOrder;
        }
        let room = MISSING_MAX.saturating_sub(self.missing.len());
        self.missing.extend((self.next..number).take(room));
        self.next = number + 1;
        self.came += 1;
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
            assert_eq!(receipts.enter(number), receipt, "{number}");
        }
        assert_eq!(receipts.came, 5, "0, 1, 3, 4, 5: 2 is lost");
    }

    #[test]
    fn a_gap_costs_bounded_memory() {
        let mut receipts = Receipts::default();
        receipts.enter((1 << 48) - 1);
        assert_eq!((receipts.missing.len(), receipts.came), (MISSING_MAX, 1));
    }
}
