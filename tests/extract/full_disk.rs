//! A target without room, on a file system of its own.

use super::bucket::{Bucket, HOST, Tar, sstable};
use super::skip::skip;
use super::user::{HIDDEN, User, assert_success, noise, shown, text};
use std::path::{Path, PathBuf};
use std::process::Command;

const TAG: &str = "2026-11-20-03-00";

/// A tmpfs, unmounted when dropped.
struct Small(PathBuf);

impl Small {
    /// Mounts one of so many MiB; `None`, said loudly, where that is not allowed.
    fn mount(test: &str, path: &Path, mebibytes: u32) -> Option<Self> {
        std::fs::create_dir_all(path).unwrap();
        let options = format!("size={mebibytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(path).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(path.to_owned())),
            other => {
                skip(test, &format!("cannot mount a small tmpfs, which takes root: {other:?}"));
                None
            }
        }
    }

    fn resize(&self, mebibytes: u32) {
        let options = format!("remount,size={mebibytes}m");
        assert!(Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Four tables of 3 MiB.
fn bucket() -> Bucket {
    let bucket = Bucket::new();
    bucket.add_set(TAG, "full");
    for n in 0..4 {
        let data = noise(n, 3 << 20);
        bucket.add_archive(TAG, "ks", &format!("t{n}"), &sstable(Tar::new(), 1, &data).end());
    }
    bucket
}

#[tokio::test]
async fn without_room_nothing_begins_and_midway_it_ends_clearly_and_goes_on() {
    let user = User::new();
    let test = "without_room_nothing_begins_and_midway_it_ends_clearly_and_goes_on";
    let Some(small) = Small::mount(test, &user.target(), 8) else { return };
    let bucket = bucket();
    let key = bucket.key_file();
    let expected = shown(&bucket.path(), vec![key.clone().into()], HOST, TAG).await;
    let run = |more: &[&str]| user.extract(&bucket.source(), HOST, TAG, &[&["--key-file", &key], more].concat());

    let refused = run(&[]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(text(&refused.stderr).contains("nothing was begun"), "{refused:?}");
    assert!(!user.target().join(HIDDEN).exists());
    let (_, plan) = user.json(&bucket.source(), HOST, TAG, &["--key-file", &key, "--dry-run"]);
    assert_eq!((&plan["fits"], &plan["size_from"]), (&false.into(), &"gzip_lengths".into()), "{plan}");

    let full = run(&["--ignore-space", "--jobs", "2"]);
    assert_eq!(full.status.code(), Some(1), "{full:?}");
    let said = text(&full.stderr);
    let told = format!("{said}{}", text(&full.stdout));
    assert!(told.contains("No space left on device") || told.contains("does not fit"), "{full:?}");
    // That of tearing down, which the first one leads to.
    assert!(!told.contains("No such file or directory"), "{full:?}");
    // What did not fit is told beside what did, until it is there.
    for (path, seen) in user.extracted().into_iter().filter(|(path, _)| path != "INCOMPLETE.txt") {
        assert_eq!(Some(&seen), expected.get(&path), "{path}");
    }

    small.resize(32);
    let again = run(&[]);
    assert_success(&again);
    user.assert_complete(&expected);
}
