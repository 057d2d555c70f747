//! `/etc/backup/config.json`, as the backup scripts on the nodes have it and read it (with
//! `jq -r`): `null` and `""` mean that a value is not set, fields that are not named here are
//! ignored.

use crate::keys::Passphrase;
use crate::{Error, Kind, Result};
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Bytes; a real one has about two thousand.
const LONGEST: u64 = 1 << 20;

/// Names the bucket.
const BUCKET: &str = "s3_bucket_name";
/// `s3`, or `local` where backups are not uploaded at all.
const BACKEND: &str = "backup_backend";
/// The passphrase itself.
pub const ENCRYPTION_KEY: &str = "encryption_key";

/// What is taken from the file.
#[derive(Clone, Debug, Default)]
pub struct NodeConfig {
    /// Where it was read.
    pub path: PathBuf,
    /// The fields that an option declares, and those that name the bucket.
    fields: BTreeMap<&'static str, String>,
    /// `encryption_key`.
    pub encryption_key: Option<Passphrase>,
    /// Whether everybody on the machine may read it.
    pub world_readable: bool,
    /// Whether everybody on the machine may change it.
    pub world_writable: bool,
}

impl NodeConfig {
    /// Reads `path`. `Kind::NotFound` when there is none, `Kind::Invalid` with line and column when
    /// it is not such a file.
    pub fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Error::not_found(format!("there is no configuration file {shown}")),
            io::ErrorKind::PermissionDenied => {
                Error::new(Kind::Io, format!("may not read the configuration file {shown}"))
            }
            _ => Error::io(format_args!("read the configuration file {shown}"), error),
        };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.len() > LONGEST {
            return Err(Error::invalid(format!("{shown} is too large for a configuration file")));
        }
        // It does not have to grow, which would leave copies of the secret behind.
        let mut content = Zeroizing::new(Vec::with_capacity(metadata.len() as usize + 1));
        file.take(LONGEST).read_to_end(&mut content).map_err(failed)?;
        let mut config = Self::parse(&content, path)?;
        config.world_readable = metadata.permissions().mode() & 0o004 != 0;
        // Whoever writes to it decides which program is run and which bucket is read.
        config.world_writable = metadata.permissions().mode() & 0o002 != 0;
        Ok(config)
    }

    fn parse(content: &[u8], path: &Path) -> Result<Self> {
        let fields: Fields = serde_json::from_slice(content).map_err(|error| {
            // Its own words may repeat a value, which may be the secret.
            let what = match error.classify() {
                serde_json::error::Category::Data => "a value is not of the type that it must have (text)",
                serde_json::error::Category::Eof => "it ends too early",
                _ => "it is not JSON",
            };
            let (line, column) = (error.line(), error.column());
            Error::invalid(format!("{}, line {line}, column {column}: {what}", path.display()))
        })?;
        let key = fields.encryption_key.filter(|key| is_set(&key.0));
        Ok(Self {
            path: path.to_owned(),
            fields: fields.plain,
            // The scripts write it into a file that openssl reads.
            encryption_key: key.and_then(|key| Passphrase::from_openssl_file(key.0.as_bytes())),
            world_readable: false,
            world_writable: false,
        })
    }

    /// A field that an option declares; `None` where it is not set.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// The SOURCE that it names. `Kind::Invalid` where it names none.
    pub fn source(&self) -> Result<String> {
        if let Some(backend) = self.field(BACKEND).filter(|backend| *backend != "s3") {
            let what = format!("has {BACKEND} {backend:?}, with which nothing is uploaded: name the SOURCE");
            return Err(self.wrong(what));
        }
        let bucket = self.field(BUCKET).ok_or_else(|| self.wrong(format_args!("has no {BUCKET}")))?;
        Ok(format!("s3://{bucket}"))
    }

    fn wrong(&self, what: impl fmt::Display) -> Error {
        Error::invalid(format!("{} {what}", self.path.display()))
    }
}

