//! What a failed request means: to the caller a [`Kind`], to a person one sentence with the store's
//! own words and, where there is one, the option that helps.

use super::causes::{find, innermost};
use super::credentials::{CredentialOutage, NoCredentials};
use super::refusal::{Refusal, Unanswered, WholeAnswer, host_of, is_archived, tag};
use crate::{Error, Kind};
use object_store::client::{HttpError, HttpErrorKind};

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
        return answered(refusal, during, name);
    }
    if let Some(none) = find::<NoCredentials>(error) {
        return Error::new(
            Kind::Denied,
            format!("no credentials for {name}: {none} (for public buckets: --no-sign-request)"),
        );
    }
    if let Some(outage) = find::<CredentialOutage>(error) {
        return Error::new(Kind::Unreachable, format!("credentials for {name} cannot be had: {outage}"));
    }
    if let Some(whole) = find::<WholeAnswer>(error) {
        return whole_answer(whole, name);
    }
    if let Some(http) = find::<HttpError>(error) {
        let asked = find::<Unanswered>(error).and_then(|unanswered| unanswered.asked.as_deref());
        return unanswered(http, &at(name, asked));
    }
    match error {
        // Of the service that gives credentials.
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            let body = String::new();
            answered(&Refusal { status: 403, body, region: None, location: None, by: None }, during, name)
        }
        other => Error::corrupt(format!("{name} sent an answer that makes no sense: {}", innermost(other))),
    }
}

/// The store answered with a status other than success.
pub(super) fn answered(refusal: &Refusal, during: During, name: &str) -> Error {
    let (status, body) = (refusal.status, refusal.body.as_str());
    let (code, said) = (tag(body, "Code"), tag(body, "Message"));
    let mut words = format!("HTTP status {status}");
    for part in [code, said].into_iter().flatten() {
        words.push_str(", ");
        words.push_str(&part.escape_debug().to_string());
    }
    let at = at(name, refusal.by.as_deref());
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
            Error::new(Kind::Denied, format!("{at} refuses the credentials ({words})"))
        }
        (_, "AuthorizationHeaderMalformed" | "PermanentRedirect" | "IncorrectEndpoint")
        | (301 | 302 | 307 | 308, _) => elsewhere(refusal, name),
        (404 | 410 | 412 | 416, _) if during == During::Get => {
            let what = if matches!(status, 404 | 410) { "deleted" } else { "replaced" };
            Error::new(Kind::Changed, format!("the object was {what} since it was listed"))
        }
        (404, "NoSuchBucket") => Error::not_found(format!("there is no bucket {at}")),
        (404 | 410, _) if during == During::List => Error::not_found(format!("there is no {at} ({words})")),
        (404 | 410, _) => Error::not_found("there is no such object"),
        (408 | 429, _) | (_, "SlowDown" | "RequestTimeout" | "InternalError") => {
            Error::new(Kind::Unreachable, format!("{at} fails ({words})"))
        }
        (501, _) => Error::new(Kind::Unsupported, format!("{at} does not know this request ({words})")),
        (500.., _) => Error::new(Kind::Unreachable, format!("{at} fails ({words})")),
        _ => Error::new(Kind::Invalid, format!("{at} refuses the request ({words})")),
    }
}

/// The store, and who was asked for it: the wrong endpoint or region shows there.
fn at(name: &str, host: Option<&str>) -> String {
    host.map_or_else(|| name.to_owned(), |host| format!("{name} at {host}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, body: &str) -> Refusal {
        Refusal { status, body: body.to_owned(), region: None, location: None, by: Some("host:1".to_owned()) }
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
            let said = error.to_string();
            assert!(!said.contains("StringToSign"));
            let may_be_elsewhere = matches!(kind, Kind::Denied | Kind::Unreachable) || code == "NoSuchBucket";
            assert!(!may_be_elsewhere || said.contains("s3://b at host:1"), "{said}");
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
