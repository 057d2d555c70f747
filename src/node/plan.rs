//! What a node of the past is made of: found and checked in the mount before anything is written.

use super::compatibility;
use super::installation::Version;
use super::logs::{self, LogRequest, Origins, Replay};
use super::shown::{Shown, check_selection, datacenter, statements};
use super::stopper::Stopper;
use crate::cassandra::schema::{Keyspace, Schema, is_system_keyspace, system_table_id};
use crate::cassandra::{TableId, TableName};
use crate::restore::{self, BackupHost, BackupTable, Origin, Point, Selection, Sstable};
use crate::{Error, Kind, Result};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub(super) const SCHEMA: &str = "system_schema";
const ROLES: &str = "system_auth";
/// Tables of system_schema whose rows have Cassandra read base tables as it starts, to build what
/// they describe.
const BUILT: [&str; 3] = ["indexes", "views", "triggers"];

/// What Cassandra keeps of each SSTable in memory outside of its heap.
const NATIVE: [&str; 3] = ["CompressionInfo.db", "Filter.db", "Summary.db"];

/// Which past, and how much of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PointRequest {
    /// A set's name, `latest`, or any time.
    pub at: String,
    /// Whose backups; none for all hosts.
    pub hosts: Vec<String>,
    pub selection: Selection,
    pub logs: LogRequest,
    /// Take a restore point that lacks something, and tables that cannot be read whole.
    pub allow_incomplete: bool,
    pub with_indexes: bool,
    pub with_roles: bool,
}

/// A table of one host that is not shown, or not all of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Skipped {
    pub table: String,
    pub host: String,
    pub why: String,
    #[serde(skip)]
    pub cause: SkipCause,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SkipCause {
    /// Its backup cannot be read.
    Unreadable,
    /// Cassandra does not open it.
    Refused,
}

/// What a node has of a table.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Contents {
    pub sstables: u64,
    /// Of these, in the backup.
    pub bytes: u64,
    /// Of these, what Cassandra keeps in memory beside its heap.
    pub(super) native_bytes: u64,
    /// Its directories, as `<keyspace>/<table>-<id>`.
    pub(super) places: BTreeSet<String>,
}

/// All that is put into the node's data directory, and what is said of it.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Plan {
    pub(super) points: Vec<Origin>,
    pub(super) copies: Vec<Placed>,
    pub(super) links: Vec<Placed>,
    pub(super) replay: Option<Replay>,
    pub(super) skipped: Vec<Skipped>,
    pub(super) lacks: Vec<String>,
    pub(super) notes: Vec<String>,
    pub(super) datacenter: String,
    /// Has the node answer for all that it shows, and for nothing else: CQL to run once it is up.
    pub(super) statements: Vec<String>,
}

/// A directory of the backup, and where its SSTables go below the data directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Placed {
    pub(super) table: TableName,
    /// `<keyspace>/<table>-<id>`.
    pub(super) place: String,
    pub(super) from: PathBuf,
    pub(super) sstables: Vec<Sstable>,
}

impl Contents {
    pub(super) const NONE: Self = Self { sstables: 0, bytes: 0, native_bytes: 0, places: BTreeSet::new() };
}

impl Plan {
    /// Tables that have rows, or could have.
    pub(super) fn tables(&self) -> BTreeSet<&TableName> {
        self.links.iter().map(|placed| &placed.table).collect()
    }

    /// What is linked, table by table.
    pub(super) fn contents(&self) -> BTreeMap<TableName, Contents> {
        let mut contents: BTreeMap<TableName, Contents> = BTreeMap::new();
        for placed in &self.links {
            let of = contents.entry(placed.table.clone()).or_default();
            of.sstables += placed.sstables.len() as u64;
            for (component, bytes) in placed.sstables.iter().flat_map(|sstable| &sstable.components) {
                of.bytes += bytes;
                of.native_bytes += if NATIVE.contains(&&**component) { *bytes } else { 0 };
            }
            of.places.insert(placed.place.clone());
        }
        contents
    }

    pub(super) fn needs_newest_formats(&self) -> bool {
        let all = self.copies.iter().chain(&self.links).flat_map(|placed| &placed.sstables);
        all.into_iter().any(|sstable| compatibility::is_new(&sstable.name))
            || self.replay.as_ref().is_some_and(Replay::needs_newest_formats)
    }
}

