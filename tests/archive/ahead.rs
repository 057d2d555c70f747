//! Inflating with helpers: what comes of it must be what one thread makes, to the last checkpoint,
//! whatever the stream is and however it is cut into pieces.

use cassmount::archive::compression::gzip::{Helpers, Inflater};
use cassmount::archive::compression::{Checkpoint, Segment, Spacing, Summary};
use cassmount::{Error, Result};
use libz_rs_sys as z;
use proptest::prelude::*;
use std::thread;
use std::time::Duration;
use testkit::archive::{Random, data, filter, gzip, member, zlib};

/// Up to here blocks are watched one by one, and nobody helps.
pub(crate) const ALONE: usize = 1 << 20;

/// Everything that an inflater tells.
#[derive(Default, PartialEq, Debug)]
struct Told {
    plain: Vec<u8>,
    checkpoints: Vec<Checkpoint>,
    windows: Vec<(Checkpoint, Vec<u8>)>,
    end: Option<std::result::Result<Summary, String>>,
}

/// Inflates; second, how many guesses were taken over.
fn inflate(mut inflater: Inflater, input: &[u8], mut cut: impl FnMut() -> usize) -> (Told, u64) {
    let mut told = Told::default();
    let mut fitting = 0;
    let mut sink = |segment: Segment| {
        told.plain.extend(segment.plain);
        told.checkpoints.extend(segment.checkpoint);
        told.windows.extend(segment.entries.into_iter().map(|entry| (entry.checkpoint, entry.pack())));
        Ok(())
    };
    let all = || -> Result<Summary> {
        let mut rest = input;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(cut().clamp(1, rest.len()));
            inflater.push(now, &mut sink)?;
            rest = later;
        }
        // On a busy machine helpers get their turn when this thread gives up its own.
        thread::sleep(Duration::from_millis(1));
        while inflater.work(&mut sink)? {}
        fitting = inflater.guesses_taken();
        inflater.finish(&mut sink)
    };
    let end = all();
    // Where in the gzip an error is noticed depends on how it is cut.
    let what = |error: Error| error.to_string().split(" (plain byte").next().unwrap_or_default().to_owned();
    told.end = Some(end.map_err(what));
    (told, fitting)
}

fn alone(gzip: &[u8], spacing: Spacing) -> Told {
    inflate(Inflater::new(spacing), gzip, || 256 << 10).0
}

fn helped(gzip: &[u8], spacing: Spacing, helpers: Helpers) -> (Told, u64) {
    let mut inflater = Inflater::new(spacing);
    inflater.set_helpers(helpers);
    // It begins with the second piece.
    inflate(inflater, gzip, || (100 << 10).min(gzip.len() / 20))
}

/// Not by `assert_eq`, which would print megabytes.
fn assert_same(found: &Told, expected: &Told, what: &str) {
    assert_eq!(found.end, expected.end, "{what}");
    assert!(found.plain == expected.plain, "{what}: bytes");
    assert_eq!(found.checkpoints, expected.checkpoints, "{what}");
    assert!(found.windows == expected.windows, "{what}: windows");
}

/// Inflates with and without helpers, what may be damaged; second, how many guesses were taken
/// over.
pub(crate) fn agree(gzip: &[u8], spacing: Spacing, helpers: Helpers) -> (bool, u64) {
    let expected = alone(gzip, spacing);
    let (found, taken) = helped(gzip, spacing, helpers);
    assert_eq!(found.end, expected.end);
    // What is handed out before an error ends with the last whole segment.
    let common = found.plain.len().min(expected.plain.len());
    assert!(found.plain[..common] == expected.plain[..common], "bytes");
    let is_whole = found.end.as_ref().is_some_and(std::result::Result::is_ok);
    if is_whole {
        assert_same(&found, &expected, "whole");
    }
    (is_whole, taken)
}

fn text(len: usize) -> Vec<u8> {
    let mut random = Random(99);
    let words: Vec<String> = (0..3000).map(|_| format!("{:x} ", random.next() >> random.below(60))).collect();
    let mut text = Vec::new();
    while text.len() < len {
        text.extend(words[random.below(words.len()).min(random.below(words.len()))].bytes());
    }
    text
}

