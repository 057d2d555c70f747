//! The newest set of a host, where others of its cluster have one of that run and it has none.
//!
//! How many sets another host makes from one set of this host to the next tells how far apart the
//! two are: one that comes hours after the others is not accused before its time. Where that number
//! changes, as it does with sets that are minutes apart, the longest time that the host ever came
//! after the other one tells as much, later. A host that has made none for long is taken for one that
//! is gone: no restore point is judged by it for ever.

use super::members::PeerRuns;
use super::peers::{Gap, Own, is_clearly_longer, pauses};
use crate::catalog::Tag;
use crate::catalog::local::LocalTime;
use crate::time::Timestamp;

/// Seconds that two sets of one run may differ by, at most: tags tell minutes, and hosts are not
/// all as quick.
const JITTER: i64 = 10 * 60;
/// A set that began less long ago may still come, seconds.
const STILL_TO_COME: i64 = 6 * 3600;
/// Pauses between sets that are asked for what is usual reach back so far, seconds.
const REMEMBERED: i64 = 35 * 24 * 3600;
/// A host that is further behind, seconds, is gone.
const GONE: i64 = 7 * 24 * 3600;

impl Own<'_> {
    /// The set that `peer` has and this host has not made after its last one. `listed`: when this
    /// host was.
    pub(super) fn late(&self, peer: &PeerRuns, listed: Timestamp) -> Option<Gap> {
        let (last, newest) = *self.sets.last()?;
        let listed = listed.min(peer.listed);
        if listed == Timestamp::default() {
            return None;
        }
        let now = LocalTime::of(listed, newest.utc_offset).0;
        let theirs = peer.times();
        let their_pauses = pauses(theirs.iter().map(|(time, _)| *time));
        let usual = *their_pauses.get(their_pauses.len() / 2)?;
        if self.rhythm.is_some_and(|rhythm| is_clearly_longer(rhythm, usual)) {
            return None;
        }
        let near = (usual / 4).min(JITTER);
        let after = |time: i64| theirs.partition_point(|(their, _)| *their <= time + near);
        let is_near = |time: i64| {
            let at = theirs.partition_point(|(their, _)| *their < time - near);
            theirs.get(at).is_some_and(|(their, _)| *their <= time + near)
        };
        let between = |pair: &[(i64, &_)]| {
            let end = theirs.partition_point(|(their, _)| *their < pair[1].0 - near);
            end.saturating_sub(after(pair[0].0))
        };
        let known = self.sets.windows(2).filter(|pair| pair[0].0 >= last - REMEMBERED);
        let usually = match known.map(between).max() {
            Some(most) => most,
            // Of a host with one set nothing tells how often it makes incrementals.
            None if peer.is_of_fulls => 0,
            None => return None,
        };
        let first = after(last);
        let missing = first + usually.max(usize::from(!is_near(last)));
        // A host that began after this one ended took its place.
        if first == 0 || theirs.last().is_none_or(|(their, _)| their - last > GONE.max(usual * 3)) {
            return None;
        }
        let is_due = |at: usize| {
            let time = theirs[at].0;
            let pause = usual.max(time - theirs[at - 1].0);
            (time - last) * 4 >= pause * 3 && time <= now - (pause / 2).min(STILL_TO_COME)
        };
        let gap = |(time, set): (i64, &Tag)| Gap::after((last, newest), time, peer, set);
        if (missing..theirs.len()).any(is_due) {
            return theirs.get(missing).copied().map(gap);
        }
        let [.., before, _] = self.sets[..] else { return None };
        // One of theirs from before the last set, and after the one before that, is of its run.
        let has_run = is_near(last) || between(&[before, (last, newest)]) > 0;
        let unmatched = theirs.get(first + usize::from(!has_run)).copied()?;
        let behind = self.longest_behind(&theirs, near)?;
        (unmatched.0 <= now - behind / 2 * 3 - STILL_TO_COME).then(|| gap(unmatched))
    }

    /// How long after a set of the other host this one made its own, at most, seconds. `near`: as much
    /// earlier it may be.
    fn longest_behind(&self, theirs: &[(i64, &Tag)], near: i64) -> Option<i64> {
        let next = |time: i64| self.sets.get(self.sets.partition_point(|(own, _)| *own < time - near));
        let first = self.sets.first()?.0 - near;
        let known = theirs.iter().filter(|(time, _)| *time >= first);
        known.filter_map(|(time, _)| Some((next(*time)?.0 - time).max(0))).max()
    }
}

