//! A bucket's listing and its objects, as stores of many kinds have them.

mod odd_store;

use crate::store::outside::Outside;
use crate::store::{ObjectMeta, Source, Store, StoreOptions};
use crate::{Error, Kind};
use bytes::Bytes;
use futures::TryStreamExt;
use odd_store::{Habits, OddStore};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use zeroize::Zeroizing;

fn options(store: &OddStore) -> StoreOptions {
    let variables = [("AWS_ACCESS_KEY_ID", "A"), ("AWS_SECRET_ACCESS_KEY", "S"), ("AWS_SESSION_TOKEN", "TOKEN")];
    StoreOptions {
        endpoint_url: Some(store.endpoint()),
        environment: variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        ..StoreOptions::default()
    }
}

/// Resolves every name to this machine, whatever its resolver makes of names below `localhost`.
#[derive(Debug)]
struct AllHere;

impl Outside for AllHere {
    fn addresses(&self, _: &str) -> Result<Vec<IpAddr>, Error> {
        Ok(vec![Ipv4Addr::LOCALHOST.into()])
    }

    fn credentials(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        Err(Error::not_found("no profile is asked for"))
    }
}

fn open(source: &str, options: &StoreOptions) -> Store {
    Store::open(&Source::parse(source).unwrap(), options).unwrap()
}

/// A store with these keys, each holding its own name.
async fn with_keys(habits: Habits, keys: &[&str]) -> OddStore {
    OddStore::start(habits, keys.iter().map(|key| (*key, Bytes::from((*key).to_owned())))).await
}

async fn list(store: &Store, prefix: &str) -> Result<Vec<String>, Error> {
    let objects: Vec<ObjectMeta> = store.list(prefix).try_collect().await?;
    let mut keys: Vec<String> = objects.into_iter().map(|object| object.key.to_string()).collect();
    keys.sort();
    Ok(keys)
}

async fn listed(store: &Store, key: &str) -> ObjectMeta {
    let objects: Vec<ObjectMeta> = store.list("").try_collect().await.unwrap();
    objects.into_iter().find(|object| &*object.key == key).unwrap()
}

const KEYS: [&str; 7] = ["host/1/a", "host/1/b", "host/2/a", "host/3/a", "host/4", "host/5/x/y", "other"];

#[tokio::test]
async fn a_listing_in_the_first_versions_form_is_whole() {
    for (page, next_marker) in [(1, false), (2, true), (3, false)] {
        let habits = Habits { page, first_version: true, next_marker, ..Habits::default() };
        let server = with_keys(habits, &KEYS).await;
        let store = open("s3://bucket", &options(&server));
        assert_eq!(list(&store, "").await.unwrap(), KEYS, "{page} a page");
        assert!(server.seen().iter().any(|seen| seen.line.contains("marker=")), "{:?}", server.seen());
        let level = store.list_level("host/").await.unwrap();
        assert_eq!((level.prefixes, level.objects.len()), (["1", "2", "3", "5"].map(str::to_owned).to_vec(), 1));
        let after: Vec<ObjectMeta> = store.list_after("host/", "host/2/a").try_collect().await.unwrap();
        assert_eq!(after.len(), 3, "{after:?}");
    }
}

#[tokio::test]
async fn one_level_is_one_level_also_where_the_store_lists_all() {
    for page in [0, 2] {
        let server = with_keys(Habits { page, ignores_delimiter: true, ..Habits::default() }, &KEYS).await;
        let level = open("s3://bucket", &options(&server)).list_level("host/").await.unwrap();
        assert_eq!(level.prefixes, ["1", "2", "3", "5"], "{page} a page");
        assert_eq!(level.objects.iter().map(|object| &*object.key).collect::<Vec<_>>(), ["host/4"]);
    }
}

#[tokio::test]
async fn a_listing_that_repeats_or_never_ends_is_an_error() {
    for habits in [
        Habits { page: 2, repeats: true, ..Habits::default() },
        Habits { page: 2, repeats: true, first_version: true, ..Habits::default() },
        Habits { endless: true, ..Habits::default() },
        Habits { endless: true, first_version: true, ..Habits::default() },
    ] {
        let server = with_keys(habits.clone(), &KEYS).await;
        let store = open("s3://bucket", &options(&server));
        let error = list(&store, "").await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{habits:?}: {error}");
        assert!(error.to_string().starts_with("the listing of s3://bucket makes no sense"), "{error}");
        assert!(store.list_level("host/").await.is_err(), "{habits:?}");
    }
}

