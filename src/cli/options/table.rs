//! Which tables.

use cassmount::cassandra::TableName;

/// Some tables only.
#[derive(clap::Args, Debug, Clone, Default)]
pub(in crate::cli) struct TableArgs {
    /// This table only. Repeatable
    #[arg(short, long = "table", value_name = "KS.TABLE", value_parser = parse_table)]
    pub(in crate::cli) tables: Vec<TableName>,
}

/// Some keyspaces only.
#[derive(clap::Args, Debug, Clone, Default)]
pub(in crate::cli) struct KeyspaceArgs {
    /// The tables of this keyspace only. Repeatable
    #[arg(short, long = "keyspace", value_name = "KS")]
    pub(in crate::cli) keyspaces: Vec<String>,
}

/// `ks.table` as Cassandra stores the names; quotes as in CQL do no harm.
fn parse_table(text: &str) -> Result<TableName, String> {
    let unquoted =
        |name: &str| name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name).to_owned();
    let (keyspace, table) = text.split_once('.').ok_or("expected KEYSPACE.TABLE")?;
    let (keyspace, table) = (unquoted(keyspace), unquoted(table));
    if TableName::is_valid_part(&keyspace) && TableName::is_valid_part(&table) {
        Ok(TableName::new(keyspace, table))
    } else {
        Err("keyspace and table names have only letters, digits and _".into())
    }
}
