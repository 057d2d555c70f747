//! Snapshots of some tables or keyspaces only.

use super::*;

#[tokio::test]
async fn a_snapshot_of_one_table_stands_apart() {
    let set = |tag: &str, table: &str, at: i64| {
        ["nb-1-big-Data.db", "manifest.json"].map(|file| (format!("node1/shop/{table}/snapshots/{tag}/{file}"), at))
    };
    let items = "items-7843dbd0e55511f185a85b65bc0eb463";
    let keys = [set("all", USERS, T), set("all", ORDERS, T), set("all", items, T), set("one", USERS, T + 60)].concat();
    let keys: Vec<(&str, i64)> = keys.iter().map(|(key, time)| (key.as_str(), *time)).collect();
    let host = host(&keys, "node1", &[]).await;
    assert_eq!(host.set("one").unwrap().automatic(), Some(Automatic::SomeTables));
    assert_eq!(&*host.latest(host.chains.points().len()).unwrap().tag().0, "all");
    assert_eq!(&*host.find_point("one").unwrap().tag().0, "one");
    assert_eq!(left_aside(&host)[1], ("one".to_owned(), vec!["shop.items".to_owned(), "shop.orders".to_owned()]));
}

/// The tables that each restore point is not made of.
fn left_aside(host: &HostSets) -> Vec<(String, Vec<String>)> {
    let points = host.chains.points().iter().enumerate();
    let of_point = |at: usize| {
        let lacks = host.completeness.of_point(at).filter(|lack| matches!(lack.cause, Cause::SomeTables { .. }));
        lacks.filter_map(|lack| Some(lack.subject.table()?.to_string())).collect()
    };
    points.map(|(at, point)| (point.tag().to_string(), of_point(at))).collect()
}

#[tokio::test]
async fn a_snapshot_of_one_keyspace_says_what_it_is_not_made_of() {
    const SCHEMA: &str = "system_schema/tables-afddfb9dbc1e30688056eed6c302ba09";
    let (shop, media) = (format!("shop/{USERS}"), format!("media/{ORDERS}"));
    let file = |table: &str, tag: &str, at: i64| (format!("{table}/snapshots/{tag}/nb-1-big-Data.db"), T + at);
    let dropped = |at: i64| (format!("{media}/snapshots/dropped-{}000-orders/nb-1-big-Data.db", T + at), T + at);
    let seen = |keys: &[(String, i64)]| {
        let keys = openable(keys);
        async move {
            let keys: Vec<(&str, i64)> = keys.iter().map(|(key, time)| (key.as_str(), *time)).collect();
            let host = host(&keys, "node", &[]).await;
            let lacking = left_aside(&host).into_iter().filter(|(_, tables)| !tables.is_empty());
            let lacking: Vec<String> = lacking.map(|(tag, tables)| format!("{tag}: {}", tables.join(" "))).collect();
            let latest = host.latest(host.chains.points().len()).unwrap().tag().to_string();
            (lacking.join(", "), latest)
        }
    };
    let told = |lacking: &str, latest: &str| (lacking.to_owned(), latest.to_owned());
    let users = [file(&shop, "all", 0), file(&media, "all", 0)];
    let all = [&users[..], &[file(SCHEMA, "all", 0)]].concat();
    let with = |keys: &[(String, i64)], more: &[(String, i64)]| [keys, more].concat();

    // Made of one keyspace by hand: nobody drops system_schema.
    let one = file(&shop, "one", 60);
    assert_eq!(seen(&with(&all, std::slice::from_ref(&one))).await, told("one: media.orders", "all"));
    // A keyspace that was dropped is in no snapshot of the whole node any more.
    let later = [one.clone(), file(SCHEMA, "one", 60)];
    assert_eq!(seen(&with(&all, &later)).await, told("", "one"));
    // Without Cassandra's own tables its snapshot before the drop tells; without that it is asked
    // once.
    assert_eq!(seen(&with(&users, &[one.clone(), dropped(30)])).await, told("", "one"));
    let two = file(&shop, "two", 120);
    assert_eq!(seen(&with(&users, &[one.clone(), two])).await, told("one: media.orders", "two"));
    // Dropped after it, or flushed, or in a snapshot, or still there: it was there.
    for later in [
        dropped(90),
        (format!("{media}/backups/nb-2-big-Data.db"), T + 90),
        file(&media, "two", 90),
        (format!("{media}/nb-2-big-Data.db"), T),
    ] {
        let keys = with(&users[..1], &[one.clone(), later.clone()]);
        let (lacking, _) = seen(&keys).await;
        assert!(lacking.contains("all: media.orders, one: media.orders"), "{later:?}: {lacking}");
    }
    // Not made when the snapshot was.
    let young = "media/orders-fe786540e55511f185a85b65bc0eb462/nb-1-big-Data.db".to_owned();
    assert_eq!(seen(&[file(&shop, "all", 0), (young, T + 600)]).await, told("", "all"));

    // A table that was lost, with others of its keyspace: between two that have it, and in the last.
    let orders = format!("shop/{ORDERS}");
    let both = |tag: &str, at: i64| [file(&shop, tag, at), file(&orders, tag, at)];
    let lost = with(&with(&both("1", 0), &[file(&shop, "2", 60)]), &both("3", 120));
    assert_eq!(seen(&lost).await, told("2: shop.orders", "3"));
    assert_eq!(seen(&with(&lost, &[file(&shop, "4", 180)])).await, told("2: shop.orders, 4: shop.orders", "3"));
    let dropped = (format!("{orders}/snapshots/dropped-{}000-orders/nb-1-big-Data.db", T + 150), T + 150);
    assert_eq!(seen(&with(&lost, &[file(&shop, "4", 180), dropped])).await, told("2: shop.orders", "4"));

    // Incrementals have the others from the full before.
    let flushed = (format!("{shop}/backups/nb-2-big-Data.db"), T + 120);
    let (lacking, latest) = seen(&with(&all, &[one, flushed])).await;
    assert_eq!((&*lacking, &*latest), ("one: media.orders", "until-2026-11-21-02-48"));
}

