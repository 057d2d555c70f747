//! Killed, interrupted, and run again: nothing unverified has a final name, and the end is the
//! same.

use super::bucket::{Bucket, HOST, Tar, crc_db, long_index_db, statistics_db};
use super::user::{HIDDEN, User, noise, shown, text};
use super::walk::{Seen, Tree, walk_path};
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const FULL: &str = "2026-11-20-03-00";
const LATER: &str = "2026-11-20-04-00";

/// Plain bytes of all tables together, about.
const MIB: usize = 1 << 20;

/// Three tables, each in a full and an incremental, that take some seconds at the throttle below.
fn bucket() -> Bucket {
    let bucket = Bucket::new();
    for (tag, kind, generation) in [(FULL, "full", 1), (LATER, "incremental", 2)] {
        bucket.add_set(tag, kind);
        for (n, table) in ["one", "two", "three"].into_iter().enumerate() {
            let name = |component: &str| format!("./nb-{generation}-big-{component}");
            let data = noise((generation * 10 + n) as u64, 2 * MIB);
            let (index, partitions) = long_index_db(&noise(n as u64, MIB / 2));
            let tar = Tar::new()
                .file(name("Digest.crc32"), crc32fast::hash(&data).to_string())
                .file(name("Data.db"), &data)
                .file(name("Index.db"), index)
                .file(name("Statistics.db"), statistics_db(partitions))
                .file(name("CRC.db"), crc_db(&data));
            bucket.add_archive(tag, "ks", table, &tar.end());
        }
    }
    bucket
}

const THROTTLE: &str = "6M";

fn start(user: &User, bucket: &Bucket) -> Child {
    let mut command: Command = user.command(&bucket.source(), HOST, LATER, &["--key-file", &bucket.key_file()]);
    command.args(["--throttle", THROTTLE]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Bytes that lie anywhere in the target.
fn written(target: &Path) -> u64 {
    let mut sum = 0;
    let mut todo = vec![target.to_owned()];
    while let Some(next) = todo.pop() {
        // Names come and go meanwhile.
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => todo.push(entry.path()),
                Ok(meta) => sum += meta.len(),
                Err(_) => {}
            }
        }
    }
    sum
}

