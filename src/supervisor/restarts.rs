//! When to start another worker, and when to give up: a function of how workers died, and when.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// Workers that fail to start, one after the other, before that is the end.
const FAILED_STARTS: u32 = 12;
/// Crashes in a row that look as if a request were the cause.
const SUSPICIOUS: u32 = 2;
/// How long a request is tried alone at first, and at most.
const SHORTEST_TRIAL: Duration = Duration::from_millis(250);
const LONGEST_TRIAL: Duration = Duration::from_secs(4);
/// A worker that lived this long did well; those before it are forgiven.
pub(super) const LIVED_WELL: Duration = Duration::from_secs(10);
/// The longest wait before another start: what waits for the mount must not wait for long.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// The window in which deaths are counted.
const WINDOW: Duration = Duration::from_mins(1);

/// How a worker ended that should not have.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// By a signal.
    Signal(i32),
    /// With this exit status.
    Status(i32),
    /// It never lived.
    NotStarted,
}

impl Death {
    /// Whether somebody else ended it: a person, or the kernel for want of memory.
    pub fn is_from_outside(self) -> bool {
        self == Self::Signal(libc::SIGKILL)
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(libc::SIGKILL) => {
                f.write_str("was killed (signal 9: by somebody, or by the kernel for want of memory)")
            }
            Self::Signal(signal) => write!(f, "crashed (signal {signal})"),
            Self::Status(status) => write!(f, "ended with status {status}"),
            Self::NotStarted => f.write_str("could not be started"),
        }
    }
}

/// What to do after a death.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Start another one after this long.
    Restart(Duration),
    /// End the mount, and say why.
    GiveUp(String),
}

/// What there is to remember of earlier deaths.
#[derive(Debug)]
pub(super) struct Restarts {
    /// Deaths in a minute that are still put up with.
    limit: usize,
    /// Times of the latest, since the start of the mount.
    deaths: VecDeque<Duration>,
    /// In a row: workers that did not come as far as to serve.
    failed_starts: u32,
    /// In a row: workers that crashed, sooner or later, before they lived well.
    crashes: u32,
}

impl Restarts {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, deaths: VecDeque::with_capacity(limit + 2), failed_starts: 0, crashes: 0 }
    }

    /// A worker died at `now` (since the start of the mount). `served`: how long it had answered
    /// requests, if it came to that.
    pub(super) fn after(&mut self, death: Death, served: Option<Duration>, now: Duration) -> Then {
        self.deaths.push_back(now);
        while self.deaths.front().is_some_and(|&at| at + WINDOW < now) {
            self.deaths.pop_front();
        }
        if self.deaths.len() > self.limit {
            let (deaths, limit) = (self.deaths.len(), self.limit);
            return Then::GiveUp(format!("its worker died {deaths} times within a minute (--restart-limit {limit})"));
        }
        if death.is_from_outside() {
            // No fault of its own: the next one may do well at once.
            return Then::Restart(Duration::ZERO);
        }
        if served.is_some_and(|served| served >= LIVED_WELL) {
            self.crashes = 0;
        }
        self.crashes += 1;
        self.failed_starts = if served.is_some() { 0 } else { self.failed_starts + 1 };
        if self.failed_starts >= FAILED_STARTS {
            return Then::GiveUp(format!("its worker died and {} more did not come to serve it", self.failed_starts));
        }
        Then::Restart(wait(self.crashes))
    }

    /// For how long the next worker should try each request that was in flight alone; `None`: there
    /// is no reason to.
    pub(super) fn trial(&self) -> Option<Duration> {
        let more = self.crashes.checked_sub(SUSPICIOUS)?;
        Some(SHORTEST_TRIAL.saturating_mul(1 << more.min(10)).min(LONGEST_TRIAL))
    }
}

