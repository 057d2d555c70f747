//! Inode numbers as functions of what they name.
//!
//! A worker that takes over from another must give every path the number it had, so a number
//! depends on nothing but the path and, for files, on the identity of the content: a replaced
//! object is a new file to whoever has the old one open.

use crate::store::ObjectMeta;

/// Inode number of the mount's root, by FUSE's convention.
pub(super) const ROOT: u64 = 1;

/// What a number is made of besides the parent and the name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content<'a> {
    /// A directory or a link: the path alone.
    Path,
    /// A directory that stands in for another one: what it stands for.
    Alias(&'a str),
    /// A plain object.
    Object(&'a ObjectMeta),
    /// A member of an archive, by its path there.
    Member(&'a ObjectMeta, &'a str),
    /// Made here, from inputs with this digest.
    Made(&'a [u8; 32]),
}

/// 63 bits, never 0 and never [`ROOT`]: bit 63 is the scratch layer's.
pub(super) fn ino(parent: u64, name: &str, content: Content<'_>) -> u64 {
    let mut hash = blake3::Hasher::new();
    hash.update(&parent.to_le_bytes());
    field(&mut hash, name.as_bytes());
    match content {
        Content::Path => tag(&mut hash, 0),
        Content::Alias(target) => {
            tag(&mut hash, 1);
            field(&mut hash, target.as_bytes());
        }
        Content::Object(object) => {
            tag(&mut hash, 2);
            identity(&mut hash, object);
        }
        Content::Member(object, path) => {
            tag(&mut hash, 3);
            identity(&mut hash, object);
            field(&mut hash, path.as_bytes());
        }
        Content::Made(digest) => {
            tag(&mut hash, 4);
            hash.update(digest);
        }
    }
    let mut number = [0; 8];
    hash.finalize_xof().fill(&mut number);
    // Two numbers are spoken for; whatever hashes there shares the next ones.
    (u64::from_le_bytes(number) >> 1).max(ROOT + 1)
}

/// Mixes an object's identity (key, size, ETag or else its time) into `hash`.
pub(super) fn identity(hash: &mut blake3::Hasher, object: &ObjectMeta) {
    field(hash, object.key.as_bytes());
    hash.update(&object.size.to_le_bytes());
    if let Some(e_tag) = &object.e_tag {
        tag(hash, 1);
        field(hash, e_tag.as_bytes());
    } else {
        tag(hash, 0);
        hash.update(&object.modified.0.to_le_bytes());
    }
}

fn tag(hash: &mut blake3::Hasher, tag: u8) {
    hash.update(&[tag]);
}

/// With its length, so that ("ab", "c") and ("a", "bc") differ.
fn field(hash: &mut blake3::Hasher, bytes: &[u8]) {
    hash.update(&(bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn object(e_tag: Option<&str>) -> ObjectMeta {
        ObjectMeta {
            key: "h/t/ks/a.tar.gz.enc".into(),
            size: 7,
            e_tag: e_tag.map(Into::into),
            modified: Timestamp(1),
            archived: false,
        }
    }

    #[test]
    fn numbers_follow_path_and_content() {
        let path = ino(ROOT, "cass-a", Content::Path);
        assert_eq!(path, ino(ROOT, "cass-a", Content::Path));
        assert_ne!(path, ino(ROOT + 1, "cass-a", Content::Path));
        assert_ne!(path, ino(ROOT, "cass-b", Content::Path));
        assert_ne!(path, ino(ROOT, "cass-a", Content::Alias("cass-a")));

        let (old, new) = (object(Some("1")), object(Some("2")));
        let member = |object| ino(5, "nb-1-big-Data.db", Content::Member(object, "nb-1-big-Data.db"));
        assert_ne!(member(&old), member(&new), "a replaced object is a new file");
        assert_ne!(ino(5, "x", Content::Object(&old)), ino(5, "x", Content::Object(&object(None))));
    }

    /// Pinned: a number that changes between versions breaks open files across an upgrade of the
    /// worker.
    #[test]
    fn numbers_are_the_same_in_every_version() {
        assert_eq!(ino(ROOT, "cass-a", Content::Path), 2_017_804_837_255_953_754);
        assert_eq!(
            ino(5, "nb-1-big-Data.db", Content::Member(&object(Some("1")), "nb-1-big-Data.db")),
            453_488_166_075_662_553
        );
    }

    #[test]
    fn numbers_keep_clear_of_the_reserved_ones() {
        for name in 0..2_000 {
            let number = ino(ROOT, &name.to_string(), Content::Path);
            assert!(number > ROOT && number >> 63 == 0);
        }
    }
}
