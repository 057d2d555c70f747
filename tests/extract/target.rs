//! What is in the target already, and whose it is afterwards.

use super::bucket::{Bucket, HOST, Tar, sstable};
use super::skip::skip;
use super::user::{HIDDEN, User, assert_success, text};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

const TAG: &str = "2026-11-20-03-00";
const OTHER: &str = "2026-11-20-04-00";

fn bucket() -> Bucket {
    let bucket = Bucket::new();
    for tag in [TAG, OTHER] {
        bucket.add_set(tag, "full");
        for table in ["one", "two"] {
            bucket.add_archive(tag, "ks", table, &sstable(Tar::new(), 1, table.as_bytes()).end());
        }
    }
    bucket
}

struct Try {
    bucket: Bucket,
    user: User,
}

impl Try {
    fn new() -> Self {
        Self { bucket: bucket(), user: User::new() }
    }

    fn run(&self, point: &str, more: &[&str]) -> std::process::Output {
        let key = self.bucket.key_file();
        self.user.extract(&self.bucket.source(), HOST, point, &[&["--key-file", &key], more].concat())
    }

    /// Refused, with nothing changed.
    #[track_caller]
    fn refused(&self, point: &str, because: &str) {
        let before = super::walk::walk_path(&self.user.target());
        let output = self.run(point, &[]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(text(&output.stderr).contains(because), "{output:?}");
        assert_eq!(super::walk::walk_path(&self.user.target()), before);
    }
}

#[test]
fn a_directory_with_anything_else_in_it_is_refused() {
    let this = Try::new();
    fs::create_dir(this.user.target()).unwrap();
    fs::write(this.user.target().join("letter"), "dear").unwrap();
    this.refused(TAG, "is not empty: it holds letter");
    assert_eq!(this.run(TAG, &["--dry-run"]).status.code(), Some(1));
    fs::remove_file(this.user.target().join("letter")).unwrap();
    fs::create_dir(this.user.target().join("lost+found")).unwrap();
    assert_success(&this.run(TAG, &[]));
    this.refused(OTHER, "there is an extract of 2026-11-20-03-00 of node-1");
    let layout = this.run(TAG, &["--arrange", "snapshots"]);
    assert_eq!(layout.status.code(), Some(1), "{layout:?}");
}

#[test]
fn nothing_of_others_is_overwritten_or_followed() {
    let this = Try::new();
    let outside = tempfile::tempdir().unwrap();
    // Begun, and then somebody else puts things where the tables will be.
    assert_success(&this.run(TAG, &["--table", "ks.one"]));
    let target = this.user.target();
    fs::create_dir(target.join("ks/two")).unwrap();
    fs::write(target.join("ks/two/nb-1-big-Data.db"), "foreign").unwrap();
    let output = this.run(TAG, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("ks/two exists already, and no extract has made it"), "{output:?}");
    assert_eq!(fs::read_to_string(target.join("ks/two/nb-1-big-Data.db")).unwrap(), "foreign");
    assert_eq!(fs::read_dir(target.join("ks/two")).unwrap().count(), 1);

    // Changed after it was extracted.
    fs::write(target.join("ks/one/more"), "x").unwrap();
    let output = this.run(TAG, &["--table", "ks.one"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("ks/one is not as it was extracted any more"), "{output:?}");
    fs::remove_dir_all(target.join("ks/one")).unwrap();
    assert_success(&this.run(TAG, &["--table", "ks.one"]));

    // Links are not followed: neither a keyspace's, nor that of the hidden directory.
    fs::remove_dir_all(target.join("ks")).unwrap();
    symlink(outside.path(), target.join("ks")).unwrap();
    let output = this.run(TAG, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("it is no directory"), "{output:?}");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    fs::remove_file(target.join("ks")).unwrap();
    fs::rename(target.join(HIDDEN), outside.path().join("hidden")).unwrap();
    symlink(outside.path().join("hidden"), target.join(HIDDEN)).unwrap();
    assert_eq!(this.run(TAG, &[]).status.code(), Some(1));
    assert!(!target.join("ks").exists());
}

#[test]
fn the_target_itself_may_be_a_link_and_schema_cql_somebody_elses() {
    let this = Try::new();
    let real = tempfile::tempdir().unwrap();
    symlink(real.path(), this.user.target()).unwrap();
    assert_success(&this.run(TAG, &[]));
    assert_eq!(fs::read(real.path().join("ks/one/nb-1-big-Data.db")).unwrap(), b"one");
}

#[test]
fn owner_and_modes_are_those_asked_for() {
    let this = Try::new();
    let root = rustix::process::getuid().is_root();
    let owner: &[&str] = if root { &["--uid", "12345", "--gid", "daemon"] } else { &[] };
    if !root {
        skip("owner_and_modes_are_those_asked_for: --uid and --gid", "only root may give files away");
    }
    assert_success(&this.run(TAG, &[owner, &["--file-mode", "0640", "--dir-mode", "0710"]].concat()));
    let check = |path: &Path| {
        let meta = fs::symlink_metadata(path).unwrap();
        let mode = if meta.is_dir() { 0o710 } else { 0o640 };
        assert_eq!(meta.mode() & 0o7777, mode, "{}", path.display());
        if root {
            assert_eq!((meta.uid(), meta.gid()), (12345, 1), "{}", path.display());
        }
    };
    let target = this.user.target();
    for path in ["", "ks", "ks/one", "ks/one/nb-1-big-Data.db", "ks/two/nb-1-big-TOC.txt"] {
        check(&target.join(path));
    }
    let hidden = fs::metadata(target.join(HIDDEN)).unwrap();
    assert_eq!(hidden.mode() & 0o7777, 0o700, "what is not final is nobody else's business");
    let unknown = this.run(TAG, &["--uid", "nobody-of-that-name"]);
    assert_eq!(unknown.status.code(), Some(2), "{unknown:?}");
}

#[test]
fn two_at_once_do_not_meet() {
    let this = Try::new();
    assert_success(&this.run(TAG, &["--table", "ks.one"]));
    let journal = fs::File::open(this.user.target().join(HIDDEN).join("journal")).unwrap();
    rustix::fs::flock(&journal, rustix::fs::FlockOperation::LockExclusive).unwrap();
    this.refused(TAG, "another extract is at work there");
    drop(journal);
    assert_success(&this.run(TAG, &[]));
}
