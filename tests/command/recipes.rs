//! The commands of docs/guide.md, taken from the file itself: those that need neither a mount nor a
//! node are run on the sample bucket, of the others every option is known.

use testkit::bucket::{Bucket, sample_keys};
use testkit::command::cassmount;

use std::path::Path;
use std::process::Command;

/// Commands that need a mount, or a running Cassandra.
const NOT_RUN: [&str; 6] = ["mount", "unmount", "upgrade", "restore", "node", "drill"];

/// Each command line of the guide, without its comment.
fn recipes() -> Vec<String> {
    let guide = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide.md")).unwrap();
    let code = guide.lines().filter(|line| line.starts_with("    ")).map(str::trim_start);
    let commands = code.filter(|line| line.starts_with("cassmount "));
    commands.map(|line| line.split("  #").next().unwrap_or(line).trim_end().to_owned()).collect()
}

#[test]
fn every_recipe_of_the_guide_works() {
    let bucket = Bucket::sample();
    let work = tempfile::tempdir().unwrap();
    let target = work.path().join("restore");
    let keys = sample_keys();
    let program = cassmount();
    let path =
        format!("{}:{}", Path::new(program.get_program()).parent().unwrap().display(), std::env::var("PATH").unwrap());
    let me = rustix::process::geteuid().as_raw().to_string();
    let (mut run, mut known) = (0, 0);
    for recipe in recipes() {
        // What the guide says its words stand for.
        let line = recipe
            .replace("s3://cass-backups", &bucket.source())
            .replace("node1", "cass-a")
            .replace("--key-file K", &format!("--key-file {} --key-file {}", keys[1], keys[3]))
            .replace(" /restore", &format!(" {}", target.display()))
            .replace("--uid cassandra --gid cassandra", &format!("--uid {me}"));
        let word = line.split_whitespace().nth(1).unwrap();
        // Only buckets of S3 keep versions.
        let line = if NOT_RUN.contains(&word) || line.contains("--as-of") {
            known += 1;
            format!("{line} --help")
        } else {
            run += 1;
            line
        };
        let mut shell = Command::new("sh");
        shell.args(["-c", &line]).current_dir(work.path()).env("PATH", &path);
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.env("CASSMOUNT_CACHE_DIR", work.path().join("cache"));
        shell.env("CASSMOUNT_KEY_FILE", format!("{}:{}", keys[1], keys[3]));
        let output = shell.output().unwrap();
        assert!(output.status.success(), "{recipe}\n{line}\n{output:?}");
    }
    assert!(run >= 18 && known >= 10, "{run} {known}");
    assert!(std::fs::read_to_string(work.path().join("backups.html")).unwrap().contains("cass-a"));
}
