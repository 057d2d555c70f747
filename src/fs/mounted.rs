//! A mount being served: from taking the device over to its end.

use super::MountOptions;
use super::adapter::Adapter;
use super::device::{self, Device};
use super::greeting::{self, Greeting};
use super::operations::REQUEST_SIZE;
use super::prune;
use crate::scratch::{Overlay, Shadowed};
use crate::view::View;
use crate::{Error, Kind, Result};
use fuser::{Config, INodeNo, Notifier, Session, SessionACL};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// How long the session may take to end once the directory is unmounted.
const END_GRACE: Duration = Duration::from_secs(10);

/// A served mount.
///
/// Dropping one that [`mount`] made unmounts, detaching users that are left: call [`Self::unmount`]
/// to respect them.
#[derive(Debug)]
pub struct Mounted {
    mountpoint: PathBuf,
    /// Whether it ends with this value, and not with the connection, which others hold as well.
    is_ours: bool,
    notifier: Notifier,
    /// Whether the kernel can send again what a dead process took.
    resend: bool,
    /// Our number of the root, which the kernel calls 1.
    root: u64,
    passthrough: Arc<AtomicBool>,
    /// `Some` once the session has ended.
    ended: watch::Receiver<Option<Result<()>>>,
}

/// Mounts `overlay` on a directory and serves it on the current Tokio runtime. Blocks for the mount
/// itself.
///
/// [`Kind::Io`] where the user may not, with what to do about it.
///
/// # Panics
/// Outside of a Tokio runtime.
pub fn mount<V: View>(overlay: Arc<Overlay<V>>, mountpoint: &Path, mut options: MountOptions) -> Result<Mounted> {
    options.read_only |= overlay.is_read_only();
    let device = Device::mount(mountpoint, &options)?;
    let mountpoint = device.mountpoint.clone();
    let mounted =
        Greeting::receive(&device.fd).and_then(|greeting| serve(overlay, device, &greeting, options, |_| Ok(())));
    match mounted {
        Ok(mut mounted) => {
            mounted.is_ours = true;
            Ok(mounted)
        }
        Err(error) => {
            detach(&mountpoint);
            Err(error)
        }
    }
}

/// Serves a device that is mounted already, on the current Tokio runtime, from its kept `greeting`
/// on.
///
/// `settled` is given the greeting for whoever serves the device later, when that is known, and
/// before the kernel is answered.
///
/// # Panics
/// Outside of a Tokio runtime.
pub fn serve<V: View>(
    overlay: Arc<Overlay<V>>,
    device: Device,
    greeting: &Greeting,
    options: MountOptions,
    settled: impl FnOnce(&Greeting) -> Result<()>,
) -> Result<Mounted> {
    let Device { fd, mountpoint } = device;
    let mut config = Config::default();
    // Each thread reads the one descriptor: requests read from a clone of it would die with this
    // process.
    (config.n_threads, config.clone_fd) = (Some(options.threads.max(1)), false);
    // The kernel lets in whom the mount option names.
    let acl = SessionACL::All;
    let root = overlay.root().ino();
    let duplicate = || fd.try_clone().map_err(|e| Error::io("duplicate the device's descriptor", e));
    let (registry, pruned) = (duplicate()?, duplicate()?);
    let adapter = Adapter::new(overlay, registry, options, tokio::runtime::Handle::current())?;
    let shared = Arc::downgrade(&adapter.shared);
    let passthrough = adapter.shared.files.passthrough();
    let begin =
        |stand_in| Session::from_fd(adapter, stand_in, acl, config).map_err(|e| Error::io("begin the FUSE session", e));
    let (session, answered) = greeting::exchange(greeting, begin)?;
    settled(&answered.settled)?;
    answered.deliver(&fd, session.as_fd())?;
    drop(fd);
    let notifier = session.notifier();
    let (end, ended) = watch::channel(None);
    let run = move || {
        let result = session.run().map_err(|e| Error::io("serve the FUSE session", e));
        end.send_replace(Some(result));
    };
    std::thread::Builder::new().name("fuse".into()).spawn(run).map_err(|e| Error::io("start a thread", e))?;
    raise_read_ahead(&mountpoint);
    tokio::spawn(prune::run(pruned, shared));
    let resend = greeting.has_resend();
    Ok(Mounted { mountpoint, is_ours: false, notifier, resend, root, passthrough, ended })
}

