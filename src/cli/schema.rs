//! `cassmount schema`: the CQL that creates the schema of a restore point again.

use super::args::SchemaArgs;
use super::{logging, open, output};
use crate::Result;
use crate::tree::SchemaOptions;

pub(super) fn run(args: &SchemaArgs) -> Result<()> {
    logging::to_terminal(&args.log);
    let settings = open::settings(args.point.source_place.as_deref(), &args.source, &args.keys, None)?;
    let Some((host, point)) = args.point.names().filter(|_| !args.source.show_config) else {
        open::show_settings(&settings);
        return Ok(());
    };
    let options = SchemaOptions { ids: !args.no_ids, keyspace: args.keyspace.clone() };
    let text = open::block_on(async {
        let opened = open::one_host(&settings, &args.cache, host).await?;
        opened.tree.schema_cql(&opened.host, point, &options).await
    })?;
    output::write(&text)
}
