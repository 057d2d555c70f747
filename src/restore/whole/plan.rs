//! What is to be put onto a node, found in the mount, and checked together with the node before
//! anything is written.

use super::built::{self, BUILT};
use super::checks;
use super::config;
use super::journal::{Manner, PlacedDirectory, PlacedSstable, PlacedTable, Work};
use super::made::Made;
use super::settings::Settings;
use super::{NodePlan, NodeRequest};
use crate::cassandra::schema::{Schema, is_system_keyspace, system_table_id};
use crate::restore::check::access;
use crate::restore::check::backup::{self, BackupHost, BackupTable, Point};
use crate::restore::check::schema;
use crate::restore::command::shell_word;
use crate::restore::journal::state::Origin;
use crate::restore::look;
use crate::restore::request::{Selection, refuse};
use crate::restore::sstables::{Sstable, reading};
use crate::restore::{Mount, Node};
use crate::time::Timestamp;
use crate::{Error, Kind, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const SCHEMA: &str = "system_schema";
/// Keyspaces that Cassandra makes and that a node needs from the backup.
const CASSANDRAS: [&str; 3] = [SCHEMA, "system_auth", "system_distributed"];
/// Keyspaces that Cassandra makes and that say nothing of the cluster's data.
const LEFT_OUT: [&str; 2] = ["system_traces", "system_cluster_metadata"];

/// Finds what is to be put where, and checks everything. Changes nothing.
///
/// # Errors
/// All that speaks against it, in one error.
pub(super) fn prepare(
    mount: &Mount,
    request: &NodeRequest,
    settings: &Settings,
    data_dir: &Path,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<NodePlan> {
    let hosts = backup::hosts(&mount.mountpoint)?;
    let host = choose(&hosts, request.source_host.as_deref())?;
    let point = host.point(&request.at)?;
    let lacks = lacks(&point, request.allow_incomplete)?;
    let source = host.source_node(&point.tag)?;
    let tokens =
        if request.tokens.is_empty() { source.tokens.clone() } else { request.tokens.iter().cloned().collect() };
    let (mut notes, mut refusals) = (Vec::new(), checks::not_empty(data_dir, &settings.others())?);
    refusals.extend(checks::running(settings, data_dir, &mut notes));
    refusals.extend(checks::configuration(settings, &source, &tokens, request.manner, request.copy));
    refusals.extend(checks::rack(settings, &source, &mut notes)?);
    if source.cluster.is_none() {
        notes.push(format!(
            "the backup does not tell of which cluster it is. cluster_name is {:?} ({}), and has to be the same on all \
             its nodes",
            settings.cluster_name,
            settings.path.display()
        ));
    }
    let ring = request.nodetool.as_ref().map(|nodetool| Node::new(nodetool.clone()).ring("system_auth")).transpose()?;
    refusals.extend(checks::cluster(settings, request.manner, &tokens, ring.as_deref(), &host.name));

    let described = point.tables(Some(SCHEMA))?;
    let directories: Vec<PathBuf> = described.iter().map(|table| table.directory.clone()).collect();
    let schema = schema::read(&directories)?;
    match (&schema, request.manner) {
        (None, _) => refusals.push(format!(
            "{} of {} has no {SCHEMA}: a node would know none of its tables. \
                     `cassmount restore load` restores into a cluster that is up",
            point.tag, point.host
        )),
        (Some(schema), Manner::Replace(address)) => {
            let age = SystemTime::now().duration_since(point.time()?).unwrap_or(Duration::ZERO);
            let accepted = (request.accept_counter_loss, request.accept_deleted_rows);
            refusals.extend(checks::replacement(settings, address, schema, age, accepted));
        }
        _ => {}
    }
    let mut wanted = Vec::new();
    for table in point.tables(None)? {
        match place(&table, request) {
            Ok(Some(place)) => wanted.push((table, place)),
            Ok(None) => {}
            Err(why) => refusals.push(why),
        }
    }
    // Reading the tables may take long: what speaks against it already is told before.
    refuse(refusals)?;

    // What the mount says of a table that cannot be read comes first.
    let read = read(&wanted, request, tell);
    let mut lacks = if lacks.is_empty() { self::lacks(&point, request.allow_incomplete)? } else { lacks };
    let (mut tables, refusals, left_out) = read?;
    refuse(refusals)?;
    lacks.extend(left_out);
    let some = tables.iter().find_map(|table| Some((table, table.files().into_iter().next()?.0)));
    if let (Some((table, file)), false) = (&some, request.copy) {
        access::check(data_dir, &table.from.join(file))?;
    }
    let mut made = Made::default();
    if let Some(schema) = &schema {
        let (more, of, note) = built(schema, &tables, point.time()?.into(), request);
        tables.extend(more);
        (made, notes) = (of, notes.into_iter().chain(note).collect());
    }
    let others = match request.manner {
        Manner::ColdStart => others(&hosts, &point, &request.at, source.cluster.as_deref()),
        Manner::Replace(_) => Vec::new(),
    };
    let others = others.into_iter().map(|other| other + &request.repeated).collect();
    let tokens: Vec<String> = tokens.into_iter().collect();
    let work = Work::new(
        request.manner,
        Origin { host: host.name.clone(), point: point.tag.clone() },
        Timestamp::from(SystemTime::now()),
        (mount.mountpoint.clone(), mount.source.clone()),
        (data_dir.to_owned(), settings.other_directories[0].clone()),
        request.copy,
        tables,
        config::needs(settings, request.manner, &tokens)?,
        others,
    );
    if settings.data_directories.len() > 1 {
        let all: u64 = work.tables.iter().map(PlacedTable::bytes).sum();
        notes.push(format!(
            "all goes into the first data directory, {}, which needs room for {all} bytes once it is local. \
             Cassandra spreads new SSTables over all of them",
            data_dir.display()
        ));
    }
    room(&work)?;
    Ok(NodePlan { work, made, notes, lacks })
}

/// Other hosts whose restore points are looked up.
const MOST_OTHERS: usize = 32;

/// What the same command is given on the machines of the other hosts of the cluster. A set's name
/// means this host's set; theirs of that run have other names.
pub(super) fn others(hosts: &[BackupHost], point: &Point, at: &str, cluster: Option<&str>) -> Vec<String> {
    let theirs = |of: &BackupHost| {
        let found = if at == point.tag { of.nearest(point) } else { of.point(at).map(Some) };
        // Whoever runs the command there is told what is wrong.
        found.ok().flatten().map_or_else(|| at.to_owned(), |point| point.tag)
    };
    let is_of_another = |of: &BackupHost, tag: &str| {
        let theirs = of.cluster(tag).ok().flatten();
        theirs.is_some_and(|theirs| cluster.is_some_and(|cluster| cluster != theirs))
    };
    let mut words = Vec::new();
    for (number, of) in hosts.iter().filter(|of| of.name != point.host).enumerate() {
        let is_looked_up = number < MOST_OTHERS;
        let at = if is_looked_up { theirs(of) } else { at.to_owned() };
        if !is_looked_up || !is_of_another(of, &at) {
            words.push(format!("{} --at {}", shell_word(&of.name), shell_word(&at)));
        }
    }
    words
}

fn choose<'a>(hosts: &'a [BackupHost], named: Option<&str>) -> Result<&'a BackupHost> {
    let names = || hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>().join(", ");
    match (named, hosts) {
        (Some(name), _) => hosts
            .iter()
            .find(|host| host.name == name)
            .ok_or_else(|| Error::not_found(format!("the mount shows no host {name:?}; it shows {}", names()))),
        (None, [only]) => Ok(only),
        (None, []) => Err(Error::not_found("the mount shows no host with restore points")),
        (None, _) => Err(Error::invalid(format!("name whose backup this node gets with --source-host ({})", names()))),
    }
}

