//! The sample bucket, every restore point of it.

use super::bucket::sample_keys;
use super::command::cassmount;
use super::oracle::{Oracle, comparable};
use super::unpacked::Unpacked;
use super::user::{HIDDEN, User, assert_success, in_snapshots, shown_of_sample, text};
use super::walk::assert_same;
use super::walk::{Seen, Tree, walk_view};
use cassmount::tree::{BackupTree, TreeOptions};
use serde_json::Value;
use std::path::Path;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/sample/bucket");
const POINT: &str = "2026-11-21-02-49";
const NEW_EVENTS: &str = "events-fe786540e55511f185a85b65bc0eb462";

/// Extracts every restore point of a host in both layouts: the first from archives that were never
/// read, the second from known ones.
async fn every_restore_point(host: &str) {
    let oracle = Oracle::of(Path::new(SAMPLE)).expected();
    let mut points: Vec<String> = std::fs::read_dir(Path::new(SAMPLE).join(host))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    points.sort();
    assert!(points.len() >= 6, "{points:?}");
    let tree = BackupTree::over(Unpacked::sample(), TreeOptions::default()).unwrap();
    for point in points {
        let expected = walk_view(&tree, &format!("{host}/restore-points/{point}")).await;
        let user = User::new();
        assert_success(&user.extract(SAMPLE, host, &point, &sample_keys()));
        user.assert_complete(&expected);

        // And by what openssl, tar and the bucket's README say alone.
        let prefix = format!("{host}/restore-points/{point}/");
        let told =
            oracle.iter().filter_map(|(path, seen)| Some((path.strip_prefix(&prefix)?.to_owned(), seen.clone())));
        let told: Tree = told.collect();
        assert!(told.len() > 150, "{}", told.len());
        let mut extracted = user.extracted();
        let Some(Seen::File(..)) = extracted.remove("schema.cql") else { panic!("{point} has no schema.cql") };
        assert_same(&comparable(&extracted, &told), &told);

        user.remove_target();
        let layout = [&sample_keys()[..], &["--arrange", "snapshots"]].concat();
        assert_success(&user.extract(SAMPLE, host, &point, &layout));
        user.assert_complete(&in_snapshots(&expected, &point));
    }
}

#[tokio::test]
async fn every_restore_point_of_cass_a_is_what_the_mount_shows() {
    every_restore_point("cass-a").await;
}

#[tokio::test]
async fn every_restore_point_of_cass_b_is_what_the_mount_shows() {
    every_restore_point("cass-b").await;
}

