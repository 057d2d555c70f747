//! One Cassandra history, as every layout gets it: the sample bucket's sets, unpacked by openssl
//! and tar, under the ids that the mounted bucket gives their tables. What the mount shows is held
//! against what was unpacked, and ids against Cassandra's own schema.cql.

use crate::bucket::sample_keys;
use crate::command::Mounted;
use crate::unpacked;
use crate::walk::{Seen, Tree, assert_same, walk_path};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

pub const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../sample/bucket");

/// All that was backed up.
pub struct History {
    pub sets: Vec<Set>,
    /// What the mounted sample shows at each restore point, by host and tag.
    points: BTreeMap<(String, String), Tree>,
    schemas: BTreeMap<(String, String), String>,
    files: Arc<tempfile::TempDir>,
}

/// One backup run on one host.
#[derive(Clone)]
pub struct Set {
    pub host: String,
    /// As the sample has it: `2026-11-21-02-45`.
    pub tag: String,
    pub full: bool,
    /// RFC 3339, when it had finished.
    pub time: String,
    pub tables: Vec<Table>,
    /// The whole schema, which fulls have.
    pub schema: Option<PathBuf>,
}

/// What a set holds of a table.
#[derive(Clone)]
pub struct Table {
    pub keyspace: String,
    pub name: String,
    /// `<table>-<id>`
    pub directory: String,
    /// Where its files lie, with their times.
    pub files: PathBuf,
}

/// The history, unpacked once for all tests.
pub fn history() -> &'static History {
    static HISTORY: OnceLock<History> = OnceLock::new();
    HISTORY.get_or_init(History::unpack)
}

impl History {
    fn unpack() -> Self {
        let files = tempfile::tempdir().unwrap();
        let mounted = Mounted::start(SAMPLE, &sample_keys());
        let mut sets = Vec::new();
        let (mut points, mut schemas) = (BTreeMap::new(), BTreeMap::new());
        for host in names(Path::new(SAMPLE)) {
            for tag in names(&Path::new(SAMPLE).join(&host)) {
                let set = Set::unpack(&mounted, files.path(), &host, &tag);
                let point = mounted.path(format!("{host}/restore-points/{tag}"));
                let schema = fs::read_to_string(point.join("schema.cql")).unwrap();
                schemas.insert((host.clone(), tag.clone()), schema);
                let shown = walk_path(&point);
                set.assert_shown(&shown);
                points.insert((host.clone(), tag), shown);
                sets.push(set);
            }
        }
        Self { sets, points, schemas, files: Arc::new(files) }
    }

    pub fn hosts(&self) -> Vec<&str> {
        let mut hosts: Vec<&str> = self.sets.iter().map(|set| &*set.host).collect();
        hosts.dedup();
        hosts
    }

    /// Some of the sets with some of their tables; to be written, not to be compared with.
    #[must_use]
    pub fn some(&self, is_kept: impl Fn(&Set) -> bool, is_in: impl Fn(&Table) -> bool) -> Self {
        let mut sets: Vec<Set> = self.sets.iter().filter(|set| is_kept(set)).cloned().collect();
        for set in &mut sets {
            set.tables.retain(&is_in);
        }
        Self { sets, points: BTreeMap::new(), schemas: BTreeMap::new(), files: Arc::clone(&self.files) }
    }

    pub fn of_host<'a>(&'a self, host: &str) -> impl Iterator<Item = &'a Set> {
        self.sets.iter().filter(move |set| set.host == host)
    }

    /// What a restore point must show of its tables: no schema.cql, which is only as good as what a
    /// layout keeps of the schema.
    pub fn tables_at(&self, host: &str, tag: &str) -> Tree {
        tables(self.points[&(host.to_owned(), tag.to_owned())].clone())
    }

    /// The schema.cql of a restore point.
    pub fn schema(&self, host: &str, tag: &str) -> &str {
        &self.schemas[&(host.to_owned(), tag.to_owned())]
    }
}

