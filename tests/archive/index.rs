//! Seek indexes over gzips of every making: every span read by itself equals the plain data, also
//! after kills.

use testkit::archive as archive_support;

use archive_support::{
    Deflate, Pass, Random, check_spans, data, filter, gzip, header, identity, key, member, open, seal, tar, unseal,
};
use cassmount::Result;
use cassmount::archive::compression::Spacing;
use cassmount::archive::index::{Index, replay};
use proptest::prelude::*;

/// A tar with one large file.
fn plain(seed: u64, len: usize) -> Vec<u8> {
    tar(&[("./nb-1-big-Data.db", &data(seed, len)), ("./empty", b""), ("./nb-1-big-TOC.txt", b"Data.db\n")])
}

fn index(object: &[u8], chunk: usize, spacing: u64) -> Result<(Index, Vec<u8>)> {
    run(Pass::new(identity(object), Spacing::every(spacing)), object, chunk)
}

fn run(mut pass: Pass, object: &[u8], chunk: usize) -> Result<(Index, Vec<u8>)> {
    for piece in object.chunks(chunk) {
        pass.push(piece, &mut ())?;
    }
    pass.finish()
}

/// Indexes a bare gzip in pieces of several sizes; longest span allowed.
fn check(gzip: &[u8], plain: &[u8], spacing: u64, longest: u64) {
    let mut first = None;
    for chunk in [usize::MAX, 1 << 20, 1000, 7, 1] {
        if chunk < 1000 && gzip.len() > 4 << 20 {
            continue;
        }
        let (index, file) = index(gzip, chunk, spacing).unwrap();
        assert_eq!(open(&file).unwrap(), index);
        if first.is_none() {
            let hashed = Pass::new(identity(gzip), Spacing::every(spacing)).hashed();
            let hashed = run(hashed, gzip, chunk).unwrap();
            assert!(hashed == (index.clone(), file.clone()), "by a stage before the builder, with threads that pack");
            check_spans(&index, &file, gzip, None, plain);
            for span in 0..index.spans.len() {
                let range = index.span_plain_range(span);
                assert!(range.end - range.start <= longest, "span {span} has {} bytes", range.end - range.start);
            }
        } else {
            check_spans(&index, &file, gzip, None, plain);
        }
        first.get_or_insert(index);
    }
}

#[test]
fn compressors() {
    let plain = plain(1, 1 << 20);
    for level in ["-1", "-6", "-9"] {
        check(&gzip(level, &plain), &plain, 100_000, 400_000);
    }
    if let Some(gzip) = filter("pigz", &["-c", "-p", "4", "-b", "128"], &plain) {
        check(&gzip, &plain, 100_000, 400_000);
    }
    for level in ["-1", "-3"] {
        if let Some(gzip) = filter("igzip", &["-c", level], &plain) {
            check(&gzip, &plain, 100_000, 600_000);
        }
    }
}

#[test]
fn one_endless_block_is_cut() {
    let plain = plain(2, 1 << 20);
    if let Some(gzip) = filter("igzip", &["-c", "-0"], &plain) {
        check(&gzip, &plain, 100_000, 151_000);
    }
    let fixed = member(&Deflate::default().fixed(b"", &plain).end(), &plain);
    check(&fixed, &plain, 70_000, 106_000);
}

#[test]
fn stored_blocks_and_checkpoints_at_every_bit() {
    let plain = plain(3, 600_000);
    let mut deflate = Deflate::default();
    let mut random = Random(77);
    let mut at = 0;
    while at < plain.len() {
        let end = (at + 1 + random.below(3000)).min(plain.len());
        match random.below(5) {
            0 => deflate.stored(&plain[at..end]),
            1 => {
                // Empty blocks of both kinds, which shift the bits.
                deflate.fixed(b"", b"").fixed(&plain[at.saturating_sub(32_768)..at], &plain[at..end])
            }
            _ => deflate.fixed(&plain[at.saturating_sub(32_768)..at], &plain[at..end]),
        };
        at = end;
    }
    let gzip = member(&deflate.end(), &plain);
    let (index, _) = index(&gzip, 1 << 20, 1000).unwrap();
    let mut bits = [0; 8];
    for span in &index.spans {
        bits[(span.bit % 8) as usize] += 1;
    }
    assert!(bits.iter().all(|&count| count > 5), "{bits:?}");
    let run_ups = index.spans.iter().filter(|span| span.run_up.plain > 0).count();
    assert!(run_ups > 0, "none of {}", index.spans.len());
    check(&gzip, &plain, 2000, 6000);
}

