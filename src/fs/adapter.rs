//! The operations of the kernel's protocol, each unpacked, handed to the overlay, and answered.

use super::MountOptions;
use super::attr::{ABSENT_TTL, file_attr, file_type, placeholder, ttl};
use super::errno::{ErrorLog, errno};
use super::inodes::Inodes;
use super::listing::Listing;
use super::open_files::{OpenDirectories, OpenFiles};
use crate::scratch::{Caller, Lease, New, Node, Overlay, SetAttr};
use crate::tree::View;
use crate::{Error, Kind, Result};
use bytes::Bytes;
use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, InitFlags, IoctlFlags, KernelConfig, LockOwner, OpenAccMode, OpenFlags, RenameFlags,
    ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl,
    ReplyLock, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Inode numbers are never reused, so there is only one generation.
const GENERATION: Generation = Generation(0);
/// Bytes per request in either direction, and how far the kernel reads ahead.
pub(super) const REQUEST_SIZE: u32 = 1 << 20;
/// Requests that the kernel may have under way for read-ahead.
const MAX_BACKGROUND: u16 = 64;
/// Longest name, in bytes.
const MAX_NAME: usize = 255;
/// Marks a request that the kernel sends a second time, because the process that took it has gone.
const RESENT: u64 = 1 << 63;
/// Unit of the numbers in `statfs`, in bytes.
const STATFS_BLOCK: u32 = 4096;

/// What every operation works with.
pub(super) struct Shared<V: View> {
    overlay: Arc<Overlay<V>>,
    options: MountOptions,
    inodes: Inodes<V::Node>,
    files: OpenFiles,
    directories: OpenDirectories<Listing<V::Node>>,
    next_directory: AtomicU64,
    log: ErrorLog,
}

/// What a change was asked by.
#[derive(Clone, Copy)]
struct Asked {
    by: Caller,
    resent: bool,
}

impl From<&Request> for Asked {
    fn from(request: &Request) -> Self {
        let unique = request.unique().0;
        let by = Caller { request: unique & !RESENT, uid: request.uid(), gid: request.gid() };
        Self { by, resent: unique & RESENT != 0 }
    }
}

impl<V: View> Shared<V> {
    async fn node(&self, ino: u64) -> Result<Node<V::Node>> {
        match self.inodes.get(ino) {
            Some(node) => Ok(node),
            None => self.overlay.node(ino).await,
        }
    }

    async fn attr(&self, node: &Node<V::Node>) -> Result<FileAttr> {
        Ok(file_attr(&self.overlay.attr(node).await?, &self.options))
    }

    /// A node and its attributes, about to be told to the kernel under this name.
    async fn enter(&self, parent: u64, name: &OsStr, node: Node<V::Node>) -> Result<FileAttr> {
        let attr = self.attr(&node).await?;
        self.inodes.remember(parent, name, &node);
        Ok(attr)
    }

    /// Whether the change was made already, by a process that was killed before it could say so.
    async fn is_repeat(&self, asked: Asked) -> bool {
        asked.resent && self.overlay.has_done(asked.by.request).await
    }

    async fn create(&self, asked: Asked, parent: u64, name: &OsStr, new: New) -> Result<Node<V::Node>> {
        let directory = self.node(parent).await?;
        if self.is_repeat(asked).await {
            return self.overlay.lookup(&directory, name).await;
        }
        self.overlay.create(asked.by, &directory, name, new).await
    }

    /// The lease of an open file; opened again if a process before this one opened it.
    async fn lease(&self, node: &Node<V::Node>) -> Result<Lease> {
        match self.files.lease(node.ino()) {
            Some(lease) => Ok(lease),
            None => self.overlay.open(node, false).await,
        }
    }

