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
    let wish = if colour { ("CLICOLOR_FORCE", "1") } else { ("CLICOLOR", "0") };
    wished(arguments, columns, &[wish])
}

fn wished(arguments: &[&str], columns: &str, wishes: &[(&str, &str)]) -> Output {
    let cache = tempfile::tempdir().unwrap();
    let mut command = cassmount();
    command.args(arguments).env("CASSMOUNT_CACHE_DIR", cache.path());
    command.env("CASSMOUNT_NOW", fleet::NOW).env("COLUMNS", columns).envs(wishes.iter().copied());
    command.output().unwrap()
}

#[test]
fn no_color_is_heeded() {
    let list = |wishes: &[(&str, &str)]| text(&wished(&["list", SAMPLE], "80", wishes)).contains(ESCAPE);
    assert!(list(&[("CLICOLOR_FORCE", "1")]));
    for wishes in [&[][..], &[("NO_COLOR", "1")], &[("NO_COLOR", "1"), ("CLICOLOR", "1")], &[("CLICOLOR", "0")]] {
        assert!(!list(wishes), "{wishes:?}");
    }
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
    let place = tempfile::tempdir().unwrap();
    let target = place.path().to_str().unwrap();
    let reports: [(&str, Vec<&str>); 13] = [
        ("extract", [&["extract", SAMPLE, "cass-a", "2026-11-21-02-49", target, "-q"], &keys[..]].concat()),
        ("index", [&["index", SAMPLE, "cass-a", "2026-11-21-02-49", "-q"], &keys[..]].concat()),
        ("list", vec!["list", &source]),
        ("ls", [&["ls", SAMPLE, "-l", "cass-a/restore-points/2026-11-21-02-49/media"], &keys[..]].concat()),
        ("find", [&["find", SAMPLE, "cass-a/restore-points/latest", "--max-depth", "1"], &keys[..]].concat()),
        ("list-table", [&["list", SAMPLE, "--table", "shop.c*"], &keys[..]].concat()),
        ("verify", [&["verify", SAMPLE, "cass-a", "latest", "-q", "--table", "shop.*"], &keys[..]].concat()),
        ("diff", [&["diff", SAMPLE, "cass-a", "2026-11-21-02-45", "2026-11-21-02-49"], &keys[..]].concat()),
        ("list-cluster", vec!["list", SAMPLE, "--cluster"]),
        ("list-host", vec!["list", SAMPLE, "cass-a"]),
        ("list-host-lacking", vec!["list", &source, "cass-05", "--since", "2026-11-10", "--until", "2026-11-16"]),
        ("chain", [&["chain", SAMPLE, "cass-a", "2026-11-21-02-49"], &keys[..]].concat()),
        ("chain-sstables", [&["chain", SAMPLE, "cass-a", "--table", "shop.users", "--sstables"], &keys[..]].concat()),
    ];
    for (name, arguments) in &reports {
        // What a report knows from before must be nothing, or alike each time: it reads no archive.
        let kept = tempfile::tempdir().unwrap();
        let run = |arguments: &[&str], columns: &str, is_coloured: bool| {
            let cache = kept.path().to_str().unwrap();
            let is_alike = ["diff", "list-table"].contains(name);
            run(
                &if is_alike { [arguments, &["--cache-dir", cache][..]].concat() } else { arguments.to_vec() },
                columns,
                is_coloured,
            )
        };
        let named = |output: &Output| {
            let text = text(output).replace(&source, "SOURCE");
            // Its last sentence names a directory that has another name each time.
            if *name == "extract" { text.split_inclusive("\n\n").next().unwrap().to_owned() } else { text }
        };
        if *name == "extract" {
            // From now on all is there.
            run(arguments, "80", false);
        }
        let unbounded = text(&run(arguments, "1000", false));
        let words: Vec<&str> = unbounded.split_whitespace().collect();
        for columns in ["80", "140"] {
            let (shown, coloured) = (named(&run(arguments, columns, false)), named(&run(arguments, columns, true)));
            assert!(!shown.contains(ESCAPE), "{name}: {shown}");
            assert_eq!(plain(&coloured), shown, "{name}");
            let is_plain = ["chain-sstables", "verify", "ls", "find", "diff", "extract", "index"].contains(name);
            assert!(is_plain || coloured.contains(ESCAPE), "{name}: {coloured}");
            let width: usize = columns.parse().unwrap();
            for line in shown.lines() {
                assert!(line.chars().count() <= width, "{name}, {columns}: {line}");
            }
            for word in shown.replace("SOURCE", &source).split_whitespace() {
                // A pattern stands for a directory whose name is too long.
                let is_short = |of: &&str| word.strip_suffix('*').is_some_and(|start| of.starts_with(start));
                let is_whole = words.contains(&word) || words.iter().any(is_short);
                assert!(is_whole, "{name}, {columns}: {word:?} is a broken word in\n{shown}");
            }
            for (ending, shown) in [("", shown), ("-colour", coloured)] {
                assert_golden(&format!("{name}-{columns}{ending}.txt"), &shown);
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
    let mixed = "at latest, hosts of cluster prod are not of one run: 11 of 12 have 2026-11-28-20-04 or a set of that run, \
                 cass-03 has 2026-11-25-20-03 (3 days older)";
    for host in ["cass-01", "cass-03"] {
        let told = run(&["chain", &fleet.source(), host], "400", false);
        assert!(text(&told).contains(mixed), "{host}");
        assert!(!String::from_utf8_lossy(&told.stderr).contains("one run"), "it is said once: {told:?}");
    }
    assert!(!text(&run(&["chain", &fleet.source(), "cass-01", "2026-11-25-20-01"], "400", false)).contains("one run"));
    // A run is a POINT on each of its hosts.
    let host = text(&run(&["list", &fleet.source(), "cass-01", "--until", "2026-11-25-20-04"], "200", false));
    assert!(host.lines().last().unwrap().starts_with("2026-11-25-20-01 "), "{host}");
}

/// Errors are broken on a terminal alone: `script` is one.
#[test]
fn errors_fit_the_terminal() {
    let cache = tempfile::tempdir().unwrap();
    for columns in [80, 140] {
        for (name, arguments) in [
            ("cat", "cat sample/bucket cass-a/backup-sets"),
            ("chain", "chain sample/bucket cass-a 2020-01-01"),
            ("restore", "restore instant --dry-run"),
        ] {
            let line = format!("stty cols {columns} rows 24; {} {arguments}", env!("CARGO_BIN_EXE_cassmount"));
            let mut script = std::process::Command::new("script");
            script.args(["-qec", &line, "/dev/null"]).current_dir(env!("CARGO_MANIFEST_DIR"));
            script.env("CASSMOUNT_CACHE_DIR", cache.path()).env("NO_COLOR", "1");
            let output = script.stdin(std::process::Stdio::null()).output().unwrap();
            assert!(matches!(output.status.code(), Some(1 | 2)), "{output:?}");
            let shown = String::from_utf8(output.stdout).unwrap().replace('\r', "");
            assert!(shown.lines().all(|line| line.chars().count() <= columns), "{shown}");
            assert_golden(&format!("error-{name}-{columns}.txt"), &shown);
        }
    }
}

fn assert_golden(name: &str, shown: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/reports").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, shown).unwrap();
    }
    let agreed = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(shown, agreed, "{name}: if that is meant, run UPDATE_GOLDEN=1 cargo test --test command reports");
}
