//! Cassandra's own shell, which is a package of its own on PyPI: fetched once and kept beside the
//! server's jars.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::install::in_cache;
use super::missing::Missing;
use super::node::Node;
use super::process::{Finished, run};
use super::tools::TOOL_DEADLINE;

const DEADLINE: Duration = Duration::from_mins(5);

/// Talks to every release that tests run.
const PACKAGE: &str = "cqlsh==6.2.2";

/// cqlsh on this machine.
pub struct Cqlsh {
    home: PathBuf,
}

impl Cqlsh {
    /// Finds it in the cache, or has pip fetch it.
    pub fn find() -> Result<Self, Missing> {
        in_cache(|cache| {
            let home = cache.join(PACKAGE);
            if !home.exists() {
                fetch(cache, &home)?;
            }
            let shell = Self { home };
            let finished = run(shell.command().arg("--version"), DEADLINE);
            if finished.status.success() {
                return Ok(shell);
            }
            // Its driver is compiled for the Python that fetched it.
            let again = format!("remove {} and run again: {}", shell.home.display(), last_line(&finished.stderr));
            Err(Missing::new("a cqlsh that runs", again))
        })
    }

    /// `cqlsh -f <file>` on the node. It goes on after an error, and its exit status tells that
    /// there was one.
    pub fn execute(&self, node: &Node, file: &Path) -> Finished {
        let mut command = self.command();
        command.arg("-f").arg(file).args([node.address.to_string(), node.ports.native.to_string()]);
        run(&mut command, TOOL_DEADLINE)
    }

    /// The words of a command line that runs it on the node, for programs that take one.
    pub fn words(&self, node: &Node) -> String {
        let home = self.home.display();
        format!("env PYTHONPATH={home} HOME={home} python3 {home}/bin/cqlsh {} {}", node.address, node.ports.native)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("python3");
        // It keeps a history and reads a configuration below HOME.
        command.env("PYTHONPATH", &self.home).env("HOME", &self.home).arg(self.home.join("bin/cqlsh"));
        command
    }
}

fn fetch(cache: &Path, home: &Path) -> Result<(), Missing> {
    let missing = |why: &str| {
        let how = format!("apt-get install python3-pip, and let pip fetch {PACKAGE} once: {}", last_line(why));
        Missing::new("cqlsh", how)
    };
    if Command::new("python3").arg("--version").output().is_err() {
        return Err(missing("python3 is not on the path"));
    }
    let work = tempfile::tempdir_in(cache).map_err(|error| missing(&error.to_string()))?;
    let tree = work.path().join("tree");
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]).arg(&tree).arg(PACKAGE);
    let finished = run(&mut pip, DEADLINE);
    if !finished.status.success() {
        return Err(missing(&finished.stderr));
    }
    // Renamed into place whole, as the jars are.
    std::fs::rename(tree, home).map_err(|error| missing(&error.to_string()))
}

fn last_line(text: &str) -> &str {
    text.trim_end().lines().last().unwrap_or_default()
}
