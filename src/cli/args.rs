//! Arguments: the option groups that commands share, and the commands themselves.

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

use super::extract::{Arrangement, ExtractArgs};
use super::progress::ProgressArgs;
use super::restore::RestoreArgs;
use crate::cassandra::TableName;
use crate::catalog::LayoutChoice;
use crate::catalog::layout::Rename;
use crate::config::{parse_duration, parse_rate, parse_size};

/// Browse Cassandra backups as files, and restore straight from them.
///
/// SOURCE is where the backups are: s3://bucket[/prefix], gs://bucket[/prefix], az://container[/prefix], file:///dir or a directory.
/// Nothing is ever written to it, but for what `index --publish` is told to.
#[derive(Parser, Debug)]
#[command(name = "cassmount", version = super::version(), max_term_width = 110, after_help = EXAMPLES)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
}

const EXAMPLES: &str = "\
First steps:
  cassmount list s3://cass-backups                       which hosts have backups
  cassmount list s3://cass-backups node1                 which restore points that host has
  cassmount mount s3://cass-backups /mnt --key-file K    see them all as files under /mnt
  ls /mnt/node1/restore-points/latest
  cassmount unmount /mnt

On a node with /etc/backup/config.json the bucket and the key are taken from there: `cassmount mount /mnt`.";

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Mount a backup source as a tree of files
    Mount(MountArgs),
    /// What answers a mount's requests, started by its supervisor
    #[command(hide = true)]
    Worker(MountArgs),
    /// Unmount, and wait until the daemon has gone
    #[command(visible_alias = "umount")]
    Unmount(UnmountArgs),
    /// Hand a mount over to this version of cassmount, without unmounting
    Upgrade(UpgradeArgs),
    /// List hosts, or one host's backup sets and restore points
    List(ListArgs),
    /// Show what a restore point is made of: sets, tables, SSTables, and the evidence for each
    Chain(ChainArgs),
    /// Print the CQL that creates the schema of a restore point again
    Schema(SchemaArgs),
    /// Build the seek indexes of archives ahead of need, so that the first read of any file in them is quick
    Index(IndexArgs),
    /// Check whether backups are good, and say what is lost where they are not
    Verify(VerifyArgs),
    /// Write a restore point, or some of its tables, to a directory as ordinary files
    Extract(ExtractArgs),
    /// Make live tables of this node read a backup at once, through links into a mount
    Restore(RestoreArgs),
    /// Show what running mounts do: source, cache, scratch layer, transfers, errors
    Status(StatusArgs),
    /// Look at the cache, or empty it
    Cache(CacheCommandArgs),
    /// Look at a mount's scratch layer, or empty it
    Scratch(ScratchCommandArgs),
    /// Print the completions for a shell: `cassmount completions bash > /etc/bash_completion.d/cassmount`
    Completions { shell: clap_complete::Shell },
    /// Write the manual pages into a directory
    #[command(hide = true)]
    Man { directory: PathBuf },
}

