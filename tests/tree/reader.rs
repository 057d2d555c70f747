//! The whole way from the bucket to a file, in process and mounted, against openssl and tar.

use testkit::command;
use testkit::oracle;
use testkit::skip;
use testkit::unpacked;
use testkit::walk;

use cassmount::cache::Cache;
use cassmount::catalog::{Catalog, CatalogOptions};
use cassmount::keys::KeySources;
use cassmount::reader::{Reader, ReaderOptions};
use cassmount::store::{Source, Store, StoreOptions};
use cassmount::tree::{BackupTree, TreeOptions};
use oracle::{Oracle, comparable};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use unpacked::sample_keys;
use walk::{assert_same, walk_path, walk_view};

fn sample_bucket() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sample/bucket")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_in_process() {
    let cache = tempfile::tempdir().unwrap();
    let store =
        Store::open(&Source::parse(sample_bucket().to_str().unwrap()).unwrap(), &StoreOptions::default()).unwrap();
    let keys = KeySources { files: sample_keys(), ..KeySources::default() }.load().unwrap().ring;
    let catalog = Catalog::open(Arc::new(store.clone()), CatalogOptions::default());
    let cache = Cache::open(cache.path(), 1 << 30).unwrap();
    let reader = Reader::new(store, keys, cache, ReaderOptions::default()).unwrap();
    let tree = BackupTree::new(catalog, reader, TreeOptions::default()).unwrap();
    let expected = Oracle::of(&sample_bucket()).expected();
    assert_same(&comparable(&walk_view(&tree, "").await, &expected), &expected);
}

#[test]
fn every_file_mounted() {
    if !skip::fuse_or_skip("every_file_mounted") {
        return;
    }
    let keys: Vec<String> = sample_keys().iter().map(|key| format!("--key-file={}", key.display())).collect();
    let mounted = command::Mounted::start(
        sample_bucket().to_str().unwrap(),
        &keys.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    let expected = Oracle::of(&sample_bucket()).expected();
    assert_same(&comparable(&walk_path(&mounted.mountpoint), &expected), &expected);
}
