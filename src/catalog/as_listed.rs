//! The hosts of a source, as far as they can be listed.

use super::{Host, HostSets};
use crate::{Error, Kind, Result};
use futures::{Stream, StreamExt};
use std::pin::pin;
use std::sync::Arc;

/// What each file system has at its top, and only root may read: no host.
pub const LOST_AND_FOUND: &str = "lost+found";

/// Hosts, and why others cannot be listed.
#[derive(Debug, Default)]
pub struct HostsAsListed {
    pub hosts: Vec<Arc<HostSets>>,
    pub unlisted: Option<Error>,
}

impl HostsAsListed {
    /// Takes answers in as they come. A directory that has nothing in it is no host; one that may
    /// not be listed hides no other. `is_named`: somebody named the host, and misses it.
    ///
    /// # Errors
    /// What speaks against all hosts: any other error, and where none of them may be listed.
    pub async fn of(answers: impl Stream<Item = (Result<Arc<HostSets>>, Host)>, is_named: bool) -> Result<Self> {
        let (mut this, mut answers) = (Self::default(), pin!(answers));
        while let Some((answer, host)) = answers.next().await {
            match answer {
                Ok(sets) => this.hosts.push(sets),
                Err(error) if error.kind() == Kind::NotFound && !is_named => {}
                Err(_) if &*host.0 == LOST_AND_FOUND => {}
                Err(error) if error.kind() == Kind::Denied => {
                    let message = format!("{host} cannot be listed: {error}");
                    this.unlisted = this.unlisted.or(Some(Error::new(Kind::Denied, message)));
                }
                Err(error) => return Err(error),
            }
        }
        match this.unlisted {
            Some(error) if this.hosts.is_empty() => Err(error),
            _ => Ok(this),
        }
    }
}