#[tokio::test]
async fn some_tables_and_later_others() {
    let whole = shown_of_sample("cass-a", POINT).await;
    let of = |wanted: &[&str]| -> Tree {
        let is_wanted = |path: &str| {
            path == "schema.cql" || wanted.iter().any(|w| path.starts_with(w) || w.split('/').next() == Some(path))
        };
        whole.iter().filter(|(path, _)| is_wanted(path)).map(|(path, seen)| (path.clone(), seen.clone())).collect()
    };
    let user = User::new();
    let run =
        |more: &[&str]| user.extract(SAMPLE, "cass-a", "2026-11-21T02:49:30Z", &[&sample_keys()[..], more].concat());
    assert_success(&run(&["--table", "shop.events", "--table", "shop.\"users\""]));
    user.assert_complete(&of(&["shop/events-", "shop/users-"]));
    assert!(user.target().join("shop").join(NEW_EVENTS).join("nb-1-big-Data.db").exists());
    assert_success(&run(&["--keyspace", "media"]));
    user.assert_complete(&of(&["shop/events-", "shop/users-", "media/"]));
    assert_success(&run(&[]));
    user.assert_complete(&whole);

    let dropped = run(&["--table", "media.MixedCase"]);
    assert_eq!(dropped.status.code(), Some(1));
    assert!(text(&dropped.stderr).contains("dropped 2026-11-21T02:48:07.875Z"), "{dropped:?}");
    let unknown = run(&["--keyspace", "nope"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("it has media, shop, system_auth"), "{unknown:?}");
    assert_eq!(run(&["--table", "no-dot"]).status.code(), Some(2));
}

#[tokio::test]
async fn live_ids_name_the_directories() {
    let data = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(data.path().join("shop/users-11111111111111111111111111111111")).unwrap();
    let user = User::new();
    let arguments = ["--table", "shop.users", "--live-data-dir", data.path().to_str().unwrap()];
    assert_success(&user.extract(SAMPLE, "cass-a", POINT, &[&sample_keys()[..], &arguments].concat()));
    assert!(user.target().join("shop/users-11111111111111111111111111111111/nb-1-big-Data.db").exists());
    // Directories of other names are another job.
    let other = user.extract(SAMPLE, "cass-a", POINT, &sample_keys());
    assert_eq!(other.status.code(), Some(1));
    assert!(text(&other.stderr).contains("needs another directory"), "{other:?}");
}

#[test]
fn the_second_run_fetches_nothing_and_a_dry_run_writes_nothing() {
    let user = User::new();
    let keys = sample_keys();
    let (status, plan) = user.json(SAMPLE, "cass-a", POINT, &[&keys[..], &["--dry-run"]].concat());
    assert_eq!(status, 0);
    assert!(!user.target().exists(), "a dry run makes nothing");
    let plain = |plan: &Value| plan["tables"].as_array().unwrap().clone();
    let fields: Vec<&String> = plan.as_object().unwrap().keys().collect();
    let mut expected = vec![
        "dry_run",
        "archived",
        "source",
        "host",
        "point",
        "kind",
        "lacks",
        "time",
        "target",
        "layout",
        "tables",
        "fetch_bytes",
        "write_bytes",
        "staged_bytes",
        "needed_bytes",
        "size_from",
        "free_bytes",
        "fits",
    ];
    expected.sort_unstable();
    assert_eq!(sorted(fields), expected);
    assert_eq!((&plan["dry_run"], &plan["fits"], &plan["kind"]), (&true.into(), &true.into(), &"incremental".into()));
    assert_eq!((&plan["layout"], &plan["staged_bytes"]), (&"tables".into(), &0.into()));
    let events = plain(&plan).into_iter().find(|table| table["table"] == "events").unwrap();
    let mut expected = vec![
        "keyspace",
        "table",
        "directory",
        "done",
        "sets",
        "archives",
        "archived",
        "fetch_bytes",
        "write_bytes",
        "size_from",
    ];
    expected.sort_unstable();
    assert_eq!(sorted(events.as_object().unwrap().keys().collect()), expected);
    assert_eq!(events["directory"], format!("shop/{NEW_EVENTS}"));
    assert_eq!((&events["done"], &events["sets"]), (&false.into(), &serde_json::json!([POINT])));
    let fetch: u64 = plain(&plan).iter().map(|table| table["fetch_bytes"].as_u64().unwrap()).sum();
    assert_eq!(plan["fetch_bytes"], fetch);

    let (status, report) = user.json(SAMPLE, "cass-a", POINT, &keys);
    assert_eq!(status, 0);
    let mut expected = vec![
        "dry_run", "source", "host", "point", "kind", "time", "target", "layout", "tables", "schema", "error", "lacks",
    ];
    expected.sort_unstable();
    assert_eq!(sorted(report.as_object().unwrap().keys().collect()), expected);
    assert_eq!((&report["schema"], &report["error"]), (&"written".into(), &Value::Null));
    let mut expected =
        vec!["keyspace", "table", "directory", "state", "archives", "fetched_bytes", "files", "bytes", "lost", "error"];
    expected.sort_unstable();
    for table in plain(&report) {
        assert_eq!(sorted(table.as_object().unwrap().keys().collect()), expected);
        assert_eq!((&table["state"], &table["lost"]), (&"extracted".into(), &Value::Array(vec![])));
        let directory = user.target().join(table["directory"].as_str().unwrap());
        let files: Vec<_> = super::walk::walk_path(&directory).into_values().collect();
        let sizes = files.iter().filter_map(|seen| if let Seen::File(size, ..) = seen { Some(*size) } else { None });
        let (count, bytes) = sizes.fold((0, 0), |(count, sum), size| (count + 1, sum + size));
        assert_eq!((&table["files"], &table["bytes"]), (&count.into(), &bytes.into()), "{table}");
        // What was planned was enough.
        let planned = plain(&plan).into_iter().find(|planned| planned["directory"] == table["directory"]).unwrap();
        assert!(planned["write_bytes"].as_u64().unwrap() >= bytes, "{planned} {table}");
    }

    let (status, again) = user.json(SAMPLE, "cass-a", POINT, &keys);
    assert_eq!((status, &again["schema"]), (0, &"unchanged".into()));
    for table in plain(&again) {
        assert_eq!((&table["state"], &table["fetched_bytes"]), (&"unchanged".into(), &0.into()));
    }
    let (_, plan) = user.json(SAMPLE, "cass-a", POINT, &[&keys[..], &["--dry-run"]].concat());
    assert_eq!((&plan["fetch_bytes"], &plan["write_bytes"]), (&0.into(), &0.into()));
    assert!(plain(&plan).iter().all(|table| table["done"] == true));

    // A table that was removed comes back; nobody needs the cache for that.
    let users = plain(&report).into_iter().find(|table| table["table"] == "users").unwrap();
    let users = user.target().join(users["directory"].as_str().unwrap());
    std::fs::remove_dir_all(&users).unwrap();
    user.forget_cache();
    let (status, third) = user.json(SAMPLE, "cass-a", POINT, &keys);
    let extracted: Vec<_> = plain(&third).into_iter().filter(|table| table["state"] == "extracted").collect();
    assert_eq!((status, extracted.len(), &extracted[0]["table"]), (0, 1, &"users".into()));
    assert!(users.join("nb-1-big-Data.db").exists());
    assert!(!user.target().join(HIDDEN).join("table-").exists());
}

#[test]
fn people_get_a_table_and_programs_progress_in_lines() {
    let user = User::new();
    let output = user.extract(SAMPLE, "cass-a", POINT, &sample_keys());
    let out = text(&output.stdout);
    for part in ["DIRECTORY", &format!("shop/{NEW_EVENTS}"), "2026-11-21-02-49 of cass-a in", " tables, ", " fetched"] {
        assert!(out.contains(part), "{part}: {out}");
    }
    assert!(text(&output.stderr).contains("extract: "), "{output:?}");
    let quiet = user.extract(SAMPLE, "cass-a", POINT, &[&sample_keys()[..], &["-q"]].concat());
    assert!(!text(&quiet.stderr).contains("extract: "), "{quiet:?}");
    let dry = text(&user.extract(SAMPLE, "cass-a", POINT, &[&sample_keys()[..], &["--dry-run"]].concat()).stdout);
    assert!(dry.contains("is there") && dry.contains("0 tables to extract") && dry.contains("it fits"), "{dry}");
    let help = text(&cassmount().args(["extract", "--help"]).output().unwrap().stdout);
    for part in ["--arrange", "--dry-run", "--throttle", "--uid", "nodetool import", ".cassmount-extract", "--jobs"] {
        assert!(help.contains(part), "{part}: {help}");
    }
}

fn sorted(mut names: Vec<&String>) -> Vec<&str> {
    names.sort();
    names.into_iter().map(String::as_str).collect()
}
