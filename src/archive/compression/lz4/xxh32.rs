//! XXH32 with seed 0, the checksum of lz4 frames. Our own, because a pass that goes on from a
//! checkpoint needs its state.

use serde::{Deserialize, Serialize};

const PRIME: [u32; 5] = [0x9E37_79B1, 0x85EB_CA77, 0xC2B2_AE3D, 0x27D4_EB2F, 0x1656_67B1];

/// Bytes taken in at once.
const STRIPE: usize = 16;

/// A checksum under way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Xxh32 {
    lanes: [u32; 4],
    /// The bytes behind the last whole stripe, and how many they are.
    rest: [u8; STRIPE],
    rest_len: u8,
    len: u64,
}

impl Xxh32 {
    pub(super) fn new() -> Self {
        let lanes = [PRIME[0].wrapping_add(PRIME[1]), PRIME[1], 0, 0_u32.wrapping_sub(PRIME[0])];
        Self { lanes, rest: [0; STRIPE], rest_len: 0, len: 0 }
    }

    /// Of all these bytes.
    pub(super) fn of(bytes: &[u8]) -> u32 {
        let mut hash = Self::new();
        hash.update(bytes);
        hash.value()
    }

    /// Whether it can be the state of one: it may come from a file.
    pub(super) fn is_sound(&self) -> bool {
        u64::from(self.rest_len) == self.len % STRIPE as u64
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        let mut input = bytes;
        self.len = self.len.wrapping_add(bytes.len() as u64);
        let have = usize::from(self.rest_len);
        if have > 0 {
            let taken = input.len().min(STRIPE - have);
            self.rest[have..have + taken].copy_from_slice(&input[..taken]);
            input = &input[taken..];
            if have + taken < STRIPE {
                self.rest_len += taken as u8;
                return;
            }
            let rest = self.rest;
            self.stripe(&rest);
        }
        let (stripes, rest) = input.as_chunks::<STRIPE>();
        for stripe in stripes {
            self.stripe(stripe);
        }
        self.rest[..rest.len()].copy_from_slice(rest);
        self.rest_len = rest.len() as u8;
    }

    pub(super) fn value(&self) -> u32 {
        let mut hash = if self.len < STRIPE as u64 {
            PRIME[4]
        } else {
            let [a, b, c, d] = self.lanes;
            a.rotate_left(1)
                .wrapping_add(b.rotate_left(7))
                .wrapping_add(c.rotate_left(12))
                .wrapping_add(d.rotate_left(18))
        };
        hash = hash.wrapping_add(self.len as u32);
        let (words, bytes) = self.rest[..usize::from(self.rest_len)].as_chunks::<4>();
        for word in words {
            let word = u32::from_le_bytes(*word);
            hash = hash.wrapping_add(word.wrapping_mul(PRIME[2])).rotate_left(17).wrapping_mul(PRIME[3]);
        }
        for &byte in bytes {
            hash = hash.wrapping_add(u32::from(byte).wrapping_mul(PRIME[4])).rotate_left(11).wrapping_mul(PRIME[0]);
        }
        hash = (hash ^ hash >> 15).wrapping_mul(PRIME[1]);
        hash = (hash ^ hash >> 13).wrapping_mul(PRIME[2]);
        hash ^ hash >> 16
    }

    fn stripe(&mut self, stripe: &[u8; STRIPE]) {
        let (words, _) = stripe.as_chunks::<4>();
        for (lane, word) in self.lanes.iter_mut().zip(words) {
            let word = u32::from_le_bytes(*word);
            *lane = lane.wrapping_add(word.wrapping_mul(PRIME[1])).rotate_left(13).wrapping_mul(PRIME[0]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// From the reference implementation (`xxhsum -H32`).
    #[test]
    fn known_values() {
        for (bytes, value) in [
            (&b""[..], 0x02CC_5D05),
            (b"a", 0x550D_7456),
            (b"abc", 0x32D1_53FF),
            (b"Nobody inspects the spammish repetition", 0xE229_3B2F),
        ] {
            assert_eq!(Xxh32::of(bytes), value, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn pieces_make_the_whole(bytes in proptest::collection::vec(any::<u8>(), 0..200), cuts in proptest::collection::vec(0..200_usize, 0..6)) {
            let mut hash = Xxh32::new();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            cuts.push(bytes.len());
            let mut from = 0;
            for to in cuts {
                hash.update(&bytes[from..to]);
                prop_assert!(hash.is_sound());
                from = to;
            }
            prop_assert_eq!(hash.value(), Xxh32::of(&bytes));
        }
    }
}
