//! `ls`, `cat`, `find`, `diff` and `report` on the sample bucket: what a mount would show, without
//! a mount.

use testkit::bucket::{Bucket, sample_keys};
use testkit::command::cassmount;
use testkit::{fleet, skip};

use std::fs;
use std::process::Output;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/sample/bucket");

struct User(tempfile::TempDir);

impl User {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = cassmount();
        // The fleet grows no older.
        command.env("CASSMOUNT_NOW", fleet::NOW).args(arguments).args(sample_keys());
        command.arg("--cache-dir").arg(self.0.path()).output().unwrap()
    }

    fn text(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn the_tree_is_browsed_without_a_mount() {
    let user = User::new();
    assert_eq!(user.text(&["ls", SAMPLE]), "cass-a/\ncass-b/\n");
    let points = user.text(&["ls", SAMPLE, "cass-a/restore-points/"]);
    assert!(points.lines().any(|line| line == "latest -> 2026-11-21-02-52"), "{points}");
    // Links are followed, and .. goes back.
    let tables = user.text(&["ls", SAMPLE, "/cass-a/restore-points/latest/media/../shop"]);
    let users = tables.lines().find(|line| line.starts_with("users-")).unwrap_or_else(|| panic!("{tables}"));
    let directory = format!("cass-a/restore-points/2026-11-21-02-52/shop/{}", users.trim_end_matches('/'));

    let found = user.text(&["find", SAMPLE, &directory, "--name", "*-Digest.crc32", "--type", "f"]);
    let digest = found.lines().next().unwrap();
    assert!(digest.starts_with(&directory), "{found}");
    let long = user.text(&["ls", SAMPLE, "-l", digest]);
    assert!(long.contains("Digest.crc32"), "{long}");
    let content = user.text(&["cat", SAMPLE, digest]);
    assert!(content.trim().parse::<u32>().is_ok(), "{content}");
    assert!(user.text(&["cat", SAMPLE, "cass-a/restore-points/latest/schema.cql"]).contains("CREATE TABLE shop.users"));
    let shallow = user.text(&["find", SAMPLE, "cass-a", "--max-depth", "1"]);
    assert!(shallow.lines().all(|path| path.matches('/').count() == 1) && shallow.contains("cass-a/shop"), "{shallow}");

    let tables = user.text(&["find", SAMPLE, "--table", "shop.cart*", "--type", "d", "--max-depth", "5"]);
    let of = |host: &str| tables.lines().filter(|path| path.starts_with(&format!("{host}/restore-points/"))).count();
    assert_eq!((of("cass-a"), of("cass-b")), (4, 4), "{tables}");
    assert!(tables.lines().all(|path| path.contains("/shop/carts-")), "{tables}");

    let slip = user.run(&["find", SAMPLE, "--table", "shop.userz"]);
    assert_eq!(slip.status.code(), Some(1), "{slip:?}");
    let said = String::from_utf8_lossy(&slip.stderr);
    assert!(said.contains("no table below / is called like shop.userz"), "{said}");

    for (arguments, said) in [
        (["cat", SAMPLE, "cass-x/schema.cql"], "has no backups of a host \"cass-x\"; it has: cass-a, cass-b\n"),
        (["find", SAMPLE, "*-Data.db"], "cass-a, cass-b (a pattern of names goes to --name)"),
        (["ls", SAMPLE, "cass-a/nothing"], "there is no \"nothing\" in cass-a"),
        (["cat", SAMPLE, "cass-a"], "cass-a is a directory"),
        (["ls", SAMPLE, "cass-a/restore-points/latest/schema.cql/x"], "schema.cql is no directory"),
    ] {
        let output = user.run(&arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?} {error}");
        assert!(error.contains(said), "{arguments:?}: {error}");
    }
}

#[test]
fn without_a_key_nothing_is_extracted_and_one_sentence_says_why() {
    let work = tempfile::tempdir().unwrap();
    let target = work.path().join("out");
    let mut command = cassmount();
    command
        .args(["extract", SAMPLE, "cass-a", "latest"])
        .arg(&target)
        .arg("--cache-dir")
        .arg(work.path().join("cache"));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(3), &b""[..]), "{output:?}");
    assert!(said.contains("no key opens the backups") && said.lines().count() == 1, "{said}");
    assert!(!target.exists(), "{output:?}");
}

