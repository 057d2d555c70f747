//! Chains as boxes, and the sizes of tables over time.

use super::html::Text;
use crate::cli::{table, words};
use cassmount::cassandra::TableName;
use cassmount::cassandra::schema::is_system_keyspace;
use cassmount::catalog::{HostSets, RestorePoint, SetKind};
use std::collections::BTreeMap;
use std::fmt::Write;

const WIDE: u64 = 640;
const HIGH: u64 = 16;
/// The narrowest box, pixels.
const NARROWEST: u64 = 2;

/// The chain that ends with a restore point: a box for each set, as wide as its share of the bytes.
/// Each box is a restore point as well, made of what is left of it.
pub(super) fn chain(sets: &HostSets, point: &RestorePoint) -> String {
    let chain: Vec<_> = point.sets().collect();
    let total: u64 = chain.iter().map(|set| set.stored_size()).sum::<u64>().max(1);
    let room = WIDE.saturating_sub(NARROWEST * chain.len() as u64);
    let places: BTreeMap<&str, usize> =
        sets.chains.points().iter().enumerate().map(|(at, point)| (&*point.tag().0, at)).collect();
    let mut boxes = String::new();
    let (mut x, mut bytes) = (0, 0u64);
    for (count, set) in chain.iter().enumerate() {
        bytes = bytes.saturating_add(set.stored_size());
        let wide = NARROWEST + (u128::from(room) * u128::from(set.stored_size()) / u128::from(total)) as u64;
        let is_whole = places.get(&*set.tag.0).is_none_or(|at| sets.completeness.is_whole(*at));
        let class = match (is_whole, set.kind()) {
            (false, _) => "lack",
            (true, SetKind::Full) => "base",
            (true, SetKind::Incremental) => "next",
        };
        let lacking = if is_whole { "" } else { "; INCOMPLETE" };
        let needs = format!("{}, {}", words::count(count + 1, "set"), table::bytes(bytes));
        let tip = format!(
            "{} ({}): {}; to restore it: {needs}{lacking}",
            set.tag,
            set.kind().name(),
            table::bytes(set.stored_size())
        );
        let _ = write!(
            boxes,
            "<rect class=\"box {class}\" x=\"{x}\" width=\"{wide}\" height=\"{HIGH}\" data-tip=\"{0}\"><title>{0}</title></rect>",
            Text(&tip)
        );
        x += wide;
    }
    let wide = x.max(WIDE);
    format!("<svg width=\"{wide}\" height=\"{HIGH}\" role=\"img\">{boxes}</svg>")
}

/// The last restore point of each full, newest first.
pub(super) fn ends(sets: &HostSets) -> Vec<&RestorePoint> {
    let points = sets.chains.points().iter().filter(|point| !point.is_apart());
    let mut ends: BTreeMap<(i64, &str), &RestorePoint> = BTreeMap::new();
    for point in points {
        ends.insert((point.base().time.0, &*point.base().tag.0), point);
    }
    ends.into_values().rev().collect()
}

/// Sets of a table that are drawn at most.
const MOST_BARS: usize = 640;
const TALL: u64 = 28;

/// One row for each table of the user's: its archive in each set, as tall as it is large.
pub(super) fn tables(sets: &HostSets) -> String {
    let shown: Vec<_> = sets.sets.iter().filter(|set| set.is_finished() && set.automatic().is_none()).collect();
    let shown = &shown[shown.len().saturating_sub(MOST_BARS)..];
    let mut sizes: BTreeMap<TableName, Vec<(usize, SetKind, u64)>> = BTreeMap::new();
    for (at, set) in shown.iter().enumerate() {
        for archive in set.archives().filter(|archive| !is_system_keyspace(&archive.table.keyspace)) {
            sizes.entry(archive.table).or_default().push((at, set.kind(), archive.object.size));
        }
    }
    let wide = (WIDE as usize / shown.len().max(1)).clamp(1, 12);
    let mut rows = String::new();
    for (table, sizes) in sizes {
        let most = sizes.iter().map(|(_, _, size)| *size).max().unwrap_or(1).max(1);
        let mut bars = String::new();
        for (at, kind, size) in &sizes {
            let tall = 2 + (u128::from(TALL - 2) * u128::from(*size) / u128::from(most)) as u64;
            let class = if *kind == SetKind::Full { "base" } else { "next" };
            let tip = format!("{table} in {}: {}", shown[*at].tag, table::bytes(*size));
            let _ = write!(
                bars,
                "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{tall}\" data-tip=\"{tip}\"/>",
                at * wide,
                TALL - tall,
                wide.saturating_sub(1).max(1),
                tip = Text(&tip)
            );
        }
        let latest = sizes.last().map_or(0, |(_, _, size)| *size);
        let _ = writeln!(
            rows,
            "<tr><td>{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td>\
             <td><svg width=\"{}\" height=\"{TALL}\">{bars}</svg></td></tr>",
            Text(&table),
            sizes.len(),
            table::bytes(most),
            table::bytes(latest),
            wide * shown.len()
        );
    }
    rows
}
