//! What a failed request means: to the caller a [`Kind`], to a person one sentence with the store's own words and, where there is
//! one, the option that helps.

use super::address::{is_region, region_of_host};
use crate::{Error, Kind};
use object_store::client::{HttpError, HttpErrorKind};
use std::error::Error as StdError;
use std::fmt;

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

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum During {
    List,
    Head,
    /// Of an object that was listed.
    Get,
}

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

    /// Whether it is the object's storage class that is in the way.
    fn is_about_state(&self) -> bool {
        is_archived(tag(&self.body, "Code").unwrap_or(""))
    }
}

fn is_archived(code: &str) -> bool {
    matches!(code, "InvalidObjectState" | "BlobArchived" | "BlobBeingRehydrated")
}

/// The host in a URL; not its user or password.
fn host_of(url: &str) -> Option<String> {
    url::Url::parse(url).ok()?.host_str().map(str::to_owned)
}

/// Translates a failure of a request to the store called `name`.
pub(super) fn explain(error: &object_store::Error, during: During, name: &str) -> Error {
    if let Some(refusal) = find::<Refusal>(error) {
        return answered(refusal, during, name);
    }
    if let Some(whole) = find::<WholeAnswer>(error) {
        return whole_answer(whole, name);
    }
    if let Some(http) = find::<HttpError>(error) {
        return unanswered(http, name);
    }
    match error {
        // Of the service that gives credentials.
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            let body = String::new();
            answered(&Refusal { status: 403, body, region: None, location: None }, during, name)
        }
        other => Error::corrupt(format!("{name} sent an answer that makes no sense: {}", innermost(other))),
    }
}

/// The store answered with a status other than success.
fn answered(refusal: &Refusal, during: During, name: &str) -> Error {
    let (status, body) = (refusal.status, refusal.body.as_str());
    let (code, said) = (tag(body, "Code"), tag(body, "Message"));
    let mut words = format!("HTTP status {status}");
    for part in [code, said].into_iter().flatten() {
        words.push_str(", ");
        words.push_str(&part.escape_debug().to_string());
    }
    match (status, code.unwrap_or("")) {
        (_, code) if is_archived(code) => {
            let what =
                if code == "BlobBeingRehydrated" { "is being thawed: wait until it is" } else { "thaw it first" };
            Error::new(Kind::Archived, format!("archived: {what} ({words})"))
        }
        (_, "SecondLevelDomainForbidden" | "VirtualHostDomainRequired") => Error::invalid(format!(
            "{name} has to be asked in virtual-hosted style: give --virtual-hosted-style, or addressing_style = virtual \
             in the AWS profile ({words})"
        )),
        (_, "ExpiredToken" | "InvalidToken" | "InvalidAccessKeyId" | "SignatureDoesNotMatch") | (401 | 403, _) => {
            Error::new(Kind::Denied, format!("{name} refuses the credentials ({words})"))
        }
        (_, "AuthorizationHeaderMalformed" | "PermanentRedirect" | "IncorrectEndpoint")
        | (301 | 302 | 307 | 308, _) => elsewhere(refusal, name),
        (404 | 410 | 412 | 416, _) if during == During::Get => {
            let what = if matches!(status, 404 | 410) { "deleted" } else { "replaced" };
            Error::new(Kind::Changed, format!("the object was {what} since it was listed"))
        }
        (404, "NoSuchBucket") => Error::not_found(format!("there is no bucket {name}")),
        (404 | 410, _) if during == During::List => Error::not_found(format!("there is no {name} ({words})")),
        (404 | 410, _) => Error::not_found("there is no such object"),
        (408 | 429, _) | (_, "SlowDown" | "RequestTimeout" | "InternalError") => {
            Error::new(Kind::Unreachable, format!("{name} fails ({words})"))
        }
        (501, _) => Error::new(Kind::Unsupported, format!("{name} does not know this request ({words})")),
        (500.., _) => Error::new(Kind::Unreachable, format!("{name} fails ({words})")),
        _ => Error::new(Kind::Invalid, format!("{name} refuses the request ({words})")),
    }
}

fn elsewhere(refusal: &Refusal, name: &str) -> Error {
    if let Some(region) = refusal.region() {
        return Error::invalid(format!("{name} is in the region {region}: give --region {region}"));
    }
    match refusal.location.as_deref().and_then(host_of) {
        Some(host) => Error::invalid(format!(
            "{name} is not here: the answer is a redirect to {host:?}, which is not followed; if that is right, give it as \
             --endpoint-url"
        )),
        None => Error::invalid(format!(
            "{name} is in another region, or behind another endpoint: give --region or --endpoint-url"
        )),
    }
}

fn whole_answer(answer: &WholeAnswer, name: &str) -> Error {
    Error::invalid(if answer.decompressed {
        format!(
            "{name} sends the object decompressed, and ranges of what is stored cannot be had: it was uploaded with \
             Content-Encoding: gzip, which `gcloud storage objects update --clear-content-encoding` takes away"
        )
    } else {
        format!(
            "{name} sends the whole object where a range is asked for (a proxy in between may do that): ask the store itself"
        )
    })
}

