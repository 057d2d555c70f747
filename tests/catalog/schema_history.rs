//! The schema history that the sample bucket's sets tell, and the CQL made of it.

use testkit::schema_fixtures;

use cassmount::cassandra::schema::{self, CqlOptions, Facts, Timeline, write_cql};
use cassmount::cassandra::{TableId, TableName};
use cassmount::time::Timestamp;
use schema_fixtures::Described;
use std::collections::BTreeMap;

const SAMPLE: &str = "5.0.6-nb.tar.zst";

fn time(text: &str) -> Timestamp {
    Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
}

/// `2026-11-21-02-45` -> that minute in UTC, the sample's zone.
fn tag_time(tag: &str) -> Timestamp {
    let (date, clock) = tag.split_at(10);
    time(&format!("{date}T{}:00Z", clock[1..].replace('-', ":")))
}

/// The facts of each set of a host of the sample, by tag.
fn sets(host: &str) -> BTreeMap<String, Facts> {
    sets_of(SAMPLE, host)
}

fn sets_of(archive: &str, host: &str) -> BTreeMap<String, Facts> {
    let mut sets = BTreeMap::<String, Facts>::new();
    for ((set_host, set, table), components) in schema_fixtures::tables(archive) {
        if set_host == host {
            let facts = schema::read_system_schema(&table, &components).unwrap();
            sets.entry(set).or_default().merge(&facts);
        }
    }
    sets
}

fn is_full(tag: &str) -> bool {
    ["02-45", "02-50", "02-51"].iter().any(|full| tag.ends_with(full))
}

fn timeline<'a>(sets: impl IntoIterator<Item = (&'a String, &'a Facts)>) -> Timeline {
    let mut timeline = Timeline::default();
    for (tag, facts) in sets {
        timeline.add(tag_time(tag), is_full(tag), facts);
    }
    timeline
}

fn life(timeline: &Timeline, keyspace: &str, table: &str) -> Vec<(String, String, Option<String>, bool)> {
    let incarnations = timeline.incarnations(&TableName::new(keyspace, table)).iter();
    incarnations
        .map(|life| {
            let dropped = life.dropped.map(|at| at.to_string());
            (life.id.to_string(), life.created.to_string(), dropped, life.drop_is_exact())
        })
        .collect()
}

#[test]
fn creations_and_drops_are_exact() {
    for host in ["cass-a", "cass-b"] {
        let sets = sets(host);
        let timeline = timeline(&sets);
        let events = life(&timeline, "shop", "events");
        assert_eq!(
            events[..],
            [
                (
                    "77bbc010e55511f185a85b65bc0eb462".into(),
                    "2026-11-21T02:44:26.898Z".into(),
                    Some("2026-11-21T02:48:08.97Z".into()),
                    true
                ),
                ("fe786540e55511f185a85b65bc0eb462".into(), "2026-11-21T02:48:12.949Z".into(), None, false),
            ],
            "{host}"
        );
        let mixed = life(&timeline, "media", "MixedCase");
        assert_eq!(mixed.len(), 1, "{host}");
        assert_eq!(mixed[0].0, "78eec1d0e55511f185a85b65bc0eb462");
        assert_eq!(mixed[0].2.as_deref(), Some("2026-11-21T02:48:07.875Z"));
        assert!(mixed[0].3);
        let users = TableName::new("shop", "users");
        assert_eq!(timeline.incarnations(&users).len(), 1);
        assert_eq!(timeline.incarnations(&users)[0].dropped, None);
        assert!(timeline.incarnations(&TableName::new("system_schema", "tables")).is_empty());
        // Every creation is that of the id, to the few milliseconds that a CREATE takes.
        for (name, incarnations) in timeline.tables() {
            for life in incarnations {
                let made = life.id.created_at().unwrap();
                assert!((0..50_000).contains(&(life.created.0 - made.0)), "{name} {life:?} {made}");
            }
        }
    }
}

