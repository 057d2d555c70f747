//! Lists a host: all of it the first time, later only what may have changed.

use super::completeness::{Cause, SetEvidence, Subject};
use super::host_sets::{HostSets, is_settled};
use super::layout::logs::{HostLogs, LogsBeside, Readable};
use super::layout::{
    FoundSet, Gathered, GatheredSets, HostScan, Layout, NodeArchives, Part, PlacedSets, Rsync, SetPlace, SetPlaces,
    Sets, SourceLayout, logs,
};
use super::manifest::{Manifest, ParsedManifest, Scope, SetKind, TELLING_FILES, WrongKind};
use super::missing::{creates_no_table, missing_by_schema, missing_from_full};
use super::objects::{Objects, is_of_object};
use super::packed::Interner;
use super::set::{BackupSet, ListedSet, ManifestFault, SetBuilder};
use super::stray::{StrayReason, Strays};
use super::{Host, Tag};
use crate::cassandra::TableName;
use crate::cassandra::schema::is_system_keyspace;
use crate::store::ObjectMeta;
use crate::task::{blocking, lock};
use crate::time::Timestamp;
use crate::{Error, Kind, Result};
use futures::{StreamExt, TryStreamExt};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use tokio::sync::Semaphore;

/// What a listing needs.
#[derive(Clone)]
pub(super) struct Lister {
    pub(super) objects: Arc<dyn Objects>,
    pub(super) layout: Arc<SourceLayout>,
    /// Requests in flight, over all hosts.
    pub(super) permits: Arc<Semaphore>,
    /// Sets of one host listed at once.
    pub(super) parallel: usize,
    /// As [`super::CatalogOptions`] has it.
    pub(super) lists_all: bool,
    pub(super) readable_logs: Arc<Readable>,
    /// Hosts of which it was said that their sets are in the order of names.
    pub(super) told: Arc<Mutex<HashSet<Host>>>,
}

/// Largest manifest that is read, bytes: one of a million tables has some 40 MB.
const MAX_MANIFEST: u64 = 48 << 20;
/// Most archives of one set; Cassandra is unusable long before.
const MAX_ARCHIVES: usize = 1_000_000;
/// A set is listed again after this long in any case, a few at a refresh, since parts of it may
/// have been deleted.
const AUDIT_US: i64 = 7 * 24 * 3_600_000_000;
const AUDITED_AT_ONCE: usize = 64;
/// Expiry takes the oldest sets first, object by object: so many are always looked at.
const OLDEST_WATCHED: usize = 2;

impl Lister {
    /// Lists the host; sets of `known` that cannot have changed are taken over.
    /// `beside`: where commit logs lie beside the hosts, if that is known. `Kind::NotFound` when there
    /// is no such host.
    pub(super) async fn host(
        &self,
        host: &Host,
        known: Option<&HostSets>,
        beside: Option<&LogsBeside>,
        now: Timestamp,
    ) -> Result<HostSets> {
        let layout = self.layout.layout(&*self.objects).await?;
        let (found, mut logs) = match layout.sets() {
            Sets::Placed(layout) => self.placed(layout, host, known, now).await?,
            Sets::Gathered(layout) => self.gathered(layout, host, known, now).await?,
        };
        let is_linked = self.is_linked(host, found.sets.iter().map(|set| &*set.prefix)).await;
        let names = self.layout.names_of(host);
        let beside = match beside {
            Some(beside) => beside.prefixes(&names),
            None => self.beside(&*layout).await?.prefixes(&names),
        };
        logs.extend(beside);
        let mut seen = HashSet::new();
        logs.retain(|prefix| seen.insert(prefix.clone()));
        let logs = HostLogs::below(&*self.objects, &self.readable_logs, &logs).await?;
        Ok(found.with_link(is_linked).with_logs(logs))
    }

    /// Where commit logs lie beside the hosts, where nobody has listed these.
    async fn beside(&self, layout: &dyn Layout) -> Result<LogsBeside> {
        let _permit = self.permit().await?;
        let has_any = match layout.name() {
            NodeArchives::NAME => false,
            // Each snapshot may have a directory of them beside its hosts.
            Rsync::NAME => true,
            _ => logs::are_beside(&*self.objects).await?,
        };
        if has_any { Ok(LogsBeside::of(&layout.hosts(&*self.objects).await?)) } else { Ok(LogsBeside::default()) }
    }

