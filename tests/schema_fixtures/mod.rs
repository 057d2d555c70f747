//! The fixtures of `tests/data/system_schema`: SSTables of real nodes with what sstabledump says of each.

#![allow(dead_code)] // Each test binary uses its part.

use std::collections::BTreeMap;
use std::path::Path;

/// The archives, each named for the version that wrote it and the SSTable format.
pub(crate) fn archives() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".tar.zst"))
        .collect();
    names.sort();
    names
}

/// The files of an archive: `<host>/<set>/system_schema/<table>/<component>`, and `<sstable>-Data.json` as dumped.
pub(crate) fn files(archive: &str) -> BTreeMap<String, Vec<u8>> {
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
pub(crate) type Components = Vec<(String, Vec<u8>)>;

/// The files of an archive per host, set and table.
pub(crate) fn tables(archive: &str) -> BTreeMap<(String, String, String), Components> {
    let mut tables = BTreeMap::<_, Components>::new();
    for (path, bytes) in files(archive) {
        let mut parts = path.split('/').map(str::to_owned);
        let (host, set, keyspace, table, file) =
            (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap(), parts.next());
        assert_eq!(keyspace, "system_schema");
        tables.entry((host, set, table)).or_default().push((file.unwrap(), bytes));
    }
    tables
}

fn directory() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/system_schema")
}
