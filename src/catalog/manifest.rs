//! backup_manifest.json: tolerant of anything but a missing kind or time, because a set without
//! these has no place in a chain.

use super::local::{LocalTime, offset_between};
use crate::cassandra::{Automatic, TableName};
use crate::time::Timestamp;
use jiff::fmt::temporal::{Pieces, PiecesOffset};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// What the format calls it.
pub(super) const NAME: &str = "backup_manifest.json";

/// Full or incremental.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetKind {
    /// A snapshot of every table.
    Full,
    /// What was flushed since the set before.
    Incremental,
}

impl SetKind {
    /// As the format's manifests call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Incremental => "incremental",
        }
    }
}

/// What backup_manifest.json told.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum ManifestState {
    /// There is none: the set did not finish.
    Missing,
    /// There is one that cannot be used, and why.
    Damaged(Arc<str>),
    /// There is one that the store does not give out, and why: refused, failing, deleted since it
    /// was listed. It may be good.
    Unreadable(Arc<str>),
    Good(Manifest),
}

impl ManifestState {
    /// Whether the store may give it out another time.
    pub fn is_unreadable(&self) -> bool {
        matches!(self, Self::Unreadable(_))
    }

    pub fn good(&self) -> Option<&Manifest> {
        match self {
            Self::Good(manifest) => Some(manifest),
            _ => None,
        }
    }
}

/// The manifest's fields that matter here.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub kind: SetKind,
    /// Absolute time of the set (`timestamp_utc` with its offset): when the script had finished.
    pub time: Timestamp,
    /// Nothing but the store, or the set's name, tells that time.
    pub is_stored: bool,
    /// The UTC offset that `timestamp_utc` carries, seconds. 0 says nothing: some scripts write UTC
    /// whatever the host's zone.
    pub stated_offset: i32,
    pub cluster: Option<Arc<str>>,
    pub datacenter: Option<Arc<str>>,
    pub rack: Option<Arc<str>>,
    pub address: Option<Arc<str>>,
    pub tokens: Arc<[Arc<str>]>,
    /// Incremental: how many tables it lists; [`super::BackupSet::missing`] names those without an
    /// archive.
    pub tables_listed: Option<u32>,
    /// Full: how many tables the script counted. It counts excluded keyspaces too, so it is only an
    /// upper bound.
    pub table_count: Option<u64>,
    /// What in it is odd, for reports.
    pub warnings: Vec<Arc<str>>,
    pub scope: Scope,
}

/// What a full stands for in the chains after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Scope {
    /// All tables that were to be backed up: one that is not in it was not there.
    #[default]
    Whole,
    /// Some tables: those that it lacks may be in an older full.
    Some,
    /// Nothing: Cassandra made it by itself.
    Apart(Automatic),
}

/// A manifest and the tables that it lists.
#[derive(Clone, PartialEq, Debug)]
pub struct ParsedManifest {
    pub manifest: Manifest,
    /// Incremental: the tables it says it holds.
    pub tables: Option<Vec<TableName>>,
}

impl ParsedManifest {
    /// Takes the set for what it is, where its manifest says that it is of the other kind: those of
    /// incrementals list their tables, those of fulls count them, and only fulls have files that
    /// tell what they should hold.
    pub(super) fn set_right(&mut self, has_telling_file: bool) -> Option<WrongKind> {
        let lists = self.tables.is_some() && self.manifest.table_count.is_none();
        let counts = self.tables.is_none() && self.manifest.table_count.is_some();
        let (kind, wrong) = match self.manifest.kind {
            SetKind::Full if lists && !has_telling_file => (SetKind::Incremental, WrongKind::SaysFull),
            SetKind::Incremental if counts && has_telling_file => (SetKind::Full, WrongKind::SaysIncremental),
            _ => return None,
        };
        self.manifest.kind = kind;
        Some(wrong)
    }
}

/// What a manifest says of its kind that the rest of the set contradicts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum WrongKind {
    SaysFull,
    SaysIncremental,
}