/// What every command takes that reads backups.
#[derive(Args, Debug, Clone, Default)]
pub(super) struct BackupArgs {
    #[command(flatten)]
    pub(super) source: SourceArgs,
    #[command(flatten)]
    pub(super) keys: KeyArgs,
    #[command(flatten)]
    pub(super) cache: CacheArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

/// Where the backups are and how to reach them.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Source")]
pub(super) struct SourceArgs {
    /// Read settings from this file, as it is found on the nodes [default: $CASSMOUNT_CONFIG, or /etc/backup/config.json if it exists]
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Region of the bucket
    #[arg(long)]
    pub(super) region: Option<String>,
    /// Address of an S3-compatible service, e.g. https://minio.example:9000
    #[arg(long, value_name = "URL")]
    pub(super) endpoint_url: Option<String>,
    /// Profile of ~/.aws/config and ~/.aws/credentials
    #[arg(long)]
    pub(super) profile: Option<String>,
    /// Do not sign requests: for public buckets
    #[arg(long)]
    pub(super) no_sign_request: bool,
    /// Address the bucket as part of the path, not of the host name
    #[arg(long)]
    pub(super) force_path_style: bool,
    /// Trust the certificate authorities in this PEM file
    #[arg(long, value_name = "FILE")]
    pub(super) ca_bundle: Option<PathBuf>,
    /// Fetch at most this much per second, e.g. 50M
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub(super) throttle: Option<u64>,
    /// Give up on an operation that made no progress for this long [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(super) timeout: Option<Duration>,
    /// How the backups are laid out; `auto` tells it from the names (see docs/layouts.md) [default: auto]
    #[arg(long, value_name = "NAME", value_parser = layout_names())]
    pub(super) layout: Option<String>,
    /// Show the host OLD of the source as NEW; several of one name become one host. Not for cass_ops; may be given several times
    #[arg(long, value_name = "OLD=NEW")]
    pub(super) rename_host: Vec<Rename>,
    /// Print the settings and where each comes from (flag, environment, configuration; secrets masked), and do nothing else
    #[arg(long)]
    pub(super) show_config: bool,
}

/// The layouts; and, unsaid, what `extract` takes for one of its own arrangements.
fn layout_names() -> PossibleValuesParser {
    let arrangements = Arrangement::value_variants().iter().filter_map(Arrangement::to_possible_value);
    let names = LayoutChoice::names().into_iter().map(PossibleValue::new);
    PossibleValuesParser::new(names.chain(arrangements.map(|value| value.hide(true))))
}

/// Where the passphrases are. A passphrase itself is never an argument.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Keys")]
pub(super) struct KeyArgs {
    /// File whose first line is the passphrase, as for openssl's -pass file:; repeat it for rotated keys [default: $CASSMOUNT_KEY_FILE, several with colons between]
    #[arg(long, value_name = "FILE")]
    pub(super) key_file: Vec<PathBuf>,
    /// Command that prints the passphrase on the first line of its standard output
    #[arg(long, value_name = "COMMAND")]
    pub(super) key_command: Option<String>,
}

/// What stays on the local disk.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Cache")]
pub(super) struct CacheArgs {
    /// Directory for verified plaintext, mode 0700 [default: /var/cache/cassmount for root, else ~/.cache/cassmount]
    #[arg(long, value_name = "DIR", env = "CASSMOUNT_CACHE_DIR")]
    pub(super) cache_dir: Option<PathBuf>,
    /// Most bytes to keep there [default: 10G, or a quarter of the free space if that is less]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(super) cache_size: Option<u64>,
    /// Most memory for data in flight
    #[arg(long, value_name = "SIZE", default_value = "96M", value_parser = parse_size)]
    pub(super) memory_limit: u64,
}

/// Mounts SOURCE on MOUNTPOINT and returns once it is ready, or with the reason why not.
#[derive(Args, Debug)]
pub(super) struct MountArgs {
    /// SOURCE and MOUNTPOINT; SOURCE may be left out where the configuration names the bucket
    #[arg(value_name = "SOURCE MOUNTPOINT", num_args = 1..=2, required = true)]
    pub(super) places: Vec<String>,
    /// Stay in the foreground and log to standard error
    #[arg(short, long)]
    pub(super) foreground: bool,
    /// Serve metrics for Prometheus at http://ADDR/metrics, e.g. 127.0.0.1:9464
    #[arg(long, value_name = "ADDR")]
    pub(super) metrics: Option<std::net::SocketAddr>,
    /// Give the mount up when the process that serves it dies more often than this in a minute; until then it is started again
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(super) restart_limit: usize,
    #[command(flatten)]
    pub(super) view: ViewArgs,
    #[command(flatten)]
    pub(super) access: AccessArgs,
    #[command(flatten)]
    pub(super) trouble: TroubleArgs,
    #[command(flatten)]
    pub(super) backups: BackupArgs,
}

/// Trouble that is made on purpose, to see what comes of it.
#[derive(Args, Debug, Clone, Default)]
pub(super) struct TroubleArgs {
    /// Crash at a read of any file whose path ends like this
    #[arg(long, hide = true, value_name = "PATH")]
    pub(super) crash_on: Option<String>,
    /// Act as on a kernel that cannot send requests again
    #[arg(long, hide = true)]
    pub(super) no_resend: bool,
}

/// What the mount shows.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "What is shown")]
pub(super) struct ViewArgs {
    /// Show only this host, as the root of the mount
    #[arg(long, value_name = "HOST")]
    pub(super) source_host: Option<String>,
    /// Show only what was there then: a date, a minute (2026-11-21-03-15), RFC 3339 or unix seconds
    #[arg(long, value_name = "TIME")]
    pub(super) at: Option<String>,
    #[command(flatten)]
    pub(super) live_ids: LiveIdArgs,
}

/// Whether a node's own tables give their ids.
#[derive(Args, Debug, Clone, Default)]
pub(super) struct LiveIdArgs {
    /// Name table directories after the live tables in this Cassandra data directory
    #[arg(long, value_name = "DIR")]
    pub(super) live_data_dir: Option<PathBuf>,
    /// The same with the configuration's cassandra_data_dir
    #[arg(long)]
    pub(super) match_live_ids: bool,
}

/// Who may do what.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Access")]
pub(super) struct AccessArgs {
    /// Refuse every change (EROFS); sstableloader and nodetool import need the scratch layer and fail then
    #[arg(long)]
    pub(super) read_only: bool,
    /// Most bytes that programs may write into the mount's private scratch layer
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = parse_size)]
    pub(super) scratch_size: u64,
    /// Let other users than the one who mounts in (needs user_allow_other in /etc/fuse.conf, or root)
    #[arg(long)]
    pub(super) allow_other: bool,
    #[command(flatten)]
    pub(super) owner: OwnerArgs,
}

