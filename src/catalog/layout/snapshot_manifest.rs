//! manifest.json of a table's snapshot, which Cassandra writes: the Data.db files that the snapshot
//! has. Pure.
//!
//! ```text
//! {"files": ["nb-1-big-Data.db", ".users_email/nb-1-big-Data.db"], "created_at": "2026-11-21T02:45:06.123Z", "expires_at": null, "ephemeral": false}
//! ```
//!
//! `files` from 2.1 on, `created_at` and `ephemeral` from 4.1 on.

use crate::cassandra::SstableName;
use crate::time::Timestamp;
use serde_json::Value;

/// What a manifest.json tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SnapshotManifest {
    pub(super) created_at: Option<Timestamp>,
    /// Whether a repair made it.
    pub(super) is_ephemeral: Option<bool>,
    /// Data.db files, below the table's directory.
    pub(super) files: Vec<String>,
}

impl SnapshotManifest {
    /// The error is a sentence for a person.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let json: Value = serde_json::from_slice(bytes).map_err(|error| format!("it is not JSON: {error}"))?;
        if !json.is_object() {
            return Err("it is not a JSON object".into());
        }
        let created_at = json["created_at"].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
        let files = json["files"].as_array().ok_or("it lists no files")?;
        let files = files.iter().filter_map(Value::as_str).filter(|file| is_data(file));
        Ok(Self {
            created_at: created_at.map(|time| Timestamp(time.as_microsecond())),
            is_ephemeral: json["ephemeral"].as_bool(),
            files: files.map(ToOwned::to_owned).collect(),
        })
    }
}

fn is_data(path: &str) -> bool {
    SstableName::parse_path(path).is_some_and(|(_, parsed)| parsed.component == "Data.db")
}

/// Names, in any order and in little memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct NameSum {
    /// The sum of the names' hashes.
    sum: u128,
    count: u64,
}

impl NameSum {
    pub(super) fn add(&mut self, name: &str) {
        let mut digest = [0; 16];
        blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut digest);
        self.join(&Self { sum: u128::from_le_bytes(digest), count: 1 });
    }

    /// As if all names of `other` had been added.
    pub(super) fn join(&mut self, other: &Self) {
        self.sum = self.sum.wrapping_add(other.sum);
        self.count += other.count;
    }
}

/// The names of a table's Data.db files.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct DataNames(NameSum);

impl DataNames {
    /// Takes in a file; only Data.db files count.
    pub(super) fn add(&mut self, path: &str) {
        if is_data(path) {
            self.0.add(path);
        }
    }

    pub(super) fn with(mut self, path: &str) -> Self {
        self.add(path);
        self
    }

    /// As if all names of `other` had been added.
    pub(super) fn join(&mut self, other: &Self) {
        self.0.join(&other.0);
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self == other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cassandra_writes() {
        let json = br#"{"files":["nb-1-big-Data.db",".i/nb-2-big-Data.db","notes",7],"created_at":"2026-11-21T02:45:06.123Z","ephemeral":true}"#;
        let manifest = SnapshotManifest::parse(json).unwrap();
        assert_eq!(manifest.created_at.unwrap().to_string(), "2026-11-21T02:45:06.123Z");
        assert_eq!((manifest.is_ephemeral, manifest.files.len()), (Some(true), 2));
        let names = |files: &[&str]| files.iter().fold(DataNames::default(), |names, file| names.with(file));
        let there = names(&[".i/nb-2-big-Data.db", "nb-1-big-Index.db", "nb-1-big-Data.db", "manifest.json"]);
        assert!(there.is_same(&manifest.files.iter().fold(DataNames::default(), |names, file| names.with(file))));
        assert!(!there.is_same(&names(&["nb-1-big-Data.db"])));
        let old = SnapshotManifest::parse(br#"{"files":[]}"#).unwrap();
        assert_eq!((old.created_at, old.is_ephemeral, old.files.len()), (None, None, 0));
        for odd in [&br#"{"created_at":7,"files":[]}"#[..], br#"{"created_at":"then","files":[]}"#] {
            assert_eq!(SnapshotManifest::parse(odd).unwrap().created_at, None);
        }
        for bad in [&b""[..], b"[]", b"{\"files\":[", b"{\"files\":{}}", b"{}"] {
            assert!(SnapshotManifest::parse(bad).is_err());
        }
    }
}
