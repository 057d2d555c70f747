//! One table: its archives streamed into staging, its files put together there, and the whole
//! directory given its name at once.

use super::journal::DoneTable;
use super::place::{Archives, Fingerprint, Located, Plan, fingerprint};
use super::report::TableOutcome;
use super::staging::{ArchiveId, Claims, Staging, TableTrouble, Wanted};
use super::target::Dir;
use super::work::{Scope, Work};
use crate::cassandra::sstable::{MAX_STATISTICS, Shape};
use crate::store::ObjectMeta;
use crate::task::{blocking, lock};
use crate::tree::{PointArchive, PointTable};
use crate::{Error, Kind, Result};
use futures::TryFutureExt;
use std::collections::{HashMap, HashSet};
use std::io::Read as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

/// What is staged of an archive at least this long is not given up with the process, even if it is
/// the only one of its table, bytes.
const WORTH_NOTING: u64 = 64 << 20;

/// A table being extracted.
struct Extracting<'a> {
    work: &'a Work,
    table: PointTable,
    staging: Arc<Dir>,
    claims: Arc<Claims>,
    trouble: Arc<TableTrouble>,
    /// What was read in this run: known even where the disk had no room to keep that.
    read: Mutex<Archives>,
    /// Archives that were read in this run for certain files: they are there now.
    exact: HashSet<ArchiveId>,
    /// Archives of which it was told what is odd.
    told: HashSet<ArchiveId>,
    /// Stored bytes of archives that were read.
    fetched: AtomicU64,
}

/// Extracts one table; `None` when its archives tell that the restore point has none of that name.
/// `Err` is what ends all: nothing can be written, or nothing can be fetched.
pub(super) async fn extract(work: &Work, table: PointTable) -> Result<Option<TableOutcome>> {
    if let Some(error) = work.over() {
        return Err(error);
    }
    match before(work, &table).await {
        Ok(None) => {}
        Ok(Some(outcome)) => {
            // Of a run that was killed right after the table had got its name.
            work.leave_staging(&table, false).await;
            return Ok(Some(outcome));
        }
        Err(error) => return Ok(Some(TableOutcome::failed(work, &table, 0, &error))),
    }
    let staging = Arc::new(work.staging(&table).await?);
    let mut this = Extracting {
        work,
        table,
        staging,
        claims: Arc::default(),
        trouble: Arc::new(TableTrouble::new(Arc::clone(&work.trouble))),
        read: Mutex::default(),
        exact: HashSet::new(),
        told: HashSet::new(),
        fetched: AtomicU64::new(0),
    };
    let done = this.run().await;
    // Before its directory goes: archives of it may be on the way still.
    this.trouble.give_up();
    let fetched = this.fetched.load(Relaxed);
    match done {
        Ok(Some(outcome)) => {
            work.leave_staging(&this.table, false).await;
            Ok(Some(TableOutcome { fetched_bytes: fetched, ..outcome }))
        }
        Ok(None) => {
            tracing::warn!("{}: its files are of no table that {} has", this.table.table, work.scope.point);
            work.leave_staging(&this.table, false).await;
            Ok(None)
        }
        Err(error) => {
            if let Some(fatal) = work.over() {
                return Err(fatal);
            }
            let is_lasting =
                matches!(error.kind(), Kind::NotFound | Kind::Corrupt | Kind::NoKey | Kind::Changed | Kind::Exists);
            work.leave_staging(&this.table, !is_lasting).await;
            Ok(Some(TableOutcome::failed(work, &this.table, fetched, &error)))
        }
    }
}

/// What an earlier run made of the table, if it is still so. An error when something else has its
/// name.
async fn before(work: &Work, table: &PointTable) -> Result<Option<TableOutcome>> {
    let (target, done) = (work.scope.target.clone(), work.done_table(table));
    let directory = done.as_ref().map_or(&table.directory, |done| &done.directory).clone();
    let table = &PointTable { directory, ..table.clone() };
    let (keyspace, names) =
        (table.table.keyspace.clone(), work.scope.layout.below_keyspace(&table.directory, &work.scope.point));
    let found = blocking(move || {
        let mut directory = target.directory(&keyspace)?;
        for name in names {
            let Some(above) = directory else { return Ok(None) };
            directory = above.directory(&name)?;
        }
        directory.as_ref().map(fingerprint).transpose()
    });
    let Some(found) = found.await? else { return Ok(None) };
    let path = work.shown_path(table);
    match done {
        Some(done) if done.fingerprint == found.digest && done.is_of(table) => {
            Ok(Some(TableOutcome::was_there(work, table, done)))
        }
        Some(done) => {
            let why = if done.fingerprint == found.digest {
                "was extracted from archives that were replaced since"
            } else {
                "is not as it was extracted any more"
            };
            Err(Error::new(Kind::Exists, format!("{path} {why}: remove it, and it is extracted anew")))
        }
        None => Err(Error::new(Kind::Exists, format!("{path} exists already, and no extract has made it"))),
    }
}

