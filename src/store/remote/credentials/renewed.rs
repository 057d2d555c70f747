//! Credentials that are renewed before they expire, while reads go on with those that still hold.

use super::given::{Given, Trouble};
use crate::task::lock;
use async_trait::async_trait;
use futures::future::BoxFuture;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Credentials are renewed so long before they expire, or at half of their time.
const MARGIN: Duration = Duration::from_mins(5);
/// A renewal that failed is tried again after so long, or after a quarter of what is left.
const PAUSE: Duration = Duration::from_secs(10);

/// Asks for credentials.
type Ask = dyn Fn() -> BoxFuture<'static, Result<Given, Trouble>> + Send + Sync;

/// Gives out what was asked for, until it expires.
#[derive(Clone)]
pub(super) struct Renewed(Arc<Inner>);

struct Inner {
    ask: Box<Ask>,
    held: Mutex<Option<Held>>,
    /// Held while somebody asks.
    asking: tokio::sync::Mutex<()>,
    /// It has given some: from then on a failure is an outage.
    had: AtomicBool,
}

#[derive(Clone)]
struct Held {
    given: Given,
    renew: Option<jiff::Timestamp>,
}

impl Held {
    fn new(given: Given, now: jiff::Timestamp) -> Self {
        let renew = given.expires.map(|expires| expires - before(expires.duration_since(now), MARGIN, 2));
        Self { given, renew }
    }

    fn is_fresh(&self, now: jiff::Timestamp) -> bool {
        self.renew.is_none_or(|renew| renew > now)
    }

    fn holds(&self, now: jiff::Timestamp) -> bool {
        self.given.expires.is_none_or(|expires| expires > now)
    }
}

/// `most`, or a part of what is left.
fn before(left: jiff::SignedDuration, most: Duration, part: i32) -> jiff::SignedDuration {
    jiff::SignedDuration::try_from(most).map_or(left / part, |most| most.min(left / part))
}

impl Renewed {
    pub(super) fn new(ask: Box<Ask>) -> Self {
        Self(Arc::new(Inner {
            ask,
            held: Mutex::new(None),
            asking: tokio::sync::Mutex::new(()),
            had: AtomicBool::new(false),
        }))
    }

    /// The credentials, asked for now where none hold.
    async fn get(&self) -> Result<Given, Trouble> {
        let inner = &self.0;
        let held = lock(&inner.held).clone();
        match held.filter(|held| held.holds(jiff::Timestamp::now())) {
            Some(held) if held.is_fresh(jiff::Timestamp::now()) => Ok(held.given),
            Some(held) => {
                self.renew_aside();
                Ok(held.given)
            }
            None => {
                let _asking = inner.asking.lock().await;
                let held = lock(&inner.held).clone();
                match held.filter(|held| held.holds(jiff::Timestamp::now())) {
                    Some(held) => Ok(held.given),
                    None => inner.ask().await,
                }
            }
        }
    }

    /// Asks while others go on; nobody waits for it.
    fn renew_aside(&self) {
        let this = self.clone();
        tokio::spawn(async move {
            let inner = &this.0;
            let Ok(_asking) = inner.asking.try_lock() else { return };
            let now = jiff::Timestamp::now();
            if lock(&inner.held).as_ref().is_some_and(|held| held.is_fresh(now)) {
                return;
            }
            let Err(trouble) = inner.ask().await else { return };
            let now = jiff::Timestamp::now();
            let mut held = lock(&inner.held);
            let Some(held) = held.as_mut() else { return };
            let left = held.given.expires.map(|expires| expires.duration_since(now));
            held.renew = left.map(|left| now + before(left, PAUSE, 4));
            let until = held.given.expires.map(|expires| expires.to_string()).unwrap_or_default();
            tracing::warn!("{}; those that were given before hold until {until}", trouble.sentence());
        });
    }
}

impl Inner {
    async fn ask(&self) -> Result<Given, Trouble> {
        let given = (self.ask)().await.map_err(|trouble| match trouble {
            Trouble::Refused(why) if self.had.load(Relaxed) => Trouble::Outage(why),
            trouble => trouble,
        })?;
        self.had.store(true, Relaxed);
        *lock(&self.held) = Some(Held::new(given.clone(), jiff::Timestamp::now()));
        Ok(given)
    }
}

impl fmt::Debug for Renewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewed").finish_non_exhaustive()
    }
}

#[async_trait]
impl CredentialProvider for Renewed {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        Ok(self.get().await?.credential)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    /// Gives a new key each time, each for so long, and fails from the `lasts`th on.
    fn source(milliseconds: i64, lasts: usize) -> (Renewed, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let ask = move || -> BoxFuture<'static, Result<Given, Trouble>> {
            let number = counted.fetch_add(1, Relaxed);
            let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_millis(milliseconds);
            Box::pin(async move {
                if number >= lasts {
                    return Err(Trouble::Refused("no more".into()));
                }
                Ok(Given::new(&number.to_string(), "s", None, Some(expires)))
            })
        };
        (Renewed::new(Box::new(ask)), asked)
    }

    #[tokio::test]
    async fn nobody_waits_for_a_renewal_while_the_old_ones_hold() {
        let (renewed, asked) = source(60_000, 9);
        for _ in 0..3 {
            assert_eq!(renewed.get_credential().await.unwrap().key_id, "0");
        }
        let half = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(1);
        lock(&renewed.0.held).as_mut().unwrap().renew = Some(half);
        assert_eq!(renewed.get_credential().await.unwrap().key_id, "0", "the old ones, at once");
        while asked.load(Relaxed) < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(renewed.get_credential().await.unwrap().key_id, "1");
    }

    #[tokio::test]
    async fn a_renewal_that_fails_is_an_outage_once_there_were_some() {
        let (renewed, asked) = source(60_000, 1);
        renewed.get_credential().await.unwrap();
        let past = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(1);
        lock(&renewed.0.held).as_mut().unwrap().renew = Some(past);
        for _ in 0..5 {
            assert_eq!(renewed.get_credential().await.unwrap().key_id, "0");
            tokio::task::yield_now().await;
        }
        assert_eq!(asked.load(Relaxed), 2, "not at each read");
        lock(&renewed.0.held).as_mut().unwrap().given.expires = Some(past);
        assert!(matches!(renewed.get().await, Err(Trouble::Outage(_))));
        let (none, _) = source(1, 0);
        assert!(matches!(none.get().await, Err(Trouble::Refused(_))));
    }
}
