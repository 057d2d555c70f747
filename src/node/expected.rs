//! Whether Cassandra has opened every SSTable that it was given. One that it refuses it leaves out,
//! says so in its log, and answers queries without its rows.

use super::process::ProcessId;
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;

/// Those of the files that a process does not have open.
pub(super) fn unopened(server: &ProcessId, expected: &BTreeSet<PathBuf>) -> Result<Vec<PathBuf>> {
    let directory = format!("/proc/{}/fd", server.pid);
    let failed = |e| Error::io(format_args!("see which files Cassandra has open ({directory})"), e);
    let mut open = BTreeSet::new();
    for descriptor in fs::read_dir(&directory).map_err(failed)? {
        match fs::read_link(descriptor.map_err(failed)?.path()) {
            Ok(path) => open.extend(Some(path).filter(|path| expected.contains(path))),
            // Closed since it was listed.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(failed(e)),
        }
    }
    Ok(expected.difference(&open).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_open_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let [open, closed] = ["a-Data.db", "b-Data.db"].map(|name| root.join(name));
        fs::write(&closed, "").unwrap();
        let file = fs::File::create(&open).unwrap();
        let expected = BTreeSet::from([open, closed.clone()]);
        assert_eq!(unopened(&ProcessId::of_this_process().unwrap(), &expected).unwrap(), [closed]);
        drop(file);
    }
}
