//! Signs the questions that `object_store` cannot ask by itself, by its own signer.

use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::HttpRequest;
use std::fmt;

/// What a request to S3 is signed with.
#[derive(Clone)]
pub(super) struct Signer {
    pub(super) credentials: AwsCredentialProvider,
    pub(super) region: String,
    pub(super) request_payer: bool,
    /// The credentials stand in files and the environment: reading them again costs nothing.
    pub(super) is_static: bool,
}

impl Signer {
    /// Replaces the signature of a request that was changed; one that had none gets none.
    pub(super) async fn sign(&self, request: &mut HttpRequest) -> object_store::Result<()> {
        if request.headers_mut().remove("authorization").is_none() {
            return Ok(());
        }
        let credential = self.credentials.get_credential().await?;
        AwsAuthorizer::new(&credential, "s3", &self.region)
            .with_request_payer(self.request_payer)
            .try_authorize(request, None)
    }
}

/// Without the credentials, which may show what they hold.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("region", &self.region).finish_non_exhaustive()
    }
}
