//! `cassmount verify`: is the backup good, and if not, what is lost and where else is it?

use super::exposition;
use super::interrupt::unless_interrupted;
use super::options::{BackupArgs, JobsArgs, OutputArgs, ProgressArgs, ScopeArgs, TablePatternArgs};
use super::output::{Shown, print};
use super::progress::Progress;
use super::session::{self, Session};
use super::terminal::say;
use super::{mixed, table, words};
use cassmount::catalog::{Host, Tag, stray_lines};
use cassmount::config::parse_duration;
use cassmount::reader::ReaderOptions;
use cassmount::verify::{
    Finding, Neighbours, Note, Observer, Problem, Report, Sample, SampleReport, Scope, Severity, Verification,
    VerifyOptions,
};
use cassmount::{Error, Kind, Result};
use std::fmt::{Display, Write};
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// Archives at a time: in depth each takes a core, at a glance all of them wait for the store.
const JOBS_DEEP: usize = 4;
const JOBS: usize = 16;

/// Findings that are told while it goes on; all of them are in the report.
const TOLD_AT_ONCE: usize = 20;

/// Names in one line.
const NAMED: usize = 10;

macro_rules! examples {
    () => {
        "\
Examples:
  cassmount verify s3://cass-backups               every host, at a glance
  cassmount verify s3://cass-backups node1 latest --deep
                                                   all that this restore needs
  cassmount verify s3://cass-backups --deep --max-age 30d -q
                                                   for cron: all, each month
  cassmount verify s3://cass-backups --deep --sample 10%
                                                   a random tenth each day"
    };
}

/// `cassmount verify`; what it does is told by its help's end, where help is read.
#[derive(clap::Args, Debug)]
#[command(after_long_help = EXPLAINED, after_help = EXAMPLES)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    /// Read all of every archive
    #[arg(long)]
    deep: bool,
    #[command(flatten)]
    only: TablePatternArgs,
    /// Check again what an earlier run found good, too
    #[arg(long)]
    again: bool,
    /// Check again what was found good longer ago than this, e.g. 30d
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "again")]
    max_age: Option<Duration>,
    /// Only some archives of each host: a share of them, drawn anew each day (10%), or one part of
    /// several (3/7). What sets themselves tell is checked all the same
    #[arg(long, value_name = "SAMPLE")]
    sample: Option<Sample>,
    /// Write what was found into this file, for node_exporter (docs/metrics.md). Not with POINT,
    /// --table or --sample
    #[arg(long, value_name = "FILE", conflicts_with_all = ["point", "patterns", "sample"])]
    prometheus_textfile: Option<PathBuf>,
    #[command(flatten)]
    jobs: JobsArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    progress: ProgressArgs,
    #[command(flatten)]
    backups: BackupArgs,
}

const EXPLAINED: &str = concat!(
    "\
Without --deep, it checks that every set finished and has all its archives, and that each can be unlocked and is not cut \
short: two small ranges of each are read. With --deep, all of every archive is read once: the checksums of the compression \
(gzip, zstd, lz4), the tar, and of every SSTable its components, its Digest.crc32 and the checksums of its chunks. The \
report says what is lost, and which other set still has it.

If it is interrupted, run the same command: it resumes. What was good is skipped until it changes; --again checks everything.

Exits with 0 when everything is good, with 1 when anything was found.

",
    examples!()
);
const EXAMPLES: &str = examples!();

