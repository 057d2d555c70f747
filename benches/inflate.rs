//! The deflate decoder and zlib-rs, on what backups consist of (LZ4-compressed chunks of an
//! SSTable) and on text (this project's sources), both packed by gzip. Times are CPU times, so that
//! other load does not matter much; bytes per second are plain ones. Arguments are Criterion's.

use cassmount::archive::inflate;
use testkit::archive::zlib;
use testkit::bench as support;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, SamplingMode, Throughput};
use inflate::{At, RawInflate, StopAt};
use std::fs;
use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use support::fixture;

/// What a pass gives and takes at once.
const INPUT: usize = 256 << 10;
const OUTPUT: usize = 512 << 10;

fn main() {
    let mut criterion = Criterion::default().with_measurement(CpuTime).configure_from_args();
    let mut text = Vec::new();
    for directory in ["src", "docs", "tests"] {
        append_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(directory), &mut text);
    }
    for (name, plain) in [("sstable", fixture::data_db(32 << 20)), ("text", text)] {
        let deflate = deflate(&plain);
        assert_eq!((ours(&deflate), zlib(&deflate)), (plain.len(), plain.len()));
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(plain.len() as u64));
        group.sampling_mode(SamplingMode::Flat).sample_size(20).measurement_time(Duration::from_secs(10));
        group.bench_function("ours", |bencher| bencher.iter(|| ours(black_box(&deflate))));
        group.bench_function("zlib-rs", |bencher| bencher.iter(|| zlib(black_box(&deflate))));
        group.finish();
    }
    criterion.final_summary();
}

fn ours(deflate: &[u8]) -> usize {
    let mut raw = RawInflate::new();
    let mut plain = Vec::with_capacity(OUTPUT);
    let (mut used, mut made) = (0, 0);
    loop {
        plain.clear();
        let input = &deflate[used..deflate.len().min(used + INPUT)];
        let progress = raw.inflate(input, &mut plain, OUTPUT, StopAt::End).expect("gzip makes deflate");
        used += progress.consumed;
        made += progress.produced;
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
        let times = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells");
        times.split(' ').next().and_then(|time| time.parse().ok()).expect("nanoseconds on the CPU come first")
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
