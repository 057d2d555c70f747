//! Each refusal of `restore node`: what speaks against it is said, and nothing is changed.

use super::journal::NodeJournal;
use super::tests::{FILES, Scene};
use super::*;
use crate::cassandra::schema::{Keyspace, OptionValue, Schema, Table};
use crate::cassandra::{SstableName, TableId, TableName};
use crate::restore::check::backup::{BackupTable, SourceNode};
use crate::restore::node::RingToken;
use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

/// A port at which nobody answers.
fn closed() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn settings(change: (&str, &str)) -> Settings {
    let ports = (closed(), closed(), closed());
    let yaml = format!(
        "cluster_name: shops\nnum_tokens: 2\npartitioner: org.apache.cassandra.dht.Murmur3Partitioner\n\
         disk_failure_policy: stop\ndata_file_directories: [/data]\nlisten_address: 127.0.0.9\n\
         rpc_address: 127.0.0.9\nstorage_port: {}\nssl_storage_port: {}\nnative_transport_port: {}\n",
        ports.0, ports.1, ports.2
    );
    assert!(yaml.contains(change.0));
    Settings::parse(Path::new("/etc/c.yaml"), &yaml.replacen(change.0, change.1, 1)).unwrap()
}

const UNCHANGED: (&str, &str) = ("", "");
const HOST: &str = "cass-a";

fn tokens() -> BTreeSet<String> {
    ["-7", "9"].map(str::to_owned).into()
}

fn source() -> SourceNode {
    SourceNode { cluster: Some("shops".to_owned()), tokens: tokens(), ..SourceNode::default() }
}

#[test]
fn each_disagreement_with_the_configuration_is_refused() {
    let told = |change, manner, copy| checks::configuration(&settings(change), &source(), &tokens(), manner, copy);
    assert!(told(UNCHANGED, Manner::ColdStart, false).is_empty());
    let dead = Manner::Replace(Ipv4Addr::new(10, 0, 0, 3).into());
    for (change, manner, why) in [
        (("shops", "others"), Manner::ColdStart, "of the cluster \"shops\", and cluster_name is \"others\""),
        (("Murmur3", "Random"), Manner::ColdStart, "partitioner is RandomPartitioner"),
        (("num_tokens: 2", "num_tokens: 16"), Manner::ColdStart, "has 2 tokens, and num_tokens is 16"),
        (("num_tokens", "initial_token: 1,2\nnum_tokens"), Manner::ColdStart, "initial_token is not that"),
        (("num_tokens", "initial_token: -7,9\nnum_tokens"), dead, "initial_token is set"),
        (("policy: stop", "policy: best_effort"), Manner::ColdStart, "disk_failure_policy is best_effort"),
        (("num_tokens", "local_system_data_file_directory: /s\nnum_tokens"), Manner::ColdStart, "not supported"),
    ] {
        let refusals = told(change, manner, false);
        assert!(refusals.len() == 1 && refusals[0].contains(why), "{change:?}: {refusals:?}");
    }
    assert!(told(("policy: stop", "policy: ignore"), Manner::ColdStart, true).is_empty());
    let none = |tokens: &BTreeSet<String>| {
        checks::configuration(&settings(UNCHANGED), &SourceNode::default(), tokens, Manner::ColdStart, true)
    };
    let nothing = none(&BTreeSet::new());
    assert!(nothing.len() == 1 && nothing[0].contains("--tokens"), "{nothing:?}");
    assert!(none(&tokens()).is_empty());
    let odd = none(&["7", "of a node"].map(str::to_owned).into());
    assert!(odd.len() == 1 && odd[0].contains("which is none of Murmur3Partitioner"), "{odd:?}");
}

