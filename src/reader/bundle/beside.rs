//! What the other components of its SSTable tell of a file of a bundle.

use super::LooseFiles;
use super::judge::Judge;
use super::loose::{COMPRESSION_INFO, LooseFile};
use crate::cassandra::SstableName;
use crate::cassandra::sstable::{ComponentReader, MAX_STATISTICS, Told};
use crate::reader::contradiction;
use crate::reader::known::{Archive, LooseObject};
use crate::reader::sums::Expected;
use crate::view::OpenFile;
use crate::{Kind, Result};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::sync::Arc;

const STATISTICS: &str = "Statistics.db";

/// Longest Digest.crc32 that is read, bytes: a decimal number of 32 bits, and some slack.
const MAX_DIGEST: u32 = 64;

/// Longest CompressionInfo.db that is held against a Data.db, bytes: that of some 60 GB.
const MAX_LIST: u64 = 32 << 20;

impl LooseFile {
    /// What is known of the file's content: its MD5, and of Data.db what Digest.crc32 beside it
    /// says.
    pub(super) async fn known_sums(&self) -> Result<Expected> {
        let listed = &self.archive.listing.files[self.number];
        let mut expected = Expected { crc32: listed.crc32, md5: self.archive.loose[self.number].md5 };
        if expected.crc32.is_none()
            && let Some((digest, loose)) = self.digest()
        {
            let file = self.open_beside(digest).await?;
            // By way of the trait, whose future is boxed: reading a file is part of reading a file
            // here.
            let text = file.read_at(0, MAX_DIGEST).await?;
            expected.crc32 = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok());
            if expected.crc32.is_none() {
                tracing::warn!("{}: not a CRC-32, so {} is not checked against it", loose.object.key, self.object.key);
            }
        }
        Ok(expected)
    }

    /// Who judges this file; `None` where nothing tells.
    pub(super) async fn judge(&self) -> Result<Option<Judge>> {
        let Some((sstable, component)) = self.component() else { return Ok(None) };
        let Some(reader) = ComponentReader::of(&sstable, &component, self.size(), 0) else { return Ok(None) };
        let (mut partitions, mut data) = (None, None);
        match &*component {
            STATISTICS => {}
            COMPRESSION_INFO => data = self.beside("Data.db").map(|number| self.size_of(number)),
            _ => {
                partitions = self.partitions(&sstable).await?;
                if partitions.is_none() {
                    return Ok(None);
                }
            }
        }
        Ok(Some(Judge::Component { reader, partitions, data }))
    }

    /// Who judges this Data.db by its chunks, or by the CRC-32s of one that is not compressed, where
    /// no Digest.crc32 tells of that. `None` where nothing tells.
    ///
    /// Boxed, as [`Self::partitions`].
    pub(super) fn judge_of_data<'a>(
        &'a self,
        sstable: &'a SstableName,
        has_digest: bool,
    ) -> BoxFuture<'a, Result<Option<Judge>>> {
        let work = async move {
            let mut told = self.told(sstable, COMPRESSION_INFO, MAX_LIST).await?;
            if told.is_none() && !has_digest {
                told = self.told(sstable, "CRC.db", MAX_LIST).await?;
            }
            let Some(Told::Chunks(list) | Told::Pieces(list)) = told else { return Ok(None) };
            Ok(Some(Judge::of_data(list, self.size())))
        };
        work.boxed()
    }

    /// By Statistics.db beside it, where that is whole: if not, who opens the SSTable hears of that.
    /// Boxed: to open a file is part of opening a file here.
    fn partitions<'a>(&'a self, sstable: &'a SstableName) -> BoxFuture<'a, Result<Option<u64>>> {
        let work = async move {
            Ok(match self.told(sstable, STATISTICS, MAX_STATISTICS).await? {
                Some(Told::Statistics { partitions, .. }) => Some(partitions),
                _ => None,
            })
        };
        work.boxed()
    }

    /// What this component beside it tells, where it is whole and has at most so many bytes.
    pub(super) async fn told(&self, sstable: &SstableName, component: &str, most: u64) -> Result<Option<Told>> {
        let Some(number) = self.beside(component).filter(|&number| self.size_of(number) <= most) else {
            return Ok(None);
        };
        let keep = if component == STATISTICS { 0 } else { MAX_LIST as usize };
        let Some(mut reader) = ComponentReader::of(sstable, component, self.size_of(number), keep) else {
            return Ok(None);
        };
        let read = async { self.open_beside(number).await?.read(0, most).await };
        match read.await {
            Ok(bytes) => reader.push(&bytes),
            Err(error) if error.kind() == Kind::Corrupt => return Ok(None),
            Err(error) => return Err(error),
        }
        Ok(reader.finish().ok())
    }

    /// The Digest.crc32 of this Data.db.
    pub(super) fn digest(&self) -> Option<(usize, &LooseObject)> {
        self.of_data()?;
        let number = self.beside("Digest.crc32")?;
        let is_short = self.size_of(number) <= MAX_DIGEST.into();
        is_short.then(|| Some((number, self.archive.loose.get(number)?)))?
    }

    /// Of which SSTable it is, and which component.
    pub(super) fn component(&self) -> Option<(SstableName, String)> {
        let (_, own) = SstableName::parse_path(&self.archive.listing.files[self.number].path)?;
        Some((own.sstable, own.component.to_owned()))
    }

    /// The SSTable whose Data.db it is.
    pub(super) fn of_data(&self) -> Option<SstableName> {
        self.component().filter(|(_, component)| component == "Data.db").map(|(sstable, _)| sstable)
    }

    /// The number of the file that is this component of the same SSTable.
    pub(super) fn beside(&self, component: &str) -> Option<usize> {
        let listing = &self.archive.listing;
        let (directory, own) = SstableName::parse_path(&listing.files[self.number].path)?;
        let name = own.sstable.file_name(component);
        let path = if directory.is_empty() { name } else { format!("{directory}/{name}") };
        listing.files.iter().position(|file| *file.path == *path)
    }

    pub(super) fn size_of(&self, number: usize) -> u64 {
        self.archive.listing.files[number].size
    }

    pub(super) async fn open_beside(&self, number: usize) -> Result<Self> {
        let object = &self.archive.loose[number].object;
        Self::open(Arc::clone(&self.files), Arc::clone(&self.archive), number, object).await
    }

    /// Who judges a Data.db that is not what its Digest.crc32 says; `None` where nothing tells.
    /// Boxed: to land a file is part of opening a file here.
    pub(super) fn judge_by_chunks<'a>(
        files: &'a Arc<LooseFiles>,
        archive: &'a Arc<Archive>,
        number: usize,
    ) -> BoxFuture<'a, Option<Judge>> {
        let work = async move {
            let object = &archive.loose[number].object;
            let file = Self::open(Arc::clone(files), Arc::clone(archive), number, object).await.ok()?;
            let (sstable, size) = (file.of_data()?, file.size());
            let Told::Chunks(list) = file.told(&sstable, COMPRESSION_INFO, MAX_LIST).await.ok()?? else { return None };
            let Told::Statistics { compression, .. } = file.told(&sstable, STATISTICS, MAX_STATISTICS).await.ok()??
            else {
                return None;
            };
            contradiction::is_of(&list, size, compression).then(|| Judge::of_data(list, size))
        };
        work.boxed()
    }
}
