//! What is Medusa's own: its manifests decide, and Medusa itself writes what the tests write.

use crate::history::{copy, history, names, run};
use crate::medusa::{Differential, Full, a_data_file, back_up, name, put};
use crate::suite::Written;
use crate::unpacked::files_below;
use crate::walk::walk_path;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Any file that is not what Medusa uploaded gives nothing: not the index of an SSTable either,
/// which has no checksum of its own.
#[test]
fn no_byte_is_served_that_the_manifest_denies() {
    let written = Written::new::<Full>();
    let (host, data) = a_data_file(&written.path());
    let damaged = data.to_str().unwrap().replace("-Data.db", "-Index.db");
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[0] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let mounted = written.mount();
    let shop = mounted.path(format!("{host}/restore-points/latest/shop"));
    let users = names(&shop).into_iter().find(|name| name.starts_with("users-")).unwrap();
    let shown = shop.join(users).join(Path::new(&damaged).file_name().unwrap());
    let error = fs::read(&shown).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO), "{error}");
    assert!(fs::read(shown.with_file_name(data.file_name().unwrap())).is_ok(), "the others are good");
    let sets = walk_path(&mounted.path(format!("{host}/backup-sets/202611210250")));
    let names: Vec<&str> = sets.keys().map(String::as_str).collect();
    assert_eq!(names, ["manifest.json", "schema.cql", "server_version.json", "tokenmap.json"]);
}

/// Medusa's map of tokens tells where each node stood, so that nodes come back in their places.
#[test]
fn a_cluster_comes_back_by_medusas_tokens() {
    let written = Written::new::<Full>();
    let mut command = crate::command::cassmount();
    command.args(["restore", "plan", "--json", "--layout", "medusa"]).arg(written.path());
    command.arg("--cache-dir").arg(written.path().with_file_name("cache"));
    let output = command.output().unwrap();
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    assert_eq!(plan["way"], "same_topology", "{plan}");
    let host = &plan["hosts"][0];
    let place = (&host["datacenter"], &host["rack"], &host["tokens"]);
    assert_eq!(place, (&"dc1".into(), &"r1".into(), &2.into()), "{plan}");
    let mount = plan["steps"][0]["commands"][0].as_str().unwrap();
    assert!(mount.ends_with("/mnt/backups --layout medusa --key-file K --allow-other"), "{mount}");
    let point = plan["hosts"][1]["point"].as_str().unwrap();
    fs::write(written.path().join("cass-b").join(point).join("meta/tokenmap.json"), "[]").unwrap();
    let output = command.output().unwrap();
    let why = format!("{point} of cass-b: tokenmap.json");
    assert!(String::from_utf8_lossy(&output.stderr).contains(&why), "{output:?}");
}

/// A backup without its manifest did not finish, one with a manifest of something else cannot be
/// used, and what a manifest misses is named.
#[test]
fn the_manifest_decides() {
    let written = Written::new::<Differential>();
    let meta = |name: &str| written.path().join("cass-a").join(name).join("meta/manifest.json");
    let (_, data) = a_data_file(&written.path());
    fs::remove_file(&data).unwrap();
    fs::remove_file(meta("202611210245")).unwrap();
    put(&written.path().join("cass-a/other/meta/manifest.json"), "{}");
    put(&written.path().join("cass-a/other/meta/schema.cql"), "");
    let listed = written.run("list", &["cass-a"], false);
    for told in ["202611210245", "did not finish", "it is no manifest of Medusa's", "and it is not there"] {
        assert!(listed.contains(told), "{told}: {listed}");
    }
    assert!(listed.contains(data.file_name().unwrap().to_str().unwrap()), "{listed}");
}

/// Medusa itself, driven over the same snapshots, writes the same objects. It wants a Cassandra for
/// the snapshot and the schema only.
#[test]
fn is_what_medusa_writes() {
    const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/layouts/medusa_backup.py");
    let python = std::env::var("CASSMOUNT_MEDUSA_PYTHON")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/target/medusa/bin/python3").to_owned());
    if !Command::new(&python).args(["-c", "import medusa"]).output().is_ok_and(|output| output.status.success()) {
        let why =
            format!("{python} has no cassandra-medusa (scripts/test installs it; or set CASSMOUNT_MEDUSA_PYTHON)");
        crate::skip::skip("layouts medusa::is_what_medusa_writes", &why);
        return;
    }
    for differential in [false, true] {
        let work = tempfile::tempdir().unwrap();
        let (ours, theirs, root) = (work.path().join("ours"), work.path().join("theirs"), work.path().join("root"));
        for set in history().sets.iter().filter(|set| set.full) {
            back_up(set, &ours, differential);
            // The node's data directory.
            let node = root.join(&set.host).join("data");
            for table in &set.tables {
                let snapshot = node
                    .join(&table.keyspace)
                    .join(&table.directory)
                    .join("snapshots")
                    .join(format!("medusa-{}", name(set)));
                copy(&table.files, &snapshot);
            }
            let mode = if differential { "differential" } else { "full" };
            let mut medusa = Command::new(&python);
            medusa
                .arg(SCRIPT)
                .arg(&theirs)
                .arg(&node)
                .args([&*set.host, &*name(set), mode])
                .arg(set.schema.as_ref().unwrap());
            run(&mut medusa);
        }
        assert_eq!(comparable(&theirs), comparable(&ours), "differential: {differential}");
    }
}

/// Names and contents of all objects, but for times in them, and for the order of manifests.
fn comparable(tree: &Path) -> BTreeMap<String, String> {
    let digits = |name: &str| name.bytes().filter(u8::is_ascii_digit).count();
    let mut found = BTreeMap::new();
    for (path, content, _) in files_below(tree) {
        if let Some((name, _)) = path.rsplit_once('_').filter(|_| path.ends_with(".timestamp")) {
            assert!(digits(&path) > 10);
            found.insert(name.to_owned(), String::new());
        } else if path.contains("manifest") {
            let sections: Vec<Value> = serde_json::from_slice(&content).unwrap();
            let objects = |section: &Value| -> BTreeSet<String> {
                section["objects"].as_array().unwrap().iter().map(ToString::to_string).collect()
            };
            let tables: BTreeMap<String, BTreeSet<String>> = sections
                .iter()
                .map(|section| (format!("{}/{}", section["keyspace"], section["columnfamily"]), objects(section)))
                .collect();
            found.insert(path, format!("{tables:?}"));
        } else if let Ok(json) = serde_json::from_slice::<Value>(&content) {
            found.insert(path, json.to_string());
        } else {
            found.insert(path, crc32fast::hash(&content).to_string());
        }
    }
    found
}