#[test]
fn a_node_of_another_rack_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings(UNCHANGED);
    settings.path = directory.path().join("cassandra.yaml");
    let rack = |text: &str| Some(text.to_owned());
    let source = SourceNode { datacenter: rack("dc1"), rack: rack("r1"), ..source() };
    let mut notes = Vec::new();
    assert!(checks::rack(&settings, &source, &mut notes).unwrap().is_empty() && notes.len() == 1);
    settings.snitch = "GossipingPropertyFileSnitch".to_owned();
    checks::rack(&settings, &source, &mut notes).unwrap_err();
    fs::write(directory.path().join("cassandra-rackdc.properties"), "# dc=x\ndc = dc1\nrack=r2\n").unwrap();
    let refusals = checks::rack(&settings, &source, &mut notes).unwrap();
    assert!(
        refusals.len() == 1 && refusals[0].contains("has rack=r1") && refusals[0].ends_with("has rack=r2"),
        "{refusals:?}"
    );
}

#[test]
fn directories_that_are_not_empty_are_refused() {
    let work = tempfile::tempdir().unwrap();
    let [data, hints] = ["data", "hints"].map(|name| work.path().join(name));
    let both = format!("{}, {} are not there: make them", data.display(), hints.display());
    let refusals = checks::not_empty(&data, std::slice::from_ref(&hints)).unwrap();
    assert!(refusals.len() == 1 && refusals[0].starts_with(&both), "{refusals:?}");
    fs::create_dir(&data).unwrap();
    fs::create_dir(data.join("lost+found")).unwrap();
    assert!(checks::not_empty(&data, std::slice::from_ref(&hints)).unwrap().is_empty());
    for directory in [data.join("system"), data.join("shop"), hints.join("1")] {
        fs::create_dir_all(directory).unwrap();
    }
    let refusals = checks::not_empty(&data, &[hints]).unwrap();
    assert!(
        refusals.len() == 2 && refusals[0].contains("(shop, system)") && refusals[1].contains("hints"),
        "{refusals:?}"
    );
}

#[test]
fn a_cassandra_that_runs_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let mut notes = Vec::new();
    assert!(checks::running(&settings(UNCHANGED), data.path(), &mut notes).is_empty());
    let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 9), 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let settings = Settings { native_port: port, ..settings(UNCHANGED) };
    let refusals = checks::running(&settings, data.path(), &mut notes);
    assert!(refusals.len() == 1 && refusals[0].contains(&format!("port {port}")), "{refusals:?}");
    let file = data.path().join("nb-1-big-Data.db");
    fs::write(&file, "").unwrap();
    let input = std::process::Stdio::from(fs::File::open(&file).unwrap());
    let mut holder = std::process::Command::new("sleep").arg("60").stdin(input).spawn().unwrap();
    let refusals = checks::running(&self::settings(UNCHANGED), data.path(), &mut notes);
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(refusals.len() == 1 && refusals[0].contains("stop it"), "{refusals:?}");
}

fn ring(tokens: &[(&str, &str, bool)]) -> Vec<RingToken> {
    let of = |(address, token, is_up): &(&str, &str, bool)| RingToken {
        datacenter: "dc1".to_owned(),
        address: (*address).to_owned(),
        is_up: *is_up,
        owns: None,
        token: (*token).to_owned(),
    };
    tokens.iter().map(of).collect()
}

