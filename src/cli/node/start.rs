//! `cassmount node start`.

use super::{places, swept_room, take_away};
use crate::cli::interrupt::unless_interrupted;
use crate::cli::options::{BackupArgs, KeyspaceArgs, OutputArgs, ProgressArgs, TableArgs, parse_host};
use crate::cli::output::{Shown, print};
use crate::cli::restore::running_mount;
use crate::cli::{exit, session, table};
use cassmount::config::{parse_duration, parse_size};
use cassmount::node::{DEFAULT_PORT, Entry, Installation, Java, PointRequest, Start, Started, Stopper, Wish};
use cassmount::restore::Selection;
use cassmount::{Error, Kind, Result};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Starts a Cassandra of its own on a loopback address, whose tables are links into a mount of SOURCE, and returns when it answers CQL. It shows the
/// rows of all hosts, whatever their keyspaces' replication.
#[derive(clap::Args, Debug)]
#[command(after_help = START_HELP)]
pub(super) struct StartArgs {
    /// Where the backups are; `-` for the configuration's bucket
    #[arg(value_name = "SOURCE")]
    source_place: String,
    /// Which restore points: `latest`, a set's name, or any time for each host's newest one not after it
    #[arg(long, value_name = "TIME", default_value = "latest")]
    at: String,
    /// Only the backups of this host. Repeatable [default: all hosts]
    #[arg(long, value_name = "HOST", value_parser = parse_host)]
    source_host: Vec<String>,
    #[command(flatten)]
    only: TableArgs,
    #[command(flatten)]
    keyspaces: KeyspaceArgs,
    /// Take restore points that lack something all the same, and leave out what cannot be read; the report says what, and the exit status is 1
    #[arg(long)]
    allow_incomplete: bool,
    /// Have secondary indexes and materialized views too: Cassandra builds them, which reads their tables whole
    #[arg(long)]
    with_indexes: bool,
    /// Ask for the passwords and permissions of the backup's roles [default: everybody on this machine may read all]
    #[arg(long, conflicts_with_all = ["tables", "keyspaces"])]
    with_roles: bool,
    /// Where it answers, on a loopback address [default: a free one from 127.0.0.77 on]
    #[arg(long, value_name = "127.x.x.x")]
    address: Option<Ipv4Addr>,
    /// Its port for CQL [default: 9042, or any where a program has that on all addresses]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// An installation of Cassandra 4.0 or later, at least the version of the backup [default: that of CASSANDRA_HOME, or in a usual place]
    #[arg(long, value_name = "DIR")]
    cassandra: Option<PathBuf>,
    /// Memory for its heap
    #[arg(long, value_name = "SIZE", default_value = "768M", value_parser = parse_size)]
    heap: u64,
    /// Give up if it does not answer after this long
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = parse_duration)]
    start_timeout: Duration,
    /// Read this mount, which runs and has to stay [default: one of its own, which ends with the node]
    #[arg(long, value_name = "MOUNTPOINT")]
    mount: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    progress: ProgressArgs,
    #[command(flatten)]
    backups: BackupArgs,
}

const START_HELP: &str = "\
What it writes goes into a directory of its own (0700), which ends with it; the backup is only read. It is told of no other node, answers on its \
loopback address only, compacts nothing, and takes no JMX. So rows may be changed there, and are as before in the next node.

Secondary indexes and views are left out unless asked for: queries on other columns want ALLOW FILTERING. Tables that were not asked for, or that \
cannot be read, are not there at all rather than empty.

Exit status: 0 it answers, 1 it could not be started, or does not show all, 5 refused because a restore point is incomplete, 130 interrupted.";

pub(super) fn run(args: &StartArgs) -> Result<()> {
    let Some(settings) = session::begin(Some(&args.source_place), &args.backups)? else { return Ok(()) };
    let source = settings.source()?.to_string();
    let room = swept_room()?;
    let installation = Installation::find(args.cassandra.as_deref(), &places::installations())?;
    let java = Java::find(&installation.version, &places::javas())?;
    let mountpoint = match &args.mount {
        Some(named) => Some(running_mount(Some(named))?.mountpoint),
        None => None,
    };
    let stopper = Stopper::default();
    let start = Start { room, installation, java, heap: args.heap, deadline: args.start_timeout, stopper };
    let wish = Wish { address: args.address, port: args.port };
    let entry = start.begin(&source, &args.at, wish, mountpoint)?;

    let (work, mut own) = (start.clone(), entry.clone());
    let (mount, request) = (mount_words(args, &entry), args.request());
    let teller = Teller::new(args.progress.quiet);
    let started = session::block_on(async {
        let work = tokio::task::spawn_blocking(move || {
            if own.record.has_own_mount {
                work.stopper.unless_stopped(|| run_mount(&mount))?;
            }
            work.run(&mut own, &request, &|word| teller.tell(word))
        });
        let work = async { work.await.map_err(|e| Error::new(Kind::Io, "starting a node failed").with_source(e))? };
        let done = unless_interrupted(work, "nothing is left of the node").await;
        if let Err(error) = done {
            // Its reads of the mount fail then, and nothing new begins.
            start.stopper.stop();
            return Err(match start.room.remove(&entry, &mut take_away) {
                Ok(()) => error,
                Err(worse) => {
                    Error::new(error.kind(), format!("{error}; and what it left could not be removed: {worse}"))
                }
            });
        }
        done
    })?;
    print(args.output, &started)?;
    if started.is_whole() {
        return Ok(());
    }
    let missing = started.lacks.len() + started.skipped.len();
    Err(Error::corrupt(format!("the node does not show all: {missing} things are missing from it")))
}

