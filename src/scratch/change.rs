//! Changes of names and attributes. Each looks at the backup first, then checks and records the
//! whole change at once.

use super::lease::Leases;
use super::node::{Attr, Caller, New, Node, SetAttr};
use super::overlay::{Overlay, absent};
use super::record::{Change, Moment, NewBody, Record};
use super::state::{State, UpperEntry};
use super::upper::{Upper, read_only};
use crate::task::blocking;
use crate::view::{NodeKind, View};
use crate::{Error, Kind, Result};
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::Arc;

/// Bytes in a file name, as on every Linux file system.
const MAX_NAME: usize = 255;
/// Bytes in the target of a symbolic link.
const MAX_TARGET: usize = 4095;

fn check_name(name: &OsStr) -> Result<Vec<u8>> {
    let name = name.as_bytes();
    if name.len() > MAX_NAME {
        return Err(Error::new(Kind::NameTooLong, format!("a name of {} bytes", name.len())));
    }
    Ok(name.to_vec())
}

fn exists(name: &[u8]) -> Error {
    Error::new(Kind::Exists, format!("{} exists already", String::from_utf8_lossy(name)))
}

fn check_alive(state: &State, dir: u64) -> Result<()> {
    if state.is_removed(dir) { Err(Error::not_found("the directory was removed")) } else { Ok(()) }
}

/// Adopts a node of the backup unless that was done meanwhile.
fn adopting(state: &State, ino: u64, adoption: Option<Record>, record: Record) -> Vec<Record> {
    adoption.filter(|_| !state.inodes.contains_key(&ino)).into_iter().chain([record]).collect()
}

impl<V: View> Overlay<V> {
    /// Whether a request that the kernel sends again was carried out by an earlier process.
    pub async fn has_done(&self, request: u64) -> Result<bool> {
        let leases = self.leases.clone();
        let done = move || Ok(leases.upper.as_ref().is_some_and(|upper| upper.has_done(request)));
        blocking(done).await
    }

    /// Makes a file, directory or symbolic link.
    pub async fn create(&self, by: Caller, dir: &Node<V::Node>, name: &OsStr, new: New) -> Result<Node<V::Node>> {
        let raw = check_name(name)?;
        if let New::Symlink { target } = &new
            && (target.is_empty() || target.len() > MAX_TARGET)
        {
            return Err(Error::invalid("the target of a symbolic link has 1 to 4095 bytes"));
        }
        let below = self.below(dir, name).await?;
        // A set-group-ID directory hands its group on, and to directories the bit too.
        let parent = self.with_state(|state| state.inodes.get(&dir.ino).map(|inode| (inode.mode, inode.gid))).flatten();
        let inherited = parent.filter(|(mode, _)| mode.is_some_and(|mode| mode & 0o2000 != 0));
        let gid = inherited.map_or(Some(by.gid), |(_, gid)| gid);
        let (kind, body, mode) = match new {
            New::File { mode } => (NodeKind::File, NewBody::File, mode),
            New::Directory { mode } => {
                let inherited = if inherited.is_some() { 0o2000 } else { 0 };
                (NodeKind::Directory, NewBody::Directory, mode | inherited)
            }
            New::Symlink { target } => (NodeKind::Symlink, NewBody::Symlink(target.into_vec()), 0o777),
        };
        let (dir, at) = (dir.ino, Moment::now());
        let ino = self
            .commit(by, move |state| {
                check_alive(state, dir)?;
                if state.resolve(dir, &raw, below.map(|(ino, _)| ino)).is_some() {
                    return Err(exists(&raw));
                }
                let shadows = matches!(state.seen(dir, &raw), UpperEntry::Absent { whiteout: true });
                let (ino, uid, mode) = (state.next_ino(), by.uid, mode & 0o7777);
                Ok((vec![Record::Create { dir, name: raw, shadows, ino, body, mode, uid, gid, at }], ino))
            })
            .await?;
        Ok(Node::own(ino, kind))
    }

    /// A further name of the same file; a backup's content is not copied for it.
    pub async fn link(&self, by: Caller, node: &Node<V::Node>, dir: &Node<V::Node>, name: &OsStr) -> Result<()> {
        let raw = check_name(name)?;
        if node.kind == NodeKind::Directory {
            return Err(Error::new(Kind::NotPermitted, "a directory cannot have a second name"));
        }
        let below = self.below(dir, name).await?;
        let adoption = self.adoption(node).await?;
        let (dir, ino, at) = (dir.ino, node.ino, Moment::now());
        self.commit(by, move |state| {
            check_alive(state, dir)?;
            if state.resolve(dir, &raw, below.map(|(ino, _)| ino)).is_some() {
                return Err(exists(&raw));
            }
            if state.inodes.get(&ino).is_some_and(|inode| inode.names == 0) {
                return Err(Error::not_found("the file was removed"));
            }
            let shadows = matches!(state.seen(dir, &raw), UpperEntry::Absent { whiteout: true });
            Ok((adopting(state, ino, adoption, Record::Link { dir, name: raw, shadows, ino, at }), ()))
        })
        .await
    }

