//! The broker: a process that does for a mount's worker what that may not do itself, because it is
//! locked up.
//!
//! The worker starts it before it locks itself up. It does a few things only, each with the
//! arguments that the mount was made with: a worker that was taken over can have it mount once and
//! unmount this mount, resolve names, get the credentials of the AWS profile, and have the kernel
//! read files that the worker itself has open (passthrough). It ends with the worker.

use super::exit;
use super::mount::MountArgs;
use super::unconfined::Unconfined;
use cassmount::fs::{Backings, Registrar};
use cassmount::supervisor::{self, Channel, LONGEST};
use cassmount::{Error, Kind, Result, store};
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use zeroize::Zeroizing;

/// The message that a descriptor comes with.
const FOLLOWS: u8 = 1;

/// The first message to a broker.
#[derive(Serialize, Deserialize)]
struct Begin {
    /// Absolute, without symbolic links, as bytes.
    mountpoint: Vec<u8>,
}

/// What a worker asks for; with it comes the socket to answer on.
#[derive(Serialize, Deserialize)]
enum Request {
    Mount {
        fsname: String,
    },
    Detach {
        lazily: bool,
    },
    Addresses {
        host: String,
    },
    Credentials,
    LiveTables,
    RemoteBytes,
    /// The mount's device, which follows on the socket for the answer.
    Device,
    /// A file for the kernel to read by itself, which follows likewise.
    OpenBacking,
    CloseBacking {
        id: u32,
    },
}

#[derive(Serialize, Deserialize)]
enum Answer {
    Done,
    /// The device comes with it.
    Mounted,
    Addresses(Vec<IpAddr>),
    Credentials(Vec<u8>),
    LiveTables(Option<String>),
    RemoteBytes(u64),
    Backing(u32),
    Failed {
        kind: Kind,
        reason: String,
    },
}

/// Who does for a worker what takes the whole system.
#[derive(Debug)]
pub(super) enum Outside {
    /// The worker itself, which is not locked up.
    Here(Box<Unconfined>),
    Broker(Arc<Broker>),
}

impl Outside {
    pub(super) fn mount(&self, fsname: String) -> Result<OwnedFd> {
        match self {
            Self::Here(here) => here.mount(fsname),
            Self::Broker(broker) => match broker.ask(&Request::Mount { fsname })? {
                (Answer::Mounted, Some(device)) => Ok(device),
                _ => Err(misunderstood()),
            },
        }
    }

    pub(super) fn detach(&self, lazily: bool) -> Result<()> {
        match self {
            Self::Here(here) => here.detach(lazily),
            Self::Broker(broker) => broker.ask(&Request::Detach { lazily }).map(drop),
        }
    }

    /// Who registers with the kernel what it may read by itself; `None`: the worker may.
    pub(super) fn registrar(&self, device: &OwnedFd) -> Result<Option<Arc<dyn Registrar>>> {
        let Self::Broker(broker) = self else { return Ok(None) };
        broker.ask_with(&Request::Device, Some(device.as_fd()))?;
        Ok(Some(Arc::clone(broker) as _))
    }

    /// Which live tables read from the mount, if any, in a sentence.
    pub(super) fn live_tables(&self) -> Option<String> {
        match self {
            Self::Here(here) => here.live_tables(),
            Self::Broker(broker) => match broker.ask(&Request::LiveTables) {
                Ok((Answer::LiveTables(said), _)) => said,
                Ok(_) => Some(misunderstood().to_string()),
                Err(error) => Some(format!("whether live tables read from the mount is not known: {error}")),
            },
        }
    }

    /// Bytes of live tables that are read from the mount.
    pub(super) fn remote_bytes(&self) -> Result<u64> {
        match self {
            Self::Here(here) => here.remote_bytes(),
            Self::Broker(broker) => match broker.ask(&Request::RemoteBytes)? {
                (Answer::RemoteBytes(bytes), _) => Ok(bytes),
                _ => Err(misunderstood()),
            },
        }
    }
}

/// The worker's end.
#[derive(Debug)]
pub(super) struct Broker(Channel);

