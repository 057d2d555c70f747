//! What the stages of a first pass cost: CPU seconds of one core for each plain GB of an archive in
//! memory, one stage after another over the same pieces. Nothing of it waits, so other load does not
//! matter much. Two kinds of rows: of ids, which deflate leaves as literals, and of words.
//!
//! A pass has a thread for each of: decrypt; inflate; hash, where there are cores to spare, else with
//! the last; and the last one, which splits the tar and writes. Options: `--mebibytes N` (64),
//! `--repetitions N` (5).

use testkit::bench as support;

use cassmount::archive::Member;
use cassmount::archive::compression::{Compression, Decoder, Segment, Spacing};
use cassmount::archive::envelope::CipherKey;
use cassmount::archive::index::{IndexBuilder, SpanHasher};
use cassmount::archive::tar::{MemberSink, TarReader};
use cassmount::{Error, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek, Write};
use std::time::Duration;
use support::{Report, fixture, median, option};
use testkit::archive::{gzip, identity, key, seal, tar};

/// What a pass decrypts at a time.
const CHUNK: usize = 256 << 10;

/// Seconds.
type Times = BTreeMap<&'static str, f64>;

fn main() {
    let number = |name: &str, default: usize| option(name).map_or(default, |n| n.parse().expect("a number"));
    let (mebibytes, repetitions) = (number("mebibytes", 64), number("repetitions", 5));
    let mut report = Report::new("CPU for each plain GB of a first pass");
    for (kind, data) in [("ids", fixture::data_db(mebibytes << 20)), ("words", fixture::words_db(mebibytes << 20))] {
        let plain = tar(&[("./nb-1-big-Data.db", &data)]);
        let sealed = seal(&gzip("-6", &plain), "k");
        let key = key(&sealed, "k").expect("it is sealed so");
        let runs: Vec<Times> = (0..repetitions).map(|_| pass(&sealed, &key)).collect();
        for &stage in runs[0].keys() {
            let per_gb = |times: &Times| Duration::from_secs_f64(times[stage] * 1e9 / plain.len() as f64);
            report.seconds(&format!("{kind}: {stage}"), median(runs.iter().map(per_gb).collect()));
        }
    }
    report.print();
}

/// How long each stage took of one pass.
fn pass(sealed: &[u8], key: &CipherKey) -> Times {
    let spacing = Spacing::for_object(sealed.len() as u64);
    let identity = identity(sealed);
    let mut decoder = Decoder::new(Compression::Gzip, spacing);
    let mut hasher = SpanHasher::default();
    let mut last = Last {
        tar: TarReader::new(),
        builder: IndexBuilder::new(identity, spacing).expect("a new index").after_hasher(),
        sink: Sink {
            hasher: blake3::Hasher::new(),
            file: tempfile::tempfile_in(support::data_dir()).expect("a file"),
            times: Times::new(),
        },
    };
    let mut times = Times::new();
    let mut opened = sealed[16..].to_vec();
    let mut decryptor = key.decryptor();
    let mut segments = Vec::new();
    for chunk in opened.chunks_mut(CHUNK) {
        measure(&mut times, "1 decrypt", || decryptor.decrypt(chunk));
    }
    let padding = usize::from(opened.last().copied().expect("it is padded"));
    opened.truncate(opened.len() - padding);
    for chunk in opened.chunks(CHUNK) {
        measure(&mut times, "2 inflate, with CRC-32", || {
            decoder.push(chunk, &mut |segment| {
                segments.push(segment);
                Ok(())
            })
        })
        .expect("gzip made it");
        for segment in segments.drain(..) {
            let segment = measure(&mut times, "3 hash spans, pack windows", || hasher.segment(segment));
            last.take(segment, &mut times).expect("a tar");
        }
    }
    for (stage, time) in last.sink.times {
        *times.entry("4 split the tar, with CRC-32").or_default() -= time;
        times.insert(stage, time);
    }
    times
}

struct Last {
    tar: TarReader,
    builder: IndexBuilder,
    sink: Sink,
}

impl Last {
    fn take(&mut self, segment: Segment, times: &mut Times) -> Result<()> {
        measure(times, "4 split the tar, with CRC-32", || self.tar.push(&segment.plain, &mut self.sink))?;
        measure(times, "7 make the index", || self.builder.segment(segment, &self.tar).map(drop))
    }
}

/// What a landing does with a file's bytes.
struct Sink {
    hasher: blake3::Hasher,
    file: File,
    times: Times,
}

impl MemberSink for Sink {
    fn begin(&mut self, _: &Member) -> Result<()> {
        self.file.rewind().map_err(|error| Error::io("go back to the start", error))
    }

    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        measure(&mut self.times, "5 hash the file", || self.hasher.update(bytes));
        let written = measure(&mut self.times, "6 write the file", || self.file.write_all(bytes));
        written.map_err(|error| Error::io("write", error))
    }

    fn end(&mut self, _: &Member) -> Result<()> {
        Ok(())
    }
}

fn measure<T>(times: &mut Times, stage: &'static str, work: impl FnOnce() -> T) -> T {
    let start = support::cpu_time().as_secs_f64();
    let result = work();
    *times.entry(stage).or_default() += support::cpu_time().as_secs_f64() - start;
    result
}
