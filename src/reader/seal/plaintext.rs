//! An archive that is not encrypted, in a place where all others are: whoever may write to the
//! bucket, and has no key, could put rows into a restored table in this way. It is not read unless
//! somebody says so.

use super::Seals;
use crate::archive::armor::Armor;
use crate::archive::envelope;
use crate::reader::pass::pipeline::{Broken, Stage};
use crate::store::ObjectMeta;
use crate::task::lock;
use crate::{Error, Kind, Result};
use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::Mutex;

/// Objects whose first bytes are looked at,
const LOOKED_AT: usize = 3;
/// … and so many where one of them is encrypted.
const LOOKED_AT_MORE: usize = 12;
/// So many times as many archives that are not encrypted make one that is the odd one among them:
/// somebody put that there, or one host has begun to encrypt.
const FEW: usize = 4;

/// Directories beside the archive's own that are looked into, where it is alone in its own.
const DIRECTORIES: usize = 3;

/// Directories that are remembered.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// How an encrypted archive's name mostly ends.
const SEALED_SUFFIX: &str = ".enc";

/// A directory, and the suffix of names in it.
type Place = (Box<str>, Box<str>);

/// By place: whether archives there are encrypted.
#[derive(Debug)]
pub(in crate::reader) struct Neighbours(Mutex<LruCache<Place, bool>>);

impl Default for Neighbours {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(REMEMBERED)))
    }
}

/// Refuses an archive that is not encrypted where its neighbours are.
pub(in crate::reader) async fn check(seals: &Seals, object: &ObjectMeta) -> Result<(), Broken> {
    if seals.allow_plaintext || !seals.unlocker.has_keys() {
        return Ok(());
    }
    let why = if object.key.ends_with(SEALED_SUFFIX) {
        "its name says so"
    } else if beside(seals, object).await.map_err(|error| Stage::Fetch.failed(error))? {
        "the archives beside it are"
    } else {
        return Ok(());
    };
    let message = format!(
        "it is not encrypted, and should be: {why}. Somebody without a key may have put it there; --allow-plaintext reads it all the same"
    );
    Err(Stage::Unsealed.failed(Error::new(Kind::Denied, message).with_object(&object.key)))
}

async fn beside(seals: &Seals, object: &ObjectMeta) -> Result<bool> {
    let (directory, name) = object.key.rsplit_once('/').unwrap_or(("", &object.key));
    let suffix = name.find('.').map_or("", |dot| &name[dot..]);
    let place: Place = (directory.into(), suffix.into());
    let known = lock(&seals.neighbours.0).get(&place).copied();
    if let Some(known) = known {
        return Ok(known);
    }
    let mut sealed = of_directory(seals, object, directory, suffix).await?;
    if sealed.is_none()
        && let Some((above, own)) = directory.rsplit_once('/')
    {
        let level = seals.fetcher.store.list_level(&format!("{above}/")).await?;
        let others = level.prefixes.iter().map(String::as_str).filter(|other| *other != own);
        for other in others.take(DIRECTORIES) {
            sealed = of_directory(seals, object, &format!("{above}/{other}"), suffix).await?;
            if sealed.is_some() {
                break;
            }
        }
    }
    let sealed = sealed.unwrap_or_default();
    lock(&seals.neighbours.0).put(place, sealed);
    Ok(sealed)
}

/// Whether other objects of such names in a directory are encrypted; `None` where there are none.
async fn of_directory(seals: &Seals, object: &ObjectMeta, directory: &str, suffix: &str) -> Result<Option<bool>> {
    let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
    let objects = seals.fetcher.store.list_level(&prefix).await?.objects;
    let named = objects.iter().filter(|other| other.key.ends_with(SEALED_SUFFIX)).count();
    let plain = objects.iter().filter(|other| other.key.ends_with(suffix)).count();
    if named > 0 && !are_few(named, plain) {
        return Ok(Some(true));
    }
    let others = objects.iter().filter(|other| other.key != object.key && other.key.ends_with(suffix));
    let (mut sealed, mut seen) = (0, 0);
    for other in others.filter(|other| other.size >= envelope::HEADER_LEN as u64).take(LOOKED_AT_MORE) {
        if seen >= LOOKED_AT && sealed == 0 {
            break;
        }
        let first = seals.fetcher.range(other, 0..envelope::HEADER_LEN as u64).await;
        let first = match first {
            Ok(first) => first,
            // It tells nothing about this one.
            Err(error) if matches!(error.kind(), Kind::Changed | Kind::NotFound | Kind::Denied) => continue,
            Err(error) => return Err(error),
        };
        let is_sealed = first.starts_with(envelope::MAGIC) || Armor::is_around(&first);
        sealed += usize::from(is_sealed);
        seen += 1;
    }
    Ok((seen > 0).then(|| sealed > 0 && !are_few(sealed, seen - sealed)))
}

/// Whether what is encrypted is the odd one: it tells nothing of what is not.
fn are_few(sealed: usize, plain: usize) -> bool {
    sealed.saturating_mul(FEW) < plain
}
