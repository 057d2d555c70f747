//! Commit logs that were archived through gzip, zstd or lz4 (`archive_command=gzip …`), as Cassandra
//! wrote them: it replays nothing that is packed.
//!
//! Their length is in the last four bytes of each gzip, and may be in the first bytes of the others,
//! so to list one costs a small request, once. One that does not tell it is shown as it is. All of a
//! log is unpacked, and its checksum compared, before any byte of it is given out.

use crate::archive::compression::{Compression, Decoder, Spacing};
use crate::store::{Backend, Chunks, Listing, LocalFile, ObjectMeta, Page, Pages, Store, StoreOptions, UNPACKED};
use crate::task::{blocking, lock};
use crate::{Error, Kind, Result};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// How logs are packed that are shown unpacked: the end of the name; and what the ETag of such a log
/// begins with, behind [`UNPACKED`], as it is shown.
const PACKINGS: [(Compression, &str, &str); 3] =
    [(Compression::Gzip, ".gz", "gzip:"), (Compression::Zstd, ".zst", "zstd:"), (Compression::Lz4, ".lz4", "lz4:")];
/// Bytes behind the data of a gzip that tell its length, and at the start of others.
const LENGTH: u64 = 4;
const HEADER: u64 = 18;
/// Shortest that is looked at: a gzip of nothing.
const SHORTEST: u64 = 18;
/// Lengths that are kept, of logs as they were listed.
const KNOWN: NonZeroUsize = NonZeroUsize::new(1 << 16).unwrap();
/// Logs that are asked for their length at the same time.
const PARALLEL: usize = 16;

/// The same store, with commit logs as they were before gzip.
#[must_use]
pub fn with_plain_logs(store: &Store, options: &StoreOptions) -> Store {
    let lengths = Arc::new(Mutex::new(LruCache::new(KNOWN)));
    store.wrap(options, |backend| Arc::new(PlainLogs { backend, lengths }))
}

type Lengths = Mutex<LruCache<ObjectMeta, u64>>;

#[derive(Debug)]
struct PlainLogs {
    backend: Arc<dyn Backend>,
    lengths: Arc<Lengths>,
}

/// How it is packed, if it is a commit log that was.
fn packing(object: &ObjectMeta) -> Option<Compression> {
    let name = object.key.rsplit('/').next().unwrap_or(&object.key);
    let log = PACKINGS.iter().find_map(|(packing, end, _)| Some((*packing, name.strip_suffix(end)?)));
    let (packing, _) = log.filter(|(_, log)| log.starts_with("CommitLog-") && log.strip_suffix(".log").is_some())?;
    (!object.archived && object.size >= SHORTEST).then_some(packing)
}

/// What is shown of a packed log.
fn plain(packed: &ObjectMeta, size: u64) -> ObjectMeta {
    let found = PACKINGS.iter().find_map(|(_, end, mark)| Some((packed.key.strip_suffix(end)?, mark)));
    let Some((key, mark)) = found else { return packed.clone() };
    let version = packed.e_tag.as_ref().map(|e_tag| format!("={e_tag}")).unwrap_or_default();
    let e_tag = Some(format!("{UNPACKED}{mark}{}:{version}", packed.size).into());
    ObjectMeta { key: key.into(), size, e_tag, ..packed.clone() }
}

/// The packed log that is shown so, and how it is packed; `None` for any other object.
fn packed(shown: &ObjectMeta) -> Option<(ObjectMeta, Compression)> {
    let e_tag = shown.e_tag.as_ref()?.strip_prefix(UNPACKED)?;
    let of_mark = |(packing, end, mark): &(Compression, &str, &str)| {
        Some((*packing, (*end).to_owned(), e_tag.strip_prefix(mark)?))
    };
    let (packing, end, rest) = PACKINGS.iter().find_map(of_mark)?;
    let (size, version) = rest.split_once(':')?;
    let e_tag = version.strip_prefix('=').map(Into::into);
    let packed =
        ObjectMeta { key: format!("{}{end}", shown.key).into(), size: size.parse().ok()?, e_tag, ..shown.clone() };
    Some((packed, packing))
}

impl Backend for PlainLogs {
    fn list(&self, listing: Listing) -> Box<dyn Pages> {
        let (backend, lengths) = (Arc::clone(&self.backend), Arc::clone(&self.lengths));
        Box::new(LogPages { pages: backend.list(listing), page: None, backend, lengths })
    }

    fn head<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<ObjectMeta>> {
        self.backend.head(key)
    }

