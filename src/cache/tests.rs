use super::*;
use crate::cache_dir::CacheDir;
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn key(n: u64) -> CacheKey {
    CacheKey::new("test", &[&n.to_le_bytes()])
}

fn content(n: u64, size: usize) -> Vec<u8> {
    (0..size).map(|i| (i as u64 * 31 + n * 7) as u8).collect()
}

fn put(cache: &Cache, n: u64, size: usize) -> bool {
    let Some(mut writer) = cache.create(key(n), size as u64).unwrap() else { return false };
    for piece in content(n, size).chunks(1000) {
        writer.write(piece).unwrap();
    }
    writer.commit().unwrap().is_some()
}

fn read(cache: &Cache, n: u64) -> Option<Vec<u8>> {
    let file = cache.get(&key(n))?;
    Some(file.read_at(0, file.size() as usize).unwrap().to_vec())
}

/// Every entry file on disk.
fn files(cache: &Cache) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for shard in fs::read_dir(cache.root().join("entries")).unwrap() {
        found.extend(fs::read_dir(shard.unwrap().path()).unwrap().map(|file| file.unwrap().path()));
    }
    found
}

const MIB: u64 = 1 << 20;

#[test]
fn gives_back_what_it_was_given_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path(), MIB).unwrap();
    assert!(put(&cache, 1, 5000) && put(&cache, 2, 0));
    assert_eq!(read(&cache, 1).unwrap(), content(1, 5000));
    drop(cache);
    let cache = Cache::open(dir.path(), MIB).unwrap();
    assert_eq!(read(&cache, 1).unwrap(), content(1, 5000));
    assert_eq!(read(&cache, 2).unwrap(), b"");
    assert_eq!(read(&cache, 3), None);
    let status = cache.status();
    assert_eq!((status.entries, status.hits, status.misses), (2, 2, 1));
    assert_eq!(status.used_bytes, 3 * 4096 + 4096);
}

#[test]
fn nothing_is_visible_before_it_is_published() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path(), MIB).unwrap();
    let mut writer = cache.create(key(1), 4).unwrap().unwrap();
    writer.write(b"abcd").unwrap();
    assert!(cache.get(&key(1)).is_none());
    let sealed = writer.seal().unwrap();
    assert!(cache.get(&key(1)).is_none());
    sealed.publish().unwrap();
    assert!(cache.get(&key(1)).is_some());

    let mut short = cache.create(key(2), 4).unwrap().unwrap();
    short.write(b"abc").unwrap();
    assert_eq!(short.seal().unwrap_err().kind(), crate::Kind::Invalid);
    let mut long = cache.create(key(2), 4).unwrap().unwrap();
    assert_eq!(long.write(b"abcde").unwrap_err().kind(), crate::Kind::Invalid);
    drop(long);
    assert_eq!(cache.status().reserved_bytes, 0);
    assert_eq!(fs::read_dir(cache.0.staging_path().unwrap().parent().unwrap()).unwrap().count(), 0);
}

#[test]
fn evicts_the_least_recently_used_but_nothing_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path(), 8 * 4096).unwrap();
    for n in 0..4 {
        assert!(put(&cache, n, 4096));
    }
    let pinned = cache.get(&key(1)).unwrap();
    read(&cache, 0);
    assert!(put(&cache, 4, 4096));
    assert!(put(&cache, 5, 4096));
    let present: Vec<_> = (0..6).filter(|n| cache.contains(&key(*n))).collect();
    assert_eq!(present, [0, 1, 4, 5]);
    // Six blocks of what is left cannot be freed while entry 1 is in use and another is being
    // written.
    let writer = cache.create(key(6), 4096).unwrap().unwrap();
    assert!(cache.create(key(7), 4 * 4096).unwrap().is_none());
    drop((pinned, writer));
    assert!(cache.create(key(7), 7 * 4096).unwrap().is_some());
    assert!(cache.create(key(8), 8 * 4096).unwrap().is_none());
}

