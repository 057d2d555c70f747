//! The catalog of the sample bucket, through the real store: every set, kind, time, offset and
//! count.

use cassmount::catalog::{Catalog, CatalogOptions, Host, SetKind, missing_from_full, tables_of};
use cassmount::store::{Source, Store, StoreOptions};
use std::sync::Arc;

/// Tag, kind, manifest's time, archives; as `sample/README.md` and the manifests have them.
type Row = (&'static str, SetKind, &'static str, usize);

const FULL: SetKind = SetKind::Full;
const INCREMENTAL: SetKind = SetKind::Incremental;

const CASS_A: [Row; 6] = [
    ("2026-11-21-02-45", FULL, "2026-11-21T02:45:24Z", 31),
    ("2026-11-21-02-47", INCREMENTAL, "2026-11-21T02:47:03Z", 7),
    ("2026-11-21-02-48", INCREMENTAL, "2026-11-21T02:48:03Z", 8),
    ("2026-11-21-02-49", INCREMENTAL, "2026-11-21T02:49:02Z", 10),
    ("2026-11-21-02-50", FULL, "2026-11-21T02:51:06Z", 31),
    ("2026-11-21-02-52", INCREMENTAL, "2026-11-21T02:52:05Z", 6),
];

const CASS_B: [Row; 6] = [
    ("2026-11-21-02-45", FULL, "2026-11-21T02:46:01Z", 31),
    ("2026-11-21-02-47", INCREMENTAL, "2026-11-21T02:47:06Z", 7),
    ("2026-11-21-02-48", INCREMENTAL, "2026-11-21T02:48:06Z", 8),
    ("2026-11-21-02-49", INCREMENTAL, "2026-11-21T02:49:05Z", 10),
    ("2026-11-21-02-51", FULL, "2026-11-21T02:51:38Z", 31),
    ("2026-11-21-02-52", INCREMENTAL, "2026-11-21T02:52:09Z", 6),
];

fn sample() -> Arc<Catalog> {
    let bucket = concat!(env!("CARGO_MANIFEST_DIR"), "/sample/bucket");
    let store = Store::open(&Source::parse(bucket).unwrap(), &StoreOptions::default()).unwrap();
    Catalog::open(Arc::new(store), CatalogOptions::default())
}

#[tokio::test]
async fn every_set() {
    let catalog = sample();
    let hosts = catalog.hosts().await.unwrap();
    assert_eq!(hosts.hosts, [Host::new("cass-a"), Host::new("cass-b")]);
    assert!(hosts.strays.is_empty());
    for (host, rows, address, token) in [
        ("cass-a", CASS_A, "127.0.0.1", "-4180655684295732606"),
        ("cass-b", CASS_B, "127.0.0.3", "-3544249817525298095"),
    ] {
        let sets = catalog.host(&Host::new(host)).await.unwrap();
        assert!(sets.strays.is_empty());
        assert_eq!(sets.sets.len(), rows.len());
        for (set, (tag, kind, time, archives)) in sets.sets.iter().zip(rows) {
            let manifest = set.manifest.good().unwrap();
            assert_eq!((&*set.tag.0, set.kind(), set.archive_count()), (tag, kind, archives));
            assert_eq!((set.time.to_string().as_str(), set.utc_offset), (time, 0));
            assert_eq!(set.start().to_string(), format!("2026-11-21T02:{}:00Z", &tag[14..]));
            assert_eq!(manifest.address.as_deref(), Some(address));
            assert_eq!(manifest.datacenter.as_deref(), Some("dc1"));
            assert!(set.missing.is_empty() && set.unlisted.is_empty() && set.strays.is_empty());
            if kind == FULL {
                assert_eq!(manifest.table_count, Some(56));
                assert_eq!((manifest.tokens.len(), &*manifest.tokens[0]), (4, token));
                assert_eq!(set.files.len(), 3);
            } else {
                assert_eq!(manifest.tables_listed, Some(archives as u32));
                assert_eq!(set.files.len(), 1);
            }
            if let Some(schema) = set.file("schema.cql") {
                let schema =
                    std::fs::read_to_string(format!("{}/sample/bucket/{}", env!("CARGO_MANIFEST_DIR"), schema.key))
                        .unwrap();
                assert!(tables_of(&schema).len() >= 8);
                assert_eq!(missing_from_full("schema.cql", schema.as_bytes(), |table| set.has(table)), Ok(vec![]));
            }
            for archive in set.archives() {
                let path = format!("{}/sample/bucket/{}", env!("CARGO_MANIFEST_DIR"), archive.object.key);
                assert_eq!(archive.object.size, std::fs::metadata(path).unwrap().len());
            }
        }
    }
}

#[tokio::test]
async fn every_restore_point() {
    let catalog = sample();
    for (host, rows) in [("cass-a", CASS_A), ("cass-b", CASS_B)] {
        let sets = catalog.host(&Host::new(host)).await.unwrap();
        let chains = &sets.chains;
        assert_eq!(chains.problems, []);
        let chain =
            |tag: &str| -> Vec<String> { chains.point(tag).unwrap().sets().map(|set| set.tag.to_string()).collect() };
        assert_eq!(chains.points().len(), 6);
        assert_eq!(chain(rows[0].0), [rows[0].0]);
        assert_eq!(chain(rows[3].0), rows[..4].iter().map(|row| row.0).collect::<Vec<_>>());
        assert_eq!(chain(rows[4].0), [rows[4].0]);
        assert_eq!(chain(rows[5].0), [rows[4].0, rows[5].0]);
    }
}
