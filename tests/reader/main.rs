//! What the reader promises, over a store in memory and over the sample bucket.

use testkit::bucket;
mod envelope;
mod examine;
mod formats;
mod killed;
mod parts;
mod plain;
mod sample;
use testkit::skip;
mod stream;
mod support;

use bucket::{Tar, encrypt_with, gzip};

use cassmount::Kind;
use cassmount::archive::compression::Spacing;
use cassmount::reader::ReaderOptions;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use support::{PASSPHRASE, World, assert_same, content, number_of, read_all, read_one, seal, table, walk};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_readers_cost_one_pass_and_one_fetch() {
    let world = World::new();
    let files = table(4 << 20);
    let object = world.memory.put("h/t/ks/tab.tar.gz.enc", seal(&files));
    assert!(object.size > 2 << 20);
    let reader = world.reader();
    let all = futures::future::join_all((0..10).map(|_| read_all(&reader, &object))).await;
    for found in all {
        assert_same(&found.unwrap(), &files);
    }
    let stats = reader.stats();
    assert_eq!((stats.passes, stats.spans_read), (1, 0), "{stats:?}");
    // The end is asked for first, for the identity.
    assert_eq!(world.memory.bytes_asked_for(), object.size + 32);
    assert_eq!(stats.bytes_fetched, object.size + 32);
    drop(reader);

    let reader = world.reader();
    assert!(reader.known_listing(&object).await.is_some());
    assert_same(&read_all(&reader, &object).await.unwrap(), &files);
    assert_eq!(reader.stats().requests, 0, "another process needs no request");
}

