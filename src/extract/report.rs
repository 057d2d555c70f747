//! What an extract did or would do. Serialises as `docs/json.md` has it.

use super::journal::DoneTable;
use super::work::Work;
use super::{Layout, Lost};
use crate::cassandra::TableName;
use crate::catalog::{Lack, SetKind, Tag};
use crate::tree::PointTable;
use crate::{Error, Kind};
use serde::Serialize;
use std::path::PathBuf;

/// What is extracted, and where to.
#[derive(Clone, Debug, Serialize)]
pub struct ExtractSubject {
    pub source: String,
    pub host: String,
    pub point: Tag,
    pub kind: SetKind,
    /// Of its manifest, RFC 3339.
    pub time: String,
    pub target: PathBuf,
    pub layout: Layout,
}

/// An extract of one restore point.
#[derive(Clone, Debug, Serialize)]
pub struct ExtractReport {
    #[serde(flatten)]
    pub of: ExtractSubject,
    /// By name. After an error that ended all, only those that were done by then.
    pub tables: Vec<TableOutcome>,
    pub schema: SchemaState,
    /// What the restore point lacks of what was asked for, and was taken all the same.
    pub lacks: Vec<Lack>,
    /// What ended everything before its time.
    pub error: Option<String>,
    #[serde(skip)]
    pub error_kind: Option<Kind>,
}

/// What became of the restore point's schema.cql.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SchemaState {
    Written,
    /// From an earlier run, and the same.
    Unchanged,
    /// Nothing tells it, so the mount shows none.
    Untold,
    /// Why it could not be had.
    Failed(String),
    /// An error ended everything before.
    NotReached,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// In this run.
    Extracted,
    /// By an earlier run, and still as it was then.
    Unchanged,
    Failed,
}

/// One table.
#[derive(Clone, Debug, Serialize)]
pub struct TableOutcome {
    #[serde(flatten)]
    pub table: TableName,
    /// Below the target.
    pub directory: String,
    pub state: State,
    /// That it is made of.
    pub archives: usize,
    /// Of archives that were read for it in this run, as stored.
    pub fetched_bytes: u64,
    /// In its directory.
    pub files: u64,
    pub bytes: u64,
    /// What is in the restore point and could not be had.
    pub lost: Vec<Lost>,
    /// Why there is nothing of it.
    pub error: Option<String>,
    #[serde(skip)]
    pub error_kind: Option<Kind>,
}

impl TableOutcome {
    fn new(work: &Work, table: &PointTable, state: State) -> Self {
        Self {
            table: table.table.clone(),
            directory: work.shown_path(table),
            state,
            archives: table.archives.len(),
            fetched_bytes: 0,
            files: 0,
            bytes: 0,
            lost: Vec::new(),
            error: None,
            error_kind: None,
        }
    }

    pub(super) fn extracted(work: &Work, table: &PointTable, done: DoneTable) -> Self {
        let DoneTable { files, bytes, lost, .. } = done;
        Self { files, bytes, lost, ..Self::new(work, table, State::Extracted) }
    }

    pub(super) fn was_there(work: &Work, table: &PointTable, done: DoneTable) -> Self {
        let DoneTable { files, bytes, lost, .. } = done;
        Self { files, bytes, lost, ..Self::new(work, table, State::Unchanged) }
    }

    pub(super) fn failed(work: &Work, table: &PointTable, fetched: u64, error: &Error) -> Self {
        let new = Self::new(work, table, State::Failed);
        Self { fetched_bytes: fetched, error: Some(error.to_string()), error_kind: Some(error.kind()), ..new }
    }

    /// Whether all of it is there.
    pub fn is_whole(&self) -> bool {
        self.state != State::Failed && self.lost.is_empty()
    }
}

impl ExtractReport {
    /// Whether everything that was asked for is there.
    pub fn is_whole(&self) -> bool {
        self.error.is_none()
            && self.lacks.is_empty()
            && self.tables.iter().all(TableOutcome::is_whole)
            && matches!(self.schema, SchemaState::Written | SchemaState::Unchanged | SchemaState::Untold)
    }
}
