//! The sample bucket without its system_schema archives: the tree is right as far as weaker evidence reaches, once it was read.

#[path = "support/oracle.rs"]
mod oracle;
#[path = "support/unpacked.rs"]
mod unpacked;
#[path = "support/walk.rs"]
mod walk;

use cassmount::tree::{BackupTree, TreeOptions, View};
use oracle::{Oracle, assert_same, comparable};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use unpacked::{Unpacked, sample_keys};
use walk::{names, node_at, read_all, walk_view};

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

    // The first reader of the directory finds out: an SSTable of that name is another one in an older set.
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

    // Once everything was read, everything is right, here and in the next process, which has to read nothing for it.
    walk_view(&tree, "").await;
    let expected = Oracle::of(&copy.path()).expected();
    assert_same(&comparable(&walk_view(&tree, "").await, &expected), &expected);
    let source = copy.source();
    let next = BackupTree::over(source.clone(), options).unwrap();
    for host in ["cass-a", "cass-b"] {
        let shown = names(&next, &format!("{host}/restore-points/2026-11-21-02-49/shop")).await.unwrap();
        assert!(shown.contains(&NEW.to_owned()) && !shown.contains(&OLD.to_owned()));
    }
    assert_eq!(source.take_read(), [] as [Arc<str>; 0]);
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
    let users = node_at(&tree, &format!("{bare}/users")).await.unwrap();
    assert!(!tree.list(&users).await.unwrap().is_empty());
    let shown = names(&tree, bare).await.unwrap();
    assert!(shown.contains(&"users-763dab90e55511f185a85b65bc0eb462".to_owned()), "{shown:?}");
    assert!(names(&tree, &format!("{bare}/users")).await.is_ok(), "the bare name still resolves");

    let expected = Oracle::of(&Copy::without(in_system_schema).path()).expected();
    walk_view(&tree, "").await;
    let seen = comparable(&walk_view(&tree, "").await, &expected);
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
    // What is known of 02-47's events is that its set was made before anything that is known: its own id is in later facts.
    let shop = names(&tree, "cass-a/shop").await.unwrap();
    let older = shop.iter().find(|name| name.starts_with("events") && *name != NEW).unwrap();
    assert_eq!(names(&tree, &format!("cass-a/shop/{older}/backups")).await.unwrap(), ["2026-11-21-02-47"]);
}
