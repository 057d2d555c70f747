//! `cassmount restore instant`, killed at each of its steps, failing, and met by a node that
//! restarts: the next run completes it or rolls it back.

use std::path::Path;

use super::instant::{Scene, instant_words, json, links};
use super::support::sample::{self, POINT};
use super::support::{Node, Version};
use super::{assert_truth, node};

const TABLE: &str = "shop.orders";
/// The restore point before.
const EARLIER: &str = "2026-11-21-02-47";

/// Kills the command that runs nodetool when it comes to a subcommand: before that does anything,
/// or when it has.
fn kill_at(subcommand: &str, after: bool) -> String {
    let run = if after { "real \"$@\";" } else { "" };
    format!("case $1 in {subcommand}) {run} grep -qx cassmount /proc/$PPID/comm && kill -9 $PPID; exit;; esac")
}

/// The table has the rows of the backup; each SSTable that was linked is there once, and Cassandra
/// has it open.
#[track_caller]
fn assert_restored(node: &Node, scene: &Scene<'_>) {
    assert_truth(node, POINT, TABLE);
    let live = node.live_directory(TABLE);
    let data = |path: &Path| path.to_str().unwrap().ends_with("-Data.db");
    let mut targets: Vec<_> =
        links(&live).into_iter().filter(|path| data(path)).map(|path| path.read_link().unwrap()).collect();
    let linked = targets.len();
    targets.sort();
    targets.dedup();
    assert_eq!(targets.len(), linked, "an SSTable is linked twice");
    let status = scene.status();
    assert_eq!((&status[0]["step"], &status[0]["linked"]), (&"open".into(), &status[0]["sstables"]), "{status:#?}");
    let files = sample::files(&live);
    let files = files.iter().filter(|(name, path)| !name.contains('/') && data(path)).count();
    let stats = json(&node.nodetool(&["tablestats", "-F", "json", TABLE]).expect_success());
    assert_eq!(stats["shop"]["tables"]["orders"]["sstable_count"], files, "SSTables that nobody has open");
}

/// Nothing of a restore is there any more.
#[track_caller]
fn assert_untouched(node: &Node, scene: &Scene<'_>) {
    let live = node.live_directory(TABLE);
    assert!(links(&live).is_empty() && scene.status().is_empty(), "{:#?}", scene.status());
    let snapshots = std::fs::read_dir(live.join("snapshots")).into_iter().flatten().count();
    assert_eq!(snapshots, 0, "a snapshot is left");
}

#[test]
fn a_killed_restore_is_completed_by_the_next() {
    let test = "a_killed_restore_is_completed_by_the_next";
    let Some(node) = node(Version::V5_0, test) else { return };
    let Some(scene) = Scene::new(&node, POINT, test) else { return };
    let words = instant_words(POINT, &[TABLE]);
    // With rows of its own, which are some of the backup's, so that there is something to keep.
    scene.instant(POINT, &[TABLE]);
    let steps = [("datapaths", false), ("snapshot", false), ("snapshot", true), ("refresh", false), ("refresh", true)];
    for (step, after) in steps {
        node.nodetool(&["compact", "shop", "orders"]).expect_success();
        super::refresh::wait_until_no_links(&node.live_directory(TABLE));
        let killed = scene.restore_with(&kill_at(step, after), &words);
        assert!(killed.status.code().is_none(), "killed at {step}: {killed}");
        assert_truth(&node, POINT, TABLE);
        let report = scene.instant(POINT, &[TABLE]);
        assert_eq!(report["tables"][0]["outcome"], "open", "killed at {step}: {report:#}");
        assert_restored(&node, &scene);
    }
    node.cql("DROP KEYSPACE shop");
    scene.mount.unmount();
}

