//! What a bucket lists, and the names and manifests in it, as somebody would write them who wants
//! to do harm: as `fuzz`, a tree or an error, never a panic, never without bound.

use cassmount::catalog::layout::named;
use cassmount::catalog::{CatalogOptions, LayoutChoice};
use cassmount::store::{Bundles, Source, Store, StoreOptions};
use cassmount::time::Timestamp;
use cassmount::tree::{BackupTree, TreeOptions};
use cassmount::view::{NodeKind, View};
use futures::TryStreamExt;
use futures::future::BoxFuture;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::fuzz;
use testkit::memory_bucket::{Bucket, MemorySource};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

/// Between objects in the text of a bucket, and between a key and its content.
const NEXT: char = '\x01';
const CONTENT: char = '\0';
/// 2026-11-21T02:46:00Z.
const TIME: i64 = 1_795_229_160;
/// No input of a target takes so long, whatever else the machine does.
const PATIENCE: Duration = Duration::from_mins(1);
/// Nodes of a tree that are looked at.
const NODES: usize = 3_000;

const ID: &str = "763dab90e55511f185a85b65bc0eb462";

/// A bucket as text: the layout, and the objects.
fn text(layout: &str, objects: &[(&str, &str)]) -> Vec<u8> {
    let mut text = layout.to_owned();
    for (key, content) in objects {
        text.extend([&NEXT.to_string(), *key, &CONTENT.to_string(), *content]);
    }
    // ID stands for the table's id.
    text.replace("ID", ID).into_bytes()
}

