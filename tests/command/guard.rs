//! Links of a live table into a mount that was made again: what they lead to, and what keeps
//! Cassandra from starting.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use testkit::bucket::sample_keys;
use testkit::command::{Mounted, cassmount};
use testkit::skip::fuse_or_skip;

/// What the only evidence that can be had without reading an archive takes the table for, and what
/// it is.
const WRONG: &str = "events-77bbc010e55511f185a85b65bc0eb462";
const RIGHT: &str = "events-fe786540e55511f185a85b65bc0eb462";
const SHOP: &str = "cass-a/restore-points/2026-11-21-02-49/shop";

/// The sample without what tells the ids of its tables for certain.
fn without_system_schema(into: &Path) {
    let sample = testkit::project().join("sample/bucket");
    let copied = Command::new("cp").arg("-a").arg(sample.join(".")).arg(into).status().unwrap();
    assert!(copied.success());
    for host in ["cass-a", "cass-b"] {
        for set in fs::read_dir(into.join(host)).unwrap() {
            let archives = set.unwrap().path().join("system_schema");
            if archives.exists() {
                fs::remove_dir_all(archives).unwrap();
            }
        }
    }
}

/// Writes the journal of a restore whose links are in place.
fn journal(state_dir: &Path, live: &Path, mountpoint: &Path, directory: &Path) {
    let plan = serde_json::json!({"plan": {
        "keyspace": "shop", "table": "events", "live": live, "directories": [live], "mountpoint": mountpoint,
        "source": "/bucket", "from": [], "started": 1, "snapshot": "s", "truncate": false, "indexes": [],
        "sstables": [{"directory": directory, "name": "nb-1-big", "staged": "nb-9-big", "components": {"Data.db": 1}}],
    }});
    let mut text = "cassmount restore 1\n".to_owned();
    for record in [plan, serde_json::json!({"step": "open"})] {
        let record = record.to_string();
        writeln!(text, "{:08x} {record}", crc32fast::hash(record.as_bytes())).unwrap();
    }
    let place = state_dir.join("restore");
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join("shop.events-00000000.journal"), text).unwrap();
}

fn names(directory: &Path) -> Vec<String> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn links_lead_to_their_files_again_and_until_then_cassandra_does_not_start() {
    if !fuse_or_skip("links_lead_to_their_files_again_and_until_then_cassandra_does_not_start") {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let bucket = work.path().join("bucket");
    fs::create_dir(&bucket).unwrap();
    without_system_schema(&bucket);
    let mounted = Mounted::start(bucket.to_str().unwrap(), &sample_keys());
    let shop = mounted.path(SHOP);
    assert!(names(&shop).contains(&WRONG.to_owned()));

    let data_dir = work.path().join("data");
    let live = data_dir.join("shop").join(WRONG);
    fs::create_dir_all(&live).unwrap();
    let files = names(&shop.join(WRONG));
    for name in files.iter().filter(|name| name.starts_with("nb-1-big-")) {
        symlink(shop.join(WRONG).join(name), live.join(name)).unwrap();
    }
    journal(&mounted.state_dir(), &live, &mounted.mountpoint, &shop.join(WRONG));
    let guard = |arguments: &[&str]| -> Output {
        let mut command = cassmount();
        command.env("CASSMOUNT_STATE_DIR", mounted.state_dir()).args(["restore", "guard"]).args(arguments);
        command.output().unwrap()
    };
    let status = |output: &Output| output.status.code().unwrap();

    // The command line of Cassandra's unit, which knows nothing of this test's environment.
    let units = work.path().join("units");
    let installed = guard(&["--write-config", "--unit-dir", units.to_str().unwrap()]);
    assert_eq!(status(&installed), 0, "{installed:?}");
    let unit = fs::read_to_string(units.join("cassandra.service.d/cassmount.conf")).unwrap();
    assert!(unit.contains(&format!("RequiresMountsFor={}\n", mounted.mountpoint.display())), "{unit}");
    let before_start = unit.lines().find_map(|line| line.strip_prefix("ExecStartPre=+")).unwrap().to_owned();
    let start = || Command::new("sh").args(["-c", &before_start]).env_clear().output().unwrap();
    assert_eq!(status(&start()), 0, "{:?}", start());

    mounted.force_unmount();
    let kept_back = start();
    assert_eq!(status(&kept_back), 1, "{kept_back:?}");
    let why = String::from_utf8_lossy(&kept_back.stderr);
    assert!(why.contains("8 links in ") && why.contains("mount it first: cassmount mount /bucket"), "{why}");

    // By now it is known which table that is.
    let said = mounted.mount_again();
    assert!(said.contains("live tables read from"), "{said}");
    let shown = names(&shop);
    assert!(shown.contains(&RIGHT.to_owned()) && !shown.contains(&WRONG.to_owned()), "{shown:?}");
    assert!(fs::metadata(live.join("nb-1-big-Data.db")).unwrap().len() > 0);
    assert_eq!(status(&start()), 0, "{:?}", start());

    // What it cannot look at, it does not let pass; and what it does not understand, it refuses as
    // every command does.
    let missing: PathBuf = work.path().join("none");
    let cannot = guard(&["--data-dir", missing.to_str().unwrap()]);
    assert!(status(&cannot) == 1 && String::from_utf8_lossy(&cannot.stderr).contains("none"), "{cannot:?}");
    assert_eq!(status(&guard(&["--data-directory", "x"])), 2);
    fs::remove_dir_all(mounted.state_dir()).unwrap();
    assert!(mounted.unmount().status.success());
}
