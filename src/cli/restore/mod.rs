//! `cassmount restore`: instant restore through links, and what comes after it.

mod abort;
mod args;
mod hydrate;
mod instant;
mod mounts;
mod status;

pub(super) use args::RestoreArgs;

use crate::Result;
use crate::cassandra::TableName;
use args::RestoreAction;
use std::fmt::Write as _;

/// What is said where there is nothing to show.
const NO_TABLES: &str =
    "no table reads a backup through links, as far as the journals know (--cache-dir names another place)\n";

/// Names the snapshots that would be lost with the mount.
fn note_snapshots(text: &mut String, table: &TableName, with_links: &[String]) {
    if !with_links.is_empty() {
        let _ = writeln!(text, "{table}: snapshots with links in them: {}", with_links.join(", "));
    }
}

pub(super) fn run(args: &RestoreArgs) -> Result<()> {
    match &args.action {
        RestoreAction::Instant(args) => instant::run(args),
        RestoreAction::Hydrate(args) => hydrate::run(args),
        RestoreAction::Status(args) => status::run(args),
        RestoreAction::Abort(args) => abort::run(args),
    }
}
