//! What cassandra-medusa writes, full and differential. `medusa_itself` holds the writer here
//! against Medusa.

use crate::layouts::case::LayoutCase;
use crate::layouts::history::{History, Set};
use crate::walk::Tree;
use md5::{Digest, Md5};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// Files that Medusa leaves out of every snapshot.
const LEFT_OUT: [&str; 2] = ["manifest.json", "schema.cql"];

/// A backup's name, the same on all hosts that were backed up together.
pub fn name(set: &Set) -> String {
    set.tag.chars().filter(char::is_ascii_digit).collect()
}

fn seconds(set: &Set) -> i64 {
    set.time.parse::<jiff::Timestamp>().unwrap().as_second()
}

pub fn put(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Backs up one host, as `medusa backup-node` does.
pub fn back_up(set: &Set, into: &Path, differential: bool) {
    let (host, name) = (&set.host, name(set));
    let data = if differential { format!("{host}/data") } else { format!("{host}/{name}/data") };
    let mut sections = Vec::new();
    for table in &set.tables {
        let directory = format!("{data}/{}/{}", table.keyspace, table.directory);
        let mut objects = Vec::new();
        for (path, content, mtime) in crate::unpacked::files_below(&table.files) {
            if LEFT_OUT.contains(&&*path) {
                continue;
            }
            let key = format!("{directory}/{path}");
            // A differential backup leaves what is there in this size; local storage then does not
            // know its MD5.
            let is_there = fs::metadata(into.join(&key)).is_ok_and(|there| there.len() == content.len() as u64);
            if !is_there {
                put(&into.join(&key), &content);
                let time = std::time::UNIX_EPOCH + std::time::Duration::from_micros(mtime.0 as u64);
                fs::File::options().write(true).open(into.join(&key)).unwrap().set_modified(time).unwrap();
            }
            let sum = Md5::digest(&content).iter().fold(String::new(), |sum, byte| format!("{sum}{byte:02x}"));
            let sum = (!is_there).then_some(sum);
            objects.push(json!({"path": key, "MD5": sum, "size": content.len()}));
        }
        sections.push(json!({"keyspace": table.keyspace, "columnfamily": table.directory, "objects": objects}));
    }
    let manifest = Value::Array(sections).to_string();
    let tokenmap = json!({(host): {"tokens": [-1, 7], "is_up": true, "rack": "r1", "dc": "dc1"}}).to_string();
    let schema = fs::read(set.schema.as_ref().unwrap()).unwrap();
    let meta = into.join(host).join(&name).join("meta");
    put(&meta.join("schema.cql"), &schema);
    put(&meta.join("tokenmap.json"), &tokenmap);
    put(&meta.join("server_version.json"), r#"{"server_type": "cassandra", "release_version": "5.0.6"}"#);
    put(&meta.join("manifest.json"), &manifest);
    let index = into.join("index/backup_index").join(&name);
    let (started, finished) = (seconds(set) - 5, seconds(set));
    put(&index.join(format!("tokenmap_{host}.json")), &tokenmap);
    put(&index.join(format!("schema_{host}.cql")), &schema);
    put(&index.join(format!("manifest_{host}.json")), &manifest);
    put(&index.join(format!("started_{host}_{started}.timestamp")), started.to_string());
    put(&index.join(format!("finished_{host}_{finished}.timestamp")), finished.to_string());
    if differential {
        put(&meta.join("differential"), "differential");
        put(&index.join(format!("differential_{host}")), "differential");
    }
    let latest = into.join("index/latest_backup").join(host);
    put(&latest.join("tokenmap.json"), &tokenmap);
    put(&latest.join("backup_name.txt"), &name);
}

fn back_up_all(history: &History, into: &Path, differential: bool) {
    for set in history.sets.iter().filter(|set| set.full) {
        back_up(set, into, differential);
    }
}

fn point(history: &History, host: &str, tag: &str) -> Option<String> {
    history.of_host(host).find(|set| set.full && set.tag == tag).map(name)
}

/// A Data.db of a table, as the newest manifest of the host lists it.
pub fn a_data_file(into: &Path) -> (String, PathBuf) {
    let manifest = fs::read(into.join("cass-a/202611210250/meta/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let is_users = |section: &&Value| section["columnfamily"].as_str().unwrap().starts_with("users-");
    let section = manifest.as_array().unwrap().iter().find(is_users).unwrap();
    let paths = section["objects"].as_array().unwrap().iter().map(|object| object["path"].as_str().unwrap());
    // Not of its index.
    let data = paths.into_iter().find(|path| path.ends_with("-Data.db") && !path.contains("/.")).unwrap();
    ("cass-a".to_owned(), into.join(data))
}

/// Without what Medusa leaves out of a table's snapshot.
fn as_kept(tree: Tree) -> Tree {
    let left_out = |path: &str| path.rsplit('/').next().is_some_and(|name| LEFT_OUT.contains(&name));
    tree.into_iter().filter(|(path, _)| !left_out(path)).collect()
}

pub struct Full;

impl LayoutCase for Full {
    const NAME: &'static str = "medusa";
    const INCREMENTALS: bool = false;

    fn write(history: &History, into: &Path) {
        back_up_all(history, into, false);
    }

    fn point(history: &History, host: &str, tag: &str) -> Option<String> {
        point(history, host, tag)
    }

    fn as_kept(tree: Tree) -> Tree {
        as_kept(tree)
    }

    fn a_data_file(into: &Path) -> (String, PathBuf) {
        a_data_file(into)
    }
}

pub struct Differential;

impl LayoutCase for Differential {
    const NAME: &'static str = "medusa";
    const INCREMENTALS: bool = false;

    fn write(history: &History, into: &Path) {
        back_up_all(history, into, true);
    }

    fn point(history: &History, host: &str, tag: &str) -> Option<String> {
        point(history, host, tag)
    }

    fn as_kept(tree: Tree) -> Tree {
        as_kept(tree)
    }

    fn a_data_file(into: &Path) -> (String, PathBuf) {
        a_data_file(into)
    }
}
