//! Which layout a source has: named by somebody, or told from its keys when it is first needed.

use super::renamed::{Rename, Renamed};
use super::sample::Sample;
use super::{Layout, all, named};
use crate::catalog::Host;
use crate::catalog::objects::Objects;
use crate::task::lock;
use crate::{Error, Kind, Result};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex};

/// What somebody says of a source's layout.
#[derive(Clone, Debug, Default)]
pub enum LayoutChoice {
    /// Its keys tell.
    #[default]
    Auto,
    /// This one. It is an error when the keys are of another one.
    Named(Arc<dyn Layout>),
    /// This one, without a look.
    Certain(Arc<dyn Layout>),
}

/// The name of [`LayoutChoice::Auto`].
const AUTO: &str = "auto";

impl LayoutChoice {
    /// All names that can be given.
    pub fn names() -> Vec<&'static str> {
        std::iter::once(AUTO).chain(all().iter().map(|layout| layout.name())).collect()
    }
}

impl FromStr for LayoutChoice {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        if name == AUTO {
            return Ok(Self::Auto);
        }
        let unknown = || Error::invalid(format!("there is no layout {name:?}; there are {}", Self::names().join(", ")));
        named(name).map(Self::Named).ok_or_else(unknown)
    }
}

impl fmt::Display for LayoutChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str(AUTO),
            Self::Named(layout) | Self::Certain(layout) => f.write_str(layout.name()),
        }
    }
}

/// The layout of one source.
#[derive(Debug)]
pub(in crate::catalog) struct SourceLayout {
    choice: LayoutChoice,
    renames: Vec<Rename>,
    found: Mutex<Option<RecognisedLayout>>,
    /// One at a time looks.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Clone, Debug)]
struct RecognisedLayout {
    layout: Arc<dyn Layout>,
    /// Somebody has looked at the source, in this process.
    seen: bool,
}

impl SourceLayout {
    pub(in crate::catalog) fn new(choice: LayoutChoice, renames: Vec<Rename>) -> Self {
        let (layout, seen) = match &choice {
            LayoutChoice::Certain(layout) => (Some(layout), true),
            LayoutChoice::Named(layout) => (Some(layout), false),
            LayoutChoice::Auto => (None, false),
        };
        // What cannot be renamed is told to whoever asks first.
        let found =
            layout.and_then(|layout| Some(RecognisedLayout { layout: Renamed::over(layout, &renames).ok()?, seen }));
        Self { choice, renames, found: Mutex::new(found), turn: tokio::sync::Mutex::default() }
    }

    /// The names that a host has in the source, and the one that it is shown under.
    pub(in crate::catalog) fn names_of(&self, host: &Host) -> Vec<Host> {
        let old = self.renames.iter().filter(|rename| rename.new == *host).map(|rename| rename.old.clone());
        std::iter::once(host.clone()).chain(old).collect()
    }

    /// The layout, as far as it is known without a look.
    pub(in crate::catalog) fn known(&self) -> Option<Arc<dyn Layout>> {
        self.get().map(|found| found.layout)
    }

    /// Takes over what an earlier process found out. Says whether that can be right.
    pub(in crate::catalog) fn suppose(&self, name: &str) -> bool {
        let mut found = lock(&self.found);
        match (&*found, named(name)) {
            (Some(found), _) => found.layout.name() == name,
            (None, Some(layout)) => match Renamed::over(&layout, &self.renames) {
                Ok(layout) => {
                    *found = Some(RecognisedLayout { layout, seen: false });
                    true
                }
                Err(_) => false,
            },
            (None, None) => false,
        }
    }

    /// The layout, after a look if nothing tells it.
    pub(in crate::catalog) async fn layout(&self, objects: &dyn Objects) -> Result<Arc<dyn Layout>> {
        match self.known() {
            Some(layout) => Ok(layout),
            None => self.look(objects).await,
        }
    }

    /// The layout, once the source's keys were looked at.
    ///
    /// # Errors
    /// `Kind::Invalid` when the keys are not those of the layout that was named, or of more than
    /// one.
    pub(in crate::catalog) async fn look(&self, objects: &dyn Objects) -> Result<Arc<dyn Layout>> {
        let seen = || self.get().filter(|found| found.seen).map(|found| found.layout);
        if let Some(layout) = seen() {
            return Ok(layout);
        }
        let _turn = self.turn.lock().await;
        if let Some(layout) = seen() {
            return Ok(layout);
        }
        let layouts = all();
        let sample = Sample::take(objects, &layouts).await?;
        let layout = decide(&self.choice, &sample, &layouts, objects.name())?;
        let layout = Renamed::over(&layout, &self.renames)?;
        *lock(&self.found) = Some(RecognisedLayout { layout: Arc::clone(&layout), seen: true });
        Ok(layout)
    }

    fn get(&self) -> Option<RecognisedLayout> {
        lock(&self.found).clone()
    }
}

fn decide(
    choice: &LayoutChoice,
    sample: &Sample,
    layouts: &[Arc<dyn Layout>],
    source: &str,
) -> Result<Arc<dyn Layout>> {
    let found = sample.layouts(layouts);
    let names = |found: &[Arc<dyn Layout>]| found.iter().map(|layout| layout.name()).collect::<Vec<_>>();
    match (choice, &found[..]) {
        (LayoutChoice::Certain(layout), _) => Ok(Arc::clone(layout)),
        (LayoutChoice::Named(layout), _) if sample.is_empty() || sample.fits(&**layout) => Ok(Arc::clone(layout)),
        (LayoutChoice::Named(layout), found) => {
            let instead = match found {
                [] => "like none that is known".to_owned(),
                [other] => format!("like {}: --layout {}", other.name(), other.name()),
                several => format!("like several: --layout {}", names(several).join(" or ")),
            };
            Err(Error::invalid(format!(
                "nothing in {source} looks like the layout {}: it has {}, which looks {instead}",
                layout.name(),
                sample.shown()
            )))
        }
        (LayoutChoice::Auto, [only]) => Ok(Arc::clone(only)),
        (LayoutChoice::Auto, []) if sample.is_empty() => Ok(Arc::clone(&layouts[0])),
        // Not «no backups»: somebody looks for what is there.
        (LayoutChoice::Auto, []) => {
            let hint = match sample.archive() {
                _ if sample.is_of_one_host(layouts) => {
                    "it looks like the directory of one host: give the directory above as SOURCE, and its name as HOST"
                        .into()
                }
                Some(key) => format!(
                    "{key:?} may be an archive of many tables: --layout node_archives looks into such ones, and reads each \
                     whole, once, to know what it holds"
                ),
                None => "give the directory above the hosts as SOURCE, or name the layout with --layout".into(),
            };
            Err(Error::new(
                Kind::Unsupported,
                format!("nothing in {source} looks like a backup that is known: it has {}; {hint}", sample.shown()),
            ))
        }
        (LayoutChoice::Auto, several) => Err(Error::invalid(format!(
            "{source} looks like several layouts side by side, so that one of them would show a part of it only: name one with --layout {}",
            names(several).join(" or ")
        ))),
    }
}
