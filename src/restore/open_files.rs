//! Who has files open, as far as /proc lets us see.

use std::fs;
use std::path::{Path, PathBuf};

/// A process, and its program's name, that has a file open below one of the directories or below the mount; not this one. The mount's own daemon holds
/// nothing open there.
pub(super) fn user_of(directories: &[PathBuf], mountpoint: &Path) -> Option<(u32, String)> {
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if pid == std::process::id() {
            continue;
        }
        let descriptors = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        let is_data = |path: &Path| path.extension().is_some_and(|extension| extension == "db");
        let holds = descriptors.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|path| {
            is_data(&path)
                && (path.starts_with(mountpoint) || directories.iter().any(|directory| path.starts_with(directory)))
        });
        if holds {
            let program = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some((pid, program.trim().to_owned()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn who_has_a_component_open_is_found() {
        let live = tempfile::tempdir().unwrap();
        let file = live.path().join("nb-1-big-Data.db");
        fs::write(&file, "").unwrap();
        let directories = [live.path().to_owned()];
        let nowhere = Path::new("/nonexistent");
        assert_eq!(user_of(&directories, nowhere), None);
        let input = Stdio::from(fs::File::open(&file).unwrap());
        let mut holder = Command::new("sleep").arg("60").stdin(input).spawn().unwrap();
        let found = user_of(&directories, nowhere);
        let other = user_of(&[], live.path());
        holder.kill().unwrap();
        holder.wait().unwrap();
        assert_eq!((found.map(|(pid, _)| pid), other.map(|(pid, _)| pid)), (Some(holder.id()), Some(holder.id())));
    }
}
