//! Single flight: whoever asks for what somebody is working on already waits for that work.

use crate::Result;
use crate::task::broken_off;
use crate::task::lock;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex};

/// Work under way. It goes on when nobody waits for it any more.
pub(super) type Flight<V> = Shared<BoxFuture<'static, Result<V>>>;

/// The work under way, by what it is for. Results are not kept: the work itself puts them where the
/// next one will look.
pub(super) struct Flights<K, V>(Mutex<HashMap<K, Flight<V>>>);

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// The work for `key`, started in a task of its own unless it is under way.
    pub(super) fn join<F>(self: &Arc<Self>, key: &K, work: impl FnOnce() -> F) -> Flight<V>
    where
        F: Future<Output = Result<V>> + Send + 'static,
    {
        let mut flights = lock(&self.0);
        if let Some(flight) = flights.get(key) {
            return flight.clone();
        }
        let landing = Landing { flights: Arc::clone(self), key: key.clone() };
        let work = work();
        let task = tokio::spawn(async move {
            // Taken off the list also when the work panics.
            let _landing = landing;
            work.await
        });
        let flight = async move { task.await.unwrap_or_else(|error| Err(broken_off(error))) };
        let flight = flight.boxed().shared();
        flights.insert(key.clone(), flight.clone());
        flight
    }

    pub(super) fn get(&self, key: &K) -> Option<Flight<V>> {
        lock(&self.0).get(key).cloned()
    }
}

struct Landing<K: Eq + Hash, V> {
    flights: Arc<Flights<K, V>>,
    key: K,
}

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        lock(&self.flights.0).remove(&self.key);
    }
}

impl<K, V> fmt::Debug for Flights<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flights")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, Kind};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[tokio::test]
    async fn ten_callers_share_one_flight_and_its_error() {
        let flights = Arc::new(Flights::<u8, u8>::default());
        let started = Arc::new(AtomicUsize::new(0));
        let fly = || {
            flights.join(&1, || {
                started.fetch_add(1, Ordering::Relaxed);
                async {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    Err(Error::corrupt("no"))
                }
            })
        };
        let results = futures::future::join_all((0..10).map(|_| fly())).await;
        assert!(results.iter().all(|result| result.as_ref().unwrap_err().kind() == Kind::Corrupt));
        assert_eq!(started.load(Ordering::Relaxed), 1);
        assert!(flights.get(&1).is_none());
        drop(fly().await);
        assert_eq!(started.load(Ordering::Relaxed), 2, "an error is not kept");
    }

    #[tokio::test]
    async fn work_goes_on_without_anybody_waiting_and_a_panic_is_an_error() {
        let flights = Arc::new(Flights::<u8, u8>::default());
        let done = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&done);
        drop(flights.join(&1, || async move {
            tokio::task::yield_now().await;
            seen.store(1, Ordering::Relaxed);
            Ok(1)
        }));
        while done.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        let panicked = flights.join(&2, || async { panic!("a bug") }).await;
        assert_eq!(panicked.unwrap_err().kind(), Kind::Io);
        assert!(flights.get(&2).is_none());
    }
}
