//! What was done to a whole node, in a file of its own: `docs/formats.md`, «Node journal».
//!
//! Frames, each on the disk before what it tells is begun. It begins with the plan, so that the
//! same command run again goes on with the same work, and `abort` takes away what this restore has
//! put there and nothing else.

use super::made::Made;
use crate::private::{self, Open};
use crate::restore::journal::state::Origin;
use crate::restore::journal::{is_locked, sync_directory};
use crate::time::Timestamp;
use crate::{Error, Kind, Result, frame};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The directory of node journals in a state directory.
const DIRECTORY: &str = "restore-node";
const EXTENSION: &str = "journal";
/// Longest journal that is read, bytes.
const MAX_LEN: u64 = 1 << 30;
/// The number goes up with every change that another version would get wrong.
const VERSION: u32 = 1;

/// What the node is to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Manner {
    /// A node of a cluster all of whose nodes are new.
    ColdStart,
    /// A new node in the place of a dead one of a living cluster.
    Replace(IpAddr),
}

/// What is put into a data directory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(in crate::restore) struct Work {
    version: u32,
    pub(in crate::restore) manner: Manner,
    pub(in crate::restore) from: Origin,
    pub(in crate::restore) started: Timestamp,
    pub(in crate::restore) mountpoint: PathBuf,
    pub(in crate::restore) source: String,
    pub(in crate::restore) data_dir: PathBuf,
    /// Where Cassandra writes once it was started.
    pub(in crate::restore) commitlog: PathBuf,
    /// Whether all of it is ordinary files.
    pub(in crate::restore) copy: bool,
    pub(in crate::restore) tables: Vec<PlacedTable>,
    /// What the configuration needs.
    pub(in crate::restore) needs: Vec<ConfigNeed>,
    /// The other hosts of the backup, each with `--at` its restore point.
    pub(in crate::restore) others: Vec<String>,
}

/// Lines that a file of the configuration needs as long as the node has not joined.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(in crate::restore) struct ConfigNeed {
    pub(in crate::restore) file: PathBuf,
    /// `key: value` of YAML, or options of the JVM.
    pub(in crate::restore) lines: Vec<String>,
}

/// A table's directory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(in crate::restore) struct PlacedTable {
    pub(in crate::restore) keyspace: String,
    pub(in crate::restore) table: String,
    /// `<keyspace>/<table>-<id>`.
    pub(in crate::restore) place: String,
    /// In the mount.
    pub(in crate::restore) from: PathBuf,
    /// Real files, not links.
    pub(in crate::restore) as_files: bool,
    pub(in crate::restore) directories: Vec<PlacedDirectory>,
}

/// The table's own SSTables, or those of an index of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(in crate::restore) struct PlacedDirectory {
    /// Empty, or `.<index>`.
    pub(in crate::restore) below: String,
    pub(in crate::restore) sstables: Vec<PlacedSstable>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(in crate::restore) struct PlacedSstable {
    pub(in crate::restore) name: String,
    /// Names and sizes in bytes.
    pub(in crate::restore) components: BTreeMap<String, u64>,
}

/// How far it has come. Each step is noted before it is made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeStep {
    /// All is put together beside where it goes.
    Staging,
    /// One directory after the other gets its name.
    Placing,
    /// All is in its place.
    Placed,
    /// It is taken out again.
    Undoing,
}

/// A file of the configuration that was changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(in crate::restore) struct ConfigChange {
    pub(in crate::restore) file: PathBuf,
    /// The file as it was before.
    pub(in crate::restore) kept: PathBuf,
    /// BLAKE3 of what was written.
    pub(in crate::restore) written: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Record {
    Work(Box<Work>),
    /// The table's real files are whole in the staging directory: their inodes, by name below the
    /// table's directory.
    Files(String, BTreeMap<String, u64>),
    Step(NodeStep),
    Config(ConfigChange),
    /// What is put there that the backup has not.
    Made(Made),
}

