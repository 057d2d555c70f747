//! What a failed request means: to the caller a [`Kind`], to a person one sentence with the store's own words and, where there is
//! one, the option that helps.

use super::http::Refusal;
use crate::{Error, Kind};
use object_store::client::{HttpError, HttpErrorKind};
use std::error::Error as StdError;

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum During {
    List,
    Head,
    /// Of an object that was listed.
    Get,
}

/// Translates a failure of a request to the store called `name`.
pub(super) fn explain(error: &object_store::Error, during: During, name: &str) -> Error {
    if let Some(refusal) = find::<Refusal>(error) {
        return answered(refusal.status, &refusal.body, during, name);
    }
    if let Some(http) = find::<HttpError>(error) {
        return unanswered(http, name);
    }
    match error {
        // Of the service that gives credentials.
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            answered(403, "", during, name)
        }
        other => Error::corrupt(format!("{name} sent an answer that makes no sense: {}", innermost(other))),
    }
}

/// The store answered with a status other than success.
fn answered(status: u16, body: &str, during: During, name: &str) -> Error {
    let (code, said) = (tag(body, "Code"), tag(body, "Message"));
    let mut words = format!("HTTP status {status}");
    for part in [code, said].into_iter().flatten() {
        words.push_str(", ");
        words.push_str(&part.escape_debug().to_string());
    }
    match (status, code.unwrap_or("")) {
        (_, "ExpiredToken" | "InvalidToken" | "InvalidAccessKeyId" | "SignatureDoesNotMatch") | (401 | 403, _) => {
            Error::new(Kind::Denied, format!("{name} refuses the credentials ({words})"))
        }
        (_, "AuthorizationHeaderMalformed" | "PermanentRedirect" | "IncorrectEndpoint")
        | (301 | 302 | 307 | 308, _) => elsewhere(name),
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

fn elsewhere(name: &str) -> Error {
    Error::invalid(format!("{name} is in another region, or behind another endpoint: give --region or --endpoint-url"))
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
/// What lies at the bottom of an error.
pub(in crate::store) fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
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
            (501, "NotImplemented", During::List, Kind::Unsupported),
            (400, "InvalidArgument", During::List, Kind::Invalid),
        ] {
            let error = answered(status, &body(code), during, "s3://b");
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
}
