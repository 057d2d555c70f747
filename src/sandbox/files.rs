//! Which files a process reaches (Landlock): what is not named cannot be opened, made, renamed or
//! removed, nor can anything be mounted.
//!
//! A rule is for a file or directory, not for a name. Where another one is put in its place, the
//! process does not reach it any more; [`Watched`] tells.

use super::Needs;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, PathFd,
    RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The newest interface whose rights are asked for; older kernels know fewer of them.
const NEWEST: ABI = ABI::V6;

/// Restricts this thread, and those that it starts. A sentence where the kernel cannot.
pub(super) fn restrict(needs: &Needs) -> Result<Option<String>, String> {
    let status = rules(needs).map_err(|error| format!("every file can be reached: {error}"))?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => None,
        RulesetStatus::PartiallyEnforced => Some("this kernel's Landlock lacks some of the rights".to_owned()),
        RulesetStatus::NotEnforced => Some("every file can be reached: this kernel has no Landlock".to_owned()),
    })
}

fn rules(needs: &Needs) -> Result<RestrictionStatus, RulesetError> {
    let all = AccessFs::from_all(NEWEST);
    // A file on which nobody asked to run programs is none to be run.
    let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = all & !AccessFs::Execute & !AccessFs::MakeBlock & !AccessFs::MakeChar;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .handle_access(AccessNet::BindTcp)?
        .scope(Scope::AbstractUnixSocket | Scope::Signal)?
        .create()?;
    for (paths, access) in [(&needs.read, read), (&needs.write, write)] {
        for path in paths {
            // What is not there cannot be read either.
            let Ok(place) = PathFd::new(path) else { continue };
            // A right that is for directories only is no right to a file.
            let access = if path.is_dir() { access } else { access & AccessFs::from_file(NEWEST) };
            rules = rules.add_rule(PathBeneath::new(place, access))?;
        }
    }
    if let Some(port) = needs.listen {
        rules = rules.add_rule(NetPort::new(port, AccessNet::BindTcp))?;
    }
    rules.restrict_self()
}

/// What files and directories to read there were when the sandbox was put up.
#[derive(Debug)]
pub struct Watched(Vec<WatchedPath>);

#[derive(Debug)]
struct WatchedPath {
    path: PathBuf,
    was: Option<Identity>,
}

/// Device and inode.
type Identity = (u64, u64);

impl Watched {
    pub(super) fn new(needs: &Needs) -> Self {
        let watched = |path: &PathBuf| WatchedPath { path: path.clone(), was: identity(path) };
        Self(needs.read.iter().map(watched).collect())
    }

    /// The first name under which there is another file or directory to read now, or a first one.
    /// Blocks.
    pub fn replaced(&self) -> Option<&Path> {
        let is_other = |watched: &&WatchedPath| identity(&watched.path).is_some_and(|now| Some(now) != watched.was);
        self.0.iter().find(is_other).map(|watched| watched.path.as_path())
    }
}

fn identity(path: &Path) -> Option<Identity> {
    // What cannot be looked at cannot be used either: nothing has been put there.
    path.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()))
}
