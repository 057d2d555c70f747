//! `--key-command`: a passphrase from another program (a vault's client, a key agent).

use super::{Key, LONGEST, Passphrase};
use crate::{Error, Kind, Result};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// Bytes of stderr that are kept for the error.
const STDERR: usize = 4096;
const POLL: Duration = Duration::from_millis(10);
/// For what was written before the end to arrive.
const GRACE: Duration = Duration::from_millis(500);

/// Runs `sh -c COMMAND` without input, and takes the first line of its output as
/// [`Passphrase::from_openssl_file`] does.
///
/// It must end with status 0 within `timeout`. When it ends or its time is over, what is left of
/// its process group is killed: a program that shall stay (an agent) makes itself a session of its
/// own, as daemons do. What it wrote to stderr is in the error, what it wrote to stdout never is.
/// The command itself is not shown either: people put secrets into it.
pub(super) fn run(command: &str, timeout: Duration) -> Result<Key> {
    let ends = Instant::now() + timeout;
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(command)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| Error::io("run the key command by sh", error))?;
    let (stdout, stderr) = (collect(child.stdout.take(), LONGEST), collect(child.stderr.take(), STDERR));

    let status = Running(Some(child)).wait(ends, timeout)?;
    let left = || ends.saturating_duration_since(Instant::now()).max(GRACE);
    if !status.success() {
        let said = stderr.recv_timeout(GRACE).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let said = said.trim().escape_debug().to_string().replace("\\n", "; ");
        let message =
            format!("the key command failed ({}){}{said}", describe(status), if said.is_empty() { "" } else { ": " });
        return Err(Error::new(Kind::Invalid, message));
    }
    let output = stdout.recv_timeout(left()).map_err(|_| Error::new(Kind::TimedOut, too_long(timeout)))?;
    let passphrase = Passphrase::from_openssl_file(&output)
        .ok_or_else(|| Error::invalid("the key command printed no passphrase in its first line"))?;
    Ok(Key { label: "key-command".into(), passphrase })
}

/// A shell that does not outlive this value, nor does what it left behind in its process group.
struct Running(Option<Child>);

impl Running {
    /// Waits for the shell to end, then kills the rest of its group, so that nothing keeps our
    /// pipes open.
    fn wait(mut self, ends: Instant, timeout: Duration) -> Result<ExitStatus> {
        let failed = |error: io::Error| Error::io("wait for the key command", error);
        while !self.has_ended().map_err(failed)? {
            if Instant::now() >= ends {
                return Err(Error::new(Kind::TimedOut, too_long(timeout)));
            }
            thread::sleep(POLL);
        }
        self.end().unwrap_or_else(|| Err(io::ErrorKind::NotFound.into())).map_err(failed)
    }

    /// Without reaping it: until then its group's number cannot be another's.
    fn has_ended(&self) -> io::Result<bool> {
        let Some(id) = self.group() else { return Ok(true) };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::Pid(id), options)?.is_some())
    }

    fn group(&self) -> Option<Pid> {
        self.0.as_ref().and_then(|child| Pid::from_raw(child.id().cast_signed()))
    }

    fn end(&mut self) -> Option<io::Result<ExitStatus>> {
        let group = self.group()?;
        // It fails when nobody is left, which is what is wanted.
        let _ = kill_process_group(group, Signal::KILL);
        self.0.take().map(|mut child| child.wait())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// Reads to the end on a thread of its own, so that a full pipe stops nobody, and keeps the first
/// `keep` bytes.
fn collect(pipe: Option<impl Read + Send + 'static>, keep: usize) -> mpsc::Receiver<Zeroizing<Vec<u8>>> {
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let Some(mut pipe) = pipe else { return };
        // Never grown: a buffer that moves leaves a copy behind.
        let mut kept = Zeroizing::new(Vec::with_capacity(keep));
        let mut buffer = Zeroizing::new([0; 1024]);
        loop {
            match pipe.read(&mut *buffer) {
                Ok(0) => break,
                Ok(read) => {
                    let room = keep - kept.len();
                    kept.extend_from_slice(&buffer[..read.min(room)]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let _ = sender.send(kept);
    });
    receiver
}

fn too_long(timeout: Duration) -> String {
    format!("the key command did not end within {} s", timeout.as_secs_f64())
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "status unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn takes_the_first_line() {
        let key = run("printf 'p\\303\\244ss word\\nmore\\n'; echo noise >&2", LONG).unwrap();
        assert_eq!(key.passphrase.expose(), "päss word".as_bytes());
        assert_eq!(&*key.label, "key-command");
    }

    #[test]
    fn much_output_does_not_block_it() {
        let key = run("echo first; head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2", LONG).unwrap();
        assert_eq!(key.passphrase.expose(), b"first");
    }

    #[test]
    fn a_failure_shows_stderr_and_status_but_not_stdout() {
        let error = run("echo hunter2; echo 'vault is sealed' >&2; exit 3", LONG).unwrap_err();
        assert_eq!(error.to_string(), "the key command failed (exit status 3): vault is sealed");
        let error = run("echo hunter2; kill -9 $$", LONG).unwrap_err();
        assert_eq!(error.to_string(), "the key command failed (signal 9)");
    }

    #[test]
    fn no_output_is_an_error() {
        assert_eq!(run("true", LONG).unwrap_err().kind(), Kind::Invalid);
    }

    #[test]
    fn a_command_that_hangs_is_killed_with_its_children() {
        let directory = tempfile::tempdir().unwrap();
        let noted = directory.path().join("child");
        let command = format!("sleep 600 & echo $! > {0}.new; mv {0}.new {0}; sleep 600", noted.display());
        let mut timeout = Duration::from_millis(200);
        // On a busy machine it takes a while until there is a child.
        while !noted.exists() {
            assert_eq!(run(&command, timeout).unwrap_err().kind(), Kind::TimedOut);
            timeout *= 4;
        }
        let child = std::fs::read_to_string(noted).unwrap();
        let lives = || {
            let status = std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
            status.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
        };
        let ends = Instant::now() + LONG;
        while lives() {
            assert!(Instant::now() < ends, "the child lives on");
            thread::sleep(POLL);
        }
    }

    #[test]
    fn what_it_leaves_behind_does_not_hold_us_up() {
        // Else it would time out.
        assert_eq!(run("echo x; sleep 600 &", LONG).unwrap().passphrase.expose(), b"x");
        let error = run("echo x; sleep 600 & exit 7", LONG).unwrap_err();
        assert_eq!(error.to_string(), "the key command failed (exit status 7)");
    }
}
