//! Incarnations and merged tables of the sample bucket, the archives unpacked by openssl and tar.

use bytes::Bytes;
use cassmount::Result;
use cassmount::cassandra::{SstableName, TableId, TableName};
use cassmount::catalog::incarnation::{
    ArchiveFacts, Attribution, Candidates, Evidence, SstableFacts, attribute, tables_at,
};
use cassmount::catalog::merge::{Merged, Source, SourceFile, merge};
use cassmount::catalog::{
    Catalog, CatalogOptions, Depth, Host, HostHistory, HostSets, Knowledge, RestorePoint, SchemaReader, declared_id,
    parse_mapping,
};
use cassmount::store::{ObjectMeta, Source as StoreSource, Store, StoreOptions};
use cassmount::time::Timestamp;
use futures::future::BoxFuture;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const OLD_EVENTS: &str = "77bbc010e55511f185a85b65bc0eb462";

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sample")
}

/// Unpacks archives of the sample bucket; counts how many.
#[derive(Default)]
struct Unpacker {
    unpacked: AtomicUsize,
}

struct Unpacked {
    path: String,
    modified: Timestamp,
    content: Bytes,
}

impl Unpacker {
    fn unpack(&self, key: &str) -> Vec<Unpacked> {
        self.unpacked.fetch_add(1, Ordering::SeqCst);
        let directory = tempfile::tempdir().unwrap();
        let tag = key.split('/').nth(1).unwrap();
        let passphrase = if tag < "2026-11-21-02-50" { "key-2026-a.txt" } else { "key-2026-b.txt" };
        let mut openssl = Command::new("openssl")
            .args(["enc", "-d", "-aes-256-cbc", "-pbkdf2", "-md", "sha256", "-pass"])
            .arg(format!("file:{}", sample().join(passphrase).display()))
            .arg("-in")
            .arg(sample().join("bucket").join(key))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let tar =
            Command::new("tar").args(["xz", "-C"]).arg(directory.path()).stdin(openssl.stdout.take().unwrap()).status();
        assert!(openssl.wait().unwrap().success() && tar.unwrap().success());
        let mut found = Vec::new();
        collect(directory.path(), "", &mut found);
        found
    }
}

fn collect(directory: &Path, prefix: &str, found: &mut Vec<Unpacked>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &format!("{path}/"), found);
        } else {
            let modified = Timestamp::from(entry.metadata().unwrap().modified().unwrap());
            found.push(Unpacked { path, modified, content: std::fs::read(entry.path()).unwrap().into() });
        }
    }
}

impl SchemaReader for Unpacker {
    fn sstable_files<'a>(&'a self, archive: &'a Arc<ObjectMeta>) -> BoxFuture<'a, Result<Vec<(String, Bytes)>>> {
        Box::pin(
            async move { Ok(self.unpack(&archive.key).into_iter().map(|file| (file.path, file.content)).collect()) },
        )
    }
}

async fn host_sets(host: &str) -> Arc<HostSets> {
    let bucket = sample().join("bucket");
    let store = Store::open(&StoreSource::parse(bucket.to_str().unwrap()).unwrap(), &StoreOptions::default()).unwrap();
    Catalog::open(Arc::new(store), CatalogOptions::default()).host(&Host::new(host)).await.unwrap()
}

/// What the sets tell without system_schema: each full's mapping, and `WITH ID` of each of its
/// archives.
fn without_system_schema(sets: &HostSets) -> Knowledge {
    let mut knowledge = Knowledge::default();
    let unpacker = Unpacker::default();
    for set in &sets.sets {
        let Some(mapping) = set.file("schema_mapping.json") else { continue };
        let mapping = std::fs::read(sample().join("bucket").join(&*mapping.key)).unwrap();
        knowledge.map(set, &parse_mapping(&mapping).unwrap());
        for archive in set.archives().filter(|archive| !archive.table.keyspace.starts_with("system")) {
            let files = unpacker.unpack(&archive.object.key);
            let schema = files.iter().find(|file| file.path == "schema.cql").unwrap();
            let id = declared_id(std::str::from_utf8(&schema.content).unwrap()).unwrap();
            knowledge.declare(set, &archive.table, id);
        }
    }
    knowledge
}

