//! Three nodes in two racks, backed up as cass_ops does and lost: all of them, and one of them.
//!
//! Eleven starts of Cassandra take minutes: docs/testing.md tells how it is run.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::backup;
use super::command::cassmount;
use super::mount::Mount;
use super::support::process::{Finished, run};
use super::support::{Node, NodeOptions, Session, TOOL_DEADLINE, Truth, Version};

const HOSTS: [&str; 3] = ["cass-a", "cass-b", "cass-c"];
const RACKS: [&str; 3] = ["r1", "r2", "r2"];
const TABLES: [&str; 4] = ["shop.users", "shop.users_by_name", "shop.hits", "shop.docs"];
const ROWS: usize = 1200;
/// What Cassandra says as it builds an index, and a view.
const BUILT: [&str; 2] = ["Submitting index build of", "Starting build of view("];

struct Ring {
    nodes: Vec<Node>,
    /// The name of every host's only set.
    tag: String,
    work: tempfile::TempDir,
}

fn options(number: usize, seed: Option<SocketAddr>) -> NodeOptions {
    NodeOptions {
        heap_mib: 640,
        rack: RACKS[number],
        seed,
        extra_yaml: "disk_failure_policy: stop".to_owned(),
        ..NodeOptions::default()
    }
}

fn session(node: &Node) -> Session {
    Session::connect(SocketAddr::from((node.address, node.ports.native))).unwrap().at_all()
}

