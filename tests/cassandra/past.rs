//! `cassmount node` and `cassmount drill`: the sample's cluster as of a time, compared with what it
//! held.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use cassmount::cassandra::commit_log;
use cassmount::time::{self, Timestamp};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::bucket::sample_keys;
use super::command::cassmount;
use super::instant::json;
use super::node;
use super::skip::{fuse_or_skip, skip};
use super::support::process::{Finished, run};
use super::support::sample::{self, HOSTS, POINT, TABLES};
use super::support::{Installation, Node, Session, TOOL_DEADLINE, Truth, Version};

/// Nodes of one test, none of which outlives it.
struct Nodes {
    work: tempfile::TempDir,
    installation: Installation,
}

/// A node that was started.
struct Past {
    name: String,
    address: SocketAddr,
    server: u32,
}

impl Nodes {
    /// `None`, said loudly, where nothing can be mounted or there is no Cassandra.
    fn new(version: Version, test: &str) -> Option<Self> {
        if !fuse_or_skip(test) {
            return None;
        }
        match Installation::find(version) {
            Ok(installation) => Some(Self { work: tempfile::tempdir().unwrap(), installation }),
            Err(missing) => {
                missing.skip(test);
                None
            }
        }
    }

    /// `cassmount node <words>`, or `cassmount drill …`.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = cassmount();
        command.env("CASSMOUNT_STATE_DIR", self.state()).env_remove("CASSANDRA_HOME");
        command.args((words[0] != "drill").then_some("node")).args(words);
        if let Some(home) = self.installation.java_home() {
            command.env("JAVA_HOME", home);
        }
        if ["start", "drill"].contains(&words[0]) {
            command.arg("--cassandra").arg(self.installation.home());
            command.arg("--cache-dir").arg(self.work.path().join("cache"));
        }
        command
    }

    fn run(&self, words: &[&str]) -> Finished {
        run(&mut self.command(words), TOOL_DEADLINE)
    }

    #[track_caller]
    fn start(&self, source: &Path, words: &[&str]) -> (Past, Value) {
        let words = [&["start", "--json", source.to_str().unwrap()], words].concat();
        let started = json(&self.run(&words).expect_success());
        let node = &started["node"];
        let ip: Ipv4Addr = node["endpoint"]["address"].as_str().unwrap().parse().unwrap();
        let port = node["endpoint"]["port"].as_u64().unwrap() as u16;
        let server = node["server"]["pid"].as_u64().unwrap() as u32;
        let name = node["name"].as_str().unwrap().to_owned();
        (Past { name, address: (ip, port).into(), server }, started)
    }

    #[track_caller]
    fn listed(&self) -> Vec<String> {
        let listed = json(&self.run(&["list", "--json"]).expect_success());
        let state = |node: &Value| format!("{} {}", node["name"].as_str().unwrap(), node["state"].as_str().unwrap());
        listed["nodes"].as_array().unwrap().iter().map(state).collect()
    }

    fn state(&self) -> PathBuf {
        self.work.path().join("state")
    }

    /// What is left of all nodes.
    fn leftovers(&self) -> Vec<String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let state = self.state().canonicalize().unwrap();
        let mounted = mounts.lines().filter(|line| line.contains(state.to_str().unwrap())).map(str::to_owned);
        let entries = fs::read_dir(state.join("nodes")).unwrap();
        let directories = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        mounted.chain(directories.filter(|name| name != "lock")).collect()
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        let ended = run(&mut self.command(&["stop", "--all"]), TOOL_DEADLINE);
        assert!(ended.status.success() || std::thread::panicking(), "{ended}");
    }
}

impl Past {
    fn json_rows(&self, selection: &str) -> Vec<String> {
        let rows = Session::connect(self.address).unwrap().execute(&format!("SELECT JSON {selection}")).unwrap();
        rows.into_iter().flatten().flatten().map(|cell| String::from_utf8(cell).unwrap()).collect()
    }

    #[track_caller]
    fn assert_truth(&self, time: &str, table: &str) {
        let truth = Truth::of(&self.json_rows(&format!("* FROM {table}")));
        assert_eq!(truth, sample::truth(time, table), "{table} at {time}");
    }

