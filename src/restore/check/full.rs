//! The full backup below a restore point, as a mount shows it.

use super::backup::{BackupHost, MANIFEST, POINTS, Point, SETS, json, names};
use crate::Result;
use crate::restore::look;
use std::collections::HashSet;
use std::time::SystemTime;

impl BackupHost {
    /// The newest full not after a restore point, and when the restore point before it was taken:
    /// by then it had not begun for certain. `None` where the mount has no full so old, and no
    /// time for the first of all.
    ///
    /// A full is a snapshot, for which Cassandra flushes all tables. For an incremental it flushes
    /// none: what is in no SSTable of one may have been written at any time since the full.
    pub fn full_of(&self, point: &Point) -> Result<Option<(Point, Option<SystemTime>)>> {
        let time = point.time()?;
        let mut earlier = self.points()?;
        earlier.retain(|(own, _)| *own <= time);
        earlier.sort_by_key(|(time, _)| *time);
        let incrementals = self.tags_of_backups()?;
        while let Some((time, point)) = earlier.pop() {
            if !incrementals.contains(&point.tag) && !self.is_incremental(&point.tag)? {
                let before = earlier.iter().rev().map(|(own, _)| *own).find(|own| *own < time);
                return Ok(Some((point, before)));
            }
        }
        Ok(None)
    }

    /// The sets of which a table has a directory below `backups`: incrementals.
    fn tags_of_backups(&self) -> Result<HashSet<String>> {
        let mut tags = HashSet::new();
        for keyspace in names(&self.root)?.iter().filter(|name| ![POINTS, SETS].contains(&name.as_str())) {
            let keyspace = self.root.join(keyspace);
            for table in names(&keyspace)? {
                let backups = keyspace.join(table).join("backups");
                if look::is_directory(&backups)? {
                    tags.extend(names(&backups)?);
                }
            }
        }
        Ok(tags)
    }

    /// Whether a set's own manifest says that it is incremental: one of no table at all.
    fn is_incremental(&self, tag: &str) -> Result<bool> {
        let manifest = self.root.join(SETS).join(tag).join(MANIFEST);
        Ok(look::exists(&manifest)? && json(&manifest)?["backup_type"] == "incremental")
    }
}

#[cfg(test)]
mod tests {
    use super::super::backup::hosts;
    use std::fs::{self, File};
    use std::time::{Duration, SystemTime};

    #[test]
    fn what_an_incremental_builds_upon_is_found() {
        let mount = tempfile::tempdir().unwrap();
        let root = mount.path().join("node1");
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        for (tag, seconds) in [("a", 1000), ("b", 2000), ("c", 3000), ("d", 4000)] {
            let point = root.join("restore-points").join(tag);
            fs::create_dir_all(&point).unwrap();
            File::open(&point).unwrap().set_modified(at(seconds)).unwrap();
            fs::create_dir_all(root.join("backup-sets").join(tag)).unwrap();
        }
        fs::create_dir_all(root.join("commitlogs")).unwrap();
        fs::create_dir_all(root.join("shop/users-763dab90e55511f185a85b65bc0eb462/backups/c")).unwrap();
        fs::create_dir_all(root.join("shop/users-763dab90e55511f185a85b65bc0eb462/snapshots/b")).unwrap();
        // Nothing was flushed for it.
        fs::write(root.join("backup-sets/d/backup_manifest.json"), r#"{"backup_type": "incremental"}"#).unwrap();
        let host = hosts(mount.path()).unwrap().remove(0);
        let full_of = |tag: &str| {
            let full = host.full_of(&host.point(tag).unwrap()).unwrap();
            full.map(|(full, before)| (full.tag, before))
        };
        assert_eq!(full_of("d"), Some(("b".to_owned(), Some(at(1000)))));
        assert_eq!(full_of("c"), Some(("b".to_owned(), Some(at(1000)))));
        assert_eq!(full_of("a"), Some(("a".to_owned(), None)));
        fs::create_dir_all(root.join("shop/users-763dab90e55511f185a85b65bc0eb462/backups/a")).unwrap();
        assert_eq!(full_of("a"), None);
    }
}
