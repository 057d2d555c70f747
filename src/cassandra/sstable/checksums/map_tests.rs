use super::tests::{compressed, crc_db, info, name, noise};
use super::*;
use proptest::prelude::*;

fn map(list: &[u8], size: u64, piece: usize) -> crate::Result<PieceMap> {
    let component = if list.starts_with(b"\0\x0dLZ4") { "CompressionInfo.db" } else { "CRC.db" };
    let mut reader = MapReader::new(&name(), component, size)?.unwrap();
    for bytes in list.chunks(piece) {
        reader.push(bytes)?;
    }
    reader.finish()
}

/// Numbers of the spans that are wrong; each byte of the file is in one span.
fn bad_spans(map: &PieceMap, list: &[u8], data: &[u8]) -> Vec<usize> {
    let (mut bad, mut at, mut span) = (Vec::new(), 0, 0);
    while let Some(found) = map.span_of(at) {
        assert_eq!(found, span);
        let range = map.span_range(span);
        assert_eq!(range.start, at);
        assert_eq!(map.span_of(range.end - 1), Some(span));
        let part = map.list_range(span);
        let part = &list[part.start as usize..part.end as usize];
        if map.check(span, part, &data[range.start as usize..range.end as usize]).is_err() {
            bad.push(span);
        }
        (at, span) = (range.end, span + 1);
    }
    assert_eq!(at, data.len() as u64);
    bad
}

#[test]
fn each_span_is_checked_by_itself() {
    let chunks: Vec<Vec<u8>> = (1..300).map(|n| noise(n, (n as usize * 337) % 16_000 + 1)).collect();
    let (data, info) = compressed(&chunks);
    let map = map(&info, data.len() as u64, 1000).unwrap();
    assert!(map.span_of(data.len() as u64 - 1).unwrap() > 5);
    assert!(map.weight() < 1000);
    assert_eq!(bad_spans(&map, &info, &data), [0; 0]);
    for at in [0, data.len() / 2, data.len() - 1] {
        let mut data = data.clone();
        data[at] ^= 0x10;
        assert_eq!(bad_spans(&map, &info, &data), [map.span_of(at as u64).unwrap()], "{at}");
    }
    let span = map.span_of(data.len() as u64 / 2).unwrap();
    let (range, list) = (map.span_range(span), map.list_range(span));
    let bytes = &data[range.start as usize..range.end as usize];
    let mut other = info[list.start as usize..list.end as usize].to_vec();
    other[15] ^= 1;
    assert!(map.check(span, &other, bytes).unwrap_err().to_string().contains("chunk"));
    other[7] ^= 1;
    assert!(map.check(span, &other, bytes).unwrap_err().to_string().contains("not what it was"));
    assert!(map.check(span, &other, &bytes[1..]).is_err());
}

#[test]
fn pieces_of_plain_files_and_their_crcs() {
    for (length, piece) in [(1, 64 << 10), (65_536, 64 << 10), (65_537, 64 << 10), (1_000_000, 64 << 10), (300_000, 7)]
    {
        let data = noise(9, length);
        let crcs = crc_db(piece, &data);
        let map = map(&crcs, length as u64, 1 << 20).unwrap();
        assert_eq!(bad_spans(&map, &crcs, &data), [0; 0], "{length}");
        let mut damaged = data.clone();
        damaged[length - 1] ^= 1;
        assert_eq!(bad_spans(&map, &crcs, &damaged), [map.span_of(length as u64 - 1).unwrap()], "{length}");
    }
}

#[test]
fn one_that_cannot_be_of_the_file_is_refused() {
    let chunks: Vec<Vec<u8>> = (1..20).map(|n| noise(n, 400)).collect();
    let (data, good) = compressed(&chunks);
    let size = data.len() as u64;
    assert!(map(&good, size, 1).is_ok());
    for length in 0..good.len() {
        assert!(map(&good[..length], size, 1 << 20).is_err(), "{length}");
    }
    // The file ends before its last chunk does; chunks that go back, or hold nothing.
    for (list, size) in [
        (good.clone(), 18 * 404 + 3),
        (info(&[0, 100, 50]), size),
        (info(&[0, 4]), size),
        (info(&[1, 100]), size),
        (info(&[]), size),
        (info(&[0, u64::MAX]), size),
        (crc_db(64 << 10, &noise(1, 200_000)), 196_608),
        (crc_db(64 << 10, &noise(1, 200_000)), 262_145),
        (vec![0; 8], 1),
        (vec![0xff; 8], 1),
    ] {
        assert!(map(&list, size, 1 << 20).is_err(), "{list:?} {size}");
    }
    let huge = map(&info(&[0, 20 << 20]), 30 << 20, 1 << 20).unwrap_err();
    assert_eq!(huge.kind(), crate::Kind::Unsupported, "{huge}");
    assert!(MapReader::new(&name(), "Index.db", 1).unwrap().is_none());
}

#[test]
fn a_map_of_a_very_long_file_is_small() {
    // 4 TiB in chunks of 8 MiB, as far as its list goes.
    let starts: Vec<u64> = (0..1 << 19).map(|n| n * (8 << 20)).collect();
    let map = map(&info(&starts), 4 << 40, 1 << 20).unwrap();
    assert!(map.weight() < 8 << 20);
    assert_eq!(map.span_of(4 << 40), None);
    let range = map.span_range(map.span_of(3 << 40).unwrap());
    assert!(range.contains(&(3 << 40)) && range.end - range.start <= 32 << 20, "{range:?}");
}

proptest! {
    #[test]
    fn any_bytes_do_no_harm(
        list in proptest::collection::vec(any::<u8>(), 0..200),
        starts in proptest::collection::vec(0u64..3000, 0..20),
        data in proptest::collection::vec(0u8..3, 0..3000),
        made: bool,
    ) {
        let list = if made { info(&starts) } else { list };
        for component in ["CompressionInfo.db", "CRC.db"] {
            let mut reader = MapReader::new(&name(), component, data.len() as u64).unwrap().unwrap();
            if list.chunks(7).try_for_each(|bytes| reader.push(bytes)).is_ok()
                && let Ok(map) = reader.finish()
            {
                bad_spans(&map, &list, &data);
            }
        }
    }
}

#[test]
fn a_last_chunk_of_nothing_is_checked_as_the_others() {
    let (data, info) = super::tests::compressed(&[noise(1, 10), Vec::new()]);
    let map = map(&info, data.len() as u64, 7).unwrap();
    assert_eq!(bad_spans(&map, &info, &data), [0; 0]);
    let mut damaged = data.clone();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(bad_spans(&map, &info, &damaged), [0]);
}
