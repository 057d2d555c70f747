//! A Java that runs the installed Cassandra, and the options that Cassandra needs on it.

use super::installation::Version;
use crate::restore::Program;
use crate::{Error, Kind, Result};
use std::path::{Path, PathBuf};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(30);
/// The modules by which nodetool reaches a Cassandra (JMX, by a name of JNDI).
const FOR_NODETOOL: [&str; 3] = ["java.management.rmi", "java.naming", "jdk.naming.rmi"];

/// A Java runtime.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Java {
    pub program: PathBuf,
    pub major: u32,
}

impl Java {
    /// The first of these programs that this Cassandra runs on.
    ///
    /// # Errors
    /// `Kind::NotFound` with what is needed and what is there.
    pub fn find(cassandra: &Version, candidates: &[PathBuf]) -> Result<Self> {
        let runs_on = runs_on(cassandra);
        let mut seen = Vec::new();
        for program in candidates {
            if !program.is_file() {
                continue;
            }
            let major = major_version(program)?;
            match major {
                Some(major) if runs_on.contains(&major) => return Ok(Self { program: program.clone(), major }),
                Some(major) => seen.push(format!("{} is Java {major}", program.display())),
                None => seen.push(format!("{} does not say its version", program.display())),
            }
        }
        let there = if seen.is_empty() { "there is no java here".to_owned() } else { seen.join(", ") };
        let wanted: Vec<String> = runs_on.iter().map(ToString::to_string).collect();
        Err(Error::not_found(format!(
            "Cassandra {cassandra} runs on Java {}, and {there}: install it, or name its directory in JAVA_HOME",
            wanted.join(" or ")
        )))
    }

    /// Makes sure that nodetool runs on it, too: Java runtimes that come trimmed run a Cassandra and lack
    /// what nodetool finds one by.
    ///
    /// # Errors
    /// `Kind::NotFound` with what is missing.
    pub fn check_for_nodetool(&self) -> Result<()> {
        if self.major <= 8 {
            return Ok(());
        }
        let said = Program::at(&self.program).run(&["--list-modules"], DEADLINE)?;
        let has = |module: &str| said.stdout.lines().any(|line| line.split('@').next() == Some(module));
        let lacks: Vec<&str> = FOR_NODETOOL.into_iter().filter(|module| !has(module)).collect();
        if lacks.is_empty() {
            return Ok(());
        }
        Err(Error::not_found(format!(
            "{} is a Java {} without {}: Cassandra runs on it, and nodetool, which verifies, does not. Install a whole \
             Java {}, or name its directory in JAVA_HOME",
            self.program.display(),
            self.major,
            lacks.join(" and "),
            self.major
        )))
    }

    /// The options that open what Cassandra reaches for in this Java.
    pub(super) fn options(&self) -> Vec<String> {
        let mut options = vec![
            "-Djdk.attach.allowAttachSelf=true".to_owned(),
            "-Dio.netty.tryReflectionSetAccessible=true".to_owned(),
        ];
        let (exports, opens) = match self.major {
            // Before there were modules.
            0..=8 => return options,
            9..=16 => (EXPORTS_11, &[][..]),
            17.. => (EXPORTS_17, OPENS_17),
        };
        for package in exports {
            options.extend(["--add-exports".to_owned(), format!("{package}=ALL-UNNAMED")]);
        }
        for package in OPENS.iter().chain(opens) {
            options.extend(["--add-opens".to_owned(), format!("{package}=ALL-UNNAMED")]);
        }
        options
    }
}

/// As each release's own scripts check it.
fn runs_on(cassandra: &Version) -> &'static [u32] {
    match cassandra.release() {
        (..=4, _) => &[11, 8],
        (5, 0) => &[17, 11],
        _ => &[21, 17, 11],
    }
}

