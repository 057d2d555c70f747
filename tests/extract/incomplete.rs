//! A restore point that lacks something is refused, with the reason and with what is whole instead,
//! and taken only when that is asked for.

use super::bucket::{Bucket, sample_keys};
use super::user::User;
use std::fs;

const POINT: &str = "2026-11-21-02-49";

fn extract(bucket: &Bucket, host: &str, point: &str, more: &[&str]) -> (i32, String, String) {
    let output = User::new().extract(&bucket.source(), host, point, &[&sample_keys()[..], more].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_missing_archive_is_refused_unless_other_tables_are_asked_for() {
    let bucket = Bucket::sample();
    fs::remove_file(bucket.path().join("cass-a/2026-11-21-02-48/shop/users.tar.gz.enc")).unwrap();
    let lack = "2026-11-21-02-48 lacks shop.users: its manifest lists the table, and there is no archive of it";
    let (status, _, said) = extract(&bucket, "cass-a", POINT, &[]);
    assert_eq!(status, 5, "{said}");
    assert!(said.contains(lack) && said.contains("--allow-incomplete"), "{said}");
    assert!(said.contains("whole are 2026-11-21-02-47 before it and 2026-11-21-02-50 after it"), "{said}");
    let (status, shown, said) = extract(&bucket, "cass-a", POINT, &["--dry-run", "--table", "shop.users"]);
    assert_eq!(status, 5, "{said}");
    assert!(shown.contains(lack), "{shown}");
    let (status, shown, said) = extract(&bucket, "cass-a", POINT, &["--table", "shop.users", "--allow-incomplete"]);
    assert_eq!(status, 1, "{said}");
    assert!(shown.contains(lack), "{shown}");
    assert_eq!(extract(&bucket, "cass-a", POINT, &["--table", "shop.hits"]).0, 0);
    // What was allowed is in the report of a program as well.
    let user = User::new();
    let more = [&sample_keys()[..], &["--table", "shop.users", "--allow-incomplete"]].concat();
    let (status, report) = user.json(&bucket.source(), "cass-a", POINT, &more);
    let lacks = &report["lacks"][0];
    assert_eq!((status, &lacks["set"], &lacks["cause"]), (1, &"2026-11-21-02-48".into(), &"manifest_list".into()));
}

#[test]
fn a_set_that_only_the_other_host_has_is_missed() {
    let bucket = Bucket::sample();
    fs::remove_dir_all(bucket.path().join("cass-b/2026-11-21-02-47")).unwrap();
    let (status, _, said) = extract(&bucket, "cass-b", POINT, &["--table", "shop.users"]);
    assert_eq!(status, 5, "{said}");
    assert!(said.contains("a set of about 2026-11-21-02-47 is missing: cass-a of the same cluster has"), "{said}");
    assert_eq!(extract(&bucket, "cass-a", POINT, &["--table", "shop.users"]).0, 0, "this host has all of its sets");
}

#[test]
fn a_manifest_that_is_damaged_empty_or_gone_is_no_way_to_fewer_rows() {
    type Damage = fn(&std::path::Path);
    let damages: [(Damage, &str); 4] = [
        (|path| fs::write(path, "{").unwrap(), "its manifest cannot be used"),
        (|path| fs::write(path, "").unwrap(), "it is empty"),
        (|path| fs::remove_file(path).unwrap(), "it did not finish"),
        (
            |path| {
                let text = fs::read_to_string(path).unwrap();
                fs::write(path, text.replace("2026-11-21T02:48", "1970-01-01T02:48")).unwrap();
            },
            "contradicts the name of the set",
        ),
    ];
    for (damage, why) in damages {
        let bucket = Bucket::sample();
        damage(&bucket.path().join("cass-a/2026-11-21-02-48/backup_manifest.json"));
        let (status, _, said) = extract(&bucket, "cass-a", POINT, &["--table", "shop.users"]);
        assert_eq!(status, 5, "{why}: {said}");
        assert!(said.contains("2026-11-21-02-48 is left out") && said.contains(why), "{why}: {said}");
    }
}
