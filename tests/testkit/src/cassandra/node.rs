//! One Cassandra node on a loopback address.
//!
//! A node must not outlive the tests, and a test process may end in any way: a shared node lives in
//! a `static`, which Rust never drops, and a run that hangs is killed. So the server is the child
//! of a small shell script, the guardian, whose standard input is a pipe from the test process.
//! When that pipe closes, for whatever reason, the guardian kills the server and removes its
//! directory. After a panic the directory's logs stay, and their path is printed.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use super::config;
use super::cql::Session;
use super::install::{Installation, Version};
use super::missing::Missing;

/// Longest start; a quiet machine needs 15 s, one that also compiles much longer.
const START_DEADLINE: Duration = Duration::from_mins(5);

/// Longest end, once killed.
const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// $1 is the node's directory, the rest the server's command line.
const GUARDIAN: &str = r#"
directory=$1; shift
exec 3<&0
{ cat <&3 >/dev/null; touch "$directory/ended"; kill -9 "$(cat "$directory/server.pid")"; } 2>/dev/null &
watcher=$!
while [ -e "$directory/stopped" ] && [ ! -e "$directory/ended" ]; do touch "$directory/stopped-now"; sleep 0.1; done
rm -f "$directory/stopped-now"
while :; do
    options=$(sed -n '/^-D/p' "$directory/conf/jvm-server.options" | tr '\n' ' ')
    env ${options:+"JDK_JAVA_OPTIONS=$options"} "$@" </dev/null >>"$directory/logs/system.log" 2>&1 &
    server=$!
    echo "$server" >"$directory/server.pid"
    [ -e "$directory/ended" ] && kill -9 "$server"
    wait "$server"; status=$?
    while [ -e "$directory/stopped" ] && [ ! -e "$directory/ended" ]; do touch "$directory/stopped-now"; sleep 0.1; done
    [ -e "$directory/stopped-now" ] && [ ! -e "$directory/ended" ] || break
    rm "$directory/stopped-now"
done
kill "$watcher" 2>/dev/null
if [ -e "$directory/keep-logs" ]; then
    cd "$directory" && rm -rf data commitlog saved_caches hints cdc_raw storage
else
    rm -rf "$directory"
fi
exit "$status"
"#;

/// The directories of the nodes that this process started, so that a panic anywhere keeps their
/// logs.
static LIVE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// How a node is set up.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// MiB; 768 to 1024 is enough for the sample.
    pub heap_mib: u32,
    /// `incremental_backups` of cassandra.yaml.
    pub incremental_backups: bool,
    /// More lines for cassandra.yaml.
    pub extra_yaml: String,
    /// Where a node of a ring stands.
    pub datacenter: &'static str,
    pub rack: &'static str,
    /// The first node of its ring; all have its storage port. None: it is alone, or the first.
    pub seed: Option<SocketAddr>,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            heap_mib: 768,
            incremental_backups: false,
            extra_yaml: String::new(),
            // The sample's keyspaces are replicated there.
            datacenter: "dc1",
            rack: "rack1",
            seed: None,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Ports {
    pub jmx: u16,
    pub native: u16,
    pub storage: u16,
}

/// A node that is up, until it is dropped.
pub struct Node {
    pub installation: Installation,
    pub address: Ipv4Addr,
    pub ports: Ports,
    directory: PathBuf,
    guardian: Child,
    /// None before its first start.
    session: Mutex<Option<Session>>,
}

impl Node {
    /// Starts a node and waits until it answers CQL.
    ///
    /// # Panics
    /// With the end of its log, when it does not come up.
    pub fn start(version: Version, options: &NodeOptions) -> Result<Self, Missing> {
        let (mut node, native) = Self::make(version, options, |_| {})?;
        let session = wait_until_ready(&mut node.guardian, native, &node.directory);
        node.session = Mutex::new(Some(session));
        Ok(node)
    }

    /// A node that is configured and has never run: [`Self::start_again`] starts it.
    pub fn stopped(version: Version, options: &NodeOptions) -> Result<Self, Missing> {
        let stop = |directory: &Path| {
            fs::write(directory.join("stopped"), "").unwrap();
            fs::create_dir(directory.join("data")).unwrap();
        };
        Self::make(version, options, stop).map(|(node, _)| node)
    }

