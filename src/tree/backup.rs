//! [`BackupTree`]: the mounted tree over catalog and reader.

use super::Source;
use super::attribution::{Ingredients, Refined, Visible};
use super::content::ContentTree;
use super::damage::ArchiveDamage;
use super::in_memory::in_memory;
use super::linked::LinkedTables;
use super::live;
use super::model::HostModel;
use super::names::{self, Names};
use super::node::{Place, TreeNode};
use super::point_shapes::PointShapes;
use super::source::{Backups, SchemaArchives};
use super::weighted::Weighted;
use crate::cassandra::{TableId, TableName};
use crate::catalog::cluster::Meant;
use crate::catalog::{BackupSet, Catalog, Depth, Host, HostHistory, HostSets, Offsets, Tag, parse_mapping, parse_time};
use crate::reader::Reader;
use crate::store::ObjectMeta;
use crate::task::{blocking, lock};
use crate::time::Timestamp;
use crate::view::{Attr, DirEntry, NodeKind, OpenFile, View};
use crate::{Error, Kind, Result};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

/// What may be chosen about a tree.
#[derive(Clone, Debug)]
pub struct TreeOptions {
    /// `--source-host`: this host is the root.
    pub source_host: Option<Host>,
    /// `--at`: each host as of its newest restore point not after this, as [`parse_time`] reads it.
    pub at: Option<String>,
    /// `--live-data-dir`: directories take the ids of the tables there.
    pub live_data_dir: Option<PathBuf>,
    /// Where schema history and table ids are kept once they are known; `None`: nowhere.
    pub directory: Option<PathBuf>,
    /// Where the names that were shown are kept for a process that takes the mount over; `None`:
    /// nowhere.
    pub names: Option<PathBuf>,
    /// Directories that live tables link to, by their paths from the root: they are found under
    /// these names, whatever better evidence has said of their ids since.
    pub linked: BTreeSet<PathBuf>,
    /// Bytes of memory for listings that may be made again.
    pub memory_limit: usize,
    /// How what restore points lack, and which are of several runs, is logged. Who reports it needs
    /// no second word.
    pub lack_log: LackLog,
    /// Whether what is odd in an archive is logged when its files are shown.
    pub logs_oddities: bool,
}

/// How a tree logs what is wrong with restore points.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LackLog {
    /// Each thing that they lack: who looks after a mount may have nothing else.
    Each,
    /// That they lack something, in one line: who looks around asked for something else.
    Count,
    Nothing,
}

impl Default for TreeOptions {
    fn default() -> Self {
        Self {
            source_host: None,
            at: None,
            live_data_dir: None,
            directory: None,
            names: None,
            linked: BTreeSet::new(),
            memory_limit: 32 << 20,
            lack_log: LackLog::Each,
            logs_oddities: true,
        }
    }
}

/// The tree of backup sets and restore points.
pub struct BackupTree {
    pub(super) source: Arc<dyn Source>,
    pub(super) options: TreeOptions,
    root: TreeNode,
    pub(super) linked: LinkedTables,
    pub(super) hosts: Hosts,
    pub(super) contents: Weighted<[u8; 32], Arc<ContentTree>>,
    pub(super) schemas: Weighted<(Host, Tag, [u8; 32]), Bytes>,
    opened: Timestamp,
    /// Clusters of which it was logged that their hosts are not of one run.
    mixed: Mutex<HashSet<Arc<str>>>,
}

/// What is known of one host, and the work of finding out.
pub(super) struct HostState {
    pub(super) history: HostHistory,
    built: Mutex<Option<BuiltModel>>,
    refined: Mutex<Arc<Refined>>,
    /// Grows with what is learnt that a model must be made anew for.
    revision: AtomicU64,
    /// One at a time finds out; the others wait for it.
    finding: tokio::sync::Mutex<Findings>,
    /// What archives turned out not to give out.
    pub(super) damage: Arc<ArchiveDamage>,
    /// What was logged as missing.
    logged: Mutex<HashSet<crate::catalog::Lack>>,
    /// What was logged of ids that are guesses.
    guessed: Mutex<Option<String>>,
    /// What tables of a restore point are like.
    pub(super) shapes: Mutex<Option<PointShapes>>,
}

/// What is known of each host that was looked at.
pub(super) type Hosts = Arc<Mutex<HashMap<Host, Arc<HostState>>>>;

