//! Asks a store to make archived objects readable for some days. Besides [`super::Publisher`] the
//! only way of changing anything in a source, and `cassmount thaw` alone opens one: no object is
//! written, replaced or deleted.

use super::ObjectMeta;
use super::deadline::Deadlines;
use super::options::StoreOptions;
use super::remote::{ThawClient, ThawRequest, Thawing};
use super::source::Source;
use crate::{Error, Result};
use std::fmt;

/// A source, opened for thawing.
pub struct Thawer {
    client: ThawClient,
    deadlines: Deadlines,
}

impl fmt::Debug for Thawer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thawer").finish_non_exhaustive()
    }
}

impl Thawer {
    /// Asks nothing of the store yet.
    pub fn open(source: &Source, options: &StoreOptions) -> Result<Self> {
        if options.as_of.is_some() {
            return Err(Error::invalid("versions of the past cannot be thawed from here: leave --as-of out"));
        }
        Ok(Self { client: ThawClient::open(source, options)?, deadlines: Deadlines::new(options.timeout) })
    }

    /// Asks for one object, again through outages. To ask twice does no harm.
    pub async fn ask(&self, object: &ObjectMeta, request: &ThawRequest) -> Result<Thawing> {
        let mut attempts = self.deadlines.start(0);
        loop {
            match attempts.within(self.client.ask(&object.key, request)).await {
                Ok(thawing) => return Ok(thawing),
                Err(error) => {
                    let pause = attempts.pause_after(error.with_object(&object.key))?;
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }
}
