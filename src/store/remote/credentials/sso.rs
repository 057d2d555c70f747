//! IAM Identity Center: `aws sso login` leaves a token in `~/.aws/sso/cache`, which is exchanged for
//! the credentials of a role, and renewed where it came with the means.

use super::given::{Given, Trouble, senseless, time};
use super::services::{Question, Services};
use super::way::Sso;
use crate::store::remote::address::domain_of;
use crate::store::remote::profile::home;
use crate::{Error, Result as Done, task};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha1::{Digest, Sha1};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A token is renewed so long before it expires, seconds.
const MARGIN: i64 = 5 * 60;

/// The file, whose other fields are left as they are.
struct Token {
    path: PathBuf,
    fields: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    role_credentials: RoleCredentials,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RoleCredentials {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    /// Milliseconds since 1970.
    expiration: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RenewedToken {
    access_token: String,
    /// Seconds.
    expires_in: i64,
    refresh_token: Option<String>,
}

/// The credentials of the role.
pub(super) async fn credentials(sso: &Sso, services: &Services) -> Result<Given, Trouble> {
    let asked = async {
        let token = token(sso, services).await?;
        let access = token.text("accessToken").ok_or_else(|| expired("has no token"))?;
        let place = endpoint(services, "AWS_ENDPOINT_URL_SSO", "portal.sso", &sso.region);
        let mut question = Question::get(format!("{place}/federation/credentials?{}", query(sso)));
        question.headers.push(("x-amz-sso_bearer_token", access.to_owned()));
        match services.send(question.request()?).await? {
            (200, document) => given(&document),
            (401, _) => Err(expired("was ended")),
            (status, _) => Err(Trouble::Refused(format!(
                "the role {} of account {} is refused (HTTP status {status})",
                sso.role, sso.account
            ))),
        }
    };
    asked.await.map_err(|trouble| trouble.of(&format!("the SSO session {}", sso.identifier)))
}

fn query(sso: &Sso) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("role_name", &sso.role).append_pair("account_id", &sso.account);
    query.finish()
}

fn given(document: &str) -> Result<Given, Trouble> {
    let Answer { role_credentials: of } =
        serde_json::from_str(document).map_err(|error| senseless("the answer", &error))?;
    let expires = jiff::Timestamp::from_millisecond(of.expiration);
    let expires = expires.map_err(|_| Trouble::Refused("its time of expiry makes no sense".into()))?;
    Ok(Given::new(&of.access_key_id, &of.secret_access_key, Some(&of.session_token), Some(expires)))
}

/// The token, as the file has it, or renewed.
async fn token(sso: &Sso, services: &Services) -> Result<Token, Trouble> {
    let path = path(&services.options, &sso.identifier);
    let token = task::blocking(move || Token::read(path)).await.map_err(Trouble::from)?;
    // Older tools wrote the zone in words.
    let expires = token.text("expiresAt").map(|text| text.replace("UTC", "Z"));
    let expires = time(expires.as_deref())?.ok_or_else(|| expired("does not say when it ends"))?;
    let left = expires.duration_since(jiff::Timestamp::now()).as_secs();
    if left > MARGIN {
        return Ok(token);
    }
    match renewed(&token, sso, services).await {
        Ok(Some(renewed)) => Ok(renewed),
        Ok(None) | Err(_) if left > 0 => Ok(token),
        Ok(None) => Err(expired("has expired")),
        Err(trouble) => Err(trouble),
    }
}

/// Where `aws sso login` keeps the token.
fn path(options: &crate::store::options::StoreOptions, identifier: &str) -> PathBuf {
    let name: Vec<String> = Sha1::digest(identifier.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    home(options).join(".aws/sso/cache").join(name.concat()).with_extension("json")
}

/// A token in place of one that ends; `None` where it came without the means.
async fn renewed(token: &Token, sso: &Sso, services: &Services) -> Result<Option<Token>, Trouble> {
    let of = |name: &str| token.text(name);
    let (Some(id), Some(secret), Some(refresh)) = (of("clientId"), of("clientSecret"), of("refreshToken")) else {
        return Ok(None);
    };
    let place = endpoint(services, "AWS_ENDPOINT_URL_SSO_OIDC", "oidc", &sso.region);
    let body = json!({"clientId": id, "clientSecret": secret, "grantType": "refresh_token", "refreshToken": refresh});
    let headers = vec![("content-type", "application/json".to_owned())];
    let question = Question { method: "POST", url: format!("{place}/token"), headers, body: body.to_string() };
    let (status, document) = services.send(question.request()?).await?;
    if status != 200 {
        return Err(expired("has expired and cannot be renewed"));
    }
    let new: RenewedToken = serde_json::from_str(&document).map_err(|error| senseless("the answer", &error))?;
    let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(new.expires_in.clamp(0, 1 << 30));
    let mut fields = token.fields.clone();
    fields.insert("accessToken".into(), new.access_token.into());
    fields.insert("expiresAt".into(), expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into());
    if let Some(refresh) = new.refresh_token {
        fields.insert("refreshToken".into(), refresh.into());
    }
    let token = Token { path: token.path.clone(), fields };
    let (path, text) = (token.path.clone(), Value::Object(token.fields.clone()).to_string());
    // The old one may be worth nothing now: the AWS tools need the new one as well.
    if let Err(error) = task::blocking(move || replace(&path, &text)).await {
        tracing::warn!("{error}: the AWS tools may ask for another login");
    }
    Ok(Some(token))
}

fn replace(path: &Path, text: &str) -> Done<()> {
    let failed = |error| Error::io(format_args!("keep the renewed token in {}", path.display()), error);
    let directory = path.parent().unwrap_or(Path::new("."));
    // Nobody but its owner may read it.
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

impl Token {
    fn read(path: PathBuf) -> Done<Self> {
        let content = match std::fs::read(&path) {
            Ok(content) => content,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::invalid(format!("there is no {}: log in with `aws sso login`", path.display())));
            }
            Err(error) => return Err(Error::io(format_args!("read {}", path.display()), error)),
        };
        // The parser's own words may show what it stumbled over.
        let fields = serde_json::from_slice(&content);
        let fields =
            fields.map_err(|_| Error::invalid(format!("{} is no token of `aws sso login`", path.display())))?;
        Ok(Self { path, fields })
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(Value::as_str)
    }
}

fn endpoint(services: &Services, variable: &str, service: &str, region: &str) -> String {
    let own = services.options.variable(variable).map(|url| url.trim_end_matches('/').to_owned());
    own.unwrap_or_else(|| format!("https://{service}.{region}.{}", domain_of(region)))
}

fn expired(how: &str) -> Trouble {
    Trouble::Refused(format!("it {how}: log in with `aws sso login`"))
}
