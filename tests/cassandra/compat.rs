//! Which way of restoring takes which kind of table of which release: every cell is tried, and
//! docs/compatibility.md written anew. `scripts/compat` runs it; a release takes some five minutes.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::backup;
use super::command::cassmount;
use super::compat_table::{self, Cell};
use super::load::load;
use super::mount::Mount;
use super::support::process::{Finished, run};
use super::support::{Cqlsh, Node, NodeOptions, TOOL_DEADLINE, Truth, Version};

const HOST: &str = "node1";

/// Names the releases that are tried: how their names begin, apart by blanks. All where it is not
/// set.
const CHOICE: &str = "CASSMOUNT_COMPAT_RELEASES";

/// A release, as a column of the table.
struct Release {
    name: &'static str,
    version: Version,
    yaml: &'static str,
}

const RELEASES: [Release; 4] = [
    Release { name: "5.0.6 BIG", version: Version::V5_0, yaml: "" },
    Release {
        name: "5.0.6 BTI, UUID ids",
        version: Version::V5_0,
        yaml: "storage_compatibility_mode: NONE\nsstable: {selected_format: bti}\nuuid_sstable_identifiers_enabled: true",
    },
    Release { name: "4.1.10", version: Version::V4_1, yaml: "" },
    Release { name: "4.0.19", version: Version::V4_0, yaml: "" },
];

/// `node` is the last: it wipes the node.
const WAYS: [&str; 7] = ["sstableloader", "import", "extract", "instant", "schema", "load", "node"];

/// What Cassandra's log says where a load fails, and what that means.
const SAI: (&str, &str) = (
    "Incomplete per-SSTable index build",
    "sstableloader sends no components of a storage-attached index, and a node refuses a whole SSTable without \
     them («Incomplete per-SSTable index build»). `restore load --create-schema` creates the index after the rows",
);

/// A kind of table: its name, and what makes and fills it.
const KINDS: [(&str, &[&str]); 11] = [
    ("plain", &["CREATE TABLE c.plain (id int PRIMARY KEY, v text)"]),
    ("udt", &["CREATE TYPE c.place (city text)", "CREATE TABLE c.udt (id int PRIMARY KEY, v frozen<place>)"]),
    ("counter", &["CREATE TABLE c.counter (id int PRIMARY KEY, v counter)"]),
    ("indexed", &["CREATE TABLE c.indexed (id int PRIMARY KEY, v text)", "CREATE INDEX by_v ON c.indexed (v)"]),
    ("sai", &["CREATE TABLE c.sai (id int PRIMARY KEY, v text)", "CREATE INDEX sai_v ON c.sai (v) USING 'sai'"]),
    (
        "viewed",
        &[
            "CREATE TABLE c.viewed (id int PRIMARY KEY, v text)",
            "CREATE MATERIALIZED VIEW c.of_viewed AS SELECT * FROM c.viewed \
             WHERE v IS NOT NULL AND id IS NOT NULL PRIMARY KEY (v, id)",
        ],
    ),
    ("zstd", &["CREATE TABLE c.zstd (id int PRIMARY KEY, v text) WITH compression = {'class': 'ZstdCompressor'}"]),
    (
        "uncompressed",
        &["CREATE TABLE c.uncompressed (id int PRIMARY KEY, v text) WITH compression = {'enabled': false}"],
    ),
    ("static", &["CREATE TABLE c.static (id int, t int, s text STATIC, v text, PRIMARY KEY (id, t))"]),
    (
        "recreated",
        &[
            "CREATE TABLE c.recreated (id int PRIMARY KEY, v text)",
            "INSERT INTO c.recreated (id, v) VALUES (-1, 'of before')",
            "DROP TABLE c.recreated",
            "CREATE TABLE c.recreated (id int PRIMARY KEY, v text)",
        ],
    ),
    (
        "altered",
        &[
            "CREATE TABLE c.altered (id int PRIMARY KEY, w text, gone text)",
            "INSERT INTO c.altered (id, w, gone) VALUES (-1, 'w', 'gone')",
            "ALTER TABLE c.altered DROP gone",
            "ALTER TABLE c.altered ADD v text",
        ],
    ),
];

