//! The tables of a report: what each one's directory is assembled from.

use super::{ArchiveReport, OtherSstable, ReportOptions, SstableReport, TableContents, TableReport};
use crate::cassandra::SstableName;
use crate::catalog::SetKind;
use crate::catalog::incarnation::{ArchiveFacts, Attribution, Evidence, attribute};
use crate::reader::Listing;
use crate::task::blocking;
use crate::tree::assemble::{Assembly, facts};
use crate::tree::attribution::Piece;
use crate::tree::backup::{BackupTree, is_lasting};
use crate::tree::model::{ContentKind, HostModel, TableDir};
use crate::{Error, Result};
use futures::{StreamExt, TryStreamExt};
use std::collections::HashMap;
use std::sync::Arc;

/// Tables whose archives are listed at the same time.
const PARALLEL: usize = 4;

/// What can be told of a table's contents.
enum TableAnswer {
    /// Its archives told something of themselves that changes the model.
    News,
    Contents(TableContents),
    Unreadable(Error),
}

/// The incarnation of each SSTable of some archives, by archive, directory and name.
struct Attributed(HashMap<(usize, Arc<str>, SstableName), Attribution>);

impl BackupTree {
    /// The tables of the restore point; `None` when something was learnt that changes the model.
    pub(super) async fn table_reports(
        &self,
        model: &Arc<HostModel>,
        index: usize,
        options: &ReportOptions,
    ) -> Result<Option<Vec<TableReport>>> {
        let wanted = |dir: &&TableDir| options.tables.is_empty() || options.tables.contains(&dir.table);
        let reports: Vec<_> = model
            .tables_at(index)
            .filter(wanted)
            .map(|dir| self.table_report(model, dir, index, options.summary))
            .collect();
        let reports: Vec<_> = futures::stream::iter(reports).buffered(PARALLEL).try_collect().await?;
        Ok(reports.into_iter().collect())
    }

    async fn table_report(
        &self,
        model: &Arc<HostModel>,
        dir: &TableDir,
        index: usize,
        summary: bool,
    ) -> Result<Option<TableReport>> {
        let pieces = model.pieces(dir, ContentKind::Snapshot, index);
        let mut archives = Vec::with_capacity(pieces.len());
        for (set, archive) in &pieces {
            archives.push(ArchiveReport {
                set: set.tag.clone(),
                key: archive.object.key.clone(),
                bytes: archive.object.size,
                read: self.source.known_listing(&archive.object).await.is_some(),
                archived: archive.object.archived,
            });
        }
        let evidence = evidence(model, dir, index);
        let mut report = TableReport {
            table: dir.table.clone(),
            id: dir.id,
            directory: dir.table.directory(model.id_in_point(dir)),
            certain: !evidence.is_weak(),
            evidence,
            bytes: archives.iter().map(|archive| archive.bytes).sum(),
            unread_bytes: archives.iter().filter(|archive| !archive.read).map(|archive| archive.bytes).sum(),
            archives,
            unreadable: None,
            unreadable_kind: None,
            contents: None,
        };
        if !summary {
            match self.contents(model, dir, index, pieces).await? {
                TableAnswer::News => return Ok(None),
                TableAnswer::Contents(contents) => report.contents = Some(contents),
                TableAnswer::Unreadable(error) => {
                    report.unreadable_kind = Some(error.kind());
                    report.unreadable = Some(error.to_string());
                }
            }
        }
        Ok(Some(report))
    }

    async fn contents(
        &self,
        model: &Arc<HostModel>,
        dir: &TableDir,
        index: usize,
        pieces: Vec<Piece>,
    ) -> Result<TableAnswer> {
        let others: Vec<Piece> = model.points()[index]
            .archives(&dir.table)
            .filter(|(set, _)| pieces.iter().all(|(piece, _)| piece.tag != set.tag))
            .map(|(set, archive)| (set.clone(), archive))
            .collect();
        let assembly = match self.assemble(model, dir, ContentKind::Snapshot, index, pieces).await {
            Ok(Some(assembly)) => assembly,
            Ok(None) => return Ok(TableAnswer::News),
            Err(error) if is_lasting(error.kind()) => return Ok(TableAnswer::Unreadable(error)),
            Err(error) => return Err(error),
        };
        let (mut listed, mut unreadable) = (Vec::new(), Vec::new());
        for piece in others {
            match self.source.listing(&piece.1.object).await {
                Ok(listing) => listed.push((piece, listing)),
                Err(error) if is_lasting(error.kind()) => unreadable.push(format!("{}: {error}", piece.0.tag)),
                Err(error) => return Err(error),
            }
        }
        let (others, other_listings): (Vec<Piece>, Vec<Arc<Listing>>) = listed.into_iter().unzip();
        let (model, dir) = (model.clone(), dir.clone());
        let told = blocking(move || {
            let mut contents = shown(&model, &dir, &assembly);
            contents.not_part = not_part(&model, &dir, &others, &other_listings);
            contents.notices.extend(unreadable);
            Ok(contents)
        });
        Ok(TableAnswer::Contents(told.await?))
    }
}

