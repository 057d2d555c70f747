//! `ls`, `cat` and `find`: the tree that a mount would show, without a mount.

mod cat;
mod find;
mod ls;

pub(super) use cat::{CatArgs, cat};
pub(super) use find::{FindArgs, find};
pub(super) use ls::{LsArgs, ls};

use super::locked::Asked;
use super::session::Session;
use cassmount::catalog::{Host, Tag};
use cassmount::config::Settings;
use cassmount::tree::{BackupTree, TreeNode};
use cassmount::view::{NodeKind, View};
use cassmount::{Error, Kind, Result};
use std::ffi::OsStr;

/// Links that are followed on one path.
const MOST_LINKS: usize = 16;

/// A place in the tree, with the places above it.
#[derive(Clone)]
struct FoundNode {
    /// From the root, which is left out.
    above: Vec<(String, TreeNode)>,
}

/// The open tree of a source.
struct Browser {
    session: Session,
    tree: BackupTree,
}

impl Browser {
    async fn open(settings: Settings) -> Result<Self> {
        let session = Session::open(settings).await?;
        let tree = session.tree()?;
        Ok(Self { session, tree })
    }

    /// What a path from the root leads to; links are followed.
    async fn place(&self, path: &str) -> Result<FoundNode> {
        let mut found = FoundNode { above: Vec::new() };
        let mut names: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut links = 0;
        while let Some(name) = names.pop() {
            match &*name {
                "" | "." => continue,
                ".." => {
                    found.above.pop();
                    continue;
                }
                _ => {}
            }
            let dir = self.node(&found);
            if self.tree.kind(&dir) != NodeKind::Directory {
                return Err(Error::new(Kind::NotDirectory, format!("{} is no directory", found.path())));
            }
            let node = match self.tree.lookup(&dir, OsStr::new(&name)).await {
                Ok(node) => node,
                Err(error) if error.kind() == Kind::NotFound => return Err(self.no_such(&name, &found).await),
                Err(error) => return Err(error),
            };
            if self.tree.kind(&node) == NodeKind::Symlink {
                links += 1;
                if links > MOST_LINKS {
                    return Err(Error::invalid(format!("{path} has too many links")));
                }
                let target = self.tree.read_link(&node).await?;
                names.extend(target.to_string_lossy().split('/').rev().map(str::to_owned));
            } else {
                found.above.push((name, node));
            }
        }
        Ok(found)
    }

    /// What of which hosts a listing of the place has to know.
    fn asked(place: &FoundNode) -> Vec<(Host, Asked)> {
        let names: Vec<&str> = place.above.iter().map(|(name, _)| name.as_str()).collect();
        asked(&names).into_iter().collect()
    }

    /// The same of all that is below the place.
    async fn asked_below(&self, place: &FoundNode) -> Result<Vec<(Host, Asked)>> {
        let all = |host: &Host| (host.clone(), Asked::All);
        Ok(match (place.above.len(), Self::asked(place).pop()) {
            (_, None) => self.session.catalog.hosts().await?.hosts.iter().map(all).collect(),
            (1 | 2, Some((host, _))) => vec![all(&host)],
            (_, Some(asked)) => vec![asked],
        })
    }

    /// Says that there is no such name in a directory, and where that is the first of a path, which
    /// hosts there are.
    async fn no_such(&self, name: &str, dir: &FoundNode) -> Error {
        let of_hosts = if dir.above.is_empty() { self.session.host(name).await.err() } else { None };
        of_hosts.unwrap_or_else(|| Error::not_found(format!("there is no {name:?} in {}", dir.path())))
    }

    fn node(&self, found: &FoundNode) -> TreeNode {
        found.above.last().map_or_else(|| self.tree.root(), |(_, node)| node.clone())
    }
}

impl FoundNode {
    /// As it is written on the command line.
    fn path(&self) -> String {
        if self.above.is_empty() {
            return "/".to_owned();
        }
        self.above.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join("/")
    }
}

/// What a listing of the path with these names has to know.
fn asked(names: &[&str]) -> Option<(Host, Asked)> {
    let (host, below) = names.split_first()?;
    let asked = match below {
        [] | ["restore-points"] | ["backup-sets" | "commitlogs", ..] => Asked::Names,
        ["restore-points", point, ..] | [_, _, "snapshots" | "backups", point, ..] => {
            Asked::Points(vec![Tag::new(*point)])
        }
        _ => Asked::All,
    };
    Some((Host::new(*host), asked))
}

/// A letter as `ls -l` and `find -type` have it.
fn letter(kind: NodeKind) -> &'static str {
    match kind {
        NodeKind::Directory => "d",
        NodeKind::File => "f",
        NodeKind::Symlink => "l",
    }
}
