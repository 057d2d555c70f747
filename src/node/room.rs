//! The directory of all nodes: for each one of its own, with its record in it. What a killed
//! command left is found here.

use super::address::Endpoint;
use super::files::{make_private, read_record, write_record};
use super::process::ProcessId;
use super::record::{Record, State, VERSION};
use crate::time::Timestamp;
use crate::{Error, Kind, Result};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

const RECORD: &str = "record.json";
/// What a directory is called until its record is in it.
const UNFINISHED: &str = ".new";
/// Longest record that is read, bytes.
const LONGEST: u64 = 1 << 20;
/// How long another command may hold the lock: it is held for as long as a directory takes to make
/// or remove.
const LOCK_DEADLINE: Duration = Duration::from_mins(1);
/// How long a killed Cassandra may take to end: the kernel has to give its memory back.
pub(super) const KILL_PATIENCE: Duration = Duration::from_mins(1);

/// Where the nodes of a user are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Room {
    directory: PathBuf,
}

/// A node's directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub directory: PathBuf,
    pub record: Record,
}

/// What a node is begun with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Beginning {
    pub source: String,
    pub at: String,
    pub cassandra: String,
    /// The mount that it reads from; `None` for one of its own, in its directory.
    pub mountpoint: Option<PathBuf>,
    /// Whether it is of no use without the process that starts it.
    pub ends_with_starter: bool,
}

impl Room {
    /// Below the directory where a user's state is kept; made if it is not there.
    pub fn open(state_dir: &Path) -> Result<Self> {
        let directory = state_dir.join("nodes");
        make_private(&directory)?;
        // As the kernel names what is open below it.
        let real = directory.canonicalize();
        Ok(Self { directory: real.map_err(|e| Error::io(format_args!("look at {}", directory.display()), e))? })
    }

