//! Random histories of a node and its backups, through catalog, schema history and tree, against a
//! simple model of what was alive when.

use testkit::memory_bucket;
use testkit::schema_sstable;
use testkit::walk;

mod node;
mod truth;

use cassmount::catalog::Host;
use cassmount::tree::{BackupTree, TreeOptions};
use cassmount::view::View;
use memory_bucket::MemorySource;
use node::{Action, HOST, Node, Run, TABLES};
use proptest::prelude::*;
use std::collections::BTreeSet;
use truth::Point;
use walk::{Seen, assert_same, node_at, walk_view};

const HOUR: i64 = 3600;

/// A pause, so long that no two things happen in one minute, and what comes after it.
type Step = (i64, Action);

fn runs(careful: bool) -> impl Strategy<Value = Run> {
    let rarely = move |weight: f64| if careful { prop::bool::weighted(0.0) } else { prop::bool::weighted(weight) };
    let lost = if careful { Just(0).boxed() } else { prop_oneof![6 => Just(0u8), 1 => 0u8..16].boxed() };
    (prop::bool::weighted(0.3), 1..6 * HOUR, rarely(0.15), rarely(0.2), rarely(0.3), lost).prop_map(
        |(full, length, fails, litters, oldest_first, lost)| Run {
            full,
            length,
            finishes: !fails,
            cleans: !litters,
            oldest_first,
            lost,
        },
    )
}

fn steps(careful: bool, zones: bool) -> impl Strategy<Value = Vec<Step>> {
    let table = || 0..TABLES.len();
    let action = prop_oneof![
        3 => table().prop_map(Action::Create),
        2 => table().prop_map(Action::Drop),
        6 => table().prop_map(Action::Flush),
        1 => table().prop_map(Action::Compact),
        6 => runs(careful).prop_map(Action::Backup),
        u32::from(zones) => prop_oneof![(1i32..56), (-48i32..-1)].prop_map(Action::Zone),
    ];
    prop::collection::vec((61..4 * HOUR, action), 1..48)
}

/// `stated`: manifests state the host's offset, which may change; else they are in UTC, and a run
/// is told from a zone by its shortness alone.
fn play(steps: &[Step], offset: i32, stated: bool) -> Node {
    let mut node = Node::new(offset * 900, stated);
    for (pause, action) in steps {
        node.now += pause;
        node.act(match *action {
            Action::Backup(run) if !stated => Action::Backup(Run { length: run.length % 360, ..run }),
            action => action,
        });
    }
    // In the end it becomes known what there was: knowledge flows backwards.
    node.now += HOUR;
    node.back_up(Run { full: true, length: 30, finishes: true, cleans: true, oldest_first: false, lost: 0 });
    node
}

fn tree_of(node: &Node, at: Option<String>) -> BackupTree {
    let options = TreeOptions { source_host: Some(Host::new(HOST)), at, ..TreeOptions::default() };
    BackupTree::over(MemorySource::new(node.bucket.clone()), options).unwrap()
}

async fn check(node: &Node) {
    let tree = tree_of(node, None);
    // Archives tell of themselves when they are read first.
    walk_view(&tree, "").await;
    assert_same(&truth::comparable(&walk_view(&tree, "").await), &truth::tree(node));

    let finished = truth::finished(node);
    let points = truth::points(&finished);
    for point in &points {
        // Any time names the newest that was finished not after it.
        let newest = points.iter().rev().find(|other| other.set.end <= point.set.end).unwrap();
        let time = node_at(&tree, &format!("restore-points/{}", point.set.end)).await.unwrap();
        assert_eq!(tree.read_link(&time).await.unwrap().to_str(), Some(&*newest.set.tag));
    }
    if let Some(point) = points.get(points.len() / 2) {
        let seen = walk_view(&tree_of(node, Some(point.set.end.to_string())), "").await;
        let visible = || points.iter().rev().filter(|other| other.set.end <= point.set.end);
        let is_whole = |other: &&Point| !seen.contains_key(&format!("restore-points/{}/INCOMPLETE.txt", other.set.tag));
        // A listing of names reads nothing. What only a set's system_schema tells, INCOMPLETE.txt
        // says, and `latest` cannot know: so it may stand on such a point. But it passes over none
        // that is whole, unless none is that it could stand on.
        let latest = &seen["restore-points/latest"];
        let is_latest = |point: &&Point| *latest == Seen::Link(point.set.tag.clone());
        assert!(visible().any(|point| is_latest(&point)), "{latest:?} is no restore point");
        let mut newer = visible().take_while(|point| !is_latest(point));
        assert!(newer.all(|point| !is_whole(&point)), "{latest:?} passes over a whole point");
    }
}

/// What was flushed before the run is there, of the table that is there and of no other.
fn assert_nothing_lost(node: &Node) {
    let finished = truth::finished(node);
    for point in truth::points(&finished) {
        let shown = point.tables(node);
        let rows =
            |incarnation: usize| shown.get(&incarnation).map(|archives| Point::rows(archives)).unwrap_or_default();
        for (incarnation, one) in node.incarnations.iter().enumerate() {
            let (start, end) = (point.set.start * 1_000_000, point.set.end * 1_000_000);
            if one.lives_at(start) && one.lives_at(end) {
                let none = BTreeSet::new();
                let flushed = point.set.flushed.get(incarnation).unwrap_or(&none);
                assert!(flushed.is_subset(&rows(incarnation)), "{} lacks rows of {}", point.set.tag, one.directory());
            } else if !one.lives_at(start) && !one.lives_at(end) {
                assert!(!shown.contains_key(&incarnation), "{} has {}", point.set.tag, one.directory());
            }
        }
    }
}

fn block_on(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work);
}

/// A set that did not finish is dated by its tag alone, under whatever offset its neighbours had.
#[test]
fn what_an_archive_says_of_itself_counts_more_than_an_estimated_time() {
    let failed = |full| Run { full, length: 1, finishes: false, cleans: true, oldest_first: false, lost: 0 };
    let steps = [
        (61, Action::Create(0)),
        (61, Action::Flush(0)),
        (61, Action::Backup(failed(true))),
        (61, Action::Backup(failed(false))),
        (61, Action::Drop(0)),
        (61, Action::Zone(-3)),
        (61, Action::Create(0)),
    ];
    block_on(check(&play(&steps, 1, true)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_tree_shows_what_was_alive_when(steps in steps(false, false), offset in -48i32..56) {
        block_on(check(&play(&steps, offset, false)));
    }

    /// Daylight saving, and hosts that were moved or set wrong: only what a manifest states tells.
    #[test]
    fn also_when_the_clock_is_set(steps in steps(false, true), offset in 1i32..56) {
        block_on(check(&play(&steps, offset, true)));
    }

    #[test]
    fn where_nothing_fails_nothing_is_lost(steps in steps(true, true), offset in 1i32..56) {
        let node = play(&steps, offset, true);
        assert_nothing_lost(&node);
        block_on(check(&node));
    }
}