/// Also of the sets that are not looked at again.
#[tokio::test]
async fn copies_of_snapshots_are_compared_as_those_in_a_data_directory_are() {
    const SCHEMA: &str = "tables-afddfb9dbc1e30688056eed6c302ba09";
    let table = |tag: &str, keyspace: &str, table: &str, at: i64| {
        (format!("{tag}/node1/{keyspace}/{table}/nb-1-big-Data.db"), T + at)
    };
    let all = |tag: &str, at: i64| {
        [table(tag, "shop", USERS, at), table(tag, "media", ORDERS, at), table(tag, "system_schema", SCHEMA, at)]
    };
    let one = table("20261122", "shop", USERS, 86_400);
    let objects = MemoryObjects::default();
    let objects = Arc::new(objects);
    let put = |keys: &[(String, i64)]| {
        for (key, at) in openable(keys) {
            objects.put(key, "x", Timestamp::from_secs(at));
        }
    };
    put(&all("20261121", 0));
    put(&[one]);
    let options = CatalogOptions { layout: LayoutChoice::Auto, ..CatalogOptions::default() };
    let catalog = Catalog::open(objects.clone(), options);
    let node1 = Host::new("node1");
    let told = |host: &HostSets| {
        let told = left_aside(host).into_iter().filter(|(_, tables)| !tables.is_empty());
        let told: Vec<String> = told.map(|(tag, tables)| format!("{tag}: {}", tables.join(" "))).collect();
        (told.join(", "), host.latest(host.chains.points().len()).unwrap().tag().to_string())
    };
    let expected = ("20261122: media.orders".to_owned(), "20261121".to_owned());
    assert_eq!(told(&catalog.host(&node1).await.unwrap()), expected);
    // What is known of others is compared with each new one; in the end they are not looked at again.
    put(&[table("20261123", "shop", USERS, 2 * 86_400), table("20261123", "media", ORDERS, 2 * 86_400)]);
    catalog.refresh().await.unwrap();
    let expected = ("20261122: media.orders".to_owned(), "20261123".to_owned());
    assert_eq!(told(&catalog.host(&node1).await.unwrap()), expected);
    put(&[table("20261124", "shop", USERS, 3 * 86_400)]);
    catalog.refresh().await.unwrap();
    let expected = ("20261122: media.orders, 20261124: media.orders".to_owned(), "20261123".to_owned());
    assert_eq!(told(&catalog.host(&node1).await.unwrap()), expected);
}

