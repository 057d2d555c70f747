//! All bytes of a bundle's files: one of them into the cache, or all in order for somebody who
//! wants them.

use super::LooseFiles;
use super::judge::Judge;
use crate::archive::tar::MemberSink;
use crate::archive::{Member, MemberKind};
use crate::reader::digest::Collector;
use crate::reader::fetch::{Body, Fetcher};
use crate::reader::identity::Identity;
use crate::reader::known::{self, Archive};
use crate::reader::pass::pipeline::Stage;
use crate::reader::pass::stream::Examined;
use crate::reader::seal::ends::Seal;
use crate::reader::stats::Gauge;
use crate::reader::sums::{Expected, Sums};
use crate::reader::{Reader, fetch};
use crate::store::ObjectMeta;
use crate::task::blocking;
use crate::{Error, Result};
use bytes::Bytes;
use futures::StreamExt;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::mpsc;

/// Objects up to this many bytes are fetched whole, [`AT_ONCE`] at a time; larger ones in ranges,
/// one object at a time.
const SMALL: u64 = 1 << 20;
const AT_ONCE: usize = 16;

/// Pieces between the store and whoever takes them.
const QUEUE: usize = 4;

impl LooseFiles {
    /// Fetches all of the object, checks it, and shows it in the cache, if that has room for it.
    pub(super) async fn land_object(
        self: &Arc<Self>,
        object: &Arc<ObjectMeta>,
        identity: Identity,
        expected: Expected,
        judge: Option<Judge>,
    ) -> Result<()> {
        let (cache, key, size) = (self.cache.clone(), identity.file(0), object.size);
        let writer = blocking(move || cache.create(key, size)).await.unwrap_or_else(|error| {
            tracing::warn!("{error}: reading goes on without the cache");
            None
        });
        let nothing_told = expected.is_nothing() && judge.is_none();
        if writer.is_none() && (nothing_told || self.known.checked.contains(&identity)) {
            return Ok(());
        }
        let (mut writer, mut judge) = (writer, judge);
        let work = move |mut pieces: mpsc::Receiver<Result<fetch::Piece>>| {
            let mut sums = Sums::new(expected);
            let mut read = 0;
            while let Some(piece) = pieces.blocking_recv() {
                let piece = piece?;
                sums.update(&piece.bytes);
                if let Some(judge) = &mut judge {
                    judge.update(&piece.bytes);
                }
                read += piece.bytes.len() as u64;
                if let Some(writer) = &mut writer {
                    writer.write(&piece.bytes)?;
                }
            }
            if read != size {
                return Err(fetch::closed());
            }
            if let Some(wrong) = sums.compare(expected).1.or_else(|| judge.and_then(Judge::finish)) {
                return Err(Error::corrupt(wrong));
            }
            writer.map_or(Ok(()), |writer| writer.seal()?.publish())
        };
        let landed = self.fetcher.feed(object, Body::plain(object), Bytes::new(), 0, &|_| {}, work).await;
        landed.map_err(|error| error.with_object(&object.key))?;
        self.known.checked.insert(identity);
        Ok(())
    }
}

/// What whoever takes the files hears.
enum Event {
    /// The file of this number in the listing begins.
    Begin(usize),
    Data(Bytes, Option<crate::reader::budget::Reserved>),
    End,
}

/// What came of all files.
struct BundleContent<S> {
    sink: Collector<S>,
    /// Per file that was read to its end: its CRC-32, and why it is not what the backup says.
    sums: HashMap<usize, (u32, Option<String>)>,
    result: Result<()>,
}

