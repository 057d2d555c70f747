//! [`Extraction`]: one extract from its options to its report.

use super::estimate::{SizeFrom, TablePlan, estimate};
use super::journal::{self, Job, Journal, JournalContent};
use super::report::{ExtractReport, ExtractSubject, SchemaState, TableOutcome};
use super::source::{PartlyStaged, Staged};
use super::target::{Access, Dir};
use super::work::{Scope, Work};
use super::{HIDDEN, Layout, lacking, schema, table};
use crate::cassandra::TableName;
use crate::catalog::{Archived, Catalog, Host, Lack, Tag};
use crate::reader::Reader;
use crate::store::ObjectMeta;
use crate::task::blocking;
use crate::tree::{BackupTree, Backups, Damage, PointInfo, PointTable, ReportOptions, TreeOptions};
use crate::{Error, Kind, Result};
use futures::StreamExt;
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const JOURNAL: &str = "journal";

/// Lacks that an error names.
const REASONS: usize = 12;

/// Sets of which an archive is tried with the keys, and how many at a time.
const KEY_SAMPLES: usize = 64;
const KEYS_AT_ONCE: usize = 8;

/// What every new ext file system has in it.
const LOST_AND_FOUND: &str = "lost+found";

/// Tables on the way at the same time, for each job: while some wait for the disk, others are read.
const TABLES_PER_JOB: usize = 3;

/// What may be chosen about an extract.
#[derive(Clone, Debug, Default)]
pub struct ExtractOptions {
    /// These tables, and those of the keyspaces; all when both are empty.
    pub tables: Vec<TableName>,
    pub keyspaces: Vec<String>,
    pub layout: Layout,
    pub access: Access,
    /// Take a restore point that lacks something of what is asked for.
    pub allow_incomplete: bool,
    /// Archives read at the same time; the reader's options must allow as many passes.
    pub jobs: usize,
}

/// An extract of one restore point into one directory.
pub struct Extraction {
    source: String,
    host: Host,
    point: PointInfo,
    target: PathBuf,
    options: ExtractOptions,
    live_ids: bool,
    tree: Arc<BackupTree>,
    reader: Arc<Reader>,
    staged: Arc<Staged>,
}

/// What is to be done. Serialises as `docs/json.md` has it.
#[derive(Clone, Debug, Serialize)]
pub struct ExtractPlan {
    #[serde(flatten)]
    pub of: ExtractSubject,
    /// By name.
    pub tables: Vec<TablePlan>,
    /// For all tables that are not done.
    pub fetch_bytes: u64,
    pub write_bytes: u64,
    /// Of these, what is on the target already.
    pub staged_bytes: u64,
    /// How [`Self::write_bytes`] is known: as the least certain part of it.
    pub size_from: SizeFrom,
    /// On the target's file system.
    pub free_bytes: u64,
    /// What has to be thawed first, of all tables that are not done.
    pub archived: Archived,
    /// What the restore point lacks of what is asked for.
    pub lacks: Vec<Lack>,
}

impl ExtractPlan {
    /// What is still to be written.
    pub fn needed_bytes(&self) -> u64 {
        self.write_bytes.saturating_sub(self.staged_bytes)
    }

    pub fn fits(&self) -> bool {
        self.needed_bytes() <= self.free_bytes
    }
}

impl Extraction {
    /// Finds the restore point, and that it has what is wanted. Nothing is written. `point` as a
    /// person types it: a tag, `latest`, any time.
    pub async fn new(
        catalog: Arc<Catalog>,
        reader: Arc<Reader>,
        tree: TreeOptions,
        (host, point): (Host, &str),
        target: &Path,
        options: ExtractOptions,
    ) -> Result<Self> {
        let staged = Arc::<Staged>::default();
        let live_ids = tree.live_data_dir.is_some();
        let source = catalog.source().to_owned();
        let backups = Backups::new(catalog, Arc::clone(&reader));
        let source_of_tree = PartlyStaged::new(backups, Arc::clone(&reader), Arc::clone(&staged));
        let tree = Arc::new(BackupTree::over(Arc::new(source_of_tree), tree)?);
        let point = tree.point_info(&host, point).await?;
        let target = std::path::absolute(target).map_err(|e| Error::io("find the current directory", e))?;
        let this = Self { source, host, point, target, options, live_ids, tree, reader, staged };
        this.check_selection().await?;
        Ok(this)
    }

