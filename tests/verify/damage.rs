//! Damage of every kind, done to copies of the sample bucket.

use super::bucket::{Bucket, filter, gzip, sample_keys};
use super::command::cassmount;
use super::repack::{Order, repack};
use super::support::{User, found, set_of};
use super::unpacked::sample_keys as key_files;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const FULL: &str = "2026-11-21-02-45";
const LATER: &str = "2026-11-21-02-47";

/// A copy of the sample bucket to damage.
struct Sample {
    bucket: Bucket,
}

impl Sample {
    fn new() -> Self {
        let this = Self { bucket: Bucket::sample() };
        // Half of the archives, and of the time: no test here damages these.
        // Of all hosts: a host that alone is without them lacks them.
        for host in fs::read_dir(this.bucket.path()).unwrap() {
            let sets = fs::read_dir(host.unwrap().path()).unwrap().map(|set| set.unwrap().path());
            for full in sets.filter(|set| set.join("schema.cql").exists()) {
                for keyspace in ["system_auth", "system_distributed", "system_schema"] {
                    fs::remove_dir_all(full.join(keyspace)).unwrap();
                }
            }
        }
        this
    }

    fn set(&self, tag: &str) -> PathBuf {
        self.bucket.path().join("cass-a").join(tag)
    }

    fn archive(&self, tag: &str, table: &str) -> PathBuf {
        self.set(tag).join(format!("{}.tar.gz.enc", table.replace('.', "/")))
    }

    /// Changes the bytes of an archive as stored.
    fn change(&self, tag: &str, table: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let path = self.archive(tag, table);
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(path, bytes).unwrap();
    }

    /// Changes the files in an archive.
    fn edit(&self, tag: &str, table: &str, order: Order, edit: impl FnOnce(&Path)) {
        repack(&self.archive(tag, table), &key_files(), order, edit);
    }

    /// What is found at a glance, and in depth.
    fn found(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let user = User::new();
        let find = |deep: &[&str]| found(&user.sample(&self.bucket.source(), &[&["cass-a"], deep].concat()));
        (find(&[]), find(&["--deep"]))
    }

    /// Both must find exactly this.
    fn assert_both(&self, expected: &[&str]) {
        let (glance, deep) = self.found();
        assert_eq!(glance, set_of(expected), "at a glance");
        assert_eq!(deep, set_of(expected), "in depth");
    }

    /// Only reading all of it can find this.
    fn assert_deep(&self, expected: &[&str]) {
        let (glance, deep) = self.found();
        assert_eq!(glance, BTreeSet::new(), "at a glance");
        assert_eq!(deep, set_of(expected), "in depth");
    }
}

/// Copies an archive an hour after the others were written, however long ago that was.
fn copy_later(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap();
    let later = fs::metadata(from).unwrap().modified().unwrap() + Duration::from_hours(1);
    fs::File::options().write(true).open(to).unwrap().set_modified(later).unwrap();
}

/// Flips a bit of a file.
fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 4;
    fs::write(path, bytes).unwrap();
}

/// Makes the digest fit its Data.db again: the damage was there before Cassandra wrote it, or is
/// Cassandra's own.
fn fit_digest(directory: &Path, sstable: &str) {
    let data = fs::read(directory.join(format!("{sstable}-Data.db"))).unwrap();
    fs::write(directory.join(format!("{sstable}-Digest.crc32")), crc32fast::hash(&data).to_string()).unwrap();
}

#[test]
fn the_sample_bucket_is_good() {
    let user = User::new();
    let bucket = concat!(env!("CARGO_MANIFEST_DIR"), "/sample/bucket");
    for deep in [&[][..], &["--deep"]] {
        let report = user.sample(bucket, deep);
        assert_eq!(found(&report), BTreeSet::new());
        assert_eq!(report["notes"], serde_json::json!([]));
        assert_eq!((&report["checked"]["archives"], &report["checked"]["skipped"]), (&186.into(), &0.into()));
    }
}

