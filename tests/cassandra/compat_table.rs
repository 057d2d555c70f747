//! docs/compatibility.md: a section for each release, so that one of them can be tried anew while
//! the others stay as they were told.

use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Whether it came back, or why not; none: there is no such table.
pub(super) type Cell = Option<Result<(), String>>;

const INTRODUCTION: &str = "\
# Compatibility

Which way of restoring takes which kind of table. Written by `scripts/compat`, which tries every
cell with a real Cassandra: the tables are emptied, restored from an encrypted backup, and compared
row by row. «schema»: dropped, created from what `cassmount schema` prints, and described alike.
«load»: dropped, then `restore load --create-schema`; where it is no column, the release was tried
before it was one. `nodetool refresh` is «instant».
";

/// What a table of one release says, from its heading to its reasons.
pub(super) fn section(release: &str, ways: &[&str], rows: &[(&str, Vec<Cell>)]) -> String {
    let mut text = format!("## {release}\n| table | {} |\n|---|{}\n", ways.join(" | "), "---|".repeat(ways.len()));
    let mut why: Vec<&str> = Vec::new();
    for (kind, cells) in rows {
        let shown = cells.iter().map(|cell| match cell {
            None => "no such table".to_owned(),
            Some(Ok(())) => "yes".to_owned(),
            Some(Err(reason)) => {
                let number = why.iter().position(|of| of == reason).unwrap_or_else(|| {
                    why.push(reason);
                    why.len() - 1
                });
                format!("no ({})", number + 1)
            }
        });
        let _ = writeln!(text, "| {kind} | {} |", shown.collect::<Vec<_>>().join(" | "));
    }
    for (number, reason) in why.iter().enumerate() {
        let _ = writeln!(text, "{}{}. {reason}", if number == 0 { "\n" } else { "" }, number + 1);
    }
    text
}

/// The document with the sections of `tried`; of other releases, what it said before.
pub(super) fn document(before: &str, releases: &[&str], tried: &[(&str, String)]) -> String {
    let mut text = INTRODUCTION.to_owned();
    for release in releases {
        let new = tried.iter().find(|(name, _)| name == release).map(|(_, section)| section.clone());
        if let Some(section) = new.or_else(|| section_of(before, release)) {
            let _ = write!(text, "\n{}\n", section.trim_end());
        }
    }
    text
}

/// The section of a release in a document.
fn section_of(document: &str, release: &str) -> Option<String> {
    let sections = document.split("\n## ").skip(1);
    let found = sections.into_iter().find(|text| text.lines().next() == Some(release))?;
    Some(format!("## {found}"))
}

/// Cells of a release that a document tells as working: release, kind, way.
pub(super) fn working(document: &str, release: &str) -> BTreeSet<[String; 3]> {
    let section = section_of(document, release).unwrap_or_default();
    let words = |line: &str| line.trim_matches('|').split('|').map(|word| word.trim().to_owned()).collect::<Vec<_>>();
    let mut lines = section.lines().filter(|line| line.starts_with('|') && !line.starts_with("|--")).map(words);
    let ways = lines.next().unwrap_or_default();
    let of_row = |row: Vec<String>| {
        let cells = ways.iter().zip(&row).skip(1).filter(|(_, cell)| *cell == "yes");
        cells.map(|(way, _)| [release.to_owned(), row[0].clone(), way.clone()]).collect::<Vec<_>>()
    };
    lines.flat_map(of_row).collect()
}

#[test]
fn one_release_is_told_anew_and_the_others_stay() {
    let releases = ["2.0", "1.0"];
    let no = || Some(Err("it fails".to_owned()));
    let old = section("1.0", &["a", "b"], &[("plain", vec![Some(Ok(())), no()]), ("sai", vec![None, no()])]);
    let before = document("", &releases, &[("1.0", old)]);
    assert!(
        before.ends_with("| plain | yes | no (1) |\n| sai | no such table | no (1) |\n\n1. it fails\n"),
        "{before}"
    );
    let new = section("2.0", &["a"], &[("plain", vec![Some(Ok(()))])]);
    let both = document(&before, &releases, &[("2.0", new.clone())]);
    assert!(both.contains(&format!("\n{new}\n## 1.0\n")) && both.ends_with("1. it fails\n"), "{both}");
    assert_eq!(document(&both, &releases, &[]), both);
    let cell = |release: &str| [release, "plain", "a"].map(str::to_owned);
    assert_eq!(working(&both, "1.0"), [cell("1.0")].into());
    assert_eq!(working(&both, "2.0"), [cell("2.0")].into());
}
