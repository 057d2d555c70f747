//! What the operations share: the way from a request to a task on the runtime, and from its result
//! to an answer.

use super::MountOptions;
use super::aftermath::{Fingerprint, RESENT, Resent};
use super::attr::{file_attr, ttl};
use super::backing::Backings;
use super::errno::{ErrorLog, errno};
use super::inodes::Inodes;
use super::listing::Listing;
use super::open_files::{OpenDirectories, OpenFiles};
use super::waits::{interrupted, killed};
use crate::scratch::{Caller, Lease, New, Node, Overlay};
use crate::view::{NodeKind, View};
use crate::{Error, Kind, Result};
use fuser::{
    Errno, FileAttr, FileType, Generation, INodeNo, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request,
};
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tracing::Instrument;

/// Inode numbers are never reused, so there is only one generation.
pub(super) const GENERATION: Generation = Generation(0);

/// What every operation works with.
pub(super) struct Shared<V: View> {
    pub(super) overlay: Arc<Overlay<V>>,
    pub(super) options: MountOptions,
    pub(super) inodes: Inodes<V::Node>,
    pub(super) files: OpenFiles,
    pub(super) directories: OpenDirectories<Listing<V::Node>>,
    pub(super) next_directory: AtomicU64,
    pub(super) log: ErrorLog,
    resent: Resent,
}

/// What a change was asked by.
#[derive(Clone, Copy)]
pub(super) struct ChangeRequest {
    pub(super) by: Caller,
    resent: bool,
}

impl From<&Request> for ChangeRequest {
    fn from(request: &Request) -> Self {
        let unique = request.unique().0;
        let by = Caller { request: unique & !RESENT, uid: request.uid(), gid: request.gid() };
        Self { by, resent: unique & RESENT != 0 }
    }
}

impl<V: View> Shared<V> {
    pub(super) async fn node(&self, ino: u64) -> Result<Node<V::Node>> {
        if let Some(node) = self.inodes.get(ino) {
            return Ok(node);
        }
        let known = if self.overlay.knows(ino) { None } else { self.inodes.place(ino) };
        let Some((parent, name)) = known else { return self.overlay.node(ino).await };
        // The kernel was told of it by the process before this one, or so long ago that it is not
        // held any more.
        let directory = Box::pin(self.node(parent)).await?;
        let gone = || Error::new(Kind::Changed, format!("{} is not what it was any more", name.display()));
        let found = self.overlay.lookup(&directory, &name).await;
        let node = found.map_err(|error| if error.kind() == Kind::NotFound { gone() } else { error })?;
        if node.ino() != ino {
            return Err(gone());
        }
        self.inodes.attach(&node);
        Ok(node)
    }

    pub(super) async fn attr(&self, node: &Node<V::Node>) -> Result<FileAttr> {
        Ok(file_attr(&self.overlay.attr(node).await?, &self.options))
    }

    /// A node and its attributes, about to be told to the kernel under this name.
    pub(super) async fn enter(&self, parent: u64, name: &OsStr, node: Node<V::Node>) -> Result<FileAttr> {
        let attr = self.attr(&node).await?;
        self.inodes.remember(parent, name, &node);
        Ok(attr)
    }

    /// Whether the change was made already, by a process that was killed before it could say so.
    pub(super) async fn is_repeat(&self, asked: ChangeRequest) -> Result<bool> {
        if !asked.resent {
            return Ok(false);
        }
        self.overlay.has_done(asked.by.request).await
    }

    pub(super) async fn create(
        &self,
        asked: ChangeRequest,
        parent: u64,
        name: &OsStr,
        new: New,
    ) -> Result<Node<V::Node>> {
        let directory = self.node(parent).await?;
        if self.is_repeat(asked).await? {
            return self.overlay.lookup(&directory, name).await;
        }
        self.overlay.create(asked.by, &directory, name, new).await
    }

    /// The lease of an open file.
    pub(super) async fn lease(&self, node: &Node<V::Node>) -> Result<Lease> {
        match self.files.lease(node.ino()) {
            Some(lease) => Ok(lease),
            None => self.overlay.open(node, false).await,
        }
    }

