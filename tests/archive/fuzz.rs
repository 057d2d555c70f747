//! Everything that reads bytes of a bucket, given bytes that nobody would write: an error or a
//! value, never a panic, never without bound. `scripts/fuzz [TARGET] [MINUTES]` goes on for longer.

use crate::ahead;
use cassmount::Result;
use cassmount::archive::armor::Armor;
use cassmount::archive::compression::gzip::Helpers;
use cassmount::archive::compression::{Compression, Decoder, Segment, Spacing};
use cassmount::archive::envelope::{self, HEADER_LEN};
use cassmount::archive::index::{self, Opener, PUBLISHED_HEADER_LEN, Sealer};
use cassmount::archive::tar::{MemberSink, TarReader};
use cassmount::archive::{Member, names};
use cassmount::cassandra::sstable::checksums::{ListReader, MapReader};
use cassmount::cassandra::sstable::{self, Files, PartitionCount};
use cassmount::cassandra::{SstableName, TableId, TableName};
use cassmount::catalog::{Offsets, manifest, parse_mapping, parse_time};
use cassmount::keys::Passphrase;
use cassmount::{Error, Kind};
use std::cell::Cell;
use std::io::Write;
use testkit::archive::{Pass, data, gzip, header, identity, key, member, open, seal, tar, with_checksum, zlib};
use testkit::{fuzz, schema_fixtures};

/// What a decoder may make of one small input before the test ends it, bytes: a bomb is bounded by
/// whoever takes its output.
const MOST_PLAIN: u64 = 8 << 20;

fn plain() -> Vec<u8> {
    tar(&[("./nb-1-big-Data.db", &data(1, 3000)), ("./empty", b""), ("./nb-1-big-TOC.txt", b"Data.db\n")])
}

#[test]
fn fuzz_envelope() {
    let sealed = seal(&gzip("-6", b"rows"), "k");
    // The key of another object: deriving one for each input would only measure PBKDF2.
    let key = key(&sealed, "k").unwrap();
    fuzz::run("envelope", vec![sealed], |input| {
        if let Some(header) = input.first_chunk::<HEADER_LEN>() {
            let _ = envelope::salt(header);
        }
        envelope::opens(&key, input);
        let _ = envelope::first_plain_bytes(&key, input);
        if input.len() > HEADER_LEN && input.len() % 16 == 0 {
            let _ = testkit::archive::unseal(input, &key);
        }
        let _ = Passphrase::from_openssl_file(input).map(|passphrase| passphrase.readings());
    });
}

#[test]
fn fuzz_armor() {
    let text = "U2FsdGVkX18AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\nAAAA\n";
    fuzz::run("armor", vec![text.into(), text.replace('\n', "\r\n").into(), b"U2FsdGVkX18=".to_vec()], |input| {
        let _ = Armor::is_around(input);
        let ends = (&input[..input.len().min(100)], &input[input.len().saturating_sub(70)..]);
        let Ok(armor) = Armor::of(ends.0, ends.1, input.len() as u64) else { return };
        let whole = 0..armor.decoded_len();
        let text = armor.text_range(&whole);
        if let Some(text) = input.get(text.start as usize..text.end as usize)
            && let Ok(decoded) = armor.decode(&whole, text)
        {
            assert_eq!(decoded.len() as u64, armor.decoded_len());
        }
    });
}

fn decode(compression: Compression, input: &[u8]) -> Result<()> {
    let mut decoder = Decoder::new(compression, Spacing::every(4096));
    let mut made = 0;
    let mut sink = |segment: Segment| {
        made += segment.plain.len() as u64;
        if made > MOST_PLAIN { Err(Error::new(Kind::NoSpace, "enough")) } else { Ok(()) }
    };
    for piece in input.chunks(777) {
        decoder.push(piece, &mut sink)?;
    }
    decoder.finish(&mut sink).map(drop)
}

#[test]
fn fuzz_gzip() {
    let members = [gzip("-9", &plain()), gzip("-1", b"again")].concat();
    fuzz::run("gzip", vec![gzip("-6", &plain()), members, gzip("-6", &[7; 5000])], |input| {
        let _ = decode(Compression::Gzip, input);
    });
}

