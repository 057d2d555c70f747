//! One page of a listing as the store wrote it.
//!
//! `object_store` makes paths of the keys and drops what it has no place for: a slash at a key's
//! end, keys that are no path, whether there are more pages, the storage class. So the document is
//! read here, and `object_store` only asks for it.

use crate::time::Timestamp;
use quick_xml::Reader;
use quick_xml::events::Event;
use serde::Deserialize;

/// Which of the two documents a store sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Dialect {
    /// S3's, also spoken by Google: `ListBucketResult`.
    S3,
    /// Azure's: `EnumerationResults`.
    Azure,
}

impl Dialect {
    fn root(self) -> &'static str {
        match self {
            Self::S3 => "ListBucketResult",
            Self::Azure => "EnumerationResults",
        }
    }

    /// A page without anything, as `object_store` is content with.
    pub(super) fn empty_page(self) -> &'static str {
        match self {
            Self::S3 => "<ListBucketResult></ListBucketResult>",
            Self::Azure => "<EnumerationResults><Blobs></Blobs><NextMarker></NextMarker></EnumerationResults>",
        }
    }
}

/// A page; full keys, in the store's order.
#[derive(PartialEq, Debug, Default)]
pub(super) struct RawPage {
    pub(super) objects: Vec<RawObject>,
    /// "Directories", with the slash at their ends.
    pub(super) prefixes: Vec<String>,
    /// The store says that this is not all.
    pub(super) is_truncated: bool,
    /// What to ask the next page with.
    pub(super) token: Option<String>,
    /// What to ask the next page with where the store speaks the first version of the protocol
    /// only.
    pub(super) marker: Option<String>,
}

#[derive(PartialEq, Debug)]
pub(super) struct RawObject {
    pub(super) key: String,
    pub(super) size: u64,
    /// As sent, mostly in quotes.
    pub(super) e_tag: Option<String>,
    /// To the second, as HEAD tells it.
    pub(super) modified: Timestamp,
    pub(super) archived: bool,
}

/// Reads a page; the error is a sentence about the document.
pub(super) fn parse(document: &[u8], dialect: Dialect) -> Result<RawPage, String> {
    // Any other document reads as a page without objects, and an empty bucket is not what a proxy's
    // login page means.
    let root = root(document).unwrap_or_default();
    if root != dialect.root() {
        return Err(format!("{root:?} in place of a listing"));
    }
    match dialect {
        Dialect::S3 => s3(quick_xml::de::from_reader(document).map_err(|error| error.to_string())?),
        Dialect::Azure => azure(quick_xml::de::from_reader(document).map_err(|error| error.to_string())?),
    }
}

