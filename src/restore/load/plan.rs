//! Which table of which host is loaded, and what speaks against it.

use super::super::check::backup::{self, BackupHost, BackupTable, Point};
use super::super::check::schema;
use super::super::check::whole_cluster;
use super::super::request::{Selection, refuse};
use super::super::sstables::Sstable;
use super::definitions::{self, Definitions};
use super::subset::{self, RingHost};
use super::{Load, LoadOutcome, LoadRequest, LoadedTable};
use crate::cassandra::TableName;
use crate::cassandra::schema::{Keyspace, Schema, is_system_keyspace};
use crate::{Error, Kind, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Beginnings of the names of components that belong to an index attached to SSTables: SAI, and the
/// older SASI.
const ATTACHED: [&str; 2] = ["SAI", "SI_"];

/// All that is to be done.
#[derive(Debug)]
pub struct LoadPlan {
    pub jobs: Vec<LoadJob>,
    pub notes: Vec<String>,
    pub lacks: Vec<String>,
    pub(super) create: Definitions,
}

/// The SSTables of one table of one host.
#[derive(Debug)]
pub struct LoadJob {
    pub table: TableName,
    pub host: String,
    pub point: String,
    /// In the mount.
    pub directory: PathBuf,
    pub(super) sstables: Vec<Sstable>,
}

impl LoadPlan {
    /// Bytes of all SSTables.
    pub fn bytes(&self) -> u64 {
        self.jobs.iter().map(LoadJob::bytes).sum()
    }

    pub(super) fn created(&self) -> Vec<TableName> {
        self.create.tables().to_vec()
    }
}

impl LoadJob {
    fn bytes(&self) -> u64 {
        self.sstables.iter().flat_map(|sstable| sstable.components.values()).sum()
    }

    /// What may be behind a failure, beside what the loader says.
    pub(super) fn hint(&self) -> &'static str {
        if self.sstables.iter().any(|sstable| sstable.components.keys().any(|component| is_attached(component))) {
            "; if the table has a storage-attached index (SAI) in the cluster, which sstableloader cannot load into: \
             DROP INDEX, load, and CREATE INDEX again"
        } else {
            ""
        }
    }

    /// What is loaded: differs when the backup does.
    pub(super) fn identity(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for word in [&*self.table.to_string(), &self.host, &self.point] {
            hasher.update(word.as_bytes()).update(b"\0");
        }
        for sstable in &self.sstables {
            for (component, size) in &sstable.components {
                hasher.update(format!("{}-{component} {size}\0", sstable.name).as_bytes());
            }
        }
        hasher.finalize().to_hex().to_string()
    }

    pub(super) fn report(&self, outcome: LoadOutcome, error: Option<String>) -> LoadedTable {
        LoadedTable {
            table: self.table.clone(),
            host: self.host.clone(),
            point: self.point.clone(),
            outcome,
            sstables: self.sstables.len(),
            bytes: self.bytes(),
            error,
        }
    }
}

