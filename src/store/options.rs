//! How to reach a source.

use super::outside::Outside;
use crate::time::Timestamp;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Options of a store, each from a flag, the environment or the config file; nothing here reads the
/// environment itself.
#[derive(Clone)]
pub struct StoreOptions {
    /// S3's region; otherwise the environment's, the profile's, `us-east-1`.
    pub region: Option<String>,
    /// Where an S3-compatible server is, `http(s)://host[:port]`. Plain HTTP is only spoken to an
    /// `http://` one.
    pub endpoint_url: Option<String>,
    /// A profile of `~/.aws/config` and `~/.aws/credentials`. One that is named here goes before
    /// credentials of the environment.
    pub profile: Option<String>,
    /// Send requests unsigned, for public buckets.
    pub no_sign_request: bool,
    /// `endpoint/bucket/key` instead of `bucket.endpoint/key`. Otherwise chosen by the endpoint:
    /// AWS's own gets the latter.
    pub force_path_style: bool,
    /// `bucket.endpoint/key` with an endpoint of one's own as well, as some stores want it.
    pub virtual_hosted_style: bool,
    /// The caller pays for requests to a bucket whose owner does not.
    pub request_payer: bool,
    /// A file with the key of objects that S3 encrypted with one that the customer keeps (SSE-C):
    /// 32 bytes, or these in base64.
    pub sse_c_key_file: Option<PathBuf>,
    /// Show a bucket that keeps versions as it was at this moment.
    pub as_of: Option<Timestamp>,
    /// A PEM file of certificates to trust besides the system's.
    pub ca_bundle: Option<PathBuf>,
    /// Bytes per second over all requests.
    pub throttle: Option<u64>,
    /// How long an operation may go without success, attempts included. A large range is given
    /// more: see `deadline`.
    pub timeout: Duration,
    /// Requests in flight.
    pub max_requests: usize,
    /// The process's environment (`AWS_…`, `AZURE_…`, `GOOGLE_…`, `HOME`), as far as it matters to
    /// a store; may hold secrets.
    pub environment: Vec<(String, String)>,
    /// Who asks the system where this process may not.
    pub outside: Option<Arc<dyn Outside>>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            region: None,
            endpoint_url: None,
            profile: None,
            no_sign_request: false,
            force_path_style: false,
            virtual_hosted_style: false,
            request_payer: false,
            sse_c_key_file: None,
            as_of: None,
            ca_bundle: None,
            throttle: None,
            timeout: Duration::from_mins(1),
            max_requests: 16,
            environment: Vec::new(),
            outside: None,
        }
    }
}

impl StoreOptions {
    /// The value of an environment variable; an empty one counts as not set, as the AWS tools have
    /// it.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        let found = self.environment.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variables: Vec<&str> = self.environment.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("StoreOptions")
            .field("region", &self.region)
            .field("endpoint_url", &self.endpoint_url)
            .field("profile", &self.profile)
            .field("no_sign_request", &self.no_sign_request)
            .field("force_path_style", &self.force_path_style)
            .field("virtual_hosted_style", &self.virtual_hosted_style)
            .field("request_payer", &self.request_payer)
            .field("sse_c_key_file", &self.sse_c_key_file)
            .field("as_of", &self.as_of)
            .field("ca_bundle", &self.ca_bundle)
            .field("throttle", &self.throttle)
            .field("timeout", &self.timeout)
            .field("max_requests", &self.max_requests)
            .field("environment", &variables)
            .field("outside", &self.outside)
            .finish()
    }
}