    fn make(
        version: Version,
        options: &NodeOptions,
        prepare: impl FnOnce(&Path),
    ) -> Result<(Self, SocketAddr), Missing> {
        let installation = Installation::find(version)?;
        let address = address();
        let mut ports = free_ports(address);
        ports.storage = options.seed.map_or(ports.storage, |seed| seed.port());
        // From here on the guardian owns the directory.
        let directory = tempfile::Builder::new().prefix("cassmount-cassandra-").tempdir().unwrap().keep();
        fs::create_dir_all(directory.join("logs")).unwrap();
        config::write(&directory, version, (address, &ports), options).unwrap();
        keep_logs_on_panic(&directory);
        prepare(&directory);

        let guardian = Command::new("sh")
            .args(["-c", GUARDIAN, "guardian"])
            .arg(&directory)
            .arg0("cassandra-guardian")
            .args(server_words(&installation, &directory, &ports, options))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Away from the terminal's Ctrl-C: the pipe says when to end, and then everything is
            // cleaned up.
            .process_group(0)
            .spawn()
            .unwrap();
        let native = SocketAddr::from((address, ports.native));
        Ok((Self { installation, address, ports, directory, guardian, session: Mutex::new(None) }, native))
    }

    pub fn version(&self) -> Version {
        self.installation.version
    }

    /// Where the node keeps its tables: `<keyspace>/<table>-<id>/`.
    pub fn data_directory(&self) -> PathBuf {
        self.directory.join("data")
    }

    pub fn conf_directory(&self) -> PathBuf {
        self.directory.join("conf")
    }

