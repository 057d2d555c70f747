//! How the backups in a mount are found.

use super::*;
use std::os::unix::fs::symlink;

/// As a mount has it, as far as it is looked at here.
fn mount() -> tempfile::TempDir {
    let mount = tempfile::tempdir().unwrap();
    let host = mount.path().join("node1");
    for (tag, seconds) in [("2026-11-20-03-00", 1000), ("2026-11-21-03-00", 2000)] {
        let table = host.join("restore-points").join(tag).join("shop/users-763dab90e55511f185a85b65bc0eb462");
        fs::create_dir_all(&table).unwrap();
        let set = host.join("backup-sets").join(tag);
        fs::create_dir_all(&set).unwrap();
        let point = fs::File::open(host.join("restore-points").join(tag)).unwrap();
        point.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
    }
    symlink("2026-11-21-03-00", host.join("restore-points/latest")).unwrap();
    let full = host.join("backup-sets/2026-11-20-03-00");
    fs::write(full.join("schema.cql"), "").unwrap();
    fs::write(full.join("backup_manifest.json"), r#"{"cluster_name": "shops", "source_node": {"tokens": ["-1", 7]}}"#)
        .unwrap();
    mount
}

#[test]
fn a_point_tells_how_much_of_it_is_archived() {
    let mount = mount();
    let point = hosts(mount.path()).unwrap()[0].point("latest").unwrap();
    let archived = Archived { objects: 2, bytes: 9 }.line();
    let text = format!("It lacks:\n\n[shop.users] it is archived\n\n{archived}\n\nnone is whole\n");
    fs::write(point.root.join(INCOMPLETE), text).unwrap();
    let (lacks, instead) = point.lacks(&Selection::Everything).unwrap();
    assert_eq!(lacks, ["it is archived"]);
    let said = point.is_incomplete(&lacks, &instead);
    assert!(said.contains("2 objects of 9 bytes; `cassmount thaw`") && said.contains("none is whole"), "{said}");
}

#[test]
fn points_are_found_by_any_of_their_names() {
    let mount = mount();
    let hosts = hosts(mount.path()).unwrap();
    let host = &hosts[0];
    assert_eq!((hosts.len(), &*host.name), (1, "node1"));
    for (at, tag) in [("latest", "2026-11-21-03-00"), ("2026-11-20-03-00", "2026-11-20-03-00")] {
        assert_eq!(host.point(at).unwrap().tag, tag);
    }
    assert_eq!(host.newest().unwrap(), Some(host.point("latest").unwrap()));
    let error = host.point("2025").unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("to 2026-11-21-03-00"), "{error}");
    assert!(host.point("../..").is_err());
}

#[test]
fn tokens_are_those_of_the_full_before() {
    let mount = mount();
    let host = hosts(mount.path()).unwrap().remove(0);
    let tokens: Vec<String> = host.tokens("2026-11-21-03-00").unwrap().into_iter().collect();
    assert_eq!(tokens, ["-1", "7"]);
    assert_eq!(host.cluster("latest").unwrap().as_deref(), Some("shops"));
    assert!(host.tokens("2026-11-19").unwrap().is_empty());
    // Of Medusa, which has a map of all nodes beside each backup.
    let set = mount.path().join("node1/backup-sets/2026-11-21-03-00");
    fs::remove_file(mount.path().join("node1/backup-sets/2026-11-20-03-00/backup_manifest.json")).unwrap();
    let map = r#"{"node1": {"tokens": [5], "dc": "dc1", "rack": "r1"}, "node2": {"tokens": [6]}}"#;
    fs::write(set.join("tokenmap.json"), map).unwrap();
    let node = host.source_node("2026-11-21-03-00").unwrap();
    assert_eq!((node.rack.as_deref(), node.tokens), (Some("r1"), ["5".to_owned()].into()));
    fs::write(set.join("tokenmap.json"), "[]").unwrap();
    let error = host.tokens("2026-11-21-03-00").unwrap_err().to_string();
    assert!(error.contains("03-00/tokenmap.json: "), "{error}");
}

#[test]
fn tables_have_the_names_of_their_directories() {
    let mount = mount();
    let point = hosts(mount.path()).unwrap().remove(0).point("latest").unwrap();
    let tables = point.tables(None).unwrap();
    assert_eq!(tables.len(), 1);
    assert_eq!(tables[0].name, TableName::new("shop", "users"));
    assert!(point.tables(Some("none")).unwrap().is_empty());
    assert_eq!(table_of("bare"), "bare");
}