impl StartArgs {
    fn request(&self) -> PointRequest {
        PointRequest {
            at: self.at.clone(),
            hosts: self.source_host.clone(),
            selection: selection(&self.only, &self.keyspaces),
            allow_incomplete: self.allow_incomplete,
            with_indexes: self.with_indexes,
            with_roles: self.with_roles,
        }
    }
}

/// Named tables, all of named keyspaces, or everything.
fn selection(only: &TableArgs, keyspaces: &KeyspaceArgs) -> Selection {
    match (&only.tables[..], &keyspaces.keyspaces[..]) {
        ([], []) => Selection::Everything,
        ([], keyspaces) => Selection::Keyspaces(keyspaces.to_vec()),
        (tables, _) => Selection::Tables(tables.to_vec()),
    }
}

/// `cassmount mount` with what this command was given of the source, its keys and its cache.
fn mount_words(args: &StartArgs, entry: &Entry) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["mount".into(), "--read-only".into(), "--log-directory".into()];
    words.push(entry.directory.join("log").into());
    for (name, values) in args.backups.command_line(None).options {
        if values.is_empty() {
            words.push(format!("--{name}").into());
        }
        for value in values {
            let mut word = OsString::from(format!("--{name}="));
            word.push(value);
            words.push(word);
        }
    }
    words.extend([args.source_place.clone().into(), entry.record.mountpoint.clone().into()]);
    words
}

fn run_mount(words: &[OsString]) -> Result<()> {
    let program = std::env::current_exe().map_err(|e| Error::io("find the cassmount binary", e))?;
    let output = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| Error::io("run cassmount mount", e))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        let status = output.status.code().and_then(|code| u8::try_from(code).ok());
        let kind = status.map_or(Kind::Io, exit::kind_of);
        return Err(Error::new(kind, said.trim().trim_start_matches("cassmount: ").to_owned()));
    }
    // Warnings.
    let _ = std::io::stderr().write_all(said.as_bytes());
    Ok(())
}

/// Tells who waits how far it is.
struct Teller {
    is_quiet: bool,
    every: Duration,
    told: Mutex<Instant>,
}

impl Teller {
    fn new(is_quiet: bool) -> Self {
        let every = Duration::from_secs(if std::io::stderr().is_terminal() { 2 } else { 10 });
        Self { is_quiet, every, told: Mutex::new(Instant::now()) }
    }

    fn tell(&self, word: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_quiet && told.elapsed() >= self.every {
            *told = Instant::now();
            // Who closed standard error does not want to know.
            let _ = writeln!(std::io::stderr(), "cassmount: {word} …");
        }
    }
}

/// The JSON is documented in docs/json.md.
impl Shown for Started {
    fn text(&self) -> String {
        let node = &self.node;
        let mut text = String::new();
        let _ = writeln!(text, "{} shows {} as of:", node.name, node.source);
        for origin in &node.points {
            let _ = writeln!(text, "  {}  {}", origin.host, origin.point);
        }
        let _ = writeln!(
            text,
            "{} tables, {} SSTables, {}; Cassandra {}",
            self.tables,
            self.sstables,
            table::bytes(self.bytes),
            node.cassandra
        );
        if !self.with_indexes {
            text += "without indexes and views: other columns want ALLOW FILTERING\n";
        }
        if !self.with_roles {
            text += "without roles: everybody on this machine may read it\n";
        }
        for lack in &self.lacks {
            let _ = writeln!(text, "INCOMPLETE: {lack}");
        }
        for skipped in &self.skipped {
            let _ = writeln!(text, "NOT SHOWN: {} of {}: {}", skipped.table, skipped.host, skipped.why);
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        let endpoint = node.endpoint;
        let port = if endpoint.port == DEFAULT_PORT { String::new() } else { format!(" {}", endpoint.port) };
        let user = if self.with_roles { " -u USER" } else { "" };
        let _ = write!(
            text,
            "\n  cqlsh --request-timeout=600{user} {}{port}\n  cassmount node stop {}\n",
            endpoint.address, node.name
        );
        text
    }
}
