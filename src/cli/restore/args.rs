//! Arguments of `cassmount restore`.

use crate::cassandra::TableName;
use crate::cli::args::{LogArgs, parse_table};
use crate::cli::progress::ProgressArgs;
use crate::config::{parse_duration, parse_rate, parse_size};
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

/// Makes live tables of this node read a backup through links into a running mount: queryable at once, whatever the size. The bytes come
/// later, with `hydrate`, or as compaction reads them.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct RestoreArgs {
    #[command(subcommand)]
    pub(super) action: RestoreAction,
}

const EXAMPLES: &str = "\
Examples:
  cassmount mount s3://cass-backups /mnt --key-file K --allow-other
  cassmount restore instant --table shop.users --at 2026-11-20T18:00:00Z --dry-run
  cassmount restore instant --table shop.users --at 2026-11-20T18:00:00Z
  cassmount restore hydrate --wait --rate 50M
  cassmount restore status";

#[derive(Subcommand, Debug)]
pub(super) enum RestoreAction {
    /// Link tables to a restore point, and have Cassandra open it
    Instant(InstantArgs),
    /// Replace links by local copies while Cassandra runs
    Hydrate(HydrateArgs),
    /// What is still remote, of every table that was restored so
    Status(StatusArgs),
    /// Take tables back to how they were before
    Abort(AbortArgs),
}

/// Links the SSTables of a restore point into live tables of this node and has Cassandra open them (`nodetool refresh`). Rows that the tables
/// hold stay. Everything is checked before anything is changed, and a table for which anything fails is rolled back.
#[derive(Args, Debug)]
#[command(after_help = INSTANT_HELP)]
pub(super) struct InstantArgs {
    /// This table; may be given several times
    #[arg(short, long, value_name = "KS.TABLE", required_unless_present_any = ["keyspace", "all"])]
    pub(super) table: Vec<String>,
    /// All tables of this keyspace, or the one that --table names without its keyspace; may be given several times
    #[arg(short, long, value_name = "KS")]
    pub(super) keyspace: Vec<String>,
    /// All tables of all keyspaces but Cassandra's own
    #[arg(long, conflicts_with_all = ["table", "keyspace"])]
    pub(super) all: bool,
    /// Which restore point: a set's name, `latest`, or any time for the newest restore point not after it
    #[arg(long, value_name = "TIME", default_value = "latest")]
    pub(super) at: String,
    /// Whose backup, as the mount shows it; may be given several times where every node has every row [default: that of the host with this
    /// node's tokens]
    #[arg(long, value_name = "HOST")]
    pub(super) source_host: Vec<String>,
    /// Only into this one of the node's data directories [default: the one with the most room]
    #[arg(long, value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
    /// Truncate the tables before, on all nodes of the cluster; `restore abort` brings back what this node had
    #[arg(long)]
    pub(super) truncate_first: bool,
    /// Do not compare the backup's schema with the node's
    #[arg(long)]
    pub(super) no_schema_check: bool,
    /// Give up on one `nodetool refresh` after this long; building secondary indexes takes its time
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_duration)]
    pub(super) refresh_timeout: Duration,
    /// Check everything and show what would be done; change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) mount: MountArg,
    #[command(flatten)]
    pub(super) node: NodeArgs,
    /// Command that runs cqlsh, for --truncate-first
    #[arg(long, value_name = "CMD", default_value = "cqlsh")]
    pub(super) cqlsh: String,
    /// Print JSON (see docs/json.md)
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

const INSTANT_HELP: &str = "\
Checked before anything changes: the node has the tables, with the columns and types of the restore point; it owns the rows (its tokens are those of \
the backup's manifest and the ring is as it was, or every node has every row); Cassandra's user can read the mount. Where rows belong elsewhere, \
sstableloader restores them.

The mount must stay until `restore hydrate` is done and Cassandra was restarted, or compaction has rewritten what is linked. Backups taken before \
then would archive links.