fn archive_ids(table: &PointTable) -> Vec<String> {
    table.archives.iter().map(|archive| ArchiveId::of(&archive.object).0).collect()
}

impl Extracting<'_> {
    /// `None` where the point has no such table, as the archives tell.
    async fn run(&mut self) -> Result<Option<TableOutcome>> {
        loop {
            let (archives, unknown) = self.known().await;
            if !unknown.is_empty() {
                self.claim_staged(&archives).await?;
                let wanted = || Wanted::Unclaimed(Arc::clone(&self.claims));
                self.stream_all(unknown.into_iter().map(|object| (object, wanted()))).await?;
                continue;
            }
            let work = self.work;
            let point = work.scope.tree.point_files(&work.scope.host, &work.scope.point, &self.table.table).await?;
            let Some(point) = point else { return Ok(None) };
            if point.table != self.table {
                // What its archives told has changed what it is made of.
                self.table = point.table.clone();
                if let Some(outcome) = before(work, &self.table).await? {
                    return Ok(Some(outcome));
                }
                continue;
            }
            let plan = Arc::new(Plan::new(&point, &archives)?);
            self.warn_once(&archives);
            let archives = Arc::new(archives);
            let located = {
                let (plan, staging) = (Arc::clone(&plan), Arc::clone(&self.staging));
                blocking(move || plan.locate(&staging, &archives)).map_err(|error| work.trouble.note(error)).await?
            };
            let missing = self.missing(&plan, &located)?;
            if !missing.is_empty() {
                self.stream_all(missing.into_iter()).await?;
                continue;
            }
            self.check_table(&plan, &located).await?;
            let done = self.publish(plan, located).await?;
            return Ok(Some(TableOutcome::extracted(work, &self.table, done)));
        }
    }

    /// The archives whose content is known, and the others.
    async fn known(&self) -> (Archives, Vec<Arc<ObjectMeta>>) {
        let (mut archives, mut unknown) = (Archives::new(), Vec::new());
        for archive in &self.table.archives {
            let id = ArchiveId::of(&archive.object);
            let read = self.read().get(&id).cloned();
            let known = match read {
                Some(read) => Some(read),
                None => self.work.scope.reader.known(&archive.object).await,
            };
            match known {
                Some(known) => drop(archives.insert(id, known)),
                None => unknown.push(Arc::clone(&archive.object)),
            }
        }
        (archives, unknown)
    }

    /// What an earlier run staged need not be staged again from other archives.
    async fn claim_staged(&self, archives: &Archives) -> Result<()> {
        if archives.is_empty() {
            return Ok(());
        }
        let staging = Arc::clone(&self.staging);
        let names: HashSet<String> = blocking(move || staging.names()).await?.into_iter().collect();
        for (id, archive) in archives {
            for (index, file) in archive.listing().files.iter().enumerate() {
                if archive.offset(index).is_some_and(|offset| names.contains(&id.staged(offset))) {
                    self.claims.claim(&file.path, file.size);
                }
            }
        }
        Ok(())
    }

    /// Which archives have to be read for files that are not there, and for which.
    fn missing(&mut self, plan: &Plan, located: &[Located]) -> Result<Vec<(Arc<ObjectMeta>, Wanted)>> {
        let mut offsets: HashMap<&ArchiveId, HashSet<u64>> = HashMap::new();
        for (file, _) in plan.files.iter().zip(located).filter(|(_, located)| **located == Located::Missing) {
            offsets.entry(&file.archive).or_default().insert(file.offset);
        }
        let mut missing = Vec::new();
        for archive in &self.table.archives {
            let id = ArchiveId::of(&archive.object);
            let Some(offsets) = offsets.remove(&id) else { continue };
            if !self.exact.insert(id) {
                let message = "what was extracted of it is gone again: does something else write to the target?";
                return Err(Error::new(Kind::Io, message).with_object(&archive.object.key));
            }
            missing.push((Arc::clone(&archive.object), Wanted::At(offsets)));
        }
        Ok(missing)
    }

    async fn stream_all(&self, archives: impl Iterator<Item = (Arc<ObjectMeta>, Wanted)>) -> Result<()> {
        // The reader takes as many at a time as there are jobs.
        futures::future::try_join_all(archives.map(|(object, wanted)| self.stream(object, wanted))).await.map(drop)
    }

    async fn stream(&self, object: Arc<ObjectMeta>, wanted: Wanted) -> Result<()> {
        let work = self.work;
        let id = ArchiveId::of(&object);
        work.begin_archive(&id).await?;
        let sink =
            Staging::new(Arc::clone(&self.staging), id.clone(), wanted, work.scope.access, Arc::clone(&self.trouble));
        let streamed = work.scope.reader.stream(&object, sink).await;
        if let (Err(error), Some(archive)) = (&streamed, self.archive(&object)) {
            work.scope.tree.note_unreadable(&work.scope.host, &self.table.table, archive, error);
        }
        let (archive, sink) = work.note_store_result(streamed)?;
        self.fetched.fetch_add(object.size, Relaxed);
        if self.table.archives.len() > 1 || object.size >= WORTH_NOTING {
            work.note_archive(&id).await?;
        }
        sink.keep();
        self.read().insert(id.clone(), archive);
        work.staged().insert(id, Arc::clone(&self.staging));
        Ok(())
    }

    /// Tells what is odd in the archives.
    fn warn_once(&mut self, archives: &Archives) {
        for archive in &self.table.archives {
            let id = ArchiveId::of(&archive.object);
            let Some(listed) = archives.get(&id).filter(|_| self.told.insert(id)) else { continue };
            for warning in &listed.listing().warnings {
                tracing::warn!(object = &*archive.object.key, "{warning}");
            }
        }
    }

    /// Refuses SSTables of another table: the archive may have got this one's name on its way. What
    /// tells it is staged.
    async fn check_table(&self, plan: &Arc<Plan>, located: &[Located]) -> Result<()> {
        let work = self.work;
        let shapes = work.shapes().await?;
        let statistics = plan.statistics(located);
        let (staging, table) = (Arc::clone(&self.staging), self.table.table.clone());
        let looked = blocking(move || {
            let mut others = Vec::new();
            for (archive, sstable, name) in statistics {
                let mut bytes = Vec::new();
                let read = staging.read(&name)?.take(MAX_STATISTICS).read_to_end(&mut bytes);
                read.map_err(|e| Error::io(format_args!("read {}", staging.path().join(&name).display()), e))?;
                // Of a format that is not known, or damaged, nothing tells.
                let Ok(shape) = Shape::read(&sstable, &bytes) else { continue };
                others.extend(shapes.misfit(&table, &shape).map(|misfit| (archive, sstable, misfit.to_string())));
            }
            Ok(others)
        });
        let others = looked.await.map_err(|error| work.trouble.note(error))?;
        for (id, sstable, why) in &others {
            let of_it = |archive: &&PointArchive| ArchiveId::of(&archive.object) == *id;
            if let Some(archive) = self.table.archives.iter().find(of_it) {
                let Scope { tree, host, .. } = &work.scope;
                tree.note_of_another(host, &self.table.table, archive, &sstable.to_string(), why);
            }
        }
        match others.first() {
            None => Ok(()),
            Some((_, sstable, why)) => {
                let message = format!("{} of its SSTables are of another table; {sstable}: {why}", others.len());
                Err(Error::corrupt(message))
            }
        }
    }

    fn archive(&self, object: &ObjectMeta) -> Option<&PointArchive> {
        self.table.archives.iter().find(|archive| *archive.object == *object)
    }

    fn read(&self) -> MutexGuard<'_, Archives> {
        lock(&self.read)
    }

    /// Puts the table together and gives it its name.
    async fn publish(&self, plan: Arc<Plan>, located: Vec<Located>) -> Result<DoneTable> {
        let work = self.work;
        // Before anything is moved: what lies in its place is then known to be on the disk,
        // whatever happens in between.
        work.flush().await?;
        let Fingerprint { files, bytes, digest } = {
            let (plan, staging, access) = (Arc::clone(&plan), Arc::clone(&self.staging), work.scope.access);
            let arranged = blocking(move || plan.arrange(&staging, &located, access));
            arranged.await.map_err(|error| work.trouble.note(error))?
        };
        let done = DoneTable {
            table: self.table.table.clone(),
            directory: self.table.directory.clone(),
            archives: archive_ids(&self.table),
            files,
            bytes,
            fingerprint: digest,
            lost: plan.lost.clone(),
        };
        work.note_table(&done).await?;
        let (target, staging, access) = (work.scope.target.clone(), Arc::clone(&self.staging), work.scope.access);
        let keyspace = self.table.table.keyspace.clone();
        let mut names = work.scope.layout.below_keyspace(&self.table.directory, &work.scope.point);
        blocking(move || {
            let mut parent = target.make(&keyspace, access)?;
            let last = names.pop().unwrap_or_default();
            for name in names {
                parent = parent.make(&name, access)?;
            }
            staging.rename(&plan.name, &parent, &last)
        })
        .await?;
        Ok(done)
    }
}