    /// Where mounts of nodes' own are.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// All nodes, sorted by name.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for directory in self.directories()? {
            if directory.extension().is_none()
                && let Some(record) = read(&directory)?
            {
                entries.push(Entry { directory, record });
            }
        }
        entries.sort_by_key(|entry| (number(&entry.record.name), entry.record.name.clone()));
        Ok(entries)
    }

    /// Makes a directory for another node. `endpoint` chooses its address, given those that other
    /// nodes have.
    pub fn begin(
        &self,
        beginning: Beginning,
        endpoint: impl FnOnce(&BTreeSet<std::net::Ipv4Addr>) -> Result<Endpoint>,
    ) -> Result<Entry> {
        let _lock = self.lock()?;
        let entries = self.entries()?;
        let endpoint = endpoint(&entries.iter().map(|entry| entry.record.endpoint.address).collect())?;
        let last = entries.iter().filter_map(|entry| number(&entry.record.name)).max().unwrap_or(0);
        let name = format!("past-{}", last + 1);
        let directory = self.directory.join(&name);
        let own_mountpoint = directory.join("mount");
        let record = Record {
            version: VERSION,
            name,
            source: beginning.source,
            at: beginning.at,
            points: Vec::new(),
            started: Timestamp::from(SystemTime::now()),
            endpoint,
            cassandra: beginning.cassandra,
            has_own_mount: beginning.mountpoint.is_none(),
            mountpoint: beginning.mountpoint.unwrap_or_else(|| own_mountpoint.clone()),
            starter: ProcessId::of_this_process()?,
            ends_with_starter: beginning.ends_with_starter,
            server: None,
            is_ready: false,
        };
        let unfinished = directory.with_extension(&UNFINISHED[1..]);
        make_private(&unfinished)?;
        for inner in ["mount", "log"] {
            make_private(&unfinished.join(inner))?;
        }
        let entry = Entry { directory: directory.clone(), record };
        Entry { directory: unfinished.clone(), ..entry.clone() }.save()?;
        fs::rename(&unfinished, &directory)
            .map_err(|e| Error::io(format_args!("rename {}", unfinished.display()), e))?;
        Ok(entry)
    }

    /// Ends a node and removes its directory. `unmount` takes its own mount away.
    pub fn remove(&self, entry: &Entry, unmount: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
        // Newer than what the caller has, where a start was broken off.
        let record = read(&entry.directory)?.unwrap_or_else(|| entry.record.clone());
        if let Some(server) = &record.server {
            server.kill(KILL_PATIENCE)?;
        }
        if record.has_own_mount {
            unmount(&record.mountpoint)?;
        }
        let _lock = self.lock()?;
        remove_tree(&entry.directory)
    }

    /// Removes what dead nodes left, and tells of which.
    pub fn sweep(&self, unmount: &mut dyn FnMut(&Path) -> Result<()>) -> Result<Vec<Record>> {
        {
            let _lock = self.lock()?;
            let unfinished = |path: &PathBuf| path.extension().is_some_and(|extension| extension == &UNFINISHED[1..]);
            for directory in self.directories()?.iter().filter(|path| unfinished(path)) {
                remove_tree(directory)?;
            }
        }
        let mut swept = Vec::new();
        for entry in self.entries()? {
            if entry.record.state()? == State::Dead {
                self.remove(&entry, unmount)?;
                swept.push(entry.record);
            }
        }
        Ok(swept)
    }

    fn directories(&self) -> Result<Vec<PathBuf>> {
        let failed = |e| Error::io(format_args!("read {}", self.directory.display()), e);
        let mut directories = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_type().map_err(failed)?.is_dir() {
                directories.push(entry.path());
            }
        }
        Ok(directories)
    }

    fn lock(&self) -> Result<File> {
        let path = self.directory.join("lock");
        let failed = |e| Error::io(format_args!("lock {}", path.display()), e);
        let file = File::options().create(true).write(true).truncate(false).open(&path).map_err(failed)?;
        let until = Instant::now() + LOCK_DEADLINE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
                Err(fs::TryLockError::WouldBlock) if Instant::now() >= until => {
                    let message = format!("another cassmount has {} locked for a minute", path.display());
                    return Err(Error::new(Kind::Busy, message));
                }
                Err(fs::TryLockError::WouldBlock) => sleep(Duration::from_millis(50)),
            }
        }
    }
}

impl Entry {
    /// Brings the record to the disk, whole or not at all.
    pub(super) fn save(&self) -> Result<()> {
        write_record(&self.directory.join(RECORD), &self.directory.join("record.tmp"), &self.record)
    }
}

/// The record in a node's directory; `None` where the directory has gone meanwhile.
fn read(directory: &Path) -> Result<Option<Record>> {
    read_record(&directory.join(RECORD), LONGEST, "end its Cassandra by hand and remove the directory")
}

/// Removes a node's directory, the record last: until then a sweep finds what is left of it.
fn remove_tree(directory: &Path) -> Result<()> {
    let failed = |e| Error::io(format_args!("remove {}", directory.display()), e);
    let entries = match fs::read_dir(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    // Not recursive where something might be mounted: what is in there is no file of ours.
    let mountpoint = directory.join("mount");
    match fs::remove_dir(&mountpoint) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(Error::io(format_args!("remove {}", mountpoint.display()), e));
        }
        _ => {}
    }
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        if path == mountpoint || entry.file_name() == RECORD {
            continue;
        }
        let removed = if entry.file_type().map_err(failed)?.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        match removed {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io(format_args!("remove {}", path.display()), e));
            }
            _ => {}
        }
    }
    match fs::remove_dir_all(directory) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed(e)),
        _ => Ok(()),
    }
}

