//! What cassandra-mesos uploads, from a cluster whose node got a new executor between its fulls.

use crate::layouts::case::LayoutCase;
use crate::layouts::history::{History, copy, is_system, names};
use std::fs;
use std::path::{Path, PathBuf};

pub struct Executors;

/// The executor that made a backup: the node's first one, and from the second full on another.
fn executor(host: &str, tag: &str) -> String {
    format!("{host}.executor-{}", if tag < "2026-11-21-02-50" { 1 } else { 2 })
}

impl LayoutCase for Executors {
    const NAME: &'static str = "mesos";
    const DESCRIBED: bool = false;
    const INCREMENTALS: bool = false;

    fn write(history: &History, into: &Path) {
        for set in history.sets.iter().filter(|set| set.full) {
            let backup = into.join("prod").join(executor(&set.host, &set.tag)).join(format!("backup-{}", set.tag));
            for table in set.tables.iter().filter(|table| !is_system(&table.keyspace)) {
                let directory = backup.join(&table.keyspace).join(&table.name);
                copy(&table.files, &directory);
                // It uploads SSTables only.
                for description in ["manifest.json", "schema.cql"] {
                    let _ = fs::remove_file(directory.join(description));
                }
            }
        }
    }

    fn point(history: &History, host: &str, tag: &str) -> Option<String> {
        history.of_host(host).any(|set| set.tag == tag && set.full).then(|| format!("backup-{tag}"))
    }

    fn arguments() -> Vec<String> {
        let rename = |host: &str, n: u8| ["--rename-host".to_owned(), format!("{host}.executor-{n}={host}")];
        ["cass-a", "cass-b"].iter().flat_map(|host| [rename(host, 1), rename(host, 2)].concat()).collect()
    }

    fn a_data_file(into: &Path) -> (String, PathBuf) {
        let directory = into.join("prod/cass-a.executor-2/backup-2026-11-21-02-50/shop/users");
        assert!(names(&directory).contains(&".users_email".to_owned()));
        let data = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        ("cass-a".to_owned(), data.into_iter().find(|path| path.to_str().unwrap().ends_with("-Data.db")).unwrap())
    }
}
