//! A verification that was broken off goes on, and what was found good is good only as long as
//! nothing changes.

use super::bucket::{Bucket, HOST, Tar};
use super::support::{User, bucket_of, found, noise, report_of, set_of, sstable};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const TAG: &str = "2026-11-20-03-00";

/// Twelve tables of 200 kB, of which one is damaged.
fn bucket() -> (Bucket, [&'static str; 2]) {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let tar = |n: u64| sstable(Tar::new(), 1, &noise(n, 200_000)).end();
    let tables = names.iter().zip(1..).map(|(name, n)| (*name, tar(n))).collect();
    let bucket = bucket_of(&[(TAG, tables)]);
    flip(&bucket, "f");
    (bucket, ["node-1 2026-11-20-03-00 ks.f: gzip_damaged", "ks.f"])
}

fn flip(bucket: &Bucket, table: &str) {
    let path = bucket.archive(TAG, "ks", table);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

impl User {
    fn state(&self) -> Option<PathBuf> {
        let entries = fs::read_dir(self.cache.path().join("verify")).ok()?;
        entries.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|e| e == "verified"))
    }
}

/// Starts a slow verification and waits until it has found something good.
fn half_way(user: &User, bucket: &Bucket) -> Child {
    let key_file = bucket.key_file();
    let arguments = ["--deep", "--jobs", "1", "--throttle", "300K", "--json", "--key-file", &key_file];
    let mut command = user.verify(&bucket.source(), &arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let until = Instant::now() + Duration::from_mins(1);
    while user.state().is_none() {
        assert!(Instant::now() < until && child.try_wait().unwrap().is_none(), "it does not get far");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

#[test]
fn it_goes_on_after_kill_9() {
    let (bucket, [damaged, _]) = bucket();
    let user = User::new();
    let mut child = half_way(&user, &bucket);
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));

    let report = user.report(&bucket.source(), &["--deep", "--key-file", &bucket.key_file()]);
    assert_eq!(found(&report), set_of(&[damaged]));
    let (archives, skipped) =
        (report["checked"]["archives"].as_u64().unwrap(), report["checked"]["skipped"].as_u64().unwrap());
    assert!(skipped >= 1 && archives + skipped == 12, "{report:#}");
    // Now only what is damaged is looked at again.
    let report = user.report(&bucket.source(), &["--deep", "--key-file", &bucket.key_file()]);
    assert_eq!((found(&report), &report["checked"]["archives"]), (set_of(&[damaged]), &1.into()));
}

#[test]
fn ctrl_c_ends_it_well() {
    let (bucket, [damaged, _]) = bucket();
    let user = User::new();
    let child = half_way(&user, &bucket);
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("interrupted") && said.contains("run it again to go on"), "{said}");
    assert!(output.stdout.is_empty(), "half a report");
    let leftovers = fs::read_dir(user.cache.path().join("verify")).unwrap().count();
    assert_eq!(leftovers, 1, "only the state");
    let report = user.report(&bucket.source(), &["--deep", "--key-file", &bucket.key_file()]);
    assert_eq!(found(&report), set_of(&[damaged]));
    assert!(report["checked"]["skipped"].as_u64().unwrap() >= 1);
}

#[test]
fn good_is_what_was_looked_at_as_deep_with_these_keys_and_has_not_changed() {
    let (bucket, [damaged, _]) = bucket();
    let (source, key) = (bucket.source(), bucket.key_file());
    let user = User::new();
    let run = |arguments: &[&str]| user.report(&source, &[arguments, &["--key-file", &key]].concat());
    let skipped = |report: &serde_json::Value| report["checked"]["skipped"].as_u64().unwrap();
    assert_eq!(skipped(&run(&[])), 0);
    assert_eq!(skipped(&run(&[])), 12, "at a glance even the damaged one is good");
    let report = run(&["--deep"]);
    assert_eq!((found(&report), skipped(&report)), (set_of(&[damaged]), 0), "a glance is no reading in depth");
    assert_eq!(skipped(&run(&["--deep"])), 11);
    assert_eq!(skipped(&run(&["--deep", "--max-age", "1d"])), 11);
    assert_eq!(skipped(&run(&["--deep", "--again"])), 0);
    assert_eq!(skipped(&run(&["--deep"])), 11, "and remembers again");

    // An object that was replaced.
    flip(&bucket, "b");
    let report = run(&["--deep"]);
    assert_eq!(found(&report), set_of(&[damaged, "node-1 2026-11-20-03-00 ks.b: gzip_damaged"]));
    assert_eq!(skipped(&report), 10);

    // Without its key nothing is good, whatever was found before: one sentence, and no report.
    let output = user.verify(&source, &["--deep"]).output().unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(3), &b""[..]), "{output:?}");

    // A state that is damaged is none.
    let state = user.state().unwrap();
    let mut bytes = fs::read(&state).unwrap();
    let end = bytes.len() - 1;
    bytes[end] ^= 1;
    fs::write(&state, bytes).unwrap();
    assert_eq!(skipped(&run(&["--deep"])), 0);
}

#[test]
fn an_outage_is_no_damage_and_the_next_run_goes_on() {
    let (bucket, [damaged, _]) = bucket();
    let key = bucket.key_file();
    let root = tempfile::tempdir().unwrap();
    fs::rename(bucket.path(), root.path().join("backups")).unwrap();
    let mut server = super::s3::S3Server::start(root.path());
    let user = User::new();
    let arguments = ["--deep", "--jobs", "1", "--throttle", "300K", "--json", "--timeout", "2s", "--key-file", &key];
    let mut command = user.verify("s3://backups", &arguments);
    let mut child = command.envs(server.environment()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let until = Instant::now() + Duration::from_mins(1);
    while user.state().is_none() {
        assert!(Instant::now() < until && child.try_wait().unwrap().is_none(), "it does not get far");
        std::thread::sleep(Duration::from_millis(10));
    }
    server.stop();
    let output = child.wait_with_output().unwrap();
    let report = report_of(&output);
    assert!(report["stopped"].is_string(), "{report:#}");
    assert!(found(&report).is_subset(&set_of(&[damaged])), "an outage is no damage: {report:#}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("not everything was verified"), "{said}");

    server.restart();
    let mut command = user.verify("s3://backups", &["--deep", "--json", "--key-file", &key]);
    let report = report_of(&command.envs(server.environment()).output().unwrap());
    assert_eq!(found(&report), set_of(&[damaged]));
    assert!(report["checked"]["skipped"].as_u64().unwrap() >= 1);
    for request in server.requests() {
        assert!(request.starts_with("GET ") || request.starts_with("HEAD "), "a request that may write: {request}");
    }

    // A glance asks for two small ranges of each archive.
    let before = server.requests().len();
    let mut command = User::new().verify("s3://backups", &[HOST, "--json", "--key-file", &key]);
    let report = report_of(&command.envs(server.environment()).output().unwrap());
    assert_eq!(found(&report), BTreeSet::new());
    let requests = server.requests();
    let archives = requests[before..].iter().filter(|request| request.contains(".tar.gz.enc")).count();
    // And of one archive first, to say at once when no key opens it.
    assert_eq!(archives, 26);
}