/// The table's archives in the point's chain, each SSTable's incarnation, and what is shown of
/// incarnation `id`.
fn table_at(
    point: &RestorePoint,
    table: &TableName,
    id: TableId,
    knowledge: &Knowledge,
) -> (Vec<Vec<Attribution>>, Merged) {
    let unpacker = Unpacker::default();
    let mut facts = Vec::new();
    let mut listings = Vec::new();
    for (set, archive) in point.archives(table) {
        let files = unpacker.unpack(&archive.object.key);
        let data = files.iter().filter(|file| file.path.ends_with("-Data.db")).map(|file| {
            let (directory, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
            SstableFacts {
                directory: directory.into(),
                name: SstableName::parse_component(name).unwrap().sstable,
                modified: Some(file.modified),
                data: Some((file.content.len() as u64, Some(crc32fast::hash(&file.content)))),
            }
        });
        facts.push(ArchiveFacts { tag: set.tag.clone(), time: set.time, sstables: data.collect() });
        listings.push(files);
    }
    let attributions = attribute(&Candidates::new(table, knowledge), &facts);
    let sources: Vec<Source> = listings
        .iter()
        .zip(facts.iter().zip(&attributions))
        .map(|(files, (facts, found))| {
            let wanted = |path: &str| {
                let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
                SstableName::parse_component(name).is_some_and(|component| {
                    facts.sstables.iter().zip(found).any(|(sstable, one)| {
                        *sstable.directory == *directory && sstable.name == component.sstable && one.id == Some(id)
                    })
                })
            };
            let file = |(file, unpacked): (usize, &Unpacked)| SourceFile {
                path: unpacked.path.as_str().into(),
                size: unpacked.content.len() as u64,
                crc32: Some(crc32fast::hash(&unpacked.content)),
                file,
            };
            let files = files.iter().enumerate().filter(|(_, unpacked)| wanted(&unpacked.path)).map(file).collect();
            Source { files, tocs: HashMap::new() }
        })
        .collect();
    (attributions, merge(&sources, 0))
}

fn names(merged: &Merged) -> Vec<String> {
    merged.sstables.iter().map(|sstable| format!("{}/{}", sstable.directory, sstable.name)).collect()
}

#[tokio::test]
async fn the_schema_history_decides() {
    for host in ["cass-a", "cass-b"] {
        let sets = host_sets(host).await;
        let reader = Arc::new(Unpacker::default());
        let history = HostHistory::new("test", Host::new(host), reader.clone(), None);
        let knowledge = history.learn(&sets.sets, Depth::Incarnations).await.unwrap();
        assert!(knowledge.gaps().is_empty());
        check_tables(&sets, &knowledge, true);
        // When this fails, what is kept on disk is encoded otherwise: raise the version in
        // src/catalog/history.rs and docs/formats.md.
        if host == "cass-a" {
            let plain = postcard::to_stdvec(knowledge.timeline()).unwrap();
            assert_eq!(&blake3::hash(&plain).to_hex()[..16], "df04b60f05124044");
        }

        // Each archive once ever.
        let read = reader.unpacked.load(Ordering::SeqCst);
        history.learn(&sets.sets, Depth::Incarnations).await.unwrap();
        assert_eq!(reader.unpacked.load(Ordering::SeqCst), read);
        history.learn(&sets.sets, Depth::Schema).await.unwrap();
        let all = reader.unpacked.load(Ordering::SeqCst);
        assert_eq!(all, sets.sets.iter().map(|set| set.archives_of("system_schema").count()).sum::<usize>());
        assert!(read < all);

        // What lies around a point is enough for it.
        let history = HostHistory::new("test", Host::new(host), reader.clone(), None);
        let point = sets.chains.point("2026-11-21-02-49").unwrap();
        let part = history.learn_point(&sets, point, Depth::Incarnations).await.unwrap();
        assert_eq!(tables_at(point, &part), tables_at(point, &knowledge));
    }
}

#[tokio::test]
async fn without_system_schema_ids_and_times_decide() {
    for host in ["cass-a", "cass-b"] {
        let sets = host_sets(host).await;
        check_tables(&sets, &without_system_schema(&sets), false);
    }
}

/// `sample/README.md`: events was dropped and made anew between 02-48 and 02-49, "MixedCase"
/// dropped.
fn check_tables(sets: &HostSets, knowledge: &Knowledge, exact: bool) {
    let old = TableId::parse(OLD_EVENTS).unwrap();
    let events = TableName::new("shop", "events");
    let all = Candidates::new(&events, knowledge);
    let ids: Vec<TableId> = all.list().iter().map(|candidate| candidate.id).collect();
    assert_eq!((ids.len(), ids[0]), (2, old));
    let new = ids[1];
    assert!(new.to_string().starts_with("fe786540e555"));

    for point in sets.chains.points() {
        let minute = &point.tag().0[14..];
        let found = tables_at(point, knowledge);
        let of = |keyspace: &str, table: &str| {
            let name = TableName::new(keyspace, table);
            found.tables.iter().find(|one| one.table == name).map(|one| one.id)
        };
        let expected = if ["45", "47", "48"].contains(&minute) { old } else { new };
        assert_eq!(of("shop", "events"), Some(Some(expected)), "{minute}");
        assert!(found.tables.iter().all(|one| one.id.is_some()), "{minute} {:?}", found.tables);
        // Without the history a DROP is not known; the full after it has no archive of the table.
        let mixed_case = ["45", "47", "48"].contains(&minute) || (!exact && minute == "49");
        assert_eq!(of("media", "MixedCase").is_some(), mixed_case, "{minute}");
        assert_eq!(
            found.dropped,
            if exact && minute == "49" { vec![TableName::new("media", "MixedCase")] } else { vec![] }
        );
        assert_eq!(of("shop", "carts").is_some(), !["45", "47"].contains(&minute), "{minute}");
        for one in &found.tables {
            let system = one.table.keyspace.starts_with("system");
            assert_eq!(one.evidence == Evidence::SystemTable, system, "{one:?}");
            assert!(!exact || !one.evidence.is_weak(), "{one:?}");
        }
    }

    let at = |minute: &str| sets.chains.point(&format!("2026-11-21-02-{minute}")).unwrap();
    let (attributions, merged) = table_at(at("49"), &events, new, knowledge);
    assert_eq!(names(&merged), ["/nb-1-big"]);
    assert!(merged.notices.is_empty());
    let told: Vec<TableId> = attributions.concat().iter().map(|one| one.id.unwrap()).collect();
    assert_eq!(told, [old, old, new]);
    let (_, merged) = table_at(at("48"), &events, old, knowledge);
    assert_eq!(names(&merged), ["/nb-1-big", "/nb-2-big"]);

    // Every other table of every point: each SSTable told, complete, and none renumbered.
    for point in sets.chains.points() {
        for one in tables_at(point, knowledge).tables.iter().filter(|one| !one.table.keyspace.starts_with("system")) {
            let id = one.id.unwrap();
            let (attributions, merged) = table_at(point, &one.table, id, knowledge);
            assert!(attributions.iter().flatten().all(|one| one.id.is_some()), "{} {}", point.tag(), one.table);
            assert_eq!(merged.notices, [], "{} {}", point.tag(), one.table);
            let files: BTreeMap<_, _> = merged.files.iter().map(|file| (file.path.clone(), file)).collect();
            assert_eq!(files.len(), merged.files.len());
            let empty = &*one.table.table == "empty_table";
            assert_eq!(merged.sstables.is_empty(), empty, "{} {}", point.tag(), one.table);
        }
    }
}