    fn get<'a>(&'a self, object: &'a ObjectMeta, range: Range<u64>) -> BoxFuture<'a, Result<Chunks>> {
        let Some((packed, packing)) = packed(object) else { return self.backend.get(object, range) };
        async move {
            let chunks = self.backend.get(&packed, 0..packed.size).await?;
            let inflating = Inflating::new(packing, range, object.size);
            // Nothing at all as often as something arrives: who waits sees that it goes on.
            let steps = stream::try_unfold(Some((chunks, inflating)), |state| async move {
                let Some((mut chunks, inflating)) = state else { return Ok(None) };
                match chunks.next().await.transpose()? {
                    Some(chunk) => {
                        let inflating = blocking(move || inflating.push(&chunk)).await?;
                        Ok(Some((Bytes::new(), Some((chunks, inflating)))))
                    }
                    None => Ok(Some((blocking(move || inflating.finish()).await?, None))),
                }
            });
            Ok(steps.boxed())
        }
        .boxed()
    }

    fn open_local<'a>(&'a self, object: &'a ObjectMeta) -> BoxFuture<'a, Result<Option<LocalFile>>> {
        if packed(object).is_some() {
            return futures::future::ready(Ok(None)).boxed();
        }
        self.backend.open_local(object)
    }

    fn is_link<'a>(&'a self, name: &'a str) -> BoxFuture<'a, bool> {
        self.backend.is_link(name)
    }
}

/// A log while it is inflated.
struct Inflating {
    decoder: Decoder,
    size: u64,
    wanted: Wanted,
}

/// The part of a log that somebody wants.
struct Wanted {
    range: Range<u64>,
    /// Plain bytes so far.
    at: u64,
    bytes: Vec<u8>,
}

impl Wanted {
    fn take(&mut self, plain: &[u8]) {
        let end = self.at + plain.len() as u64;
        let (from, to) = (self.range.start.max(self.at), self.range.end.min(end));
        if from < to {
            self.bytes.extend_from_slice(&plain[(from - self.at) as usize..(to - self.at) as usize]);
        }
        self.at = end;
    }
}

impl Inflating {
    fn new(packing: Compression, range: Range<u64>, size: u64) -> Self {
        let wanted = Wanted { range, at: 0, bytes: Vec::new() };
        Self { decoder: Decoder::new(packing, Spacing::none()), size, wanted }
    }

    /// Takes in the next bytes as they are packed. Blocks.
    fn push(mut self, bytes: &[u8]) -> Result<Self> {
        let wanted = &mut self.wanted;
        self.decoder.push(bytes, &mut |segment| {
            wanted.take(&segment.plain);
            Ok(())
        })?;
        Ok(self)
    }

    /// The bytes that are wanted, once all of it has proved right. Blocks.
    fn finish(self) -> Result<Bytes> {
        let Self { decoder, size, mut wanted } = self;
        let summary = decoder.finish(&mut |segment| {
            wanted.take(&segment.plain);
            Ok(())
        })?;
        if summary.plain_size != size {
            let message = format!(
                "it has {} bytes when it is unpacked, and says itself {size}: it is none of one commit log",
                summary.plain_size
            );
            return Err(Error::corrupt(message));
        }
        Ok(wanted.bytes.into())
    }
}

/// A listing in which packed logs are shown as they were.
struct LogPages {
    pages: Box<dyn Pages>,
    /// As the store gave it, while it is gone through.
    page: Option<Page>,
    backend: Arc<dyn Backend>,
    lengths: Arc<Lengths>,
}

impl Pages for LogPages {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Page>>> {
        async move {
            if self.page.is_none() {
                self.page = self.pages.next().await?;
            }
            let Some(page) = &mut self.page else { return Ok(None) };
            let logs: Vec<ObjectMeta> =
                page.objects.iter().filter(|object| packing(object).is_some()).cloned().collect();
            let (backend, lengths) = (&*self.backend, &*self.lengths);
            let asked = logs.into_iter().map(|log| async move {
                Ok::<_, Error>(match length(backend, lengths, &log).await? {
                    Some(length) => plain(&log, length),
                    None => log,
                })
            });
            let shown: Vec<ObjectMeta> = stream::iter(asked).buffered(PARALLEL).try_collect().await?;
            let mut page = self.page.take().unwrap_or_default();
            for (object, shown) in page.objects.iter_mut().filter(|object| packing(object).is_some()).zip(shown) {
                *object = shown;
            }
            Ok(Some(page))
        }
        .boxed()
    }
}

