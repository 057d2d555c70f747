//! A host's local time: tags are written in it, and nothing but a manifest tells how far from UTC
//! it was.

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// A reading of a host's wall clock: seconds since 1970-01-01T00:00:00 as that clock shows it. Not
/// a moment until an offset is known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct LocalTime(pub i64);

impl LocalTime {
    /// `None` when there is no such date or time.
    pub fn new(year: i16, month: i8, day: i8, hour: i8, minute: i8, second: i8) -> Option<Self> {
        let civil = jiff::civil::DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
        Some(Self(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second()))
    }

    /// Its date and time; `None` beyond the years that a calendar has.
    pub fn civil(self) -> Option<jiff::civil::DateTime> {
        let as_if_utc = jiff::Timestamp::from_second(self.0).ok()?;
        Some(as_if_utc.to_zoned(jiff::tz::TimeZone::UTC).datetime())
    }

    /// The moment at which a clock `offset` seconds ahead of UTC shows this.
    pub fn at_offset(self, offset: i32) -> Timestamp {
        Timestamp::from_secs(self.0.saturating_sub(i64::from(offset)))
    }

    /// What a clock `offset` seconds ahead of UTC shows at `time`.
    pub fn of(time: Timestamp, offset: i32) -> Self {
        Self(time.secs().saturating_add(i64::from(offset)))
    }
}

/// The date, with or without a time of day, that people name backups by: `20261121`,
/// `20261121-024500`, `2026-11-21-02-45`, with anything between the numbers that is neither letter
/// nor digit, but `T`. By the clock of whoever made it.
pub(super) fn local_time(tag: &str) -> Option<LocalTime> {
    let digits: String = tag.chars().filter(char::is_ascii_digit).collect();
    let between = |c: char| matches!(c, '-' | '_' | '.' | ':' | 'T' | ' ');
    if !digits.is_ascii() || !tag.chars().all(|c| c.is_ascii_digit() || between(c)) || !tag.starts_with("20") {
        return None;
    }
    let number = |at: usize| digits.get(at..at + 2).map_or(Some(0), |text| text.parse::<i8>().ok());
    if !matches!(digits.len(), 8 | 10 | 12 | 14) {
        return None;
    }
    LocalTime::new(digits[..4].parse().ok()?, number(4)?, number(6)?, number(8)?, number(10)?, number(12)?)
}

/// Zones are whole quarters of an hour from UTC.
const QUARTER: i64 = 15 * 60;

/// The offset that explains a clock showing `local` when it was `time`, to the nearest quarter of
/// an hour; `None` beyond what zones have (-12 to +14 hours).
pub(super) fn offset_between(local: LocalTime, time: Timestamp) -> Option<i32> {
    let difference = local.0.checked_sub(time.secs())?;
    let rounded = difference.checked_add(QUARTER / 2)?.div_euclid(QUARTER) * QUARTER;
    (-12 * 3600..=14 * 3600).contains(&rounded).then_some(rounded as i32)
}

/// Which UTC offset a host had when, as its sets tell.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Offsets {
    /// Runs of one offset, by time; first and last moment seen.
    runs: Vec<(Timestamp, Timestamp, i32)>,
    /// Each offset once; the first [`MAX_DISTINCT`] of them.
    distinct: Vec<i32>,
}

/// The world has 38 offsets; more than this many in one host's manifests are made up.
const MAX_DISTINCT: usize = 128;

impl Offsets {
    /// From (time, offset in seconds), in order of time.
    pub fn new(seen: impl IntoIterator<Item = (Timestamp, i32)>) -> Self {
        let mut runs: Vec<(Timestamp, Timestamp, i32)> = Vec::new();
        for (time, offset) in seen {
            match runs.last_mut() {
                Some(last) if last.2 == offset => last.1 = time,
                _ => runs.push((time, time, offset)),
            }
        }
        let mut distinct: Vec<i32> = runs.iter().map(|run| run.2).collect();
        distinct.sort_unstable();
        distinct.dedup();
        distinct.truncate(MAX_DISTINCT);
        Self { runs, distinct }
    }

