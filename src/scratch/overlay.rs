//! The merged tree as readers see it.

use super::ScratchOptions;
use super::lease::{Lease, Leases};
use super::node::{Attr, Backup, Entry, Node, Place, Shadowed, Usage};
use super::state::{Body, Dir, Name, State, UpperEntry};
use super::upper::{Upper, read_only};
use crate::task::{blocking, lock};
use crate::view::{NodeKind, OpenFile, View};
use crate::{Error, Kind, Result};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::{Arc, Mutex, MutexGuard};

/// A [`View`] with a writable layer above it, or none for a strictly read-only mount.
pub struct Overlay<V: View> {
    pub(super) view: V,
    pub(super) leases: Arc<Leases>,
    /// Backup nodes that have attributes or names of their own, by inode number.
    adopted: Mutex<HashMap<u64, Backup<V::Node>>>,
    root: Arc<Place>,
}

impl<V: View> Overlay<V> {
    /// Starts an empty layer; what an earlier mount left in the directory is removed. Blocks on
    /// local files.
    ///
    /// [`Kind::Busy`] if another process uses the directory.
    pub fn new(view: V, options: &ScratchOptions) -> Result<Self> {
        Ok(Self::with(view, Some(Upper::create(options)?)))
    }

    /// Goes on with the layer of a process that was stopped or killed. Blocks on local files.
    pub fn resume(view: V, options: &ScratchOptions) -> Result<Self> {
        Ok(Self::with(view, Some(Upper::resume(options)?)))
    }

    /// Every change fails with [`Kind::ReadOnly`].
    pub fn read_only(view: V) -> Self {
        Self::with(view, None)
    }

    fn with(view: V, upper: Option<Upper>) -> Self {
        Self { view, leases: Arc::new(Leases::new(upper)), adopted: Mutex::default(), root: Arc::default() }
    }

    pub fn is_read_only(&self) -> bool {
        self.leases.upper.is_none()
    }

    pub fn view(&self) -> &V {
        &self.view
    }

    pub fn usage(&self) -> Usage {
        let Some(upper) = &self.leases.upper else { return Usage::default() };
        Usage {
            bytes: upper.budget.used(),
            limit_bytes: upper.budget.limit(),
            names: upper.state().weight() as u64,
            limit_names: upper.limit_names() as u64,
        }
    }

    pub fn root(&self) -> Node<V::Node> {
        self.backup_node(self.view.root(), self.root.clone())
    }

    fn backup_node(&self, node: V::Node, place: Arc<Place>) -> Node<V::Node> {
        Node { ino: self.view.ino(&node), kind: self.view.kind(&node), backup: Some((node, place)) }
    }

    /// A look at the state; `f` must not block. `None` where there is no upper layer.
    pub(super) fn with_state<T>(&self, f: impl FnOnce(&State) -> T) -> Option<T> {
        self.leases.upper.as_ref().map(|upper| f(&upper.state()))
    }

    pub(super) fn seen(&self, dir: u64, name: &OsStr) -> UpperEntry {
        self.with_state(|state| state.seen(dir, name.as_bytes())).unwrap_or(UpperEntry::Below)
    }

    /// [`Kind::NotFound`] only if neither layer has the name.
    pub async fn lookup(&self, dir: &Node<V::Node>, name: &OsStr) -> Result<Node<V::Node>> {
        match self.seen(dir.ino, name) {
            UpperEntry::Node { ino, .. } => self.node(ino).await,
            UpperEntry::Absent { .. } => Err(absent(name)),
            UpperEntry::Below => self.lookup_below(dir, name).await,
        }
    }

    /// What the backup has under this name.
    pub(super) async fn lookup_below(&self, dir: &Node<V::Node>, name: &OsStr) -> Result<Node<V::Node>> {
        let Some((below, place)) = &dir.backup else { return Err(absent(name)) };
        let node = self.view.lookup(below, name).await?;
        Ok(self.backup_node(node, place.child(name.to_owned())))
    }

