//! The built binary, mounted in a directory of its own and always unmounted.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// A mount made with `cassmount mount`, in the background as a user would have it.
pub struct Mounted {
    pub mountpoint: PathBuf,
    /// The command that mounts, without its name.
    words: Vec<std::ffi::OsString>,
    environment: Vec<(String, String)>,
    /// What the command said.
    pub said: String,
    work: tempfile::TempDir,
}

/// The binary under test: what `CASSMOUNT` names, as for `scripts/bench`; else the one built along
/// with the test.
pub fn cassmount() -> Command {
    let named = std::env::var_os("CASSMOUNT");
    let mut command = Command::new(named.map_or_else(crate::built_program, PathBuf::from));
    // Nothing of the machine's own configuration may decide a test.
    for variable in [
        "CASSMOUNT_KEY_FILE",
        "CASSMOUNT_CACHE_DIR",
        "AWS_PROFILE",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_REGION",
        "COLUMNS",
        "NO_COLOR",
        "CLICOLOR",
        "CLICOLOR_FORCE",
    ] {
        command.env_remove(variable);
    }
    // Nor may a restore of another test.
    command.env("CASSMOUNT_STATE_DIR", concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tests-state"));
    command.env("CASSMOUNT_CONFIG", concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/empty-config.json"));
    command
}

impl Mounted {
    /// Mounts `source` with further arguments; panics with what the command said if that fails.
    pub fn start(source: &str, arguments: &[&str]) -> Self {
        Self::try_start(source, arguments).unwrap_or_else(|output| panic!("mount failed: {output:?}"))
    }

    pub fn try_start(source: &str, arguments: &[&str]) -> Result<Self, Output> {
        Self::start_with(source, arguments, &[])
    }

    /// The same with variables in the command's environment.
    pub fn start_with(source: &str, arguments: &[&str], environment: &[(String, String)]) -> Result<Self, Output> {
        Self::start_prepared(source, arguments, environment, |_| {})
    }

    /// The same with a command that is prepared: limited, for instance.
    pub fn start_prepared(
        source: &str,
        arguments: &[&str],
        environment: &[(String, String)],
        prepare: impl FnOnce(&mut Command),
    ) -> Result<Self, Output> {
        let work = tempfile::tempdir().unwrap();
        let mountpoint = work.path().join("mnt");
        std::fs::create_dir(&mountpoint).unwrap();
        let mut command = cassmount();
        command.env("CASSMOUNT_STATE_DIR", work.path().join("state"));
        command.envs(environment.iter().cloned());
        command.args(["mount", source]).arg(&mountpoint).arg("--log-directory").arg(work.path().join("log"));
        if !arguments.contains(&"--cache-dir") {
            command.arg("--cache-dir").arg(work.path().join("cache"));
        }
        prepare(&mut command);
        let output = command.args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let words = command.get_args().map(std::ffi::OsStr::to_owned).collect();
        let mounted = Self { mountpoint, words, environment: environment.to_vec(), said, work };
        if output.status.success() { Ok(mounted) } else { Err(output) }
    }

    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.mountpoint.join(below)
    }

    /// The cache directory that it was given, unless the test named another.
    pub fn cache_dir(&self) -> PathBuf {
        self.work.path().join("cache")
    }

    /// What the daemon logged so far.
    pub fn log(&self) -> String {
        let files = std::fs::read_dir(self.work.path().join("log")).into_iter().flatten().flatten();
        files.map(|file| std::fs::read_to_string(file.path()).unwrap_or_default()).collect()
    }

    /// What `cassmount status` says of it; between two workers nobody answers, so it is asked for
    /// as long as `patience`.
    pub fn status(&self, patience: Duration) -> serde_json::Value {
        let deadline = Instant::now() + patience;
        loop {
            let output = cassmount().args(["status", "--json"]).arg(&self.mountpoint).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            if status["mounts"][0]["since"].is_string() {
                return status["mounts"][0].clone();
            }
            assert!(Instant::now() < deadline, "no status: {status}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// `cassmount unmount`, as a user would.
    pub fn unmount(&self) -> Output {
        cassmount().env("CASSMOUNT_STATE_DIR", self.state_dir()).arg("unmount").arg(&self.mountpoint).output().unwrap()
    }

    /// Mounts again what was unmounted; returns what the command said.
    pub fn mount_again(&self) -> String {
        let mut command = cassmount();
        command.env("CASSMOUNT_STATE_DIR", self.state_dir()).envs(self.environment.iter().cloned());
        let output = command.args(&self.words).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Unmounts, whoever uses it, and waits until it is gone.
    pub fn force_unmount(&self) {
        let mut command = cassmount();
        command.env("CASSMOUNT_STATE_DIR", self.state_dir()).args(["unmount", "--force"]).arg(&self.mountpoint);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// Where the journals of restores from it are.
    pub fn state_dir(&self) -> PathBuf {
        self.work.path().join("state")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the mount\n{}---", self.log());
        }
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        if table.contains(&*self.mountpoint.to_string_lossy()) && !self.unmount().status.success() {
            let _ = cassmount().args(["unmount", "--force"]).arg(&self.mountpoint).output();
        }
    }
}
