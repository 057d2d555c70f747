//! The upper layer itself: state, journal and content files kept in step. Everything here may
//! block.

use super::ScratchOptions;
use super::budget::Budget;
use super::files::ScratchDir;
use super::journal::Journal;
use super::record::{Frame, Moment, Record};
use super::state::{Body, State};
use crate::task::lock;
use crate::{Error, Kind, Result};
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Names, attributes and contents that differ from the backup's.
///
/// Locks are taken in the order journal, leases ([`super::lease`]), state. The journal's is held
/// through a whole change, so changes are made one after the other, while readers wait only for the
/// moment of `State::apply`.
#[derive(Debug)]
pub(super) struct Upper {
    pub(super) dir: ScratchDir,
    pub(super) budget: Budget,
    limit_names: usize,
    journal: Mutex<Journal>,
    state: RwLock<State>,
}

impl Upper {
    /// Starts with nothing; what an earlier mount left in the directory is removed.
    pub(super) fn create(options: &ScratchOptions) -> Result<Self> {
        let dir = ScratchDir::open(&options.dir)?;
        dir.clear()?;
        let state = State::default();
        let journal = Journal::create(dir.journal(), &state)?;
        Ok(Self::new(dir, options, journal, state))
    }

    /// Goes on where an earlier process of the same mount was stopped.
    pub(super) fn resume(options: &ScratchOptions) -> Result<Self> {
        let dir = ScratchDir::open(&options.dir)?;
        let (journal, mut state) = Journal::open(dir.journal())?;
        let budget = Budget::new(options.limit_bytes);
        let mut found = HashSet::new();
        for (ino, path) in dir.contents()? {
            let known = ino.and_then(|ino| state.inodes.get_mut(&ino).map(|inode| (ino, inode)));
            let Some((ino, inode)) = known.filter(|(_, inode)| matches!(inode.body, Body::File { .. })) else {
                // Half a copy, or a file whose unlink was journalled but not done; or one that a
                // damaged journal does not name any more.
                if journal.is_damaged() {
                    tracing::error!("{} holds what a program wrote, under a name that is lost", path.display());
                } else if let Err(error) = std::fs::remove_file(&path) {
                    tracing::warn!("cannot remove {}: {error}", path.display());
                }
                continue;
            };
            let metadata = path.metadata().map_err(|e| Error::io("look at a file of the scratch directory", e))?;
            found.insert(ino);
            budget.charge(metadata.len());
            inode.body = Body::File { size: metadata.len(), freed: false };
            // Writes are not journalled: the file itself says when it was last changed.
            inode.mtime = metadata.modified().map_or(inode.mtime, Moment::from);
            inode.ctime = inode.ctime.max(inode.mtime);
        }
        for (ino, inode) in &mut state.inodes {
            if let Body::File { size, .. } = &mut inode.body
                && !found.contains(ino)
            {
                if *size > 0 {
                    tracing::error!(
                        "inode {ino:x}: the {size} bytes that a program wrote there are gone from the scratch directory"
                    );
                }
                *size = 0;
            }
        }
        Ok(Self { budget, ..Self::new(dir, options, journal, state) })
    }

    fn new(dir: ScratchDir, options: &ScratchOptions, journal: Journal, state: State) -> Self {
        let (budget, limit_names) = (Budget::new(options.limit_bytes), options.limit_names);
        Self { dir, budget, limit_names, journal: Mutex::new(journal), state: RwLock::new(state) }
    }

    pub(super) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// For what is not journalled: sizes and times of written files.
    pub(super) fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        lock(&self.journal)
    }

    /// Carries out one operation: `plan` checks it against the state and says what is to be
    /// recorded.
    pub(super) fn commit<T>(&self, request: u64, plan: impl FnOnce(&State) -> Result<(Vec<Record>, T)>) -> Result<T> {
        let mut journal = self.journal();
        let (records, result) = plan(&self.state())?;
        if records.is_empty() {
            return Ok(result);
        }
        let grows = |record: &Record| !matches!(record, Record::Forget { .. } | Record::CopiedUp { .. });
        if records.iter().any(grows) && self.state().weight() >= self.limit_names {
            let limit = self.limit_names;
            return Err(Error::new(Kind::NoSpace, format!("the scratch layer is full: it holds {limit} names")));
        }
        let frame = Frame { request, records };
        journal.append(&frame)?;
        {
            let mut state = self.state_mut();
            frame.records.iter().for_each(|record| state.apply(record));
        }
        if let Err(error) = journal.compact(&self.state()) {
            tracing::warn!(%error, "the scratch journal stays longer than it need be");
        }
        Ok(result)
    }

    pub(super) fn has_done(&self, request: u64) -> bool {
        self.journal().has_done(request)
    }

    pub(super) fn limit_names(&self) -> usize {
        self.limit_names
    }

    /// Forgets everything; returns what was there before.
    pub(super) fn reset(&self) -> Result<State> {
        let mut journal = self.journal();
        let mut state = self.state_mut();
        let empty = state.emptied();
        *journal = Journal::create(self.dir.journal(), &empty)?;
        let old = std::mem::replace(&mut *state, empty);
        self.budget.clear();
        self.dir.clear()?;
        Ok(old)
    }
}

/// What every change is answered with where there is no upper layer.
pub(super) fn read_only() -> Error {
    Error::new(Kind::ReadOnly, "the mount is read-only")
}