impl HostState {
    /// The host's sets, if they are known.
    pub(super) fn sets(&self) -> Option<Arc<HostSets>> {
        lock(&self.built).as_ref().map(|built| Arc::clone(&built.model.from.sets))
    }
}

#[derive(Clone)]
struct BuiltModel {
    model: Arc<HostModel>,
    revision: u64,
    at: Instant,
    /// Why ids may be missing now that can be found later.
    incomplete: Option<Error>,
}

#[derive(Default)]
struct Findings {
    /// Each schema_mapping.json that was read.
    mappings: HashSet<Arc<ObjectMeta>>,
    /// Whether some table's id is found in no better place.
    needs_mappings: bool,
    /// The names as they are kept; `None`: nobody has looked.
    names: Option<Names>,
}

impl HostState {
    /// Notes whose an archive is by what its files tell. Of several answers the first stays, so
    /// that nothing goes to and fro; says whether this is the first.
    pub(super) fn refine(&self, tag: &Tag, table: &TableName, id: Option<TableId>) -> bool {
        let mut refined = lock(&self.refined);
        let key = (tag.clone(), table.clone());
        let is_news = !refined.contains_key(&key);
        if is_news {
            Arc::make_mut(&mut refined).insert(key, id);
            self.outdate();
        }
        is_news
    }

    /// Has the model made anew.
    pub(super) fn outdate(&self) {
        self.revision.fetch_add(1, Ordering::AcqRel);
    }

    /// Takes in the id that an archive tells of itself. Says whether `model` took it for another's;
    /// what only confirms it is kept with what is learnt next, because a walk through a large host
    /// would else arrange it anew for every archive.
    pub(super) async fn declare(&self, model: &HostModel, set: &BackupSet, table: &TableName, id: TableId) -> bool {
        self.history.declare(set, table, id);
        let is_news = model.archive_id(set, table) != Some(id);
        if is_news {
            self.outdate();
            self.history.keep().await;
        }
        is_news
    }

    fn refined(&self) -> Arc<Refined> {
        lock(&self.refined).clone()
    }
}

/// Lacks of one host that are logged one by one.
const MOST_LOGGED: usize = 100;
/// How long an outage's gaps are left as they are.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// Longest schema_mapping.json, bytes: tens of thousands of tables.
const MAX_MAPPING: u64 = 16 << 20;
/// Mappings read at the same time.
const PARALLEL: usize = 16;
/// Longest file of a set that is shown, bytes; it is held in memory while it is open.
const MAX_SET_FILE: u64 = 64 << 20;

impl std::fmt::Debug for BackupTree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackupTree").field("options", &self.options).finish_non_exhaustive()
    }
}

impl BackupTree {
    /// With `live_data_dir`, blocks on reading that directory, which must be one. `Kind::Invalid`
    /// when `at` is no time.
    pub fn new(catalog: Arc<Catalog>, reader: Arc<Reader>, options: TreeOptions) -> Result<Self> {
        Self::over(Arc::new(Backups::new(catalog, reader)), options)
    }

    /// The same over any source.
    pub fn over(source: Arc<dyn Source>, options: TreeOptions) -> Result<Self> {
        if let Some(at) = &options.at {
            parse_time(at, &Offsets::default())?;
        }
        if let Some(directory) = &options.live_data_dir {
            live::scan(directory)?;
        }
        let root = match &options.source_host {
            Some(host) => Place::Host(host.clone()),
            None => Place::Hosts,
        };
        Ok(Self {
            source,
            root: TreeNode::root(root),
            linked: LinkedTables::new(&options.linked, options.source_host.as_ref()),
            hosts: Hosts::default(),
            contents: Weighted::new(options.memory_limit),
            schemas: Weighted::new(options.memory_limit / 4),
            opened: SystemTime::now().into(),
            mixed: Mutex::default(),
            options,
        })
    }

    /// The time that it shows, and for whom that is meant.
    pub(super) fn time(&self) -> (&str, Meant) {
        let meant = if self.options.source_host.is_some() { Meant::Host } else { Meant::Cluster };
        self.options.at.as_deref().map_or(("latest", Meant::Host), |at| (at, meant))
    }

    /// The sets of a host and how many of them are to be seen.
    pub(super) async fn sets(&self, host: &Host) -> Result<(Arc<HostSets>, Visible)> {
        let sets = self.source.host(host).await?;
        let visible = self.visible(&sets);
        Ok((sets, visible))
    }

