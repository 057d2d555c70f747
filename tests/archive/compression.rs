//! Tars that are plain, in zstd or in lz4, as the real tools and the crates pack them: every byte
//! comes back, every span can be read by itself, and nothing damaged gets through.

use testkit::archive as archive_support;
use testkit::skip;

use archive_support::{Pass, Random, check_spans, data, filter, gzip, identity, key, open, seal, tar, unseal};
use cassmount::archive::compression::{Compression, Decoder, Segment, Spacing, Summary};
use cassmount::archive::index::{Index, MAX_SPAN_LEN, replay};
use cassmount::{Kind, Result};
use proptest::prelude::*;
use std::io::Write;

/// A tar with one large file.
fn plain(seed: u64, len: usize) -> Vec<u8> {
    tar(&[("./nb-1-big-Data.db", &data(seed, len)), ("./empty", b""), ("./nb-1-big-TOC.txt", b"Data.db\n")])
}

fn decode(compression: Compression, bytes: &[u8], chunk: usize) -> Result<(Summary, Vec<u8>)> {
    let mut decoder = Decoder::new(compression, Spacing::every(4096));
    let mut plain = Vec::new();
    let mut sink = |segment: Segment| {
        assert!(segment.plain.len() <= cassmount::archive::compression::SEGMENT_LEN);
        plain.extend(segment.plain);
        Ok(())
    };
    for piece in bytes.chunks(chunk) {
        decoder.push(piece, &mut sink)?;
    }
    let summary = decoder.finish(&mut sink)?;
    Ok((summary, plain))
}

fn index(compression: Compression, object: &[u8], chunk: usize, spacing: u64) -> Result<(Index, Vec<u8>)> {
    let mut pass = Pass::of(compression, identity(object), Spacing::every(spacing));
    for piece in object.chunks(chunk) {
        pass.push(piece, &mut ())?;
    }
    pass.finish()
}

/// One zstd frame.
fn zstd_frame(plain: &[u8], level: i32, checksum: bool) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), level).unwrap();
    encoder.include_checksum(checksum).unwrap();
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn skippable(content: &[u8]) -> Vec<u8> {
    [&0x184D_2A53_u32.to_le_bytes(), &(content.len() as u32).to_le_bytes(), content].concat()
}

/// What the `lz4` command makes; `None`, said loudly, when it is not installed.
fn lz4(args: &[&str], plain: &[u8]) -> Option<Vec<u8>> {
    tool("lz4", &[args, &["-c", "-q"]].concat(), plain)
}

fn tool(program: &str, args: &[&str], plain: &[u8]) -> Option<Vec<u8>> {
    let packed = filter(program, args, plain);
    if packed.is_none() {
        skip::skip("archive_compression", &format!("{program} is not installed (apt-get install {program})"));
    }
    packed
}

/// The same tar in every packing at hand: its name, the bytes, and how many spans of 100,000 bytes
/// it must have at least.
fn packings(plain: &[u8]) -> Vec<(String, Compression, Vec<u8>, usize)> {
    let many = plain.len() / 200_000;
    let mut all = vec![
        ("plain".to_owned(), Compression::None, plain.to_vec(), many),
        ("gzip".to_owned(), Compression::Gzip, gzip("-6", plain), many / 2),
        ("one frame of zstd".to_owned(), Compression::Zstd, zstd_frame(plain, 3, true), 1),
    ];
    let frames: Vec<u8> = plain.chunks(60_000).flat_map(|piece| zstd_frame(piece, 1, false)).collect();
    all.push(("many frames of zstd".to_owned(), Compression::Zstd, frames, many));
    let between: Vec<u8> =
        plain.chunks(150_000).flat_map(|piece| [skippable(&[7; 300]), zstd_frame(piece, 5, true)].concat()).collect();
    all.push(("zstd with skippable frames".to_owned(), Compression::Zstd, between, many));
    for args in [&["-1"][..], &["-19"], &["--long=27", "-3"], &["-T2", "-3"], &["--no-check"], &["--adapt"]] {
        if let Some(packed) = tool("zstd", &[args, &["-c", "-q"]].concat(), plain) {
            all.push((format!("zstd {args:?}"), Compression::Zstd, packed, 1));
        }
    }
    for (args, spans) in [
        (&["-B4"][..], many),
        (&["-B5"], many / 2),
        (&["-B7"], 1),
        (&["-B4", "-9", "-BX"], many),
        (&["-B4", "-BD"], 1),
        (&["-B4", "--no-frame-crc"], many),
        (&["-B4", "--content-size"], many),
    ] {
        if let Some(packed) = lz4(args, plain) {
            all.push((format!("lz4 {args:?}"), Compression::Lz4, packed, spans));
        }
    }
    let mut frames = Vec::new();
    for (n, piece) in plain.chunks(70_000).enumerate() {
        if n % 2 == 0 {
            frames.extend(skippable(&[3; 40]));
        }
        let Some(packed) = lz4(if n % 3 == 0 { &["-B4", "-BD"] } else { &["-B5", "--no-frame-crc"] }, piece) else {
            break;
        };
        frames.extend(packed);
    }
    if frames.len() > 100 {
        all.push(("many frames of lz4".to_owned(), Compression::Lz4, frames, many));
    }
    all
}

