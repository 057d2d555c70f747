//! The tables that Cassandra brings itself: their ids are functions of their names.

use crate::cassandra::{TableId, TableName};
use md5::{Digest, Md5};

/// Cassandra's own keyspaces that have files (`SchemaConstants`; the last is of 5.1 and later).
const SYSTEM_KEYSPACES: [&str; 6] =
    ["system", "system_schema", "system_auth", "system_distributed", "system_traces", "system_cluster_metadata"];

/// Whether Cassandra creates this keyspace itself, on every node, with tables of fixed ids.
pub fn is_system_keyspace(keyspace: &str) -> bool {
    SYSTEM_KEYSPACES.contains(&keyspace)
}

/// The id of a system table: the same on every node, for ever (`TableId.forSystemTable`: a UUID of
/// version 3 over the keyspace's and the table's name).
///
/// `None` for a table of a user's keyspace: its id is in its history alone.
pub fn system_table_id(name: &TableName) -> Option<TableId> {
    if !is_system_keyspace(&name.keyspace) {
        return None;
    }
    let mut id: [u8; 16] = Md5::new().chain_update(&*name.keyspace).chain_update(&*name.table).finalize().into();
    id[6] = id[6] & 0x0f | 0x30;
    id[8] = id[8] & 0x3f | 0x80;
    Some(TableId(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_system_tables_are_those_of_every_node() {
        for (keyspace, table, id) in [
            ("system", "local", "7ad54392bcdd35a684174e047860b377"),
            ("system_schema", "tables", "afddfb9dbc1e30688056eed6c302ba09"),
            ("system_schema", "column_masks", "738cc5ed01683268b9d1853d4bc278af"),
            ("system_auth", "roles", "5bc52802de2535edaeab188eecebb090"),
            ("system_distributed", "view_build_status", "5582b59f8e4e35e1b9133acada51eb04"),
        ] {
            let name = TableName::new(keyspace, table);
            assert_eq!(system_table_id(&name).unwrap().to_string(), id, "{name}");
        }
        assert_eq!(system_table_id(&TableName::new("shop", "users")), None);
    }
}
