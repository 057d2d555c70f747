//! `cassmount chain` and `cassmount schema` on the sample bucket, as a user runs them.

use testkit::bucket;
use testkit::command;

use bucket::{Bucket, HOST, Tar, encrypt_with, gzip, sample_keys, sstable};
use command::cassmount;
use serde_json::Value;
use std::process::Output;
use tempfile::TempDir;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/sample/bucket");
const OLD_EVENTS: &str = "77bbc010e55511f185a85b65bc0eb462";

/// A user's cache directory, for several commands.
struct User {
    cache: TempDir,
}

impl User {
    fn new() -> Self {
        Self { cache: tempfile::tempdir().unwrap() }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = cassmount();
        command.args(arguments).arg("--cache-dir").arg(self.cache.path());
        command.output().unwrap()
    }

    /// What the command prints on the sample, with its keys.
    fn sample(&self, command: &str, host: &str, point: &str, more: &[&str]) -> String {
        let output = self.run(&[&[command, SAMPLE, host, point], more, &sample_keys()].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn chain(&self, host: &str, point: &str, more: &[&str]) -> Value {
        serde_json::from_str(&self.sample("chain", host, point, &[more, &["--json"]].concat())).unwrap()
    }
}

fn table<'a>(chain: &'a Value, keyspace: &str, table: &str) -> Option<&'a Value> {
    chain["tables"].as_array().unwrap().iter().find(|found| found["keyspace"] == keyspace && found["table"] == table)
}

fn texts<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    list.as_array().unwrap().iter().map(|entry| entry[field].as_str().unwrap()).collect()
}

#[test]
fn a_recreated_table_is_the_new_one_and_says_why() {
    let user = User::new();
    for host in ["cass-a", "cass-b"] {
        let chain = user.chain(host, "2026-11-21-02-49", &["--table", "shop.events"]);
        assert_eq!((&chain["point"], &chain["kind"]), (&"2026-11-21-02-49".into(), &"incremental".into()));
        let sets = ["2026-11-21-02-45", "2026-11-21-02-47", "2026-11-21-02-48", "2026-11-21-02-49"];
        assert_eq!(texts(&chain["sets"], "tag"), sets);
        assert_eq!(chain["tables"].as_array().unwrap().len(), 1);

        let events = table(&chain, "shop", "events").unwrap();
        let id = events["id"].as_str().unwrap();
        assert!(id.starts_with("fe786540e555"), "{id}");
        assert_eq!(events["directory"], format!("events-{id}"));
        let [sstable] = &events["sstables"].as_array().unwrap()[..] else { panic!("{events}") };
        assert_eq!((&sstable["name"], &sstable["set"]), (&"nb-1-big".into(), &"2026-11-21-02-49".into()));
        assert_eq!((sstable["incarnation"].as_str(), &sstable["renumbered_from"]), (Some(id), &Value::Null));
        assert!(sstable["evidence"].as_str().unwrap().contains("created 2026-11-21T02:48:12.949Z"), "{sstable}");
        assert_eq!(sstable["certain"], true);

        // Those of the old one have the same names and are told apart.
        let others = events["not_part"].as_array().unwrap();
        assert!(others.iter().any(|other| other["name"] == "nb-1-big"), "{events}");
        for other in others {
            assert_eq!(other["incarnation"], OLD_EVENTS);
            assert!(other["evidence"].as_str().unwrap().contains("dropped 2026-11-21T02:48:08.97Z"), "{other}");
        }

        let before = user.chain(host, "2026-11-21-02-48", &["--table", "shop.events"]);
        let events = table(&before, "shop", "events").unwrap();
        assert_eq!(events["id"], OLD_EVENTS);
        assert_eq!(texts(&events["sstables"], "name"), ["nb-1-big", "nb-2-big"]);
        assert_eq!(events["not_part"], Value::Array(Vec::new()));
    }
}

