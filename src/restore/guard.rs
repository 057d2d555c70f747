//! `cassmount restore guard`: whether Cassandra may start. It must not where its data directories
//! hold links that lead nowhere: it would take the SSTables for leftovers, and show tables without
//! their rows.

use super::journal::journals::{Journals, STATE_DIR, STATE_DIR_VARIABLE};
use super::journal::state::{Plan, State, Step};
use super::links::{live, losses};
use super::look;
use super::sstables::reading;
use super::status::data_directory;
use super::units::DROP_IN;
use super::whole::{self, NodeStep};
use crate::{Error, Kind, Result};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// So many directories that links lead to are looked at side by side: each may have to ask a mount.
const AT_ONCE: usize = 8;
/// From so many links into one directory on, it is listed: one question for many names.
const LISTED_FROM: usize = 16;
/// Longest wait for a mount. One that is there and does not answer in time is no reason not to
/// start: its reads wait.
pub const GUARD_PATIENCE: Duration = Duration::from_millis(700);

/// What was found below the data directories.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GuardReport {
    pub data_directories: BTreeSet<PathBuf>,
    /// Links out of table directories.
    pub links: usize,
    /// Of these, those whose mount did not answer in time.
    pub unanswered: usize,
    /// Why Cassandra must not start; none if it may.
    pub reasons: Vec<String>,
}

/// A link in a table's directory, and where it leads.
struct OutwardLink {
    table: PathBuf,
    target: PathBuf,
}

/// Looks at every link in the data directories; those of the tables that the journals know where
/// none is named.
pub fn guard(journals: &Journals, data_dirs: &[PathBuf], patience: Duration) -> Result<GuardReport> {
    let mut report = GuardReport { data_directories: data_dirs.iter().cloned().collect(), ..GuardReport::default() };
    let mut plans: Vec<Plan> = Vec::new();
    for file in journals.all()? {
        let journal = file.path;
        match file.state {
            Ok(state) if is_meant(&state, data_dirs) => {
                if data_dirs.is_empty() {
                    let of = state.plan.directories.iter().map(|directory| data_directory(directory).to_owned());
                    report.data_directories.extend(of);
                }
                report.reasons.extend(broken(&state));
                plans.push(state.plan);
            }
            Ok(_) => {}
            Err(error) => report.reasons.push(format!("{error} ({})", journal.display())),
        }
    }
    for (journal, state) in whole::journals(journals.state_dir())? {
        match state {
            Ok(state) if state.step == NodeStep::Placed => {}
            Ok(state) if data_dirs.is_empty() || data_dirs.contains(&state.work.data_dir) => {
                report.reasons.push(format!(
                    "the restore of the whole node into {} did not come to its end: \
                     run its command again, or `cassmount restore abort --all`",
                    state.work.data_dir.display()
                ));
            }
            Ok(_) => {}
            Err(error) => report.reasons.push(format!("{error} ({})", journal.display())),
        }
    }
    let mut links = Vec::new();
    for directory in &report.data_directories {
        match outward_links(directory) {
            Ok(found) => links.extend(found),
            Err(error) => report.reasons.push(error.to_string()),
        }
    }
    report.links = links.len();
    let (dangling, unanswered) = dangling(links, patience);
    report.unanswered = unanswered;
    for (table, (count, target, why)) in dangling {
        let of = plans.iter().find(|plan| target.starts_with(&plan.mountpoint));
        let cure = of.map_or_else(
            || "mount what they lead to first".to_owned(),
            |plan| format!("mount it first: cassmount mount {} {}", plan.source, plan.mountpoint.display()),
        );
        report.reasons.push(format!(
            "{count} links in {} lead nowhere, among them one to {} ({why}): {cure}",
            table.display(),
            target.display()
        ));
    }
    Ok(report)
}

fn is_meant(state: &State, data_dirs: &[PathBuf]) -> bool {
    let below = |directory: &PathBuf| data_dirs.iter().any(|data_dir| directory.starts_with(data_dir));
    state.step != Step::Undone && (data_dirs.is_empty() || state.plan.directories.iter().any(below))
}

