//! What may be chosen about reading.

use crate::archive::compression::Spacing;
use crate::archive::parameters::EnvelopeOptions;
use crate::store::Bundles;
use std::sync::Arc;
use std::time::Duration;

/// Limits of a [`super::Reader`].
#[derive(Clone, Debug)]
pub struct ReaderOptions {
    /// How long a pass may go without any progress.
    pub timeout: Duration,
    /// How long one operation waits for a pass at most. The pass goes on; the next read joins it.
    pub wait_limit: Duration,
    /// Bytes of memory for what is being fetched, inflated and kept ready, in all.
    pub memory_limit: u64,
    /// Passes at a time; the next one waits for its turn.
    pub max_passes: usize,
    /// Threads that inflate ahead of each pass; `None`: the cores that no pass needs.
    pub helpers: Option<usize>,
    /// Whether a pass lands the archive's files in the cache, or only indexes them.
    pub land_files: bool,
    /// Small files of an archive that have a cache file each; those beyond stay together where they
    /// lie in a row.
    pub single_files: usize,
    /// How far apart the checkpoints of new indexes are; `None` follows from the object's size.
    pub spacing: Option<Spacing>,
    /// Plain bytes between the save points of a pass; `None` is what `archive::index` has.
    pub save_every: Option<u64>,
    /// How archives were encrypted, as far as somebody knows.
    pub envelope: EnvelopeOptions,
    /// Whether an archive that is not encrypted is read although keys were given and those beside
    /// it are.
    pub allow_plaintext: bool,
    /// Whether archives hold whole trees: then paths stay as the archive has them, and all of its
    /// files count.
    pub whole_trees: bool,
    /// Who knows what bundles are made of; `None`: there are none.
    pub bundles: Option<Arc<dyn Bundles>>,
}

impl Default for ReaderOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_mins(1),
            wait_limit: Duration::from_mins(30),
            memory_limit: 96 << 20,
            max_passes: 4,
            helpers: None,
            land_files: true,
            single_files: 16 << 10,
            spacing: None,
            save_every: None,
            envelope: EnvelopeOptions::default(),
            allow_plaintext: false,
            whole_trees: false,
            bundles: None,
        }
    }
}