/// Where other threads inflate ahead, it comes to what one thread makes.
#[test]
fn fuzz_ahead() {
    // Zeros are over soon, and up to there nobody helps.
    let plain = [vec![0; ahead::ALONE], data(1, 14_000), vec![7; 20_000], data(2, 14_000)].concat();
    let blocks = |level| {
        let mut left = ahead::ALONE;
        let flushed = || {
            let count = if left > 0 { 1 << 17 } else { 1500 };
            left = left.saturating_sub(count);
            (count, libz_rs_sys::Z_BLOCK)
        };
        member(&zlib::deflate(&plain, level, libz_rs_sys::Z_DEFAULT_STRATEGY, flushed), &plain)
    };
    let helpers = Helpers { threads: 2, piece_len: 32_000, leave: 1 };
    let taken = Cell::new(0);
    fuzz::run("ahead", vec![blocks(6), blocks(1), [blocks(6), gzip("-6", b"again")].concat()], |input| {
        taken.set(taken.get() + ahead::agree(input, Spacing::every(400_000), helpers).1);
    });
    assert!(taken.get() > 0, "nobody helped");
}

#[test]
fn fuzz_zstd() {
    let frame = |checksum| {
        let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
        encoder.include_checksum(checksum).unwrap();
        encoder.write_all(&plain()).unwrap();
        encoder.finish().unwrap()
    };
    fuzz::run("zstd", vec![frame(true), frame(false), [frame(true), frame(false)].concat()], |input| {
        let _ = decode(Compression::Zstd, input);
    });
}

#[test]
fn fuzz_lz4() {
    // A frame of one stored block: magic, descriptor with its checksum, block, end.
    let stored = b"\x04\x22\x4d\x18\x60\x40\x82\x04\x00\x00\x80rows\x00\x00\x00\x00".to_vec();
    fuzz::run("lz4", vec![stored], |input| {
        let _ = decode(Compression::Lz4, input);
    });
}

/// Sums up what a tar gives out.
#[derive(Default)]
struct Sum(u64);

impl MemberSink for Sum {
    fn begin(&mut self, _: &Member) -> Result<()> {
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        self.0 += bytes.len() as u64;
        if self.0 > MOST_PLAIN { Err(Error::new(Kind::NoSpace, "enough")) } else { Ok(()) }
    }

    fn end(&mut self, _: &Member) -> Result<()> {
        Ok(())
    }
}

fn walk(input: &[u8]) -> Result<()> {
    let mut reader = TarReader::new();
    for piece in input.chunks(1000) {
        reader.push(piece, &mut Sum::default())?;
    }
    reader.finish().map(drop)
}

#[test]
fn fuzz_tar() {
    let pax = [
        &header(b"pax", 30, b'x')[..],
        b"30 path=a-name-that-is-long/x\n",
        &[0; 482],
        &header(b"y", 0, b'0'),
        &[0; 1024],
    ];
    // A checksum that fits lets changes of a header through to what reads it.
    let mended = |input: &[u8]| {
        let mut bytes = input.to_vec();
        for block in bytes.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
            let mended = with_checksum(block.try_into().unwrap());
            block.copy_from_slice(&mended);
        }
        bytes
    };
    fuzz::run("tar", vec![plain(), pax.concat()], |input| {
        let _ = walk(input);
        let _ = walk(&mended(input));
    });
}

#[test]
fn fuzz_index() {
    let object = gzip("-6", &plain());
    let mut pass = Pass::new(identity(&object), Spacing::every(512));
    pass.push(&object, &mut ()).unwrap();
    let (_, file) = pass.finish().unwrap();
    fuzz::run("index", vec![file], |input| {
        let _ = open(input);
        let _ = index::replay(&mut &*input, &identity(&object));
    });
}

#[test]
fn fuzz_published() {
    let object = seal(&gzip("-6", b"rows"), "k");
    let key = key(&object, "k").unwrap();
    let content = data(3, 500);
    let mut sealer = Sealer::new(&key, blake3::hash(&content));
    let header = *sealer.header();
    let published = [&header[..], &sealer.seal(&content, true).unwrap()].concat();
    fuzz::run("published", vec![published.clone()], |input| {
        let Some((header, chunk)) = input.split_first_chunk::<PUBLISHED_HEADER_LEN>() else { return };
        for last in [true, false] {
            let opened = Opener::new(&key, *header).and_then(|mut opener| opener.open(chunk, last));
            // It is sealed: only what was published opens.
            assert!(opened.is_err() || (last && input == published));
        }
    });
}