    /// The node of an inode that the scratch layer knows; [`Kind::Changed`] for others.
    pub async fn node(&self, ino: u64) -> Result<Node<V::Node>> {
        let known = self.with_state(|state| {
            let inode = state.inodes.get(&ino)?;
            let path = if let Body::Backup { path, .. } = &inode.body { Some(path.clone()) } else { None };
            // A copied-up file is the backup's no more, but its inode still is: keep whatever is
            // known of it.
            Some((inode.kind(), path))
        });
        let Some((kind, path)) = known.flatten() else {
            return Err(Error::new(Kind::Changed, format!("inode {ino:#x} is not known any more")));
        };
        if let Some(backup) = self.adopted().get(&ino) {
            return Ok(Node { ino, kind, backup: Some(backup.clone()) });
        }
        let Some(path) = path else { return Ok(Node::own(ino, kind)) };
        // Only after a restart: the journal says where the node is.
        let mut node = self.root();
        for name in path {
            node = self.lookup_below(&node, &OsString::from_vec(name)).await?;
        }
        if node.ino != ino {
            return Err(Error::new(Kind::Changed, "the backup has something else under this name now"));
        }
        if let Some(backup) = &node.backup {
            self.adopt(ino, backup.clone());
        }
        Ok(node)
    }

    fn adopted(&self) -> MutexGuard<'_, HashMap<u64, Backup<V::Node>>> {
        lock(&self.adopted)
    }

    /// Remembers the backup's node of an inode that is about to get attributes or names of its own.
    pub(super) fn adopt(&self, ino: u64, backup: Backup<V::Node>) {
        self.adopted().entry(ino).or_insert(backup);
    }

    /// Whether a name that was listed still leads to the same node. No I/O.
    pub fn is_current(&self, dir: u64, name: &OsStr, node: &Node<V::Node>) -> bool {
        match self.seen(dir, name) {
            UpperEntry::Node { ino, .. } => ino == node.ino,
            UpperEntry::Absent { .. } => false,
            // A node of the backup under a name of the scratch layer's has lost that.
            UpperEntry::Below => node.backup.as_ref().is_some_and(|(_, place)| place.is_named(name)),
        }
    }

    /// The merged entries of a directory without `.` and `..`, sorted by name.
    pub async fn list(&self, dir: &Node<V::Node>) -> Result<Vec<Entry<V::Node>>> {
        let upper = self.with_state(|state| state.dirs.get(&dir.ino).cloned()).flatten().unwrap_or_default();
        let mut entries = Vec::new();
        if let Some((below, place)) = dir.backup.as_ref().filter(|_| !upper.opaque) {
            for entry in self.view.list(below).await?.iter() {
                if !upper.names.contains_key(entry.name.as_bytes()) {
                    let node = self.backup_node(entry.node.clone(), place.child(entry.name.clone()));
                    entries.push(Entry { name: entry.name.clone(), node });
                }
            }
        }
        for (name, upper) in upper.names {
            let Name::Node { ino, .. } = upper else { continue };
            match self.node(ino).await {
                Ok(node) => entries.push(Entry { name: OsString::from_vec(name), node }),
                // Removed since the state was looked at.
                Err(error)
                    if error.kind() == Kind::Changed
                        && self.with_state(|s| s.inodes.contains_key(&ino)) == Some(false) => {}
                Err(error) => return Err(error),
            }
        }
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    pub async fn attr(&self, node: &Node<V::Node>) -> Result<Attr> {
        let own = self.with_state(|state| {
            let dir = state.dirs.get(&node.ino);
            (state.inodes.get(&node.ino).map(|inode| own_attr(node.ino, inode, dir)), dir.and_then(|dir| dir.changed))
        });
        let (own, changed) = own.unwrap_or_default();
        if let Some(attr) = own {
            return Ok(attr);
        }
        let Some((below, _)) = &node.backup else {
            return Err(Error::new(Kind::Changed, format!("inode {:#x} is not known any more", node.ino)));
        };
        let mut attr = Attr::of_backup(&self.view.attr(below).await?);
        if let Some(changed) = changed {
            (attr.mtime, attr.ctime, attr.nlink) = (changed.into(), changed.into(), 1);
        }
        Ok(attr)
    }

    /// Target of a symbolic link.
    pub async fn read_link(&self, node: &Node<V::Node>) -> Result<OsString> {
        let own = self.with_state(|state| match &state.inodes.get(&node.ino)?.body {
            Body::Symlink { target } => Some(OsString::from_vec(target.clone())),
            _ => None,
        });
        match (own.flatten(), &node.backup) {
            (Some(target), _) => Ok(target),
            (None, Some((below, _))) => self.view.read_link(below).await,
            (None, None) => Err(Error::invalid("not a symbolic link")),
        }
    }

    /// Takes a lease on a file's content. With `read`, the backup's content is opened where it is
    /// still what counts.
    pub async fn open(&self, node: &Node<V::Node>, read: bool) -> Result<Lease> {
        match node.kind {
            NodeKind::File => {}
            NodeKind::Directory => return Err(Error::new(Kind::IsDirectory, "a directory cannot be opened as a file")),
            NodeKind::Symlink => return Err(Error::invalid("a symbolic link cannot be opened as a file")),
        }
        let lease = self.leases.take(node.ino)?;
        self.attach_own_content(&lease).await?;
        if read && lease.slot.file.get().is_none() {
            self.backup_content(node, &lease).await?;
        }
        Ok(lease)
    }

    /// Takes a lease on an inode that an earlier process opened. [`Kind::Changed`] if its content
    /// has gone.
    pub fn hold(&self, ino: u64) -> Result<Lease> {
        self.leases.take(ino)
    }

    /// Whether the scratch layer itself knows the inode.
    pub fn knows(&self, ino: u64) -> bool {
        self.with_state(|state| state.inodes.contains_key(&ino)).unwrap_or(false)
    }

    /// Frees the contents that no name and no lease leads to: an earlier process was stopped before
    /// it could.
    pub fn free_unused(&self) {
        let nameless = |state: &State| -> Vec<u64> {
            state.inodes.iter().filter(|(_, inode)| inode.names == 0).map(|(&ino, _)| ino).collect()
        };
        for ino in self.with_state(nameless).unwrap_or_default() {
            self.leases.free_if_unused(ino);
        }
    }

    /// Opens the content file of an inode that has one.
    pub(super) async fn attach_own_content(&self, lease: &Lease) -> Result<()> {
        let own = |state: &State| matches!(state.inodes.get(&lease.ino).map(|i| &i.body), Some(Body::File { .. }));
        if lease.slot.file.get().is_some() || !self.with_state(own).unwrap_or(false) {
            return Ok(());
        }
        let (leases, slot, ino) = (self.leases.clone(), lease.slot.clone(), lease.ino);
        blocking(move || {
            let upper = leases.upper.as_ref().ok_or_else(read_only)?;
            slot.permit()?;
            let file = upper.open_content(ino)?;
            let _ = slot.file.set(Arc::new(file));
            Ok(())
        })
        .await
    }

    pub(super) async fn backup_content(&self, node: &Node<V::Node>, lease: &Lease) -> Result<Arc<dyn OpenFile>> {
        let Some((below, _)) = &node.backup else {
            return Err(Error::new(Kind::Changed, "the file was removed"));
        };
        lease.slot.backup.get_or_try_init(|| self.view.open(below)).await.cloned()
    }

    /// Empties the layer, as if nothing had ever been changed, and says what a kernel may still
    /// have cached of it.
    ///
    /// [`Kind::Busy`] while files of its own are open.
    pub async fn reset(&self) -> Result<Shadowed> {
        if self.leases.has_own_in_use() {
            return Err(Error::new(Kind::Busy, "files of the scratch layer are open"));
        }
        let leases = self.leases.clone();
        let old = blocking(move || leases.upper.as_ref().map_or_else(|| Ok(State::default()), Upper::reset));
        let old = old.await?;
        self.adopted().clear();
        let names = old
            .dirs
            .iter()
            .flat_map(|(&dir, upper)| upper.names.keys().map(move |name| (dir, OsStr::from_bytes(name).to_owned())));
        let names = names.collect();
        Ok(Shadowed { names, inodes: old.inodes.into_keys().chain(old.dirs.into_keys()).collect() })
    }
}

fn own_attr(ino: u64, inode: &super::state::Inode, dir: Option<&Dir>) -> Attr {
    let nlink = match (&inode.body, inode.kind()) {
        (_, NodeKind::Directory) if inode.names == 0 => 0,
        (Body::Directory, _) => 2 + dir.map_or(0, |dir| dir.subdirectories),
        (_, NodeKind::Directory) => 1,
        _ => inode.names,
    };
    Attr {
        ino,
        kind: inode.kind(),
        size: inode.size(),
        nlink,
        mode: inode.mode,
        uid: inode.uid,
        gid: inode.gid,
        atime: inode.atime.into(),
        mtime: inode.mtime.into(),
        ctime: inode.ctime.into(),
    }
}

pub(super) fn absent(name: &OsStr) -> Error {
    Error::not_found(format!("there is no {}", name.to_string_lossy()))
}