/// Waits until so many bytes were written; false when the process ended before.
fn wait_for(child: &mut Child, target: &Path, bytes: u64) -> bool {
    let until = Instant::now() + Duration::from_mins(1);
    while written(target) < bytes {
        assert!(Instant::now() < until, "it does not get far");
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Kills a run when it has written so many bytes. Returns the directory that it works in.
fn kill_at(user: &User, bucket: &Bucket, bytes: usize) -> PathBuf {
    let mut child = start(user, bucket);
    assert!(wait_for(&mut child, &user.target(), bytes as u64));
    child.kill().unwrap();
    child.wait().unwrap();
    user.target().join(HIDDEN)
}

/// Whatever has a final name is whole: every table directory that is there is as it will be in the
/// end.
#[track_caller]
fn assert_whole_as_far_as_it_goes(extracted: &Tree, expected: &Tree) {
    for (path, seen) in extracted {
        assert_eq!(Some(seen), expected.get(path), "{path}");
    }
    let tables = |tree: &Tree| -> Vec<String> {
        tree.iter()
            .filter(|(path, seen)| path.split('/').count() == 2 && **seen == Seen::Directory)
            .map(|(path, _)| path.clone())
            .collect()
    };
    for table in tables(extracted) {
        let files = |tree: &Tree| tree.keys().filter(|path| path.starts_with(&format!("{table}/"))).count();
        assert_eq!(files(extracted), files(expected), "{table} is there in part");
    }
}

#[tokio::test]
async fn killed_at_any_moment_a_second_run_goes_on_to_the_same_end() {
    let bucket = bucket();
    let key = bucket.key_file();
    let expected = shown(&bucket.path(), vec![key.clone().into()], HOST, LATER).await;
    let stored: u64 = super::walk::walk_path(&bucket.path())
        .into_iter()
        .filter_map(|(path, seen)| match seen {
            Seen::File(size, ..) if path.ends_with(".tar.gz.enc") => Some(size),
            _ => None,
        })
        .sum();
    let mut went_on = 0;
    for kill_at in [0, 1, 3, 5, 8, 10, 12, 14] {
        let user = User::new();
        // Killed twice: what the second run finds is what the first left, and the other way round.
        for more in [0, 1] {
            let mut child = start(&user, &bucket);
            if wait_for(&mut child, &user.target(), ((kill_at + more) * MIB) as u64) {
                child.kill().unwrap();
            }
            child.wait().unwrap();
            if user.target().exists() {
                assert_whole_as_far_as_it_goes(&user.extracted(), &expected);
            }
        }
        let (status, report) = user.json(&bucket.source(), HOST, LATER, &["--key-file", &key]);
        assert_eq!(status, 0, "{report}");
        user.assert_complete(&expected);
        let fetched: u64 =
            report["tables"].as_array().unwrap().iter().map(|table| table["fetched_bytes"].as_u64().unwrap()).sum();
        assert!(fetched <= stored, "{fetched} of {stored}");
        if fetched < stored {
            went_on += 1;
        }
    }
    assert!(went_on >= 3, "only {went_on} of the runs went on with what there was");
}

#[tokio::test]
async fn what_is_staged_of_a_table_that_got_its_name_goes() {
    let bucket = bucket();
    let key = bucket.key_file();
    let expected = shown(&bucket.path(), vec![key.clone().into()], HOST, LATER).await;
    let user = User::new();
    let hidden = kill_at(&user, &bucket, 3 * MIB);
    let names = std::fs::read_dir(&hidden).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let staged: Vec<String> = names.filter(|name| name.starts_with("table-")).collect();
    assert!(!staged.is_empty());
    // As if the second run had been killed between the name and the end.
    for is_left in [false, true] {
        for name in staged.iter().filter(|_| is_left) {
            std::fs::create_dir(hidden.join(name)).unwrap();
        }
        let (status, report) = user.json(&bucket.source(), HOST, LATER, &["--key-file", &key]);
        assert_eq!(status, 0, "{report}");
        user.assert_complete(&expected);
    }
}

#[tokio::test]
async fn ctrl_c_leaves_nothing_half_written_and_says_how_to_go_on() {
    let bucket = bucket();
    let key = bucket.key_file();
    let expected = shown(&bucket.path(), vec![key.clone().into()], HOST, LATER).await;
    let user = User::new();
    let mut child = start(&user, &bucket);
    assert!(wait_for(&mut child, &user.target(), 3 * MIB as u64));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert!(text(&output.stderr).contains("the same command goes on"), "{output:?}");
    assert_whole_as_far_as_it_goes(&user.extracted(), &expected);
    // Threads that were at work have cleaned up: what is staged belongs to archives that the
    // journal knows.
    let journal = std::fs::read_to_string(user.target().join(HIDDEN).join("journal")).unwrap();
    for path in walk_path(&user.target().join(HIDDEN)).into_keys() {
        if let Some((_, staged)) = path.split_once('/') {
            let archive = staged.split('-').next().unwrap();
            assert!(journal.contains(&format!("{{\"archive\":\"{archive}\"}}")), "{path} is of no finished archive");
        }
    }
    let (status, _) = user.json(&bucket.source(), HOST, LATER, &["--key-file", &key]);
    assert_eq!(status, 0);
    user.assert_complete(&expected);
}

#[tokio::test]
async fn what_a_journal_does_not_vouch_for_is_not_used() {
    let bucket = bucket();
    let key = bucket.key_file();
    let expected = shown(&bucket.path(), vec![key.clone().into()], HOST, LATER).await;
    let user = User::new();
    // Some archives are staged by then, and some are not.
    let hidden = kill_at(&user, &bucket, 7 * MIB);
    // Staged files lose bytes, as after a power failure; others appear.
    for path in walk_path(&hidden).into_iter().filter(|(_, seen)| matches!(seen, Seen::File(..))).map(|(path, _)| path)
    {
        if path.contains('/') {
            let file = std::fs::File::options().write(true).open(hidden.join(&path)).unwrap();
            file.set_len(10).unwrap();
        }
    }
    for directory in std::fs::read_dir(&hidden).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir())
    {
        std::fs::write(directory.join("0123456789abcdef-512"), "planted").unwrap();
        std::fs::create_dir(directory.join("odd")).unwrap();
    }
    let (status, report) = user.json(&bucket.source(), HOST, LATER, &["--key-file", &key]);
    assert_eq!(status, 0, "{report}");
    user.assert_complete(&expected);
}