#[test]
fn what_changed_between_two_points() {
    let user = User::new();
    let text = user.text(&["diff", SAMPLE, "cass-a", "2026-11-21-02-45", "2026-11-21-02-49"]);
    let line =
        |table: &str| text.lines().find(|line| line.starts_with(table)).unwrap_or_else(|| panic!("{table}: {text}"));
    assert!(line("media.MixedCase").ends_with("dropped"), "{text}");
    assert!(line("shop.carts").ends_with("created"), "{text}");
    assert!(line("shop.events").ends_with("dropped and created again"), "{text}");
    assert!(text.contains("CREATE TABLE shop.users\n+     phone text\n"), "{text}");
    assert!(!text.contains("-- The schema"), "no statement: {text}");
    let same = user.text(&["diff", SAMPLE, "cass-a", "latest"]);
    assert!(same.contains("cass-a: 2026-11-21-02-52 to 2026-11-21-02-52") && same.contains(" tables alike"), "{same}");
    let json = user.text(&["diff", SAMPLE, "cass-a", "2026-11-21-02-47", "2026-11-21-02-48", "--sstables", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let changed = json["tables"].as_array().unwrap();
    assert!(changed.iter().any(|table| !table["sstables_new"].as_array().unwrap().is_empty()), "{json}");

    // What cannot be read is not taken for alike.
    let bucket = Bucket::sample();
    let archive = bucket.path().join("cass-a/2026-11-21-02-52/shop/users.tar.gz.enc");
    let content = fs::read(&archive).unwrap();
    fs::write(&archive, &content[..content.len() - 1024]).unwrap();
    let points = ["2026-11-21-02-50", "2026-11-21-02-52"];
    let output = user.run(&[&["diff", &bucket.source(), "cass-a"], &points[..], &["--sstables"]].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text.contains("SSTables of shop.users are not compared: "), "{text}");
}

#[test]
fn the_report_is_one_page_that_needs_nothing_else() {
    let fleet = Bucket::new();
    fleet::write(&fleet.path());
    let user = User::new();
    let page = user.text(&["report", &fleet.source()]);
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"), "{page}");
    for part in [
        "All 12 hosts can be restored to <b>2026-11-25-20-04</b>",
        "STOPPED: 3 days without",
        "F444444F44444..444444F444444",
    ] {
        assert!(page.contains(part), "{part}");
    }
    for outside in ["http://", "https://", "src=", "href=", "url("] {
        assert!(!page.replace("url(#never)", "").contains(outside), "{outside}");
    }
    assert!(page.len() < 1 << 20, "{}", page.len());
    let host = user.text(&["report", &fleet.source(), "cass-05"]);
    assert!(host.contains("<h2>What is missing</h2>") && host.contains("shop.users"), "{host}");
    assert!(!host.contains("a set of about"), "{host}");
    // A set that only another host tells of has a place in its chain.
    let paused = user.text(&["report", &fleet.source(), "cass-07"]);
    assert!(
        paused.contains("<rect class=\"gap\"") && paused.contains("data-tip=\"a set of about 2026-11-1"),
        "{paused}"
    );
    // Nothing was verified, so nothing is marked, and that is said.
    assert!(
        !paused.contains("</span>never verified") && paused.contains("Nothing, as far as this machine knows"),
        "{paused}"
    );
    in_a_browser("the_report_is_one_page_that_needs_nothing_else", &paused);
}

/// Opens the page in a real browser and moves the pointer over its chart.
fn in_a_browser(test: &str, page: &str) {
    // What it loads, what went wrong, and what it says of the missing set, into the page itself.
    const PROBE: &str = "<script>
        const errors = [];
        addEventListener('error', event => errors.push(event.message));
        const move = (place, x = 9) => place.dispatchEvent(new MouseEvent('mousemove', {bubbles: true, clientX: x, clientY: 9}));
        move(document.querySelector('.gap[data-tip]'));
        const over = document.getElementById('tip').textContent;
        move(document.querySelector('.gap[data-tip]'), innerWidth - 9);
        const place = document.getElementById('tip').getBoundingClientRect();
        const inside = place.left >= 8 && place.right <= innerWidth - 7 && place.width > 300 && place.width < 800;
        move(document.body);
        const probe = document.createElement('pre');
        probe.textContent = JSON.stringify({over, inside, after: document.getElementById('tip').style.display, errors,
            loaded: performance.getEntriesByType('resource').length, boxes: document.querySelectorAll('.box').length,
            wide: document.documentElement.scrollWidth <= innerWidth});
        document.body.append('PROBE', probe, 'END');
        </script></body>";
    let work = tempfile::tempdir().unwrap();
    let file = work.path().join("page.html");
    std::fs::write(&file, page.replace("</body>", PROBE)).unwrap();
    let mut browser = std::process::Command::new("timeout");
    browser.args(["120", "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1200,900"]);
    browser.arg(format!("--user-data-dir={}", work.path().join("user").display()));
    let output = browser.arg("--dump-dom").arg(format!("file://{}", file.display())).output();
    let output = match output {
        // 127: there is no such program.
        Ok(output) if output.status.code() != Some(127) => output,
        _ => return skip::skip(test, "chromium is not installed (apt-get install chromium)"),
    };
    let shown = String::from_utf8_lossy(&output.stdout);
    let probe = shown.rsplit_once("PROBE<pre>").and_then(|(_, rest)| rest.split_once("</pre>END"));
    let (probe, _) = probe.unwrap_or_else(|| panic!("{output:?}"));
    let probe: serde_json::Value = serde_json::from_str(&probe.replace("&gt;", ">").replace("&amp;", "&")).unwrap();
    assert!(probe["over"].as_str().unwrap().starts_with("a set of about 2026-11-1"), "{probe}");
    assert_eq!((&probe["after"], &probe["loaded"]), (&"none".into(), &0.into()), "{probe}");
    assert_eq!((&probe["errors"], &probe["wide"]), (&serde_json::json!([]), &true.into()), "{probe}");
    assert_eq!(&probe["inside"], true, "{probe}");
    assert!(probe["boxes"].as_u64().unwrap() > 100, "{probe}");
}

#[test]
fn cron_writes_metrics_into_a_file() {
    let fleet = Bucket::new();
    fleet::write(&fleet.path());
    std::fs::remove_file(fleet.path().join("cass-04/2026-11-28-20-04/backup_manifest.json")).unwrap();
    let (user, directory) = (User::new(), tempfile::tempdir().unwrap());
    let file = directory.path().join("list.prom");
    let path = file.to_str().unwrap();
    // One host stopped.
    let output = user.run(&["list", &fleet.source(), "--prometheus-textfile", path]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let metrics = std::fs::read_to_string(&file).unwrap();
    for line in [
        "cassmount_complete_restore_point_timestamp_seconds{cluster=\"prod\",host=\"cass-03\"} 1795636980",
        "cassmount_restore_point_complete{cluster=\"prod\",host=\"cass-02\",kind=\"incremental\"} 1",
        "cassmount_host_faults{cluster=\"prod\",host=\"cass-03\",fault=\"stopped\"} 1",
        "cassmount_host_faults{cluster=\"prod\",host=\"cass-02\",fault=\"stopped\"} 0",
        "cassmount_cluster_complete_timestamp_seconds{cluster=\"prod\"} 1795637040",
        "cassmount_incomplete_restore_points{cluster=\"prod\",host=\"cass-05\"} 16",
        "# TYPE cassmount_restore_point_bytes gauge",
        "cassmount_unfinished_set_timestamp_seconds{cluster=\"prod\",host=\"cass-04\"} 1795896240",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is missing in\n{metrics}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");

    let verified = directory.path().join("verify.prom");
    let path = verified.to_str().unwrap();
    user.text(&["verify", SAMPLE, "cass-a", "-q", "--prometheus-textfile", path]);
    let good = std::fs::read_to_string(&verified).unwrap();
    let success = "cassmount_verify_last_success_timestamp_seconds{host=\"cass-a\",depth=\"glance\"} ";
    let when = good.lines().find(|line| line.starts_with(success)).unwrap_or_else(|| panic!("{good}")).to_owned();
    // The sets of another host of that name are spoilt: when it was good last stays.
    let spoilt = Bucket::sample();
    std::fs::remove_file(spoilt.path().join("cass-a/2026-11-21-02-48/shop/users.tar.gz.enc")).unwrap();
    let output = user.run(&["verify", &spoilt.source(), "cass-a", "-q", "--prometheus-textfile", path]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let bad = std::fs::read_to_string(&verified).unwrap();
    assert!(bad.lines().any(|line| line == when), "{when}: {bad}");
    let problems = "cassmount_verify_problems{host=\"cass-a\",depth=\"glance\",severity=\"error\"} ";
    assert!(bad.lines().any(|line| line.strip_prefix(problems).is_some_and(|count| count != "0")), "{bad}");
    let of_part = user.run(&["verify", SAMPLE, "cass-a", "latest", "--prometheus-textfile", path]);
    assert_eq!(of_part.status.code(), Some(2), "{of_part:?}");
}

/// Who looks around is told in one line that something is missing, however much it is.
#[test]
fn what_is_missing_does_not_drown_what_was_asked_for() {
    let (user, bucket) = (User::new(), Bucket::sample());
    for archive in ["2026-11-21-02-48/shop/users", "2026-11-21-02-48/shop/carts", "2026-11-21-02-52/shop/hits"] {
        fs::remove_file(bucket.path().join(format!("cass-a/{archive}.tar.gz.enc"))).unwrap();
    }
    let source = bucket.source();
    for command in [&["ls", &source, "cass-a/shop"][..], &["diff", &source, "cass-a", "2026-11-21-02-47"]] {
        let output = user.run(command);
        let said = String::from_utf8_lossy(&output.stderr);
        let told = said.lines().filter(|line| line.contains("lacks")).count();
        assert!(told == 1 && said.contains("cass-a lacks something: `cassmount list "), "{command:?}: {said}");
    }
}
