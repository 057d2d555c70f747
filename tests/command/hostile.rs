//! Hostile archives: whatever an archive holds, the mount stays up, nothing shows outside its
//! directory, and everything else stays readable.

use testkit::bucket;
use testkit::command;
use testkit::skip;

use bucket::{Bucket, HOST, Header, Tar, encrypt, filter, gzip, sstable};
use command::Mounted;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Command;

const TAG: &str = "2026-11-20-03-00";
const DATA: &[u8] = b"rows of the good table";

/// A bucket with the archive under test as `ks.odd`, and a good one beside it.
fn bucket_with(odd: &[u8]) -> Bucket {
    let bucket = Bucket::new();
    bucket.add_set(TAG, "full");
    bucket.add_archive(TAG, "ks", "good", &sstable(Tar::new(), 1, DATA).end());
    bucket.add_object(TAG, "ks", "odd", odd);
    bucket
}

fn sealed(tar: Tar) -> Vec<u8> {
    encrypt(&gzip(&tar.end()))
}

fn mount(bucket: &Bucket, more: &[&str]) -> Mounted {
    let key_file = bucket.key_file();
    Mounted::start(&bucket.source(), &[&["--key-file", &key_file], more].concat())
}

fn table_directory(mount: &Mounted, table: &str) -> std::path::PathBuf {
    let keyspace = mount.path(HOST).join("restore-points").join(TAG).join("ks");
    let names = fs::read_dir(&keyspace).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let found: Vec<String> = names.filter(|name| name == table || name.starts_with(&format!("{table}-"))).collect();
    assert_eq!(found.len(), 1, "directories of {table}: {found:?}");
    keyspace.join(&found[0])
}

/// Path below `directory` to content, of every file.
fn files(directory: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![directory.to_owned()];
    while let Some(next) = todo.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                todo.push(entry.path());
            } else {
                assert!(entry.file_type().unwrap().is_file(), "{entry:?} is neither file nor directory");
                found.insert(entry.path().strip_prefix(directory).unwrap().to_owned(), fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}

fn assert_good_table(mount: &Mounted) {
    assert_eq!(fs::read(table_directory(mount, "good").join("nb-1-big-Data.db")).unwrap(), DATA);
}

/// Mounts a bucket with `odd`, checks the good table, and returns what the odd one shows.
fn shown(test: &str, odd: &[u8]) -> Option<BTreeMap<std::path::PathBuf, Vec<u8>>> {
    if !skip::fuse_or_skip(test) {
        return None;
    }
    let bucket = bucket_with(odd);
    let mount = mount(&bucket, &[]);
    let found = files(&table_directory(&mount, "odd"));
    assert_good_table(&mount);
    Some(found)
}

/// The same for an archive that cannot be read: its directory gives EIO, the rest is well.
fn assert_refused(test: &str, odd: &[u8]) {
    if !skip::fuse_or_skip(test) {
        return;
    }
    let bucket = bucket_with(odd);
    let mount = mount(&bucket, &[]);
    let error =
        fs::read_dir(table_directory(&mount, "odd")).and_then(|mut entries| entries.next().transpose()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO), "{error}");
    assert!(mount.log().contains("ks/odd.tar.gz.enc"), "the log names the object");
    assert_good_table(&mount);
}

fn names(found: &BTreeMap<std::path::PathBuf, Vec<u8>>) -> Vec<&str> {
    found.keys().map(|path| path.to_str().expect("safe names are UTF-8")).collect()
}

#[test]
fn names_that_lead_out_of_the_directory_do_not() {
    let tar = Tar::new()
        .file("../../escape", "x")
        .file("/abs", "absolute")
        .file("a/../../b", "y")
        .file("./nb-1-big-Data.db", "rows");
    let Some(found) = shown("names_that_lead_out_of_the_directory_do_not", &sealed(tar)) else { return };
    // As tar does: the leading slash goes; names with `..` are refused.
    assert_eq!(names(&found), ["abs", "nb-1-big-Data.db"]);
    assert_eq!(found[Path::new("abs")], b"absolute");
}

#[test]
fn links_and_devices_are_no_files() {
    let link = |kind, target: &'static [u8]| Header { name: b"./odd", kind, link: target, size: None };
    let tar = Tar::new()
        .entry(&link(b'1', b"/etc/passwd"), b"")
        .entry(&link(b'2', b"/etc/shadow"), b"")
        .entry(&link(b'3', b""), b"")
        .entry(&link(b'4', b""), b"")
        .entry(&link(b'6', b""), b"")
        .file("./nb-1-big-Data.db", "rows");
    let Some(found) = shown("links_and_devices_are_no_files", &sealed(tar)) else { return };
    assert_eq!(names(&found), ["nb-1-big-Data.db"]);
}

#[test]
fn of_duplicate_names_the_last_wins_as_with_tar() {
    let tar =
        Tar::new().file("./a", "first").file("./a", "second").file("./b", "x").directory("./b/").file("./b/c", "y");
    let Some(found) = shown("of_duplicate_names_the_last_wins_as_with_tar", &sealed(tar)) else { return };
    assert_eq!(found[Path::new("a")], b"second");
}

