//! The sample bucket (`sample/README.md`): its truth, its schema, and its contents laid out with
//! nothing but openssl and tar, as an oracle that shares no code with what is tested.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::install::Version;
use super::node::Node;
use super::process::run;
use super::truth::Truth;

/// A restore point that both hosts have: a full and two incrementals, before anything was dropped.
pub const POINT: &str = "2026-11-21-02-48";

/// The tables with rows at [`POINT`], as CQL writes their names.
pub const TABLES: [&str; 7] =
    ["shop.users", "shop.carts", "shop.orders", "shop.hits", "shop.events", "media.\"MixedCase\"", "media.docs"];

pub const HOSTS: [&str; 2] = ["cass-a", "cass-b"];

/// The keyspaces with the sample's own tables.
pub const KEYSPACES: [&str; 2] = ["media", "shop"];

/// The full sets, and the first restore point at which `shop.events` is the one created anew and
/// `"MixedCase"` is gone.
const FIRST_FULL: &str = "2026-11-21-02-45";
const SECOND_FULL: [&str; 2] = ["2026-11-21-02-50", "2026-11-21-02-51"];
const RECREATED: &str = "2026-11-21-02-49";

/// `sample/` of the repository.
pub fn directory() -> PathBuf {
    crate::project().join("sample")
}

pub fn bucket() -> PathBuf {
    directory().join("bucket")
}

pub fn key_files() -> [PathBuf; 2] {
    ["key-2026-a.txt", "key-2026-b.txt"].map(|name| directory().join(name))
}

/// What `table` held when the set of `time` was taken, as recorded then.
///
/// # Panics
/// When the sample has no such record.
pub fn truth(time: &str, table: &str) -> Truth {
    Truth::from_file(&truths(time)[table.replace('"', "")]).unwrap_or_else(|| panic!("no truth for {table} at {time}"))
}

/// Whether `table` was there when the set of `time` was taken.
pub fn has_truth(time: &str, table: &str) -> bool {
    truths(time).get(table.replace('"', "")).is_some()
}

fn truths(time: &str) -> Value {
    let file = directory().join(format!("truth/{time}.json"));
    serde_json::from_slice(&fs::read(file).expect("a truth file")).expect("JSON")
}

/// The restore points of `host`, which are its sets, oldest first.
pub fn restore_points(host: &str) -> Vec<String> {
    entries(&bucket().join(host))
}

/// Creates the keyspaces, types, tables, indexes and views of the sample as they were at `time`,
/// from the schema.cql of a full set: the first one's up to 02-48, with what 02-48 brought added;
/// the second one's after that.
pub fn create_schema(node: &Node, time: &str) {
    let recreated = time >= RECREATED;
    let set = if recreated { SECOND_FULL[0] } else { FIRST_FULL };
    let text = fs::read_to_string(bucket().join("cass-a").join(set).join("schema.cql")).expect("schema.cql");
    for keyspace in KEYSPACES {
        node.cql(&format!("DROP KEYSPACE IF EXISTS {keyspace}"));
    }
    for statement in statements(&text, node.version()) {
        node.cql(&statement);
    }
    if !recreated && time >= "2026-11-21-02-48" {
        node.cql("ALTER TABLE shop.users ADD phone text");
        node.cql("CREATE TABLE shop.carts (id uuid PRIMARY KEY, total decimal, lines list<frozen<map<text, int>>>)");
    }
}

/// The statements of a schema.cql that `version` can run.
pub fn statements(text: &str, version: Version) -> Vec<String> {
    // cqlsh may print a warning before the first statement.
    let text = &text[text.find("CREATE ").expect("a statement")..];
    let mut statements: Vec<_> = text.split(';').map(str::trim).filter(|text| !text.is_empty()).collect();
    if version == Version::V4_1 {
        statements.retain(|statement| !statement.contains("USING 'sai'"));
    }
    statements.into_iter().map(|statement| options_of(statement, version)).collect()
}

