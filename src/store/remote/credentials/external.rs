//! Google's credentials of other kinds than a service account's key: workload identity federation
//! (`external_account`), workforce logins, and service accounts that are impersonated.
//!
//! `object_store` knows none of them. Google's own crate for it (`google-cloud-auth`) brings a
//! second HTTP client's set-up, a second way to resolve names and to trust certificates; it takes a
//! few requests (AIP-4117).

use super::given::{Given, Trouble, senseless, time};
use super::renewed::Renewed;
use super::services::{Question, Services, read};
use crate::store::options::StoreOptions;
use crate::store::remote::http::Connector;
use crate::{Error, Kind, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures::future::BoxFuture;
use object_store::gcp::{GcpCredential, GcpCredentialProvider};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const LOGIN: &str = "https://oauth2.googleapis.com/token";
const LIFETIME: u32 = 3600;

/// A credentials file. Not `Debug`: it holds secrets.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum CredentialsFile {
    ExternalAccount(Box<External>),
    ExternalAccountAuthorizedUser(Login),
    AuthorizedUser(Login),
    ImpersonatedServiceAccount {
        service_account_impersonation_url: String,
        source_credentials: Box<CredentialsFile>,
        #[serde(default)]
        delegates: Vec<String>,
    },
}

/// A token of somebody else's is exchanged.
#[derive(Deserialize)]
struct External {
    audience: String,
    subject_token_type: String,
    token_url: String,
    credential_source: Subject,
    service_account_impersonation_url: Option<String>,
    service_account_impersonation: Option<Impersonation>,
    client_id: Option<String>,
    client_secret: Option<String>,
    workforce_pool_user_project: Option<String>,
}

#[derive(Deserialize)]
struct Impersonation {
    token_lifetime_seconds: Option<u32>,
}

/// Where the token is.
#[derive(Deserialize)]
struct Subject {
    file: Option<String>,
    url: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    format: Option<Format>,
    executable: Option<serde::de::IgnoredAny>,
    environment_id: Option<serde::de::IgnoredAny>,
    certificate: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Format {
    r#type: String,
    subject_token_field_name: Option<String>,
}

/// Somebody has logged in.
#[derive(Deserialize)]
struct Login {
    client_id: String,
    client_secret: String,
    refresh_token: String,
    #[serde(alias = "token_uri")]
    token_url: Option<String>,
}

/// What a token service answers.
#[derive(Deserialize)]
struct Token {
    access_token: String,
    expires_in: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Impersonated {
    access_token: String,
    expire_time: String,
}

/// Credentials by a file that `called` names, for people.
pub(in crate::store::remote) fn credentials(
    content: &[u8],
    called: &str,
    options: &StoreOptions,
    connector: Connector,
) -> Result<GcpCredentialProvider> {
    let refused = |why: String| Error::new(Kind::Denied, format!("{called} cannot be used: {why}"));
    let account: CredentialsFile = serde_json::from_slice(content).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        refused(format!(
            "it is of a type that is not supported, or lacks something ({place}); supported are service_account, \
             authorized_user, external_account, external_account_authorized_user and impersonated_service_account"
        ))
    })?;
    account.check().map_err(refused)?;
    let services = Arc::new(Services::new(options.clone(), String::new(), connector));
    let (account, called) = (Arc::new(account), called.to_owned());
    Ok(Arc::new(Renewed::new(Box::new(move || {
        let (account, services, called) = (Arc::clone(&account), Arc::clone(&services), called.clone());
        Box::pin(async move { account.ask(&services).await.map_err(|trouble| trouble.of(&called)) })
    }))))
}

/// The file that the token of somebody else's is in.
pub(in crate::store::remote) fn token_file(content: &[u8]) -> Option<PathBuf> {
    fn of(account: CredentialsFile) -> Option<String> {
        match account {
            CredentialsFile::ExternalAccount(external) => external.credential_source.file,
            CredentialsFile::ImpersonatedServiceAccount { source_credentials, .. } => of(*source_credentials),
            CredentialsFile::ExternalAccountAuthorizedUser(_) | CredentialsFile::AuthorizedUser(_) => None,
        }
    }
    of(serde_json::from_slice(content).ok()?).map(PathBuf::from)
}

impl CredentialsFile {
    /// What can be told before anything is asked.
    fn check(&self) -> std::result::Result<(), String> {
        match self {
            Self::ExternalAccount(external) => {
                external.credential_source.check()?;
                let urls = [Some(&external.token_url), external.service_account_impersonation_url.as_ref()];
                urls.into_iter().flatten().try_for_each(|url| check_url(url))
            }
            Self::ExternalAccountAuthorizedUser(login) | Self::AuthorizedUser(login) => {
                login.token_url.iter().try_for_each(|url| check_url(url))
            }
            Self::ImpersonatedServiceAccount { service_account_impersonation_url, source_credentials, .. } => {
                check_url(service_account_impersonation_url)?;
                source_credentials.check()
            }
        }
    }