/// What a node journal tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::restore) struct NodeState {
    pub(in crate::restore) work: Work,
    pub(in crate::restore) step: NodeStep,
    /// By the table's place.
    pub(in crate::restore) files: BTreeMap<String, BTreeMap<String, u64>>,
    pub(in crate::restore) config: Vec<ConfigChange>,
    pub(in crate::restore) made: Made,
}

impl Work {
    /// Bytes that are copied rather than linked to.
    pub(super) fn copied_bytes(&self) -> u64 {
        self.tables.iter().filter(|table| table.as_files).map(PlacedTable::bytes).sum()
    }

    #[expect(clippy::too_many_arguments, reason = "each is one field of the record")]
    pub(super) fn new(
        manner: Manner,
        from: Origin,
        started: Timestamp,
        (mountpoint, source): (PathBuf, String),
        (data_dir, commitlog): (PathBuf, PathBuf),
        copy: bool,
        tables: Vec<PlacedTable>,
        needs: Vec<ConfigNeed>,
        others: Vec<String>,
    ) -> Self {
        let version = VERSION;
        Self { version, manner, from, started, mountpoint, source, data_dir, commitlog, copy, tables, needs, others }
    }

    /// The hidden directory in the data directory in which all is put together: Cassandra looks
    /// into none of such a name.
    pub(super) fn staging(&self) -> PathBuf {
        self.data_dir.join(".cassmount-restore-node")
    }
}

impl PlacedTable {
    pub(in crate::restore) fn bytes(&self) -> u64 {
        let sstables = self.directories.iter().flat_map(|directory| &directory.sstables);
        sstables.flat_map(|sstable| sstable.components.values()).sum()
    }

    /// Whether it is no table of the backup.
    pub(super) fn is_made(&self) -> bool {
        self.from.as_os_str().is_empty()
    }

    /// Bytes of its rows, without those of its indexes.
    pub(super) fn own_bytes(&self) -> u64 {
        let own = self.directories.iter().filter(|directory| directory.below.is_empty());
        own.flat_map(|of| &of.sstables)
            .filter_map(|sstable| sstable.components.get(crate::restore::sstables::DATA))
            .sum()
    }

    /// Its files, below its directory here and in the mount alike, with their sizes. Of each
    /// SSTable, Data.db is the last.
    pub(super) fn files(&self) -> Vec<(PathBuf, u64)> {
        let mut files = Vec::new();
        for directory in &self.directories {
            for sstable in &directory.sstables {
                let mut components: Vec<(&String, &u64)> = sstable.components.iter().collect();
                components.sort_by_key(|(component, _)| *component == crate::restore::sstables::DATA);
                let path = |component: &str| Path::new(&directory.below).join(format!("{}-{component}", sstable.name));
                files.extend(components.into_iter().map(|(component, size)| (path(component), *size)));
            }
        }
        files
    }
}

/// Open for writing, by this process alone.
#[derive(Debug)]
pub(in crate::restore) struct NodeJournal {
    file: File,
    path: PathBuf,
    pub(in crate::restore) state: NodeState,
}

/// The file of the journal of a data directory.
fn path(state_dir: &Path, data_dir: &Path) -> PathBuf {
    let hash = blake3::hash(data_dir.as_os_str().as_bytes()).to_hex();
    state_dir.join(DIRECTORY).join(format!("{}.{EXTENSION}", &hash[..16]))
}