fn buckets() -> Vec<Vec<u8>> {
    let created =
        "CREATE TABLE shop.users (id int PRIMARY KEY, \"Name\" text) WITH ID = 763dab90-e555-11f1-85a8-5b65bc0eb462;";
    vec![
        text(
            "cass_ops",
            &[
                (
                    "node1/2026-11-21-02-45/backup_manifest.json",
                    r#"{"backup_id":"2026-11-21-02-45","backup_type":"full","timestamp_utc":"2026-11-21T02:45:30Z",
                        "tables_backed_up_count":1,"source_node":{"tokens":["1"],"rack":"r1","cluster_name":"c"}}"#,
                ),
                ("node1/2026-11-21-02-45/schema.cql", created),
                (
                    "node1/2026-11-21-02-45/schema_mapping.json",
                    r#"{"shop.users":"763dab90-e555-11f1-85a8-5b65bc0eb462"}"#,
                ),
                ("node1/2026-11-21-02-45/shop/users.tar.gz.enc", "x"),
                (
                    "node1/2026-11-21-03-45/backup_manifest.json",
                    r#"{"backup_type":"incremental","timestamp_utc":"2026-11-21T03:45:30+00:00","tables_backed_up":["shop.users"]}"#,
                ),
                ("node1/2026-11-21-03-45/shop/users.tar.gz.enc", "y"),
                ("errors/x", ""),
            ],
        ),
        text(
            "data_dir",
            &[
                (
                    "node1/shop/users-ID/snapshots/full/manifest.json",
                    r#"{"files":["nb-1-big-Data.db",".by_mail/nb-1-big-Data.db"],"created_at":"2026-11-21T02:45:06.123Z","ephemeral":false}"#,
                ),
                ("node1/shop/users-ID/snapshots/full/schema.cql", created),
                ("node1/shop/users-ID/snapshots/full/nb-1-big-Data.db", "rows"),
                ("node1/shop/users-ID/snapshots/full/.by_mail/nb-1-big-Data.db", "rows"),
                ("node1/shop/users-ID/backups/nb-2-big-Data.db", "rows"),
                ("node1/shop/users-ID/backups/nb-3gin_0x5r_0abcd2jk1w0m5e9xyz-big-Data.db", "rows"),
                ("node1/shop/users-ID/nb-2-big-Data.db", "rows"),
                ("node1/commitlog/CommitLog-7-1795229100000.log", "x"),
            ],
        ),
        text(
            "rsync",
            &[
                ("20261121/node1/schema.cql", created),
                ("20261121/node1/shop/users-ID/nb-1-big-Data.db", "rows"),
                ("20261121/node1/shop/users-ID/manifest.json", r#"{"files":["nb-1-big-Data.db"]}"#),
                ("20261122/node2/shop/users-ID/snapshots/a/nb-1-big-Data.db", "rows"),
            ],
        ),
        text(
            "mesos",
            &[
                ("prod/node.0/2026-11-21/shop/users/nb-1-big-Data.db", "rows"),
                ("prod/node.0/2026-11-21/shop/users/.by_mail/nb-1-big-Data.db", "rows"),
                ("test/node.0/monday/shop/users/nb-1-big-Data.db", "rows"),
            ],
        ),
        text(
            "scripts",
            &[
                ("20261121/node1/schema.cql", created),
                ("20261121/node1/shop_users-ID.tar.gz", "x"),
                ("20261121/node1/shop_users-ID_incr.tar.gz.enc", "x"),
                ("node2/2026-11-21-024500/my_shop_users-ID.tar.zst", "x"),
            ],
        ),
        text(
            "esop",
            &[
                (
                    "prod/dc1/node1/manifests/daily-b22b2f0c-1d3c-3b56-b7f0-7d4ba9fd9a0b-1795229160000.json",
                    r#"{"snapshot":{"name":"daily","keyspaces":{"shop":{"tables":{"users":{"name":"users","id":"ID","entries":[
                        {"objectKey":"data/shop/users-ID/1-77/nb-1-big-Data.db","size":4,"type":"FILE","hash":"00"},
                        {"objectKey":"data/shop/users-ID/schema.cql","size":4,"type":"CQL_SCHEMA"}]}}}}},"tokens":["-1","7"]}"#,
                ),
                ("prod/dc1/node1/data/shop/users-ID/1-77/nb-1-big-Data.db", "rows"),
            ],
        ),
        text(
            "medusa",
            &[
                (
                    "node1/b1/meta/manifest.json",
                    r#"[{"keyspace":"shop","columnfamily":"users-ID","objects":[
                        {"path":"node1/data/shop/users-ID/nb-1-big-Data.db","MD5":"00112233445566778899aabbccddeeff","size":4},
                        {"path":"pre/node1/b1/data/shop/users-ID/.by_mail/nb-1-big-Data.db","MD5":"ABEiM0RVZneImaq7zN3u/w==","size":4},
                        {"path":"node1/data/shop/users-ID/nb-1-big-Index.db","MD5":"0011-3","size":4}]}]"#,
                ),
                ("node1/b1/meta/schema.cql", created),
                ("node1/b1/meta/tokenmap.json", r#"{"node1":{"tokens":[1,-2],"is_up":true,"rack":"r1","dc":"dc1"}}"#),
                ("node1/b1/meta/differential", ""),
                ("node1/data/shop/users-ID/nb-1-big-Data.db", "rows"),
                ("index/backup_index/b1/finished_node1_1795229160.timestamp", ""),
                ("index/backup_index/b1/manifest_node1.json", "[]"),
            ],
        ),
    ]
}

fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}

/// Looks at all that is below a node; how many nodes may still be looked at.
fn walk<'a>(tree: &'a BackupTree, node: <BackupTree as View>::Node, left: &'a mut usize) -> BoxFuture<'a, ()> {
    Box::pin(async move {
        let Ok(listed) = tree.list(&node).await else { return };
        assert!(listed.windows(2).all(|pair| pair[0].name < pair[1].name), "{listed:?} is not sorted");
        for entry in listed.iter() {
            assert!(entry.name.to_str().is_some_and(is_name), "{} is a name", entry.name.display());
            if *left == 0 {
                return;
            }
            *left -= 1;
            let attr = tree.attr(&entry.node).await;
            match tree.kind(&entry.node) {
                NodeKind::Directory => walk(tree, entry.node.clone(), left).await,
                NodeKind::Symlink => {
                    assert!(tree.read_link(&entry.node).await.is_ok_and(|to| to.to_str().is_some_and(is_name)));
                }
                NodeKind::File => {
                    let Ok(file) = tree.open(&entry.node).await else { continue };
                    let read = file.read_at(0, 1 << 20).await;
                    assert!(attr.is_ok() || read.is_err(), "{} is read without a size", entry.name.display());
                }
            }
        }
    })
}