/// Of the window before a run-up, only what the span is made of is kept, be it by way of the run-up.
#[test]
fn what_only_a_run_up_refers_to_is_not_kept() {
    let mut random = Random(3);
    let mut bytes: Vec<u8> = (0..100_000).map(|_| random.below(256) as u8).collect();
    // Of the tar: a header of 512 bytes, then these. The second block repeats some of the first.
    bytes.copy_within(20_000 - 512..30_000 - 512, 40_000 - 512);
    // A few bytes are repeated by chance.
    for (repeated, shortest, longest) in [(0, 0, 1000), (2000, 2000, 4000)] {
        // The span repeats some of what the run-up repeats.
        bytes.copy_within(41_000 - 512..41_000 - 512 + repeated, 55_000 - 512);
        let plain = tar(&[("./nb-1-big-Data.db", &bytes)]);
        let mut deflate = Deflate::default();
        let cuts = [0, 40_000, 50_000, plain.len()];
        for cut in cuts.windows(2) {
            deflate.fixed(&plain[cut[0].saturating_sub(32_768)..cut[0]], &plain[cut[0]..cut[1]]);
        }
        let gzip = member(&deflate.end(), &plain);
        let (index, file) = index(&gzip, 1000, 40_000).unwrap();
        check_spans(&index, &file, &gzip, None, &plain);
        assert_eq!((index.spans[1].plain, index.spans[1].run_up.plain), (50_000, 10_000));
        let window = index.spans[1].window.len;
        assert!((shortest..longest).contains(&window), "{repeated} bytes: a window of {window}");
    }
}

#[test]
fn several_members_empty_ones_and_what_may_follow() {
    let plain = plain(4, 400_000);
    let mut all = Vec::new();
    let empty = gzip("-9", b"");
    for (i, piece) in plain.chunks(30_000).enumerate() {
        all.extend(gzip(["-1", "-6"][i % 2], piece));
        for _ in 0..i * 100 {
            all.extend(&empty);
        }
    }
    check(&all, &plain, 50_000, 150_000);
    let members = all.len() as u64;
    all.extend([0; 1000]);
    let (with_zeros, _) = index(&all, 999, 50_000).unwrap();
    assert_eq!((with_zeros.compressed_size, with_zeros.warnings), (members, Vec::new()));
    all.extend(b"garbage");
    assert!(index(&all, 999, 50_000).unwrap_err().to_string().contains("behind the end of the gzip"));
}

#[test]
fn nothing_but_empty_blocks_for_long() {
    let plain = plain(5, 40_000);
    let mut deflate = Deflate::default();
    for (i, piece) in plain.chunks(5000).enumerate() {
        let before = &plain[(i * 5000).saturating_sub(32_768)..i * 5000];
        deflate.fixed(before, piece);
        for _ in 0..100_000 {
            deflate.stored(b"");
        }
    }
    let gzip = member(&deflate.end(), &plain);
    let (index, file) = index(&gzip, 1 << 20, 4096).unwrap();
    check_spans(&index, &file, &gzip, None, &plain);
    let longest = (0..index.spans.len()).map(|i| index.span_object_range(i)).map(|r| r.end - r.start).max().unwrap();
    assert!(longest < 1 << 20, "{longest} bytes of the object for one span");
}

#[test]
fn no_plain_byte_at_all() {
    let mut sealed = seal(&gzip("-6", b""), "x");
    let error = index_sealed(&sealed, "x").unwrap_err();
    assert_eq!(error.kind(), cassmount::Kind::Corrupt);
    sealed = seal(&gzip("-6", &[0; 10_240]), "x");
    let (index, file) = index_sealed(&sealed, "x").unwrap();
    assert!(index.members.is_empty());
    check_spans(&index, &file, &sealed, Some(&key(&sealed, "x").unwrap()), &[0; 10_240]);
}

fn index_sealed(object: &[u8], pass: &str) -> Result<(Index, Vec<u8>)> {
    index_with(object, &key(object, pass)?)
}

fn index_with(object: &[u8], key: &cassmount::archive::envelope::CipherKey) -> Result<(Index, Vec<u8>)> {
    let gzip = unseal(object, key)?;
    let mut pass = Pass::new(identity(object), Spacing::every(6000));
    pass.push(&gzip, &mut ())?;
    pass.finish()
}

#[test]
fn sealed_archives() {
    for len in [1, 5000, 300_000, 300_001, 300_005, 300_009] {
        let plain = plain(6, len);
        let object = seal(&gzip("-6", &plain), "sch\u{fc}ssel");
        let (index, file) = index_sealed(&object, "sch\u{fc}ssel").unwrap();
        let key = key(&object, "sch\u{fc}ssel").unwrap();
        check_spans(&index, &file, &object, Some(&key), &plain);
        let range = index.span_object_range(0);
        let window = archive_support::slice(&file, index.window_range(0));
        let bytes = archive_support::slice(&object, range);
        assert_eq!(index.read_span(0, window, None, bytes).unwrap_err().kind(), cassmount::Kind::NoKey);
        assert!(index.read_span(0, window, Some(&key), &bytes[1..]).is_err());
    }
}

