//! How long a store has been silent while something is asked of it.

use crate::task::lock;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What is being waited for, by all operations together.
#[derive(Debug)]
pub(super) struct Silence(Mutex<Waiting>);

#[derive(Debug)]
struct Waiting {
    operations: usize,
    /// When the store last answered, or was first asked since it was idle.
    since: Instant,
}

/// One operation under way; it ends when this is dropped.
pub(super) struct Operation<'a>(&'a Silence);

impl Silence {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Waiting { operations: 0, since: Instant::now() }))
    }

    /// An operation begins.
    pub(super) fn begin(&self) -> Operation<'_> {
        let mut waiting = lock(&self.0);
        if waiting.operations == 0 {
            waiting.since = Instant::now();
        }
        waiting.operations += 1;
        Operation(self)
    }

    /// Something has arrived.
    pub(super) fn end(&self) {
        lock(&self.0).since = Instant::now();
    }

    /// How long it lasts; `None` while nothing is asked.
    pub(super) fn lasts(&self) -> Option<Duration> {
        let waiting = lock(&self.0);
        (waiting.operations > 0).then(|| waiting.since.elapsed())
    }
}

impl Drop for Operation<'_> {
    fn drop(&mut self) {
        let mut waiting = lock(&self.0.0);
        waiting.operations -= 1;
        waiting.since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_store_that_is_asked_can_be_silent() {
        let silence = Silence::new();
        assert_eq!(silence.lasts(), None);
        let first = silence.begin();
        std::thread::sleep(Duration::from_millis(20));
        let second = silence.begin();
        assert!(silence.lasts().unwrap() >= Duration::from_millis(20), "a second question is no answer");
        let before = Instant::now();
        silence.end();
        assert!(silence.lasts().unwrap() <= before.elapsed());
        drop((first, second));
        assert_eq!(silence.lasts(), None);
    }
}
