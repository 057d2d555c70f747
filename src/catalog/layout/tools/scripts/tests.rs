//! Sets and restore points from names, and what becomes of names that do not say enough.

use super::Scripts;
use crate::catalog::layout::{Layout, LayoutChoice};
use crate::catalog::testing::MemoryObjects;
use crate::catalog::{Catalog, CatalogOptions, Host, HostSets, RestorePoint, SetKind, StrayReason};
use crate::time::Timestamp;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const ID: &str = "763dab90e55511f185a85b65bc0eb462";
const SCHEMA: &str = "CREATE TABLE my_app.users_by_name (\n id int PRIMARY KEY\n);\n";

fn at(text: &str) -> Timestamp {
    Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
}

/// Objects by key, written at a time.
fn source(objects: &[(&str, &str)]) -> Arc<MemoryObjects> {
    let source = Arc::new(MemoryObjects::default());
    for (key, time) in objects {
        let content = if key.ends_with("/schema.cql") { SCHEMA } else { "x" };
        source.put(key.replace("ID", ID), content, at(time));
    }
    source
}

fn open(source: &Arc<MemoryObjects>) -> Arc<Catalog> {
    let layout = LayoutChoice::Certain(Arc::new(Scripts));
    Catalog::open(source.clone(), CatalogOptions { layout, ..CatalogOptions::default() })
}

async fn host(source: &Arc<MemoryObjects>) -> Arc<HostSets> {
    open(source).host(&Host::new("node1")).await.unwrap()
}

/// `<set> <kind>: <tables>`
fn shown(sets: &HostSets) -> Vec<String> {
    let shown = |set: &Arc<crate::catalog::BackupSet>| {
        let tables: Vec<String> = set.tables().map(ToString::to_string).collect();
        format!("{} {}: {}", set.tag, set.kind().name(), tables.join(" "))
    };
    sets.sets.iter().map(shown).collect()
}

/// Each restore point's sets.
fn points(sets: &HostSets) -> Vec<String> {
    let tags = |point: &RestorePoint| point.sets().map(|set| set.tag.to_string()).collect::<Vec<_>>().join("+");
    sets.chains.points().iter().map(tags).collect()
}

#[tokio::test]
async fn a_date_may_hold_a_full_and_what_came_after() {
    let objects = [
        ("20261120/node1/shop_users-ID_incr.tar.gz", "2026-11-20T03:00:00Z"),
        ("20261121/node1/shop_users-ID.tar.gz", "2026-11-21T01:00:00Z"),
        ("20261121/node1/shop_orders-ID.tar.gz", "2026-11-21T02:00:00Z"),
        // Flushed after the snapshot of users, uploaded before the full was complete.
        ("20261121/node1/shop_users-ID_incr.tar.gz", "2026-11-21T01:30:00Z"),
        ("20261122/node1/shop_users-ID_incr.tgz.enc", "2026-11-22T01:00:00Z"),
        ("20261122/node2/shop_users-ID_incr.tgz.enc", "2026-11-22T01:00:00Z"),
    ];
    let sets = host(&source(&objects)).await;
    let expected = [
        "20261120_incr incremental: shop.users",
        "20261121 full: shop.orders shop.users",
        "20261121_incr incremental: shop.users",
        "20261122_incr incremental: shop.users",
    ];
    assert_eq!(shown(&sets), expected);
    assert_eq!(points(&sets), ["20261121", "20261121+20261121_incr", "20261121+20261121_incr+20261122_incr"]);
    assert_eq!(sets.chains.problems.len(), 1, "no base: {:?}", sets.chains.problems);
    // A full that was begun later on that day has all that it had.
    let mut later = objects;
    later[3].1 = "2026-11-21T00:30:00Z";
    let sets = host(&source(&later)).await;
    assert_eq!(points(&sets), ["20261121", "20261121+20261122_incr"]);

    // Copied since, so that the store does not tell any more which came first: what was flushed is
    // never left out.
    let copied = objects.map(|(key, _)| (key, "2027-03-01T00:00:00Z"));
    let sets = host(&source(&copied)).await;
    assert_eq!(points(&sets), ["20261121", "20261121+20261121_incr", "20261121+20261121_incr+20261122_incr"]);
}

