//! Archives that are broken, locked or hostile: what could not be had is told, and the rest is
//! there.

use super::bucket::{Bucket, HOST, Header, Tar, encrypt, encrypt_with, gzip, sample_keys, sstable};
use super::user::{HIDDEN, User, noise, shown};
use super::walk::Seen;
use serde_json::Value;
use std::fs;

const TAG: &str = "2026-11-20-03-00";
const DATA: &[u8] = b"rows of the good table";

/// Extracts a bucket with `odd` as the archive of ks.odd and a good table beside it; the good one
/// must be there.
fn extract(odd: &[u8], more: &[&str]) -> (User, i32, Value) {
    let bucket = Bucket::new();
    bucket.add_set(TAG, "full");
    bucket.add_archive(TAG, "ks", "good", &sstable(Tar::new(), 1, DATA).end());
    bucket.add_object(TAG, "ks", "odd", odd);
    let user = User::new();
    let key = bucket.key_file();
    let (status, report) = user.json(&bucket.source(), HOST, TAG, &[&["--key-file", &key], more].concat());
    assert_eq!(fs::read(user.target().join("ks/good/nb-1-big-Data.db")).unwrap(), DATA);
    let outside: Vec<_> = fs::read_dir(user.work.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(outside.len(), 2, "only cache and target: {outside:?}");
    (user, status, report)
}

fn odd(report: &Value) -> &Value {
    report["tables"].as_array().unwrap().iter().find(|table| table["table"] == "odd").unwrap()
}

#[track_caller]
fn refused(odd_archive: &[u8], because: &str) {
    let (user, status, report) = extract(odd_archive, &[]);
    assert_eq!((status, &odd(&report)["state"]), (1, &"failed".into()), "{report}");
    let error = odd(&report)["error"].as_str().unwrap();
    assert!(error.contains("ks/odd.tar.gz.enc") && error.contains(because), "{error}");
    assert!(!user.target().join("ks/odd").exists());
    let left: Vec<_> =
        fs::read_dir(user.target().join(HIDDEN)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["journal"], "nothing is left of what nobody can complete");
}

fn sealed(tar: Tar) -> Vec<u8> {
    encrypt(&gzip(&tar.end()))
}

#[test]
fn damage_anywhere_is_found_and_named() {
    let good = sealed(sstable(Tar::new(), 1, &noise(1, 300_000)));
    for (at, because) in [(good.len() / 2, "CRC-32"), (good.len() - 20, ""), (good.len() - 1, "")] {
        let mut bytes = good.clone();
        bytes[at] ^= 0x40;
        refused(&bytes, because);
    }
    refused(&good[..good.len() / 32 * 16], "padding");
    refused(&good[..good.len() - 5], "cut short");
    refused(&encrypt_with("another passphrase", &gzip(&Tar::new().end())), "no key opens it");
    refused(&encrypt(&gzip(&sstable(Tar::new(), 1, &noise(1, 5000)).end()[..2000])), "the tar ends too early");
}

#[test]
fn an_sstable_that_its_digest_condemns_is_left_out_alone_and_again() {
    let tar = sstable(sstable(Tar::new(), 1, b"right"), 2, b"also right")
        .file("./.idx/nb-1-big-Data.db", "index rows")
        .file("./.idx/nb-1-big-Digest.crc32", "1");
    let bucket = Bucket::new();
    bucket.add_set(TAG, "full");
    let tar = tar.file("./nb-2-big-Digest.crc32", "12345");
    bucket.add_archive(TAG, "ks", "t", &tar.end());
    let (user, key) = (User::new(), bucket.key_file());
    for state in ["extracted", "unchanged"] {
        // What the first run has found, the second one knows.
        let knowing: &[&str] = if state == "unchanged" { &["--allow-incomplete"] } else { &[] };
        let arguments = [&["--key-file", &key], knowing].concat();
        if state == "unchanged" {
            let refused = user.extract(&bucket.source(), HOST, TAG, &["--key-file", &key]);
            assert_eq!(refused.status.code(), Some(5), "{refused:?}");
        }
        let (status, report) = user.json(&bucket.source(), HOST, TAG, &arguments);
        let table = &report["tables"][0];
        assert_eq!((status, &table["state"], &table["error"]), (1, &state.into(), &Value::Null), "{report}");
        let lost = table["lost"].as_array().unwrap();
        let what: Vec<&str> = lost.iter().map(|lost| lost["what"].as_str().unwrap()).collect();
        assert_eq!(what, [".idx/nb-1-big", "nb-2-big"]);
        assert_eq!((&lost[1]["set"], &lost[1]["files"]), (&TAG.into(), &6.into()));
        assert!(lost[1]["reason"].as_str().unwrap().contains("nb-2-big-Digest.crc32 says 12345"), "{lost:?}");
        let names: Vec<String> = user.extracted().into_keys().collect();
        assert!(names.contains(&"ks/t/nb-1-big-Data.db".to_owned()), "{names:?}");
        assert!(!names.iter().any(|name| name.contains("nb-2-") || name.contains(".idx/nb")), "{names:?}");
    }
}

/// Its SSTables Cassandra makes of the table's: none of them is a lack, to anybody.
#[test]
fn an_sstable_of_an_index_that_is_not_there_is_told_once_and_costs_nothing() {
    let files = r#"{"files": ["nb-1-big-Data.db", ".idx/nb-1-big-Data.db"]}"#;
    let tar = sstable(Tar::new(), 1, b"rows").file("./manifest.json", files);
    let bucket = Bucket::new();
    bucket.add_set(TAG, "full");
    bucket.add_archive(TAG, "ks", "t", &tar.end());
    let (user, key) = (User::new(), bucket.key_file());
    let output = user.extract(&bucket.source(), HOST, TAG, &["--key-file", &key]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let told = ".idx/nb-1-big-Data.db: an index's SSTable that the snapshot's manifest.json lists";
    assert_eq!(said.matches(told).count(), 1, "{said}");
    let mut verify = testkit::command::cassmount();
    verify.args(["verify", &bucket.source(), "--deep", "--json", "--key-file", &key]);
    let report = verify.arg("--cache-dir").arg(user.target().with_extension("cache")).output().unwrap().stdout;
    let report: Value = serde_json::from_slice(&report).unwrap();
    let found = report["findings"].as_array().unwrap();
    assert!(found.iter().all(|one| one["severity"] == "warning"), "{report:#}");
    let told = |one: &&Value| one["message"].as_str().unwrap().starts_with(told);
    assert_eq!(found.iter().filter(told).count(), 1, "{report:#}");
}

/// Each is as it was packed; what their rows are made of tells.
#[test]
fn an_archive_under_another_tables_name_is_not_put_there() {
    let (bucket, user) = (Bucket::sample(), User::new());
    let [users, orders] =
        ["users", "orders"].map(|table| bucket.path().join(format!("cass-a/2026-11-21-02-45/shop/{table}.tar.gz.enc")));
    fs::copy(orders, users).unwrap();
    let tables = ["-t", "shop.users", "-t", "shop.orders"];
    let arguments = [&sample_keys()[..], &tables].concat();
    let (status, report) = user.json(&bucket.source(), "cass-a", "2026-11-21-02-45", &arguments);
    let states: Vec<_> = report["tables"].as_array().unwrap().iter().map(|table| table["state"].clone()).collect();
    assert_eq!((status, &states[..]), (1, &["extracted".into(), "failed".into()][..]), "{report}");
    assert!(report["tables"][1]["error"].as_str().unwrap().contains("it is of shop.orders"), "{report}");
    let text = fs::read_to_string(user.target().join("INCOMPLETE.txt")).unwrap();
    assert!(text.contains("[shop.users] 2026-11-21-02-45 lacks SSTable ") && !text.contains("[shop.orders]"), "{text}");
}

#[test]
fn one_bad_archive_of_a_chain_takes_its_table_and_no_other() {
    let bucket = Bucket::new();
    let later = "2026-11-20-04-00";
    bucket.add_set(TAG, "full");
    bucket.add_set(later, "incremental");
    for (tag, generation) in [(TAG, 1), (later, 2)] {
        for table in ["one", "two"] {
            bucket.add_archive(tag, "ks", table, &sstable(Tar::new(), generation, b"rows").end());
        }
    }
    fs::write(bucket.archive(later, "ks", "two"), b"Salted__ nonsense that is no archive at all, of no use to anybody")
        .unwrap();
    let (user, key) = (User::new(), bucket.key_file());
    let (status, report) = user.json(&bucket.source(), HOST, later, &["--key-file", &key]);
    assert_eq!(status, 1);
    let states: Vec<_> = report["tables"].as_array().unwrap().iter().map(|table| table["state"].clone()).collect();
    assert_eq!(states, ["extracted", "failed"]);
    assert!(report["tables"][1]["error"].as_str().unwrap().contains(&format!("{HOST}/{later}/ks/two")), "{report}");
    assert!(user.target().join("ks/one/nb-2-big-Data.db").exists() && !user.target().join("ks/two").exists());
    // Somebody puts the right object there: only that table is read.
    bucket.add_archive(later, "ks", "two", &sstable(Tar::new(), 2, b"rows").end());
    let (status, report) = user.json(&bucket.source(), HOST, later, &["--key-file", &key]);
    let states: Vec<_> = report["tables"].as_array().unwrap().iter().map(|table| table["state"].clone()).collect();
    assert_eq!((status, states), (0, vec!["unchanged".into(), "extracted".into()]));
}

/// All of a set: then it is no damage.
#[test]
fn a_set_of_the_chain_that_no_key_opens_is_no_damage() {
    let bucket = Bucket::new();
    let later = "2026-11-20-04-00";
    bucket.add_set(TAG, "full");
    bucket.add_set(later, "incremental");
    for table in ["one", "two"] {
        bucket.add_archive(TAG, "ks", table, &sstable(Tar::new(), 1, b"rows").end());
    }
    let locked = encrypt_with("another", &gzip(&sstable(Tar::new(), 2, b"rows").end()));
    bucket.add_object(later, "ks", "one", &locked);
    let (user, key) = (User::new(), bucket.key_file());
    let (status, report) = user.json(&bucket.source(), HOST, later, &["--key-file", &key]);
    let states: Vec<_> = report["tables"].as_array().unwrap().iter().map(|table| table["state"].clone()).collect();
    assert_eq!((status, &states[..]), (3, &["failed".into(), "extracted".into()][..]), "{report}");
}

#[tokio::test]
async fn hostile_names_stay_inside_and_are_those_of_the_mount() {
    let deep = vec!["d"; 900].join("/");
    let link = |kind, target: &'static [u8]| Header { name: b"./link", kind, link: target, size: None };
    let hostile = || {
        Tar::new()
            .file("../../escape", "x")
            .file("/abs", "absolute")
            .file("a/../../b", "y")
            .entry(&link(b'2', b"/etc"), b"")
            .file("./link/passwd", "through the link")
            .entry(&link(b'1', b"/etc/shadow"), b"")
            .file("./twice", "first")
            .file("./twice", "second")
            .file("./file", "x")
            .file("./file/below", "y")
            .file(b"./new\nline\x1b", "1")
            .file(b"./bad\xff", "2")
            .file("./.cassmount-extract/journal", "not the journal")
            .file("./nb-1-big-Data.db", "rows")
    };
    let deeper = hostile().pax(&[("path", format!("{deep}/deep").as_bytes())]).file("./short", "deep");
    let (user, status, report) = extract(&sealed(deeper), &[]);
    // All but the deep one, which is told.
    assert_eq!(status, 1);
    let lost = odd(&report)["lost"].as_array().unwrap();
    assert_eq!(lost.len(), 1, "{report}");
    assert!(lost[0]["reason"].as_str().unwrap().contains("directories deep"), "{lost:?}");

    let bucket = Bucket::new();
    bucket.add_set(TAG, "full");
    bucket.add_object(TAG, "ks", "odd", &sealed(hostile()));
    let mut expected: Vec<(String, Seen)> = reader_tree(&bucket).await;
    expected.retain(|(path, seen)| path.starts_with("ks/odd/") && matches!(seen, Seen::File(..)));
    let mut found: Vec<_> = user.extracted().into_iter().collect();
    found.retain(|(path, seen)| path.starts_with("ks/odd/") && *seen != Seen::Directory);
    assert_eq!(found, expected);
    let names: Vec<&str> = found.iter().map(|(path, _)| &path[7..]).collect();
    assert_eq!(
        names,
        [
            ".cassmount-extract/journal",
            "abs",
            "bad%FF",
            "file",
            "link/passwd",
            "nb-1-big-Data.db",
            "new%0Aline%1B",
            "twice"
        ]
    );
    assert_eq!(fs::read(user.target().join("ks/odd/twice")).unwrap(), b"second");
}

/// What a mount shows of the point: by the crate's own reader, as tar cannot be made to unpack such
/// archives whole.
async fn reader_tree(bucket: &Bucket) -> Vec<(String, Seen)> {
    use cassmount::cache::Cache;
    use cassmount::catalog::{Catalog, CatalogOptions};
    use cassmount::keys::{Key, KeyRing, Passphrase};
    use cassmount::reader::{Reader, ReaderOptions};
    use cassmount::store::{Source, Store, StoreOptions};
    use cassmount::tree::{BackupTree, TreeOptions};
    use std::sync::Arc;
    let store = Store::open(&Source::parse(&bucket.source()).unwrap(), &StoreOptions::default()).unwrap();
    let catalog = Catalog::open(Arc::new(store.clone()), CatalogOptions::default());
    let passphrase = Passphrase::new(super::bucket::PASSPHRASE.as_bytes().to_vec());
    let keys = KeyRing::new(vec![Key { label: "key".into(), passphrase }]);
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::open(&directory.path().join("cache"), 1 << 30).unwrap();
    let reader = Reader::new(store, keys, cache, ReaderOptions::default()).unwrap();
    let tree = BackupTree::new(catalog, reader, TreeOptions::default()).unwrap();
    super::walk::walk_view(&tree, &format!("{HOST}/restore-points/{TAG}")).await.into_iter().collect()
}

#[test]
fn a_size_that_no_disk_has_room_for_is_that_tables_matter() {
    let mut size = [0; 12];
    size[0] = 0x80;
    size[4..].copy_from_slice(&(1_u64 << 55).to_be_bytes());
    let header = Header { name: b"./nb-1-big-Data.db", size: Some(size), ..Header::default() };
    refused(&sealed(Tar::new().entry(&header, b"rows")), "does not fit");
}

#[tokio::test]
async fn the_mount_and_openssl_agree_on_the_good_table() {
    let bucket = Bucket::new();
    bucket.add_set(TAG, "full");
    bucket.add_archive(TAG, "ks", "good", &sstable(Tar::new(), 1, DATA).end());
    let (user, key) = (User::new(), bucket.key_file());
    let (status, report) = user.json(&bucket.source(), HOST, TAG, &["--key-file", &key]);
    assert_eq!((status, &report["schema"]), (0, &"untold".into()));
    user.assert_complete(&shown(&bucket.path(), vec![key.into()], HOST, TAG).await);
}
