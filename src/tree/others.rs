//! Whether an archive is of the table whose name it has: whoever looks into a table's directory is
//! told, as `extract` and `verify --deep` tell it.

use super::assemble::Assembly;
use super::backup::{BackupTree, HostState};
use super::model::{HostModel, TableDir};
use super::point_shapes::PointShapes;
use crate::cassandra::SstableName;
use crate::cassandra::schema::{Shapes, is_system_keyspace};
use crate::cassandra::sstable::{MAX_STATISTICS, Shape};
use crate::catalog::{Depth, TableArchive};
use crate::reader::Listing;
use crate::task::lock;
use futures::StreamExt;
use std::sync::Arc;
use std::time::Duration;

/// Archives that are looked into at the same time.
const PARALLEL: usize = 8;
/// Nobody waits longer for it: a directory is shown in an outage, too.
const PATIENCE: Duration = Duration::from_secs(1);

impl BackupTree {
    /// Notes which of the archives are of another table by their first SSTable: each is made of one
    /// directory. Where nothing can be read now, nothing is told.
    pub(super) async fn note_others(&self, model: &HostModel, dir: &TableDir, index: usize, assembly: &Assembly) {
        let Some(host) = assembly.pieces.first().map(|(set, _)| &set.host) else { return };
        if is_system_keyspace(&dir.table.keyspace) {
            return;
        }
        let state = self.state(host);
        let Some(shapes) = self.shapes_at(&state, model, index).await else { return };
        let mut each = Vec::with_capacity(assembly.pieces.len());
        for ((set, archive), listing) in assembly.pieces.iter().zip(&assembly.listings) {
            let shapes = &shapes;
            each.push(async move { Some((set, archive, self.misfit(shapes, archive, listing).await?)) });
        }
        let mut each = futures::stream::iter(each).buffered(PARALLEL);
        while let Some(found) = each.next().await {
            if let Some((set, archive, (sstable, why))) = found {
                state.damage.note_of_another(&set.tag, archive, &sstable, &why);
            }
        }
    }

    async fn shapes_at(&self, state: &HostState, model: &HostModel, index: usize) -> Option<Arc<Shapes>> {
        let (sets, point) = (&model.from.sets, &model.points()[index]);
        let known = lock(&state.shapes).as_ref().and_then(|known| known.of(sets, point.tag()));
        if known.is_some() {
            return known;
        }
        let knowledge = state.history.learn_point(sets, point, Depth::Schema).await.ok()?;
        let shapes = Arc::new(knowledge.shapes());
        *lock(&state.shapes) = Some(PointShapes::new(sets, point.tag(), &shapes));
        Some(shapes)
    }

    /// The archive's first SSTable, and why it is of another table.
    async fn misfit(&self, shapes: &Shapes, archive: &TableArchive, listing: &Listing) -> Option<(String, String)> {
        let (number, sstable) = first_statistics(listing)?;
        let read = self.source.read_file(&archive.object, number, MAX_STATISTICS);
        let bytes = tokio::time::timeout(PATIENCE, read).await.ok()?.ok()?;
        let shape = Shape::read(&sstable, &bytes).ok()?;
        let misfit = shapes.misfit(&archive.table, &shape)?;
        Some((sstable.to_string(), misfit.to_string()))
    }
}

/// The first Statistics.db of the table itself, and its SSTable's name.
fn first_statistics(listing: &Listing) -> Option<(usize, SstableName)> {
    listing.files.iter().enumerate().find_map(|(number, file)| {
        let (directory, parsed) = SstableName::parse_path(&file.path)?;
        let is_it = directory.is_empty() && parsed.component == "Statistics.db" && file.damage.is_none();
        is_it.then_some((number, parsed.sstable))
    })
}
