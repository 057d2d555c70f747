//! What runs where: one small JSON file per mount in the run-time directory, and what
//! /proc/self/mountinfo says.

use cassmount::private::{self, Open};
use cassmount::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Longest state of a mount that is read, bytes.
const LONGEST: u64 = 1 << 20;

/// One running mount.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub(super) struct RunningMount {
    /// Of the supervisor, which lives as long as the mount.
    pub(super) pid: u32,
    /// Of the process that answers its requests now.
    pub(super) worker_pid: u32,
    pub(super) mountpoint: PathBuf,
    pub(super) source: String,
    pub(super) cache_dir: PathBuf,
    pub(super) log: Option<PathBuf>,
    /// Major and minor number: what tells it from others where it is mounted as well.
    #[serde(default)]
    pub(super) device: Option<(u32, u32)>,
}

/// `/run/cassmount` for root, `$XDG_RUNTIME_DIR/cassmount` or `/tmp/cassmount-<uid>` for others;
/// 0700.
pub(super) fn path() -> PathBuf {
    let uid = rustix::process::geteuid();
    if uid.is_root() {
        PathBuf::from("/run/cassmount")
    } else {
        std::env::var_os("XDG_RUNTIME_DIR").filter(|value| !value.is_empty()).map_or_else(
            || PathBuf::from(format!("/tmp/cassmount-{}", uid.as_raw())),
            |run| PathBuf::from(run).join("cassmount"),
        )
    }
}

/// That directory, made if need be.
pub(super) fn directory() -> Result<PathBuf> {
    let path = path();
    // Who has made a directory of this name in /tmp could tell of mounts that are none, and hide
    // those that are.
    private::directory(&path).map_err(|error| {
        let hint = "where running mounts are noted: set XDG_RUNTIME_DIR to a directory of yours";
        if rustix::process::geteuid().is_root() { error } else { Error::new(error.kind(), format!("{error} ({hint})")) }
    })?;
    Ok(path)
}

impl RunningMount {
    /// Where the state of a mount at `mountpoint` is.
    fn path(mountpoint: &Path) -> Result<PathBuf> {
        let name = blake3::hash(mountpoint.as_os_str().as_bytes()).to_hex();
        Ok(directory()?.join(format!("{}.json", &name[..16])))
    }

    /// The socket on which the mount at `mountpoint` answers.
    pub(super) fn socket(mountpoint: &Path) -> Result<PathBuf> {
        Ok(Self::path(mountpoint)?.with_extension("sock"))
    }

    /// Whether any of its processes is there.
    pub(super) fn is_alive(&self) -> bool {
        [self.pid, self.worker_pid].into_iter().any(is_running)
    }

    /// Every mount that was announced by this user and whose daemon still lives.
    pub(super) fn all() -> Result<Vec<Self>> {
        let directory = directory()?;
        let entries =
            fs::read_dir(&directory).map_err(|e| Error::io(format_args!("read {}", directory.display()), e))?;
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.map_err(|e| Error::io(format_args!("read {}", directory.display()), e))?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match Self::of_file(&path) {
                Ok(Some(mount)) if mount.is_alive() => found.push(mount),
                Ok(_) => {}
                // One that cannot be read hides no other.
                Err(error) => tracing::warn!("a mount is not shown: {error}"),
            }
        }
        found.sort_by(|a, b| a.mountpoint.cmp(&b.mountpoint));
        Ok(found)
    }

    /// Writes the state; the returned guard takes it away again.
    pub(super) fn announce(&self) -> Result<Announced> {
        let path = Self::path(&self.mountpoint)?;
        let text = serde_json::to_vec_pretty(self)
            .map_err(|e| Error::new(Kind::Io, "cannot encode the mount's state").with_source(e))?;
        let temporary = path.with_extension(format!("tmp{}", self.worker_pid));
        let written = private::open(&temporary, Open::Create)
            .and_then(|mut file| file.set_len(0).and_then(|()| std::io::Write::write_all(&mut file, &text)))
            .and_then(|()| fs::rename(&temporary, &path));
        written.map_err(|e| Error::io(format_args!("write {}", path.display()), e))?;
        Ok(Announced(path))
    }

    /// Takes away what a worker announced that can no longer do it itself.
    pub(super) fn forget(mountpoint: &Path) {
        if let Ok(path) = Self::path(mountpoint) {
            let _ = fs::remove_file(path.with_extension("sock"));
            let _ = fs::remove_file(path);
        }
    }

    /// The mount that was announced for `mountpoint`.
    pub(super) fn find(mountpoint: &Path) -> Option<Self> {
        Self::read(mountpoint).ok().flatten()
    }

    /// What was announced for `mountpoint`, if anything was.
    ///
    /// # Errors
    /// Where that cannot be read: something was.
    pub(super) fn read(mountpoint: &Path) -> Result<Option<Self>> {
        Self::of_file(&Self::path(mountpoint)?)
    }

    fn of_file(path: &Path) -> Result<Option<Self>> {
        let text = match private::read(path, LONGEST) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|e| Error::io(format_args!("read {}", path.display()), e))?,
        };
        let damaged = |e| Error::corrupt(format!("{} is damaged", path.display())).with_source(e);
        serde_json::from_slice(&text).map(Some).map_err(damaged)
    }
}

