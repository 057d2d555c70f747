use super::*;
use crate::cassandra::SstableName;
use proptest::prelude::*;

pub(super) fn name() -> SstableName {
    SstableName::parse_component("nb-1-big-Data.db").unwrap().sstable
}

/// A Data.db of these chunks, and its CompressionInfo.db.
pub(super) fn compressed(chunks: &[Vec<u8>]) -> (Vec<u8>, Vec<u8>) {
    let (mut data, mut starts) = (Vec::new(), Vec::new());
    for chunk in chunks {
        starts.push(data.len() as u64);
        data.extend_from_slice(chunk);
        data.extend_from_slice(&crc32fast::hash(chunk).to_be_bytes());
    }
    (data, info(&starts))
}

pub(super) fn info(starts: &[u64]) -> Vec<u8> {
    let mut info = b"\0\x0dLZ4Compressor\0\0\0\0\0\0\x40\0\x7f\xff\xff\xff".to_vec();
    info.extend_from_slice(&(starts.len() as u64 * 0x4000).to_be_bytes());
    info.extend_from_slice(&(starts.len() as u32).to_be_bytes());
    info.extend(starts.iter().flat_map(|start| start.to_be_bytes()));
    info
}

pub(super) fn crc_db(length: u32, data: &[u8]) -> Vec<u8> {
    let crcs = data.chunks(length as usize).map(crc32fast::hash);
    std::iter::once(length).chain(crcs).flat_map(u32::to_be_bytes).collect()
}

fn read_list(component: &str, content: &[u8], piece: usize, keep: usize) -> crate::Result<List> {
    let mut reader = ListReader::new(&name(), component, keep).unwrap().unwrap();
    content.chunks(piece).for_each(|bytes| reader.push(bytes));
    reader.finish()
}

fn list(content: &[u8]) -> List {
    let component = if content.starts_with(b"\0\x0dLZ4") { "CompressionInfo.db" } else { "CRC.db" };
    read_list(component, content, 1 << 20, 1 << 20).unwrap()
}

fn check(data: &[u8], piece: usize, known: Option<&List>) -> Checked {
    let mut check = DataCheck::new(data.len() as u64, known);
    data.chunks(piece).for_each(|bytes| check.push(bytes));
    check.finish()
}

/// The verdict when the list came after the file, and when it came before.
fn verdicts(data: &[u8], list: &List) -> (Verdict, Verdict) {
    let size = data.len() as u64;
    (check(data, 1000, None).verdict(list, size), check(data, 1000, Some(list)).verdict(list, size))
}

pub(super) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn bad(first: &[u64], of: u64) -> Verdict {
    Verdict::Bad(BadPieces { first: first.to_vec(), count: first.len() as u64, of })
}

#[test]
fn a_sound_file_is_good_either_way() {
    let chunks: Vec<Vec<u8>> = (1..200).map(|n| noise(n, (n as usize * 37) % 5000 + 1)).collect();
    let (data, info) = compressed(&chunks);
    assert_eq!(verdicts(&data, &list(&info)), (Verdict::Good, Verdict::Good));
    // One chunk only; and a last one that is empty before compression.
    let (data, info) = compressed(&[noise(1, 10)]);
    assert_eq!(verdicts(&data, &list(&info)), (Verdict::Good, Verdict::Good));
    let (data, info) = compressed(&[noise(1, 10), vec![0, 0, 0, 0, 0]]);
    assert_eq!(verdicts(&data, &list(&info)), (Verdict::Good, Verdict::Good));
    // Of nothing DeflateCompressor makes no byte: its CRC-32 alone is there.
    let (mut data, info) = compressed(&[noise(1, 10), noise(2, 9), Vec::new()]);
    assert_eq!(verdicts(&data, &list(&info)), (Verdict::Good, Verdict::Good));
    list(&info).check_size(data.len() as u64).unwrap();
    *data.last_mut().unwrap() ^= 1;
    assert_eq!(verdicts(&data, &list(&info)), (Verdict::Differs, bad(&[27], 3)));
    data.pop();
    assert_eq!(verdicts(&data, &list(&info)), (Verdict::Differs, Verdict::Differs));
    list(&info).check_size(data.len() as u64).unwrap_err();
    for length in [1, 65_535, 65_536, 65_537, 300_000] {
        let data = noise(7, length);
        assert_eq!(verdicts(&data, &list(&crc_db(64 << 10, &data))), (Verdict::Good, Verdict::Good), "{length}");
        // Pieces of an unusual length can only be checked with the list at hand.
        assert_eq!(verdicts(&data, &list(&crc_db(1000, &data))), (Verdict::Differs, Verdict::Good), "{length}");
    }
}