    async fn check_selection(&self) -> Result<()> {
        let tables = self.tree.point_tables(&self.host, &self.point.tag).await?;
        for wanted in &self.options.tables {
            if tables.iter().all(|table| table.table != *wanted) && !self.may_be_lost(wanted).await {
                // Says why it is not there.
                let options = ReportOptions { tables: vec![wanted.clone()], summary: true };
                self.tree.chain_report(&self.host, &self.point.tag.0, &options).await?;
                return Err(Error::not_found(format!("{wanted} is not in {} of {}", self.point.tag, self.host)));
            }
        }
        for wanted in &self.options.keyspaces {
            if tables.iter().all(|table| *table.table.keyspace != **wanted) {
                let mut there: Vec<&str> = tables.iter().map(|table| &*table.table.keyspace).collect();
                there.dedup();
                let (tag, host) = (&self.point.tag, &self.host);
                let message = format!("{tag} of {host} has no keyspace {wanted:?}; it has {}", there.join(", "));
                return Err(Error::not_found(message));
            }
        }
        Ok(())
    }

    /// Whether a table that the restore point does not have may be among what it lacks: then it is
    /// refused for that.
    async fn may_be_lost(&self, table: &TableName) -> bool {
        let lacks_it = self.point.lacks.iter().any(|lack| lack.subject.table() == Some(table));
        let lacks_set = self.point.lacks.iter().any(|lack| lack.subject.table().is_none());
        // A table that no set has is a slip of the pen.
        lacks_it || (lacks_set && self.tree.points_with(&self.host, table).await.is_ok())
    }

    /// The tables that are wanted, as far as is known now.
    async fn tables(&self) -> Result<Vec<PointTable>> {
        let ExtractOptions { tables: named, keyspaces, .. } = &self.options;
        let mut tables = self.tree.point_tables(&self.host, &self.point.tag).await?;
        if !(named.is_empty() && keyspaces.is_empty()) {
            tables.retain(|table| {
                named.contains(&table.table) || keyspaces.iter().any(|keyspace| **keyspace == *table.table.keyspace)
            });
        }
        Ok(tables)
    }

    /// What the restore point lacks of what is asked for.
    fn lacks(&self) -> impl Iterator<Item = &Lack> {
        self.point.lacks.iter().filter(|lack| self.is_wanted(lack))
    }

    /// Whether it concerns what is asked for.
    fn is_wanted(&self, lack: &Lack) -> bool {
        let ExtractOptions { tables, keyspaces, .. } = &self.options;
        lack.subject.table().is_none_or(|table| {
            (tables.is_empty() && keyspaces.is_empty())
                || tables.contains(table)
                || keyspaces.iter().any(|keyspace| **keyspace == *table.keyspace)
        })
    }

    /// Refuses a restore point that lacks something of what is asked for, unless that is allowed.
    ///
    /// # Errors
    /// `Incomplete`, with what is missing and what is whole instead.
    pub async fn check_completeness(&self) -> Result<()> {
        let count = self.lacks().count();
        if count == 0 || self.options.allow_incomplete {
            return Ok(());
        }
        let (tag, host) = (&self.point.tag, &self.host);
        let mut why: Vec<String> = self.lacks().take(REASONS).map(ToString::to_string).collect();
        if count > REASONS {
            why.push(format!("and {} more", count - REASONS));
        }
        let nearest = self.tree.nearest_whole(host, tag, &self.options.tables).await?;
        let why = why.join("\n  ");
        Err(Error::new(
            Kind::Incomplete,
            format!("{tag} of {host} is incomplete:\n  {why}\n{nearest}; --allow-incomplete takes it all the same"),
        ))
    }

