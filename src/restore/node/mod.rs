//! The Cassandra node, through its own nodetool: what it knows of itself, and the few things it is
//! asked to do.

mod parse;

pub(super) use parse::{Identity, RingToken};

use super::command::{Program, ProgramOutput};
use crate::cassandra::TableName;
use crate::{Error, Kind, Result};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Longest wait for a question, or for something that takes a moment. Refreshing has a deadline of
/// its own.
const PATIENCE: Duration = Duration::from_mins(2);
/// Longest wait for a flush: a full memtable on a slow disk.
const FLUSH: Duration = Duration::from_mins(10);
/// Names the beans of all tables, their indexes' left out.
const TABLE_BEANS: &str = "org.apache.cassandra.db:type=Tables,*";

/// A running node, or one that should be.
#[derive(Clone, Debug)]
pub struct Node {
    nodetool: Program,
}

impl Node {
    pub fn new(nodetool: Program) -> Self {
        Self { nodetool: nodetool.short_java() }
    }

    /// The command that is its nodetool.
    pub(super) fn command(&self) -> String {
        self.nodetool.words()
    }

    /// The live directories of every table, one for each data directory of the node.
    pub fn data_paths(&self) -> Result<BTreeMap<TableName, Vec<PathBuf>>> {
        let said = self.say(&["datapaths"], PATIENCE)?;
        if said.status.success() && said.stdout.contains("Keyspace") {
            return parse::data_paths(&said.stdout);
        }
        // An older nodetool prints its help. That of 4.0 shows any attribute of the node's beans.
        let beans = ["sjk", "mx", "-mg", "-all", "-b", TABLE_BEANS, "-f", "DataPaths"];
        let of_beans = self.say(&beans, PATIENCE)?;
        let paths =
            if of_beans.status.success() { parse::data_paths_of_beans(&of_beans.stdout)? } else { BTreeMap::new() };
        if paths.is_empty() {
            let message = format!(
                "nodetool does not tell where tables lie ({}).\n  Instant restore needs Cassandra 4.0 or later. \
                 sstableloader restores into any",
                said.why()
            );
            return Err(Error::new(Kind::Unsupported, message));
        }
        Ok(paths)
    }

    /// Its data centre and its tokens.
    pub fn identity(&self) -> Result<Identity> {
        parse::identity(&self.ask(&["info", "-T"], PATIENCE)?)
    }

    /// Everybody's tokens, and how much each node has of the keyspace.
    pub fn ring(&self, keyspace: &str) -> Result<Vec<RingToken>> {
        parse::ring(&self.ask(&["ring", keyspace], PATIENCE)?)
    }

    /// Whether every new SSTable is linked into `backups/`.
    pub fn incremental_backups(&self) -> Result<bool> {
        Ok(self.ask(&["statusbackup"], PATIENCE)?.trim() == "running")
    }

    /// Brings memtables to disk: of some tables of a keyspace, of a keyspace, or all.
    pub fn flush(&self, words: &[&str]) -> Result<()> {
        self.ask(&[&["flush"], words].concat(), FLUSH).map(drop)
    }

    /// Snapshots one table, with what is in memory.
    pub fn snapshot(&self, tag: &str, table: &TableName) -> Result<()> {
        self.ask(&["snapshot", "-t", tag, "-kt", &table.to_string()], FLUSH).map(drop)
    }

    pub fn clear_snapshot(&self, tag: &str, keyspace: &str) -> Result<()> {
        self.ask(&["clearsnapshot", "-t", tag, "--", keyspace], PATIENCE).map(drop)
    }

    /// Opens the SSTables that were put into the table's live directories: all of them, or none.
    pub fn refresh(&self, table: &TableName, deadline: Duration) -> Result<()> {
        self.ask(&["refresh", &table.keyspace, &table.table], deadline).map(drop)
    }

    /// Builds secondary indexes of the table anew.
    pub fn rebuild_indexes(&self, table: &TableName, indexes: &[String], deadline: Duration) -> Result<()> {
        let names = indexes.iter().map(String::as_str);
        let words: Vec<&str> = ["rebuild_index", &*table.keyspace, &*table.table].into_iter().chain(names).collect();
        self.ask(&words, deadline).map(drop)
    }

    /// How many SSTables of each of the tables are open.
    pub(super) fn open_sstables(&self, tables: &[&TableName]) -> Result<Vec<u64>> {
        let names: Vec<String> = tables.iter().map(ToString::to_string).collect();
        let words: Vec<&str> =
            ["tablestats", "-F", "json"].into_iter().chain(names.iter().map(|name| &**name)).collect();
        parse::open_sstables(&self.ask(&words, PATIENCE)?, tables)
    }

    /// Whether it is up. `None` where nodetool does not say that it is not.
    pub fn is_up(&self) -> Option<bool> {
        match self.ask(&["statusbinary"], PATIENCE) {
            Ok(_) => Some(true),
            Err(error) if error.kind() == Kind::NotRunning => Some(false),
            Err(_) => None,
        }
    }

    fn ask(&self, words: &[&str], deadline: Duration) -> Result<String> {
        let said = self.say(words, deadline)?;
        if said.status.success() {
            return Ok(said.stdout);
        }
        Err(Error::new(Kind::Io, format!("{} failed: {}", self.nodetool.shown(words), said.why())))
    }

    /// `Kind::NotRunning` where there is no node to talk to.
    fn say(&self, words: &[&str], deadline: Duration) -> Result<ProgramOutput> {
        let said = self.nodetool.run(words, deadline).map_err(|error| match error.kind() {
            // It is not the store that is slow.
            Kind::TimedOut => Error::new(Kind::Busy, error.to_string()),
            _ => error,
        })?;
        let why = said.why();
        if !said.status.success() && (why.contains("Failed to connect") || why.contains("ConnectException")) {
            return Err(Error::new(Kind::NotRunning, format!("Cassandra does not answer nodetool: {why}")));
        }
        Ok(said)
    }
}
