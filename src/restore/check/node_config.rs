//! What a node's cassandra.yaml says about files that cannot be read: nodetool does not tell.

use super::USUAL_CONFIGS;
use crate::restore::open_files;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A cassandra.yaml, and the lines of it that matter here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct NodeConfig {
    path: PathBuf,
    disk_failure_policy: Option<String>,
    disk_access_mode: Option<String>,
}

/// What will be when the store is away, and when Cassandra starts without the mount: sentences for
/// a person.
pub(in crate::restore) fn notes(named: Option<&Path>, directories: &[PathBuf], mountpoint: &Path) -> Vec<String> {
    match find(named, directories) {
        Ok(config) => config.notes(mountpoint),
        Err(why) => vec![format!(
            "what an outage of the store, or a start without the mount, would do to the node is not known: {why}; --cassandra-yaml names it"
        )],
    }
}

/// Reads the file that was named, that of the process that has the directories open, or one in a
/// usual place.
fn find(named: Option<&Path>, directories: &[PathBuf]) -> Result<NodeConfig, String> {
    let candidates = if let Some(named) = named {
        vec![named.to_owned()]
    } else {
        let data: BTreeSet<&Path> =
            directories.iter().map(|path| crate::restore::status::data_directory(path)).collect();
        let process = open_files::reader_of(&data).map(|(pid, _)| PathBuf::from(format!("/proc/{pid}")));
        let of_process = process.into_iter().flat_map(|process| of_process(&process));
        of_process.chain(USUAL_CONFIGS.map(PathBuf::from)).collect()
    };
    for path in candidates {
        match fs::read_to_string(&path) {
            Ok(text) => return Ok(NodeConfig::parse(&path, &text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => {}
            Err(error) => return Err(format!("{} cannot be read: {error}", path.display())),
        }
    }
    Err("no cassandra.yaml was found".to_owned())
}

/// Where a Cassandra's own command line says that its configuration is, seen from here.
fn of_process(process: &Path) -> Vec<PathBuf> {
    let words = fs::read(process.join("cmdline")).unwrap_or_default();
    let words: Vec<String> = words.split(|byte| *byte == 0).map(|w| String::from_utf8_lossy(w).into_owned()).collect();
    let mut found = Vec::new();
    let mut add = |path: &str| {
        // It may run in a container; else the name that everybody uses is the file's.
        let (its, ours) = (process.join("root").join(path.trim_start_matches('/')), PathBuf::from(path));
        found.push(if is_same_file(&its, &ours) { ours } else { its });
    };
    for word in &words {
        if let Some(named) = word.strip_prefix("-Dcassandra.config=") {
            let path = named.strip_prefix("file:").map_or(named, |path| path.trim_start_matches('/'));
            if named.starts_with("file:") || named.starts_with('/') {
                add(path);
            }
        }
    }
    let class_path =
        words.iter().position(|word| word == "-cp" || word == "-classpath").and_then(|at| words.get(at + 1));
    // What is no jar is a directory, of classes or of configuration.
    let is_jar = |path: &str| Path::new(path).extension().is_some_and(|extension| extension == "jar");
    for directory in class_path.iter().flat_map(|path| path.split(':')).filter(|path| !is_jar(path)) {
        add(&format!("{}/cassandra.yaml", directory.trim_end_matches("/*")));
    }
    found
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino())).ok();
    identity(one).is_some_and(|one| identity(other) == Some(one))
}

