//! `cassmount list` on the sample bucket and on damaged copies of it, as a user runs it: with no
//! key.

use testkit::bucket;
use testkit::command;

use bucket::{Bucket, sample_keys};
use command::cassmount;
use serde_json::Value;
use std::process::Output;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/sample/bucket");

fn run(arguments: &[&str]) -> Output {
    let cache = tempfile::tempdir().unwrap();
    cassmount().arg("list").args(arguments).arg("--cache-dir").arg(cache.path()).output().unwrap()
}

fn text(arguments: &[&str]) -> String {
    with_status(0, arguments)
}

fn with_status(status: i32, arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&text(&[arguments, &["--json"]].concat())).unwrap()
}

/// Of a host that lacks something.
fn incomplete(arguments: &[&str]) -> Value {
    serde_json::from_str(&with_status(1, &[arguments, &["--json"]].concat())).unwrap()
}

fn sets(listing: &Value) -> &[Value] {
    listing["sets"].as_array().unwrap()
}

/// The minutes of the sets that are listed.
fn minutes(listing: &Value) -> Vec<&str> {
    sets(listing).iter().map(|set| &set["tag"].as_str().unwrap()[14..]).collect()
}

fn set<'a>(listing: &'a Value, minute: &str) -> &'a Value {
    sets(listing).iter().find(|set| set["tag"] == format!("2026-11-21-02-{minute}")).unwrap()
}

fn reasons<'a>(listing: &'a Value, minute: &str) -> Vec<&'a str> {
    let reasons = set(listing, minute)["restore_point"]["reasons"].as_array().unwrap();
    reasons.iter().map(|reason| reason.as_str().unwrap()).collect()
}

/// A value's shape: names of fields and types.
fn shape(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}: {}", shape(value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.first().map(shape).unwrap_or_default()),
        Value::String(_) => "text".into(),
        Value::Number(_) => "number".into(),
        Value::Bool(_) => "bool".into(),
        Value::Null => "null".into(),
    }
}

#[test]
fn a_key_file_that_is_not_there_is_said() {
    let cache = tempfile::tempdir().unwrap();
    for (key, is_said) in [("/no/such/key", true), ("/etc/passwd", false)] {
        let mut list = cassmount();
        list.args(["list", SAMPLE, "--key-file", key, "--cache-dir"]).arg(cache.path());
        let said = String::from_utf8_lossy(&list.output().unwrap().stderr).into_owned();
        assert_eq!(said.contains(&format!("warning: there is no key file {key}")), is_said, "{said}");
    }
}

#[test]
fn the_json_has_its_documented_shape() {
    let hosts = json(&[SAMPLE]);
    assert_eq!(
        shape(&hosts),
        "{clusters: [{cluster: text, faults: [{fault: text, seconds: number, since: text}], hosts: number, \
         newest: {absent: [], bytes: number, complete_hosts: number, first: text, hosts: number, kind: text, last: text, point: text}, \
         newest_complete: {absent: [], bytes: number, complete_hosts: number, first: text, hosts: number, kind: text, last: text, point: text}}], \
         hosts: [{age_seconds: number, bytes: number, cluster: text, datacenter: text, faults: [], first: text, host: text, incomplete: number, \
         last: text, latest: text, same_as: null, sets: number, unfinished: number}], source: text, strays: []}"
    );
    let listing = json(&[SAMPLE, "cass-a"]);
    assert_eq!(
        shape(&listing),
        "{host: text, lacks: [], more_strays: number, sets: [{automatic: null, bytes: number, cluster: text, datacenter: text, finished: bool, kind: text, \
         local_time: text, problems: [], restore_point: {archived: {bytes: number, objects: number}, base: text, bytes: number, complete: bool, reasons: [], sets: number, tables: number}, \
         tables: number, tag: text, time: text, utc_offset_seconds: number}], source: text, strays: []}"
    );
}

#[test]
fn a_point_is_listed_with_all_that_it_is_made_of() {
    let listing = json(&[SAMPLE, "cass-b"]);
    assert_eq!(minutes(&listing), ["45", "47", "48", "49", "51", "52"]);
    let mut chain = 0;
    for (minute, base, depth) in
        [("45", "45", 1), ("47", "45", 2), ("48", "45", 3), ("49", "45", 4), ("51", "51", 1), ("52", "51", 2)]
    {
        let set = set(&listing, minute);
        let point = &set["restore_point"];
        assert_eq!((&point["base"], &point["sets"]), (&format!("2026-11-21-02-{base}").into(), &depth.into()));
        assert_eq!(
            (&point["complete"], &set["cluster"], &set["datacenter"]),
            (&true.into(), &"prod".into(), &"dc1".into())
        );
        chain = if depth == 1 { 0 } else { chain } + set["bytes"].as_u64().unwrap();
        assert_eq!(point["bytes"], chain, "{minute}");
    }
    // carts is the first that the full has not.
    let tables = |minute| set(&listing, minute)["restore_point"]["tables"].as_u64().unwrap();
    assert_eq!((tables("45"), tables("47"), tables("48")), (31, 31, 32));

    let printed = text(&[SAMPLE, "cass-b"]);
    assert!(printed.starts_with("cass-b, cluster prod, datacenter dc1\n"), "{printed}");
    assert_eq!(printed.matches("  ok\n").count(), 6, "{printed}");
    assert_eq!(printed.lines().count(), 9, "{printed}");
}

