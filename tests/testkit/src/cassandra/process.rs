//! Running a program with a deadline and all of its output at hand.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// How often a running program is looked at, once it has run for a while.
const SLOWEST_POLL: Duration = Duration::from_millis(20);

/// What a program that has ended left behind.
#[derive(Debug)]
pub struct Finished {
    command: String,
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    pub elapsed: Duration,
}

impl Finished {
    /// Its standard output.
    ///
    /// # Panics
    /// With everything it printed, when it did not exit with 0.
    #[track_caller]
    pub fn expect_success(self) -> String {
        assert!(self.status.success(), "{self}");
        self.stdout
    }

    /// Standard output and standard error, one after the other: the tools do not agree on where a
    /// message goes.
    pub fn printed(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { command, status, stdout, stderr, elapsed } = self;
        write!(f, "{command}\n{status} after {elapsed:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

/// A program at work, in a process group of its own. Dropping it kills the group.
pub struct Running {
    command: String,
    child: Child,
    stdout: File,
    stderr: File,
    started: Instant,
    ended: bool,
}

/// Starts `command`, its output going to unnamed files: a full pipe can then never hold it up.
#[track_caller]
pub fn spawn(command: &mut Command) -> Running {
    let (stdout, stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let started = Instant::now();
    let child = command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone().unwrap())
        .stderr(stderr.try_clone().unwrap())
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    Running { command: format!("{command:?}"), child, stdout, stderr, started, ended: false }
}

/// Runs `command` to its end.
///
/// # Panics
/// When it has not ended after `deadline`, with what it printed until then.
#[track_caller]
pub fn run(command: &mut Command, deadline: Duration) -> Finished {
    spawn(command).wait(deadline)
}

/// Runs `commands`, `at_once` of them side by side, and waits for all.
///
/// # Panics
/// When one does not exit with 0, or has not ended `deadline` after its turn came.
#[track_caller]
pub fn run_all(commands: impl IntoIterator<Item = Command>, at_once: usize, deadline: Duration) {
    let mut running = VecDeque::new();
    for mut command in commands {
        if running.len() == at_once {
            running.pop_front().map(|first: Running| first.wait(deadline).expect_success());
        }
        running.push_back(spawn(&mut command));
    }
    for rest in running {
        rest.wait(deadline).expect_success();
    }
}

impl Running {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it has not ended `deadline` after now, with what it printed until then.
    #[track_caller]
    pub fn wait(mut self, deadline: Duration) -> Finished {
        let until = Instant::now() + deadline;
        let mut poll = Duration::from_millis(1);
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() >= until {
                self.kill();
                let (stdout, stderr) = (contents(&mut self.stdout), contents(&mut self.stderr));
                panic!("not done after {deadline:?}: {}\n--- stdout\n{stdout}\n--- stderr\n{stderr}", self.command);
            }
            std::thread::sleep(poll);
            poll = SLOWEST_POLL.min(poll * 2);
        };
        self.ended = true;
        Finished {
            command: std::mem::take(&mut self.command),
            status,
            stdout: contents(&mut self.stdout),
            stderr: contents(&mut self.stderr),
            elapsed: self.started.elapsed(),
        }
    }

    fn kill(&mut self) {
        if let Some(group) = Pid::from_raw(self.child.id() as i32) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
        self.ended = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            self.kill();
        }
    }
}

fn contents(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}
