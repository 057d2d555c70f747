//! `cassmount extract`: a restore point as ordinary files.

use super::interrupt::unless_interrupted;
use super::locked::{self, Asked};
use super::options::{
    BackupArgs, JobsArgs, KeyspaceArgs, LiveIdArgs, OutputArgs, OwnerArgs, PointArgs, ProgressArgs, TablePatternArgs,
};
use super::output::{Shown, print};
use super::progress::Progress;
use super::session::{self, Session};
use super::table::{self, Column, Table};
use super::{mixed, words};
use cassmount::config::Settings;
use cassmount::extract::{
    Access, ExtractOptions, ExtractPlan, ExtractReport, Extraction, Layout, SchemaState, SizeFrom, State, TableOutcome,
};
use cassmount::reader::{Reader, ReaderOptions};
use cassmount::store::Source;
use cassmount::tree::{LackLog, TreeOptions};
use cassmount::{Error, Kind, Result};
use serde::{Serialize, Serializer};
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How often the progress is looked at.
const TICK: Duration = Duration::from_millis(200);

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES, after_long_help = EXPLAINED)]
pub(super) struct ExtractArgs {
    #[command(flatten)]
    point: PointArgs,
    /// Where to; made if it is not there
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    #[command(flatten)]
    only: TablePatternArgs,
    #[command(flatten)]
    keyspaces: KeyspaceArgs,
    /// How files are arranged: `tables` is <keyspace>/<table>-<id>/, `snapshots` is Cassandra's own
    /// <keyspace>/<table>-<id>/snapshots/<point>/
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    arrange: Arrangement,
    /// Take a restore point that lacks something all the same; the report and DIR/INCOMPLETE.txt say
    /// what, and the exit status is 1
    #[arg(long)]
    allow_incomplete: bool,
    /// Show what there is to fetch and to write, and whether it fits; write nothing
    #[arg(long)]
    dry_run: bool,
    /// Go on although the free space seems too small: how much will be written is only estimated
    /// where archives were never read
    #[arg(long)]
    ignore_space: bool,
    #[command(flatten)]
    jobs: JobsArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    live_ids: LiveIdArgs,
    #[command(flatten)]
    owner: OwnerArgs,
    #[command(flatten)]
    progress: ProgressArgs,
    #[command(flatten)]
    backups: BackupArgs,
}

macro_rules! examples {
    () => {
        "\
Examples:
  cassmount extract s3://cass-backups node1 latest /restore --dry-run
  cassmount extract s3://cass-backups node1 latest /restore --table shop.users --uid cassandra
  nodetool import -p shop users /restore/shop/users-*"
    };
}

const EXAMPLES: &str = examples!();
const EXPLAINED: &str = concat!(
    "\
DIR gets exactly what a mount shows below restore-points/POINT, schema.cql included: by default in <keyspace>/<table>-<id>/, \
which sstableloader and `nodetool import` take as it is. If anything is missing, INCOMPLETE.txt beside them says what and why.

Every byte is checked before a table gets its name: the checksums and lengths of the compression, each SSTable's \
Digest.crc32. Nothing is written twice or goes through the cache. What is not final lies in DIR/.cassmount-extract. If it is \
interrupted, run the same command: it resumes. Nothing that is in DIR is ever overwritten: it must be empty, or hold an \
extract of the same restore point, to which other tables may be added.

",
    examples!(),
    "

Exit status: 0 everything is there, 1 something could not be had (the report says what and why), 5 refused because the restore point is incomplete, 130 interrupted."
);

#[derive(clap::ValueEnum, Clone, Copy, Debug, Default)]
enum Arrangement {
    #[default]
    Tables,
    Snapshots,
}