#[test]
fn objects_that_are_no_whole_archives() {
    let sample = Sample::new();
    sample.change(FULL, "shop.users", |bytes| bytes.truncate(bytes.len() - 5));
    sample.change(FULL, "shop.orders", |bytes| bytes.truncate(bytes.len() / 32 * 16));
    sample.change(FULL, "shop.hits", Vec::clear);
    sample.change(FULL, "media.docs", |bytes| bytes[..8].copy_from_slice(b"NotSalt_"));
    // The last byte of the block before flips the same bit of the last one: the padding's length.
    sample.change(LATER, "shop.users", |bytes| {
        let at = bytes.len() - 17;
        bytes[at] ^= 0x40;
    });
    sample.assert_both(&[
        "cass-a 2026-11-21-02-45 shop.users: cut_short",
        "cass-a 2026-11-21-02-45 shop.orders: padding_wrong",
        "cass-a 2026-11-21-02-45 shop.hits: cut_short",
        "cass-a 2026-11-21-02-45 media.docs: plaintext_refused",
        "cass-a 2026-11-21-02-47 shop.users: padding_wrong",
    ]);
}

/// All that each of them holds is as it was packed: only what the rows are made of tells.
#[test]
fn archives_that_got_each_others_names() {
    let sample = Sample { bucket: Bucket::sample() };
    let swap = |tag: &str, a: &str, b: &str| {
        let [a, b] = [a, b].map(|table| sample.archive(tag, table));
        let kept = fs::read(&a).unwrap();
        fs::copy(&b, &a).unwrap();
        fs::write(&b, kept).unwrap();
    };
    swap(FULL, "shop.users", "shop.orders");
    swap(LATER, "shop.users", "shop.hits");
    let user = User::new();
    let tables = ["-t", "shop.users", "-t", "shop.orders", "-t", "shop.hits"];
    let report = user.sample(&sample.bucket.source(), &[&["cass-a", "--deep"], &tables[..]].concat());
    let named: BTreeSet<String> = found(&report)
        .into_iter()
        .map(|line| line.split(' ').filter(|word| !word.starts_with("nb-")).collect::<Vec<_>>().join(" "))
        .collect();
    let expected = ["2026-11-21-02-45 shop.users", "2026-11-21-02-45 shop.orders", "2026-11-21-02-47 shop.users"];
    let mut expected: Vec<String> = expected.iter().map(|of| format!("cass-a {of} other_table")).collect();
    expected.push("cass-a 2026-11-21-02-47 shop.hits other_table".into());
    assert_eq!(named, expected.into_iter().collect());
    assert!(report.to_string().contains("by key and columns it is of shop.orders"), "{report}");
    // From then on everybody knows.
    let list = super::command::cassmount()
        .args(["list", &sample.bucket.source(), "cass-a", "--cache-dir"])
        .arg(user.cache.path())
        .args(sample_keys())
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&list.stdout).contains("it is of shop.orders"), "{list:?}");
}

#[test]
fn a_flipped_bit_anywhere_in_the_middle() {
    let sample = Sample::new();
    for (tag, table, tenth) in [(FULL, "shop.users", 5), (FULL, "shop.orders", 1), (LATER, "shop.hits", 8)] {
        sample.change(tag, table, |bytes| {
            let at = 32 + (bytes.len() - 80) * tenth / 10;
            bytes[at] ^= 1;
        });
    }
    sample.assert_deep(&[
        "cass-a 2026-11-21-02-45 shop.users: gzip_damaged",
        "cass-a 2026-11-21-02-45 shop.orders: gzip_damaged",
        "cass-a 2026-11-21-02-47 shop.hits: gzip_damaged",
    ]);
}

