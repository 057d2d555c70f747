//! What the mounted sample bucket must look like, worked out with openssl, tar and the bucket's
//! README alone.
//!
//! Nothing here uses the crate's chains, merges or incarnations: sets are ordered by name, table
//! ids come from the unpacked schema.cql files and the time inside them, and a restore point is put
//! together file by file.

use super::unpacked::{files_below, sample_keys, unpack};
use super::walk::{Seen, Tree};
use cassmount::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// `MixedCase` was dropped, and `events` dropped and made anew, between the sets of these minutes
/// (README.md).
const DROPPED_AFTER: &str = "2026-11-21-02-48";

pub struct Oracle {
    /// By host.
    hosts: BTreeMap<String, HostOracle>,
}

#[derive(Default)]
struct HostOracle {
    /// By tag, which for this bucket is by time.
    sets: BTreeMap<String, SetOracle>,
    /// Every `WITH ID` of any archive, by table, in the order of creation.
    ids: BTreeMap<Table, BTreeSet<(u64, String)>>,
}

#[derive(Default)]
struct SetOracle {
    is_full: bool,
    /// Unix seconds, from the manifest.
    time: u64,
    own_files: Tree,
    /// By keyspace and table.
    archives: BTreeMap<Table, Vec<File>>,
    mapping: BTreeMap<String, String>,
}

impl Oracle {
    /// Unpacks every archive of a bucket that has the sample's layout and keys.
    pub fn of(bucket: &Path) -> Self {
        let mut hosts = BTreeMap::<String, HostOracle>::new();
        for (key, content, modified) in files_below(bucket) {
            let mut parts = key.splitn(3, '/');
            let [host, tag, rest] = [(); 3].map(|()| parts.next().unwrap().to_owned());
            let host = hosts.entry(host).or_default();
            let set = host.sets.entry(tag.clone()).or_default();
            let Some(archive) = rest.strip_suffix(".tar.gz.enc") else {
                set.own_files.insert(rest.clone(), Seen::file(&content, modified));
                match rest.as_str() {
                    "backup_manifest.json" => {
                        let manifest: serde_json::Value = serde_json::from_slice(&content).unwrap();
                        set.is_full = manifest["backup_type"] == "full";
                        let time: jiff::Timestamp = manifest["timestamp_utc"].as_str().unwrap().parse().unwrap();
                        set.time = u64::try_from(time.as_second()).unwrap();
                    }
                    "schema_mapping.json" => set.mapping = serde_json::from_slice(&content).unwrap(),
                    _ => {}
                }
                continue;
            };
            let (keyspace, table) = archive.split_once('/').unwrap();
            let table = (keyspace.to_owned(), table.to_owned());
            let directory = tempfile::tempdir().unwrap();
            assert!(unpack(&bucket.join(&key), &sample_keys(), directory.path()), "{key}");
            let files = files_below(directory.path());
            if let Some((_, cql, _)) = files.iter().find(|(path, ..)| path == "schema.cql") {
                let cql = std::str::from_utf8(cql).unwrap();
                let id: String = cql.split("WITH ID = ").nth(1).unwrap()[..36].replace('-', "");
                host.ids.entry(table.clone()).or_default().insert((created(&id), id));
            }
            set.archives.insert(table, files);
        }
        Self { hosts }
    }

    /// `snapshots/` of fulls, `backups/`, `backup-sets/`, and `restore-points/` of every point, as
    /// far as archives tell of them.
    pub fn expected(&self) -> Tree {
        let mut tree = Tree::new();
        for (host, oracle) in &self.hosts {
            for (tag, set) in &oracle.sets {
                for (name, seen) in &set.own_files {
                    tree.insert(format!("{host}/backup-sets/{tag}/{name}"), seen.clone());
                }
                for (table, files) in &set.archives {
                    let kind = if set.is_full { "snapshots" } else { "backups" };
                    let id = oracle.id(tag, table);
                    let directory = format!("{host}/{}/{}-{id}/{kind}/{tag}", table.0, table.1);
                    insert(&mut tree, &directory, files.iter());
                    if set.is_full {
                        insert(
                            &mut tree,
                            &format!("{host}/restore-points/{tag}/{}/{}-{id}", table.0, table.1),
                            files.iter(),
                        );
                    }
                }
                if !set.is_full {
                    for (table, id, files) in oracle.merged(tag) {
                        let in_point = format!("{host}/restore-points/{tag}/{}/{}-{id}", table.0, table.1);
                        insert(&mut tree, &in_point, files.values().copied());
                        let in_table = format!("{host}/{}/{}-{id}/snapshots/{tag}", table.0, table.1);
                        insert(&mut tree, &in_table, files.values().copied());
                    }
                }
            }
        }
        tree
    }
}

