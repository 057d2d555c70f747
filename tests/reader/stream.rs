//! Archives read once into a sink of the caller's own.

use super::support::{Files, World, assert_same, read_all, seal, table};
use cassmount::Kind;
use cassmount::archive::Member;
use cassmount::archive::tar::MemberSink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Keeps files in memory, by the offset of their data; tells when it is dropped.
#[derive(Default)]
struct Kept {
    files: std::collections::BTreeMap<u64, Vec<u8>>,
    current: Vec<u8>,
    dropped: Arc<AtomicBool>,
}

impl MemberSink for Kept {
    fn begin(&mut self, _: &Member) -> cassmount::Result<()> {
        self.current = Vec::new();
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> cassmount::Result<()> {
        self.current.extend_from_slice(bytes);
        Ok(())
    }

    fn end(&mut self, member: &Member) -> cassmount::Result<()> {
        assert_eq!(crc32fast::hash(&self.current), member.crc32);
        self.files.insert(member.offset, std::mem::take(&mut self.current));
        Ok(())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::Release);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_comes_by_once_and_the_cache_stays_empty() {
    let world = World::new();
    let files = table(3 << 20);
    let object = world.memory.put("h/t/ks/tab.tar.gz.enc", seal(&files));
    let reader = world.reader();
    assert!(reader.known(&object).await.is_none());
    let (archive, kept) = reader.stream(&object, Kept::default()).await.unwrap();
    let mut found = Files::new();
    for (number, file) in archive.listing().files.iter().enumerate() {
        let content = &kept.files[&archive.offset(number).unwrap()];
        assert_eq!((content.len() as u64, Some(crc32fast::hash(content))), (file.size, file.crc32), "{}", file.path);
        found.insert(file.path.to_string(), content.clone());
    }
    assert_same(&found, &files);
    assert_eq!(kept.files.len(), files.len());
    assert_eq!(archive.offset(files.len()), None);
    assert_eq!(world.memory.bytes_asked_for(), object.size + 32, "once, and the end before");
    let entries = world.cache_dir().join("entries");
    assert!(super::support::walk(&entries).is_empty());

    // Known from now on, also to another process; what it wants to read it reads anew.
    drop(reader);
    let reader = world.reader();
    let known = reader.known_listing(&object).await.unwrap();
    assert_eq!(known, *archive.listing());
    assert_same(&read_all(&reader, &object).await.unwrap(), &files);
}

/// By threads that inflate ahead: the same files, the same error, in a pass and in a stream.
#[tokio::test(flavor = "multi_thread")]
async fn threads_that_inflate_ahead_change_nothing() {
    let mut world = World::new();
    world.options.helpers = Some(2);
    // So that pieces are short.
    world.options.memory_limit = 24 << 20;
    // So that what a pass leaves is an index, which spans are read by.
    world.options.land_files = false;
    let files = table(4 << 20);
    let sealed = seal(&files);
    let object = world.memory.put("h/t/ks/tab.tar.gz.enc", sealed.clone());
    let reader = world.reader();
    let (archive, kept) = reader.stream(&object, Kept::default()).await.unwrap();
    assert_eq!(kept.files.len(), archive.listing().files.len());
    assert_same(&read_all(&reader, &object).await.unwrap(), &files);

    let mut damaged = sealed;
    let late = damaged.len() * 4 / 5;
    damaged[late] ^= 1;
    let object = world.memory.put("h/t/ks/bad.tar.gz.enc", damaged);
    assert_eq!(reader.stream(&object, Kept::default()).await.err().unwrap().kind(), Kind::Corrupt);
    assert_eq!(read_all(&reader, &object).await.unwrap_err().kind(), Kind::Corrupt);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_archive_is_an_error_and_its_sink_is_gone() {
    let world = World::new();
    let mut bytes = seal(&table(300_000));
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let object = world.memory.put("a.enc", bytes);
    let reader = world.reader();
    let sink = Kept::default();
    let dropped = Arc::clone(&sink.dropped);
    let error = reader.stream(&object, sink).await.map(drop).unwrap_err();
    assert_eq!((error.kind(), error.object()), (Kind::Corrupt, Some("a.enc")));
    assert!(dropped.load(Ordering::Acquire));
    assert!(reader.known(&object).await.is_none());
    assert_eq!(reader.stats().corrupt, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_digest_is_told() {
    let world = World::new();
    let mut files = table(20_000);
    files.insert("nb-2-big-Digest.crc32".to_owned(), b"12345".to_vec());
    let object = world.memory.put("a.enc", seal(&files));
    let (archive, _) = world.reader().stream(&object, Kept::default()).await.unwrap();
    let damaged: Vec<&str> =
        archive.listing().files.iter().filter(|file| file.damage.is_some()).map(|file| &*file.path).collect();
    assert!(
        damaged.contains(&"nb-2-big-Data.db") && damaged.iter().all(|path| path.starts_with("nb-2-")),
        "{damaged:?}"
    );
}
