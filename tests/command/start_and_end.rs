//! A mount that is on its way, or out of the way, obeys: signals, the death of who started it,
//! `unmount` with copies elsewhere.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use testkit::bucket::sample_keys;
use testkit::command::{Mounted, cassmount};
use testkit::skip;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/sample/bucket");
const PATIENCE: Duration = Duration::from_mins(1);

fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_true() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A mount whose start waits for its key command; the process that waits, and the command's.
fn starting(work: &Path, arguments: &[&str]) -> (Child, u32, u32) {
    let (mountpoint, noted) = (work.join("mnt"), work.join("pid"));
    fs::create_dir(&mountpoint).unwrap();
    let key_command = format!("echo $PPID $$ > {0}.new; mv {0}.new {0}; exec sleep 600", noted.display());
    let mut command = cassmount();
    command.args(["mount", SAMPLE]).arg(&mountpoint).args(arguments).args(["--key-command", &key_command]);
    command.arg("--cache-dir").arg(work.join("cache")).arg("--log-directory").arg(work.join("log"));
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("the key command is not run", || noted.exists());
    let noted = fs::read_to_string(noted).unwrap();
    let (worker, command) = noted.trim().split_once(' ').unwrap();
    (child, worker.parse().unwrap(), command.parse().unwrap())
}

fn is_gone(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with(['Z', 'X']))
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
}

#[test]
fn a_start_that_hangs_ends_with_a_signal_or_with_who_waits_for_it() {
    if !skip::fuse_or_skip("a_start_that_hangs_ends_with_a_signal_or_with_who_waits_for_it") {
        return;
    }
    for (arguments, sent) in [
        (&["--foreground"][..], rustix::process::Signal::INT),
        (&["--foreground"], rustix::process::Signal::KILL),
        (&[], rustix::process::Signal::INT),
        (&[], rustix::process::Signal::KILL),
    ] {
        let work = tempfile::tempdir().unwrap();
        let (mut child, worker, command) = starting(work.path(), arguments);
        signal(child.id(), sent);
        let status = child.wait().unwrap();
        let is_handled = arguments == ["--foreground"] && sent == rustix::process::Signal::INT;
        assert_eq!(status.code(), is_handled.then_some(130), "{arguments:?} {sent:?}: {status:?}");
        assert!(is_handled || status.signal().is_some());
        until("the worker outlives the start", || is_gone(worker));
        // It is nobody's child any more.
        signal(command, rustix::process::Signal::KILL);
    }
}

/// A process in a mount namespace of its own, which has a copy of all mounts.
struct Namespace(Child);

impl Namespace {
    fn new(ready: &Path) -> Self {
        let script = format!("touch {}; exec sleep 600", ready.display());
        let child = Command::new("unshare").args(["--mount", "sh", "-c", &script]).spawn().unwrap();
        until("there is no namespace", || ready.exists());
        Self(child)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_unmount_names_who_else_has_the_mount_and_can_be_repeated() {
    let test = "an_unmount_names_who_else_has_the_mount_and_can_be_repeated";
    if !skip::fuse_or_skip(test) {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        return skip::skip(test, "needs root, for a mount namespace");
    }
    let work = tempfile::tempdir().unwrap();
    let mount = Mounted::start(SAMPLE, &sample_keys());
    let status = mount.status(Duration::from_secs(20));
    let namespace = Namespace::new(&work.path().join("ready"));
    for _ in 0..2 {
        let output = mount.unmount();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(&format!("(pid {})", namespace.0.id())), "{output:?}");
        assert!(said.contains("mount namespace of sleep"), "{said}");
    }
    mount.force_unmount();
    let pid = u32::try_from(status["pid"].as_u64().unwrap()).unwrap();
    until("the daemon goes on", || is_gone(pid));
    let output = mount.unmount();
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing is mounted"), "{output:?}");
}
