//! The supervisor's one loop: start a worker, wait until it ends, see to it that its requests come
//! back, start the next.

use super::channel::Channel;
use super::message::{FromWorker, History, LastDeath, PROTOCOL, Start, ToWorker};
use super::program::check_program;
use super::restarts::{Death, LIVED_WELL, Restarts, Then};
use super::suspects::Suspects;
use super::system;
use crate::time::Timestamp;
use crate::{Error, Kind, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// `fuse_out_header` of FUSE_NOTIFY_RESEND: its length, the code 7, no request.
const RESEND: [u8; 16] = {
    let mut message = [0; 16];
    message[0] = 16;
    message[4] = 7;
    message
};

/// What is supervised.
#[derive(Debug)]
pub struct Plan {
    /// The worker's arguments, the program's name not among them.
    pub arguments: Vec<OsString>,
    /// Absolute, without symbolic links.
    pub mountpoint: PathBuf,
    /// Deaths of workers in a minute that are still put up with.
    pub restart_limit: usize,
    /// Directories without symbolic links in which workers may write, and the mount: no program is
    /// started from there.
    pub written: Vec<PathBuf>,
}

/// Serves a mount by workers until it is unmounted.
///
/// `ready` is called once, when the first of them answers requests. The process should have one
/// thread only, and little memory.
///
/// # Errors
/// Why there is no mount; or why it had to be given up, which leaves whoever uses it with errors,
/// not with missing files.
pub fn supervise(plan: Plan, ready: &mut dyn FnMut() -> Result<()>) -> Result<()> {
    Supervisor::new(plan)?.run(ready)
}

/// The connection to the kernel.
struct Session {
    device: OwnedFd,
    /// The kernel's greeting.
    greeting: Vec<u8>,
    /// Whether the kernel can send requests again.
    resend: bool,
}

struct Supervisor {
    plan: Plan,
    /// What is started: this binary, or the one that was handed over to; even when another one has
    /// been installed in its place since.
    program: File,
    /// The one before, until the one that was handed over to has shown that it can serve.
    previous: Option<File>,
    /// Where relative paths among the arguments begin.
    directory: PathBuf,
    signals: OwnedFd,
    /// What the worker's chances are to be chosen when memory runs out.
    oom_score: Option<String>,
    session: Option<Session>,
    history: History,
    restarts: Restarts,
    suspects: Suspects,
    is_ready: bool,
    /// How often it was asked to end the mount.
    stops: u32,
}

/// How a worker ended.
enum End {
    /// As it should: there is no mount any more.
    Unmounted,
    /// Before there was a mount that anybody could have used.
    NoMount(Error),
    /// `trying`: the request that it tried alone.
    Died { last: LastDeath, trying: Option<u64> },
    /// For another program to go on.
    HandedOver(File),
    /// For another worker to go on.
    Renewed,
}

impl Supervisor {
    fn new(plan: Plan) -> Result<Self> {
        let program = File::open("/proc/self/exe").map_err(|e| Error::io("open the program's own file", e))?;
        let directory = std::env::current_dir().map_err(|e| Error::io("find the current directory", e))?;
        // Below its own mount, whoever is started there would wait for itself.
        let directory = if directory.starts_with(&plan.mountpoint) { PathBuf::from("/") } else { directory };
        let signals = system::signals().map_err(|e| Error::io("listen for signals", e))?;
        let oom_score = system::protect_from_oom_killer();
        // Where it may not, it can do without.
        let _ = system::stay_in_memory();
        let history = History { since: Timestamp::from(SystemTime::now()).0, ..History::default() };
        let restarts = Restarts::new(plan.restart_limit);
        Ok(Self {
            plan,
            program,
            previous: None,
            directory,
            signals,
            oom_score,
            session: None,
            history,
            restarts,
            suspects: Suspects::new(),
            is_ready: false,
            stops: 0,
        })
    }

    fn run(mut self, ready: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        let began = Instant::now();
        loop {
            match self.one_worker(ready)? {
                End::Unmounted => return Ok(()),
                End::NoMount(error) => return Err(error),
                End::Died { last, trying } => self.after(last, trying, began.elapsed())?,
                End::HandedOver(program) => self.hand_over(program),
                End::Renewed => {}
            }
            self.resend()?;
        }
    }

    fn hand_over(&mut self, program: File) {
        self.previous = Some(std::mem::replace(&mut self.program, program));
        self.history.upgrades += 1;
        self.history.failed_upgrade = None;
        // It may well do what the other one died of.
        self.suspects = Suspects::new();
    }

    /// Goes back to the program before, if the one that was handed over to `died` before it did
    /// well.
    fn hand_back(&mut self, died: &LastDeath) {
        let Some(previous) = self.previous.take_if(|_| !died.death.is_from_outside()) else { return };
        if died.served.is_none_or(|served| served < LIVED_WELL) {
            self.program = previous;
            self.history.upgrades -= 1;
            self.history.failed_upgrade = Some(died.to_string());
        }
    }

    /// Draws the conclusions of a death, `now` after the start of the mount.
    fn after(&mut self, last: LastDeath, trying: Option<u64>, now: Duration) -> Result<()> {
        let then = self.restarts.after(last.death, last.served, now);
        if self.restarts.trial().is_none() {
            self.suspects.forgive();
        }
        if let Some(request) = trying.filter(|_| !last.death.is_from_outside()) {
            self.suspects.died_trying(request);
        }
        self.hand_back(&last);
        self.history.restarts += 1;
        self.history.last = Some(last);
        match then {
            Then::Restart(wait) => self.wait(wait),
            Then::GiveUp(reason) => return Err(self.give_up(&reason)),
        }
        Ok(())
    }

    fn one_worker(&mut self, ready: &mut dyn FnMut() -> Result<()>) -> Result<End> {
        let (channel, mut child) = match self.start_worker() {
            // A machine out of memory may have some again in a moment.
            Err(error) if self.is_ready => return Ok(died(0, Death::NotStarted, Some(&error), None, None)),
            started => started?,
        };
        let (mut serving_since, mut failure, mut trying, mut next) = (None::<Instant>, None, None, None);
        let mut is_renewed = false;
        while let Some((message, fd)) = self.listen(&channel, &mut child)? {
            match message {
                FromWorker::Hold { greeting, resend } => {
                    self.session = fd.map(|device| Session { device, greeting, resend });
                }
                FromWorker::Ready => {
                    serving_since.get_or_insert_with(Instant::now);
                    if !std::mem::replace(&mut self.is_ready, true) {
                        ready()?;
                    }
                }
                FromWorker::Failed { kind, reason } => {
                    failure = Some(Error::new(kind, reason));
                }
                FromWorker::Trying(request) => {
                    trying = request;
                    // Whoever tries has come to serve, also if it does not come to say so.
                    serving_since.get_or_insert_with(Instant::now);
                }
                FromWorker::Upgrade => {
                    let Some(program) = fd.map(File::from) else { continue };
                    if let Err(error) = check_program(&program, &self.plan.written) {
                        self.history.failed_upgrade = Some(error.to_string());
                        continue;
                    }
                    next = Some(program);
                    // Any moment is as good as another, because it may be killed at any.
                    child.kill().map_err(|e| Error::io("end the worker", e))?;
                }
                FromWorker::Renew => {
                    is_renewed = true;
                    child.kill().map_err(|e| Error::io("end the worker", e))?;
                }
            }
        }
        // Only when all its threads have gone is no request under way any more.
        let status = child.wait().map_err(|e| Error::io("wait for the worker", e))?;
        if !self.is_ready {
            if self.stops > 0 {
                let message = "interrupted before the mount was ready";
                return Ok(End::NoMount(Error::new(Kind::Interrupted, message)));
            }
            let silent = || Error::new(Kind::Io, format!("the daemon did not start ({status})"));
            return Ok(if status.success() { End::Unmounted } else { End::NoMount(failure.unwrap_or_else(silent)) });
        }
        Ok(match (death(status), next) {
            (None, _) => End::Unmounted,
            (Some(_), Some(program)) => End::HandedOver(program),
            (Some(_), None) if is_renewed => End::Renewed,
            (Some(death), None) => died(child.id(), death, failure.as_ref(), serving_since, trying),
        })
    }

    fn start_worker(&self) -> Result<(Channel, Child)> {
        let (channel, theirs) = Channel::pair()?;
        let mut command = Command::new(format!("/proc/self/fd/{}", self.program.as_raw_fd()));
        command
            .arg0(env!("CARGO_PKG_NAME"))
            .args(&self.plan.arguments)
            .current_dir(&self.directory)
            .stdin(theirs)
            .stdout(Stdio::null())
            // Signals of a terminal are the supervisor's alone.
            .process_group(0);
        if let Some(score) = &self.oom_score {
            command.env(super::link::OOM_SCORE_VARIABLE, score);
        }
        let child = command.spawn().map_err(|e| Error::io("start the worker", e))?;
        // Our copy of its end goes, so that the channel ends with the worker.
        drop(command);
        let start = Start {
            protocol: PROTOCOL,
            mountpoint: self.plan.mountpoint.as_os_str().as_bytes().to_vec(),
            history: self.history.clone(),
            greeting: self.session.as_ref().map(|session| session.greeting.clone()),
            trial: self.restarts.trial(),
            condemned: self.suspects.condemned(),
        };
        // A worker that is dead already shows when the channel is read.
        let _ = channel.send(&ToWorker::Start(start), self.session.as_ref().map(|session| session.device.as_fd()));
        for _ in 0..self.stops {
            let _ = channel.send(&ToWorker::Stop, None);
        }
        Ok((channel, child))
    }

    /// The worker's next message; signals are passed on meanwhile. `None` when the worker has gone.
    fn listen(&mut self, channel: &Channel, child: &mut Child) -> Result<Option<(FromWorker, Option<OwnedFd>)>> {
        loop {
            let mut fds = [PollFd::new(channel.as_fd(), PollFlags::POLLIN), readable(&self.signals)];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(Error::io("wait for the worker", error.into())),
            }
            let [told, _] = fds.map(|fd| fd.any().unwrap_or(false));
            if system::is_end_requested(&self.signals) {
                self.stops += 1;
                if self.is_ready {
                    let _ = channel.send(&ToWorker::Stop, None);
                } else {
                    // It may wait for a store that does not answer, and nobody uses the mount yet.
                    child.kill().map_err(|e| Error::io("end the worker", e))?;
                }
            }
            if told {
                return channel.receive();
            }
        }
    }

    /// Aborts the connection: whoever waits for the mount, and whoever comes later, gets an error.
    fn give_up(&mut self, reason: &str) -> Error {
        self.session = None;
        let place = self.plan.mountpoint.display();
        let last = self.history.last.as_ref().map(|last| format!("; the last one {last}")).unwrap_or_default();
        Error::new(Kind::Io, format!("the mount on {place} is given up: {reason}{last}"))
    }

    /// Waits before another start, but no longer when somebody asks for the end.
    fn wait(&mut self, time: Duration) {
        if !time.is_zero() {
            let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::ZERO);
            let _ = poll(&mut [readable(&self.signals)], timeout);
        }
        self.stops += u32::from(system::is_end_requested(&self.signals));
    }

    /// Has the kernel send again what was taken and never answered.
    fn resend(&mut self) -> Result<()> {
        let Some(session) = &self.session else { return Ok(()) };
        let sent = if session.resend { rustix::io::write(&session.device, &RESEND) } else { Err(Errno::INVAL) };
        sent.map(drop).map_err(|error| {
            self.give_up(&format!(
                "its worker died, and this kernel cannot send again what it had taken (Linux 6.9 can; {error})"
            ))
        })
    }
}

fn died(pid: u32, death: Death, said: Option<&Error>, serving_since: Option<Instant>, trying: Option<u64>) -> End {
    let last = LastDeath {
        death,
        said: said.map(ToString::to_string),
        pid,
        at: Timestamp::from(SystemTime::now()).0,
        served: serving_since.map(|since| since.elapsed()),
    };
    End::Died { last, trying }
}

fn readable(fd: &OwnedFd) -> PollFd<'_> {
    PollFd::new(fd.as_fd(), PollFlags::POLLIN)
}

/// `None` when the worker ended because its mount did.
fn death(status: ExitStatus) -> Option<Death> {
    match (status.code(), status.signal()) {
        (Some(0), _) => None,
        (Some(code), _) => Some(Death::Status(code)),
        (None, signal) => Some(Death::Signal(signal.unwrap_or(0))),
    }
}
