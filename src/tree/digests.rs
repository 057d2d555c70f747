//! Whether SSTables of one name in several bundles are the same: their Digest.crc32 files say so
//! without anybody reading the data.

use super::attribution::Piece;
use super::backup::{BackupTree, is_lasting};
use crate::Result;
use crate::cassandra::SstableName;
use crate::reader::Listing;
use futures::StreamExt;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Longest Digest.crc32 that is read, bytes.
const MAX_DIGEST: u64 = 64;
/// Files read at the same time.
const PARALLEL: usize = 16;

/// A Data.db whose checksum is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Wanted {
    /// The listing that it is in.
    source: usize,
    /// Its number there, and that of its Digest.crc32.
    data: usize,
    digest: usize,
}

impl BackupTree {
    /// The listings, with the CRC-32 of each Data.db that has to be compared with another and that
    /// nobody has read.
    pub(super) async fn with_digests(
        &self,
        pieces: &[Piece],
        mut listings: Vec<Arc<Listing>>,
    ) -> Result<Vec<Arc<Listing>>> {
        let reads: Vec<_> = wanted(&listings)
            .into_iter()
            .map(|wanted| async move {
                let object = &pieces[wanted.source].1.object;
                (wanted, self.source.read_file(object, wanted.digest, MAX_DIGEST).await)
            })
            .collect();
        let mut reads = futures::stream::iter(reads).buffer_unordered(PARALLEL);
        while let Some((wanted, text)) = reads.next().await {
            let crc32 = match text {
                Ok(text) => std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok()),
                // Then they are not known to be the same, and both are shown.
                Err(error) if is_lasting(error.kind()) => None,
                Err(error) => return Err(error),
            };
            Arc::make_mut(&mut listings[wanted.source]).files[wanted.data].crc32 = crc32;
        }
        Ok(listings)
    }
}

/// Every Data.db without a CRC-32 that has the name and the size of one in another listing.
fn wanted(listings: &[Arc<Listing>]) -> Vec<Wanted> {
    #[derive(Default)]
    struct Sstable {
        /// Source, number and size.
        data: Vec<(usize, usize, u64)>,
        /// Source and number.
        digests: Vec<(usize, usize)>,
    }
    if listings.iter().flat_map(|listing| &listing.files).all(|file| file.crc32.is_some()) {
        return Vec::new();
    }
    let mut sstables: BTreeMap<(&str, SstableName), Sstable> = BTreeMap::new();
    for (source, listing) in listings.iter().enumerate() {
        for (number, file) in listing.files.iter().enumerate() {
            let Some((directory, parsed)) = SstableName::parse_path(&file.path) else { continue };
            match parsed.component {
                "Data.db" => {
                    let sstable = sstables.entry((directory, parsed.sstable)).or_default();
                    sstable.data.push((source, number, file.size));
                }
                "Digest.crc32" => {
                    sstables.entry((directory, parsed.sstable)).or_default().digests.push((source, number));
                }
                _ => {}
            }
        }
    }
    let mut wanted = Vec::new();
    for Sstable { data, digests } in sstables.values() {
        for &(source, number, size) in data {
            let alike = data.iter().any(|other| other.0 != source && other.2 == size);
            let digest = digests.iter().find(|(of, _)| *of == source);
            if let (true, None, Some((_, digest))) = (alike, listings[source].files[number].crc32, digest) {
                wanted.push(Wanted { source, data: number, digest: *digest });
            }
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::ListedFile;
    use crate::time::Timestamp;

    fn listing(files: &[(&str, u64, Option<u32>)]) -> Arc<Listing> {
        let file = |(path, size, crc32): &(&str, u64, Option<u32>)| ListedFile {
            path: (*path).into(),
            size: *size,
            mtime: Timestamp(0),
            crc32: *crc32,
            damage: None,
        };
        let files = files.iter().map(file).collect();
        Arc::new(Listing { files, directories: Vec::new(), warnings: Vec::new(), plain_size: 0, root: "".into() })
    }

    #[test]
    fn only_what_must_be_compared_is_wanted() {
        let listings = [
            listing(&[
                ("nb-1-big-Data.db", 5, None),
                ("nb-1-big-Digest.crc32", 3, None),
                ("nb-2-big-Data.db", 5, None),
                ("nb-2-big-Digest.crc32", 3, None),
                (".i/nb-1-big-Data.db", 9, None),
            ]),
            listing(&[
                ("nb-1-big-Data.db", 5, Some(7)),
                ("nb-2-big-Data.db", 6, None),
                ("nb-2-big-Digest.crc32", 3, None),
                (".i/nb-1-big-Data.db", 9, None),
                (".i/nb-1-big-Digest.crc32", 9, None),
            ]),
        ];
        let found: Vec<_> = wanted(&listings).iter().map(|one| (one.source, one.data, one.digest)).collect();
        assert_eq!(found, [(0, 0, 1), (1, 3, 4)]);
        let archived = [listing(&[("nb-1-big-Data.db", 5, Some(1))]), listing(&[("nb-1-big-Data.db", 5, Some(2))])];
        assert!(wanted(&archived).is_empty());
    }
}