impl Broker {
    /// Starts the broker of this worker, which has the worker's own command line.
    pub(super) fn start(mountpoint: &Path) -> Result<Self> {
        let (channel, theirs) = Channel::pair()?;
        let mut command = Command::new("/proc/self/exe");
        command.arg0(env!("CARGO_PKG_NAME")).arg("broker").args(std::env::args_os().skip(2));
        // Whoever reads what a command prints waits until all who could print have gone.
        command.stdin(theirs).stdout(Stdio::null()).stderr(Stdio::null());
        // Nobody waits for it: it ends after this process.
        drop(command.spawn().map_err(|e| Error::io("start the mount's broker", e))?);
        // Our copy of its end goes, so that the channel ends with the broker.
        drop(command);
        channel.send(&Begin { mountpoint: mountpoint.as_os_str().as_bytes().to_vec() }, None)?;
        Ok(Self(channel))
    }

    /// Blocks until there is an answer.
    fn ask(&self, request: &Request) -> Result<(Answer, Option<OwnedFd>)> {
        self.ask_with(request, None)
    }

    /// The same, with a descriptor.
    fn ask_with(&self, request: &Request, fd: Option<BorrowedFd<'_>>) -> Result<(Answer, Option<OwnedFd>)> {
        let gone = |error: Option<Error>| {
            let error_of = Error::new(Kind::NotRunning, "the process that mounts and unmounts for this one has died");
            error.map_or_else(|| error_of.clone(), |error| error_of.clone().with_source(error))
        };
        // Answers come in any order, so each has a socket of its own.
        let (answers, theirs) = Channel::pair()?;
        self.0.send(request, Some(theirs.as_fd())).map_err(|error| gone(Some(error)))?;
        drop(theirs);
        if fd.is_some() {
            // An empty message would be none.
            answers.send(&FOLLOWS, fd)?;
        }
        match answers.receive()?.ok_or_else(|| gone(None))? {
            (Answer::Failed { kind, reason }, _) => Err(Error::new(kind, reason)),
            answer => Ok(answer),
        }
    }
}

impl store::Outside for Broker {
    fn addresses(&self, host: &str) -> Result<Vec<IpAddr>> {
        match self.ask(&Request::Addresses { host: host.to_owned() })? {
            (Answer::Addresses(addresses), _) => Ok(addresses),
            _ => Err(misunderstood()),
        }
    }

    fn credentials(&self) -> Result<Zeroizing<Vec<u8>>> {
        match self.ask(&Request::Credentials)? {
            (Answer::Credentials(output), _) => Ok(Zeroizing::new(output)),
            _ => Err(misunderstood()),
        }
    }
}