    /// The addresses of its sockets, its own and those of others.
    fn addresses(&self) -> BTreeSet<String> {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.server)).unwrap().flatten();
        let links = descriptors.filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
        let inodes: BTreeSet<String> = links
            .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
            .collect();
        let mut addresses = BTreeSet::new();
        for table in ["tcp", "tcp6", "udp", "udp6"] {
            let text = fs::read_to_string(format!("/proc/{}/net/{table}", self.server)).unwrap_or_default();
            for fields in text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>()) {
                if inodes.contains(fields[9]) {
                    addresses.extend([fields[1], fields[2]].map(|of| of.split(':').next().unwrap().to_owned()));
                }
            }
        }
        addresses
    }
}

#[test]
fn two_pasts_stand_side_by_side_and_leave_nothing() {
    const LATER: &str = "2026-11-21-02-52";
    let test = "two_pasts_stand_side_by_side_and_leave_nothing";
    let Some(nodes) = Nodes::new(Version::V5_0, test) else { return };
    let keys = sample_keys();
    let (early, started) = nodes.start(&sample::bucket(), &[&["--at", POINT], &keys[..]].concat());
    let points: Vec<&str> =
        started["node"]["points"].as_array().unwrap().iter().map(|of| of["host"].as_str().unwrap()).collect();
    assert_eq!(points, HOSTS);
    for table in TABLES {
        early.assert_truth(POINT, table);
    }
    let (late, late_started) =
        nodes.start(&sample::bucket(), &[&["--at", LATER, "--keyspace", "shop"], &keys[..]].concat());
    assert_ne!(early.address.ip(), late.address.ip());
    for table in TABLES.into_iter().filter(|table| table.starts_with("shop.")) {
        late.assert_truth(LATER, table);
    }
    // What was not asked for does not look empty: it is not there.
    let rows = late.json_rows("* FROM system_schema.keyspaces WHERE keyspace_name = 'media'");
    assert!(rows.is_empty(), "{rows:?}");

    // 127.0.0.x, as /proc writes it, and the address of nobody.
    let IpHex(own) = IpHex::of(early.address);
    assert_eq!(early.addresses(), BTreeSet::from([own, "00000000".to_owned()]));
    assert_eq!(nodes.listed(), [format!("{} running", early.name), format!("{} running", late.name)]);

    // What a killed one left, the next command removes.
    kill_process(Pid::from_raw(early.server as i32).unwrap(), Signal::KILL).unwrap();
    while Path::new(&format!("/proc/{}", early.server)).exists() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(nodes.listed(), [format!("{} running", late.name)]);
    // So it is where nobody serves its mount any more, though its Cassandra runs.
    let mountpoint = late_started["node"]["mountpoint"].as_str().unwrap();
    kill_all_of(mountpoint);
    // Until the last of them has ended, the kernel waits for an answer.
    let begun = std::time::Instant::now();
    while rustix::fs::statvfs(mountpoint).is_ok() {
        assert!(begun.elapsed() < std::time::Duration::from_mins(1), "{mountpoint} is still served");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(nodes.listed(), Vec::<String>::new());
    assert!(has_ended(late.server), "Cassandra {} still runs", late.server);
    assert_eq!(nodes.leftovers(), Vec::<String>::new());
}

/// Whether a process is gone, or waits for its parent to take its status.
fn has_ended(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.is_empty() || status.contains("State:\tZ")
}

/// Kills the processes that were told of this path.
fn kill_all_of(path: &str) {
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let command = fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        if command.split('\0').any(|word| word == path) {
            let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
        }
    }
}

/// An address as /proc/net/tcp has it.
struct IpHex(String);

impl IpHex {
    fn of(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(v4) => Self(format!("{:08X}", u32::from_le_bytes(v4.ip().octets()))),
            SocketAddr::V6(_) => panic!("nodes have IPv4 addresses"),
        }
    }
}