pub(super) fn run(args: &VerifyArgs) -> Result<()> {
    let Some(settings) = session::begin(args.scope.source_place.as_deref(), &args.backups)? else { return Ok(()) };
    let jobs = args.jobs.or(if args.deep { JOBS_DEEP } else { JOBS });
    let work = async {
        let session = Session::open_anew(settings).await?;
        let keys = session.keys()?;
        let options = ReaderOptions { max_passes: jobs, ..ReaderOptions::default() };
        let reader = session.reader(keys.clone(), session.cache()?, options)?;
        let hosts = session.hosts(args.scope.host.as_deref()).await?;
        let tables = session.tables(&args.only, &hosts).await?;
        let host = args.scope.host.as_ref().and_then(|_| hosts.first().cloned());
        if let (Some(host), Some(point)) = (&host, &args.scope.point) {
            let meaning = mixed::of_host(&session, host, point).await?;
            if let (false, Some(taken)) = (args.progress.quiet, &meaning.taken) {
                say!("cassmount: {taken}");
            }
            meaning.warn();
        }
        let only_host = host.clone();
        let scope = Scope { host, point: args.scope.point.clone(), tables };
        let options = VerifyOptions {
            deep: args.deep,
            jobs,
            max_age: if args.again { Some(Duration::ZERO) } else { args.max_age },
            state_dir: Some(session.cache_dir.verify()),
            sample: args.sample.clone().map(|sample| (sample, today())),
        };
        let mut verification = Verification::prepare(&session.catalog, reader, &keys, scope, options).await?;
        let tree = session.unlogged_tree()?;
        for host in &hosts {
            match tree.schema_lacks(host, args.scope.point.as_deref()).await {
                Ok(lacks) => verification.also(host, lacks),
                // Each archive tells it.
                Err(error) if error.kind() == Kind::NoKey => {}
                Err(error) => {
                    say!("cassmount: {host}: tables that only its schema would tell of were not looked for: {error}");
                }
            }
        }
        let watch = Watch {
            progress: Progress::start("verify", Some(verification.todo().bytes), args.progress),
            told: AtomicUsize::new(0),
            is_told_below: !args.output.json && (io::stdout().is_terminal() || !io::stderr().is_terminal()),
        };
        let mut report = verification.run(&watch).await;
        watch.progress.finish();
        let whole = match session.unpacked.as_ref().filter(|_| args.deep) {
            Some(unpacked) => are_whole(&unpacked.read_again(only_host.as_ref()).await?),
            None => Ok(()),
        };
        let nothing_left_out = whole.and_then(|()| session.store.nothing_left_out());
        report.left_out = nothing_left_out.as_ref().err().map(ToString::to_string);
        Ok((report, nothing_left_out))
    };
    let (report, nothing_left_out) =
        session::block_on(unless_interrupted(work, "what was found good is remembered: run it again to go on"))?;
    print(args.output, &report)?;
    if let Some(path) = &args.prometheus_textfile {
        exposition::write_verified(path, &report)?;
    }
    verdict(&report)?;
    nothing_left_out
}

/// What is wrong with archives of many tables, which the report does not have: they are in no set.
fn are_whole(wrong: &[(Arc<str>, Error)]) -> Result<()> {
    let Some((key, error)) = wrong.first() else { return Ok(()) };
    for (key, error) in wrong {
        tracing::error!("{}: {error}", key.escape_debug());
    }
    let message = format!("{} of the archives cannot be read, such as {}", wrong.len(), key.escape_debug());
    Err(Error::new(error.kind(), message))
}

/// The day, in UTC: a sample that is drawn by it stays as it is until tomorrow, so that an
/// interrupted run can go on.
fn today() -> String {
    words::now().to_string().chars().take("2026-11-29".len()).collect()
}

/// Shows progress, and the first findings as they come.
struct Watch {
    progress: Progress,
    told: AtomicUsize,
    /// Whether the report goes where these messages go, as far as one can tell.
    is_told_below: bool,
}

impl Observer for Watch {
    fn fetched(&self, bytes: u64) {
        self.progress.add(bytes);
    }

    fn found(&self, finding: &Finding) {
        // The report comes below, or goes where these messages go, and says it again.
        if self.is_told_below {
            return;
        }
        match self.told.fetch_add(1, Relaxed) {
            ..TOLD_AT_ONCE => {
                let first = finding.message.lines().next().unwrap_or_default();
                self.progress.message(&format!("{}: {first}", subject(finding)));
            }
            TOLD_AT_ONCE => self.progress.message("… more of that in the report"),
            _ => {}
        }
    }
}

/// An error when anything is wrong, for the exit code.
fn verdict(report: &Report) -> Result<()> {
    if let Some(why) = &report.stopped {
        let message = format!("not everything was verified: {why}; a second run goes on");
        return Err(Error::new(Kind::Unreachable, message));
    }
    if report.has_found_nothing() {
        return Ok(());
    }
    let all = report.findings.len() as u64 + report.more_findings;
    if let (0, Some(stray)) = (all, report.strays.first()) {
        return Err(Error::new(Kind::Corrupt, stray.to_string()));
    }
    let warnings = report.findings.iter().filter(|finding| finding.severity == Severity::Warning).count();
    let message = match warnings {
        0 => format!("{} found", problems(all)),
        warnings => format!("{} found, {warnings} of them only to be looked at", problems(all)),
    };
    let lost = || report.findings.iter().filter(|finding| finding.severity != Severity::Warning);
    // Where some are opened, what is not may be damaged as well.
    let is_nothing_opened = report.checked.skipped == 0 && lost().count() as u64 == report.checked.archives;
    let for_want_of_a_key = is_nothing_opened && lost().all(|finding| finding.problem == Problem::NoKey);
    let kind = if for_want_of_a_key && report.checked.archives > 0 { Kind::NoKey } else { Kind::Corrupt };
    Err(Error::new(kind, message))
}