#[test]
fn a_flipped_bit_is_found_and_its_chunk_named() {
    let chunks: Vec<Vec<u8>> = (1..20).map(|n| noise(n, 4000)).collect();
    let (data, info) = compressed(&chunks);
    for at in [0, 3999, 4001, 4003, 4004, 40_043, data.len() - 1] {
        let mut data = data.clone();
        data[at] ^= 0x20;
        let start = at as u64 / 4004 * 4004;
        assert_eq!(verdicts(&data, &list(&info)), (Verdict::Differs, bad(&[start], 19)), "{at}");
    }
    let data = noise(3, 200_000);
    let crcs = list(&crc_db(64 << 10, &data));
    let mut damaged = data.clone();
    damaged[65_536] ^= 1;
    assert_eq!(verdicts(&damaged, &crcs), (Verdict::Differs, bad(&[65_536], 4)));
    assert_eq!(verdicts(&data[..131_072], &crcs), (Verdict::Differs, Verdict::Differs), "two pieces of four");
}

#[test]
fn a_wrong_list_is_found() {
    let chunks: Vec<Vec<u8>> = (1..20).map(|n| noise(n, 400)).collect();
    let (data, _) = compressed(&chunks);
    let starts: Vec<u64> = (0..19).map(|n| n * 404).collect();
    let mut moved = starts.clone();
    moved[7] += 1;
    assert_eq!(verdicts(&data, &list(&info(&moved))), (Verdict::Differs, bad(&[6 * 404, 7 * 404 + 1], 19)));
    let (sooner, later) = verdicts(&data, &list(&info(&starts[..18])));
    assert_eq!((sooner, later), (Verdict::Differs, bad(&[17 * 404], 18)));
    let beyond = [&starts[..], &[19 * 404 + 10]].concat();
    assert_eq!(verdicts(&data, &list(&info(&beyond))), (Verdict::Differs, Verdict::Differs));
}

#[test]
fn chance_ends_of_chunks_do_not_mislead() {
    // A chunk in which four bytes are the CRC-32 of those before them, and then again of those
    // behind them.
    let mut tricky = noise(1, 3000);
    for end in [500, 1200, 2000] {
        let crc = crc32fast::hash(&tricky[..end]);
        tricky[end..end + 4].copy_from_slice(&crc.to_be_bytes());
    }
    let (data, info) = compressed(&[noise(2, 700), tricky.clone(), noise(3, 900), noise(4, 10)]);
    assert_eq!(verdicts(&data, &list(&info)), (Verdict::Good, Verdict::Good));
    // Made so on purpose, too often: not decided without the list, and never for good what is bad.
    for end in (100..2900).step_by(100) {
        let crc = crc32fast::hash(&tricky[..end]);
        tricky[end..end + 4].copy_from_slice(&crc.to_be_bytes());
    }
    let (data, info) = compressed(&[tricky, noise(3, 900)]);
    assert_eq!(verdicts(&data, &list(&info)), (Verdict::Differs, Verdict::Good));
}

#[test]
fn a_long_file_without_chunks_is_given_up() {
    let mut check = DataCheck::new(20 << 20, None);
    for seed in 0..20 {
        check.push(&noise(seed, 1 << 20));
    }
    let Way::Scan(scan) = &check.way else { panic!() };
    assert!(scan.no_chunks);
}

