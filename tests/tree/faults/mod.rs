//! Random faults of a store under random operations, against a model in memory: whoever reads gets
//! the right byte, or an error of a kind that the fault explains, and waits for neither for ever. A
//! name that is not shown is told to be missing.
//!
//! `scripts/test` makes the same few cases each time; `scripts/fuzz faults MINUTES` makes others.

mod store;
mod world;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use store::{OF_LISTINGS, OF_OBJECTS};
use tokio::runtime::Runtime;
use world::World;

/// How long the store may be silent: time for a second attempt. What a machine that does much else
/// explains has to come out right with a longer one.
const DEADLINES: [Duration; 3] = [Duration::from_millis(150), Duration::from_millis(1500), Duration::from_secs(15)];
/// No operation takes longer: this, and so many deadlines.
const PATIENCE: Duration = Duration::from_secs(30);
const WAITS: u32 = 20;
/// Runs in the suite.
const CASES: u32 = 10;
/// Rounds of so many cases at most, where no time is asked for.
const ROUNDS: u8 = 4;

/// What nothing that was ordered explains.
#[derive(Debug)]
enum Finding {
    /// An answer that came too late on a busy machine explains it.
    Late(String),
    /// Nothing does.
    Wrong(String),
}

impl Finding {
    /// Says what was done.
    fn at(self, what: &str) -> Self {
        match self {
            Self::Late(why) => Self::Late(format!("{what}: {why}")),
            Self::Wrong(why) => Self::Wrong(format!("{what}: {why}")),
        }
    }
}

#[derive(Clone, Debug)]
enum Operation {
    /// Reads a part of a file, which the number chooses.
    Read {
        file: usize,
        at: u16,
        len: u16,
    },
    ReadWhole {
        file: usize,
    },
    List {
        directory: usize,
    },
    Break {
        object: usize,
        trouble: usize,
        times: usize,
        at: u8,
    },
    BreakListings {
        trouble: usize,
        times: usize,
    },
    Heal,
    /// The cache loses everything.
    Evict,
    /// A new process.
    Restart,
    Refresh,
    Replace {
        set: usize,
        table: usize,
    },
}

fn operation() -> impl Strategy<Value = Operation> {
    let times = || prop_oneof![Just(0_usize), Just(1), Just(3)];
    prop_oneof![
        4 => (any::<usize>(), any::<u16>(), any::<u16>()).prop_map(|(file, at, len)| Operation::Read { file, at, len }),
        2 => any::<usize>().prop_map(|file| Operation::ReadWhole { file }),
        2 => any::<usize>().prop_map(|directory| Operation::List { directory }),
        4 => (0..6_usize, 0..OF_OBJECTS.len(), times(), any::<u8>())
            .prop_map(|(object, trouble, times, at)| Operation::Break { object, trouble, times, at }),
        1 => (0..OF_LISTINGS.len(), times()).prop_map(|(trouble, times)| Operation::BreakListings { trouble, times }),
        1 => Just(Operation::Heal),
        1 => Just(Operation::Evict),
        1 => Just(Operation::Restart),
        1 => Just(Operation::Refresh),
        1 => (0..2_usize, 0..2_usize).prop_map(|(set, table)| Operation::Replace { set, table }),
    ]
}

/// How many reads were right, and how many errors there were.
async fn run_within(operations: &[Operation], cache: &Path, deadline: Duration) -> Result<(u64, u64), Finding> {
    let mut world = World::new(cache, deadline);
    for (step, operation) in operations.iter().enumerate() {
        let what = || format!("step {step}, {operation:?}");
        match tokio::time::timeout(PATIENCE + deadline * WAITS, world.act(operation)).await {
            Err(_) => return Err(Finding::Late(format!("{}: it does not end", what()))),
            Ok(done) => done.map_err(|finding| finding.at(&what()))?,
        }
    }
    let seen = (world.right.load(Ordering::Relaxed), world.errors.load(Ordering::Relaxed));
    world.recover().await.map_err(|finding| finding.at("after all of it"))?;
    Ok(seen)
}

/// The same; what came too late is tried again with a longer deadline.
async fn run(operations: &[Operation], cache: &Path) -> Result<(u64, u64), String> {
    let mut late = String::new();
    for deadline in DEADLINES {
        match run_within(operations, cache, deadline).await {
            Ok(seen) => return Ok(seen),
            Err(Finding::Wrong(why)) => return Err(why),
            Err(Finding::Late(why)) => {
                println!("faults: again, because within {deadline:?}, at {why}");
                late = why;
            }
        }
    }
    Err(late)
}

/// Of the cases of a round: in the suite the same ones each time.
fn runner(round: u8, is_long: bool) -> TestRunner {
    let config = Config { cases: CASES, failure_persistence: None, max_shrink_iters: 100, ..Config::default() };
    if is_long {
        return TestRunner::new(config);
    }
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[round; 32]))
}

#[test]
fn whatever_a_store_does_a_reader_gets_the_right_byte_or_the_right_error() {
    let runtime = Runtime::new().unwrap();
    let cache = tempfile::tempdir().unwrap();
    // A model that explains everything would show nothing.
    runtime.block_on(run(&[], cache.path())).unwrap();
    let seconds = std::env::var("CASSMOUNT_FUZZ_SECONDS").ok().map(|text| text.parse().expect("seconds"));
    let ends = Instant::now() + Duration::from_secs(seconds.unwrap_or(0));
    let operations = prop::collection::vec(operation(), 1..30);
    let (right, errors) = (AtomicU64::new(0), AtomicU64::new(0));
    // Chance leaves little of some rounds: then one more is made.
    let is_enough = || right.load(Ordering::Relaxed) > 10 && errors.load(Ordering::Relaxed) > 10;
    for round in (1_u8..=u8::MAX).cycle() {
        // A runner that has made its cases makes no more.
        let outcome = runner(round, seconds.is_some()).run(&operations, |operations| {
            let seen = runtime.block_on(run(&operations, cache.path())).map_err(TestCaseError::fail)?;
            right.fetch_add(seen.0, Ordering::Relaxed);
            errors.fetch_add(seen.1, Ordering::Relaxed);
            Ok(())
        });
        match outcome {
            Ok(()) if Instant::now() >= ends && (is_enough() || round >= ROUNDS) => break,
            Ok(()) => {}
            Err(TestError::Fail(reason, operations)) => panic!("{reason}: {operations:#?}"),
            Err(TestError::Abort(reason)) => panic!("{reason}"),
        }
    }
    let (right, errors) = (right.into_inner(), errors.into_inner());
    println!("faults: {right} reads with the right bytes, {errors} errors, each explained; no finding");
    assert!(right > 0 && errors > 0, "{right} right, {errors} errors: that shows nothing");
}

/// What was found once.
#[test]
fn what_a_store_says_of_a_span_is_not_taken_for_a_full_disk() {
    let unsupported = OF_OBJECTS.iter().position(|trouble| format!("{trouble:?}").contains("Unsupported")).unwrap();
    let operations = [
        Operation::Read { file: 4_693_983_631_277_794_989, at: 6911, len: 42115 },
        Operation::Break { object: 1, trouble: unsupported, times: 3, at: 92 },
        Operation::ReadWhole { file: 10_657_123_618_903_733_110 },
    ];
    let cache = tempfile::tempdir().unwrap();
    let (right, errors) = Runtime::new().unwrap().block_on(run(&operations, cache.path())).unwrap();
    assert!(right > 0 && errors > 0, "{right} right, {errors} errors");
}
