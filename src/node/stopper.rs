//! Breaking off what takes long, between its steps.

use crate::{Error, Kind, Result};
use std::sync::{Arc, Mutex, PoisonError};

/// Has a start end early. Between its steps nothing is begun any more once it was told.
#[derive(Clone, Debug, Default)]
pub struct Stopper(Arc<Mutex<bool>>);

impl Stopper {
    /// Waits for the step under way that must not be broken off, and lets no other begin.
    pub fn stop(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    pub(super) fn check(&self) -> Result<()> {
        self.unless_stopped(|| Ok(()))
    }

    /// A step that is done whole or not at all.
    pub fn unless_stopped<T>(&self, step: impl FnOnce() -> Result<T>) -> Result<T> {
        let is_stopped = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_stopped { Err(Error::new(Kind::Interrupted, "interrupted")) } else { step() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_begins_after_a_stop() {
        let stopper = Stopper::default();
        assert_eq!(stopper.unless_stopped(|| Ok(1)).unwrap(), 1);
        stopper.clone().stop();
        assert_eq!(stopper.check().unwrap_err().kind(), Kind::Interrupted);
    }
}
