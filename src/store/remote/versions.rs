//! What a bucket that keeps versions held at a moment: one page of S3's `ListObjectVersions`.

use super::raw::{CommonPrefix, RawObject, RestoreStatus, is_cold, root, time};
use crate::time::Timestamp;
use serde::Deserialize;
use std::cmp::Reverse;

/// A page of versions; full keys, those of one key newest first.
#[derive(Debug, Default)]
pub(super) struct VersionsPage {
    entries: Vec<Entry>,
    /// "Directories", with the slash at their ends; there may be nothing alive in them.
    pub(super) prefixes: Vec<String>,
    /// Where the next page begins.
    pub(super) next: Option<Marker>,
}

/// A place in a listing of versions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Marker {
    pub(super) key: String,
    pub(super) version: Option<String>,
}

/// An object, or that there is none, from a moment on.
#[derive(Debug)]
struct Entry {
    key: String,
    written: Timestamp,
    is_latest: bool,
    /// `None`: the object was deleted.
    object: Option<VersionedObject>,
}

/// A version of an object.
#[derive(Debug)]
pub(super) struct VersionedObject {
    pub(super) object: RawObject,
    pub(super) version: String,
}

impl VersionsPage {
    /// The objects that there were at `as_of`. `decided` is the last key whose state then is known:
    /// its versions may go on here.
    pub(super) fn alive(self, as_of: Timestamp, decided: &mut Option<String>) -> Vec<VersionedObject> {
        let mut alive = Vec::new();
        for entry in self.entries {
            if entry.written <= as_of && decided.as_ref() != Some(&entry.key) {
                *decided = Some(entry.key);
                alive.extend(entry.object);
            }
        }
        alive
    }

    /// Whether its versions are named as versitygw names them, which gives an old version the time
    /// when it was replaced.
    pub(super) fn has_times_of_replacement(&self) -> bool {
        let is_ulid = |id: &str| {
            id.len() == 26
                && id.starts_with(|c: char| ('0'..='7').contains(&c))
                && id.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
        };
        let objects = self.entries.iter().filter_map(|entry| entry.object.as_ref());
        objects.take(1).any(|object| is_ulid(&object.version))
    }

    /// Whether it has come to keys behind `key`.
    pub(super) fn is_behind(&self, key: &str) -> bool {
        self.entries.last().is_some_and(|entry| entry.key.as_str() > key)
    }
}

/// Reads a page; the error is a sentence about the document.
pub(super) fn parse(document: &[u8]) -> Result<VersionsPage, String> {
    match root(document).unwrap_or_default() {
        name if name == "ListVersionsResult" => {}
        other => return Err(format!("{other:?} in place of a listing of versions")),
    }
    let page: ListVersionsResult = quick_xml::de::from_reader(document).map_err(|error| error.to_string())?;
    let mut entries: Vec<Entry> = Vec::new();
    for element in page.elements {
        let (element, is_object) = match element {
            Element::Version(element) => (element, true),
            Element::DeleteMarker(element) => (element, false),
            Element::Other => continue,
        };
        entries.push(entry(element, is_object)?);
    }
    // Some servers send all versions first, then all delete markers. What is equal stays as it was
    // sent: newest first.
    entries.sort_by(|a, b| {
        let newest_first = |entry: &Entry| (Reverse(entry.written), Reverse(entry.is_latest));
        a.key.cmp(&b.key).then_with(|| newest_first(a).cmp(&newest_first(b)))
    });
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let next = given(page.next_key_marker).map(|key| Marker { key, version: given(page.next_version_id_marker) });
    let is_truncated = page.is_truncated.unwrap_or(false);
    if is_truncated && next.is_none() {
        return Err("there is more of it, but nothing to ask for that with".to_owned());
    }
    Ok(VersionsPage {
        entries,
        prefixes: page.common_prefixes.into_iter().map(|prefix| prefix.prefix).collect(),
        next: next.filter(|_| is_truncated),
    })
}

