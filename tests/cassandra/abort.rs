//! `cassmount restore abort`: tables as they were before, with the rows that were written since.

use serde_json::Value;
use std::os::unix::process::ExitStatusExt;

use super::instant::{Scene, instant_words, json, links};
use super::node;
use super::support::sample::{self, POINT};
use super::support::{Cqlsh, Node, Version};

/// Compaction leaves what is restored to it alone.
const APART: &str = "shop.carts";
/// Compaction mixes it.
const MIXED: &str = "media.docs";
/// Truncated first, and made local.
const TRUNCATED: &str = "shop.users";

/// Adds a row that no backup has.
fn insert(node: &Node, table: &str, number: u32) {
    let id = if table == MIXED { format!("-{number}") } else { format!("ffffffff-0000-0000-0000-{number:012}") };
    match table {
        TRUNCATED => node.cql(&format!("INSERT INTO {table} (id, email) VALUES ({id}, 'mine-{number}@x')")),
        _ => node.cql(&format!("INSERT INTO {table} (id) VALUES ({id})")),
    }
}

/// The numbers of the table's rows that [`insert`] made, and how many others there are.
fn rows(node: &Node, table: &str) -> (Vec<u32>, usize) {
    let rows = node.json_rows(&format!("id FROM {table}"));
    let ids = rows.iter().map(|row| serde_json::from_str::<Value>(row).unwrap()["id"].to_string().replace('"', ""));
    let (mine, others): (Vec<String>, Vec<String>) =
        ids.partition(|id| id.starts_with('-') || id.starts_with("ffffffff-"));
    let mut mine: Vec<u32> = mine.iter().map(|id| id.rsplit('-').next().unwrap().parse().unwrap()).collect();
    mine.sort_unstable();
    (mine, others.len())
}

#[track_caller]
fn abort(scene: &Scene<'_>, table: &str) -> Value {
    let report = json(&scene.restore(&["abort", "--json", "--table", table]).expect_success())["tables"][0].clone();
    assert_eq!(report["undone"], true, "{report:#}");
    report
}

#[test]
fn tables_go_back_to_how_they_were_and_keep_what_was_written_since() {
    let test = "tables_go_back_to_how_they_were_and_keep_what_was_written_since";
    let Some(node) = node(Version::V5_0, test) else { return };
    let cqlsh = match Cqlsh::find() {
        Ok(cqlsh) => cqlsh.words(&node),
        Err(missing) => return missing.skip(test),
    };
    let Some(scene) = Scene::new(&node, POINT, test) else { return };
    let tables = [APART, MIXED, TRUNCATED];
    for table in tables {
        insert(&node, table, 1);
    }
    scene.instant(POINT, &[APART, MIXED]);
    let truncated = [&instant_words(POINT, &[TRUNCATED])[..], &["--truncate-first", "--cqlsh", &cqlsh]].concat();
    scene.restore(&truncated).expect_success();
    for table in tables {
        insert(&node, table, 2);
    }
    for (table, mine) in [(APART, vec![1, 2]), (MIXED, vec![1, 2]), (TRUNCATED, vec![2])] {
        assert_eq!(rows(&node, table), (mine, sample::truth(POINT, table).rows), "{table}");
    }
    scene.restore(&["hydrate", "--wait", "--keep-free", "1M", "--table", TRUNCATED]).expect_success();
    node.nodetool(&["compact", "media", "docs"]).expect_success();
    super::refresh::wait_until_no_links(&node.live_directory(MIXED));

    // Cassandra lets go of nothing while it runs.
    let refused = scene.restore(&["abort", "--table", APART]);
    assert_eq!(refused.status.code(), Some(1), "{refused}");
    assert!(refused.stderr.contains("nodetool drain"), "{refused}");
    assert_eq!(rows(&node, APART).0, [1, 2]);

    node.nodetool(&["drain"]).expect_success();
    node.shut_down();
    kill_again_and_again(&scene);
    let mixed = abort(&scene, MIXED);
    assert_eq!(mixed["brought_back"], 1, "{mixed:#}");
    let aside = mixed["set_aside"][0].as_str().unwrap();
    assert!(sample::files(aside.as_ref()).keys().any(|name| name.ends_with("-Data.db")), "{aside}");
    let truncated = abort(&scene, TRUNCATED);
    assert_eq!((&truncated["brought_back"], &truncated["rebuild_indexes"][0]), (&1.into(), &"users_email".into()));
    assert!(links(&node.data_directory()).is_empty() && scene.status().is_empty(), "{:#?}", scene.status());
    scene.mount.unmount();

    node.start_again();
    assert_eq!(rows(&node, APART), (vec![1, 2], 0));
    assert_eq!(rows(&node, MIXED), (vec![1], 0));
    assert_eq!(rows(&node, TRUNCATED), (vec![1, 2], 0));
    node.nodetool(&["rebuild_index", "shop", "users", "users_email"]).expect_success();
    for number in [1, 2] {
        let by_email = node.json_rows(&format!("id FROM shop.users WHERE email = 'mine-{number}@x'"));
        assert_eq!(by_email.len(), 1, "through the index: {number}");
    }
}

/// Kills the command at moments after its only question, to a node that is down, until it is done
/// all the same.
fn kill_again_and_again(scene: &Scene<'_>) {
    let (mut kills, mut delay) = (0, 0.000_2);
    loop {
        let down = format!(
            "echo \"nodetool: Failed to connect to '127.0.0.1:7199'\" >&2; (sleep {delay}; grep -qx cassmount /proc/$PPID/comm && kill -9 $PPID) & exit 1"
        );
        let finished = scene.restore_with(&down, &["abort", "--json", "--table", APART]);
        if finished.status.signal() != Some(libc::SIGKILL) {
            break;
        }
        (kills, delay) = (kills + 1, delay * 1.5);
        assert!(delay < 10.0, "it is never done");
    }
    assert!(kills > 2, "{kills} kills: that shows nothing");
}