#[tokio::test]
async fn what_is_no_listing_is_no_empty_bucket() {
    let says = "<html><body>Please log in</body></html>";
    let server = with_keys(Habits { says: Some(says), ..Habits::default() }, &[]).await;
    let error = list(&open("s3://bucket", &options(&server)), "").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.to_string().contains("\"html\" in place of a listing"), "{error}");
}

#[tokio::test]
async fn empty_objects_that_stand_for_directories_are_no_files() {
    let markers = ["dir/", "dir/.index/", "plain", "top_$folder$", "dir/lone_$folder$", "only/"];
    let files = ["dir/.index/a.db", "dir/a.db", "plain-2", "plain/a.db", "top/a.db"];
    for page in [0, 1, 2] {
        let server = with_keys(Habits { page, ..Habits::default() }, &files).await;
        for marker in markers {
            server.put(marker, "");
        }
        server.put("empty", "");
        server.put("full/", "x");
        let store = open("s3://bucket", &options(&server));
        let mut expected: Vec<&str> = files.to_vec();
        expected.push("empty");
        expected.sort_unstable();
        assert_eq!(list(&store, "").await.unwrap(), expected);
        let skipped = store.skipped_names();
        assert_eq!(skipped.len(), 1, "{skipped:?}");
        assert!(skipped[0].name == "full/" && skipped[0].reason.contains("has content"), "{skipped:?}");

        let level = store.list_level("").await.unwrap();
        assert_eq!(level.prefixes, ["dir", "full", "only", "plain", "top"]);
        let objects: Vec<&str> = level.objects.iter().map(|object| &*object.key).collect();
        assert_eq!(objects, ["empty", "plain-2"]);
        assert_eq!(list(&store, "dir/").await.unwrap(), ["dir/.index/a.db", "dir/a.db"]);
        // And of a source that is a directory itself.
        let below = open("s3://bucket/dir", &options(&server));
        assert_eq!(list(&below, "").await.unwrap(), [".index/a.db", "a.db"]);
    }
}

#[tokio::test]
async fn keys_with_an_empty_part_are_reported_with_the_way_out() {
    let keys = ["/host/a", "/host/b", "a", "backups//host/c", "backups/host/d", "x/./y"];
    let server = with_keys(Habits { page: 2, ..Habits::default() }, &keys).await;
    let store = open("s3://bucket", &options(&server));
    assert_eq!(list(&store, "").await.unwrap(), ["a", "backups/host/d"]);
    let skipped: Vec<(String, String)> =
        store.skipped_names().into_iter().map(|skipped| (skipped.name, skipped.reason.into_owned())).collect();
    let names: Vec<&str> = skipped.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["/", "backups//", "x/./"]);
    let error = store.nothing_left_out().unwrap_err().to_string();
    assert!(error.contains("may hold backups: \"/\"") && error.contains("; \"backups//\""), "{error}");
    let command = "`aws s3 mv --recursive s3://bucket// s3://bucket/`";
    assert!(skipped[0].1.contains(command), "{skipped:?}");
    let command = "`aws s3 mv --recursive s3://bucket/backups// s3://bucket/backups/`";
    assert!(skipped[1].1.contains(command), "{skipped:?}");

    let level = open("s3://bucket", &options(&server));
    assert_eq!(level.list_level("").await.unwrap().prefixes, ["backups", "x"]);
    assert_eq!(level.skipped_names().len(), 1);
    let below = open("s3://bucket/backups", &options(&server));
    assert_eq!(below.list_level("").await.unwrap().prefixes, ["host"]);
    let skipped = below.skipped_names();
    assert_eq!(skipped[0].name, "/");
    assert!(skipped[0].reason.contains("s3://bucket/backups// s3://bucket/backups/"), "{skipped:?}");
}

#[tokio::test]
async fn a_store_that_lists_other_etags_can_be_read() {
    let server = with_keys(Habits { lists_other_tags: true, ..Habits::default() }, &KEYS).await;
    let store = open("s3://bucket", &options(&server));
    for key in ["host/1/a", "other"] {
        let object = listed(&store, key).await;
        assert_eq!(store.get_range(&object, 0..3).await.unwrap(), key.as_bytes()[..3]);
        let before = server.seen().len();
        assert_eq!(store.get_range(&object, 1..3).await.unwrap(), key.as_bytes()[1..3]);
        assert_eq!(server.seen().len(), before + 1, "what HEAD calls it is remembered");
    }
    // One that was replaced, by as many bytes within the same second, is another version all the
    // same.
    let object = listed(&store, "host/2/a").await;
    server.put("host/2/a", "HOST/2/A");
    assert_eq!(store.get_range(&object, 0..3).await.unwrap_err().kind(), Kind::Changed);
    let object = listed(&store, "host/1/a").await;
    server.put("host/1/a", "HOST/1/A");
    assert_eq!(store.get_range(&object, 0..3).await.unwrap_err().kind(), Kind::Changed, "known by its other tag");
}

