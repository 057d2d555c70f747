//! Sets that a layout puts together itself from all that a host has.

use crate::Result;
use crate::cassandra::TableName;
use crate::catalog::completeness::SetEvidence;
use crate::catalog::host_sets::HostSets;
use crate::catalog::local::LocalTime;
use crate::catalog::manifest::ParsedManifest;
use crate::catalog::objects::Objects;
use crate::catalog::stray::Strays;
use crate::catalog::{Host, Tag};
use crate::store::ObjectMeta;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::HashSet;
use std::sync::Arc;

pub use crate::catalog::set::FoundTable;

/// A layout that looks at a host as a whole.
pub trait GatheredSets: Send + Sync {
    /// The sets that a host has now. Nothing at all for a host that is not there. Memory must not
    /// grow with the number of plain files.
    fn gather<'a>(&'a self, scan: HostScan<'a>) -> BoxFuture<'a, Result<Gathered>>;

    /// The sets of several directories that were named as one host (`--rename-host`), if they can
    /// be the disks of one node; `None` if they are hosts that followed each other, or the layout
    /// has no disks.
    fn gather_disks<'a>(&'a self, _scan: HostScan<'a>, _disks: &'a [Host]) -> BoxFuture<'a, Result<Option<Gathered>>> {
        futures::future::ready(Ok(None)).boxed()
    }
}

/// What a layout has to look at a host.
pub struct HostScan<'a> {
    pub objects: &'a dyn Objects,
    pub host: &'a Host,
    /// As it was found before, to spare reading what has not changed.
    pub known: Option<&'a HostSets>,
    /// Sets that were found so long after they were made that they need no other look now.
    pub(in crate::catalog) settled: HashSet<Tag>,
}

impl HostScan<'_> {
    /// Whether the set cannot have changed since it was last looked at, so that
    /// [`Gathered::settled`] may name it.
    pub fn is_settled(&self, tag: &str) -> bool {
        self.settled.contains(tag)
    }
}

/// The sets of a host.
#[derive(Debug, Default)]
pub struct Gathered {
    /// Each tag once, here or in `settled`.
    pub sets: Vec<FoundSet>,
    /// Sets that are still there and were not looked at, because nothing about them can have
    /// changed.
    pub settled: Vec<Tag>,
    /// What the keys of the host's archived commit logs start with.
    pub logs: Vec<String>,
    /// Keys of the host that belong to no set.
    pub strays: Strays,
}

impl Gathered {
    /// Takes in the sets of another part of the host; those whose tags are taken get `suffix`
    /// behind them.
    pub(super) fn add(&mut self, other: Self, suffix: &str) {
        let taken: HashSet<Tag> = self.sets.iter().map(|set| set.tag.clone()).collect();
        for mut set in other.sets {
            if taken.contains(&set.tag) {
                set.tag = Tag::new(format!("{}_{suffix}", set.tag));
            }
            self.sets.push(set);
        }
        self.strays.extend(&other.strays);
        self.logs.extend(other.logs);
    }
}

/// One set.
#[derive(Debug)]
pub struct FoundSet {
    pub tag: Tag,
    /// The tag as a reading of the host's clock, where it is one.
    pub local: Option<LocalTime>,
    /// Kind and time of the set, from what there is; `Ok(None)` when it did not finish, an error (a
    /// sentence for a person) when that cannot be told.
    pub manifest: Result<Option<ParsedManifest>, String>,
    /// Each table once; of a second one of the same name the later key is reported as a stray.
    pub tables: Vec<FoundTable>,
    /// Files of the set itself, under the names they are shown by.
    pub files: Vec<(Arc<str>, ObjectMeta)>,
    pub strays: Strays,
    /// What speaks against the set being whole, and cannot be told from the rest.
    pub evidence: Vec<SetEvidence>,
    /// The tables of its schema.cql ([`crate::catalog::tables_of`]), where the layout has read it.
    pub schema_tables: Option<Vec<TableName>>,
}
