//! Everything that is found out and checked before a restore touches anything.

use super::access;
use super::backup::{self, BackupHost, BackupTable, Point};
use super::node_config;
use super::node_facts::NodeFacts;
use super::schema;
use super::topology::Topology;
use super::whole_cluster::one_cluster;
use crate::cassandra::TableName;
use crate::cassandra::schema::{Schema, is_system_keyspace};
use crate::restore::journal::state::{Linked, Origin, Plan};
use crate::restore::node::Node;
use crate::restore::request::{Request, Selection, refuse};
use crate::restore::sstables::Generations;
use crate::restore::{Mount, look};
use crate::time::Timestamp;
use crate::{Error, Kind, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What may be restored, and what a person should know of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::restore) struct CheckedRestore {
    pub(in crate::restore) plans: Vec<Plan>,
    pub(in crate::restore) notes: Vec<String>,
    /// What the restore points lack of what is asked for.
    pub(in crate::restore) lacks: Vec<String>,
}

/// Finds what is to be restored, and checks everything. Changes nothing, but that the node flushes.
///
/// # Errors
/// All that speaks against it, in one error.
pub(in crate::restore) fn prepare(mount: &Mount, node: &Node, request: &Request) -> Result<CheckedRestore> {
    let hosts = backup::hosts(&mount.mountpoint)?;
    if hosts.is_empty() {
        return Err(Error::not_found(format!("{} shows no host with restore points", mount.mountpoint.display())));
    }
    // The own host is known only once the node has told its tokens; what keyspaces there are, any
    // host tells.
    let keyspaces = keyspaces(&hosts, request)?;
    let facts = NodeFacts::gather(node, &keyspaces, &request.selection)?;
    let tokens = tokens(&hosts, &request.at)?;
    let (chosen, points) = choose(&hosts, request, &tokens, &facts)?;
    let node_schema = schema::read(&facts.system_schema())?
        .ok_or_else(|| Error::corrupt("the node's own system_schema cannot be read"))?;

    let mut notes = notes(&facts);
    let mut refusals = Vec::new();
    let mut found: BTreeMap<TableName, Vec<BackupTable>> = BTreeMap::new();
    self::lacks(&points, request)?;
    for (host, point) in chosen.iter().zip(&points) {
        let backup_schema = if request.compare_schema { backup_schema(point)? } else { None };
        if request.compare_schema && backup_schema.is_none() {
            refusals.push(format!(
                "{} of {} has no system_schema, so its schema cannot be compared with the node's: --no-schema-check goes on without",
                point.tag, point.host
            ));
        }
        for keyspace in &keyspaces {
            let replication = backup_schema.as_ref().and_then(|theirs| {
                Some((schema::replication(theirs, keyspace)?, schema::replication(&node_schema, keyspace)?))
            });
            let ring = &facts.rings[keyspace];
            let topology = Topology { node: &facts.identity, ring, hosts: &tokens, replication };
            if let Some(why) = topology.refusal(&host.name) {
                refusals.push(format!("{why}. {}", elsewhere(mount, point)));
            }
        }
        for table in selected(point, &request.selection)? {
            // Cassandra's own tables are what its version makes them, and in no schema.
            if let Some(theirs) = backup_schema.as_ref().filter(|_| !is_system_keyspace(&table.name.keyspace)) {
                let different = schema::differences(&table.name, theirs, &node_schema);
                refusals.extend(different.into_iter().map(|what| format!("{}: {what}", table.name)));
            }
            found.entry(table.name.clone()).or_default().push(table);
        }
    }
    missing(&request.selection, &found, &points, &mut refusals);
    for keyspace in &keyspaces {
        if let Some(said) = of_cassandra(keyspace, &mut refusals) {
            notes.push(said);
        }
    }
    refuse(refusals)?;
    notes.extend(unfilled_views(&node_schema, &found));

    let (mut plans, mut left_out) = (Vec::new(), Vec::new());
    for (name, tables) in found {
        let indexes = schema::built_indexes(&name, &node_schema);
        notes.extend(indexes.iter().map(|index| {
            format!("{name} has the index {index}: Cassandra reads the whole table to build it before refresh ends")
        }));
        match plan(mount, request, &facts, &name, &tables, indexes) {
            Ok((plan, broken)) => {
                plans.push(plan);
                left_out.extend(broken);
            }
            // What the mount says of it comes first.
            Err(error) => return Err(self::lacks(&points, request).err().unwrap_or(error)),
        }
    }
    // The archives were looked into by now, and may have turned out not to give out what their
    // names promise.
    let mut lacks = self::lacks(&points, request)?;
    lacks.extend(left_out);
    for plan in &plans {
        if let Some(first) = plan.sstables.first() {
            let component = first.components.keys().next().map_or("", String::as_str);
            access::check(&plan.live, &first.directory.join(format!("{}-{component}", first.name)))?;
        }
    }
    if let Some(plan) = plans.first() {
        notes.extend(node_config::notes(request.cassandra_yaml.as_deref(), &plan.directories, &mount.mountpoint));
    }
    Ok(CheckedRestore { plans, notes, lacks })
}

