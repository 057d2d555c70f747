//! What a worker would try that somebody else has taken over. Only in builds with the feature
//! `fault-injection`.

use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

/// Tries all of it, and logs what came of each. `place`: a directory for what it can make; `socket`
/// in it is somebody's.
pub(super) fn try_everything(place: &Path) {
    let supervisor = std::os::unix::process::parent_id();
    let tried: [(&str, io::Result<()>); 10] = [
        ("read /etc/shadow", fs::read("/etc/shadow").map(drop)),
        ("read /etc/shadow through /proc", fs::read("/proc/self/root/etc/shadow").map(drop)),
        ("start a shell", Command::new("/bin/sh").args(["-c", ":"]).status().map(drop)),
        ("start a program of its own", Command::new("/proc/self/exe").arg("--version").output().map(drop)),
        ("read the supervisor's environment", fs::read(format!("/proc/{supervisor}/environ")).map(drop)),
        ("look into the supervisor", fs::File::open(format!("/proc/{supervisor}/mem")).map(drop)),
        ("signal the supervisor", signal(supervisor)),
        ("write elsewhere", fs::write(place.join("written"), "x")),
        ("mount", mount(place)),
        ("connect to a service", UnixStream::connect(place.join("socket")).map(drop)),
    ];
    for (what, done) in tried {
        match done {
            Ok(()) => tracing::info!("taken over: could {what}"),
            Err(error) => tracing::info!("taken over: could not {what}: {error}"),
        }
    }
    tracing::info!("taken over: that was all");
}

fn signal(process: u32) -> io::Result<()> {
    let process = rustix::process::Pid::from_raw(process.cast_signed()).ok_or(io::ErrorKind::NotFound)?;
    Ok(rustix::process::test_kill_process(process)?)
}

fn mount(place: &Path) -> io::Result<()> {
    use rustix::mount::{MountFlags, UnmountFlags};
    rustix::mount::mount("none", place, "tmpfs", MountFlags::empty(), None)?;
    Ok(rustix::mount::unmount(place, UnmountFlags::DETACH)?)
}
