//! What the report looks like, for programs (docs/json.md) and for people.

use super::bucket::{Bucket, Tar, encrypt_with, gzip};
use super::support::{User, bucket_of, found, set_of, sstable};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;

const ONE: &str = "2026-11-20-03-00";
const TWO: &str = "2026-11-20-04-00";
const THREE: &str = "2026-11-20-05-00";

/// Three sets of a table; the middle one is damaged, and the third has one of its two SSTables too.
fn bucket() -> Bucket {
    let users = |generations: &[u32]| {
        let tar = generations.iter().fold(Tar::new(), |tar, n| sstable(tar, *n, format!("rows of {n}").as_bytes()));
        tar.end()
    };
    let bucket = bucket_of(&[
        (ONE, vec![("users", users(&[1]))]),
        (TWO, vec![("users", users(&[2, 3])), ("orders", users(&[7]))]),
        (THREE, vec![("users", users(&[3, 4])), ("orders", users(&[8]))]),
    ]);
    // The tar is cut behind the second SSTable: what it held can be told, and nothing of it can be
    // trusted.
    let tar = sstable(sstable(Tar::new(), 2, b"rows of 2"), 3, b"rows of 3").into_bytes();
    bucket.add_object(TWO, "ks", "users", &encrypt_with(super::bucket::PASSPHRASE, &gzip(&tar)));
    bucket
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn a_report_has_the_documented_shape() {
    let (user, bucket) = (User::new(), bucket());
    fs::write(bucket.path().join("node-1").join(TWO).join("README"), "x").unwrap();
    let report = user.report(&bucket.source(), &["--deep", "--key-file", &bucket.key_file()]);
    let fields = [
        "source",
        "deep",
        "sample",
        "hosts",
        "checked",
        "archived",
        "findings",
        "more_findings",
        "strays",
        "notes",
        "more_notes",
        "stopped",
        "left_out",
    ];
    assert_eq!(keys(&report), fields.into());
    assert_eq!(report["deep"], true);
    assert_eq!(report["stopped"], Value::Null);
    let bytes = report["checked"]["bytes"].as_u64().unwrap();
    assert_eq!(
        report["hosts"],
        json!([{"host": "node-1", "sets": 3, "archives": 5, "bytes": bytes, "skipped": 0, "last_check": null}])
    );
    assert_eq!(report["checked"], json!({"archives": 5, "bytes": bytes, "skipped": 0}));
    let [finding] = &report["findings"].as_array().unwrap()[..] else { panic!("{report:#}") };
    let message = finding["message"].as_str().unwrap();
    assert!(message.starts_with("the tar ends too early"), "{message}");
    let expected = json!({
        "severity": "error", "problem": "tar_damaged", "host": "node-1", "set": TWO, "keyspace": "ks", "table": "users",
        "key": format!("node-1/{TWO}/ks/users.tar.gz.enc"), "sstable": null, "message": message,
        "lost": "the SSTables that were seen in it, and those behind them",
        "sstables": [{"directory": "", "name": "nb-2-big"}, {"directory": "", "name": "nb-3-big"}],
        "copies": [{"directory": "", "name": "nb-3-big", "set": THREE, "key": format!("node-1/{THREE}/ks/users.tar.gz.enc")}],
        "table_elsewhere": {"before": ONE, "after": THREE},
    });
    assert_eq!(*finding, expected);
    let [note] = &report["notes"].as_array().unwrap()[..] else { panic!("{report:#}") };
    assert_eq!(keys(note), ["host", "set", "keyspace", "table", "note"].into());

    // The fields that are null are there all the same.
    fs::remove_file(bucket.path().join("node-1").join(ONE).join("backup_manifest.json")).unwrap();
    let report = user.report(&bucket.source(), &["--key-file", &bucket.key_file()]);
    let [finding, before] = &report["findings"].as_array().unwrap()[..] else { panic!("{report:#}") };
    assert_eq!((keys(finding), keys(before)), (keys(&expected), keys(&expected)));
    assert_eq!((&before["problem"], &before["key"]), (&"found_before".into(), &expected["key"]));
    assert_eq!(
        (&finding["problem"], &finding["table"], &finding["key"]),
        (&"no_manifest".into(), &Value::Null, &Value::Null)
    );
}

#[test]
fn a_copy_is_claimed_only_for_the_same_content() {
    let (user, bucket) = (User::new(), bucket());
    // Of the same name and size, with other rows.
    bucket.add_archive(THREE, "ks", "users", &sstable(Tar::new(), 3, b"rows of x").end());
    let report = user.report(&bucket.source(), &["--deep", "--key-file", &bucket.key_file()]);
    assert_eq!(report["findings"][0]["copies"], json!([]), "{report:#}");
    // The same, but damaged as well.
    let tar = sstable(Tar::new(), 3, b"rows of 3").file("./nb-3-big-Digest.crc32", "1");
    bucket.add_archive(THREE, "ks", "users", &tar.end());
    let report = user.report(&bucket.source(), &["--deep", "--key-file", &bucket.key_file()]);
    assert!(report["findings"].as_array().unwrap().iter().all(|f| f["copies"] == json!([])), "{report:#}");
}

#[test]
fn a_damaged_sstable_is_found_whole_elsewhere_by_its_digest() {
    // Its Data.db was damaged before it was archived; the digest still says what it was.
    let good = sstable(Tar::new(), 1, b"all the rows");
    let bad = good_but_for_data(b"all the r0ws", b"all the rows");
    let bucket = bucket_of(&[(ONE, vec![("t", good.end())]), (TWO, vec![("t", bad)])]);
    let report = User::new().report(&bucket.source(), &["--deep", "--key-file", &bucket.key_file()]);
    let findings = report["findings"].as_array().unwrap();
    assert_eq!(
        findings.iter().map(|f| f["problem"].as_str().unwrap()).collect::<Vec<_>>(),
        ["digest_differs", "chunk_damaged"]
    );
    for finding in findings {
        assert_eq!(finding["copies"][0]["set"], ONE, "{finding:#}");
    }
}

/// An SSTable with the checksums of other data.
fn good_but_for_data(data: &[u8], of: &[u8]) -> Vec<u8> {
    let tar = sstable(Tar::new(), 1, of).into_bytes();
    let at = tar.windows(of.len()).position(|window| window == of).unwrap();
    let mut tar = tar;
    tar[at..at + data.len()].copy_from_slice(data);
    tar.resize(tar.len() + 1024, 0);
    tar
}

#[test]
fn people_are_told_what_is_lost_and_where_else_it_is() {
    let (user, bucket) = (User::new(), bucket());
    let run = |arguments: &[&str]| {
        let output = user.verify(&bucket.source(), arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let key = bucket.key_file();
    let (code, text, said) = run(&["--deep", "--key-file", &key]);
    assert_eq!(code, Some(1));
    for part in [
        "HOST    SETS  CHECKED",
        "\nnode-1 2026-11-20-04-00\n  ks.users: the tar ends too early",
        "\n    object: node-1/2026-11-20-04-00/ks/users.tar.gz.enc\n",
        "\n    lost: the SSTables that were seen in it, and those behind them\n    SSTables: nb-2-big, nb-3-big\n",
        "\n    another copy: nb-3-big in 2026-11-20-05-00\n",
        "\n    the table is also in 2026-11-20-03-00 before it and 2026-11-20-05-00 after it\n",
        "\n1 problem in 1 of 3 sets\n",
    ] {
        assert!(text.contains(part), "{part:?}: {text}");
    }
    assert_eq!(said, "cassmount: 1 problem found\n", "quiet but for the verdict");

    // One sentence for all that a lost key locks, and nothing else.
    let (code, text, said) = run(&["--again"]);
    assert_eq!((code, text.as_str()), (Some(3), ""));
    assert!(said.contains("no key opens the backups") && said.lines().count() == 1, "{said}");

    // What was found counts until the archive is another, though a glance cannot see it.
    let (code, text, said) = run(&["--key-file", &key]);
    assert_eq!((code, said.as_str()), (Some(1), "cassmount: 1 problem found\n"));
    assert!(text.contains("by an earlier reading: the tar ends too early"), "{text}");

    // Of a sample it is said that it is one, and how much of all that is.
    let (code, text, _) = run(&["--key-file", &key, "--again", "--sample", "50%"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("by an earlier reading: ") && text.contains("a sample of 50%, drawn for "), "{text}");
    let parts = [1, 2, 3].map(|part| {
        let sample = format!("{part}/3");
        let report = user.report(&bucket.source(), &["--key-file", &key, "--again", "--deep", "--sample", &sample]);
        assert_eq!(report["sample"]["archives"], report["checked"]["archives"], "{report:#}");
        assert_eq!((&report["sample"]["sample"], &report["sample"]["drawn_by"]), (&json!(sample), &Value::Null));
        let of = report["sample"]["of"].as_u64().unwrap();
        (report["checked"]["archives"].as_u64().unwrap(), of, report["findings"].as_array().unwrap().len())
    });
    assert_eq!(parts.iter().map(|(archives, ..)| archives).sum::<u64>(), parts[0].1, "{parts:?}");
    assert_eq!(
        parts.iter().map(|(.., findings)| findings).sum::<usize>(),
        1,
        "one of them has the damaged one: {parts:?}"
    );
    assert_eq!(run(&["--key-file", &key, "--sample", "200%"]).0, Some(2));
}

#[test]
fn progress_is_plain_lines_where_there_is_no_terminal() {
    let (user, bucket) = (User::new(), bucket());
    // Where the report is for programs, findings are told as they come; else it alone tells them.
    for (more, told) in [(&["--json"][..], 1), (&[], 0)] {
        let mut command = super::command::cassmount();
        command.args(["verify", &bucket.source(), "--deep", "--key-file", &bucket.key_file(), "--cache-dir"]);
        let output = command.arg(user.cache.path()).args(more).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        let (found, rest) = lines.split_at(told);
        let is_found = |line: &&str| line.starts_with("node-1 2026-11-20-04-00 ks.users: the tar ends too early");
        assert!(found.iter().all(is_found), "{said}");
        assert!(rest[0].starts_with("verify: ") && rest[0].contains(" in "), "{said}");
        assert_eq!(rest.len(), 2, "{said}");
        assert!(!said.contains('\u{1b}') && !said.contains('\r'), "{said:?}");
        let shown = String::from_utf8(output.stdout).unwrap();
        assert_eq!(shown.matches("the tar ends too early").count(), 1, "{shown}");
    }
}

#[test]
fn wrong_usage_is_told_apart_from_findings() {
    let (user, bucket) = (User::new(), bucket());
    let source = bucket.source();
    let code = |arguments: &[&str]| {
        let output = user.verify(&source, arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for arguments in [&["--jobs", "0"][..], &["--table", "x"], &["--again", "--max-age", "1d"], &["--deeper"]] {
        let (code, said) = code(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
    }
    // A check of nothing is no good news.
    let (failed, said) = code(&["--table", "ks.user"]);
    assert_eq!(failed, Some(1), "{said}");
    assert!(said.contains("ks.user"), "{said}");
    let empty = tempfile::tempdir().unwrap();
    let output = user.verify(empty.path().to_str().unwrap(), &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("there are no backups"), "{output:?}");
    let (failed, said) = code(&["node-9"]);
    assert_eq!(failed, Some(1));
    assert!(said.contains("node-1"), "{said}");
    bucket.add_set("2026-11-20-02-00", "incremental");
    let (failed, said) = code(&["node-1", "2026-11-20-02-00"]);
    assert_eq!(failed, Some(1), "{said}");
    assert!(said.contains("is no restore point"), "{said}");
}

#[test]
fn what_cassandra_does_not_read_is_damage_and_what_no_set_has_is_told() {
    let user = User::new();
    let odd = sstable(Tar::new(), 1, b"rows").file("./NB-2-BIG-DATA.DB", b"rows").file("./notes.txt", b"x").end();
    let bucket = bucket_of(&[(ONE, vec![("users", odd), ("orders", Tar::new().file("./orders.csv", b"1,2").end())])]);
    let key = bucket.key_file();
    let report = user.report(&bucket.source(), &["--deep", "--key-file", &key]);
    let told: Vec<&str> =
        report["findings"].as_array().unwrap().iter().map(|finding| finding["message"].as_str().unwrap()).collect();
    let name = "its name is none that an SSTable's file has";
    assert_eq!(
        told,
        [
            format!("orders.csv: Cassandra does not open it: there is no SSTable beside it, and {name}"),
            format!("NB-2-BIG-DATA.DB: Cassandra does not open it: {name}")
        ]
    );

    // Beside all hosts: as `list` says it.
    let (user, bucket) = (User::new(), bucket_of(&[(ONE, vec![("users", sstable(Tar::new(), 1, b"rows").end())])]));
    fs::write(bucket.path().join("lost.tar.gz"), b"x").unwrap();
    let output = user.verify(&bucket.source(), &["--key-file", &bucket.key_file()]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let line = "lost.tar.gz: an archive where no backup set has one: its rows are in no restore point";
    assert_eq!((output.status.code(), said), (Some(1), format!("cassmount: {line}\n")));
    assert!(text.contains(&format!("\n{line}\n")) && !text.contains("everything is good"), "{text}");
}

#[test]
fn incrementals_without_a_full_are_found_as_list_says_it() {
    let (user, bucket) = (User::new(), Bucket::new());
    for tag in [ONE, TWO] {
        bucket.add_set(tag, "incremental");
    }
    let (source, key) = (bucket.source(), bucket.key_file());
    let report = user.report(&source, &["--key-file", &key]);
    let [finding] = &report["findings"].as_array().unwrap()[..] else { panic!("{report:#}") };
    let message = finding["message"].as_str().unwrap();
    assert_eq!((&finding["problem"], &finding["set"]), (&"set_missing".into(), &TWO.into()));
    assert!(message.starts_with("there is no full: 2 incremental sets have none to stand on"), "{message}");
    for host in [&[][..], &["node-1"]] {
        let mut list = super::command::cassmount();
        list.args(["list", &source]).args(host).arg("--cache-dir").arg(user.cache.path());
        let output = list.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(if host.is_empty() { "NO FULL: no restore point" } else { message }), "{text}");
    }
}

#[test]
fn an_archive_with_files_that_are_younger_than_its_set_is_of_another() {
    let users = || sstable(Tar::new(), 1, b"rows").end();
    let later = "2026-11-20-03-00";
    let bucket = bucket_of(&[("2026-01-01-03-00", vec![("users", users())]), (later, vec![("users", users())])]);
    let report = User::new().report(&bucket.source(), &["--deep", "--key-file", &bucket.key_file()]);
    assert_eq!(found(&report), set_of(&["node-1 2026-01-01-03-00 ks.users: other_set"]));
    let message = report["findings"][0]["message"].as_str().unwrap();
    assert!(message.contains("its set had ended at 2026-01-01T03:00:09Z: it is of a later set"), "{message}");
}

#[test]
fn what_could_not_be_looked_at_is_not_called_good() {
    let (user, bucket, elsewhere) = (User::new(), bucket(), tempfile::tempdir().unwrap());
    std::os::unix::fs::symlink(elsewhere.path(), bucket.path().join("node-2")).unwrap();
    let key = bucket.key_file();
    let run = |more: &[&str]| user.verify(&bucket.source(), &[&["--key-file", &key], more].concat()).output().unwrap();
    let shown = run(&[]);
    let (text, said) = (String::from_utf8_lossy(&shown.stdout), String::from_utf8_lossy(&shown.stderr));
    assert_eq!(shown.status.code(), Some(1), "{said}");
    assert!(text.ends_with("\nwhat could be looked at is good, but not all could\n"), "{text}");
    assert!(said.contains("names that cannot be shown, and may hold backups: \"node-2\""), "{said}");
    let report: Value = serde_json::from_slice(&run(&["--json"]).stdout).unwrap();
    assert!(report["left_out"].as_str().unwrap().contains("node-2"), "{report}");
}
