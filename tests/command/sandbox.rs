//! What a mount's worker can reach, also when somebody else has taken it over; and that it reaches
//! what it needs, also when that was replaced.

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use testkit::bucket::{Bucket, sample_keys};
use testkit::command::{Mounted, cassmount};
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

fn taken_over(bucket: &Bucket, work: &Path, more: &[&str]) -> (Mounted, Vec<(String, bool)>) {
    let arguments = [&sample_keys()[..], &["--taken-over", work.to_str().unwrap()], more].concat();
    let mounted = Mounted::start(&bucket.source(), &arguments);
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
    let bucket = Bucket::sample();
    // Without the sandbox it can do what the test looks for.
    let (mounted, all) = taken_over(&bucket, work.path(), &["--no-sandbox"]);
    let is_root = rustix::process::geteuid().is_root();
    let could = |what: &str| all.iter().any(|(tried, could)| tried == what && *could);
    for what in ["start a shell", "start a program of its own", "write elsewhere", "connect to a service"] {
        assert!(could(what), "{what}: {all:?}");
    }
    for what in ["read /etc/shadow", "read /etc/shadow through /proc", "read the supervisor's environment"] {
        assert!(!is_root || could(what), "{what}: {all:?}");
    }
    assert!(mounted.log().contains("can reach all that its user can: --no-sandbox"), "{}", mounted.log());
    assert!(mounted.unmount().status.success());
    fs::remove_file(work.path().join("written")).unwrap();

    let (mounted, all) = taken_over(&bucket, work.path(), &[]);
    if mounted.log().contains("the sandbox is weaker than it should be") {
        return skip::skip(TEST, "this kernel cannot put the whole sandbox up");
    }
    assert_eq!(all.len(), 10, "{all:?}");
    let could: Vec<&String> = all.iter().filter(|(_, could)| *could).map(|(what, _)| what).collect();
    assert!(could.is_empty(), "{could:?}");
    assert!(!work.path().join("written").exists());
    // Locked up, it serves all the same, and the kernel reads what is cached as before.
    let schema = mounted.path("cass-a/restore-points/latest/shop");
    let table = fs::read_dir(&schema).unwrap().next().unwrap().unwrap().path();
    for _ in 0..2 {
        for file in fs::read_dir(&table).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
            fs::read(&file).unwrap();
        }
    }
    let has_passthrough = mounted.status(PATIENCE)["passthrough"].as_bool().unwrap();
    assert_eq!(has_passthrough, is_root && kernel() >= (6, 9), "{}", mounted.log());
    assert!(mounted.unmount().status.success());
}

/// Version and patch level of the running kernel.
fn kernel() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse().ok());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// Has a program find a kernel without Landlock.
fn without_landlock(command: &mut Command) {
    // landlock_create_ruleset, landlock_add_rule, landlock_restrict_self: the same numbers
    // everywhere.
    let rules = (444..=446).map(|call| (call, Vec::new())).collect();
    let missing = SeccompAction::Errno(libc::EOPNOTSUPP.cast_unsigned());
    let architecture = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, missing, architecture).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    // SAFETY: between fork and exec it makes system calls only, and takes no memory.
    unsafe { command.pre_exec(move || seccompiler::apply_filter(&program).map_err(|_| ErrorKind::Other.into())) };
}

#[test]
fn a_kernel_without_landlock_is_told_and_the_rest_is_locked() {
    if !skip::fuse_or_skip("a_kernel_without_landlock_is_told_and_the_rest_is_locked") {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let _service = UnixListener::bind(work.path().join("socket")).unwrap();
    let bucket = Bucket::sample();
    let arguments = [&sample_keys()[..], &["--taken-over", work.path().to_str().unwrap()]].concat();
    let mounted = Mounted::start_prepared(&bucket.source(), &arguments, &[], without_landlock).unwrap();
    let all = tried(&mounted);
    let log = mounted.log();
    assert!(log.contains("the sandbox is weaker than it should be: every file can be reached"), "{log}");
    let could = |what: &str| all.iter().any(|(tried, could)| tried == what && *could);
    assert!(could("write elsewhere"), "it is Landlock that forbids it: {all:?}");
    for what in ["start a shell", "start a program of its own", "mount", "connect to a service"] {
        assert!(!could(what), "{what}: {all:?}");
    }
    assert!(fs::read_dir(&mounted.mountpoint).unwrap().count() > 0);
    assert!(mounted.unmount().status.success());
}

/// All of it in one mount namespace: some machines keep /dev/fuse to root, and there it is for
/// everybody.
#[test]
fn an_ordinary_users_worker_has_no_privilege_at_all() {
    const TEST: &str = "an_ordinary_users_worker_has_no_privilege_at_all";
    const SCRIPT: &str = r#"mknod fuse c 10 229 && chmod 666 fuse && mount --bind fuse /dev/fuse && exec setpriv \
        --reuid=65534 --regid=65534 --clear-groups sh -c '
        ./cassmount mount bucket mnt $0 || exit 1
        ls mnt
        for status in /proc/[0-9]*/status; do
          grep -qs "^Uid:.65534" $status && grep -qs "^Seccomp:.2" $status && cat $status
        done
        ./cassmount unmount mnt' "$0""#;
    if !skip::fuse_or_skip(TEST) {
        return;
    }
    if !rustix::process::geteuid().is_root() || !Path::new("/usr/bin/fusermount3").exists() {
        return skip::skip(TEST, "needs root, to become another user, and fusermount3");
    }
    let work = tempfile::tempdir().unwrap();
    let script = r#"cp -r "$1/bucket" . && cp "$1"/key-2026-*.txt . && cp "$2" cassmount && mkdir mnt home
        chmod 755 . && chown -R 65534:65534 mnt home bucket key-*.txt && chmod 600 key-*.txt"#;
    let mut prepare = Command::new("sh");
    prepare.args(["-euc", script, "sh"]).arg(testkit::project().join("sample")).arg(cassmount().get_program());
    assert!(prepare.current_dir(work.path()).status().unwrap().success());
    let options = "--key-file key-2026-a.txt --key-file key-2026-b.txt --cache-dir home/cache --log-directory home/log";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", SCRIPT, options]).current_dir(work.path());
    command.env("HOME", work.path().join("home")).env("XDG_RUNTIME_DIR", work.path().join("home"));
    command.env("CASSMOUNT_CONFIG", testkit::project().join("tests/data/empty-config.json"));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    for expected in ["cass-a\ncass-b\n", "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(said.contains(expected), "{expected}: {output:?}");
    }
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
