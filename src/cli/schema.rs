//! `cassmount schema`: the CQL that creates the schema of a restore point again.

use super::args::SchemaArgs;
use super::{open, output};
use crate::Result;
use crate::tree::SchemaOptions;

pub(super) fn run(args: &SchemaArgs) -> Result<()> {
    let settings = open::begin(args.point.source_place.as_deref(), &args.backups)?;
    let (Some(settings), Some((host, point))) = (settings, args.point.names()) else { return Ok(()) };
    let options = SchemaOptions { ids: !args.no_ids, keyspace: args.keyspace.clone() };
    let text = open::block_on(async {
        let opened = open::one_host(&settings, &args.backups.cache, host).await?;
        opened.tree.schema_cql(&opened.host, point, &options).await
    })?;
    output::write(&text)
}