/// The only file below `parent` whose path has all of these in it, or the first of them.
fn a_file(parent: &Path, parts: &[&str]) -> PathBuf {
    let files = sample::files(parent).into_values();
    let mut found: Vec<PathBuf> =
        files.filter(|path| parts.iter().all(|part| path.to_str().unwrap().contains(part))).collect();
    found.sort();
    found.into_iter().next().unwrap_or_else(|| panic!("no {parts:?} in {}", parent.display()))
}

/// The command where there is no network but loopback: nothing that it starts can send a packet
/// elsewhere, or needs to. As it is, said loudly, where no such namespace can be made.
fn alone(command: Command, test: &str) -> Command {
    const LOOPBACK: &str = "ip link set lo up";
    let mut alone = Command::new("unshare");
    alone.args(["-n", "sh", "-c"]);
    let possible = alone.arg(LOOPBACK).output();
    if !possible.is_ok_and(|output| output.status.success()) {
        skip(&format!("{test}, without a network"), "no network namespace can be made (root, unshare, ip)");
        return command;
    }
    let mut alone = Command::new("unshare");
    alone.args(["-n", "sh", "-c", &format!("{LOOPBACK} && exec \"$@\""), "sh"]);
    alone.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => alone.env(name, value),
            None => alone.env_remove(name),
        };
    }
    alone
}

#[test]
fn a_drill_finds_what_cannot_be_restored() {
    let test = "a_drill_finds_what_cannot_be_restored";
    let Some(nodes) = Nodes::new(Version::V5_0, test) else { return };
    // Plain files, so that Cassandra itself meets what is damaged in them.
    let source = nodes.work.path().join("source");
    for host in HOSTS {
        let mut extract = cassmount();
        extract.arg("extract").arg(sample::bucket()).args([host, POINT]).arg(source.join(host));
        extract.args(["--arrange", "snapshots", "--quiet", "--cache-dir"]).arg(nodes.work.path().join("cache"));
        run(extract.args(sample_keys()), TOOL_DEADLINE).expect_success();
    }
    let textfile = nodes.work.path().join("drill.prom");
    let words = ["drill", source.to_str().unwrap(), "--json", "--prometheus-textfile", textfile.to_str().unwrap()];
    let good = json(&run(&mut alone(nodes.command(&words), test), TOOL_DEADLINE).expect_success());
    assert_eq!(good["findings"], serde_json::json!([]));
    for table in TABLES {
        let rows = &good["tables"].as_array().unwrap().iter().find(|of| of["table"] == table.replace('"', ""));
        assert_eq!(rows.unwrap()["rows"], sample::truth(POINT, table).rows, "{table}");
    }
    let metrics = fs::read_to_string(&textfile).unwrap();
    let success = metrics.lines().find(|line| line.starts_with("cassmount_drill_last_success_timestamp_seconds{"));

    let orders = a_file(&source, &["cass-a/shop/orders-", "-Data.db"]);
    let mut bytes = fs::read(&orders).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&orders, bytes).unwrap();
    let events = a_file(&source, &["cass-a/shop/events-", "-Statistics.db"]);
    let mut bytes = fs::read(&events).unwrap();
    bytes[..64].fill(0xff);
    fs::write(&events, bytes).unwrap();
    for host in HOSTS {
        let hits = a_file(&source, &[host, "/shop/hits-", "-Data.db"]);
        fs::remove_dir_all(hits.parent().unwrap()).unwrap();
        fs::create_dir(hits.parent().unwrap()).unwrap();
    }
    // No query meets it.
    fs::write(a_file(&source, &["cass-a/shop/carts-", "-Digest.crc32"]), "12345").unwrap();
    let docs = a_file(&source, &["cass-b/media/docs-", "-Data.db"]);
    let later = docs.parent().unwrap().with_file_name("2026-11-21-02-59");
    fs::create_dir(&later).unwrap();
    let manifest = r#"{"files": ["nb-77-big-Data.db"], "created_at": "2026-11-21T02:59:00Z"}"#;
    fs::write(later.join("manifest.json"), manifest).unwrap();

    let drilled = nodes.run(&[&words[..], &["--verify-extended", "--max-sstables", "15"]].concat());
    // A drill that could not be made ends with this status, too.
    assert!(drilled.status.code() == Some(1) && !drilled.stdout.is_empty(), "{drilled}");
    let report = json(&drilled.stdout);
    assert!(report["nodes"].as_u64().unwrap() > 1, "{drilled}");
    let read = |report: &Value| report["tables"].as_array().unwrap().len();
    assert_eq!(read(&report), read(&good), "{drilled}");
    let docs = report["tables"].as_array().unwrap().iter().find(|of| of["table"] == "media.docs").unwrap();
    assert_eq!(docs["verified"]["error"], Value::Null, "{docs}");
    let mut found: Vec<(&str, Option<&str>)> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| (finding["problem"].as_str().unwrap(), finding["table"].as_str()))
        .collect();
    found.sort_unstable();
    // The snapshot of one table lacks each of the others.
    found.dedup();
    let expected = [
        ("incomplete", None),
        ("lost_rows", Some("shop.hits")),
        ("read_failed", Some("shop.orders")),
        ("refused", Some("shop.events")),
        ("verify_failed", Some("shop.carts")),
    ];
    assert_eq!(found, expected, "{drilled}");
    assert!(
        drilled.stdout.contains("nb-77-big-Data.db of media.docs: the snapshot's manifest.json lists it"),
        "{drilled}"
    );
    // Which file it is, as a mount shows it.
    assert!(drilled.stdout.contains(&format!("cass-a/restore-points/{POINT}/shop/orders-")), "{drilled}");
    // When all was good is still told.
    let metrics = fs::read_to_string(&textfile).unwrap();
    assert!(success.is_some() && metrics.lines().any(|line| Some(line) == success), "{metrics}");
    assert_eq!(nodes.leftovers(), Vec::<String>::new());
}

