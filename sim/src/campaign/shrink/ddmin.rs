//! Delta debugging: the smallest part of a list that still does it. Zeller and Hildebrandt, "Simplifying and Isolating
//! Failure-Inducing Input", 2002.

/// Removes as many items as possible, as long as `fails` is true for the others. The result is as small as removing any
/// single item can make it, unless `fails` was asked about something else in between. Asks about no list twice in a row,
/// and never about the whole list.
pub(super) fn ddmin<T: Clone>(items: Vec<T>, mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut left = items;
    if left.is_empty() || fails(&[]) {
        return Vec::new();
    }
    let mut parts = 2;
    while left.len() > 1 {
        parts = parts.min(left.len());
        let size = left.len().div_ceil(parts);
        let without = |start: usize, left: &[T]| {
            let end = (start + size).min(left.len());
            left[..start].iter().chain(&left[end..]).cloned().collect::<Vec<_>>()
        };
        let smaller = (0..left.len()).step_by(size).map(|start| without(start, &left)).find(|rest| fails(rest));
        match smaller {
            Some(rest) => {
                left = rest;
                parts = (parts - 1).max(2);
            }
            None if size == 1 => break,
            None => parts *= 2,
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_be_there_is_found_wherever_it_is() {
        for needed in [vec![], vec![0], vec![99], vec![3, 50], vec![0, 1, 2, 97, 98, 99], (0..100).step_by(9).collect()]
        {
            let mut asked = 0;
            let found = ddmin((0..100).collect(), |items| {
                asked += 1;
                needed.iter().all(|item| items.contains(item))
            });
            assert_eq!(found, needed);
            assert!(asked < 400, "{asked} for {needed:?}");
        }
    }

    /// Either of two items is enough, and a third must be there: one of the two is left.
    #[test]
    fn no_single_item_can_be_removed_from_the_result() {
        let fails = |items: &[u32]| (items.contains(&4) || items.contains(&60)) && items.contains(&30);
        let found = ddmin((0..64).collect(), fails);
        assert_eq!(found.len(), 2);
        assert!(fails(&found), "{found:?}");
    }
}
