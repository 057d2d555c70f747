//! `cassmount restore status`.

use super::{NO_TABLES, mounts, note_snapshots};
use crate::cli::options::{CacheDirArgs, OutputArgs};
use crate::cli::output::{Shown, print};
use crate::cli::runtime_state;
use crate::cli::{table, waits};
use cassmount::Result;
use cassmount::restore::{Statuses, Step, TableStatus, status};
use std::collections::BTreeSet;
use std::fmt::Write;

#[derive(clap::Args, Debug)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    journals: CacheDirArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: &StatusArgs) -> Result<()> {
    print(args.output, &status(&mounts::journals(&args.journals)?)?)
}

/// The JSON is documented in docs/json.md.
impl Shown for Statuses {
    fn text(&self) -> String {
        if self.tables.is_empty() && self.nodes.is_empty() && self.errors.is_empty() {
            return NO_TABLES.to_owned();
        }
        let nodes: BTreeSet<_> = self.tables.iter().map(|of| &of.data_directory).collect();
        let mut text = String::new();
        for node in &nodes {
            let tables: Vec<&TableStatus> = self.tables.iter().filter(|of| of.data_directory == **node).collect();
            if nodes.len() > 1 {
                let _ = writeln!(text, "{}:", node.display());
            }
            let rows: Vec<Vec<String>> = tables.iter().map(|of| row(of)).collect();
            text += &table::render(&HEADER, &HEADER[1..], &rows);
            text += &notes(&tables);
        }
        for node in &self.nodes {
            text += &super::node::status(node);
        }
        let mounts: BTreeSet<_> = self.tables.iter().filter(|of| of.linked > 0).map(|of| &of.mountpoint).collect();
        for line in mounts.into_iter().flat_map(|mountpoint| waits::at(mountpoint)) {
            let _ = writeln!(text, "WAITING for the store: {line}");
        }
        for error in &self.errors {
            let _ = writeln!(
                text,
                "{}: CANNOT BE TOLD: {} (journal {})",
                error.table,
                error.error,
                error.journal.display()
            );
        }
        text
    }
}

const HEADER: [&str; 6] = ["TABLE", "SSTABLES", "LINKED", "HYDRATED", "COMPACTED", "STILL REMOTE"];

/// What is said of each table; what is said of all alike, once.
fn notes(tables: &[&TableStatus]) -> String {
    let mut all: Vec<(String, Vec<String>)> = Vec::new();
    for of in tables {
        let (mut text, name) = (String::new(), of.table.to_string());
        note(&mut text, of);
        for line in text.lines() {
            let said = line.strip_prefix(&*name).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(line);
            match all.iter_mut().find(|(of, _)| of == said) {
                Some((_, names)) => names.push(name.clone()),
                None => all.push((said.to_owned(), vec![name.clone()])),
            }
        }
    }
    let mut text = String::new();
    for (said, names) in all {
        if names.len() == tables.len() && names.len() > 1 {
            let _ = writeln!(text, "all {} tables: {said}", names.len());
        } else {
            for name in names {
                let _ = writeln!(text, "{name}: {said}");
            }
        }
    }
    text
}

fn note(text: &mut String, of: &TableStatus) {
    let from: Vec<String> = of.from.iter().map(ToString::to_string).collect();
    let _ = match word(of) {
        "" => writeln!(text, "{}: {}", of.table, from.join(", ")),
        word => writeln!(text, "{}: {}: {word}", of.table, from.join(", ")),
    };
    if of.broken > 0 {
        let _ = writeln!(
            text,
            "{}: {} SSTables cannot be opened: Cassandra was started while {} was not mounted, and removed files that it had made of links. No row is lost: mount it, then `cassmount restore repair --table {}`",
            of.table,
            of.broken,
            of.mountpoint.display(),
            of.table
        );
    }
    if of.linked > 0 && !runtime_state::is_ours(&of.mountpoint) {
        let _ = writeln!(
            text,
            "{}: NOTHING IS MOUNTED on {}: do not start Cassandra before `cassmount mount {} {}`",
            of.table,
            of.mountpoint.display(),
            of.source,
            of.mountpoint.display()
        );
    }
    if let (0, Some(reader)) = (of.linked, &of.reader) {
        let _ = writeln!(
            text,
            "{}: {reader} still has files of {} open: keep it mounted until that is restarted",
            of.table,
            of.mountpoint.display()
        );
    }
    note_snapshots(text, &of.table, &of.snapshots_with_links);
    if of.links_in_backups > 0 {
        let _ = writeln!(text, "{}: {} links in backups/", of.table, of.links_in_backups);
    }
    if let Some(snapshot) = &of.snapshot {
        let _ = writeln!(text, "{}: what was there before is in the snapshot {snapshot}", of.table);
    }
}

