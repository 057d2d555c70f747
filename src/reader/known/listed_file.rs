//! A file as the listing of an archive or a bundle has it.

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
    /// Why it cannot be read although it is named: its SSTable's Digest.crc32 says that its Data.db was damaged before it was archived, or
    /// a file of its SSTable is a link or a piece without its data.
    pub damage: Option<Arc<str>>,
}
