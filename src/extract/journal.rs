//! What an extract has done so far, in a file of its own below the target: `docs/formats.md`,
//! "Extract journal".
//!
//! It is appended to, one line for each thing done, and every line has a checksum: what a crash
//! cuts off was not done.

use super::staging::ArchiveId;
use super::{Layout, Lost};
use crate::cassandra::TableName;
use crate::tree::PointTable;
use crate::{Error, Kind, Result};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

/// First line; the number goes up with every change that an older version would get wrong.
const MAGIC: &str = "cassmount extract 1\n";

/// Longest journal that is read, bytes: a line for each archive.
const MAX_LEN: u64 = 1 << 30;

/// What is extracted: two runs of the same job go on with one another.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) source: String,
    pub(super) host: String,
    pub(super) point: String,
    pub(super) layout: Layout,
    /// Whether directories take the ids of a node's live tables.
    pub(super) live_ids: bool,
}

/// A table that has its final name, or is about to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct DoneTable {
    #[serde(flatten)]
    pub(super) table: TableName,
    pub(super) directory: String,
    /// What it was made from.
    pub(super) archives: Vec<String>,
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// Of paths, sizes and times.
    pub(super) fingerprint: String,
    pub(super) lost: Vec<Lost>,
}

impl DoneTable {
    /// Whether it was made from the archives that the table is made of now.
    pub(super) fn is_of(&self, table: &PointTable) -> bool {
        let archives = table.archives.iter().map(|archive| ArchiveId::of(&archive.object).0);
        self.table == table.table && self.archives.iter().cloned().eq(archives)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Record {
    Job(Job),
    /// What is staged of it is verified.
    Archive(String),
    /// It is being read again: what is staged of it is not verified any more.
    Again(String),
    Table(DoneTable),
    /// BLAKE3 of the schema.cql that was written.
    Schema(String),
}

/// What a journal tells.
#[derive(Debug, Default)]
pub(super) struct JournalContent {
    pub(super) job: Option<Job>,
    pub(super) archives: HashSet<ArchiveId>,
    /// By keyspace and directory; the last word counts.
    pub(super) tables: HashMap<(String, String), DoneTable>,
    pub(super) schema: Option<String>,
}

/// A journal open for writing: nobody else has it open so.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
}

impl Journal {
    /// Takes the journal over, or begins it, for a job. What a crash left of a line at its end is
    /// cut off.
    pub(super) fn open(mut file: File, job: &Job) -> Result<(Self, JournalContent)> {
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(Error::new(Kind::Busy, "another extract is at work there"));
        }
        let (done, len) = read(&mut file)?;
        match &done.job {
            Some(other) if other != job => return Err(other.refusal(job)),
            _ => {}
        }
        file.set_len(len).and_then(|()| file.seek(SeekFrom::Start(len))).map_err(failed)?;
        let mut journal = Self { file };
        if done.job.is_none() {
            journal.file.set_len(0).and_then(|()| journal.file.rewind()).map_err(failed)?;
            journal.file.write_all(MAGIC.as_bytes()).map_err(failed)?;
            journal.append(&Record::Job(job.clone()))?;
        }
        Ok((journal, done))
    }

    pub(super) fn archive(&mut self, id: &ArchiveId) -> Result<()> {
        self.append(&Record::Archive(id.0.clone()))
    }

    pub(super) fn again(&mut self, id: &ArchiveId) -> Result<()> {
        self.append(&Record::Again(id.0.clone()))
    }

    /// On the disk when this returns.
    pub(super) fn table(&mut self, done: &DoneTable) -> Result<()> {
        self.append(&Record::Table(done.clone()))?;
        self.file.sync_data().map_err(failed)
    }

    /// On the disk when this returns.
    pub(super) fn schema(&mut self, digest: String) -> Result<()> {
        self.append(&Record::Schema(digest))?;
        self.file.sync_data().map_err(failed)
    }

    fn append(&mut self, record: &Record) -> Result<()> {
        let json =
            serde_json::to_string(record).map_err(|e| Error::invalid("cannot encode a record").with_source(e))?;
        // One write, so that a full disk or a kill leaves a part of a line at most.
        let line = format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes()));
        self.file.write_all(line.as_bytes()).map_err(failed)
    }
}

impl Job {
    pub(super) fn refusal(&self, other: &Self) -> Error {
        let what = |job: &Self| {
            let ids = if job.live_ids { ", with the ids of live tables" } else { "" };
            format!("{} of {} from {} in layout {}{ids}", job.point, job.host, job.source, job.layout)
        };
        Error::new(
            Kind::Exists,
            format!("there is an extract of {} already, so {} needs another directory", what(self), what(other)),
        )
    }
}

