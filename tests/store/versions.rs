//! `--as-of` on a real server that keeps versions: what was deleted or overwritten since is there
//! again, byte by byte.

use cassmount::Kind;
use cassmount::store::{Source, Store, StoreOptions, ThawRequest, ThawTier, Thawer, Thawing};
use cassmount::time::Timestamp;
use futures::TryStreamExt;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};
use testkit::real_s3::RealS3;

/// A moment before and after which nothing is written: servers round times.
async fn moment() -> Timestamp {
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let moment = Timestamp::from(SystemTime::now());
    tokio::time::sleep(Duration::from_millis(1100)).await;
    moment
}

fn open(server: &RealS3, source: &str, as_of: Option<Timestamp>) -> Store {
    Store::open(&Source::parse(source).unwrap(), &StoreOptions { as_of, ..server.options() }).unwrap()
}

/// Keys and content of all that is listed.
async fn content(store: &Store) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let listed: Vec<_> = store.list("").try_collect().await.unwrap();
    for object in listed {
        let bytes = store.get_range(&object, 0..object.size).await.unwrap();
        assert_eq!(store.head(&object.key).await.unwrap(), object, "HEAD shows what the listing does");
        found.insert(object.key.to_string(), String::from_utf8(bytes.to_vec()).unwrap());
    }
    found
}

fn pairs(expected: &[(&str, &str)]) -> BTreeMap<String, String> {
    expected.iter().map(|(key, content)| ((*key).to_owned(), (*content).to_owned())).collect()
}

