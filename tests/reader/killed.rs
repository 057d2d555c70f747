//! A process killed in the middle of a pass leaves something to go on from, and nothing wrong.

use super::support::{PASSPHRASE, World, assert_same, read_all, ring, seal, table, walk};
use cassmount::cache::Cache;
use cassmount::reader::{Reader, ReaderOptions};
use cassmount::store::{Source, Store, StoreOptions};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

const WORK_DIR: &str = "CASSMOUNT_TEST_KILLED";

fn reader(dir: &Path, throttle: Option<u64>) -> (Store, Arc<Reader>) {
    let source = Source::parse(dir.join("bucket").to_str().unwrap()).unwrap();
    let options = StoreOptions { throttle, ..StoreOptions::default() };
    let store = Store::open(&source, &options).unwrap();
    let cache = Cache::open(&dir.join("cache"), 1 << 30).unwrap();
    let options = ReaderOptions {
        save_every: Some(1 << 20),
        spacing: Some(cassmount::archive::compression::Spacing::every(256 << 10)),
        ..ReaderOptions::default()
    };
    (store.clone(), Reader::new(store, ring(&[PASSPHRASE]), cache, options).unwrap())
}

/// Not a test: the process that [`a_pass_goes_on_after_kill_9`] kills.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs as a child of another test"]
async fn child() {
    let Some(dir) = std::env::var_os(WORK_DIR) else { return };
    let (store, reader) = reader(Path::new(&dir), Some(3 << 20));
    let object = Arc::new(store.head("a.enc").await.unwrap());
    drop(read_all(&reader, &object).await);
    panic!("it was to be killed before this");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_goes_on_after_kill_9() {
    let world = World::new();
    let dir = world.dir.path();
    let files = table(12 << 20);
    std::fs::create_dir(dir.join("bucket")).unwrap();
    std::fs::write(dir.join("bucket/a.enc"), seal(&files)).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed::child", "--ignored", "--nocapture"])
        .env(WORK_DIR, dir)
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_mins(1);
    let staged =
        || walk(&dir.join("cache/staging")).iter().map(|path| path.metadata().map_or(0, |meta| meta.len())).sum();
    let half_done = || {
        dir.join("cache/staging").is_dir() && {
            let bytes: u64 = staged();
            bytes > 8 << 20
        }
    };
    while !half_done() {
        assert!(Instant::now() < until && child.try_wait().unwrap().is_none(), "the child does not get far");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));

    let (store, reader) = reader(dir, None);
    assert!(walk(&dir.join("cache/staging")).is_empty(), "what was half landed is gone");
    assert!(walk(&dir.join("cache/entries")).is_empty(), "nothing unverified was published");
    let object = Arc::new(store.head("a.enc").await.unwrap());
    assert!(reader.known_listing(&object).await.is_none());
    let listing = reader.listing(&object).await.unwrap();
    assert!(listing.files.iter().all(|file| file.damage.is_none()));
    let fetched = reader.stats().bytes_fetched;
    assert!(fetched < object.size * 9 / 10, "{fetched} of {} bytes: it did not go on", object.size);
    assert_same(&read_all(&reader, &object).await.unwrap(), &files);
    assert_eq!(reader.stats().passes, 1);
    println!("went on: {fetched} of {} bytes", object.size);
}
