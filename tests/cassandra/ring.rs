//! Three nodes in two racks, backed up as cass_ops does and lost: all of them, and one of them.
//!
//! Eleven starts of Cassandra take minutes: docs/testing.md tells how it is run.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::backup;
use super::command::cassmount;
use super::load::load;
use super::mount::Mount;
use super::support::process::{Finished, run, spawn};
use super::support::{Cqlsh, Node, NodeOptions, Session, TOOL_DEADLINE, Truth, Version};

const HOSTS: [&str; 3] = ["cass-a", "cass-b", "cass-c"];
/// Datacenter and rack of each.
type Place = (&'static str, &'static str);
const RACKS: [Place; 3] = [("dc1", "r1"), ("dc1", "r2"), ("dc1", "r2")];
const DATACENTERS: [Place; 2] = [("dc1", "r1"), ("dc2", "r1")];
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

fn options((datacenter, rack): Place, seed: Option<SocketAddr>) -> NodeOptions {
    NodeOptions {
        heap_mib: 640,
        datacenter,
        rack,
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
    fn new(places: &[Place], test: &str) -> Option<Self> {
        let mut nodes: Vec<Node> = Vec::new();
        for place in places {
            let seed = nodes.first().map(|first| SocketAddr::from((first.address, first.ports.storage)));
            match Node::start(Version::V5_0, &options(*place, seed)) {
                Ok(node) => nodes.push(node),
                Err(missing) => {
                    missing.skip(test);
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

    /// Replicas of each datacenter: of the rows, and of the roles.
    fn write_rows(&self, of_rows: &str, of_roles: &str) {
        let mut session = session(&self.nodes[0]);
        for (what, replicas) in [("CREATE KEYSPACE shop", of_rows), ("ALTER KEYSPACE system_auth", of_roles)] {
            let replication = format!("{{'class': 'NetworkTopologyStrategy', {replicas}}}");
            run_cql(&mut session, &format!("{what} WITH replication = {replication}"));
        }
        for statement in [
            "CREATE TABLE shop.users (id int PRIMARY KEY, name text, email text)",
            "CREATE INDEX users_email ON shop.users (email)",
            "CREATE MATERIALIZED VIEW shop.users_by_name AS SELECT * FROM shop.users \
             WHERE name IS NOT NULL AND id IS NOT NULL PRIMARY KEY (name, id)",
            "CREATE TABLE shop.hits (page int PRIMARY KEY, n counter)",
            "CREATE TABLE shop.docs (id int PRIMARY KEY, rank int)",
            "CREATE INDEX docs_rank ON shop.docs (rank) USING 'sai'",
        ] {
            run_cql(&mut session, statement);
        }
        let version = |node: &Node| node.json_rows("schema_version FROM system.local");
        let until = Instant::now() + TOOL_DEADLINE;
        while self.nodes.iter().any(|node| version(node) != version(&self.nodes[0])) {
            assert!(Instant::now() < until, "the nodes do not agree on the schema");
            std::thread::sleep(Duration::from_millis(200));
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
        for (host, node) in HOSTS.iter().zip(&self.nodes) {
            backup::full(node, &self.bucket().join(host).join(&self.tag), &self.key());
        }
    }

    fn mount(&self, test: &str) -> Option<Mount> {
        Mount::of(&self.bucket(), &["--key-file", self.key().to_str().unwrap()], test)
    }

    fn seed(&self) -> SocketAddr {
        SocketAddr::from((self.nodes[0].address, self.nodes[0].ports.storage))
    }

    fn restore(&self, mount: &Mount, node: &Node, words: &[&str]) -> Finished {
        run(&mut self.restore_command(mount, node, words), TOOL_DEADLINE)
    }

    fn restore_command(&self, mount: &Mount, node: &Node, words: &[&str]) -> Command {
        let mut command = cassmount();
        command.env("CASSMOUNT_STATE_DIR", mount.state_dir()).args(["restore", "node"]).args(words);
        command.arg("--cassandra-yaml").arg(node.conf_directory().join("cassandra.yaml"));
        command.arg("--cassandra").arg(node.installation.home()).arg("--mount").arg(mount.root());
        command.arg("--unit-dir").arg(self.work.path().join("units")).arg("--indexes-are-built");
        command
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

/// Whether it still ran when its time had come, and was killed.
fn kill_when(command: &mut Command, is_time: &dyn Fn() -> bool) -> bool {
    let mut running = spawn(command);
    while !is_time() && running.is_running() {
        std::thread::sleep(Duration::from_micros(100));
    }
    let pid = rustix::process::Pid::from_raw(running.id() as i32).unwrap();
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    running.wait(TOOL_DEADLINE).status.code().is_none()
}

/// Names in a directory; none where there is no such directory.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// What it is a sign of, and whether it is there.
type Sign = (&'static str, Box<dyn Fn() -> bool>);

/// Signs of how far `restore node` has come, in their order: begun, half put together, the
/// configuration, the first table in its place, and those of the schema.
fn steps(mount: &Mount, node: &Node) -> [Sign; 5] {
    let (data, state) = (node.data_directory(), mount.state_dir().join("restore-node"));
    let staging = data.join(".cassmount-restore-node");
    let kept = node.conf_directory().join("cassandra.yaml.before-cassmount");
    let (first, last) = (data.join("shop"), data.join("system_schema"));
    let journals = move || names(&state).iter().filter(|name| name.ends_with(".journal")).count();
    let before = journals();
    let is_begun = move || journals() > before;
    [
        ("begun", Box::new(is_begun)),
        ("half put together", Box::new(move || names(&staging.join("shop")).len() > 1)),
        ("configured", Box::new(move || kept.exists())),
        ("half in its place", Box::new(move || first.exists())),
        ("almost in its place", Box::new(move || last.exists())),
    ]
}

/// Kills `restore node` at each step, and has the same command go on; or takes back what there is.
fn kill_at_each_step(ring: &Ring, mount: &Mount, node: &Node, words: &[&str], goes_on: bool) {
    let yaml = node.conf_directory().join("cassandra.yaml");
    let before = fs::read_to_string(&yaml).unwrap();
    for (step, is_reached) in steps(mount, node) {
        let killed = kill_when(&mut ring.restore_command(mount, node, words), &is_reached);
        eprintln!(
            "{}: {step}: {}",
            if goes_on { "goes on" } else { "taken back" },
            if killed { "killed" } else { "late" }
        );
        // The last is over in moments.
        assert!(killed || step == "almost in its place", "{step} was not met");
        let of = |words: &[&str]| {
            let mut command = cassmount();
            command.env("CASSMOUNT_STATE_DIR", mount.state_dir()).arg("restore").args(words);
            run(&mut command, TOOL_DEADLINE)
        };
        if killed {
            let guarded = of(&["guard", "--data-dir", node.data_directory().to_str().unwrap()]);
            assert!(guarded.stderr.contains("did not come to its end"), "{step}: {guarded}");
        }
        if !goes_on {
            of(&["abort", "--all", "--nodetool", "false"]).expect_success();
            assert_eq!(names(&node.data_directory()), [] as [&str; 0], "{step}");
            assert_eq!(fs::read_to_string(&yaml).unwrap(), before, "{step}");
            assert!(!names(&node.conf_directory()).iter().any(|name| name.contains("cassmount")), "{step}");
        }
    }
}

/// Copies what is linked, killed again and again, while rows are read and written.
fn hydrate(mount: &Mount, node: &Node) {
    let command = |more: &[&str]| {
        let mut command = cassmount();
        command.env("CASSMOUNT_STATE_DIR", mount.state_dir()).args(["restore", "hydrate", "--wait"]).args(more);
        command
    };
    let (is_over, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut session = session(node);
            while !is_over.load(Ordering::Relaxed) {
                let (users, docs) = ("SELECT JSON id FROM shop.users", "SELECT JSON id FROM shop.docs");
                assert_eq!(texts(&mut session, users).len(), ROWS - 1);
                assert_eq!(texts(&mut session, docs).len(), ROWS);
                let id = asked.fetch_add(1, Ordering::Relaxed) % ROWS;
                run_cql(&mut session, &format!("INSERT INTO shop.docs (id, rank) VALUES ({id}, {})", id % 11));
            }
        });
        for seconds in [0.3, 0.6, 0.9, 1.2] {
            let until = Instant::now() + Duration::from_secs_f64(seconds);
            assert!(kill_when(&mut command(&["--rate", "20K"]), &|| Instant::now() > until), "it was done before");
        }
        let rest = run(&mut command(&[]), TOOL_DEADLINE);
        is_over.store(true, Ordering::Relaxed);
        rest.expect_success();
    });
    assert!(asked.into_inner() > 0, "nothing was read meanwhile");
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

/// Into one node of a cluster of its own, from the fewest hosts that have every row: with two racks
/// and two replicas, the only host of its rack.
fn load_elsewhere(ring: &Ring, mount: &Mount, truth: &BTreeMap<&'static str, Truth>) {
    let cqlsh = Cqlsh::find().unwrap_or_else(|missing| panic!("{missing}"));
    let node = Node::start(Version::V5_0, &options(RACKS[0], None)).unwrap_or_else(|missing| panic!("{missing}"));
    let loaded = load(&node, mount, &cqlsh, "", &["--at", &ring.tag, "--all", "--create-schema", "--subset"]);
    assert!(
        loaded.stderr.contains("only cass-a is loaded") && loaded.stderr.contains("as of the last repair"),
        "{loaded}"
    );
    let report: serde_json::Value = serde_json::from_str(&loaded.expect_success()).unwrap();
    let tables = report["tables"].as_array().unwrap();
    assert!(
        tables.len() == 3 && tables.iter().all(|of| of["host"] == HOSTS[0] && of["outcome"] == "loaded"),
        "{report}"
    );
    // Cassandra fills the view in the background.
    let until = Instant::now() + TOOL_DEADLINE;
    while node.truth("shop.users_by_name") != truth["shop.users_by_name"] {
        assert!(Instant::now() < until, "the view is not filled");
        std::thread::sleep(Duration::from_millis(200));
    }
    for (table, truth) in truth {
        assert_eq!(node.truth(table), *truth, "{table}");
    }
    assert_eq!(node.json_rows("id FROM shop.docs WHERE rank = 3").len(), (ROWS - 3).div_ceil(11));
}

#[test]
#[ignore = "takes minutes: docs/testing.md"]
fn a_ring_comes_back_whole_and_one_node_after_its_death() {
    const TEST: &str = "a_ring_comes_back_whole_and_one_node_after_its_death";
    let Some(ring) = Ring::new(&RACKS, TEST) else { return };
    ring.write_rows("'dc1': 2", "'dc1': 3");
    let truth = truths(&ring.nodes[0]);
    assert_eq!(truth["shop.users"].rows, ROWS);
    ring.back_up();

    // All are lost, and come back one after the other.
    let sizes: Vec<usize> = ring.nodes.iter().map(|node| node.log().len()).collect();
    ring.nodes.iter().for_each(Node::shut_down);
    let Some(mount) = ring.mount(TEST) else { return };
    for (number, (host, node)) in HOSTS.iter().zip(&ring.nodes).enumerate() {
        wipe(node);
        let words = ["--cold-start", "--source-host", host, "--at", &ring.tag, "--write-config"];
        // What is taken back is all that this machine has.
        if number < 2 {
            kill_at_each_step(&ring, &mount, node, &words, number == 1);
        }
        ring.restore(&mount, node, &words).expect_success();
    }
    for (node, size) in ring.nodes.iter().zip(sizes) {
        node.start_again();
        assert_nothing_was_built(node, size);
    }
    wait_for(&ring.nodes[0], "UN", 3);
    assert_eq!(truths(&ring.nodes[1]), truth);
    assert_indexes(&ring.nodes[2]);
    load_elsewhere(&ring, &mount, &truth);

    // One dies. Another machine takes its place, and learns what it missed.
    let [first, second, dead] = &ring.nodes[..] else { unreachable!() };
    dead.kill(TOOL_DEADLINE);
    wait_for(first, "DN", 1);
    wait_for(second, "DN", 1);
    for page in 0..50 {
        first.cql(&format!("UPDATE shop.hits SET n = n + 5 WHERE page = {page}"));
    }
    first.cql("DELETE FROM shop.users WHERE id = 7");
    let new = Node::stopped(Version::V5_0, &options(RACKS[2], Some(ring.seed())))
        .unwrap_or_else(|missing| panic!("{missing}"));
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
    hydrate(&mount, &new);
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

#[test]
#[ignore = "takes minutes: docs/testing.md"]
fn two_datacenters_come_back_and_a_node_of_the_second_after_its_death() {
    const TEST: &str = "two_datacenters_come_back_and_a_node_of_the_second_after_its_death";
    let Some(ring) = Ring::new(&DATACENTERS, TEST) else { return };
    ring.write_rows("'dc1': 1, 'dc2': 1", "'dc1': 1, 'dc2': 1");
    let truth = truths(&ring.nodes[0]);
    ring.back_up();
    ring.nodes.iter().for_each(Node::shut_down);
    let Some(mount) = ring.mount(TEST) else { return };
    let words = |host| ["--cold-start", "--source-host", host, "--at", &*ring.tag, "--write-config"];
    ring.nodes.iter().for_each(wipe);
    let wrong = ring.restore(&mount, &ring.nodes[0], &words(HOSTS[1]));
    assert!(wrong.stderr.contains("the backup's node has dc=dc2, and"), "{wrong}");
    for (host, node) in HOSTS.iter().zip(&ring.nodes) {
        ring.restore(&mount, node, &words(host)).expect_success();
    }
    ring.nodes.iter().for_each(Node::start_again);
    wait_for(&ring.nodes[0], "UN", 2);
    assert_eq!(truths(&ring.nodes[1]), truth);
    assert_indexes(&ring.nodes[1]);

    let [first, dead] = &ring.nodes[..] else { unreachable!() };
    dead.kill(TOOL_DEADLINE);
    wait_for(first, "DN", 1);
    let new = Node::stopped(Version::V5_0, &options(DATACENTERS[1], Some(ring.seed())));
    let new = new.unwrap_or_else(|missing| panic!("{missing}"));
    let nodetool = first.nodetool_script(ring.work.path(), "");
    let (nodetool, address) = (nodetool.to_str().unwrap(), dead.address.to_string());
    let words = ["--replace", &*address, "--source-host", HOSTS[1], "--nodetool", nodetool, "--write-config"];
    ring.restore(&mount, &new, &words).expect_success();
    new.start_again();
    for node in [first, &new] {
        wait_for(node, "UN", 2);
        node.nodetool(&["repair", "-full"]).expect_success();
    }
    assert_eq!(truths(&new), truth);
    drop(ring);
    drop(new);
    mount.force_unmount();
}
