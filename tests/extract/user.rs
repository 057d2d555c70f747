//! A user with a cache directory who extracts into a directory, and what must be there afterwards.

use super::command::cassmount;
use super::unpacked::{Unpacked, sample_keys};
use super::walk::assert_same;
use super::walk::{Seen, Tree, walk_path, walk_view};
use cassmount::tree::{BackupTree, TreeOptions};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// The directory that holds what is not final.
pub(crate) const HIDDEN: &str = ".cassmount-extract";

pub(crate) struct User {
    pub(crate) work: TempDir,
}

impl User {
    pub(crate) fn new() -> Self {
        Self { work: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn target(&self) -> PathBuf {
        self.work.path().join("target")
    }

    /// `cassmount extract SOURCE HOST POINT` into [`Self::target`].
    pub(crate) fn command(&self, source: &str, host: &str, point: &str, more: &[&str]) -> Command {
        let mut command = cassmount();
        command.args(["extract", source, host, point]).arg(self.target());
        command.arg("--cache-dir").arg(self.work.path().join("cache")).args(more);
        command
    }

    pub(crate) fn extract(&self, source: &str, host: &str, point: &str, more: &[&str]) -> Output {
        self.command(source, host, point, more).output().unwrap()
    }

    /// The same with `--json`: exit status and report.
    pub(crate) fn json(&self, source: &str, host: &str, point: &str, more: &[&str]) -> (i32, Value) {
        let output = self.extract(source, host, point, &[more, &["--json", "-q"]].concat());
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        (output.status.code().unwrap(), report)
    }

    /// Empties the target, as somebody who wants to begin again.
    pub(crate) fn remove_target(&self) {
        std::fs::remove_dir_all(self.target()).unwrap();
    }

    pub(crate) fn forget_cache(&self) {
        std::fs::remove_dir_all(self.work.path().join("cache")).unwrap();
    }

    /// What is in the target under final names.
    pub(crate) fn extracted(&self) -> Tree {
        let mut tree = walk_path(&self.target());
        tree.retain(|path, _| path != HIDDEN && !path.starts_with(&format!("{HIDDEN}/")));
        tree
    }

    /// The target is complete: the tree expected, and no leftover.
    #[track_caller]
    pub(crate) fn assert_complete(&self, expected: &Tree) {
        assert_same(&self.extracted(), expected);
        let left: Vec<_> =
            std::fs::read_dir(self.target().join(HIDDEN)).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["journal"]);
    }
}

#[track_caller]
pub(crate) fn assert_success(output: &Output) {
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a mount shows of a restore point, read by openssl and tar.
pub(crate) async fn shown(bucket: &Path, keys: Vec<PathBuf>, host: &str, point: &str) -> Tree {
    let tree = BackupTree::over(Unpacked::new(bucket, keys), TreeOptions::default()).unwrap();
    let path = format!("{host}/restore-points/{point}");
    // Where only archives tell ids, names are right from when these have been read.
    walk_view(&tree, &path).await;
    walk_view(&tree, &path).await
}

pub(crate) async fn shown_of_sample(host: &str, point: &str) -> Tree {
    shown(&Path::new(env!("CARGO_MANIFEST_DIR")).join("sample/bucket"), sample_keys(), host, point).await
}

/// Moves every table's files down into `snapshots/<point>`.
pub(crate) fn in_snapshots(tree: &Tree, point: &str) -> Tree {
    let mut moved = Tree::new();
    for (path, seen) in tree {
        let mut parts = path.splitn(3, '/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(keyspace), Some(table), rest) => {
                let table = format!("{keyspace}/{table}");
                moved.insert(table.clone(), Seen::Directory);
                moved.insert(format!("{table}/snapshots"), Seen::Directory);
                moved.insert(format!("{table}/snapshots/{point}"), Seen::Directory);
                if let Some(rest) = rest {
                    moved.insert(format!("{table}/snapshots/{point}/{rest}"), seen.clone());
                }
            }
            _ => drop(moved.insert(path.clone(), seen.clone())),
        }
    }
    moved
}

/// Pseudo-random bytes, which gzip cannot make smaller.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
