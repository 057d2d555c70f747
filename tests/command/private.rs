//! What the program keeps for itself is nobody else's: directories of others, links, planted files,
//! command lines.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Output};
use testkit::command::{Mounted, cassmount};
use testkit::skip;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/sample/bucket");
/// A user that no machine has.
const USER: u32 = 54_321;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Whether there can be a second user.
fn two_users(test: &str) -> bool {
    let fine = rustix::process::geteuid().is_root() && Path::new("/usr/bin/setpriv").exists();
    if !fine {
        skip::skip(test, "needs root and setpriv");
    }
    fine
}

/// The program as that user, without a directory of the session.
fn as_user(home: &Path) -> Command {
    let program = cassmount();
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={USER}")).arg(format!("--regid={USER}")).arg("--clear-groups");
    command.arg(program.get_program()).env_remove("XDG_RUNTIME_DIR").env("HOME", home);
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// Removes a directory in /tmp when the test ends.
struct Planted(String);

impl Drop for Planted {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_runtime_directory_of_somebody_else_is_not_used() {
    if !two_users("a_runtime_directory_of_somebody_else_is_not_used") {
        return;
    }
    let planted = Planted(format!("/tmp/cassmount-{USER}"));
    let _ = fs::remove_dir_all(&planted.0);
    fs::create_dir(&planted.0).unwrap();
    fs::set_permissions(&planted.0, Permissions::from_mode(0o777)).unwrap();
    let home = tempfile::tempdir().unwrap();
    let output = as_user(home.path()).arg("status").output().unwrap();
    assert!(!output.status.success());
    let said = said(&output);
    assert!(said.contains("belongs to uid 0") && said.contains("XDG_RUNTIME_DIR"), "{said}");
    // Nor through a link, whoever owns what it leads to.
    fs::remove_dir(&planted.0).unwrap();
    let theirs = home.path().join("theirs");
    fs::create_dir(&theirs).unwrap();
    chown(&theirs, Some(USER), Some(USER)).unwrap();
    symlink(&theirs, &planted.0).unwrap();
    let output = as_user(home.path()).arg("status").output().unwrap();
    fs::remove_file(&planted.0).unwrap();
    assert!(!output.status.success(), "{output:?}");
    assert_eq!(fs::read_dir(&theirs).unwrap().count(), 0);
    // Made by the program, it is used.
    let output = as_user(home.path()).arg("status").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::metadata(&planted.0).unwrap().permissions().mode() & 0o7777, 0o700);
}

#[test]
fn a_cache_of_somebody_else_is_not_used_nor_given_away() {
    if !two_users("a_cache_of_somebody_else_is_not_used_nor_given_away") {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let theirs = work.path().join("theirs");
    fs::create_dir(&theirs).unwrap();
    chown(&theirs, Some(USER), Some(USER)).unwrap();
    let list = |cache: &Path| cassmount().args(["list", SAMPLE, "--cache-dir"]).arg(cache).output().unwrap();
    for cache in [theirs.clone(), theirs.join("below")] {
        let output = list(&cache);
        assert!(!output.status.success() && said(&output).contains(&format!("uid {USER}")), "{output:?}");
        assert!(said(&output).contains("--cache-dir"), "{output:?}");
    }
    assert_eq!(fs::read_dir(&theirs).unwrap().count(), 0);
    // A piece of the cache that somebody has put there before.
    let ours = work.path().join("ours");
    assert!(list(&ours).status.success());
    for piece in ["catalog", "data"] {
        let place = ours.join(piece);
        let _ = fs::remove_dir_all(&place);
        symlink(&theirs, &place).unwrap();
        let output = cassmount().args(["list", SAMPLE, "cass-a", "--cache-dir"]).arg(&ours).output().unwrap();
        // A catalog that cannot be kept is told, and everything works without.
        assert!(piece == "catalog" || !output.status.success(), "{output:?}");
        let said = said(&output);
        assert!(said.contains("is a symbolic link") || said.contains(&format!("uid {USER}")), "{piece}: {output:?}");
        fs::remove_file(&place).unwrap();
    }
    assert_eq!(fs::read_dir(&theirs).unwrap().count(), 0);
}

#[test]
fn a_mounts_own_directories_are_not_those_of_somebody_else() {
    const TEST: &str = "a_mounts_own_directories_are_not_those_of_somebody_else";
    if !two_users(TEST) || !skip::fuse_or_skip(TEST) {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    for directory in ["theirs", "mnt", "cache"] {
        fs::create_dir(at(directory)).unwrap();
    }
    chown(at("theirs"), Some(USER), Some(USER)).unwrap();
    let mount = |log: &Path| {
        let mut command = cassmount();
        command.args(["mount", SAMPLE]).arg(at("mnt")).arg("--cache-dir").arg(at("cache"));
        command.env("CASSMOUNT_STATE_DIR", at("state")).arg("--log-directory").arg(log);
        command.output().unwrap()
    };
    let refused = |output: &Output, what: &str| {
        assert!(!output.status.success(), "{what}: {output:?}");
        let said = said(output);
        assert!(said.contains("symbolic link") || said.contains(&format!("uid {USER}")), "{what}: {said}");
        assert_eq!(fs::read_dir(at("theirs")).unwrap().count(), 0, "{what}");
    };
    refused(&mount(&at("theirs")), "the log directory");
    refused(&mount(&at("theirs/below")), "a log directory below");
    // What programs write, and what the kernel holds: as a link, and as a directory of theirs.
    for piece in ["scratch", "known"] {
        symlink(at("theirs"), at("cache").join(piece)).unwrap();
        refused(&mount(&at("log")), piece);
        fs::remove_file(at("cache").join(piece)).unwrap();
        fs::create_dir(at("cache").join(piece)).unwrap();
        chown(at("cache").join(piece), Some(USER), Some(USER)).unwrap();
        refused(&mount(&at("log")), piece);
        fs::remove_dir_all(at("cache").join(piece)).unwrap();
    }
}

#[test]
fn a_journal_that_somebody_planted_is_not_obeyed() {
    if !two_users("a_journal_that_somebody_planted_is_not_obeyed") {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let journals = work.path().join("state/restore");
    fs::create_dir_all(&journals).unwrap();
    fs::set_permissions(work.path().join("state"), Permissions::from_mode(0o755)).unwrap();
    fs::write(journals.join("shop.users-01234567.journal"), "cassmount restore 1\n").unwrap();
    let status = || {
        let mut command = cassmount();
        command.env("CASSMOUNT_STATE_DIR", work.path().join("state")).args(["restore", "status", "--cache-dir"]);
        command.arg(work.path().join("cache")).output().unwrap()
    };
    chown(&journals, Some(USER), Some(USER)).unwrap();
    let output = status();
    assert!(!output.status.success() && said(&output).contains(&format!("uid {USER}")), "{output:?}");
    // The directory is ours, and the file is not.
    chown(&journals, Some(0), Some(0)).unwrap();
    chown(journals.join("shop.users-01234567.journal"), Some(USER), Some(USER)).unwrap();
    let output = status();
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), said(&output));
    assert!(told.contains(&format!("uid {USER}")), "{output:?}");
}

#[test]
fn a_directory_of_other_things_does_not_become_a_cache() {
    let work = tempfile::tempdir().unwrap();
    let cassandra = work.path().join("cassandra");
    for directory in ["data/shop", "commitlog"] {
        fs::create_dir_all(cassandra.join(directory)).unwrap();
    }
    fs::set_permissions(&cassandra, Permissions::from_mode(0o755)).unwrap();
    let output = cassmount().args(["list", SAMPLE, "--cache-dir"]).arg(&cassandra).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(said(&output).contains("is not empty and no cache of cassmount's"), "{output:?}");
    assert_eq!(fs::metadata(&cassandra).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(fs::read_dir(&cassandra).unwrap().count(), 2);
}

#[test]
fn a_key_command_stands_in_no_command_line() {
    if !skip::fuse_or_skip("a_key_command_stands_in_no_command_line") {
        return;
    }
    let command = "echo hunter2-in-a-command";
    let mount = Mounted::start(SAMPLE, &["--key-command", command, "--foreground-is-not-given"][..2]);
    let status = mount.status(std::time::Duration::from_secs(20));
    for pid in ["pid", "worker_pid"] {
        let line = fs::read(format!("/proc/{}/cmdline", status[pid])).unwrap();
        let line = String::from_utf8_lossy(&line).into_owned();
        assert!(line.contains(SAMPLE) && !line.contains("hunter2"), "{line}");
    }
}

#[test]
fn a_mount_point_above_what_the_mount_needs_is_refused() {
    let work = tempfile::tempdir().unwrap();
    let (place, key) = (work.path().join("place"), work.path().join("place/key"));
    fs::create_dir(&place).unwrap();
    fs::write(&key, "secret\n").unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let outside = work.path().join("outside");
    let (place, outside, key) = (place.to_str().unwrap(), outside.to_str().unwrap(), key.to_str().unwrap());
    let log = work.path().join("log");
    let log = log.to_str().unwrap();
    let below = format!("{place}/new/below");
    for (what, arguments) in [
        ("the cache directory", ["--cache-dir", place, "--log-directory", log]),
        ("the cache directory", ["--cache-dir", &below, "--log-directory", log]),
        ("the log directory", ["--cache-dir", outside, "--log-directory", &below]),
        ("the key file", ["--cache-dir", outside, "--key-file", key]),
    ] {
        let output = cassmount().args(["mount", SAMPLE, place]).args(arguments).output().unwrap();
        assert!(!output.status.success() && said(&output).contains(what), "{what}: {output:?}");
        assert!(said(&output).contains("choose another mount point"), "{output:?}");
    }
    let output = cassmount().args(["mount", place, place, "--cache-dir", outside]).output().unwrap();
    assert!(!output.status.success() && said(&output).contains("the source"), "{output:?}");
}

#[test]
fn nothing_is_extracted_among_the_backups() {
    let work = tempfile::tempdir().unwrap();
    let bucket = testkit::bucket::Bucket::sample();
    let target = bucket.path().join("out");
    let mut command = cassmount();
    command
        .args(["extract", &bucket.source(), "cass-a", "latest"])
        .arg(&target)
        .args(["--key-file", &bucket.key_file()]);
    let output = command.arg("--cache-dir").arg(work.path().join("cache")).output().unwrap();
    assert!(!output.status.success() && said(&output).contains("lies below the source"), "{output:?}");
    assert!(!target.exists());
}
