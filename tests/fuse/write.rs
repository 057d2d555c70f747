//! What programs that write find in the scratch layer, each compared with what a plain directory
//! gives.

use testkit::memory;
use testkit::skip::skip;
use testkit::{mount, needs_fuse};

use cassmount::Kind;
use cassmount::fs::MountOptions;
use cassmount::scratch::{Caller, New, Overlay};
use memory::MemoryTree;
use mount::TestMount;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;

const DATA: &str = "ks/t-1/nb-1-big-Data.db";
const STATISTICS: &str = "ks/t-1/nb-1-big-Statistics.db";

fn tree() -> MemoryTree {
    MemoryTree::new()
        .file(DATA, vec![7; 2_000_000])
        .file(STATISTICS, "statistics")
        .file("ks/t-1/nb-1-big-TOC.txt", "Data.db\nStatistics.db\n")
        .file("ks/t-1/.idx/nb-1-big-Data.db", "index")
        .symlink("ks/latest", "t-1")
        .directory("ks/empty")
}

fn errno<T>(result: std::io::Result<T>) -> i32 {
    result.err().and_then(|error| error.raw_os_error()).unwrap_or(0)
}

/// Runs a shell script in a directory; fails with what it said.
fn sh(directory: &Path, script: &str) -> String {
    let output = Command::new("sh").args(["-euc", script]).current_dir(directory).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {said}");
    assert!(said.is_empty(), "{script}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// The kernel takes the word of a listing for that a name is there, so one that was begun earlier
/// must not bring names back.
#[test]
fn a_listing_brings_no_name_back() {
    needs_fuse!("a_listing_brings_no_name_back");
    let mut mount = TestMount::new(tree());
    let names: Vec<String> = (0..600).map(|number| format!("{number:03}{}", "-".repeat(100))).collect();
    for name in &names {
        fs::write(mount.at("ks/empty").join(name), name).unwrap();
    }
    let mut listing = fs::read_dir(mount.at("ks/empty")).unwrap();
    listing.next().unwrap().unwrap();
    for name in &names {
        fs::rename(mount.at("ks/empty").join(name), mount.at("ks/empty").join(format!("moved-{name}"))).unwrap();
    }
    assert!(listing.all(|entry| entry.is_ok()));
    drop(listing);
    for name in &names {
        assert!(!mount.at("ks/empty").join(name).exists(), "{name} is back");
    }
    let moved =
        fs::read_dir(mount.at("ks/empty")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(moved.filter(|name| name.starts_with("moved-")).count(), names.len());
    mount.unmount();
}

#[test]
fn sstableloader_links_beside_the_sstable_and_unlinks() {
    needs_fuse!("sstableloader_links_beside_the_sstable_and_unlinks");
    let tree = tree();
    let faults = tree.faults();
    let mut mount = TestMount::new(tree);
    let link = mount.at("ks/t-1/nb-1-big-Statistics.db.00000000.tmp");
    fs::hard_link(mount.at(STATISTICS), &link).unwrap();
    let (original, linked) = (fs::metadata(mount.at(STATISTICS)).unwrap(), fs::metadata(&link).unwrap());
    assert_eq!((original.ino(), original.nlink()), (linked.ino(), 2));
    assert_eq!(faults.opens.load(Ordering::Relaxed), 0, "a link copies nothing");
    assert_eq!(fs::read(&link).unwrap(), b"statistics");
    fs::remove_file(&link).unwrap();
    assert_eq!(fs::metadata(mount.at(STATISTICS)).unwrap().nlink(), 1);
    assert_eq!(mount.overlay.usage().bytes, 0);
    mount.unmount();
}

#[test]
fn nodetool_import_rewrites_statistics_and_moves_files_away() {
    needs_fuse!("nodetool_import_rewrites_statistics_and_moves_files_away");
    let mut mount = TestMount::new(tree());
    let statistics = mount.at(STATISTICS);
    let temporary = mount.at("ks/t-1/nb-1-big-Statistics.db.tmp");
    fs::write(&temporary, "level 0").unwrap();
    fs::rename(&temporary, &statistics).unwrap();
    assert_eq!(fs::read(&statistics).unwrap(), b"level 0");
    // Across file systems a move is a copy and a delete.
    let elsewhere = tempfile::tempdir().unwrap();
    fs::copy(mount.at(DATA), elsewhere.path().join("Data.db")).unwrap();
    fs::remove_file(mount.at(DATA)).unwrap();
    assert_eq!(errno(fs::metadata(mount.at(DATA))), libc::ENOENT);
    assert_eq!(fs::metadata(elsewhere.path().join("Data.db")).unwrap().len(), 2_000_000);
    // Within the mount no byte is copied.
    fs::rename(&statistics, mount.at("moved")).unwrap();
    assert_eq!(fs::read(mount.at("moved")).unwrap(), b"level 0");
    let names = sh(&mount.at("ks/t-1"), "ls -A");
    assert_eq!(names, ".idx\nnb-1-big-TOC.txt\n");
    mount.unmount();
}

#[test]
fn everyday_tools_work() {
    needs_fuse!("everyday_tools_work");
    let mut mount = TestMount::new(tree());
    let script = r"
        cp -a ks/t-1 copy; cmp copy/nb-1-big-Data.db ks/t-1/nb-1-big-Data.db; cat copy/.idx/nb-1-big-Data.db
        mv ks/t-1 moved; test ! -e ks/t-1; cat moved/nb-1-big-TOC.txt
        touch moved/new; touch -d 2001-02-03T04:05:06.789012345Z moved/nb-1-big-TOC.txt; stat -c %y moved/nb-1-big-TOC.txt
        sed -i s/Data/Other/ copy/nb-1-big-TOC.txt; cat copy/nb-1-big-TOC.txt
        cp moved/nb-1-big-TOC.txt toc~; printf 'edited\n' > .toc.swp; mv .toc.swp moved/nb-1-big-TOC.txt; rm toc~
        cat moved/nb-1-big-TOC.txt
        ln -s copy link; readlink link; ln copy/new-not-there broken 2>/dev/null || echo refused
        truncate -s 5 moved/nb-1-big-Statistics.db; cat moved/nb-1-big-Statistics.db; echo
        truncate -s 3G moved/sparse; stat -c %s moved/sparse; rm moved/sparse
        mkdir -p a/b/c; rmdir a/b/c; mv a/b a/d; ls a
        chmod 600 moved/nb-1-big-Data.db; stat -c '%a %s' moved/nb-1-big-Data.db
        printf more >> moved/nb-1-big-Statistics.db; cat moved/nb-1-big-Statistics.db; echo
        rm -r moved copy a ks link; ls -A
    ";
    // The backup's times and the order of directories aside, a plain directory does just the same.
    let plain = tempfile::tempdir().unwrap();
    fs::create_dir_all(plain.path().join("ks/t-1/.idx")).unwrap();
    fs::create_dir(plain.path().join("ks/empty")).unwrap();
    fs::write(plain.path().join(DATA), vec![7; 2_000_000]).unwrap();
    fs::write(plain.path().join(STATISTICS), "statistics").unwrap();
    fs::write(plain.path().join("ks/t-1/nb-1-big-TOC.txt"), "Data.db\nStatistics.db\n").unwrap();
    fs::write(plain.path().join("ks/t-1/.idx/nb-1-big-Data.db"), "index").unwrap();
    std::os::unix::fs::symlink("t-1", plain.path().join("ks/latest")).unwrap();
    assert_eq!(
        sh(&mount.path, &format!("export TZ=UTC; {script}")),
        sh(plain.path(), &format!("export TZ=UTC; {script}"))
    );
    assert_eq!(mount.overlay.usage().bytes, 0, "what was removed is given back");
    mount.unmount();
}

#[test]
fn attributes_change_without_any_content_being_read() {
    needs_fuse!("attributes_change_without_any_content_being_read");
    let tree = tree();
    let faults = tree.faults();
    let mut mount = TestMount::new(tree);
    let ino = fs::metadata(mount.at(DATA)).unwrap().ino();
    sh(&mount.path, "chmod 640 ks/t-1/nb-1-big-Data.db; touch ks/t-1/nb-1-big-Data.db; chmod 700 ks/empty ks/t-1");
    std::os::unix::fs::chown(mount.at(DATA), Some(12), Some(34)).unwrap();
    let attr = fs::metadata(mount.at(DATA)).unwrap();
    assert_eq!((attr.mode(), attr.uid(), attr.gid(), attr.len()), (0o100_640, 12, 34, 2_000_000));
    assert_eq!(attr.ino(), ino, "a changed file is still the same file");
    assert_eq!(fs::metadata(mount.at("ks/t-1")).unwrap().mode(), 0o040_700);
    assert_eq!(faults.bytes_read.load(Ordering::Relaxed), 0);
    assert_eq!(fs::read(mount.at(DATA)).unwrap(), vec![7; 2_000_000]);
    mount.unmount();
}

#[test]
fn an_open_reader_sees_what_is_written_and_survives_the_name() {
    needs_fuse!("an_open_reader_sees_what_is_written_and_survives_the_name");
    let mut mount = TestMount::new(tree());
    let mut reader = File::open(mount.at(DATA)).unwrap();
    let mut byte = [0];
    reader.read_exact(&mut byte).unwrap();
    let writer = OpenOptions::new().write(true).open(mount.at(DATA)).unwrap();
    writer.write_all_at(b"changed", 1_000_000).unwrap();
    let mut seven = [0; 7];
    reader.read_exact_at(&mut seven, 1_000_000).unwrap();
    assert_eq!(&seven, b"changed");
    fs::remove_file(mount.at(DATA)).unwrap();
    writer.write_all_at(b"still here", 0).unwrap();
    let mut all = Vec::new();
    reader.seek(SeekFrom::Start(0)).unwrap();
    reader.read_to_end(&mut all).unwrap();
    assert_eq!((all.len(), &all[..10], &all[1_000_000..1_000_007]), (2_000_000, &b"still here"[..], &b"changed"[..]));
    assert_eq!(reader.metadata().unwrap().nlink(), 0);
    assert_eq!(mount.overlay.usage().bytes, 2_000_000);
    drop((reader, writer));
    let freed = || mount.overlay.usage().bytes == 0;
    assert!((0..100).any(|_| freed() || {
        std::thread::sleep(std::time::Duration::from_millis(20));
        false
    }));
    mount.unmount();
}

#[test]
fn a_write_to_one_hard_link_shows_in_the_other() {
    needs_fuse!("a_write_to_one_hard_link_shows_in_the_other");
    let mut mount = TestMount::new(tree());
    fs::hard_link(mount.at(STATISTICS), mount.at("link")).unwrap();
    let mut file = OpenOptions::new().append(true).open(mount.at("link")).unwrap();
    file.write_all(b"+").unwrap();
    drop(file);
    assert_eq!(fs::read(mount.at(STATISTICS)).unwrap(), b"statistics+");
    fs::remove_file(mount.at(STATISTICS)).unwrap();
    assert_eq!(fs::read(mount.at("link")).unwrap(), b"statistics+");
    mount.unmount();
}

#[test]
fn a_full_layer_says_so_and_takes_again_what_was_freed() {
    needs_fuse!("a_full_layer_says_so_and_takes_again_what_was_freed");
    let mut mount = TestMount::with(tree(), MountOptions::default(), |scratch| scratch.limit_bytes = 3_000_000);
    fs::write(mount.at("one"), vec![1; 2_000_000]).unwrap();
    assert_eq!(errno(fs::write(mount.at("two"), vec![2; 2_000_000])), libc::ENOSPC);
    // Changing a backup file needs room for all of it.
    let data = OpenOptions::new().write(true).open(mount.at(DATA)).unwrap();
    assert_eq!(errno(data.write_all_at(b"x", 0)), libc::ENOSPC);
    assert_eq!(fs::read(mount.at(DATA)).unwrap(), vec![7; 2_000_000], "nothing changed");
    let free = rustix::fs::statvfs(&mount.path).unwrap();
    assert!(free.f_bavail * free.f_frsize < 1_000_000);
    fs::remove_file(mount.at("one")).unwrap();
    fs::remove_file(mount.at("two")).unwrap();
    data.write_all_at(b"x", 0).unwrap();
    drop(data);
    // But emptying it needs none.
    fs::write(mount.at("three"), vec![3; 900_000]).unwrap();
    File::create(mount.at("ks/t-1/nb-1-big-TOC.txt")).unwrap();
    assert!(mount.overlay.usage().bytes <= 3_000_000);
    mount.unmount();
}

#[test]
fn a_layer_full_of_names_says_so() {
    needs_fuse!("a_layer_full_of_names_says_so");
    let mut mount = TestMount::with(tree(), MountOptions::default(), |scratch| scratch.limit_names = 100);
    let made = (0..1000).take_while(|i| File::create(mount.at(&i.to_string())).is_ok()).count();
    assert!((40..=100).contains(&made), "{made}");
    assert_eq!(errno(File::create(mount.at("more"))), libc::ENOSPC);
    assert_eq!(fs::read(mount.at(STATISTICS)).unwrap(), b"statistics");
    mount.unmount();
}

#[test]
fn what_an_outage_hides_is_never_overwritten() {
    needs_fuse!("what_an_outage_hides_is_never_overwritten");
    let tree = tree();
    let faults = tree.faults();
    let mut mount = TestMount::new(tree);
    faults.fail("ks/t-1", Kind::Unreachable);
    assert_eq!(errno(fs::write(mount.at("ks/t-1/new"), "x")), libc::EIO);
    assert_eq!(errno(fs::create_dir(mount.at("ks/t-1/new"))), libc::EIO);
    assert_eq!(errno(fs::remove_dir(mount.at("ks/t-1"))), libc::EIO);
    faults.heal();
    fs::write(mount.at("ks/t-1/new"), "x").unwrap();
    assert_eq!(errno(fs::remove_dir(mount.at("ks/t-1"))), libc::ENOTEMPTY);
    mount.unmount();
}

#[test]
fn mapped_files_read_right_and_take_shared_writes() {
    needs_fuse!("mapped_files_read_right_and_take_shared_writes");
    let mut mount = TestMount::new(tree());
    let script = r"
import mmap, sys
with open(sys.argv[1], 'rb') as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED) as m:
    assert len(m) == 2000000 and m[:] == b'\x07' * 2000000
with open(sys.argv[1], 'r+b') as f, mmap.mmap(f.fileno(), 0) as m:
    m[1234567:1234570] = b'abc'
    m.flush()
with open(sys.argv[1], 'rb') as f:
    f.seek(1234566)
    assert f.read(5) == b'\x07abc\x07'
";
    let status = Command::new("python3").args(["-c", script]).arg(mount.at(DATA)).status();
    match status {
        Ok(status) => assert!(status.success()),
        Err(error) => skip("mapped_files_read_right_and_take_shared_writes", &format!("python3: {error}")),
    }
    mount.unmount();
}

#[test]
fn a_file_read_past_the_daemon_can_be_written_once_it_is_closed() {
    needs_fuse!("a_file_read_past_the_daemon_can_be_written_once_it_is_closed");
    let mut mount = TestMount::new(MemoryTree::new().backed_file("f", vec![1; 100_000]));
    for round in 0..50 {
        assert_eq!(fs::read(mount.at("f")).unwrap().len(), 100_000 + round);
        OpenOptions::new().append(true).open(mount.at("f")).unwrap().write_all(b"x").unwrap();
    }
    assert_eq!(fs::read(mount.at("f")).unwrap()[100_000..], [b'x'; 50]);
    mount.unmount();
}

#[test]
fn a_reset_brings_the_backup_back() {
    needs_fuse!("a_reset_brings_the_backup_back");
    let mut mount = TestMount::new(tree());
    sh(
        &mount.path,
        "rm ks/t-1/nb-1-big-TOC.txt; echo x > new; echo changed > ks/t-1/nb-1-big-Statistics.db; mkdir d; ls -lR > /dev/null",
    );
    let open = File::create(mount.at("open")).unwrap();
    assert_eq!(mount.runtime.block_on(mount.overlay.reset()).unwrap_err().kind(), Kind::Busy);
    drop(open);
    let reset = || mount.runtime.block_on(mount.overlay.reset()).ok();
    let shadowed = (0..100).find_map(|_| {
        reset().or_else(|| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            None
        })
    });
    mount.runtime.block_on(mount.mounted.as_ref().unwrap().forget(shadowed.unwrap())).unwrap();
    assert_eq!(fs::read(mount.at(STATISTICS)).unwrap(), b"statistics");
    assert_eq!(sh(&mount.path, "ls -A; ls ks/t-1"), "ks\nnb-1-big-Data.db\nnb-1-big-Statistics.db\nnb-1-big-TOC.txt\n");
    assert_eq!(mount.overlay.usage().names, 0);
    mount.unmount();
}

#[test]
fn a_process_that_takes_over_finds_everything_as_it_was() {
    needs_fuse!("a_process_that_takes_over_finds_everything_as_it_was");
    let mut mount = TestMount::new(tree());
    let script = "rm ks/t-1/nb-1-big-TOC.txt; echo new > new; echo more >> ks/t-1/nb-1-big-Statistics.db; mkdir -p d/e
        ln ks/t-1/nb-1-big-Data.db d/link; mv ks/t-1/.idx/nb-1-big-Data.db d/e/; ln -s x d/sym; chmod 600 new
        touch -d 2020-01-01 d/e; rm -r ks/t-1/.idx; : > d/empty; echo gone > gone; rm gone";
    sh(&mount.path, script);
    let look = |path: &Path| {
        sh(path, "find . -printf '%p %y %i %m %n %s %T@ %l\\n' | sort; find . -type f -exec md5sum {} + | sort")
    };
    let by = Caller { request: 1 << 40, ..Caller::default() };
    let new = New::File { mode: 0o600 };
    mount.runtime.block_on(mount.overlay.create(by, &mount.overlay.root(), "asked".as_ref(), new)).unwrap();
    let before = look(&mount.path);
    let usage = mount.overlay.usage();
    mount.unmount();
    let TestMount { runtime, scratch, path, .. } = &mount;
    // Killed, as far as the scratch directory can tell: copied as it lies there.
    let killed = tempfile::tempdir().unwrap();
    sh(killed.path(), &format!("cp -a {}/. scratch", scratch.dir.display()));
    let mut options = scratch.clone();
    options.dir = killed.path().join("scratch");
    let resumed = std::sync::Arc::new(Overlay::resume(tree(), &options).unwrap());
    assert_eq!(resumed.usage().bytes, usage.bytes);
    // A request that the kernel sends again is recognised.
    let has_done = |request| runtime.block_on(resumed.has_done(request)).unwrap();
    assert!(has_done(1 << 40) && !has_done(1 << 41));
    let _runtime = runtime.enter();
    let again = cassmount::fs::mount(resumed, path, MountOptions::default()).unwrap();
    assert_eq!(look(path), before);
    drop(again);
}

#[test]
fn the_scratch_directory_is_private_and_not_shared() {
    needs_fuse!("the_scratch_directory_is_private_and_not_shared");
    let mut mount = TestMount::new(tree());
    fs::write(mount.at("secret"), "x").unwrap();
    assert_eq!(fs::metadata(&mount.scratch.dir).unwrap().mode() & 0o777, 0o700);
    assert_eq!(Overlay::new(tree(), &mount.scratch).err().map(|error| error.kind()), Some(Kind::Busy));
    assert_eq!(fs::read(mount.at("secret")).unwrap(), b"x");
    mount.unmount();
}

#[test]
fn modes_decide_who_may_write() {
    needs_fuse!("modes_decide_who_may_write");
    if !rustix::process::geteuid().is_root() || !Path::new("/usr/bin/setpriv").exists() {
        skip("modes_decide_who_may_write", "needs root and setpriv");
        return;
    }
    let options = MountOptions { allow_other: true, uid: 4321, gid: 4321, ..MountOptions::default() };
    let mut mount = TestMount::with(tree(), options, |_| {});
    // Every user must get as far as the mount.
    fs::set_permissions(mount.path.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
    let as_user = |uid: u32, script: &str| {
        let ids = [format!("--reuid={uid}"), format!("--regid={uid}"), "--clear-groups".into()];
        Command::new("setpriv")
            .args(ids)
            .args(["sh", "-c", script])
            .current_dir(&mount.path)
            .status()
            .unwrap()
            .success()
    };
    assert!(as_user(4321, "test -w ks/t-1 && ln ks/t-1/nb-1-big-Statistics.db ks/t-1/l && echo x > ks/t-1/new"));
    assert!(as_user(
        4322,
        "test ! -w ks/t-1 && cat ks/t-1/new && ! (echo x > ks/t-1/other) 2>/dev/null && ! rm -f ks/t-1/new 2>/dev/null"
    ));
    let new = fs::metadata(mount.at("ks/t-1/new")).unwrap();
    assert_eq!((new.uid(), new.gid()), (4321, 4321));
    let umask = OpenOptions::new().create(true).truncate(true).write(true).mode(0o640).open(mount.at("root")).unwrap();
    assert_eq!(umask.metadata().unwrap().uid(), 0);
    drop(umask);
    mount.unmount();
}