    /// Removes the name of a file or symbolic link.
    pub async fn unlink(&self, by: Caller, dir: &Node<V::Node>, name: &OsStr) -> Result<()> {
        let victim = self.lookup(dir, name).await?;
        if victim.kind == NodeKind::Directory {
            return Err(Error::new(Kind::IsDirectory, "a directory is removed with rmdir"));
        }
        self.remove(by, dir.ino, name, &victim, None).await
    }

    /// Removes an empty directory.
    pub async fn rmdir(&self, by: Caller, dir: &Node<V::Node>, name: &OsStr) -> Result<()> {
        let victim = self.lookup(dir, name).await?;
        if victim.kind != NodeKind::Directory {
            return Err(Error::new(Kind::NotDirectory, "not a directory"));
        }
        let inside = self.names_below(&victim).await?;
        self.remove(by, dir.ino, name, &victim, Some(inside)).await
    }

    /// `inside`: for a directory, the backup's names in it.
    async fn remove(
        &self,
        by: Caller,
        dir: u64,
        name: &OsStr,
        victim: &Node<V::Node>,
        inside: Option<Vec<Vec<u8>>>,
    ) -> Result<()> {
        let ino = victim.ino;
        let adoption = self.adoption_if_used(victim).await?;
        let (name, at, is_dir) = (name.as_bytes().to_vec(), Moment::now(), inside.is_some());
        let gone = absent(OsStr::from_bytes(&name));
        self.commit(by, move |state| {
            if state.resolve(dir, &name, Some(ino)) != Some(ino) {
                return Err(gone);
            }
            check_empty(state, ino, inside.as_deref())?;
            let whiteout = state.needs_whiteout(dir, &name);
            Ok((adopting(state, ino, adoption, Record::Remove { dir, name, ino, whiteout, is_dir, at }), ()))
        })
        .await?;
        self.free_if_unused(ino).await
    }

    /// Moves a name, over an existing one unless `no_replace`.
    pub async fn rename(
        &self,
        by: Caller,
        (from, from_name): (&Node<V::Node>, &OsStr),
        (to, to_name): (&Node<V::Node>, &OsStr),
        no_replace: bool,
    ) -> Result<()> {
        let (from_raw, to_raw) = (from_name.as_bytes().to_vec(), check_name(to_name)?);
        let source = self.lookup(from, from_name).await?;
        let is_dir = source.kind == NodeKind::Directory;
        if is_dir && source.backup.is_some() {
            let message = "a directory of the backup cannot be renamed, only copied";
            return Err(Error::new(Kind::CrossDevice, message));
        }
        let target = match self.lookup(to, to_name).await {
            Ok(node) => Some(node),
            Err(error) if error.kind() == Kind::NotFound => None,
            Err(error) => return Err(error),
        };
        if target.is_some() && no_replace {
            return Err(exists(&to_raw));
        }
        let mut inside = None;
        match &target {
            Some(target) if target.ino == source.ino => return Ok(()),
            Some(target) if is_dir && target.kind != NodeKind::Directory => {
                return Err(Error::new(Kind::NotDirectory, "a directory can only replace a directory"));
            }
            Some(target) if !is_dir && target.kind == NodeKind::Directory => {
                return Err(Error::new(Kind::IsDirectory, "only a directory can replace a directory"));
            }
            Some(target) if is_dir => inside = Some(self.names_below(target).await?),
            _ => {}
        }
        let adoption = self.adoption(&source).await?;
        let used = match &target {
            Some(target) => self.adoption_if_used(target).await?,
            None => None,
        };
        let (from, to, ino, at) = (from.ino, to.ino, source.ino, Moment::now());
        let target = target.map(|target| target.ino);
        let gone = absent(from_name);
        self.commit(by, move |state| {
            check_alive(state, to)?;
            if state.resolve(from, &from_raw, Some(ino)) != Some(ino) {
                return Err(gone);
            }
            let replaced = state.resolve(to, &to_raw, target);
            if replaced != target {
                // Someone else made, moved or removed the target since it was looked at.
                return Err(Error::new(Kind::Busy, "the target was changed at the same time"));
            }
            if let Some(target) = target {
                check_empty(state, target, inside.as_deref())?;
            }
            let whiteout = state.needs_whiteout(from, &from_raw);
            let shadows = match state.seen(to, &to_raw) {
                UpperEntry::Node { shadows, .. } => shadows,
                UpperEntry::Absent { whiteout } => whiteout,
                UpperEntry::Below => target.is_some(),
            };
            let replaced = replaced.map(|ino| (ino, is_dir));
            let record =
                Record::Rename { from, from_name: from_raw, to, to_name: to_raw, ino, whiteout, shadows, replaced, at };
            let used = used.filter(|_| target.is_some_and(|target| !state.inodes.contains_key(&target)));
            Ok((used.into_iter().chain(adopting(state, ino, adoption, record)).collect(), ()))
        })
        .await?;
        match target {
            Some(target) => self.free_if_unused(target).await,
            None => Ok(()),
        }
    }

