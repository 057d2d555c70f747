//! Cassandra's own tree, a copy of each host's data directory: snapshots, and in `backups` all that
//! was ever flushed.

use crate::layouts::case::LayoutCase;
use crate::layouts::history::{History, copy};
use std::path::{Path, PathBuf};

pub struct DataDirs;

impl LayoutCase for DataDirs {
    const NAME: &'static str = "data_dir";

    fn write(history: &History, into: &Path) {
        for set in &history.sets {
            for table in &set.tables {
                let directory = into.join(&set.host).join(&table.keyspace).join(&table.directory);
                let part = if set.full { format!("snapshots/{}", set.tag) } else { "backups".into() };
                copy(&table.files, &directory.join(part));
            }
        }
    }

    fn point(history: &History, host: &str, tag: &str) -> Option<String> {
        let set = history.of_host(host).find(|set| set.tag == tag)?;
        // A full by its name; what was flushed until a set had finished, by that time.
        Some(if set.full { tag.to_owned() } else { set.time.clone() })
    }

    fn a_data_file(into: &Path) -> (String, PathBuf) {
        let keyspace = into.join("cass-a/shop");
        let users =
            crate::layouts::history::names(&keyspace).into_iter().find(|name| name.starts_with("users-")).unwrap();
        let snapshot = keyspace.join(users).join("snapshots/2026-11-21-02-50");
        let data = std::fs::read_dir(&snapshot).unwrap().map(|entry| entry.unwrap().path());
        let data = data.into_iter().find(|path| path.to_str().unwrap().ends_with("-Data.db"));
        ("cass-a".to_owned(), data.unwrap())
    }
}