impl Reader {
    /// Reads all files of a bundle, in the order of its listing: what [`Self::stream`] and
    /// [`Self::examine`] do with an archive.
    pub(in crate::reader) async fn read_bundle<S>(
        &self,
        object: &Arc<ObjectMeta>,
        sink: S,
        arrived: &(dyn Fn(u64) + Sync),
    ) -> Result<Examined<S>>
    where
        S: MemberSink + Send + 'static,
    {
        let stats = &self.fetcher.stats;
        let _turn = self.passes.turn().await;
        let _gauge = Gauge::new(&stats.passes_running);
        stats.passes.fetch_add(1, Relaxed);
        let archive = match self.passes.archive(object).await {
            Ok(archive) => archive,
            Err(error) => return Ok(Examined { sink, seal: None, archive: Err(Stage::Fetch.failed(error)) }),
        };
        let (tell, hear) = mpsc::channel(QUEUE);
        let listener = Arc::clone(&archive);
        let heard = blocking(move || Ok(listen(&listener, Collector::new(sink), hear)));
        let (told, heard) = tokio::join!(tell_all(&self.fetcher, &archive, tell, arrived), heard);
        let BundleContent { sink: Collector { sink, mut digests, .. }, sums, result } = heard?;
        digests.are_of_files = true;
        let broken = |error: Error| {
            stats.count_error(&error);
            Stage::Fetch.failed(error)
        };
        // An end of the listener ends the telling, too; its reason is the one that counts.
        if let Err(error) = result.and(told) {
            return Ok(Examined { sink, seal: None, archive: Err(broken(error)) });
        }
        let mut listing = (*archive.listing).clone();
        for file in &mut listing.files {
            // All of it was read anew.
            file.damage = None;
        }
        for (number, (crc32, _)) in &sums {
            listing.files[*number].crc32 = Some(*crc32);
        }
        listing.check_digests(&archive.offsets, &digests);
        // That others are absent is known since they were listed.
        listing.check_indexes(&archive.offsets, &digests);
        for (number, (_, wrong)) in sums {
            let file = &mut listing.files[number];
            file.damage = wrong.map(|wrong| format!("{}: {wrong}", file.path).into()).or(file.damage.take());
        }
        let read = Archive::of_bundle(archive.identity, listing, archive.offsets.clone(), archive.loose.clone());
        let archive = Arc::new(read);
        if let Err(error) = known::save(&self.known.index_dir, &object.key, &archive) {
            tracing::warn!("{error}: what was read of {} is not remembered", object.key);
        }
        self.known.archives.put(Arc::clone(&archive));
        Ok(Examined { sink, seal: Some(Seal::Files), archive: Ok(archive) })
    }
}

/// Fetches the files and tells of them. Ends early when nobody listens.
async fn tell_all(
    fetcher: &Fetcher,
    archive: &Archive,
    tell: mpsc::Sender<Event>,
    arrived: &(dyn Fn(u64) + Sync),
) -> Result<()> {
    let small = archive.loose.iter().map(|loose| async move {
        let object = &loose.object;
        let bytes = match object.size {
            0 => Some(Bytes::new()),
            size if size <= SMALL => Some(fetcher.range(object, 0..size).await?),
            _ => None,
        };
        Ok::<_, Error>((object, bytes))
    });
    let mut files = futures::stream::iter(small).buffered(AT_ONCE).enumerate();
    while let Some((number, file)) = files.next().await {
        let (object, bytes) = file?;
        if tell.send(Event::Begin(number)).await.is_err() {
            return Ok(());
        }
        if let Some(bytes) = bytes {
            arrived(bytes.len() as u64);
            if tell.send(Event::Data(bytes, None)).await.is_err() {
                return Ok(());
            }
        } else {
            let (pieces_in, mut pieces) = mpsc::channel(QUEUE);
            let forward = async {
                while let Some(piece) = pieces.recv().await {
                    let piece: fetch::Piece = piece?;
                    if tell.send(Event::Data(piece.bytes, Some(piece.reserved))).await.is_err() {
                        break;
                    }
                }
                // Dropped here, so that nothing more is fetched for nobody.
                drop(pieces);
                Ok::<_, Error>(())
            };
            let ((), forwarded) =
                tokio::join!(fetcher.in_order(object, Body::plain(object), 0, pieces_in, arrived), forward);
            forwarded?;
        }
        if tell.send(Event::End).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Hands the files on to the sink. Blocks.
fn listen<S: MemberSink>(
    archive: &Archive,
    mut sink: Collector<S>,
    mut hear: mpsc::Receiver<Event>,
) -> BundleContent<S> {
    let mut sums = HashMap::new();
    let mut current: Option<(usize, Member, Expected, Sums)> = None;
    let mut hand_on = |event| -> Result<()> {
        match event {
            Event::Begin(number) => {
                let listed = &archive.listing.files[number];
                let member = Member {
                    raw_name: listed.path.as_bytes().into(),
                    kind: MemberKind::File,
                    size: listed.size,
                    mtime: listed.mtime,
                    offset: archive.offsets[number],
                    crc32: 0,
                };
                let expected = Expected { crc32: None, md5: archive.loose[number].md5 };
                sink.begin(&member)?;
                current = Some((number, member, expected, Sums::new(expected)));
            }
            Event::Data(bytes, _reserved) => {
                if let Some((.., file)) = &mut current {
                    file.update(&bytes);
                }
                sink.data(&bytes)?;
            }
            Event::End => {
                if let Some((number, mut member, expected, file)) = current.take() {
                    let (crc32, wrong) = file.compare(expected);
                    member.crc32 = crc32;
                    sink.end(&member)?;
                    sums.insert(number, (crc32, wrong));
                }
            }
        }
        Ok(())
    };
    let mut result = Ok(());
    while let Some(event) = hear.blocking_recv() {
        result = hand_on(event);
        if result.is_err() {
            break;
        }
    }
    BundleContent { sink, sums, result }
}
