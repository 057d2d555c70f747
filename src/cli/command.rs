//! The command line as a whole: which commands there are. Each has a file of its own with its
//! options.

use super::{
    browse, chain, diff, drill, extract, index, list, manual, mount, node, report, restore, schema, status, thaw,
    unmount, upgrade, verify, version,
};
use clap::{CommandFactory, Parser, Subcommand};
use std::ffi::OsString;

/// Browse Cassandra backups as files, and restore straight from them.
///
/// SOURCE is where the backups are: s3://bucket[/prefix], gs://bucket[/prefix],
/// az://container[/prefix], file:///dir or a directory. A mount never writes to it; only
/// `index --publish` does, below `.cassmount/`, and `thaw` asks for copies of archived objects.
#[derive(Parser, Debug)]
#[command(name = "cassmount", version = version(), max_term_width = 110, after_help = EXAMPLES)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

const EXAMPLES: &str = "\
First steps:
  cassmount list s3://cass-backups                 hosts, and how they are
  cassmount list s3://cass-backups node1           restore points of a host
  cassmount mount s3://cass-backups /mnt/backups --key-file K
  ls /mnt/backups/node1/restore-points/latest
  cassmount unmount /mnt/backups

On a node with /etc/backup/config.json the bucket and the key are taken from
there: `cassmount mount /mnt/backups`.

Exit statuses:
  0    done, whole and good
  1    something is lost or damaged, or could not be done
  2    wrong usage
  3    no key opens the archives
  4    the store cannot be reached, or refuses the credentials
  5    refused, because what was asked for is incomplete
  130  interrupted";

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Mount a backup source as a tree of files
    Mount(mount::MountArgs),
    /// What answers a mount's requests, started by its supervisor
    #[command(hide = true)]
    Worker(mount::MountArgs),
    /// What does for a locked-up worker what that may not, started by it
    #[command(hide = true)]
    Broker(mount::MountArgs),
    /// Unmount, and wait until the daemon has gone
    #[command(visible_alias = "umount")]
    Unmount(unmount::UnmountArgs),
    /// Hand a mount over to this version of cassmount, without unmounting
    Upgrade(upgrade::UpgradeArgs),
    /// List hosts and how they are, or one host's restore points
    List(list::ListArgs),
    /// Show what a restore point is made of: sets, tables, SSTables, and the evidence for each
    Chain(chain::ChainArgs),
    /// List a directory of the tree that a mount would show
    Ls(browse::LsArgs),
    /// Print files of the tree that a mount would show
    Cat(browse::CatArgs),
    /// Find paths in the tree that a mount would show
    Find(browse::FindArgs),
    /// Compare two restore points: tables, SSTables, bytes, schema
    Diff(diff::DiffArgs),
    /// Write a page about the backups, as HTML: days, chains, tables
    Report(report::ReportArgs),
    /// Print the CQL that creates the schema of a restore point again
    Schema(schema::SchemaArgs),
    /// Build the seek indexes of archives ahead of need, so that the first read of any file in them
    /// is quick
    Index(index::IndexArgs),
    /// Check whether backups are good, and say what is lost where they are not
    Verify(verify::VerifyArgs),
    /// Ask the store for what is archived (Glacier) and needed
    Thaw(thaw::ThawArgs),
    /// Write a restore point, or some of its tables, to a directory as ordinary files
    Extract(extract::ExtractArgs),
    /// Make live tables of this node read a backup at once, through links into a mount
    Restore(restore::RestoreArgs),
    /// Show a whole cluster as of a time to cqlsh, in a throwaway Cassandra of its own
    Node(node::NodeArgs),
    /// Show that backups can be restored: read all tables in a throwaway Cassandra, for cron
    Drill(Box<drill::DrillArgs>),
    /// Show what running mounts do: source, cache, scratch layer, transfers, errors
    Status(status::StatusArgs),
    /// Look at the cache, or empty it
    Cache(status::CacheCommandArgs),
    /// Look at a mount's scratch layer, or empty it
    Scratch(status::ScratchCommandArgs),
    /// Print the completions for a shell: `cassmount completions bash >
    /// /etc/bash_completion.d/cassmount`
    Completions(manual::CompletionsArgs),
    /// Write the manual pages into a directory
    #[command(hide = true)]
    Man(manual::ManArgs),
}

impl Cli {
    /// Reads a command line. With `--show-config` no place has to be named, because none is looked
    /// at.
    pub(super) fn read(arguments: Vec<OsString>) -> Result<Self, clap::Error> {
        let mut command = Self::command();
        if arguments.iter().any(|argument| argument == "--show-config") {
            command = without_places(command);
        }
        let mut matches = command.try_get_matches_from(arguments)?;
        <Self as clap::FromArgMatches>::from_arg_matches_mut(&mut matches)
    }

    /// Whether this is the command line of a mount's worker.
    pub(super) fn starts_worker(arguments: Vec<OsString>) -> Result<bool, clap::Error> {
        Self::read(arguments).map(|cli| matches!(cli.command, Command::Worker(_)))
    }
}

fn without_places(command: clap::Command) -> clap::Command {
    let optional = |arg: clap::Arg| {
        let is_missing = arg.is_positional() && arg.is_required_set();
        if is_missing { arg.required(false).default_value("-") } else { arg }
    };
    command.mut_args(optional).mut_subcommands(without_places)
}