pub(super) fn run(args: &ExtractArgs) -> Result<()> {
    let mut given = args.backups.command_line(Some(&args.point.source_place));
    given.options.extend(args.live_ids.given());
    let Some(settings) = session::begin_with(&given, &args.backups)? else { return Ok(()) };
    let done = session::block_on(async {
        let again = "nothing unverified has a final name, and the same command goes on where this one was";
        let extraction = Box::pin(async {
            let (extraction, reader, session) = open(args, settings).await?;
            let plan = extraction.plan().await?;
            if args.dry_run {
                let refusal = match extraction.check_keys().await {
                    Err(error) => Some(error),
                    Ok(()) => extraction.check_completeness().await.err(),
                };
                return Ok(Done::Planned(DryRun {
                    is_dry: true,
                    refusal,
                    needed: plan.needed_bytes(),
                    fits: plan.fits(),
                    plan,
                }));
            }
            extraction.check_completeness().await?;
            check_space(&plan, args.ignore_space)?;
            let progress = Progress::start("extract", Some(plan.fetch_bytes), args.progress);
            let report = watched(extraction.run(), &reader, &progress).await?;
            progress.finish();
            session.remember(extraction.host(), extraction.damages()).await?;
            let asked = [(extraction.host().clone(), Asked::Points(vec![report.of.point.clone()]))];
            let locked = if is_locked(&report) { locked::keys_fit(&session, &asked).await.err() } else { None };
            Ok(Done::Run(Run { is_dry: false, report, locked }))
        });
        unless_interrupted(extraction, again).await
    })?;
    match done {
        Done::Planned(plan) => {
            print(args.output, &plan)?;
            plan.verdict()
        }
        Done::Run(run) => {
            print(args.output, &run)?;
            run.verdict()
        }
    }
}

async fn open(args: &ExtractArgs, settings: Settings) -> Result<(Extraction, Arc<Reader>, Session)> {
    let jobs = args.jobs.or_cores();
    let (uid, gid) = args.owner.ids()?;
    let access = Access { uid, gid, file_mode: args.owner.file_mode, dir_mode: args.owner.dir_mode };
    let live_data_dir = settings.live_data_dir()?;
    let session = Session::open_anew(settings).await?;
    refuse_below_source(&session.settings, &args.directory)?;
    let reader = ReaderOptions { max_passes: jobs, ..ReaderOptions::default() };
    let reader = session.reader(session.keys()?, session.cache()?, reader)?;
    let host = session.host(&args.point.host).await?;
    session.check_keys(&reader, &host).await?;
    mixed::of_host(&session, &host, &args.point.point).await?.warn();
    let options = ExtractOptions {
        tables: session.tables_at(&args.only, &host, &args.point.point).await?,
        keyspaces: args.keyspaces.keyspaces.clone(),
        allow_incomplete: args.allow_incomplete,
        layout: match args.arrange {
            Arrangement::Tables => Layout::Tables,
            Arrangement::Snapshots => Layout::Snapshots,
        },
        access,
        jobs,
    };
    let tree =
        TreeOptions { live_data_dir, lack_log: LackLog::Nothing, logs_oddities: false, ..session.tree_options() };
    let point = (host, &*args.point.point);
    let catalog = Arc::clone(&session.catalog);
    let extraction = Extraction::new(catalog, Arc::clone(&reader), tree, point, &args.directory, options).await?;
    Ok((extraction, reader, session))
}

/// Backups are never written to: what is extracted among them would be taken for a backup as well.
fn refuse_below_source(settings: &Settings, target: &std::path::Path) -> Result<()> {
    let Source::Local(source) = settings.source()? else { return Ok(()) };
    let failed = |e| Error::io(format_args!("look at {}", target.display()), e);
    let Ok(source) = source.canonicalize() else { return Ok(()) };
    if !cassmount::private::is_below(target, &source).map_err(failed)? {
        return Ok(());
    }
    let (target, source) = (target.display(), source.display());
    Err(Error::invalid(format!(
        "{target} lies below the source {source}, which is only read: extract to another directory"
    )))
}

fn check_space(plan: &ExtractPlan, ignore: bool) -> Result<()> {
    if plan.fits() || ignore {
        return Ok(());
    }
    Err(Error::new(
        Kind::NoSpace,
        format!(
            "{} has {} free, and {} are to be written ({}); nothing was begun. --table or --keyspace takes less, --ignore-space goes on regardless",
            plan.of.target.display(),
            table::bytes(plan.free_bytes),
            table::bytes(plan.needed_bytes()),
            how_known(plan.size_from),
        ),
    ))
}

/// Does the work while the progress follows what the reader fetches.
async fn watched<T>(work: impl Future<Output = T>, reader: &Reader, progress: &Progress) -> T {
    let mut seen = reader.stats().bytes_fetched;
    let mut follow = || {
        let now = reader.stats().bytes_fetched;
        progress.add(now - seen);
        seen = now;
    };
    let mut work = std::pin::pin!(work);
    loop {
        match tokio::time::timeout(TICK, &mut work).await {
            Ok(done) => {
                follow();
                return done;
            }
            Err(_) => follow(),
        }
    }
}

enum Done {
    Planned(DryRun),
    Run(Run),
}

