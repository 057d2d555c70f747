//! Privileges of a process that root started (capabilities): all are given up but those that it
//! names.

use caps::{CapSet, Capability, CapsHashSet};

/// Keeps what of `wanted` the process has. A message where something could not be given up.
pub(super) fn keep(wanted: &[Capability]) -> Result<Option<String>, String> {
    let failed = |error| format!("privileges are kept: {error}");
    let had = caps::read(None, CapSet::Permitted).map_err(failed)?;
    let kept: CapsHashSet = wanted.iter().copied().filter(|one| had.contains(one)).collect();
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).map_err(failed)? {
        for one in caps::read(None, CapSet::Bounding).map_err(failed)?.difference(&kept) {
            caps::drop(None, CapSet::Bounding, *one).map_err(failed)?;
        }
    }
    // In this order: none may be effective that is not permitted.
    caps::clear(None, CapSet::Inheritable).map_err(failed)?;
    caps::set(None, CapSet::Effective, &kept).map_err(failed)?;
    caps::set(None, CapSet::Permitted, &kept).map_err(failed)?;
    Ok(None)
}
