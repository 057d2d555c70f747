//! Random DDL histories, written to facts as Cassandra writes them, against the plain list of what
//! was alive when.

use super::facts::{Facts, Partition, Row, SchemaTable};
use super::{Incarnation, Timeline};
use crate::cassandra::{TableId, TableName};
use crate::time::Timestamp;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;

const KEYSPACE: &str = "ks";
const TABLES: [&str; 2] = ["a", "b"];

#[derive(Clone, Copy, Debug)]
enum Ddl {
    Create(usize),
    Alter(usize),
    AddColumn(usize),
    DropColumn(usize),
    Drop(usize),
    DropKeyspace,
}

fn ddl() -> impl Strategy<Value = Ddl> {
    let table = 0..TABLES.len();
    prop_oneof![
        4 => table.clone().prop_map(Ddl::Create),
        2 => table.clone().prop_map(Ddl::Alter),
        2 => table.clone().prop_map(Ddl::AddColumn),
        2 => table.clone().prop_map(Ddl::DropColumn),
        3 => table.prop_map(Ddl::Drop),
        1 => Just(Ddl::DropKeyspace),
    ]
}

/// What a node does, and what it wrote.
#[derive(Default)]
struct Node {
    lives: [Vec<(TableId, Timestamp, Option<Timestamp>)>; TABLES.len()],
    columns: [BTreeSet<u8>; TABLES.len()],
    ids: u8,
    /// What each statement flushed, and when.
    flushes: Vec<(Timestamp, Facts)>,
}

impl Node {
    fn is_alive(&self, table: usize) -> bool {
        self.lives[table].last().is_some_and(|life| life.2.is_none())
    }

    fn execute(&mut self, ddl: Ddl, now: Timestamp) {
        let mut facts = Facts { read: SchemaTable::ALL.into(), ..Facts::default() };
        match ddl {
            Ddl::Create(table) if !self.is_alive(table) => {
                self.ids += 1;
                self.lives[table].push((TableId([self.ids; 16]), now, None));
                self.columns[table] = [0, self.ids % 3].into();
                self.write_table(&mut facts, table, now);
                for &column in &self.columns[table] {
                    column_row(&mut facts, table, column).inserts.insert(now);
                }
            }
            Ddl::Alter(table) if self.is_alive(table) => self.write_table(&mut facts, table, now),
            Ddl::AddColumn(table) if self.is_alive(table) => {
                self.write_table(&mut facts, table, now);
                let column = self.columns[table].last().unwrap() + 1;
                self.columns[table].insert(column);
                column_row(&mut facts, table, column).inserts.insert(now);
            }
            Ddl::DropColumn(table) if self.is_alive(table) && self.columns[table].len() > 1 => {
                self.write_table(&mut facts, table, now);
                let column = self.columns[table].pop_last().unwrap();
                column_row(&mut facts, table, column).deletions.insert(now);
            }
            Ddl::Drop(table) if self.is_alive(table) => {
                self.lives[table].last_mut().unwrap().2 = Some(now);
                table_row(&mut facts, table).deletions.insert(now);
                for column in std::mem::take(&mut self.columns[table]) {
                    column_row(&mut facts, table, column).deletions.insert(now);
                }
            }
            Ddl::DropKeyspace => {
                for table in (0..TABLES.len()).filter(|&table| self.is_alive(table)).collect::<Vec<_>>() {
                    self.lives[table].last_mut().unwrap().2 = Some(now);
                }
                for table in SchemaTable::ALL {
                    partition(&mut facts, table).deletions.insert(now);
                }
            }
            _ => {}
        }
        self.flushes.push((now, facts));
    }

    /// CREATE and ALTER both delete the row and write it whole.
    fn write_table(&self, facts: &mut Facts, table: usize, now: Timestamp) {
        let id = self.lives[table].last().unwrap().0;
        let row = table_row(facts, table);
        row.deletions.insert(Timestamp(now.0 - 1));
        row.write(&"id".into(), now, Some(id.0.to_vec()));
    }

    /// All that was flushed up to a time, as compaction leaves it.
    fn compacted(&self, until: Timestamp, purge: bool) -> Facts {
        let mut facts = Facts::default();
        for (_, flushed) in self.flushes.iter().filter(|(at, _)| *at <= until) {
            facts.merge(flushed);
        }
        for partition in facts.keyspaces.values_mut().flat_map(|tables| tables.values_mut()) {
            compact(partition, purge);
        }
        facts
    }

