//! `/etc/backup/config.json`, as the backup scripts on the nodes have it and read it (with `jq -r`): `null` and `""` mean that a
//! value is not set, fields that are not named here are ignored.

use super::units::parse_rate;
use crate::keys::Passphrase;
use crate::{Error, Kind, Result};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Bytes; a real one has about two thousand.
const LONGEST: u64 = 1 << 20;

/// What is taken from the file.
#[derive(Clone, Debug, Default)]
pub struct NodeConfig {
    /// Where it was read.
    pub path: PathBuf,
    /// `s3_bucket_name`.
    pub bucket: Option<String>,
    /// `backup_backend`: `s3`, or `local` where backups are not uploaded at all.
    pub backend: Option<String>,
    pub cassandra_data_dir: Option<PathBuf>,
    pub cassandra_user: Option<String>,
    pub listen_address: Option<String>,
    /// `throttle_rate`, e.g. `50M/s`; see [`NodeConfig::throttle`].
    pub throttle_rate: Option<String>,
    /// The passphrase itself.
    pub encryption_key: Option<Passphrase>,
    /// Whether everybody on the machine may read it.
    pub world_readable: bool,
}

#[derive(Deserialize)]
struct Fields {
    s3_bucket_name: Option<String>,
    backup_backend: Option<String>,
    cassandra_data_dir: Option<PathBuf>,
    cassandra_user: Option<String>,
    listen_address: Option<String>,
    throttle_rate: Option<String>,
    encryption_key: Option<Secret>,
}

struct Secret(Zeroizing<String>);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

impl NodeConfig {
    /// Reads `path`. `Kind::NotFound` when there is none, `Kind::Invalid` with line and column when it is not such a file.
    pub fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Error::not_found(format!("there is no configuration file {shown}")),
            io::ErrorKind::PermissionDenied => {
                Error::new(Kind::Denied, format!("may not read the configuration file {shown}"))
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
        let set = |text: Option<String>| text.filter(|text| !text.is_empty() && text != "null");
        let key = fields.encryption_key.filter(|key| !key.0.is_empty() && *key.0 != "null");
        Ok(Self {
            path: path.to_owned(),
            bucket: set(fields.s3_bucket_name),
            backend: set(fields.backup_backend),
            cassandra_data_dir: fields.cassandra_data_dir.filter(|path| !path.as_os_str().is_empty()),
            cassandra_user: set(fields.cassandra_user),
            listen_address: set(fields.listen_address),
            throttle_rate: set(fields.throttle_rate),
            // The scripts write it into a file that openssl reads.
            encryption_key: key.and_then(|key| Passphrase::from_openssl_file(key.0.as_bytes())),
            world_readable: false,
        })
    }

    /// The SOURCE that it names. `Kind::Invalid` where it names none.
    pub fn source(&self) -> Result<String> {
        if let Some(backend) = self.backend.as_deref().filter(|backend| *backend != "s3") {
            let what = format!("has backup_backend {backend:?}, with which nothing is uploaded: name the SOURCE");
            return Err(self.wrong(what));
        }
        let bucket = self.bucket.as_deref().ok_or_else(|| self.wrong("has no s3_bucket_name"))?;
        Ok(format!("s3://{bucket}"))
    }

    /// `throttle_rate` in bytes per second.
    pub fn throttle(&self) -> Result<Option<u64>> {
        let rate = self.throttle_rate.as_deref().map(parse_rate).transpose();
        rate.map_err(|error| self.wrong(format!("has a bad throttle_rate: {error}")))
    }

    fn wrong(&self, what: impl fmt::Display) -> Error {
        Error::invalid(format!("{} {what}", self.path.display()))
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
        assert_eq!(config.throttle().unwrap(), Some(50 << 20));
        assert_eq!(config.encryption_key.as_ref().unwrap().expose(), "Schlüssel 2026".as_bytes());
        assert_eq!(config.cassandra_data_dir, Some("/var/lib/cassandra/data".into()));
        assert_eq!(config.cassandra_user.as_deref(), Some("cassandra"));
        let shown = format!("{config:?}");
        assert!(!shown.contains("Schl") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn what_is_empty_or_null_is_not_set() {
        let config = parse(r#"{"encryption_key": null, "throttle_rate": "", "s3_bucket_name": ""}"#).unwrap();
        assert!(config.encryption_key.is_none() && config.throttle().unwrap().is_none());
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
        let error = parse(r#"{"throttle_rate": "fast"}"#).unwrap().throttle().unwrap_err();
        assert!(error.to_string().contains("throttle_rate"), "{error}");
    }
}
