//! What was done to a live table, in a file of its own: `docs/formats.md`, "Restore journal".
//!
//! It appears whole, with the plan in it, and is appended to: one line for each thing about to be
//! done, each with a checksum, and on the disk before that is begun. So what a crash cuts off was
//! not begun. A table that no restore concerns any more has none.

pub(super) mod journals;
pub(super) mod state;

use crate::cassandra::TableName;
use crate::private::{self, Open};
use crate::{Error, Kind, Result};
use rustix::fs::{FlockOperation, flock};
use state::{Before, Hydrated, Plan, Record, State, Step};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

/// First line; the number goes up with every change that an older version would get wrong.
const MAGIC: &str = "cassmount restore 1\n";
/// Longest journal that is read, bytes: a line with every file of the table, and one for each
/// SSTable.
const MAX_LEN: u64 = 1 << 30;
const EXTENSION: &str = "journal";

/// A journal open for writing: nobody else has it open so.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    path: PathBuf,
    /// Bytes of it that count.
    len: u64,
    pub state: State,
}

/// The journals in a directory, sorted by name.
pub(super) fn all(directory: &Path) -> Result<Vec<PathBuf>> {
    let failed = |e| Error::io(format_args!("read {}", directory.display()), e);
    // What somebody else has put there is never obeyed.
    if !private::exists(directory)? {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(directory).map_err(failed)?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Where the journal of a table is that has these live directories. Not of the one that links go
/// into: that may be another one next time.
pub(super) fn path(directory: &Path, table: &TableName, directories: &[PathBuf]) -> PathBuf {
    let first = directories.iter().min().map(|path| path.as_os_str().as_bytes()).unwrap_or_default();
    let hash = blake3::hash(first).to_hex();
    directory.join(format!("{table}-{}.{EXTENSION}", &hash[..8]))
}

/// The directory of copies that belongs to the journal at `path`.
pub(super) fn copies(path: &Path) -> PathBuf {
    path.with_extension("files")
}

/// Looks into a journal that somebody may be writing to. `None` where there is none.
pub(super) fn look(path: &Path) -> Result<Option<State>> {
    match private::open(path, Open::Read) {
        Ok(mut file) => Ok(Some(read(&mut file, path)?.0)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(format_args!("open {}", path.display()), e)),
    }
}

impl Journal {
    /// Begins the journal of a new restore.
    ///
    /// # Errors
    /// `Kind::Busy` where there is one by now.
    pub(super) fn begin(directory: &Path, plan: Plan) -> Result<Self> {
        private::directory(directory)?;
        let path = path(directory, &plan.table, &plan.directories);
        let failed = |e| Error::io(format_args!("write {}", path.display()), e);
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(directory).map_err(failed)?;
        // Before it has its name: nobody gets it in between.
        lock(file.as_file(), &path)?;
        let text = format!("{MAGIC}{}", line(&Record::Plan(Box::new(plan.clone())))?);
        file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
        let file = file.persist_noclobber(&path).map_err(|e| match e.error.kind() {
            std::io::ErrorKind::AlreadyExists => at_work(&path),
            _ => failed(e.error),
        })?;
        sync_directory(directory)?;
        sync_directory(directory.parent().unwrap_or(Path::new("/")))?;
        Ok(Self { file, path, len: text.len() as u64, state: State::new(plan) })
    }

    /// Takes a journal over, if it is there. What a crash left of a line at its end does not count.
    pub(super) fn open(path: &Path) -> Result<Option<Self>> {
        let mut file = match private::open(path, Open::ReadWrite) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|e| Error::io(format_args!("open {}", path.display()), e))?,
        };
        lock(&file, path)?;
        // Whoever held it until now may have come to its end.
        let metadata = file.metadata().map_err(|e| Error::io(format_args!("look at {}", path.display()), e))?;
        if metadata.nlink() == 0 {
            return Ok(None);
        }
        let (state, len) = read(&mut file, path)?;
        Ok(Some(Self { file, path: path.to_owned(), len, state }))
    }

    pub(super) fn before(&mut self, before: Before) -> Result<()> {
        self.append(Record::Before(before))
    }

    pub(super) fn step(&mut self, step: Step) -> Result<()> {
        self.append(Record::Step(step))
    }

    pub(super) fn hydrated(&mut self, hydrated: Hydrated) -> Result<()> {
        self.append(Record::Hydrated(hydrated))
    }

    /// Not on the disk yet when this returns: if the machine stops now, an SSTable that is not
    /// there is taken for one that compaction has read, which only makes the way back longer.
    pub(super) fn removing(&mut self, number: usize) -> Result<()> {
        self.write(Record::Removing(number))
    }

    /// Where copies of files are that Cassandra made of links.
    pub(super) fn copies(&self) -> PathBuf {
        copies(&self.path)
    }

    /// The table is as if nothing had ever been restored.
    pub(super) fn remove(self) -> Result<()> {
        let copies = self.copies();
        match fs::remove_dir_all(&copies) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io(format_args!("remove {}", copies.display()), e));
            }
            _ => {}
        }
        fs::remove_file(&self.path).map_err(|e| Error::io(format_args!("remove {}", self.path.display()), e))?;
        sync_directory(self.path.parent().unwrap_or(Path::new("/")))
    }

    /// On the disk when this returns.
    fn append(&mut self, record: Record) -> Result<()> {
        self.write(record)?;
        self.file.sync_data().map_err(|e| Error::io(format_args!("write {}", self.path.display()), e))
    }

    fn write(&mut self, record: Record) -> Result<()> {
        let line = line(&record)?;
        // At its place, so that what a full disk left of an earlier one is written over.
        self.file.write_all_at(line.as_bytes(), self.len).map_err(|e| {
            let _ = self.file.set_len(self.len);
            Error::io(format_args!("write {}", self.path.display()), e)
        })?;
        self.len += line.len() as u64;
        self.state.apply(record);
        Ok(())
    }
}

