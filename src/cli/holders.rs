//! Who keeps a mount busy, as far as /proc lets us see.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Processes that hold something open on the file system mounted at `mountpoint`: pid to program name.
///
/// Looks at working directories, roots, descriptors and mapped files. An ordinary user sees only their own processes. Reads no file on the
/// mount itself, whose daemon may be the very thing that is stuck.
pub(super) fn holders(mountpoint: &Path) -> BTreeMap<u32, String> {
    let Some(device) = device_of(mountpoint) else { return BTreeMap::new() };
    let mut found = BTreeMap::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let directory = process.path();
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