    /// Asks it something.
    ///
    /// # Panics
    /// Before its first start.
    pub(super) fn ask(&self, statement: &str) -> std::io::Result<Vec<Vec<super::cql::Cell>>> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        session.as_mut().expect("it was started").execute(statement)
    }

    /// The log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("logs/system.log")).unwrap_or_default()
    }

    /// The server's process.
    pub fn process(&self) -> rustix::process::Pid {
        let pid = fs::read_to_string(self.directory.join("server.pid")).unwrap();
        rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap()
    }

    /// Ends the server as an operator would, and keeps its data. Nobody may ask it anything until
    /// [`Self::start_again`].
    ///
    /// # Panics
    /// When it does not end.
    pub fn shut_down(&self) {
        fs::write(self.directory.join("stopped"), "").unwrap();
        rustix::process::kill_process(self.process(), rustix::process::Signal::TERM).unwrap();
        let until = Instant::now() + START_DEADLINE;
        while !self.directory.join("stopped-now").exists() {
            assert!(Instant::now() < until, "Cassandra does not end");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Starts it again, and waits until it answers CQL.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start_again(&self) {
        fs::remove_file(self.directory.join("stopped")).unwrap();
        let native = SocketAddr::from((self.address, self.ports.native));
        let until = Instant::now() + START_DEADLINE;
        loop {
            match Session::connect(native) {
                Ok(session) => {
                    *self.session.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
                    return;
                }
                Err(error) => assert!(Instant::now() < until, "Cassandra does not come up: {error}\n{}", self.log()),
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Starts it again where it must not come up, and waits until it has ended.
    ///
    /// # Panics
    /// When it runs on.
    pub fn start_in_vain(&self) {
        fs::remove_file(self.directory.join("stopped")).unwrap();
        let wait = |what: &str, done: &dyn Fn() -> bool| {
            let until = Instant::now() + START_DEADLINE;
            while !done() {
                assert!(Instant::now() < until, "Cassandra does not {what}\n{}", self.log());
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        wait("start", &|| !self.directory.join("stopped-now").exists());
        // Its guardian keeps its data when it ends now.
        fs::write(self.directory.join("stopped"), "").unwrap();
        wait("end", &|| self.directory.join("stopped-now").exists());
    }

    /// Ends it at once, and keeps its data, as [`Self::shut_down`] does.
    ///
    /// # Panics
    /// When it has not ended after `patience`.
    pub fn kill(&self, patience: Duration) {
        fs::write(self.directory.join("stopped"), "").unwrap();
        rustix::process::kill_process(self.process(), rustix::process::Signal::KILL).unwrap();
        let until = Instant::now() + patience;
        while !self.directory.join("stopped-now").exists() {
            assert!(Instant::now() < until, "Cassandra does not end though it is killed");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn stop(&mut self) {
        // Closes the pipe, which is the guardian's word to end.
        drop(self.guardian.stdin.take());
        let until = Instant::now() + STOP_DEADLINE;
        while matches!(self.guardian.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            keep_logs(&self.directory);
        }
        self.stop();
        LIVE.lock().unwrap_or_else(PoisonError::into_inner).retain(|directory| *directory != self.directory);
    }
}

/// The server's whole command line.
fn server_words(
    installation: &Installation,
    directory: &Path,
    ports: &Ports,
    options: &NodeOptions,
) -> Vec<std::ffi::OsString> {
    let conf = directory.join("conf");
    let mut server = installation.server(&conf);
    server
        .arg(format!("-Xms{0}M", options.heap_mib))
        .arg(format!("-Xmx{0}M", options.heap_mib))
        .args(["-XX:+UseSerialGC", "-XX:+PerfDisableSharedMem", "-Xss512k"])
        // A start costs 11 s of CPU with the first compiler alone, 18 s with both.
        .arg("-XX:TieredStopAtLevel=1")
        .arg(format!("-Dcassandra.config=file://{}/cassandra.yaml", conf.display()))
        .arg(format!("-Dcassandra.storagedir={}/storage", directory.display()))
        .arg(format!("-Dcassandra.jmx.local.port={}", ports.jmx))
        .arg(format!("-Dlogback.configurationFile={}/logback.xml", conf.display()))
        // One node has nobody to wait for, one of a ring some seconds.
        .args(match options.seed {
            None => ["-Dcassandra.skip_wait_for_gossip_to_settle=0", "-Dcassandra.ring_delay_ms=0"],
            Some(_) => ["-Dcassandra.skip_wait_for_gossip_to_settle=-1", "-Dcassandra.ring_delay_ms=3000"],
        })
        .args(["-Dcassandra-foreground=yes", "org.apache.cassandra.service.CassandraDaemon"]);
    std::iter::once(server.get_program()).chain(server.get_args()).map(std::ffi::OsStr::to_owned).collect()
}

fn wait_until_ready(guardian: &mut Child, native: SocketAddr, directory: &Path) -> Session {
    let until = Instant::now() + START_DEADLINE;
    loop {
        // The native port opens last, when everything else is up.
        let error = match Session::connect(native) {
            Ok(session) => return session,
            Err(error) => error,
        };
        let ended = guardian.try_wait().unwrap();
        if ended.is_some() || Instant::now() >= until {
            let log = fs::read_to_string(directory.join("logs/system.log")).unwrap_or_default();
            let lines: Vec<_> = log.lines().rev().take(40).collect();
            let tail: Vec<_> = lines.into_iter().rev().collect();
            // Dropping a Child does not close its pipe's other uses, but the guardian reads only
            // this one.
            drop(guardian.stdin.take());
            panic!("Cassandra did not come up ({ended:?}; {error}); the end of its log:\n{}", tail.join("\n"));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// 127.0.0.x, another for every node of this process; nodes of other processes differ in their
/// ports.
fn address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = std::process::id().wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
    Ipv4Addr::new(127, 0, 0, 2 + (number % 250) as u8)
}

fn free_ports(address: Ipv4Addr) -> Ports {
    // JMX without remote access listens on 127.0.0.1 only. All three are held until all are known.
    let listeners = [Ipv4Addr::LOCALHOST, address, address].map(|address| TcpListener::bind((address, 0)).unwrap());
    let [jmx, native, storage] = listeners.each_ref().map(|listener| listener.local_addr().unwrap().port());
    Ports { jmx, native, storage }
}

fn keep_logs(directory: &Path) {
    if !directory.join("keep-logs").exists() && fs::write(directory.join("keep-logs"), "").is_ok() {
        let line = format!("the logs of this Cassandra are kept: {}\n", directory.join("logs").display());
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

fn keep_logs_on_panic(directory: &Path) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            before(panic);
            for directory in LIVE.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                keep_logs(directory);
            }
        }));
    });
    LIVE.lock().unwrap_or_else(PoisonError::into_inner).push(directory.to_path_buf());
}
