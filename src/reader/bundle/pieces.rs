//! How plain `Data.db`s are divided into pieces that have checksums of their own: found out once
//! for everybody who has them open.

use super::LooseFiles;
use crate::cassandra::SstableName;
use crate::cassandra::sstable::checksums::{MapReader, PieceMap};
use crate::reader::flight::Flights;
use crate::reader::identity::Identity;
use crate::task::lock;
use crate::view::OpenFile;
use crate::{Error, Result};
use lru::LruCache;
use std::sync::{Arc, Mutex};

/// Memory for the maps of files in use, bytes.
const MEMORY: usize = 4 << 20;

/// The list of pieces is read this many bytes at a time.
const PART: u32 = 1 << 20;

/// The maps used last, by the identities of `Data.db`s as their lists divide them.
pub(in crate::reader) struct PieceMaps {
    maps: Mutex<Maps>,
    flights: Arc<Flights<Identity, Arc<PieceMap>>>,
}

struct Maps {
    maps: LruCache<Identity, Arc<PieceMap>>,
    weight: usize,
}

impl Default for PieceMaps {
    fn default() -> Self {
        Self { maps: Mutex::new(Maps { maps: LruCache::unbounded(), weight: 0 }), flights: Arc::default() }
    }
}

impl PieceMaps {
    fn get(&self, identity: &Identity) -> Option<Arc<PieceMap>> {
        lock(&self.maps).maps.get(identity).cloned()
    }

    fn put(&self, identity: Identity, map: Arc<PieceMap>) {
        let mut kept = lock(&self.maps);
        kept.weight += map.weight();
        if let Some(before) = kept.maps.put(identity, map) {
            kept.weight -= before.weight();
        }
        while kept.weight > MEMORY && kept.maps.len() > 1 {
            let Some((_, oldest)) = kept.maps.pop_lru() else { break };
            kept.weight -= oldest.weight();
        }
    }
}

/// A `Data.db` and its list.
pub(super) struct DividedData {
    /// As [`Identity::divided_by`] has it.
    pub(in crate::reader) identity: Identity,
    /// Bytes of the `Data.db`.
    pub(in crate::reader) size: u64,
    pub(in crate::reader) sstable: SstableName,
    /// `CompressionInfo.db` or `CRC.db`.
    pub(in crate::reader) component: String,
    pub(in crate::reader) list: Arc<dyn OpenFile>,
    /// The list's key in the store.
    pub(super) list_key: Arc<str>,
}

impl LooseFiles {
    /// The map of the file.
    ///
    /// # Errors
    /// `Kind::Corrupt` when its list is damaged, `Kind::Unsupported` when it does not help; else
    /// why it could not be read.
    pub(super) async fn piece_map(self: &Arc<Self>, divided: DividedData) -> Result<Arc<PieceMap>> {
        let identity = divided.identity;
        if let Some(map) = self.piece_maps.get(&identity) {
            return Ok(map);
        }
        let flight = self.piece_maps.flights.join(&identity, || {
            let files = Arc::clone(self);
            async move {
                let map = Arc::new(read_map(&divided).await?);
                files.piece_maps.put(identity, Arc::clone(&map));
                Ok(map)
            }
        });
        flight.await
    }
}

async fn read_map(divided: &DividedData) -> Result<PieceMap> {
    let DividedData { size, sstable, component, list, list_key, .. } = divided;
    let reader = MapReader::new(sstable, component, *size)?;
    let mut reader = reader.ok_or_else(|| Error::invalid(format!("{component} is no list of pieces")))?;
    let named = |error: Error| error.with_object(list_key);
    let mut at = 0;
    loop {
        let part = list.read_at(at, PART).await?;
        if part.is_empty() {
            return reader.finish().map_err(named);
        }
        at += part.len() as u64;
        reader.push(&part).map_err(named)?;
    }
}
