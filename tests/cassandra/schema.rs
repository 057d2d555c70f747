//! The schema.cql of a restore point, fed to an empty node, makes the schema that the backed-up
//! node had then.
//!
//! What it had, Cassandra itself tells: the sets' own system_schema SSTables, unpacked with openssl
//! and tar, are imported into tables of their shape in another keyspace, where the node merges them
//! as the backed-up one did. Not even the order of the sets matters to it, and nothing of cassmount
//! takes part.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::bucket::sample_keys;
use super::command::cassmount;
use super::node;
use super::support::process::run_all;
use super::support::sample::{self, KEYSPACES};
use super::support::tools::{AT_ONCE, TOOL_DEADLINE};
use super::support::{Cqlsh, Node, Version};

/// Where the imported tables are.
const TOLD: &str = "told";

/// Rows of the sample's keyspaces, by table of system_schema.
type Rows = BTreeMap<String, BTreeSet<String>>;

#[test]
fn schema_cql_makes_the_tables_of_5_0_again() {
    check(Version::V5_0, "schema_cql_makes_the_tables_of_5_0_again");
}

#[test]
fn schema_cql_makes_the_tables_of_5_0_again_on_4_1() {
    check(Version::V4_1, "schema_cql_makes_the_tables_of_5_0_again_on_4_1");
}

/// At 02-48 users has its new column and everything is still there; at 02-49 a table is gone and
/// one was made anew.
fn check(version: Version, test: &str) {
    let Some(node) = node(version, test) else { return };
    let shell = Cqlsh::find().inspect_err(|missing| missing.skip(&format!("{test} (through cqlsh)"))).ok();
    for (host, point) in [("cass-a", "2026-11-21-02-48"), ("cass-b", "2026-11-21-02-49")] {
        clear(&node);
        let told = told(&node, host, point);
        assert_sane(&told, point);
        let statements = sample::statements(&schema_cql(host, point), version);

        for statement in &statements {
            node.cql(statement);
        }
        assert_same(&made(&node, &told), &told, &format!("{host} {point}"));

        if let Some(shell) = &shell {
            clear(&node);
            let file = tempfile::NamedTempFile::new().unwrap();
            let text = match version {
                Version::V5_0 => schema_cql(host, point),
                // It does not know all of them.
                Version::V4_1 | Version::V4_0 => format!("{};\n", statements.join(";\n\n")),
            };
            std::fs::write(file.path(), text).unwrap();
            let finished = shell.execute(&node, file.path());
            assert!(finished.status.success() && finished.stderr.is_empty(), "{finished}");
            assert_same(&made(&node, &told), &told, &format!("{host} {point} through cqlsh"));
        }
    }
    clear(&node);
}

/// Removes what a test may have left.
fn clear(node: &Node) {
    for keyspace in KEYSPACES.iter().chain([&TOLD]) {
        node.cql(&format!("DROP KEYSPACE IF EXISTS {keyspace}"));
    }
}