#[tokio::test]
async fn both_orders_of_names_and_the_hosts_time() {
    let objects = [
        ("node1/20261121-024500/shop_users-ID.tar.zst", "2026-11-21T01:46:00Z"),
        ("node1/20261121-034500/shop_users-ID_incr.tar", "2026-11-21T02:45:30Z"),
        ("20261122/node1/shop_users-ID.tar.lz4", "2026-11-22T02:00:00Z"),
        ("20261122/node2/shop_users-ID.tar.lz4", "2026-11-22T02:00:00Z"),
        ("lost+found/x", "2026-11-22T02:00:00Z"),
        ("node1/notes.txt", "2026-11-22T02:00:00Z"),
        ("20261122/node1/readme", "2026-11-22T02:00:00Z"),
    ];
    let source = source(&objects);
    let hosts = open(&source).hosts().await.unwrap();
    assert_eq!(hosts.hosts, [Host::new("node1"), Host::new("node2")]);
    assert_eq!(hosts.strays.list().iter().map(|stray| &*stray.key).collect::<Vec<_>>(), ["lost+found/"]);
    let sets = host(&source).await;
    let first = &sets.sets[0];
    assert_eq!((&*first.tag.0, first.start().to_string()), ("20261121-024500", "2026-11-21T01:45:00Z".into()), "UTC+1");
    assert_eq!(points(&sets), ["20261121-024500", "20261121-024500+20261121-034500_incr", "20261122"]);
    let strays: Vec<&str> = sets.strays.list().iter().map(|stray| &*stray.key).collect();
    assert_eq!(strays, ["node1/notes.txt"]);
    assert_eq!(sets.sets[2].strays.list()[0].reason, StrayReason::Unknown);
    for (key, is_ours) in [
        ("20261121/node1/shop_users-ID.tar.gz", true),
        ("node1/20261121-024500/shop_users-ID_incr.tar.lz4.enc", true),
        ("node1/weekly/shop_users-ID.tar.gz", false),
        ("20261121/node1/shop/users-ID.tar.gz", false),
        ("20261121/node1/schema.cql", false),
    ] {
        assert_eq!(Scripts.recognises(&key.replace("ID", ID)), is_ours, "{key}");
    }
}

#[tokio::test]
async fn an_unfinished_copy_is_an_archive_unless_the_whole_one_is_there() {
    let time = "2026-11-22T02:00:00Z";
    let orders = ("20261122/node1/shop_orders-ID.tar.gz", time);
    for name in ["20261122/node1/shop_users-ID.tar.gz.part", "20261122/node1/SHOP_USERS-ID.TAR.GZ"] {
        let sets = host(&source(&[orders, (name, time)])).await;
        assert_eq!(sets.sets[0].strays.list()[0].reason, StrayReason::OtherArchive, "{name}");
        let lacks: Vec<String> = sets.completeness.lacks().map(|lack| lack.subject.to_string()).collect();
        assert_eq!(lacks, [name.replace("ID", ID)]);
    }
    let sets = host(&source(&[orders, ("20261122/node1/shop_orders-ID.tar.gz.tmp", time)])).await;
    assert_eq!(sets.sets[0].strays.list()[0].reason, StrayReason::Unknown);
    assert_eq!(sets.completeness.lacks().count(), 0);
}

#[tokio::test]
async fn a_name_that_nothing_explains_is_told_and_not_shown() {
    const NAME: &str = "20261121/node1/my_app_users_by_name-ID.tar.gz";
    let time = "2026-11-21T01:00:00Z";
    let alone = host(&source(&[(NAME, time)])).await;
    assert!(alone.chains.points().is_empty());
    let set = &alone.sets[0];
    assert_eq!((set.is_finished(), set.strays.list()[0].reason), (false, StrayReason::Ambiguous));
    assert!(set.strays.list()[0].to_string().contains("put a schema.cql beside it"));

    let users = "20261121 full: my_app.users_by_name";
    for schema in ["20261121/node1/schema.cql", "20261121/schema.cql", "20261201/node1/schema.cql"] {
        // A later set explains an earlier one, if it needs its schema itself.
        let later = ("20261201/node1/my_app_users_by_name-ID.tar.gz", time);
        let found = host(&source(&[(NAME, time), (schema, time), later])).await;
        assert_eq!(shown(&found)[0], users, "{schema}");
        assert!(found.sets[0].strays.is_empty() && found.chains.problems.is_empty(), "{:?}", found.chains.problems);
    }
    // A keyspace that is certain decides, and that is said.
    let found = host(&source(&[(NAME, time), ("20261121/node1/my_thing-ID.tar.gz", time)])).await;
    assert_eq!(shown(&found), ["20261121 full: my.app_users_by_name my.thing"]);
    assert!(
        found.chains.problems[0].to_string().contains("my.app_users_by_name taken so"),
        "{:?}",
        found.chains.problems
    );
}

#[tokio::test]
async fn what_is_settled_is_not_listed_again() {
    let source = source(&[]);
    for day in 1..=5 {
        for file in [format!("my_app_users_by_name-{ID}.tar.gz"), "schema.cql".to_owned()] {
            source.put(format!("2026110{day}/node1/{file}"), SCHEMA, at(&format!("2026-11-0{day}T01:00:00Z")));
        }
    }
    let catalog = open(&source);
    let node = Host::new("node1");
    let first = catalog.host(&node).await.unwrap();
    assert_eq!(first.sets[0].kind(), SetKind::Full);
    let (lists, reads) = (source.lists.load(Ordering::SeqCst), source.reads.load(Ordering::SeqCst));
    assert_eq!(reads, 5, "each schema.cql: to part names, and to judge what the set lacks");
    source.put(
        "20261201/node1/my_app_users_by_name-".to_owned() + ID + "_incr.tar.gz",
        "x",
        at("2026-12-01T01:00:00Z"),
    );
    let second = catalog.host_now(&node).await.unwrap();
    assert_eq!(shown(&second)[5], "20261201_incr incremental: my_app.users_by_name");
    let listed = source.lists.load(Ordering::SeqCst) - lists;
    assert!(listed <= 3, "{listed}: the two oldest, and the new set");
    assert_eq!(source.reads.load(Ordering::SeqCst), reads, "what is known needs no reading");
}

