//! A restore point that lacks something is refused, with the reason and with what is whole instead,
//! and taken only when that is asked for.

use super::bucket::{Bucket, HOST, Tar, crc_db, filter_db, index_db, sample_keys, sstable, statistics_db};
use super::command::cassmount;
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
    assert!(shown.contains(lack) && shown.contains("it would fit, but nothing would be extracted"), "{shown}");
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
fn what_latest_passes_over_is_told() {
    let bucket = Bucket::sample();
    fs::remove_file(bucket.path().join("cass-a/2026-11-21-02-52/shop/orders.tar.gz.enc")).unwrap();
    let warning = "warning: latest of cass-a is 2026-11-21-02-50: the newer 2026-11-21-02-52 is incomplete";
    for more in [&["--dry-run"][..], &["--dry-run", "--quiet"]] {
        let (status, _, said) = extract(&bucket, "cass-a", "latest", &[more, &["--table", "shop.hits"]].concat());
        assert_eq!(status, 0, "{said}");
        assert!(said.contains(warning), "{said}");
    }
    // A table that is lost with its only archive is lacking, not unknown.
    let (status, _, said) = extract(&bucket, "cass-a", "2026-11-21-02-52", &["--table", "shop.orders"]);
    assert_eq!(status, 5, "{said}");

    // A set that has not finished, or not yet, is no restore point, and passed over as well.
    fs::remove_file(bucket.path().join("cass-a/2026-11-21-02-52/backup_manifest.json")).unwrap();
    for (point, is_told) in [("latest", true), ("2026-11-21", true), ("2026-11-21-02-51", false)] {
        let (status, _, said) = extract(&bucket, "cass-a", point, &["--dry-run", "--table", "shop.hits"]);
        let warning = format!("{point} of cass-a is 2026-11-21-02-50: the newer 2026-11-21-02-52 has not finished");
        assert_eq!((status, said.contains(&warning)), (0, is_told), "{point}: {said}");
    }
    fs::write(bucket.path().join("cass-a/2026-11-21-02-52/backup_manifest.json"), "{").unwrap();
    let (_, _, said) = extract(&bucket, "cass-a", "latest", &["--dry-run", "--table", "shop.hits"]);
    assert!(said.contains("the newer 2026-11-21-02-52 has a manifest that cannot be used"), "{said}");
}

