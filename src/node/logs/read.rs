//! Reads the commit logs of a host. Of a log that is in several places the copy is taken that has all
//! that the others have; two that do not agree are said.

use crate::cassandra::commit_log::{self, LogName, Writes};
use crate::node::stopper::Stopper;
use crate::time::Timestamp;
use crate::{Error, Kind, Result};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How far the clocks of two nodes may be apart, microseconds: a write that one of them says is
/// older may stand behind a newer one.
const SKEW: i64 = 10_000_000;
/// Longest log that is read, bytes: each is read into memory. Cassandra's are of 32 MiB unless it is
/// told otherwise.
const LONGEST: u64 = 512 << 20;
/// Gaps and logs that are named.
pub(super) const NAMED: usize = 5;

/// A log that was looked at.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) name: LogName,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    /// Bytes of it that are written.
    pub(super) written: u64,
    /// `None` where it is damaged.
    pub(super) writes: Option<Writes>,
}

impl Log {
    pub(super) fn begins(&self) -> Option<Timestamp> {
        self.writes.as_ref()?.begins
    }

    pub(super) fn ends(&self) -> Option<Timestamp> {
        self.writes.as_ref()?.ends
    }

    pub(super) fn is_all_later(&self, until: Timestamp) -> bool {
        self.writes.as_ref().and_then(|writes| writes.oldest).is_some_and(|oldest| oldest > until)
    }
}

/// Which logs are read.
pub(super) struct Reading {
    /// Leaves out those that were archived before.
    pub(super) since: Option<SystemTime>,
    pub(super) until: Timestamp,
    /// The release that is installed.
    pub(super) installed: (u32, u32),
}

/// The logs of a host.
#[derive(Default)]
pub(super) struct ReadLogs {
    /// In order, up to the first that is later.
    pub(super) logs: Vec<Log>,
    /// What cannot be replayed, or not as it is.
    pub(super) damages: Vec<String>,
    /// Copies that are not as they should be, where another is.
    pub(super) notes: Vec<String>,
}

/// One of the places where a log is.
struct Copy {
    path: PathBuf,
    bytes: u64,
    is_older: bool,
}

/// The bytes of one.
struct Content {
    path: PathBuf,
    bytes: Vec<u8>,
    damage: Option<String>,
}

impl Reading {
    pub(super) fn all(&self, directories: &[PathBuf], stopper: &Stopper, tell: &dyn Fn(usize)) -> Result<ReadLogs> {
        let mut read = ReadLogs::default();
        let mut names: BTreeMap<LogName, Vec<Copy>> = BTreeMap::new();
        for directory in directories {
            self.list(directory, &mut names, &mut read.damages)?;
        }
        // One that was copied while it was open may be older than it is.
        names.retain(|_, copies| copies.iter().any(|copy| !copy.is_older));
        for (name, copies) in names {
            stopper.check()?;
            let Some(log) = self.one(name, copies, &mut read)? else { continue };
            let is_later = log.begins().is_some_and(|begins| begins.0 > self.until.0.saturating_add(SKEW));
            read.logs.push(log);
            tell(read.logs.len());
            if is_later {
                break;
            }
        }
        for said in [&mut read.damages, &mut read.notes] {
            if said.len() > NAMED {
                let more = format!("and {} more of that", said.len() - NAMED);
                said.truncate(NAMED);
                said.push(more);
            }
        }
        Ok(read)
    }

    fn list(
        &self,
        directory: &Path,
        names: &mut BTreeMap<LogName, Vec<Copy>>,
        damages: &mut Vec<String>,
    ) -> Result<()> {
        let failed = |e| Error::io(format_args!("read the commit logs in {}", directory.display()), e);
        for entry in fs::read_dir(directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let file = entry.file_name().to_string_lossy().into_owned();
            let metadata = fs::metadata(entry.path()).map_err(failed)?;
            let is_older = self.since.is_some_and(|since| metadata.modified().is_ok_and(|modified| modified < since));
            if !metadata.is_file() {
                continue;
            }
            let copy = Copy { path: entry.path(), bytes: metadata.len(), is_older };
            if let Some(name) = LogName::parse(&file) {
                names.entry(name).or_default().push(copy);
            } else if !is_older && file.starts_with("CommitLog-") && file.contains(".log.") {
                damages.push(format!(
                    "{file}: it is cut short, or packed or sealed in a way that is not read: unpack copies, and name \
                     their directory with --commit-logs"
                ));
            }
        }
        Ok(())
    }

