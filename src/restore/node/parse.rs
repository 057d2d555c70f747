//! What nodetool prints, as values. The texts of the tests are those of 4.0.19, 4.1.10 and 5.0.6.

use crate::cassandra::TableName;
use crate::{Error, Kind, Result};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// What a node says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    pub datacenter: String,
    pub tokens: BTreeSet<String>,
}

/// One token of the ring, and its owner.
#[derive(Clone, PartialEq, Debug)]
pub struct RingToken {
    pub datacenter: String,
    pub address: String,
    /// Whether the others see its node as up.
    pub is_up: bool,
    /// Percent of the keyspace that the node holds, replicas counted; `None` where nodetool shows
    /// `?`.
    pub owns: Option<f64>,
    pub token: String,
}

fn not_understood(command: &str, why: &str) -> Error {
    Error::new(Kind::Unsupported, format!("what `nodetool {command}` prints is not understood: {why}"))
}

/// Of `nodetool datapaths`: `Keyspace: k`, `Table: t`, `Paths:` and a line for each.
pub(super) fn data_paths(text: &str) -> Result<BTreeMap<TableName, Vec<PathBuf>>> {
    let mut paths: BTreeMap<TableName, Vec<PathBuf>> = BTreeMap::new();
    let (mut keyspace, mut table) = (None, None);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("Keyspace: ") {
            keyspace = Some(name);
        } else if let Some(name) = line.strip_prefix("Table: ") {
            table = keyspace.map(|keyspace| TableName::new(keyspace, name));
        } else if line.starts_with('/') {
            let table = table.clone().ok_or_else(|| not_understood("datapaths", "a path of no table"))?;
            paths.entry(table).or_default().push(PathBuf::from(line));
        }
    }
    Ok(paths)
}

/// Of `nodetool sjk mx` with the attribute `DataPaths` of tables: `DOMAIN:type=Tables,keyspace=K,table=T`,
/// and its directories in brackets on a line of their own.
pub(super) fn data_paths_of_beans(text: &str) -> Result<BTreeMap<TableName, Vec<PathBuf>>> {
    let mut paths: BTreeMap<TableName, Vec<PathBuf>> = BTreeMap::new();
    let mut table = None;
    for line in text.lines().map(str::trim) {
        if let Some((_, names)) = line.split_once(":type=Tables,") {
            let name = |key: &str| names.split(',').find_map(|pair| pair.strip_prefix(key));
            table = name("keyspace=").zip(name("table=")).map(|(keyspace, table)| TableName::new(keyspace, table));
        } else if let Some(list) = line.strip_prefix("[/").and_then(|rest| rest.strip_suffix(']')) {
            let table = table.take().ok_or_else(|| not_understood("sjk mx", "directories of no table"))?;
            // Whole paths: a comma and a blank may be in a name.
            paths.insert(table, list.split(", /").map(|path| PathBuf::from(format!("/{path}"))).collect());
        }
    }
    Ok(paths)
}

/// Of `nodetool info -T`: `Name : value` lines, one `Token` line for each token.
pub(super) fn identity(text: &str) -> Result<Identity> {
    let fields =
        || text.lines().filter_map(|line| line.split_once(':')).map(|(name, value)| (name.trim(), value.trim()));
    let datacenter = fields().find(|(name, _)| *name == "Data Center").map(|(_, value)| value.to_owned());
    let tokens = fields().filter(|(name, _)| *name == "Token").map(|(_, value)| value.to_owned()).collect();
    let datacenter = datacenter.ok_or_else(|| not_understood("info", "no data centre"))?;
    Ok(Identity { datacenter, tokens })
}

/// Of `nodetool ring KEYSPACE`: a part for each data centre, in it a line for each token: address,
/// rack, status, state, load (two words, or `?`), owns, token.
pub(super) fn ring(text: &str) -> Result<Vec<RingToken>> {
    let mut tokens = Vec::new();
    let mut datacenter = "";
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("Datacenter: ") {
            datacenter = name.trim();
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        // Everything else (headings, the wrapped-around token, notes at the end) has no status in
        // the third place.
        let [address, _, status @ ("Up" | "Down" | "?"), _, .., owns, token] = words[..] else { continue };
        let owns = match owns.strip_suffix('%') {
            Some(percent) => Some(percent.parse().map_err(|_| not_understood("ring", line))?),
            None if owns == "?" => None,
            None => return Err(not_understood("ring", line)),
        };
        tokens.push(RingToken {
            datacenter: datacenter.to_owned(),
            address: address.to_owned(),
            is_up: status == "Up",
            owns,
            token: token.to_owned(),
        });
    }
    if tokens.is_empty() { Err(not_understood("ring", "no token in it")) } else { Ok(tokens) }
}

