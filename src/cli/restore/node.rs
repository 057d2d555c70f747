//! `cassmount restore node`.

use super::guard::{self, UnitArgs};
use super::mounts::{self, MountArg};
use crate::cli::node::places;
use crate::cli::options::{CacheDirArgs, LogArgs, OutputArgs, ProgressArgs};
use crate::cli::output::{Shown, print};
use crate::cli::places::parse_absolute;
use crate::cli::progress::Progress;
use crate::cli::terminal::say;
use crate::cli::{logging, mixed, table, wait, words};
use cassmount::cassandra::schema::is_system_keyspace;
use cassmount::catalog::cluster::Meant;
use cassmount::node::Installation;
use cassmount::restore::{
    GUARD_STEP, Manner, NodeReport, NodeRequest, NodeRestore, NodeStatus, NodeWork, Program, forget_nodes, shell_word,
};
use cassmount::{Kind, Result};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;

/// Puts all tables of one host's restore point into the empty data directory of a Cassandra that is
/// stopped, before its first start: as links into a running mount, whatever the size; or as copies.
/// Nothing is streamed, no schema is created by hand.
#[derive(clap::Args, Debug)]
#[command(after_help = NODE_HELP)]
pub(super) struct WholeNodeArgs {
    /// All nodes of the cluster are new: this one gets the tokens of the backup's
    #[arg(long, required_unless_present_any = ["replace", "done"], conflicts_with_all = ["replace", "done"])]
    cold_start: bool,
    /// The cluster lives, and its node of this address is dead: this node takes its place
    #[arg(long, value_name = "IP", conflicts_with = "done")]
    replace: Option<IpAddr>,
    /// Forget the restore of this node, once `restore status` has nothing but repair left to do
    #[arg(long)]
    done: bool,
    /// Whose backup this node gets [default: the only host that the mount shows]
    #[arg(long, value_name = "HOST")]
    source_host: Option<String>,
    /// Which restore point: a set's name, `latest`, or any time for the newest restore point not
    /// after it
    #[arg(long, value_name = "TIME", default_value = "latest")]
    at: String,
    /// Copy every file instead of linking it: the mount is not needed afterwards
    #[arg(long)]
    copy: bool,
    /// The node's configuration [default: in a usual place, such as /etc/cassandra]
    #[arg(long, value_name = "FILE", value_parser = parse_absolute())]
    cassandra_yaml: Option<PathBuf>,
    /// The data directory that all goes into, which is the first of cassandra.yaml
    #[arg(long, value_name = "DIR", value_parser = parse_absolute())]
    data_dir: Option<PathBuf>,
    /// The node's tokens, where the backup does not tell them
    #[arg(long, value_name = "TOKENS", value_delimiter = ',', allow_hyphen_values = true)]
    tokens: Vec<String>,
    /// The installation of Cassandra, whose version is compared with the SSTables' [default: in a
    /// usual place]
    #[arg(long, value_name = "DIR")]
    cassandra: Option<PathBuf>,
    /// Command that runs nodetool on a node that is up, e.g. "ssh HOST nodetool": tells whose
    /// tokens are whose
    #[arg(long, value_name = "CMD")]
    nodetool: Option<String>,
    /// Take a restore point that lacks something all the same; the report says what, and the exit
    /// status is 1
    #[arg(long)]
    allow_incomplete: bool,
    /// With --replace of this machine's own address: lose what was added to counters since the
    /// restore point
    #[arg(long, requires = "replace")]
    accept_counter_loss: bool,
    /// With --replace: take a restore point older than gc_grace_seconds, from which deleted rows
    /// can come back
    #[arg(long, requires = "replace")]
    accept_deleted_rows: bool,
    /// Take every index and view of the backup as built, also one created less than a day before the
    /// restore point
    #[arg(long)]
    indexes_are_built: bool,
    /// Change cassandra.yaml and the JVM's options, beside copies of them; with links, also install
    /// a drop-in that keeps Cassandra's unit from starting without the mount
    #[arg(long)]
    write_config: bool,
    /// Cassandra's unit
    #[arg(long, value_name = "UNIT", default_value = UNIT)]
    unit: String,
    /// Where units of this machine's administrator are
    #[arg(long, value_name = "DIR", default_value = "/etc/systemd/system", hide = true)]
    unit_dir: PathBuf,
    /// Check everything and show what would be done; change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    mount: MountArg,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    progress: ProgressArgs,
    #[command(flatten)]
    log: LogArgs,
}

