//! Which components an SSTable lacks, and what Cassandra makes of that when it opens the SSTable.
//!
//! Follows Cassandra 5.0's `SSTableReaderLoadingBuilder` (primary components),
//! `CompressionInfoComponent` (TOC.txt decides whether Data.db is compressed), `TOCComponent` (a
//! listed file that is not there is logged and passed over), and for storage-attached indexes
//! `IndexDescriptor`. Tried with 5.0.6: sstabledump reads an SSTable without Index.db, Filter.db,
//! Summary.db, Digest.crc32, CRC.db or TOC.txt, and none without Statistics.db or
//! CompressionInfo.db; a node wants Index.db as well.

use super::Format;
use std::collections::BTreeSet;

/// A component that is not there although something says that it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lack {
    /// `Index.db`, `SAI+aa+docs_rank+Meta.db`, …
    pub component: String,
    pub effect: Effect,
}

/// What a missing component means.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Effect {
    /// Cassandra cannot open the SSTable.
    Unreadable,
    /// TOC.txt lists it, and what it is for is not known.
    Unknown,
    /// A part of a storage-attached index that says of itself that it is complete: Cassandra finds
    /// it damaged and builds it anew.
    IndexBroken,
    /// A part of a storage-attached index that was not complete when it was archived: Cassandra
    /// builds it.
    IndexUnfinished,
    /// Only a check that Cassandra could make.
    Unchecked,
    /// Cassandra does without, or makes it anew when it opens the SSTable.
    MadeAnew,
}

const DATA: &str = "Data.db";
const COMPRESSION_INFO: &str = "CompressionInfo.db";
const CRC: &str = "CRC.db";
const DIGEST: &str = "Digest.crc32";
/// Stands for either, where nothing tells which of them an SSTable had.
pub const NEITHER_LIST: &str = "CompressionInfo.db or CRC.db";
/// What no format does without, and what a format that has it does not do without.
const NEEDED: [&str; 6] = [DATA, "Statistics.db", COMPRESSION_INFO, "Index.db", "Partitions.db", "Rows.db"];

/// Whether these can be the lines of a TOC.txt: each lists Data.db.
pub fn is_toc(lines: &[String]) -> bool {
    lines.iter().any(|line| line.trim() == DATA)
}

/// What an SSTable with the components `present` lacks: those without which none of its format
/// opens, and those that its TOC.txt lists. One that cannot be a TOC.txt lists nothing.
pub fn lacking(format: Format, present: &[&str], toc: Option<&[String]>) -> Vec<Lack> {
    let has = |component: &str| present.contains(&component);
    let toc = toc.filter(|lines| is_toc(lines)).unwrap_or_default();
    let listed: Vec<&str> = toc.iter().map(|name| name.trim()).filter(|name| !name.is_empty()).collect();
    let needed: &[&str] = match format {
        Format::Big => &[DATA, "Statistics.db", "Index.db"],
        Format::Bti => &[DATA, "Statistics.db", "Partitions.db", "Rows.db"],
    };
    let unreadable = |component: &str| Lack { component: component.into(), effect: Effect::Unreadable };
    let mut lacks: Vec<Lack> = needed.iter().filter(|name| !has(name)).map(|name| unreadable(name)).collect();
    // One says how to cut a compressed file, the other holds the checksums of a plain one. Where
    // TOC.txt does not tell which it is, it may be the one that nothing opens without.
    if !has(COMPRESSION_INFO) && !has(CRC) && !listed.contains(&COMPRESSION_INFO) && !listed.contains(&CRC) {
        lacks.push(unreadable(NEITHER_LIST));
    }
    let mut seen: BTreeSet<&str> = needed.iter().copied().collect();
    for name in listed {
        if !has(name) && seen.insert(name) {
            let effect = match name {
                COMPRESSION_INFO => Some(Effect::Unreadable),
                CRC | DIGEST => Some(Effect::Unchecked),
                _ if is_made_anew(name) => Some(Effect::MadeAnew),
                _ if name.starts_with("SAI+") => missing_of_index(name, present),
                _ => Some(Effect::Unknown),
            };
            lacks.extend(effect.map(|effect| Lack { component: name.into(), effect }));
        }
    }
    lacks
}

/// Whether Cassandra makes this component anew where it is not there: without it, no row is lost.
fn is_made_anew(component: &str) -> bool {
    matches!(component, "Filter.db" | "Summary.db" | "TOC.txt")
}

/// Whether an SSTable of which only this component is damaged has all its rows without it.
pub fn is_spare(component: &str) -> bool {
    is_made_anew(component) || matches!(component, DIGEST | CRC)
}

/// Whether an SSTable without this component, of those that [`missing_components`] names, is one
/// that Cassandra does not open, or takes for another.
pub fn is_needed(component: &str) -> bool {
    component == NEITHER_LIST || NEEDED.contains(&component)
}

