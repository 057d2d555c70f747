//! `cassmount list`: hosts, or one host's backup sets and restore points and what is wrong with them.

mod hosts;
mod sets;

use super::args::ListArgs;
use super::open;
use super::output::print;
use crate::Result;

pub(super) fn run(args: &ListArgs) -> Result<()> {
    let Some(settings) = open::begin(args.source_place.as_deref(), &args.backups)? else { return Ok(()) };
    open::block_on(async {
        let Some(host) = &args.host else {
            let store = open::store(&settings).await?;
            let catalog = open::catalog(&settings, &store, &open::cache_dir(&args.backups.cache)?)?;
            return print(args.json, &hosts::hosts(store.name(), &catalog).await?);
        };
        print(args.json, &sets::listing(args, &settings, host).await?)
    })
}
