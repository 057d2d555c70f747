//! Roles, as AWS's Security Token Service gives them.

use super::given::{Given, Trouble, time};
use super::services::{Question, Services, read};
use super::way::Role;
use crate::store::remote::address::domain_of;
use crate::store::remote::refusal::tag;
use object_store::aws::AwsAuthorizer;
use serde::Deserialize;
use std::path::Path;

/// What sessions are called in AWS's logs.
const SESSION: &str = "cassmount";

/// What the service answers to both of the questions.
#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "AssumeRoleResult", alias = "AssumeRoleWithWebIdentityResult")]
    result: Outcome,
}

#[derive(Deserialize)]
struct Outcome {
    #[serde(rename = "Credentials")]
    credentials: Session,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Session {
    access_key_id: String,
    secret_access_key: String,
    #[serde(rename = "SessionToken")]
    token: String,
    expiration: String,
}

/// The role, for whom `by` are the credentials.
pub(super) async fn assume(
    role: &Role,
    by: &Given,
    endpoint: Option<&str>,
    services: &Services,
) -> Result<Given, Trouble> {
    let mut request = question("AssumeRole", role, None, endpoint, services).request()?;
    let signed = AwsAuthorizer::new(&by.credential, "sts", &services.region).try_authorize(&mut request, None);
    signed.map_err(|error| Trouble::Refused(format!("the request cannot be signed: {error}")))?;
    let answer = services.send(request).await.and_then(given);
    answer.map_err(|trouble| trouble.of(&format!("the role {}", role.arn)))
}

/// The role, for whom the token in a file speaks.
pub(super) async fn web_identity(
    role: &Role,
    token_file: &Path,
    endpoint: Option<&str>,
    services: &Services,
) -> Result<Given, Trouble> {
    let token = read(token_file.display().to_string()).await?;
    let question = question("AssumeRoleWithWebIdentity", role, Some(token.trim()), endpoint, services);
    let answer = services.send(question.request()?).await.and_then(given);
    answer.map_err(|trouble| trouble.of(&format!("the role {}", role.arn)))
}

fn question(action: &str, role: &Role, token: Option<&str>, endpoint: Option<&str>, services: &Services) -> Question {
    let variable = |name: &str| services.options.variable(name);
    let own = ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"].into_iter().find_map(variable).or(endpoint);
    let region = &services.region;
    let url = own.map_or_else(|| format!("https://sts.{region}.{}", domain_of(region)), str::to_owned);
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("Action", action).append_pair("Version", "2011-06-15").append_pair("RoleArn", &role.arn);
    form.append_pair("RoleSessionName", role.session_name.as_deref().unwrap_or(SESSION));
    for (name, value) in [
        ("ExternalId", role.external_id.as_deref()),
        ("DurationSeconds", role.seconds.as_deref()),
        ("WebIdentityToken", token),
    ] {
        if let Some(value) = value {
            form.append_pair(name, value);
        }
    }
    let headers = vec![("content-type", "application/x-www-form-urlencoded".to_owned())];
    Question { method: "POST", url: format!("{}/", url.trim_end_matches('/')), headers, body: form.finish() }
}

fn given((status, document): (u16, String)) -> Result<Given, Trouble> {
    if status != 200 {
        let said = ["Code", "Message"].into_iter().filter_map(|name| tag(&document, name));
        let said = said.map(|text| text.escape_debug().to_string());
        let why: Vec<String> = std::iter::once(format!("HTTP status {status}")).chain(said).collect();
        return Err(Trouble::Refused(format!("it is refused ({})", why.join(", "))));
    }
    // The parser's own words may show what it stumbled over.
    let answer: Answer = quick_xml::de::from_str(&document)
        .map_err(|_| Trouble::Refused("the answer is not what it should be".into()))?;
    let Session { access_key_id, secret_access_key, token, expiration } = answer.result.credentials;
    Ok(Given::new(&access_key_id, &secret_access_key, Some(&token), time(Some(&expiration))?))
}
