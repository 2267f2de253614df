//! Work on several threads. The results come back to the thread that asked for it.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::mpsc::channel;

/// How many threads this machine runs at the same time.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Does the work of every item, `jobs` at a time, and hands over each result as it comes. Once `done` fails, no other item is begun.
///
/// # Errors
/// The first of `done`.
pub(crate) fn for_each<T: Send, R: Send, E>(
    items: impl IntoIterator<Item = T, IntoIter: Send>,
    jobs: usize,
    work: impl Fn(&T) -> R + Sync,
    mut done: impl FnMut(T, R) -> Result<(), E>,
) -> Result<(), E> {
    let waiting = Mutex::new(items.into_iter());
    let (results, ended) = channel();
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let results = results.clone();
            let next = || waiting.lock().expect("nothing panics while it holds them").next();
            let work = &work;
            scope.spawn(move || {
                while let Some(item) = next() {
                    let result = work(&item);
                    if results.send((item, result)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        // Moved in here, so that it is dropped with the first error: then the threads stop.
        let ended = ended;
        ended.iter().try_for_each(|(item, result)| done(item, result))
    })
}

/// The same, and the results come in the order of the items.
///
/// # Errors
/// The first of `done`.
pub(crate) fn for_each_in_order<T: Send, R: Send, E>(
    items: impl IntoIterator<Item = T, IntoIter: Send>,
    jobs: usize,
    work: impl Fn(&T) -> R + Sync,
    mut done: impl FnMut(T, R) -> Result<(), E>,
) -> Result<(), E> {
    let mut early = BTreeMap::new();
    let mut due = 0;
    for_each(
        items.into_iter().enumerate(),
        jobs,
        |(_, item)| work(item),
        |(number, item), result| {
            early.insert(number, (item, result));
            while let Some((item, result)) = early.remove(&due) {
                due += 1;
                done(item, result)?;
            }
            Ok(())
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_worked_on_once_and_the_order_is_kept_where_it_is_wanted() {
        let mut squares = BTreeMap::new();
        let kept = for_each(0..100u32, 4, |n| n * n, |n, square| squares.insert(n, square).map_or(Ok(()), Err));
        assert_eq!(kept, Ok(()));
        assert!(squares.len() == 100 && squares.iter().all(|(n, square)| n * n == *square));
        let mut order = Vec::new();
        let kept: Result<(), ()> = for_each_in_order(
            0..100u32,
            4,
            |n| *n,
            |_, n| {
                order.push(n);
                Ok(())
            },
        );
        assert_eq!(kept, Ok(()));
        assert!(order.is_sorted() && order.len() == 100);
    }

    #[test]
    fn after_an_error_nothing_more_is_handed_over() {
        let mut handed_over = 0;
        let stopped = for_each(
            0.., // without an end
            2,
            |n| *n,
            |_, _: u64| {
                handed_over += 1;
                if handed_over == 3 { Err("enough") } else { Ok(()) }
            },
        );
        assert_eq!((stopped, handed_over), (Err("enough"), 3));
    }
}
