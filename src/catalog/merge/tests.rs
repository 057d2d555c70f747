use super::*;
use crate::cassandra::SstableId;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const ALL: [&str; 7] =
    ["Data.db", "Statistics.db", "Index.db", "CompressionInfo.db", "Digest.crc32", "Summary.db", "TOC.txt"];

/// `name:content` for an SSTable with all components; `name:content:Component,…` for some of them;
/// `=path:content` for a file.
fn source(items: &[&str]) -> Source {
    let mut files = Vec::new();
    let mut add = |path: String, content: u32| {
        files.push(SourceFile { path: path.into(), size: 100, crc32: Some(content), file: files.len() });
    };
    for item in items {
        let mut parts = item.split(':');
        let (name, content) = (parts.next().unwrap(), parts.next().unwrap().parse().unwrap());
        if let Some(path) = name.strip_prefix('=') {
            add(path.into(), content);
            continue;
        }
        let components: Vec<&str> = parts.next().map_or(ALL.to_vec(), |list| list.split(',').collect());
        for component in components {
            add(format!("{name}-{component}"), content);
        }
    }
    Source { files, tocs: HashMap::new() }
}

/// Shown SSTables as `directory/name<source`, with `!` where something is missing.
fn shown(merged: &Merged) -> Vec<String> {
    let one = |sstable: &MergedSstable| {
        let mark = if sstable.missing.is_empty() { "" } else { "!" };
        let directory = if sstable.directory.is_empty() { String::new() } else { format!("{}/", sstable.directory) };
        format!("{directory}{}<{}{mark}", sstable.name, sstable.source)
    };
    merged.sstables.iter().map(one).collect()
}

fn check(sources: &[&[&str]], expected: &[&str]) -> Merged {
    let sources: Vec<Source> = sources.iter().map(|items| source(items)).collect();
    let merged = merge(&sources, 0);
    assert_eq!(shown(&merged), expected);
    merged
}

#[test]
fn cases() {
    // The union; an identical one once, from the newest set.
    check(&[&["nb-1-big:1", "nb-2-big:2"], &["nb-2-big:2", "nb-3-big:3"]], &["nb-1-big<0", "nb-2-big<1", "nb-3-big<1"]);
    // Different ones of one name: the later gets a free generation, above all that are known.
    check(&[&["nb-1-big:1", "nb-7-big:7"], &["nb-1-big:9"]], &["nb-1-big<0", "nb-7-big<0", "nb-8-big<1"]);
    check(
        &[&["nb-1-big:1"], &["nb-1-big:2"], &["nb-1-big:3", "nb-1-big:3"]],
        &["nb-1-big<0", "nb-2-big<1", "nb-3-big<2"],
    );
    // Incomplete in the newest: from the other. Incomplete everywhere: shown.
    check(&[&["nb-1-big:1"], &["nb-1-big:1:Data.db,Index.db"]], &["nb-1-big<0"]);
    check(&[&["nb-1-big:1:Data.db,Index.db"], &["nb-1-big:1:Data.db"]], &["nb-1-big<0!"]);
    // Without Data.db, what else never changes tells.
    check(&[&["nb-1-big:1"], &["nb-1-big:1:Index.db,Statistics.db"]], &["nb-1-big<0"]);
    check(&[&["nb-1-big:1"], &["nb-1-big:2:Index.db"]], &["nb-1-big<0", "nb-2-big<1!"]);
    // Nothing tells: it is not taken for the same, and does not take the name.
    check(&[&["nb-1-big:1:Statistics.db"], &["nb-1-big:1"]], &["nb-1-big<1", "nb-2-big<0!"]);
    // Index directories count for themselves.
    check(
        &[&["nb-1-big:1", ".idx/nb-1-big:5"], &["nb-2-big:2", ".idx/nb-1-big:6"]],
        &["nb-1-big<0", "nb-2-big<1", ".idx/nb-1-big<0", ".idx/nb-3-big<1"],
    );
    // UUIDs, and the two formats.
    let uuid = "da-3h5p_080f_1i0g02006tmulenlv7-bti";
    let merged =
        check(&[&[&format!("{uuid}:1:Data.db,Partitions.db,Rows.db,Statistics.db,CRC.db")]], &[&format!("{uuid}<0")]);
    assert!(merged.notices.is_empty());
    check(&[], &[]);
}

#[test]
fn the_snapshots_own_files_are_left_out_and_others_kept() {
    let merged = check(
        &[
            &["=manifest.json:1", "=schema.cql:1", "=x/manifest.json:1", "=note.txt:1"],
            &["=note.txt:2", "=manifest.json:2"],
        ],
        &[],
    );
    let files: Vec<(&str, usize)> = merged.files.iter().map(|f| (&*f.path, f.source)).collect();
    assert_eq!(files, [("note.txt", 1), ("x/manifest.json", 0)]);
    assert_eq!(merged.notices, [Notice::OtherFileDiffers { path: "note.txt".into(), source: 1 }]);
}

#[test]
fn a_toc_tells_what_is_missing() {
    let mut sources = [source(&["nb-1-big:1"]), source(&["nb-1-big:1"])];
    let toc = sources[1].files.iter().find(|f| f.path.ends_with("TOC.txt")).unwrap().file;
    sources[1].tocs.insert(toc, vec!["Data.db".into(), "SAI+aa+x+Meta.db".into()]);
    let merged = merge(&sources, 0);
    assert_eq!(shown(&merged), ["nb-1-big<0"]);
    assert!(
        matches!(&merged.notices[..], [Notice::Completed { incomplete_in, source: 0, .. }] if incomplete_in[..] == [1])
    );
}