    pub(super) fn visible(&self, sets: &HostSets) -> Visible {
        let Some(at) = &self.options.at else { return Visible::all(sets) };
        let point = parse_time(at, &sets.offsets).ok().and_then(|when| sets.chains.resolve(when));
        point.map_or(Visible::nothing(), |point| Visible::until(sets, point))
    }

    /// The names of a host's tree as of now. The first time, this reads what the host's sets hold
    /// of `system_schema`.
    pub(super) async fn model(&self, host: &Host) -> Result<Arc<HostModel>> {
        Ok(self.built(host).await?.model)
    }

    /// The same, or the outage on account of which it may be wrong.
    pub(super) async fn whole_model(&self, host: &Host) -> Result<Arc<HostModel>> {
        let built = self.built(host).await?;
        built.incomplete.map_or(Ok(built.model), Err)
    }

    /// The model, if it is in memory. No I/O.
    pub(super) fn known_model(&self, host: &Host) -> Option<Arc<HostModel>> {
        let state = lock(&self.hosts).get(host)?.clone();
        let built = lock(&state.built);
        built.as_ref().map(|built| built.model.clone())
    }

    /// The models in memory, by host, and why ids may be missing from them. No I/O.
    pub(super) fn built_hosts(&self) -> BTreeMap<Host, (Arc<HostModel>, Option<Error>)> {
        let hosts = lock(&self.hosts);
        let built = hosts.iter().filter_map(|(host, state)| Some((host.clone(), lock(&state.built).clone()?)));
        built.map(|(host, built)| (host, (built.model, built.incomplete))).collect()
    }

    /// For a name that is not there: `NotFound`, or the outage on account of which that cannot be
    /// said.
    pub(super) async fn absent(&self, host: &Host, name: &str) -> Error {
        match self.built(host).await {
            Ok(BuiltModel { incomplete: Some(outage), .. }) => outage,
            Ok(_) => Error::not_found(format!("there is no {name} of {host}")),
            Err(error) => error,
        }
    }

    pub(super) fn state(&self, host: &Host) -> Arc<HostState> {
        let mut hosts = lock(&self.hosts);
        let new = || {
            let reader = Arc::new(SchemaArchives(self.source.clone()));
            let history = HostHistory::new(self.source.name(), host.clone(), reader, self.options.directory.as_deref());
            Arc::new(HostState {
                history,
                built: Mutex::default(),
                refined: Mutex::default(),
                revision: AtomicU64::new(0),
                finding: tokio::sync::Mutex::default(),
                damage: Arc::default(),
                logged: Mutex::default(),
                guessed: Mutex::default(),
                shapes: Mutex::default(),
            })
        };
        hosts.entry(host.clone()).or_insert_with(new).clone()
    }

    async fn built(&self, host: &Host) -> Result<BuiltModel> {
        let sets = self.source.host(host).await?;
        let state = self.state(host);
        if let Some(built) = fresh(&state, &sets) {
            return Ok(built);
        }
        let mut findings = state.finding.lock().await;
        if let Some(built) = fresh(&state, &sets) {
            return Ok(built);
        }
        let built = self.build(sets, &state, &mut findings).await?;
        *lock(&state.built) = Some(built.clone());
        Ok(built)
    }

    async fn build(&self, sets: Arc<HostSets>, state: &HostState, findings: &mut Findings) -> Result<BuiltModel> {
        // Read first: what is learnt meanwhile is for the next model.
        let revision = state.revision.load(Ordering::Acquire);
        // Even in an outage there are names to show: those that are known, or weaker ones.
        let mut incomplete = state.history.learn(&sets.sets, Depth::Incarnations).await.err();
        let live = match self.options.live_data_dir.clone() {
            Some(directory) => blocking(move || Ok(live::scan(&directory))).await?.unwrap_or_else(|error| {
                tracing::warn!("the ids of live tables are not known: {error}");
                HashMap::new()
            }),
            None => HashMap::new(),
        };
        let live = Arc::new(live);
        let before = lock(&state.built).as_ref().map(|before| before.model.clone());
        let names = self.names(&sets.host, state, findings).await?;
        loop {
            if findings.needs_mappings {
                let failed = self.read_mappings(&sets, state, &mut findings.mappings).await;
                incomplete = incomplete.or(failed);
            }
            let from = Ingredients {
                visible: self.visible(&sets),
                sets: sets.clone(),
                knowledge: state.history.known().with_names(&sets.sets),
                refined: state.refined(),
                live: live.clone(),
                damage: state.damage.clone(),
            };
            let (before, former) = (before.clone(), names.clone());
            let model =
                blocking(move || Ok(HostModel::new(from, before.as_deref()).with_former(&former.former))).await?;
            if !findings.needs_mappings && model.has_unknown_ids() {
                findings.needs_mappings = true;
                continue;
            }
            if let Some(outage) = &incomplete {
                tracing::warn!("table ids of {} may be missing: {outage}", sets.host);
            }
            self.keep_names(&model, findings).await?;
            if self.options.lack_log != LackLog::Nothing {
                self.log_lacks(&model);
            }
            return Ok(BuiltModel { model: Arc::new(model), revision, at: Instant::now(), incomplete });
        }
    }