/// Finds what is to be shown, and checks it. `of_moment`: where the node itself has the schema
/// already, as the commit logs brought it there.
///
/// # Errors
/// `Kind::Incomplete` where the points lack something and that is not allowed; what cannot be read;
/// what the installed Cassandra does not open.
pub(super) fn prepare(
    mountpoint: &Path,
    request: &PointRequest,
    installed: &Version,
    stopper: &Stopper,
    tell: &(dyn Fn(&str) + Sync),
    of_moment: Option<&Path>,
) -> Result<Plan> {
    let mut plan = Plan::default();
    let chosen = points(&restore::hosts(mountpoint)?, request, &mut plan.notes)?;
    restore::one_cluster(&chosen)?;
    plan.points =
        chosen.iter().map(|(_, point)| Origin { host: point.host.clone(), point: point.tag.clone() }).collect();
    plan.lacks = lacks(&chosen, request)?;

    let (mut described, mut of) = schema_tables(&chosen)?;
    for table in &described {
        if &*table.name.table == "tables" {
            compatibility::check_schema(installed, &table.directory)?;
        }
    }
    let directories: Vec<PathBuf> = described.iter().map(|table| table.directory.clone()).collect();
    let no_schema = || Error::corrupt(format!("{SCHEMA} of {of} has no tables or columns"));
    let mut schema = restore::read_schema(&directories)?.ok_or_else(no_schema)?;
    if let Some(of_moment) = of_moment {
        let old = schema;
        schema = restore::read_schema(&subdirectories(of_moment)?)?.ok_or_else(no_schema)?;
        if !request.with_indexes {
            // The node was not told of its views.
            for keyspace in &mut schema.keyspaces {
                keyspace.views = old.keyspace(&keyspace.name).map(|of| of.views.clone()).unwrap_or_default();
            }
        }
        described.clear();
        of.point.clone_from(&request.at);
    }
    check_selection(&schema, &request.selection, &of)?;

    replay((&chosen, &schema, &of), of_moment.is_some(), request, installed, stopper, tell, &mut plan)?;

    let mut wanted = Vec::new();
    for table in described {
        if request.with_indexes || !BUILT.contains(&&*table.name.table) {
            let place = place(&table, system_table_id(&table.name));
            wanted.push((table, place, Use::Copy));
        }
    }
    for (_, point) in &chosen {
        for table in point.tables(None)? {
            wanted.extend(choose(table, &schema, &of, request, &mut plan));
        }
    }
    read(wanted, installed, stopper, tell, request, &mut plan)?;
    plan.datacenter = datacenter(&schema);
    let read: BTreeSet<String> = plan.tables().iter().map(ToString::to_string).collect();
    let lost = plan.skipped.iter().map(|skipped| &*skipped.table).filter(|table| !read.contains(*table));
    let shown = Shown {
        selection: &request.selection,
        with_indexes: request.with_indexes,
        datacenter: &plan.datacenter,
        lost: lost.collect(),
    };
    plan.statements = statements(&schema, &shown);
    Ok(plan)
}

/// Each host with its point at the time that was asked for.
fn points(hosts: &[BackupHost], request: &PointRequest, notes: &mut Vec<String>) -> Result<Vec<(BackupHost, Point)>> {
    for name in &request.hosts {
        if !hosts.iter().any(|host| host.name == *name) {
            let there: Vec<&str> = hosts.iter().map(|host| &*host.name).collect();
            return Err(Error::not_found(format!(
                "there are no backups of a host {name:?}; there are of {}",
                there.join(", ")
            )));
        }
    }
    let (mut found, mut absent) = (Vec::new(), None);
    for host in hosts.iter().filter(|host| request.hosts.is_empty() || request.hosts.contains(&host.name)) {
        match host.point(&request.at) {
            Ok(point) => found.push((host.clone(), point)),
            Err(error) if error.kind() == Kind::NotFound && request.hosts.is_empty() => {
                notes.push(format!("{error}: its rows are not shown"));
                absent.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    match absent {
        Some(error) if found.is_empty() => Err(error),
        _ if found.is_empty() => Err(Error::not_found("there is no host with restore points")),
        _ => Ok(found),
    }
}

/// Finds the commit logs that lead from the points to the moment that was asked for.
fn replay(
    (chosen, schema, of): (&[(BackupHost, Point)], &Schema, &Origin),
    is_current: bool,
    request: &PointRequest,
    installed: &Version,
    stopper: &Stopper,
    tell: &(dyn Fn(&str) + Sync),
    plan: &mut Plan,
) -> Result<()> {
    let origins = Origins {
        request: &request.logs,
        selection: &request.selection,
        with_indexes: request.with_indexes,
        at: &request.at,
        chosen,
        schema,
        of,
        is_current,
        installed: installed.release(),
    };
    plan.notes.extend(logs::unused(&origins)?);
    let unassigned = logs::unassigned(&origins);
    let prepared = logs::prepare(&origins, stopper, tell)?;
    let (mut replay, mut lacks) = prepared.map_or((None, Vec::new()), |(replay, lacks)| (Some(replay), lacks));
    lacks.extend(unassigned);
    if !lacks.is_empty() && !request.allow_incomplete {
        let message = format!(
            "the commit logs do not lead to {}:\n  {}\n--without-logs shows the restore points alone; --allow-incomplete takes the logs all the same",
            request.at,
            lacks.join("\n  ")
        );
        return Err(Error::new(Kind::Incomplete, message));
    }
    if let Some(replay) = &mut replay {
        replay.takes_damage = !lacks.is_empty();
        plan.notes.append(&mut replay.notes);
    }
    plan.lacks.extend(lacks);
    plan.replay = replay;
    Ok(())
}

fn subdirectories(directory: &Path) -> Result<Vec<PathBuf>> {
    let failed = |e| Error::io(format_args!("read {}", directory.display()), e);
    let entries = std::fs::read_dir(directory).map_err(failed)?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed)).collect()
}

fn lacks(chosen: &[(BackupHost, Point)], request: &PointRequest) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for (_, point) in chosen {
        let (lacks, instead) = point.lacks(&request.selection)?;
        if !lacks.is_empty() && !request.allow_incomplete {
            return Err(Error::new(Kind::Incomplete, point.is_incomplete(&lacks, &instead)));
        }
        all.extend(lacks);
    }
    Ok(all)
}