#[test]
fn what_would_hurt_a_living_cluster_is_refused() {
    let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 10), 0)).unwrap();
    let seeds = vec!["127.0.0.9".to_owned(), listener.local_addr().unwrap().to_string()];
    let alone = settings(UNCHANGED);
    let among = Settings { seeds, ..alone.clone() };
    let cluster = |settings: &Settings, manner, ring: Option<&[RingToken]>| {
        checks::cluster(settings, manner, &tokens(), ring, HOST)
    };
    let one = |refusals: Vec<String>, why: &str| {
        assert!(refusals.len() == 1 && refusals[0].contains(why), "{why}: {refusals:?}");
    };
    assert!(cluster(&alone, Manner::ColdStart, None).is_empty());
    one(cluster(&among, Manner::ColdStart, None), "answers, so the cluster lives");
    // Others of this cold start, which have tokens of their own.
    assert!(cluster(&among, Manner::ColdStart, Some(&ring(&[("10.0.0.1", "1", true)]))).is_empty());
    let lives = ring(&[("10.0.0.1", "1", true), ("10.0.0.2", "9", true)]);
    one(
        cluster(&among, Manner::ColdStart, Some(&lives)),
        "are those of 10.0.0.2, which is up: this node would push it out",
    );

    let dead: IpAddr = Ipv4Addr::new(127, 0, 0, 11).into();
    let replace = |ring: &[(&str, &str, bool)]| cluster(&among, Manner::Replace(dead), Some(&self::ring(ring)));
    assert!(replace(&[("127.0.0.11", "-7", false), ("10.0.0.1", "1", true), ("127.0.0.11", "9", false)]).is_empty());
    one(replace(&[("127.0.0.11", "-7", true), ("127.0.0.11", "9", true)]), "is up, say the others");
    one(replace(&[("127.0.0.11", "-7", false), ("127.0.0.11", "8", false)]), "are not those of 127.0.0.11");
    one(replace(&[("10.0.0.1", "-7", true)]), "knows no node 127.0.0.11");
    one(cluster(&among, Manner::Replace(dead), None), "name its nodetool");
    let gone = ring(&[("127.0.0.11", "-7", false), ("127.0.0.11", "9", false)]);
    one(cluster(&alone, Manner::Replace(dead), Some(&gone)), "it is --cold-start");
    let port = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 11), 0)).unwrap();
    let ports = [port.local_addr().unwrap().port(), closed()];
    let answering = Settings { storage_ports: ports, ..among.clone() };
    one(cluster(&answering, Manner::Replace(dead), Some(&gone)), "is not dead");
}

#[test]
fn what_a_replacement_would_lose_or_bring_back_is_refused() {
    let table = |flag: &str, grace: i32| Table {
        name: "hits".to_owned(),
        id: TableId([1; 16]),
        flags: vec![flag.to_owned()],
        columns: Vec::new(),
        dropped_columns: Vec::new(),
        indexes: Vec::new(),
        triggers: Vec::new(),
        options: vec![("gc_grace_seconds", OptionValue::Integer(grace))],
    };
    let refusals = |table, address: [u8; 4], hours: u64, accepted| {
        let keyspace = Keyspace { name: "shop".to_owned(), tables: vec![table], ..Keyspace::default() };
        let schema = Schema { keyspaces: vec![keyspace] };
        let age = Duration::from_secs(hours * 3600);
        checks::replacement(&settings(UNCHANGED), Ipv4Addr::from(address).into(), &schema, age, accepted)
    };
    let (own, other) = ([127, 0, 0, 9], [127, 0, 0, 8]);
    assert!(refusals(table("counter", 864_000), other, 1, (false, false)).is_empty());
    assert!(refusals(table("compound", 864_000), own, 1, (false, false)).is_empty());
    let counters = refusals(table("counter", 864_000), own, 1, (false, false));
    assert!(counters[0].contains("(shop.hits) would lose for good"), "{counters:?}");
    assert!(refusals(table("counter", 864_000), own, 1, (true, false)).is_empty());
    let old = refusals(table("compound", 3600), other, 2, (false, false));
    assert!(old[0].contains("2 h old, and shop.hits has gc_grace_seconds = 3600"), "{old:?}");
    assert!(refusals(table("compound", 3600), other, 2, (false, true)).is_empty());
}

#[test]
fn the_schema_goes_where_cassandra_looks_for_it() {
    let two = settings(("data_file_directories: [/data]", "data_file_directories: [/one, /two]"));
    assert_eq!(data_dir(&two, None).unwrap(), Path::new("/one"));
    assert_eq!(data_dir(&two, Some(Path::new("/one"))).unwrap(), Path::new("/one"));
    assert!(data_dir(&two, Some(Path::new("/two"))).unwrap_err().to_string().contains("/one: only there"));
    assert_eq!(two.others()[0], Path::new("/two"));
}

