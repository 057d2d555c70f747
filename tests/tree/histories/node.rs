//! A node whose tables come and go, which flushes and compacts and is backed up now and then by
//! scripts that may fail; and its bucket.

use super::memory_bucket::{Bucket, Member};
use super::schema_sstable::{self, Statement, time_uuid};
use bytes::Bytes;
use cassmount::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

pub(crate) const HOST: &str = "node-1";
pub(crate) const KEYSPACE: &str = "ks";
pub(crate) const TABLES: [&str; 2] = ["a", "b"];

/// 2026-10-24T00:00:00Z: the day before summer time ends in Europe.
pub(crate) const BEGIN: i64 = 1_792_800_000;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    Create(usize),
    Drop(usize),
    Flush(usize),
    Compact(usize),
    Backup(Run),
    /// Sets the host's clock to so many quarters of an hour from UTC.
    Zone(i32),
}

/// A run of a backup script.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    pub(crate) full: bool,
    /// Seconds from the snapshot to the manifest.
    pub(crate) length: i64,
    pub(crate) finishes: bool,
    /// Whether an incremental removes what it has archived.
    pub(crate) cleans: bool,
    /// Of several directories of one table, an incremental archives the oldest with files in it;
    /// else the newest.
    pub(crate) oldest_first: bool,
    /// Archives that do not arrive, or are deleted later: a bit for each of `TABLES`, then for
    /// `tables` and `views` of system_schema.
    pub(crate) lost: u8,
}

/// One SSTable: the rows that it holds stand for its content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sstable {
    pub(crate) generation: u32,
    pub(crate) rows: BTreeSet<u32>,
    /// Unix seconds.
    pub(crate) written: i64,
}

/// One life of a table and its directory, which outlives it.
#[derive(Clone, Debug)]
pub(crate) struct Incarnation {
    pub(crate) table: usize,
    pub(crate) id: [u8; 16],
    /// Microseconds.
    pub(crate) created: i64,
    pub(crate) dropped: Option<i64>,
    live: Vec<Sstable>,
    /// Its directory `backups`.
    backups: Vec<Sstable>,
    generations: u32,
}

/// A table's archive in a set.
#[derive(Clone, Debug)]
pub(crate) struct Archive {
    /// Index into [`Node::incarnations`].
    pub(crate) incarnation: usize,
    pub(crate) is_snapshot: bool,
    pub(crate) sstables: Vec<Sstable>,
}

/// A backup set.
#[derive(Clone, Debug)]
pub(crate) struct Set {
    pub(crate) tag: String,
    /// Unix seconds.
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) full: bool,
    pub(crate) finished: bool,
    /// By table.
    pub(crate) archives: BTreeMap<usize, Archive>,
    /// What each incarnation had flushed when it was started.
    pub(crate) flushed: Vec<BTreeSet<u32>>,
}

pub(crate) struct Node {
    pub(crate) now: i64,
    /// Of its clock, seconds.
    offset: i32,
    /// Whether manifests state the offset.
    states_offset: bool,
    pub(crate) incarnations: Vec<Incarnation>,
    pub(crate) sets: Vec<Set>,
    pub(crate) bucket: Bucket,
    /// Every statement, which is an SSTable of system_schema.tables each, and those that no
    /// incremental has removed.
    statements: Vec<(usize, Statement)>,
    unarchived: Vec<usize>,
    rows: u32,
    /// When the last incremental was done: they wait for one another.
    busy_until: i64,
}

impl Incarnation {
    pub(crate) fn lives_at(&self, micros: i64) -> bool {
        self.created <= micros && self.dropped.is_none_or(|dropped| micros < dropped)
    }

    pub(crate) fn hex(&self) -> String {
        self.id.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    pub(crate) fn directory(&self) -> String {
        format!("{}-{}", TABLES[self.table], self.hex())
    }

    fn flush(&mut self, rows: BTreeSet<u32>, written: i64) -> Sstable {
        self.generations += 1;
        let sstable = Sstable { generation: self.generations, rows, written };
        self.live.push(sstable.clone());
        sstable
    }
}

impl Archive {
    /// Its files, of the incarnation that it is of.
    pub(crate) fn members(&self, of: &Incarnation) -> Vec<Member> {
        let mut members: Vec<Member> = self.sstables.iter().flat_map(|sstable| sstable.members(of)).collect();
        if self.is_snapshot {
            let id = of.hex();
            let id = [&id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]].join("-");
            let table = TABLES[of.table];
            let cql = format!("CREATE TABLE IF NOT EXISTS {KEYSPACE}.{table} (k int PRIMARY KEY) WITH ID = {id};");
            for (path, content) in [("manifest.json", "{\"files\": []}".into()), ("schema.cql", cql)] {
                let modified = Timestamp::from_secs(of.created.div_euclid(1_000_000));
                members.push(Member { path: path.into(), content: content.into(), modified });
            }
        }
        members
    }
}

