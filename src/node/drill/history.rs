//! The last drill of each source, kept on disk for the next one to be compared with.

use super::compare::{LastRead, compare};
use super::report::DrillReport;
use crate::Result;
use crate::node::files::{Versioned, make_private, read_record, write_record};
use crate::restore::Selection;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Of the record's form.
const VERSION: u32 = 1;
/// Longest record that is read, bytes.
const LONGEST: u64 = 256 << 20;

/// Where drills of a user are kept.
#[derive(Clone, Debug)]
pub struct History {
    directory: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct DrillRecord {
    version: u32,
    /// Of the last drill. One of some hosts only is compared with such.
    hosts: Vec<String>,
    report: DrillReport,
    tables: BTreeMap<String, LastRead>,
}

impl Versioned for DrillRecord {
    const VERSION: u32 = VERSION;

    fn version(&self) -> u32 {
        self.version
    }
}

impl History {
    /// Below the directory where a user's state is kept.
    pub fn new(state_dir: &Path) -> Self {
        Self { directory: state_dir.join("drills") }
    }

    /// Compares a drill with the last one of the same source and hosts, and keeps it for the next.
    /// One of an older time is compared with nothing, and not kept.
    pub fn compare(&self, report: &mut DrillReport, hosts: &[String], selection: &Selection) -> Result<()> {
        let path = self.path(&report.source, hosts);
        let last = read(&path)?;
        let is_older = last.as_ref().is_some_and(|last| last.report.as_of > report.as_of);
        if let Some(last) = last.as_ref().filter(|_| !is_older) {
            report.compared_with = Some(last.report.started);
        }
        let before = last.map(|last| last.tables).unwrap_or_default();
        let tables = compare(report, &before, selection);
        if is_older {
            return Ok(());
        }
        make_private(&self.directory)?;
        let kept = DrillRecord { version: VERSION, hosts: hosts.to_vec(), report: report.clone(), tables };
        write_record(&path, &path.with_extension(format!("tmp{}", std::process::id())), &kept)
    }

    /// The last drill of all hosts of a source.
    pub fn last(&self, source: &str) -> Result<Option<DrillReport>> {
        Ok(read(&self.path(source, &[]))?.map(|kept| kept.report))
    }

    fn path(&self, source: &str, hosts: &[String]) -> PathBuf {
        let mut hosts = hosts.to_vec();
        hosts.sort();
        let name = blake3::hash(format!("{source}\n{}", hosts.join("\n")).as_bytes()).to_hex();
        self.directory.join(format!("{}.json", &name[..16]))
    }
}

fn read(path: &Path) -> Result<Option<DrillRecord>> {
    read_record(path, LONGEST, "remove it, and the next drill is compared with nothing")
}

#[cfg(test)]
mod tests {
    use super::super::compare::tests::report;
    use super::*;

    #[test]
    fn a_drill_is_compared_with_the_last_one_of_its_source() {
        let state = tempfile::tempdir().unwrap();
        let history = History::new(state.path());
        let run = |as_of, rows, hosts: &[String]| {
            let mut report = report(as_of, &[("s.a", rows)]);
            history.compare(&mut report, hosts, &Selection::Everything).unwrap();
            report
        };
        assert_eq!(run(10, 100, &[]).compared_with, None);
        // One host has fewer rows than all.
        assert!(run(11, 10, &["a".to_owned()]).is_good());
        let older = run(9, 10, &[]);
        assert!(older.is_good() && older.compared_with.is_none());
        let later = run(12, 10, &[]);
        assert!(!later.is_good() && later.tables[0].rows_before == Some(100), "{later:?}");
        assert_eq!(history.last("file:///b").unwrap(), Some(later));
        assert_eq!(history.last("file:///other").unwrap(), None);
        std::fs::write(history.path("file:///b", &[]), "{").unwrap();
        assert_eq!(history.last("file:///b").unwrap_err().kind(), crate::Kind::Corrupt);
    }
}