/// The JSON is documented in docs/json.md.
#[derive(Serialize)]
struct DryRun {
    #[serde(rename = "dry_run")]
    is_dry: bool,
    #[serde(flatten)]
    plan: ExtractPlan,
    #[serde(rename = "needed_bytes")]
    needed: u64,
    fits: bool,
    /// Why it would not be done.
    #[serde(rename = "refused", skip_serializing_if = "Option::is_none", serialize_with = "sentence")]
    refusal: Option<Error>,
}

#[expect(clippy::ref_option, reason = "serde calls it so")]
fn sentence<S: Serializer>(refusal: &Option<Error>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&refusal.as_ref().map(ToString::to_string).unwrap_or_default())
}

impl DryRun {
    fn verdict(self) -> Result<()> {
        match self.refusal {
            Some(refusal) => Err(refusal),
            None if self.plan.lacks.is_empty() => Ok(()),
            None => Err(words::incomplete(self.plan.lacks.len())),
        }
    }
}

impl Shown for DryRun {
    fn text(&self) -> String {
        let plan = &self.plan;
        let rows: Vec<Vec<String>> = plan.tables.iter().map(plan_row).collect();
        let columns = vec![
            Column::new("DIRECTORY").shortens(words::short_directory),
            Column::new("SETS").right().dispensable(1),
            Column::new("ARCHIVES").right().dispensable(2),
            Column::new("FETCH").right(),
            Column::new("WRITE").right(),
            Column::new("").wraps(),
        ];
        let mut text = Table { columns, rows }.text();
        let todo = plan.tables.iter().filter(|table| !table.done).count();
        let _ = write!(
            text,
            "\n{} of {} in {}: {} to extract, {} to fetch, {} to write ({})",
            plan.of.point,
            plan.of.host,
            plan.of.target.display(),
            words::count(todo, "table"),
            table::bytes(plan.fetch_bytes),
            table::bytes(plan.write_bytes),
            how_known(plan.size_from),
        );
        if plan.staged_bytes > 0 {
            let _ = write!(text, ", of which {} are there", table::bytes(plan.staged_bytes));
        }
        for lack in &plan.lacks {
            let _ = write!(text, "\nINCOMPLETE: {lack}; {}", lack.reach());
        }
        if let Some(archived) = table::archived(plan.archived) {
            let _ = write!(text, "\n{archived}");
        }
        let free = table::bytes(plan.free_bytes);
        let verdict = match (&self.refusal, self.fits) {
            (None, true) => "it fits",
            (Some(_), true) => "it would fit, but nothing would be extracted",
            (_, false) => "it does not fit",
        };
        let _ = writeln!(text, "\n{free} are free there: {verdict}");
        text
    }
}

fn plan_row(plan: &cassmount::extract::TablePlan) -> Vec<String> {
    let counts = [plan.sets.len().to_string(), plan.archives.to_string()];
    let (fetch, write, note) = if plan.done {
        (String::new(), String::new(), "is there")
    } else {
        (table::bytes(plan.fetch_bytes), table::bytes(plan.write_bytes), note(plan.size_from))
    };
    let [sets, archives] = counts;
    vec![plan.directory.clone(), sets, archives, fetch, write, note.to_owned()]
}

/// What [`how_known`] says, in the room that a row has.
fn note(from: SizeFrom) -> &'static str {
    match from {
        SizeFrom::Listings | SizeFrom::Files | SizeFrom::GzipLengths => "",
        SizeFrom::Guess => "guess",
    }
}

fn how_known(from: SizeFrom) -> &'static str {
    match from {
        SizeFrom::Listings => "at most: the archives were read before",
        SizeFrom::Files => "plain files are copied",
        SizeFrom::GzipLengths => "as the archives say",
        SizeFrom::Guess => "guessed in part",
    }
}

/// The JSON is documented in docs/json.md.
#[derive(Serialize)]
struct Run {
    #[serde(rename = "dry_run")]
    is_dry: bool,
    #[serde(flatten)]
    report: ExtractReport,
    /// That whole sets are locked, where nothing else is wrong.
    #[serde(skip)]
    locked: Option<Error>,
}

/// Whether nothing but archives that no key opens kept tables from being extracted. One whose beginning is
/// damaged looks the same.
fn is_locked(report: &ExtractReport) -> bool {
    let mut broken = report.tables.iter().filter(|table| !table.is_whole()).peekable();
    let is_any = broken.peek().is_some() && report.lacks.is_empty() && report.error.is_none();
    is_any
        && !matches!(report.schema, SchemaState::Failed(_))
        && broken.all(|table| table.error_kind == Some(Kind::NoKey))
}

