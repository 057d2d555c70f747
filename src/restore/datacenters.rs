//! Where keyspaces are replicated, and where the machines are.

use std::collections::{BTreeMap, BTreeSet};

/// Keyspaces that name other datacenters than the machines have: as they were, they would have no
/// replica there.
pub(super) fn elsewhere(
    replication: &BTreeMap<String, BTreeMap<String, String>>,
    there: &BTreeSet<&str>,
) -> Option<String> {
    let is_other = |options: &BTreeMap<String, String>| {
        let is_simple = options.get("class").is_some_and(|class| class.ends_with("SimpleStrategy"));
        !is_simple && !options.keys().filter(|name| *name != "class").map(String::as_str).eq(there.iter().copied())
    };
    let names: Vec<&str> =
        replication.iter().filter(|(_, options)| is_other(options)).map(|(name, _)| &**name).collect();
    if there.is_empty() || names.is_empty() {
        return None;
    }
    let there: Vec<&str> = there.iter().copied().collect();
    Some(format!(
        "these keyspaces are not replicated in exactly the datacenters of the machines ({}): {}. Create them by hand \
         first, replicated as it should be there",
        there.join(", "),
        names.join(", ")
    ))
}
