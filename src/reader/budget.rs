//! Memory that is reserved before it is filled.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes in one permit of the semaphore underneath, which counts to 2^29 on some machines only.
const UNIT: u64 = 16 << 10;

/// A number of bytes that many may hold parts of.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    units: Arc<Semaphore>,
    total: u32,
}

/// A part of a [`Budget`], given back on drop.
#[derive(Debug)]
pub(super) struct Reserved {
    _permit: OwnedSemaphorePermit,
}

impl Budget {
    pub(super) fn new(bytes: u64) -> Self {
        let total = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX >> 4).clamp(1, u32::MAX >> 4);
        Self { units: Arc::new(Semaphore::new(total as usize)), total }
    }

    /// More than all of it counts as all of it: what cannot be smaller is done alone.
    fn units(&self, bytes: u64) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.total)
    }

    pub(super) async fn reserve(&self, bytes: u64) -> Reserved {
        let permit = Arc::clone(&self.units).acquire_many_owned(self.units(bytes)).await;
        Reserved { _permit: permit.expect("the semaphore is never closed") }
    }

    /// Only if nobody has to wait for it.
    pub(super) fn try_reserve(&self, bytes: u64) -> Option<Reserved> {
        Arc::clone(&self.units)
            .try_acquire_many_owned(self.units(bytes))
            .ok()
            .map(|permit| Reserved { _permit: permit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_larger_than_all_gets_all() {
        let budget = Budget::new(1 << 20);
        let all = budget.reserve(1 << 40).await;
        assert!(budget.try_reserve(1).is_none());
        drop(all);
        let _some = budget.try_reserve(1 << 19).unwrap();
        assert!(budget.try_reserve(1 << 19).is_some());
    }
}
