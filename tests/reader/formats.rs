//! Archives that are packed otherwise than by gzip, or not at all, sealed and not: read, read
//! again, and told when they are damaged.

use super::bucket::{Tar, encrypt_with, filter};
use super::skip::skip;
use super::support::{PASSPHRASE, World, assert_same, content, number_of, read_all, read_one, table};
use cassmount::Kind;
use cassmount::archive::compression::{Compression, Spacing};
use cassmount::reader::{Seal, Stage};
use std::io::Write;
use std::process::Command;

fn tar_of(files: &super::support::Files) -> Vec<u8> {
    files.iter().fold(Tar::new(), |tar, (path, content)| tar.file(format!("./{path}"), content)).end()
}

/// With a checksum, as the `zstd` command adds one.
fn zstd_frame(plain: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// `None`, said loudly, where there is no `lz4` command.
fn lz4(args: &[&str], plain: &[u8]) -> Option<Vec<u8>> {
    if Command::new("lz4").arg("--version").output().is_err() {
        skip("reader formats", "lz4 is not installed (apt-get install lz4)");
        return None;
    }
    Some(filter(Command::new("lz4").args(args).args(["-c", "-q"]), plain))
}

/// The tar in each packing: its name, the stage in which damage shows, and whether it can be
/// entered in the middle.
fn packings(plain: &[u8]) -> Vec<(&'static str, Stage, bool, Vec<u8>)> {
    let mut all = vec![
        ("tar", Stage::Tar, true, plain.to_vec()),
        ("tar.zst", Stage::Decompress(Compression::Zstd), false, zstd_frame(plain)),
        (
            "tar.zst of frames",
            Stage::Decompress(Compression::Zstd),
            true,
            plain.chunks(200_000).flat_map(zstd_frame).collect(),
        ),
    ];
    all.extend(lz4(&["-B5"], plain).map(|bytes| ("tar.lz4", Stage::Decompress(Compression::Lz4), true, bytes)));
    all.extend(
        lz4(&["-B4", "-BD"], plain).map(|bytes| ("linked tar.lz4", Stage::Decompress(Compression::Lz4), false, bytes)),
    );
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn all_packings_read_alike() {
    let files = table(1 << 20);
    let plain = tar_of(&files);
    for (name, _, enters, packed) in packings(&plain) {
        for sealed in [false, true] {
            let mut world = World::new();
            world.options.spacing = Some(Spacing::every(256 << 10));
            let bytes = if sealed { encrypt_with(PASSPHRASE, &packed) } else { packed.clone() };
            let object = world.memory.put("h/t/ks/archive.bin", bytes);
            let reader = world.reader();
            let seal = if sealed { Seal::Key(1) } else { Seal::None };
            assert_eq!(reader.check_ends(&object).await.unwrap(), seal, "{name}");
            assert_same(&read_all(&reader, &object).await.unwrap(), &files);
            assert_eq!(reader.stats().passes, 1, "{name}");
            drop(reader);

            // Evicted: spans are enough.
            world.empty_cache();
            let reader = world.reader();
            let number = number_of(&reader, &object, "nb-1-big-Data.db").await;
            let open = reader.open(&object, number).await.unwrap();
            let found = open.read_at(700_000, 4096).await.unwrap();
            assert!(found == files["nb-1-big-Data.db"][700_000..704_096], "{name}");
            let stats = reader.stats();
            assert_eq!(stats.passes, 0, "{name}");
            assert_eq!(stats.bytes_fetched < object.size / 2, enters, "{name}: {stats:?}");
            assert_same(&read_all(&reader, &object).await.unwrap(), &files);
            assert_eq!(reader.stats().passes, 0, "{name}");
        }
    }
}

/// Three files of which one fills a cache, in one frame that is too long to be read as a span.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_evicted_of_one_long_frame_costs_a_pass_and_comes() {
    const LEN: usize = 40 << 20;
    let file = |seed: u8| (0..LEN).map(|i| (i / 97) as u8 ^ seed).collect::<Vec<u8>>();
    let files: super::support::Files = (1..=3).map(|seed| (format!("nb-{seed}-big-Data.db"), file(seed))).collect();
    let mut world = World::new();
    world.cache_bytes = 60 << 20;
    let object = world.memory.put("h/t/ks/tab.tar.zst", zstd_frame(&tar_of(&files)));
    let reader = world.reader();
    let wait = |path: &'static str| {
        let (reader, object, files) = (&reader, &object, &files);
        async move {
            let number = number_of(reader, object, path).await;
            assert!(read_one(reader, object, number).await.unwrap() == files[path], "{path}");
            reader.stats().passes
        }
    };
    // The first pass has room for the first file only.
    assert_eq!(wait("nb-1-big-Data.db").await, 1);
    assert_eq!(wait("nb-3-big-Data.db").await, 2);
    assert_eq!(wait("nb-3-big-Data.db").await, 2, "from the cache");
    assert_eq!(wait("nb-2-big-Data.db").await, 3);
    let (one, three) = tokio::join!(wait("nb-1-big-Data.db"), wait("nb-1-big-Data.db"));
    assert_eq!(one.max(three), 4, "for all who wait");
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_told_by_its_stage() {
    let files = table(300_000);
    let plain = tar_of(&files);
    let world = World::new();
    let reader = world.reader();
    for (name, stage, _, packed) in packings(&plain) {
        let mut flipped = packed.clone();
        // In the tar, the name in the last header; elsewhere the middle.
        let name_at = || plain.windows(8).rposition(|bytes| bytes == b"./nb-3-b").unwrap();
        let at = if stage == Stage::Tar { name_at() } else { packed.len() / 2 };
        flipped[at] ^= 1;
        let cut = packed[..packed.len() / 2].to_vec();
        for (what, bytes) in [("flipped", flipped), ("cut", cut)] {
            let sealed = encrypt_with(PASSPHRASE, &bytes);
            for object in [world.memory.put("h/t/ks/a.tar.x", bytes), world.memory.put("h/t/ks/a.tar.x.enc", sealed)] {
                let examined = reader.examine(&object, (), &|_| {}).await.unwrap();
                let broken = examined.archive.unwrap_err();
                assert_eq!(broken.stage, stage, "{name} {what}: {}", broken.error);
                assert_eq!(broken.error.object(), Some(&*object.key), "{name} {what}");
                assert_eq!(reader.listing(&object).await.unwrap_err().kind(), Kind::Corrupt, "{name} {what}");
            }
        }
    }
    let noise = world.memory.put("h/t/ks/noise.tar", content(1, 100_000));
    let error = reader.listing(&noise).await.unwrap_err();
    assert!(error.to_string().contains("neither encrypted by openssl"), "{error}");
    let hole = world.memory.put("h/t/ks/hole.tar", vec![0; 100_000]);
    assert_eq!(reader.listing(&hole).await.unwrap_err().kind(), Kind::Corrupt, "zeros are no empty tar");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_is_claimed_where_one_is_known() {
    let plain = tar_of(&table(1 << 20));
    let world = World::new();
    let reader = world.reader();
    let stated = zstd::bulk::compress(&plain, 1).unwrap();
    let mut objects = vec![("a.tar", plain.clone(), Some(plain.len())), ("a.tar.zst", stated, Some(plain.len()))];
    let unstated = zstd_frame(&plain);
    objects.push(("b.tar.zst", unstated, None));
    objects.extend(lz4(&["-B4"], &plain).map(|bytes| ("a.tar.lz4", bytes, None)));
    for (key, bytes, length) in objects {
        let length = length.map(|length| length as u64);
        let sealed = world.memory.put("sealed", encrypt_with(PASSPHRASE, &bytes));
        assert_eq!(reader.claimed_size(&sealed).await.unwrap(), length, "{key}");
        let bare = world.memory.put(key, bytes);
        assert_eq!(reader.claimed_size(&bare).await.unwrap(), length, "{key}");
    }
}
