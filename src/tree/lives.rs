//! The lives of a host's tables: when each was created, altered and dropped.

use super::backup::BackupTree;
use crate::Result;
use crate::cassandra::TableName;
use crate::cassandra::schema::{Alteration, Incarnation};
use crate::catalog::{Depth, Host};
use crate::task::blocking;

/// Moments at which tables were altered, at most.
const MOST_MOMENTS: usize = 500;

/// What the sets of a host tell of its tables.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TableLives {
    /// By name; tables of Cassandra's own are none of them.
    pub tables: Vec<(TableName, Vec<Incarnation>)>,
    /// By time.
    pub alterations: Vec<Alteration>,
    /// Why not all of it is known, a sentence for each set that could not be read.
    pub gaps: Vec<String>,
}

impl BackupTree {
    /// Reads what all sets of the host hold of `system_schema`, as far as it is not known yet.
    ///
    /// # Errors
    /// What the store says when it cannot be reached.
    pub async fn lives(&self, host: &Host) -> Result<TableLives> {
        let (sets, _) = self.sets(host).await?;
        let knowledge = self.state(host).history.learn(&sets.sets, Depth::Schema).await?;
        blocking(move || {
            let timeline = knowledge.timeline();
            Ok(TableLives {
                tables: timeline.tables().map(|(table, lives)| (table.clone(), lives.to_vec())).collect(),
                alterations: timeline.alterations(MOST_MOMENTS)?,
                gaps: knowledge.gaps().iter().map(|(tag, why)| format!("{tag}: {why}")).collect(),
            })
        })
        .await
    }
}
