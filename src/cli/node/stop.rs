//! `cassmount node stop`.

use super::{swept_room, take_away};
use cassmount::node::Entry;
use cassmount::{Error, Result};

#[derive(clap::Args, Debug)]
pub(super) struct StopArgs {
    /// Which [default: the only one]
    #[arg(value_name = "NODE")]
    names: Vec<String>,
    /// All of this user's
    #[arg(long, conflicts_with = "names")]
    all: bool,
}

pub(super) fn run(args: &StopArgs) -> Result<()> {
    let room = swept_room()?;
    for entry in chosen(args, room.entries()?)? {
        room.remove(&entry, &mut take_away)?;
        println!("{} has ended, and nothing is left of it", entry.record.name);
    }
    Ok(())
}

fn chosen(args: &StopArgs, entries: Vec<Entry>) -> Result<Vec<Entry>> {
    let names = || entries.iter().map(|entry| &*entry.record.name).collect::<Vec<_>>().join(", ");
    if let Some(absent) = args.names.iter().find(|name| !entries.iter().any(|entry| entry.record.name == **name)) {
        let there = if entries.is_empty() { "none runs".to_owned() } else { format!("there are {}", names()) };
        return Err(Error::not_found(format!("there is no node {absent}: {there}")));
    }
    match (&args.names[..], entries.len()) {
        ([], 0) if !args.all => Err(Error::not_found("no node runs")),
        ([], 2..) if !args.all => {
            Err(Error::invalid(format!("several nodes run: name those to stop, or --all ({})", names())))
        }
        ([], _) => Ok(entries),
        (named, _) => Ok(entries.into_iter().filter(|entry| named.contains(&entry.record.name)).collect()),
    }
}
