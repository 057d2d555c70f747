//! What commands that do something to each table take, and how they end.

use super::NodeArgs;
use crate::cli::logging;
use crate::cli::options::{CacheDirArgs, LogArgs, OutputArgs};
use cassmount::config::parse_duration;
use cassmount::restore::{Node, Program};
use cassmount::{Error, Kind, Result};
use serde::Serialize;
use std::fmt::Display;
use std::time::Duration;

/// How a command works on tables of this node, and what it prints.
#[derive(clap::Args, Debug)]
pub(super) struct WorkArgs {
    /// Give up on one `nodetool refresh` after this long
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_duration)]
    pub(super) refresh_timeout: Duration,
    #[command(flatten)]
    node: NodeArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
    #[command(flatten)]
    pub(super) journals: CacheDirArgs,
    #[command(flatten)]
    log: LogArgs,
}

impl WorkArgs {
    /// The node. Messages go to the terminal from now on.
    pub(super) fn begin(&self) -> Result<Node> {
        logging::to_terminal(&self.log);
        Ok(Node::new(Program::parse(&self.node.nodetool)?))
    }
}

/// What became of every table. The JSON is documented in docs/json.md.
#[derive(Serialize)]
pub(super) struct All<T> {
    pub(super) tables: Vec<T>,
}

/// Fails with the first table that failed, in words such as "is not repaired".
pub(super) fn verdict<'a, N: Display>(
    tables: impl IntoIterator<Item = (N, &'a Option<String>)>,
    words: &str,
) -> Result<()> {
    let failed = tables.into_iter().find_map(|(table, error)| Some((table, error.as_ref()?)));
    let Some((table, why)) = failed else { return Ok(()) };
    Err(Error::new(Kind::Io, format!("{table} {words}: {why}")))
}