    /// What a directory handle reads from. The start of a directory is always read anew, as `rewinddir` wants it.
    async fn listing(&self, ino: u64, handle: u64, offset: u64) -> Result<Arc<Listing<V::Node>>> {
        if offset > 0
            && let Some(pinned) = self.directories.get(handle)
        {
            return Ok(pinned);
        }
        let node = self.node(ino).await?;
        let listing = Arc::new(Listing::new(self.overlay.list(&node).await?));
        self.directories.pin(handle, listing.clone());
        Ok(listing)
    }
}

/// A reply that can tell of an error.
trait Refuse: Send + 'static {
    fn refuse(self, errno: Errno);
}

macro_rules! refuse {
    ($($reply:ty),*) => { $(impl Refuse for $reply {
        fn refuse(self, errno: Errno) {
            self.error(errno);
        }
    })* };
}
refuse!(ReplyEntry, ReplyAttr, ReplyData, ReplyEmpty, ReplyOpen, ReplyWrite, ReplyCreate, ReplyDirectory);
refuse!(ReplyDirectoryPlus);

/// What is named in the log when an operation fails.
struct Subject {
    operation: &'static str,
    ino: u64,
    name: Option<OsString>,
}

fn on(operation: &'static str, ino: u64) -> Subject {
    Subject { operation, ino, name: None }
}

fn at(operation: &'static str, ino: u64, name: &OsStr) -> Subject {
    Subject { operation, ino, name: Some(name.to_owned()) }
}

/// The file system that fuser drives.
pub(super) struct Adapter<V: View> {
    shared: Arc<Shared<V>>,
    runtime: tokio::runtime::Handle,
}

impl<V: View> Adapter<V> {
    pub(super) fn new(overlay: Arc<Overlay<V>>, options: MountOptions, runtime: tokio::runtime::Handle) -> Self {
        let inodes = Inodes::new(overlay.root());
        // Handles of an earlier process must not be taken for ours.
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        let shared = Shared {
            overlay,
            options,
            inodes,
            files: OpenFiles::new(),
            directories: OpenDirectories::new(),
            next_directory: AtomicU64::new(started),
            log: ErrorLog::default(),
        };
        Self { shared: Arc::new(shared), runtime }
    }

    fn ours(&self, ino: INodeNo) -> u64 {
        self.shared.inodes.ours(ino)
    }

    /// Does the work on the runtime, within the deadline, and answers.
    fn run<T: Send, R: Refuse, F>(
        &self,
        subject: Subject,
        reply: R,
        work: impl FnOnce(Arc<Shared<V>>) -> F,
        answer: impl FnOnce(R, T) + Send + 'static,
    ) where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let (work, shared) = (work(self.shared.clone()), self.shared.clone());
        self.runtime.spawn(async move {
            let limit = shared.options.deadline;
            let result = tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
                Err(Error::new(Kind::TimedOut, format!("no answer within {} s", limit.as_secs_f32())))
            });
            match result {
                Ok(value) => answer(reply, value),
                Err(error) => {
                    let path = || shared.inodes.path(subject.ino, subject.name.as_deref());
                    shared.log.note(subject.operation, &error, path);
                    reply.refuse(errno(error.kind()));
                }
            }
        });
    }

    fn run_entry<F>(&self, subject: Subject, reply: ReplyEntry, work: impl FnOnce(Arc<Shared<V>>) -> F)
    where
        F: Future<Output = Result<FileAttr>> + Send + 'static,
    {
        self.run(subject, reply, work, |reply, attr| reply.entry(&attr_ttl(&attr), &attr, GENERATION));
    }

    fn run_empty<F>(&self, subject: Subject, reply: ReplyEmpty, work: impl FnOnce(Arc<Shared<V>>) -> F)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.run(subject, reply, work, |reply, ()| reply.ok());
    }
}

fn attr_ttl(attr: &FileAttr) -> Duration {
    ttl(match attr.kind {
        FileType::Directory => crate::tree::NodeKind::Directory,
        FileType::Symlink => crate::tree::NodeKind::Symlink,
        _ => crate::tree::NodeKind::File,
    })
}