/// Finds all jobs, table by table, and checks them.
pub(super) fn plan(load: &Load, request: &LoadRequest) -> Result<LoadPlan> {
    let (points, mut lacks) = points(load, request)?;
    for point in &points {
        let (of_point, instead) = point.lacks(&request.selection)?;
        let of_point = of_point.into_iter().map(|lack| format!("{} of {}: {lack}", point.tag, point.host));
        lacks.extend(of_point);
        if !lacks.is_empty() && !request.allow_incomplete {
            return Err(incomplete(&lacks, &instead));
        }
    }
    if !lacks.is_empty() && !request.allow_incomplete {
        return Err(incomplete(&lacks, ""));
    }
    let mut found: Vec<BackupTable> = Vec::new();
    let mut refusals = Vec::new();
    let mut schemas = Vec::new();
    for point in &points {
        schemas.extend(backup_schema(point)?.map(|schema| (point.tag.clone(), schema)));
        let tables = point.tables(None)?;
        found.extend(tables.into_iter().filter(|table| request.selection.has(&table.name.to_string())));
    }
    let views: BTreeMap<TableName, TableName> = schemas.iter().flat_map(|(_, schema)| views_of(schema)).collect();
    let hosts: Vec<String> = points.iter().map(|point| point.host.clone()).collect();
    let chosen = if request.subset { Some(subset(load, &points, &schemas, &found, &lacks)?) } else { None };
    if let Some(chosen) = &chosen {
        found.retain(|table| chosen.contains(&table.host));
    }
    let (of_views, mut tables): (Vec<_>, Vec<_>) = found.into_iter().partition(|table| views.contains_key(&table.name));
    refusals.extend(absent(&request.selection, &tables, &views));
    let own: BTreeSet<&str> =
        tables.iter().map(|table| &*table.name.keyspace).filter(|keyspace| is_system_keyspace(keyspace)).collect();
    refusals.extend(own.into_iter().map(|keyspace| {
        format!(
            "{keyspace} is Cassandra's own, and its rows are not loaded into another cluster: see `restore instant`"
        )
    }));
    tables.sort_by(|a, b| (&a.name, &a.host).cmp(&(&b.name, &b.host)));

    let mut notes = Vec::new();
    if !of_views.is_empty() {
        let names: BTreeSet<String> = of_views.iter().map(|table| table.name.to_string()).collect();
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        notes.push(format!("Cassandra fills these views from their base tables: {names}"));
    }
    if let Some(chosen) = &chosen {
        let (are, has) = if chosen.len() == 1 { ("is", "it") } else { ("are", "one of them") };
        notes.push(format!(
            "of {} hosts only {} {are} loaded: {has} has each row, as of the last repair. What only the others have is \
             missing, and if the cluster had hosts that the mount does not show, more",
            hosts.len(),
            chosen.join(", ")
        ));
    }
    if !request.hosts.is_empty() {
        notes.push(format!(
            "only the backups of {} are loaded: rows that other hosts alone had are missing, unless a repair had brought them there",
            request.hosts.join(", ")
        ));
    }
    let create = if request.create_schema {
        let wanted: BTreeSet<TableName> = tables.iter().map(|table| table.name.clone()).collect();
        let newest = schemas.into_iter().max_by(|(a, _), (b, _)| a.cmp(b)).map(|(_, schema)| schema);
        let newest = newest.ok_or_else(|| {
            Error::new(
                Kind::Unsupported,
                "nothing was changed: no restore point has system_schema, so tables cannot be created from it",
            )
        })?;
        refuse(refusals)?;
        let create = definitions::missing(&load.cqlsh, &newest, &wanted)?;
        notes.extend(create.notes().iter().cloned());
        create
    } else {
        refuse(refusals)?;
        Definitions::default()
    };
    let mut jobs = Vec::new();
    for table in tables {
        // Without leave, what the mount says of an SSTable that cannot be read comes first.
        let (sstables, left_out) = table.openable(request.allow_incomplete).map_err(|error| {
            let of_point = points.iter().find(|point| point.host == table.host);
            let told = of_point.and_then(|point| point.lacks(&request.selection).ok());
            told.filter(|(lacks, _)| !lacks.is_empty()).map_or(error, |(lacks, instead)| incomplete(&lacks, &instead))
        })?;
        lacks.extend(left_out);
        jobs.push(LoadJob {
            sstables,
            table: table.name,
            host: table.host,
            point: table.tag,
            directory: table.directory,
        });
    }
    Ok(LoadPlan { jobs, notes, lacks, create })
}

