//! A node's Cassandra as a process: its command line, its start, and what its log says when that
//! fails.

use super::address::Endpoint;
use super::cql::{Greeting, Session};
use super::installation::Installation;
use super::java::Java;
use super::logs::Replay;
use super::nodetool::NodeTool;
use super::stopper::Stopper;
use crate::{Error, Kind, Result};
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(200);
/// How often a person who waits hears something.
const WORD: Duration = Duration::from_secs(2);
/// Longest wait for one answer to a statement of ours.
const STATEMENT: Duration = Duration::from_mins(2);
/// Bytes of the log's end that are looked through, and lines of it that an error shows.
const TAIL: u64 = 256 << 10;
const SHOWN_LINES: usize = 6;
/// Bytes of a word on a command line (Linux: 128 KiB).
const LONGEST_WORD: usize = 120 << 10;
const LONGEST_LINE: usize = 300;

pub(super) fn log(directory: &Path) -> PathBuf {
    directory.join("log/system.log")
}

fn output(directory: &Path) -> PathBuf {
    directory.join("log/server.out")
}

/// Starts the server of a configured node. `heap`: bytes.
pub(super) fn spawn(
    installation: &Installation,
    java: &Java,
    directory: &Path,
    heap: u64,
    replay: Option<&Replay>,
    nodetool: Option<&NodeTool>,
) -> Result<Child> {
    let conf = directory.join("conf");
    let heap = format!("{}m", (heap >> 20).max(1));
    let out = output(directory);
    let opened = File::create(&out).and_then(|file| Ok((file.try_clone()?, file)));
    let (stdout, stderr) = opened.map_err(|e| Error::io(format_args!("create {}", out.display()), e))?;
    let replay = replay.map(replay_words).transpose()?.unwrap_or_default();
    let mut command = Command::new(&java.program);
    // Nothing of the surroundings reaches it: neither credentials of the store nor another
    // Cassandra's settings.
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", directory).env("LANG", "C.UTF-8");
    command.args(java.options());
    if let Some(agent) = &installation.agent {
        command.arg(format!("-javaagent:{}", agent.display()));
    }
    command
        .arg("-cp")
        .arg(installation.class_path(&conf))
        .args([format!("-Xms{heap}"), format!("-Xmx{heap}"), "-XX:MaxDirectMemorySize=512m".to_owned()])
        .arg("-Djava.net.preferIPv4Stack=true")
        .args(["-XX:+UseSerialGC", "-XX:+PerfDisableSharedMem", "-XX:+ExitOnOutOfMemoryError", "-Xss512k"])
        .arg(format!("-Djava.io.tmpdir={}", directory.join("tmp").display()))
        .arg(format!("-Djna.tmpdir={}", directory.join("tmp").display()))
        .arg(format!("-Dcassandra.config={}", file_url(&conf.join("cassandra.yaml"))?))
        .arg(format!("-Dlogback.configurationFile={}", file_url(&conf.join("logback.xml"))?))
        .arg(format!("-Dcassandra.storagedir={}", directory.join("storage").display()))
        .args(replay)
        // Else no JMX: nobody is to manage it.
        .args(nodetool.map(NodeTool::server_words).into_iter().flatten())
        // It has nobody to wait for.
        .args(["-Dcassandra.skip_wait_for_gossip_to_settle=0", "-Dcassandra.ring_delay_ms=0"])
        .args(["-Dcassandra-foreground=yes", "org.apache.cassandra.service.CassandraDaemon"])
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        // Ctrl-C is for the command that starts it.
        .process_group(0)
        .spawn()
        .map_err(|e| Error::io(format_args!("start {}", java.program.display()), e))
}

/// Has the tables that are shown replayed, and nothing of what the hosts wrote about themselves.
/// Without leave, Cassandra does not start where a log is damaged.
fn replay_words(replay: &Replay) -> Result<Vec<String>> {
    let tables = replay.tables.join(",");
    if tables.len() > LONGEST_WORD {
        let message =
            "commit logs of so many tables cannot be replayed at once: choose some with --table or --keyspace";
        return Err(Error::new(Kind::Unsupported, message));
    }
    let leave = replay.takes_damage.then(|| "-Dcassandra.commitlog.ignorereplayerrors=true".to_owned());
    Ok([format!("-Dcassandra.replayList={tables}")].into_iter().chain(leave).collect())
}

fn file_url(path: &Path) -> Result<String> {
    let url = url::Url::from_file_path(path)
        .map_err(|()| Error::invalid(format!("{} is no absolute path", path.display())))?;
    Ok(url.into())
}

/// Waits until the node answers CQL. `None`: it does, and wants a password.
///
/// # Errors
/// With what its log says, where it ends before or does not answer within `deadline`.
pub(super) fn wait(
    server: &mut Child,
    endpoint: Endpoint,
    directory: &Path,
    deadline: Duration,
    stopper: &Stopper,
    tell: &dyn Fn(&str),
) -> Result<Option<Session>> {
    let begun = Instant::now();
    let mut next_word = WORD;
    loop {
        stopper.check()?;
        // The native port opens last, when everything else is up.
        match Session::connect(SocketAddr::from((endpoint.address, endpoint.port)), STATEMENT) {
            Ok(Greeting::Session(session)) => return Ok(Some(session)),
            Ok(Greeting::PasswordWanted) => return Ok(None),
            Err(_) => {}
        }
        let ended = server.try_wait().map_err(|e| Error::io("wait for Cassandra", e))?;
        if let Some(status) = ended {
            return Err(Error::new(Kind::Io, format!("Cassandra did not start ({status}):\n{}", tail(directory)?)));
        }
        if begun.elapsed() >= deadline {
            let message = format!("Cassandra did not answer within {} s:\n{}", deadline.as_secs(), tail(directory)?);
            return Err(Error::new(Kind::TimedOut, message));
        }
        if begun.elapsed() >= next_word {
            tell(&format!("waiting for Cassandra to answer on {endpoint}: {} s", begun.elapsed().as_secs()));
            next_word += WORD;
        }
        sleep(POLL);
    }
}