/// `statement` without the table options that `version` has not got.
fn options_of(statement: &str, version: Version) -> String {
    const SINCE_5_0: [&str; 2] = ["allow_auto_snapshot = ", "incremental_backups = "];
    let lines = statement.lines().filter(|line| {
        version != Version::V4_1
            || !SINCE_5_0.iter().any(|option| line.trim_start().starts_with(&format!("AND {option}")))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A tree of backups in cassmount's layout: a mount, or the sample extracted.
#[derive(Debug, Clone)]
pub struct Tree {
    root: PathBuf,
}

impl Tree {
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `<host>/restore-points/<point>/<keyspace>/<table>-<id>`; `table` is a qualified name.
    ///
    /// # Panics
    /// When the restore point has no directory for it.
    pub fn flat(&self, host: &str, point: &str, table: &str) -> PathBuf {
        let (keyspace, table) = split(table);
        let keyspace = self.root.join(host).join("restore-points").join(point).join(keyspace);
        let found = entries(&keyspace).into_iter().find(|name| name.split('-').next() == Some(table));
        keyspace.join(found.unwrap_or_else(|| panic!("no directory for {table} in {}", keyspace.display())))
    }

    /// `<host>/<keyspace>/<table>-<id>/snapshots/<point>`.
    pub fn snapshot(&self, host: &str, point: &str, table: &str) -> PathBuf {
        let name = self.flat(host, point, table).file_name().expect("a table directory").to_owned();
        self.root.join(host).join(split(table).0).join(name).join("snapshots").join(point)
    }

    /// [`Self::flat`] of both hosts for the cluster's restore point of `time`.
    pub fn flat_of_both(&self, time: &str, table: &str) -> Vec<PathBuf> {
        HOSTS.map(|host| self.flat(host, point_of(host, time), table)).to_vec()
    }

    /// [`Self::snapshot`] of both hosts for the cluster's restore point of `time`.
    pub fn snapshot_of_both(&self, time: &str, table: &str) -> Vec<PathBuf> {
        HOSTS.map(|host| self.snapshot(host, point_of(host, time), table)).to_vec()
    }

    /// The `Data.db` of every SSTable of the sample's tables, those of secondary indexes too, by
    /// its path in the tree.
    pub fn data_files(&self) -> BTreeMap<String, PathBuf> {
        let mut found = BTreeMap::new();
        for host in HOSTS {
            let points = restore_points(host).into_iter().map(|point| format!("restore-points/{point}"));
            for above in points.chain([String::new()]) {
                for keyspace in KEYSPACES {
                    let directory = Path::new(host).join(&above).join(keyspace);
                    for (name, path) in files(&self.root.join(&directory)) {
                        if name.ends_with("-Data.db") {
                            found.insert(directory.join(name).display().to_string(), path);
                        }
                    }
                }
            }
        }
        found
    }
}

/// Lays the whole sample out under `root`, with the same names as a mount.
pub fn extract(root: &Path) -> Tree {
    let ids = Ids::of_sample();
    for host in HOSTS {
        let points = restore_points(host);
        for point in &points {
            for keyspace in KEYSPACES {
                for archive in entries(&bucket().join(host).join(point).join(keyspace)) {
                    let table = archive.strip_suffix(".tar.gz.enc").expect("an archive");
                    let directory = root.join(host).join(keyspace).join(ids.directory(point, table));
                    let kind = if is_full(point) { "snapshots" } else { "backups" };
                    let object = bucket().join(host).join(point).join(keyspace).join(&archive);
                    unpack(&object, &directory.join(kind).join(point));
                }
            }
        }
        for keyspace in KEYSPACES {
            for table in entries(&root.join(host).join(keyspace)) {
                merge(root, host, &points, &format!("{keyspace}/{table}"));
            }
        }
    }
    Tree::at(root)
}

/// Makes `snapshots/<point>` of the incremental points, and the flat view of all of them.
fn merge(root: &Path, host: &str, points: &[String], table: &str) {
    let directory = root.join(host).join(table);
    let name = table.split(['/', '-']).nth(1).unwrap_or_default();
    let mut chain: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut alive = false;
    for point in points {
        let snapshot = directory.join("snapshots").join(point);
        if is_full(point) {
            alive = snapshot.exists();
            chain = files(&snapshot);
            chain.retain(|name, _| name != "manifest.json");
        } else {
            let backup = directory.join("backups").join(point);
            alive |= backup.exists();
            // What the sample's history says was dropped at this point.
            alive &= !(point.as_str() == RECREATED && !backup.exists() && matches!(name, "events" | "MixedCase"));
            for (name, path) in files(&backup) {
                // The clean-up between two sets misses index directories, so their files come
                // again.
                let same = chain.get(&name).is_none_or(|known| fs::read(known).unwrap() == fs::read(&path).unwrap());
                assert!(same, "{table}: two different {name} in the sample's sets up to {point}");
                chain.insert(name, path);
            }
            if alive {
                link_all(&chain, &snapshot);
            }
        }
        if alive {
            link_all(&files(&snapshot), &root.join(host).join("restore-points").join(point).join(table));
        }
    }
}

fn link_all(files: &BTreeMap<String, PathBuf>, into: &Path) {
    fs::create_dir_all(into).unwrap();
    for (name, path) in files {
        let link = into.join(name);
        fs::create_dir_all(link.parent().expect("a directory")).unwrap();
        fs::hard_link(path, link).unwrap();
    }
}

/// All files below `directory`, by their path from there, links not followed; none when it does not
/// exist.
pub fn files(directory: &Path) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for name in entries(directory) {
        let path = directory.join(&name);
        if path.is_dir() && !path.is_symlink() {
            found.extend(files(&path).into_iter().map(|(below, path)| (format!("{name}/{below}"), path)));
        } else {
            found.insert(name, path);
        }
    }
    found
}

fn entries(directory: &Path) -> Vec<String> {
    // One that cannot be read is not an empty one.
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        entries => entries.unwrap_or_else(|error| panic!("list {}: {error}", directory.display())),
    };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

fn split(table: &str) -> (&str, &str) {
    let (keyspace, table) = table.split_once('.').expect("a qualified table name");
    (keyspace, table.trim_matches('"'))
}

/// The restore point of `host` that belongs to a set of `time`: the second full crossed a minute on
/// cass-b.
pub fn point_of<'a>(host: &str, time: &'a str) -> &'a str {
    match (host, time) {
        ("cass-b", "2026-11-21-02-50") => SECOND_FULL[1],
        _ => time,
    }
}