/// Components of SSTables as one input: how long each is, in four bytes, and what is in it.
fn join(parts: [&[u8]; 4]) -> Vec<u8> {
    parts.iter().flat_map(|part| [&(part.len() as u32).to_le_bytes()[..], part].concat()).collect()
}

fn split(mut input: &[u8]) -> [&[u8]; 4] {
    std::array::from_fn(|_| {
        let (len, rest) =
            input.split_first_chunk::<4>().map_or((0, input), |(len, rest)| (u32::from_le_bytes(*len), rest));
        let (part, rest) = rest.split_at((len as usize).min(rest.len()));
        input = rest;
        part
    })
}

#[test]
fn fuzz_sstable() {
    let archives = schema_fixtures::archives();
    let mut seeds = Vec::new();
    let mut kinds = Vec::new();
    for archive in &archives {
        for files in schema_fixtures::tables(archive).into_values().take(2) {
            let part =
                |name: &str| files.iter().find(|(file, _)| file.ends_with(name)).map_or(&[][..], |(_, bytes)| bytes);
            seeds.push(join([part("Data.db"), part("Statistics.db"), part("CompressionInfo.db"), part("CRC.db")]));
        }
    }
    for name in ["nb-1-big-Data.db", "oa-1-big-Data.db", "da-1-bti-Data.db", "ma-1-big-Data.db"] {
        kinds.push(SstableName::parse_component(name).unwrap().sstable);
    }
    fuzz::run("sstable", seeds, |input| {
        let [data, statistics, info, crc] = split(input);
        for name in &kinds {
            for (compression_info, crc) in [(Some(info), None), (None, Some(crc)), (None, None)] {
                let _ = sstable::read(name, &Files { data, statistics, compression_info, crc });
            }
            for (component, bytes) in [("Statistics.db", statistics), ("Index.db", data), ("Partitions.db", data)] {
                if let Some(mut count) = PartitionCount::of(name, component, bytes.len() as u64) {
                    bytes.chunks(100).for_each(|piece| count.push(piece));
                    let _ = count.finish();
                }
            }
            for (component, bytes) in [("CompressionInfo.db", info), ("CRC.db", crc)] {
                if let Ok(Some(mut reader)) = ListReader::new(name, component, 1 << 20) {
                    reader.push(bytes);
                    let _ = reader.finish();
                }
                if let Ok(Some(mut reader)) = MapReader::new(name, component, data.len() as u64) {
                    let _ = reader.push(bytes).and_then(|()| reader.finish());
                }
            }
        }
    });
}

#[test]
fn fuzz_manifest() {
    let manifest = br#"{"backup_id":"2026-11-21-02-48","backup_type":"full","timestamp_utc":"2026-11-21T02:48:00Z","tables_count":2,
        "hostname":"a","tokens":["1","-2"],"tables_backed_up":["shop.users","shop.carts"],"schema_hash":"00"}"#;
    let mapping = br#"{"shop.users":"5a1c395e-b41f-11e5-9f22-ba0be0483c18"}"#;
    fuzz::run("manifest", vec![manifest.to_vec(), mapping.to_vec()], |input| {
        let _ = manifest::parse("2026-11-21-02-48", input);
        let _ = parse_mapping(input);
    });
}

#[test]
fn fuzz_names() {
    let seeds = [
        "./a/../../etc/passwd",
        "/nb-1-big-Data.db",
        "me-3gin_0x5r_0abcd2jk1w0m5e9xyz-bti-Data.db",
        "users-5a1c395eb41f11e59f22ba0be0483c18",
        "2026-11-21-03-15",
        "2026-11-21T03:15:00+23:59",
    ];
    fuzz::run("names", seeds.map(|seed| seed.as_bytes().to_vec()).to_vec(), |input| {
        if let Ok(path) = names::safe_path(input) {
            let parts = path.split('/');
            assert!(
                path.is_empty() || !path.starts_with('/') && parts.clone().all(|part| !matches!(part, "" | "." | "..")),
                "{path:?}"
            );
        }
        let _ = names::behind_parents(input);
        let text = String::from_utf8_lossy(input);
        let _ = SstableName::parse_path(&text);
        let _ = TableName::parse_directory(&text);
        let _ = TableId::parse(&text);
        let _ = parse_time(&text, &Offsets::default());
    });
}
