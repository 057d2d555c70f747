//! `cassmount restore`: live tables that read the sample through links, compared with what the
//! cluster held.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::command::cassmount;
use super::mount::Mount;
use super::support::process::{Finished, run};
use super::support::sample::{self, HOSTS, POINT, TABLES};
use super::support::{Node, TOOL_DEADLINE, Version};
use super::{assert_truth, node};

/// A node, a mount, and the command between them.
pub(crate) struct Scene<'a> {
    pub(crate) node: &'a Node,
    pub(crate) mount: Mount,
    work: tempfile::TempDir,
}

impl<'a> Scene<'a> {
    /// `None`, said loudly, where nothing can be mounted. The node has the schema of `time`, no
    /// rows, and compacts nothing by itself.
    pub(crate) fn new(node: &'a Node, time: &str, test: &str) -> Option<Self> {
        Some(Self::over(node, Mount::of_sample(test)?, time))
    }

    /// The same over a mount that is there.
    pub(crate) fn over(node: &'a Node, mount: Mount, time: &str) -> Self {
        sample::create_schema(node, time);
        for table in TABLES.into_iter().filter(|table| sample::has_truth(time, table)) {
            // Only when a test asks for it: what is linked is counted.
            let compaction = "{'class': 'SizeTieredCompactionStrategy', 'enabled': 'false'}";
            node.cql(&format!("ALTER TABLE {table} WITH compaction = {compaction}"));
        }
        Self::bare(node, mount)
    }

    /// Over a mount that is there, with whatever tables the node has.
    pub(crate) fn bare(node: &'a Node, mount: Mount) -> Self {
        Self { node, mount, work: tempfile::tempdir().unwrap() }
    }

    /// `cassmount restore <words>`, with a nodetool that first does `before` (shell; `$1` is its
    /// subcommand).
    pub(crate) fn command(&self, before: &str, words: &[&str]) -> std::process::Command {
        let nodetool = self.node.nodetool_script(self.work.path(), before);
        let mut command = cassmount();
        command.env("CASSMOUNT_STATE_DIR", self.mount.state_dir()).arg("restore").args(words);
        if ["instant", "abort", "repair"].contains(&words[0]) {
            command.arg("--nodetool").arg(nodetool);
        }
        if words[0] == "instant" {
            command.arg("--mount").arg(self.mount.root());
        }
        command
    }

    pub(crate) fn restore(&self, words: &[&str]) -> Finished {
        self.restore_with("", words)
    }

    pub(crate) fn restore_with(&self, before: &str, words: &[&str]) -> Finished {
        run(&mut self.command(before, words), TOOL_DEADLINE)
    }

    /// Restores tables from both hosts, whose rows this one node holds all.
    #[track_caller]
    pub(crate) fn instant(&self, at: &str, tables: &[&str]) -> Value {
        json(&self.restore(&instant_words(at, tables)).expect_success())
    }

    /// As [`Self::instant`]; second, which questions its nodetools were asked.
    fn instant_and_questions(&self, at: &str, tables: &[&str]) -> (Value, Vec<String>) {
        let log = self.work.path().join("questions");
        let restored = self.restore_with(&format!("echo \"$1\" >>'{}'", log.display()), &instant_words(at, tables));
        let report = json(&restored.expect_success());
        (report, std::fs::read_to_string(log).unwrap().lines().map(str::to_owned).collect())
    }

    /// A directory of its own.
    pub(crate) fn work(&self) -> &Path {
        self.work.path()
    }

    pub(crate) fn unmount(&self) -> Finished {
        run(
            cassmount().env("CASSMOUNT_STATE_DIR", self.mount.state_dir()).arg("unmount").arg(self.mount.root()),
            TOOL_DEADLINE,
        )
    }

    #[track_caller]
    pub(crate) fn status(&self) -> Vec<Value> {
        let status = json(&self.restore(&["status", "--json"]).expect_success());
        status["tables"].as_array().unwrap().clone()
    }
}

