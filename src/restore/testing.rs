//! A live directory and the state of a restore into it, for tests of what happens there. No
//! Cassandra takes part.

use super::journal::state::{Before, Linked, Origin, Plan, State};
use super::links::live;
use super::sstables::file_names;
use crate::cassandra::TableName;
use crate::time::Timestamp;
use std::fs;
use std::path::{Path, PathBuf};

pub(super) struct Table {
    pub(super) live: PathBuf,
    /// What stands for the mount.
    pub(super) mount: PathBuf,
    pub(super) work: tempfile::TempDir,
}

impl Table {
    pub(super) fn new() -> Self {
        let work = tempfile::tempdir().unwrap();
        let (live, mount) = (work.path().join("data/shop/users-1"), work.path().join("mnt"));
        fs::create_dir_all(&live).unwrap();
        fs::create_dir_all(&mount).unwrap();
        Self { live, mount, work }
    }

    /// An SSTable that Cassandra has written.
    pub(super) fn put(&self, name: &str, content: &str) {
        for component in ["Data.db", "Statistics.db"] {
            fs::write(self.live.join(format!("{name}-{component}")), content).unwrap();
        }
    }

    /// Of a restore of so many SSTables, of which no link was put in yet.
    pub(super) fn state(&self, sstables: usize) -> State {
        let sstable = |number: usize| {
            let name = format!("nb-{number}-big");
            for component in ["Data.db", "Statistics.db"] {
                fs::write(self.mount.join(format!("{name}-{component}")), format!("backup {number}")).unwrap();
            }
            let components = ["Data.db", "Statistics.db"].map(|component| (component.to_owned(), 8)).into();
            Linked { directory: self.mount.clone(), name, staged: format!("nb-{}-big", 1000 + number), components }
        };
        State::new(Plan {
            table: TableName::new("shop", "users"),
            live: self.live.clone(),
            directories: vec![self.live.clone()],
            mountpoint: self.mount.clone(),
            source: "/bucket".to_owned(),
            from: vec![Origin { host: "a".to_owned(), point: "p".to_owned() }],
            started: Timestamp(1),
            snapshot: "cassmount-before-1".to_owned(),
            truncate: false,
            indexes: Vec::new(),
            nodetool: String::new(),
            sstables: (1..=sstables).map(sstable).collect(),
            index_sstables: Vec::new(),
        })
    }

    /// Snapshots what is there, as Cassandra does, and notes it.
    pub(super) fn snapshot(&self, state: &mut State) {
        let snapshot = self.live.join("snapshots").join(&state.plan.snapshot);
        fs::create_dir_all(&snapshot).unwrap();
        for name in file_names(&self.live).unwrap() {
            fs::hard_link(self.live.join(&name), snapshot.join(&name)).unwrap();
        }
        let sstables = live::sstables(&snapshot).unwrap().into_iter().map(|name| (self.live.clone(), name)).collect();
        state.before = Some(Before { sstables, snapshot: true });
    }
}

/// Names of the files there, sorted.
pub(super) fn names(directory: &Path) -> Vec<String> {
    let mut names = file_names(directory).unwrap();
    names.sort();
    names
}

/// Puts something at `path` that nobody can look at, root neither: a link to itself.
pub(super) fn unreadable(path: &Path) {
    std::os::unix::fs::symlink(path, path).unwrap();
}
