//! `find` and `du` over a host with 100,000 files, every archive known, from a fresh mount.
//! Options: `--tables N` (100), `--files N` of a table (1000).

use testkit::bench as support;

use std::fs;
use support::{Mount, Report, fixture, option, shell};

fn main() {
    let tables: usize = option("tables").map_or(100, |n| n.parse().expect("--tables N"));
    let files: usize = option("files").map_or(1000, |n| n.parse().expect("--files N"));
    let work = tempfile::tempdir_in(support::data_dir()).expect("create a directory");
    let (bucket, key_file) = fixture::many_files(work.path(), tables, files);
    let (source, key) = (bucket.to_str().expect("UTF-8 path"), key_file.to_str().expect("UTF-8 path"));
    let cache = work.path().join("cache");
    let options = ["--key-file", key, "--cache-dir", cache.to_str().expect("UTF-8 path")];
    shell(&format!("{} index {source} --quiet {} > /dev/null", support::cassmount().display(), options.join(" ")));

    let mut report = Report::new("many files");
    for (what, command) in [("find", "find"), ("find -size +1c (stats each)", "find -size +1c"), ("du", "du -s")] {
        let mount = Mount::start(source, work.path(), &options);
        let host = mount.mountpoint.join(fixture::HOST).join("restore-points").join(fixture::TAG);
        let (name, arguments) = command.split_once(' ').unwrap_or((command, ""));
        let line = format!("{name} {} {arguments} > {}", host.display(), work.path().join("out").display());
        report.seconds(what, shell(&line));
        if name == "find" {
            let found = fs::read_to_string(work.path().join("out")).expect("read what was found").lines().count();
            report.count(&format!("{what}: found"), found as u64);
            assert!(found >= tables * files, "find has to see them all");
        }
        report.bytes(&format!("{what}: peak RSS of the daemon"), mount.peak_rss());
    }
    report.print();
}