async fn look(bucket: Bucket, layout: LayoutChoice) {
    let source = MemorySource::with_options(bucket, CatalogOptions { layout, ..CatalogOptions::default() });
    let catalog = Arc::clone(source.catalog());
    if let Ok(hosts) = catalog.hosts().await {
        for host in &hosts.hosts {
            assert!(is_name(&host.0), "{host:?} is a host");
            let Ok(sets) = catalog.host(host).await else { continue };
            for set in &sets.sets {
                assert!(is_name(&set.tag.0), "{:?} is a set", set.tag);
                for archive in set.archives() {
                    let _ = catalog.files(&archive.object).await;
                }
            }
        }
    }
    let tree = BackupTree::over(source, TreeOptions::default()).unwrap();
    walk(&tree, tree.root(), &mut { NODES }).await;
}

#[test]
fn fuzz_layouts() {
    let runtime = Runtime::new().unwrap();
    fuzz::run("layouts", buckets(), |input| {
        let input = String::from_utf8_lossy(input);
        let mut parts = input.split(NEXT);
        let layout = parts.next().and_then(named).map_or(LayoutChoice::Auto, LayoutChoice::Certain);
        let mut bucket = Bucket::default();
        for (number, (key, content)) in parts.filter_map(|object| object.split_once(CONTENT)).enumerate() {
            let modified = Timestamp::from_secs(TIME + number as i64);
            bucket.put(key.to_owned(), content.as_bytes().to_vec(), modified);
        }
        let looked = runtime.block_on(async { tokio::time::timeout(PATIENCE, look(bucket, layout)).await });
        looked.expect("it ends");
    });
}

/// Gives one document to whoever asks for anything, and is said to keep versions.
struct Server {
    address: String,
    document: Arc<Mutex<Vec<u8>>>,
}

impl Server {
    fn start(runtime: &Runtime) -> Self {
        let document = Arc::<Mutex<Vec<u8>>>::default();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let served = Arc::clone(&document);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&served)));
            }
        });
        Self { address, document }
    }

    fn store(&self, source: &str, as_of: Option<Timestamp>) -> Store {
        let variables = [("AZURE_STORAGE_ACCOUNT_NAME", "account"), ("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")];
        let options = StoreOptions {
            endpoint_url: Some(self.address.clone()),
            no_sign_request: true,
            as_of,
            timeout: Duration::from_millis(500),
            environment: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            ..StoreOptions::default()
        };
        Store::open(&Source::parse(source).unwrap(), &options).unwrap()
    }
}

/// Answers the requests of one connection.
async fn answer(mut stream: TcpStream, document: Arc<Mutex<Vec<u8>>>) -> std::io::Result<()> {
    let mut request = Vec::new();
    loop {
        let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") else {
            if stream.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let head: Vec<u8> = request.drain(..end + 4).collect();
        let line = String::from_utf8_lossy(head.split(|byte| *byte == b'\r').next().unwrap_or_default()).into_owned();
        let body = if line.contains("?versioning") {
            b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>".to_vec()
        } else {
            document.lock().unwrap().clone()
        };
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), &body].concat()).await?;
    }
}