/// The lines of the log that tell why: from the last error on, else the last ones.
fn tail(directory: &Path) -> Result<String> {
    let mut text = end_of(&log(directory))?;
    if text.is_empty() {
        text = end_of(&output(directory))?;
    }
    Ok(excerpt(&text))
}

fn excerpt(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("at ")).collect();
    let from =
        lines.iter().rposition(|line| line.starts_with("ERROR")).unwrap_or(lines.len().saturating_sub(SHOWN_LINES));
    let shown = lines[from..].iter().take(SHOWN_LINES).map(|line| {
        let end = line.char_indices().nth(LONGEST_LINE).map_or(line.len(), |(end, _)| end);
        format!("  {}", &line[..end])
    });
    shown.collect::<Vec<_>>().join("\n")
}

fn end_of(path: &Path) -> Result<String> {
    let failed = |e| Error::io(format_args!("read {}", path.display()), e);
    let mut file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        file => file.map_err(failed)?,
    };
    let length = file.metadata().map_err(failed)?.len();
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))
        .and_then(|_| file.take(TAIL).read_to_end(&mut bytes))
        .map_err(failed)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What the log says of files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Complaint {
    pub(super) why: String,
    /// The whole message, which names the files.
    pub(super) message: String,
}

/// The last error in the log that names files of a directory, as `<keyspace>/<table>-<id>`.
pub(super) fn complaint(directory: &Path, place: &str) -> Result<Option<Complaint>> {
    let text = end_of(&log(directory))?;
    let mut messages: Vec<Vec<&str>> = Vec::new();
    for line in text.lines() {
        let begins = ["ERROR", "WARN ", "INFO ", "DEBUG", "TRACE"].iter().any(|level| line.starts_with(level));
        match messages.last_mut() {
            Some(message) if !begins => message.push(line),
            _ => messages.push(vec![line]),
        }
    }
    let is_wanted = |message: &&Vec<&str>| {
        message[0].starts_with("ERROR") && message.iter().any(|line| line.contains(&format!("{place}/")))
    };
    Ok(messages.iter().rev().find(is_wanted).map(|message| {
        let cause = message.iter().rev().find_map(|line| line.strip_prefix("Caused by: "));
        let named = message.iter().find(|line| line.contains(place)).unwrap_or(&message[0]);
        let said = cause.unwrap_or(named);
        let end = said.char_indices().nth(LONGEST_LINE).map_or(said.len(), |(end, _)| end);
        Complaint { why: said[..end].to_owned(), message: message.join("\n") }
    }))
}

/// Keeps the log of a node that failed, for who wants to know more.
pub(super) fn keep_log(directory: &Path, kept: &Path) -> Result<()> {
    let from = if log(directory).exists() { log(directory) } else { output(directory) };
    match fs::copy(&from, kept) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        copied => copied.map(drop).map_err(|e| Error::io(format_args!("copy the log to {}", kept.display()), e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "INFO  [main] x: starts\nERROR [main] y: Exception encountered during startup\n\
                       java.lang.IllegalStateException: no\n\tat org.x.Y\nCaused by: because\n";

    #[test]
    fn the_log_tells_why() {
        let shown = excerpt(LOG);
        assert!(shown.starts_with("  ERROR [main] y") && shown.ends_with("Caused by: because"), "{shown}");
        assert!(!shown.contains("org.x.Y"), "{shown}");
        assert_eq!(excerpt("one\ntwo"), "  one\n  two");
    }

    #[test]
    fn a_complaint_about_a_file_is_found() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("log")).unwrap();
        assert_eq!(complaint(directory.path(), "ks/t-1").unwrap(), None);
        let text =
            format!("{LOG}ERROR [a] z: Corrupt sstable /d/ks/t-1/nb-1-big; skipping table\nx\nCaused by: bad bytes\n");
        fs::write(log(directory.path()), text).unwrap();
        let found = complaint(directory.path(), "ks/t-1").unwrap().unwrap();
        assert_eq!(found.why, "bad bytes");
        assert!(found.message.contains("/d/ks/t-1/nb-1-big"), "{found:?}");
        // A query that failed: the files are named below the first line.
        let text = "ERROR [r] z: Exception in thread\nx.CorruptSSTableException: Corrupted: /d/ks/u-2/nb-3-big-Data.db\n\tat y\nINFO  z: /d/ks/v-3/x\n";
        fs::write(log(directory.path()), text).unwrap();
        let found = complaint(directory.path(), "ks/u-2").unwrap().unwrap();
        assert_eq!(found.why, "x.CorruptSSTableException: Corrupted: /d/ks/u-2/nb-3-big-Data.db");
        assert_eq!(complaint(directory.path(), "ks/v-3").unwrap(), None);
    }
}