fn lock(file: &File, path: &Path) -> Result<()> {
    if is_locked(file) { Ok(()) } else { Err(at_work(path)) }
}

/// Locks a journal for this process, unless another has it. A program that is being started holds
/// the locks of its parent until it runs: what this process has just let go is waited for.
pub(super) fn is_locked(file: &File) -> bool {
    const POLL: Duration = Duration::from_millis(20);
    const TRIES: usize = 25;
    (0..TRIES).any(|number| {
        if number > 0 {
            sleep(POLL);
        }
        flock(file, FlockOperation::NonBlockingLockExclusive).is_ok()
    })
}

fn at_work(path: &Path) -> Error {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let table = name.rsplit_once('-').map_or(&*name, |(table, _)| table);
    Error::new(Kind::Busy, format!("another cassmount is at work on {table}"))
}

/// Brings names in a directory to the disk.
pub(super) fn sync_directory(directory: &Path) -> Result<()> {
    File::open(directory)
        .and_then(|file| file.sync_all())
        .map_err(|e| Error::io(format_args!("bring {} to the disk", directory.display()), e))
}

/// What the journal says, and how many of its bytes are whole lines.
fn read(file: &mut File, path: &Path) -> Result<(State, u64)> {
    let failed = |e| Error::io(format_args!("read {}", path.display()), e);
    let damaged = |what: &str| Error::corrupt(format!("{} {what}", path.display()));
    let len = file.metadata().map_err(failed)?.len();
    if len > MAX_LEN {
        return Err(damaged("is impossibly long"));
    }
    let mut bytes = Vec::new();
    file.take(len).read_to_end(&mut bytes).map_err(failed)?;
    let rest =
        bytes.strip_prefix(MAGIC.as_bytes()).ok_or_else(|| damaged("is a journal of another version, or none"))?;
    let mut lines = rest.split_inclusive(|&byte| byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let Some(Record::Plan(plan)) = parse(first) else { return Err(damaged("is damaged: its plan cannot be read")) };
    let mut state = State::new(*plan);
    let mut whole = MAGIC.len() + first.len();
    for line in lines.by_ref() {
        let Some(record) = parse(line) else { break };
        state.apply(record);
        whole += line.len();
    }
    // Each is on the disk before the next is written, so only the last can have been cut off.
    if lines.any(|line| parse(line).is_some()) {
        return Err(damaged("is damaged in its midst"));
    }
    Ok((state, whole as u64))
}

fn line(record: &Record) -> Result<String> {
    let json = serde_json::to_string(record).map_err(|e| Error::invalid("cannot encode a record").with_source(e))?;
    Ok(format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes())))
}