/// What a node has in one snapshot of these keyspaces, as it is kept for a host of that name.
fn keep(node: &Node, keyspaces: &[&str], tag: &str, host: &Path) {
    let data = node.data_directory();
    for keyspace in keyspaces {
        for (name, path) in sample::files(&data.join(keyspace)) {
            if path.to_str().unwrap().contains(&format!("/snapshots/{tag}/")) {
                let to = host.join(keyspace).join(name);
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                fs::copy(path, to).unwrap();
            }
        }
    }
}

/// The same, and its commit logs once they hold writes that are not older than `until`, as `write`
/// makes them.
fn keep_with_logs(node: &Node, keyspaces: &[&str], tag: &str, until: Timestamp, write: &dyn Fn(), host: &Path) {
    keep(node, keyspaces, tag, host);
    let data = node.data_directory();
    let logs = host.join("commitlogs");
    fs::create_dir(&logs).unwrap();
    for _ in 0..60 {
        // Cassandra's own writes come between, of the time that it really is.
        write();
        std::thread::sleep(std::time::Duration::from_secs(1));
        let mut ends = None;
        for (name, path) in sample::files(&data.with_file_name("commitlog")) {
            let bytes = fs::read(path).unwrap();
            fs::write(logs.join(name), &bytes).unwrap();
            ends = ends.max(commit_log::writes(&bytes, until).ok().and_then(|writes| writes.ends));
        }
        if ends >= Some(until) {
            return;
        }
    }
    panic!("the writes do not come into the commit logs of {}", host.display());
}

