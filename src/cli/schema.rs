//! `cassmount schema`: the CQL that creates the schema of a restore point again.

use super::locked::Asked;
use super::options::{BackupArgs, KeyspaceArgs, PointArgs, TableArgs};
use super::session::{self, Session};
use super::{locked, mixed, output};
use cassmount::catalog::Tag;
use cassmount::tree::{SchemaOptions, untold_tables};
use cassmount::{Error, Kind, Result};

/// Prints the schema as of a restore point, in an order that cqlsh accepts. It comes from the sets'
/// own system_schema.
#[derive(clap::Args, Debug)]
pub(super) struct SchemaArgs {
    #[command(flatten)]
    point: PointArgs,
    #[command(flatten)]
    only: KeyspaceArgs,
    #[command(flatten)]
    table: TableArgs,
    /// Let Cassandra give the tables new ids: no WITH ID
    #[arg(long)]
    no_ids: bool,
    #[command(flatten)]
    backups: BackupArgs,
}

pub(super) fn run(args: &SchemaArgs) -> Result<()> {
    let PointArgs { source_place, host, point } = &args.point;
    let Some(settings) = session::begin(Some(source_place), &args.backups)? else { return Ok(()) };
    if !(args.only.keyspaces.is_empty() || args.table.tables.is_empty()) {
        return Err(Error::invalid("--keyspace and --table: name either keyspaces or tables"));
    }
    let (keyspaces, tables) = (args.only.keyspaces.clone(), args.table.tables.clone());
    let options = SchemaOptions { ids: !args.no_ids, keyspaces, tables };
    session::block_on(async {
        let session = Session::open(settings).await?;
        let host = session.host(host).await?;
        mixed::of_host(&session, &host, point).await?.warn();
        let tree = session.unlogged_tree()?;
        let text = tree.schema_cql(&host, point, &options).await?;
        let doubt = tree.schema_doubt(&host, point).await?;
        let tag = session.catalog.host(&host).await?.find_point(point)?.tag().clone();
        let opened = locked::keys_fit(&session, &[(host.clone(), Asked::Points(vec![tag.clone()]))]).await;
        if let Err(error) = &opened
            && options.ids
            && !tree.tells_ids(&host, point).await?
        {
            // Who has cqlsh read it would get tables of other ids.
            let message = format!("{error}. --no-ids prints what a full wrote down, which has no ids");
            return Err(Error::new(error.kind(), message));
        }
        let Some(doubt) = doubt else {
            output::write(&text)?;
            return all_told(&text, &tag);
        };
        // A part would be taken for all where the key is all that is missing. Who wants no ids asks for what
        // a full wrote down.
        if doubt.kind() != Kind::NoKey || !options.ids {
            output::write(&text)?;
        }
        // Where it is for want of a key, that one sentence says more.
        opened.and(Err(doubt))
    })
}

/// # Errors
/// `Kind::Corrupt` where a table of the point has no statement. The text says so in comments, which
/// nobody sees who has cqlsh read it.
fn all_told(text: &[u8], tag: &Tag) -> Result<()> {
    let untold: Vec<_> = untold_tables(text).collect();
    let [first, others @ ..] = &untold[..] else { return Ok(()) };
    let more = if others.is_empty() { String::new() } else { format!(", nor of {} more", others.len()) };
    Err(Error::corrupt(format!("the schema of {tag} does not tell of {first}{more}: its comments name them")))
}
