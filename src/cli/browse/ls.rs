//! `cassmount ls`.

use super::{Browser, letter};
use crate::cli::locked;
use crate::cli::options::{BackupArgs, OutputArgs};
use crate::cli::output::{Shown, print};
use crate::cli::session;
use crate::cli::table::{self, Column, Table};
use cassmount::Result;
use cassmount::view::{NodeKind, View};
use serde::Serialize;

/// Lists a directory of the tree that a mount of SOURCE would show.
#[derive(clap::Args, Debug)]
pub(in crate::cli) struct LsArgs {
    /// Where the backups are; `-` for the configuration's bucket
    #[arg(value_name = "SOURCE")]
    source_place: String,
    /// A path in the tree, e.g. node1/restore-points/latest/shop
    #[arg(default_value = "/")]
    path: String,
    /// Kind, size and time, too
    #[arg(short, long)]
    long: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    backups: BackupArgs,
}

/// The JSON is documented in docs/json.md.
#[derive(Serialize)]
struct Listing {
    path: String,
    entries: Vec<Entry>,
    #[serde(skip)]
    long: bool,
}

#[derive(Serialize)]
struct Entry {
    name: String,
    kind: &'static str,
    bytes: u64,
    time: String,
    target: Option<String>,
}

pub(in crate::cli) fn ls(args: &LsArgs) -> Result<()> {
    let Some(settings) = session::begin(Some(&args.source_place), &args.backups)? else { return Ok(()) };
    let (entries, opened) = session::block_on(async {
        let browser = Browser::open(settings).await?;
        let place = browser.place(&args.path).await?;
        let (tree, node) = (&browser.tree, browser.node(&place));
        let mut entries = Vec::new();
        if tree.kind(&node) == NodeKind::Directory {
            for entry in tree.list(&node).await?.iter() {
                entries.push(Entry::of(&browser, entry.name.to_string_lossy().into_owned(), &entry.node).await?);
            }
        } else {
            let name = place.above.last().map(|(name, _)| name.clone()).unwrap_or_default();
            entries.push(Entry::of(&browser, name, &node).await?);
        }
        let opened = locked::keys_fit(&browser.session, &Browser::asked(&place)).await;
        Ok((Listing { path: place.path(), entries, long: args.long }, opened))
    })?;
    print(args.output, &entries)?;
    opened
}

impl Entry {
    async fn of(browser: &Browser, name: String, node: &cassmount::tree::TreeNode) -> Result<Self> {
        let tree = &browser.tree;
        let attr = tree.attr(node).await?;
        let target = match attr.kind {
            NodeKind::Symlink => Some(tree.read_link(node).await?.to_string_lossy().into_owned()),
            _ => None,
        };
        Ok(Self { name, kind: letter(attr.kind), bytes: attr.size, time: attr.mtime.to_string(), target })
    }

    /// As `ls -F` marks it.
    fn marked(&self) -> String {
        match (&self.target, self.kind) {
            (Some(target), _) => format!("{} -> {target}", self.name),
            (None, "d") => format!("{}/", self.name),
            _ => self.name.clone(),
        }
    }
}

impl Shown for Listing {
    fn text(&self) -> String {
        if !self.long {
            return self.entries.iter().map(|entry| entry.marked() + "\n").collect();
        }
        let size = |entry: &Entry| if entry.kind == "f" { table::bytes(entry.bytes) } else { "-".to_owned() };
        let row = |entry: &Entry| vec![entry.kind.to_owned(), size(entry), entry.time.clone(), entry.marked()];
        let columns = vec![
            Column::new("KIND"),
            Column::new("SIZE").right(),
            Column::new("TIME").dispensable(1),
            Column::new("NAME"),
        ];
        Table { columns, rows: self.entries.iter().map(row).collect() }.text()
    }
}
