//! SSTables of plain files that Cassandra does not open: their listing alone tells it.

use super::{T, USERS, host_of, with_contents};
use crate::catalog::HostSets;

const BIG: [&str; 5] = ["CompressionInfo.db", "Data.db", "Index.db", "Statistics.db", "TOC.txt"];
const BTI: [&str; 5] = ["CRC.db", "Data.db", "Partitions.db", "Rows.db", "Statistics.db"];

/// The keys of one SSTable below `above`, and their contents: those of `empty` are of no bytes.
fn sstable(above: &str, name: &str, components: &[&str], empty: &[&str]) -> Vec<(String, &'static str)> {
    let content = |component: &str| match component {
        _ if empty.contains(&component) => "",
        "TOC.txt" => "Data.db\nCRC.db\nIndex.db\n",
        _ => "x",
    };
    components.iter().map(|component| (format!("{above}{name}-{component}"), content(component))).collect()
}

/// What `latest` lacks, and how many objects were read to tell it.
async fn lacks(keys: &[(String, &'static str)]) -> (Vec<String>, usize) {
    let times: Vec<(&str, i64)> = keys.iter().map(|(key, _)| (&**key, T)).collect();
    let contents: Vec<(&str, &str)> = keys.iter().map(|(key, content)| (&**key, *content)).collect();
    let objects = with_contents(&times, &contents);
    let host: std::sync::Arc<HostSets> = host_of(objects.clone(), "node1", &[]).await;
    let last = host.chains.points().len().checked_sub(1).expect("no restore point");
    let told = host.completeness.of_point(last).map(|lack| format!("{}: {}", lack.subject, lack.cause)).collect();
    (told, objects.requests().2)
}

#[tokio::test]
async fn an_sstable_without_a_component_that_cassandra_needs_is_told_by_its_listing() {
    for above in [format!("node1/shop/{USERS}/snapshots/daily/"), format!("20261121/node1/shop/{USERS}/")] {
        let whole = [sstable(&above, "nb-10-big", &BIG, &[]), sstable(&above, "da-2-bti", &BTI, &["Rows.db"])].concat();
        assert_eq!(lacks(&whole).await, (vec![], 0), "{above}");
        for (name, all, gone, empty, why) in [
            ("nb-1-big", &BIG, &["Index.db"][..], &[][..], "Index.db is missing"),
            ("nb-1-big", &BIG, &["Statistics.db"], &[], "Statistics.db is missing"),
            ("nb-1-big", &BIG, &["Data.db"], &[], "Data.db is missing"),
            ("nb-1-big", &BIG, &[], &["Data.db"], "Data.db is empty"),
            ("nb-1-big", &BIG, &["CompressionInfo.db", "TOC.txt"], &[], "CompressionInfo.db or CRC.db is missing"),
            (
                "da-1-bti",
                &BTI,
                &["Partitions.db"],
                &["Statistics.db"],
                "Statistics.db is empty, Partitions.db is missing",
            ),
            ("da-1-bti", &BTI, &["Rows.db"], &[], "Rows.db is missing"),
        ] {
            let present: Vec<&str> = all.iter().copied().filter(|component| !gone.contains(component)).collect();
            let keys = [whole.clone(), sstable(&above, name, &present, empty)].concat();
            let expected = format!("SSTable {name} of shop.users: Cassandra does not open it: {why}");
            assert_eq!(lacks(&keys).await, (vec![expected], 0), "{above} {gone:?}");
        }
        // Its TOC.txt says that it was not compressed: only a check is lost. A secondary index is
        // built anew.
        let present: Vec<&str> = BIG.iter().copied().filter(|component| *component != "CompressionInfo.db").collect();
        let index = sstable(&format!("{above}.by_mail/"), "nb-1-big", &BIG[..2], &[]);
        let keys = [whole.clone(), sstable(&above, "nb-1-big", &present, &[]), index].concat();
        assert_eq!(lacks(&keys).await, (vec![], 1), "{above}");
    }
}

#[tokio::test]
async fn so_is_what_may_hold_rows_under_a_name_that_cassandra_does_not_know() {
    let above = format!("node1/shop/{USERS}/snapshots/daily/");
    let whole = sstable(&above, "nb-10-big", &BIG, &[]);
    let odd = "its name is none that an SSTable's file has";
    let alone = format!("there is no SSTable beside it, and {odd}");
    let unlisted =
        "Data.db is missing, Statistics.db is missing, Index.db is missing, CompressionInfo.db or CRC.db is missing";
    let all = "Data.db is missing, Statistics.db is missing, Index.db is missing";
    for (file, beside, name, why) in [
        ("NB-5-BIG-DATA.DB", true, "NB-5-BIG-DATA.DB", odd),
        (".nb-5-big-Data.db.Xa3Bcd", true, ".nb-5-big-Data.db.Xa3Bcd", odd),
        ("nb-5_big-Data.db", false, "nb-5_big-Data.db", odd),
        ("users.csv", false, "users.csv", &alone),
        ("nb-5-big-TOC.txt", true, "nb-5-big", all),
        ("nb-5-big-Digest.crc32", true, "nb-5-big", unlisted),
        // What is left beside the whole file, and what nobody misses.
        (".nb-10-big-Data.db.Xa3Bcd", true, "", ""),
        ("nb-10-big-Data.db.md5", true, "", ""),
        ("users.csv", true, "", ""),
        ("manifest.json", true, "", ""),
    ] {
        let content = match file {
            "manifest.json" => r#"{"files": ["nb-10-big-Data.db"]}"#,
            _ => "Data.db\nCRC.db\n",
        };
        let beside = if beside { whole.clone() } else { vec![(format!("{above}schema.cql"), "x")] };
        let keys = [beside, vec![(format!("{above}{file}"), content)]].concat();
        let expected = format!("SSTable {name} of shop.users: Cassandra does not open it: {why}");
        assert_eq!(lacks(&keys).await.0, if why.is_empty() { vec![] } else { vec![expected] }, "{file}");
    }
}

#[tokio::test]
async fn of_what_was_flushed_too() {
    let above = |below: &str| format!("node1/shop/{USERS}/{below}/");
    let full = sstable(&above("snapshots/daily"), "nb-1-big", &BIG, &[]);
    for (gone, empty, why) in [
        (&[][..], &[][..], ""),
        (&["Index.db"], &[], "Index.db is missing"),
        (
            &["CompressionInfo.db", "TOC.txt"],
            &["Data.db"],
            "Data.db is missing, CompressionInfo.db or CRC.db is missing",
        ),
        // Whether it was compressed, only TOC.txt tells.
        (&["CompressionInfo.db"], &[], ""),
    ] {
        let present: Vec<&str> = BIG.iter().copied().filter(|component| !gone.contains(component)).collect();
        let index = sstable(&above("backups/.by_mail"), "nb-2-big", &BIG[..1], &[]);
        let keys = [full.clone(), sstable(&above("backups"), "nb-2-big", &present, empty), index].concat();
        let keys: Vec<_> = keys.into_iter().chain([(above("backups") + "notes.txt", "x")]).collect();
        let (told, _) = lacks(&keys).await;
        let expected = format!("SSTable nb-2-big of shop.users: Cassandra does not open it: {why}");
        assert_eq!(told, if why.is_empty() { vec![] } else { vec![expected] }, "{gone:?}");
    }
}

#[tokio::test]
async fn an_empty_archive_is_a_lack_of_its_table() {
    let key = |tag: &str, table: &str| format!("node1/2026-11-21-02-{tag}/{table}");
    let manifest = r#"{"backup_type":"full","timestamp_utc":"2026-11-21T02:46:00Z"}"#;
    let set = |content| {
        vec![
            (key("45", "shop/users.tar.gz.enc"), content),
            (key("45", "shop/orders.tar.gz.enc"), "x"),
            (key("45", "backup_manifest.json"), manifest),
        ]
    };
    assert_eq!(lacks(&set("x")).await.0, [""; 0]);
    assert_eq!(lacks(&set("")).await.0, ["shop.users: its archive is an empty object"]);
}
