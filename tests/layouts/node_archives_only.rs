//! Archives of whole nodes: what they hold is what it is in every other layout. What only they
//! have: an archive that cannot be opened, and that somebody has to ask for them.

use crate::command::cassmount;
use crate::node_archives::ByDate;
use crate::suite;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use testkit::bucket::{crc_db, index_db, statistics_db};

const ID: &str = "763dab90e55511f185a85b65bc0eb462";

/// Packs a snapshot of a table with one SSTable, as it lies below `/var/lib/cassandra/data`.
fn pack(archive: &Path, keyspace: &str, tag: &str, content: &str) {
    let directory = tempfile::tempdir().unwrap();
    let snapshot = directory.path().join(format!("var/lib/cassandra/data/{keyspace}/users-{ID}/snapshots/{tag}"));
    fs::create_dir_all(&snapshot).unwrap();
    fs::write(snapshot.join("nb-1-big-Data.db"), content).unwrap();
    fs::write(snapshot.join("nb-1-big-Digest.crc32"), crc32fast::hash(content.as_bytes()).to_string()).unwrap();
    let components = [
        ("Index.db", index_db([&b"key"[..]])),
        ("Statistics.db", statistics_db(1)),
        ("CRC.db", crc_db(content.as_bytes())),
    ];
    for (component, content) in components {
        fs::write(snapshot.join(format!("nb-1-big-{component}")), content).unwrap();
    }
    fs::write(snapshot.join("manifest.json"), r#"{"files":["nb-1-big-Data.db"]}"#).unwrap();
    fs::create_dir_all(archive.parent().unwrap()).unwrap();
    let script = if archive.extension().is_some_and(|extension| extension == "enc") {
        "tar -C \"$FROM\" -cz var | openssl enc -aes-256-cbc -pbkdf2 -pass pass:secret > \"$INTO\""
    } else {
        "tar -C \"$FROM\" -cz var > \"$INTO\""
    };
    let packed = Command::new("sh").args(["-c", script]).env("FROM", directory.path()).env("INTO", archive).status();
    assert!(packed.unwrap().success());
}

fn run(source: &Path, cache: &Path, arguments: &[&str]) -> (i32, String) {
    run_as("node_archives", source, cache, arguments)
}

fn run_as(layout: &str, source: &Path, cache: &Path, arguments: &[&str]) -> (i32, String) {
    let (command, rest) = arguments.split_first().unwrap();
    let mut cassmount = cassmount();
    cassmount.args([command, "--layout", layout]).arg(source).args(rest).arg("--cache-dir").arg(cache);
    let Output { status, stdout, stderr } = cassmount.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    (status.code().unwrap(), text)
}

#[test]
fn shows_the_same_tree() {
    suite::shows_the_same_tree::<ByDate>();
}

#[test]
fn commands_work_on_it() {
    suite::commands_work_on_it::<ByDate>();
}

#[test]
fn an_archive_that_cannot_be_opened_is_no_absence() {
    let (source, cache, target) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let archive = |name: &str| source.path().join(name);
    pack(&archive("20261121/node1/shop.tar.gz"), "shop", "daily", "old");
    pack(&archive("20261122/node1/shop.tar.gz"), "shop", "daily", "new");
    pack(&archive("20261122/node1/media.tar.gz"), "media", "daily", "media");
    let auto = cassmount().arg("list").arg(source.path()).arg("--cache-dir").arg(cache.path()).output().unwrap();
    let refused = String::from_utf8_lossy(&auto.stderr).into_owned();
    assert!(!auto.status.success() && refused.contains("--layout node_archives"), "{refused}");
    let run = |arguments: &[&str]| run(source.path(), cache.path(), arguments);
    let (status, listed) = run(&["list", "node1"]);
    assert_eq!(status, 0, "{listed}");
    // One tag on two days: two points, and no mixture.
    assert!(listed.contains("daily ") && listed.contains("daily_20261122 "), "{listed}");
    let extract = |point: &str, target: &Path| run(&["extract", "node1", point, target.to_str().unwrap()]);
    let (status, told) = extract("latest", &target.path().join("whole"));
    assert_eq!(status, 0, "{told}");
    let users = format!("whole/shop/users-{ID}/nb-1-big-Data.db");
    assert_eq!(fs::read_to_string(target.path().join(users)).unwrap(), "new");

    let mut bytes = fs::read(archive("20261122/node1/media.tar.gz")).unwrap();
    bytes.truncate(60);
    fs::write(archive("20261122/node1/media.tar.gz"), bytes).unwrap();
    // Which tables were in it nobody knows: that day is not whole, and the day before is.
    let (status, told) = extract("daily_20261122", &target.path().join("cut"));
    assert_eq!(status, 5, "{told}");
    assert!(told.contains("node1@20261122/20261122_node1_media.tar.gz"), "{told}");
    let (status, told) = run(&["verify"]);
    assert_eq!(status, 1, "{told}");
    let (status, told) = run(&["verify", "--deep"]);
    assert!(status == 1 && told.contains("20261122/node1/media.tar.gz"), "{told}");
}

#[test]
fn sealed_ones_open_by_their_key_and_without_it_nothing_is_none() {
    let (source, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    pack(&source.path().join("20261121/node1.tar.gz.enc"), "shop", "daily", "sealed");
    let (status, told) = run(source.path(), cache.path(), &["list", "node1"]);
    assert_eq!(status, 3, "{told}");
    let key = source.path().with_extension("key");
    fs::write(&key, "secret\n").unwrap();
    let (status, told) = run(source.path(), cache.path(), &["list", "node1", "--key-file", key.to_str().unwrap()]);
    fs::remove_file(&key).unwrap();
    assert!(status == 0 && told.contains("daily"), "{told}");
}

#[test]
fn where_no_key_opens_the_only_archive_the_status_says_so() {
    let (source, cache, target) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    pack(&source.path().join(format!("20261121/node1/shop_users-{ID}.tar.gz.enc")), "shop", "daily", "sealed");
    let into = target.path().join("into");
    for arguments in [&["verify"][..], &["extract", "node1", "latest", into.to_str().unwrap()]] {
        let (status, told) = run_as("scripts", source.path(), cache.path(), arguments);
        assert_eq!(status, 3, "{arguments:?}: {told}");
    }
}

#[test]
fn archives_of_one_date_are_one_backup_whatever_they_are_called() {
    let (source, cache, target) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    pack(&source.path().join("20261121/node1/backup-0.tar.gz"), "shop", "daily", "shop");
    pack(&source.path().join("20261121/node1/backup-1.tar.gz"), "media", "daily", "media");
    let run = |arguments: &[&str]| run(source.path(), cache.path(), arguments);
    let (status, listed) = run(&["list", "node1"]);
    assert!(status == 0 && listed.contains("daily ") && !listed.contains("daily_"), "{listed}");
    let into = target.path().join("into");
    let (status, told) = run(&["extract", "node1", "latest", into.to_str().unwrap()]);
    assert_eq!(status, 0, "{told}");
    for keyspace in ["shop", "media"] {
        let data = fs::read_to_string(into.join(format!("{keyspace}/users-{ID}/nb-1-big-Data.db")));
        assert_eq!(data.unwrap(), keyspace);
    }
}

/// Packs with `script`, in a directory with `real/`, a whole snapshot.
fn pack_linked(archive: &Path, script: &str) {
    let directory = tempfile::tempdir().unwrap();
    let first = directory.path().join("first.tar.gz");
    pack(&first, "shop", "daily", "rows");
    fs::create_dir_all(archive.parent().unwrap()).unwrap();
    let unpack = "tar -xzf first.tar.gz && cp -r var/lib/cassandra/data/shop/users-*/snapshots/daily real";
    let packed = Command::new("sh")
        .args(["-ec", &format!("{unpack}\n{script}")])
        .env("INTO", archive)
        .current_dir(directory.path())
        .status();
    assert!(packed.unwrap().success());
}

#[test]
fn a_link_in_the_place_of_a_table_is_a_lack() {
    let (source, cache, target) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let orders = "var/lib/cassandra/data/shop/orders-771e4790e55511f185a85b65bc0eb462";
    pack_linked(&source.path().join("20261121/n1.tar.gz"), &format!("ln -s /disk2/o {orders}; tar -czf $INTO var"));
    let run = |arguments: &[&str]| run(source.path(), cache.path(), arguments);
    let into = target.path().join("into");
    let extract = ["extract", "n1", "latest", into.to_str().unwrap()];
    for (arguments, expected) in [(&["list", "n1"][..], 1), (&["verify"], 1), (&["verify", "--deep"], 1), (&extract, 5)]
    {
        let (status, said) = run(arguments);
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(status, expected, "{arguments:?}: {said}");
        assert!(said.contains(orders), "{arguments:?}: {said}");
    }
}

#[test]
fn an_archive_of_a_link_or_of_a_snapshot_of_a_repair_is_told_once_it_was_read() {
    let name = format!("20261121/n1/shop_users-{ID}.tar.gz");
    let ephemeral = r#"{"files":["nb-1-big-Data.db"],"ephemeral":true}"#;
    let repair = format!("echo '{ephemeral}' > real/manifest.json; tar -czf $INTO real");
    for (script, why) in [
        ("ln -s /disk2/daily daily; tar -czf $INTO daily", "daily: it is a symbolic link to /disk2/daily"),
        (&*repair, "a snapshot left over from a repair"),
    ] {
        let (source, cache, target) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        pack_linked(&source.path().join(&name), script);
        let run = |arguments: &[&str]| run_as("scripts", source.path(), cache.path(), arguments);
        let extract = |into: &str| run(&["extract", "n1", "latest", target.path().join(into).to_str().unwrap()]);
        for (done, expected) in [(extract("a"), 1), (extract("b"), 5), (run(&["list", "n1"]), 1)] {
            let said = done.1.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(done.0 == expected && said.contains(why), "{} instead of {expected}: {said}", done.0);
        }
        fs::remove_dir_all(cache.path()).unwrap();
        let (status, said) = run(&["verify", "--deep"]);
        assert!(status == 1 && said.split_whitespace().collect::<Vec<_>>().join(" ").contains(why), "{said}");
    }
}
