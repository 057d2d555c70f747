//! Mounting and unmounting: how a /dev/fuse descriptor comes to serve a directory.
//!
//! Done here rather than by fuser, so that the descriptor can be held by a process that outlives
//! the one serving it, and so that a busy mount is never detached behind its users' backs.

use super::MountOptions;
use crate::{Error, Kind, Result};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use std::ffi::CString;
use std::fs::OpenOptions;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const DEV_FUSE: &str = "/dev/fuse";
const FUSERMOUNT: &str = "fusermount3";
/// Tells fusermount3 which descriptor of its own to send the device over.
const FUSERMOUNT_SOCKET: &str = "_FUSE_COMMFD";
const SUBTYPE: &str = "cassmount";

/// A mounted directory and the descriptor that its requests come from. Dropping it does not
/// unmount.
#[derive(Debug)]
pub struct Device {
    pub fd: OwnedFd,
    /// Absolute, without symbolic links.
    pub mountpoint: PathBuf,
}

impl Device {
    /// Mounts on `mountpoint`: by mount(2) where that is allowed, else through fusermount3.
    ///
    /// Whoever uses the mount waits until someone serves the descriptor.
    pub fn mount(mountpoint: &Path, options: &MountOptions) -> Result<Self> {
        let mountpoint = check_mountpoint(mountpoint)?;
        let fd = match mount_directly(&mountpoint, options)? {
            Some(fd) => fd,
            None => mount_with_helper(&mountpoint, options)?,
        };
        Ok(Self { fd, mountpoint })
    }
}

fn check_mountpoint(mountpoint: &Path) -> Result<PathBuf> {
    let shown = mountpoint.display();
    let canonical = mountpoint.canonicalize().map_err(|error| {
        if error.raw_os_error() == Some(libc::ENOTCONN) {
            let hint = format!("{shown} has a mount whose daemon is gone; remove it with: fusermount3 -u {shown}");
            return Error::new(Kind::Busy, hint);
        }
        Error::invalid(format!("cannot mount on {shown}")).with_source(error)
    })?;
    let metadata = canonical.metadata().map_err(|e| Error::io(format!("look at {shown}"), e))?;
    if !metadata.is_dir() {
        return Err(Error::new(Kind::NotDirectory, format!("cannot mount on {shown}: not a directory")));
    }
    Ok(canonical)
}

/// `None` where only root may mount.
fn mount_directly(mountpoint: &Path, options: &MountOptions) -> Result<Option<OwnedFd>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let context = |error: std::io::Error| Error::io(format!("open {DEV_FUSE} (is the kernel module loaded?)"), error);
    let device = OpenOptions::new().read(true).write(true).open(DEV_FUSE).map_err(context)?;
    let mode = mountpoint.metadata().map_err(|e| Error::io("look at the mount point", e))?.mode();
    let (fd, uid, gid) = (device.as_raw_fd(), rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let mut data = format!("fd={fd},rootmode={mode:o},user_id={uid},group_id={gid},default_permissions");
    if options.allow_other {
        data.push_str(",allow_other");
    }
    let data = CString::new(data).map_err(|e| Error::invalid("mount options").with_source(e))?;
    let mut flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOATIME;
    flags.set(MountFlags::RDONLY, options.read_only);
    let fstype = format!("fuse.{SUBTYPE}");
    match rustix::mount::mount(options.fsname.as_str(), mountpoint, fstype.as_str(), flags, data.as_c_str()) {
        Ok(()) => Ok(Some(device.into())),
        // A container's root: fusermount3 will say why if it cannot either.
        Err(Errno::PERM) => Ok(None),
        Err(error) => Err(Error::io(format!("mount on {}", mountpoint.display()), error.into())),
    }
}

fn mount_with_helper(mountpoint: &Path, options: &MountOptions) -> Result<OwnedFd> {
    let (ours, theirs) = UnixStream::pair().map_err(|e| Error::io("make a socket pair", e))?;
    let fsname = options.fsname.replace('\\', r"\\").replace(',', r"\,");
    let mut flags = format!("nosuid,nodev,noatime,default_permissions,fsname={fsname},subtype={SUBTYPE}");
    flags.push_str(if options.read_only { ",ro" } else { ",rw" });
    if options.allow_other {
        flags.push_str(",allow_other");
    }
    let mut command = Command::new(FUSERMOUNT);
    command.arg("-o").arg(flags).arg("--").arg(mountpoint);
    // The socket is its standard input: no other descriptor is passed on by default.
    command.env(FUSERMOUNT_SOCKET, "0").stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::piped());
    let output = command.output().map_err(|e| Error::io(format!("run {FUSERMOUNT} (of the package fuse3)"), e))?;
    // Its end of the socket is closed by now, so a missing descriptor is an end of file and never a
    // wait.
    drop(command);
    if !output.status.success() {
        return Err(helper_error(mountpoint, &output));
    }
    receive_fd(&ours)
}

fn helper_error(mountpoint: &Path, output: &Output) -> Error {
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("user_allow_other") {
        let message = "--allow-other is not allowed for ordinary users on this machine: \
                       add a line `user_allow_other` to /etc/fuse.conf, or mount as root";
        return Error::new(Kind::Io, message);
    }
    Error::new(Kind::Io, format!("cannot mount on {}: {}", mountpoint.display(), said.trim()))
}

fn receive_fd(socket: &UnixStream) -> Result<OwnedFd> {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0u8; 1];
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)
        .map_err(|e| Error::io(format!("receive the device from {FUSERMOUNT}"), e.into()))?;
    let received = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    received.ok_or_else(|| Error::new(Kind::Io, format!("{FUSERMOUNT} sent no device")))
}

/// Unmounts, never lazily: [`Kind::Busy`] while anyone uses it. Blocks.
pub fn unmount(mountpoint: &Path) -> Result<()> {
    let shown = mountpoint.display();
    let busy = || Error::new(Kind::Busy, format!("{shown} is busy: something still uses it"));
    match rustix::mount::unmount(mountpoint, UnmountFlags::NOFOLLOW) {
        Ok(()) => return Ok(()),
        Err(Errno::BUSY) => return Err(busy()),
        Err(Errno::INVAL) => return Err(Error::invalid(format!("{shown} is not a mount point"))),
        Err(Errno::PERM) => {}
        Err(error) => return Err(Error::io(format!("unmount {shown}"), error.into())),
    }
    let output = Command::new(FUSERMOUNT)
        .args(["-u", "--"])
        .arg(mountpoint)
        // Its messages are compared below.
        .env("LC_ALL", "C")
        .output()
        .map_err(|e| Error::io(format!("run {FUSERMOUNT} (of the package fuse3)"), e))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("busy") {
        return Err(busy());
    }
    Err(Error::new(Kind::Io, format!("cannot unmount {shown}: {}", said.trim())))
}
