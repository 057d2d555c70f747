//! `cassmount node`: a Cassandra of its own that shows a whole cluster as of a time.

mod launch;
mod list;
pub(in crate::cli) mod places;
mod start;
mod stop;

pub(super) use launch::{Launch, Mounted, PastArgs, ServerArgs};

use super::runtime_state::{is_ours, mounted_device};
use super::{state_dir, unmount};
use crate::cli::terminal::say;
use cassmount::node::Room;
use cassmount::{Error, Kind, Result};
use std::path::Path;

/// Shows any backup to cqlsh: one throwaway Cassandra on this machine has the rows of a whole
/// cluster as of a time, read from the backup when a query asks for them. Nothing of a cluster or
/// of a backup is touched.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct NodeArgs {
    #[command(subcommand)]
    action: NodeAction,
}

const EXAMPLES: &str = "\
Examples:
  cassmount node start s3://cass-backups --at 2026-11-20T18:00:00Z --key-file K
  cqlsh --request-timeout=600 127.0.0.77
  cassmount node list
  cassmount node stop past-1";

#[derive(clap::Subcommand, Debug)]
enum NodeAction {
    /// Start a node, and return when it answers CQL
    Start(Box<start::StartArgs>),
    /// Show the nodes that run, and remove what dead ones left
    List(list::ListArgs),
    /// End a node, and remove all that it has
    Stop(stop::StopArgs),
}

pub(super) fn run(args: &NodeArgs) -> Result<()> {
    match &args.action {
        NodeAction::Start(args) => start::run(args),
        NodeAction::List(args) => list::run(args),
        NodeAction::Stop(args) => stop::run(args),
    }
}

/// The nodes of this user, without those that are dead: what these left is removed, and said.
fn swept_room() -> Result<Room> {
    let room = Room::open(&state_dir::state_dir()?)?;
    for record in room.sweep(&mut take_away)? {
        say!("cassmount: {} had ended: what it left was removed", record.name);
    }
    Ok(room)
}

/// Takes a node's own mount away, even if somebody still looks into it.
fn take_away(mountpoint: &Path) -> Result<()> {
    if mounted_device(mountpoint).is_none() {
        return Ok(());
    }
    if !is_ours(mountpoint) {
        let message = format!("what is mounted at {} is not cassmount's: unmount it", mountpoint.display());
        return Err(Error::new(Kind::Busy, message));
    }
    // One whose processes were killed is detached as well.
    unmount::end(mountpoint, false).or_else(|_| unmount::end(mountpoint, true))
}