#[test]
fn keys_that_are_missing() {
    let sample = Sample::new();
    let source = sample.bucket.source();
    let locked = |arguments: &[&str]| -> BTreeSet<String> {
        let run = |deep: &[&str]| {
            let arguments = [&["cass-a", "--table", "shop.users"], arguments, deep].concat();
            found(&User::new().report(&source, &arguments))
        };
        let glance = run(&[]);
        assert_eq!(glance, run(&["--deep"]));
        glance
    };
    let sets = |tags: &[&str]| -> BTreeSet<String> {
        let with = tags.iter().filter(|tag| sample.archive(tag, "shop.users").exists());
        with.map(|tag| format!("cass-a {tag} shop.users: no_key")).collect()
    };
    let (before, after) =
        ([FULL, LATER, "2026-11-21-02-48", "2026-11-21-02-49"], ["2026-11-21-02-50", "2026-11-21-02-52"]);
    assert!(sets(&before).len() > 2 && sets(&after).len() == 2);
    let keys = sample_keys();
    assert_eq!(locked(&keys[..2]), sets(&after), "the first key only");
    assert_eq!(locked(&keys[2..]), sets(&before), "the second key only");
    let wrong = sample.bucket.key_file();
    for keys in [&[][..], &["--key-file", &wrong]] {
        let output =
            User::new().verify(&source, &[&["cass-a", "--table", "shop.users"], keys].concat()).output().unwrap();
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(3), &b""[..]), "{keys:?}: {output:?}");
    }

    // A damaged start looks the same, but for its neighbours.
    sample.change(FULL, "shop.users", |bytes| bytes[12] ^= 1);
    let report = User::new().sample(&source, &["cass-a"]);
    assert_eq!(found(&report), set_of(&["cass-a 2026-11-21-02-45 shop.users: no_key"]));
    assert!(
        report["findings"][0]["message"].as_str().unwrap().contains("its first bytes may be damaged"),
        "{report:#}"
    );
}

#[test]
fn archives_and_manifests_that_are_missing() {
    let sample = Sample::new();
    fs::remove_file(sample.archive(FULL, "shop.users")).unwrap();
    fs::remove_file(sample.archive(LATER, "shop.orders")).unwrap();
    fs::remove_file(sample.set("2026-11-21-02-48").join("backup_manifest.json")).unwrap();
    fs::write(sample.set("2026-11-21-02-49").join("backup_manifest.json"), "{\"backup_type\":").unwrap();
    sample.assert_both(&[
        "cass-a 2026-11-21-02-45 shop.users: archive_missing",
        "cass-a 2026-11-21-02-47 shop.orders: archive_missing",
        "cass-a 2026-11-21-02-48: no_manifest",
        "cass-a 2026-11-21-02-49: manifest_damaged",
    ]);
}

#[test]
fn a_full_without_its_own_files() {
    let sample = Sample::new();
    fs::remove_file(sample.set(FULL).join("schema.cql")).unwrap();
    fs::remove_file(sample.set(FULL).join("schema_mapping.json")).unwrap();
    fs::write(sample.set("2026-11-21-02-50").join("schema.cql"), "WARNING: cqlsh was built against 5.0\n").unwrap();
    fs::write(sample.set("2026-11-21-02-50").join("schema_mapping.json"), "{").unwrap();
    let user = User::new();
    let report = user.sample(&sample.bucket.source(), &["cass-a"]);
    let problems: Vec<_> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| (f["set"].as_str().unwrap(), f["problem"].as_str().unwrap()))
        .collect();
    let later = "2026-11-21-02-50";
    let expected = [
        (FULL, "set_file_missing"),
        (FULL, "set_file_missing"),
        (later, "set_file_damaged"),
        (later, "set_file_damaged"),
    ];
    assert_eq!(problems, expected, "{report:#}");

    // With the mapping alone, a dropped table is no missing one, but a table that the sets around
    // have is.
    let sample = Sample::new();
    let later = sample.set(later);
    fs::remove_file(later.join("schema.cql")).unwrap();
    fs::remove_file(later.join("shop/users.tar.gz.enc")).unwrap();
    sample.assert_both(&[
        "cass-a 2026-11-21-02-50: set_file_missing",
        "cass-a 2026-11-21-02-50 shop.users: archive_missing",
    ]);
}

#[test]
fn a_full_without_a_manifest_takes_its_incrementals_along() {
    let sample = Sample::new();
    fs::remove_file(sample.set(FULL).join("backup_manifest.json")).unwrap();
    let report = User::new().sample(&sample.bucket.source(), &["cass-a"]);
    assert_eq!(found(&report), set_of(&["cass-a 2026-11-21-02-45: no_manifest"]));
    assert!(report["findings"][0]["lost"].as_str().unwrap().contains("3 incremental set(s)"), "{report:#}");
    let notes: Vec<_> = report["notes"].as_array().unwrap().iter().map(|note| note["set"].as_str().unwrap()).collect();
    assert_eq!(notes, [LATER, "2026-11-21-02-48", "2026-11-21-02-49"], "{report:#}");
}

