//! `cassmount schema`: the CQL that creates the schema of a restore point again.

use super::options::{BackupArgs, KeyspaceArgs, PointArgs, TableArgs};
use super::session::{self, Session};
use super::{mixed, output};
use cassmount::reader::ReaderOptions;
use cassmount::tree::SchemaOptions;
use cassmount::{Error, Result};

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
        output::write(&tree.schema_cql(&host, point, &options).await?)?;
        let Some(doubt) = tree.schema_doubt(&host, point).await? else { return Ok(()) };
        // Where it is for want of a key, that one sentence says more.
        let reader = session.reader(session.keys()?, session.cache()?, ReaderOptions::default())?;
        session.check_keys(&reader, &host).await?;
        Err(Error::corrupt(doubt))
    })
}
