//! Credentials that `object_store` gets by itself, from a service: where it fails, it is said as of
//! all others, and soon.

use super::given::Trouble;
use crate::store::remote::causes::{find, innermost};
use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::client::HttpError;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// How long a service may take that is most likely not there.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one that is named may take: within an attempt at a request.
const PATIENCE_WITH_NAMED: Duration = Duration::from_secs(15);
/// Characters of what a service says.
const LONGEST: usize = 300;

/// Who is asked.
#[derive(Clone, Debug)]
pub(in crate::store::remote) enum Asked {
    /// What somebody has set up, in words.
    Named(String),
    /// The instance's service, which nothing but its being there speaks for: where else was looked,
    /// in words.
    Instance(String),
}

#[derive(Debug)]
pub(in crate::store::remote) struct Told<C> {
    inner: Arc<dyn CredentialProvider<Credential = C>>,
    asked: Asked,
    /// It has given some: from then on a failure is an outage.
    had: AtomicBool,
}

impl<C> Told<C> {
    pub(in crate::store::remote) fn new(inner: Arc<dyn CredentialProvider<Credential = C>>, asked: Asked) -> Self {
        Self { inner, asked, had: AtomicBool::new(false) }
    }

    fn trouble(&self, why: &str, may_pass: bool) -> Trouble {
        let why: String = why.chars().take(LONGEST).flat_map(char::escape_debug).collect();
        let why = why.replace("\\\"", "\"").replace("\\'", "'");
        let (sentence, is_named) = match &self.asked {
            Asked::Named(name) => (format!("{name}: {why}"), true),
            Asked::Instance(looked) => (format!("{looked}; the instance's metadata service: {why}"), false),
        };
        let is_outage = self.had.load(Relaxed) || (is_named && may_pass);
        if is_outage { Trouble::Outage(sentence) } else { Trouble::Refused(sentence) }
    }
}

#[async_trait]
impl<C: Debug + Send + Sync + 'static> CredentialProvider for Told<C> {
    type Credential = C;

    async fn get_credential(&self) -> object_store::Result<Arc<C>> {
        let patience = match self.asked {
            Asked::Named(_) => PATIENCE_WITH_NAMED,
            Asked::Instance(_) => PATIENCE,
        };
        match tokio::time::timeout(patience, self.inner.get_credential()).await {
            Ok(Ok(credential)) => {
                self.had.store(true, Relaxed);
                Ok(credential)
            }
            Ok(Err(error)) => {
                let may_pass = find::<HttpError>(&error).is_some();
                Err(self.trouble(&innermost(&error), may_pass).into())
            }
            Err(_) => Err(self.trouble(&format!("no answer within {} s", patience.as_secs()), true).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::remote::credentials::given::{CredentialOutage, NoCredentials};

    /// Gives one, and then fails.
    #[derive(Debug, Default)]
    struct Once(AtomicBool);

    #[async_trait]
    impl CredentialProvider for Once {
        type Credential = ();

        async fn get_credential(&self) -> object_store::Result<Arc<()>> {
            if self.0.swap(false, Relaxed) {
                return Ok(Arc::new(()));
            }
            Err(object_store::Error::Generic { store: "x", source: "no \"role\"\n".into() })
        }
    }

    #[tokio::test]
    async fn a_service_that_never_gave_any_is_a_refusal_and_one_that_did_an_outage() {
        let instance = || Asked::Instance("none in the environment".to_owned());
        let told = Told::new(Arc::new(Once::default()), instance());
        let error = told.get_credential().await.unwrap_err();
        let said = find::<NoCredentials>(&error).unwrap().to_string();
        assert_eq!(said, "none in the environment; the instance's metadata service: no \"role\"\\n");
        let told = Told::new(Arc::new(Once(AtomicBool::new(true))), instance());
        told.get_credential().await.unwrap();
        let error = told.get_credential().await.unwrap_err();
        assert!(find::<CredentialOutage>(&error).is_some(), "{error}");
    }
}