#[test]
fn ids_are_those_of_the_mapping_until_the_drop() {
    let timeline = timeline(&sets("cass-a"));
    let path = "sample/bucket/cass-a/2026-11-21-02-45/schema_mapping.json";
    let mapping = std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let mapping: BTreeMap<String, String> = serde_json::from_slice(&mapping).unwrap();
    for (name, directory) in mapping {
        let (keyspace, table) = name.split_once('.').unwrap();
        let id = TableId::parse(directory.rsplit('-').next().unwrap()).unwrap();
        let found = timeline.id_at(&TableName::new(keyspace, table), tag_time("2026-11-21-02-45"));
        assert_eq!(found, Some(id), "{name}");
    }
    let events = TableName::new("shop", "events");
    assert_eq!(timeline.at(&events, time("2026-11-21T02:48:10Z")), None);
    let again = timeline.id_at(&events, tag_time("2026-11-21-02-50")).unwrap();
    assert_eq!(again.to_string(), "fe786540e55511f185a85b65bc0eb462");
}

#[test]
fn order_and_repetition_of_sets_do_not_matter() {
    let sets = sets("cass-a");
    let forward = timeline(&sets);
    let backward = timeline(sets.iter().rev().chain(&sets));
    assert_eq!(forward, backward);
    assert!(forward.tables().eq(backward.tables()));
    let mut merged = timeline(sets.iter().take(3));
    merged.merge(&timeline(sets.iter().skip(2)));
    assert_eq!(forward, merged);

    let bytes = postcard::to_stdvec(&forward).unwrap();
    let read: Timeline = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(read, forward);
    assert!(read.tables().eq(forward.tables()));
}

#[test]
fn fulls_alone_bound_what_happened_between_them() {
    let sets = sets("cass-a");
    let timeline = timeline(sets.iter().filter(|(tag, _)| is_full(tag)));
    // The tombstones are younger than gc_grace, so the second full still has them.
    assert_eq!(life(&timeline, "media", "MixedCase")[0].2.as_deref(), Some("2026-11-21T02:48:07.875Z"));
    // Compaction hid the deletion of the old row behind the new one; the columns that only the old
    // table had still tell.
    assert_eq!(life(&timeline, "shop", "events")[0].2.as_deref(), Some("2026-11-21T02:48:08.97Z"));
}

#[test]
fn damaged_sstables_give_errors_or_the_same_facts() {
    let tables = schema_fixtures::tables(SAMPLE);
    let (_, components) =
        tables.iter().find(|((_, set, table), _)| set.ends_with("02-45") && table == "keyspaces").unwrap();
    let sound = schema::read_system_schema("keyspaces", components).unwrap();
    let mut random = Random(1);
    let mut errors = 0;
    for _ in 0..2000 {
        let mut components = components.clone();
        let victim = random.below(components.len());
        let (name, bytes) = &mut components[victim];
        if name.contains("Data.json") || bytes.is_empty() {
            continue;
        }
        if random.below(4) == 0 {
            bytes.truncate(random.below(bytes.len()));
        } else {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
        let name = components[victim].0.clone();
        match schema::read_system_schema("keyspaces", &components) {
            Err(_) => errors += 1,
            // Of a component that tells nothing here.
            Ok(facts) => assert!(facts == sound, "damage to {name} gives other facts"),
        }
    }
    assert!(errors > 500, "{errors}");
}

#[test]
fn damaged_rows_under_right_checksums_give_errors_or_rows_but_no_panic() {
    use cassmount::cassandra::{SstableName, sstable};
    let tables = schema_fixtures::tables(SAMPLE);
    let mut random = Random(7);
    for ((_, set, table), components) in &tables {
        if !set.ends_with("02-49") || !["columns", "tables", "keyspaces"].contains(&&**table) {
            continue;
        }
        for (file, data) in components.iter().filter(|(file, _)| file.ends_with("Data.db")) {
            let name = SstableName::parse_component(file).unwrap().sstable;
            let statistics = &components.iter().find(|(f, _)| *f == name.file_name("Statistics.db")).unwrap().1;
            // One chunk: four bytes of length, the LZ4 block, four of CRC-32. Without
            // CompressionInfo.db it is read plain.
            let plain = lz4_flex::block::decompress(&data[4..data.len() - 4], 1 << 16).unwrap();
            let read = |data: &[u8]| sstable::read(&name, &sstable::Files { data, statistics, ..Default::default() });
            read(&plain).unwrap();
            for _ in 0..500 {
                let mut plain = plain.clone();
                for _ in 0..=random.below(3) {
                    let at = random.below(plain.len());
                    plain[at] = random.below(256) as u8;
                }
                plain.truncate(plain.len() - random.below(4) * random.below(8));
                let _ = read(&plain);
            }
        }
    }
}

/// Statements without what a description may or may not have: white space and options that have
/// their default.
fn normal<'a>(statements: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    const DEFAULTS: [&str; 4] = [
        " AND allow_auto_snapshot = true",
        " AND cdc = false",
        " AND memtable = 'default'",
        " AND incremental_backups = true",
    ];
    let statements = statements.into_iter().map(|statement| {
        let statement = statement.split_whitespace().collect::<Vec<_>>().join(" ");
        let statement = DEFAULTS.iter().fold(statement, |statement, default| statement.replace(default, ""));
        if !statement.contains("; ALTER TABLE") {
            return statement;
        }
        // Cassandra lists dropped columns in the order of a hash table.
        let mut words: Vec<&str> = statement.split(' ').map(|word| word.trim_end_matches(',')).collect();
        words.sort_unstable();
        words.join(" ")
    });
    let mut statements: Vec<String> = statements.filter(|statement| !statement.is_empty()).collect();
    statements.sort();
    statements
}