/// The restore point of every host, and a sentence for each host that has none.
fn points(load: &Load, request: &LoadRequest) -> Result<(Vec<Point>, Vec<String>)> {
    let mut hosts = backup::hosts(&load.mount.mountpoint)?;
    let names = hosts.iter().map(|host| host.name.clone()).collect::<Vec<_>>().join(", ");
    if let Some(unknown) = request.hosts.iter().find(|name| !hosts.iter().any(|host| host.name == **name)) {
        return Err(Error::not_found(format!("the mount shows no host {unknown:?}; it shows {names}")));
    }
    hosts.retain(|host: &BackupHost| request.hosts.is_empty() || request.hosts.contains(&host.name));
    let (mut chosen, mut lacks, mut last) = (Vec::new(), Vec::new(), None);
    for host in hosts {
        match host.point(&request.at) {
            Ok(point) => chosen.push((host, point)),
            Err(error) if error.kind() == Kind::NotFound => {
                lacks.push(error.to_string());
                last = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    whole_cluster::one_cluster(&chosen)?;
    let points: Vec<Point> = chosen.into_iter().map(|(_, point)| point).collect();
    match (points.is_empty(), last) {
        (true, Some(error)) => Err(error),
        (true, None) => {
            let place = load.mount.mountpoint.display();
            Err(Error::not_found(format!("{place} shows no host with restore points")))
        }
        (false, _) => Ok((points, lacks)),
    }
}

/// Most seconds between the restore points of hosts that stand for each other.
const APART: u64 = 24 * 3600;

/// The hosts that are enough.
fn subset(
    load: &Load,
    points: &[Point],
    schemas: &[(String, Schema)],
    found: &[BackupTable],
    lacks: &[String],
) -> Result<Vec<String>> {
    let cannot = |why: &str| {
        Error::new(
            Kind::Unsupported,
            format!("nothing was changed: which hosts are enough is not known: {why}; leave out --subset"),
        )
    };
    if let Some(lack) = lacks.first() {
        return Err(cannot(lack));
    }
    let times = points.iter().map(Point::time).collect::<Result<Vec<_>>>()?;
    let apart = times.iter().max().zip(times.iter().min()).and_then(|(last, first)| last.duration_since(*first).ok());
    if apart.is_some_and(|apart| apart.as_secs() > APART) {
        return Err(cannot("the hosts' restore points are more than a day apart"));
    }
    let newest = schemas.iter().max_by(|(a, _), (b, _)| a.cmp(b)).map(|(_, schema)| schema);
    let schema = newest.ok_or_else(|| cannot("no restore point has system_schema"))?;
    let mut replication = BTreeMap::new();
    for table in found.iter().filter(|table| !is_system_keyspace(&table.name.keyspace)) {
        let name = &*table.name.keyspace;
        let options = schema.keyspace(name).and_then(|keyspace| keyspace.replication.clone());
        let options = options.ok_or_else(|| cannot(&format!("the replication of keyspace {name} is not told")))?;
        replication.insert(name.to_owned(), options);
    }
    let mut ring = Vec::new();
    let hosts = backup::hosts(&load.mount.mountpoint)?;
    let of = |point: &Point| hosts.iter().find(|host| host.name == point.host);
    let shown: Vec<(&BackupHost, &Point)> = points.iter().filter_map(|point| Some((of(point)?, point))).collect();
    for (host, point) in &shown {
        let node = host.source_node(&point.tag)?;
        let tokens = node.tokens.iter().map(|token| token.parse()).collect::<std::result::Result<Vec<i64>, _>>();
        let tokens = tokens.map_err(|_| cannot(&format!("{} has tokens that are no numbers", host.name)))?;
        ring.push(RingHost { name: host.name.clone(), datacenter: node.datacenter, rack: node.rack, tokens });
    }
    let all = ring.iter().flat_map(|host| host.tokens.iter().copied()).collect();
    for (host, point) in &shown {
        if let Some(node) = whole_cluster::missing_node(host, &point.tag, &all)? {
            return Err(cannot(&format!(
                "tokenmap.json of {} has the node {node}, of which no host here has the tokens",
                host.name
            )));
        }
    }
    let chosen = subset::fewest(&ring, &replication).map_err(|why| cannot(&why))?;
    Ok(chosen.into_iter().map(|host| ring[host].name.clone()).collect())
}

fn incomplete(lacks: &[String], instead: &str) -> Error {
    let instead = if instead.is_empty() { String::new() } else { format!("{instead}; ") };
    let message = format!(
        "nothing was changed: what was asked for is incomplete:\n  {}\n{instead}--allow-incomplete takes it all the same",
        lacks.join("\n  ")
    );
    Error::new(Kind::Incomplete, message)
}

fn backup_schema(point: &Point) -> Result<Option<Schema>> {
    let tables = point.tables(Some("system_schema"))?;
    let directories: Vec<PathBuf> = tables.into_iter().map(|table| table.directory).collect();
    schema::read(&directories)
}

/// Views, and the table that each is of.
fn views_of(schema: &Schema) -> Vec<(TableName, TableName)> {
    let of_keyspace = |keyspace: &Keyspace| {
        let name = |table: &str| TableName::new(&*keyspace.name, table);
        keyspace.views.iter().map(|view| (name(&view.table.name), name(&view.base_table))).collect::<Vec<_>>()
    };
    schema.keyspaces.iter().flat_map(of_keyspace).collect()
}

/// What was asked for and is in no restore point.
fn absent(selection: &Selection, tables: &[BackupTable], views: &BTreeMap<TableName, TableName>) -> Vec<String> {
    let keyspaces: BTreeSet<&str> = tables.iter().map(|table| &*table.name.keyspace).collect();
    match selection {
        Selection::Everything if tables.is_empty() => vec!["the restore points have no table".to_owned()],
        Selection::Everything => Vec::new(),
        Selection::Keyspaces(names) => {
            let absent = names.iter().filter(|name| !keyspaces.contains(&***name));
            absent.map(|name| format!("the restore points have no table of keyspace {name}")).collect()
        }
        Selection::Tables(wanted) => {
            let is_there = |name: &TableName| tables.iter().any(|table| table.name == *name);
            let sentence = |name: &TableName| match views.get(name) {
                // With its table, it is filled as asked.
                Some(base) if is_there(base) => None,
                Some(base) => {
                    Some(format!("{name} is a view of {base}: load that table, and Cassandra fills the view"))
                }
                None => Some(format!("the restore points have no table {name}")),
            };
            wanted.iter().filter(|name| !is_there(name)).filter_map(sentence).collect()
        }
    }
}

/// Whether a component belongs to an index attached to its SSTable.
pub(super) fn is_attached(component: &str) -> bool {
    ATTACHED.iter().any(|start| component.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_that_is_named_alone_is_refused_by_its_table() {
        let name = |table: &str| TableName::new("shop", table);
        let table = BackupTable {
            name: name("users"),
            host: "a".to_owned(),
            tag: "p".to_owned(),
            directory: PathBuf::from("/mnt/users"),
        };
        let views = [(name("users_by_name"), name("users"))].into();
        let said = |names: &[&str], tables: &[BackupTable]| {
            absent(&Selection::Tables(names.iter().map(|of| name(of)).collect()), tables, &views)
        };
        let refusal = "shop.users_by_name is a view of shop.users: load that table, and Cassandra fills the view";
        assert_eq!(said(&["users_by_name"], &[]), [refusal]);
        assert_eq!(said(&["users_by_name", "users"], &[table]), [] as [String; 0], "both are had");
        assert_eq!(said(&["gone"], &[]), ["the restore points have no table shop.gone"]);
    }
}