#[test]
fn every_packing_comes_back_whole_and_span_by_span() {
    let plain = plain(1, 1 << 20);
    for (name, compression, object, spans) in packings(&plain) {
        assert_eq!(Compression::of(&object), Some(compression), "{name}");
        let mut first: Option<Index> = None;
        for chunk in [usize::MAX, 777] {
            let (summary, decoded) = decode(compression, &object, chunk).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(decoded == plain, "{name}");
            assert_eq!((summary.plain_size, summary.warnings.len()), (plain.len() as u64, 0), "{name}");
            let (index, file) = index(compression, &object, chunk, 100_000).unwrap();
            assert_eq!(open(&file).unwrap(), index, "{name}");
            check_spans(&index, &file, &object, None, &plain);
            assert!(index.spans.len() >= spans.max(1), "{name}: {} spans", index.spans.len());
            let same = first.get_or_insert_with(|| index.clone());
            assert_eq!((same.spans.len(), &same.members), (index.spans.len(), &index.members), "{name}");
        }
        let sealed = seal(&object, "secret");
        let key = key(&sealed, "secret").unwrap();
        assert!(cassmount::archive::envelope::opens(&key, &sealed[..sealed.len().min(64 << 10)]), "{name}");
        assert_eq!(cassmount::archive::envelope::compression_in(&key, &sealed), Some(compression), "{name}");
        let mut pass = Pass::of(compression, identity(&sealed), Spacing::every(100_000));
        pass.push(&unseal(&sealed, &key).unwrap(), &mut ()).unwrap();
        let (index, file) = pass.finish().unwrap();
        check_spans(&index, &file, &sealed, Some(&key), &plain);
    }
}

#[test]
fn every_packing_comes_back_byte_by_byte() {
    let plain = plain(8, 30_000);
    for (name, compression, object, _) in packings(&plain) {
        let (_, decoded) = decode(compression, &object, 1).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(decoded == plain, "{name}");
    }
}

#[test]
fn a_killed_pass_goes_on_and_still_checks_the_whole() {
    let plain = plain(7, 900_000);
    let mut random = Random(5);
    for (name, compression, object, spans) in packings(&plain) {
        if spans < 2 {
            continue;
        }
        let new = || {
            let mut pass = Pass::of(compression, identity(&object), Spacing::every(20_000));
            pass.builder = pass.builder.save_every(50_000);
            pass
        };
        let mut pass = new();
        let (mut at, mut kills) = (0, 0);
        while at < object.len() {
            let end = (at + 1 + random.below(60_000)).min(object.len());
            pass.push(&object[at..end], &mut ()).unwrap();
            at = end;
            if kills < 5 && random.below(2) == 0 {
                kills += 1;
                let mut file = pass.file;
                file.truncate(file.len() - random.below(file.len().min(200)));
                (at, pass) = match replay(&mut file.as_slice(), &identity(&object)).unwrap() {
                    Some(resumption) => (resumption.compressed_offset as usize, Pass::resume(resumption, file)),
                    None => (0, new()),
                };
                pass.builder = pass.builder.save_every(50_000);
            }
        }
        let (index, file) = pass.finish().unwrap_or_else(|e| panic!("{name}: {e}"));
        check_spans(&index, &file, &object, None, &plain);
    }
    // The checksum at the very end covers what was read before the kill.
    let Some(object) = lz4(&["-B4"], &plain) else { return };
    let mut pass = Pass::of(Compression::Lz4, identity(&object), Spacing::every(20_000));
    pass.builder = pass.builder.save_every(100_000);
    pass.push(&object[..object.len() / 2], &mut ()).unwrap();
    let resumption = replay(&mut pass.file.as_slice(), &identity(&object)).unwrap().unwrap();
    let from = resumption.compressed_offset as usize;
    assert!(from > 0);
    let mut pass = Pass::resume(resumption, pass.file);
    let mut rest = object[from..].to_vec();
    *rest.last_mut().unwrap() ^= 1;
    let error = pass.push(&rest, &mut ()).unwrap_err();
    assert!(error.to_string().contains("the content's checksum is"), "{error}");
}