/// Of `nodetool tablestats -F json KEYSPACE.TABLE …`, by the order of `tables`.
pub(super) fn open_sstables(text: &str, tables: &[&TableName]) -> Result<Vec<u64>> {
    let json: Value = serde_json::from_str(text).map_err(|e| not_understood("tablestats", &e.to_string()))?;
    let count = |table: &&TableName| {
        let count = &json[&*table.keyspace]["tables"][&*table.table]["sstable_count"];
        count.as_u64().ok_or_else(|| not_understood("tablestats", &format!("no sstable_count of {table}")))
    };
    tables.iter().map(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_tables() {
        let text = "Keyspace: shop\n\tTable: users.users_email\n\tPaths:\n\t\t/d/data/shop/users-0ff3/.users_email\n\n\tTable: users\n\tPaths:\n\t\t/d/data/shop/users-0ff3\n\t\t/e/data/shop/users-0ff3\n\nKeyspace: system\n\tTable: local\n\tPaths:\n\t\t/d/data/system/local-7ad5\n";
        let paths = data_paths(text).unwrap();
        assert_eq!(paths.len(), 3);
        let users: Vec<_> = paths[&TableName::new("shop", "users")].iter().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(users, ["/d/data/shop/users-0ff3", "/e/data/shop/users-0ff3"]);
        assert!(data_paths("/d").is_err());
    }

    #[test]
    fn directories_of_tables_as_beans_tell_them() {
        let text = "org.apache.cassandra.db:type=Tables,keyspace=shop,table=users\n\
            [/d/data/shop/users-0ff3, /e, f/shop/users-0ff3]\n\
            org.apache.cassandra.db:type=Tables,keyspace=system,table=local\n[/d/data/system/local-7ad5]\n";
        let paths = data_paths_of_beans(text).unwrap();
        let users: Vec<_> = paths[&TableName::new("shop", "users")].iter().map(|path| path.to_str().unwrap()).collect();
        assert_eq!(users, ["/d/data/shop/users-0ff3", "/e, f/shop/users-0ff3"]);
        assert_eq!(paths[&TableName::new("system", "local")], [PathBuf::from("/d/data/system/local-7ad5")]);
        assert_eq!(paths.len(), 2);
        assert!(data_paths_of_beans("[/d]").is_err());
        assert!(data_paths_of_beans("usage").unwrap().is_empty());
    }

    #[test]
    fn who_the_node_is() {
        let text = "ID                     : b9ce065c-b72f-407f-b2fd-bc6e77074182\nData Center            : dc1\nKey Cache              : entries 9, size 720 bytes\nToken                  : -8316772561407343569\nToken                  : 72746556272204204\nBootstrap state        : COMPLETED\n";
        let identity = identity(text).unwrap();
        assert_eq!(identity.datacenter, "dc1");
        assert_eq!(identity.tokens.into_iter().collect::<Vec<_>>(), ["-8316772561407343569", "72746556272204204"]);
        assert!(super::identity("nonsense").is_err());
    }

    #[test]
    fn the_ring() {
        let text = "
Datacenter: dc1
==========
Address            Rack        Status State   Load            Owns                Token
                                                                                  7223642893961863412
127.0.0.202        rack1       Up     Normal  158.96 KiB      100.00%             -8316772561407343569
2001:db8::1        rack1       Down   Normal  ?               50.00%              7223642893961863412

Datacenter: dc2
==========
Address            Rack        Status State   Load            Owns                Token
127.0.0.3          rack1       Up     Joining 1 bytes         ?                   5

  Warning: \"nodetool ring\" is used to output all the tokens of a node.
  To view status related info of a node use \"nodetool status\" instead.
";
        let ring = ring(text).unwrap();
        let seen: Vec<_> = ring.iter().map(|t| (&*t.datacenter, &*t.address, t.owns, &*t.token)).collect();
        let expected = [
            ("dc1", "127.0.0.202", Some(100.0), "-8316772561407343569"),
            ("dc1", "2001:db8::1", Some(50.0), "7223642893961863412"),
            ("dc2", "127.0.0.3", None, "5"),
        ];
        assert_eq!(seen, expected);
        assert!(super::ring("nodetool: Keyspace shop does not exist").is_err());
    }

    #[test]
    fn how_many_sstables_are_open() {
        let text = r#"{"shop": {"read_count": 600, "tables": {"users": {"sstable_count": 2, "twcs": null}}}, "total_number_of_tables": 1}"#;
        let (users, orders) = (TableName::new("shop", "users"), TableName::new("shop", "orders"));
        assert_eq!(open_sstables(text, &[&users]).unwrap(), [2]);
        assert!(open_sstables(text, &[&users, &orders]).is_err());
        assert!(open_sstables("{", &[&users]).is_err());
    }
}