/// Whether there is such a process, and more of it than the exit status that nobody has asked for
/// yet.
fn is_running(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Behind the name, which may hold anything: the state.
    status.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
}

/// Takes the announcement away when dropped.
pub(super) struct Announced(PathBuf);

impl Drop for Announced {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Device (major, minor) of the topmost file system mounted exactly at `mountpoint`; `None` if
/// nothing is.
pub(super) fn mounted_device(mountpoint: &Path) -> Option<(u32, u32)> {
    mount_line(mountpoint).map(|(device, _)| device)
}

/// Whether the topmost file system mounted exactly at `mountpoint` is one of ours.
pub(super) fn is_ours(mountpoint: &Path) -> bool {
    mount_line(mountpoint).is_some_and(|(_, kind)| kind == "fuse.cassmount")
}

/// Where a file system of this device is mounted, escaped, of a table like /proc/self/mountinfo.
pub(super) fn mounts_of(table: &str, (major, minor): (u32, u32)) -> impl Iterator<Item = &str> {
    let device = format!("{major}:{minor}");
    table.lines().filter_map(move |line| {
        let mut fields = line.split(' ');
        (fields.nth(2)? == device).then(|| fields.nth(1))?
    })
}

fn mount_line(mountpoint: &Path) -> Option<((u32, u32), String)> {
    let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
    table.lines().rev().find_map(|line| {
        let mut fields = line.split(' ');
        let device = fields.nth(2)?;
        let place = unescape(fields.nth(1)?);
        if place != mountpoint.as_os_str() {
            return None;
        }
        let kind = line.split(" - ").nth(1)?.split(' ').next()?;
        let (major, minor) = device.split_once(':')?;
        Some(((major.parse().ok()?, minor.parse().ok()?), kind.to_owned()))
    })
}

/// mountinfo writes space, tab, newline and backslash as `\ooo`.
pub(super) fn unescape(field: &str) -> OsString {
    let bytes = field.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let octal = field
            .get(at + 1..at + 4)
            .filter(|_| bytes[at] == b'\\')
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        plain.push(octal.unwrap_or(bytes[at]));
        at += if octal.is_some() { 4 } else { 1 };
    }
    OsString::from_vec(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_does_not_run() {
        assert!(is_running(std::process::id()));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while is_running(child.id()) {
            assert!(std::time::Instant::now() < deadline);
        }
        child.wait().unwrap();
        assert!(!is_running(child.id()));
    }

    #[test]
    fn mountinfo_escapes() {
        assert_eq!(unescape(r"/mnt/a\040b\134c"), OsString::from(r"/mnt/a b\c"));
        assert_eq!(unescape(r"/mnt/\9"), OsString::from(r"/mnt/\9"));
    }

    #[test]
    fn the_root_is_mounted_and_not_ours() {
        assert!(mounted_device(Path::new("/")).is_some());
        assert!(!is_ours(Path::new("/")));
        assert_eq!(mounted_device(Path::new("/no/such/place")), None);
    }
}