#[test]
fn no_save_point_lies_behind_what_cannot_be_read_again() {
    let size = MAX_SPAN_LEN as usize + (1 << 20);
    let plain = tar(&[("./a", &vec![7; size]), ("./b", &data(3, 300_000))]);
    let (first, second) = plain.split_at(size);
    let object =
        [zstd_frame(first, 1, true), zstd_frame(&second[..100_000], 1, true), zstd_frame(&second[100_000..], 1, true)]
            .concat();
    let mut pass = Pass::of(Compression::Zstd, identity(&object), Spacing::every(20_000));
    pass.builder = pass.builder.save_every(50_000);
    pass.push(&object, &mut ()).unwrap();
    assert_eq!(pass.saves, 0);
    let (index, _) = pass.finish().unwrap();
    assert_eq!(index.spans.len(), 3);
    assert!(
        !index.can_read(600..700)
            && index.can_read(size as u64..index.plain_size)
            && !index.can_read(600..index.plain_size)
    );
    assert_eq!(index.check_length(0).unwrap_err().kind(), Kind::Unsupported);
}

#[test]
fn truncated_anywhere() {
    let plain = plain(2, 3000);
    for (name, compression, object, _) in packings(&plain) {
        if compression == Compression::None
            || compression == Compression::Gzip
            || name.contains("many")
            || name.contains("skippable")
        {
            continue;
        }
        for len in 0..object.len() {
            match decode(compression, &object[..len], 1 << 20) {
                Err(error) => assert_eq!(error.kind(), Kind::Corrupt, "{name}: {len} bytes: {error}"),
                Ok(_) => panic!("{name}: {len} bytes of {} are taken for all", object.len()),
            }
        }
    }
    // A tar that is cut is told by the tar itself.
    for len in [0, 512, 1000, plain.len() - 1024] {
        let mut pass = Pass::of(Compression::None, identity(&plain), Spacing::none());
        assert!(pass.push(&plain[..len], &mut ()).is_ok() && pass.finish().is_err(), "{len} bytes");
    }
}

#[test]
fn no_flipped_bit_gives_other_bytes() {
    let plain = plain(3, 2000);
    for (name, compression, object, _) in packings(&plain) {
        let checked = !name.contains("no-check") && !name.contains("no-frame-crc") && !name.contains("many");
        if compression == Compression::None || compression == Compression::Gzip || !checked {
            continue;
        }
        for bit in 0..object.len() * 8 {
            let mut bytes = object.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            match decode(compression, &bytes, 1 << 20) {
                // A flag that says nothing of the bytes.
                Ok((_, decoded)) => assert!(decoded == plain, "{name}: bit {bit}"),
                Err(error) => assert!(
                    matches!(error.kind(), Kind::Corrupt | Kind::Unsupported)
                        && error.to_string().contains(compression.name()),
                    "{name}: {error}"
                ),
            }
        }
    }
}

#[test]
fn a_bomb_yields_segments_of_bounded_size() {
    let zeros = vec![0; 200 << 20];
    let mut bombs = vec![(Compression::Zstd, zstd_frame(&zeros, 1, true))];
    bombs.extend(lz4(&["-B7"], &zeros).map(|bomb| (Compression::Lz4, bomb)));
    for (compression, bomb) in bombs {
        let mut decoder = Decoder::new(compression, Spacing::for_object(bomb.len() as u64));
        let mut total = 0;
        let mut sink = |segment: Segment| {
            assert!(segment.plain.capacity() <= 1 << 20 && segment.entries.len() <= 1);
            total += segment.plain.len();
            Ok(())
        };
        decoder.push(&bomb, &mut sink).unwrap();
        assert_eq!(total, zeros.len(), "{compression:?}");
    }
}

