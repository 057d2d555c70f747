//! `cassmount restore`: instant restore through links, and what comes after it.

mod abort;
mod guard;
mod hydrate;
mod instant;
mod load;
mod mounts;
mod node;
mod plan;
mod repair;
mod report;
mod status;

pub(super) use mounts::find as running_mount;

use super::options::{KeyspaceArgs, TableArgs};
use cassmount::cassandra::TableName;
use cassmount::restore::Selection;
use cassmount::{Error, Result};
use std::fmt::Write as _;

/// Makes live tables of this node read a backup through links into a running mount: queryable at
/// once, whatever the size. The bytes come later, with `hydrate`, or as compaction reads them.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct RestoreArgs {
    #[command(subcommand)]
    action: RestoreAction,
}

const EXAMPLES: &str = "\
Examples:
  cassmount mount s3://cass-backups /mnt/backups --key-file K --allow-other
  cassmount restore instant --table shop.users --at 2026-11-20T18:00:00Z --dry-run
  cassmount restore instant --table shop.users --at 2026-11-20T18:00:00Z
  cassmount restore hydrate --wait --rate 50M
  cassmount restore status";

#[derive(clap::Subcommand, Debug)]
enum RestoreAction {
    /// Link tables to a restore point, and have Cassandra open it
    Instant(instant::InstantArgs),
    /// Put a whole node together before its first start: a new cluster, or in the place of a dead
    /// node
    Node(node::WholeNodeArgs),
    /// How a whole cluster comes back: which command on which machine, in which order
    Plan(plan::PlanArgs),
    /// Load a restore point into a running cluster of any topology, with sstableloader
    Load(load::LoadArgs),
    /// Replace links by local copies while Cassandra runs
    Hydrate(hydrate::HydrateArgs),
    /// What is still remote, of every table that was restored so
    Status(status::StatusArgs),
    /// Take tables back to how they were before
    Abort(abort::AbortArgs),
    /// Give tables back what they lost because Cassandra was started without the mount
    Repair(repair::RepairArgs),
    /// Tell whether Cassandra may start: exit 1 with the reason if links in its data directories
    /// lead nowhere
    Guard(guard::GuardArgs),
}

/// How the node is talked to.
#[derive(clap::Args, Debug, Clone)]
pub(super) struct NodeArgs {
    /// Command that runs nodetool: a path, or words as in a shell, e.g. "nodetool -u admin -pwf
    /// /etc/jmx.password"
    #[arg(long, value_name = "CMD", default_value = "nodetool")]
    nodetool: String,
}

/// What is said where there is nothing to show.
const NO_TABLES: &str =
    "no table reads a backup through links, as far as the journals know (CASSMOUNT_STATE_DIR names another place)\n";

/// Names the snapshots that would be lost with the mount.
fn note_snapshots(text: &mut String, table: &TableName, with_links: &[String]) {
    if !with_links.is_empty() {
        let _ = writeln!(text, "{table}: snapshots with links in them: {}", with_links.join(", "));
    }
}

/// Which tables are meant.
fn selection(all: bool, only: &TableArgs, keyspaces: &KeyspaceArgs) -> Result<Selection> {
    match (all, &only.tables[..], &keyspaces.keyspaces[..]) {
        (true, ..) => Ok(Selection::Everything),
        (false, [], keyspaces) => Ok(Selection::Keyspaces(keyspaces.to_vec())),
        (false, tables, []) => Ok(Selection::Tables(tables.to_vec())),
        _ => Err(Error::invalid("name either tables (--table KS.TABLE) or keyspaces (--keyspace KS), not both")),
    }
}

pub(super) fn run(args: &RestoreArgs) -> Result<()> {
    match &args.action {
        RestoreAction::Instant(args) => instant::run(args),
        RestoreAction::Node(args) => node::run(args),
        RestoreAction::Plan(args) => plan::run(args),
        RestoreAction::Load(args) => load::run(args),
        RestoreAction::Hydrate(args) => hydrate::run(args),
        RestoreAction::Status(args) => status::run(args),
        RestoreAction::Abort(args) => abort::run(args),
        RestoreAction::Repair(args) => repair::run(args),
        RestoreAction::Guard(args) => guard::run(args),
    }
}
