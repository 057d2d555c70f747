//! The fixtures of `tests/data/system_schema`: SSTables of real nodes with what sstabledump says of
//! each. `tests/data/system_schema/README.md` tells how they were made.

use std::collections::BTreeMap;

/// The archives, each named for the version that wrote it and the SSTable format.
pub fn archives() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".tar.zst"))
        .collect();
    names.sort();
    names
}

/// The files of an archive: `<host>/<set>/system_schema/<table>/<component>`, and
/// `<sstable>-Data.json` as dumped.
pub fn files(archive: &str) -> BTreeMap<String, Vec<u8>> {
    let tar = zstd::decode_all(std::fs::File::open(directory().join(archive)).unwrap()).unwrap();
    let mut files = BTreeMap::new();
    let mut rest = &tar[..];
    while let Some((header, after)) = rest.split_first_chunk::<512>().filter(|(header, _)| header[0] != 0) {
        let text = |field: &[u8]| String::from_utf8(field.split(|&b| b == 0).next().unwrap().to_vec()).unwrap();
        assert_eq!(header[345], 0, "long names are not used");
        let size = usize::from_str_radix(&text(&header[124..135]), 8).unwrap();
        files.insert(text(&header[..100]), after[..size].to_vec());
        rest = &after[size.next_multiple_of(512)..];
    }
    files
}

/// One SSTable's components by their names, e.g. `nb-1-big-Data.db`.
pub type Components = Vec<(String, Vec<u8>)>;

/// The files of an archive per host, set and table.
pub fn tables(archive: &str) -> BTreeMap<(String, String, String), Components> {
    let mut tables = BTreeMap::<_, Components>::new();
    for (path, bytes) in files(archive) {
        if let [host, set, "system_schema", table, file] = path.split('/').collect::<Vec<_>>()[..] {
            let table = (host.to_owned(), set.to_owned(), table.to_owned());
            tables.entry(table).or_default().push((file.to_owned(), bytes));
        }
    }
    tables
}

/// What a node said of its schema (`DESCRIBE SCHEMA WITH INTERNALS`) right after a set was taken.
#[derive(serde::Deserialize)]
pub struct Described {
    /// Microseconds since 1970.
    pub micros: i64,
    pub full: bool,
    /// Keyspace, kind, name and CQL.
    pub statements: Vec<(String, String, String, String)>,
}

/// The descriptions in an archive by set, where it has them.
pub fn described(archive: &str) -> BTreeMap<String, Described> {
    let files = files(archive).into_iter();
    let descriptions =
        files.filter_map(|(path, bytes)| Some((path.strip_suffix("/described.json")?.to_owned(), bytes)));
    descriptions
        .map(|(path, bytes)| (path.rsplit('/').next().unwrap().to_owned(), serde_json::from_slice(&bytes).unwrap()))
        .collect()
}

fn directory() -> std::path::PathBuf {
    crate::project().join("tests/data/system_schema")
}