fn fill(node: &Node, kind: &str) {
    for id in 0..40 {
        node.cql(&match kind {
            "udt" => format!("INSERT INTO c.udt (id, v) VALUES ({id}, {{city: 'c{id}'}})"),
            "counter" => format!("UPDATE c.counter SET v = v + {id} WHERE id = {id}"),
            "static" => format!("INSERT INTO c.static (id, t, s, v) VALUES ({}, {id}, 's', 'v{id}')", id % 5),
            _ => format!("INSERT INTO c.{kind} (id, v) VALUES ({id}, 'v{id}')"),
        });
    }
}

/// A kind's tables: itself, and its view.
fn tables(kind: &str) -> Vec<String> {
    let view = (kind == "viewed").then(|| "c.of_viewed".to_owned());
    std::iter::once(format!("c.{kind}")).chain(view).collect()
}

fn truths(node: &Node, kind: &str) -> Vec<Truth> {
    tables(kind).iter().map(|table| node.truth(table)).collect()
}

struct Bench {
    node: Node,
    mount: Mount,
    cqlsh: Cqlsh,
    work: tempfile::TempDir,
    tag: String,
}

fn failed(finished: &Finished) -> Result<(), String> {
    if finished.status.success() {
        return Ok(());
    }
    let printed = finished.printed();
    let line = printed.lines().rev().find(|line| !line.trim().is_empty() && !line.starts_with('\t'));
    Err(line.unwrap_or("it fails without a word").trim().to_owned())
}

impl Bench {
    fn cassmount(&self, words: &[OsString]) -> Finished {
        let mut command = cassmount();
        command.env("CASSMOUNT_STATE_DIR", self.mount.state_dir()).args(words);
        run(&mut command, TOOL_DEADLINE)
    }

    fn directory(&self, table: &str) -> PathBuf {
        self.mount.tree().flat(HOST, &self.tag, table)
    }

    /// The same, where one way that goes wrong altogether is no end of the others.
    fn attempt(&self, way: &str, kind: &str, truth: &[Truth]) -> Result<(), String> {
        let before = self.node.log().len();
        let done = guarded(|| self.try_way(way, kind, truth));
        let explained = done.is_err() && self.node.log().get(before..).is_some_and(|log| log.contains(SAI.0));
        if explained { Err(SAI.1.to_owned()) } else { done }
    }