#[test]
fn a_set_that_only_the_other_host_has_is_missed() {
    let bucket = Bucket::sample();
    fs::remove_dir_all(bucket.path().join("cass-b/2026-11-21-02-47")).unwrap();
    // A pattern means the tables that the point has.
    assert_eq!(extract(&bucket, "cass-a", "2026-11-21-02-45", &["--dry-run", "--table", "shop.*"]).0, 0);
    let (status, _, said) = extract(&bucket, "cass-b", POINT, &["--table", "shop.*"]);
    assert_eq!(status, 5, "{said}");
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

const TAG: &str = "2026-11-20-03-00";

#[test]
fn an_sstable_without_a_component_that_cassandra_needs_is_a_lack() {
    // CompressionInfo.db may be the list that is gone, if TOC.txt does not tell.
    let toc = "Data.db\nCRC.db\nTOC.txt\n";
    let cases = [
        ("Statistics.db", "", true),
        ("Index.db", "", true),
        ("CRC.db", "", true),
        ("CRC.db", toc, false),
        ("Filter.db", "", false),
    ];
    for (gone, toc, is_needed) in cases {
        let bucket = Bucket::new();
        bucket.add_set(TAG, "full");
        let components = [
            ("Data.db", b"rows".to_vec()),
            ("Statistics.db", statistics_db(1)),
            ("Index.db", index_db([&b"key"[..]])),
            ("CRC.db", crc_db(b"rows")),
            ("Filter.db", filter_db(1)),
            ("TOC.txt", toc.as_bytes().to_vec()),
        ];
        let is_there = |(component, content): &(&str, Vec<u8>)| *component != gone && !content.is_empty();
        let there = components.into_iter().filter(is_there);
        let add = |tar: Tar, (component, content)| tar.file(format!("./nb-1-big-{component}"), content);
        let tar = there.fold(Tar::new(), add);
        bucket.add_archive(TAG, "ks", "t", &tar.end());
        let (status, report) = User::new().json(&bucket.source(), HOST, TAG, &["--key-file", &bucket.key_file()]);
        assert_eq!(status, i32::from(is_needed), "{gone}: {report}");
        assert_eq!(report["lacks"].as_array().unwrap().len(), usize::from(is_needed), "{gone}: {report}");
    }
}

#[test]
fn what_verify_found_counts_until_the_archive_is_another() {
    let bucket = Bucket::new();
    bucket.add_set(TAG, "full");
    let rotten = sstable(Tar::new(), 1, b"rows").file("./nb-1-big-Digest.crc32", "1");
    bucket.add_archive(TAG, "ks", "t", &rotten.end());
    let (user, key, source) = (User::new(), bucket.key_file(), bucket.source());
    let run = |arguments: &[&str]| {
        let mut command = cassmount();
        command.args(arguments).args(["--key-file", &key, "--cache-dir"]).arg(user.work.path().join("cache"));
        let output = command.output().unwrap();
        let told = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (output.status.code().unwrap(), told.concat())
    };
    let target = user.target();
    let extract = ["extract", &source, HOST, "latest", target.to_str().unwrap()];
    assert_eq!(run(&["list", &source]).0, 0);
    assert_eq!(run(&["verify", &source, "--deep"]).0, 1);
    let lack = "lacks SSTable nb-1-big of ks.t: an earlier reading found on 20";
    // A glance sees nothing of it by itself, and does not forget it.
    for _ in 0..2 {
        let (status, told) = run(&["verify", &source]);
        assert!(status == 1 && told.contains("by an earlier reading: "), "{status}: {told}");
    }
    for (arguments, expected) in [(&["list", &source, HOST][..], 1), (&["list", &source][..], 1), (&extract[..], 5)] {
        let (status, told) = run(arguments);
        assert_eq!(status, expected, "{arguments:?}: {told}");
        assert!(told.contains(lack) || arguments.len() == 2, "{arguments:?}: {told}");
    }
    bucket.add_archive(TAG, "ks", "t", &sstable(Tar::new(), 1, b"all of the rows").end());
    let (status, told) = run(&extract);
    assert_eq!(status, 0, "{told}");
}

/// Whoever finds an archive damaged, everybody knows it afterwards.
#[test]
fn what_extract_and_chain_find_is_remembered_and_written_beside_the_tables() {
    let lack = "lacks SSTable nb-1-big of ks.t: an earlier reading found on 20";
    for reads in ["extract", "chain"] {
        let bucket = Bucket::new();
        bucket.add_set(TAG, "full");
        let rotten = sstable(Tar::new(), 1, b"rows").file("./nb-1-big-Digest.crc32", "1");
        bucket.add_archive(TAG, "ks", "t", &rotten.end());
        bucket.add_archive(TAG, "ks", "u", &sstable(Tar::new(), 1, b"rows").end());
        let path = bucket.path().join(format!("{HOST}/{TAG}/ks/v.tar.gz.enc"));
        fs::copy(path.with_file_name("u.tar.gz.enc"), &path).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
        let (user, key, source) = (User::new(), bucket.key_file(), bucket.source());
        let run = |arguments: &[&str]| {
            let mut command = cassmount();
            command.args(arguments).args(["--key-file", &key, "--cache-dir"]).arg(user.work.path().join("cache"));
            let output = command.output().unwrap();
            let told = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            (output.status.code().unwrap(), told.concat())
        };
        assert_eq!(run(&["list", &source, HOST]).0, 0);
        let target = user.target();
        let told = match reads {
            "extract" => run(&["extract", &source, HOST, TAG, target.to_str().unwrap()]),
            _ => run(&["chain", &source, HOST, TAG, "--sstables"]),
        };
        assert_eq!(told.0, 1, "{reads}: {}", told.1);
        for arguments in [&["list", &source, HOST][..], &["chain", &source, HOST, TAG, "--summary"]] {
            let (status, told) = run(arguments);
            let of_archive = told.contains("lacks ks.v: an earlier reading found on 20");
            assert!(status == 1 && told.contains(lack) && of_archive, "{reads} {arguments:?}: {told}");
        }
        if reads == "extract" {
            let text = fs::read_to_string(target.join("INCOMPLETE.txt")).unwrap();
            let beginning = format!("The restore point {TAG} of {HOST} is incomplete.");
            assert!(text.starts_with(&beginning), "{text}");
            assert!(text.contains("[ks.t] ") && text.contains("[ks.v] ") && !text.contains("[ks.u] "), "{text}");
        }
        // They are whole again, and it is said no more.
        for table in ["t", "v"] {
            bucket.add_archive(TAG, "ks", table, &sstable(Tar::new(), 1, b"all of the rows").end());
        }
        assert_eq!(run(&["list", &source, HOST]).0, 0, "{reads}");
    }
}

#[test]
fn a_dry_run_with_a_wrong_key_says_so() {
    let bucket = Bucket::new();
    bucket.add_set(TAG, "full");
    bucket.add_archive(TAG, "ks", "t", &sstable(Tar::new(), 1, b"rows").end());
    let user = User::new();
    let wrong = user.work.path().join("wrong");
    fs::write(&wrong, "another passphrase\n").unwrap();
    for (key, expected) in [(wrong.to_str().unwrap(), 3), (&*bucket.key_file(), 0)] {
        let output = user.extract(&bucket.source(), HOST, TAG, &["--key-file", key, "--dry-run"]);
        assert_eq!(output.status.code(), Some(expected), "{output:?}");
    }
}