/// The names of [`lacking`]'s components.
pub fn missing_components(format: Format, present: &[&str], toc: Option<&[String]>) -> Vec<String> {
    lacking(format, present, toc).into_iter().map(|lack| lack.component).collect()
}

/// `SAI+<version>+<component>` belongs to all indexes of the SSTable,
/// `SAI+<version>+<index>+<component>` to one. A marker is written last, so it tells that the build
/// was complete; a complete index that has nothing but its marker is an empty one, whatever TOC.txt
/// lists: `None`.
fn missing_of_index(name: &str, present: &[&str]) -> Option<Effect> {
    let Some((group, _)) = name.rsplit_once('+') else { return Some(Effect::Unknown) };
    let is_of_index = group.matches('+').count() >= 2;
    let marker = format!("{group}+{}Complete.db", if is_of_index { "Column" } else { "Group" });
    if !present.contains(&&*marker) {
        return Some(Effect::IndexUnfinished);
    }
    let belongs = |other: &&&str| other.rsplit_once('+').is_some_and(|(of, _)| of == group);
    if present.iter().filter(belongs).count() == 1 { None } else { Some(Effect::IndexBroken) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toc(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_needed() {
        let big = ["Data.db", "Statistics.db", "Index.db", "CompressionInfo.db"];
        assert!(missing_components(Format::Big, &big, None).is_empty());
        assert!(missing_components(Format::Big, &big, Some(&toc(&["Data.db", "", "Index.db\r"]))).is_empty());
        assert_eq!(missing_components(Format::Big, &big, Some(&toc(&["Filter.db", "Data.db"]))), ["Filter.db"]);
        assert_eq!(missing_components(Format::Big, &big, Some(&toc(&["12345"]))), [""; 0]);
        assert_eq!(missing_components(Format::Big, &big[..3], None), ["CompressionInfo.db or CRC.db"]);
        assert_eq!(missing_components(Format::Big, &[], None).len(), 4);
        let bti = ["Data.db", "Statistics.db", "Partitions.db", "CRC.db"];
        assert_eq!(missing_components(Format::Bti, &bti, None), ["Rows.db"]);
    }

    #[test]
    fn what_cassandra_makes_of_it() {
        let all = ["Data.db", "Statistics.db", "Index.db", "CompressionInfo.db", "Filter.db", "Digest.crc32"];
        let effects = |present: &[&str], listed: &[&str]| -> Vec<Effect> {
            lacking(Format::Big, present, Some(&toc(listed))).into_iter().map(|lack| lack.effect).collect()
        };
        for (gone, effect) in [
            ("Data.db", Effect::Unreadable),
            ("Index.db", Effect::Unreadable),
            ("CompressionInfo.db", Effect::Unreadable),
            ("Filter.db", Effect::MadeAnew),
            ("Digest.crc32", Effect::Unchecked),
        ] {
            let present: Vec<&str> = all.iter().copied().filter(|name| *name != gone).collect();
            assert_eq!(effects(&present, &all), [effect], "{gone}");
            assert_eq!(is_needed(gone), effect == Effect::Unreadable, "{gone}");
        }
        // A plain Data.db is read without its checksums.
        assert_eq!(effects(&all[..3], &["Data.db", "Statistics.db", "Index.db", "CRC.db"]), [Effect::Unchecked]);
        assert_eq!(effects(&all, &["Data.db", "SI_name.db"]), [Effect::Unknown]);
    }

    #[test]
    fn storage_attached_indexes() {
        let base = ["Data.db", "Statistics.db", "Index.db", "CompressionInfo.db"];
        let index =
            ["SAI+aa+GroupComplete.db", "SAI+aa+GroupMeta.db", "SAI+aa+i+ColumnComplete.db", "SAI+aa+i+Meta.db"];
        let listed: Vec<&str> = base.iter().chain(&index).copied().collect();
        let effects = |gone: &[&str]| -> Vec<Effect> {
            let present: Vec<&str> = listed.iter().copied().filter(|name| !gone.contains(name)).collect();
            lacking(Format::Big, &present, Some(&toc(&listed))).into_iter().map(|lack| lack.effect).collect()
        };
        assert_eq!(effects(&[]), []);
        // Only deletions in the SSTable: the index is empty, and TOC.txt lists what it would have
        // otherwise.
        assert_eq!(effects(&["SAI+aa+i+Meta.db"]), []);
        assert_eq!(effects(&["SAI+aa+i+ColumnComplete.db"]), [Effect::IndexUnfinished]);
        assert_eq!(effects(&index), [Effect::IndexUnfinished; 4]);
        let more = [&listed[..], &["SAI+aa+i+Terms.db"]].concat();
        assert_eq!(lacking(Format::Big, &listed, Some(&toc(&more)))[0].effect, Effect::IndexBroken);
    }
}
