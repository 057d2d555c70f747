//! `cassmount list SOURCE --table KS.TABLE`: which hosts have a table, in which restore points, and
//! how large it is.

use crate::cli::locked::Asked;
use crate::cli::options::TablePatternArgs;
use crate::cli::output::Shown;
use crate::cli::session::Session;
use crate::cli::table::{self, Column, Table};
use crate::cli::{terminal, words};
use cassmount::cassandra::TableName;
use cassmount::catalog::{Host, RestorePoint, Tag};
use cassmount::{Error, Kind, Result};
use serde::Serialize;
use std::collections::BTreeSet;

/// The JSON is documented in docs/json.md.
#[derive(Serialize)]
pub(super) struct HostTables {
    source: String,
    tables: Vec<TableLine>,
}

/// A table of one host.
#[derive(Serialize)]
struct TableLine {
    host: Host,
    #[serde(flatten)]
    table: TableName,
    /// How many have it, the first of them and the last.
    restore_points: usize,
    first: Tag,
    last: Tag,
    /// Stored size of all that the last one needs of it.
    bytes: u64,
    /// The host's newest restore point, where that does not have it.
    gone_from: Option<Tag>,
    /// Whether the newest restore point lacks rows of it.
    incomplete: bool,
}

pub(super) async fn tables(session: &Session, only: &TablePatternArgs) -> Result<HostTables> {
    let hosts = session.hosts(None).await?;
    let wanted = session.tables(only, &hosts).await?;
    let tree = session.tree()?;
    let mut lines = Vec::new();
    for host in &hosts {
        session.catalog.host_now(host).await?;
        let sets = session.catalog.host_judged(host).await?;
        let newest = sets.chains.latest().map(RestorePoint::tag);
        let is_newest = |point: &RestorePoint| Some(point.tag()) == newest;
        let index = sets.chains.points().iter().position(is_newest).unwrap_or(usize::MAX);
        for table in &wanted {
            let points = match tree.points_with(host, table).await {
                Ok(points) => points,
                Err(error) if error.kind() == Kind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let (Some(first), Some(last)) = (points.first(), points.last()) else { continue };
            let point = sets.find_point(&last.0)?;
            lines.push(TableLine {
                host: host.clone(),
                table: table.clone(),
                restore_points: points.len(),
                first: first.clone(),
                last: last.clone(),
                bytes: point.archives(table).map(|(_, archive)| archive.object.size).sum(),
                gone_from: newest.filter(|newest| !points.contains(newest)).cloned(),
                incomplete: sets.completeness.of_point(index).any(|lack| lack.subject.concerns(table)),
            });
        }
    }
    lines.sort_by(|a, b| (&a.table, &a.host).cmp(&(&b.table, &b.host)));
    if lines.is_empty() {
        let names = only.patterns().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        return Err(Error::not_found(format!("no host of {} has a restore point with {names}", session.store.name())));
    }
    Ok(HostTables { source: session.store.name().to_owned(), tables: lines })
}

impl HostTables {
    /// What of which hosts had to be known: in which of all restore points a table is.
    pub(super) fn asked(&self) -> Vec<(Host, Asked)> {
        let hosts: BTreeSet<&Host> = self.tables.iter().map(|line| &line.host).collect();
        hosts.into_iter().map(|host| (host.clone(), Asked::All)).collect()
    }

    /// An error where the newest restore point of a host lacks rows of a table.
    pub(super) fn verdict(&self) -> Result<()> {
        let lacking: Vec<String> = self
            .tables
            .iter()
            .filter(|line| line.incomplete)
            .map(|line| format!("{} of {}", line.table, line.host))
            .collect();
        if lacking.is_empty() {
            return Ok(());
        }
        let which = words::some(&lacking);
        Err(Error::new(
            Kind::Corrupt,
            format!("the newest backup is not whole for {which}: `cassmount list SOURCE HOST` says what is missing"),
        ))
    }
}

impl Shown for HostTables {
    fn text(&self) -> String {
        let row = |line: &TableLine| {
            let state = match &line.gone_from {
                None if line.incomplete => terminal::bad("INCOMPLETE in the newest"),
                None => terminal::good("in the newest"),
                Some(newest) => terminal::odd(&format!("not in {newest}")),
            };
            vec![
                line.table.to_string(),
                line.host.to_string(),
                line.restore_points.to_string(),
                line.first.to_string(),
                line.last.to_string(),
                table::bytes(line.bytes),
                state,
            ]
        };
        let columns = vec![
            Column::new("TABLE"),
            Column::new("HOST"),
            Column::new("POINTS").right().dispensable(2),
            Column::new("FIRST").dispensable(1),
            Column::new("LAST"),
            Column::new("SIZE").right(),
            Column::new("STATE").wraps(),
        ];
        Table { columns, rows: self.tables.iter().map(row).collect() }.text()
    }
}