#[test]
fn some_of_them_by_time_or_table() {
    let keys = sample_keys();
    let listed = |host: &str, more: &[&str]| {
        // As the shell completes the name of a directory.
        let listing = json(&[&[SAMPLE, &format!("{host}/")], more, &keys].concat());
        minutes(&listing).join(" ")
    };
    assert_eq!(listed("cass-a", &["--since", "2026-11-21-02-49"]), "49 50 52");
    assert_eq!(listed("cass-a", &["--until", "2026-11-21-02-48"]), "45 47 48");
    // Finished at 02:47:03 and 02:49:02.
    assert_eq!(listed("cass-a", &["--since", "2026-11-21T02:47:04Z", "--until", "1795229342"]), "48 49");
    assert_eq!(listed("cass-a", &["--since", "latest"]), "52");
    let nothing = run(&[&[SAMPLE, "cass-a", "--since", "2026-11-22"][..], &keys].concat());
    assert_eq!((nothing.status.code(), &nothing.stdout[..]), (Some(1), &b""[..]), "{nothing:?}");
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("has no backup set that matches"), "{nothing:?}");

    assert_eq!(listed("cass-b", &["--table", "media.\"MixedCase\""]), "45 47 48");
    assert_eq!(listed("cass-b", &["--table", "shop.carts"]), "48 49 51 52");
    assert_eq!(listed("cass-b", &["--table", "shop.events"]), "45 47 48 49 51 52");
    assert_eq!(listed("cass-b", &["--table", "shop.carts", "--until", "2026-11-21-02-49"]), "48 49");
    assert_eq!(listed("cass-b", &["--table", "*.Mixed*"]), "45 47 48", "any table of that pattern");
    assert_eq!(listed("cass-b", &["--table", "*.Mixed*", "--table", "shop.carts"]), "48", "all that are named");

    // Without a host, of all of them.
    let tables = json(&[&[SAMPLE, "--table", "media.Mixed*", "--table", "shop.carts"], &keys[..]].concat());
    let line = |line: &Value| {
        format!("{} {} {} {} {}", line["host"], line["table"], line["restore_points"], line["last"], line["gone_from"])
    };
    let lines: Vec<String> = tables["tables"].as_array().unwrap().iter().map(line).collect();
    assert_eq!(
        lines,
        [
            "\"cass-a\" \"MixedCase\" 3 \"2026-11-21-02-48\" \"2026-11-21-02-52\"",
            "\"cass-b\" \"MixedCase\" 3 \"2026-11-21-02-48\" \"2026-11-21-02-52\"",
            "\"cass-a\" \"carts\" 4 \"2026-11-21-02-52\" null",
            "\"cass-b\" \"carts\" 4 \"2026-11-21-02-52\" null",
        ]
    );
    let none = run(&[&[SAMPLE, "--table", "shop.z*"][..], &keys].concat());
    assert_eq!(none.status.code(), Some(1), "{none:?}");
    assert!(String::from_utf8_lossy(&none.stderr).contains("no table is called like shop.z*"), "{none:?}");

    let refused = run(&[&[SAMPLE, "cass-a", "--table", "shop.nothing"][..], &keys].concat());
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("no backup set of cass-a has an archive of shop.nothing")
    );
    let host = run(&[&format!("{SAMPLE}/cass-a")]);
    assert!(String::from_utf8_lossy(&host.stderr).contains("it looks like the directory of one host"), "{host:?}");
    for wrong in [&["cass-a", "--since", "someday"][..], &["--since", "2026-11-21"], &["cass-a", "--table", "x"]] {
        assert_eq!(run(&[&[SAMPLE], wrong].concat()).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn what_is_not_complete_says_why() {
    let bucket = Bucket::sample();
    let remove = |key: &str| std::fs::remove_file(bucket.path().join("cass-a").join(key)).unwrap();
    remove("2026-11-21-02-48/backup_manifest.json");
    remove("2026-11-21-02-47/shop/hits.tar.gz.enc");
    remove("2026-11-21-02-50/shop/orders.tar.gz.enc");
    std::fs::write(bucket.path().join("cass-a/2026-11-21-02-52/shop/orders.tar.gz"), "left behind").unwrap();
    let source = bucket.source();
    let listing = incomplete(&[&source, "cass-a"]);
    let lacks = listing["lacks"].as_array().unwrap();
    assert_eq!(
        lacks.iter().map(|lack| &lack["cause"]).collect::<Vec<_>>(),
        ["manifest_list", "no_manifest", "schema_cql"]
    );

    let hits = "2026-11-21-02-47 lacks shop.hits: its manifest lists the table, and there is no archive of it (rows written \
                between 2026-11-21-02-45 and 2026-11-21-02-47, unless a later set has them)";
    let unfinished = "2026-11-21-02-48 is left out: it did not finish: there is no manifest (rows written \
                      between 2026-11-21-02-47 and 2026-11-21-02-48, unless a later set has them)";
    let orders = "2026-11-21-02-50 lacks shop.orders: its schema.cql has the table, and there is no archive of it";
    assert_eq!(reasons(&listing, "45"), [""; 0]);
    assert_eq!(reasons(&listing, "47"), [hits]);
    assert_eq!(set(&listing, "48")["restore_point"], Value::Null);
    assert_eq!(reasons(&listing, "49"), [hits, unfinished]);
    assert_eq!(reasons(&listing, "50"), [orders]);
    assert_eq!(reasons(&listing, "52"), [orders]);
    // The same of the table alone, to whoever asks for it.
    let keys = sample_keys();
    let of_table = incomplete(&[&[&*source, "--table", "shop.orders", "--table", "shop.carts"][..], &keys].concat());
    let of_table = of_table["tables"].as_array().unwrap().iter().map(|line| &line["incomplete"]);
    assert_eq!(of_table.collect::<Vec<_>>(), [false, false, true, false], "carts and orders of both hosts");
    let cache = tempfile::tempdir().unwrap();
    let mut command = cassmount();
    let verify = command.args(["verify", &source, "cass-a", "2026-11-21-02-50", "--table", "shop.orders"]);
    let verified = verify.args(keys).arg("--cache-dir").arg(cache.path()).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stdout);
    assert_eq!(verified.status.code(), Some(1), "{verified:?}");
    assert!(said.contains("its schema.cql has the table"), "{said}");
    let complete = |minute| set(&listing, minute)["restore_point"]["complete"].as_bool().unwrap();
    assert_eq!(["45", "47", "49", "50", "52"].map(complete), [true, false, false, false, false]);
    assert_eq!(set(&listing, "49")["restore_point"]["sets"], 3, "without the one that did not finish");

    // Each once, with the restore points that it concerns.
    let printed = with_status(1, &[&source, "cass-a"]);
    let said = run(&[&source, "cass-a"]).stderr;
    assert!(String::from_utf8_lossy(&said).contains("4 of 5 restore points of cass-a are incomplete"), "{said:?}");
    for line in [
        format!("2026-11-21-02-47 to 2026-11-21-02-49 are incomplete: {hits}"),
        format!("2026-11-21-02-49 is incomplete: {unfinished}"),
        format!("2026-11-21-02-50 to 2026-11-21-02-52 are incomplete: {orders}"),
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line}: {printed}");
    }
    assert_eq!(printed.matches("shop.hits").count(), 1, "{printed}");
    assert_eq!(printed.matches("UNFINISHED").count(), 1, "{printed}");
    assert!(printed.contains("orders.tar.gz"), "{printed}");
    // The other host is as it was.
    assert!(sets(&json(&[&source, "cass-b"])).iter().all(|set| set["restore_point"]["complete"] == true));
}

