//! How many bytes the scratch layer may hold: reserved before they are written, given back when
//! files shrink or go.

use crate::{Error, Kind, Result};
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts logical file sizes, not blocks: predictable, and a sparse file can never outgrow what it
/// was charged for.
#[derive(Debug)]
pub(super) struct Budget {
    used: AtomicU64,
    limit: u64,
}

impl Budget {
    pub(super) fn new(limit: u64) -> Self {
        Self { used: AtomicU64::new(0), limit }
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Takes `bytes` or fails with [`Kind::NoSpace`] and takes nothing.
    pub(super) fn reserve(&self, bytes: u64) -> Result<()> {
        let fits = |used: u64| used.checked_add(bytes).filter(|&sum| sum <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).map(drop).map_err(|used| {
            let limit = self.limit;
            Error::new(
                Kind::NoSpace,
                format!("the scratch layer is full: {used} of {limit} bytes are used, {bytes} more are wanted"),
            )
        })
    }

    pub(super) fn release(&self, bytes: u64) {
        let update = |used: u64| Some(used.saturating_sub(bytes));
        let _ = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
    }

    /// Takes `bytes` even past the limit: for files found on disk when a process resumes another's
    /// layer.
    pub(super) fn charge(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn clear(&self) {
        self.used.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_past_the_limit_takes_nothing() {
        let budget = Budget::new(10);
        budget.reserve(7).unwrap();
        assert_eq!(budget.reserve(4).unwrap_err().kind(), Kind::NoSpace);
        assert_eq!(budget.reserve(u64::MAX).unwrap_err().kind(), Kind::NoSpace);
        assert_eq!(budget.used(), 7);
        budget.release(7);
        budget.reserve(10).unwrap();
    }
}
