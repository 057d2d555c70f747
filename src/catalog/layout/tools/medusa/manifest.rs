//! Medusa's manifest.json: the only truth about what belongs to a backup. Pure.
//!
//! ```text
//! [{"keyspace": "ks", "columnfamily": "table-<id>", "objects": [{"path": "[<prefix>/]<fqdn>/…/<file>", "MD5": "…", "size": 7}]}]
//! ```
//!
//! `MD5` is in hex (local storage, S3) or base64 (GCS, Azure), or an ETag of S3 that is no MD5
//! (`<hex>-<parts>`).

use crate::cassandra::{SstableName, TableName};
use crate::catalog::layout::listed::{ListedTable, Sum, Unplaced};
use crate::catalog::layout::manifest_stream::MAX_FILES;
use crate::catalog::layout::table_path::table_directory;
use serde::Deserialize;
use serde::de::{Error as _, SeqAccess, Visitor};
use std::fmt;
use std::io::Read;

/// What was understood of a manifest.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct MedusaManifest {
    /// Sorted by table; each once.
    pub(super) tables: Vec<ListedTable>,
    /// Entries that are of no table, or of a path that cannot be one of the host.
    pub(super) odd: Vec<String>,
    /// How many more of these there are.
    pub(super) more_odd: usize,
    pub(super) unplaced: Unplaced,
}

/// Odd entries that are kept.
const ODD: usize = 100;

#[derive(Deserialize)]
struct Section {
    keyspace: String,
    columnfamily: String,
    objects: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    path: Box<str>,
    #[serde(rename = "MD5")]
    md5: Option<Box<str>>,
    size: u64,
}

/// Whose manifest it is.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) host: String,
    pub(super) backup: String,
}

/// Takes in a table's section after the other: only one is held as the JSON has it.
struct Sections {
    owner: Owner,
}

impl<'de> Visitor<'de> for Sections {
    type Value = MedusaManifest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of tables")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sections: A) -> Result<MedusaManifest, A::Error> {
        let mut manifest = MedusaManifest::default();
        let mut files = 0;
        while let Some(section) = sections.next_element::<Section>()? {
            files += section.objects.len();
            if files > MAX_FILES {
                return Err(A::Error::custom(format!("it lists more than {MAX_FILES} files")));
            }
            manifest.add(section, &self.owner);
        }
        manifest.tables.sort_by(|a, b| (&a.table, a.id).cmp(&(&b.table, b.id)));
        Ok(manifest)
    }
}

impl MedusaManifest {
    /// The error is a sentence for a person.
    pub(super) fn parse(json: impl Read, owner: Owner) -> Result<Self, String> {
        let mut json = serde_json::Deserializer::from_reader(json);
        let manifest = serde::Deserializer::deserialize_seq(&mut json, Sections { owner }).and_then(|manifest| {
            json.end()?;
            Ok(manifest)
        });
        manifest.map_err(|error| format!("it is no manifest of Medusa's: {error}"))
    }

    fn add(&mut self, section: Section, owner: &Owner) {
        let Section { keyspace, columnfamily, objects } = section;
        // DSE's own files are under a name like a table's.
        let has_sstables = || {
            let names = objects.iter().filter_map(|entry| entry.path.rsplit('/').next());
            names.into_iter().any(|name| SstableName::parse_component(name).is_some())
        };
        let table = table_directory(&columnfamily).filter(|(_, id)| id.is_some() || has_sstables());
        let Some((table, id)) = table.filter(|_| TableName::is_valid_part(&keyspace)) else {
            for entry in &objects {
                self.unplaced.note(None, &entry.path);
            }
            self.note(format!("{keyspace}/{columnfamily}"));
            return;
        };
        let directory = format!("/{keyspace}/{columnfamily}/");
        let objects_len = objects.len();
        let mut listed =
            ListedTable { table: TableName::new(&*keyspace, table), id, objects: Vec::with_capacity(objects_len) };
        for Entry { path, md5, size } in objects {
            let Some((start, length)) = place(&path, owner, &directory) else {
                self.unplaced.note(Some(&listed.table), &path);
                self.note(path.into());
                continue;
            };
            listed.push(&path[start..], length, size, sum(md5.as_deref().unwrap_or_default()));
        }
        self.tables.push(listed);
    }

    fn note(&mut self, odd: String) {
        if self.odd.len() < ODD {
            self.odd.push(odd);
        } else {
            self.more_odd += 1;
        }
    }

    /// The other backup that all of its files are of, where none are of its own and none shared: as
    /// another backup's manifest has it.
    pub(super) fn of_another(&self, owner: &Owner) -> Option<&str> {
        let below = format!("{}/", owner.host);
        let objects = self.tables.iter().flat_map(|table| &table.objects);
        let mut backups = objects.map(|object| backup_of(&object.directory, &below));
        let first = backups.next()??;
        (first != owner.backup && backups.all(|backup| backup == Some(first))).then_some(first)
    }

    pub(super) fn table(&self, directory: &str) -> Option<&ListedTable> {
        self.tables.iter().find(|table| table.to_string() == directory)
    }
}

/// The backup in whose own place a directory lies that begins with `below`, the host's.
fn backup_of<'a>(directory: &'a str, below: &str) -> Option<&'a str> {
    let (backup, rest) = directory.strip_prefix(below)?.split_once('/')?;
    rest.starts_with("data/").then_some(backup)
}

