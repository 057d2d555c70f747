//! How work is handed to other threads, and how a lock is taken: the one place for both.
//!
//! A leaf that every part may use.

use crate::error::{Error, Kind, Result};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use tokio::task::JoinError;

/// Runs work that blocks (file I/O, long computing) on a thread that may block, and waits for it.
///
/// # Errors
/// `Kind::Io` when the work panicked, `Kind::Interrupted` when the runtime is being shut down.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(broken_off(error)))
}

/// Says that a task ended without a result: it panicked, or the runtime is being shut down.
pub fn broken_off(error: JoinError) -> Error {
    let kind = if error.is_cancelled() { Kind::Interrupted } else { Kind::Io };
    Error::new(kind, "the work was broken off").with_source(error)
}

/// Takes a lock, also after a panic of a thread that held it.
///
/// What our locks guard is consistent between any two statements that can panic: values are
/// replaced whole, counters and maps change together. So the value is right, and one panic does not
/// have to become many.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does the work for each item, by at most so many threads, and waits for all. The results are in
/// the order of the items.
pub fn side_by_side<T: Sync, R: Send>(items: &[T], threads: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    thread::scope(|scope| {
        for _ in 0..threads.min(items.len()) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(number) else { return };
                    let result = work(item);
                    lock(&done).insert(number, result);
                }
            });
        }
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_panics_is_an_error_of_the_caller() {
        let error = blocking(|| -> Result<()> { panic!("a defect") }).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Io);
        assert!(error.to_string().contains("broken off"), "{error}");
    }

    #[test]
    fn results_are_in_the_order_of_the_items() {
        let items: Vec<usize> = (0..100).collect();
        assert_eq!(side_by_side(&items, 7, |item| item * 2), items.iter().map(|item| item * 2).collect::<Vec<_>>());
        assert!(side_by_side(&items[..0], 7, |item| *item).is_empty());
    }

    #[test]
    fn a_lock_is_taken_after_a_panic_of_its_holder() {
        let mutex = Mutex::new(1);
        std::thread::scope(|scope| {
            let holder = scope.spawn(|| {
                let _held = lock(&mutex);
                panic!("a defect");
            });
            holder.join().unwrap_err();
        });
        assert_eq!(*lock(&mutex), 1);
    }
}
