//! A file as the listing of an archive or a bundle has it.

use crate::cassandra::SstableName;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One regular file of an archive.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ListedFile {
    /// Relative, `/`-separated, safe (`archive::names`).
    pub path: Arc<str>,
    /// Bytes.
    pub size: u64,
    pub mtime: Timestamp,
    /// CRC-32 (IEEE) of its content; `None` for a file of a bundle that nobody has read yet.
    pub crc32: Option<u32>,
    /// Why it cannot be read although it is named: its SSTable's Digest.crc32 says that its Data.db
    /// was damaged before it was archived, or a file of its SSTable is a link or a piece without
    /// its data.
    pub damage: Option<Arc<str>>,
}

/// Why a file is named that the archive does not hold at all.
const NOT_THERE: &str = "the snapshot's manifest.json lists it, and it is not in the archive";

impl ListedFile {
    /// A file that only the snapshot's manifest.json tells of.
    pub(super) fn absent(path: &str, mtime: Timestamp) -> Self {
        let damage = Some(format!("{path}: {NOT_THERE}").into());
        Self { path: path.into(), size: 0, mtime, crc32: None, damage }
    }

    /// The file of [`Self::absent`] that has this damage.
    pub(in crate::reader) fn absent_by(damage: &str, mtime: Timestamp) -> Option<Self> {
        let path = damage.strip_suffix(NOT_THERE)?.strip_suffix(": ")?;
        Some(Self::absent(path, mtime))
    }

    /// Whether it stands for what the archive does not hold, and is of no SSTable that can be told: a
    /// directory that is a symbolic link, a piece of a file.
    pub fn is_of_no_sstable(&self) -> bool {
        self.damage.is_some() && SstableName::parse_path(&self.path).is_none()
    }

    /// Whether the archive does not hold it at all: the snapshot's manifest.json lists it.
    pub fn is_absent(&self) -> bool {
        self.damage.as_ref().is_some_and(|damage| damage.ends_with(NOT_THERE) && damage.starts_with(&*self.path))
    }
}
