//! The backups that a running mount shows, found by looking into the mount as any program would.

#[cfg(test)]
mod tests;

use crate::cassandra::{SstableName, TableId, TableName, node_in_tokenmap};
use crate::incomplete::{self, Archived, FILE_NAME as INCOMPLETE};
use crate::restore::look;
use crate::restore::request::Selection;
use crate::restore::sstables::{self, Sstable};
use crate::{Error, Kind, Result, task};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

pub(super) const POINTS: &str = "restore-points";
pub(super) const SETS: &str = "backup-sets";
const LOGS: &str = "commitlogs";
pub(super) const MANIFEST: &str = "backup_manifest.json";
const TOKENMAP: &str = "tokenmap.json";
/// Tables whose directories are read at a time. A first read of one may be a pass over its
/// archives.
const READERS: usize = 8;
/// Longest manifest that is read, bytes; the catalog reads no longer ones either.
const MAX_MANIFEST: u64 = 16 << 20;

/// One host's backups.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackupHost {
    /// Its directory's name in the mount; of a mount that shows one host as its root, the mount
    /// point.
    pub name: String,
    pub(super) root: PathBuf,
}

/// A restore point of one host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Point {
    pub host: String,
    /// The set's name.
    pub tag: String,
    pub(super) root: PathBuf,
}

/// A node as a full backup's manifest describes it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(in crate::restore) struct SourceNode {
    pub(in crate::restore) cluster: Option<String>,
    pub(in crate::restore) address: Option<String>,
    pub(in crate::restore) datacenter: Option<String>,
    pub(in crate::restore) rack: Option<String>,
    pub(in crate::restore) tokens: BTreeSet<String>,
}

/// A table's directory at a restore point.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackupTable {
    pub name: TableName,
    pub host: String,
    pub tag: String,
    pub directory: PathBuf,
}

/// The hosts that a mount shows.
pub fn hosts(mountpoint: &Path) -> Result<Vec<BackupHost>> {
    if look::is_directory(&mountpoint.join(POINTS))? {
        return Ok(vec![BackupHost { name: mountpoint.display().to_string(), root: mountpoint.to_owned() }]);
    }
    let mut hosts = Vec::new();
    for name in names(mountpoint)? {
        let root = mountpoint.join(&name);
        // One that cannot be looked at now may be the one that is meant.
        if look::is_directory(&root.join(POINTS))? {
            hosts.push(BackupHost { name, root });
        }
    }
    Ok(hosts)
}

impl BackupHost {
    /// The restore point that `at` means: a set's name, `latest`, or any time.
    pub fn point(&self, at: &str) -> Result<Point> {
        if at.is_empty() || at.contains('/') || at.starts_with('.') {
            return Err(Error::invalid(format!("{at:?} is no restore point and no time")));
        }
        let points = self.root.join(POINTS);
        let asked = points.join(at);
        let tags = names(&points)?;
        let found = if let Some(target) = look::link_target(&asked)? {
            target.to_str().map(str::to_owned)
        } else if tags.iter().any(|tag| tag == at) {
            Some(at.to_owned())
        } else {
            // Another name of a listed one, which tomorrow may be that of a later one: it is the
            // point with the same time.
            let time = modified(&asked).map_err(|e| self.no_point(at, &tags, e))?;
            let mut found = None;
            for tag in tags.iter().rev() {
                let path = points.join(tag);
                if modified(&path).map_err(|e| Error::io(format_args!("look at {}", path.display()), e))? == time {
                    found = Some(tag.clone());
                    break;
                }
            }
            found
        };
        let tag = found.ok_or_else(|| Error::not_found(format!("{} of {} is no restore point", at, self.name)))?;
        Ok(Point { host: self.name.clone(), root: points.join(&tag), tag })
    }

    /// All restore points, by name, and when each was taken.
    pub(super) fn points(&self) -> Result<Vec<(SystemTime, Point)>> {
        let points = self.root.join(POINTS);
        let of = |tag: String| {
            let point = Point { host: self.name.clone(), root: points.join(&tag), tag };
            Ok((point.time()?, point))
        };
        names(&points)?.into_iter().map(of).collect()
    }