/// No answer, or none that was complete.
fn unanswered(error: &HttpError, name: &str) -> Error {
    let cause = innermost(error);
    // Waiting does not make a certificate good.
    if cause.contains("certificate") {
        return Error::invalid(format!(
            "the connection to {name} is not trusted: {cause} (a private authority: --ca-bundle)"
        ));
    }
    let kind = if error.kind() == HttpErrorKind::Timeout { Kind::TimedOut } else { Kind::Unreachable };
    Error::new(kind, format!("cannot reach {name}: {cause}"))
}

/// The deepest cause in words: the layers above it only repeat each other, and the URL.
pub(in crate::store) fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// The first error of this type in a chain of causes.
pub(super) fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The text of the first `<name>` in an error document. No more of it is shown: it may repeat what was signed.
fn tag<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let end = text.char_indices().nth(300).map_or(text.len(), |(end, _)| end);
    Some(&text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, body: &str) -> Refusal {
        Refusal { status, body: body.to_owned(), region: None, location: None }
    }

    #[test]
    fn a_status_means_what_a_caller_can_act_on() {
        let body = |code: &str| {
            format!("<?xml?><Error><Code>{code}</Code><Message>m</Message><StringToSign>x</StringToSign></Error>")
        };
        for (status, code, during, kind) in [
            (404, "NoSuchKey", During::Get, Kind::Changed),
            (412, "PreconditionFailed", During::Get, Kind::Changed),
            (416, "InvalidRange", During::Get, Kind::Changed),
            (404, "", During::Head, Kind::NotFound),
            (404, "NoSuchBucket", During::List, Kind::NotFound),
            (403, "AccessDenied", During::List, Kind::Denied),
            (403, "", During::Head, Kind::Denied),
            (401, "", During::Get, Kind::Denied),
            (400, "ExpiredToken", During::Get, Kind::Denied),
            (400, "AuthorizationHeaderMalformed", During::List, Kind::Invalid),
            (301, "PermanentRedirect", During::List, Kind::Invalid),
            (500, "InternalError", During::Get, Kind::Unreachable),
            (503, "SlowDown", During::List, Kind::Unreachable),
            (429, "", During::List, Kind::Unreachable),
            (200, "InternalError", During::List, Kind::Unreachable),
            (403, "InvalidObjectState", During::Get, Kind::Archived),
            (409, "BlobArchived", During::Get, Kind::Archived),
            (409, "BlobBeingRehydrated", During::Get, Kind::Archived),
            (403, "SecondLevelDomainForbidden", During::List, Kind::Invalid),
            (501, "NotImplemented", During::List, Kind::Unsupported),
            (400, "InvalidArgument", During::List, Kind::Invalid),
        ] {
            let error = answered(&refusal(status, &body(code)), during, "s3://b");
            assert_eq!(error.kind(), kind, "{status} {code} during {during:?}: {error}");
            assert!(!error.to_string().contains("StringToSign"));
        }
    }

    #[test]
    fn takes_only_what_is_whole_from_an_error_document() {
        assert_eq!(tag("<Code>A</Code>", "Code"), Some("A"));
        assert_eq!(tag("<Code>A", "Code"), None);
        assert_eq!(tag("<html>", "Code"), None);
        let long = format!("<Code>{}</Code>", "ä".repeat(5000));
        assert_eq!(tag(&long, "Code").map(|text| text.chars().count()), Some(300));
    }

    #[test]
    fn a_refusal_names_the_region() {
        let malformed = "<Error><Message>the region 'us-east-1' is wrong; expecting 'eu-central-1'</Message></Error>";
        assert_eq!(refusal(400, malformed).region().as_deref(), Some("eu-central-1"));
        assert_eq!(refusal(404, malformed).region(), None);
        let tagged = "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-3</Region></Error>";
        assert_eq!(refusal(400, tagged).region().as_deref(), Some("eu-west-3"));
        let header = Refusal { region: Some("eu-north-1".into()), ..refusal(301, "") };
        assert_eq!(header.region().as_deref(), Some("eu-north-1"));
        let location = |url: &str| Refusal { location: Some(url.into()), ..refusal(307, "") };
        let moved = location("https://bucket.s3.ap-south-1.amazonaws.com/key");
        assert_eq!(moved.region().as_deref(), Some("ap-south-1"));
        for hostile in ["<Region>a.evil.example/</Region>", "<Endpoint>s3.evil.example</Endpoint>"] {
            assert_eq!(refusal(301, hostile).region(), None, "{hostile}");
        }
        let error = answered(&location("https://user:secret@evil.example/x?token=secret"), During::List, "s3://b");
        assert!(error.to_string().contains("evil.example") && !error.to_string().contains("secret"), "{error}");
    }
}
