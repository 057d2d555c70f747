use crate::store::{ObjectMeta, Source, Store, StoreOptions};
use crate::{Kind, Result};
use futures::TryStreamExt;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

fn open(directory: &Path) -> Store {
    Store::open(&Source::Local(directory.to_owned()), &StoreOptions::default()).unwrap()
}

fn write(root: &Path, key: &str, content: &[u8]) {
    let path = root.join(key);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

async fn keys(store: &Store, prefix: &str) -> Vec<String> {
    sorted(store.list(prefix).try_collect().await.unwrap())
}

fn sorted(objects: Vec<ObjectMeta>) -> Vec<String> {
    let mut keys: Vec<String> = objects.into_iter().map(|object| object.key.to_string()).collect();
    keys.sort();
    keys
}

async fn whole(store: &Store, object: &ObjectMeta) -> Result<Vec<u8>> {
    store.get_range(object, 0..object.size).await.map(Vec::from)
}

#[tokio::test]
async fn lists_and_reads_what_is_there() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "host/set/ks/table.tar.gz.enc", b"0123456789");
    write(root.path(), "host/set/backup_manifest.json", b"{}");
    write(root.path(), "errors/x", b"");
    // As in a bucket, a directory is what lies below it.
    fs::create_dir(root.path().join("empty")).unwrap();
    fs::create_dir_all(root.path().join("emptied/set")).unwrap();
    let store = open(root.path());
    assert_eq!(keys(&store, "").await, ["errors/x", "host/set/backup_manifest.json", "host/set/ks/table.tar.gz.enc"]);
    assert_eq!(keys(&store, "host/set/ks/").await, ["host/set/ks/table.tar.gz.enc"]);
    assert!(keys(&store, "hos/").await.is_empty());

    let level = store.list_level("host/set/").await.unwrap();
    assert_eq!(level.prefixes, ["ks"]);
    assert_eq!(sorted(level.objects), ["host/set/backup_manifest.json"]);
    let mut top = store.list_level("").await.unwrap().prefixes;
    top.sort();
    assert_eq!(top, ["emptied", "errors", "host"]);
    assert!(store.list_level("nothing/here/").await.unwrap().prefixes.is_empty());

    let object = store.head("host/set/ks/table.tar.gz.enc").await.unwrap();
    assert_eq!(object.size, 10);
    assert_eq!(store.get_range(&object, 2..5).await.unwrap(), &b"234"[..]);
    assert_eq!(whole(&store, &object).await.unwrap(), b"0123456789");
    for key in ["host", "host/", "nothing", "host/set/ks/table.tar.gz.enc/x", "../x", "", "/etc/passwd"] {
        assert_eq!(store.head(key).await.unwrap_err().kind(), Kind::NotFound, "{key}");
    }
    for range in [5..11, 11..12] {
        assert_eq!(store.get_range(&object, range).await.unwrap_err().kind(), Kind::Invalid);
    }
}

#[tokio::test]
async fn lists_only_what_comes_after_an_offset() {
    let root = tempfile::tempdir().unwrap();
    for key in ["a/1", "a/2", "a-b/1", "a.b", "b/c/d", "b/c/e", "c"] {
        write(root.path(), key, b"");
    }
    let store = open(root.path());
    let all = keys(&store, "").await;
    for offset in ["", "a", "a-", "a/", "a/1", "a/1x", "a0", "b/c", "b/c/d", "b/c/dz", "b/d", "c", "d"] {
        let after = sorted(store.list_after("", offset).try_collect().await.unwrap());
        let expected: Vec<String> = all.iter().filter(|key| key.as_str() > offset).cloned().collect();
        assert_eq!(after, expected, "after {offset:?}");
    }
}

