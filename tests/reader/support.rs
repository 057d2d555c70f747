//! A store in memory whose faults are to order, archives made by the tools that make real ones, and
//! readers over both.

use bytes::Bytes;
use cassmount::cache::Cache;
use cassmount::keys::{Key, KeyRing, Passphrase};
use cassmount::reader::{Reader, ReaderOptions};
use cassmount::store::{Backend, Chunks, Listing, ObjectMeta, Page, Pages, Store, StoreOptions};
use cassmount::time::Timestamp;
use cassmount::{Error, Kind, Result};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) const PASSPHRASE: &str = "a passphrase, schlüssel";

/// Objects in memory; a range is only given out for the version asked for.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    objects: Mutex<BTreeMap<String, (Bytes, u64)>>,
    version: AtomicU64,
    /// No request is answered.
    pub(crate) stalled: AtomicBool,
    /// Milliseconds that each request takes.
    pub(crate) latency: AtomicU64,
    /// Every range that was asked for.
    pub(crate) ranges: Mutex<Vec<Range<u64>>>,
}

impl Memory {
    /// Puts a (new version of an) object.
    pub(crate) fn put(&self, key: &str, bytes: Vec<u8>) -> Arc<ObjectMeta> {
        let version = self.version.fetch_add(1, Ordering::Relaxed) + 1;
        let size = bytes.len() as u64;
        self.objects.lock().unwrap().insert(key.to_owned(), (bytes.into(), version));
        Arc::new(ObjectMeta {
            key: key.into(),
            size,
            e_tag: Some(version.to_string().into()),
            modified: Timestamp::default(),
            archived: false,
        })
    }

    pub(crate) fn bytes_asked_for(&self) -> u64 {
        self.ranges.lock().unwrap().iter().map(|range| range.end - range.start).sum()
    }
}

/// Readers look for published indexes only: there are none here.
struct NoPages;

impl Pages for NoPages {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Page>>> {
        async { Ok(None) }.boxed()
    }
}

impl Backend for Memory {
    fn list(&self, _: Listing) -> Box<dyn Pages> {
        Box::new(NoPages)
    }

    fn head<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<ObjectMeta>> {
        unimplemented!("readers know what they read")
    }

    fn get<'a>(&'a self, object: &'a ObjectMeta, range: Range<u64>) -> BoxFuture<'a, Result<Chunks>> {
        async move {
            self.ranges.lock().unwrap().push(range.clone());
            while self.stalled.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            tokio::time::sleep(Duration::from_millis(self.latency.load(Ordering::Relaxed))).await;
            let objects = self.objects.lock().unwrap();
            let (bytes, version) =
                objects.get(&*object.key).ok_or_else(|| Error::new(Kind::Changed, "it was deleted"))?;
            if object.e_tag.as_deref() != Some(&version.to_string()) {
                return Err(Error::new(Kind::Changed, "it was replaced"));
            }
            let bytes = bytes.slice(range.start as usize..range.end as usize);
            Ok(futures::stream::iter([Ok(bytes)]).boxed())
        }
        .boxed()
    }
}

/// A reader's surroundings.
pub(crate) struct World {
    pub(crate) memory: Arc<Memory>,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) cache_bytes: u64,
    pub(crate) options: ReaderOptions,
    pub(crate) timeout: Duration,
    pub(crate) keys: Vec<&'static str>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            memory: Arc::default(),
            dir: tempfile::tempdir().unwrap(),
            cache_bytes: 1 << 30,
            options: ReaderOptions::default(),
            timeout: Duration::from_secs(10),
            keys: vec!["another", PASSPHRASE],
        }
    }

    pub(crate) fn cache_dir(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    pub(crate) fn cache(&self) -> Cache {
        Cache::open(&self.cache_dir(), self.cache_bytes).unwrap()
    }

    /// A new process's reader, as good as.
    pub(crate) fn reader(&self) -> Arc<Reader> {
        let options = StoreOptions { timeout: self.timeout, ..StoreOptions::default() };
        let store = Store::with_backend("memory://", Arc::clone(&self.memory) as Arc<dyn Backend>, &options);
        let options = ReaderOptions { timeout: self.timeout, ..self.options.clone() };
        Reader::new(store, ring(&self.keys), self.cache(), options).unwrap()
    }

    /// Removes every file and span, but not what is known of the archives.
    pub(crate) fn empty_cache(&self) {
        self.cache().clear().unwrap();
    }
}