/// `17` of `openjdk version "17.0.15" 2025-04-15`, `8` of `java version "1.8.0_392"`.
fn major_version(program: &Path) -> Result<Option<u32>> {
    let said = match Program::at(program).run(&["-version"], DEADLINE) {
        // One that does not start, or hangs, is none.
        Err(error) if matches!(error.kind(), Kind::NotFound | Kind::TimedOut) => return Ok(None),
        said => said?,
    };
    let major = |text: &str| {
        let version = text.split('"').nth(1)?;
        let mut numbers = version.split(['.', '-', '+', '_']);
        match numbers.next()?.parse().ok()? {
            1 => numbers.next()?.parse().ok(),
            major => Some(major),
        }
    };
    Ok(major(&said.stderr).or_else(|| major(&said.stdout)))
}

// Source: conf/jvm11-server.options of Cassandra 4.1 and conf/jvm17-server.options of 5.0. First
// what both have.
const OPENS: &[&str] = &[
    "java.base/java.lang.module",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.util.jar",
    "jdk.management/com.sun.management.internal",
];
const EXPORTS_17: &[&str] = &[
    "java.base/jdk.internal.misc",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
    "java.base/java.lang.ref",
    "jdk.unsupported/sun.misc",
    "jdk.compiler/com.sun.tools.javac.file",
    "jdk.attach/sun.tools.attach",
];
const OPENS_17: &[&str] = &[
    "java.base/sun.nio.ch",
    "java.base/java.io",
    "java.base/java.lang.reflect",
    "jdk.compiler/com.sun.tools.javac",
    "java.base/java.lang",
    "java.base/java.util",
    "java.base/java.nio",
];
const EXPORTS_11: &[&str] = &[
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::installation::Installation;
    use std::os::unix::fs::PermissionsExt as _;

    fn java(directory: &Path, version: &str) -> PathBuf {
        let path = directory.join(format!("java-{}", version.replace('.', "-")));
        std::fs::write(&path, format!("#!/bin/sh\necho 'openjdk version \"{version}\" 2025' >&2\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn cassandra(version: &str) -> Version {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(format!("cassandra-all-{version}.jar")), "").unwrap();
        Installation::find(Some(directory.path()), &[]).unwrap().version
    }

    #[test]
    fn the_first_java_that_fits_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let [old, eleven, newest] = ["1.8.0_392", "11.0.13", "25"].map(|version| java(directory.path(), version));
        let missing = directory.path().join("none");
        let all = [missing, newest.clone(), old, eleven];
        assert_eq!(Java::find(&cassandra("5.0.6"), &all).unwrap().major, 11);
        assert_eq!(Java::find(&cassandra("4.1.10"), &all).unwrap().major, 8);
        let error = Java::find(&cassandra("5.0.6"), &[newest]).unwrap_err().to_string();
        assert!(error.contains("runs on Java 17 or 11, and ") && error.contains("is Java 25"), "{error}");
        let error = Java::find(&cassandra("5.0.6"), &[]).unwrap_err().to_string();
        assert!(error.contains("there is no java here"), "{error}");
    }

    #[test]
    fn a_java_without_what_nodetool_needs_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("java");
        let check = |major, modules: &str| {
            std::fs::write(&program, format!("#!/bin/sh\nprintf '{modules}'\n")).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            Java { program: program.clone(), major }.check_for_nodetool()
        };
        check(11, "java.base@11\\njava.management.rmi@11\\njava.naming@11\\njdk.naming.rmi@11\\n").unwrap();
        check(8, "").unwrap();
        let error = check(11, "java.base@11\\njava.management.rmi@11\\njava.naming@11\\n").unwrap_err().to_string();
        assert!(
            error.contains("is a Java 11 without jdk.naming.rmi: ") && error.contains("a whole Java 11"),
            "{error}"
        );
    }

    #[test]
    fn options_are_those_of_the_version() {
        let of = |major| Java { program: PathBuf::new(), major }.options();
        assert!(!of(8).contains(&"--add-opens".to_owned()));
        assert!(of(11).contains(&"java.base/sun.nio.ch=ALL-UNNAMED".to_owned()));
        assert!(of(17).contains(&"java.base/java.lang.reflect=ALL-UNNAMED".to_owned()));
    }
}