#[tokio::test]
async fn sstables_that_lost_their_directory_are_findings() {
    let above = "node1/var/lib/cassandra/data/";
    let keys = [
        format!("{above}shop/{USERS}/snapshots/daily/nb-1-big-Data.db"),
        // Of no table, of no keyspace, beside the data directory, and packed there.
        format!("{above}shop/nb-1-big-Data.db"),
        format!("{above}nb-1-big-Data.db"),
        "node1/var/lib/nb-1-big-Data.db".to_owned(),
        "node1/nb-1-big-Data.db".to_owned(),
        "node1/old.tar.gz".to_owned(),
        "node1/cassandra.yaml".to_owned(),
    ];
    let keys: Vec<(&str, i64)> = keys.iter().map(|key| (key.as_str(), T)).collect();
    let options = CatalogOptions { layout: "data_dir".parse().unwrap(), ..CatalogOptions::default() };
    let host = Catalog::open(objects(&keys), options).host(&Host::new("node1")).await.unwrap();
    let mut found: Vec<&str> = host.strays.list().iter().map(|stray| &*stray.key).collect();
    let mut lost: Vec<&str> = keys[1..6].iter().map(|(key, _)| *key).collect();
    found.sort_unstable();
    lost.sort_unstable();
    assert_eq!(found, lost);
    let told = host.completeness.lacks().filter(|lack| matches!(lack.cause, Cause::Stray { .. }));
    assert_eq!(told.count(), lost.len());
}

/// Of copies that are put together in one place.
#[tokio::test]
async fn a_copy_whose_name_says_that_it_is_unfinished_is_no_backup_and_logs_are_no_host() {
    let table = |tag: &str, at: i64| (format!("{tag}/node1/shop/{USERS}/nb-1-big-Data.db"), T + at);
    let names = ["20261121", "20261122.partial", "in-progress_20261123", "20261124.tmp"];
    let keys: Vec<(String, i64)> = names.iter().zip(0..).map(|(tag, day)| table(tag, day * 86_400)).collect();
    let mut keys = openable(&keys);
    keys.push(("20261121/commitlogs/node1/CommitLog-7-1.log".to_owned(), T));
    keys.push(("20261121/commitlogs/node2/CommitLog-7-2.log".to_owned(), T));
    let keys: Vec<(&str, i64)> = keys.iter().map(|(key, time)| (key.as_str(), *time)).collect();
    let options = CatalogOptions { layout: LayoutChoice::Auto, ..CatalogOptions::default() };
    let catalog = Catalog::open(objects(&keys), options);
    let node1 = Host::new("node1");
    // Also where nobody has listed the hosts.
    let host = catalog.host(&node1).await.unwrap();
    let points: Vec<String> = host.chains.points().iter().map(|point| point.tag().to_string()).collect();
    assert_eq!(points, ["20261121"]);
    let outside = host.completeness.outside().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(outside.len(), 3, "{outside:?}");
    for (lack, tag) in outside.iter().zip(&names[1..]) {
        assert!(lack.starts_with(&format!("{tag} is left out: it did not finish: its name says")), "{lack}");
    }
    assert_eq!(&*host.logs.as_ref().unwrap().bundle.key, "20261121/commitlogs/node1/");
    let hosts = catalog.hosts().await.unwrap();
    assert_eq!(hosts.hosts, [node1]);
    let strays: Vec<(&str, StrayReason)> =
        hosts.strays.list().iter().map(|stray| (&*stray.key, stray.reason)).collect();
    assert_eq!(strays, [("20261121/commitlogs/node2/", StrayReason::CommitLogs)]);
}

