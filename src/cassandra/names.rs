//! Names as Cassandra's `Descriptor` and `Directories` write them.

use crate::time::Timestamp;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// A table's id: the 16 bytes of its UUID. Prints as the 32 hex digits of a data directory's name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableId(pub [u8; 16]);

impl TableId {
    /// Takes 32 hex digits (`users-763dab90e555…`), or a UUID with dashes (`WITH ID = …`).
    pub fn parse(text: &str) -> Result<Self> {
        let bad = || Error::invalid(format!("{text:?} is not a table id"));
        let dashes_right = match text.len() {
            32 => true,
            36 => [8, 13, 18, 23].iter().all(|&i| text.as_bytes()[i] == b'-'),
            _ => false,
        };
        let digits: Vec<u8> = text.bytes().filter(|&b| b != b'-').collect();
        if !dashes_right || digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(bad());
        }
        let mut id = [0; 16];
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| bad())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| bad())?;
        }
        Ok(Self(id))
    }

    /// When the table was created, if the id is a version-1 UUID (ids of system tables are not).
    pub fn created_at(&self) -> Option<Timestamp> {
        uuid_v1_time(&self.0)
    }

    /// The form with dashes that CQL's `WITH ID` takes.
    pub fn dashed(&self) -> String {
        let hex = self.to_string();
        [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The time inside a version-1 UUID (100 ns since 1582-10-15).
pub(super) fn uuid_v1_time(uuid: &[u8; 16]) -> Option<Timestamp> {
    const GREGORIAN_TO_UNIX_100NS: i64 = 0x01b2_1dd2_1381_4000;
    if uuid[6] >> 4 != 1 {
        return None;
    }
    let low = u32::from_be_bytes([uuid[0], uuid[1], uuid[2], uuid[3]]);
    let mid = u16::from_be_bytes([uuid[4], uuid[5]]);
    let high = u16::from_be_bytes([uuid[6] & 0x0f, uuid[7]]);
    let ticks = i64::from(low) | i64::from(mid) << 32 | i64::from(high) << 48;
    Some(Timestamp((ticks - GREGORIAN_TO_UNIX_100NS).div_euclid(10)))
}

/// A table's name: its keyspace and its own, unquoted, in the case in which Cassandra stores them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableName {
    pub keyspace: Arc<str>,
    pub table: Arc<str>,
}

impl TableName {
    pub fn new(keyspace: impl Into<Arc<str>>, table: impl Into<Arc<str>>) -> Self {
        Self { keyspace: keyspace.into(), table: table.into() }
    }

    /// Whether `name` can be a keyspace or table: `[A-Za-z0-9_]{1,222}` (Cassandra's
    /// `SchemaConstants`, with room for what old versions let through).
    pub fn is_valid_part(name: &str) -> bool {
        (1..=222).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    }

    /// Data directory name: `<table>-<32 hex>`, or the bare table name where no evidence gives an
    /// id.
    pub fn directory(&self, id: Option<TableId>) -> String {
        match id {
            Some(id) => format!("{}-{id}", self.table),
            None => self.table.to_string(),
        }
    }

    /// The table that a directory of this keyspace is of: `<table>-<id>`, or `<table>` as before
    /// ids.
    pub fn of_directory(keyspace: &str, name: &str) -> Option<(Self, Option<TableId>)> {
        if let Some((table, id)) = Self::parse_directory(name) {
            return Some((Self::new(keyspace, table), Some(id)));
        }
        Self::is_valid_part(name).then(|| (Self::new(keyspace, name), None))
    }

    /// `users-763d…`, the name of a table's directory, as the table's name and id.
    pub fn parse_directory(name: &str) -> Option<(&str, TableId)> {
        let (table, id) = name.rsplit_once('-')?;
        if id.len() != 32 || id.bytes().any(|b| b.is_ascii_uppercase()) || !Self::is_valid_part(table) {
            return None;
        }
        Some((table, TableId::parse(id).ok()?))
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.keyspace, self.table)
    }
}

impl fmt::Debug for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// SSTable format, the third part of a component's name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Format {
    Big,
    Bti,
}

/// The generation of an SSTable: a counter, or since 4.1 (`uuid_sstable_identifiers_enabled`) a
/// version-1 UUID in base 36.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum SstableId {
    Integer(u64),
    /// As it stands in the name: `xxxx_xxxx_xxxxxxxxxxxxxxxxxx`.
    Uuid(Arc<str>),
}

impl fmt::Display for SstableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(n) => write!(f, "{n}"),
            Self::Uuid(text) => f.write_str(text),
        }
    }
}

/// What all components of one SSTable share: `nb-1-big`, `da-3h5p_080f_1i0g02006tmulenlv7-bti`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct SstableName {
    /// Two lower-case letters.
    pub version: Arc<str>,
    pub id: SstableId,
    pub format: Format,
}

/// What is said of an index's SSTable that is not in a snapshot.
pub const INDEX_ABSENT: &str = "an index's SSTable that the snapshot's manifest.json lists, and that is not there: \
                                Cassandra builds the index anew, and no rows are lost";