#[test]
fn without_a_full_there_is_nothing_to_restore() {
    let bucket = Bucket::sample();
    std::fs::remove_dir_all(bucket.path().join("cass-a/2026-11-21-02-45")).unwrap();
    let listing: Value = serde_json::from_slice(&run(&[&bucket.source(), "cass-a", "--json"]).stdout).unwrap();
    assert_eq!(minutes(&listing), ["47", "48", "49", "50", "52"]);
    for minute in ["47", "48", "49"] {
        assert_eq!(set(&listing, minute)["restore_point"], Value::Null);
    }
    assert_eq!(set(&listing, "52")["restore_point"]["sets"], 2);
    let printed = String::from_utf8(run(&[&bucket.source(), "cass-a"]).stdout).unwrap();
    assert_eq!(printed.matches("no full before it").count(), 3, "{printed}");
}

/// Plain files of snapshots, collected in one place: `<snapshot>/<host>/<keyspace>/<table>/…`.
struct Collected(tempfile::TempDir);

impl Collected {
    const TABLES: [&str; 4] = ["t", "u", "v", "w"];

    /// What each host has of each snapshot; the number is what its files are like.
    fn of(snapshots: &[(&str, &str, u64)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (snapshot, host, number) in snapshots {
            for (at, table) in Self::TABLES.into_iter().enumerate() {
                let id = "57ccb290ecb311f1b05ba1965ab0f8f5";
                let directory = directory.path().join(format!("{snapshot}/{host}/shop/{table}-{id}"));
                std::fs::create_dir_all(&directory).unwrap();
                for component in ["Data.db", "Statistics.db", "Index.db", "CompressionInfo.db"] {
                    let file = directory.join(format!("nb-1-big-{component}"));
                    std::fs::write(&file, number.to_string().repeat(10 + at)).unwrap();
                    let time = std::time::UNIX_EPOCH + std::time::Duration::from_micros(1_795_226_400_123_456 + number);
                    std::fs::File::options().write(true).open(file).unwrap().set_modified(time).unwrap();
                }
            }
        }
        Self(directory)
    }

    fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }
}

