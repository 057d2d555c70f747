//! `cassmount find`.

use super::{Browser, letter};
use crate::cli::options::BackupArgs;
use crate::cli::{output, session};
use cassmount::tree::TreeNode;
use cassmount::view::{NodeKind, View};
use cassmount::{Kind, Result};
use glob::Pattern;

/// Prints the paths below a place of the tree that a mount of SOURCE would show. What lies in a table's directory is known once its archives
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
        let start = browser.place(&args.path).await?;
        let mut failed = None;
        let mut rest: Vec<(String, TreeNode, usize)> = vec![(start.path(), browser.node(&start), 0)];
        while let Some((path, node, depth)) = rest.pop() {
            if depth > 0 && wants(args, &browser, &path, &node) && !output::write_on(format!("{path}\n").as_bytes())? {
                return Ok(());
            }
            let is_deepest = args.max_depth.is_some_and(|most| depth >= most);
            if is_deepest || browser.tree.kind(&node) != NodeKind::Directory {
                continue;
            }
            let entries = match browser.tree.list(&node).await {
                Ok(entries) => entries,
                // One table that cannot be read hides no other.
                Err(error) if is_of_one_table(error.kind()) => {
                    eprintln!("cassmount: {path}: {error}");
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
        failed.map_or(Ok(()), Err)
    })
}

fn wants(args: &FindArgs, browser: &Browser, path: &str, node: &TreeNode) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    args.name.as_ref().is_none_or(|pattern| pattern.matches(name))
        && args.kind.as_ref().is_none_or(|kind| kind == letter(browser.tree.kind(node)))
}

fn is_of_one_table(kind: Kind) -> bool {
    matches!(kind, Kind::Corrupt | Kind::Changed | Kind::Archived | Kind::NoKey)
}
