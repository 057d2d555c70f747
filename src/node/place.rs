//! Puts a plan into a data directory: real copies of the schema, links for all else.

use super::files::{make_private, write_private};
use super::logs::Replay;
use super::plan::{Placed, Plan};
use super::stopper::Stopper;
use crate::cassandra::commit_log::{self, LogName};
use crate::cassandra::{SstableId, SstableName};
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

const DATA: &str = "Data.db";

/// Copies and links everything. Returns the files of the mount that Cassandra has to have open when
/// it is up.
pub(super) fn place(data: &Path, plan: &Plan, stopper: &Stopper) -> Result<BTreeSet<PathBuf>> {
    let mut expected = BTreeSet::new();
    // Every SSTable has a number of its own in its table's directory: those of two hosts may be
    // alike.
    let mut numbers: BTreeMap<&str, u64> = BTreeMap::new();
    for (placed, is_copy) in
        plan.copies.iter().map(|placed| (placed, true)).chain(plan.links.iter().map(|placed| (placed, false)))
    {
        stopper.check()?;
        let directory = data.join(&placed.place);
        make_private(&directory)?;
        let number = numbers.entry(&placed.place).or_default();
        for sstable in &placed.sstables {
            *number += 1;
            let name = SstableName { id: SstableId::Integer(*number), ..sstable.name.clone() };
            // Data.db last: what has none would be a leftover.
            let others = sstable.components.keys().map(String::as_str).filter(|component| *component != DATA);
            for component in others.chain([DATA]) {
                let from = placed.from.join(sstable.name.file_name(component));
                let to = directory.join(name.file_name(component));
                put(&from, &to, is_copy).map_err(|e| Error::io(format_args!("put {} in place", to.display()), e))?;
            }
            if !is_copy {
                expected.insert(placed.from.join(sstable.name.file_name(DATA)));
            }
        }
    }
    Ok(expected)
}

fn put(from: &Path, to: &Path, is_copy: bool) -> io::Result<()> {
    if is_copy {
        io::copy(&mut fs::File::open(from)?, &mut fs::File::create_new(to)?).map(drop)
    } else {
        symlink(from, to)
    }
}

/// Links commit logs into the node's own directory of them, where Cassandra replays and then
/// removes what it finds. One that goes on after the moment is cut there; of two with one number,
/// the second gets another.
pub(super) fn place_logs(directory: &Path, replay: &Replay, stopper: &Stopper) -> Result<()> {
    let all: BTreeSet<u64> = replay.logs.iter().map(|log| log.name.id).collect();
    let mut free = (1..).filter(|id| !all.contains(id));
    let mut taken = BTreeSet::new();
    for log in &replay.logs {
        stopper.check()?;
        let is_first = taken.insert(log.name.id);
        if is_first && !log.goes_on {
            let to = directory.join(log.name.to_string());
            symlink(&log.path, &to).map_err(|e| Error::io(format_args!("put {} in place", to.display()), e))?;
            continue;
        }
        let id = if is_first { log.name.id } else { free.next().unwrap_or_default() };
        let name = LogName { id, ..log.name };
        let bytes = fs::read(&log.path).map_err(|e| Error::io(format_args!("read {}", log.path.display()), e))?;
        let cut = commit_log::cut(&bytes, id, replay.until)
            .map_err(|e| Error::new(e.kind(), format!("{}: {e}", log.path.display())))?;
        write_private(&directory.join(name.to_string()), &cut)?;
    }
    Ok(())
}

/// Removes what was put in place for a Cassandra that has ended, and what it has written, but for
/// the keyspace `kept`.
pub(super) fn clear(node: &Path, kept: Option<&str>) -> Result<()> {
    let failed = |path: &Path, e| Error::io(format_args!("remove {}", path.display()), e);
    let data = node.join("data");
    for entry in fs::read_dir(&data).map_err(|e| failed(&data, e))? {
        let entry = entry.map_err(|e| failed(&data, e))?;
        if kept.is_none_or(|kept| entry.file_name() != kept) {
            fs::remove_dir_all(entry.path()).map_err(|e| failed(&entry.path(), e))?;
        }
    }
    for name in ["commitlog", "storage", "saved_caches", "hints", "cdc_raw"] {
        let path = node.join(name);
        match fs::remove_dir_all(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(&path, e)),
            _ => {}
        }
    }
    Ok(())
}

/// Bytes of all that is linked.
pub(super) fn linked_bytes(links: &[Placed]) -> u64 {
    links.iter().flat_map(|placed| &placed.sstables).flat_map(|sstable| sstable.components.values()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cassandra::TableName;
    use crate::restore::Sstable;

    #[test]
    fn sstables_of_two_hosts_stand_side_by_side() {
        let work = tempfile::tempdir().unwrap();
        let mut placed = Vec::new();
        for host in ["a", "b"] {
            let from = work.path().join(host);
            fs::create_dir(&from).unwrap();
            for component in ["Data.db", "Statistics.db"] {
                fs::write(from.join(format!("nb-7-big-{component}")), host).unwrap();
            }
            let name = SstableName::parse_component("nb-7-big-Data.db").unwrap().sstable;
            let components = [("Data.db".to_owned(), 1), ("Statistics.db".to_owned(), 1)].into();
            let sstables = vec![Sstable { name, components }];
            placed.push(Placed { table: TableName::new("ks", "t"), place: "ks/t-1".to_owned(), from, sstables });
        }
        let mut plan = Plan { links: placed.clone(), ..Plan::default() };
        plan.copies = vec![Placed { place: "system_schema/tables-1".to_owned(), ..placed[0].clone() }];
        assert_eq!(linked_bytes(&plan.links), 4);
        let data = work.path().join("data");
        let expected = place(&data, &plan, &Stopper::default()).unwrap();
        assert_eq!(expected, [work.path().join("a/nb-7-big-Data.db"), work.path().join("b/nb-7-big-Data.db")].into());
        for (file, host) in [("nb-1-big-Data.db", "a"), ("nb-2-big-Data.db", "b"), ("nb-2-big-Statistics.db", "b")] {
            let path = data.join("ks/t-1").join(file);
            assert!(path.is_symlink());
            assert_eq!(fs::read_to_string(path).unwrap(), host);
        }
        let copy = data.join("system_schema/tables-1/nb-1-big-Data.db");
        assert!(copy.is_file() && !copy.is_symlink());
    }
}