#[test]
fn the_order_of_use_outlives_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path(), 8 * 4096).unwrap();
    for n in 0..4 {
        assert!(put(&cache, n, 4096));
        std::thread::sleep(Duration::from_millis(15));
    }
    read(&cache, 0);
    drop(cache);
    let cache = Cache::open(dir.path(), 8 * 4096).unwrap();
    assert!(put(&cache, 4, 4096));
    let present: Vec<_> = (0..5).filter(|n| cache.contains(&key(*n))).collect();
    assert_eq!(present, [0, 2, 3, 4]);
}

#[test]
fn a_smaller_limit_takes_effect_at_opening() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path(), MIB).unwrap();
    for n in 0..10 {
        assert!(put(&cache, n, 4096));
    }
    drop(cache);
    assert_eq!(Cache::open(dir.path(), 5 * 4096).unwrap().status().entries, 2);
}

#[test]
fn damaged_entries_are_dropped_and_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path(), MIB).unwrap();
    for n in 0..5 {
        assert!(put(&cache, n, 3000));
    }
    drop(cache);
    let cache = Cache::open(dir.path(), MIB).unwrap();
    let all = files(&cache);
    let mut bytes = fs::read(&all[0]).unwrap();
    bytes[1234] ^= 1;
    fs::write(&all[0], bytes).unwrap();
    fs::write(&all[1], b"").unwrap();
    fs::remove_file(&all[2]).unwrap();
    fs::remove_file(&all[3]).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &all[3]).unwrap();
    let good = (0..5).filter(|n| read(&cache, *n).is_some_and(|bytes| bytes == content(*n, 3000))).count();
    assert_eq!(good, 1);
    assert_eq!(cache.status().damaged, 3);
    assert_eq!(files(&cache).len(), 1);
    for n in 0..5 {
        assert!(put(&cache, n, 3000), "it can be filled again");
        assert_eq!(read(&cache, n).unwrap(), content(n, 3000));
    }
}

#[test]
fn two_processes_share_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    // flock belongs to the open file, so two caches in one process are to each other what two
    // processes are.
    let one = Cache::open(dir.path(), 8 * 4096).unwrap();
    let two = Cache::open(dir.path(), 8 * 4096).unwrap();
    assert!(put(&one, 1, 4096));
    assert_eq!(read(&two, 1).unwrap(), content(1, 4096));
    let pinned = two.get(&key(1)).unwrap();
    assert_eq!(one.clear().unwrap(), 0, "the other one has it open");
    let writing = two.create(key(2), 4096).unwrap().unwrap();
    drop(Cache::open(dir.path(), MIB).unwrap());
    assert_eq!(fs::metadata(dir.path().join("staging")).unwrap().permissions().mode() & 0o77, 0);
    drop((pinned, writing));
    assert_eq!(one.clear().unwrap(), 8192);
    assert!(two.get(&key(1)).is_none());
    assert_eq!(two.status().entries, 0);
}

#[test]
fn what_a_dead_process_left_is_swept() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path(), MIB).unwrap();
    let dead = dir.path().join("staging/1-1-0");
    fs::create_dir(&dead).unwrap();
    fs::write(dead.join("0"), b"half").unwrap();
    let mut writer = cache.create(key(1), 1).unwrap().unwrap();
    drop(Cache::open(dir.path(), MIB).unwrap());
    assert!(!dead.exists());
    writer.write(b"x").unwrap();
    assert!(writer.commit().unwrap().is_some(), "a living one's area stays");
}

#[test]
fn others_have_no_access() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("a/cache");
    fs::create_dir_all(&root).unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
    let cache = Cache::open(&root, MIB).unwrap();
    assert!(put(&cache, 1, 10));
    assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(&files(&cache)[0]).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn another_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(Cache::open(dir.path(), MIB).unwrap());
    fs::write(dir.path().join("VERSION"), "cassmount cache 99\n").unwrap();
    let error = Cache::open(dir.path(), MIB).unwrap_err();
    assert!(error.to_string().contains("cassmount cache 99"), "{error}");
}

