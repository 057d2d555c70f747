//! What readers see of a mount: names, attributes, bytes, errors.

use testkit::memory;
use testkit::skip::{SKIPPED, skip};
use testkit::{mount, needs_fuse};

use cassmount::Kind;
use cassmount::fs::MountOptions;
use memory::MemoryTree;
use mount::TestMount;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Bytes that differ everywhere.
fn content(len: usize) -> Vec<u8> {
    (0..=len as u64 / 8).flat_map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).take(len).collect()
}

fn small_tree() -> MemoryTree {
    MemoryTree::new()
        .file("ks/t-1/snapshots/a/nb-1-big-Data.db", content(3 << 20))
        .file("ks/t-1/snapshots/a/nb-1-big-TOC.txt", "Data.db\n")
        .file("ks/t-1/snapshots/a/empty", "")
        .symlink("ks/t-1/snapshots/latest", "a")
        .directory("ks/t-1/backups")
}

#[test]
fn names_attributes_and_bytes() {
    needs_fuse!("names_attributes_and_bytes");
    let options = MountOptions { uid: 4321, gid: 1234, ..MountOptions::default() };
    let mut mount = TestMount::with(small_tree(), options, |_| {});
    let data = mount.at("ks/t-1/snapshots/a/nb-1-big-Data.db");
    assert_eq!(fs::read(&data).unwrap(), content(3 << 20));
    assert_eq!(fs::read(mount.at("ks/t-1/snapshots/latest/nb-1-big-TOC.txt")).unwrap(), b"Data.db\n");
    assert_eq!(fs::read(mount.at("ks/t-1/snapshots/a/empty")).unwrap(), b"");
    let attr = fs::metadata(&data).unwrap();
    assert_eq!((attr.len(), attr.uid(), attr.gid(), attr.nlink()), (3 << 20, 4321, 1234, 1));
    assert_eq!(attr.permissions().mode(), 0o100_644);
    assert_eq!(attr.modified().unwrap(), memory::MTIME.system_time());
    assert_eq!(attr.blocks(), (3 << 20) / 512);
    let directory = fs::metadata(mount.at("ks")).unwrap();
    assert_eq!(directory.permissions().mode(), 0o040_755);
    assert_eq!(fs::read_link(mount.at("ks/t-1/snapshots/latest")).unwrap().to_str(), Some("a"));
    assert_eq!(fs::metadata(mount.at("ks/none")).unwrap_err().raw_os_error(), Some(libc::ENOENT));
    let long = "x".repeat(256);
    assert_eq!(fs::metadata(mount.at(&long)).unwrap_err().raw_os_error(), Some(libc::ENAMETOOLONG));
    let names: BTreeSet<_> =
        fs::read_dir(mount.at("ks/t-1/snapshots/a")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3);
    mount.unmount();
}

#[test]
fn every_read_at_every_offset_gets_its_bytes() {
    needs_fuse!("every_read_at_every_offset_gets_its_bytes");
    let expected = content(1_234_567);
    let mut mount = TestMount::new(MemoryTree::new().file("f", expected.clone()));
    let file = File::open(mount.at("f")).unwrap();
    for (offset, len) in [(0, 1), (4095, 2), (100_000, 70_000), (1_234_560, 100), (1_234_567, 10), (9_999_999, 10)] {
        let mut buffer = vec![0; len];
        let read = file.read_at(&mut buffer, offset as u64).unwrap();
        let start = offset.min(expected.len());
        assert_eq!(&buffer[..read], &expected[start..(start + len).min(expected.len())], "at {offset}");
    }
    drop(file);
    mount.unmount();
}

#[test]
fn sixteen_readers_get_the_same_bytes() {
    needs_fuse!("sixteen_readers_get_the_same_bytes");
    let expected = content(8 << 20);
    let mut mount = TestMount::new(MemoryTree::new().file("f", expected.clone()));
    std::thread::scope(|scope| {
        for reader in 0..16 {
            let (path, expected) = (mount.at("f"), &expected);
            scope.spawn(move || {
                let file = File::open(path).unwrap();
                for step in 0..64 {
                    let offset = (reader * 7919 + step * 131_071) % (8 << 20);
                    let mut buffer = vec![0; 65_536.min(expected.len() - offset)];
                    file.read_exact_at(&mut buffer, offset as u64).unwrap();
                    assert!(buffer == expected[offset..offset + buffer.len()]);
                }
            });
        }
    });
    mount.unmount();
}