    /// Empties the tables, takes this way, and says why they do not hold what they held.
    fn try_way(&self, way: &str, kind: &str, truth: &[Truth]) -> Result<(), String> {
        let node = &self.node;
        node.cql(&format!("TRUNCATE c.{kind}"));
        let mut from_extracted = None;
        match way {
            // A view is filled from its base table.
            "sstableloader" => {
                failed(&run(&mut node.sstableloader(&self.directory(&format!("c.{kind}")), &[]), TOOL_DEADLINE))?;
            }
            "extract" => from_extracted = Some(self.extract(kind)?),
            "instant" => {
                let nodetool = node.nodetool_script(self.work.path(), "");
                for table in tables(kind) {
                    let words = ["restore", "instant", "--table", &*table, "--at", &*self.tag, "--source-host", HOST];
                    let mut words: Vec<OsString> = words.map(Into::into).into();
                    words.extend([
                        "--nodetool".into(),
                        nodetool.clone().into(),
                        "--mount".into(),
                        self.mount.root().into(),
                    ]);
                    words.extend(["--cassandra-yaml".into(), node.conf_directory().join("cassandra.yaml").into()]);
                    failed(&self.cassmount(&words))?;
                }
            }
            "schema" => return self.schema(kind),
            "load" => {
                self.drop(kind);
                let table = format!("c.{kind}");
                let words = ["--at", &*self.tag, "--table", &*table, "--create-schema"];
                failed(&load(node, &self.mount, &self.cqlsh, "", &words))?;
            }
            _ => {}
        }
        if matches!(way, "import" | "extract") {
            for table in tables(kind) {
                let directory = match &from_extracted {
                    Some(root) => below(&root.join("c"), table.trim_start_matches("c.")),
                    None => self.directory(&table),
                };
                failed(&node.import(&["-p", "-l", "-r"], &table, &[directory]))?;
            }
        }
        // A view is filled in the background.
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            if truths(node, kind) == truth {
                return Ok(());
            }
            if Instant::now() > until {
                return Err("rows are missing afterwards".to_owned());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn extract(&self, kind: &str) -> Result<PathBuf, String> {
        let target = self.work.path().join(format!("extracted-{kind}"));
        let mut words: Vec<OsString> = vec!["extract".into(), self.bucket().into(), HOST.into(), (&*self.tag).into()];
        words.push(target.clone().into());
        for table in tables(kind) {
            words.extend(["--table".into(), table.into()]);
        }
        words.extend(["--key-file".into(), self.work.path().join("key").into()]);
        words.extend(["--cache-dir".into(), self.work.path().join("cache").into()]);
        failed(&self.cassmount(&words)).map(|()| target)
    }

    fn bucket(&self) -> PathBuf {
        self.work.path().join("bucket")
    }

    /// Drops the table and creates it from what `cassmount schema` prints.
    fn schema(&self, kind: &str) -> Result<(), String> {
        let table = format!("c.{kind}");
        let words = ["schema".into(), self.bucket().into_os_string(), HOST.into(), (&*self.tag).into()];
        let mut words: Vec<OsString> = words.into();
        words.extend(["--table".into(), (&*table).into(), "--key-file".into()]);
        words.extend([
            self.work.path().join("key").into(),
            "--cache-dir".into(),
            self.work.path().join("cache").into(),
        ]);
        let printed = self.cassmount(&words);
        failed(&printed)?;
        let before = self.node.try_describe(&table);
        self.drop(kind);
        let text: String =
            printed.stdout.lines().filter(|line| !line.starts_with("--")).fold(String::new(), |mut all, line| {
                let _ = writeln!(all, "{line}");
                all
            });
        for statement in text.split(';').map(str::trim).filter(|text| !text.is_empty()) {
            self.node.try_cql(statement)?;
        }
        if self.node.try_describe(&table) == before { Ok(()) } else { Err("it is described otherwise".to_owned()) }
    }

    /// Drops the table, and its view first.
    fn drop(&self, kind: &str) {
        if kind == "viewed" {
            self.node.cql("DROP MATERIALIZED VIEW IF EXISTS c.of_viewed");
        }
        self.node.cql(&format!("DROP TABLE c.{kind}"));
    }

    /// Wipes the node and has it put together again.
    fn node(&self, kinds: &[(&str, Vec<Truth>)]) -> Vec<Result<(), String>> {
        self.node.shut_down();
        // What `instant` has linked is forgotten: its tables go. Before 4.1 it has linked nothing.
        let journals = self.mount.state_dir().join("restore");
        if journals.exists() {
            fs::remove_dir_all(journals).unwrap();
        }
        let data = self.node.data_directory();
        for name in ["data", "commitlog", "saved_caches", "hints", "cdc_raw"] {
            let _ = fs::remove_dir_all(data.with_file_name(name));
        }
        fs::create_dir(&data).unwrap();
        let words = ["restore", "node", "--cold-start", "--source-host", HOST, "--at", &*self.tag, "--write-config"];
        let mut words: Vec<OsString> = words.map(Into::into).into();
        words.extend(["--mount".into(), self.mount.root().into(), "--unit-dir".into(), self.work.path().into()]);
        words.extend(["--cassandra-yaml".into(), self.node.conf_directory().join("cassandra.yaml").into()]);
        words.extend(["--cassandra".into(), self.node.installation.home().into(), "--indexes-are-built".into()]);
        if let Err(why) = failed(&self.cassmount(&words)) {
            return kinds.iter().map(|_| Err(why.clone())).collect();
        }
        self.node.start_again();
        let of = |(kind, truth): &(&str, Vec<Truth>)| {
            if truths(&self.node, kind) == *truth { Ok(()) } else { Err("rows are missing afterwards".to_owned()) }
        };
        kinds.iter().map(of).collect()
    }
}

/// What is done, or the panic that ended it.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panics");
        Err(said.lines().next().unwrap_or_default().to_owned())
    })
}

fn below(keyspace: &Path, table: &str) -> PathBuf {
    let entries = fs::read_dir(keyspace).unwrap().map(|entry| entry.unwrap().path());
    let is_it = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().split('-').next() == Some(table);
    entries.into_iter().find(is_it).unwrap_or_else(|| panic!("no {table} in {}", keyspace.display()))
}

