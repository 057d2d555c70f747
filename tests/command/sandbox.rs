//! What a mount's worker can reach, also when somebody else has taken it over; and that it reaches
//! what it needs, also when that was replaced.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};
use testkit::bucket::{Bucket, sample_keys};
use testkit::command::Mounted;
use testkit::skip;

const PATIENCE: Duration = Duration::from_mins(1);

/// What a worker tried, and whether it could.
fn tried(mounted: &Mounted) -> Vec<(String, bool)> {
    let deadline = Instant::now() + PATIENCE;
    while !mounted.log().contains("taken over: that was all") {
        assert!(Instant::now() < deadline, "{}", mounted.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    let log = mounted.log();
    let lines = log.lines().filter_map(|line| line.split_once("taken over: ")).map(|(_, said)| said);
    let could = |line: &str| {
        let not =
            line.strip_prefix("could not ").and_then(|rest| rest.split_once(':')).map(|(what, _)| (what.into(), false));
        not.or_else(|| line.strip_prefix("could ").map(|what| (what.to_owned(), true)))
    };
    lines.filter_map(could).collect()
}

fn taken_over(work: &Path, more: &[&str]) -> (Mounted, Vec<(String, bool)>) {
    let arguments = [&sample_keys()[..], &["--taken-over", work.to_str().unwrap()], more].concat();
    let mounted = Mounted::start(&Bucket::sample().source(), &arguments);
    let tried = tried(&mounted);
    (mounted, tried)
}

#[test]
fn a_worker_that_was_taken_over_reaches_nothing_and_starts_nothing() {
    const TEST: &str = "a_worker_that_was_taken_over_reaches_nothing_and_starts_nothing";
    if !skip::fuse_or_skip(TEST) {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let _service = UnixListener::bind(work.path().join("socket")).unwrap();
    // Without the sandbox it can do what the test looks for.
    let (mounted, all) = taken_over(work.path(), &["--no-sandbox"]);
    let is_root = rustix::process::geteuid().is_root();
    let could = |what: &str| all.iter().any(|(tried, could)| tried == what && *could);
    for what in ["start a shell", "start a program of its own", "write elsewhere", "connect to a service"] {
        assert!(could(what), "{what}: {all:?}");
    }
    assert!(!is_root || could("read /etc/shadow") && could("read /etc/shadow through /proc"), "{all:?}");
    assert!(mounted.log().contains("can reach all that its user can: --no-sandbox"), "{}", mounted.log());
    assert!(mounted.unmount().status.success());
    fs::remove_file(work.path().join("written")).unwrap();

    let (mounted, all) = taken_over(work.path(), &[]);
    if mounted.log().contains("the sandbox is weaker than it should be") {
        return skip::skip(TEST, "this kernel cannot put the whole sandbox up");
    }
    assert_eq!(all.len(), 9, "{all:?}");
    let could: Vec<&String> = all.iter().filter(|(_, could)| *could).map(|(what, _)| what).collect();
    assert!(could.is_empty(), "{could:?}");
    assert!(!work.path().join("written").exists());
    // Locked up, it serves all the same.
    assert!(fs::read_dir(&mounted.mountpoint).unwrap().count() > 0);
    assert!(mounted.unmount().status.success());
}

#[test]
fn another_worker_goes_on_when_what_this_one_may_use_was_replaced() {
    if !skip::fuse_or_skip("another_worker_goes_on_when_what_this_one_may_use_was_replaced") {
        return;
    }
    let bucket = Bucket::sample();
    let mounted = Mounted::start(&bucket.source(), &sample_keys());
    let worker = mounted.status(PATIENCE)["worker_pid"].clone();
    let hosts = || fs::read_dir(&mounted.mountpoint).unwrap().count();
    let before = hosts();
    // As a disk that was mounted anew: what lies there is the same, in other directories.
    let aside = bucket.path().with_extension("aside");
    fs::rename(bucket.path(), &aside).unwrap();
    let copied = std::process::Command::new("cp").arg("-a").arg(&aside).arg(bucket.path()).status().unwrap();
    assert!(copied.success());
    // What is in the cache is deleted meanwhile.
    fs::remove_dir_all(mounted.cache_dir().join("data")).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while mounted.status(PATIENCE)["worker_pid"] == worker {
        assert!(Instant::now() < deadline, "{}", mounted.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    let status = mounted.status(PATIENCE);
    assert_eq!((&status["restarts"], &status["upgrades"]), (&0.into(), &0.into()), "{status}");
    assert!(mounted.log().contains("is another one now: another process goes on"), "{}", mounted.log());
    assert_eq!(hosts(), before);
    let points = mounted.path("cass-a/restore-points/latest");
    assert!(!fs::read(points.join("schema.cql")).unwrap().is_empty());
    assert!(mounted.unmount().status.success());
}
