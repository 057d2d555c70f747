//! Buckets with gaps: copies of the sample that lack archives, manifests or whole sets, or change
//! while they are looked at.

use testkit::oracle;
use testkit::unpacked;
use testkit::walk;

use cassmount::cassandra::TableName;
use cassmount::catalog::{Host, Tag};
use cassmount::tree::{BackupTree, SchemaOptions, TreeOptions};
use cassmount::view::View;
use oracle::{Oracle, comparable};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use unpacked::{Unpacked, sample_keys};
use walk::{assert_same, names, node_at, read_all, walk_view};

const OLD: &str = "events-77bbc010e55511f185a85b65bc0eb462";
const NEW: &str = "events-fe786540e55511f185a85b65bc0eb462";

/// A copy of the sample bucket without some of its files.
struct Copy {
    directory: tempfile::TempDir,
}

impl Copy {
    fn without(is_left_out: impl Fn(&Path) -> bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("sample/bucket");
        let copied = std::process::Command::new("cp").arg("-a").arg(sample.join(".")).arg(directory.path()).status();
        assert!(copied.unwrap().success());
        let copy = Self { directory };
        for (path, ..) in unpacked::files_below(copy.directory.path()) {
            if is_left_out(Path::new(&path)) {
                std::fs::remove_file(copy.path().join(path)).unwrap();
            }
        }
        copy
    }

