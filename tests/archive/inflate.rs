//! The deflate decoder against zlib: the same bytes, the same block boundaries, the same errors,
//! however the input is cut.

use cassmount::archive::inflate;
use testkit::archive as archive_support;
use testkit::archive::zlib;

use archive_support::{Deflate, Random, data, filter};
use inflate::{At, RawInflate, StopAt, WINDOW_LEN};
use libz_rs_sys as z;
use proptest::prelude::*;
use zlib::{End, Inflated};

/// Inflates, stopping at each block, in calls that get so much input and may make so much output.
fn inflate(deflate: &[u8], mut call: impl FnMut() -> (usize, usize)) -> Inflated {
    let mut raw = RawInflate::new();
    let (mut plain, mut boundaries) = (Vec::new(), Vec::new());
    let mut used = 0;
    let mut idle = 0;
    let end = loop {
        let (piece, limit) = call();
        let input = &deflate[used..deflate.len().min(used + piece)];
        plain.reserve(limit);
        let progress = match raw.inflate(input, &mut plain, limit, StopAt::Boundary) {
            Ok(progress) => progress,
            Err(error) => break End::Bad(error.0.to_owned()),
        };
        used += progress.consumed;
        assert!(progress.produced <= limit && progress.consumed <= input.len());
        match progress.at {
            At::End => break End::Complete(used),
            At::Boundary => boundaries.push((used as u64 * 8 - u64::from(progress.unused_bits), plain.len() as u64)),
            At::Middle | At::Symbol if progress.produced == limit => {}
            // Otherwise it wants input, and must have taken all there was.
            At::Middle | At::Symbol => {
                assert_eq!(progress.consumed, input.len());
                if used == deflate.len() {
                    break End::Truncated;
                }
            }
        }
        idle = if progress.consumed + progress.produced > 0 { 0 } else { idle + 1 };
        assert!(idle < 100, "no progress");
    };
    Inflated { plain, end, boundaries }
}

/// The deflate data of a gzip with a plain header.
fn body(gzip: &[u8]) -> Vec<u8> {
    assert_eq!(gzip[3], 0, "no optional fields when it reads a pipe");
    gzip[10..gzip.len() - 8].to_vec()
}

/// Deflate of every making.
fn streams(plain: &[u8], seed: u64) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let strategies = [
        ("default", z::Z_DEFAULT_STRATEGY),
        ("fixed", z::Z_FIXED),
        ("Huffman only", z::Z_HUFFMAN_ONLY),
        ("RLE", z::Z_RLE),
        ("filtered", z::Z_FILTERED),
    ];
    for (name, strategy) in strategies {
        for level in [0, 1, 6, 9] {
            let whole = zlib::deflate(plain, level, strategy, || (usize::MAX, z::Z_FINISH));
            all.push((format!("{name} -{level}"), whole));
        }
    }
    let flushes = [z::Z_NO_FLUSH, z::Z_PARTIAL_FLUSH, z::Z_SYNC_FLUSH, z::Z_FULL_FLUSH, z::Z_BLOCK];
    let mut random = Random(seed | 1);
    for level in [1, 6] {
        let mixed = zlib::deflate(plain, level, z::Z_DEFAULT_STRATEGY, || {
            (random.below(9000), flushes[random.below(flushes.len())])
        });
        all.push((format!("mixed flushes -{level}"), mixed));
    }
    all.push(("our own fixed".to_owned(), Deflate::default().fixed(b"", plain).end()));
    for (program, args) in [
        ("gzip", &["-c", "-1"][..]),
        ("gzip", &["-c", "-6"]),
        ("gzip", &["-c", "-9"]),
        ("igzip", &["-c", "-0"]),
        ("igzip", &["-c", "-1"]),
        ("igzip", &["-c", "-3"]),
        ("pigz", &["-c", "-p", "3", "-b", "128"]),
        ("pigz", &["-c", "-11"]),
    ] {
        if let Some(gzip) = filter(program, args, plain) {
            all.push((format!("{program} {args:?}"), body(&gzip)));
        }
    }
    all
}

/// Plain data of several kinds.
fn plains() -> Vec<Vec<u8>> {
    let sources = ["src", "docs"].map(|of| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(of));
    let text: Vec<u8> = [sources[0].join("archive/compression/gzip/mod.rs"), sources[1].join("formats.md")]
        .iter()
        .flat_map(|path| std::fs::read(path).unwrap())
        .collect();
    let mut random = Random(4711);
    // Few symbols of very different frequencies: codes of all lengths.
    let skewed = (0..90_000).map(|_| (random.next() | 1 << 40).trailing_zeros() as u8).collect();
    let noise = (0..70_000).map(|_| random.next() as u8).collect();
    vec![data(1, 150_000), text, skewed, noise, vec![0; 300_000], b"a".to_vec(), Vec::new()]
}

#[test]
fn every_making_in_pieces_and_with_limits_of_every_size() {
    for (i, plain) in (0..).zip(plains()) {
        for (name, deflate) in streams(&plain, i) {
            let expected = zlib::inflate(&deflate);
            assert!(expected.plain == plain && expected.end == End::Complete(deflate.len()), "{name}, plain {i}");
            let mut random = Random(i | 1);
            for piece in [1, 7, 1000, 1 << 20] {
                let found = inflate(&deflate, || (piece, 300_000));
                assert!(found == expected, "{name}, plain {i}, pieces of {piece}");
            }
            for most in [3, 700, 20_000, 400_000] {
                let found = inflate(&deflate, || (60_000, random.below(most)));
                assert!(found == expected, "{name}, plain {i}, at most {most} bytes at once");
            }
            let found = inflate(&deflate, || (random.below(600), random.below(2000)));
            assert!(found == expected, "{name}, plain {i}, random pieces and limits");
        }
    }
}

