//! Which backups: SOURCE, HOST and POINT.

use crate::cli::words;
use cassmount::catalog::when::fixed_time;

/// A restore point of one host.
#[derive(clap::Args, Debug)]
pub(in crate::cli) struct PointArgs {
    /// Where the backups are; `-` for the configuration's bucket
    #[arg(value_name = "SOURCE")]
    pub(in crate::cli) source_place: String,
    /// Whose backups
    #[arg(value_parser = parse_host)]
    pub(in crate::cli) host: String,
    /// A backup set's name, `latest`, or any time for the newest restore point not after it:
    /// 2026-11-21, 2026-11-21-03-15 (in the host's time), 2026-11-21T03:15:00Z, unix seconds,
    /// `yesterday`, or a time ago: 6h, 2d
    pub(in crate::cli) point: String,
}

/// A source, one of its hosts, or one restore point of that.
#[derive(clap::Args, Debug)]
pub(in crate::cli) struct ScopeArgs {
    /// Where the backups are; `-`, or nothing, for the configuration's bucket
    #[arg(value_name = "SOURCE")]
    pub(in crate::cli) source_place: Option<String>,
    /// This host only
    #[arg(value_parser = parse_host)]
    pub(in crate::cli) host: Option<String>,
    /// Only what this restore point of HOST needs: a set's name, `latest`, or any time as for
    /// `chain`
    pub(in crate::cli) point: Option<String>,
}

/// A host's name; the shell's completion of a directory puts a slash behind it.
pub(in crate::cli) fn parse_host(name: &str) -> Result<String, String> {
    let name = name.trim_end_matches('/');
    if name.is_empty() { Err("expected the name of a host".into()) } else { Ok(name.to_owned()) }
}

/// A time that is told from now (`2d`) as the moment that it is, for a mount, which lives long. All
/// else stays as it is.
#[expect(clippy::unnecessary_wraps, reason = "a parser of clap's")]
pub(in crate::cli) fn parse_moment(text: &str) -> Result<String, String> {
    Ok(fixed_time(text, words::now(), 0).unwrap_or_else(|| text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_completed_name_is_the_host() {
        for name in ["cass-a", "cass-a/", "cass-a//"] {
            assert_eq!(parse_host(name).as_deref(), Ok("cass-a"), "{name}");
        }
        assert!(parse_host("/").is_err() && parse_host("").is_err());
    }
}