    /// Each lack once, however often the model is made anew.
    fn log_lacks(&self, model: &HostModel) {
        let state = self.state(&model.from.sets.host);
        let mut logged = lock(&state.logged);
        let seen = model.from.sets.completeness.lacks().filter(|lack| logged.insert((*lack).clone()));
        let new: Vec<&crate::catalog::Lack> = seen.collect();
        let is_counted = self.options.lack_log == LackLog::Count;
        if is_counted && !new.is_empty() {
            let (host, source) = (&model.from.sets.host, self.source.name());
            tracing::warn!("{host} lacks something: `cassmount list {source} {host}` says what");
        }
        for lack in new.iter().take(MOST_LOGGED).filter(|_| !is_counted) {
            tracing::warn!("{}: {lack}; {}", lack.host, lack.reach());
        }
        if new.len() > MOST_LOGGED && !is_counted {
            tracing::warn!("{}: and {} more things are missing", model.from.sets.host, new.len() - MOST_LOGGED);
        }
        if let Some(guessed) = model.guesses() {
            let mut told = lock(&state.guessed);
            if told.as_ref() != Some(&guessed) {
                tracing::warn!("{guessed}");
                *told = Some(guessed);
            }
        }
        // Once: while the hosts back up it is so for a while, each time.
        if let Some(mixed) = self.mixed_run(model).filter(|mixed| lock(&self.mixed).insert(Arc::clone(&mixed.cluster)))
        {
            tracing::warn!("at {}, {mixed}", self.time().0);
        }
    }

    /// The names as they are kept, which are those of another process at first.
    async fn names(&self, host: &Host, state: &HostState, findings: &mut Findings) -> Result<Names> {
        if let Some(names) = &findings.names {
            return Ok(names.clone());
        }
        let names = match self.names_path(host) {
            Some(path) => blocking(move || Ok(Names::load(&path))).await?,
            None => Names::default(),
        };
        let mut refined = lock(&state.refined);
        for (archive, id) in &*names.refined {
            Arc::make_mut(&mut refined).entry(archive.clone()).or_insert(*id);
        }
        findings.names = Some(names.clone());
        Ok(names)
    }

