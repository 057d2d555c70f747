//! A table's files at a restore point or in a set: from its archives' listings to a
//! [`ContentTree`].

use super::attribution::Piece;
use super::backup::{BackupTree, is_lasting};
use super::content::{ContentFile, ContentTree};
use super::ino::identity;
use super::model::{ContentKind, HostModel, TableDir};
use super::node::ContentPlace;
use crate::cassandra::{SstableName, TableName, is_spare};
use crate::catalog::incarnation::{ArchiveFacts, SstableFacts, attribute};
use crate::catalog::merge::{self, Merged, merge};
use crate::catalog::{BackupSet, SetKind, TableArchive, declared_id};
use crate::reader::{ListedFile, Listing};
use crate::task::blocking;
use crate::{Error, Kind, Result};
use futures::{StreamExt, TryStreamExt};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Archives of one chain listed at the same time.
const PARALLEL: usize = 8;
/// Longest schema.cql or TOC.txt of a table, bytes.
const MAX_TEXT: u64 = 1 << 20;

impl BackupTree {
    /// The files of the directory. Needs the listing of every archive that it is made of.
    pub(super) async fn content(&self, place: &ContentPlace) -> Result<Arc<ContentTree>> {
        // What archives tell of themselves can change whose directory this is. Each is heard once,
        // so this ends.
        loop {
            let model = self.model(&place.table.host).await?;
            let (dir, index) = whose(&model, place)?;
            let pieces = model.pieces(dir, place.kind, index);
            let key = key(dir, place, &pieces);
            if let Some(known) = self.contents.get(&key) {
                return Ok(known);
            }
            let Some(assembly) = self.assemble(&model, dir, place.kind, index, pieces).await? else { continue };
            let place = place.clone();
            let logs_oddities = self.options.logs_oddities;
            let tree = Arc::new(blocking(move || Ok(arrange(&place, &assembly, logs_oddities))).await?);
            self.contents.insert(key, tree.clone(), tree.weight());
            return Ok(tree);
        }
    }

    /// Lists the archives of a directory. `None` when they told something of themselves that
    /// changes the model.
    pub(super) async fn assemble(
        &self,
        model: &HostModel,
        dir: &TableDir,
        kind: ContentKind,
        index: usize,
        pieces: Vec<Piece>,
    ) -> Result<Option<Assembly>> {
        let listings = self.listings(&pieces).await?;
        if self.learn_ids_from_schemas(model, &pieces, &listings).await?
            || self.learn_id_from_files(model, dir, &pieces, &listings).await?
        {
            return Ok(None);
        }
        let is_merged = kind == ContentKind::Snapshot && model.points()[index].kind() == SetKind::Incremental;
        let tocs = self.tocs(&pieces, &listings, is_merged).await?;
        let listings = if is_merged { self.with_digests(&pieces, listings).await? } else { listings };
        let assembly = Assembly { pieces, listings, tocs, is_merged };
        if kind == ContentKind::Snapshot {
            self.note_damage(model, &assembly);
            self.note_others(model, dir, index, &assembly).await;
        }
        Ok(Some(assembly))
    }

    /// Notes what the archives do not give out: files without data, and SSTables that are whole in
    /// none of them.
    fn note_damage(&self, model: &HostModel, assembly: &Assembly) {
        let merged = assembly.merged().sstables;
        for (source, ((set, archive), listing)) in assembly.pieces.iter().zip(&assembly.listings).enumerate() {
            let broken = merged.iter().filter(|sstable| sstable.source == source);
            let damage = &self.state(&set.host).damage;
            if listing.files.is_empty() && model.from.sets.should_have_files(set, &archive.table) {
                damage.note_without_files(&set.tag, archive);
            } else {
                damage.note(&set.tag, archive, listing, broken);
            }
        }
    }

    async fn listings(&self, pieces: &[Piece]) -> Result<Vec<Arc<Listing>>> {
        let mut listings = Vec::with_capacity(pieces.len());
        for (set, archive) in pieces {
            listings.push(async move {
                let looked = self.source.listing(&archive.object).await;
                looked.inspect_err(|error| self.state(&set.host).damage.note_unreadable(&set.tag, archive, error))
            });
        }
        futures::stream::iter(listings).buffered(PARALLEL).try_collect().await
    }

