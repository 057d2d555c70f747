//! One large SSTable, read as hard as tools can: mapped, at random, by many at once; and an unmount
//! meanwhile.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::bucket::{Bucket, HOST, Tar, sstable};
use super::command::Mounted;
use super::skip::{fuse_or_skip, skip};
use super::support::process::{run, spawn};
use super::support::sample;

const TAG: &str = "2026-11-21-03-00";
const DEADLINE: Duration = Duration::from_mins(2);

/// Large enough for many spans of the seek index, small enough to be packed in a second.
const SIZE: &str = "--size=32M";

/// A mounted bucket with one table, `ks.large`, whose Data.db fio wrote: each 4 KiB carry their own
/// checksum.
struct Large {
    mounted: Mounted,
    _bucket: Bucket,
}

impl Large {
    fn mount(test: &str) -> Option<Self> {
        if !fuse_or_skip(test) {
            return None;
        }
        if Command::new("fio").arg("--version").output().is_err() {
            skip(test, "fio is missing (apt-get install fio)");
            return None;
        }
        let work = tempfile::tempdir().unwrap();
        let data = work.path().join("data");
        fio(&data, &["--rw=write", "--do_verify=0"]);
        let bucket = Bucket::new();
        bucket.add_set(TAG, "full");
        bucket.add_archive(TAG, "ks", "large", &sstable(Tar::new(), 1, &std::fs::read(data).unwrap()).end());
        let mounted = Mounted::start(&bucket.source(), &["--key-file", &bucket.key_file()]);
        Some(Self { mounted, _bucket: bucket })
    }

    fn data_file(&self) -> PathBuf {
        let point = self.mounted.path(HOST).join("restore-points").join(TAG);
        let found = sample::files(&point).into_iter().find(|(name, _)| name.ends_with("-Data.db"));
        found.expect("the table's Data.db").1
    }

    #[track_caller]
    fn unmount(self) {
        let output = self.mounted.unmount();
        assert!(output.status.success(), "{output:?}");
    }
}

#[track_caller]
fn fio(file: &Path, options: &[&str]) {
    let mut command = Command::new("fio");
    command.args(["--name=large", SIZE, "--bs=4k", "--verify=crc32c", "--verify_state_save=0", "--thread"]);
    command.arg(format!("--filename={}", file.display())).args(options).current_dir(std::env::temp_dir());
    run(&mut command, DEADLINE).expect_success();
}

#[test]
fn sixteen_readers_of_one_cold_archive_read_at_random_what_was_written() {
    let Some(large) = Large::mount("sixteen_readers_of_one_cold_archive_read_at_random_what_was_written") else {
        return;
    };
    fio(&large.data_file(), &["--readonly", "--rw=randread", "--ioengine=psync", "--numjobs=16", "--io_size=8M"]);
    large.unmount();
}

#[test]
fn a_mapped_archive_reads_at_random_what_was_written() {
    let Some(large) = Large::mount("a_mapped_archive_reads_at_random_what_was_written") else { return };
    fio(&large.data_file(), &["--readonly", "--rw=randread", "--ioengine=mmap", "--numjobs=4"]);
    large.unmount();
}

#[test]
fn unmount_under_a_running_tool_is_busy_and_says_who() {
    let Some(large) = Large::mount("unmount_under_a_running_tool_is_busy_and_says_who") else { return };
    let file = large.data_file();
    let mut reader = spawn(Command::new("tail").args(["-c", "+1", "-f"]).arg(&file));
    wait_until_open(reader.id(), &file);

    let started = Instant::now();
    let output = large.mounted.unmount();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("busy") || said.contains("in use"), "{said}");
    assert!(said.contains(&format!("tail (pid {})", reader.id())), "{said}");

    // Nothing has changed for who uses it.
    assert!(reader.is_running());
    fio(&file, &["--readonly", "--rw=read"]);
    drop(reader);
    large.unmount();
}

#[track_caller]
fn wait_until_open(pid: u32, file: &Path) {
    let until = Instant::now() + DEADLINE;
    let descriptors = PathBuf::from(format!("/proc/{pid}/fd"));
    let open = || {
        let entries = std::fs::read_dir(&descriptors).into_iter().flatten().flatten();
        entries.filter_map(|entry| std::fs::read_link(entry.path()).ok()).any(|target| target == file)
    };
    while !open() {
        assert!(Instant::now() < until, "the tool has not opened {}", file.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}
