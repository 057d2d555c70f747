//! The logs of several directories as those of one. Which of two copies is the right one, only their
//! bytes tell, and to list them reads none. So the longest is shown as the log, and any other beside
//! it, under a number; who replays them compares.

use crate::Result;
use crate::catalog::layout::files::prefixes_of;
use crate::catalog::layout::names::is_safe_name;
use crate::catalog::objects::{Objects, is_of_object};
use crate::store::{BundledFile, ObjectMeta, Tally};
use crate::task::lock;
use futures::stream::{self, StreamExt, TryStreamExt};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

/// Packed logs that are read to tell whether they are as long as they say, in one process.
const MOST_READ: usize = 256;

/// Which packed logs are whole, of those that say that they are longer than another copy.
#[derive(Debug, Default)]
pub(in crate::catalog) struct Readable(Mutex<HashMap<ObjectMeta, bool>>);

impl Readable {
    /// Whether all of it can be read. Of more than a few nobody asks: they count as not.
    async fn is_whole(&self, objects: &dyn Objects, object: &ObjectMeta) -> Result<bool> {
        let known = {
            let known = lock(&self.0);
            known.get(object).copied().or((known.len() >= MOST_READ).then_some(false))
        };
        if let Some(known) = known {
            return Ok(known);
        }
        // Nothing of a packed one is given out before all of it has proved right.
        let is_whole = match objects.read_range(object, 0..1.min(object.size)).await {
            Ok(_) => true,
            Err(error) if is_of_object(&error) => {
                tracing::warn!("{}: {error}: a copy of this commit log is shown", object.key.escape_debug());
                false
            }
            Err(error) => return Err(error),
        };
        lock(&self.0).insert(object.clone(), is_whole);
        Ok(is_whole)
    }
}

/// Whether a file is a log, packed or not.
pub(super) fn is_log(name: &str) -> bool {
    name.starts_with("CommitLog-") && is_safe_name(name)
}

/// Whether a prefix is that of a directory at the top of the source: directories in it are of hosts.
pub(super) fn is_at_top(prefix: &str) -> bool {
    prefix.strip_suffix('/').is_some_and(|name| !name.contains('/'))
}

/// The logs of a bundle of such prefixes, in order of their names. Where several of one name may have
/// different bytes, the longest has the name, and each other has a number before it (see
/// [`super::copy_of`]).
pub(in crate::catalog) async fn files(
    objects: &dyn Objects,
    readable: &Readable,
    key: &str,
) -> Result<Vec<BundledFile>> {
    let (mut logs, mut tally) = (BTreeMap::<String, Vec<Upload>>::new(), Tally::default());
    for prefix in prefixes_of(key) {
        let mut listed = if is_at_top(prefix) {
            stream::iter(objects.list_level(prefix).await?.objects.into_iter().map(Ok)).boxed()
        } else {
            objects.list(prefix)
        };
        while let Some(object) = listed.try_next().await? {
            let name = object.key.strip_prefix(prefix).and_then(|below| below.rsplit('/').next());
            let Some((name, number)) = name.filter(|name| is_log(name)).map(numbered) else { continue };
            tally.add(name, &object);
            tally.check()?;
            add(logs.entry(name.to_owned()).or_default(), Upload { number, object });
        }
    }
    let mut files = Vec::with_capacity(logs.len());
    for (name, uploads) in logs {
        let copies = order(objects, readable, uploads.into_iter().map(|upload| upload.object).collect()).await?;
        for (at, object) in copies.into_iter().enumerate() {
            let path = if at == 0 { name.as_str().into() } else { format!("{}/{name}", at + 1).into() };
            files.push(BundledFile { path, object, md5: None });
        }
    }
    Ok(files)
}

struct Upload {
    /// Of the uploads of one log, as Esop counts them.
    number: Option<u64>,
    object: ObjectMeta,
}

/// Takes in another object of one log.
fn add(uploads: &mut Vec<Upload>, new: Upload) {
    let directory = |object: &ObjectMeta| object.key.rfind('/').map(|slash| object.key[..slash].to_owned());
    let is_other_upload =
        |old: &Upload| new.number.is_some() && old.number.is_some() && directory(&old.object) == directory(&new.object);
    if let Some(old) = uploads.iter_mut().find(|old| is_other_upload(old)) {
        if old.number <= new.number {
            *old = new;
        }
    } else if !uploads.iter().any(|old| is_same(&old.object, &new.object)) {
        uploads.push(new);
    }
}

/// Whether the store says that two objects are of the same bytes: S3 does, whose ETags are quoted. Those
/// of a directory's files are made of their times.
fn is_same(a: &ObjectMeta, b: &ObjectMeta) -> bool {
    let is_of_bytes = a.e_tag.as_ref().is_some_and(|e_tag| e_tag.starts_with('"'));
    is_of_bytes && a.size == b.size && a.e_tag == b.e_tag
}

/// Puts the longest first. What a packed log says of its length is nothing if it was cut.
pub(super) async fn order(
    objects: &dyn Objects,
    readable: &Readable,
    mut copies: Vec<ObjectMeta>,
) -> Result<Vec<ObjectMeta>> {
    copies.sort_by_key(|copy| (Reverse(copy.size), copy.is_unpacked(), copy.key.clone()));
    if copies.first().map(|copy| copy.size) != copies.last().map(|copy| copy.size) {
        for at in 0..copies.len() {
            if !copies[at].is_unpacked() || readable.is_whole(objects, &copies[at]).await? {
                copies[..=at].rotate_right(1);
                break;
            }
        }
    }
    Ok(copies)
}

/// `CommitLog-7-1.log` of `CommitLog-7-1.log.1795229000000`, as Esop calls each upload of a log by
/// the milliseconds of its last change; the last has all.
fn numbered(name: &str) -> (&str, Option<u64>) {
    let upload = name.rsplit_once('.').and_then(|(log, number)| Some((log, number.parse().ok()?)));
    match upload.filter(|(log, _)| log.strip_suffix(".log").is_some()) {
        Some((log, number)) => (log, Some(number)),
        None => (name, None),
    }
}