/// As of an archive: of plain files, too, whoever reads them is told, each time once.
#[test]
fn an_index_that_is_not_among_plain_files_is_told_and_is_no_lack() {
    let source = Collected::of(&[("2026-11-21", "a", 1)]);
    let table = source.0.path().join("2026-11-21/a/shop/t-57ccb290ecb311f1b05ba1965ab0f8f5");
    let files = r#"{"files": ["nb-1-big-Data.db", ".idx/nb-1-big-Data.db"]}"#;
    std::fs::write(table.join("manifest.json"), files).unwrap();
    std::fs::create_dir(table.join(".idx")).unwrap();
    std::fs::write(table.join(".idx/nb-2-big-Index.db"), "x").unwrap();
    let cache = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let mut verify = cassmount();
        verify.args(["verify", source.path(), "-t", "shop.t", "--deep", "--json", "--cache-dir"]).arg(cache.path());
        let report: serde_json::Value = serde_json::from_slice(&verify.output().unwrap().stdout).unwrap();
        let found = report["findings"].as_array().unwrap();
        let is_of_index = |one: &&serde_json::Value| {
            let said = one["message"].as_str().unwrap();
            said.starts_with(".idx/nb-1-big-Data.db: an index's SSTable") || one["problem"] == "index_incomplete"
        };
        let told: Vec<_> = found.iter().filter(is_of_index).collect();
        assert!(told.len() == 2 && told.iter().all(|one| one["severity"] == "warning"), "{report:#}");
    }
}

#[test]
fn a_newest_set_that_another_host_has_is_missing_where_no_cluster_is_named() {
    let both = [("2026-11-20", "a", 1), ("2026-11-20", "b", 2), ("2026-11-21", "a", 3), ("2026-11-21", "b", 4)];
    text(&[Collected::of(&both).path()]);
    let lost = Collected::of(&both[..3]);
    let overview = with_status(1, &[lost.path()]);
    assert!(overview.contains("NEWEST SET MISSING: that of about 2026-11-21"), "{overview}");
    let host = with_status(1, &[lost.path(), "b"]);
    let said = "a set of about 2026-11-21 is missing: a of the same cluster has the set 2026-11-21";
    assert!(host.contains(said), "{host}");
    text(&[lost.path(), "a"]);
    // So does whatever takes the host's latest.
    let target = tempfile::tempdir().unwrap();
    for command in [&["chain"][..], &["verify"], &["extract"]] {
        let cache = tempfile::tempdir().unwrap();
        let mut program = cassmount();
        program.args(command).args([lost.path(), "b", "latest"]).arg("--cache-dir").arg(cache.path());
        if command == ["extract"] {
            program.arg(target.path().join("b"));
        }
        let output = program.output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!([out, err].iter().any(|text| text.contains(said)), "{command:?} {output:?}");
    }
}

#[test]
fn a_host_in_the_place_of_another_is_told_and_a_link_to_one_is_not() {
    let copied = Collected::of(&[("2026-11-21", "a", 1), ("2026-11-21", "b", 1)]);
    let overview = with_status(1, &[copied.path()]);
    assert!(overview.contains("THE SAME FILES as a"), "{overview}");
    let host = with_status(1, &[copied.path(), "b"]);
    assert!(host.contains("its files are those of a 2026-11-21, one by one: one of the two is a copy"), "{host}");
    assert!(host.contains("if the host was renamed, --rename-host OLD=NEW heals it"), "{host}");
    let linked = Collected::of(&[("2026-11-21", "a", 1)]);
    std::os::unix::fs::symlink("a", linked.0.path().join("2026-11-21/b")).unwrap();
    let overview = text(&[linked.path()]);
    assert!(overview.contains("THE SAME FILES as a"), "{overview}");
    text(&[linked.path(), "b"]);
}
