//! Cassandra as it is installed on this machine: its jars, and the version that their names tell.

use crate::{Error, Kind, Result};
use std::fmt::{self, Write as _};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The oldest release that can be started: what is written here is what 4.0 and later take.
const OLDEST: (u32, u32) = (4, 0);

/// A release: `5.0.6`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    text: String,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(['.', '-']);
        let (major, minor) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
        Some(Self { major, minor, text: text.to_owned() })
    }

    pub(super) fn release(&self) -> (u32, u32) {
        (self.major, self.minor)
    }
}

/// An installation that can be started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Installation {
    pub directory: PathBuf,
    pub version: Version,
    /// Directories with jars.
    pub(super) jars: Vec<PathBuf>,
    /// The agent that measures objects, as Cassandra's own scripts load it.
    pub(super) agent: Option<PathBuf>,
}

impl Installation {
    /// The one that was named, or the first in one of the usual places.
    ///
    /// # Errors
    /// `Kind::NotFound` with where was looked; `Kind::Unsupported` where it is too old.
    pub fn find(named: Option<&Path>, usual: &[PathBuf]) -> Result<Self> {
        if let Some(directory) = named {
            return Self::at(directory)?.ok_or_else(|| {
                Error::not_found(format!(
                    "there is no Cassandra in {}: it needs lib/*.jar, as packages and tarballs have it",
                    directory.display()
                ))
            });
        }
        let mut oldest = None;
        for directory in usual {
            match Self::at(directory) {
                Ok(Some(found)) => return Ok(found),
                Err(error) if error.kind() == Kind::Unsupported => oldest = Some(error),
                Ok(None) => {}
                Err(error) => return Err(error),
            }
        }
        Err(oldest.unwrap_or_else(|| {
            let places: Vec<String> = usual.iter().map(|place| place.display().to_string()).collect();
            Error::not_found(format!(
                "no Cassandra is installed here (looked in {}): unpack apache-cassandra-5.0.x-bin.tar.gz anywhere, and name its directory with --cassandra DIR. It does not touch a Cassandra that runs",
                places.join(", ")
            ))
        }))
    }

    /// A directory of configuration, and all jars.
    pub(super) fn class_path(&self, conf: &Path) -> String {
        let mut text = conf.display().to_string();
        for jars in &self.jars {
            let _ = write!(text, ":{}/*", jars.display());
        }
        text
    }

    /// The installation in a directory; `None` where there is none.
    fn at(directory: &Path) -> Result<Option<Self>> {
        let jars: Vec<PathBuf> = [directory.to_owned(), directory.join("lib")].into();
        let (mut version, mut agent, mut with_jars) = (None, None, Vec::new());
        for place in jars {
            let names = jar_names(&place)?;
            for name in &names {
                version = version.or_else(|| version_of(name));
                if name.starts_with("jamm-") {
                    agent = Some(place.join(name));
                }
            }
            if !names.is_empty() {
                with_jars.push(place);
            }
        }
        let Some(version) = version else { return Ok(None) };
        if version.release() < OLDEST {
            let message = format!(
                "{} has Cassandra {version}: a node of the past needs 4.0 or later, which reads its SSTables too",
                directory.display()
            );
            return Err(Error::new(Kind::Unsupported, message));
        }
        Ok(Some(Self { directory: directory.to_owned(), version, jars: with_jars, agent }))
    }
}

fn jar_names(directory: &Path) -> Result<Vec<String>> {
    let failed = |e| Error::io(format_args!("read {}", directory.display()), e);
    let entries = match fs::read_dir(directory) {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        if let Ok(name) = entry.map_err(failed)?.file_name().into_string()
            && Path::new(&name).extension().is_some_and(|extension| extension == "jar")
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// `5.0.6` of `apache-cassandra-5.0.6.jar`, or of `cassandra-all-5.0.6.jar`, as Maven calls it.
fn version_of(jar: &str) -> Option<Version> {
    let stem = jar.strip_suffix(".jar")?;
    let text = stem.strip_prefix("apache-cassandra-").or_else(|| stem.strip_prefix("cassandra-all-"))?;
    Version::parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed(jars: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for jar in jars {
            let path = directory.path().join(jar);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        directory
    }

    #[test]
    fn packages_and_tarballs_are_found() {
        let tarball =
            installed(&["lib/apache-cassandra-5.0.6.jar", "lib/jamm-0.4.0.jar", "lib/cassandra-driver-core-3.jar"]);
        let found = Installation::find(None, &["/nonexistent".into(), tarball.path().to_owned()]).unwrap();
        assert_eq!((found.version.to_string().as_str(), found.version.release()), ("5.0.6", (5, 0)));
        assert_eq!(found.jars, [tarball.path().join("lib")]);
        assert!(found.agent.unwrap().ends_with("jamm-0.4.0.jar"));
        // The Debian package has its own jar beside lib/.
        let package = installed(&["apache-cassandra-4.1.10.jar", "lib/guava.jar"]);
        let found = Installation::find(Some(package.path()), &[]).unwrap();
        assert_eq!((found.version.release(), found.jars.len()), ((4, 1), 2));
    }

    #[test]
    fn none_and_one_that_is_too_old_are_refused() {
        let empty = installed(&[]);
        for (named, usual) in [(Some(empty.path()), vec![]), (None, vec![empty.path().to_owned()])] {
            let error = Installation::find(named, &usual).unwrap_err();
            assert_eq!(error.kind(), Kind::NotFound);
            assert!(error.to_string().contains(empty.path().to_str().unwrap()), "{error}");
        }
        let old = installed(&["lib/apache-cassandra-3.11.17.jar"]);
        let error = Installation::find(None, &[old.path().to_owned()]).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
        assert!(error.to_string().contains("3.11.17: a node of the past needs 4.0"), "{error}");
    }
}
