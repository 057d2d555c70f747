//! What a restore has to know of the node before it begins, asked for side by side: each answer
//! takes a nodetool of its own, and that takes a second.

use super::own_tokens;
use crate::cassandra::TableName;
use crate::restore::node::{Identity, Node, RingToken};
use crate::restore::request::{Selection, refuse};
use crate::task::lock;
use crate::{Error, Kind, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// So many nodetools run at once: each is a JVM.
const AT_ONCE: usize = 6;

pub(super) struct NodeFacts {
    /// The live directories of every table.
    pub(in crate::restore) paths: BTreeMap<TableName, Vec<PathBuf>>,
    pub(in crate::restore) identity: Identity,
    /// By keyspace.
    pub(super) rings: BTreeMap<String, Vec<RingToken>>,
    pub(in crate::restore) incremental_backups: bool,
}

enum Answer {
    Paths(Result<BTreeMap<TableName, Vec<PathBuf>>>),
    IncrementalBackups(Result<bool>),
    Ring(String, Result<Vec<RingToken>>),
    Flushed(Result<()>),
}

type Question<'a> = Box<dyn FnOnce() -> Answer + Send + 'a>;

impl NodeFacts {
    /// Memtables are flushed as well: of the schema, because it is read from its files; of the
    /// tables, so that all they hold can be kept.
    pub(super) fn gather(node: &Node, keyspaces: &BTreeSet<String>, selection: &Selection) -> Result<Self> {
        let mut questions: Vec<Question<'_>> = Vec::new();
        questions.push(Box::new(|| Answer::Paths(node.data_paths())));
        questions.push(Box::new(|| Answer::IncrementalBackups(node.incremental_backups())));
        for words in flushes(keyspaces, selection) {
            questions.push(Box::new(move || {
                Answer::Flushed(node.flush(&words.iter().map(String::as_str).collect::<Vec<_>>()))
            }));
        }
        for keyspace in keyspaces {
            questions.push(Box::new(move || Answer::Ring(keyspace.clone(), node.ring(keyspace))));
        }
        let (mut paths, mut incremental_backups) = (None, None);
        let (mut rings, mut flushed) = (Vec::new(), Ok(()));
        for answer in side_by_side(questions) {
            match answer {
                Answer::Paths(answer) => paths = Some(answer),
                Answer::IncrementalBackups(answer) => incremental_backups = Some(answer),
                Answer::Ring(keyspace, ring) => rings.push((keyspace, ring)),
                Answer::Flushed(answer) => flushed = flushed.and(answer),
            }
        }
        // What an old nodetool cannot tell comes first, then what the node has not got: they
        // explain the other failures.
        let paths = paths.ok_or_else(unanswered)??;
        absent_tables(selection, &paths)?;
        flushed?;
        let rings = rings.into_iter().map(|(keyspace, ring)| Ok((keyspace, ring?))).collect::<Result<_>>()?;
        let identity = identity(node, &paths, &rings)?;
        Ok(Self { paths, identity, rings, incremental_backups: incremental_backups.ok_or_else(unanswered)?? })
    }

    /// Where the schema's own tables lie.
    pub(super) fn system_schema(&self) -> Vec<PathBuf> {
        let of = self.paths.iter().filter(|(table, _)| &*table.keyspace == "system_schema");
        of.flat_map(|(_, paths)| paths.clone()).collect()
    }
}

/// What the node's files say, where the ring bears it out; else what nodetool does.
fn identity(
    node: &Node,
    paths: &BTreeMap<TableName, Vec<PathBuf>>,
    rings: &BTreeMap<String, Vec<RingToken>>,
) -> Result<Identity> {
    let noted = paths.get(&TableName::new("system", "local")).map_or(Ok(None), |local| own_tokens::read(local));
    let noted = noted.unwrap_or_else(|error| {
        tracing::debug!("{error}: nodetool is asked for the node's tokens");
        None
    });
    match noted {
        Some(identity) if rings.values().next().is_some_and(|ring| own_tokens::is_in(&identity, ring)) => Ok(identity),
        _ => node.identity(),
    }
}

/// What `nodetool flush` is to be told, each time that it is run.
fn flushes(keyspaces: &BTreeSet<String>, selection: &Selection) -> Vec<Vec<String>> {
    let of = |keyspace: &String| match selection {
        Selection::Tables(tables) => {
            let tables = tables.iter().filter(|table| *table.keyspace == **keyspace);
            std::iter::once(keyspace.clone()).chain(tables.map(|table| table.table.to_string())).collect()
        }
        _ => vec![keyspace.clone()],
    };
    match selection {
        Selection::Everything => vec![Vec::new()],
        _ => std::iter::once(vec!["system_schema".to_owned()]).chain(keyspaces.iter().map(of)).collect(),
    }
}

/// Asks all, [`AT_ONCE`] at a time.
fn side_by_side(questions: Vec<Question<'_>>) -> Vec<Answer> {
    let threads = questions.len().min(AT_ONCE);
    let (questions, answers) = (Mutex::new(questions.into_iter()), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = lock(&questions).next();
                    let Some(question) = next else { break };
                    let answer = question();
                    lock(&answers).push(answer);
                }
            });
        }
    });
    answers.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn unanswered() -> Error {
    Error::new(Kind::Io, "nodetool was not asked all that it should have been")
}

/// Names what the node has not got, where that is why it cannot flush it.
fn absent_tables(selection: &Selection, paths: &BTreeMap<TableName, Vec<PathBuf>>) -> Result<()> {
    let has_keyspace = |name: &str| paths.keys().any(|table| *table.keyspace == *name);
    let absent: Vec<String> = match selection {
        Selection::Everything => Vec::new(),
        Selection::Keyspaces(names) => {
            names.iter().filter(|name| !has_keyspace(name)).map(|name| format!("keyspace {name}")).collect()
        }
        Selection::Tables(tables) => {
            tables.iter().filter(|table| !paths.contains_key(table)).map(|table| format!("table {table}")).collect()
        }
    };
    let why = |what| format!("the node has no {what}: `cassmount schema` prints the CQL that creates it");
    refuse(absent.into_iter().map(why).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_restored_is_flushed() {
        let keyspaces = BTreeSet::from(["media".to_owned(), "shop".to_owned()]);
        let tables = Selection::Tables(vec![
            TableName::new("shop", "users"),
            TableName::new("media", "docs"),
            TableName::new("shop", "hits"),
        ]);
        let joined = |selection: &Selection| {
            flushes(&keyspaces, selection).iter().map(|words| words.join(" ")).collect::<Vec<_>>()
        };
        assert_eq!(joined(&tables), ["system_schema", "media docs", "shop users hits"]);
        assert_eq!(joined(&Selection::Keyspaces(Vec::new())), ["system_schema", "media", "shop"]);
        assert_eq!(joined(&Selection::Everything), [""]);
    }

    #[test]
    fn every_question_is_asked_once() {
        let questions: Vec<Question<'_>> =
            (0..20).map(|n| Box::new(move || Answer::Ring(n.to_string(), Ok(Vec::new()))) as Question<'_>).collect();
        let answers = side_by_side(questions).into_iter();
        let names: BTreeSet<String> =
            answers.map(|answer| if let Answer::Ring(name, _) = answer { name } else { String::new() }).collect();
        assert_eq!(names.len(), 20);
    }
}
