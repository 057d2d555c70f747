//! How long an operation may take, and when a failed attempt is worth another.
//!
//! `object_store`'s own limit is one for the whole request, so that a large range over a slow line
//! never arrives. Here:
//! - an attempt fails when nothing arrives for a while, which is longer with each attempt: a request
//!   that was lost costs seconds, and a store that needs its time gets it;
//! - the operation fails when its time is over: the timeout, plus what its bytes take at
//!   [`SLOWEST`], plus what the throttle held it back;
//! - between attempts there is a growing, jittered pause.

use crate::{Error, Kind, Result};
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;
use tokio::time::Instant;

/// A line slower than this, bytes per second, is as good as down.
const SLOWEST: u64 = 256 << 10;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Three attempts that hang fit into a timeout; but nobody waits longer than this for a first byte.
const LONGEST_SILENCE: Duration = Duration::from_secs(20);
/// Of the first attempt of an operation on bytes, at least: no store that is well needs as long for
/// a range of an object.
const FIRST_SILENCE: Duration = Duration::from_secs(2);
/// Longer than any process lives.
const NEVER: Duration = Duration::from_hours(24 * 365);

/// The limits of a store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadlines {
    timeout: Duration,
    /// How long nothing may arrive, in the end.
    no_progress: Duration,
    retries: bool,
}

impl Deadlines {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, no_progress: (timeout / 3).min(LONGEST_SILENCE), retries: true }
    }

    /// Of a backend that has deadlines and attempts of its own: no other ones.
    pub(super) fn none() -> Self {
        Self { timeout: NEVER, no_progress: NEVER, retries: false }
    }

    /// Starts the clock of an operation that moves `bytes`; 0 is one that a store may have to think
    /// about, as it does about a page of a long listing.
    pub(super) fn start(&self, bytes: u64) -> Attempts {
        let whole = self.timeout + Duration::from_millis(bytes * 1000 / SLOWEST);
        let began = Instant::now();
        let first = if bytes == 0 { self.no_progress } else { (self.no_progress / 4).max(FIRST_SILENCE) };
        let silence = first.min(self.no_progress);
        let (longest_silence, retries) = (self.no_progress, self.retries);
        Attempts { began, ends: began + whole, silence, longest_silence, retries, pause: FIRST_PAUSE }
    }
}

/// The attempts at one operation.
#[derive(Debug)]
pub(super) struct Attempts {
    began: Instant,
    ends: Instant,
    /// How long nothing may arrive at this attempt, and at any.
    silence: Duration,
    longest_silence: Duration,
    retries: bool,
    pause: Duration,
}

impl Attempts {
    /// Runs one step of an attempt, which must show progress in time.
    pub(super) async fn within<T>(&self, step: impl Future<Output = Result<T>>) -> Result<T> {
        self.until(self.ends.min(Instant::now() + self.silence), step).await
    }

    /// Runs something that may take all the time there is.
    pub(super) async fn before_the_end<T>(&self, step: impl Future<Output = Result<T>>) -> Result<T> {
        self.until(self.ends, step).await
    }

    async fn until<T>(&self, end: Instant, step: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::time::timeout_at(end, step).await.unwrap_or_else(|_| {
            // Since the operation began, not the attempt: of that there may be no time left at all.
            let waited = self.began.elapsed().as_secs_f64();
            Err(Error::new(Kind::TimedOut, format!("the store did not answer in time: {waited:.1} s were waited")))
        })
    }

    /// Time in which we made the store wait is not the store's fault.
    pub(super) fn extend(&mut self, by: Duration) {
        self.ends += by;
    }

    /// How long to wait before the next attempt, or the error when there shall be none.
    pub(super) fn pause_after(&mut self, error: Error) -> Result<Duration> {
        if !self.retries || !matches!(error.kind(), Kind::Unreachable | Kind::TimedOut) {
            return Err(error);
        }
        // Jitter: the many readers of a store that comes back must not all come at once.
        let jitter = RandomState::new().hash_one(0_u8) % 1000;
        let pause = self.pause / 2 + self.pause * jitter as u32 / 2000;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.silence = (self.silence * 2).min(self.longest_silence);
        if Instant::now() + pause >= self.ends { Err(error) } else { Ok(pause) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_outage_is_worth_another_attempt() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut attempts = Deadlines::new(Duration::from_mins(1)).start(0);
            assert!(attempts.pause_after(Error::new(Kind::Denied, "no")).is_err());
            assert!(attempts.pause_after(Error::new(Kind::Corrupt, "short")).is_err());
            let mut before = Duration::ZERO;
            for _ in 0..6 {
                let pause = attempts.pause_after(Error::new(Kind::Unreachable, "down")).unwrap();
                assert!(pause <= LONGEST_PAUSE && pause >= before / 4, "{pause:?} after {before:?}");
                before = pause;
            }
        });
    }

    #[test]
    fn a_late_attempt_says_how_long_the_operation_waited() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let attempts = Deadlines::new(Duration::from_millis(50)).start(0);
            tokio::time::sleep(Duration::from_millis(150)).await;
            // It has no time of its own.
            let error = attempts.within(std::future::pending::<Result<()>>()).await.unwrap_err();
            assert_eq!(error.kind(), Kind::TimedOut);
            assert!(!error.to_string().contains("0.0 s"), "{error}");
        });
    }

    #[test]
    fn a_request_that_was_lost_costs_less_than_one_that_a_store_has_to_think_about() {
        let silences = |bytes| {
            let mut attempts = Deadlines::new(Duration::from_mins(1)).start(bytes);
            [(); 4].map(|()| {
                let silence = attempts.silence.as_secs();
                attempts.pause_after(Error::new(Kind::TimedOut, "silent")).unwrap();
                silence
            })
        };
        assert_eq!((silences(4096), silences(0)), ([5, 10, 20, 20], [20; 4]));
        // There is time for three attempts at least, and none is cut short by a busy machine.
        assert_eq!(Deadlines::new(Duration::from_secs(6)).start(1).silence, Duration::from_secs(2));
        assert_eq!(Deadlines::new(Duration::from_secs(3)).start(1).silence, Duration::from_secs(1));
    }

    #[test]
    fn no_attempt_begins_after_the_end() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut attempts = Deadlines::new(Duration::from_millis(20)).start(0);
            let error = attempts.pause_after(Error::new(Kind::Unreachable, "down")).unwrap_err();
            assert_eq!(error.kind(), Kind::Unreachable, "the cause, not the lack of time, is what helps a person");
        });
    }
}