struct Fields {
    plain: BTreeMap<&'static str, String>,
    encryption_key: Option<Secret>,
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the fields of a configuration file")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Fields { plain: BTreeMap::new(), encryption_key: None };
        while let Some(name) = map.next_key::<String>()? {
            if name == ENCRYPTION_KEY {
                fields.encryption_key = map.next_value()?;
            } else if let Some(name) = fields_read().find(|field| *field == name) {
                // As `jq -r` prints it.
                let text = match map.next_value()? {
                    Value::Null => continue,
                    Value::String(text) => text,
                    value @ (Value::Bool(_) | Value::Number(_)) => value.to_string(),
                    Value::Array(_) | Value::Object(_) => return Err(A::Error::custom("neither text nor a number")),
                };
                if is_set(&text) {
                    fields.plain.insert(name, text);
                }
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(fields)
    }
}

/// The fields that are taken, but for the passphrase.
pub fn fields_read() -> impl Iterator<Item = &'static str> {
    [BUCKET, BACKEND].into_iter().chain(super::table::all().filter_map(|row| row.field))
}

fn is_set(text: &str) -> bool {
    !text.is_empty() && text != "null"
}

struct Secret(Zeroizing<String>);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields of a node's file, in its order.
    const NODE: &str = r#"{
    "s3_bucket_name": "cass-backups",
    "backup_backend": "s3",
    "cassandra_data_dir": "/var/lib/cassandra/data",
    "listen_address": "10.0.0.1",
    "seeds_list": ["10.0.0.1"],
    "upload_streaming": false,
    "parallelism": 4,
    "throttle_rate": "50M/s",
    "encryption_key": "Schlüssel 2026\n",
    "backup_exclude_keyspaces": [],
    "cassandra_user": "cassandra",
    "cassandra_password": "other secret",
    "ssl_enabled": true
}"#;

    fn parse(text: &str) -> Result<NodeConfig> {
        NodeConfig::parse(text.as_bytes(), Path::new("/etc/backup/config.json"))
    }

    #[test]
    fn takes_what_it_needs_of_a_nodes_file() {
        let config = parse(NODE).unwrap();
        assert_eq!(config.source().unwrap(), "s3://cass-backups");
        assert_eq!(config.field("throttle_rate"), Some("50M/s"));
        assert_eq!(config.encryption_key.as_ref().unwrap().expose(), "Schlüssel 2026".as_bytes());
        assert_eq!(config.field("cassandra_data_dir"), Some("/var/lib/cassandra/data"));
        assert_eq!(config.field("cassandra_user"), None, "nothing declares it");
        let shown = format!("{config:?}");
        assert!(!shown.contains("Schl") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn what_is_empty_or_null_is_not_set() {
        let config = parse(r#"{"encryption_key": null, "throttle_rate": "", "s3_bucket_name": ""}"#).unwrap();
        assert!(config.encryption_key.is_none() && config.field("throttle_rate").is_none());
        assert!(config.source().unwrap_err().to_string().contains("s3_bucket_name"));
        let local = parse(r#"{"backup_backend": "local", "s3_bucket_name": "b"}"#).unwrap();
        assert!(local.source().unwrap_err().to_string().contains("\"local\""));
    }

    #[test]
    fn a_bad_file_is_named_with_line_and_column_but_never_quoted() {
        for (text, place) in [
            ("{\n  \"encryption_key\": \"hunter2\"\n  \"x\": 1}", "line 3, column 3"),
            ("{\"encryption_key\": 424242}", "line 1, column "),
            ("{\"encryption_key\": \"hunter2", "line 1, column "),
            ("{\"encryption_key\": \"hunter2\"} x", "line 1, column "),
            ("{\"encryption_key\": [\"hunter2\"]}", "line 1, column "),
            ("", "line 1, column 0"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with("/etc/backup/config.json, ") && error.contains(place), "{error}");
            assert!(!error.contains("hunter2") && !error.contains("424242"), "{error}");
        }
        assert!(parse(r#"{"throttle_rate": ["50M"]}"#).is_err());
    }
}
