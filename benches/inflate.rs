//! The deflate decoder and zlib-rs, on what backups consist of (LZ4-compressed chunks of an
//! SSTable) and on text (this project's sources), both packed by gzip. Times are CPU times, so that
//! other load does not matter much; bytes per second are plain ones. Arguments are Criterion's.
//!
//! Then what guessing ahead costs, and how long more cores would take by that: computed, for no
//! more cores are needed to measure it.

use cassmount::archive::inflate;
use cassmount::archive::inflate::guess::{Guess, Guesser, Known, Part};
use testkit::archive::zlib;
use testkit::bench as support;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, SamplingMode, Throughput};
use inflate::{At, RawInflate, StopAt};
use std::fs;
use std::hint::black_box;
use std::io::Write as _;
use std::mem;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use support::{Report, fixture, median};

/// What a pass gives and takes at once.
const INPUT: usize = 256 << 10;
const OUTPUT: usize = 512 << 10;

fn main() {
    let mut criterion = Criterion::default().with_measurement(CpuTime).configure_from_args();
    let mut text = Vec::new();
    for directory in ["src", "docs", "tests"] {
        append_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(directory), &mut text);
    }
    let kinds = [("sstable", fixture::data_db(32 << 20)), ("words", fixture::words_db(32 << 20)), ("text", text)];
    let mut costs = Vec::new();
    for (name, plain) in kinds {
        let deflate = deflate(&plain);
        assert_eq!((ours(&deflate), zlib(&deflate)), (plain.len(), plain.len()));
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(plain.len() as u64));
        group.sampling_mode(SamplingMode::Flat).sample_size(20).measurement_time(Duration::from_secs(10));
        group.bench_function("ours", |bencher| bencher.iter(|| ours(black_box(&deflate))));
        group.bench_function("zlib-rs", |bencher| bencher.iter(|| zlib(black_box(&deflate))));
        group.finish();
        costs.push((name, Cost::of(&deflate, plain.len())));
    }
    criterion.final_summary();
    let mut report = Report::new("guessing ahead");
    for (name, cost) in costs {
        let row = |what: &str| format!("{name}: {what}");
        report.seconds(&row("one thread, per plain GB"), cost.alone);
        report.seconds(&row("guesses"), cost.guess);
        report.seconds(&row("bytes in place of marks, and CRC-32"), cost.hand_out);
        report.ratio(
            &row("CPU of all pieces against one thread"),
            (cost.guess + cost.hand_out).div_duration_f64(cost.alone),
        );
        for cores in [4, 8, 16] {
            report.ratio(&row(&format!("computed for {cores} cores: speed against one")), cost.gain(cores));
        }
    }
    report.print();
}

/// CPU time for each plain GB.
struct Cost {
    /// Inflated by one thread, with CRC-32.
    alone: Duration,
    guess: Duration,
    hand_out: Duration,
}

impl Cost {
    /// Plain bytes in a piece: as a pass has them.
    const PIECE: usize = 2 << 20;
    const REPETITIONS: usize = 7;

    fn of(deflate: &[u8], plain_len: usize) -> Self {
        let piece_len = (Self::PIECE as u128 * deflate.len() as u128 / plain_len as u128) as usize;
        let pieces: Vec<&[u8]> = deflate.chunks(piece_len).collect();
        let mut guesses: Vec<Guess> = (1..pieces.len()).map(|_| Guess::default()).collect();
        let mut guesser = Guesser::default();
        let mut known = Known::default();
        let (mut alone, mut guess, mut hand_out) = (Vec::new(), Vec::new(), Vec::new());
        let mut out = Vec::with_capacity(OUTPUT);
        for _ in 0..Self::REPETITIONS {
            let start = CpuTime.start();
            let made = pass_over(deflate);
            alone.push(per_gb(CpuTime.end(start), made));

            let start = CpuTime.start();
            for (at, guess) in guesses.iter_mut().enumerate().take(pieces.len() - 2) {
                let offset = ((at + 1) * piece_len * 8) as u64;
                let part = Part { bytes: pieces[at + 1], following: pieces[at + 2], offset, most: 2 * Self::PIECE };
                *guess = guesser.guess(&part, mem::take(guess), &|| true).expect("gzip makes blocks");
            }
            let made = guesses.iter().map(Guess::len).sum();
            guess.push(per_gb(CpuTime.end(start), made));

            assert!(known.set(&vec![b'x'; inflate::WINDOW_LEN]));
            let start = CpuTime.start();
            for guess in &guesses {
                for from in (0..guess.len()).step_by(OUTPUT) {
                    out.clear();
                    guess.copy(from..guess.len().min(from + OUTPUT), &known, &mut out);
                    black_box(crc32fast::hash(&out));
                }
            }
            hand_out.push(per_gb(CpuTime.end(start), made));
        }
        Self { alone: median(alone), guess: median(guess), hand_out: median(hand_out) }
    }

