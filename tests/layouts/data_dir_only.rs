//! What only Cassandra's own tree has: one host without a name, snapshots of some keyspaces, commit
//! logs beside the data, live files.

use crate::case::LayoutCase;
use crate::command::{Mounted, cassmount};
use crate::data_dir::DataDirs;
use crate::history::{copy, history, names};
use crate::skip;
use crate::walk::{Seen, walk_path};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// `/var/lib/cassandra` of one host.
fn one_host() -> tempfile::TempDir {
    let all = tempfile::tempdir().unwrap();
    DataDirs::write(history(), all.path());
    let directory = tempfile::tempdir().unwrap();
    copy(&all.path().join("cass-a"), &directory.path().join("data"));
    directory
}

/// The directory of a table.
fn table(keyspace: &Path, name: &str) -> PathBuf {
    let is_it = |directory: &String| directory.rsplit_once('-').is_some_and(|(table, _)| table == name);
    keyspace.join(names(keyspace).into_iter().find(is_it).unwrap())
}

fn mount(source: &Path, test: &str) -> Option<Mounted> {
    skip::fuse_or_skip(test).then(|| Mounted::start(source.to_str().unwrap(), &[]))
}

#[test]
fn a_host_without_a_name_its_live_files_and_its_commit_logs() {
    let source = one_host();
    let logs = source.path().join("commitlog_archive");
    fs::create_dir(&logs).unwrap();
    fs::write(logs.join("CommitLog-7-1795229000000.log"), vec![7; 70_000]).unwrap();
    fs::write(logs.join("notes.txt"), "none of Cassandra's").unwrap();
    let packed = logs.join("CommitLog-7-1795229000001.log");
    fs::write(&packed, vec![8; 3_000_000]).unwrap();
    assert!(std::process::Command::new("gzip").arg(&packed).status().unwrap().success());
    let users = table(&source.path().join("data/shop"), "users");
    copy(&users.join("snapshots/2026-11-21-02-50"), &users);
    let paxos = source.path().join("data/system/_paxos_repair_state");
    fs::create_dir_all(&paxos).unwrap();
    fs::write(paxos.join("ballot.meta"), [0; 40]).unwrap();
    let list = |arguments: &[&str]| {
        let cache = tempfile::tempdir().unwrap();
        let mut command = cassmount();
        let output =
            command.arg("list").arg(source.path()).args(arguments).arg("--cache-dir").arg(cache.path()).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    assert!(list(&[]).contains("\nnode "), "{}", list(&[]));
    // What lost its directory.
    fs::write(source.path().join("data/shop/nb-77-big-Data.db"), "rows").unwrap();
    let hosts = list(&[]);
    assert!(
        hosts.contains("1 host has data in no restore point: node") && hosts.contains("STRAY: 1 finding"),
        "{hosts}"
    );
    let listed = list(&["node"]);
    assert!(listed.contains("data/shop/nb-77-big-Data.db: an SSTable's file where"), "{listed}");
    assert!(listed.contains("data/: live files are in no restore point"), "{listed}");
    assert_eq!(listed.matches("live files").count(), 1, "{listed}");
    assert!(!listed.contains("ballot.meta"), "{listed}");
    // Neither of them is what Cassandra writes.
    let cache = tempfile::tempdir().unwrap();
    let verify = cassmount().arg("verify").arg(source.path()).arg("--cache-dir").arg(cache.path()).output().unwrap();
    let told = String::from_utf8(verify.stdout).unwrap();
    for log in ["CommitLog-7-1795229000000.log", "CommitLog-7-1795229000001.log"] {
        assert!(told.contains(&format!("{log}: the checksum of its header is wrong")), "{told}");
    }

    let Some(mounted) = mount(source.path(), "a_host_without_a_name_its_live_files_and_its_commit_logs") else {
        return;
    };
    assert_eq!(names(&mounted.mountpoint), ["node"]);
    let shown = walk_path(&mounted.path("node/commitlogs"));
    assert_eq!(shown.keys().collect::<Vec<_>>(), ["CommitLog-7-1795229000000.log", "CommitLog-7-1795229000001.log"]);
    assert_eq!(fs::read(mounted.path("node/commitlogs/CommitLog-7-1795229000001.log")).unwrap(), vec![8; 3_000_000]);
    assert_eq!(fs::read(mounted.path("node/commitlogs/CommitLog-7-1795229000000.log")).unwrap(), vec![7; 70_000]);
    // Nothing of a local source is copied into the cache, but for what had to be unpacked.
    let full = walk_path(&mounted.path("node/restore-points/2026-11-21-02-50"));
    assert!(full.len() > 100);
    let entries = walk_path(&mounted.cache_dir().join("data/entries"));
    let files = entries.iter().filter(|(_, seen)| **seen != Seen::Directory);
    assert_eq!(files.count(), 1, "{:?}", entries.keys());
}

#[test]
fn of_a_table_that_lacks_a_file_the_rest_is_not_told_as_older() {
    let (source, cache) = (one_host(), tempfile::tempdir().unwrap());
    let snapshot = table(&source.path().join("data/shop"), "users").join("snapshots/2026-11-21-02-50");
    let mut files = fs::read_dir(&snapshot).unwrap().map(|entry| entry.unwrap().path());
    fs::remove_file(files.find(|path| path.to_str().unwrap().ends_with("-Data.db")).unwrap()).unwrap();
    let mut chain = cassmount();
    chain.arg("chain").arg(source.path()).args(["node", "2026-11-21-02-50", "--cache-dir"]).arg(cache.path());
    let output = chain.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("INCOMPLETE: 2026-11-21-02-50 lacks") && !text.contains("older full"), "{text}");
}

