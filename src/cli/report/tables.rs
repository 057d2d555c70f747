//! The lives of a host's tables: created, altered, dropped, and how large they were in which set.

use super::html::{Text, legend};
use crate::cli::{table, words};
use cassmount::cassandra::TableName;
use cassmount::cassandra::schema::{Alteration, Incarnation, is_system_keyspace};
use cassmount::catalog::{BackupSet, HostSets, SetKind};
use cassmount::time::Timestamp;
use cassmount::tree::TableLives;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

const WIDE: usize = 640;
/// Sets that are drawn at most.
const MOST_BARS: usize = 640;
/// Of the largest archive, and of the line below that shows lives, pixels.
const TALL: u64 = 28;
const LIFE: u64 = 6;
/// Changes that are listed.
const CHANGES: usize = 200;

/// The sets that are drawn, one beside the other.
struct Axis<'a> {
    sets: &'a [&'a Arc<BackupSet>],
    wide: usize,
}

impl Axis<'_> {
    /// Where a moment is: before the first set that was started later.
    fn place(&self, at: Timestamp) -> usize {
        self.sets.partition_point(|set| set.start() < at) * self.wide
    }

    fn end(&self) -> usize {
        self.sets.len() * self.wide
    }
}

/// One row for each table of the user's: its archive in each set, as tall as it is large; below,
/// its lives.
pub(super) fn section(sets: &HostSets, lives: &TableLives) -> String {
    let shown: Vec<_> = sets.sets.iter().filter(|set| set.is_finished() && set.automatic().is_none()).collect();
    let all = shown.len();
    let shown = &shown[all.saturating_sub(MOST_BARS)..];
    let axis = Axis { sets: shown, wide: (WIDE / shown.len().max(1)).clamp(1, 12) };
    let mut sizes: BTreeMap<TableName, Vec<(usize, SetKind, u64)>> = BTreeMap::new();
    for (at, set) in shown.iter().enumerate() {
        for archive in set.archives().filter(|archive| !is_system_keyspace(&archive.table.keyspace)) {
            sizes.entry(archive.table).or_default().push((at, set.kind(), archive.object.size));
        }
    }
    for (table, _) in lives.tables.iter().filter(|(table, _)| !is_system_keyspace(&table.keyspace)) {
        sizes.entry(table.clone()).or_default();
    }
    let legend = legend(&[
        ("base", "in a full"),
        ("next", "in an incremental"),
        ("life", "life"),
        ("event", "altered"),
        ("end", "dropped"),
    ]);
    let mut text = format!(
        "<h2>Tables</h2>\n<p class=\"faint\">Their archives, set by set, as tall as they are large; below, how long each \
         table lived.{}</p>\n<p class=\"faint\">{legend}</p>\n<div class=\"scroll\"><table><tr><th>table</th><th>lives</th><th>altered</th><th>archives</th><th>largest</th><th>last</th>\
        <th></th></tr>\n",
        Text(&left_out(all, shown.len(), &shown.first().map_or_else(String::new, |set| set.tag.to_string())))
    );
    for (table, sizes) in &sizes {
        let own = lives.tables.iter().find(|(name, _)| name == table).map_or(&[][..], |(_, lives)| lives);
        let altered: Vec<&Alteration> = lives.alterations.iter().filter(|of| of.table == *table).collect();
        text += &row(&axis, table, sizes, own, &altered);
    }
    text += "</table></div>\n";
    for gap in lives.gaps.iter().take(3) {
        let _ = writeln!(text, "<p class=\"odd\">Not all lives are known: {}</p>", Text(gap));
    }
    text + &changes(lives)
}

/// Says how much of the past is not drawn.
fn left_out(all: usize, shown: usize, since: &str) -> String {
    if all == shown { String::new() } else { format!(" Of {all} sets these are the last {shown}, since {since}.") }
}