/// Whose the files are.
#[derive(Args, Debug, Clone, Default)]
pub(super) struct OwnerArgs {
    /// Owner of all files, as a name or number [default: who runs this]
    #[arg(long, value_name = "USER")]
    pub(super) uid: Option<String>,
    /// Group of all files, as a name or number [default: who runs this]
    #[arg(long, value_name = "GROUP")]
    pub(super) gid: Option<String>,
    /// Mode of files, octal
    #[arg(long, value_name = "MODE", default_value = "0644", value_parser = parse_mode)]
    pub(super) file_mode: u16,
    /// Mode of directories, octal
    #[arg(long, value_name = "MODE", default_value = "0755", value_parser = parse_mode)]
    pub(super) dir_mode: u16,
}

/// Where messages go.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Messages")]
pub(super) struct LogArgs {
    /// Directory for the log file of a mount in the background [default: /var/log/cassmount for root, else ~/.local/state/cassmount]
    #[arg(short, long, value_name = "DIR")]
    pub(super) log_directory: Option<PathBuf>,
    /// Log every operation
    #[arg(short, long)]
    pub(super) debug: bool,
    /// How messages are written: for people, or one JSON object a line
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub(super) log_format: LogFormat,
}

#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Args, Debug)]
pub(super) struct UnmountArgs {
    pub(super) mountpoint: PathBuf,
    /// Detach it even if programs still use it; it goes away with the last of them
    #[arg(long)]
    pub(super) force: bool,
}

/// Lets this program go on with a mount that another version of it serves, without unmounting: whatever programs have open there stays open, and
/// they wait for a moment at most. Refuses, before anything is handed over, where the two versions keep what they would share on disk in
/// different ways; if this one does not come to serve the mount, the one before it goes on.
#[derive(Args, Debug)]
pub(super) struct UpgradeArgs {
    pub(super) mountpoint: PathBuf,
    /// Print JSON (see docs/json.md)
    #[arg(long)]
    pub(super) json: bool,
}

/// Lists the hosts of SOURCE, or the backup sets of one HOST: what can be restored with each, from how many sets and bytes in all, and what is
/// wrong with them.
#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// SOURCE, then optionally a HOST; SOURCE may be `-` for the configuration's bucket
    #[arg(value_name = "SOURCE")]
    pub(super) source_place: Option<String>,
    pub(super) host: Option<String>,
    /// Only sets of this time and later: a date, an hour or a minute (2026-11-21-03-15) of the host's time, RFC 3339 or unix seconds
    #[arg(long, value_name = "TIME", requires = "host")]
    pub(super) since: Option<String>,
    /// Only sets of this time and earlier
    #[arg(long, value_name = "TIME", requires = "host")]
    pub(super) until: Option<String>,
    /// Only restore points that have this table. When it was made and dropped, the sets' own system_schema tells: that takes the keys, and
    /// the first time a while
    #[arg(long, value_name = "KS.TABLE", value_parser = parse_table, requires = "host")]
    pub(super) table: Option<TableName>,
    /// Print JSON (see docs/json.md)
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) backups: BackupArgs,
}

