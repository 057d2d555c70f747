//! `cassmount cat`.

use super::Browser;
use crate::cli::options::BackupArgs;
use crate::cli::{locked, output, session};
use cassmount::view::{NodeKind, View};
use cassmount::{Error, Kind, Result};

/// Prints files of the tree that a mount of SOURCE would show, checked as a mount checks them.
#[derive(clap::Args, Debug)]
pub(in crate::cli) struct CatArgs {
    /// Where the backups are; `-` for the configuration's bucket
    #[arg(value_name = "SOURCE")]
    source_place: String,
    /// Paths in the tree, e.g. node1/restore-points/latest/schema.cql
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<String>,
    #[command(flatten)]
    backups: BackupArgs,
}

/// Bytes read at once.
const PIECE: u32 = 1 << 20;

pub(in crate::cli) fn cat(args: &CatArgs) -> Result<()> {
    let Some(settings) = session::begin(Some(&args.source_place), &args.backups)? else { return Ok(()) };
    session::block_on(async {
        let browser = Browser::open(settings).await?;
        for path in &args.paths {
            let place = browser.place(path).await?;
            let node = browser.node(&place);
            if browser.tree.kind(&node) != NodeKind::File {
                return Err(Error::new(Kind::IsDirectory, format!("{} is a directory", place.path())));
            }
            let file = browser.tree.open(&node).await?;
            let mut offset = 0;
            loop {
                let bytes = file.read_at(offset, PIECE).await?;
                if bytes.is_empty() {
                    break;
                }
                offset += bytes.len() as u64;
                if !output::write_on(&bytes)? {
                    return Ok(());
                }
            }
            // A schema is made of what could be read.
            if place.above.last().is_some_and(|(name, _)| name == "schema.cql") {
                locked::keys_fit(&browser.session, &Browser::asked(&place)).await?;
            }
        }
        Ok(())
    })
}