#[test]
fn the_whole_of_a_point() {
    let user = User::new();
    let chain = user.chain("cass-a", "2026-11-21-02-49", &[]);
    assert!(table(&chain, "media", "MixedCase").is_none());
    let absent = chain["absent"].as_array().unwrap().iter().find(|absent| absent["table"] == "MixedCase").unwrap();
    assert!(absent["reason"].as_str().unwrap().contains("dropped 2026-11-21T02:48:07.875Z"), "{absent}");
    assert!(table(&chain, "shop", "carts").is_some());
    for found in chain["tables"].as_array().unwrap() {
        assert_eq!(found["certain"], true, "{found}");
        let empty = found["table"] == "empty_table";
        let held = found["sstables"].as_array().unwrap();
        assert!(!empty || held.is_empty(), "{found}");
        assert!(
            held.iter()
                .all(|sstable| sstable["incarnation"] == found["id"] && sstable["missing"] == Value::Array(vec![]))
        );
    }
    let indexed = table(&chain, "shop", "users").unwrap();
    assert!(texts(&indexed["sstables"], "directory").contains(&".users_email"), "{indexed}");

    // What was read once is not read again; --summary needs none of it.
    let (archives, unread) = (chain["archives"].as_u64().unwrap(), chain["unread_archives"].as_u64().unwrap());
    assert!(archives > 31 && unread > 20 && unread <= archives, "{archives} {unread}");
    assert!(chain["unread_bytes"].as_u64().unwrap() <= chain["bytes"].as_u64().unwrap());
    for field in ["bytes", "unread_bytes"] {
        let of_tables = chain["tables"].as_array().unwrap().iter().map(|table| table[field].as_u64().unwrap());
        assert_eq!(of_tables.sum::<u64>(), chain[field].as_u64().unwrap(), "{field}");
    }
    let orders = table(&chain, "shop", "orders").unwrap();
    assert_eq!(orders["bytes"], orders["unread_bytes"]);
    let of_archives = orders["archives"].as_array().unwrap().iter().map(|archive| archive["bytes"].as_u64().unwrap());
    assert_eq!(orders["bytes"], of_archives.sum::<u64>());
    let again = user.chain("cass-a", "2026-11-21-02-49", &[]);
    assert_eq!(table(&again, "shop", "orders").unwrap()["unread_bytes"], 0);
    assert_eq!(
        (&again["unread_archives"], &again["tables"][0]["sstables"]),
        (&0.into(), &chain["tables"][0]["sstables"])
    );
    let summary = User::new().chain("cass-a", "2026-11-21-02-49", &["--summary"]);
    let names = |chain: &Value| texts(&chain["tables"], "directory").join(" ");
    assert_eq!(names(&summary), names(&chain));
    assert_eq!(summary["tables"][0].get("sstables"), None);

    let mixed_case = user.chain("cass-a", "2026-11-21-02-48", &["--table", "media.\"MixedCase\""]);
    assert_eq!(mixed_case["tables"].as_array().unwrap().len(), 1);
}

#[test]
fn points_by_any_time() {
    let user = User::new();
    for (point, expected) in [
        ("latest", "2026-11-21-02-52"),
        ("2026-11-21", "2026-11-21-02-52"),
        ("1h", "2026-11-21-02-52"),
        ("2026-11-21-02-46", "2026-11-21-02-45"),
        ("2026-11-21T02:49:30Z", "2026-11-21-02-49"),
    ] {
        let chain = user.chain("cass-a", point, &["--summary"]);
        assert_eq!(chain["point"], expected, "{point}");
    }
    let full = user.chain("cass-a", "2026-11-21-02-50", &["--summary"]);
    assert_eq!((texts(&full["sets"], "tag").len(), &full["kind"]), (1, &"full".into()));
}

