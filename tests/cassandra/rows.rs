//! A table of large rows and its backup as the scripts make it, for tests in which reading takes a
//! while.

use super::bucket::{Bucket, HOST, PASSPHRASE};
use super::random::Random;
use super::support::Node;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

pub(crate) const TABLE: &str = "kills.payloads";
pub(crate) const TAG: &str = "2026-11-20-03-00";
const ROW_BYTES: usize = 64 << 10;

/// The backup of a table of so many rows, with ids from 0 on.
pub(crate) struct Rows {
    pub(crate) bucket: Bucket,
    pub(crate) count: usize,
}

impl Rows {
    /// Fills a table of `mebibytes` MiB, backs it up, and leaves it empty.
    pub(crate) fn back_up(node: &Node, mebibytes: usize) -> Self {
        node.cql("DROP KEYSPACE IF EXISTS kills");
        node.cql("CREATE KEYSPACE kills WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}");
        node.cql(&format!("CREATE TABLE {TABLE} (id int PRIMARY KEY, payload blob)"));
        let count = (mebibytes << 20) / ROW_BYTES;
        for id in 0..count {
            node.cql(&format!("INSERT INTO {TABLE} (id, payload) VALUES ({id}, {})", payload(id)));
        }
        node.nodetool(&["snapshot", "-t", TAG, "kills", "system_schema"]).expect_success();
        let bucket = Bucket::new();
        bucket.add_set(TAG, "full");
        let live = node.live_directory(TABLE);
        let mapping = format!(r#"{{"{TABLE}":"{}"}}"#, live.file_name().unwrap().display());
        fs::write(bucket.path().join(HOST).join(TAG).join("schema_mapping.json"), mapping).unwrap();
        pack(&live, &bucket.archive(TAG, "kills", "payloads"));
        for table in fs::read_dir(node.data_directory().join("system_schema")).unwrap() {
            let table = table.unwrap().path();
            let name = table.file_name().unwrap().to_str().unwrap().split('-').next().unwrap().to_owned();
            pack(&table, &bucket.archive(TAG, "system_schema", &name));
        }
        node.cql(&format!("TRUNCATE {TABLE}"));
        node.nodetool(&["clearsnapshot", "-t", TAG]).expect_success();
        assert_eq!(found(node), 0);
        Self { bucket, count }
    }

    /// Where sstableloader wants to be pointed at.
    pub(crate) fn table_in(mountpoint: &Path) -> std::path::PathBuf {
        let keyspace = mountpoint.join(HOST).join("restore-points").join(TAG).join("kills");
        fs::read_dir(keyspace).unwrap().next().unwrap().unwrap().path()
    }

    /// Queries all rows, one by one.
    #[track_caller]
    pub(crate) fn check_all(&self, node: &Node) {
        assert_eq!(found(node), self.count);
        (0..self.count).for_each(|id| check(node, id));
    }
}

/// How many rows the table has. A `count(*)` would want more of them in memory at once than a small
/// node has.
fn found(node: &Node) -> usize {
    let (mut count, mut last) = (0, i64::MIN);
    loop {
        let rows = node.json_rows(&format!("token(id) AS at FROM {TABLE} WHERE token(id) > {last} LIMIT 100"));
        let Some(row) = rows.last() else { return count };
        count += rows.len();
        last = serde_json::from_str::<serde_json::Value>(row).unwrap()["at"].as_i64().unwrap();
    }
}

/// Queries one row.
#[track_caller]
pub(crate) fn check(node: &Node, id: usize) {
    let found = node.json_rows(&format!("payload FROM {TABLE} WHERE id = {id}"));
    assert!(found == [format!(r#"{{"payload": "{}"}}"#, payload(id))], "row {id} is not what it was");
}

/// Bytes that neither Cassandra nor gzip can make smaller, as CQL writes them.
fn payload(id: usize) -> String {
    let mut text = String::with_capacity(2 + 2 * ROW_BYTES);
    text.push_str("0x");
    let mut random = Random::new(id as u64 + 1);
    for _ in 0..ROW_BYTES / 8 {
        let _ = write!(text, "{:016x}", random.next());
    }
    text
}

/// Packs the table's snapshot.
pub(crate) fn pack(table: &Path, archive: &Path) {
    // Compaction unlinks the live file meanwhile, which changes its ctime: tar says so, with status
    // 1.
    const SCRIPT: &str = r#"set -o pipefail
        { tar -C "$0" -c . || [ $? = 1 ]; } | gzip -1 | openssl enc -aes-256-cbc -salt -pbkdf2 -md sha256 -pass env:PASSPHRASE -out "$1""#;
    fs::create_dir_all(archive.parent().unwrap()).unwrap();
    let mut command = Command::new("bash");
    command.args(["-c", SCRIPT]).arg(table.join("snapshots").join(TAG)).arg(archive).env("PASSPHRASE", PASSPHRASE);
    assert!(command.status().unwrap().success());
}
