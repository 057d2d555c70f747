//! A node that is started while the mount that its tables read is not there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::instant::{Scene, json};
use super::support::process::run;
use super::support::sample::POINT;
use super::support::{Node, TOOL_DEADLINE, Version};
use super::{assert_truth, node};

const TABLES: [&str; 3] = ["shop.users", "shop.orders", "shop.hits"];

#[test]
fn a_start_without_the_mount_loses_nothing() {
    let test = "a_start_without_the_mount_loses_nothing";
    let Some(node) = node(Version::V5_0, test) else { return };
    let Some(scene) = Scene::new(&node, POINT, test) else { return };
    let policy = Policy::of(&node);
    scene.instant(POINT, &TABLES);
    let units = tempfile::tempdir().unwrap();
    let written = ["guard", "--write-config", "--unit-dir", units.path().to_str().unwrap()];
    scene.restore(&written).expect_success();
    let drop_in = fs::read_to_string(units.path().join("cassandra.service.d/cassmount.conf")).unwrap();
    assert!(drop_in.contains(&format!("RequiresMountsFor={}\n", scene.mount.root().display())), "{drop_in}");
    assert!(drop_in.contains(&format!("--data-dir={}\n", node.data_directory().display())), "{drop_in}");
    // As the unit does before it starts Cassandra.
    let before_start = drop_in.lines().find_map(|line| line.strip_prefix("ExecStartPre=+")).unwrap();
    let guard = |expected: i32| {
        let mut command = Command::new("sh");
        command.args(["-c", before_start]);
        let said = run(&mut command, TOOL_DEADLINE);
        assert_eq!(said.status.code(), Some(expected), "{said}");
        (said.stderr, said.elapsed)
    };
    guard(0);

    // It is not noticed when Cassandra starts: no row, and no error.
    node.shut_down();
    scene.mount.force_unmount();
    let (why, took) = guard(1);
    assert!(why.contains("lead nowhere") && why.contains("cassmount mount"), "{why}");
    eprintln!("{test}: the guard took {took:?}");
    node.start_again();
    assert!(node.json_rows("* FROM shop.orders").is_empty());
    let broken: Vec<u64> = scene.status().iter().map(|of| of["broken"].as_u64().unwrap()).collect();
    assert!(broken.iter().all(|count| *count > 0), "Cassandra has removed what it had made: {broken:?}");
    let text = scene.restore(&["status"]).expect_success();
    assert!(text.contains("NOTHING IS MOUNTED") && text.contains("restore repair"), "{text}");
    // Without the mount it cannot be opened, and that is said.
    let early = scene.restore(&["repair"]);
    assert!(early.status.code() == Some(1) && early.stderr.contains("the mount is not there"), "{early}");

    // While it runs.
    let said = scene.mount.mount_again();
    assert!(said.contains("live tables read from"), "{said}");
    let repaired = json(&scene.restore(&["repair", "--json"]).expect_success());
    let outcomes: Vec<&str> =
        repaired["tables"].as_array().unwrap().iter().map(|of| of["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["opened"; 3], "{repaired:#}");
    for table in TABLES {
        assert_truth(&node, POINT, table);
    }
    let again = scene.instant(POINT, &TABLES);
    assert!(again["tables"].as_array().unwrap().iter().all(|of| of["outcome"] == "was_open"), "{again:#}");

    // The policy that packages have: it does not start at all, and has removed them as well.
    node.shut_down();
    scene.mount.force_unmount();
    policy.set("stop");
    node.start_in_vain();
    assert!(scene.status().iter().all(|of| of["broken"].as_u64() > Some(0)), "{:#?}", scene.status());
    let said = scene.mount.mount_again();
    assert!(said.contains("SSTables lack files"), "{said}");
    guard(1);
    let text = scene.restore(&["repair"]).expect_success();
    assert!(text.contains("has what it lacked: start Cassandra"), "{text}");
    guard(0);
    node.start_again();
    for table in TABLES {
        assert_truth(&node, POINT, table);
    }

    node.cql("DROP KEYSPACE shop");
    drop(policy);
    scene.mount.unmount();
}

/// `disk_failure_policy` of a node, which comes back to what it was.
pub(crate) struct Policy(PathBuf, String);

impl Policy {
    pub(crate) fn of(node: &Node) -> Self {
        let path = node.conf_directory().join("cassandra.yaml");
        let text = fs::read_to_string(&path).unwrap();
        Self(path, text)
    }

    pub(crate) fn set(&self, policy: &str) {
        let Self(path, text) = self;
        write(path, &format!("{text}\ndisk_failure_policy: {policy}\n"));
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        write(&self.0, &self.1);
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}
