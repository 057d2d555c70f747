//! What every layout must do, in one place: the tests of each are these, on what its tool writes.

use crate::case::LayoutCase;
use crate::command::{Mounted, cassmount};
use crate::history::{history, tables};
use crate::walk::{Tree, assert_same, walk_path};
use serde_json::Value;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The history as the layout has it.
pub(crate) struct Written {
    directory: tempfile::TempDir,
    arguments: Vec<String>,
}

impl Written {
    pub(crate) fn new<L: LayoutCase>() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("source")).unwrap();
        L::write(history(), &directory.path().join("source"));
        Self { directory, arguments: L::arguments() }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("source")
    }

    pub(crate) fn mount(&self) -> Mounted {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        Mounted::start(self.path().to_str().unwrap(), &arguments)
    }

    /// Runs a command on it: its name, what follows SOURCE, and whether it must succeed.
    pub(crate) fn run(&self, command: &str, arguments: &[&str], succeeds: bool) -> String {
        let cache = self.directory.path().join("cache");
        let mut cassmount = cassmount();
        cassmount.arg(command).arg(self.path()).args(arguments).args(&self.arguments).arg("--cache-dir").arg(cache);
        let output = cassmount.output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.success(), succeeds, "{command} {arguments:?}: {text}");
        if succeeds { String::from_utf8(output.stdout).unwrap() } else { text }
    }

    fn json(&self, command: &str, arguments: &[&str]) -> Value {
        let text = self.run(command, &[arguments, &["--json"]].concat(), true);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

/// All points of the sample that the layout has: host, the sample's tag, the layout's name.
fn points<L: LayoutCase>() -> Vec<(String, String, String)> {
    let history = history();
    let point = |set: &crate::history::Set| {
        let point = L::point(history, &set.host, &set.tag)?;
        Some((set.host.clone(), set.tag.clone(), point))
    };
    let points: Vec<_> = history.sets.iter().filter_map(point).collect();
    assert!(!points.is_empty());
    points
}

fn expected<L: LayoutCase>(host: &str, tag: &str) -> Tree {
    L::as_kept(history().tables_at(host, tag))
}

/// Recognised by its keys, named by hand, and told from another by name.
pub(crate) fn is_recognised<L: LayoutCase>() {
    let written = Written::new::<L>();
    let hosts = |arguments: &[&str]| -> Vec<String> {
        let listed = written.json("list", arguments);
        listed["hosts"].as_array().unwrap().iter().map(|host| host["host"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(hosts(&[]), history().hosts());
    assert_eq!(hosts(&["--layout", L::NAME]), history().hosts());
    let other = if L::NAME == "cass_ops" { "data_dir" } else { "cass_ops" };
    let refused = written.run("list", &["--layout", other], false);
    for part in [&format!("looks like the layout {other}"), &format!("--layout {}", L::NAME), "it has \""] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    let mount = written.path();
    let mount = Mounted::try_start(mount.to_str().unwrap(), &["--layout", other]).map(drop).unwrap_err();
    assert!(String::from_utf8_lossy(&mount.stderr).contains(&format!("--layout {}", L::NAME)), "{mount:?}");
}

/// Each restore point shows what the same sets show in every other layout, name by name and byte by
/// byte.
pub(crate) fn shows_the_same_tree<L: LayoutCase>() {
    let written = Written::new::<L>();
    let mounted = written.mount();
    for (host, tag, point) in points::<L>() {
        let seen = tables(walk_path(&mounted.path(format!("{host}/restore-points/{point}"))));
        println!("{host} {tag} as {point}: {} names", seen.len());
        assert_same(&seen, &expected::<L>(&host, &tag));
    }
}

/// Full and incremental sets, in order of time, none of them with a problem.
pub(crate) fn lists_restore_points<L: LayoutCase>() {
    let written = Written::new::<L>();
    for host in history().hosts() {
        let listed = written.json("list", &[host]);
        let sets = listed["sets"].as_array().unwrap();
        let times: Vec<&str> = sets.iter().map(|set| set["time"].as_str().unwrap()).collect();
        assert!(times.is_sorted(), "{times:?}");
        let kinds: Vec<&str> = sets.iter().map(|set| set["kind"].as_str().unwrap()).collect();
        assert_eq!(
            kinds.iter().filter(|kind| **kind == "full").count(),
            history().of_host(host).filter(|set| set.full).count()
        );
        assert_eq!(kinds.contains(&"incremental"), L::INCREMENTALS, "{kinds:?}");
        for set in sets {
            assert_eq!(set["finished"], true, "{set}");
        }
        for (_, _, point) in points::<L>().iter().filter(|(of, ..)| of == host) {
            let chain = written.json("chain", &[host, point]);
            assert!(!chain["tables"].as_array().unwrap().is_empty(), "{chain}");
        }
    }
}

/// verify, index, chain and extract find nothing wrong, and extract writes what a mount shows.
pub(crate) fn commands_work_on_it<L: LayoutCase>() {
    let written = Written::new::<L>();
    let verified = written.json("verify", &["--deep"]);
    assert_eq!(verified["findings"].as_array().unwrap().len(), 0, "{:#}", verified["findings"]);
    assert!(verified["checked"]["bytes"].as_u64().unwrap() > 0);
    written.run("index", &[], true);
    let (host, tag, point) = points::<L>().pop().unwrap();
    let target = tempfile::tempdir().unwrap();
    written.run("extract", &[&host, &point, target.path().to_str().unwrap()], true);
    let extracted = tables(walk_path(target.path()));
    let extracted = extracted.into_iter().filter(|(path, _)| !path.starts_with(".cassmount-extract")).collect();
    assert_same(&extracted, &expected::<L>(&host, &tag));
    if L::DESCRIBED {
        let schema = written.run("schema", &[&host, &point], true);
        // Below its head, which names the restore point.
        let statements = |schema: &str| schema.split_once("\n\n").unwrap().1.to_owned();
        assert_eq!(statements(&schema), statements(history().schema(&host, &tag)));
    }
}

/// What is gone is reported, and hides nothing else.
pub(crate) fn reports_what_is_missing<L: LayoutCase>() {
    let written = Written::new::<L>();
    let (host, gone) = L::a_data_file(&written.path());
    fs::remove_file(&gone).unwrap();
    let findings = written.run("verify", &[&host, "--deep", "--json"], !L::KNOWS_MISSING);
    if L::KNOWS_MISSING {
        let name = L::named_when_missing(&gone);
        assert!(findings.contains(&name), "{name}: {findings}");
    }
    let mounted = written.mount();
    let seen = walk_path(&mounted.path(format!("{host}/restore-points/latest/shop")));
    assert!(seen.len() > 20, "{seen:?}");
}

/// Bytes that are not what Cassandra wrote are found.
pub(crate) fn reports_damage<L: LayoutCase>() {
    let written = Written::new::<L>();
    let (host, damaged) = L::a_data_file(&written.path());
    let mut bytes = fs::read(&damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let findings = written.run("verify", &[&host, "--deep"], false);
    assert!(findings.contains("CRC-32") || findings.contains("MD5"), "{findings}");
}

/// Names that a file system must not see, and names that are nobody's, change nothing else.
pub(crate) fn survives_hostile_names<L: LayoutCase>() {
    let written = Written::new::<L>();
    let (host, data) = L::a_data_file(&written.path());
    let before = {
        let mounted = written.mount();
        walk_path(&mounted.path(format!("{host}/restore-points")))
    };
    for name in [&b"a\nb"[..], b"\x1b[2J", b"-rf", b"x y", b"..."] {
        let name = std::ffi::OsStr::from_bytes(name);
        fs::create_dir_all(written.path().join(name)).unwrap();
        fs::write(written.path().join(name).join("file"), "x").unwrap();
        // Beside the directory of the file's table.
        fs::write(data.parent().unwrap().parent().unwrap().join(name), "x").unwrap();
    }
    let mounted = written.mount();
    assert_same(&walk_path(&mounted.path(format!("{host}/restore-points"))), &before);
    for shown in walk_path(&mounted.mountpoint).keys() {
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
    }
    let listed = written.run("list", &[&host], true);
    assert!(!listed.contains('\x1b'), "{listed:?}");
}

/// The tests of one layout.
macro_rules! layout_tests {
    ($layout:ty) => {
        #[test]
        fn is_recognised() {
            crate::suite::is_recognised::<$layout>();
        }
        #[test]
        fn shows_the_same_tree() {
            crate::suite::shows_the_same_tree::<$layout>();
        }
        #[test]
        fn lists_restore_points() {
            crate::suite::lists_restore_points::<$layout>();
        }
        #[test]
        fn commands_work_on_it() {
            crate::suite::commands_work_on_it::<$layout>();
        }
        #[test]
        fn reports_what_is_missing() {
            crate::suite::reports_what_is_missing::<$layout>();
        }
        #[test]
        fn reports_damage() {
            crate::suite::reports_damage::<$layout>();
        }
        #[test]
        fn survives_hostile_names() {
            crate::suite::survives_hostile_names::<$layout>();
        }
    };
}
pub(crate) use layout_tests;