    /// The restore point that was taken at about the time of another host's.
    pub fn nearest(&self, other: &Point) -> Result<Option<Point>> {
        let time = other.time()?;
        let mut nearest = None;
        for (own, point) in self.points()? {
            let apart = own.duration_since(time).unwrap_or_else(|earlier| earlier.duration());
            if nearest.as_ref().is_none_or(|(_, of)| apart < *of) {
                nearest = Some((point, apart));
            }
        }
        Ok(nearest.map(|(point, _)| point))
    }

    /// The newest restore point, whole or not.
    pub fn newest(&self) -> Result<Option<Point>> {
        let mut newest = None;
        for (time, point) in self.points()? {
            if newest.as_ref().is_none_or(|(_, of)| time >= *of) {
                newest = Some((point, time));
            }
        }
        Ok(newest.map(|(point, _)| point))
    }

    /// The directories of its archived commit logs: a log that is in several of them may be another in
    /// each.
    pub fn commit_logs(&self) -> Result<Vec<PathBuf>> {
        let mut directories = Vec::new();
        for copy in 1.. {
            let name = if copy == 1 { LOGS.to_owned() } else { format!("{LOGS}-{copy}") };
            let directory = self.root.join(name);
            if !look::is_directory(&directory)? {
                break;
            }
            directories.push(directory);
        }
        Ok(directories)
    }

    fn no_point(&self, at: &str, tags: &[String], error: std::io::Error) -> Error {
        let there = match (tags.first(), tags.last()) {
            (Some(first), Some(last)) => format!("those that are there go from {first} to {last}"),
            _ => "it has none".to_owned(),
        };
        if error.kind() == std::io::ErrorKind::NotFound {
            return Error::not_found(format!("{} has no restore point {at:?}: {there}", self.name));
        }
        Error::io(format_args!("find the restore point {at:?} of {}", self.name), error)
    }

    /// What that manifest says of the node, or Medusa's map of tokens; nothing where there is
    /// neither.
    pub(in crate::restore) fn source_node(&self, tag: &str) -> Result<SourceNode> {
        let Some(json) = self.manifest(tag)? else { return self.in_tokenmap(tag) };
        let text = |name: &str| json["source_node"][name].as_str().map(str::to_owned);
        Ok(SourceNode {
            cluster: json["cluster_name"].as_str().map(str::to_owned),
            address: text("ip_address"),
            datacenter: text("datacenter"),
            rack: text("rack"),
            tokens: tokens_of(&json),
        })
    }

    fn in_tokenmap(&self, tag: &str) -> Result<SourceNode> {
        let node = self.ask_tokenmap(tag, |text| node_in_tokenmap(text, &self.name))?.flatten();
        Ok(node.map_or_else(SourceNode::default, |node| SourceNode {
            datacenter: node.datacenter,
            rack: node.rack,
            tokens: node.tokens.into_iter().collect(),
            ..SourceNode::default()
        }))
    }

    /// What Medusa's map of the cluster's tokens tells; `None` where the set has none.
    pub(super) fn ask_tokenmap<T>(&self, tag: &str, ask: impl FnOnce(&[u8]) -> Result<T>) -> Result<Option<T>> {
        let path = self.root.join(SETS).join(tag).join(TOKENMAP);
        if !look::exists(&path)? {
            return Ok(None);
        }
        let told = ask(&read(&path)?).map_err(|e| Error::new(e.kind(), format!("{}: {e}", path.display())))?;
        Ok(Some(told))
    }

    /// The tokens that the node had at the newest full backup not after `tag`, as far as the backup
    /// tells; none where it does not.
    pub fn tokens(&self, tag: &str) -> Result<BTreeSet<String>> {
        Ok(self.source_node(tag)?.tokens)
    }

