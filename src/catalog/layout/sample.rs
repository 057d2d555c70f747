//! A look at some of a source's keys, to tell which layout it has.

use super::Layout;
use super::names::{is_archive, is_own};
use crate::catalog::local::local_time;
use crate::catalog::objects::Objects;
use crate::{Kind, Result};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use std::sync::Arc;

/// Names of one level below which is looked: from all over it, because a bucket may hold several
/// layouts side by side.
const NAMES: usize = 5;
/// Names that are looked at besides where none of these tells anything.
const MORE_NAMES: usize = 64;
/// Keys that are looked at below each of them, no more than a page of a listing.
const KEYS: usize = 300;
/// Levels that are gone down where nothing is recognised: what comes first may be a directory of
/// something else.
const LEVELS: usize = 3;
/// Keys that are shown to a person.
const SHOWN: usize = 3;

/// What some names of the source hold.
#[derive(Debug, Default)]
pub(super) struct Sample {
    places: Vec<Place>,
}

/// Some keys below one name at the top.
#[derive(Debug)]
struct Place {
    keys: Vec<String>,
}

impl Place {
    fn is_recognised(&self, layouts: &[Arc<dyn Layout>]) -> bool {
        self.keys.iter().any(|key| layouts.iter().any(|layout| layout.recognises(key)))
    }
}

impl Sample {
    /// Lists a few pages.
    pub(super) async fn take(objects: &dyn Objects, layouts: &[Arc<dyn Layout>]) -> Result<Self> {
        let level = objects.list_level("").await?;
        let names: Vec<String> = level.prefixes.into_iter().filter(|name| !is_own(name)).collect();
        let (some, others) = spread(names);
        let mut places = look_into(objects, some, layouts).await?;
        if !places.iter().any(|place| place.is_recognised(layouts)) {
            places.extend(look_into(objects, others.into_iter().take(MORE_NAMES).collect(), layouts).await?);
        }
        let top: Vec<String> = level.objects.into_iter().take(KEYS).map(|object| object.key.to_string()).collect();
        if !top.is_empty() {
            places.push(Place { keys: top });
        }
        Ok(Self { places })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.iter().all(|place| place.keys.is_empty())
    }

    /// The first keys, for a person.
    pub(super) fn shown(&self) -> String {
        let mut shown: Vec<&str> = self.places.iter().filter_map(|place| Some(place.keys.first()?.as_str())).collect();
        shown.extend(self.places.iter().flat_map(|place| place.keys.iter().skip(1)).map(String::as_str));
        shown.truncate(SHOWN);
        let shown: Vec<String> = shown.into_iter().map(|key| format!("{key:?}")).collect();
        shown.join(", ")
    }

    /// A key that looks like an archive.
    pub(super) fn archive(&self) -> Option<&str> {
        self.places.iter().flat_map(|place| &place.keys).map(String::as_str).find(|key| is_archive(key))
    }

    /// Whether all of it would be recognised one directory further down: somebody named a host's
    /// directory.
    pub(super) fn is_of_one_host(&self, layouts: &[Arc<dyn Layout>]) -> bool {
        let is_dated = |key: &String| key.split('/').next().and_then(local_time).is_some();
        let keys = || self.places.iter().flat_map(|place| &place.keys);
        let fits = |layout: &Arc<dyn Layout>| keys().all(|key| layout.recognises(&format!("host/{key}")));
        keys().next().is_some() && keys().all(is_dated) && layouts.iter().any(fits)
    }

    /// Whether the layout recognises anything at all.
    pub(super) fn fits(&self, layout: &dyn Layout) -> bool {
        self.places.iter().flat_map(|place| &place.keys).any(|key| layout.recognises(key))
    }

    /// The layouts that something here is of: in each place that which recognises most, and those
    /// that recognise a quarter as much.
    pub(super) fn layouts(&self, layouts: &[Arc<dyn Layout>]) -> Vec<Arc<dyn Layout>> {
        let mut found = vec![false; layouts.len()];
        for place in &self.places {
            let count = |layout: &Arc<dyn Layout>| place.keys.iter().filter(|key| layout.recognises(key)).count();
            let counts: Vec<usize> = layouts.iter().map(count).collect();
            let most = counts.iter().copied().max().unwrap_or_default();
            for (found, count) in found.iter_mut().zip(counts) {
                *found |= count > 0 && count * 4 >= most;
            }
        }
        layouts.iter().zip(found).filter(|(_, found)| *found).map(|(layout, _)| Arc::clone(layout)).collect()
    }
}

async fn look_into(objects: &dyn Objects, names: Vec<String>, layouts: &[Arc<dyn Layout>]) -> Result<Vec<Place>> {
    let looks = names.into_iter().map(|name| look(objects, format!("{name}/"), layouts, LEVELS));
    let mut looks = futures::stream::iter(looks).buffered(NAMES);
    let (mut places, mut refused) = (Vec::new(), None);
    while let Some(looked) = looks.next().await {
        match looked {
            Ok(place) => places.push(place),
            // What may not be read tells nothing, as long as something else may.
            Err(error) if error.kind() == Kind::Denied => refused = refused.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    match refused {
        Some(error) if places.is_empty() => Err(error),
        _ => Ok(places),
    }
}

/// The first keys below `prefix`, or, where nobody recognises any of them, below some of its
/// directories.
fn look<'a>(
    objects: &'a dyn Objects,
    prefix: String,
    layouts: &'a [Arc<dyn Layout>],
    levels: usize,
) -> BoxFuture<'a, Result<Place>> {
    async move {
        let listed = objects.list(&prefix).take(KEYS);
        let keys: Vec<String> = listed.map_ok(|object| object.key.to_string()).try_collect().await?;
        let mut place = Place { keys };
        if place.is_recognised(layouts) || place.keys.len() < KEYS || levels == 0 {
            return Ok(place);
        }
        for name in spread(objects.list_level(&prefix).await?.prefixes).0 {
            let below = look(objects, format!("{prefix}{name}/"), layouts, levels - 1).await?;
            place.keys.extend(below.keys);
        }
        Ok(place)
    }
    .boxed()
}

/// Some of the names, from the first to the last, and the others.
fn spread(mut names: Vec<String>) -> (Vec<String>, Vec<String>) {
    names.sort();
    let last = names.len().saturating_sub(1);
    let is_chosen = |at: usize| names.len() <= NAMES || (0..NAMES).any(|n| n * last / (NAMES - 1) == at);
    let chosen: Vec<bool> = (0..names.len()).map(is_chosen).collect();
    let (some, others): (Vec<_>, Vec<_>) = names.into_iter().zip(chosen).partition(|(_, chosen)| *chosen);
    let names = |list: Vec<(String, bool)>| list.into_iter().map(|(name, _)| name).collect();
    (names(some), names(others))
}
