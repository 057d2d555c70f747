//! What people's own scripts write: each table's directory by tar, packed and sealed in all the
//! ways that are read.

use crate::layouts::case::LayoutCase;
use crate::layouts::history::{History, Set, Table, run};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `<YYYYMMDD-HHMMSS>`.
fn date(set: &Set) -> String {
    let digits: String = set.tag.chars().filter(char::is_ascii_digit).collect();
    format!("{}-{}00", &digits[..8], &digits[8..])
}

/// How one set is packed: what its archives' names end in, and the shell command that makes a tar
/// of it.
const PACKINGS: [(&str, &str); 6] = [
    (".tgz", "gzip -1"),
    (".tar", "cat"),
    (".tar.gz.enc", "gzip | openssl enc -aes-256-cbc -salt -pbkdf2 -md sha256 -pass file:$KEY"),
    (".tar.zst", "zstd -q"),
    (".tar.gz", "gzip"),
    (".tar.lz4.enc", "lz4 -q | openssl enc -aes-256-cbc -salt -pbkdf2 -md sha256 -pass file:$KEY"),
];

const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../sample/key-2026-a.txt");

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

/// The packings at hand; where a tool is missing, gzip does its work.
fn packing(number: usize) -> (&'static str, &'static str) {
    let packing = PACKINGS[number % PACKINGS.len()];
    let tool = packing.1.split(' ').next().unwrap();
    if is_there(tool) {
        return packing;
    }
    crate::skip::skip("layouts scripts", &format!("{tool} is not installed (apt-get install {tool})"));
    PACKINGS[0]
}

/// Packs the files of a table; of a snapshot, with the directory that holds them.
fn pack(set: &Set, table: &Table, into: &Path, (suffix, pack): (&str, &str)) {
    let incremental = if set.full { "" } else { "_incr" };
    let name = format!("{}_{}{incremental}{suffix}", table.keyspace, table.directory);
    // `./<file>` of what was flushed, `<snapshot>/<file>` of a snapshot.
    let tar = if set.full { format!("--transform 's,^\\.,{},' .", set.tag) } else { ".".to_owned() };
    let script = format!("set -o pipefail; tar -C \"$FROM\" -c {tar} | {pack} > \"$INTO\"");
    run(Command::new("bash")
        .args(["-c", &script])
        .env("FROM", &table.files)
        .env("INTO", into.join(name))
        .env("KEY", KEY));
}

fn write_set(set: &Set, number: usize, into: &Path) {
    fs::create_dir_all(into).unwrap();
    for table in &set.tables {
        pack(set, table, into, packing(number));
    }
    if let Some(schema) = &set.schema {
        fs::copy(schema, into.join("schema.cql")).unwrap();
    }
    // As if it had been written then.
    let files = fs::read_dir(into).unwrap().map(|entry| entry.unwrap().path());
    run(Command::new("touch").args(["-d", &set.time]).args(files));
}

fn first(directory: &Path, prefix: &str) -> PathBuf {
    let mut found: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with(prefix));
    found.sort();
    found.remove(0)
}

/// In a bucket: `<host>/<date and time>/`.
pub struct ByHost;

impl LayoutCase for ByHost {
    const NAME: &'static str = "scripts";

    fn write(history: &History, into: &Path) {
        for (number, set) in history.sets.iter().enumerate() {
            write_set(set, number, &into.join(&set.host).join(date(set)));
        }
    }

    fn point(history: &History, host: &str, tag: &str) -> Option<String> {
        let set = history.of_host(host).find(|set| set.tag == tag)?;
        Some(if set.full { date(set) } else { format!("{}_incr", date(set)) })
    }

    fn arguments() -> Vec<String> {
        vec!["--key-file".into(), KEY.into()]
    }

    fn named_when_missing(_: &Path) -> String {
        "\"table\": \"users\"".to_owned()
    }

    fn a_data_file(into: &Path) -> (String, PathBuf) {
        ("cass-a".to_owned(), first(&into.join("cass-a/20261121-025000"), "shop_users-"))
    }
}
