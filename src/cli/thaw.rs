//! `cassmount thaw`: asks the store for what lies in an archive (Glacier) and is needed.

use super::interrupt::unless_interrupted;
use super::options::{BackupArgs, OutputArgs, ScopeArgs, TablePatternArgs};
use super::output::{Shown, print};
use super::session::{self, Session};
use super::table;
use super::terminal::say;
use cassmount::store::{Bundles, ObjectMeta, ThawRequest, ThawTier, Thawer, Thawing};
use cassmount::{Error, Result};
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

/// Requests at a time.
const AT_A_TIME: usize = 8;
/// How long to wait before the store is asked again; longer each time, up to the last.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// Asks S3 for readable copies of the archived objects (Glacier, Deep Archive) that a restore
/// point, a host or the whole source needs. May be stopped and run again: what was asked for is not
/// asked twice. Writes nothing; needs the right s3:RestoreObject.
#[derive(clap::Args, Debug)]
pub(super) struct ThawArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    only: TablePatternArgs,
    /// How soon, and for how much: minutes (not from Deep Archive), hours, or up to two days
    #[arg(long, value_enum, default_value_t, value_name = "TIER")]
    tier: Tier,
    /// For how many days the copies stay
    #[arg(long, default_value_t = 7, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=365))]
    days: u32,
    /// Wait until all of it can be read
    #[arg(short, long)]
    wait: bool,
    /// Say how much is archived, and ask for nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    backups: BackupArgs,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, Default)]
enum Tier {
    Expedited,
    #[default]
    Standard,
    Bulk,
}

impl From<Tier> for ThawTier {
    fn from(tier: Tier) -> Self {
        match tier {
            Tier::Expedited => Self::Expedited,
            Tier::Standard => Self::Standard,
            Tier::Bulk => Self::Bulk,
        }
    }
}

pub(super) fn run(args: &ThawArgs) -> Result<()> {
    let Some(settings) = session::begin(args.scope.source_place.as_deref(), &args.backups)? else { return Ok(()) };
    let outcome = session::block_on(async {
        let session = Session::open(settings).await?;
        let thawer = Thawer::open(&session.settings.source()?, &session.settings.store)?;
        let cold = cold(&session, args).await?;
        let bytes = cold.iter().map(|object| object.size).sum();
        let source = session.store.name().to_owned();
        let outcome = Outcome { source, objects: cold.len(), bytes, dry_run: args.dry_run, ..Outcome::default() };
        if args.dry_run {
            return Ok(outcome);
        }
        unless_interrupted(thaw(&thawer, cold, args, outcome), "what was asked for goes on; run it again to go on")
            .await
    })?;
    print(args.output, &outcome)
}

/// The archived objects of what is meant, each once, by key.
async fn cold(session: &Session, args: &ThawArgs) -> Result<Vec<Arc<ObjectMeta>>> {
    let catalog = &session.catalog;
    let hosts = session.hosts(args.scope.host.as_deref()).await?;
    let only = &session.tables(&args.only, &hosts).await?;
    let mut found = BTreeMap::new();
    let mut add = |object: Arc<ObjectMeta>| {
        if object.archived {
            found.insert(Arc::clone(&object.key), object);
        }
    };
    for host in hosts {
        let sets = catalog.host_now(&host).await?;
        let chosen = match &args.scope.point {
            Some(point) => sets.find_point(point)?.sets().cloned().collect(),
            None => sets.sets.clone(),
        };
        for set in chosen {
            // Without its manifest and its schema nothing of a set can be shown.
            for file in &set.files {
                add(Arc::clone(&file.object));
            }
            for archive in set.archives().filter(|archive| only.is_empty() || only.contains(&archive.table)) {
                if archive.object.is_bundle() && archive.object.archived {
                    for file in catalog.files(&archive.object).await? {
                        add(Arc::new(file.object));
                    }
                } else {
                    add(archive.object);
                }
            }
        }
    }
    Ok(found.into_values().collect())
}

/// Asks for all objects; with --wait again and again for those that cannot be read yet.
async fn thaw(
    thawer: &Thawer,
    mut cold: Vec<Arc<ObjectMeta>>,
    args: &ThawArgs,
    mut outcome: Outcome,
) -> Result<Outcome> {
    let request = ThawRequest { tier: args.tier.into(), days: args.days };
    let mut pause = FIRST_PAUSE;
    let mut is_first = true;
    loop {
        let asked = stream::iter(cold).map(|object| async {
            let said = thawer.ask(&object, &request).await?;
            Ok::<_, Error>((object, said))
        });
        let answers: Vec<(Arc<ObjectMeta>, Thawing)> = asked.buffer_unordered(AT_A_TIME).try_collect().await?;
        cold = Vec::new();
        let mut waiting = 0;
        for (object, said) in answers {
            match said {
                Thawing::Readable => outcome.readable += 1,
                Thawing::Asked | Thawing::UnderWay => {
                    outcome.asked += usize::from(is_first && said == Thawing::Asked);
                    waiting += object.size;
                    cold.push(object);
                }
            }
        }
        outcome.waiting = cold.len();
        if cold.is_empty() || !args.wait {
            return Ok(outcome);
        }
        let (objects, bytes) = (cold.len(), table::bytes(waiting));
        say!("cassmount: objects still being thawed: {objects}, {bytes}; asked again in {} s …", pause.as_secs());
        tokio::time::sleep(pause).await;
        (pause, is_first) = ((pause * 2).min(LONGEST_PAUSE), false);
    }
}

/// The JSON is documented in docs/json.md.
#[derive(Serialize, Default)]
struct Outcome {
    source: String,
    /// Archived objects, and their bytes.
    objects: usize,
    bytes: u64,
    /// Asked for now, for the first time.
    asked: usize,
    readable: usize,
    /// Not to be read yet.
    waiting: usize,
    dry_run: bool,
}

impl Shown for Outcome {
    fn text(&self) -> String {
        let Self { objects, asked, readable, waiting, .. } = self;
        if *objects == 0 {
            return "nothing of it is archived\n".to_owned();
        }
        let mut text = String::new();
        let _ = writeln!(text, "archived objects: {objects}, {}", table::bytes(self.bytes));
        if !self.dry_run {
            let before = waiting.saturating_sub(*asked);
            let _ = writeln!(text, "{asked} asked for now, {before} under way before, {readable} can be read");
        }
        text
    }
}