impl Run {
    /// An error when not everything that was asked for is there.
    fn verdict(&self) -> Result<()> {
        let report = &self.report;
        if report.is_whole() {
            return Ok(());
        }
        if let Some(error) = &report.error {
            // Whatever it was, it was not how the command was written.
            let kind = report.error_kind.filter(|kind| *kind != Kind::Invalid).unwrap_or(Kind::Io);
            let more = "the same command goes on where this one ended";
            return Err(Error::new(kind, format!("not everything was extracted: {error}; {more}")));
        }
        let broken = report.tables.iter().filter(|table| !table.is_whole()).count();
        let schema_failed = matches!(report.schema, SchemaState::Failed(_));
        // Where some are opened, what is not may be damaged as well, unless it is all of a set.
        let is_all_locked = report.tables.iter().all(|table| table.error_kind == Some(Kind::NoKey));
        let for_want_of_a_key = is_all_locked || self.locked.is_some();
        let message = match broken {
            0 if !schema_failed => return Err(words::incomplete(report.lacks.len())),
            0 => "schema.cql could not be written".to_owned(),
            1 => "1 table is not there, or not all of it".to_owned(),
            _ => format!("{broken} tables are not there, or not all of them"),
        };
        let kind = if for_want_of_a_key && broken > 0 { Kind::NoKey } else { Kind::Corrupt };
        let why = self.locked.as_ref().map(|locked| format!(": {locked}")).unwrap_or_default();
        Err(Error::new(kind, message + &why))
    }
}

impl Shown for Run {
    fn text(&self) -> String {
        let report = &self.report;
        let mut text = String::new();
        let there: Vec<&TableOutcome> = report.tables.iter().filter(|table| table.state != State::Failed).collect();
        if !there.is_empty() {
            let rows: Vec<Vec<String>> = there.iter().map(|table| outcome_row(table)).collect();
            let columns = vec![
                Column::new("DIRECTORY").shortens(words::short_directory),
                Column::new("FILES").right(),
                Column::new("SIZE").right(),
                Column::new("").wraps(),
            ];
            text += &Table { columns, rows }.text();
            text.push('\n');
        }
        for outcome in report.tables.iter().filter(|table| !table.is_whole()) {
            text += &loss(outcome);
        }
        for lack in &report.lacks {
            let _ = writeln!(text, "INCOMPLETE: {lack}; {}", lack.reach());
        }
        if let SchemaState::Failed(why) = &report.schema {
            let _ = writeln!(text, "schema.cql: not written: {why}");
        }
        let sum = |of: fn(&TableOutcome) -> u64| there.iter().map(|table| of(table)).sum();
        let _ = writeln!(
            text,
            "{} of {} in {}: {}, {}, {}; {} fetched",
            report.of.point,
            report.of.host,
            report.of.target.display(),
            tables_there(&report.tables),
            words::count(usize::try_from(sum(|table| table.files)).unwrap_or(usize::MAX), "file"),
            table::bytes(sum(|table| table.bytes)),
            table::bytes(report.tables.iter().map(|table| table.fetched_bytes).sum()),
        );
        text
    }
}

/// `5 of 7 tables, 2 of them were there`.
fn tables_there(tables: &[TableOutcome]) -> String {
    let count = |is_it: fn(&TableOutcome) -> bool| tables.iter().filter(|table| is_it(table)).count();
    let (there, before) = (count(|table| table.state != State::Failed), count(|table| table.state == State::Unchanged));
    let of_all = words::count(tables.len(), "table");
    let there = if there == tables.len() { of_all } else { format!("{there} of {of_all}") };
    if before == 0 { there } else { format!("{there} ({before} were there before)") }
}

fn outcome_row(outcome: &TableOutcome) -> Vec<String> {
    let note = match outcome.state {
        _ if !outcome.lost.is_empty() => "NOT ALL OF IT",
        State::Unchanged => "was there",
        _ => "",
    };
    vec![outcome.directory.clone(), outcome.files.to_string(), table::bytes(outcome.bytes), note.to_owned()]
}

fn loss(outcome: &TableOutcome) -> String {
    let mut text = String::new();
    if let Some(error) = &outcome.error {
        let _ = writeln!(text, "{}: not extracted: {error}", outcome.directory);
    }
    for lost in &outcome.lost {
        let _ = writeln!(text, "{}: without {} of set {}: {}", outcome.directory, lost.what, lost.set, lost.reason);
    }
    text
}