/// As if the command had been killed before it noted that all links are there.
fn forget_last_step(scene: &Scene<'_>) {
    let directory = scene.mount.state_dir().join("restore");
    let journal = std::fs::read_dir(directory).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(&journal).unwrap();
    let (rest, last) = text.trim_end().rsplit_once('\n').unwrap();
    assert!(last.ends_with(r#"{"step":"refreshing"}"#), "{last}");
    std::fs::write(journal, format!("{rest}\n")).unwrap();
}

#[test]
fn half_of_the_links_are_completed_or_rolled_back() {
    let test = "half_of_the_links_are_completed_or_rolled_back";
    let Some(node) = node(Version::V5_0, test) else { return };
    let Some(scene) = Scene::new(&node, POINT, test) else { return };
    let live = node.live_directory(TABLE);
    let halve = || {
        let killed = scene.restore_with(&kill_at("refresh", false), &instant_words(POINT, &[TABLE]));
        assert!(killed.status.code().is_none(), "{killed}");
        let all = links(&live);
        // As links come: the last ones are missing, of one SSTable no Data.db.
        let kept = all.len() / 2 + 1;
        let mut newest = all.clone();
        newest.sort_by_key(|path| (path.to_str().unwrap().contains("Data.db"), path.clone()));
        newest[kept..].iter().for_each(|path| std::fs::remove_file(path).unwrap());
        forget_last_step(&scene);
    };
    halve();
    scene.instant(POINT, &[TABLE]);
    assert_restored(&node, &scene);

    // Another point is wanted: the first one's links go.
    node.cql("TRUNCATE shop.orders");
    halve();
    let report = scene.instant(EARLIER, &[TABLE]);
    assert_eq!(report["tables"][0]["outcome"], "open", "{report:#}");
    assert_truth(&node, EARLIER, TABLE);
    assert!(links(&live).iter().all(|path| path.read_link().unwrap().to_str().unwrap().contains(EARLIER)));
    node.cql("DROP KEYSPACE shop");
    scene.mount.unmount();
}

#[test]
fn a_node_that_restarts_in_between_does_no_harm() {
    let test = "a_node_that_restarts_in_between_does_no_harm";
    let Some(node) = node(Version::V5_0, test) else { return };
    let Some(scene) = Scene::new(&node, POINT, test) else { return };
    let words = instant_words(POINT, &[TABLE]);
    let killed = scene.restore_with(&kill_at("refresh", false), &words);
    assert!(killed.status.code().is_none(), "{killed}");
    let live = node.live_directory(TABLE);
    let (data, others): (Vec<_>, Vec<_>) =
        links(&live).into_iter().partition(|path| path.to_str().unwrap().ends_with("-Data.db"));
    assert!(data.len() > 1 && !others.is_empty());
    // Of one, Data.db has not come yet.
    std::fs::remove_file(&data[0]).unwrap();
    forget_last_step(&scene);
    node.shut_down();
    node.start_again();
    let prefix = data[0].to_str().unwrap().strip_suffix("Data.db").unwrap();
    assert!(!links(&live).iter().any(|path| path.to_str().unwrap().starts_with(prefix)), "Cassandra removes leftovers");
    let report = scene.instant(POINT, &[TABLE]);
    assert_eq!(report["tables"][0]["outcome"], "open", "{report:#}");
    assert_restored(&node, &scene);
    node.cql("DROP KEYSPACE shop");
    scene.mount.unmount();
}

#[test]
fn a_killed_rollback_is_completed() {
    let test = "a_killed_rollback_is_completed";
    let Some(node) = node(Version::V5_0, test) else { return };
    let Some(scene) = Scene::new(&node, POINT, test) else { return };
    let words = instant_words(POINT, &[TABLE]);
    let live = node.live_directory(TABLE);
    let kill = |delay: &str| {
        // It does not open them, is asked how many it has, and the command dies while it takes the
        // links out.
        format!(
            "case $1 in refresh) exit 2;; tablestats) real \"$@\"; (sleep {delay}; grep -qx cassmount /proc/$PPID/comm && kill -9 $PPID) & exit 0;; clearsnapshot) kill -9 $PPID; exit;; esac"
        )
    };
    for delay in ["0.001", "0.01", "0.03", "1"] {
        let killed = scene.restore_with(&kill(delay), &words);
        assert!(killed.status.code().is_none(), "{killed}");
        let report = scene.instant(POINT, &[TABLE]);
        assert_eq!(report["tables"][0]["outcome"], "open", "{report:#}");
        assert_restored(&node, &scene);
        node.nodetool(&["compact", "shop", "orders"]).expect_success();
        super::refresh::wait_until_no_links(&live);
    }
    node.cql("DROP KEYSPACE shop");
    scene.mount.unmount();
}

#[test]
fn what_cassandra_does_not_open_is_rolled_back() {
    let test = "what_cassandra_does_not_open_is_rolled_back";
    let Some(node) = node(Version::V5_0, test) else { return };
    let Some(scene) = Scene::new(&node, POINT, test) else { return };
    node.cql("INSERT INTO shop.carts (id, total) VALUES (11111111-1111-1111-1111-111111111111, 7)");
    let before = node.truth("shop.carts");
    let words = instant_words(POINT, &[TABLE, "shop.carts"]);
    for refused in [
        // It says no; it says yes and does nothing; it does not answer any more.
        "case $1 in refresh) echo 'error: no' >&2; exit 2;; esac",
        "case $1 in refresh) exit 0;; esac",
    ] {
        let finished = scene.restore_with(refused, &words);
        assert_eq!(finished.status.code(), Some(1), "{finished}");
        let report = json(&finished.stdout);
        let outcomes: Vec<_> = report["tables"].as_array().unwrap().iter().map(|table| &table["outcome"]).collect();
        assert_eq!(outcomes, ["rolled_back", "not_reached"], "{report:#}");
        assert_untouched(&node, &scene);
        assert_eq!(node.truth("shop.carts"), before);
    }
    // A damaged SSTable: Cassandra itself refuses the whole table.
    let flag = scene.work().join("damaged");
    let damage = format!(
        "case $1 in refresh) if [ ! -e {0} ]; then touch {0}; cd {1}; for f in *-Statistics.db; do [ -L $f ] && rm $f && echo x >$f; done; fi;; esac",
        flag.display(),
        node.live_directory(TABLE).display()
    );
    let finished = scene.restore_with(&damage, &instant_words(POINT, &[TABLE]));
    assert_eq!(finished.status.code(), Some(1), "{finished}");
    assert_eq!(json(&finished.stdout)["tables"][0]["outcome"], "rolled_back", "{finished}");
    assert_untouched(&node, &scene);
    let files = sample::files(&node.live_directory(TABLE));
    assert!(!files.keys().any(|name| name.ends_with("-Statistics.db")), "{:?}", files.keys());

    // While nodetool cannot reach the node, nobody knows: the next run finds out.
    let gone = "case $1 in refresh) real \"$@\"; exit 1;; tablestats) echo 'Failed to connect' >&2; exit 1;; esac";
    let finished = scene.restore_with(gone, &instant_words(POINT, &[TABLE]));
    assert_eq!(json(&finished.stdout)["tables"][0]["outcome"], "unclear", "{finished}");
    scene.instant(POINT, &[TABLE]);
    assert_restored(&node, &scene);
    node.cql("DROP KEYSPACE shop");
    scene.mount.unmount();
}