/// From both hosts; all tables if none is named.
pub(crate) fn instant_words<'w>(at: &'w str, tables: &[&'w str]) -> Vec<&'w str> {
    let mut words = vec!["instant", "--json", "--at", at];
    words.extend(HOSTS.iter().flat_map(|host| ["--source-host", host]));
    words.extend(tables.iter().flat_map(|table| ["--table", table]));
    if tables.is_empty() {
        words.push("--all");
    }
    words
}

#[track_caller]
pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Links below a directory, wherever.
pub(crate) fn links(directory: &Path) -> Vec<PathBuf> {
    sample::files(directory).into_values().filter(|path| path.is_symlink()).collect()
}

/// As the words of a report: `words` in it, and nothing was done.
#[track_caller]
fn assert_refused(finished: &Finished, words: &str) {
    assert_eq!(finished.status.code(), Some(1), "{finished}");
    assert!(finished.stderr.contains(words), "{words:?} in {finished}");
}

#[test]
fn tables_of_the_sample_have_the_rows_of_the_backup_at_once() {
    let test = "tables_of_the_sample_have_the_rows_of_the_backup_at_once";
    let Some(node) = node(Version::V5_0, test) else { return };
    let Some(scene) = Scene::new(&node, POINT, test) else { return };
    let planned = scene.restore(&[&instant_words("2026-11-21-02-48", &["shop.orders"])[..], &["--dry-run"]].concat());
    assert_eq!(json(&planned.expect_success())["tables"][0]["outcome"], "planned");
    assert!(links(&node.data_directory()).is_empty() && scene.status().is_empty());

    // Any time names a restore point: the one before.
    let (report, questions) = scene.instant_and_questions("2026-11-21T02:48:59Z", &[]);
    assert!(!questions.contains(&"info".to_owned()), "its own files and the ring tell its tokens: {questions:?}");
    let tables = report["tables"].as_array().unwrap();
    assert!(tables.iter().all(|table| ["open", "empty"].contains(&table["outcome"].as_str().unwrap())), "{report:#}");
    assert!(tables.iter().all(|table| table["from"][0]["point"] == POINT), "{report:#}");
    for table in TABLES {
        assert_truth(&node, POINT, table);
    }
    assert_eq!(node.truth("shop.users_by_name"), node.truth("shop.users"), "through the view");
    assert_eq!(node.json_rows("* FROM shop.users WHERE email = 'u22-111@x'").len(), 1, "through the secondary index");
    let live = node.live_directory("shop.orders");
    assert!(!links(&live).is_empty(), "it is read from the mount");
    let again = scene.instant(POINT, &["shop.orders"]);
    assert_eq!(again["tables"][0]["outcome"], "was_open", "{again:#}");

    let of = |table: &str| scene.status().into_iter().find(|of| of["table"] == table).unwrap();
    let orders = of("orders");
    assert_eq!((&orders["step"], &orders["linked"]), (&"open".into(), &orders["sstables"]), "{orders:#}");
    assert!(orders["remote_bytes"].as_u64().unwrap() > 0);

    // The mount is not let go while they hang on it.
    let refused = scene.unmount();
    assert_refused(&refused, "shop.orders (");

    node.nodetool(&["compact", "shop", "orders"]).expect_success();
    super::refresh::wait_until_no_links(&live);
    let compacted = of("orders");
    assert_eq!(
        (&compacted["compacted"], &compacted["remote_bytes"]),
        (&orders["sstables"], &0.into()),
        "{compacted:#}"
    );
    assert_truth(&node, POINT, "shop.orders");
    for keyspace in sample::KEYSPACES {
        node.cql(&format!("DROP KEYSPACE {keyspace}"));
    }
    scene.mount.unmount();
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_changed() {
    let test = "what_does_not_fit_is_refused_before_anything_is_changed";
    let Some(node) = node(Version::V5_0, test) else { return };
    let Some(scene) = Scene::new(&node, POINT, test) else { return };
    let dropped = instant_words(POINT, &["shop.orders"]);
    node.cql("ALTER TABLE shop.orders DROP note");
    assert_refused(&scene.restore(&dropped), "the column note text was dropped at ");
    node.cql("DROP TABLE shop.carts");
    assert_refused(&scene.restore(&instant_words(POINT, &["shop.carts"])), "the node has no table shop.carts");
    assert_refused(&scene.restore(&instant_words(POINT, &["shop.nope"])), "no table shop.nope");
    assert_refused(&scene.restore(&instant_words("2025", &["shop.orders"])), "no restore point \"2025\"");
    let mine = ["instant", "--table", "shop.orders"];
    let refused = scene.restore(&mine);
    assert!(refused.stderr.contains("no host in the mount had this node's tokens"), "{refused}");

    // A ring in which it is one of two.
    let ring = |own: &str| {
        format!(
            "case $1 in ring) printf 'Datacenter: dc1\\n'; for token in 1 2; do \
             echo \"127.0.0.$token rack1 Up Normal 1.0 KiB {own} $token\"; done; exit;; esac"
        )
    };
    let orders = instant_words(POINT, &["shop.hits"]);
    let refused = scene.restore_with(&ring("50.00%"), &orders);
    assert_refused(&refused, "0 of them the same: many rows of its backup belong to other nodes");
    assert!(refused.stderr.contains("sstableloader -d HOST"), "{refused}");
    // An older nodetool: that of 4.0, which tells it in another way, one that does not, and none at
    // all.
    let checked = [&orders[..], &["--dry-run"]].concat();
    scene.restore_with("[ $1 = datapaths ] && echo usage && exit 1", &checked).expect_success();
    let older = "case $1 in datapaths|sjk) echo usage; exit 1;; esac";
    assert_refused(&scene.restore_with(older, &orders), "Cassandra 4.0 or later");
    let down = "echo \"nodetool: Failed to connect to '127.0.0.1:7199'\" >&2; exit 1";
    let refused = scene.restore_with(down, &orders);
    assert_eq!(refused.status.code(), Some(1), "what does not answer: {refused}");
    assert!(refused.stderr.contains("Cassandra does not answer nodetool"), "{refused}");
    assert!(links(&node.data_directory()).is_empty() && scene.status().is_empty());
    scene.mount.unmount();
}

#[test]
fn tables_of_4_1_have_the_rows_of_the_backup_and_become_local() {
    let test = "tables_of_4_1_have_the_rows_of_the_backup_and_become_local";
    let Some(node) = node(Version::V4_1, test) else { return };
    let Some(scene) = Scene::new(&node, POINT, test) else { return };
    let tables = ["shop.users", "shop.orders", "shop.hits"];
    let (_, mut questions) = scene.instant_and_questions(POINT, &tables);
    questions.sort();
    let expected = ["datapaths", "flush", "flush", "refresh", "refresh", "refresh", "ring", "statusbackup"];
    assert_eq!(questions, expected, "each takes a JVM");
    for table in tables {
        assert_truth(&node, POINT, table);
    }
    scene.restore(&["hydrate", "--wait", "--keep-free", "1M"]).expect_success();
    assert_eq!(links(&node.data_directory()), Vec::<PathBuf>::new());
    node.shut_down();
    scene.mount.unmount();
    node.start_again();
    for table in tables {
        assert_truth(&node, POINT, table);
    }
}