#[test]
fn the_kernel_keeps_what_it_has_read() {
    needs_fuse!("the_kernel_keeps_what_it_has_read");
    let tree = MemoryTree::new().file("f", content(1 << 20));
    let faults = tree.faults();
    let mut mount = TestMount::new(tree);
    fs::read(mount.at("f")).unwrap();
    let once = faults.bytes_read.load(Ordering::Relaxed);
    fs::read(mount.at("f")).unwrap();
    assert_eq!(faults.bytes_read.load(Ordering::Relaxed), once);
    mount.unmount();
}

#[test]
fn each_kind_of_trouble_has_its_errno_and_heals() {
    needs_fuse!("each_kind_of_trouble_has_its_errno_and_heals");
    let tree = MemoryTree::new().file("d/f", "x");
    let faults = tree.faults();
    let mut mount = TestMount::new(tree);
    for (kind, errno) in [
        (Kind::NoKey, libc::ENOKEY),
        (Kind::Corrupt, libc::EIO),
        (Kind::Changed, libc::ESTALE),
        (Kind::Unreachable, libc::EIO),
        (Kind::TimedOut, libc::ETIMEDOUT),
        (Kind::Denied, libc::EACCES),
    ] {
        faults.fail("d/f", kind);
        assert_eq!(fs::read(mount.at("d/f")).unwrap_err().raw_os_error(), Some(errno), "{kind:?}");
        faults.fail("d", kind);
        let listed = fs::read_dir(mount.at("d")).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
        assert_eq!(listed.unwrap_err().raw_os_error(), Some(errno), "{kind:?}");
        faults.heal();
    }
    assert_eq!(fs::read(mount.at("d/f")).unwrap(), b"x");
    mount.unmount();
}

#[test]
fn a_file_whose_attributes_fail_is_still_listed() {
    needs_fuse!("a_file_whose_attributes_fail_is_still_listed");
    let tree = MemoryTree::new().file("d/bad", "x").file("d/good", "y");
    let faults = tree.faults();
    let mut mount = TestMount::new(tree);
    faults.fail("d/bad", Kind::NoKey);
    let names: BTreeSet<_> = fs::read_dir(mount.at("d")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, BTreeSet::from(["bad".into(), "good".into()]));
    assert_eq!(fs::metadata(mount.at("d/bad")).unwrap_err().raw_os_error(), Some(libc::ENOKEY));
    assert_eq!(fs::read(mount.at("d/good")).unwrap(), b"y");
    faults.heal();
    assert_eq!(fs::read(mount.at("d/bad")).unwrap(), b"x");
    mount.unmount();
}

#[test]
fn a_request_that_takes_too_long_fails_and_frees_its_process() {
    needs_fuse!("a_request_that_takes_too_long_fails_and_frees_its_process");
    let tree = MemoryTree::new().file("d/f", "x");
    let faults = tree.faults();
    let options = MountOptions { deadline: Duration::from_millis(300), ..MountOptions::default() };
    let mut mount = TestMount::with(tree, options, |_| {});
    faults.set_latency(Duration::from_mins(1));
    let started = Instant::now();
    assert_eq!(fs::metadata(mount.at("d")).unwrap_err().raw_os_error(), Some(libc::ETIMEDOUT));
    assert!(started.elapsed() < Duration::from_secs(30), "half of the time that the tree takes");
    faults.set_latency(Duration::ZERO);
    assert_eq!(fs::read(mount.at("d/f")).unwrap(), b"x");
    mount.unmount();
}

#[test]
fn large_directories_list_every_name_once() {
    needs_fuse!("large_directories_list_every_name_once");
    let tree = (0..5000).fold(MemoryTree::new(), |tree, i| tree.file(&format!("d/nb-{i}-big-Data.db"), "x"));
    let mut mount = TestMount::new(tree);
    let names: Vec<_> = fs::read_dir(mount.at("d")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 5000);
    assert_eq!(names.into_iter().collect::<BTreeSet<_>>().len(), 5000);
    mount.unmount();
}