#[test]
fn the_format_on_disk_is_pinned() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path(), MIB).unwrap();
    assert!(put(&cache, 1, 10));
    let path = files(&cache).remove(0);
    assert_eq!(
        fs::read(&path).unwrap(),
        content(1, 10),
        "content and nothing else: passthrough serves the file as it is"
    );
    let name = format!("{}-{}", key(1), blake3::hash(&content(1, 10)).to_hex());
    assert_eq!(path, dir.path().join("entries").join(&name[..2]).join(name));
    assert_eq!(fs::read_to_string(dir.path().join("VERSION")).unwrap(), "cassmount cache 1\n");
}

#[test]
fn many_threads_while_it_is_too_small() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path(), 40 * 4096).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            let cache = &cache;
            scope.spawn(move || {
                for step in 0..300_u64 {
                    let n = (thread * 7919 + step * 104_729) % 40;
                    match read(cache, n) {
                        Some(bytes) => assert_eq!(bytes, content(n, 3000 + n as usize * 100)),
                        None => drop(put(cache, n, 3000 + n as usize * 100)),
                    }
                }
            });
        }
    });
    let status = cache.status();
    assert!(status.used_bytes <= status.limit_bytes && status.reserved_bytes == 0, "{status:?}");
    assert_eq!(status.pinned, 0);
    assert_eq!(cache.0.pinned_bytes.load(Ordering::Relaxed), 0);
}

#[test]
fn a_cache_that_is_deleted_while_it_is_in_use_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("data");
    let cache = Cache::open(&root, MIB).unwrap();
    assert!(put(&cache, 1, 5000));
    let held = cache.get(&key(1)).unwrap();
    let mut under_way = cache.create(key(2), 4).unwrap().unwrap();
    under_way.write(b"abcd").unwrap();
    fs::remove_dir_all(&root).unwrap();
    // What is open stays; what was being written is lost; what comes next is kept.
    assert_eq!(held.read_at(0, 5000).unwrap(), content(1, 5000));
    assert!(under_way.commit().is_err());
    drop(held);
    assert!(cache.get(&key(1)).is_none());
    assert!(put(&cache, 3, 5000));
    assert_eq!(read(&cache, 3).unwrap(), content(3, 5000));
    assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(cache.status().reserved_bytes, 0);
    fs::remove_dir_all(root.join("entries")).unwrap();
    assert!(put(&cache, 4, 5000));
    assert_eq!(read(&cache, 4).unwrap(), content(4, 5000));
}

#[test]
fn a_directory_of_other_things_is_not_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let cache_dir = CacheDir::new(dir.path());
    adopt(&cache_dir).unwrap();
    // As a data directory of Cassandra, whose tables are in `data` as well.
    fs::create_dir_all(dir.path().join("data/shop")).unwrap();
    fs::set_permissions(dir.path().join("data"), fs::Permissions::from_mode(0o755)).unwrap();
    adopt(&cache_dir).unwrap();
    let error = Cache::open(&cache_dir.data(), MIB).unwrap_err();
    assert!(error.kind() == crate::Kind::Invalid && error.to_string().contains("(it holds shop)"), "{error}");
    assert!(!dir.path().join("data/CACHEDIR.TAG").exists());
    fs::create_dir(dir.path().join("commitlog")).unwrap();
    let error = adopt(&cache_dir).unwrap_err();
    assert!(error.to_string().contains("(it holds commitlog)"), "{error}");
    fs::remove_dir(dir.path().join("data/shop")).unwrap();
    // One that is a cache already may have other things beside it.
    Cache::open(&cache_dir.data(), MIB).unwrap();
    adopt(&cache_dir).unwrap();
}

#[test]
fn what_others_put_among_the_entries_is_not_served() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path(), MIB).unwrap();
    assert!(put(&cache, 1, 500) && put(&cache, 2, 500));
    drop(cache);
    let cache = Cache::open(dir.path(), MIB).unwrap();
    for file in files(&cache) {
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&file, Some(4321), None).unwrap();
        } else {
            fs::hard_link(&file, dir.path().join(file.file_name().unwrap())).unwrap();
        }
    }
    assert_eq!((read(&cache, 1), read(&cache, 2)), (None, None));
}
