//! Work on several threads, with the results on the calling thread.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::mpsc::channel;

/// Most threads at a time: more do not make any work faster.
const THREADS_MAX: usize = 256;

/// Number of threads that this machine runs in parallel.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Runs `work` on every item, `jobs` at a time, and passes each result to `done` as it arrives. Once `done` fails, no
/// further item is started.
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
        for number in 0..jobs.clamp(1, THREADS_MAX) {
            let results = results.clone();
            let next = || waiting.lock().expect("nothing panics while it holds them").next();
            let work = &work;
            let thread = std::thread::Builder::new().spawn_scoped(scope, move || {
                while let Some(item) = next() {
                    let result = work(&item);
                    if results.send((item, result)).is_err() {
                        return;
                    }
                }
            });
            // Without a place for another thread, those that there are do the work.
            assert!(thread.is_ok() || number > 0, "the system has no place for a thread");
        }
        drop(results);
        // Moved into the scope, so that the first error drops it and the threads stop.
        let ended = ended;
        ended.iter().try_for_each(|(item, result)| done(item, result))
    })
}

/// The same, but `done` gets the results in the order of the items.
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
    fn every_item_is_processed_once_and_in_order_if_requested() {
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
    fn any_number_of_jobs_is_fine() {
        let mut sum = 0;
        let kept: Result<(), ()> = for_each(
            0..1000u32,
            usize::MAX,
            |n| *n,
            |_, n| {
                sum += n;
                Ok(())
            },
        );
        assert_eq!((kept, sum), (Ok(()), 499_500));
    }

    #[test]
    fn after_an_error_no_further_result_is_passed_on() {
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