#[test]
fn people_get_tables() {
    let user = User::new();
    let text = user.sample("chain", "cass-a", "2026-11-21-02-49", &["--table", "shop.events", "--sstables"]);
    for part in [
        "cass-a as of 2026-11-21-02-49",
        "2026-11-21-02-45  full ",
        "shop.events in shop/events-fe786540e555",
        "nb-1-big  2026-11-21-02-49  fe786540  ",
        "not part of it: nb-1-big of 2026-11-21-02-45, incarnation 77bbc010: ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Without --sstables a row for each table of the user's, and nothing is read.
    let user = User::new();
    let text = user.sample("chain", "cass-a", "latest", &[]);
    let rows = |text: &str, start: &str| text.lines().filter(|line| line.starts_with(start)).count();
    assert_eq!((rows(&text, "shop.users "), rows(&text, "system")), (1, 0), "{text}");
    assert!(text.contains("of Cassandra's own: --system lists them"), "{text}");
    let text = user.sample("chain", "cass-a", "latest", &["--system"]);
    assert!(rows(&text, "system_schema.tables ") == 1 && !text.contains("--system"), "{text}");
    assert_eq!(text, user.sample("chain", "cass-a", "latest", &["--system", "--summary"]));
}

#[test]
fn the_schema_as_of_a_point() {
    let user = User::new();
    let before = user.sample("schema", "cass-a", "2026-11-21-02-45", &[]);
    let after = user.sample("schema", "cass-a", "2026-11-21-02-48", &[]);
    assert!(!before.contains("phone text"), "{before}");
    assert!(after.contains("phone text"), "{after}");
    for (text, name) in [(&before, "MixedCase"), (&after, "carts")] {
        assert!(text.contains("ID = ") && text.contains(name), "{text}");
    }
    assert!(after.contains("77bbc010-e555-11f1-85a8-5b65bc0eb462"));

    let without = user.sample("schema", "cass-a", "2026-11-21-02-48", &["--no-ids", "--keyspace", "shop"]);
    assert!(without.contains("CREATE TABLE shop.carts") && !without.contains("ID = "), "{without}");
    assert!(!without.contains("media."), "{without}");

    // Without a key the full's own text is all there is. It has no ids, so it is for who wants none:
    // right for the full, doubtful for what came after.
    let unopened = User::new();
    for (point, status) in [("2026-11-21-02-45", 0), ("2026-11-21-02-48", 3)] {
        let output = unopened.run(&["schema", SAMPLE, "cass-a", point, "--no-ids"]);
        assert_eq!(output.status.code(), Some(status), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout.starts_with(b"-- The schema that the full backup 2026-11-21-02-45"));
        let refused = unopened.run(&["schema", SAMPLE, "cass-a", point]);
        assert_eq!((refused.status.code(), &refused.stdout[..]), (Some(3), &b""[..]), "{refused:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("--no-ids"), "{refused:?}");
    }
}

#[test]
fn what_is_not_there_is_named() {
    let user = User::new();
    for (arguments, said) in [
        (["chain", SAMPLE, "cass-z", "latest"], "cass-a, cass-b"),
        (["chain", SAMPLE, "cass-a", "someday"], "2026-11-21-02-45 to 2026-11-21-02-52"),
        (["chain", SAMPLE, "cass-a", "2020-01-01"], "the first restore point is 2026-11-21-02-45"),
        (["schema", SAMPLE, "cass-z", "latest"], "cass-a, cass-b"),
        (["schema", SAMPLE, "cass-a", "someday"], "2026-11-21-02-45 to 2026-11-21-02-52"),
    ] {
        let output = user.run(&[&arguments[..], &sample_keys()].concat());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?} {error}");
        assert!(error.contains(said), "{arguments:?}: {error}");
    }
    for (arguments, said) in [
        (["chain", SAMPLE, "cass-a", "latest", "--table", "shop.nothing"], "shop.nothing"),
        (["chain", SAMPLE, "cass-a", "2026-11-21-02-49", "--table", "media.MixedCase"], "dropped"),
        (["schema", SAMPLE, "cass-a", "latest", "--keyspace", "nothing"], "media, shop"),
    ] {
        let output = user.run(&[&arguments[..], &sample_keys()].concat());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?} {error}");
        assert!(error.contains(said), "{arguments:?}: {error}");
    }
    assert_eq!(user.run(&["chain", SAMPLE]).status.code(), Some(2));
    let newest = user.run(&["chain", SAMPLE, "cass-a"]);
    assert!(String::from_utf8_lossy(&newest.stdout).starts_with("cass-a as of 2026-11-21-02-52 "), "{newest:?}");
    assert_eq!(user.run(&["chain", SAMPLE, "cass-a", "latest", "--table", "x"]).status.code(), Some(2));
}