fn entry(element: VersionElement, is_object: bool) -> Result<Entry, String> {
    let written = time(&element.last_modified)?;
    let object = is_object.then(|| {
        let size = element.size.ok_or_else(|| format!("a version of {:?} has no size", element.key))?;
        let object = RawObject {
            key: element.key.clone(),
            size,
            e_tag: element.e_tag,
            modified: Timestamp::from_secs(written.as_second()),
            archived: is_cold(element.storage_class.as_deref(), element.restore_status.as_ref()),
        };
        Ok::<_, String>(VersionedObject { object, version: element.version_id })
    });
    Ok(Entry {
        key: element.key,
        written: Timestamp(written.as_microsecond()),
        is_latest: element.is_latest.unwrap_or(false),
        object: object.transpose()?,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListVersionsResult {
    is_truncated: Option<bool>,
    next_key_marker: Option<String>,
    next_version_id_marker: Option<String>,
    #[serde(default)]
    common_prefixes: Vec<CommonPrefix>,
    /// In the order of the document, which tells versions of one time apart.
    #[serde(rename = "$value", default)]
    elements: Vec<Element>,
}

#[derive(Deserialize)]
enum Element {
    Version(VersionElement),
    DeleteMarker(VersionElement),
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VersionElement {
    key: String,
    /// `null` for an object from before versions were kept.
    version_id: String,
    last_modified: String,
    is_latest: Option<bool>,
    size: Option<u64>,
    #[serde(rename = "ETag")]
    e_tag: Option<String>,
    storage_class: Option<String>,
    restore_status: Option<RestoreStatus>,
}

/// Whether a bucket keeps versions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Versioning {
    Enabled,
    /// It did; what is deleted or overwritten now is lost.
    Suspended,
    Off,
}

/// Reads the answer to whether a bucket keeps versions.
pub(super) fn parse_versioning(document: &[u8]) -> Result<Versioning, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct VersioningConfiguration {
        status: Option<String>,
    }
    let name = root(document).unwrap_or_default();
    if name != "VersioningConfiguration" {
        return Err(format!("{name:?} in place of a versioning configuration"));
    }
    let answer: VersioningConfiguration = quick_xml::de::from_reader(document).map_err(|error| error.to_string())?;
    match answer.status.as_deref() {
        Some("Enabled") => Ok(Versioning::Enabled),
        Some("Suspended") => Ok(Versioning::Suspended),
        None | Some("") => Ok(Versioning::Off),
        Some(other) => Err(format!("a versioning status {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(key: &str, id: &str, time: &str) -> String {
        format!(
            "<Version><Key>{key}</Key><VersionId>{id}</VersionId><IsLatest>false</IsLatest><LastModified>{time}</LastModified>\
            <ETag>&quot;{id}&quot;</ETag><Size>7</Size><StorageClass>STANDARD</StorageClass><Owner><ID>x</ID></Owner></Version>"
        )
    }

    fn deleted(key: &str, time: &str) -> String {
        format!(
            "<DeleteMarker><Key>{key}</Key><VersionId>d</VersionId><IsLatest>true</IsLatest>\
            <LastModified>{time}</LastModified></DeleteMarker>"
        )
    }

    fn page(elements: &[String]) -> VersionsPage {
        let document = format!(
            "<?xml version='1.0'?><ListVersionsResult xmlns='x'><Name>b</Name><Prefix/><KeyMarker/><MaxKeys>1000</MaxKeys>\
            <IsTruncated>true</IsTruncated><NextKeyMarker>c</NextKeyMarker><NextVersionIdMarker>c1</NextVersionIdMarker>{}\
            <CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes></ListVersionsResult>",
            elements.concat()
        );
        parse(document.as_bytes()).unwrap()
    }

    /// Keys and versions at 02:`minute`:00.
    fn at(minute: i64, page: VersionsPage, decided: &mut Option<String>) -> Vec<String> {
        let as_of = Timestamp::from_secs(1_795_226_400 + minute * 60);
        page.alive(as_of, decided).into_iter().map(|found| format!("{}={}", found.object.key, found.version)).collect()
    }

    #[test]
    fn a_moment_shows_what_there_was_then() {
        let grouped = || {
            page(&[
                version("a", "a2", "2026-11-21T02:10:00.000Z"),
                version("a", "a1", "2026-11-21T02:00:00.000Z"),
                version("b", "null", "2026-11-21T02:00:00.000Z"),
                version("c", "c2", "2026-11-21T02:20:00.500Z"),
                deleted("b", "2026-11-21T02:10:00.000Z"),
            ])
        };
        let seen = |minute| at(minute, grouped(), &mut None);
        assert_eq!(seen(-1), Vec::<String>::new());
        assert_eq!(seen(0), ["a=a1", "b=null"]);
        assert_eq!(seen(10), ["a=a2"], "the moment itself is part of it");
        assert_eq!(seen(20), ["a=a2"], "half a second later");
        assert_eq!(seen(21), ["a=a2", "c=c2"]);
        let page = grouped();
        assert_eq!(page.prefixes, ["p/"]);
        assert_eq!(page.next, Some(Marker { key: "c".into(), version: Some("c1".into()) }));
    }

    #[test]
    fn versions_of_one_key_go_on_over_pages() {
        let mut decided = None;
        let first = page(&[version("c", "c2", "2026-11-21T02:10:00Z")]);
        assert_eq!(at(15, first, &mut decided), ["c=c2"]);
        let second = || page(&[version("c", "c1", "2026-11-21T02:00:00Z"), version("d", "d1", "2026-11-21T02:00:00Z")]);
        assert_eq!(at(15, second(), &mut decided), ["d=d1"]);
        assert_eq!(at(5, second(), &mut None), ["c=c1", "d=d1"]);
    }

    #[test]
    fn versions_of_one_moment_stand_as_they_were_sent() {
        let time = "2026-11-21T02:10:00Z";
        assert_eq!(at(15, page(&[version("a", "a2", time), version("a", "a1", time)]), &mut None), ["a=a2"]);
        assert!(at(15, page(&[version("a", "a1", time), deleted("a", time)]), &mut None).is_empty(), "IsLatest tells");
    }

    #[test]
    fn whether_versions_are_kept_is_told_and_not_guessed() {
        let document = |status: &str| format!("<VersioningConfiguration xmlns='x'>{status}</VersioningConfiguration>");
        let read = |status: &str| parse_versioning(document(status).as_bytes());
        assert_eq!(read("<Status>Enabled</Status>"), Ok(Versioning::Enabled));
        assert_eq!(read("<Status>Suspended</Status><MfaDelete>Disabled</MfaDelete>"), Ok(Versioning::Suspended));
        assert_eq!(read(""), Ok(Versioning::Off));
        assert!(read("<Status>x</Status>").is_err() && parse_versioning(b"<html/>").is_err());
        assert!(parse(b"<ListBucketResult/>").is_err());
        assert!(parse(b"<ListVersionsResult><IsTruncated>true</IsTruncated></ListVersionsResult>").is_err());
    }
}