    /// Changes attributes. Only a change of the size copies content up.
    pub async fn set_attr(self: &Arc<Self>, by: Caller, node: &Node<V::Node>, set: SetAttr) -> Result<Attr> {
        if self.is_read_only() {
            return Err(read_only());
        }
        if let Some(size) = set.size {
            if i64::try_from(size).is_err() {
                return Err(Error::invalid("a file cannot be that long"));
            }
            self.truncate(node, size).await?;
        }
        let (mode, uid, gid) = (set.mode.map(|mode| mode & 0o7777), set.uid, set.gid);
        let change = Change { mode, uid, gid, atime: set.atime.map(Moment::from), mtime: set.mtime.map(Moment::from) };
        if change != Change::default() {
            let adoption = self.adoption(node).await?;
            let (ino, at) = (node.ino, Moment::now());
            let mtime = change.mtime;
            self.commit(by, move |state| Ok((adopting(state, ino, adoption, Record::SetAttr { ino, change, at }), ())))
                .await?;
            if let Some(mtime) = mtime {
                let leases = self.leases.clone();
                blocking(move || upper(&leases)?.stamp(ino, mtime)).await?;
            }
        }
        self.attr(node).await
    }

    /// Whether no name leads to an inode of the scratch layer any more.
    pub fn is_removed(&self, ino: u64) -> bool {
        self.with_state(|state| state.inodes.get(&ino).is_some_and(|inode| inode.names == 0)).unwrap_or(false)
    }

    /// The kernel forgot this inode: what was kept of a removed one can go.
    pub async fn forget(&self, ino: u64) {
        let forgotten = self.commit(Caller::default(), move |state| {
            let removed = state.inodes.get(&ino).is_some_and(|inode| inode.names == 0);
            Ok((if removed { vec![Record::Forget { ino }] } else { Vec::new() }, ()))
        });
        if let Err(error) = forgotten.await {
            tracing::debug!(%error, "a removed inode is remembered longer than it need be");
        }
    }

    async fn commit<T: Send + 'static>(
        &self,
        by: Caller,
        plan: impl FnOnce(&State) -> Result<(Vec<Record>, T)> + Send + 'static,
    ) -> Result<T> {
        let leases = self.leases.clone();
        blocking(move || upper(&leases)?.commit(by.request, plan)).await
    }

    async fn free_if_unused(&self, ino: u64) -> Result<()> {
        let leases = self.leases.clone();
        blocking(move || {
            leases.free_if_unused(ino);
            Ok(())
        })
        .await
    }

    /// What the backup has under a name that the upper layer says nothing about.
    async fn below(&self, dir: &Node<V::Node>, name: &OsStr) -> Result<Option<(u64, NodeKind)>> {
        if self.is_read_only() {
            return Err(read_only());
        }
        if self.seen(dir.ino, name) != UpperEntry::Below {
            return Ok(None);
        }
        match self.lookup_below(dir, name).await {
            Ok(node) => Ok(Some((node.ino, node.kind))),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            // An outage must not let a name be made that may exist already.
            Err(error) => Err(error),
        }
    }

    /// The backup's names in a directory, hidden or not.
    async fn names_below(&self, dir: &Node<V::Node>) -> Result<Vec<Vec<u8>>> {
        let Some((below, _)) = &dir.backup else { return Ok(Vec::new()) };
        let entries = self.view.list(below).await?;
        Ok(entries.iter().map(|entry| entry.name.as_bytes().to_vec()).collect())
    }

    /// A file that is open when its last name goes lives on: the upper layer must know that it has
    /// no name.
    async fn adoption_if_used(&self, node: &Node<V::Node>) -> Result<Option<Record>> {
        if self.leases.is_used(node.ino) { self.adoption(node).await } else { Ok(None) }
    }

    /// The record that makes a node of the backup known to the upper layer; `None` if it is.
    pub(super) async fn adoption(&self, node: &Node<V::Node>) -> Result<Option<Record>> {
        let Some((_, place)) = &node.backup else { return Ok(None) };
        if self.with_state(|state| state.inodes.contains_key(&node.ino)).unwrap_or(true) {
            return Ok(None);
        }
        let attr = self.attr(node).await?;
        if let Some(backup) = &node.backup {
            self.adopt(node.ino, backup.clone());
        }
        let (ino, kind, size, mtime) = (node.ino, node.kind, attr.size, attr.mtime.into());
        Ok(Some(Record::Adopt { ino, kind, path: place.path(), size, mtime }))
    }
}

fn upper(leases: &Leases) -> Result<&Upper> {
    leases.upper.as_ref().ok_or_else(read_only)
}

fn check_empty(state: &State, dir: u64, inside: Option<&[Vec<u8>]>) -> Result<()> {
    match inside {
        Some(names) if !state.is_empty(dir, names.iter().map(Vec::as_slice)) => {
            Err(Error::new(Kind::NotEmpty, "the directory is not empty"))
        }
        _ => Ok(()),
    }
}
