//! Where Cassandra and Java are found when nobody names them.

use std::path::{Path, PathBuf};

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// CASSANDRA_HOME, where packages install, and where people unpack tarballs; of several versions
/// the newest first.
pub(in crate::cli) fn installations() -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = variable("CASSANDRA_HOME").into_iter().collect();
    places.push("/usr/share/cassandra".into());
    for parent in [Some("/opt".into()), std::env::home_dir()].into_iter().flatten() {
        places.extend(unpacked(&parent));
    }
    places
}

fn unpacked(parent: &Path) -> Vec<PathBuf> {
    // A directory that cannot be read has nothing for us: --cassandra names any.
    let entries = parent.read_dir().into_iter().flatten().flatten();
    let is_cassandra = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.starts_with("cassandra") || name.starts_with("apache-cassandra")
    };
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_cassandra).collect();
    found.sort();
    found.reverse();
    found
}

/// JAVA_HOME's, those on the PATH, and those that packages install.
pub(super) fn javas() -> Vec<PathBuf> {
    let mut programs: Vec<PathBuf> = variable("JAVA_HOME").map(|home| home.join("bin/java")).into_iter().collect();
    let path = std::env::var_os("PATH").unwrap_or_default();
    programs.extend(std::env::split_paths(&path).map(|directory| directory.join("java")));
    let mut packaged: Vec<PathBuf> = Path::new("/usr/lib/jvm")
        .read_dir()
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin/java"))
        .collect();
    packaged.sort();
    programs.extend(packaged);
    programs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tarballs_are_found_newest_first() {
        let opt = tempfile::tempdir().unwrap();
        for name in ["apache-cassandra-4.1.10", "cassandra", "apache-cassandra-5.0.6", "other"] {
            std::fs::create_dir(opt.path().join(name)).unwrap();
        }
        let found =
            ["cassandra", "apache-cassandra-5.0.6", "apache-cassandra-4.1.10"].map(|name| opt.path().join(name));
        assert_eq!(unpacked(opt.path()), found);
        assert!(unpacked(Path::new("/nonexistent")).is_empty());
    }
}