    /// The cluster that the node was of, as that manifest tells; `None` where none does.
    pub fn cluster(&self, tag: &str) -> Result<Option<String>> {
        Ok(self.manifest(tag)?.and_then(|json| json["cluster_name"].as_str().map(str::to_owned)))
    }

    /// The manifest of the newest full backup not after `tag`.
    fn manifest(&self, tag: &str) -> Result<Option<Value>> {
        let sets = self.root.join(SETS);
        // Only fulls come with a schema.cql, and only fulls' manifests have the tokens. Other
        // tools' backups may have the one without the other.
        let mut newest = None;
        for set in names(&sets)?.iter().rev().filter(|set| set.as_str() <= tag) {
            let (schema, manifest) = (sets.join(set).join("schema.cql"), sets.join(set).join(MANIFEST));
            if look::exists(&schema)? && look::exists(&manifest)? {
                newest = Some(manifest);
                break;
            }
        }
        newest.map(|path| json(&path)).transpose()
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_MANIFEST).read_to_end(&mut text))
        .map_err(|e| Error::io(format_args!("read {}", path.display()), e))?;
    Ok(text)
}

/// A manifest as it was uploaded.
pub(super) fn json(path: &Path) -> Result<Value> {
    serde_json::from_slice(&read(path)?)
        .map_err(|e| Error::corrupt(format!("{} is not JSON", path.display())).with_source(e))
}

fn tokens_of(manifest: &Value) -> BTreeSet<String> {
    let tokens = manifest["source_node"]["tokens"].as_array().map(Vec::as_slice).unwrap_or_default();
    tokens.iter().map(|token| token.as_str().map_or_else(|| token.to_string(), str::to_owned)).collect()
}

/// Longest INCOMPLETE.txt that is read, bytes.
const MAX_TEXT: u64 = 4 << 20;

impl Point {
    /// When it was taken.
    pub fn time(&self) -> Result<SystemTime> {
        modified(&self.root).map_err(|e| Error::io(format_args!("look at {}", self.root.display()), e))
    }

    /// What the mount says that the point lacks of what is asked for, and what is whole instead.
    pub fn lacks(&self, selection: &Selection) -> Result<(Vec<String>, String)> {
        let path = self.root.join(INCOMPLETE);
        let failed = |e| Error::io(format_args!("read {}", path.display()), e);
        // The kernel remembers for a while that a name is not there; a directory it reads anew.
        let mut is_there = false;
        for entry in fs::read_dir(&self.root).map_err(failed)? {
            is_there |= entry.map_err(failed)?.file_name() == INCOMPLETE;
        }
        if !is_there {
            return Ok((Vec::new(), String::new()));
        }
        let mut text = String::new();
        fs::File::open(&path).and_then(|file| file.take(MAX_TEXT).read_to_string(&mut text)).map_err(failed)?;
        let lacks = incomplete::parse(&text).filter(|(table, _)| table.is_none_or(|table| selection.has(table)));
        let mut instead = text.lines().last().unwrap_or_default().to_owned();
        let archived = Archived::parse(&text);
        if !archived.is_none() {
            instead = format!("{archived}\n{instead}");
        }
        Ok((lacks.map(|(_, sentence)| sentence.to_owned()).collect(), instead))
    }

    /// Says that the point lacks something, what is whole instead, and the way to take it all the
    /// same.
    pub fn is_incomplete(&self, lacks: &[String], instead: &str) -> String {
        let (tag, host, lacks) = (&self.tag, &self.host, lacks.join("\n  "));
        format!("{tag} of {host} is incomplete:\n  {lacks}\n{instead}; --allow-incomplete takes it all the same")
    }

