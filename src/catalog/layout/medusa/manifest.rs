//! Medusa's manifest.json: the only truth about what belongs to a backup. Pure.
//!
//! ```text
//! [{"keyspace": "ks", "columnfamily": "table-<id>", "objects": [{"path": "[<prefix>/]<fqdn>/…/<file>", "MD5": "…", "size": 7}]}]
//! ```
//!
//! `MD5` is in hex (local storage, S3) or base64 (GCS, Azure), or an ETag of S3 that is no MD5 (`<hex>-<parts>`).

use crate::cassandra::TableName;
use crate::catalog::layout::listed::{ListedObject, ListedTable, Sum};
use serde::Deserialize;

/// What was understood of a manifest.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct MedusaManifest {
    /// Sorted by table; each once.
    pub(super) tables: Vec<ListedTable>,
    /// Entries that are of no table, or of a path that cannot be one of the host.
    pub(super) odd: Vec<String>,
}

#[derive(Deserialize)]
struct Section {
    keyspace: String,
    columnfamily: String,
    objects: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    path: String,
    #[serde(rename = "MD5")]
    md5: Option<String>,
    size: u64,
}

impl MedusaManifest {
    /// The error is a sentence for a person.
    pub(super) fn parse(bytes: &[u8], host: &str) -> Result<Self, String> {
        let sections: Vec<Section> =
            serde_json::from_slice(bytes).map_err(|error| format!("it is no manifest of Medusa's: {error}"))?;
        let mut manifest = Self::default();
        for Section { keyspace, columnfamily, objects } in sections {
            let Some((table, id)) = TableName::parse_directory(&columnfamily) else {
                manifest.odd.push(format!("{keyspace}/{columnfamily}"));
                continue;
            };
            if !TableName::is_valid_part(&keyspace) {
                manifest.odd.push(format!("{keyspace}/{columnfamily}"));
                continue;
            }
            let directory = format!("/{keyspace}/{columnfamily}/");
            let mut listed = Vec::with_capacity(objects.len());
            for entry in objects {
                match object(&entry, host, &directory) {
                    Some(object) => listed.push(object),
                    None => manifest.odd.push(entry.path),
                }
            }
            manifest.tables.push(ListedTable { table: TableName::new(keyspace, table), id, objects: listed });
        }
        manifest.tables.sort_by(|a, b| (&a.table, a.id).cmp(&(&b.table, b.id)));
        Ok(manifest)
    }

    pub(super) fn table(&self, directory: &str) -> Option<&ListedTable> {
        self.tables.iter().find(|table| table.to_string() == directory)
    }
}

/// The path in a manifest begins with Medusa's prefix, if it has one, which is part of SOURCE here: the host's directory is where it begins.
fn object(entry: &Entry, host: &str, directory: &str) -> Option<ListedObject> {
    let of_host = format!("{host}/");
    let start = if entry.path.starts_with(&of_host) { 0 } else { entry.path.find(&format!("/{of_host}"))? + 1 };
    let key = entry.path[start..].to_owned();
    let path_at = key.find(directory)? + directory.len();
    let whole = key.split('/').all(|part| !matches!(part, "" | "." | ".."));
    whole.then(|| ListedObject {
        path: key[path_at..].to_owned(),
        directory: path_at,
        size: entry.size,
        sum: sum(entry.md5.as_deref().unwrap_or_default()),
        key,
    })
}

fn sum(text: &str) -> Sum {
    let text = text.trim().trim_matches('"');
    let of_hex = |hex: &str| u128::from_str_radix(hex, 16).ok().filter(|_| hex.len() == 32 && hex.is_ascii());
    if let Some(sum) = of_hex(text) {
        return Sum::Md5(sum.to_be_bytes());
    }
    if text.split_once('-').is_some_and(|(hex, parts)| of_hex(hex).is_some() && parts.parse::<u32>().is_ok()) {
        return Sum::ETag(text.to_owned());
    }
    base64(text).map_or(Sum::Unknown, Sum::Md5)
}

/// 16 bytes in base64.
fn base64(text: &str) -> Option<[u8; 16]> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.strip_suffix("==").filter(|digits| digits.len() == 22)?;
    let mut bytes = Vec::with_capacity(16);
    let (mut bits, mut count) = (0_u32, 0);
    for digit in digits.bytes() {
        bits = bits << 6 | DIGITS.iter().position(|&d| d == digit)? as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "763dab90e55511f185a85b65bc0eb462";

    #[test]
    fn a_manifest_names_tables_and_their_files() {
        let json = format!(
            r#"[{{"keyspace":"shop","columnfamily":"users-{ID}","objects":[
                {{"path":"pre/fix/node1/data/shop/users-{ID}/nb-1-big-Data.db","MD5":"00112233445566778899aabbccddeeff","size":7}},
                {{"path":"node1/b1/data/shop/users-{ID}/.by_mail/nb-1-big-Data.db","MD5":"ABEiM0RVZneImaq7zN3u/w==","size":8}},
                {{"path":"node1/data/shop/users-{ID}/nb-2-big-Data.db","MD5":"00112233445566778899aabbccddeeff-3","size":9}},
                {{"path":"node1/data/shop/users-{ID}/nb-2-big-Index.db","MD5":"no-md5-hash","size":1}},
                {{"path":"node2/data/shop/users-{ID}/nb-2-big-Index.db","MD5":"","size":1}},
                {{"path":"node1/data/shop/users-{ID}/../x","MD5":"","size":1}}]}},
              {{"keyspace":"dse","columnfamily":"nodes","objects":[]}}]"#
        );
        let manifest = MedusaManifest::parse(json.as_bytes(), "node1").unwrap();
        let md5: [u8; 16] = 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff_u128.to_be_bytes();
        let table = &manifest.tables[0];
        assert_eq!(table.to_string(), format!("shop/users-{ID}"));
        assert_eq!(manifest.table(&table.to_string()), Some(table));
        let found: Vec<_> =
            table.objects.iter().map(|object| (&*object.path, object.size, object.sum.clone())).collect();
        assert_eq!(
            found,
            [
                ("nb-1-big-Data.db", 7, Sum::Md5(md5)),
                (".by_mail/nb-1-big-Data.db", 8, Sum::Md5(md5)),
                ("nb-2-big-Data.db", 9, Sum::ETag("00112233445566778899aabbccddeeff-3".into())),
                ("nb-2-big-Index.db", 1, Sum::Unknown),
            ]
        );
        assert_eq!(table.objects[0].key, format!("node1/data/shop/users-{ID}/nb-1-big-Data.db"));
        let second = &table.objects[1];
        assert_eq!(second.key[..second.directory], format!("node1/b1/data/shop/users-{ID}/"));
        assert_eq!(manifest.odd.len(), 3, "{:?}", manifest.odd);
        for bad in ["", "{}", "[1]", r#"[{"keyspace":"a"}]"#] {
            assert!(MedusaManifest::parse(bad.as_bytes(), "node1").is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_sum_is_taken_without_harm(text in "[A-Za-z0-9+/=-]{0,40}|.{0,30}") {
            let _ = sum(&text);
        }
    }
}
