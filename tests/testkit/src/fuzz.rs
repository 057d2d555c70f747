//! Fuzzing on stable Rust: seeds, changed at random, are given to a target that must take any bytes
//! without a panic.
//!
//! A run in the suite takes a moment. `scripts/fuzz` sets `CASSMOUNT_FUZZ_SECONDS` to go on for so
//! many seconds of CPU time: on a busy machine, time that passes says nothing of the inputs tried.
//! What fails is made as small as proptest can, and kept in `tests/data/corpus/TARGET/`, whose files
//! every later run tries first.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};
use std::cell::Cell;
use std::path::PathBuf;
use std::time::Duration;

/// How many inputs a run in the suite makes.
const CASES: u32 = 300;
/// How many a long run makes between looks at the clock.
const BATCH: u32 = 2_000;
/// How often a long run says how far it came, CPU time: somebody may break it off.
const SAY_AGAIN: Duration = Duration::from_mins(1);
/// No change makes an input longer than this, bytes.
const LONGEST: usize = 256 << 10;

/// A change of an input. Places are parts of 65,536 of its length, so that they fit any input.
#[derive(Clone, Debug)]
enum Edit {
    Flip(u16, u8),
    Set(u16, u8),
    /// A number as formats have them: at the edges of what fits.
    Number(u16, u64, u8),
    Cut(u16),
    Remove(u16, u16),
    Insert(u16, Vec<u8>),
    /// A part again, elsewhere.
    Copy(u16, u16, u16),
}

fn edit() -> impl Strategy<Value = Edit> {
    let number = prop_oneof![
        Just(0),
        Just(1),
        Just(0x7f),
        Just(0xff),
        Just(0xffff),
        Just(0x7fff_ffff),
        Just(u64::MAX),
        any::<u64>()
    ];
    prop_oneof![
        4 => (any::<u16>(), 1..=u8::MAX).prop_map(|(at, mask)| Edit::Flip(at, mask)),
        2 => (any::<u16>(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        2 => (any::<u16>(), number, 1..=8_u8).prop_map(|(at, number, len)| Edit::Number(at, number, len)),
        1 => any::<u16>().prop_map(Edit::Cut),
        1 => (any::<u16>(), any::<u16>()).prop_map(|(at, len)| Edit::Remove(at, len)),
        1 => (any::<u16>(), vec(any::<u8>(), 1..20)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        1 => (any::<u16>(), any::<u16>(), any::<u16>()).prop_map(|(from, len, to)| Edit::Copy(from, len, to)),
    ]
}

impl Edit {
    fn apply(&self, input: &mut Vec<u8>) {
        let len = input.len();
        let place = |at: u16| (usize::from(at) * len) >> 16;
        let end = |at: u16, part: u16| (place(at) + ((usize::from(part) * len) >> 16)).min(len);
        match self {
            Self::Flip(at, mask) if len > 0 => input[place(*at)] ^= mask,
            Self::Set(at, byte) if len > 0 => input[place(*at)] = *byte,
            Self::Number(at, number, size) => {
                let at = place(*at);
                let bytes = if number % 3 == 0 { number.to_be_bytes() } else { number.to_le_bytes() };
                for (to, byte) in input[at..].iter_mut().zip(bytes).take(usize::from(*size)) {
                    *to = byte;
                }
            }
            Self::Cut(at) => input.truncate(place(*at)),
            Self::Remove(at, part) => drop(input.drain(place(*at)..end(*at, *part))),
            Self::Insert(at, bytes) => drop(input.splice(place(*at)..place(*at), bytes.iter().copied())),
            Self::Copy(from, part, to) => {
                let piece = input[place(*from)..end(*from, *part)].to_vec();
                drop(input.splice(place(*to)..place(*to), piece));
            }
            Self::Flip(..) | Self::Set(..) => {}
        }
        input.truncate(LONGEST);
    }
}

/// Gives the target all seeds, what failed before, and changed ones of both.
///
/// # Panics
/// With the place of the smallest input for which the target panicked.
pub fn run(target: &str, mut seeds: Vec<Vec<u8>>, check: impl Fn(&[u8])) {
    let corpus = crate::project().join("tests/data/corpus").join(target);
    let mut kept: Vec<PathBuf> =
        std::fs::read_dir(&corpus).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    kept.sort();
    seeds.extend(kept.iter().map(|path| std::fs::read(path).unwrap()));
    seeds.push(Vec::new());
    for seed in &seeds {
        check(seed);
    }

    let seconds = std::env::var("CASSMOUNT_FUZZ_SECONDS").ok().map(|text| text.parse().expect("seconds"));
    let (began, whole) = (cpu_time(), Duration::from_secs(seconds.unwrap_or(0)));
    let mut said = Duration::ZERO;
    let cases = if seconds.is_some() { BATCH } else { CASES };
    let input = (0..seeds.len(), vec(edit(), 1..8)).prop_map(|(seed, edits)| {
        let mut input = seeds[seed].clone();
        for edit in edits {
            edit.apply(&mut input);
        }
        input
    });
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 4_000, ..Config::default() };
    let (mut count, tried) = (0_u64, Cell::new(0_u64));
    loop {
        // A runner that has made its cases makes no more.
        let outcome = TestRunner::new(config.clone()).run(&input, |input| {
            tried.set(tried.get() + 1);
            check(&input);
            Ok(())
        });
        match outcome {
            Ok(()) => {}
            Err(TestError::Fail(reason, input)) => {
                std::fs::create_dir_all(&corpus).unwrap();
                let path = corpus.join(format!("{:08x}", crc32fast::hash(&input)));
                std::fs::write(&path, &input).unwrap();
                panic!("{target}: {reason}; the input is kept in {}", path.display());
            }
            Err(TestError::Abort(reason)) => panic!("{target}: {reason}"),
        }
        count += u64::from(cases);
        assert!(tried.get() >= count, "{} inputs were tried of {count}", tried.get());
        let spent = cpu_time().saturating_sub(began);
        let is_over = spent >= whole;
        if seconds.is_some() && (is_over || spent.saturating_sub(said) >= SAY_AGAIN) {
            println!("{target}: {count} inputs in {} s of CPU time, no finding", spent.as_secs());
            said = spent;
        }
        if is_over {
            break;
        }
    }
}

/// What this thread has used.
fn cpu_time() -> Duration {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells");
    Duration::from_nanos(times.split(' ').next().and_then(|time| time.parse().ok()).expect("nanoseconds"))
}