    /// Looks at the ends of one archive of each set: whether some key opens it.
    ///
    /// # Errors
    /// `NoKey`, in one sentence.
    pub async fn check_keys(&self) -> Result<()> {
        let mut archives: BTreeMap<Tag, Arc<ObjectMeta>> = BTreeMap::new();
        for archive in self.tables().await?.into_iter().flat_map(|table| table.archives) {
            if !archive.object.is_bundle() && (archives.len() < KEY_SAMPLES || archives.contains_key(&archive.set)) {
                archives.insert(archive.set, archive.object);
            }
        }
        let tried = archives.len();
        let looks = archives.into_values().map(|object| async move {
            let ends = self.reader.check_ends(&object).await;
            ends.err().filter(|broken| broken.error.kind() == Kind::NoKey).map(|broken| broken.error)
        });
        let mut looks = futures::stream::iter(looks).buffered(KEYS_AT_ONCE);
        let (mut locked, mut count) = (None, 0);
        while let Some(error) = looks.next().await {
            count += usize::from(error.is_some());
            locked = locked.or(error);
        }
        match locked {
            Some(error) if tried == 1 => Err(error),
            Some(error) => {
                let message = format!("no key opens the archives of {count} of {tried} sets: {error}");
                Err(Error::new(Kind::NoKey, message))
            }
            None => Ok(()),
        }
    }

    fn job(&self) -> Job {
        Job {
            source: self.source.clone(),
            host: self.host.to_string(),
            point: self.point.tag.to_string(),
            layout: self.options.layout,
            live_ids: self.live_ids,
        }
    }

    fn subject(&self) -> ExtractSubject {
        ExtractSubject {
            source: self.source.clone(),
            host: self.host.to_string(),
            point: self.point.tag.clone(),
            kind: self.point.kind,
            time: self.point.time.to_string(),
            target: self.target.clone(),
            layout: self.options.layout,
        }
    }

    /// What is to be done, how much that is, and whether there is room. Nothing is written.
    ///
    /// # Errors
    /// `Exists` where the target holds something else.
    pub async fn plan(&self) -> Result<ExtractPlan> {
        let (path, job) = (self.target.clone(), self.job());
        let (done, staged_bytes, free_bytes) = blocking(move || look_at(&path, &job)).await?;
        let mut tables = Vec::new();
        for table in self.tables().await? {
            let key = (table.table.keyspace.to_string(), table.directory.clone());
            let of_the_same = || done.tables.values().find(|done| done.is_of(&table));
            let recorded = done.tables.get(&key).filter(|done| done.is_of(&table)).or_else(of_the_same);
            let directory = recorded.map_or(&table.directory, |recorded| &recorded.directory);
            let names = self.options.layout.below_keyspace(directory, &self.point.tag);
            let directory = format!("{}/{}", table.table.keyspace, names.join("/"));
            let mut sets: Vec<String> = table.archives.iter().map(|archive| archive.set.to_string()).collect();
            sets.dedup();
            let plan = TablePlan {
                table: table.table.clone(),
                done: recorded.is_some() && is_directory(&self.target.join(&directory))?,
                directory,
                sets,
                archives: table.archives.len(),
                archived: table.archives.iter().map(|archive| Archived::from(&*archive.object)).sum(),
                fetch_bytes: 0,
                write_bytes: 0,
                size_from: SizeFrom::Listings,
            };
            tables.push((table, plan));
        }
        // What is done needs no look at its archives.
        let (ready, todo): (Vec<_>, Vec<_>) = tables.into_iter().partition(|(_, plan)| plan.done);
        let todo = estimate(&self.reader, todo, |id| done.archives.contains(id)).await;
        let sum = |of: fn(&TablePlan) -> u64| todo.iter().map(of).sum();
        let mut plan = ExtractPlan {
            of: self.subject(),
            fetch_bytes: sum(|table| table.fetch_bytes),
            write_bytes: sum(|table| table.write_bytes),
            staged_bytes,
            size_from: todo.iter().map(|table| table.size_from).max().unwrap_or(SizeFrom::Listings),
            free_bytes,
            archived: todo.iter().map(|table| table.archived).sum(),
            lacks: self.lacks().cloned().collect(),
            tables: Vec::new(),
        };
        plan.tables = ready.into_iter().map(|(_, plan)| plan).chain(todo).collect();
        plan.tables.sort_by(|a, b| a.table.cmp(&b.table));
        Ok(plan)
    }

