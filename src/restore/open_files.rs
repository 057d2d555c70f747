//! Who has files open, as far as /proc lets us see.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The kernel's number of the first namespace of processes, from which all are seen
/// (`PROC_PID_INIT_INO`).
const FIRST_NAMESPACE: &str = "pid:[4026531836]";

/// What can be seen of who holds files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum View {
    /// A process, and its program's name.
    Holder(u32, String),
    Nobody,
    /// Nobody, but not everybody could be seen, and why.
    Blind(String),
}

/// Who has a component open below one of the directories or below the mount; not this process. The
/// mount's own daemon holds nothing open there.
pub(super) fn user_of(directories: &[PathBuf], mountpoint: &Path) -> View {
    let mut places: BTreeSet<&Path> = directories.iter().map(PathBuf::as_path).collect();
    places.insert(mountpoint);
    holder(&places)
}

/// Who reads files of a mount below these directories of it, if one can be seen.
pub(super) fn reader_of(directories: &BTreeSet<&Path>) -> Option<(u32, String)> {
    match holder(directories) {
        View::Holder(pid, program) => Some((pid, program)),
        View::Nobody | View::Blind(_) => None,
    }
}

fn holder(places: &BTreeSet<&Path>) -> View {
    let processes = match fs::read_dir("/proc") {
        Ok(processes) => processes,
        Err(error) => return View::Blind(format!("/proc cannot be read: {error}")),
    };
    let (mut blind, mut seen) = (None, 0);
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        seen += 1;
        if pid == std::process::id() {
            continue;
        }
        match holds(&process.path(), places) {
            Ok(true) => return View::Holder(pid, program(&process.path())),
            Ok(false) => {}
            // It has ended meanwhile.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => {}
            Err(error) => {
                // Only a Java program can be Cassandra.
                let program = program(&process.path());
                if program.is_empty() || program.contains("java") {
                    blind = Some(format!("files of {program} (pid {pid}) cannot be seen: {error}"));
                }
            }
        }
    }
    if seen == 0 {
        blind = Some("/proc shows no process".to_owned());
    } else if !Path::new("/proc/1").exists() {
        blind = Some("/proc hides the processes of others".to_owned());
    } else if fs::read_link("/proc/self/ns/pid").ok().is_none_or(|namespace| namespace != Path::new(FIRST_NAMESPACE)) {
        blind.get_or_insert_with(|| "this is a container, which hides processes outside".to_owned());
    }
    blind.map_or(View::Nobody, View::Blind)
}

fn holds(process: &Path, places: &BTreeSet<&Path>) -> io::Result<bool> {
    for descriptor in fs::read_dir(process.join("fd"))? {
        let Ok(path) = fs::read_link(descriptor?.path()) else { continue };
        let is_data = path.extension().is_some_and(|extension| extension == "db");
        if is_data && places.iter().any(|place| path.starts_with(place)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn program(process: &Path) -> String {
    fs::read_to_string(process.join("comm")).unwrap_or_default().trim().to_owned()
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
        assert!(!matches!(user_of(&directories, nowhere), View::Holder(..)));
        let input = Stdio::from(fs::File::open(&file).unwrap());
        let mut holder = Command::new("sleep").arg("60").stdin(input).spawn().unwrap();
        let (found, other) = (user_of(&directories, nowhere), user_of(&[], live.path()));
        let reader = reader_of(&[live.path()].into());
        holder.kill().unwrap();
        holder.wait().unwrap();
        let expected = View::Holder(holder.id(), "sleep".to_owned());
        assert_eq!((found, other), (expected.clone(), expected));
        assert_eq!(reader, Some((holder.id(), "sleep".to_owned())));
    }
}