impl SstableName {
    /// Splits `nb-1-big-Data.db` into the SSTable's name and its component, here `Data.db`.
    ///
    /// `None` for anything that is not a component's file name (`manifest.json`, `schema.cql`, …).
    pub fn parse_component(file_name: &str) -> Option<Component<'_>> {
        let mut parts = file_name.splitn(4, '-');
        let (version, id, format, component) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if version.len() != 2 || !version.bytes().all(|b| b.is_ascii_lowercase()) || component.is_empty() {
            return None;
        }
        let format = match format {
            "big" => Format::Big,
            "bti" => Format::Bti,
            _ => return None,
        };
        let sstable = Self { version: version.into(), id: parse_id(id)?, format };
        Some(Component { sstable, component })
    }

    /// The same for a path below a table's directory: also gives the sub-directory of a secondary
    /// index, or `""`.
    pub fn parse_path(path: &str) -> Option<(&str, Component<'_>)> {
        let (directory, file) = path.rsplit_once('/').unwrap_or(("", path));
        Some((directory, Self::parse_component(file)?))
    }

    /// Whether a path below a table's directory is of a secondary index, which has `.<index>` there.
    pub fn is_of_index(path: &str) -> bool {
        path.strip_prefix('.')
            .and_then(|rest| rest.split_once('/'))
            .is_some_and(|(name, file)| !name.is_empty() && !name.starts_with('.') && !file.contains('/'))
    }

    /// The file name of a component of this SSTable.
    pub fn file_name(&self, component: &str) -> String {
        format!("{self}-{component}")
    }

    /// When the SSTable was written, if its id tells.
    pub fn written_at(&self) -> Option<Timestamp> {
        match &self.id {
            SstableId::Integer(_) => None,
            SstableId::Uuid(text) => uuid_v1_time(&base36_uuid(text)?),
        }
    }
}

impl fmt::Display for SstableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = match self.format {
            Format::Big => "big",
            Format::Bti => "bti",
        };
        write!(f, "{}-{}-{format}", self.version, self.id)
    }
}

/// A component's file name, taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Component<'a> {
    pub sstable: SstableName,
    /// `Data.db`, `Digest.crc32`, `SAI+aa+docs_rank+Meta.db`, …
    pub component: &'a str,
}

fn parse_id(text: &str) -> Option<SstableId> {
    if !text.is_empty() && text.len() <= 19 && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok().map(SstableId::Integer);
    }
    base36_uuid(text).map(|_| SstableId::Uuid(text.into()))
}

/// `TimeUUID.toString36` of Cassandra's `UUIDBasedSSTableId`: days (4), seconds of the day (4), 100
/// ns of the second (5), then the node and clock bits (13), all base 36.
fn base36_uuid(text: &str) -> Option<[u8; 16]> {
    let bytes = text.as_bytes();
    if bytes.len() != 28 || bytes[4] != b'_' || bytes[9] != b'_' {
        return None;
    }
    if !bytes.iter().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase() || *b == b'_') {
        return None;
    }
    let number = |range: std::ops::Range<usize>| u64::from_str_radix(text.get(range)?, 36).ok();
    let ticks = number(0..4)?
        .checked_mul(86_400)?
        .checked_add(number(5..9)?)?
        .checked_mul(10_000_000)?
        .checked_add(number(10..15)?)?;
    let node = number(15..28)?;
    let most = (ticks & 0xffff_ffff) << 32 | (ticks >> 32 & 0xffff) << 16 | 0x1000 | (ticks >> 48 & 0x0fff);
    let mut uuid = [0; 16];
    uuid[..8].copy_from_slice(&most.to_be_bytes());
    uuid[8..].copy_from_slice(&node.to_be_bytes());
    Some(uuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_ids_parse_in_both_forms_and_tell_their_time() {
        let id = TableId::parse("763dab90e55511f185a85b65bc0eb462").unwrap();
        assert_eq!(id.to_string(), "763dab90e55511f185a85b65bc0eb462");
        assert_eq!(TableId::parse(&id.dashed()).unwrap(), id);
        assert!(id.created_at().unwrap().to_string().starts_with("2026-11-21T"));
        let not_v1 = TableId::parse("abac5682dea631c5b535b3d6cffd0fb6").unwrap();
        assert_eq!(not_v1.created_at(), None);
        for bad in ["", "x", "763dab90e55511f185a85b65bc0eb46", "763dab90e55511f185a85b65bc0eb46g"] {
            assert!(TableId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn components_parse() {
        let parsed = SstableName::parse_component("nb-12-big-SAI+aa+docs_rank+Meta.db").unwrap();
        assert_eq!(parsed.sstable.id, SstableId::Integer(12));
        assert_eq!(parsed.component, "SAI+aa+docs_rank+Meta.db");
        assert_eq!(parsed.sstable.file_name("Data.db"), "nb-12-big-Data.db");

        let parsed = SstableName::parse_component("da-3h5p_080f_1i0g02006tmulenlv7-bti-Rows.db").unwrap();
        assert_eq!(parsed.sstable.to_string(), "da-3h5p_080f_1i0g02006tmulenlv7-bti");
        assert!(parsed.sstable.written_at().is_some());
        // DSE and HCD.
        for name in ["aa-7-bti-Partitions.db", "bb-3h5p_080f_1i0g02006tmulenlv7-bti-Data.db", "cc-7-bti-Rows.db"] {
            assert_eq!(SstableName::parse_component(name).unwrap().sstable.format, Format::Bti, "{name}");
        }

        let (directory, parsed) = SstableName::parse_path(".idx/nb-1-big-Data.db").unwrap();
        assert_eq!((directory, parsed.component), (".idx", "Data.db"));
        assert_eq!(SstableName::parse_path("nb-1-big-Data.db").unwrap().0, "");

        for other in ["manifest.json", "schema.cql", "nb-1-big", "nb-1-big-", "nb-x-big-Data.db", "nb-1-xyz-Data.db"] {
            assert_eq!(SstableName::parse_component(other), None, "{other}");
        }
    }
}