/// The name of the outermost element.
pub(super) fn root(document: &[u8]) -> Option<String> {
    let mut reader = Reader::from_reader(document);
    loop {
        match reader.read_event() {
            Ok(Event::Start(element) | Event::Empty(element)) => {
                return Some(String::from_utf8_lossy(element.local_name().as_ref()).into_owned());
            }
            Ok(Event::Eof) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListBucketResult {
    #[serde(default)]
    is_truncated: Option<bool>,
    next_continuation_token: Option<String>,
    next_marker: Option<String>,
    #[serde(default)]
    contents: Vec<Contents>,
    #[serde(default)]
    common_prefixes: Vec<CommonPrefix>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Contents {
    key: String,
    size: u64,
    last_modified: String,
    #[serde(rename = "ETag")]
    e_tag: Option<String>,
    storage_class: Option<String>,
    restore_status: Option<RestoreStatus>,
}

/// Whether there is a thawed copy of an archived object; only where it was asked for.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RestoreStatus {
    is_restore_in_progress: Option<bool>,
    restore_expiry_date: Option<String>,
}

/// Whether an object of this class cannot be read as it is.
pub(super) fn is_cold(class: Option<&str>, status: Option<&RestoreStatus>) -> bool {
    let thawed = status.is_some_and(|status| {
        status.is_restore_in_progress != Some(true)
            && status.restore_expiry_date.as_ref().is_some_and(|date| !date.is_empty())
    });
    class.is_some_and(must_be_thawed) && !thawed
}

/// A time as S3 lists it.
pub(super) fn time(text: &str) -> Result<jiff::Timestamp, String> {
    text.trim().parse().map_err(|error| format!("a time in it makes no sense: {error}"))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CommonPrefix {
    pub(super) prefix: String,
}

fn s3(page: ListBucketResult) -> Result<RawPage, String> {
    let objects = page.contents.into_iter().map(|object| {
        let modified = time(&object.last_modified)?;
        Ok(RawObject {
            archived: is_cold(object.storage_class.as_deref(), object.restore_status.as_ref()),
            key: object.key,
            size: object.size,
            e_tag: object.e_tag,
            modified: Timestamp::from_secs(modified.as_second()),
        })
    });
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    Ok(RawPage {
        objects: objects.collect::<Result<_, String>>()?,
        prefixes: page.common_prefixes.into_iter().map(|prefix| prefix.prefix).collect(),
        is_truncated: page.is_truncated.unwrap_or(false),
        token: given(page.next_continuation_token),
        marker: given(page.next_marker),
    })
}

/// Storage classes of Amazon and Alibaba that cannot be read as they are. Not among them: Google's
/// ARCHIVE and Amazon's GLACIER_IR.
fn must_be_thawed(class: &str) -> bool {
    matches!(class, "GLACIER" | "DEEP_ARCHIVE" | "Archive" | "ColdArchive" | "DeepColdArchive")
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EnumerationResults {
    next_marker: Option<String>,
    blobs: Blobs,
}

#[derive(Deserialize)]
struct Blobs {
    #[serde(rename = "BlobPrefix", default)]
    prefixes: Vec<BlobPrefix>,
    #[serde(rename = "Blob", default)]
    blobs: Vec<Blob>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BlobPrefix {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Blob {
    name: String,
    properties: BlobProperties,
}

#[derive(Deserialize)]
struct BlobProperties {
    #[serde(rename = "Last-Modified")]
    last_modified: String,
    #[serde(rename = "Content-Length")]
    content_length: u64,
    #[serde(rename = "Etag")]
    e_tag: Option<String>,
    #[serde(rename = "ResourceType")]
    resource_type: Option<String>,
    #[serde(rename = "AccessTier")]
    access_tier: Option<String>,
}

fn azure(page: EnumerationResults) -> Result<RawPage, String> {
    // Where directories are real (hierarchical namespace) they are listed like empty blobs.
    let is_file = |blob: &Blob| blob.properties.resource_type.as_deref() != Some("directory");
    let objects = page.blobs.blobs.into_iter().filter(is_file).map(|blob| {
        let modified = jiff::fmt::rfc2822::parse(blob.properties.last_modified.trim())
            .map_err(|error| format!("a time in it makes no sense: {error}"))?;
        Ok(RawObject {
            key: blob.name,
            size: blob.properties.content_length,
            e_tag: blob.properties.e_tag,
            modified: Timestamp::from_secs(modified.timestamp().as_second()),
            archived: blob.properties.access_tier.as_deref() == Some("Archive"),
        })
    });
    let token = page.next_marker.filter(|marker| !marker.is_empty());
    Ok(RawPage {
        objects: objects.collect::<Result<_, String>>()?,
        prefixes: page.blobs.prefixes.into_iter().map(|prefix| prefix.name).collect(),
        is_truncated: token.is_some(),
        token,
        marker: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_keeps_what_a_path_cannot_express() {
        let page = parse(
            b"<?xml version='1.0'?><ListBucketResult xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>\
            <IsTruncated>true</IsTruncated><NextMarker>d/</NextMarker>\
            <Contents><Key>/a//b/</Key><LastModified>2026-11-21T02:45:06.123Z</LastModified><ETag>&quot;x&quot;</ETag>\
            <Size>7</Size><StorageClass>DEEP_ARCHIVE</StorageClass></Contents>\
            <CommonPrefixes><Prefix>c/</Prefix></CommonPrefixes>\
            <Contents><Key> d </Key><LastModified>2026-11-21T02:45:06Z</LastModified><Size>0</Size>\
            <StorageClass>GLACIER</StorageClass><RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress>\
            <RestoreExpiryDate>2026-12-01T00:00:00Z</RestoreExpiryDate></RestoreStatus></Contents>\
            <CommonPrefixes><Prefix>e/</Prefix></CommonPrefixes></ListBucketResult>",
            Dialect::S3,
        )
        .unwrap();
        let modified = Timestamp::from_secs(1_795_229_106);
        let (first, second) = (&page.objects[0], &page.objects[1]);
        assert_eq!((first.key.as_str(), first.e_tag.as_deref(), first.archived), ("/a//b/", Some("\"x\""), true));
        assert_eq!((first.modified, first.size), (modified, 7));
        assert_eq!((second.key.as_str(), second.e_tag.as_deref(), second.archived), (" d ", None, false));
        assert_eq!(page.prefixes, ["c/", "e/"]);
        assert_eq!((page.is_truncated, page.token, page.marker.as_deref()), (true, None, Some("d/")));
    }

    #[test]
    fn a_page_of_azure_names_its_tiers() {
        let blob = |name: &str, more: &str| {
            format!(
                "<Blob><Name>{name}</Name><Properties><Last-Modified>Sat, 21 Nov 2026 02:45:06 GMT</Last-Modified>\
                <Etag>0x8D</Etag><Content-Length>7</Content-Length><Content-Type>x</Content-Type>{more}</Properties></Blob>"
            )
        };
        let document = format!(
            "<?xml version=\"1.0\"?><EnumerationResults ContainerName=\"c\"><Blobs>{}{}{}<BlobPrefix><Name>p/</Name></BlobPrefix>\
            </Blobs><NextMarker>more</NextMarker></EnumerationResults>",
            blob("a", "<AccessTier>Archive</AccessTier>"),
            blob("b", "<AccessTier>Cool</AccessTier>"),
            blob("c", "<ResourceType>directory</ResourceType>"),
        );
        let page = parse(document.as_bytes(), Dialect::Azure).unwrap();
        let seen: Vec<_> = page.objects.iter().map(|object| (object.key.as_str(), object.archived)).collect();
        assert_eq!(seen, [("a", true), ("b", false)]);
        assert_eq!((page.prefixes.as_slice(), page.token.as_deref()), (&["p/".to_owned()][..], Some("more")));
    }

    #[test]
    fn another_document_is_no_empty_page() {
        for (document, dialect) in [
            ("<html><body>Log in</body></html>", Dialect::S3),
            ("", Dialect::S3),
            ("{}", Dialect::S3),
            ("<Error><Code>InternalError</Code></Error>", Dialect::S3),
            ("<ListBucketResult></ListBucketResult>", Dialect::Azure),
            ("<ListBucketResult><Contents><Key>a</Key>", Dialect::S3),
            ("<ListBucketResult><Contents><Key>a</Key><Size>many</Size></Contents></ListBucketResult>", Dialect::S3),
        ] {
            assert!(parse(document.as_bytes(), dialect).is_err(), "{document}");
        }
        for dialect in [Dialect::S3, Dialect::Azure] {
            assert_eq!(parse(dialect.empty_page().as_bytes(), dialect), Ok(RawPage::default()));
        }
    }
}
