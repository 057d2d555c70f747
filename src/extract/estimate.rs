//! How much there is to fetch and to write, before anything is.

use super::staging::ArchiveId;
use crate::Kind;
use crate::cassandra::TableName;
use crate::catalog::Archived;
use crate::reader::Reader;
use crate::store::ObjectMeta;
use crate::tree::PointTable;
use futures::StreamExt;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::Arc;

/// Archives asked for their size at the same time.
const PARALLEL: usize = 16;

/// An archive shorter than this is not asked, bytes; many are, in a large backup, and all of them
/// together are small.
const WORTH_ASKING: u64 = 64 << 10;

/// So many times its stored size may be written of an archive that nothing is known of: tars of
/// small files are mostly padding.
const GUESS: u64 = 10;

/// The same of a large one that can be read and does not say its size: SSTables are compressed
/// already, and seldom shrink to less than half.
const GUESS_OF_LARGE: u64 = 2;

/// How a number of bytes to write is known. Ordered from sure to unsure.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SizeFrom {
    /// The archives were read before: at most this.
    Listings,
    /// It is plain files that are copied, of this size.
    Files,
    /// The archives say so at their ends. SSTables that several archives hold are counted in each;
    /// archives of more than 4 GiB may hold more.
    GzipLengths,
    /// Guessed from the stored sizes.
    Guess,
}

/// What is to be done for one table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TablePlan {
    #[serde(flatten)]
    pub table: TableName,
    /// Below the target.
    pub directory: String,
    /// Whether an earlier run extracted it.
    pub done: bool,
    /// The sets that it is made of.
    pub sets: Vec<String>,
    pub archives: usize,
    /// Of these, what has to be thawed first.
    pub archived: Archived,
    /// To fetch, as stored; what an earlier run staged is not in it.
    pub fetch_bytes: u64,
    /// To write, about; with what an earlier run staged.
    pub write_bytes: u64,
    pub size_from: SizeFrom,
}

/// What is known of the size of an archive's files.
enum Size {
    Listed(Arc<crate::reader::Archive>),
    /// Of plain files.
    Sum(u64),
    Claimed(u64),
    Guessed(u64),
}

/// Fills in the sizes of tables. What cannot be asked is guessed: it will fail later, and say why.
pub(super) async fn estimate(
    reader: &Reader,
    tables: Vec<(PointTable, TablePlan)>,
    is_staged: impl Fn(&ArchiveId) -> bool,
) -> Vec<TablePlan> {
    let objects: Vec<&Arc<ObjectMeta>> =
        tables.iter().flat_map(|(table, _)| table.archives.iter().map(|archive| &archive.object)).collect();
    let sizes: Vec<_> = objects.into_iter().map(|object| size(reader, object)).collect();
    let sizes: Vec<Size> = futures::stream::iter(sizes).buffered(PARALLEL).collect().await;
    let mut sizes = sizes.into_iter();
    let mut plans = Vec::with_capacity(tables.len());
    for (table, mut plan) in tables {
        let mut files: HashMap<(Arc<str>, u64, Option<u32>), u64> = HashMap::new();
        let mut bytes = 0;
        for (archive, size) in table.archives.iter().zip(&mut sizes) {
            let staged = matches!(size, Size::Listed(_)) && is_staged(&ArchiveId::of(&archive.object));
            plan.fetch_bytes += if staged { 0 } else { archive.object.size };
            match size {
                Size::Listed(archive) => {
                    for file in &archive.listing().files {
                        files.insert((Arc::clone(&file.path), file.size, file.crc32), file.size);
                    }
                }
                Size::Sum(sum) => {
                    bytes += sum;
                    plan.size_from = plan.size_from.max(SizeFrom::Files);
                }
                Size::Claimed(claimed) => {
                    bytes += claimed;
                    plan.size_from = plan.size_from.max(SizeFrom::GzipLengths);
                }
                Size::Guessed(guess) => {
                    bytes += guess;
                    plan.size_from = plan.size_from.max(SizeFrom::Guess);
                }
            }
        }
        plan.write_bytes = bytes + files.values().sum::<u64>();
        plans.push(plan);
    }
    plans
}

async fn size(reader: &Reader, object: &Arc<ObjectMeta>) -> Size {
    if let Some(known) = reader.known(object).await {
        return Size::Listed(known);
    }
    if object.is_bundle() {
        return Size::Sum(object.size);
    }
    if object.size >= WORTH_ASKING {
        match reader.claimed_size(object).await {
            Ok(Some(claimed)) => return Size::Claimed(claimed),
            Ok(None) => return Size::Guessed(object.size.saturating_mul(GUESS_OF_LARGE)),
            Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::NoKey | Kind::Changed) => {}
            Err(error) => tracing::warn!("{error}: its size is guessed"),
        }
    }
    Size::Guessed(object.size.saturating_mul(GUESS))
}
