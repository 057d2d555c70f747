//! `cassmount index`, and seek indexes published beside the backups: built, found, used, and
//! ignored where they are not to be trusted.

use testkit::bucket;
use testkit::command;
use testkit::s3;

use bucket::{Bucket, HOST, Tar, encrypt_with, gzip, sample_keys, sstable};
use cassmount::cache::Cache;
use cassmount::keys::KeySources;
use cassmount::reader::{Reader, ReaderOptions, StatsSnapshot};
use cassmount::store::{Source, Store, StoreOptions};
use command::cassmount;
use s3::S3Server;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

const TAG: &str = "2026-11-20-03-00";

/// Bytes that gzip cannot shrink.
fn noise(len: usize, seed: &str) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(seed.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// A bucket with an archive large enough that an index of it is published, and a small one.
fn bucket(passphrase: &str) -> (Bucket, Vec<u8>) {
    let bucket = Bucket::new();
    bucket.add_set(TAG, "full");
    let data = noise(7 << 20, "large");
    let tar = sstable(Tar::new(), 1, &data).end();
    bucket.add_object(TAG, "ks", "large", &encrypt_with(passphrase, &gzip(&tar)));
    bucket.add_archive(TAG, "ks", "small", &sstable(Tar::new(), 1, b"little").end());
    (bucket, data)
}

fn published(bucket: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for group in fs::read_dir(bucket.join(".cassmount/index/1")).into_iter().flatten() {
        found.extend(fs::read_dir(group.unwrap().path()).unwrap().map(|file| file.unwrap().path()));
    }
    found
}

/// A user with a cache directory of their own, which is empty at first.
struct User {
    cache: TempDir,
    environment: Vec<(String, String)>,
}

impl User {
    fn new() -> Self {
        Self { cache: tempfile::tempdir().unwrap(), environment: Vec::new() }
    }

    fn index(&self, source: &str, more: &[&str]) -> Value {
        let mut command = cassmount();
        command.args(["index", source, "--json", "--cache-dir"]).arg(self.cache.path()).args(more);
        let output = command.envs(self.environment.iter().cloned()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn counts(outcome: &Value) -> [u64; 4] {
    ["read", "found", "published", "published_before"].map(|field| outcome[field].as_u64().unwrap())
}

/// Reads the large archive's Data.db as a mount would that has nothing yet.
async fn read_fresh(source: &str, options: &StoreOptions, key_file: &str) -> (Vec<u8>, StatsSnapshot, u64) {
    let store = Store::open(&Source::parse(source).unwrap(), options).unwrap();
    let keys = KeySources { files: vec![key_file.into()], ..KeySources::default() }.load().unwrap().ring;
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::open(directory.path(), 1 << 30).unwrap();
    let object = Arc::new(store.head(&format!("{HOST}/{TAG}/ks/large.tar.gz.enc")).await.unwrap());
    let reader = Reader::new(store, keys, cache, ReaderOptions::default()).unwrap();
    let listing = reader.listing(&object).await.unwrap();
    let number = listing.files.iter().position(|file| &*file.path == "nb-1-big-Data.db").unwrap();
    let data = reader.read_file(&object, number, 1 << 30).await.unwrap();
    (data.to_vec(), reader.stats(), object.size)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_index_spares_others_the_pass() {
    let (bucket, data) = bucket(bucket::PASSPHRASE);
    let (source, key) = (bucket.source(), bucket.key_file());
    let key_file = ["--key-file", &key];
    let user = User::new();
    assert_eq!(counts(&user.index(&source, &key_file)), [2, 0, 0, 0], "without --publish");
    assert!(published(&bucket.path()).is_empty());
    let publish = [&key_file[..], &["--publish"]].concat();
    // The small one gets none: reading it costs no more than reading its index.
    assert_eq!(counts(&user.index(&source, &publish)), [0, 0, 1, 0]);
    assert_eq!(counts(&user.index(&source, &publish)), [0, 0, 0, 1], "the same once more");

    let files = published(&bucket.path());
    assert_eq!(files.len(), 1);
    let content = fs::read(&files[0]).unwrap();
    assert!(!content.windows(8).any(|bytes| bytes == b"nb-1-big"), "names are not to be seen");
    assert!(content.len() < data.len() / 50, "{}", content.len());

    let other = User::new();
    assert_eq!(counts(&other.index(&source, &key_file)), [1, 1, 0, 0], "found by another machine");
    let (read, stats, size) = read_fresh(&source, &StoreOptions::default(), &key).await;
    assert!(read == data);
    assert_eq!((stats.passes, stats.published_used), (0, 1), "{stats:?}");
    assert!(stats.bytes_fetched < size + size / 10, "{stats:?}");

    let list = cassmount().args(["list", &source, "--cache-dir"]).arg(other.cache.path()).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(list.contains(HOST) && !list.contains(".cassmount"), "{list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_index_that_is_not_right_is_not_used() {
    let (bucket, data) = bucket(bucket::PASSPHRASE);
    let (source, key) = (bucket.source(), bucket.key_file());
    User::new().index(&source, &["--key-file", &key, "--publish"]);
    let path = published(&bucket.path()).remove(0);
    let good = fs::read(&path).unwrap();

    // The same archive's index, but sealed by who has another passphrase.
    let (foreign, _) = self::bucket("another passphrase");
    fs::write(foreign.key_file(), "another passphrase\n").unwrap();
    let foreign_key = foreign.key_file();
    let small = [foreign.path().join(HOST).join(TAG).join("ks/small.tar.gz.enc")];
    fs::remove_file(&small[0]).unwrap();
    User::new().index(&foreign.source(), &["--key-file", &foreign_key, "--publish"]);
    let foreign = fs::read(published(&foreign.path()).remove(0)).unwrap();

    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let wrong = [
        ("flipped at its start", flipped(3)),
        ("flipped in its salt", flipped(20)),
        ("flipped in its middle", flipped(good.len() / 2)),
        ("flipped at its end", flipped(good.len() - 1)),
        ("cut short", good[..good.len() - 100].to_vec()),
        ("empty", Vec::new()),
        ("longer", [&good[..], &[0; 100]].concat()),
        ("of another key", foreign),
        ("much too long", vec![0; 20 << 20]),
    ];
    for (what, content) in wrong {
        fs::write(&path, content).unwrap();
        let (read, stats, _) = read_fresh(&source, &StoreOptions::default(), &key).await;
        assert!(read == data, "{what}");
        assert_eq!((stats.passes, stats.published_used), (1, 0), "{what}: {stats:?}");
    }
    // Publishing again mends it.
    assert_eq!(counts(&User::new().index(&source, &["--key-file", &key, "--publish"]))[2], 1);
    assert!(fs::read(&path).unwrap() == good);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_published_to_s3_and_nothing_else_is_written() {
    let (bucket, data) = bucket(bucket::PASSPHRASE);
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("backups")).unwrap();
    fs::rename(bucket.path(), root.path().join("backups/prod")).unwrap();
    let server = S3Server::start(root.path());
    let mut user = User::new();
    user.environment = server.environment();
    let key = bucket.key_file();
    let source = "s3://backups/prod";
    assert_eq!(counts(&user.index(source, &["--key-file", &key, "--publish", "--force-path-style"])), [2, 0, 1, 0]);
    assert_eq!(published(&root.path().join("backups/prod")).len(), 1);
    let requests = server.requests();
    let written: Vec<_> =
        requests.iter().filter(|request| !request.starts_with("GET") && !request.starts_with("HEAD")).collect();
    assert_eq!(written.len(), 1, "{written:?}");
    assert!(written[0].starts_with("PUT /backups/prod/.cassmount/index/1/"), "{written:?}");

    let (read, stats, size) = read_fresh(source, &server.options(), &key).await;
    assert!(read == data);
    assert_eq!((stats.passes, stats.published_used), (0, 1), "{stats:?}");
    assert!(stats.bytes_fetched < size + size / 10, "{stats:?}");
}

#[test]
fn the_archives_of_a_point_or_a_table_are_indexed_and_failures_are_named() {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/sample/bucket");
    let user = User::new();
    let keys = sample_keys();
    let table = user.index(sample, &[&["cass-a", "2026-11-21-02-48", "--table", "shop.users"], &keys[..]].concat());
    assert_eq!(counts(&table)[0], table["archives"].as_u64().unwrap());
    let point = user.index(sample, &[&["cass-a", "2026-11-21-02-48"], &keys[..]].concat());
    let all = user.index(sample, &keys);
    let archives = |outcome: &Value| outcome["archives"].as_u64().unwrap();
    assert!(archives(&table) < archives(&point) && archives(&point) < archives(&all));

    let mut command = cassmount();
    let output = command.args(["index", sample, "cass-b", "--key-file", keys[1], "--json", "--cache-dir"]);
    let output = output.arg(tempfile::tempdir().unwrap().path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "some of cass-b's archives have another key: {output:?}");
    let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
    let failed = outcome["failed"].as_array().unwrap();
    assert!(
        !failed.is_empty() && failed.iter().all(|failed| failed["reason"].as_str().unwrap().contains("no key opens"))
    );

    let mut command = cassmount();
    let wrong = tempfile::NamedTempFile::new().unwrap();
    fs::write(wrong.path(), "no such key\n").unwrap();
    let output = command.args(["index", sample, "cass-b", "--json", "--key-file"]).arg(wrong.path());
    let output = output.arg("--cache-dir").arg(tempfile::tempdir().unwrap().path()).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "no archive opens: {output:?}");
    assert_eq!(&output.stdout[..], b"", "one sentence instead of a report");
    assert!(String::from_utf8_lossy(&output.stderr).contains("no key opens the backups"), "{output:?}");

    // Of so few archives no sample is looked at first.
    let mut command = cassmount();
    let one = command.args(["index", sample, "cass-a", "latest", "--table", "shop.hits", "--json", "--key-file"]);
    let one = one.arg(wrong.path()).arg("--cache-dir").arg(tempfile::tempdir().unwrap().path()).output().unwrap();
    assert_eq!(one.status.code(), Some(3), "{one:?}");
}

#[test]
fn indexes_of_archives_that_are_gone_are_removed_and_nothing_else() {
    let (bucket, _) = bucket(bucket::PASSPHRASE);
    let (source, key) = (bucket.source(), bucket.key_file());
    let user = User::new();
    user.index(&source, &["--key-file", &key, "--publish"]);
    let other = bucket.path().join(".cassmount/index/1/note");
    fs::write(&other, "not ours").unwrap();
    let prune = |more: &[&str]| {
        let pruned = user.index(&source, &[&["--prune"], more].concat());
        ["indexes", "removed"].map(|field| pruned[field].as_u64().unwrap())
    };
    let indexes = || bucket.path().join(".cassmount/index/1").read_dir().unwrap().count();
    // No key is needed: which archive an index is of, the archive's ends tell.
    assert_eq!((prune(&[]), indexes()), ([1, 0], 2));
    let large = bucket.path().join(HOST).join(TAG).join("ks/large.tar.gz.enc");
    fs::remove_file(&large).unwrap();
    assert_eq!((prune(&["--dry-run"]), indexes()), ([1, 1], 2), "a dry run removes nothing");

    // Of what cannot be looked at it is not known whose index is needed.
    fs::write(&large, vec![7; 5 << 20]).unwrap();
    let refused = cassmount()
        .args(["index", &source, "--prune", "--key-file", &key, "--cache-dir"])
        .arg(user.cache.path())
        .output()
        .unwrap();
    assert!(!refused.status.success() && indexes() == 2, "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("nothing was removed"), "{refused:?}");
    fs::remove_file(&large).unwrap();

    assert_eq!(prune(&[]), [1, 1]);
    assert_eq!(prune(&[]), [0, 0]);
    assert_eq!(fs::read_to_string(&other).unwrap(), "not ours");

    // Where there is no archive at all, something else is wrong.
    fs::remove_dir_all(bucket.path().join(HOST)).unwrap();
    let index = bucket.path().join(format!(".cassmount/index/1/aa/{}", "a".repeat(64)));
    fs::create_dir_all(index.parent().unwrap()).unwrap();
    fs::write(&index, "x").unwrap();
    let mut command = cassmount();
    let refused = command.args(["index", &source, "--prune", "--cache-dir"]).arg(user.cache.path()).output().unwrap();
    assert!(!refused.status.success() && index.exists(), "{refused:?}");
}
