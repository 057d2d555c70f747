//! `mount.cassmount`, as mount(8) runs it for a line of fstab, and readiness as systemd wants to
//! hear it.

use testkit::bucket;
use testkit::command;
use testkit::skip;

use bucket::sample_keys;
use command::cassmount;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/sample/bucket");

#[test]
fn an_fstab_line_mounts_in_the_background() {
    if !skip::fuse_or_skip("an_fstab_line_mounts_in_the_background") {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let (helper, mountpoint) = (work.path().join("mount.cassmount"), work.path().join("mnt"));
    std::os::unix::fs::symlink(cassmount().get_program(), &helper).unwrap();
    std::fs::create_dir(&mountpoint).unwrap();
    let [_, key, _, _] = sample_keys();
    let (cache, log) = (work.path().join("cache"), work.path().join("log"));
    let options = format!(
        "ro,_netdev,nofail,x-systemd.requires=network-online.target,key_file={key},cache-dir={},log-directory={}",
        cache.display(),
        log.display()
    );
    let mut command = Command::new(&helper);
    command.arg(SAMPLE).arg(&mountpoint).args(["-n", "-o", &options]);
    command.env("CASSMOUNT_CONFIG", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/empty-config.json"));
    let mounted = command.output().unwrap();
    assert!(mounted.status.success(), "{mounted:?}");
    let hosts = std::fs::read_dir(&mountpoint).unwrap().count();
    let refused = std::fs::create_dir(mountpoint.join("cass-a/new")).map_err(|error| error.kind());
    let unmounted = cassmount().arg("unmount").arg(&mountpoint).output().unwrap();
    assert!(unmounted.status.success(), "{unmounted:?}");
    assert_eq!((hosts, refused), (2, Err(std::io::ErrorKind::ReadOnlyFilesystem)));
}

#[test]
fn systemd_hears_when_the_mount_is_ready() {
    if !skip::fuse_or_skip("systemd_hears_when_the_mount_is_ready") {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let (socket, mountpoint) = (work.path().join("notify"), work.path().join("mnt"));
    std::fs::create_dir(&mountpoint).unwrap();
    let listening = UnixDatagram::bind(&socket).unwrap();
    listening.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let mut command = cassmount();
    command.args(["mount", "-f", SAMPLE]).arg(&mountpoint).args(sample_keys());
    command.arg("--cache-dir").arg(work.path().join("cache"));
    let mut daemon = command.env("NOTIFY_SOCKET", &socket).spawn().unwrap();
    let mut said = [0; 100];
    let len = listening.recv(&mut said);
    let hosts = std::fs::read_dir(&mountpoint).map(Iterator::count);
    let unmounted = cassmount().arg("unmount").arg(&mountpoint).status().unwrap();
    if !unmounted.success() {
        daemon.kill().unwrap();
    }
    assert!(daemon.wait().unwrap().success());
    assert_eq!((said[..len.unwrap()].trim_ascii_end(), hosts.unwrap()), (&b"READY=1"[..], 2));
}