impl Registrar for Broker {
    fn open(&self, file: BorrowedFd<'_>) -> io::Result<u32> {
        match self.ask_with(&Request::OpenBacking, Some(file)) {
            Ok((Answer::Backing(id), _)) => Ok(id),
            Ok(_) => Err(io::Error::other(misunderstood())),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn close(&self, id: u32) -> io::Result<()> {
        self.ask(&Request::CloseBacking { id }).map(drop).map_err(io::Error::other)
    }
}

fn misunderstood() -> Error {
    Error::new(Kind::Io, "the process that mounts and unmounts for this one answered something else")
}

/// `cassmount broker`: answers its worker until that has gone.
pub(super) fn run(args: &MountArgs) -> ExitCode {
    exit::status(&serve(args))
}

fn serve(args: &MountArgs) -> Result<()> {
    let channel = Channel::of_stdin()?;
    // A service that is stopped has all of its processes sent them, and this one is needed for
    // that.
    supervisor::ignore_signals().map_err(|e| Error::io("leave signals to the supervisor", e))?;
    supervisor::name_this_process();
    let Some((Begin { mountpoint }, _)) = channel.receive()? else { return Ok(()) };
    let unconfined = Arc::new(Unconfined::new(args, &PathBuf::from(OsString::from_vec(mountpoint)))?);
    // Keeps no directory busy.
    std::env::set_current_dir(OsStr::new("/")).map_err(|e| Error::io("change to /", e))?;
    let has_mounted = Arc::new(AtomicBool::new(false));
    let mut backings = None;
    while let Some((request, Some(reply))) = channel.receive::<Request>()? {
        // At once: these wait for nobody, and there are many.
        if matches!(request, Request::Device | Request::OpenBacking | Request::CloseBacking { .. }) {
            let reply = Channel::from_fd(reply);
            let answer = register(&mut backings, &request, &reply);
            // Who asked may have gone.
            let _ = reply.send(&answer.unwrap_or_else(|error| failed(&error)), None);
            continue;
        }
        let (unconfined, has_mounted) = (Arc::clone(&unconfined), Arc::clone(&has_mounted));
        let work = move || {
            let done = answer(&unconfined, &has_mounted, request);
            let (answer, device) = done.unwrap_or_else(|error| (failed(&error), None));
            // Who asked may have gone.
            let _ = Channel::from_fd(reply).send(&answer, device.as_ref().map(AsFd::as_fd));
        };
        // A worker asks from few threads, and waits for each answer.
        let thread = std::thread::Builder::new().name("answer".into()).spawn(work);
        thread.map_err(|e| Error::io("start a thread", e))?;
    }
    Ok(())
}

/// Has the kernel read the files of the cache that the worker names. `backings`: on the mount's
/// device, once that is known.
fn register(backings: &mut Option<Backings>, request: &Request, reply: &Channel) -> Result<Answer> {
    let sent = || match reply.receive::<u8>()? {
        Some((FOLLOWS, Some(fd))) => Ok(fd),
        _ => Err(misunderstood()),
    };
    match (request, &*backings) {
        (Request::Device, None) => {
            *backings = Some(Backings::on(sent()?));
            Ok(Answer::Done)
        }
        (Request::OpenBacking, Some(backings)) => {
            let id = backings.open(sent()?.as_fd()).map_err(|e| Error::io("let the kernel read a cached file", e))?;
            Ok(Answer::Backing(id))
        }
        (Request::CloseBacking { id }, Some(backings)) => {
            backings.close(*id).map_err(|e| Error::io("close a cached file", e))?;
            Ok(Answer::Done)
        }
        (_, Some(_)) => Err(Error::new(Kind::NotPermitted, "the mount's device is known already")),
        (_, None) => Err(Error::new(Kind::NotPermitted, "the mount's device is not known")),
    }
}

fn answer(unconfined: &Unconfined, has_mounted: &AtomicBool, request: Request) -> Result<(Answer, Option<OwnedFd>)> {
    let answer = match request {
        Request::Mount { fsname } => {
            if has_mounted.swap(true, Relaxed) {
                return Err(Error::new(Kind::NotPermitted, "it was mounted already"));
            }
            return unconfined.mount(fsname).map(|device| (Answer::Mounted, Some(device)));
        }
        Request::Detach { lazily } => unconfined.detach(lazily).map(|()| Answer::Done)?,
        Request::Addresses { host } => Answer::Addresses(Unconfined::addresses(&host)?),
        Request::Credentials => {
            let output = unconfined.credentials()?;
            if output.len() > LONGEST / 2 {
                return Err(Error::invalid(format!("its output is longer than {} bytes", LONGEST / 2)));
            }
            Answer::Credentials(output.to_vec())
        }
        Request::LiveTables => Answer::LiveTables(unconfined.live_tables().as_deref().map(shortened)),
        Request::RemoteBytes => Answer::RemoteBytes(unconfined.remote_bytes()?),
        // Done before.
        Request::Device | Request::OpenBacking | Request::CloseBacking { .. } => return Err(misunderstood()),
    };
    Ok((answer, None))
}

fn failed(error: &Error) -> Answer {
    Answer::Failed { kind: error.kind(), reason: shortened(&error.to_string()) }
}

/// So much that it fits into a message.
fn shortened(text: &str) -> String {
    text.chars().take(LONGEST / 8).collect()
}