#[tokio::test]
async fn a_date_that_somebody_renamed_is_left_out_and_told() {
    let of = |directory: &str, day: u8, suffix: &str| {
        (format!("{directory}/shop_users-ID{suffix}.tar.gz"), format!("2026-11-{day}T01:00:00Z"))
    };
    let told = |keys: Vec<(String, String)>| async move {
        let objects: Vec<(&str, &str)> = keys.iter().map(|(key, time)| (&**key, &**time)).collect();
        let sets = host(&source(&objects)).await;
        let of_newest = sets.completeness.of_point(sets.chains.points().len() - 1);
        let lacks: Vec<String> = of_newest.map(ToString::to_string).collect();
        let archives = sets.strays.list().iter().filter(|stray| stray.reason == StrayReason::Archives);
        (lacks, archives.map(|stray| stray.key.to_string()).collect::<Vec<_>>())
    };
    let renamed = "20261121.bak is left out: its manifest cannot be used: the set was renamed, so that it is no \
                   restore point: name it 20261121, or move it away";
    for (first, odd, last) in [
        ("node1/20261120", "node1/20261121.bak", "node1/20261122"),
        ("20261120/node1", "20261121.bak/node1", "20261122/node1"),
    ] {
        let keys = [of(first, 20, ""), of(odd, 21, "_incr"), of(last, 22, "_incr")];
        let (lacks, archives) = told(keys.to_vec()).await;
        let [lack] = &lacks[..] else { panic!("{lacks:?}") };
        assert!(lack.starts_with(&renamed.replacen("20261121.bak", "20261121.bak_incr", 1)), "{lack}");
        assert_eq!(archives, [""; 0]);
        // A copy beside what it is a copy of.
        let copied = of(&odd.replace(".bak", ""), 21, "_incr");
        assert_eq!(told([&keys[..], &[copied]].concat()).await, (vec![], vec![]));
    }
    // The date is another host's.
    let others = of("20261121/node2", 21, "_incr");
    let keys = [of("20261120/node1", 20, ""), of("20261121.bak/node1", 21, "_incr"), others];
    let (lacks, _) = told([&keys[..], &[of("20261122/node1", 22, "_incr")]].concat()).await;
    assert!(matches!(&lacks[..], [lack] if lack.starts_with("20261121.bak_incr is left out")), "{lacks:?}");
    // Nothing says when that was.
    let (_, archives) = told(vec![of("node1/20261120", 20, ""), of("node1/monday", 21, "")]).await;
    assert_eq!(archives, ["node1/monday/"]);
    let source = source(&[
        ("20261120/node1/shop_users-ID.tar.gz", "2026-11-20T01:00:00Z"),
        ("old/node1/shop_users-ID.tar.gz", "2026-11-19T01:00:00Z"),
    ]);
    let hosts = open(&source).hosts().await.unwrap();
    let strays: Vec<_> = hosts.strays.list().iter().map(|stray| (&*stray.key, stray.reason)).collect();
    assert_eq!(strays, [("old/", StrayReason::Archives)]);
}

#[tokio::test]
async fn a_date_tells_no_zone() {
    let mut objects = Vec::new();
    let days: Vec<String> = (20..24).map(|day| day.to_string()).collect();
    for day in &days {
        let dir = format!("202611{day}/node1");
        for (name, time) in [
            ("schema.cql", "03:00:00"),
            ("my_app_users_by_name-ID.tar.gz", "03:00:09"),
            // Made again six hours later, and one of them only.
            ("my_app_users_by_name-ID_incr.tar.gz", "09:00:00"),
            ("my_app_orders-ID_incr.tar.gz", "15:00:00"),
        ] {
            objects.push((format!("{dir}/{name}"), format!("2026-11-{day}T{time}Z")));
        }
    }
    let objects: Vec<(&str, &str)> = objects.iter().map(|(key, time)| (&**key, &**time)).collect();
    let host = host(&source(&objects)).await;
    assert_eq!(host.offsets.near(at("2026-11-23T00:00:00Z")), None);
    let expected = [
        "20261120",
        "20261120+20261120_incr",
        "20261121",
        "20261121+20261121_incr",
        "20261122",
        "20261122+20261122_incr",
        "20261123",
        "20261123+20261123_incr",
    ];
    assert_eq!(points(&host), expected);
    let asked = |time: &str| host.find_point(time).unwrap().tag().to_string();
    assert_eq!(asked("2026-11-21-03-15"), "20261121");
    assert_eq!(asked("2026-11-21-16-00"), "20261121_incr");
}