const UNIT: &str = "cassandra.service";

const NODE_HELP: &str = "\
It is refused, with all reasons at once, if:
  - Cassandra runs, or its directories are not empty
  - cluster_name, num_tokens, partitioner, datacenter or rack differ from the backup's
  - the tokens are those of another node of a living cluster
  - the node to be replaced is up
  - the restore point is incomplete
  - SSTables are newer than the installed Cassandra

If the command is killed, run it again: it goes on. The next steps are printed, and `cassmount \
restore status` tells them again. `cassmount restore abort --all` takes away exactly what was put \
there, while Cassandra is stopped.

Examples:
  cassmount mount s3://cass-backups /mnt/backups --key-file K --allow-other
  cassmount restore node --cold-start --source-host cass-a --at 2026-11-20T18:00:00Z --dry-run
  cassmount restore node --cold-start --source-host cass-a --at 2026-11-20T18:00:00Z --write-config
  cassmount restore node --replace 10.0.0.3 --source-host cass-c --nodetool \"ssh 10.0.0.1 nodetool\"";

pub(super) fn run(args: &WholeNodeArgs) -> Result<()> {
    logging::to_terminal(&args.log);
    let journals = mounts::journals(&CacheDirArgs::default())?;
    if args.done {
        for directory in forget_nodes(&journals)? {
            println!(
                "the restore of {} is forgotten; its configuration and its tables stay as they are",
                directory.display()
            );
        }
        return Ok(());
    }
    let restore = NodeRestore { mount: mounts::find(args.mount.mount.as_deref())?, journals };
    let (installed, note) = installed(args)?;
    let request = NodeRequest {
        manner: args.replace.map_or(Manner::ColdStart, Manner::Replace),
        source_host: args.source_host.clone(),
        at: args.at.clone(),
        copy: args.copy,
        allow_incomplete: args.allow_incomplete,
        accept_counter_loss: args.accept_counter_loss,
        accept_deleted_rows: args.accept_deleted_rows,
        indexes_are_built: args.indexes_are_built,
        cassandra_yaml: args.cassandra_yaml.clone(),
        data_dir: args.data_dir.clone(),
        tokens: args.tokens.clone(),
        installed,
        nodetool: args.nodetool.as_deref().map(Program::parse).transpose()?,
        write_config: args.write_config,
        repeated: repeated(args),
    };
    let word = wait::for_answer("checking this node, and reading the restore point");
    let work = restore.prepare(&request, &|_| {})?;
    drop(word);
    let hosts = args.source_host.as_slice();
    let of_hosts = mixed::of_mount(&restore.mount.mountpoint, hosts, &args.at, Meant::Host);
    for note in note.into_iter().chain(of_hosts) {
        say!("note: {note}");
    }
    if args.dry_run {
        let report = restore.report(&work)?;
        print(args.output, &report)?;
        return verdict(&report);
    }
    let (NodeWork::New(plan) | NodeWork::Begun(plan)) = &work;
    for note in plan.notes() {
        say!("note: {note}");
    }
    let progress = Progress::start("node", Some(plan.copied_bytes()), args.progress);
    let report = restore.run(work, &request, &|bytes| {
        progress.add(bytes);
        Ok(())
    });
    progress.finish();
    let mut report = report?;
    let installed = (args.write_config && report.tables.iter().any(|table| table.linked)).then(|| {
        let unit = UnitArgs { write_config: true, unit: args.unit.clone(), unit_dir: args.unit_dir.clone() };
        guard::install(&restore.journals, std::slice::from_ref(&report.data_directory), &unit)
    });
    if let Some(Ok(_)) = &installed {
        // It is done.
        report.next.retain(|step| step != GUARD_STEP);
    }
    print(args.output, &report)?;
    if let Some(said) = installed.transpose()? {
        say!("{said}");
    }
    verdict(&report)
}