pub(super) fn lacks(point: &Point, allowed: bool) -> Result<Vec<String>> {
    let (mut lacks, mut instead) = point.lacks(&Selection::Everything)?;
    // Roles, and what says which tables there are: neither is asked for by name.
    let (of_cassandra, whole) = point.lacks(&Selection::Keyspaces(CASSANDRAS.map(str::to_owned).to_vec()))?;
    for lack in of_cassandra {
        if !lacks.contains(&lack) {
            lacks.push(lack);
            instead.clone_from(&whole);
        }
    }
    if lacks.is_empty() || allowed {
        return Ok(lacks);
    }
    Err(Error::new(Kind::Incomplete, format!("nothing was changed: {}", point.is_incomplete(&lacks, &instead))))
}

/// Where a table's directory goes; `None` where it is left out.
///
/// # Errors
/// Where the table's id is not known: Cassandra would not find the directory.
pub(super) fn place(table: &BackupTable, request: &NodeRequest) -> std::result::Result<Option<String>, String> {
    let (keyspace, name) = (&*table.name.keyspace, &*table.name.table);
    let is_left_out = LEFT_OUT.contains(&keyspace)
        || keyspace == "system" && !BUILT.contains(&name)
        // The cluster tells it, as of now: an old copy could bring dropped tables back.
        || keyspace == SCHEMA && matches!(request.manner, Manner::Replace(_));
    if is_left_out {
        return Ok(None);
    }
    let id = table.id().or_else(|| system_table_id(&table.name));
    let id = id.ok_or_else(|| {
        format!("the id of {} is not known: a backup of system_schema from before would tell it", table.name)
    })?;
    Ok(Some(format!("{keyspace}/{}", table.name.directory(Some(id)))))
}

