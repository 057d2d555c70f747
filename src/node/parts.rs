//! A plan in parts, where one Cassandra of a given size cannot open all of it.

use super::plan::{Contents, Plan};
use crate::cassandra::TableName;
use rustix::process::{Resource, getrlimit};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of its heap that a Cassandra needs before it has opened anything, and for each SSTable.
const HEAP_BEFORE: u64 = 256 << 20;
const HEAP_OF_EACH: u64 = 128 << 10;
/// Descriptors of the process, and of each SSTable: one of BTI has three files open.
const DESCRIPTORS_BEFORE: u64 = 512;
const DESCRIPTORS_OF_EACH: u64 = 3;
/// However small all that is.
const FEWEST: u64 = 16;

/// What one Cassandra can have open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capacity {
    pub sstables: u64,
    /// Bytes of them that are kept in memory outside of the heap.
    pub native_bytes: u64,
}

impl Capacity {
    /// That of one with so large a heap, which gets as much memory again outside of it.
    pub fn of_heap(heap: u64) -> Self {
        let descriptors = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        Self::of(heap, descriptors)
    }

    fn of(heap: u64, descriptors: u64) -> Self {
        let of_heap = heap.saturating_sub(HEAP_BEFORE) / HEAP_OF_EACH;
        let of_descriptors = descriptors.saturating_sub(DESCRIPTORS_BEFORE) / DESCRIPTORS_OF_EACH;
        Self { sstables: of_heap.min(of_descriptors).max(FEWEST), native_bytes: heap }
    }

    fn holds(&self, contents: &Contents) -> bool {
        contents.sstables <= self.sstables && contents.native_bytes <= self.native_bytes
    }
}

/// What one of several nodes shows.
#[derive(Debug)]
pub struct Part {
    pub(super) plan: Plan,
    pub tables: BTreeSet<TableName>,
}

/// Divides a plan among as few nodes as can hold it, tables in order, each table whole: the rows of
/// a part of it would tell nothing. The first node has what is to be said of all.
pub(super) fn divide(mut plan: Plan, capacity: Capacity) -> Vec<Part> {
    let contents = plan.contents();
    let groups = groups(&contents, capacity);
    for (name, of) in contents.iter().filter(|(_, of)| !capacity.holds(of)) {
        plan.notes.push(format!(
            "{name} alone has {} SSTables, which may be more than a node of this size can open: should Cassandra end, \
             raise --heap",
            of.sstables
        ));
    }
    let mut parts = Vec::new();
    for tables in groups {
        let (links, rest) = plan.links.into_iter().partition(|placed| tables.contains(&placed.table));
        plan.links = rest;
        let next = Plan {
            copies: plan.copies.clone(),
            datacenter: plan.datacenter.clone(),
            statements: plan.statements.clone(),
            links: plan.links,
            ..Plan::default()
        };
        parts.push(Part { plan: Plan { links, ..plan }, tables });
        plan = next;
    }
    parts
}

fn groups(contents: &BTreeMap<TableName, Contents>, capacity: Capacity) -> Vec<BTreeSet<TableName>> {
    let mut groups: Vec<BTreeSet<TableName>> = vec![BTreeSet::new()];
    let mut together = Contents::default();
    for (name, of) in contents {
        let with = Contents {
            sstables: together.sstables + of.sstables,
            native_bytes: together.native_bytes + of.native_bytes,
            ..Contents::default()
        };
        let is_first = groups.last().is_none_or(BTreeSet::is_empty);
        if is_first || capacity.holds(&with) {
            together = with;
        } else {
            groups.push(BTreeSet::new());
            together = of.clone();
        }
        groups.last_mut().map(|group| group.insert(name.clone()));
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::super::plan::Placed;
    use super::*;
    use crate::cassandra::SstableName;
    use crate::restore::Sstable;

    fn placed(table: &str, sstables: u32) -> Placed {
        let sstable = |number| Sstable {
            name: SstableName::parse_component(&format!("nb-{number}-big-Data.db")).unwrap().sstable,
            components: [("Data.db".to_owned(), 1000), ("Filter.db".to_owned(), 7)].into(),
        };
        let from = format!("/mnt/{table}").into();
        let sstables = (1..=sstables).map(sstable).collect();
        Placed { table: TableName::new("shop", table), place: format!("shop/{table}-1"), from, sstables }
    }

    fn plan(tables: &[(&str, u32)]) -> Plan {
        let links = tables.iter().map(|(table, sstables)| placed(table, *sstables)).collect();
        Plan { links, copies: vec![placed("tables", 1)], lacks: vec!["one".to_owned()], ..Plan::default() }
    }

    /// Tables and SSTables of each part.
    fn divided(plan: Plan, capacity: Capacity) -> Vec<(Vec<String>, usize)> {
        let parts = divide(plan, capacity);
        assert!(parts.iter().all(|part| part.plan.copies.len() == 1));
        assert!(parts[0].plan.lacks == ["one"] && parts[1..].iter().all(|part| part.plan.lacks.is_empty()));
        let names = |part: &Part| part.tables.iter().map(|table| table.table.to_string()).collect();
        let sstables = |part: &Part| part.plan.links.iter().map(|placed| placed.sstables.len()).sum();
        parts.iter().map(|part| (names(part), sstables(part))).collect()
    }

    #[test]
    fn every_table_is_whole_in_one_part() {
        // Two hosts have `a`.
        let of = || plan(&[("a", 2), ("b", 3), ("c", 9), ("d", 0), ("a", 2), ("e", 5)]);
        let capacity = |sstables, native_bytes| Capacity { sstables, native_bytes };
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let all = (names(&["a", "b", "c", "d", "e"]), 21);
        assert_eq!(divided(of(), capacity(21, 1000)), [all]);
        // One alone is larger than a node.
        let expected = [(names(&["a", "b"]), 7), (names(&["c"]), 9), (names(&["d", "e"]), 5)];
        assert_eq!(divided(of(), capacity(7, 1000)), expected);
        assert_eq!(divided(of(), capacity(100, 7 * 7)), expected);
        let parts = divide(of(), capacity(7, 1000));
        assert!(parts[0].plan.notes[0].starts_with("shop.c alone has 9 SSTables"), "{:?}", parts[0].plan.notes);
        assert_eq!(divided(plan(&[]), capacity(7, 7)), [(vec![], 0)]);
    }

    #[test]
    fn a_larger_heap_holds_more_up_to_the_descriptors() {
        let sstables = |heap: u64, descriptors| Capacity::of(heap << 20, descriptors).sstables;
        assert!(sstables(768, 1 << 20) > sstables(512, 1 << 20));
        assert_eq!(sstables(768, 4096), (4096 - 512) / 3);
        assert_eq!(sstables(100, 0), FEWEST);
    }
}
