//! Layouts: how a backup tool names its objects. One file each; a new layout implements [`Layout`] and joins [`all`]. `docs/layouts.md` has an
//! example.

mod cass_ops;
mod choice;
mod data_dir;
mod esop;
mod flushed;
mod gathered;
mod listed;
mod logs;
mod medusa;
mod mesos;
mod placed;
mod renamed;
mod rsync;
mod sample;
mod scripts;
mod snapshot;
mod snapshot_tree;
mod table_path;
#[cfg(test)]
mod tests;

pub use cass_ops::CassOps;
pub(super) use choice::Chosen;
pub use choice::LayoutChoice;
pub use data_dir::DataDir;
pub use esop::Esop;
pub use gathered::{FoundSet, FoundTable, Gathered, GatheredSets, HostScan};
pub use medusa::Medusa;
pub use mesos::Mesos;
pub use placed::{Part, PlacedSets, SetPlace, SetPlaces};
pub use renamed::Rename;
pub use rsync::Rsync;
pub use scripts::Scripts;

use super::Host;
use super::objects::Objects;
use super::stray::{StrayReason, Strays};
use crate::store::{BundledFile, OWN_PREFIX, ObjectMeta};
use crate::{Error, Result};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::fmt::Debug;
use std::sync::Arc;

/// The hosts of a source.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Hosts {
    /// Sorted.
    pub hosts: Vec<Host>,
    pub strays: Strays,
}

/// How a layout's sets are found.
pub enum Sets<'a> {
    /// Each set has a prefix of its own. The catalog lists those anew that may have changed.
    Placed(&'a dyn PlacedSets),
    /// A set's objects lie scattered, or something in the bucket says which they are: the layout looks at the host as a whole.
    Gathered(&'a dyn GatheredSets),
}

/// One backup tool's way of naming objects. No key may break a listing: what fits nothing is a stray.
pub trait Layout: Debug + Send + Sync + 'static {
    /// Its name in `--layout` and in reports.
    fn name(&self) -> &'static str;

    /// Whether an object of this key is one that this tool wrote: something that makes up a backup, such as an archive or an SSTable's component.
    /// Layouts are told apart by this.
    fn recognises(&self, key: &str) -> bool;

    /// The hosts that the source has. Must cost a listing or a few.
    fn hosts<'a>(&'a self, objects: &'a dyn Objects) -> BoxFuture<'a, Result<Hosts>>;

    /// How their sets are found.
    fn sets(&self) -> Sets<'_>;

    /// What a bundle that this layout made is made of.
    fn bundle<'a>(
        &'a self,
        _objects: &'a dyn Objects,
        bundle: &'a ObjectMeta,
    ) -> BoxFuture<'a, Result<Vec<BundledFile>>> {
        let error = Error::invalid(format!("the layout {} has no plain files", self.name())).with_object(&bundle.key);
        futures::future::ready(Err(error)).boxed()
    }
}

/// Every layout that is known.
pub fn all() -> Vec<Arc<dyn Layout>> {
    vec![
        Arc::new(CassOps),
        Arc::new(DataDir),
        Arc::new(Rsync),
        Arc::new(Mesos),
        Arc::new(Scripts),
        Arc::<Medusa>::default(),
        Arc::<Esop>::default(),
    ]
}

/// The layout of that name.
pub fn named(name: &str) -> Option<Arc<dyn Layout>> {
    all().into_iter().find(|layout| layout.name() == name)
}

/// Whether a name at the top of a source is that of what cassmount itself keeps there.
fn is_own(name: &str) -> bool {
    Some(name) == OWN_PREFIX.strip_suffix('/')
}

/// Whether a host's name, as a directory name, can do no harm: no path, no control bytes, no hidden file.
pub(crate) fn is_safe_name(name: &str) -> bool {
    (1..=255).contains(&name.len())
        && !name.starts_with('.')
        && !name.contains('/')
        && !name.chars().any(char::is_control)
}

/// Why a name is not used: the bytes in it, or `otherwise`.
fn name_reason(name: &str, otherwise: StrayReason) -> StrayReason {
    if name.chars().any(char::is_control) { StrayReason::Hostile } else { otherwise }
}
