//! Who keeps a mount busy, as far as /proc lets us see.

use super::runtime_state::{mounts_of, unescape};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// A place where a file system is mounted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MountCopy {
    mountpoint: PathBuf,
    /// A process that sees it there, if it is in another mount namespace than ours.
    seen_by: Option<(u32, String)>,
}

impl fmt::Display for MountCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {}", self.mountpoint.display())?;
        match &self.seen_by {
            Some((pid, program)) => write!(f, " in the mount namespace of {program} (pid {pid})"),
            None => Ok(()),
        }
    }
}

/// Where the file system of this device is mounted, here and in the mount namespaces of processes
/// that we may look at.
pub(super) fn copies(device: (u32, u32)) -> Vec<MountCopy> {
    let namespace = |process: &Path| fs::read_link(process.join("ns/mnt")).ok();
    let ours = namespace(Path::new("/proc/self"));
    let mut seen = BTreeSet::from_iter(ours);
    let mut found = Vec::new();
    let mut look = |process: &Path, seen_by: Option<(u32, String)>| {
        let table = fs::read_to_string(process.join("mountinfo")).unwrap_or_default();
        let places = mounts_of(&table, device).map(unescape);
        found.extend(places.map(|place| MountCopy { mountpoint: place.into(), seen_by: seen_by.clone() }));
    };
    look(Path::new("/proc/self"), None);
    for (pid, directory) in processes() {
        // One process of each namespace tells of all.
        if namespace(&directory).is_some_and(|namespace| seen.insert(namespace)) {
            let program = fs::read_to_string(directory.join("comm")).unwrap_or_default();
            look(&directory, Some((pid, program.trim().to_owned())));
        }
    }
    found
}

fn processes() -> impl Iterator<Item = (u32, PathBuf)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
}

/// Processes that hold something open on the file system mounted at `mountpoint`: pid to program
/// name.
///
/// Looks at working directories, roots, descriptors and mapped files. An ordinary user sees only
/// their own processes. Reads no file on the mount itself, whose daemon may be the very thing that
/// is stuck.
pub(super) fn holders(mountpoint: &Path) -> BTreeMap<u32, String> {
    let Some(device) = device_of(mountpoint) else { return BTreeMap::new() };
    let mut found = BTreeMap::new();
    for (pid, directory) in processes() {
        if pid != std::process::id() && holds(&directory, mountpoint, &device) {
            let program = fs::read_to_string(directory.join("comm")).unwrap_or_default();
            found.insert(pid, program.trim().to_owned());
        }
    }
    found
}

/// `java (pid 123), bash (pid 456)`; `None` when nobody can be seen.
pub(super) fn describe(holders: &BTreeMap<u32, String>) -> Option<String> {
    const SHOWN: usize = 10;
    let mut words: Vec<String> =
        holders.iter().take(SHOWN).map(|(pid, program)| format!("{program} (pid {pid})")).collect();
    if holders.len() > SHOWN {
        words.push(format!("and {} more", holders.len() - SHOWN));
    }
    (!words.is_empty()).then(|| words.join(", "))
}

fn holds(process: &Path, mountpoint: &Path, device: &str) -> bool {
    let points_inside = |link: &Path| fs::read_link(link).is_ok_and(|target| target.starts_with(mountpoint));
    if ["cwd", "root"].iter().any(|name| points_inside(&process.join(name))) {
        return true;
    }
    let descriptors = fs::read_dir(process.join("fd"));
    if descriptors.into_iter().flatten().flatten().any(|fd| points_inside(&fd.path())) {
        return true;
    }
    // Fourth column: the device as hexadecimal major:minor.
    let maps = fs::read_to_string(process.join("maps")).unwrap_or_default();
    maps.lines().any(|line| line.split_ascii_whitespace().nth(3) == Some(device))
}

/// The mount's device as /proc/PID/maps writes it, from mountinfo, so that the mount is not asked.
fn device_of(mountpoint: &Path) -> Option<String> {
    let (major, minor) = super::runtime_state::mounted_device(mountpoint)?;
    Some(format!("{major:02x}:{minor:02x}"))
}
