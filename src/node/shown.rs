//! What of the schema a node shows: all that was asked for and can be read, and nothing else.

use super::cql::quoted;
use crate::cassandra::TableName;
use crate::cassandra::schema::{Keyspace, Schema};
use crate::restore::{Origin, Selection};
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// The datacenter of a node whose keyspaces name none.
const DATACENTER: &str = "datacenter1";

/// Refuses names that the schema does not have.
pub(super) fn check_selection(schema: &Schema, selection: &Selection, of: &Origin) -> Result<()> {
    let absent = match selection {
        Selection::Everything => None,
        Selection::Keyspaces(names) => {
            names.iter().find(|name| schema.keyspace(name).is_none()).map(|name| format!("keyspace {name}"))
        }
        Selection::Tables(tables) => {
            let has = |table: &TableName| {
                schema.keyspace(&table.keyspace).is_some_and(|of| of.tables.iter().any(|one| *one.name == *table.table))
            };
            tables.iter().find(|table| !has(table)).map(|table| format!("table {table}"))
        }
    };
    match absent {
        Some(what) => Err(Error::not_found(format!("there was no {what} at {of}"))),
        None => Ok(()),
    }
}

/// The datacenters in which a keyspace has replicas; `None` where that does not depend on
/// datacenters.
fn datacenters(keyspace: &Keyspace) -> Option<BTreeSet<&str>> {
    let replication = keyspace.replication.as_ref()?;
    if !replication.get("class")?.ends_with("NetworkTopologyStrategy") {
        return None;
    }
    let of = replication.iter().filter(|(name, factor)| *name != "class" && !factor.starts_with('0'));
    Some(of.map(|(name, _)| &**name).collect())
}

/// The one in which most keyspaces have replicas.
pub(super) fn datacenter(schema: &Schema) -> String {
    let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
    for name in schema.keyspaces.iter().filter_map(datacenters).flatten() {
        *counted.entry(name).or_default() += 1;
    }
    let most = counted.iter().max_by_key(|(name, count)| (**count, std::cmp::Reverse(**name)));
    most.map_or(DATACENTER, |(name, _)| name).to_owned()
}

/// What a node is to show.
pub(super) struct Shown<'a> {
    pub(super) selection: &'a Selection,
    pub(super) with_indexes: bool,
    /// The node's.
    pub(super) datacenter: &'a str,
    /// `<keyspace>.<table>` of those that are read from no host.
    pub(super) lost: BTreeSet<&'a str>,
}

/// What takes out of the schema all that is not shown, so that nothing looks empty that is not; and
/// brings keyspaces to the node that have replicas in other datacenters only.
pub(super) fn statements(schema: &Schema, shown: &Shown<'_>) -> Vec<String> {
    let mut statements = Vec::new();
    for keyspace in &schema.keyspaces {
        let is_shown = |table: &str| {
            let name = TableName::new(&*keyspace.name, table).to_string();
            shown.selection.has(&name) && !shown.lost.contains(&*name)
        };
        let (of, has_tables) = (quoted(&keyspace.name), !keyspace.tables.is_empty());
        if has_tables && !keyspace.tables.iter().any(|table| is_shown(&table.name)) {
            statements.push(format!("DROP KEYSPACE {of}"));
            continue;
        }
        for table in keyspace.tables.iter().filter(|table| !is_shown(&table.name)) {
            let views = keyspace.views.iter().filter(|view| shown.with_indexes && view.base_table == table.name);
            for view in views {
                statements.push(format!("DROP MATERIALIZED VIEW {of}.{}", quoted(&view.table.name)));
            }
            statements.push(format!("DROP TABLE {of}.{}", quoted(&table.name)));
        }
        if datacenters(keyspace).is_some_and(|of| !of.contains(shown.datacenter)) {
            statements.push(format!(
                "ALTER KEYSPACE {of} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}"
            ));
        }
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use crate::cassandra::TableId;
    use crate::cassandra::schema::Table;

    fn table(name: &str) -> Table {
        Table {
            name: name.to_owned(),
            id: TableId([1; 16]),
            flags: Vec::new(),
            columns: Vec::new(),
            dropped_columns: Vec::new(),
            indexes: Vec::new(),
            triggers: Vec::new(),
            options: Vec::new(),
        }
    }

    fn keyspace(name: &str, replication: &[(&str, &str)], tables: &[&str]) -> Keyspace {
        let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Keyspace {
            name: name.to_owned(),
            replication: Some(replication.iter().map(text).collect()),
            tables: tables.iter().map(|name| table(name)).collect(),
            ..Keyspace::default()
        }
    }

    const TOPOLOGY: (&str, &str) = ("class", "org.apache.cassandra.locator.NetworkTopologyStrategy");

    fn schema() -> Schema {
        Schema {
            keyspaces: vec![
                keyspace("far", &[TOPOLOGY, ("dc2", "3"), ("dc1", "0")], &["t"]),
                keyspace("logs", &[("class", "SimpleStrategy"), ("replication_factor", "1")], &["lines"]),
                keyspace("media", &[TOPOLOGY, ("dc1", "2"), ("dc2", "2")], &["docs"]),
                keyspace("shop", &[TOPOLOGY, ("dc1", "3")], &["orders", "Users"]),
            ],
        }
    }

    fn shown<'a>(selection: &'a Selection, lost: &[&'a str]) -> Shown<'a> {
        Shown { selection, with_indexes: false, datacenter: "dc1", lost: lost.iter().copied().collect() }
    }

    #[test]
    fn a_node_answers_for_keyspaces_of_every_datacenter() {
        let schema = schema();
        assert_eq!(datacenter(&schema), "dc1");
        assert_eq!(datacenter(&Schema::default()), DATACENTER);
        let alter = "ALTER KEYSPACE \"far\" WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}";
        assert_eq!(statements(&schema, &shown(&Selection::Everything, &[])), [alter]);
    }

    #[test]
    fn what_is_not_shown_is_not_there_rather_than_empty() {
        let one = Selection::Tables(vec![TableName::new("shop", "Users")]);
        let drops = [
            "DROP KEYSPACE \"far\"",
            "DROP KEYSPACE \"logs\"",
            "DROP KEYSPACE \"media\"",
            "DROP TABLE \"shop\".\"orders\"",
        ];
        assert_eq!(statements(&schema(), &shown(&one, &[])), drops);
        // What could not be read from any host.
        let of_shop = Selection::Keyspaces(vec!["shop".to_owned()]);
        assert_eq!(statements(&schema(), &shown(&of_shop, &["shop.orders"])), drops);
    }

    #[test]
    fn names_that_never_were_are_refused() {
        let origin = Origin { host: "a".to_owned(), point: "p".to_owned() };
        let check = |selection| check_selection(&schema(), &selection, &origin);
        check(Selection::Tables(vec![TableName::new("shop", "Users")])).unwrap();
        let error = check(Selection::Tables(vec![TableName::new("shop", "users")])).unwrap_err();
        assert_eq!((error.kind(), &*error.to_string()), (Kind::NotFound, "there was no table shop.users at p of a"));
        assert!(check(Selection::Keyspaces(vec!["none".to_owned()])).is_err());
    }
}