fn problems(count: u64) -> String {
    format!("{count} problem{}", if count == 1 { "" } else { "s" })
}

/// What a finding is about, in one line.
fn subject(finding: &Finding) -> String {
    let mut text = format!("{} {}", finding.host, finding.set);
    if let Some(table) = finding.table_name() {
        let _ = write!(text, " {table}");
    }
    if let Some(sstable) = &finding.sstable {
        let _ = write!(text, " {sstable}");
    }
    text
}

impl Shown for Report {
    fn text(&self) -> String {
        let mut text = hosts(self);
        let mut heading = None;
        for group in groups(&self.findings) {
            let first = group[0];
            if heading != Some((&first.host, &first.set)) {
                heading = Some((&first.host, &first.set));
                let _ = writeln!(text, "\n{} {}", first.host, first.set);
            }
            text += &described(&group);
        }
        if self.more_findings > 0 {
            let _ = writeln!(text, "\nand {} more", problems(self.more_findings));
        }
        if !self.strays.is_empty() {
            text.push('\n');
        }
        for line in stray_lines(&self.strays) {
            let _ = writeln!(text, "{line}");
        }
        text += &notes(&self.notes, self.more_notes);
        if let Some(archived) = table::archived(self.archived) {
            let _ = writeln!(text, "\n{archived}");
        }
        let _ = writeln!(text, "\n{}", conclusion(self));
        text
    }
}

fn hosts(report: &Report) -> String {
    let rows: Vec<Vec<String>> = report
        .hosts
        .iter()
        .map(|host| {
            let checked = host.checked;
            let (sets, archives, skipped) = (host.sets, checked.archives, checked.skipped);
            let size = table::bytes(checked.bytes);
            let last = host.last_check.map_or_else(|| "-".to_owned(), words::minute);
            vec![host.host.to_string(), sets.to_string(), archives.to_string(), size, skipped.to_string(), last]
        })
        .collect();
    let archives = if report.deep { "CHECKED" } else { "LOOKED AT" };
    let header = ["HOST", "SETS", archives, "SIZE", "SKIPPED (already good)", "LAST CHECK"];
    table::render(&header, &header[1..5], &rows)
}

/// Findings that differ only in their table, told once: a lost key locks every archive of a set.
fn groups(findings: &[Finding]) -> Vec<Vec<&Finding>> {
    let mut groups: Vec<Vec<&Finding>> = Vec::new();
    for finding in findings {
        let alike = |group: &&mut Vec<&Finding>| {
            let first = group[0];
            let of_table = |one: &Finding| one.sstable.is_none() && one.table.is_some();
            let plain = |one: &Finding| of_table(one) && (one.sstables.is_empty() || one.problem == Problem::NoKey);
            (&first.host, &first.set, first.problem) == (&finding.host, &finding.set, finding.problem)
                && (&first.message, &first.lost) == (&finding.message, &finding.lost)
                && plain(first)
                && plain(finding)
        };
        // Findings of one set are beside each other.
        let same_set =
            groups.iter_mut().rev().take_while(|group| group[0].set == finding.set && group[0].host == finding.host);
        match same_set.into_iter().find(alike) {
            Some(group) => group.push(finding),
            None => groups.push(vec![finding]),
        }
    }
    groups
}

/// A sentence in several lines, as deep as it stands in the report.
fn below(sentence: &str) -> String {
    sentence.replace('\n', "\n    ")
}