/// Keyspace and table.
type Table = (String, String);
/// Path, content, time.
type File = (String, Vec<u8>, Timestamp);
/// A table with its id and its files by path.
type MergedTable<'a> = (Table, String, BTreeMap<&'a str, &'a File>);

impl HostOracle {
    /// The id of the table in the set: the newest that existed by then.
    fn id(&self, tag: &str, table: &Table) -> String {
        let system = || {
            let mapped = self.sets.values().find_map(|set| set.mapping.get(&format!("{}.{}", table.0, table.1)));
            mapped.unwrap().rsplit_once('-').unwrap().1.to_owned()
        };
        if table.0.starts_with("system") {
            return system();
        }
        let time = self.sets[tag].time;
        let by_then = self.ids[table].iter().filter(|(created, _)| *created <= time);
        by_then.max().unwrap_or_else(|| panic!("{table:?} at {tag}")).1.clone()
    }

    /// Only system_schema tells that a table was dropped; the next full, which lacks it, does not
    /// tell when.
    fn tells_drops(&self) -> bool {
        self.sets.values().any(|set| set.archives.keys().any(|table| table.0 == "system_schema"))
    }

    /// The tables of an incremental's restore point: id and files by path.
    fn merged(&self, tag: &str) -> Vec<MergedTable<'_>> {
        let base = self.sets.range(..tag.to_owned()).rfind(|(_, set)| set.is_full).unwrap().0;
        let chain: Vec<(&String, &SetOracle)> = self.sets.range(base.clone()..=tag.to_owned()).collect();
        let tables: BTreeSet<_> = chain.iter().flat_map(|(_, set)| set.archives.keys()).collect();
        let mut merged = Vec::new();
        for table in tables {
            if self.tells_drops() && table.1 == "MixedCase" && tag > DROPPED_AFTER {
                continue;
            }
            let id = self.id(tag, table);
            let mut files: BTreeMap<&str, &File> = BTreeMap::new();
            for (set_tag, set) in &chain {
                let Some(archive) = set.archives.get(table).filter(|_| self.id(set_tag, table) == id) else { continue };
                for file in archive {
                    if file.0 == "manifest.json" || file.0 == "schema.cql" {
                        continue;
                    }
                    if let Some(known) = files.insert(&file.0, file) {
                        assert_eq!(known.1, file.1, "{table:?} {} {}: this bucket has no such case", tag, file.0);
                    }
                }
            }
            merged.push((table.clone(), id, files));
        }
        merged
    }
}

fn insert<'a>(tree: &mut Tree, directory: &str, files: impl Iterator<Item = &'a File>) {
    for (path, content, mtime) in files {
        tree.insert(format!("{directory}/{path}"), Seen::file(content, *mtime));
    }
    // Also where there is nothing in it.
    tree.insert(directory.to_owned(), Seen::Directory);
}

/// Unix seconds of a version-1 UUID.
fn created(id: &str) -> u64 {
    let part = |range: std::ops::Range<usize>| u64::from_str_radix(&id[range], 16).unwrap();
    let ticks = part(0..8) | part(8..12) << 32 | part(13..16) << 48;
    (ticks - 0x01b2_1dd2_1381_4000) / 10_000_000
}

/// The part of what was seen that the oracle speaks of: every file of archives and sets, and the
/// directories that archives make.
pub fn comparable(seen: &Tree, expected: &Tree) -> Tree {
    let is_generated = |path: &str| {
        path.split('/').nth(1) == Some("restore-points")
            && path.ends_with("/schema.cql")
            && path.split('/').count() == 4
    };
    seen.iter()
        .filter(|(path, seen)| match seen {
            Seen::File(..) => !is_generated(path),
            Seen::Directory => expected.contains_key(*path),
            Seen::Link(_) => false,
        })
        .map(|(path, seen)| (path.clone(), seen.clone()))
        .collect()
}