#[test]
fn what_cannot_be_read_is_named_and_fails() {
    let output = User::new().run(&[&["chain", SAMPLE, "cass-a", "latest", "--sstables"], &sample_keys()[..2]].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(text.contains("cannot be read: ") && text.contains("02-50/shop/users.tar.gz.enc"), "{text}");
}

#[test]
fn other_sstables_of_one_name_are_renumbered_and_incomplete_ones_named() {
    let user = User::new();
    let bucket = Bucket::new();
    bucket.add_set("2026-01-01-00-00", "full");
    bucket.add_archive("2026-01-01-00-00", "ks", "t", &sstable(Tar::new(), 1, b"one").end());
    bucket.add_set("2026-01-01-01-00", "incremental");
    // The same SSTable, one with another content under the name of the first's, and one without its
    // Index.db.
    let tar = sstable(sstable(Tar::new(), 1, b"another"), 2, b"two").file("./nb-3-big-Data.db", b"three");
    bucket.add_archive("2026-01-01-01-00", "ks", "t", &tar.end());
    let unfinished = bucket.path().join(HOST).join("2026-01-01-00-30/ks");
    std::fs::create_dir_all(&unfinished).unwrap();
    std::fs::write(unfinished.join("t.tar.gz.enc"), b"half").unwrap();

    let (source, key) = (bucket.source(), bucket.key_file());
    let output = user.run(&["chain", &source, HOST, "2026-01-01-01-00", "--json", "--key-file", &key]);
    assert_eq!(output.status.code(), Some(1), "it lacks what the unfinished set held: {output:?}");
    let chain: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(texts(&chain["left_out"], "tag"), ["2026-01-01-00-30"]);
    let found = table(&chain, "ks", "t").unwrap();
    assert_eq!((&found["id"], &found["directory"], &found["certain"]), (&Value::Null, &"t".into(), &false.into()));
    assert_eq!(texts(&found["sstables"], "name"), ["nb-1-big", "nb-2-big", "nb-3-big", "nb-4-big"]);
    assert_eq!(found["sstables"][3]["renumbered_from"], "nb-1-big");
    assert!(found["sstables"][2]["missing"].as_array().unwrap().contains(&"Index.db".into()), "{found}");
    assert_eq!(
        found["notices"].as_array().unwrap().iter().filter(|n| n.as_str().unwrap().contains("nb-3-big")).count(),
        1
    );
}

#[test]
fn without_a_key_what_is_known_is_shown_and_the_status_tells_the_rest() {
    let user = User::new();
    for command in [
        &["chain", SAMPLE, "cass-a"][..],
        &["diff", SAMPLE, "cass-a", "2026-11-21-02-47"],
        &["ls", SAMPLE, "cass-a/restore-points/latest/shop"],
        &["list", SAMPLE, "cass-a", "--table", "shop.users"],
        &["restore", "plan", SAMPLE],
    ] {
        let output = user.run(command);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{command:?}: {said}");
        assert!(!output.stdout.is_empty(), "{command:?}");
        let told: Vec<&str> = said.lines().filter(|line| line.contains("key")).collect();
        assert_eq!(told.len(), 1, "{command:?}: {said}");
        assert!(said.contains("no key opens what had to be read of cass-a"), "{command:?}: {said}");
        // As `chain` marks it.
        let is_marked = match command[0] {
            "ls" | "diff" => said.contains("cass-a: the id of media.MixedCase, "),
            "chain" => String::from_utf8_lossy(&output.stdout).contains("schema_mapping.json?"),
            _ => true,
        };
        assert!(is_marked, "{command:?}: {said}");
    }
}

/// Whatever else of the host is opened, and whatever an earlier command has read.
#[test]
fn sets_that_no_key_opens_are_told_alike_each_time() {
    let newer = &sample_keys()[2..];
    for (command, status, said) in [
        (&["chain", SAMPLE, "cass-a", "2026-11-21-02-48"][..], 3, "cass-a (2026-11-21-02-45, 2026-11-21-02-48)"),
        (&["diff", SAMPLE, "cass-a", "2026-11-21-02-45", "latest"], 3, "had to be read of cass-a (2026-11-21-02-45),"),
        (&["ls", SAMPLE, "cass-a/restore-points/2026-11-21-02-45/shop"], 3, "of cass-a (2026-11-21-02-45),"),
        (&["chain", SAMPLE, "cass-a"], 0, "warning: no key opens cass-a (2026-11-21-02-45, "),
    ] {
        let user = User::new();
        let runs = [(); 2].map(|()| user.run(&[command, newer].concat()));
        assert_eq!(runs[0].stdout, runs[1].stdout, "{command:?}");
        for run in runs {
            let error = String::from_utf8_lossy(&run.stderr);
            assert_eq!(run.status.code(), Some(status), "{command:?}: {error}");
            let told = error.lines().filter(|line| line.contains("no key opens")).count();
            assert!(error.contains(said) && told == 1, "{command:?}: {error}");
        }
    }
}

/// What tells the tables' ids is sealed with a key that was not given, all else with those that were.
#[test]
fn a_schema_that_no_key_opens_is_told_though_all_else_is_opened() {
    let bucket = Bucket::sample();
    let locked = bucket.path().join("cass-a/2026-11-21-02-50/system_schema/tables.tar.gz.enc");
    std::fs::write(&locked, encrypt_with("another", &gzip(&Tar::new().end()))).unwrap();
    let (user, source) = (User::new(), bucket.source());
    let run = |command: &[&str]| {
        let output = user.run(&[command, &sample_keys()].concat());
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned(), output.stdout)
    };
    let (status, said, text) = run(&["chain", &source, "cass-a", "2026-11-21-02-50"]);
    assert!(status == Some(3) && said.contains("system_schema of 2026-11-21-02-50: ") && !text.is_empty(), "{said}");
    // A part of the schema would be taken for all of it.
    let (status, said, text) = run(&["schema", &source, "cass-a", "2026-11-21-02-50"]);
    assert!(status == Some(3) && text.is_empty(), "{status:?} {said}");
}