fn is_full(point: &str) -> bool {
    point == FIRST_FULL || SECOND_FULL.contains(&point)
}

/// The key of the set: rotated after 02-49.
fn key_of(point: &str) -> PathBuf {
    let [before, after] = key_files();
    if point < SECOND_FULL[0] { before } else { after }
}

/// Decrypts and unpacks an archive of the sample.
pub fn unpack(object: &Path, into: &Path) {
    fs::create_dir_all(into).unwrap();
    let point = object.ancestors().nth(2).and_then(Path::file_name).and_then(|name| name.to_str()).expect("a tag");
    // A failure of openssl is one of tar's too: a gzip stream cut short.
    let script = "openssl enc -d -aes-256-cbc -pbkdf2 -md sha256 -pass \"file:$1\" -in \"$2\" | tar -C \"$3\" -xzf -";
    let mut command = Command::new("sh");
    command.args(["-c", script, "unpack"]).arg(key_of(point)).arg(object).arg(into);
    run(&mut command, Duration::from_mins(1)).expect_success();
}

/// Which table directory a name means before and after the re-creation, from `WITH ID` in the
/// fulls' archives.
struct Ids {
    before: BTreeMap<String, String>,
    after: BTreeMap<String, String>,
}

impl Ids {
    fn of_sample() -> Self {
        Self { before: Self::of_set(FIRST_FULL), after: Self::of_set(SECOND_FULL[0]) }
    }

    fn of_set(set: &str) -> BTreeMap<String, String> {
        let mut ids = BTreeMap::new();
        let work = tempfile::tempdir().unwrap();
        for keyspace in KEYSPACES {
            let keyspace = bucket().join("cass-a").join(set).join(keyspace);
            for archive in entries(&keyspace) {
                let table = archive.strip_suffix(".tar.gz.enc").expect("an archive");
                let directory = work.path().join(table);
                unpack(&keyspace.join(&archive), &directory);
                let schema = fs::read_to_string(directory.join("schema.cql")).expect("the table's schema.cql");
                let id = schema.split("WITH ID = ").nth(1).and_then(|rest| rest.get(..36)).expect("WITH ID");
                ids.insert(table.to_owned(), id.replace('-', ""));
            }
        }
        ids
    }

    fn directory(&self, point: &str, table: &str) -> String {
        let known = if point < RECREATED { [&self.before, &self.after] } else { [&self.after, &self.before] };
        let id = known.iter().find_map(|ids| ids.get(table)).expect("a full set has the table");
        format!("{table}-{id}")
    }
}
