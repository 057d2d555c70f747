//! Programs of the user's (nodetool, cqlsh), run with a deadline and with all they print at hand.

use crate::{Error, Kind, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Most bytes that are read of what a program prints: a ring of thousands of tokens, or the
/// statistics of as many tables.
const MOST_OUTPUT: u64 = 64 << 20;
/// Bytes of it that an error shows.
const SHOWN: usize = 600;
const POLL: Duration = Duration::from_millis(10);

/// Where a Java of release 9 or later looks for options, and what it says when it finds some.
const JAVA_OPTIONS: &str = "JDK_JAVA_OPTIONS";
const JAVA_NOTE: &str = "NOTE: Picked up JDK_JAVA_OPTIONS";
/// Leaves the optimising compiler out.
const FIRST_COMPILER_ONLY: &str = "-XX:TieredStopAtLevel=1";

/// A program and the first of its arguments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
    words: Vec<String>,
    is_short_java: bool,
}

/// What a program that has ended said.
#[derive(Debug)]
pub struct ProgramOutput {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Program {
    /// A path, or words as a shell splits them: `docker exec cassandra nodetool`.
    pub fn parse(text: &str) -> Result<Self> {
        let words = if Path::new(text).is_file() { vec![text.to_owned()] } else { split(text)? };
        if words.is_empty() {
            return Err(Error::invalid("a command is empty"));
        }
        Ok(Self { words, is_short_java: false })
    }

    /// A program by its path.
    pub fn at(path: &Path) -> Self {
        Self { words: vec![path.display().to_string()], is_short_java: false }
    }

    /// The program as one of Java's that ends within a second or two, as nodetool does: it starts
    /// with some 60 % of the CPU time without the optimising compiler.
    #[must_use]
    pub(super) fn short_java(mut self) -> Self {
        self.is_short_java = true;
        self
    }

    /// The program with one more argument.
    #[must_use]
    pub fn with(mut self, argument: &str) -> Self {
        self.words.push(argument.to_owned());
        self
    }

    /// Runs it with these further arguments to its end, whatever its exit status.
    ///
    /// # Errors
    /// `Kind::NotFound` when it cannot be started; `Kind::TimedOut` when it was killed after
    /// `deadline`.
    pub fn run(&self, arguments: &[&str], deadline: Duration) -> Result<ProgramOutput> {
        let output = || tempfile::tempfile().map_err(|e| Error::io("make a temporary file", e));
        let (mut stdout, mut stderr) = (output()?, output()?);
        let share = |file: &File| file.try_clone().map_err(|e| Error::io("share a temporary file", e));
        let mut command = Command::new(&self.words[0]);
        if self.is_short_java {
            let own = std::env::var(JAVA_OPTIONS).unwrap_or_default();
            command.env(JAVA_OPTIONS, format!("{FIRST_COMPILER_ONLY} {own}"));
        }
        let child = command
            .args(&self.words[1..])
            .args(arguments)
            .stdin(Stdio::null())
            // Files, not pipes: a full pipe would hold it up.
            .stdout(share(&stdout)?)
            .stderr(share(&stderr)?)
            .process_group(0)
            .spawn()
            .map_err(|e| Error::new(Kind::NotFound, self.cannot_be_run(&e)).with_source(e))?;
        let status = Running(child).wait(deadline)?.ok_or_else(|| {
            let what = format!("{} did not end within {} s", self.shown(arguments), deadline.as_secs());
            Error::new(Kind::TimedOut, what)
        })?;
        let read = |file: &mut File| {
            let mut bytes = Vec::new();
            let done = file.rewind().and_then(|()| file.take(MOST_OUTPUT).read_to_end(&mut bytes));
            done.map_err(|e| Error::io("read what a program printed", e))?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let stdout = read(&mut stdout)?;
        let mut stderr = read(&mut stderr)?;
        if self.is_short_java {
            stderr = stderr.split_inclusive('\n').filter(|line| !line.starts_with(JAVA_NOTE)).collect();
        }
        Ok(ProgramOutput { status, stdout, stderr })
    }

    /// In PATH it was looked for only where it is no path; an option of its own name says another.
    fn cannot_be_run(&self, error: &io::Error) -> String {
        let program = &self.words[0];
        if program.contains('/') || error.kind() != io::ErrorKind::NotFound {
            return format!("cannot run {program}");
        }
        format!("cannot run {program}, which is not in PATH (--{program} names another)")
    }

    /// The whole command, its words apart.
    pub(super) fn words(&self) -> String {
        self.words.join(" ")
    }

    /// As a person would type it.
    pub(super) fn shown(&self, arguments: &[&str]) -> String {
        let name = self.words[0].rsplit('/').next().unwrap_or_default();
        [&[name], arguments].concat().join(" ")
    }
}

impl ProgramOutput {
    /// All lines, of standard output first.
    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        self.stdout.lines().chain(self.stderr.lines())
    }

