//! Names from before better evidence came: programs that found them go on with them, whoever serves
//! the mount.

use super::bucket::{Bucket, HOST, Tar, sstable};
use super::scene::{Backup, TAG};
use super::{assert_unmounts, can_outlive};
use crate::load::Expected;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

/// An archive whose own schema.cql tells an id that nothing else does: until it is read, its
/// directory has the table's bare name.
fn backup() -> Backup {
    const SCHEMA: &str = "CREATE TABLE ks.late (id int PRIMARY KEY) WITH ID = 763dab90-e555-11f1-85a8-5b65bc0eb462;";
    let bucket = Bucket::new();
    bucket.add_set(TAG, "full");
    let tar = Tar::new().file("./schema.cql", SCHEMA);
    let tar = sstable(sstable(tar, 1, b"the first"), 2, b"the second").end();
    bucket.add_archive(TAG, "ks", "late", &tar);
    Backup { bucket, expected: Expected::default() }
}

fn names(directory: &Path) -> Vec<OsString> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

#[test]
fn a_name_that_proved_weak_outlives_its_worker() {
    let Some(_alone) = can_outlive("a_name_that_proved_weak_outlives_its_worker") else { return };
    let backup = backup();
    let victim = backup.mount(&[]);
    let keyspace = victim.mounted.path(Path::new(HOST).join("restore-points").join(TAG).join("ks"));
    assert_eq!(names(&keyspace), ["late"]);
    let weak = keyspace.join("late");
    assert_eq!(fs::read(weak.join("nb-1-big-Data.db")).unwrap(), b"the first");
    for _ in 0..3 {
        assert!(victim.kill());
        victim.wait_for_worker();
        assert_eq!(fs::read(weak.join("nb-2-big-Data.db")).unwrap(), b"the second");
        assert!(fs::metadata(weak.join("nb-1-big-TOC.txt")).is_ok());
        // Written beside what is read, as Cassandra's tools do, and taken away again.
        fs::write(weak.join("nb-1-big-Filter.db"), "new").unwrap();
        fs::remove_file(weak.join("nb-1-big-Filter.db")).unwrap();
    }
    assert_unmounts(&victim);
}
