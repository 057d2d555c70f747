//! A table of a real Cassandra, `bench.readings`, in a backup as the scripts make it, and what each
//! of its rows holds.

use super::{Random, cassmount, data_dir, drop_pages, settle, shell};
use crate::cassandra::process::run;
use crate::cassandra::{Node, TOOL_DEADLINE};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub const HOST: &str = "bench-a";
pub const TAG: &str = "2026-11-20-03-00";
const DIRECTORY: &str = "readings-5b2f64a0c5a511f0a1b2c3d4e5f60718";
const CREATE: &str =
    "CREATE TABLE bench.readings (id bigint PRIMARY KEY, payload text) WITH ID = 5b2f64a0-c5a5-11f0-a1b2-c3d4e5f60718";
/// Numbers in a payload, and the digits of each.
const WORDS: usize = 32;
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Bytes of a row in an SSTable, about.
const ROW: u64 = 460;
/// Longest making of SSTables.
const WRITING: Duration = Duration::from_mins(30);

/// A bucket with that table.
pub struct Bucket {
    pub path: PathBuf,
    pub key_file: PathBuf,
    pub rows: u64,
    /// Bytes of the table's files.
    pub plain_size: u64,
}

/// Creates the table, empty, as it was when it was backed up.
pub fn create(node: &Node) {
    node.cql("DROP KEYSPACE IF EXISTS bench");
    node.cql("CREATE KEYSPACE bench WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 1}");
    node.cql(CREATE);
}

/// What the row with this id holds.
fn payload(id: u64) -> String {
    let mut random = Random::new((id + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let words = (0..WORDS).map(|_| random.next());
    words.flat_map(|word| (0..13).map(move |digit| char::from(DIGITS[(word >> (5 * digit) & 31) as usize]))).collect()
}

impl Bucket {
    /// Makes a backup of about `mebibytes` MiB of the node's table, or takes the one that an
    /// earlier run made. The node has the table.
    pub fn of(node: &Node, mebibytes: u64) -> Self {
        let base = data_dir().join(format!("instant-{mebibytes}"));
        let (path, key_file) = (base.join("bucket"), base.join("key.txt"));
        let rows = (mebibytes << 20) / ROW;
        let size = base.join("plain-size");
        let known = fs::read_to_string(&size).ok().and_then(|text| text.parse().ok());
        if let Some(plain_size) = known {
            return Self { path, key_file, rows, plain_size };
        }
        eprintln!("making {rows} rows of bench.readings and packing them with tar, gzip and openssl …");
        let _ = fs::remove_dir_all(&base);
        let set = path.join(HOST).join(TAG);
        fs::create_dir_all(set.join("bench")).expect("create a directory");
        fs::create_dir_all(set.join("system_schema")).expect("create a directory");
        fs::write(&key_file, "a passphrase for benchmarks\n").expect("write the key");

        let plain = base.join("plain/bench/readings");
        fs::create_dir_all(&plain).expect("create a directory");
        let source = crate::project().join("tests/testkit/src/bench/Readings.java");
        let mut writer = node.java_source(&source, 1024);
        writer.arg(&plain).args(["0", &rows.to_string()]);
        run(&mut writer, WRITING).expect_success();
        fs::write(plain.join("schema.cql"), format!("{CREATE};\n")).expect("write schema.cql");
        let plain_size = fs::read_dir(&plain)
            .expect("list the SSTables")
            .map(|file| file.expect("a file").metadata().expect("stat").len())
            .sum();
        pack(&plain, &key_file, &set.join("bench/readings.tar.gz.enc"));
        node.nodetool(&["flush", "system_schema"]).expect_success();
        for table in fs::read_dir(node.data_directory().join("system_schema")).expect("list").flatten() {
            let name = table.file_name().into_string().expect("UTF-8");
            let archive = format!("system_schema/{}.tar.gz.enc", name.split('-').next().unwrap_or_default());
            pack(&table.path(), &key_file, &set.join(archive));
        }
        fs::write(set.join("schema_mapping.json"), format!(r#"{{"bench.readings":"{DIRECTORY}"}}"#)).expect("write");
        fs::write(set.join("schema.cql"), format!("{CREATE};\n")).expect("write");
        fs::write(set.join("backup_manifest.json"), manifest(node)).expect("write the manifest");
        fs::remove_dir_all(base.join("plain")).expect("remove the plain files");
        fs::write(size, format!("{plain_size}")).expect("finish the bucket");
        Self { path, key_file, rows, plain_size }
    }

    pub fn archive(&self) -> PathBuf {
        self.path.join(HOST).join(TAG).join("bench/readings.tar.gz.enc")
    }

    /// Where sstableloader wants to be pointed at.
    pub fn table_in(mountpoint: &Path) -> PathBuf {
        mountpoint.join(HOST).join("restore-points").join(TAG).join("bench").join(DIRECTORY)
    }

    /// Indexes the archive, and puts the index beside it.
    pub fn publish(&self) {
        let work = tempfile::tempdir_in(data_dir()).expect("create a directory");
        let mut command = Command::new(cassmount());
        command.arg("index").arg(&self.path).args([HOST, TAG, "--publish", "--quiet", "--key-file"]);
        super::run(command.arg(&self.key_file).arg("--cache-dir").arg(work.path()));
    }

    /// Nothing left to be written, and the archive out of the page cache.
    pub fn cool(&self) {
        settle(4 << 10);
        drop_pages(&self.archive());
    }

    /// Takes published indexes away again.
    pub fn forget_indexes(&self) {
        let _ = fs::remove_dir_all(self.path.join(".cassmount"));
    }

    /// What `SELECT JSON payload` says of the row with this id.
    pub fn row(&self, id: u64) -> String {
        format!(r#"{{"payload": "{}"}}"#, payload(id))
    }

    /// Queries rows from all over the table, and fails the benchmark where one is not what was
    /// backed up.
    pub fn check(&self, node: &Node) {
        for n in 0..20 {
            let id = n * (self.rows - 1) / 19;
            let rows = node.json_rows(&format!("payload FROM bench.readings WHERE id = {id}"));
            assert_eq!(rows, [self.row(id)], "row {id}");
        }
    }
}

fn pack(plain: &Path, key_file: &Path, archive: &Path) {
    shell(&format!(
        "tar -C {} --exclude=./backups --exclude=./snapshots -c . | gzip | openssl enc -aes-256-cbc -salt -pbkdf2 -md sha256 -pass file:{} -out {}",
        plain.display(),
        key_file.display(),
        archive.display()
    ));
}

/// With the node's own tokens.
fn manifest(node: &Node) -> String {
    let info = run(node.nodetool_command().args(["info", "-T"]), TOOL_DEADLINE).expect_success();
    let tokens = info.lines().filter(|line| line.starts_with("Token "));
    let tokens: Vec<&str> = tokens.filter_map(|line| line.split(':').nth(1)).map(str::trim).collect();
    serde_json::json!({
        "cluster_name": "bench", "backup_id": TAG, "backup_type": "full", "timestamp_utc": "2026-11-20T03:00:10+00:00",
        "source_node": {"ip_address": "127.0.0.1", "datacenter": "dc1", "rack": "r1", "tokens": tokens},
        "tables_backed_up_count": 1
    })
    .to_string()
}
