//! nodetool of a node that takes JMX: on the loopback address only, and only from who can read the
//! node's directory.

use super::address::any_port;
use super::files::{make_private, write_private};
use super::installation::Installation;
use super::java::Java;
use crate::cassandra::TableName;
use crate::restore::Program;
use crate::{Error, Kind, Result};
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

const USER: &str = "cassmount";
/// Longest verification of one table: all of it is read.
const DEADLINE: Duration = Duration::from_hours(24);
/// What nodetool exits with where the node could not do what it was asked for.
const FAILED: i32 = 2;

/// How nodetool reaches a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct NodeTool {
    program: Program,
    port: u16,
    password: PathBuf,
    has_modules: bool,
}

impl NodeTool {
    /// Chooses a port and a password for a node that is to be started.
    pub(super) fn of(installation: &Installation, java: &Java, directory: &Path) -> Result<Self> {
        let conf = directory.join("conf");
        make_private(&conf)?;
        let password = conf.join("jmx.password");
        write_private(&password, format!("{USER} {}\n", secret()?).as_bytes())?;
        let silent = conf.join("logback-nodetool.xml");
        write_private(&silent, b"<configuration><root level=\"OFF\"/></configuration>\n")?;
        let words = ["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"].map(str::to_owned).into_iter();
        let words = words.chain(java.options()).chain([
            // Where it keeps its history.
            format!("-Duser.home={}", directory.display()),
            format!("-Dlogback.configurationFile={}", silent.display()),
            "-cp".to_owned(),
            installation.class_path(&conf),
            "org.apache.cassandra.tools.NodeTool".to_owned(),
        ]);
        let program = words.fold(Program::at(&java.program), |program, word| program.with(&word));
        Ok(Self { program, port: any_port(Ipv4Addr::LOCALHOST)?, password, has_modules: java.major > 8 })
    }

    /// What Cassandra is started with, to take it.
    pub(super) fn server_words(&self) -> Vec<String> {
        let mut words = vec![
            // Of the loopback address.
            format!("-Dcassandra.jmx.local.port={}", self.port),
            "-Dcom.sun.management.jmxremote.authenticate=true".to_owned(),
            format!("-Dcom.sun.management.jmxremote.password.file={}", self.password.display()),
        ];
        if self.has_modules {
            // Who compares the password.
            words.push("--add-exports=java.management/com.sun.jmx.remote.security=ALL-UNNAMED".to_owned());
        }
        words
    }

    /// Has Cassandra verify each row of a table's SSTables. Returns what it says where it finds one
    /// damaged.
    ///
    /// # Errors
    /// When it was not verified.
    pub(super) fn verify_extended(&self, table: &TableName) -> Result<Option<String>> {
        let (port, password) = (self.port.to_string(), self.password.display().to_string());
        let how = ["-p", &port, "-u", USER, "-pwf", &password];
        // Cassandra asks to be sure (CASSANDRA-9947): of what it finds damaged it may change whether
        // it counts as repaired. Not without --rsc.
        let what = ["verify", "--extended-verify", "--force", "--", &table.keyspace, &table.table];
        let said = self.program.run(&[&how[..], &what[..]].concat(), DEADLINE)?;
        match said.status.code() {
            Some(0) => Ok(None),
            Some(FAILED) => Ok(Some(said.why())),
            _ => Err(Error::new(Kind::NotRunning, format!("nodetool verify could not be run: {}", said.why()))),
        }
    }
}

/// Nobody else can guess it.
fn secret() -> Result<String> {
    let path = "/dev/urandom";
    let mut bytes = [0; 16];
    File::open(path)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|e| Error::io(format!("read {path}"), e))?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    /// nodetool in a directory, where it is this shell script.
    fn nodetool(directory: &Path, script: &str) -> NodeTool {
        let java = directory.join("java");
        fs::write(&java, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&java, fs::Permissions::from_mode(0o755)).unwrap();
        let jar = directory.join("cassandra-all-5.0.6.jar");
        fs::write(jar, "").unwrap();
        let installation = Installation::find(Some(directory), &[]).unwrap();
        NodeTool::of(&installation, &Java { program: java, major: 17 }, &directory.join("node")).unwrap()
    }

    #[test]
    fn what_was_not_verified_is_not_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let table = TableName::new("shop", "Orders");
        let verify = |script| nodetool(directory.path(), script).verify_extended(&table);
        assert_eq!(verify("exit 0").unwrap(), None);
        let damaged = verify("echo 'error: Corrupted: nb-1-big-Data.db' >&2; echo '-- StackTrace --' >&2; exit 2");
        assert_eq!(damaged.unwrap().unwrap(), "error: Corrupted: nb-1-big-Data.db");
        let error = verify("echo 'Failed to connect' >&2; exit 1").unwrap_err().to_string();
        assert!(error.contains("could not be run: Failed to connect"), "{error}");
    }

    #[test]
    fn only_its_user_is_let_in() {
        let directory = tempfile::tempdir().unwrap();
        let args = directory.path().join("args");
        let one = nodetool(directory.path(), &format!("echo \"$@\" >{}", args.display()));
        one.verify_extended(&TableName::new("shop", "Orders")).unwrap();
        let password = fs::read_to_string(&one.password).unwrap();
        assert_eq!(fs::metadata(&one.password).unwrap().permissions().mode() & 0o777, 0o600);
        let said = fs::read_to_string(args).unwrap();
        assert!(said.contains("verify --extended-verify --force -- shop Orders"), "{said}");
        assert!(!said.contains(password.trim().rsplit(' ').next().unwrap()), "{said}");
        let words = one.server_words().join(" ");
        assert!(words.contains("authenticate=true") && words.contains(&format!("local.port={}", one.port)), "{words}");
        assert_ne!(password, fs::read_to_string(nodetool(directory.path(), "").password).unwrap());
    }
}
