//! What requests to S3 are signed with: static keys, the output of a `credential_process`, or what
//! a service hands out. Where there is nothing, that is said soon and with all the places that were
//! looked at.

use super::causes::innermost;
use super::profile::{self, Profile};
use crate::store::options::StoreOptions;
use crate::store::outside::Outside;
use crate::task::blocking;
use crate::{Error, Kind, Result};
use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::{AmazonS3Builder, AwsCredential, AwsCredentialProvider};
use serde::Deserialize;
use std::fmt;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

/// How long a service may take that is most likely not there.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a `credential_process` may take: it may ask services of its own.
const PROCESS_PATIENCE: Duration = Duration::from_mins(1);
/// Credentials are renewed so long before they expire.
const MARGIN: Duration = Duration::from_mins(5);
/// Bytes of a process's output.
const LONGEST_OUTPUT: u64 = 64 << 10;

/// There are no credentials; the sentence says where they were looked for.
#[derive(Debug)]
pub(super) struct NoCredentials(pub(super) String);

impl fmt::Display for NoCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoCredentials {}

impl From<NoCredentials> for object_store::Error {
    fn from(error: NoCredentials) -> Self {
        Self::Generic { store: "credentials", source: Box::new(error) }
    }
}

/// Gives `builder` its credentials. The second value is whether they stand in files and the
/// environment, and cost nothing to read again.
pub(super) fn provide(
    builder: AmazonS3Builder,
    options: &StoreOptions,
    profile: &Profile,
) -> Result<(AmazonS3Builder, bool)> {
    let has = |name: &str| options.variable(name).is_some();
    let of_environment = options.profile.is_none();
    if options.no_sign_request || (of_environment && has("AWS_ACCESS_KEY_ID")) {
        return Ok((builder, true));
    }
    let web_identity = has("AWS_WEB_IDENTITY_TOKEN_FILE") && has("AWS_ROLE_ARN");
    if !(of_environment && web_identity) {
        if let Some(keys) = &profile.keys {
            let builder = builder.with_access_key_id(&keys.id).with_secret_access_key(&keys.secret);
            return Ok(match &keys.token {
                Some(token) => (builder.with_token(token), true),
                None => (builder, true),
            });
        }
        if let Some(command) = &profile.credential_process {
            return Ok((
                builder.with_credentials(Arc::new(Process::new(command.clone(), options.outside.clone()))),
                false,
            ));
        }
        if let Some(unsupported) = profile.unsupported {
            return Err(Error::invalid(format!(
                "the AWS profile {name:?} gets its credentials by {unsupported}, which is not supported: add a profile with \
                 `credential_process = aws configure export-credentials --profile {name} --format process` and name that one",
                name = profile.name,
            )));
        }
    }
    let is_container = has("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") || has("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    let service = match (of_environment && web_identity, is_container) {
        (true, _) => "the role of AWS_WEB_IDENTITY_TOKEN_FILE",
        (false, true) => "the container's service",
        (false, false) => "the instance's metadata service",
    };
    let looked = format!(
        "none in the environment (AWS_ACCESS_KEY_ID), none in {files} for the profile {name:?}; {service}",
        files = profile::files(options).join(" and "),
        name = profile.name,
    );
    let is_disabled =
        options.variable("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if is_disabled && !is_container && !web_identity {
        let looked = format!("{looked} is switched off by AWS_EC2_METADATA_DISABLED");
        return Ok((builder.with_credentials(Arc::new(Nowhere(looked))), false));
    }
    let unbuildable = |error: object_store::Error| Error::invalid(format!("cannot look for credentials: {error}"));
    let inner = Arc::clone(builder.clone().build().map_err(unbuildable)?.credentials());
    let service = Service { inner, looked, had: AtomicBool::new(false) };
    Ok((builder.with_credentials(Arc::new(service)), false))
}

/// No place is left to look at.
#[derive(Debug)]
struct Nowhere(String);

#[async_trait]
impl CredentialProvider for Nowhere {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        Err(NoCredentials(self.0.clone()).into())
    }
}

/// What a service hands out.
struct Service {
    inner: AwsCredentialProvider,
    /// Where else was looked, and which service this is.
    looked: String,
    /// It has given some: from then on a failure is an outage.
    had: AtomicBool,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

#[async_trait]
impl CredentialProvider for Service {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        if self.had.load(Relaxed) {
            return self.inner.get_credential().await;
        }
        let cause = match tokio::time::timeout(PATIENCE, self.inner.get_credential()).await {
            Ok(Ok(credential)) => {
                self.had.store(true, Relaxed);
                return Ok(credential);
            }
            Ok(Err(error)) => innermost(&error),
            Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
        };
        Err(NoCredentials(format!("{}: {cause}", self.looked)).into())
    }
}

/// A `credential_process` of a profile, run again before what it gave expires.
struct Process {
    command: String,
    /// Runs it where this process may not.
    outside: Option<Arc<dyn Outside>>,
    given: Mutex<Option<LoadedCredential>>,
}

#[derive(Clone)]
struct LoadedCredential {
    credential: Arc<AwsCredential>,
    expires: Option<jiff::Timestamp>,
}

/// What the process prints, as the AWS SDKs' reference guide has it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Output {
    version: u32,
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    expiration: Option<String>,
}

impl Process {
    fn new(command: String, outside: Option<Arc<dyn Outside>>) -> Self {
        Self { command, outside, given: Mutex::new(None) }
    }

