use super::journal::{PlacedDirectory, PlacedSstable, tests};
use super::*;
use crate::cassandra::schema::{Keyspace, OptionValue, Schema, Table};
use crate::cassandra::{SstableName, TableId, TableName};
use crate::restore::check::backup::{self, SourceNode};
use crate::restore::node::RingToken;
use crate::restore::{Abort, Node, Statuses, Step, guard, status};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A port at which nobody answers.
fn closed() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn settings(change: (&str, &str)) -> Settings {
    let ports = (closed(), closed(), closed());
    let yaml = format!(
        "cluster_name: shops\nnum_tokens: 2\npartitioner: org.apache.cassandra.dht.Murmur3Partitioner\ndisk_failure_policy: stop\ndata_file_directories: [/data]\nlisten_address: 127.0.0.9\nrpc_address: 127.0.0.9\nstorage_port: {}\nssl_storage_port: {}\nnative_transport_port: {}\n",
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
    let nothing =
        checks::configuration(&settings(UNCHANGED), &SourceNode::default(), &BTreeSet::new(), Manner::ColdStart, true);
    assert!(nothing[0].contains("of which cluster") && nothing[1].contains("--tokens"), "{nothing:?}");
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
    assert!(checks::not_empty(&data, std::slice::from_ref(&hints)).unwrap()[0].contains("is not there"));
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

/// A data directory, a directory that stands for the mount, and the journals.
struct Scene {
    directory: tempfile::TempDir,
    work: Work,
}

const FILES: [&str; 5] = [
    "shop/users-1/nb-1-big-Data.db",
    "shop/users-1/nb-1-big-Statistics.db",
    "shop/users-1/.by_name/nb-1-big-Data.db",
    "shop/users-1/.by_name/nb-1-big-Statistics.db",
    "system_schema/tables-2/nb-1-big-Data.db",
];

/// A file that the backup has not.
const MADE: (&str, &str) = ("system/IndexInfo-3/nb-1-big-Data.db", "made here");

fn made() -> Made {
    Made { files: [(MADE.0.to_owned(), MADE.1.as_bytes().to_vec())].into(), ..Made::default() }
}

impl Scene {
    fn new(copy: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let [mount, data] = ["mnt", "data"].map(|name| directory.path().join(name));
        fs::create_dir(&data).unwrap();
        let yaml = directory.path().join("cassandra.yaml");
        fs::write(&yaml, "cluster_name: c\n").unwrap();
        for file in FILES {
            let path = mount.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        let mut work = tests::work(&data);
        (work.mountpoint, work.copy, work.commitlog) = (mount, copy, directory.path().join("commitlog"));
        work.needs = vec![journal::ConfigNeed { file: yaml, lines: vec!["auto_bootstrap: false".to_owned()] }];
        let places: BTreeSet<&str> =
            FILES.iter().map(|file| &file[..file.match_indices('/').nth(1).unwrap().0]).collect();
        work.tables = places.into_iter().map(|place| table(&work, place)).collect();
        let components = [("Data.db".to_owned(), MADE.1.len() as u64)].into();
        let sstables = vec![PlacedSstable { name: "nb-1-big".to_owned(), components }];
        work.tables.push(PlacedTable {
            keyspace: "system".to_owned(),
            table: "IndexInfo".to_owned(),
            place: "system/IndexInfo-3".to_owned(),
            from: PathBuf::new(),
            as_files: true,
            directories: vec![PlacedDirectory { below: String::new(), sstables }],
        });
        Self { directory, work }
    }

    fn state_dir(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn journals(&self) -> Journals {
        Journals::new(&self.state_dir(), &[])
    }

    /// Does what is left to do; ends as if killed at the step of this number.
    fn run(&self, killed_at: usize) -> Result<()> {
        let mut journal = match NodeJournal::open(&self.state_dir(), &self.work.data_dir)? {
            Some(journal) => journal,
            None => NodeJournal::begin(&self.state_dir(), self.work.clone(), made())?,
        };
        let number = AtomicUsize::new(0);
        let tell = |_| match number.fetch_add(1, Ordering::Relaxed) {
            number if number == killed_at => Err(Error::new(Kind::Interrupted, "killed")),
            _ => Ok(()),
        };
        if journal.state.step < NodeStep::Placing {
            place::stage(&mut journal, &tell)?;
        }
        config::write(&mut journal)?;
        if journal.state.step < NodeStep::Placed {
            place::place(&mut journal, &self.journals(), &tell)?;
        }
        Ok(())
    }

    fn assert_whole(&self) {
        for file in FILES {
            let path = self.work.data_dir.join(file);
            assert_eq!(fs::read_to_string(&path).unwrap(), file);
            let is_link = path.is_symlink();
            assert_eq!(is_link, !self.work.copy && file.starts_with("shop"), "{file}");
        }
        assert_eq!(fs::read_to_string(self.work.data_dir.join(MADE.0)).unwrap(), MADE.1);
        assert!(!self.work.staging().exists());
        let yaml = fs::read_to_string(self.directory.path().join("cassandra.yaml")).unwrap();
        assert_eq!(yaml.matches("auto_bootstrap: false").count(), 1);
    }

    fn abort(&self) -> Vec<NodeAbort> {
        let node = Node::new(Program::parse("sh -c 'echo Failed to connect >&2; exit 1'").unwrap());
        let abort = Abort { node, refresh: Duration::from_secs(9) };
        for table in abort.run(&self.journals(), &[]).unwrap() {
            assert!(table.error.is_none(), "{table:?}");
        }
        abort.nodes(&self.journals()).unwrap()
    }

    fn assert_as_before(&self) {
        assert_eq!(fs::read_dir(&self.work.data_dir).unwrap().count(), 0);
        let names: BTreeSet<_> =
            fs::read_dir(self.directory.path()).unwrap().map(|of| of.unwrap().file_name()).collect();
        assert_eq!(names, ["cassandra.yaml", "data", "mnt", "state"].map(Into::into).into());
        let yaml = fs::read_to_string(self.directory.path().join("cassandra.yaml")).unwrap();
        assert_eq!(yaml, "cluster_name: c\n");
        let Statuses { tables, nodes, errors } = status(&self.journals()).unwrap();
        assert!(tables.is_empty() && nodes.is_empty() && errors.is_empty());
    }
}

#[test]
fn what_it_was_put_together_without_lies_beside_it_and_goes_with_it() {
    let scene = Scene::new(false);
    scene.run(usize::MAX).unwrap();
    let place = scene.work.data_dir.join("INCOMPLETE.txt");
    lacking::write(&scene.work, &[]).unwrap();
    assert!(!place.exists());
    lacking::write(&scene.work, &["2026-11-21-02-48 lacks shop.users".to_owned()]).unwrap();
    let text = fs::read_to_string(&place).unwrap();
    assert!(text.contains("[*] 2026-11-21-02-48 lacks shop.users\n"), "{text}");
    scene.abort();
    scene.assert_as_before();
    fs::write(&place, "of somebody else").unwrap();
    lacking::remove(&scene.work).unwrap();
    assert!(place.exists());
}

fn table(work: &Work, place: &str) -> PlacedTable {
    let (keyspace, directory) = place.split_once('/').unwrap();
    let mut directories: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for file in FILES.iter().filter_map(|file| file.strip_prefix(&format!("{place}/"))) {
        let (below, name) = file.rsplit_once('/').unwrap_or(("", file));
        let component = name.strip_prefix("nb-1-big-").unwrap().to_owned();
        let size = fs::metadata(work.mountpoint.join(place).join(file)).unwrap().len();
        directories.entry(below.to_owned()).or_default().insert(component, size);
    }
    let sstables = |components| vec![PlacedSstable { name: "nb-1-big".to_owned(), components }];
    PlacedTable {
        keyspace: keyspace.to_owned(),
        table: directory.split('-').next().unwrap().to_owned(),
        place: place.to_owned(),
        from: work.mountpoint.join(place),
        as_files: work.copy || keyspace == "system_schema",
        directories: directories
            .into_iter()
            .map(|(below, of)| PlacedDirectory { below, sstables: sstables(of) })
            .collect(),
    }
}

#[test]
fn what_was_killed_is_completed_or_taken_back() {
    for copy in [false, true] {
        let mut killed = 0;
        for step in 0.. {
            let (again, back) = (Scene::new(copy), Scene::new(copy));
            if again.run(step).is_ok() {
                again.assert_whole();
                break;
            }
            killed += 1;
            let guarded = guard(&again.journals(), &[], Duration::from_secs(20)).unwrap().reasons;
            assert!(guarded.iter().any(|why| why.contains("did not come to its end")), "{guarded:?}");
            again.run(usize::MAX).unwrap();
            again.assert_whole();
            assert!(guard(&again.journals(), &[], Duration::from_secs(20)).unwrap().reasons.is_empty());
            back.run(step).unwrap_err();
            assert!(back.abort().iter().all(|of| of.undone && of.left.is_empty()));
            back.assert_as_before();
        }
        assert_eq!(killed, FILES.len() + 2 + 2);
    }
}

#[test]
fn a_node_is_known_until_it_is_forgotten() {
    let scene = Scene::new(false);
    scene.run(usize::MAX).unwrap();
    let all = status(&scene.journals()).unwrap();
    let table = &all.tables[0];
    let sizes: u64 = FILES[..4].iter().map(|file| file.len() as u64).sum();
    assert_eq!((table.step, table.sstables, table.linked, table.remote_bytes), (Step::Open, 2, 2, sizes));
    let next = all.nodes[0].next.join("\n");
    assert!(next.contains("hydrate --wait") && next.contains("guard --write-config"), "{next}");
    assert!(next.contains("auto_bootstrap: false") && !next.contains("add to"), "{next}");
    let why = forget_nodes(&scene.journals()).unwrap_err();
    assert!(why.kind() == Kind::Busy && why.to_string().contains("hydrate"), "{why}");

    // As if Cassandra was started, and all became local.
    fs::create_dir_all(scene.work.data_dir.join("system/local-1")).unwrap();
    let options = crate::restore::HydrationOptions { rate: None, keep_free: 0 };
    let hydration = crate::restore::Hydration::open(&scene.journals(), &[], options).unwrap();
    assert_eq!(hydration.remote_bytes(), sizes);
    assert!(hydration.run(&mut |_| {}).iter().all(|of| of.left == 0 && of.error.is_none()));
    let all = status(&scene.journals()).unwrap();
    assert_eq!((all.tables[0].linked, all.tables[0].hydrated, all.tables[0].compacted), (0, 2, 0));
    assert!(all.nodes[0].has_started);
    assert_eq!(forget_nodes(&scene.journals()).unwrap_err().kind(), Kind::Busy);
    fs::write(scene.directory.path().join("cassandra.yaml"), "cluster_name: c\n").unwrap();
    assert_eq!(forget_nodes(&scene.journals()).unwrap(), std::slice::from_ref(&scene.work.data_dir));
    assert_eq!(forget_nodes(&scene.journals()).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn what_cassandra_has_written_since_stays() {
    let scene = Scene::new(true);
    scene.run(usize::MAX).unwrap();
    fs::create_dir_all(scene.work.data_dir.join("system/local-1")).unwrap();
    let (newer, replaced) =
        (scene.work.data_dir.join("shop/users-1/nb-2-big-Data.db"), scene.work.data_dir.join(FILES[0]));
    fs::write(&newer, "newer").unwrap();
    // A name that was given anew, after compaction.
    let other = scene.directory.path().join("other");
    fs::write(&other, "of another SSTable").unwrap();
    fs::rename(&other, &replaced).unwrap();
    let reports = scene.abort();
    assert_eq!(reports[0].left, [scene.work.data_dir.join("shop/users-1")]);
    assert!(newer.exists() && replaced.exists());
    assert!(!scene.work.data_dir.join(FILES[1]).exists() && !scene.work.data_dir.join("system_schema").exists());
}

#[test]
fn a_disk_that_is_away_takes_no_journal_with_it() {
    let scene = Scene::new(true);
    scene.run(usize::MAX).unwrap();
    let away = scene.directory.path().join("away");
    fs::rename(&scene.work.data_dir, &away).unwrap();
    let all = status(&scene.journals()).unwrap();
    assert!(all.nodes.is_empty() && all.errors[0].error.contains("is the disk mounted"), "{all:?}");
    // Its mount point alone.
    fs::create_dir(&scene.work.data_dir).unwrap();
    let reports = scene.abort();
    assert!(!reports[0].undone && reports[0].error.as_ref().unwrap().contains("is the disk mounted"), "{reports:?}");
    fs::remove_dir(&scene.work.data_dir).unwrap();
    fs::rename(&away, &scene.work.data_dir).unwrap();
    assert!(scene.abort()[0].undone);
    scene.assert_as_before();
}

#[test]
fn the_other_machines_are_those_of_the_cluster() {
    let mount = tempfile::tempdir().unwrap();
    for (host, cluster) in [("a", "shops"), ("b c", "shops"), ("d", "media")] {
        let root = mount.path().join(host);
        let set = root.join("backup-sets/2026-11-21-03-00");
        fs::create_dir_all(root.join("restore-points/2026-11-21-03-00")).unwrap();
        fs::create_dir_all(&set).unwrap();
        fs::write(set.join("schema.cql"), "").unwrap();
        fs::write(set.join("backup_manifest.json"), format!(r#"{{"cluster_name": "{cluster}"}}"#)).unwrap();
    }
    let hosts = backup::hosts(mount.path()).unwrap();
    let point = hosts[0].point("2026-11-21-03-00").unwrap();
    let others = |cluster| plan::others(&hosts, &point, "2026-11-21-03-00", cluster);
    assert_eq!(others(Some("shops")), ["'b c' --at 2026-11-21-03-00"]);
    assert_eq!(others(None).len(), 2);
}