#[test]
fn sstables_that_contradict_themselves() {
    for order in [Order::ByName, Order::Reversed] {
        let sample = Sample::new();
        // The digest is wrong, nothing else.
        sample.edit(FULL, "shop.users", order, |dir| fs::write(dir.join("nb-1-big-Digest.crc32"), "1234567").unwrap());
        // A chunk that Cassandra itself wrote wrong, or that was damaged before its digest was
        // made.
        sample.edit(FULL, "shop.orders", order, |dir| {
            flip(&dir.join("nb-1-big-Data.db"), 1000);
            fit_digest(dir, "nb-1-big");
        });
        // Not compressed: by CRC.db, where no digest vouches for it.
        sample.edit(FULL, "shop.events", order, |dir| {
            flip(&dir.join("nb-1-big-Data.db"), 100);
            fs::remove_file(dir.join("nb-1-big-Digest.crc32")).unwrap();
        });
        sample.edit(LATER, "shop.events", order, |dir| flip(&dir.join("nb-2-big-CRC.db"), 5));
        // In a secondary index.
        sample.edit(FULL, "shop.users", order, |dir| {
            flip(&dir.join(".users_email/nb-1-big-Data.db"), 1);
            fit_digest(dir, ".users_email/nb-1-big");
        });
        sample.edit(FULL, "shop.hits", order, |dir| {
            let info = dir.join("nb-1-big-CompressionInfo.db");
            let bytes = fs::read(&info).unwrap();
            fs::write(info, &bytes[..bytes.len() - 3]).unwrap();
        });
        sample.assert_deep(&[
            "cass-a 2026-11-21-02-45 shop.users: oddity",
            "cass-a 2026-11-21-02-45 shop.orders nb-1-big: chunk_damaged",
            "cass-a 2026-11-21-02-45 shop.events nb-1-big: chunk_damaged",
            "cass-a 2026-11-21-02-47 shop.events: oddity",
            "cass-a 2026-11-21-02-45 shop.users .users_emailnb-1-big: chunk_damaged",
            "cass-a 2026-11-21-02-45 shop.hits nb-1-big: chunk_list_damaged",
        ]);
    }
}

#[test]
fn an_sstable_damaged_on_the_node_is_told_with_its_chunk() {
    let sample = Sample::new();
    sample.edit(FULL, "shop.users", Order::Reversed, |dir| flip(&dir.join("nb-1-big-Data.db"), 20_000));
    let report = User::new().sample(&sample.bucket.source(), &["cass-a", "--deep"]);
    let expected =
        ["digest_differs", "chunk_damaged"].map(|problem| format!("cass-a {FULL} shop.users nb-1-big: {problem}"));
    assert_eq!(found(&report), expected.into());
    let chunk = report["findings"].as_array().unwrap().iter().find(|f| f["problem"] == "chunk_damaged").unwrap();
    let message = chunk["message"].as_str().unwrap();
    assert!(message.starts_with("1 of ") && message.contains("begin at byte 1"), "{message}");
}

#[test]
fn components_that_are_missing_judged_as_cassandra_does() {
    let sample = Sample::new();
    let remove = |dir: &Path, name: &str| fs::remove_file(dir.join(name)).unwrap();
    // Cassandra cannot open these.
    sample.edit(FULL, "shop.users", Order::ByName, |dir| remove(dir, "nb-1-big-Index.db"));
    sample.edit(FULL, "shop.orders", Order::ByName, |dir| remove(dir, "nb-1-big-CompressionInfo.db"));
    sample.edit(LATER, "shop.users", Order::ByName, |dir| remove(dir, "nb-2-big-Data.db"));
    // These it makes anew, or rewrites at will.
    sample.edit(LATER, "shop.orders", Order::ByName, |dir| {
        remove(dir, "nb-2-big-Filter.db");
        remove(dir, "nb-2-big-Summary.db");
        // In what Cassandra only estimates by.
        flip(&dir.join("nb-2-big-Statistics.db"), 150);
    });
    // An index that says that it is complete and is not has to be built again; the rows are there.
    sample.edit(FULL, "media.docs", Order::ByName, |dir| remove(dir, "nb-1-big-SAI+aa+docs_rank+PostingLists.db"));
    // One that was being built is built.
    sample.edit(LATER, "media.docs", Order::ByName, |dir| remove(dir, "nb-2-big-SAI+aa+docs_rank+ColumnComplete.db"));
    // Gone without a trace, but for the snapshot's own list.
    sample.edit(FULL, "shop.hits", Order::ByName, |dir| {
        for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap()) {
            if entry.file_name().to_str().unwrap().starts_with("nb-1-big-") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    });
    sample.assert_deep(&[
        "cass-a 2026-11-21-02-45 shop.users nb-1-big: component_missing",
        "cass-a 2026-11-21-02-45 shop.orders nb-1-big: component_missing",
        "cass-a 2026-11-21-02-47 shop.users nb-2-big: component_missing",
        "cass-a 2026-11-21-02-45 media.docs nb-1-big: index_incomplete",
        "cass-a 2026-11-21-02-45 shop.hits nb-1-big: sstable_missing",
    ]);
}

