//! What a program sees when something is wrong with a key, an archive or the store: the errno, and
//! that everything else goes on.

use testkit::bucket;
use testkit::command;
use testkit::skip;

use bucket::{Bucket, HOST, PASSPHRASE, Tar, encrypt, encrypt_with, gzip, sstable};
use command::{Mounted, cassmount};
use std::fs;
use std::io;
use std::path::PathBuf;

const TAG: &str = "2026-11-20-03-00";
const FILE: &str = "nb-1-big-Data.db";

/// Bytes that gzip cannot shrink, different for each table.
fn rows(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn archive_of(data: &[u8]) -> Vec<u8> {
    encrypt(&gzip(&sstable(Tar::new(), 1, data).end()))
}

fn bucket_with(tables: &[(&str, Vec<u8>)]) -> Bucket {
    let bucket = Bucket::new();
    bucket.add_set(TAG, "full");
    for (table, object) in tables {
        bucket.add_object(TAG, "ks", table, object);
    }
    bucket
}

fn mount(bucket: &Bucket) -> Mounted {
    Mounted::start(&bucket.source(), &["--key-file", &bucket.key_file()])
}

fn data_of(mount: &Mounted, table: &str) -> PathBuf {
    mount.path(HOST).join("restore-points").join(TAG).join("ks").join(table).join(FILE)
}

fn errno(result: io::Result<Vec<u8>>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn a_mount_without_a_source_says_what_is_missing() {
    let place = tempfile::tempdir().unwrap();
    let output = cassmount().arg("mount").arg(place.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let shown = place.path().display();
    assert_eq!(output.status.code(), Some(2), "{said}");
    for part in
        ["no SOURCE was given", &format!("cassmount mount SOURCE {shown}"), &format!("cassmount mount {shown} /mnt")]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn without_the_right_key_enokey() {
    const TEST: &str = "without_the_right_key_enokey";
    if !skip::fuse_or_skip(TEST) {
        return;
    }
    let other = encrypt_with("another passphrase", &gzip(&sstable(Tar::new(), 1, b"secret rows").end()));
    let bucket = bucket_with(&[("good", archive_of(b"rows")), ("locked", other)]);
    let mount = mount(&bucket);
    assert_eq!(errno(fs::read(data_of(&mount, "locked"))), Some(libc::ENOKEY));
    assert_eq!(fs::read(data_of(&mount, "good")).unwrap(), b"rows");
    let log = mount.log();
    assert!(
        log.contains("ks/locked.tar.gz.enc") && log.contains("key.txt"),
        "the log names the object and the keys tried: {log}"
    );
    assert!(!log.contains(PASSPHRASE), "a passphrase is in the log");
    drop(mount);

    let keyless = Mounted::start(&bucket.source(), &[]);
    assert_eq!(errno(fs::read(data_of(&keyless, "good"))), Some(libc::ENOKEY));
    assert!(
        fs::read_dir(keyless.path(HOST).join("restore-points").join(TAG).join("ks")).unwrap().count() == 2,
        "browsing needs no key"
    );
}

#[test]
fn a_truncated_archive_eio() {
    if !skip::fuse_or_skip("a_truncated_archive_eio") {
        return;
    }
    let whole = archive_of(&rows(1, 300_000));
    let cut = |length: usize| whole[..length].to_vec();
    let tables = [
        ("good", archive_of(b"rows")),
        ("t0", cut(0)),
        ("t1", cut(7)),
        ("t2", cut(16)),
        ("t3", cut(4096)),
        ("t4", cut(whole.len() / 2 / 16 * 16)),
        ("t5", cut(whole.len() - 1)),
        ("t6", cut(whole.len() - 16)),
    ];
    let bucket = bucket_with(&tables);
    let mount = mount(&bucket);
    for (table, _) in &tables[1..] {
        assert_eq!(errno(fs::read(data_of(&mount, table))), Some(libc::EIO), "{table}");
    }
    assert_eq!(fs::read(data_of(&mount, "good")).unwrap(), b"rows");
}

#[test]
fn a_flipped_byte_is_never_served() {
    if !skip::fuse_or_skip("a_flipped_byte_is_never_served") {
        return;
    }
    let plain = rows(2, 300_000);
    let whole = archive_of(&plain);
    let flipped = |tenth: usize| {
        let mut object = whole.clone();
        object[16 + (whole.len() - 32) * tenth / 10 + 5] ^= 0x10;
        object
    };
    let names: Vec<String> = (0..10).map(|tenth| format!("t{tenth}")).collect();
    let mut tables: Vec<(&str, Vec<u8>)> =
        names.iter().enumerate().map(|(tenth, name)| (name.as_str(), flipped(tenth))).collect();
    tables.push(("good", whole.clone()));
    let bucket = bucket_with(&tables);
    let mount = mount(&bucket);
    for name in &names {
        // In the first blocks it looks like a wrong key, later like damage: never like data.
        let seen = errno(fs::read(data_of(&mount, name)));
        assert!(matches!(seen, Some(libc::EIO | libc::ENOKEY)), "{name}: {seen:?}");
    }
    assert_eq!(fs::read(data_of(&mount, "good")).unwrap(), plain);
}

#[test]
fn a_wrong_digest_is_only_that_sstables_matter() {
    if !skip::fuse_or_skip("a_wrong_digest_is_only_that_sstables_matter") {
        return;
    }
    let tar =
        sstable(Tar::new(), 1, b"rows").file("./nb-2-big-Data.db", b"rotten").file("./nb-2-big-Digest.crc32", b"1");
    let bucket = bucket_with(&[("mixed", encrypt(&gzip(&tar.end())))]);
    let mount = mount(&bucket);
    assert_eq!(fs::read(data_of(&mount, "mixed")).unwrap(), b"rows");
    assert_eq!(errno(fs::read(data_of(&mount, "mixed").with_file_name("nb-2-big-Data.db"))), Some(libc::EIO));
}

#[test]
fn an_object_replaced_under_the_mount_estale() {
    if !skip::fuse_or_skip("an_object_replaced_under_the_mount_estale") {
        return;
    }
    let bucket = bucket_with(&[("good", archive_of(b"rows")), ("other", archive_of(b"before"))]);
    let mount = mount(&bucket);
    assert_eq!(fs::read(data_of(&mount, "good")).unwrap(), b"rows");
    bucket.add_object(TAG, "ks", "other", &archive_of(b"after, and longer than before"));
    assert_eq!(errno(fs::read(data_of(&mount, "other"))), Some(libc::ESTALE));
    // What was read before stays what it was.
    fs::remove_file(bucket.archive(TAG, "ks", "good")).unwrap();
    assert_eq!(fs::read(data_of(&mount, "good")).unwrap(), b"rows");
}

#[test]
fn a_source_that_is_not_there_is_no_mount() {
    if !skip::fuse_or_skip("a_source_that_is_not_there_is_no_mount") {
        return;
    }
    let Err(output) = Mounted::try_start("/no/such/directory", &[]) else { panic!("mounted nothing") };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("/no/such/directory"), "{said}");

    let Err(output) = Mounted::try_start(
        "s3://bucket",
        &["--endpoint-url", "http://127.0.0.1:1", "--no-sign-request", "--timeout", "3s"],
    ) else {
        panic!("mounted nothing")
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("s3://bucket"), "{said}");
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for arguments in
        [&["mount"][..], &["no-such-command"], &["mount", "a", "b", "--cache-size", "many"], &["list", "ftp://x"]]
    {
        let output = cassmount().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn unmounting_a_busy_mount_says_who_uses_it() {
    if !skip::fuse_or_skip("unmounting_a_busy_mount_says_who_uses_it") {
        return;
    }
    let bucket = bucket_with(&[("good", archive_of(b"rows"))]);
    let mount = mount(&bucket);
    let open = fs::File::open(data_of(&mount, "good")).unwrap();
    let mut sleeper = std::process::Command::new("sleep").arg("60").current_dir(mount.path(HOST)).spawn().unwrap();
    let refused = mount.unmount();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("sleep (pid {})", sleeper.id())), "{said}");
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    drop(open);
    let done = mount.unmount();
    assert!(done.status.success(), "{done:?}");
    assert_eq!(mount.unmount().status.code(), Some(1), "nothing is mounted there any more");
}

#[test]
fn a_signal_unmounts_cleanly() {
    if !skip::fuse_or_skip("a_signal_unmounts_cleanly") {
        return;
    }
    let bucket = bucket_with(&[("good", archive_of(b"rows"))]);
    for signal in ["-TERM", "-INT"] {
        let work = tempfile::tempdir().unwrap();
        let (mountpoint, cache) = (work.path().join("mnt"), work.path().join("cache"));
        fs::create_dir(&mountpoint).unwrap();
        // Before it is ready, a signal ends it as a failure: what it shows may come earlier.
        let socket = work.path().join("notify");
        let ready = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
        ready.set_read_timeout(Some(std::time::Duration::from_mins(1))).unwrap();
        let mut daemon = cassmount()
            .env("NOTIFY_SOCKET", &socket)
            .args(["mount", "-f", &bucket.source()])
            .arg(&mountpoint)
            .args(["--key-file", &bucket.key_file(), "--cache-dir"])
            .arg(&cache)
            .spawn()
            .unwrap();
        let mut said = [0; 64];
        let len = ready.recv(&mut said).expect("the mount does not come");
        assert_eq!(said[..len].trim_ascii_end(), b"READY=1");
        assert!(mountpoint.join(HOST).exists());
        let sent = std::process::Command::new("kill").args([signal, &daemon.id().to_string()]).status().unwrap();
        assert!(sent.success());
        assert!(daemon.wait().unwrap().success(), "{signal}");
        assert!(!mountpoint.join(HOST).exists());
    }
}