fn run_cql(session: &mut Session, statement: &str) {
    session.execute(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
}

fn texts(session: &mut Session, statement: &str) -> Vec<String> {
    let rows = session.execute(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
    rows.into_iter().flatten().flatten().map(|cell| String::from_utf8(cell).unwrap()).collect()
}

/// What all replicas together hold.
fn truths(node: &Node) -> BTreeMap<&'static str, Truth> {
    let mut session = session(node);
    let of = |table: &'static str| (table, Truth::of(&texts(&mut session, &format!("SELECT JSON * FROM {table}"))));
    TABLES.into_iter().map(of).collect()
}

impl Ring {
    fn new() -> Option<Self> {
        const TEST: &str = "a_ring_comes_back_whole_and_one_node_after_its_death";
        let mut nodes: Vec<Node> = Vec::new();
        for number in 0..HOSTS.len() {
            let seed = nodes.first().map(|first| SocketAddr::from((first.address, first.ports.storage)));
            match Node::start(Version::V5_0, &options(number, seed)) {
                Ok(node) => nodes.push(node),
                Err(missing) => {
                    missing.skip(TEST);
                    return None;
                }
            }
        }
        let tag = backup::tag();
        Some(Self { nodes, tag, work: tempfile::tempdir().unwrap() })
    }

    fn bucket(&self) -> PathBuf {
        self.work.path().join("bucket")
    }

    fn key(&self) -> PathBuf {
        self.work.path().join("key")
    }

    fn write_rows(&self) {
        let mut session = session(&self.nodes[0]);
        for statement in [
            "CREATE KEYSPACE shop WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 2}",
            "CREATE TABLE shop.users (id int PRIMARY KEY, name text, email text)",
            "CREATE INDEX users_email ON shop.users (email)",
            "CREATE MATERIALIZED VIEW shop.users_by_name AS SELECT * FROM shop.users \
             WHERE name IS NOT NULL AND id IS NOT NULL PRIMARY KEY (name, id)",
            "CREATE TABLE shop.hits (page int PRIMARY KEY, n counter)",
            "CREATE TABLE shop.docs (id int PRIMARY KEY, rank int)",
            "CREATE INDEX docs_rank ON shop.docs (rank) USING 'sai'",
            "ALTER KEYSPACE system_auth WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 3}",
        ] {
            run_cql(&mut session, statement);
        }
        for id in 0..ROWS {
            let (name, email, rank, page) = (id % 97, id % 50, id % 11, id % 200);
            run_cql(
                &mut session,
                &format!("INSERT INTO shop.users (id, name, email) VALUES ({id}, 'n{name}', 'u{email}@x')"),
            );
            run_cql(&mut session, &format!("INSERT INTO shop.docs (id, rank) VALUES ({id}, {rank})"));
            run_cql(&mut session, &format!("UPDATE shop.hits SET n = n + {} WHERE page = {page}", 1 + id % 7));
        }
        // As CREATE ROLE writes it, which takes a login.
        run_cql(&mut session, "INSERT INTO system_auth.roles (role, can_login) VALUES ('app', true)");
    }

    fn back_up(&self) {
        fs::write(self.key(), "of the ring\n").unwrap();
        for ((host, rack), node) in HOSTS.iter().zip(RACKS).zip(&self.nodes) {
            backup::full(node, rack, &self.bucket().join(host).join(&self.tag), &self.key());
        }
    }

    fn restore(&self, mount: &Mount, node: &Node, words: &[&str]) -> Finished {
        let mut command = cassmount();
        command.env("CASSMOUNT_STATE_DIR", mount.state_dir()).args(["restore", "node"]).args(words);
        command.arg("--cassandra-yaml").arg(node.conf_directory().join("cassandra.yaml"));
        command.arg("--cassandra").arg(node.installation.home()).arg("--mount").arg(mount.root());
        command.arg("--unit-dir").arg(self.work.path().join("units")).arg("--indexes-are-built");
        run(&mut command, TOOL_DEADLINE)
    }
}

fn wipe(node: &Node) {
    let data = node.data_directory();
    for name in ["data", "commitlog", "saved_caches", "hints", "cdc_raw"] {
        let directory = data.with_file_name(name);
        if directory.exists() {
            fs::remove_dir_all(&directory).unwrap();
        }
    }
    fs::create_dir(data).unwrap();
}

fn hydrate(mount: &Mount) {
    let mut command = cassmount();
    command.env("CASSMOUNT_STATE_DIR", mount.state_dir()).args(["restore", "hydrate", "--wait"]);
    run(&mut command, TOOL_DEADLINE).expect_success();
}

/// How many nodes are in this state (`UN`, `DN`), as another sees it.
fn wait_for(node: &Node, state: &str, count: usize) {
    let until = Instant::now() + TOOL_DEADLINE;
    loop {
        let status = node.nodetool(&["status"]).expect_success();
        if status.lines().filter(|line| line.starts_with(state)).count() == count {
            return;
        }
        assert!(Instant::now() < until, "not {count} {state}:\n{status}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn assert_nothing_was_built(node: &Node, since: usize) {
    let log = &node.log()[since..];
    let built: Vec<&str> = log.lines().filter(|line| BUILT.iter().any(|text| line.contains(text))).collect();
    assert!(built.is_empty(), "{built:?}");
}

fn assert_indexes(node: &Node) {
    let mut session = session(node);
    let count = |session: &mut Session, of: &str| texts(session, &format!("SELECT JSON id FROM shop.{of}")).len();
    assert_eq!(count(&mut session, "users WHERE email = 'u7@x'"), ROWS / 50);
    assert_eq!(count(&mut session, "docs WHERE rank = 3"), (ROWS - 3).div_ceil(11));
    assert_eq!(texts(&mut session, "SELECT role FROM system_auth.roles WHERE role = 'app'"), ["app"]);
}

#[test]
#[ignore = "takes minutes: docs/testing.md"]
fn a_ring_comes_back_whole_and_one_node_after_its_death() {
    let Some(ring) = Ring::new() else { return };
    ring.write_rows();
    let truth = truths(&ring.nodes[0]);
    assert_eq!(truth["shop.users"].rows, ROWS);
    ring.back_up();

    // All are lost, and come back one after the other.
    let sizes: Vec<usize> = ring.nodes.iter().map(|node| node.log().len()).collect();
    ring.nodes.iter().for_each(Node::shut_down);
    let key = ring.key();
    let bucket = ring.bucket();
    let arguments = ["--key-file", key.to_str().unwrap()];
    let Some(mount) = Mount::of(&bucket, &arguments, "a_ring_comes_back_whole_and_one_node_after_its_death") else {
        return;
    };
    for (host, node) in HOSTS.iter().zip(&ring.nodes) {
        wipe(node);
        let words = ["--cold-start", "--source-host", host, "--at", &ring.tag, "--write-config"];
        ring.restore(&mount, node, &words).expect_success();
    }
    for (node, size) in ring.nodes.iter().zip(sizes) {
        node.start_again();
        assert_nothing_was_built(node, size);
    }
    wait_for(&ring.nodes[0], "UN", 3);
    assert_eq!(truths(&ring.nodes[1]), truth);
    assert_indexes(&ring.nodes[2]);

    // One dies. Another machine takes its place, and learns what it missed.
    let [first, second, dead] = &ring.nodes[..] else { unreachable!() };
    dead.kill(TOOL_DEADLINE);
    wait_for(first, "DN", 1);
    wait_for(second, "DN", 1);
    for page in 0..50 {
        first.cql(&format!("UPDATE shop.hits SET n = n + 5 WHERE page = {page}"));
    }
    first.cql("DELETE FROM shop.users WHERE id = 7");
    let seed = SocketAddr::from((first.address, first.ports.storage));
    let new = Node::stopped(Version::V5_0, &options(2, Some(seed))).unwrap_or_else(|missing| panic!("{missing}"));
    let nodetool = first.nodetool_script(ring.work.path(), "");
    let nodetool = nodetool.to_str().unwrap();
    let address = dead.address.to_string();
    // The wrong host: with its tokens, this node would push the second out of the ring.
    let of_living = ["--cold-start", "--source-host", HOSTS[1], "--nodetool", nodetool];
    let refused = ring.restore(&mount, &new, &of_living);
    assert!(refused.stderr.contains("push it out of the ring"), "{refused}");
    let wrong = ["--replace", &*address, "--source-host", HOSTS[1], "--nodetool", nodetool];
    let refused = ring.restore(&mount, &new, &wrong);
    assert!(refused.stderr.contains("Was another --source-host meant?"), "{refused}");
    let words = ["--replace", &*address, "--source-host", HOSTS[2], "--nodetool", nodetool, "--write-config"];
    ring.restore(&mount, &new, &words).expect_success();
    new.start_again();
    assert_nothing_was_built(&new, 0);
    for node in [first, second, &new] {
        wait_for(node, "UN", 3);
    }
    for node in [first, second, &new] {
        node.nodetool(&["repair", "-full"]).expect_success();
    }
    let repaired = truths(&new);
    assert_eq!(repaired["shop.docs"], truth["shop.docs"]);
    assert_eq!(repaired["shop.users"].rows, ROWS - 1);
    let counters = |pages: std::ops::Range<usize>| -> usize {
        let mut session = session(&new);
        let of =
            |page: usize| texts(&mut session, &format!("SELECT JSON n FROM shop.hits WHERE page = {page}")).remove(0);
        let number =
            |text: String| -> usize { text.trim_start_matches("{\"n\": ").trim_end_matches('}').parse().unwrap() };
        pages.map(of).map(number).sum()
    };
    let added = |page: usize| (0..ROWS).filter(|id| id % 200 == page).map(|id| 1 + id % 7).sum::<usize>();
    assert_eq!(counters(0..50), (0..50).map(added).sum::<usize>() + 50 * 5, "no increment is lost");
    assert_eq!(counters(50..200), (50..200).map(added).sum::<usize>());

    // All of it is local, and the mount is not needed.
    hydrate(&mount);
    for node in [first, second, &new] {
        node.shut_down();
    }
    mount.unmount();
    for node in [first, second, &new] {
        node.start_again();
    }
    wait_for(first, "UN", 3);
    assert_eq!(truths(&new), repaired);
}
