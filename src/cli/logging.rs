//! Where messages go: standard error in the foreground, a bounded log file in the background.

use super::options::{LogArgs, LogFileArgs, LogFormat};
use super::progress;
use cassmount::private::{self, Open};
use cassmount::{Error, Result};
use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// A log file is put aside as `….old` when it reaches this size, bytes: at most twice this is kept.
const MOST_BYTES: u64 = 16 << 20;

/// Messages of commands: warnings, to standard error.
pub(super) fn to_terminal(args: &LogArgs) {
    let level = format!("warn,{}=off", cassmount::keys::LOCKED);
    start(args, &level, progress::log_writer, colours(), false);
}

/// Messages of a mount that stays in the foreground. The journal notes the time by itself.
pub(super) fn to_stderr(args: &LogArgs) {
    start(args, "info", io::stderr, colours(), std::env::var_os("JOURNAL_STREAM").is_none());
}

/// Begins to write messages of at least `level`.
fn start<W>(args: &LogArgs, level: &str, writer: W, colours: bool, timed: bool)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let level = if args.debug { "debug" } else { level };
    // Our own messages at that level; those of libraries only when something is wrong.
    let filter = EnvFilter::new(format!("warn,cassmount={level}"));
    let messages = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_target(false);
    // A second initialisation can only come from a test; the first one stays.
    let _ = match args.log_format {
        LogFormat::Json => messages.json().flatten_event(true).with_span_list(false).try_init(),
        LogFormat::Text if timed => messages.with_ansi(colours).try_init(),
        LogFormat::Text => messages.with_ansi(colours).without_time().try_init(),
    };
}

/// Messages of a mount in the background; returns the log file's path.
pub(super) fn to_file(args: &LogArgs, file: &LogFileArgs, mountpoint: &Path) -> Result<PathBuf> {
    let directory = directory(file)?;
    // One that is there already, like /var/log, stays as it is; only the file in it has to be ours.
    if !directory.is_dir() {
        private::directory(&directory)?;
    }
    let place: String = mountpoint
        .to_string_lossy()
        .trim_matches('/')
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { '-' })
        .collect();
    let path = directory.join(format!("cassmount-{place}.log"));
    let log = LogFile::open(path.clone(), MOST_BYTES)
        .map_err(|e| Error::io(format_args!("open the log {}", path.display()), e))?;
    start(args, "info", log, false, true);
    Ok(path)
}

/// Where the log file of a mount in the background is.
pub(super) fn directory(file: &LogFileArgs) -> Result<PathBuf> {
    file.log_directory.clone().map_or_else(default_directory, Ok)
}

/// On a terminal only, and not where NO_COLOR (no-color.org) says that nobody wants them.
fn colours() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn default_directory() -> Result<PathBuf> {
    if rustix::process::getuid().is_root() {
        return Ok("/var/log/cassmount".into());
    }
    let state = std::env::var_os("XDG_STATE_HOME").filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = state.or_else(|| std::env::home_dir().map(|home| home.join(".local/state")));
    state
        .map(|path| path.join("cassmount"))
        .ok_or_else(|| Error::invalid("there is no home directory for the log: name one with --log-directory"))
}

/// A file that is appended to, and put aside as `….old` when it reaches its limit.
pub(super) struct LogFile {
    path: PathBuf,
    most_bytes: u64,
    open: Mutex<(File, u64)>,
}

impl LogFile {
    pub(super) fn open(path: PathBuf, most_bytes: u64) -> io::Result<Self> {
        let open = Mutex::new(append(&path)?);
        Ok(Self { path, most_bytes, open })
    }
}

fn append(path: &Path) -> io::Result<(File, u64)> {
    let file = private::open(path, Open::Append)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

impl Write for &LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut open = self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if open.1 >= self.most_bytes {
            let mut old = self.path.clone().into_os_string();
            old.push(".old");
            fs::rename(&self.path, old)?;
            *open = append(&self.path)?;
        }
        let written = open.0.write(line)?;
        open.1 += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = &'a LogFile;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let log = LogFile::open(directory.path().join("x.log"), MOST_BYTES).unwrap();
        let line = vec![b'x'; 1 << 20];
        for _ in 0..40 {
            (&log).write_all(&line).unwrap();
        }
        let kept: u64 =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
        assert!((MOST_BYTES..=2 * MOST_BYTES + (1 << 20)).contains(&kept), "{kept}");
    }
}
