//! What `mount` tells the person who mounts: what is wrong once, and what will surprise.

use std::time::{Duration, Instant};

use testkit::bucket::{Bucket, sample_keys};
use testkit::command::{Mounted, cassmount};
use testkit::{fleet, skip};

/// What the mount says when all hosts can be listed in time, however busy the machine is.
fn said(source: &str, arguments: &[&str]) -> String {
    // A fleet grows no older.
    let environment = [("CASSMOUNT_PATIENCE", "600"), ("CASSMOUNT_NOW", fleet::NOW)];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Mounted::start_with(source, arguments, &environment).unwrap_or_else(|output| panic!("{output:?}")).said.clone()
}

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/sample/bucket");

#[test]
fn what_is_wrong_is_said_once() {
    if !skip::fuse_or_skip("what_is_wrong_is_said_once") {
        return;
    }
    for (source, arguments, what) in [
        ("/no/such/bucket", &[][..], "/no/such/bucket"),
        ("/no/such/bucket", &["--foreground"], "/no/such/bucket"),
        (SAMPLE, &["--uid", "nobody-is-called-so"], "nobody-is-called-so"),
    ] {
        let output = Mounted::try_start(source, arguments).map(|_| ()).unwrap_err();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.matches(what).count(), 1, "{said}");
    }
}

#[test]
fn what_will_surprise_is_said_when_it_mounts() {
    if !skip::fuse_or_skip("what_will_surprise_is_said_when_it_mounts") {
        return;
    }
    let said = |arguments: &[&str]| said(SAMPLE, arguments);
    assert!(said(&[]).contains("warning: no key was given"));
    let keys = sample_keys();
    assert_eq!(said(&keys), "");
    let newer = said(&keys[2..]);
    assert!(
        newer
            .contains("no key opens 8 of 12 sets that were tried: cass-a 2026-11-21-02-45 to 2026-11-21-02-49, cass-b"),
        "{newer}"
    );
    let place = tempfile::tempdir().unwrap();
    let wrong = place.path().join("wrong");
    std::fs::write(&wrong, "of something else\n").unwrap();
    let wrong = said(&["--key-file", wrong.to_str().unwrap()]);
    assert!(wrong.contains("no key opens 12 of 12 sets that were tried"), "{wrong}");
    let nobody = said(&[&["--source-host", "nobody"], &keys[..]].concat());
    assert!(nobody.contains("--source-host") && nobody.contains("it has: cass-a, cass-b"), "{nobody}");
    let early = said(&[&["--at", "2001-01-01"], &keys[..]].concat());
    assert!(early.contains("--at 2001-01-01 shows no restore point"), "{early}");
    // cass-b made no full at that minute.
    let mixed = said(&[&["--at", "2026-11-21-02-50"], &keys[..]].concat());
    assert!(mixed.contains("hosts of cluster prod are not of one run: 1 of 2 have 2026-11-21-02-50"), "{mixed}");
    assert_eq!(said(&[&["--at", "2026-11-22", "--source-host", "cass-a"], &keys[..]].concat()), "");
}

#[test]
fn hosts_whose_newest_backup_is_not_as_expected_are_named_when_it_mounts() {
    if !skip::fuse_or_skip("hosts_whose_newest_backup_is_not_as_expected_are_named_when_it_mounts") {
        return;
    }
    let fleet = Bucket::new();
    fleet::write(&fleet.path());
    let keys = sample_keys();
    let said = |arguments: &[&str]| said(&fleet.source(), &[arguments, &keys[..]].concat());
    let stopped = "warning: cass-03: it stopped: its last set 2026-11-25-20-03 is 3 days older";
    let latest = said(&[]);
    assert!(latest.contains(stopped) && latest.matches("cass-").count() == 1, "{latest}");
    assert!(!said(&["--source-host", "cass-02"]).contains("cass-"));
    // A restore point that lacks something is not what a mount takes for the latest.
    let past = said(&["--at", "2026-11-11-12"]);
    assert!(past.contains("cass-05: 2026-11-11-08-00 is incomplete: `latest` is 2026-11-10-20-00"), "{past}");
    assert!(past.contains("11 of 12 have") && past.contains("cass-05 has 2026-11-10-20-00 (12 hours older)"), "{past}");
}

#[test]
fn a_source_alone_and_a_directory_in_use_are_told() {
    let output = cassmount().args(["mount", "s3://bucket"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("cassmount mount s3://bucket /mnt/backups"), "{said}");

    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("file"), "hidden").unwrap();
    // It ends there, with FUSE or without.
    let output = cassmount().args(["mount", "/no/such/bucket"]).arg(place.path()).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("is not empty"), "{output:?}");
}

#[test]
fn debug_logs_every_operation_with_its_time() {
    if !skip::fuse_or_skip("debug_logs_every_operation_with_its_time") {
        return;
    }
    let mount = Mounted::start(SAMPLE, &[&["--debug"], &sample_keys()[..]].concat());
    assert_eq!(std::fs::read_dir(&mount.mountpoint).unwrap().count(), 2);
    assert!(std::fs::metadata(mount.path("no-such-host")).is_err());
    for operation in ["readdir", "lookup"] {
        let is_it = |line: &&str| {
            line.contains(&format!("operation=\"{operation}")) && line.contains("done") && line.contains("took=")
        };
        // The answer may be here before the line about it is in the file.
        let deadline = Instant::now() + Duration::from_secs(30);
        let line = loop {
            let log = mount.log();
            if let Some(line) = log.lines().find(is_it) {
                break line.to_owned();
            }
            assert!(Instant::now() < deadline, "no {operation} that is done: {log}");
            std::thread::sleep(Duration::from_millis(20));
        };
        assert!(["inode=", "pid=", "request="].iter().all(|field| line.contains(field)), "{line}");
    }
}