    async fn placed(
        &self,
        layout: &dyn PlacedSets,
        host: &Host,
        known: Option<&HostSets>,
        now: Timestamp,
    ) -> Result<(HostSets, Vec<String>)> {
        let places = {
            let _permit = self.permit().await?;
            layout.places(&*self.objects, host).await?
        };
        let SetPlaces { sets: places, logs, mut strays } = places;
        if places.is_empty() && strays.is_empty() && logs.is_empty() {
            return Err(no_such_host(host));
        }
        let mut prefixes: Vec<String> = places.iter().map(|place| place.prefix.escape_debug().to_string()).collect();
        let (mut unlisted, mut gone): (Vec<(SetPlace, Error)>, Vec<SetPlace>) = Default::default();
        for skipped in self.objects.left_out() {
            let name = skipped.name.strip_prefix(&*host.0).and_then(|rest| rest.strip_prefix('/'));
            let Some(place) = name.and_then(|name| layout.place(host, name)) else { continue };
            if !places.contains(&place) {
                prefixes.push(place.prefix.to_string());
                unlisted.push((place, Error::new(Kind::Denied, skipped.reason)));
            }
        }
        let mut interner = Interner::default();
        let mut old: HashMap<&Tag, &Arc<BackupSet>> = HashMap::new();
        for set in known.iter().flat_map(|known| &known.sets) {
            interner.adopt(&set.archives);
            old.insert(&set.tag, set);
        }
        let audited = known.map(|known| to_audit(known, now)).unwrap_or_default();
        let mut sets = Vec::with_capacity(places.len());
        let mut to_list = Vec::new();
        for (position, place) in places.into_iter().enumerate() {
            let known = old.get(&place.tag).copied();
            match known {
                Some(set)
                    if !self.lists_all
                        && position >= OLDEST_WATCHED
                        && is_settled(set)
                        && !audited.contains(&set.tag) =>
                {
                    sets.push(set.clone());
                }
                _ => to_list.push((place, known.cloned())),
            }
        }
        let mut listed = futures::stream::iter(to_list)
            .map(|(place, known)| async move {
                let found = self.set(layout, host, &place, known.as_deref(), now).await;
                (place, found, known)
            })
            .buffer_unordered(self.parallel);
        while let Some((place, found, known)) = listed.next().await {
            let found = match found {
                // It must not take the others with it.
                Err(error) if is_of_name(&error) => {
                    unlisted.push((place, error));
                    continue;
                }
                found => found?,
            };
            let set = match found {
                SetListing::Gone => {
                    gone.push(place);
                    continue;
                }
                SetListing::Unread(_) => continue,
                SetListing::New(listed, manifest) => Arc::new(listed.finish(*manifest, &mut interner)),
                SetListing::Same => match known {
                    Some(mut set) => {
                        Arc::make_mut(&mut set).listed = now;
                        set
                    }
                    None => continue,
                },
            };
            sets.push(set);
        }
        drop(listed);
        // Of the oldest sets, expiry may leave directories; where one is left between others, a copy
        // has lost what was in it.
        let first = sets.iter().filter_map(|set| set.tag_time).min();
        for place in gone.into_iter().filter(|place| first.is_some_and(|first| place.local > Some(first))) {
            let builder = SetBuilder::new(host, &place.tag, place.local, &place.prefix, now);
            sets.push(Arc::new(builder.listed().finish(Ok(None), &mut interner)));
        }
        for (place, error) in unlisted {
            if sets.is_empty() {
                // None of them can be listed: that is the store.
                return Err(error);
            }
            let reason = ManifestFault::Unreadable(format!("nor can anything of the set: {error}"));
            let builder = SetBuilder::new(host, &place.tag, place.local, &place.prefix, now);
            sets.push(Arc::new(builder.listed().finish(Err(reason), &mut interner)));
        }
        for skipped in self.objects.left_out() {
            let is_of_set = |prefix: &String| format!("{}/", skipped.name).starts_with(&**prefix);
            if is_below(&skipped.name, host) && !prefixes.iter().any(is_of_set) {
                strays.push(skipped.name, None, StrayReason::Unreadable);
            }
        }
        if sets.is_empty() && strays.is_empty() && logs.is_empty() {
            return Err(no_such_host(host));
        }
        Ok((host_sets(host, sets, strays, now).await?, logs))
    }