/// What the mount says that the points lack. Refused, unless that is allowed.
fn lacks(points: &[Point], request: &Request) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for point in points {
        let (lacks, instead) = point.lacks(&request.selection)?;
        if !lacks.is_empty() && !request.allow_incomplete {
            let message = format!("nothing was changed: {}", point.is_incomplete(&lacks, &instead));
            return Err(Error::new(Kind::Incomplete, message));
        }
        all.extend(lacks);
    }
    Ok(all)
}

/// The keyspaces concerned, of all hosts that may be meant.
fn keyspaces(hosts: &[BackupHost], request: &Request) -> Result<BTreeSet<String>> {
    match &request.selection {
        Selection::Keyspaces(names) => Ok(names.iter().cloned().collect()),
        Selection::Tables(tables) => Ok(tables.iter().map(|table| table.keyspace.to_string()).collect()),
        Selection::Everything => {
            let mut keyspaces = BTreeSet::new();
            for host in hosts.iter().filter(|host| request.hosts.is_empty() || request.hosts.contains(&host.name)) {
                let tables = host.point(&request.at)?.tables(None)?;
                keyspaces.extend(tables.into_iter().map(|table| table.name.keyspace.to_string()));
            }
            keyspaces.retain(|keyspace| !is_system_keyspace(keyspace));
            Ok(keyspaces)
        }
    }
}

/// The tokens of every host at its restore point of that time; of one without such a point nothing
/// is known.
fn tokens(hosts: &[BackupHost], at: &str) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let mut all = BTreeMap::new();
    for host in hosts {
        let tokens = match host.point(at) {
            Ok(point) => host.tokens(&point.tag)?,
            Err(error) if error.kind() == Kind::NotFound => host.tokens(at)?,
            Err(error) => return Err(error),
        };
        all.insert(host.name.clone(), tokens);
    }
    Ok(all)
}

/// Whose backups are taken: those that were named, the only ones there are, or those of the host
/// whose tokens the node has.
fn choose(
    hosts: &[BackupHost],
    request: &Request,
    tokens: &BTreeMap<String, BTreeSet<String>>,
    facts: &NodeFacts,
) -> Result<(Vec<BackupHost>, Vec<Point>)> {
    let names = || hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>().join(", ");
    let named = |name: &str| {
        let found = hosts.iter().find(|host| host.name == name).cloned();
        found.ok_or_else(|| Error::not_found(format!("the mount shows no host {name:?}; it shows {}", names())))
    };
    let chosen = match (&request.hosts[..], hosts) {
        ([], [only]) => vec![only.clone()],
        ([], _) => {
            let topology = Topology { node: &facts.identity, ring: &[], hosts: tokens, replication: None };
            let own = topology.own_host().ok_or_else(|| {
                Error::invalid(format!(
                    "no host in the mount had this node's tokens: name whose backup is meant with --source-host, once for each (there are {})",
                    names()
                ))
            })?;
            vec![named(own)?]
        }
        (wanted, _) => wanted.iter().map(|name| named(name)).collect::<Result<_>>()?,
    };
    let found = chosen.into_iter().map(|host| host.point(&request.at).map(|point| (host, point)));
    let found = found.collect::<Result<Vec<_>>>()?;
    one_cluster(&found)?;
    Ok(found.into_iter().unzip())
}

fn backup_schema(point: &Point) -> Result<Option<Schema>> {
    let tables = point.tables(Some("system_schema"))?;
    let directories: Vec<PathBuf> = tables.into_iter().map(|table| table.directory).collect();
    schema::read(&directories)
}

fn selected(point: &Point, selection: &Selection) -> Result<Vec<BackupTable>> {
    let mut tables = point.tables(None)?;
    tables.retain(|table| match selection {
        Selection::Everything => !is_system_keyspace(&table.name.keyspace),
        Selection::Keyspaces(names) => names.iter().any(|name| **name == *table.name.keyspace),
        Selection::Tables(wanted) => wanted.contains(&table.name),
    });
    Ok(tables)
}

/// What was asked for and is in no restore point.
fn missing(
    selection: &Selection,
    found: &BTreeMap<TableName, Vec<BackupTable>>,
    points: &[Point],
    refusals: &mut Vec<String>,
) {
    let points = points.iter().map(|point| format!("{} of {}", point.tag, point.host)).collect::<Vec<_>>().join(", ");
    match selection {
        Selection::Everything if found.is_empty() => refusals.push(format!("{points}: there is no table")),
        Selection::Everything => {}
        Selection::Keyspaces(names) => {
            let absent = names.iter().filter(|name| !found.keys().any(|table| *table.keyspace == ***name));
            refusals.extend(absent.map(|name| format!("{points}: there is no table of keyspace {name}")));
        }
        Selection::Tables(tables) => {
            let absent = tables.iter().filter(|table| !found.contains_key(table));
            refusals.extend(absent.map(|table| format!("{points}: there is no table {table}")));
        }
    }
}