    /// Does it. When this is dropped, nothing that is not verified has its final name, and another
    /// run goes on.
    ///
    /// # Errors
    /// Those for which nothing was begun: `Exists` where the target holds something else, `Busy`
    /// where another extract is at work. What goes wrong later is in the report.
    pub async fn run(&self) -> Result<ExtractReport> {
        self.check_completeness().await?;
        let tables = self.tables().await?;
        let work = {
            let (path, job, access) = (self.target.clone(), self.job(), self.options.access);
            let (target, hidden, journal, done) = blocking(move || take_over(&path, &job, access)).await?;
            let scope = Scope {
                reader: Arc::clone(&self.reader),
                tree: Arc::clone(&self.tree),
                host: self.host.clone(),
                point: self.point.tag.clone(),
                layout: self.options.layout,
                access,
                target: Arc::new(target),
                hidden: Arc::new(hidden),
                staged: Arc::clone(&self.staged),
            };
            Work::new(scope, journal, done)
        };
        let mut report = ExtractReport {
            of: self.subject(),
            tables: Vec::new(),
            schema: SchemaState::NotReached,
            lacks: self.lacks().cloned().collect(),
            error: None,
            error_kind: None,
        };
        if let Err(error) = self.all(&work, tables, &mut report).await {
            report.error = Some(error.to_string());
            report.error_kind = Some(error.kind());
        }
        self.add_late_lacks(&mut report).await;
        // What ended before its time goes on.
        if report.error.is_none() {
            self.tell_lacks(&work, &mut report).await;
        }
        self.tree.keep(&self.host).await;
        report.tables.sort_by(|a, b| (&a.table, &a.directory).cmp(&(&b.table, &b.directory)));
        Ok(report)
    }

    /// What the archives turned out to lack while they were read, of tables whose outcome does not
    /// tell.
    async fn add_late_lacks(&self, report: &mut ExtractReport) {
        let lacks = match self.tree.point_info(&self.host, &self.point.tag.0).await {
            Ok(point) => point.lacks,
            Err(error) => {
                report.error.get_or_insert(format!("whether the restore point is whole is not known: {error}"));
                report.error_kind.get_or_insert(error.kind());
                return;
            }
        };
        for lack in lacks.into_iter().filter(|lack| self.is_wanted(lack)) {
            let is_told = |outcome: &TableOutcome| !outcome.is_whole() && lack.subject.table() == Some(&outcome.table);
            let is_known = |known: &Lack| known.set == lack.set && known.subject == lack.subject;
            if !report.lacks.iter().any(is_known) && !report.tables.iter().any(is_told) {
                report.lacks.push(lack);
            }
        }
    }

    /// Says what is missing beside the tables, too.
    async fn tell_lacks(&self, work: &Work, report: &mut ExtractReport) {
        let of_mount = match self.tree.incomplete_text(&self.host, &self.point.tag).await {
            Ok(text) => text,
            // What the report has is told all the same.
            Err(error) => {
                tracing::warn!("what the mount says of {} is not known: {error}", self.point.tag);
                None
            }
        };
        let Scope { target, hidden, access, .. } = &work.scope;
        let text = lacking::text(report, of_mount.as_ref());
        if let Err(error) = lacking::write(target, hidden, *access, text).await {
            report.error_kind.get_or_insert(error.kind());
            report.error.get_or_insert(format!("what is missing could not be written beside the tables: {error}"));
        }
    }

    /// What archives were found not to give out, for who remembers it.
    pub fn damages(&self) -> Vec<Damage> {
        self.tree.damages(&self.host)
    }