    /// What a directory handle reads from. The start of a directory is always read anew, as
    /// `rewinddir` wants it.
    pub(super) async fn listing(&self, ino: u64, handle: u64, offset: u64) -> Result<Arc<Listing<V::Node>>> {
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
pub(super) trait Refuse: Send + 'static {
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
refuse!(ReplyDirectoryPlus, ReplyLseek, ReplyStatfs, ReplyXattr);

/// What is asked for: named in the log when an operation fails, or when a process dies of it.
pub(super) struct Subject {
    operation: &'static str,
    ino: u64,
    name: Option<OsString>,
    /// Offset and length, in bytes.
    range: Option<(u64, u64)>,
    /// The kernel's number of the request, and for whom it asks.
    unique: u64,
    pid: u32,
    uid: u32,
}

pub(super) fn on(operation: &'static str, request: &Request, ino: u64) -> Subject {
    let (unique, pid, uid) = (request.unique().0, request.pid(), request.uid());
    Subject { operation, ino, name: None, range: None, unique, pid, uid }
}

pub(super) fn at(operation: &'static str, request: &Request, ino: u64, name: &OsStr) -> Subject {
    Subject { name: Some(name.to_owned()), ..on(operation, request, ino) }
}

impl Subject {
    #[must_use]
    pub(super) fn range(self, offset: u64, length: u64) -> Self {
        Self { range: Some((offset, length)), ..self }
    }

    /// What `--debug` says of the operation, and of all that is done for it.
    fn span(&self) -> tracing::Span {
        let Self { operation, ino, unique, pid, .. } = self;
        tracing::debug_span!("operation", operation, inode = ino, pid, request = unique)
    }

    fn fingerprint(&self) -> Fingerprint {
        let name = self.name.as_deref().map_or(&b""[..], OsStr::as_bytes);
        Fingerprint::of(self.operation, self.ino, name, self.range)
    }

    fn describe<N: Clone>(&self, inodes: &Inodes<N>) -> String {
        let Self { operation, pid, uid, .. } = self;
        let path = inodes.path(self.ino, self.name.as_deref());
        let range = self.range.map(|(offset, length)| format!(", {length} bytes at {offset}")).unwrap_or_default();
        format!("{operation} {path}{range}, for thread {pid} of user {uid}")
    }
}

/// The file system that fuser drives.
pub(super) struct Adapter<V: View> {
    pub(super) shared: Arc<Shared<V>>,
    pub(super) runtime: tokio::runtime::Handle,
}

impl<V: View> Adapter<V> {
    /// `device`: what the mount's requests come from.
    pub(super) fn new(
        overlay: Arc<Overlay<V>>,
        device: OwnedFd,
        options: MountOptions,
        runtime: tokio::runtime::Handle,
    ) -> Result<Self> {
        let inodes = Inodes::new(overlay.root(), &options.recording)?;
        let registrar = options.registrar.clone().unwrap_or_else(|| Arc::new(Backings::on(device)));
        let files = OpenFiles::new(&overlay, registrar, &options.recording)?;
        overlay.free_unused();
        let resent = Resent::new(options.aftermath.clone());
        // Handles of an earlier process must not be taken for ours.
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        let shared = Shared {
            overlay,
            options,
            inodes,
            files,
            directories: OpenDirectories::new(),
            next_directory: AtomicU64::new(started),
            log: ErrorLog::default(),
            resent,
        };
        Ok(Self { shared: Arc::new(shared), runtime })
    }

    pub(super) fn ours(&self, ino: INodeNo) -> u64 {
        self.shared.inodes.ours(ino)
    }

    /// Does the work on the runtime, within the deadline, and answers.
    pub(super) fn run<T: Send + 'static, R: Refuse, F>(
        &self,
        subject: Subject,
        reply: R,
        work: impl FnOnce(Arc<Shared<V>>) -> F,
        answer: impl FnOnce(R, T) + Send + 'static,
    ) where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let limit = self.shared.options.deadline;
        let work = within(limit, work(self.shared.clone()));
        self.carry_out(subject, reply, work, answer);
    }