    fn ask<'a>(&'a self, services: &'a Services) -> BoxFuture<'a, std::result::Result<Given<GcpCredential>, Trouble>> {
        Box::pin(async move {
            match self {
                Self::ExternalAccount(external) => external.ask(services).await,
                Self::ExternalAccountAuthorizedUser(login) | Self::AuthorizedUser(login) => login.ask(services).await,
                Self::ImpersonatedServiceAccount {
                    service_account_impersonation_url,
                    source_credentials,
                    delegates,
                } => {
                    let by = source_credentials.ask(services).await?;
                    impersonate(service_account_impersonation_url, &by, LIFETIME, delegates, services).await
                }
            }
        })
    }
}

impl Subject {
    fn check(&self) -> std::result::Result<(), String> {
        let way_out = "have the token written to a file, again and again, and name it as credential_source.file";
        if self.executable.is_some() {
            return Err(format!("its token is made by a program, which is not run: {way_out}"));
        }
        if self.environment_id.is_some() || self.certificate.is_some() {
            return Err(
                "its token is made from AWS's credentials or from a certificate, which is not supported: take \
                 keys for S3's protocol (HMAC) of a service account"
                    .to_owned(),
            );
        }
        if let Some(format) = &self.format
            && !(format.r#type == "text" || (format.r#type == "json" && format.subject_token_field_name.is_some()))
        {
            return Err("the format of its credential_source is neither text, nor json with a \
                 subject_token_field_name"
                .to_owned());
        }
        match (&self.file, &self.url) {
            (Some(_), None) => Ok(()),
            (None, Some(url)) => check_url(url),
            _ => Err("its credential_source has neither a file nor a url, or both".to_owned()),
        }
    }

    async fn token(&self, services: &Services) -> std::result::Result<String, Trouble> {
        let (text, place) = match (&self.file, &self.url) {
            (Some(file), _) => (read(file.clone()).await?, file.clone()),
            (None, url) => {
                let mut request = Question::get(url.clone().unwrap_or_default()).request()?;
                for (name, value) in &self.headers {
                    let wrong = || Trouble::Refused("a header of its credential_source makes no sense".to_owned());
                    let name = name.parse::<reqwest::header::HeaderName>().map_err(|_| wrong())?;
                    request.headers_mut().insert(name, value.parse().map_err(|_| wrong())?);
                }
                let (status, text) = services.send(request).await?;
                if status != 200 {
                    let what = "the service that gives its subject token answers with HTTP status";
                    return Err(Trouble::Refused(format!("{what} {status}")));
                }
                (text, "the service that gives its subject token".to_owned())
            }
        };
        let field = self.format.as_ref().and_then(|format| format.subject_token_field_name.as_ref());
        let token = match field.filter(|_| self.format.as_ref().is_some_and(|format| format.r#type == "json")) {
            None => text.trim().to_owned(),
            Some(field) => {
                let value: serde_json::Value =
                    serde_json::from_str(&text).map_err(|error| senseless(&place, &error))?;
                value.get(field).and_then(|token| token.as_str()).unwrap_or_default().to_owned()
            }
        };
        if token.is_empty() {
            return Err(Trouble::Refused(format!("{place} has no token")));
        }
        Ok(token)
    }
}

impl External {
    async fn ask(&self, services: &Services) -> std::result::Result<Given<GcpCredential>, Trouble> {
        let token = self.credential_source.token(services).await?;
        let mut pairs = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("audience", &self.audience),
            ("scope", SCOPE),
            ("subject_token_type", &self.subject_token_type),
            ("subject_token", &token),
        ];
        let client = self.client_id.as_deref().zip(self.client_secret.as_deref());
        let project = self.workforce_pool_user_project.as_ref().filter(|_| client.is_none());
        let project = project.map(|project| serde_json::json!({ "userProject": project }).to_string());
        pairs.extend(project.iter().map(|project| ("options", project.as_str())));
        let given = token_of(&self.token_url, client, &pairs, services).await?;
        let Some(url) = &self.service_account_impersonation_url else { return Ok(given) };
        let lifetime = self.service_account_impersonation.as_ref().and_then(|how| how.token_lifetime_seconds);
        impersonate(url, &given, lifetime.unwrap_or(LIFETIME), &[], services).await
    }
}

impl Login {
    async fn ask(&self, services: &Services) -> std::result::Result<Given<GcpCredential>, Trouble> {
        let (id, secret) = (self.client_id.as_str(), self.client_secret.as_str());
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", &self.refresh_token),
            ("client_id", id),
            ("client_secret", secret),
        ];
        token_of(self.token_url.as_deref().unwrap_or(LOGIN), Some((id, secret)), &form, services).await
    }
}

