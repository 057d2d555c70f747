//! Where the backups are, and whether a node's own tables give their ids.

use super::declared::{Declared, Group};
use cassmount::config::{Declaration, table};
use std::ffi::OsString;

#[derive(Debug)]
pub(in crate::cli) struct SourceGroup;

impl Group for SourceGroup {
    const HEADING: &'static str = "Source";

    fn rows() -> &'static [Declaration] {
        table::SOURCE
    }
}

/// Where the backups are and how to reach them.
#[derive(clap::Args, Debug, Clone, Default)]
#[command(next_help_heading = "Source")]
pub(in crate::cli) struct SourceArgs {
    #[command(flatten)]
    options: Declared<SourceGroup>,
    /// Print the settings and where each comes from (flag, environment, configuration; secrets
    /// masked), and do nothing else
    #[arg(long, hide_short_help = true)]
    pub(in crate::cli) show_config: bool,
}

impl SourceArgs {
    pub(super) fn given(&self) -> Vec<(&'static str, Vec<OsString>)> {
        self.options.given()
    }
}

#[derive(Debug)]
pub(in crate::cli) struct LiveIdGroup;

impl Group for LiveIdGroup {
    const HEADING: &'static str = "What is shown";

    fn rows() -> &'static [Declaration] {
        table::LIVE_IDS
    }
}

/// Whether a node's own tables give their ids.
pub(in crate::cli) type LiveIdArgs = Declared<LiveIdGroup>;