    /// The sets as the layout puts them together.
    async fn gathered(
        &self,
        layout: &dyn GatheredSets,
        host: &Host,
        known: Option<&HostSets>,
        now: Timestamp,
    ) -> Result<(HostSets, Vec<String>)> {
        let audited = known.map(|known| to_audit(known, now)).unwrap_or_default();
        let all = known.map(|known| &known.sets[..]).unwrap_or_default();
        let is_taken_over = |set: &&Arc<BackupSet>| !self.lists_all && is_settled(set) && !audited.contains(&set.tag);
        let settled = all.iter().skip(OLDEST_WATCHED).filter(is_taken_over);
        let settled = settled.map(|set| set.tag.clone()).collect();
        let found = {
            let _permit = self.permit().await?;
            layout.gather(HostScan { objects: &*self.objects, host, known, settled }).await?
        };
        let Gathered { sets: found, settled, logs, mut strays } = found;
        if found.is_empty() && settled.is_empty() && strays.is_empty() && logs.is_empty() {
            return Err(no_such_host(host));
        }
        self.add_unlisted(host, &mut strays).await?;
        let mut interner = Interner::default();
        for set in all {
            interner.adopt(&set.archives);
        }
        let mut sets: Vec<Arc<BackupSet>> =
            settled.iter().filter_map(|tag| known?.set(&tag.0)).map(Arc::clone).collect();
        for mut set in found {
            if let Ok(Some(ParsedManifest { manifest, .. })) = &set.manifest {
                let files: HashMap<&str, &ObjectMeta> = set.files.iter().map(|(name, file)| (&**name, file)).collect();
                let tables: HashSet<&TableName> = set.tables.iter().map(|table| &table.table).collect();
                let file = |name: &str| files.get(name).map(|file| Arc::new(ObjectMeta::clone(file)));
                let known = known.and_then(|known| known.set(&set.tag.0));
                let has = |table: &TableName| tables.contains(table);
                let evidence = match (known.filter(|known| known.is_as(&set.files, &set.tables)), &set.schema_tables) {
                    (Some(known), _) => known.evidence_of_own_files(),
                    (None, Some(listed)) => missing_by_schema(listed, has),
                    (None, None) => self.own_files(manifest, file, &tables).await?,
                };
                set.evidence.extend(evidence);
            }
            sets.push(Arc::new(gathered_set(host, set, &mut interner, now)?));
        }
        let sets = host_sets(host, sets, strays, now).await?;
        self.tell_by_name(&sets);
        Ok((sets, logs))
    }

    /// Says once of each host that its sets are not in the order in which they were stored.
    fn tell_by_name(&self, sets: &HostSets) {
        let tags: Vec<&str> = sets.by_name().map(|set| &*set.tag.0).collect();
        let (Some(first), Some(last)) = (tags.first(), tags.last()) else { return };
        if lock(&self.told).insert(sets.host.clone()) {
            let host = &sets.host;
            tracing::warn!(
                "{host}: the store contradicts the dates in the names of {count} sets ({first} to {last}), as where \
                 they were copied. They are taken as made when their names say",
                count = tags.len(),
            );
        }
    }

    /// Names below a set's prefix that the store could not list.
    fn unlisted(&self, layout: &dyn PlacedSets, prefix: &str) -> Vec<SetEvidence> {
        let prefix = prefix.escape_debug().to_string();
        let table = |name: &str| match layout.classify(&name[prefix.len()..]) {
            Ok(Part::Archive(table)) => Some(table),
            _ => None,
        };
        let below = self.objects.left_out().into_iter().filter(|skipped| skipped.name.starts_with(&prefix));
        below
            .map(|skipped| {
                let cause = Cause::Unreadable { why: skipped.reason.into() };
                let table = table(&skipped.name);
                SetEvidence::new(Subject::Object { key: skipped.name.into(), table }, cause)
            })
            .collect()
    }

    /// Names that the store could not list, of a host whose sets lie scattered: those that name it,
    /// and those that name no host.
    async fn add_unlisted(&self, host: &Host, strays: &mut Strays) -> Result<()> {
        let left_out = self.objects.left_out();
        if left_out.is_empty() {
            return Ok(());
        }
        let hosts = {
            let _permit = self.permit().await?;
            self.layout.layout(&*self.objects).await?.hosts(&*self.objects).await?.hosts
        };
        for skipped in left_out {
            if is_below(&skipped.name, host) || !hosts.iter().any(|host| is_below(&skipped.name, host)) {
                strays.push(skipped.name, None, StrayReason::Unreadable);
            }
        }
        Ok(())
    }