#[test]
fn sstables_that_are_too_new_are_refused() {
    let name = |text: &str| SstableName::parse_component(text).unwrap().sstable;
    let check = |installed, text| checks::version(installed, &TableName::new("a", "b"), &name(text));
    assert_eq!(check(Some((4, 1)), "nb-1-big-Data.db"), None);
    assert_eq!(check(None, "da-1-bti-Data.db"), None);
    assert!(
        check(Some((4, 1)), "oa-1-big-Data.db").unwrap().contains("Cassandra 5.0 (oa-1-big), and 4.1 is installed")
    );
    assert!(check(None, "zz-1-big-Data.db").is_some());
}

fn request() -> NodeRequest {
    NodeRequest {
        manner: Manner::ColdStart,
        source_host: None,
        at: "p".to_owned(),
        copy: false,
        allow_incomplete: false,
        accept_counter_loss: false,
        accept_deleted_rows: false,
        indexes_are_built: false,
        cassandra_yaml: None,
        data_dir: None,
        tokens: Vec::new(),
        installed: None,
        nodetool: None,
        write_config: false,
        repeated: String::new(),
    }
}

/// A mount that shows the host `a` with the restore point `p`, and a node's configuration.
fn machine(scene: &Scene) -> (NodeRestore, NodeRequest) {
    let mountpoint = scene.work.mountpoint.clone();
    let host = mountpoint.join("a");
    for directory in ["restore-points/p", "backup-sets/p"] {
        fs::create_dir_all(host.join(directory)).unwrap();
    }
    fs::write(host.join("backup-sets/p/schema.cql"), "").unwrap();
    let manifest = r#"{"cluster_name": "shops", "source_node": {"tokens": ["-7", "9"]}}"#;
    fs::write(host.join("backup-sets/p/backup_manifest.json"), manifest).unwrap();
    let yaml = scene.directory().join("node.yaml");
    let text = format!(
        "cluster_name: shops\nnum_tokens: 2\npartitioner: Murmur3Partitioner\ndisk_failure_policy: stop\n\
         data_file_directories: [{}]\nlisten_address: 127.0.0.9\nrpc_address: 127.0.0.9\nstorage_port: {}\n\
         ssl_storage_port: {}\nnative_transport_port: {}\n",
        scene.work.data_dir.display(),
        closed(),
        closed(),
        closed()
    );
    fs::write(&yaml, text).unwrap();
    let mount = Mount { mountpoint, source: "/bucket".to_owned(), cache_dir: scene.directory().to_owned() };
    (NodeRestore { mount, journals: scene.journals() }, NodeRequest { cassandra_yaml: Some(yaml), ..request() })
}

#[track_caller]
fn refused(restore: &NodeRestore, request: &NodeRequest, kind: Kind, why: &str) {
    let error = restore.prepare(request, &|_| {}).unwrap_err();
    assert!(error.kind() == kind && error.to_string().contains(why), "{why}: {:?}: {error}", error.kind());
    let data = fs::read_dir(restore.mount.mountpoint.with_file_name("data")).unwrap().count();
    assert_eq!(data, 0, "something was put there");
}

