//! What a node is given that the backup has not, as the journal keeps it.

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is put there that the backup has not, and what it was made of.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(in crate::restore) struct Made {
    /// Contents of files, by their names below the data directory.
    pub(super) files: BTreeMap<String, Vec<u8>>,
    /// The indexes of the restore point that are tables of their own.
    pub(super) indexes: Vec<KnownIndex>,
}

/// An index as the restore point has it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct KnownIndex {
    pub(super) keyspace: String,
    pub(super) table: String,
    pub(super) name: String,
    pub(super) written: Timestamp,
}