/// What tells the incarnation that the directory shows.
fn evidence(model: &HostModel, dir: &TableDir, index: usize) -> Evidence {
    let (Some(id), Some(candidates)) = (dir.id, model.candidates(&dir.table)) else { return Evidence::Nothing };
    let point = &model.points()[index];
    if point.kind() == SetKind::Full
        && let Some((_, evidence)) = candidates.of_archive(point.set()).filter(|(told, _)| *told == id)
    {
        return evidence;
    }
    let alive = candidates.at(point.time()).filter(|alive| alive.id == id);
    let known = alive.or_else(|| candidates.list().iter().find(|candidate| candidate.id == id));
    known.map_or(Evidence::Nothing, |known| known.evidence.clone())
}

fn shown(model: &HostModel, dir: &TableDir, assembly: &Assembly) -> TableContents {
    let tag = |source: usize| assembly.pieces[source].0.tag.clone();
    let attributed = Attributed::new(model, dir, &assembly.pieces, &assembly.listings);
    let merged = assembly.merged();
    let mut sstables = Vec::with_capacity(merged.sstables.len());
    for sstable in merged.sstables {
        let archived_as = sstable.renumbered_from.as_ref().unwrap_or(&sstable.name);
        let told = attributed.of(sstable.source, &sstable.directory, archived_as);
        sstables.push(SstableReport {
            set: tag(sstable.source),
            sets: sstable.copies.iter().map(|source| tag(*source)).collect(),
            incarnation: told.id,
            certain: !told.evidence.is_weak(),
            evidence: told.evidence,
            missing: sstable.missing,
            directory: sstable.directory,
            name: sstable.name,
            renumbered_from: sstable.renumbered_from,
        });
    }
    let mut notices: Vec<String> = merged.notices.iter().map(ToString::to_string).collect();
    for ((set, _), listing) in assembly.pieces.iter().zip(&assembly.listings) {
        notices.extend(listing.warnings.iter().map(|warning| format!("{}: {warning}", set.tag)));
        let damaged = listing.files.iter().filter_map(|file| Some((&file.path, file.damage.as_ref()?)));
        notices.extend(damaged.map(|(path, damage)| format!("{}: {path}: {damage}", set.tag)));
    }
    TableContents { sstables, not_part: Vec::new(), notices }
}

fn not_part(model: &HostModel, dir: &TableDir, pieces: &[Piece], listings: &[Arc<Listing>]) -> Vec<OtherSstable> {
    let attributed = Attributed::new(model, dir, pieces, listings);
    let mut others: Vec<(usize, OtherSstable)> = Vec::new();
    for ((source, directory, name), told) in attributed.0 {
        let (set, evidence) = (pieces[source].0.tag.clone(), told.evidence.to_string());
        others.push((source, OtherSstable { directory, name, set, incarnation: told.id, evidence }));
    }
    others.sort_by(|(a, x), (b, y)| (a, &x.directory, &x.name).cmp(&(b, &y.directory, &y.name)));
    others.into_iter().map(|(_, other)| other).collect()
}

impl Attributed {
    fn new(model: &HostModel, dir: &TableDir, pieces: &[Piece], listings: &[Arc<Listing>]) -> Self {
        let archives: Vec<ArchiveFacts> =
            pieces.iter().zip(listings).map(|(piece, listing)| facts(piece, listing)).collect();
        let Some(candidates) = model.candidates(&dir.table) else { return Self(HashMap::new()) };
        let told = attribute(candidates, &archives).into_iter();
        let mut found = HashMap::new();
        for (source, (archive, told)) in archives.into_iter().zip(told).enumerate() {
            for (sstable, told) in archive.sstables.into_iter().zip(told) {
                found.insert((source, sstable.directory, sstable.name), told);
            }
        }
        Self(found)
    }

    fn of(&self, source: usize, directory: &Arc<str>, name: &SstableName) -> Attribution {
        let told = self.0.get(&(source, directory.clone(), name.clone()));
        told.cloned().unwrap_or(Attribution { id: None, evidence: Evidence::Nothing })
    }
}
