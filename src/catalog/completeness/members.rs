//! The other hosts of a source, and which of them are of a host's cluster.

use crate::cassandra::schema::is_system_keyspace;
use crate::cassandra::{TableId, TableName};
use crate::catalog::local::{LocalTime, local_time};
use crate::catalog::print::Print;
use crate::catalog::set::BackupSet;
use crate::catalog::{Host, Tag};
use crate::time::Timestamp;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// When another host of the source made sets, as its tags tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::catalog) struct PeerRuns {
    pub(in crate::catalog) host: Host,
    /// `None` where nothing tells, so that nothing can be concluded.
    pub(in crate::catalog) cluster: Option<Arc<str>>,
    pub(in crate::catalog) starts: Vec<(LocalTime, Tag)>,
    /// The node's, as one of its manifests has it.
    pub(in crate::catalog) address: Option<Arc<str>>,
    /// One of its fulls, and the tables of Cassandra's own that it has; `None` where none was looked
    /// into.
    pub(in crate::catalog) full: Option<(Tag, Arc<[TableName]>)>,
    /// Ids of tables of users, as far as names give them.
    pub(in crate::catalog) ids: Arc<HashSet<TableId>>,
    /// Whether `starts` are of fulls only.
    pub(in crate::catalog) is_of_fulls: bool,
    /// What tells its fulls from those of other hosts.
    pub(in crate::catalog) prints: Vec<(Print, Tag)>,
    /// When it was listed.
    pub(in crate::catalog) listed: Timestamp,
}

impl PeerRuns {
    /// When it made sets, by time.
    pub(super) fn times(&self) -> Vec<(i64, &Tag)> {
        let mut times: Vec<(i64, &Tag)> = self.starts.iter().map(|(time, tag)| (time.0, tag)).collect();
        times.sort_unstable();
        times
    }

    /// Only what tells whether its fulls are another host's.
    pub(in crate::catalog) fn of_prints(self) -> Self {
        let (cluster, starts, address, full, ids) = (None, Vec::new(), None, None, Arc::default());
        Self { cluster, starts, address, full, ids, ..self }
    }
}

/// What was read of fulls to tell them from other hosts'.
pub(in crate::catalog) type Read = HashMap<Tag, blake3::Hash>;

/// What tells that hosts are of one cluster: its name, or, where none gives it, that they have a
/// table of one id, which no two clusters have.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::catalog) struct Membership {
    pub(in crate::catalog) cluster: Option<Arc<str>>,
    pub(in crate::catalog) ids: Arc<HashSet<TableId>>,
}

impl Membership {
    pub(in crate::catalog) fn of(sets: &[Arc<BackupSet>]) -> Self {
        let ids = |set: &Arc<BackupSet>| -> HashSet<TableId> {
            let of_users = set.named_ids().filter(|(table, _)| !is_system_keyspace(&table.keyspace));
            // Ids of other versions are made of names.
            of_users.map(|(_, id)| id).filter(|id| id.created_at().is_some()).collect()
        };
        let newest = sets.iter().rev().filter(|set| set.is_finished()).map(ids).find(|ids| !ids.is_empty());
        Self { cluster: cluster(sets).map(Arc::from), ids: Arc::new(newest.unwrap_or_default()) }
    }

    /// Whether anything tells of which cluster it is.
    pub(in crate::catalog) fn is_known(&self) -> bool {
        self.cluster.is_some() || !self.ids.is_empty()
    }

    pub(in crate::catalog) fn has(&self, peer: &PeerRuns) -> bool {
        match (&self.cluster, &peer.cluster) {
            (Some(own), Some(other)) => own == other,
            _ => self.ids.iter().any(|id| peer.ids.contains(id)),
        }
    }
}

/// When the other hosts of a source made sets.
#[derive(Clone, PartialEq, Debug, Default)]
pub(in crate::catalog) struct Peers {
    pub(in crate::catalog) runs: Vec<Arc<PeerRuns>>,
    /// What was read of this host's fulls to tell them from others.
    pub(in crate::catalog) read: Arc<Read>,
    /// Hosts that could not be asked, and why.
    pub(in crate::catalog) unasked: Vec<(Host, Arc<str>)>,
}

/// When the host made the set, by its clock, as the set's name tells, whatever is before the date.
pub(in crate::catalog) fn made_at(set: &BackupSet) -> Option<LocalTime> {
    let bare = set.tag.0.trim_start_matches(|c: char| !c.is_ascii_digit());
    set.local_tag().or_else(|| local_time(bare))
}

/// The cluster that the newest manifest with a name gives.
pub(in crate::catalog) fn cluster(sets: &[Arc<BackupSet>]) -> Option<&str> {
    sets.iter().rev().find_map(|set| set.manifest.good()?.cluster.as_deref())
}
