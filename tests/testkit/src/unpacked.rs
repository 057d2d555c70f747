//! Archives unpacked by openssl and tar, as a source for a tree: independent of the crate's own
//! reading, with failures to order.

use crate::in_memory::InMemory;
use bytes::Bytes;
use cassmount::catalog::{Catalog, CatalogOptions, Host, HostSets};
use cassmount::reader::{ListedFile, Listing};
use cassmount::store::{ObjectMeta, Source as StoreSource, Store, StoreOptions};
use cassmount::time::Timestamp;
use cassmount::tree::Source;
use cassmount::view::OpenFile;
use cassmount::{Error, Kind, Result};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

/// Unpacks an archive with whichever key file opens it.
pub fn unpack(archive: &Path, keys: &[PathBuf], into: &Path) -> bool {
    keys.iter().any(|key| {
        let mut openssl = Command::new("openssl")
            .args(["enc", "-d", "-aes-256-cbc", "-pbkdf2", "-md", "sha256", "-pass"])
            .arg(format!("file:{}", key.display()))
            .arg("-in")
            .arg(archive)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut tar = Command::new("tar");
        tar.args(["xz", "-C"]).arg(into).stdin(openssl.stdout.take().unwrap()).stderr(Stdio::null());
        let unpacked = tar.status().unwrap().success();
        openssl.wait().unwrap().success() && unpacked
    })
}

/// The key files of the sample bucket.
pub fn sample_keys() -> Vec<PathBuf> {
    let sample = crate::project().join("sample");
    ["key-2026-a.txt", "key-2026-b.txt"].iter().map(|key| sample.join(key)).collect()
}

/// Regular files below a directory: path, content, time.
pub fn files_below(directory: &Path) -> Vec<(String, Vec<u8>, Timestamp)> {
    fn walk(directory: &Path, prefix: &str, found: &mut Vec<(String, Vec<u8>, Timestamp)>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), &format!("{path}/"), found);
            } else if entry.file_type().unwrap().is_file() {
                let modified = Timestamp::from(entry.metadata().unwrap().modified().unwrap());
                found.push((path, std::fs::read(entry.path()).unwrap(), modified));
            }
        }
    }
    let mut found = Vec::new();
    walk(directory, "", &mut found);
    found.sort();
    found
}

/// A source over a local bucket.
pub struct Unpacked {
    bucket: PathBuf,
    keys: Vec<PathBuf>,
    catalog: Arc<Catalog>,
    archives: Mutex<HashMap<ObjectMeta, Arc<Archive>>>,
    /// Objects whose key contains this fail so.
    faults: Mutex<Vec<(String, Kind)>>,
    /// Keys of archives and objects that were read, in order.
    read: Mutex<Vec<Arc<str>>>,
}

struct Archive {
    listing: Arc<Listing>,
    contents: Vec<Bytes>,
}

impl Unpacked {
    pub fn new(bucket: &Path, keys: Vec<PathBuf>) -> Arc<Self> {
        let store =
            Store::open(&StoreSource::parse(bucket.to_str().unwrap()).unwrap(), &StoreOptions::default()).unwrap();
        Arc::new(Self {
            bucket: bucket.to_owned(),
            keys,
            catalog: Catalog::open(Arc::new(store), CatalogOptions::default()),
            archives: Mutex::default(),
            faults: Mutex::default(),
            read: Mutex::default(),
        })
    }

    pub fn sample() -> Arc<Self> {
        Self::new(&crate::project().join("sample/bucket"), sample_keys())
    }

    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// Whatever concerns objects with this in their key fails so, until [`Self::heal`].
    pub fn fail(&self, part: &str, kind: Kind) {
        self.faults.lock().unwrap().push((part.to_owned(), kind));
    }

    pub fn heal(&self) {
        self.faults.lock().unwrap().clear();
    }

    /// What was read since the last call.
    pub fn take_read(&self) -> Vec<Arc<str>> {
        std::mem::take(&mut *self.read.lock().unwrap())
    }

    fn check(&self, object: &ObjectMeta) -> Result<()> {
        let faults = self.faults.lock().unwrap();
        match faults.iter().find(|(part, _)| object.key.contains(part)) {
            Some((_, kind)) => Err(Error::new(*kind, "ordered by the test").with_object(&object.key)),
            None => Ok(()),
        }
    }

    fn archive(&self, object: &ObjectMeta) -> Result<Arc<Archive>> {
        self.check(object)?;
        if let Some(known) = self.archives.lock().unwrap().get(object) {
            return Ok(known.clone());
        }
        self.read.lock().unwrap().push(object.key.clone());
        let directory = tempfile::tempdir().unwrap();
        if !unpack(&self.bucket.join(&*object.key), &self.keys, directory.path()) {
            return Err(Error::new(Kind::NoKey, "openssl and tar cannot unpack it").with_object(&object.key));
        }
        let (mut files, mut contents) = (Vec::new(), Vec::new());
        for (path, content, mtime) in files_below(directory.path()) {
            let (size, crc32) = (content.len() as u64, crc32fast::hash(&content));
            files.push(ListedFile { path: path.into(), size, mtime, crc32: Some(crc32), damage: None });
            contents.push(Bytes::from(content));
        }
        let plain_size = contents.iter().map(|content| content.len() as u64).sum();
        let listing =
            Arc::new(Listing { files, directories: Vec::new(), warnings: Vec::new(), plain_size, root: "".into() });
        let archive = Arc::new(Archive { listing, contents });
        self.archives.lock().unwrap().insert(object.clone(), archive.clone());
        Ok(archive)
    }
}

impl Source for Unpacked {
    fn name(&self) -> &str {
        self.catalog.source()
    }

    fn hosts(&self) -> BoxFuture<'_, Result<Vec<Host>>> {
        async { Ok(self.catalog.hosts().await?.hosts.clone()) }.boxed()
    }

    fn host<'a>(&'a self, host: &'a Host) -> BoxFuture<'a, Result<Arc<HostSets>>> {
        self.catalog.host(host).boxed()
    }

    fn known_host(&self, host: &Host) -> Option<Arc<HostSets>> {
        self.catalog.known(host)
    }

    fn listing<'a>(&'a self, object: &'a Arc<ObjectMeta>) -> BoxFuture<'a, Result<Arc<Listing>>> {
        async { Ok(self.archive(object)?.listing.clone()) }.boxed()
    }

    fn open<'a>(&'a self, object: &'a Arc<ObjectMeta>, file: usize) -> BoxFuture<'a, Result<Arc<dyn OpenFile>>> {
        async move { Ok(Arc::new(InMemory(self.archive(object)?.contents[file].clone())) as Arc<dyn OpenFile>) }.boxed()
    }

    fn read_file<'a>(&'a self, object: &'a Arc<ObjectMeta>, file: usize, _max: u64) -> BoxFuture<'a, Result<Bytes>> {
        async move { Ok(self.archive(object)?.contents[file].clone()) }.boxed()
    }

    fn fetch_object<'a>(&'a self, object: &'a Arc<ObjectMeta>, _max: u64) -> BoxFuture<'a, Result<Bytes>> {
        async move {
            self.check(object)?;
            self.read.lock().unwrap().push(object.key.clone());
            Ok(std::fs::read(self.bucket.join(&*object.key)).unwrap().into())
        }
        .boxed()
    }
}