    /// How many times as fast so many cores are, if nothing else holds them up: all but one guess,
    /// and that one hands out, and inflates what nobody has guessed by then.
    fn gain(&self, cores: u32) -> f64 {
        let [alone, guess, hand_out] = [self.alone, self.guess, self.hand_out].map(|time| time.as_secs_f64());
        let guess = guess / f64::from(cores - 1);
        let share = (alone / (guess + alone - hand_out)).min(1.0);
        alone / (share * hand_out + (1.0 - share) * alone)
    }
}

fn per_gb(nanoseconds: u64, plain: usize) -> Duration {
    Duration::from_nanos((u128::from(nanoseconds) * 1_000_000_000 / plain as u128) as u64)
}

/// Inflates as one thread does, with CRC-32.
fn pass_over(deflate: &[u8]) -> usize {
    let mut crc = crc32fast::Hasher::new();
    let made = inflate(deflate, |plain| crc.update(plain));
    black_box(crc.finalize());
    made
}

fn ours(deflate: &[u8]) -> usize {
    inflate(deflate, |_| {})
}

fn inflate(deflate: &[u8], mut each: impl FnMut(&[u8])) -> usize {
    let mut raw = RawInflate::new();
    let mut plain = Vec::with_capacity(OUTPUT);
    let (mut used, mut made) = (0, 0);
    loop {
        plain.clear();
        let input = &deflate[used..deflate.len().min(used + INPUT)];
        let progress = raw.inflate(input, &mut plain, OUTPUT, StopAt::End).expect("gzip makes deflate");
        used += progress.consumed;
        made += progress.produced;
        each(&plain);
        if progress.at == At::End {
            return made;
        }
    }
}

fn zlib(deflate: &[u8]) -> usize {
    let mut inflater = zlib::Inflater::new();
    let mut plain = vec![0; OUTPUT];
    let (mut used, mut made) = (0, 0);
    loop {
        let input = &deflate[used..deflate.len().min(used + INPUT)];
        let (code, consumed, produced) = inflater.inflate(input, &mut plain, libz_rs_sys::Z_NO_FLUSH);
        used += consumed;
        made += produced;
        if code == libz_rs_sys::Z_STREAM_END {
            return made;
        }
        assert_eq!(code, libz_rs_sys::Z_OK, "gzip makes deflate");
    }
}

/// How long this thread ran.
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = u64;
    type Value = u64;

    fn start(&self) -> u64 {
        support::cpu_time().as_nanos() as u64
    }

    fn end(&self, start: u64) -> u64 {
        self.start() - start
    }

    fn add(&self, one: &u64, other: &u64) -> u64 {
        one + other
    }

    fn zero(&self) -> u64 {
        0
    }

    fn to_f64(&self, nanoseconds: &u64) -> f64 {
        *nanoseconds as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

fn append_files(directory: &Path, all: &mut Vec<u8>) {
    let mut paths: Vec<_> =
        fs::read_dir(directory).expect("list the sources").map(|e| e.expect("an entry").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            append_files(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "md") {
            all.extend(fs::read(path).expect("read a source"));
        }
    }
}

/// The deflate data that gzip makes of it.
fn deflate(plain: &[u8]) -> Vec<u8> {
    let mut gzip =
        Command::new("gzip").arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("run gzip");
    let mut stdin = gzip.stdin.take().expect("a pipe");
    let out = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(plain).expect("write to gzip"));
        gzip.wait_with_output().expect("run gzip").stdout
    });
    // Its header has no optional fields, as it reads a pipe; its trailer is a CRC-32 and a length.
    out[10..out.len() - 8].to_vec()
}