#[test]
fn what_the_mount_does_not_show_is_refused() {
    let scene = Scene::new(false);
    let (restore, request) = machine(&scene);
    let of = |host: &str, at: &str| NodeRequest {
        source_host: Some(host.to_owned()).filter(|host| !host.is_empty()),
        at: at.to_owned(),
        ..request.clone()
    };
    // Its tables lack a schema: nothing else speaks against it.
    refused(&restore, &of("", "p"), Kind::Unsupported, "p of a has no system_schema");
    refused(&restore, &of("b", "p"), Kind::NotFound, "shows no host \"b\"; it shows a");
    refused(&restore, &of("a", "q"), Kind::NotFound, "a has no restore point \"q\"");
    fs::write(restore.mount.mountpoint.join("a/restore-points/p/INCOMPLETE.txt"), "It lacks:\n\n[shop.users] gone\n")
        .unwrap();
    refused(&restore, &of("a", "p"), Kind::Incomplete, "gone");
    let allowed = NodeRequest { allow_incomplete: true, ..of("a", "p") };
    refused(&restore, &allowed, Kind::Unsupported, "has no system_schema");
    fs::create_dir_all(restore.mount.mountpoint.join("b/restore-points/p")).unwrap();
    refused(&restore, &of("", "p"), Kind::Invalid, "--source-host (a, b)");
    let empty = Mount { mountpoint: scene.directory().join("empty"), ..restore.mount.clone() };
    fs::create_dir(&empty.mountpoint).unwrap();
    let nothing = NodeRestore { mount: empty, ..restore.clone() };
    refused(&nothing, &of("", "p"), Kind::NotFound, "no host with restore points");
}

#[test]
fn all_that_speaks_against_it_is_told_at_once() {
    let scene = Scene::new(false);
    let (restore, request) = machine(&scene);
    let yaml = request.cassandra_yaml.as_ref().unwrap();
    let text = fs::read_to_string(yaml).unwrap();
    fs::write(
        yaml,
        text.replace("cluster_name: shops", "cluster_name: others").replace("policy: stop", "policy: ignore"),
    )
    .unwrap();
    let nameless = restore.mount.mountpoint.join("a/restore-points/p/shop/orders");
    fs::create_dir_all(nameless).unwrap();
    let error = restore.prepare(&request, &|_| {}).unwrap_err().to_string();
    for why in
        ["cluster_name is \"others\"", "disk_failure_policy is ignore", "has no system_schema", "the id of shop.orders"]
    {
        assert!(error.contains(why), "{why}: {error}");
    }
    let dead = NodeRequest { manner: Manner::Replace(Ipv4Addr::new(127, 0, 0, 11).into()), ..request };
    assert!(restore.prepare(&dead, &|_| {}).unwrap_err().to_string().contains("name its nodetool"));
}

#[test]
fn a_table_without_an_id_is_refused_and_others_are_left_out() {
    let place = |keyspace: &str, directory: &str, manner| {
        let name = TableName::new(keyspace, directory.split('-').next().unwrap());
        let table = BackupTable { name, host: "a".to_owned(), tag: "p".to_owned(), directory: directory.into() };
        plan::place(&table, &NodeRequest { manner, ..request() })
    };
    let dead = Manner::Replace(Ipv4Addr::new(127, 0, 0, 11).into());
    let users = "users-763dab90e55511f185a85b65bc0eb462";
    assert_eq!(place("shop", users, dead).unwrap().unwrap(), format!("shop/{users}"));
    assert!(place("shop", "users", dead).unwrap_err().contains("the id of shop.users is not known"));
    let built = place("system", "built_views", Manner::ColdStart).unwrap().unwrap();
    assert_eq!(built, "system/built_views-4b3c50a9ea873d7691016dbc9c38494a");
    for (keyspace, table) in [("system", "local"), ("system_traces", "events"), ("system_cluster_metadata", "x")] {
        assert_eq!(place(keyspace, table, Manner::ColdStart).unwrap(), None, "{keyspace}.{table}");
    }
    assert!(place("system_schema", "tables", Manner::ColdStart).unwrap().is_some());
    assert_eq!(place("system_schema", "tables", dead).unwrap(), None, "the cluster tells it");
}

#[test]
fn what_does_not_fit_is_refused() {
    let scene = Scene::new(true);
    plan::room(&scene.work).unwrap();
    let mut work = scene.work.clone();
    work.tables[0].directories[0].sstables[0].components.insert("Data.db".to_owned(), u64::MAX >> 1);
    assert_eq!(plan::room(&work).unwrap_err().kind(), Kind::NoSpace);
}

