//! What all tables of one extract share: where they are written, what was done, and when to give
//! up.

use super::Layout;
use super::journal::{DoneTable, Journal, JournalContent};
use super::source::Staged;
use super::staging::{ArchiveId, Trouble};
use super::target::{Access, Dir};
use crate::cassandra::schema::Shapes;
use crate::catalog::{Host, Tag};
use crate::reader::Reader;
use crate::task::{blocking, lock};
use crate::tree::{BackupTree, PointTable};
use crate::{Error, Kind, Result};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

/// After so many archives in a row that could not be fetched, the store is out of reach: nobody
/// waits for the rest to fail too.
const OUTAGE: usize = 3;

/// How the names of tables' staging directories begin.
const STAGING: &str = "table-";

pub(super) struct Work {
    pub(super) scope: Scope,
    pub(super) trouble: Arc<Trouble>,
    journal: Arc<Mutex<Journal>>,
    done: Mutex<JournalContent>,
    flush: Flush,
    unreachable: AtomicUsize,
    outage: OnceLock<Error>,
    shapes: tokio::sync::OnceCell<Arc<Shapes>>,
}

/// What is extracted, from where, and where to.
pub(super) struct Scope {
    pub(super) reader: Arc<Reader>,
    pub(super) tree: Arc<BackupTree>,
    pub(super) host: Host,
    pub(super) point: Tag,
    pub(super) layout: Layout,
    pub(super) access: Access,
    pub(super) target: Arc<Dir>,
    /// Everything that is not final lies in here.
    pub(super) hidden: Arc<Dir>,
    pub(super) staged: Arc<Staged>,
}

impl Work {
    pub(super) fn new(scope: Scope, journal: Journal, done: JournalContent) -> Self {
        Self {
            flush: Flush::new(Arc::clone(&scope.hidden)),
            scope,
            trouble: Arc::default(),
            journal: Arc::new(Mutex::new(journal)),
            done: Mutex::new(done),
            unreachable: AtomicUsize::new(0),
            outage: OnceLock::new(),
            shapes: tokio::sync::OnceCell::new(),
        }
    }

    /// Why nothing more is to be begun.
    pub(super) fn over(&self) -> Option<Error> {
        self.trouble.first().or(self.outage.get()).cloned()
    }

    /// What SSTables of each table may be like.
    pub(super) async fn shapes(&self) -> Result<Arc<Shapes>> {
        let Scope { tree, host, point, .. } = &self.scope;
        let known = self.shapes.get_or_try_init(|| async { Ok(Arc::new(tree.shapes(host, point).await?)) });
        known.await.cloned()
    }

    /// Takes note of whether the store could be reached.
    pub(super) fn note_store_result<T>(&self, result: Result<T>) -> Result<T> {
        match &result {
            Err(error) if matches!(error.kind(), Kind::Unreachable | Kind::TimedOut | Kind::Denied) => {
                if self.unreachable.fetch_add(1, Ordering::Relaxed) + 1 >= OUTAGE {
                    let _ = self.outage.set(error.clone());
                }
            }
            _ => self.unreachable.store(0, Ordering::Relaxed),
        }
        result
    }

