//! SOURCE, as a person writes it.

use crate::{Error, Result};
use std::fmt;
use std::path::PathBuf;

/// Where a backup is. Prefixes are without slashes at their ends; `""` is none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    S3 {
        bucket: String,
        prefix: String,
    },
    Gcs {
        bucket: String,
        prefix: String,
    },
    /// The storage account comes from the environment (`AZURE_STORAGE_ACCOUNT_NAME`).
    Azure {
        container: String,
        prefix: String,
    },
    Local(PathBuf),
}

impl Source {
    /// `s3://bucket[/prefix]`, `gs://bucket[/prefix]`, `az://container[/prefix]`, `file:///dir`, or
    /// a directory.
    ///
    /// Whether it exists is not looked at. A relative directory may contain `://` when it begins
    /// with `./`.
    pub fn parse(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(Error::invalid("the source is empty"));
        }
        if let Some(path) = text.strip_prefix("file:") {
            return file_url(text, path);
        }
        let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| !scheme.contains('/')) else {
            return Ok(Self::Local(PathBuf::from(text)));
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let (bucket, prefix) = (bucket_name(text, bucket)?, key_prefix(text, prefix)?);
        match scheme.to_ascii_lowercase().as_str() {
            "s3" => Ok(Self::S3 { bucket, prefix }),
            "gs" => Ok(Self::Gcs { bucket, prefix }),
            "az" => Ok(Self::Azure { container: bucket, prefix }),
            _ => Err(Error::invalid(format!(
                "{text}: no such kind of source; there are s3://, gs://, az://, file:// and directories"
            ))),
        }
    }
}

impl Source {
    /// What every key of a bucket's source begins with: `""` or a path ending in `/`.
    pub(super) fn key_prefix(&self) -> String {
        match self {
            Self::S3 { prefix, .. } | Self::Gcs { prefix, .. } | Self::Azure { prefix, .. } if !prefix.is_empty() => {
                format!("{prefix}/")
            }
            _ => String::new(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, bucket, prefix) = match self {
            Self::S3 { bucket, prefix } => ("s3", bucket, prefix),
            Self::Gcs { bucket, prefix } => ("gs", bucket, prefix),
            Self::Azure { container, prefix } => ("az", container, prefix),
            Self::Local(path) => return write!(f, "{}", path.display()),
        };
        write!(f, "{scheme}://{bucket}")?;
        if !prefix.is_empty() {
            write!(f, "/{prefix}")?;
        }
        Ok(())
    }
}

fn file_url(text: &str, path: &str) -> Result<Source> {
    // url takes "file:dir" for "file:///dir", which would be another directory than the one meant.
    let parsed = path.starts_with('/').then(|| url::Url::parse(text).ok()).flatten();
    let local = parsed.and_then(|url| url.to_file_path().ok());
    local.map(Source::Local).ok_or_else(|| {
        Error::invalid(format!("{text}: a file URL needs an absolute path on this machine, file:///dir"))
    })
}

fn bucket_name(text: &str, bucket: &str) -> Result<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if bucket.is_empty() || bucket.starts_with('.') || !bucket.chars().all(fits) {
        return Err(Error::invalid(format!("{text}: {bucket:?} is not a bucket's name")));
    }
    Ok(bucket.to_owned())
}

fn key_prefix(text: &str, prefix: &str) -> Result<String> {
    let prefix = prefix.trim_end_matches('/');
    if !prefix.is_empty() && components(prefix).is_none() {
        return Err(Error::invalid(format!(
            "{text}: {prefix:?} is not a prefix that objects can be addressed by: no path can have an empty part, `.` or \
             `..`; if there are such keys, move them (`aws s3 mv --recursive`)"
        )));
    }
    Ok(prefix.to_owned())
}

/// The names in a key, or `None` when it has one that no directory could hold: empty, `.`, `..`,
/// with a NUL.
pub(super) fn components(key: &str) -> Option<Vec<&str>> {
    let names: Vec<&str> = key.split('/').collect();
    let fits = |name: &&str| !matches!(*name, "" | "." | "..") && !name.contains('\0');
    names.iter().all(fits).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_people_write() {
        for (text, shown) in [
            ("s3://bucket", "s3://bucket"),
            ("s3://bucket/", "s3://bucket"),
            ("S3://bucket/a/b//", "s3://bucket/a/b"),
            ("gs://b_1/x", "gs://b_1/x"),
            ("az://container/p", "az://container/p"),
            ("file:///var/backups", "/var/backups"),
            ("file:///var/my%20backups", "/var/my backups"),
            ("file://localhost/var", "/var"),
            ("/var/backups", "/var/backups"),
            ("backups", "backups"),
            ("./s3://x", "./s3://x"),
        ] {
            assert_eq!(Source::parse(text).unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn refuses_what_cannot_be_meant() {
        for text in [
            "",
            "s3://",
            "s3:///prefix",
            "s3://a b",
            "s3://b/../x",
            "s3://b/a//b",
            "s3://b//a",
            "s4://bucket",
            "file:dir",
            "file://host/x",
            "http://x/y",
        ] {
            let error = Source::parse(text).unwrap_err();
            assert_eq!(error.kind(), crate::Kind::Invalid, "{text}: {error}");
        }
    }
}