    fn path(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    fn source(&self) -> Arc<Unpacked> {
        Unpacked::new(&self.path(), sample_keys())
    }
}

fn in_system_schema(path: &Path) -> bool {
    path.parent().is_some_and(|parent| parent.ends_with("system_schema"))
}

/// Without what says that archives which a manifest names are gone: here the test took them away.
fn but_lacks(mut tree: walk::Tree) -> walk::Tree {
    let all = tree.len();
    tree.retain(|path, _| !path.ends_with("/INCOMPLETE.txt"));
    assert!(tree.len() < all, "points that lack archives say so");
    tree
}

#[tokio::test]
async fn what_was_read_corrects_the_names_and_the_old_ones_still_resolve() {
    let copy = Copy::without(in_system_schema);
    let knowledge = tempfile::tempdir().unwrap();
    let options = TreeOptions { directory: Some(knowledge.path().into()), ..TreeOptions::default() };
    let source = copy.source();
    let tree = BackupTree::over(source.clone(), options.clone()).unwrap();

    // The mapping of 02-50 names the old incarnation, and so does nothing else.
    let shop = "cass-a/restore-points/2026-11-21-02-49/shop";
    assert!(names(&tree, shop).await.unwrap().contains(&OLD.to_owned()));
    let read = source.take_read();
    assert!(read.iter().all(|key| key.ends_with("schema_mapping.json")), "names cost mappings only: {read:?}");

    // The first reader of the directory finds out: an SSTable of that name is another one in an
    // older set.
    let first_shown = node_at(&tree, &format!("{shop}/{OLD}")).await.unwrap();
    let listed = tree.list(&first_shown).await.unwrap();
    assert!(listed.len() == 8 && listed.iter().all(|entry| entry.name.to_str().unwrap().starts_with("nb-1-big-")));
    let shown = names(&tree, shop).await.unwrap();
    assert!(shown.contains(&NEW.to_owned()) && !shown.contains(&OLD.to_owned()));
    assert_eq!(names(&tree, &format!("{shop}/{OLD}")).await.unwrap().len(), 8, "the first name still resolves");
    let old = names(&tree, &format!("cass-a/shop/{OLD}/snapshots")).await.unwrap();
    assert_eq!(old, ["2026-11-21-02-45", "2026-11-21-02-47", "2026-11-21-02-48", "latest"]);
    for point in ["2026-11-21-02-49", "2026-11-21-02-50"] {
        assert!(names(&tree, &format!("cass-a/shop/{OLD}/snapshots/{point}")).await.is_ok(), "{point}");
    }

    // Once everything was read, everything is right, here and in the next process, which has to
    // read nothing for it.
    walk_view(&tree, "").await;
    let expected = Oracle::of(&copy.path()).expected();
    assert_same(&but_lacks(comparable(&walk_view(&tree, "").await, &expected)), &expected);
    let source = copy.source();
    let next = BackupTree::over(source.clone(), options.clone()).unwrap();
    for host in ["cass-a", "cass-b"] {
        let shown = names(&next, &format!("{host}/restore-points/2026-11-21-02-49/shop")).await.unwrap();
        assert!(shown.contains(&NEW.to_owned()) && !shown.contains(&OLD.to_owned()));
    }
    assert_eq!(source.take_read(), [] as [Arc<str>; 0]);

    // Links of live tables outlive the process that showed the first name.
    let linked = format!("{shop}/{OLD}");
    assert!(node_at(&next, &linked).await.is_err());
    let options = TreeOptions { linked: [linked.clone().into()].into(), ..options };
    let later = BackupTree::over(copy.source(), options).unwrap();
    assert_eq!(names(&later, &linked).await.unwrap().len(), 8);
    assert!(!names(&later, shop).await.unwrap().contains(&OLD.to_owned()), "it is found, and not listed");
    assert!(node_at(&later, &linked.replace("02-49", "02-50")).await.is_err(), "no other point's");
}

#[tokio::test]
async fn the_schema_is_the_newest_fulls_and_says_so() {
    let copy = Copy::without(in_system_schema);
    let tree = BackupTree::over(copy.source(), TreeOptions::default()).unwrap();
    let node = node_at(&tree, "cass-a/restore-points/2026-11-21-02-49/schema.cql").await.unwrap();
    let cql = String::from_utf8(read_all(&tree, &node).await.unwrap()).unwrap();
    assert!(cql.starts_with("-- The schema that the full backup 2026-11-21-02-45 of cass-a wrote down"), "{cql}");
    assert!(cql.contains("CREATE TABLE shop.events"));
    assert_eq!(tree.attr(&node).await.unwrap().size, cql.len() as u64);
}

#[tokio::test]
async fn without_any_evidence_directories_have_bare_names() {
    let left_out = |path: &Path| in_system_schema(path) || path.ends_with("schema_mapping.json");
    let copy = Copy::without(left_out);
    let tree = BackupTree::over(copy.source(), TreeOptions::default()).unwrap();
    let bare = "cass-a/restore-points/2026-11-21-02-45/shop";
    assert_eq!(names(&tree, bare).await.unwrap(), ["events", "hits", "orders", "users", "users_by_name"]);
    let warnings = tree.warnings();
    assert!(warnings.len() == 1 && warnings[0].starts_with("cass-a: no evidence gives the id of "), "{warnings:?}");
    assert!(warnings[0].contains("media.") && warnings[0].contains(" more: "), "{warnings:?}");
    let users = node_at(&tree, &format!("{bare}/users")).await.unwrap();
    assert!(!tree.list(&users).await.unwrap().is_empty());
    let shown = names(&tree, bare).await.unwrap();
    assert!(shown.contains(&"users-763dab90e55511f185a85b65bc0eb462".to_owned()), "{shown:?}");
    assert!(names(&tree, &format!("{bare}/users")).await.is_ok(), "the bare name still resolves");

    let expected = Oracle::of(&Copy::without(in_system_schema).path()).expected();
    walk_view(&tree, "").await;
    let seen = but_lacks(comparable(&walk_view(&tree, "").await, &expected));
    let but_mappings = |tree: walk::Tree| -> walk::Tree {
        // Only mappings name the ids of Cassandra's own tables to the oracle; the crate knows them.
        tree.into_iter().filter(|(path, _)| !path.ends_with("schema_mapping.json")).collect()
    };
    assert_same(&but_mappings(seen), &but_mappings(expected));
}

#[tokio::test]
async fn a_set_without_a_manifest_is_no_restore_point_but_nothing_of_it_is_lost() {
    let tag = "2026-11-21-02-48";
    let copy = Copy::without(|path| path.ends_with(format!("{tag}/backup_manifest.json")));
    let tree = BackupTree::over(copy.source(), TreeOptions::default()).unwrap();
    for host in ["cass-a", "cass-b"] {
        let points = names(&tree, &format!("{host}/restore-points")).await.unwrap();
        assert!(!points.contains(&tag.to_owned()) && points.len() == 6);
        assert!(names(&tree, &format!("{host}/backup-sets")).await.unwrap().contains(&tag.to_owned()));
        assert!(names(&tree, &format!("{host}/backup-sets/{tag}")).await.unwrap().is_empty());
        let carts = names(&tree, &format!("{host}/shop")).await.unwrap();
        let carts = carts.iter().find(|name| name.starts_with("carts-")).unwrap();
        let files = names(&tree, &format!("{host}/shop/{carts}/backups/{tag}")).await.unwrap();
        assert!(files.contains(&"nb-1-big-Data.db".to_owned()));
        // What only it held is in no restore point either.
        let later = names(&tree, &format!("{host}/restore-points/2026-11-21-02-49/shop")).await.unwrap();
        assert!(!later.iter().any(|name| name.starts_with("carts-")), "{later:?}");
    }
}

#[tokio::test]
async fn without_a_full_incrementals_are_browsable_and_no_restore_points() {
    let copy = Copy::without(|path| path.iter().nth(1).is_some_and(|tag| tag == "2026-11-21-02-45"));
    let tree = BackupTree::over(copy.source(), TreeOptions::default()).unwrap();
    let points = names(&tree, "cass-a/restore-points").await.unwrap();
    assert_eq!(points, ["2026-11-21-02-50", "2026-11-21-02-52", "latest"]);
    let backups = names(&tree, &format!("cass-a/shop/{NEW}/backups")).await.unwrap();
    assert_eq!(backups, ["2026-11-21-02-49", "2026-11-21-02-52"]);
    // What is known of 02-47's events is that its set was made before anything that is known: its
    // own id is in later facts.
    let shop = names(&tree, "cass-a/shop").await.unwrap();
    let older = shop.iter().find(|name| name.starts_with("events") && *name != NEW).unwrap();
    assert_eq!(names(&tree, &format!("cass-a/shop/{older}/backups")).await.unwrap(), ["2026-11-21-02-47"]);
}

#[tokio::test]
async fn a_table_that_a_full_lacks_comes_from_the_full_before_it() {
    let copy = Copy::without(|path| path.ends_with("2026-11-21-02-50/shop/users.tar.gz.enc"));
    let tree = BackupTree::over(copy.source(), TreeOptions::default()).unwrap();
    let users = "users-763dab90e55511f185a85b65bc0eb462";
    let full = names(&tree, "cass-a/restore-points/2026-11-21-02-50/shop").await.unwrap();
    assert!(!full.contains(&users.to_owned()), "a full shows what it holds");
    let files = names(&tree, &format!("cass-a/restore-points/2026-11-21-02-52/shop/{users}")).await.unwrap();
    for generation in [1, 2, 3, 4, 7, 8] {
        assert!(files.contains(&format!("nb-{generation}-big-Data.db")), "{generation}: {files:?}");
    }
    assert!(!files.contains(&"nb-6-big-Data.db".to_owned()));
}

#[tokio::test]
async fn a_full_without_a_table_that_lived_then_is_as_incomplete_as_what_stands_on_it() {
    let kept = ["2026-11-21-02-50", "2026-11-21-02-52"];
    let gone = ["2026-11-21-02-50/shop/users.tar.gz.enc", "2026-11-21-02-50/schema.cql"];
    let copy = Copy::without(|path| {
        let is_of_kept = path.iter().nth(1).is_some_and(|tag| kept.iter().any(|kept| tag == *kept));
        !is_of_kept || gone.iter().any(|gone| path.ends_with(gone))
    });
    let tree = BackupTree::over(copy.source(), TreeOptions::default()).unwrap();
    let host = Host::new("cass-a");
    for point in kept {
        let found = tree.point_info(&host, point).await.unwrap();
        let lacks: Vec<String> = found.lacks.iter().map(ToString::to_string).collect();
        let told = "2026-11-21-02-50 lacks shop.users: the table existed then, and there is no archive of it";
        assert_eq!(lacks, [told], "{point}");
        let nearest = tree.nearest_whole(&host, &found.tag, &[]).await.unwrap();
        assert_eq!((nearest.before, nearest.after), (None, None), "{point}");
    }
}

#[tokio::test]
async fn a_table_of_which_a_full_and_all_that_stands_on_it_have_nothing_is_a_lack_of_each() {
    let gone = ["2026-11-21-02-50/shop/carts.tar.gz.enc", "2026-11-21-02-50/schema.cql"];
    let copy = Copy::without(|path| gone.iter().any(|gone| path.ends_with(gone)));
    let tree = BackupTree::over(copy.source(), TreeOptions::default()).unwrap();
    let host = Host::new("cass-a");
    for point in ["2026-11-21-02-50", "2026-11-21-02-52"] {
        let found = tree.point_info(&host, point).await.unwrap();
        let lacks: Vec<String> = found.lacks.iter().map(ToString::to_string).collect();
        let told = "2026-11-21-02-50 lacks shop.carts: the table existed then, and there is no archive of it";
        assert_eq!(lacks, [told], "{point}");
    }
    let nearest = tree.nearest_whole(&host, &Tag::new("2026-11-21-02-50"), &[]).await.unwrap();
    assert_eq!((nearest.before, nearest.after), (Some(Tag::new("2026-11-21-02-49")), None));
}

/// The backup script found the directory of the dropped table, which still had its backups.
#[tokio::test]
async fn an_archive_of_the_dropped_tables_files_does_not_bring_them_back() {
    let copy = Copy::without(|_| false);
    let archive = |tag: &str| copy.path().join(format!("cass-a/{tag}/shop/events.tar.gz.enc"));
    std::fs::copy(archive("2026-11-21-02-47"), archive("2026-11-21-02-49")).unwrap();
    let tree = BackupTree::over(copy.source(), TreeOptions::default()).unwrap();
    let point = format!("cass-a/restore-points/2026-11-21-02-49/shop/{NEW}");
    assert!(names(&tree, &point).await.unwrap().is_empty());
    assert!(names(&tree, &point).await.unwrap().is_empty(), "it was there and empty");
    let backups = names(&tree, &format!("cass-a/shop/{OLD}/backups")).await.unwrap();
    assert_eq!(backups, ["2026-11-21-02-47", "2026-11-21-02-49"], "nothing is lost");
    assert_eq!(names(&tree, &format!("cass-a/shop/{OLD}/backups/2026-11-21-02-49")).await.unwrap().len(), 8);
}

#[tokio::test]
async fn new_sets_appear_and_what_is_open_stays() {
    let copy = Copy::without(|path| path.iter().nth(1).is_some_and(|tag| tag == "2026-11-21-02-52"));
    let source = copy.source();
    let tree = BackupTree::over(source.clone(), TreeOptions::default()).unwrap();
    let users = "cass-a/shop/users-763dab90e55511f185a85b65bc0eb462/snapshots";
    let directory = node_at(&tree, &format!("{users}/2026-11-21-02-49")).await.unwrap();
    let data = node_at(&tree, &format!("{users}/2026-11-21-02-49/nb-1-big-Data.db")).await.unwrap();
    let replaced = node_at(&tree, &format!("{users}/2026-11-21-02-45/nb-1-big-Data.db")).await.unwrap();
    let (content, listed) = (read_all(&tree, &data).await.unwrap(), tree.list(&directory).await.unwrap().len());
    assert_eq!(names(&tree, users).await.unwrap().len(), 6);

    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("sample/bucket/cass-a");
    let host = copy.path().join("cass-a");
    let copied = std::process::Command::new("cp").arg("-a").arg(sample.join("2026-11-21-02-52")).arg(&host).status();
    assert!(copied.unwrap().success());
    // The same SSTables packed again, as when a bucket is copied to another.
    let archive = host.join("2026-11-21-02-45/shop/users.tar.gz.enc");
    std::fs::copy(host.join("2026-11-21-02-47/shop/users.tar.gz.enc"), archive).unwrap();
    source.catalog().refresh().await.unwrap();

    assert_eq!(names(&tree, users).await.unwrap().len(), 7);
    assert_eq!(names(&tree, "cass-a/restore-points").await.unwrap().len(), 7);
    assert_eq!(read_all(&tree, &data).await.unwrap(), content);
    assert!(tree.list(&directory).await.unwrap().len() < listed, "the directory shows what is there now");
    let gone = node_at(&tree, &format!("{users}/2026-11-21-02-45/nb-1-big-Data.db")).await;
    assert!(gone.is_err(), "the new archive has other files");
    let same_name = node_at(&tree, &format!("{users}/2026-11-21-02-45/nb-2-big-Data.db")).await.unwrap();
    assert_ne!(tree.ino(&same_name), tree.ino(&replaced));

    std::fs::remove_dir_all(host.join("2026-11-21-02-49")).unwrap();
    source.catalog().refresh().await.unwrap();
    assert_eq!(tree.list(&directory).await.unwrap_err().kind(), cassmount::Kind::Changed);
    assert_eq!(
        node_at(&tree, &format!("{users}/2026-11-21-02-49")).await.unwrap_err().kind(),
        cassmount::Kind::NotFound
    );
}

/// A table that was truncated counts its generations anew: two SSTables of one name, both of one
/// incarnation.
#[tokio::test]
async fn different_sstables_of_one_name_are_both_shown() {
    let orders = "orders-771e4790e55511f185a85b65bc0eb462";
    for copy in [Copy::without(|_| false), Copy::without(in_system_schema)] {
        let archive = |host: &str, tag: &str| copy.path().join(format!("{host}/{tag}/shop/orders.tar.gz.enc"));
        std::fs::copy(archive("cass-b", "2026-11-21-02-47"), archive("cass-a", "2026-11-21-02-49")).unwrap();
        let tree = BackupTree::over(copy.source(), TreeOptions::default()).unwrap();
        let data = async |path: &str| {
            let node = node_at(&tree, &format!("{path}-Data.db")).await.unwrap();
            read_all(&tree, &node).await.unwrap()
        };
        let point = format!("cass-a/restore-points/2026-11-21-02-49/shop/{orders}");
        let shown = names(&tree, &point).await.unwrap();
        for generation in [1, 2, 3] {
            let components = shown.iter().filter(|name| name.starts_with(&format!("nb-{generation}-big-"))).count();
            assert_eq!(components, 8, "{shown:?}");
        }
        assert_eq!(shown.len(), 24);
        let own = |host: &str| format!("{host}/shop/{orders}/backups/2026-11-21-02-47/nb-2-big");
        assert_eq!(data(&format!("{point}/nb-2-big")).await, data(&own("cass-a")).await);
        assert_eq!(data(&format!("{point}/nb-3-big")).await, data(&own("cass-b")).await);
        walk_view(&tree, &point).await;
    }
}

/// shop.events was created anew in the minute that names the full, before its snapshot.
#[tokio::test]
async fn a_table_of_the_minute_that_names_a_full_is_in_its_schema() {
    let copy = Copy::without(|path| !path.starts_with("cass-a/2026-11-21-02-50"));
    let set = copy.path().join("cass-a/2026-11-21-02-48");
    std::fs::remove_dir_all(&set).unwrap();
    std::fs::rename(copy.path().join("cass-a/2026-11-21-02-50"), &set).unwrap();
    let manifest = std::fs::read_to_string(set.join("backup_manifest.json")).unwrap();
    let manifest = manifest.replace("2026-11-21-02-50", "2026-11-21-02-48").replace("02:51:06", "02:48:52");
    std::fs::write(set.join("backup_manifest.json"), manifest).unwrap();
    let tree = BackupTree::over(copy.source(), TreeOptions::default()).unwrap();
    let (host, events) = (Host::new("cass-a"), TableName::new("shop", "events"));
    let options = SchemaOptions { tables: vec![events], ..SchemaOptions::default() };
    let text = tree.schema_cql(&host, "2026-11-21-02-48", &options).await.unwrap();
    assert!(std::str::from_utf8(&text).unwrap().contains("WITH ID = fe786540-e555-11f1-85a8-5b65bc0eb462"));
    let schema = tree.schema(&host, "2026-11-21-02-48").await.unwrap().unwrap();
    let shop = schema.keyspace("shop").unwrap();
    assert!(shop.table("events").is_some() && schema.keyspace("media").unwrap().table("MixedCase").is_none());
}