fn row(
    axis: &Axis,
    name: &TableName,
    sizes: &[(usize, SetKind, u64)],
    lives: &[Incarnation],
    altered: &[&Alteration],
) -> String {
    let most = sizes.iter().map(|(_, _, size)| *size).max().unwrap_or(0).max(1);
    let mut bars = String::new();
    for (at, kind, size) in sizes {
        let tall = 2 + (u128::from(TALL - 2) * u128::from(*size) / u128::from(most)) as u64;
        let class = if *kind == SetKind::Full { "base" } else { "next" };
        let tip = format!("{name} in {}: {}", axis.sets[*at].tag, table::bytes(*size));
        let _ = write!(
            bars,
            "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{tall}\" data-tip=\"{}\"/>",
            at * axis.wide,
            TALL - tall,
            axis.wide.saturating_sub(1).max(1),
            Text(&tip)
        );
    }
    for life in lives {
        bars += &life_bar(axis, name, life);
    }
    for change in altered {
        let x = axis.place(change.at);
        let tip = format!("{name} altered {}: {}", words::minute(change.at), change.changes.join(", "));
        let _ = write!(
            bars,
            "<rect class=\"event\" x=\"{}\" y=\"{TALL}\" width=\"3\" height=\"{LIFE}\" data-tip=\"{}\"/>",
            x.saturating_sub(1),
            Text(&tip)
        );
    }
    let latest = sizes.last().map_or(0, |(_, _, size)| *size);
    format!(
        "<tr><td>{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td>\
         <td class=\"number\">{}</td><td class=\"number\">{}</td><td><svg width=\"{}\" height=\"{}\">{bars}</svg></td></tr>\n",
        Text(name),
        if lives.is_empty() { "?".to_owned() } else { lives.len().to_string() },
        altered.len(),
        sizes.len(),
        table::bytes(if sizes.is_empty() { 0 } else { most }),
        table::bytes(latest),
        axis.end().max(1),
        TALL + LIFE
    )
}

fn life_bar(axis: &Axis, name: &TableName, life: &Incarnation) -> String {
    let (from, to) = (axis.place(life.created), life.dropped.map_or(axis.end(), |dropped| axis.place(dropped)));
    let dropped = match life.dropped {
        None => String::new(),
        Some(at) if life.drop_is_exact() => format!(", dropped {}", words::minute(at)),
        Some(at) => format!(", dropped between {} and {}", words::minute(life.known_alive), words::minute(at)),
    };
    let id: String = life.id.to_string().chars().take(8).collect();
    let tip = format!("{name} {id}: created {}{dropped}", words::minute(life.created));
    let wide = to.saturating_sub(from).max(3);
    let mut bar = format!(
        "<rect class=\"life\" x=\"{from}\" y=\"{}\" width=\"{wide}\" height=\"{}\" data-tip=\"{}\"/>",
        TALL + 1,
        LIFE - 2,
        Text(&tip)
    );
    if life.dropped.is_some() {
        let _ = write!(
            bar,
            "<rect class=\"end\" x=\"{}\" y=\"{TALL}\" width=\"3\" height=\"{LIFE}\" data-tip=\"{}\"/>",
            (from + wide).saturating_sub(3),
            Text(&tip)
        );
    }
    bar
}

/// What happened to tables, the newest first.
fn changes(lives: &TableLives) -> String {
    let mut events: Vec<(Timestamp, String)> = Vec::new();
    for (table, lives) in lives.tables.iter().filter(|(table, _)| !is_system_keyspace(&table.keyspace)) {
        for life in lives {
            let id: String = life.id.to_string().chars().take(8).collect();
            events.push((life.created, format!("{table} created ({id})")));
            events.extend(life.dropped.map(|at| {
                let about = if life.drop_is_exact() { "" } else { " at the latest" };
                (at, format!("{table} dropped{about} ({id})"))
            }));
        }
    }
    let altered = lives.alterations.iter();
    events.extend(altered.map(|of| (of.at, format!("{} altered: {}", of.table, of.changes.join(", ")))));
    events.sort_by(|a, b| b.cmp(a));
    if events.is_empty() {
        return String::new();
    }
    let mut text =
        "<h2>What happened to tables</h2>\n<div class=\"scroll\"><table><tr><th>when (UTC)</th><th>what</th></tr>\n"
            .to_owned();
    for (at, what) in events.iter().take(CHANGES) {
        let _ = writeln!(text, "<tr><td>{}</td><td class=\"state\">{}</td></tr>", words::minute(*at), Text(what));
    }
    text += "</table></div>\n";
    if events.len() > CHANGES {
        let _ = writeln!(text, "<p>and {} earlier ones</p>", events.len() - CHANGES);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::left_out;

    #[test]
    fn what_is_not_drawn_is_said() {
        assert_eq!(left_out(640, 640, "2026-06-21-02-01"), "");
        let said = left_out(1000, 640, "2026-06-21-02-01");
        assert_eq!(said, " Of 1000 sets these are the last 640, since 2026-06-21-02-01.");
    }
}
