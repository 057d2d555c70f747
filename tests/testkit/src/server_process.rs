//! Servers of other people, as processes on loopback.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long one may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running server; killed when dropped.
pub(crate) struct ServerProcess(Child);

impl ServerProcess {
    /// Starts it, and waits until it takes connections. What it says is in `log`.
    pub(crate) fn start(mut command: Command, port: u16, log: &Path) -> Self {
        let output = File::create(log).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let mut server = Self(command.spawn().unwrap());
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = server.0.try_wait().unwrap();
            let said = std::fs::read_to_string(log).unwrap();
            assert!(ended.is_none() && started.elapsed() < PATIENCE, "{command:?} does not start: {said}");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Finds a program: below `target/<directory>/bin`, or in PATH.
pub(crate) fn program(name: &str, directory: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = crate::project().join("target").join(directory).join("bin");
    let directories = [own].into_iter().chain(std::env::split_paths(&path));
    directories.map(|directory| directory.join(name)).find(|program| program.is_file())
}

/// Makes requests, on a thread of its own: it works within a Tokio runtime as well.
pub(crate) fn make<F: Future<Output = ()> + Send>(requests: F) {
    let run = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(requests);
    std::thread::scope(|scope| scope.spawn(run).join()).unwrap();
}