/// Why a table that was restored would not be whole.
fn broken(state: &State) -> Option<String> {
    let found = look::live_directories(&state.plan).and_then(|directories| {
        let there = State { plan: Plan { directories, ..state.plan.clone() }, ..state.clone() };
        losses::broken(&there, &live::ours(&there)?)
    });
    let table = &state.plan.table;
    match found {
        Ok(broken) if broken.is_empty() => None,
        Ok(broken) => Some(format!(
            "{} SSTables of {table} lack files that Cassandra removed when it was started without the mount: cassmount restore repair",
            broken.len()
        )),
        Err(error) => Some(format!("{table}: {error}")),
    }
}

/// The links out of a data directory that lie in table directories, or in those of their indexes.
fn outward_links(data_directory: &Path) -> Result<Vec<OutwardLink>> {
    let mut links = Vec::new();
    for keyspace in directories(data_directory)? {
        for table in directories(&keyspace)? {
            collect(&table, &table, data_directory, &mut links)?;
            for index in directories(&table)? {
                if index.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
                    collect(&index, &table, data_directory, &mut links)?;
                }
            }
        }
    }
    Ok(links)
}

fn collect(directory: &Path, table: &Path, data_directory: &Path, links: &mut Vec<OutwardLink>) -> Result<()> {
    for entry in entries(directory)? {
        let entry = entry.map_err(|e| reading(directory, e))?;
        if is_kind(&entry, fs::FileType::is_symlink)?
            && let Some(target) = look::link_target(&entry.path())?
            && target.is_absolute()
            && !target.starts_with(data_directory)
        {
            links.push(OutwardLink { table: table.to_owned(), target });
        }
    }
    Ok(())
}