/// The restore points of `node1` but for their newest state, what is left out, and what lies beside.
async fn told(keys: &[String]) -> (Vec<String>, Vec<String>, Vec<(String, StrayReason)>) {
    let keys: Vec<(String, i64)> = openable(&keys.iter().map(|key| (key.clone(), T)).collect::<Vec<_>>());
    let keys: Vec<(&str, i64)> = keys.iter().map(|(key, time)| (key.as_str(), *time)).collect();
    let catalog = Catalog::open(objects(&keys), CatalogOptions { layout: LayoutChoice::Auto, ..Default::default() });
    let host = catalog.host(&Host::new("node1")).await.unwrap();
    let hosts = catalog.hosts().await.unwrap();
    assert_eq!(hosts.hosts, [Host::new("node1")]);
    let strays = host.strays.list().iter().chain(hosts.strays.list());
    (
        host.chains.points().iter().map(|point| point.tag().to_string()).collect(),
        host.completeness.outside().iter().map(ToString::to_string).collect(),
        strays.map(|stray| (stray.key.to_string(), stray.reason)).collect(),
    )
}

#[tokio::test]
async fn a_copy_that_somebody_made_of_a_snapshot_is_none_and_one_that_was_put_aside_is_told() {
    let table = |place: &str| format!("{place}/shop/{USERS}/nb-1-big-Data.db");
    for copy in ["20261122.bak", "20261122 (copy)", "copy of 20261122"] {
        let all = ["20261121", "20261122", copy].map(|tag| table(&format!("{tag}/node1")));
        let (points, outside, strays) = told(&all).await;
        assert_eq!((&points[..], outside.len()), (&["20261121".to_owned(), "20261122".to_owned()][..], 0), "{copy}");
        assert_eq!(strays, [(format!("{copy}/node1/"), StrayReason::CopiedSet)]);
        let (points, outside, _) = told(&[all[0].clone(), all[2].clone()]).await;
        assert_eq!(points, ["20261121"], "{copy}");
        assert!(
            outside[0].contains("the set was renamed, so that it is no restore point: name it 20261122"),
            "{outside:?}"
        );
    }
    // What somebody calls a snapshot is its name.
    let (points, ..) =
        told(&["before-upgrade", "before-upgrade.old", "20261121-weekly"].map(|tag| table(&format!("{tag}/node1"))))
            .await;
    assert_eq!(points.len(), 3, "{points:?}");
    // Of a data directory's.
    let table = |tag: &str| format!("node1/shop/{USERS}/snapshots/{tag}/nb-1-big-Data.db");
    let orders = format!("node1/shop/{ORDERS}/snapshots/20261122.bak/nb-1-big-Data.db");
    let (points, _, strays) = told(&[table("20261122"), table("20261122.bak")]).await;
    assert_eq!((points.len(), strays[0].1), (1, StrayReason::CopiedSet));
    let (_, _, strays) = told(&[table("20261122"), table("20261122.bak"), orders]).await;
    assert_eq!(strays, [(format!("node1/shop/{ORDERS}/snapshots/20261122.bak/"), StrayReason::Archives)]);
}

#[tokio::test]
async fn a_directory_called_as_an_unfinished_copy_of_a_host_is_no_host() {
    let table = |place: &str| format!("{place}/shop/{USERS}/nb-1-big-Data.db");
    let (points, outside, strays) = told(&[table("20261121/node1"), table("20261122/node1.partial")]).await;
    assert_eq!(points, ["20261121"]);
    assert!(outside[0].contains("its directory is called node1.partial"), "{outside:?}");
    assert_eq!(strays, [("20261122/node1.partial/".to_owned(), StrayReason::CopiedHost)]);
    let table = |host: &str| format!("{host}/shop/{USERS}/snapshots/20261122/nb-1-big-Data.db");
    let (points, _, strays) = told(&[table("node1"), table("node1.bak")]).await;
    assert_eq!((points.len(), &strays[..]), (1, &[("node1.bak/".to_owned(), StrayReason::CopiedHost)][..]));
}