#[test]
fn cql_is_what_cassandra_described() {
    let timeline = timeline(&sets("cass-a"));
    for tag in ["2026-11-21-02-45", "2026-11-21-02-50"] {
        let path = format!("sample/bucket/cass-a/{tag}/schema.cql");
        let described = std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
        let schema = timeline.schema_at(tag_time(tag)).unwrap();
        for ids in [true, false] {
            let cql = write_cql(&schema, &CqlOptions { ids, dropped_columns: false, ..CqlOptions::default() });
            assert_eq!(cql.contains("WITH ID = "), ids);
            if !ids {
                // Our statements and cqlsh's both have blank lines between them.
                let described = described.split("\n\n").filter(|block| !block.starts_with("WARNING"));
                assert_eq!(normal(cql.split("\n\n")), normal(described), "{tag}");
            }
        }
    }
    let phone = |at| {
        let schema = timeline.schema_at(tag_time(at)).unwrap();
        let users = schema.keyspace("shop").unwrap().table("users").unwrap();
        users.columns.iter().any(|column| column.name == "phone")
    };
    assert!(!phone("2026-11-21-02-47"));
    assert!(phone("2026-11-21-02-48"));
    let keyspaces = ["shop".to_owned()];
    let shop = CqlOptions { keyspaces: &keyspaces, ..CqlOptions::default() };
    let cql = write_cql(&timeline.schema_at(tag_time("2026-11-21-02-50")).unwrap(), &shop);
    assert!(cql.contains("CREATE TABLE shop.users") && !cql.contains("media"));
    assert!(cql.contains("WITH ID = fe786540-e555-11f1-85a8-5b65bc0eb462\n"));
}

#[test]
fn cql_of_every_version_is_what_its_node_described() {
    for archive in schema_fixtures::archives() {
        let described = schema_fixtures::described(&archive);
        let mut timeline = Timeline::default();
        for (set, facts) in sets_of(&archive, "node") {
            let Described { micros, full, .. } = described[&set];
            timeline.add(Timestamp(micros), full, &facts);
        }
        for (set, described) in described {
            let schema = timeline.schema_at(Timestamp(described.micros)).unwrap();
            let cql = write_cql(&schema, &CqlOptions::default());
            let expected = normal(described.statements.iter().map(|(.., cql)| &**cql));
            let found = normal(cql.split("\n\n"));
            let differ = |a: &[String], b: &[String]| a.iter().filter(|x| !b.contains(x)).cloned().collect::<Vec<_>>();
            assert_eq!(differ(&found, &expected), differ(&expected, &found), "{archive} {set}");
            assert_eq!(found.len(), expected.len());
        }
    }
}

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

#[test]
fn what_altered_a_table_is_told_with_its_time() {
    let sets = sets("cass-a");
    let timeline = timeline(&sets);
    let altered = timeline.alterations(100).unwrap();
    let told: Vec<String> =
        altered.iter().map(|of| format!("{} {}: {}", of.at, of.table, of.changes.join(", "))).collect();
    let expected = "2026-11-21T02:47:08.755Z shop.users: + phone text";
    assert!(told.iter().any(|line| line == expected), "{told:?}");
    assert!(told.iter().all(|line| !line.contains("shop.events")), "made again, not altered: {told:?}");
    assert_eq!(timeline.alterations(0).unwrap(), []);
}
