//! `cassmount restore node`: a host of the sample on a new machine, compared with what the cluster
//! held.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::assert_truth;
use super::command::cassmount;
use super::instant::json;
use super::mount::Mount;
use super::support::process::{Finished, run};
use super::support::sample::{self, HOSTS, POINT, TABLES};
use super::support::{Node, NodeOptions, Session, TOOL_DEADLINE, Version};

/// What Cassandra says as it builds an index, and a view.
const BUILT: [&str; 2] = ["Submitting index build of", "Starting build of view("];

/// A node that was stopped and lost all that it had, and the command.
struct Machine {
    node: Node,
    mount: Mount,
    work: tempfile::TempDir,
}

impl Machine {
    /// `None`, said loudly, where nothing can be mounted or there is no Cassandra.
    fn new(test: &str) -> Option<Self> {
        let mount = Mount::of_sample(test)?;
        let options = NodeOptions { extra_yaml: "disk_failure_policy: stop".to_owned(), ..NodeOptions::default() };
        let node = match Node::start(Version::V5_0, &options) {
            Ok(node) => node,
            Err(missing) => {
                missing.skip(test);
                return None;
            }
        };
        node.shut_down();
        let machine = Self { node, mount, work: tempfile::tempdir().unwrap() };
        let refused = machine.restore(&machine.words(&["--dry-run"]));
        assert!(!refused.status.success() && refused.stderr.contains("is not empty"), "{refused}");
        assert!(
            refused.stderr.contains(r#"of the cluster "prod", and cluster_name is "cassmount-tests""#),
            "{refused}"
        );
        let data = machine.node.data_directory();
        for name in ["data", "commitlog", "saved_caches", "hints", "cdc_raw"] {
            let directory = data.with_file_name(name);
            if directory.exists() {
                fs::remove_dir_all(&directory).unwrap();
            }
            fs::create_dir(&directory).unwrap();
        }
        let yaml = machine.node.conf_directory().join("cassandra.yaml");
        let text = fs::read_to_string(&yaml).unwrap();
        fs::write(&yaml, text.replace("cluster_name: cassmount-tests", "cluster_name: prod")).unwrap();
        Some(machine)
    }

    fn words(&self, more: &[&str]) -> Vec<OsString> {
        let words = ["node", "--cold-start", "--source-host", HOSTS[0], "--at", POINT, "--json", "--cassandra-yaml"];
        let mut words: Vec<OsString> = words.map(Into::into).into();
        words.push(self.node.conf_directory().join("cassandra.yaml").into());
        words.extend(["--cassandra".into(), self.node.installation.home().into()]);
        words.extend(["--mount".into(), self.mount.root().into()]);
        words.extend(["--unit-dir".into(), self.work.path().into()]);
        words.extend(more.iter().map(Into::into));
        words
    }

    fn restore(&self, words: &[OsString]) -> Finished {
        let mut command = cassmount();
        command.env("CASSMOUNT_STATE_DIR", self.mount.state_dir()).arg("restore").args(words);
        run(&mut command, TOOL_DEADLINE)
    }

    /// Brings the rows of the other host, so that all can be compared.
    fn import_other_host(&self) {
        for table in TABLES.into_iter().filter(|table| sample::has_truth(POINT, table)) {
            let directory = self.mount.tree().flat(HOSTS[1], POINT, table);
            self.node.import(&["-p", "-l", "-r"], table, &[directory]).expect_success();
        }
    }

    fn assert_truths(&self) {
        for table in TABLES.into_iter().filter(|table| sample::has_truth(POINT, table)) {
            assert_truth(&self.node, POINT, table);
        }
    }
}

#[test]
fn a_host_starts_on_a_new_machine_with_its_rows_and_tokens() {
    let Some(machine) = Machine::new("a_host_starts_on_a_new_machine_with_its_rows_and_tokens") else { return };
    let planned = json(&machine.restore(&machine.words(&["--dry-run"])).expect_success());
    let data = machine.node.data_directory();
    assert_eq!(fs::read_dir(&data).unwrap().count(), 0, "a dry run has changed something");
    // The sample's indexes are minutes old.
    let notes = planned["notes"].to_string();
    assert!(notes.contains("shop.users_email") && notes.contains("--indexes-are-built"), "{planned}");
    let before = machine.node.log().len();
    let words = machine.words(&["--write-config", "--indexes-are-built"]);
    let report = json(&machine.restore(&words).expect_success());
    let user_tables = |report: &Value| -> Vec<Value> {
        let tables = report["tables"].as_array().unwrap().iter();
        tables.filter(|table| table["keyspace"] != "system").cloned().collect()
    };
    assert_eq!(user_tables(&report), user_tables(&planned));
    machine.node.start_again();
    let built = || BUILT.map(|text| machine.node.log()[before..].contains(text));
    assert_eq!(built(), [false; 2], "something was built again");
    // Cassandra would say so.
    machine.node.cql("CREATE INDEX ON shop.users (phone)");
    machine.node.cql(
        "CREATE MATERIALIZED VIEW shop.by_phone AS SELECT phone, id FROM shop.users \
         WHERE phone IS NOT NULL AND id IS NOT NULL PRIMARY KEY (phone, id)",
    );
    let until = Instant::now() + TOOL_DEADLINE;
    while built() != [true; 2] {
        assert!(Instant::now() < until, "Cassandra does not say what it builds");
        std::thread::sleep(Duration::from_millis(50));
    }
    machine.node.cql("DROP MATERIALIZED VIEW shop.by_phone");
    machine.node.cql("DROP INDEX shop.users_phone_idx");
    let emails = machine.node.json_rows("email FROM shop.users LIMIT 30");
    assert_eq!(emails.len(), 30);
    for row in emails {
        let row: Value = serde_json::from_str(&row).unwrap();
        let found =
            machine.node.json_rows(&format!("id FROM shop.users WHERE email = '{}'", row["email"].as_str().unwrap()));
        assert!(!found.is_empty(), "{row} through the index");
    }
    let native = SocketAddr::from((machine.node.address, machine.node.ports.native));
    let rows = Session::connect(native).unwrap().execute("SELECT JSON tokens FROM system.local").unwrap();
    let local: String = rows.into_iter().flatten().flatten().map(|cell| String::from_utf8(cell).unwrap()).collect();
    let tokens = machine.mount.root().join(HOSTS[0]).join("backup-sets/2026-11-21-02-45/backup_manifest.json");
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(tokens).unwrap()).unwrap();
    for token in manifest["source_node"]["tokens"].as_array().unwrap() {
        assert!(local.contains(token.as_str().unwrap()), "{token} in {local}");
    }
    machine.import_other_host();
    machine.assert_truths();
    let again = json(&machine.restore(&machine.words(&[])).expect_success());
    assert!(again["next"].to_string().contains("hydrate --wait"), "{again}");

    // From here on without the mount.
    machine.restore(&["hydrate".into()]).expect_success();
    machine.node.shut_down();
    let Machine { node, mount, work } = machine;
    mount.unmount();
    node.start_again();
    for table in TABLES.into_iter().filter(|table| sample::has_truth(POINT, table)) {
        assert_truth(&node, POINT, table);
    }
    drop(work);
}