fn parse(line: &[u8]) -> Option<Record> {
    let (crc, json) = line.strip_suffix(b"\n")?.split_first_chunk::<8>()?;
    let json = json.strip_prefix(b" ")?;
    let crc = u32::from_str_radix(std::str::from_utf8(crc).ok()?, 16).ok()?;
    (crc32fast::hash(json) == crc).then(|| serde_json::from_slice(json).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::state::{Linked, Origin};
    use super::*;
    use crate::time::Timestamp;

    fn plan() -> Plan {
        Plan {
            table: TableName::new("shop", "users"),
            live: "/data/shop/users-1".into(),
            directories: vec!["/data/shop/users-1".into()],
            mountpoint: "/mnt".into(),
            source: "s3://b".to_owned(),
            from: vec![Origin { host: "a".to_owned(), point: "p".to_owned() }],
            started: Timestamp(1),
            snapshot: "cassmount-1".to_owned(),
            truncate: false,
            indexes: vec!["by_name".to_owned()],
            nodetool: String::new(),
            sstables: vec![Linked {
                directory: "/mnt/a".into(),
                name: "nb-1-big".to_owned(),
                staged: "nb-2-big".to_owned(),
                components: [("Data.db".to_owned(), 5)].into(),
            }],
            index_sstables: Vec::new(),
        }
    }

    /// Does not take the lock's word for it at first: another test may be starting a program at
    /// this moment, which holds all locks of this process until it is on its way.
    fn patiently(path: &Path) -> Result<Option<Journal>> {
        for _ in 0..500 {
            match Journal::open(path) {
                Err(error) if error.kind() == Kind::Busy => std::thread::sleep(std::time::Duration::from_millis(10)),
                opened => return opened,
            }
        }
        Journal::open(path)
    }

    fn written(cache: &Path) -> PathBuf {
        let mut journal = Journal::begin(cache, plan()).unwrap();
        let sstables = vec![("/data/shop/users-1".into(), "nb-1-big".to_owned())];
        journal.before(Before { sstables, snapshot: true }).unwrap();
        journal.step(Step::Linking).unwrap();
        journal.step(Step::Open).unwrap();
        journal.hydrated(Hydrated { sstable: 0, name: "nb-7-big".to_owned(), inode: 99 }).unwrap();
        path(cache, &plan().table, &plan().directories)
    }

    #[test]
    fn the_file_is_pinned() {
        let cache = tempfile::tempdir().unwrap();
        let path = written(cache.path());
        assert!(path.file_name().unwrap().to_str().unwrap().starts_with("shop.users-"));
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().map(|line| line.split_once(' ').unwrap().1).collect();
        let pinned = [
            "restore 1",
            r#"{"plan":{"keyspace":"shop","table":"users","live":"/data/shop/users-1","directories":["/data/shop/users-1"],"mountpoint":"/mnt","source":"s3://b","from":[{"host":"a","point":"p"}],"started":1,"snapshot":"cassmount-1","truncate":false,"indexes":["by_name"],"sstables":[{"directory":"/mnt/a","name":"nb-1-big","staged":"nb-2-big","components":{"Data.db":5}}]}}"#,
            r#"{"before":{"sstables":[["/data/shop/users-1","nb-1-big"]],"snapshot":true}}"#,
            r#"{"step":"linking"}"#,
            r#"{"step":"open"}"#,
            r#"{"hydrated":{"sstable":0,"name":"nb-7-big","inode":99}}"#,
        ];
        assert_eq!(lines, pinned);
        let crc = format!("{:08x}", crc32fast::hash(pinned[3].as_bytes()));
        assert!(text.contains(&format!("\n{crc} {}\n", pinned[3])));
        let state = look(&path).unwrap().unwrap();
        assert_eq!((state.plan.clone(), state.step, state.snapshot()), (plan(), Step::Open, Some("cassmount-1")));
        assert_eq!(state.hydrated[&0].name, "nb-7-big");
        assert_eq!(all(cache.path()).unwrap(), [path]);
    }

    #[test]
    fn whatever_is_cut_off_was_not_done() {
        let cache = tempfile::tempdir().unwrap();
        let path = written(cache.path());
        let whole = fs::read(&path).unwrap();
        let plan_ends = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1).unwrap().0 + 1;
        let mut steps = std::collections::BTreeSet::new();
        for len in 0..=whole.len() {
            fs::write(&path, &whole[..len]).unwrap();
            if len < plan_ends {
                // It appears with its plan: this is damage.
                assert_eq!(look(&path).unwrap_err().kind(), Kind::Corrupt, "{len}");
                continue;
            }
            let mut journal = patiently(&path).unwrap().unwrap();
            steps.insert(journal.state.step);
            journal.step(Step::Aborting).unwrap();
            journal.removing(0).unwrap();
            drop(journal);
            let state = look(&path).unwrap().unwrap();
            assert_eq!((state.step, state.removed.len()), (Step::Aborting, 1), "{len}");
        }
        assert_eq!(steps.into_iter().collect::<Vec<_>>(), [Step::Planned, Step::Linking, Step::Open]);
    }

    #[test]
    fn a_line_that_is_damaged_is_told_from_one_that_is_cut_off() {
        let cache = tempfile::tempdir().unwrap();
        let path = written(cache.path());
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("linking", "Linking")).unwrap();
        assert_eq!(look(&path).unwrap_err().kind(), Kind::Corrupt);
        fs::write(&path, text.replace("nb-7-big", "nb-8-big")).unwrap();
        assert!(look(&path).unwrap().unwrap().hydrated.is_empty());
    }

    #[test]
    fn there_is_one_for_all_directories_of_a_table() {
        let cache = tempfile::tempdir().unwrap();
        written(cache.path());
        let again = Journal::begin(cache.path(), plan()).unwrap_err();
        assert_eq!(again.kind(), Kind::Busy);
        let of = |directories: &[&str]| {
            path(cache.path(), &plan().table, &directories.iter().map(PathBuf::from).collect::<Vec<_>>())
        };
        assert_eq!(of(&["/a/t", "/b/t"]), of(&["/b/t", "/a/t"]));
        assert_ne!(of(&["/a/t"]), of(&["/b/t"]));
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 1, "nothing else is left there");
    }

    #[test]
    fn one_process_at_a_time() {
        let cache = tempfile::tempdir().unwrap();
        let path = written(cache.path());
        let held = patiently(&path).unwrap().unwrap();
        let error = Journal::open(&path).unwrap_err();
        assert_eq!((error.kind(), &*error.to_string()), (Kind::Busy, "another cassmount is at work on shop.users"));
        held.remove().unwrap();
        assert!(patiently(&path).unwrap().is_none() && all(cache.path()).unwrap().is_empty());
    }
}