#[test]
fn a_file_that_is_replaced_under_the_mount_is_stale_and_not_another() {
    let source = one_host();
    let Some(mounted) = mount(source.path(), "a_file_that_is_replaced_under_the_mount_is_stale_and_not_another") else {
        return;
    };
    let data = table(&source.path().join("data/shop"), "users").join("snapshots/2026-11-21-02-50");
    let below = data.strip_prefix(source.path().join("data")).unwrap().join("manifest.json");
    let shown = mounted.path("node").join(below);
    let before = fs::read(&shown).unwrap();
    assert!(!before.is_empty());
    let held = fs::File::open(&shown).unwrap();
    fs::remove_file(data.join("manifest.json")).unwrap();
    fs::write(data.join("manifest.json"), "another").unwrap();
    // As long as somebody has it open, all get what was listed.
    assert_eq!(fs::read(&shown).unwrap(), before);
    drop(held);
    // The kernel reports a close when it gets to it; until then it is open.
    let ends = Instant::now() + Duration::from_mins(2);
    let error = loop {
        match fs::read(&shown) {
            Ok(content) => assert_eq!(content, before, "another"),
            Err(error) => break error,
        }
        assert!(Instant::now() < ends, "what was replaced is still open");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(error.raw_os_error(), Some(libc::ESTALE));
}

#[test]
fn a_snapshot_of_some_keyspaces_is_no_base_of_others() {
    let source = one_host();
    let shop = source.path().join("data/shop");
    for directory in names(&shop) {
        let _ = fs::remove_dir_all(shop.join(directory).join("snapshots/2026-11-21-02-50"));
    }
    let Some(mounted) = mount(source.path(), "a_snapshot_of_some_keyspaces_is_no_base_of_others") else { return };
    let latest = mounted.path("node/restore-points/latest");
    let users = walk_path(&table(&latest.join("shop"), "users"));
    let first = walk_path(&mounted.path("node/restore-points/2026-11-21-02-45/shop"));
    // From the older full on, and all that was flushed since: nothing of the table is lost.
    let data: Vec<&String> =
        first.keys().filter(|path| path.contains("users-") && path.ends_with("-Data.db")).collect();
    assert!(!data.is_empty());
    for path in data {
        let name = path.split_once('/').unwrap().1;
        assert!(users.contains_key(name), "{name} in {:?}", users.keys());
    }
    assert!(users.keys().filter(|path| path.ends_with("-Data.db")).count() > 2, "{:?}", users.keys());
    // And the other keyspace stands on the newer one.
    let cache = mounted.cache_dir();
    let mut chain = cassmount();
    chain.arg("chain").arg(source.path()).args(["node", "latest", "--json", "--cache-dir"]).arg(cache);
    let chain = chain.output().unwrap();
    let chain: serde_json::Value = serde_json::from_slice(&chain.stdout).unwrap();
    assert_eq!(chain["sets"][0]["tag"], "2026-11-21-02-50", "{:#}", chain["sets"]);
}

/// Also where all of its snapshots went with it, so that no other one has the table; what was
/// dropped before is not missed.
#[test]
fn a_table_that_a_snapshot_lost_is_told_by_its_own_schema() {
    let source = one_host();
    let newest = "2026-11-21-02-50";
    let run = |command: &str| {
        let cache = tempfile::tempdir().unwrap();
        let mut run = cassmount();
        let output = run.arg(command).arg(source.path()).arg("node").arg("--cache-dir").arg(cache.path()).output();
        let output = output.unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(run("list").0, Some(0), "{}", run("list").1);
    let users = table(&source.path().join("data/shop"), "users");
    fs::remove_dir_all(users.join("snapshots").join(newest)).unwrap();
    let why = "its own system_schema has the table, and none of its files are there";
    for command in ["list", "verify"] {
        let (status, text) = run(command);
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(status, Some(1), "{text}");
        assert!(text.contains("shop.users") && text.contains(why), "{text}");
    }
    fs::remove_dir_all(users).unwrap();
    let (status, text) = run("list");
    assert!(status == Some(1) && text.matches(why).count() == 2, "{text}");
}

/// Of empty tables it has empty directories, which nobody lists.
#[test]
fn what_extract_arranged_as_snapshots_is_whole() {
    let (target, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let data = target.path().join("data");
    let (sample, data) = (crate::history::SAMPLE, data.to_str().unwrap());
    let run = |arguments: &[&str]| {
        let output = cassmount().args(arguments).args(["--cache-dir"]).arg(cache.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    let keys = testkit::bucket::sample_keys();
    run(&[&["extract", sample, "cass-a", "latest", data, "--arrange", "snapshots"], &keys[..]].concat());
    run(&["list", data, "node"]);
    run(&["verify", data]);
}