    fn alive_at(&self, table: usize, at: Timestamp) -> Option<TableId> {
        let life = self.lives[table].iter().find(|life| life.1 <= at && life.2.is_none_or(|dropped| at < dropped));
        life.map(|life| life.0)
    }
}

fn compact(partition: &mut Partition, purge: bool) {
    let whole = partition.deletions.last().copied();
    partition.deletions = whole.into_iter().collect();
    for row in partition.rows.values_mut() {
        let deleted = row.deletions.last().copied().max(whole);
        row.deletions = deleted.filter(|_| deleted > whole).into_iter().collect();
        row.inserts = row.inserts.last().copied().filter(|&at| Some(at) > deleted).into_iter().collect();
        for values in row.cells.values_mut() {
            let last = values.pop_last().filter(|(at, _)| Some(*at) > deleted);
            *values = last.into_iter().collect();
        }
        if purge {
            row.deletions.clear();
        }
    }
    if purge {
        partition.deletions.clear();
    }
}

fn partition(facts: &mut Facts, table: SchemaTable) -> &mut Partition {
    facts.keyspaces.entry(Arc::from(KEYSPACE)).or_default().entry(table).or_default()
}

fn table_row(facts: &mut Facts, table: usize) -> &mut Row {
    partition(facts, SchemaTable::Tables).rows.entry(vec![TABLES[table].into()]).or_default()
}

fn column_row(facts: &mut Facts, table: usize, column: u8) -> &mut Row {
    partition(facts, SchemaTable::Columns).rows.entry(vec![TABLES[table].into(), vec![column]]).or_default()
}

fn run(history: &[(Ddl, i64)]) -> Node {
    let mut node = Node::default();
    let mut now = Timestamp(1_000);
    for &(ddl, pause) in history {
        now.0 += pause;
        node.execute(ddl, now);
    }
    node
}

fn name(table: usize) -> TableName {
    TableName::new(KEYSPACE, TABLES[table])
}

fn history() -> impl Strategy<Value = Vec<(Ddl, i64)>> {
    // Statements are never closer than the microsecond in which a row is deleted before it is
    // written.
    proptest::collection::vec((ddl(), 2_i64..50), 1..40)
}

proptest! {
    #[test]
    fn every_flush_together_gives_the_exact_history(history in history()) {
        let node = run(&history);
        let mut timeline = Timeline::default();
        for (at, facts) in node.flushes.iter().rev() {
            timeline.add(*at, false, facts);
        }
        for table in 0..TABLES.len() {
            let exact = |life: &Incarnation| life.dropped.is_none() || life.drop_is_exact();
            prop_assert!(timeline.incarnations(&name(table)).iter().all(exact));
            let found = timeline.incarnations(&name(table)).iter().map(|life| (life.id, life.created, life.dropped));
            prop_assert_eq!(found.collect::<Vec<_>>(), node.lives[table].clone());
        }
    }

    #[test]
    fn compacted_fulls_are_right_at_their_times(
        history in history(),
        fulls in proptest::collection::btree_set(1_000_i64..2_500, 1..6),
        purge: bool,
    ) {
        let node = run(&history);
        let mut timeline = Timeline::default();
        for &at in &fulls {
            timeline.add(Timestamp(at), true, &node.compacted(Timestamp(at), purge));
        }
        for (table, table_name) in TABLES.iter().enumerate() {
            for &at in &fulls {
                let found = timeline.id_at(&name(table), Timestamp(at));
                prop_assert_eq!(found, node.alive_at(table, Timestamp(at)), "{} at {}", table_name, at);
            }
            for life in timeline.incarnations(&name(table)) {
                let truth = node.lives[table].iter().find(|truth| truth.0 == life.id).unwrap();
                prop_assert_eq!(life.created, truth.1);
                // Where a name was dropped twice between two sets, compaction left the second DROP
                // only.
                let alive_too_long = truth.2.is_some_and(|dropped| dropped < life.known_alive);
                prop_assert!(!alive_too_long || life.drop_is_exact(), "{:?} {:?}", life, truth);
                if let Some(by) = life.dropped {
                    prop_assert!(truth.2.is_some_and(|dropped| dropped <= by), "{:?} {:?}", life, truth);
                }
            }
        }
    }
}
