//! A backup set of a live node, as cass_ops makes it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::support::process::run;
use super::support::{Node, Session, TOOL_DEADLINE};

/// Keyspaces that cass_ops leaves out.
const EXCLUDED: [&str; 2] = ["system", "system_traces"];
const ARCHIVE: &str = "tar -C \"$1\" -c . | gzip -1 | \
     openssl enc -aes-256-cbc -salt -pbkdf2 -md sha256 -pass \"file:$2\" >\"$3\"";

/// The name of a set that is made now.
pub(super) fn tag() -> String {
    date("+%Y-%m-%d-%H-%M")
}

fn date(format: &str) -> String {
    run(Command::new("date").args(["-u", format]), TOOL_DEADLINE).expect_success().trim().to_owned()
}

/// Makes a full in the directory `set`, which is called by its tag.
pub(super) fn full(node: &Node, set: &Path, key: &Path) {
    let tag = set.file_name().unwrap().to_str().unwrap();
    node.nodetool(&["snapshot", "-t", tag]).expect_success();
    let mut tables = 0;
    for keyspace in names(&node.data_directory()) {
        for table in names(&node.data_directory().join(&keyspace)) {
            let snapshot = node.data_directory().join(&keyspace).join(&table).join("snapshots").join(tag);
            if EXCLUDED.contains(&&*keyspace) || !snapshot.exists() {
                continue;
            }
            fs::create_dir_all(set.join(&keyspace)).unwrap();
            let name = format!("{keyspace}/{}.tar.gz.enc", table.split('-').next().unwrap());
            let mut command = Command::new("sh");
            command.args(["-ec", ARCHIVE, "archive"]).arg(snapshot).arg(key).arg(set.join(name));
            run(&mut command, TOOL_DEADLINE).expect_success();
            tables += 1;
        }
    }
    node.nodetool(&["clearsnapshot", "-t", tag]).expect_success();
    let native = SocketAddr::from((node.address, node.ports.native));
    let rows = Session::connect(native).unwrap().execute("SELECT JSON tokens FROM system.local").unwrap();
    let tokens: Value = serde_json::from_slice(rows[0][0].as_ref().unwrap()).unwrap();
    let places = fs::read_to_string(node.conf_directory().join("cassandra-rackdc.properties")).unwrap();
    let place = |name: &str| places.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
    let manifest = json!({
        "cluster_name": "cassmount-tests",
        "backup_id": tag,
        "backup_type": "full",
        "timestamp_utc": date("-Iseconds"),
        "source_node": {
            "ip_address": node.address.to_string(),
            "datacenter": place("dc"),
            "rack": place("rack"),
            "tokens": tokens["tokens"],
        },
        "tables_backed_up_count": tables,
    });
    fs::write(set.join("backup_manifest.json"), manifest.to_string()).unwrap();
    fs::write(set.join("schema.cql"), "-- schema\n").unwrap();
    fs::write(set.join("schema_mapping.json"), "{}").unwrap();
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