    pub(super) fn staged(&self) -> MutexGuard<'_, HashMap<ArchiveId, Arc<Dir>>> {
        lock(&self.scope.staged)
    }

    /// The table's directory below the target, as a person would look for it.
    pub(super) fn shown_path(&self, table: &PointTable) -> String {
        let names = self.scope.layout.below_keyspace(&table.directory, &self.scope.point);
        format!("{}/{}", table.table.keyspace, names.join("/"))
    }

    /// What an earlier run made of the table: under its name, or of the very same archives. Then
    /// the name that it got is the right one, for which less may be known by now.
    pub(super) fn done_table(&self, table: &PointTable) -> Option<DoneTable> {
        let done = lock(&self.done);
        let key = (table.table.keyspace.to_string(), table.directory.clone());
        let of_the_same = || done.tables.values().find(|done| done.is_of(table));
        done.tables.get(&key).or_else(of_the_same).cloned()
    }

    pub(super) fn done_schema(&self) -> Option<String> {
        lock(&self.done).schema.clone()
    }

    /// The table's staging directory, with nothing in it that is not verified.
    pub(super) async fn staging(&self, table: &PointTable) -> Result<Dir> {
        let (hidden, name) = (Arc::clone(&self.scope.hidden), staging_name(table));
        let verified = lock(&self.done).archives.clone();
        let made = blocking(move || {
            let staging = hidden.make_private(&name)?;
            for name in staging.names()? {
                let is_arranged = name.starts_with("files-");
                if !is_arranged && !ArchiveId::of_staged(&name).is_some_and(|id| verified.contains(&id)) {
                    staging.remove_all(&name)?;
                }
            }
            Ok(staging)
        });
        made.await.map_err(|error| self.trouble.note(error))
    }

    /// Removes what earlier runs left of tables that this one is not for.
    pub(super) async fn remove_other_leftovers(&self, tables: &[PointTable]) -> Result<()> {
        let mine: Vec<String> = tables.iter().map(staging_name).collect();
        let hidden = Arc::clone(&self.scope.hidden);
        let removed = blocking(move || {
            let names = hidden.names()?.into_iter();
            let mut others = names.filter(|name| name.starts_with(STAGING) && !mine.contains(name));
            others.try_for_each(|name| hidden.remove_all(&name))
        });
        removed.await.map_err(|error| self.trouble.note(error))
    }

    /// A table is done with, or given up: its staging directory goes, unless it is `of_use` and
    /// holds whole archives.
    pub(super) async fn leave_staging(&self, table: &PointTable, of_use: bool) {
        let ids: Vec<ArchiveId> = table.archives.iter().map(|archive| ArchiveId::of(&archive.object)).collect();
        self.staged().retain(|id, _| !ids.contains(id));
        if of_use && ids.iter().any(|id| lock(&self.done).archives.contains(id)) {
            return;
        }
        let (hidden, name) = (Arc::clone(&self.scope.hidden), staging_name(table));
        if let Err(error) = blocking(move || hidden.remove_all(&name)).await {
            tracing::warn!("{error}: the next run removes it");
        }
    }

    /// An archive is about to be read into staging.
    pub(super) async fn begin_archive(&self, id: &ArchiveId) -> Result<()> {
        if !lock(&self.done).archives.remove(id) {
            return Ok(());
        }
        let id = id.clone();
        self.note(move |journal| journal.again(&id)).await
    }

    /// Waits until everything that was written by now is on the disk.
    pub(super) async fn flush(&self) -> Result<()> {
        self.flush.all().await.map_err(|error| self.trouble.note(error))
    }

    /// What is staged of an archive is verified.
    pub(super) async fn note_archive(&self, id: &ArchiveId) -> Result<()> {
        self.flush().await?;
        lock(&self.done).archives.insert(id.clone());
        let id = id.clone();
        self.note(move |journal| journal.archive(&id)).await
    }

    /// A table is complete and about to get its name.
    pub(super) async fn note_table(&self, done: &DoneTable) -> Result<()> {
        let done = done.clone();
        self.note(move |journal| journal.table(&done)).await
    }

    pub(super) async fn note_schema(&self, digest: String) -> Result<()> {
        self.note(move |journal| journal.schema(digest)).await
    }

    async fn note(&self, write: impl FnOnce(&mut Journal) -> Result<()> + Send + 'static) -> Result<()> {
        let journal = Arc::clone(&self.journal);
        blocking(move || write(&mut lock(&journal))).await.map_err(|error| self.trouble.note(error))
    }
}

fn staging_name(table: &PointTable) -> String {
    let hash = blake3::hash(format!("{}\n{}", table.table.keyspace, table.table.table).as_bytes());
    format!("{STAGING}{}", &hash.to_hex()[..16])
}

/// Brings what was written to the disk, once for all who ask meanwhile: a file at a time would take
/// as long as the writing.
struct Flush {
    dir: Arc<Dir>,
    asked: AtomicU64,
    /// Everything asked for by then is on the disk.
    done: tokio::sync::Mutex<u64>,
}

impl Flush {
    fn new(dir: Arc<Dir>) -> Self {
        Self { dir, asked: AtomicU64::new(0), done: tokio::sync::Mutex::new(0) }
    }

    async fn all(&self) -> Result<()> {
        let mine = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        let mut done = self.done.lock().await;
        if *done >= mine {
            return Ok(());
        }
        let asked = self.asked.load(Ordering::Acquire);
        let dir = Arc::clone(&self.dir);
        blocking(move || dir.sync_all()).await?;
        *done = asked;
        Ok(())
    }
}