#[tokio::test]
async fn open_files_have_a_local_file_behind_them() {
    let world = World::new();
    let files = table(10_000);
    let object = world.memory.put("a.enc", seal(&files));
    let reader = world.reader();
    let number = number_of(&reader, &object, "nb-1-big-Data.db").await;
    let open = reader.open(&object, number).await.unwrap();
    let mut file = open.backing().unwrap().try_clone().unwrap();
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
    assert!(bytes == files["nb-1-big-Data.db"]);
    assert_eq!(open.read_at(9_990, 100).await.unwrap().len(), 10);
    assert_eq!(open.read_at(10_000, 100).await.unwrap().len(), 0);
    assert_eq!(open.read_at(u64::MAX, 100).await.unwrap().len(), 0);
    assert_eq!(reader.open(&object, 1000).await.err().unwrap().kind(), Kind::Invalid);
    let read = reader.read_file(&object, number, 9_999).await;
    assert_eq!(read.unwrap_err().kind(), Kind::Invalid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_files_beyond_a_number_are_kept_together() {
    let mut world = World::new();
    world.options = ReaderOptions { single_files: 3, spacing: Some(Spacing::every(128 << 10)), ..world.options };
    let file = |n: u64| (format!("nb-{n}-big-Statistics.db"), content(n, 700));
    let mut files: support::Files = (100..700).map(file).collect();
    files.insert("nb-1-big-Data.db".to_owned(), content(0, 100_000));
    let tar = files.iter().fold(Tar::new(), |tar, (name, content)| tar.file(format!("./{name}"), content));
    let object = world.memory.put("a.enc", encrypt_with(PASSPHRASE, &tar.end()));
    let reader = world.reader();
    reader.listing(&object).await.unwrap();
    let entries = world.cache().status().entries;
    assert!((4..200).contains(&entries), "{entries} entries of the cache for {} files", files.len());
    let requests = reader.stats().requests;
    assert_same(&read_all(&reader, &object).await.unwrap(), &files);
    let stats = reader.stats();
    assert_eq!((stats.requests, stats.passes), (requests, 1), "all of it is in the cache");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_is_never_served() {
    let files = table(100_000);
    let good = seal(&files);
    for tenth in 0..10 {
        for offset in [0, 5, 17, good.len() / 20] {
            let at = good.len() * tenth / 10 + offset;
            let world = World::new();
            let mut bytes = good.clone();
            bytes[at] ^= 0x10;
            let object = world.memory.put("a.enc", bytes);
            let reader = world.reader();
            match read_all(&reader, &object).await {
                // Some bytes of a gzip header mean nothing.
                Ok(found) => assert_same(&found, &files),
                Err(error) => {
                    // Without its first bytes it is no envelope, which its name says it is.
                    let is_named = at < 8 && error.kind() == Kind::Denied;
                    assert!(is_named || matches!(error.kind(), Kind::Corrupt | Kind::NoKey), "byte {at}: {error}");
                    assert_eq!(error.object(), Some("a.enc"));
                    let requests = reader.stats().requests;
                    assert!(reader.listing(&object).await.is_err());
                    // That a plain object is refused costs its first bytes each time: the option
                    // may change that.
                    assert!(is_named || reader.stats().requests == requests, "not fetched again for each stat");
                }
            }
            if offset == 0 {
                let other = world.memory.put("b.enc", good.clone());
                assert_same(&read_all(&reader, &other).await.unwrap(), &files);
            }
        }
    }
}

/// Each byte of a small archive, or each seventh where `scripts/fuzz` does not ask for all: no
/// wrong byte is read, and who looks at all of the archive finds what changes its content.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_flipped_byte_is_found_by_who_reads_and_by_who_verifies() {
    let world = World::new();
    let files = table(300);
    let good = seal(&files);
    assert!(good.len() > 300);
    let reader = world.reader();
    let step = if std::env::var_os("CASSMOUNT_FUZZ_SECONDS").is_some() { 1 } else { 7 };
    let (mut found, tried) = (0, good.len().div_ceil(step));
    for at in (0..good.len()).step_by(step) {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        // Of one host: what is tried where no key fits is bounded for each.
        let object = world.memory.put(&format!("h/{at}.enc"), bytes);
        let read = read_all(&reader, &object).await;
        let examined = reader.examine(&object, (), &|_| {}).await;
        let is_good = examined.is_ok_and(|examined| examined.archive.is_ok());
        match read {
            Ok(read) => {
                assert_same(&read, &files);
                assert!(is_good, "byte {at} changes nothing that is read, and does not verify");
            }
            Err(error) => {
                let is_named = at < 8 && error.kind() == Kind::Denied;
                assert!(is_named || matches!(error.kind(), Kind::Corrupt | Kind::NoKey), "byte {at}: {error}");
                assert!(!is_good, "byte {at} verifies, and cannot be read: {error}");
                found += 1;
            }
        }
    }
    // Of gzip's header, its time and system may change.
    assert!(found * 10 >= tried * 9, "{found} of {tried}");
}

#[tokio::test]
async fn an_object_cut_short_is_corrupt() {
    let good = seal(&table(50_000));
    for len in
        [0, 7, 16, 32, 48, 100, 1000, 1024, good.len() / 2, good.len() / 32 * 16, good.len() - 16, good.len() - 1]
    {
        let world = World::new();
        let object = world.memory.put("a.enc", good[..len].to_vec());
        let error = world.reader().listing(&object).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{len} bytes: {error}");
    }
}

#[test]
fn damage_at_the_start_of_a_large_archive_ends_its_pass() {
    let world = World::new();
    // Far more behind the damage than fits into the queues between the stages.
    let tar = [Tar::new().file("a", "first").into_bytes(), content(1, 32 << 20)].concat();
    let object = world.memory.put("a.enc", encrypt_with(PASSPHRASE, &gzip(&tar)));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listing = runtime.block_on(async {
        let reader = world.reader();
        tokio::time::timeout(Duration::from_mins(1), reader.listing(&object)).await
    });
    // Threads that wait for each other would hold up the end of the test.
    runtime.shutdown_background();
    assert_eq!(listing.expect("the pass ends").unwrap_err().kind(), Kind::Corrupt);
}

#[tokio::test]
async fn no_key_names_the_keys_tried() {
    let mut world = World::new();
    let object = world.memory.put("h/a.enc", seal(&table(1000)));
    world.keys = vec!["wrong", "wrong too"];
    let error = world.reader().listing(&object).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NoKey);
    let text = error.to_string();
    assert!(text.contains("h/a.enc") && text.contains("key-file 0, key-file 1") && !text.contains("wrong"), "{text}");
    world.keys = vec![];
    assert_eq!(world.reader().listing(&object).await.unwrap_err().kind(), Kind::NoKey);
}

#[tokio::test]
async fn a_replaced_object_is_changed_and_its_new_version_another() {
    let mut world = World::new();
    world.options.spacing = Some(Spacing::every(64 << 10));
    let files = table(300_000);
    let old = world.memory.put("a.enc", seal(&files));
    let reader = world.reader();
    let number = number_of(&reader, &old, "nb-2-big-Data.db").await;
    let new_files = table(200_000);
    let new = world.memory.put("a.enc", seal(&new_files));
    assert_same(&read_all(&reader, &new).await.unwrap(), &new_files);
    assert!(read_one(&reader, &old, number).await.unwrap() == files["nb-2-big-Data.db"], "what is cached stays right");
    drop(reader);
    world.empty_cache();
    let reader = world.reader();
    assert_eq!(read_one(&reader, &old, number).await.unwrap_err().kind(), Kind::Changed);
    let gone = world.memory.put("b.enc", seal(&files));
    world.memory.put("b.enc", vec![0; 100]);
    assert_eq!(reader.listing(&gone).await.unwrap_err().kind(), Kind::Changed);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_larger_than_the_cache_reads_right_with_one_pass() {
    let mut world = World::new();
    world.cache_bytes = 300 << 10;
    world.options.spacing = Some(Spacing::every(64 << 10));
    let files = table(2 << 20);
    let object = world.memory.put("a.enc", seal(&files));
    let reader = world.reader();
    for _ in 0..2 {
        assert_same(&read_all(&reader, &object).await.unwrap(), &files);
    }
    let stats = reader.stats();
    assert_eq!(stats.passes, 1, "{stats:?}");
    assert!(stats.bytes_fetched < 5 * object.size, "{stats:?}");
    assert!(world.cache().status().used_bytes <= world.cache_bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_readers_jump_about_while_the_cache_is_too_small_and_gets_damaged() {
    let mut world = World::new();
    world.cache_bytes = 2 << 20;
    world.options = ReaderOptions { memory_limit: 4 << 20, spacing: Some(Spacing::every(128 << 10)), ..world.options };
    let files = Arc::new(table(6 << 20));
    let object = world.memory.put("a.enc", seal(&files));
    let reader = world.reader();
    let listing = reader.listing(&object).await.unwrap();
    let entries = world.cache_dir().join("entries");
    let vandal = tokio::task::spawn_blocking(move || {
        for round in 0..40_usize {
            let all = walk(&entries);
            if let Some(path) = all.get(round * 7 % all.len().max(1))
                && let Ok(mut bytes) = std::fs::read(path)
                && !bytes.is_empty()
            {
                // Not in place: who has the entry open has it checked already.
                let at = bytes.len() / 2;
                bytes[at] ^= 1;
                let other = path.with_extension("tmp");
                std::fs::write(&other, bytes).unwrap();
                std::fs::rename(other, path).unwrap();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let tasks = (0..16_u64).map(|task| {
        let (reader, object, listing, files) =
            (Arc::clone(&reader), Arc::clone(&object), Arc::clone(&listing), Arc::clone(&files));
        tokio::spawn(async move {
            for step in 0..60_u64 {
                let dice = (task * 1_000_003 + step * 7919).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
                let number = (dice % listing.files.len() as u64) as usize;
                let wanted = &files[&*listing.files[number].path];
                let offset = (dice >> 8) as usize % (wanted.len() + 1);
                let len = 4096.min(wanted.len() - offset);
                let open = reader.open(&object, number).await.unwrap();
                let found = open.read_at(offset as u64, 4096).await.unwrap();
                assert!(found == wanted[offset..offset + len], "{:?} at {offset}", listing.files[number].path);
            }
        })
    });
    for task in futures::future::join_all(tasks).await {
        task.unwrap();
    }
    vandal.await.unwrap();
    assert_eq!(reader.stats().passes, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_entries_are_fetched_again() {
    let mut world = World::new();
    world.options.spacing = Some(Spacing::every(64 << 10));
    let files = table(500_000);
    let object = world.memory.put("a.enc", seal(&files));
    assert_same(&read_all(&world.reader(), &object).await.unwrap(), &files);
    for (n, path) in walk(&world.cache_dir().join("entries")).into_iter().enumerate() {
        let mut bytes = std::fs::read(&path).unwrap();
        match n % 3 {
            0 => bytes.truncate(bytes.len() / 2),
            1 => bytes[0] ^= 1,
            _ => bytes.push(0),
        }
        std::fs::write(&path, bytes).unwrap();
    }
    let reader = world.reader();
    assert_same(&read_all(&reader, &object).await.unwrap(), &files);
    assert_eq!(reader.stats().passes, 0, "spans are enough");
    assert!(reader.stats().bytes_fetched > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_or_missing_records_cost_a_pass_and_no_more() {
    let mut world = World::new();
    world.options.spacing = Some(Spacing::every(64 << 10));
    let files = table(500_000);
    let object = world.memory.put("a.enc", seal(&files));
    assert_same(&read_all(&world.reader(), &object).await.unwrap(), &files);
    let records = walk(&world.cache_dir().join("index"));
    assert_eq!(records.len(), 2, "{records:?}");
    for path in &records {
        let good = std::fs::read(path).unwrap();
        for at in [0, good.len() / 3, good.len() - 1] {
            let mut bytes = good.clone();
            bytes[at] ^= 4;
            std::fs::write(path, bytes).unwrap();
            world.empty_cache();
            let reader = world.reader();
            assert_same(&read_all(&reader, &object).await.unwrap(), &files);
            assert!(reader.stats().passes <= 1, "{} at {at}", path.display());
        }
        std::fs::remove_file(path).unwrap();
        world.empty_cache();
        assert_same(&read_all(&world.reader(), &object).await.unwrap(), &files);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_read_in_order_is_landed_again() {
    let mut world = World::new();
    world.options.spacing = Some(Spacing::every(256 << 10));
    let files = table(12 << 20);
    let object = world.memory.put("a.enc", seal(&files));
    let number = number_of(&world.reader(), &object, "nb-1-big-Data.db").await;
    world.empty_cache();
    world.memory.latency.store(5, Ordering::Relaxed);
    let reader = world.reader();
    assert!(read_one(&reader, &object, number).await.unwrap() == files["nb-1-big-Data.db"]);
    let fetched = reader.stats().bytes_fetched;
    assert!(fetched < object.size, "{fetched} of {}", object.size);
    let until = Instant::now() + Duration::from_secs(10);
    while reader.open(&object, number).await.unwrap().backing().is_none() {
        assert!(Instant::now() < until, "landed once it was wanted to its end");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(reader.stats().bytes_fetched, fetched, "no span twice");
    assert_eq!(reader.stats().passes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_random_read_costs_one_span() {
    let mut world = World::new();
    world.options.spacing = Some(Spacing::every(256 << 10));
    let files = table(8 << 20);
    let object = world.memory.put("a.enc", seal(&files));
    let number = number_of(&world.reader(), &object, "nb-1-big-Data.db").await;
    world.empty_cache();
    let reader = world.reader();
    let open = reader.open(&object, number).await.unwrap();
    let found = open.read_at(5_000_000, 4096).await.unwrap();
    assert!(found == files["nb-1-big-Data.db"][5_000_000..5_004_096]);
    let stats = reader.stats();
    assert!(stats.requests <= 2 && stats.bytes_fetched < 800 << 10, "{stats:?}");
}

#[tokio::test]
async fn a_stalled_store_times_out_and_the_next_read_tries_again() {
    let mut world = World::new();
    world.timeout = Duration::from_millis(300);
    let files = table(10_000);
    let object = world.memory.put("a.enc", seal(&files));
    world.memory.stalled.store(true, Ordering::Relaxed);
    let reader = world.reader();
    let started = Instant::now();
    assert_eq!(reader.listing(&object).await.unwrap_err().kind(), Kind::TimedOut);
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    world.memory.stalled.store(false, Ordering::Relaxed);
    assert_same(&read_all(&reader, &object).await.unwrap(), &files);
    assert_eq!(reader.stats().timed_out, 1);
}

#[tokio::test]
async fn whoever_waits_too_long_gives_up_but_the_pass_goes_on() {
    let mut world = World::new();
    world.options.wait_limit = Duration::from_millis(50);
    let object = world.memory.put("a.enc", seal(&table(10_000)));
    world.memory.latency.store(300, Ordering::Relaxed);
    let reader = world.reader();
    assert_eq!(reader.listing(&object).await.unwrap_err().kind(), Kind::TimedOut);
    let until = Instant::now() + Duration::from_secs(10);
    while reader.known_listing(&object).await.is_none() {
        assert!(Instant::now() < until, "the pass goes on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    reader.listing(&object).await.unwrap();
    assert_eq!(reader.stats().passes, 1);
}

#[tokio::test]
async fn dropping_the_reader_breaks_off_what_is_under_way() {
    let world = World::new();
    let object = world.memory.put("a.enc", seal(&table(10_000)));
    world.memory.stalled.store(true, Ordering::Relaxed);
    let reader = world.reader();
    let waiting = {
        let (reader, object) = (Arc::clone(&reader), Arc::clone(&object));
        tokio::spawn(async move { reader.listing(&object).await.map(drop) })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    waiting.abort();
    let _ = waiting.await;
    let alive = Arc::downgrade(&world.memory);
    let World { memory, .. } = world;
    drop((memory, reader));
    let until = Instant::now() + Duration::from_secs(5);
    while alive.strong_count() > 0 {
        assert!(Instant::now() < until, "something still holds the store");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_sstable_that_contradicts_its_digest_is_corrupt_and_no_other() {
    let world = World::new();
    let mut files = table(100_000);
    files.insert("nb-2-big-Digest.crc32".to_owned(), b"12345".to_vec());
    let object = world.memory.put("a.enc", seal(&files));
    for _ in 0..2 {
        let reader = world.reader();
        let listing = reader.listing(&object).await.unwrap();
        for (number, file) in listing.files.iter().enumerate() {
            let read = read_one(&reader, &object, number).await;
            if file.path.starts_with("nb-2-") {
                let error = read.unwrap_err();
                assert_eq!(error.kind(), Kind::Corrupt);
                assert!(error.to_string().contains("nb-2-big-Digest.crc32 says 12345"), "{error}");
            } else {
                assert!(read.unwrap() == files[&*file.path], "{}", file.path);
            }
        }
    }
}

#[tokio::test]
async fn plain_objects_are_fetched_once() {
    let world = World::new();
    let bytes = content(1, 20_000);
    let object = world.memory.put("h/t/backup_manifest.json", bytes.clone());
    let reader = world.reader();
    let all = futures::future::join_all((0..5).map(|_| reader.fetch_object(&object, 20_000))).await;
    assert!(all.into_iter().all(|found| found.unwrap() == bytes));
    assert_eq!(reader.stats().requests, 1);
    assert_eq!(reader.fetch_object(&object, 19_999).await.unwrap_err().kind(), Kind::Invalid);
    drop(reader);
    let reader = world.reader();
    assert!(reader.fetch_object(&object, 20_000).await.unwrap() == bytes);
    assert_eq!(reader.stats().requests, 0);
    let empty = world.memory.put("empty", Vec::new());
    assert!(reader.fetch_object(&empty, 0).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_for_file_or_index_a_read_fails_and_costs_no_loop_of_passes() {
    let files = table(1 << 20);
    let sealed = seal(&files);
    let mut world = World::new();
    let object = world.memory.put("a.enc", sealed.clone());
    world.reader().listing(&object).await.unwrap();
    let index = walk(&world.cache_dir().join("index")).into_iter().find(|path| path.extension().unwrap() == "index");
    let index = index.unwrap();
    // The same again, but where the index has to be written there is a directory.
    world.empty_cache();
    std::fs::remove_file(&index).unwrap();
    std::fs::create_dir_all(index.with_extension("part")).unwrap();
    world.cache_bytes = 64 << 10;
    let reader = world.reader();
    let number = number_of(&reader, &object, "nb-1-big-Data.db").await;
    for _ in 0..5 {
        assert_eq!(read_one(&reader, &object, number).await.unwrap_err().kind(), Kind::NoSpace);
    }
    assert_eq!(reader.stats().passes, 1);
}
