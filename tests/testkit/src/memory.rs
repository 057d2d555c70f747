//! A tree in memory, with delays and failures to order.

use bytes::Bytes;
use cassmount::time::Timestamp;
use cassmount::view::{Attr, DirEntry, NodeKind, OpenFile, View};
use cassmount::{Error, Kind, Result};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// When every node was last modified.
pub const MTIME: Timestamp = Timestamp(1_700_000_000_123_456);

/// A read-only tree in memory.
#[derive(Default)]
pub struct MemoryTree {
    nodes: Vec<MemoryNode>,
    faults: Arc<Faults>,
}

/// What goes wrong; can be changed while the tree is mounted.
#[derive(Default)]
pub struct Faults {
    latency: Mutex<Duration>,
    failing: Mutex<HashMap<String, Kind>>,
    /// Bytes that were read through [`OpenFile::read_at`].
    pub bytes_read: AtomicU64,
    /// Files opened.
    pub opens: AtomicU64,
}

struct MemoryNode {
    path: String,
    body: Body,
}

enum Body {
    Directory(BTreeMap<OsString, usize>),
    File { content: Bytes, backing: Option<Arc<File>> },
    Symlink(OsString),
}

impl Faults {
    /// Every operation takes at least this long.
    pub fn set_latency(&self, latency: Duration) {
        *self.latency.lock().unwrap() = latency;
    }

    /// Whatever concerns this path fails until [`Self::heal`].
    pub fn fail(&self, path: &str, kind: Kind) {
        self.failing.lock().unwrap().insert(path.to_owned(), kind);
    }

    pub fn heal(&self) {
        self.failing.lock().unwrap().clear();
    }

    async fn apply(&self, path: &str) -> Result<()> {
        let latency = *self.latency.lock().unwrap();
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        match self.failing.lock().unwrap().get(path) {
            Some(&kind) => Err(Error::new(kind, "ordered by the test").with_object(path)),
            None => Ok(()),
        }
    }
}

impl MemoryTree {
    pub fn new() -> Self {
        let root = MemoryNode { path: String::new(), body: Body::Directory(BTreeMap::new()) };
        Self { nodes: vec![root], faults: Arc::default() }
    }

    pub fn faults(&self) -> Arc<Faults> {
        self.faults.clone()
    }

    pub fn directory(mut self, path: &str) -> Self {
        self.directory_at(path);
        self
    }

    pub fn file(mut self, path: &str, content: impl Into<Bytes>) -> Self {
        self.put(path, Body::File { content: content.into(), backing: None });
        self
    }

    /// A file that also lies on the disk, as the cache's files do.
    pub fn backed_file(mut self, path: &str, content: impl Into<Bytes>) -> Self {
        let content = content.into();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        self.put(path, Body::File { content, backing: Some(Arc::new(file)) });
        self
    }

    pub fn symlink(mut self, path: &str, target: &str) -> Self {
        self.put(path, Body::Symlink(target.into()));
        self
    }

    fn directory_at(&mut self, path: &str) -> usize {
        if path.is_empty() {
            return 0;
        }
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = self.directory_at(parent);
        if let Some(&known) = self.entries(parent).unwrap().get(OsStr::new(name)) {
            return known;
        }
        self.insert(parent, path, name, Body::Directory(BTreeMap::new()))
    }

    fn put(&mut self, path: &str, body: Body) {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = self.directory_at(parent);
        self.insert(parent, path, name, body);
    }

    fn insert(&mut self, parent: usize, path: &str, name: &str, body: Body) -> usize {
        let index = self.nodes.len();
        self.nodes.push(MemoryNode { path: path.to_owned(), body });
        match &mut self.nodes[parent].body {
            Body::Directory(entries) => entries.insert(name.into(), index),
            _ => panic!("{path}: the parent is not a directory"),
        };
        index
    }

    fn entries(&self, node: usize) -> Result<&BTreeMap<OsString, usize>> {
        match &self.nodes[node].body {
            Body::Directory(entries) => Ok(entries),
            _ => Err(Error::new(Kind::NotDirectory, "not a directory")),
        }
    }
}

impl View for MemoryTree {
    type Node = usize;

    fn root(&self) -> usize {
        0
    }

    fn ino(&self, node: &usize) -> u64 {
        let hash = blake3::hash(self.nodes[*node].path.as_bytes());
        u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap()) >> 1
    }

    fn kind(&self, node: &usize) -> NodeKind {
        match self.nodes[*node].body {
            Body::Directory(_) => NodeKind::Directory,
            Body::File { .. } => NodeKind::File,
            Body::Symlink(_) => NodeKind::Symlink,
        }
    }

    async fn lookup(&self, dir: &usize, name: &OsStr) -> Result<usize> {
        self.faults.apply(&self.nodes[*dir].path).await?;
        let found = self.entries(*dir)?.get(name).copied();
        found.ok_or_else(|| Error::not_found(format!("no {}", name.display())))
    }

    async fn list(&self, dir: &usize) -> Result<Arc<[DirEntry<usize>]>> {
        self.faults.apply(&self.nodes[*dir].path).await?;
        Ok(self.entries(*dir)?.iter().map(|(name, &node)| DirEntry { name: name.clone(), node }).collect())
    }

    async fn attr(&self, node: &usize) -> Result<Attr> {
        self.faults.apply(&self.nodes[*node].path).await?;
        let (size, nlink) = match &self.nodes[*node].body {
            Body::Directory(_) => (0, 1),
            Body::File { content, .. } => (content.len() as u64, 1),
            Body::Symlink(target) => (target.len() as u64, 1),
        };
        Ok(Attr { ino: self.ino(node), kind: self.kind(node), size, mtime: MTIME, nlink })
    }

    async fn read_link(&self, node: &usize) -> Result<OsString> {
        match &self.nodes[*node].body {
            Body::Symlink(target) => Ok(target.clone()),
            _ => Err(Error::invalid("not a symbolic link")),
        }
    }

    async fn open(&self, node: &usize) -> Result<Arc<dyn OpenFile>> {
        let MemoryNode { path, body } = &self.nodes[*node];
        self.faults.apply(path).await?;
        self.faults.opens.fetch_add(1, Ordering::Relaxed);
        match body {
            Body::File { content, backing } => Ok(Arc::new(MemoryFile {
                path: path.clone(),
                content: content.clone(),
                backing: backing.clone(),
                faults: self.faults.clone(),
            })),
            _ => Err(Error::invalid("not a file")),
        }
    }
}

struct MemoryFile {
    path: String,
    content: Bytes,
    backing: Option<Arc<File>>,
    faults: Arc<Faults>,
}

impl OpenFile for MemoryFile {
    fn read_at(&self, offset: u64, len: u32) -> BoxFuture<'_, Result<Bytes>> {
        async move {
            self.faults.apply(&self.path).await?;
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.content.len());
            let end = start.saturating_add(len as usize).min(self.content.len());
            self.faults.bytes_read.fetch_add((end - start) as u64, Ordering::Relaxed);
            Ok(self.content.slice(start..end))
        }
        .boxed()
    }

    fn backing(&self) -> Option<&File> {
        self.backing.as_deref()
    }
}