/// All node journals, sorted by name. One that cannot be read is among them, with the reason.
pub(in crate::restore) fn all(state_dir: &Path) -> Result<Vec<(PathBuf, Result<NodeState>)>> {
    let directory = state_dir.join(DIRECTORY);
    let failed = |e| Error::io(format_args!("read {}", directory.display()), e);
    if !private::exists(&directory)? {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(&directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            match private::open(&path, Open::Read) {
                Ok(mut file) => {
                    let state = read(&mut file, &path).and_then(|(state, _)| state.ok_or_else(|| unbegun(&path)));
                    found.push((path, state));
                }
                // It came to its end meanwhile.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => found.push((path.clone(), Err(Error::io(format_args!("open {}", path.display()), e)))),
            }
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

fn unbegun(path: &Path) -> Error {
    Error::corrupt(format!("{} does not begin with what was to be done", path.display()))
}

impl NodeJournal {
    /// Takes over the journal of a data directory, if there is one.
    pub(in crate::restore) fn open(state_dir: &Path, data_dir: &Path) -> Result<Option<Self>> {
        let path = path(state_dir, data_dir);
        if !private::exists(&state_dir.join(DIRECTORY))? {
            return Ok(None);
        }
        let mut file = match private::open(&path, Open::ReadWrite) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|e| Error::io(format_args!("open {}", path.display()), e))?,
        };
        lock(&file, &path)?;
        let metadata = file.metadata().map_err(|e| Error::io(format_args!("look at {}", path.display()), e))?;
        if metadata.nlink() == 0 {
            return Ok(None);
        }
        let (state, len) = read(&mut file, &path)?;
        let state = state.ok_or_else(|| unbegun(&path))?;
        // What a crash cut off was not begun.
        file.set_len(len)
            .and_then(|()| file.seek(SeekFrom::Start(len)))
            .map_err(|e| Error::io(format_args!("write {}", path.display()), e))?;
        Ok(Some(Self { file, path, state }))
    }

    /// Begins the journal: it appears whole, with the plan in it.
    ///
    /// # Errors
    /// `Kind::Busy` where there is one by now.
    pub(in crate::restore) fn begin(state_dir: &Path, work: Work, made: Made) -> Result<Self> {
        let directory = state_dir.join(DIRECTORY);
        private::directory(&directory)?;
        let path = path(state_dir, &work.data_dir);
        let failed = |e| Error::io(format_args!("write {}", path.display()), e);
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(&directory).map_err(failed)?;
        lock(file.as_file(), &path)?;
        let records = [Record::Work(Box::new(work)), Record::Made(made)];
        let [plan, more] = [frame::encode(&records[0])?, frame::encode(&records[1])?];
        file.write_all(&[plan, more].concat()).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
        let file = file.persist_noclobber(&path).map_err(|e| match e.error.kind() {
            std::io::ErrorKind::AlreadyExists => at_work(&path),
            _ => failed(e.error),
        })?;
        sync_directory(&directory)?;
        let [Record::Work(work), more] = records else { return Err(unbegun(&path)) };
        let mut state = NodeState::new(*work);
        state.apply(more);
        Ok(Self { file, path, state })
    }

    pub(super) fn files(&mut self, place: &str, files: BTreeMap<String, u64>) -> Result<()> {
        self.append(Record::Files(place.to_owned(), files))
    }

    pub(super) fn step(&mut self, step: NodeStep) -> Result<()> {
        self.append(Record::Step(step))
    }

    pub(super) fn config(&mut self, change: ConfigChange) -> Result<()> {
        self.append(Record::Config(change))
    }

    /// Nothing of this restore is left.
    pub(super) fn remove(self) -> Result<()> {
        fs::remove_file(&self.path).map_err(|e| Error::io(format_args!("remove {}", self.path.display()), e))?;
        sync_directory(self.path.parent().unwrap_or(Path::new("/")))
    }

    fn append(&mut self, record: Record) -> Result<()> {
        let frame = frame::encode(&record)?;
        let written = self.file.write_all(&frame).and_then(|()| self.file.sync_data());
        written.map_err(|e| Error::io(format_args!("write {}", self.path.display()), e))?;
        self.state.apply(record);
        Ok(())
    }
}

impl NodeState {
    fn new(work: Work) -> Self {
        let (files, config, made) = (BTreeMap::new(), Vec::new(), Made::default());
        Self { work, step: NodeStep::Staging, files, config, made }
    }

    fn apply(&mut self, record: Record) {
        match record {
            Record::Work(work) => self.work = *work,
            Record::Files(place, files) => drop(self.files.insert(place, files)),
            Record::Step(step) => self.step = step,
            Record::Made(made) => self.made = made,
            Record::Config(change) => {
                self.config.retain(|of| of.file != change.file);
                self.config.push(change);
            }
        }
    }
}

fn lock(file: &File, path: &Path) -> Result<()> {
    if is_locked(file) { Ok(()) } else { Err(at_work(path)) }
}

fn at_work(path: &Path) -> Error {
    Error::new(Kind::Busy, format!("another cassmount is at work on this node (it holds {})", path.display()))
}

/// What the journal says, if it begins with a plan, and how many of its bytes count.
fn read(file: &mut File, path: &Path) -> Result<(Option<NodeState>, u64)> {
    let failed = |e| Error::io(format_args!("read {}", path.display()), e);
    if file.metadata().map_err(failed)?.len() > MAX_LEN {
        return Err(Error::corrupt(format!("{} is impossibly long", path.display())));
    }
    let mut bytes = Vec::new();
    file.take(MAX_LEN).read_to_end(&mut bytes).map_err(failed)?;
    let (mut state, mut rest): (Option<NodeState>, &[u8]) = (None, &bytes);
    while let Some((record, after)) = frame::decode::<Record>(rest) {
        rest = after;
        match (&mut state, record) {
            (None, Record::Work(work)) if work.version == VERSION => {
                state = Some(NodeState::new(*work));
            }
            (None, _) => {
                return Err(Error::corrupt(format!("{} is of another version of cassmount", path.display())));
            }
            (Some(state), record) => state.apply(record),
        }
    }
    if !rest.is_empty() && !frame::is_torn(rest) {
        return Err(Error::corrupt(format!("{} is damaged", path.display())));
    }
    Ok((state, (bytes.len() - rest.len()) as u64))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::restore::whole) fn work(data_dir: &Path) -> Work {
        let from = Origin { host: "a".to_owned(), point: "p".to_owned() };
        let places = (PathBuf::from("/mnt"), "/bucket".to_owned());
        let data = (data_dir.to_owned(), data_dir.join("commitlog"));
        Work::new(Manner::ColdStart, from, Timestamp(1), places, data, false, Vec::new(), Vec::new(), Vec::new())
    }

    #[test]
    fn what_was_noted_is_known_after_a_kill() {
        let state = tempfile::tempdir().unwrap();
        let data = Path::new("/data");
        assert!(NodeJournal::open(state.path(), data).unwrap().is_none());
        let mut journal = NodeJournal::begin(state.path(), work(data), Made::default()).unwrap();
        assert_eq!(NodeJournal::open(state.path(), data).unwrap_err().kind(), Kind::Busy);
        journal.files("ks/t-1", BTreeMap::from([("x".to_owned(), 7)])).unwrap();
        journal.step(NodeStep::Placing).unwrap();
        let (path, expected) = (journal.path.clone(), journal.state.clone());
        drop(journal);
        let torn = frame::encode(&Record::Step(NodeStep::Placed)).unwrap();
        File::options().append(true).open(&path).unwrap().write_all(&torn[..torn.len() - 1]).unwrap();
        let mut journal = NodeJournal::open(state.path(), data).unwrap().unwrap();
        assert_eq!(journal.state, expected);
        journal.step(NodeStep::Undoing).unwrap();
        drop(journal);
        let all = all(state.path()).unwrap();
        assert_eq!(all[0].1.as_ref().unwrap().step, NodeStep::Undoing);
        NodeJournal::open(state.path(), data).unwrap().unwrap().remove().unwrap();
        assert!(super::all(state.path()).unwrap().is_empty());
    }

    #[test]
    fn one_that_is_damaged_is_told_of() {
        let state = tempfile::tempdir().unwrap();
        let journal = NodeJournal::begin(state.path(), work(Path::new("/data")), Made::default()).unwrap();
        let mut bytes = fs::read(&journal.path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&journal.path, bytes).unwrap();
        assert!(all(state.path()).unwrap()[0].1.is_err());
    }
}
