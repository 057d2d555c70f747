//! `cassmount restore load`: every host's tables into a cluster that has nothing, through
//! sstableloader.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;

use serde_json::Value;

use super::command::cassmount;
use super::mount::Mount;
use super::support::process::{Finished, run};
use super::support::sample::{KEYSPACES, POINT, TABLES};
use super::support::{Cqlsh, Node, TOOL_DEADLINE, Version};
use super::{assert_truth, node};

/// `cassmount restore load <words> --json`, with an sstableloader that first does `before`. It is
/// always one path: the command goes on with what it did before only if it is typed alike.
pub(super) fn load(node: &Node, mount: &Mount, cqlsh: &Cqlsh, before: &str, words: &[&str]) -> Finished {
    let loader = node.sstableloader_script(&node.conf_directory(), before);
    // The node's address comes last, which its port has to follow.
    let shell = format!("sh -c 'shift; exec {} \"$@\"' cqlsh", cqlsh.words(node));
    let mut command = cassmount();
    command
        .env("CASSMOUNT_STATE_DIR", mount.state_dir())
        .args(["restore", "load", "--json", "--quiet", "--node", &node.address.to_string()])
        .arg("--mount")
        .arg(mount.root())
        .args(["--sstableloader", loader.to_str().unwrap(), "--cqlsh", &shell])
        .args(words);
    run(&mut command, TOOL_DEADLINE)
}

fn outcomes(report: &str) -> Vec<(String, String)> {
    let report: Value = serde_json::from_str(report).unwrap_or_else(|e| panic!("{e}: {report}"));
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let tables = report["tables"].as_array().unwrap().iter();
    tables.map(|table| (word(&table["table"]), word(&table["outcome"]))).collect()
}

#[test]
fn a_cluster_from_nothing_through_a_kill() {
    const TEST: &str = "a_cluster_from_nothing_through_a_kill";
    let Some(node) = node(Version::V5_0, TEST) else { return };
    let cqlsh = match Cqlsh::find() {
        Ok(cqlsh) => cqlsh,
        Err(missing) => return missing.skip(TEST),
    };
    let Some(mount) = Mount::of_sample(TEST) else { return };
    for keyspace in KEYSPACES {
        node.cql(&format!("DROP KEYSPACE IF EXISTS {keyspace}"));
    }
    // The command dies when it comes to the users, after other tables.
    let kill = format!("case \"$*\" in *{}*) kill -9 $PPID; exit 1;; esac", "/shop/users-");
    let everything = ["--at", POINT, "--all", "--create-schema", "--jobs", "2"];
    let killed = load(&node, &mount, &cqlsh, &kill, &everything);
    assert_eq!(killed.status.signal(), Some(9), "{killed:?}");
    let outcomes = outcomes(&load(&node, &mount, &cqlsh, "", &everything).expect_success());
    let count = |outcome: &str| outcomes.iter().filter(|(_, found)| found == outcome).count();
    assert!(count("was_loaded") > 0 && count("loaded") > 0 && count("failed") == 0, "{outcomes:?}");
    assert!(!outcomes.iter().any(|(table, _)| table == "users_by_name"), "a view is left to its base table");
    for table in TABLES {
        assert_truth(&node, POINT, table);
    }
    assert_eq!(node.truth("shop.users_by_name"), node.truth("shop.users"), "through the view");
    assert_eq!(node.json_rows("* FROM shop.users WHERE email = 'u22-111@x'").len(), 1, "through the index");
    assert!(!Path::new(&mount.state_dir().join("load")).read_dir().unwrap().any(|_| true), "no journal is left");

    // The loader itself is content with a table that is not there.
    node.cql("DROP TABLE shop.carts");
    let refused = load(&node, &mount, &cqlsh, "", &["--at", POINT, "--table", "shop.carts"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(refused.stdout.contains("\"failed\"") && refused.stderr.contains("sstableloader"), "{refused:?}");
    let created = load(&node, &mount, &cqlsh, "", &["--at", POINT, "--table", "shop.carts", "--create-schema"]);
    created.expect_success();
    assert_truth(&node, POINT, "shop.carts");
    mount.unmount();
}
