//! Credentials that were given, for a while, or why there are none.

use crate::{Error, Kind};
use object_store::aws::AwsCredential;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// There are no credentials; the sentence says where they were looked for.
#[derive(Debug)]
pub(in crate::store::remote) struct NoCredentials(pub(in crate::store::remote) String);

/// A service that gives credentials does not answer, or fails.
#[derive(Debug)]
pub(in crate::store::remote) struct CredentialOutage(pub(in crate::store::remote) String);

impl fmt::Display for NoCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for CredentialOutage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoCredentials {}
impl std::error::Error for CredentialOutage {}

/// Why none were given, in a sentence without secrets.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    /// It was refused, or there are none.
    Refused(String),
    /// It may pass.
    Outage(String),
}

impl Trouble {
    /// The sentence with what it is about before it.
    pub(super) fn of(self, what: &str) -> Self {
        match self {
            Self::Refused(why) => Self::Refused(format!("{what}: {why}")),
            Self::Outage(why) => Self::Outage(format!("{what}: {why}")),
        }
    }

    /// For callers beyond this part. No `From`: `?` would have to guess in all of the program.
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Refused(why) => Error::new(Kind::Denied, why),
            Self::Outage(why) => Error::new(Kind::Unreachable, why),
        }
    }

    pub(super) fn sentence(&self) -> &str {
        match self {
            Self::Refused(why) | Self::Outage(why) => why,
        }
    }
}

impl From<Trouble> for object_store::Error {
    fn from(trouble: Trouble) -> Self {
        let source: Box<dyn std::error::Error + Send + Sync> = match trouble {
            Trouble::Refused(why) => Box::new(NoCredentials(why)),
            Trouble::Outage(why) => Box::new(CredentialOutage(why)),
        };
        Self::Generic { store: "credentials", source }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        match error.kind() {
            Kind::Denied | Kind::Invalid | Kind::NotFound => Self::Refused(error.to_string()),
            _ => Self::Outage(error.to_string()),
        }
    }
}

/// Credentials, and until when they hold.
pub(super) struct Given<C = AwsCredential> {
    pub(super) credential: Arc<C>,
    /// `None`: nobody said that they end.
    pub(super) expires: Option<jiff::Timestamp>,
}

impl<C> Clone for Given<C> {
    fn clone(&self) -> Self {
        Self { credential: Arc::clone(&self.credential), expires: self.expires }
    }
}

impl Given {
    pub(super) fn new(key: &str, secret: &str, token: Option<&str>, expires: Option<jiff::Timestamp>) -> Self {
        let credential =
            AwsCredential { key_id: key.to_owned(), secret_key: secret.to_owned(), token: token.map(str::to_owned) };
        Self { credential: Arc::new(credential), expires }
    }
}

/// What a `credential_process` prints, as the AWS SDKs' reference guide has it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Output {
    version: u32,
    access_key_id: String,
    secret_access_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration: Option<String>,
}

/// What the containers' and the instances' services send.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<String>,
}

/// Reads what a process printed.
pub(super) fn of_process(output: &[u8]) -> Result<Given, Trouble> {
    // The parser's own words may show what it stumbled over.
    let output: Output = serde_json::from_slice(output).map_err(|error| senseless("its output", &error))?;
    if output.version != 1 {
        return Err(Trouble::Refused(format!("its output is of version {}, not 1", output.version)));
    }
    let expires = time(output.expiration.as_deref())?;
    Ok(Given::new(&output.access_key_id, &output.secret_access_key, output.session_token.as_deref(), expires))
}

/// The form of a process's output, for another process.
pub(super) fn as_output(given: &Given) -> Zeroizing<Vec<u8>> {
    let output = Output {
        version: 1,
        access_key_id: given.credential.key_id.clone(),
        secret_access_key: given.credential.secret_key.clone(),
        session_token: given.credential.token.clone(),
        expiration: given.expires.map(|expires| expires.to_string()),
    };
    // Text alone: nothing in it can fail.
    Zeroizing::new(serde_json::to_vec(&output).expect("text"))
}

/// Reads what a container's or an instance's service sent.
pub(super) fn of_service(document: &str) -> Result<Given, Trouble> {
    let document: Document = serde_json::from_str(document).map_err(|error| senseless("its answer", &error))?;
    let expires = time(document.expiration.as_deref())?;
    Ok(Given::new(&document.access_key_id, &document.secret_access_key, document.token.as_deref(), expires))
}

/// What is not what it should be, without what stands there.
pub(super) fn senseless(what: &str, error: &serde_json::Error) -> Trouble {
    Trouble::Refused(format!("{what} is not what it should be (line {}, column {})", error.line(), error.column()))
}

pub(super) fn time(text: Option<&str>) -> Result<Option<jiff::Timestamp>, Trouble> {
    let time = text.map(str::parse).transpose();
    time.map_err(|error| Trouble::Refused(format!("its time of expiry makes no sense: {error}")))
}
