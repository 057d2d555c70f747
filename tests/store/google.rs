//! Google's and Azure's credentials, from services on loopback.

use cassmount::store::{ObjectMeta, Source, Store, StoreOptions};
use cassmount::{Error, Kind};
use futures::TryStreamExt;
use std::fs;
use std::path::Path;
use std::time::Duration;
use testkit::http_stub::HttpStub;

const PAGE: &str = "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>x</Key><Size>7</Size>\
    <LastModified>2026-11-21T02:45:00.000Z</LastModified><ETag>\"a\"</ETag></Contents></ListBucketResult>";

/// A bucket, a token service, and one that impersonates; `lifetime`: of what the last one gives.
fn google(lifetime: Duration) -> HttpStub {
    HttpStub::start(move |asked| {
        let expires = jiff::Timestamp::now() + jiff::SignedDuration::try_from(lifetime).unwrap();
        if asked.contains("subject_token=bad") {
            let text = "{\"error\":\"invalid_grant\",\"error_description\":\"the subject token has expired\"}";
            return (400, text.to_owned());
        }
        let path = asked.split(' ').nth(1).unwrap().split_whitespace().next().unwrap();
        match path {
            "/token" => (200, "{\"access_token\":\"exchanged\",\"expires_in\":3600}".to_owned()),
            "/login" => (200, "{\"access_token\":\"logged-in\",\"expires_in\":3600}".to_owned()),
            "/v1/reader@p:generateAccessToken" => {
                (200, format!("{{\"accessToken\":\"impersonated\",\"expireTime\":\"{expires}\"}}"))
            }
            "/subject" => (200, "{\"value\":\"from-url\"}".to_owned()),
            _ if path.starts_with("/bucket") => (200, PAGE.to_owned()),
            _ => (404, String::new()),
        }
    })
}

fn open(source: &str, variables: &[(&str, &str)], endpoint: &str) -> Result<Store, Error> {
    let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let timeout = Duration::from_secs(10);
    let endpoint_url = Some(endpoint.to_owned());
    Store::open(
        &Source::parse(source).unwrap(),
        &StoreOptions { endpoint_url, environment, timeout, ..StoreOptions::default() },
    )
}

/// A bucket with the credentials in a file.
fn by_file(server: &HttpStub, file: &Path, content: &str) -> Result<Store, Error> {
    fs::write(file, content.replace("SERVER", &server.url())).unwrap();
    open("gs://bucket", &[("GOOGLE_APPLICATION_CREDENTIALS", file.to_str().unwrap())], &server.url())
}

async fn keys(store: &Store) -> Result<usize, Error> {
    store.list("").try_collect::<Vec<ObjectMeta>>().await.map(|objects| objects.len())
}