#[test]
fn a_row_that_lived_for_two_seconds_is_there_at_the_second_between() {
    let test = "a_row_that_lived_for_two_seconds_is_there_at_the_second_between";
    let Some(nodes) = Nodes::new(Version::V5_0, test) else { return };
    let (Some(first), Some(second)) = (node(Version::V5_0, test), node(Version::V5_0, test)) else { return };
    let source = nodes.work.path().join("source");
    let hosts = [("first", &first), ("second", &second)];
    for (_, node) in hosts {
        node.cql("DROP KEYSPACE IF EXISTS moment");
        node.cql("CREATE KEYSPACE moment WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 1}");
        // Of one cluster, as far as its tables tell.
        node.cql(
            "CREATE TABLE moment.\"Row\" (id text PRIMARY KEY, v text) WITH id = 5b1d0000-e555-11f0-8000-00000000000a",
        );
        node.cql("INSERT INTO moment.\"Row\" (id, v) VALUES ('always', 'before')");
        node.nodetool(&["snapshot", "-t", "night"]).expect_success();
    }
    let now = time::now().secs() + 2;
    let second_later = |seconds: i64| (now + seconds) * 1_000_000;
    for (host, node) in hosts {
        let insert = |id: &str, v: &str, at: i64| {
            let at = second_later(at);
            node.cql(&format!("INSERT INTO moment.\"Row\" (id, v) VALUES ('{id}', '{v}') USING TIMESTAMP {at}"));
        };
        // A column that the restore point does not have.
        node.cql("ALTER TABLE moment.\"Row\" ADD w text");
        node.cql(&format!(
            "UPDATE moment.\"Row\" USING TIMESTAMP {} SET w = 'new' WHERE id = 'always'",
            second_later(0)
        ));
        insert(&format!("short on {host}"), "lives", 0);
        insert("always", &format!("from {host}"), 0);
        node.cql(&format!(
            "DELETE FROM moment.\"Row\" USING TIMESTAMP {} WHERE id = 'short on {host}'",
            second_later(2)
        ));
        let later = || (0..5).for_each(|number| insert(&format!("later {number}"), "too late", 3));
        let until = Timestamp(second_later(3));
        keep_with_logs(node, &["system_schema", "moment"], "night", until, &later, &source.join(host));
        node.nodetool(&["clearsnapshot", "-t", "night"]).expect_success();
        node.cql("DROP KEYSPACE moment");
    }
    drop((first, second));

    let between = Timestamp::from_secs(now + 1).to_string();
    let (past, started) = nodes.start(&source, &["--at", &between, "--keyspace", "moment"]);
    let mut rows = past.json_rows("id, v, w FROM moment.\"Row\"");
    rows.sort();
    let expected = [
        r#"{"id": "always", "v": "from second", "w": "new"}"#,
        r#"{"id": "short on first", "v": "lives", "w": null}"#,
        r#"{"id": "short on second", "v": "lives", "w": null}"#,
    ];
    assert_eq!(rows, expected);
    assert_eq!(started["replayed_until"], (now + 1) * 1_000_000);
    // The logs do not lead to a later moment.
    let later = Timestamp::from_secs(now + 60).to_string();
    let refused = nodes.run(&["start", source.to_str().unwrap(), "--at", &later]);
    assert_eq!(refused.status.code(), Some(5), "{refused}");
    assert!(refused.stderr.contains("commit logs of first, needed since night: they end at "), "{refused}");
}