    /// Takes in the ids that archives of fulls tell in their own schema.cql, where nothing better
    /// is known. Says whether any is news.
    async fn learn_ids_from_schemas(
        &self,
        model: &HostModel,
        pieces: &[Piece],
        listings: &[Arc<Listing>],
    ) -> Result<bool> {
        let mut news = false;
        for ((set, archive), listing) in pieces.iter().zip(listings) {
            if model.is_weak(set, &archive.table) {
                news |= self.learn_id_from_schema(model, set, archive, listing).await? == Some(true);
            }
        }
        Ok(news)
    }

    /// Says whether the archive tells another id than was thought; `None` when it tells none, or
    /// can never be read. In an outage this fails, because without it files could be shown where
    /// they do not belong.
    async fn learn_id_from_schema(
        &self,
        model: &HostModel,
        set: &BackupSet,
        archive: &TableArchive,
        listing: &Listing,
    ) -> Result<Option<bool>> {
        let Some(file) = listing.files.iter().position(|file| &*file.path == "schema.cql") else { return Ok(None) };
        let cql = match self.source.read_file(&archive.object, file, MAX_TEXT).await {
            Ok(cql) => cql,
            Err(error) if is_lasting(error.kind()) => {
                tracing::warn!("{}: its schema.cql tells no id: {error}", archive.object.key);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let Some(id) = declared_id(&String::from_utf8_lossy(&cql)) else { return Ok(None) };
        Ok(Some(self.state(&set.host).declare(model, set, &archive.table, id).await))
    }

    /// Looks whether the files can be of the incarnation that they were taken for. Says whether
    /// some are not.
    async fn learn_id_from_files(
        &self,
        model: &HostModel,
        dir: &TableDir,
        pieces: &[Piece],
        listings: &[Arc<Listing>],
    ) -> Result<bool> {
        let Some(candidates) = model.candidates(&dir.table) else { return Ok(false) };
        let facts: Vec<ArchiveFacts> =
            pieces.iter().zip(listings).map(|(piece, listing)| facts(piece, listing)).collect();
        let mut news = false;
        for ((set, _), attributions) in pieces.iter().zip(attribute(candidates, &facts)) {
            // An archive is made of one directory, so all of its SSTables are of one incarnation.
            let Some(told) = attributions.into_iter().next().filter(|told| told.id != dir.id) else { continue };
            if told.id.is_none()
                && told.evidence.is_weak()
                && self.learn_id_from_next_full(model, set, &dir.table).await?
            {
                return Ok(true);
            }
            if self.state(&set.host).refine(&set.tag, &dir.table, told.id) {
                let shown = dir.table.directory(told.id);
                tracing::warn!(
                    "{} {}: the files of {} are shown under {shown}: {}",
                    set.host,
                    set.tag,
                    dir.table,
                    told.evidence
                );
                news = true;
            }
        }
        Ok(news)
    }

    /// Where files are of an incarnation that nothing tells of, the next full may: it is the only
    /// archive read for another's sake. In an outage this fails, because without it files could be
    /// shown where they do not belong.
    async fn learn_id_from_next_full(&self, model: &HostModel, set: &BackupSet, table: &TableName) -> Result<bool> {
        let after = model.from.sets.sets.partition_point(|other| (other.time, &other.tag) <= (set.time, &set.tag));
        let mut later = model.from.sets.sets[after..].iter();
        let next = later.find(|other| other.is_finished() && other.kind() == SetKind::Full && other.has(table));
        let Some((next, archive)) = next.and_then(|next| Some((next, next.archive(table)?))) else { return Ok(false) };
        if !model.is_weak(next, table) {
            return Ok(false);
        }
        let listing = match self.source.listing(&archive.object).await {
            Ok(listing) => listing,
            Err(error) if is_lasting(error.kind()) => return Ok(false),
            Err(error) => return Err(error),
        };
        let heard = self.learn_id_from_schema(model, next, &archive, &listing).await?.is_some();
        if heard {
            // Also that it is the same as before is news here: so long it lived.
            self.state(&set.host).outdate();
        }
        Ok(heard)
    }

    /// The TOC.txt of SSTables of which nothing else says whether they are complete.
    async fn tocs(
        &self,
        pieces: &[Piece],
        listings: &[Arc<Listing>],
        is_merged: bool,
    ) -> Result<Vec<HashMap<usize, Vec<String>>>> {
        let mut tocs = vec![HashMap::new(); pieces.len()];
        for (source, file) in ambiguous_tocs(listings, is_merged) {
            match self.source.read_file(&pieces[source].1.object, file, MAX_TEXT).await {
                Ok(text) => {
                    let text = String::from_utf8_lossy(&text);
                    tocs[source].insert(file, text.lines().map(str::to_owned).collect());
                }
                Err(error) if error.kind() == Kind::Invalid => {}
                Err(error) => return Err(error),
            }
        }
        Ok(tocs)
    }
}

/// The incarnation that the directory shows now, and where.
fn whose<'a>(model: &'a HostModel, place: &ContentPlace) -> Result<(&'a TableDir, usize)> {
    let table = &place.table;
    let found = model.index(place.kind, &place.tag.0).and_then(|index| {
        // The node was given out for some incarnation at this point; if it proved wrong, for the
        // one that is right.
        let shown = model.shown_at(&table.table, table.id, place.kind, index);
        let any = || model.table(&table.table).iter().find(|dir| dir.has(place.kind, index));
        Some((shown.or_else(any)?, index))
    });
    found.ok_or_else(|| {
        Error::new(Kind::Changed, format!("{} in {} of {} has gone", table.table, place.tag, table.host))
    })
}

/// Equal for equal content.
fn key(dir: &TableDir, place: &ContentPlace, pieces: &[Piece]) -> [u8; 32] {
    let mut hash = blake3::Hasher::new();
    hash.update(&[place.kind as u8]);
    hash.update(format!("{:?} {:?} {:?}", dir.table, dir.id, place.tag).as_bytes());
    for (_, archive) in pieces {
        identity(&mut hash, &archive.object);
    }
    hash.finalize().into()
}

/// The directory of a path, and its SSTable and component if it is of one.
fn component(path: &str) -> Option<(&str, crate::cassandra::Component<'_>)> {
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    Some((directory, SstableName::parse_component(name)?))
}

/// What the listing tells of the archive's SSTables, by directory and name.
pub(super) fn facts((set, archive): &Piece, listing: &Listing) -> ArchiveFacts {
    let mut sstables: BTreeMap<(&str, SstableName), SstableFacts> = BTreeMap::new();
    for file in &listing.files {
        let Some((directory, parsed)) = component(&file.path) else { continue };
        let key = (directory, parsed.sstable.clone());
        let new = SstableFacts { directory: directory.into(), name: parsed.sstable, modified: None, data: None };
        let facts = sstables.entry(key).or_insert(new);
        if parsed.component == "Data.db" {
            facts.modified = Some(file.mtime);
            facts.data = Some((file.size, file.crc32));
        }
    }
    let mut time = set.time;
    if !set.is_finished() {
        // An estimate: the files say better when they were packed, as long as they are not younger
        // than the object that holds them.
        let packed = listing.files.iter().map(|file| file.mtime).filter(|mtime| *mtime <= archive.object.modified);
        time = packed.max().map_or(time, |packed| packed.max(time));
    }
    ArchiveFacts { tag: set.tag.clone(), time, sstables: sstables.into_values().collect() }
}

/// Archive and number of the TOC.txt of each SSTable that has neither list of chunks or CRC-32s, or,
/// where archives are merged, other components in one than in another.
fn ambiguous_tocs(listings: &[Arc<Listing>], is_merged: bool) -> Vec<(usize, usize)> {
    #[derive(Default)]
    struct Copies {
        components: Vec<(usize, u64)>,
        /// Archives in which it has a list, at least.
        lists: BTreeSet<usize>,
        tocs: Vec<(usize, usize)>,
    }
    let mut sstables: BTreeMap<(&str, SstableName), Copies> = BTreeMap::new();
    for (source, listing) in listings.iter().enumerate() {
        for (number, file) in listing.files.iter().enumerate() {
            let Some((directory, parsed)) = component(&file.path) else { continue };
            let copies = sstables.entry((directory, parsed.sstable)).or_default();
            match copies.components.last_mut() {
                Some((last, count)) if *last == source => *count += 1,
                _ => copies.components.push((source, 1)),
            }
            match parsed.component {
                "TOC.txt" => copies.tocs.push((source, number)),
                "CompressionInfo.db" | "CRC.db" => drop(copies.lists.insert(source)),
                _ => {}
            }
        }
    }
    let is_ambiguous = |copies: &Copies| {
        let mut each = copies.components.iter();
        each.any(|(source, count)| !copies.lists.contains(source) || is_merged && *count != copies.components[0].1)
    };
    sstables.into_values().filter(is_ambiguous).flat_map(|copies| copies.tocs).collect()
}

/// The archives of a directory as they were listed: all that its files follow from.
pub(super) struct Assembly {
    /// Oldest first.
    pub pieces: Vec<Piece>,
    /// Of each piece.
    pub listings: Vec<Arc<Listing>>,
    /// Of each piece, the TOC.txt that had to be read.
    tocs: Vec<HashMap<usize, Vec<String>>>,
    /// Whether it is shown as a restore point that unites sets; else as it was archived.
    is_merged: bool,
}

impl Assembly {
    /// The SSTables of all archives, each once.
    pub(super) fn merged(&self) -> Merged {
        let source = |(listing, tocs): (&Arc<Listing>, &HashMap<usize, Vec<String>>)| {
            let files = listing.files.iter().enumerate().map(|(file, listed)| merge::SourceFile {
                path: listed.path.clone(),
                size: listed.size,
                crc32: listed.crc32,
                file,
            });
            merge::Source { files: files.collect(), tocs: tocs.clone() }
        };
        let sources: Vec<merge::Source> = self.listings.iter().zip(&self.tocs).map(source).collect();
        merge(&sources, 0)
    }