/// The tables that describe tables, of the newest point that has them.
fn schema_tables(chosen: &[(BackupHost, Point)]) -> Result<(Vec<BackupTable>, Origin)> {
    let mut newest = None;
    for (_, point) in chosen {
        let tables = point.tables(Some(SCHEMA))?;
        let time = point.time()?;
        if !tables.is_empty() && newest.as_ref().is_none_or(|(_, _, of)| time > *of) {
            let origin = Origin { host: point.host.clone(), point: point.tag.clone() };
            newest = Some((tables, origin, time));
        }
    }
    newest.map(|(tables, origin, _)| (tables, origin)).ok_or_else(|| {
        let message = format!(
            "the restore points have no keyspace {SCHEMA}, so what their tables were like is not known: `cassmount extract` and sstableloader restore them under a schema that you create"
        );
        Error::new(Kind::Unsupported, message)
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Copy,
    Link,
}

/// Whether a table of a host is shown, and where it goes.
fn choose(
    table: BackupTable,
    schema: &Schema,
    of: &Origin,
    request: &PointRequest,
    plan: &mut Plan,
) -> Option<(BackupTable, String, Use)> {
    let name = &table.name;
    if is_system_keyspace(&name.keyspace) {
        let place = place(&table, system_table_id(name));
        return (request.with_roles && &*name.keyspace == ROLES).then_some((table, place, Use::Link));
    }
    if !request.selection.has(&name.to_string()) {
        return None;
    }
    let keyspace = schema.keyspace(&name.keyspace);
    if keyspace.is_some_and(|of| is_view(of, &name.table)) && !request.with_indexes {
        return None;
    }
    // Of hosts whose points lie on two sides of a DROP, the newer one is right.
    let Some(known) = keyspace.and_then(|of| of.table(&name.table)) else {
        plan.notes.push(format!("{name} of {} is not shown: {of} does not have it any more", table.host));
        return None;
    };
    let place = place(&table, Some(known.id));
    if table.id().is_some_and(|id| id != known.id) {
        plan.notes.push(format!("{name} of {} is not shown: at {of} it had been created anew", table.host));
        return None;
    }
    Some((table, place, Use::Link))
}

fn is_view(keyspace: &Keyspace, name: &str) -> bool {
    keyspace.views.iter().any(|view| view.table.name == name)
}

fn place(table: &BackupTable, id: Option<TableId>) -> String {
    format!("{}/{}", table.name.keyspace, table.name.directory(table.id().or(id)))
}

/// Reads the directories, several at a time, and checks each SSTable's version.
fn read(
    wanted: Vec<(BackupTable, String, Use)>,
    installed: &Version,
    stopper: &Stopper,
    tell: &(dyn Fn(&str) + Sync),
    request: &PointRequest,
    plan: &mut Plan,
) -> Result<()> {
    let read =
        restore::read_tables(&wanted, tell, |(table, ..)| stopper.check().and_then(|()| sstables(table, installed)));
    stopper.check()?;
    for ((table, place, how), read) in wanted.into_iter().zip(read) {
        match read {
            Ok(sstables) => {
                let placed = Placed { table: table.name, place, from: table.directory, sstables };
                if how == Use::Copy { plan.copies.push(placed) } else { plan.links.push(placed) }
            }
            // No installation opens it, or this one does not: nothing else will.
            Err(error) if error.kind() == Kind::Unsupported || how == Use::Copy => return Err(error),
            Err(error) if request.allow_incomplete => {
                let (table, host) = (table.name.to_string(), table.host);
                let why = error.to_string();
                plan.skipped.push(Skipped { table, host, why, cause: SkipCause::Unreadable });
            }
            Err(error) => {
                let message = format!(
                    "{} of {} cannot be read: {error}; --allow-incomplete goes on without",
                    table.name, table.host
                );
                return Err(Error::new(Kind::Incomplete, message));
            }
        }
    }
    Ok(())
}

fn sstables(table: &BackupTable, installed: &Version) -> Result<Vec<Sstable>> {
    let sstables = table.sstables()?;
    for sstable in &sstables {
        compatibility::check(installed, &sstable.name)
            .map_err(|error| Error::new(error.kind(), format!("{} of {}: {error}", table.name, table.host)))?;
    }
    Ok(sstables)
}