#[tokio::test]
async fn a_store_that_lists_right_etags_is_never_asked_to_explain_a_change() {
    let server = with_keys(Habits::default(), &KEYS).await;
    let store = open("s3://bucket", &options(&server));
    let object = listed(&store, "other").await;
    store.nothing_left_out().unwrap();
    server.put("other", "OTHER");
    assert_eq!(store.get_range(&object, 0..3).await.unwrap_err().kind(), Kind::Changed);
}

#[tokio::test]
async fn archived_objects_are_known_from_the_listing_and_read_once_thawed() {
    let habits = Habits { archived: Some("host/"), thawed: Some("host/1"), page: 3, ..Habits::default() };
    let server = with_keys(habits, &KEYS).await;
    let store = open("s3://bucket", &options(&server));
    let objects: Vec<ObjectMeta> = store.list("").try_collect().await.unwrap();
    let archived: Vec<&str> = objects.iter().filter(|object| object.archived).map(|object| &*object.key).collect();
    assert_eq!(archived, ["host/2/a", "host/3/a", "host/4", "host/5/x/y"]);
    let read = |key: &str| objects.iter().find(|object| &*object.key == key).cloned().unwrap();
    let error = store.get_range(&read("host/2/a"), 0..1).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Archived, "{error}");
    assert!(error.to_string().starts_with("host/2/a: archived: thaw it first"), "{error}");
    store.get_range(&read("host/1/a"), 0..1).await.unwrap();
}

#[tokio::test]
async fn the_region_that_the_store_names_is_followed() {
    for region_in_header in [false, true] {
        let habits = Habits { region: Some("eu-central-1"), region_in_header, ..Habits::default() };
        let server = with_keys(habits, &KEYS).await;
        let store = open("s3://bucket", &options(&server));
        assert_eq!(list(&store, "").await.unwrap(), KEYS);
        let before = server.seen().len();
        let object = store.head("other").await.unwrap();
        store.get_range(&object, 0..1).await.unwrap();
        assert_eq!(server.seen().len(), before + 2, "it is found once");
        // Nor does a move end what runs: a replica may have taken the name.
        server.change(|habits| habits.region = Some("eu-west-1"));
        store.get_range(&object, 0..1).await.unwrap();
        assert_eq!(list(&store, "").await.unwrap(), KEYS);
    }
}

#[tokio::test]
async fn credentials_that_were_replaced_since_are_read_again() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".aws")).unwrap();
    let write = |key: &str| {
        let content = format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = S\n");
        std::fs::write(home.path().join(".aws/credentials"), content).unwrap();
    };
    write("OLD");
    let server = with_keys(Habits { access_key: Some("OLD"), ..Habits::default() }, &KEYS).await;
    let environment = vec![("HOME".to_owned(), home.path().display().to_string())];
    let store = open("s3://bucket", &StoreOptions { environment, ..options(&server) });
    let object = listed(&store, "other").await;

    server.change(|habits| habits.access_key = Some("NEW"));
    let before = server.seen().len();
    let error = store.get_range(&object, 0..1).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Denied, "{error}");
    assert_eq!(server.seen().len(), before + 1, "the same keys are not tried twice");
    write("NEW");
    store.get_range(&object, 0..1).await.unwrap();
    assert_eq!(list(&store, "").await.unwrap(), KEYS);
}

#[tokio::test]
async fn virtual_hosted_style_is_named_and_used() {
    let server = with_keys(Habits { virtual_hosted_only: true, ..Habits::default() }, &["bucket"]).await;
    let error = open("s3://bucket", &options(&server)).check().await.unwrap_err();
    assert!(error.to_string().contains("--virtual-hosted-style"), "{error}");
    let endpoint = server.endpoint().replace("127.0.0.1", "store.test");
    let options = StoreOptions {
        endpoint_url: Some(endpoint),
        virtual_hosted_style: true,
        outside: Some(Arc::new(AllHere)),
        ..options(&server)
    };
    open("s3://bucket", &options).check().await.unwrap();
    assert!(server.seen().last().unwrap().headers["host"].starts_with("bucket.store.test:"));
}

