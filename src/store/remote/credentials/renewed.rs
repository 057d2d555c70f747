//! Credentials that are renewed before they expire, while reads go on with those that still hold.

use super::given::{Given, Trouble};
use crate::task::lock;
use async_trait::async_trait;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared, ready};
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
type Ask<C> = dyn Fn() -> Asking<C> + Send + Sync;
/// What comes of it.
type Asking<C> = BoxFuture<'static, Result<Given<C>, Trouble>>;

/// Gives out what was asked for, until it expires.
pub(super) struct Renewed<C = AwsCredential>(Arc<Inner<C>>);

struct Inner<C> {
    ask: Box<Ask<C>>,
    held: Mutex<Option<Held<C>>>,
    /// Goes on when who waits for it gives up: a login may take longer than an attempt at a request.
    asking: Mutex<Option<Shared<Asking<C>>>>,
    /// It has given some: from then on a failure is an outage.
    had: AtomicBool,
}

struct Held<C> {
    given: Given<C>,
    renew: Option<jiff::Timestamp>,
}

impl<C> Clone for Renewed<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> Held<C> {
    fn new(given: Given<C>, now: jiff::Timestamp) -> Self {
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

impl<C: Send + Sync + 'static> Renewed<C> {
    pub(super) fn new(ask: Box<Ask<C>>) -> Self {
        Self(Arc::new(Inner { ask, held: Mutex::new(None), asking: Mutex::new(None), had: AtomicBool::new(false) }))
    }

    /// The credentials, asked for now where none hold.
    async fn get(&self) -> Result<Given<C>, Trouble> {
        match self.0.held() {
            Some((given, true)) => Ok(given),
            Some((given, false)) => {
                self.renew_aside();
                Ok(given)
            }
            None => self.asked().await,
        }
    }

    /// What comes of the asking that goes on, or of one that begins now.
    fn asked(&self) -> Shared<Asking<C>> {
        let mut asking = lock(&self.0.asking);
        if let Some(goes_on) = asking.as_ref().filter(|asking| asking.peek().is_none()) {
            return goes_on.clone();
        }
        // It may have ended since somebody looked.
        if let Some((given, true)) = self.0.held() {
            return ready(Ok(given)).boxed().shared();
        }
        let this = self.clone();
        let asked = tokio::spawn(async move { this.0.ask().await });
        let ended = asked.map(|asked| asked.unwrap_or_else(|error| Err(Trouble::Outage(error.to_string()))));
        let begun = ended.boxed().shared();
        *asking = Some(begun.clone());
        begun
    }

    /// Asks while others go on; nobody waits for it.
    fn renew_aside(&self) {
        let this = self.clone();
        if lock(&self.0.asking).as_ref().is_some_and(|asking| asking.peek().is_none()) {
            return;
        }
        tokio::spawn(async move {
            let Err(trouble) = this.asked().await else { return };
            let now = jiff::Timestamp::now();
            let mut held = lock(&this.0.held);
            let Some(held) = held.as_mut().filter(|held| !held.is_fresh(now)) else { return };
            let left = held.given.expires.map(|expires| expires.duration_since(now));
            held.renew = left.map(|left| now + before(left, PAUSE, 4));
            let until = held.given.expires.map(|expires| expires.to_string()).unwrap_or_default();
            tracing::warn!("{}; those that were given before hold until {until}", trouble.sentence());
        });
    }
}

impl<C> Inner<C> {
    /// What holds, and whether it is not yet to be renewed.
    fn held(&self) -> Option<(Given<C>, bool)> {
        let (now, held) = (jiff::Timestamp::now(), lock(&self.held));
        held.as_ref().filter(|held| held.holds(now)).map(|held| (held.given.clone(), held.is_fresh(now)))
    }

    async fn ask(&self) -> Result<Given<C>, Trouble> {
        let given = (self.ask)().await.map_err(|trouble| match trouble {
            Trouble::Refused(why) if self.had.load(Relaxed) => Trouble::Outage(why),
            trouble => trouble,
        })?;
        let now = jiff::Timestamp::now();
        if let Some(expired) = given.expires.filter(|expires| *expires <= now) {
            return Err(Trouble::Refused(format!(
                "the credentials that it gives expired at {}: log in anew where that makes them (it is {} by the clock of \
                 this machine)",
                expired.round(jiff::Unit::Second).unwrap_or(expired),
                now.round(jiff::Unit::Second).unwrap_or(now)
            )));
        }
        self.had.store(true, Relaxed);
        *lock(&self.held) = Some(Held::new(given.clone(), now));
        Ok(given)
    }
}

impl<C> fmt::Debug for Renewed<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewed").finish_non_exhaustive()
    }
}

#[async_trait]
impl<C: fmt::Debug + Send + Sync + 'static> CredentialProvider for Renewed<C> {
    type Credential = C;

    async fn get_credential(&self) -> object_store::Result<Arc<C>> {
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
        let (expired, asked) = source(-5_000, 9);
        let Err(Trouble::Refused(why)) = expired.get().await else { panic!("they have expired") };
        assert!(why.contains("expired at 2") && asked.load(Relaxed) == 1, "{why}");
        let (none, _) = source(1, 0);
        assert!(matches!(none.get().await, Err(Trouble::Refused(_))));
    }
}