fn directories(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in entries(directory)? {
        let entry = entry.map_err(|e| reading(directory, e))?;
        if is_kind(&entry, fs::FileType::is_dir)? {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn entries(directory: &Path) -> Result<fs::ReadDir> {
    fs::read_dir(directory).map_err(|e| reading(directory, e))
}

fn is_kind(entry: &fs::DirEntry, is: impl Fn(&fs::FileType) -> bool) -> Result<bool> {
    match entry.file_type() {
        Ok(kind) => Ok(is(&kind)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Error::io(format_args!("look at {}", entry.path().display()), e)),
    }
}

/// Of the links that lead nowhere: by table how many, one of their targets, and why. And how many
/// were not answered for.
fn dangling(links: Vec<OutwardLink>, patience: Duration) -> (BTreeMap<PathBuf, (usize, PathBuf, String)>, usize) {
    let (until, mut unanswered) = (Instant::now() + patience, links.len());
    let mut by_directory: BTreeMap<PathBuf, Vec<OutwardLink>> = BTreeMap::new();
    for link in links {
        let directory = link.target.parent().unwrap_or(Path::new("/")).to_owned();
        by_directory.entry(directory).or_default().push(link);
    }
    let (tell, told) = mpsc::channel();
    let threads = AT_ONCE.min(by_directory.len());
    let directories = Arc::new(Mutex::new(by_directory.into_iter()));
    for _ in 0..threads {
        let (directories, tell) = (directories.clone(), tell.clone());
        // Not waited for: one that asks a mount that does not answer ends with this process.
        thread::spawn(move || {
            loop {
                let next = directories.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some((directory, links)) = next else { return };
                let listed = if links.len() < LISTED_FROM { HashSet::new() } else { listed_files(&directory) };
                for link in links {
                    let is_listed = link.target.file_name().is_some_and(|name| listed.contains(name));
                    let looked = if is_listed { Ok(()) } else { fs::metadata(&link.target).map(drop) };
                    if tell.send((link, looked)).is_err() {
                        return;
                    }
                }
            }
        });
    }
    drop(tell);
    let mut found: BTreeMap<PathBuf, (usize, PathBuf, String)> = BTreeMap::new();
    while let Ok((link, looked)) = told.recv_timeout(until.saturating_duration_since(Instant::now())) {
        unanswered -= 1;
        if let Err(error) = looked {
            found.entry(link.table).or_insert((0, link.target, error.to_string())).0 += 1;
        }
    }
    (found, unanswered)
}

/// Names of the ordinary files in a directory. What is not among them is looked at by itself, all
/// of it after an error.
fn listed_files(directory: &Path) -> HashSet<OsString> {
    let Ok(entries) = fs::read_dir(directory) else { return HashSet::new() };
    let is_file = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_file());
    entries.map_while(io::Result::ok).filter(is_file).map(|entry| entry.file_name()).collect()
}

/// The drop-in for Cassandra's unit that keeps it from starting without the mounts that its tables
/// read.
///
/// # Errors
/// `Kind::NotFound` where no table reads any.
pub fn drop_in(journals: &Journals, data_dirs: &[PathBuf], program: &Path) -> Result<String> {
    let (mut mounts, mut directories) = (BTreeSet::new(), BTreeSet::new());
    for (_, state) in journals.states()?.into_iter().filter(|(_, state)| is_meant(state, data_dirs)) {
        directories.extend(state.plan.directories.iter().map(|directory| data_directory(directory).to_owned()));
        mounts.insert(state.plan.mountpoint);
    }
    if mounts.is_empty() {
        return Err(Error::new(Kind::NotFound, "no table reads a backup through links, as far as the journals know"));
    }
    let words = |paths: &BTreeSet<PathBuf>, before: &str| {
        let quoted = paths.iter().map(|path| format!("{before}{}", quoted(path)));
        quoted.collect::<Vec<_>>().join(" ")
    };
    Ok(format!(
        "{DROP_IN}[Unit]\nRequiresMountsFor={}\nWants=cassmount.service\nAfter=cassmount.service\n\n[Service]\n# +: as root, who may read the journals.\nExecStartPre=+{}{} restore guard {}\n",
        words(&mounts, ""),
        environment(journals.state_dir()),
        quoted(program),
        words(&directories, "--data-dir=")
    ))
}

/// What has the guard look for journals where they are, if that is not where it looks by itself.
fn environment(state_dir: &Path) -> String {
    if state_dir == Path::new(STATE_DIR) {
        return String::new();
    }
    let variable = format!("{STATE_DIR_VARIABLE}={}", state_dir.display());
    format!("/usr/bin/env {} ", quoted(Path::new(&variable)))
}

/// As systemd takes a word.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string().replace('%', "%%");
    if text.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\\' | ';')) {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Table, unreadable};
    use super::*;

    fn restored() -> (Table, Journals) {
        let table = Table::new();
        let journals = Journals::new(&table.work.path().join("state"), &[]);
        fs::create_dir(table.work.path().join("state")).unwrap();
        let state = table.state(2);
        let mut journal = journals.begin(state.plan.clone()).unwrap();
        live::put_links(&state).unwrap();
        journal.step(Step::Open).unwrap();
        (table, journals)
    }

    fn reasons(journals: &Journals, data_dirs: &[PathBuf]) -> Vec<String> {
        guard(journals, data_dirs, Duration::from_secs(20)).unwrap().reasons
    }

    #[test]
    fn links_that_lead_nowhere_keep_cassandra_from_starting() {
        let (table, journals) = restored();
        let data = table.work.path().join("data");
        assert_eq!(guard(&journals, &[], GUARD_PATIENCE).unwrap().links, 4);
        assert!(reasons(&journals, &[]).is_empty());
        fs::rename(&table.mount, table.work.path().join("away")).unwrap();
        let why = reasons(&journals, &[]);
        assert!(
            why.len() == 1 && why[0].contains("4 links in ") && why[0].contains("cassmount mount /bucket"),
            "{why:?}"
        );
        // Without any journal, too; and not of another node.
        let none = Journals::new(&table.work.path().join("none"), &[]);
        assert!(reasons(&none, &[]).is_empty());
        assert_eq!(reasons(&none, std::slice::from_ref(&data)).len(), 1);
        let other = table.work.path().join("other");
        fs::create_dir(&other).unwrap();
        assert!(reasons(&journals, &[other]).is_empty());
    }

    #[test]
    fn what_cannot_be_opened_or_looked_at_is_a_reason_too() {
        let (table, journals) = restored();
        fs::remove_file(table.live.join("nb-1001-big-Statistics.db")).unwrap();
        assert!(reasons(&journals, &[])[0].contains("cassmount restore repair"));
        fs::remove_dir_all(&table.live).unwrap();
        assert!(reasons(&journals, &[]).is_empty(), "the table was dropped");
        unreadable(&table.live);
        assert_eq!(reasons(&journals, &[]).len(), 1);
        fs::remove_dir_all(table.work.path().join("data")).unwrap();
        assert!(!reasons(&journals, &[]).is_empty());
    }

    #[test]
    fn of_many_links_each_that_dangles_is_found() {
        let (table, many) = (Table::new(), 20);
        live::put_links(&table.state(many)).unwrap();
        let (none, data) = (Journals::new(table.work.path(), &[]), [table.work.path().join("data")]);
        let report = guard(&none, &data, Duration::from_secs(20)).unwrap();
        assert_eq!((report.links, report.unanswered, report.reasons.len()), (2 * many, 0, 0));
        let target = |number: usize| table.mount.join(format!("nb-{number}-big-Data.db"));
        fs::remove_file(target(1)).unwrap();
        fs::remove_file(target(2)).unwrap();
        // It is listed, and leads nowhere all the same.
        std::os::unix::fs::symlink("/nowhere", target(2)).unwrap();
        let why = reasons(&none, &data);
        assert!(why.len() == 1 && why[0].starts_with("2 links in "), "{why:?}");
        fs::rename(&table.mount, table.work.path().join("away")).unwrap();
        assert!(reasons(&none, &data)[0].starts_with("40 links in "));
    }

    #[test]
    fn links_within_the_node_and_in_snapshots_are_left_alone() {
        let (table, journals) = restored();
        fs::rename(&table.mount, table.work.path().join("away")).unwrap();
        live::remove_sstable(&table.live, "nb-1001-big").unwrap();
        live::remove_sstable(&table.live, "nb-1002-big").unwrap();
        let snapshot = table.live.join("snapshots/s");
        fs::create_dir_all(&snapshot).unwrap();
        std::os::unix::fs::symlink("/nowhere", snapshot.join("nb-1-big-Data.db")).unwrap();
        std::os::unix::fs::symlink(table.live.join("none"), table.live.join("here")).unwrap();
        assert!(reasons(&journals, &[]).is_empty());
    }

    #[test]
    fn the_drop_in_names_mounts_and_data_directories() {
        let (table, journals) = restored();
        let text = drop_in(&journals, &[], Path::new("/usr/bin/cass mount%")).unwrap();
        let (mount, data) = (table.mount.display(), table.work.path().join("data"));
        assert!(text.contains(&format!("\nRequiresMountsFor={mount}\n")), "{text}");
        let state = table.work.path().join("state");
        let guard = format!(
            "\nExecStartPre=+/usr/bin/env CASSMOUNT_STATE_DIR={} \"/usr/bin/cass mount%%\" restore guard --data-dir={}\n",
            state.display(),
            data.display()
        );
        assert!(text.contains(&guard), "{text}");
        assert!(drop_in(&Journals::new(&data, &[]), &[], Path::new("x")).is_err());
        assert_eq!(environment(Path::new(STATE_DIR)), "");
        assert_eq!(environment(Path::new("/a b")), "/usr/bin/env \"CASSMOUNT_STATE_DIR=/a b\" ");
    }
}
