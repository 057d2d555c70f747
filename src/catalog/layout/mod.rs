//! Layouts: how a backup tool names its objects. The tools are in [`tools`], one module each; what
//! they share is here. A new layout implements [`Layout`] and joins [`all`]. `docs/layouts.md` has
//! an example.

mod choice;
mod components;
mod copied;
mod files;
mod flushed;
mod gathered;
mod inner_snapshots;
mod listed;
pub(crate) mod logs;
mod manifest_stream;
mod names;
mod own_schema;
mod partial;
mod placed;
mod renamed;
mod sample;
mod snapshot;
mod snapshot_manifest;
mod snapshot_tree;
mod table_path;
#[cfg(test)]
mod tests;
mod tools;

pub use choice::LayoutChoice;
pub(super) use choice::SourceLayout;
pub(super) use copied::original_archive;
pub use gathered::{FoundSet, FoundTable, Gathered, GatheredSets, HostScan};
pub(crate) use names::is_safe_name;
pub(super) use names::may_be_archive;
pub use placed::{Part, PlacedSets, SetPlace, SetPlaces};
pub use renamed::Rename;
pub use tools::*;

use names::{directories, is_own, name_reason};

use super::Host;
use super::objects::Objects;
use super::stray::Strays;
use crate::store::{BundledFile, ObjectMeta};
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
    /// Directories beside them that have commit logs of each.
    pub log_directories: Vec<String>,
    pub strays: Strays,
    /// Directories that are called as copies of a host's: that host, the name as it is, and what
    /// keys below it start with.
    copies: Vec<(Host, Host, String)>,
}

/// How a layout's sets are found.
pub enum Sets<'a> {
    /// Each set has a prefix of its own. The catalog lists those anew that may have changed.
    Placed(&'a dyn PlacedSets),
    /// A set's objects lie scattered, or something in the bucket says which they are: the layout
    /// looks at the host as a whole.
    Gathered(&'a dyn GatheredSets),
}

/// One backup tool's way of naming objects. No key may break a listing: what fits nothing is a
/// stray.
pub trait Layout: Debug + Send + Sync + 'static {
    /// Its name in `--layout` and in reports.
    fn name(&self) -> &'static str;

    /// Whether an object of this key is one that this tool wrote: something that makes up a backup,
    /// such as an archive or an SSTable's component. Layouts are told apart by this.
    fn recognises(&self, key: &str) -> bool;

    /// The hosts that the source has. Must cost a listing or a few.
    fn hosts<'a>(&'a self, objects: &'a dyn Objects) -> BoxFuture<'a, Result<Hosts>>;

    /// How their sets are found.
    fn sets(&self) -> Sets<'_>;

    /// What a bundle that this layout made is made of: all that lies below its key, where the
    /// layout does not say otherwise.
    fn bundle<'a>(
        &'a self,
        objects: &'a dyn Objects,
        bundle: &'a ObjectMeta,
    ) -> BoxFuture<'a, Result<Vec<BundledFile>>> {
        if let Sets::Gathered(_) = self.sets() {
            return files::files_below(objects, &bundle.key).boxed();
        }
        let error = Error::invalid(format!("the layout {} has no plain files", self.name())).with_object(&bundle.key);
        futures::future::ready(Err(error)).boxed()
    }
}

/// The layout of that name.
pub fn named(name: &str) -> Option<Arc<dyn Layout>> {
    all().into_iter().find(|layout| layout.name() == name)
}