    fn merged_files(&self, place: &ContentPlace) -> Vec<ContentFile> {
        let merged = self.merged();
        for notice in &merged.notices {
            tracing::warn!("{} {} {}: {notice}", place.table.host, place.tag, place.table.table);
        }
        let file = |file: merge::MergedFile| {
            content_file(&self.pieces[file.source].1, &self.listings[file.source], file.file, Some(file.path))
        };
        let is_whole = |file: &merge::MergedFile| !is_left_out(&self.listings[file.source], file.file);
        merged.files.into_iter().filter(is_whole).map(file).collect()
    }

    fn archived_files(&self) -> Vec<ContentFile> {
        let mut files = Vec::new();
        for ((_, archive), listing) in self.pieces.iter().zip(&self.listings) {
            let shown = (0..listing.files.len()).filter(|&index| !is_left_out(listing, index));
            files.extend(shown.map(|index| content_file(archive, listing, index, None)));
        }
        files
    }
}

/// Whether it is the one damaged file of an SSTable, and Cassandra does without it. To read it would
/// be an error, for Cassandra as well.
fn is_left_out(listing: &Listing, index: usize) -> bool {
    let file = &listing.files[index];
    let Some((directory, parsed)) = component(&file.path).filter(|_| file.damage.is_some()) else { return false };
    let is_sound_data = |other: &ListedFile| {
        let (theirs, data) = component(&other.path).filter(|(_, data)| data.component == "Data.db")?;
        (theirs == directory && data.sstable == parsed.sstable).then_some(other.damage.is_none())
    };
    is_spare(parsed.component) && listing.files.iter().find_map(is_sound_data).unwrap_or(false)
}

fn content_file(archive: &TableArchive, listing: &Listing, index: usize, shown_as: Option<Arc<str>>) -> ContentFile {
    let file = &listing.files[index];
    ContentFile {
        path: shown_as.unwrap_or_else(|| file.path.clone()),
        member: file.path.clone(),
        object: archive.object.clone(),
        index,
        size: file.size,
        mtime: file.mtime,
    }
}

fn arrange(place: &ContentPlace, assembly: &Assembly, logs_oddities: bool) -> ContentTree {
    for ((_, archive), listing) in assembly.pieces.iter().zip(&assembly.listings).filter(|_| logs_oddities) {
        for warning in &listing.warnings {
            tracing::warn!("{}: {warning}", archive.object.key);
        }
    }
    let files = if assembly.is_merged { assembly.merged_files(place) } else { assembly.archived_files() };
    let directories = assembly.listings.iter().flat_map(|listing| listing.directories.iter().cloned());
    let (tree, collisions) = ContentTree::build(files, directories);
    for collision in collisions {
        tracing::warn!("{} {}: {} is not shown: {}", place.table.host, place.tag, collision.path, collision.why);
    }
    tree
}
