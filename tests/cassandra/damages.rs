//! A damaged bucket: what Cassandra reads of a restore from it is the truth, or the restore was
//! refused.

use std::fs;
use std::path::Path;

use super::bucket::{Bucket, sample_keys};
use super::command::cassmount;
use super::support::Version;
use super::support::sample::{self, HOSTS, POINT, Tree};
use super::{assert_truth, node};

const TABLE: &str = "shop.users";

/// What is done to a bucket, by a name.
type Damage = (&'static str, fn(&Path));

fn change(path: &Path, how: impl Fn(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    how(&mut bytes);
    fs::write(path, bytes).unwrap();
}

const DAMAGES: [Damage; 11] = [
    ("no archive of an incremental", |bucket| {
        fs::remove_file(bucket.join("cass-a/2026-11-21-02-47/shop/users.tar.gz.enc")).unwrap();
    }),
    ("no archive of a full", |bucket| {
        fs::remove_file(bucket.join("cass-b/2026-11-21-02-45/shop/users.tar.gz.enc")).unwrap();
    }),
    ("no manifest", |bucket| {
        fs::remove_file(bucket.join("cass-a/2026-11-21-02-47/backup_manifest.json")).unwrap();
    }),
    ("an empty manifest", |bucket| {
        fs::write(bucket.join("cass-b/2026-11-21-02-47/backup_manifest.json"), "").unwrap();
    }),
    ("a set less", |bucket| fs::remove_dir_all(bucket.join("cass-b/2026-11-21-02-47")).unwrap()),
    ("half an archive", |bucket| {
        change(&bucket.join("cass-a/2026-11-21-02-48/shop/users.tar.gz.enc"), |bytes| bytes.truncate(bytes.len() / 2));
    }),
    ("a flipped bit", |bucket| {
        change(&bucket.join("cass-b/2026-11-21-02-45/shop/users.tar.gz.enc"), |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 4;
        });
    }),
    ("an empty archive", |bucket| fs::write(bucket.join("cass-a/2026-11-21-02-45/shop/users.tar.gz.enc"), "").unwrap()),
    ("another table's archive", |bucket| {
        let set = bucket.join("cass-a/2026-11-21-02-47/shop");
        fs::rename(set.join("users.tar.gz.enc"), set.join("users_.tar.gz.enc")).unwrap();
    }),
    ("no table of the schema history", |bucket| {
        fs::remove_file(bucket.join("cass-a/2026-11-21-02-45/system_schema/tables.tar.gz.enc")).unwrap();
    }),
    ("no word of the schema", |bucket| {
        for file in ["schema.cql", "schema_mapping.json"] {
            fs::remove_file(bucket.join("cass-a/2026-11-21-02-45").join(file)).unwrap();
        }
    }),
];

#[test]
fn a_damaged_bucket_gives_all_rows_or_none() {
    let test = "a_damaged_bucket_gives_all_rows_or_none";
    let Some(node) = node(Version::V5_0, test) else { return };
    sample::create_schema(&node, POINT);
    let mut whole = 0;
    for (name, damage) in DAMAGES {
        let (bucket, work) = (Bucket::sample(), tempfile::tempdir().unwrap());
        damage(&bucket.path());
        let extracted = HOSTS.map(|host| {
            let mut command = cassmount();
            command.args(["extract", "--arrange", "tables"]).arg(bucket.path()).args([host, POINT, "--table", TABLE]);
            command.arg(work.path().join(host).join("restore-points").join(POINT)).args(sample_keys());
            command.arg("--cache-dir").arg(work.path().join("cache"));
            let output = command.output().unwrap();
            // What is lost stands in the report.
            let said = [output.stdout, output.stderr].concat();
            (output.status.code().unwrap(), String::from_utf8_lossy(&said).into_owned())
        });
        if let Some((status, why)) = extracted.iter().find(|(status, _)| *status != 0) {
            assert!(matches!(status, 1 | 5) && why.contains("2026-11-21-02-4"), "{name}: {status}: {why}");
            continue;
        }
        whole += 1;
        node.cql(&format!("TRUNCATE {TABLE}"));
        let tree = Tree::at(work.path());
        node.import(&["-p", "-l", "-r"], TABLE, &tree.flat_of_both(POINT, TABLE)).expect_success();
        assert_truth(&node, POINT, TABLE);
    }
    assert!((1..=3).contains(&whole), "{whole} of {} were taken", DAMAGES.len());
}
