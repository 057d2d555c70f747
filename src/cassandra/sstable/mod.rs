//! Reads small SSTables whole (and [`write`]s some): every partition, row, cell and deletion of a `Data.db`.
//!
//! Meant for the tables that describe other tables (`system_schema`), which are a few kilobytes,
//! not for data: everything is held in memory and nothing is looked up by key, so only `Data.db`,
//! `CompressionInfo.db` (or `CRC.db`) and `Statistics.db` are needed. Pure: bytes in, values out.
//! The layout follows Cassandra's `UnfilteredSerializer`, `SerializationHeader`,
//! `CompressionMetadata` and `MetadataSerializer`, versions 3.0 (`ma`) to 5.0 (`oa`, `da`).

pub(super) mod bytes;
pub mod checksums;
mod chunks;
mod component;
mod header;
mod lookup;
mod marshal;
mod murmur;
mod partitions;
mod rows;
mod shape;
pub mod write;

pub use component::{ComponentReader, Told};
pub use header::{Column, Header};
pub use lookup::{Lookup, Misleading};
pub use marshal::DataType;
pub use partitions::{CompressionRatio, PartitionCount};
pub use rows::{Bound, Cell, Deletion, Liveness, Partition, RangeMarker, Row, Unfiltered};
pub use shape::Shape;

use super::{Format, SstableName};
use crate::{Error, Kind, Result};
use std::collections::BTreeMap;

/// The largest `Data.db`, uncompressed, that is read. A `system_schema.columns` of ten thousand
/// tables is about half of it.
pub const MAX_PLAIN_SIZE: usize = 64 << 20;

/// Longest Statistics.db that is read, bytes: its histograms are some KB.
pub const MAX_STATISTICS: u64 = 4 << 20;

/// The components of one SSTable that a full read needs. All but `data` and `statistics` may be
/// missing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Files<'a> {
    pub data: &'a [u8],
    pub statistics: &'a [u8],
    /// `CompressionInfo.db`; without it `data` is not compressed.
    pub compression_info: Option<&'a [u8]>,
    /// `CRC.db`: the checksums of an SSTable that is not compressed.
    pub crc: Option<&'a [u8]>,
}

/// A whole SSTable.
#[derive(Clone, PartialEq, Debug)]
pub struct Sstable {
    pub header: Header,
    /// In the order of the partitioner.
    pub partitions: Vec<Partition>,
}

/// Reads an SSTable.
///
/// # Errors
/// `Corrupt` where a checksum or the structure is wrong, `Unsupported` for a version or compressor
/// that is not known, or an SSTable past [`MAX_PLAIN_SIZE`].
pub fn read(name: &SstableName, files: &Files<'_>) -> Result<Sstable> {
    let layout = Layout::of(name)?;
    let header = header::read(layout, files.statistics)?.few()?;
    let plain = match files.compression_info {
        Some(info) => chunks::decompress(layout, info, files.data)?,
        None => chunks::check_plain(files.crc, files.data)?.into(),
    };
    let partitions = rows::read(layout, &header, &plain)?;
    Ok(Sstable { header, partitions })
}

/// Reads all SSTables of a directory. `components` are file names without directories and their
/// contents, as [`Files`] needs them; others are not looked at.
///
/// # Errors
/// As of [`read`], with the SSTable's name.
pub fn read_all<N: AsRef<str>, B: AsRef<[u8]>>(components: &[(N, B)]) -> Result<Vec<Sstable>> {
    let mut found: BTreeMap<SstableName, BTreeMap<&str, &[u8]>> = BTreeMap::new();
    for (file, bytes) in components {
        if let Some(parsed) = SstableName::parse_component(file.as_ref()) {
            found.entry(parsed.sstable).or_default().insert(parsed.component, bytes.as_ref());
        }
    }
    let read = |(name, files): (&SstableName, &BTreeMap<&str, &[u8]>)| {
        let require = |component: &str| {
            files.get(component).copied().ok_or_else(|| Error::corrupt(format!("its {component} is missing")))
        };
        let input = Files {
            data: require("Data.db")?,
            statistics: require("Statistics.db")?,
            compression_info: files.get("CompressionInfo.db").copied(),
            crc: files.get("CRC.db").copied(),
        };
        self::read(name, &input)
    };
    let named = |(name, files)| {
        read((name, files)).map_err(|error| Error::new(error.kind(), name.to_string()).with_source(error))
    };
    found.iter().map(named).collect()
}

/// What differs between the versions of the format, as far as a read cares.
#[derive(Clone, Copy, Debug)]
struct Layout {
    /// `Statistics.db` has checksums and `CompressionInfo.db` a largest chunk size (from `na`,
    /// 4.0).
    checked_metadata: bool,
    /// A partition's deletion time is one byte when there is none, else has an unsigned local time
    /// (`oa`, `da`: 5.0).
    short_deletion: bool,
}

impl Layout {
    fn of(name: &SstableName) -> Result<Self> {
        let version = &*name.version;
        match name.format {
            Format::Big if ("ma".."p").contains(&version) => {
                Ok(Self { checked_metadata: version >= "na", short_deletion: version >= "oa" })
            }
            Format::Bti if ("da".."e").contains(&version) => Ok(Self { checked_metadata: true, short_deletion: true }),
            _ => Err(Error::new(Kind::Unsupported, format!("{name}: SSTable version {version} is not known"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_versions_only() {
        for (name, known) in [
            ("nb-1-big-Data.db", true),
            ("me-1-big-Data.db", true),
            ("oa-1-big-Data.db", true),
            ("da-1-bti-Data.db", true),
            ("la-1-big-Data.db", false),
            ("pa-1-big-Data.db", false),
            ("nb-1-bti-Data.db", false),
        ] {
            let name = SstableName::parse_component(name).unwrap().sstable;
            assert_eq!(Layout::of(&name).is_ok(), known, "{name}");
        }
    }
}