A command that was killed is completed, or rolled back, by the same command run again.";

/// Which mount.
#[derive(Args, Debug, Clone, Default)]
pub(super) struct MountArg {
    /// The mount to link into, where several run
    #[arg(long, value_name = "MOUNTPOINT")]
    pub(super) mount: Option<PathBuf>,
}

/// How the node is talked to.
#[derive(Args, Debug, Clone)]
pub(super) struct NodeArgs {
    /// Command that runs nodetool: a path, or words as in a shell, e.g. "nodetool -u admin -pwf /etc/jmx.password"
    #[arg(long, value_name = "CMD", default_value = "nodetool")]
    pub(super) nodetool: String,
}

/// Copies what live tables still read through links, oldest link first, and puts each copy in the place of its link, while Cassandra runs. Links that
/// incremental_backups made in backups/, and those in snapshots, become files as well. Goes on in the background; interrupted or killed, the same
/// command goes on where it was.
#[derive(Args, Debug)]
pub(super) struct HydrateArgs {
    /// This table only; may be given several times [default: all that were restored through links]
    #[arg(short, long, value_name = "KS.TABLE")]
    pub(super) table: Vec<String>,
    /// The keyspace of what --table names
    #[arg(short, long, value_name = "KS", requires = "table")]
    pub(super) keyspace: Vec<String>,
    /// Stay until all is local, and show how far it is
    #[arg(short, long)]
    pub(super) wait: bool,
    /// Copy at most this much per second, e.g. 50M
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub(super) rate: Option<u64>,
    /// Leave this much free on the disk
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = parse_size)]
    pub(super) keep_free: u64,
    /// Print JSON (see docs/json.md)
    #[arg(long, requires = "wait")]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) journals: JournalArgs,
    #[command(flatten)]
    pub(super) progress: ProgressArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

/// Takes restored SSTables out of live tables again; what was there before, and rows written since, stay. Cassandra does not let go of SSTables
/// while it runs: stop it first (after `nodetool drain`), and start it when this has ended. If compaction has read restored SSTables by then, what was
/// there before comes back from a snapshot, and everything newer is set aside below the table's snapshots/.
#[derive(Args, Debug)]
pub(super) struct AbortArgs {
    /// This table; may be given several times
    #[arg(short, long, value_name = "KS.TABLE")]
    pub(super) table: Vec<String>,
    /// The keyspace of what --table names
    #[arg(short, long, value_name = "KS", requires = "table")]
    pub(super) keyspace: Vec<String>,
    /// All that were restored through links
    #[arg(long, conflicts_with = "table")]
    pub(super) all: bool,
    /// Give up on one `nodetool refresh` after this long
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_duration)]
    pub(super) refresh_timeout: Duration,
    #[command(flatten)]
    pub(super) node: NodeArgs,
    /// Print JSON (see docs/json.md)
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) journals: JournalArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

#[derive(Args, Debug)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    pub(super) journals: JournalArgs,
    /// Print JSON (see docs/json.md)
    #[arg(long)]
    pub(super) json: bool,
}

/// Where to look for what was begun.
#[derive(Args, Debug, Clone, Default)]
pub(super) struct JournalArgs {
    /// Cache directory of the mount that was linked into [default: those of running mounts, and the one that a mount takes by default]
    #[arg(long, value_name = "DIR", env = "CASSMOUNT_CACHE_DIR")]
    pub(super) cache_dir: Option<PathBuf>,
}

/// `ks.table`, or `table` where one keyspace is named.
pub(super) fn tables(names: &[String], keyspaces: &[String]) -> crate::Result<Vec<TableName>> {
    let table = |name: &String| {
        let full = match keyspaces {
            [keyspace] if !name.contains('.') => format!("{keyspace}.{name}"),
            _ => name.clone(),
        };
        parse_table(&full).map_err(|why| crate::Error::invalid(format!("--table {name}: {why}")))
    };
    names.iter().map(table).collect()
}
