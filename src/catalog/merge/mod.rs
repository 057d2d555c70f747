//! One table's files over a chain: every SSTable once, each from one archive, none lost, none
//! mixed. Pure.
//!
//! Two copies are the same SSTable when name, size of Data.db and its CRC-32 are the same. Of these
//! the newest complete copy is shown, whole: Data.db is equal in all of them, but Statistics.db is
//! rewritten in place (repairedAt, level), and index components are added later, so the newest is
//! what the node had last. Different SSTables of one name are all shown, the later ones under a
//! generation that nobody uses. Sub-directories (secondary indexes) count their own generations, so
//! each is merged by itself.

mod plan;

use crate::cassandra::SstableName;
use serde::Serialize;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// A file of one archive's listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceFile {
    /// `/`-separated, relative to the table's directory.
    pub path: Arc<str>,
    /// Bytes.
    pub size: u64,
    /// Of its content; `None` where a layout does not tell without reading.
    pub crc32: Option<u32>,
    /// Its number in the listing.
    pub file: usize,
}

/// One archive of the chain, cut down to the files of one incarnation.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Source {
    pub files: Vec<SourceFile>,
    /// What the TOC.txt of number `file` lists, where it was read.
    pub tocs: HashMap<usize, Vec<String>>,
}

/// A file as it is shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MergedFile {
    pub path: Arc<str>,
    /// Index of the source.
    pub source: usize,
    /// Its number in that source's listing.
    pub file: usize,
}

/// An SSTable as it is shown.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct MergedSstable {
    /// `""`, or the index's sub-directory.
    pub directory: Arc<str>,
    /// The name that it is shown under.
    pub name: SstableName,
    /// The name that it has in its archives, where that is another.
    pub renumbered_from: Option<SstableName>,
    /// The source that all of its components come from.
    pub source: usize,
    /// All sources that hold it, also in part.
    pub copies: Vec<usize>,
    /// Components that it lacks wherever it is.
    pub missing: Vec<String>,
}

/// Something about a merge that a person should know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "notice", rename_all = "snake_case")]
pub enum Notice {
    /// Another SSTable of that name came first.
    Renumbered { directory: Arc<str>, name: SstableName, shown_as: SstableName, source: usize },
    /// Complete in no archive; shown as it is.
    Incomplete { directory: Arc<str>, name: SstableName, missing: Vec<String>, source: usize },
    /// Incomplete in some archives, and shown from one where it is complete.
    Completed { directory: Arc<str>, name: SstableName, incomplete_in: Vec<usize>, source: usize },
    /// A file that belongs to no SSTable differs between archives; the newest is shown.
    OtherFileDiffers { path: Arc<str>, source: usize },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = |directory: &str| if directory.is_empty() { "" } else { "/" };
        match self {
            Self::Renumbered { directory: dir, name, shown_as, .. } => {
                write!(f, "{dir}{}{name} is shown as {shown_as}: another SSTable of that name came first", slash(dir))
            }
            Self::Incomplete { directory: dir, name, missing, .. } => {
                write!(f, "{dir}{}{name} is complete nowhere: {} missing", slash(dir), missing.join(", "))
            }
            Self::Completed { directory: dir, name, incomplete_in, .. } => {
                write!(
                    f,
                    "{dir}{}{name} is incomplete in {} archive(s) and shown from a complete one",
                    slash(dir),
                    incomplete_in.len()
                )
            }
            Self::OtherFileDiffers { path, .. } => write!(f, "{path} differs between archives; the newest is shown"),
        }
    }
}

/// A table's directory as of a restore point.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Merged {
    /// Sorted by path, each path once.
    pub files: Vec<MergedFile>,
    /// Sorted by directory and name.
    pub sstables: Vec<MergedSstable>,
    pub notices: Vec<Notice>,
}

/// Merges the archives of a chain, oldest first. `floor` is a generation that the table is known to
/// have used elsewhere, or 0: free ones lie above it.
pub fn merge(sources: &[Source], floor: u64) -> Merged {
    plan::merge(sources, floor)
}

#[cfg(test)]
mod tests;