    /// The part of its words that tells why it failed.
    pub fn why(&self) -> String {
        let said = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        // A Java program's stack says nothing to who only wants to restore.
        let lines = said.lines().map(str::trim_end).take_while(|line| !line.starts_with("-- StackTrace"));
        let text = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
        match text.char_indices().nth(SHOWN) {
            Some((end, _)) => format!("{} …", &text[..end]),
            None if text.is_empty() => self.status.to_string(),
            None => text,
        }
    }
}

/// A program at work, which does not outlive this value.
struct Running(Child);

impl Running {
    fn wait(mut self, deadline: Duration) -> Result<Option<ExitStatus>> {
        let until = Instant::now() + deadline;
        while Instant::now() < until {
            if let Some(status) = self.0.try_wait().map_err(|e| Error::io("wait for a program", e))? {
                return Ok(Some(status));
            }
            sleep(POLL);
        }
        Ok(None)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            // Not reaped yet, so the number is still its own.
            if let Some(group) = Pid::from_raw(self.0.id().cast_signed()) {
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = self.0.wait();
        }
    }
}

/// A word as a shell has to be given it: names of hosts and sets are those of a bucket's keys.
pub fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_./:=@%+,-".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Splits as a POSIX shell does: blanks, quotes of both kinds, backslashes. Nothing is expanded.
fn split(text: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => {
                let next = characters.next().ok_or_else(|| Error::invalid(format!("{text:?} ends in a backslash")))?;
                word.get_or_insert_default().push(next);
            }
            (None, _) if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(Error::invalid(format!("{text:?} has a quote that does not end")));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_program_that_is_not_in_path_is_named_with_the_way_out() {
        let said = |program: &str| {
            let error = Program::parse(program).unwrap().run(&[], Duration::from_secs(9)).unwrap_err();
            error.to_string()
        };
        let said_of_none = said("nodetool-of-nobody -u me");
        assert!(said_of_none.contains("not in PATH (--nodetool-of-nobody names another)"), "{said_of_none}");
        assert!(said("/nowhere/nodetool").starts_with("cannot run /nowhere/nodetool: "));
    }

    #[test]
    fn words_are_split_as_a_shell_splits_them() {
        for (text, words) in [
            ("nodetool", vec!["nodetool"]),
            ("  docker exec  c1 nodetool ", vec!["docker", "exec", "c1", "nodetool"]),
            (r#"a "b c" 'd "e' f\ g """#, vec!["a", "b c", "d \"e", "f g", ""]),
            (r#""a\"b""#, vec!["a\"b"]),
        ] {
            assert_eq!(split(text).unwrap(), words, "{text}");
        }
        assert!(split("a 'b").is_err() && split("a\\").is_err() && Program::parse(" ").is_err());
    }

    #[test]
    fn a_quoted_word_is_the_same_word() {
        for word in ["node1", "s3://a-b/c", "a b", "x; rm -rf /", "it's", "$(id)", "", "~"] {
            assert_eq!(split(&shell_word(word)).unwrap(), [word]);
        }
        assert_eq!(shell_word("2026-11-21T02:48:07Z"), "2026-11-21T02:48:07Z");
        assert_eq!(shell_word("~"), "'~'");
    }

    #[test]
    fn a_path_with_blanks_is_one_word() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("my nodetool");
        std::fs::write(&path, "").unwrap();
        assert_eq!(Program::parse(path.to_str().unwrap()).unwrap().words, [path.to_str().unwrap()]);
    }

    #[test]
    fn what_it_says_comes_back_with_its_status() {
        let program = Program::parse("sh -c 'echo out; echo \"error: no\" >&2; echo \"-- StackTrace --\" >&2; exit 3'");
        let said = program.unwrap().run(&[], LONG).unwrap();
        assert_eq!((said.status.code(), &*said.stdout, &*said.why()), (Some(3), "out\n", "error: no"));
        let missing = Program::parse("/nonexistent/nodetool").unwrap().run(&[], LONG).unwrap_err();
        assert_eq!(missing.kind(), Kind::NotFound);
    }

    #[test]
    fn a_short_program_of_javas_is_told_so_and_its_note_is_no_reason() {
        let program = Program::parse(&format!(
            "sh -c 'echo $JDK_JAVA_OPTIONS; echo \"{JAVA_NOTE}: x\" >&2; echo no >&2; exit 1'"
        ));
        let said = program.unwrap().short_java().run(&[], LONG).unwrap();
        assert!(said.stdout.contains(FIRST_COMPILER_ONLY), "{said:?}");
        assert_eq!(said.why(), "no");
    }

    #[test]
    fn one_that_hangs_is_killed_with_its_children() {
        // It waits until nobody has the pipes of its output open, which the children have.
        let program = Program::parse("sh -c 'sleep 600 & sleep 600'").unwrap();
        let error = program.run(&["x"], Duration::from_millis(200)).unwrap_err();
        assert_eq!(error.kind(), Kind::TimedOut);
    }
}
