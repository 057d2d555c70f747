//! The commands of docs/guide.md, taken from the file itself and run word by word, block by block,
//! on the sample bucket: in a shell, with mounts. sstableloader, nodetool and cqlsh are scripts
//! that look at what they are given; those that need a live Cassandra are run by tests/cassandra,
//! here their options are known.

use testkit::bucket::{Bucket, sample_keys};
use testkit::command::cassmount;
use testkit::skip;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Commands of ours that change a live Cassandra, or start one.
const OF_CASSANDRA: [&str; 3] = ["restore", "node", "drill"];
/// What a recipe begins with that is run here.
const RUN: [&str; 8] = ["cassmount", "ls", "for", "sstableloader", "nodetool", "cqlsh", "sed", "systemctl"];
/// Lines of files, not commands.
const OF_FILES: [&str; 5] = [
    "restore_command=",
    "restore_directories=",
    "restore_point_in_time=",
    "s3://cass-backups /mnt/backups cassmount ",
    "#",
];

/// A script in the place of a program of Cassandra's: the directory that it is given last must hold
/// an SSTable.
const LOADER: &str = r#"#!/bin/sh
for last in "$@"; do :; done
ls "$last"/*-Data.db >/dev/null || { echo "$0 $*: no SSTable there" >&2; exit 1; }
"#;
const NODETOOL: &str = r#"#!/bin/sh
case $1 in
  import) for last in "$@"; do :; done; ls "$last"/*-Data.db >/dev/null || { echo "$*: no SSTable there" >&2; exit 1; } ;;
  repair) ;;
  *) echo "not a command of nodetool: $*" >&2; exit 1 ;;
esac
"#;

/// Each command line of the guide, without its comment; what goes on in the next line is put behind
/// it.
fn recipes() -> Vec<String> {
    let guide = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide.md")).unwrap();
    let mut lines: Vec<String> = Vec::new();
    for line in guide.lines().filter(|line| line.starts_with("    ")).map(str::trim_start) {
        let line = line.split("  #").next().unwrap_or(line).trim_end();
        match lines.last_mut().filter(|last| last.ends_with('\\')) {
            Some(last) => {
                last.pop();
                last.push_str(line);
            }
            None => lines.push(line.to_owned()),
        }
    }
    lines.retain(|line| !OF_FILES.iter().any(|start| line.starts_with(start)));
    lines
}

/// Where the recipes are tried.
struct Kitchen {
    bucket: Bucket,
    work: tempfile::TempDir,
    has_fuse: bool,
}

impl Kitchen {
    fn new(has_fuse: bool) -> Self {
        let this = Self { bucket: Bucket::sample(), work: tempfile::tempdir().unwrap(), has_fuse };
        fs::create_dir_all(this.path("mnt")).unwrap();
        fs::create_dir_all(this.path("bin")).unwrap();
        for (name, script) in [
            ("sstableloader", LOADER),
            ("nodetool", NODETOOL),
            ("cqlsh", "#!/bin/sh\nexit 0\n"),
            ("systemctl", "#!/bin/sh\nexit 0\n"),
        ] {
            let path = this.path("bin").join(name);
            fs::write(&path, script).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let live = this.path("data/shop/users-763dab90e55511f185a85b65bc0eb462/snapshots/before");
        fs::create_dir_all(&live).unwrap();
        fs::write(live.join("manifest.json"), r#"{"files":["nb-1-big-Data.db"],"created_at":"2026-11-21T02:00:00Z"}"#)
            .unwrap();
        for component in ["Data.db", "Index.db", "Statistics.db", "CRC.db"] {
            fs::write(live.join(format!("nb-1-big-{component}")), "x").unwrap();
        }
        fs::write(this.path("updatedb.conf"), "PRUNEFS = \"NFS afs\"\n").unwrap();
        this
    }

    fn path(&self, below: &str) -> PathBuf {
        self.work.path().join(below)
    }

    /// The line with what the guide says its words stand for.
    fn meant(&self, recipe: &str) -> String {
        let (keys, place) = (sample_keys(), |below: &str| self.path(below).display().to_string());
        let me = rustix::process::geteuid().as_raw().to_string();
        let us = rustix::process::getegid().as_raw().to_string();
        recipe
            .replace("s3://cass-backups", &self.bucket.source())
            .replace("node1", "cass-a")
            .replace("--key-file K", &format!("--key-file {} --key-file {}", keys[1], keys[3]))
            .replace("old.txt", keys[1])
            .replace("new.txt", keys[3])
            .replace("/mnt/backups", &place("mnt"))
            .replace("/var/lib/cassandra/data", &place("data"))
            .replace("/etc/updatedb.conf", &place("updatedb.conf"))
            .replace("/restore/", &format!("{}/", place("restore")))
            .replace(" /restore", &format!(" {}", place("restore")))
            .replace("--uid cassandra --gid cassandra", &format!("--uid {me} --gid {us}"))
    }

    fn shell(&self, line: &str) -> Output {
        let program = cassmount();
        let own = Path::new(program.get_program()).parent().unwrap().display().to_string();
        let path = format!("{}:{own}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(self.work.path());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        let keys = sample_keys();
        shell.env("PATH", path).env("CASSMOUNT_CACHE_DIR", self.path("cache"));
        shell.env("CASSMOUNT_KEY_FILE", format!("{}:{}", keys[1], keys[3]));
        shell.env("CASSMOUNT_STATE_DIR", self.path("state"));
        shell.output().unwrap()
    }

    fn unmount(&self) {
        if fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&*self.path("mnt").to_string_lossy()) {
            let output = self.shell(&format!("cassmount unmount {}", self.path("mnt").display()));
            assert!(output.status.success(), "{output:?}");
        }
    }
}

impl Drop for Kitchen {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return self.unmount();
        }
        let _ = self.shell(&format!("cassmount unmount --force {}", self.path("mnt").display()));
    }
}

#[test]
fn every_recipe_of_the_guide_works() {
    let kitchen = Kitchen::new(skip::fuse_or_skip("every_recipe_of_the_guide_works"));
    let (mut run, mut known, mut skipped) = (0, 0, 0);
    if kitchen.has_fuse {
        // The first of them look into a mount.
        let output = kitchen.shell(&kitchen.meant("cassmount mount s3://cass-backups /mnt/backups"));
        assert!(output.status.success(), "{output:?}");
    }
    for recipe in recipes() {
        // As cron has it.
        let recipe = recipe.strip_prefix("30 5 * * *").unwrap_or(&recipe).trim_start();
        let word = recipe.split_whitespace().next().unwrap();
        assert!(RUN.contains(&word), "no command is called {word:?}: {recipe}");
        let command = recipe.split_whitespace().nth(1).unwrap_or_default();
        let mut line = kitchen.meant(recipe);
        if word == "cassmount" && (OF_CASSANDRA.contains(&command) || line.contains("--as-of")) {
            // Only buckets of S3 keep versions.
            line += " --help";
            known += 1;
        } else if line.contains(&*kitchen.path("mnt").to_string_lossy()) && !kitchen.has_fuse {
            skipped += 1;
            continue;
        } else {
            run += 1;
        }
        if word == "cassmount" && command == "mount" {
            kitchen.unmount();
        }
        let output = kitchen.shell(&line);
        assert!(output.status.success(), "{recipe}\n{line}\n{output:?}");
        // A listing that shows nothing would succeed, too.
        assert!(word != "ls" || !output.stdout.is_empty(), "{recipe}");
    }
    assert!(run + skipped >= 45 && known >= 15, "{run} {known} {skipped}");
    assert!(fs::read_to_string(kitchen.path("backups.html")).unwrap().contains("cass-a"));
    let pruned = fs::read_to_string(kitchen.path("updatedb.conf")).unwrap();
    assert_eq!(pruned, "PRUNEFS = \"fuse.cassmount NFS afs\"\n");
}