fn objects(objects: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
    objects.iter().map(|(key, content)| ((*key).to_owned(), content.as_bytes().to_vec())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_shown_as_it_was() {
    let Some(server) = RealS3::moto_or_skip("a_bucket_is_shown_as_it_was") else { return };
    server.create_bucket("bucket", true);
    let before = moment().await;
    server
        .put("bucket", objects(&[("p/a/kept", "kept"), ("p/a/replaced", "one"), ("p/b/gone", "gone"), ("p/top", "t")]));
    let first = moment().await;
    server.put("bucket", objects(&[("p/a/replaced", "two!"), ("p/c/later", "later"), ("p/b/gone2", "x")]));
    server.delete("bucket", [&"p/b/gone".to_owned(), &"p/b/gone2".to_owned()]);
    let second = moment().await;
    let all = ["p/a/kept", "p/a/replaced", "p/c/later", "p/top"].map(str::to_owned);
    server.delete("bucket", &all);

    let now = open(&server, "s3://bucket/p", None);
    assert!(content(&now).await.is_empty(), "the bucket is empty now");
    let at = |moment| open(&server, "s3://bucket/p", Some(moment));
    assert!(content(&at(before)).await.is_empty());
    let then = pairs(&[("a/kept", "kept"), ("a/replaced", "one"), ("b/gone", "gone"), ("top", "t")]);
    assert_eq!(content(&at(first)).await, then);
    let then = pairs(&[("a/kept", "kept"), ("a/replaced", "two!"), ("c/later", "later"), ("top", "t")]);
    assert_eq!(content(&at(second)).await, then);

    for (moment, directories) in [(before, &[][..]), (first, &["a", "b"]), (second, &["a", "c"])] {
        let level = at(moment).list_level("").await.unwrap();
        assert_eq!(level.prefixes, directories, "a directory that was empty then is none");
        assert_eq!(level.objects.len(), usize::from(moment != before));
    }
    let after: Vec<_> = at(first).list_after("", "a/kept").try_collect().await.unwrap();
    assert_eq!(after.iter().map(|object| &*object.key).collect::<Vec<_>>(), ["a/replaced", "b/gone", "top"]);
    // A process that was not the one that listed finds the version by itself.
    let object = at(first).head("a/replaced").await.unwrap();
    assert_eq!(&*at(first).get_range(&object, 1..3).await.unwrap(), b"ne");
    assert_eq!(at(second).get_range(&object, 0..3).await.unwrap_err().kind(), Kind::Changed);
    assert_eq!(at(first).head("c/later").await.unwrap_err().kind(), Kind::NotFound);
    assert_ne!(at(first).name(), at(second).name(), "caches of two moments are two");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_versions_and_directories_are_read_page_by_page() {
    let Some(server) = RealS3::moto_or_skip("many_versions_and_directories_are_read_page_by_page") else { return };
    server.create_bucket("bucket", true);
    let old = |number: usize| (format!("d{number:02}/object"), b"old".to_vec());
    server.put("bucket", (0..30).map(old).chain([("z".to_owned(), b"first".to_vec())]));
    let then = moment().await;
    // More versions of one key than a page holds.
    server.put("bucket", (0..1005).map(|number| ("z".to_owned(), format!("{number}").into_bytes())));
    server.put("bucket", (0..10).map(|number| (format!("e{number}/object"), b"new".to_vec())));
    let store = open(&server, "s3://bucket", Some(then));
    let level = store.list_level("").await.unwrap();
    assert_eq!(level.prefixes.len(), 30, "{:?}", level.prefixes);
    let listed: Vec<_> = store.list("").try_collect().await.unwrap();
    assert_eq!(listed.len(), 31);
    assert_eq!(&*store.get_range(&store.head("z").await.unwrap(), 0..5).await.unwrap(), b"first");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_no_versions_is_not_shown_as_the_past() {
    let Some(server) = RealS3::moto_or_skip("what_keeps_no_versions_is_not_shown_as_the_past") else { return };
    server.create_bucket("plain", false);
    server.put("plain", objects(&[("a", "a")]));
    let error = open(&server, "s3://plain", Some(Timestamp::from_secs(1))).check().await.unwrap_err();
    assert!(error.to_string().contains("keeps no versions"), "{error}");
    let as_of = Some(Timestamp::from_secs(1));
    if let Some(versity) = RealS3::versity_or_skip("what_keeps_no_versions_is_not_shown_as_the_past") {
        versity.create_bucket("bucket", true);
        versity.put("bucket", objects(&[("a", "a")]));
        let error = open(&versity, "s3://bucket", as_of).check().await.unwrap_err();
        assert!(error.to_string().contains("when versions were written"), "{error}");
    }
    for source in ["gs://bucket", "az://container", "/tmp"] {
        let opened = Store::open(&Source::parse(source).unwrap(), &StoreOptions { as_of, ..StoreOptions::default() });
        assert!(opened.unwrap_err().to_string().contains("--as-of"), "{source}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_archived_is_thawed_by_asking() {
    let Some(server) = RealS3::moto_or_skip("what_is_archived_is_thawed_by_asking") else { return };
    server.create_bucket("bucket", false);
    server.put_cold("bucket", objects(&[("p/a/cold", "cold"), ("p/other", "other")]));
    server.put("bucket", objects(&[("p/warm", "warm")]));
    let store = open(&server, "s3://bucket/p", None);
    let listed: Vec<_> = store.list("").try_collect().await.unwrap();
    let of = |key: &str| listed.iter().find(|object| &*object.key == key).unwrap();
    let (cold, warm) = (of("a/cold"), of("warm"));
    assert!(cold.archived && !warm.archived, "{listed:?}");
    assert_eq!(store.get_range(cold, 0..4).await.unwrap_err().kind(), Kind::Archived);
    let source = Source::parse("s3://bucket/p").unwrap();
    let thawer = Thawer::open(&source, &server.options()).unwrap();
    let request = ThawRequest { tier: ThawTier::Bulk, days: 3 };
    assert_eq!(thawer.ask(cold, &request).await.unwrap(), Thawing::Asked);
    assert_eq!(&*store.get_range(cold, 0..4).await.unwrap(), b"cold");
    assert_eq!(thawer.ask(cold, &request).await.unwrap(), Thawing::Readable, "asked again, it only stays longer");
    assert_eq!(store.get_range(of("other"), 0..4).await.unwrap_err().kind(), Kind::Archived, "it was not asked for");
    for source in ["gs://bucket", "az://container", "/tmp"] {
        assert!(Thawer::open(&Source::parse(source).unwrap(), &StoreOptions::default()).is_err(), "{source}");
    }
}