/// A restore point of one host.
#[derive(Args, Debug)]
pub(super) struct PointArgs {
    /// Where the backups are; `-` for the configuration's bucket
    #[arg(value_name = "SOURCE", required_unless_present = "show_config")]
    pub(super) source_place: Option<String>,
    #[arg(required_unless_present = "show_config")]
    pub(super) host: Option<String>,
    /// A backup set's name, `latest`, or any time for the newest restore point not after it: 2026-11-21, 2026-11-21-03-15 (in the host's time),
    /// 2026-11-21T03:15:00Z, or unix seconds
    #[arg(required_unless_present = "show_config")]
    pub(super) point: Option<String>,
}

/// Shows which backup sets and which SSTables make a restore point, which incarnation each belongs to, and by what evidence. Every archive
/// of it is read the first time, unless --summary is given.
#[derive(Args, Debug)]
pub(super) struct ChainArgs {
    #[command(flatten)]
    pub(super) point: PointArgs,
    /// This table only
    #[arg(long, value_name = "KS.TABLE", value_parser = parse_table)]
    pub(super) table: Option<TableName>,
    /// Only sets, tables and their incarnations: read no table's archive
    #[arg(long)]
    pub(super) summary: bool,
    /// Print JSON (see docs/json.md)
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) backups: BackupArgs,
}

/// Prints the schema as of a restore point, in an order that cqlsh accepts. It comes from the sets' own system_schema.
#[derive(Args, Debug)]
pub(super) struct SchemaArgs {
    #[command(flatten)]
    pub(super) point: PointArgs,
    /// This keyspace only
    #[arg(long, value_name = "KS")]
    pub(super) keyspace: Option<String>,
    /// Let Cassandra give the tables new ids: no WITH ID
    #[arg(long)]
    pub(super) no_ids: bool,
    #[command(flatten)]
    pub(super) backups: BackupArgs,
}

/// Reads each archive once, and keeps where inflating it can start: from then on any file in it is read without reading the archive. A mount does
/// the same when it first needs an archive; this does it before. The indexes take some 0.3 % of the data, below the cache directory.
#[derive(Args, Debug)]
pub(super) struct IndexArgs {
    /// SOURCE, then optionally a HOST and a restore POINT of it; SOURCE may be `-` for the configuration's bucket
    #[arg(value_name = "SOURCE")]
    pub(super) source_place: Option<String>,
    pub(super) host: Option<String>,
    /// The archives that make this restore point; without it, all of the host's
    pub(super) point: Option<String>,
    /// This table only
    #[arg(long, value_name = "KS.TABLE", value_parser = parse_table)]
    pub(super) table: Option<TableName>,
    /// Put the indexes beside the backups as well, encrypted with a key that follows from the archive's passphrase, under .cassmount/: every
    /// later mount, wherever it is, finds them there. Needs write access; nothing else in the source is written
    #[arg(long)]
    pub(super) publish: bool,
    /// Archives read at once [default: one for each core]
    #[arg(long, value_name = "N")]
    pub(super) jobs: Option<std::num::NonZeroU8>,
    /// Print JSON (see docs/json.md)
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) progress: ProgressArgs,
    #[command(flatten)]
    pub(super) backups: BackupArgs,
}

