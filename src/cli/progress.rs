//! Progress of long work on standard error: a bar on a terminal, a line now and then elsewhere,
//! nothing with `--quiet`.
//!
//! No colours, so there is nothing for NO_COLOR to turn off. What is logged meanwhile comes above
//! the bar: see [`log_writer`].

use super::options::ProgressArgs;
use super::{table, terminal, words};
use cassmount::task::lock;
use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Time between two lines where there is no terminal: doubles from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_mins(2);
/// How often a bar moves although nothing arrives, so that it does not look dead.
const TICK: Duration = Duration::from_millis(250);

/// The bar on the terminal, if there is one: whoever else writes there has to get it out of the way
/// first.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// One piece of long work. Clones show the same one.
#[derive(Clone)]
pub(super) struct Progress(Arc<Work>);

struct Work {
    what: String,
    started: Instant,
    done: AtomicU64,
    /// [`UNKNOWN`] when nobody can tell.
    total: AtomicU64,
    shown: Display,
}

const UNKNOWN: u64 = u64::MAX;

enum Display {
    Nothing,
    Bar(ProgressBar),
    Lines(Mutex<Lines>),
}

struct Lines {
    next: Instant,
    pause: Duration,
}

impl Progress {
    /// Work called `what` ("verify") begins, on `total` bytes if that is known.
    pub(super) fn start(what: &str, total: Option<u64>, args: ProgressArgs) -> Self {
        let started = Instant::now();
        let shown = if args.quiet {
            Display::Nothing
        } else if io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr()).with_prefix(what.to_owned());
            bar.set_style(style(total.is_some()));
            bar.enable_steady_tick(TICK);
            *bar_slot() = Some(bar.clone());
            Display::Bar(bar)
        } else {
            Display::Lines(Mutex::new(Lines { next: started + FIRST_PAUSE, pause: FIRST_PAUSE }))
        };
        let (done, total) = (AtomicU64::new(0), AtomicU64::new(total.unwrap_or(UNKNOWN)));
        Self(Arc::new(Work { what: what.to_owned(), started, done, total, shown }))
    }

    /// So many more bytes are done.
    pub(super) fn add(&self, bytes: u64) {
        let done = self.0.done.fetch_add(bytes, Relaxed) + bytes;
        match &self.0.shown {
            Display::Nothing => {}
            Display::Bar(bar) => bar.set_position(done),
            Display::Lines(lines) => {
                let now = Instant::now();
                let mut lines = lock(lines);
                if now >= lines.next {
                    lines.pause = (lines.pause * 2).min(LONGEST_PAUSE);
                    lines.next = now + lines.pause;
                    say(&self.0.line());
                }
            }
        }
    }

    /// A line for people that stays, above the bar. Not for what has to be seen: with `--quiet` it
    /// is not shown.
    pub(super) fn message(&self, text: &str) {
        if !matches!(self.0.shown, Display::Nothing) {
            above_bar(|| say(text));
        }
    }

    /// The work is over, or given up: the bar goes away. Where there are lines, the last one tells
    /// how much was done in which time.
    pub(super) fn finish(&self) {
        self.0.remove_bar();
        if matches!(self.0.shown, Display::Lines(_)) && self.0.done.load(Relaxed) > 0 {
            say(&self.0.last_line());
        }
    }
}

impl Work {
    fn line(&self) -> String {
        let total = Some(self.total.load(Relaxed)).filter(|total| *total != UNKNOWN);
        line(&self.what, self.done.load(Relaxed), total, self.started.elapsed())
    }

    fn last_line(&self) -> String {
        let (done, took) = (self.done.load(Relaxed), self.started.elapsed());
        format!(
            "{}: {} in {}, {}/s",
            self.what,
            table::bytes(done),
            HumanDuration(took),
            table::bytes(rate(done, took))
        )
    }

    fn remove_bar(&self) {
        if let Display::Bar(bar) = &self.shown {
            *bar_slot() = None;
            bar.finish_and_clear();
        }
    }
}

/// An error on the way must not leave half a bar on the terminal.
impl Drop for Work {
    fn drop(&mut self) {
        self.remove_bar();
    }
}

fn style(with_total: bool) -> ProgressStyle {
    let template = if with_total {
        "{prefix} {wide_bar} {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left"
    } else {
        "{prefix} {spinner} {decimal_bytes}, {decimal_bytes_per_sec}, {elapsed}"
    };
    ProgressStyle::with_template(template).expect("the template is valid").progress_chars("=> ")
}

/// `verify: 1.2 GB of 10 GB (12 %), 50 MB/s, 3 minutes left`
fn line(what: &str, done: u64, total: Option<u64>, took: Duration) -> String {
    let rate = rate(done, took);
    let mut line = format!("{what}: {}", table::bytes(done));
    if let Some(total) = total {
        let percent = if total == 0 { 100 } else { (u128::from(done) * 100 / u128::from(total)).min(100) };
        let _ = write!(line, " of {} ({percent} %)", table::bytes(total));
    }
    let _ = write!(line, ", {}/s", table::bytes(rate));
    if let Some(total) = total
        && rate > 0
        && total > done
    {
        let _ = write!(line, ", {} left", HumanDuration(Duration::from_secs((total - done) / rate)));
    }
    line
}

/// Bytes per second.
fn rate(done: u64, took: Duration) -> u64 {
    (done as f64 / took.as_secs_f64().max(0.001)) as u64
}

/// Whoever closed standard error does not want to know.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

fn bar_slot() -> MutexGuard<'static, Option<ProgressBar>> {
    lock(&BAR)
}

/// Writes to the terminal with the bar out of the way.
fn above_bar<T>(write: impl FnOnce() -> T) -> T {
    // Not under the lock: what is written may take its time.
    let bar = bar_slot().clone();
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Standard error for log messages: they come above the bar, if there is one, and are broken
/// between words where a person reads them.
pub(super) fn log_writer() -> impl Write {
    LogWriter
}

struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A message comes whole. One in JSON stays a line.
        let width = terminal::error_width().filter(|_| !bytes.starts_with(b"{"));
        let shown = width.map(|width| words::fitted(&String::from_utf8_lossy(bytes), width));
        let shown = shown.as_ref().map_or(bytes, String::as_bytes);
        above_bar(|| io::stderr().write_all(shown)).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_how_far_how_fast_and_how_long() {
        let seconds = Duration::from_secs;
        for (done, total, took, text) in [
            (0, Some(10_000_000), seconds(5), "verify: 0 B of 10 MB (0 %), 0 B/s"),
            (2_500_000, Some(10_000_000), seconds(5), "verify: 2.5 MB of 10 MB (25 %), 500 kB/s, 15 seconds left"),
            (10_000_000, Some(10_000_000), seconds(10), "verify: 10 MB of 10 MB (100 %), 1.0 MB/s"),
            (11_000_000, Some(10_000_000), seconds(11), "verify: 11 MB of 10 MB (100 %), 1.0 MB/s"),
            (0, Some(0), seconds(0), "verify: 0 B of 0 B (100 %), 0 B/s"),
            (3_000, None, seconds(3), "verify: 3.0 kB, 1.0 kB/s"),
        ] {
            assert_eq!(line("verify", done, total, took), text);
        }
    }

    #[test]
    fn the_templates_of_both_bars_are_valid() {
        for with_total in [true, false] {
            let bar = ProgressBar::with_draw_target(Some(10), ProgressDrawTarget::hidden());
            bar.set_style(style(with_total));
            bar.set_position(5);
            assert_eq!(bar.position(), 5);
        }
    }
}