#[test]
fn inflating_goes_on_from_every_boundary() {
    for (i, plain) in (0..).zip(plains()) {
        for (name, deflate) in streams(&plain, i) {
            let boundaries = zlib::inflate(&deflate).boundaries;
            let mut raw = RawInflate::new();
            for &(bit, offset) in boundaries.iter().step_by(1 + boundaries.len() / 40) {
                let (bit, offset) = (bit as usize, offset as usize);
                raw.reset();
                raw.set_window(&plain[offset.saturating_sub(WINDOW_LEN)..offset]);
                let mut rest = &deflate[bit / 8..];
                if bit % 8 > 0 {
                    raw.prime(8 - bit as u32 % 8, rest[0] >> (bit % 8));
                    rest = &rest[1..];
                }
                let mut out = Vec::with_capacity(200_000);
                raw.inflate(rest, &mut out, usize::MAX, StopAt::End).unwrap();
                let expected = &plain[offset..plain.len().min(offset + 200_000)];
                assert!(out == expected, "{name}, plain {i}, boundary at bit {bit}");
                let end = offset + out.len();
                assert!(raw.window() == plain[end.saturating_sub(WINDOW_LEN)..end], "{name}, plain {i}: window");
            }
        }
    }
}

/// The same as zlib, but that an empty code length code is an error at once, and for zlib only when
/// it is used. (zlib-rs does not always tell the cause, so that is not compared.)
fn agrees(deflate: &[u8], random: &mut Random) -> Result<(), TestCaseError> {
    let whole = inflate(deflate, || (1 << 20, 100_000));
    let pieces = inflate(deflate, || (random.below(50), 1 + random.below(500)));
    prop_assert_eq!(&whole, &pieces);
    let mut expected = zlib::inflate(deflate);
    if whole.end == End::Bad("invalid code lengths set".to_owned()) && expected.end == End::Truncated {
        expected = zlib::inflate(&[deflate, &[0; 50]].concat());
        prop_assert!(matches!(expected.end, End::Bad(_)));
    }
    if let (End::Bad(_), End::Bad(_)) = (&whole.end, &expected.end) {
        expected.end = whole.end.clone();
    }
    prop_assert_eq!(whole, expected);
    Ok(())
}

/// The header of a dynamic block whose codes have these lengths, written with a code length code in
/// which all codes have 4 or 5 bits.
fn dynamic(deflate: &mut Deflate, litlens: &[u8], distances: &[u8]) {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    deflate.bits(0b101, 3);
    deflate.bits(litlens.len() as u32 - 257, 5).bits(distances.len() as u32 - 1, 5).bits(15, 4);
    for symbol in ORDER {
        deflate.bits(if symbol < 13 { 4 } else { 5 }, 3);
    }
    for &len in litlens.iter().chain(distances) {
        match u32::from(len) {
            len if len < 13 => deflate.bits(len.reverse_bits() >> 28, 4),
            len => deflate.bits((26 + len - 13).reverse_bits() >> 27, 5),
        };
    }
}

/// Lengths of a complete code for `count` symbols or a few more, in random order; spoilt now and
/// then.
fn lens(random: &mut Random, count: usize) -> Vec<u8> {
    let mut lens = vec![1, 1];
    while lens.len() < count.min(2 + random.below(300)) {
        let at = random.below(lens.len());
        if lens[at] < 15 {
            lens[at] += 1;
            lens.push(lens[at]);
        }
    }
    lens.resize(count, 0);
    for i in (1..count).rev() {
        lens.swap(i, random.below(i + 1));
    }
    match random.below(6) {
        0 => lens[random.below(count)] = random.below(16) as u8,
        1 => lens.fill(0),
        2 => {
            lens.fill(0);
            lens[random.below(count)] = 1 + random.below(2) as u8;
        }
        _ => {}
    }
    lens
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn garbage(bytes in proptest::collection::vec(any::<u8>(), 0..400), seed in any::<u64>()) {
        agrees(&bytes, &mut Random(seed | 1))?;
    }

    #[test]
    fn blocks_with_any_codes(seed in any::<u64>()) {
        let mut random = Random(seed | 1);
        let mut deflate = Deflate::default();
        deflate.stored(&data(seed, random.below(40_000)));
        let count = 257 + random.below(32).min(random.below(100));
        let mut litlens = lens(&mut random, count);
        if random.below(4) > 0 {
            // The end of a block needs a code: swap it with some symbol that has one.
            let with = litlens.iter().position(|&len| len > 0).unwrap_or(0);
            litlens.swap(256, with);
        }
        let count = 1 + random.below(32).min(random.below(60));
        dynamic(&mut deflate, &litlens, &lens(&mut random, count));
        for _ in 0..random.below(400) {
            deflate.bits(random.next() as u32, 32);
        }
        let mut bytes = deflate.end();
        bytes.extend([0; 20]);
        agrees(&bytes, &mut random)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_streams(seed in any::<u64>(), level in 0..10, strategy in 0..5, len in 0_usize..60_000) {
        let mut random = Random(seed | 1);
        let mut bytes = zlib::deflate(&data(seed, len), level, strategy, || {
            (random.below(30_000), [z::Z_NO_FLUSH, z::Z_SYNC_FLUSH][(level % 2) as usize])
        });
        for _ in 0..random.below(4) {
            let at = random.below(bytes.len());
            match random.below(3) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes[at] = random.next() as u8,
                _ => bytes.truncate(at + 1),
            }
        }
        agrees(&bytes, &mut random)?;
    }
}