    /// One log; `None` where nothing of it can be replayed.
    fn one(&self, name: LogName, copies: Vec<Copy>, read: &mut ReadLogs) -> Result<Option<Log>> {
        let needed = if name.version > 7 { (5, 0) } else { (4, 0) };
        if self.installed < needed || name.version > 8 {
            let why = "it is of a newer Cassandra than the one that is installed: name another with --cassandra DIR";
            read.damages.push(format!("{name}: {why}"));
            return Ok(None);
        }
        let (mut best, mut unread): (Option<Content>, Vec<String>) = (None, Vec::new());
        for copy in copies {
            let content = match content(name, &copy)? {
                Ok(content) => content,
                Err(why) => {
                    unread.push(format!("{name}: {why} ({})", copy.path.display()));
                    continue;
                }
            };
            best = Some(match best.take() {
                None => content,
                Some(before) => before.or_better(content, name, read),
            });
        }
        let Some(Content { path, bytes, damage }) = best else {
            read.damages.extend(unread);
            return Ok(None);
        };
        let writes = match damage {
            Some(why) => Err(Error::corrupt(why)),
            None => commit_log::writes(&bytes, self.until),
        };
        // Where another copy is whole, they are missed by nobody.
        let said = if writes.is_ok() { &mut read.notes } else { &mut read.damages };
        let beside = if writes.is_ok() { format!("; {} is taken", path.display()) } else { String::new() };
        said.extend(unread.into_iter().map(|why| format!("{why}{beside}")));
        let written = commit_log::written(&bytes).map_or(bytes.len(), <[u8]>::len) as u64;
        let log = |writes| Log { name, path, bytes: bytes.len() as u64, written, writes };
        match writes {
            Ok(writes) => Ok(Some(log(Some(writes)))),
            Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::Unsupported) => {
                read.damages.push(format!("{name}: {error}"));
                // Cassandra replays what is good of it, and says what it skips.
                Ok((error.kind() == Kind::Corrupt).then(|| log(None)))
            }
            Err(error) => Err(error),
        }
    }
}

/// The bytes of a copy, or why there are none.
fn content(name: LogName, copy: &Copy) -> Result<std::result::Result<Content, String>> {
    if copy.bytes > LONGEST {
        return Ok(Err(format!("it has {} bytes; those of up to {LONGEST} are read", copy.bytes)));
    }
    let path = copy.path.clone();
    match fs::read(&path) {
        Ok(bytes) => {
            let damage = commit_log::damage(&name.to_string(), &bytes, bytes.len() as u64);
            Ok(Ok(Content { path, bytes, damage }))
        }
        // What a packed log answers that is cut short, or damaged.
        Err(e) if e.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
            Ok(Err(format!("it cannot be read whole: {}", io::Error::from(e.kind()))))
        }
        Err(e) => Err(Error::io(format_args!("read {}", path.display()), e)),
    }
}

impl Content {
    /// That of the two which has all that the other has; of those that do not agree the longer, and a
    /// word on that.
    fn or_better(self, other: Self, name: LogName, read: &mut ReadLogs) -> Self {
        let (good, bad) = match (&self.damage, &other.damage) {
            (None, None) if commit_log::has_all_of(&self.bytes, &other.bytes) => return self,
            (None, None) if commit_log::has_all_of(&other.bytes, &self.bytes) => return other,
            (Some(_), None) => (other, self),
            (None, Some(_)) => (self, other),
            _ if self.bytes.len() >= other.bytes.len() => (self, other),
            _ => (other, self),
        };
        let (taken, left) = (good.path.display(), bad.path.display());
        match &bad.damage {
            // It was cut off.
            Some(_) if good.bytes.starts_with(&bad.bytes) => {}
            Some(why) => {
                // What is whole, and not shorter, lacks nothing.
                let is_enough = good.damage.is_none() && commit_log::reaches_as_far(&good.bytes, &bad.bytes);
                let said = if is_enough { &mut read.notes } else { &mut read.damages };
                said.push(format!("{name}: {why} ({left}); of its copies {taken} is taken"));
            }
            None => read.damages.push(format!(
                "{name}: {taken} and {left} differ, and neither is the beginning of the other: the first would be taken"
            )),
        }
        good
    }
}

#[cfg(test)]
mod tests;
