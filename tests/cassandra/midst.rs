//! A node that is started without the mount in the midst of hydrate: after every single file that
//! became local.

use std::fs;
use std::path::{Path, PathBuf};

use super::bucket::{Bucket, HOST};
use super::instant::{Scene, json, links};
use super::mount::Mount;
use super::node;
use super::rows::{TAG, pack};
use super::support::{Node, Version};
use super::unmounted::Policy;

const KEYSPACE: &str = "midst";
/// Files of an SSTable that are links after a restore: all but Statistics.db.
const FILES: usize = 7;
/// A role that only the backup has.
const ROLE: &str = "night_operator";

#[test]
fn a_start_without_the_mount_after_every_file_that_became_local() {
    sweep(Version::V5_0, "a_start_without_the_mount_after_every_file_that_became_local");
}

#[test]
fn a_start_of_4_1_without_the_mount_after_every_file_that_became_local() {
    sweep(Version::V4_1, "a_start_of_4_1_without_the_mount_after_every_file_that_became_local");
}

fn sweep(version: Version, test: &str) {
    let Some(node) = node(version, test) else { return };
    let (bucket, truth) = back_up(&node);
    let key_file = bucket.key_file();
    let Some(mount) = Mount::of(&bucket.path(), &["--key-file", &*key_file], test) else { return };
    let scene = Scene::bare(&node, mount);
    let policy = Policy::of(&node);
    for keyspace in [KEYSPACE, "system_auth"] {
        let said = scene.restore(&["instant", "--source-host", HOST, "--keyspace", keyspace]);
        assert_eq!(said.stderr.contains("restore it on all nodes"), keyspace == "system_auth", "{said}");
        said.expect_success();
    }
    assert_truth(&node, &truth);
    assert!(has_role(&node));

    // Of the first table no file, of the next one, and so on; of the last every file.
    for number in 0..=FILES {
        let order = become_local(&scene, number, number);
        assert!(number == 0 || order[0] == "Data.db", "{order:?}");
        assert!(number < FILES || order[FILES - 1] == "Index.db", "{order:?}");
    }

    // Cassandra starts all the same: every table is as it was, or empty, and nothing is taken for
    // what it is not.
    node.shut_down();
    scene.mount.force_unmount();
    node.start_again();
    for (number, truth) in truth.iter().enumerate() {
        let expected = if number == FILES { &truth[..] } else { &[] };
        assert_eq!(rows(&node, number), expected, "{number} files are local");
    }
    scene.mount.mount_again();
    let repaired = json(&scene.restore(&["repair", "--json"]).expect_success());
    for (number, truth) in truth.iter().enumerate() {
        assert_eq!(rows(&node, number), *truth, "{number} files are local: {repaired:#}");
    }
    assert!(has_role(&node));

    // The policy that packages have. 5.0 does not start, 4.1 does. The files are put back while it
    // is stopped.
    node.shut_down();
    scene.mount.force_unmount();
    policy.set("stop");
    if version == Version::V4_1 {
        node.start_again();
        assert_eq!(rows(&node, 0), [""; 0]);
        node.shut_down();
    } else {
        node.start_in_vain();
    }
    scene.mount.mount_again();
    scene.restore(&["repair"]).expect_success();
    scene.restore(&["guard"]).expect_success();
    node.start_again();
    assert_truth(&node, &truth);
    assert!(has_role(&node));

    scene.restore(&["hydrate", "--wait", "--keep-free", "1M"]).expect_success();
    assert_eq!(links(&node.data_directory()), Vec::<PathBuf>::new());
    assert_truth(&node, &truth);
    drop(policy);
    for number in 0..=FILES {
        node.cql(&format!("DROP TABLE {}", table(number)));
    }
    node.cql("TRUNCATE system_auth.roles");
    let after = scene.restore(&["status"]).expect_success();
    assert!(after.contains("system_auth.roles"), "{after}");
    scene.mount.unmount();
}

fn table(number: usize) -> String {
    format!("{KEYSPACE}.t{number}")
}

fn rows(node: &Node, number: usize) -> Vec<String> {
    node.json_rows(&format!("* FROM {}", table(number)))
}

#[track_caller]
fn assert_truth(node: &Node, truth: &[Vec<String>]) {
    for (number, truth) in truth.iter().enumerate() {
        assert_eq!(rows(node, number), *truth, "{}", table(number));
    }
}

