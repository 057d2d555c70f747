//! A mount that cannot go on ends: with the reason, with errors for whoever uses it, in bounded
//! time, and with nothing left behind.

use super::command::cassmount;
use super::load::Load;
use super::scene::{Backup, NO_CACHE, PATIENCE, Victim};
use super::{can_mount, can_outlive};
use rustix::fs::{Advice, fadvise};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn is_mounted(place: &Path) -> bool {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.contains(place.to_str().unwrap())
}

#[track_caller]
fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What programs see of the end of a mount: errors, at once, and never a wrong byte.
fn assert_ended_with_errors(load: Load, held: &File) {
    wait_until("an answer for whoever waits", || load.waiting() < Duration::from_secs(1));
    let outcome = load.finish();
    let ends = [libc::ECONNABORTED, libc::ENOTCONN, libc::ENOENT].map(|errno| format!("(os error {errno})"));
    let odd: Vec<_> =
        outcome.troubles.iter().filter(|trouble| !ends.iter().any(|end| trouble.contains(end.as_str()))).collect();
    assert!(odd.is_empty() && !outcome.troubles.is_empty(), "{odd:?} of {outcome:?}");
    // What the kernel still has in memory it may show.
    fadvise(held, 0, None, Advice::DontNeed).unwrap();
    let error = held.read_exact_at(&mut [0; 512], 0).unwrap_err();
    assert!([libc::ECONNABORTED, libc::ENOTCONN].contains(&error.raw_os_error().unwrap()), "{error}");
}

fn held(backup: &Backup, victim: &Victim) -> File {
    let is_data = |path: &&PathBuf| path.to_str().is_some_and(|path| path.ends_with("-Data.db"));
    let data = backup.expected.files.keys().find(is_data).unwrap();
    File::open(victim.mounted.path(data)).unwrap()
}

/// Mounts again what was given up, at the same place, as if nothing had been there.
fn assert_mounts_again(backup: &Backup, place: &Path) {
    let work = tempfile::tempdir().unwrap();
    let mut mount = cassmount();
    mount.args(["mount", &backup.bucket.source()]).arg(place).args(["--key-file", &backup.bucket.key_file()]);
    mount.arg("--cache-dir").arg(work.path().join("cache")).arg("--log-directory").arg(work.path());
    let mounted = mount.output().unwrap();
    assert!(mounted.status.success(), "{mounted:?}");
    let (path, content) = backup.expected.files.iter().next().unwrap();
    let read = std::fs::read(place.join(path));
    let unmounted = cassmount().arg("unmount").arg(place).output().unwrap();
    assert!(read.unwrap() == **content && unmounted.status.success(), "{unmounted:?}");
}

#[test]
fn too_many_deaths_end_the_mount_and_nothing_else() {
    let Some(_alone) = can_outlive("too_many_deaths_end_the_mount_and_nothing_else") else { return };
    let backup = Backup::new();
    let victim = backup.mount(&[&NO_CACHE[..], &["--restart-limit", "3"]].concat());
    let held = held(&backup, &victim);
    let load = Load::plain_readers(&victim.mounted.mountpoint, &backup.expected);
    for _ in 0..3 {
        Victim::settle(&load);
        assert!(victim.kill());
        victim.wait_for_worker();
    }
    Victim::settle(&load);
    assert!(victim.kill());
    wait_until("the end of the mount", || !is_mounted(&victim.mounted.mountpoint));
    assert_ended_with_errors(load, &held);
    wait_until("the reason", || victim.mounted.log().contains("is given up: its worker died 4 times within a minute"));
    assert_mounts_again(&backup, &victim.mounted.mountpoint);
}

/// As systemd's `Restart=` sees it, in the foreground.
#[test]
fn giving_up_is_a_failure_with_a_reason() {
    let Some(_alone) = can_outlive("giving_up_is_a_failure_with_a_reason") else { return };
    let backup = Backup::new();
    let work = tempfile::tempdir().unwrap();
    let (place, said) = (work.path().join("mnt"), work.path().join("said"));
    std::fs::create_dir(&place).unwrap();
    let mut mount = cassmount();
    mount.args(["mount", "-f", &backup.bucket.source()]).arg(&place).args(["--key-file", &backup.bucket.key_file()]);
    mount.arg("--cache-dir").arg(work.path().join("cache")).args(["--restart-limit", "0"]);
    // A mount that answers has not begun for its supervisor yet: it is told a moment later.
    let notified = UnixDatagram::bind(work.path().join("notify")).unwrap();
    notified.set_read_timeout(Some(PATIENCE)).unwrap();
    mount.env("NOTIFY_SOCKET", work.path().join("notify"));
    let mut supervisor = mount.stderr(File::create(&said).unwrap()).spawn().unwrap();
    let mut message = [0; 64];
    let length = notified.recv(&mut message).unwrap();
    assert_eq!(&message[..length], b"READY=1\n");
    let worker = super::scene::child_of(supervisor.id() as i32).unwrap();
    kill_process(worker, Signal::KILL).unwrap();
    wait_until("the end of the supervisor", || supervisor.try_wait().unwrap().is_some());
    let (status, said) = (supervisor.wait().unwrap(), std::fs::read_to_string(said).unwrap());
    assert!(status.code() == Some(1) && !is_mounted(&place), "{status}: {said}");
    assert!(
        said.contains("is given up: its worker died 1 times within a minute")
            && said.contains("the last one was killed"),
        "{said}"
    );
    assert_mounts_again(&backup, &place);
}

/// Tells of it when it mounts, and ends at the first death instead of leaving readers waiting for
/// ever.
#[test]
fn a_kernel_that_cannot_resend_is_told_of_and_ends_the_mount_with_its_worker() {
    let Some(_alone) = can_mount("a_kernel_that_cannot_resend_is_told_of_and_ends_the_mount_with_its_worker") else {
        return;
    };
    let backup = Backup::new();
    let victim = backup.mount(&[&NO_CACHE[..], &["--no-resend"]].concat());
    assert!(victim.mounted.said.contains("cannot send requests again"), "{}", victim.mounted.said);
    assert!(victim.mounted.log().contains("cannot send requests again"));
    let held = held(&backup, &victim);
    let load = Load::plain_readers(&victim.mounted.mountpoint, &backup.expected);
    Victim::settle(&load);
    assert!(victim.kill());
    wait_until("the end of the mount", || !is_mounted(&victim.mounted.mountpoint));
    assert_ended_with_errors(load, &held);
    wait_until("the reason", || victim.mounted.log().contains("this kernel cannot send again what it had taken"));
    assert_mounts_again(&backup, &victim.mounted.mountpoint);
}

/// Nobody is left to take the mount away: the next one does.
#[test]
fn a_mount_whose_processes_were_all_killed_is_replaced() {
    let Some(_alone) = can_mount("a_mount_whose_processes_were_all_killed_is_replaced") else { return };
    let backup = Backup::new();
    let victim = backup.mount(&[]);
    let (place, worker) = (&victim.mounted.mountpoint, victim.worker().unwrap());
    kill_process(Pid::from_raw(victim.supervisor).unwrap(), Signal::KILL).unwrap();
    kill_process(worker, Signal::KILL).unwrap();
    wait_until("the end of both", || std::fs::metadata(place).is_err());
    assert_eq!(std::fs::metadata(place).unwrap_err().raw_os_error(), Some(libc::ENOTCONN));
    assert_mounts_again(&backup, place);
    assert!(!is_mounted(place));
}
