//! A mount is handed over to another version of the program while programs use it; or it is not,
//! and goes on as it was.

use super::command::cassmount;
use super::load::Load;
use super::scene::{Backup, Victim, another_build, other_version, upgrade, version_of};
use super::{assert_fine, assert_unmounts, can_mount, can_outlive};
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn programs_notice_nothing_of_another_version() {
    const TEST: &str = "programs_notice_nothing_of_another_version";
    let Some(_alone) = can_outlive(TEST) else { return };
    let backup = Backup::new();
    let victim = backup.mount(&[]);
    let work = tempfile::tempdir().unwrap();
    let this = PathBuf::from(cassmount().get_program());
    let version = version_of(&this);
    let other = other_version(&work.path().join("cassmount"));
    let other_version = version_of(&other);
    assert_ne!(version, other_version);

    let readers = Load::readers(&victim.mounted.mountpoint, &backup.expected);
    let writers = Load::writers(&victim.mounted.mountpoint, &backup.expected);
    let mut from = version.clone();
    for (round, program) in [&other, &this, &other].into_iter().enumerate() {
        Victim::settle(&readers);
        let output = upgrade(program, &victim.mounted);
        assert!(output.status.success(), "{output:?}");
        let done: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let to = version_of(program);
        assert_eq!((&done["from"], &done["to"]), (&from.into(), &to.clone().into()), "{done}");
        eprintln!("{TEST}: {done}");
        let status = victim.status();
        assert_eq!((&status["version"], &status["upgrades"]), (&to.clone().into(), &(round + 1).into()), "{status}");
        assert_eq!((&status["restarts"], &status["failed_upgrade"]), (&0.into(), &serde_json::Value::Null), "{status}");
        from = to;
    }
    // What was handed over to is what is started from now on, even if its file has gone.
    fs::remove_file(&other).unwrap();
    assert!(victim.kill());
    victim.wait_for_worker();
    let status = victim.status();
    assert_eq!((&status["version"], &status["restarts"]), (&other_version.into(), &1.into()), "{status}");
    Victim::settle(&readers);
    assert_fine(&readers.finish());
    assert_fine(&writers.finish());
    assert_unmounts(&victim);
}

/// Each of these is told, and the mount goes on as it was.
#[test]
fn what_does_not_fit_is_handed_nothing() {
    let Some(_alone) = can_outlive("what_does_not_fit_is_handed_nothing") else { return };
    let backup = Backup::new();
    let victim = backup.mount(&["--crash-on", "nothing"]);
    let work = tempfile::tempdir().unwrap();
    let load = Load::readers(&victim.mounted.mountpoint, &backup.expected);
    Victim::settle(&load);
    let before = victim.status();
    for (from, to, why) in [
        ("CMKNOWN1", "CMKNOWN2", "its record of what the kernel holds is of format CMKNOWN2"),
        ("crash-on", "crash-in", "does not understand how the mount was started"),
    ] {
        let output = upgrade(&another_build(&work.path().join(to), from, to), &victim.mounted);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(why) && said.contains("goes on as it was"), "{said}");
        assert_eq!(victim.status()["worker_pid"], before["worker_pid"], "nothing was touched");
    }
    // It fits, as far as can be known before, but its workers do not start.
    let broken = another_build(&work.path().join("broken"), "/dev/null", "/dev/nil.");
    let output = upgrade(&broken, &victim.mounted);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("the one before it goes on"), "{said}");
    let status = victim.status();
    assert!(status["failed_upgrade"].as_str().unwrap().contains("ended with status 1"), "{status}");
    assert_eq!((&status["version"], &status["upgrades"]), (&before["version"], &0.into()), "{status}");
    Victim::settle(&load);
    assert_fine(&load.finish());
    assert_unmounts(&victim);
}

#[test]
fn a_kernel_that_cannot_resend_keeps_its_worker() {
    let Some(_alone) = can_mount("a_kernel_that_cannot_resend_keeps_its_worker") else { return };
    let backup = Backup::new();
    let victim = backup.mount(&["--no-resend"]);
    let worker = victim.status()["worker_pid"].clone();
    let output = upgrade(Path::new(cassmount().get_program()), &victim.mounted);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("this kernel cannot send requests again"), "{said}");
    assert_eq!(victim.status()["worker_pid"], worker);
    assert_unmounts(&victim);
}