/// `3` of `past-3`.
fn number(name: &str) -> Option<u32> {
    name.strip_prefix("past-")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::address::Endpoint;
    use std::net::Ipv4Addr;
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    fn begin(room: &Room) -> Entry {
        let beginning = Beginning {
            source: "file:///b".to_owned(),
            at: "latest".to_owned(),
            cassandra: "5.0.6".to_owned(),
            mountpoint: None,
            ends_with_starter: false,
        };
        let endpoint = |taken: &BTreeSet<Ipv4Addr>| {
            let address = Ipv4Addr::new(127, 0, 0, 70 + taken.len() as u8);
            Ok(Endpoint { address, port: 9042, storage_port: 7000 })
        };
        room.begin(beginning, endpoint).unwrap()
    }

    #[test]
    fn nodes_have_directories_and_addresses_of_their_own() {
        let state = tempfile::tempdir().unwrap();
        let room = Room::open(state.path()).unwrap();
        let (one, two) = (begin(&room), begin(&room));
        assert_eq!((&*one.record.name, &*two.record.name), ("past-1", "past-2"));
        assert_ne!(one.record.endpoint.address, two.record.endpoint.address);
        assert_eq!(room.entries().unwrap(), [one.clone(), two]);
        assert_eq!(fs::metadata(&one.directory).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(one.record.state().unwrap(), State::Starting);
    }

    #[test]
    fn what_a_dead_node_left_is_swept() {
        let state = tempfile::tempdir().unwrap();
        let room = Room::open(state.path()).unwrap();
        let mut ended = Command::new("true").spawn().unwrap();
        let of_ended = ProcessId::of(ended.id()).unwrap();
        ended.wait().unwrap();
        let mut server = Command::new("sleep").arg("60").spawn().unwrap();

        // Its starter was killed before it was ready; its Cassandra runs on.
        let mut orphan = begin(&room);
        orphan.record.starter = of_ended.clone();
        orphan.record.server = Some(ProcessId::of(server.id()).unwrap());
        orphan.save().unwrap();
        fs::create_dir_all(orphan.directory.join("data/shop/users-1")).unwrap();
        let mut dead = begin(&room);
        dead.record.server = Some(of_ended.clone());
        dead.record.is_ready = true;
        dead.save().unwrap();
        // A drill that was killed: its Cassandra serves nobody.
        let mut drilled = Command::new("sleep").arg("60").spawn().unwrap();
        let mut drill = begin(&room);
        drill.record.starter = of_ended.clone();
        drill.record.server = Some(ProcessId::of(drilled.id()).unwrap());
        (drill.record.is_ready, drill.record.ends_with_starter) = (true, true);
        drill.save().unwrap();
        let alive = begin(&room);
        fs::create_dir_all(room.path().join("past-9.new/log")).unwrap();

        let mut unmounted = Vec::new();
        let swept = room
            .sweep(&mut |mountpoint| {
                unmounted.push(mountpoint.to_owned());
                Ok(())
            })
            .unwrap();
        server.wait().unwrap();
        drilled.wait().unwrap();
        assert_eq!(swept.iter().map(|record| &*record.name).collect::<Vec<_>>(), ["past-1", "past-2", "past-3"]);
        assert_eq!(unmounted, [orphan, dead, drill].map(|entry| entry.record.mountpoint));
        assert_eq!(room.entries().unwrap(), [alive]);
        assert!(!room.path().join("past-9.new").exists() && !room.path().join("past-1").exists());
    }

    #[test]
    fn a_mount_that_is_still_there_keeps_the_directory() {
        let state = tempfile::tempdir().unwrap();
        let room = Room::open(state.path()).unwrap();
        let entry = begin(&room);
        let file = entry.record.mountpoint.join("nb-1-big-Data.db");
        fs::write(&file, "of the backup").unwrap();
        assert!(room.remove(&entry, &mut |_| Ok(())).is_err());
        assert!(file.exists() && room.entries().unwrap() == [entry]);
    }

    #[test]
    fn a_record_that_cannot_be_read_is_an_error() {
        let state = tempfile::tempdir().unwrap();
        let room = Room::open(state.path()).unwrap();
        let entry = begin(&room);
        fs::write(entry.directory.join(RECORD), "{").unwrap();
        assert_eq!(room.entries().unwrap_err().kind(), Kind::Corrupt);
    }
}
