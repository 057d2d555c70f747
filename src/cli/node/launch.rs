//! A node from the start of its mount to its end, for commands that need one.

use super::{places, swept_room, take_away};
use crate::cli::exit;
use crate::cli::interrupt::unless_interrupted;
use crate::cli::options::{BackupArgs, KeyspaceArgs, TableArgs, parse_host};
use crate::cli::session;
use cassmount::config::{parse_duration, parse_size};
use cassmount::node::{Entry, Installation, Java, Start, Stopper, Wish};
use cassmount::restore::Selection;
use cassmount::{Error, Kind, Result};
use std::ffi::OsString;
use std::io::{IsTerminal, Write as _};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Which past of which backups a node shows.
#[derive(clap::Args, Debug)]
pub(in crate::cli) struct PastArgs {
    /// Where the backups are; `-` for the configuration's bucket
    #[arg(value_name = "SOURCE")]
    pub(in crate::cli) source_place: String,
    /// Which restore points: `latest`, a set's name, or any time for each host's newest one not
    /// after it
    #[arg(long, value_name = "TIME", default_value = "latest")]
    pub(in crate::cli) at: String,
    /// Only the backups of this host. Repeatable [default: all hosts]
    #[arg(long, value_name = "HOST", value_parser = parse_host)]
    pub(in crate::cli) source_host: Vec<String>,
    #[command(flatten)]
    only: TableArgs,
    #[command(flatten)]
    keyspaces: KeyspaceArgs,
}

impl PastArgs {
    /// Named tables, all of named keyspaces, or everything.
    pub(in crate::cli) fn selection(&self) -> Selection {
        match (&self.only.tables[..], &self.keyspaces.keyspaces[..]) {
            ([], []) => Selection::Everything,
            ([], keyspaces) => Selection::Keyspaces(keyspaces.to_vec()),
            (tables, _) => Selection::Tables(tables.to_vec()),
        }
    }
}

/// What a node's Cassandra is started with.
#[derive(clap::Args, Debug)]
pub(in crate::cli) struct ServerArgs {
    /// Where it answers, on a loopback address [default: a free one from 127.0.0.77 on]
    #[arg(long, value_name = "127.x.x.x")]
    address: Option<Ipv4Addr>,
    /// Its port for CQL [default: 9042, or any where a program has that on all addresses]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// An installation of Cassandra 4.0 or later, at least the version of the backup [default: that
    /// of CASSANDRA_HOME, or in a usual place]
    #[arg(long, value_name = "DIR")]
    cassandra: Option<PathBuf>,
    /// Memory for its heap
    #[arg(long, value_name = "SIZE", default_value = "768M", value_parser = parse_size)]
    pub(in crate::cli) heap: u64,
    /// Give up if it does not answer after this long
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = parse_duration)]
    start_timeout: Duration,
}

/// A node that is to be started.
pub(in crate::cli) struct Launch<'a> {
    /// SOURCE as it was given.
    pub(in crate::cli) source_place: &'a str,
    /// Its full name.
    pub(in crate::cli) source: String,
    pub(in crate::cli) backups: &'a BackupArgs,
    pub(in crate::cli) server: &'a ServerArgs,
    /// What it reads, if not a mount of its own.
    pub(in crate::cli) mountpoint: Option<PathBuf>,
    /// Whether it ends with this command, rather than go on.
    pub(in crate::cli) ends_with_command: bool,
    /// Whether it can be managed by nodetool.
    pub(in crate::cli) takes_nodetool: bool,
    pub(in crate::cli) is_quiet: bool,
}

/// A node that can be started: its mount is there.
pub(in crate::cli) struct Mounted<'a> {
    pub(in crate::cli) start: &'a Start,
    pub(in crate::cli) entry: &'a mut Entry,
    /// When the command began with it.
    pub(in crate::cli) begun: Instant,
    pub(in crate::cli) tell: &'a (dyn Fn(&str) + Sync),
}

impl Launch<'_> {
    /// Makes a node of the time `at` ready to start, and does `work` with it. Nothing is left of it
    /// when anything fails, or the command is interrupted.
    pub(in crate::cli) fn run<T: Send + 'static>(
        self,
        at: &str,
        work: impl FnOnce(Mounted<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let begun = Instant::now();
        let room = swept_room()?;
        let installation = Installation::find(self.server.cassandra.as_deref(), &places::installations())?;
        let java = Java::find(&installation.version, &places::javas())?;
        if self.takes_nodetool {
            java.check_for_nodetool()?;
        }
        let (stopper, deadline) = (Stopper::default(), self.server.start_timeout);
        let (heap, takes_nodetool) = (self.server.heap, self.takes_nodetool);
        let start = Start { room, installation, java, heap, deadline, takes_nodetool, stopper };
        let wish = Wish { address: self.server.address, port: self.server.port };
        let entry = start.begin(&self.source, at, wish, self.mountpoint.clone(), self.ends_with_command)?;

        let (own_start, mut own) = (start.clone(), entry.clone());
        let (mount, teller) = (self.mount_words(&entry), Teller::new(self.is_quiet));
        session::block_on(async {
            let done = tokio::task::spawn_blocking(move || {
                if own.record.has_own_mount {
                    own_start.stopper.unless_stopped(|| run_mount(&mount))?;
                }
                let tell = |word: &str| teller.tell(word);
                work(Mounted { start: &own_start, entry: &mut own, begun, tell: &tell })
            });
            let done =
                async { done.await.map_err(|e| Error::new(Kind::Io, "work with a node failed").with_source(e))? };
            let done = unless_interrupted(done, "nothing is left of the node").await;
            if done.is_ok() && !self.ends_with_command {
                return done;
            }
            // Its reads of the mount fail then, and nothing new begins.
            start.stopper.stop();
            match (done, start.room.remove(&entry, &mut take_away)) {
                (done, Ok(())) => done,
                (Ok(_), Err(worse)) => {
                    Err(Error::new(worse.kind(), format!("what the node left could not be removed: {worse}")))
                }
                (Err(error), Err(worse)) => {
                    let message = format!("{error}; and what it left could not be removed: {worse}");
                    Err(Error::new(error.kind(), message))
                }
            }
        })
    }

    /// `cassmount mount` with what this command was given of the source, its keys and its cache.
    fn mount_words(&self, entry: &Entry) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec!["mount".into(), "--read-only".into(), "--log-directory".into()];
        words.push(entry.directory.join("log").into());
        for (name, values) in self.backups.command_line(None).options {
            if values.is_empty() {
                words.push(format!("--{name}").into());
            }
            for value in values {
                let mut word = OsString::from(format!("--{name}="));
                word.push(value);
                words.push(word);
            }
        }
        words.extend([self.source_place.into(), entry.record.mountpoint.clone().into()]);
        words
    }
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