#[test]
fn a_window_larger_than_the_limit_is_refused_by_name() {
    let plain = plain(4, 100_000);
    let packed = |log: u32| {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(log).unwrap();
        encoder.write_all(&plain).unwrap();
        encoder.finish().unwrap()
    };
    assert!(decode(Compression::Zstd, &packed(27), 5000).unwrap().1 == plain);
    let error = decode(Compression::Zstd, &packed(28), 5000).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(error.to_string().contains("larger than 128 MiB"), "{error}");
}

#[test]
fn what_is_not_read_is_named() {
    let plain = plain(5, 10_000);
    let refused = |object: &[u8]| decode(Compression::Lz4, object, 100).unwrap_err();
    if let Some(legacy) = lz4(&["-l"], &plain) {
        assert_eq!(refused(&legacy).kind(), Kind::Unsupported);
        assert!(refused(&legacy).to_string().contains("legacy"));
        assert_eq!(Compression::of(&legacy), None);
    }
    let Some(good) = lz4(&["-B4"], &plain) else { return };
    let garbage = [&good[..], b"garbage"].concat();
    assert!(refused(&garbage).to_string().contains("no frame starts with"));
    let garbage = [&zstd_frame(&plain, 1, true)[..], b"garbage"].concat();
    assert_eq!(decode(Compression::Zstd, &garbage, 100).unwrap_err().kind(), Kind::Corrupt);
}

#[test]
fn an_archive_is_told_by_its_bytes() {
    let plain = plain(6, 1000);
    for (bytes, compression) in [
        (&plain[..], Some(Compression::None)),
        (&plain[..511], None),
        (&[0; 10_240], Some(Compression::None)),
        (&[0; 10_241], None),
        (&vec![0; 1 << 20], None),
        (b"\x1f\x8b\x08\0", Some(Compression::Gzip)),
        (b"\x1f\x8b\x07\0", None),
        (b"\x28\xb5\x2f\xfd", Some(Compression::Zstd)),
        (b"\x04\x22\x4d\x18", Some(Compression::Lz4)),
        (b"\x50\x2a\x4d\x18\x01\0\0\0x\x28\xb5\x2f\xfd", Some(Compression::Zstd)),
        (b"\x5f\x2a\x4d\x18\0\0\0\0\x04\x22\x4d\x18", Some(Compression::Lz4)),
        (b"\x50\x2a\x4d\x18\xff\xff\xff\xff", None),
        (b"PK\x03\x04", None),
        (b"", None),
    ] {
        assert_eq!(Compression::of(bytes), compression, "{:?}", &bytes[..bytes.len().min(20)]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_cut_into_frames_and_pieces(seed in any::<u64>(), len in 0_usize..200_000, spacing in 1024_u64..60_000) {
        let plain = plain(seed, len);
        let mut random = Random(seed | 1);
        let mut object = Vec::new();
        let mut rest = plain.as_slice();
        while !rest.is_empty() {
            let (piece, more) = rest.split_at((1 + random.below(80_000)).min(rest.len()));
            rest = more;
            match random.below(5) {
                0 => object.extend(skippable(&vec![1; random.below(2000)])),
                1 => object.extend(zstd_frame(b"", 1, true)),
                _ => {}
            }
            object.extend(zstd_frame(piece, 1 + random.below(5) as i32, random.below(2) == 0));
        }
        let mut pass = Pass::of(Compression::Zstd, identity(&object), Spacing::every(spacing));
        let mut rest = object.as_slice();
        while !rest.is_empty() {
            let (piece, more) = rest.split_at((1 + random.below(30_000)).min(rest.len()));
            pass.push(piece, &mut ()).unwrap();
            rest = more;
        }
        let (index, file) = pass.finish().unwrap();
        check_spans(&index, &file, &object, None, &plain);
        prop_assert_eq!(open(&file).unwrap(), index);
    }

    #[test]
    fn decoding_anything_is_harmless(mut bytes in proptest::collection::vec(any::<u8>(), 8..600), kind in 0..3_usize) {
        let (compression, magic) = [
            (Compression::Zstd, [0x28, 0xb5, 0x2f, 0xfd]),
            (Compression::Lz4, [0x04, 0x22, 0x4d, 0x18]),
            (Compression::None, [0; 4]),
        ][kind];
        bytes[..4].copy_from_slice(&magic);
        let _ = decode(compression, &bytes, 13);
    }
}
