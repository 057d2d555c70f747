//! Ids in the names of directories that may be those of dropped tables: the tree has to name a
//! directory somehow.

use super::model::{HostModel, TableDir};
use crate::cassandra::TableName;
use crate::catalog::incarnation::Candidates;

/// Tables that a warning names; the rest is counted.
pub(super) const NAMED: usize = 5;

impl HostModel {
    /// Which tables have such an id, a sentence.
    pub(super) fn guesses(&self) -> Option<String> {
        let is_guess = |dir: &&TableDir| {
            let candidates = self.candidates(&dir.table).map_or(&[][..], Candidates::list);
            candidates.iter().any(|candidate| Some(candidate.id) == dir.id && candidate.evidence.is_weak())
        };
        let host = &self.from.sets.host;
        some_tables(self.tables.values().flatten().filter(is_guess).map(|dir| &dir.table)).map(|tables| {
            format!(
                "{host}: the id of {tables} is a guess:\n  files of a table that was dropped and made again may be \
                 under it;\n  `cassmount chain` marks it with ?"
            )
        })
    }
}

/// The names of the first of some tables, and how many more there are; `None` where there is none.
pub(super) fn some_tables<'a>(tables: impl Iterator<Item = &'a TableName>) -> Option<String> {
    let mut tables: Vec<String> = tables.map(ToString::to_string).collect();
    tables.sort();
    tables.dedup();
    let count = tables.len();
    let named = tables.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if count > NAMED { format!(" and {} more", count - NAMED) } else { String::new() };
    (count > 0).then(|| format!("{named}{more}"))
}
