//! What Esop writes, as its source has it (`instaclustr/esop`: `SSTableUtils.ssTableManifest`,
//! `Snapshots`, `Manifest`).

use crate::layouts::case::LayoutCase;
use crate::layouts::history::{History, Set};
use crate::unpacked::files_below;
use crate::walk::Tree;
use cassmount::cassandra::SstableName;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// `<tag>-<schema version>-<milliseconds>`
fn name(set: &Set) -> String {
    let seconds = set.time.parse::<jiff::Timestamp>().unwrap().as_second();
    format!("daily-b22b2f0c-1d3c-3b56-b7f0-7d4ba9fd9a0b-{}", seconds * 1000)
}

/// `<generation>-<digest>` of the SSTable that a file is of.
fn group(files: &BTreeMap<String, Vec<u8>>, path: &str) -> Option<String> {
    let (directory, component) = SstableName::parse_path(path)?;
    let digest = component.sstable.file_name("Digest.crc32");
    let digest = if directory.is_empty() { digest } else { format!("{directory}/{digest}") };
    let sum = String::from_utf8(files[&digest].clone()).unwrap();
    let sstable = component.sstable.to_string();
    Some(format!("{}-{}", sstable.split('-').nth(1).unwrap(), sum.trim()))
}

fn back_up(set: &Set, into: &Path) {
    let node = into.join("prod/dc1").join(&set.host);
    let mut keyspaces: BTreeMap<&str, serde_json::Map<String, Value>> = BTreeMap::new();
    for table in &set.tables {
        let files = files_below(&table.files);
        let times: BTreeMap<String, _> = files.iter().map(|(path, _, time)| (path.clone(), *time)).collect();
        let files: BTreeMap<String, Vec<u8>> = files.into_iter().map(|(path, content, _)| (path, content)).collect();
        let mut entries = Vec::new();
        for (path, content) in &files {
            let group = group(&files, path);
            if group.is_none() && path != "schema.cql" {
                continue;
            }
            let (index, file) = path.rsplit_once('/').map_or((None, &**path), |(index, file)| (Some(index), file));
            let below: Vec<&str> = index.into_iter().chain(group.as_deref()).chain([file]).collect();
            let key = format!("data/{}/{}/{}", table.keyspace, table.directory, below.join("/"));
            let at = node.join(&key);
            // What is there already is not uploaded again.
            if !at.exists() || group.is_none() {
                fs::create_dir_all(at.parent().unwrap()).unwrap();
                fs::write(&at, content).unwrap();
                let time = std::time::UNIX_EPOCH + std::time::Duration::from_micros(times[path].0 as u64);
                fs::File::options().write(true).open(&at).unwrap().set_modified(time).unwrap();
            }
            let kind = if group.is_some() { "FILE" } else { "CQL_SCHEMA" };
            entries
                .push(json!({"objectKey": key, "size": content.len(), "type": kind, "hash": "00", "kmsKeyId": null}));
        }
        let (name, id) = table.directory.rsplit_once('-').unwrap();
        let described = json!({"name": name, "id": id, "entries": entries, "schemaContent": null});
        keyspaces.entry(&table.keyspace).or_default().insert(name.to_owned(), described);
    }
    let keyspaces: BTreeMap<&str, Value> =
        keyspaces.into_iter().map(|(keyspace, tables)| (keyspace, json!({"tables": tables}))).collect();
    let snapshot = json!({"name": "daily", "keyspaces": keyspaces});
    let manifest =
        json!({"snapshot": snapshot, "tokens": ["-1", "7"], "schemaVersion": "b22b2f0c-1d3c-3b56-b7f0-7d4ba9fd9a0b"});
    let manifests = node.join("manifests");
    fs::create_dir_all(&manifests).unwrap();
    fs::write(manifests.join(format!("{}.json", name(set))), manifest.to_string()).unwrap();
}

pub struct Backups;

impl LayoutCase for Backups {
    const NAME: &'static str = "esop";
    const INCREMENTALS: bool = false;

    fn write(history: &History, into: &Path) {
        for set in history.sets.iter().filter(|set| set.full) {
            back_up(set, into);
        }
    }

    fn point(history: &History, host: &str, tag: &str) -> Option<String> {
        history.of_host(host).find(|set| set.full && set.tag == tag).map(name)
    }

    fn time(history: &History, points: &[String]) -> String {
        let hosts = history.hosts();
        let sets = hosts.iter().flat_map(|host| history.of_host(host)).filter(|set| points.contains(&name(set)));
        sets.map(|set| set.time.clone()).max().expect("a host")
    }

    /// SSTables: of schema.cql there is one for all backups, and no manifest.json.
    fn as_kept(tree: Tree) -> Tree {
        let describes = |path: &str| path.ends_with("/manifest.json") || path.ends_with("/schema.cql");
        tree.into_iter().filter(|(path, _)| !describes(path)).collect()
    }

    fn a_data_file(into: &Path) -> (String, PathBuf) {
        let data = into.join("prod/dc1/cass-a/data/shop");
        let users = crate::layouts::history::names(&data).into_iter().find(|name| name.starts_with("users-")).unwrap();
        // The newest backup has what compaction made last.
        let mut groups = crate::layouts::history::names(&data.join(&users));
        groups.retain(|name| !name.starts_with('.'));
        groups.sort_by_key(|name| name.split('-').next().unwrap().parse::<u32>().unwrap());
        let newest = data.join(users).join(groups.last().unwrap());
        let files = fs::read_dir(newest).unwrap().map(|entry| entry.unwrap().path());
        let is_data = |path: &PathBuf| path.to_str().unwrap().ends_with("-Data.db");
        ("cass-a".to_owned(), files.into_iter().find(is_data).unwrap())
    }
}