/// What was given that holds on the other machines of a cluster as well: they are alike. What may be
/// lost is accepted on each.
fn repeated(args: &WholeNodeArgs) -> String {
    let mut words = String::new();
    let paths = [
        ("cassandra-yaml", &args.cassandra_yaml),
        ("data-dir", &args.data_dir),
        ("cassandra", &args.cassandra),
        ("mount", &args.mount.mount),
    ];
    for (name, path) in paths {
        if let Some(path) = path {
            let _ = write!(words, " --{name} {}", shell_word(&path.to_string_lossy()));
        }
    }
    if args.indexes_are_built {
        words += " --indexes-are-built";
    }
    if !args.tokens.is_empty() {
        words += " --tokens TOKENS";
    }
    if args.unit != UNIT {
        let _ = write!(words, " --unit {}", shell_word(&args.unit));
    }
    words
}

/// A release, major and minor, or a note about why none is known.
type Release = (Option<(u32, u32)>, Option<String>);

/// The release that is installed; where none is found, what that means.
fn installed(args: &WholeNodeArgs) -> Result<Release> {
    match Installation::find(args.cassandra.as_deref(), &places::installations()) {
        Ok(found) => Ok((Some((found.version.major, found.version.minor)), None)),
        Err(error) if error.kind() == Kind::NotFound && args.cassandra.is_none() => {
            let note = "no installation of Cassandra was found, so the SSTables' versions are not checked. \
                     --cassandra DIR names it";
            Ok((None, Some(note.to_owned())))
        }
        Err(error) => Err(error),
    }
}

fn verdict(report: &NodeReport) -> Result<()> {
    if report.lacks.is_empty() {
        return Ok(());
    }
    Err(words::incomplete(report.lacks.len()))
}

impl Shown for NodeReport {
    fn text(&self) -> String {
        let (own, of_cassandra): (Vec<_>, Vec<_>) =
            self.tables.iter().partition(|table| !is_system_keyspace(&table.keyspace));
        let word = |linked: bool| if linked { "links" } else { "copies" };
        let rows: Vec<Vec<String>> = own
            .iter()
            .map(|of| {
                let name = format!("{}.{}", of.keyspace, of.table);
                vec![name, of.sstables.to_string(), table::bytes(of.bytes), word(of.linked).to_owned()]
            })
            .collect();
        let mut text = table::render(&["TABLE", "SSTABLES", "SIZE", ""], &["SSTABLES", "SIZE"], &rows);
        let bytes = of_cassandra.iter().map(|table| table.bytes).sum();
        let _ = writeln!(text, "{} tables of Cassandra's own: {} as copies", of_cassandra.len(), table::bytes(bytes));
        let _ = writeln!(text, "from {} of {}: {}", self.point, self.host, manner(self.manner));
        let _ = writeln!(text, "into {}", self.data_directory.display());
        for lack in &self.lacks {
            let _ = writeln!(text, "INCOMPLETE: {lack}");
        }
        if self.dry_run {
            for note in &self.notes {
                let _ = writeln!(text, "note: {note}");
            }
            for (file, line) in &self.configuration {
                let _ = writeln!(text, "{} needs: {line}", file.display());
            }
            text += "nothing was changed: without --dry-run, this is put there\n";
        } else {
            text += &steps(&self.next);
        }
        text
    }
}

fn manner(manner: Manner) -> String {
    match manner {
        Manner::ColdStart => "cold start".to_owned(),
        Manner::Replace(address) => format!("in the place of {address}"),
    }
}

fn steps(steps: &[String]) -> String {
    let mut text = "next:\n".to_owned();
    for (number, step) in steps.iter().enumerate() {
        let _ = writeln!(text, "  {}. {step}", number + 1);
    }
    text
}

/// A node in `restore status`.
pub(super) fn status(node: &NodeStatus) -> String {
    format!(
        "{}: whole node, {} of {}, {}; {}",
        node.data_directory.display(),
        node.point,
        node.host,
        manner(node.manner),
        steps(&node.next)
    )
}
