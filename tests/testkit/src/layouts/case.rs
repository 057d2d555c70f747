//! What a test has to know of a layout.

use crate::layouts::history::{History, undescribed};
use crate::walk::Tree;
use std::path::{Path, PathBuf};

/// A layout, and how its tool writes the history.
pub trait LayoutCase {
    /// As `--layout` has it.
    const NAME: &'static str;
    /// Whether it keeps what describes tables: Cassandra's own keyspaces, and manifest.json and
    /// schema.cql beside SSTables. One that does not, and has no ids in its names, cannot tell ids.
    const DESCRIBED: bool = true;
    /// Whether it keeps what was flushed between fulls.
    const INCREMENTALS: bool = true;
    /// Whether verify can tell that a file is gone which a backup had.
    const KNOWS_MISSING: bool = true;

    /// Writes all sets below `into`, with the tools that people use.
    fn write(history: &History, into: &Path);

    /// The restore point that holds what the sample's set of that tag holds, as a user would ask
    /// for it; `None` where the layout has none.
    fn point(history: &History, host: &str, tag: &str) -> Option<String>;

    /// The restore points of that time of all hosts, as `--at` takes it: the latest of their names,
    /// where these are times.
    fn time(history: &History, points: &[String]) -> String {
        let _ = history;
        points.iter().max().expect("a host").clone()
    }

    /// Arguments that the layout needs.
    fn arguments() -> Vec<String> {
        Vec::new()
    }

    /// What `verify --json` says when that file is gone.
    fn named_when_missing(file: &Path) -> String {
        file.file_name().unwrap().to_str().unwrap().trim_end_matches("-Data.db").to_owned()
    }

    /// What is left of a restore point's tree in which everything was kept.
    fn as_kept(tree: Tree) -> Tree {
        if Self::DESCRIBED { tree } else { undescribed(tree) }
    }

    /// A Data.db, or the archive that holds it, that the restore point `latest` of some host needs;
    /// returns that host.
    fn a_data_file(into: &Path) -> (String, PathBuf);
}
