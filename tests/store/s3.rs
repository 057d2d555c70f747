//! The store over an S3 server of the tests' own on loopback: what works, and what every kind of
//! failure looks like. `versions.rs` and `tests/command/real_servers.rs` have servers of other
//! people.

use testkit::s3;

use cassmount::store::{Level, ObjectMeta, Source, Store, StoreOptions};
use cassmount::{Error, Kind};
use futures::TryStreamExt;
use s3::{Faults, S3Server};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(900);
/// Nothing takes so long, whatever else the machine does.
const PATIENCE: Duration = Duration::from_secs(30);

fn write(root: &Path, path: &str, content: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn open(source: &str, options: &StoreOptions) -> Store {
    Store::open(&Source::parse(source).unwrap(), options).unwrap()
}

async fn keys(store: &Store, prefix: &str) -> Vec<String> {
    sorted(store.list(prefix).try_collect().await.unwrap())
}

fn sorted(objects: Vec<ObjectMeta>) -> Vec<String> {
    let mut keys: Vec<String> = objects.into_iter().map(|object| object.key.to_string()).collect();
    keys.sort();
    keys
}

fn short(server: &S3Server) -> StoreOptions {
    StoreOptions { timeout: SHORT, ..server.options() }
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_more_than_a_page_and_reads_ranges() {
    let root = tempfile::tempdir().unwrap();
    let mut expected: Vec<String> = (0..2345).map(|i| format!("host/set-{:02}/ks/t{i:04}.tar.gz.enc", i % 7)).collect();
    for key in &expected {
        write(root.path(), &format!("bucket/{key}"), key.as_bytes());
    }
    expected.sort();
    let content = pattern(3_000_000);
    write(root.path(), "bucket/zz/big", &content);
    let server = S3Server::start(root.path());
    let store = open("s3://bucket", &server.options());
    store.check().await.unwrap();

    let listed: Vec<ObjectMeta> = store.list("host/").try_collect().await.unwrap();
    assert!(listed.iter().all(|object| object.e_tag.is_some() && object.size == object.key.len() as u64));
    assert_eq!(sorted(listed), expected);
    assert!(store.stats().list_requests >= 3, "{:?}", store.stats());
    let offset = &expected[1500];
    let after: Vec<ObjectMeta> = store.list_after("host/", offset).try_collect().await.unwrap();
    assert_eq!(sorted(after), expected[1501..]);

    let level: Level = store.list_level("host/").await.unwrap();
    assert_eq!(level.prefixes, (0..7).map(|i| format!("set-{i:02}")).collect::<Vec<_>>());
    assert!(level.objects.is_empty());
    let level = store.list_level("host/set-03/ks/").await.unwrap();
    assert_eq!(sorted(level.objects), keys(&store, "host/set-03/ks/").await);
    assert!(store.list_level("nothing/").await.unwrap().prefixes.is_empty());

    let big = store.head("zz/big").await.unwrap();
    let listed: Vec<ObjectMeta> = store.list("zz/").try_collect().await.unwrap();
    assert_eq!(listed, std::slice::from_ref(&big), "a listing and HEAD agree on an object's identity");
    for range in [0..1, 16..1_048_592, 2_999_999..3_000_000, 0..3_000_000] {
        let bytes = store.get_range(&big, range.clone()).await.unwrap();
        assert!(bytes == content[range.start as usize..range.end as usize], "{range:?}");
    }
    assert_eq!(store.head("zz/nothing").await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(store.name(), "s3://bucket");
    let writes: Vec<String> =
        server.requests().into_iter().filter(|line| !line.starts_with("GET ") && !line.starts_with("HEAD ")).collect();
    assert!(writes.is_empty(), "{writes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_in_the_first_versions_form_is_gone_through_with_signed_requests() {
    let root = tempfile::tempdir().unwrap();
    let mut expected: Vec<String> = (0..1100).map(|i| format!("a b/ü+{i:04}")).collect();
    expected.push("z".into());
    for key in &expected {
        write(root.path(), &format!("bucket/{key}"), b"x");
    }
    let server = S3Server::start(root.path());
    server.set_faults(Faults { first_version: true, ..Faults::default() });
    let store = open("s3://bucket", &server.options());
    assert_eq!(keys(&store, "").await, expected);
    assert_eq!(keys(&store, "a b/").await, expected[..1100]);
    let after: Vec<ObjectMeta> = store.list_after("a b/", &expected[1098]).try_collect().await.unwrap();
    assert_eq!(sorted(after), expected[1099..1100]);
    assert!(server.requests().iter().any(|request| request.contains("marker=a%20b%2F")), "{:?}", server.requests());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_hides_what_is_beside_it() {
    let root = tempfile::tempdir().unwrap();
    for key in ["bucket/a/b/host/x", "bucket/a/bc/host/y", "bucket/z"] {
        write(root.path(), key, b"content");
    }
    let server = S3Server::start(root.path());
    let store = open("s3://bucket/a/b/", &server.options());
    assert_eq!(keys(&store, "").await, ["host/x"]);
    assert_eq!(store.list_level("").await.unwrap().prefixes, ["host"]);
    assert_eq!(store.head("host/x").await.unwrap().size, 7);
    assert_eq!(store.head("../bc/host/y").await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(store.name(), "s3://bucket/a/b");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_was_replaced_or_deleted_has_changed() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "bucket/x", b"0123456789");
    let server = S3Server::start(root.path());
    let store = open("s3://bucket", &server.options());
    let object = store.head("x").await.unwrap();
    assert_eq!(store.get_range(&object, 2..4).await.unwrap(), &b"23"[..]);

    std::thread::sleep(Duration::from_millis(20));
    write(root.path(), "bucket/x", b"9876543210");
    let error = store.get_range(&object, 2..4).await.unwrap_err();
    assert_eq!((error.kind(), error.object()), (Kind::Changed, Some("x")), "{error}");
    // A store that lists no ETags: a size that differs is noticed all the same.
    write(root.path(), "bucket/x", b"0");
    let untagged = ObjectMeta { e_tag: None, ..object.clone() };
    assert_eq!(store.get_range(&untagged, 0..1).await.unwrap_err().kind(), Kind::Changed);

    fs::remove_file(root.path().join("bucket/x")).unwrap();
    assert_eq!(store.get_range(&object, 2..4).await.unwrap_err().kind(), Kind::Changed);
    assert_eq!(store.stats().retries, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_credentials_and_missing_buckets_are_said_at_once() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "bucket/x", b"0123456789");
    write(root.path(), "public/x", b"0123456789");
    let server = S3Server::start(root.path());
    let good = open("s3://bucket", &server.options()).head("x").await.unwrap();

    let with = |name: &str, value: &str| {
        let mut options = server.options();
        options.environment.retain(|(variable, _)| variable != name);
        options.environment.push((name.to_owned(), value.to_owned()));
        options
    };
    let unsigned = StoreOptions { no_sign_request: true, ..server.options() };
    for options in [with("AWS_ACCESS_KEY_ID", "nobody"), with("AWS_SECRET_ACCESS_KEY", "wrong"), unsigned.clone()] {
        let store = open("s3://bucket", &options);
        let started = Instant::now();
        let listed: Result<Vec<ObjectMeta>, Error> = store.list("").try_collect().await;
        for error in [
            listed.unwrap_err(),
            store.check().await.unwrap_err(),
            store.head("x").await.unwrap_err(),
            store.get_range(&good, 0..1).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), Kind::Denied, "{error}");
            assert!(!error.to_string().contains("wrong"), "{error}");
        }
        assert!(started.elapsed() < PATIENCE, "it is not tried again");
    }
    let public = open("s3://public", &unsigned);
    assert_eq!(keys(&public, "").await, ["x"]);

    let said = format!("there is no bucket s3://nosuch at {}", server.endpoint().trim_start_matches("http://"));
    let error = open("s3://nosuch", &server.options()).check().await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (Kind::NotFound, said.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_reaches_the_server() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "bucket/x", b"0123456789");
    let server = S3Server::start(root.path());
    let home = tempfile::tempdir().unwrap();
    let config = format!("[profile b]\nregion = us-east-1\nendpoint_url = {}\n", server.endpoint());
    write(home.path(), ".aws/config", config.as_bytes());
    let keys = format!("[b]\naws_access_key_id = {}\naws_secret_access_key = {}\n", s3::ACCESS_KEY, s3::SECRET_KEY);
    write(home.path(), ".aws/credentials", keys.as_bytes());
    let options = StoreOptions {
        profile: Some("b".into()),
        environment: vec![("HOME".into(), home.path().display().to_string())],
        ..StoreOptions::default()
    };
    open("s3://bucket", &options).check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_cannot_be_addressed_are_reported_and_break_nothing() {
    let root = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for i in 0..1050 {
        expected.push(format!("k{i:04}"));
    }
    let odd = ["a b", " lead", "trail ", "a%20b", "a#1", "ü", "a&b", "a<b>", "100%", "+", "k0700 x"];
    expected.extend(odd.map(str::to_owned));
    for key in &expected {
        write(root.path(), &format!("bucket/{key}"), key.as_bytes());
    }
    for bad in ["a\nb", "k0003\tx", "k0999\u{7f}", "dir\r/x", "dir\r/y"] {
        write(root.path(), &format!("bucket/{bad}"), b"bad");
    }
    expected.sort();
    let server = S3Server::start(root.path());
    let store = open("s3://bucket", &server.options());
    assert_eq!(keys(&store, "").await, expected);
    let mut skipped: Vec<String> = store.skipped_names().into_iter().map(|skipped| skipped.name).collect();
    skipped.sort();
    assert_eq!(skipped, ["a\\nb", "dir\\n/", "k0003\\tx", "k0999\\u{7f}"]);
    assert!(store.stats().list_requests < 150, "{:?}", store.stats());
    for key in odd {
        let object = store.head(key).await.unwrap_or_else(|error| panic!("{key}: {error}"));
        assert_eq!(store.get_range(&object, 0..object.size).await.unwrap(), key.as_bytes());
    }
    let level = store.list_level("").await.unwrap();
    assert_eq!(sorted(level.objects), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_is_an_outage_and_comes_back() {
    let root = tempfile::tempdir().unwrap();
    let content = pattern(1_000_000);
    write(root.path(), "bucket/x", &content);
    let mut server = S3Server::start(root.path());
    let store = open("s3://bucket", &short(&server));
    let object = store.head("x").await.unwrap();
    server.stop();
    let fresh = open("s3://bucket", &short(&server));
    let started = Instant::now();
    let listed: Result<Vec<ObjectMeta>, Error> = store.list("").try_collect().await;
    for error in [
        fresh.check().await.unwrap_err(),
        listed.unwrap_err(),
        store.list_level("").await.unwrap_err(),
        store.head("x").await.unwrap_err(),
        store.get_range(&object, 0..10).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), Kind::Unreachable, "{error}");
        assert!(error.to_string().contains("s3://bucket"), "{error}");
    }
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());

    // It comes back while a read waits for it.
    let patient = open("s3://bucket", &StoreOptions { timeout: Duration::from_secs(20), ..server.options() });
    let reading = tokio::spawn(async move { patient.get_range(&object, 0..object.size).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!reading.is_finished());
    server.restart();
    assert!(reading.await.unwrap().unwrap() == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_that_pass_are_retried_and_broken_bodies_go_on_where_they_broke() {
    let root = tempfile::tempdir().unwrap();
    let content = pattern(2_000_000);
    write(root.path(), "bucket/x", &content);
    let server = S3Server::start(root.path());
    let store = open("s3://bucket", &server.options());
    server.set_faults(Faults { fail: 3, ..Faults::default() });
    let object = store.head("x").await.unwrap();
    assert_eq!(store.stats().retries, 3);

    server.set_faults(Faults { cut: 2, body_bytes: 700_000, ..Faults::default() });
    assert!(store.get_range(&object, 0..object.size).await.unwrap() == content);
    let stats = store.stats();
    assert_eq!((stats.get_requests, stats.bytes), (3, 2_000_000), "nothing is fetched twice: {stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_and_stalls_end_at_the_deadline() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "bucket/x", &pattern(200_000));
    let server = S3Server::start(root.path());
    let store = open("s3://bucket", &short(&server));
    let object = store.head("x").await.unwrap();
    for faults in [
        Faults { silent: true, ..Faults::default() },
        Faults { delay: Duration::from_mins(1), ..Faults::default() },
        Faults { stall: true, body_bytes: 0, ..Faults::default() },
        Faults { stall: true, body_bytes: 1000, ..Faults::default() },
    ] {
        server.set_faults(faults.clone());
        let started = Instant::now();
        let error = store.get_range(&object, 0..object.size).await.unwrap_err();
        assert_eq!(error.kind(), Kind::TimedOut, "{faults:?}: {error}");
        assert!(started.elapsed() < PATIENCE, "{faults:?}: {:?}", started.elapsed());
    }
    server.set_faults(Faults { delay: Duration::from_millis(100), ..Faults::default() });
    assert_eq!(store.get_range(&object, 0..object.size).await.unwrap().len(), 200_000, "slow is not down");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_requests_are_in_flight_than_allowed() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "bucket/x", &pattern(1000));
    let server = S3Server::start(root.path());
    let store = open("s3://bucket", &StoreOptions { max_requests: 4, ..server.options() });
    let object = store.head("x").await.unwrap();
    server.set_faults(Faults { delay: Duration::from_millis(50), ..Faults::default() });
    let reads = (0..16).map(|_| store.get_range(&object, 0..1000));
    futures::future::try_join_all(reads).await.unwrap();
    assert_eq!(server.most_in_flight(), 4, "as the server counts them");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_throttle_holds_over_all_requests() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "bucket/x", &pattern(500_000));
    let server = S3Server::start(root.path());
    let options = StoreOptions { throttle: Some(1_000_000), ..short(&server) };
    let store = open("s3://bucket", &options);
    let object = store.head("x").await.unwrap();
    let started = Instant::now();
    let reads = (0..4).map(|_| store.get_range(&object, 0..500_000));
    futures::future::try_join_all(reads).await.unwrap();
    let taken = started.elapsed();
    assert!(taken >= Duration::from_millis(1800), "2 MB at 1 MB/s in {taken:?}, though the timeout is {SHORT:?}");
}
