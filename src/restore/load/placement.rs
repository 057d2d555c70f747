//! Keyspaces that are to be created, and where the cluster has nodes for their replicas. A keyspace
//! that names a datacenter that is not there cannot be created.

use super::rows::{json, select};
use crate::cassandra::schema::{CqlOptions, Keyspace, Schema, write_cql};
use crate::restore::command::Program;
use crate::{Error, Kind, Result};
use std::collections::BTreeMap;

/// How many nodes each datacenter of the cluster has.
type Datacenters = BTreeMap<String, usize>;

/// What a person should know of keyspaces that are to be created.
///
/// # Errors
/// `Kind::Unsupported` with the statements that create them, where the cluster has not the
/// datacenters.
pub(super) fn check(cqlsh: &Program, new: &[&Keyspace]) -> Result<Vec<String>> {
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let statement = "SELECT JSON data_center FROM system.local; SELECT JSON data_center FROM system.peers";
    let there = parse(&select(cqlsh, statement, "which datacenters there are")?);
    if there.is_empty() {
        return Err(Error::new(Kind::Io, "nothing was changed: cqlsh names no datacenter"));
    }
    judge(new, &there)
}

/// Of the rows that cqlsh prints, a JSON object each: one for each node.
fn parse(text: &str) -> Datacenters {
    let mut there = Datacenters::new();
    for name in json(text).filter_map(|row| Some(row.get("data_center")?.as_str()?.to_owned())) {
        *there.entry(name).or_default() += 1;
    }
    there
}

fn judge(new: &[&Keyspace], there: &Datacenters) -> Result<Vec<String>> {
    let has = there.keys().cloned().collect::<Vec<_>>().join(", ");
    let (mut elsewhere, mut statements, mut notes) = (Vec::new(), String::new(), Vec::new());
    for keyspace in new {
        let Some(replication) = &keyspace.replication else { continue };
        let is_simple = replication.get("class").is_some_and(|class| class.ends_with("SimpleStrategy"));
        let factors: Vec<(&str, usize)> = replication
            .iter()
            .filter(|(name, _)| *name != "class")
            .filter_map(|(name, factor)| Some((&**name, factor.parse().ok()?)))
            .collect();
        let mut absent = replication.keys().filter(|name| *name != "class" && !there.contains_key(*name)).peekable();
        if !is_simple && absent.peek().is_some() {
            elsewhere.push(format!(
                "{} ({})",
                keyspace.name,
                absent.map(String::as_str).collect::<Vec<_>>().join(", ")
            ));
            let most = factors.iter().map(|(_, factor)| *factor).max().unwrap_or(1);
            statements += "\n  ";
            statements += create(keyspace, most, there).trim_end();
            continue;
        }
        for (name, factor) in factors {
            let nodes = if is_simple { there.values().sum() } else { there.get(name).copied().unwrap_or(0) };
            if factor > nodes {
                let place = if is_simple { String::new() } else { format!(" in {name}") };
                notes.push(format!(
                    "keyspace {} is created with {factor} replicas{place}, where this cluster has {nodes}: QUORUM and \
                     ALL may not be had until ALTER KEYSPACE gives it fewer",
                    keyspace.name
                ));
            }
        }
    }
    if elsewhere.is_empty() {
        return Ok(notes);
    }
    let message = format!(
        "nothing was changed: these keyspaces had replicas in datacenters that this cluster, which has {has}, has not: \
         {}. Create them first, replicated as it should be there, and run this again:{statements}",
        elsewhere.join(", ")
    );
    Err(Error::new(Kind::Unsupported, message))
}

/// The statement that creates the keyspace with so many replicas in each datacenter that is there,
/// or fewer where there are fewer nodes.
fn create(keyspace: &Keyspace, most: usize, there: &Datacenters) -> String {
    let class = ("class".to_owned(), "NetworkTopologyStrategy".to_owned());
    let factors = there.iter().map(|(name, nodes)| (name.clone(), most.min(*nodes).to_string()));
    let replication = Some(std::iter::once(class).chain(factors).collect());
    let durable_writes = keyspace.durable_writes;
    let bare = Keyspace { name: keyspace.name.clone(), replication, durable_writes, ..Keyspace::default() };
    write_cql(&Schema { keyspaces: vec![bare] }, &CqlOptions::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyspace(name: &str, replication: &[(&str, &str)]) -> Keyspace {
        let replication = replication.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Keyspace { name: name.to_owned(), replication: Some(replication), durable_writes: true, ..Keyspace::default() }
    }

    const TOPOLOGY: (&str, &str) = ("class", "org.apache.cassandra.locator.NetworkTopologyStrategy");

    #[test]
    fn datacenters_are_counted_by_their_nodes() {
        let text = "\n [json]\n----\n {\"data_center\": \"a\"}\n\n(1 rows)\n\n {\"data_center\": \"b\"}\n {\"data_center\": \"b\"}\n {\"data_center\": null}\n";
        assert_eq!(parse(text), [("a".to_owned(), 1), ("b".to_owned(), 2)].into());
    }

    #[test]
    fn a_datacenter_that_is_not_there_is_refused_with_the_statement() {
        let shop = keyspace("Shop", &[TOPOLOGY, ("dc1", "3"), ("dc2", "2")]);
        let media = keyspace("media", &[TOPOLOGY, ("test", "1")]);
        let there = [("test".to_owned(), 2)].into();
        let error = judge(&[&shop, &media], &there).unwrap_err();
        let said = error.to_string();
        assert_eq!(error.kind(), Kind::Unsupported);
        assert!(said.contains("this cluster, which has test, has not: Shop (dc1, dc2). Create"), "{said}");
        let statement = "\n  CREATE KEYSPACE \"Shop\" WITH replication = {'class': 'NetworkTopologyStrategy', 'test': '2'} AND durable_writes = true;";
        assert!(said.ends_with(statement), "{said}");
        assert_eq!(judge(&[&media], &there).unwrap(), [] as [String; 0]);
    }

    #[test]
    fn more_replicas_than_nodes_are_said() {
        let shop = keyspace("shop", &[TOPOLOGY, ("test", "3")]);
        let simple = keyspace("simple", &[("class", "SimpleStrategy"), ("replication_factor", "2")]);
        let notes = |nodes| judge(&[&shop, &simple], &[("test".to_owned(), nodes)].into()).unwrap();
        assert_eq!(notes(3), [] as [String; 0]);
        assert!(
            notes(2)[0].starts_with("keyspace shop is created with 3 replicas in test, where this cluster has 2: ")
        );
        assert!(notes(1)[1].starts_with("keyspace simple is created with 2 replicas, where this cluster has 1: "));
    }
}
