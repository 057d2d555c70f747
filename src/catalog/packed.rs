//! Archives as the catalog holds them: a million of them must fit into some tens of megabytes.
//!
//! A key is its set's prefix and a part that is the same in every set (`shop/users.tar.gz.enc`),
//! which all sets of a host share; an ETag is mostly an MD5 in hex, kept as its bytes.

use crate::cassandra::{TableId, TableName};
use crate::store::ObjectMeta;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

/// A table, the part of its archive's key below the set's prefix, and the id that a layout's names
/// give it: equal in every set of most layouts, so held once per host.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub(super) struct TableKey {
    pub(super) table: TableName,
    pub(super) below: Arc<str>,
    pub(super) id: Option<TableId>,
    /// The object is in an archive tier of the store. Here, because few values are shared by many
    /// sets.
    pub(super) archived: bool,
}

/// One archive's object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct PackedArchive {
    pub(super) key: Arc<TableKey>,
    /// Bytes.
    pub(super) size: u64,
    pub(super) modified: Timestamp,
    pub(super) e_tag: ETag,
}

impl PackedArchive {
    /// Whether `object`, found below `prefix`, is this one in the same version.
    pub(super) fn is(&self, prefix: &str, object: &ObjectMeta) -> bool {
        self.size == object.size
            && self.modified == object.modified
            && self.key.archived == object.archived
            && object.key.strip_prefix(prefix) == Some(&*self.key.below)
            && self.e_tag == ETag::pack(object.e_tag.as_deref())
    }

    /// Whether it is an object of no bytes. A bundle may be of no files.
    pub(super) fn is_hollow(&self) -> bool {
        self.size == 0 && !self.object("").is_bundle()
    }

    pub(super) fn object(&self, prefix: &str) -> ObjectMeta {
        ObjectMeta {
            key: [prefix, &self.key.below].concat().into(),
            size: self.size,
            e_tag: self.e_tag.text().map(Into::into),
            modified: self.modified,
            archived: self.key.archived,
        }
    }
}

/// An ETag in 24 bytes where it is what S3 mostly gives; any other text as it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum ETag {
    None,
    /// `"<32 hex>"` or `"<32 hex>-<parts>"`, with or without the quotes; 0 parts when none are
    /// told.
    Md5 {
        digest: [u8; 16],
        parts: u16,
        quoted: bool,
    },
    Text(Box<str>),
}

impl ETag {
    pub(super) fn pack(text: Option<&str>) -> Self {
        let Some(text) = text else { return Self::None };
        match Self::parse_md5(text) {
            // Only what comes back exactly as it was: it is sent as If-Match.
            Some(packed) if packed.text().as_deref() == Some(text) => packed,
            _ => Self::Text(text.into()),
        }
    }

    fn parse_md5(text: &str) -> Option<Self> {
        let bare = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let quoted = bare.is_some();
        let bare = bare.unwrap_or(text);
        let (hex, parts) = match bare.split_once('-') {
            Some((hex, parts)) => (hex, parts.parse().ok()?),
            None => (bare, 0),
        };
        if hex.len() != 32 || !hex.is_ascii() {
            return None;
        }
        let digest = u128::from_str_radix(hex, 16).ok()?.to_be_bytes();
        Some(Self::Md5 { digest, parts, quoted })
    }

    pub(super) fn text(&self) -> Option<String> {
        match self {
            Self::None => None,
            Self::Text(text) => Some(text.to_string()),
            Self::Md5 { digest, parts, quoted } => {
                let quote = if *quoted { "\"" } else { "" };
                let parts = if *parts == 0 { String::new() } else { format!("-{parts}") };
                Some(format!("{quote}{:032x}{parts}{quote}", u128::from_be_bytes(*digest)))
            }
        }
    }
}

/// Keeps one copy of equal values while a host is being read; the values live as long as the sets
/// that use them.
#[derive(Debug, Default)]
pub(super) struct Interner {
    strings: HashSet<Arc<str>>,
    tables: HashSet<Arc<TableKey>>,
    lists: HashSet<Arc<[Arc<str>]>>,
}

impl Interner {
    pub(super) fn string(&mut self, text: &str) -> Arc<str> {
        unique(&mut self.strings, text, |text| text.into())
    }

    /// The tables of `archives` are shared by what is interned from now on.
    pub(super) fn adopt<'a>(&mut self, archives: impl IntoIterator<Item = &'a PackedArchive>) {
        for archive in archives {
            if self.tables.insert(archive.key.clone()) {
                self.strings.insert(archive.key.table.keyspace.clone());
                self.strings.insert(archive.key.table.table.clone());
            }
        }
    }

    pub(super) fn name(&mut self, table: &TableName) -> TableName {
        TableName { keyspace: self.string(&table.keyspace), table: self.string(&table.table) }
    }

    pub(super) fn table(
        &mut self,
        table: &TableName,
        below: &str,
        id: Option<TableId>,
        archived: bool,
    ) -> Arc<TableKey> {
        let key = TableKey { table: self.name(table), below: below.into(), id, archived };
        if let Some(known) = self.tables.get(&key) {
            return known.clone();
        }
        let key = Arc::new(key);
        self.tables.insert(key.clone());
        key
    }

    /// A list as one shared value: the tokens of a host are the same in all of its sets.
    pub(super) fn list(&mut self, list: &[Arc<str>]) -> Arc<[Arc<str>]> {
        unique(&mut self.lists, list, |list| list.into())
    }
}

fn unique<T: ?Sized + Hash + Eq>(known: &mut HashSet<Arc<T>>, value: &T, new: impl Fn(&T) -> Arc<T>) -> Arc<T> {
    if let Some(known) = known.get(value) {
        return known.clone();
    }
    let value = new(value);
    known.insert(value.clone());
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_archive_is_small() {
        assert!(size_of::<PackedArchive>() <= 48, "{}", size_of::<PackedArchive>());
    }

    #[test]
    fn usual_etags_are_packed() {
        for text in [
            "\"9b2cf535f27731c974343645a3985328\"",
            "9b2cf535f27731c974343645a3985328",
            "\"9b2cf535f27731c974343645a3985328-17\"",
        ] {
            assert!(matches!(ETag::pack(Some(text)), ETag::Md5 { .. }), "{text}");
        }
        for text in ["0x8DC1", "", "\"9B2CF535f27731c974343645a3985328\"", "9b2cf535f27731c974343645a3985328-017"] {
            assert!(matches!(ETag::pack(Some(text)), ETag::Text(_)), "{text}");
        }
    }

    proptest! {
        #[test]
        fn etags_come_back_as_they_were(text in proptest::option::of("\"?[0-9a-f+]{30,33}(-[0-9]{1,6})?\"?|.*")) {
            prop_assert_eq!(ETag::pack(text.as_deref()).text(), text);
        }
    }
}