    pub(super) async fn permit(&self) -> Result<tokio::sync::SemaphorePermit<'_>> {
        self.permits.acquire().await.map_err(|e| Error::new(Kind::Unreachable, "the catalog was closed").with_source(e))
    }

    async fn set(
        &self,
        layout: &dyn PlacedSets,
        host: &Host,
        place: &SetPlace,
        known: Option<&BackupSet>,
        now: Timestamp,
    ) -> Result<SetListing> {
        // A manifest that was replaced or deleted since it was listed, or that the store fails to
        // give out, is worth another look. If the store then lists the set and still does not give
        // out this one object, that says something of the object, not of the store.
        match self.try_set(layout, host, place, known, now).await? {
            SetListing::Unread(_) => {}
            found => return Ok(found),
        }
        match self.try_set(layout, host, place, known, now).await? {
            SetListing::Unread(unread) => {
                let (listed, reason) = *unread;
                Ok(SetListing::New(Box::new(listed), Box::new(Err(ManifestFault::Unreadable(reason)))))
            }
            found => Ok(found),
        }
    }

    async fn try_set(
        &self,
        layout: &dyn PlacedSets,
        host: &Host,
        place: &SetPlace,
        known: Option<&BackupSet>,
        now: Timestamp,
    ) -> Result<SetListing> {
        let _permit = self.permit().await?;
        let listed = self.list(layout, host, place, now).await?;
        let Some(mut listed) = listed else { return Ok(SetListing::Gone) };
        listed.add_evidence(self.unlisted(layout, &place.prefix));
        if known.is_some_and(|known| listed.is_same_as(known) && !known.manifest.is_unreadable()) {
            return Ok(SetListing::Same);
        }
        let mut manifest = match listed.file(layout.manifest_name()) {
            None => Ok(None),
            Some(object) if object.size > MAX_MANIFEST => {
                Err(ManifestFault::Damaged(format!("it is {} bytes long", object.size)))
            }
            Some(object) => match self.objects.read(object).await {
                Ok(bytes) => layout.manifest(&place.tag, &bytes).map(Some).map_err(ManifestFault::Damaged),
                Err(e) => return Ok(SetListing::Unread(Box::new((listed, e.to_string())))),
            },
        };
        let has_telling_file = TELLING_FILES.iter().any(|name| listed.file(name).is_some());
        if let Ok(Some(parsed)) = &mut manifest
            && let Some(wrong) = parsed.set_right(has_telling_file)
        {
            let cause = match wrong {
                WrongKind::SaysFull => Cause::SaysFull,
                WrongKind::SaysIncremental => Cause::SaysIncremental,
            };
            listed.add_evidence(vec![SetEvidence::new(Subject::Set, cause)]);
        }
        if let Ok(Some(ParsedManifest { manifest, .. })) = &manifest {
            let tables = listed.tables().collect();
            let evidence = self.own_files(manifest, |name| listed.file(name).cloned(), &tables).await?;
            listed.add_evidence(evidence);
        }
        Ok(SetListing::New(Box::new(listed), Box::new(manifest)))
    }

    /// What a full's own files say that it should hold, and does not. Where the only ones that
    /// could tell cannot be used, nobody knows what else is missing.
    async fn own_files(
        &self,
        manifest: &Manifest,
        file: impl Fn(&str) -> Option<Arc<ObjectMeta>>,
        tables: &HashSet<&TableName>,
    ) -> Result<Vec<SetEvidence>> {
        let has = |table: &TableName| tables.contains(table);
        let has_users = tables.iter().any(|table| !is_system_keyspace(&table.keyspace));
        if manifest.kind != SetKind::Full || manifest.scope != Scope::Whole {
            return Ok(Vec::new());
        }
        let mut silent = Vec::new();
        for name in TELLING_FILES {
            let Some(object) = file(name) else { continue };
            let why = if object.size > MAX_MANIFEST {
                format!("it is {} bytes long", object.size)
            } else {
                match self.objects.read(&object).await {
                    Ok(bytes) => match missing_from_full(name, &bytes, has) {
                        Ok(_) if has_users && name == TELLING_FILES[0] && creates_no_table(&bytes) => {
                            "it creates no table".to_owned()
                        }
                        Ok(missing) if silent.is_empty() => return Ok(missing),
                        Ok(missing) => {
                            let alone =
                                missing.into_iter().map(|one| SetEvidence { cause: Cause::MappingAlone, ..one });
                            return Ok(silent.into_iter().map(SetEvidence::into_remark).chain(alone).collect());
                        }
                        Err(why) => why.to_owned(),
                    },
                    Err(e) if is_of_object(&e) => e.to_string(),
                    Err(e) => return Err(e),
                }
            };
            let cause = Cause::Unreadable { why: why.into() };
            silent.push(SetEvidence::new(Subject::Object { key: object.key.clone(), table: None }, cause));
        }
        Ok(silent)
    }

    /// `None` when nothing is there any more.
    async fn list(
        &self,
        layout: &dyn PlacedSets,
        host: &Host,
        place: &SetPlace,
        now: Timestamp,
    ) -> Result<Option<ListedSet>> {
        let mut builder = SetBuilder::new(host, &place.tag, place.local, &place.prefix, now);
        let mut objects = self.objects.list(&place.prefix);
        let (mut seen, mut archives) = (false, 0);
        while let Some(object) = objects.try_next().await? {
            // A store that answers with something else than it was asked for is not to be guessed
            // at.
            let Some(below) = object.key.strip_prefix(&*place.prefix) else { continue };
            seen = true;
            match layout.classify(below) {
                Ok(Part::Archive(table)) => {
                    archives += 1;
                    if archives > MAX_ARCHIVES {
                        return Err(Error::invalid(format!("more than {MAX_ARCHIVES} archives in one set"))
                            .with_object(&place.prefix));
                    }
                    builder.archive(table, object);
                }
                Ok(Part::File(name)) => builder.file(name, object),
                Err(reason) => builder.stray(&object, reason),
            }
        }
        Ok(seen.then(|| builder.listed()))
    }
}

