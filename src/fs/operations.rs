//! The operations of the kernel's protocol: each unpacked, handed to the overlay, and answered.

use super::adapter::{Adapter, ChangeRequest, GENERATION, Shared, at, attr_ttl, on};
use super::attr::{ABSENT_TTL, file_attr, file_type, placeholder};
use crate::scratch::{New, SetAttr};
use crate::view::{NodeKind, View};
use crate::{Error, Kind};
use bytes::Bytes;
use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, FileType, Filesystem, FopenFlags, INodeNo,
    InitFlags, IoctlFlags, KernelConfig, LockOwner, OpenAccMode, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLock, ReplyLseek,
    ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

/// Bytes per request in either direction, and how far the kernel reads ahead.
pub(super) const REQUEST_SIZE: u32 = 1 << 20;
/// Requests that the kernel may have under way for read-ahead.
const MAX_BACKGROUND: u16 = 64;
/// Longest name, in bytes.
const MAX_NAME: usize = 255;
/// Unit of the numbers in `statfs`, in bytes.
const STATFS_BLOCK: u32 = 4096;
/// Entries whose attributes are gathered for one answer: more than fit into the kernel's usual
/// buffer.
const MAX_PLUS: usize = 256;

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

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (parent, name) = (self.ours(parent), name.to_owned());
        let work = {
            let name = name.clone();
            move |fs: Arc<Shared<V>>| {
                let name = name.clone();
                async move {
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
            }
        };
        let options = self.shared.options.clone();
        self.run_patiently(at("lookup", request, parent, &name), reply, work, move |reply, found| {
            // Inode 0 says that there is no such name, and lets the kernel remember it.
            let attr = found.unwrap_or_else(|| placeholder(0, NodeKind::File, &options));
            let ttl = if found.is_some() { attr_ttl(&attr) } else { ABSENT_TTL };
            reply.entry(&ttl, &attr, GENERATION);
        });
    }

    fn forget(&self, _request: &Request, ino: INodeNo, lookups: u64) {
        let ino = self.ours(ino);
        if self.shared.inodes.forget(ino, lookups) && self.shared.overlay.is_removed(ino) {
            let shared = self.shared.clone();
            self.runtime.spawn(async move { shared.overlay.forget(ino).await });
        }
    }

    fn getattr(&self, request: &Request, ino: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        let ino = self.ours(ino);
        let work = move |fs: Arc<Shared<V>>| async move { fs.attr(&fs.node(ino).await?).await };
        self.run_patiently(on("getattr", request, ino), reply, work, |reply, attr| reply.attr(&attr_ttl(&attr), &attr));
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
        let (ino, asked) = (self.ours(ino), ChangeRequest::from(request));
        let (mode, atime, mtime) = (mode.map(permissions), atime.map(moment), mtime.map(moment));
        let set = SetAttr { mode, uid, gid, size, atime, mtime };
        let work = move |fs: Arc<Shared<V>>| async move {
            let node = fs.node(ino).await?;
            if size.is_some() {
                fs.files.wait_for_change(ino).await?;
            }
            Ok(file_attr(&fs.overlay.set_attr(asked.by, &node, set).await?, &fs.options))
        };
        self.run(on("setattr", request, ino), reply, work, |reply, attr| reply.attr(&attr_ttl(&attr), &attr));
    }

    fn readlink(&self, request: &Request, ino: INodeNo, reply: ReplyData) {
        let ino = self.ours(ino);
        let work = move |fs: Arc<Shared<V>>| async move { fs.overlay.read_link(&fs.node(ino).await?).await };
        self.run(on("readlink", request, ino), reply, work, |reply, target| reply.data(target.as_bytes()));
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
        let (ino, parent, asked, name) =
            (self.ours(ino), self.ours(parent), ChangeRequest::from(request), name.to_owned());
        self.run_entry(at("link", request, parent, &name.clone()), reply, move |fs| async move {
            let (node, directory) = (fs.node(ino).await?, fs.node(parent).await?);
            if !fs.is_repeat(asked).await? {
                fs.overlay.link(asked.by, &node, &directory, &name).await?;
            }
            fs.enter(parent, &name, node).await
        });
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (parent, asked, name) = (self.ours(parent), ChangeRequest::from(request), name.to_owned());
        self.run_empty(at("unlink", request, parent, &name.clone()), reply, move |fs| async move {
            if fs.is_repeat(asked).await? {
                return Ok(());
            }
            fs.overlay.unlink(asked.by, &fs.node(parent).await?, &name).await
        });
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (parent, asked, name) = (self.ours(parent), ChangeRequest::from(request), name.to_owned());
        self.run_empty(at("rmdir", request, parent, &name.clone()), reply, move |fs| async move {
            if fs.is_repeat(asked).await? {
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
        let (from, to, asked) = (self.ours(from), self.ours(to), ChangeRequest::from(request));
        let (from_name, to_name) = (from_name.to_owned(), to_name.to_owned());
        self.run_empty(at("rename", request, from, &from_name.clone()), reply, move |fs| async move {
            if fs.is_repeat(asked).await? {
                return Ok(());
            }
            let (from, to) = (fs.node(from).await?, fs.node(to).await?);
            fs.overlay.rename(asked.by, (&from, &from_name), (&to, &to_name), no_replace).await
        });
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let (ino, handle) = (self.ours(ino), ChangeRequest::from(request).by.request);
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
        let answer = move |reply, lease| shared.files.open(lease, ino, handle, write, reply);
        self.run_patiently(on("open", request, ino), reply, work, answer);
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
        let (parent, asked, name) = (self.ours(parent), ChangeRequest::from(request), name.to_owned());
        let subject = at("create", request, parent, &name);
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
            let handle = shared.files.created(lease, attr.ino.0, asked.by.request);
            reply.created(&attr_ttl(&attr), &attr, GENERATION, handle, FopenFlags::FOPEN_KEEP_CACHE);
        });
    }

    fn read(
        &self,
        request: &Request,
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
        self.run_patiently(on("read", request, ino).range(offset, size.into()), reply, work, |reply, data: Bytes| {
            reply.data(&data);
        });
    }

    fn write(
        &self,
        request: &Request,
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
        let subject = on("write", request, ino).range(offset, data.len() as u64);
        let work = move |fs: Arc<Shared<V>>| async move {
            let node = fs.node(ino).await?;
            let lease = fs.lease(&node).await?;
            fs.overlay.write(&node, &lease, offset, data).await
        };
        self.run(subject, reply, work, ReplyWrite::written);
    }

    fn release(
        &self,
        _request: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        // Dropping the last lease may have to start work on the runtime.
        let _runtime = self.runtime.enter();
        self.shared.files.close(handle.0);
        reply.ok();
    }

    fn opendir(&self, _request: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let handle = self.shared.next_directory.fetch_add(1, Ordering::Relaxed);
        reply.opened(FileHandle(handle), FopenFlags::empty());
    }

    fn readdir(&self, request: &Request, ino: INodeNo, handle: FileHandle, offset: u64, reply: ReplyDirectory) {
        let ino = self.ours(ino);
        let work = move |fs: Arc<Shared<V>>| async move { fs.listing(ino, handle.0, offset).await };
        let parent = self.shared.inodes.parent(ino);
        self.run(on("readdir", request, ino), reply, work, move |mut reply, listing| {
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

    fn readdirplus(&self, request: &Request, ino: INodeNo, handle: FileHandle, offset: u64, reply: ReplyDirectoryPlus) {
        let ino = self.ours(ino);
        let parent = self.shared.inodes.parent(ino);
        let work = move |fs: Arc<Shared<V>>| async move {
            let listing = fs.listing(ino, handle.0, offset).await?;
            let (mut entries, mut shown) = (Vec::new(), 0);
            for entry in listing.after(offset) {
                if shown == MAX_PLUS {
                    break;
                }
                // Moved or removed since it was listed: the kernel would take its word for that it
                // is there.
                if !fs.overlay.is_current(ino, &entry.name, &entry.node) {
                    entries.push(None);
                    continue;
                }
                shown += 1;
                // One file's trouble must not hide the others: whoever wants its attributes is told
                // then.
                let attr = fs.attr(&entry.node).await.inspect_err(|error| {
                    fs.log.note("readdirplus", error, || fs.inodes.path(ino, Some(&entry.name)));
                });
                let absent = placeholder(entry.node.ino(), entry.node.kind(), &fs.options);
                entries.push(Some(attr.map_or((absent, Duration::ZERO), |attr| (attr, attr_ttl(&attr)))));
            }
            Ok((fs, listing, entries))
        };
        self.run(on("readdirplus", request, ino), reply, work, move |mut reply, (fs, listing, attrs)| {
            for (own, ino, name) in [(1, ino, "."), (2, parent, "..")] {
                let attr = placeholder(ino, NodeKind::Directory, &fs.options);
                if offset < own && reply.add(attr.ino, own, name, &Duration::ZERO, &attr, GENERATION) {
                    return reply.ok();
                }
            }
            let mut told = Vec::with_capacity(attrs.len());
            for (entry, attr) in listing.after(offset).iter().zip(attrs) {
                let Some((attr, ttl)) = attr else { continue };
                if reply.add(attr.ino, entry.offset, &entry.name, &ttl, &attr, GENERATION) {
                    break;
                }
                told.push((&*entry.name, &entry.node));
            }
            // Counted first: the kernel may forget it as soon as it is told.
            fs.inodes.remember_all(ino, &told);
            reply.ok();
        });
    }

    fn releasedir(&self, _request: &Request, _ino: INodeNo, handle: FileHandle, _flags: OpenFlags, reply: ReplyEmpty) {
        self.shared.directories.close(handle.0);
        reply.ok();
    }

    fn statfs(&self, _request: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        // Free is what the scratch layer still takes; the backup itself has no size that could be
        // filled.
        let usage = self.shared.overlay.usage();
        let block = u64::from(STATFS_BLOCK);
        let free = usage.limit_bytes.saturating_sub(usage.bytes) / block;
        let free_names = usage.limit_names.saturating_sub(usage.names);
        let (blocks, files) = (usage.limit_bytes / block, usage.limit_names);
        reply.statfs(blocks, free, free, files, free_names, STATFS_BLOCK, MAX_NAME as u32, STATFS_BLOCK);
    }

    // ENOSYS is an answer that the kernel remembers: it never asks again, and does what is said
    // beside each.

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
