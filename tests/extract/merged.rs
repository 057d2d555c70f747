//! Chains in which archives hold the same SSTables, or others of the same name: every one once, as
//! a mount shows them.

use super::bucket::{Bucket, HOST, Tar, crc_db, filter_db, index_db, statistics_db_repaired};
use super::user::{User, assert_success, noise, shown, text};
use super::walk::Tree;
use std::collections::BTreeMap;

const FULL: &str = "2026-11-20-03-00";
const FIRST: &str = "2026-11-20-04-00";
const SECOND: &str = "2026-11-20-05-00";

/// Files of one archive by name.
type Files = BTreeMap<String, Vec<u8>>;

/// An SSTable with a Data.db and a Filter.db as large as the one that is claimed by one archive.
fn sstable(files: &mut Files, generation: u32, data: &[u8], repaired: u64) {
    let mut add = |component: &str, content: &[u8]| {
        files.insert(format!("./nb-{generation}-big-{component}"), content.to_vec());
    };
    add("Data.db", data);
    add("Digest.crc32", crc32fast::hash(data).to_string().as_bytes());
    add("Statistics.db", &statistics_db_repaired(1, repaired));
    add("Index.db", &index_db([&b"key"[..]]));
    add("CRC.db", &crc_db(data));
    add("Filter.db", &filter_db(12_500));
    add("TOC.txt", b"Data.db\nDigest.crc32\nStatistics.db\nIndex.db\nCRC.db\nFilter.db\nTOC.txt\n");
}

fn add(bucket: &Bucket, tag: &str, kind: &str, files: &Files) {
    bucket.add_set(tag, kind);
    let tar = files.iter().fold(Tar::new().directory("./"), |tar, (name, content)| tar.file(name, content));
    bucket.add_archive(tag, "ks", "t", &tar.end());
}

async fn extract_all(bucket: &Bucket) -> (Tree, serde_json::Value) {
    let key = bucket.key_file();
    let expected = shown(&bucket.path(), vec![key.clone().into()], HOST, SECOND).await;
    let user = User::new();
    let output = user.extract(&bucket.source(), HOST, SECOND, &["--key-file", &key, "--json", "--debug"]);
    assert_success(&output);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    user.assert_complete(&expected);
    // Also what has to be read of archives to know whose they are comes from what was extracted:
    // none goes through the cache.
    assert!(!text(&output.stderr).contains("reading the archive"), "{output:?}");
    // Nobody needs the cache to see that it is there.
    user.forget_cache();
    let (status, again) = user.json(&bucket.source(), HOST, SECOND, &["--key-file", &key]);
    assert_eq!((status, &again["tables"][0]["state"]), (0, &"unchanged".into()), "{again}");
    assert_eq!(again["tables"][0]["directory"], report["tables"][0]["directory"]);
    assert_success(&user.extract(&bucket.source(), HOST, SECOND, &["--key-file", &key]));
    // From archives that are known, and one at a time.
    user.remove_target();
    assert_success(&user.extract(&bucket.source(), HOST, SECOND, &["--key-file", &key, "--jobs", "1"]));
    user.assert_complete(&expected);
    // One at a time, and nothing known.
    user.remove_target();
    user.forget_cache();
    assert_success(&user.extract(&bucket.source(), HOST, SECOND, &["--key-file", &key, "--jobs", "1"]));
    user.assert_complete(&expected);
    (expected, report)
}

fn names(tree: &Tree) -> Vec<&str> {
    tree.keys().filter_map(|path| path.rsplit('/').next().filter(|name| name.ends_with("-Data.db"))).collect()
}

#[tokio::test]
async fn what_several_archives_hold_is_there_once_from_the_newest() {
    let bucket = Bucket::new();
    let (one, two) = (noise(1, 300_000), noise(2, 200_000));
    let mut files = Files::new();
    files.insert("./manifest.json".into(), b"{}".to_vec());
    let id = "13250000-a598-11f1-85a8-5b65bc0eb462";
    files.insert("./schema.cql".into(), format!("CREATE TABLE ks.t (k int PRIMARY KEY) WITH ID = {id};").into_bytes());
    sstable(&mut files, 1, &one, 0);
    add(&bucket, FULL, "full", &files);
    // Clean-up missed the first: it is in the next again, with another Statistics.db of the same
    // length.
    let mut files = Files::new();
    sstable(&mut files, 1, &one, 7);
    sstable(&mut files, 2, &two, 0);
    add(&bucket, FIRST, "incremental", &files);
    sstable(&mut files, 3, &noise(3, 100_000), 0);
    add(&bucket, SECOND, "incremental", &files);

    let (expected, report) = extract_all(&bucket).await;
    assert_eq!(names(&expected), ["nb-1-big-Data.db", "nb-2-big-Data.db", "nb-3-big-Data.db"]);
    assert_eq!(report["tables"][0]["directory"], format!("ks/t-{}", id.replace('-', "")));
    // Each archive was read once, and nothing of it again.
    let stored: u64 =
        [FULL, FIRST, SECOND].iter().map(|tag| bucket.archive(tag, "ks", "t").metadata().unwrap().len()).sum();
    assert_eq!(report["tables"][0]["fetched_bytes"], stored);
}

#[tokio::test]
async fn different_sstables_of_one_name_and_size_are_both_there() {
    let bucket = Bucket::new();
    for (n, (tag, kind)) in [(FULL, "full"), (FIRST, "incremental"), (SECOND, "incremental")].into_iter().enumerate() {
        let mut files = Files::new();
        // The counter started again: the same name, and by chance the same length.
        sstable(&mut files, 1, &noise(n as u64 + 10, 300_000), 0);
        add(&bucket, tag, kind, &files);
    }
    let (expected, _) = extract_all(&bucket).await;
    assert_eq!(names(&expected), ["nb-1-big-Data.db", "nb-2-big-Data.db", "nb-3-big-Data.db"]);
}

#[tokio::test]
async fn what_is_incomplete_in_the_newest_comes_from_an_older_archive() {
    let bucket = Bucket::new();
    let data = noise(1, 300_000);
    let mut files = Files::new();
    sstable(&mut files, 1, &data, 0);
    add(&bucket, FULL, "full", &files);
    add(&bucket, FIRST, "incremental", &Files::new());
    files.remove("./nb-1-big-Index.db");
    files.remove("./nb-1-big-Filter.db");
    add(&bucket, SECOND, "incremental", &files);
    let (expected, _) = extract_all(&bucket).await;
    assert!(expected.keys().any(|path| path.ends_with("nb-1-big-Index.db")));
}
