//! Reports as people see them: golden, on terminals of 80 and 140 characters, with colours and
//! without. UPDATE_GOLDEN=1 writes them anew.

use testkit::bucket::{Bucket, sample_keys};
use testkit::command::cassmount;
use testkit::fleet;

use std::fs;
use std::path::Path;
use std::process::Output;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/sample/bucket");
const ESCAPE: char = '\x1b';

/// Runs a command on a terminal of so many characters.
fn run(arguments: &[&str], columns: &str, colour: bool) -> Output {
    let cache = tempfile::tempdir().unwrap();
    let mut command = cassmount();
    command.args(arguments).arg("--cache-dir").arg(cache.path());
    command.env("CASSMOUNT_NOW", fleet::NOW).env("COLUMNS", columns);
    if colour {
        command.env("CLICOLOR_FORCE", "1");
    }
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    // 1 where a restore point that is listed lacks something.
    assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Without colours.
fn plain(text: &str) -> String {
    let mut parts = text.split(ESCAPE);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| plain + part.split_once('m').map_or("", |(_, rest)| rest))
}

#[test]
fn reports_fit_the_terminal() {
    let fleet = Bucket::new();
    fleet::write(&fleet.path());
    let (source, keys) = (fleet.source(), sample_keys());
    let reports: [(&str, Vec<&str>); 6] = [
        ("list", vec!["list", &source]),
        ("list-cluster", vec!["list", SAMPLE, "--cluster"]),
        ("list-host", vec!["list", SAMPLE, "cass-a"]),
        ("list-host-lacking", vec!["list", &source, "cass-05", "--since", "2026-11-10", "--until", "2026-11-16"]),
        ("chain", [&["chain", SAMPLE, "cass-a", "2026-11-21-02-49"], &keys[..]].concat()),
        ("chain-sstables", [&["chain", SAMPLE, "cass-a", "--table", "shop.users", "--sstables"], &keys[..]].concat()),
    ];
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/reports");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    fs::create_dir_all(&directory).unwrap();
    for (name, arguments) in &reports {
        let unbounded = text(&run(arguments, "1000", false));
        let words: Vec<&str> = unbounded.split_whitespace().collect();
        for columns in ["80", "140"] {
            let shown = text(&run(arguments, columns, false)).replace(&source, "SOURCE");
            let coloured = text(&run(arguments, columns, true)).replace(&source, "SOURCE");
            assert!(!shown.contains(ESCAPE), "{name}: {shown}");
            assert_eq!(plain(&coloured), shown, "{name}");
            assert!(*name == "chain-sstables" || coloured.contains(ESCAPE), "{name}: {coloured}");
            let width: usize = columns.parse().unwrap();
            for line in shown.lines() {
                assert!(line.chars().count() <= width, "{name}, {columns}: {line}");
            }
            for word in shown.replace("SOURCE", &source).split_whitespace() {
                assert!(words.contains(&word), "{name}, {columns}: {word:?} is a broken word in\n{shown}");
            }
            for (ending, shown) in [("", shown), ("-colour", coloured)] {
                let path = directory.join(format!("{name}-{columns}{ending}.txt"));
                if update {
                    fs::write(&path, &shown).unwrap();
                }
                let agreed = fs::read_to_string(&path).unwrap_or_default();
                assert_eq!(
                    shown, agreed,
                    "{name}: if that is meant, run UPDATE_GOLDEN=1 cargo test --test command reports"
                );
            }
        }
    }
}

#[test]
fn each_fault_of_a_fleet_is_told_without_being_asked() {
    let fleet = Bucket::new();
    fleet::write(&fleet.path());
    let listed = text(&run(&["list", &fleet.source()], "200", false));
    let line =
        |host: &str| listed.lines().find(|line| line.starts_with(host)).unwrap_or_else(|| panic!("{host}: {listed}"));
    for (host, strip, state) in [
        ("cass-02", "F444444F444444F444444F444444", "  ok"),
        ("cass-03", "F444444F444444F444444F444...", "STOPPED: 3 days without"),
        ("cass-05", "F444444F44!444F444444F444444", "INCOMPLETE: 16 restore points, not the newest"),
        ("cass-07", "F444444F44444..444444F444444", "2 days without before 16 Nov 02:02"),
        ("cass-09", "F444444F4444443444444F444444", "no full on 15 Nov (chain of 55 sets)"),
    ] {
        assert!(line(host).contains(strip) && line(host).contains(state), "{host}: {listed}");
    }
    assert_eq!(listed.lines().filter(|line| line.ends_with("  ok")).count(), 8, "{listed}");
    assert!(listed.contains("all 12 hosts can be restored to 2026-11-25-20-04, 3 days ago"), "{listed}");
    assert!(listed.contains("11 of 12 hosts: 2026-11-28-20-04, 5 hours ago; not cass-03"), "{listed}");

    let points = text(&run(&["list", &fleet.source(), "--cluster"], "200", false));
    let last = points.lines().last().unwrap();
    assert!(last.starts_with("2026-11-28-20-04  incr  11 of 12 hosts") && last.ends_with("not cass-03"), "{last}");
    // A run is a POINT on each of its hosts.
    let host = text(&run(&["list", &fleet.source(), "cass-01", "--until", "2026-11-25-20-04"], "200", false));
    assert!(host.lines().last().unwrap().starts_with("2026-11-25-20-01 "), "{host}");
}