/// The files of a full that tell what it should hold, best first.
pub(super) const TELLING_FILES: [&str; 2] = ["schema.cql", "schema_mapping.json"];
/// Longest text taken over from a manifest, bytes.
const MAX_TEXT: usize = 512;
/// Most tokens taken over: Cassandra's own limit of `num_tokens` is 1,536.
const MAX_TOKENS: usize = 2048;
/// Most odd things that are named.
const MAX_WARNINGS: usize = 8;

/// Parses the manifest of the set `tag`; the error is a sentence for a person.
pub fn parse(tag: &str, bytes: &[u8]) -> Result<ParsedManifest, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err("it is empty".into());
    }
    let json: Value = serde_json::from_slice(bytes).map_err(|e| format!("it is not JSON: {e}"))?;
    if !json.is_object() {
        return Err("it is not a JSON object".into());
    }
    let mut warnings = Vec::new();
    let kind = match text(&json["backup_type"]).as_deref() {
        Some("full") => SetKind::Full,
        Some("incremental") => SetKind::Incremental,
        Some(other) => return Err(format!("backup_type is {other:?}, neither full nor incremental")),
        None => return Err("it has no backup_type".into()),
    };
    let stamp = text(&json["timestamp_utc"]).ok_or("it has no timestamp_utc")?;
    let (time, stated_offset) = parse_time(&stamp).ok_or_else(|| format!("timestamp_utc is {stamp:?}, not a time"))?;
    match text(&json["backup_id"]).as_deref() {
        // Whoever moves sets about may exchange two of them.
        Some(id) if id != tag && is_like(id, tag) => {
            return Err(format!("it is of the set {id}: one of the two was named wrong"));
        }
        Some(id) if id != tag => warnings.push(format!("backup_id is {id:?}").into()),
        _ => {}
    }
    let tables = json["tables_backed_up"].as_array().map(|names| table_names(names, &mut warnings));
    let node = &json["source_node"];
    let tokens = node["tokens"].as_array().map(Vec::as_slice).unwrap_or_default();
    let manifest = Manifest {
        kind,
        time,
        is_stored: false,
        stated_offset,
        cluster: text(&json["cluster_name"]),
        datacenter: text(&node["datacenter"]),
        rack: text(&node["rack"]),
        address: text(&node["ip_address"]),
        tokens: tokens.iter().take(MAX_TOKENS).filter_map(text_or_number).collect(),
        tables_listed: tables.as_ref().map(|tables| tables.len() as u32),
        table_count: json["tables_backed_up_count"].as_u64(),
        warnings,
        scope: Scope::Whole,
    };
    Ok(ParsedManifest { manifest, tables })
}

/// Whether both are names of sets, if one of them is.
fn is_like(id: &str, tag: &str) -> bool {
    let shape =
        |name: &str| name.bytes().map(|byte| if byte.is_ascii_digit() { b'0' } else { byte }).collect::<Vec<_>>();
    shape(id) == shape(tag) && id.bytes().any(|byte| byte.is_ascii_digit())
}

/// RFC 3339, also with a blank for the `T` and without seconds; without an offset it is UTC, as the
/// field's name says.
fn parse_time(stamp: &str) -> Option<(Timestamp, i32)> {
    let pieces = Pieces::parse(stamp.trim()).ok()?;
    let civil = pieces.date().to_datetime(pieces.time()?);
    let offset = match pieces.offset() {
        Some(PiecesOffset::Numeric(offset)) => offset.offset().seconds(),
        _ => 0,
    };
    let local = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    Some((Timestamp(local.as_microsecond().checked_sub(i64::from(offset) * 1_000_000)?), offset))
}

fn text(value: &Value) -> Option<Arc<str>> {
    let text = value.as_str()?;
    (!text.is_empty() && text.len() <= MAX_TEXT).then(|| text.into())
}

fn text_or_number(value: &Value) -> Option<Arc<str>> {
    text(value).or_else(|| value.is_number().then(|| value.to_string().into()))
}