    async fn run(&self) -> std::result::Result<LoadedCredential, String> {
        let output = match self.outside.clone() {
            Some(outside) => blocking(move || outside.credentials()).await.map_err(|error| error.to_string())?,
            None => output_of(&self.command).await?,
        };
        parse(&output)
    }
}

/// What the `credential_process` of the profile prints, for a process that may not run it itself.
pub(in crate::store) async fn credential_process(options: &StoreOptions) -> Result<Zeroizing<Vec<u8>>> {
    let profile = profile::load(options)?;
    let Some(command) = &profile.credential_process else {
        return Err(Error::invalid(format!("the profile {:?} names none any more", profile.name)));
    };
    let output = tokio::time::timeout(PROCESS_PATIENCE, output_of(command)).await;
    output.unwrap_or_else(|_| Err(too_long())).map_err(|why| Error::new(Kind::Io, why))
}

async fn output_of(command: &str) -> std::result::Result<Zeroizing<Vec<u8>>, String> {
    let mut shell = tokio::process::Command::new("/bin/sh");
    // Its errors may repeat secrets, and the log is no place for these.
    shell.args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = shell.kill_on_drop(true).spawn().map_err(|error| format!("it cannot be run: {error}"))?;
    let mut output = Zeroizing::new(Vec::new());
    if let Some(stdout) = child.stdout.take() {
        let read = stdout.take(LONGEST_OUTPUT).read_to_end(&mut output).await;
        read.map_err(|error| format!("its output cannot be read: {error}"))?;
    }
    let status = child.wait().await.map_err(|error| format!("it cannot be waited for: {error}"))?;
    if !status.success() {
        return Err(format!("it failed ({status}); run it by hand to see why"));
    }
    Ok(output)
}

fn too_long() -> String {
    format!("it did not end within {} s", PROCESS_PATIENCE.as_secs())
}

fn parse(output: &[u8]) -> std::result::Result<LoadedCredential, String> {
    // The parser's own words may show what it stumbled over.
    let output: Output = serde_json::from_slice(output).map_err(|error| {
        format!("its output is not what it should be (line {}, column {})", error.line(), error.column())
    })?;
    if output.version != 1 {
        return Err(format!("its output is of version {}, not 1", output.version));
    }
    let expires = output.expiration.as_deref().map(str::parse).transpose();
    let expires = expires.map_err(|error| format!("its Expiration makes no sense: {error}"))?;
    let credential = AwsCredential {
        key_id: output.access_key_id,
        secret_key: output.secret_access_key,
        token: output.session_token,
    };
    Ok(LoadedCredential { credential: Arc::new(credential), expires })
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // People put tokens into commands.
        f.debug_struct("Process").finish_non_exhaustive()
    }
}

#[async_trait]
impl CredentialProvider for Process {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut given = self.given.lock().await;
        let now = jiff::Timestamp::now();
        let lasts = |given: &&LoadedCredential| {
            given.expires.is_none_or(|expires| {
                expires.duration_since(now) > jiff::SignedDuration::try_from(MARGIN).unwrap_or_default()
            })
        };
        if let Some(given) = given.as_ref().filter(lasts) {
            return Ok(Arc::clone(&given.credential));
        }
        let run = tokio::time::timeout(PROCESS_PATIENCE, self.run()).await;
        match run.unwrap_or_else(|_| Err(too_long())) {
            Ok(new) => {
                let credential = Arc::clone(&new.credential);
                *given = Some(new);
                Ok(credential)
            }
            Err(why) => {
                // What it gave before may still hold for some minutes.
                let old = given.as_ref().filter(|given| given.expires.is_none_or(|expires| expires > now));
                let Some(old) = old else {
                    return Err(NoCredentials(format!("the credential_process of the AWS profile: {why}")).into());
                };
                tracing::warn!("the credential_process of the AWS profile: {why}; what it gave before is still used");
                Ok(Arc::clone(&old.credential))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(expires: &str) -> String {
        format!(
            "{{\"Version\":1,\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"secret\",\"SessionToken\":\"T\"{expires}}}"
        )
    }

    #[tokio::test]
    async fn a_process_is_run_again_when_what_it_gave_expires() {
        let directory = tempfile::tempdir().unwrap();
        let runs = directory.path().join("runs");
        for (expires, expected) in
            [("", 1), (",\"Expiration\":\"2999-01-01T00:00:00Z\"", 1), (",\"Expiration\":\"2001-01-01T00:00:00Z\"", 3)]
        {
            std::fs::write(&runs, "").unwrap();
            let process = Process::new(format!("echo >> {}; echo '{}'", runs.display(), output(expires)), None);
            for _ in 0..3 {
                let credential = process.get_credential().await.unwrap();
                assert_eq!((credential.key_id.as_str(), credential.token.as_deref()), ("A", Some("T")));
            }
            assert_eq!(std::fs::read_to_string(&runs).unwrap().lines().count(), expected, "{expires}");
        }
    }

    #[tokio::test]
    async fn a_process_that_fails_is_said_so_without_its_secrets() {
        let newer = format!("echo '{}'", output("").replace(":1", ":2"));
        for (command, says) in [
            ("exit 3", "exit status: 3"),
            ("echo '{\"Version\":1,\"SecretAccessKey\":\"secret\"}'", "not what it should be"),
            ("echo secret", "not what it should be"),
            (newer.as_str(), "version 2"),
        ] {
            let error = Process::new(command.to_owned(), None).get_credential().await.unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains("secret"), "{command}: {error}");
        }
    }
}