#[test]
fn names_that_no_terminal_should_see_are_escaped() {
    let tar = Tar::new()
        .file(b"./new\nline", "1")
        .file(b"./bad\xff\xfeutf", "2")
        .file(b"./esc\x1b[31m", "3")
        .file("./ünïcode", "4");
    let Some(found) = shown("names_that_no_terminal_should_see_are_escaped", &sealed(tar)) else { return };
    assert_eq!(found.len(), 4);
    for name in names(&found) {
        assert!(!name.chars().any(char::is_control), "{name:?}");
    }
    assert_eq!(found[Path::new("ünïcode")], b"4");
}

#[test]
fn long_names_of_every_dialect() {
    let long = "n".repeat(255);
    let longer = "n".repeat(256);
    let deep = format!("{}/{}", "d".repeat(200), "f".repeat(200));
    let tar = Tar::new()
        .gnu_long_name(format!("./{long}").as_bytes())
        .file("./short", "255")
        .gnu_long_name(format!("./{longer}").as_bytes())
        .file("./short", "256")
        .pax(&[("path", deep.as_bytes()), ("mtime", b"1700000000.123456789")])
        .file("./short", "pax")
        .file("./after", "after");
    let Some(found) = shown("long_names_of_every_dialect", &sealed(tar)) else { return };
    assert_eq!(found[Path::new(&long)], b"255");
    assert_eq!(found[Path::new(&deep)], b"pax");
    assert_eq!(found[Path::new("after")], b"after");
    assert!(found.keys().all(|path| path.components().all(|part| part.as_os_str().len() <= 255)));
}

#[test]
fn base_256_sizes() {
    let mut size = [0; 12];
    size[0] = 0x80;
    size[11] = 4;
    let tar = Tar::new().entry(&Header { name: b"./nb-1-big-Data.db", size: Some(size), ..Header::default() }, b"rows");
    let Some(found) = shown("base_256_sizes", &sealed(tar)) else { return };
    assert_eq!(found[Path::new("nb-1-big-Data.db")], b"rows");
}

#[test]
fn a_size_beyond_the_archive_is_refused() {
    let mut size = [0xff; 12];
    size[0] = 0x80;
    size[1..5].fill(0);
    let tar = Tar::new().entry(&Header { name: b"./nb-1-big-Data.db", size: Some(size), ..Header::default() }, b"rows");
    assert_refused("a_size_beyond_the_archive_is_refused", &sealed(tar));
}

#[test]
fn gzip_of_several_members() {
    let tar = sstable(Tar::new(), 1, b"rows in pieces").end();
    let (head, tail) = tar.split_at(700);
    let packed = [gzip(head), gzip(b""), gzip(tail)].concat();
    let Some(found) = shown("gzip_of_several_members", &encrypt(&packed)) else { return };
    assert_eq!(found[Path::new("nb-1-big-Data.db")], b"rows in pieces");
}

#[test]
fn trailing_garbage_is_refused_for_it_may_be_another_member() {
    let packed = [gzip(&sstable(Tar::new(), 1, b"rows").end()), b"garbage behind the end".to_vec()].concat();
    assert_refused("trailing_garbage_is_refused_for_it_may_be_another_member", &encrypt(&packed));
}

#[test]
fn what_is_no_archive_is_refused() {
    assert_refused(
        "what_is_no_archive_is_refused: empty tar.gz without an end",
        &encrypt(&gzip(&b"not a tar at all, but longer than a header of one. ".repeat(20))),
    );
}

#[test]
fn a_tar_that_breaks_off_is_refused() {
    let tar = sstable(Tar::new(), 1, &[7; 5000]).end();
    assert_refused("a_tar_that_breaks_off_is_refused", &encrypt(&gzip(&tar[..2000])));
}

#[test]
fn a_bomb_neither_fills_the_disk_nor_stops_the_rest() {
    /// Several caches full of zeros, as tar would store them; packed on the fly, never on the disk.
    const SIZE: u64 = 2 << 30;
    const TEST: &str = "a_bomb_neither_fills_the_disk_nor_stops_the_rest";
    if !skip::fuse_or_skip(TEST) {
        return;
    }
    let mut size = [0; 12];
    size[0] = 0x80;
    size[4..].copy_from_slice(&SIZE.to_be_bytes());
    let head = Tar::new()
        .file("./nb-1-big-TOC.txt", "small")
        .entry(&Header { name: b"./nb-1-big-Data.db", size: Some(size), ..Header::default() }, b"");
    let head_file = tempfile::NamedTempFile::new().unwrap();
    fs::write(head_file.path(), head.into_bytes()).unwrap();
    let script = format!("(cat {}; head -c {} /dev/zero) | gzip -1", head_file.path().display(), SIZE + 1024);
    let bucket = bucket_with(&encrypt(&filter(Command::new("bash").args(["-c", &script]), b"")));
    let cache = tempfile::tempdir().unwrap();
    let mount = mount(&bucket, &["--cache-size", "512M", "--cache-dir", cache.path().to_str().unwrap()]);
    let directory = table_directory(&mount, "odd");
    assert_eq!(fs::read(directory.join("nb-1-big-TOC.txt")).unwrap(), b"small");
    let data = directory.join("nb-1-big-Data.db");
    assert_eq!(fs::metadata(&data).unwrap().len(), SIZE);
    let mut head = vec![1; 1 << 20];
    fs::File::open(&data).unwrap().read_exact(&mut head).unwrap();
    assert!(head.iter().all(|&byte| byte == 0));
    assert_good_table(&mount);
    let used = filter(Command::new("du").arg("-sb").arg(cache.path()), b"");
    let used: u64 = String::from_utf8(used).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    assert!(used < 560 << 20, "the cache holds {used} bytes");
}