pub(crate) fn ring(passphrases: &[&str]) -> KeyRing {
    let key = |(n, text): (usize, &&str)| Key {
        label: format!("key-file {n}").into(),
        passphrase: Passphrase::new(text.as_bytes().to_vec()),
    };
    KeyRing::new(passphrases.iter().enumerate().map(key).collect())
}

/// Files by path, as an archive has them.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// Packs files as the backup scripts do: tar, gzip, openssl.
pub(crate) fn seal(files: &Files) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = dir.path().join("data").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    std::fs::write(dir.path().join("key"), format!("{PASSPHRASE}\n")).unwrap();
    std::fs::create_dir_all(dir.path().join("data")).unwrap();
    let script = "tar -C data -c . | gzip | openssl enc -aes-256-cbc -salt -pbkdf2 -md sha256 -pass file:key";
    let out = Command::new("sh").args(["-c", script]).current_dir(dir.path()).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// Bytes like those of LZ4-compressed SSTables: half of them random, half repeated.
pub(crate) fn content(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut bytes = Vec::with_capacity(len + 64);
    while bytes.len() < len {
        let word = next();
        if word % 3 == 0 && bytes.len() > 5000 {
            let from = bytes.len() - 1 - (word >> 8) as usize % 4000;
            let copy: Vec<u8> = bytes[from..].iter().take(40).copied().collect();
            bytes.extend(copy);
        } else {
            bytes.extend(word.to_le_bytes());
        }
    }
    bytes.truncate(len);
    bytes
}

/// A table with a few SSTables; `scale` is about the bytes of the largest file.
pub(crate) fn table(scale: usize) -> Files {
    let mut files = Files::new();
    for n in 1..=3_usize {
        let data = content(n as u64, scale / n);
        let digest = crc32fast::hash(&data).to_string().into_bytes();
        files.insert(format!("nb-{n}-big-Data.db"), data);
        files.insert(format!("nb-{n}-big-Digest.crc32"), digest);
        files.insert(format!("nb-{n}-big-Index.db"), content(100 + n as u64, scale / 10));
        files.insert(format!(".idx/nb-{n}-big-Data.db"), content(200 + n as u64, 100));
    }
    files.insert("nb-1-big-TOC.txt".to_owned(), b"Data.db\n".to_vec());
    files.insert("empty".to_owned(), Vec::new());
    files
}

/// Reads every file of the archive through the reader, in pieces as the kernel would.
pub(crate) async fn read_all(reader: &Reader, object: &Arc<ObjectMeta>) -> Result<Files> {
    let listing = reader.listing(object).await?;
    let mut files = Files::new();
    for (number, file) in listing.files.iter().enumerate() {
        files.insert(file.path.to_string(), read_one(reader, object, number).await?);
    }
    Ok(files)
}

pub(crate) async fn read_one(reader: &Reader, object: &Arc<ObjectMeta>, number: usize) -> Result<Vec<u8>> {
    let open = reader.open(object, number).await?;
    let mut bytes = Vec::new();
    loop {
        let part = open.read_at(bytes.len() as u64, 128 << 10).await?;
        if part.is_empty() {
            return Ok(bytes);
        }
        bytes.extend_from_slice(&part);
    }
}

/// Which number a path has.
pub(crate) async fn number_of(reader: &Reader, object: &Arc<ObjectMeta>, path: &str) -> usize {
    let listing = reader.listing(object).await.unwrap();
    listing.files.iter().position(|file| &*file.path == path).unwrap()
}

/// The same files, without a flood of bytes when they are not.
#[track_caller]
pub(crate) fn assert_same(found: &Files, wanted: &Files) {
    assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
    for (path, content) in wanted {
        assert!(found[path] == *content, "{path} differs");
    }
}

/// Every file below a directory.
pub(crate) fn walk(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for item in std::fs::read_dir(dir).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}