/// What there is to do.
fn word(of: &TableStatus) -> &'static str {
    let has_links = of.links_in_backups > 0 || !of.snapshots_with_links.is_empty();
    match of.step {
        _ if of.is_dropped => "the table is gone: abort forgets it",
        Step::Open if of.broken > 0 => "BROKEN: mount, then run repair",
        Step::Open if of.linked == 0 && has_links => "local but for links in snapshots or backups/: run hydrate",
        Step::Open if of.linked == 0 && of.reader.is_some() => "local; keep the mount until Cassandra is restarted",
        Step::Open if of.linked == 0 => "done",
        Step::Open => "",
        Step::Aborting | Step::Replacing => "abort unfinished: run it again",
        Step::RollingBack => "roll-back unfinished: run abort, or instant again",
        Step::Undone => "undone but for its snapshot: run abort again",
        _ => "unfinished: run instant again",
    }
}

fn row(of: &TableStatus) -> Vec<String> {
    let counts = [of.sstables, of.linked, of.hydrated, of.compacted].map(|count| count.to_string());
    let mut row = vec![of.table.to_string()];
    row.extend(counts);
    row.push(table::bytes(of.remote_bytes));
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use cassmount::cassandra::TableName;
    use cassmount::restore::Origin;

    fn table(data_directory: &str) -> TableStatus {
        let origin = |host: &str| Origin { host: host.to_owned(), point: "2026-11-21-02-48".to_owned() };
        TableStatus {
            table: TableName::new("eu", "orders_by_customer"),
            from: vec![origin("cass-a"), origin("cass-b")],
            directory: format!("{data_directory}/k/t-1").into(),
            data_directory: data_directory.into(),
            mountpoint: "/nonexistent".into(),
            source: "s3://backups".to_owned(),
            started: String::new(),
            step: Step::Open,
            sstables: 1234,
            linked: 0,
            broken: 0,
            hydrated: 1000,
            compacted: 234,
            bytes: 0,
            remote_bytes: 123_456_789,
            links_in_backups: 0,
            snapshots_with_links: Vec::new(),
            snapshot: None,
            is_dropped: false,
            reader: None,
        }
    }

    #[test]
    fn nodes_of_one_machine_are_told_apart_in_80_columns() {
        let tables = vec![table("/var/lib/cassandra-1/data"), table("/var/lib/cassandra-2/data")];
        let text = Statuses { tables, nodes: Vec::new(), errors: Vec::new() }.text();
        let (first, second) = text.split_once("/var/lib/cassandra-2/data:\n").unwrap();
        assert!(first.starts_with("/var/lib/cassandra-1/data:\nTABLE "), "{text}");
        for of in [first, second] {
            assert!(of.contains("orders_by_customer: 2026-11-21-02-48 of cass-a, 2026-11-21-02-48 of cass-b: done\n"));
        }
        let table = text.lines().filter(|line| !line.contains(": "));
        assert!(table.clone().count() >= 4 && table.clone().all(|line| line.chars().count() <= 80), "{text}");
        let one = Statuses { tables: vec![self::table("/data")], nodes: Vec::new(), errors: Vec::new() }.text();
        assert!(one.starts_with("TABLE "), "{one}");
    }

    #[test]
    fn what_is_said_of_all_tables_is_said_once() {
        let mut tables = vec![table("/data"), table("/data"), table("/data")];
        let names = ["carts", "orders", "users"].map(|name| TableName::new("eu", name));
        tables.iter_mut().zip(names).for_each(|(of, name)| of.table = name);
        let text =
            |tables: &[TableStatus]| Statuses { tables: tables.to_vec(), nodes: Vec::new(), errors: Vec::new() }.text();
        let alike = text(&tables);
        assert!(
            alike.ends_with("\nall 3 tables: 2026-11-21-02-48 of cass-a, 2026-11-21-02-48 of cass-b: done\n"),
            "{alike}"
        );
        tables[1].links_in_backups = 2;
        let one_differs = text(&tables);
        assert!(one_differs.contains("\neu.carts: 2026") && one_differs.contains("\neu.users: 2026"), "{one_differs}");
        assert!(one_differs.contains("\neu.orders: 2 links in backups/\n"), "{one_differs}");
    }
}