    /// The tables of the point, sorted by name; all, or those of one keyspace.
    pub fn tables(&self, keyspace: Option<&str>) -> Result<Vec<BackupTable>> {
        let keyspaces = match keyspace {
            Some(name) if look::is_directory(&self.root.join(name))? => vec![name.to_owned()],
            Some(_) => Vec::new(),
            None => names(&self.root)?.into_iter().filter(|name| TableName::is_valid_part(name)).collect(),
        };
        let mut tables = Vec::new();
        for keyspace in keyspaces {
            let directory = self.root.join(&keyspace);
            for name in names(&directory)? {
                let (host, tag) = (self.host.clone(), self.tag.clone());
                let table = TableName::new(&*keyspace, table_of(&name));
                tables.push(BackupTable { name: table, host, tag, directory: directory.join(name) });
            }
        }
        Ok(tables)
    }
}

impl BackupTable {
    /// The id in its directory's name.
    pub fn id(&self) -> Option<TableId> {
        let name = self.directory.file_name()?.to_str()?;
        TableName::parse_directory(name).map(|(_, id)| id)
    }

    /// Its SSTables. Reads the table's archives if nobody has before.
    pub fn sstables(&self) -> Result<Vec<Sstable>> {
        sstables_of(&self.directory)
    }

    /// The same. Where a restore point may lack something, SSTables that Cassandra would not open
    /// are left out, and told: a sentence each.
    pub(in crate::restore) fn openable(&self, allow_incomplete: bool) -> Result<(Vec<Sstable>, Vec<String>)> {
        if !allow_incomplete {
            return Ok((self.sstables()?, Vec::new()));
        }
        let (sstables, broken) = sstables::split(files_of(&self.directory)?, &|name| toc_of(&self.directory, name));
        let of = |why: String| format!("{} of {}: {}: {why}, and is left out", self.tag, self.host, self.name);
        Ok((sstables, broken.into_iter().map(of).collect()))
    }
}

/// The SSTables in a directory of the backup. What is below it belongs to secondary indexes.
pub(in crate::restore) fn sstables_of(directory: &Path) -> Result<Vec<Sstable>> {
    sstables::group(files_of(directory)?, &|name| toc_of(directory, name))
        .map_err(|error| Error::new(error.kind(), format!("{}: {error}", directory.display())))
}

/// `None` where it cannot be read: then nothing tells that the SSTable is whole.
fn toc_of(directory: &Path, name: &SstableName) -> Option<Vec<String>> {
    let toc = fs::read_to_string(directory.join(name.file_name("TOC.txt"))).ok()?;
    Some(toc.lines().map(str::to_owned).collect())
}

fn files_of(directory: &Path) -> Result<Vec<(String, u64)>> {
    let failed = |e| Error::io(format_args!("read the backup's directory {}", directory.display()), e);
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let metadata = entry.metadata().map_err(failed)?;
        if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
            files.push((name, metadata.len()));
        }
    }
    Ok(files)
}

/// Reads tables of a backup, several at a time, and tells how many are done. The results are in the
/// order of the tables.
pub fn read_tables<T: Sync, R: Send>(
    tables: &[T],
    tell: &(dyn Fn(&str) + Sync),
    read: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let done = Mutex::new(0);
    task::side_by_side(tables, READERS, |table| {
        let result = read(table);
        let mut done = task::lock(&done);
        *done += 1;
        tell(&format!("reading the backup: {done} of {} tables", tables.len()));
        result
    })
}

/// `users` of `users-763d…`.
fn table_of(directory: &str) -> &str {
    match directory.rsplit_once('-') {
        Some((table, id)) if TableId::parse(id).is_ok() => table,
        _ => directory,
    }
}

/// Names of the directories in a directory, sorted; hidden ones and links left out.
pub(super) fn names(directory: &Path) -> Result<Vec<String>> {
    let failed = |e: std::io::Error| {
        let what = format!("cannot read {}", directory.display());
        let kind = if e.kind() == std::io::ErrorKind::NotFound { Kind::NotFound } else { Kind::Io };
        Error::new(kind, what).with_source(e)
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let is_directory = entry.file_type().map_err(failed)?.is_dir();
        if let (true, Ok(name)) = (is_directory, entry.file_name().into_string())
            && !name.starts_with('.')
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn modified(path: &Path) -> std::io::Result<SystemTime> {
    fs::metadata(path)?.modified()
}