/// None after the first two crashes, then 50 ms, and twice as much each time.
fn wait(crashes: u32) -> Duration {
    match crashes {
        0..=2 => Duration::ZERO,
        more => Duration::from_millis(50).saturating_mul(1 << (more - 3).min(10)).min(LONGEST_WAIT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILLED: Death = Death::Signal(libc::SIGKILL);
    const CRASHED: Death = Death::Signal(libc::SIGSEGV);
    const FAILED: Death = Death::Status(1);

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// How a worker died, and how long it had served.
    type Died = (Death, Option<Duration>);

    fn waits(deaths: &[Died]) -> Vec<Option<Duration>> {
        let mut restarts = Restarts::new(100);
        let mut now = Duration::ZERO;
        let then = deaths.iter().map(|&(death, served)| {
            now += ms(100);
            match restarts.after(death, served, now) {
                Then::Restart(wait) => Some(wait),
                Then::GiveUp(_) => None,
            }
        });
        then.collect()
    }

    #[test]
    fn how_long_to_wait() {
        let crash = (CRASHED, Some(ms(5)));
        let table: &[(&[Died], &[u64])] = &[
            // Killed from outside, however soon: at once.
            (&[(KILLED, Some(ms(5))); 5], &[0, 0, 0, 0, 0]),
            (&[(KILLED, None); 5], &[0, 0, 0, 0, 0]),
            // Crashing again and again: later and later.
            (&[crash; 8], &[0, 0, 50, 100, 200, 400, 800, 1000]),
            // One that lived well in between.
            (&[crash, crash, crash, (CRASHED, Some(LIVED_WELL)), crash], &[0, 0, 50, 0, 0]),
            // A kill forgives nothing.
            (&[crash, crash, (KILLED, Some(ms(5))), crash], &[0, 0, 0, 50]),
            (&[(FAILED, None); 4], &[0, 0, 50, 100]),
        ];
        for (deaths, expected) in table {
            let expected: Vec<_> = expected.iter().map(|&wait| Some(ms(wait))).collect();
            assert_eq!(waits(deaths), expected, "{deaths:?}");
        }
    }

    #[test]
    fn crashes_in_a_row_make_requests_suspicious() {
        let mut restarts = Restarts::new(100);
        let mut after = |death, served| {
            restarts.after(death, Some(served), Duration::ZERO);
            restarts.trial()
        };
        assert_eq!(after(CRASHED, ms(5)), None);
        for trial in [250, 500, 1000, 2000, 4000, 4000] {
            assert_eq!(after(CRASHED, ms(5)), Some(ms(trial)));
            assert_eq!(after(KILLED, ms(5)), Some(ms(trial)), "a kill says nothing");
        }
        assert_eq!(after(CRASHED, LIVED_WELL), None);
    }

    #[test]
    fn starts_that_fail_in_a_row_are_the_end() {
        let failed = [(FAILED, None); FAILED_STARTS as usize];
        assert!(waits(&failed[1..]).iter().all(Option::is_some));
        assert_eq!(waits(&failed).last(), Some(&None));
        // One that served in between, or a kill of one that was about to.
        let mut mixed = failed;
        mixed[5] = (CRASHED, Some(ms(1)));
        assert!(waits(&mixed).iter().all(Option::is_some));
        mixed[5] = (KILLED, None);
        assert!(waits(&mixed).iter().all(Option::is_some));
    }

    #[test]
    fn more_deaths_in_a_minute_than_the_limit_are_the_end() {
        let mut restarts = Restarts::new(3);
        let mut after = |seconds| restarts.after(KILLED, Some(ms(1)), Duration::from_secs(seconds));
        for second in [0, 1, 2, 61, 62, 63] {
            assert_eq!(after(second), Then::Restart(Duration::ZERO), "at {second} s");
        }
        assert!(matches!(after(64), Then::GiveUp(reason) if reason.contains("4 times")));
    }

    /// What a program waits for at most while one worker after the other fails to start.
    #[test]
    fn the_end_comes_before_patience_ends() {
        let waited: Duration = (1..FAILED_STARTS).map(wait).sum();
        assert!(waited < Duration::from_secs(10), "{waited:?}");
    }
}
