//! `cassmount index`: builds seek indexes ahead of need, and puts them beside the backups on
//! request.

use super::interrupt::unless_interrupted;
use super::options::{BackupArgs, JobsArgs, OutputArgs, ProgressArgs, ScopeArgs, TablePatternArgs};
use super::output::{Shown, print};
use super::progress::Progress;
use super::session::{self, Session};
use super::{prune, table, words};
use cassmount::reader::{Published, Reader, ReaderOptions};
use cassmount::store::{ObjectMeta, Publisher};
use cassmount::{Error, Kind, Result};
use futures::stream::{self, StreamExt};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

/// How often progress is looked at.
const TICK: Duration = Duration::from_millis(250);

/// A pass may take as long as it takes: nobody's read waits for it.
const PATIENCE: Duration = Duration::from_hours(30 * 24);

/// Reads each archive once, and keeps where inflating it can start: from then on any file in it is
/// read without reading the archive. A mount does this when it first needs an archive; `index` does
/// it before. The indexes take some 0.3 % of the data, below the cache directory.
#[derive(clap::Args, Debug)]
pub(super) struct IndexArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    only: TablePatternArgs,
    /// Put the indexes beside the backups as well, encrypted with a key that follows from the
    /// archive's passphrase, under .cassmount/: every later mount, wherever it is, finds them
    /// there. Needs write access; nothing else in the source is written
    #[arg(long)]
    publish: bool,
    /// Remove published indexes whose archives are gone, and do nothing else. Looks at the ends of
    /// every archive of the source; needs the right to delete below .cassmount/, where nothing but
    /// cassmount writes
    #[arg(long, conflicts_with_all = ["publish", "host", "point", "patterns"])]
    prune: bool,
    /// With --prune: say what would be removed, and remove nothing
    #[arg(long, requires = "prune", conflicts_with_all = ["publish", "host", "point", "patterns"])]
    dry_run: bool,
    #[command(flatten)]
    jobs: JobsArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    progress: ProgressArgs,
    #[command(flatten)]
    backups: BackupArgs,
}

pub(super) fn run(args: &IndexArgs) -> Result<()> {
    let Some(settings) = session::begin(args.scope.source_place.as_deref(), &args.backups)? else { return Ok(()) };
    if args.prune {
        let work = async {
            let session = Session::open(settings).await?;
            prune::prune(&session, args.jobs.or_cores(), args.dry_run).await
        };
        let pruned = session::block_on(unless_interrupted(work, "run it again to go on"))?;
        return print(args.output, &pruned);
    }
    let outcome = session::block_on(async {
        let session = Session::open(settings).await?;
        let keys = session.keys()?;
        let (archives, plain) = archives(&session, args).await?;
        let open = || Publisher::open(&session.settings.source()?, &session.settings.store);
        let publisher = if args.publish { Some(open()?) } else { None };
        let jobs = args.jobs.or_cores();
        let options =
            ReaderOptions { wait_limit: PATIENCE, max_passes: jobs, land_files: false, ..ReaderOptions::default() };
        let reader = session.reader(keys, session.cache()?, options)?;
        reader.check_keys(archives.iter().rev().step_by(archives.len() / 12 + 1).cloned()).await?;
        let source = session.store.name().to_owned();
        let work = index(source, &archives, &reader, publisher.as_ref(), jobs, args);
        let outcome = unless_interrupted(work, "what is indexed stays; run it again to go on").await?;
        Ok(Outcome { plain, ..outcome })
    })?;
    print(args.output, &outcome)?;
    match outcome.failed.first() {
        None => Ok(()),
        Some(first) => {
            let count = outcome.failed.len();
            let locked = outcome.failed.iter().filter(|failed| failed.kind == Kind::NoKey).count();
            let kind = if locked == outcome.archives { Kind::NoKey } else { Kind::Io };
            Err(Error::new(
                kind,
                format!("{} could not be indexed, the first of them {}", words::count(count, "archive"), first.object),
            ))
        }
    }
}

/// The archives that are meant, each once, by key; and how many tables of sets have plain files
/// instead, which need no index.
async fn archives(session: &Session, args: &IndexArgs) -> Result<(Vec<Arc<ObjectMeta>>, usize)> {
    let catalog = &session.catalog;
    let hosts = session.hosts(args.scope.host.as_deref()).await?;
    let only = &session.tables(&args.only, &hosts).await?;
    let mut found = BTreeMap::new();
    let mut plain = 0;
    for host in hosts {
        let sets = catalog.host_now(&host).await?;
        let chosen = match &args.scope.point {
            Some(point) => sets.find_point(point)?.sets().cloned().collect(),
            None => sets.sets.clone(),
        };
        for set in chosen {
            for archive in set.archives().filter(|archive| only.is_empty() || only.contains(&archive.table)) {
                if archive.object.is_bundle() {
                    plain += 1;
                } else {
                    found.insert(Arc::clone(&archive.object.key), archive.object);
                }
            }
        }
    }
    Ok((found.into_values().collect(), plain))
}