#[test]
fn every_making_in_pieces_of_every_size_by_any_number_of_threads() {
    let len = ALONE + 1_000_000;
    let mut random = Random(5);
    let flushes = [z::Z_NO_FLUSH, z::Z_SYNC_FLUSH, z::Z_FULL_FLUSH, z::Z_BLOCK];
    let plain = data(3, len);
    let mixed = zlib::deflate(&plain, 6, z::Z_DEFAULT_STRATEGY, || {
        (random.below(90_000), flushes[random.below(flushes.len())])
    });
    let mut streams = vec![
        ("gzip -6 of rows", gzip("-6", &plain)),
        ("gzip -1 of text", gzip("-1", &text(len))),
        ("gzip -9 of text", gzip("-9", &text(len))),
        ("mixed flushes", member(&mixed, &plain)),
    ];
    streams.extend(filter("igzip", &["-c", "-1"], &plain).map(|gzip| ("igzip -1", gzip)));
    streams.extend(filter("pigz", &["-c", "-p2"], &text(len)).map(|gzip| ("pigz", gzip)));
    let sizes = [(1, 40_000, 2), (2, 150_000, 1), (3, 400_000, 0), (7, 200_000, 1)];
    let mut taken = 0;
    for (i, (name, gzip)) in streams.iter().enumerate() {
        let spacing = [Spacing::every(50_000), Spacing::none()][i % 2];
        let expected = alone(gzip, spacing);
        for (threads, piece_len, leave) in [sizes[i % 4], sizes[(i + 1) % 4]] {
            let (found, count) = helped(gzip, spacing, Helpers { threads, piece_len, leave });
            assert_same(&found, &expected, &format!("{name}, {threads} threads, pieces of {piece_len}"));
            taken += count;
        }
    }
    // Of a single stream it may be that no thread got its turn in time.
    assert!(taken > 0, "nobody helped");
}

/// Stored blocks with a gzip in them: whatever is found in there begins no block of the stream.
#[test]
fn what_only_looks_like_a_block_is_not_taken() {
    let inner = [gzip("-6", &text(3 << 20)), gzip("-6", &data(8, 400_000))].concat();
    let plain = [data(7, ALONE), inner].concat();
    let stored = member(&zlib::deflate(&plain, 0, z::Z_DEFAULT_STRATEGY, || (usize::MAX, z::Z_FINISH)), &plain);
    let spacing = Spacing::every(100_000);
    let (found, taken) = helped(&stored, spacing, Helpers { threads: 2, piece_len: 200_000, leave: 1 });
    assert_same(&found, &alone(&stored, spacing), "stored");
    assert_eq!(taken, 0);
}

#[test]
fn several_members_and_a_start_at_a_checkpoint() {
    let (one, other) = (text(ALONE + 400_000), data(4, ALONE + 300_000));
    let whole = [gzip("-6", &one), gzip("-6", b""), gzip("-6", &other), vec![0; 700]].concat();
    let spacing = Spacing::every(200_000);
    let helpers = Helpers { threads: 2, piece_len: 100_000, leave: 0 };
    let expected = alone(&whole, spacing);
    assert_same(&helped(&whole, spacing, helpers).0, &expected, "members");
    let (checkpoint, packed) = &expected.windows[2];
    let entry = cassmount::archive::compression::gzip::Window::unpack(packed).unwrap();
    let mut inflater = Inflater::resume(checkpoint, &entry, spacing).unwrap();
    inflater.set_helpers(helpers);
    let (found, _) = inflate(inflater, &whole[checkpoint.byte() as usize..], || 50_000);
    assert!(found.plain == expected.plain[checkpoint.plain as usize..]);
    assert_eq!(found.end, expected.end);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Damage behind the part that is read alone gives the error, and the bytes before it, that one
    /// thread gives.
    #[test]
    fn damaged_and_cut_streams(
        seed in any::<u64>(),
        threads in 1..4_usize,
        leave in 0..3_usize,
        piece_len in 20_000..200_000_usize,
    ) {
        let mut random = Random(seed | 1);
        let mut gzip = gzip(["-1", "-6"][random.below(2)], &data(seed % 4, ALONE + 300_000));
        let from = gzip.len() * 4 / 5;
        for _ in 0..random.below(3) {
            let at = from + random.below(gzip.len() - from);
            match random.below(4) {
                0 => gzip[at] ^= 1 << random.below(8),
                1 => gzip.truncate(at + 1),
                2 => {
                    let end = gzip.len().min(at + random.below(30_000));
                    gzip[at..end].fill_with(|| random.next() as u8);
                }
                _ => { let end = gzip.len().min(at + random.below(3000)); gzip.drain(at..end); }
            }
        }
        let spacing = Spacing::every(100_000);
        agree(&gzip, spacing, Helpers { threads, piece_len, leave });
    }
}