/// Reads the directories, several at a time. With what speaks against single SSTables, and those
/// that are left out.
fn read(
    wanted: &[(BackupTable, String)],
    request: &NodeRequest,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<(Vec<PlacedTable>, Vec<String>, Vec<String>)> {
    let read = backup::read_tables(wanted, tell, |(table, place)| placed(table, place, request));
    let (mut tables, mut refusals, mut all_left_out) = (Vec::new(), BTreeSet::new(), Vec::new());
    for ((table, _), read) in wanted.iter().zip(read) {
        let (table, why, left_out) = read.map_err(|error| {
            Error::new(error.kind(), format!("nothing was changed: {} cannot be read: {error}", table.name))
        })?;
        refusals.extend(why);
        all_left_out.extend(left_out);
        tables.push(table);
    }
    Ok((tables, refusals.into_iter().collect(), all_left_out))
}

fn placed(
    table: &BackupTable,
    place: &str,
    request: &NodeRequest,
) -> Result<(PlacedTable, Option<String>, Vec<String>)> {
    // A schema or roles of which a part is missing would be taken for all of it.
    let may_lack = request.allow_incomplete && !is_system_keyspace(&table.name.keyspace);
    let (own, left_out) = table.openable(may_lack)?;
    let mut refusal = None;
    for sstable in &own {
        refusal = refusal.or(checks::version(request.installed, &table.name, &sstable.name));
    }
    let mut directories = vec![PlacedDirectory { below: String::new(), sstables: own.into_iter().map(of).collect() }];
    for index in hidden(&table.directory)? {
        let sstables = backup::sstables_of(&table.directory.join(&index))?;
        directories.push(PlacedDirectory { below: index, sstables: sstables.into_iter().map(of).collect() });
    }
    let placed = PlacedTable {
        keyspace: table.name.keyspace.to_string(),
        table: table.name.table.to_string(),
        place: place.to_owned(),
        from: table.directory.clone(),
        // Cassandra's own are small, and nothing starts without them.
        as_files: request.copy || is_system_keyspace(&table.name.keyspace),
        directories,
    };
    Ok((placed, refusal, left_out))
}

fn of(sstable: Sstable) -> PlacedSstable {
    PlacedSstable { name: sstable.name.to_string(), components: sstable.components }
}

/// Directories of secondary indexes.
fn hidden(directory: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(|e| reading(directory, e))? {
        let entry = entry.map_err(|e| reading(directory, e))?;
        let is_directory = entry.file_type().map_err(|e| reading(&entry.path(), e))?.is_dir();
        if let (true, Ok(name)) = (is_directory, entry.file_name().into_string())
            && name.starts_with('.')
        {
            found.push(name);
        }
    }
    found.sort();
    Ok(found)
}

/// What the node may take as built: tables that say it, where the backup has none, and what they are
/// made of.
fn built(
    schema: &Schema,
    tables: &[PlacedTable],
    at: Timestamp,
    request: &NodeRequest,
) -> (Vec<PlacedTable>, Made, Option<String>) {
    let indexes = built::known(schema);
    if tables.iter().any(|table| table.keyspace == "system") {
        return (Vec::new(), Made { files: BTreeMap::new(), indexes }, None);
    }
    let told = tables.iter().find(|of| of.keyspace == "system_distributed" && of.table == "view_build_status");
    // What cannot be read tells nothing.
    let statuses = told.and_then(|of| built::view_statuses(&of.from).ok()).unwrap_or_default();
    let judged = built::judge(schema, tables, &statuses, (!request.indexes_are_built).then_some(at));
    let (more, files) = judged.tables(at);
    (more, Made { files, indexes }, judged.note())
}

/// # Errors
/// `Kind::NoSpace` where the real files do not fit.
pub(super) fn room(work: &Work) -> Result<()> {
    let (needed, free) = (work.copied_bytes(), look::free_bytes(&work.data_dir)?);
    if needed <= free {
        return Ok(());
    }
    Err(Error::new(
        Kind::NoSpace,
        format!(
            "nothing was changed: {} has {free} bytes free, and {needed} are to be copied there",
            work.data_dir.display()
        ),
    ))
}
