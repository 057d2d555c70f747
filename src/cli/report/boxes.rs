//! Chains as boxes.

use super::html::Text;
use crate::cli::{table, words};
use cassmount::catalog::{Cause, HostSets, Lack, RestorePoint, SetKind, Subject, Tag};
use cassmount::verify::{HostResults, SetResults};
use std::collections::BTreeMap;
use std::fmt::Write;

const WIDE: u64 = 640;
const HIGH: u64 = 16;
/// The narrowest box, pixels.
const NARROWEST: u64 = 2;
/// Of a set that is missing, pixels: nobody knows how large it was.
const GAP: u64 = 8;

/// The chain that ends with a restore point: a box for each set, as wide as its share of the bytes.
/// Each box is a restore point as well, made of what is left of it. Hatched is what was never
/// verified; an empty frame is a set that is missing.
pub(super) fn chain(sets: &HostSets, point: &RestorePoint, results: Option<&HostResults>) -> String {
    let chain: Vec<_> = point.sets().collect();
    let total: u64 = chain.iter().map(|set| set.stored_size()).sum::<u64>().max(1);
    let room = WIDE.saturating_sub(NARROWEST * chain.len() as u64);
    let places: BTreeMap<&str, usize> =
        sets.chains.points().iter().enumerate().map(|(at, point)| (&*point.tag().0, at)).collect();
    let mut boxes = String::new();
    let (mut x, mut bytes) = (0, 0u64);
    for (count, set) in chain.iter().enumerate() {
        bytes = bytes.saturating_add(set.stored_size());
        let wide = NARROWEST + (u128::from(room) * u128::from(set.stored_size()) / u128::from(total)) as u64;
        let is_whole = places.get(&*set.tag.0).is_none_or(|at| sets.completeness.is_whole(*at));
        let class = match (is_whole, set.kind()) {
            (false, _) => "lack",
            (true, SetKind::Full) => "base",
            (true, SetKind::Incremental) => "next",
        };
        let lacking = if is_whole { "" } else { "; INCOMPLETE" };
        let verified = results.map(|results| results.sets.get(&set.tag).copied().unwrap_or_default());
        let class = if verified.is_some_and(|of| of.errors > 0) { "lack" } else { class };
        let needs = format!("{}, {}", words::count(count + 1, "set"), table::bytes(bytes));
        let tip = format!(
            "{} ({}): {}; to restore it: {needs}{lacking}{}",
            set.tag,
            set.kind().name(),
            table::bytes(set.stored_size()),
            said(verified)
        );
        let is_verified = verified.is_none_or(|of| of.deep + of.glance > 0 || of.errors > 0);
        let _ = write!(
            boxes,
            "<rect class=\"box {class}\" x=\"{x}\" width=\"{wide}\" height=\"{HIGH}\" data-tip=\"{0}\"><title>{0}</title></rect>",
            Text(&tip)
        );
        if !is_verified {
            let _ = write!(
                boxes,
                "<rect class=\"never\" x=\"{x}\" width=\"{wide}\" height=\"{HIGH}\" data-tip=\"{}\"/>",
                Text(&tip)
            );
        }
        x += wide;
        for lack in missing(sets, &set.tag) {
            let tip = Text(&lack);
            let _ = write!(
                boxes,
                "<rect class=\"gap\" x=\"{}\" y=\"1\" width=\"{}\" height=\"{}\" data-tip=\"{tip}\"><title>{tip}</title></rect>",
                x + 1,
                GAP - 2,
                HIGH - 2
            );
            x += GAP;
        }
    }
    let wide = x.max(WIDE);
    format!("<svg width=\"{wide}\" height=\"{HIGH}\" role=\"img\">{boxes}</svg>")
}

/// What is missing after the set of that name, because another host of the cluster has it.
fn missing<'a>(sets: &'a HostSets, after: &'a Tag) -> impl Iterator<Item = &'a Lack> {
    let is_set = |lack: &&Lack| matches!((&lack.subject, &lack.cause), (Subject::Set, Cause::OtherHost { .. }));
    sets.completeness.lacks().filter(is_set).filter(move |lack| lack.since.as_ref() == Some(after))
}

/// The last restore point of each full, newest first.
pub(super) fn ends(sets: &HostSets) -> Vec<&RestorePoint> {
    let points = sets.chains.points().iter().filter(|point| !point.is_apart());
    let mut ends: BTreeMap<(i64, &str), &RestorePoint> = BTreeMap::new();
    for point in points {
        ends.insert((point.base().time.0, &*point.base().tag.0), point);
    }
    ends.into_values().rev().collect()
}

/// What verifications found of a set; nothing where nothing was verified at all.
fn said(verified: Option<SetResults>) -> String {
    match verified {
        None => String::new(),
        Some(SetResults { errors, .. }) if errors > 0 => {
            format!("; verify: {} lost", words::count(errors as usize, "thing"))
        }
        Some(SetResults { deep: 0, glance: 0, .. }) => "; never verified".to_owned(),
        Some(SetResults { archives, deep, glance, .. }) => {
            format!("; of {archives} archives {deep} were read whole and {glance} looked at, and good")
        }
    }
}