    /// The offset that was seen nearest to `time`, the earlier one of two as near; `None` when none
    /// was ever seen.
    pub fn near(&self, time: Timestamp) -> Option<i32> {
        self.nearest(time).map(|(offset, _)| offset)
    }

    /// The offset nearest to `time`, and how far from `time` it was seen, microseconds.
    fn nearest(&self, time: Timestamp) -> Option<(i32, i64)> {
        let after = self.runs.partition_point(|run| run.0 <= time);
        let earlier =
            after.checked_sub(1).map(|i| self.runs[i]).map(|run| (run.2, time.0.saturating_sub(run.1.0).max(0)));
        let later = self.runs.get(after).map(|run| (run.2, run.0.0.saturating_sub(time.0)));
        earlier.into_iter().chain(later).min_by_key(|(_, distance)| *distance)
    }

    /// The moment that the host's clock called `local`. Of an hour that came twice, the reading
    /// nearer to a set, else the first.
    pub fn moment(&self, local: LocalTime) -> Option<Timestamp> {
        let readings = self.distinct.iter().map(|offset| (local.at_offset(*offset), *offset));
        let seen = |(time, offset): (Timestamp, i32)| {
            let (near, distance) = self.nearest(time)?;
            // A reading under an offset that the host did not have then comes last: it is for hours
            // that the clock left out.
            Some(((near != offset, distance, time), time))
        };
        readings.filter_map(seen).min().map(|(_, time)| time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn offsets_round_to_quarters() {
        let local = LocalTime::new(2026, 11, 21, 2, 50, 0).unwrap();
        let cases = [
            (-66, Some(0)),
            (66, Some(0)),
            (7200 - 300, Some(7200)),
            (-18_000 - 90, Some(-18_000)),
            (20_700, Some(20_700)),
        ];
        for (difference, offset) in cases {
            assert_eq!(offset_between(local, t(local.0 - difference)), offset, "{difference}");
        }
        assert_eq!(offset_between(local, t(local.0 - 86_400)), None);
        assert_eq!(offset_between(LocalTime(i64::MIN), Timestamp(i64::MAX)), None);
    }

    #[test]
    fn the_nearest_offset_counts() {
        let offsets = Offsets::new([(t(1000), 7200), (t(2000), 7200), (t(6000), 3600)]);
        assert_eq!(offsets.near(t(0)), Some(7200));
        assert_eq!(offsets.near(t(3999)), Some(7200));
        assert_eq!(offsets.near(t(4001)), Some(3600));
        assert_eq!(offsets.near(t(9000)), Some(3600));
        assert_eq!(offsets.moment(LocalTime(1500 + 7200)), Some(t(1500)));
        assert_eq!(offsets.moment(LocalTime(9000 + 3600)), Some(t(9000)));
        assert_eq!(Offsets::default().near(t(0)), None);
        assert_eq!(Offsets::default().moment(LocalTime(0)), None);
    }

    #[test]
    fn the_hours_of_a_change() {
        // Berlin, 2026-10-25: 03:00 summer time becomes 02:00 at 01:00 UTC. A set at every half
        // hour.
        let change = LocalTime::new(2026, 10, 25, 1, 0, 0).unwrap().0;
        let sets = (-10..10).map(|i| (t(change + i * 1800), if i < 0 { 7200 } else { 3600 }));
        let offsets = Offsets::new(sets);
        let local = |hour, minute| LocalTime::new(2026, 10, 25, hour, minute, 0).unwrap();
        assert_eq!(offsets.moment(local(1, 30)), Some(t(change - 5400)));
        assert_eq!(offsets.moment(local(2, 30)), Some(t(change - 1800)), "the first of the two");
        assert_eq!(offsets.moment(local(3, 0)), Some(t(change + 3600)));
        // 2026-03-29: 02:00 becomes 03:00; a clock that shows 02:30 is before or after.
        let change = LocalTime::new(2026, 3, 29, 1, 0, 0).unwrap().0;
        let sets = (-10..10).map(|i| (t(change + i * 1800), if i < 0 { 3600 } else { 7200 }));
        let skipped = Offsets::new(sets).moment(LocalTime::new(2026, 3, 29, 2, 30, 0).unwrap()).unwrap();
        assert!((t(change - 3600)..t(change + 3600)).contains(&skipped));
    }
}