/// The cells of one release, by kind and way; none: no such table there.
fn try_release(release: &Release) -> Option<Vec<Vec<Cell>>> {
    const TEST: &str = "every_way_takes_every_kind_of_table";
    let extra_yaml = format!("disk_failure_policy: stop\n{}", release.yaml);
    let cqlsh = match Cqlsh::find() {
        Ok(cqlsh) => cqlsh,
        Err(missing) => {
            missing.skip(TEST);
            return None;
        }
    };
    let node = match Node::start(release.version, &NodeOptions { extra_yaml, ..NodeOptions::default() }) {
        Ok(node) => node,
        Err(missing) => {
            missing.skip(TEST);
            return None;
        }
    };
    node.cql("CREATE KEYSPACE c WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}");
    let mut kinds = Vec::new();
    for (kind, statements) in KINDS.iter().filter(|(kind, _)| *kind != "sai" || release.version == Version::V5_0) {
        statements.iter().for_each(|statement| node.cql(statement));
        fill(&node, kind);
        kinds.push((*kind, truths(&node, kind)));
    }
    let work = tempfile::tempdir().unwrap();
    let (tag, key, bucket) = (backup::tag(), work.path().join("key"), work.path().join("bucket"));
    fs::write(&key, "of the table\n").unwrap();
    backup::full(&node, &bucket.join(HOST).join(&tag), &key);
    let mount = Mount::of(&bucket, &["--key-file", key.to_str().unwrap()], TEST)?;
    let bench = Bench { node, mount, cqlsh, work, tag };
    let mut cells: Vec<Vec<Cell>> = Vec::new();
    for (kind, truth) in &kinds {
        let (_, others) = WAYS.split_last().expect("there are ways");
        cells.push(others.iter().map(|way| Some(bench.attempt(way, kind, truth))).collect());
    }
    let of_node = guarded(|| Ok(bench.node(&kinds)));
    let of_node = of_node.unwrap_or_else(|why| kinds.iter().map(|_| Err(why.clone())).collect());
    for (row, cell) in cells.iter_mut().zip(of_node) {
        row.push(Some(cell));
    }
    if let Some(sai) = KINDS.iter().position(|(kind, _)| *kind == "sai").filter(|_| kinds.len() < KINDS.len()) {
        cells.insert(sai, vec![None; WAYS.len()]);
    }
    let Bench { node, mount, work, .. } = bench;
    drop(node);
    mount.force_unmount();
    drop(work);
    Some(cells)
}

#[test]
#[ignore = "takes a quarter of an hour: scripts/compat"]
fn every_way_takes_every_kind_of_table() {
    let choice = std::env::var(CHOICE).unwrap_or_default();
    let is_chosen = |name: &str| choice.is_empty() || choice.split(' ').any(|start| name.starts_with(start));
    let names = RELEASES.each_ref().map(|release| release.name);
    let chosen: Vec<&Release> = RELEASES.iter().filter(|release| is_chosen(release.name)).collect();
    assert!(!chosen.is_empty(), "none of {} begins with {choice:?}", names.join(", "));
    let path = testkit::project().join("docs/compatibility.md");
    let before = fs::read_to_string(&path).unwrap();
    let mut text = before.clone();
    for release in chosen {
        let Some(cells) = try_release(release) else { return };
        let kinds = KINDS.iter().map(|(kind, _)| *kind);
        let section = compat_table::section(release.name, &WAYS, &kinds.zip(cells).collect::<Vec<_>>());
        text = compat_table::document(&text, &names, &[(release.name, section)]);
        // What is tried is told, whatever comes of the next release.
        fs::write(&path, &text).unwrap();
    }
    let works = |text: &str| names.iter().flat_map(|name| compat_table::working(text, name)).collect::<Vec<_>>();
    let now = works(&text);
    let lost: Vec<_> = works(&before).into_iter().filter(|cell| !now.contains(cell)).collect();
    assert!(lost.is_empty(), "what was told as working once: {lost:?}");
    let is_plain = |name: &str| WAYS.iter().all(|way| now.contains(&[name, "plain", way].map(str::to_owned)));
    assert!(names.into_iter().filter(|name| is_chosen(name)).all(is_plain), "{text}");
}