/// What the journal says, and how many of its bytes are whole lines.
pub(super) fn read(file: &mut File) -> Result<(JournalContent, u64)> {
    let len = file.metadata().map_err(failed)?.len();
    if len > MAX_LEN {
        return Err(Error::corrupt("the journal of the extract is impossibly long"));
    }
    let mut bytes = Vec::new();
    file.take(len).read_to_end(&mut bytes).map_err(failed)?;
    let mut done = JournalContent::default();
    let Some(mut rest) = bytes.strip_prefix(MAGIC.as_bytes()) else {
        // Killed in the midst of its first line, or nothing of ours.
        if MAGIC.as_bytes().starts_with(&bytes) {
            return Ok((done, 0));
        }
        return Err(Error::new(Kind::Exists, "the journal of the extract is of another version, or none"));
    };
    let mut whole = MAGIC.len() as u64;
    while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
        let Some(record) = parse(&rest[..end]) else { break };
        match record {
            Record::Job(job) => done.job = Some(job),
            Record::Archive(id) => drop(done.archives.insert(ArchiveId(id))),
            Record::Again(id) => drop(done.archives.remove(&ArchiveId(id))),
            Record::Table(table) => {
                let key = (table.table.keyspace.to_string(), table.directory.clone());
                done.tables.insert(key, table);
            }
            Record::Schema(digest) => done.schema = Some(digest),
        }
        whole += end as u64 + 1;
        rest = &rest[end + 1..];
    }
    Ok((done, whole))
}

fn parse(line: &[u8]) -> Option<Record> {
    let (crc, json) = line.split_first_chunk::<8>()?;
    let json = json.strip_prefix(b" ")?;
    let crc = u32::from_str_radix(std::str::from_utf8(crc).ok()?, 16).ok()?;
    (crc32fast::hash(json) == crc).then(|| serde_json::from_slice(json).ok()).flatten()
}

fn failed(error: std::io::Error) -> Error {
    Error::io("write the journal of the extract", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(point: &str) -> Job {
        let (source, host) = ("s3://bucket".to_owned(), "node1".to_owned());
        Job { source, host, point: point.to_owned(), layout: Layout::Tables, live_ids: false }
    }

    fn table(directory: &str) -> DoneTable {
        DoneTable {
            table: TableName::new("ks", "t"),
            directory: directory.to_owned(),
            archives: vec!["0123456789abcdef".to_owned()],
            files: 8,
            bytes: 1000,
            fingerprint: "ff".to_owned(),
            lost: Vec::new(),
        }
    }

    fn open(file: &tempfile::NamedTempFile) -> Result<(Journal, JournalContent)> {
        Journal::open(File::options().read(true).write(true).open(file.path()).unwrap(), &job("p"))
    }

    #[test]
    fn the_file_is_pinned() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (mut journal, done) = open(&file).unwrap();
        assert!(done.job.is_none());
        journal.archive(&ArchiveId("0123456789abcdef".to_owned())).unwrap();
        journal.again(&ArchiveId("0123456789abcdef".to_owned())).unwrap();
        journal.table(&table("t-1")).unwrap();
        journal.schema("ab".to_owned()).unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        let pinned = r#"cassmount extract 1
b5500c5a {"job":{"source":"s3://bucket","host":"node1","point":"p","layout":"tables","live_ids":false}}
bf26802a {"archive":"0123456789abcdef"}
e186e32b {"again":"0123456789abcdef"}
cb6a643f {"table":{"keyspace":"ks","table":"t","directory":"t-1","archives":["0123456789abcdef"],"files":8,"bytes":1000,"fingerprint":"ff","lost":[]}}
103aa77e {"schema":"ab"}
"#;
        assert_eq!(text, pinned);
    }

    /// Does not take the lock's word for it at first: another test may be starting a program at
    /// this moment, which holds all locks of this process until it is on its way.
    fn patiently<T>(open: impl Fn() -> Result<T>) -> Result<T> {
        for _ in 0..500 {
            match open() {
                Err(error) if error.kind() == Kind::Busy => std::thread::sleep(std::time::Duration::from_millis(10)),
                opened => return opened,
            }
        }
        open()
    }

    #[test]
    fn whatever_is_cut_off_or_damaged_was_not_done() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (mut journal, _) = open(&file).unwrap();
        for n in 0..3 {
            journal.archive(&ArchiveId(format!("{n:016}"))).unwrap();
        }
        journal.table(&table("t-1")).unwrap();
        drop(journal);
        let whole = std::fs::read(file.path()).unwrap();
        for len in 0..whole.len() {
            std::fs::write(file.path(), &whole[..len]).unwrap();
            let (mut journal, done) = patiently(|| open(&file)).unwrap();
            assert!(done.tables.is_empty() && done.archives.len() <= 3);
            journal.archive(&ArchiveId("again".to_owned())).unwrap();
            drop(journal);
            let (_, again) = patiently(|| open(&file)).unwrap();
            assert_eq!(again.archives.len(), done.archives.len() + 1, "{len}");
            assert_eq!(again.job, Some(job("p")));
        }
        let mut damaged = whole.clone();
        let last = whole.len() - 5;
        damaged[last] ^= 1;
        std::fs::write(file.path(), damaged).unwrap();
        assert!(patiently(|| open(&file)).unwrap().1.tables.is_empty());
    }

    #[test]
    fn another_job_and_another_process_are_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let held = open(&file).unwrap();
        assert_eq!(open(&file).unwrap_err().kind(), Kind::Busy);
        drop(held);
        let reopened = || File::options().read(true).write(true).open(file.path()).unwrap();
        let error = patiently(|| Journal::open(reopened(), &job("q"))).unwrap_err();
        assert_eq!(error.kind(), Kind::Exists);
        assert!(error.to_string().contains("p of node1 from s3://bucket in layout tables already"), "{error}");
        std::fs::write(file.path(), "something else").unwrap();
        assert_eq!(patiently(|| open(&file)).unwrap_err().kind(), Kind::Exists);
    }
}