impl NodeConfig {
    fn parse(path: &Path, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            disk_failure_policy: scalar(text, "disk_failure_policy"),
            disk_access_mode: scalar(text, "disk_access_mode"),
        }
    }

    fn notes(&self, mountpoint: &Path) -> Vec<String> {
        let (file, mount) = (self.path.display(), mountpoint.display());
        // Config.java: ignore, where the file does not say.
        let policy = self.disk_failure_policy.as_deref().unwrap_or("ignore");
        let outage = match policy {
            "die" => "kill Cassandra",
            "stop" | "stop_paranoid" => "cut the node off from clients and from the cluster until it is restarted",
            "best_effort" => "take the restored SSTables out of their tables until the node is restarted",
            _ => "fail the query that needs it",
        };
        let start = match policy {
            "die" | "stop" | "stop_paranoid" => "5.0 refuses to start, 4.1 starts and shows the restored tables EMPTY",
            _ => "Cassandra starts all the same and shows the restored tables EMPTY, without an error to any client",
        };
        let mut notes = vec![
            format!(
                "disk_failure_policy is {policy} ({file}): a read that fails would {outage}; so reads of linked files wait while the store is away, as long as the mount's --live-timeout says"
            ),
            format!(
                "if Cassandra is started while {mount} is not mounted: {start}. No row is lost: mount it, then `cassmount restore repair`"
            ),
        ];
        if self.disk_access_mode.as_deref().is_none_or(|mode| mode != "standard") {
            notes.push(format!(
                "disk_access_mode is {}: while the store is away, a query that waits for a mapped file can hold up the whole JVM, gossip included, until the store answers; `standard` does not",
                self.disk_access_mode.as_deref().unwrap_or("not set, so files are mapped")
            ));
        }
        notes
    }
}

/// The value of a key at the top of a YAML document, where it is a plain or quoted word.
fn scalar(text: &str, key: &str) -> Option<String> {
    let value = text.lines().rev().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix(':'))?;
    let value = value.split(" #").next().unwrap_or_default().trim();
    let value = value.trim_matches(|c| c == '"' || c == '\'');
    (!value.is_empty() && !value.starts_with('#')).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_words_at_the_top() {
        let text = "# disk_failure_policy: die\nother:\n  disk_failure_policy: die\ndisk_failure_policy: \"stop\" # yes\ndisk_access_mode:\n";
        assert_eq!(scalar(text, "disk_failure_policy").as_deref(), Some("stop"));
        assert_eq!(scalar(text, "disk_access_mode"), None);
        assert_eq!(scalar("a : b", "a").as_deref(), Some("b"));
        assert_eq!(scalar("a: # none", "a"), None);
    }

    #[test]
    fn each_policy_has_its_sentence() {
        for (text, outage, start) in [
            ("disk_failure_policy: stop", "cut the node off", "refuses to start"),
            ("disk_failure_policy: die", "kill Cassandra", "refuses to start"),
            ("disk_failure_policy: best_effort", "out of their tables", "EMPTY, without"),
            ("", "fail the query", "EMPTY, without"),
        ] {
            let notes = NodeConfig::parse(Path::new("/c.yaml"), text).notes(Path::new("/mnt"));
            assert!(notes[0].contains(outage) && notes[1].contains(start), "{text}: {notes:?}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_said() {
        let notes = notes(Some(Path::new("/nonexistent/cassandra.yaml")), &[], Path::new("/mnt"));
        assert!(notes[0].contains("/nonexistent/cassandra.yaml cannot be read"), "{notes:?}");
    }

    #[test]
    fn a_running_cassandra_says_where_its_configuration_is() {
        let process = tempfile::tempdir().unwrap();
        let words = "java\0-Dcassandra.config=file:///etc/c/cassandra.yaml\0-cp\0/conf:/lib/a.jar:/lib/*\0Main\0";
        fs::write(process.path().join("cmdline"), words).unwrap();
        let root = process.path().join("root");
        let expected = ["etc/c/cassandra.yaml", "conf/cassandra.yaml", "lib/cassandra.yaml"];
        assert_eq!(of_process(process.path()), expected.map(|path| root.join(path)));
        // It runs here, and not in a container.
        let file = process.path().join("cassandra.yaml");
        fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink("/", &root).unwrap();
        fs::write(process.path().join("cmdline"), format!("java\0-Dcassandra.config={}\0", file.display())).unwrap();
        assert_eq!(of_process(process.path()), [file]);
    }
}
