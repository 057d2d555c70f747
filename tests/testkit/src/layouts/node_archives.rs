//! What people's scripts write that pack a node's data directory: an archive for each date and
//! keyspace, with whole paths in it.

use crate::layouts::case::LayoutCase;
use crate::layouts::history::{History, copy, names, run};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `<host>/<date>/<keyspace>.tar.gz`.
pub struct ByDate;

impl LayoutCase for ByDate {
    const NAME: &'static str = "node_archives";

    fn write(history: &History, into: &Path) {
        for set in &history.sets {
            let unpacked = tempfile::tempdir().unwrap();
            let data = unpacked.path().join("var/lib/cassandra/data");
            for table in &set.tables {
                let part = if set.full { format!("snapshots/{}", set.tag) } else { "backups".into() };
                copy(&table.files, &data.join(&table.keyspace).join(&table.directory).join(part));
            }
            let date = into.join(&set.host).join(&set.tag);
            fs::create_dir_all(&date).unwrap();
            for keyspace in names(&data) {
                let archive = date.join(format!("{keyspace}.tar.gz"));
                let path = format!("var/lib/cassandra/data/{keyspace}");
                run(Command::new("tar").arg("-C").arg(unpacked.path()).arg("-czf").arg(archive).arg(path));
            }
        }
    }

    fn point(history: &History, host: &str, tag: &str) -> Option<String> {
        let set = history.of_host(host).find(|set| set.tag == tag)?;
        Some(if set.full { tag.to_owned() } else { set.time.clone() })
    }

    fn arguments() -> Vec<String> {
        vec!["--layout".into(), Self::NAME.into()]
    }

    fn a_data_file(into: &Path) -> (String, PathBuf) {
        ("cass-a".to_owned(), into.join("cass-a/2026-11-21-02-50/shop.tar.gz"))
    }
}