/// Whatever byte of an object or of an index is flipped: an error, or the right bytes.
#[test]
fn a_flipped_byte_is_never_served() {
    let plain = plain(7, 20_000);
    let object = seal(&gzip("-6", &plain), "k");
    let key = key(&object, "k").unwrap();
    let (good, file) = index_sealed(&object, "k").unwrap();
    let read = |index: &Index, file: &[u8], object: &[u8]| -> Result<Vec<u8>> {
        let mut all = Vec::new();
        for span in 0..index.spans.len() {
            let window = archive_support::slice(file, index.window_range(span));
            let bytes = archive_support::slice(object, index.span_object_range(span));
            all.extend(index.read_span(span, window, Some(&key), bytes)?);
        }
        Ok(all)
    };
    for at in (0..object.len()).step_by(37) {
        let mut damaged = object.clone();
        damaged[at] ^= 1 << (at % 8);
        if let Ok(bytes) = read(&good, &file, &damaged) {
            assert!(bytes == plain, "object byte {at}");
        }
        // Another salt is another key.
        let result = if at < 16 { index_sealed(&damaged, "k") } else { index_with(&damaged, &key) };
        if let Ok((index, _)) = result {
            assert_eq!(index.members, good.members, "object byte {at}");
            assert_eq!(
                index.spans.iter().map(|s| s.hash).collect::<Vec<_>>(),
                good.spans.iter().map(|s| s.hash).collect::<Vec<_>>()
            );
        }
    }
    for at in (0..file.len()).step_by(3) {
        let mut damaged = file.clone();
        damaged[at] ^= 1 << (at % 8);
        if let Ok(index) = open(&damaged)
            && let Ok(bytes) = read(&index, &damaged, &object)
        {
            assert!(bytes == plain, "index byte {at}");
        }
        // As a journal it must not panic either.
        let _ = replay(&mut damaged.as_slice(), &good.identity);
    }
    for len in 0..file.len() {
        assert!(open(&file[..len]).is_err());
    }
}

#[test]
fn a_killed_pass_goes_on() {
    let plain = tar(&[
        ("a", &data(8, 300_000)),
        ("b", &data(9, 500_000)),
        ("c", b""),
        ("d", &data(10, 700_000)),
        ("e", &data(11, 10)),
    ]);
    // A save point inside a long name, too.
    let mut long = header(b"././@LongLink", 600, b'L').to_vec();
    long.extend([b'n'; 600]);
    long.resize(512 + 1024, 0);
    long.extend(header(b"n", 0, b'0'));
    let plain = [&long[..], &plain].concat();
    let two = plain.len() / 2;
    let object = [gzip("-6", &plain[..two]), gzip("-1", &plain[two..])].concat();
    let spacing = Spacing::every(20_000);
    let whole = index(&object, usize::MAX, 20_000).unwrap().0;
    let mut random = Random(5);
    for round in 0..30 {
        let mut pass = Pass::new(identity(&object), spacing);
        pass.builder = pass.builder.save_every(50_000);
        let mut at = 0;
        let mut kills = 0;
        while at < object.len() {
            let end = (at + 1 + random.below(60_000)).min(object.len());
            pass.push(&object[at..end], &mut ()).unwrap();
            at = end;
            if kills < 4 && random.below(3) == 0 {
                kills += 1;
                let mut file = pass.file;
                // What was written last may be lost or torn.
                file.truncate(file.len() - random.below(file.len().min(9000)));
                if let Some(resumption) = replay(&mut file.as_slice(), &identity(&object)).unwrap() {
                    at = resumption.compressed_offset as usize;
                    pass = Pass::resume(resumption, file);
                } else {
                    at = 0;
                    pass = Pass::new(identity(&object), spacing);
                }
                pass.builder = pass.builder.save_every(50_000);
            }
        }
        assert!(pass.saves > 0, "round {round}");
        let (index, file) = pass.finish().unwrap();
        assert_eq!(index.members, whole.members, "round {round}");
        check_spans(&index, &file, &object, None, &plain);
        assert_eq!(open(&file).unwrap(), index);
    }
    assert!(replay(&mut &b""[..], &identity(&object)).unwrap().is_none());
}

#[test]
fn a_resumed_pass_still_checks_the_whole() {
    let plain = plain(12, 900_000);
    let object = gzip("-6", &plain);
    let mut pass = Pass::new(identity(&object), Spacing::every(20_000));
    pass.builder = pass.builder.save_every(100_000);
    pass.push(&object[..object.len() / 2], &mut ()).unwrap();
    let resumption = replay(&mut pass.file.as_slice(), &identity(&object)).unwrap().unwrap();
    let from = resumption.compressed_offset as usize;
    let mut pass = Pass::resume(resumption, pass.file);
    let mut rest = object[from..].to_vec();
    let crc = rest.len() - 8;
    rest[crc] ^= 1;
    let error = pass.push(&rest, &mut ()).unwrap_err();
    assert!(error.to_string().contains("CRC-32"), "{error}");
}

