//! Whether the rows of a host's backup are rows that the node owns. SSTables are taken as they are,
//! so it has to own all of them.

use crate::restore::node::{Identity, RingToken};
use std::collections::{BTreeMap, BTreeSet};

/// How a keyspace is replicated: class and options.
pub(super) type Replication = BTreeMap<String, String>;

/// What is known of the ring, then and now.
#[derive(Clone, Debug)]
pub(super) struct Topology<'a> {
    pub node: &'a Identity,
    /// For the keyspace concerned.
    pub ring: &'a [RingToken],
    /// Tokens of every host that has backups, by name, at the restore point; those of which nothing
    /// is known are empty.
    pub hosts: &'a BTreeMap<String, BTreeSet<String>>,
    /// Replication of the keyspace as of the restore point and now, where both are told.
    pub replication: Option<(&'a Replication, &'a Replication)>,
}

/// nodetool prints two places after the point.
const ALL: f64 = 100.0;

impl Topology<'_> {
    /// Whether every node of the data centre has every row: then any backup's rows are the node's
    /// as well.
    pub(super) fn has_all(&self) -> bool {
        let mut ours = self.ring.iter().filter(|token| token.datacenter == self.node.datacenter).peekable();
        ours.peek().is_some() && ours.all(|token| token.owns.is_some_and(|percent| percent >= ALL))
    }

    /// The host whose tokens the node has.
    pub(super) fn own_host(&self) -> Option<&str> {
        let mut same = self.hosts.iter().filter(|(_, tokens)| !tokens.is_empty() && **tokens == self.node.tokens);
        same.next().map(|(name, _)| name.as_str())
    }

    /// Why backups of `host` are not to be taken; `None` if they may.
    pub(super) fn refusal(&self, host: &str) -> Option<String> {
        if self.has_all() {
            return None;
        }
        let tokens = self.hosts.get(host).filter(|tokens| !tokens.is_empty());
        let Some(tokens) = tokens else {
            return Some(format!("no manifest tells which tokens {host} had, so whether this node owns its rows"));
        };
        if *tokens != self.node.tokens {
            let same = tokens.intersection(&self.node.tokens).count();
            return Some(format!(
                "{host} had {} tokens and this node has {}, {same} of them the same: many rows of its backup belong to other nodes",
                tokens.len(),
                self.node.tokens.len()
            ));
        }
        if let Some((then, now)) = self.replication.filter(|(then, now)| then != now) {
            return Some(format!(
                "the keyspace was replicated as {then:?} and is as {now:?}: nodes hold other rows than then"
            ));
        }
        // With the backups of one host alone, there is nothing to compare the others' tokens with.
        if self.hosts.len() > 1 {
            return self.others();
        }
        None
    }

    /// Nodes that came, went or moved take ranges from their neighbours.
    fn others(&self) -> Option<String> {
        let then: BTreeSet<&String> = self.hosts.values().flatten().collect();
        let now: BTreeSet<&String> = self.ring.iter().map(|token| &token.token).collect();
        let new: BTreeSet<&str> =
            self.ring.iter().filter(|token| !then.contains(&token.token)).map(|token| &*token.address).collect();
        let gone: Vec<&str> = self
            .hosts
            .iter()
            .filter(|(_, tokens)| tokens.iter().any(|token| !now.contains(token)))
            .map(|(name, _)| name.as_str())
            .collect();
        let mut why = Vec::new();
        if !new.is_empty() {
            why.push(format!(
                "no host with backups had the tokens of {}",
                new.into_iter().collect::<Vec<_>>().join(", ")
            ));
        }
        if !gone.is_empty() {
            why.push(format!("tokens of {} are not in the ring any more", gone.join(", ")));
        }
        (!why.is_empty()).then(|| format!("the ring has changed since the backup: {}", why.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(tokens: &[&str]) -> BTreeSet<String> {
        tokens.iter().map(|token| (*token).to_owned()).collect()
    }

    fn token(address: &str, owns: f64, token: &str) -> RingToken {
        let (datacenter, address, token) = ("dc1".to_owned(), address.to_owned(), token.to_owned());
        RingToken { datacenter, address, is_up: true, owns: Some(owns), token }
    }

    struct Case {
        node: Identity,
        ring: Vec<RingToken>,
        hosts: BTreeMap<String, BTreeSet<String>>,
        replication: [Replication; 2],
    }

    impl Case {
        /// Two nodes, of which this one is `a`; backups of both.
        fn new() -> Self {
            let one = || BTreeMap::from([("replication_factor".to_owned(), "1".to_owned())]);
            Self {
                node: Identity { datacenter: "dc1".to_owned(), tokens: set(&["1", "3"]) },
                ring: vec![token("a", 50.0, "1"), token("b", 50.0, "2"), token("a", 50.0, "3"), token("b", 50.0, "4")],
                hosts: [("a".to_owned(), set(&["1", "3"])), ("b".to_owned(), set(&["2", "4"]))].into(),
                replication: [one(), one()],
            }
        }

        fn topology(&self) -> Topology<'_> {
            let replication = Some((&self.replication[0], &self.replication[1]));
            Topology { node: &self.node, ring: &self.ring, hosts: &self.hosts, replication }
        }
    }

    #[test]
    fn the_same_ring_takes_its_own_backup_and_no_other() {
        let case = Case::new();
        assert_eq!(case.topology().own_host(), Some("a"));
        assert_eq!(case.topology().refusal("a"), None);
        assert!(case.topology().refusal("b").unwrap().contains("0 of them the same"));
        assert!(case.topology().refusal("c").unwrap().contains("no manifest tells"));
    }

    #[test]
    fn a_node_that_came_or_went_changes_who_owns_what() {
        let mut case = Case::new();
        case.ring.push(token("c", 20.0, "2.5"));
        assert!(case.topology().refusal("a").unwrap().contains("no host with backups had the tokens of c"));
        let mut case = Case::new();
        case.ring.retain(|token| token.address == "a");
        assert!(case.topology().refusal("a").unwrap().contains("tokens of b are not in the ring"));
        // A mount of one host cannot tell.
        case.hosts.remove("b");
        assert_eq!(case.topology().refusal("a"), None);
    }

    #[test]
    fn another_replication_is_refused() {
        let mut case = Case::new();
        case.replication[1].insert("replication_factor".to_owned(), "2".to_owned());
        assert!(case.topology().refusal("a").unwrap().contains("was replicated as"));
    }

    #[test]
    fn where_every_node_has_every_row_any_backup_will_do() {
        let mut case = Case::new();
        for token in &mut case.ring {
            token.owns = Some(100.0);
        }
        assert!(case.topology().has_all());
        assert_eq!(case.topology().refusal("b"), None);
        assert_eq!(case.topology().refusal("c"), None);
        case.ring[1].owns = None;
        assert!(!case.topology().has_all());
        // Another data centre has its own replicas.
        case.ring[1] = RingToken { datacenter: "dc2".to_owned(), ..token("z", 0.0, "2") };
        assert!(case.topology().has_all());
        case.ring.clear();
        assert!(!case.topology().has_all());
    }
}