async fn index(
    source: String,
    archives: &[Arc<ObjectMeta>],
    reader: &Reader,
    publisher: Option<&Publisher>,
    jobs: usize,
    args: &IndexArgs,
) -> Result<Outcome> {
    let total = archives.iter().map(|object| object.size).sum();
    let progress = Progress::start("index", Some(total), args.progress);
    let work = stream::iter(archives).map(|object| async move {
        let done = match publisher {
            Some(publisher) => reader.publish_index(object, publisher).await,
            None => reader.index(object).await.map(|()| Published::NotNeeded),
        };
        (object, done)
    });
    let mut work = std::pin::pin!(work.buffer_unordered(jobs));
    let mut outcome = Outcome {
        source,
        archives: archives.len(),
        bytes: total,
        publishes: publisher.is_some(),
        ..Outcome::default()
    };
    let mut ticks = tokio::time::interval(TICK);
    // Of archives under way, what was fetched counts; of those that are done, their size.
    let (mut finished, mut shown) = (0, 0);
    loop {
        tokio::select! {
            next = work.next() => match next {
                None => break,
                Some((object, done)) => {
                    finished += object.size;
                    match done {
                        Ok(Published::Now) => outcome.published += 1,
                        Ok(Published::Before) => outcome.published_before += 1,
                        Ok(Published::NotNeeded) => {}
                        Err(error) => {
                            let (object, kind) = (Arc::clone(&object.key), error.kind());
                            outcome.failed.push(Failed { object, reason: error.to_string(), kind });
                        },
                    }
                }
            },
            _ = ticks.tick() => {}
        }
        let now = finished.max(reader.stats().bytes_fetched).min(total);
        progress.add(now - shown.min(now));
        shown = shown.max(now);
    }
    progress.finish();
    let stats = reader.stats();
    outcome.read = stats.passes;
    outcome.found = stats.published_used;
    Ok(outcome)
}

/// The JSON is documented in docs/json.md.
#[derive(Serialize, Default)]
struct Outcome {
    source: String,
    archives: usize,
    /// Tables of sets that have plain files.
    plain: usize,
    bytes: u64,
    read: u64,
    found: u64,
    published: u64,
    published_before: u64,
    failed: Vec<Failed>,
    /// Whether indexes were to be published.
    #[serde(skip)]
    publishes: bool,
}

#[derive(Serialize)]
struct Failed {
    object: Arc<str>,
    reason: String,
    #[serde(skip)]
    kind: Kind,
}

impl Failed {
    /// The object once, and why.
    fn line(&self) -> String {
        let Self { object, reason, .. } = self;
        if reason.starts_with(&**object) { reason.clone() } else { format!("{object}: {reason}") }
    }
}

impl Shown for Outcome {
    fn text(&self) -> String {
        let mut text = String::new();
        let Self { archives, read, found, published, .. } = self;
        let before = (*archives as u64).saturating_sub(read + found);
        let _ = writeln!(
            text,
            "{}, {}: {read} read now, the indexes of {found} found beside the backups, {before} known before",
            words::count(*archives, "archive"),
            table::bytes(self.bytes)
        );
        if self.plain > 0 {
            let _ = writeln!(text, "{} times a table's files lie there as they are, and need no index", self.plain);
        }
        if self.publishes {
            let nothing = if *published == 0 { "nothing to publish: " } else { "" };
            let _ =
                writeln!(text, "{nothing}indexes of {published} published, of {} there already", self.published_before);
        }
        let (locked, failed): (Vec<&Failed>, _) = self.failed.iter().partition(|failed| failed.kind == Kind::NoKey);
        if let Some(first) = locked.first() {
            let more = if locked.len() > 1 {
                format!("{}, as ", words::count(locked.len(), "archive"))
            } else {
                String::new()
            };
            let _ = writeln!(text, "failed: {more}{}", first.line());
        }
        for failed in failed {
            let _ = writeln!(text, "failed: {}", failed.line());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_that_is_missing_is_one_line() {
        let failed = |object: &str, kind| Failed { object: object.into(), reason: format!("{object}: why"), kind };
        let failed = vec![
            failed("a", Kind::NoKey),
            failed("b", Kind::Corrupt),
            failed("c", Kind::NoKey),
            failed("d", Kind::NoKey),
        ];
        let text = Outcome { archives: 5, failed, ..Outcome::default() }.text();
        assert!(text.ends_with("failed: 3 archives, as a: why\nfailed: b: why\n"), "{text}");
    }

    #[test]
    fn a_run_that_publishes_nothing_says_so() {
        let text = |publishes, published, published_before| {
            Outcome { archives: 3, publishes, published, published_before, ..Outcome::default() }.text()
        };
        assert!(text(true, 0, 3).contains("nothing to publish: indexes of 0 published, of 3 there already"));
        assert!(!text(true, 1, 2).contains("nothing") && !text(false, 0, 0).contains("publish"));
    }
}