#[test]
fn a_tar_that_was_packed_wrong() {
    let sample = Sample::new();
    let key = key_files().remove(0);
    let replace = |tag: &str, table: &str, tar: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        let mut command = Command::new("openssl");
        let openssl = ["enc", "-d", "-aes-256-cbc", "-pbkdf2", "-md", "sha256", "-pass"];
        command.args(openssl).arg(format!("file:{}", key.display())).arg("-in").arg(sample.archive(tag, table));
        let plain = filter(Command::new("gzip").arg("-dc"), &filter(&mut command, b""));
        let mut command = Command::new("openssl");
        command
            .args(["enc", "-aes-256-cbc", "-salt", "-pbkdf2", "-md", "sha256", "-pass"])
            .arg(format!("file:{}", key.display()));
        fs::write(sample.archive(tag, table), filter(&mut command, &gzip(&tar(plain)))).unwrap();
    };
    replace(FULL, "shop.users", &|mut tar| {
        tar[512 + 130] ^= 1;
        tar
    });
    replace(FULL, "shop.orders", &|tar| tar[..tar.len() / 2].to_vec());
    replace(LATER, "shop.users", &|mut tar| {
        let end = tar.len() - 512;
        tar[end] = b'x';
        tar
    });
    let (glance, deep) = sample.found();
    assert_eq!(glance, BTreeSet::new());
    let expected = [
        "cass-a 2026-11-21-02-45 shop.users: tar_damaged",
        "cass-a 2026-11-21-02-45 shop.orders: tar_damaged",
        "cass-a 2026-11-21-02-47 shop.users: tar_damaged",
    ];
    assert_eq!(deep, set_of(&expected));
}

#[test]
fn what_is_not_encrypted_among_sealed_archives_is_refused() {
    let sample = Sample::new();
    let mut command = Command::new("openssl");
    let openssl = ["enc", "-d", "-aes-256-cbc", "-pbkdf2", "-md", "sha256", "-pass"];
    command.args(openssl).arg(format!("file:{}", key_files()[0].display()));
    let gz = filter(command.arg("-in").arg(sample.archive(FULL, "shop.users")), b"");
    fs::write(sample.archive(FULL, "shop.users"), gz).unwrap();
    sample.assert_both(&["cass-a 2026-11-21-02-45 shop.users: plaintext_refused"]);
}

#[test]
fn one_restore_point_or_one_table() {
    let sample = Sample::new();
    let damage = |tag: &str, table: &str| {
        sample.change(tag, table, |bytes| {
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
        });
    };
    for (tag, table) in [(FULL, "shop.users"), (LATER, "shop.orders"), ("2026-11-21-02-50", "shop.users")] {
        damage(tag, table);
    }
    let source = sample.bucket.source();
    let run = |arguments: &[&str]| found(&User::new().sample(&source, &[arguments, &["--deep"]].concat()));
    let [first, second, third] = [
        "cass-a 2026-11-21-02-45 shop.users: gzip_damaged",
        "cass-a 2026-11-21-02-47 shop.orders: gzip_damaged",
        "cass-a 2026-11-21-02-50 shop.users: gzip_damaged",
    ];
    assert_eq!(run(&["cass-b", "--table", "shop.users"]), BTreeSet::new());
    assert_eq!(run(&["cass-a", FULL]), set_of(&[first]));
    assert_eq!(run(&["cass-a", "2026-11-21-02-48"]), set_of(&[first, second]));
    assert_eq!(run(&["cass-a", "latest"]), set_of(&[third]));
    assert_eq!(run(&["cass-a", "--table", "shop.users"]), set_of(&[first, third]));
    assert_eq!(run(&["cass-a", "2026-11-21-02-48", "--table", "shop.orders"]), set_of(&[second]));
}

