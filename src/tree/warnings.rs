//! What somebody who looks after a mount should know of the tree that it shows.

use super::backup::BackupTree;
use super::damage::Damage;
use super::files::PointArchive;
use super::guesses::{NAMED, some_tables};
use super::model::HostModel;
use crate::cassandra::TableName;
use crate::cassandra::schema::Shapes;
use crate::catalog::cluster::{Meant, MixedRuns};
use crate::catalog::{Depth, Host, TableArchive, Tag};
use crate::time::Timestamp;
use crate::{Error, Result};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What the restore points of a host that was looked at come to. Points that stand apart are not
/// counted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct HostJudgement {
    pub host: Host,
    pub restore_points: usize,
    pub incomplete: usize,
    pub newest: Option<Tag>,
    /// The newest that lacks nothing.
    pub newest_whole: Option<Tag>,
    /// When its set was finished, seconds since 1970.
    pub newest_whole_timestamp: Option<i64>,
}

impl HostJudgement {
    fn of(host: Host, model: &HostModel) -> Self {
        let points = || model.points().iter().enumerate().rev().filter(|(_, point)| !point.is_apart());
        let whole = points().filter(|(at, _)| model.lacks(*at).is_empty()).map(|(_, point)| point);
        let incomplete = points().count() - whole.clone().count();
        let newest_whole = whole.clone().next();
        Self {
            host,
            restore_points: points().count(),
            incomplete,
            newest: points().next().map(|(_, point)| point.tag().clone()),
            newest_whole: newest_whole.map(|point| point.tag().clone()),
            newest_whole_timestamp: newest_whole.map(|point| seconds(point.time())),
        }
    }
}

fn seconds(time: Timestamp) -> i64 {
    time.0.div_euclid(1_000_000)
}

impl BackupTree {
    /// Of the hosts that were looked at so far: how many of their restore points lack something. No
    /// I/O.
    pub fn judgements(&self) -> Vec<HostJudgement> {
        let hosts = self.built_hosts().into_iter();
        hosts.map(|(host, (model, _))| HostJudgement::of(host, &model)).collect()
    }

    /// Of the hosts that were looked at so far: tables of which nothing tells the incarnation, and
    /// outages on account of which ids may be missing. No I/O.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        // Hosts of one cluster say the same.
        let mixed: BTreeSet<String> = self
            .built_hosts()
            .values()
            .filter_map(|(model, _)| self.mixed_run(model))
            .map(|mixed| mixed.to_string())
            .collect();
        warnings.extend(mixed);
        for (host, (model, outage)) in self.built_hosts() {
            warnings.extend(unidentified(&host, &model));
            warnings.extend(model.guesses());
            warnings.extend(incomplete(&host, &model));
            warnings.extend(outage.map(|outage| format!("table ids of {host} may be missing: {outage}")));
        }
        warnings
    }
}

impl BackupTree {
    /// What this tree's time means on the hosts of that one's cluster, where it is not one run. No
    /// I/O.
    pub(super) fn mixed_run(&self, model: &HostModel) -> Option<MixedRuns> {
        let (at, meant) = self.time();
        // It was read before, when the tree was made.
        model.from.sets.mixed_runs(at, meant).ok().flatten()
    }

    /// Whether what a time means on the hosts is of one run: for each cluster where it is not, how
    /// they differ. `hosts`: those that are meant; none: those that were looked at, or the first.
    pub async fn mixed_runs(&self, hosts: &[Host], at: &str, meant: Meant) -> Result<Vec<MixedRuns>> {
        let (at, meant) = if at == "latest" { self.time() } else { (at, meant) };
        let mut asked: Vec<Host> = hosts.to_vec();
        if asked.is_empty() {
            asked.extend(self.built_hosts().into_keys());
        }
        if asked.is_empty() {
            asked.extend(self.source.hosts().await?.into_iter().take(1));
        }
        let mut judged = Vec::new();
        for host in &asked {
            judged.push(self.source.host(host).await?);
        }
        // The name of a set is meant where there is a set of that name.
        if judged.iter().any(|sets| sets.set(at).is_some()) {
            judged.retain(|sets| sets.set(at).is_some());
        }
        let mut found: BTreeMap<Arc<str>, MixedRuns> = BTreeMap::new();
        for sets in judged {
            if let Some(mixed) = sets.mixed_runs(at, meant)? {
                found.entry(Arc::clone(&mixed.cluster)).or_insert(mixed);
            }
        }
        Ok(found.into_values().collect())
    }
}