#[tokio::test]
async fn hostile_names_are_read_or_reported_and_never_break_a_listing() {
    let root = tempfile::tempdir().unwrap();
    let names =
        ["a b", "new\nline", "a%20b", "%2e%2e", "ünï", "a#1", "back\\slash", "*?[", "\u{7f}\u{1}", "-rf", "~", "..."];
    for name in names {
        write(root.path(), &format!("d/{name}"), name.as_bytes());
    }
    fs::write(root.path().join("d").join(OsStr::from_bytes(b"latin-\xe9")), b"x").unwrap();
    symlink("/etc", root.path().join("d/out")).unwrap();
    symlink("/etc/passwd", root.path().join("passwd")).unwrap();
    symlink(".", root.path().join("d/loop")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, root.path().join("d/fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();

    let store = open(root.path());
    let mut expected: Vec<String> = names.iter().map(|name| format!("d/{name}")).collect();
    expected.sort();
    assert_eq!(keys(&store, "").await, expected);
    for name in names {
        let object = store.head(&format!("d/{name}")).await.unwrap();
        assert_eq!(whole(&store, &object).await.unwrap(), name.as_bytes());
    }
    let mut skipped: Vec<String> = store.skipped_names().into_iter().map(|skipped| skipped.name).collect();
    skipped.sort();
    assert_eq!(skipped, ["d/fifo", "d/latin-\u{fffd}", "d/loop", "d/out", "passwd"]);
    for key in ["passwd", "d/out/passwd", "d/loop/a b", "d/fifo", "d/out", "x\0y"] {
        assert_eq!(store.head(key).await.unwrap_err().kind(), Kind::NotFound, "{key}");
    }
    assert!(store.list_level("d/out/").await.unwrap().objects.is_empty());
}

#[tokio::test]
async fn a_directory_that_lies_behind_a_link_within_the_source_is_there() {
    let root = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    write(root.path(), "ssd/shop/users/x", b"rows");
    write(outside.path(), "y", b"others' rows");
    fs::create_dir_all(root.path().join("data/own")).unwrap();
    let data = root.path().join("data");
    symlink(root.path().join("ssd/shop"), data.join("shop")).unwrap();
    symlink("../../ssd/shop/users", data.join("own/users")).unwrap();
    symlink(outside.path(), data.join("out")).unwrap();
    symlink("nowhere", data.join("dangling")).unwrap();
    symlink("../ssd/shop/users/x", data.join("file")).unwrap();
    // Two in a circle.
    symlink("../../data", root.path().join("ssd/shop/circle")).unwrap();
    let store = open(root.path());
    let expected = ["data/own/users/x", "data/shop/users/x", "ssd/shop/users/x"];
    let mut all = keys(&store, "").await;
    all.retain(|key| !key.contains("circle"));
    assert_eq!(all, expected);
    assert_eq!(keys(&store, "data/shop/").await, ["data/shop/users/x"]);
    let mut level = store.list_level("data/").await.unwrap().prefixes;
    level.sort();
    assert_eq!(level, ["own", "shop"]);
    let object = store.head("data/shop/users/x").await.unwrap();
    assert_eq!(whole(&store, &object).await.unwrap(), b"rows");
    for key in ["data/out/y", "data/dangling/x", "data/file"] {
        assert_eq!(store.head(key).await.unwrap_err().kind(), Kind::NotFound, "{key}");
    }
    let skipped: Vec<String> = store.skipped_names().into_iter().map(|skipped| skipped.name).collect();
    for name in ["data/out", "data/dangling", "data/file", "data/shop/circle"] {
        assert!(skipped.iter().any(|skipped| skipped == name), "{name}: {skipped:?}");
    }
}

#[tokio::test]
async fn a_file_that_was_replaced_cut_or_deleted_has_changed() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "x", b"0123456789");
    let store = open(root.path());
    let object = store.head("x").await.unwrap();

    write(root.path(), "x", b"01234");
    assert_eq!(whole(&store, &object).await.unwrap_err().kind(), Kind::Changed);

    write(root.path(), "x", b"9876543210");
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    fs::File::open(root.path().join("x")).unwrap().set_modified(later).unwrap();
    let error = whole(&store, &object).await.unwrap_err();
    assert_eq!((error.kind(), error.object()), (Kind::Changed, Some("x")));

    fs::remove_file(root.path().join("x")).unwrap();
    assert_eq!(whole(&store, &object).await.unwrap_err().kind(), Kind::Changed);
    assert_eq!(store.head("x").await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn ranges_longer_than_a_chunk_come_whole() {
    let root = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..9_u32 << 20).map(|i| (i % 251) as u8).collect();
    write(root.path(), "big", &content);
    let store = open(root.path());
    let object = store.head("big").await.unwrap();
    let read = store.get_range(&object, 1..object.size).await.unwrap();
    assert!(read == content[1..]);
    assert_eq!(store.stats().bytes, object.size - 1);
    assert_eq!(store.stats().get_requests, 1);
}

#[test]
fn a_missing_directory_is_said_so() {
    let error = Store::open(&Source::Local("/no/such/place".into()), &StoreOptions::default()).unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (Kind::NotFound, "there is no directory /no/such/place".to_owned()));
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Store::open(&Source::Local(file.path().to_owned()), &StoreOptions::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::NotDirectory);
}