#[test]
fn a_node_of_4_1_shows_what_4_1_wrote() {
    let test = "a_node_of_4_1_shows_what_4_1_wrote";
    let Some(writer) = node(Version::V4_1, test) else { return };
    let Some(nodes) = Nodes::new(Version::V4_1, test) else { return };
    writer.cql("DROP KEYSPACE IF EXISTS past");
    writer.cql("CREATE KEYSPACE past WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 3}");
    writer.cql("CREATE TABLE past.\"Row\" (id int PRIMARY KEY, v text)");
    writer.cql("CREATE INDEX by_v ON past.\"Row\" (v)");
    writer.cql("INSERT INTO past.\"Row\" (id, v) VALUES (1, 'before')");
    writer.nodetool(&["snapshot", "-t", "night"]).expect_success();
    writer.cql("INSERT INTO past.\"Row\" (id, v) VALUES (1, 'after')");
    let (past, _) = nodes.start(&writer.data_directory(), &["--keyspace", "past"]);
    assert_eq!(past.json_rows("* FROM past.\"Row\""), [r#"{"id": 1, "v": "before"}"#]);
    writer.nodetool(&["clearsnapshot", "-t", "night"]).expect_success();
    writer.cql("DROP KEYSPACE past");
}

#[test]
#[ignore = "four starts of Cassandra: docs/testing.md"]
fn a_drill_by_4_1_finds_what_cannot_be_restored() {
    let test = "a_drill_by_4_1_finds_what_cannot_be_restored";
    let Some(writer) = node(Version::V4_1, test) else { return };
    let Some(nodes) = Nodes::new(Version::V4_1, test) else { return };
    writer.cql("DROP KEYSPACE IF EXISTS past");
    writer.cql("CREATE KEYSPACE past WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 1}");
    for table in ["flipped", "good", "lost", "refused"] {
        writer.cql(&format!("CREATE TABLE past.{table} (id int PRIMARY KEY, v text)"));
        for id in 0..200 {
            writer.cql(&format!("INSERT INTO past.{table} (id, v) VALUES ({id}, 'value {id}')"));
            if id == 99 {
                writer.nodetool(&["flush", "past", table]).expect_success();
            }
        }
    }
    writer.nodetool(&["snapshot", "-t", "night"]).expect_success();
    let source = nodes.work.path().join("source");
    keep(&writer, &["past", "system_schema"], "night", &source.join("node1"));
    writer.nodetool(&["clearsnapshot", "-t", "night"]).expect_success();
    writer.cql("DROP KEYSPACE past");
    drop(writer);

    let words = ["drill", source.to_str().unwrap(), "--json"];
    let good = json(&nodes.run(&words).expect_success());
    let rows = |table: &Value| (table["table"].as_str().unwrap().to_owned(), table["rows"].as_u64().unwrap());
    let read: Vec<(String, u64)> = good["tables"].as_array().unwrap().iter().map(rows).collect();
    let expected = ["flipped", "good", "lost", "refused"].map(|table| (format!("past.{table}"), 200));
    assert_eq!((read, good["cassandra"].as_str()), (expected.to_vec(), Some("4.1.10")));

    let of = |table: &str, component: &str| a_file(&source, &[&format!("/past/{table}-"), component]);
    let mut bytes = fs::read(of("flipped", "-Data.db")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(of("flipped", "-Data.db"), bytes).unwrap();
    let mut bytes = fs::read(of("refused", "-Statistics.db")).unwrap();
    bytes[..64].fill(0xff);
    fs::write(of("refused", "-Statistics.db"), bytes).unwrap();
    let one = of("lost", "-Data.db");
    let sstable = one.file_name().unwrap().to_str().unwrap().replace("Data.db", "");
    let (manifest, mut others) = (one.with_file_name("manifest.json"), Vec::new());
    for (name, path) in sample::files(one.parent().unwrap()) {
        match name.starts_with(&sstable) {
            true => fs::remove_file(path).unwrap(),
            false if name.ends_with("-Data.db") => others.push(name),
            false => {}
        }
    }
    assert_eq!(others.len(), 1);
    let mut listed = json(&fs::read_to_string(&manifest).unwrap());
    listed["files"] = others.into();
    fs::write(&manifest, listed.to_string()).unwrap();
    let later = of("good", "-Data.db").parent().unwrap().with_file_name("later");
    fs::create_dir(&later).unwrap();
    let manifest = format!(r#"{{"files": ["nb-77-big-Data.db"], "created_at": "{}"}}"#, time::now());
    fs::write(later.join("manifest.json"), manifest).unwrap();

    let drilled = nodes.run(&words);
    assert_eq!(drilled.status.code(), Some(1), "{drilled}");
    assert!(drilled.stdout.starts_with('{'), "{drilled}");
    let report = json(&drilled.stdout);
    let found = |finding: &Value| format!("{} {}", finding["problem"].as_str().unwrap(), finding["table"]);
    let found: BTreeSet<String> = report["findings"].as_array().unwrap().iter().map(found).collect();
    let expected =
        ["incomplete null", r#"lost_rows "past.lost""#, r#"read_failed "past.flipped""#, r#"refused "past.refused""#];
    assert_eq!(found, expected.map(str::to_owned).into(), "{drilled}");
    assert_eq!(nodes.leftovers(), Vec::<String>::new());
}