async fn token_of(
    url: &str,
    client: Option<(&str, &str)>,
    form: &[(&str, &str)],
    services: &Services,
) -> std::result::Result<Given<GcpCredential>, Trouble> {
    let mut headers = vec![("content-type", "application/x-www-form-urlencoded".to_owned())];
    headers.extend(
        client.map(|(id, secret)| {
            ("authorization", format!("Basic {}", BASE64_STANDARD.encode(format!("{id}:{secret}"))))
        }),
    );
    let question = Question { method: "POST", url: url.to_owned(), headers, body: encoded(form) };
    let answer = services.send(question.request()?).await.and_then(answered);
    let token =
        answer.and_then(|text| serde_json::from_str::<Token>(&text).map_err(|error| senseless("its answer", &error)));
    let token = token.map_err(|trouble| trouble.of("the token service"))?;
    let expires = token.expires_in.map(|seconds| jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds));
    Ok(Given { credential: Arc::new(GcpCredential { bearer: token.access_token }), expires })
}

fn encoded(form: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

/// The service account, for whom `by` are the credentials.
async fn impersonate(
    url: &str,
    by: &Given<GcpCredential>,
    seconds: u32,
    delegates: &[String],
    services: &Services,
) -> std::result::Result<Given<GcpCredential>, Trouble> {
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        ("authorization", format!("Bearer {}", by.credential.bearer)),
    ];
    let body = serde_json::json!({ "scope": [SCOPE], "lifetime": format!("{seconds}s"), "delegates": delegates });
    let question = Question { method: "POST", url: url.to_owned(), headers, body: body.to_string() };
    let account = url.rsplit('/').next().and_then(|last| last.split(':').next()).unwrap_or_default().to_owned();
    let given = services.send(question.request()?).await.and_then(answered).and_then(|text| {
        let token = serde_json::from_str::<Impersonated>(&text).map_err(|error| senseless("its answer", &error))?;
        let credential = Arc::new(GcpCredential { bearer: token.access_token });
        Ok(Given { credential, expires: time(Some(&token.expire_time))? })
    });
    given.map_err(|trouble| trouble.of(&format!("the service account {account}")))
}

/// The document of an answer; of a refusal the service's own words.
fn answered((status, text): (u16, String)) -> std::result::Result<String, Trouble> {
    if status == 200 {
        return Ok(text);
    }
    let document: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let said = ["/error/status", "/error/message", "/error", "/error_description"]
        .into_iter()
        .filter_map(|place| document.pointer(place)?.as_str())
        .map(|words| words.chars().take(300).flat_map(char::escape_debug).collect::<String>());
    let why: Vec<String> = std::iter::once(format!("HTTP status {status}")).chain(said).collect();
    Err(Trouble::Refused(format!("it is refused ({})", why.join(", "))))
}

/// Tokens leave in plain HTTP only to this machine, or to a metadata service.
fn check_url(url: &str) -> std::result::Result<(), String> {
    let parsed = url::Url::parse(url).ok();
    let host = parsed.as_ref().and_then(url::Url::host_str).unwrap_or_default();
    let is_near = host == "localhost"
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback() || address.is_link_local());
    match parsed.as_ref().map(url::Url::scheme) {
        Some("https") if !host.is_empty() => Ok(()),
        Some("http") if is_near => Ok(()),
        _ => Err(format!("a URL in it, of {host:?}, has to be https://, or http:// at this machine")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(content: &str) -> String {
        let account: CredentialsFile = serde_json::from_str(content).unwrap();
        account.check().unwrap_err()
    }

    fn external(source: &str, token_url: &str) -> String {
        format!(
            "{{\"type\":\"external_account\",\"audience\":\"a\",\"subject_token_type\":\"t\",\"token_url\":\"{token_url}\",\
             \"credential_source\":{source}}}"
        )
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_the_way_out() {
        for (source, url, says) in [
            ("{\"executable\":{\"command\":\"/bin/x\"}}", "https://sts", "credential_source.file"),
            ("{\"environment_id\":\"aws1\",\"url\":\"http://169.254.169.254/\"}", "https://sts", "HMAC"),
            ("{\"file\":\"/t\",\"format\":{\"type\":\"json\"}}", "https://sts", "subject_token_field_name"),
            ("{}", "https://sts", "neither a file nor a url"),
            ("{\"file\":\"/t\"}", "http://far.example/x", "has to be https://"),
            ("{\"url\":\"http://far.example/x\"}", "https://sts", "has to be https://"),
        ] {
            let said = refusal(&external(source, url));
            assert!(said.contains(says), "{source}: {said}");
        }
        let good = external("{\"url\":\"http://169.254.169.254/x\"}", "https://sts");
        assert!(serde_json::from_str::<CredentialsFile>(&good).unwrap().check().is_ok());
    }

    #[test]
    fn the_file_with_the_token_is_known() {
        let file = external("{\"file\":\"/run/token\"}", "https://sts");
        assert_eq!(token_file(file.as_bytes()), Some("/run/token".into()));
        let by_others = format!(
            "{{\"type\":\"impersonated_service_account\",\"service_account_impersonation_url\":\"https://x\",\
             \"source_credentials\":{file}}}"
        );
        assert_eq!(token_file(by_others.as_bytes()), Some("/run/token".into()));
        assert_eq!(token_file(b"{\"type\":\"service_account\"}"), None);
    }
}