/// How long the log is, as the end of its gzip says, or the header of another; `None` where neither
/// does or it cannot be read, and it is shown as it is.
async fn length(backend: &dyn Backend, lengths: &Lengths, log: &ObjectMeta) -> Result<Option<u64>> {
    if let Some(length) = lock(lengths).get(log) {
        return Ok(Some(*length));
    }
    let Some(packing) = packing(log) else { return Ok(None) };
    let read = async |range: Range<u64>| {
        let bytes: Vec<Bytes> = backend.get(log, range).await?.try_collect().await?;
        Ok::<_, Error>(bytes.concat())
    };
    let read = async {
        if packing != Compression::Gzip {
            return Ok(packing.content_size(&read(0..HEADER).await?));
        }
        let end: [u8; LENGTH as usize] = read(log.size - LENGTH..log.size)
            .await?
            .try_into()
            .map_err(|_| Error::corrupt("the store sent another range than was asked for"))?;
        let length = u64::from(u32::from_le_bytes(end));
        Ok::<_, Error>(may_be_length(log.size, length).then_some(length))
    };
    match read.await {
        Ok(Some(length)) => {
            lock(lengths).put(log.clone(), length);
            Ok(Some(length))
        }
        Ok(None) => Ok(None),
        Err(error) if matches!(error.kind(), Kind::Denied | Kind::Archived | Kind::Changed | Kind::Corrupt) => {
            tracing::warn!("{}: {error}: it is shown as it is", log.key.escape_debug());
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whether a gzip of so many bytes can be of so many plain ones. What the end of one says that was cut
/// is any number.
fn may_be_length(packed: u64, plain: u64) -> bool {
    /// The most that one byte of deflate stands for.
    const DENSEST: u64 = 1032;
    // Header, trailer, and what each block takes that is stored as it is; a name may be in it.
    let overhead = SHORTEST + (plain / (16 << 10) + 1) * 5 + (1 << 12);
    (packed.saturating_sub(overhead)..=packed.saturating_mul(DENSEST)).contains(&plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn log(key: &str, e_tag: Option<&str>) -> ObjectMeta {
        ObjectMeta { key: key.into(), size: 99, e_tag: e_tag.map(Into::into), modified: Timestamp(7), archived: false }
    }

    #[test]
    fn what_is_shown_leads_back_to_what_is_there() {
        for (how, end, _) in PACKINGS {
            for e_tag in [None, Some("\"a:b\""), Some("")] {
                let there = log(&format!("node1/commitlogs/CommitLog-7-1.log{end}"), e_tag);
                assert_eq!(packing(&there), Some(how));
                let shown = plain(&there, 1 << 25);
                assert_eq!((&*shown.key, shown.size), ("node1/commitlogs/CommitLog-7-1.log", 1 << 25));
                assert_eq!(packed(&shown), Some((there.clone(), how)));
                assert_eq!(packed(&there), None);
            }
        }
        for other in ["CommitLog-7-1.log", "x.log.gz", "CommitLog-7-1.log.gz.tmp", "CommitLog-7-1.zst"] {
            assert_eq!(packing(&log(other, None)), None, "{other}");
        }
    }

    #[test]
    fn a_length_that_cannot_be_is_none() {
        for (packed, plain) in [(18, 0), (20, 0), (1 << 20, 1 << 20), (1 << 15, 1 << 25), (3 << 20, 3 << 20)] {
            assert!(may_be_length(packed, plain), "{packed} {plain}");
        }
        for (packed, plain) in [(1 << 20, 1000), (1 << 20, 3 << 30), (18, u64::from(u32::MAX))] {
            assert!(!may_be_length(packed, plain), "{packed} {plain}");
        }
    }

    #[test]
    fn nothing_is_given_out_before_all_of_it_proved_right() {
        let content: Vec<u8> = (0..300_000_u32).flat_map(|n| (n / 3).to_le_bytes()).collect();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(&path, &content).unwrap();
        let read = |packing, packed: &[u8], range: Range<u64>, size: u64| {
            let mut inflating = Inflating::new(packing, range, size);
            for piece in packed.chunks(1000) {
                inflating = inflating.push(piece)?;
            }
            inflating.finish()
        };
        let size = content.len() as u64;
        let gzip = std::process::Command::new("gzip").arg("-1c").arg(&path).output().unwrap().stdout;
        let zstd = zstd::bulk::compress(&content, 1).unwrap();
        assert_eq!(Compression::Zstd.content_size(&zstd[..HEADER as usize]), Some(size));
        for (packing, packed) in [(Compression::Gzip, &gzip), (Compression::Zstd, &zstd)] {
            assert_eq!(read(packing, packed, 0..size, size).unwrap(), content);
            assert_eq!(read(packing, packed, 600_001..600_011, size).unwrap(), content[600_001..600_011]);
        }
        let mut flipped = gzip.clone();
        let last = flipped.len() - 6;
        flipped[last] ^= 1;
        for (bad, size) in [(&flipped[..], size), (&gzip[..gzip.len() - 9], size), (&gzip[..], size - 1)] {
            assert_eq!(read(Compression::Gzip, bad, 0..10, size).unwrap_err().kind(), Kind::Corrupt);
        }
    }
}