#[test]
fn another_command_does_not_go_on_with_what_was_begun() {
    let scene = Scene::new(false);
    let (restore, request) = machine(&scene);
    // Of the same host and point: goes on.
    scene.run(0).unwrap_err();
    assert!(matches!(restore.prepare(&request, &|_| {}).unwrap(), NodeWork::Begun(_)));
    let other = |request: NodeRequest| restore.prepare(&request, &|_| {}).unwrap_err();
    let dead = Manner::Replace(Ipv4Addr::new(127, 0, 0, 11).into());
    for other in [
        other(NodeRequest { copy: true, ..request.clone() }),
        other(NodeRequest { manner: dead, ..request.clone() }),
        other(NodeRequest { source_host: Some("b".to_owned()), ..request.clone() }),
    ] {
        assert!(other.kind() == Kind::Busy && other.to_string().contains("put there by another command"), "{other}");
    }
    // Cassandra was started in between.
    fs::create_dir_all(scene.work.data_dir.join("system/local-1")).unwrap();
    assert!(other(request.clone()).to_string().contains("was started before all was put there"));
    fs::remove_dir_all(scene.work.data_dir.join("system")).unwrap();
    // Another one is at work, or it is being taken back.
    let mut journal = NodeJournal::open(&scene.state_dir(), &scene.work.data_dir).unwrap().unwrap();
    assert!(other(request.clone()).to_string().contains("another cassmount is at work"));
    journal.step(NodeStep::Undoing).unwrap();
    drop(journal);
    assert!(other(request).to_string().contains("is being taken back"));
}

#[test]
fn what_changed_under_it_is_refused() {
    // Somebody made the table meanwhile, or took away what was put together for it.
    for is_there in [true, false] {
        let scene = Scene::new(true);
        scene.run(FILES.len() + 1).unwrap_err();
        let table = scene.work.tables.iter().find(|table| !scene.work.data_dir.join(&table.place).exists()).unwrap();
        if is_there {
            fs::create_dir_all(scene.work.data_dir.join(&table.place)).unwrap();
        } else {
            fs::remove_dir_all(scene.work.staging().join(&table.place)).unwrap();
        }
        let error = scene.run(usize::MAX).unwrap_err();
        let (kind, why) = if is_there { (Kind::Exists, "was Cassandra started?") } else { (Kind::Changed, "has gone") };
        assert!(error.kind() == kind && error.to_string().contains(why), "{error}");
    }
    // A file of the backup is another one by now.
    let scene = Scene::new(true);
    fs::write(scene.work.mountpoint.join(FILES[0]), "of another length").unwrap();
    assert_eq!(scene.run(usize::MAX).unwrap_err().kind(), Kind::Corrupt);
    // The table has links of another restore.
    let mut scene = Scene::new(false);
    scene.run(usize::MAX).unwrap();
    fs::remove_dir_all(scene.state_dir().join("restore-node")).unwrap();
    fs::remove_dir_all(&scene.work.data_dir).unwrap();
    fs::create_dir(&scene.work.data_dir).unwrap();
    let yaml = scene.directory().join("cassandra.yaml");
    fs::rename(yaml.with_extension("yaml.before-cassmount"), &yaml).unwrap();
    scene.work.started.0 += 1;
    let error = scene.run(usize::MAX).unwrap_err();
    assert!(error.kind() == Kind::Busy && error.to_string().contains("of another restore"), "{error}");
}

#[test]
fn a_copy_of_the_configuration_that_is_another_is_not_overwritten() {
    let scene = Scene::new(false);
    fs::write(scene.directory().join("cassandra.yaml.before-cassmount"), "of somebody else").unwrap();
    let error = scene.run(usize::MAX).unwrap_err();
    assert!(error.kind() == Kind::Exists && error.to_string().contains("move it away"), "{error}");
}