impl Sstable {
    pub(crate) fn members(&self, of: &Incarnation) -> Vec<Member> {
        let file = |component: &str, content: Bytes| Member {
            path: format!("nb-{}-big-{component}", self.generation),
            content,
            modified: Timestamp::from_secs(self.written),
        };
        let data = format!("{} {:?}", of.hex(), self.rows);
        let others = ["Statistics.db", "Index.db", "CompressionInfo.db"];
        let others = others.map(|component| file(component, Bytes::from(format!("{component} of {data}"))));
        [file("Data.db", data.into())].into_iter().chain(others).collect()
    }
}

impl Node {
    pub(crate) fn new(offset: i32, states_offset: bool) -> Self {
        Self {
            now: BEGIN,
            offset,
            states_offset,
            incarnations: Vec::new(),
            sets: Vec::new(),
            bucket: Bucket::default(),
            statements: Vec::new(),
            unarchived: Vec::new(),
            rows: 0,
            busy_until: 0,
        }
    }

    fn alive(&self, table: usize) -> Option<usize> {
        self.incarnations.iter().rposition(|one| one.table == table && one.dropped.is_none())
    }

    pub(crate) fn act(&mut self, action: Action) {
        // Within the second, as DDL is to the microsecond and files to the second.
        let at = self.now * 1_000_000 + 500_000;
        match action {
            Action::Create(table) if self.alive(table).is_none() => {
                let id = time_uuid(at - 5_000, self.incarnations.len() as u8);
                let (live, backups) = (Vec::new(), Vec::new());
                self.incarnations.push(Incarnation {
                    table,
                    id,
                    created: at,
                    dropped: None,
                    live,
                    backups,
                    generations: 0,
                });
                self.execute(table, Statement::Create { id, at });
            }
            Action::Drop(table) => {
                if let Some(alive) = self.alive(table) {
                    self.incarnations[alive].dropped = Some(at);
                    self.incarnations[alive].live.clear();
                    self.execute(table, Statement::Drop { at });
                }
            }
            Action::Flush(table) => {
                if let Some(alive) = self.alive(table) {
                    self.rows += 1;
                    let one = &mut self.incarnations[alive];
                    let sstable = one.flush([self.rows].into(), self.now);
                    // incremental_backups: a hard link.
                    one.backups.push(sstable);
                }
            }
            Action::Compact(table) => {
                if let Some(alive) = self.alive(table) {
                    let one = &mut self.incarnations[alive];
                    let rows: BTreeSet<u32> =
                        std::mem::take(&mut one.live).into_iter().flat_map(|old| old.rows).collect();
                    if !rows.is_empty() {
                        one.flush(rows, self.now);
                    }
                }
            }
            Action::Backup(run) => self.back_up(run),
            Action::Zone(quarters) => self.offset = quarters * 900,
            Action::Create(_) => {}
        }
    }

    fn execute(&mut self, table: usize, statement: Statement) {
        self.unarchived.push(self.statements.len());
        self.statements.push((table, statement));
    }

