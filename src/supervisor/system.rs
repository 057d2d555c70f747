//! What the supervisor asks of the kernel that neither std nor rustix offers.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};

/// Signals that ask a mount to end; a closed terminal must not end one.
const HANDLED: [libc::c_int; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP];

/// The handled signals as a descriptor: from now on they do nothing but to make it readable.
pub(super) fn signals() -> io::Result<OwnedFd> {
    let set = handled();
    // SAFETY: both calls only read the set, which is initialised; the descriptor is new and ours.
    unsafe {
        if libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// Leaves the handled signals to another process of the mount: here they do nothing.
pub fn ignore_signals() -> io::Result<()> {
    let set = handled();
    // SAFETY: the call only reads the set, which is initialised.
    let done = unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Undoes what a process inherits of [`signals`].
pub(super) fn unblock_signals() -> io::Result<()> {
    let set = handled();
    // SAFETY: the call only reads the set, which is initialised.
    let done = unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn handled() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set, and the numbers are those of signals.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in HANDLED {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        set.assume_init()
    }
}

/// The signal that was sent, if it asks for the end.
pub(super) fn is_end_requested(signals: &OwnedFd) -> bool {
    let mut info = [0; size_of::<libc::signalfd_siginfo>()];
    // The signal's number is the first field.
    let read = rustix::io::read(signals, &mut info).unwrap_or(0);
    let number = info.first_chunk::<4>().map(|number| u32::from_ne_bytes(*number).cast_signed());
    read >= 4 && number.is_some_and(|number| number != libc::SIGHUP)
}

/// Whether this process is to be killed when the one that started it dies.
pub(super) fn die_with_parent(wanted: bool) -> io::Result<()> {
    let signal = wanted.then_some(rustix::process::Signal::KILL);
    Ok(rustix::process::set_parent_process_death_signal(signal)?)
}

/// Keeps what memory the process uses out of swap, where it may.
pub(super) fn stay_in_memory() -> io::Result<()> {
    // ONFAULT: only what is used, and not the whole binary.
    // SAFETY: it changes nothing that the program can see.
    let done = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

const OOM_SCORE: &str = "/proc/self/oom_score_adj";
/// Never chosen when memory runs out.
const SPARED: &str = "-1000";

/// Has the kernel spare this process when memory runs out, where it may; returns what held before.
pub(super) fn protect_from_oom_killer() -> Option<String> {
    let before = std::fs::read_to_string(OOM_SCORE).ok()?;
    std::fs::write(OOM_SCORE, SPARED).ok()?;
    Some(before.trim().to_owned())
}

/// What held before the supervisor was spared: a worker inherits that, and is what should be
/// chosen.
pub(super) fn be_chosen_as(before: &str) {
    // Only lowering it needs a privilege.
    let _ = std::fs::write(OOM_SCORE, before);
}

/// The name under which `ps` and `pgrep` know a process that was started through a descriptor.
pub fn name_this_process() {
    let _ = std::fs::write("/proc/self/comm", env!("CARGO_PKG_NAME"));
}