fn has_role(node: &Node) -> bool {
    !node.json_rows(&format!("role FROM system_auth.roles WHERE role = '{ROLE}'")).is_empty()
}

/// The backup of tables of one compressed SSTable each, and of a role. Leaves them empty. Returns
/// their rows as well.
fn back_up(node: &Node) -> (Bucket, Vec<Vec<String>>) {
    node.cql(&format!("DROP KEYSPACE IF EXISTS {KEYSPACE}"));
    let replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}";
    node.cql(&format!("CREATE KEYSPACE {KEYSPACE} WITH replication = {replication}"));
    for number in 0..=FILES {
        let table = table(number);
        node.cql(&format!("CREATE TABLE {table} (id int PRIMARY KEY, text text)"));
        for id in 0..20 {
            let text = format!("row {id} of {number}. ").repeat(50);
            node.cql(&format!("INSERT INTO {table} (id, text) VALUES ({id}, '{text}')"));
        }
    }
    node.cql(&format!("INSERT INTO system_auth.roles (role, can_login, is_superuser) VALUES ('{ROLE}', true, false)"));
    let truth = (0..=FILES).map(|number| rows(node, number)).collect();
    let keyspaces = [KEYSPACE, "system_schema", "system_auth"];
    node.nodetool(&[&["snapshot", "-t", TAG][..], &keyspaces].concat()).expect_success();
    let bucket = Bucket::new();
    bucket.add_set(TAG, "full");
    let mut mapping = serde_json::Map::new();
    for keyspace in keyspaces {
        for directory in fs::read_dir(node.data_directory().join(keyspace)).unwrap() {
            let directory = directory.unwrap().path();
            if !directory.join("snapshots").join(TAG).is_dir() {
                continue;
            }
            let name = file_name(&directory).to_owned();
            let table = name.split('-').next().unwrap();
            pack(&directory, &bucket.archive(TAG, keyspace, table));
            mapping.insert(format!("{keyspace}.{table}"), name.clone().into());
        }
    }
    let mapping = serde_json::Value::Object(mapping).to_string();
    fs::write(bucket.path().join(HOST).join(TAG).join("schema_mapping.json"), mapping).unwrap();
    (0..=FILES).for_each(|number| node.cql(&format!("TRUNCATE {}", table(number))));
    node.cql("TRUNCATE system_auth.roles");
    node.nodetool(&["clearsnapshot", "-t", TAG]).expect_success();
    assert!(!has_role(node));
    (bucket, truth)
}

fn file_name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

fn component(link: &Path) -> &str {
    file_name(link).rsplit('-').next().unwrap()
}

/// Something that no copy of a link can be made in the place of.
fn obstacle(link: &Path) -> PathBuf {
    link.with_file_name(format!("cassmount-hydrate-{}", file_name(link)))
}

fn hydrate(scene: &Scene<'_>, number: usize) -> serde_json::Value {
    let table = table(number);
    let said = scene.restore(&["hydrate", "--wait", "--json", "--keep-free", "1M", "--table", &table]);
    json(&said.stdout)["tables"][0].clone()
}

/// Makes the first files of a table local, one by one. Returns their components in the order in
/// which they became local: between Data.db and the index it differs from table to table.
fn become_local(scene: &Scene<'_>, number: usize, local: usize) -> Vec<String> {
    let live = scene.node.live_directory(&table(number));
    let all = links(&live);
    assert_eq!(all.len(), FILES);
    for link in &all {
        fs::create_dir(obstacle(link)).unwrap();
    }
    let mut order = Vec::new();
    while order.len() < local {
        let report = hydrate(scene, number);
        let left = links(&live);
        assert_eq!(left.len(), FILES - order.len(), "{report:#}");
        let error = report["error"].as_str().unwrap_or_default();
        let next = left.iter().find(|link| error.contains(obstacle(link).to_str().unwrap()));
        let next = next.unwrap_or_else(|| panic!("{report:#}"));
        fs::remove_dir(obstacle(next)).unwrap();
        order.push(component(next).to_owned());
    }
    // The one after it stands in the way now.
    let report = hydrate(scene, number);
    let left = links(&live);
    assert_eq!(left.len(), FILES - local, "{report:#}");
    for link in &left {
        fs::remove_dir(obstacle(link)).unwrap();
    }
    order
}
