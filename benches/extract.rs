//! A restore point of several tables as ordinary files: `cassmount extract` against what one runs
//! otherwise on the same bucket, in turns: the backup scripts' own steps (copy, `openssl enc -d` to
//! a file, `tar xz`), and the pipe `openssl enc -d | tar xz`. These run as many tables at a time as
//! cassmount does. All begin with the archives out of the page cache, and are done when the files
//! are on the disk. Options: `--mebibytes N` (300) of one table, `--tables N` (4),
//! `--repetitions N` (3).

use testkit::bench as support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use support::fixture::{self, HOST, TAG};
use support::{Report, drop_pages, median, option, settle, shell};

fn main() {
    let number = |name: &str, default: u64| option(name).map_or(default, |n| n.parse().expect("a number"));
    let (mebibytes, tables, repetitions) = (number("mebibytes", 300), number("tables", 4), number("repetitions", 3));
    let bucket = fixture::bucket_of_tables(mebibytes, tables as usize);
    let jobs = std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get);
    let archives = bucket.path.join(HOST).join(TAG).join("metrics");
    let stored: u64 =
        fs::read_dir(&archives).expect("list").map(|entry| entry.expect("entry").metadata().expect("stat").len()).sum();
    let key = bucket.key_file.to_str().expect("UTF-8 path");
    let decrypt = format!("openssl enc -d -aes-256-cbc -pbkdf2 -md sha256 -pass file:{key}");
    let (mut steps, mut pipe, mut extract, mut one_job, mut rss) = (vec![], vec![], vec![], vec![], 0);
    let mut cpu = vec![];
    for _ in 0..repetitions {
        let work = tempfile::tempdir_in(support::data_dir()).expect("create a directory");
        let target = |name: &str| work.path().join(name);

        let each = format!(
            "cp $1 $2/$3.enc; {decrypt} -in $2/$3.enc -out $2/$3.tar.gz; rm $2/$3.enc; mkdir $2/$3; tar xzf $2/$3.tar.gz -C $2/$3; rm $2/$3.tar.gz"
        );
        steps.push(by_script(&archives, &target("steps"), jobs, &each));
        fs::remove_dir_all(target("steps")).expect("remove the files");

        let each = format!("mkdir $2/$3; {decrypt} -in $1 | tar xz -C $2/$3");
        pipe.push(by_script(&archives, &target("pipe"), jobs, &each));

        cold(&archives);
        let before = support::commands_cpu_time();
        let (took, peak) = by_cassmount(&bucket, &target("extract"), &target("cache"), jobs);
        cpu.push(support::commands_cpu_time().saturating_sub(before));
        extract.push(took);
        rss = rss.max(peak);
        for table in 0..tables {
            let table = format!("t{table}");
            let ours = fs::read_dir(target("extract").join("metrics")).expect("list the extracted tables");
            let ours = ours.map(|entry| entry.expect("entry").path());
            let ours = ours.into_iter().find(|path| {
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("{table}-")))
            });
            shell(&format!("diff -r {} {}", target("pipe").join(table).display(), ours.expect("the table").display()));
        }
        fs::remove_dir_all(target("pipe")).expect("remove the files");
        fs::remove_dir_all(target("extract")).expect("remove the files");
        cold(&archives);
        one_job.push(by_cassmount(&bucket, &target("extract"), &target("cache-1"), 1).0);
    }
    let (steps, pipe, extract) = (median(steps), median(pipe), median(extract));
    let mut report = Report::new("extract");
    report.bytes("plain data", bucket.plain_size * tables);
    report.bytes("archives", stored);
    report.count("tables", tables);
    report.count("at a time", jobs as u64);
    report.count("repetitions", repetitions);
    report.seconds("the scripts' steps: cp, openssl enc -d, tar xz", steps);
    report.seconds("openssl enc -d | tar xz", pipe);
    report.seconds("cassmount extract", extract);
    report.seconds("cassmount extract --jobs 1", median(one_job));
    let plain = bucket.plain_size * tables;
    report.seconds("its CPU for each plain GB", median(cpu).mul_f64(1e9 / plain as f64));
    report.ratio("speed against the steps", steps.as_secs_f64() / extract.as_secs_f64());
    report.ratio("speed against the pipe", pipe.as_secs_f64() / extract.as_secs_f64());
    report.bytes("peak RSS of cassmount", rss);
    report.print();
}

/// Runs a script for each archive: `$1` is the archive, `$2` the target, `$3` the table.
fn by_script(archives: &Path, target: &Path, jobs: usize, each: &str) -> Duration {
    fs::create_dir(target).expect("create a directory");
    cold(archives);
    let (archives, target) = (archives.display(), target.display());
    shell(&format!(
        "ls {archives}/*.enc | xargs -P {jobs} -I@FILE@ bash -c 'set -euo pipefail; name=${{1##*/}}; set -- $1 $2 ${{name%%.*}}; {each}' _ @FILE@ {target}; sync -f {target}"
    ))
}

/// Time and peak memory of an extract with an empty cache.
fn by_cassmount(bucket: &fixture::Bucket, target: &Path, cache: &Path, jobs: usize) -> (Duration, u64) {
    support::run(
        Command::new(support::cassmount())
            .arg("extract")
            .arg(&bucket.path)
            .args([HOST, TAG])
            .arg(target)
            .arg("--key-file")
            .arg(&bucket.key_file)
            .arg("--cache-dir")
            .arg(cache)
            .args(["-q", "--jobs", &jobs.to_string()]),
    )
}

/// Nothing left to be written, and the archives out of the page cache.
fn cold(archives: &Path) {
    settle(4 << 10);
    drop_pages(archives);
}