fn listings() -> Vec<Vec<u8>> {
    let object = |key: &str| {
        format!(
            "<Contents><Key>{key}</Key><LastModified>2026-11-21T02:45:06.123Z</LastModified><ETag>&quot;x&quot;</ETag><Size>7</Size>\
            <StorageClass>GLACIER</StorageClass><RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress>\
            <RestoreExpiryDate>2026-12-01T00:00:00Z</RestoreExpiryDate></RestoreStatus></Contents>"
        )
    };
    let version = |key: &str, id: &str| {
        format!(
            "<Version><Key>{key}</Key><VersionId>{id}</VersionId><IsLatest>true</IsLatest><LastModified>2026-11-20T02:45:06Z</LastModified>\
            <ETag>&quot;{id}&quot;</ETag><Size>7</Size><StorageClass>STANDARD</StorageClass></Version>"
        )
    };
    let blob = "<Blob><Name>p/a/b</Name><Properties><Last-Modified>Sat, 21 Nov 2026 02:45:06 GMT</Last-Modified><Etag>0x8D</Etag>\
        <Content-Length>7</Content-Length><AccessTier>Archive</AccessTier></Properties></Blob>";
    let list = |more: &str| {
        format!(
            "<?xml version='1.0'?><ListBucketResult xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>{more}{}{}\
            <CommonPrefixes><Prefix>p/c/</Prefix></CommonPrefixes><CommonPrefixes><Prefix>p/e/</Prefix></CommonPrefixes></ListBucketResult>",
            object("p/a"),
            object("p/b//c&#10;")
        )
    };
    let versions = format!(
        "<?xml version='1.0'?><ListVersionsResult><IsTruncated>true</IsTruncated><NextKeyMarker>p/c</NextKeyMarker>\
        <NextVersionIdMarker>c1</NextVersionIdMarker>{}{}<DeleteMarker><Key>p/b</Key><VersionId>d</VersionId><IsLatest>true</IsLatest>\
        <LastModified>2026-11-20T02:10:00Z</LastModified></DeleteMarker><CommonPrefixes><Prefix>p/d/</Prefix></CommonPrefixes>\
        </ListVersionsResult>",
        version("p/a", "a1"),
        version("p/c", "c1")
    );
    let azure = format!(
        "<?xml version='1.0'?><EnumerationResults ContainerName='c'><Blobs>{blob}<BlobPrefix><Name>p/q/</Name></BlobPrefix></Blobs>\
        <NextMarker>more</NextMarker></EnumerationResults>"
    );
    vec![
        list("<IsTruncated>false</IsTruncated>").into(),
        list("<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>").into(),
        list("<IsTruncated>true</IsTruncated><NextMarker>p/e/</NextMarker>").into(),
        versions.replace("<IsTruncated>true", "<IsTruncated>false").into(),
        versions.into(),
        azure.replace("more<", "<").into(),
        azure.into(),
    ]
}

async fn list(store: &Store) {
    let all: cassmount::Result<Vec<_>> = store.list("").try_collect().await;
    for object in all.unwrap_or_default() {
        assert!(!object.key.is_empty() && object.key.split('/').all(is_name), "{:?} is a key", object.key);
    }
    if let Ok(level) = store.list_level("").await {
        assert!(level.prefixes.iter().all(|name| is_name(name)), "{:?} are names", level.prefixes);
        assert!(level.objects.iter().all(|object| is_name(&object.key)), "{:?} are names", level.objects);
    }
}

#[test]
fn fuzz_listing() {
    let runtime = Runtime::new().unwrap();
    let server = Server::start(&runtime);
    let sources = [
        ("s3://bucket/p", None),
        ("s3://bucket/p", Some(Timestamp::from_secs(TIME))),
        ("gs://bucket/p", None),
        ("az://container/p", None),
    ];
    let stores: Vec<Store> = sources.map(|(source, as_of)| server.store(source, as_of)).into();
    fuzz::run("listing", listings(), |input| {
        *server.document.lock().unwrap() = input.to_vec();
        runtime.block_on(async {
            for store in &stores {
                tokio::time::timeout(PATIENCE, list(store)).await.expect("it ends");
            }
        });
    });
}
