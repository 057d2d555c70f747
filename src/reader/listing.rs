//! What an archive holds, as far as a tree of files wants to know.

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
    /// CRC-32 (IEEE) of its content.
    pub crc32: u32,
    /// Why it cannot be read although it is there: its SSTable's Digest.crc32 says that its Data.db was damaged before it was archived.
    pub damage: Option<Arc<str>>,
}

/// What an archive holds. A file's number is its place in `files`; it never changes for one version of the object.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Listing {
    /// In the order of the archive; each path once.
    pub files: Vec<ListedFile>,
    /// Paths of its directories, without the archive's root; not every file's parent has to be among them.
    pub directories: Vec<Arc<str>>,
    /// What was left out, and what was odd, for people.
    pub warnings: Vec<String>,
    /// Bytes of the plain tar stream.
    pub plain_size: u64,
}
