//! The sample bucket through a local directory, file by file against openssl and tar.

use super::support::{Files, assert_same, read_all, walk};
use cassmount::cache::Cache;
use cassmount::keys::{Key, KeyRing, Passphrase};
use cassmount::reader::{Reader, ReaderOptions};
use cassmount::store::{Source, Store, StoreOptions};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

const KEYS: [&str; 2] = ["key-2026-a.txt", "key-2026-b.txt"];

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sample")
}

fn keys() -> KeyRing {
    let key = |file: &&str| {
        let bytes = std::fs::read(sample().join(file)).unwrap();
        let line = bytes.split(|&byte| byte == b'\n').next().unwrap().to_vec();
        Key { label: (*file).into(), passphrase: Passphrase::new(line) }
    };
    KeyRing::new(KEYS.iter().map(key).collect())
}

/// What the format's own tools make of the object: files and their times, whole seconds.
fn unpack(object: &Path) -> (Files, BTreeMap<String, i64>) {
    let dir = tempfile::tempdir().unwrap();
    let unpacked = KEYS.iter().any(|key| {
        let script = "openssl enc -d -aes-256-cbc -pbkdf2 -md sha256 -in \"$0\" -pass \"file:$1\" 2>/dev/null | tar xz 2>/dev/null";
        let script = format!("set -o pipefail; {script}");
        Command::new("bash")
            .args(["-c", &script])
            .arg(object)
            .arg(sample().join(key))
            .current_dir(dir.path())
            .status()
            .unwrap()
            .success()
    });
    assert!(unpacked, "{}", object.display());
    let mut files = Files::new();
    let mut times = BTreeMap::new();
    for path in walk(dir.path()) {
        let name = path.strip_prefix(dir.path()).unwrap().to_str().unwrap().to_owned();
        let modified = cassmount::time::Timestamp::from(std::fs::metadata(&path).unwrap().modified().unwrap());
        times.insert(name.clone(), modified.secs());
        files.insert(name, std::fs::read(&path).unwrap());
    }
    (files, times)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_of_the_sample_bucket_is_what_openssl_and_tar_give() {
    let source = Source::parse(sample().join("bucket").to_str().unwrap()).unwrap();
    let store = Store::open(&source, &StoreOptions::default()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let cache = Cache::open(dir.path(), 1 << 30).unwrap();
        Reader::new(store.clone(), keys(), cache, ReaderOptions::default()).unwrap()
    };
    let reader = open();
    let again = Cache::open(dir.path(), 1 << 30).unwrap();
    let archives: Vec<_> = walk(&sample().join("bucket"))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "enc"))
        .collect();
    assert!(archives.len() > 100);
    let mut objects = Vec::new();
    let mut files_seen = 0;
    for path in archives {
        let key = path.strip_prefix(sample().join("bucket")).unwrap().to_str().unwrap().to_owned();
        let object = Arc::new(store.head(&key).await.unwrap());
        let (wanted, times) = unpack(&path);
        let listing = reader.listing(&object).await.unwrap();
        assert_eq!(listing.warnings, [""; 0], "{key}");
        for file in &listing.files {
            assert_eq!(file.mtime.secs(), times[&*file.path], "{key} {}", file.path);
            assert_eq!(file.crc32, Some(crc32fast::hash(&wanted[&*file.path])));
            assert_eq!(file.damage, None);
        }
        assert_same(&read_all(&reader, &object).await.unwrap(), &wanted);
        files_seen += wanted.len();
        objects.push((object, wanted));
    }
    let stats = reader.stats();
    assert_eq!(stats.passes, objects.len() as u64);
    assert_eq!(stats.bytes_fetched, objects.iter().map(|(object, _)| object.size).sum::<u64>());
    println!("{files_seen} files of {} archives; {stats:?}; {:?}", objects.len(), again.status());
    drop(reader);

    let reader = open();
    for (object, wanted) in &objects {
        assert_same(&read_all(&reader, object).await.unwrap(), wanted);
    }
    assert_eq!(reader.stats().requests, 0);
}
