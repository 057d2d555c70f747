//! What a store answers instead of what it was asked for.

use super::address::{is_region, region_of_host};
use object_store::client::HttpError;
use std::error::Error as StdError;
use std::fmt;

/// The answer was not a success.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// The beginning of the error document.
    pub(super) body: String,
    /// The header that names the bucket's region.
    pub(super) region: Option<String>,
    /// Where the answer says to ask instead.
    pub(super) location: Option<String>,
    /// Who answered: a host, and a port where the URL has one.
    pub(super) by: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the body: it may repeat what was signed.
        write!(f, "HTTP status {}", self.status)
    }
}

impl StdError for Refusal {}

impl Refusal {
    /// The region in which the store says that the bucket is.
    pub(super) fn region(&self) -> Option<String> {
        if !matches!(self.status, 301 | 302 | 307 | 308 | 400 | 403) {
            return None;
        }
        let expected = || {
            let (_, rest) = tag(&self.body, "Message")?.split_once("expecting '")?;
            rest.split_once('\'').map(|(region, _)| region)
        };
        let redirected = || {
            let host = self.location.as_deref().and_then(host_of);
            host.or_else(|| tag(&self.body, "Endpoint").map(str::to_owned))
                .and_then(|host| region_of_host(&host).map(str::to_owned))
        };
        let named = self.region.as_deref().or_else(|| tag(&self.body, "Region")).or_else(expected).map(str::to_owned);
        named.filter(|region| is_region(region)).or_else(redirected)
    }

    /// Whether other credentials might be let in.
    pub(super) fn is_about_credentials(&self) -> bool {
        matches!(
            tag(&self.body, "Code").unwrap_or(""),
            "ExpiredToken" | "InvalidToken" | "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "TokenRefreshRequired"
        ) || (matches!(self.status, 401 | 403) && !self.is_about_state())
            // HEAD has no document to say more.
            || (self.status == 400 && self.body.is_empty())
    }

    /// Whether the credentials were good and have expired.
    pub(super) fn is_expiry(&self) -> bool {
        matches!(tag(&self.body, "Code"), Some("ExpiredToken" | "TokenRefreshRequired" | "RequestExpired"))
    }

    /// Whether it is the object's storage class that is in the way.
    fn is_about_state(&self) -> bool {
        is_archived(tag(&self.body, "Code").unwrap_or(""))
    }
}

/// Whether an error's code says that the object has to be thawed.
pub(super) fn is_archived(code: &str) -> bool {
    matches!(code, "InvalidObjectState" | "BlobArchived" | "BlobBeingRehydrated")
}

/// The host in a URL; not its user or password.
pub(super) fn host_of(url: &str) -> Option<String> {
    url::Url::parse(url).ok()?.host_str().map(str::to_owned)
}

/// No answer came. It says who was asked, which `object_store` takes out of its own errors.
#[derive(Debug)]
pub(super) struct Unanswered {
    pub(super) asked: Option<String>,
    pub(super) error: HttpError,
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl StdError for Unanswered {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.error)
    }
}

/// A range was asked for, and the answer is the whole object.
#[derive(Debug)]
pub(super) struct WholeAnswer {
    /// The store has decompressed it on the way.
    pub(super) decompressed: bool,
}

impl fmt::Display for WholeAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer is not the range that was asked for")
    }
}

impl StdError for WholeAnswer {}

/// The text of the first `<name>` in an error document. No more of it is shown: it may repeat what
/// was signed.
pub(super) fn tag<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let end = text.char_indices().nth(300).map_or(text.len(), |(end, _)| end);
    Some(&text[..end])
}
