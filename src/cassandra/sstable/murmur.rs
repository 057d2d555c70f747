//! Cassandra's `MurmurHash.hash3_x64_128` with seed 0, from which tokens and bloom filters are made.

const C1: u64 = 0x87c3_7b91_1142_53d5;
const C2: u64 = 0x4cf5_ad43_2745_937f;

/// Both halves.
pub(super) fn hash(key: &[u8]) -> [u64; 2] {
    let (mut h1, mut h2) = (0_u64, 0_u64);
    let (blocks, tail) = key.as_chunks::<16>();
    for block in blocks {
        let block = u128::from_le_bytes(*block);
        h1 ^= mixed_first(block as u64);
        h1 = h1.rotate_left(27).wrapping_add(h2).wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 ^= mixed_second((block >> 64) as u64);
        h2 = h2.rotate_left(31).wrapping_add(h1).wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    // Java's bytes have a sign, which the original does not mean to extend.
    let half = |bytes: &[u8]| {
        let each = bytes.iter().enumerate();
        each.fold(0_u64, |half, (at, &byte)| half ^ i64::from(byte as i8).cast_unsigned() << (8 * at))
    };
    if tail.len() > 8 {
        h2 ^= mixed_second(half(&tail[8..]));
    }
    if !tail.is_empty() {
        h1 ^= mixed_first(half(&tail[..tail.len().min(8)]));
    }
    h1 ^= key.len() as u64;
    h2 ^= key.len() as u64;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    (h1, h2) = (finished(h1), finished(h2));
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    [h1, h2]
}

/// The token of `Murmur3Partitioner`.
pub(super) fn token(hash: [u64; 2]) -> i64 {
    match hash[0].cast_signed() {
        i64::MIN => i64::MAX,
        token => token,
    }
}

fn mixed_first(half: u64) -> u64 {
    half.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2)
}

fn mixed_second(half: u64) -> u64 {
    half.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1)
}

fn finished(mut half: u64) -> u64 {
    half ^= half >> 33;
    half = half.wrapping_mul(0xff51_afd7_ed55_8ccd);
    half ^= half >> 33;
    half = half.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    half ^ half >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_those_of_a_node() {
        // `SELECT token(id)` of a table with an int for its key.
        assert_eq!(token(hash(&1_i32.to_be_bytes())), -4_069_959_284_402_364_209);
        assert_eq!(token(hash(&2_i32.to_be_bytes())), -3_248_873_570_005_575_792);
        assert_eq!(token(hash(b"")), 0);
    }
}