fn external(source: &str, more: &str) -> String {
    format!(
        "{{\"type\":\"external_account\",\"audience\":\"//iam.googleapis.com/pool\",\"subject_token_type\":\"urn:jwt\",\
         \"token_url\":\"SERVER/token\",\"credential_source\":{source}{more}}}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workloads_token_is_exchanged_and_read_anew() {
    let server = google(Duration::from_secs(1));
    let work = tempfile::tempdir().unwrap();
    let (file, token) = (work.path().join("file.json"), work.path().join("token"));
    fs::write(&token, "first\n").unwrap();
    let source = format!("{{\"file\":\"{}\"}}", token.display());
    let more = ",\"service_account_impersonation_url\":\"SERVER/v1/reader@p:generateAccessToken\"";
    let store = by_file(&server, &file, &external(&source, more)).unwrap();
    assert_eq!(keys(&store).await.unwrap(), 1);
    fs::write(&token, "second\n").unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(keys(&store).await.unwrap(), 1);
    let seen = server.seen();
    for (number, part) in [
        (0, "subject_token=first"),
        (0, "audience=%2F%2Fiam.googleapis.com%2Fpool"),
        (1, "authorization: Bearer exchanged"),
        (1, "\"lifetime\":\"3600s\""),
        (2, "authorization: Bearer impersonated"),
        (3, "subject_token=second"),
    ] {
        assert!(seen[number].contains(part), "{part}: {seen:?}");
    }
    fs::write(&token, "bad").unwrap();
    let error = by_file(&server, &file, &external(&source, more)).unwrap().check().await.unwrap_err();
    let said = error.to_string();
    assert!(error.kind() == Kind::Denied && said.contains("invalid_grant, the subject token has expired"), "{said}");
    assert!(said.contains(file.to_str().unwrap()), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_come_from_a_url_and_from_logins() {
    let server = google(Duration::from_mins(1));
    let work = tempfile::tempdir().unwrap();
    let file = work.path().join("file.json");
    let login = "\"client_id\":\"me\",\"client_secret\":\"hidden\",\"refresh_token\":\"again\"";
    let by_url = external(
        "{\"url\":\"SERVER/subject\",\"headers\":{\"Metadata\":\"True\"},\"format\":{\"type\":\"json\",\
         \"subject_token_field_name\":\"value\"}}",
        "",
    );
    let workforce = format!("{{\"type\":\"external_account_authorized_user\",\"token_url\":\"SERVER/login\",{login}}}");
    let impersonated = format!(
        "{{\"type\":\"impersonated_service_account\",\"service_account_impersonation_url\":\
         \"SERVER/v1/reader@p:generateAccessToken\",\"source_credentials\":{{\"type\":\"authorized_user\",\
         \"token_uri\":\"SERVER/login\",{login}}}}}"
    );
    for (content, parts) in [
        (&by_url, &["metadata: True", "subject_token=from-url", "Bearer exchanged"][..]),
        (&workforce, &["refresh_token=again", "Bearer logged-in"]),
        (&impersonated, &["refresh_token=again", "Bearer logged-in", "Bearer impersonated"]),
    ] {
        let before = server.seen().len();
        assert_eq!(keys(&by_file(&server, &file, content).unwrap()).await.unwrap(), 1, "{content}");
        let seen = &server.seen()[before..];
        assert_eq!(seen.len(), parts.len(), "{seen:?}");
        assert!(seen.iter().zip(parts).all(|(asked, part)| asked.contains(part)), "{seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_named() {
    let server = google(Duration::from_mins(1));
    let work = tempfile::tempdir().unwrap();
    let file = work.path().join("file.json");
    for (content, says) in [
        ("{\"type\":\"service_account\",\"private_key\":\"hidden", "makes no sense at line 1"),
        ("{\"type\":\"gdch_service_account\",\"private_key\":\"hidden\"}", "supported are service_account"),
        (
            "{\"type\":\"service_account\",\"private_key\":\"hidden\",\"private_key_id\":\"1\",\"client_email\":\"e\"}",
            "cannot be used",
        ),
    ] {
        let error = by_file(&server, &file, content).unwrap_err();
        let said = error.to_string();
        assert!(error.kind() == Kind::Denied && said.contains(says) && !said.contains("hidden"), "{said}");
        assert!(said.contains(file.to_str().unwrap()) && said.contains("(GOOGLE_APPLICATION_CREDENTIALS)"), "{said}");
    }
    let missing = work.path().join("none").display().to_string();
    let error = open("gs://bucket", &[("SERVICE_ACCOUNT", &missing)], &server.url()).unwrap_err();
    assert!(error.kind() == Kind::Denied && error.to_string().contains(&missing), "{error}");

    let azure = [
        ("AZURE_STORAGE_ACCOUNT_NAME", "acc"),
        ("AZURE_CLIENT_ID", "c"),
        ("AZURE_TENANT_ID", "t"),
        ("AZURE_FEDERATED_TOKEN_FILE", &missing),
    ];
    let error = open("az://container", &azure, &server.url()).unwrap().check().await.unwrap_err();
    assert!(error.kind() == Kind::Denied && error.to_string().contains(&missing), "{error}");
    let error = open("az://container", &azure[1..], &server.url()).unwrap_err();
    assert!(error.to_string().contains("AZURE_STORAGE_ACCOUNT_NAME"), "{error}");
}