/// The way that works in any cluster.
fn elsewhere(mount: &Mount, point: &Point) -> String {
    let place =
        if point.host == mount.mountpoint.display().to_string() { String::new() } else { format!("/{}", point.host) };
    format!(
        "sstableloader sends each row to its owners: sstableloader -d HOST {}{place}/restore-points/{}/KEYSPACE/TABLE",
        mount.mountpoint.display(),
        point.tag
    )
}

/// What has to be known of a keyspace of Cassandra's own; `None` of a user's.
fn of_cassandra(keyspace: &str, refusals: &mut Vec<String>) -> Option<String> {
    if !is_system_keyspace(keyspace) {
        return None;
    }
    match keyspace {
        "system_auth" => Some(
            "system_auth: roles and grants of the backup are added to those of now, and the newer write of each wins; restore it on all nodes, from backups of one version of Cassandra and one replication of system_auth; nodes see it when their caches expire (roles_validity, 2 s by default), or after `nodetool invalidaterolescache`".to_owned(),
        ),
        "system_distributed" | "system_traces" => Some(format!(
            "{keyspace} is Cassandra's own: its columns are not compared, so the backup has to be of the version that runs"
        )),
        _ => {
            refusals.push(format!(
                "{keyspace} is what a running node knows of itself, and cannot be restored under it: `cassmount schema` prints the schema of the restore point"
            ));
            None
        }
    }
}

fn notes(facts: &NodeFacts) -> Vec<String> {
    let mut notes = Vec::new();
    if facts.incremental_backups {
        notes.push(
            "incremental_backups is on: backups/ gets links as well, and a backup taken before `restore hydrate` is done would archive links"
                .to_owned(),
        );
    }
    notes
}

/// Neither refresh nor import writes to the views of a table.
fn unfilled_views(node: &Schema, found: &BTreeMap<TableName, Vec<BackupTable>>) -> Vec<String> {
    let mut notes = Vec::new();
    for keyspace in &node.keyspaces {
        for view in &keyspace.views {
            let of = |table: &str| TableName::new(&*keyspace.name, table);
            if found.contains_key(&of(&view.base_table)) && !found.contains_key(&of(&view.table.name)) {
                notes.push(format!(
                    "{} has the view {}, which this does not fill: restore it as well",
                    of(&view.base_table),
                    view.table.name
                ));
            }
        }
    }
    notes
}

fn plan(
    mount: &Mount,
    request: &Request,
    facts: &NodeFacts,
    name: &TableName,
    tables: &[BackupTable],
    indexes: Vec<String>,
) -> Result<(Plan, Vec<String>)> {
    let directories = facts.paths.get(name).cloned().unwrap_or_default();
    let live = live_directory(name, &directories, request.data_dir.as_deref())?;
    let mut generations = Generations::beyond(&directories)?;
    let (mut sstables, mut left_out) = (Vec::new(), Vec::new());
    for table in tables {
        let (openable, broken) = table.openable(request.allow_incomplete)?;
        left_out.extend(broken);
        for sstable in openable {
            sstables.push(Linked {
                directory: table.directory.clone(),
                name: sstable.name.to_string(),
                staged: generations.next(&sstable.name).to_string(),
                components: sstable.components,
            });
        }
    }
    let started = Timestamp::from(SystemTime::now());
    let from = tables.iter().map(|table| Origin { host: table.host.clone(), point: table.tag.clone() }).collect();
    let plan = Plan {
        table: name.clone(),
        live,
        directories,
        mountpoint: mount.mountpoint.clone(),
        source: mount.source.clone(),
        from,
        started,
        // Cassandra takes letters, digits, _ and - in a snapshot's name.
        snapshot: format!("cassmount-before-{}", started.0),
        truncate: request.truncate,
        indexes,
        nodetool: String::new(),
        sstables,
        index_sstables: Vec::new(),
    };
    Ok((plan, left_out))
}

/// Of the table's live directories the one that was asked for, or the one with the most room.
fn live_directory(name: &TableName, directories: &[PathBuf], data_dir: Option<&Path>) -> Result<PathBuf> {
    let wanted = |directory: &&PathBuf| data_dir.is_none_or(|data_dir| directory.starts_with(data_dir));
    let mut there = Vec::new();
    for directory in directories.iter().filter(wanted) {
        if look::is_directory(directory)? {
            there.push((look::free_bytes(directory)?, directory.clone()));
        }
    }
    there.into_iter().max_by_key(|(free, _)| *free).map(|(_, directory)| directory).ok_or_else(|| {
        let list = directories.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        Error::not_found(match (directories, data_dir) {
            ([], _) => format!("the node has no table {name}: `cassmount schema` prints the CQL that creates it"),
            (_, Some(data_dir)) => format!("{name} has no directory below {}; it has {list}", data_dir.display()),
            (_, None) => format!("Cassandra keeps {name} in {list}, which cannot be seen from here"),
        })
    })
}
