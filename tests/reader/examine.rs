//! Passes and glances that only look: each kind of damage is told by the stage that it shows in,
//! and nothing is landed.

use super::bucket::{Tar, encrypt_with, gzip};
use super::support::{PASSPHRASE, World, content, seal, table, walk};
use cassmount::archive::Member;
use cassmount::archive::compression::Compression;
use cassmount::archive::tar::MemberSink;
use cassmount::reader::{Examined, Reader, Seal, Stage};
use cassmount::store::ObjectMeta;
use cassmount::{Kind, Result};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Name and CRC-32 of every file that was seen to its end.
#[derive(Default)]
struct Seen {
    files: BTreeMap<Vec<u8>, u32>,
    crc: crc32fast::Hasher,
}

impl MemberSink for Seen {
    fn begin(&mut self, _: &Member) -> Result<()> {
        self.crc.reset();
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        self.crc.update(bytes);
        Ok(())
    }

    fn end(&mut self, member: &Member) -> Result<()> {
        self.files.insert(member.raw_name.clone(), self.crc.clone().finalize());
        Ok(())
    }
}

async fn examine(reader: &Reader, object: &Arc<ObjectMeta>) -> (Examined<Seen>, u64) {
    let arrived = AtomicU64::new(0);
    let add = |bytes| {
        arrived.fetch_add(bytes, Ordering::Relaxed);
    };
    let examined = reader.examine(object, Seen::default(), &add).await.unwrap();
    (examined, arrived.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_archive_is_seen_whole_and_leaves_its_listing_alone() {
    let world = World::new();
    let files = table(4 << 20);
    let object = world.memory.put("h/t/ks/tab.tar.gz.enc", seal(&files));
    let reader = world.reader();
    let (examined, arrived) = examine(&reader, &object).await;
    let listing = Arc::clone(examined.archive.unwrap().listing());
    assert_eq!((arrived, examined.seal), (object.size, Some(Seal::Key(1))));
    let expected = files.iter().map(|(path, content)| (format!("./{path}").into_bytes(), crc32fast::hash(content)));
    assert_eq!(examined.sink.files, expected.collect());
    assert_eq!(listing.files.len(), files.len());
    assert!(walk(&world.cache_dir().join("entries")).is_empty(), "nothing is landed");

    // What is known already is no reason not to look.
    let before = world.memory.bytes_asked_for();
    let reader = world.reader();
    assert_eq!(reader.known_listing(&object).await, Some(listing));
    assert!(examine(&reader, &object).await.0.archive.is_ok());
    assert_eq!(world.memory.bytes_asked_for() - before, object.size + 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_told_by_its_stage() {
    let world = World::new();
    let reader = world.reader();
    let tar = |name: &str| Tar::new().file(name, content(7, 3 << 20)).file("./b", b"b").end();
    let plain = gzip(&tar("./a"));
    let whole = encrypt_with(PASSPHRASE, &plain);
    let flipped = |at: usize| {
        let mut object = whole.clone();
        object[at] ^= 1;
        object
    };
    let mut bad_header = tar("./a");
    bad_header[(3 << 20) + 520] ^= 1;
    // It is the key that fits, whatever comes behind the envelope and the compression.
    let mut bad_first = tar("./a");
    bad_first[5] ^= 1;
    let cut_tar = Tar::new().file("./a", content(7, 9000)).into_bytes();
    let len = whole.len();
    for (what, object, seen, glance) in [
        ("too short", whole[..40].to_vec(), Stage::Envelope, Some(Stage::Envelope)),
        ("no envelope", content(9, 64 << 10), Stage::Unsealed, Some(Stage::Unsealed)),
        ("no whole blocks", whole[..len - 5].to_vec(), Stage::Envelope, Some(Stage::Envelope)),
        ("another key", encrypt_with("unknown", &plain), Stage::Key, Some(Stage::Key)),
        ("cut at a block", whole[..len / 32 * 16].to_vec(), Stage::Padding, Some(Stage::Padding)),
        ("wrong padding", flipped(len - 17), Stage::Padding, Some(Stage::Padding)),
        ("a flipped bit", flipped(len / 2), Stage::Decompress(Compression::Gzip), None),
        (
            "cut and sealed again",
            encrypt_with(PASSPHRASE, &plain[..plain.len() / 2]),
            Stage::Decompress(Compression::Gzip),
            None,
        ),
        ("a wrong tar header", encrypt_with(PASSPHRASE, &gzip(&bad_header)), Stage::Tar, None),
        ("a wrong first tar header", encrypt_with(PASSPHRASE, &gzip(&bad_first)), Stage::Tar, None),
        ("a tar cut short", encrypt_with(PASSPHRASE, &gzip(&cut_tar)), Stage::Tar, None),
    ] {
        let object = world.memory.put("h/t/ks/tab.tar.gz.enc", object);
        let (examined, _) = examine(&reader, &object).await;
        let broken = examined.archive.unwrap_err();
        assert_eq!(broken.stage, seen, "{what}: {}", broken.error);
        assert_eq!(broken.error.object(), Some("h/t/ks/tab.tar.gz.enc"), "{what}");
        let glanced = reader.check_ends(&object).await;
        assert_eq!(glanced.err().map(|broken| broken.stage), glance, "{what}");
        assert!(reader.known_listing(&object).await.is_none(), "{what}");
    }
    // The damage lies behind the header of the first file, in the middle of its data, so that the
    // tar around it looks right.
    let object = world.memory.put("h/t/ks/tab.tar.gz.enc", flipped(len / 2));
    let (examined, _) = examine(&reader, &object).await;
    assert_eq!(examined.archive.unwrap_err().error.kind(), Kind::Corrupt);

    let bare = world.memory.put("h/t/ks/bare.tar.gz", plain);
    assert_eq!(reader.check_ends(&bare).await.unwrap(), Seal::None);
    assert_eq!(examine(&reader, &bare).await.0.seal, Some(Seal::None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_glance_costs_two_small_ranges() {
    let world = World::new();
    let object = world.memory.put("h/t/ks/tab.tar.gz.enc", seal(&table(1 << 20)));
    let reader = world.reader();
    assert_eq!(reader.check_ends(&object).await.unwrap(), Seal::Key(1));
    assert_eq!(world.memory.ranges.lock().unwrap().len(), 2);
    assert!(world.memory.bytes_asked_for() <= 4096 + 32);

    world.memory.put("h/t/ks/tab.tar.gz.enc", vec![0; 100]);
    let broken = reader.check_ends(&object).await.unwrap_err();
    assert_eq!((broken.stage, broken.error.kind()), (Stage::Fetch, Kind::Changed));
    assert_eq!(examine(&reader, &object).await.0.archive.unwrap_err().stage, Stage::Fetch);
}
