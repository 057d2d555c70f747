use super::journal::{PlacedDirectory, PlacedSstable, tests};
use super::*;
use crate::restore::check::backup;
use crate::restore::{Abort, Node, Statuses, Step, guard, status};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A data directory, a directory that stands for the mount, and the journals.
pub(super) struct Scene {
    directory: tempfile::TempDir,
    pub(super) work: Work,
}

pub(super) const FILES: [&str; 5] = [
    "shop/users-1/nb-1-big-Data.db",
    "shop/users-1/nb-1-big-Statistics.db",
    "shop/users-1/.by_name/nb-1-big-Data.db",
    "shop/users-1/.by_name/nb-1-big-Statistics.db",
    "system_schema/tables-2/nb-1-big-Data.db",
];

/// A file that the backup has not.
const MADE: (&str, &str) = ("system/IndexInfo-3/nb-1-big-Data.db", "made here");

pub(super) fn made() -> Made {
    Made { files: [(MADE.0.to_owned(), MADE.1.as_bytes().to_vec())].into(), ..Made::default() }
}

impl Scene {
    pub(super) fn new(copy: bool) -> Self {
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

    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn state_dir(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub(super) fn journals(&self) -> Journals {
        Journals::new(&self.state_dir(), &[])
    }

    /// Does what is left to do; ends as if killed at the step of this number.
    pub(super) fn run(&self, killed_at: usize) -> Result<()> {
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
    // Cassandra has files of the mount open until it is restarted.
    let input = fs::File::open(scene.work.mountpoint.join(FILES[0])).unwrap();
    let mut reader = std::process::Command::new("sleep").arg("60").stdin(input).spawn().unwrap();
    let next = status(&scene.journals()).unwrap().nodes[0].next.join("\n");
    let refused = forget_nodes(&scene.journals()).map_err(|why| why.to_string());
    reader.kill().unwrap();
    reader.wait().unwrap();
    assert!(next.contains(&format!("(pid {}) still reads files", reader.id())), "{next}");
    assert!(refused.unwrap_err().contains("restart Cassandra"));
    assert!(!status(&scene.journals()).unwrap().nodes[0].next.join("\n").contains("still reads"));
    assert_eq!(forget_nodes(&scene.journals()).unwrap(), std::slice::from_ref(&scene.work.data_dir));
    assert_eq!(forget_nodes(&scene.journals()).unwrap_err().kind(), Kind::NotFound);
    // Its tables are the node's own now: nobody takes them away with some other table.
    let all = status(&scene.journals()).unwrap();
    assert!(all.tables.is_empty() && all.nodes.is_empty() && all.errors.is_empty());
    assert!(scene.abort().is_empty());
    for file in FILES {
        assert!(scene.work.data_dir.join(file).exists(), "{file}");
    }
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
