//! Sets, archives, manifests, members and whole pages of keys are taken away from the sample at
//! random. Whatever is gone: `extract` gives all of a restore point or says that it does not, and
//! `list` and `chain` never call whole what it refuses.

use super::bucket::{Bucket, sample_keys};
use super::command::cassmount;
use super::unpacked;
use super::user::{User, shown_of_sample};
use super::walk::Tree;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use testkit::repack::{Order, repack};

const SETS: [(&str, &[&str]); 2] =
    [("cass-a", &["45", "47", "48", "49", "50", "52"]), ("cass-b", &["45", "47", "48", "49", "51", "52"])];
const CASES: u64 = 16;

/// Numbers that look random, and are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn choose<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        unpacked::files_below(directory).into_iter().map(|(path, ..)| directory.join(path)).collect();
    files.sort();
    files
}

fn archives(set: &Path) -> Vec<PathBuf> {
    files_below(set).into_iter().filter(|path| path.extension().is_some_and(|end| end == "enc")).collect()
}

/// The SSTables' Data.db in a directory of unpacked files.
fn data_files(directory: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut data: Vec<PathBuf> = names.filter(|path| path.to_str().unwrap().ends_with("-Data.db")).collect();
    data.sort();
    data
}

/// Takes something away, and says what.
fn take_away(host: &Path, full: &str, sets: &[&str], dice: &mut Dice) -> String {
    let set = |minute: &str| host.join(format!("2026-11-21-02-{minute}"));
    let minute: &str = dice.choose::<&str>(sets);
    let chosen = set(minute);
    let keys: Vec<PathBuf> = sample_keys().iter().filter(|key| **key != "--key-file").map(PathBuf::from).collect();
    let manifest = chosen.join("backup_manifest.json");
    if !manifest.exists() {
        return format!("nothing more, {} being gone", manifest.display());
    }
    match dice.below(7) {
        // Without the set that is asked for, its name is a time, and means the one before.
        0 if chosen != set(full) && Some(&minute) != sets.last() => {
            fs::remove_dir_all(&chosen).unwrap();
            format!("the set {}", chosen.display())
        }
        1 => {
            fs::remove_file(&manifest).unwrap();
            format!("{}", manifest.display())
        }
        2 => {
            let text = fs::read(&manifest).unwrap();
            fs::write(&manifest, &text[..dice.below(text.len())]).unwrap();
            format!("the end of {}", manifest.display())
        }
        3 => {
            // As when a page of a listing gets lost.
            let all = files_below(host);
            let from = dice.below(all.len() - 20);
            let page = &all[from..from + 1 + dice.below(20)];
            for path in page {
                fs::remove_file(path).unwrap();
            }
            format!("{} keys from {} on", page.len(), page[0].display())
        }
        way @ (4 | 5) => {
            // Only a full's archives tell which SSTables they should hold.
            let archive = dice.choose(&archives(&set(full).join("shop"))).clone();
            repack(&archive, &keys, Order::ByName, |files| {
                let Some(data) = data_files(files).pop() else { return };
                if way == 4 {
                    fs::remove_file(&data).unwrap();
                    return;
                }
                let stem = data.to_str().unwrap().strip_suffix("Data.db").unwrap().to_owned();
                for path in files_below(files).iter().filter(|path| path.to_str().unwrap().starts_with(&stem)) {
                    fs::remove_file(path).unwrap();
                }
            });
            format!("a member of {}, or all of its SSTable ({way})", archive.display())
        }
        _ => {
            let archive = dice.choose(&archives(&chosen)).clone();
            fs::remove_file(&archive).unwrap();
            format!("{}", archive.display())
        }
    }
}

/// The files of the user's tables, without what depends on which sets are known. Which tables of
/// Cassandra's own a host had before its first full, no set tells.
fn tables(mut tree: Tree) -> Tree {
    let is_system = |path: &str| path.split('/').any(|part| part.starts_with("system"));
    tree.retain(|path, _| path.contains('/') && !path.ends_with("schema.cql") && !is_system(path));
    tree
}

#[tokio::test]
async fn what_is_called_whole_is_whole() {
    let mut truths: BTreeMap<String, Tree> = BTreeMap::new();
    let mut statuses = BTreeMap::new();
    for case in 0..CASES {
        let mut dice = Dice(case.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        for _ in 0..4 {
            dice.below(2);
        }
        let bucket = Bucket::sample();
        let (host, sets) = *dice.choose(&SETS);
        // From the first nothing: what is whole has to be called whole, too.
        let damages = if case == 0 { 0 } else { 1 + dice.below(2) };
        let taken: Vec<String> =
            (0..damages).map(|_| take_away(&bucket.path().join(host), "45", &sets[..4], &mut dice)).collect();
        let point = "2026-11-21-02-49";
        let source = bucket.source();
        let run = |words: &[&str]| {
            let cache = tempfile::tempdir().unwrap();
            let mut command = cassmount();
            command.args(words).arg("--cache-dir").arg(cache.path());
            command.output().unwrap().status.code().unwrap()
        };
        let user = User::new();
        let output = user.extract(&source, host, point, &[&sample_keys()[..], &["-q"]].concat());
        let extracted = output.status.code().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let told = format!("case {case}, taken from {host}: {taken:?}; extract: {extracted} {said}");
        *statuses.entry(extracted).or_insert(0) += 1;
        match extracted {
            0 => {
                if !truths.contains_key(host) {
                    truths.insert(host.to_owned(), tables(shown_of_sample(host, point).await));
                }
                let found = tables(user.extracted());
                let differs = |path: &&String| found.get(*path) != truths[host].get(*path);
                // There may be more: a table that was dropped, where nothing tells that any more.
                let different: Vec<&String> = truths[host].keys().filter(differs).collect();
                assert!(different.is_empty(), "rows are missing, and nothing is said: {told} {different:#?}");
            }
            5 => assert!(said.contains("is incomplete:\n  2026-"), "{told}"),
            1 => assert!(said.len() > 20, "{told}"),
            _ => panic!("{told}"),
        }
        let chain = run(&[&["chain", &source, host, point, "--json"], &sample_keys()[..]].concat());
        assert_eq!(chain == 0, extracted == 0, "chain says {chain}: {told}");
        if extracted == 5 {
            assert_eq!(run(&["list", &source, host, "--json"]), 1, "{told}");
        }
    }
    let count = |status: i32| statuses.get(&status).copied().unwrap_or(0);
    assert!(count(0) >= 1 && count(1) >= 1 && count(5) >= 4, "the damages are too much alike: {statuses:?}");
}
