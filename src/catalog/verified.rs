//! What earlier verifications found of archives: a part above this one knows, and tells it as
//! evidence.

use super::completeness::SetEvidence;
use super::set::BackupSet;
use super::{Host, Tag};
use std::collections::HashMap;
use std::sync::Arc;

/// Knows what earlier verifications found.
pub trait Verified: Send + Sync {
    /// What is known to be wrong with archives of these sets, as they are now. Blocks.
    fn evidence(&self, host: &Host, sets: &[Arc<BackupSet>]) -> VerifiedEvidence;
}

/// By set.
pub type VerifiedEvidence = HashMap<Tag, Vec<SetEvidence>>;