/// What a user gets.
fn schema_cql(host: &str, point: &str) -> String {
    let cache = tempfile::tempdir().unwrap();
    let mut command = cassmount();
    command.arg("schema").arg(sample::bucket()).args([host, point]).args(sample_keys());
    let output = command.arg("--cache-dir").arg(cache.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What the backed-up node's system_schema held at the restore point.
fn told(node: &Node, host: &str, point: &str) -> Rows {
    let work = tempfile::tempdir().unwrap();
    let tables = unpack(host, point, work.path());
    node.cql(&format!(
        "CREATE KEYSPACE {TOLD} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}"
    ));
    let mut imports = Vec::new();
    for (table, directories) in &tables {
        let Some(statement) = node.try_describe(&format!("system_schema.{table}")) else {
            // Masks came with 5.0, and the sample has none.
            assert_eq!((node.version(), table.as_str()), (Version::V4_1, "column_masks"));
            continue;
        };
        node.cql(&statement.replacen("system_schema.", &format!("{TOLD}."), 1));
        if node.version() == Version::V4_1 && ["tables", "views"].contains(&table.as_str()) {
            node.cql(&format!(
                "ALTER TABLE {TOLD}.{table} ADD (allow_auto_snapshot boolean, incremental_backups boolean)"
            ));
        }
        imports.push(node.import_command(&[], &format!("{TOLD}.{table}"), directories));
    }
    let imported = imports.len();
    run_all(imports, AT_ONCE, TOOL_DEADLINE);
    let rows = rows(node, TOLD, tables.into_keys());
    node.cql(&format!("DROP KEYSPACE {TOLD}"));
    assert!(imported >= 6, "{imported} tables of {host} {point}");
    rows
}

/// The system_schema SSTables of the sets of a chain, each set's in directories of its own, by
/// table.
fn unpack(host: &str, point: &str, into: &Path) -> BTreeMap<String, Vec<PathBuf>> {
    let mut tables = BTreeMap::<String, Vec<PathBuf>>::new();
    for set in sample::restore_points(host).into_iter().filter(|set| set.as_str() <= point) {
        for (name, object) in sample::files(&sample::bucket().join(host).join(&set).join("system_schema")) {
            let table = name.strip_suffix(".tar.gz.enc").expect("an archive");
            let directory = into.join(&set).join(TOLD).join(table);
            sample::unpack(&object, &directory);
            if sample::files(&directory).keys().any(|name| name.ends_with("-Data.db")) {
                tables.entry(table.to_owned()).or_default().push(directory);
            }
        }
    }
    tables
}

/// What the node's own schema is now, of the tables that `told` has.
fn made(node: &Node, told: &Rows) -> Rows {
    rows(node, "system_schema", told.keys().cloned())
}

fn rows(node: &Node, keyspace: &str, tables: impl IntoIterator<Item = String>) -> Rows {
    let known = |table: &String| node.try_describe(&format!("system_schema.{table}")).is_some();
    let rows = tables.into_iter().filter(known).map(|table| {
        let of = |of: &&str| node.json_rows(&format!("* FROM {keyspace}.{table} WHERE keyspace_name = '{of}'"));
        let rows = KEYSPACES.iter().flat_map(of).filter_map(|row| comparable(node.version(), &row));
        let rows = rows.collect();
        (table, rows)
    });
    rows.collect()
}

/// A row without what the release cannot have.
fn comparable(version: Version, row: &str) -> Option<String> {
    let mut row: Map<String, Value> = serde_json::from_str(row).unwrap();
    if version == Version::V4_1 {
        row.remove("allow_auto_snapshot");
        row.remove("incremental_backups");
        let is_sai = row.get("options").is_some_and(|options| options["class_name"] == "sai");
        return (!is_sai).then(|| Value::from(row).to_string());
    }
    Some(Value::from(row).to_string())
}

/// Names what differs: whole schemas side by side would help nobody.
#[track_caller]
fn assert_same(made: &Rows, told: &Rows, what: &str) {
    let none = BTreeSet::new();
    for table in made.keys().chain(told.keys()) {
        let [made, told] = [made, told].map(|rows| rows.get(table).unwrap_or(&none));
        let (missing, surplus): (Vec<_>, Vec<_>) = (told.difference(made).collect(), made.difference(told).collect());
        assert!(missing.is_empty() && surplus.is_empty(), "{what}, {table}: lacks {missing:#?}, has {surplus:#?}");
    }
}

/// That the truth is the sample's history (sample/README.md) and not two empty schemas that agree.
fn assert_sane(told: &Rows, point: &str) {
    let recreated = point == "2026-11-21-02-49";
    let has = |table: &str, words: &[&str]| told[table].iter().any(|row| words.iter().all(|word| row.contains(word)));
    assert!(has("columns", &["\"users\"", "\"phone\""]), "{told:#?}");
    assert!(has("types", &["\"address\""]) && has("views", &["\"users_by_name\""]), "{told:#?}");
    assert!(has("indexes", &["\"users_email\""]), "{told:#?}");
    assert_eq!(has("tables", &["\"MixedCase\""]), !recreated);
    let [old, new] = ["77bbc010-e555-11f1-85a8-5b65bc0eb462", "fe786540-e555-11f1-85a8-5b65bc0eb462"];
    assert_eq!((has("tables", &["\"events\"", old]), has("tables", &["\"events\"", new])), (!recreated, recreated));
    // Without the view: users, carts, orders, hits, events, docs, empty_table.
    assert_eq!(told["tables"].len(), if recreated { 7 } else { 8 }, "{:#?}", told["tables"]);
}