#[test]
fn seekdir_comes_back_to_its_place_whatever_was_removed_meanwhile() {
    needs_fuse!("seekdir_comes_back_to_its_place_whatever_was_removed_meanwhile");
    let tree = (0..700).fold(MemoryTree::new(), |tree, i| tree.file(&format!("d/{i}"), "x"));
    let mut mount = TestMount::new(tree);
    let mut dir = rustix::fs::Dir::new(File::open(mount.at("d")).unwrap()).unwrap();
    let read = |dir: &mut rustix::fs::Dir| -> Vec<_> {
        dir.by_ref().map(|entry| entry.map(|e| (e.file_name().to_owned(), e.offset())).unwrap()).collect()
    };
    let all = read(&mut dir);
    assert_eq!(all.len(), 702);
    for place in [0, 1, 2, 100, 699, 701] {
        dir.seek(all[place].1).unwrap();
        assert_eq!(read(&mut dir), all[place + 1..], "after entry {place}");
    }
    // Offsets are functions of the names: they hold in another handle, and where names have gone.
    for (name, _) in all.iter().filter(|(name, _)| name.to_bytes()[0] == b'3') {
        fs::remove_file(mount.at("d").join(name.to_str().unwrap())).unwrap();
    }
    let mut other = rustix::fs::Dir::new(File::open(mount.at("d")).unwrap()).unwrap();
    other.by_ref().next();
    for place in [0, 100, 350, 699] {
        other.seek(all[place].1).unwrap();
        let left = all[place + 1..].iter().filter(|(name, _)| name.to_bytes()[0] != b'3');
        assert_eq!(read(&mut other), left.cloned().collect::<Vec<_>>());
    }
    drop((dir, other));
    mount.unmount();
}

/// The test program runs itself again as an ordinary user: only a process that is one can show that
/// it works for one.
#[test]
fn an_ordinary_user_mounts_through_fusermount3() {
    needs_fuse!("an_ordinary_user_mounts_through_fusermount3");
    if rustix::process::geteuid().is_root() {
        let program = tempfile::tempdir().unwrap();
        fs::set_permissions(program.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let copy = program.path().join("test");
        fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
        // Some machines keep /dev/fuse to root; in a mount namespace of its own the test has one
        // for everybody.
        let script = "mknod fuse c 10 229 && chmod 666 fuse && mount --bind fuse /dev/fuse && exec setpriv \
            --reuid=65534 --regid=65534 --clear-groups ./test --exact an_ordinary_user_mounts_through_fusermount3 --nocapture";
        let output = Command::new("unshare").args(["-m", "sh", "-c", script]).current_dir(program.path()).output();
        match output {
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{said}");
                // What the copy skipped was skipped here.
                for line in said.lines().filter_map(|line| line.strip_prefix(SKIPPED)) {
                    let (test, why) = line.split_once(": ").unwrap_or((line, ""));
                    skip(test, why);
                }
            }
            Err(error) => skip("an_ordinary_user_mounts_through_fusermount3", &format!("unshare: {error}")),
        }
        return;
    }
    if Command::new("fusermount3").arg("-V").output().is_err() {
        skip("an_ordinary_user_mounts_through_fusermount3", "no fusermount3 (apt-get install fuse3)");
        return;
    }
    let mut mount = TestMount::new(small_tree().backed_file("cached", content(100_000)));
    assert_eq!(fs::read(mount.at("cached")).unwrap(), content(100_000));
    let attr = fs::metadata(mount.at("ks")).unwrap();
    assert_eq!(attr.uid(), rustix::process::geteuid().as_raw());
    fs::write(mount.at("new"), "x").unwrap();
    let busy = File::open(mount.at("new")).unwrap();
    let error = mount.runtime.block_on(mount.mounted.as_ref().unwrap().unmount()).unwrap_err();
    assert_eq!(error.kind(), Kind::Busy, "{error}");
    drop(busy);
    mount.unmount();
    if !fs::read_to_string("/etc/fuse.conf")
        .is_ok_and(|conf| conf.lines().any(|line| line.trim() == "user_allow_other"))
    {
        let directory = tempfile::tempdir().unwrap();
        let options = MountOptions { allow_other: true, ..MountOptions::default() };
        let error = cassmount::fs::Device::mount(directory.path(), &options).unwrap_err();
        assert_eq!(error.kind(), Kind::Io);
        assert!(error.to_string().contains("/etc/fuse.conf"), "{error}");
    }
}

