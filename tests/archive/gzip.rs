//! gzip's checks and manners, against the real `gzip` where it has an opinion.

use testkit::archive as archive_support;

use archive_support::{Deflate, Random, data, gzip, key, member, seal};
use cassmount::archive::compression::gzip::Inflater;
use cassmount::archive::compression::{Segment, Spacing, Summary};
use cassmount::archive::envelope;
use cassmount::keys::Passphrase;
use cassmount::{Kind, Result};
use proptest::prelude::*;

fn inflate(bytes: &[u8], chunk: usize) -> Result<(Summary, Vec<u8>)> {
    let mut inflater = Inflater::new(Spacing::every(4096));
    let mut plain = Vec::new();
    let mut sink = |segment: Segment| {
        plain.extend(segment.plain);
        Ok(())
    };
    for piece in bytes.chunks(chunk) {
        inflater.push(piece, &mut sink)?;
    }
    let summary = inflater.finish(&mut sink)?;
    Ok((summary, plain))
}

#[test]
fn truncated_anywhere() {
    let plain = data(1, 3000);
    let whole = [gzip("-6", &plain), gzip("-6", &plain)].concat();
    let one = gzip("-6", &plain).len();
    for len in 0..whole.len() {
        let result = inflate(&whole[..len], 1 << 20);
        if len == one {
            let (summary, inflated) = result.unwrap();
            assert_eq!((inflated == plain, summary.warnings.len()), (true, 0));
        } else {
            assert_eq!(result.unwrap_err().kind(), Kind::Corrupt, "{len} bytes");
        }
    }
}

#[test]
fn no_flipped_bit_gives_other_bytes() {
    let plain = data(2, 2000);
    let good = gzip("-6", &plain);
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok((_, inflated)) = inflate(&bytes, 1 << 20) {
            // Labels, and codes that happen to mean the same.
            assert!(inflated == plain, "bit {bit}");
        }
    }
}

#[test]
fn wrong_length_is_told() {
    let plain = data(3, 100);
    let mut bytes = gzip("-6", &plain);
    let at = bytes.len() - 1;
    bytes[at] ^= 1;
    assert!(inflate(&bytes, 7).unwrap_err().to_string().contains("length is 100"));
}

#[test]
fn a_bad_second_member_is_an_error_and_no_garbage() {
    let first = gzip("-6", b"first");
    for (tail, bad) in [
        (&b"\x1f\x8b\x07"[..], true),
        (b"\x1f\x8b\x08\xff", true),
        (b"\x1f\x8c", true),
        (b"\0\0\x1f\x8b", true),
        (b"\0\0", false),
    ] {
        let result = inflate(&[&first[..], tail].concat(), 1);
        assert_eq!(result.is_err(), bad, "{tail:?}");
    }
}

#[test]
fn a_bomb_yields_segments_of_bounded_size() {
    let zeros = archive_support::filter("sh", &["-c", "head -c 300000000 /dev/zero | gzip -9"], b"").unwrap();
    let mut inflater = Inflater::new(Spacing::for_object(zeros.len() as u64));
    let mut total = 0;
    let mut sink = |segment: Segment| {
        assert!(segment.plain.capacity() <= 1 << 20 && segment.entries.len() <= 2);
        total += segment.plain.len();
        Ok(())
    };
    inflater.push(&zeros, &mut sink).unwrap();
    assert_eq!(inflater.finish(&mut sink).unwrap().plain_size, 300_000_000);
    assert_eq!(total, 300_000_000);
}

#[test]
fn the_probe_tells_keys_apart() {
    let tar = archive_support::tar(&[("a", &data(4, 50_000))]);
    for plain in [&tar[..], &[0; 10_240]] {
        let object = seal(&gzip("-6", plain), "right");
        let right = key(&object, "right").unwrap();
        let wrong = key(&object, "wrong").unwrap();
        for len in [32, 48, 100, 4096, object.len()] {
            assert!(envelope::opens(&right, &object[..len.min(object.len())]), "{len} bytes");
            assert!(!envelope::opens(&wrong, &object[..len.min(object.len())]), "{len} bytes");
        }
        assert!(!envelope::opens(&right, &object[..16]));
        assert!(!envelope::opens(&right, b""));
    }
    // The right key, but not a tar inside: damage, and not a missing key.
    for plain in [&data(5, 5000)[..], b""] {
        let object = seal(&gzip("-6", plain), "right");
        assert!(envelope::opens(&key(&object, "right").unwrap(), &object), "{} bytes", plain.len());
        assert!(!envelope::opens(&key(&object, "wrong").unwrap(), &object), "{} bytes", plain.len());
    }
    let non_ascii = "Schl\u{fc}ssel-\u{1f511}";
    let object = seal(&gzip("-6", &tar), non_ascii);
    let key = envelope::CipherKey::derive(&Passphrase::new(non_ascii.into()), object.first_chunk().unwrap()).unwrap();
    assert!(envelope::opens(&key, &object));
}

proptest! {
    #[test]
    fn anything_is_harmless(bytes in proptest::collection::vec(any::<u8>(), 0..3000), chunk in 1_usize..500) {
        let _ = inflate(&bytes, chunk);
        let framed = member(&bytes, b"");
        let whole = inflate(&framed, usize::MAX).map_err(|e| e.kind());
        let pieces = inflate(&framed, chunk).map_err(|e| e.kind());
        prop_assert_eq!(whole, pieces);
    }

    #[test]
    fn damaged_deflate_is_harmless(seed in any::<u64>(), chunk in 1_usize..5000) {
        let mut random = Random(seed | 1);
        let plain = data(seed, 20_000);
        let mut bytes = match random.below(3) {
            0 => gzip("-6", &plain),
            1 => member(&Deflate::default().fixed(b"", &plain).end(), &plain),
            _ => member(&Deflate::default().stored(&plain).end(), &plain),
        };
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            bytes[at] = random.next() as u8;
        }
        match inflate(&bytes, chunk) {
            Ok((_, inflated)) => prop_assert!(inflated == plain),
            Err(error) => prop_assert_eq!(error.kind(), Kind::Corrupt),
        }
    }
}
