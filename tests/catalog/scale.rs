//! The catalog of a bucket with a million keys, and of a host with a set every hour for two years:
//! memory and time.

use bytes::Bytes;
use cassmount::Result;
use cassmount::catalog::{Catalog, CatalogOptions, Host, Objects};
use cassmount::store::{Level, ObjectMeta};
use cassmount::time::Timestamp;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const HOUR: i64 = 3600;
/// Of two years.
const SETS: usize = 17_000 / PART;
/// 2024-11-20T00:00:00Z.
const FIRST: i64 = 1_732_060_800;

/// A bucket that is computed, not stored. A full at midnight, an incremental in every other hour.
struct Generated {
    hosts: usize,
    sets: usize,
    tables: usize,
    requests: AtomicUsize,
}

fn tag(set: usize) -> String {
    jiff::Timestamp::from_second(FIRST + set as i64 * HOUR).unwrap().strftime("%Y-%m-%d-%H-%M").to_string()
}

impl Generated {
    fn object(key: String, set: usize) -> ObjectMeta {
        // Spread over all bits, so that nothing compresses them: as an MD5 would be.
        let mixed = u128::from(crc32fast::hash(key.as_bytes())).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        let e_tag = format!("\"{mixed:032x}\"");
        let modified = Timestamp::from_secs(FIRST + set as i64 * HOUR + 30);
        ObjectMeta {
            size: 100 + key.len() as u64,
            key: key.into(),
            e_tag: Some(e_tag.into()),
            modified,
            archived: false,
        }
    }

    fn set_of(prefix: &str) -> usize {
        let tag = prefix.split('/').nth(1).unwrap();
        let (date, clock) = tag.split_at(10);
        let time: jiff::Timestamp = format!("{date}T{}:00Z", clock[1..].replace('-', ":")).parse().unwrap();
        ((time.as_second() - FIRST) / HOUR) as usize
    }

    fn manifest(set: usize) -> String {
        let time = Timestamp::from_secs(FIRST + set as i64 * HOUR + 45);
        let kind = if set.is_multiple_of(24) { "full" } else { "incremental" };
        let tokens: Vec<String> = (0..16).map(|token| format!("\"{}\"", token * 1_000_003)).collect();
        format!(
            r#"{{"backup_type":"{kind}","timestamp_utc":"{time}","source_node":{{"tokens":[{}],"rack":"rack1"}}}}"#,
            tokens.join(",")
        )
    }
}

impl Objects for Generated {
    fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectMeta>> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let set = Self::set_of(prefix);
        let mut objects: Vec<ObjectMeta> = (0..self.tables)
            .map(|table| Self::object(format!("{prefix}shop/some_table_{table:03}.tar.gz.enc"), set))
            .collect();
        let mut manifest = Self::object(format!("{prefix}backup_manifest.json"), set);
        manifest.size = Self::manifest(set).len() as u64;
        objects.push(manifest);
        futures::stream::iter(objects.into_iter().map(Ok)).boxed()
    }

    fn list_level<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Level>> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let prefixes = match prefix {
            "" => (0..self.hosts).map(|host| format!("cass-{host}")).collect(),
            _ => (0..self.sets).map(tag).collect(),
        };
        Box::pin(async move { Ok(Level { prefixes, objects: Vec::new() }) })
    }

    fn read<'a>(&'a self, object: &'a ObjectMeta) -> BoxFuture<'a, Result<Bytes>> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move { Ok(Self::manifest(Self::set_of(&object.key)).into()) })
    }

    fn name(&self) -> &'static str {
        "generated"
    }
}

fn open(objects: &Arc<Generated>, directory: Option<&Path>) -> Arc<Catalog> {
    let options = CatalogOptions { directory: directory.map(Into::into), ..CatalogOptions::default() };
    Catalog::open(objects.clone(), options)
}

/// Resident memory of this process, bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// An unoptimised build is slow enough with a tenth.
const PART: usize = if cfg!(debug_assertions) { 10 } else { 1 };

// One test: memory is that of the process.
#[tokio::test(flavor = "multi_thread")]
async fn very_many_archives_and_two_years_of_hours() {
    let before = resident();
    let objects = Arc::new(Generated { hosts: 10, sets: 1000 / PART, tables: 100, requests: AtomicUsize::new(0) });
    let catalog = open(&objects, None);
    let started = Instant::now();
    for host in &catalog.hosts().await.unwrap().hosts {
        let sets = catalog.host(host).await.unwrap();
        assert_eq!(sets.sets.iter().map(|set| set.archive_count()).sum::<usize>(), 100_000 / PART);
    }
    let used = (resident() - before) >> 20;
    println!("{} archives of 10 hosts: listed in {:?}, {used} MiB resident", 1_000_000 / PART, started.elapsed());
    assert!(used < 150 / PART + 10, "{used} MiB");
    drop(catalog);

    let directory = tempfile::tempdir().unwrap();
    let objects = Arc::new(Generated { hosts: 1, sets: SETS, tables: 30, requests: AtomicUsize::new(0) });
    let host = Host::new("cass-0");
    let started = Instant::now();
    let catalog = open(&objects, Some(directory.path()));
    let sets = catalog.host(&host).await.unwrap();
    println!(
        "{SETS} sets: listed in {:?}, {} requests",
        started.elapsed(),
        objects.requests.swap(0, Ordering::Relaxed)
    );
    assert_eq!(sets.sets.len(), SETS);
    let file = || {
        std::fs::read_dir(directory.path())
            .unwrap()
            .flatten()
            .find(|file| file.path().extension().is_some_and(|e| e == "catalog"))
    };
    let deadline = Instant::now() + std::time::Duration::from_mins(2);
    while file().is_none() {
        assert!(Instant::now() < deadline, "the catalog is not kept on disk");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("kept on disk: {} KiB", file().unwrap().metadata().unwrap().len() >> 10);

    let started = Instant::now();
    let warm = open(&objects, Some(directory.path()));
    let sets = warm.host(&host).await.unwrap();
    let loaded = started.elapsed();
    let point = sets.find_point("latest").unwrap();
    assert_eq!(&*point.tag().0, tag(SETS - 1));
    assert_eq!(point.sets().count(), (SETS - 1) % 24 + 1);
    assert_eq!(point.tables().len(), 30);
    let total = started.elapsed();
    let started = Instant::now();
    let again = sets.chains.points().len();
    let chains = cassmount::catalog::Chains::new(&sets.sets);
    assert_eq!(chains.points().len(), again);
    println!("warm: loaded in {loaded:?}, newest restore point after {total:?}; chains alone {:?}", started.elapsed());
    // On a machine that has nothing else to do it is half a second; to list all again takes
    // minutes.
    assert!(total < Duration::from_secs(30), "{total:?}");
    // Refreshing costs a listing of the host and of its two oldest sets.
    objects.requests.store(0, Ordering::Relaxed);
    warm.refresh().await.unwrap();
    assert!(
        objects.requests.load(Ordering::Relaxed) < 10,
        "{objects}",
        objects = objects.requests.load(Ordering::Relaxed)
    );
}