impl Set {
    /// A full's tables are at its restore point as they were unpacked, and nothing else is; an
    /// incremental's files are there beside others.
    fn assert_shown(&self, point: &Tree) {
        let is_file = |(_, seen): &(&String, &Seen)| matches!(seen, Seen::File(..));
        let mut files = 0;
        for Table { keyspace, name, directory, files: unpacked } in &self.tables {
            // Snapshots of Cassandra's own tables have no schema.cql.
            if self.full && !is_system(keyspace) {
                let schema = fs::read_to_string(unpacked.join("schema.cql")).unwrap();
                let id = directory.rsplit_once('-').unwrap().1;
                let is_of_table = |part: &&str| {
                    let first = part.lines().next().unwrap_or_default().replace('"', "");
                    (part.starts_with("TABLE") || part.starts_with("MATERIALIZED"))
                        && first.contains(&format!(".{name} "))
                };
                let of_table = schema.split("CREATE ").find(is_of_table);
                assert!(of_table.unwrap().replace('-', "").contains(&format!("ID = {id}")), "{directory}: {schema}");
            }
            let below = format!("{keyspace}/{directory}/");
            let shown: Tree = point
                .iter()
                .filter(is_file)
                .filter_map(|(path, seen)| Some((path.strip_prefix(&below)?.to_owned(), seen.clone())))
                .collect();
            let mut expected = walk_path(unpacked);
            expected.retain(|_, seen| matches!(seen, Seen::File(..)));
            if self.full {
                assert_same(&shown, &expected);
            }
            // Another SSTable may have its name.
            let missing = expected.iter().find(|(_, seen)| !shown.values().any(|shown| shown == *seen));
            assert_eq!(missing, None, "{} {} {below}", self.host, self.tag);
            files += expected.len();
        }
        if self.full {
            let shown = point.iter().filter(is_file).filter(|(path, _)| path.contains('/'));
            assert_eq!(shown.count(), files, "{} {}", self.host, self.tag);
        }
    }

    fn unpack(mounted: &Mounted, files: &Path, host: &str, tag: &str) -> Self {
        let directory = Path::new(SAMPLE).join(host).join(tag);
        let manifest = fs::read_to_string(directory.join("backup_manifest.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        let full = manifest["backup_type"] == "full";
        let mut tables = Vec::new();
        for keyspace in names(&directory) {
            for archive in names(&directory.join(&keyspace)) {
                let table = archive.strip_suffix(".tar.gz.enc").unwrap().to_owned();
                let into = files.join(host).join(tag).join(&keyspace).join(&table);
                fs::create_dir_all(&into).unwrap();
                let packed = directory.join(&keyspace).join(&archive);
                assert!(unpacked::unpack(&packed, &unpacked::sample_keys(), &into), "{}", packed.display());
                let directory = named(mounted, host, tag, &keyspace, &table, full);
                tables.push(Table { keyspace: keyspace.clone(), name: table, directory, files: into });
            }
        }
        let schema = directory.join("schema.cql");
        Self {
            host: host.to_owned(),
            tag: tag.to_owned(),
            full,
            time: manifest["timestamp_utc"].as_str().unwrap().to_owned(),
            tables,
            schema: full.then_some(schema),
        }
    }
}

/// The name of the directory that the set's files of the table lie in.
fn named(mounted: &Mounted, host: &str, tag: &str, keyspace: &str, table: &str, full: bool) -> String {
    let keyspace = if full { format!("{host}/restore-points/{tag}/{keyspace}") } else { format!("{host}/{keyspace}") };
    let keyspace = mounted.path(keyspace);
    let is_it = |directory: &String| {
        let of_table = directory.rsplit_once('-').is_some_and(|(name, _)| name == table);
        of_table && (full || keyspace.join(directory).join("backups").join(tag).exists())
    };
    let found: Vec<String> = names(&keyspace).into_iter().filter(is_it).collect();
    assert_eq!(found.len(), 1, "{host} {tag} {table}: {found:?}");
    found[0].clone()
}

/// Sub-directories, sorted; without files.
pub fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".tar.gz.enc") || directory.join(name).is_dir())
        .collect();
    names.sort();
    names
}

/// The tables' files of a restore point.
pub fn tables(mut point: Tree) -> Tree {
    point.remove("schema.cql");
    point
}

/// Cassandra's own keyspaces.
pub fn is_system(path: &str) -> bool {
    path.starts_with("system")
}

/// The tree as a layout shows it that keeps nothing but the SSTables of users' tables.
pub fn undescribed(tree: Tree) -> Tree {
    let bare = |path: String| {
        let parts = path.split('/').map(|part| match part.rsplit_once('-') {
            Some((table, id)) if id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()) => table,
            _ => part,
        });
        parts.collect::<Vec<_>>().join("/")
    };
    let describes = |path: &str| is_system(path) || path.ends_with("/manifest.json") || path.ends_with("/schema.cql");
    let tree: Tree =
        tree.into_iter().filter(|(path, _)| !describes(path)).map(|(path, seen)| (bare(path), seen)).collect();
    // An empty table has no other files: nothing is kept of it.
    let holds_files = |path: &str| {
        let below = format!("{path}/");
        tree.iter().any(|(path, seen)| path.starts_with(&below) && matches!(seen, Seen::File(..)))
    };
    let kept = tree.iter().filter(|(path, seen)| **seen != Seen::Directory || holds_files(path));
    kept.map(|(path, seen)| (path.clone(), seen.clone())).collect()
}

/// `cp -a FROM/. INTO`, as people copy directories.
pub fn copy(from: &Path, into: &Path) {
    fs::create_dir_all(into).unwrap();
    run(Command::new("cp").arg("-a").arg(from.join(".")).arg(into));
}

pub fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
}