impl Mounted {
    /// Absolute, without symbolic links.
    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// Whether another process can go on with the mount when this one has gone.
    pub fn outlives_us(&self) -> bool {
        self.resend
    }

    /// Whether the kernel reads cached files itself. It may still refuse the first of them.
    pub fn has_passthrough(&self) -> bool {
        self.passthrough.load(Ordering::Relaxed)
    }

    /// Tells the kernel what to forget.
    pub fn notifier(&self) -> &Notifier {
        &self.notifier
    }

    /// Unmounts and waits until the session has ended. [`Kind::Busy`] while anyone uses the mount;
    /// it goes on then.
    pub async fn unmount(&self) -> Result<()> {
        if self.ended.borrow().is_some() {
            return Ok(());
        }
        let mountpoint = self.mountpoint.clone();
        let unmounted = tokio::task::spawn_blocking(move || device::unmount(&mountpoint)).await;
        unmounted.map_err(|e| Error::new(Kind::Io, "unmounting failed").with_source(e))??;
        let late = |_| Error::new(Kind::TimedOut, "unmounted, but requests are still being answered");
        tokio::time::timeout(END_GRACE, self.wait()).await.map_err(late)?
    }

    /// Waits until the session has ended: unmounted by us or anyone, or aborted.
    pub async fn wait(&self) -> Result<()> {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(end) => end.clone().unwrap_or(Ok(())),
            Err(_) => Err(Error::new(Kind::Io, "the thread that serves the mount failed")),
        }
    }

    /// Makes the kernel forget what it cached of a scratch layer that was emptied.
    pub async fn forget(&self, shadowed: Shadowed) -> Result<()> {
        let (notifier, root) = (self.notifier.clone(), self.root);
        let forget = move || {
            let theirs = |ino| if ino == root { INodeNo::ROOT } else { INodeNo(ino) };
            // The kernel may have dropped any of it by itself.
            for (directory, name) in &shadowed.names {
                let _ = notifier.inval_entry(theirs(*directory), name);
            }
            for ino in &shadowed.inodes {
                let _ = notifier.inval_inode(theirs(*ino), 0, 0);
            }
        };
        let done = tokio::task::spawn_blocking(forget).await;
        done.map_err(|e| Error::new(Kind::Io, "invalidating the kernel's cache failed").with_source(e))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.is_ours && self.ended.borrow().is_none() && device::unmount(&self.mountpoint).is_err() {
            detach(&self.mountpoint);
        }
    }
}

/// The last resort: the directory is free at once, the session ends when its last user has gone.
fn detach(mountpoint: &Path) {
    use rustix::mount::UnmountFlags;
    if rustix::mount::unmount(mountpoint, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).is_err() {
        let _ = std::process::Command::new("fusermount3").args(["-u", "-z", "--"]).arg(mountpoint).output();
    }
}

/// The kernel starts with 128 KiB, whatever was agreed on; root may raise it for the mount.
fn raise_read_ahead(mountpoint: &Path) {
    let Ok(mounts) = std::fs::read_to_string("/proc/self/mountinfo") else { return };
    // Not by stat: that would be a request to ourselves.
    let shown = mountpoint.to_string_lossy().replace('\\', r"\134").replace(' ', r"\040").replace('\t', r"\011");
    let device = mounts.lines().rev().find_map(|line| {
        let mut fields = line.split(' ');
        let device = fields.nth(2)?;
        (fields.nth(1)? == shown).then_some(device)
    });
    if let Some(device) = device {
        let path = format!("/sys/class/bdi/{device}/read_ahead_kb");
        if let Err(error) = std::fs::write(&path, (REQUEST_SIZE >> 10).to_string()) {
            tracing::debug!(path, %error, "read-ahead stays at the kernel's default");
        }
    }
}
