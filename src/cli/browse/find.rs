//! `cassmount find`.

use super::{Browser, letter};
use crate::cli::options::{BackupArgs, TablePattern, TablePatternArgs};
use crate::cli::terminal::say;
use crate::cli::{locked, output, session};
use cassmount::cassandra::TableName;
use cassmount::tree::TreeNode;
use cassmount::view::{NodeKind, View};
use cassmount::{Error, Kind, Result};
use glob::Pattern;
use std::collections::HashSet;

/// Prints the paths below a place of the tree that a mount of SOURCE would show; with --table,
/// those of some tables on all hosts. What lies in a table's directory is known once its archives
/// were read: --max-depth spares that.
#[derive(clap::Args, Debug)]
pub(in crate::cli) struct FindArgs {
    /// Where the backups are; `-` for the configuration's bucket
    #[arg(value_name = "SOURCE")]
    source_place: String,
    /// Where in the tree to begin, e.g. node1/restore-points/latest
    #[arg(default_value = "/")]
    path: String,
    /// Only names that match, e.g. '*-Data.db'
    #[arg(long, value_name = "GLOB", value_parser = Pattern::new)]
    name: Option<Pattern>,
    #[command(flatten)]
    only: TablePatternArgs,
    /// Only directories (d), files (f) or links (l)
    #[arg(long = "type", value_name = "KIND", value_parser = ["d", "f", "l"])]
    kind: Option<String>,
    /// Go no deeper than so many names
    #[arg(long, value_name = "N")]
    max_depth: Option<usize>,
    #[command(flatten)]
    backups: BackupArgs,
}

pub(in crate::cli) fn find(args: &FindArgs) -> Result<()> {
    let Some(settings) = session::begin(Some(&args.source_place), &args.backups)? else { return Ok(()) };
    session::block_on(async {
        let browser = Browser::open(settings).await?;
        let is_pattern = |error: &Error| error.kind() == Kind::NotFound && args.path.contains(['*', '?', '[']);
        let start = browser.place(&args.path).await.map_err(|error| {
            if is_pattern(&error) {
                return Error::not_found(format!("{error} (a pattern of names goes to --name)"));
            }
            error
        })?;
        let (mut failed, mut has_tables, mut is_cut) = (None, args.only.is_all(), false);
        let (mut told, mut locked_places) = (HashSet::new(), Vec::new());
        let mut rest: Vec<(String, TreeNode, usize)> = vec![(start.path(), browser.node(&start), 0)];
        while let Some((path, node, depth)) = rest.pop() {
            let place = if args.only.is_all() { Place::Within } else { place(&path, args.only.patterns()) };
            if place == Place::Beside {
                continue;
            }
            has_tables |= place == Place::Within;
            if depth > 0
                && place == Place::Within
                && wants(args, &browser, &path, &node)
                && !output::write_on(format!("{path}\n").as_bytes())?
            {
                return Ok(());
            }
            let is_deepest = args.max_depth.is_some_and(|most| depth >= most);
            is_cut |= is_deepest;
            if is_deepest || browser.tree.kind(&node) != NodeKind::Directory {
                continue;
            }
            let entries = match browser.tree.list(&node).await {
                Ok(entries) => entries,
                // One table that cannot be read hides no other.
                Err(error) if error.kind() == Kind::NoKey => {
                    locked_places.push((path, error));
                    continue;
                }
                Err(error) if is_of_one_table(error.kind()) => {
                    // Each restore point that stands on an archive would say the same of it.
                    if told.insert(error.to_string()) {
                        say!("cassmount: {path}: {error}");
                    }
                    failed = failed.or(Some(error));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let prefix = if path == "/" { String::new() } else { format!("{path}/") };
            let below = |entry: &cassmount::view::DirEntry<TreeNode>| {
                (format!("{prefix}{}", entry.name.to_string_lossy()), entry.node.clone(), depth + 1)
            };
            rest.extend(entries.iter().rev().map(below));
        }
        if failed.is_none() && !has_tables && !is_cut {
            let patterns: Vec<String> = args.only.patterns().iter().map(ToString::to_string).collect();
            let message = format!("no table below {} is called like {}", start.path(), patterns.join(", "));
            return Err(Error::not_found(message));
        }
        // One sentence says it of all of them. Where others of their sets are opened, it is damage.
        locked::keys_fit(&browser.session, &browser.asked_below(&start).await?).await?;
        for (path, error) in locked_places {
            if told.insert(error.to_string()) {
                say!("cassmount: {path}: {error}");
            }
            failed = failed.or(Some(error));
        }
        failed.map_or(Ok(()), Err)
    })
}

fn wants(args: &FindArgs, browser: &Browser, path: &str, node: &TreeNode) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    args.name.as_ref().is_none_or(|pattern| pattern.matches(name))
        && args.kind.as_ref().is_none_or(|kind| kind == letter(browser.tree.kind(node)))
}

/// Where a path is, seen from the tables that are looked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// They may be below it.
    Above,
    /// It is one of them, or in one.
    Within,
    /// They are elsewhere.
    Beside,
}

fn place(path: &str, tables: &[TablePattern]) -> Place {
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    // <host>/restore-points/<point>/<keyspace>/<table>-<id>, or <host>/<keyspace>/<table>-<id>.
    let below = match &names[..] {
        [] | [_] | [_, "restore-points"] | [_, "restore-points", _] => return Place::Above,
        [_, "backup-sets", ..] => return Place::Beside,
        [_, logs, ..] if *logs == "commitlogs" || logs.starts_with("commitlogs-") => return Place::Beside,
        [_, "restore-points", _, below @ ..] | [_, below @ ..] => below,
    };
    let is_meant = |keyspace: &str, table: &str| {
        let name = table.rsplit_once('-').map_or(table, |(name, _)| name);
        tables.iter().any(|pattern| pattern.matches(&TableName::new(keyspace, name)))
    };
    match below {
        [keyspace] if tables.iter().any(|pattern| pattern.matches_keyspace(keyspace)) => Place::Above,
        [keyspace, table, ..] if is_meant(keyspace, table) => Place::Within,
        _ => Place::Beside,
    }
}

fn is_of_one_table(kind: Kind) -> bool {
    matches!(kind, Kind::Corrupt | Kind::Changed | Kind::Archived | Kind::NoKey)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(clap::Parser)]
    struct Only {
        #[command(flatten)]
        only: TablePatternArgs,
    }

    #[test]
    fn tables_are_found_wherever_the_tree_shows_them() {
        let only = Only::parse_from(["", "--table", "shop.us*"]).only;
        for (path, expected) in [
            ("/", Place::Above),
            ("node1/restore-points/latest", Place::Above),
            ("node1/restore-points/latest/shop", Place::Above),
            ("node1/restore-points/latest/media", Place::Beside),
            ("node1/restore-points/latest/schema.cql", Place::Beside),
            ("node1/restore-points/latest/shop/users-763d", Place::Within),
            ("node1/restore-points/latest/shop/users-763d/nb-1-big-Data.db", Place::Within),
            ("node1/restore-points/latest/shop/orders-763d", Place::Beside),
            ("node1/shop/users-763d/snapshots", Place::Within),
            ("node1/backup-sets/x", Place::Beside),
        ] {
            assert_eq!(place(path, only.patterns()), expected, "{path}");
        }
    }
}