#[tokio::test]
async fn a_directory_that_may_not_be_read_does_not_take_the_rest_with_it() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "ok/x", b"");
    write(root.path(), "closed/x", b"");
    fs::set_permissions(root.path().join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    let as_root = fs::read_dir(root.path().join("closed")).is_ok();
    let store = open(root.path());
    if !as_root {
        assert_eq!(keys(&store, "").await, ["ok/x"]);
        assert_eq!(store.skipped_names()[0].name, "closed");
        assert_eq!(store.list_level("closed/").await.unwrap_err().kind(), Kind::Denied);
        assert_eq!(store.head("closed/x").await.unwrap_err().kind(), Kind::Denied);
    }
    fs::set_permissions(root.path().join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
}

/// A source whose root is deleted, or whose disk goes away, is an outage: never an empty backup.
#[tokio::test]
async fn a_root_that_is_gone_is_not_an_empty_one() {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("root");
    fs::create_dir(&root).unwrap();
    let store = open(&root);
    assert!(keys(&store, "").await.is_empty());
    fs::remove_dir(&root).unwrap();
    let listed: Result<Vec<ObjectMeta>> = store.list("").try_collect().await;
    assert_eq!(listed.unwrap_err().kind(), Kind::Io);
    assert_eq!(store.list_level("").await.unwrap_err().kind(), Kind::Io);
    assert_eq!(store.head("x").await.unwrap_err().kind(), Kind::Io);
}

/// `CASSMOUNT_MANY_FILES=1000000` with `--nocapture` for the figures of a million.
#[tokio::test]
async fn very_many_files_in_a_directory_are_listed_without_holding_them() {
    let many = std::env::var("CASSMOUNT_MANY_FILES").map_or(20_000, |text| text.parse().unwrap());
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("d")).unwrap();
    for i in 0..many {
        fs::File::create(root.path().join(format!("d/{i}"))).unwrap();
    }
    let store = open(root.path());
    let resident = || {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        status.lines().find(|line| line.starts_with("VmHWM")).unwrap().to_owned()
    };
    let before = resident();
    let started = std::time::Instant::now();
    let count = store.list("").try_fold(0, |count, _| std::future::ready(Ok(count + 1))).await.unwrap();
    let listed = started.elapsed();
    let started = std::time::Instant::now();
    let level = store.list_level("").await.unwrap();
    println!(
        "{count} files listed in {listed:?}, the level above in {:?}; {before} -> {}",
        started.elapsed(),
        resident()
    );
    assert_eq!(count, many);
    assert_eq!((level.prefixes, level.objects.len()), (vec!["d".to_owned()], 0));
}
