//! The files of a table at a restore point or in a set, and the directories among them.

use super::{gone, missing, no_directory};
use crate::Result;
use crate::tree::backup::BackupTree;
use crate::tree::content::{ContentTree, Directory, Item};
use crate::tree::node::{Child, ContentPlace, Place};
use std::sync::Arc;

impl BackupTree {
    /// `path` is empty at the top.
    pub(super) async fn list_content(&self, place: &Arc<ContentPlace>, path: &str) -> Result<Vec<Child>> {
        let tree = self.content(place).await?;
        let lost = || if path.is_empty() { no_directory() } else { gone(&place.table.host, &place.tag) };
        let directory = tree.directory(path).ok_or_else(lost)?;
        Ok(directory.items.iter().map(|(name, item)| child(place, &tree, name, item)).collect())
    }

    pub(super) async fn find_in_content(&self, place: &Arc<ContentPlace>, path: &str, name: &str) -> Result<Child> {
        let tree = self.content(place).await?;
        let item = tree.directory(path).and_then(|directory| directory.items.get(name));
        Ok(child(place, &tree, name, item.ok_or_else(|| missing(name))?))
    }
}

fn child(place: &Arc<ContentPlace>, tree: &ContentTree, name: &str, item: &Item) -> Child {
    match item {
        Item::File(file) => Child::new(name, Place::Member(file.clone())),
        Item::Directory(path) => {
            let known = tree.directory(path);
            let mtime = known.and_then(|directory| directory.mtime).unwrap_or_default();
            let count = known.map_or(0, Directory::subdirectories);
            Child::new(name, Place::Subdirectory(place.clone(), path.clone(), mtime, count))
        }
    }
}