fn described(group: &[&Finding]) -> String {
    let first = group[0];
    let mut tables: Vec<_> = group.iter().filter_map(|finding| finding.table_name()).collect();
    // Of one table there may be several that are alike.
    tables.sort();
    tables.dedup();
    let what = match (tables.len(), first.table_name(), &first.sstable) {
        (count @ 2.., ..) => format!("{count} tables ({})", list(tables.iter(), count)),
        (_, Some(table), Some(sstable)) => format!("{table} {sstable}"),
        (_, Some(table), None) => table.to_string(),
        (_, None, _) => "the set".into(),
    };
    let warning = if first.severity == Severity::Warning { "warning: " } else { "" };
    let mut text = format!("  {what}: {warning}{}\n", below(&first.message));
    if let Some(key) = first.key.as_ref().filter(|_| group.iter().all(|finding| finding.key == first.key)) {
        let _ = writeln!(text, "    object: {key}");
    }
    let _ = writeln!(text, "    lost: {}", below(&first.lost));
    if group.len() > 1 {
        return text;
    }
    if first.sstable.is_none() && !first.sstables.is_empty() {
        let _ = writeln!(text, "    SSTables: {}", list(first.sstables.iter(), first.sstables.len()));
    }
    if !first.copies.is_empty() {
        let copies = first.copies.iter().map(|copy| format!("{} in {}", copy.sstable, copy.set));
        let _ = writeln!(text, "    another copy: {}", list(copies, first.copies.len()));
    }
    if let Some(elsewhere) = &first.table_elsewhere {
        let _ = writeln!(text, "    {}", self::elsewhere(elsewhere));
    }
    text
}

fn elsewhere(neighbours: &Neighbours) -> String {
    let tag = |tag: &Option<Tag>| tag.as_ref().map(ToString::to_string);
    match (tag(&neighbours.before), tag(&neighbours.after)) {
        (None, None) => "no other set of the host has the table unharmed".into(),
        (before, after) => {
            let before = before.map(|tag| format!("{tag} before it"));
            let after = after.map(|tag| format!("{tag} after it"));
            let both: Vec<String> = before.into_iter().chain(after).collect();
            format!("the table is also in {}", both.join(" and "))
        }
    }
}

fn notes(notes: &[Note], more: u64) -> String {
    let mut text = String::new();
    if !notes.is_empty() {
        text.push_str("\nfor your information\n");
    }
    for note in notes {
        let Note { host, set, keyspace, table, note } = note;
        let table = match (keyspace, table) {
            (Some(keyspace), Some(table)) => format!(" {keyspace}.{table}"),
            _ => String::new(),
        };
        let _ = writeln!(text, "  {host} {set}{table}: {note}");
    }
    if more > 0 {
        let _ = writeln!(text, "  and {more} more");
    }
    text
}

fn conclusion(report: &Report) -> String {
    if report.is_clean() {
        let how = if report.deep { "" } else { " as far as a glance tells (--deep reads all of it)" };
        return match &report.sample {
            Some(sample) => format!("all that was looked at is good{how}: {}", of_sample(sample)),
            None => format!("everything is good{how}"),
        };
    }
    let sets: std::collections::BTreeSet<(&Host, &Tag)> = report.findings.iter().map(|f| (&f.host, &f.set)).collect();
    let all = report.findings.len() as u64 + report.more_findings;
    if all == 0 && report.strays.is_empty() {
        return match &report.left_out {
            Some(_) => "what could be looked at is good, but not all could".to_owned(),
            None => "what was looked at is good".to_owned(),
        };
    }
    if all == 0 {
        return "what is in the sets is good; beside them is what no restore point has".to_owned();
    }
    let of = report.hosts.iter().map(|host| host.sets).sum::<u64>();
    let of = usize::try_from(of).unwrap_or(usize::MAX);
    let looked_at = words::count(of, "set");
    // Some are of sets that are missing, or of none.
    let text = if sets.len() > of {
        format!("{}; looked at: {looked_at}", problems(all))
    } else {
        format!("{} in {} of {looked_at}", problems(all), sets.len())
    };
    report.sample.as_ref().map_or_else(|| text.clone(), |sample| format!("{text}, in {}", of_sample(sample)))
}

/// `a sample of 10%, drawn for 2026-11-29 (4 of 37 archives)`.
fn of_sample(sample: &SampleReport) -> String {
    let what = match &sample.drawn_by {
        Some(day) => format!("a sample of {}, drawn for {day}", sample.sample),
        None => format!("part {} of it", sample.sample),
    };
    format!("{what} ({} of {} archives)", sample.archives, sample.of)
}

/// The first few of `count` names.
fn list(names: impl Iterator<Item = impl Display>, count: usize) -> String {
    let mut words: Vec<String> = names.take(NAMED).map(|name| name.to_string()).collect();
    if count > NAMED {
        words.push(format!("{} more", count - NAMED));
    }
    words.join(", ")
}
