//! The classes of Cassandra's tools as Java maps them (class data sharing): nodetool then starts
//! with three quarters of the CPU time, sstableloader with half.

use std::fs;
use std::path::{Path, PathBuf};

use super::install::{SHORT_LIVED, jars};
use super::java::Java;

/// An archive of classes for each kind of tool: Java takes one at a time.
#[derive(Debug, Clone)]
pub(super) struct SharedClasses {
    pub(super) nodetool: PathBuf,
    pub(super) loader: PathBuf,
}

impl SharedClasses {
    /// Finds them beside `lib`, or makes them; `None` where Java makes none.
    pub(super) fn find(java: &Java, lib: &Path) -> Option<Self> {
        // Nobody listens at port 1: most of the classes are loaded by then.
        let tools = "org.apache.cassandra.tools";
        let nodetool = [&format!("{tools}.NodeTool"), "-h", "127.0.0.1", "-p", "1", "info"];
        let table = tempfile::tempdir().ok()?;
        let loader = [&format!("{tools}.BulkLoader"), "-d", "127.0.0.1", "-p", "1", table.path().to_str()?];
        Some(Self {
            nodetool: archive(java, lib, "nodetool.jsa", &nodetool)?,
            loader: archive(java, lib, "loader.jsa", &loader)?,
        })
    }
}

/// The archive `name` beside `lib`, of the classes that `words` need.
fn archive(java: &Java, lib: &Path, name: &str, words: &[&str]) -> Option<PathBuf> {
    let archive = lib.with_file_name(name);
    if !archive.exists() {
        let unfinished = archive.with_extension("new");
        let mut command = java.command();
        command.args(SHORT_LIVED).args(["-cp", &jars(lib)]);
        command.arg(format!("-XX:ArchiveClassesAtExit={}", unfinished.display())).args(words);
        command.output().and_then(|_| fs::rename(&unfinished, &archive)).ok()?;
    }
    Some(archive)
}
