//! What a load refuses before it has changed anything. The mount is a directory of that form, and no
//! program is asked.

use super::{Load, LoadRequest};
use crate::cassandra::TableName;
use crate::restore::Mount;
use crate::restore::command::Program;
use crate::restore::request::Selection;
use crate::{Error, Kind};
use std::fs;
use std::path::Path;
use std::time::Duration;

const USERS: &str = "shop/users-763dab90e55511f185a85b65bc0eb462";

/// A mount of the host `a`, whose restore point `p` has these directories.
fn load(work: &Path, tables: &[&str]) -> Load {
    let mountpoint = work.join("mnt");
    let point = mountpoint.join("a/restore-points/p");
    fs::create_dir_all(&point).unwrap();
    fs::create_dir_all(mountpoint.join("a/backup-sets/p")).unwrap();
    for table in tables {
        fs::create_dir_all(point.join(table)).unwrap();
    }
    let nothing = Program::at(&work.join("no such program"));
    let mount = Mount { mountpoint, source: "/bucket".to_owned(), cache_dir: work.to_owned() };
    Load { mount, state_dir: work.join("state"), loader: nothing.clone(), cqlsh: nothing, contacts: Vec::new() }
}

fn request(selection: Selection) -> LoadRequest {
    LoadRequest {
        selection,
        at: "p".to_owned(),
        hosts: Vec::new(),
        subset: false,
        create_schema: false,
        allow_incomplete: false,
        again: false,
        jobs: 1,
        rate: None,
        timeout: Duration::from_secs(1),
    }
}

fn table(keyspace: &str, table: &str) -> Selection {
    Selection::Tables(vec![TableName::new(keyspace, table)])
}

#[track_caller]
fn refused(load: &Load, request: &LoadRequest, kind: Kind, why: &str) -> Error {
    let error = load.plan(request).unwrap_err();
    assert!(error.kind() == kind && error.to_string().contains(why), "{why}: {:?}: {error}", error.kind());
    assert!(!load.state_dir.exists(), "something was noted");
    error
}

#[test]
fn what_the_mount_does_not_show_is_refused() {
    let work = tempfile::tempdir().unwrap();
    let load = load(work.path(), &[USERS]);
    let all = request(Selection::Everything);
    assert_eq!(load.plan(&all).unwrap().jobs.len(), 1);
    let of = |hosts: &[&str]| LoadRequest { hosts: hosts.iter().map(ToString::to_string).collect(), ..all.clone() };
    refused(&load, &of(&["b"]), Kind::NotFound, "shows no host \"b\"; it shows a");
    refused(&load, &LoadRequest { at: "q".to_owned(), ..all.clone() }, Kind::NotFound, "a has no restore point \"q\"");
    // One host of two: what it alone had would be missing.
    fs::create_dir_all(load.mount.mountpoint.join("b/restore-points/other")).unwrap();
    refused(&load, &all, Kind::Incomplete, "b has no restore point \"p\"");
    assert_eq!(load.plan(&of(&["a"])).unwrap().jobs.len(), 1);
    fs::write(load.mount.mountpoint.join("a/restore-points/p/INCOMPLETE.txt"), "It lacks:\n\n[shop.users] gone\n")
        .unwrap();
    refused(&load, &of(&["a"]), Kind::Incomplete, "--allow-incomplete takes it all the same");
    let allowed = LoadRequest { allow_incomplete: true, ..of(&["a"]) };
    assert!(load.plan(&allowed).unwrap().lacks[0].contains("gone"));
    let empty = Mount { mountpoint: work.path().join("empty"), ..load.mount.clone() };
    fs::create_dir(&empty.mountpoint).unwrap();
    refused(&Load { mount: empty, ..load }, &all, Kind::NotFound, "no host with restore points");
}

#[test]
fn tables_that_are_not_there_or_are_cassandras_own_are_refused_at_once() {
    let work = tempfile::tempdir().unwrap();
    let load = load(work.path(), &[USERS, "system_auth/roles-5bc52802de2535edaeab188eecebb090"]);
    refused(&load, &request(table("shop", "gone")), Kind::Unsupported, "have no table shop.gone");
    let keyspaces = request(Selection::Keyspaces(vec!["gone".to_owned(), "system_auth".to_owned()]));
    let both = refused(&load, &keyspaces, Kind::Unsupported, "have no table of keyspace gone").to_string();
    assert!(both.contains("system_auth is Cassandra's own, and its rows are not loaded"), "{both}");
    let work = tempfile::tempdir().unwrap();
    refused(&self::load(work.path(), &[]), &request(Selection::Everything), Kind::Unsupported, "have no table");
}

#[test]
fn what_only_system_schema_tells_is_refused_without_it() {
    let work = tempfile::tempdir().unwrap();
    let load = load(work.path(), &[USERS]);
    let all = request(Selection::Everything);
    let created = LoadRequest { create_schema: true, ..all.clone() };
    refused(&load, &created, Kind::Unsupported, "no restore point has system_schema, so tables cannot be created");
    let fewest = LoadRequest { subset: true, ..all };
    refused(&load, &fewest, Kind::Unsupported, "no restore point has system_schema; leave out --subset");
}

#[test]
fn hosts_of_two_clusters_are_not_loaded_into_one() {
    let work = tempfile::tempdir().unwrap();
    let load = load(work.path(), &[USERS]);
    let root = load.mount.mountpoint.clone();
    fs::create_dir_all(root.join("b/restore-points/p").join(USERS)).unwrap();
    for (host, cluster) in [("a", "shops"), ("b", "tests")] {
        let set = root.join(host).join("backup-sets/p");
        fs::create_dir_all(&set).unwrap();
        fs::write(set.join("schema.cql"), "").unwrap();
        fs::write(set.join("backup_manifest.json"), format!("{{\"cluster_name\": \"{cluster}\"}}")).unwrap();
    }
    let all = request(Selection::Everything);
    refused(&load, &all, Kind::Invalid, "several clusters: \"shops\" (a), \"tests\" (b); choose one");
    let of_one = LoadRequest { hosts: vec!["a".to_owned()], ..all };
    assert_eq!(load.plan(&of_one).unwrap().jobs.len(), 1);
}

#[test]
fn an_sstable_that_cassandra_does_not_open_is_left_out_with_leave_and_told() {
    let work = tempfile::tempdir().unwrap();
    let load = load(work.path(), &[USERS]);
    let users = load.mount.mountpoint.join("a/restore-points/p").join(USERS);
    let whole = ["Data.db", "Index.db", "Statistics.db", "CRC.db"].map(|component| format!("nb-1-big-{component}"));
    for name in whole.iter().map(String::as_str).chain(["nb-2-big-Data.db"]) {
        fs::write(users.join(name), "x").unwrap();
    }
    let all = request(Selection::Everything);
    refused(&load, &all, Kind::Corrupt, "nb-2-big has no ");
    let plan = load.plan(&LoadRequest { allow_incomplete: true, ..all }).unwrap();
    assert_eq!(plan.jobs[0].sstables.len(), 1);
    let lack = &plan.lacks[0];
    assert!(lack.starts_with("p of a: shop.users: nb-2-big has no ") && lack.ends_with("and is left out"), "{lack}");
}