    pub(crate) fn back_up(&mut self, run: Run) {
        if !run.full && self.now <= self.busy_until {
            return;
        }
        let mut tag = self.tag();
        while self.sets.iter().any(|set| set.tag == tag) {
            // The hour that comes twice: a script that finds its directory there waits a minute.
            self.now += 60;
            tag = self.tag();
        }
        let arrives = |bit: usize| run.lost >> bit & 1 == 0;
        let archives: BTreeMap<usize, Archive> = if run.full { self.snapshot() } else { self.archive_backups(run) };
        let archives: BTreeMap<usize, Archive> = archives.into_iter().filter(|(table, _)| arrives(*table)).collect();
        let written = Timestamp::from_secs(self.now + 1);
        let key = |name: &str| format!("{HOST}/{tag}/{name}");
        for (table, archive) in &archives {
            let members = archive.members(&self.incarnations[archive.incarnation]);
            self.bucket.put_archive(key(&format!("{KEYSPACE}/{}.tar.gz.enc", TABLES[*table])), members, written);
        }

        let statements: Vec<usize> =
            if run.full { (0..self.statements.len()).collect() } else { self.unarchived.clone() };
        if run.cleans && !run.full {
            self.unarchived.clear();
        }
        let schema = statements.iter().flat_map(|statement| self.schema_members(*statement)).collect::<Vec<_>>();
        if arrives(TABLES.len()) && (run.full || !schema.is_empty()) {
            self.bucket.put_archive(key("system_schema/tables.tar.gz.enc"), schema, written);
        }
        if arrives(TABLES.len() + 1) && run.full {
            self.bucket.put_archive(key("system_schema/views.tar.gz.enc"), Vec::new(), written);
        }
        if run.full {
            self.bucket.put(key("schema_mapping.json"), self.mapping(run.oldest_first), written);
        }
        let end = self.now + run.length;
        if run.finishes {
            let kind = if run.full { "full" } else { "incremental" };
            let manifest = format!(r#"{{"backup_type":"{kind}","timestamp_utc":"{}"}}"#, self.stamp(end));
            self.bucket.put(key("backup_manifest.json"), manifest, Timestamp::from_secs(end));
        }
        if !run.full {
            self.busy_until = end;
        }
        let flushed =
            self.incarnations.iter().map(|one| one.live.iter().flat_map(|sstable| sstable.rows.clone()).collect());
        let flushed = flushed.collect();
        self.sets.push(Set { tag, start: self.now, end, full: run.full, finished: run.finishes, archives, flushed });
    }

    fn snapshot(&self) -> BTreeMap<usize, Archive> {
        let alive = (0..TABLES.len()).filter_map(|table| Some((table, self.alive(table)?)));
        let archive = |incarnation: usize| Archive {
            incarnation,
            is_snapshot: true,
            sstables: self.incarnations[incarnation].live.clone(),
        };
        alive.map(|(table, incarnation)| (table, archive(incarnation))).collect()
    }

    fn archive_backups(&mut self, run: Run) -> BTreeMap<usize, Archive> {
        let mut archives = BTreeMap::new();
        for table in 0..TABLES.len() {
            let has_files = |one: &Incarnation| one.table == table && !one.backups.is_empty();
            let found = if run.oldest_first {
                self.incarnations.iter().position(has_files)
            } else {
                self.incarnations.iter().rposition(has_files)
            };
            let Some(incarnation) = found else { continue };
            let backups = &mut self.incarnations[incarnation].backups;
            let sstables = backups.clone();
            if run.cleans {
                backups.clear();
            }
            archives.insert(table, Archive { incarnation, is_snapshot: false, sstables });
        }
        archives
    }

    fn schema_members(&self, number: usize) -> impl Iterator<Item = Member> + use<> {
        let (table, statement) = self.statements[number];
        let (Statement::Create { at, .. } | Statement::Drop { at }) = statement;
        let files = schema_sstable::sstable(number + 1, KEYSPACE, TABLES[table], statement);
        let modified = Timestamp::from_secs(at.div_euclid(1_000_000));
        files.into_iter().map(move |(path, content)| Member { path, content: content.into(), modified })
    }

    /// As the scripts' `find` makes it: it may name a directory whose table is gone.
    fn mapping(&self, oldest: bool) -> String {
        let mut directories: Vec<&Incarnation> = self.incarnations.iter().collect();
        if !oldest {
            directories.reverse();
        }
        let entry = |one: &Incarnation| format!(r#""{KEYSPACE}.{}":"{}""#, TABLES[one.table], one.directory());
        let first = |table: usize| directories.iter().find(|one| one.table == table).map(|one| entry(one));
        let entries: Vec<String> = (0..TABLES.len()).filter_map(first).collect();
        format!("{{{}}}", entries.join(","))
    }

    fn tag(&self) -> String {
        let local = jiff::Timestamp::from_second(self.now + i64::from(self.offset)).unwrap();
        local.strftime("%Y-%m-%d-%H-%M").to_string()
    }

    fn stamp(&self, time: i64) -> String {
        let offset = if self.states_offset { self.offset } else { 0 };
        let offset = jiff::tz::Offset::from_seconds(offset).unwrap();
        jiff::Timestamp::from_second(time).unwrap().display_with_offset(offset).to_string()
    }
}