#[cfg(test)]
mod tests {
    use crate::catalog::completeness::{Cause, HostCompleteness, PeerRuns};
    use crate::catalog::local::LocalTime;
    use crate::catalog::testing::{TestSet, host_sets};
    use crate::catalog::{Host, HostSets, SetKind, Tag};
    use crate::time::Timestamp;
    use std::collections::HashMap;
    use std::sync::Arc;

    const DAY: i64 = 24;

    /// What is said of a host that made sets at these hours, where another one made them at those,
    /// and both were listed then. `is_of_fulls`: neither makes incrementals.
    fn told(own: &[i64], other: &[i64], listed: i64, is_of_fulls: bool) -> Option<String> {
        let kind = |at: usize| Some(if is_of_fulls || at == 0 { SetKind::Full } else { SetKind::Incremental });
        let set = |(at, hour): (usize, &i64)| TestSet {
            start: hour * 3600,
            length: 60,
            kind: kind(at),
            cluster: Some("c"),
            ..TestSet::default()
        };
        let sets = host_sets(&own.iter().enumerate().map(set).collect::<Vec<_>>());
        let start = |hour: &i64| (LocalTime(hour * 3600), Tag::new(hour.to_string()));
        let listed = Timestamp::from_secs(listed * 3600);
        let peer = PeerRuns {
            host: Host::new("peer"),
            cluster: Some("c".into()),
            starts: other.iter().map(start).collect(),
            address: None,
            full: None,
            ids: Arc::default(),
            is_of_fulls,
            prints: Vec::new(),
            listed,
        };
        let HostSets { host, sets, chains, strays, .. } = &sets;
        let peers = [Arc::new(peer)];
        let judged = HostCompleteness::judge((host, listed), sets, chains, strays, &peers, &HashMap::new());
        let [lack] = judged.outside() else { return None };
        assert!(matches!(&lack.cause, Cause::OtherHost { host, .. } if &**host == "peer"), "{lack}");
        assert_eq!(judged.lacks().count(), 1, "no restore point lacks it");
        Some(lack.set.to_string())
    }

    fn daily(days: i64, at: i64) -> Vec<i64> {
        (0..days).map(|day| day * DAY + at).collect()
    }

    #[test]
    fn a_newest_set_that_others_have_is_told_when_it_is_due() {
        let (own, other) = (daily(5, 2), daily(6, 2));
        assert_eq!(told(&own, &other, 5 * DAY + 9, false).as_deref(), Some("122"));
        // It may still come.
        assert_eq!(told(&own, &other, 5 * DAY + 7, false), None);
        assert_eq!(told(&other, &other, 5 * DAY + 9, false), None);
        assert_eq!(told(&other, &own, 5 * DAY + 9, false), None);
    }

    #[test]
    fn a_host_that_comes_hours_after_the_others_is_not_accused_before_its_time() {
        let others = daily(6, 2);
        assert_eq!(told(&daily(5, 14), &others, 5 * DAY + 9, false), None);
        assert_eq!(told(&daily(4, 14), &others, 5 * DAY + 9, false).as_deref(), Some("122"));
        // Fulls of a host among the incrementals of another one.
        let often: Vec<i64> = (0..24).map(|at| at * 6).collect();
        assert_eq!(told(&daily(5, 0), &often, 5 * DAY + 23, false), None);
    }

    #[test]
    fn a_newest_set_is_told_where_the_hosts_come_in_turns() {
        // Of the fifth run this host's set is the later one, so one is between twice.
        let (own, other) = ([0, 20, 40, 60, 90], [0, 20, 40, 60, 70, 110]);
        assert_eq!(told(&own, &other, 200, false).as_deref(), Some("110"));
        // It may come as late as it ever did, and a half.
        assert_eq!(told(&own, &other, 145, false), None);
        // The last two are of one run, whichever is first.
        assert_eq!(told(&own, &other[..5], 200, false), None);
        assert_eq!(told(&other[..5], &own, 200, false), None);
    }

    #[test]
    fn a_host_that_is_gone_is_not_accused_for_ever() {
        let own = daily(10, 2);
        assert!(told(&own, &daily(15, 2), 14 * DAY + 9, false).is_some());
        assert_eq!(told(&own, &daily(25, 2), 24 * DAY + 9, false), None);
        // Another one took its place.
        let next: Vec<i64> = daily(14, 2).into_iter().skip(10).collect();
        assert_eq!(told(&own, &next, 13 * DAY + 9, false), None);
    }

    #[test]
    fn one_set_tells_enough_where_all_are_fulls() {
        assert_eq!(told(&[2], &daily(2, 2), DAY + 9, true).as_deref(), Some("26"));
        assert_eq!(told(&[2], &daily(2, 2), DAY + 9, false), None);
        assert_eq!(told(&[14], &daily(2, 2), DAY + 9, true), None);
    }
}
