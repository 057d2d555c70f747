//! Where `<ks>_<table>` ends its keyspace: both names may hold a `_` themselves. Pure.
//!
//! A name that splits in one way only says it; the id of one of Cassandra's own tables is computed
//! from its names; a schema.cql names the tables that there are. Failing these, a keyspace that is
//! certain from other names. What none of them decides is left open: a guess would restore rows
//! into a table that is not theirs.

use crate::cassandra::schema::system_table_id;
use crate::cassandra::{TableId, TableName};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What is known of a host's tables.
#[derive(Debug, Default)]
pub(super) struct KnownTables {
    /// From schemas, and from names that were certain.
    tables: BTreeSet<TableName>,
    keyspaces: BTreeSet<Arc<str>>,
}

/// What a name was found to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Split {
    Certain(TableName),
    /// No other split has a keyspace that is known.
    ByKeyspace(TableName),
    /// Several splits are left.
    Open(Vec<TableName>),
    /// No table can have this name.
    NoTable,
}

impl KnownTables {
    pub(super) fn add(&mut self, table: &TableName) {
        self.keyspaces.insert(table.keyspace.clone());
        self.tables.insert(table.clone());
    }
}

/// Each way to take the name apart.
fn candidates(joined: &str) -> Vec<TableName> {
    let splits = joined.match_indices('_').map(|(at, _)| (&joined[..at], &joined[at + 1..]));
    let valid =
        splits.filter(|(keyspace, table)| TableName::is_valid_part(keyspace) && TableName::is_valid_part(table));
    valid.map(|(keyspace, table)| TableName::new(keyspace, table)).collect()
}

/// What the name says by itself; `None` when others have to be asked.
pub(super) fn by_itself(joined: &str, id: TableId) -> Option<Split> {
    let candidates = candidates(joined);
    match &candidates[..] {
        [] => Some(Split::NoTable),
        [only] => Some(Split::Certain(only.clone())),
        several => {
            let own = several.iter().find(|table| system_table_id(table) == Some(id));
            own.map(|table| Split::Certain(table.clone()))
        }
    }
}

/// The same with what others say: `own` are the tables in the set's own schema.cql, sorted.
pub(super) fn split(joined: &str, id: TableId, own: Option<&[TableName]>, known: &KnownTables) -> Split {
    if let Some(split) = by_itself(joined, id) {
        return split;
    }
    let candidates = candidates(joined);
    let only = |is: &dyn Fn(&TableName) -> bool| {
        let mut found = candidates.iter().filter(|table| is(table));
        found.next().filter(|_| found.next().is_none()).cloned()
    };
    let by_schema = only(&|table| own.is_some_and(|own| own.binary_search(table).is_ok()))
        .or_else(|| only(&|table| known.tables.contains(table)));
    match by_schema.map(Split::Certain) {
        Some(split) => split,
        // Several of them exist: a keyspace that exists does not tell more.
        None if candidates.iter().any(|table| known.tables.contains(table)) => Split::Open(candidates),
        None => match only(&|table| known.keyspaces.contains(&table.keyspace)) {
            Some(table) => Split::ByKeyspace(table),
            None => Split::Open(candidates),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id() -> TableId {
        TableId::parse("763dab90e55511f185a85b65bc0eb462").unwrap()
    }

    fn known(tables: &[(&str, &str)]) -> KnownTables {
        let mut known = KnownTables::default();
        for (keyspace, table) in tables {
            known.add(&TableName::new(*keyspace, *table));
        }
        known
    }

    fn certain(keyspace: &str, table: &str) -> Split {
        Split::Certain(TableName::new(keyspace, table))
    }

    #[test]
    fn what_a_name_says_by_itself() {
        assert_eq!(by_itself("shop_users", id()), Some(certain("shop", "users")));
        assert_eq!(by_itself("shop_users_by_name", id()), None);
        let roles = TableName::new("system_auth", "role_members");
        assert_eq!(
            by_itself("system_auth_role_members", system_table_id(&roles).unwrap()),
            Some(Split::Certain(roles))
        );
        // The same name, but not the table of that id.
        assert_eq!(by_itself("system_auth_role_members", id()), None);
        for none in ["users", "_users", "shop_", "", "sh-op_users", "é_a"] {
            assert_eq!(by_itself(none, id()), Some(Split::NoTable), "{none}");
        }
    }

    #[test]
    fn a_schema_decides_and_nothing_is_guessed() {
        let name = "my_app_users_by_name";
        let open = |known: &KnownTables| matches!(split(name, id(), None, known), Split::Open(all) if all.len() == 4);
        assert!(open(&known(&[])));
        let own = [TableName::new("my_app", "users_by_name")];
        assert_eq!(split(name, id(), Some(&own), &known(&[])), certain("my_app", "users_by_name"));
        assert_eq!(
            split(name, id(), Some(&[]), &known(&[("my", "app_users_by_name")])),
            certain("my", "app_users_by_name")
        );
        // The set's own schema counts more than another set's.
        let other = known(&[("my", "app_users_by_name")]);
        assert_eq!(split(name, id(), Some(&own), &other), certain("my_app", "users_by_name"));
        let by_keyspace = Split::ByKeyspace(TableName::new("my_app", "users_by_name"));
        assert_eq!(split(name, id(), None, &known(&[("my_app", "x")])), by_keyspace);
        assert!(open(&known(&[("my_app", "x"), ("my", "y")])), "two keyspaces fit");
        assert!(open(&known(&[("my_app", "users_by_name"), ("my", "app_users_by_name")])), "two tables fit");
    }

    proptest! {
        #[test]
        fn whatever_is_certain_is_the_name(joined in "[a-z_]{0,30}", tables in proptest::collection::vec("[a-z_]{1,8}", 0..6)) {
            let mut known = KnownTables::default();
            for pair in tables.chunks_exact(2) {
                known.add(&TableName::new(&*pair[0], &*pair[1]));
            }
            if let Split::Certain(table) | Split::ByKeyspace(table) = split(&joined, id(), None, &known) {
                prop_assert_eq!(format!("{}_{}", table.keyspace, table.table), joined);
            }
        }
    }
}
