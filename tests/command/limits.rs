//! What a mount has little of: descriptors, and room for its cache.

use rustix::process::{Resource, Rlimit, setrlimit};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use testkit::bucket::{Bucket, HOST, Tar};
use testkit::command::{Mounted, cassmount};
use testkit::skip;

const TAG: &str = "2026-11-20-03-00";
/// Descriptors that the mount may have.
const DESCRIPTORS: u64 = 256;
/// Files that are held open, far more than that.
const FILES: usize = 1_200;

/// Begins with few descriptors, as a shell gives them, and may have some more.
fn limited(command: &mut Command) {
    let limit = Rlimit { current: Some(DESCRIPTORS / 4), maximum: Some(DESCRIPTORS) };
    // SAFETY: between fork and exec it makes a system call only.
    unsafe { command.pre_exec(move || Ok(setrlimit(Resource::Nofile, limit)?)) };
}

#[test]
fn more_files_are_open_than_the_mount_has_descriptors() {
    if !skip::fuse_or_skip("more_files_are_open_than_the_mount_has_descriptors") {
        return;
    }
    let bucket = Bucket::new();
    bucket.add_set(TAG, "full");
    let name = |number: usize| format!("file-{number}");
    let content = |number: usize| format!("content of {number}");
    let tar = (0..FILES).fold(Tar::new(), |tar, number| tar.file(name(number), content(number)));
    bucket.add_archive(TAG, "ks", "many", &tar.end());
    bucket.add_archive(TAG, "ks", "other", &Tar::new().file("x", "of the other").end());
    let arguments = ["--key-file", &bucket.key_file()];
    let mounted = Mounted::start_prepared(&bucket.source(), &arguments, &[], limited).unwrap();
    let keyspace = mounted.path(HOST).join("restore-points").join(TAG).join("ks");

    let open = |number: usize| File::open(keyspace.join("many").join(name(number))).unwrap();
    let held: Vec<File> = (0..FILES).map(open).collect();
    for (number, file) in held.iter().enumerate() {
        let mut found = vec![0; content(number).len()];
        file.read_exact_at(&mut found, 0).unwrap_or_else(|error| panic!("{number}: {error}"));
        assert_eq!(found, content(number).as_bytes());
    }
    // What was not looked at before is there as well.
    assert_eq!(fs::read(keyspace.join("other/x")).unwrap(), b"of the other");

    // Whoever writes is told, in the words of the system; and all else goes on.
    let make = |number: usize| File::create_new(keyspace.join("other").join(format!("own-{number}")));
    let mut own = Vec::new();
    let refused = loop {
        match make(own.len()) {
            Ok(file) => own.push(file),
            Err(error) => break error,
        }
        assert!(own.len() < DESCRIPTORS as usize, "there is no limit");
    };
    assert_eq!(refused.raw_os_error(), Some(libc::EMFILE), "{refused}");
    assert_eq!(fs::read(keyspace.join("many").join(name(7))).unwrap(), content(7).as_bytes());
    drop((own, held));
    // Closes are reported late.
    let made = (0..200).any(|attempt| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        make(1_000 + attempt).is_ok()
    });
    assert!(made, "what was closed is not given back");
    assert!(mounted.unmount().status.success());
}

/// A file system, unmounted when dropped.
struct Tmpfs<'a>(&'a Path);

impl Drop for Tmpfs<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[test]
fn a_disk_that_takes_no_cache_is_told_with_the_option_that_names_another() {
    let test = "a_disk_that_takes_no_cache_is_told_with_the_option_that_names_another";
    let work = tempfile::tempdir().unwrap();
    let bucket = Bucket::new();
    bucket.add_set(TAG, "full");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "ro", "none"]).arg(work.path()).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        return skip::skip(test, "cannot mount a tmpfs, which takes root");
    }
    let _disk = Tmpfs(work.path());
    let output = cassmount().args(["list", &bucket.source(), "--cache-dir"]).arg(work.path().join("cache")).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("--cache-dir"), "{output:?}");
    assert!(said.contains("Read-only file system"), "{said}");
}

#[test]
fn what_everybody_may_change_is_told() {
    let work = tempfile::tempdir().unwrap();
    let bucket = Bucket::new();
    bucket.add_set(TAG, "full");
    let config = work.path().join("config.json");
    fs::write(&config, "{}").unwrap();
    let set_mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    set_mode(&config, 0o666);
    set_mode(Path::new(&bucket.key_file()), 0o622);
    let mut command = cassmount();
    command.env("CASSMOUNT_CONFIG", &config).args(["verify", &bucket.source(), "--key-file", &bucket.key_file()]);
    let output = command.arg("--cache-dir").arg(work.path().join("cache")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("config.json") && said.contains("chmod o-w"), "{said}");
    assert!(said.contains("may be changed by others") && said.contains("chmod 600"), "{said}");
}
