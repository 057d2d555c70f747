//! What a set has beside its tables.

use super::backup::BackupTree;
use crate::Result;
use crate::catalog::{Host, Tag};
use bytes::Bytes;

/// Longest such file, bytes.
const MAX: u64 = 16 << 20;

impl BackupTree {
    /// A file that a set has beside its tables, as it was uploaded; `None` where it has none of
    /// that name.
    ///
    /// # Errors
    /// What the store says.
    pub async fn set_file(&self, host: &Host, tag: &Tag, name: &str) -> Result<Option<Bytes>> {
        let (sets, _) = self.sets(host).await?;
        match sets.set(&tag.0).and_then(|set| set.file(name)) {
            Some(object) => self.source.fetch_object(object, MAX).await.map(Some),
            None => Ok(None),
        }
    }
}