fn permissions(mode: u32) -> u16 {
    (mode & 0o7777) as u16
}

fn moment(time: TimeOrNow) -> SystemTime {
    match time {
        TimeOrNow::SpecificTime(time) => time,
        TimeOrNow::Now => SystemTime::now(),
    }
}

impl<V: View> Filesystem for Adapter<V> {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        for wanted in [
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_ASYNC_DIO,
            InitFlags::FUSE_HAS_RESEND,
        ] {
            // An older kernel does without.
            let _ = config.add_capabilities(wanted);
        }
        let _ = config.set_max_write(REQUEST_SIZE);
        if let Err(most) = config.set_max_readahead(REQUEST_SIZE) {
            let _ = config.set_max_readahead(most);
        }
        let _ = config.set_max_background(MAX_BACKGROUND);
        let passthrough = self.shared.options.passthrough
            && rustix::process::geteuid().is_root()
            && config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_ok()
            // 1: cached files are on an ordinary file system, not on another stacked one.
            && config.set_max_stack_depth(1).is_ok();
        if passthrough {
            self.shared.files.allow_passthrough();
        }
        tracing::debug!(abi = %config.kernel_abi(), passthrough, "the kernel is connected");
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (parent, name) = (self.ours(parent), name.to_owned());
        let work = {
            let name = name.clone();
            move |fs: Arc<Shared<V>>| async move {
                if name.len() > MAX_NAME {
                    return Err(Error::new(Kind::NameTooLong, "the name is too long"));
                }
                let directory = fs.node(parent).await?;
                match fs.overlay.lookup(&directory, &name).await {
                    Ok(node) => fs.enter(parent, &name, node).await.map(Some),
                    Err(error) if error.kind() == Kind::NotFound => Ok(None),
                    Err(error) => Err(error),
                }
            }
        };
        let options = self.shared.options.clone();
        self.run(at("lookup", parent, &name), reply, work, move |reply, found| match found {
            Some(attr) => reply.entry(&attr_ttl(&attr), &attr, GENERATION),
            // Inode 0 says that there is no such name, and lets the kernel remember it.
            None => {
                let nothing = placeholder(0, crate::tree::NodeKind::File, &options);
                reply.entry(&ABSENT_TTL, &nothing, GENERATION);
            }
        });
    }

    fn forget(&self, _request: &Request, ino: INodeNo, lookups: u64) {
        let ino = self.ours(ino);
        if self.shared.inodes.forget(ino, lookups) && self.shared.overlay.is_removed(ino) {
            let shared = self.shared.clone();
            self.runtime.spawn(async move { shared.overlay.forget(ino).await });
        }
    }

    fn getattr(&self, _request: &Request, ino: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        let ino = self.ours(ino);
        let work = move |fs: Arc<Shared<V>>| async move { fs.attr(&fs.node(ino).await?).await };
        self.run(on("getattr", ino), reply, work, |reply, attr| reply.attr(&attr_ttl(&attr), &attr));
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let (ino, asked) = (self.ours(ino), Asked::from(request));
        let (mode, atime, mtime) = (mode.map(permissions), atime.map(moment), mtime.map(moment));
        let set = SetAttr { mode, uid, gid, size, atime, mtime };
        let work = move |fs: Arc<Shared<V>>| async move {
            let node = fs.node(ino).await?;
            if size.is_some() {
                fs.files.wait_for_change(ino).await?;
            }
            Ok(file_attr(&fs.overlay.set_attr(asked.by, &node, set).await?, &fs.options))
        };
        self.run(on("setattr", ino), reply, work, |reply, attr| reply.attr(&attr_ttl(&attr), &attr));
    }

    fn readlink(&self, _request: &Request, ino: INodeNo, reply: ReplyData) {
        let ino = self.ours(ino);
        let work = move |fs: Arc<Shared<V>>| async move { fs.overlay.read_link(&fs.node(ino).await?).await };
        self.run(on("readlink", ino), reply, work, |reply, target| reply.data(target.as_bytes()));
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _device: u32,
        reply: ReplyEntry,
    ) {
        if mode & libc::S_IFMT != libc::S_IFREG {
            return reply.error(Errno::EPERM);
        }
        let new = New::File { mode: permissions(mode) };
        self.make("mknod", request, parent, name, new, reply);
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, reply: ReplyEntry) {
        let new = New::Directory { mode: permissions(mode) };
        self.make("mkdir", request, parent, name, new, reply);
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let new = New::Symlink { target: target.as_os_str().to_owned() };
        self.make("symlink", request, parent, name, new, reply);
    }

    fn link(&self, request: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (ino, parent, asked, name) = (self.ours(ino), self.ours(parent), Asked::from(request), name.to_owned());
        self.run_entry(at("link", parent, &name.clone()), reply, move |fs| async move {
            let (node, directory) = (fs.node(ino).await?, fs.node(parent).await?);
            if !fs.is_repeat(asked).await {
                fs.overlay.link(asked.by, &node, &directory, &name).await?;
            }
            fs.enter(parent, &name, node).await
        });
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (parent, asked, name) = (self.ours(parent), Asked::from(request), name.to_owned());
        self.run_empty(at("unlink", parent, &name.clone()), reply, move |fs| async move {
            if fs.is_repeat(asked).await {
                return Ok(());
            }
            fs.overlay.unlink(asked.by, &fs.node(parent).await?, &name).await
        });
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (parent, asked, name) = (self.ours(parent), Asked::from(request), name.to_owned());
        self.run_empty(at("rmdir", parent, &name.clone()), reply, move |fs| async move {
            if fs.is_repeat(asked).await {
                return Ok(());
            }
            fs.overlay.rmdir(asked.by, &fs.node(parent).await?, &name).await
        });
    }

    fn rename(
        &self,
        request: &Request,
        from: INodeNo,
        from_name: &OsStr,
        to: INodeNo,
        to_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !RenameFlags::RENAME_NOREPLACE.contains(flags) {
            return reply.error(Errno::EINVAL);
        }
        let no_replace = flags.contains(RenameFlags::RENAME_NOREPLACE);
        let (from, to, asked) = (self.ours(from), self.ours(to), Asked::from(request));
        let (from_name, to_name) = (from_name.to_owned(), to_name.to_owned());
        self.run_empty(at("rename", from, &from_name.clone()), reply, move |fs| async move {
            if fs.is_repeat(asked).await {
                return Ok(());
            }
            let (from, to) = (fs.node(from).await?, fs.node(to).await?);
            fs.overlay.rename(asked.by, (&from, &from_name), (&to, &to_name), no_replace).await
        });
    }

    fn open(&self, _request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let ino = self.ours(ino);
        let (read, write) = match flags.acc_mode() {
            OpenAccMode::O_RDONLY => (true, false),
            OpenAccMode::O_WRONLY => (false, true),
            OpenAccMode::O_RDWR => (true, true),
        };
        let work = move |fs: Arc<Shared<V>>| async move {
            let node = fs.node(ino).await?;
            if write {
                fs.files.wait_for_change(ino).await?;
            }
            fs.overlay.open(&node, read).await
        };
        let shared = self.shared.clone();
        let answer = move |reply, lease| shared.files.open(lease, ino, write, reply);
        self.run(on("open", ino), reply, work, answer);
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (parent, asked, name) = (self.ours(parent), Asked::from(request), name.to_owned());
        let subject = at("create", parent, &name);
        let work = move |fs: Arc<Shared<V>>| async move {
            let new = New::File { mode: permissions(mode) };
            let node = match fs.create(asked, parent, &name, new).await {
                // Appeared since the kernel looked; only O_EXCL minds.
                Err(error) if error.kind() == Kind::Exists && flags & libc::O_EXCL == 0 => {
                    let node = fs.overlay.lookup(&fs.node(parent).await?, &name).await?;
                    fs.files.wait_for_change(node.ino()).await?;
                    node
                }
                other => other?,
            };
            let lease = fs.overlay.open(&node, false).await?;
            let attr = fs.enter(parent, &name, node).await?;
            Ok((lease, attr))
        };
        let shared = self.shared.clone();
        self.run(subject, reply, work, move |reply, (lease, attr)| {
            let handle = shared.files.created(lease, attr.ino.0);
            reply.created(&attr_ttl(&attr), &attr, GENERATION, handle, FopenFlags::FOPEN_KEEP_CACHE);
        });
    }

    fn read(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let ino = self.ours(ino);
        let work = move |fs: Arc<Shared<V>>| async move {
            let node = fs.node(ino).await?;
            let lease = fs.lease(&node).await?;
            fs.overlay.read(&node, &lease, offset, size).await
        };
        self.run(on("read", ino), reply, work, |reply, data: Bytes| reply.data(&data));
    }

    fn write(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let (ino, data) = (self.ours(ino), Bytes::copy_from_slice(data));
        let work = move |fs: Arc<Shared<V>>| async move {
            let node = fs.node(ino).await?;
            let lease = fs.lease(&node).await?;
            fs.overlay.write(&node, &lease, offset, data).await
        };
        self.run(on("write", ino), reply, work, ReplyWrite::written);
    }

    fn release(
        &self,
        _request: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        // Dropping the last lease may have to start work on the runtime.
        let _runtime = self.runtime.enter();
        self.shared.files.close(self.ours(ino));
        reply.ok();
    }

    fn opendir(&self, _request: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let handle = self.shared.next_directory.fetch_add(1, Ordering::Relaxed);
        reply.opened(FileHandle(handle), FopenFlags::empty());
    }

    fn readdir(&self, _request: &Request, ino: INodeNo, handle: FileHandle, offset: u64, reply: ReplyDirectory) {
        let ino = self.ours(ino);
        let work = move |fs: Arc<Shared<V>>| async move { fs.listing(ino, handle.0, offset).await };
        let parent = self.shared.inodes.parent(ino);
        self.run(on("readdir", ino), reply, work, move |mut reply, listing| {
            for (own, ino, name) in [(1, ino, "."), (2, parent, "..")] {
                if offset < own && reply.add(INodeNo(ino), own, FileType::Directory, name) {
                    return reply.ok();
                }
            }
            for entry in listing.after(offset) {
                if reply.add(INodeNo(entry.node.ino()), entry.offset, file_type(entry.node.kind()), &entry.name) {
                    break;
                }
            }
            reply.ok();
        });
    }

    fn readdirplus(
        &self,
        _request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        reply: ReplyDirectoryPlus,
    ) {
        let ino = self.ours(ino);
        let parent = self.shared.inodes.parent(ino);
        let work = move |fs: Arc<Shared<V>>| async move {
            let listing = fs.listing(ino, handle.0, offset).await?;
            let mut entries = Vec::new();
            for (index, entry) in listing.after(offset).iter().enumerate() {
                if index == MAX_PLUS {
                    break;
                }
                // One file's trouble must not hide the others: whoever wants its attributes is told then.
                let attr = fs.attr(&entry.node).await.inspect_err(|error| {
                    fs.log.note("readdirplus", error, || fs.inodes.path(ino, Some(&entry.name)));
                });
                entries.push(attr.ok());
            }
            Ok((fs, listing, entries))
        };
        self.run(on("readdirplus", ino), reply, work, move |mut reply, (fs, listing, attrs)| {
            for (own, ino, name) in [(1, ino, "."), (2, parent, "..")] {
                let attr = placeholder(ino, crate::tree::NodeKind::Directory, &fs.options);
                if offset < own && reply.add(attr.ino, own, name, &Duration::ZERO, &attr, GENERATION) {
                    return reply.ok();
                }
            }
            for (entry, attr) in listing.after(offset).iter().zip(attrs) {
                let (attr, ttl) = match attr {
                    Some(attr) => (attr, attr_ttl(&attr)),
                    None => (placeholder(entry.node.ino(), entry.node.kind(), &fs.options), Duration::ZERO),
                };
                // Counted first: the kernel may forget it as soon as it is told.
                fs.inodes.remember(ino, &entry.name, &entry.node);
                if reply.add(attr.ino, entry.offset, &entry.name, &ttl, &attr, GENERATION) {
                    fs.inodes.forget(attr.ino.0, 1);
                    break;
                }
            }
            reply.ok();
        });
    }

    fn releasedir(&self, _request: &Request, _ino: INodeNo, handle: FileHandle, _flags: OpenFlags, reply: ReplyEmpty) {
        self.shared.directories.close(handle.0);
        reply.ok();
    }

    fn statfs(&self, _request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        // Free is what the scratch layer still takes; the backup itself has no size that could be filled.
        let usage = self.shared.overlay.usage();
        let block = u64::from(STATFS_BLOCK);
        let free = usage.limit_bytes.saturating_sub(usage.bytes) / block;
        let free_names = usage.limit_names.saturating_sub(usage.names);
        let (blocks, files) = (usage.limit_bytes / block, usage.limit_names);
        reply.statfs(blocks, free, free, files, free_names, STATFS_BLOCK, MAX_NAME as u32, STATFS_BLOCK);
    }

    // ENOSYS is an answer that the kernel remembers: it never asks again, and does what is said beside each.

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS); // Succeeds: nothing is held back.
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS); // Succeeds: scratch outlives the daemon, not the machine.
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS); // Succeeds.
    }

    fn access(&self, _: &Request, _: INodeNo, _: AccessFlags, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS); // Not asked: with default_permissions the kernel goes by the mode bits.
    }

    fn setxattr(&self, _: &Request, _: INodeNo, _: &OsStr, _: &[u8], _: i32, _: u32, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS); // EOPNOTSUPP.
    }

    fn getxattr(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, reply: ReplyXattr) {
        reply.error(Errno::ENOSYS); // EOPNOTSUPP.
    }

    fn listxattr(&self, _: &Request, _: INodeNo, _: u32, reply: ReplyXattr) {
        reply.error(Errno::ENOSYS); // EOPNOTSUPP.
    }

    fn removexattr(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS); // EOPNOTSUPP.
    }

    fn fallocate(&self, _: &Request, _: INodeNo, _: FileHandle, _: u64, _: u64, _: i32, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS); // EOPNOTSUPP; posix_fallocate then writes zeros.
    }

    fn lseek(&self, _: &Request, _: INodeNo, _: FileHandle, _: i64, _: i32, reply: ReplyLseek) {
        reply.error(Errno::ENOSYS); // SEEK_DATA and SEEK_HOLE see a file without holes.
    }

    fn copy_file_range(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        _: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        reply.error(Errno::ENOSYS); // The kernel reads and writes.
    }

    fn getlk(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: LockOwner,
        _: u64,
        _: u64,
        _: i32,
        _: u32,
        reply: ReplyLock,
    ) {
        reply.error(Errno::ENOSYS); // The kernel keeps locks itself.
    }

    fn ioctl(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        _: u32,
        _: &[u8],
        _: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOTTY);
    }
}

/// Entries whose attributes are gathered for one answer: more than fit into the kernel's usual buffer.
const MAX_PLUS: usize = 256;

impl<V: View> Adapter<V> {
    fn make(
        &self,
        operation: &'static str,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new: New,
        reply: ReplyEntry,
    ) {
        let (parent, asked, name) = (self.ours(parent), Asked::from(request), name.to_owned());
        self.run_entry(at(operation, parent, &name.clone()), reply, move |fs| async move {
            let node = fs.create(asked, parent, &name, new).await?;
            fs.enter(parent, &name, node).await
        });
    }
}