    /// Before anybody sees the model.
    async fn keep_names(&self, model: &HostModel, findings: &mut Findings) -> Result<()> {
        let Some(path) = self.names_path(&model.from.sets.host) else { return Ok(()) };
        let names = Names::of(model);
        if findings.names.as_ref() != Some(&names) {
            findings.names = Some(names.clone());
            blocking(move || {
                names.keep(&path);
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    fn names_path(&self, host: &Host) -> Option<PathBuf> {
        self.options.names.as_ref().map(|directory| names::path(directory, self.source.name(), host))
    }

    /// Reads the schema_mapping.json of every set that has one; the reason if some may be read
    /// later only.
    async fn read_mappings(
        &self,
        sets: &HostSets,
        state: &HostState,
        done: &mut HashSet<Arc<ObjectMeta>>,
    ) -> Option<Error> {
        let mut reads: Vec<BoxFuture<'_, MappingRead<'_>>> = Vec::new();
        for set in &sets.sets {
            if let Some(object) = set.file("schema_mapping.json").filter(|object| !done.contains(*object)) {
                reads.push(async move { (set, object, self.source.fetch_object(object, MAX_MAPPING).await) }.boxed());
            }
        }
        let mut reads = futures::stream::iter(reads).buffer_unordered(PARALLEL);
        let mut failed = None;
        while let Some((set, object, bytes)) = reads.next().await {
            match bytes.map(|bytes| parse_mapping(&bytes)) {
                Ok(Some(mapping)) => state.history.map(set, &mapping),
                Ok(None) => tracing::warn!("{}: it maps no tables to ids", object.key),
                Err(error) if is_lasting(error.kind()) => {
                    tracing::warn!("{}: it tells no table ids: {error}", object.key);
                }
                Err(error) => {
                    failed.get_or_insert(error);
                    continue;
                }
            }
            done.insert(object.clone());
        }
        drop(reads);
        state.history.keep().await;
        failed
    }
}

/// A set, its schema_mapping.json, and what is in it.
type MappingRead<'a> = (&'a Arc<BackupSet>, &'a Arc<ObjectMeta>, Result<Bytes>);

/// What was built, if nothing has come that would change it.
fn fresh(state: &HostState, sets: &Arc<HostSets>) -> Option<BuiltModel> {
    let built = lock(&state.built).clone()?;
    let is_fresh = Arc::ptr_eq(&built.model.from.sets, sets)
        && built.revision == state.revision.load(Ordering::Acquire)
        && (built.incomplete.is_none() || built.at.elapsed() < RETRY_AFTER);
    is_fresh.then_some(built)
}

/// Whether trying again can give nothing else.
pub(super) fn is_lasting(kind: Kind) -> bool {
    matches!(kind, Kind::NoKey | Kind::Corrupt | Kind::Unsupported | Kind::Invalid | Kind::Changed | Kind::NotFound)
}

impl View for BackupTree {
    type Node = TreeNode;

    fn root(&self) -> TreeNode {
        self.root.clone()
    }

    fn ino(&self, node: &TreeNode) -> u64 {
        node.ino()
    }

    fn kind(&self, node: &TreeNode) -> NodeKind {
        node.kind()
    }

    async fn lookup(&self, dir: &TreeNode, name: &OsStr) -> Result<TreeNode> {
        // No name in the tree is anything but UTF-8: members' names come escaped.
        let name = name.to_str().ok_or_else(|| Error::not_found("no name here is anything but UTF-8"))?;
        Ok(dir.child(self.child(dir, name).await?))
    }

    async fn list(&self, dir: &TreeNode) -> Result<Arc<[DirEntry<TreeNode>]>> {
        let mut children = self.children(dir).await?;
        children.sort_by(|a, b| a.name.cmp(&b.name));
        let entry = |child: super::node::Child| DirEntry { name: OsString::from(&*child.name), node: dir.child(child) };
        Ok(children.into_iter().map(entry).collect())
    }

    async fn attr(&self, node: &TreeNode) -> Result<Attr> {
        let (size, mtime, nlink) = match node.place() {
            Place::Member(file) => (file.size, file.mtime, 1),
            Place::Object(object) => (object.size, object.modified, 1),
            Place::Schema(host, tag) => {
                let text = self.schema_text(host, tag).await?;
                (text.len() as u64, self.set_time(host, tag).await?, 1)
            }
            Place::Incomplete(host, tag) => {
                let text = self.incomplete(host, tag).await?;
                (text.len() as u64, self.set_time(host, tag).await?, 1)
            }
            Place::Link(target, mtime) => (target.len() as u64, *mtime, 1),
            place => {
                let (mtime, subdirectories) = self.directory_attr(place).await?;
                (0, mtime.unwrap_or(self.opened), subdirectories.map_or(1, |count| count.saturating_add(2)))
            }
        };
        Ok(Attr { ino: node.ino(), kind: node.kind(), size, mtime, nlink })
    }

    async fn read_link(&self, node: &TreeNode) -> Result<OsString> {
        match node.place() {
            Place::Link(target, _) => Ok(OsString::from(&**target)),
            _ => Err(Error::invalid("it is no symbolic link")),
        }
    }

    async fn open(&self, node: &TreeNode) -> Result<Arc<dyn OpenFile>> {
        match node.place() {
            Place::Member(file) => self.open_member(file).await,
            Place::Object(object) => Ok(in_memory(self.source.fetch_object(object, MAX_SET_FILE).await?)),
            Place::Schema(host, tag) => Ok(in_memory(self.schema_text(host, tag).await?)),
            Place::Incomplete(host, tag) => Ok(in_memory(self.incomplete(host, tag).await?)),
            Place::Link(..) => Err(Error::invalid("a symbolic link cannot be opened")),
            _ => Err(Error::new(Kind::IsDirectory, "it is a directory")),
        }
    }
}