/// The archive of the golden file: all sorts of blocks, two members, a cut block, a save point.
fn golden_archive() -> (Vec<u8>, Vec<u8>) {
    let plain = plain(99, 30_000);
    let (first, second) = plain.split_at(9000);
    let mut deflate = Deflate::default();
    // Blocks short enough for run-ups.
    for at in (0..first.len()).step_by(1000) {
        let (before, block) = (&first[..at], &first[at..at + 1000]);
        if at % 3 == 0 {
            deflate.stored(block)
        } else {
            deflate.fixed(before, block)
        };
    }
    let mut object = member(&deflate.end(), first);
    object.extend(member(&Deflate::default().fixed(b"", second).end(), second));
    (object, plain)
}

/// That of older versions.
fn old_golden_archive() -> (Vec<u8>, Vec<u8>) {
    let plain = plain(99, 30_000);
    let (first, second) = plain.split_at(9000);
    let mut deflate = Deflate::default();
    deflate.stored(&first[..3000]).fixed(&first[..3000], &first[3000..]);
    let mut object = member(&deflate.end(), first);
    object.extend(member(&Deflate::default().fixed(b"", second).end(), second));
    (object, plain)
}

fn golden_index(object: &[u8]) -> Vec<u8> {
    let mut pass = Pass::new(identity(object), Spacing::every(5000));
    pass.builder = pass.builder.save_every(12_000);
    pass.push(object, &mut ()).unwrap();
    assert!(pass.saves > 0);
    pass.finish().unwrap().1
}

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/seek-index-v3");

/// Written by releases that knew no links, and no run-ups.
const OLD_GOLDEN: [&str; 2] = [
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/seek-index-v1"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/seek-index-v2"),
];

/// Fails when the format changes: then raise the version, and keep this file for a test that it is
/// refused.
#[test]
fn the_format_is_the_one_of_version_3() {
    let golden = std::fs::read(GOLDEN).unwrap();
    let (object, plain) = golden_archive();
    let index = open(&golden).unwrap();
    check_spans(&index, &golden, &object, None, &plain);
    assert!(index.spans.len() > 4 && index.members.len() == 3);
    assert!(index.spans.iter().any(|span| span.run_up.plain > 0));
    assert!(replay(&mut golden.as_slice(), &index.identity).unwrap().is_some());
    // Another release of zstd may well pack the same things into other bytes, and nothing else may.
    assert!(golden_index(&object) == golden, "the same index is written in other bytes");
}

#[test]
fn an_index_of_an_older_version_is_read_and_not_gone_on_from() {
    for golden in OLD_GOLDEN {
        let golden = std::fs::read(golden).unwrap();
        let (object, plain) = old_golden_archive();
        let index = open(&golden).unwrap();
        check_spans(&index, &golden, &object, None, &plain);
        assert!(replay(&mut golden.as_slice(), &index.identity).unwrap().is_none());
    }
}

#[test]
#[ignore = "writes the golden file, for a new version"]
fn write_golden() {
    std::fs::write(GOLDEN, golden_index(&golden_archive().0)).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_cut_into_members_blocks_and_pieces(seed in any::<u64>(), len in 0_usize..200_000, spacing in 1024_u64..60_000) {
        let plain = plain(seed, len);
        let mut random = Random(seed | 1);
        let mut object = Vec::new();
        let mut at = 0;
        while at < plain.len() {
            let end = (at + 1 + random.below(80_000)).min(plain.len());
            let piece = &plain[at..end];
            match random.below(4) {
                0 => object.extend(gzip("-1", piece)),
                1 => object.extend(gzip("-9", piece)),
                _ => {
                    let mut deflate = Deflate::default();
                    let mut from = 0;
                    while from < piece.len() {
                        let to = (from + 1 + random.below(40_000)).min(piece.len());
                        if random.below(3) == 0 {
                            deflate.stored(&piece[from..to]);
                        } else {
                            deflate.fixed(&piece[from.saturating_sub(32_768)..from], &piece[from..to]);
                        }
                        from = to;
                    }
                    object.extend(member(&deflate.end(), piece));
                }
            }
            at = end;
        }
        let mut pass = Pass::new(identity(&object), Spacing::every(spacing));
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
    fn replay_of_anything_is_harmless(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let identity = identity(&[7; 100]);
        prop_assert!(replay(&mut bytes.as_slice(), &identity).unwrap().is_none());
        prop_assert!(open(&bytes).is_err());
    }
}