    /// The host whose restore point it is.
    pub fn host(&self) -> &Host {
        &self.host
    }

    async fn all(&self, work: &Work, mut tables: Vec<PointTable>, report: &mut ExtractReport) -> Result<()> {
        work.remove_other_leftovers(&tables).await?;
        report.schema =
            if self.point.has_schema { schema::write(work, self.point.time).await? } else { SchemaState::Untold };
        let mut seen: HashSet<TableName> = HashSet::new();
        while !tables.is_empty() {
            seen.extend(tables.iter().map(|table| table.table.clone()));
            // The large ones first, so that none is left over when all others are done.
            tables.sort_by_key(|table| {
                std::cmp::Reverse(table.archives.iter().map(|archive| archive.object.size).sum::<u64>())
            });
            let parallel = self.options.jobs.max(1) * TABLES_PER_JOB;
            let mut running = futures::stream::iter(tables.into_iter().map(|table| table::extract(work, table)))
                .buffer_unordered(parallel);
            while let Some(outcome) = running.next().await {
                // What goes wrong while one table's failure tears the others down is not the cause.
                let outcome = outcome.map_err(|error| work.over().unwrap_or(error))?;
                report.tables.extend::<Option<TableOutcome>>(outcome);
            }
            // What archives told may have brought tables to light.
            tables = self.tables().await?;
            tables.retain(|table| !seen.contains(&table.table));
        }
        Ok(())
    }
}

/// Whether a directory is there. That it cannot be looked at is no answer.
fn is_directory(path: &Path) -> Result<bool> {
    match path.metadata() {
        Ok(metadata) => Ok(metadata.is_dir()),
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => Ok(false),
        Err(e) => Err(Error::io(format_args!("look for {}", path.display()), e)),
    }
}

/// What the target holds of the job, bytes in staging, and free bytes. Makes nothing.
fn look_at(path: &Path, job: &Job) -> Result<(JournalContent, u64, u64)> {
    let mut existing = path;
    while !existing.try_exists().map_err(|e| Error::io(format_args!("look for {}", existing.display()), e))? {
        existing = existing.parent().unwrap_or(Path::new("/"));
    }
    let nearest = Dir::open(existing)?;
    let free = nearest.free()?;
    if existing != path {
        return Ok((JournalContent::default(), 0, free));
    }
    let hidden = nearest.directory(HIDDEN)?;
    let done = read_journal(hidden.as_ref())?;
    check(&nearest, &done, job)?;
    let staged = match &hidden {
        Some(hidden) => super::place::fingerprint(hidden)?.bytes,
        None => 0,
    };
    Ok((done, staged, free))
}

fn read_journal(hidden: Option<&Dir>) -> Result<JournalContent> {
    match hidden {
        Some(hidden) if hidden.look(JOURNAL)?.is_some() => Ok(journal::read(&mut hidden.read(JOURNAL)?)?.0),
        _ => Ok(JournalContent::default()),
    }
}

/// Refuses a target that holds anything else.
fn check(target: &Dir, done: &JournalContent, job: &Job) -> Result<()> {
    match &done.job {
        Some(other) if other == job => Ok(()),
        Some(other) => Err(other.refusal(job)),
        None => {
            let other = target.names()?.into_iter().find(|name| name != HIDDEN && name != LOST_AND_FOUND);
            match other {
                None => Ok(()),
                Some(name) => Err(Error::new(
                    Kind::Exists,
                    format!("{} is not empty: it holds {name}, and no extract has been there", target.path().display()),
                )),
            }
        }
    }
}

fn take_over(path: &Path, job: &Job, access: Access) -> Result<(Dir, Dir, Journal, JournalContent)> {
    let target = Dir::make_at(path, access)?;
    let hidden = target.directory(HIDDEN)?;
    check(&target, &read_journal(hidden.as_ref())?, job)?;
    let hidden = target.make_private(HIDDEN)?;
    let (journal, done) = Journal::open(hidden.open_private(JOURNAL)?, job)?;
    Ok((target, hidden, journal, done))
}