    /// The same for what only reads: it outlasts an outage of the store where a live table reads
    /// the file, and ends when the process that asked is killed.
    pub(super) fn run_patiently<T: Send + 'static, R: Refuse, F>(
        &self,
        subject: Subject,
        reply: R,
        work: impl Fn(Arc<Shared<V>>) -> F + Send + Sync + 'static,
        answer: impl FnOnce(R, T) + Send + 'static,
    ) where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let (shared, limit) = (self.shared.clone(), self.shared.options.deadline);
        let (operation, ino, name, pid) = (subject.operation, subject.ino, subject.name.clone(), subject.pid);
        let patiently = async move {
            let path = || shared.inodes.path(ino, name.as_deref());
            let outlast = shared.options.waits.outlast(operation, pid, path, || within(limit, work(shared.clone())));
            tokio::select! {
                biased;
                done = outlast => done,
                () = killed(pid) => Err(interrupted()),
            }
        };
        self.carry_out(subject, reply, patiently, answer);
    }

    fn carry_out<T: Send + 'static, R: Refuse>(
        &self,
        subject: Subject,
        reply: R,
        work: impl Future<Output = Result<T>> + Send + 'static,
        answer: impl FnOnce(R, T) + Send + 'static,
    ) {
        let shared = self.shared.clone();
        let (span, start) = (subject.span(), Instant::now());
        let operation = async move {
            let fingerprint = subject.fingerprint();
            if let Err(error) = shared.resent.admit(subject.unique, fingerprint, || subject.describe(&shared.inodes)) {
                return reply.refuse(errno(error.kind()));
            }
            let all = async {
                shared.resent.crash_on(subject.operation, || shared.inodes.path(subject.ino, None));
                match work.await {
                    Ok(value) => {
                        answer(reply, value);
                        tracing::debug!(took = ?start.elapsed(), "done");
                    }
                    Err(error) => {
                        tracing::debug!(took = ?start.elapsed(), %error, "failed");
                        let path = || shared.inodes.path(subject.ino, subject.name.as_deref());
                        shared.log.note(subject.operation, &error, path);
                        reply.refuse(errno(error.kind()));
                    }
                }
            };
            shared.resent.carry_out(subject.unique, fingerprint, all).await;
        };
        self.runtime.spawn(operation.instrument(span));
    }

    pub(super) fn run_entry<F>(&self, subject: Subject, reply: ReplyEntry, work: impl FnOnce(Arc<Shared<V>>) -> F)
    where
        F: Future<Output = Result<FileAttr>> + Send + 'static,
    {
        self.run(subject, reply, work, |reply, attr| reply.entry(&attr_ttl(&attr), &attr, GENERATION));
    }

    /// Makes a node and answers with it.
    pub(super) fn make(
        &self,
        operation: &'static str,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new: New,
        reply: ReplyEntry,
    ) {
        let (parent, asked, name) = (self.ours(parent), ChangeRequest::from(request), name.to_owned());
        self.run_entry(at(operation, request, parent, &name.clone()), reply, move |fs| async move {
            let node = fs.create(asked, parent, &name, new).await?;
            fs.enter(parent, &name, node).await
        });
    }

    pub(super) fn run_empty<F>(&self, subject: Subject, reply: ReplyEmpty, work: impl FnOnce(Arc<Shared<V>>) -> F)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.run(subject, reply, work, |reply, ()| reply.ok());
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or_else(|_| Err(Error::new(Kind::TimedOut, format!("no answer within {} s", limit.as_secs_f32()))))
}

pub(super) fn attr_ttl(attr: &FileAttr) -> Duration {
    ttl(match attr.kind {
        FileType::Directory => NodeKind::Directory,
        FileType::Symlink => NodeKind::Symlink,
        _ => NodeKind::File,
    })
}