#[test]
fn without_checksums_the_digest_file_decides() {
    let strip = |mut source: Source| {
        for file in source.files.iter_mut().filter(|f| f.path.ends_with("Data.db")) {
            file.crc32 = None;
        }
        source
    };
    let of = |content: u32| strip(source(&[&format!("nb-1-big:{content}")]));
    assert_eq!(shown(&merge(&[of(1), of(1)], 0)), ["nb-1-big<1"]);
    assert_eq!(shown(&merge(&[of(1), of(2)], 0)), ["nb-1-big<0", "nb-2-big<1"]);
}

#[test]
fn generations_that_cassandra_could_not_read_are_not_given() {
    let last = format!("nb-{}-big", i32::MAX);
    let one = |content| source(&[&format!("{last}:{content}"), "nb-1-big:1", "nb-3-big:1"]);
    let merged = merge(&[one(1), one(2), one(3)], 0);
    assert_eq!(shown(&merged), ["nb-1-big<2", "nb-2-big<1", "nb-3-big<2", "nb-4-big<2", &format!("{last}<0")]);
    assert_eq!(shown(&merge(&[source(&["nb-1-big:1"]), source(&["nb-1-big:2"])], 41)), ["nb-1-big<0", "nb-42-big<1"]);
    assert_eq!(
        shown(&merge(&[source(&["nb-1-big:1"]), source(&["nb-1-big:2"])], u64::MAX)),
        ["nb-1-big<0", "nb-2-big<1"]
    );
}

/// Per source: SSTables (directory, generation, content, bits of the components that are there).
fn histories() -> impl Strategy<Value = Vec<Vec<(bool, u64, u32, u8)>>> {
    let components = prop_oneof![4 => Just(0x7fu8), 1 => 1u8..0x7f];
    prop::collection::vec(prop::collection::vec((prop::bool::weighted(0.2), 1u64..6, 0u32..3, components), 0..8), 0..6)
}

proptest! {
    #[test]
    fn nothing_is_lost_doubled_or_mixed(history in histories(), floor in 0u64..8) {
        let mut sources = Vec::new();
        for sstables in &history {
            let mut seen = BTreeSet::new();
            let mut source = Source::default();
            for (index, generation, content, bits) in sstables {
                if !seen.insert((index, generation)) {
                    continue;
                }
                let directory = if *index { ".idx/" } else { "" };
                for (bit, component) in ALL.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1) {
                    // Statistics differ from set to set; the rest is the SSTable's.
                    let crc32 = Some(if *component == "Statistics.db" { sources.len() as u32 } else { content * 8 + bit as u32 });
                    let path = format!("{directory}nb-{generation}-big-{component}").into();
                    source.files.push(SourceFile { path, size: 1, crc32, file: source.files.len() });
                }
            }
            sources.push(source);
        }
        let merged = merge(&sources, floor);

        let paths: BTreeSet<&str> = merged.files.iter().map(|f| &*f.path).collect();
        prop_assert_eq!(paths.len(), merged.files.len(), "each path once");
        let original = |f: &MergedFile| &sources[f.source].files[f.file];

        // One source, one original name, and all that this source has of it.
        for sstable in &merged.sstables {
            let prefix = if sstable.directory.is_empty() { String::new() } else { format!("{}/", sstable.directory) };
            let shown = format!("{prefix}{}-", sstable.name);
            let own = format!("{prefix}{}-", sstable.renumbered_from.as_ref().unwrap_or(&sstable.name));
            let files: Vec<&MergedFile> = merged.files.iter().filter(|f| f.path.starts_with(&shown)).collect();
            prop_assert!(files.iter().all(|f| f.source == sstable.source && original(f).path.starts_with(&own)));
            let there = sources[sstable.source].files.iter().filter(|f| f.path.starts_with(&own)).count();
            prop_assert_eq!(files.len(), there);
            if sstable.renumbered_from.is_some() {
                prop_assert!(matches!(sstable.name.id, SstableId::Integer(n) if n > floor));
                let taken = sources.iter().flat_map(|s| &s.files).any(|f| f.path.starts_with(&shown));
                prop_assert!(!taken, "a renumbered one takes no name that anybody has");
            }
        }

        // Every Data.db content of a name is shown exactly once, complete if it is complete
        // anywhere.
        let mut contents: BTreeMap<(&str, u32), bool> = BTreeMap::new();
        for source in &sources {
            for data in source.files.iter().filter(|f| f.path.ends_with("Data.db")) {
                let stem = data.path.strip_suffix("Data.db").unwrap();
                let has = |component: &str| source.files.iter().any(|f| *f.path == *format!("{stem}{component}"));
                let complete = ["Statistics.db", "Index.db", "CompressionInfo.db"].into_iter().all(has);
                *contents.entry((&data.path, data.crc32.unwrap())).or_default() |= complete;
            }
        }
        for ((path, content), complete) in contents {
            let shown: Vec<&MergedFile> = merged.files.iter()
                .filter(|f| *original(f).path == *path && original(f).crc32 == Some(content)).collect();
            prop_assert_eq!(shown.len(), 1, "{} {}", path, content);
            let stem = shown[0].path.strip_suffix("Data.db").unwrap();
            let has = |component: &str| paths.contains(&*format!("{stem}{component}"));
            prop_assert_eq!(["Statistics.db", "Index.db", "CompressionInfo.db"].into_iter().all(has), complete);
        }
        prop_assert_eq!(merge(&sources, floor), merged);
    }
}