#[test]
fn a_strictly_read_only_mount_refuses_every_change() {
    needs_fuse!("a_strictly_read_only_mount_refuses_every_change");
    let options = MountOptions { read_only: true, ..MountOptions::default() };
    let mut mount = TestMount::with(small_tree(), options, |_| {});
    let file = mount.at("ks/t-1/snapshots/a/empty");
    let refused = |result: std::io::Result<()>| assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EROFS));
    refused(fs::write(&file, "x"));
    refused(fs::remove_file(&file));
    refused(fs::rename(&file, mount.at("elsewhere")));
    refused(fs::hard_link(&file, mount.at("link")));
    refused(std::os::unix::fs::symlink("a", mount.at("link")));
    refused(fs::create_dir(mount.at("dir")));
    refused(fs::remove_dir(mount.at("ks/t-1/backups")));
    refused(fs::set_permissions(&file, fs::Permissions::from_mode(0o600)));
    let path = rustix::fs::access(&file, rustix::fs::Access::WRITE_OK);
    assert_eq!(path.unwrap_err(), rustix::io::Errno::ROFS);
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let line = mounts.lines().find(|line| line.contains(mount.path.to_str().unwrap())).unwrap();
    assert!(line.starts_with("cassmount ") && line.contains(" fuse.cassmount ro,"), "{line}");
    mount.unmount();
}

#[test]
fn a_busy_mount_stays_and_goes_on() {
    needs_fuse!("a_busy_mount_stays_and_goes_on");
    let mut mount = TestMount::new(small_tree());
    let file = File::open(mount.at("ks/t-1/snapshots/a/nb-1-big-Data.db")).unwrap();
    let error = mount.runtime.block_on(mount.mounted.as_ref().unwrap().unmount()).unwrap_err();
    assert_eq!(error.kind(), Kind::Busy);
    let mut first = [0; 16];
    file.read_exact_at(&mut first, 1 << 20).unwrap();
    drop(file);
    mount.unmount();
    assert_eq!(fs::read_dir(&mount.path).unwrap().count(), 0);
}

#[test]
fn an_unmount_by_someone_else_ends_the_session() {
    needs_fuse!("an_unmount_by_someone_else_ends_the_session");
    let mount = TestMount::new(small_tree());
    cassmount::fs::unmount(&mount.path).unwrap();
    let mounted = mount.mounted.as_ref().unwrap();
    let wait = async { tokio::time::timeout(Duration::from_secs(5), mounted.wait()).await };
    mount.runtime.block_on(wait).expect("the session ends").unwrap();
}

/// Version and patch level of the running kernel.
fn kernel() -> (u32, u32) {
    let uname = rustix::system::uname();
    let mut numbers = uname.release().to_str().unwrap().split(['.', '-']).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap())
}

#[test]
fn cached_files_are_read_by_the_kernel_itself_where_it_can() {
    needs_fuse!("cached_files_are_read_by_the_kernel_itself_where_it_can");
    let tree = MemoryTree::new().backed_file("f", content(1 << 20));
    let faults = tree.faults();
    let mut mount = TestMount::new(tree);
    // Two readers at once share one backing.
    let (one, two) = (File::open(mount.at("f")).unwrap(), File::open(mount.at("f")).unwrap());
    let mut buffer = vec![0; 1 << 20];
    for file in [&one, &two] {
        file.read_exact_at(&mut buffer, 0).unwrap();
        assert!(buffer == content(1 << 20));
    }
    if rustix::process::geteuid().is_root() && kernel() >= (6, 9) {
        assert_eq!(faults.bytes_read.load(Ordering::Relaxed), 0, "the daemon served reads in the kernel's place");
    } else {
        skip("cached_files_are_read_by_the_kernel_itself_where_it_can", "passthrough needs root and Linux 6.9");
    }
    drop((one, two));
    mount.unmount();
}