#[test]
fn a_set_that_did_not_finish_before_the_restore_point_is_found() {
    let sample = Sample::new();
    fs::remove_file(sample.set(LATER).join("backup_manifest.json")).unwrap();
    let report = User::new().sample(&sample.bucket.source(), &["cass-a", "2026-11-21-02-48", "--table", "shop.users"]);
    // What was flushed before it is in no other set.
    assert_eq!(found(&report), set_of(&[&format!("cass-a {LATER}: no_manifest")]));
}

/// All of an archive is good, but it is another one, or there is nothing in it.
#[test]
fn archives_that_are_copies_of_others_and_archives_without_files() {
    let sample = Sample::new();
    copy_later(&sample.archive(LATER, "shop.users"), &sample.archive("2026-11-21-02-49", "shop.users"));
    sample.edit("2026-11-21-02-48", "shop.carts", Order::ByName, |directory| {
        for entry in fs::read_dir(directory).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    });
    let (glance, deep) = sample.found();
    // By its time it is the copy.
    let copied = "cass-a 2026-11-21-02-49 shop.users: archive_copied".to_owned();
    assert_eq!(glance, BTreeSet::from([copied.clone()]), "at a glance");
    let empty = "cass-a 2026-11-21-02-48 shop.carts: archive_empty".to_owned();
    assert_eq!(deep, BTreeSet::from([copied.clone(), empty]), "in depth");

    // Other commands know it from then on, and a second look says it once.
    let user = User::new();
    for options in [&["--deep"][..], &[]] {
        assert!(found(&user.sample(&sample.bucket.source(), options)).contains(&copied));
    }
    let mut list = cassmount();
    list.args(["list", &sample.bucket.source(), "cass-a", "--cache-dir"]).arg(user.cache.path());
    let listed = list.output().unwrap();
    let said = String::from_utf8_lossy(&listed.stdout);
    assert_eq!(listed.status.code(), Some(1), "{said}");
    // As a terminal's width has it.
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("its archive is byte for byte that of cass-a 2026-11-21-02-47 shop.users"), "{said}");
}

/// A verification of one host, without the key or not in depth, sees less than one before it did.
#[test]
fn what_a_verification_of_more_found_is_not_forgotten() {
    let sample = Sample::new();
    let other = sample.bucket.path().join("cass-b/2026-11-21-02-49/shop/users.tar.gz.enc");
    copy_later(&other, &sample.archive("2026-11-21-02-49", "shop.users"));
    sample.edit(FULL, "shop.users", Order::ByName, |directory| {
        fs::remove_file(directory.join("nb-1-big-Statistics.db")).unwrap();
    });
    let (user, source) = (User::new(), sample.bucket.source());
    let copied = "cass-a 2026-11-21-02-49 shop.users: archive_copied";
    let damaged = format!("cass-a {FULL} shop.users nb-1-big: component_missing");
    let all = found(&user.sample(&source, &["--table", "shop.users", "--deep"]));
    assert!(all.contains(copied) && all.contains(&damaged), "{all:?}");

    let before = |set: &str| format!("cass-a {set} shop.users: found_before");
    let told = [before("2026-11-21-02-49"), before(FULL)];
    let one = ["cass-a", "--table", "shop.users"];
    assert_eq!(found(&user.sample(&source, &one)), told.clone().into(), "at a glance");
    let newer = &sample_keys()[2..];
    let less = user.verify(&source, &[&one[..], &["--deep", "--again", "--json"], newer].concat()).output().unwrap();
    let less = found(&serde_json::from_slice(&less.stdout).unwrap());
    assert!(told.iter().all(|told| less.contains(told)), "without the key: {less:?}");
    assert_eq!(found(&user.sample(&source, &one)), told.clone().into(), "again");
    let deep = found(&user.sample(&source, &[&one[..], &["--deep"]].concat()));
    assert_eq!(deep, set_of(&[&told[0], &damaged]), "in depth");
    let both = found(&user.sample(&source, &["--table", "shop.users"]));
    assert_eq!(both, set_of(&[copied, &told[1]]), "both hosts");
}
