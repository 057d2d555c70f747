//! What keeps passphrases out of files that the system writes about a process.

use crate::{Error, Result};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// No core file of this process, and no other process of its user may look into its memory. Kept
/// over fork, not over exec.
///
/// For whoever holds keys for long: the daemon calls it before it reads them.
pub fn forbid_core_dumps() -> Result<()> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).map_err(|errno| Error::io("forbid core files", errno.into()))?;
    // The limit alone does not hold where core_pattern is a pipe.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|errno| Error::io("forbid core dumps", errno.into()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn core_dumps_are_off_afterwards() {
        super::forbid_core_dumps().unwrap();
        assert_eq!(rustix::process::getrlimit(rustix::process::Resource::Core).current, Some(0));
        let dumpable = rustix::process::dumpable_behavior().unwrap();
        assert_eq!(dumpable, rustix::process::DumpableBehavior::NotDumpable);
    }
}