/// Where the host's directory begins in a path, and from there the length of the table's directory.
///
/// The path begins with Medusa's prefix, if it has one, which is part of SOURCE here. Any name in
/// the prefix may be the host's as well, so the path is read from its end:
/// `<host>/<backup>/data/<keyspace>/<table>/…`, or, shared by differential backups,
/// `<host>/data/<keyspace>/<table>/…`.
fn place(path: &str, owner: &Owner, directory: &str) -> Option<(usize, usize)> {
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return None;
    }
    let at = path.rfind(directory)?;
    let above = path[..at].strip_suffix("data")?;
    let own = [format!("{}/{}/", owner.host, owner.backup), format!("{}/", owner.host)];
    let own = own
        .iter()
        .find(|own| above.strip_suffix(own.as_str()).is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('/')));
    // A differential backup may list what another full one wrote.
    let start = if let Some(own) = own {
        above.len() - own.len()
    } else {
        let backup = above.trim_end_matches('/').rfind('/')?;
        let host = above[..backup].rfind('/').map_or(0, |slash| slash + 1);
        (above[host..backup] == *owner.host).then_some(host)?
    };
    Some((start, at + directory.len() - start))
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

    fn owner() -> Owner {
        Owner { host: "node1".into(), backup: "b1".into() }
    }

    #[test]
    fn a_prefix_may_have_the_name_of_the_host() {
        let directory = format!("/shop/users-{ID}/");
        for (prefix, below) in [
            ("", "node1/data"),
            ("backups/node1/x/", "node1/data"),
            ("node1/", "node1/data"),
            ("node1/", "node1/b1/data"),
            ("data/node1/data/", "node1/b1/data"),
            ("node1/data/shop/", "node1/b1/data"),
            // Of another backup of the host.
            ("pre/", "node1/b0/data"),
        ] {
            let path = format!("{prefix}{below}{directory}nb-1-big-Data.db");
            let (start, length) = place(&path, &owner(), &directory).unwrap_or_else(|| panic!("{path}"));
            assert_eq!(
                (start, &path[start..start + length]),
                (prefix.len(), &*format!("{below}{directory}")),
                "{path}"
            );
        }
        for other in ["node2/data", "node2/b1/data", "xnode1/data", "node1/b1/c1/data", "node1"] {
            assert_eq!(place(&format!("{other}{directory}x"), &owner(), &directory), None, "{other}");
        }
    }

    #[test]
    fn a_table_from_before_ids_is_one_if_it_has_sstables() {
        let json = r#"[{"keyspace":"shop","columnfamily":"orders","objects":[
            {"path":"node1/data/shop/orders/nb-1-big-Data.db","MD5":"","size":7}]},
            {"keyspace":"dse","columnfamily":"metadata","objects":[{"path":"node1/data/dse/metadata/x","MD5":"","size":7}]}]"#;
        let manifest = MedusaManifest::parse(json.as_bytes(), owner()).unwrap();
        assert_eq!((manifest.tables.len(), manifest.tables[0].id), (1, None));
        assert_eq!(manifest.table("shop/orders"), Some(&manifest.tables[0]));
        assert_eq!(manifest.odd, ["dse/metadata"]);
    }

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
        let manifest = MedusaManifest::parse(json.as_bytes(), owner()).unwrap();
        let md5: [u8; 16] = 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff_u128.to_be_bytes();
        let table = &manifest.tables[0];
        assert_eq!(table.to_string(), format!("shop/users-{ID}"));
        assert_eq!(manifest.table(&table.to_string()), Some(table));
        let found: Vec<_> =
            table.objects.iter().map(|object| (object.path().into_owned(), object.size, object.sum.clone())).collect();
        let found: Vec<_> = found.iter().map(|(path, size, sum)| (&**path, *size, sum.clone())).collect();
        assert_eq!(
            found,
            [
                ("nb-1-big-Data.db", 7, Sum::Md5(md5)),
                (".by_mail/nb-1-big-Data.db", 8, Sum::Md5(md5)),
                ("nb-2-big-Data.db", 9, Sum::ETag("00112233445566778899aabbccddeeff-3".into())),
                ("nb-2-big-Index.db", 1, Sum::Unknown),
            ]
        );
        assert_eq!(table.objects[0].key(), format!("node1/data/shop/users-{ID}/nb-1-big-Data.db"));
        assert_eq!(*table.objects[1].directory, format!("node1/b1/data/shop/users-{ID}/"));
        assert_eq!(manifest.odd.len(), 3, "{:?}", manifest.odd);
        // An SSTable's file of another host may hold rows of this table; others hold none.
        let unplaced = |manifest: &MedusaManifest| -> Vec<String> {
            manifest.unplaced.evidence(&manifest.tables).iter().map(|evidence| evidence.subject.to_string()).collect()
        };
        assert_eq!(unplaced(&manifest), [format!("node2/data/shop/users-{ID}/nb-2-big-Index.db of shop.users")]);
        // Of what lies all in another host's place, that place is told.
        let section = |table: &str| {
            let path = format!("node2/b1/data/shop/{table}-{ID}/nb-2-big-Data.db");
            let objects = serde_json::json!([{ "path": path, "MD5": "", "size": 1 }]);
            serde_json::json!({ "keyspace": "shop", "columnfamily": format!("{table}-{ID}"), "objects": objects })
        };
        let json = serde_json::json!([section("orders"), section("users")]).to_string();
        let copied = MedusaManifest::parse(json.as_bytes(), owner()).unwrap();
        assert_eq!(unplaced(&copied), ["node2/b1/data/shop/"]);
        for bad in ["", "{}", "[1]", r#"[{"keyspace":"a"}]"#] {
            assert!(MedusaManifest::parse(bad.as_bytes(), owner()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_sum_is_taken_without_harm(text in "[A-Za-z0-9+/=-]{0,40}|.{0,30}") {
            let _ = sum(&text);
        }
    }
}
