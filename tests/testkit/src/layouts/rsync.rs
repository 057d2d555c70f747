//! Snapshots that were fetched from the hosts into one place with rsync.

use crate::layouts::case::LayoutCase;
use crate::layouts::history::{History, copy};
use std::fs;
use std::path::{Path, PathBuf};

pub struct Collected;

impl LayoutCase for Collected {
    const NAME: &'static str = "rsync";
    const INCREMENTALS: bool = false;

    fn write(history: &History, into: &Path) {
        for set in history.sets.iter().filter(|set| set.full) {
            let host = into.join(&set.tag).join(&set.host);
            for table in &set.tables {
                let directory = host.join(&table.keyspace).join(&table.directory);
                // What `rsync -a` leaves.
                copy(&table.files, &directory);
            }
            fs::copy(set.schema.as_ref().unwrap(), host.join("schema.cql")).unwrap();
        }
    }

    fn point(history: &History, host: &str, tag: &str) -> Option<String> {
        history.of_host(host).any(|set| set.tag == tag && set.full).then(|| tag.to_owned())
    }

    fn a_data_file(into: &Path) -> (String, PathBuf) {
        let keyspace = into.join("2026-11-21-02-50/cass-a/shop");
        let users =
            crate::layouts::history::names(&keyspace).into_iter().find(|name| name.starts_with("users-")).unwrap();
        let data = fs::read_dir(keyspace.join(users)).unwrap().map(|entry| entry.unwrap().path());
        let data = data.into_iter().find(|path| path.to_str().unwrap().ends_with("-Data.db"));
        ("cass-a".to_owned(), data.unwrap())
    }
}
