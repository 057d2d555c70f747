//! What has become of the tables since they were last read.

use super::report::{DrillReport, Finding, Problem};
use crate::restore::Selection;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Tables with fewer rows have to lose all of them to be told: a few rows come and go.
const FEW_ROWS: u64 = 10;
/// Rows of a sample that tell how many there are.
const TELLING_ROWS: u64 = 500;

/// How a table was when it was last read whole, or sampled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct LastRead {
    /// Of the whole table, as far as the drill told.
    rows: u64,
    /// Rows that were read.
    read: u64,
    is_sampled: bool,
    /// The time of the newest restore point.
    as_of: Timestamp,
}

/// Adds what was lost to the findings, and returns how the tables are now.
pub(super) fn compare(
    report: &mut DrillReport,
    before: &BTreeMap<String, LastRead>,
    selection: &Selection,
) -> BTreeMap<String, LastRead> {
    let mut known = before.clone();
    for table in &mut report.tables {
        let own = LastRead {
            rows: table.all_rows(),
            read: table.rows,
            is_sampled: table.estimated_rows.is_some(),
            as_of: report.as_of,
        };
        let last = before.get(&table.table).filter(|last| last.as_of <= report.as_of);
        table.rows_before = last.map(|last| last.rows);
        // Of what could not be read whole the rows tell nothing.
        let is_of_table = |finding: &Finding| finding.table.as_deref() == Some(&table.table);
        if report.findings.iter().any(is_of_table) {
            continue;
        }
        if let Some(last) = last.filter(|last| has_lost(last, &own)) {
            report.findings.push(Finding {
                problem: Problem::LostRows,
                table: Some(table.table.clone()),
                message: format!("it had {} rows, and has {}", last.rows, own.rows),
            });
        }
        if before.get(&table.table).is_none_or(|last| last.as_of <= report.as_of) {
            known.insert(table.table.clone(), own);
        }
    }
    let is_there = |name: &str| report.tables.iter().any(|table| table.table == name);
    let gone: Vec<(String, u64)> = before
        .iter()
        .filter(|(name, last)| last.as_of <= report.as_of && selection.has(name) && !is_there(name))
        .map(|(name, last)| (name.clone(), last.rows))
        .collect();
    for (name, rows) in gone {
        known.remove(&name);
        // What could not be read is told as that.
        if !report.findings.iter().any(|finding| finding.table.as_deref() == Some(&name)) {
            let message = format!("it had {rows} rows, and is not there any more");
            report.findings.push(Finding { problem: Problem::Gone, table: Some(name), message });
        }
    }
    known
}

fn has_lost(last: &LastRead, own: &LastRead) -> bool {
    let tells = |one: &LastRead| !one.is_sampled || one.read >= TELLING_ROWS;
    if !tells(own) || !tells(last) {
        return false;
    }
    if last.rows < FEW_ROWS { own.rows == 0 && last.rows > 0 } else { own.rows.saturating_mul(2) <= last.rows }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::report::DrilledTable;
    use super::*;

    pub(in crate::node::drill) fn report(as_of: i64, tables: &[(&str, u64)]) -> DrillReport {
        let table = |(name, rows): &(&str, u64)| DrilledTable {
            table: (*name).to_owned(),
            sstables: 1,
            bytes: 10,
            rows: *rows,
            estimated_rows: None,
            newest_write: None,
            fetched_bytes: 0,
            seconds: 0.5,
            error: None,
            verified: None,
            rows_before: None,
        };
        DrillReport {
            source: "file:///b".to_owned(),
            at: "latest".to_owned(),
            points: Vec::new(),
            as_of: Timestamp(as_of),
            cassandra: "5.0.6".to_owned(),
            started: Timestamp(as_of),
            seconds: 1.0,
            start_seconds: 0.5,
            nodes: 1,
            fetched_bytes: 0,
            sample: None,
            verifies: false,
            tables: tables.iter().map(table).collect(),
            findings: Vec::new(),
            notes: Vec::new(),
            compared_with: None,
        }
    }

    fn lost(report: &DrillReport) -> Vec<(Problem, &str)> {
        report.findings.iter().map(|finding| (finding.problem, finding.table.as_deref().unwrap())).collect()
    }

    #[test]
    fn half_of_the_rows_and_whole_tables_are_missed() {
        let mut first = report(1, &[("s.a", 100), ("s.b", 100), ("s.c", 4), ("s.d", 4), ("s.e", 0), ("t.f", 9)]);
        let known = compare(&mut first, &BTreeMap::new(), &Selection::Everything);
        assert!(first.is_good());
        let mut second = report(2, &[("s.a", 51), ("s.b", 50), ("s.c", 1), ("s.d", 0), ("s.e", 0)]);
        let later = compare(&mut second, &known, &Selection::Everything);
        let expected = [(Problem::LostRows, "s.b"), (Problem::LostRows, "s.d"), (Problem::Gone, "t.f")];
        assert_eq!(lost(&second), expected);
        assert_eq!(second.tables[0].rows_before, Some(100));
        // It is told once.
        let mut third = report(3, &[("s.a", 51), ("s.b", 50), ("s.c", 1), ("s.d", 0), ("s.e", 0)]);
        compare(&mut third, &later, &Selection::Everything);
        assert!(third.is_good(), "{third:?}");
    }

    #[test]
    fn only_like_is_compared_with_like() {
        let mut first = report(5, &[("s.a", 100), ("t.b", 50)]);
        let known = compare(&mut first, &BTreeMap::new(), &Selection::Everything);
        // Another keyspace was not asked for; an older point had fewer rows, and is not remembered.
        let mut part = report(6, &[("s.a", 100)]);
        compare(&mut part, &known, &Selection::Keyspaces(vec!["s".to_owned()]));
        let mut older = report(4, &[("s.a", 1)]);
        assert_eq!(compare(&mut older, &known, &Selection::Everything), known);
        assert!(part.is_good() && older.is_good());
        // A table that failed keeps what was known of it, and few rows of a sample tell nothing.
        let mut failed = report(6, &[("s.a", 1), ("t.b", 1)]);
        let message = "damaged".to_owned();
        failed.findings = vec![Finding { problem: Problem::Refused, table: Some("s.a".to_owned()), message }];
        failed.tables[1].estimated_rows = Some(20);
        let after = compare(&mut failed, &known, &Selection::Everything);
        assert_eq!(lost(&failed), [(Problem::Refused, "s.a")]);
        assert_eq!(after["s.a"], known["s.a"]);
    }
}
