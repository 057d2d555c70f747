//! One file of an archive, open for reading: whole from the cache, else by spans; another pass
//! where neither is there.

use super::span_source::{SpanMap, SpanSource};
use super::spanned::{Spanned, SpannedFile};
use super::spans::Keep;
use crate::archive::Region;
use crate::reader::identity::Identity;
use crate::reader::known::Archive;
use crate::reader::pass::Passes;
use crate::reader::sums::Expected;
use crate::store::ObjectMeta;
use crate::task::blocking;
use crate::view::OpenFile;
use crate::{Error, Kind, Result};
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::fmt;
use std::fs::File;
use std::sync::{Arc, OnceLock};

/// Passes made for one read at most.
const PASSES: usize = 2;

/// An open file of an archive.
pub(in crate::reader) struct ArchiveFile {
    passes: Arc<Passes>,
    object: Arc<ObjectMeta>,
    identity: Identity,
    archive: Arc<Archive>,
    number: usize,
    size: u64,
    content: SpannedFile,
    /// The regions of a sparse file, once the index was asked.
    sparse: OnceLock<Option<Arc<[Region]>>>,
}

impl ArchiveFile {
    pub(in crate::reader) fn new(
        passes: Arc<Passes>,
        object: Arc<ObjectMeta>,
        archive: Arc<Archive>,
        number: usize,
    ) -> Result<Self> {
        let (Some(file), Some(&offset)) = (archive.listing.files.get(number), archive.offsets.get(number)) else {
            let message = format!("there is no file number {number} in the archive");
            return Err(Error::invalid(message).with_object(&object.key));
        };
        let (size, identity) = (file.size, archive.identity);
        let content = SpannedFile::new(Arc::clone(&passes.landers), offset..offset + size, identity.file(offset));
        Ok(Self { passes, object, identity, archive, number, size, content, sparse: OnceLock::new() })
    }

    /// Takes the whole file from the cache if it is there, and counts whether it was.
    pub(in crate::reader) async fn look_into_cache(&self) {
        self.content.look_into_cache().await;
        self.content.count();
    }

    /// Bytes.
    pub(in crate::reader) fn size(&self) -> u64 {
        self.size
    }

    pub(in crate::reader) async fn read(&self, offset: u64, len: u64) -> Result<Bytes> {
        if let Some(damage) = &self.archive.listing.files[self.number].damage {
            return Err(Error::corrupt(&**damage).with_object(&self.object.key));
        }
        let len = self.size.saturating_sub(offset).min(len);
        if len == 0 {
            return Ok(Bytes::new());
        }
        if let Some(bytes) = self.read_somehow(offset, len).await? {
            return Ok(bytes);
        }
        // Evicted, and the index is gone or proved damaged: another pass makes both anew. Or the
        // index leads to no place near the file: then only a pass brings it, and one that others
        // wait for may have begun before this file was asked for.
        for pass in 0..PASSES {
            let waiting =
                self.has_long_spans().await.then(|| self.passes.wanted.ask(self.identity, self.content.plain().start));
            if pass > 0 && waiting.is_none() {
                break;
            }
            self.passes.archive_anew(&self.object, self.identity).await?;
            if let Some(bytes) = self.read_somehow(offset, len).await? {
                return Ok(bytes);
            }
        }
        // There is no room for either. Another pass for each read would not help.
        let message = "neither the file nor a seek index fits on the cache's disk";
        let error = Error::new(Kind::NoSpace, message).with_object(&self.object.key);
        self.passes.known.remember_failure(self.identity, &error);
        Err(error)
    }

    /// `None`: neither the file nor the archive's index is there, or the index leads to no place
    /// near enough.
    async fn read_somehow(&self, offset: u64, len: u64) -> Result<Option<Bytes>> {
        if let Some(bytes) = self.content.read_whole(offset, len).await? {
            return Ok(Some(bytes));
        }
        match self.read_parts(offset, len).await {
            Err(error) if error.kind() == Kind::CacheLost => Ok(None),
            result => result.map(Some),
        }
    }

    /// From spans, ahead of who reads where the file is one piece.
    async fn read_parts(&self, offset: u64, len: u64) -> Result<Bytes> {
        if self.sparse.get().is_none() {
            let source = self.index_source().await?;
            let SpanMap::Index(index) = &source.spans else { return Err(Error::invalid("no index of an archive")) };
            let regions = index.sparse_regions(self.content.plain().start).map(Arc::from);
            self.sparse.get_or_init(|| regions);
        }
        match self.sparse.get() {
            Some(Some(regions)) => self.read_regions(regions, offset, len).await,
            _ => self.content.read_parts(self, offset, len).await,
        }
    }

    /// From the spans of the stored bytes; all others are zero.
    async fn read_regions(&self, regions: &[Region], offset: u64, len: u64) -> Result<Bytes> {
        let source = self.index_source().await?;
        let mut bytes = BytesMut::zeroed(len as usize);
        let mut stored = self.content.plain().start;
        for region in regions {
            let (start, end) = (region.offset.max(offset), (region.offset + region.len).min(offset + len));
            if start < end {
                let from = stored + (start - region.offset);
                let part = self.passes.spans.read_spans(&source, from..from + (end - start), Keep::Disk).await?;
                bytes[(start - offset) as usize..(end - offset) as usize].copy_from_slice(&part);
            }
            stored += region.len;
        }
        Ok(bytes.freeze())
    }

    /// Whether there is an index, and it does not help.
    async fn has_long_spans(&self) -> bool {
        self.index_source().await.is_ok_and(|source| !source.can_read(self.content.plain()))
    }

    async fn index_source(&self) -> Result<Arc<SpanSource>> {
        let known = Arc::clone(&self.passes.known);
        // Not `self.archive`: after a pass made it anew, its index is the new one's.
        let archive = known.archive(self.identity).await.unwrap_or_else(|| Arc::clone(&self.archive));
        let index = blocking(move || archive.index(&known.index_dir)).await;
        let index = match index {
            Err(error) if error.kind() == Kind::Corrupt => {
                tracing::warn!("{error}: the archive will be read again");
                self.passes.known.forget(&self.identity);
                return Err(Error::new(Kind::CacheLost, "the seek index is damaged"));
            }
            index => index?,
        };
        let spans = SpanMap::Index(index);
        Ok(Arc::new(SpanSource { object: Arc::clone(&self.object), identity: self.identity, spans }))
    }
}

impl Spanned for ArchiveFile {
    fn source(&self) -> BoxFuture<'_, Result<Arc<SpanSource>>> {
        self.index_source().boxed()
    }

    fn expected(&self) -> BoxFuture<'_, Result<Expected>> {
        let crc32 = self.archive.listing.files[self.number].crc32;
        futures::future::ready(Ok(Expected { crc32, md5: None })).boxed()
    }
}

impl OpenFile for ArchiveFile {
    fn read_at(&self, offset: u64, len: u32) -> BoxFuture<'_, Result<Bytes>> {
        Box::pin(self.read(offset, len.into()))
    }

    fn backing(&self) -> Option<&File> {
        self.content.backing()
    }
}

impl fmt::Debug for ArchiveFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.object.key, self.archive.listing.files[self.number].path)
    }
}