/// Sorting thousands of sets is no work for the thread that answers others.
async fn host_sets(host: &Host, sets: Vec<Arc<BackupSet>>, strays: Strays, now: Timestamp) -> Result<HostSets> {
    let host = host.clone();
    blocking(move || Ok(HostSets::new(host, sets, strays, now))).await
}

fn no_such_host(host: &Host) -> Error {
    Error::not_found(format!("the source has no host {host:?}", host = &*host.0))
}

fn gathered_set(host: &Host, found: FoundSet, interner: &mut Interner, now: Timestamp) -> Result<BackupSet> {
    let FoundSet { tag, local, manifest, tables, files, strays, evidence, schema_tables: _ } = found;
    let prefix = interner.string(common_prefix(tables.iter().map(|table| &*table.object.key)));
    if tables.len() > MAX_ARCHIVES {
        return Err(Error::invalid(format!("more than {MAX_ARCHIVES} tables in the set {tag}")).with_object(&prefix));
    }
    let mut builder = SetBuilder::new(host, &tag, local, &prefix, now);
    builder.set.strays = strays;
    for evidence in evidence {
        builder.evidence(evidence);
    }
    for table in tables {
        builder.table(table);
    }
    for (name, object) in files {
        builder.file(&name, object);
    }
    Ok(builder.listed().finish(manifest.map_err(ManifestFault::Damaged), interner))
}

/// What all keys begin with, up to a `/`.
fn common_prefix<'a>(mut keys: impl Iterator<Item = &'a str>) -> &'a str {
    let Some(mut prefix) = keys.next() else { return "" };
    for key in keys {
        let same = prefix.bytes().zip(key.bytes()).take_while(|(a, b)| a == b).count();
        // A boundary of a character, too: what is cut off there is cut back to a slash.
        prefix = &prefix[..prefix.floor_char_boundary(same)];
    }
    &prefix[..prefix.rfind('/').map_or(0, |slash| slash + 1)]
}

/// Whether a directory on the way to the name is the host's.
fn is_below(name: &str, host: &Host) -> bool {
    name.split('/').any(|part| *part == *host.0)
}

/// Whether a listing failed for the directory that it is of.
fn is_of_name(error: &Error) -> bool {
    matches!(error.kind(), Kind::Denied | Kind::Io)
}

/// How a set was found.
enum SetListing {
    /// Nothing is left of it.
    Gone,
    /// As it is known already.
    Same,
    New(Box<ListedSet>, Box<Result<Option<ParsedManifest>, ManifestFault>>),
    /// As listed, and why the store did not give out its manifest.
    Unread(Box<(ListedSet, String)>),
}

/// The sets that were not looked at for longest, and the newest that lack something: somebody may have
/// mended them.
fn to_audit(known: &HostSets, now: Timestamp) -> HashSet<Tag> {
    let mut due: Vec<&Arc<BackupSet>> =
        known.sets.iter().filter(|set| now.0.saturating_sub(set.listed.0) > AUDIT_US).collect();
    due.sort_by_key(|set| set.listed);
    let due = due.into_iter().take(AUDITED_AT_ONCE).map(|set| set.tag.clone());
    let lacking: HashSet<&Tag> = known.completeness.lacks().map(|lack| &lack.set).collect();
    let newest = known.sets.iter().rev().map(|set| &set.tag).filter(|tag| lacking.contains(tag));
    due.chain(newest.take(AUDITED_AT_ONCE).cloned()).collect()
}
