//! The files of one table directory, arranged as a tree: paths from archives in, sorted directories
//! out. Pure.

use crate::store::ObjectMeta;
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One file to show.
#[derive(Clone, Debug)]
pub(super) struct ContentFile {
    /// `/`-separated, relative, safe (`archive::names`), as it is shown.
    pub path: Arc<str>,
    /// Its path in the archive: the same but for SSTables that had to take another generation.
    pub member: Arc<str>,
    pub object: Arc<ObjectMeta>,
    /// Index in the archive's listing.
    pub index: usize,
    /// Bytes.
    pub size: u64,
    pub mtime: Timestamp,
}

/// One name in a directory of the tree.
#[derive(Clone, Debug)]
pub(super) enum Item {
    File(Arc<ContentFile>),
    /// Its path in the tree.
    Directory(Arc<str>),
}

/// One directory of the tree.
#[derive(Clone, Debug, Default)]
pub(super) struct Directory {
    /// By name.
    pub items: BTreeMap<Arc<str>, Item>,
    /// The newest member's, at any depth.
    pub mtime: Option<Timestamp>,
}

impl Directory {
    pub(super) fn subdirectories(&self) -> u32 {
        self.items.values().filter(|item| matches!(item, Item::Directory(_))).count().try_into().unwrap_or(u32::MAX)
    }
}

/// A table directory with its sub-directories.
#[derive(Clone, Debug, Default)]
pub(super) struct ContentTree {
    /// By path; `""` is the table directory itself and always there.
    directories: BTreeMap<Arc<str>, Directory>,
    /// Rough memory use, bytes.
    weight: usize,
}

/// A path that could not be shown because its name is taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Collision {
    pub path: Arc<str>,
    pub why: &'static str,
}

impl ContentTree {
    /// Of two files of one path the later in `files` wins, as in tar; a file whose name is a
    /// directory's, and what lies below a file, cannot be shown: these come back as collisions.
    pub(super) fn build(
        files: impl IntoIterator<Item = ContentFile>,
        directories: impl IntoIterator<Item = Arc<str>>,
    ) -> (Self, Vec<Collision>) {
        let mut tree = Self::default();
        let mut collisions = Vec::new();
        tree.directories.insert("".into(), Directory::default());
        for path in directories {
            if let Err(why) = tree.add_directory(&path) {
                collisions.push(Collision { path, why });
            }
        }
        for file in files {
            let path = file.path.clone();
            if let Some(why) = tree.add_file(file) {
                collisions.push(Collision { path, why });
            }
        }
        (tree, collisions)
    }

    pub(super) fn directory(&self, path: &str) -> Option<&Directory> {
        self.directories.get(path)
    }

    /// Every directory's path, parents first.
    pub(super) fn directories(&self) -> impl Iterator<Item = &Arc<str>> {
        self.directories.keys()
    }

    /// Every file, by directory.
    pub(super) fn files(&self) -> impl Iterator<Item = &ContentFile> {
        self.directories.values().flat_map(|directory| directory.items.values()).filter_map(|item| match item {
            Item::File(file) => Some(&**file),
            Item::Directory(_) => None,
        })
    }

    /// Bytes, roughly.
    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    fn add_file(&mut self, file: ContentFile) -> Option<&'static str> {
        let path = file.path.clone();
        let (parent, name) = split(&path);
        if name.is_empty() {
            return Some("it has no name");
        }
        if let Err(why) = self.add_directory(parent) {
            return Some(why);
        }
        let mtime = file.mtime;
        self.weight += 160 + 2 * path.len();
        let items = &mut self.directories.get_mut(parent)?.items;
        let replaced = match items.get(name) {
            Some(Item::Directory(_)) => return Some("a directory has this name"),
            Some(Item::File(_)) => Some("a later member has this name"),
            None => None,
        };
        items.insert(name.into(), Item::File(Arc::new(file)));
        self.touch(parent, mtime);
        replaced
    }

    /// Makes `path` and its parents directories.
    fn add_directory(&mut self, path: &str) -> Result<(), &'static str> {
        if self.directories.contains_key(path) {
            return Ok(());
        }
        let (parent, name) = split(path);
        self.add_directory(parent)?;
        let Some(above) = self.directories.get_mut(parent) else { return Err("it has no parent") };
        if matches!(above.items.get(name), Some(Item::File(_))) {
            return Err("a file has the name of its directory");
        }
        let path: Arc<str> = path.into();
        above.items.insert(name.into(), Item::Directory(path.clone()));
        self.weight += 160 + 2 * path.len();
        self.directories.insert(path, Directory::default());
        Ok(())
    }

    fn touch(&mut self, mut path: &str, mtime: Timestamp) {
        loop {
            if let Some(directory) = self.directories.get_mut(path) {
                directory.mtime = directory.mtime.max(Some(mtime));
            }
            if path.is_empty() {
                return;
            }
            path = split(path).0;
        }
    }
}

/// Parent and name.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, index: usize) -> ContentFile {
        let object = ObjectMeta { key: "k".into(), size: 1, e_tag: None, modified: Timestamp(0), archived: false };
        ContentFile {
            path: path.into(),
            member: path.into(),
            object: Arc::new(object),
            index,
            size: 1,
            mtime: Timestamp(index as i64),
        }
    }

    fn names(tree: &ContentTree, path: &str) -> Vec<String> {
        tree.directory(path).unwrap().items.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn files_and_index_directories_are_arranged() {
        let files = [file("nb-1-big-Data.db", 1), file(".users_email/nb-1-big-Data.db", 7), file("manifest.json", 3)];
        let (tree, collisions) = ContentTree::build(files, [".empty".into()]);
        assert!(collisions.is_empty());
        assert_eq!(names(&tree, ""), [".empty", ".users_email", "manifest.json", "nb-1-big-Data.db"]);
        assert_eq!(names(&tree, ".users_email"), ["nb-1-big-Data.db"]);
        assert_eq!(tree.directory("").unwrap().mtime, Some(Timestamp(7)));
        assert_eq!(tree.directory("").unwrap().subdirectories(), 2);
        assert_eq!(tree.directory(".empty").unwrap().mtime, None);
        assert!(tree.directory("nope").is_none());
    }

    #[test]
    fn an_empty_archive_is_an_empty_directory() {
        let (tree, _) = ContentTree::build([], []);
        assert!(names(&tree, "").is_empty());
    }

    #[test]
    fn the_last_of_two_members_wins_and_a_warning_says_so() {
        let (tree, collisions) = ContentTree::build([file("a", 1), file("b", 2), file("a", 3)], []);
        let Some(Item::File(shown)) = tree.directory("").unwrap().items.get("a") else { panic!() };
        assert_eq!(shown.index, 3);
        assert_eq!(collisions, [Collision { path: "a".into(), why: "a later member has this name" }]);
    }

    #[test]
    fn files_and_directories_of_one_name_never_break() {
        let (tree, collisions) = ContentTree::build([file("a", 1), file("a/b", 2), file("c/d", 3), file("c", 4)], []);
        assert_eq!(names(&tree, ""), ["a", "c"]);
        assert_eq!(names(&tree, "c"), ["d"]);
        assert_eq!(collisions.len(), 2);
    }
}