#[test]
fn lists_in_any_pieces_and_long_ones_by_their_trail() {
    let chunks: Vec<Vec<u8>> = (1..100).map(|n| noise(n, 300)).collect();
    let (data, info) = compressed(&chunks);
    let whole = list(&info);
    for piece in [1, 3, 7, 100] {
        assert_eq!(read_list("CompressionInfo.db", &info, piece, 1 << 20).unwrap(), whole);
    }
    let long = read_list("CompressionInfo.db", &info, 100, 99 * 8 - 1).unwrap();
    assert_eq!((long.weight(), whole.weight()), (0, 98 * 8));
    assert_eq!(verdicts(&data, &long), (Verdict::Good, Verdict::Good));
    let crcs = crc_db(64 << 10, &noise(1, 1 << 20));
    let long = read_list("CRC.db", &crcs, 9, 60).unwrap();
    assert_eq!(verdicts(&noise(1, 1 << 20), &long), (Verdict::Good, Verdict::Good));
    assert!(ListReader::new(&name(), "Index.db", 0).unwrap().is_none());
}

#[test]
fn lists_that_make_no_sense() {
    let good = info(&[0, 100, 200]);
    for length in 0..good.len() {
        assert!(read_list("CompressionInfo.db", &good[..length], 1 << 20, 1 << 20).is_err(), "{length}");
    }
    for starts in [&[1, 100][..], &[0, 0], &[0, 4], &[0, 100, 50]] {
        assert!(read_list("CompressionInfo.db", &info(starts), 1 << 20, 1 << 20).is_err(), "{starts:?}");
    }
    let mut too_few = good.clone();
    too_few[27..35].copy_from_slice(&(1u64 << 40).to_be_bytes());
    let error = read_list("CompressionInfo.db", &too_few, 1 << 20, 1 << 20).unwrap_err();
    assert!(error.to_string().contains("do not make"), "{error}");
    for crcs in [&[][..], &[0, 0, 0, 0], &[0xff; 4], &[0, 1, 0, 0, 1]] {
        assert!(read_list("CRC.db", crcs, 1 << 20, 1 << 20).is_err(), "{crcs:?}");
    }
}

proptest! {
    #[test]
    fn any_file_and_list(
        lengths in proptest::collection::vec(1usize..600, 1..40),
        seed in 1u64..1000,
        piece in 1usize..3000,
        flip in any::<proptest::sample::Index>(),
        in_list: bool,
    ) {
        // Few byte values, so that chance ends are tried as well.
        let chunks: Vec<Vec<u8>> =
            lengths.iter().zip(seed..).map(|(&n, seed)| noise(seed, n).iter().map(|b| b & 1).collect()).collect();
        let (mut data, mut info) = compressed(&chunks);
        let good = list(&info);
        prop_assert_eq!(check(&data, piece, None).verdict(&good, data.len() as u64), Verdict::Good);
        prop_assert_eq!(check(&data, piece, Some(&good)).verdict(&good, data.len() as u64), Verdict::Good);
        if in_list {
            let at = info.len() - lengths.len() * 8 + flip.index(lengths.len() * 8);
            info[at] ^= 1;
        } else {
            let at = flip.index(data.len());
            data[at] ^= 1;
        }
        if let Ok(list) = read_list("CompressionInfo.db", &info, piece, 1 << 20) {
            prop_assert_eq!(check(&data, piece, None).verdict(&list, data.len() as u64), Verdict::Differs);
            prop_assert_ne!(check(&data, piece, Some(&list)).verdict(&list, data.len() as u64), Verdict::Good);
        }
    }

    #[test]
    fn any_bytes_do_no_harm(
        info in proptest::collection::vec(any::<u8>(), 0..200),
        data in proptest::collection::vec(0u8..3, 0..3000),
        size in 0u64..4000,
    ) {
        for component in ["CompressionInfo.db", "CRC.db"] {
            if let Ok(list) = read_list(component, &info, 7, 64) {
                let mut check = DataCheck::new(size, Some(&list));
                data.chunks(13).for_each(|bytes| check.push(bytes));
                let _ = check.finish().verdict(&list, size);
            }
        }
        let mut check = DataCheck::new(size, None);
        check.push(&data);
        let _ = check.finish();
    }
}
