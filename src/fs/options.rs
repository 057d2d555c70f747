//! How a mount looks and behaves.

use super::aftermath::Aftermath;
use super::backing::Registrar;
use super::record::Recording;
use super::waits::Waits;
use std::sync::Arc;
use std::time::Duration;

/// Options of one mount. The defaults belong to the user who mounts.
#[derive(Clone, Debug)]
pub struct MountOptions {
    /// Owner of everything that nobody changed in the scratch layer.
    pub uid: u32,
    pub gid: u32,
    /// Permission bits of backup files and directories (`0..=0o7777`).
    pub file_mode: u16,
    pub dir_mode: u16,
    /// Mounted read-only (`EROFS`), whatever the overlay could do.
    pub read_only: bool,
    /// Lets users other than the mounting one in; for an ordinary user /etc/fuse.conf must allow
    /// it.
    pub allow_other: bool,
    /// What `mount` and `df` show as the source.
    pub fsname: String,
    /// The longest that any request may take; it fails with `ETIMEDOUT` then.
    pub deadline: Duration,
    /// Which requests wait longer than that while the store is away.
    pub waits: Waits,
    /// Threads that take requests from the kernel. The work itself is done on the Tokio runtime.
    pub threads: usize,
    /// Lets the kernel read cached files itself, where it can (Linux 6.9, root).
    pub passthrough: bool,
    /// Who registers these files with the kernel; `None`: this process, which takes CAP_SYS_ADMIN.
    pub registrar: Option<Arc<dyn Registrar>>,
    /// Where to keep what a later process has to know of what the kernel holds.
    pub recording: Recording,
    /// What to do about requests that a process before this one took and did not answer.
    pub aftermath: Aftermath,
}

impl Default for MountOptions {
    fn default() -> Self {
        Self {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            file_mode: 0o644,
            dir_mode: 0o755,
            read_only: false,
            allow_other: false,
            fsname: "cassmount".to_owned(),
            deadline: Duration::from_mins(2),
            waits: Waits::default(),
            threads: 2,
            passthrough: true,
            registrar: None,
            recording: Recording::None,
            aftermath: Aftermath::default(),
        }
    }
}