/// `"ks/table"` each.
fn table_names(names: &[Value], warnings: &mut Vec<Arc<str>>) -> Vec<TableName> {
    let mut tables: Vec<TableName> = Vec::new();
    for name in names {
        match name.as_str().and_then(|name| name.split_once('/')) {
            Some((keyspace, table)) if TableName::is_valid_part(keyspace) && TableName::is_valid_part(table) => {
                tables.push(TableName::new(keyspace, table));
            }
            _ if warnings.len() < MAX_WARNINGS => {
                let shown: String = name.to_string().chars().take(80).collect();
                warnings.push(format!("tables_backed_up holds {shown:?}").into());
            }
            _ => {}
        }
    }
    tables.sort();
    tables.dedup();
    tables
}

/// The host's UTC offset as one set tells it, seconds: the manifest's own where it is not zero,
/// else what lies between the tag, written in local time when the script starts, and the earliest
/// moment known to lie after that start.
pub(super) fn own_offset(
    manifest: &Manifest,
    tag: Option<LocalTime>,
    first_modified: Option<Timestamp>,
) -> Option<i32> {
    /// Longest backup run believed: an upload older than that is another run's.
    const LONGEST_RUN_US: i64 = 48 * 3_600_000_000;
    if manifest.stated_offset != 0 {
        return Some(manifest.stated_offset);
    }
    let tag = tag?;
    // The first upload is nearer to the start than the manifest, which a long full writes hours
    // later. Objects that were copied since have later times, and are no help.
    let during = |t: &Timestamp| *t <= manifest.time && manifest.time.0.saturating_sub(t.0) < LONGEST_RUN_US;
    offset_between(tag, first_modified.filter(during).unwrap_or(manifest.time))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"{"cluster_name":"prod","backup_id":"2026-11-21-02-50","backup_type":"full",
        "timestamp_utc":"2026-11-21T02:51:06+00:00","source_node":{"ip_address":"127.0.0.1","datacenter":"dc1","rack":"rack1",
        "tokens":["-1","2",3]},"tables_backed_up_count":56}"#;

    #[test]
    fn a_full() {
        let ParsedManifest { manifest, tables } = parse("2026-11-21-02-50", FULL.as_bytes()).unwrap();
        assert_eq!(manifest.kind, SetKind::Full);
        assert_eq!(manifest.time.to_string(), "2026-11-21T02:51:06Z");
        assert_eq!(manifest.tokens.iter().map(|t| &**t).collect::<Vec<_>>(), ["-1", "2", "3"]);
        assert_eq!(manifest.table_count, Some(56));
        assert_eq!((manifest.cluster.as_deref(), manifest.rack.as_deref()), (Some("prod"), Some("rack1")));
        assert_eq!(tables, None);
        assert!(manifest.warnings.is_empty());
    }

    #[test]
    fn an_incremental_with_odd_things() {
        let json = r#"{"backup_type":"incremental","timestamp_utc":"2026-11-21T04:47:03.5+02:00","backup_id":"x",
            "tables_backed_up":["shop/users","a/b","shop/users","../x","a",7]}"#;
        let ParsedManifest { manifest, tables } = parse("t", json.as_bytes()).unwrap();
        assert_eq!(manifest.time.to_string(), "2026-11-21T02:47:03.5Z");
        assert_eq!(manifest.stated_offset, 7200);
        assert_eq!(tables.unwrap(), [TableName::new("a", "b"), TableName::new("shop", "users")]);
        assert_eq!(manifest.warnings.len(), 4);
    }

    #[test]
    fn damaged_ones_say_why() {
        for (json, why) in [
            ("", "empty"),
            ("\n ", "empty"),
            ("{", "not JSON"),
            ("[]", "not a JSON object"),
            ("{}", "no backup_type"),
            (r#"{"backup_type":"x"}"#, "neither"),
            (r#"{"backup_type":"full"}"#, "no timestamp_utc"),
            (r#"{"backup_type":"full","timestamp_utc":"yesterday"}"#, "not a time"),
            (r#"{"backup_type":"full","timestamp_utc":"2026-02-30T00:00:00Z"}"#, "not a time"),
            (r#"{"backup_type":"full","timestamp_utc":"2026-02-03"}"#, "not a time"),
            (r#"{"backup_type":7,"timestamp_utc":7}"#, "no backup_type"),
        ] {
            assert!(parse("t", json.as_bytes()).unwrap_err().contains(why), "{json}");
        }
        assert!(parse("t", &[0xff, 0xfe]).is_err());
        assert!(parse("t", "[".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn one_of_another_set_is_not_taken() {
        let of = |tag| parse(tag, FULL.as_bytes()).map(|parsed| parsed.manifest.warnings.len());
        assert_eq!(of("2026-11-21-02-50"), Ok(0));
        assert_eq!(of("before"), Ok(1));
        let exchanged = of("2026-11-21-02-45").unwrap_err();
        assert!(exchanged.contains("of the set 2026-11-21-02-50"), "{exchanged}");
    }

    #[test]
    fn a_kind_that_all_else_contradicts_is_not_believed() {
        let incremental =
            r#"{"backup_type":"incremental","timestamp_utc":"2026-11-21T04:47:03Z","tables_backed_up":["a/b"]}"#;
        let wrong = |json: &str, said: &str| {
            json.replace(
                &format!("\"{}\"", if said == "full" { "incremental" } else { "full" }),
                &format!("\"{said}\""),
            )
        };
        for (json, has_file, kind, found) in [
            (FULL.to_owned(), true, SetKind::Full, None),
            (FULL.to_owned(), false, SetKind::Full, None),
            (incremental.to_owned(), false, SetKind::Incremental, None),
            (wrong(FULL, "incremental"), true, SetKind::Full, Some(WrongKind::SaysIncremental)),
            (wrong(FULL, "incremental"), false, SetKind::Incremental, None),
            (wrong(incremental, "full"), false, SetKind::Incremental, Some(WrongKind::SaysFull)),
            (wrong(incremental, "full"), true, SetKind::Full, None),
        ] {
            let mut parsed = parse("2026-11-21-02-50", json.as_bytes()).unwrap();
            assert_eq!((parsed.set_right(has_file), parsed.manifest.kind), (found, kind), "{json}");
        }
    }

    #[test]
    fn times_in_other_dress() {
        for (stamp, shown, offset) in [
            ("2026-11-21T02:47:03Z", "2026-11-21T02:47:03Z", 0),
            ("2026-11-21 02:47:03", "2026-11-21T02:47:03Z", 0),
            ("2026-11-21T02:47:03.123456-05:30", "2026-11-21T08:17:03.123456Z", -19_800),
            ("2026-11-21T02:47+0200", "2026-11-21T00:47:00Z", 7200),
        ] {
            let (time, seconds) = parse_time(stamp).unwrap();
            assert_eq!((time.to_string().as_str(), seconds), (shown, offset), "{stamp}");
        }
    }

    #[test]
    fn the_offset_comes_from_tag_and_time() {
        let mut manifest = parse("t", FULL.as_bytes()).unwrap().manifest;
        let tag = LocalTime::new(2026, 11, 21, 2, 50, 0);
        assert_eq!(own_offset(&manifest, tag, None), Some(0));
        assert_eq!(own_offset(&manifest, LocalTime::new(2026, 11, 21, 8, 35, 0), None), Some(20_700));
        assert_eq!(own_offset(&manifest, None, None), None);
        assert_eq!(own_offset(&manifest, LocalTime::new(2020, 1, 1, 0, 0, 0), None), None);
        // A full of 80 minutes: the manifest alone would say -01:15.
        manifest.time = LocalTime::new(2026, 11, 21, 4, 10, 0).unwrap().at_offset(0);
        let first = LocalTime::new(2026, 11, 21, 2, 50, 30).unwrap().at_offset(0);
        assert_eq!(own_offset(&manifest, tag, Some(first)), Some(0));
        let copied = Timestamp(manifest.time.0 + 1);
        assert_eq!(own_offset(&manifest, tag, Some(copied)), Some(-4500));
        manifest.stated_offset = -3600;
        assert_eq!(own_offset(&manifest, tag, None), Some(-3600));
    }
}