impl BackupTree {
    /// Notes that somebody could not read an archive of a table.
    pub fn note_unreadable(&self, host: &Host, table: &TableName, archive: &PointArchive, error: &Error) {
        let of_table = TableArchive { table: table.clone(), object: Arc::clone(&archive.object) };
        self.state(host).damage.note_unreadable(&archive.set, &of_table, error);
    }

    /// What SSTables of each table may be like, as far as a restore point's sets tell.
    pub async fn shapes(&self, host: &Host, point: &Tag) -> Result<Shapes> {
        let (model, index) = self.point(host, point).await?;
        let history = &self.state(host).history;
        let knowledge = history.learn_point(&model.from.sets, &model.points()[index], Depth::Schema).await?;
        Ok(knowledge.shapes())
    }

    /// Notes that an SSTable in an archive of a table is of another.
    pub fn note_of_another(&self, host: &Host, table: &TableName, archive: &PointArchive, sstable: &str, why: &str) {
        let of_table = TableArchive { table: table.clone(), object: Arc::clone(&archive.object) };
        self.state(host).damage.note_of_another(&archive.set, &of_table, sstable, why);
    }

    /// What archives of each host that was looked at were found not to give out. No I/O.
    pub fn all_damages(&self) -> Vec<(Host, Vec<Damage>)> {
        self.built_hosts().into_keys().map(|host| (host.clone(), self.damages(&host))).collect()
    }

    /// What archives of the host were found not to give out.
    pub fn damages(&self, host: &Host) -> Vec<Damage> {
        self.state(host).damage.lasting()
    }
}

/// What the newest restore point lacks, sets that are in none, and data beside all sets. What older points lack,
/// `cassmount list` and their directories tell.
fn incomplete(host: &Host, model: &HostModel) -> Vec<String> {
    let newest = (0..model.points().len()).rev().find(|at| !model.points()[*at].is_apart());
    let lacks = newest.map(|at| model.lacks(at)).unwrap_or_default();
    let tag = newest.map(|at| model.points()[at].tag().to_string()).unwrap_or_default();
    let mut warnings: Vec<String> =
        lacks.iter().take(NAMED).map(|lack| format!("{host}: {tag} is incomplete: {lack}; {}", lack.reach())).collect();
    if lacks.len() > NAMED {
        warnings.push(format!("{host}: {tag} lacks {} more things: see its INCOMPLETE.txt", lacks.len() - NAMED));
    }
    let completeness = &model.from.sets.completeness;
    let outside = completeness.outside().iter().rev().take(NAMED);
    let outside = outside.chain(completeness.beside().iter().take(NAMED));
    warnings.extend(outside.map(|lack| format!("{host}: {lack}; {}", lack.reach())));
    warnings.extend(
        completeness
            .unasked()
            .iter()
            .map(|(peer, why)| format!("{host}: whether it lacks sets that {peer} has is not known: {why}")),
    );
    warnings
}

fn unidentified(host: &Host, model: &HostModel) -> Option<String> {
    some_tables(model.unidentified()).map(|tables| {
        format!(
            "{host}: no evidence gives the id of {tables}: shown under the bare name, and files of a table that was dropped and made again may be among them; \
             `cassmount chain` tells what is known"
        )
    })
}
