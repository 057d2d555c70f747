//! Runs `cassmount verify` as a user would.

use super::bucket::{Bucket, HOST, Tar, index_db, sample_keys, statistics_db};
use super::command::cassmount;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::process::{Command, Output};

/// A user with a cache directory of their own.
pub(crate) struct User {
    pub(crate) cache: tempfile::TempDir,
}

impl User {
    pub(crate) fn new() -> Self {
        Self { cache: tempfile::tempdir().unwrap() }
    }

    /// The command, not yet run; without progress.
    pub(crate) fn verify(&self, source: &str, arguments: &[&str]) -> Command {
        let mut command = cassmount();
        command.args(["verify", source]).args(arguments).args(["--quiet", "--cache-dir"]).arg(self.cache.path());
        command
    }

    /// The report as JSON. The exit code must fit it.
    pub(crate) fn report(&self, source: &str, arguments: &[&str]) -> Value {
        report_of(&self.verify(source, arguments).arg("--json").output().unwrap())
    }

    /// The same with the sample bucket's keys.
    pub(crate) fn sample(&self, source: &str, arguments: &[&str]) -> Value {
        self.report(source, &[arguments, &sample_keys()].concat())
    }
}

pub(crate) fn report_of(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked"), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    // 4: the store did not let it come to its end.
    let status = match (report["stopped"].is_null(), report["findings"] == Value::Array(Vec::new())) {
        (false, _) => 4,
        (true, clean) => i32::from(!clean),
    };
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    report
}

/// `host set keyspace.table sstable: problem` for each finding.
pub(crate) fn found(report: &Value) -> BTreeSet<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let findings = report["findings"].as_array().unwrap();
    let lines: BTreeSet<String> = findings
        .iter()
        .map(|finding| {
            let mut line = format!("{} {}", text(&finding["host"]), text(&finding["set"]));
            if finding["table"].is_string() {
                let _ = write!(line, " {}.{}", text(&finding["keyspace"]), text(&finding["table"]));
            }
            if finding["sstable"].is_object() {
                let _ =
                    write!(line, " {}{}", text(&finding["sstable"]["directory"]), text(&finding["sstable"]["name"]));
            }
            line + ": " + &text(&finding["problem"])
        })
        .collect();
    let once: BTreeSet<String> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(once.len(), findings.len(), "one finding twice: {findings:#?}");
    lines
}

pub(crate) fn set_of(lines: &[&str]) -> BTreeSet<String> {
    lines.iter().map(ToString::to_string).collect()
}

/// Bytes that gzip cannot shrink.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// All files of a small uncompressed SSTable, as Cassandra would have them.
pub(crate) fn sstable(tar: Tar, generation: u32, data: &[u8]) -> Tar {
    let name = |component: &str| format!("./nb-{generation}-big-{component}");
    let crcs = data.chunks(64 << 10).map(crc32fast::hash);
    let crc_db: Vec<u8> = std::iter::once(64 << 10).chain(crcs).flat_map(u32::to_be_bytes).collect();
    tar.file(name("Data.db"), data)
        .file(name("CRC.db"), crc_db)
        .file(name("Digest.crc32"), crc32fast::hash(data).to_string())
        .file(name("Statistics.db"), statistics_db(1))
        .file(name("Index.db"), index_db([&b"key"[..]]))
        .file(name("TOC.txt"), b"Data.db\nDigest.crc32\nStatistics.db\nIndex.db\nTOC.txt\nCRC.db\n")
}

/// A table's name and its tar.
pub(crate) type Table<'a> = (&'a str, Vec<u8>);

/// Makes a full of these tables of keyspace ks, still without archives.
pub(crate) fn add_full<'a>(bucket: &Bucket, tag: &str, tables: impl IntoIterator<Item = &'a str>) {
    bucket.add_set(tag, "full");
    let create = |table| format!("CREATE TABLE ks.{table} (id int PRIMARY KEY);\n");
    let schema: String = tables.into_iter().map(create).collect();
    let directory = bucket.path().join(HOST).join(tag);
    fs::write(directory.join("schema.cql"), schema).unwrap();
    fs::write(directory.join("schema_mapping.json"), "{}").unwrap();
}

/// A bucket of a full set and incremental ones, each with some archives of keyspace ks.
pub(crate) fn bucket_of(sets: &[(&str, Vec<Table<'_>>)]) -> Bucket {
    let bucket = Bucket::new();
    for (at, (tag, tables)) in sets.iter().enumerate() {
        if at == 0 {
            add_full(&bucket, tag, tables.iter().map(|(table, _)| *table));
        } else {
            bucket.add_set(tag, "incremental");
        }
        for (table, tar) in tables {
            bucket.add_archive(tag, "ks", table, tar);
        }
    }
    bucket
}
