//! What a tree shows: every path with what can be seen of it, of a [`View`] in process or of a
//! directory on the disk.

use cassmount::Result;
use cassmount::time::Timestamp;
use cassmount::view::{NodeKind, View};
use futures::FutureExt;
use futures::future::BoxFuture;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A file, link or directory as seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seen {
    Directory,
    /// Size in bytes, SHA-256 in hex, time.
    File(u64, String, Timestamp),
    Link(String),
}

/// By path below where the walk began.
pub type Tree = BTreeMap<String, Seen>;

impl Seen {
    pub fn file(content: &[u8], mtime: Timestamp) -> Self {
        Self::File(content.len() as u64, sha256(content), mtime)
    }
}

pub fn sha256(content: &[u8]) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(content) {
        write!(hex, "{byte:02x}").unwrap();
    }
    hex
}

/// The node at a `/`-separated path.
pub async fn node_at<V: View>(view: &V, path: &str) -> Result<V::Node> {
    let mut node = view.root();
    for name in path.split('/').filter(|name| !name.is_empty()) {
        node = view.lookup(&node, OsStr::new(name)).await?;
    }
    Ok(node)
}

/// All of a file.
pub async fn read_all<V: View>(view: &V, node: &V::Node) -> Result<Vec<u8>> {
    let file = view.open(node).await?;
    let mut content = Vec::new();
    loop {
        let bytes = file.read_at(content.len() as u64, 128 << 10).await?;
        if bytes.is_empty() {
            return Ok(content);
        }
        content.extend_from_slice(&bytes);
    }
}

/// The names that a directory shows.
pub async fn names<V: View>(view: &V, path: &str) -> Result<Vec<String>> {
    let listed = view.list(&node_at(view, path).await?).await?;
    Ok(listed.iter().map(|entry| entry.name.to_str().unwrap().to_owned()).collect())
}

/// Everything below a path, checking on the way that `list`, `lookup`, `ino` and `attr` agree.
pub async fn walk_view<V: View>(view: &V, path: &str) -> Tree {
    let mut tree = Tree::new();
    let mut inos = HashSet::new();
    let root = node_at(view, path).await.unwrap();
    walk(view, root, String::new(), &mut tree, &mut inos).await;
    tree
}

fn walk<'a, V: View>(
    view: &'a V,
    node: V::Node,
    path: String,
    tree: &'a mut Tree,
    inos: &'a mut HashSet<u64>,
) -> BoxFuture<'a, ()> {
    async move {
        let listed = view.list(&node).await.unwrap_or_else(|e| panic!("{path}: {e}"));
        assert!(listed.windows(2).all(|pair| pair[0].name < pair[1].name), "{path} is not sorted");
        for entry in listed.iter() {
            let path = format!("{path}/{}", entry.name.to_str().unwrap());
            let path = path.trim_start_matches('/').to_owned();
            let found = view.lookup(&node, &entry.name).await.unwrap_or_else(|e| panic!("{path}: {e}"));
            let attr = view.attr(&entry.node).await.unwrap();
            assert_eq!((view.ino(&found), view.kind(&found)), (attr.ino, attr.kind), "{path}");
            assert_eq!(view.attr(&found).await.unwrap(), attr, "{path}");
            assert!(attr.ino != 0 && attr.ino >> 63 == 0 && inos.insert(attr.ino), "{path}: inode number");
            let seen = match attr.kind {
                NodeKind::Directory => Seen::Directory,
                NodeKind::Symlink => Seen::Link(view.read_link(&found).await.unwrap().into_string().unwrap()),
                NodeKind::File => {
                    let content = read_all(view, &found).await.unwrap_or_else(|e| panic!("{path}: {e}"));
                    assert_eq!(content.len() as u64, attr.size, "{path}");
                    Seen::file(&content, attr.mtime)
                }
            };
            let is_directory = seen == Seen::Directory;
            tree.insert(path.clone(), seen);
            if is_directory {
                walk(view, found, path, tree, inos).await;
            }
        }
    }
    .boxed()
}

/// Everything below a directory on the disk, a mounted one for instance.
pub fn walk_path(directory: &Path) -> Tree {
    fn walk(directory: &Path, prefix: &str, tree: &mut Tree) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            let meta = entry.path().symlink_metadata().unwrap();
            if meta.is_dir() {
                tree.insert(path.clone(), Seen::Directory);
                walk(&entry.path(), &format!("{path}/"), tree);
            } else if meta.is_symlink() {
                let target = std::fs::read_link(entry.path()).unwrap();
                tree.insert(path, Seen::Link(target.to_str().unwrap().to_owned()));
            } else {
                let mtime = Timestamp(meta.mtime() * 1_000_000 + meta.mtime_nsec() / 1000);
                tree.insert(path, Seen::file(&std::fs::read(entry.path()).unwrap(), mtime));
            }
        }
    }
    let mut tree = Tree::new();
    walk(directory, "", &mut tree);
    tree
}

/// Names what differs; a dump of both trees would help nobody.
pub fn assert_same(seen: &Tree, expected: &Tree) {
    let missing: Vec<_> = expected.keys().filter(|path| !seen.contains_key(*path)).take(20).collect();
    let surplus: Vec<_> = seen.keys().filter(|path| !expected.contains_key(*path)).take(20).collect();
    let different: Vec<_> =
        expected.iter().filter(|(path, e)| seen.get(*path).is_some_and(|s| s != *e)).take(5).collect();
    assert!(
        missing.is_empty() && surplus.is_empty() && different.is_empty(),
        "missing: {missing:#?}\nsurplus: {surplus:#?}\ndifferent: {different:#?}"
    );
}
