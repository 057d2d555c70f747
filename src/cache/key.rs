//! What an entry is called, in memory and on disk.

use std::fmt;

/// The identity of some bytes: a BLAKE3 of what names them, e.g. an object's identity and a file's
/// place in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CacheKey([u8; 32]);

impl CacheKey {
    /// The key for `parts`, of the kind `domain`. Different lists of parts give different keys,
    /// however their bytes run together.
    pub fn new(domain: &'static str, parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in std::iter::once(domain.as_bytes()).chain(parts.iter().copied()) {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(*hasher.finalize().as_bytes())
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The sub-directory that its entry is in.
    pub(super) fn shard(&self) -> u8 {
        self.0[0]
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An entry's file name: its key and the BLAKE3 of its content, in hex, with a `-` between.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct EntryName {
    pub(super) key: CacheKey,
    pub(super) digest: blake3::Hash,
}

impl EntryName {
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (key, digest) = name.split_once('-')?;
        let parsed = Self {
            key: CacheKey(*blake3::Hash::from_hex(key).ok()?.as_bytes()),
            digest: blake3::Hash::from_hex(digest).ok()?,
        };
        // One spelling each: from_hex takes capitals, which would be a second name of the same
        // entry.
        (parsed.to_string() == name).then_some(parsed)
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.key, self.digest.to_hex())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(CacheKey::new("t", &[b"ab", b"c"]), CacheKey::new("t", &[b"a", b"bc"]));
        assert_ne!(CacheKey::new("t", &[b"a"]), CacheKey::new("u", &[b"a"]));
    }

    #[test]
    fn file_names_are_pinned() {
        let name = EntryName { key: CacheKey::new("t", &[b"a", b"b"]), digest: blake3::hash(b"content") };
        assert_eq!(
            name.to_string(),
            "225aa106b1e47ecca4df80931fd41bf34a51484c478876897c3e461466232c2c-\
             3fba5250be9ac259c56e7250c526bc83bacb4be825f2799d3d59e5b4878dd74e"
        );
        assert_eq!(EntryName::parse(&name.to_string()), Some(name));
    }

    #[test]
    fn other_names_are_not_entries() {
        let good = EntryName { key: CacheKey::new("t", &[]), digest: blake3::hash(b"") }.to_string();
        for bad in ["", "-", "x", &good[1..], &good.to_uppercase(), &format!("{good}0"), &good.replace('-', "_")] {
            assert_eq!(EntryName::parse(bad), None, "{bad}");
        }
    }
}