#[tokio::test]
async fn the_owner_or_the_caller_pays_and_keys_for_sse_c_go_along() {
    let server = with_keys(Habits { page: 2, first_version: true, ..Habits::default() }, &KEYS).await;
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), [7; 32]).unwrap();
    let options = StoreOptions { request_payer: true, sse_c_key_file: Some(key.path().to_owned()), ..options(&server) };
    let store = open("s3://bucket", &options);
    let object = listed(&store, "other").await;
    store.get_range(&object, 0..1).await.unwrap();
    let seen = server.seen();
    assert!(seen.len() > 4);
    for request in &seen {
        let payer = request.headers.get("x-amz-request-payer").map(String::as_str);
        assert_eq!(payer, Some("requester"), "{request:?}");
        assert!(request.headers["authorization"].contains("x-amz-request-payer"), "{request:?}");
    }
    let last = &seen.last().unwrap().headers;
    assert_eq!(last["x-amz-server-side-encryption-customer-algorithm"], "AES256");
    assert!(last.contains_key("x-amz-server-side-encryption-customer-key-md5"));
}

#[tokio::test]
async fn a_redirect_carries_nothing_to_another_host() {
    let other = with_keys(Habits::default(), &KEYS).await;
    let habits = Habits { redirects_to: Some(format!("{}/bucket/other", other.endpoint())), ..Habits::default() };
    let server = with_keys(habits, &KEYS).await;
    let store = open("s3://bucket", &options(&server));
    let error = store.check().await.unwrap_err();
    assert!(error.to_string().contains("redirect to \"127.0.0.1\""), "{error}");
    assert!(store.head("other").await.is_err());
    assert!(other.seen().is_empty(), "{:?}", other.seen());
    assert_eq!(server.seen()[0].headers["x-amz-security-token"], "TOKEN");
}

#[tokio::test]
async fn google_gives_what_is_stored_and_not_what_was_compressed() {
    let server = with_keys(Habits { decompresses: true, ..Habits::default() }, &["a.tar.gz"]).await;
    let options =
        StoreOptions { endpoint_url: Some(server.endpoint()), no_sign_request: true, ..StoreOptions::default() };
    let store = open("gs://bucket", &options);
    let object = listed(&store, "a.tar.gz").await;
    assert_eq!(store.get_range(&object, 0..8).await.unwrap(), &b"a.tar.gz"[..]);
    // Through another kind of client it is decompressed: cause and cure are named.
    let store = open("s3://bucket", &options);
    let error = store.get_range(&object, 0..8).await.unwrap_err();
    assert!(error.to_string().contains("--clear-content-encoding"), "{error}");
}

#[tokio::test]
async fn a_credential_process_gives_keys_and_is_run_again_when_they_are_refused() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".aws")).unwrap();
    let given = home.path().join("given");
    let config = format!("[profile p]\ncredential_process = cat {}\n", given.display());
    std::fs::write(home.path().join(".aws/config"), config).unwrap();
    let give = |key: &str| {
        std::fs::write(&given, format!("{{\"Version\":1,\"AccessKeyId\":\"{key}\",\"SecretAccessKey\":\"S\"}}"))
            .unwrap();
    };
    give("OLD");
    let server = with_keys(Habits { access_key: Some("OLD"), ..Habits::default() }, &KEYS).await;
    let environment = vec![("HOME".to_owned(), home.path().display().to_string())];
    let store = open("s3://bucket", &StoreOptions { environment, profile: Some("p".into()), ..options(&server) });
    assert_eq!(list(&store, "").await.unwrap(), KEYS);
    server.change(|habits| habits.access_key = Some("NEW"));
    give("NEW");
    assert_eq!(list(&store, "").await.unwrap(), KEYS);
    // Not at each refusal.
    server.change(|habits| habits.access_key = Some("NEWER"));
    give("NEWER");
    assert_eq!(list(&store, "").await.unwrap_err().kind(), Kind::Denied);
}

#[tokio::test]
async fn no_credentials_are_said_soon_and_with_all_places() {
    let server = with_keys(Habits::default(), &KEYS).await;
    let home = tempfile::tempdir().unwrap();
    // Nothing listens there any more.
    let dead = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let with = |name: &str, value: String| StoreOptions {
        environment: vec![("HOME".to_owned(), home.path().display().to_string()), (name.to_owned(), value)],
        ..options(&server)
    };
    for (options, service) in [
        (with("AWS_EC2_METADATA_DISABLED", "true".into()), "switched off by AWS_EC2_METADATA_DISABLED"),
        (with("AWS_METADATA_ENDPOINT", format!("http://{dead}")), "the instance's metadata service: "),
    ] {
        let error = open("s3://bucket", &options).check().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Denied, "{error}");
        let text = error.to_string();
        assert!(text.starts_with("no credentials for s3://bucket: none in the environment"), "{text}");
        let file = home.path().join(".aws/credentials").display().to_string();
        assert!(text.contains(&file) && text.contains(service), "{text}");
    }
    assert!(server.seen().is_empty());
}