/// `cassmount verify`; what it does is told by its help's end, where help is read.
#[derive(Args, Debug)]
#[command(after_help = VERIFY_HELP)]
pub(super) struct VerifyArgs {
    /// Where the backups are; `-`, or nothing, for the configuration's bucket
    #[arg(value_name = "SOURCE")]
    pub(super) source_place: Option<String>,
    /// This host only
    pub(super) host: Option<String>,
    /// Only the sets that this restore point of HOST needs: a set's name, `latest`, or any time as for `chain`
    pub(super) point: Option<String>,
    /// Read all of every archive
    #[arg(long)]
    pub(super) deep: bool,
    /// This table only
    #[arg(long, value_name = "KS.TABLE", value_parser = parse_table)]
    pub(super) table: Option<TableName>,
    /// Check again what an earlier run found good, too
    #[arg(long)]
    pub(super) again: bool,
    /// Check again what was found good longer ago than this, e.g. 30d
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "again")]
    pub(super) max_age: Option<Duration>,
    /// Archives at a time [default: 4 with --deep, else 16]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) jobs: Option<u16>,
    /// Print JSON (see docs/json.md)
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) progress: ProgressArgs,
    #[command(flatten)]
    pub(super) backups: BackupArgs,
}

const VERIFY_HELP: &str = "\
At a glance, each set has to have finished and to have the archives that it says it has, and each archive a key, a whole \
envelope and its last bytes: two small ranges are read of each. With --deep, all of every archive is read once: gzip's \
CRC-32, the tar, and of every SSTable its components, its Digest.crc32 and the checksums of its chunks. The report says \
what is lost, and which other set still has it.

Exits with 0 when everything is good, with 1 when anything was found. A run that was interrupted or killed goes on where it was.

Examples:
  cassmount verify s3://cass-backups --key-file K                        every host, at a glance
  cassmount verify s3://cass-backups node1 latest --deep --key-file K    all that this restore needs
  cassmount verify s3://cass-backups --deep --max-age 30d -q             for cron: all, each month";

#[derive(Args, Debug)]
pub(super) struct StatusArgs {
    /// Only this mount
    pub(super) mountpoint: Option<PathBuf>,
    /// Print JSON (see docs/json.md)
    #[arg(long)]
    pub(super) json: bool,
    /// Show it anew every second until interrupted
    #[arg(long, conflicts_with = "json")]
    pub(super) watch: bool,
}

#[derive(Args, Debug)]
pub(super) struct CacheCommandArgs {
    #[command(subcommand)]
    pub(super) action: CacheAction,
}

#[derive(Subcommand, Debug)]
pub(super) enum CacheAction {
    /// How much it holds, and how often it helped
    Status(CacheStatusArgs),
    /// Remove everything that nobody has in use, also while mounted; seek indexes and the catalog stay
    Clear(CacheStatusArgs),
}

#[derive(Args, Debug)]
pub(super) struct CacheStatusArgs {
    #[command(flatten)]
    pub(super) cache: CacheArgs,
    /// Print JSON (see docs/json.md)
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args, Debug)]
pub(super) struct ScratchCommandArgs {
    #[command(subcommand)]
    pub(super) action: ScratchAction,
}

#[derive(Subcommand, Debug)]
pub(super) enum ScratchAction {
    /// How much programs wrote into the mount
    Status(ScratchPlaceArgs),
    /// Forget everything that was written, renamed or removed in the mount: it shows the backup again
    Reset(ScratchPlaceArgs),
}

#[derive(Args, Debug)]
pub(super) struct ScratchPlaceArgs {
    pub(super) mountpoint: PathBuf,
    /// Print JSON (see docs/json.md)
    #[arg(long)]
    pub(super) json: bool,
}

/// `ks.table` as Cassandra stores the names; quotes as in CQL do no harm.
pub(super) fn parse_table(text: &str) -> Result<TableName, String> {
    let unquoted =
        |name: &str| name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name).to_owned();
    let (keyspace, table) = text.split_once('.').ok_or("expected KEYSPACE.TABLE")?;
    let (keyspace, table) = (unquoted(keyspace), unquoted(table));
    if TableName::is_valid_part(&keyspace) && TableName::is_valid_part(&table) {
        Ok(TableName::new(keyspace, table))
    } else {
        Err("keyspace and table names have only letters, digits and _".into())
    }
}

fn parse_mode(text: &str) -> Result<u16, String> {
    u16::from_str_radix(text.trim_start_matches("0o"), 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| "expected an octal mode such as 0644".into())
}
