//! One version of one object, as everything kept about it is keyed.

use crate::cache::CacheKey;
use crate::store::ObjectMeta;
use std::fmt;

/// Which version of which object of which store. Two versions that a store tells apart never share
/// anything.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Identity(CacheKey);

impl Identity {
    pub(super) fn new(store: &str, object: &ObjectMeta) -> Self {
        let size = object.size.to_le_bytes();
        let modified = object.modified.0.to_le_bytes();
        // A store without ETags leaves the time of modification to tell versions apart.
        let (kind, version): (&[u8], &[u8]) = match &object.e_tag {
            Some(e_tag) => (b"etag", e_tag.as_bytes()),
            None => (b"modified", &modified),
        };
        Self(CacheKey::new("identity", &[store.as_bytes(), object.key.as_bytes(), &size, kind, version]))
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The cache's key for the file whose data starts at `offset` of the plain stream.
    pub(super) fn file(&self, offset: u64) -> CacheKey {
        CacheKey::new("file", &[self.bytes(), &offset.to_le_bytes()])
    }

    /// The cache's key for a span of the index.
    pub(super) fn span(&self, number: u64) -> CacheKey {
        CacheKey::new("span", &[self.bytes(), &number.to_le_bytes()])
    }

    /// The same object as `list` divides it into pieces.
    pub(super) fn divided_by(&self, list: &Self) -> Self {
        Self(CacheKey::new("pieces", &[self.bytes(), list.bytes()]))
    }

    /// The cache's key for the object itself.
    pub(super) fn object(&self) -> CacheKey {
        CacheKey::new("object", &[self.bytes()])
    }
}

/// As file names show it.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn versions_are_told_apart() {
        let object =
            ObjectMeta { key: "a/b".into(), size: 7, e_tag: Some("x".into()), modified: Timestamp(5), archived: false };
        let same = Identity::new("s3://b", &object);
        assert_eq!(same, Identity::new("s3://b", &ObjectMeta { modified: Timestamp(6), ..object.clone() }));
        for other in [
            ObjectMeta { key: "a/c".into(), ..object.clone() },
            ObjectMeta { size: 8, ..object.clone() },
            ObjectMeta { e_tag: Some("y".into()), ..object.clone() },
            ObjectMeta { e_tag: None, ..object.clone() },
        ] {
            assert_ne!(same, Identity::new("s3://b", &other), "{other:?}");
        }
        assert_ne!(same, Identity::new("s3://c", &object));
    }
}
