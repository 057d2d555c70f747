//! What a store asks of the system beyond files and connections.

use crate::Result;
use std::fmt;
use std::net::IpAddr;
use zeroize::Zeroizing;

/// Answers for a process that may not ask the system itself, because it is locked up (`sandbox`).
/// Every call blocks.
pub trait Outside: Send + Sync + fmt::Debug {
    /// The addresses of a host, as the system resolves its name.
    fn addresses(&self, host: &str) -> Result<Vec<IpAddr>>;

    /// The credentials of the AWS profile, in the form that a `credential_process` prints.
    fn credentials(&self) -> Result<Zeroizing<Vec<u8>>>;
}
